#include "crypto/dkg.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "crypto/tdh2.h"
#include "tests/lib/dies.h"
#include "tests/lib/unit.h"

#define N 5
#define K 3
#define EPOCH 7

/* A cluster's keys from one trusted polynomial; a capsule; everybody's shares. */
struct fixture {
    struct scalar x[N + 1];
    struct point y[N + 1], collective;
    struct digest context, label;
    uint8_t key[32];
    struct tdh2_capsule capsule;
    struct tdh2_share shares[N]; /* of nodes 1 .. N, proved */
};

static struct digest digest_of(const char *text)
{
    struct digest d;
    hash_sha256(&d, text, strlen(text));
    return d;
}

static void make_shares(struct fixture *f)
{
    for (uint32_t i = 1; i <= N; i++) {
        struct tdh2_share *s = &f->shares[i - 1];
        *s = (struct tdh2_share){.leaf_index = 99, .label = f->label, .epoch = EPOCH, .node = i};
        tdh2_share_point(&s->d, &f->x[i], &f->capsule.u);
        tdh2_share_prove(s, &f->x[i], &f->y[i], &f->capsule.u);
    }
}

static void make_capsule(struct tdh2_capsule *capsule, uint8_t key[static 32], const struct fixture *f)
{
    struct tdh2_secret secret;
    tdh2_begin(&secret, key, &f->collective, &f->context);
    tdh2_finish(capsule, &secret, &f->collective, &f->label, EPOCH);
    assert_true(secret_is_zero(&secret, sizeof secret));
}

static int setup(void **state)
{
    static struct fixture f;
    struct dkg_polynomial polynomial;
    dkg_polynomial_random(&polynomial, K);
    point_multiply_generator(&f.collective, &polynomial.coefficients[0]);
    for (uint32_t i = 1; i <= N; i++) {
        dkg_subshare(&f.x[i], &polynomial, i);
        point_multiply_generator(&f.y[i], &f.x[i]);
    }
    f.context = digest_of("context");
    struct digest ciphertext = digest_of("ciphertext");
    f.label = tdh2_label(bytes_text("context"), &ciphertext);
    make_capsule(&f.capsule, f.key, &f);
    make_shares(&f);
    *state = &f;
    return 0;
}

static void test_label(void **state)
{
    struct digest ciphertext = digest_of("c"), label = tdh2_label(bytes_text("context"), &ciphertext), expected;
    uint8_t joined[7 + 32] = "context";
    (void)state;
    memcpy(joined + 7, ciphertext.bytes, 32);
    hash_sha256(&expected, joined, sizeof joined);
    assert_true(digest_equal(&label, &expected));
}

/* The formula of the challenge and of the content key, written out once more. */
static void test_formulas(void **state)
{
    struct fixture *f = *state;
    const struct tdh2_capsule *c = &f->capsule;
    uint8_t wide[64], text[18 + 6 * 32] = "consilium/tdh2/v1\n", info[20 + 32] = "consilium/record/v1\n", key[32];
    struct point gbar, w, w_bar, part;
    struct scalar e;
    hash_sha512(wide, "consilium/tdh2/gbar/v1", 22);
    point_from_hash(&gbar, wide);
    point_multiply_generator(&w, &c->f);
    point_multiply(&part, &c->e, &c->u);
    point_subtract(&w, &w, &part);
    point_multiply(&w_bar, &c->f, &gbar);
    point_multiply(&part, &c->e, &c->u_bar);
    point_subtract(&w_bar, &w_bar, &part);
    const void *parts[] = {&f->collective, &f->label, &c->u, &w, &c->u_bar, &w_bar};
    for (size_t i = 0; i < 6; i++)
        memcpy(text + 18 + 32 * i, parts[i], 32);
    hash_sha512(wide, text, sizeof text);
    scalar_from_hash(&e, wide);
    assert_true(scalar_equal(&e, &c->e));

    struct scalar weights[K];
    struct point shared = POINT_IDENTITY;
    assert_int_equal(scalar_lagrange(weights, (const uint32_t[]){1, 2, 3}, K), OK);
    for (size_t i = 0; i < K; i++) {
        point_multiply(&part, &weights[i], &f->shares[i].d);
        point_add(&shared, &shared, &part);
    }
    memcpy(info + 20, &f->context, 32);
    hkdf_sha256(key, 32, BYTES(shared.bytes), BYTES(c->u.bytes), BYTES(info));
    assert_memory_equal(key, f->key, 32);

    /* s, of which both W are made */
    uint8_t nonce[24 + 5 * 32] = "consilium/tdh2/nonce/v2\n";
    const void *nonce_parts[] = {&shared, &f->collective, &f->label, &c->u, &c->u_bar};
    for (size_t i = 0; i < 5; i++)
        memcpy(nonce + 24 + 32 * i, nonce_parts[i], 32);
    hash_sha512(wide, nonce, sizeof nonce);
    scalar_from_hash(&e, wide);
    point_multiply_generator(&part, &e);
    assert_true(point_equal(&part, &w));
}

/* All subsets in all sizes: k and more open, fewer do not. */
static void test_subsets(void **state)
{
    struct fixture *f = *state;
    for (unsigned set = 1; set < 1 << N; set++) {
        struct tdh2_share chosen[N];
        size_t count = 0;
        uint8_t key[32];
        for (unsigned i = 0; i < N; i++)
            if (set >> i & 1) chosen[count++] = f->shares[i];
        assert_int_equal(tdh2_combine(key, chosen, count, &f->capsule.u, &f->context), OK);
        if (count >= K)
            assert_memory_equal(key, f->key, 32);
        else
            assert_memory_not_equal(key, f->key, 32);
    }
}

static void test_order_does_not_matter(void **state)
{
    struct fixture *f = *state;
    struct tdh2_share chosen[K] = {f->shares[4], f->shares[0], f->shares[2]};
    uint8_t key[32];
    assert_int_equal(tdh2_combine(key, chosen, K, &f->capsule.u, &f->context), OK);
    assert_memory_equal(key, f->key, 32);
}

/* One opener for many capsules. */
static void test_chart(void **state)
{
    struct fixture *f = *state;
    static const uint32_t nodes[K] = {5, 2, 3};
    struct tdh2_opener opener;
    assert_int_equal(tdh2_opener_start(&opener, nodes, K), OK);
    for (int i = 0; i < 5; i++) {
        struct tdh2_capsule capsule;
        struct point d[K];
        uint8_t key[32], opened[32];
        make_capsule(&capsule, key, f);
        for (size_t j = 0; j < K; j++)
            tdh2_share_point(&d[j], &f->x[nodes[j]], &capsule.u);
        assert_int_equal(tdh2_open(opened, &opener, d, &capsule, &f->collective, &f->label, &f->context), OK);
        assert_memory_equal(opened, key, 32);
    }
}

/* Without proofs nothing opens but what the author encapsulated. */
static void test_open_refuses(void **state)
{
    struct fixture *f = *state;
    static const uint32_t nodes[K] = {1, 2, 3};
    struct tdh2_opener opener;
    struct tdh2_capsule c = f->capsule;
    struct digest other = digest_of("other label");
    struct point d[K];
    uint8_t key[32];
    assert_int_equal(tdh2_opener_start(&opener, nodes, K), OK);
    for (size_t i = 0; i < K; i++) d[i] = f->shares[i].d;
#define OPENS(c, label) tdh2_open(key, &opener, d, c, &f->collective, label, &f->context)
    assert_int_equal(OPENS(&c, &f->label), OK);
    assert_int_equal(OPENS(&c, &other), ERR_BAD_SHARE);
    point_add(&d[1], &d[1], &POINT_GENERATOR);
    assert_int_equal(OPENS(&c, &f->label), ERR_BAD_SHARE);
    d[1] = f->shares[1].d;
    point_add(&c.u, &c.u, &POINT_GENERATOR);
    assert_int_equal(OPENS(&c, &f->label), ERR_BAD_SHARE);
    c = f->capsule;
    point_add(&c.u_bar, &c.u_bar, &POINT_GENERATOR);
    assert_int_equal(OPENS(&c, &f->label), ERR_BAD_SHARE);
    c = f->capsule;
    c.e = scalar_from_uint(0);
    assert_int_equal(OPENS(&c, &f->label), ERR_BAD_SHARE);
    c = f->capsule;
    c.f.bytes[0] ^= 1;
    assert_int_equal(OPENS(&c, &f->label), ERR_BAD_SHARE);
#undef OPENS
    tdh2_open_proved(key, &opener, d, &f->capsule.u, &f->context);
    assert_memory_equal(key, f->key, 32);
}

static void test_combine_refuses(void **state)
{
    struct fixture *f = *state;
    struct tdh2_share s[LIMIT_NODES + 1];
    uint8_t key[32];
    for (size_t i = 0; i <= LIMIT_NODES; i++)
        s[i] = f->shares[i % N];
    assert_int_equal(tdh2_combine(key, s, 0, &f->capsule.u, &f->context), ERR_TOO_FEW_SHARES);
    assert_int_equal(tdh2_combine(key, s, LIMIT_NODES + 1, &f->capsule.u, &f->context), ERR_TOO_LARGE);
    assert_int_equal(tdh2_combine(key, s, N + 1, &f->capsule.u, &f->context), ERR_INVALID); /* node 1 twice */
    s[1].node = 0;
    assert_int_equal(tdh2_combine(key, s, K, &f->capsule.u, &f->context), ERR_INVALID);
    s[1] = f->shares[1];
    s[1].epoch++;
    assert_int_equal(tdh2_combine(key, s, K, &f->capsule.u, &f->context), ERR_BAD_SHARE);
    s[1] = f->shares[1];
    s[1].label.bytes[0] ^= 1;
    assert_int_equal(tdh2_combine(key, s, K, &f->capsule.u, &f->context), ERR_BAD_SHARE);
}

static void test_other_context_other_key(void **state)
{
    struct fixture *f = *state;
    struct digest other = digest_of("other context");
    uint8_t key[32];
    assert_int_equal(tdh2_combine(key, f->shares, K, &f->capsule.u, &other), OK);
    assert_memory_not_equal(key, f->key, 32);
}

/* Every field of a capsule, its label and the key it is for. */
static void test_altered_capsule(void **state)
{
    struct fixture *f = *state;
    const struct scalar one = scalar_from_uint(1);
    struct tdh2_capsule c = f->capsule;
    struct digest label = f->label;
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &label), OK);
    point_add(&c.u, &c.u, &POINT_GENERATOR);
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &label), ERR_BAD_CAPSULE);
    c = f->capsule;
    point_add(&c.u_bar, &c.u_bar, &POINT_GENERATOR);
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &label), ERR_BAD_CAPSULE);
    c = f->capsule;
    scalar_add(&c.e, &c.e, &one);
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &label), ERR_BAD_CAPSULE);
    c = f->capsule;
    scalar_add(&c.f, &c.f, &one);
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &label), ERR_BAD_CAPSULE);
    c = f->capsule;
    label.bytes[31] ^= 1;
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &label), ERR_BAD_CAPSULE);
    assert_int_equal(tdh2_capsule_verify(&c, &f->y[1], &f->label), ERR_BAD_CAPSULE);
    c.u = POINT_IDENTITY; /* everybody knows r = 0 */
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &f->label), ERR_BAD_CAPSULE);
}

/* The attack that the proof is for: another record's U (and its whole capsule)
 * under a label of one's own. Knowing no r, one can't make the proof; a capsule
 * with one's own r but the victim's U or Ubar fails too. */
static void test_stolen_u(void **state)
{
    struct fixture *f = *state;
    struct fixture mine = *f;
    struct tdh2_capsule c;
    uint8_t key[32];
    mine.label = digest_of("my own record");
    make_capsule(&c, key, &mine);
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &mine.label), OK);
    assert_int_equal(tdh2_capsule_verify(&f->capsule, &f->collective, &mine.label), ERR_BAD_CAPSULE);
    c.u = f->capsule.u;
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &mine.label), ERR_BAD_CAPSULE);
    c.u_bar = f->capsule.u_bar;
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &mine.label), ERR_BAD_CAPSULE);
}

/* U and Ubar of different r, with a proof that is right for U alone. */
static void test_two_different_r(void **state)
{
    struct fixture *f = *state;
    struct tdh2_capsule other, c = f->capsule;
    uint8_t key[32];
    make_capsule(&other, key, f);
    c.u_bar = other.u_bar;
    assert_int_equal(tdh2_capsule_verify(&c, &f->collective, &f->label), ERR_BAD_CAPSULE);
}

static void test_shares_verify(void **state)
{
    struct fixture *f = *state;
    struct tdh2_capsule other;
    uint8_t key[32];
    make_capsule(&other, key, f);
    for (uint32_t i = 1; i <= N; i++) {
        const struct tdh2_share *s = &f->shares[i - 1];
        assert_int_equal(tdh2_share_verify(s, &f->y[i], &f->capsule.u), OK);
        assert_int_equal(tdh2_share_verify(s, &f->y[i % N + 1], &f->capsule.u), ERR_BAD_SHARE);
        assert_int_equal(tdh2_share_verify(s, &f->y[i], &other.u), ERR_BAD_SHARE);
    }
}

static void test_altered_share(void **state)
{
    struct fixture *f = *state;
    const struct scalar one = scalar_from_uint(1);
    const struct point *y = &f->y[2], *u = &f->capsule.u;
    struct tdh2_share s = f->shares[1];
    point_add(&s.d, &s.d, &POINT_GENERATOR);
    assert_int_equal(tdh2_share_verify(&s, y, u), ERR_BAD_SHARE);
    s = f->shares[1];
    s.epoch++;
    assert_int_equal(tdh2_share_verify(&s, y, u), ERR_BAD_SHARE);
    s = f->shares[1];
    s.node++;
    assert_int_equal(tdh2_share_verify(&s, y, u), ERR_BAD_SHARE);
    s = f->shares[1];
    scalar_add(&s.proof.e, &s.proof.e, &one);
    assert_int_equal(tdh2_share_verify(&s, y, u), ERR_BAD_SHARE);
    s = f->shares[1];
    scalar_add(&s.proof.f, &s.proof.f, &one);
    assert_int_equal(tdh2_share_verify(&s, y, u), ERR_BAD_SHARE);
    s = f->shares[1];
    s.proved = false;
    assert_int_equal(tdh2_share_verify(&s, y, u), ERR_BAD_SHARE);
    s = f->shares[1];
    s.proof = (struct tdh2_proof){{{0}}, {{0}}};
    assert_int_equal(tdh2_share_verify(&s, y, u), ERR_BAD_SHARE);
    s.d = POINT_IDENTITY;
    assert_int_equal(tdh2_share_verify(&s, y, u), ERR_BAD_SHARE);
}

/* A liar proves with another secret: the key is wrong and verification names it. */
static void test_liar_is_named(void **state)
{
    struct fixture *f = *state;
    struct tdh2_share s[K] = {f->shares[0], f->shares[1], f->shares[2]};
    struct scalar lie;
    uint8_t key[32];
    scalar_random(&lie);
    tdh2_share_point(&s[1].d, &lie, &f->capsule.u);
    tdh2_share_prove(&s[1], &lie, &f->y[2], &f->capsule.u);
    assert_int_equal(tdh2_combine(key, s, K, &f->capsule.u, &f->context), OK);
    assert_memory_not_equal(key, f->key, 32);
    for (uint32_t i = 1; i <= K; i++)
        assert_int_equal(tdh2_share_verify(&s[i - 1], &f->y[i], &f->capsule.u), i == 2 ? ERR_BAD_SHARE : OK);
    s[1] = f->shares[4];
    assert_int_equal(tdh2_combine(key, s, K, &f->capsule.u, &f->context), OK);
    assert_memory_equal(key, f->key, 32);
}

/* Two proofs of one statement share no nonce (else x could be computed). */
static void test_proofs_are_fresh(void **state)
{
    struct fixture *f = *state;
    struct tdh2_share a = f->shares[0], b = f->shares[0];
    tdh2_share_prove(&b, &f->x[1], &f->y[1], &f->capsule.u);
    assert_false(scalar_equal(&a.proof.e, &b.proof.e));
    assert_false(scalar_equal(&a.proof.f, &b.proof.f));
}

static void test_capsule_codec(void **state)
{
    struct fixture *f = *state;
    static const uint64_t epochs[] = {0, 127, 128, 65535, 65536, UINT64_MAX};
    for (size_t i = 0; i < sizeof epochs / sizeof epochs[0]; i++) {
        struct tdh2_capsule c = f->capsule, back;
        struct buffer b = {0};
        c.epoch = epochs[i];
        tdh2_capsule_pack(&b, &c);
        assert_true(b.size <= TDH2_CAPSULE_SIZE_MAX);
        assert_int_equal(tdh2_capsule_decode(&back, buffer_bytes(&b)), OK);
        assert_memory_equal(&back, &c, sizeof c);
        for (size_t size = 0; size < b.size; size++)
            assert_int_not_equal(tdh2_capsule_decode(&back, bytes_of(b.data, size)), OK);
        buffer_append(&b, "", 1);
        assert_int_equal(tdh2_capsule_decode(&back, buffer_bytes(&b)), ERR_TRAILING);
        buffer_free(&b);
    }
}

static void test_capsule_codec_refuses(void **state)
{
    struct fixture *f = *state;
    struct tdh2_capsule back;
    struct buffer b = {0};
    static const enum err expected[] = {ERR_BAD_POINT, ERR_BAD_POINT, ERR_BAD_SCALAR, ERR_BAD_SCALAR};
    tdh2_capsule_pack(&b, &f->capsule);
    for (size_t field = 0; field < 4; field++) {
        uint8_t saved[32], *at = b.data + 3 + 34 * field;
        memcpy(saved, at, 32);
        memset(at, 0xff, 32);
        assert_int_equal(tdh2_capsule_decode(&back, buffer_bytes(&b)), expected[field]);
        memset(at, 0, 32);
        assert_int_equal(tdh2_capsule_decode(&back, buffer_bytes(&b)), field < 2 ? ERR_BAD_POINT : OK);
        memcpy(at, saved, 32);
    }
    b.data[0] = 0x94;
    assert_int_equal(tdh2_capsule_decode(&back, buffer_bytes(&b)), ERR_MALFORMED);
    buffer_free(&b);
}

static void test_share_codec(void **state)
{
    struct fixture *f = *state;
    for (int proved = 0; proved < 2; proved++) {
        struct tdh2_share s = f->shares[2], back;
        struct buffer b = {0};
        s.leaf_index = s.epoch = UINT64_MAX;
        s.node = LIMIT_NODES;
        s.proved = proved;
        tdh2_share_pack(&b, &s);
        assert_true(b.size <= TDH2_SHARE_SIZE_MAX);
        assert_int_equal(tdh2_share_decode(&back, buffer_bytes(&b)), OK);
        assert_int_equal(back.leaf_index, s.leaf_index);
        assert_int_equal(back.epoch, s.epoch);
        assert_int_equal(back.node, s.node);
        assert_int_equal(back.proved, proved);
        assert_true(digest_equal(&back.label, &s.label));
        assert_true(point_equal(&back.d, &s.d));
        if (proved) assert_memory_equal(&back.proof, &s.proof, sizeof s.proof);
        for (size_t size = 0; size < b.size; size++)
            assert_int_not_equal(tdh2_share_decode(&back, bytes_of(b.data, size)), OK);
        buffer_free(&b);
    }
}

static void test_share_codec_refuses(void **state)
{
    struct fixture *f = *state;
    struct tdh2_share s = f->shares[0], back;
    struct buffer b = {0};
    s.node = 0;
    tdh2_share_pack(&b, &s);
    assert_int_equal(tdh2_share_decode(&back, buffer_bytes(&b)), ERR_MALFORMED);
    buffer_clear(&b);
    s.node = LIMIT_NODES + 1;
    tdh2_share_pack(&b, &s);
    assert_int_equal(tdh2_share_decode(&back, buffer_bytes(&b)), ERR_MALFORMED);
    buffer_clear(&b);
    s = f->shares[0];
    s.d = POINT_IDENTITY;
    tdh2_share_pack(&b, &s);
    assert_int_equal(tdh2_share_decode(&back, buffer_bytes(&b)), ERR_BAD_POINT);
    buffer_clear(&b);
    pack_array(&b, 6);
    for (int i = 0; i < 6; i++)
        pack_uint(&b, 1);
    assert_int_equal(tdh2_share_decode(&back, buffer_bytes(&b)), ERR_MALFORMED);
    buffer_free(&b);
}

static void finish_twice(void)
{
    struct tdh2_secret secret;
    struct tdh2_capsule c;
    struct digest d = {{0}};
    uint8_t key[32];
    tdh2_begin(&secret, key, &POINT_GENERATOR, &d);
    tdh2_finish(&c, &secret, &POINT_GENERATOR, &d, 1);
    tdh2_finish(&c, &secret, &POINT_GENERATOR, &d, 1);
}
static void begin_without_key(void)
{
    struct tdh2_secret secret;
    struct digest d = {{0}};
    uint8_t key[32];
    tdh2_begin(&secret, key, &POINT_IDENTITY, &d);
}
static void test_misuse(void **state)
{
    (void)state;
    assert_true(dies(finish_twice));
    assert_true(dies(begin_without_key));
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label),
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_subsets),
        cmocka_unit_test(test_order_does_not_matter),
        cmocka_unit_test(test_chart),
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_combine_refuses),
        cmocka_unit_test(test_other_context_other_key),
        cmocka_unit_test(test_altered_capsule),
        cmocka_unit_test(test_stolen_u),
        cmocka_unit_test(test_two_different_r),
        cmocka_unit_test(test_shares_verify),
        cmocka_unit_test(test_altered_share),
        cmocka_unit_test(test_liar_is_named),
        cmocka_unit_test(test_proofs_are_fresh),
        cmocka_unit_test(test_capsule_codec),
        cmocka_unit_test(test_capsule_codec_refuses),
        cmocka_unit_test(test_share_codec),
        cmocka_unit_test(test_share_codec_refuses),
        cmocka_unit_test(test_misuse),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
