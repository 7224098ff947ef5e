#include "ledger/apply.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/block.h"
#include "ledger/content.h"
#include "ledger/proof.h"
#include "ledger/rules.h"

/* --- from the tables --- */

static struct ledger *ledger_new(void)
{
    struct ledger *ledger = xcalloc(1, sizeof *ledger);
    ledger->users = xcalloc(USER_CACHE, sizeof *ledger->users);
    ledger->step = xcalloc(1, sizeof *ledger->step);
    ledger->step->opened = xcalloc(LIMIT_OPENED, sizeof *ledger->step->opened);
    return ledger;
}

void ledger_free(struct ledger *ledger)
{
    if (!ledger) return;
    names_free(&ledger->names);
    buffer_free(&ledger->genesis_text);
    buffer_free(&ledger->scratch);
    free(ledger->users);
    free(ledger->step->opened);
    free(ledger->step);
    free(ledger);
}

static enum err set_genesis(struct ledger *ledger, struct bytes text, struct failure *failure)
{
    buffer_append_bytes(&ledger->genesis_text, text);
    if (ledger->genesis_text.failed) return fail(failure, ERR_NOMEM, "genesis: out of memory");
    return genesis_parse(&ledger->genesis, buffer_bytes(&ledger->genesis_text), failure);
}

static enum err load_genesis(struct ledger *ledger, struct table_txn *txn, struct failure *failure)
{
    struct buffer raw = {0};
    struct leaf leaf;
    enum err err = proof_leaf(&raw, txn, 0);
    if (err == OK) err = leaf_decode(&leaf, buffer_bytes(&raw));
    if (err != OK)
        fail(failure, err, "leaf 0: %s", err_text(err));
    else
        err = set_genesis(ledger, leaf.genesis, failure);
    buffer_free(&raw);
    return err;
}

static enum err load_policy(struct ledger *ledger, struct table_txn *txn, struct failure *failure)
{
    struct buffer text = {0};
    uint64_t index;
    enum err err = state_policy_get(&text, &index, txn);
    if (err != OK)
        fail(failure, err, "the policy's table: %s", err_text(err));
    else
        err = policy_parse(&ledger->policy, buffer_bytes(&text), failure);
    buffer_free(&text);
    return err;
}

static enum err load_rest(struct ledger *ledger, struct table_txn *txn, struct failure *failure)
{
    struct epoch epoch;
    enum err err = proof_tree(&ledger->tree, txn, ledger->meta.size);
    if (err == OK) err = state_applied_get(&ledger->applied, txn);
    if (err != OK) return fail(failure, err, "the tree's table: %s", err_text(err));
    err = state_epoch_get(&epoch, txn, KEY_RECORDS, 0);
    ledger->records_key = err == OK;
    if (err != OK && err != ERR_NOT_FOUND) return fail(failure, err, "the epochs' table: %s", err_text(err));
    return OK;
}

/* Of a ledger that there is: what isn't found is lost, and no sign of a new store. */
static enum err load(struct ledger *ledger, struct table_txn *txn, struct failure *failure)
{
    enum err err = load_genesis(ledger, txn, failure);
    if (err == OK) err = load_policy(ledger, txn, failure);
    if (err == OK) err = load_rest(ledger, txn, failure);
    if (err == OK && names_load(&ledger->names, txn) != OK)
        err = fail(failure, ERR_CORRUPT, "the users' tables cannot be read");
    if (err == ERR_NOT_FOUND && failure) failure->code = ERR_CORRUPT;
    return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
}

enum err ledger_open(struct ledger **out, struct table_txn *txn, struct failure *failure)
{
    struct ledger *ledger = ledger_new();
    enum err err = state_meta_get(&ledger->meta, txn);
    if (err == ERR_NOT_FOUND)
        fail(failure, err, "the store holds no ledger yet");
    else if (err != OK)
        fail(failure, err, "the table meta: %s", err_text(err));
    else if (ledger->meta.rules != RULES_VERSION)
        err = fail(failure, ERR_VERSION, "the ledger follows rules version %u, this program knows %u",
                   (unsigned)ledger->meta.rules, RULES_VERSION);
    if (err == OK) err = load(ledger, txn, failure);
    if (err == OK)
        *out = ledger;
    else
        ledger_free(ledger);
    return err;
}

/* --- a new one --- */

static enum err put_first_administrators(struct ledger *ledger, struct table_txn *txn)
{
    const struct genesis *genesis = &ledger->genesis;
    enum err err = OK;
    for (uint32_t i = 0; i < genesis->admin_count && err == OK; i++) {
        struct user user = {.role = ROLE_ROOT, .key_count = 1};
        user.keys[0].key = genesis->admins[i].key;
        err = ledger_user_put(ledger, txn, &genesis->admins[i].id, &user);
        if (err == OK) err = state_key_put(txn, &user.keys[0].key, &genesis->admins[i].id);
    }
    ledger->meta.roots = genesis->admin_count;
    ledger->meta.users = genesis->admin_count;
    return err;
}

static enum err put_leaf_0(struct ledger *ledger, struct table_txn *txn)
{
    static const uint8_t key[8];
    struct buffer leaf = {0};
    struct tree_row row;
    genesis_leaf(&leaf, &ledger->genesis);
    enum err err = leaf.failed ? ERR_NOMEM : table_put(txn, TABLE_LEAF, BYTES(key), buffer_bytes(&leaf));
    if (err == OK) {
        leaf_hash(&ledger->meta.last, buffer_bytes(&leaf));
        tree_append(&ledger->tree, &row, &ledger->meta.last);
        err = table_put(txn, TABLE_TREE, BYTES(key), bytes_of(row.hashes, row.count * sizeof row.hashes[0]));
    }
    buffer_free(&leaf);
    ledger->meta.size = 1;
    ledger->meta.rules = RULES_VERSION;
    return err;
}

enum err ledger_create(struct ledger **out, struct table_txn *txn, struct bytes genesis_text, struct failure *failure)
{
    struct meta meta;
    enum err err = state_meta_get(&meta, txn);
    if (err != ERR_NOT_FOUND)
        return fail(failure, err == OK ? ERR_EXISTS : err, "the store holds a ledger already");
    if (table_count(txn, TABLE_LEAF) > 0)
        return fail(failure, ERR_CORRUPT, "the store holds entries, and not the row that says how many");
    struct ledger *ledger = ledger_new();
    err = set_genesis(ledger, genesis_text, failure);
    if (err == OK) err = policy_parse(&ledger->policy, ledger->genesis.policy, failure);
    if (err == OK) {
        err = put_leaf_0(ledger, txn);
        if (err == OK) err = put_first_administrators(ledger, txn);
        if (err == OK) err = state_policy_put(txn, 0, ledger->genesis.policy);
        if (err == OK) err = state_meta_put(txn, &ledger->meta);
        if (err == OK) err = names_load(&ledger->names, txn);
        if (err != OK) fail(failure, err, "the store failed: %s", err_text(err));
    }
    if (err == OK)
        *out = ledger;
    else
        ledger_free(ledger);
    return err;
}

/* --- what stands --- */

uint64_t ledger_size(const struct ledger *ledger) { return ledger->meta.size; }
struct digest ledger_last(const struct ledger *ledger) { return ledger->meta.last; }
uint64_t ledger_time_ms(const struct ledger *ledger) { return ledger->meta.time_ms; }
const struct genesis *ledger_genesis(const struct ledger *ledger) { return &ledger->genesis; }

struct digest ledger_root(const struct ledger *ledger)
{
    struct digest root;
    tree_root(&root, &ledger->tree);
    return root;
}

void ledger_applied(const struct ledger *ledger, uint64_t *raft_index, uint64_t *raft_term)
{
    *raft_index = ledger->applied.raft_index;
    *raft_term = ledger->applied.raft_term;
}

enum err ledger_set_applied(struct ledger *ledger, struct table_txn *txn, uint64_t raft_index, uint64_t raft_term)
{
    ledger->applied = (struct applied){raft_index, raft_term};
    return state_applied_put(txn, &ledger->applied);
}

/* --- applying --- */

/* Views into results->bytes are offsets until the block is done: it still grows. */
static struct bytes as_offset(size_t start, size_t end)
{
    return bytes_of((const uint8_t *)(uintptr_t)start, end - start);
}

static void resolve(struct bytes *view, const struct buffer *bytes)
{
    if (view->size)
        view->data = bytes->data + (uintptr_t)view->data;
    else
        *view = (struct bytes){0};
}

void ledger_results_free(struct ledger_results *results)
{
    free(results->items);
    buffer_free(&results->bytes);
    *results = (struct ledger_results){0};
}

static enum err reserve(struct ledger_results *results, const struct block *block)
{
    size_t count = 0;
    for (uint32_t i = 0; i < block->count; i++) count += block->requests[i].count;
    if (count > results->capacity) {
        struct ledger_result *items = realloc(results->items, count * sizeof *items);
        if (!items) return ERR_NOMEM;
        results->items = items;
        results->capacity = count;
    }
    results->count = 0;
    results->keygen_changed = false;
    results->policy_changed = false;
    results->alarms_changed = false;
    results->digest_leaf = 0;
    buffer_clear(&results->bytes);
    return OK;
}

/* What says that an operation gets no leaf; the store's own errors are not among them. */
static bool is_refusal(enum err code)
{
    return code == ERR_OTHER_CLUSTER || code == ERR_UNKNOWN_ACTION || code == ERR_UNKNOWN_ACTOR ||
           code == ERR_BAD_SIGNATURE || code == ERR_STALE || code == ERR_DUPLICATE || code == ERR_ATTACHMENT;
}

static enum err authentic(struct step *step, struct request *request, uint32_t position, struct seen *first)
{
    enum err err = step_authenticate(step);
    /* Nobody's, as good as with a wrong signature: no node takes these from a client. */
    if (err == ERR_OTHER_CLUSTER || err == ERR_UNKNOWN_ACTOR) request->verified = VERDICT_BAD;
    if (err == OK) err = request_verify(request, &step->key);
    if (err == OK) err = step_fresh(step, first);
    if (err == OK) err = request_item_attachment(&request->items[position], NULL);
    return err;
}

static void put_answer(struct ledger_result *result, struct step *step, struct buffer *out, uint32_t operations)
{
    struct answer answer = {.budget = LIMIT_ANSWER / operations, .rows.limit = LIMIT_ANSWER + LIMIT_ANSWER / 2};
    answer.examined = LIMIT_EXAMINED / operations;
    if (answer.examined < ANSWER_EXAMINED_LEAST) answer.examined = ANSWER_EXAMINED_LEAST;
    size_t start = out->size;
    step_answer(step, &answer);
    if (answer.rows.failed) { /* what one client asks for must not end the node: it gets no rows */
        buffer_free(&answer.rows);
        answer = (struct answer){0};
    }
    answer_finish(out, &answer);
    result->answer = as_offset(start, out->size);
}

static enum err apply_operation(struct step *step, struct ledger_results *results, struct ledger_result *result,
                                struct request *request, uint32_t position, bool wanted)
{
    struct seen first = {0};
    struct leaf leaf = {0};
    *result = (struct ledger_result){.code = authentic(step, request, position, &first)};
    if (result->code == ERR_DUPLICATE) {
        result->leaf_index = first.index;
        result->decision = first.decision;
        result->reason = first.reason;
    }
    if (result->code != OK) return is_refusal(result->code) ? OK : result->code;
    step_decide(step);
    if (step->err != OK) return step->err;
    size_t start = results->bytes.size;
    leaf_set_operation(&leaf, request, position);
    step_append(step, &results->bytes, &leaf);
    result->leaf = as_offset(start, results->bytes.size);
    result->leaf_index = step->index;
    result->decision = (uint8_t)leaf.decision;
    result->reason = (uint16_t)leaf.reason;
    if (step->err == OK) step_change(step);
    if (step->err == OK) content_put(step);
    if (step->err == OK && wanted && step->reason == REASON_NONE)
        put_answer(result, step, &results->bytes, request->count);
    return step->err == OK && results->bytes.failed ? ERR_NOMEM : step->err;
}

static enum err apply_request(struct ledger *ledger, struct table_txn *txn, struct ledger_results *results,
                              struct request *request, uint64_t time_ms, bool wanted)
{
    struct step *step = ledger->step;
    enum err err = OK;
    for (uint32_t i = 0; i < request->count && err == OK; i++) {
        step_begin(step, ledger, txn, &request->items[i].operation, time_ms);
        step->attachment = request->items[i].attachment;
        err = apply_operation(step, results, &results->items[results->count++], request, i, wanted);
        results->keygen_changed |= step->keygen_changed;
        results->policy_changed |= step->policy_changed;
        results->alarms_changed |= step->alarms_changed;
        if (step->digest_asked) results->digest_leaf = step->index;
    }
    return err;
}

enum err ledger_apply(struct ledger *ledger, struct table_txn *txn, struct ledger_results *results,
                      struct block *block, const bool *wanted, uint64_t raft_index, uint64_t raft_term)
{
    uint64_t size = ledger->meta.size;
    CHECK(raft_index > ledger->applied.raft_index);
    enum err err = reserve(results, block);
    for (uint32_t i = 0; i < block->count && err == OK; i++)
        err = apply_request(ledger, txn, results, &block->requests[i], block->time_ms, wanted && wanted[i]);
    for (size_t i = 0; i < results->count; i++) {
        resolve(&results->items[i].leaf, &results->bytes);
        resolve(&results->items[i].answer, &results->bytes);
    }
    if (err == OK && ledger->meta.size != size) err = state_meta_put(txn, &ledger->meta);
    if (err == OK) err = ledger_set_applied(ledger, txn, raft_index, raft_term);
    return err;
}
