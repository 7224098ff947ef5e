/* Vectors: RFC 9496 appendix A (multiples of the generator, invalid encodings,
 * group elements from uniform bytes). */
#include "base/limits.h"
#include "crypto/group.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "tests/lib/dies.h"
#include "tests/lib/unhex.h"
#include "tests/lib/unit.h"

static const char *const multiples[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
    "da80862773358b466ffadfe0b3293ab3d9fd53c5ea6c955358f568322daf6a57",
    "e882b131016b52c1d3337080187cf768423efccbb517bb495ab812c4160ff44e",
    "f64746d3c92b13050ed8d80236a7f0007c3b3f962f5ba793d19a601ebb1df403",
    "44f53520926ec81fbd5a387845beb7df85a96a24ece18738bdcfa6a7822a176d",
    "903293d8f2287ebe10e2374dc1a53e0bc887e592699f02d077d5263cdd55601c",
    "02622ace8f7303a31cafc63f8fc48fdc16e1c8c8d234b2f0d6685282a9076031",
    "20706fd788b2720a1ed2a5dad4952b01f413bcf0e7564de8cdc816689e2db95f",
    "bce83f8ba5dd2fa572864c24ba1810f9522bc6004afe95877ac73241cafdab42",
    "e4549ee16b9aa03099ca208c67adafcafa4c3f3e4e5303de6026e3ca8ff84460",
    "aa52e000df2e16f55fb1032fc33bc42742dad6bd5a8fc0be0167436c5948501f",
    "46376b80f409b29dc2b5f6f0c52591990896e5716f41477cd30085ab7f10301e",
    "e0c418f7c8d9c4cdd7395b93ea124f3ad99021bb681dfc3302a9d99a2e53e64e",
};

static void test_multiples(void **state)
{
    struct point sum = POINT_IDENTITY, expected, product;
    (void)state;
    for (size_t i = 0; i < sizeof multiples / sizeof multiples[0]; i++) {
        const struct scalar n = scalar_from_uint(i);
        unhex_to(&expected, 32, multiples[i]);
        assert_true(point_equal(&sum, &expected));
        point_multiply_generator(&product, &n);
        assert_true(point_equal(&product, &expected));
        point_multiply(&product, &n, &POINT_GENERATOR);
        assert_true(point_equal(&product, &expected));
        assert_int_equal(point_decode(&product, expected.bytes), OK);
        point_add(&sum, &sum, &POINT_GENERATOR);
    }
}

static void test_invalid_encodings(void **state)
{
    static const char *const bad[] = {
        /* non-canonical field elements */
        "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        /* negative field elements */
        "0100000000000000000000000000000000000000000000000000000000000000",
        "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
        "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
        "c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
        "47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
        "f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
        "87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
        /* non-square x^2 */
        "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
        /* s = -1, which causes y = 0 */
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    struct point kept = POINT_GENERATOR;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint8_t in[32];
        unhex_to(in, 32, bad[i]);
        assert_int_equal(point_decode(&kept, in), ERR_BAD_POINT);
        assert_int_equal(point_decode_not_identity(&kept, in), ERR_BAD_POINT);
    }
    assert_true(point_equal(&kept, &POINT_GENERATOR)); /* untouched */
    assert_int_equal(point_decode(&kept, POINT_IDENTITY.bytes), OK);
    assert_int_equal(point_decode_not_identity(&kept, POINT_IDENTITY.bytes), ERR_BAD_POINT);
}

/* The same points with bit 255, which is no part of a field element. */
static void test_second_encodings(void **state)
{
    (void)state;
    struct point p = POINT_IDENTITY, kept = POINT_GENERATOR;
    for (unsigned i = 0; i < 16; i++) {
        struct point other = p;
        other.bytes[31] |= 0x80;
        assert_int_equal(point_decode(&kept, other.bytes), ERR_BAD_POINT);
        assert_int_equal(point_decode_not_identity(&kept, other.bytes), ERR_BAD_POINT);
        point_add(&p, &p, &POINT_GENERATOR);
    }
    assert_true(point_equal(&kept, &POINT_GENERATOR));
}

static void test_from_hash(void **state)
{
    static const char *const cases[][2] = {
        {"5d1be09e3d0c82fc538112490e35701979d99e06ca3e2b5b54bffe8b4dc772c1"
         "4d98b696a1bbfb5ca32c436cc61c16563790306c79eaca7705668b47dffe5bb6",
         "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"},
        {"f116b34b8f17ceb56e8732a60d913dd10cce47a6d53bee9204be8b44f6678b27"
         "0102a56902e2488c46120e9276cfe54638286b9e4b3cdb470b542d46c2068d38",
         "f26e5b6f7d362d2d2a94c5d0e7602cb4773c95a2e5c31a64f133189fa76ed61b"},
        {"8422e1bbdaab52938b81fd602effb6f89110e1e57208ad12d9ad767e2e25510c"
         "27140775f9337088b982d83d7fcf0b2fa1edffe51952cbe7365e95c86eaf325c",
         "006ccd2a9e6867e6a2c5cea83d3302cc9de128dd2a9a57dd8ee7b9d7ffe02826"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t in[64];
        struct point expected, got;
        unhex_to(in, 64, cases[i][0]);
        unhex_to(&expected, 32, cases[i][1]);
        point_from_hash(&got, in);
        assert_true(point_equal(&got, &expected));
    }
}

/* q little-endian, and its neighbours */
static const char q_text[] = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

static void test_scalar_decode(void **state)
{
    uint8_t q[32], in[32];
    struct scalar s, minus_one;
    const struct scalar zero = scalar_from_uint(0), one = scalar_from_uint(1);
    (void)state;
    unhex_to(q, 32, q_text);
    assert_int_equal(scalar_decode(&s, q), ERR_BAD_SCALAR);
    memcpy(in, q, 32);
    in[0]--;
    assert_int_equal(scalar_decode(&s, in), OK);
    scalar_subtract(&minus_one, &zero, &one);
    assert_true(scalar_equal(&s, &minus_one));
    in[0] += 2;
    assert_int_equal(scalar_decode(&s, in), ERR_BAD_SCALAR);
    memset(in, 0xff, 32);
    assert_int_equal(scalar_decode(&s, in), ERR_BAD_SCALAR);
    memset(in, 0, 32);
    for (unsigned bit = 252; bit < 256; bit++) { /* 2^252 is below q, 2^253 and more are not */
        memset(in, 0, 32);
        in[31] = (uint8_t)(1 << (bit - 248));
        assert_int_equal(scalar_decode(&s, in), bit == 252 ? OK : ERR_BAD_SCALAR);
    }
    memset(in, 0, 32);
    assert_int_equal(scalar_decode(&s, in), OK);
    assert_true(scalar_is_zero(&s));
}

static void test_scalar_laws(void **state)
{
    const struct scalar one = scalar_from_uint(1);
    (void)state;
    for (int i = 0; i < 50; i++) {
        struct scalar a, b, c, left, right;
        scalar_random(&a);
        scalar_random(&b);
        scalar_random(&c);
        assert_int_equal(scalar_decode(&left, a.bytes), OK);
        scalar_add(&left, &a, &b); /* (a + b) c = ac + bc */
        scalar_multiply(&left, &left, &c);
        scalar_multiply(&right, &b, &c);
        scalar_multiply(&c, &a, &c);
        scalar_add(&right, &right, &c);
        assert_true(scalar_equal(&left, &right));
        scalar_negate(&left, &a); /* a + -a = 0, b - b = 0, outputs over inputs */
        scalar_add(&left, &left, &a);
        assert_true(scalar_is_zero(&left));
        right = b;
        scalar_subtract(&right, &right, &right);
        assert_true(scalar_is_zero(&right));
        left = a;
        scalar_invert(&left, &left);
        scalar_multiply(&left, &left, &a);
        assert_true(scalar_equal(&left, &one));
    }
}

static void test_scalar_from_uint(void **state)
{
    struct scalar a = scalar_from_uint(UINT64_MAX), b = scalar_from_uint(0x0102030405060708);
    (void)state;
    assert_memory_equal(a.bytes, "\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 12);
    assert_memory_equal(b.bytes, "\x08\x07\x06\x05\x04\x03\x02\x01\0\0\0\0", 12);
}

static void test_point_laws(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++) {
        struct scalar a, b, sum;
        struct point p, q, left, right;
        scalar_random(&a);
        scalar_random(&b);
        scalar_add(&sum, &a, &b);
        point_multiply_generator(&p, &a);
        point_multiply_generator(&q, &b);
        point_add(&left, &p, &q);
        point_multiply_generator(&right, &sum);
        assert_true(point_equal(&left, &right));
        point_subtract(&left, &left, &q);
        assert_true(point_equal(&left, &p));
        point_multiply(&left, &b, &p); /* b(aG) = a(bG) */
        point_multiply(&right, &a, &q);
        assert_true(point_equal(&left, &right));
        point_subtract(&left, &left, &left);
        assert_true(point_is_identity(&left));
    }
}

/* libsodium answers -1 where the result is the identity: it must be one here. */
static void test_identity(void **state)
{
    const struct scalar zero = scalar_from_uint(0), five = scalar_from_uint(5);
    struct point p = POINT_GENERATOR;
    (void)state;
    point_multiply_generator(&p, &zero);
    assert_true(point_is_identity(&p));
    p = POINT_GENERATOR;
    point_multiply(&p, &zero, &p);
    assert_true(point_is_identity(&p));
    point_multiply(&p, &five, &POINT_IDENTITY);
    assert_true(point_is_identity(&p));
    point_add(&p, &POINT_IDENTITY, &POINT_GENERATOR);
    assert_true(point_equal(&p, &POINT_GENERATOR));
    point_subtract(&p, &POINT_GENERATOR, &POINT_IDENTITY);
    assert_true(point_equal(&p, &POINT_GENERATOR));
}

static struct point not_a_point = {{1}};
static void multiply_not_a_point(void)
{
    const struct scalar five = scalar_from_uint(5);
    point_multiply(&not_a_point, &five, &not_a_point);
}
static void add_not_a_point(void) { point_add(&not_a_point, &POINT_GENERATOR, &not_a_point); }
static void invert_zero(void)
{
    struct scalar zero = {{0}};
    scalar_invert(&zero, &zero);
}
static void test_misuse(void **state)
{
    (void)state;
    assert_true(dies(multiply_not_a_point));
    assert_true(dies(add_not_a_point));
    assert_true(dies(invert_zero));
}

static void test_pack(void **state)
{
    struct buffer b = {0};
    struct scalar s;
    uint8_t q[32];
    (void)state;
    scalar_random(&s);
    unhex_to(q, 32, q_text);
    pack_scalar(&b, &s);
    pack_point(&b, &POINT_GENERATOR);
    struct unpack u = unpack_start(buffer_bytes(&b));
    struct scalar s2 = unpack_scalar(&u);
    struct point p2 = unpack_point(&u);
    assert_int_equal(unpack_done(&u), OK);
    assert_true(scalar_equal(&s, &s2));
    assert_true(point_equal(&p2, &POINT_GENERATOR));
    buffer_clear(&b);
    pack_bin(&b, q, 32);
    u = unpack_start(buffer_bytes(&b));
    s2 = unpack_scalar(&u);
    assert_true(scalar_is_zero(&s2));
    assert_int_equal(unpack_done(&u), ERR_BAD_SCALAR);
    u = unpack_start(buffer_bytes(&b));
    p2 = unpack_point(&u);
    assert_int_equal(u.error, ERR_BAD_POINT);
    buffer_clear(&b);
    pack_point(&b, &POINT_IDENTITY);
    u = unpack_start(buffer_bytes(&b));
    p2 = unpack_point(&u);
    assert_int_equal(u.error, ERR_BAD_POINT);
    u = unpack_start(bytes_of(b.data, 33));
    p2 = unpack_point(&u);
    assert_int_equal(u.error, ERR_TRUNCATED);
    buffer_free(&b);
}

/* Interpolating a polynomial of degree count - 1 at 0 gives its constant term. */
static void test_lagrange(void **state)
{
    static const uint32_t indices[LIMIT_NODES] = {3, 1, 15, 7, 2, 9, 4, 100, 5, 4294967295u, 6, 8, 10, 11, 12};
    (void)state;
    for (size_t count = 1; count <= LIMIT_NODES; count++) {
        struct scalar coefficients[LIMIT_NODES], weights[LIMIT_NODES], sum = {{0}};
        for (size_t j = 0; j < count; j++)
            scalar_random(&coefficients[j]);
        assert_int_equal(scalar_lagrange(weights, indices, count), OK);
        for (size_t i = 0; i < count; i++) {
            const struct scalar x = scalar_from_uint(indices[i]);
            struct scalar value = {{0}};
            for (size_t j = count; j-- > 0;) {
                scalar_multiply(&value, &value, &x);
                scalar_add(&value, &value, &coefficients[j]);
            }
            scalar_multiply(&value, &value, &weights[i]);
            scalar_add(&sum, &sum, &value);
        }
        assert_true(scalar_equal(&sum, &coefficients[0]));
    }
    struct scalar weights[3];
    assert_int_equal(scalar_lagrange(weights, (const uint32_t[]){1, 0, 2}, 3), ERR_INVALID);
    assert_int_equal(scalar_lagrange(weights, (const uint32_t[]){2, 1, 2}, 3), ERR_INVALID);
    assert_int_equal(scalar_lagrange(weights, (const uint32_t[]){0}, 1), ERR_INVALID);
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multiples),        cmocka_unit_test(test_invalid_encodings),
        cmocka_unit_test(test_second_encodings),
        cmocka_unit_test(test_from_hash),        cmocka_unit_test(test_scalar_decode),
        cmocka_unit_test(test_scalar_laws),      cmocka_unit_test(test_scalar_from_uint),
        cmocka_unit_test(test_point_laws),       cmocka_unit_test(test_identity),
        cmocka_unit_test(test_misuse),           cmocka_unit_test(test_pack),
        cmocka_unit_test(test_lagrange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
