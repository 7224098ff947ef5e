#include "tests/lib/sink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/ssl.h>
#include <mbedtls/version.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#endif

#include "base/check.h"
#include "crypto/secret.h"
#include "net/certificate.h"

#define LINE 4096

struct sink {
    enum sink_kind kind;
    int listening;
    uint16_t port;
    pthread_t thread;
    atomic_bool stop, hang;
    atomic_int refuse;
    char login[256]; /* what AUTH PLAIN must carry, base64; "": no login */
    char refused[64]; /* a receiver, in brackets; "": none */
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_ssl_config config;
    mbedtls_x509_crt certificate;
    mbedtls_pk_context key;
    pthread_mutex_t mutex; /* guards login, refused, count, newest and all */
    unsigned count;
    struct buffer newest, all; /* all: a zero byte behind each */
};

/* One connection, in the clear or under TLS. */
struct talk {
    struct sink *sink;
    int fd;
    bool tls;
    mbedtls_ssl_context ssl;
    struct buffer message;
};

/* ---- bytes ---- */

static bool is_readable(struct sink *s, int fd)
{
    while (!atomic_load(&s->stop)) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, 50) > 0) return true;
    }
    return false;
}

static int bio_read(void *data, unsigned char *out, size_t size)
{
    struct talk *t = data;
    if (!is_readable(t->sink, t->fd)) return MBEDTLS_ERR_SSL_CONN_EOF;
    ssize_t n = recv(t->fd, out, size, 0);
    return n > 0 ? (int)n : MBEDTLS_ERR_SSL_CONN_EOF;
}

static int bio_write(void *data, const unsigned char *in, size_t size)
{
    ssize_t n = send(((struct talk *)data)->fd, in, size, MSG_NOSIGNAL);
    return n > 0 ? (int)n : MBEDTLS_ERR_SSL_CONN_EOF;
}

static bool read_byte(struct talk *t, char *out)
{
    int n = t->tls ? mbedtls_ssl_read(&t->ssl, (unsigned char *)out, 1) : bio_read(t, (unsigned char *)out, 1);
    return n == 1;
}

/* A line without CRLF. */
static bool read_line(struct talk *t, char out[static LINE])
{
    size_t n = 0;
    while (n + 1 < LINE && read_byte(t, &out[n])) {
        if (out[n++] != '\n') continue;
        while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r')) n--;
        out[n] = 0;
        return true;
    }
    return false;
}

static void say(struct talk *t, const char *text)
{
    size_t size = strlen(text), at = 0;
    while (at < size) {
        const unsigned char *rest = (const unsigned char *)text + at;
        int n = t->tls ? mbedtls_ssl_write(&t->ssl, rest, size - at) : bio_write(t, rest, size - at);
        if (n <= 0) return;
        at += (size_t)n;
    }
}

static bool begin_tls(struct talk *t)
{
    mbedtls_ssl_init(&t->ssl);
    t->tls = mbedtls_ssl_setup(&t->ssl, &t->sink->config) == 0;
    if (!t->tls) return false;
    mbedtls_ssl_set_bio(&t->ssl, t, bio_write, bio_read, NULL);
    return mbedtls_ssl_handshake(&t->ssl) == 0;
}

static void keep(struct talk *t)
{
    struct sink *s = t->sink;
    pthread_mutex_lock(&s->mutex);
    s->count++;
    buffer_clear(&s->newest);
    buffer_append_bytes(&s->newest, buffer_bytes(&t->message));
    buffer_append_bytes(&s->all, buffer_bytes(&t->message));
    buffer_append(&s->all, "", 1);
    pthread_mutex_unlock(&s->mutex);
}

static void hang_if_asked(struct talk *t)
{
    while (atomic_load(&t->sink->hang) && !atomic_load(&t->sink->stop)) poll(NULL, 0, 20);
}

/* ---- SMTP, RFC 5321 as far as a sender needs it ---- */

/* Whether there is a login, and, unless NULL, whether this is it. */
static bool has_login(struct sink *s, const char *given)
{
    pthread_mutex_lock(&s->mutex);
    bool has = s->login[0] && (!given || strcmp(given, s->login) == 0);
    pthread_mutex_unlock(&s->mutex);
    return has;
}

static bool is_refused(struct sink *s, const char *line)
{
    pthread_mutex_lock(&s->mutex);
    bool is = strncasecmp(line, "RCPT", 4) == 0 && s->refused[0] && strstr(line, s->refused);
    pthread_mutex_unlock(&s->mutex);
    return is;
}

static void say_features(struct talk *t)
{
    bool offers_tls = t->sink->kind == SINK_STARTTLS && !t->tls, offers_login = t->tls && has_login(t->sink, NULL);
    say(t, "250-localhost\r\n");
    if (offers_tls) say(t, "250-STARTTLS\r\n");
    if (offers_login) say(t, "250-AUTH PLAIN\r\n");
    say(t, "250 SIZE 100000\r\n");
}

static bool take_login(struct talk *t, char line[static LINE])
{
    const char *given = line + strlen("AUTH PLAIN");
    if (*given == 0) {
        say(t, "334 \r\n");
        if (!read_line(t, line)) return false;
        given = line;
    }
    while (*given == ' ') given++;
    say(t, has_login(t->sink, given) ? "235 welcome\r\n" : "535 wrong login\r\n");
    return true;
}

static bool take_data(struct talk *t, char line[static LINE])
{
    say(t, "354 go on\r\n");
    while (read_line(t, line)) {
        if (strcmp(line, ".") == 0) {
            keep(t);
            say(t, "250 taken\r\n");
            return true;
        }
        buffer_printf(&t->message, "%s\n", line[0] == '.' ? line + 1 : line);
    }
    return false;
}

static bool answer_smtp(struct talk *t, char line[static LINE])
{
    int refuse = atomic_load(&t->sink->refuse);
    char text[64];
    if (strncasecmp(line, "EHLO", 4) == 0) {
        say_features(t);
    } else if (strcasecmp(line, "STARTTLS") == 0 && t->sink->kind == SINK_STARTTLS) {
        say(t, "220 go on\r\n");
        return begin_tls(t);
    } else if (strncasecmp(line, "AUTH PLAIN", 10) == 0) {
        return take_login(t, line);
    } else if (strncasecmp(line, "RCPT", 4) == 0 && refuse) {
        snprintf(text, sizeof text, "%d refused by the test\r\n", refuse);
        say(t, text);
    } else if (is_refused(t->sink, line)) {
        say(t, "550-5.1.1 nobody here\r\n550 5.1.1 has that name\r\n");
    } else if (strncasecmp(line, "MAIL", 4) == 0 || strncasecmp(line, "RCPT", 4) == 0) {
        buffer_printf(&t->message, "%s\n", line);
        say(t, "250 ok\r\n");
    } else if (strcasecmp(line, "DATA") == 0) {
        return take_data(t, line);
    } else if (strcasecmp(line, "QUIT") == 0) {
        say(t, "221 bye\r\n");
        return false;
    } else {
        say(t, "500 unknown\r\n");
    }
    return true;
}

static void talk_smtp(struct talk *t)
{
    char line[LINE];
    hang_if_asked(t);
    if (t->sink->kind == SINK_SMTPS && !begin_tls(t)) return;
    say(t, "220 localhost\r\n");
    while (read_line(t, line) && answer_smtp(t, line)) {}
}

/* ---- HTTP/1.1, one request ---- */

static void talk_http(struct talk *t)
{
    char line[LINE], answer[128], byte;
    size_t body = 0;
    hang_if_asked(t);
    if (!begin_tls(t)) return;
    do {
        if (!read_line(t, line)) return;
        buffer_printf(&t->message, "%s\n", line);
        if (strncasecmp(line, "Content-Length:", 15) == 0) body = strtoul(line + 15, NULL, 10);
    } while (line[0]);
    for (size_t i = 0; i < body; i++) {
        if (!read_byte(t, &byte)) return;
        buffer_append(&t->message, &byte, 1);
    }
    int refuse = atomic_load(&t->sink->refuse);
    if (!refuse) keep(t);
    snprintf(answer, sizeof answer, "HTTP/1.1 %d Test\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
             refuse ? refuse : 200);
    say(t, answer);
}

/* ---- life ---- */

static void talk(struct sink *s, int fd)
{
    struct talk t = {.sink = s, .fd = fd};
    if (s->kind == SINK_HTTPS)
        talk_http(&t);
    else
        talk_smtp(&t);
    if (t.tls) {
        mbedtls_ssl_close_notify(&t.ssl);
        mbedtls_ssl_free(&t.ssl);
    }
    buffer_free(&t.message);
    close(fd);
}

static void *serve(void *data)
{
    struct sink *s = data;
    while (is_readable(s, s->listening)) {
        int fd = accept(s->listening, NULL, NULL);
        if (fd >= 0) talk(s, fd);
    }
    return NULL;
}

static void listen_anywhere(struct sink *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    s->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(s->listening >= 0 && bind(s->listening, (struct sockaddr *)&a, sizeof a) == 0);
    CHECK(listen(s->listening, 16) == 0 && getsockname(s->listening, (struct sockaddr *)&a, &size) == 0);
    s->port = ntohs(a.sin_port);
}

static void make_certificate(struct sink *s, const char *ca_file)
{
    struct buffer key = {0}, certificate = {0}, text = {0};
    CHECK(certificate_generate(&key, &certificate, "localhost", NULL) == OK);
    CHECK(mbedtls_x509_crt_parse_der(&s->certificate, certificate.data, certificate.size) == 0);
#if MBEDTLS_VERSION_MAJOR >= 3
    CHECK(mbedtls_pk_parse_key(&s->key, key.data, key.size, NULL, 0, mbedtls_ctr_drbg_random, &s->random) == 0);
#else
    CHECK(mbedtls_pk_parse_key(&s->key, key.data, key.size, NULL, 0) == 0);
#endif
    CHECK(certificate_text(&text, buffer_bytes(&certificate)) == OK);
    FILE *file = fopen(ca_file, "w");
    CHECK(file && fwrite(text.data, 1, text.size, file) == text.size && fclose(file) == 0);
    secret_wipe_buffer(&key);
    buffer_free(&certificate);
    buffer_free(&text);
}

struct sink *sink_start(enum sink_kind kind, const char *ca_file)
{
    struct sink *s = xcalloc(1, sizeof *s);
    s->kind = kind;
    pthread_mutex_init(&s->mutex, NULL);
    mbedtls_entropy_init(&s->entropy);
    mbedtls_ctr_drbg_init(&s->random);
    mbedtls_ssl_config_init(&s->config);
    mbedtls_x509_crt_init(&s->certificate);
    mbedtls_pk_init(&s->key);
#if MBEDTLS_VERSION_MAJOR >= 3
    CHECK(psa_crypto_init() == PSA_SUCCESS);
#endif
    CHECK(mbedtls_ctr_drbg_seed(&s->random, mbedtls_entropy_func, &s->entropy, NULL, 0) == 0);
    make_certificate(s, ca_file);
    CHECK(mbedtls_ssl_config_defaults(&s->config, MBEDTLS_SSL_IS_SERVER, MBEDTLS_SSL_TRANSPORT_STREAM,
                                      MBEDTLS_SSL_PRESET_DEFAULT) == 0);
    mbedtls_ssl_conf_rng(&s->config, mbedtls_ctr_drbg_random, &s->random);
    CHECK(mbedtls_ssl_conf_own_cert(&s->config, &s->certificate, &s->key) == 0);
    listen_anywhere(s);
    CHECK(pthread_create(&s->thread, NULL, serve, s) == 0);
    return s;
}

uint16_t sink_port(const struct sink *s) { return s->port; }
void sink_refuse(struct sink *s, int code) { atomic_store(&s->refuse, code); }
void sink_hang(struct sink *s) { atomic_store(&s->hang, true); }
void sink_resume(struct sink *s) { atomic_store(&s->hang, false); }

void sink_login(struct sink *s, const char *user, const char *password)
{
    struct buffer plain = {0}, text = {0};
    buffer_append(&plain, "", 1);
    buffer_append_text(&plain, user);
    buffer_append(&plain, "", 1);
    buffer_append_text(&plain, password);
    base64_append(&text, buffer_bytes(&plain));
    CHECK(text.size < sizeof s->login);
    pthread_mutex_lock(&s->mutex);
    memcpy(s->login, text.data, text.size);
    pthread_mutex_unlock(&s->mutex);
    buffer_free(&plain);
    buffer_free(&text);
}

void sink_refuse_receiver(struct sink *s, const char *address)
{
    pthread_mutex_lock(&s->mutex);
    s->refused[0] = '\0';
    if (address) snprintf(s->refused, sizeof s->refused, "<%s>", address);
    pthread_mutex_unlock(&s->mutex);
}

unsigned sink_count(struct sink *s, struct buffer *out)
{
    pthread_mutex_lock(&s->mutex);
    unsigned count = s->count;
    if (out) {
        buffer_clear(out);
        buffer_append_bytes(out, buffer_bytes(&s->newest));
        buffer_append(out, "", 1); /* for strstr */
    }
    pthread_mutex_unlock(&s->mutex);
    return count;
}

unsigned sink_count_of(struct sink *s, const char *text)
{
    unsigned count = 0;
    pthread_mutex_lock(&s->mutex);
    const char *at = (const char *)s->all.data, *end = at + s->all.size;
    for (; at < end; at += strlen(at) + 1) count += strstr(at, text) != NULL;
    pthread_mutex_unlock(&s->mutex);
    return count;
}

void sink_stop(struct sink *s)
{
    atomic_store(&s->stop, true);
    pthread_join(s->thread, NULL);
    close(s->listening);
    mbedtls_ssl_config_free(&s->config);
    mbedtls_x509_crt_free(&s->certificate);
    mbedtls_pk_free(&s->key);
    mbedtls_ctr_drbg_free(&s->random);
    mbedtls_entropy_free(&s->entropy);
    pthread_mutex_destroy(&s->mutex);
    buffer_free(&s->newest);
    buffer_free(&s->all);
    free(s);
}
