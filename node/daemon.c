/* Making, wiring and ending a node's parts.
 *
 * Start: genesis -> log and state -> driver -> witness, catch-up, key generation,
 * release, board -> listener, last, so that nobody is answered by half a node.
 * Stop: no new clients or requests -> the parts that watch -> the driver hands
 * leadership over and syncs -> links -> the loop ends with nothing left open.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "ledger/apply.h"
#include "ledger/arguments.h"
#include "ledger/tables.h"
#include "node/alert.h"
#include "node/bulk.h"
#include "node/digest.h"
#include "node/integrity.h"
#include "node/node.h"
#include "node/http.h"
#include "node/release.h"
#include "node/scrub.h"
#include "node/session.h"
#include "node/status.h"
#include "node/stop_limit.h"
#include "storage/store_guard.h"

struct daemon {
    struct node *node;
    int signal_file; /* SIGTERM and SIGINT: blocked in every thread, read here */
    uv_poll_t signals;
    struct state_read epoch_read;
    struct epoch epoch;
    bool said_ready;
    unsigned alarms[LIMIT_NODES + 1];
    uint64_t alarm_ns[LIMIT_NODES + 1], unknown_ns[LIMIT_NODES + 1];
};

#define ALARMS_TOLD 16

#define STOP_MS 15000
#define NO_SHARE "ready, without a key share"
#define NEITHER "ready, without a vote and a key share"

static struct daemon the; /* one node per process */

const char *node_state(const struct node *node)
{
    struct driver_status d;
    driver_status(node->driver, &d);
    if (node->stopping) return "stopping";
    if (d.quarantined) return "quarantined";
    if (d.catching_up || !catchup_ready(node->catchup)) return "catching up";
    if (d.space_low) return "no space left";
    if (board_log_full(node)) return NODE_LOG_FULL;
    if (!d.leader) return d.may_vote ? "no leader" : "no leader, without a vote";
    if (!node->epoch.epoch) return "generating keys";
    if (keygen_agent_share(node->keygen, KEY_RECORDS, node->epoch.epoch)) return d.may_vote ? "ready" : NODE_NO_VOTE;
    if (!keygen_agent_share_lost(node->keygen)) return "waiting for its key share";
    return d.may_vote ? NO_SHARE : NEITHER;
}

static void note_readiness(struct node *node)
{
    if (!node->driver || !node->catchup || !node->keygen) return; /* still being started */
    const char *state = node_state(node);
    bool no_share = strcmp(state, NO_SHARE) == 0 || strcmp(state, NEITHER) == 0;
    bool ready = strncmp(state, "ready", 5) == 0;
    if (no_share && !the.said_ready)
        log_error("keygen", "this node's key share is gone with its disk, and the others have wiped what they dealt: "
                            "it replicates and serves, but adds no share to openings");
    if (ready && !the.said_ready) {
        the.said_ready = true;
        char cluster[65];
        hex_format(cluster, node->genesis.cluster.bytes, 32);
        log_notice("node", "ready: %s of %s, cluster %.16s, n = %u, b = %u, k = %u", node->identity.descriptor.name,
                   node->identity.descriptor.hospital, cluster, node->genesis.member_count, node->genesis.faulty,
                   node->genesis.quorum);
    }
    node->ready = ready;
}

/* --- the collective key --- */

static enum err epoch_run(struct state_read *read, struct table_txn *txn)
{
    struct epoch *epoch = read->data;
    return state_epoch_get(epoch, txn, KEY_RECORDS, 0);
}

static void epoch_done(struct state_read *read, enum err code)
{
    (void)read;
    struct node *node = the.node;
    node->epoch_asked = false;
    if (code == OK && the.epoch.epoch != node->epoch.epoch) {
        node->epoch = the.epoch;
        log_notice("keygen", "the collective key of epoch %llu is active since leaf %llu",
                   (unsigned long long)the.epoch.epoch, (unsigned long long)the.epoch.activation);
    }
    note_readiness(node);
}

static void ask_epoch(struct node *node)
{
    if (node->epoch_asked) return;
    node->epoch_asked = true;
    the.epoch = (struct epoch){0};
    the.epoch_read = (struct state_read){.fresh = true, .data = &the.epoch, .run = epoch_run, .done = epoch_done};
    if (driver_read(node->driver, &the.epoch_read) != OK) node->epoch_asked = false;
}

/* --- what the parts tell --- */

static void on_applied(void *data, const struct driver_applied *applied)
{
    struct node *node = data;
    if (node->witness) witness_applied(node->witness, applied);
    if (node->keygen) keygen_agent_applied(node->keygen, applied);
    integrity_applied(node, applied);
    digest_applied(node, applied);
    if (applied->keygen_changed || applied->replayed) ask_epoch(node);
    session_applied(node, applied->size);
    if (!node->ready) note_readiness(node);
}

static void on_digest(void *data, const struct driver_digest *asked) { digest_begin(data, asked); }

static void on_role(void *data, bool leads, unsigned leader, uint64_t term)
{
    struct node *node = data;
    if (leads)
        log_notice("raft", "this node leads in term %llu", (unsigned long long)term);
    else if (leader)
        log_notice("raft", "node %u (%s) leads in term %llu", leader, genesis_member(&node->genesis, leader)->name,
                   (unsigned long long)term);
    else
        log_notice("raft", "no leader is known in term %llu", (unsigned long long)term);
    if (node->witness) witness_role(node->witness, leads, term);
    integrity_role(node);
    note_readiness(node);
}

static void on_install(void *data, uint64_t raft_index, uint64_t raft_term, struct bytes manifest)
{
    struct node *node = data;
    catchup_install(node->catchup, raft_index, raft_term, manifest);
}

static bool on_snapshot(void *data, uint64_t *raft_index, uint64_t *raft_term, struct buffer *manifest)
{
    struct node *node = data;
    return node->catchup && catchup_manifest(node->catchup, raft_index, raft_term, manifest);
}

static void say_rebuild(const struct node *node, enum err code)
{
    if (code == ERR_CORRUPT)
        log_error("node",
                  "'consiliumd rebuild --dir %s' sets this state aside; the next start derives it from the others'"
                          " ledger", node->identity.directory);
}

static void on_fatal(void *data, enum err code, const char *text)
{
    struct node *node = data;
    log_error("node", "%s: %s. This node acknowledges nothing more and stops; %s", text, err_text(code),
              err_hint(code));
    say_rebuild(node, code);
    node_stop(node, 1);
}

static void on_quarantine(void *data, const char *why)
{
    struct node *node = data;
    integrity_quarantine(node, why);
    note_readiness(node);
}

/* Each of a node's first lies is told, then one a second: it can make as many as it likes. */
static bool tells_alarm(unsigned named)
{
    if (the.alarms[named] >= ALARMS_TOLD) return log_seldom(&the.alarm_ns[named]);
    the.alarms[named]++;
    return true;
}

/* The witness' view: proved, it goes the way of all evidence; else it is worth a line. */
static void on_told(void *data, const char *kind, unsigned named, uint64_t size, struct bytes evidence)
{
    struct node *node = data;
    if (evidence.size != 0)
        driver_evidence(node->driver, evidence);
    else if (tells_alarm(named))
        log_error("witness", "node %u (%s) told %s at size %llu: one of the two is wrong", named,
                  named ? genesis_member(&node->genesis, named)->name : "?", kind, (unsigned long long)size);
}

static void on_evidence(void *data, const char *kind, unsigned named, uint64_t index, struct bytes evidence)
{
    struct node *node = data;
    if (node->witness) witness_exclude(node->witness, named);
    struct finding f = {.kind = ALARM_FORKED, .named = named, .first = index, .last = index};
    snprintf(f.text, sizeof f.text, "%s, as its signatures prove: see 'consilium evidence list'", kind);
    integrity_found(node, &f, evidence);
}

static void on_differs(void *data, unsigned member, uint64_t raft_index)
{
    struct node *node = data;
    driver_compare(node->driver, member, raft_index);
}

static void on_withdraw(void *data, unsigned member, uint64_t raft_term, uint64_t raft_index)
{
    struct node *node = data;
    if (node->witness) witness_withdraw(node->witness, member, raft_term, raft_index);
}

static void on_stalled(void *data)
{
    struct node *node = data;
    driver_stalled(node->driver);
}

static void on_contradicted(void *data, uint32_t members, uint64_t raft_index, const char *why)
{
    struct node *node = data;
    driver_contradicted(node->driver, members, raft_index, why);
}

/* It stops, and main.c rebuilds it and starts it again. */
static void on_deceived(void *data, bool told, bool again, const char *why)
{
    struct node *node = data;
    node->rebuild = true;
    node->rebuild_log = told ? REBUILD_CUTS_LOG : again ? REBUILD_FORGETS : REBUILD_KEEPS_LOG;
    log_error("node", "%s: %s. It has cosigned nothing of that: it drops %s, and derives its state anew from its log "
              "and its peers", told ? "DECEIVED" : "CONTRADICTED", why,
              told ? "what it was given" : again ? "what it has, of its log, too" : "its state");
    if (!told) integrity_contradicted(node, why);
    node_stop(node, 0);
}

static void on_set_back(void *data, uint64_t first, uint64_t last)
{
    struct node *node = data;
    const struct finding f = {.kind = ALARM_ROLLED_BACK, .named = node->self, .first = first, .last = last,
                              .text = "this node's disk is older than what the node has signed before"};
    integrity_found(node, &f, (struct bytes){0});
}

static void on_witnessed(void *data, uint64_t size)
{
    (void)size;
    note_readiness(data);
}

static void on_share(void *data, uint8_t secret, uint64_t epoch)
{
    log_notice("keygen", "this node holds its share of key %u in epoch %llu", secret, (unsigned long long)epoch);
    note_readiness(data);
}

static void on_ready(void *data, bool ready)
{
    struct node *node = data;
    if (ready) ask_epoch(node);
    note_readiness(node);
}

/* --- peers --- */

static void on_message(uint32_t index, const struct frame *f, void *data)
{
    struct node *node = data;
    if (node->stopping && f->type != PEER_RAFT) return;
    switch (f->type) {
    case PEER_RAFT:
    case PEER_FORWARD:
    case PEER_BLOCK_ASK:
    case PEER_BLOCK:
    case PEER_PAST:
    case PEER_HEADS_ASK:
    case PEER_HEADS:
    case PEER_WITHDRAW:
    case PEER_WITHDRAWN:
    case PEER_REJOIN:
    case PEER_EVIDENCE: driver_message(node->driver, index, f->type, f->id, f->body); return;
    case PEER_TELL:
    case PEER_PACE:
    case PEER_COSIGN:
    case PEER_TOLD:
    case PEER_NOTE_PUSH: witness_message(node->witness, index, f->type, f->body); return;
    case PEER_STATE: board_message(node, index, f->body); return;
    case PEER_DIGEST: digest_message(node, index, f->body); return;
    case PEER_SHARE_ASK:
    case PEER_SHARE_GIVEN: release_message(node, index, f->type, f->id, f->body); return;
    case PEER_SUBSHARE_ASK:
    case PEER_SUBSHARE: keygen_agent_message(node->keygen, index, f->type, f->id, f->body); return;
    case PEER_MANIFEST_ASK:
    case PEER_MANIFEST:
    case PEER_PULL:
    case PEER_PULLED:
    case PEER_ATTACHMENTS:
    case PEER_ATTACHED:
    case PEER_FAILED:
        if (scrub_message(node, index, f->type, f->id, f->body)) return;
        catchup_message(node->catchup, index, f->type, f->id, f->body);
        return;
    default:
        if (log_seldom(&the.unknown_ns[index]))
            log_warning("peer", "node %u sent a message of unknown type %u", index, f->type);
    }
}

static void on_part(uint32_t index, void *data)
{
    driver_receiving(((struct node *)data)->driver, index);
}

static void on_overlong(uint32_t index, void *data)
{
    driver_overlong(((struct node *)data)->driver, index);
}

static void on_up(uint32_t index, void *data)
{
    struct node *node = data;
    log_info("peer", "link to node %u (%s) is up", index, genesis_member(&node->genesis, index)->name);
    if (node->stopping) return;
    driver_peer_up(node->driver, index);
    keygen_agent_peer_up(node->keygen, index);
    witness_peer_up(node->witness, index);
    digest_peer_up(node, index);
}

static void on_down(uint32_t index, void *data)
{
    struct node *node = data;
    struct peers_status s;
    peers_status(node->peers, index, &s);
    log_info("peer", "link to node %u (%s) is down: %s", index, genesis_member(&node->genesis, index)->name, s.text);
    if (!node->stopping) driver_peer_down(node->driver, index);
}

static enum err start_network(struct node *node, struct failure *failure)
{
    const struct peers_events events = {
        .on_message = on_message, .on_part = on_part, .on_overlong = on_overlong, .on_up = on_up, .on_down = on_down};
    struct address own = {0};
    enum err e = tls_context_new(&node->tls, buffer_bytes(&node->identity.tls_key),
                                 buffer_bytes(&node->identity.tls_certificate), failure);
    if (e == OK && (e = network_new(&node->network, &node->loop, node->tls, NULL)) != OK)
        return fail(failure, e, "no file descriptor is left: raise the limit (ulimit -n)");
    if (e == OK) e = address_parse(&own, node->config->listen.text, true, failure);
    bool bind = node->config->bind_source.flag && e == OK && own.kind != ADDRESS_NAME && !address_is_wildcard(&own);
    return e == OK ? peers_new(&node->peers, node->network, node->self, bind ? &own : NULL, &events, node) : e;
}

static enum err start_peers(struct node *node, struct failure *failure)
{
    for (unsigned i = 1; i <= node->genesis.member_count; i++) {
        const struct descriptor *d = genesis_member(&node->genesis, i);
        struct address to;
        enum err e = i == node->self ? OK : address_parse(&to, d->address, false, failure);
        if (e == OK && i != node->self) e = peers_set(node->peers, i, &to, &d->tls_pin);
        if (e != OK) return fail(failure, e, "node %u (%s) at %s: %s", i, d->name, d->address, err_text(e));
    }
    return OK;
}

/* Descriptors that stay for the log, the state and the other nodes, whatever clients do. */
#define FILES_KEPT 192

static uint32_t most_connections(const struct node *node)
{
    struct rlimit limit;
    uint64_t most = node->config->connections.number;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return (uint32_t)most;
    uint64_t fit = limit.rlim_cur > 2 * FILES_KEPT ? limit.rlim_cur - FILES_KEPT : limit.rlim_cur / 2;
    if (fit >= most) return (uint32_t)most;
    log_warning("node", "the limit of open files (%llu) leaves room for %llu clients, not %llu",
                (unsigned long long)limit.rlim_cur, (unsigned long long)fit, (unsigned long long)most);
    return (uint32_t)fit;
}

/* It may be meant: then somebody else passes on what comes to the address that the descriptor has. */
static void warn_of_other_address(const struct node *node, const struct address *own)
{
    const char *told = node->identity.descriptor.address;
    char text[ADDRESS_TEXT_SIZE];
    struct address to;
    if (address_parse(&to, told, false, NULL) != OK || address_reaches(&to, own)) return;
    address_format(text, own);
    log_warning("node", "this node listens on %s, but the other nodes and all clients connect to %s, as its descriptor "
                "says: check that what comes there is passed on to here (by NAT, a proxy, a container), or correct "
                "--listen", text, told);
}

static enum err start_listener(struct node *node, struct failure *failure)
{
    struct address own;
    char text[ADDRESS_TEXT_SIZE];
    struct listener_handler handlers[] = {peers_handler(node->peers), session_handler(node), http_handler(node)};
    struct listener_options options = {
        .connections = most_connections(node),
        .connections_per_address = (uint32_t)node->config->connections_per_address.number,
    };
    enum err e = address_parse(&own, node->config->listen.text, true, failure);
    size_t count = sizeof handlers / sizeof handlers[0] - (node->config->http.flag ? 0 : 1); /* HTTP is the last */
    if (e == OK) e = listener_new(&node->listener, node->network, &own, handlers, count, &options, failure);
    if (e != OK) return e;
    address_format(text, listener_address(node->listener));
    log_notice("node", "listening on %s", text);
    warn_of_other_address(node, listener_address(node->listener));
    return OK;
}

static enum err open_storage(struct node *node, struct failure *failure)
{
    const struct node_identity *id = &node->identity;
    enum err e = files_make_directory(id->log_directory, failure);
    if (e == OK) e = files_make_directory(id->state_directory, failure);
    struct log_options log = {.directory = id->log_directory, .name = "raft", .key = id->storage_key};
    if (e == OK) e = log_open(&node->log, &log, failure);
    struct store_options store = {.directory = id->state_directory, .tables = ledger_tables,
                                  .table_count = ledger_tables_count, .key = id->storage_key,
                                  .map_size = node->config->map_gib.number << 30,
                                  .watermark = node->config->free_mib.number << 20};
    return e == OK ? store_open(&node->store, &store, failure) : e;
}

static enum err start_consensus(struct node *node, struct failure *failure)
{
    struct driver_options driver = {
        .loop = &node->loop, .genesis = &node->genesis, .self = node->self, .keys = node->identity.secrets,
        .log = node->log, .store = node->store, .peers = node->peers,
        .log_keep_bytes = node->config->log_keep_mib.number << 20,
        .workers = (unsigned)node->config->workers.number, .accept_loss = identity_accepts_loss(&node->identity),
        .data = node, .on_applied = on_applied,
        .on_role = on_role, .on_install = on_install, .snapshot = on_snapshot, .on_fatal = on_fatal,
        .on_set_back = on_set_back, .on_digest = on_digest,
        .on_evidence = on_evidence, .on_deceived = on_deceived,
        .on_withdraw = on_withdraw,
    };
    random_bytes(&driver.seed, sizeof driver.seed);
    enum err e = driver_start(&node->driver, &driver, failure);
    if (e == OK && driver.accept_loss) e = identity_accept_loss(&node->identity, false, failure);
    struct witness_options witness = {
        .loop = &node->loop, .genesis = &node->genesis, .self = node->self, .keys = node->identity.secrets,
        .driver = node->driver, .peers = node->peers, .store = node->store, .data = node, .on_witnessed = on_witnessed,
        .on_quarantine = on_quarantine, .on_evidence = on_told,
        .on_contradicted = on_contradicted, .on_differs = on_differs, .on_stalled = on_stalled,
    };
    if (e == OK) {
        witness.quiet_index = driver_rebuilt(node->driver)->index;
        witness.quiet_term = driver_rebuilt(node->driver)->term;
        e = witness_start(&node->witness, &witness, failure);
    }
    for (unsigned i = 1; e == OK && i <= node->genesis.member_count; i++)
        if (driver_is_named(node->driver, i)) witness_exclude(node->witness, i);
    struct catchup_options catchup = {
        .loop = &node->loop, .genesis = &node->genesis, .self = node->self, .driver = node->driver,
        .witness = node->witness, .peers = node->peers, .data = node, .on_ready = on_ready,
    };
    if (e == OK) e = catchup_start(&node->catchup, &catchup, failure);
    struct keygen_agent_options keygen = {
        .loop = &node->loop, .genesis = &node->genesis, .self = node->self, .keys = node->identity.secrets,
        .driver = node->driver, .peers = node->peers, .directory = node->identity.directory,
        .storage_key = node->identity.storage_key, .data = node, .on_share = on_share,
    };
    return e == OK ? keygen_agent_start(&node->keygen, &keygen, failure) : e;
}

/* --- the end --- */

static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void network_closed(void *data)
{
    (void)data;
    uv_close((uv_handle_t *)&the.signals, NULL);
}

static void driver_stopped(void *data)
{
    struct node *node = data;
    peers_close(node->peers);
    node->peers = NULL;
    network_close(node->network, network_closed, node);
}

void node_stop(struct node *node, int exit_code)
{
    if (exit_code) node->exit_code = exit_code;
    if (node->stopping) return;
    node->stopping = true;
    log_notice("node", "stopping");
    stop_limit_begin(STOP_MS);
    if (node->listener) listener_close(node->listener);
    node->listener = NULL;
    for (struct session *s = node->sessions, *next; s; s = next) {
        next = s->next;
        if (s->connection) connection_close(s->connection, ERR_STOPPED, "this node is stopping: use another one");
    }
    http_desk_stop(node->http);
    board_stop(node->board);
    integrity_stop(node);
    scrub_stop(node->scrub);
    digest_stop(node);
    bulk_stop(node->bulk);
    alert_stop(node);
    if (node->keygen) keygen_agent_stop(node->keygen);
    if (node->catchup) catchup_stop(node->catchup);
    if (node->witness) witness_stop(node->witness);
    driver_stop(node->driver, driver_stopped, node);
}

static void on_signal(uv_poll_t *handle, int status, int events)
{
    struct node *node = handle->data;
    struct signalfd_siginfo said;
    (void)status, (void)events;
    if (read(the.signal_file, &said, sizeof said) != sizeof said) return;
    if (!node->stopping) log_notice("node", "received %s", said.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
    node->rebuild = false; /* who stops it doesn't want it to come back */
    node_stop(node, 0);
}

/* Before other threads begin, which inherit the mask. The signals stay blocked: told to stop once more while it ends,
 * a node keeps its exit code, where a handler that is taken away leaves a moment in which the signal ends it. */
static void take_signals(struct node *node)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    the.signal_file = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    CHECK(the.signal_file >= 0 && uv_poll_init(&node->loop, &the.signals, the.signal_file) == 0);
    the.signals.data = node;
    CHECK(uv_poll_start(&the.signals, UV_READABLE, on_signal) == 0);
}

static void start_handles(struct node *node)
{
    CHECK(uv_loop_init(&node->loop) == 0);
    take_signals(node);
}

static void free_parts(struct node *node)
{
    keygen_agent_free(node->keygen);
    catchup_free(node->catchup);
    witness_free(node->witness);
    driver_free(node->driver);
    integrity_free(node->integrity);
    scrub_free(node->scrub);
    digest_free(node->digest);
    bulk_free(node->bulk);
    release_desk_free(node->release);
    http_desk_free(node->http);
    board_free(node->board);
    alert_free(node->alert);
    network_free(node->network);
    tls_context_free(node->tls);
    log_close(node->log);
    store_close(node->store);
}

static uint64_t entries(void *data)
{
    struct driver_status d;
    driver_status(((struct node *)data)->driver, &d);
    return d.size;
}

static enum err start(struct node *node, struct failure *failure)
{
    enum err e = open_storage(node, failure);
    if (e == OK) e = start_network(node, failure);
    if (e == OK) e = release_desk_new(&node->release, node);
    if (e == OK) e = start_consensus(node, failure);
    if (e == OK) e = integrity_new(&node->integrity, node);
    if (e == OK) e = scrub_new(&node->scrub, node);
    if (e == OK) e = digest_new(&node->digest, node, failure);
    if (e == OK) node->bulk = bulk_new(&node->loop, node, entries);
    if (e == OK) e = board_new(&node->board, node);
    if (e == OK) e = http_desk_new(&node->http, node);
    if (e == OK) e = alert_new(&node->alert, node);
    if (e == OK) e = start_peers(node, failure);
    if (e == OK) e = start_listener(node, failure);
    return e;
}

static void say_what_is_not_promised(const struct node *node)
{
    if (node->identity.key_beside_data)
        log_warning("node", "the storage key lies beside the data it seals: a stolen disk shows everything. Keep it on "
                            "another device (--storage-key-file) or give it as a credential");
    if (!secret_memory_locked())
        log_warning("node", "memory can't be locked (RLIMIT_MEMLOCK): keys could reach swap space");
    if (node->genesis.faulty == 0)
        log_warning("node", "b = 0: this cluster survives crashes, but does not detect in time a node that lies");
}

int node_run(struct node *node)
{
    struct failure failure = {0};
    the = (struct daemon){.node = node};
    signal(SIGPIPE, SIG_IGN);
    store_guard_install(NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error like a full disk, not an end */
    start_handles(node);
    say_what_is_not_promised(node);
    enum err e = start(node, &failure);
    if (e != OK) {
        log_error("node", "cannot start: %s (%s)", failure.text[0] ? failure.text : err_text(e), err_hint(e));
        say_rebuild(node, e);
        return 1; /* nothing was acknowledged; the process ends */
    }
    ask_epoch(node);
    uv_run(&node->loop, UV_RUN_DEFAULT);
    free_parts(node);
    uv_walk(&node->loop, close_handle, NULL);
    uv_run(&node->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&node->loop) == 0);
    close(the.signal_file);
    stop_limit_end();
    log_notice("node", "stopped");
    return node->exit_code;
}
