/* A seed's plan, and what goes wrong in it. Each seed draws which faults exist at
 * all and how often: with all at once nothing would ever get far enough to break
 * in an interesting way. */
#include "tests/sim/sim.h"

static unsigned some(struct world *w, unsigned chance, unsigned most)
{
    return sim_chance(w, chance) ? 1 + (unsigned)sim_below(w, most) : 0;
}

static void draw_options(struct world *w)
{
    struct raft_options *o = &w->plan.options;
    raft_options_default(o);
    o->election_ticks = 10;
    o->heartbeat_ticks = 1 + (uint32_t)sim_below(w, 3);
    o->stall_ticks = sim_chance(w, 500) ? 30 : 0;
    o->slow_writes = sim_chance(w, 500) ? 2 : 0;
    o->window_messages = sim_chance(w, 500) ? 1 + (uint32_t)sim_below(w, 4) : 64;
    o->window_bytes = sim_chance(w, 500) ? 200 + sim_below(w, 2000) : 1 << 20;
    o->message_bytes = sim_chance(w, 500) ? 100 + sim_below(w, 1000) : 1 << 16;
    o->backlog_bytes = sim_chance(w, 500) ? 500 + sim_below(w, 4000) : 1 << 20;
    o->cache_bytes = o->backlog_bytes + (sim_chance(w, 500) ? 0 : 1 << 16);
    o->spent_bytes = sim_chance(w, 500) ? sim_below(w, 500) : 2 * MIB;
}

/* Leaders come and go with entries that only some nodes have: the paper's Figure 8. */
static void draw_churn(struct world *w)
{
    struct plan *p = &w->plan;
    p->crash_leader = 50 + (unsigned)sim_below(w, 300);
    p->lonely_leader = 50 + (unsigned)sim_below(w, 400);
    p->restart = 100 + (unsigned)sim_below(w, 400);
    p->heal_links = 50 + (unsigned)sim_below(w, 200);
    p->fault_every_us = 20000 + sim_below(w, 100000);
    if (sim_chance(w, 500)) p->client_every_us = 50000 + sim_below(w, 200000);
    if (sim_chance(w, 500)) p->voters = 3 + (unsigned)sim_below(w, 3);
    p->crash_new_leader = some(w, 700, 800);
    if (sim_chance(w, 600)) { /* entry by entry, so that there is a moment between any two */
        p->options.window_messages = 1;
        p->options.message_bytes = 1;
        p->delay_us = 5000 + (unsigned)sim_below(w, 30000);
    }
}

/* Many changes of members, down to two, while leaders change. */
static void draw_members(struct world *w)
{
    struct plan *p = &w->plan;
    p->voters = sim_chance(w, 500) ? 4 : 2 + (unsigned)sim_below(w, 4); /* even: the smallest overlap of majorities */
    p->members = 100 + (unsigned)sim_below(w, 500);
    if (sim_chance(w, 500)) p->client_every_us = 100000 + sim_below(w, 200000);
    if (sim_chance(w, 500)) draw_churn(w);
}

/* Nodes fall behind what is kept of the log. */
static void draw_laggards(struct world *w)
{
    struct plan *p = &w->plan;
    p->sync = 300 + (unsigned)sim_below(w, 600);
    p->partition = 30 + (unsigned)sim_below(w, 150);
    p->stall = some(w, 600, 200);
    p->client_every_us = 1000 + sim_below(w, 3000);
}

/* Disks lose what was counted, while few have a copy of it; in half of these plans by a plot: chance hits upon it
 * too seldom. */
static void draw_forgetful(struct world *w)
{
    struct plan *p = &w->plan;
    p->damage = 200 + (unsigned)sim_below(w, 600);
    p->crash = 30 + (unsigned)sim_below(w, 120);
    p->refuse = some(w, 700, 150);
    if (sim_chance(w, 700)) p->members = 0;
    if (sim_chance(w, 500)) return;
    p->voters = 5;
    p->plot = 100 + (unsigned)sim_below(w, 300);
    p->crash = p->crash_leader = p->crash_new_leader = p->lonely_leader = p->partition = p->stall = p->refuse = 0;
    p->damage = 900;
    p->sync = 500;
    p->fault_every_us = 10000 + sim_below(w, 20000);
    p->client_every_us = 2000 + sim_below(w, 20000);
    if (p->delay_us > 10000) p->delay_us = 10000;
}

/* By a plot, as below: chance hits upon it too seldom. */
static void draw_vote_plot(struct world *w)
{
    struct plan *p = &w->plan;
    p->voters = p->nodes = sim_chance(w, 400) ? 3 : 5;
    p->vote_plot = 100 + (unsigned)sim_below(w, 400);
    p->members = p->settings = p->plot = 0;
    p->damage = some(w, 400, 900);
    p->crash = p->crash_leader = p->crash_new_leader = p->lonely_leader = p->partition = p->stall = p->refuse = 0;
    p->late_vote = some(w, 500, 900); /* what is said to an earlier life, too */
    p->duplicate = some(w, 500, 500);
    if (sim_chance(w, 500)) p->fifo = false;
    p->pause = p->lost_vote = p->transfer = p->crash_voter = p->pause_candidate = p->loss = 0;
    p->set_back = 950;
    p->restart = 500;
    p->write_us = 2000;
    p->delay_us = 1000 + (unsigned)sim_below(w, 9000);
    p->fault_every_us = 5000 + sim_below(w, 20000);
    p->client_every_us = 5000 + sim_below(w, 200000);
    p->most_set_back = sim_chance(w, 800) ? (p->voters - 1) / 2 : SIM_NODES;
}

/* Disks are set back, while candidacies last and votes are under way. Either of so few that all have to vote again in
 * the end, or of any number: then nothing has to go on, but still nothing may be lost. */
static void draw_set_back(struct world *w)
{
    struct plan *p = &w->plan;
    p->set_back = 100 + (unsigned)sim_below(w, 700);
    p->image = 50 + (unsigned)sim_below(w, 400);
    if (sim_chance(w, 100)) p->rejoin_ticks = 100;
    p->fault_phase_us *= 2;
    p->crash = some(w, 700, 100);
    p->restart = 200 + (unsigned)sim_below(w, 700);
    p->transfer = some(w, 800, 200);
    p->crash_voter = some(w, 800, 600);
    p->pause_candidate = some(w, 800, 1000);
    p->pause = some(w, 300, 80);
    p->late_vote = some(w, 600, 500);
    p->lost_vote = some(w, 600, 700);
    p->refuse = some(w, 500, 150);
    if (sim_chance(w, 700)) p->settings = 0;
    if (sim_chance(w, 700)) p->damage = 0;
    if (sim_chance(w, 600)) p->write_us = 2000;
    if (sim_chance(w, 700)) p->fifo = false;
    if (sim_chance(w, 700)) p->delay_us = 1000 + (unsigned)sim_below(w, 9000);
    if (sim_chance(w, 700)) p->partition = p->crash_leader = p->lonely_leader = p->crash_new_leader = 0;
    if (sim_chance(w, 800)) p->voters = sim_chance(w, 400) ? 3 : 5;
    if (sim_chance(w, 700)) p->members = 0;
    if (p->voters < 3) p->voters = 3;
    p->most_set_back = sim_chance(w, 700) && !p->members ? (p->voters - 1) / 2 : SIM_NODES;
    p->nodes = p->members ? SIM_NODES : p->voters;
    p->stay_down = 0;
    if (sim_chance(w, 500)) draw_vote_plot(w);
}

/* Links on which one entry may take longer than an election. */
static void draw_slow_links(struct world *w)
{
    struct plan *p = &w->plan;
    uint64_t election_us = p->options.election_ticks * SIM_TICK_US;
    p->fifo = true;
    p->entry_us = (unsigned)(election_us / 4 + sim_below(w, 3 * election_us));
    p->client_every_us = p->entry_us * (1 + sim_below(w, 4));
    p->batch = 1 + (unsigned)sim_below(w, 3);
    p->options.window_messages = 1 + (uint32_t)sim_below(w, 3);
    p->fault_phase_us *= 3;
    p->fault_every_us *= 5;
}

void plan_draw(struct world *w)
{
    struct plan *p = &w->plan;
    draw_options(w);
    p->voters = 3 + (unsigned)sim_below(w, 5);
    if (sim_chance(w, 400)) p->voters = 3;
    p->fault_phase_us = (1 + sim_below(w, 4)) * 1000000;
    p->fault_every_us = 5000 + sim_below(w, 60000);
    p->client_every_us = 1000 + sim_below(w, 30000);
    p->delay_us = sim_chance(w, 700) ? 1000 + (unsigned)sim_below(w, 9000) : 20000 + (unsigned)sim_below(w, 40000);
    p->loss = some(w, 500, 150);
    p->duplicate = some(w, 500, 100);
    p->fifo = sim_chance(w, 400);
    p->codec = sim_chance(w, 100);
    p->write_us = sim_chance(w, 600) ? 2000 : 20000 + (unsigned)sim_below(w, 60000);
    p->read_fail = some(w, 300, 300);
    p->install_fail = some(w, 300, 500);
    p->crash = some(w, 700, 150);
    p->restart = 20 + (unsigned)sim_below(w, 400);
    p->partition = some(w, 600, 150);
    p->heal_links = 20 + (unsigned)sim_below(w, 300);
    p->stall = some(w, 400, 100);
    p->sync = some(w, 700, 500);
    p->transfer = some(w, 400, 150);
    p->settings = some(w, 200, 100);
    p->peer_lost = some(w, 300, 200);
    p->batch = 1 + (unsigned)sim_below(w, 8);
    p->payload = sim_chance(w, 500) ? 1 : 1 + (unsigned)sim_below(w, 300);
    p->torn = sim_chance(w, 800);
    p->damage = some(w, 150, 300);
    p->most_set_back = 1;
    p->rejoin_ticks = 1 + (unsigned)sim_below(w, 10);
    p->refuse = some(w, 200, 100);
    p->members = some(w, 300, 300);
    if (sim_chance(w, 350)) draw_churn(w);
    if (sim_chance(w, 150)) draw_members(w);
    if (sim_chance(w, 200)) draw_laggards(w);
    if (sim_chance(w, 100)) draw_forgetful(w);
    p->nodes = p->members ? SIM_NODES : p->voters;
    if (p->voters < 3) p->damage = 0; /* two voters, one of them without a vote: nobody could go on */
    if (!p->members && !p->damage) p->stay_down = (unsigned)sim_below(w, (p->voters - 1) / 2 + 1);
    if (w->seed / 2 % 4 == 0) draw_set_back(w);
    if (w->seed / 2 % 8 == 3) draw_slow_links(w);
}

/* ---- picking ---- */

static struct node *any_node(struct world *w) { return &w->nodes[1 + sim_below(w, w->plan.nodes)]; }

static struct node *any_up(struct world *w)
{
    struct node *n = any_node(w);
    return n->raft ? n : NULL;
}

/* A node that believes it leads; of several the one with the highest term. */
static struct node *leader(struct world *w)
{
    struct node *best = NULL;
    raft_term best_term = 0;
    for (unsigned id = 1; id <= w->plan.nodes; id++) {
        struct raft_status s;
        if (!w->nodes[id].raft) continue;
        raft_status_get(w->nodes[id].raft, &s);
        if (s.role != RAFT_LEADER || s.term <= best_term) continue;
        best = &w->nodes[id];
        best_term = s.term;
    }
    return best;
}

/* ---- disks that are set back ---- */

unsigned faults_impaired(const struct world *w)
{
    unsigned count = 0;
    for (unsigned id = 1; id <= w->plan.nodes; id++) count += w->nodes[id].set_back;
    return count;
}

bool faults_can_heal(const struct world *w)
{
    unsigned impaired = faults_impaired(w);
    if (!w->plan.set_back || !impaired) return true;
    return !w->plan.members && impaired <= (w->plan.voters - 1) / 2;
}

static void take_image(struct world *w)
{
    struct node *n = any_node(w);
    disk_copy(&n->image, &n->disk);
    sim_trace(w, "disk %u is copied, term %llu, vote %u, log to %llu", n->id, (unsigned long long)n->disk.term,
              n->disk.vote, (unsigned long long)disk_last(&n->disk));
}

/* ---- links ---- */

static void clear_cuts(struct world *w)
{
    for (unsigned a = 1; a <= SIM_NODES; a++)
        for (unsigned b = 1; b <= SIM_NODES; b++) w->cut[a][b] = false;
}

static void cut_groups(struct world *w, raft_id bridge)
{
    uint64_t side = sim_random(w);
    for (unsigned a = 1; a <= SIM_NODES; a++)
        for (unsigned b = 1; b <= SIM_NODES; b++)
            w->cut[a][b] = a != bridge && b != bridge && ((side >> a) & 1) != ((side >> b) & 1);
}

static void partition(struct world *w)
{
    raft_id node = any_node(w)->id;
    switch (sim_below(w, 5)) {
    case 0: cut_groups(w, 0); break;
    case 1: cut_groups(w, node); break;
    case 2: /* hears nobody */
        for (unsigned a = 1; a <= SIM_NODES; a++) w->cut[a][node] = true;
        break;
    case 3: /* is heard by nobody */
        for (unsigned a = 1; a <= SIM_NODES; a++) w->cut[node][a] = true;
        break;
    case 4: w->cut[node][any_node(w)->id] = true; break;
    }
    sim_trace(w, "links are cut around node %u", node);
}

/* ---- members and settings ---- */

void faults_change_members(struct world *w, struct node *n)
{
    struct raft_config config = *raft_config_latest(n->raft, NULL);
    raft_id id = any_node(w)->id;
    const struct raft_member *m = raft_config_find(&config, id);
    unsigned least = !w->plan.damage && sim_chance(w, 300) ? 1 : 3;
    if (!m)
        raft_config_set(&config, id, false);
    else if (!m->voter)
        (void)(sim_chance(w, 800) ? raft_config_set(&config, id, true) : raft_config_remove(&config, id));
    else if (raft_config_voters(&config) > least)
        (void)(sim_chance(w, 300) ? raft_config_set(&config, id, false) : raft_config_remove(&config, id));
    raft_index index;
    if (raft_propose_config(n->raft, &index, &config, bytes_text("leaf")) == OK) {
        w->totals->configs++;
        sim_trace(w, "leader %u changes member %u at %llu", n->id, id, (unsigned long long)index);
    }
    node_handle_ready(w, n);
}

static void change_settings(struct world *w)
{
    struct node *n = any_up(w);
    if (!n) return;
    bool on = sim_chance(w, 600);
    if (sim_chance(w, 500))
        raft_set_may_lead(n->raft, on);
    else
        node_set_may_vote(n, on);
    node_handle_ready(w, n);
}

static void transfer(struct world *w)
{
    struct node *n = leader(w);
    if (!n) return;
    if (raft_transfer(n->raft, sim_chance(w, 500) ? any_node(w)->id : 0) == OK) w->totals->transfers++;
    node_handle_ready(w, n);
}

/* ---- one moment of trouble ---- */

static void crash_or_restart(struct world *w)
{
    if (sim_chance(w, w->plan.crash)) {
        struct node *n = any_up(w);
        if (n) node_crash(w, n);
        if (sim_chance(w, 30)) /* the lights go out */
            for (unsigned id = 1; id <= w->plan.nodes; id++)
                if (w->nodes[id].raft) node_crash(w, &w->nodes[id]);
    }
    for (unsigned id = 1; id <= w->plan.nodes; id++)
        if (!w->nodes[id].raft && sim_chance(w, w->plan.restart)) node_start(w, &w->nodes[id]);
}

/* The leader reaches at most one other node, so what it appends now is known to few. */
static void leave_alone(struct world *w)
{
    struct node *n = leader(w);
    if (!n) return;
    raft_id friend = any_node(w)->id;
    for (unsigned id = 1; id <= SIM_NODES; id++)
        if (id != friend) w->cut[n->id][id] = w->cut[id][n->id] = true;
    sim_trace(w, "leader %u reaches only %u", n->id, friend);
    if (w->plan.members && sim_chance(w, 500)) faults_change_members(w, n);
}

static void lose_connection(struct world *w)
{
    struct node *n = any_up(w);
    if (!n) return;
    raft_peer_lost(n->raft, any_node(w)->id);
    node_handle_ready(w, n);
}

/* ---- a plot: struct plot, step by step ---- */

static void all_refuse(struct world *w, uint64_t us)
{
    for (unsigned id = 1; id <= w->plan.nodes; id++) w->nodes[id].refuses_until = w->now + us;
}

static bool begin_plot(struct world *w)
{
    struct node *leads = leader(w), *loser = any_up(w), *holder = any_up(w);
    if (!leads || !loser || !holder || loser == leads || holder == leads || holder == loser) return false;
    all_refuse(w, 2000000);
    leads->refuses_until = loser->refuses_until = 0;
    w->plot = (struct plot){.leader = leads->id, .loser = loser->id, .holder = holder->id};
    return true;
}

static void lose_copy(struct world *w)
{
    struct node *n = &w->nodes[w->plot.loser];
    if (n->raft) node_crash(w, n);
    n->refuses_until = w->now + sim_below(w, 1000000);
    node_start(w, n);
}

/* The leader is not heard by who lost the copy, or does not hear it, or both. */
static void part(struct world *w)
{
    const struct plot *p = &w->plot;
    uint64_t ways = 1 + sim_below(w, 3);
    for (unsigned id = 1; id <= SIM_NODES; id++) {
        w->cut[id][p->loser] = id != p->leader || (ways & 1);
        w->cut[p->loser][id] = id != p->leader || (ways & 2);
    }
    w->nodes[p->holder].refuses_until = 0;
}

static void end_plot(struct world *w)
{
    for (unsigned id = 1; id <= w->plan.nodes; id++)
        if ((id == w->plot.leader || id == w->plot.holder) && w->nodes[id].raft) node_crash(w, &w->nodes[id]);
    clear_cuts(w);
    all_refuse(w, 0);
}

static void plot(struct world *w)
{
    struct plot *p = &w->plot;
    if (p->step && w->now < p->due) return;
    switch (p->step) {
    case 0:
        if (!sim_chance(w, w->plan.plot) || !begin_plot(w)) return;
        break;
    case 1: lose_copy(w); break;
    case 2: part(w); break;
    case 3: end_plot(w); break;
    }
    const uint64_t most_us[] = {100000, 100000, 900000, 0};
    sim_trace(w, "plot of leader %u, loser %u, holder %u: step %u", p->leader, p->loser, p->holder, p->step);
    p->due = w->now + sim_below(w, most_us[p->step]);
    p->step = (p->step + 1) % 4;
}

/* ---- a plot with a vote: struct vote_plot ---- */

static void begin_vote_plot(struct world *w)
{
    struct node *leads = leader(w);
    struct node *stands = any_up(w), *forgets = any_up(w), *other = any_up(w);
    /* Half the time who forgot last: something may be under way that was said to its earlier life. */
    struct node *again = &w->nodes[w->vote_plot.forgets];
    if (again->raft && sim_chance(w, 500)) forgets = again;
    if (forgets && forgets->forgot) return;
    if (!leads || !stands || !forgets || !other || leads == stands || leads == forgets || stands == forgets) return;
    if (w->plan.voters > 3 && (other == leads || other == stands || other == forgets)) return;
    if (raft_transfer(leads->raft, stands->id) != OK) return;
    w->totals->transfers++;
    clear_cuts(w);
    disk_copy(&forgets->image, &forgets->disk);
    w->vote_plot = (struct vote_plot){.until = w->now + 500000 + sim_below(w, 1500000),
                                      .leader = leads->id,
                                      .stands = stands->id,
                                      .forgets = forgets->id};
    struct vote_plot *p = &w->vote_plot;
    if (w->plan.voters > 3) {
        p->other = other->id;
        p->other_forgets = sim_chance(w, 500);
        p->refuses_from = p->other_forgets ? UINT64_MAX : w->now + sim_below(w, 800000);
        if (p->other_forgets) disk_copy(&other->image, &other->disk);
    }
    sim_trace(w, "plot: %u leads, %u stands, %u forgets, %u %s", p->leader, p->stands, p->forgets, p->other,
              p->other_forgets ? "forgets, too" : "is late");
    node_handle_ready(w, leads);
}

static void vote_plot(struct world *w)
{
    struct vote_plot *p = &w->vote_plot;
    if (!p->until) {
        if (w->plan.vote_plot && sim_chance(w, w->plan.vote_plot)) begin_vote_plot(w);
        return;
    }
    if (p->other && w->now >= p->refuses_from) w->nodes[p->other].refuses_until = p->until;
    if (w->now < p->until + 100000) return;
    clear_cuts(w);
    p->until = 0;
}

static void forget_soon(struct world *w, raft_id id, raft_id stands)
{
    struct event crash = {.kind = EVENT_CRASH, .node = id, .incarnation = w->nodes[id].incarnation};
    for (unsigned to = 1; to <= SIM_NODES; to++) w->cut[id][to] = to != stands; /* until it starts again */
    sim_schedule(w, sim_below(w, 5000), crash);
}

bool faults_plot_vote(struct world *w, const struct raft_message *m, uint64_t *delay)
{
    const struct vote_plot *p = &w->vote_plot;
    if (w->healed || w->now >= p->until) return true;
    if (m->type == RAFT_VOTE && m->from == p->stands) {
        w->nodes[p->stands].paused_until = p->until;
        if (m->to == p->other && !p->other_forgets) *delay = sim_below(w, p->until - w->now);
        return m->to == p->forgets || m->to == p->other;
    }
    bool forgets = m->from == p->forgets || (m->from == p->other && p->other_forgets);
    if (m->type == RAFT_VOTE_ANSWER && m->granted && m->to == p->stands && forgets) forget_soon(w, m->from, p->stands);
    return true;
}

void faults_step(struct world *w)
{
    const struct plan *p = &w->plan;
    plot(w);
    vote_plot(w);
    crash_or_restart(w);
    if (sim_chance(w, p->crash_leader)) {
        struct node *n = leader(w);
        if (n) node_crash(w, n);
    }
    if (sim_chance(w, p->lonely_leader)) leave_alone(w);
    if (sim_chance(w, p->partition)) partition(w);
    if (sim_chance(w, p->heal_links)) clear_cuts(w);
    if (sim_chance(w, p->stall)) {
        struct node *n = any_node(w);
        n->disk_stalled_until = w->now + sim_below(w, 1500000);
        sim_trace(w, "disk %u stalls", n->id);
    }
    if (sim_chance(w, p->refuse)) any_node(w)->refuses_until = w->now + sim_below(w, 1500000);
    if (sim_chance(w, p->sync)) {
        struct node *n = any_up(w);
        if (n) node_sync_state(w, n, sim_chance(w, 700));
    }
    if (p->image && sim_chance(w, p->image)) take_image(w);
    if (p->pause && sim_chance(w, p->pause)) any_node(w)->paused_until = w->now + sim_below(w, 1500000);
    if (sim_chance(w, p->transfer)) transfer(w);
    if (sim_chance(w, p->members) && leader(w)) faults_change_members(w, leader(w));
    if (sim_chance(w, p->settings)) change_settings(w);
    if (sim_chance(w, p->peer_lost)) lose_connection(w);
}

/* ---- healing ---- */

void faults_heal(struct world *w)
{
    struct plan *p = &w->plan;
    sim_trace(w, "everything heals");
    w->healed = true;
    clear_cuts(w);
    p->late_vote = p->lost_vote = p->loss = p->duplicate = p->read_fail = p->install_fail = 0;
    if (p->delay_us > 10000) p->delay_us = 10000;
    if (p->write_us > 5000) p->write_us = 5000;
    for (unsigned i = 0; i < p->stay_down; i++) {
        struct node *n = any_up(w);
        if (n) node_crash(w, n);
    }
    unsigned down = 0;
    for (unsigned id = 1; id <= p->nodes; id++) {
        struct node *n = &w->nodes[id];
        n->disk_stalled_until = n->refuses_until = n->paused_until = 0;
        if (!n->raft && down++ < p->stay_down) continue;
        if (!n->raft) node_start(w, n);
        node_settle(n);
        node_handle_ready(w, n);
    }
}

void faults_heal_rest(struct world *w)
{
    w->plan.stay_down = 0;
    w->marker = (struct raft_position){0};
    for (unsigned id = 1; id <= w->plan.nodes; id++)
        if (!w->nodes[id].raft) node_start(w, &w->nodes[id]);
}

static bool all_applied(struct world *w, const struct node *n, raft_index index)
{
    const struct raft_config *config = raft_config_latest(n->raft, NULL);
    for (unsigned i = 0; i < config->count; i++) {
        const struct node *member = &w->nodes[config->members[i].id];
        if (!member->raft && w->plan.stay_down) continue;
        if (member->applied.position.index < index) return false;
        if (member->set_back) return false; /* that, too, is to be made up for */
    }
    return true;
}

bool faults_converged(struct world *w)
{
    struct node *n = leader(w);
    if (!n) return false;
    struct raft_status s;
    raft_status_get(n->raft, &s);
    if (w->marker.term != s.term) {
        raft_index index = raft_next_index(n->raft);
        node_propose(w, n, 1);
        if (raft_next_index(n->raft) == index) return false; /* busy */
        w->marker = (struct raft_position){index, s.term};
    }
    return w->marker.index <= w->oracle.last_committed && w->oracle.committed[w->marker.index] == s.term &&
           all_applied(w, n, w->marker.index);
}
