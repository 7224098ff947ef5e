/* Faults of the network between five nodes under load: the side without a majority
 * acknowledges and opens nothing, the other goes on, and a node that returns unseats nobody.
 * With b = 0, so that any three are a majority and also the quorum that co-signs.
 *
 * ALL in the environment: every split of the five in two, not only three of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/chaos_bed.h"
#include "tests/lib/reign.h"
#include "tests/lib/unit.h"

#define TRIES 8
#define MAJORITY 3u

static const struct partition none;

/* A fault as it is made around the node that leads. */
typedef void make_fault(struct partition *p, unsigned leader);

/* The node that is so many places after this one, in a ring. */
static unsigned after(unsigned node, unsigned places) { return 1 + (node - 1 + places) % CHAOS_NODES; }
static unsigned bit(unsigned node) { return 1u << node; }
static unsigned count(unsigned nodes) { return (unsigned)__builtin_popcount(nodes); }

/* Those that this node can lead, itself among them: who hear it and are heard by it. */
static unsigned reach(const struct partition *p, unsigned node)
{
    unsigned nodes = 0;
    for (unsigned i = 1; i <= CHAOS_NODES; i++)
        if (!p->drop[node][i] && !p->drop[i][node] && !p->mute[node][i] && !p->mute[i][node]) nodes |= bit(i);
    return nodes;
}

/* ---- one attempt ---- */

struct lead {
    unsigned node;
    uint64_t term;
};

static struct lead leads_now(void)
{
    struct lead l;
    l.node = chaos_await_leader(&chaos, &l.term);
    return l;
}

static bool same(struct lead a, struct lead b) { return a.node == b.node && a.term == b.term; }

/* Until all whom the leader reaches have done something that began under the fault. Who leads is asked again and again:
 * a machine that pauses makes it another. */
static void majority_goes_on(const struct partition *p, uint64_t since, const char *what)
{
    for (;;) {
        struct lead lead = leads_now();
        unsigned nodes = reach(p, lead.node);
        for (unsigned i = 0; i < 50 && count(nodes) >= MAJORITY; i++, usleep(20000)) {
            if (!chaos_gone_on(&chaos, nodes, since)) continue;
            printf("%s: the majority of %u goes on after %llu ms (5000 are wanted)\n", what, count(nodes),
                   (unsigned long long)(chaos_now_ms() - since));
            return;
        }
        if (chaos_now_ms() - since > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&chaos.bed, "seed %llu: %s: no majority goes on", (unsigned long long)chaos.seed, what);
    }
}

/* Those that reach no majority. */
static unsigned cut_off(const struct partition *p)
{
    unsigned nodes = 0;
    for (unsigned i = 1; i <= CHAOS_NODES; i++)
        if (count(reach(p, i)) < MAJORITY) nodes |= bit(i);
    return nodes;
}

/* Those that acknowledged or opened something which began under the fault. */
static unsigned heard_of(uint64_t since)
{
    unsigned nodes = 0;
    for (unsigned i = 1; i <= CHAOS_NODES; i++)
        if (chaos_gone_on(&chaos, bit(i), since)) nodes |= bit(i);
    return nodes;
}

/* Takes so long that those who hear no leader stand for election meanwhile. */
static void the_others_are_silent(const struct partition *p, struct lead before, uint64_t since, const char *what)
{
    if (cut_off(p))
        chaos_was_silent(&chaos, cut_off(p), since, what);
    else
        usleep(2000000);
    /* Where one led all the time (a term has one leader), nobody else could acknowledge anything. */
    unsigned heard = heard_of(since) & ~reach(p, before.node);
    if (heard && same(before, leads_now()))
        testbed_fail(&chaos.bed, "seed %llu: %s: one of the nodes %x acknowledged something without the leader",
                     (unsigned long long)chaos.seed, what, heard);
}

/* Whether who led still does. Else it had an end of its own, on a machine that pauses nodes: the test fails unless the
 * logs show that. `nodes`: whom it reached all the time since `m`. */
static bool stays(const struct reign_mark *m, struct lead lead, unsigned nodes, const char *what)
{
    struct lead now = leads_now();
    if (same(lead, now)) return true;
    if (!reign_had_an_end_of_its_own(&chaos.bed, m, lead.term, nodes & ~bit(lead.node)))
        testbed_fail(&chaos.bed, "seed %llu: %s: node %u led in term %llu and was unseated: node %u leads in term %llu",
                     (unsigned long long)chaos.seed, what, lead.node, (unsigned long long)lead.term, now.node,
                     (unsigned long long)now.term);
    printf("  node %u had led in term %llu, but was not heard for a second by who heard it before: once more\n", lead.node,
           (unsigned long long)lead.term);
    return false;
}

/* Whether nobody was unseated: a leader that the fault leaves a majority stays, and the one that the majority
 * has under it stays when the network is whole again. */
static bool hold(const struct partition *p, struct lead before, const char *what)
{
    unsigned nodes = reach(p, before.node);
    struct reign_mark fault, whole;
    reign_mark(&fault, &chaos.bed);
    partition_set(&chaos.bed, p);
    uint64_t since = chaos_now_ms();
    majority_goes_on(p, since, what);
    the_others_are_silent(p, before, since, what);
    reign_mark(&whole, &chaos.bed);
    struct lead last = leads_now();
    partition_set(&chaos.bed, &none);
    chaos_goes_on(&chaos, CHAOS_ALL, "  whole again");
    return count(nodes) >= MAJORITY ? stays(&fault, before, nodes, what) : stays(&whole, last, reach(p, last.node), what);
}

/* Each attempt counts; where a leader had an end of its own, which says nothing, there is another one. */
static void nobody_is_unseated(make_fault *make, const char *what)
{
    for (unsigned i = 0; i < TRIES; i++) {
        struct partition p = none;
        struct lead before = leads_now();
        make(&p, before.node);
        if (hold(&p, before, what)) return;
    }
    testbed_fail(&chaos.bed, "%s: no leader is heard for long enough", what);
}

/* ---- two sides ---- */

static void split(struct partition *p, unsigned side) { partition_split(p, &chaos.bed, side); }

static void the_leader_alone(struct partition *p, unsigned leader) { split(p, bit(leader)); }

static void the_leader_and_another(struct partition *p, unsigned leader)
{
    split(p, bit(leader) | bit(after(leader, 1 + chaos_below(&chaos, 4))));
}

static void two_without_the_leader(struct partition *p, unsigned leader)
{
    split(p, bit(after(leader, 1 + chaos_below(&chaos, 2))) | bit(after(leader, 3 + chaos_below(&chaos, 2))));
}

static void two_sides(void **state)
{
    (void)state;
    nobody_is_unseated(the_leader_alone, "the leader alone");
    nobody_is_unseated(the_leader_and_another, "the leader and another");
    nobody_is_unseated(two_without_the_leader, "two without the leader");
}

static unsigned side_away;
static void side(struct partition *p, unsigned leader)
{
    (void)leader;
    split(p, side_away);
}

static void every_split(void **state)
{
    (void)state;
    char what[40];
    if (!getenv("ALL")) return;
    for (unsigned a = 1; a <= CHAOS_NODES; a++)
        for (unsigned b = a; b <= CHAOS_NODES; b++) {
            snprintf(what, sizeof what, "nodes %u and %u away", a, b);
            side_away = bit(a) | bit(b);
            nobody_is_unseated(side, what);
        }
}

/* ---- one way ---- */

/* It hears all, and nobody hears it. */
static void not_heard(struct partition *p, unsigned from)
{
    for (unsigned to = 1; to <= CHAOS_NODES; to++)
        if (to != from) p->mute[from][to] = true;
}

static void a_follower_not_heard(struct partition *p, unsigned leader) { not_heard(p, after(leader, 2)); }
static void packets_to_one_lost(struct partition *p, unsigned leader) { p->drop[leader][after(leader, 1)] = true; }

static void one_way(void **state)
{
    (void)state;
    nobody_is_unseated(not_heard, "the leader is not heard");
    nobody_is_unseated(a_follower_not_heard, "a follower is not heard");
    nobody_is_unseated(packets_to_one_lost, "the leader's packets to one are lost");
}

/* ---- each has a majority of its own ---- */

static unsigned apart(unsigned a, unsigned b) { return (a + CHAOS_NODES - b) % CHAOS_NODES; }

/* Node `middle` hears all; the two after it and the two before it don't hear each other. */
static void bridge_over(struct partition *p, unsigned middle)
{
    for (unsigned a = 1; a <= CHAOS_NODES; a++)
        for (unsigned b = 1; b <= CHAOS_NODES; b++)
            if (a != middle && b != middle) p->drop[a][b] = (apart(a, middle) < 3) != (apart(b, middle) < 3);
}

static void bridge(struct partition *p, unsigned leader) { bridge_over(p, after(leader, 2)); }

/* Each sees its two neighbours. */
static void ring(struct partition *p, unsigned leader)
{
    (void)leader;
    for (unsigned a = 1; a <= CHAOS_NODES; a++)
        for (unsigned b = 1; b <= CHAOS_NODES; b++) p->drop[a][b] = apart(a, b) == 2 || apart(a, b) == 3;
}

static void no_clear_sides(void **state)
{
    (void)state;
    nobody_is_unseated(bridge, "two and two, with one between them");
    nobody_is_unseated(ring, "majorities in a ring");
}

/* ---- what comes and goes ---- */

static void flap(unsigned leader, unsigned other)
{
    struct partition cut = none;
    cut.drop[leader][other] = cut.drop[other][leader] = true;
    uint64_t until = chaos_now_ms() + 3000;
    for (unsigned i = 0; chaos_now_ms() < until; i++) {
        partition_set(&chaos.bed, i % 2 ? &none : &cut);
        usleep(1000 * (50 + chaos_below(&chaos, 400)));
    }
}

/* A link of the leader's comes and goes: nobody is unseated, and the other four never need that link. */
static void a_link_flaps(void **state)
{
    (void)state;
    bool stayed = false;
    for (unsigned i = 0; i < TRIES && !stayed; i++) {
        struct lead before = leads_now();
        struct reign_mark mark;
        unsigned other = after(before.node, 1);
        uint64_t since = chaos_now_ms();
        reign_mark(&mark, &chaos.bed);
        flap(before.node, other);
        if (!chaos_gone_on(&chaos, CHAOS_ALL & ~bit(other), since))
            chaos_goes_on(&chaos, CHAOS_ALL & ~bit(other), "a link that came and went");
        partition_set(&chaos.bed, &none);
        chaos_goes_on(&chaos, CHAOS_ALL, "  whole again");
        stayed = stays(&mark, before, CHAOS_ALL & ~bit(other), "a link that comes and goes");
    }
    if (!stayed) testbed_fail(&chaos.bed, "a link that comes and goes: no leader is heard for long enough");
}

/* The kernel would wait ever longer with what it sends again. */
static void a_link_that_stands_still_is_made_anew(void **state)
{
    (void)state;
    struct partition cut = none;
    unsigned leader = leads_now().node, other = after(leader, 1);
    packets_to_one_lost(&cut, leader);
    partition_set(&chaos.bed, &cut);
    for (unsigned i = 0; !testbed_log_has(&chaos.bed, leader, "acknowledges nothing"); i++) {
        if (i > TESTBED_PATIENCE_S * 10) testbed_fail(&chaos.bed, "node %u keeps a dead link to node %u", leader, other);
        usleep(100000);
    }
    partition_set(&chaos.bed, &none);
    chaos_goes_on(&chaos, CHAOS_ALL, "a link that stood still");
}

/* All of them go on; that a leader isn't heard for a while is what such a network does. */
static void packets_are_lost(void **state)
{
    (void)state;
    struct partition lossy = {.loss = 20};
    partition_set(&chaos.bed, &lossy);
    chaos_goes_on(&chaos, 0, "a fifth of all packets is lost");
    chaos_goes_on(&chaos, CHAOS_ALL, "  through every node");
    partition_set(&chaos.bed, &none);
    chaos_goes_on(&chaos, CHAOS_ALL, "  whole again");
}

static int setup(void **state)
{
    (void)state;
    return chaos_begin(0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_that_stands_still_is_made_anew),
        cmocka_unit_test(two_sides),
        cmocka_unit_test(every_split),
        cmocka_unit_test(one_way),
        cmocka_unit_test(no_clear_sides),
        cmocka_unit_test(a_link_flaps),
        cmocka_unit_test(packets_are_lost),
        cmocka_unit_test(nothing_is_lost),
    };
    return partition_possible() ? cmocka_run_group_tests(tests, setup, chaos_end) : 0;
}
