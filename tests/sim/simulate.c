/* simulate --seeds N [--first X]     N seeds from X, or fresh ones
 * simulate --seed X [--verbose]      one seed again, with what happens
 *
 * Exit 0: all invariants held and every cluster healed that could. A failing seed is printed
 * with the line that replays it; the run ends there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/sim/sim.h"

/* A hundred election time-outs, and a round trip for each entry that somebody lacks: a
 * plan's window may be as small as one entry. */
#define HEAL_US (10 * 1000000u)
#define HEAL_ENTRY_US 40000u
#define HEAL_PASSES 20 /* of an entry over slow links: elections, what is sent again, each follower in turn */
/* So often somebody asks until it votes again: twice for an entry, where the first can't be had. */
#define HEAL_REJOINS 80u

static uint64_t current_seed;

static void tell_seed(void)
{
    fflush(stdout);
    fprintf(stderr, "FAILED seed %llu: assertion\nreplay: simulate --seed %llu --verbose\n",
            (unsigned long long)current_seed, (unsigned long long)current_seed);
}

static void start(struct world *w)
{
    for (unsigned id = 1; id <= w->plan.voters; id++) raft_config_set(&w->genesis, (raft_id)id, true);
    for (unsigned id = 1; id <= w->plan.nodes; id++) {
        struct node *n = &w->nodes[id];
        n->id = (raft_id)id;
        n->tick_us = SIM_TICK_US * 9 / 10 + sim_below(w, SIM_TICK_US / 5);
        disk_init(&n->disk, &w->genesis);
        node_start(w, n);
    }
    sim_schedule(w, w->plan.fault_every_us, (struct event){.kind = EVENT_FAULT});
    sim_schedule(w, w->plan.client_every_us, (struct event){.kind = EVENT_CLIENT});
}

static void propose_somewhere(struct world *w)
{
    for (unsigned id = 1; id <= w->plan.nodes; id++) {
        struct node *n = &w->nodes[id];
        struct raft_status s;
        if (!n->raft || w->now < n->paused_until) continue;
        raft_status_get(n->raft, &s);
        if (s.role == RAFT_LEADER) node_propose(w, n, 1 + (unsigned)sim_below(w, w->plan.batch));
    }
    if (w->healed) return;
    uint64_t delay = 1 + sim_below(w, 2 * w->plan.client_every_us);
    sim_schedule(w, delay, (struct event){.kind = EVENT_CLIENT});
}

static void cause_trouble(struct world *w)
{
    if (w->healed) return;
    faults_step(w);
    sim_schedule(w, 1 + sim_below(w, 2 * w->plan.fault_every_us), (struct event){.kind = EVENT_FAULT});
}

/* Who forgot that it stood in a term may stand in it again, with another log. Answers to the first time don't count for
 * the second: they came by connections that ended with that process. */
static bool is_of_earlier_candidacy(const struct node *n, const struct event *e)
{
    return e->message->type == RAFT_VOTE_ANSWER && e->set_backs != n->set_backs;
}

static void handle(struct world *w, struct event *e)
{
    struct node *n = &w->nodes[e->node];
    bool alive = e->node && n->raft;
    bool sent = e->kind == EVENT_DELIVER || e->kind == EVENT_REJOIN || e->kind == EVENT_PART;
    if (!sent && e->incarnation != n->incarnation) return;
    if (alive && w->now < n->paused_until && e->kind != EVENT_CRASH) {
        sim_schedule(w, n->paused_until - w->now, *e);
        return;
    }
    switch (e->kind) {
    case EVENT_DELIVER:
        if (alive && !is_of_earlier_candidacy(n, e)) node_deliver(w, n, e->message);
        raft_message_clear(e->message);
        free(e->message);
        break;
    case EVENT_PART:
        if (alive && !w->cut[e->from][e->node]) node_receive_part(w, n, e->from);
        break;
    case EVENT_REJOIN:
        if (alive) node_deliver_rejoin(w, n, e->from, &e->rejoin);
        break;
    case EVENT_TICK:
        if (alive) node_tick(w, n);
        break;
    case EVENT_WRITE_DONE:
        if (alive) node_write_done(w, n);
        break;
    case EVENT_READ_DONE:
        if (alive) node_read_done(w, n, &e->read);
        break;
    case EVENT_INSTALL_DONE:
        if (alive) node_install_done(w, n);
        break;
    case EVENT_APPLY:
        if (alive) node_apply(w, n);
        break;
    case EVENT_CRASH:
        if (alive && !w->healed) node_crash(w, n);
        break;
    case EVENT_MEMBERS:
        if (alive) faults_change_members(w, n);
        break;
    case EVENT_FAULT: cause_trouble(w); break;
    case EVENT_CLIENT: propose_somewhere(w); break;
    }
}

static void run_until(struct world *w, uint64_t end)
{
    struct event e;
    while (w->heap_count && w->heap[0].at <= end && sim_next(w, &e)) {
        w->totals->events++;
        handle(w, &e);
    }
    w->now = end;
}

static void finish(struct world *w)
{
    w->totals->committed += w->oracle.last_committed;
    for (unsigned id = 1; id <= w->plan.nodes; id++) {
        struct node *n = &w->nodes[id];
        raft_free(n->raft);
        for (size_t i = 0; i < n->write_count; i++) write_free(&n->writes[i]);
        free(n->writes);
        disk_free(&n->disk);
        disk_free(&n->image);
    }
    sim_drop_events(w);
    oracle_free(&w->oracle);
}

static uint64_t largest_lag(const struct world *w)
{
    raft_index least = UINT64_MAX, most = 0;
    for (unsigned id = 1; id <= w->plan.nodes; id++) {
        const struct node *n = &w->nodes[id];
        if (n->applied.position.index < least) least = n->applied.position.index;
        if (n->raft && raft_next_index(n->raft) > most) most = raft_next_index(n->raft);
    }
    return most - least;
}

/* What is in line on the slowest link, and what has to pass then. */
static uint64_t passing_us(const struct world *w)
{
    uint64_t last = w->now;
    for (unsigned i = 0; i < (SIM_NODES + 1) * (SIM_NODES + 1); i++) {
        uint64_t free_at = w->link_free[i / (SIM_NODES + 1)][i % (SIM_NODES + 1)];
        if (free_at > last) last = free_at;
    }
    return last - w->now + HEAL_PASSES * w->plan.entry_us * (largest_lag(w) + 1);
}

static void go_on(struct world *w)
{
    uint64_t deadline = w->now + HEAL_US + HEAL_ENTRY_US * largest_lag(w) + passing_us(w);
    if (faults_impaired(w)) deadline += (uint64_t)HEAL_REJOINS * w->plan.rejoin_ticks * SIM_TICK_US;
    if (!faults_can_heal(w)) {
        run_until(w, w->now + HEAL_US / 5);
        return;
    }
    while (!faults_converged(w)) {
        if (w->now > deadline) sim_fail(w, "the healed cluster does not go on, %u disks were set back", faults_impaired(w));
        run_until(w, w->now + 20000);
    }
}

static uint64_t run_seed(uint64_t seed, bool verbose, struct totals *totals)
{
    struct world *w = xcalloc(1, sizeof *w);
    *w = (struct world){.seed = seed, .random = seed, .verbose = verbose, .totals = totals};
    current_seed = seed;
    oracle_init(&w->oracle);
    plan_draw(w);
    start(w);
    run_until(w, w->plan.fault_phase_us);
    faults_heal(w);
    uint64_t healed_at = w->now;
    go_on(w);
    faults_heal_rest(w);
    go_on(w);
    uint64_t took = w->now - healed_at;
    sim_trace(w, "healed after %.3f ms, %llu entries committed", (double)took / 1000,
              (unsigned long long)w->oracle.last_committed);
    totals->stranded += !faults_can_heal(w);
    finish(w);
    free(w);
    totals->seeds++;
    return took;
}

static void print_totals(const struct totals *t, uint64_t longest, double seconds)
{
    printf("%llu seeds passed in %.1f s (%.0f/s): %llu events, %llu messages, %llu entries committed\n",
           (unsigned long long)t->seeds, seconds, (double)t->seeds / (seconds > 0 ? seconds : 1),
           (unsigned long long)t->events, (unsigned long long)t->messages, (unsigned long long)t->committed);
    printf("  %llu elections, %llu leaders, %llu crashes, %llu truncations, %llu log reads, %llu snapshots "
           "installed, %llu member changes, %llu transfers, %llu damaged disks, %llu set back (%llu voted again; in %llu seeds too many at once); "
           "slowest healing %.0f ms\n",
           (unsigned long long)t->elections, (unsigned long long)t->leaders, (unsigned long long)t->crashes,
           (unsigned long long)t->truncations, (unsigned long long)t->reads, (unsigned long long)t->installs,
           (unsigned long long)t->configs, (unsigned long long)t->transfers,
           (unsigned long long)t->damages, (unsigned long long)t->set_backs, (unsigned long long)t->rejoins,
           (unsigned long long)t->stranded, (double)longest / 1000);
}

static int usage(void)
{
    fprintf(stderr, "usage: simulate --seeds N [--first X]   or   simulate --seed X [--verbose]\n");
    return 2;
}

static bool number(uint64_t *out, const char *text)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text && !*end && !errno;
}

int main(int argc, char **argv)
{
    uint64_t first = 0, count = 1;
    bool verbose = false, given = false, asked = false;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--verbose")) {
            verbose = true;
        } else if (!strcmp(argv[i], "--seeds") && more) {
            asked = number(&count, argv[++i]);
            if (!asked) return usage();
        } else if ((!strcmp(argv[i], "--first") || !strcmp(argv[i], "--seed")) && more) {
            given = number(&first, argv[i + 1]);
            if (!given) return usage();
            asked = asked || !strcmp(argv[i], "--seed");
            i++;
        } else {
            return usage();
        }
    }
    if (!asked) return usage();
    if (!given) first = clock_wall_ms() * 1000000;
    check_on_failure(tell_seed);
    printf("simulating %llu seeds from %llu\n", (unsigned long long)count, (unsigned long long)first);
    fflush(stdout);
    struct totals totals = {0};
    uint64_t longest = 0, began = clock_monotonic_ns();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t took = run_seed(first + i, verbose, &totals);
        if (took > longest) longest = took;
    }
    print_totals(&totals, longest, (double)(clock_monotonic_ns() - began) / 1e9);
    return 0;
}
