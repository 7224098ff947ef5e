#include "tests/unit/node/bed_digest.h"

#include "base/check.h"
#include "ledger/tables.h"
#include "node/digest_scan.h"
#include "tests/lib/folder.h"
#define PACED_CLOCK_FAST 1000
#include "tests/lib/paced_clock.h"
#include "tests/lib/samples.h"

struct node node;
struct config config;
static struct node_secrets secrets[N + 1];
static struct buffer genesis_text;
static char folder[FOLDER_PATH];

/* --- what stands around it --- */

struct finding found[16];
size_t found_count, quarantines, ended, asked;
struct repair repaired[16];
size_t repaired_count;
size_t sent[N + 1];
struct driver_status status;
node_request_done asked_done;
void *asked_data;
struct buffer answer;
struct alarm alarms[2];
size_t row_count;

void integrity_view(const struct node *n, struct integrity_view *out)
{
    (void)n;
    *out = (struct integrity_view){.count = row_count, .alarms = alarms, .quarantined = status.quarantined};
}

void integrity_found(struct node *n, const struct finding *f, struct bytes evidence)
{
    (void)n, (void)evidence;
    CHECK(found_count < 16);
    found[found_count++] = *f;
}

void integrity_repaired(struct node *n, unsigned named, uint64_t from, uint64_t to)
{
    (void)n;
    CHECK(repaired_count < 16);
    repaired[repaired_count].named = named;
    repaired[repaired_count].from = from;
    repaired[repaired_count++].to = to;
}

void integrity_quarantine(struct node *n, const char *why)
{
    (void)n;
    CHECK(strstr(why, "rebuild"));
    quarantines++;
}

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    struct state_statement s;
    (void)p, (void)type, (void)id;
    CHECK(index >= 1 && index <= N && index != SELF);
    CHECK(state_statement_decode(&s, body) == OK && s.member == SELF);
    CHECK(state_statement_verify(&s, &node.genesis) == OK);
    sent[index]++;
    return OK;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    struct table_txn *txn;
    (void)d;
    CHECK(store_begin_write(&txn, node.store) == OK);
    enum err e = w->run(w, txn, NULL);
    CHECK(e == OK && store_commit(txn) == OK);
    w->done(w, e);
    return OK;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    struct table_txn *txn;
    (void)d;
    CHECK(store_begin_read(&txn, node.store) == OK);
    enum err e = r->run(r, txn);
    store_abort(txn);
    r->done(r, e);
    return OK;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = status;
}

void driver_digest_ended(struct driver *d)
{
    (void)d;
    ended++;
}

enum err node_request_submit(const struct node_signer *signer, enum action action, struct bytes args,
                             struct bytes attachment, void *data, node_request_done done)
{
    static const uint8_t none[] = {0x90};
    CHECK(signer->self == SELF && action == ACTION_NODE_DIGEST && bytes_equal(args, BYTES(none)));
    CHECK(attachment.size == 0);
    asked++;
    asked_done = done;
    asked_data = data;
    return OK;
}

void session_send(struct session *s, uint32_t type, uint64_t id, const struct buffer *body)
{
    (void)s;
    CHECK(type == MESSAGE_DIGESTS_OK && id == 7 && !body->failed);
    buffer_clear(&answer);
    buffer_append_bytes(&answer, buffer_bytes(body));
}

void session_fail(struct session *s, uint64_t id, enum err code, const char *text, uint64_t retry_after_ms)
{
    (void)s, (void)id, (void)code, (void)text, (void)retry_after_ms;
}

/* --- a node with a store --- */

static void open_desk(void)
{
    struct failure failure = {0};
    assert_int_equal(digest_new(&node.digest, &node, &failure), OK);
}

static void close_desk(void)
{
    digest_stop(&node);
    uv_run(&node.loop, UV_RUN_DEFAULT);
    digest_free(node.digest);
    node.digest = NULL;
}

void restart(void)
{
    close_desk();
    open_desk();
}

int setup(void **state)
{
    (void)state;
    static struct seal_key key = {{7}};
    struct failure failure = {0};
    memset(&node, 0, sizeof node);
    found_count = repaired_count = quarantines = ended = asked = row_count = 0;
    memset(sent, 0, sizeof sent);
    sample_genesis_parsed(&node.genesis, &genesis_text, N, 1);
    for (uint32_t i = 1; i <= N; i++) sample_node_secrets(&secrets[i], i);
    config_defaults(&config);
    config.digest_seconds.number = 0;
    node.config = &config;
    node.self = SELF;
    node.identity.secrets = &secrets[SELF];
    node.ready = true;
    status = (struct driver_status){.leads = true, .leader = SELF};
    CHECK(uv_loop_init(&node.loop) == 0);
    folder_make(folder, 1);
    struct store_options options = {.directory = folder, .tables = ledger_tables, .table_count = ledger_tables_count,
                                    .key = &key, .map_size = 64 * MIB, .watermark = 1};
    CHECK(store_open(&node.store, &options, &failure) == OK);
    open_desk();
    return 0;
}

int teardown(void **state)
{
    (void)state;
    close_desk();
    store_close(node.store);
    CHECK(uv_loop_close(&node.loop) == 0);
    folder_remove(folder);
    buffer_free(&genesis_text);
    buffer_free(&answer);
    return 0;
}

/* --- statements --- */

struct state_statement statement(unsigned member, uint64_t leaf, unsigned content)
{
    struct state_statement s = {.member = member, .leaf = leaf, .size = leaf + 1};
    s.outcome = content ? STATE_COMPUTED : STATE_BUSY;
    if (content) {
        s.digest.count = 2;
        s.digest.tables[0] = (struct table_digest){TABLE_LEAF, leaf + 1, sample_digest(1)};
        s.digest.tables[1] = (struct table_digest){TABLE_USER, 5, sample_digest(content)};
    }
    state_statement_sign(&s, &node.genesis, &secrets[member].message);
    return s;
}

void hear_as(unsigned from, const struct state_statement *s)
{
    struct buffer body = {0};
    state_statement_encode(&body, s);
    digest_message(&node, from, buffer_bytes(&body));
    buffer_free(&body);
}

void hear(unsigned member, uint64_t leaf, unsigned content)
{
    struct state_statement s = statement(member, leaf, content);
    hear_as(member, &s);
}

void digest_own(uint64_t leaf)
{
    struct driver_digest d = {.leaf = leaf, .size = leaf + 1, .time_ms = clock_wall_ms()};
    size_t before = ended;
    CHECK(store_begin_read(&d.snapshot, node.store) == OK);
    digest_begin(&node, &d);
    while (ended == before) uv_run(&node.loop, UV_RUN_ONCE);
}

void not_own(uint64_t leaf)
{
    digest_begin(&node, &(struct driver_digest){.time_ms = clock_wall_ms(), .leaf = leaf, .size = leaf + 1,
                                                .code = ERR_BUSY});
}

void put_user(const char *value)
{
    struct table_txn *txn;
    CHECK(store_begin_write(&txn, node.store) == OK);
    CHECK(table_put(txn, TABLE_USER, bytes_text("0123456789abcdef"), bytes_text(value)) == OK);
    CHECK(store_commit(txn) == OK);
}

struct state_statement as_stored(unsigned member, uint64_t leaf)
{
    struct table_txn *txn;
    struct state_statement s = {.member = member, .leaf = leaf, .size = leaf + 1};
    CHECK(store_begin_read(&txn, node.store) == OK);
    CHECK(state_digest_now(&s.digest, txn) == OK);
    store_abort(txn);
    state_statement_sign(&s, &node.genesis, &secrets[member].message);
    return s;
}

void turn(unsigned ms)
{
    uint64_t end = paced_real_ns() + ms * UINT64_C(1000000);
    while (paced_real_ns() < end) {
        uv_run(&node.loop, UV_RUN_NOWAIT);
        uv_sleep(10);
    }
}

void pass(unsigned seconds)
{
    uint64_t end = clock_monotonic_ns() + seconds * UINT64_C(1000000000);
    while (clock_monotonic_ns() < end) {
        paced_clock_turn();
        uv_sleep(5);
    }
}

void later(unsigned seconds)
{
    pass(seconds);
    turn(1200);
}

void wall_clock_leaps(uint64_t ms) { paced_wall_begun_ms += ms; }

uint64_t stored(void)
{
    struct table_txn *txn;
    CHECK(store_begin_read(&txn, node.store) == OK);
    uint64_t rows = table_count(txn, TABLE_STATEMENT);
    store_abort(txn);
    return rows;
}
