#include "consensus/keygen_store.h"

#include <string.h>

#include "base/pack.h"
#include "crypto/secret.h"
#include "ledger/tables.h"

#define SEALED_SIZE (32 + SEAL_BOX_OVERHEAD)
#define KEY_SIZE 6
#define SHARE_KEY_SIZE 10

static void row_key(uint8_t out[static KEY_SIZE], uint8_t secret, char kind, uint32_t attempt)
{
    out[0] = secret;
    out[1] = (uint8_t)kind;
    put_be32(out + 2, attempt);
}

static void share_key(uint8_t out[static SHARE_KEY_SIZE], uint8_t secret, uint64_t epoch)
{
    out[0] = secret;
    out[1] = 'x';
    put_be64(out + 2, epoch);
}

/* A row that may be absent; `found` says which. */
static enum err get_row(struct buffer *row, bool *found, struct table_txn *txn, struct bytes key)
{
    enum err e = table_get(txn, TABLE_DKG_SECRET, key, row);
    *found = e == OK;
    return e == ERR_NOT_FOUND ? OK : e;
}

static enum err decode_own(struct keygen_own *out, struct bytes row, unsigned n)
{
    struct unpack u = unpack_start(row);
    unpack_array_of(&u, 2);
    struct bytes polynomial = unpack_bin(&u, sizeof out->polynomial.coefficients);
    unpack_array_of(&u, n);
    for (unsigned i = 1; i <= n; i++)
        unpack_bin_exact(&u, out->sealed[i], SEALED_SIZE);
    enum err e = unpack_done(&u);
    if (e == OK) e = dkg_polynomial_decode(&out->polynomial, polynomial);
    return e == OK ? OK : ERR_CORRUPT;
}

enum err keygen_own_get(struct keygen_own *out, struct table_txn *txn, uint8_t secret, uint32_t attempt, unsigned n)
{
    uint8_t key[KEY_SIZE];
    struct buffer row = {.secret = true};
    bool found;
    memset(out, 0, sizeof *out);
    row_key(key, secret, 'p', attempt);
    enum err e = get_row(&row, &found, txn, BYTES(key));
    if (e == OK && found) {
        e = decode_own(out, buffer_bytes(&row), n);
        out->exists = e == OK;
        out->attempt = attempt;
    }
    secret_wipe_buffer(&row);
    return e;
}

enum err keygen_own_put(struct table_txn *txn, uint8_t secret, const struct keygen_own *own, unsigned n)
{
    uint8_t key[KEY_SIZE];
    struct buffer row = {.secret = true}, polynomial = {.secret = true};
    row_key(key, secret, 'p', own->attempt);
    enum err e = dkg_polynomial_encode(&polynomial, &own->polynomial);
    pack_array(&row, 2);
    pack_bytes(&row, buffer_bytes(&polynomial));
    pack_array(&row, n);
    for (unsigned i = 1; i <= n; i++)
        pack_bin(&row, own->sealed[i], SEALED_SIZE);
    if (e == OK) e = row.failed ? ERR_NOMEM : table_put(txn, TABLE_DKG_SECRET, BYTES(key), buffer_bytes(&row));
    secret_wipe_buffer(&row);
    secret_wipe_buffer(&polynomial);
    return e;
}

static enum err decode_received(struct keygen_received *out, struct bytes row, unsigned n)
{
    struct unpack u = unpack_start(row);
    unpack_array_of(&u, n);
    for (unsigned i = 1; i <= n; i++) {
        struct bytes subshare = unpack_bin(&u, 32);
        if (subshare.size == 0) continue;
        if (subshare.size != 32 || scalar_decode(&out->subshares[i], subshare.data) != OK)
            unpack_fail(&u, ERR_MALFORMED);
        out->has[i] = out->any = true;
    }
    return unpack_done(&u) == OK ? OK : ERR_CORRUPT;
}

enum err keygen_received_get(struct keygen_received *out, struct table_txn *txn, uint8_t secret, uint32_t attempt,
                             unsigned n)
{
    uint8_t key[KEY_SIZE];
    struct buffer row = {.secret = true};
    bool found;
    memset(out, 0, sizeof *out);
    row_key(key, secret, 'r', attempt);
    enum err e = get_row(&row, &found, txn, BYTES(key));
    if (e == OK && found) e = decode_received(out, buffer_bytes(&row), n);
    secret_wipe_buffer(&row);
    return e;
}

enum err keygen_received_put(struct table_txn *txn, uint8_t secret, uint32_t attempt,
                             const struct keygen_received *received, unsigned n)
{
    uint8_t key[KEY_SIZE];
    struct buffer row = {.secret = true};
    row_key(key, secret, 'r', attempt);
    pack_array(&row, n);
    for (unsigned i = 1; i <= n; i++)
        pack_bin(&row, received->subshares[i].bytes, received->has[i] ? 32 : 0);
    enum err e = row.failed ? ERR_NOMEM : table_put(txn, TABLE_DKG_SECRET, BYTES(key), buffer_bytes(&row));
    secret_wipe_buffer(&row);
    return e;
}

enum err keygen_share_get(struct scalar *out, struct table_txn *txn, uint8_t secret, uint64_t epoch)
{
    uint8_t key[SHARE_KEY_SIZE];
    struct buffer row = {.secret = true};
    share_key(key, secret, epoch);
    enum err e = table_get(txn, TABLE_DKG_SECRET, BYTES(key), &row);
    if (e == OK && (row.size != 32 || scalar_decode(out, row.data) != OK)) e = ERR_CORRUPT;
    secret_wipe_buffer(&row);
    return e;
}

enum err keygen_share_put(struct table_txn *txn, uint8_t secret, uint64_t epoch, const struct scalar *share)
{
    uint8_t key[SHARE_KEY_SIZE];
    share_key(key, secret, epoch);
    return table_put(txn, TABLE_DKG_SECRET, BYTES(key), BYTES(share->bytes));
}

/* Up to this attempt; a cursor ends where a row is deleted, so it is looked for anew. */
static enum err wipe_kind(struct table_txn *txn, uint8_t secret, char kind, uint32_t attempt)
{
    uint8_t first[KEY_SIZE], last[KEY_SIZE], found[KEY_SIZE];
    row_key(first, secret, kind, 0);
    row_key(last, secret, kind, attempt);
    for (;;) {
        struct table_cursor *c;
        enum err e = table_cursor_open(&c, txn, TABLE_DKG_SECRET);
        if (e != OK) return e;
        e = table_cursor_seek(c, BYTES(first));
        struct bytes at = e == OK ? table_cursor_key(c) : (struct bytes){0};
        bool wanted = at.size == KEY_SIZE && memcmp(at.data, last, KEY_SIZE) <= 0;
        if (wanted) memcpy(found, at.data, KEY_SIZE);
        table_cursor_close(c);
        if (!wanted) return e == ERR_NOT_FOUND ? OK : e;
        e = table_delete(txn, TABLE_DKG_SECRET, BYTES(found));
        if (e != OK) return e;
    }
}

enum err keygen_wipe(struct table_txn *txn, uint8_t secret, uint32_t attempt)
{
    enum err e = wipe_kind(txn, secret, 'p', attempt);
    return e == OK ? wipe_kind(txn, secret, 'r', attempt) : e;
}
