/* A private key in a file, sealed by a passphrase; tags of login names.
 *
 * The file is text, one field a line, in this order:
 *
 *   consilium-key 1
 *   public BASE64            Ed25519 public key, readable without the passphrase
 *   argon2id MEMORY PASSES   memory in KiB
 *   salt BASE64              16 bytes
 *   sealed BASE64            nonce(24) || XChaCha20-Poly1305 of the 32-byte seed || tag
 *
 * The sealing key is Argon2id (RFC 9106, one lane) of the passphrase; all lines
 * above `sealed` are the additional data, so none can be changed. Reading the
 * file is the caller's; any thread. */
#ifndef CRYPTO_PASSPHRASE_H
#define CRYPTO_PASSPHRASE_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/seal.h"
#include "crypto/sign.h"

struct passphrase_cost {
    uint32_t memory_kib; /* 8 .. 1 GiB */
    uint32_t passes;     /* 1 .. 16; passes * memory at most 4 GiB, about 10 s */
};
extern const struct passphrase_cost PASSPHRASE_COST_DEFAULT; /* 64 MiB, 2 passes: about 0.1 s */
extern const struct passphrase_cost PASSPHRASE_COST_LEAST;   /* for tests and for random passphrases */

#define LIMIT_KEY_FILE 1024 /* bytes of a key file */

/* A parsed file: nothing secret in it. */
struct key_file {
    struct sign_public public_key;
    struct passphrase_cost cost;
    uint8_t salt[16];
    uint8_t sealed[SIGN_SEED_SIZE + SEAL_OVERHEAD];
};

/* Seals the seed under the passphrase with a new salt. ERR_INVALID: a cost out
 * of bounds; ERR_NOMEM: not memory_kib of memory. */
enum err key_file_seal(struct key_file *out, const uint8_t seed[static SIGN_SEED_SIZE],
                       struct bytes passphrase, struct passphrase_cost cost);
/* ERR_PASSPHRASE (also when the file was altered, which cannot be told apart),
 * ERR_NOMEM. The caller wipes the seed. */
enum err key_file_open(uint8_t seed[static SIGN_SEED_SIZE], const struct key_file *file,
                       struct bytes passphrase);

enum err key_file_format(struct buffer *out, const struct key_file *file); /* ERR_TOO_LARGE: the buffer's limit */
/* Exactly what key_file_format writes. ERR_SYNTAX, ERR_VERSION, ERR_TOO_LARGE
 * (a cost beyond the limits above: a file must not make its reader allocate
 * 100 GiB); `failure` (may be NULL) says which line. */
enum err key_file_parse(struct key_file *out, struct bytes text, struct failure *failure);

/* Argon2id with fixed cost (64 MiB, 2 passes): slow on purpose, so that a
 * list of names can't be tried quickly. A login name's tag is this over the
 * folded name with the first 16 bytes of the cluster id. ERR_NOMEM. */
enum err argon2id_tag(uint8_t out[static 32], struct bytes text, const uint8_t salt[static 16]);

#endif
