#include "ledger/state_digest.h"

#include <assert.h>
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "ledger/genesis.h"
#include "ledger/state.h"
#include "ledger/tables.h"

#define WHOLE_TAG "consilium/state/v1\n"
#define STATEMENT_TAG "consilium/state-digest/v1\n"
#define STATEMENT_VERSION 1
static_assert(128 + STATE_DIGEST_TABLES * (1 + 1 + 9 + 34) <= LIMIT_STATEMENT, "a statement of all tables fits");

static void add_be64(struct hash *h, uint64_t number)
{
    uint8_t bytes[8];
    put_be64(bytes, number);
    hash_add(h, bytes, sizeof bytes);
}

static void add_sized(struct hash *h, struct bytes data)
{
    add_be64(h, data.size);
    hash_add(h, data.data, data.size);
}

struct digest state_digest_whole(const struct state_digest *digest)
{
    struct hash h;
    struct digest out;
    hash_start(&h);
    hash_add(&h, WHOLE_TAG, sizeof WHOLE_TAG - 1);
    for (uint32_t i = 0; i < digest->count; i++) {
        const struct table_digest *t = &digest->tables[i];
        hash_add(&h, &t->table, 1);
        add_be64(&h, t->rows);
        hash_add(&h, t->digest.bytes, sizeof t->digest.bytes);
    }
    hash_end(&out, &h);
    return out;
}

/* --- scanning --- */

enum state_part state_part_of(uint8_t table)
{
    /* The policy's rows are few, and its last one is in force whatever its index: read exactly. */
    switch (table) {
    case TABLE_LEAF:
    case TABLE_TREE:
    case TABLE_PATIENT_RECORD:
    case TABLE_LOG_SUBJECT:
    case TABLE_LOG_ACTOR:
    case TABLE_OPENED: return STATE_GROWING;
    }
    return STATE_CHANGING;
}

static bool is_covered(uint8_t table)
{
    return table != TABLE_ATTACHMENT && table_is_replicated((enum table_number)table);
}

/* The next table of the part at or after `table`; 0: none. */
static uint8_t table_from(enum state_part part, unsigned table)
{
    for (; table < TABLE_COUNT_MAX; table++)
        if (is_covered((uint8_t)table) && state_part_of((uint8_t)table) == part) return (uint8_t)table;
    return 0;
}

static void enter_table(struct state_scan *scan, uint8_t table)
{
    scan->table = table;
    scan->key_size = 0;
    scan->rows = 0;
    scan->done = table == 0;
    hash_start(&scan->hash);
    if (table) hash_add(&scan->hash, &table, 1);
}

void state_scan_start(struct state_scan *scan, enum state_part part, uint64_t size)
{
    memset(scan, 0, sizeof *scan);
    scan->part = part;
    scan->size = size;
    enter_table(scan, table_from(part, 1));
}

static void leave_table(struct state_scan *scan, struct state_digest *out)
{
    struct table_digest fresh = {.table = scan->table, .rows = scan->rows};
    hash_end(&fresh.digest, &scan->hash);
    if (scan->rows) {
        uint32_t at = out->count;
        CHECK(out->count < STATE_DIGEST_TABLES);
        for (; at > 0 && out->tables[at - 1].table > scan->table; at--) out->tables[at] = out->tables[at - 1];
        out->tables[at] = fresh;
        out->count++;
    }
    enter_table(scan, table_from(scan->part, scan->table + 1u));
}

/* Of a leaf that came after the state that is meant. */
static bool is_later(const struct state_scan *scan, struct bytes key, uint64_t size_now)
{
    if (scan->part == STATE_CHANGING || key.size < 8) return false;
    uint64_t index = get_be64(key.data + key.size - 8);
    return index >= scan->size && index < size_now;
}

/* Past the last key that was read. */
static enum err resume(struct table_cursor *c, const struct state_scan *scan)
{
    struct bytes key = bytes_of(scan->key, scan->key_size);
    enum err err = table_cursor_seek(c, key);
    return err == OK && scan->key_size && bytes_equal(table_cursor_key(c), key) ? table_cursor_next(c) : err;
}

/* Of what nodes keep that applied the same with another version as well. */
static struct bytes compared(uint8_t table, struct bytes value)
{
    return table == TABLE_OPENED ? opened_compared(value) : value;
}

static enum err read_row(struct state_scan *scan, struct table_cursor *c, struct buffer *value, uint64_t size_now)
{
    struct bytes key = table_cursor_key(c);
    CHECK(key.size <= sizeof scan->key);
    memcpy(scan->key, key.data, key.size);
    scan->key_size = (uint16_t)key.size;
    scan->bytes += key.size;
    if (is_later(scan, key, size_now)) return OK;
    enum err err = table_cursor_value(c, value);
    if (err != OK) return err;
    add_sized(&scan->hash, key);
    add_sized(&scan->hash, compared(scan->table, buffer_bytes(value)));
    scan->bytes += value->size;
    scan->rows++;
    return OK;
}

/* ERR_NOT_FOUND at the table's end. */
static enum err read_rows(struct state_scan *scan, struct table_txn *txn, uint64_t most, uint64_t size_now)
{
    struct table_cursor *c;
    struct buffer value = {0};
    enum err err = table_cursor_open(&c, txn, scan->table);
    if (err != OK) return err;
    err = resume(c, scan);
    while (err == OK) {
        err = read_row(scan, c, &value, size_now);
        if (err == ERR_NOT_FOUND) err = ERR_CORRUPT; /* the row was there */
        if (err != OK || scan->bytes >= most) break;
        err = table_cursor_next(c);
    }
    buffer_free(&value);
    table_cursor_close(c);
    return err;
}

/* Leaves in this state; 0 before the first. */
static enum err leaves_in(uint64_t *size, struct table_txn *txn)
{
    struct meta meta;
    enum err err = state_meta_get(&meta, txn);
    *size = err == OK ? meta.size : 0;
    return err == ERR_NOT_FOUND ? OK : err;
}

enum err state_scan_step(struct state_scan *scan, struct state_digest *out, struct table_txn *txn, uint64_t bytes)
{
    uint64_t most = scan->bytes + bytes, size_now = 0;
    enum err err = scan->part == STATE_GROWING ? leaves_in(&size_now, txn) : OK;
    while (err == OK && !scan->done && scan->bytes < most) {
        err = read_rows(scan, txn, most, size_now);
        if (err != ERR_NOT_FOUND) continue;
        leave_table(scan, out);
        err = OK;
    }
    return err;
}

enum err state_digest_now(struct state_digest *out, struct table_txn *txn)
{
    static const enum state_part parts[] = {STATE_CHANGING, STATE_GROWING};
    struct state_scan scan;
    uint64_t size;
    enum err err = leaves_in(&size, txn);
    out->count = 0;
    for (size_t i = 0; i < 2 && err == OK; i++) {
        state_scan_start(&scan, parts[i], size);
        while (err == OK && !scan.done) err = state_scan_step(&scan, out, txn, UINT32_MAX);
    }
    return err;
}

/* --- what a node says --- */

const char *state_outcome_text(enum state_outcome outcome)
{
    switch (outcome) {
#define X(name, number, text)                                                                      \
    case name: return text;
        STATE_OUTCOMES(X)
#undef X
    }
    return "not computed";
}

#define SIGNED_SIZE (sizeof STATEMENT_TAG - 1 + 32 + 8 + 8 + 1 + 32)

static void signed_bytes(uint8_t out[static SIGNED_SIZE], const struct state_statement *s,
                         const struct genesis *genesis)
{
    struct digest whole = {{0}};
    uint8_t *at = out;
    if (s->outcome == STATE_COMPUTED) whole = state_digest_whole(&s->digest);
    memcpy(at, STATEMENT_TAG, sizeof STATEMENT_TAG - 1), at += sizeof STATEMENT_TAG - 1;
    memcpy(at, genesis->cluster.bytes, 32), at += 32;
    put_be64(at, s->leaf), at += 8;
    put_be64(at, s->size), at += 8;
    *at++ = (uint8_t)s->outcome;
    memcpy(at, whole.bytes, 32), at += 32;
    CHECK(at == out + SIGNED_SIZE);
}

void state_statement_sign(struct state_statement *s, const struct genesis *genesis, const struct sign_secret *key)
{
    uint8_t bytes[SIGNED_SIZE];
    CHECK(s->outcome == STATE_COMPUTED || s->digest.count == 0);
    signed_bytes(bytes, s, genesis);
    sign_message(&s->signature, key, BYTES(bytes));
}

enum err state_statement_verify(const struct state_statement *s, const struct genesis *genesis)
{
    uint8_t bytes[SIGNED_SIZE];
    const struct descriptor *member = genesis_member(genesis, s->member);
    if (!member) return ERR_BAD_SIGNATURE;
    signed_bytes(bytes, s, genesis);
    return sign_verify(&s->signature, &member->keys.message, BYTES(bytes));
}

void state_statement_encode(struct buffer *out, const struct state_statement *s)
{
    CHECK(s->digest.count <= STATE_DIGEST_TABLES);
    pack_array(out, 7);
    pack_uint(out, STATEMENT_VERSION);
    pack_uint(out, s->member);
    pack_uint(out, s->leaf);
    pack_uint(out, s->size);
    pack_uint(out, s->outcome);
    pack_array(out, s->digest.count);
    for (uint32_t i = 0; i < s->digest.count; i++) {
        pack_array(out, 3);
        pack_uint(out, s->digest.tables[i].table);
        pack_uint(out, s->digest.tables[i].rows);
        pack_digest(out, &s->digest.tables[i].digest);
    }
    pack_bin(out, s->signature.bytes, sizeof s->signature.bytes);
}

static void unpack_tables(struct state_digest *out, struct unpack *u)
{
    out->count = unpack_array(u, STATE_DIGEST_TABLES);
    for (uint32_t i = 0; i < out->count; i++) {
        struct table_digest *t = &out->tables[i];
        unpack_array_of(u, 3);
        t->table = (uint8_t)unpack_uint_max(u, TABLE_COUNT_MAX - 1);
        t->rows = unpack_uint(u);
        t->digest = unpack_digest(u);
        bool ascending = t->table > (i ? out->tables[i - 1].table : 0);
        if (!ascending || t->rows == 0) unpack_fail(u, ERR_MALFORMED);
    }
}

enum err state_statement_decode(struct state_statement *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    memset(out, 0, sizeof *out);
    unpack_array_of(&u, 7);
    if (unpack_uint(&u) != STATEMENT_VERSION) unpack_fail(&u, ERR_VERSION);
    out->member = (uint32_t)unpack_uint_max(&u, LIMIT_NODES);
    out->leaf = unpack_uint(&u);
    out->size = unpack_uint(&u);
    out->outcome = (enum state_outcome)unpack_uint_max(&u, STATE_FAILED);
    unpack_tables(&out->digest, &u);
    unpack_bin_exact(&u, out->signature.bytes, sizeof out->signature.bytes);
    if (out->member == 0 || out->size <= out->leaf) unpack_fail(&u, ERR_MALFORMED);
    if (out->outcome != STATE_COMPUTED && out->digest.count) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

/* --- comparing --- */

bool state_statement_same(const struct state_statement *a, const struct state_statement *b)
{
    struct digest x = state_digest_whole(&a->digest), y = state_digest_whole(&b->digest);
    return a->outcome == STATE_COMPUTED && b->outcome == STATE_COMPUTED && a->leaf == b->leaf && a->size == b->size &&
           digest_equal(&x, &y);
}

static uint32_t same_as(const struct state_statement *const *statements, unsigned n, unsigned model)
{
    uint32_t same = 0;
    for (unsigned i = 1; i <= n; i++)
        if (statements[i] && state_statement_same(statements[i], statements[model])) same |= UINT32_C(1) << i;
    return same;
}

void state_compare(struct state_comparison *out, const struct state_statement *const *statements, unsigned n,
                   unsigned k)
{
    uint32_t all = 0;
    CHECK(n <= LIMIT_NODES);
    *out = (struct state_comparison){0};
    for (unsigned i = 1; i <= n; i++) {
        if (!statements[i]) out->silent++;
        if (!statements[i] || statements[i]->outcome != STATE_COMPUTED) continue;
        uint32_t same = same_as(statements, n, i);
        unsigned equal = (unsigned)__builtin_popcount(same);
        all |= UINT32_C(1) << i;
        out->computed++;
        if (equal <= out->equal) continue;
        out->equal = equal;
        out->model = i;
        out->same = same;
    }
    out->other = all & ~out->same;
    out->agreed = out->equal > 0 && out->equal >= k;
    for (unsigned i = 1; i <= n; i++) {
        if (!(out->other >> i & 1)) continue;
        unsigned equal = (unsigned)__builtin_popcount(same_as(statements, n, i));
        if (equal > out->rival) out->rival = equal;
    }
}

static unsigned enough(unsigned k, unsigned b) { return b ? b + 1 : k; }

bool state_decided(const struct state_comparison *c, unsigned k, unsigned b)
{
    return c->equal >= enough(k, b) && c->rival < enough(k, b);
}

/* Either group may grow by all who are silent. */
bool state_settled(const struct state_comparison *c, unsigned k, unsigned b)
{
    return c->silent == 0 || (state_decided(c, k, b) && c->rival + c->silent < enough(k, b));
}

static const struct table_digest *table_in(const struct state_digest *digest, uint8_t table)
{
    for (uint32_t i = 0; i < digest->count; i++)
        if (digest->tables[i].table == table) return &digest->tables[i];
    return NULL;
}

static bool table_differs(const struct state_digest *a, const struct state_digest *b, uint8_t table)
{
    const struct table_digest *x = table_in(a, table), *y = table_in(b, table);
    if (!x || !y) return x != y;
    return x->rows != y->rows || !digest_equal(&x->digest, &y->digest);
}

static void add_name(struct buffer *out, size_t start, const char *name)
{
    buffer_printf(out, "%s%s", out->size > start ? ", " : "", name);
}

void state_differences(struct buffer *out, const struct state_statement *a, const struct state_statement *b)
{
    size_t start = out->size;
    if (a->size != b->size) add_name(out, start, "size");
    for (size_t i = 0; i < ledger_tables_count; i++)
        if (table_differs(&a->digest, &b->digest, ledger_tables[i].table))
            add_name(out, start, ledger_tables[i].name);
    if (out->size == start && !state_statement_same(a, b)) add_name(out, start, "a table that is not known here");
}
