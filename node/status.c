#include "node/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "node/integrity.h"
#include "node/scrub.h"

#define STATE_MS 200
#define SILENT_MS 2000 /* a peer that said nothing for so long is shown as not reachable */
#define CLOCK_OFF_MS 30000

struct entry {
    uint64_t heard_ns; /* 0: never */
    int64_t ahead_ms;  /* its clock against ours */
    bool leads, voting;
    uint64_t term, last, commit, applied, synced, cosigned, witnessed, size, time_ms;
    uint32_t leader;
    struct digest root;
    char state[LIMIT_NAME + 1], version[LIMIT_NAME + 1];
    struct peer_findings own;
};

struct board {
    struct node *node;
    uv_timer_t timer;
    struct entry entries[LIMIT_NODES + 1]; /* by member index */
    uint64_t warned_ns[LIMIT_NODES + 1];
    struct store_space space; /* as of the last STATE_MS: asking the device costs more than all the rest of an answer */
    bool clock_ok;
    int64_t ahead_ms; /* this node's clock against the lower median */
};

static void own_entry(struct node *node, struct entry *e)
{
    struct driver_status d;
    struct cosigned_mark mark = {0};
    driver_status(node->driver, &d);
    if (!driver_cosigned(node->driver, &mark)) mark.size = 0;
    *e = (struct entry){
        .heard_ns = clock_monotonic_ns(), .leads = d.leads, .voting = d.may_vote, .term = d.term, .last = d.last,
        .commit = d.commit, .applied = d.applied, .synced = d.synced_index, .cosigned = mark.size,
        .witnessed = witness_size(node->witness), .size = d.size, .time_ms = clock_wall_ms(), .leader = d.leader,
        .root = d.root, .version = CONSILIUM_VERSION,
    };
    strncpy(e->state, node_state(node), LIMIT_NAME);
    integrity_own(node, &e->own);
}

static void encode_state(struct buffer *out, const struct entry *e)
{
    pack_array(out, 17);
    pack_bool(out, e->leads);
    pack_bool(out, e->voting);
    const uint64_t numbers[] = {e->term, e->last, e->commit, e->applied, e->synced,
                                e->cosigned, e->witnessed, e->size};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        pack_uint(out, numbers[i]);
    pack_digest(out, &e->root);
    pack_uint(out, e->time_ms);
    pack_text(out, e->state);
    pack_text(out, e->version);
    pack_uint(out, e->leader);
    integrity_own_encode(out, &e->own);
}

static void copy_text(char out[static LIMIT_NAME + 1], struct bytes text)
{
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
}

static enum err decode_state(struct entry *e, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 17);
    e->leads = unpack_bool(&u);
    e->voting = unpack_bool(&u);
    uint64_t *const numbers[] = {&e->term, &e->last, &e->commit, &e->applied, &e->synced,
                                 &e->cosigned, &e->witnessed, &e->size};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        *numbers[i] = unpack_uint(&u);
    e->root = unpack_digest(&u);
    e->time_ms = unpack_uint(&u);
    struct bytes state = unpack_str(&u, LIMIT_NAME), version = unpack_str(&u, LIMIT_NAME);
    e->leader = (uint32_t)unpack_uint_max(&u, LIMIT_NODES);
    integrity_own_decode(&e->own, &u);
    enum err error = unpack_done(&u);
    if (error != OK) return error;
    if (state.size) copy_text(e->state, state);
    if (version.size) copy_text(e->version, version);
    return OK;
}

static int compare_offsets(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool heard_lately(const struct entry *e, uint64_t now_ns)
{
    return e->heard_ns && now_ns - e->heard_ns < (uint64_t)SILENT_MS * 1000000;
}

static bool is_reached(const struct node *node, unsigned index, uint64_t now_ns)
{
    return index == node->self || (heard_lately(&node->board->entries[index], now_ns) && peers_up(node->peers, index));
}

unsigned board_reached(const struct node *node)
{
    unsigned count = 0;
    uint64_t now = clock_monotonic_ns();
    for (unsigned i = 1; i <= node->genesis.member_count; i++) count += is_reached(node, i, now);
    return count;
}

/* A follower's log may lack a bit of the same, for ever, since nothing comes any more. */
bool board_log_full(const struct node *node)
{
    struct driver_status d;
    driver_status(node->driver, &d);
    if (d.log_full || d.leads || !node->board) return d.log_full;
    const struct entry *leader = &node->board->entries[d.leader];
    return heard_lately(leader, clock_monotonic_ns()) && strcmp(leader->state, NODE_LOG_FULL) == 0;
}

/* Off the lower median of the clocks known, the own one (offset 0) included. With
 * fewer than a majority known there is no opinion, and the last one stands. */
static void judge_clock(struct board *b)
{
    int64_t offsets[LIMIT_NODES + 1];
    size_t known = 0;
    uint64_t now = clock_monotonic_ns();
    unsigned n = b->node->genesis.member_count;
    for (unsigned i = 1; i <= n; i++) {
        if (i == b->node->self)
            offsets[known++] = 0;
        else if (heard_lately(&b->entries[i], now))
            offsets[known++] = b->entries[i].ahead_ms;
    }
    if (known < n / 2 + 1) return;
    qsort(offsets, known, sizeof offsets[0], compare_offsets);
    b->ahead_ms = -offsets[(known - 1) / 2];
    bool ok = b->ahead_ms <= CLOCK_OFF_MS && b->ahead_ms >= -CLOCK_OFF_MS;
    if (ok == b->clock_ok) return;
    b->clock_ok = ok;
    if (ok)
        log_notice("clock", "this node's clock agrees with the others' again");
    else
        log_error("clock", "this node's clock is %lld ms off the others': it does not lead; set the clock",
                  (long long)b->ahead_ms);
    driver_set_clock_ok(b->node->driver, ok);
}

bool board_clock_ok(const struct node *node, int64_t *ahead_ms)
{
    *ahead_ms = node->board->ahead_ms;
    return node->board->clock_ok;
}

static void on_timer(uv_timer_t *timer)
{
    struct board *b = timer->data;
    struct node *node = b->node;
    struct buffer body = {.limit = LIMIT_FRAME};
    (void)store_space(node->store, &b->space); /* else as it was */
    own_entry(node, &b->entries[node->self]);
    encode_state(&body, &b->entries[node->self]);
    for (unsigned i = 1; i <= node->genesis.member_count; i++)
        if (i != node->self) peers_send(node->peers, i, PEER_STATE, 0, buffer_bytes(&body)); /* down: said again soon */
    buffer_free(&body);
    judge_clock(b);
}

/* A peer may say any time at all: far beyond what is off is as good as anything further. */
static int64_t ahead_of(uint64_t now_ms, uint64_t theirs_ms)
{
    const uint64_t far = 1000ull * CLOCK_OFF_MS;
    uint64_t differ = theirs_ms > now_ms ? theirs_ms - now_ms : now_ms - theirs_ms;
    if (differ > far) differ = far;
    return theirs_ms > now_ms ? (int64_t)differ : -(int64_t)differ;
}

void board_message(struct node *node, unsigned from, struct bytes body)
{
    struct entry e = {0};
    enum err error = decode_state(&e, body);
    if (error != OK) {
        if (log_seldom(&node->board->warned_ns[from]))
            log_warning("status", "node %u sent a state that is not well-formed: %s", from, err_text(error));
        return;
    }
    e.heard_ns = clock_monotonic_ns();
    e.ahead_ms = ahead_of(clock_wall_ms(), e.time_ms);
    node->board->entries[from] = e;
    integrity_peer(node, from, &e.own, strcmp(e.state, "ready") == 0 || strcmp(e.state, NODE_NO_VOTE) == 0);
}

static void member_row(struct message_member *m, const struct node *node, unsigned index, uint64_t now)
{
    const struct entry *e = &node->board->entries[index];
    const struct descriptor *d = genesis_member(&node->genesis, index);
    bool reachable = is_reached(node, index, now);
    *m = (struct message_member){
        .member = index, .name = bytes_text(d->name), .hospital = bytes_text(d->hospital), .reachable = reachable,
        .state = bytes_text(e->state), .term = e->term, .last = e->last, .applied = e->applied,
        .cosigned_size = e->cosigned, .witnessed_size = e->witnessed, .ledger_size = e->size, .root = e->root,
        .version = bytes_text(e->version), .leads = e->leads, .time_ms = e->time_ms,
    };
}

static void add_counter(struct message_status_ok *m, const char *name, uint64_t value)
{
    CHECK(m->counter_count < LIMIT_COUNTERS);
    m->counters[m->counter_count++] = (struct message_counter){bytes_text(name), value};
}

void board_counters(struct message_status_ok *m, const struct node *node)
{
    struct driver_status d;
    const struct store_space *space = &node->board->space;
    struct scrub_status scrub;
    const struct network_counters *net = network_counters(node->network);
    driver_status(node->driver, &d);
    scrub_status(node, &scrub);
    const struct {
        const char *name;
        uint64_t value;
    } counters[] = {
        {"blocks", d.blocks}, {"operations_applied", d.applied_operations}, {"requests_submitted", d.submitted},
        {"requests_forwarded", d.forwarded}, {"requests_busy", d.busy}, {"requests_waiting", d.waiting},
        {"blocks_refused", d.refused_blocks}, {"peer_messages_refused", d.bad_messages}, {"evidence", d.evidence},
        {"raft_first", d.first}, {"raft_commit", d.commit},
        {"log_filled_permille", d.log_filled}, {"synced_size", d.synced_size},
        {"client_sessions", node->counters.sessions},
        {"client_requests", node->counters.requests}, {"client_refused", node->counters.refused},
        {"releases", node->counters.releases}, {"connections_open", net->open},
        {"handshakes_full", net->handshakes_full}, {"handshakes_resumed", net->handshakes_resumed},
        {"handshakes_failed", net->handshakes_failed}, {"frames_in", net->frames_in},
        {"frames_out", net->frames_out}, {"bytes_in", net->bytes_in}, {"bytes_out", net->bytes_out},
        {"connections_faulty", net->faults}, {"connections_refused", listener_refused(node->listener)},
        {"device_free_bytes", space->device_free}, {"state_bytes", space->file_size},
        {"scrub_passes", scrub.passes}, {"scrub_permille", scrub.permille}, {"scrub_found", scrub.found},
        {"scrub_repaired", scrub.repaired}, {"scrub_finished_ms", scrub.finished_ms}, {"scrub_bytes", scrub.bytes},
        {"scrub_rate_kib", node->config->scrub_rate.number},
    };
    for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
        add_counter(m, counters[i].name, counters[i].value);
}

void board_status(struct session *s, uint64_t id, struct bytes body)
{
    enum err e = message_empty_decode(body);
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        return;
    }
    struct node *node = s->node;
    struct message_status_ok *m = xcalloc(1, sizeof *m);
    uint64_t now = clock_monotonic_ns();
    own_entry(node, &node->board->entries[node->self]);
    for (unsigned i = 1; i <= node->genesis.member_count; i++)
        member_row(&m->members[m->member_count++], node, i, now);
    board_counters(m, node);
    struct buffer out = {.limit = LIMIT_FRAME};
    message_status_ok_encode(&out, m);
    session_send(s, MESSAGE_STATUS_OK, id, &out);
    buffer_free(&out);
    free(m);
}

enum err board_new(struct board **out, struct node *node)
{
    struct board *b = xcalloc(1, sizeof *b);
    b->node = node;
    b->clock_ok = true;
    (void)store_space(node->store, &b->space);
    CHECK(uv_timer_init(&node->loop, &b->timer) == 0);
    b->timer.data = b;
    CHECK(uv_timer_start(&b->timer, on_timer, STATE_MS, STATE_MS) == 0);
    *out = b;
    return OK;
}

void board_stop(struct board *b)
{
    if (b && !uv_is_closing((uv_handle_t *)&b->timer)) uv_close((uv_handle_t *)&b->timer, NULL);
}

void board_free(struct board *b) { free(b); }
