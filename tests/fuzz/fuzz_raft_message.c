/* consensus/raft.h: a message that decodes comes back byte for byte, and no core that steps it, whatever its role,
 * falls. And one core among peers whom the input plays: it keeps what it promised (its term and vote, what it said
 * to have on its disk, what it gave out to be applied), sends only what can be decoded, and does the same again for
 * the same input.
 *
 * A first byte of 0x90 to 0x9f begins a message, as an encoded one does. Any other says what the core starts with;
 * then comes a list of steps: what happens, to or from whom, three numbers. */
#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "tests/lib/recode_raft.h"
#include "tests/lib/taken.h"

#define SELF 1
#define PEERS 5 /* highest id that sends; the last one is no member at first */
#define STEPS_MOST 128
#define LOG_MOST 1024 /* entries on the disk */
#define KINDS (RAFT_TIMEOUT_NOW + 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the core and its disk --- */

enum start { /* the first byte's bits; the lowest two are the role that it is brought to */
    START_ROLE = 3,
    START_TWO = 4,        /* of two voters, who decide alone; else three */
    START_COMPACTED = 8,  /* with a snapshot to offer */
    START_TIGHT = 32,     /* small windows and caches */
    START_SLOW = 64,      /* writes wait for their step */
    START_OLDER = 128,    /* links of the first version */
};

struct pending { /* a write */
    uint64_t number;
    bool hard_state, reset;
    raft_term term;
    raft_id vote;
    struct raft_position reset_to;
    raft_index truncate_from;
    raft_index applied; /* when it was given out: a snapshot may be installed before it is done */
    struct raft_entry *entries;
    size_t count;
};

static struct node {
    struct raft *raft;
    uint8_t start;
    /* the disk */
    raft_term term;
    raft_id vote;
    struct raft_position base;
    struct raft_entry log[LOG_MOST];
    size_t count;
    struct pending writes[LIMIT_RAFT_WRITES];
    size_t write_count;
    /* what it gave out */
    raft_index apply_to, commit;
    struct raft_read reads[PEERS + 1]; /* peer 0: none */
    struct raft_position install;
    struct raft_message sent[PEERS + 1][KINDS]; /* the last of each kind, without entries and manifest */
    struct hash story; /* of all that came out */
} node;

static raft_index disk_last(void) { return node.base.index + node.count; }

static void disk_cut(size_t count)
{
    while (node.count > count) raft_blob_release(node.log[--node.count].blob);
}

static raft_term disk_term(raft_index index)
{
    if (index == node.base.index) return node.base.term;
    return index > node.base.index && index <= disk_last() ? node.log[index - node.base.index - 1].term : 0;
}

static void disk_write(struct pending *w)
{
    if (w->hard_state) {
        CHECK(w->term > node.term || (w->term == node.term && (!node.vote || node.vote == w->vote)));
        node.term = w->term;
        node.vote = w->vote;
    }
    if (w->reset) {
        disk_cut(0);
        node.base = w->reset_to;
    }
    if (w->truncate_from && w->truncate_from <= disk_last()) {
        CHECK(w->truncate_from > w->applied && w->truncate_from > node.base.index);
        disk_cut(w->truncate_from - node.base.index - 1);
    }
    for (size_t i = 0; i < w->count; i++) {
        CHECK(w->entries[i].index == disk_last() + 1 && node.count < LOG_MOST);
        CHECK(w->entries[i].term >= disk_term(disk_last()));
        node.log[node.count++] = w->entries[i]; /* with its reference */
    }
    free(w->entries);
}

static void persist(size_t count)
{
    if (count > node.write_count) count = node.write_count;
    if (count == 0) return;
    uint64_t number = node.writes[count - 1].number;
    for (size_t i = 0; i < count; i++) disk_write(&node.writes[i]);
    node.write_count -= count;
    memmove(node.writes, node.writes + count, node.write_count * sizeof node.writes[0]);
    raft_persisted(node.raft, number);
}

/* --- what comes out --- */

static void tell(const void *bytes, size_t size) { hash_add(&node.story, bytes, size); }

static unsigned version(void) { return node.start & START_OLDER ? 1 : PEER_VERSION; }

/* What it says is what it has: written, and no more. */
static void check_sent(const struct raft_message *m)
{
    CHECK(m->from == SELF && m->to != SELF && m->term == node.term);
    if (m->type == RAFT_VOTE_ANSWER && m->granted) CHECK(node.vote == m->to);
    if (m->type == RAFT_VOTE) CHECK(node.vote == SELF);
    if (m->type == RAFT_APPEND_ANSWER || m->type == RAFT_HEARTBEAT_ANSWER)
        CHECK(m->match <= disk_last() || m->match <= node.apply_to); /* the latter: in a state that was installed */
    for (size_t i = 0; i < m->entry_count; i++) CHECK(m->entries[i].index == m->log.index + 1 + i);
}

static void take_message(const struct raft_message *m)
{
    struct buffer body = {0}, again = {0};
    check_sent(m);
    raft_message_encode(&body, NULL, m, version());
    CHECK(recode_raft_as(&again, buffer_bytes(&body), version()) == OK);
    CHECK(!again.failed && bytes_equal(buffer_bytes(&again), buffer_bytes(&body)));
    tell(body.data, body.size);
    if (m->to <= PEERS) {
        struct raft_message *last = &node.sent[m->to][m->type];
        *last = *m;
        if (m->type == RAFT_APPEND) last->sent = m->log.index + m->entry_count; /* where it ends */
        last->entries = NULL;
        last->manifest = NULL;
        last->extra = (struct bytes){0};
    }
    buffer_free(&body);
    buffer_free(&again);
}

static void take_write(const struct raft_ready *ready)
{
    if (!ready->write) return;
    CHECK(node.write_count < LIMIT_RAFT_WRITES);
    struct pending *w = &node.writes[node.write_count++];
    *w = (struct pending){.number = ready->write, .hard_state = ready->hard_state, .term = ready->term,
                          .vote = ready->vote, .reset = ready->reset, .reset_to = ready->reset_to,
                          .truncate_from = ready->truncate_from, .applied = node.apply_to,
                          .count = ready->entry_count};
    w->entries = xcalloc(w->count + 1, sizeof *w->entries);
    for (size_t i = 0; i < w->count; i++) {
        w->entries[i] = ready->entries[i];
        raft_blob_retain(w->entries[i].blob);
    }
}

static void take_rest(const struct raft_ready *ready)
{
    if (ready->apply_to) {
        CHECK(ready->apply_from == node.apply_to + 1 && ready->apply_to >= ready->apply_from);
        CHECK(ready->apply_to <= disk_last());
        node.apply_to = ready->apply_to;
    }
    for (size_t i = 0; i < ready->read_count; i++)
        if (ready->reads[i].peer <= PEERS) node.reads[ready->reads[i].peer] = ready->reads[i];
    if (!ready->install) return;
    CHECK(node.install.index == 0 && ready->install->position.index > node.apply_to);
    node.install = ready->install->position;
}

/* A leader's view of them, within its windows (one entry always passes). */
static void check_peers(const struct raft_status *s)
{
    for (raft_id id = 2; id <= PEERS; id++) {
        struct raft_peer p;
        if (raft_peer_get(node.raft, id, &p) != OK) continue;
        CHECK(s->role == RAFT_LEADER && p.match <= s->last.index && p.match < p.next && p.next <= s->last.index + 1);
        if (!(node.start & START_TIGHT)) continue;
        CHECK(p.window_messages <= 2 && (p.window_bytes <= 200 || p.window_messages == 1));
    }
}

static void check_status(void)
{
    struct raft_status s;
    raft_status_get(node.raft, &s);
    CHECK(s.term >= node.term && s.commit >= node.commit && s.commit <= s.last.index && s.applied <= s.commit);
    CHECK(s.persisted <= s.last.index && s.compacted.index <= s.applied && s.checked <= s.last.index);
    CHECK(s.last.term <= s.term && (s.role == RAFT_LEADER) == (s.leader == SELF) && raft_role_name(s.role)[0]);
    CHECK((s.installing != 0) == (node.install.index != 0));
    CHECK(raft_needed_from(node.raft) <= raft_next_index(node.raft));
    const struct raft_entry *cached = raft_entry_cached(node.raft, s.last.index);
    CHECK(!cached || (cached->index == s.last.index && cached->term == s.last.term));
    CHECK(raft_term_of(node.raft, s.last.index) == s.last.term && raft_term_of(node.raft, s.last.index + 1) == 0);
    CHECK(raft_config_voters(raft_config_of(node.raft, s.last.index)) > 0);
    check_peers(&s);
    node.commit = s.commit;
    const uint64_t seen[] = {s.role, s.leader, s.term, s.commit, s.last.index, s.persisted, s.backlog_bytes};
    tell(seen, sizeof seen);
}

/* Until nothing comes out, as the driver would: a write that is done may let go of messages. */
static void take(void)
{
    for (unsigned turns = 0;; turns++) {
        CHECK(turns < 1000);
        struct raft_ready *ready = raft_take(node.raft);
        if (!ready->any) break;
        for (size_t i = 0; i < ready->message_count; i++) take_message(&ready->messages[i]);
        take_write(ready);
        take_rest(ready);
        if (!(node.start & START_SLOW)) persist(SIZE_MAX);
        check_status();
    }
}

/* --- what comes in --- */

/* Through the codec. */
static void give(struct raft_message *m, unsigned from)
{
    struct raft_message came;
    struct buffer body = {0};
    m->from = (raft_id)from;
    m->to = SELF;
    raft_message_encode(&body, NULL, m, version());
    if (raft_message_decode(&came, buffer_bytes(&body), version()) == OK) {
        if (raft_step(node.raft, &came) == OK) fuzz_taken = true;
        raft_message_clear(&came);
    }
    buffer_free(&body);
    take();
}

static struct raft_status status(void)
{
    struct raft_status s;
    raft_status_get(node.raft, &s);
    return s;
}

static raft_term term_of(uint8_t n)
{
    static const raft_term ahead[] = {0, 1, 2, RAFT_TERM_JUMP, RAFT_TERM_JUMP + 1, RAFT_TERM_MAX};
    raft_term now = status().term;
    if (n % 8 == 7) return now ? now - 1 : 0;
    return n % 8 < 6 && now + ahead[n % 8] <= RAFT_TERM_MAX ? now + ahead[n % 8] : now;
}

/* Around the log's end, or its beginning. */
static raft_index index_of(uint8_t n)
{
    struct raft_status s = status();
    if (n & 128) return s.compacted.index + n % 16;
    raft_index back = n % 16;
    return s.last.index + 3 > back ? s.last.index + 3 - back : 0;
}

static struct raft_position position_of(uint8_t n, uint8_t other)
{
    struct raft_position p = {.index = index_of(n)};
    if (p.index == 0) return p;
    p.term = raft_term_of(node.raft, p.index);
    if (!p.term || other) p.term = 1 + other % 4;
    return p;
}

/* [[1 .. 3 or more], ""]: as it is now, and one changed. */
static struct raft_config config_of(uint8_t n)
{
    struct raft_config c = *raft_config_latest(node.raft, NULL);
    raft_id id = (raft_id)(1 + n % 6);
    if (n & 8)
        raft_config_remove(&c, id);
    else
        raft_config_set(&c, id, n & 16);
    return c;
}

static struct raft_blob *payload(enum raft_entry_type type, uint8_t n)
{
    struct buffer b = {0};
    uint8_t block[] = {n, n >> 6, 2, 3}; /* the first byte is its head: who signed it */
    if (type == RAFT_ENTRY_CONFIG) {
        struct raft_config c = config_of(n);
        raft_config_encode(&b, &c, bytes_of(block, n % 4));
    }
    if (type == RAFT_ENTRY_BLOCK) buffer_append(&b, block, sizeof block);
    struct raft_blob *blob = b.size ? raft_blob_copy(buffer_bytes(&b)) : NULL;
    buffer_free(&b);
    return blob;
}

static void append(unsigned from, const uint8_t *s)
{
    struct raft_entry entries[4];
    struct raft_message m = {.type = RAFT_APPEND, .term = term_of(s[3]), .log = position_of(s[2], s[3] >> 6),
                             .commit = index_of(s[4]), .durable = index_of(s[4] >> 4), .round = 1, .entries = entries,
                             .entry_count = s[3] >> 3 & 3};
    for (size_t i = 0; i < m.entry_count; i++) {
        entries[i] = (struct raft_entry){.index = m.log.index + 1 + i, .term = m.term,
                                         .type = (enum raft_entry_type)(1 + (s[3] + i) % 3)};
        if (s[3] & 32 && raft_term_of(node.raft, entries[i].index)) /* as ours is */
            entries[i].term = raft_term_of(node.raft, entries[i].index);
        entries[i].blob = payload(entries[i].type, (uint8_t)(s[4] + i));
    }
    give(&m, from);
    for (size_t i = 0; i < m.entry_count; i++) raft_blob_release(entries[i].blob);
}

static void heartbeat(unsigned from, const uint8_t *s)
{
    struct raft_message m = {.type = RAFT_HEARTBEAT, .term = term_of(s[3]), .commit = index_of(s[2]),
                             .durable = index_of(s[4]), .round = s[3] >> 4, .sent = s[4]};
    give(&m, from);
}

/* A place that the core may well stand before; or one that it does not have. */
static void snapshot(unsigned from, const uint8_t *s)
{
    struct raft_message m = {.type = RAFT_SNAPSHOT, .term = term_of(s[3]), .log = position_of(s[2], s[3] >> 6),
                             .round = 1, .config = config_of(s[4])};
    if (s[4] & 128) m.log.index += 1000;
    if (m.log.term > m.term) m.log.term = m.term;
    m.manifest = raft_blob_copy(bytes_text("manifest"));
    give(&m, from);
    raft_blob_release(m.manifest);
}

static void election(unsigned from, const uint8_t *s)
{
    static const enum raft_message_type types[] = {RAFT_PREVOTE, RAFT_VOTE, RAFT_TIMEOUT_NOW};
    struct raft_message m = {.type = types[s[2] % 3], .term = term_of(s[3]), .transfer = s[3] & 128};
    if (m.type == RAFT_PREVOTE) m.proposed = m.term + !(s[4] & 64);
    if (m.type != RAFT_TIMEOUT_NOW) m.log = position_of(s[4], s[3] >> 3 & 3);
    give(&m, from);
}

/* What a correct peer that has all of it says to what it was sent last; changed as the lowest bits say. */
static void answer(unsigned from, const uint8_t *s)
{
    static const enum raft_message_type asks[] = {RAFT_PREVOTE, RAFT_VOTE, RAFT_APPEND, RAFT_HEARTBEAT, RAFT_SNAPSHOT};
    enum raft_message_type ask = asks[s[2] % 5];
    const struct raft_message *q = &node.sent[from][ask];
    if (!q->type) return;
    struct raft_message m = {.type = (enum raft_message_type)(ask + 1), .term = q->term, .round = q->round};
    if (ask == RAFT_PREVOTE) m.proposed = q->proposed;
    if (ask == RAFT_PREVOTE || ask == RAFT_VOTE) m.granted = !(s[3] & 1);
    if (ask == RAFT_APPEND || ask == RAFT_HEARTBEAT) m.match = m.checked = m.sent = q->sent;
    if (ask == RAFT_APPEND || ask == RAFT_SNAPSHOT) m.log = q->log;
    if (ask == RAFT_SNAPSHOT && !(s[3] & 1)) {
        m.type = RAFT_APPEND_ANSWER;
        m.match = m.checked = q->log.index;
    }
    if (s[3] & 2) m.rejected = true, m.conflict = position_of(s[4], s[3] >> 5), m.conflict_first = index_of(s[4] >> 3);
    if (s[3] & 4) m.checked += s[4], m.match = m.checked < s[4] ? 0 : m.checked - s[4];
    if (s[3] & 8) m.term = term_of(s[4]);
    if (s[3] & 16) m.round += s[4], m.installing = s[4] >> 2;
    give(&m, from);
}

/* An encoded message as it stands in the input. */
static void raw(const uint8_t *s, struct bytes rest)
{
    struct raft_message m;
    struct bytes in = bytes_of(rest.data, rest.size < s[4] ? rest.size : s[4]);
    if (raft_message_decode(&m, in, version()) == OK) (void)raft_step(node.raft, &m);
    raft_message_clear(&m);
    take();
}

/* --- what the driver does --- */

static void propose(const uint8_t *s)
{
    raft_index at;
    struct raft_config c = config_of(s[3]);
    struct raft_blob *blobs[4];
    size_t count = 1 + s[3] % 4;
    raft_index last = status().last.index;
    if (node.count + 4 * STEPS_MOST > LOG_MOST) return;
    if (s[2] % 4 == 0) (void)raft_propose_empty(node.raft);
    if (s[2] % 4 == 1 && raft_propose_config(node.raft, &at, &c, bytes_of(s, s[4] % 4)) == OK) CHECK(at == last + 1);
    if (s[2] % 4 >= 2) {
        for (size_t i = 0; i < count; i++) blobs[i] = payload(RAFT_ENTRY_BLOCK, s[4]);
        if (raft_propose(node.raft, &at, blobs, count) == OK) CHECK(at == last + 1);
        for (size_t i = 0; i < count; i++) raft_blob_release(blobs[i]);
    }
    take();
}

/* What was asked for, or another part; a term that is not there. */
static void read_done(unsigned peer, const uint8_t *s)
{
    struct raft_read *read = &node.reads[peer];
    struct raft_entry entries[8];
    size_t count = 0;
    raft_index first = read->first + (s[2] & 1);
    for (; count < 1u + s[3] % 8 && first + count <= disk_last(); count++) {
        if (first + count <= node.base.index) break;
        entries[count] = node.log[first + count - node.base.index - 1];
        if (s[4] == 255) entries[count].term++;
    }
    if (read->peer && (s[2] & 2 || !count))
        raft_read_failed(node.raft, (raft_id)peer);
    else if (count)
        raft_read_done(node.raft, (raft_id)peer, entries, count);
    *read = (struct raft_read){0};
    take();
}

static void installed(const uint8_t *s)
{
    if (node.install.index == 0) return;
    if (s[2] & 1) {
        raft_snapshot_failed(node.raft);
    } else {
        raft_snapshot_installed(node.raft, node.install);
        node.apply_to = node.install.index;
    }
    node.install = (struct raft_position){0};
    take();
}

static void keep_state(const uint8_t *s)
{
    struct raft_status now = status();
    raft_applied(node.raft, node.apply_to - (node.apply_to - now.applied) / (1 + s[2] % 4));
    now = status();
    if (s[2] & 4 && now.applied > 0 && now.applied >= now.snapshot) {
        struct raft_blob *manifest = raft_blob_copy(bytes_text("own"));
        raft_set_snapshot(node.raft, now.applied, manifest);
        raft_blob_release(manifest);
    }
    if (s[2] & 8) {
        now = status();
        raft_index to = now.snapshot > s[3] % 4 ? now.snapshot - s[3] % 4 : 0;
        raft_compact(node.raft, to);
    }
    take();
}

static void decide(unsigned peer, const uint8_t *s)
{
    struct raft_status now = status();
    switch (s[2] % 8) {
    case 0: raft_set_may_vote(node.raft, s[3] & 1); break;
    case 1: raft_set_may_lead(node.raft, s[3] & 1); break;
    case 2: raft_set_may_acknowledge(node.raft, s[3] & 1); break;
    case 3: raft_peer_lost(node.raft, (raft_id)peer); break;
    case 4: raft_peer_counts(node.raft, (raft_id)peer, s[3] & 1); break;
    case 5: raft_set_floor(node.raft, index_of(s[3])); break;
    case 6: (void)raft_transfer(node.raft, s[3] & 1 ? (raft_id)peer : 0); break;
    case 7: if (now.role == RAFT_FOLLOWER && now.leader) raft_rejoin(node.raft); break;
    }
    take();
}

static void ticks(unsigned count)
{
    while (count--) {
        raft_tick(node.raft);
        take();
    }
}

static void step(const uint8_t *s, struct bytes rest)
{
    unsigned from = 2 + s[1] % (PEERS - 1);
    switch (s[0] % 16) {
    case 0: case 1: answer(from, s); break;
    case 2: append(from, s); break;
    case 3: heartbeat(from, s); break;
    case 4: snapshot(from, s); break;
    case 5: election(from, s); break;
    case 6: ticks(1 + s[2] % 32); break;
    case 7: propose(s); break;
    case 8: persist(s[2] & 1 ? SIZE_MAX : 1), take(); break;
    case 9: read_done(from, s); break;
    case 10: installed(s); break;
    case 11: keep_state(s); break;
    case 12: decide(from, s); break;
    case 13: raw(s, rest); break;
    case 14: /* all is well: each peer answers its last append or heartbeat */
        for (unsigned peer = 2; peer <= PEERS; peer++) answer(peer, (const uint8_t[]){0, 0, s[2] & 1 ? 2 : 3, 0, 0});
        break;
    case 15:
        if (s[2] & 1) (void)raft_receiving(node.raft, (raft_id)from);
        else raft_read_failed(node.raft, (raft_id)from);
        take();
        break;
    }
}

/* --- from the start to the end --- */

static void make_disk(struct raft_state *state, struct raft_run runs[static 2])
{
    static const raft_term terms[] = {1, 1, 2};
    node.base = node.start & START_COMPACTED ? (struct raft_position){4, 1} : (struct raft_position){0, 0};
    for (unsigned i = 0; i < 3; i++)
        node.log[node.count++] = (struct raft_entry){.index = node.base.index + 1 + i, .term = terms[i],
                                                     .type = RAFT_ENTRY_BLOCK, .blob = payload(RAFT_ENTRY_BLOCK, 0)};
    node.term = 2;
    node.apply_to = node.commit = node.base.index + 1;
    runs[0] = (struct raft_run){node.base.index + 1, 1};
    runs[1] = (struct raft_run){node.base.index + 3, 2};
    *state = (struct raft_state){.term = 2, .compacted = node.base, .last = disk_last(), .runs = runs, .run_count = 2,
                                 .applied = node.apply_to};
    for (raft_id id = 1; id <= (node.start & START_TWO ? 2 : 3); id++)
        raft_config_set(&state->compacted_config, id, true);
}

static void grant(enum raft_message_type ask)
{
    const uint8_t kind = ask == RAFT_VOTE;
    for (unsigned peer = 2; peer <= 3; peer++) answer(peer, (const uint8_t[]){0, 0, kind, 0, 0});
}

/* It stands for election, as far as the role wants it. */
static void bring_to(enum raft_role role)
{
    if (role == RAFT_FOLLOWER) return;
    ticks(40);
    persist(SIZE_MAX), take();
    if (role >= RAFT_CANDIDATE) grant(RAFT_PREVOTE);
    persist(SIZE_MAX), take();
    if (role == RAFT_LEADER) grant(RAFT_VOTE);
    persist(SIZE_MAX), take();
}

static void start(uint8_t how)
{
    struct raft_options o = {.id = SELF, .seed = 7};
    struct raft_state state;
    struct raft_run runs[2];
    node = (struct node){.start = how};
    hash_start(&node.story);
    raft_options_default(&o);
    o.stall_ticks = 30;
    o.block_head = 1;
    if (how & START_TIGHT) {
        o.window_messages = 2;
        o.window_bytes = o.message_bytes = 100;
        o.cache_bytes = o.backlog_bytes = 300;
        o.spent_bytes = 0;
    }
    make_disk(&state, runs);
    if (how & START_COMPACTED) {
        state.manifest = raft_blob_copy(bytes_text("state"));
        state.snapshot = state.applied;
    }
    CHECK(raft_new(&node.raft, &o, &state) == OK);
    raft_blob_release(state.manifest);
    take();
    bring_to((enum raft_role)(how & START_ROLE));
}

static void stop(struct digest *story)
{
    raft_halt(node.raft);
    CHECK(!raft_take(node.raft)->any);
    raft_free(node.raft);
    for (size_t i = 0; i < node.write_count; i++) {
        for (size_t k = 0; k < node.writes[i].count; k++) raft_blob_release(node.writes[i].entries[k].blob);
        free(node.writes[i].entries);
    }
    disk_cut(0);
    hash_end(story, &node.story);
}

static void play(struct digest *story, struct bytes in)
{
    start(in.data[0]);
    for (size_t at = 1, steps = 0; at + 5 <= in.size && steps < STEPS_MOST; at += 5, steps++)
        step(in.data + at, bytes_of(in.data + at + 5, in.size - at - 5));
    stop(story);
}

/* --- messages --- */

/* The same from another: what is not from a member, or is of another term, is never more than refused. */
static void step_all(const struct raft_message *m)
{
    struct digest story;
    for (uint8_t how = 0; how < 8; how++) {
        start((uint8_t)((how & START_ROLE) | (how & 4 ? START_COMPACTED | START_TIGHT : 0)));
        (void)raft_step(node.raft, m);
        take();
        (void)raft_step(node.raft, m);
        take();
        stop(&story);
    }
}

static bool try(struct raft_message *m, struct bytes in, unsigned of)
{
    struct buffer out = {0};
    if (recode_raft_as(&out, in, of) == OK) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
    return raft_message_decode(m, in, of) == OK;
}

static void message(struct bytes in)
{
    struct raft_message m;
    for (unsigned of = 1; of <= PEER_VERSION; of++) {
        if (try(&m, in, of)) {
            CHECK(raft_message_name(m.type)[0]);
            if (!fuzz_taken) step_all(&m);
            fuzz_taken = true;
        }
        raft_message_clear(&m);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct digest first, second;
    if (size == 0) return 0;
    if (data[0] >> 4 == 9) {
        fuzz_taken = false;
        message(bytes_of(data, size));
        return 0;
    }
    play(&first, bytes_of(data, size));
    play(&second, bytes_of(data, size));
    CHECK(digest_equal(&first, &second));
    return 0;
}
