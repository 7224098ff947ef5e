/* Checkpoints: C2SP tlog-checkpoint, signed-note and cosignature/v1.
 * https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note, https://c2sp.org/tlog-cosignature
 *
 *   consilium/north-region/0123456789abcdef       origin: genesis.checkpoint_origin
 *   42                                            size, decimal
 *   base64(root)
 *                                                 (an empty line, then a line per cosigner)
 *   U+2014 consilium/north-region/mercy base64(key id(4) || time_s (8, big-endian) || Ed25519 signature(64))
 *
 * Key id = SHA-256(name || 0x0A || 0x04 || key)[:4]. A cosignature signs
 * "cosignature/v1\ntime " || decimal time_s || "\n" || the text above the empty line.
 * Names are `<genesis origin>/<node name>`. There is no log key: k cosignatures
 * of the epoch's nodes make a checkpoint. Any thread. */
#ifndef LEDGER_CHECKPOINT_H
#define LEDGER_CHECKPOINT_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "crypto/sign.h"
#include "ledger/genesis.h"

#define LIMIT_NOTE_LINES 32 /* signature lines that are read */
#define COSIGNER_NAME_SIZE (LIMIT_ORIGIN + 1 + LIMIT_NAME + 1)
#define CHECKPOINT_BODY_MAX (LIMIT_ORIGIN + 1 + 16 + 1 + 20 + 1 + 44 + 1)

struct checkpoint {
    char origin[LIMIT_ORIGIN + 1 + 16 + 1];
    uint64_t size;
    struct digest root;
};
void checkpoint_set(struct checkpoint *out, const struct genesis *genesis, uint64_t size, const struct digest *root);
/* The three lines that are signed; appends. */
void checkpoint_body(struct buffer *out, const struct checkpoint *checkpoint);

/* A key that may cosign. */
struct cosigner {
    char name[COSIGNER_NAME_SIZE];
    struct sign_public key;
    uint8_t key_id[4];
};
/* Computes the key id. `name` is valid: no spaces, no plus, not empty (CHECK). */
void cosigner_set(struct cosigner *out, const char *name, const struct sign_public *key);
/* A member of the genesis, index 1 .. n. */
void cosigner_of_member(struct cosigner *out, const struct genesis *genesis, uint32_t index);
/* All n of them, in order; the count. */
uint32_t cosigners_of_genesis(struct cosigner out[static LIMIT_NODES], const struct genesis *genesis);
/* The C2SP verifier key: name+hex(key id)+base64(0x04 || key). */
void cosigner_vkey(struct buffer *out, const struct cosigner *cosigner);
/* Strict: ERR_SYNTAX; a key id that is not the key's, or another type: ERR_INVALID. */
enum err cosigner_parse(struct cosigner *out, struct bytes vkey);

struct cosignature {
    uint64_t time_s; /* POSIX time; not 0 */
    struct signature signature;
};
void checkpoint_cosign(struct cosignature *out, const struct checkpoint *checkpoint, uint64_t time_s,
                       const struct sign_secret *secret);
enum err checkpoint_cosignature_verify(const struct cosignature *cosignature, const struct checkpoint *checkpoint,
                                       const struct sign_public *key); /* OK or ERR_BAD_SIGNATURE */

/* A whole note. `cosignatures[i]` is of `cosigners[i]`; those with time_s 0 are left out. */
void checkpoint_format(struct buffer *out, const struct checkpoint *checkpoint, const struct cosigner *cosigners,
                       const struct cosignature *cosignatures, uint32_t count);

/* A parsed note: views into the text. */
struct note_line {
    struct bytes name;
    struct bytes encoded; /* base64 of key id and payload */
    uint8_t key_id[4];
    bool is_cosignature; /* the payload has the size of one; anything else may follow an unknown key id */
    struct cosignature cosignature;
};
struct note {
    struct checkpoint checkpoint;
    struct bytes body; /* the text that is signed, up to and with its last "\n" */
    uint32_t count;
    struct note_line lines[LIMIT_NOTE_LINES];
};
/* Strict. Text after the root ("extension lines" of C2SP) is refused: our nodes
 * make none, and unknown content must not be cosigned. ERR_CHECKPOINT, or
 * ERR_TOO_LARGE above LIMIT_CHECKPOINT_NOTE or LIMIT_NOTE_LINES. */
enum err note_parse(struct note *out, struct bytes text);

/* Which of the cosigners have a valid cosignature: bit i = cosigners[i]. Lines
 * with an unknown name or key id are ignored. ERR_CHECKPOINT: another origin than
 * expected, a cosigner twice, or a known cosigner's line that does not verify.
 * ERR_TOO_FEW_COSIGNATURES: fewer than k; `valid` (may be NULL) is set all the same. */
enum err note_verify(uint32_t *valid, const struct note *note, const char *origin, const struct cosigner *cosigners,
                     uint32_t count, uint32_t k);
/* The same for the members of a genesis with its origin and k; parses first. The
 * checkpoint is set only when it is OK. What clients and catching-up nodes call. */
enum err checkpoint_verify(struct checkpoint *out, struct bytes text, const struct genesis *genesis);
/* For people: why checkpoint_verify refuses this text, in a clause without a period. Quotes what somebody sent. */
#define CHECKPOINT_WHY 240
void checkpoint_explain(char out[static CHECKPOINT_WHY], struct bytes text, const struct genesis *genesis);

#endif
