#include "consensus/witness_rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/pack.h"
#include "ledger/tables.h"
#include "storage/store.h"

/* --- the row --- */

void witnessed_encode(struct buffer *out, const struct witnessed *kept)
{
    pack_array(out, 6);
    pack_uint(out, kept->size);
    pack_uint(out, kept->raft_index);
    pack_uint(out, kept->raft_term);
    pack_uint(out, kept->time_ms);
    pack_digest(out, &kept->root);
    pack_bytes(out, buffer_bytes(&kept->note));
}

enum err witnessed_decode(struct witnessed *out, struct bytes row)
{
    struct unpack u = unpack_start(row);
    *out = (struct witnessed){0};
    unpack_array_of(&u, 6);
    out->size = unpack_uint(&u);
    out->raft_index = unpack_uint(&u);
    out->raft_term = unpack_uint(&u);
    out->time_ms = unpack_uint(&u);
    out->root = unpack_digest(&u);
    struct bytes note = unpack_bin(&u, LIMIT_CHECKPOINT_NOTE);
    enum err e = unpack_done(&u);
    if (e == OK) buffer_append_bytes(&out->note, note);
    return e == OK && out->note.failed ? ERR_NOMEM : e;
}

/* --- keeping --- */

struct keeping {
    struct state_write write;
    uint64_t size;
    struct buffer row;
};

static enum err keep_run(struct state_write *write, struct table_txn *txn, struct ledger *ledger)
{
    struct keeping *k = write->data;
    uint8_t key[8];
    (void)ledger;
    put_be64(key, k->size);
    enum err e = table_put(txn, TABLE_CHECKPOINT, BYTES(key), buffer_bytes(&k->row));
    return e == OK ? table_drop_oldest(txn, TABLE_CHECKPOINT, CHECKPOINTS_STORED) : e;
}

static void keep_done(struct state_write *write, enum err code)
{
    struct keeping *k = write->data;
    (void)code; /* a store that failed stops the node elsewhere */
    buffer_free(&k->row);
    free(k);
}

void witness_row_keep(struct driver *driver, const struct witnessed *kept)
{
    struct keeping *k = xcalloc(1, sizeof *k);
    k->size = kept->size;
    witnessed_encode(&k->row, kept);
    k->write = (struct state_write){.detached = true, .data = k, .run = keep_run, .done = keep_done};
    if (k->row.failed || driver_write(driver, &k->write) != OK) keep_done(&k->write, OK); /* a later one will be */
}

/* --- loading --- */

/* One that can't be read is passed over, as the scrub will remove it: others say the same, and new ones come. */
static enum err load_row(struct witnessed *out, unsigned *count, struct table_cursor *c, struct buffer *value)
{
    enum err e = table_cursor_value(c, value);
    if (e != OK && e != ERR_CORRUPT) return e;
    if (e == OK && witnessed_decode(&out[*count], buffer_bytes(value)) == OK)
        ++*count;
    else
        log_warning("witness", "a kept checkpoint can't be read, and is passed over");
    return OK;
}

static enum err load(struct witnessed *out, unsigned *count, unsigned most, struct table_txn *txn)
{
    struct table_cursor *c;
    struct buffer value = {0};
    enum err e = table_cursor_open(&c, txn, TABLE_CHECKPOINT);
    if (e != OK) return e;
    e = table_cursor_seek_back(c, (struct bytes){0});
    while (e == OK && *count < most) {
        e = load_row(out, count, c, &value);
        if (e == OK) e = table_cursor_previous(c);
    }
    table_cursor_close(c);
    buffer_free(&value);
    return e == ERR_NOT_FOUND ? OK : e;
}

enum err witness_rows_load(struct witnessed *out, unsigned *count, unsigned most, struct store *store)
{
    struct table_txn *txn;
    *count = 0;
    enum err e = store_begin_read(&txn, store);
    if (e != OK) return e;
    e = load(out, count, most, txn);
    store_abort(txn);
    while (e != OK && *count > 0)
        buffer_free(&out[--*count].note);
    return e;
}
