/* How long a source of a ledger is listened to: one page may take its time, all of them
 * together may not. Else a node that answers each question in the last moment holds up who
 * verifies a million entries for days, and never counts as silent.
 *
 * Time that a source takes is spent, and each entry that it gives earns some back: it may be
 * late by PATIENCE_MS against PATIENCE_LEAST entries a second. */
#ifndef CLI_PATIENCE_H
#define CLI_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

#define PATIENCE_LEAST 100u  /* entries a second; nodes give 10,000 and more, also while they serve others */
#define PATIENCE_MS 120000   /* a node that is restarted meanwhile, or a network that is down for a while */

struct patience {
    int64_t left_ms; /* below 0: over, for good */
};

struct patience patience_begin(void);
/* `ms` went by for an answer with `entries`. */
void patience_spend(struct patience *p, uint64_t ms, uint64_t entries);
bool patience_over(const struct patience *p);

#endif
