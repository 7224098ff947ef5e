#include "net/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/random.h"

#define BACKOFF_LEAST_MS 50u
#define BACKOFF_MOST_MS 2000u
#define STEADY_NS 2000000000u /* a link up for this long starts again with the least backoff */
#define LASTED_NS 10000000000u /* ... and with the least patience */
#define CALM_NS 60000000000u   /* so long without a need of more, and so does the link itself */
#define PATIENCE_MOST (LIMIT_PEER_DEAD_MS / LIMIT_PEER_LOOK_MS)

struct peer {
    struct peers *peers;
    uint32_t index; /* 0: a stranger, until its pin is looked up */
    bool member;    /* configured, and not this node itself */
    struct address address;
    struct digest pin;
    struct connection *out, *in; /* dialed by us, by it; NULL: none */
    bool paused;
    uv_timer_t timer; /* to the next dial; while the link is up, to the next look at it */
    unsigned unheard, patience; /* looks in a row without an acknowledgement; so many end the link */
    uint64_t tried_ns; /* when so many that the least patience would have ended it */
    struct tls_ticket *ticket;
    struct peers_status status;
};

struct peers {
    struct network *network;
    uint32_t self;
    bool has_bind, closing;
    struct address bind;
    struct peers_events events;
    void *data;
    struct peer peer[LIMIT_NODES + 1];
    unsigned users; /* connections and timers that may still call us */
};

static void dial(struct peer *p);

static void free_if_unused(struct peers *all)
{
    if (!all->closing || all->users) return;
    for (uint32_t i = 0; i <= LIMIT_NODES; i++)
        tls_ticket_free(all->peer[i].ticket);
    free(all);
}

/* --- our link --- */

static void remember_failure(struct peer *p, enum err code, const char *text)
{
    struct peers_status *s = &p->status;
    bool news = s->failures == 0 || s->last_error != code;
    s->failures++;
    s->last_error = code;
    snprintf(s->text, sizeof s->text, "%s", text);
    if (news) log_info("peer", "link to node %u: %s", (unsigned)p->index, text);
}

static void on_timer(uv_timer_t *timer) { dial(timer->data); }

/* Full jitter (uniform from nothing to the limit): nodes that lost each other at
 * one moment do not come back at one moment. */
static void dial_later(struct peer *p)
{
    uint32_t doublings = p->status.failures > 6 ? 6 : p->status.failures;
    uint32_t most = BACKOFF_LEAST_MS << doublings;
    if (most > BACKOFF_MOST_MS) most = BACKOFF_MOST_MS;
    uv_timer_start(&p->timer, on_timer, 10 + random_below(most), 0);
}

/* Where many packets are lost, TCP waits twice as long after each that is lost again, and all later frames with it: a
 * link would stand still for 7 s and more while a new one is made in much less. Where packets only wait in line, behind
 * a second or two of what this link and others have sent, the next one does no better: it is given twice the time. */
static void give_up_link(struct peer *p)
{
    bool lasted = clock_monotonic_ns() - p->status.up_since_ns >= LASTED_NS;
    p->patience = lasted ? LIMIT_PEER_UNHEARD : 2 * p->patience;
    if (p->patience > PATIENCE_MOST) p->patience = PATIENCE_MOST;
    connection_abort(p->out, ERR_TIMEOUT, "the other machine acknowledges nothing"); /* on_out_close dials */
}

static void on_look(uv_timer_t *timer)
{
    struct peer *p = timer->data;
    if (!p->out) {
        uv_timer_stop(timer);
        return;
    }
    uint64_t now = clock_monotonic_ns();
    p->unheard = connection_is_unheard(p->out, LIMIT_PEER_LOOK_MS) ? p->unheard + 1 : 0;
    if (p->unheard >= LIMIT_PEER_UNHEARD) p->tried_ns = now;
    if (now - p->tried_ns >= CALM_NS) p->patience = LIMIT_PEER_UNHEARD;
    if (p->unheard >= p->patience) give_up_link(p);
}

static void on_out_open(struct connection *c, void *data)
{
    struct peer *p = data;
    struct tls_ticket *ticket = connection_ticket_take(c);
    if (ticket) {
        tls_ticket_free(p->ticket);
        p->ticket = ticket;
    }
    p->unheard = 0;
    uv_timer_start(&p->timer, on_look, LIMIT_PEER_LOOK_MS, LIMIT_PEER_LOOK_MS);
    p->status.up = true;
    p->status.up_since_ns = clock_monotonic_ns();
    log_debug("peer", "link to node %u is up, of version %u%s", (unsigned)p->index, connection_alpn_version(c),
              connection_resumed(c) ? " (resumed)" : "");
    if (p->peers->events.on_up && !p->peers->closing) p->peers->events.on_up(p->index, p->peers->data);
}

/* A node sends on what it dialed; the other direction of our link stays silent. */
static void on_out_frame(struct connection *c, const struct frame *frame, void *data)
{
    (void)frame;
    (void)data;
    connection_close(c, ERR_UNEXPECTED, "the peer answered on the link that it only reads");
}

static void on_out_writable(struct connection *c, void *data)
{
    struct peer *p = data;
    (void)c;
    if (p->peers->events.on_writable && !p->peers->closing) p->peers->events.on_writable(p->index, p->peers->data);
}

static void on_out_close(struct connection *c, enum err code, const char *text, void *data)
{
    struct peer *p = data;
    struct peers *all = p->peers;
    struct peers_status *s = &p->status;
    bool was_up = s->up;
    CHECK(p->out == c);
    p->out = NULL;
    all->users--;
    if (was_up && clock_monotonic_ns() - s->up_since_ns >= STEADY_NS) s->failures = 0;
    s->up = false;
    s->up_since_ns = 0;
    if (code == ERR_TLS || code == ERR_WRONG_PEER) {
        /* Not again with what may be its cause; and a server tells a full handshake's failure before it
         * is done, so that a link that is refused for good does not seem up for a moment each time. */
        tls_ticket_free(p->ticket);
        p->ticket = NULL;
    }
    if (code != ERR_CANCELED)
        remember_failure(p, code, text);
    else
        snprintf(s->text, sizeof s->text, "%s", text); /* on_down may tell it */
    if (was_up && all->events.on_down && !all->closing) all->events.on_down(p->index, all->data);
    if (p->member && !all->closing && !p->out) dial_later(p);
    free_if_unused(all);
}

static const struct connection_events out_events = {
    .on_open = on_out_open,
    .on_frame = on_out_frame,
    .on_writable = on_out_writable,
    .on_close = on_out_close,
};

static void dial(struct peer *p)
{
    struct peers *all = p->peers;
    if (p->out || !p->member || all->closing) return;
    uv_timer_stop(&p->timer);
    enum err err = connection_dial(&p->out, all->network, &p->address, all->has_bind ? &all->bind : NULL, TLS_ALPN_PEER,
                                   &p->pin, p->ticket, &out_events, p);
    if (err == OK) {
        all->users++;
    } else {
        remember_failure(p, err, err_text(err));
        dial_later(p);
    }
}

/* --- their links --- */

static struct peer *find_by_pin(struct peers *all, const struct digest *pin)
{
    for (uint32_t i = 1; i <= LIMIT_NODES; i++)
        if (all->peer[i].member && digest_equal(&all->peer[i].pin, pin)) return &all->peer[i];
    return NULL;
}

static void on_in_open(struct connection *c, void *data)
{
    struct peers *all = ((struct peer *)data)->peers;
    struct digest pin;
    struct peer *p = connection_peer_pin(c, &pin) ? find_by_pin(all, &pin) : NULL;
    all->users++;
    if (!p || all->closing) {
        connection_abort(c, ERR_WRONG_PEER, "no member of this cluster");
        return;
    }
    connection_set_data(c, p);
    struct connection *old = p->in;
    p->in = c;
    p->status.heard = true;
    /* It dials anew when it restarted, or lost the old link before we noticed. */
    if (old) connection_abort(old, ERR_CANCELED, "replaced by a newer link");
    if (p->paused) connection_pause(c);
    if (!p->out) dial(p); /* it is alive: no use waiting */
}

static void on_in_frame(struct connection *c, const struct frame *frame, void *data)
{
    struct peer *p = data;
    if (p->in != c) return; /* one that is being replaced */
    p->status.heard_ns = clock_monotonic_ns();
    if (!p->peers->closing) p->peers->events.on_message(p->index, frame, p->peers->data);
}

static void on_in_part(struct connection *c, void *data)
{
    struct peer *p = data;
    if (p->in != c || p->peers->closing) return;
    p->status.heard_ns = clock_monotonic_ns();
    if (p->peers->events.on_part) p->peers->events.on_part(p->index, p->peers->data);
}

static void on_in_fault(struct connection *c, enum err code, void *data)
{
    struct peer *p = data;
    if (code != ERR_TIMEOUT) {
        log_warning("peer", "node %u sent bytes that are no frame: %s", (unsigned)p->index, err_text(code));
        return;
    }
    log_warning("peer", "what node %u sent was not whole after %u s: the link from it is too slow for that",
                (unsigned)p->index, LIMIT_FRAME_MS / 1000);
    if (p->in != c || p->peers->closing) return;
    if (p->peers->events.on_overlong) p->peers->events.on_overlong(p->index, p->peers->data);
}

static void on_in_close(struct connection *c, enum err code, const char *text, void *data)
{
    struct peer *p = data;
    (void)code;
    (void)text;
    if (p->in == c) {
        p->in = NULL;
        p->status.heard = false;
    }
    p->peers->users--;
    free_if_unused(p->peers);
}

struct listener_handler peers_handler(struct peers *p)
{
    return (struct listener_handler){
        .alpn = TLS_ALPN_PEER,
        .events = {.on_open = on_in_open, .on_frame = on_in_frame, .on_part = on_in_part, .on_fault = on_in_fault,
                   .on_close = on_in_close},
        .data = &p->peer[0],
        .idle_ms = UINT32_MAX,
    };
}

/* --- members --- */

static void publish_pins(struct peers *all)
{
    struct digest pins[LIMIT_NODES];
    size_t count = 0;
    for (uint32_t i = 1; i <= LIMIT_NODES; i++)
        if (all->peer[i].member) pins[count++] = all->peer[i].pin;
    tls_set_pins(network_tls(all->network), pins, count);
}

enum err peers_new(struct peers **out, struct network *n, uint32_t self, const struct address *bind,
                   const struct peers_events *events, void *data)
{
    struct peers *all = xcalloc(1, sizeof *all);
    CHECK(self >= 1 && self <= LIMIT_NODES && events->on_message);
    all->network = n;
    all->self = self;
    all->events = *events;
    all->data = data;
    all->has_bind = bind != NULL;
    if (bind) all->bind = *bind;
    for (uint32_t i = 0; i <= LIMIT_NODES; i++) {
        struct peer *p = &all->peer[i];
        p->peers = all;
        p->index = i;
        p->patience = LIMIT_PEER_UNHEARD;
        uv_timer_init(network_loop(n), &p->timer);
        p->timer.data = p;
        all->users++;
    }
    publish_pins(all); /* nobody yet */
    *out = all;
    return OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct peer *p = handle->data;
    p->peers->users--;
    free_if_unused(p->peers);
}

static void drop_links(struct peer *p, const char *why)
{
    if (p->out) connection_abort(p->out, ERR_CANCELED, why);
    if (p->in) connection_abort(p->in, ERR_CANCELED, why);
}

void peers_close(struct peers *all)
{
    CHECK(!all->closing);
    all->closing = true;
    for (uint32_t i = 0; i <= LIMIT_NODES; i++) {
        drop_links(&all->peer[i], "this node is stopping");
        uv_close((uv_handle_t *)&all->peer[i].timer, on_timer_closed);
    }
}

enum err peers_set(struct peers *all, uint32_t index, const struct address *address, const struct digest *pin)
{
    if (index < 1 || index > LIMIT_NODES) return ERR_INVALID;
    if (index == all->self) return OK;
    struct peer *p = &all->peer[index], *same = find_by_pin(all, pin);
    if (same && same != p) return ERR_INVALID;
    bool new_pin = p->member && !digest_equal(&p->pin, pin);
    bool changed = new_pin || (p->member && !address_equal(&p->address, address));
    if (new_pin) {
        tls_ticket_free(p->ticket);
        p->ticket = NULL;
        if (p->in) connection_abort(p->in, ERR_CANCELED, "the member's key changed");
    }
    p->member = true;
    p->address = *address;
    p->pin = *pin;
    publish_pins(all);
    if (changed && p->out)
        connection_abort(p->out, ERR_CANCELED, "the member's address or key changed"); /* on_out_close dials */
    else
        dial(p);
    return OK;
}

void peers_remove(struct peers *all, uint32_t index)
{
    CHECK(index >= 1 && index <= LIMIT_NODES);
    struct peer *p = &all->peer[index];
    if (!p->member) return;
    p->member = false;
    publish_pins(all);
    uv_timer_stop(&p->timer);
    drop_links(p, "no member of the cluster any more");
    tls_ticket_free(p->ticket);
    p->ticket = NULL;
}

/* --- messages --- */

static struct connection *link_to(const struct peers *all, uint32_t index)
{
    CHECK(index >= 1 && index <= LIMIT_NODES);
    return all->peer[index].status.up ? all->peer[index].out : NULL;
}

enum err peers_send_parts(struct peers *all, uint32_t index, uint32_t type, uint64_t id,
                          const struct send_part *parts, size_t count)
{
    struct connection *c = link_to(all, index);
    enum err err = c ? connection_send_parts(c, type, id, parts, count) : ERR_UNREACHABLE;
    return err == ERR_CLOSED ? ERR_UNREACHABLE : err; /* closing, on_down is on its way */
}

enum err peers_send(struct peers *all, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    struct connection *c = link_to(all, index);
    enum err err = c ? connection_send(c, type, id, body) : ERR_UNREACHABLE;
    return err == ERR_CLOSED ? ERR_UNREACHABLE : err;
}

size_t peers_queued(const struct peers *all, uint32_t index)
{
    struct connection *c = link_to(all, index);
    return c ? connection_queued(c) : 0;
}

size_t peers_unacked(const struct peers *all, uint32_t index)
{
    struct connection *c = link_to(all, index);
    return c ? connection_unacked(c) : 0;
}

uint64_t peers_receiving_ms(const struct peers *all, uint32_t index)
{
    CHECK(index >= 1 && index <= LIMIT_NODES);
    struct connection *c = all->peer[index].in;
    return c ? connection_receiving_ms(c) : 0;
}

void peers_renew(struct peers *all, uint32_t index)
{
    struct connection *c = link_to(all, index);
    if (c) connection_reset(c, ERR_CANCELED, "what it had to send is of no use any more"); /* on_out_close dials */
}

bool peers_up(const struct peers *all, uint32_t index) { return link_to(all, index) != NULL; }

unsigned peers_version(const struct peers *all, uint32_t index)
{
    struct connection *c = link_to(all, index);
    return c ? connection_alpn_version(c) : 0;
}

unsigned peers_version_heard(const struct peers *all, uint32_t index)
{
    CHECK(index >= 1 && index <= LIMIT_NODES);
    return all->peer[index].in ? connection_alpn_version(all->peer[index].in) : 0;
}

void peers_status(const struct peers *all, uint32_t index, struct peers_status *out)
{
    CHECK(index >= 1 && index <= LIMIT_NODES);
    *out = all->peer[index].status;
}

void peers_pause(struct peers *all, uint32_t index)
{
    CHECK(index >= 1 && index <= LIMIT_NODES);
    all->peer[index].paused = true;
    if (all->peer[index].in) connection_pause(all->peer[index].in);
}

void peers_resume(struct peers *all, uint32_t index)
{
    CHECK(index >= 1 && index <= LIMIT_NODES);
    all->peer[index].paused = false;
    if (all->peer[index].in) connection_resume(all->peer[index].in);
}
