/* Capsules, shares, opening: TDH2 over ristretto255.
 *
 * V. Shoup, R. Gennaro: "Securing Threshold Cryptosystems against Chosen
 * Ciphertext Attack", Journal of Cryptology 15(2), 2002, section 5 (TDH2), as a
 * key encapsulation. A node opens for nobody what its author did not make for
 * that label: the capsule proves knowledge of r for U and Ubar under the label,
 * so nobody can put another record's U into a record of their own.
 *
 *   collective key  Y = xG; share i of x is x_i, verification key Y_i = x_i G
 *   Gbar            ristretto255 from_hash(SHA-512("consilium/tdh2/gbar/v1"))
 *   capsule         U = rG, Ubar = r Gbar, and a proof (e, f) of one r for both:
 *                   e = SHA-512("consilium/tdh2/v1\n" || Y || SHA-256(label) || U || W || Ubar || Wbar) mod q
 *                   with W = sG, Wbar = s Gbar, f = s + re,
 *                   s = SHA-512("consilium/tdh2/nonce/v2\n" || rY || Y || SHA-256(label) || U || Ubar) mod q
 *   content key     HKDF-SHA-256(ikm rY, salt U, info "consilium/record/v1\n" || SHA-256(context))
 *   share           D_i = x_i U; its proof (e, f) that log_G Y_i = log_U D_i:
 *                   e = SHA-512("consilium/share/v1\n" || be64(epoch) || be32(node) || G || Y_i || U || D_i
 *                               || W || W_i) mod q, with W = sG, W_i = sU, f = s + x_i e
 *   opening         rY = sum of lambda_i D_i over k shares
 *
 * Who opens checks what came out: with rY they have s, so r = (f - s) / e, and rG must be U and r times Y what the
 * shares gave (that who decrypts makes the encryption's randomness anew and compares is Fujisaki and Okamoto's,
 * CRYPTO 1999). Decrypting is no such check: AES-GCM lets an author make one ciphertext that opens under several
 * keys (Dodis, Grubbs, Ristenpart and Woodage, CRYPTO 2018), and one wrong share, or another U beside the right
 * ciphertext, would pick among them. Where the check fails,
 * since the author's s is another one, say, only shares that are proved tell what rY is.
 *
 * That s is known only to who has rY already, and so may open; it is bound to all that the challenge covers. In a
 * share's challenge the nonce is hashed from fresh randomness together with the secret, so that neither a bad random
 * generator nor a repeated one shows it.
 * Functions without an error can't fail. Any thread. */
#ifndef CRYPTO_TDH2_H
#define CRYPTO_TDH2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/pack.h"
#include "crypto/group.h"

/* SHA-256(context || SHA-256(ciphertext)): what a capsule is bound to. */
struct digest tdh2_label(struct bytes context, const struct digest *ciphertext_hash);

/* --- making a capsule, in two steps, because the label needs the ciphertext
 * and the ciphertext needs the key --- */

struct tdh2_secret {
    struct scalar r;
    struct point u, shared; /* rG, rY */
};

/* A fresh r and the content key of it; `context_hash` is SHA-256(context). The
 * key encrypts one message (crypto/aead.h) and is wiped by the caller. */
void tdh2_begin(struct tdh2_secret *secret, uint8_t key[static 32], const struct point *collective_key,
                const struct digest *context_hash);

/* `epoch` says whose shares the author expected; Y is the same in all epochs of
 * a cluster, so the proof need not cover it (the author's signature does). */
struct tdh2_capsule {
    struct point u, u_bar;
    struct scalar e, f;
    uint64_t epoch;
};

/* Wipes the secret. */
void tdh2_finish(struct tdh2_capsule *out, struct tdh2_secret *secret, const struct point *collective_key,
                 const struct digest *label, uint64_t epoch);

/* OK or ERR_BAD_CAPSULE. */
enum err tdh2_capsule_verify(const struct tdh2_capsule *capsule, const struct point *collective_key,
                             const struct digest *label);

/* Canonical msgpack [U, Ubar, e, f, epoch]. */
#define TDH2_CAPSULE_SIZE_MAX (1 + 4 * 34 + 9)
void tdh2_capsule_pack(struct buffer *out, const struct tdh2_capsule *capsule);
/* Sets the sticky error: ERR_BAD_POINT, ERR_BAD_SCALAR, or of the shape. */
void tdh2_capsule_unpack(struct tdh2_capsule *out, struct unpack *u);
/* All of `in`. */
enum err tdh2_capsule_decode(struct tdh2_capsule *out, struct bytes in);

/* --- shares --- */

struct tdh2_proof {
    struct scalar e, f;
};
struct tdh2_share {
    uint64_t leaf_index; /* of the read that it answers */
    struct digest label; /* of the capsule */
    uint64_t epoch;
    uint32_t node; /* index in the epoch, 1 .. n */
    struct point d;
    bool proved; /* `proof` is there */
    struct tdh2_proof proof;
};

/* D = x_i U only: the cheap part of a share (one multiplication). Only for a
 * capsule that tdh2_capsule_verify accepted. */
void tdh2_share_point(struct point *d, const struct scalar *x, const struct point *u);
/* Adds the proof to a share whose epoch, node and d are set. */
void tdh2_share_prove(struct tdh2_share *share, const struct scalar *x, const struct point *verification_key,
                      const struct point *u);
/* OK, or ERR_BAD_SHARE (also without a proof). */
enum err tdh2_share_verify(const struct tdh2_share *share, const struct point *verification_key,
                           const struct point *u);

/* Canonical msgpack [leaf_index, label, epoch, node, D], and with a proof
 * [..., D, e, f]. */
#define TDH2_SHARE_SIZE_MAX (1 + 9 + 34 + 9 + 5 + 3 * 34)
void tdh2_share_pack(struct buffer *out, const struct tdh2_share *share);
void tdh2_share_unpack(struct tdh2_share *out, struct unpack *u);
enum err tdh2_share_decode(struct tdh2_share *out, struct bytes in);

/* --- opening --- */

/* The nodes whose shares are combined; computed once for a whole chart. */
struct tdh2_opener {
    size_t count;
    struct scalar weights[LIMIT_NODES];
};

/* Exactly k different indices. ERR_INVALID: zero or twice; ERR_TOO_FEW_SHARES:
 * none; ERR_TOO_LARGE: more than LIMIT_NODES. */
enum err tdh2_opener_start(struct tdh2_opener *opener, const uint32_t *nodes, size_t count);
/* The content key from D_i in the order of `nodes`, each of which tdh2_share_verify accepted. Wiped by the caller. */
void tdh2_open_proved(uint8_t key[static 32], const struct tdh2_opener *opener, const struct point *d,
                      const struct point *u, const struct digest *context_hash);
/* The same from shares without proofs. OK: the key is the capsule's, whoever lied. ERR_BAD_SHARE: a share or
 * the capsule is not what it should be, or its author's s another one; tdh2_share_verify finds out. */
enum err tdh2_open(uint8_t key[static 32], const struct tdh2_opener *opener, const struct point *d,
                   const struct tdh2_capsule *capsule, const struct point *collective_key,
                   const struct digest *label, const struct digest *context_hash);

/* Both for one capsule: k proved shares of one epoch. ERR_BAD_SHARE: of different
 * epochs or labels; else as tdh2_opener_start. */
enum err tdh2_combine(uint8_t key[static 32], const struct tdh2_share *shares, size_t count,
                      const struct point *u, const struct digest *context_hash);

#endif
