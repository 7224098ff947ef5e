/* What one leaf makes: the rows of other tables that follow from it. The rules make
 * them when the leaf is applied (step.c, rules_records.c, content.c); here they are
 * made once more, from the leaf and what earlier leaves left, to compare or repair. */
#include <string.h>

#include "base/check.h"
#include "ledger/attachment.h"
#include "ledger/content.h"
#include "ledger/proof.h"
#include "ledger/scan_internal.h"

enum err derive_load(struct leaf *leaf, struct arguments *args, struct buffer *bytes, struct table_txn *txn,
                     uint64_t index)
{
    enum err err = proof_leaf(bytes, txn, index);
    if (err != OK) return err;
    bool good = leaf_decode(leaf, buffer_bytes(bytes)) == OK && leaf->index == index && index > 0 &&
                arguments_decode(args, leaf->operation.action, leaf->operation.args) == OK;
    return good ? OK : ERR_CORRUPT;
}

/* --- what was before a leaf --- */

/* Walks back over the log rows of a person, those before leaf `index`. */
struct past_rows {
    struct table_txn *txn;
    struct table_cursor *cursor;
    const struct id *person;
    uint64_t index;
    struct buffer value, leaf_bytes;
    struct leaf leaf;
    struct arguments args;
};

/* The leaf under the cursor, when it was approved and is one of the two actions; ERR_NOT_FOUND: another one. */
static enum err look_at(struct past_rows *p, uint64_t index, enum action a, enum action b)
{
    struct log_facts facts;
    enum err err = table_cursor_value(p->cursor, &p->value);
    if (err == OK) err = state_log_facts_decode(&facts, buffer_bytes(&p->value));
    if (err != OK) return err;
    if (facts.decision != DECISION_APPROVED || (facts.action != a && facts.action != b)) return ERR_NOT_FOUND;
    err = derive_load(&p->leaf, &p->args, &p->leaf_bytes, p->txn, index);
    if (err == ERR_NOT_FOUND) return ERR_CORRUPT; /* the log names it */
    bool same = err == OK && p->leaf.decision == DECISION_APPROVED && p->leaf.operation.action == facts.action;
    return err != OK || same ? err : ERR_CORRUPT;
}

/* The newest approved one of two actions about a person that `fits` takes. ERR_TOO_LARGE: too many rows. */
static enum err newest(struct past_rows *p, enum action a, enum action b,
                       bool (*fits)(const struct past_rows *p, const void *data), const void *data)
{
    uint8_t key[LOG_SUBJECT_KEY];
    state_log_subject_key(key, p->person, p->index - 1);
    enum err err = table_cursor_open(&p->cursor, p->txn, TABLE_LOG_SUBJECT);
    if (err != OK) return err;
    err = table_cursor_seek_back(p->cursor, BYTES(key));
    for (unsigned rows = 0; err == OK; err = table_cursor_previous(p->cursor)) {
        struct bytes at = table_cursor_key(p->cursor);
        if (at.size != sizeof key || memcmp(at.data, p->person->bytes, 16) != 0) err = ERR_NOT_FOUND;
        if (err == OK && ++rows > SCAN_SEARCH) err = ERR_TOO_LARGE;
        if (err != OK) break;
        enum err seen = look_at(p, get_be64(at.data + 16), a, b);
        if (seen == OK && fits(p, data)) break;
        if (seen != OK && seen != ERR_NOT_FOUND) {
            err = seen;
            break;
        }
    }
    table_cursor_close(p->cursor);
    return err;
}

static void past_free(struct past_rows *p)
{
    buffer_free(&p->value);
    buffer_free(&p->leaf_bytes);
}

static bool gives_role(const struct past_rows *p, const void *data)
{
    const struct id *user = data;
    if (p->args.action == ACTION_USER_CREATE) return id_equal(&p->args.user_create.user, user);
    return p->args.action == ACTION_ROLE_ASSIGN && id_equal(&p->args.role_assign.user, user);
}

static enum err role_of_genesis(char *out, const struct genesis *genesis, const struct id *user)
{
    for (uint32_t i = 0; i < genesis->admin_count; i++)
        if (id_equal(&genesis->admins[i].id, user)) {
            strcpy(out, ROLE_ROOT);
            return OK;
        }
    return ERR_NOT_FOUND;
}

enum err derive_role(char out[static POLICY_ROLE_NAME + 1], struct table_txn *txn, const struct genesis *genesis,
                     const struct id *user, uint64_t index)
{
    struct past_rows p = {.txn = txn, .person = user, .index = index};
    memset(out, 0, POLICY_ROLE_NAME + 1);
    if (index == 0) return role_of_genesis(out, genesis, user);
    enum err err = newest(&p, ACTION_USER_CREATE, ACTION_ROLE_ASSIGN, gives_role, user);
    if (err == OK) {
        struct bytes role = p.args.action == ACTION_USER_CREATE ? p.args.user_create.role : p.args.role_assign.role;
        if (role.size > POLICY_ROLE_NAME)
            err = ERR_CORRUPT;
        else
            memcpy(out, role.data, role.size);
    }
    past_free(&p);
    return err == ERR_NOT_FOUND ? role_of_genesis(out, genesis, user) : err;
}

static bool is_pair(const struct past_rows *p, const void *data)
{
    const struct id *user = data;
    return id_equal(&p->args.team_assign.user, user) && id_equal(&p->args.team_assign.patient, p->person);
}

enum err derive_team(struct team_row *out, struct table_txn *txn, const struct id *patient, const struct id *user)
{
    struct past_rows p = {.txn = txn, .person = patient, .index = UINT64_MAX};
    enum err err = newest(&p, ACTION_TEAM_ASSIGN, ACTION_TEAM_ASSIGN, is_pair, user);
    if (err == OK && p.args.team_assign.remove) err = ERR_NOT_FOUND;
    if (err == OK) *out = (struct team_row){p.leaf.time_ms, p.leaf.index};
    past_free(&p);
    return err;
}

/* --- versions and records --- */

bool derive_version_key(uint8_t key[static 20], const struct arguments *args)
{
    const struct id *record = NULL;
    uint32_t version = 1;
    if (args->action == ACTION_RECORD_CREATE) {
        record = &args->record_create.record;
    } else if (args->action == ACTION_RECORD_COPY) {
        record = &args->record_copy.record;
    } else if (args->action == ACTION_RECORD_UPDATE) {
        record = &args->record_update.record;
        version = (uint32_t)(args->record_update.base_version + 1);
    } else if (args->action == ACTION_RECORD_DELETE) {
        record = &args->record_delete.record;
        version = (uint32_t)(args->record_delete.base_version + 1);
    }
    if (!record) return false;
    memcpy(key, record->bytes, 16);
    put_be32(key + 16, version);
    return true;
}

/* The newest version up to number `most` that is stored. ERR_NOT_FOUND: none. */
static enum err version_up_to(uint32_t *number, struct version *out, struct table_cursor *c, struct table_txn *txn,
                              const struct id *id, uint32_t most)
{
    uint8_t key[20];
    memcpy(key, id->bytes, 16);
    put_be32(key + 16, most);
    enum err err = table_cursor_seek_back(c, BYTES(key));
    if (err != OK) return err;
    struct bytes at = table_cursor_key(c);
    if (at.size != sizeof key || memcmp(at.data, id->bytes, 16) != 0) return ERR_NOT_FOUND;
    *number = get_be32(at.data + 16);
    return state_version_get(out, txn, id, *number);
}

/* The newest version of a record that leaf `index` found. ERR_NOT_FOUND: none. Numbers and leaves rise together, and
 * records of a monitor have very many: those between are looked at by halves. */
static enum err newest_version(uint32_t *number, struct version *out, struct table_txn *txn, const struct id *id,
                               uint64_t index)
{
    struct table_cursor *c;
    uint32_t low = 0, high, n; /* up to `low` it is known; from `high` on all are too new */
    struct version v;
    bool found = false;
    enum err err = table_cursor_open(&c, txn, TABLE_VERSION);
    if (err != OK) return err;
    err = version_up_to(number, out, c, txn, id, UINT32_MAX);
    high = err == OK && out->index >= index ? *number : 0;
    if (err == OK) found = out->index < index;
    while (err == OK && low + 1 < high) {
        uint32_t middle = low + (high - low) / 2;
        err = version_up_to(&n, &v, c, txn, id, middle);
        if (err == OK && v.index >= index) {
            high = n;
            continue;
        }
        low = middle;
        if (err == OK) {
            *number = n;
            *out = v;
            found = true;
        } else if (err == ERR_NOT_FOUND) {
            err = OK;
        }
    }
    table_cursor_close(c);
    return err != OK ? err : found ? OK : ERR_NOT_FOUND;
}

static enum err creator_of(struct record *out, struct table_txn *txn, const struct id *id, uint64_t index)
{
    struct buffer bytes = {0};
    struct leaf leaf;
    struct arguments args;
    const struct id *record = NULL, *patient = NULL;
    struct bytes kind = {0};
    enum err err = derive_load(&leaf, &args, &bytes, txn, index);
    if (err == OK && args.action == ACTION_RECORD_CREATE) {
        record = &args.record_create.record;
        patient = &args.record_create.patient;
        kind = args.record_create.kind;
    } else if (err == OK && args.action == ACTION_RECORD_COPY) {
        record = &args.record_copy.record;
        patient = &args.record_copy.patient;
        kind = args.record_copy.kind;
    }
    if (err == ERR_NOT_FOUND) err = ERR_CORRUPT;
    if (err == OK && (!record || !id_equal(record, id) || leaf.decision != DECISION_APPROVED ||
                      kind.size >= sizeof out->kind))
        err = ERR_CORRUPT;
    if (err == OK) {
        out->patient = *patient;
        memcpy(out->kind, kind.data, kind.size);
        out->created = index;
    }
    buffer_free(&bytes);
    return err;
}

enum err derive_record(struct record *out, struct table_txn *txn, const struct id *id)
{
    struct version first;
    memset(out, 0, sizeof *out);
    enum err err = newest_version(&out->latest, &out->version, txn, id, UINT64_MAX);
    if (err == OK) err = state_version_get(&first, txn, id, 1);
    return err == OK ? creator_of(out, txn, id, first.index) : err;
}

/* --- the rows of a leaf --- */

static struct derived *add(struct derivation *d, enum table_number table, struct bytes key)
{
    CHECK(d->count < DERIVED_MOST && key.size <= sizeof d->rows[0].key);
    struct derived *row = &d->rows[d->count++];
    memset(row, 0, sizeof *row);
    row->table = table;
    row->key_size = (uint16_t)key.size;
    memcpy(row->key, key.data, key.size);
    return row;
}

static void add_facts(struct derivation *d, const struct leaf *leaf, enum table_number table, struct bytes key)
{
    struct derived *row = add(d, table, key);
    row->is.facts = (struct log_facts){.time_ms = leaf->time_ms, .action = (uint16_t)leaf->operation.action,
                                       .decision = (uint8_t)leaf->decision};
}

static void add_subject(struct derivation *d, const struct leaf *leaf, const struct id *person)
{
    uint8_t key[LOG_SUBJECT_KEY];
    state_log_subject_key(key, person, leaf->index);
    if (!derived_find(d, TABLE_LOG_SUBJECT, BYTES(key))) add_facts(d, leaf, TABLE_LOG_SUBJECT, BYTES(key));
}

/* The second person of an approved operation. */
static enum err add_also(struct derivation *d, struct table_txn *txn, const struct leaf *leaf,
                         const struct arguments *args)
{
    struct record source;
    if (args->action == ACTION_TEAM_ASSIGN) add_subject(d, leaf, &args->team_assign.user);
    if (args->action != ACTION_RECORD_COPY) return OK;
    enum err err = state_record_get(&source, txn, &args->record_copy.source);
    if (err == OK) add_subject(d, leaf, &source.patient);
    return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? OK : err; /* found in its turn */
}

static void add_seen(struct derivation *d, const struct leaf *leaf, uint64_t now_ms)
{
    const struct operation *op = &leaf->operation;
    uint8_t key[8 + 1 + 16 + 16];
    put_be64(key, op->issued_at_ms);
    key[8] = (uint8_t)op->actor.kind;
    memcpy(key + 9, op->actor.id.bytes, 16);
    memcpy(key + 25, op->request_id.bytes, 16);
    struct derived *row = add(d, TABLE_SEEN, BYTES(key));
    row->is.seen = (struct seen){leaf->index, (uint8_t)leaf->decision, (uint16_t)leaf->reason};
    row->optional = op->issued_at_ms + LIMIT_SKEW_MS < now_ms;
}

static enum err set_version(struct version *out, struct table_txn *txn, const struct leaf *leaf,
                            const struct arguments *args)
{
    const struct digest *tag = NULL;
    struct version before = {0};
    enum err err = OK;
    if (args->action == ACTION_RECORD_CREATE) {
        out->conf = (uint8_t)args->record_create.conf;
        tag = &args->record_create.content_tag;
    } else if (args->action == ACTION_RECORD_COPY) {
        out->conf = (uint8_t)args->record_copy.conf;
        tag = &args->record_copy.content_tag;
    } else if (args->action == ACTION_RECORD_UPDATE) {
        out->conf = (uint8_t)args->record_update.conf;
        tag = &args->record_update.content_tag;
    } else {
        err = state_version_get(&before, txn, &args->record_delete.record, (uint32_t)args->record_delete.base_version);
        out->conf = before.conf;
        out->deleted = true;
    }
    if (tag) out->content_tag = *tag;
    static const struct digest none;
    out->has_tag = tag && !digest_equal(tag, &none);
    out->author = leaf->operation.actor.id;
    out->time_ms = leaf->time_ms;
    out->index = leaf->index;
    return err;
}

static enum err add_version(struct derivation *d, struct table_txn *txn, const struct leaf *leaf,
                            const struct arguments *args)
{
    uint8_t key[20];
    struct version version = {0};
    if (!derive_version_key(key, args)) return OK;
    enum err err = set_version(&version, txn, leaf, args);
    if (err == OK) add(d, TABLE_VERSION, BYTES(key))->is.version = version;
    return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? OK : err; /* found in its turn */
}

static void add_of_patient(struct derivation *d, const struct leaf *leaf, const struct arguments *args)
{
    uint8_t key[24];
    bool created = args->action == ACTION_RECORD_CREATE;
    if (!created && args->action != ACTION_RECORD_COPY) return;
    memcpy(key, created ? args->record_create.patient.bytes : args->record_copy.patient.bytes, 16);
    put_be64(key + 16, leaf->index);
    add(d, TABLE_PATIENT_RECORD, BYTES(key))->is.record =
        created ? args->record_create.record : args->record_copy.record;
}

static enum err add_opened(struct derivation *d, struct table_txn *txn, const struct leaf *leaf,
                           const struct arguments *args)
{
    static const struct id nobody;
    const struct args_record_read *read = &args->record_read;
    struct version version;
    uint32_t number = (uint32_t)read->version;
    uint8_t key[8];
    if (args->action != ACTION_RECORD_READ) return OK;
    d->opens_chart = id_equal(&read->record, &nobody);
    if (d->opens_chart) return OK;
    enum err err = number ? state_version_get(&version, txn, &read->record, number)
                          : newest_version(&number, &version, txn, &read->record, leaf->index);
    if (err == OK)
        add(d, TABLE_OPENED, scan_key(key, leaf->index))->is.opened =
            (struct opened){read->record, number, version.index};
    return err == ERR_NOT_FOUND || err == ERR_CORRUPT ? OK : err;
}

static enum err add_content(struct derivation *d, const struct leaf *leaf, const struct arguments *args,
                            struct bytes content)
{
    uint8_t key[8];
    struct content_info info;
    bool any = false;
    memset(&info, 0, sizeof info);
    enum err err = content.size ? content_describe(&info, &any, args, &leaf->operation, content) : OK;
    if (err == OK && any) add(d, TABLE_CONTENT_INFO, scan_key(key, leaf->index))->is.content = info;
    return err;
}

/* What an approved operation changed. */
static enum err add_changes(struct derivation *d, struct table_txn *txn, const struct leaf *leaf,
                            const struct arguments *args, struct bytes content)
{
    uint8_t key[8];
    enum err err = add_also(d, txn, leaf, args);
    if (err == OK) err = add_version(d, txn, leaf, args);
    if (err == OK) err = add_opened(d, txn, leaf, args);
    if (err == OK) err = add_content(d, leaf, args, content);
    add_of_patient(d, leaf, args);
    if (args->action == ACTION_POLICY_SET)
        add(d, TABLE_POLICY, scan_key(key, leaf->index))->is.policy = args->policy_set.policy;
    return err;
}

enum err derive_leaf(struct derivation *out, struct table_txn *txn, const struct leaf *leaf,
                     const struct arguments *args, bool args_good, struct bytes content, uint64_t now_ms,
                     struct bytes first_policy)
{
    static const struct id nobody;
    uint8_t actor[LOG_ACTOR_KEY], key[8];
    const struct operation *op = &leaf->operation;
    out->index = leaf->index;
    out->count = 0;
    out->opens_chart = false;
    out->role_known = true;
    memset(out->role, 0, sizeof out->role);
    if (leaf->index == 0) {
        add(out, TABLE_POLICY, scan_key(key, 0))->is.policy = first_policy;
        return OK;
    }
    out->actor = op->actor.id;
    out->role_known = op->actor.kind == ACTOR_NODE;
    state_log_actor_key(actor, (uint8_t)op->actor.kind, &op->actor.id, leaf->index);
    add_facts(out, leaf, TABLE_LOG_ACTOR, BYTES(actor));
    if (!id_equal(&leaf->subject, &nobody)) add_subject(out, leaf, &leaf->subject);
    add_seen(out, leaf, now_ms);
    if (leaf->decision != DECISION_APPROVED || !args_good) return OK;
    return add_changes(out, txn, leaf, args, content);
}

const struct derived *derived_find(const struct derivation *d, enum table_number table, struct bytes key)
{
    for (unsigned i = 0; i < d->count; i++)
        if (d->rows[i].table == table && bytes_equal(bytes_of(d->rows[i].key, d->rows[i].key_size), key))
            return &d->rows[i];
    return NULL;
}

/* --- comparing --- */

static bool same_version(const struct version *a, const struct version *b)
{
    return a->conf == b->conf && a->deleted == b->deleted && a->has_tag == b->has_tag && a->index == b->index &&
           digest_equal(&a->content_tag, &b->content_tag) && id_equal(&a->author, &b->author) &&
           a->time_ms == b->time_ms;
}

static bool same_content(const struct content_info *a, const struct content_info *b)
{
    return bytes_equal(bytes_of(a->context, a->context_size), bytes_of(b->context, b->context_size)) &&
           bytes_equal(bytes_of(a->capsule, a->capsule_size), bytes_of(b->capsule, b->capsule_size)) &&
           digest_equal(&a->ciphertext_hash, &b->ciphertext_hash) && a->ciphertext_size == b->ciphertext_size;
}

static bool same_facts(const struct log_facts *expected, const struct derivation *of, struct bytes value)
{
    struct log_facts found;
    return state_log_facts_decode(&found, value) == OK && found.time_ms == expected->time_ms &&
           found.action == expected->action && found.decision == expected->decision &&
           (of->role_known ? strcmp(found.role, of->role) == 0 : found.role[0] != 0);
}

static bool same_seen(const struct seen *expected, struct bytes value)
{
    return value.size == 11 && get_be64(value.data) == expected->index && value.data[8] == expected->decision &&
           get_be16(value.data + 9) == expected->reason;
}

static bool same_opened(const struct opened *expected, struct bytes value)
{
    struct opened_rest rest;
    size_t count;
    if (opened_decode(&count, &rest, value) != OK || count != 1 || rest.next || rest.left_out) return false;
    struct opened found = opened_at(value, 0);
    return id_equal(&found.record, &expected->record) && found.version == expected->version &&
           found.content == expected->content;
}

static enum err check_version(const struct derived *row, struct table_txn *txn)
{
    struct id id;
    struct version found;
    memcpy(id.bytes, row->key, sizeof id.bytes);
    enum err err = state_version_get(&found, txn, &id, get_be32(row->key + 16));
    return err == OK && !same_version(&row->is.version, &found) ? ERR_CORRUPT : err;
}

static enum err check_content(const struct derived *row, struct table_txn *txn)
{
    struct content_info found;
    enum err err = state_content_get(&found, txn, get_be64(row->key));
    return err == OK && !same_content(&row->is.content, &found) ? ERR_CORRUPT : err;
}

enum err derived_check(const struct derived *row, const struct derivation *of, struct table_txn *txn,
                       struct buffer *value)
{
    bool same = false;
    if (row->table == TABLE_VERSION) return check_version(row, txn);
    if (row->table == TABLE_CONTENT_INFO) return check_content(row, txn);
    enum err err = table_get(txn, (uint8_t)row->table, bytes_of(row->key, row->key_size), value);
    if (err == ERR_NOT_FOUND && row->optional) return OK;
    if (err != OK) return err;
    struct bytes found = buffer_bytes(value);
    if (row->table == TABLE_LOG_ACTOR || row->table == TABLE_LOG_SUBJECT)
        same = same_facts(&row->is.facts, of, found);
    else if (row->table == TABLE_SEEN)
        same = same_seen(&row->is.seen, found);
    else if (row->table == TABLE_PATIENT_RECORD)
        same = bytes_equal(found, BYTES(row->is.record.bytes));
    else if (row->table == TABLE_POLICY)
        same = bytes_equal(found, row->is.policy);
    else if (row->table == TABLE_OPENED)
        same = same_opened(&row->is.opened, found);
    return same ? OK : ERR_CORRUPT;
}

static bool is_facts(const struct derived *row)
{
    return row->table == TABLE_LOG_ACTOR || row->table == TABLE_LOG_SUBJECT;
}

/* --- writing --- */

static enum err put_facts(struct table_txn *txn, const struct derived *row, const char *role)
{
    static const struct id nobody;
    struct log_facts facts = row->is.facts;
    struct id id;
    strcpy(facts.role, role);
    if (row->table == TABLE_LOG_SUBJECT) {
        memcpy(id.bytes, row->key, sizeof id.bytes);
        return state_log_put_also(txn, get_be64(row->key + 16), &id, &facts);
    }
    memcpy(id.bytes, row->key + 1, sizeof id.bytes);
    return state_log_put(txn, get_be64(row->key + 17), &nobody, row->key[0], &id, &facts);
}

static enum err put_version(struct table_txn *txn, const struct derived *row)
{
    struct id id;
    memcpy(id.bytes, row->key, sizeof id.bytes);
    return state_version_put(txn, &id, get_be32(row->key + 16), &row->is.version);
}

static enum err put_seen(struct table_txn *txn, const struct derived *row)
{
    struct id actor, request;
    memcpy(actor.bytes, row->key + 9, sizeof actor.bytes);
    memcpy(request.bytes, row->key + 25, sizeof request.bytes);
    return state_seen_put(txn, get_be64(row->key), row->key[8], &actor, &request, &row->is.seen);
}

static enum err put_row(struct table_txn *txn, const struct derived *row, const char *role)
{
    struct bytes key = bytes_of(row->key, row->key_size);
    if (is_facts(row)) return put_facts(txn, row, role);
    if (row->table == TABLE_VERSION) return put_version(txn, row);
    if (row->table == TABLE_SEEN) return put_seen(txn, row);
    if (row->table == TABLE_PATIENT_RECORD)
        return table_put(txn, TABLE_PATIENT_RECORD, key, BYTES(row->is.record.bytes));
    if (row->table == TABLE_POLICY) return state_policy_put(txn, get_be64(row->key), row->is.policy);
    if (row->table == TABLE_OPENED)
        return state_opened_put(txn, get_be64(row->key), &row->is.opened, 1, &(struct opened_rest){0});
    CHECK(row->table == TABLE_CONTENT_INFO);
    return state_content_put(txn, get_be64(row->key), &row->is.content);
}

enum err derived_mend(struct derivation *d, struct table_txn *txn, const struct genesis *genesis, struct buffer *value)
{
    enum err err = OK;
    if (!d->role_known) {
        err = derive_role(d->role, txn, genesis, &d->actor, d->index);
        if (err == ERR_NOT_FOUND || err == ERR_CORRUPT || err == ERR_TOO_LARGE) return ERR_INVALID;
        d->role_known = true;
    }
    for (unsigned i = 0; i < d->count && err == OK; i++) {
        err = derived_check(&d->rows[i], d, txn, value);
        if (err == ERR_NOT_FOUND || err == ERR_CORRUPT) err = put_row(txn, &d->rows[i], d->role);
    }
    return err;
}
