/* A node's statement of its state (ledger/state_digest.h), and what it is made from. A first byte of 0x97 begins a
 * statement, as an encoded one does: what decodes comes back byte for byte, is no other node's word, and can be
 * compared with a true one. Else the first byte says what the rest describes: a statement that is signed, then
 * changed; a state with rows of any bytes, whose digest is the same however it is scanned; a row of what a read
 * opened. */
#include <string.h>

#include "base/check.h"
#include "ledger/genesis.h"
#include "ledger/state.h"
#include "ledger/state_digest.h"
#include "tests/lib/rows_seed.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

#define N 4
#define ROWS_MOST 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- as it comes --- */

static void compare(const struct state_statement *s)
{
    struct state_statement own = {.member = 1, .leaf = 3, .size = 5};
    struct buffer names = {0};
    const struct state_statement *list[LIMIT_NODES + 1] = {NULL};
    struct state_comparison c;
    own.digest.count = 1;
    own.digest.tables[0] = (struct table_digest){.table = TABLE_USER, .rows = 2};
    list[1] = &own, list[2] = s;
    state_compare(&c, list, 4, 3);
    bool same = state_statement_same(&own, s);
    CHECK(!c.agreed && c.model == 1 && c.equal == (same ? 2u : 1u));
    CHECK(c.computed == (s->outcome == STATE_COMPUTED ? 2u : 1u));
    CHECK(!state_settled(&c, 3, 1) && c.silent == 2); /* two can still say otherwise */
    state_differences(&names, &own, s);
    CHECK(!names.failed && (names.size > 0 || same || (s->leaf != own.leaf && s->size == own.size)));
    buffer_free(&names);
}

static void any(struct bytes in)
{
    struct state_statement s;
    struct buffer out = {0};
    static struct genesis nobody; /* no member: no signature is right */
    if (state_statement_decode(&s, in) != OK) return;
    fuzz_taken = true;
    CHECK(s.member >= 1 && s.member <= LIMIT_NODES && s.digest.count <= STATE_DIGEST_TABLES && s.size > s.leaf);
    CHECK(s.outcome == STATE_COMPUTED || s.digest.count == 0);
    CHECK(state_statement_verify(&s, &nobody) == ERR_BAD_SIGNATURE);
    CHECK(state_outcome_text(s.outcome)[0]);
    compare(&s);
    state_statement_encode(&out, &s);
    CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
}

/* --- signed --- */

static const struct genesis *cluster(void)
{
    static struct genesis genesis;
    static struct buffer text;
    if (!text.size) sample_genesis_parsed(&genesis, &text, N, 1);
    return &genesis;
}

static void take_statement(struct state_statement *s, struct choices *in)
{
    unsigned how = choose(in), table = 0;
    struct node_secrets secrets;
    *s = (struct state_statement){.member = 1 + how % N, .leaf = choose(in), .outcome = (enum state_outcome)(how >> 4)};
    s->size = s->leaf + 1 + choose(in);
    if (s->outcome > STATE_FAILED) s->outcome = STATE_COMPUTED;
    for (unsigned i = choose(in) % 8; s->outcome == STATE_COMPUTED && i > 0; i--) {
        table += 1 + choose(in) % 4;
        s->digest.tables[s->digest.count++] = (struct table_digest){
            .table = (uint8_t)table, .rows = 1u + choose(in), .digest = sample_digest(1u + choose(in) % 4)};
    }
    sample_node_secrets(&secrets, s->member);
    state_statement_sign(s, cluster(), &secrets.message);
}

/* All but who agrees, once changed, is another's word or nobody's. */
static void changed(const struct state_statement *s, struct choices *in)
{
    struct state_statement read;
    struct buffer out = {0};
    state_statement_encode(&out, s);
    CHECK(!out.failed && out.size <= LIMIT_STATEMENT);
    bool differs = choose_flip(in, out.data, out.size);
    enum err code = state_statement_decode(&read, buffer_bytes(&out));
    CHECK(code == OK || differs);
    if (code == OK) CHECK((state_statement_verify(&read, cluster()) == OK) != differs);
    buffer_free(&out);
}

/* What is true of any number of statements, whoever made them. */
static void count(const struct state_statement *list, unsigned n)
{
    const struct state_statement *said[LIMIT_NODES + 1] = {NULL};
    struct state_comparison c;
    unsigned computed = 0, same = 0;
    for (unsigned i = 1; i <= n; i++) {
        said[i] = list[i].member ? &list[i] : NULL;
        computed += said[i] && said[i]->outcome == STATE_COMPUTED;
    }
    state_compare(&c, said, n, 3);
    CHECK(c.computed == computed && c.equal <= computed && c.rival <= c.equal && c.equal + c.rival <= computed);
    for (unsigned i = 1; i <= n && c.equal; i++) same += said[i] && state_statement_same(said[i], said[c.model]);
    CHECK(same == c.equal && (unsigned)__builtin_popcount(c.same) == c.equal && !(c.same & c.other));
    CHECK(c.agreed == (c.equal >= 3) && (!state_settled(&c, 3, 1) || c.silent == 0 || state_decided(&c, 3, 1)));
}

static void signed_ones(struct choices *in)
{
    struct state_statement list[N + 1] = {{0}};
    unsigned n = 1 + choose(in) % N;
    for (unsigned i = 1; i <= n; i++) {
        bool again = choose(in) & 1 && i > 1;
        if (again)
            list[i] = list[i - 1];
        else
            take_statement(&list[i], in);
    }
    changed(&list[n], in);
    count(list, N);
    fuzz_taken = true;
}

/* --- a state --- */

static void put_row(struct table_txn *txn, struct choices *in, bool grows, uint64_t index)
{
    uint8_t key[24], table = ledger_tables[choose(in) % ledger_tables_count].table;
    unsigned size = choose(in) % 17;
    if (grows) table = (uint8_t[]){TABLE_LEAF, TABLE_TREE, TABLE_PATIENT_RECORD, TABLE_LOG_SUBJECT, TABLE_LOG_ACTOR,
                                   TABLE_OPENED}[table % 6];
    memset(key, choose(in), sizeof key);
    put_be64(key + size, index);
    (void)table_put(txn, table, bytes_of(key, size + 8), choose_bytes(in, choose(in) % 64));
}

static void put_size(struct table_txn *txn, uint64_t size)
{
    struct meta meta = {.size = size};
    CHECK(state_meta_put(txn, &meta) == OK);
}

/* In steps of any size, also of one row. */
static void scan(struct state_digest *out, struct table_txn *txn, enum state_part part, uint64_t size,
                 struct choices *in)
{
    struct state_scan s;
    uint64_t step = 1 + choose(in);
    state_scan_start(&s, part, size);
    for (unsigned steps = 0; !s.done; steps++) {
        CHECK(steps < 1000);
        CHECK(state_scan_step(&s, out, txn, step) == OK);
    }
}

static bool same_part(const struct state_digest *a, const struct state_digest *b, enum state_part part)
{
    struct state_digest x = {0}, y = {0};
    for (uint32_t i = 0; i < a->count; i++)
        if (state_part_of(a->tables[i].table) == part) x.tables[x.count++] = a->tables[i];
    for (uint32_t i = 0; i < b->count; i++)
        if (state_part_of(b->tables[i].table) == part) y.tables[y.count++] = b->tables[i];
    struct digest p = state_digest_whole(&x), q = state_digest_whole(&y);
    return digest_equal(&p, &q);
}

/* Rows of tables that are not written twice, of some leaves; then of later ones, which do not count for the first. */
static void state(struct choices *in)
{
    struct state_digest then = {0}, now = {0}, stepped = {0}, later = {0};
    struct table_txn *txn = rows_begin(TABLE_LEAF);
    unsigned size = 1 + choose(in) % 8, rows = choose(in) % ROWS_MOST;
    for (unsigned i = 0; i < rows; i++) put_row(txn, in, choose(in) & 1, choose(in) % size);
    put_size(txn, size);
    CHECK(state_digest_now(&then, txn) == OK);
    scan(&stepped, txn, STATE_CHANGING, size, in);
    scan(&stepped, txn, STATE_GROWING, size, in);
    CHECK(same_part(&then, &stepped, STATE_CHANGING) && same_part(&then, &stepped, STATE_GROWING));
    unsigned more = choose(in) % ROWS_MOST;
    for (unsigned i = 0; i < more; i++) put_row(txn, in, true, size + choose(in) % 4);
    put_size(txn, size + 4);
    scan(&later, txn, STATE_GROWING, size, in);
    CHECK(same_part(&then, &later, STATE_GROWING));
    CHECK(state_digest_now(&now, txn) == OK && now.count >= later.count);
    fuzz_taken = true;
    store_abort(txn);
}

/* --- what a read opened --- */

static void opened(struct bytes in)
{
    static struct opened rows[LIMIT_OPENED], read[LIMIT_OPENED];
    struct opened_rest rest, again;
    size_t found, count;
    if (opened_decode(&found, &rest, in) != OK) return;
    CHECK(found <= LIMIT_OPENED && opened_compared(in).size + (rest.next || rest.left_out ? 16 : 0) == in.size);
    for (size_t i = 0; i < found; i++) rows[i] = opened_at(in, i);
    struct table_txn *txn = rows_begin(TABLE_OPENED);
    struct buffer row = {0};
    uint8_t key[8] = {0};
    CHECK(state_opened_put(txn, 0, rows, found, &rest) == OK);
    CHECK(table_get(txn, TABLE_OPENED, BYTES(key), &row) == OK && bytes_equal(buffer_bytes(&row), in));
    CHECK(state_opened_get(read, &count, &again, txn, 0) == OK && count == found && again.next == rest.next);
    fuzz_taken = true;
    buffer_free(&row);
    store_abort(txn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size), rest = bytes_of(data + 1, size ? size - 1 : 0);
    if (size == 0) return 0;
    crypto_init();
    struct choices choices = choices_of(rest);
    if (data[0] == 0x97)
        any(in);
    else if (data[0] % 3 == 0)
        signed_ones(&choices);
    else if (data[0] % 3 == 1)
        state(&choices);
    else
        opened(rest);
    return 0;
}
