/* What is answered to a request: checkpoint, tiles, health, metrics. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/hash.h"
#include "ledger/proof.h"
#include "node/http_desk.h"
#include "node/status.h"

#define CACHE_REVALIDATE "no-cache" /* may be kept, and is asked for again with its tag */
#define CACHE_FOR_EVER "public, max-age=31536000, immutable"
#define CACHE_PARTIAL "public, max-age=3600, immutable" /* right for ever, and soon of use to nobody */
#define BYTES_TYPE "application/octet-stream"

/* What this node holds contradicts the others': it is shown to nobody. */
static bool serves(struct http_client *k)
{
    struct driver_status d;
    driver_status(k->desk->node->driver, &d);
    if (d.quarantined)
        http_say(k, 503, "COMPROMISED: this node's ledger contradicts the other nodes'; use another node");
    return !d.quarantined;
}

/* --- the checkpoint --- */

/* RFC 9110 13.1.2: any of the list; weak comparison. */
static bool tag_matches(const char *given, const char *tag)
{
    return strcmp(given, "*") == 0 || strstr(given, tag) != NULL; /* the quotes are part of it */
}

static void page_checkpoint(struct http_client *k, const struct http_request *request)
{
    struct bytes note;
    uint64_t size, raft_index, raft_term;
    struct digest root, hash;
    char hex[33], tag[HTTP_TAG_SIZE];
    if (!serves(k)) return;
    if (!witness_newest(k->desk->node->witness, &note, &size, &root, &raft_index, &raft_term)) {
        http_say(k, 503, "nothing is co-signed yet");
        return;
    }
    hash_sha256(&hash, note.data, note.size); /* of one size, more cosignatures may come */
    hex_format(hex, hash.bytes, 16);
    snprintf(tag, sizeof tag, "\"%s\"", hex);
    struct http_answer answer = {.status = 200, .cache = CACHE_REVALIDATE, .tag = tag, .body = note};
    if (tag_matches(request->if_none_match, tag)) answer.status = 304;
    http_answer(k, &answer);
}

/* --- tiles --- */

static enum err tile_run(struct state_read *read, struct table_txn *txn)
{
    struct http_client *k = read->data;
    struct digest *hashes = (struct digest *)(void *)buffer_extend(&k->body, TILE_BYTES);
    if (!hashes) return ERR_NOMEM;
    enum err e = proof_tile(hashes, txn, &k->tile);
    k->body.size = k->tile.width * sizeof *hashes;
    return e;
}

static void tile_answer(struct http_client *k, enum err code)
{
    bool full = k->tile.width == TILE_WIDTH;
    if (code == OK)
        http_answer(k, &(struct http_answer){.status = 200, .type = BYTES_TYPE, .body = buffer_bytes(&k->body),
                                             .cache = full ? CACHE_FOR_EVER : CACHE_PARTIAL});
    else if (code == ERR_NOT_FOUND || code == ERR_BUSY || code == ERR_STOPPED)
        http_say(k, 503, code == ERR_NOT_FOUND ? "this node is catching up" : err_text(code));
    else
        http_say(k, 500, err_text(code));
    buffer_free(&k->body);
}

static void read_next(struct http_desk *desk);

static void tile_done(struct state_read *read, enum err code)
{
    struct http_client *k = read->data;
    struct http_desk *desk = k->desk;
    k->reading = false;
    desk->reads--;
    if (k->connection) {
        tile_answer(k, code);
        http_go_on(k);
    } else {
        http_client_free(k);
    }
    read_next(desk);
}

static void read_tile(struct http_client *k)
{
    k->reading = true;
    k->desk->reads++;
    k->read = (struct state_read){.fresh = k->fresh, .data = k, .run = tile_run, .done = tile_done};
    enum err e = driver_read(k->desk->node->driver, &k->read);
    if (e == OK) return;
    k->reading = false;
    k->desk->reads--;
    tile_answer(k, e);
}

/* Those that wait, in the order in which they came. */
static void read_next(struct http_desk *desk)
{
    while (desk->line.first && desk->reads < LIMIT_HTTP_READS) {
        struct http_client *k = queue_pop(&desk->line, struct http_client, behind);
        k->waiting = false;
        read_tile(k);
        if (!k->reading) http_go_on(k); /* it was refused at once */
    }
}

static void wait_to_read(struct http_client *k)
{
    k->waiting = true;
    queue_add(&k->desk->line, &k->behind);
}

bool http_leave(struct http_client *k)
{
    if (!k->waiting) return !k->reading;
    queue_remove(&k->desk->line, &k->behind);
    return true;
}

static void page_tile(struct http_client *k, const char *path)
{
    struct node *node = k->desk->node;
    struct driver_status d;
    bool entries;
    if (tile_path_parse(&k->tile, &entries, bytes_text(path)) != OK) {
        http_say(k, 404, "no such tile: see https://c2sp.org/tlog-tiles for their names");
        return;
    }
    if (!serves(k)) return;
    if (tile_width_at(witness_size(node->witness), k->tile.level, k->tile.index) < k->tile.width) {
        http_say(k, 404, "the tree of the newest checkpoint has no such tile");
        return;
    }
    driver_status(node->driver, &d);
    k->fresh = tile_end(&k->tile) > d.synced_size;
    k->answering = true;
    if (k->desk->line.first || k->desk->reads >= LIMIT_HTTP_READS)
        wait_to_read(k);
    else
        read_tile(k);
}

static void page_entries(struct http_client *k)
{
    http_say(k, 403, "Entries tell who accessed whose records, so they are not public. Auditors get them,\n"
                     "verified, with\n"
                     "  consilium export --from N --to M -o FOLDER\n"
                     "which leaves an entry itself. Hashes of all entries are at /tile/0/000 and so on.");
}

/* --- health and metrics --- */

static bool is_ready(const char *state) { return strcmp(state, "ready") == 0 || strcmp(state, NODE_NO_VOTE) == 0; }

/* With a clock that is off, or without a vote, a node serves as well: the status is not for that. */
static void page_health(struct http_client *k)
{
    const char *state = node_state(k->desk->node);
    char text[200];
    int64_t ahead_ms;
    bool clock_ok = board_clock_ok(k->desk->node, &ahead_ms);
    snprintf(text, sizeof text, "%s, but its clock is %" PRId64 " s %s the others': it does not lead; set the clock",
             state, (ahead_ms < 0 ? -ahead_ms : ahead_ms) / 1000, ahead_ms < 0 ? "behind" : "ahead of");
    http_say(k, is_ready(state) ? 200 : 503, clock_ok ? state : text);
}

/* What goes up and down; all else only counts up. */
static bool is_gauge(struct bytes name)
{
    static const char *const gauges[] = {"requests_waiting", "raft_first", "raft_commit", "log_filled_permille",
                                         "synced_size", "connections_open", "device_free_bytes", "state_bytes",
                                         "scrub_permille", "scrub_finished_ms", "scrub_rate_kib"};
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        if (bytes_equal(name, bytes_text(gauges[i]))) return true;
    return false;
}

static void append_metric(struct buffer *out, struct bytes name, bool gauge, uint64_t value)
{
    int size = (int)name.size;
    const char *text = (const char *)name.data, *end = gauge ? "" : "_total";
    buffer_printf(out, "# TYPE consilium_%.*s%s %s\nconsilium_%.*s%s %" PRIu64 "\n", size, text, end,
                  gauge ? "gauge" : "counter", size, text, end, value);
}

static void append_clock(struct buffer *out, const struct node *node)
{
    int64_t ahead_ms;
    board_clock_ok(node, &ahead_ms);
    buffer_printf(out, "# TYPE consilium_clock_ahead_seconds gauge\nconsilium_clock_ahead_seconds %.3f\n",
                  (double)ahead_ms / 1000);
}

static void append_state(struct buffer *out, const struct http_desk *desk)
{
    const struct node *node = desk->node;
    struct driver_status d;
    uint64_t peers = 0;
    driver_status(node->driver, &d);
    for (unsigned i = 1; i <= node->genesis.member_count; i++)
        if (i != node->self) peers += peers_up(node->peers, i);
    const struct { const char *name; uint64_t value; } gauges[] = {
        {"ready", is_ready(node_state(node))}, {"votes", d.may_vote}, {"leads", d.leads}, {"leader_known", d.leader != 0},
        {"quarantined", d.quarantined}, {"term", d.term}, {"applied", d.applied}, {"ledger_size", d.size},
        {"witnessed_size", witness_size(node->witness)}, {"nodes", node->genesis.member_count}, {"peers_up", peers},
        {"http_connections", desk->count},
    };
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        append_metric(out, bytes_text(gauges[i].name), true, gauges[i].value);
}

static void page_metrics(struct http_client *k)
{
    struct http_desk *desk = k->desk;
    struct buffer body = {.limit = LIMIT_HTTP_QUEUE / 2};
    struct message_status_ok *m = xcalloc(1, sizeof *m);
    append_state(&body, desk);
    append_clock(&body, desk->node);
    board_counters(m, desk->node);
    for (uint32_t i = 0; i < m->counter_count; i++)
        append_metric(&body, m->counters[i].name, is_gauge(m->counters[i].name), m->counters[i].value);
    append_metric(&body, bytes_text("http_requests"), false, desk->requests);
    append_metric(&body, bytes_text("http_refused"), false, desk->refused);
    http_answer(k, &(struct http_answer){.status = 200, .type = "text/plain; version=0.0.4; charset=utf-8",
                                         .body = buffer_bytes(&body)});
    buffer_free(&body);
    free(m);
}

void http_page(struct http_client *k, const struct http_request *request)
{
    const char *path = request->path;
    if (k->desk->node->stopping)
        http_say(k, 503, "stopping");
    else if (strcmp(path, "/checkpoint") == 0)
        page_checkpoint(k, request);
    else if (strncmp(path, "/tile/entries/", 14) == 0 || strcmp(path, "/tile/entries") == 0)
        page_entries(k);
    else if (strncmp(path, "/tile/", 6) == 0)
        page_tile(k, path + 1);
    else if (strcmp(path, "/health") == 0)
        page_health(k);
    else if (strcmp(path, "/metrics") == 0)
        page_metrics(k);
    else
        http_say(k, 404, "There are /checkpoint, /tile/<level>/<number>, /health and /metrics here.");
}
