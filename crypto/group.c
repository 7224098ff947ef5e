#include "crypto/group.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "crypto/secret.h"

static_assert(sizeof(struct scalar) == crypto_core_ristretto255_SCALARBYTES &&
                  sizeof(struct point) == crypto_core_ristretto255_BYTES,
              "libsodium's sizes");

const struct point POINT_IDENTITY = {{0}};
/* RFC 9496 section 4.4 (and A.1, B[1]) */
const struct point POINT_GENERATOR = {{0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9,
                                       0x61, 0xc5, 0x00, 0x51, 0x5f, 0x58, 0xe3, 0x0b, 0x6a, 0xa5, 0x82,
                                       0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d, 0x2d, 0x76}};

enum err scalar_decode(struct scalar *out, const uint8_t in[static 32])
{
    uint8_t wide[64] = {0};
    struct scalar reduced;
    memcpy(wide, in, 32);
    scalar_from_hash(&reduced, wide);
    bool canonical = secret_equal(reduced.bytes, in, 32);
    if (canonical) *out = reduced;
    secret_wipe(wide, sizeof wide);
    secret_wipe(&reduced, sizeof reduced);
    return canonical ? OK : ERR_BAD_SCALAR;
}

struct scalar scalar_from_uint(uint64_t value)
{
    struct scalar s = {{0}};
    for (size_t i = 0; i < 8; i++)
        s.bytes[i] = (uint8_t)(value >> (8 * i));
    return s;
}

void scalar_from_hash(struct scalar *out, const uint8_t hash[static 64])
{
    crypto_core_ristretto255_scalar_reduce(out->bytes, hash);
}

void scalar_random(struct scalar *out) { crypto_core_ristretto255_scalar_random(out->bytes); }

void scalar_add(struct scalar *out, const struct scalar *a, const struct scalar *b)
{
    crypto_core_ristretto255_scalar_add(out->bytes, a->bytes, b->bytes);
}

void scalar_subtract(struct scalar *out, const struct scalar *a, const struct scalar *b)
{
    crypto_core_ristretto255_scalar_sub(out->bytes, a->bytes, b->bytes);
}

void scalar_multiply(struct scalar *out, const struct scalar *a, const struct scalar *b)
{
    crypto_core_ristretto255_scalar_mul(out->bytes, a->bytes, b->bytes);
}

void scalar_negate(struct scalar *out, const struct scalar *a)
{
    crypto_core_ristretto255_scalar_negate(out->bytes, a->bytes);
}

void scalar_invert(struct scalar *out, const struct scalar *a)
{
    CHECK(crypto_core_ristretto255_scalar_invert(out->bytes, a->bytes) == 0);
}

bool scalar_is_zero(const struct scalar *a) { return secret_is_zero(a->bytes, sizeof a->bytes); }
bool scalar_equal(const struct scalar *a, const struct scalar *b) { return secret_equal(a, b, sizeof *a); }

/* RFC 9496 section 4.3.1, step 1: bit 255 is not set. libsodium 1.0.18 ignores it, so that each point has two encodings
 * there, and the identity one that is not all zeros. */
enum err point_decode(struct point *out, const uint8_t in[static 32])
{
    if (in[31] & 0x80 || !crypto_core_ristretto255_is_valid_point(in)) return ERR_BAD_POINT;
    memcpy(out->bytes, in, sizeof out->bytes);
    return OK;
}

enum err point_decode_not_identity(struct point *out, const uint8_t in[static 32])
{
    return secret_is_zero(in, 32) ? ERR_BAD_POINT : point_decode(out, in);
}

void point_from_hash(struct point *out, const uint8_t hash[static 64])
{
    CHECK(crypto_core_ristretto255_from_hash(out->bytes, hash) == 0);
}

void point_add(struct point *out, const struct point *a, const struct point *b)
{
    CHECK(crypto_core_ristretto255_add(out->bytes, a->bytes, b->bytes) == 0);
}

void point_subtract(struct point *out, const struct point *a, const struct point *b)
{
    CHECK(crypto_core_ristretto255_sub(out->bytes, a->bytes, b->bytes) == 0);
}

/* libsodium answers -1 for an invalid point and for a product that is the
 * identity, which in a group of prime order only a zero factor gives. */
static void accept_identity(struct point *out, const struct scalar *a, const struct point *p)
{
    CHECK(scalar_is_zero(a) || point_is_identity(p));
    *out = POINT_IDENTITY;
}

void point_multiply(struct point *out, const struct scalar *a, const struct point *p)
{
    struct point product;
    if (crypto_scalarmult_ristretto255(product.bytes, a->bytes, p->bytes) == 0)
        *out = product;
    else
        accept_identity(out, a, p);
    secret_wipe(&product, sizeof product);
}

void point_multiply_generator(struct point *out, const struct scalar *a)
{
    struct point product;
    if (crypto_scalarmult_ristretto255_base(product.bytes, a->bytes) == 0)
        *out = product;
    else
        accept_identity(out, a, &POINT_GENERATOR);
}

bool point_is_identity(const struct point *p) { return secret_is_zero(p->bytes, sizeof p->bytes); }
bool point_equal(const struct point *a, const struct point *b) { return secret_equal(a, b, sizeof *a); }

void pack_scalar(struct buffer *out, const struct scalar *a) { pack_bin(out, a->bytes, sizeof a->bytes); }
void pack_point(struct buffer *out, const struct point *p) { pack_bin(out, p->bytes, sizeof p->bytes); }

struct scalar unpack_scalar(struct unpack *u)
{
    struct scalar s = {{0}};
    uint8_t in[32];
    unpack_bin_exact(u, in, sizeof in);
    if (u->error == OK && scalar_decode(&s, in) != OK) unpack_fail(u, ERR_BAD_SCALAR);
    return s;
}

struct point unpack_point(struct unpack *u)
{
    struct point p = POINT_IDENTITY;
    uint8_t in[32];
    unpack_bin_exact(u, in, sizeof in);
    if (u->error == OK && point_decode_not_identity(&p, in) != OK) unpack_fail(u, ERR_BAD_POINT);
    return p;
}

static bool indices_valid(const uint32_t *indices, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (indices[i] == 0) return false;
        for (size_t j = 0; j < i; j++)
            if (indices[i] == indices[j]) return false;
    }
    return true;
}

/* One inversion for all instead of 18 microseconds for each (P. Montgomery,
 * "Speeding the Pollard and Elliptic Curve Methods of Factorization", 1987, 10.3.1). */
static void invert_all(struct scalar *values, size_t count)
{
    struct scalar before[LIMIT_NODES], inverse = scalar_from_uint(1), one_inverse;
    for (size_t i = 0; i < count; i++) {
        before[i] = inverse; /* product of all before i */
        scalar_multiply(&inverse, &inverse, &values[i]);
    }
    scalar_invert(&inverse, &inverse);
    for (size_t i = count; i-- > 0;) {
        scalar_multiply(&one_inverse, &inverse, &before[i]);
        scalar_multiply(&inverse, &inverse, &values[i]);
        values[i] = one_inverse;
    }
}

enum err scalar_lagrange(struct scalar *out, const uint32_t *indices, size_t count)
{
    struct scalar above[LIMIT_NODES], below[LIMIT_NODES];
    CHECK(count >= 1 && count <= LIMIT_NODES);
    if (!indices_valid(indices, count)) return ERR_INVALID;
    for (size_t i = 0; i < count; i++) {
        const struct scalar xi = scalar_from_uint(indices[i]);
        above[i] = below[i] = scalar_from_uint(1);
        for (size_t j = 0; j < count; j++) {
            if (j == i) continue;
            const struct scalar xj = scalar_from_uint(indices[j]);
            struct scalar difference;
            scalar_multiply(&above[i], &above[i], &xj);
            scalar_subtract(&difference, &xj, &xi);
            scalar_multiply(&below[i], &below[i], &difference);
        }
    }
    invert_all(below, count);
    for (size_t i = 0; i < count; i++)
        scalar_multiply(&out[i], &above[i], &below[i]);
    return OK;
}
