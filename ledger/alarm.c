/* Rows of alarms: each one ever raised, those that are open, the latest of each key. */
#include "ledger/alarm.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
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

static bool claim_holds(const struct alarm *a, uint64_t time_ms)
{
    return a->claimed_by && time_ms < a->claimed_ms + ALARM_CLAIM_MS;
}

bool alarm_is_claimed(const struct alarm *a, uint64_t time_ms) { return claim_holds(a, time_ms); }

bool alarm_was_told(const struct alarm *a, uint64_t time_ms)
{
    return a->told && time_ms < a->told_ms + ALARM_AGAIN_MS;
}

bool alarm_is_untold(const struct alarm *a, uint64_t time_ms)
{
    return a->status == ALARM_OPEN && !claim_holds(a, time_ms) && !alarm_was_told(a, time_ms);
}

/* --- table alarm --- */

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
    unpack_array_of(u, 12);
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
    return row_close(&row);
}

static enum err put_row(struct table_txn *txn, const struct alarm *a)
{
    uint8_t key[8];
    struct buffer b = {0};
    put_be64(key, a->index);
    pack_array(&b, 12);
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
    uint8_t key[8], raiser = (uint8_t)a->raiser;
    put_be64(key, a->index);
    enum err err = put_row(txn, a);
    if (err != OK) return err;
    return a->status == ALARM_OPEN ? table_put(txn, TABLE_ALARM_OPEN, BYTES(key), bytes_of(&raiser, 1))
                                   : table_delete(txn, TABLE_ALARM_OPEN, BYTES(key));
}

/* The rest of a row that a cursor stands on. */
static enum err open_at(uint64_t *index, unsigned *raiser, struct table_cursor *c)
{
    struct buffer value = {0};
    struct bytes key = table_cursor_key(c);
    if (key.size != 8) return ERR_CORRUPT;
    *index = get_be64(key.data);
    enum err err = table_cursor_value(c, &value);
    if (err == OK && value.size != 1) err = ERR_CORRUPT;
    if (err == OK) *raiser = value.data[0];
    buffer_free(&value);
    return err;
}

enum err state_alarms_open(struct alarm *out, size_t *count, struct table_txn *txn, size_t most)
{
    struct table_cursor *c;
    uint64_t index;
    unsigned raiser;
    *count = 0;
    enum err err = table_cursor_open(&c, txn, TABLE_ALARM_OPEN);
    if (err != OK) return err;
    for (err = table_cursor_seek(c, (struct bytes){0}); err == OK && *count < most; err = table_cursor_next(c)) {
        err = open_at(&index, &raiser, c);
        if (err == OK) err = state_alarm_get(&out[*count], txn, index);
        if (err == ERR_NOT_FOUND) err = ERR_CORRUPT;
        if (err != OK) break;
        ++*count;
    }
    table_cursor_close(c);
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err state_alarms_raised(uint32_t *count, struct table_txn *txn, unsigned raiser)
{
    struct table_cursor *c;
    uint64_t index;
    unsigned by;
    *count = 0;
    if (table_count(txn, TABLE_ALARM_OPEN) == 0) return OK;
    enum err err = table_cursor_open(&c, txn, TABLE_ALARM_OPEN);
    if (err != OK) return err;
    for (err = table_cursor_seek(c, (struct bytes){0}); err == OK; err = table_cursor_next(c)) {
        err = open_at(&index, &by, c);
        if (err == ERR_NOT_FOUND) err = ERR_CORRUPT;
        if (err != OK) break;
        if (by == raiser) ++*count;
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
