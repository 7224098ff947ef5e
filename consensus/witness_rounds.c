/* When all are asked to tell their roots: the leader's rounds, and those of any node after a second without one. */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "consensus/witness_internal.h"

#define OVERDUE_MS 1000 /* any node paces after so long with applied leaves unwitnessed */
/* A round costs n nodes about 600 us of signatures, three messages each way and a write of the log each.
 * So the leader's rounds begin at least so far apart: */
#define GAP_UNAWAITED_MS 50 /* when nobody waits, as far as it knows */
#define GAP_BUSY_MS 4       /* when several blocks come in a round: more share the next one */

static void begin_round(struct witness *w, const struct end *end)
{
    w->moved_ns = clock_monotonic_ns();
    memmove(&w->rounds[1], &w->rounds[0], sizeof w->rounds - sizeof w->rounds[0]);
    w->rounds[0] = (struct round){*end, w->moved_ns, witness_end_equal(&w->told[w->o.self].end, end)};
    witness_tell(w, end, PEER_PACE);
    if (w->cosigned[w->o.self][0].size == end->size) witness_send_cosignature(w, 0); /* again: it may have been lost */
    witness_try_cosign(w, end);
}

static unsigned under_way(const struct witness *w)
{
    unsigned count = 0;
    for (unsigned i = 0; i < ROUNDS_MOST; i++)
        count += w->rounds[i].end.raft_index && w->rounds[i].end.size > w->size;
    return count;
}

static bool waits_for_words(const struct witness *w)
{
    return under_way(w) && w->cosigned[w->o.self][0].size < w->rounds[0].end.size;
}

/* While rounds are under way another one begins, for who waits for more: half the time after the last that words take,
 * which go there and back, or when they have come. So nobody waits longer for a round to begin than messages take one
 * way. Nodes keep what members say of as many rounds as may be under way. When no more may begin the newest one ends
 * like one alone, whatever became of those before it. */
static bool may_begin(const struct witness *w)
{
    unsigned count = under_way(w);
    if (count == 0) return true;
    return count < ROUNDS_MOST && w->awaited > w->rounds[0].end.size && (w->words_ns || !waits_for_words(w));
}

/* Nanoseconds until the next round is due. One alone who waits has no delay. */
static uint64_t until_due(const struct witness *w)
{
    const struct round *last = &w->rounds[0];
    uint64_t gap = 0, since = clock_monotonic_ns() - last->begun_ns;
    bool early = waits_for_words(w);
    if (w->awaited <= w->size)
        gap = UINT64_C(1000000) * GAP_UNAWAITED_MS;
    else if (early || w->newest.raft_index > last->end.raft_index + 1)
        gap = UINT64_C(1000000) * GAP_BUSY_MS;
    if (early && gap < w->words_ns / 2) gap = w->words_ns / 2;
    return since < gap ? gap - since : 0;
}

/* Something is applied that is not witnessed, and may be told of. */
static bool has_news(const struct witness *w)
{
    return w->newest.raft_index && w->newest.size > w->size && !w->stopped && !w->quarantined &&
           !witness_is_quiet(w, &w->newest);
}

static void on_pace_timer(uv_timer_t *timer)
{
    struct witness *w = timer->data;
    if (w->leads) witness_next_round(w);
}

void witness_next_round(struct witness *w)
{
    if (!may_begin(w) || !has_news(w)) return;
    uint64_t wait = until_due(w);
    if (wait == 0)
        begin_round(w, &w->newest);
    else
        CHECK(uv_timer_start(&w->pace_timer, on_pace_timer, wait / 1000000 + 1, 0) == 0);
}

void witness_overdue_round(struct witness *w, uint64_t now_ns)
{
    if (!has_news(w) || now_ns - w->moved_ns <= (uint64_t)OVERDUE_MS * 1000000) return;
    memset(w->rounds, 0, sizeof w->rounds);
    begin_round(w, &w->newest);
}

/* Soon when they take less, slowly when they take more: a pause of one node makes no round begin later. */
static void learn_words(struct witness *w, uint64_t took_ns)
{
    if (w->words_ns == 0 || took_ns < w->words_ns)
        w->words_ns = took_ns;
    else
        w->words_ns += (took_ns - w->words_ns) / 8;
}

void witness_round_cosigned(struct witness *w, const struct end *end)
{
    for (unsigned i = 0; i < ROUNDS_MOST; i++)
        if (witness_end_equal(&w->rounds[i].end, end) && !w->rounds[i].again)
            learn_words(w, w->cosigned_ns - w->rounds[i].begun_ns);
}
