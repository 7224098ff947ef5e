/* k members say, by their signatures, that this node's root is wrong, and it has cosigned none of that: its state is
 * to be derived anew. Was it told another history, or are its own data wrong?
 *
 * Happy path: quarantined at once -> the members that said so are asked what stands in their logs (driver_fork.c) up to
 * the entry after which their root is another -> b + 1 of them, so that an honest one does, have another entry
 * there than a leader gave this node -> it was told another history, and nothing of its own is wrong.
 * Where one leader signed both entries that is evidence, which this node must not cut off before it was found: the
 * other one may stand in no other log.
 * Else, or when too few have answered for long, its data are in doubt, and that is told (ALARM_MODIFIED): no liar can
 * hide what somebody did to this node's disk, for
 *   - b words of others do not suffice;
 *   - they are of members that have applied that entry, so an honest one's is committed. What somebody else has at
 *     the end of its log may be another one in good faith;
 *   - the entry here must have come from a leader: since this node's start, or it is signed. Who alters log and state
 *     on the disk alike can't make that up;
 *   - an altered state shows as soon as an entry is applied on which it bears: before the logs part, if it was.
 * Its log stays then: others may have counted that this node has what stands in it, which clients were told, and the state
 * is derived from it anew. Only if that comes to another history again is the log cut, too; this node then counts in no
 * majority until it has rejoined (consensus/rejoin.h), since it forgets what it acknowledged.
 */
#include <stdio.h>

#include "consensus/driver_internal.h"
#include "ledger/evidence.h"

#define PATIENCE_TICKS 200 /* so long members are waited for that don't answer: 10 s */

/* An entry that this node made as leader was given by nobody. */
bool driver_was_given(const struct driver *d, const struct head *own)
{
    struct statement s = driver_head_statement(own);
    if (own->signer == d->o.self) return false;
    return own->came || (own->signer && evidence_statement_verify(&s, d->o.genesis, own->signer) == OK);
}

enum answer { ANSWER_NONE, ANSWER_SAME, ANSWER_OTHER };

static enum answer answer_of(const struct driver *d, unsigned member)
{
    const struct compare *c = &d->compares[member];
    if (c->given && c->given <= d->contradiction.index) return ANSWER_OTHER;
    return c->same >= d->contradiction.index ? ANSWER_SAME : ANSWER_NONE;
}

/* Again from time to time, as often as driver_compare does: answers get lost. */
void driver_contradicted_tick(struct driver *d)
{
    const struct contradiction *c = &d->contradiction;
    unsigned others = 0, silent = 0, enough = d->o.genesis->faulty + 1;
    if (c->index == 0 || d->deceived || !driver_alive(d)) return;
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++) {
        if (!(c->members >> i & 1)) continue;
        enum answer answer = answer_of(d, i);
        others += answer == ANSWER_OTHER;
        silent += answer == ANSWER_NONE;
        if (answer == ANSWER_NONE) driver_compare(d, i, c->index);
    }
    bool over = d->ticks - c->since >= PATIENCE_TICKS || others + silent < enough;
    if (others >= enough || over) driver_deceived(d, others >= enough, c->why);
}

void driver_contradicted(struct driver *d, uint32_t members, uint64_t last, const char *why)
{
    if (d->contradiction.index || d->deceived) return;
    d->contradiction = (struct contradiction){.index = last ? last : 1, .members = members, .since = d->ticks};
    snprintf(d->contradiction.why, sizeof d->contradiction.why, "%s", why);
    driver_quarantine(d, why);
    driver_contradicted_tick(d);
}
