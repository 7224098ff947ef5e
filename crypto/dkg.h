/* The mathematics of distributed key generation and resharing; the protocol
 * around it (who said what, and when) lives in the ledger.
 *
 * P. Feldman: "A Practical Scheme for Non-interactive Verifiable Secret
 * Sharing", FOCS 1987; with commitments by hash before they are revealed.
 * T. Wong, C. Wang, J. Wing: "Verifiable Secret Redistribution for Archive
 * Systems", IEEE SISW 2002, for resharing to other nodes and another k.
 *
 * Each dealer has a polynomial f of degree k - 1; its commitments are
 * C_j = a_j G, the sub-share of node i is f(i), i = 1 .. n. A node's share x_i
 * is the sum of what the qualified dealers gave it; Y = sum of the C_0. When
 * resharing, the dealers are k holders of the old shares, a dealer's constant
 * term is its old share, and the sums are weighted by Lagrange's coefficients.
 *
 * Secrets (polynomials, sub-shares) are wiped by the caller. Any thread. */
#ifndef CRYPTO_DKG_H
#define CRYPTO_DKG_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "crypto/group.h"

struct dkg_polynomial {
    uint32_t k; /* coefficients: 1 .. LIMIT_NODES */
    struct scalar coefficients[LIMIT_NODES];
};
struct dkg_commitments {
    uint32_t k;
    struct point points[LIMIT_NODES];
};

/* --- a dealer --- */

void dkg_polynomial_random(struct dkg_polynomial *out, uint32_t k);
/* Resharing: `constant` is the dealer's old share. */
void dkg_polynomial_with(struct dkg_polynomial *out, uint32_t k, const struct scalar *constant);
void dkg_commit(struct dkg_commitments *out, const struct dkg_polynomial *polynomial);
/* f(node), node >= 1. */
void dkg_subshare(struct scalar *out, const struct dkg_polynomial *polynomial, uint32_t node);

/* What a dealer publishes before its commitments: SHA-256("consilium/dkg/commitments/v1\n"
 * || be32(context.size) || context || be32(k) || C_0 .. ). The context names cluster,
 * purpose, attempt and dealer, so that nobody can publish another's hash as its own. */
struct digest dkg_commitments_hash(const struct dkg_commitments *commitments, struct bytes context);
/* What a dealer publishes of a sub-share: SHA-256("consilium/dkg/subshare/v1\n"
 * || be32(context.size) || context || be32(node) || sub-share). */
struct digest dkg_subshare_hash(const struct scalar *subshare, uint32_t node, struct bytes context);

/* --- a receiver, and everybody --- */

/* Value of the committed polynomial at `node`, times G: node's verification key
 * when these are combined commitments. */
void dkg_commitments_at(struct point *out, const struct dkg_commitments *commitments, uint32_t node);
/* OK or ERR_BAD_SHARE. */
enum err dkg_subshare_verify(const struct scalar *subshare, const struct dkg_commitments *commitments,
                             uint32_t node);
/* Key generation: weights NULL. Resharing: weights of scalar_lagrange over the
 * dealers' old indices. In the same order as the sub-shares or commitments. */
void dkg_combine_subshares(struct scalar *share, const struct scalar *subshares, const struct scalar *weights,
                           size_t count);
/* points[0] of the result is the collective key. All dealers have the same k
 * (CHECK). ERR_BAD_POINT: the collective key would be the identity. */
enum err dkg_combine_commitments(struct dkg_commitments *out, const struct dkg_commitments *dealers,
                                 const struct scalar *weights, size_t count);
/* The verification keys of nodes 1 .. n; ERR_BAD_POINT: one is the identity. */
enum err dkg_verification_keys(struct point *out, size_t n, const struct dkg_commitments *combined);

/* Resharing: does the dealer deal the share that it holds? ERR_BAD_PROOF. */
enum err dkg_reshare_check(const struct dkg_commitments *commitments, const struct point *old_verification_key);

/* --- bytes --- */

/* 32 * k bytes: secret; sealed by whoever stores them. */
enum err dkg_polynomial_encode(struct buffer *out, const struct dkg_polynomial *polynomial);
enum err dkg_polynomial_decode(struct dkg_polynomial *out, struct bytes in); /* ERR_MALFORMED, ERR_BAD_SCALAR */
/* 32 * k bytes. The decoder takes exactly k valid points, none the identity
 * (an honest dealer's never are): ERR_MALFORMED, ERR_BAD_POINT. */
enum err dkg_commitments_encode(struct buffer *out, const struct dkg_commitments *commitments);
enum err dkg_commitments_decode(struct dkg_commitments *out, uint32_t k, struct bytes in);

#endif
