/* The prime-order group ristretto255 (RFC 9496): scalars modulo
 * q = 2^252 + 27742317777372353535851937790883648493, and points.
 *
 * A struct scalar is always canonical (below q) and a struct point always a
 * valid encoding, identity included: bytes from outside come in only through
 * the decoders here. With that, no operation fails. (libsodium's own return -1
 * for a result that is the identity.) Operations on scalars, and multiplying
 * a point, take constant time. Outputs may be inputs. Any thread. */
#ifndef CRYPTO_GROUP_H
#define CRYPTO_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/pack.h"

struct scalar {
    uint8_t bytes[32]; /* little-endian */
};
struct point {
    uint8_t bytes[32];
};

enum err scalar_decode(struct scalar *out, const uint8_t in[static 32]); /* ERR_BAD_SCALAR: not below q */
struct scalar scalar_from_uint(uint64_t value);
void scalar_from_hash(struct scalar *out, const uint8_t hash[static 64]); /* little-endian, modulo q */
void scalar_random(struct scalar *out);                                   /* uniform, not zero */
void scalar_add(struct scalar *out, const struct scalar *a, const struct scalar *b);
void scalar_subtract(struct scalar *out, const struct scalar *a, const struct scalar *b);
void scalar_multiply(struct scalar *out, const struct scalar *a, const struct scalar *b);
void scalar_negate(struct scalar *out, const struct scalar *a);
void scalar_invert(struct scalar *out, const struct scalar *a); /* not of zero (CHECK) */
bool scalar_is_zero(const struct scalar *a);
bool scalar_equal(const struct scalar *a, const struct scalar *b);

extern const struct point POINT_IDENTITY, POINT_GENERATOR;

enum err point_decode(struct point *out, const uint8_t in[static 32]); /* ERR_BAD_POINT; identity is one */
/* As above, but the identity is ERR_BAD_POINT too. */
enum err point_decode_not_identity(struct point *out, const uint8_t in[static 32]);
void point_from_hash(struct point *out, const uint8_t hash[static 64]); /* RFC 9496 section 4.3.4 */
void point_add(struct point *out, const struct point *a, const struct point *b);
void point_subtract(struct point *out, const struct point *a, const struct point *b);
void point_multiply(struct point *out, const struct scalar *a, const struct point *p);
void point_multiply_generator(struct point *out, const struct scalar *a); /* twice as fast */
bool point_is_identity(const struct point *p);
bool point_equal(const struct point *a, const struct point *b);

/* As msgpack bin of 32 bytes; the readers set ERR_BAD_SCALAR, ERR_BAD_POINT
 * (identity included in the latter). */
void pack_scalar(struct buffer *out, const struct scalar *a);
void pack_point(struct buffer *out, const struct point *p);
struct scalar unpack_scalar(struct unpack *u);
struct point unpack_point(struct unpack *u);

/* Lagrange coefficients at 0: out[i] = product over j != i of x_j / (x_j - x_i).
 * ERR_INVALID: an index is zero or there twice; `count` is at least 1. */
enum err scalar_lagrange(struct scalar *out, const uint32_t *indices, size_t count);

#endif
