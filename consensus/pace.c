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

uint64_t pace_wait(struct pace *p, const struct pace_load *load, uint64_t now_ns)
{
    learn(p, load->here, now_ns);
    size_t lately = p->most > p->most_before ? p->most : p->most_before;
    uint64_t due = p->proposed_ns + PACE_NS;
    bool enough = !load->in_flight && load->waiting >= lately / 2;
    return enough || load->full || p->proposed_ns == 0 || now_ns >= due ? 0 : due - now_ns;
}

void pace_proposed(struct pace *p, uint64_t now_ns) { p->proposed_ns = now_ns; }
