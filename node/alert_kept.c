#include "node/alert_kept.h"

#include <string.h>

#include "base/pack.h"
#include "ledger/tables.h"
#include "storage/store.h"

#define KEY bytes_text("alerted") /* -> [leaf, ...] */

bool alert_kept_has(const struct alert_kept *k, uint64_t told)
{
    for (size_t i = 0; i < k->count; i++)
        if (k->told[i] == told) return true;
    return false;
}

static enum err run(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    const struct alert_kept *k = w->data;
    (void)ledger;
    return table_put(txn, TABLE_BLOB, KEY, buffer_bytes(&k->row));
}

static void done(struct state_write *w, enum err code)
{
    struct alert_kept *k = w->data;
    k->storing = false;
    if (code != OK) k->dirty = true; /* for the next try */
}

void alert_kept_store(struct alert_kept *k)
{
    if (!k->dirty || k->storing) return;
    buffer_clear(&k->row);
    pack_array(&k->row, (uint32_t)k->count);
    for (size_t i = 0; i < k->count; i++) pack_uint(&k->row, k->told[i]);
    k->write = (struct state_write){.durable = true, .data = k, .run = run, .done = done};
    k->storing = !k->row.failed && driver_write(k->node->driver, &k->write) == OK;
    k->dirty = !k->storing;
}

void alert_kept_add(struct alert_kept *k, uint64_t told)
{
    if (alert_kept_has(k, told)) return;
    if (k->count == ALERT_KEPT_MOST) memmove(k->told, k->told + 1, --k->count * sizeof *k->told);
    k->told[k->count++] = told;
    k->dirty = true;
    alert_kept_store(k);
}

static void decode(struct alert_kept *k, struct bytes row)
{
    struct unpack u = unpack_start(row);
    size_t count = unpack_array(&u, ALERT_KEPT_MOST);
    for (size_t i = 0; i < count; i++) k->told[i] = unpack_uint(&u);
    k->count = unpack_done(&u) == OK ? count : 0;
}

enum err alert_kept_load(struct alert_kept *k, struct node *node)
{
    struct table_txn *txn;
    struct buffer row = {0};
    *k = (struct alert_kept){.node = node};
    enum err e = store_begin_read(&txn, node->store);
    if (e != OK) return e;
    e = table_get(txn, TABLE_BLOB, KEY, &row);
    if (e == OK) decode(k, buffer_bytes(&row));
    store_abort(txn);
    buffer_free(&row);
    return e == ERR_NOT_FOUND || e == ERR_CORRUPT ? OK : e;
}

void alert_kept_free(struct alert_kept *k) { buffer_free(&k->row); }
