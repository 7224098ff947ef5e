/* TLS over memory, without a socket: two sessions whose bytes are carried by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crypto/random.h"
#include "tests/lib/identities.h"

#include <cmocka.h> /* last: it defines fail() */

struct pair {
    struct tls_session *client, *server;
    struct buffer to_server, to_client;
    double client_ms, server_ms; /* of CPU */
};

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void carry(struct tls_session *to, struct buffer *bytes)
{
    tls_feed(to, buffer_bytes(bytes));
    assert_int_equal(tls_keep(to), OK);
    buffer_clear(bytes);
}

static void shake(struct pair *p)
{
    double start = cpu_ms();
    tls_handshake(p->client, &p->to_server);
    p->client_ms += cpu_ms() - start;
    for (int round = 0; round < 10 && (p->to_server.size || p->to_client.size); round++) {
        start = cpu_ms();
        carry(p->server, &p->to_server);
        if (tls_state(p->server) == TLS_HANDSHAKING) tls_handshake(p->server, &p->to_client);
        double middle = cpu_ms();
        p->server_ms += middle - start;
        carry(p->client, &p->to_client);
        if (tls_state(p->client) == TLS_HANDSHAKING) tls_handshake(p->client, &p->to_server);
        p->client_ms += cpu_ms() - middle;
    }
}

static struct pair open_pair(struct tls_context *server, struct tls_context *client, const char *alpn,
                             const struct digest *pin, const struct tls_ticket *ticket)
{
    struct pair p = {0};
    assert_int_equal(tls_server_new(&p.server, server), OK);
    assert_int_equal(tls_client_new(&p.client, client, alpn, pin, ticket), OK);
    shake(&p);
    return p;
}

static void close_pair(struct pair *p)
{
    tls_session_free(p->client);
    tls_session_free(p->server);
    buffer_free(&p->to_client);
    buffer_free(&p->to_server);
}

/* Sends `text` from one to the other and expects it there; what TLS itself answers goes to `back`. */
static void say(struct tls_session *from, struct tls_session *to, struct buffer *wire, struct buffer *back,
                const char *text)
{
    uint8_t got[256];
    assert_int_equal(tls_write(from, wire, bytes_text(text)), OK);
    tls_feed(to, buffer_bytes(wire));
    assert_int_equal(tls_read(to, got, sizeof got, back), strlen(text));
    assert_memory_equal(got, text, strlen(text));
    assert_int_equal(tls_read(to, got, sizeof got, back), 0);
    buffer_clear(wire);
}

static void assert_open(struct pair *p, const char *alpn)
{
    if (tls_state(p->client) != TLS_OPEN) print_error("client: %s\n", tls_error_text(p->client));
    if (tls_state(p->server) != TLS_OPEN) print_error("server: %s\n", tls_error_text(p->server));
    assert_int_equal(tls_state(p->client), TLS_OPEN);
    assert_int_equal(tls_state(p->server), TLS_OPEN);
    assert_string_equal(tls_alpn(p->client), alpn);
    assert_string_equal(tls_alpn(p->server), alpn);
}

static void assert_failed(struct tls_session *s, enum err code, const char *text)
{
    assert_int_equal(tls_state(s), TLS_FAILED);
    assert_string_equal(err_name(tls_error(s)), err_name(code));
    if (!strstr(tls_error_text(s), text)) fail_msg("'%s' lacks '%s'", tls_error_text(s), text);
}

/* Both directions are used once, so that a TLS 1.3 ticket arrives too. */
static void talk(struct pair *p)
{
    say(p->client, p->server, &p->to_server, &p->to_client, "question");
    say(p->server, p->client, &p->to_client, &p->to_server, "answer");
}

static void test_peers_know_each_other(void **state)
{
    (void)state;
    struct tls_context *a = identity_context(0, 0), *b = identity_context(1, 0);
    struct pair p = open_pair(a, b, TLS_ALPN_PEER, &identity_of(0)->pin, NULL);
    struct digest pin;
    assert_open(&p, TLS_ALPN_PEER);
    assert_true(tls_peer_pin(p.server, &pin));
    assert_memory_equal(&pin, &identity_of(1)->pin, sizeof pin);
    assert_true(tls_peer_pin(p.client, &pin));
    assert_memory_equal(&pin, &identity_of(0)->pin, sizeof pin);
    assert_false(tls_resumed(p.client) || tls_resumed(p.server));
    assert_string_equal(tls_version(p.client), "TLSv1.2");
    talk(&p);
    close_pair(&p);
    tls_context_free(a);
    tls_context_free(b);
}

static void test_client_shows_nothing(void **state)
{
    (void)state;
    struct tls_context *a = identity_context(0, 0), *c = identity_none();
    const char *alpns[] = {TLS_ALPN_CLIENT, TLS_ALPN_HTTP};
    for (size_t i = 0; i < 2; i++) {
        struct pair p = open_pair(a, c, alpns[i], &identity_of(0)->pin, NULL);
        struct digest pin;
        assert_open(&p, alpns[i]);
        assert_false(tls_peer_pin(p.server, &pin));
        print_message("%s: %s %s\n", alpns[i], tls_version(p.client), tls_cipher(p.client));
        talk(&p);
        close_pair(&p);
    }
    tls_context_free(a);
    tls_context_free(c);
}

static void test_wrong_pins(void **state)
{
    (void)state;
    struct tls_context *a = identity_context(0, 1u << 2), *c = identity_context(2, 0);
    /* The server's key is another than the client expects. */
    struct pair p = open_pair(a, c, TLS_ALPN_CLIENT, &identity_of(1)->pin, NULL);
    assert_failed(p.client, ERR_WRONG_PEER, "the server's key is not the expected one");
    assert_int_equal(tls_state(p.server), TLS_FAILED); /* with TLS 1.3 it cannot read the client's alert */
    if (strcmp(tls_version(p.server), "TLSv1.2") == 0)
        assert_failed(p.server, ERR_WRONG_PEER, "does not accept our key");
    close_pair(&p);
    /* The dialing node is no member. */
    p = open_pair(a, c, TLS_ALPN_PEER, &identity_of(0)->pin, NULL);
    assert_failed(p.server, ERR_WRONG_PEER, "no member");
    assert_failed(p.client, ERR_WRONG_PEER, "does not accept our key");
    close_pair(&p);
    tls_context_free(a);
    tls_context_free(c);
}

/* How long a handshake takes, and that a resumed one is shorter. */
static void resume(const char *alpn, bool peer)
{
    struct tls_context *a = identity_context(0, 0), *b = peer ? identity_context(1, 0) : identity_none();
    double full[2] = {0}, resumed[2] = {0};
    for (int i = 0; i < 5; i++) {
        struct pair p = open_pair(a, b, alpn, &identity_of(0)->pin, NULL);
        assert_open(&p, alpn);
        talk(&p);
        struct tls_ticket *ticket = tls_ticket_take(p.client);
        assert_non_null(ticket);
        full[0] += p.client_ms, full[1] += p.server_ms;
        close_pair(&p);
        p = open_pair(a, b, alpn, &identity_of(0)->pin, ticket);
        assert_open(&p, alpn);
        assert_true(tls_resumed(p.client) && tls_resumed(p.server));
        struct digest pin;
        assert_int_equal(tls_peer_pin(p.server, &pin), peer);
        if (peer) assert_memory_equal(&pin, &identity_of(1)->pin, sizeof pin);
        assert_true(tls_peer_pin(p.client, &pin));
        assert_memory_equal(&pin, &identity_of(0)->pin, sizeof pin);
        talk(&p);
        resumed[0] += p.client_ms, resumed[1] += p.server_ms;
        close_pair(&p);
        tls_ticket_free(ticket);
    }
    print_message("%s: full handshake %.2f ms client, %.2f ms server; resumed %.3f, %.3f\n", alpn, full[0] / 5,
                  full[1] / 5, resumed[0] / 5, resumed[1] / 5);
    tls_context_free(a);
    tls_context_free(b);
}

static void test_resumption(void **state)
{
    (void)state;
    resume(TLS_ALPN_PEER, true);
    resume(TLS_ALPN_CLIENT, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peers_know_each_other), cmocka_unit_test(test_client_shows_nothing),
        cmocka_unit_test(test_wrong_pins), cmocka_unit_test(test_resumption),
    };
    crypto_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    identities_free();
    return failed;
}
