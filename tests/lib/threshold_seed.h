/* A threshold key and capsules for it, the same each time, for fuzz targets that must get past a proof: K of N nodes
 * open, and the dealer's polynomial is known. Cheap: what is asked for again is not computed again. */
#ifndef TESTS_LIB_THRESHOLD_SEED_H
#define TESTS_LIB_THRESHOLD_SEED_H

#include <string.h>

#include "crypto/dkg.h"
#include "crypto/hash.h"
#include "crypto/tdh2.h"

#define SEED_N 5
#define SEED_K 3
#define SEED_EPOCH 7

struct threshold_seed {
    struct dkg_polynomial polynomial;
    struct dkg_commitments commitments;
    struct point collective, y[SEED_N + 1]; /* y[i], x[i] of node i; 0 is not used */
    struct scalar x[SEED_N + 1];
};

/* Neither zero nor small: 32 bytes hashed from two numbers. */
static inline struct scalar seed_scalar(uint8_t kind, uint8_t number)
{
    const uint8_t text[] = {kind, number};
    uint8_t wide[64];
    struct scalar out;
    hash_sha512(wide, text, sizeof text);
    scalar_from_hash(&out, wide);
    return out;
}

static inline const struct threshold_seed *threshold_seed(void)
{
    static struct threshold_seed seed;
    if (seed.polynomial.k) return &seed;
    seed.polynomial.k = SEED_K;
    for (uint8_t j = 0; j < SEED_K; j++) seed.polynomial.coefficients[j] = seed_scalar('a', j);
    dkg_commit(&seed.commitments, &seed.polynomial);
    seed.collective = seed.commitments.points[0];
    for (uint32_t i = 1; i <= SEED_N; i++) {
        dkg_subshare(&seed.x[i], &seed.polynomial, i);
        point_multiply_generator(&seed.y[i], &seed.x[i]);
    }
    return &seed;
}

/* One of four capsules, each under its own label and context; and what is to come out. */
#define SEED_CAPSULES 4
struct capsule_seed {
    struct tdh2_capsule capsule;
    struct digest label, context;
    uint8_t key[32];
    struct point d[SEED_N + 1];
};

static inline void capsule_seed_make(struct capsule_seed *out, uint8_t number)
{
    const struct threshold_seed *t = threshold_seed();
    struct tdh2_secret secret = {.r = seed_scalar('r', number)};
    static const uint32_t nodes[SEED_K] = {1, 2, 3};
    struct tdh2_opener opener;
    hash_sha256(&out->label, &number, 1);
    hash_sha256(&out->context, &out->label, sizeof out->label);
    point_multiply_generator(&secret.u, &secret.r);
    point_multiply(&secret.shared, &secret.r, &t->collective);
    tdh2_finish(&out->capsule, &secret, &t->collective, &out->label, SEED_EPOCH);
    for (uint32_t i = 1; i <= SEED_N; i++) tdh2_share_point(&out->d[i], &t->x[i], &out->capsule.u);
    CHECK(tdh2_opener_start(&opener, nodes, SEED_K) == OK);
    tdh2_open_proved(out->key, &opener, out->d + 1, &out->capsule.u, &out->context);
}

static inline const struct capsule_seed *capsule_seed(uint8_t number)
{
    static struct capsule_seed seeds[SEED_CAPSULES];
    struct capsule_seed *seed = &seeds[number % SEED_CAPSULES];
    if (!seed->capsule.epoch) capsule_seed_make(seed, number % SEED_CAPSULES);
    return seed;
}

#endif
