#include "crypto/tdh2.h"

#include <string.h>

#include "base/check.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/secret.h"

/* from_hash(SHA-512("consilium/tdh2/gbar/v1")); nobody knows its logarithm. A test recomputes it. */
static const struct point GBAR = {{0x66, 0x0e, 0xad, 0xdb, 0x7f, 0xfa, 0xbf, 0x56, 0x74, 0x59, 0x4f,
                                    0xbe, 0x52, 0xc9, 0x1f, 0x78, 0x2f, 0x7a, 0x40, 0xb3, 0xa2, 0x2d,
                                    0x4d, 0x31, 0x1c, 0xc5, 0x2f, 0x40, 0xbd, 0x8f, 0x27, 0x00}};

struct digest tdh2_label(struct bytes context, const struct digest *ciphertext_hash)
{
    const struct bytes parts[] = {context, BYTES(ciphertext_hash->bytes)};
    struct digest label;
    hash_sha256_parts(&label, parts, 2);
    return label;
}

static void content_key(uint8_t key[static 32], const struct point *shared, const struct point *u,
                        const struct digest *context_hash)
{
    static const char tag[] = "consilium/record/v1\n";
    uint8_t info[sizeof tag - 1 + 32];
    memcpy(info, tag, sizeof tag - 1);
    memcpy(info + sizeof tag - 1, context_hash->bytes, 32);
    hkdf_sha256(key, 32, BYTES(shared->bytes), BYTES(u->bytes), BYTES(info));
}

/* s for a proof about `secret`: SHA-512(tag || fresh randomness || secret || statement) mod q.
 * The statement is there whole: should the randomness ever repeat, two different
 * challenges must not meet the same s, because that would give the secret away. */
#define STATEMENT_PARTS 4
static void proof_nonce(struct scalar *s, const char *tag, const struct scalar *secret,
                        const struct bytes statement[static STATEMENT_PARTS])
{
    uint8_t fresh[32], wide[64];
    random_bytes(fresh, sizeof fresh);
    struct bytes parts[3 + STATEMENT_PARTS] = {bytes_text(tag), BYTES(fresh), BYTES(secret->bytes)};
    memcpy(parts + 3, statement, STATEMENT_PARTS * sizeof parts[0]);
    hash_sha512_parts(wide, parts, 3 + STATEMENT_PARTS);
    scalar_from_hash(s, wide);
    secret_wipe(fresh, sizeof fresh);
    secret_wipe(wide, sizeof wide);
}

/* f = s + secret * e */
static void proof_response(struct scalar *f, const struct scalar *s, const struct scalar *secret,
                           const struct scalar *e)
{
    struct scalar product;
    scalar_multiply(&product, secret, e);
    scalar_add(f, s, &product);
    secret_wipe(&product, sizeof product);
}

/* What the prover committed to, from its answer: fP - eQ. P NULL is the generator. */
static void proof_commitment(struct point *w, const struct scalar *f, const struct point *p,
                             const struct scalar *e, const struct point *q)
{
    struct point taken;
    if (p)
        point_multiply(w, f, p);
    else
        point_multiply_generator(w, f);
    point_multiply(&taken, e, q);
    point_subtract(w, w, &taken);
}

static void capsule_challenge(struct scalar *e, const struct point *collective_key, const struct digest *label,
                              const struct point *u, const struct point *w, const struct point *u_bar,
                              const struct point *w_bar)
{
    const struct bytes parts[] = {bytes_text("consilium/tdh2/v1\n"), BYTES(collective_key->bytes),
                                  BYTES(label->bytes), BYTES(u->bytes), BYTES(w->bytes),
                                  BYTES(u_bar->bytes), BYTES(w_bar->bytes)};
    uint8_t wide[64];
    hash_sha512_parts(wide, parts, sizeof parts / sizeof parts[0]);
    scalar_from_hash(e, wide);
}

void tdh2_begin(struct tdh2_secret *secret, uint8_t key[static 32], const struct point *collective_key,
                const struct digest *context_hash)
{
    CHECK(!point_is_identity(collective_key));
    scalar_random(&secret->r);
    point_multiply_generator(&secret->u, &secret->r);
    point_multiply(&secret->shared, &secret->r, collective_key);
    content_key(key, &secret->shared, &secret->u, context_hash);
}

/* s of a capsule. Another statement has another s, so no two challenges meet the same one. */
static void capsule_nonce(struct scalar *s, const struct point *shared, const struct point *collective_key,
                          const struct digest *label, const struct point *u, const struct point *u_bar)
{
    const struct bytes parts[] = {bytes_text("consilium/tdh2/nonce/v2\n"), BYTES(shared->bytes),
                                  BYTES(collective_key->bytes), BYTES(label->bytes), BYTES(u->bytes),
                                  BYTES(u_bar->bytes)};
    uint8_t wide[64];
    hash_sha512_parts(wide, parts, sizeof parts / sizeof parts[0]);
    scalar_from_hash(s, wide);
    secret_wipe(wide, sizeof wide);
}

void tdh2_finish(struct tdh2_capsule *out, struct tdh2_secret *secret, const struct point *collective_key,
                 const struct digest *label, uint64_t epoch)
{
    struct scalar s;
    struct point w, w_bar;
    CHECK(!scalar_is_zero(&secret->r)); /* each secret makes one capsule */
    *out = (struct tdh2_capsule){.u = secret->u, .epoch = epoch};
    point_multiply(&out->u_bar, &secret->r, &GBAR);
    capsule_nonce(&s, &secret->shared, collective_key, label, &out->u, &out->u_bar);
    point_multiply_generator(&w, &s);
    point_multiply(&w_bar, &s, &GBAR);
    capsule_challenge(&out->e, collective_key, label, &out->u, &w, &out->u_bar, &w_bar);
    proof_response(&out->f, &s, &secret->r, &out->e);
    secret_wipe(&s, sizeof s);
    secret_wipe(secret, sizeof *secret);
}

enum err tdh2_capsule_verify(const struct tdh2_capsule *capsule, const struct point *collective_key,
                             const struct digest *label)
{
    struct point w, w_bar;
    struct scalar e;
    if (point_is_identity(&capsule->u)) return ERR_BAD_CAPSULE;
    proof_commitment(&w, &capsule->f, NULL, &capsule->e, &capsule->u);
    proof_commitment(&w_bar, &capsule->f, &GBAR, &capsule->e, &capsule->u_bar);
    capsule_challenge(&e, collective_key, label, &capsule->u, &w, &capsule->u_bar, &w_bar);
    return scalar_equal(&e, &capsule->e) ? OK : ERR_BAD_CAPSULE;
}

void tdh2_capsule_pack(struct buffer *out, const struct tdh2_capsule *capsule)
{
    pack_array(out, 5);
    pack_point(out, &capsule->u);
    pack_point(out, &capsule->u_bar);
    pack_scalar(out, &capsule->e);
    pack_scalar(out, &capsule->f);
    pack_uint(out, capsule->epoch);
}

void tdh2_capsule_unpack(struct tdh2_capsule *out, struct unpack *u)
{
    unpack_array_of(u, 5);
    out->u = unpack_point(u);
    out->u_bar = unpack_point(u);
    out->e = unpack_scalar(u);
    out->f = unpack_scalar(u);
    out->epoch = unpack_uint(u);
}

enum err tdh2_capsule_decode(struct tdh2_capsule *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    tdh2_capsule_unpack(out, &u);
    return unpack_done(&u);
}

/* Where a share belongs: be64(epoch) || be32(node). */
#define SHARE_PLACE 12
static void share_place(uint8_t out[static SHARE_PLACE], const struct tdh2_share *share)
{
    put_be64(out, share->epoch);
    put_be32(out + 8, share->node);
}

static void share_challenge(struct scalar *e, const struct tdh2_share *share, const struct point *verification_key,
                            const struct point *u, const struct point *w, const struct point *w_u)
{
    uint8_t place[SHARE_PLACE], wide[64];
    share_place(place, share);
    const struct bytes parts[] = {bytes_text("consilium/share/v1\n"), BYTES(place),
                                  BYTES(POINT_GENERATOR.bytes), BYTES(verification_key->bytes),
                                  BYTES(u->bytes), BYTES(share->d.bytes), BYTES(w->bytes), BYTES(w_u->bytes)};
    hash_sha512_parts(wide, parts, sizeof parts / sizeof parts[0]);
    scalar_from_hash(e, wide);
}

void tdh2_share_point(struct point *d, const struct scalar *x, const struct point *u) { point_multiply(d, x, u); }

void tdh2_share_prove(struct tdh2_share *share, const struct scalar *x, const struct point *verification_key,
                      const struct point *u)
{
    struct scalar s;
    struct point w, w_u;
    uint8_t place[SHARE_PLACE];
    share_place(place, share);
    const struct bytes statement[STATEMENT_PARTS] = {BYTES(place), BYTES(verification_key->bytes),
                                                     BYTES(u->bytes), BYTES(share->d.bytes)};
    proof_nonce(&s, "consilium/share/nonce/v1\n", x, statement);
    point_multiply_generator(&w, &s);
    point_multiply(&w_u, &s, u);
    share_challenge(&share->proof.e, share, verification_key, u, &w, &w_u);
    proof_response(&share->proof.f, &s, x, &share->proof.e);
    share->proved = true;
    secret_wipe(&s, sizeof s);
}

enum err tdh2_share_verify(const struct tdh2_share *share, const struct point *verification_key,
                           const struct point *u)
{
    struct point w, w_u;
    struct scalar e;
    if (!share->proved) return ERR_BAD_SHARE;
    proof_commitment(&w, &share->proof.f, NULL, &share->proof.e, verification_key);
    proof_commitment(&w_u, &share->proof.f, u, &share->proof.e, &share->d);
    share_challenge(&e, share, verification_key, u, &w, &w_u);
    return scalar_equal(&e, &share->proof.e) ? OK : ERR_BAD_SHARE;
}

void tdh2_share_pack(struct buffer *out, const struct tdh2_share *share)
{
    pack_array(out, share->proved ? 7 : 5);
    pack_uint(out, share->leaf_index);
    pack_digest(out, &share->label);
    pack_uint(out, share->epoch);
    pack_uint(out, share->node);
    pack_point(out, &share->d);
    if (!share->proved) return;
    pack_scalar(out, &share->proof.e);
    pack_scalar(out, &share->proof.f);
}

void tdh2_share_unpack(struct tdh2_share *out, struct unpack *u)
{
    *out = (struct tdh2_share){0};
    uint32_t count = unpack_array(u, 7);
    if (count != 5 && count != 7) unpack_fail(u, ERR_MALFORMED);
    out->leaf_index = unpack_uint(u);
    out->label = unpack_digest(u);
    out->epoch = unpack_uint(u);
    out->node = (uint32_t)unpack_uint_max(u, LIMIT_NODES);
    if (out->node == 0) unpack_fail(u, ERR_MALFORMED);
    out->d = unpack_point(u);
    if (count != 7) return;
    out->proof.e = unpack_scalar(u);
    out->proof.f = unpack_scalar(u);
    out->proved = u->error == OK;
}

enum err tdh2_share_decode(struct tdh2_share *out, struct bytes in)
{
    struct unpack u = unpack_start(in);
    tdh2_share_unpack(out, &u);
    return unpack_done(&u);
}

enum err tdh2_opener_start(struct tdh2_opener *opener, const uint32_t *nodes, size_t count)
{
    if (count == 0) return ERR_TOO_FEW_SHARES;
    if (count > LIMIT_NODES) return ERR_TOO_LARGE;
    opener->count = count;
    return scalar_lagrange(opener->weights, nodes, count);
}

static void combine(struct point *shared, const struct tdh2_opener *opener, const struct point *d)
{
    struct point term;
    CHECK(opener->count >= 1 && opener->count <= LIMIT_NODES);
    point_multiply(shared, &opener->weights[0], &d[0]);
    for (size_t i = 1; i < opener->count; i++) {
        point_multiply(&term, &opener->weights[i], &d[i]);
        point_add(shared, shared, &term);
    }
    secret_wipe(&term, sizeof term);
}

void tdh2_open_proved(uint8_t key[static 32], const struct tdh2_opener *opener, const struct point *d,
                      const struct point *u, const struct digest *context_hash)
{
    struct point shared;
    combine(&shared, opener, d);
    content_key(key, &shared, u, context_hash);
    secret_wipe(&shared, sizeof shared);
}

/* Whether `shared` is rY for the r of U. */
static bool is_shared(const struct point *shared, const struct tdh2_capsule *capsule,
                      const struct point *collective_key, const struct digest *label)
{
    struct scalar s, r, inverse;
    struct point expected;
    if (scalar_is_zero(&capsule->e)) return false;
    capsule_nonce(&s, shared, collective_key, label, &capsule->u, &capsule->u_bar);
    scalar_subtract(&r, &capsule->f, &s);
    scalar_invert(&inverse, &capsule->e);
    scalar_multiply(&r, &r, &inverse);
    point_multiply_generator(&expected, &r);
    bool same = point_equal(&expected, &capsule->u);
    point_multiply(&expected, &r, collective_key);
    same = same && point_equal(&expected, shared);
    secret_wipe(&s, sizeof s);
    secret_wipe(&r, sizeof r);
    secret_wipe(&expected, sizeof expected);
    return same;
}

enum err tdh2_open(uint8_t key[static 32], const struct tdh2_opener *opener, const struct point *d,
                   const struct tdh2_capsule *capsule, const struct point *collective_key,
                   const struct digest *label, const struct digest *context_hash)
{
    struct point shared;
    combine(&shared, opener, d);
    bool right = is_shared(&shared, capsule, collective_key, label);
    if (right) content_key(key, &shared, &capsule->u, context_hash);
    secret_wipe(&shared, sizeof shared);
    return right ? OK : ERR_BAD_SHARE;
}

enum err tdh2_combine(uint8_t key[static 32], const struct tdh2_share *shares, size_t count,
                      const struct point *u, const struct digest *context_hash)
{
    uint32_t nodes[LIMIT_NODES];
    struct point d[LIMIT_NODES];
    struct tdh2_opener opener;
    if (count > LIMIT_NODES) return ERR_TOO_LARGE;
    for (size_t i = 0; i < count; i++) {
        if (shares[i].epoch != shares[0].epoch || !digest_equal(&shares[i].label, &shares[0].label))
            return ERR_BAD_SHARE;
        nodes[i] = shares[i].node;
        d[i] = shares[i].d;
    }
    enum err e = tdh2_opener_start(&opener, nodes, count);
    if (e == OK) tdh2_open_proved(key, &opener, d, u, context_hash);
    secret_wipe(d, sizeof d);
    return e;
}
