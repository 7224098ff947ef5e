#include "crypto/keys.h"

#include <string.h>

#include "crypto/hash.h"
#include "crypto/secret.h"

static void derive(uint8_t out[static 32], const uint8_t seed[static NODE_SEED_SIZE], const char *info)
{
    hkdf_sha256(out, 32, bytes_of(seed, NODE_SEED_SIZE), (struct bytes){0}, bytes_text(info));
}

void node_keys_derive(struct node_secrets *secrets, struct node_public *public_keys,
                      const uint8_t seed[static NODE_SEED_SIZE])
{
    uint8_t own[32];
    derive(own, seed, "consilium/node/message/v1");
    sign_keypair(&secrets->message, &public_keys->message, own);
    derive(own, seed, "consilium/node/cosign/v1");
    sign_keypair(&secrets->cosign, &public_keys->cosign, own);
    derive(own, seed, "consilium/node/seal/v1");
    seal_keypair_from_seed(&secrets->seal, &public_keys->seal, own);
    secret_wipe(own, sizeof own);
}

struct id id_of_key(const struct sign_public *key)
{
    struct digest digest;
    struct id id = {{0}};
    hash_sha256(&digest, key->bytes, sizeof key->bytes);
    memcpy(id.bytes, digest.bytes, sizeof id.bytes);
    return id;
}

struct key_id key_id_of(const struct sign_public *key)
{
    struct digest digest;
    struct key_id id = {{0}};
    hash_sha256(&digest, key->bytes, sizeof key->bytes);
    memcpy(id.bytes, digest.bytes, sizeof id.bytes);
    return id;
}

bool key_id_equal(const struct key_id *a, const struct key_id *b) { return memcmp(a, b, sizeof *a) == 0; }
