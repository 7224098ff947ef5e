/* Alarms: what nodes say, in the ledger, of nodes that can't be trusted now.
 *
 * A node that finds something wrong (its own store damaged, a peer that signed two
 * things that contradict each other, a state that differs) raises node.alarm. While
 * a row is open, every client is warned. Rows close when the node that raised one
 * says that it is repaired, or by an administrator's alarm.clear; what a signature
 * proves (ALARM_FORKED) only by the latter.
 * Telling people outside (mail, webhook) happens once in the whole cluster: a node
 * claims an open alarm (alarm.tell, step 1), sends, and says so (step 2); a claim
 * that is older than ALARM_CLAIM_MS and not told may be claimed by another node.
 *
 * All of it is replicated state and follows from the leaves alone. Same kind, node
 * and first index within ALARM_AGAIN_MS of the last telling: not told again.
 */
#ifndef LEDGER_ALARM_H
#define LEDGER_ALARM_H

#include <stdbool.h>
#include <stdint.h>

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
bool alarm_kind_parse(enum alarm_kind *out, const char *text); /* "modified"; false: no such kind */

enum alarm_status { ALARM_OPEN = 1, ALARM_REPAIRED = 2, ALARM_CLEARED = 3 };
enum alarm_step { ALARM_CLAIM = 1, ALARM_TOLD = 2 };

#define ALARM_CLAIM_MS (2 * 60 * 1000)            /* ledger time: so long a sender has */
#define ALARM_AGAIN_MS (24ull * 60 * 60 * 1000)   /* ledger time: between two tellings of the same */
#define ALARM_OPEN_MOST 64                        /* open rows per node that raises */

struct alarm {
    uint64_t index;          /* leaf of node.alarm; what alarm.tell and alarm.clear name */
    enum alarm_kind kind;
    unsigned named, raiser;  /* member indexes, from 1 */
    uint64_t first, last;    /* leaf indexes, or sizes, or Raft indexes of the evidence */
    uint64_t since_ms;       /* ledger time of the leaf */
    enum alarm_status status;
    uint64_t closed;         /* leaf that closed it; 0: open */
    unsigned claimed_by;     /* 0: nobody */
    uint64_t claimed_ms;
    uint64_t told;           /* leaf of the last alarm.tell step 2; 0: not told */
    uint64_t told_ms;
};

/* Table alarm: index(8) -> row. ERR_NOT_FOUND, ERR_CORRUPT, or the store's error. */
enum err state_alarm_get(struct alarm *out, struct table_txn *txn, uint64_t index);
/* Whether people are to be told of it at `time_ms` and nobody has a claim that still holds. */
bool alarm_is_untold(const struct alarm *a, uint64_t time_ms);

bool alarm_is_claimed(const struct alarm *a, uint64_t time_ms); /* a claim still holds */
bool alarm_was_told(const struct alarm *a, uint64_t time_ms);   /* of it or one of its key, within ALARM_AGAIN_MS */

/* Open rows, oldest first, at most `most` (ALARMS_OPEN_MOST: all); *count of them. */
#define ALARMS_OPEN_MOST (ALARM_OPEN_MOST * LIMIT_NODES)
enum err state_alarms_open(struct alarm *out, size_t *count, struct table_txn *txn, size_t most);
/* All rows with an index below `before`, newest first. */
enum err state_alarms_page(struct alarm *out, size_t *count, struct table_txn *txn, uint64_t before, size_t most);
/* The latest row of that key, open or closed. ERR_NOT_FOUND: never raised. */
enum err state_alarm_last(struct alarm *out, struct table_txn *txn, enum alarm_kind kind, unsigned named,
                          uint64_t first);

/* --- for the rules --- */

enum err state_alarms_raised(uint32_t *count, struct table_txn *txn, unsigned raiser); /* open rows of a raiser */
enum err state_alarm_put(struct table_txn *txn, const struct alarm *a);      /* the row, and that it is open or not */
enum err state_alarm_put_last(struct table_txn *txn, const struct alarm *a); /* it is its key's latest one */

#endif
