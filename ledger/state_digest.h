/* The state digest: one digest per table over a node's whole replicated state, so
 * that nodes can be compared without anybody asking for the row that differs.
 *
 * Canonical form (ledger/FORMAT.md, "State digest"): for each replicated table but
 * `attachment`, in ascending order of numbers, that has rows:
 *   table digest = SHA-256(number(1) || for each row in the order of its key:
 *                          be64 size of key || key || be64 size of value || value)
 * with keys and values as ledger/tables.h has them, unsealed; and of all together
 *   digest = SHA-256("consilium/state/v1\n" || for each of these tables: number(1) || be64 rows || table digest)
 * Tables without rows are left out, so that a program that knows more tables makes
 * the same digest. Attachments are left out: they may be erased, or not here yet,
 * on nodes that are all right, and their hashes stand in the leaves.
 *
 * The digest is of the state after `size` leaves, where `size` is the end of the
 * block that holds the leaf which asked for it (state.digest or node.digest): a
 * block is applied in one transaction, and where in it that leaf stands must not
 * matter; a leader can put others behind it. All nodes have the same blocks.
 *
 * A scan comes in two parts. Tables whose rows change need the state exactly as it
 * was: one read transaction, held for that part. Tables whose rows never change once
 * they are there, with the leaf's index in the key, are read in short transactions of
 * any later state, leaving out rows of leaves from `size` on. Rows of leaves that
 * even that later state doesn't have count: nobody but a forger put them there.
 */
#ifndef LEDGER_STATE_DIGEST_H
#define LEDGER_STATE_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

struct genesis;
struct unpack;

#define STATE_DIGEST_TABLES TABLE_COUNT_MAX
#define STATE_DIGEST_GAP_MS 10000 /* ledger time: a node.digest comes so long after the last digest, at least */

struct table_digest {
    uint8_t table; /* number, ledger/tables.h */
    uint64_t rows; /* at least 1 */
    struct digest digest;
};
struct state_digest {
    uint32_t count;
    struct table_digest tables[STATE_DIGEST_TABLES]; /* ascending */
};
/* Of all tables together. */
struct digest state_digest_whole(const struct state_digest *digest);

/* --- scanning --- */

enum state_part {
    STATE_CHANGING, /* tables whose rows change, or go */
    STATE_GROWING,  /* tables that only get rows of new leaves */
};
enum state_part state_part_of(uint8_t table);

/* One part of a state being read; no memory of its own. */
struct state_scan {
    enum state_part part;
    uint64_t size;
    bool done;
    uint64_t bytes; /* of keys and values read so far */
    /* where it stands */
    uint8_t table;
    uint16_t key_size;
    uint8_t key[TABLE_KEY_MAX];
    uint64_t rows;
    struct hash hash;
};
void state_scan_start(struct state_scan *scan, enum state_part part, uint64_t size);
/* Reads on until about `bytes` more are read, or to the end (scan->done), and puts tables
 * that are complete into `out` (zeroed before the first part begins). STATE_CHANGING: each call
 * with a transaction of the same state. ERR_CORRUPT: a value doesn't open; scan->table says of which
 * table; else the store's error. The scan is of no use after an error. */
enum err state_scan_step(struct state_scan *scan, struct state_digest *out, struct table_txn *txn, uint64_t bytes);

/* All of it in one transaction; `size` = the leaves that it holds. */
enum err state_digest_now(struct state_digest *out, struct table_txn *txn);

/* --- what a node says --- */

/* X(NAME, number, "why there is no digest") */
#define STATE_OUTCOMES(X)                                                                          \
    X(STATE_COMPUTED, 0, "computed")                                                               \
    X(STATE_BUSY, 1, "not computed: an earlier one was still being computed")                      \
    X(STATE_NO_SPACE, 2, "not computed: too little space on the node's device")                    \
    X(STATE_TOO_LONG, 3, "not computed: it took too long")                                         \
    X(STATE_UNREADABLE, 4, "not computed: a stored row can't be read")                             \
    X(STATE_FAILED, 5, "not computed: the node's store failed")

enum state_outcome {
#define X(name, number, text) name = number,
    STATE_OUTCOMES(X)
#undef X
};
const char *state_outcome_text(enum state_outcome outcome);

/* One node's word, under its message key: Ed25519 over "consilium/state-digest/v1\n" || cluster(32) ||
 * be64 leaf || be64 size || outcome(1) || state_digest_whole (32 zero bytes when there is none). */
struct state_statement {
    uint32_t member; /* who says it, from 1 */
    uint64_t leaf;   /* that asked for it */
    uint64_t size;   /* leaves of the state */
    enum state_outcome outcome;
    struct state_digest digest; /* STATE_COMPUTED only, else no tables */
    struct signature signature;
};
/* An encoded one has at most LIMIT_STATEMENT bytes. */
void state_statement_sign(struct state_statement *s, const struct genesis *genesis, const struct sign_secret *key);
/* OK, or ERR_BAD_SIGNATURE: also when the cluster has no such member. */
enum err state_statement_verify(const struct state_statement *s, const struct genesis *genesis);
/* [1, member, leaf, size, outcome, [[table, rows, digest] ...], signature(64)] */
void state_statement_encode(struct buffer *out, const struct state_statement *s);
/* Strict: what it takes, the encoder gives back. Errors of base/pack.h. The signature is not checked. */
enum err state_statement_decode(struct state_statement *out, struct bytes in);

/* --- comparing --- */

/* What nodes said of one leaf. */
struct state_comparison {
    unsigned computed; /* members that stated a digest */
    unsigned equal;    /* the most that stated the same one */
    unsigned rival;    /* the most that stated the same one of all others */
    unsigned silent;   /* members that said nothing so far, not even why */
    bool agreed;       /* `equal` is at least k */
    unsigned model;    /* a member of the `equal`; 0: nobody stated any */
    uint32_t same, other; /* bit i = member i: stated that one; stated another */
};
/* statements[1 .. n], NULL: said nothing; all of one leaf, verified. */
void state_compare(struct state_comparison *out, const struct state_statement *const *statements, unsigned n,
                   unsigned k);
/* Which state is right. At most b nodes lie or are damaged, so of b + 1 that state one value one is honest and well,
 * and its value is the right one: enough to name who states another, and to know so of oneself. Where b is 0, k
 * decide, of whom there are no two groups. Two groups of b + 1 each: more than b are at fault, and nobody can say
 * which; then nothing is decided, so that liars who copy what one damaged node states can't have the others
 * quarantined. */
bool state_decided(const struct state_comparison *c, unsigned k, unsigned b);
/* Whether what the silent could still say changes nothing of that. */
bool state_settled(const struct state_comparison *c, unsigned k, unsigned b);
/* Whether two statements are of the same state. */
bool state_statement_same(const struct state_statement *a, const struct state_statement *b);
/* Appends the names of the tables that differ, "user, team"; "size" when they are of different leaves. */
void state_differences(struct buffer *out, const struct state_statement *a, const struct state_statement *b);

#endif
