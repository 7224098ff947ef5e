/* All that the tests of survival do one by one, at random and at once, for as long as SECONDS in the environment says
 * (180): nodes are killed, also in the middle of a write, held up, and stopped in order and started again; one node's
 * disk fails, is full, slow, or hangs; the network falls apart; one node's clock is wrong. Under load; after each round
 * all of it ends and every node must work again. Every five minutes and at the end each operation that was acknowledged
 * is looked for on every node (tests/lib/chaos.h).
 *
 * SEED: the same choices again: those of a step follow from the seed, the round's number and the step's alone. How many
 * steps a round has, and who leads, is the machine's timing, which is not repeated. NODES: 3 or 5, else by the seed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/chaos_bed.h"

#define CHECK_EVERY_MS 300000u

static unsigned stopped;      /* a node that is stopped, 0: none, and ... */
static uint64_t until_ms;     /* ... until when */
static unsigned clock_node;   /* the one whose clock may be wrong in this round, and ... */
static unsigned disk_node;    /* ... whose disk may fail */

static unsigned below(unsigned n) { return chaos_below(&chaos, n); }
static unsigned any_node(void) { return 1 + below(chaos.bed.n); }

/* ---- the network ---- */

static void fall_apart(struct partition *p)
{
    unsigned n = chaos.bed.n, a = any_node(), b = any_node(), ring = below(2) && n > 3, middle = (n + 1) / 2;
    switch (below(8)) {
    case 0:
        printf("split %u %u;", a, b);
        partition_split(p, &chaos.bed, 1u << a | 1u << b);
        return;
    case 1:
        printf("nobody hears %u;", a);
        for (unsigned to = 1; to <= n; to++) p->mute[a][to] = to != a;
        return;
    case 2:
        printf("one way %u to %u;", a, b);
        p->drop[a][b] = a != b;
        return;
    case 3:
        printf(ring ? "ring;" : "bridge;");
        for (unsigned from = 1; from <= n; from++)
            for (unsigned to = 1; to <= n; to++) {
                unsigned apart = (from + n - to) % n;
                bool across = (from < middle && to > middle) || (from > middle && to < middle);
                p->drop[from][to] = ring ? apart > 1 && apart < n - 1 : across;
            }
        return;
    case 4:
        p->loss = 1 + below(30);
        printf("loss of %u %%;", p->loss);
        return;
    default: return; /* whole */
    }
}

static void link_flaps(struct partition *p)
{
    unsigned a = any_node(), b = any_node();
    if (a == b) return;
    p->drop[a][b] = p->drop[b][a] = !p->drop[a][b];
    partition_set(&chaos.bed, p);
}

/* ---- the nodes ---- */

static void dies_at_a_call(unsigned node)
{
    static const char *const calls[] = {"write", "fdatasync"}, *const places[] = {"/log/", "data.mdb"},
                     *const ways[] = {"KILL", "KILL_AFTER", "KILL_HALF"};
    unsigned place = below(2);
    char order[80];
    /* LMDB counts on a page being written whole or not at all, as disks do. */
    snprintf(order, sizeof order, "%s %u %s %s\n", calls[below(2)], 1 + below(40), places[place],
             ways[below(place == 0 ? 3 : 2)]);
    printf(" %u dies at %.*s;", node, (int)strcspn(order, "\n"), order);
    chaos_order_disk(&chaos, node, order);
}

/* A call fails, or each takes longer, or does not return, until the round ends; who ends itself then stays down until
 * it is started with a good disk, or with this one, when all are killed and started. */
static void disk_fails(void)
{
    static const char *const calls[] = {"write", "fdatasync"}, *const places[] = {"/log/", "/state/"},
                     *const ways[] = {"EIO", "ENOSPC", "SLOW", "HANG"};
    char order[80];
    unsigned call = below(2), way = below(4);
    if (call && way == 1) way = 0; /* a sync doesn't run out of space */
    snprintf(order, sizeof order, "%s %u %s %s\n", calls[call], 1 + below(40), places[below(2)], ways[way]);
    printf(" disk of %u %.*s;", disk_node, (int)strcspn(order, "\n"), order);
    chaos_disk_ails(&chaos, disk_node, order);
}

static void gets_a_good_disk(void)
{
    if (!chaos_ended(&chaos, disk_node)) return;
    printf(" %u has a good disk;", disk_node);
    chaos_order_disk(&chaos, disk_node, NULL);
    testbed_start(&chaos.bed, disk_node);
}

static void clock_goes_wrong(void)
{
    char order[80];
    int offset = below(3) == 0 ? (int)below(60000) - 30000 : (int)below(7200000) - 3600000;
    snprintf(order, sizeof order, "%d %u\n", offset, below(3) == 0 ? 10 : 1);
    printf(" clock of %u %.*s;", clock_node, (int)strcspn(order, "\n"), order);
    chaos_order_clock(&chaos, clock_node, order);
}

static void wake(bool now)
{
    if (!stopped || (!now && chaos_now_ms() < until_ms)) return;
    testbed_signal(&chaos.bed, stopped, SIGCONT);
    stopped = 0;
}

static void stops(unsigned node)
{
    unsigned ms = below(10) == 0 ? 30000 : 500 + below(5000);
    if (stopped || !chaos.bed.pids[node]) return;
    printf(" %u stops for %u ms;", node, ms);
    testbed_signal(&chaos.bed, node, SIGSTOP);
    stopped = node;
    until_ms = chaos_now_ms() + ms;
}

static void are_killed(unsigned nodes)
{
    printf(" kill");
    for (unsigned node = 1; node <= chaos.bed.n; node++) {
        if (!(nodes >> node & 1)) continue;
        printf(" %u", node);
        chaos_kill(&chaos, node);
    }
    printf(";");
    usleep(1000 * below(1000));
    testbed_start_all(&chaos.bed);
}

/* As for a new version. */
static void is_restarted(unsigned node)
{
    if (node == stopped || chaos_ended(&chaos, node)) return;
    printf(" restart %u;", node);
    fflush(stdout);
    chaos_stop(&chaos, node);
    usleep(1000 * below(1000));
    testbed_start(&chaos.bed, node);
}

static unsigned leader_or(unsigned node)
{
    unsigned leader = below(2) ? chaos_leader(&chaos, NULL) : 0;
    return leader ? leader : node;
}

static void something(struct partition *p)
{
    unsigned node = any_node(), other = any_node();
    switch (below(13)) {
    case 0: are_killed(1u << node); return;
    case 1: are_killed(1u << leader_or(node)); return;
    case 2: are_killed(1u << node | 1u << other); return;
    case 3: if (below(2)) are_killed(CHAOS_ALL); return;
    case 4: dies_at_a_call(leader_or(node)); return;
    case 5: stops(leader_or(node)); return;
    case 6: clock_goes_wrong(); return;
    case 7: link_flaps(p); return;
    case 8:
    case 9: is_restarted(leader_or(node)); return;
    case 10: disk_fails(); return;
    default: return;
    }
}

static void one_round(unsigned round, uint64_t passed_ms)
{
    struct partition p = {0};
    printf("%llu s: ", (unsigned long long)(passed_ms / 1000));
    chaos_draw(&chaos, round, 0);
    clock_node = any_node();
    disk_node = any_node();
    fall_apart(&p);
    partition_set(&chaos.bed, &p);
    uint64_t end = chaos_now_ms() + 1000 + below(7000);
    for (unsigned step = 1; chaos_now_ms() < end || (stopped && chaos_now_ms() < until_ms); step++) {
        chaos_draw(&chaos, round, step);
        unsigned pause_ms = below(1000), good_disk = below(3) == 0;
        something(&p);
        fflush(stdout);
        usleep(1000 * pause_ms);
        wake(false);
        if (good_disk) gets_a_good_disk();
    }
    p = (struct partition){0};
    partition_set(&chaos.bed, &p);
    chaos_heal(&chaos);
    stopped = 0;
    chaos_goes_on(&chaos, CHAOS_ALL, " all of them");
}

int main(void)
{
    const char *text = getenv("SECONDS");
    uint64_t length_ms = (text ? strtoull(text, NULL, 10) : 180) * 1000, start, checked;
    if (!partition_possible()) return EXIT_FAILURE;
    chaos_open(&chaos, CHAOS_BY_SEED, CHAOS_BY_SEED, true);
    start = checked = chaos_now_ms();
    for (unsigned round = 1;; round++) {
        chaos_load(&chaos);
        one_round(round, chaos_now_ms() - start);
        bool last = chaos_now_ms() - start >= length_ms;
        if (!last && chaos_now_ms() - checked < CHECK_EVERY_MS) continue;
        chaos_check(&chaos);
        checked = chaos_now_ms();
        if (last) break;
    }
    chaos_close(&chaos);
    printf("clean: seed %llu\n", (unsigned long long)chaos.seed);
    return 0;
}
