/* Rows of alarms: each one ever raised, those that are open, the latest of each key. */
#include "ledger/alarm.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "crypto/hash.h"
#include "ledger/fields.h"
#include "ledger/rows.h"

const char *alarm_kind_text(enum alarm_kind kind)
{
    switch (kind) {
#define X(name, number, text, meaning)                                                             \
    case name: return text;
        ALARM_LIST(X)
#undef X
    }
    return "unknown";
}

const char *alarm_kind_meaning(enum alarm_kind kind)
{
    switch (kind) {
#define X(name, number, text, meaning)                                                             \
    case name: return meaning;
        ALARM_LIST(X)
#undef X
    }
    return "something that this version does not know";
}

const char *alarm_kind_place(enum alarm_kind kind)
{
    switch (kind) {
    case ALARM_MODIFIED:
    case ALARM_DELETED: return "index";
    case ALARM_FORKED: return "Raft index or size";
    case ALARM_ROLLED_BACK: return "Raft index";
    }
    return "place";
}

bool alarm_kind_parse(enum alarm_kind *out, const char *text)
{
#define X(name, number, kind, meaning)                                                             \
    if (bytes_equal(bytes_text(text), bytes_text(kind))) {                                         \
        *out = name;                                                                               \
        return true;                                                                               \
    }
    ALARM_LIST(X)
#undef X
    return false;
}

bool alarm_counts(enum alarm_kind kind, unsigned named, uint32_t saying, unsigned faulty)
{
    unsigned words = 0;
    for (uint32_t rest = saying; rest; rest &= rest - 1) words++;
    return kind == ALARM_FORKED || (saying >> named & 1) || words > faulty;
}

/* --- who tells people, and when --- */

bool alarm_is_claimed(const struct alarm *a, uint64_t time_ms)
{
    return a->claimed_by && time_ms < a->claimed_ms + ALARM_CLAIM_MS;
}

bool alarm_was_told(const struct alarm *a, unsigned member, uint64_t time_ms)
{
    bool for_itself = a->told_by == a->named && member != a->named;
    return a->told && !for_itself && time_ms < a->told_ms + ALARM_AGAIN_MS;
}

/* No other claim is approved within that time, and one of the rest only in it: the row need not say which it is. */
bool alarm_claims_rest(const struct alarm *a)
{
    return a->claimed_by && a->claimed_ms > a->told_ms && alarm_was_told(a, a->claimed_by, a->claimed_ms);
}

/* What no member can choose, once the facts are there. */
static void lot_draw(struct digest *out, const struct alarm *a, unsigned member, const struct digest *cluster)
{
    static const char tag[] = "consilium/alarm-turn/v1\n";
    struct buffer b = {0};
    uint8_t facts[1 + 1 + 8 + 1] = {(uint8_t)a->kind, (uint8_t)a->named};
    put_be64(facts + 2, a->first);
    facts[10] = (uint8_t)member;
    buffer_append(&b, tag, sizeof tag - 1);
    buffer_append(&b, cluster->bytes, sizeof cluster->bytes);
    buffer_append(&b, facts, sizeof facts);
    CHECK(!b.failed);
    hash_sha256(out, b.data, b.size);
    buffer_free(&b);
}

/* How many of those that aren't named come before `member`, when the first is who comes after `after` (0: the lowest
 * lot). Of 1 to `members`; neither is named. */
static unsigned place_of(const struct alarm *a, unsigned member, unsigned after, unsigned members,
                         const struct digest *cluster)
{
    struct digest own, last = {{0}}, other;
    unsigned before_own = 0, before_last = 0, count = 0;
    lot_draw(&own, a, member, cluster);
    if (after) lot_draw(&last, a, after, cluster);
    for (unsigned i = 1; i <= members; i++) {
        if (i == a->named) continue;
        lot_draw(&other, a, i, cluster);
        before_own += memcmp(other.bytes, own.bytes, sizeof own.bytes) < 0;
        before_last += memcmp(other.bytes, last.bytes, sizeof last.bytes) < 0;
        count++;
    }
    return after ? (before_own + count - before_last - 1) % count : before_own;
}

uint64_t alarm_turn_ms(const struct alarm *a, unsigned member, unsigned members, const struct digest *cluster)
{
    uint64_t begin = a->since_ms, due = 0;
    bool told = a->told && a->told_by != a->named, claimed = a->claimed_by && !alarm_claims_rest(a);
    unsigned after = claimed && a->claimed_by != a->named ? a->claimed_by : told ? a->told_by : 0;
    CHECK(member >= 1 && member <= members);
    if (claimed)
        due = a->claimed_ms + ALARM_CLAIM_MS;
    else if (told)
        due = a->told_ms + ALARM_AGAIN_MS;
    if (due > begin) begin = due;
    if (member == a->named) return a->kind == ALARM_FORKED ? UINT64_MAX : begin + ALARM_SELF_MS;
    return begin + (uint64_t)place_of(a, member, after, members, cluster) * ALARM_TURN_MS;
}

uint64_t alarm_rest_turn_ms(const struct alarm *a, unsigned member, unsigned members, const struct digest *cluster)
{
    CHECK(member >= 1 && member <= members);
    bool claimed = alarm_claims_rest(a);
    if (!a->told || (a->told_by == a->named && member != a->named)) return UINT64_MAX;
    if (a->kind == ALARM_FORKED && member == a->named) return UINT64_MAX;
    if (!claimed && member == a->told_by && member != a->named) return a->told_ms + ALARM_TURN_MS;
    uint64_t begin = (claimed ? a->claimed_ms : a->told_ms) + ALARM_CLAIM_MS;
    if (member == a->named) return begin + ALARM_SELF_MS; /* or it could claim without a pause, and keep others out */
    unsigned after = claimed && a->claimed_by != a->named ? a->claimed_by : a->told_by;
    return begin + (uint64_t)place_of(a, member, after, members, cluster) * ALARM_TURN_MS;
}

/* --- table alarm --- */

#define SAYING_MOST ((1u << (LIMIT_NODES + 1)) - 2) /* bit 0 is nobody's */

static unsigned unpack_member(struct unpack *u, unsigned least)
{
    return (unsigned)unpack_range(u, least, LIMIT_NODES);
}

enum err state_alarm_get(struct alarm *out, struct table_txn *txn, uint64_t index)
{
    uint8_t key[8];
    struct row row;
    put_be64(key, index);
    row_open(&row, txn, TABLE_ALARM, BYTES(key));
    struct unpack *u = &row.u;
    *out = (struct alarm){.index = index};
    unpack_array_of(u, 15);
    out->kind = (enum alarm_kind)unpack_range(u, ALARM_MODIFIED, ALARM_ROLLED_BACK);
    out->named = unpack_member(u, 1);
    out->raiser = unpack_member(u, 1);
    out->first = unpack_uint(u);
    out->last = unpack_range(u, out->first, UINT64_MAX);
    out->since_ms = unpack_time(u);
    out->status = (enum alarm_status)unpack_range(u, ALARM_OPEN, ALARM_CLEARED);
    out->closed = unpack_uint(u);
    out->claimed_by = unpack_member(u, 0);
    out->claimed_ms = unpack_time(u);
    out->told = unpack_uint(u);
    out->told_ms = unpack_time(u);
    out->told_by = unpack_member(u, 0);
    out->told_ways = (unsigned)unpack_range(u, 0, ALARM_WAYS);
    out->saying = (uint32_t)unpack_range(u, 2, SAYING_MOST);
    return row_close(&row);
}

static enum err put_row(struct table_txn *txn, const struct alarm *a)
{
    uint8_t key[8];
    struct buffer b = {0};
    put_be64(key, a->index);
    pack_array(&b, 15);
    pack_uint(&b, a->kind);
    pack_uint(&b, a->named);
    pack_uint(&b, a->raiser);
    pack_uint(&b, a->first);
    pack_uint(&b, a->last);
    pack_uint(&b, a->since_ms);
    pack_uint(&b, a->status);
    pack_uint(&b, a->closed);
    pack_uint(&b, a->claimed_by);
    pack_uint(&b, a->claimed_ms);
    pack_uint(&b, a->told);
    pack_uint(&b, a->told_ms);
    pack_uint(&b, a->told_by);
    pack_uint(&b, a->told_ways);
    pack_uint(&b, a->saying);
    return row_put(txn, TABLE_ALARM, BYTES(key), &b);
}

/* --- tables alarm_last and alarm_open --- */

#define LAST_KEY (1 + 1 + 8)

static void last_key(uint8_t key[static LAST_KEY], enum alarm_kind kind, unsigned named, uint64_t first)
{
    CHECK(named >= 1 && named <= LIMIT_NODES);
    key[0] = (uint8_t)kind;
    key[1] = (uint8_t)named;
    put_be64(key + 2, first);
}

enum err state_alarm_last(struct alarm *out, struct table_txn *txn, enum alarm_kind kind, unsigned named,
                          uint64_t first)
{
    uint8_t key[LAST_KEY], value[8];
    last_key(key, kind, named, first);
    enum err err = row_get_fixed(value, sizeof value, txn, TABLE_ALARM_LAST, BYTES(key));
    if (err != OK) return err;
    err = state_alarm_get(out, txn, get_be64(value));
    if (err != OK) return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
    return out->kind == kind && out->named == named && out->first == first ? OK : ERR_CORRUPT;
}

enum err state_alarm_put_last(struct table_txn *txn, const struct alarm *a)
{
    uint8_t key[LAST_KEY], value[8];
    last_key(key, a->kind, a->named, a->first);
    put_be64(value, a->index);
    return table_put(txn, TABLE_ALARM_LAST, BYTES(key), BYTES(value));
}

enum err state_alarm_put(struct table_txn *txn, const struct alarm *a)
{
    uint8_t key[8];
    const uint8_t saying[2] = {(uint8_t)(a->saying >> 8), (uint8_t)a->saying};
    CHECK(a->saying && a->saying <= SAYING_MOST);
    put_be64(key, a->index);
    enum err err = put_row(txn, a);
    if (err != OK) return err;
    return a->status == ALARM_OPEN ? table_put(txn, TABLE_ALARM_OPEN, BYTES(key), BYTES(saying))
                                   : table_delete(txn, TABLE_ALARM_OPEN, BYTES(key));
}

/* The rest of a row that a cursor stands on. */
static enum err open_at(uint64_t *index, uint32_t *saying, struct table_cursor *c)
{
    struct buffer value = {0};
    struct bytes key = table_cursor_key(c);
    if (key.size != 8) return ERR_CORRUPT;
    *index = get_be64(key.data);
    enum err err = table_cursor_value(c, &value);
    if (err == OK && value.size != 2) err = ERR_CORRUPT;
    if (err == OK) *saying = (uint32_t)value.data[0] << 8 | value.data[1];
    buffer_free(&value);
    return err;
}

enum err state_alarms_open(struct alarm *out, size_t *count, struct table_txn *txn, size_t most)
{
    struct table_cursor *c;
    uint64_t index;
    uint32_t saying;
    *count = 0;
    enum err err = table_cursor_open(&c, txn, TABLE_ALARM_OPEN);
    if (err != OK) return err;
    for (err = table_cursor_seek(c, (struct bytes){0}); err == OK && *count < most; err = table_cursor_next(c)) {
        err = open_at(&index, &saying, c);
        if (err == OK) err = state_alarm_get(&out[*count], txn, index);
        if (err == ERR_NOT_FOUND) err = ERR_CORRUPT;
        if (err != OK) break;
        ++*count;
    }
    table_cursor_close(c);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err state_alarms_said(uint32_t *count, struct table_txn *txn, unsigned member)
{
    struct table_cursor *c;
    uint64_t index;
    uint32_t saying;
    *count = 0;
    if (table_count(txn, TABLE_ALARM_OPEN) == 0) return OK;
    enum err err = table_cursor_open(&c, txn, TABLE_ALARM_OPEN);
    if (err != OK) return err;
    for (err = table_cursor_seek(c, (struct bytes){0}); err == OK; err = table_cursor_next(c)) {
        err = open_at(&index, &saying, c);
        if (err == ERR_NOT_FOUND) err = ERR_CORRUPT;
        if (err != OK) break;
        if (saying >> member & 1) ++*count;
    }
    table_cursor_close(c);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err state_alarms_page(struct alarm *out, size_t *count, struct table_txn *txn, uint64_t before, size_t most)
{
    struct table_cursor *c;
    uint8_t last[8];
    *count = 0;
    if (before == 0) return OK;
    put_be64(last, before - 1);
    enum err err = table_cursor_open(&c, txn, TABLE_ALARM);
    if (err != OK) return err;
    for (err = table_cursor_seek_back(c, BYTES(last)); err == OK && *count < most; err = table_cursor_previous(c)) {
        struct bytes key = table_cursor_key(c);
        if (key.size != 8) {
            err = ERR_CORRUPT;
            break;
        }
        err = state_alarm_get(&out[*count], txn, get_be64(key.data));
        if (err == ERR_NOT_FOUND) err = ERR_CORRUPT;
        if (err != OK) break;
        ++*count;
    }
    table_cursor_close(c);
    return err == ERR_NOT_FOUND ? OK : err;
}
