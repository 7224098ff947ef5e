/* What one member may have the leader put into blocks, beside what it may have under way
 * at once (consensus/intake.h).
 *
 * Honest nodes check a client's signature before they forward, and act seldom in
 * their own name. So a member that forwards what nobody signed is not heard for a while, which
 * grows each time; and its own operations (alarms, key generation) come from a budget that
 * refills, since each of them is kept for ever. So does what a client of a newer node may ask
 * for, and this one does not know.
 * Pure: the time is an argument, monotonic.
 */
#ifndef CONSENSUS_QUOTA_H
#define CONSENSUS_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"

/* Of one member; all zero at the beginning. */
struct quota {
    uint64_t filled_ns; /* up to when `own` and `bytes` are refilled; 0: full */
    uint64_t own, bytes; /* used */
    unsigned strikes;
    uint64_t struck_ns, silent_until_ns;
};

/* Whether it is heard at all now. */
bool quota_heard(const struct quota *q, uint64_t now_ns);
/* Takes `count` operations of its own from the budget. false: used up, nothing is taken. */
bool quota_take(struct quota *q, uint32_t count, size_t bytes, uint64_t now_ns);
/* It forwarded something that nobody signed. Returns for how many milliseconds it is not heard;
 * 0: that was so before. */
uint64_t quota_strike(struct quota *q, uint64_t now_ns);

#endif
