#include "tests/bench/lanes.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/pack.h"
#include "cli/content.h"
#include "cli/receipt.h"
#include "cli/shares.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/time_id.h"
#include "ledger/arguments.h"
#include "ledger/attachment.h"
#include "ledger/checkpoint.h"
#include "ledger/request.h"

#define TIMEOUT_MS 20000
#define PATIENT_MS 300000
#define PAUSE_US 20000 /* after a refusal that is of the moment */

enum phase { PHASE_APPLIED, PHASE_COSIGNED, PHASE_CONTENT, PHASE_SHARES };

struct lane {
    struct client *client;
    uint64_t id, sent_ns, applied_ns;
    enum phase phase;
    enum wait wait;
    struct request_builder builder; /* keeps the operations' bytes for checking */
    struct buffer request, body;
    struct reader reader;
    uint64_t leaf_index;
    struct buffer content; /* body of CONTENTS, until the shares are here */
};

struct run {
    struct bench_world *world;
    const struct job *job;
    struct job_result *out;
    struct lane *lanes;
    bool measuring, stopping;
    unsigned waiting;
    uint64_t sent; /* operations */
    struct buffer note; /* the last one that verified: many answers come under one */
    struct checkpoint checkpoint;
};

static _Noreturn void die(const char *what, enum err e)
{
    fprintf(stderr, "bench: %s: %s\n", what, err_text(e));
    exit(1);
}

static void must(enum err e, const char *what)
{
    if (e != OK) die(what, e);
}

/* --- requests --- */

static void attach_event(struct buffer *args, struct buffer *attachment, const struct run *r)
{
    static uint8_t note[LIMIT_NOTE];
    uint8_t salt[ATTACHMENT_SALT];
    struct args_event_add a = {.patient = r->world->patient, .what = bytes_text("bill.print"),
                               .object = bytes_text("invoice")};
    args_event_add_encode(args, &a);
    if (note[0] == 0) memset(note, 'n', sizeof note);
    random_bytes(salt, sizeof salt);
    CHECK(r->job->bytes <= sizeof note);
    attachment_encode(attachment, salt, bytes_of(note, r->job->bytes));
}

static void attach_record(struct buffer *args, struct buffer *attachment, const struct run *r)
{
    const struct bench_world *w = r->world;
    uint8_t salt[ATTACHMENT_SALT];
    struct buffer plain = {0}, content = {0};
    struct failure failure;
    struct args_record_create a = {.record = time_id(clock_wall_ms()), .patient = w->patient,
                                   .kind = bytes_text("note"), .conf = CONF_NORMAL};
    struct record_context context = {.cluster = w->cluster.genesis.cluster, .patient = w->patient,
                                     .record = a.record, .version = 1, .conf = CONF_NORMAL, .author = w->doctor.user};
    uint8_t *at = buffer_extend(&plain, r->job->bytes);
    memset(at, 'r', r->job->bytes);
    must(content_close(&content, &w->collective, &context, buffer_bytes(&plain), &failure), "encrypting a record");
    random_bytes(salt, sizeof salt);
    attachment_encode(attachment, salt, buffer_bytes(&content));
    args_record_create_encode(args, &a);
    buffer_free(&plain);
    buffer_free(&content);
}

static enum action make_args(struct buffer *args, struct buffer *attachment, struct run *r, struct lane *lane)
{
    const struct bench_world *w = r->world;
    switch (r->job->work) {
    case WORK_EVENT: attach_event(args, attachment, r); return ACTION_EVENT_ADD;
    case WORK_RECORD_CREATE: attach_record(args, attachment, r); return ACTION_RECORD_CREATE;
    case WORK_RECORD_SHOW: {
        seal_keypair_random(&lane->reader.secret, &lane->reader.public_key);
        struct args_record_read a = {.record = w->records[random_below((uint32_t)w->record_count)],
                                     .reader_key = lane->reader.public_key, .limit = 1};
        args_record_read_encode(args, &a);
        return ACTION_RECORD_READ;
    }
    case WORK_LOG: {
        struct args_log_query a = {.actor = w->doctor.user, .limit = 20}; /* a doctor sees what they did */
        args_log_query_encode(args, &a);
        return ACTION_LOG_QUERY;
    }
    }
    abort();
}

static void build(struct run *r, struct lane *lane)
{
    const struct bench_world *w = r->world;
    request_builder_free(&lane->builder);
    memset(&lane->builder, 0, sizeof lane->builder);
    for (unsigned i = 0; i < r->job->operations; i++) {
        struct buffer args = {0}, attachment = {0};
        struct operation op = {.cluster = w->cluster.genesis.cluster, .request_id = random_id(),
                               .issued_at_ms = clock_wall_ms(), .actor = signer_actor(&w->doctor),
                               .purpose = PURPOSE_TREATMENT};
        op.action = make_args(&args, &attachment, r, lane);
        op.args = buffer_bytes(&args);
        must(request_builder_add(&lane->builder, &op, buffer_bytes(&attachment)), "building a request");
        buffer_free(&args);
        buffer_free(&attachment);
    }
    buffer_clear(&lane->request);
    must(request_builder_sign(&lane->request, &lane->builder, &w->doctor.secrets->sign), "signing");
}

static void lane_send(struct lane *lane, uint32_t type)
{
    struct failure failure = {0};
    must(client_send(lane->client, type, ++lane->id, buffer_bytes(&lane->body), TIMEOUT_MS, &failure), failure.text);
}

static void start(struct run *r, struct lane *lane)
{
    if (r->stopping || (r->job->most && r->sent >= r->job->most)) return;
    r->sent += r->job->operations;
    build(r, lane);
    struct message_submit m = {.request = buffer_bytes(&lane->request), .wait = lane->wait};
    buffer_clear(&lane->body);
    message_submit_encode(&lane->body, &m);
    lane->phase = PHASE_APPLIED;
    lane->sent_ns = clock_monotonic_ns();
    lane_send(lane, MESSAGE_SUBMIT);
    r->waiting++;
}

/* --- answers --- */

static void finished(struct run *r, struct lane *lane)
{
    r->waiting--;
    if (r->measuring) r->out->operations += r->job->operations;
    start(r, lane);
}

static void took(struct run *r, struct samples *s, const struct lane *lane)
{
    if (r->measuring) samples_add(s, clock_monotonic_ns() - lane->sent_ns);
}

/* Co-signed, or content opened. */
static void took_all(struct run *r, const struct lane *lane)
{
    took(r, &r->out->cosigned, lane);
    if (r->measuring && r->job->after) samples_add(r->job->after, clock_monotonic_ns() - lane->applied_ns);
}

static void ask_content(struct lane *lane)
{
    struct message_opening m = {.leaf_index = lane->leaf_index, .count = 1};
    buffer_clear(&lane->body);
    message_opening_encode(&lane->body, &m);
    lane->phase = PHASE_CONTENT;
    lane_send(lane, MESSAGE_CONTENT);
}

static void on_applied(struct run *r, struct lane *lane, const struct frame *f)
{
    static struct message_applied m;
    must(message_applied_decode(&m, f->body), "an answer");
    if (m.count != r->job->operations) die("an answer of another length", ERR_MALFORMED);
    for (uint32_t i = 0; i < m.count; i++) {
        must(m.results[i].code, "an operation was refused");
        if (m.results[i].decision != DECISION_APPROVED)
            die(reason_text((enum reason)m.results[i].reason), ERR_DENIED);
    }
    lane->leaf_index = m.results[0].leaf_index;
    took(r, &r->out->applied, lane);
    lane->applied_ns = clock_monotonic_ns();
    if (r->job->work == WORK_RECORD_SHOW)
        ask_content(lane);
    else if (lane->wait == WAIT_COSIGNED)
        lane->phase = PHASE_COSIGNED;
    else
        finished(r, lane);
}

static void check_note(struct run *r, struct bytes note)
{
    if (bytes_equal(note, buffer_bytes(&r->note))) return;
    must(checkpoint_verify(&r->checkpoint, note, &r->world->cluster.genesis), "a checkpoint");
    buffer_clear(&r->note);
    buffer_append_bytes(&r->note, note);
}

static void on_cosigned(struct run *r, struct lane *lane, const struct frame *f)
{
    static struct message_cosigned m;
    static struct digest hashes[LIMIT_PROOFS];
    must(message_cosigned_decode(&m, hashes, LIMIT_PROOFS, f->body), "a receipt");
    check_note(r, m.note);
    for (uint32_t i = 0; i < m.count; i++) {
        struct leaf leaf;
        struct digest hash;
        must(leaf_decode(&leaf, m.proofs[i].leaf), "a leaf");
        leaf_hash(&hash, m.proofs[i].leaf);
        if (!bytes_equal(leaf.operation.raw, buffer_bytes(&lane->builder.operations[i])))
            die("the leaf holds another operation", ERR_BAD_PROOF);
        must(tree_inclusion_verify(&hash, leaf.index, r->checkpoint.size, m.proofs[i].hashes, m.proofs[i].count,
                                   &r->checkpoint.root), "an inclusion proof");
    }
    took_all(r, lane);
    finished(r, lane);
}

static void on_contents(struct lane *lane, const struct frame *f)
{
    buffer_clear(&lane->content);
    buffer_append_bytes(&lane->content, f->body);
    lane->phase = PHASE_SHARES;
}

static void on_shared(struct run *r, struct lane *lane, const struct frame *f)
{
    static struct message_item items[LIMIT_OPENED];
    const struct bench_world *w = r->world;
    struct message_contents m;
    struct share_set set;
    struct sealed_item item;
    uint8_t key[32];
    must(message_contents_decode(&m, items, LIMIT_OPENED, buffer_bytes(&lane->content)), "content");
    if (m.count != 1) die("content of another length", ERR_MALFORMED);
    must(tdh2_capsule_decode(&item.capsule, items[0].capsule), "a capsule");
    hash_sha256(&item.context_hash, items[0].context.data, items[0].context.size);
    item.label = record_label(items[0].context, items[0].ciphertext);
    must(share_set_read(&set, &w->cluster.genesis, &lane->reader,
                        &(struct share_ask){.leaf_index = lane->leaf_index, .count = 1}, &(struct read_extent){.count = 1}, f->body), "shares");
    member_set fitting = share_set_sort(&set, 0, &item.label, w->collective.epoch).fitting;
    must(share_set_open(key, &set, 0, &w->collective, &item, fitting, w->cluster.genesis.quorum), "opening");
    size_t size = items[0].ciphertext.size;
    uint8_t *plain = xmalloc(size);
    must(aead_decrypt(plain, key, AEAD_ZERO_NONCE, items[0].ciphertext, items[0].context), "decrypting");
    if (plain[0] != 'r') die("content is not what was stored", ERR_CORRUPT);
    free(plain);
    share_set_free(&set);
    took_all(r, lane);
    finished(r, lane);
}

/* With another try it may succeed: witnessing was off for long, or the nodes have too much to do. */
static bool is_passing(const struct job *job, enum err e)
{
    if (e == ERR_NOT_WITNESSED && job->awaiting) return true;
    return job->patient && (e == ERR_BUSY || e == ERR_NO_QUORUM || e == ERR_TIMEOUT || e == ERR_NOT_LEADER ||
                            e == ERR_CANCELED || e == ERR_NOT_READY);
}

static void try_again(struct run *r, struct lane *lane)
{
    if (r->job->patient) usleep(PAUSE_US);
    r->waiting--;
    r->sent -= r->job->operations;
    start(r, lane);
}

static void on_frame(struct run *r, struct lane *lane, const struct frame *f)
{
    static const uint32_t expected[] = {MESSAGE_APPLIED, MESSAGE_COSIGNED, MESSAGE_CONTENTS, MESSAGE_SHARED};
    struct message_failed failed;
    if (f->type == MESSAGE_FAILED && message_failed_decode(&failed, f->body) == OK) {
        if (is_passing(r->job, failed.code)) {
            try_again(r, lane);
            return;
        }
        fprintf(stderr, "bench: a node answered: %.*s\n", (int)failed.text.size, (const char *)failed.text.data);
        die("refused", failed.code);
    }
    if (f->type != expected[lane->phase]) die("an unexpected answer", ERR_UNEXPECTED);
    switch (lane->phase) {
    case PHASE_APPLIED: on_applied(r, lane, f); return;
    case PHASE_COSIGNED: on_cosigned(r, lane, f); return;
    case PHASE_CONTENT: on_contents(lane, f); return;
    case PHASE_SHARES: on_shared(r, lane, f); return;
    }
}

/* --- the loop --- */

static void drain(struct run *r, struct lane *lane)
{
    struct frame f;
    for (;;) {
        struct failure failure = {0};
        enum err e = client_receive(lane->client, &f, 0, &failure);
        if (e == ERR_TIMEOUT) return;
        must(e, failure.text);
        /* What is measured then is something else. */
        if (f.type == MESSAGE_NOTICE) die("an alarm is open", ERR_UNEXPECTED);
        on_frame(r, lane, &f);
        if (r->waiting == 0) return;
    }
}

static void poll_once(struct run *r, struct pollfd *fds)
{
    for (unsigned i = 0; i < r->job->clients; i++)
        fds[i] = (struct pollfd){.fd = client_descriptor(r->lanes[i].client), .events = POLLIN};
    int n = poll(fds, r->job->clients, r->job->patient ? PATIENT_MS : TIMEOUT_MS);
    if (n == 0) die("no answer", ERR_TIMEOUT);
    for (unsigned i = 0; i < r->job->clients && n > 0; i++)
        if (fds[i].revents) drain(r, &r->lanes[i]);
}

struct client *lanes_connect(struct bench_world *world, unsigned member)
{
    struct cluster *c = &world->cluster;
    const struct descriptor *d = genesis_member(&c->genesis, member);
    struct client *client;
    struct address to;
    struct failure failure = {0};
    struct frame f;
    struct buffer body = {0};
    char address[64];
    snprintf(address, sizeof address, "127.0.0.1:%u", world->ports ? world->ports[member] : 0);
    must(address_parse(&to, world->ports ? address : d->address, false, &failure), failure.text);
    must(client_connect(&client, c->tls, &to, &d->tls_pin, NULL, &failure), failure.text);
    struct message_hello hello = {.version = PROTOCOL_VERSION, .program = bytes_text("bench")};
    message_hello_encode(&body, &hello);
    must(client_send(client, MESSAGE_HELLO, 1, buffer_bytes(&body), TIMEOUT_MS, &failure), failure.text);
    must(client_receive(client, &f, TIMEOUT_MS, &failure), failure.text);
    if (f.type == MESSAGE_NOTICE) die("an alarm is open", ERR_UNEXPECTED);
    if (f.type != MESSAGE_WELCOME) die("no welcome", ERR_UNEXPECTED);
    buffer_free(&body);
    return client;
}

static void run_until(struct run *r, struct pollfd *fds, uint64_t end_ns)
{
    while (r->waiting > 0 && clock_monotonic_ns() < end_ns && !(r->job->ended && r->job->ended(r->job->data)))
        poll_once(r, fds);
}

static void open_lanes(struct run *r)
{
    const struct job *job = r->job;
    r->lanes = xcalloc(job->clients, sizeof *r->lanes);
    for (unsigned i = 0; i < job->clients; i++) {
        bool waits = i < job->awaiting || job->wait == WAIT_COSIGNED;
        r->lanes[i].wait = waits && job->work != WORK_RECORD_SHOW ? WAIT_COSIGNED : WAIT_APPLIED;
        unsigned member = job->member ? job->member : 1 + i % r->world->cluster.genesis.member_count;
        r->lanes[i].client = lanes_connect(r->world, member);
        r->lanes[i].id = 1;
    }
}

static void close_lanes(struct run *r)
{
    for (unsigned i = 0; i < r->job->clients; i++) {
        struct lane *lane = &r->lanes[i];
        client_close(lane->client);
        request_builder_free(&lane->builder);
        buffer_free(&lane->request);
        buffer_free(&lane->body);
        buffer_free(&lane->content);
    }
    free(r->lanes);
}

void lanes_run(struct job_result *out, struct bench_world *world, const struct job *job)
{
    *out = (struct job_result){0};
    struct run r = {.world = world, .job = job, .out = out, .measuring = job->most > 0};
    struct pollfd *fds = xcalloc(job->clients, sizeof *fds);
    open_lanes(&r);
    uint64_t began = clock_monotonic_ns();
    for (unsigned i = 0; i < job->clients; i++)
        start(&r, &r.lanes[i]);
    if (!r.measuring) {
        run_until(&r, fds, began + (uint64_t)(LANES_WARM_UP_S * 1e9));
        r.measuring = true;
        began = clock_monotonic_ns();
    }
    if (job->began) job->began(job->data);
    run_until(&r, fds, began + (uint64_t)(job->seconds * 1e9));
    out->seconds = (double)(clock_monotonic_ns() - began) / 1e9;
    if (job->over) job->over(job->data);
    r.measuring = job->most > 0; /* what is to be reached counts until the last answer */
    r.stopping = true;
    while (r.waiting > 0)
        poll_once(&r, fds);
    close_lanes(&r);
    buffer_free(&r.note);
    free(fds);
}
