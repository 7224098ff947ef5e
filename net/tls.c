#include "net/tls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "crypto/hash.h"
#include "net/certificate.h"
#include "net/mbed.h"

#define PINS_MAX (2 * LIMIT_NODES)         /* old and new members during a change */
#define TICKET_LIFETIME_S (8 * 3600)       /* its keys change as often, kept for twice as long */
#define HANDSHAKE_MAX (32 * KIB)           /* bytes of one side's handshake; ours have under 2 KiB */
#define PEER_NAME "peer.consilium.internal" /* server name by which a dialing node asks for mutual TLS */

enum { FOR_PEER, FOR_CLIENT, FOR_HTTP, PROTOCOLS };
/* Every version that is spoken, the newest first, in the shape that mbedTLS takes; it keeps the pointers. */
#define VERSIONS_MAX 3
static const char *offers[PROTOCOLS][VERSIONS_MAX + 1] = {
    [FOR_PEER] = {TLS_ALPN_PEER, "consilium-peer/2", "consilium-peer/1"},
    [FOR_CLIENT] = {TLS_ALPN_CLIENT},
    [FOR_HTTP] = {TLS_ALPN_HTTP},
};

struct tls_context {
    mbedtls_ssl_config server, client[PROTOCOLS];
    const char *server_alpn[PROTOCOLS * VERSIONS_MAX + 1]; /* all offers; mbedTLS keeps the pointer */
    mbedtls_x509_crt certificate;
    mbedtls_x509_crt no_authority; /* no chain is ever trusted; mbedTLS only wants to see a list */
    mbedtls_pk_context key;
    mbedtls_ssl_ticket_context tickets;
    bool has_identity;
    struct digest pin;
    pthread_mutex_t lock; /* over the two below */
    struct digest pins[PINS_MAX];
    size_t pin_count;
};

struct tls_session {
    mbedtls_ssl_context ssl;
    struct tls_context *context;
    enum tls_role role;
    enum tls_state state;
    bool full;         /* certificates were exchanged: not a resumed handshake */
    bool write_closed; /* close_notify is sent */
    bool shrunk;       /* once, at least */
    bool ticket_ready;
    bool has_peer;
    struct digest peer;     /* its pin */
    struct digest expected; /* by a client */
    int protocol;           /* wanted by a client; negotiated */
    unsigned version;       /* of it, negotiated */
    struct bytes in;        /* borrowed by tls_feed */
    struct buffer kept;     /* by tls_keep, read before `in` */
    size_t kept_at;
    struct buffer *out; /* during a call only */
    size_t handshake_bytes;
    enum err error;
    char text[160];
};

struct tls_ticket {
    mbedtls_ssl_session session;
    struct digest pin;
    int protocol;
};

/* --- context --- */

static int request_certificate(void *context, mbedtls_ssl_context *ssl, const unsigned char *name, size_t size)
{
    struct tls_context *c = context;
    if (size != strlen(PEER_NAME) || memcmp(name, PEER_NAME, size) != 0) return 0;
    /* Only who asks as a peer is asked for a certificate: clients save a message
     * and browsers do not ask their user to pick one. That TLS_ALPN_PEER was not
     * had without is checked when the handshake is done. */
    mbedtls_ssl_set_hs_authmode(ssl, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_set_hs_ca_chain(ssl, &c->no_authority, NULL);
    return 0;
}

static int configure_server(struct tls_context *c)
{
    mbedtls_ssl_config *s = &c->server;
    int code = mbedtls_ssl_config_defaults(s, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                           MBEDTLS_SSL_PRESET_DEFAULT);
    if (code) return code;
    size_t count = 0;
    for (int i = 0; i < PROTOCOLS; i++)
        for (const char **name = offers[i]; *name; name++)
            c->server_alpn[count++] = *name;
    mbedtls_ssl_conf_rng(s, mbed_random, NULL);
    mbedtls_ssl_conf_authmode(s, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_ca_chain(s, &c->no_authority, NULL);
    mbedtls_ssl_conf_cert_req_ca_list(s, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
    mbedtls_ssl_conf_sni(s, request_certificate, c);
    mbedtls_ssl_conf_session_tickets_cb(s, mbedtls_ssl_ticket_write, mbedtls_ssl_ticket_parse, &c->tickets);
    mbed_configure(s, MBED_SERVER);
    code = mbedtls_ssl_ticket_setup(&c->tickets, mbed_random, NULL, MBEDTLS_CIPHER_AES_256_GCM, TICKET_LIFETIME_S);
    if (code == 0) code = mbedtls_ssl_conf_own_cert(s, &c->certificate, &c->key);
    return code ? code : mbedtls_ssl_conf_alpn_protocols(s, c->server_alpn);
}

static int configure_client(struct tls_context *c, int protocol)
{
    mbedtls_ssl_config *s = &c->client[protocol];
    int code = mbedtls_ssl_config_defaults(s, MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM,
                                           MBEDTLS_SSL_PRESET_DEFAULT);
    if (code) return code;
    mbedtls_ssl_conf_rng(s, mbed_random, NULL);
    mbedtls_ssl_conf_authmode(s, MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_ca_chain(s, &c->no_authority, NULL);
    mbedtls_ssl_conf_session_tickets(s, MBEDTLS_SSL_SESSION_TICKETS_ENABLED);
    mbed_configure(s, protocol == FOR_PEER ? MBED_CLIENT_PEER : MBED_CLIENT);
    if (protocol == FOR_PEER && c->has_identity) code = mbedtls_ssl_conf_own_cert(s, &c->certificate, &c->key);
    return code ? code : mbedtls_ssl_conf_alpn_protocols(s, offers[protocol]);
}

static enum err load_identity(struct tls_context *c, struct bytes key, struct bytes certificate,
                              struct failure *failure)
{
    enum err err = certificate_check(key, certificate);
    if (err == ERR_NO_KEY) return fail(failure, err, "the TLS key does not belong to the TLS certificate");
    if (err == OK && (mbedtls_x509_crt_parse_der(&c->certificate, certificate.data, certificate.size) ||
                      mbed_parse_key(&c->key, key)))
        err = ERR_MALFORMED;
    if (err != OK) return fail(failure, err, "the TLS key or certificate cannot be read");
    int code = mbed_sign_once(&c->key);
    if (code) return fail(failure, ERR_TLS, "cannot sign with the TLS key (-0x%04x)", (unsigned)-code);
    c->has_identity = true;
    return certificate_pin(&c->pin, certificate);
}

enum err tls_context_new(struct tls_context **out, struct bytes key, struct bytes certificate,
                         struct failure *failure)
{
    if (mbed_start() != OK) return fail(failure, ERR_TLS, "mbedTLS cannot start");
    struct tls_context *c = xcalloc(1, sizeof *c);
    int code = 0;
    enum err err = OK;
    pthread_mutex_init(&c->lock, NULL);
    mbedtls_x509_crt_init(&c->certificate);
    mbedtls_x509_crt_init(&c->no_authority);
    mbedtls_pk_init(&c->key);
    mbedtls_ssl_ticket_init(&c->tickets);
    mbedtls_ssl_config_init(&c->server);
    for (int i = 0; i < PROTOCOLS; i++)
        mbedtls_ssl_config_init(&c->client[i]);
    if (key.size || certificate.size) err = load_identity(c, key, certificate, failure);
    if (err == OK && c->has_identity) code = configure_server(c);
    for (int i = 0; i < PROTOCOLS && err == OK && code == 0; i++)
        code = configure_client(c, i);
    if (err == OK && code) err = fail(failure, ERR_TLS, "cannot set TLS up (-0x%04x)", (unsigned)-code);
    if (err != OK) {
        tls_context_free(c);
        return err;
    }
    *out = c;
    return OK;
}

void tls_context_free(struct tls_context *c)
{
    if (!c) return;
    for (int i = 0; i < PROTOCOLS; i++)
        mbedtls_ssl_config_free(&c->client[i]);
    mbedtls_ssl_config_free(&c->server);
    mbedtls_ssl_ticket_free(&c->tickets);
    mbedtls_pk_free(&c->key);
    mbedtls_x509_crt_free(&c->no_authority);
    mbedtls_x509_crt_free(&c->certificate);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

struct digest tls_context_pin(const struct tls_context *c) { return c->pin; }

void tls_set_pins(struct tls_context *c, const struct digest *pins, size_t count)
{
    CHECK(count <= PINS_MAX);
    pthread_mutex_lock(&c->lock);
    if (count) memcpy(c->pins, pins, count * sizeof *pins);
    c->pin_count = count;
    pthread_mutex_unlock(&c->lock);
}

bool tls_knows_pin(struct tls_context *c, const struct digest *pin)
{
    bool known = false;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->pin_count; i++)
        known |= digest_equal(&c->pins[i], pin);
    pthread_mutex_unlock(&c->lock);
    return known;
}

/* --- failures: a code of ours for each of mbedTLS's --- */

static void fail_session(struct tls_session *s, enum err error, const char *text)
{
    if (s->state == TLS_FAILED) return;
    s->state = TLS_FAILED;
    s->error = error;
    snprintf(s->text, sizeof s->text, "%s", text);
}

/* RFC 5246, 7.2.2: what the other side says is wrong with us. */
static void fail_by_alert(struct tls_session *s, unsigned alert)
{
    char text[sizeof s->text];
    if (alert == MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL) {
        fail_session(s, ERR_ALPN, "the other side does not offer this protocol");
    } else if ((alert >= MBEDTLS_SSL_ALERT_MSG_BAD_CERT && alert <= MBEDTLS_SSL_ALERT_MSG_CERT_UNKNOWN) ||
               alert == MBEDTLS_SSL_ALERT_MSG_UNKNOWN_CA || alert == MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED) {
        fail_session(s, ERR_WRONG_PEER, "the other side does not accept our key");
    } else {
        snprintf(text, sizeof text, "the other side refused with TLS alert %u", alert);
        fail_session(s, ERR_TLS, text);
    }
}

/* The unencrypted fatal alert that ends what was just written, 0 if none. 2.28
 * has one code for all that can be wrong with a ClientHello; the alert tells. */
static unsigned sent_alert(const struct buffer *out)
{
    static const uint8_t head[] = {MBEDTLS_SSL_MSG_ALERT, 3};
    if (out->size < 7) return 0;
    const uint8_t *end = out->data + out->size - 7;
    if (memcmp(end, head, sizeof head) != 0) return 0;
    return get_be16(end + 3) == 2 && end[5] == MBEDTLS_SSL_ALERT_LEVEL_FATAL ? end[6] : 0;
}

static void fail_by_code(struct tls_session *s, int code)
{
    char reason[96], text[sizeof s->text];
    if (code == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        fail_by_alert(s, mbed_last_alert(&s->ssl));
    } else if (code == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) {
        fail_session(s, ERR_WRONG_PEER, "the other side showed no certificate");
    } else if (code == MBEDTLS_ERR_SSL_ALLOC_FAILED) {
        fail_session(s, ERR_NOMEM, err_text(ERR_NOMEM));
    } else if (s->state == TLS_HANDSHAKING && sent_alert(s->out) == MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL) {
        fail_session(s, ERR_ALPN, "the other side asks for protocols that are not offered here");
    } else {
        mbedtls_strerror(code, reason, sizeof reason);
        snprintf(text, sizeof text, "TLS failed: %s", reason);
        fail_session(s, ERR_TLS, text);
    }
}

static void fail_with_alert(struct tls_session *s, enum err error, const char *text, unsigned char alert)
{
    fail_session(s, error, text);
    (void)mbedtls_ssl_send_alert_message(&s->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert); /* a courtesy */
}

/* --- identities --- */

static bool pin_accepted(struct tls_session *s, const struct digest *pin)
{
    return s->role == TLS_CLIENT ? digest_equal(pin, &s->expected) : tls_knows_pin(s->context, pin);
}

static const char *wrong_pin(const struct tls_session *s)
{
    return s->role == TLS_CLIENT ? "the server's key is not the expected one"
                                 : "the peer's key belongs to no member of this cluster";
}

/* Called by mbedTLS for the certificate shown, in place of any judgement of its
 * chain, names and dates; whoever showed it then proves that it has the key
 * (ServerKeyExchange or CertificateVerify). A fatal code ends the handshake in
 * every mode. */
static int verify(void *session, mbedtls_x509_crt *certificate, int depth, uint32_t *flags)
{
    struct tls_session *s = session;
    struct digest pin;
    if (depth != 0) {
        fail_session(s, ERR_WRONG_PEER, "the other side showed a chain of certificates");
        return MBEDTLS_ERR_X509_FATAL_ERROR;
    }
    hash_sha256(&pin, certificate->pk_raw.p, certificate->pk_raw.len);
    if (!pin_accepted(s, &pin)) {
        fail_session(s, ERR_WRONG_PEER, wrong_pin(s));
        return MBEDTLS_ERR_X509_FATAL_ERROR;
    }
    *flags = 0;
    return 0;
}

/* Notes what was negotiated; false: nothing. mbedTLS gives nothing but names that were offered or accepted here. */
static bool note_protocol(struct tls_session *s)
{
    const char *name = mbedtls_ssl_get_alpn_protocol(&s->ssl);
    if (!name && s->role == TLS_SERVER) name = TLS_ALPN_HTTP; /* older tools of HTTP name none */
    for (int i = 0; name && i < PROTOCOLS; i++)
        for (const char **offer = offers[i]; *offer; offer++)
            if (strcmp(name, *offer) == 0) {
                s->protocol = i;
                s->version = (unsigned)strtoul(strrchr(name, '/') + 1, NULL, 10);
                return true;
            }
    return false;
}

/* The handshake is done, both Finished messages were right. A resumed session
 * brought the certificate of the first handshake along; whether its pin is
 * still a member's is asked now. */
static void establish(struct tls_session *s)
{
    const mbedtls_x509_crt *certificate = mbedtls_ssl_get_peer_cert(&s->ssl);
    if (certificate) {
        hash_sha256(&s->peer, certificate->pk_raw.p, certificate->pk_raw.len);
        s->has_peer = true;
    } else if (s->role == TLS_CLIENT && !s->full) {
        /* A resumed TLS 1.3 session has no certificate. tls_client_new took only
         * a ticket of this pin, and only its server can open that. */
        s->peer = s->expected;
        s->has_peer = true;
    }
    if (!note_protocol(s))
        fail_with_alert(s, ERR_ALPN, "the other side named no protocol",
                        MBEDTLS_SSL_ALERT_MSG_NO_APPLICATION_PROTOCOL);
    else if (s->has_peer && !pin_accepted(s, &s->peer))
        fail_with_alert(s, ERR_WRONG_PEER, wrong_pin(s), MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED);
    else if (!s->has_peer && (s->role == TLS_CLIENT || s->protocol == FOR_PEER))
        fail_with_alert(s, ERR_WRONG_PEER, "the other side showed no certificate",
                        MBEDTLS_SSL_ALERT_MSG_ACCESS_DENIED);
    else
        s->state = TLS_OPEN;
    s->ticket_ready = s->state == TLS_OPEN && strcmp(mbedtls_ssl_get_version(&s->ssl), "TLSv1.2") == 0;
}

/* --- session --- */

static int send_bytes(void *session, const unsigned char *data, size_t size)
{
    struct tls_session *s = session;
    CHECK(s->out);
    buffer_append(s->out, data, size);
    return s->out->failed ? MBEDTLS_ERR_SSL_ALLOC_FAILED : (int)size;
}

static struct bytes unread(const struct tls_session *s)
{
    return s->kept.size > s->kept_at ? bytes_of(s->kept.data + s->kept_at, s->kept.size - s->kept_at) : s->in;
}

static int receive_bytes(void *session, unsigned char *out, size_t size)
{
    struct tls_session *s = session;
    struct bytes in = unread(s);
    if (in.size == 0) return MBEDTLS_ERR_SSL_WANT_READ;
    if (size > in.size) size = in.size;
    memcpy(out, in.data, size);
    if (s->kept.size) {
        s->kept_at += size;
        if (s->kept_at == s->kept.size) {
            buffer_free(&s->kept);
            s->kept_at = 0;
        }
    } else {
        s->in.data += size;
        s->in.size -= size;
    }
    if (s->state == TLS_HANDSHAKING && (s->handshake_bytes += size) > HANDSHAKE_MAX) {
        fail_session(s, ERR_TLS, "the TLS handshake is too long");
        return MBEDTLS_ERR_SSL_INVALID_RECORD;
    }
    return (int)size;
}

static enum err session_new(struct tls_session **out, struct tls_context *c, enum tls_role role,
                            const mbedtls_ssl_config *config)
{
    struct tls_session *s = calloc(1, sizeof *s);
    if (!s) return ERR_NOMEM;
    s->context = c;
    s->role = role;
    s->state = TLS_HANDSHAKING;
    mbedtls_ssl_init(&s->ssl);
    if (mbedtls_ssl_setup(&s->ssl, config) != 0) { /* allocates, and does nothing else that can fail */
        tls_session_free(s);
        return ERR_NOMEM;
    }
    mbedtls_ssl_set_verify(&s->ssl, verify, s);
    mbedtls_ssl_set_bio(&s->ssl, s, send_bytes, receive_bytes, NULL);
    *out = s;
    return OK;
}

enum err tls_server_new(struct tls_session **out, struct tls_context *c)
{
    CHECK(c->has_identity);
    return session_new(out, c, TLS_SERVER, &c->server);
}

static int protocol_of(const char *alpn)
{
    for (int i = 0; i < PROTOCOLS; i++)
        if (strcmp(alpn, offers[i][0]) == 0) return i;
    CHECK(!"a known ALPN protocol");
    return -1;
}

enum err tls_client_new(struct tls_session **out, struct tls_context *c, const char *alpn,
                        const struct digest *pin, const struct tls_ticket *ticket)
{
    int protocol = protocol_of(alpn);
    CHECK(protocol != FOR_PEER || c->has_identity);
    enum err err = session_new(out, c, TLS_CLIENT, &c->client[protocol]);
    if (err != OK) return err;
    struct tls_session *s = *out;
    s->expected = *pin;
    s->protocol = protocol;
    int code = mbedtls_ssl_set_hostname(&s->ssl, protocol == FOR_PEER ? PEER_NAME : "consilium.internal");
    /* One that cannot be used (too old, say) only means a full handshake. */
    if (code == 0 && ticket && digest_equal(&ticket->pin, pin) && ticket->protocol == protocol)
        (void)mbedtls_ssl_set_session(&s->ssl, &ticket->session);
    if (code == 0) return OK;
    tls_session_free(s);
    *out = NULL;
    return ERR_NOMEM;
}

void tls_session_free(struct tls_session *s)
{
    if (!s) return;
    if (s->shrunk)
        mbed_free_shrunk(&s->ssl);
    else
        mbedtls_ssl_free(&s->ssl);
    buffer_free(&s->kept);
    free(s);
}

void tls_feed(struct tls_session *s, struct bytes in)
{
    CHECK(s->in.size == 0);
    s->in = in;
}

enum err tls_keep(struct tls_session *s)
{
    buffer_append_bytes(&s->kept, s->in);
    s->in = (struct bytes){0};
    if (!s->kept.failed) return OK;
    fail_session(s, ERR_NOMEM, err_text(ERR_NOMEM));
    return ERR_NOMEM;
}

/* Whatever speaks first speaks a TLS record: handshake, or an alert (RFC 5246, 6.2.1). */
static bool starts_like_tls(const struct tls_session *s)
{
    struct bytes in = unread(s);
    if (s->handshake_bytes || in.size == 0) return true;
    if (in.data[0] != MBEDTLS_SSL_MSG_HANDSHAKE && in.data[0] != MBEDTLS_SSL_MSG_ALERT) return false;
    return in.size < 2 || in.data[1] == 3;
}

enum tls_state tls_handshake(struct tls_session *s, struct buffer *out)
{
    int code = 0;
    if (s->state != TLS_HANDSHAKING) return s->state;
    if (!starts_like_tls(s)) {
        fail_session(s, ERR_NOT_TLS, err_text(ERR_NOT_TLS));
        return s->state;
    }
    s->out = out;
    while (code == 0 && !mbed_handshake_over(&s->ssl))
        code = mbed_handshake_step(&s->ssl, &s->full);
    if (code == 0)
        establish(s);
    else if (code != MBEDTLS_ERR_SSL_WANT_READ)
        fail_by_code(s, code);
    s->out = NULL;
    return s->state;
}

size_t tls_read(struct tls_session *s, uint8_t *out, size_t size, struct buffer *reply)
{
    size_t got = 0;
    unsigned idle = 0;
    s->out = reply;
    while (got == 0 && s->state == TLS_OPEN) {
        size_t before = unread(s).size;
        int code = mbedtls_ssl_read(&s->ssl, out, size);
        if (code > 0)
            got = (size_t)code;
        else if (mbed_is_ticket(code))
            s->ticket_ready = true;
        else if (code == MBEDTLS_ERR_SSL_WANT_READ && before == 0)
            break;
        else if (code == MBEDTLS_ERR_SSL_WANT_READ) /* 3.x also says so between a ticket's header and body */
            idle = unread(s).size < before ? 0 : idle + 1;
        else if (code == 0 || code == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY)
            s->state = TLS_CLOSED;
        else
            fail_by_code(s, code);
        if (idle == 4) fail_session(s, ERR_TLS, "TLS leaves what came unread");
    }
    s->out = NULL;
    if (got == 0 && s->state != TLS_OPEN) s->in = (struct bytes){0}; /* nobody will read it */
    return got;
}

enum err tls_write(struct tls_session *s, struct buffer *out, struct bytes plain)
{
    if (s->state == TLS_FAILED) return s->error;
    CHECK(s->state != TLS_HANDSHAKING);
    if (s->write_closed) return ERR_CLOSED;
    s->out = out;
    while (plain.size && s->state != TLS_FAILED) {
        int code = mbedtls_ssl_write(&s->ssl, plain.data, plain.size);
        if (code <= 0) {
            fail_by_code(s, code);
            break;
        }
        plain.data += code;
        plain.size -= (size_t)code;
    }
    s->out = NULL;
    return s->state == TLS_FAILED ? s->error : OK;
}

void tls_close(struct tls_session *s, struct buffer *out)
{
    if (s->write_closed || (s->state != TLS_OPEN && s->state != TLS_CLOSED)) return;
    s->write_closed = true;
    s->out = out;
    (void)mbedtls_ssl_close_notify(&s->ssl); /* the connection ends in any case */
    s->out = NULL;
}

enum tls_state tls_state(const struct tls_session *s) { return s->state; }
enum err tls_error(const struct tls_session *s) { return s->error; }
const char *tls_error_text(const struct tls_session *s) { return s->text; }

const char *tls_alpn(const struct tls_session *s)
{
    return s->state == TLS_OPEN || s->state == TLS_CLOSED ? offers[s->protocol][0] : NULL;
}

unsigned tls_alpn_version(const struct tls_session *s) { return tls_alpn(s) ? s->version : 0; }

bool tls_resumed(const struct tls_session *s) { return !s->full; }
const char *tls_version(const struct tls_session *s) { return mbedtls_ssl_get_version(&s->ssl); }
const char *tls_cipher(const struct tls_session *s) { return mbedtls_ssl_get_ciphersuite(&s->ssl); }

bool tls_peer_pin(const struct tls_session *s, struct digest *pin)
{
    if (s->has_peer) *pin = s->peer;
    return s->has_peer;
}

struct tls_ticket *tls_ticket_take(struct tls_session *s)
{
    if (s->role != TLS_CLIENT || !s->ticket_ready) return NULL;
    struct tls_ticket *t = xcalloc(1, sizeof *t);
    s->ticket_ready = false;
    t->pin = s->expected;
    t->protocol = s->protocol;
    mbedtls_ssl_session_init(&t->session);
    if (mbedtls_ssl_get_session(&s->ssl, &t->session) == 0) return t;
    tls_ticket_free(t);
    return NULL;
}

void tls_ticket_free(struct tls_ticket *t)
{
    if (!t) return;
    mbedtls_ssl_session_free(&t->session); /* wipes the master secret */
    free(t);
}

void tls_shrink(struct tls_session *s)
{
    if (s->state != TLS_OPEN) return;
    mbed_shrink(&s->ssl);
    s->shrunk = true;
}
