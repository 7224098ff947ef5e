/* What became of an operation: the row against duplicates for as long as it is
 * kept, then the actor's own entries of those ten minutes. A client that asks later
 * than that must still get a true answer, since on "not recorded" it signs anew.
 * Anybody may ask, so an answer costs little however long the ledger is. */
#include <string.h>

#include "base/limits.h"
#include "ledger/apply.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/state.h"
#include "ledger/tables.h"

struct search {
    struct table_txn *txn;
    struct table_cursor *cursor;
    uint64_t issued_at_ms;
    const struct id *request_id;
    struct buffer value, leaf;
    struct seen found;
};

/* OK: it is that entry; ERR_NOT_FOUND: it is another one. */
static enum err compare(struct search *s, uint64_t index)
{
    struct leaf leaf;
    enum err err = proof_leaf(&s->leaf, s->txn, index);
    if (err == OK) err = leaf_decode(&leaf, buffer_bytes(&s->leaf));
    if (err != OK) return ERR_CORRUPT; /* the index names it, so it must be there */
    if (!id_equal(&leaf.operation.request_id, s->request_id) || leaf.operation.issued_at_ms != s->issued_at_ms)
        return ERR_NOT_FOUND;
    s->found = (struct seen){index, (uint8_t)leaf.decision, (uint16_t)leaf.reason};
    return OK;
}

/* The entry under the cursor. *on becomes false where all older ones are too old. */
static enum err examine(struct search *s, uint64_t index, bool *on)
{
    struct log_facts facts;
    enum err err = table_cursor_value(s->cursor, &s->value);
    if (err == OK) err = state_log_facts_decode(&facts, buffer_bytes(&s->value));
    if (err != OK) return err;
    *on = facts.time_ms + LIMIT_SKEW_MS >= s->issued_at_ms;
    bool may_be = *on && facts.time_ms <= s->issued_at_ms + LIMIT_SKEW_MS;
    return may_be ? compare(s, index) : ERR_NOT_FOUND;
}

/* The first index whose leaf is later than `time_ms`, or the size; times never go back. */
static enum err first_later(uint64_t *out, struct search *s, uint64_t size, uint64_t time_ms)
{
    uint64_t low = 0, high = size;
    while (low < high) {
        struct leaf leaf;
        uint64_t middle = low + (high - low) / 2;
        enum err err = proof_leaf(&s->leaf, s->txn, middle);
        if (err == OK) err = leaf_decode(&leaf, buffer_bytes(&s->leaf));
        if (err != OK) return ERR_CORRUPT;
        if (leaf.time_ms > time_ms)
            high = middle;
        else
            low = middle + 1;
    }
    *out = low;
    return OK;
}

/* The actor's entries from five minutes after issued_at back to five minutes before it. */
static enum err search_log(struct search *s, enum actor_kind kind, const struct id *actor, uint64_t before)
{
    uint8_t last[LOG_ACTOR_KEY];
    bool on = true;
    if (before == 0) return ERR_NOT_FOUND;
    state_log_actor_key(last, (uint8_t)kind, actor, before - 1);
    enum err err = table_cursor_seek_back(s->cursor, BYTES(last));
    for (uint32_t examined = 0; err == OK; examined++) {
        struct bytes key = table_cursor_key(s->cursor);
        if (key.size != sizeof last || memcmp(key.data, last, sizeof last - 8) != 0) return ERR_NOT_FOUND;
        if (examined == LIMIT_EXAMINED) return ERR_TOO_LARGE; /* no answer is better than a wrong one */
        err = examine(s, get_be64(key.data + sizeof last - 8), &on);
        if (err != ERR_NOT_FOUND || !on) return err;
        err = table_cursor_previous(s->cursor);
    }
    return err;
}

static enum err search(struct search *s, enum actor_kind kind, const struct id *actor)
{
    struct meta meta;
    uint64_t before;
    enum err err = state_meta_get(&meta, s->txn);
    if (err != OK) return err;
    /* So long the row is kept: had it been recorded, it would be there. */
    if (s->issued_at_ms > TIME_MAX_MS || meta.time_ms <= s->issued_at_ms + LIMIT_SKEW_MS) return ERR_NOT_FOUND;
    err = first_later(&before, s, meta.size, s->issued_at_ms + LIMIT_SKEW_MS);
    if (err == OK) err = table_cursor_open(&s->cursor, s->txn, TABLE_LOG_ACTOR);
    if (err != OK) return err;
    err = search_log(s, kind, actor, before);
    table_cursor_close(s->cursor);
    return err;
}

enum err ledger_lookup(uint64_t *leaf_index, uint8_t *decision, uint16_t *reason, struct table_txn *txn,
                       enum actor_kind kind, const struct id *actor, uint64_t issued_at_ms,
                       const struct id *request_id)
{
    struct search s = {.txn = txn, .issued_at_ms = issued_at_ms, .request_id = request_id};
    enum err err = state_seen_get(&s.found, txn, issued_at_ms, (uint8_t)kind, actor, request_id);
    if (err == ERR_NOT_FOUND) err = search(&s, kind, actor);
    buffer_free(&s.value);
    buffer_free(&s.leaf);
    if (err != OK) return err;
    *leaf_index = s.found.index;
    *decision = s.found.decision;
    *reason = s.found.reason;
    return OK;
}
