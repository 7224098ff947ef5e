/* Records, their versions, and events of other systems. */
#include <string.h>

#include "base/check.h"
#include "crypto/aead.h"
#include "ledger/fields.h"
#include "ledger/rules.h"

/* The record, its patient as subject. What operations claim of a record that
 * belongs to somebody else concerns its real patient, who is to see it. */
static enum reason find_record(struct step *step, struct record *out, const struct id *id, const struct id *claimed)
{
    enum err err = state_record_get(out, step->txn, id);
    if (err == ERR_NOT_FOUND) return REASON_UNKNOWN_RECORD;
    if (err != OK) return step_failed(step, err);
    step->subject = out->patient;
    return claimed && !id_equal(claimed, &out->patient) ? REASON_UNKNOWN_RECORD : REASON_NONE;
}

static enum confidentiality higher(enum confidentiality a, enum confidentiality b) { return a > b ? a : b; }

/* An earlier version is as confidential as the latest: who raised it meant the record. */
static enum confidentiality conf_of(const struct record *record, const struct version *version)
{
    return higher((enum confidentiality)version->conf, (enum confidentiality)record->version.conf);
}

/* Permission for a record that is there. */
static enum reason permit_record(struct step *step, enum action action, const struct record *record,
                                 enum confidentiality conf)
{
    struct user patient;
    return step_patient(step, &patient, action, &record->patient, conf);
}

static enum reason unused_record(struct step *step, const struct id *id)
{
    enum err err = table_exists(step->txn, TABLE_RECORD, BYTES(id->bytes));
    if (err == ERR_NOT_FOUND) return REASON_NONE;
    return err == OK ? REASON_RECORD_EXISTS : step_failed(step, err);
}

static enum reason decide_create(struct step *step)
{
    const struct args_record_create *args = &step->args.record_create;
    struct user patient;
    enum reason reason = step_patient(step, &patient, ACTION_RECORD_CREATE, &args->patient, args->conf);
    if (reason == REASON_NONE && !step->ledger->records_key) reason = REASON_KEY_NOT_ACTIVE;
    return reason == REASON_NONE ? unused_record(step, &args->record) : reason;
}

/* The latest version is `base`, and it isn't a tombstone. */
static enum reason decide_base(const struct record *record, uint64_t base)
{
    if (record->version.deleted) return REASON_RECORD_DELETED;
    return record->latest == base ? REASON_NONE : REASON_CONFLICT;
}

static enum reason decide_update(struct step *step)
{
    const struct args_record_update *args = &step->args.record_update;
    struct record *record = &step->record;
    if (!step_has_permission(step, ACTION_RECORD_UPDATE)) return REASON_NO_PERMISSION;
    enum reason reason = find_record(step, record, &args->record, &args->patient);
    if (reason != REASON_NONE) return reason;
    enum confidentiality conf = higher((enum confidentiality)record->version.conf, args->conf);
    reason = permit_record(step, ACTION_RECORD_UPDATE, record, conf);
    if (reason == REASON_NONE) reason = decide_base(record, args->base_version);
    if (reason != REASON_NONE) return reason;
    const struct version *latest = &record->version;
    bool same = latest->has_tag && digest_equal(&latest->content_tag, &args->content_tag) && latest->conf == args->conf;
    return same ? REASON_UNCHANGED : REASON_NONE;
}

static enum reason decide_delete(struct step *step)
{
    const struct args_record_delete *args = &step->args.record_delete;
    if (!step_has_permission(step, ACTION_RECORD_DELETE)) return REASON_NO_PERMISSION;
    enum reason reason = find_record(step, &step->record, &args->record, &args->patient);
    if (reason == REASON_NONE)
        reason = permit_record(step, ACTION_RECORD_DELETE, &step->record,
                               (enum confidentiality)step->record.version.conf);
    return reason == REASON_NONE ? decide_base(&step->record, args->base_version) : reason;
}

static void open_version(struct step *step, const struct id *record, uint32_t version, uint64_t content)
{
    CHECK(step->opened_count < LIMIT_OPENED);
    step->opened[step->opened_count++] = (struct opened){*record, version, content};
}

/* A version of a record for reading or copying: its row in `out`. All but the
 * latest of a record that isn't deleted need record.history as well. */
static enum reason decide_version(struct step *step, struct version *out, enum action action, const struct id *id,
                                  const struct record *record, uint64_t number)
{
    bool latest = number == 0 || number == record->latest;
    *out = record->version;
    if (number > record->latest) return REASON_UNKNOWN_VERSION;
    enum err err = latest ? OK : state_version_get(out, step->txn, id, (uint32_t)number);
    if (err != OK) return step_failed(step, err);
    enum confidentiality conf = conf_of(record, out);
    enum reason reason = permit_record(step, action, record, conf);
    if (reason != REASON_NONE) return reason;
    if (out->deleted) return REASON_RECORD_DELETED;
    if (latest) return REASON_NONE;
    return permit_record(step, ACTION_RECORD_HISTORY, record, conf);
}

static enum reason decide_read_one(struct step *step)
{
    const struct args_record_read *args = &step->args.record_read;
    struct version version;
    enum reason reason = find_record(step, &step->record, &args->record, NULL);
    if (reason == REASON_NONE)
        reason = decide_version(step, &version, ACTION_RECORD_READ, &args->record, &step->record, args->version);
    if (reason != REASON_NONE) return reason;
    uint32_t number = args->version ? (uint32_t)args->version : step->record.latest;
    open_version(step, &args->record, number, version.index);
    return REASON_NONE;
}

/* Walks over a patient's records from a position (the index of the leaf that
 * created one). `visit` says whether to go on; it is told the position. */
struct walk {
    struct step *step;
    const struct id *patient;
    uint64_t from;
    uint32_t most; /* records to look at */
    uint64_t next; /* where the walk stopped; 0: the end */
    bool (*visit)(void *data, const struct id *id, const struct record *record);
    void *data;
};

static enum err walk_step(struct walk *walk, struct table_cursor *c, bool *on)
{
    struct buffer value = {0};
    struct record record;
    struct id id;
    enum err err = table_cursor_value(c, &value);
    if (err == OK && value.size != sizeof id.bytes) err = ERR_CORRUPT;
    if (err == OK) memcpy(id.bytes, value.data, sizeof id.bytes);
    buffer_free(&value);
    if (err == OK) err = state_record_get(&record, walk->step->txn, &id);
    if (err == OK) *on = walk->visit(walk->data, &id, &record);
    return err;
}

static void walk_records(struct walk *walk)
{
    uint8_t from[24];
    struct table_cursor *c;
    uint32_t examined = 0;
    bool on = true;
    memcpy(from, walk->patient->bytes, 16);
    put_be64(from + 16, walk->from);
    walk->next = 0;
    enum err err = table_cursor_open(&c, walk->step->txn, TABLE_PATIENT_RECORD);
    if (err != OK) {
        step_failed(walk->step, err);
        return;
    }
    for (err = table_cursor_seek(c, BYTES(from)); err == OK; err = table_cursor_next(c)) {
        struct bytes key = table_cursor_key(c);
        if (key.size != sizeof from || memcmp(key.data, walk->patient->bytes, 16) != 0) break;
        walk->next = get_be64(key.data + 16);
        if (!on || examined++ == walk->most) break;
        err = walk_step(walk, c, &on);
        walk->next = 0;
        if (err != OK) break;
    }
    table_cursor_close(c);
    if (err != OK && err != ERR_NOT_FOUND) step_failed(walk->step, err);
}

struct chart {
    struct step *step;
    int highest;
    uint32_t limit;
};

static bool visit_chart(void *data, const struct id *id, const struct record *record)
{
    struct chart *chart = data;
    struct step *step = chart->step;
    if (record->version.deleted) return true;
    if (record->version.conf > chart->highest)
        step->opened_rest.left_out++;
    else
        open_version(step, id, record->latest, record->version.index);
    return step->opened_count < chart->limit;
}

/* What the chart opens is fixed here, so that replay and all nodes agree on it. */
static enum reason decide_chart(struct step *step)
{
    const struct args_record_read *args = &step->args.record_read;
    struct user patient;
    enum reason reason = step_patient(step, &patient, ACTION_RECORD_READ, &args->patient, CONF_NORMAL);
    if (reason == REASON_NONE && !cursor_valid(args->cursor)) reason = REASON_FIELDS;
    if (reason != REASON_NONE) return reason;
    struct chart chart = {.step = step, .limit = args->limit};
    chart.highest = policy_highest(&step->ledger->policy, step->role, ACTION_RECORD_READ,
                                   step_reach(step, &args->patient, &patient));
    struct walk walk = {.step = step, .patient = &args->patient, .visit = visit_chart, .data = &chart};
    walk.from = cursor_position(args->cursor, 0);
    walk.most = CHART_EXAMINED;
    walk_records(&walk);
    step->opened_rest.next = walk.next;
    return REASON_NONE;
}

static enum reason decide_read(struct step *step)
{
    if (!step_has_permission(step, ACTION_RECORD_READ)) return REASON_NO_PERMISSION;
    return id_is_zero(&step->args.record_read.record) ? decide_chart(step) : decide_read_one(step);
}

static enum reason decide_history(struct step *step)
{
    const struct args_record_history *args = &step->args.record_history;
    if (!step_has_permission(step, ACTION_RECORD_HISTORY)) return REASON_NO_PERMISSION;
    enum reason reason = find_record(step, &step->record, &args->record, NULL);
    if (reason != REASON_NONE) return reason;
    return permit_record(step, ACTION_RECORD_HISTORY, &step->record, (enum confidentiality)step->record.version.conf);
}

/* Copying takes from one patient (record.copy) and gives to another (record.create). */
static enum reason decide_copy(struct step *step)
{
    const struct args_record_copy *args = &step->args.record_copy;
    struct user patient;
    struct version version;
    if (!step_has_permission(step, ACTION_RECORD_COPY)) return REASON_NO_PERMISSION;
    enum reason reason = find_record(step, &step->copy_source, &args->source, NULL);
    if (reason == REASON_NONE) step->also = step->copy_source.patient;
    step->subject = args->patient;
    if (reason == REASON_NONE)
        reason = decide_version(step, &version, ACTION_RECORD_COPY, &args->source, &step->copy_source,
                                args->source_version);
    if (reason == REASON_NONE)
        reason = step_patient(step, &patient, ACTION_RECORD_CREATE, &args->patient, args->conf);
    if (reason == REASON_NONE && !step->ledger->records_key) reason = REASON_KEY_NOT_ACTIVE;
    return reason == REASON_NONE ? unused_record(step, &args->record) : reason;
}

static enum reason decide_list(struct step *step)
{
    const struct args_record_list *args = &step->args.record_list;
    struct user patient;
    enum reason reason = step_patient(step, &patient, ACTION_RECORD_LIST, &args->patient, CONF_NORMAL);
    return reason == REASON_NONE && !cursor_valid(args->cursor) ? REASON_FIELDS : reason;
}

static enum reason decide_event(struct step *step)
{
    struct user patient;
    return step_patient(step, &patient, ACTION_EVENT_ADD, &step->args.event_add.patient, CONF_NORMAL);
}

enum reason decide_records(struct step *step)
{
    switch (step->op->action) {
    case ACTION_RECORD_CREATE: return decide_create(step);
    case ACTION_RECORD_UPDATE: return decide_update(step);
    case ACTION_RECORD_DELETE: return decide_delete(step);
    case ACTION_RECORD_READ: return decide_read(step);
    case ACTION_RECORD_HISTORY: return decide_history(step);
    case ACTION_RECORD_COPY: return decide_copy(step);
    case ACTION_RECORD_LIST: return decide_list(step);
    case ACTION_EVENT_ADD: return decide_event(step);
    }
    CHECK(!"not an action on records");
    return REASON_FIELDS;
}

/* --- changes --- */

static void set_version(struct step *step, enum confidentiality conf, const struct digest *tag)
{
    static const struct digest none;
    step->record.version = (struct version){
        .conf = (uint8_t)conf,
        .deleted = tag == NULL,
        .has_tag = tag && !digest_is_zero(tag),
        .content_tag = tag ? *tag : none,
        .author = step->op->actor.id,
        .time_ms = step->time_ms,
        .index = step->index,
    };
}

static void put_record(struct step *step, const struct id *id, bool created)
{
    enum err err = state_record_put(step->txn, id, &step->record, created);
    if (err != OK) step_failed(step, err);
}

static void create_record(struct step *step, const struct id *id, const struct id *patient, struct bytes kind,
                          enum confidentiality conf, const struct digest *tag)
{
    struct record *record = &step->record;
    memset(record, 0, sizeof *record);
    record->patient = *patient;
    CHECK(kind.size < sizeof record->kind);
    memcpy(record->kind, kind.data, kind.size);
    record->created = step->index;
    record->latest = 1;
    set_version(step, conf, tag);
    put_record(step, id, true);
    step->ledger->meta.records++;
}

void change_records(struct step *step)
{
    const struct arguments *a = &step->args;
    enum err err;
    switch (step->op->action) {
    case ACTION_RECORD_CREATE:
        create_record(step, &a->record_create.record, &a->record_create.patient, a->record_create.kind,
                      a->record_create.conf, &a->record_create.content_tag);
        return;
    case ACTION_RECORD_COPY:
        create_record(step, &a->record_copy.record, &a->record_copy.patient, a->record_copy.kind,
                      a->record_copy.conf, &a->record_copy.content_tag);
        return;
    case ACTION_RECORD_UPDATE:
        step->record.latest++;
        set_version(step, a->record_update.conf, &a->record_update.content_tag);
        put_record(step, &a->record_update.record, false);
        return;
    case ACTION_RECORD_DELETE:
        step->record.latest++;
        set_version(step, (enum confidentiality)step->record.version.conf, NULL);
        put_record(step, &a->record_delete.record, false);
        return;
    case ACTION_RECORD_READ:
        if (step->ledger->aside) return; /* only releases ask for it */
        err = state_opened_put(step->txn, step->index, step->opened, step->opened_count, &step->opened_rest);
        if (err != OK) step_failed(step, err);
        return;
    }
}

/* --- answers --- */

static void row_of_version(struct answer *answer, const struct id *id, uint32_t number)
{
    pack_array(&answer->rows, 2);
    pack_id(&answer->rows, id);
    pack_uint(&answer->rows, number);
    answer->count++;
}

static void row_of_read(struct step *step, struct answer *answer, const struct opened *opened)
{
    struct buffer *rows = &answer->rows;
    struct record record;
    struct version version;
    struct content_info info;
    enum err err = state_record_get(&record, step->txn, &opened->record);
    if (err == OK) err = state_version_get(&version, step->txn, &opened->record, opened->version);
    if (err != OK) {
        step_failed(step, err);
        return;
    }
    bool here = state_content_get(&info, step->txn, opened->content) == OK;
    pack_array(rows, 9);
    pack_id(rows, &opened->record);
    pack_uint(rows, opened->version);
    pack_id(rows, &record.patient);
    pack_text(rows, record.kind);
    pack_uint(rows, version.conf);
    pack_id(rows, &version.author);
    pack_uint(rows, version.time_ms);
    pack_uint(rows, version.index);
    pack_uint(rows, here && info.ciphertext_size >= AEAD_TAG_SIZE ? info.ciphertext_size - AEAD_TAG_SIZE : 0);
    answer->count++;
}

static void answer_read(struct step *step, struct answer *answer)
{
    for (uint32_t i = 0; i < step->opened_count && step->err == OK; i++) row_of_read(step, answer, &step->opened[i]);
    if (step->opened_rest.next) answer_cursor(answer, step->opened_rest.next);
    answer->left_out = step->opened_rest.left_out;
}

static void row_of_history(struct answer *answer, uint32_t number, const struct version *version)
{
    static const struct digest none;
    struct buffer *rows = &answer->rows;
    pack_array(rows, 7);
    pack_uint(rows, number);
    pack_id(rows, &version->author);
    pack_uint(rows, version->time_ms);
    pack_uint(rows, version->conf);
    pack_uint(rows, version->index);
    pack_bool(rows, version->deleted);
    pack_digest_optional(rows, version->has_tag ? &version->content_tag : &none);
    answer->count++;
}

/* Newest first; the action has no cursor, so the oldest beyond the limits are not shown. */
static void answer_history(struct step *step, struct answer *answer)
{
    const struct id *id = &step->args.record_history.record;
    const struct record *record = &step->record;
    struct user patient;
    enum err err = ledger_user_get(&patient, step->ledger, step->txn, &record->patient);
    if (err != OK) {
        step_failed(step, err);
        return;
    }
    int highest = policy_highest(&step->ledger->policy, step->role, ACTION_RECORD_HISTORY,
                                 step_reach(step, &record->patient, &patient));
    for (uint32_t n = record->latest; n > 0 && !answer_full(answer, UINT32_MAX); n--) {
        struct version version;
        answer_spend(answer, COST_ROW);
        err = state_version_get(&version, step->txn, id, n);
        if (err != OK) {
            step_failed(step, err);
            return;
        }
        if ((int)conf_of(record, &version) > highest)
            answer->left_out++;
        else
            row_of_history(answer, n, &version);
    }
}

struct list {
    struct answer *answer;
    int highest;
    uint32_t limit;
};

static bool visit_list(void *data, const struct id *id, const struct record *record)
{
    static const struct digest none;
    struct list *list = data;
    struct buffer *rows = &list->answer->rows;
    const struct version *version = &record->version;
    if (version->conf > list->highest) {
        list->answer->left_out++;
        return true;
    }
    pack_array(rows, 8);
    pack_id(rows, id);
    pack_text(rows, record->kind);
    pack_uint(rows, version->conf);
    pack_uint(rows, record->latest);
    pack_id(rows, &version->author);
    pack_uint(rows, version->time_ms);
    pack_bool(rows, version->deleted);
    pack_digest_optional(rows, version->has_tag ? &version->content_tag : &none);
    list->answer->count++;
    return !answer_full(list->answer, list->limit);
}

static void answer_list(struct step *step, struct answer *answer)
{
    const struct args_record_list *args = &step->args.record_list;
    struct user patient;
    enum err err = ledger_user_get(&patient, step->ledger, step->txn, &args->patient);
    if (err != OK) {
        step_failed(step, err);
        return;
    }
    struct list list = {.answer = answer, .limit = args->limit};
    list.highest = policy_highest(&step->ledger->policy, step->role, ACTION_RECORD_LIST,
                                  step_reach(step, &args->patient, &patient));
    struct walk walk = {.step = step, .patient = &args->patient, .visit = visit_list, .data = &list};
    walk.from = cursor_position(args->cursor, 0);
    walk.most = answer->examined / COST_ROW;
    walk_records(&walk);
    if (walk.next) answer_cursor(answer, walk.next);
}

void answer_records(struct step *step, struct answer *answer)
{
    const struct arguments *a = &step->args;
    switch (step->op->action) {
    case ACTION_RECORD_CREATE: row_of_version(answer, &a->record_create.record, 1); return;
    case ACTION_RECORD_COPY: row_of_version(answer, &a->record_copy.record, 1); return;
    case ACTION_RECORD_UPDATE: row_of_version(answer, &a->record_update.record, step->record.latest); return;
    case ACTION_RECORD_READ: answer_read(step, answer); return;
    case ACTION_RECORD_HISTORY: answer_history(step, answer); return;
    case ACTION_RECORD_LIST: answer_list(step, answer); return;
    }
}
