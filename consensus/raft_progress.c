/* What a leader sends to each peer next.
 *
 *   probe       it is not known where the logs agree: one append, then wait for
 *               its answer, or for a heartbeat's
 *   replicate   appends follow each other within a window of messages and bytes,
 *               which moves with what the peer has durable
 *   snapshot    the peer needs entries that were compacted: it was offered a state
 *
 * Appends are made in raft_take only, so that what many calls bring goes out in
 * few messages. Nothing here waits for the leader's own disk.
 */
#include "consensus/raft_internal.h"

struct progress *raft_progress_of(struct raft *r, raft_id id)
{
    for (unsigned i = 0; i < r->progress_count; i++)
        if (r->progress[i].id == id) return &r->progress[i];
    return NULL;
}

bool raft_progress_active(const struct raft *r, const struct progress *p)
{
    return p->silent_ticks < 2 * r->options.election_ticks;
}

static void new_round(struct raft *r, struct progress *p)
{
    p->round = ++r->round;
    p->window_first = p->window_count = 0;
    p->window_bytes = 0;
}

void raft_progress_probe(struct raft *r, struct progress *p, raft_index next)
{
    p->state = RAFT_PROBE;
    p->next = next;
    p->paused = false;
    new_round(r, p);
}

void raft_progress_replicate(struct raft *r, struct progress *p, raft_index next)
{
    p->state = RAFT_REPLICATE;
    p->next = next;
    p->paused = false;
    new_round(r, p);
}

void raft_progress_matched(struct progress *p, raft_index match)
{
    if (match <= p->match) return;
    p->match = match;
    p->next = index_max(p->next, match + 1);
    while (p->window_count && p->window[p->window_first].last <= match) {
        p->window_bytes -= p->window[p->window_first].bytes;
        p->window_first = (p->window_first + 1) % LIMIT_RAFT_WINDOW;
        p->window_count--;
    }
}

/* Peers come and go with the configuration; who stays keeps its progress. */
void raft_progress_sync(struct raft *r)
{
    const struct raft_config *config = &config_history_latest(&r->configs)->config;
    unsigned kept = 0;
    for (unsigned i = 0; i < r->progress_count; i++) {
        const struct raft_member *m = raft_config_find(config, r->progress[i].id);
        if (!m) continue;
        if (kept != i) r->progress[kept] = r->progress[i];
        r->progress[kept++].voter = m->voter;
    }
    r->progress_count = kept;
    for (unsigned i = 0; i < config->count; i++) {
        raft_id id = config->members[i].id;
        if (id == r->options.id || raft_progress_of(r, id)) continue;
        struct progress *p = &r->progress[r->progress_count++];
        *p = (struct progress){.id = id, .voter = config->members[i].voter};
        raft_progress_probe(r, p, r->log.last + 1);
    }
}

/* ---- heartbeats ---- */

static void send_heartbeat(struct raft *r, struct progress *p)
{
    struct raft_message m = {.type = RAFT_HEARTBEAT,
                             .to = p->id,
                             .commit = r->commit,
                             .durable = raft_own_copy(r),
                             .round = p->round,
                             .sent = p->state == RAFT_REPLICATE ? p->next - 1 : 0};
    p->commit_sent = r->commit;
    p->durable_sent = raft_own_copy(r);
    raft_emit(r, &m);
}

void raft_broadcast_heartbeat(struct raft *r)
{
    for (unsigned i = 0; i < r->progress_count; i++) send_heartbeat(r, &r->progress[i]);
}

/* ---- appends ---- */

static void window_push(struct progress *p, raft_index last, size_t bytes)
{
    CHECK(p->window_count < LIMIT_RAFT_WINDOW);
    unsigned at = (p->window_first + p->window_count++) % LIMIT_RAFT_WINDOW;
    p->window[at].last = last;
    p->window[at].bytes = bytes;
    p->window_bytes += bytes;
}

/* Sends `count` entries after p->next - 1, from the cache unless given. */
static void send_append(struct raft *r, struct progress *p, const struct raft_entry *entries, size_t count,
                        size_t bytes)
{
    /* Of many heartbeats in line on a slow link, all answered at once, only those sent after this probe tell that it was
     * lost, or each would have it sent again. */
    if (p->state == RAFT_PROBE) new_round(r, p);
    struct raft_message m = {.type = RAFT_APPEND,
                             .to = p->id,
                             .round = p->round,
                             .log = raft_log_position(&r->log, p->next - 1),
                             .commit = r->commit,
                             .durable = raft_own_copy(r)};
    if (count) m.entries = xcalloc(count, sizeof *m.entries);
    for (size_t i = 0; i < count; i++) {
        m.entries[i] = entries ? entries[i] : *raft_log_cached(&r->log, p->next + i);
        raft_blob_retain(m.entries[i].blob);
    }
    m.entry_count = count;
    p->commit_sent = r->commit;
    p->durable_sent = raft_own_copy(r);
    if (p->state == RAFT_PROBE) {
        p->paused = true;
    } else if (count) {
        p->next += count;
        window_push(p, p->next - 1, bytes);
    }
    raft_emit(r, &m);
}

/* Whether one more entry goes into an append: the first into an empty window always does. */
static bool fits(const struct raft *r, const struct progress *p, size_t count, size_t bytes, size_t cost)
{
    if (count == LIMIT_RAFT_ENTRIES) return false;
    if (count && bytes + cost > r->options.message_bytes) return false;
    return (!count && !p->window_count) || p->window_bytes + bytes + cost <= r->options.window_bytes;
}

static bool send_cached(struct raft *r, struct progress *p)
{
    size_t count = 0, bytes = 0;
    for (raft_index i = p->next; i <= r->log.last; i++, count++) {
        size_t cost = raft_entry_cost(raft_log_cached(&r->log, i));
        if (!fits(r, p, count, bytes, cost)) break;
        bytes += cost;
    }
    if (!count && p->state == RAFT_REPLICATE) return false;
    send_append(r, p, NULL, count, bytes);
    return true;
}

static bool send_snapshot(struct raft *r, struct progress *p)
{
    if (!raft_progress_active(r, p) || !r->manifest || r->snapshot < r->log.compacted.index) return false;
    p->state = RAFT_SNAPSHOT_SENT;
    p->snapshot = r->snapshot;
    new_round(r, p);
    struct raft_message m = {.type = RAFT_SNAPSHOT,
                             .to = p->id,
                             .commit = r->commit,
                             .round = p->round,
                             .log = raft_log_position(&r->log, r->snapshot),
                             .config = config_history_of(&r->configs, r->snapshot)->config,
                             .manifest = raft_blob_retain(r->manifest)};
    raft_emit(r, &m);
    return false;
}

static void read_for(struct raft *r, struct progress *p)
{
    struct raft_read read = {.peer = p->id,
                             .first = p->next,
                             .last = index_min(r->log.cached_first - 1, p->next + LIMIT_RAFT_ENTRIES - 1),
                             .max_bytes = r->options.message_bytes};
    p->reading = true;
    raft_request_read(r, &read);
}

/* Sends one thing; true: there may be more to send. */
static bool advance(struct raft *r, struct progress *p)
{
    if (p->state == RAFT_SNAPSHOT_SENT || p->reading) return false;
    if (p->state == RAFT_PROBE && p->paused) return false;
    if (p->state == RAFT_REPLICATE &&
        (p->next > r->log.last || p->window_count == r->options.window_messages ||
         p->window_bytes >= r->options.window_bytes))
        return false;
    if (p->next <= r->log.compacted.index) return send_snapshot(r, p);
    if (p->next >= r->log.cached_first) return send_cached(r, p);
    /* Old entries: a probe goes without them, so that nothing is read for a peer that is away. */
    if (p->state == RAFT_PROBE)
        send_append(r, p, NULL, 0, 0);
    else
        read_for(r, p);
    return false;
}

/* What the peer needs to know which entries are committed, and was not told with an append. */
static bool has_news(const struct raft *r, const struct progress *p)
{
    raft_index known = p->commit_sent, now = r->commit;
    if (p->counts && raft_two_decide(r, r->options.id, p->id)) {
        known = index_max(known, p->durable_sent);
        now = index_max(now, raft_own_copy(r));
    }
    return known < index_min(now, p->next - 1);
}

void raft_flush(struct raft *r)
{
    for (unsigned i = 0; i < r->progress_count; i++) {
        struct progress *p = &r->progress[i];
        while (advance(r, p) && p->state == RAFT_REPLICATE) continue;
        if (p->state == RAFT_REPLICATE && has_news(r, p)) send_heartbeat(r, p); /* answers wait for it */
    }
}

/* ---- reads of the own log ---- */

static bool read_fits(const struct raft *r, const struct progress *p, const struct raft_entry *entries,
                      size_t count)
{
    if (p->state != RAFT_REPLICATE || entries[0].index != p->next || p->next <= r->log.compacted.index)
        return false;
    for (size_t i = 0; i < count; i++)
        if (entries[i].index != p->next + i || !entries[i].term ||
            entries[i].term != raft_log_term(&r->log, entries[i].index))
            return false;
    return true;
}

void raft_read_done(struct raft *r, raft_id peer, const struct raft_entry *entries, size_t count)
{
    CHECK(count);
    struct progress *p = r->halted ? NULL : raft_progress_of(r, peer);
    if (!p || !p->reading) return;
    p->reading = false;
    if (r->role != RAFT_LEADER || !read_fits(r, p, entries, count)) return;
    size_t n = 0, bytes = 0;
    for (; n < count; n++) {
        size_t cost = raft_entry_cost(&entries[n]);
        if (!fits(r, p, n, bytes, cost)) break;
        bytes += cost;
    }
    if (n) send_append(r, p, entries, n, bytes);
}

void raft_read_failed(struct raft *r, raft_id peer)
{
    struct progress *p = r->halted ? NULL : raft_progress_of(r, peer);
    if (!p || !p->reading) return;
    p->reading = false;
    if (p->state != RAFT_REPLICATE) return;
    raft_progress_probe(r, p, p->match + 1);
    p->paused = true;
}

void raft_peer_lost(struct raft *r, raft_id peer)
{
    struct progress *p = r->halted ? NULL : raft_progress_of(r, peer);
    if (!p) return;
    if (p->state == RAFT_REPLICATE)
        raft_progress_probe(r, p, p->match + 1);
    p->paused = false;
}

void raft_peer_counts(struct raft *r, raft_id peer, bool counts)
{
    struct progress *p = raft_progress_of(r, peer);
    if (p) p->counts = counts;
}

raft_index raft_needed_from(const struct raft *r)
{
    raft_index needed = r->log.last + 1;
    for (unsigned i = 0; r->role == RAFT_LEADER && i < r->progress_count; i++) {
        const struct progress *p = &r->progress[i];
        if (!raft_progress_active(r, p)) continue;
        raft_index from = p->state == RAFT_REPLICATE      ? p->match + 1
                          : p->state == RAFT_SNAPSHOT_SENT ? p->snapshot + 1
                                                           : p->next;
        needed = index_min(needed, from);
    }
    return needed;
}
