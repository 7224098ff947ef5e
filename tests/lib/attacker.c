#include "tests/lib/attacker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/pack.h"
#include "crypto/random.h"
#include "ledger/attachment.h"

#define PATIENCE_MS (TESTBED_PATIENCE_S * 1000)

void attacker_open(struct attacker *a, const struct testbed *bed)
{
    struct failure failure = {0};
    *a = (struct attacker){.bed = bed};
    crypto_init();
    enum err e = cluster_open(&a->cluster, bed->genesis, NULL, PATIENCE_MS, NULL, &failure);
    if (e == OK) e = collective_get(&a->key, &a->cluster, &failure);
    if (e != OK) testbed_fail(bed, "the attacker cannot begin: %s", failure.text);
}

void attacker_close(struct attacker *a)
{
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        tls_ticket_free(a->tickets[i]);
    cluster_close(&a->cluster);
}

/* --- connections --- */

struct client *attacker_try(struct attacker *a, unsigned node, uint32_t ms)
{
    const struct descriptor *d = genesis_member(&a->cluster.genesis, node);
    struct address to;
    struct client *c = NULL;
    struct client_options options = {.timeout_ms = ms, .ticket = &a->tickets[node]};
    CHECK(address_parse(&to, d->address, false, NULL) == OK);
    return client_connect(&c, a->cluster.tls, &to, &d->tls_pin, &options, NULL) == OK ? c : NULL;
}

struct client *attacker_connect(struct attacker *a, unsigned node)
{
    struct client *c = attacker_try(a, node, PATIENCE_MS);
    if (!c) testbed_fail(a->bed, "node %u takes no connection", node);
    return c;
}

struct client *attacker_greet(struct attacker *a, unsigned node)
{
    struct client *c = attacker_connect(a, node);
    struct buffer body = {0};
    struct said said = {0};
    message_hello_encode(&body, &(struct message_hello){PROTOCOL_VERSION, bytes_text("attacker")});
    attacker_ask(a, c, &said, MESSAGE_HELLO, buffer_bytes(&body));
    if (said.type != MESSAGE_WELCOME)
        testbed_fail(a->bed, "node %u answers HELLO with %u: %s", node, said.type, said.text);
    said_free(&said);
    buffer_free(&body);
    return c;
}

void said_free(struct said *s) { buffer_free(&s->body); }

void attacker_send(struct attacker *a, struct client *c, uint32_t type, uint64_t id, struct bytes body)
{
    struct failure failure = {0};
    if (client_send(c, type, id, body, PATIENCE_MS, &failure) != OK)
        testbed_fail(a->bed, "cannot send a message of type %u: %s", type, failure.text);
}

void attacker_write(struct attacker *a, struct client *c, struct bytes bytes)
{
    struct failure failure = {0};
    if (client_write(c, bytes, PATIENCE_MS, &failure) != OK)
        testbed_fail(a->bed, "cannot write %zu bytes: %s", bytes.size, failure.text);
}

void attacker_hear(struct attacker *a, struct client *c, struct said *out, uint32_t ms)
{
    struct failure failure = {0};
    struct frame frame;
    struct buffer body = out->body;
    *out = (struct said){0};
    out->body = body;
    buffer_clear(&out->body);
    enum err e;
    while ((e = client_receive(c, &frame, ms, &failure)) == OK && frame.type == MESSAGE_NOTICE)
        ; /* an alarm is open: no answer to anything */
    if (e == ERR_TIMEOUT) testbed_fail(a->bed, "no answer within %u ms", ms);
    if (e != OK) {
        snprintf(out->text, sizeof out->text, "%.199s", failure.text);
        return;
    }
    out->type = frame.type;
    out->id = frame.id;
    buffer_append_bytes(&out->body, frame.body);
    if (frame.type != MESSAGE_FAILED) return;
    struct message_failed m;
    if (message_failed_decode(&m, frame.body) != OK) testbed_fail(a->bed, "FAILED is not well-formed");
    out->code = m.code;
    out->retry_after_ms = m.retry_after_ms;
    snprintf(out->text, sizeof out->text, "%.*s", (int)m.text.size, (const char *)m.text.data);
}

void attacker_ask(struct attacker *a, struct client *c, struct said *out, uint32_t type, struct bytes body)
{
    attacker_send(a, c, type, 7, body);
    attacker_hear(a, c, out, PATIENCE_MS);
}

bool attacker_closed(struct client *c, uint32_t ms)
{
    struct frame frame;
    uint64_t end = clock_monotonic_ns() + (uint64_t)ms * 1000000, now;
    while ((now = clock_monotonic_ns()) < end) {
        enum err e = client_receive(c, &frame, (uint32_t)((end - now) / 1000000 + 1), NULL);
        if (e != OK) return e != ERR_TIMEOUT;
    }
    return false;
}

/* --- state --- */

static struct message_status_ok *status_of(struct attacker *a, unsigned node, struct said *said)
{
    struct client *c = attacker_greet(a, node);
    struct buffer empty = {0};
    struct message_status_ok *status = xcalloc(1, sizeof *status);
    message_empty_encode(&empty);
    attacker_ask(a, c, said, MESSAGE_STATUS, buffer_bytes(&empty));
    if (said->type != MESSAGE_STATUS_OK || message_status_ok_decode(status, buffer_bytes(&said->body)) != OK)
        testbed_fail(a->bed, "node %u does not tell its status: %s", node, said->text);
    buffer_free(&empty);
    client_close(c);
    return status;
}

struct ledger_mark attacker_mark(struct attacker *a, unsigned node)
{
    struct said said = {0};
    struct message_status_ok *status = status_of(a, node, &said);
    struct ledger_mark mark = {status->members[node - 1].ledger_size, status->members[node - 1].root};
    said_free(&said);
    free(status);
    return mark;
}

uint64_t attacker_counter(struct attacker *a, unsigned node, const char *name)
{
    struct said said = {0};
    struct message_status_ok *status = status_of(a, node, &said);
    uint64_t value = UINT64_MAX;
    for (uint32_t i = 0; i < status->counter_count; i++)
        if (bytes_equal(status->counters[i].name, bytes_text(name))) value = status->counters[i].value;
    if (value == UINT64_MAX) testbed_fail(a->bed, "node %u has no counter %s", node, name);
    said_free(&said);
    free(status);
    return value;
}

uint64_t attacker_memory_kib(const struct attacker *a, unsigned node)
{
    char path[64], line[256];
    unsigned long long kib = 0, part;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)a->bed->pids[node]);
    FILE *f = fopen(path, "r");
    if (!f) testbed_fail(a->bed, "node %u has no %s", node, path);
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "Private_Dirty: %llu kB", &part) == 1) kib += part;
    fclose(f);
    return kib;
}

/* --- requests --- */

struct signer attacker_signer(const struct attacker *a, const char *login)
{
    struct signer signer;
    struct failure failure = {0};
    char path[400];
    snprintf(path, sizeof path, "%s/%s.key", a->bed->dir, login);
    if (signer_open(&signer, path, NULL, &failure) != OK) testbed_fail(a->bed, "%s", failure.text);
    return signer;
}

static void make_operation(struct buffer *out, const struct attacker *a, const struct signer *who,
                           const struct arguments *args, const struct digest *attachment, const struct wrong *w)
{
    struct buffer encoded = {0};
    arguments_encode(&encoded, args);
    struct operation op = {
        .cluster = w->cluster ? *w->cluster : a->cluster.genesis.cluster,
        .request_id = random_id(),
        .issued_at_ms = w->issued_at_ms ? w->issued_at_ms : clock_wall_ms(),
        .actor = w->actor ? *w->actor : signer_actor(who),
        .action = w->action ? w->action : args->action,
        .args = buffer_bytes(&encoded),
        .purpose = PURPOSE_TREATMENT,
        .attachment = *attachment,
    };
    operation_encode(out, &op);
    buffer_free(&encoded);
}

static struct signature sign(const struct buffer *operation, const struct signer *who, const struct wrong *w)
{
    uint8_t message[REQUEST_SIGNED_SIZE];
    struct signature signature = {{0}};
    struct digest root;
    tree_leaf_hash(&root, buffer_bytes(operation));
    request_signed_bytes(message, 1, &root);
    if (!w->no_signature) sign_message(&signature, w->secret ? w->secret : &who->secrets->sign, BYTES(message));
    return signature;
}

void attacker_request(struct buffer *out, const struct attacker *a, const struct signer *who,
                      const struct arguments *args, struct bytes content, const struct wrong *wrong)
{
    static const struct wrong nothing;
    const struct wrong *w = wrong ? wrong : &nothing;
    uint8_t salt[ATTACHMENT_SALT];
    struct buffer operation = {0}, attachment = {0};
    struct digest hash = {{0}};
    random_bytes(salt, sizeof salt);
    if (content.size) {
        attachment_encode(&attachment, salt, content);
        hash = attachment_hash(salt, content);
        if (w->other_attachment) hash.bytes[0] ^= 1;
    }
    make_operation(&operation, a, who, args, &hash, w);
    struct signature signature = sign(&operation, who, w);
    if (w->no_attachment) buffer_clear(&attachment);
    if (w->more_attachment) attachment_encode(&attachment, salt, bytes_text("nobody asked for this"));
    buffer_clear(out);
    pack_array(out, 3);
    pack_array(out, 1);
    pack_bytes(out, buffer_bytes(&operation));
    pack_array(out, 1);
    pack_bytes(out, buffer_bytes(&attachment));
    pack_bin(out, signature.bytes, sizeof signature.bytes);
    CHECK(!out->failed);
    buffer_free(&operation);
    buffer_free(&attachment);
}

void attacker_submit(struct attacker *a, struct client *c, struct said *out, struct message_result *result,
                     struct bytes request)
{
    struct buffer body = {0};
    struct message_applied *applied = xcalloc(1, sizeof *applied);
    message_submit_encode(&body, &(struct message_submit){request, WAIT_APPLIED});
    *result = (struct message_result){0};
    attacker_ask(a, c, out, MESSAGE_SUBMIT, buffer_bytes(&body));
    if (out->type == MESSAGE_APPLIED) {
        if (message_applied_decode(applied, buffer_bytes(&out->body)) != OK)
            testbed_fail(a->bed, "APPLIED is not well-formed");
        *result = applied->results[0];
    }
    free(applied);
    buffer_free(&body);
}
