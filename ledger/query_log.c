/* Rows of the log: newest first for log.query, oldest first for those that follow. */
#include "ledger/query.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/proof.h"
#include "ledger/rules.h"

/* A walk over the leaves that may fit, from one of three sources: the index of a
 * person affected, the index of an actor, or all leaves. */
struct log_walk {
    struct table_txn *txn;
    const struct args_log_query *filter;
    bool forward;
    uint64_t from; /* forward: the first index; backward: the first one that is not looked at */
    uint64_t end;  /* forward: not looked at */
    uint32_t limit;
    struct answer *answer;

    uint64_t next; /* where to go on: as `from`; backward 0 and forward `end`: nothing is left */
    struct buffer leaf, attachment;
};

/* --- rows --- */

/* With its salt, so that its hash can be checked. */
static enum err load_note(struct bytes *out, struct log_walk *walk, const struct leaf *leaf)
{
    uint8_t key[8];
    struct attachment attachment = {0};
    bool noted = leaf->operation.action == ACTION_EVENT_ADD || leaf->operation.action == ACTION_USER_DISABLE;
    enum err err = ERR_NOT_FOUND;
    put_be64(key, leaf->index);
    if (noted && operation_has_attachment(&leaf->operation))
        err = table_get(walk->txn, TABLE_ATTACHMENT, BYTES(key), &walk->attachment);
    if (err == OK) answer_spend(walk->answer, walk->attachment.size / COST_BYTES);
    if (err == OK) err = attachment_decode(&attachment, buffer_bytes(&walk->attachment));
    bool text = err == OK && note_check(attachment.content) == OK;
    *out = text ? buffer_bytes(&walk->attachment) : (struct bytes){NULL, 0};
    return err == ERR_NOT_FOUND ? OK : err;
}

/* The object of an event names what was done to it in the other system. */
static void pack_object(struct buffer *rows, const struct operation *op)
{
    struct arguments args;
    struct target target = {0};
    if (arguments_decode(&args, op->action, op->args) == OK) arguments_target(&target, &args);
    if (target.object_is_text && op->action == ACTION_EVENT_ADD) {
        struct buffer text = {0};
        buffer_append_bytes(&text, args.event_add.what);
        if (target.object.size) buffer_append_text(&text, " ");
        buffer_append_bytes(&text, target.object);
        pack_str(rows, buffer_bytes(&text));
        buffer_free(&text);
    } else if (target.object_is_text) {
        pack_str(rows, target.object);
    } else {
        pack_bytes(rows, target.object);
    }
}

static enum err role_of(struct log_facts *facts, struct log_walk *walk, const struct leaf *leaf)
{
    const struct actor *actor = &leaf->operation.actor;
    *facts = (struct log_facts){0};
    if (leaf->index == 0) return OK;
    return state_log_actor_get(facts, walk->txn, leaf->index, (uint8_t)actor->kind, &actor->id);
}

void query_row_pack(struct buffer *rows, const struct leaf *leaf, struct bytes role, struct bytes note)
{
    static const struct id nobody;
    const struct operation *op = &leaf->operation;
    pack_array(rows, 11);
    pack_uint(rows, leaf->index);
    pack_uint(rows, leaf->time_ms);
    pack_uint(rows, op->actor.kind);
    pack_bin(rows, op->actor.id.bytes, leaf->index ? sizeof op->actor.id.bytes : 0);
    pack_str(rows, role);
    pack_bin(rows, leaf->subject.bytes, id_equal(&leaf->subject, &nobody) ? 0 : sizeof leaf->subject.bytes);
    pack_uint(rows, op->action);
    pack_object(rows, op);
    pack_uint(rows, leaf->index ? leaf->decision : DECISION_APPROVED);
    pack_uint(rows, leaf->reason);
    pack_bytes(rows, note);
}

static enum err put_row(struct log_walk *walk, const struct leaf *leaf)
{
    struct log_facts facts;
    struct bytes note = {0};
    enum err err = role_of(&facts, walk, leaf);
    if (err == OK) err = load_note(&note, walk, leaf);
    if (err != OK) return err;
    query_row_pack(&walk->answer->rows, leaf, bytes_text(facts.role), note);
    walk->answer->count++;
    return OK;
}

/* --- fitting --- */

static bool facts_fit(const struct args_log_query *filter, uint64_t time_ms, uint32_t action, uint32_t decision)
{
    if (time_ms < filter->from_ms || (filter->to_ms && time_ms > filter->to_ms)) return false;
    if (filter->action && filter->action != action) return false;
    return !filter->decision || filter->decision == decision;
}

static bool leaf_fits(const struct args_log_query *filter, const struct leaf *leaf)
{
    uint32_t decision = leaf->index ? leaf->decision : DECISION_APPROVED;
    if (!facts_fit(filter, leaf->time_ms, leaf->operation.action, decision)) return false;
    return id_is_zero(&filter->actor) || id_equal(&filter->actor, &leaf->operation.actor.id);
}

static enum err load_leaf(struct leaf *leaf, struct log_walk *walk, uint64_t index)
{
    enum err err = proof_leaf(&walk->leaf, walk->txn, index);
    if (err == OK && leaf_decode(leaf, buffer_bytes(&walk->leaf)) != OK) err = ERR_CORRUPT;
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

/* Takes one index; *on becomes false where a walk back has passed from_ms. */
static enum err take(struct log_walk *walk, uint64_t index, bool *on)
{
    struct leaf leaf;
    answer_spend(walk->answer, COST_LEAF);
    enum err err = load_leaf(&leaf, walk, index);
    if (err != OK) return err;
    *on = walk->forward || leaf.time_ms >= walk->filter->from_ms;
    return leaf_fits(walk->filter, &leaf) ? put_row(walk, &leaf) : OK;
}

/* --- walking --- */

static bool may_go_on(const struct log_walk *walk) { return !answer_full(walk->answer, walk->limit); }

static void went_past(struct log_walk *walk, uint64_t index) { walk->next = walk->forward ? index + 1 : index; }
static void nothing_left(struct log_walk *walk) { walk->next = walk->forward ? walk->end : 0; }

static enum err walk_leaves(struct log_walk *walk)
{
    bool on = true;
    enum err err = OK;
    walk->next = walk->from;
    while (err == OK && on && may_go_on(walk)) {
        if (walk->forward ? walk->next >= walk->end : walk->next == 0) break;
        uint64_t index = walk->forward ? walk->next : walk->next - 1;
        err = take(walk, index, &on);
        went_past(walk, index);
    }
    if (!on) nothing_left(walk);
    return err;
}

/* Rows of an index whose keys are prefix || index; its facts spare opening most leaves. */
struct log_index {
    enum table_number table;
    uint8_t prefix[17];
    size_t size;
};

static enum err index_seek(struct log_walk *walk, const struct log_index *index, struct table_cursor *c)
{
    uint8_t key[17 + 8];
    if (!walk->forward && walk->from == 0) return ERR_NOT_FOUND;
    memcpy(key, index->prefix, index->size);
    put_be64(key + index->size, walk->forward ? walk->from : walk->from - 1);
    struct bytes at = bytes_of(key, index->size + 8);
    return walk->forward ? table_cursor_seek(c, at) : table_cursor_seek_back(c, at);
}

static enum err index_take(struct log_walk *walk, struct table_cursor *c, uint64_t at, bool *on, struct buffer *value)
{
    struct log_facts facts;
    enum err err = table_cursor_value(c, value);
    if (err == OK) err = state_log_facts_decode(&facts, buffer_bytes(value));
    if (err != OK) return err;
    answer_spend(walk->answer, 1);
    *on = walk->forward || facts.time_ms >= walk->filter->from_ms;
    return facts_fit(walk->filter, facts.time_ms, facts.action, facts.decision) ? take(walk, at, on) : OK;
}

static enum err walk_index(struct log_walk *walk, const struct log_index *index)
{
    struct buffer value = {0};
    struct table_cursor *c;
    bool on = true;
    enum err err = table_cursor_open(&c, walk->txn, (uint8_t)index->table);
    if (err != OK) return err;
    walk->next = walk->from;
    for (err = index_seek(walk, index, c); err == OK;
         err = walk->forward ? table_cursor_next(c) : table_cursor_previous(c)) {
        struct bytes key = table_cursor_key(c);
        bool ours = key.size == index->size + 8 && memcmp(key.data, index->prefix, index->size) == 0;
        uint64_t at = ours ? get_be64(key.data + index->size) : 0;
        if (!ours || !on || (walk->forward && at >= walk->end)) {
            err = ERR_NOT_FOUND;
            break;
        }
        if (!may_go_on(walk)) break;
        err = index_take(walk, c, at, &on, &value);
        went_past(walk, at);
        if (err != OK) break;
    }
    table_cursor_close(c);
    buffer_free(&value);
    if (err != ERR_NOT_FOUND) return err;
    nothing_left(walk);
    return OK;
}

static enum err walk_log(struct log_walk *walk, enum actor_kind actor_kind)
{
    const struct args_log_query *filter = walk->filter;
    struct log_index index = {0};
    enum err err;
    if (!id_is_zero(&filter->patient)) {
        index.table = TABLE_LOG_SUBJECT;
        index.size = 16;
        memcpy(index.prefix, filter->patient.bytes, 16);
    } else if (!id_is_zero(&filter->actor)) {
        index.table = TABLE_LOG_ACTOR;
        index.size = 17;
        index.prefix[0] = (uint8_t)actor_kind;
        memcpy(index.prefix + 1, filter->actor.bytes, 16);
    }
    err = index.size ? walk_index(walk, &index) : walk_leaves(walk);
    buffer_free(&walk->leaf);
    buffer_free(&walk->attachment);
    return err;
}

/* The first index in [low, high) whose leaf is later than `time_ms`; times never go back. */
static enum err first_later(uint64_t *out, struct log_walk *walk, uint64_t high, uint64_t time_ms)
{
    uint64_t low = 0;
    while (low < high) {
        struct leaf leaf;
        uint64_t middle = low + (high - low) / 2;
        enum err err = load_leaf(&leaf, walk, middle);
        if (err != OK) return err;
        if (leaf.time_ms > time_ms)
            high = middle;
        else
            low = middle + 1;
    }
    *out = low;
    return OK;
}

/* --- log.query --- */

void answer_log(struct step *step, struct answer *answer)
{
    const struct args_log_query *filter = &step->args.log_query;
    struct log_walk walk = {.txn = step->txn, .filter = filter, .limit = filter->limit, .answer = answer};
    enum err err = OK;
    walk.from = cursor_position(filter->cursor, step->index);
    if (walk.from > step->index) walk.from = step->index;
    if (filter->to_ms) err = first_later(&walk.from, &walk, walk.from, filter->to_ms);
    bool node = genesis_member_by_id(&step->ledger->genesis, &filter->actor) != 0;
    if (err == OK) err = walk_log(&walk, node ? ACTOR_NODE : ACTOR_USER);
    if (err != OK)
        step_failed(step, err);
    else if (walk.next)
        answer_cursor(answer, walk.next);
}

/* --- following --- */

static enum err load_policy(struct policy *out, struct table_txn *txn)
{
    struct buffer text = {0};
    uint64_t index;
    enum err err = state_policy_get(&text, &index, txn);
    if (err == OK && policy_parse(out, buffer_bytes(&text), NULL) != OK) err = ERR_CORRUPT;
    buffer_free(&text);
    return err;
}

/* Whether this actor may now, not when it was asked, see what the log query `args` shows; NULL: export the ledger. */
static enum err still_permitted(struct table_txn *txn, const struct actor *actor, const struct args_log_query *args)
{
    struct user user;
    enum reason reason = REASON_FIELDS;
    enum err err = state_user_get(&user, txn, &actor->id);
    if (err != OK) return err;
    int key = user_key_find(&user, &actor->key);
    if (user.disabled || key < 0 || user.keys[key].revoked) return ERR_DENIED;
    struct policy *policy = xmalloc(sizeof *policy);
    err = load_policy(policy, txn);
    if (err == OK) {
        struct viewer viewer = {txn, policy, &actor->id, &user};
        int role = policy_role(policy, bytes_text(user.role));
        if (args)
            err = log_query_decide(&reason, &viewer, role, args);
        else
            reason = policy_decide(policy, role, ACTION_LEDGER_EXPORT, SCOPE_BIT(SCOPE_ANY), CONF_NORMAL);
    }
    free(policy);
    if (err != OK) return err;
    return reason == REASON_NONE ? OK : ERR_DENIED;
}

enum err query_may_export(struct table_txn *txn, const struct actor *actor, uint64_t entry)
{
    uint64_t size;
    enum err err = still_permitted(txn, actor, NULL);
    if (err != ERR_DENIED && err != ERR_NOT_FOUND) return err;
    err = proof_size(&size, txn);
    if (err != OK) return err;
    return entry < size ? ERR_UNAUTHORIZED : ERR_NOT_READY;
}

static enum err load_query(struct leaf *leaf, struct args_log_query *args, struct buffer *raw, struct table_txn *txn,
                           uint64_t index)
{
    enum err err = proof_leaf(raw, txn, index);
    if (err == OK && leaf_decode(leaf, buffer_bytes(raw)) != OK) err = ERR_CORRUPT;
    if (err != OK) return err;
    if (index == 0 || leaf->operation.action != ACTION_LOG_QUERY || leaf->decision != DECISION_APPROVED)
        return ERR_NOT_FOUND;
    return args_log_query_decode(args, leaf->operation.args) == OK ? OK : ERR_CORRUPT;
}

/* An actor that is no user is a node. */
static enum err actor_kind_of(enum actor_kind *out, struct table_txn *txn, const struct id *id)
{
    enum err err = table_exists(txn, TABLE_USER, BYTES(id->bytes));
    *out = err == ERR_NOT_FOUND ? ACTOR_NODE : ACTOR_USER;
    return err == ERR_NOT_FOUND ? OK : err;
}

static enum err follow_rows(struct buffer *rows, uint64_t *next, struct table_txn *txn,
                            const struct args_log_query *args, uint64_t from)
{
    struct answer answer = {.budget = LIMIT_ANSWER, .examined = LIMIT_EXAMINED,
                            .rows.limit = LIMIT_ANSWER + LIMIT_ANSWER / 2};
    struct log_walk walk = {.txn = txn, .filter = args, .forward = true, .from = from, .limit = LIMIT_ROWS};
    enum actor_kind kind;
    walk.answer = &answer;
    enum err err = proof_size(&walk.end, txn);
    if (err == OK) err = actor_kind_of(&kind, txn, &args->actor);
    *next = from;
    if (err == OK && from < walk.end) {
        err = walk_log(&walk, kind);
        *next = walk.next;
    }
    pack_array(rows, answer.count);
    buffer_append_bytes(rows, buffer_bytes(&answer.rows));
    if (answer.rows.failed) rows->failed = true;
    buffer_free(&answer.rows);
    return err == OK && rows->failed ? ERR_NOMEM : err;
}

enum err query_follow(struct buffer *rows, uint64_t *next, struct table_txn *txn, uint64_t query_index, uint64_t from)
{
    struct buffer raw = {0};
    struct leaf leaf;
    struct args_log_query args;
    buffer_clear(rows);
    enum err err = load_query(&leaf, &args, &raw, txn, query_index);
    if (err == OK && !args.follow) err = ERR_NOT_FOUND;
    if (err == OK) err = still_permitted(txn, &leaf.operation.actor, &args);
    if (err == OK) err = follow_rows(rows, next, txn, &args, from);
    buffer_free(&raw);
    return err;
}

/* --- what proves rows --- */

/* The index that a walk would have taken it from has it. */
static enum err is_indexed(struct table_txn *txn, const struct args_log_query *filter, const struct leaf *leaf)
{
    uint8_t key[LOG_SUBJECT_KEY];
    if (id_is_zero(&filter->patient)) return OK; /* by actor, or all: leaf_fits compares */
    state_log_subject_key(key, &filter->patient, leaf->index);
    return table_exists(txn, TABLE_LOG_SUBJECT, BYTES(key));
}

static enum err shows_one(struct log_walk *walk, uint64_t query_index, uint64_t index)
{
    struct leaf leaf;
    if (!walk->filter->follow && index >= query_index) return ERR_UNAUTHORIZED;
    enum err err = proof_leaf(&walk->leaf, walk->txn, index);
    if (err == ERR_NOT_FOUND) return ERR_UNAUTHORIZED; /* no such leaf so far: it shows nothing of it */
    if (err == OK && leaf_decode(&leaf, buffer_bytes(&walk->leaf)) != OK) err = ERR_CORRUPT;
    if (err == OK && !leaf_fits(walk->filter, &leaf)) err = ERR_UNAUTHORIZED;
    if (err == OK) err = is_indexed(walk->txn, walk->filter, &leaf);
    return err == ERR_NOT_FOUND ? ERR_UNAUTHORIZED : err;
}

enum err query_shows(struct table_txn *txn, uint64_t query_index, const struct actor *actor, const uint64_t *indexes,
                     size_t count)
{
    struct buffer raw = {0};
    struct leaf leaf;
    struct args_log_query args;
    struct log_walk walk = {.txn = txn, .filter = &args};
    enum err err = load_query(&leaf, &args, &raw, txn, query_index);
    if (err == OK && !actor_equal(&leaf.operation.actor, actor)) err = ERR_UNAUTHORIZED;
    if (err == OK) err = still_permitted(txn, &leaf.operation.actor, &args);
    for (size_t i = 0; err == OK && i < count; i++) err = shows_one(&walk, query_index, indexes[i]);
    buffer_free(&walk.leaf);
    buffer_free(&raw);
    return err;
}
