/* A node's keys from its one seed, and the ids of keys. */
#ifndef CRYPTO_KEYS_H
#define CRYPTO_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "crypto/seal.h"
#include "crypto/sign.h"

#define NODE_SEED_SIZE 32

/* Lives in secret_alloc memory. */
struct node_secrets {
    struct sign_secret message; /* messages and node operations */
    struct sign_secret cosign;  /* cosignatures of checkpoints, nothing else */
    struct seal_secret seal;    /* opens sub-shares sent to this node */
};
struct node_public {
    struct sign_public message, cosign;
    struct seal_public seal;
};

/* HKDF-SHA-256 of the seed, without salt, info "consilium/node/message/v1",
 * "consilium/node/cosign/v1" and "consilium/node/seal/v1", 32 bytes each: a
 * seed of each pair (RFC 8032 for Ed25519; the X25519 secret is
 * SHA-512(seed)[:32], libsodium's crypto_box_seed_keypair). */
void node_keys_derive(struct node_secrets *secrets, struct node_public *public_keys,
                      const uint8_t seed[static NODE_SEED_SIZE]);

/* The id of a node, and of a first administrator: SHA-256(message key)[:16]. */
struct id id_of_key(const struct sign_public *key);

/* One of a user's several keys: SHA-256(public key)[:8]. */
struct key_id {
    uint8_t bytes[8];
};
struct key_id key_id_of(const struct sign_public *key);
bool key_id_equal(const struct key_id *a, const struct key_id *b);

#endif
