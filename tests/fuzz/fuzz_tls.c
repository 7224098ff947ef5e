/* The way of bytes into TLS, by the first byte: anything to a server or to a client that begins; the real handshake
 * of the two with bytes altered on the way as the input says; certificates. Nobody falls; a client that is open talks
 * to the pin that it wanted; and what arrives is what was sent. (A handshake is never the same twice: crashes
 * are found here, but not every input repeats itself.) */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/random.h"
#include "net/certificate.h"
#include "tests/lib/identities.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tls_context *server, *client;

static void make(void)
{
    crypto_init();
    server = identity_context(0, 0);
    client = identity_context(1, 0);
}

/* The bytes for one side, in memory of their own; a part of them is fed at a time. */
static void feed(struct tls_session *s, struct bytes in, size_t piece, struct buffer *reply)
{
    uint8_t plain[256];
    for (size_t at = 0; at < in.size; at += piece) {
        size_t n = in.size - at < piece ? in.size - at : piece;
        uint8_t *copy = xmalloc(n);
        memcpy(copy, in.data + at, n);
        tls_feed(s, bytes_of(copy, n));
        if (tls_state(s) == TLS_HANDSHAKING) tls_handshake(s, reply);
        if (tls_state(s) == TLS_OPEN)
            while (tls_read(s, plain, sizeof plain, reply) > 0) CHECK(memcmp(plain, "plain", 5) == 0);
        if (tls_state(s) != TLS_FAILED && tls_state(s) != TLS_CLOSED) CHECK(tls_keep(s) == OK);
        free(copy);
        if (tls_state(s) == TLS_FAILED || tls_state(s) == TLS_CLOSED) return;
    }
}

static struct tls_session *begin(bool serves, const char *alpn, struct buffer *hello)
{
    struct tls_session *s;
    if (serves) {
        CHECK(tls_server_new(&s, server) == OK);
    } else {
        CHECK(tls_client_new(&s, client, alpn, &identity_of(0)->pin, NULL) == OK);
        tls_handshake(s, hello);
    }
    return s;
}

static void anything(bool serves, struct bytes in)
{
    struct buffer out = {0};
    if (in.size == 0) return;
    struct tls_session *s = begin(serves, TLS_ALPN_CLIENT, &out);
    feed(s, bytes_of(in.data + 1, in.size - 1), 1 + in.data[0], &out);
    CHECK(tls_state(s) != TLS_OPEN);
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

static void altered(struct bytes in)
{
    struct buffer to_server = {0}, to_client = {0};
    struct digest pin;
    if (in.size == 0) return;
    struct tls_session *s = begin(true, NULL, NULL);
    struct tls_session *c = begin(false, in.data[0] & 1 ? TLS_ALPN_PEER : TLS_ALPN_CLIENT, &to_server);
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
    if (tls_state(s) == TLS_OPEN && in.data[0] & 1)
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
    if (certificate_pin(&pin, in) == OK) CHECK(certificate_text(&text, in) == OK && text.size > in.size);
    buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!server) make();
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0: anything(true, in); break;
    case 1: anything(false, in); break;
    case 2: altered(in); break;
    case 3: certificate(in); break;
    }
    return 0;
}
