/* Who I am: a private key in a file, sealed by a passphrase, and the user id.
 *
 * The file is that of crypto/passphrase.h; a line "consilium-user ID" may stand
 * before it. Without that line the id is SHA-256(public key)[:16], which is
 * how first administrators and users created with a key are named; the line is
 * needed where the id was there before the key (a patient's first key).
 */
#ifndef CLI_SIGNER_H
#define CLI_SIGNER_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/keys.h"
#include "crypto/passphrase.h"
#include "crypto/sign.h"
#include "ledger/operation.h"

struct signer_secrets {
    struct sign_secret sign;
    uint8_t tag_key[32]; /* for content tags and derived record ids: HKDF(seed, "consilium/tag-key/v1") */
};

struct signer {
    struct id user;
    bool user_written; /* the id stands in the file, instead of being derived */
    struct sign_public public_key;
    struct key_id key_id;
    struct key_file file;
    struct signer_secrets *secrets; /* secret memory; NULL while locked */
};

/* Reads the file, which stays locked. ERR_NO_KEY: there is none, or not of this kind (exit 4). */
enum err signer_read(struct signer *out, const char *path, struct failure *failure);
/* ERR_PASSPHRASE. */
enum err signer_unlock(struct signer *signer, struct bytes passphrase, struct failure *failure);
/* With the first of: no passphrase (a file made with --no-passphrase), the file
 * `passphrase_file` (its first line), the terminal. ERR_NO_KEY where none can be had. */
enum err signer_open(struct signer *signer, const char *path, const char *passphrase_file,
                     struct failure *failure);
/* The first line of a passphrase file; wiped by the caller. ERR_NO_KEY: it can't be read, or is empty. */
enum err passphrase_read(struct buffer *out, const char *path, struct failure *failure);
void signer_close(struct signer *signer); /* wipes */

/* Makes a new key and writes it, never over a file; mode 0600. An empty
 * passphrase makes a file that opens without one. `user` may be NULL. */
enum err signer_create(const char *path, struct bytes passphrase, const struct id *user,
                       struct sign_public *public_key, struct failure *failure);
/* Writes the id that belongs to the key into the file. */
enum err signer_assign(const char *path, const struct id *user, struct failure *failure);

struct actor signer_actor(const struct signer *signer);

/* "consilium-public BASE64", as `key public` prints it, or just 64 hex digits or
 * the base64; the text itself. ERR_INVALID. */
void public_key_format(struct buffer *out, const struct sign_public *key);
enum err public_key_parse(struct sign_public *out, struct bytes text, struct failure *failure);
/* A file with one, an identity file, or the text itself. */
enum err public_key_read(struct sign_public *out, const char *file_or_text, struct failure *failure);

#endif
