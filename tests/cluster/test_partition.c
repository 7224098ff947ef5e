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
#include "tests/lib/unit.h"

#define TRIES 4

static const struct partition none;

/* The node that is so many places after this one, in a ring. */
static unsigned after(unsigned node, unsigned places) { return 1 + (node - 1 + places) % CHAOS_NODES; }
static unsigned bit(unsigned node) { return 1u << node; }
static unsigned others(unsigned side) { return CHAOS_ALL & ~side; }

/* While these faults hold the nodes of `working` go on (0: somebody does), and those of `silent` acknowledge and open
 * nothing that was begun after they came. Then the leader stays, in its term, when the network is whole again. */
static bool hold(const struct partition *p, unsigned working, unsigned silent, const char *what)
{
    uint64_t term, later;
    partition_set(&chaos.bed, p);
    uint64_t since = chaos_now_ms();
    chaos_goes_on(&chaos, working, what);
    chaos_was_silent(&chaos, silent, since, what); /* which takes so long that they stand for election meanwhile */
    unsigned leader = chaos_await_leader(&chaos, &term);
    partition_set(&chaos.bed, &none);
    chaos_goes_on(&chaos, CHAOS_ALL, "  whole again");
    unsigned now = chaos_await_leader(&chaos, &later);
    if (now == leader && later == term) return true;
    printf("  leader was node %u in term %llu, is node %u in %llu\n", leader, (unsigned long long)term, now,
           (unsigned long long)later);
    return false;
}

/* A machine that pauses nodes makes them elect another leader, too: what happens each time is wrong. */
static void split(unsigned side, const char *what)
{
    for (unsigned i = 0; i < TRIES; i++) {
        struct partition p = none;
        partition_split(&p, &chaos.bed, side);
        if (hold(&p, others(side), side, what)) return;
    }
    testbed_fail(&chaos.bed, "%s: who returns unseats the leader", what);
}

static void two_sides(void **state)
{
    (void)state;
    unsigned leader = chaos_await_leader(&chaos, NULL);
    split(bit(leader), "the leader alone");
    leader = chaos_await_leader(&chaos, NULL);
    split(bit(leader) | bit(after(leader, 1 + chaos_below(&chaos, 4))), "the leader and another");
    leader = chaos_await_leader(&chaos, NULL);
    split(bit(after(leader, 1 + chaos_below(&chaos, 2))) | bit(after(leader, 3 + chaos_below(&chaos, 2))),
          "two without the leader");
}

static void every_split(void **state)
{
    (void)state;
    char what[40];
    if (!getenv("ALL")) return;
    for (unsigned a = 1; a <= CHAOS_NODES; a++)
        for (unsigned b = a; b <= CHAOS_NODES; b++) {
            snprintf(what, sizeof what, "nodes %u and %u away", a, b);
            split(bit(a) | bit(b), what);
        }
}

static void not_heard(struct partition *p, unsigned from)
{
    for (unsigned to = 1; to <= CHAOS_NODES; to++)
        if (to != from) p->mute[from][to] = true;
}

/* It hears all, and nobody hears it. */
static void one_way(void **state)
{
    (void)state;
    struct partition p = none, q = none, r = none;
    unsigned leader = chaos_await_leader(&chaos, NULL);
    not_heard(&p, leader);
    hold(&p, others(bit(leader)), bit(leader), "the leader is not heard");

    bool stays = false;
    unsigned follower = after(chaos_await_leader(&chaos, NULL), 2);
    not_heard(&q, follower);
    for (unsigned i = 0; i < TRIES && !stays; i++)
        stays = hold(&q, others(bit(follower)), bit(follower), "a follower is not heard");
    if (!stays) testbed_fail(&chaos.bed, "a follower that nobody hears unseats the leader");

    leader = chaos_await_leader(&chaos, NULL);
    r.drop[leader][after(leader, 1)] = true;
    hold(&r, others(bit(after(leader, 1))), 0, "the leader's packets to one are lost");
}

static void no_clear_sides(void **state)
{
    (void)state;
    struct partition bridge = none, ring = none;
    for (unsigned a = 1; a <= CHAOS_NODES; a++)
        for (unsigned b = 1; b <= CHAOS_NODES; b++) {
            unsigned apart = (a + CHAOS_NODES - b) % CHAOS_NODES;
            bridge.drop[a][b] = (a < 3 && b > 3) || (a > 3 && b < 3);
            ring.drop[a][b] = apart == 2 || apart == 3; /* each sees its two neighbours: a majority of its own */
        }
    hold(&bridge, 0, 0, "two and two, with one between them");
    hold(&ring, 0, 0, "majorities in a ring");
}

static void unsteady(void **state)
{
    (void)state;
    struct partition cut = none, lossy = {.loss = 20};
    unsigned leader = chaos_await_leader(&chaos, NULL), other = after(leader, 1);
    cut.drop[leader][other] = cut.drop[other][leader] = true;
    uint64_t until = chaos_now_ms() + 3000;
    for (unsigned i = 0; chaos_now_ms() < until; i++) {
        partition_set(&chaos.bed, i % 2 ? &none : &cut);
        usleep(1000 * (50 + chaos_below(&chaos, 400)));
    }
    chaos_goes_on(&chaos, others(bit(other)), "a link that comes and goes");
    hold(&lossy, 0, 0, "a fifth of all packets is lost");
}

static int setup(void **state)
{
    (void)state;
    return chaos_begin(0, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_sides),      cmocka_unit_test(every_split), cmocka_unit_test(one_way),
        cmocka_unit_test(no_clear_sides), cmocka_unit_test(unsteady),    cmocka_unit_test(nothing_is_lost),
    };
    return partition_possible() ? cmocka_run_group_tests(tests, setup, chaos_end) : 0;
}
