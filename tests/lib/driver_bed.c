#include "tests/lib/driver_bed.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "crypto/sign.h"
#include "ledger/evidence.h"
#include "net/peers.h"
#include "tests/lib/samples.h"

/* ---- links in memory, in place of net/peers.c's ----
 *
 * Weak: a test of the real links has both, and means those. */

#define IN_MEMORY __attribute__((weak))

struct peers {
    struct bed *bed;
    unsigned self;
};

struct bed_message {
    struct bed_message *next;
    unsigned from, to;
    uint32_t type;
    uint64_t id;
    size_t size;
    uint8_t body[];
};

static bool is_open(const struct bed *bed, unsigned from, unsigned to)
{
    return to >= 1 && to <= bed->n && bed->nodes[to].driver && !bed->cut[from][to];
}

IN_MEMORY enum err peers_send_parts(struct peers *p, uint32_t to, uint32_t type, uint64_t id,
                                    const struct send_part *parts, size_t count)
{
    size_t size = 0, at = 0;
    if (!is_open(p->bed, p->self, to)) return ERR_UNREACHABLE;
    for (size_t i = 0; i < count; i++)
        size += parts[i].bytes.size;
    if (size > FRAME_BODY_MAX) return ERR_FRAME_TOO_LONG;
    struct bed_message *m = xmalloc(sizeof *m + size);
    *m = (struct bed_message){.from = p->self, .to = to, .type = type, .id = id, .size = size};
    for (size_t i = 0; i < count; at += parts[i++].bytes.size) {
        if (parts[i].bytes.size) memcpy(m->body + at, parts[i].bytes.data, parts[i].bytes.size);
        if (parts[i].release)
            parts[i].release(parts[i].owner);
        else
            p->bed->copied += parts[i].bytes.size;
    }
    if (p->bed->last)
        p->bed->last->next = m;
    else
        p->bed->first = m;
    p->bed->last = m;
    p->bed->sent[type % 256]++;
    uv_async_send(&p->bed->wake);
    return OK;
}

IN_MEMORY enum err peers_send(struct peers *p, uint32_t to, uint32_t type, uint64_t id, struct bytes body)
{
    return peers_send_parts(p, to, type, id, &(struct send_part){body}, 1);
}

IN_MEMORY bool peers_up(const struct peers *p, uint32_t to) { return is_open(p->bed, p->self, to); }
IN_MEMORY unsigned peers_version(const struct peers *p, uint32_t to)
{
    return p->bed->older[p->self] || p->bed->older[to] ? 1 : PEER_VERSION;
}
IN_MEMORY unsigned peers_version_heard(const struct peers *p, uint32_t from) { return peers_version(p, from); }
IN_MEMORY size_t peers_unacked(const struct peers *p, uint32_t to)
{
    return is_open(p->bed, p->self, to) ? p->bed->unacked : 0;
}

IN_MEMORY uint64_t peers_receiving_ms(const struct peers *p, uint32_t from)
{
    return is_open(p->bed, from, p->self) ? p->bed->receiving_ms : 0;
}

IN_MEMORY void peers_renew(struct peers *p, uint32_t to)
{
    (void)to;
    p->bed->renewed++;
}

IN_MEMORY size_t peers_queued(const struct peers *p, uint32_t to)
{
    (void)p;
    (void)to;
    return 0;
}

static void deliver(struct bed *bed, const struct bed_message *m)
{
    struct bed_node *node = &bed->nodes[m->to];
    struct bytes body = {m->body, m->size};
    if (!node->driver || bed->cut[m->from][m->to] || bed->lost[m->type % 256]) return;
    bool ours = m->type == PEER_RAFT || m->type == PEER_FORWARD || m->type == PEER_BLOCK_ASK || m->type == PEER_BLOCK ||
                m->type == PEER_PAST || m->type == PEER_HEADS_ASK || m->type == PEER_HEADS ||
                m->type == PEER_EVIDENCE || m->type == PEER_REJOIN ||
                m->type == PEER_WITHDRAW || m->type == PEER_WITHDRAWN;
    if (ours)
        driver_message(node->driver, m->from, m->type, m->id, body);
    else if (node->on_message)
        node->on_message(node, m->from, m->type, m->id, body);
}

static void on_wake(uv_async_t *handle)
{
    struct bed *bed = handle->data;
    struct bed_message *m = bed->first;
    bed->first = bed->last = NULL;
    while (m) {
        struct bed_message *next = m->next;
        deliver(bed, m);
        free(m);
        m = next;
    }
}

/* ---- nodes ---- */

static void applied(void *data, const struct driver_applied *a)
{
    struct bed_node *node = data;
    CHECK(a->size >= node->applied.size && (a->replayed || a->raft_index > node->applied.raft_index));
    node->applied = *a;
    if (node->on_applied) node->on_applied(node, a);
}

static void digest(void *data, const struct driver_digest *d)
{
    struct bed_node *node = data;
    CHECK(d->leaf < d->size && (d->snapshot != NULL) == (d->code == OK));
    if (node->on_digest) {
        node->on_digest(node, d);
        return;
    }
    store_abort(d->snapshot);
    if (d->snapshot) driver_digest_ended(node->driver);
}

static void fatal(void *data, enum err code, const char *text)
{
    struct bed_node *node = data;
    (void)text;
    CHECK(!node->fatal);
    node->fatal = true;
    node->fatal_code = code;
}

static void evidence(void *data, const char *kind, unsigned named, uint64_t index, struct bytes encoded)
{
    struct bed_node *node = data;
    struct evidence e;
    CHECK(evidence_open(&e, encoded, &node->bed->kit.genesis) == OK && e.signer == named &&
          evidence_place(&e) == index);
    CHECK(strcmp(kind, evidence_kind_text(evidence_kind(&e))) == 0);
    node->evidence++;
    buffer_clear(&node->last_evidence);
    buffer_append_bytes(&node->last_evidence, encoded);
}

static void withdraw(void *data, unsigned member, uint64_t term, uint64_t index)
{
    struct bed_node *node = data;
    node->withdrawn[member] = (struct raft_place){term, index};
}

static void set_back(void *data, uint64_t first, uint64_t last)
{
    struct bed_node *node = data;
    CHECK(first <= last);
    node->set_backs++;
}

static void deceived(void *data, bool told, bool again, const char *why)
{
    struct bed_node *node = data;
    CHECK(why && !node->deceived);
    node->deceived = true;
    node->told = told;
    node->again = again;
}

static void install(void *data, uint64_t index, uint64_t term, struct bytes manifest)
{
    struct bed_node *node = data;
    if (node->on_install) node->on_install(node, index, term, manifest);
}

static bool snapshot(void *data, uint64_t *index, uint64_t *term, struct buffer *manifest)
{
    struct bed_node *node = data;
    return node->snapshot && node->snapshot(node, index, term, manifest);
}

static const struct seal_key storage_key = {{1, 2, 3}};

static void open_disk(struct bed_node *node)
{
    char path[FOLDER_PATH];
    struct failure failure = {0};
    folder_join(path, node->folder, "log");
    mkdir(path, 0700);
    struct log_options log = {
        .directory = path, .name = "test", .key = &storage_key, .disk = &node->fault.disk, .segment_size = 4 << 20,
        .segment_limit = node->segment_limit};
    if (log_open(&node->log, &log, &failure) != OK) fprintf(stderr, "log: %s\n", failure.text);
    folder_join(path, node->folder, "store");
    mkdir(path, 0700);
    struct store_options store = {
        .directory = path, .tables = ledger_tables, .table_count = ledger_tables_count, .key = &storage_key,
        .map_size = node->map_size};
    if (store_open(&node->store, &store, &failure) != OK) fprintf(stderr, "store: %s\n", failure.text);
    CHECK(node->log && node->store);
}

static void close_disk(struct bed_node *node)
{
    log_close(node->log);
    store_close(node->store);
    node->log = NULL;
    node->store = NULL;
}

enum err bed_try_start(struct bed *bed, unsigned index, struct failure *failure)
{
    struct bed_node *node = &bed->nodes[index];
    CHECK(!node->driver);
    open_disk(node);
    node->fatal = node->stopped = node->deceived = node->told = node->again = false;
    node->applied = (struct driver_applied){0};
    struct driver_options options = {.loop = &bed->loop,
                                     .genesis = &bed->kit.genesis,
                                     .self = index,
                                     .keys = &bed->kit.nodes[index],
                                     .log = node->log,
                                     .store = node->store,
                                     .peers = node->peers,
                                     .seed = clock_monotonic_ns() + index,
                                     .tick_ms = node->tick_ms ? node->tick_ms : BED_TICK_MS,
                                     .log_keep_bytes = node->keep_bytes,
                                     .accept_loss = node->accept_loss,
                                     .data = node,
                                     .on_applied = applied,
                                     .on_digest = digest,
                                     .on_install = install,
                                     .snapshot = snapshot,
                                     .on_evidence = evidence,
                                     .on_withdraw = withdraw,
                                     .on_deceived = deceived,
                                     .on_set_back = set_back,
                                     .on_fatal = fatal};
    enum err e = driver_start(&node->driver, &options, failure);
    if (e != OK) close_disk(node);
    for (unsigned i = 1; e == OK && i <= bed->n; i++)
        if (i != index && bed->nodes[i].driver && !bed->cut[i][index]) {
            driver_peer_up(bed->nodes[i].driver, index);
            driver_peer_up(node->driver, i);
        }
    return e;
}

void bed_start(struct bed *bed, unsigned node)
{
    struct failure failure = {0};
    enum err e = bed_try_start(bed, node, &failure);
    if (e != OK) fprintf(stderr, "driver_start: %s\n", failure.text);
    CHECK(e == OK);
}

void bed_start_all(struct bed *bed)
{
    for (unsigned i = 1; i <= bed->n; i++)
        bed_start(bed, i);
}

static void tell_down(struct bed *bed, unsigned index)
{
    for (unsigned i = 1; i <= bed->n; i++)
        if (i != index && bed->nodes[i].driver && !bed->cut[i][index]) driver_peer_down(bed->nodes[i].driver, index);
}

void bed_crash(struct bed *bed, unsigned index)
{
    struct bed_node *node = &bed->nodes[index];
    struct driver *d = node->driver;
    node->driver = NULL;
    driver_free(d);
    close_disk(node);
    tell_down(bed, index);
}

static void stopped(void *data) { ((struct bed_node *)data)->stopped = true; }
static bool has_stopped(struct bed *bed, void *data)
{
    (void)bed;
    return ((struct bed_node *)data)->stopped;
}

void bed_stop(struct bed *bed, unsigned index)
{
    struct bed_node *node = &bed->nodes[index];
    driver_stop(node->driver, stopped, node);
    CHECK(bed_until(bed, BED_PATIENCE_MS, has_stopped, node));
    struct driver *d = node->driver;
    node->driver = NULL;
    driver_free(d);
    close_disk(node);
    tell_down(bed, index);
}

void bed_wipe(struct bed *bed, unsigned index)
{
    struct bed_node *node = &bed->nodes[index];
    CHECK(!node->driver);
    folder_remove(node->folder);
    folder_make(node->folder, 1);
}

static void put_rebuilt(struct bed_node *node, const struct log_status *log)
{
    struct driver_rebuilt r = {.term = log->last_term, .index = log->last, .cosigned = log->cosigned.size, .times = 1};
    struct buffer row = {0};
    struct table_txn *txn;
    driver_rebuilt_encode(&row, &r);
    CHECK(!row.failed && store_begin_write(&txn, node->store) == OK);
    CHECK(table_put(txn, TABLE_BLOB, bytes_text(DRIVER_REBUILT), buffer_bytes(&row)) == OK && store_commit(txn) == OK);
    buffer_free(&row);
}

void bed_rebuild(struct bed *bed, unsigned index)
{
    struct bed_node *node = &bed->nodes[index];
    char path[FOLDER_PATH];
    struct log_status status;
    CHECK(!node->driver);
    folder_join(path, node->folder, "store");
    folder_remove(path);
    open_disk(node);
    log_status(node->log, &status);
    put_rebuilt(node, &status);
    uint64_t keep = status.cosigned.index > status.compact_index ? status.cosigned.index : status.compact_index;
    if (node->again && !node->told) CHECK(log_set_forgotten(node->log) == OK);
    if ((node->told || node->again) && keep < status.last) CHECK(log_truncate(node->log, keep + 1) == OK);
    CHECK(log_sync(node->log) == OK);
    close_disk(node);
}

/* ---- damage ---- */

struct search {
    uint64_t index;
    struct bed_record found;
};

static bool look(void *data, const struct log_record *record)
{
    struct search *s = data;
    if (record->type != LOG_BLOCK || record->index != s->index || record->damaged) return true;
    snprintf(s->found.file, sizeof s->found.file, "%s", record->file);
    s->found.offset = record->offset;
    s->found.size = record->size;
    s->found.batch = record->batch;
    return true; /* it may have been written again */
}

struct bed_record bed_find(const struct bed *bed, unsigned node, uint64_t index)
{
    struct search s = {.index = index};
    CHECK(!bed->nodes[node].driver);
    folder_join(s.found.folder, bed->nodes[node].folder, "log");
    struct log_options options = {.directory = s.found.folder, .name = "test", .key = &storage_key};
    CHECK(log_visit(&options, look, &s, NULL) == OK && s.found.size > 0);
    return s.found;
}

void bed_flip(const struct bed_record *r, uint32_t at)
{
    char path[FOLDER_PATH];
    uint8_t byte;
    folder_join(path, r->folder, r->file);
    int file = open(path, O_RDWR);
    CHECK(file >= 0 && pread(file, &byte, 1, at) == 1);
    byte ^= 0x40;
    CHECK(pwrite(file, &byte, 1, at) == 1 && close(file) == 0);
}

void bed_damage(const struct bed *bed, unsigned node, uint64_t index)
{
    struct bed_record r = bed_find(bed, node, index);
    bed_flip(&r, r.offset + r.size - 20);
}

void bed_damage_header(const struct bed *bed, unsigned node, uint64_t index)
{
    struct bed_record r = bed_find(bed, node, index);
    bed_flip(&r, r.offset + 30);
}

void bed_cut(struct bed *bed, unsigned a, unsigned b, bool cut)
{
    bool both = bed->nodes[a].driver && bed->nodes[b].driver;
    if (bed->cut[a][b] == cut) return;
    bed->cut[a][b] = bed->cut[b][a] = cut;
    if (both && cut) {
        driver_peer_down(bed->nodes[a].driver, b);
        driver_peer_down(bed->nodes[b].driver, a);
    } else if (both) {
        driver_peer_up(bed->nodes[a].driver, b);
        driver_peer_up(bed->nodes[b].driver, a);
    }
}

/* ---- the bed ---- */

void bed_open(struct bed *bed, unsigned n, unsigned b)
{
    memset(bed, 0, sizeof *bed);
    bed->n = n;
    log_setup(getenv("VERBOSE") ? LOG_DEBUG : LOG_ERROR, false);
    CHECK(uv_loop_init(&bed->loop) == 0);
    CHECK(uv_async_init(&bed->loop, &bed->wake, on_wake) == 0);
    CHECK(uv_timer_init(&bed->loop, &bed->timer) == 0);
    bed->wake.data = bed->timer.data = bed;
    kit_open(&bed->kit, n, b, (struct bytes){0});
    for (unsigned i = 1; i <= n; i++) {
        struct bed_node *node = &bed->nodes[i];
        node->bed = bed;
        node->index = i;
        node->keep_bytes = 64 * MIB;
        node->map_size = UINT64_C(4) << 30;
        node->peers = xcalloc(1, sizeof *node->peers);
        *node->peers = (struct peers){.bed = bed, .self = i};
        fault_setup(&node->fault);
        folder_make(node->folder, 1);
    }
}

void bed_close(struct bed *bed)
{
    for (unsigned i = 1; i <= bed->n; i++)
        if (bed->nodes[i].driver) bed_stop(bed, i);
    uv_close((uv_handle_t *)&bed->wake, NULL);
    uv_close((uv_handle_t *)&bed->timer, NULL);
    uv_run(&bed->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&bed->loop) == 0);
    for (struct bed_message *m = bed->first, *next; m; m = next) {
        next = m->next;
        free(m);
    }
    for (unsigned i = 1; i <= bed->n; i++) {
        free(bed->nodes[i].peers);
        buffer_free(&bed->nodes[i].last_evidence);
        folder_remove(bed->nodes[i].folder);
    }
    kit_close(&bed->kit);
}

static void on_time(uv_timer_t *timer) { ((struct bed *)timer->data)->timed_out = true; }

bool bed_until(struct bed *bed, unsigned ms, bool (*condition)(struct bed *bed, void *data), void *data)
{
    bed->timed_out = false;
    uv_timer_start(&bed->timer, on_time, ms, 0);
    while (!bed->timed_out && !(condition && condition(bed, data)))
        uv_run(&bed->loop, UV_RUN_ONCE);
    uv_timer_stop(&bed->timer);
    return condition && condition(bed, data);
}

void bed_turn(struct bed *bed, unsigned ms) { bed_until(bed, ms, NULL, NULL); }

unsigned bed_leader(struct bed *bed)
{
    for (unsigned i = 1; i <= bed->n; i++) {
        struct driver_status status, other;
        unsigned followers = 1;
        if (!bed->nodes[i].driver) continue;
        driver_status(bed->nodes[i].driver, &status);
        if (!status.leads) continue;
        for (unsigned j = 1; j <= bed->n; j++) {
            if (j == i || !bed->nodes[j].driver) continue;
            driver_status(bed->nodes[j].driver, &other);
            followers += other.leader == i && other.term == status.term;
        }
        if (followers > bed->n / 2) return i;
    }
    return 0;
}

static bool has_leader(struct bed *bed, void *data)
{
    (void)data;
    return bed_leader(bed) != 0;
}

unsigned bed_await_leader(struct bed *bed)
{
    CHECK(bed_until(bed, BED_PATIENCE_MS, has_leader, NULL));
    return bed_leader(bed);
}

static bool is_same(struct bed *bed, void *data)
{
    const struct driver_status *first = NULL;
    struct driver_status status[LIMIT_NODES + 1];
    for (unsigned i = 1; i <= bed->n; i++) {
        if (!bed->nodes[i].driver) continue;
        driver_status(bed->nodes[i].driver, &status[i]);
        if (!first) first = &status[i];
        if (status[i].size < *(uint64_t *)data || status[i].size != first->size ||
            status[i].applied != first->last || !digest_equal(&status[i].root, &first->root))
            return false;
    }
    return true;
}

struct driver_status bed_status(const struct bed *bed, unsigned node)
{
    struct driver_status status;
    driver_status(bed->nodes[node].driver, &status);
    return status;
}

bool bed_await_same(struct bed *bed, uint64_t size) { return bed_until(bed, BED_PATIENCE_MS, is_same, &size); }

/* ---- requests ---- */

static void request_done(struct submission *s, enum err code, const struct outcome *outcomes, size_t count)
{
    struct bed_request *r = s->data;
    r->done++;
    r->code = code;
    r->count = count;
    if (count == 0) return;
    r->outcome = outcomes[0];
    r->has_leaf = outcomes[0].leaf.size > 0;
    r->has_answer = outcomes[0].answer.size > 0;
    r->outcome.leaf = r->outcome.answer = (struct bytes){0};
}

void bed_event(struct bed *bed, struct bed_request *r, const struct kit_actor *who, unsigned patient)
{
    struct arguments args = {.action = ACTION_EVENT_ADD};
    args.event_add = (struct args_event_add){sample_id(patient), bytes_text("bill.print"), bytes_text("bill-17")};
    memset(r, 0, sizeof *r);
    bed->kit.now = clock_wall_ms();
    kit_request(&bed->kit, &r->s.request, who, &args, (struct bytes){0});
}

enum err bed_submit(struct bed *bed, struct bed_request *r, unsigned node, unsigned ms)
{
    r->s.data = r;
    r->s.done = request_done;
    r->s.deadline_ns = clock_monotonic_ns() + ms * 1000000ull;
    r->done = 0;
    return driver_submit(bed->nodes[node].driver, &r->s);
}

void bed_copy(struct bed_request *to, const struct bed_request *from)
{
    memset(to, 0, sizeof *to);
    buffer_append_bytes(&to->s.request, buffer_bytes(&from->s.request));
}

static bool is_done(struct bed *bed, void *data)
{
    (void)bed;
    return ((struct bed_request *)data)->done > 0;
}

bool bed_await(struct bed *bed, struct bed_request *r) { return bed_until(bed, BED_PATIENCE_MS, is_done, r); }

void bed_request_free(struct bed_request *r) { buffer_free(&r->s.request); }

struct kit_actor bed_add_user(struct bed *bed, unsigned node, unsigned n, const char *role)
{
    struct kit_actor user = kit_user(n);
    struct arguments args = {.action = ACTION_USER_CREATE};
    struct person person = {.name = bytes_text("Somebody")};
    struct buffer encoded = {0};
    struct bed_request r = {0};
    args.user_create = (struct args_user_create){.user = user.actor.id,
                                                 .hospital = bytes_text("North"),
                                                 .role = bytes_text(role),
                                                 .key_count = 1};
    args.user_create.keys[0] = user.key;
    args.user_create.login_tag = sample_digest(n);
    person_encode(&encoded, &person);
    bed->kit.now = clock_wall_ms();
    kit_request(&bed->kit, &r.s.request, &bed->kit.root, &args, buffer_bytes(&encoded));
    CHECK(bed_submit(bed, &r, node, BED_PATIENCE_MS) == OK && bed_await(bed, &r));
    CHECK(r.code == OK && r.outcome.code == OK && r.outcome.decision == DECISION_APPROVED);
    buffer_free(&encoded);
    bed_request_free(&r);
    return user;
}

void bed_claim(struct bed *bed, unsigned of, unsigned to, uint64_t term, uint64_t index)
{
    static const char tag[] = "consilium/past/v1\n";
    uint8_t message[sizeof tag - 1 + 32 + 3 * 8], *at = message + sizeof tag - 1;
    struct signature signature;
    struct buffer out = {0};
    memcpy(message, tag, sizeof tag - 1);
    memcpy(at, bed->kit.genesis.cluster.bytes, 32);
    put_be64(at + 32, term);
    put_be64(at + 40, index);
    put_be64(at + 48, 0);
    sign_message(&signature, &bed->kit.nodes[of].message, BYTES(message));
    pack_array(&out, 2);
    pack_array(&out, 4);
    pack_uint(&out, term);
    pack_uint(&out, index);
    pack_uint(&out, 0);
    pack_bin(&out, signature.bytes, sizeof signature.bytes);
    pack_array(&out, 0);
    driver_message(bed->nodes[to].driver, of, PEER_PAST, 0, buffer_bytes(&out));
    buffer_free(&out);
}

unsigned bed_start_people(struct bed *bed)
{
    bed_start_all(bed);
    unsigned leader = bed_await_leader(bed);
    bed->doctor = bed_add_user(bed, leader, 1, "doctor");
    bed_add_user(bed, leader, BED_PATIENT, "patient");
    return leader;
}

unsigned bed_up(struct bed *bed, unsigned n, unsigned b)
{
    bed_open(bed, n, b);
    return bed_start_people(bed);
}

uint64_t bed_event_through(struct bed *bed, unsigned node)
{
    struct bed_request r;
    bed_event(bed, &r, &bed->doctor, BED_PATIENT);
    CHECK(bed_submit(bed, &r, node, BED_PATIENCE_MS) == OK && bed_await(bed, &r));
    CHECK(r.done == 1 && r.code == OK && r.count == 1 && r.has_leaf);
    CHECK(r.outcome.code == OK && r.outcome.decision == DECISION_APPROVED);
    bed_request_free(&r);
    return r.outcome.leaf_index;
}
