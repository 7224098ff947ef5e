#include "cli/cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/nearest.h"
#include "cli/alarms.h"
#include "cli/files.h"
#include "cli/watch.h"
#include "crypto/random.h"
#include "net/address.h"

#define CONNECT_MS 3000      /* to one of several nodes, before the next is tried; at most a third of the time-out */
#define WATCH_AFTER_MS 1000 /* a command that ends sooner needs one connection, not n */
#define CLOCK_WARN_MS 120000 /* of the five minutes that are allowed */

/* --- the genesis file --- */

static enum err find_via(struct cluster *c, const char *via, struct failure *failure)
{
    c->via = genesis_member_by_name(&c->genesis, via);
    if (c->via) return OK;
    const char *names[LIMIT_NODES];
    for (uint32_t i = 0; i < c->genesis.member_count; i++)
        names[i] = c->genesis.members[i].name;
    const char *near = nearest(via, names, c->genesis.member_count);
    return fail(failure, ERR_USAGE, "the cluster %s has no node '%s'%s%s%s", c->genesis.origin, via,
                near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

enum err cluster_open(struct cluster *c, const char *genesis_file, const char *via, uint32_t timeout_ms,
                      struct output *output, struct failure *failure)
{
    *c = (struct cluster){.output = output, .timeout_ms = timeout_ms};
    struct failure why = {0};
    enum err e = file_read(&c->text, genesis_file, LIMIT_GENESIS, failure);
    if (e != OK) goto close;
    e = genesis_parse(&c->genesis, buffer_bytes(&c->text), &why);
    if (e != OK) {
        fail(failure, e, "%s is not a genesis file: %s", genesis_file, why.text);
        goto close;
    }
    e = via ? find_via(c, via, failure) : OK;
    if (e == OK) e = tls_context_new(&c->tls, (struct bytes){0}, (struct bytes){0}, failure);
    if (e == OK) return OK;
close:
    cluster_close(c);
    return e;
}

enum err cluster_share(struct cluster *c, const struct cluster *of, struct output *output)
{
    *c = (struct cluster){.output = output, .genesis = of->genesis};
    return tls_context_new(&c->tls, (struct bytes){0}, (struct bytes){0}, NULL);
}

void cluster_watch(struct cluster *c)
{
    if (c->watches && !c->watch) c->watch = watch_begin(c, WATCH_AFTER_MS);
}

void cluster_close(struct cluster *c)
{
    watch_end(c->watch);
    client_close(c->client);
    tls_context_free(c->tls);
    buffer_free(&c->text);
    *c = (struct cluster){0};
}

const char *cluster_member_name(const struct cluster *c, uint32_t member)
{
    const struct descriptor *d = genesis_member(&c->genesis, member);
    return d ? d->name : "?";
}

char *cluster_cache_path(const struct cluster *c, const char *name)
{
    char *folder = cache_folder();
    if (!folder) return NULL;
    char id[2 * sizeof c->genesis.cluster.bytes + 1];
    hex_format(id, c->genesis.cluster.bytes, sizeof c->genesis.cluster.bytes);
    char *mine = path_join(folder, id), *path = NULL;
    if (folder_create(mine, NULL) == OK) path = path_join(mine, name);
    free(mine);
    free(folder);
    return path;
}

/* --- which node first --- */

/* The member that answered last time, or any. */
static uint32_t remembered_member(const struct cluster *c)
{
    char *path = cluster_cache_path(c, "node");
    struct buffer name = {0};
    uint32_t member = 0;
    if (path && file_read(&name, path, LIMIT_NAME, NULL) == OK) {
        buffer_append(&name, "", 1);
        member = name.failed ? 0 : genesis_member_by_name(&c->genesis, (const char *)name.data);
    }
    buffer_free(&name);
    free(path);
    return member ? member : random_below(c->genesis.member_count) + 1;
}

/* Only a hint: that it can't be written is nobody's concern. */
static void remember_member(const struct cluster *c)
{
    char *path = cluster_cache_path(c, "node");
    if (path) file_write(path, bytes_text(cluster_member_name(c, c->member)), 0600, false, NULL);
    free(path);
}

static uint32_t member_after(const struct cluster *c, uint32_t member)
{
    return member % c->genesis.member_count + 1;
}

/* --- time --- */

static uint64_t after_ms(uint32_t ms) { return clock_monotonic_ns() + (uint64_t)ms * 1000000; }

uint64_t cluster_deadline(struct cluster *c)
{
    if (!c->one_deadline) return after_ms(c->timeout_ms);
    if (c->end_ns == 0) c->end_ns = after_ms(c->timeout_ms);
    return c->end_ns;
}

void cluster_renew(struct cluster *c) { c->end_ns = 0; }

uint32_t cluster_left_ms(uint64_t deadline_ns)
{
    uint64_t now = clock_monotonic_ns();
    return now < deadline_ns ? (uint32_t)((deadline_ns - now + 999999) / 1000000) : 0;
}

uint32_t cluster_answer_ms(const struct cluster *c)
{
    if (c->give_up_ns == 0) return c->timeout_ms;
    uint32_t left = cluster_left_ms(c->give_up_ns);
    return left ? left : 1;
}

uint32_t cluster_patience_ms(const struct cluster *c, uint64_t deadline_ns)
{
    uint32_t left = cluster_left_ms(deadline_ns);
    return c->via ? left : left / 10 * 6 + left % 10;
}

/* --- connecting --- */

static enum err check_welcome(struct cluster *c, const struct message_welcome *w, struct failure *failure)
{
    const struct genesis *g = &c->genesis;
    const struct descriptor *d = genesis_member(g, c->member);
    if (!digest_equal(&w->cluster, &g->cluster))
        return fail(failure, ERR_OTHER_CLUSTER, "%s (%s) belongs to another cluster than the genesis file names",
                    d->name, d->address);
    if (!id_equal(&w->node, &d->id) || w->member != c->member)
        return fail(failure, ERR_WRONG_PEER, "the node at %s says it is another one than %s", d->address, d->name);
    if (w->nodes != g->member_count || w->faulty != g->faulty || w->quorum != g->quorum)
        return fail(failure, ERR_OTHER_CLUSTER,
                    "%s states n = %u, b = %u, k = %u, not %u, %u, %u as the genesis file does", d->name, w->nodes,
                    w->faulty, w->quorum, g->member_count, g->faulty, g->quorum);
    return OK;
}

static void copy_view(char *out, size_t size, struct bytes text)
{
    snprintf(out, size, "%.*s", (int)(text.size < size ? text.size : size - 1), (const char *)text.data);
}

static void warn_clock(struct cluster *c, uint64_t now_ms)
{
    uint64_t own_ms = clock_wall_ms(), off = now_ms > own_ms ? now_ms - own_ms : own_ms - now_ms; /* a node may say any time */
    if (off < CLOCK_WARN_MS || c->warned_clock || c->listens || !c->output) return;
    c->warned_clock = true;
    output_message(c->output,
                   "this machine's clock is %llu s %s that of %s; what is more than 5 minutes off is refused",
                   (unsigned long long)(off / 1000), now_ms > own_ms ? "behind" : "ahead of", cluster_member_name(c, c->member));
}

/* How long connecting and greeting may take, each. */
static uint32_t connect_ms(const struct cluster *c)
{
    uint32_t ms = c->via ? c->timeout_ms : c->timeout_ms / 3 < CONNECT_MS ? c->timeout_ms / 3 : CONNECT_MS;
    uint32_t left = cluster_answer_ms(c);
    return left < ms ? left : ms;
}

static enum err greet(struct cluster *c, struct failure *failure)
{
    struct buffer body = {0};
    message_hello_encode(&body, &(struct message_hello){PROTOCOL_VERSION, bytes_text("consilium")});
    CHECK(!body.failed);
    uint64_t id;
    struct frame frame;
    struct message_welcome welcome;
    enum err e = cluster_send(c, &id, MESSAGE_HELLO, buffer_bytes(&body), failure);
    buffer_free(&body);
    if (e == OK) e = cluster_receive(c, &frame, id, connect_ms(c), NULL, failure);
    if (e != OK) return e;
    if (frame.type != MESSAGE_WELCOME || message_welcome_decode(&welcome, frame.body) != OK)
        return fail(failure, ERR_MALFORMED, "%s does not speak this protocol", cluster_member_name(c, c->member));
    e = check_welcome(c, &welcome, failure);
    if (e != OK) return e;
    copy_view(c->state, sizeof c->state, welcome.state);
    copy_view(c->warning, sizeof c->warning, welcome.warning);
    warn_clock(c, welcome.now_ms);
    return OK;
}

enum err cluster_connect_to(struct cluster *c, uint32_t member, struct failure *failure)
{
    const struct descriptor *d = genesis_member(&c->genesis, member);
    CHECK(d != NULL);
    if (c->client && c->member == member) return OK;
    cluster_watch(c);
    client_close(c->client);
    c->client = NULL;
    c->member = member;
    c->notice = (struct message_notice){0};
    c->connected = false;
    struct address address;
    enum err e = address_parse(&address, d->address, false, failure);
    if (e != OK) return e;
    if (c->output && !c->listens) output_progress(c->output, "connecting to %s ...", d->name);
    e = client_connect(&c->client, c->tls, &address, &d->tls_pin,
                       &(struct client_options){.timeout_ms = connect_ms(c), .stop = c->stop}, failure);
    if (e == OK) e = greet(c, failure);
    c->connected = e == OK;
    if (e != OK) {
        client_close(c->client);
        c->client = NULL;
    }
    return e;
}

/* Somebody in between, or a wrong genesis file: worth knowing even if another node answers. */
static bool is_alarming(enum err e) { return e == ERR_WRONG_PEER || e == ERR_OTHER_CLUSTER; }

enum err cluster_connect(struct cluster *c, struct failure *failure)
{
    if (c->client) return OK;
    if (c->via) return cluster_connect_to(c, c->via, failure);
    uint32_t remembered = c->started ? 0 : remembered_member(c), member = c->started;
    if (!c->started) member = remembered;
    struct failure last = {0}, alarming = {0};
    uint32_t named = 0; /* the first that answers, but that an alarm names */
    for (uint32_t tried = 0; tried < c->genesis.member_count; tried++, member = member_after(c, member)) {
        struct failure why = {0};
        enum err e = cluster_connect_to(c, member, &why);
        if (e == OK && alarms_name(c, member)) {
            if (!named) named = member;
            continue;
        }
        if (e == OK) {
            if (alarming.code != OK && c->output) output_message(c->output, "%s", alarming.text);
            c->started = member;
            if (tried > 0 || remembered != member) remember_member(c);
            return OK;
        }
        last = why;
        if (is_alarming(e)) alarming = why;
    }
    if (named) {
        c->started = named;
        return cluster_connect_to(c, named, failure);
    }
    if (alarming.code != OK) return fail(failure, alarming.code, "%s", alarming.text);
    if (last.code == ERR_VERSION) return fail(failure, ERR_VERSION, "%s", last.text); /* waiting would not help */
    return fail(failure, ERR_UNREACHABLE, "none of the %u nodes of %s answers; the last: %s", c->genesis.member_count,
                c->genesis.origin, last.text);
}

void cluster_drop(struct cluster *c)
{
    if (c->client) c->started = member_after(c, c->member);
    client_close(c->client);
    c->client = NULL;
}

/* --- asking --- */

enum err cluster_send(struct cluster *c, uint64_t *id, enum message_type type, struct bytes body,
                      struct failure *failure)
{
    CHECK(c->client != NULL);
    *id = ++c->next_id;
    enum err e = client_send(c->client, type, *id, body, cluster_answer_ms(c), failure);
    if (e != OK) cluster_drop(c);
    return e;
}

static enum err take_failed(struct cluster *c, struct bytes body, uint64_t *retry_after_ms, struct failure *failure)
{
    struct message_failed m;
    if (message_failed_decode(&m, body) != OK)
        return fail(failure, ERR_MALFORMED, "%s sent an answer that can't be read", cluster_member_name(c, c->member));
    if (retry_after_ms) *retry_after_ms = m.retry_after_ms;
    const char *text = m.text.size ? (const char *)m.text.data : err_text(m.code);
    return fail(failure, m.code, "%s: %.*s", cluster_member_name(c, c->member),
                m.text.size ? (int)m.text.size : (int)strlen(text), text);
}

/* False: the connection was given up. */
static bool take_notice(struct cluster *c, struct bytes body)
{
    bool before = alarms_name(c, c->member);
    alarms_take(c, body);
    if (!c->leaves_named || !c->connected || c->via || before || !alarms_name(c, c->member)) return true;
    cluster_drop(c);
    return false;
}

enum err cluster_receive(struct cluster *c, struct frame *out, uint64_t id, uint32_t timeout_ms,
                         uint64_t *retry_after_ms, struct failure *failure)
{
    if (!c->client) return fail(failure, ERR_CLOSED, "not connected");
    uint64_t end = after_ms(timeout_ms);
    for (;;) {
        struct failure why = {0};
        enum err e = client_receive(c->client, out, cluster_left_ms(end), &why);
        if (e == ERR_TIMEOUT)
            return fail(failure, e, "%s did not answer within %u ms", cluster_member_name(c, c->member), timeout_ms);
        if (e != OK) {
            fail(failure, e, "the connection to %s broke: %s", cluster_member_name(c, c->member), why.text);
            cluster_drop(c);
            return e;
        }
        if (out->type == MESSAGE_NOTICE && out->id == 0) {
            if (take_notice(c, out->body)) continue;
            return fail(failure, ERR_CLOSED, "%s is named in an open alarm", cluster_member_name(c, c->member));
        }
        if (out->id != id) {
            if (c->on_other) c->on_other(c->other_data, out);
            continue;
        }
        return out->type == MESSAGE_FAILED ? take_failed(c, out->body, retry_after_ms, failure) : OK;
    }
}

/* A connection that broke is the next question's trouble. */
void cluster_listen(struct cluster *c)
{
    struct frame frame;
    while (c->client && client_receive(c->client, &frame, 0, NULL) == OK) {
        if (frame.type == MESSAGE_NOTICE && frame.id == 0)
            (void)take_notice(c, frame.body);
        else if (c->on_other)
            c->on_other(c->other_data, &frame);
    }
}

/* What another node may well be able to answer. */
static bool is_this_nodes_trouble(enum err e)
{
    return e == ERR_NOT_READY || e == ERR_QUARANTINED || e == ERR_BUSY || e == ERR_CLOCK || e == ERR_STOPPED ||
           e == ERR_TOO_MANY_CONNECTIONS || e == ERR_FULL || e == ERR_LOG_FULL || e == ERR_IO || e == ERR_CORRUPT ||
           e == ERR_TIMEOUT;
}

/* Whichever node answers the connecting. *again: another one may do better. */
static enum err ask_one(struct cluster *c, struct frame *out, bool *again, enum message_type type, struct bytes body,
                        enum message_type expected, struct failure *failure)
{
    uint64_t id;
    *again = false;
    enum err e = cluster_connect(c, failure);
    if (e != OK) return e; /* every node was tried */
    e = cluster_send(c, &id, type, body, failure);
    if (e == OK) e = cluster_receive(c, out, id, cluster_patience_ms(c, c->give_up_ns), NULL, failure);
    if (e == OK && out->type != expected)
        return fail(failure, ERR_UNEXPECTED, "%s sent a message of type %u instead of %u",
                    cluster_member_name(c, c->member), out->type, expected);
    *again = e != OK && (!c->client || is_this_nodes_trouble(e));
    return e;
}

enum err cluster_ask(struct cluster *c, struct frame *out, enum message_type type, struct bytes body,
                     enum message_type expected, struct failure *failure)
{
    enum err e = ERR_UNREACHABLE;
    uint32_t nodes = c->via ? 1 : c->genesis.member_count;
    uint64_t before = c->give_up_ns, end = cluster_deadline(c);
    bool again = true;
    c->give_up_ns = before && before < end ? before : end;
    bool idle = c->client != NULL; /* a node closes a connection that was idle for long: which is no answer of it */
    for (uint32_t tried = 0; again && tried < nodes; tried += !idle, idle = false) {
        e = ask_one(c, out, &again, type, body, expected, failure);
        if (c->client) idle = false;
        if (again) cluster_drop(c);
        again = again && cluster_left_ms(c->give_up_ns) > 0;
    }
    c->give_up_ns = before;
    return e;
}

static bool is_each_member_once(const struct message_status_ok *m, const struct genesis *genesis)
{
    for (uint32_t i = 0; i < m->member_count; i++)
        if (m->members[i].member != i + 1) return false;
    return m->member_count == genesis->member_count;
}

enum err cluster_status(struct cluster *c, struct message_status_ok *out, struct failure *failure)
{
    struct frame answer;
    struct buffer question = {0};
    message_empty_encode(&question);
    enum err e = cluster_ask(c, &answer, MESSAGE_STATUS, buffer_bytes(&question), MESSAGE_STATUS_OK, failure);
    buffer_free(&question);
    if (e != OK) return e;
    e = message_status_ok_decode(out, answer.body);
    if (e != OK)
        return fail(failure, e, "the status of %s can't be read: %s", cluster_member_name(c, c->member), err_text(e));
    if (is_each_member_once(out, &c->genesis)) return OK;
    return fail(failure, ERR_MALFORMED, "the status of %s is not of the members that the genesis file has",
                cluster_member_name(c, c->member));
}
