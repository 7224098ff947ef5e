/* The durable notes of findings: node-local table finding, kind(1) named(1) first(8) ->
 * [last, since_ms, leaf index of the alarm (0: none), raiser, spoken for, repaired, carried, text, evidence];
 * and in the table blob "quarantine" -> [since_ms, why].
 * A write that could not be taken is tried again by integrity's timer. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pack.h"
#include "ledger/evidence.h"
#include "ledger/fields.h"
#include "ledger/tables.h"
#include "node/integrity_internal.h"

#define NOTE_KEY (1 + 1 + 8)
#define QUARANTINE bytes_text("quarantine")

struct note {
    struct state_write write;
    struct integrity *integrity;
    struct kept *kept; /* NULL: the quarantine's */
    bool deletes;
    uint8_t key[NOTE_KEY];
    struct buffer value;
};

static void note_key(uint8_t key[static NOTE_KEY], const struct alarm *a)
{
    key[0] = (uint8_t)a->kind;
    key[1] = (uint8_t)a->named;
    put_be64(key + 2, a->first);
}

static void encode(struct buffer *out, const struct kept *k)
{
    pack_array(out, 9);
    pack_uint(out, k->alarm.last);
    pack_uint(out, k->alarm.since_ms);
    pack_uint(out, k->alarm.index);
    pack_uint(out, k->alarm.raiser);
    pack_bool(out, k->spoken_for);
    pack_bool(out, k->repaired);
    pack_bool(out, k->carried);
    pack_text(out, k->text);
    pack_bytes(out, buffer_bytes(&k->evidence));
}

static enum err decode(struct kept *k, struct bytes key, struct bytes value)
{
    struct unpack u = unpack_start(value);
    if (key.size != NOTE_KEY || !key.data[0] || key.data[0] > ALARM_ROLLED_BACK || !key.data[1] ||
        key.data[1] > LIMIT_NODES)
        return ERR_CORRUPT;
    unpack_array_of(&u, 9);
    k->alarm = (struct alarm){.kind = (enum alarm_kind)key.data[0], .named = key.data[1], .status = ALARM_OPEN};
    k->alarm.first = get_be64(key.data + 2);
    k->alarm.last = unpack_range(&u, k->alarm.first, UINT64_MAX);
    k->alarm.since_ms = unpack_time(&u);
    k->alarm.index = unpack_uint(&u);
    k->alarm.raiser = (unsigned)unpack_uint_max(&u, LIMIT_NODES);
    k->spoken_for = unpack_bool(&u);
    k->repaired = unpack_bool(&u);
    k->carried = unpack_bool(&u);
    struct bytes text = unpack_str(&u, sizeof k->text - 1), evidence = unpack_bin(&u, EVIDENCE_SIZE);
    if (unpack_done(&u) != OK) return ERR_CORRUPT;
    memcpy(k->text, text.data ? (const char *)text.data : "", text.size);
    buffer_append_bytes(&k->evidence, evidence);
    k->stored = true;
    return OK;
}

/* --- writing --- */

static enum err note_run(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    struct note *n = w->data;
    (void)ledger;
    if (!n->kept) return table_put(txn, TABLE_BLOB, QUARANTINE, buffer_bytes(&n->value));
    if (n->deletes) return table_delete(txn, TABLE_FINDING, BYTES(n->key));
    return table_put(txn, TABLE_FINDING, BYTES(n->key), buffer_bytes(&n->value));
}

static void quarantine_done(struct integrity *i, enum err code)
{
    i->quarantine_storing = false;
    i->quarantine_stored = code == OK;
}

static void kept_done(struct integrity *i, struct kept *k, const struct note *n, enum err code)
{
    k->storing = false;
    if (code != OK) {
        k->dirty = true;
        return;
    }
    if (n->deletes && k->gone) {
        kept_forget(i, k);
        return;
    }
    k->stored = !n->deletes; /* else: found again meanwhile */
    if (n->deletes) k->dirty = true;
    if (k->dirty || k->gone)
        kept_store(i, k);
    else
        raise_next(i);
}

static void note_done(struct state_write *w, enum err code)
{
    struct note *n = w->data;
    struct integrity *i = n->integrity;
    if (!n->kept)
        quarantine_done(i, code);
    else
        kept_done(i, n->kept, n, code);
    buffer_free(&n->value);
    free(n);
}

/* False: not taken; the timer tries again. */
static bool write_note(struct note *n)
{
    n->write = (struct state_write){.durable = true, .data = n, .run = note_run, .done = note_done};
    if (!n->value.failed && driver_write(n->integrity->node->driver, &n->write) == OK) return true;
    buffer_free(&n->value);
    free(n);
    return false;
}

void kept_store(struct integrity *i, struct kept *k)
{
    k->dirty = true;
    if (k->storing) return;
    struct note *n = xcalloc(1, sizeof *n);
    n->integrity = i;
    n->kept = k;
    n->deletes = k->gone;
    note_key(n->key, &k->alarm);
    encode(&n->value, k);
    k->storing = write_note(n);
    if (k->storing) k->dirty = false;
}

void quarantine_store(struct integrity *i)
{
    if (i->quarantine_storing || i->quarantine_stored) return;
    struct note *n = xcalloc(1, sizeof *n);
    n->integrity = i;
    pack_array(&n->value, 2);
    pack_uint(&n->value, i->quarantined_ms);
    pack_text(&n->value, i->why);
    i->quarantine_storing = write_note(n);
}

/* --- at start --- */

static void decode_quarantine(struct integrity *i, struct bytes note)
{
    struct unpack u = unpack_start(note);
    unpack_array_of(&u, 2);
    i->quarantined_ms = unpack_time(&u);
    struct bytes why = unpack_str(&u, sizeof i->why - 1);
    if (unpack_done(&u) != OK) why = bytes_text("it was so before, and its note of why is damaged");
    memcpy(i->why, why.data ? (const char *)why.data : "", why.size);
}

static enum err load_quarantine(struct integrity *i, struct table_txn *txn)
{
    struct buffer value = {0};
    enum err e = table_get(txn, TABLE_BLOB, QUARANTINE, &value);
    if (e == OK) decode_quarantine(i, buffer_bytes(&value));
    if (e == ERR_CORRUPT) strcpy(i->why, "its note of whether it is quarantined is damaged");
    i->quarantined = e == OK || e == ERR_CORRUPT;
    i->quarantine_stored = i->quarantined;
    buffer_free(&value);
    return e == ERR_NOT_FOUND || e == ERR_CORRUPT ? OK : e;
}

static void load_row(struct integrity *i, struct table_cursor *c, struct buffer *value)
{
    struct kept *k = xcalloc(1, sizeof *k);
    enum err e = table_cursor_value(c, value);
    if (e == OK) e = decode(k, table_cursor_key(c), buffer_bytes(value));
    if (e == OK) {
        i->kept[i->count++] = k;
        return;
    }
    log_error("integrity", "a finding that was kept can't be read: %s", err_text(e));
    buffer_free(&k->evidence);
    free(k);
}

static enum err load_findings(struct integrity *i, struct table_txn *txn)
{
    struct table_cursor *c;
    struct buffer value = {0};
    enum err e = table_cursor_open(&c, txn, TABLE_FINDING);
    if (e != OK) return e;
    for (e = table_cursor_seek(c, (struct bytes){0}); e == OK && i->count < INTEGRITY_FINDINGS;
         e = table_cursor_next(c))
        load_row(i, c, &value);
    table_cursor_close(c);
    buffer_free(&value);
    return e == ERR_NOT_FOUND ? OK : e;
}

static enum err carry_row(struct table_txn *to, struct bytes key, struct bytes value)
{
    struct kept k = {0};
    struct buffer row = {0};
    enum err e = decode(&k, key, value);
    k.carried = true;
    if (e == OK) encode(&row, &k);
    if (e == OK) e = row.failed ? ERR_NOMEM : table_put(to, TABLE_FINDING, key, buffer_bytes(&row));
    buffer_free(&row);
    buffer_free(&k.evidence);
    return e == ERR_CORRUPT ? OK : e; /* that one is lost */
}

enum err integrity_carry(struct table_txn *to, struct table_txn *from)
{
    struct table_cursor *c;
    struct buffer value = {0};
    enum err e = table_cursor_open(&c, from, TABLE_FINDING);
    if (e != OK) return e;
    for (e = table_cursor_seek(c, (struct bytes){0}); e == OK; e = table_cursor_next(c)) {
        e = table_cursor_value(c, &value);
        if (e == OK) e = carry_row(to, table_cursor_key(c), buffer_bytes(&value));
        if (e == ERR_CORRUPT || e == ERR_DECRYPT) e = OK;
        if (e != OK) break;
    }
    table_cursor_close(c);
    buffer_free(&value);
    return e == ERR_NOT_FOUND ? OK : e;
}

enum err integrity_load(struct integrity *i)
{
    struct table_txn *txn;
    enum err e = store_begin_read(&txn, i->node->store);
    if (e != OK) return e;
    e = load_quarantine(i, txn);
    if (e == OK) e = load_findings(i, txn);
    store_abort(txn);
    return e;
}
