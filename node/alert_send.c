#include "node/alert_send.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "crypto/secret.h"
#include "storage/files.h"

#define ANSWER_MOST 200 /* of a refusal's text, for people */
#define CAUSE_MOST 140  /* of two causes in one text, so that neither cuts off the other */

/* ---- settings ---- */

unsigned alert_ways(const struct config *config)
{
    return (config->alert_mail_server.text[0] ? ALERT_MAIL : 0u) | (config->alert_webhook.text[0] ? ALERT_HOOK : 0u);
}

static bool begins(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

/* An address that can stand between < and > and in a header: one @, no space, no control or special character. */
static bool is_address(const char *text, size_t size)
{
    size_t ats = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c >= 0x7f || strchr("<>()[],;:\\\"", c)) return false;
        ats += c == '@';
    }
    return ats == 1 && text[0] != '@' && text[size - 1] != '@';
}

/* The next address of a comma-separated list; false at its end. */
static bool next_address(const char **text, const char **address, size_t *size)
{
    while (**text == ' ' || **text == ',') (*text)++;
    *address = *text;
    *size = strcspn(*text, ", ");
    *text += *size;
    return *size > 0;
}

static enum err check_mail(const struct config *c, struct failure *failure)
{
    const char *server = c->alert_mail_server.text, *list = c->alert_mail_to.text, *address;
    size_t size, count = 0;
    if (!begins(server, "smtp://") && !begins(server, "smtps://"))
        return fail(failure, ERR_INVALID, "alert-mail-server = \"%s\" must begin with smtp:// (STARTTLS) or smtps://",
                    server);
    if (!is_address(c->alert_mail_from.text, strlen(c->alert_mail_from.text)))
        return fail(failure, ERR_INVALID, "alert-mail-from = \"%s\" must be one mail address", c->alert_mail_from.text);
    while (next_address(&list, &address, &size)) {
        if (!is_address(address, size))
            return fail(failure, ERR_INVALID, "alert-mail-to: \"%.*s\" is no mail address", (int)size, address);
        count++;
    }
    if (count == 0 || count > ALERT_RECEIVERS)
        return fail(failure, ERR_INVALID, "alert-mail-to must name 1 to %d mail addresses, with commas between",
                    ALERT_RECEIVERS);
    if (!c->alert_mail_user.text[0] != !c->alert_mail_password_file.text[0])
        return fail(failure, ERR_INVALID, "alert-mail-user and alert-mail-password-file belong together: give both or "
                    "neither");
    return OK;
}

enum err alert_settings_check(const struct config *c, struct failure *failure)
{
    unsigned ways = alert_ways(c);
    if (!(ways & ALERT_MAIL) && (c->alert_mail_to.text[0] || c->alert_mail_from.text[0] || c->alert_mail_user.text[0]))
        return fail(failure, ERR_INVALID, "alert-mail-server is missing, though other alert-mail settings are there");
    if (ways & ALERT_MAIL) {
        enum err e = check_mail(c, failure);
        if (e != OK) return e;
    }
    if ((ways & ALERT_HOOK) && !begins(c->alert_webhook.text, "https://"))
        return fail(failure, ERR_INVALID, "alert-webhook = \"%s\" must begin with https://", c->alert_webhook.text);
    return OK;
}

/* ---- one transfer ---- */

struct sending {
    CURL *curl;
    struct curl_slist *list; /* receivers, or headers */
    struct buffer body;
    size_t given;            /* of `body`, to curl */
    struct buffer answer;    /* the start of what a webhook answered */
    char secret[ALERT_SECRET];
    char error[CURL_ERROR_SIZE];
    const atomic_bool *stop;
    const struct curl_slist *asked;  /* the last receiver that the server was asked to take */
    bool awaits;                     /* its answer */
    struct alert_refused *refused;
};

static size_t give(char *out, size_t size, size_t count, void *data)
{
    struct sending *s = data;
    size_t most = size * count, left = s->body.size - s->given;
    size_t n = left < most ? left : most;
    memcpy(out, s->body.data + s->given, n);
    s->given += n;
    return n;
}

static size_t take(char *in, size_t size, size_t count, void *data)
{
    struct sending *s = data;
    size_t n = size * count, room = ANSWER_MOST - s->answer.size;
    buffer_append(&s->answer, in, n < room ? n : room);
    return n;
}

/* What the server said, printable, on one line. */
static void clean(char *out, size_t room, const char *text, size_t size)
{
    size_t n = size < room - 1 ? size : room - 1;
    while (n > 0 && isspace((unsigned char)text[n - 1])) n--;
    for (size_t i = 0; i < n; i++) out[i] = isprint((unsigned char)text[i]) ? text[i] : ' ';
    out[n] = 0;
}

static void note_refused(struct sending *s, const char *answer, size_t size)
{
    struct alert_refused *r = s->refused;
    const char *receiver = s->asked->data; /* in brackets */
    if (r->count == ALERT_RECEIVERS) return;
    snprintf(r->list[r->count].receiver, sizeof r->list[0].receiver, "%.*s", (int)strlen(receiver) - 2, receiver + 1);
    clean(r->list[r->count].answer, sizeof r->list[0].answer, answer, size);
    r->count++;
}

/* libcurl says only that some receiver was refused: which one is in its talk with the server. */
static int listen_in(CURL *curl, curl_infotype type, char *text, size_t size, void *data)
{
    static const char asks[] = "RCPT TO:";
    struct sending *s = data;
    (void)curl;
    if (type == CURLINFO_HEADER_OUT && size >= sizeof asks - 1 && memcmp(text, asks, sizeof asks - 1) == 0) {
        s->asked = s->asked ? s->asked->next : s->list;
        s->awaits = s->asked != NULL;
    } else if (type == CURLINFO_HEADER_IN && s->awaits && size > 0) {
        if (text[0] == '4' || text[0] == '5') note_refused(s, text, size);
        s->awaits = false;
    }
    return 0;
}

static int watch(void *data, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const struct sending *s = data;
    (void)a, (void)b, (void)c, (void)d;
    return s->stop && atomic_load(s->stop);
}

/* A file's first line, without its end. */
static enum err read_secret(char out[static ALERT_SECRET], const char *path, struct failure *failure)
{
    struct buffer file = {0};
    size_t size = 0;
    enum err e = files_read(&file, path, ALERT_SECRET - 1, failure);
    while (size < file.size && file.data[size] != '\n' && file.data[size] != '\r' && file.data[size] != 0) size++;
    if (e == OK && size == 0) e = fail(failure, ERR_INVALID, "%s is empty: its first line is the password", path);
    if (e == OK) {
        memcpy(out, file.data, size);
        out[size] = 0;
    }
    secret_wipe_buffer(&file);
    return e;
}

static enum err check_secret(const char *path, struct failure *failure)
{
    char secret[ALERT_SECRET];
    enum err e = path[0] ? read_secret(secret, path, failure) : OK;
    secret_wipe(secret, sizeof secret);
    return e;
}

enum err alert_files_check(const struct config *config, struct failure *failure)
{
    unsigned ways = alert_ways(config);
    const char *authorities = config->alert_ca_file.text;
    enum err e = OK;
    if (ways & ALERT_MAIL) e = check_secret(config->alert_mail_password_file.text, failure);
    if (e == OK && (ways & ALERT_HOOK)) e = check_secret(config->alert_webhook_token_file.text, failure);
    if (e == OK && ways && authorities[0] && access(authorities, R_OK) != 0)
        e = fail(failure, ERR_NOT_FOUND, "cannot read %s: %s", authorities, strerror(errno));
    return e;
}

static void add(struct sending *s, const char *text)
{
    struct curl_slist *longer = curl_slist_append(s->list, text);
    CHECK(longer);
    s->list = longer;
}

static void set_common(struct sending *s, const struct config *config, const char *url, long most_ms)
{
    curl_easy_setopt(s->curl, CURLOPT_URL, url);
    curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, s->error);
    curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)ALERT_CONNECT_MS);
    curl_easy_setopt(s->curl, CURLOPT_TIMEOUT_MS, most_ms);
    curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(s->curl, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(s->curl, CURLOPT_XFERINFODATA, s);
    curl_easy_setopt(s->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (config->alert_ca_file.text[0]) {
        curl_easy_setopt(s->curl, CURLOPT_CAINFO, config->alert_ca_file.text);
        curl_easy_setopt(s->curl, CURLOPT_CAPATH, NULL);
    }
}

static enum err set_mail(struct sending *s, const struct config *config, const struct alert_message *m,
                         struct failure *failure)
{
    const char *list = config->alert_mail_to.text, *address;
    char bracketed[SETTING_TEXT_SIZE + 2];
    size_t size;
    set_common(s, config, config->alert_mail_server.text, ALERT_MAIL_MS);
    curl_easy_setopt(s->curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(s->curl, CURLOPT_USE_SSL, (long)CURLUSESSL_ALL); /* never a login or an alarm in the clear */
    snprintf(bracketed, sizeof bracketed, "<%s>", config->alert_mail_from.text);
    curl_easy_setopt(s->curl, CURLOPT_MAIL_FROM, bracketed);
    while (next_address(&list, &address, &size)) {
        snprintf(bracketed, sizeof bracketed, "<%.*s>", (int)size, address);
        add(s, bracketed);
    }
    curl_easy_setopt(s->curl, CURLOPT_MAIL_RCPT, s->list);
    /* One who left the hospital keeps no alarm from the others. */
#if LIBCURL_VERSION_NUM >= 0x080200
    curl_easy_setopt(s->curl, CURLOPT_MAIL_RCPT_ALLOWFAILS, 1L);
#else
    curl_easy_setopt(s->curl, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
#endif
    curl_easy_setopt(s->curl, CURLOPT_DEBUGFUNCTION, listen_in);
    curl_easy_setopt(s->curl, CURLOPT_DEBUGDATA, s);
    curl_easy_setopt(s->curl, CURLOPT_VERBOSE, 1L); /* to listen_in alone */
    if (config->alert_mail_user.text[0]) {
        enum err e = read_secret(s->secret, config->alert_mail_password_file.text, failure);
        if (e != OK) return e;
        curl_easy_setopt(s->curl, CURLOPT_USERNAME, config->alert_mail_user.text);
        curl_easy_setopt(s->curl, CURLOPT_PASSWORD, s->secret);
    }
    alert_mail_text(&s->body, config, m, clock_wall_ms());
    curl_easy_setopt(s->curl, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(s->curl, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(s->curl, CURLOPT_READDATA, s);
    return OK;
}

static enum err set_hook(struct sending *s, const struct config *config, const struct alert_message *m,
                         struct failure *failure)
{
    char key[96], header[ALERT_SECRET + 128];
    set_common(s, config, config->alert_webhook.text, ALERT_HOOK_MS);
    curl_easy_setopt(s->curl, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(s->curl, CURLOPT_FOLLOWLOCATION, 0L);
    alert_key(key, m);
    snprintf(header, sizeof header, "Idempotency-Key: \"%s\"", key);
    add(s, header);
    add(s, "Content-Type: application/json");
    add(s, "Expect:"); /* a small body: no waiting for 100 Continue */
    if (config->alert_webhook_token_file.text[0]) {
        enum err e = read_secret(s->secret, config->alert_webhook_token_file.text, failure);
        if (e != OK) return e;
        snprintf(header, sizeof header, "Authorization: Bearer %s", s->secret);
        add(s, header);
        secret_wipe(header, sizeof header);
    }
    alert_json(&s->body, m);
    curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->list);
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)s->body.size);
    curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, s->body.data);
    return OK;
}

static enum err code_of(CURLcode code)
{
    switch ((int)code) {
    case CURLE_OK: return OK;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: return ERR_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT: return ERR_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_USE_SSL_FAILED: return ERR_TLS;
    case CURLE_LOGIN_DENIED: return ERR_UNAUTHORIZED;
    case CURLE_ABORTED_BY_CALLBACK: return ERR_CANCELED;
    case CURLE_OUT_OF_MEMORY: return ERR_NOMEM;
    default: return ERR_IO;
    }
}

/* err_text, as it reads about another's server. */
static const char *error_text(enum err code)
{
    if (code == ERR_DENIED) return "refused by the server";
    if (code == ERR_UNAUTHORIZED) return "the server refused the login or the token";
    if (code == ERR_IO) return "the transfer failed";
    return err_text(code);
}

const char *alert_error_hint(enum err code)
{
    if (code == ERR_DENIED) return "its answer says why; correct the alert settings, or ask who runs that server";
    if (code == ERR_UNAUTHORIZED) return "check the user, and the file with the password or token";
    if (code == ERR_IO || code == ERR_UNREACHABLE) return "check the server's name and port, and firewalls";
    if (code == ERR_TLS) return "check alert-ca-file, the server's name in its certificate, and this machine's clock";
    return err_hint(code);
}

static enum err perform(struct sending *s, bool mail, const char *to, struct failure *failure)
{
    long status = 0;
    char answer[ANSWER_MOST + 1];
    if (s->body.failed) return fail(failure, ERR_NOMEM, "out of memory for the alert's text");
    CURLcode code = curl_easy_perform(s->curl);
    curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK)
        return fail(failure, mail && status >= 400 && code_of(code) == ERR_IO ? ERR_DENIED : code_of(code), "%s: %s",
                    to,
                    s->error[0] ? s->error : curl_easy_strerror(code));
    if (mail || (status >= 200 && status < 300)) return OK;
    clean(answer, sizeof answer, (const char *)s->answer.data, s->answer.size);
    return fail(failure, status == 401 || status == 403 ? ERR_UNAUTHORIZED : ERR_DENIED, "%s answered %ld %s", to,
                status,
                answer);
}

static void free_sending(struct sending *s)
{
    curl_easy_cleanup(s->curl);
    curl_slist_free_all(s->list);
    buffer_free(&s->body);
    buffer_free(&s->answer);
    secret_wipe(s->secret, sizeof s->secret);
}

static enum err send_one(enum alert_way way, const struct config *config, const struct alert_message *m,
                         const atomic_bool *stop, struct alert_refused *refused, struct failure *failure)
{
    bool mail = way == ALERT_MAIL;
    struct sending s = {.curl = curl_easy_init(), .stop = stop, .refused = refused};
    if (!s.curl) return fail(failure, ERR_NOMEM, "libcurl can't start");
    enum err e = mail ? set_mail(&s, config, m, failure) : set_hook(&s, config, m, failure);
    if (e == OK) e = perform(&s, mail, mail ? config->alert_mail_server.text : config->alert_webhook.text, failure);
    free_sending(&s);
    return e;
}

/* Of each way that failed. */
static enum err say_causes(struct failure *failure, const struct failure *mail, const struct failure *hook)
{
    const struct failure *one = hook->code != OK ? hook : mail;
    if (one->code == OK) return OK;
    if (mail->code == OK || hook->code == OK)
        return fail(failure, one->code, "%s: %s", error_text(one->code), one->text);
    return fail(failure, hook->code, "mail: %s: %.*s; webhook: %s: %.*s", error_text(mail->code), CAUSE_MOST,
                mail->text, error_text(hook->code), CAUSE_MOST, hook->text);
}

static void init_curl(void) { (void)curl_global_init(CURL_GLOBAL_DEFAULT); }

enum err alert_send(unsigned *sent, unsigned ways, const struct config *config, const struct alert_message *message,
                    const atomic_bool *stop, struct alert_refused *refused, struct failure *failure)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct alert_refused unread;
    struct failure mail = {0}, hook = {0};
    *sent = 0;
    if (!refused) refused = &unread;
    refused->count = 0;
    pthread_once(&once, init_curl);
    for (unsigned way = ALERT_MAIL; way <= ALERT_HOOK; way <<= 1) {
        if (!(ways & way)) continue;
        struct failure *why = way == ALERT_MAIL ? &mail : &hook;
        why->code = send_one((enum alert_way)way, config, message, stop, refused, why);
        if (why->code == OK) *sent |= way;
    }
    return say_causes(failure, &mail, &hook);
}
