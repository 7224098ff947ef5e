/* Evidence: two signed statements of one node that no honest node makes both of.
 *
 * It needs nothing but the genesis file to be checked: the member's keys stand there,
 * each statement names the cluster, and the two contradict each other on their face.
 *
 *   evidence   [1, cluster(32), signer, first, second]     canonical msgpack; signer: member index
 *   statement  [1, term, index, hash(32), signature(64)]              a block of its own (ledger/block.h)
 *              [2, term, index, hash(32), signature(64)]              a commit, in its own term (consensus/entry.h)
 *              [3, term, index, size, root(32), signature(64)]        its root after a block (TELL)
 *              [4, size, root(32), time_s, signature(64)]             a cosignature (C2SP cosignature/v1)
 *
 * 1 to 3 are signed with the message key, each over its own tag, the cluster and the
 * fields (integers be64); 4 with the cosigning key. `first` is the one whose
 * encoding is lower, byte by byte, so that one pair has one encoding (and one id, the SHA-256 of it).
 *
 * What contradicts what (anything else proves nothing):
 *   1 and 1   two blocks for one (term, index)
 *   2 and 2   two commits for one (term, index)
 *   1 and 2   a commit of another block than the one that it made, for one (term, index)
 *   3 and 3   two sizes or roots after one (term, index)
 *   4 and 4   two roots of one size
 * Two told roots of one size after different (term, index) are left out with care: a node that a
 * leader deceived tells the truth again after it was rebuilt. A cosignature is never taken back.
 *
 * As a file: lines for people, which are not read, then the encoding in base64 between
 * -----BEGIN CONSILIUM EVIDENCE----- and -----END CONSILIUM EVIDENCE-----.
 * Pure; any thread. */
#ifndef LEDGER_EVIDENCE_H
#define LEDGER_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/sign.h"
#include "ledger/genesis.h"

#define EVIDENCE_SIZE 512        /* no encoding is longer */
#define EVIDENCE_TEXT (4 * 1024) /* no file is longer */

enum statement_kind { STATEMENT_BLOCK = 1, STATEMENT_COMMIT = 2, STATEMENT_TELL = 3, STATEMENT_COSIGNED = 4 };

struct statement {
    enum statement_kind kind;
    uint64_t term, index; /* Raft's; 0 of a cosignature */
    uint64_t size;        /* leaves; 0 of a block and a commit */
    uint64_t time_s;      /* of a cosignature; else 0 */
    struct digest hash;   /* of the block, or the root */
    struct signature signature;
};
/* Signs with the message key; not a cosignature (checkpoint_cosign). */
void evidence_statement_sign(struct statement *s, const struct digest *cluster, const struct sign_secret *message_key);
/* OK, ERR_BAD_SIGNATURE, or ERR_INVALID: no such member. */
enum err evidence_statement_verify(const struct statement *s, const struct genesis *genesis, unsigned signer);
bool evidence_contradict(const struct statement *a, const struct statement *b);

#define EVIDENCE_LIST(X)                                                                           \
    X(EVIDENCE_BLOCKS, 1, "two blocks", "signed two different blocks for one term and index")      \
    X(EVIDENCE_COMMITS, 2, "two commits", "stated two different commits for one term and index")   \
    X(EVIDENCE_OTHER_COMMIT, 3, "another commit", "stated the commit of another block than the one it signed") \
    X(EVIDENCE_ROOTS, 4, "two roots", "told two different roots after one term and index")         \
    X(EVIDENCE_CHECKPOINTS, 5, "two checkpoints", "co-signed two different roots of one size")

enum evidence_kind {
#define X(name, number, text, meaning) name = number,
    EVIDENCE_LIST(X)
#undef X
};
const char *evidence_kind_text(enum evidence_kind kind);    /* "two blocks" */
const char *evidence_kind_meaning(enum evidence_kind kind); /* a clause: "signed two ..." */

struct evidence {
    struct digest cluster;
    unsigned signer; /* member index, from 1 */
    struct statement first, second;
};
/* Orders and verifies. OK, or as evidence_verify. */
enum err evidence_make(struct evidence *out, const struct genesis *genesis, unsigned signer, const struct statement *a,
                       const struct statement *b);
/* Whether it proves to anyone who has this genesis that its signer lied. ERR_OTHER_CLUSTER; ERR_INVALID: no such
 * member, or the two don't contradict each other; ERR_BAD_SIGNATURE. */
enum err evidence_verify(const struct evidence *e, const struct genesis *genesis);
enum evidence_kind evidence_kind(const struct evidence *e); /* of one that contradicts itself */
uint64_t evidence_place(const struct evidence *e); /* the Raft index, or the size of checkpoints */

void evidence_encode(struct buffer *out, const struct evidence *e); /* appends */
/* Strict. ERR_VERSION, ERR_MALFORMED, ERR_NOT_CANONICAL (also: in the wrong order) and the like. */
enum err evidence_decode(struct evidence *out, struct bytes in);
/* Decodes and verifies. */
enum err evidence_open(struct evidence *out, struct bytes in, const struct genesis *genesis);
void evidence_id(struct digest *out, struct bytes encoded);

/* The file: what it says in words, with the member's name, then the encoding. Appends. */
void evidence_format(struct buffer *out, const struct evidence *e, const struct genesis *genesis);
/* The lines for people alone. */
void evidence_explain(struct buffer *out, const struct evidence *e, const struct genesis *genesis);
/* Appends the encoding in a file. ERR_SYNTAX, ERR_TOO_LARGE. */
enum err evidence_parse(struct buffer *encoded, struct bytes text);

#endif
