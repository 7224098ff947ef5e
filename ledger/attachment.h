/* Attachments: what must be erasable travels and is stored beside the leaf.
 *
 *   [salt(16), bytes]      hash = SHA-256(salt || bytes)
 *
 * The leaf holds the hash only. The salt keeps a short text from being guessed
 * from its hash after it was erased. Any thread. */
#ifndef LEDGER_ATTACHMENT_H
#define LEDGER_ATTACHMENT_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"

#define ATTACHMENT_SALT 16
#define ATTACHMENT_OVERHEAD 32 /* at most, around the bytes */

struct attachment {
    uint8_t salt[ATTACHMENT_SALT];
    struct bytes content; /* a view; at most LIMIT_ATTACHMENT - ATTACHMENT_OVERHEAD bytes */
};
/* The salt comes from the caller: random_bytes, or in tests anything. */
void attachment_encode(struct buffer *out, const uint8_t salt[static ATTACHMENT_SALT], struct bytes content);
enum err attachment_decode(struct attachment *out, struct bytes in); /* ERR_TOO_LARGE, errors of base/pack.h */
struct digest attachment_hash(const uint8_t salt[static ATTACHMENT_SALT], struct bytes content);
/* Decodes and compares: ERR_ATTACHMENT when it is not well-formed or the hash differs. */
enum err attachment_check(struct attachment *out, struct bytes in, const struct digest *hash);

/* --- the bytes, by kind (ledger/action.h says which action has which) --- */

struct person {
    /* UTF-8, each at most LIMIT_PERSON_TEXT; empty when not given */
    struct bytes login, name, address, designation, hospital_number;
};
void person_encode(struct buffer *out, const struct person *person);
enum err person_decode(struct person *out, struct bytes in);

struct content {
    struct bytes capsule;    /* crypto/tdh2.h, 1 .. LIMIT_CAPSULE */
    struct bytes ciphertext; /* crypto/aead.h: plaintext + 16, at most LIMIT_RECORD + 16 */
};
void content_encode(struct buffer *out, const struct content *content);
/* Shape only: the capsule's points and proof are checked with tdh2_capsule_verify.
 * ERR_RECORD_TOO_LARGE above the limit. */
enum err content_decode(struct content *out, struct bytes in);

/* OK for UTF-8 text (pack.h's rules) of at most LIMIT_NOTE bytes; ERR_TOO_LARGE, ERR_MALFORMED. */
enum err note_check(struct bytes text);

#endif
