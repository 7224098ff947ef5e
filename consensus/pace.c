#include "consensus/pace.h"

static void learn(struct pace *p, size_t here, uint64_t now_ns)
{
    uint64_t since = now_ns - p->turned_ns;
    if (since > PACE_LATELY_NS) {
        p->most_before = since > 2 * PACE_LATELY_NS ? 0 : p->most;
        p->most = 0;
        p->turned_ns = now_ns;
    }
    if (here > p->most) p->most = here;
}

/* How many came beside those who waited, or would have. */
static size_t joined(const struct pace_judgement *j)
{
    size_t waiting = j->most_waiting - j->waiting, here = j->most_here - j->here;
    return waiting > here ? waiting : here;
}

/* Whether waiting is worth it, is seen while nobody waits for it, too. */
static void judge(struct pace *p, const struct pace_load *load, bool too_few, uint64_t now_ns)
{
    struct pace_judgement *j = &p->judgement;
    if (j->open) {
        if (load->waiting > j->most_waiting) j->most_waiting = load->waiting;
        if (load->here > j->most_here) j->most_here = load->here;
        bool worth = joined(j) * PACE_WORTH >= j->waiting;
        if (!worth && now_ns < j->until_ns) return;
        if (worth && p->in_vain > 0) p->in_vain--;
        if (!worth && p->in_vain < PACE_IN_VAIN_MOST) p->in_vain++;
    }
    *j = (struct pace_judgement){.open = too_few && now_ns < p->proposed_ns + PACE_NS,
                                 .until_ns = p->proposed_ns + PACE_NS,
                                 .waiting = load->waiting, .most_waiting = load->waiting,
                                 .here = load->here, .most_here = load->here};
}

uint64_t pace_wait(struct pace *p, const struct pace_load *load, uint64_t now_ns)
{
    learn(p, load->here, now_ns);
    size_t lately = p->most > p->most_before ? p->most : p->most_before;
    uint64_t due = p->proposed_ns + PACE_NS;
    bool too_few = load->waiting < lately / 2;
    judge(p, load, too_few && !load->in_flight, now_ns);
    bool enough = !load->in_flight && (!too_few || p->in_vain >= PACE_IN_VAIN);
    return enough || load->full || p->proposed_ns == 0 || now_ns >= due ? 0 : due - now_ns;
}

void pace_proposed(struct pace *p, uint64_t now_ns) { p->proposed_ns = now_ns; }
