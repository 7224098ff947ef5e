#include "crypto/dkg.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "tests/lib/dies.h"
#include "tests/lib/unit.h"

/* What a finished key generation or resharing leaves. */
struct cluster {
    uint32_t n, k;
    struct scalar x[LIMIT_NODES + 1];
    struct point y[LIMIT_NODES + 1];
    struct point collective;
};

/* Key generation among n with the dealers in the bit set `qualified`. */
static void generate(struct cluster *c, uint32_t n, uint32_t k, unsigned qualified)
{
    struct scalar given[LIMIT_NODES + 1][LIMIT_NODES];
    struct dkg_commitments dealers[LIMIT_NODES] = {{0}}, combined;
    size_t count = 0;
    for (uint32_t dealer = 1; dealer <= n; dealer++) {
        struct dkg_polynomial p;
        if (!(qualified >> (dealer - 1) & 1)) continue;
        dkg_polynomial_random(&p, k);
        dkg_commit(&dealers[count], &p);
        for (uint32_t i = 1; i <= n; i++) {
            dkg_subshare(&given[i][count], &p, i);
            assert_int_equal(dkg_subshare_verify(&given[i][count], &dealers[count], i), OK);
        }
        count++;
    }
    *c = (struct cluster){.n = n, .k = k};
    assert_int_equal(dkg_combine_commitments(&combined, dealers, NULL, count), OK);
    c->collective = combined.points[0];
    assert_int_equal(dkg_verification_keys(c->y + 1, n, &combined), OK);
    for (uint32_t i = 1; i <= n; i++)
        dkg_combine_subshares(&c->x[i], given[i], NULL, count);
}

static void assert_keys_fit(const struct cluster *c)
{
    for (uint32_t i = 1; i <= c->n; i++) {
        struct point y;
        point_multiply_generator(&y, &c->x[i]);
        assert_true(point_equal(&y, &c->y[i]));
    }
}

/* The secret from the shares of a bit set, times G. */
static struct point interpolate(const struct cluster *c, unsigned set)
{
    uint32_t indices[LIMIT_NODES];
    struct scalar shares[LIMIT_NODES], weights[LIMIT_NODES], secret;
    struct point y;
    size_t count = 0;
    for (uint32_t i = 1; i <= c->n; i++) {
        if (!(set >> (i - 1) & 1)) continue;
        indices[count] = i;
        shares[count++] = c->x[i];
    }
    assert_int_equal(scalar_lagrange(weights, indices, count), OK);
    dkg_combine_subshares(&secret, shares, weights, count);
    point_multiply_generator(&y, &secret);
    return y;
}

static void assert_threshold(const struct cluster *c)
{
    for (unsigned set = 1; set < 1u << c->n; set++) {
        struct point y = interpolate(c, set);
        bool enough = (uint32_t)__builtin_popcount(set) >= c->k;
        assert_int_equal(point_equal(&y, &c->collective), enough);
    }
}

static void test_all_subsets(void **state)
{
    static const uint32_t shapes[][2] = {{1, 1}, {3, 2}, {4, 3}, {5, 4}, {7, 5}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct cluster c;
        generate(&c, shapes[i][0], shapes[i][1], (1u << shapes[i][0]) - 1);
        assert_keys_fit(&c);
        assert_threshold(&c);
    }
}

static void test_largest(void **state)
{
    struct cluster c;
    (void)state;
    generate(&c, LIMIT_NODES, LIMIT_NODES, (1u << LIMIT_NODES) - 1);
    assert_keys_fit(&c);
    struct point y = interpolate(&c, (1u << LIMIT_NODES) - 1);
    assert_true(point_equal(&y, &c.collective));
    y = interpolate(&c, (1u << (LIMIT_NODES - 1)) - 1);
    assert_false(point_equal(&y, &c.collective));
}

/* Any k or more dealers make a key that all n nodes hold shares of. */
static void test_excluded_dealers(void **state)
{
    (void)state;
    for (unsigned qualified = 1; qualified < 1 << 4; qualified++) {
        struct cluster c;
        if (__builtin_popcount(qualified) < 3) continue;
        generate(&c, 4, 3, qualified);
        assert_keys_fit(&c);
        assert_threshold(&c);
    }
}

static void test_wrong_subshare(void **state)
{
    struct dkg_polynomial p;
    struct dkg_commitments c;
    const struct scalar one = scalar_from_uint(1);
    (void)state;
    dkg_polynomial_random(&p, 4);
    dkg_commit(&c, &p);
    for (uint32_t i = 1; i <= 6; i++) {
        struct scalar s;
        dkg_subshare(&s, &p, i);
        assert_int_equal(dkg_subshare_verify(&s, &c, i), OK);
        assert_int_equal(dkg_subshare_verify(&s, &c, i + 1), ERR_BAD_SHARE); /* another receiver's */
        scalar_add(&s, &s, &one);
        assert_int_equal(dkg_subshare_verify(&s, &c, i), ERR_BAD_SHARE);
        s = scalar_from_uint(0);
        assert_int_equal(dkg_subshare_verify(&s, &c, i), ERR_BAD_SHARE);
    }
}

/* One altered commitment is seen by the receivers (by all, but for C_0's and a few roots). */
static void test_wrong_commitment(void **state)
{
    struct dkg_polynomial p;
    struct dkg_commitments c;
    struct scalar s;
    (void)state;
    dkg_polynomial_random(&p, 3);
    dkg_subshare(&s, &p, 2);
    for (uint32_t j = 0; j < 3; j++) {
        dkg_commit(&c, &p);
        point_add(&c.points[j], &c.points[j], &POINT_GENERATOR);
        assert_int_equal(dkg_subshare_verify(&s, &c, 2), ERR_BAD_SHARE);
    }
}

/* A receiver's share of 0 and commitments that cancel: no crash, an error. */
static void test_identity(void **state)
{
    struct dkg_commitments dealers[2], out;
    struct dkg_polynomial p;
    struct scalar zero = scalar_from_uint(0);
    struct point keys[3];
    (void)state;
    dkg_polynomial_random(&p, 2);
    dkg_commit(&dealers[0], &p);
    dealers[1].k = 2;
    for (size_t j = 0; j < 2; j++)
        point_subtract(&dealers[1].points[j], &POINT_IDENTITY, &dealers[0].points[j]);
    assert_int_equal(dkg_combine_commitments(&out, dealers, NULL, 2), ERR_BAD_POINT);
    assert_int_equal(dkg_verification_keys(keys, 3, &out), ERR_BAD_POINT);
    /* f(2) = 0: a = -2b */
    scalar_random(&p.coefficients[1]);
    scalar_add(&p.coefficients[0], &p.coefficients[1], &p.coefficients[1]);
    scalar_negate(&p.coefficients[0], &p.coefficients[0]);
    dkg_commit(&out, &p);
    assert_int_equal(dkg_subshare_verify(&zero, &out, 2), OK);
    assert_int_equal(dkg_verification_keys(keys, 3, &out), ERR_BAD_POINT);
}

static void test_commitments_hash(void **state)
{
    struct dkg_polynomial p;
    struct dkg_commitments c;
    (void)state;
    dkg_polynomial_random(&p, 3);
    dkg_commit(&c, &p);
    struct digest a = dkg_commitments_hash(&c, bytes_text("dealer 1"));
    struct digest b = dkg_commitments_hash(&c, bytes_text("dealer 2"));
    assert_false(digest_equal(&a, &b));
    c.points[2] = c.points[1];
    b = dkg_commitments_hash(&c, bytes_text("dealer 1"));
    assert_false(digest_equal(&a, &b));
    struct digest s = dkg_subshare_hash(&p.coefficients[0], 1, bytes_text("x"));
    struct digest t = dkg_subshare_hash(&p.coefficients[0], 2, bytes_text("x"));
    assert_false(digest_equal(&s, &t));
}

/* The old holders in the bit set deal to n nodes with threshold k. */
static void reshare(struct cluster *to, const struct cluster *from, unsigned holders, uint32_t n, uint32_t k)
{
    struct scalar given[LIMIT_NODES + 1][LIMIT_NODES], weights[LIMIT_NODES];
    struct dkg_commitments dealers[LIMIT_NODES] = {{0}}, combined;
    uint32_t indices[LIMIT_NODES];
    size_t count = 0;
    for (uint32_t dealer = 1; dealer <= from->n; dealer++) {
        struct dkg_polynomial p;
        if (!(holders >> (dealer - 1) & 1)) continue;
        dkg_polynomial_with(&p, k, &from->x[dealer]);
        dkg_commit(&dealers[count], &p);
        assert_int_equal(dkg_reshare_check(&dealers[count], &from->y[dealer]), OK);
        for (uint32_t i = 1; i <= n; i++) {
            dkg_subshare(&given[i][count], &p, i);
            assert_int_equal(dkg_subshare_verify(&given[i][count], &dealers[count], i), OK);
        }
        indices[count++] = dealer;
    }
    *to = (struct cluster){.n = n, .k = k};
    assert_int_equal(scalar_lagrange(weights, indices, count), OK);
    assert_int_equal(dkg_combine_commitments(&combined, dealers, weights, count), OK);
    to->collective = combined.points[0];
    assert_int_equal(dkg_verification_keys(to->y + 1, n, &combined), OK);
    for (uint32_t i = 1; i <= n; i++)
        dkg_combine_subshares(&to->x[i], given[i], weights, count);
}

static void test_resharing_keeps_the_key(void **state)
{
    static const uint32_t shapes[][2] = {{4, 3}, {5, 4}, {3, 2}, {7, 5}, {1, 1}};
    struct cluster old;
    (void)state;
    generate(&old, 4, 3, 0xf);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (unsigned holders = 1; holders < 1 << 4; holders++) {
            struct cluster new;
            if (__builtin_popcount(holders) != 3) continue;
            reshare(&new, &old, holders, shapes[i][0], shapes[i][1]);
            assert_true(point_equal(&new.collective, &old.collective));
            assert_keys_fit(&new);
            if (holders == 0x7) assert_threshold(&new);
        }
    }
}

static void test_resharing_twice_and_mixing(void **state)
{
    struct cluster first, second, third;
    (void)state;
    generate(&first, 4, 3, 0xf);
    reshare(&second, &first, 0xe, 4, 3);
    reshare(&third, &second, 0x7, 5, 4);
    assert_true(point_equal(&third.collective, &first.collective));
    assert_keys_fit(&third);
    /* shares of different epochs do not combine */
    second.x[1] = first.x[1];
    struct point y = interpolate(&second, 0x7);
    assert_false(point_equal(&y, &first.collective));
}

/* Fewer old holders than k would make another key: Y shows it. */
static void test_resharing_with_too_few(void **state)
{
    struct cluster old, new;
    (void)state;
    generate(&old, 4, 3, 0xf);
    reshare(&new, &old, 0x3, 4, 3);
    assert_false(point_equal(&new.collective, &old.collective));
}

static void test_resharing_liar(void **state)
{
    struct cluster old;
    struct dkg_polynomial p;
    struct dkg_commitments c;
    (void)state;
    generate(&old, 4, 3, 0xf);
    dkg_polynomial_random(&p, 3); /* deals something else than its share */
    dkg_commit(&c, &p);
    assert_int_equal(dkg_reshare_check(&c, &old.y[2]), ERR_BAD_PROOF);
    dkg_polynomial_with(&p, 3, &old.x[1]); /* deals another's */
    dkg_commit(&c, &p);
    assert_int_equal(dkg_reshare_check(&c, &old.y[2]), ERR_BAD_PROOF);
    assert_int_equal(dkg_reshare_check(&c, &old.y[1]), OK);
}

static void test_codecs(void **state)
{
    (void)state;
    for (uint32_t k = 1; k <= LIMIT_NODES; k++) {
        struct dkg_polynomial p, p2;
        struct dkg_commitments c, c2;
        struct buffer a = {0}, b = {0};
        dkg_polynomial_random(&p, k);
        dkg_commit(&c, &p);
        assert_int_equal(dkg_polynomial_encode(&a, &p), OK);
        assert_int_equal(dkg_commitments_encode(&b, &c), OK);
        assert_int_equal(a.size, 32 * k);
        assert_int_equal(b.size, 32 * k);
        assert_int_equal(dkg_polynomial_decode(&p2, buffer_bytes(&a)), OK);
        assert_int_equal(dkg_commitments_decode(&c2, k, buffer_bytes(&b)), OK);
        assert_memory_equal(&p, &p2, sizeof p);
        assert_memory_equal(&c, &c2, sizeof c);
        assert_int_equal(dkg_commitments_decode(&c2, k + 1, buffer_bytes(&b)), ERR_MALFORMED);
        assert_int_equal(dkg_commitments_decode(&c2, k - 1, buffer_bytes(&b)), ERR_MALFORMED);
        assert_int_equal(dkg_commitments_decode(&c2, k, bytes_of(b.data, b.size - 1)), ERR_MALFORMED);
        memset(b.data + 32 * (k - 1), 0, 32);
        assert_int_equal(dkg_commitments_decode(&c2, k, buffer_bytes(&b)), ERR_BAD_POINT);
        b.data[32 * k - 1] = 0x80; /* libsodium takes this for the identity, too */
        assert_int_equal(dkg_commitments_decode(&c2, k, buffer_bytes(&b)), ERR_BAD_POINT);
        memset(b.data + 32 * (k - 1), 0xff, 32);
        assert_int_equal(dkg_commitments_decode(&c2, k, buffer_bytes(&b)), ERR_BAD_POINT);
        memset(a.data + 32 * (k - 1), 0xff, 32);
        assert_int_equal(dkg_polynomial_decode(&p2, buffer_bytes(&a)), ERR_BAD_SCALAR);
        assert_true(secret_is_zero(&p2, sizeof p2));
        secret_wipe_buffer(&a);
        buffer_free(&b);
    }
    struct dkg_polynomial p;
    static const uint8_t much[32 * (LIMIT_NODES + 1)];
    assert_int_equal(dkg_polynomial_decode(&p, (struct bytes){0}), ERR_MALFORMED);
    assert_int_equal(dkg_polynomial_decode(&p, BYTES(much)), ERR_MALFORMED);
}

static void threshold_zero(void)
{
    struct dkg_polynomial p;
    dkg_polynomial_random(&p, 0);
}
static void threshold_too_high(void)
{
    struct dkg_polynomial p;
    dkg_polynomial_random(&p, LIMIT_NODES + 1);
}
static void subshare_of_zero(void)
{
    struct dkg_polynomial p;
    struct scalar s;
    dkg_polynomial_random(&p, 2);
    dkg_subshare(&s, &p, 0);
}
static void test_misuse(void **state)
{
    (void)state;
    assert_true(dies(threshold_zero));
    assert_true(dies(threshold_too_high));
    assert_true(dies(subshare_of_zero));
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_subsets),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_excluded_dealers),
        cmocka_unit_test(test_wrong_subshare),
        cmocka_unit_test(test_wrong_commitment),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_commitments_hash),
        cmocka_unit_test(test_resharing_keeps_the_key),
        cmocka_unit_test(test_resharing_twice_and_mixing),
        cmocka_unit_test(test_resharing_with_too_few),
        cmocka_unit_test(test_resharing_liar),
        cmocka_unit_test(test_codecs),
        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
