#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "consensus/peer_messages.h"
#include "tests/sim/sim.h"

/* ---- random numbers: splitmix64 ---- */

uint64_t sim_random(struct world *w)
{
    uint64_t z = (w->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t sim_below(struct world *w, uint64_t bound) { return bound ? sim_random(w) % bound : 0; }
bool sim_chance(struct world *w, unsigned per_thousand) { return sim_below(w, 1000) < per_thousand; }

uint64_t sim_hash(uint64_t hash, const void *data, size_t size) /* FNV-1a, 64 bits */
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* ---- speaking ---- */

void sim_trace(struct world *w, const char *format, ...)
{
    if (!w->verbose) return;
    va_list args;
    va_start(args, format);
    printf("%10.3f ms  ", (double)w->now / 1000);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

void sim_fail(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fflush(stdout);
    fprintf(stderr, "\nFAILED seed %llu at %.3f ms: ", (unsigned long long)w->seed, (double)w->now / 1000);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nreplay: simulate --seed %llu --verbose\n", (unsigned long long)w->seed);
    va_end(args);
    exit(1);
}

/* ---- events: a binary heap by time, then by order of scheduling ---- */

static bool before(const struct event *a, const struct event *b)
{
    return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

void sim_schedule(struct world *w, uint64_t delay, struct event event)
{
    event.at = w->now + delay;
    event.sequence = ++w->sequence;
    if (w->heap_count == w->heap_capacity) {
        w->heap_capacity = w->heap_capacity ? 2 * w->heap_capacity : 1024;
        w->heap = xrealloc(w->heap, w->heap_capacity * sizeof *w->heap);
    }
    size_t i = w->heap_count++;
    for (; i && before(&event, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = event;
}

bool sim_next(struct world *w, struct event *out)
{
    if (!w->heap_count) return false;
    *out = w->heap[0];
    struct event last = w->heap[--w->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->heap_count) break;
        if (child + 1 < w->heap_count && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    w->now = out->at;
    return true;
}

void sim_drop_events(struct world *w)
{
    for (size_t i = 0; i < w->heap_count; i++)
        if (w->heap[i].message) {
            raft_message_clear(w->heap[i].message);
            free(w->heap[i].message);
        }
    free(w->heap);
    w->heap = NULL;
    w->heap_count = w->heap_capacity = 0;
}

/* ---- the network ---- */

/* In half of the worlds every start of a node may be one of another release, an older or a newer. */
static unsigned version_of(const struct world *w, raft_id id)
{
    uint64_t start[] = {w->seed, id, w->nodes[id].incarnation};
    return w->seed % 2 ? PEER_VERSION : 1 + (unsigned)(sim_hash(0, start, sizeof start) % PEER_VERSION);
}

unsigned sim_version(const struct world *w, raft_id from, raft_id to)
{
    unsigned one = version_of(w, from), other = version_of(w, to);
    return one < other ? one : other;
}

static struct raft_message *copy_message(struct world *w, const struct raft_message *m)
{
    struct raft_message *copy = xcalloc(1, sizeof *copy);
    unsigned version = sim_version(w, m->from, m->to);
    if (w->plan.codec || version < PEER_VERSION) {
        struct buffer encoded = {0};
        raft_message_encode(&encoded, NULL, m, version);
        enum err e = raft_message_decode(copy, buffer_bytes(&encoded), version);
        if (e) sim_fail(w, "message '%s' does not decode: %s", raft_message_name(m->type), err_text(e));
        buffer_free(&encoded);
        return copy;
    }
    *copy = *m;
    raft_blob_retain(copy->manifest);
    if (m->entry_count) {
        copy->entries = xcalloc(m->entry_count, sizeof *copy->entries);
        memcpy(copy->entries, m->entries, m->entry_count * sizeof *copy->entries);
    }
    for (size_t i = 0; i < m->entry_count; i++) raft_blob_retain(copy->entries[i].blob);
    return copy;
}

static bool is_lost(struct world *w, raft_id from, raft_id to)
{
    return w->cut[from][to] || sim_chance(w, w->plan.loss);
}

/* What is said of votes, and comes when much else has happened, or never. */
static bool is_of_vote(const struct event *e)
{
    return e->kind == EVENT_REJOIN || e->message->type == RAFT_VOTE || e->message->type == RAFT_VOTE_ANSWER;
}

/* After `delay` it begins to pass, part by part. When it has passed, from now. */
static uint64_t pass(struct world *w, raft_id from, raft_id to, uint64_t delay, const struct event *event)
{
    const struct raft_message *m = event->kind == EVENT_DELIVER ? event->message : NULL;
    uint64_t takes = 0;
    for (size_t i = 0; m && i < m->entry_count; i++) takes += m->entries[i].blob ? w->plan.entry_us : 0;
    for (uint64_t at = SIM_TICK_US; at < takes; at += SIM_TICK_US)
        sim_schedule(w, delay + at, (struct event){.kind = EVENT_PART, .node = to, .from = from});
    return delay + takes;
}

static void send_once(struct world *w, raft_id from, raft_id to, uint64_t delay, struct event event)
{
    delay += 100 + sim_below(w, w->plan.delay_us);
    if (w->plan.fifo) {
        uint64_t *free_at = &w->link_free[from][to];
        if (w->now + delay < *free_at) delay = *free_at - w->now;
        delay = pass(w, from, to, delay, &event);
        *free_at = w->now + delay + 1;
    } else if (sim_chance(w, 10)) {
        delay += sim_below(w, 30) * w->plan.delay_us; /* a straggler */
    } else if (w->plan.late_vote && is_of_vote(&event) && sim_chance(w, w->plan.late_vote)) {
        delay += sim_below(w, 1000000);
    }
    event.node = to;
    sim_schedule(w, delay, event);
}

static void send_message(struct world *w, const struct raft_message *m, uint64_t delay)
{
    struct event event = {.kind = EVENT_DELIVER, .set_backs = w->nodes[m->to].set_backs};
    event.message = copy_message(w, m);
    send_once(w, m->from, m->to, delay, event);
}

static void trace_message(struct world *w, const struct raft_message *m)
{
    sim_trace(w, "%u -> %u: %s, term %llu, at %llu, %zu entries, commit %llu, match %llu, checked %llu%s%s",
              m->from, m->to, raft_message_name(m->type), (unsigned long long)m->term,
              (unsigned long long)m->log.index, m->entry_count, (unsigned long long)m->commit,
              (unsigned long long)m->match, (unsigned long long)m->checked, m->rejected ? ", rejected" : "",
              m->granted ? ", granted" : "");
}

void sim_send(struct world *w, const struct raft_message *m)
{
    w->totals->messages++;
    trace_message(w, m);
    if (!m->to || m->to > SIM_NODES) sim_fail(w, "message to nobody");
    if (is_lost(w, m->from, m->to)) return;
    if (m->type == RAFT_VOTE && w->plan.lost_vote && sim_chance(w, w->plan.lost_vote)) return;
    uint64_t more = 0;
    if (w->vote_plot.until && !faults_plot_vote(w, m, &more)) return;
    send_message(w, m, more);
    if (sim_chance(w, w->plan.duplicate)) send_message(w, m, more);
}

static void send_rejoin(struct world *w, raft_id from, raft_id to, const struct rejoin_message *m)
{
    struct buffer encoded = {0};
    struct event event = {.kind = EVENT_REJOIN, .from = from};
    rejoin_encode(&encoded, m);
    enum err e = rejoin_decode(&event.rejoin, buffer_bytes(&encoded));
    if (e) sim_fail(w, "what is said of a vote does not decode: %s", err_text(e));
    buffer_free(&encoded);
    send_once(w, from, to, 0, event);
}

void sim_send_rejoin(struct world *w, raft_id from, raft_id to, const struct rejoin_message *m)
{
    static const char *const names[] = {"ask", "point", "hold", "held"};
    w->totals->messages++;
    sim_trace(w, "%u -> %u: %s, term %llu, at %llu, nonce %llx", from, to, names[m->step - REJOIN_ASK],
              (unsigned long long)m->term, (unsigned long long)m->index, (unsigned long long)m->nonce);
    if (is_lost(w, from, to)) return;
    send_rejoin(w, from, to, m);
    if (sim_chance(w, w->plan.duplicate)) send_rejoin(w, from, to, m);
}
