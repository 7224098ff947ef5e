/* What the nodes, in the states that they say they are in, can still do together: for 'status'. */
#ifndef CLI_OUTLOOK_H
#define CLI_OUTLOOK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "ledger/genesis.h"
#include "net/protocol.h"

struct outlook {
    uint32_t reachable;
    uint32_t opening;   /* of these hold a share of the key, and know who leads */
    uint32_t recording; /* of these take entries */
    uint32_t voting;    /* of `recording` count in a majority */
    uint32_t voteless;  /* of `reachable` say that they don't */
    uint32_t sound;     /* of `opening` vote, and are named by no alarm that counts */
};

/* `members`: the rows of 'status', of which it reads "reachable", "state" and "integrity". */
struct outlook outlook_of(const json_t *members);

/* Whether entries can be recorded, or records be opened, now. */
bool outlook_records(const struct outlook *o, const struct genesis *genesis);
bool outlook_opens(const struct outlook *o, const struct genesis *genesis);

/* Appends a line of what is possible now, and one of how many nodes may still fail. */
void outlook_text(struct buffer *out, const struct outlook *o, const struct genesis *genesis);

/* How far the member's clock is ahead of most others' (the lower median of those that are reachable), in ms; 0 for one
 * that is not reachable. Members may say any time: more than a day off counts as a day. */
int64_t outlook_clock_ahead(const struct message_status_ok *m, uint32_t index);

/* Appends a line for each of the rows whose "clock_ahead_ms" is more than nodes may differ. */
void outlook_clocks(struct buffer *out, const json_t *members);

#endif
