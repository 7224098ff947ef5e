#include "tests/lib/unit.h"

#include "base/check.h"
#include "base/pack.h"
#include "consensus/keygen_store.h"
#include "crypto/random.h"
#include "ledger/tables.h"
#include "storage/store.h"
#include "tests/lib/folder.h"

#define N 4
#define K 3

static char folder[FOLDER_PATH];
static struct store *store;
static struct table_txn *txn;

static int setup(void **state)
{
    struct store_options options = {.directory = folder, .tables = ledger_tables, .table_count = ledger_tables_count,
                                    .map_size = UINT64_C(1) << 30, .scratch = true}; /* a sanitizer has little */
    (void)state;
    folder_make(folder, 1);
    CHECK(store_open(&store, &options, NULL) == OK);
    CHECK(store_begin_write(&txn, store) == OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_abort(txn);
    store_close(store);
    return 0;
}

static struct keygen_own sample_own(uint32_t attempt)
{
    struct keygen_own own = {.exists = true, .attempt = attempt};
    dkg_polynomial_random(&own.polynomial, K);
    for (unsigned i = 1; i <= N; i++)
        random_bytes(own.sealed[i], sizeof own.sealed[i]);
    return own;
}

static bool same_own(const struct keygen_own *a, const struct keygen_own *b)
{
    return a->exists == b->exists && a->attempt == b->attempt && a->polynomial.k == b->polynomial.k &&
           memcmp(a->polynomial.coefficients, b->polynomial.coefficients, K * sizeof(struct scalar)) == 0 &&
           memcmp(a->sealed, b->sealed, sizeof a->sealed) == 0;
}

static void what_is_not_there_is_not_an_error(void **state)
{
    (void)state;
    struct keygen_own own;
    struct keygen_received received;
    struct scalar share;
    assert_int_equal(keygen_own_get(&own, txn, 1, 1, N), OK);
    assert_false(own.exists);
    assert_int_equal(keygen_received_get(&received, txn, 1, 1, N), OK);
    assert_false(received.any);
    assert_int_equal(keygen_share_get(&share, txn, 1, 1), ERR_NOT_FOUND);
    assert_int_equal(keygen_wipe(txn, 1, 1), OK);
}

static void polynomials_come_back_by_secret_and_attempt(void **state)
{
    (void)state;
    struct keygen_own a = sample_own(1), b = sample_own(2), c = sample_own(1), out;
    assert_int_equal(keygen_own_put(txn, 1, &a, N), OK);
    assert_int_equal(keygen_own_put(txn, 1, &b, N), OK);
    assert_int_equal(keygen_own_put(txn, 2, &c, N), OK);
    assert_int_equal(keygen_own_get(&out, txn, 1, 1, N), OK);
    assert_true(same_own(&a, &out));
    assert_int_equal(keygen_own_get(&out, txn, 1, 2, N), OK);
    assert_true(same_own(&b, &out));
    assert_int_equal(keygen_own_get(&out, txn, 2, 1, N), OK);
    assert_true(same_own(&c, &out));
    assert_int_equal(keygen_own_get(&out, txn, 2, 2, N), OK);
    assert_false(out.exists);
    assert_int_equal(keygen_own_get(&out, txn, 1, 1, N + 1), ERR_CORRUPT); /* of another cluster's size */
}

static void sub_shares_keep_their_dealers(void **state)
{
    (void)state;
    struct keygen_received received = {.any = true}, out;
    for (unsigned i = 1; i <= N; i += 2) {
        received.has[i] = true;
        scalar_random(&received.subshares[i]);
    }
    assert_int_equal(keygen_received_put(txn, 1, 3, &received, N), OK);
    assert_int_equal(keygen_received_get(&out, txn, 1, 3, N), OK);
    assert_true(out.any);
    assert_memory_equal(out.has, received.has, sizeof out.has);
    assert_memory_equal(out.subshares, received.subshares, sizeof out.subshares);
    memset(&received, 0, sizeof received);
    assert_int_equal(keygen_received_put(txn, 1, 3, &received, N), OK);
    assert_int_equal(keygen_received_get(&out, txn, 1, 3, N), OK);
    assert_false(out.any);
}

static void shares_are_kept_by_epoch(void **state)
{
    (void)state;
    struct scalar a, b, out;
    scalar_random(&a);
    scalar_random(&b);
    assert_int_equal(keygen_share_put(txn, 1, 1, &a), OK);
    assert_int_equal(keygen_share_put(txn, 1, 2, &b), OK);
    assert_int_equal(keygen_share_get(&out, txn, 1, 1), OK);
    assert_memory_equal(&out, &a, sizeof a);
    assert_int_equal(keygen_share_get(&out, txn, 1, 2), OK);
    assert_memory_equal(&out, &b, sizeof b);
    assert_int_equal(keygen_share_get(&out, txn, 2, 1), ERR_NOT_FOUND);
}

/* Also what failed attempts left; nothing of later ones, of another secret, and no share. */
static void wiping_takes_all_attempts_up_to_one(void **state)
{
    (void)state;
    struct keygen_received received = {.any = true};
    struct keygen_own out;
    struct keygen_received in;
    struct scalar share;
    received.has[2] = true;
    scalar_random(&received.subshares[2]);
    scalar_random(&share);
    for (uint32_t attempt = 1; attempt <= 300; attempt += 13) {
        struct keygen_own own = sample_own(attempt);
        assert_int_equal(keygen_own_put(txn, 1, &own, N), OK);
        assert_int_equal(keygen_received_put(txn, 1, attempt, &received, N), OK);
        assert_int_equal(keygen_own_put(txn, 2, &own, N), OK);
    }
    assert_int_equal(keygen_share_put(txn, 1, 1, &share), OK);
    assert_int_equal(keygen_wipe(txn, 1, 261), OK);
    for (uint32_t attempt = 1; attempt <= 300; attempt += 13) {
        assert_int_equal(keygen_own_get(&out, txn, 1, attempt, N), OK);
        assert_int_equal(out.exists, attempt > 261);
        assert_int_equal(keygen_received_get(&in, txn, 1, attempt, N), OK);
        assert_int_equal(in.any, attempt > 261);
        assert_int_equal(keygen_own_get(&out, txn, 2, attempt, N), OK);
        assert_true(out.exists);
    }
    assert_int_equal(keygen_share_get(&share, txn, 1, 1), OK);
    assert_int_equal(keygen_wipe(txn, 1, UINT32_MAX), OK);
    assert_int_equal(keygen_wipe(txn, 2, UINT32_MAX), OK);
    assert_int_equal(table_count(txn, TABLE_DKG_SECRET), 1);
}

/* Any byte of a row changed or cut off (the store's seal would show it before): an error, no crash. */
static void damaged_rows_are_corrupt(void **state)
{
    (void)state;
    struct keygen_own own = sample_own(1), out;
    struct keygen_received received = {.any = true}, in;
    uint8_t key[6] = {1, 'p', 0, 0, 0, 1};
    struct buffer row = {0};
    received.has[1] = true;
    scalar_random(&received.subshares[1]);
    for (int kind = 0; kind < 2; kind++) {
        key[1] = kind ? 'r' : 'p';
        assert_int_equal(kind ? keygen_received_put(txn, 1, 1, &received, N) : keygen_own_put(txn, 1, &own, N), OK);
        assert_int_equal(table_get(txn, TABLE_DKG_SECRET, BYTES(key), &row), OK);
        for (size_t size = 0; size < row.size; size++) {
            assert_int_equal(table_put(txn, TABLE_DKG_SECRET, BYTES(key), bytes_of(row.data, size)), OK);
            enum err e = kind ? keygen_received_get(&in, txn, 1, 1, N) : keygen_own_get(&out, txn, 1, 1, N);
            assert_int_equal(e, ERR_CORRUPT);
            assert_false(kind ? false : out.exists);
        }
        buffer_append(&row, "x", 1);
        assert_int_equal(table_put(txn, TABLE_DKG_SECRET, BYTES(key), buffer_bytes(&row)), OK);
        enum err e = kind ? keygen_received_get(&in, txn, 1, 1, N) : keygen_own_get(&out, txn, 1, 1, N);
        assert_int_equal(e, ERR_CORRUPT);
    }
    uint8_t share_key[10] = {1, 'x', 0, 0, 0, 0, 0, 0, 0, 1}, bytes[33];
    struct scalar share;
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(table_put(txn, TABLE_DKG_SECRET, BYTES(share_key), bytes_of(bytes, 32)), OK); /* above the order */
    assert_int_equal(keygen_share_get(&share, txn, 1, 1), ERR_CORRUPT);
    memset(bytes, 1, sizeof bytes);
    assert_int_equal(table_put(txn, TABLE_DKG_SECRET, BYTES(share_key), BYTES(bytes)), OK);
    assert_int_equal(keygen_share_get(&share, txn, 1, 1), ERR_CORRUPT);
    buffer_free(&row);
}

int main(void)
{
    crypto_init();
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_is_not_there_is_not_an_error),
        T(polynomials_come_back_by_secret_and_attempt),
        T(sub_shares_keep_their_dealers),
        T(shares_are_kept_by_epoch),
        T(wiping_takes_all_attempts_up_to_one),
        T(damaged_rows_are_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
