/* In what order alarms are shown: a NOTICE has room for the first ones only, and one liar can make as many
 * accusations as the ledger lets it have open, or as many alarms about itself.
 *
 *   CONVICTS  of each node that anything counts against, what makes it count: one row, or the few rows in which
 *             b + 1 others say so
 *   COUNTS    what else counts, in rounds: of each node that is named one, then of each the next one ...
 *   ACCUSES   the rest, in rounds: of each node that says so one, then of each the next one ...
 *
 * In each of these this node's own come first, and then the order in which they came. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "node/integrity_internal.h"

enum part { CONVICTS, COUNTS, ACCUSES };

struct place {
    enum part part;
    unsigned round;
    bool other; /* about another node */
    size_t at;
};

static unsigned number_of(uint32_t members)
{
    unsigned number = 0;
    for (; members; members &= members - 1) number++;
    return number;
}

/* Without its word about itself: that holds for the row in which it stands, and no other. */
static uint32_t words_of_others(const struct alarm *a) { return a->saying & ~(1u << a->named); }

/* How a row counts by itself; 0: it doesn't. What is proved before what it says of itself, and before words. */
static unsigned strength(const struct alarm *a, unsigned faulty)
{
    if (!alarm_counts(a->kind, a->named, a->saying, faulty)) return 0;
    return a->kind == ALARM_FORKED ? 3 : alarm_says(a, a->named) ? 2 : 1;
}

/* What counts against `named`: the strongest row, else the rows that bring words of more until it counts. */
static void find_convicting(struct place *places, const struct alarm *rows, size_t count, unsigned named,
                            unsigned faulty)
{
    size_t best = count;
    uint32_t words = 0;
    for (size_t at = 0; at < count; at++) {
        if (rows[at].named != named || strength(&rows[at], faulty) == 0) continue;
        if (best == count || strength(&rows[at], faulty) > strength(&rows[best], faulty)) best = at;
    }
    if (best < count) places[best].part = CONVICTS;
    for (size_t at = 0; best == count && at < count && number_of(words) <= faulty; at++) {
        if (rows[at].named != named || places[at].part == ACCUSES || (words_of_others(&rows[at]) & ~words) == 0)
            continue;
        words |= words_of_others(&rows[at]);
        places[at].part = CONVICTS;
    }
}

static void find_parts(struct place *places, const struct alarm *rows, size_t count, unsigned faulty)
{
    uint32_t words[LIMIT_NODES + 1] = {0};
    for (size_t at = 0; at < count; at++) words[rows[at].named] |= words_of_others(&rows[at]);
    for (size_t at = 0; at < count; at++) {
        const struct alarm *a = &rows[at];
        bool counts = alarm_counts(a->kind, a->named, a->saying | words[a->named], faulty);
        places[at].part = counts ? COUNTS : ACCUSES;
    }
    for (unsigned named = 1; named <= LIMIT_NODES; named++) find_convicting(places, rows, count, named, faulty);
}

/* An accusation by several is in the round of who has said least. */
static unsigned round_of_words(unsigned *said, uint32_t saying)
{
    unsigned least = UINT32_MAX;
    for (unsigned member = 1; member <= LIMIT_NODES; member++) {
        if (!(saying >> member & 1)) continue;
        if (said[member] < least) least = said[member];
        said[member]++;
    }
    return least;
}

static void find_rounds(struct place *places, const struct alarm *rows, size_t count)
{
    unsigned named[LIMIT_NODES + 1] = {0}, said[LIMIT_NODES + 1] = {0};
    for (size_t at = 0; at < count; at++) {
        if (places[at].part == COUNTS) places[at].round = named[rows[at].named]++;
        if (places[at].part == ACCUSES) places[at].round = round_of_words(said, rows[at].saying);
    }
}

static int compare(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    if (a->part != b->part) return a->part < b->part ? -1 : 1;
    if (a->round != b->round) return a->round < b->round ? -1 : 1;
    if (a->other != b->other) return a->other ? 1 : -1;
    return a->at < b->at ? -1 : a->at > b->at;
}

void integrity_order(struct alarm *rows, size_t count, unsigned self, unsigned faulty)
{
    if (count < 2) return;
    struct place *places = xcalloc(count, sizeof *places);
    struct alarm *before = xcalloc(count, sizeof *before);
    memcpy(before, rows, count * sizeof *rows);
    for (size_t at = 0; at < count; at++) {
        CHECK(rows[at].named >= 1 && rows[at].named <= LIMIT_NODES);
        places[at].other = rows[at].named != self;
        places[at].at = at;
    }
    find_parts(places, rows, count, faulty);
    find_rounds(places, rows, count);
    qsort(places, count, sizeof *places, compare);
    for (size_t at = 0; at < count; at++) rows[at] = before[places[at].at];
    free(before);
    free(places);
}
