/* Alarms: what nodes say, in the ledger, of nodes that can't be trusted now.
 *
 * A node that finds something wrong (its own store damaged, a peer that signed two
 * things that contradict each other, a state that differs) raises node.alarm. While
 * a row is open, every client is warned. Rows close when all nodes that said so take it
 * back, or by an administrator's alarm.clear; what a signature
 * proves (ALARM_FORKED) only by the latter.
 *
 * What a node says of another is its word, and b nodes may lie. So an alarm *counts*
 * (alarm_counts) only where
 *   - signatures prove it: ALARM_FORKED carries the evidence in its leaf, and every node
 *     verifies that before it approves (an attachment could be erased; a leaf can't);
 *   - the named node says so itself; or
 *   - b + 1 members say so, of whom one at least is honest: others join an open row until it counts.
 * Until then it is an accusation: shown and told to people as one node's word, and no more. So one liar
 * can't make an honest node COMPROMISED, avoided, or its rows distrusted.
 *
 * Telling people outside (mail, webhook) happens once in the whole cluster: a node
 * claims an alarm (alarm.tell, step 1) that is open, or was repaired within ALARM_AGAIN_MS and not raised
 * anew: damage that is found and repaired within a second is somebody's doing all the same. It sends, and says
 * so (step 2). Nothing that a
 * node could show proves that it sent: a mail server's answer is as easily made up as the word itself, and b + 1
 * senders would be b + 1 mails, for each alarm and with nobody lying. So a liar that has its turn can keep that
 * mail back; what the rules see to is that it has no more than its turn:
 *   - The order of senders follows from the alarm's facts (alarm_turn_ms). Nobody volunteers, and no leader can
 *     choose it by the time or place of a leaf, as it could the leaf's hash.
 *   - Each may claim from its turn on: ALARM_TURN_MS after the one before. A claim that is not told within
 *     ALARM_CLAIM_MS is over, and the order goes on behind its sender, who is then the last.
 *   - What is still open ALARM_AGAIN_MS after it was told is told again, by the next in that order. So b liars
 *     keep an alarm from people for b days at most, and a day only with the luck of their turn; meanwhile it
 *     stands in the ledger with who says to have told whom, and every client shows it.
 *   - The named node tells of itself only ALARM_SELF_MS later, when no other did (it may be the only one with
 *     settings), and that it told keeps nobody else from telling. Of what is proved, it never does. Between two claims
 *     of its own others have at least that long.
 *   - A telling names the ways that worked. What it lacks is claimed by itself (a claim with ways: of the rest) by who
 *     can send by them: first by who told, whose turn it is alone for ALARM_CLAIM_MS, then by the others in their
 *     order. What it tells is added to that telling, which stays when and whose it was. So a sender that sent by one
 *     way and died leaves the other one to the next.
 *
 * All of it is replicated state and follows from the leaves alone. Same kind, node
 * and first index within ALARM_AGAIN_MS of the last telling: not told again.
 */
#ifndef LEDGER_ALARM_H
#define LEDGER_ALARM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/table.h"

#define ALARM_LIST(X)                                                                              \
    X(ALARM_MODIFIED, 1, "modified", "stored data is not what the ledger proves")                  \
    X(ALARM_DELETED, 2, "deleted", "stored data that the ledger proves is gone")                   \
    X(ALARM_FORKED, 3, "forked", "it signed two things that contradict each other")                \
    X(ALARM_ROLLED_BACK, 4, "rolled back", "its disk is older than what it has signed")

enum alarm_kind {
#define X(name, number, text, meaning) name = number,
    ALARM_LIST(X)
#undef X
};
const char *alarm_kind_text(enum alarm_kind kind);    /* "modified" */
const char *alarm_kind_meaning(enum alarm_kind kind); /* a clause for people */
/* What first and last count, for people: "index" (of an entry), "Raft index" (no entry has that number). */
const char *alarm_kind_place(enum alarm_kind kind);
bool alarm_kind_parse(enum alarm_kind *out, const char *text); /* "modified"; false: no such kind */

enum alarm_status { ALARM_OPEN = 1, ALARM_REPAIRED = 2, ALARM_CLEARED = 3 };
enum alarm_step { ALARM_CLAIM = 1, ALARM_TOLD = 2 };

#define ALARM_CLAIM_MS (2 * 60 * 1000)            /* ledger time: so long a sender has */
#define ALARM_TURN_MS 5000                        /* ledger time: between two members' turns to claim */
#define ALARM_SELF_MS (10 * 60 * 1000)            /* ledger time: from the first turn to the named node's own */
#define ALARM_AGAIN_MS (24ull * 60 * 60 * 1000)   /* ledger time: between two tellings of the same */
#define ALARM_OPEN_MOST 64                        /* open rows per node that says so */

enum alarm_way { ALARM_BY_MAIL = 1, ALARM_BY_HOOK = 2, ALARM_WAYS = 3 }; /* bits */

struct alarm {
    uint64_t index;          /* leaf of node.alarm; what alarm.tell and alarm.clear name */
    enum alarm_kind kind;
    unsigned named, raiser;  /* member indexes, from 1; the raiser is one of those who say so */
    uint32_t saying;         /* who says so: bit i = member i; of a closed one: who did to the last */
    uint64_t first, last;    /* leaf indexes, or sizes, or Raft indexes of the evidence */
    uint64_t since_ms;       /* ledger time of the leaf */
    enum alarm_status status;
    uint64_t closed;         /* leaf that closed it; 0: open */
    unsigned claimed_by;     /* 0: nobody */
    uint64_t claimed_ms;
    uint64_t told;           /* leaf of the last alarm.tell step 2; 0: not told */
    uint64_t told_ms;
    unsigned told_by;        /* 0: not told */
    unsigned told_ways;      /* enum alarm_way; those of the rest may be another's */
};

/* Whether that many words are more than what liars could say. `saying` may be of several rows about that node. */
bool alarm_counts(enum alarm_kind kind, unsigned named, uint32_t saying, unsigned faulty);
static inline bool alarm_says(const struct alarm *a, unsigned member) { return a->saying >> member & 1; }

/* Table alarm: index(8) -> row. ERR_NOT_FOUND, ERR_CORRUPT, or the store's error. */
enum err state_alarm_get(struct alarm *out, struct table_txn *txn, uint64_t index);

bool alarm_is_claimed(const struct alarm *a, uint64_t time_ms); /* a claim still holds */
/* Of it or one of its key, within ALARM_AGAIN_MS, as far as `member` is to rely on it: not on who is named. */
bool alarm_was_told(const struct alarm *a, unsigned member, uint64_t time_ms);
/* The ledger time from which `member` of `members` may claim it, once no claim holds; UINT64_MAX: never.
 * `cluster`: the genesis' SHA-256. */
uint64_t alarm_turn_ms(const struct alarm *a, unsigned member, unsigned members, const struct digest *cluster);
/* The same, of a claim of what the last telling lacks; UINT64_MAX also where that is none that counts for `member`. */
uint64_t alarm_rest_turn_ms(const struct alarm *a, unsigned member, unsigned members, const struct digest *cluster);
/* The last claim, which may have run out, is one of what the telling before it lacks. */
bool alarm_claims_rest(const struct alarm *a);

/* Open rows, oldest first, at most `most` (ALARMS_OPEN_MOST: all); *count of them. */
#define ALARMS_OPEN_MOST (ALARM_OPEN_MOST * LIMIT_NODES)
enum err state_alarms_open(struct alarm *out, size_t *count, struct table_txn *txn, size_t most);
/* All rows with an index below `before`, newest first. */
enum err state_alarms_page(struct alarm *out, size_t *count, struct table_txn *txn, uint64_t before, size_t most);
/* The latest row of that key, open or closed. ERR_NOT_FOUND: never raised. */
enum err state_alarm_last(struct alarm *out, struct table_txn *txn, enum alarm_kind kind, unsigned named,
                          uint64_t first);

/* --- for the rules --- */

enum err state_alarms_said(uint32_t *count, struct table_txn *txn, unsigned member); /* open rows that it says */
enum err state_alarm_put(struct table_txn *txn, const struct alarm *a);      /* the row, and that it is open or not */
enum err state_alarm_put_last(struct table_txn *txn, const struct alarm *a); /* it is its key's latest one */

#endif
