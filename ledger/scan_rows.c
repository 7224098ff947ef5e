/* The phase of the rows: every table in the order of its keys. A row that a leaf made
 * must be one that this leaf makes (so that nothing can be put in beside); rows that
 * belong together must agree. */
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "ledger/checkpoint.h"
#include "ledger/content.h"
#include "ledger/keygen.h"
#include "ledger/proof.h"
#include "ledger/scan_internal.h"

#define CHECKPOINT_COST (16 * KIB) /* of a checkpoint's signatures, as bytes read */

/* One row being looked at. */
struct row_look {
    struct scan *s;
    struct table_txn *txn;
    const struct meta *meta;
    struct damage *found;
    enum table_number table;
    struct bytes key;
    enum err sealed; /* OK, or ERR_CORRUPT: the value does not open */
    struct bytes value;
};

static unsigned long long u(uint64_t n) { return (unsigned long long)n; }

static bool passed(const struct scan *s, enum damage_kind kind) { return (s->passed & 1u << kind) != 0; }

static enum err tell(struct row_look *r, enum damage_kind kind, uint64_t index, const char *what)
{
    if (!passed(r->s, kind))
        scan_damage(r->found, kind, r->table, r->key, index, false, "table %s: %s (leaf %llu)",
                    scan_table_name((uint8_t)r->table), r->sealed == OK ? what : "a seal does not open", u(index));
    return OK;
}

static enum err tell_gone(struct row_look *r, enum table_number table, struct bytes key, uint64_t index,
                          const char *what)
{
    if (!passed(r->s, DAMAGE_DERIVED))
        scan_damage(r->found, DAMAGE_DERIVED, table, key, index, true, "table %s: %s (leaf %llu)",
                    scan_table_name((uint8_t)table), what, u(index));
    return OK;
}

/* Not the store's failure, but what a scan is to find. */
static bool is_damage(enum err err) { return err == ERR_NOT_FOUND || err == ERR_CORRUPT; }

/* --- rows that one leaf makes --- */

/* Leaf `index` into the work; ERR_NOT_FOUND: it is not there or not to be read, which the leaves' phase tells. */
static enum err open_leaf(struct row_look *r, uint64_t index, bool *args_good)
{
    struct scan_work *w = r->s->work;
    enum err err = proof_leaf(&w->leaf_bytes, r->txn, index);
    if (err == OK && leaf_decode(&w->leaf, buffer_bytes(&w->leaf_bytes)) != OK) err = ERR_CORRUPT;
    *args_good = err == OK && index > 0 &&
                 arguments_decode(&w->args, w->leaf.operation.action, w->leaf.operation.args) == OK;
    return err == ERR_CORRUPT ? ERR_NOT_FOUND : err;
}

/* Under whom a denied operation may be listed beside its subject. */
static bool may_be_also(const struct scan_work *w, struct table_txn *txn, struct bytes key)
{
    struct record source;
    if (w->args.action == ACTION_TEAM_ASSIGN) return memcmp(key.data, w->args.team_assign.user.bytes, 16) == 0;
    return w->args.action == ACTION_RECORD_COPY &&
           state_record_get(&source, txn, &w->args.record_copy.source) == OK &&
           memcmp(key.data, source.patient.bytes, 16) == 0;
}

/* Whether the leaf in the work can have made the row; `what` says what is wrong otherwise. */
static bool made_by_leaf(struct row_look *r, bool args_good, const char **what)
{
    struct scan_work *w = r->s->work;
    const struct leaf *leaf = &w->leaf;
    bool approved = leaf->index > 0 && leaf->decision == DECISION_APPROVED;
    *what = "a row that its leaf does not make";
    const struct derived *row = derived_find(&w->derivation, r->table, r->key);
    if (row) return true; /* its value was compared when the leaf was looked at */
    if (r->table == TABLE_LOG_SUBJECT)
        return args_good && !approved && leaf->index > 0 && may_be_also(w, r->txn, r->key);
    if (r->table == TABLE_ATTACHMENT) return leaf->index > 0 && content_kept(&leaf->operation, leaf->decision);
    if (r->table == TABLE_CONTENT_INFO)
        return approved && args_good && content_kept(&leaf->operation, leaf->decision) &&
               derive_version_key((uint8_t[20]){0}, &w->args);
    return r->table == TABLE_OPENED && w->derivation.opens_chart;
}

static enum err check_made(struct row_look *r, uint64_t index)
{
    struct scan_work *w = r->s->work;
    bool args_good;
    const char *what;
    if (index >= r->meta->size) return tell(r, DAMAGE_STRAY, index, "a row beyond the ledger's end");
    enum err err = open_leaf(r, index, &args_good);
    if (err == ERR_NOT_FOUND) return OK;
    if (err == OK)
        err = derive_leaf(&w->derivation, r->txn, &w->leaf, &w->args, args_good, (struct bytes){0}, r->meta->time_ms,
                          r->s->genesis->policy);
    r->s->bytes += w->leaf_bytes.size;
    if (err != OK) return err;
    if (!made_by_leaf(r, args_good, &what)) return tell(r, DAMAGE_STRAY, index, what);
    if (r->sealed == OK) return OK;
    /* A leaf that came after this pass began. What a chart opened, only a replay tells. */
    return tell(r, w->derivation.opens_chart ? DAMAGE_STATE : DAMAGE_DERIVED, index, "");
}

/* Tables whose keys end in the leaf's index. */
static enum err check_by_key(struct row_look *r, size_t prefix)
{
    if (r->key.size != prefix + 8) return tell(r, DAMAGE_STRAY, 0, "a key that no row has");
    return check_made(r, get_be64(r->key.data + prefix));
}

static enum err check_opened(struct row_look *r)
{
    struct version version;
    struct opened_rest rest;
    size_t count;
    enum err err = check_by_key(r, 0);
    if (err != OK || r->found->kind != DAMAGE_NONE || r->sealed != OK) return err;
    uint64_t index = get_be64(r->key.data);
    if (opened_decode(&count, &rest, r->value) != OK) return tell(r, DAMAGE_STATE, index, "no list of versions");
    for (size_t i = 0; i < count; i++) {
        struct opened opened = opened_at(r->value, i);
        err = state_version_get(&version, r->txn, &opened.record, opened.version);
        if (err == ERR_CORRUPT) continue; /* found in its turn */
        bool fits = err == OK && version.index == opened.content && version.index < index;
        if (err != OK && err != ERR_NOT_FOUND) return err;
        if (!fits) return tell(r, DAMAGE_STATE, index, "a read opens a version that is not there");
    }
    return OK;
}

static enum err check_seen(struct row_look *r)
{
    if (r->key.size != 41) return tell(r, DAMAGE_STRAY, 0, "a key that no row has");
    if (r->sealed != OK || r->value.size != 11) return tell(r, DAMAGE_DERIVED, 0, "not the fields of an operation");
    return check_made(r, get_be64(r->value.data));
}

static enum err check_version(struct row_look *r)
{
    struct version version;
    struct record record;
    struct id id;
    if (r->key.size != 20) return tell(r, DAMAGE_STRAY, 0, "a key that no row has");
    memcpy(id.bytes, r->key.data, sizeof id.bytes);
    uint32_t number = get_be32(r->key.data + 16);
    enum err err = state_version_get(&version, r->txn, &id, number);
    if (err == OK) return check_made(r, version.index);
    if (err != ERR_CORRUPT) return err;
    err = state_record_get(&record, r->txn, &id);
    if (err == ERR_NOT_FOUND || (err == OK && number > record.latest))
        return tell(r, DAMAGE_STRAY, 0, "a version that the record does not have");
    return err == OK || err == ERR_CORRUPT ? OK : err; /* the next pass comes to the leaf that made it */
}

static enum err check_patient_record(struct row_look *r) { return check_by_key(r, 16); }
static enum err check_of_leaf(struct row_look *r) { return check_by_key(r, 0); }
static enum err check_log_subject(struct row_look *r) { return check_by_key(r, 16); }
static enum err check_log_actor(struct row_look *r) { return check_by_key(r, 17); }

/* --- people --- */

static bool same_keys(const struct user *a, const struct user *b)
{
    bool same = a->key_count == b->key_count;
    for (uint32_t i = 0; same && i < a->key_count; i++)
        same = a->keys[i].revoked == b->keys[i].revoked && memcmp(&a->keys[i].key, &b->keys[i].key, 32) == 0;
    return same;
}

/* Who it is: keys, login, creation. Role, hospital and status are the state digest's to compare. */
static bool same_person(const struct user *a, const struct user *b)
{
    return a->created == b->created && a->person_index == b->person_index && a->has_login == b->has_login &&
           digest_equal(&a->login_tag, &b->login_tag) && same_keys(a, b);
}

static enum err check_links(struct row_look *r, const struct id *id, const struct user *user)
{
    struct id whose;
    enum err err = OK;
    for (uint32_t i = 0; i < user->key_count && err == OK; i++) {
        err = state_key_get(&whose, r->txn, &user->keys[i].key);
        if (is_damage(err) || (err == OK && !id_equal(&whose, id)))
            return tell_gone(r, TABLE_KEY, BYTES(user->keys[i].key.bytes), user->created,
                             "a user's key is not listed as theirs");
    }
    if (err != OK || !user->has_login) return err;
    err = state_login_get(&whose, r->txn, &user->login_tag);
    if (is_damage(err) || (err == OK && !id_equal(&whose, id)))
        return tell_gone(r, TABLE_LOGIN, BYTES(user->login_tag.bytes), user->created,
                         "a user's login is not listed as theirs");
    return err;
}

static enum err check_user(struct row_look *r)
{
    struct user user, expected;
    struct id id;
    if (r->key.size != sizeof id.bytes) return tell(r, DAMAGE_STRAY, 0, "a key that no row has");
    memcpy(id.bytes, r->key.data, sizeof id.bytes);
    enum err err = state_user_get(&user, r->txn, &id);
    enum err derived = derive_user(&expected, r->txn, r->s->genesis, &id);
    r->s->bytes += 1024;
    if (derived == ERR_NOT_FOUND) return tell(r, DAMAGE_STRAY, 0, "a user whom no leaf made");
    if (derived == ERR_CORRUPT || derived == ERR_TOO_LARGE) {
        if (err == ERR_CORRUPT) return tell(r, DAMAGE_STATE, 0, "not the fields of a user");
        return err == OK ? check_links(r, &id, &user) : err;
    }
    if (derived != OK) return derived;
    if (err != OK || !same_person(&user, &expected))
        return tell(r, DAMAGE_DERIVED, expected.created, "not what the leaves about this user say");
    return check_links(r, &id, &user);
}

static enum err check_login(struct row_look *r)
{
    struct digest tag;
    struct id id;
    struct user user;
    if (r->key.size != sizeof tag.bytes) return tell(r, DAMAGE_STRAY, 0, "a key that no row has");
    memcpy(tag.bytes, r->key.data, sizeof tag.bytes);
    enum err err = state_login_get(&id, r->txn, &tag);
    if (err == ERR_CORRUPT) return tell(r, DAMAGE_DERIVED, 0, "not a user's id");
    if (err == OK) err = state_user_get(&user, r->txn, &id);
    if (err == ERR_CORRUPT) return OK;
    if (err == ERR_NOT_FOUND || (err == OK && !(user.has_login && digest_equal(&user.login_tag, &tag))))
        return tell(r, DAMAGE_STRAY, 0, "a login that nobody has");
    return err;
}

static enum err check_key(struct row_look *r)
{
    struct sign_public key;
    struct id id;
    struct user user;
    if (r->key.size != sizeof key.bytes) return tell(r, DAMAGE_STRAY, 0, "a key that no row has");
    memcpy(key.bytes, r->key.data, sizeof key.bytes);
    enum err err = state_key_get(&id, r->txn, &key);
    if (err == ERR_CORRUPT) return tell(r, DAMAGE_DERIVED, 0, "not a user's id");
    if (err == OK) err = state_user_get(&user, r->txn, &id);
    if (err == ERR_CORRUPT) return OK;
    return err == ERR_NOT_FOUND ? tell(r, DAMAGE_STATE, 0, "a key of somebody who is not there") : err;
}

static enum err check_team(struct row_look *r)
{
    struct id patient, user;
    struct team_row row, expected;
    if (r->key.size != 32) return tell(r, DAMAGE_STRAY, 0, "a key that no row has");
    memcpy(patient.bytes, r->key.data, sizeof patient.bytes);
    memcpy(user.bytes, r->key.data + 16, sizeof user.bytes);
    enum err err = state_team_get(&row, r->txn, &patient, &user);
    enum err derived = derive_team(&expected, r->txn, &patient, &user);
    r->s->bytes += 1024;
    if (derived == ERR_TOO_LARGE || derived == ERR_CORRUPT)
        return err == ERR_CORRUPT ? tell(r, DAMAGE_STATE, 0, "not the fields of a team") : OK;
    if (derived == ERR_NOT_FOUND) /* with an altered key it is one that is missing now, which no leaf would show */
        return tell(r, r->sealed == OK ? DAMAGE_STRAY : DAMAGE_STATE, 0, "a membership that no leaf gives");
    if (derived != OK) return derived;
    bool same = err == OK && row.index == expected.index && row.since_ms == expected.since_ms;
    return same ? OK : tell(r, DAMAGE_DERIVED, expected.index, "a membership of another leaf");
}

/* --- records --- */

static bool same_record(const struct record *a, const struct record *b)
{
    return id_equal(&a->patient, &b->patient) && strcmp(a->kind, b->kind) == 0 && a->created == b->created &&
           a->latest == b->latest && a->version.index == b->version.index && a->version.conf == b->version.conf &&
           a->version.deleted == b->version.deleted && a->version.has_tag == b->version.has_tag &&
           digest_equal(&a->version.content_tag, &b->version.content_tag) &&
           id_equal(&a->version.author, &b->version.author) && a->version.time_ms == b->version.time_ms;
}

static enum err check_record(struct row_look *r)
{
    struct record record, expected;
    struct id id;
    if (r->key.size != sizeof id.bytes) return tell(r, DAMAGE_STRAY, 0, "a key that no row has");
    memcpy(id.bytes, r->key.data, sizeof id.bytes);
    enum err err = state_record_get(&record, r->txn, &id);
    enum err derived = derive_record(&expected, r->txn, &id);
    r->s->bytes += 1024;
    if (derived == ERR_NOT_FOUND) return tell(r, DAMAGE_STRAY, 0, "a record without a version");
    if (derived == ERR_CORRUPT) return err == ERR_CORRUPT ? tell(r, DAMAGE_STATE, 0, "not the fields of a record") : OK;
    if (derived != OK) return derived;
    return err == OK && same_record(&record, &expected)
               ? OK
               : tell(r, DAMAGE_DERIVED, expected.created, "not what the record's versions and its leaf say");
}

/* --- what there is one of, and the node's own --- */

static enum err check_epoch(struct row_look *r)
{
    const struct scan_work *w = r->s->work;
    struct epoch epoch;
    bool args_good = false;
    if (r->key.size != 9) return tell(r, DAMAGE_STATE, 0, "a key that no row has");
    enum err err = state_epoch_get(&epoch, r->txn, r->key.data[0], get_be64(r->key.data + 1));
    if (err == ERR_CORRUPT) return tell(r, DAMAGE_STATE, 0, "not the fields of an epoch");
    if (err == OK) err = epoch.activation < r->meta->size ? open_leaf(r, epoch.activation, &args_good) : ERR_INVALID;
    if (err == ERR_NOT_FOUND) return OK;
    if (err != OK && err != ERR_INVALID) return err;
    const struct args_key_activate *a = &w->args.key_activate;
    bool same = args_good && w->args.action == ACTION_KEY_ACTIVATE && memcmp(&a->key, &epoch.key, sizeof a->key) == 0 &&
                a->n == epoch.n && memcmp(a->verification, epoch.verification, a->n * sizeof a->verification[0]) == 0;
    return same ? OK : tell(r, DAMAGE_STATE, epoch.activation, "keys that its leaf did not activate");
}

static enum err check_keygen(struct row_look *r)
{
    struct keygen keygen;
    enum err err = r->key.size == 1 ? keygen_get(&keygen, r->txn, r->key.data[0]) : ERR_CORRUPT;
    return err == ERR_CORRUPT ? tell(r, DAMAGE_STATE, 0, "not the state of a key generation") : err;
}

static enum err check_meta(struct row_look *r)
{
    struct meta meta;
    enum err err = state_meta_get(&meta, r->txn);
    if (err != OK) return err == ERR_CORRUPT ? tell(r, DAMAGE_STATE, 0, "not the fields of the state") : err;
    bool same = table_count(r->txn, TABLE_USER) == meta.users && table_count(r->txn, TABLE_RECORD) == meta.records;
    return same ? OK : tell(r, DAMAGE_STATE, 0, "other numbers of users or records than there are");
}

static enum err check_missing(struct row_look *r)
{
    if (r->key.size != 8 || get_be64(r->key.data) >= r->meta->size)
        return tell(r, DAMAGE_LOCAL, 0, "a note of an attachment that no leaf names");
    return r->sealed == OK ? OK : tell(r, DAMAGE_STATE, get_be64(r->key.data), "");
}

/* Peers' own words: the root that k nodes co-signed must be this tree's. */
static enum err check_checkpoint(struct row_look *r)
{
    struct witnessed_view {
        uint64_t size;
        struct digest root;
        struct bytes note;
    } v;
    struct checkpoint checkpoint;
    struct digest root;
    struct unpack in = unpack_start(r->value);
    r->s->bytes += CHECKPOINT_COST;
    unpack_array_of(&in, 6); /* consensus/witness_rows.c */
    v.size = unpack_uint(&in);
    for (int i = 0; i < 3; i++) unpack_uint(&in);
    v.root = unpack_digest(&in);
    v.note = unpack_bin(&in, LIMIT_CHECKPOINT_NOTE);
    bool good = r->sealed == OK && unpack_done(&in) == OK && r->key.size == 8 && get_be64(r->key.data) == v.size;
    good = good && checkpoint_verify(&checkpoint, v.note, r->s->genesis) == OK && checkpoint.size == v.size &&
           digest_equal(&checkpoint.root, &v.root);
    if (!good) return tell(r, DAMAGE_LOCAL, 0, "a checkpoint without k cosignatures");
    if (v.size > r->meta->size) return OK; /* taken from peers, ahead of what is here */
    enum err err = proof_root(&root, r->txn, v.size);
    if (err == ERR_CORRUPT) return OK; /* a row of the tree is damaged: found with the leaves */
    if (err != OK) return err;
    return digest_equal(&root, &v.root)
               ? OK
               : tell(r, DAMAGE_ROOT, v.size, "k nodes co-signed another root than this tree has at that size");
}

static enum err check_state(struct row_look *r)
{
    return r->sealed == OK ? OK : tell(r, DAMAGE_STATE, 0, "");
}

static enum err check_local(struct row_look *r)
{
    return r->sealed == OK ? OK : tell(r, DAMAGE_LOCAL, 0, "");
}

/* --- all tables --- */

static enum err check_end(struct row_look *r)
{
    bool within = r->key.size == 8 && get_be64(r->key.data) < r->meta->size;
    return within ? OK : tell(r, DAMAGE_STRAY, 0, "a row beyond the ledger's end");
}

/* Of tables that aren't listed only the seal is looked at: what the leaves alone make is the
 * state's, anything else is a note that is made again. */
static const struct {
    enum table_number table;
    enum err (*check)(struct row_look *r);
} checks[] = {
    {TABLE_LEAF, check_end},
    {TABLE_TREE, check_end},
    {TABLE_ATTACHMENT, check_of_leaf},
    {TABLE_CONTENT_INFO, check_of_leaf},
    {TABLE_POLICY, check_of_leaf},
    {TABLE_SEEN, check_seen},
    {TABLE_USER, check_user},
    {TABLE_LOGIN, check_login},
    {TABLE_KEY, check_key},
    {TABLE_TEAM, check_team},
    {TABLE_RECORD, check_record},
    {TABLE_VERSION, check_version},
    {TABLE_PATIENT_RECORD, check_patient_record},
    {TABLE_LOG_SUBJECT, check_log_subject},
    {TABLE_LOG_ACTOR, check_log_actor},
    {TABLE_OPENED, check_opened},
    {TABLE_EPOCH, check_epoch},
    {TABLE_KEYGEN, check_keygen},
    {TABLE_META, check_meta},
    {TABLE_CHECKPOINT, check_checkpoint},
    {TABLE_MISSING, check_missing},
    {TABLE_APPLIED, check_state},
    {TABLE_DKG_SECRET, check_state}, /* nobody could make these again */
    {TABLE_BLOB, check_state},
};

static enum err check_row(struct row_look *r)
{
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++)
        if (checks[i].table == r->table) return checks[i].check(r);
    return table_is_replicated(r->table) ? check_state(r) : check_local(r);
}

/* Leaves, the tree and attachments were read with the leaves: only their keys are looked at. */
static bool keys_only(enum table_number table)
{
    return table == TABLE_LEAF || table == TABLE_TREE || table == TABLE_ATTACHMENT;
}

static bool skips(const struct row_look *r)
{
    return (r->table == TABLE_LEAF || r->table == TABLE_TREE) &&
           table_count(r->txn, (uint8_t)r->table) == r->meta->size;
}

static enum err tell_store(struct row_look *r, const char *what)
{
    if (!passed(r->s, DAMAGE_STORE))
        scan_damage(r->found, DAMAGE_STORE, r->table, r->key, 0, false, "table %s: %s",
                    scan_table_name((uint8_t)r->table), what);
    return OK;
}

/* A row that is wrong, and that its own key does not lead to, nobody could write anew or remove: reads pass it by. */
static enum err judge_row(struct row_look *r)
{
    enum err err = check_row(r);
    bool good = err == OK && r->sealed == OK && r->found->kind == DAMAGE_NONE;
    if (good || (err != OK && !is_damage(err))) return err;
    enum err there = table_exists(r->txn, (uint8_t)r->table, r->key);
    if (there != OK && !is_damage(there)) return there;
    if (there != OK) return tell_store(r, "a row that its own key does not lead to");
    return err == OK ? OK : tell_store(r, "a row whose key leads elsewhere"); /* of the table's end it would speak */
}

static enum err look_at_row(struct row_look *r, struct table_cursor *c)
{
    struct scan_work *w = r->s->work;
    uint8_t key[TABLE_KEY_MAX];
    struct bytes at = table_cursor_key(c);
    r->key = bytes_of(memcpy(key, at.data, at.size), at.size);
    r->sealed = OK;
    buffer_clear(&w->row);
    if (!keys_only(r->table)) r->sealed = table_cursor_value(c, &w->row);
    if (r->sealed != OK && r->sealed != ERR_CORRUPT) return r->sealed;
    r->value = buffer_bytes(&w->row);
    r->s->bytes += at.size + w->row.size;
    r->s->rows++;
    enum err err = judge_row(r);
    if (err != OK || r->found->kind != DAMAGE_NONE) return err;
    memcpy(r->s->key, key, r->key.size);
    r->s->key_size = (uint16_t)r->key.size;
    r->s->passed = 0;
    return OK;
}

/* Behind the last key that was checked, which may be gone by now. */
static enum err resume(struct table_cursor *c, const struct scan *s)
{
    struct bytes key = bytes_of(s->key, s->key_size);
    enum err err = table_cursor_seek(c, key);
    return err == OK && s->key_size && bytes_equal(table_cursor_key(c), key) ? table_cursor_next(c) : err;
}

/* ERR_NOT_FOUND: the table's end. */
static enum err table_step(struct row_look *r, uint64_t until)
{
    struct table_cursor *c;
    enum err err = skips(r) ? ERR_NOT_FOUND : table_cursor_open(&c, r->txn, (uint8_t)r->table);
    if (err != OK) return err;
    err = resume(c, r->s);
    while (err == OK) {
        err = look_at_row(r, c);
        if (err != OK || r->found->kind != DAMAGE_NONE || scan_enough(r->s, until)) break;
        err = table_cursor_next(c);
    }
    table_cursor_close(c);
    return err;
}

/* The table with the next higher number; 0: none. */
static uint8_t next_table(uint8_t after)
{
    uint8_t next = 0;
    for (size_t i = 0; i < ledger_tables_count; i++)
        if (ledger_tables[i].table > after && (!next || ledger_tables[i].table < next)) next = ledger_tables[i].table;
    return next;
}

enum err scan_rows_step(struct scan *s, struct table_txn *txn, uint64_t until, const struct meta *meta,
                        struct damage *found)
{
    enum err err = OK;
    while (err == OK && found->kind == DAMAGE_NONE && s->phase == SCAN_ROWS && !scan_enough(s, until)) {
        if (s->table == 0) s->table = next_table(0);
        struct row_look r = {.s = s, .txn = txn, .meta = meta, .found = found, .table = (enum table_number)s->table};
        err = table_step(&r, until);
        if (err == ERR_CORRUPT) { /* of moving: seals are judged row by row */
            scan_damage(found, DAMAGE_STORE, r.table, bytes_of(s->key, s->key_size), 0, false,
                        "the pages of table %s are damaged", scan_table_name((uint8_t)r.table));
            err = OK;
        } else if (err == ERR_NOT_FOUND) {
            s->table = next_table(s->table);
            s->key_size = 0;
            s->passed = 0;
            if (s->table == 0) s->phase = SCAN_DONE;
            err = OK;
        }
    }
    return err;
}
