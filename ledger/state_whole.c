/* What there is one of: epochs, the policy in force, sizes, the Raft position. */
#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"
#include "ledger/rows.h"
#include "ledger/state.h"

/* --- epochs --- */

static struct point unpack_group_element(struct unpack *u)
{
    struct point p = {{0}};
    unpack_bin_exact(u, p.bytes, sizeof p.bytes); /* valid when it was put */
    return p;
}

static void unpack_epoch(struct epoch *out, struct unpack *u)
{
    unpack_array_of(u, 7);
    out->n = (uint32_t)unpack_uint_max(u, LIMIT_NODES);
    out->b = (uint32_t)unpack_uint_max(u, LIMIT_NODES);
    out->k = (uint32_t)unpack_uint_max(u, LIMIT_NODES);
    out->attempt = (uint32_t)unpack_uint_max(u, UINT32_MAX);
    out->activation = unpack_uint(u);
    out->key = unpack_group_element(u);
    unpack_array_of(u, out->n);
    for (uint32_t i = 0; i < out->n; i++) out->verification[i] = unpack_group_element(u);
}

/* The key of the newest epoch of a secret. */
static enum err newest_epoch(uint64_t *epoch, struct table_txn *txn, uint8_t secret)
{
    uint8_t last[9];
    struct table_cursor *c;
    last[0] = secret;
    put_be64(last + 1, UINT64_MAX);
    enum err err = table_cursor_open(&c, txn, TABLE_EPOCH);
    if (err != OK) return err;
    err = table_cursor_seek_back(c, BYTES(last));
    if (err == OK) {
        struct bytes key = table_cursor_key(c);
        if (key.size != sizeof last)
            err = ERR_CORRUPT;
        else if (key.data[0] != secret)
            err = ERR_NOT_FOUND;
        else
            *epoch = get_be64(key.data + 1);
    }
    table_cursor_close(c);
    return err;
}

enum err state_epoch_get(struct epoch *out, struct table_txn *txn, uint8_t secret, uint64_t epoch)
{
    uint8_t key[9];
    struct row row;
    enum err err = epoch ? OK : newest_epoch(&epoch, txn, secret);
    if (err != OK) return err;
    key[0] = secret;
    put_be64(key + 1, epoch);
    row_open(&row, txn, TABLE_EPOCH, BYTES(key));
    memset(out, 0, sizeof *out);
    unpack_epoch(out, &row.u);
    out->epoch = epoch;
    return row_close(&row);
}

enum err state_epoch_put(struct table_txn *txn, uint8_t secret, const struct epoch *row)
{
    uint8_t key[9];
    struct buffer b = {0};
    CHECK(row->epoch >= 1 && row->n <= LIMIT_NODES);
    key[0] = secret;
    put_be64(key + 1, row->epoch);
    pack_array(&b, 7);
    pack_uint(&b, row->n);
    pack_uint(&b, row->b);
    pack_uint(&b, row->k);
    pack_uint(&b, row->attempt);
    pack_uint(&b, row->activation);
    pack_point(&b, &row->key);
    pack_array(&b, row->n);
    for (uint32_t i = 0; i < row->n; i++) pack_point(&b, &row->verification[i]);
    return row_put(txn, TABLE_EPOCH, BYTES(key), &b);
}

/* --- the policy in force --- */

enum err state_policy_get(struct buffer *text, uint64_t *index, struct table_txn *txn)
{
    struct table_cursor *c;
    enum err err = table_cursor_open(&c, txn, TABLE_POLICY);
    if (err != OK) return err;
    err = table_cursor_seek_back(c, (struct bytes){0});
    if (err == OK && table_cursor_key(c).size != 8) err = ERR_CORRUPT;
    if (err == OK) {
        *index = get_be64(table_cursor_key(c).data);
        err = table_cursor_value(c, text);
    }
    table_cursor_close(c);
    return err;
}

enum err state_policy_put(struct table_txn *txn, uint64_t index, struct bytes text)
{
    uint8_t key[8];
    put_be64(key, index);
    return table_put(txn, TABLE_POLICY, BYTES(key), text);
}

/* --- sizes --- */

enum err state_meta_get(struct meta *out, struct table_txn *txn)
{
    struct row row;
    row_open(&row, txn, TABLE_META, bytes_text("state"));
    struct unpack *u = &row.u;
    memset(out, 0, sizeof *out);
    unpack_array_of(u, 8);
    out->rules = (uint32_t)unpack_uint_max(u, UINT32_MAX);
    out->size = unpack_uint(u);
    out->last = unpack_digest(u);
    out->time_ms = unpack_uint(u);
    out->roots = unpack_uint(u);
    out->users = unpack_uint(u);
    out->records = unpack_uint(u);
    out->denied = unpack_uint(u);
    return row_close(&row);
}

enum err state_meta_put(struct table_txn *txn, const struct meta *meta)
{
    struct buffer b = {0};
    pack_array(&b, 8);
    pack_uint(&b, meta->rules);
    pack_uint(&b, meta->size);
    pack_digest(&b, &meta->last);
    pack_uint(&b, meta->time_ms);
    pack_uint(&b, meta->roots);
    pack_uint(&b, meta->users);
    pack_uint(&b, meta->records);
    pack_uint(&b, meta->denied);
    return row_put(txn, TABLE_META, bytes_text("state"), &b);
}

enum err state_digest_asked_get(uint64_t *index, uint64_t *time_ms, struct table_txn *txn)
{
    uint8_t value[16];
    enum err err = row_get_fixed(value, sizeof value, txn, TABLE_META, bytes_text("digest"));
    if (err != OK) return err;
    *index = get_be64(value);
    *time_ms = get_be64(value + 8);
    return OK;
}

enum err state_digest_asked_put(struct table_txn *txn, uint64_t index, uint64_t time_ms)
{
    uint8_t value[16];
    put_be64(value, index);
    put_be64(value + 8, time_ms);
    return table_put(txn, TABLE_META, bytes_text("digest"), BYTES(value));
}

enum err state_applied_get(struct applied *out, struct table_txn *txn)
{
    uint8_t value[16];
    *out = (struct applied){0};
    enum err err = row_get_fixed(value, sizeof value, txn, TABLE_APPLIED, bytes_text("raft"));
    if (err == ERR_NOT_FOUND) return OK;
    if (err != OK) return err;
    out->raft_index = get_be64(value);
    out->raft_term = get_be64(value + 8);
    return OK;
}

enum err state_applied_put(struct table_txn *txn, const struct applied *applied)
{
    uint8_t value[16];
    put_be64(value, applied->raft_index);
    put_be64(value + 8, applied->raft_term);
    return table_put(txn, TABLE_APPLIED, bytes_text("raft"), BYTES(value));
}
