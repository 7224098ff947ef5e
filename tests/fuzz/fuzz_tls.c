/* The way of bytes into TLS, by the first byte: anything to a server or to a client that begins; the real handshake
 * of the two with bytes altered on the way as the input says; certificates; two that are open and talk, over a way that
 * alters, cuts, doubles and swaps what is sent; a node's own key and certificate, damaged. Nobody falls; a client that
 * is open talks to the pin that it wanted; and what arrives is what was sent. (A handshake is never the same twice:
 * crashes are found here, but not every input repeats itself.) */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/random.h"
#include "net/certificate.h"
#include "tests/lib/identities.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACTS_MOST 24

static struct tls_ticket *tickets[2]; /* of the protocol for clients, and for peers */
static struct tls_context *server, *client, *foreign, *nobody; /* the last two: known to none, without an identity */

static void make(void)
{
    crypto_init();
    server = identity_context(0, 0);
    client = identity_context(1, 0);
    foreign = identity_context(IDENTITIES - 1, 0);
    nobody = identity_none();
}

static bool is_over(const struct tls_session *s) { return tls_state(s) == TLS_FAILED || tls_state(s) == TLS_CLOSED; }

/* The bytes for one side, in memory of their own; a part of them is fed at a time. What is over takes no more. */
static void feed(struct tls_session *s, struct bytes in, size_t piece, struct buffer *reply)
{
    uint8_t plain[256];
    if (is_over(s)) return;
    for (size_t at = 0; at < in.size; at += piece) {
        size_t n = in.size - at < piece ? in.size - at : piece;
        uint8_t *copy = xmalloc(n);
        memcpy(copy, in.data + at, n);
        tls_feed(s, bytes_of(copy, n));
        if (tls_state(s) == TLS_HANDSHAKING) tls_handshake(s, reply);
        if (tls_state(s) == TLS_OPEN)
            while (tls_read(s, plain, sizeof plain, reply) > 0) CHECK(memcmp(plain, "plain", 5) == 0);
        if (!is_over(s)) CHECK(tls_keep(s) == OK);
        free(copy);
        if (is_over(s)) return;
    }
}

/* Who is not who the other wants. */
enum { AS_WANTED, OTHER_SERVER, FOREIGN_CLIENT, OLD_PINS };

static struct tls_session *begin_client(unsigned who, bool peers, const struct tls_ticket *ticket, struct buffer *hello)
{
    struct tls_session *c;
    struct tls_context *context = who == FOREIGN_CLIENT ? (peers ? foreign : nobody) : client;
    const struct digest *wanted = &identity_of(who == OTHER_SERVER ? 2 : 0)->pin;
    CHECK(tls_client_new(&c, context, peers ? TLS_ALPN_PEER : TLS_ALPN_CLIENT, wanted, ticket) == OK);
    tls_handshake(c, hello);
    return c;
}

static struct tls_session *begin_server(void)
{
    struct tls_session *s;
    CHECK(tls_server_new(&s, server) == OK);
    return s;
}

static void anything(bool serves, struct bytes in)
{
    struct buffer out = {0};
    if (in.size == 0) return;
    struct tls_session *s = serves ? begin_server() : begin_client(AS_WANTED, false, NULL, &out);
    feed(s, bytes_of(in.data + 1, in.size - 1), 1 + in.data[0], &out);
    CHECK(tls_state(s) != TLS_OPEN);
    fuzz_taken = tls_state(s) == TLS_HANDSHAKING && in.size > 6 && (!serves || out.size > 0); /* whole, or begun */
    if (tls_state(s) == TLS_FAILED) CHECK(tls_error(s) != OK && tls_error_text(s)[0]);
    tls_session_free(s);
    buffer_free(&out);
}

/* Each message of four bytes alters one byte of one flight: which flight, where (2), by what. */
static void alter(struct buffer *flight, unsigned number, struct bytes in)
{
    for (size_t i = 0; i + 4 <= in.size; i += 4)
        if (in.data[i] % 8 == number && flight->size > 0)
            flight->data[get_be16(in.data + i + 1) % flight->size] ^= in.data[i + 3];
}

/* Whom the server knows, but for one that the client may be. */
static void know(bool all)
{
    struct digest pins[IDENTITIES];
    size_t count = 0;
    for (unsigned i = 0; i + 1 < IDENTITIES; i++)
        if (all || i != 1) pins[count++] = identity_of(i)->pin;
    tls_set_pins(server, pins, count);
}

static void keep_ticket(struct tls_session *s, bool peers)
{
    struct tls_ticket *fresh = tls_ticket_take(s);
    if (!fresh) return;
    tls_ticket_free(tickets[peers]);
    tickets[peers] = fresh;
}

/* Bit 3: with a ticket of an earlier one. */
static void altered(struct bytes in)
{
    struct buffer to_server = {0}, to_client = {0};
    struct digest pin;
    if (in.size == 0) return;
    unsigned who = in.data[0] >> 1 & 3; /* of those above */
    bool peers = in.data[0] & 1, resumes = in.data[0] & 8 && who != FOREIGN_CLIENT; /* it is not that one's ticket */
    if (resumes && !tickets[peers]) altered(bytes_of(peers ? "\1" : "\0", 1));
    know(who != OLD_PINS);
    struct tls_session *s = begin_server();
    struct tls_session *c = begin_client(who, peers, resumes ? tickets[peers] : NULL, &to_server);
    for (unsigned round = 0; round < 6; round++) {
        alter(&to_server, round, bytes_of(in.data + 1, in.size - 1));
        feed(s, buffer_bytes(&to_server), 4096, &to_client);
        buffer_clear(&to_server);
        if (round == 3 && tls_state(s) == TLS_OPEN) (void)tls_write(s, &to_client, bytes_text("plain"));
        feed(c, buffer_bytes(&to_client), 4096, &to_server);
        buffer_clear(&to_client);
        if (round == 2 && tls_state(c) == TLS_OPEN) (void)tls_write(c, &to_server, bytes_text("plain"));
    }
    if (tls_state(c) == TLS_OPEN) CHECK(tls_peer_pin(c, &pin) && digest_equal(&pin, &identity_of(0)->pin));
    if (who == OTHER_SERVER) CHECK(tls_state(c) != TLS_OPEN);
    if (peers && (who == FOREIGN_CLIENT || who == OLD_PINS)) CHECK(tls_state(s) != TLS_OPEN);
    fuzz_taken = tls_state(c) == TLS_OPEN && tls_state(s) == TLS_OPEN;
    know(true);
    if (tls_state(c) == TLS_OPEN) keep_ticket(c, peers);
    if (tls_state(s) == TLS_OPEN && peers)
        CHECK(tls_peer_pin(s, &pin) && digest_equal(&pin, &identity_of(1)->pin));
    tls_session_free(s);
    tls_session_free(c);
    buffer_free(&to_server);
    buffer_free(&to_client);
}

static void certificate(struct bytes in)
{
    struct digest pin;
    struct buffer text = {0};
    (void)certificate_check(buffer_bytes(&identity_of(0)->key), in);
    (void)certificate_check(in, buffer_bytes(&identity_of(0)->certificate));
    if (certificate_pin(&pin, in) == OK) {
        CHECK(certificate_text(&text, in) == OK && text.size > in.size);
        fuzz_taken = true;
    }
    buffer_free(&text);
}

/* --- two that are open --- */

/* One side: what it has sent and heard, and what is on the way to it. Each sends the numbers from 0 on, by bytes. */
struct side {
    struct tls_session *s;
    struct buffer way;
    size_t sent, heard;
    bool altered; /* on its way, or cut short */
};

static void hear(struct side *to, struct buffer *reply)
{
    uint8_t plain[1000];
    for (size_t n; (n = tls_read(to->s, plain, sizeof plain, reply)) > 0; to->heard += n)
        for (size_t i = 0; i < n; i++) CHECK(plain[i] == (uint8_t)(to->heard + i));
}

/* What is on the way, or its first bytes, in memory of their size; not looked at for now, unless `reads`. */
static void hand_over(struct side *to, struct buffer *reply, size_t most, bool reads)
{
    size_t size = to->way.size < most ? to->way.size : most;
    uint8_t *bytes = xmalloc(size);
    if (size) memcpy(bytes, to->way.data, size);
    if (size) memmove(to->way.data, to->way.data + size, to->way.size - size);
    to->way.size -= size;
    if (!is_over(to->s)) {
        tls_feed(to->s, bytes_of(bytes, size));
        if (tls_state(to->s) == TLS_HANDSHAKING) tls_handshake(to->s, reply);
        if (tls_state(to->s) == TLS_OPEN && reads) hear(to, reply);
        if (!is_over(to->s)) CHECK(tls_keep(to->s) == OK);
    }
    free(bytes);
}

/* With a ticket, where there is one: that takes a tenth of the time. */
static bool open_both(struct side *server_side, struct side *client_side, bool peers)
{
    const char *alpn = peers ? TLS_ALPN_PEER : TLS_ALPN_CLIENT;
    CHECK(tls_server_new(&server_side->s, server) == OK);
    CHECK(tls_client_new(&client_side->s, client, alpn, &identity_of(0)->pin, tickets[peers]) == OK);
    tls_handshake(client_side->s, &server_side->way);
    for (unsigned round = 0; round < 6; round++) {
        hand_over(server_side, &client_side->way, SIZE_MAX, true);
        hand_over(client_side, &server_side->way, SIZE_MAX, true);
    }
    keep_ticket(client_side->s, peers);
    return tls_state(server_side->s) == TLS_OPEN && tls_state(client_side->s) == TLS_OPEN;
}

static void send_more(struct side *from, struct side *to, size_t size)
{
    struct buffer plain = {0};
    uint8_t *at = buffer_extend(&plain, size + 1);
    if (tls_state(from->s) != TLS_OPEN) size = 0;
    for (size_t i = 0; i < size; i++) at[i] = (uint8_t)(from->sent + i);
    if (size && tls_write(from->s, &to->way, bytes_of(at, size)) == OK) from->sent += size;
    buffer_free(&plain);
}

static void swap_halves(struct buffer *way, size_t at)
{
    struct buffer out = {0};
    if (way->size == 0) return;
    at %= way->size;
    buffer_append(&out, way->data + at, way->size - at);
    if (at) buffer_append(&out, way->data, at);
    buffer_free(way);
    *way = out;
}

static void double_way(struct buffer *way)
{
    size_t size = way->size;
    if (size == 0 || size > 100000) return;
    uint8_t *again = buffer_extend(way, size);
    memcpy(again, way->data, size);
}

static void act(struct side *from, struct side *to, const uint8_t how[static 4])
{
    size_t at = get_be16(how + 1);
    switch (how[0] / 2 % 8) {
    case 0: send_more(from, to, at); return;
    case 1: hand_over(to, &from->way, at ? at : SIZE_MAX, !(how[3] & 1)); return;
    case 2:
        if (tls_state(from->s) == TLS_OPEN) tls_close(from->s, &to->way);
        break;
    case 3:
        if (tls_state(from->s) == TLS_OPEN) tls_shrink(from->s);
        return;
    case 4:
        if (to->way.size) to->way.data[at % to->way.size] ^= how[3];
        break;
    case 5: to->way.size -= at < to->way.size ? at : to->way.size; break;
    case 6: swap_halves(&to->way, at); break;
    case 7:
        double_way(&to->way);
        break;
    }
    to->altered = true;
}

/* Of each four bytes: who (bit 0) does what, where (2), by how much. */
static void talk(struct bytes in)
{
    struct side sides[2] = {0}; /* the server, the client */
    if (in.size == 0) return;
    CHECK(open_both(&sides[0], &sides[1], in.data[0] & 1));
    in = bytes_of(in.data + 1, in.size - 1);
    for (unsigned i = 0; i < ACTS_MOST && in.size >= 4; i++, in = bytes_of(in.data + 4, in.size - 4)) {
        unsigned who = in.data[0] & 1;
        act(&sides[who], &sides[1 - who], in.data);
    }
    for (int i = 0; i < 2; i++) hand_over(&sides[i], &sides[1 - i].way, SIZE_MAX, true);
    for (int i = 0; i < 2; i++) {
        CHECK(sides[i].heard <= sides[1 - i].sent);
        if (!sides[i].altered && !sides[1 - i].altered) CHECK(sides[i].heard == sides[1 - i].sent);
        fuzz_taken |= sides[i].heard > 0;
        tls_session_free(sides[i].s);
        buffer_free(&sides[i].way);
    }
}

/* --- a node's own files --- */

static void identity(struct bytes in)
{
    struct buffer key = {0}, der = {0};
    struct tls_context *context = NULL;
    struct failure why = {0};
    buffer_append_bytes(&key, buffer_bytes(&identity_of(0)->key));
    buffer_append_bytes(&der, buffer_bytes(&identity_of(in.size % 4 == 1)->certificate));
    for (; in.size >= 4; in = bytes_of(in.data + 4, in.size - 4)) {
        struct buffer *b = in.data[0] & 1 ? &key : &der;
        if (in.data[0] & 2) b->size -= get_be16(in.data + 1) % (b->size + 1);
        else if (b->size) b->data[get_be16(in.data + 1) % b->size] ^= in.data[3];
    }
    enum err e = tls_context_new(&context, buffer_bytes(&key), buffer_bytes(&der), &why);
    CHECK(e == OK || (why.code == e && why.text[0]));
    fuzz_taken = e == OK;
    if (e == OK) tls_context_free(context);
    buffer_free(&key);
    buffer_free(&der);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!server) make();
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    switch (data[0] % 6) {
    case 0: anything(true, in); break;
    case 1: anything(false, in); break;
    case 2: altered(in); break;
    case 3: certificate(in); break;
    case 4: talk(in); break;
    case 5: identity(in); break;
    }
    return 0;
}
