/* Mail and webhook against real servers over TLS: what arrives, what is refused and how that reads,
 * and that nothing goes out in the clear or to a server that can't prove its name. */
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "crypto/random.h"
#include "node/alert.h"
#include "node/alert_send.h"
#include "tests/lib/folder.h"
#include "tests/lib/samples.h"
#include "tests/lib/sink.h"
#include "tests/lib/unit.h"

static char dir[FOLDER_PATH], ca[FOLDER_PATH], secret[FOLDER_PATH];
static struct genesis genesis;
static struct buffer genesis_text, got;
static struct config config;
static struct alert_message message;
static struct failure failure;
static unsigned sent;
static struct alert_refused refused;

static int set_up(void **state)
{
    (void)state;
    folder_make(dir, 1);
    folder_join(ca, dir, "ca.pem");
    folder_join(secret, dir, "secret");
    sample_genesis_parsed(&genesis, &genesis_text, 4, 1);
    message = (struct alert_message){.genesis = &genesis, .sender = 1,
                                     .alarm = {.index = 77, .kind = ALARM_DELETED, .named = 3, .raiser = 2,
                                               .saying = 1u << 2, .first = 40,
                                               .last = 41, .since_ms = 1700000000000}};
    config_defaults(&config);
    failure = (struct failure){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(dir);
    buffer_free(&genesis_text);
    buffer_free(&got);
    return 0;
}

static void set_mail(const struct sink *s, const char *scheme)
{
    snprintf(config.alert_mail_server.text, SETTING_TEXT_SIZE, "%s://localhost:%u", scheme, sink_port(s));
    strcpy(config.alert_mail_from.text, "node@example.org");
    strcpy(config.alert_mail_to.text, "a@example.org, b@example.org");
    strcpy(config.alert_ca_file.text, ca);
    assert_int_equal(config_check(&config, &failure), OK);
}

static void set_hook(const struct sink *s)
{
    snprintf(config.alert_webhook.text, SETTING_TEXT_SIZE, "https://localhost:%u/alarms?team=7", sink_port(s));
    strcpy(config.alert_ca_file.text, ca);
    assert_int_equal(config_check(&config, &failure), OK);
}

static enum err send_it(void)
{
    return alert_send(&sent, alert_ways(&config), &config, &message, NULL, &refused, &failure);
}

static void expect_text(const char *text)
{
    if (!strstr((const char *)got.data, text)) fail_msg("\"%s\" is not in:\n%s", text, (const char *)got.data);
}

static void check_mail(struct sink *s, const char *scheme)
{
    set_mail(s, scheme);
    assert_int_equal(send_it(), OK);
    assert_int_equal(sent, ALERT_MAIL);
    assert_int_equal(sink_count(s, &got), 1);
    expect_text("MAIL FROM:<node@example.org>");
    expect_text("RCPT TO:<a@example.org>");
    expect_text("RCPT TO:<b@example.org>");
    expect_text("\nFrom: <node@example.org>\n");
    expect_text("\nTo: a@example.org,\n b@example.org\n");
    expect_text("\nSubject: Consilium ALARM: node node-3: deleted, index 40 to 41\n");
    expect_text("What:      deleted: stored data that the ledger proves is gone\n");
    expect_text("Since:     2023-11-14T22:13:20Z\n");
    expect_text("leaf 77");
    sink_stop(s);
}

static void test_mail(void **state)
{
    (void)state;
    check_mail(sink_start(SINK_SMTPS, ca), "smtps");
}

/* A Raft index is no entry's number, and doesn't read like one. */
static void test_places(void **state)
{
    (void)state;
    message.alarm.kind = ALARM_ROLLED_BACK;
    alert_mail_text(&got, &config, &message, 0);
    buffer_append(&got, "", 1);
    expect_text("\r\nSubject: Consilium ALARM: node node-3: rolled back, Raft index 40 to 41\r\n");
    expect_text("\r\nWhere:     Raft index 40 to 41\r\n");
    buffer_clear(&got);
    alert_json(&got, &message);
    buffer_append(&got, "", 1);
    expect_text("\"place\":\"Raft index\",\"first\":40,");
}

static void test_starttls(void **state)
{
    (void)state;
    check_mail(sink_start(SINK_STARTTLS, ca), "smtp");
}

/* A server, or somebody in between, that takes STARTTLS away gets nothing. */
static void test_never_in_the_clear(void **state)
{
    (void)state;
    struct sink *s = sink_start(SINK_CLEAR, ca);
    set_mail(s, "smtp");
    assert_int_equal(send_it(), ERR_TLS);
    assert_int_equal(sent, 0);
    assert_int_equal(sink_count(s, NULL), 0);
    sink_stop(s);
}

static void test_login(void **state)
{
    (void)state;
    struct sink *s = sink_start(SINK_SMTPS, ca);
    sink_login(s, "consilium", "correct horse");
    set_mail(s, "smtps");
    strcpy(config.alert_mail_user.text, "consilium");
    strcpy(config.alert_mail_password_file.text, secret);
    assert_int_equal(send_it(), ERR_NOT_FOUND); /* no such file */
    folder_store(dir, "secret", bytes_text("wrong\n"));
    assert_int_equal(send_it(), ERR_UNAUTHORIZED);
    assert_null(strstr(failure.text, "wrong"));
    assert_int_equal(sink_count(s, NULL), 0);
    folder_store(dir, "secret", bytes_text("correct horse\r\nsecond line\n"));
    assert_int_equal(send_it(), OK);
    assert_int_equal(sink_count(s, NULL), 1);
    sink_stop(s);
}

static void test_mail_refused(void **state)
{
    (void)state;
    struct sink *s = sink_start(SINK_SMTPS, ca);
    set_mail(s, "smtps");
    sink_refuse(s, 550);
    assert_int_not_equal(send_it(), OK);
    assert_int_equal(sent, 0);
    assert_non_null(strstr(failure.text, "550"));
    assert_int_equal(sink_count(s, NULL), 0);
    sink_refuse(s, 0);
    assert_int_equal(send_it(), OK);
    assert_int_equal(sink_count(s, NULL), 1);
    sink_stop(s);
}

/* The others get it, and who didn't is known by name, with the answer. */
static void test_receiver_refused(void **state)
{
    (void)state;
    struct sink *s = sink_start(SINK_SMTPS, ca);
    set_mail(s, "smtps");
    strcpy(config.alert_mail_to.text, "a@example.org, gone@example.org,b@example.org");
    sink_refuse_receiver(s, "gone@example.org");
    assert_int_equal(send_it(), OK);
    assert_int_equal(sent, ALERT_MAIL);
    assert_int_equal(sink_count(s, &got), 1);
    expect_text("RCPT TO:<a@example.org>");
    expect_text("RCPT TO:<b@example.org>");
    assert_null(strstr((const char *)got.data, "RCPT TO:<gone@example.org>"));
    assert_int_equal(refused.count, 1);
    assert_string_equal(refused.list[0].receiver, "gone@example.org");
    assert_string_equal(refused.list[0].answer, "550-5.1.1 nobody here");
    assert_int_equal(alert_test(&config, &genesis, 1), 1); /* says so, and is no success */
    assert_int_equal(sink_count(s, NULL), 2);
    sink_refuse_receiver(s, NULL);
    assert_int_equal(send_it(), OK);
    assert_int_equal(refused.count, 0);
    assert_int_equal(alert_test(&config, &genesis, 1), 0);
    strcpy(config.alert_mail_to.text, "gone@example.org");
    sink_refuse_receiver(s, "gone@example.org");
    assert_int_equal(send_it(), ERR_DENIED);
    assert_true(sent == 0 && refused.count == 1);
    assert_null(strstr(failure.text, "policy"));
    assert_null(strstr(alert_error_hint(ERR_DENIED), "administrator"));
    sink_stop(s);
}

static const char *member(const json_t *json, const char *object, const char *name)
{
    const char *text = json_string_value(json_object_get(json_object_get(json, object), name));
    return text ? text : "";
}

static void test_webhook(void **state)
{
    (void)state;
    struct sink *s = sink_start(SINK_HTTPS, ca);
    set_hook(s);
    folder_store(dir, "secret", bytes_text("token-1"));
    strcpy(config.alert_webhook_token_file.text, secret);
    assert_int_equal(send_it(), OK);
    assert_int_equal(sent, ALERT_HOOK);
    assert_int_equal(sink_count(s, &got), 1);
    expect_text("POST /alarms?team=7 HTTP/1.1\n");
    expect_text("\nContent-Type: application/json\n");
    expect_text("\nAuthorization: Bearer token-1\n");
    char key[96], header[128];
    alert_key(key, &message);
    snprintf(header, sizeof header, "\nIdempotency-Key: \"%s\"\n", key);
    expect_text(header);
    json_t *json = json_loads(strstr((const char *)got.data, "\n\n") + 2, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "event")), "alarm");
    assert_string_equal(json_string_value(json_object_get(json, "kind")), "deleted");
    assert_string_equal(json_string_value(json_object_get(json, "since")), "2023-11-14T22:13:20Z");
    assert_string_equal(member(json, "node", "name"), "node-3");
    assert_string_equal(member(json, "raised_by", "name"), "node-2");
    assert_int_equal(json_integer_value(json_object_get(json, "first")), 40);
    assert_int_equal(json_integer_value(json_object_get(json, "last")), 41);
    assert_int_equal(json_integer_value(json_object_get(json, "leaf")), 77);
    assert_int_equal(json_array_size(json_object_get(json, "said_by")), 1);
    assert_true(json_is_false(json_object_get(json, "counts")) && json_is_true(json_object_get(json, "recorded")));
    json_decref(json);
    message.alarm.saying |= 1u << 3;
    assert_int_equal(send_it(), OK);
    assert_int_equal(sink_count(s, &got), 2);
    expect_text("\"counts\":true");
    message.alarm.saying = 1u << 2;
    sink_stop(s);
}

/* One file with the authorities of both servers. */
static void trust_both(const char *other)
{
    struct buffer both = folder_load(dir, "ca.pem"), more = folder_load(dir, other);
    buffer_append_bytes(&both, buffer_bytes(&more));
    folder_store(dir, "ca.pem", buffer_bytes(&both));
    buffer_free(&both);
    buffer_free(&more);
}

static void expect_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void expect_line(const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    expect_text(line);
}

static const struct kind {
    enum alarm_kind kind;
    const char *word, *place;
    unsigned named;
    uint64_t first, last;
} kinds[] = {
    {ALARM_MODIFIED, "modified", "index", 1, 1200, 1200},
    {ALARM_DELETED, "deleted", "index", 2, 40, 41},
    {ALARM_FORKED, "forked", "Raft index or size", 4, 31, 31},
    {ALARM_ROLLED_BACK, "rolled back", "Raft index", 3, 7, 9000},
};

static void expect_kind_in_mail(struct sink *s, const struct kind *k, unsigned messages)
{
    char range[64];
    snprintf(range, sizeof range, k->first == k->last ? "%s %llu" : "%s %llu to %llu", k->place,
             (unsigned long long)k->first, (unsigned long long)k->last);
    assert_int_equal(sink_count(s, &got), messages);
    expect_line("\nSubject: Consilium ALARM: node node-%u: %s, %s\n", k->named, k->word, range);
    expect_line("\nNode:      node-%u of ", k->named);
    expect_line("\nWhat:      %s: %s\n", k->word, alarm_kind_meaning(k->kind));
    expect_line("\nWhere:     %s\n", range);
}

static void expect_kind_in_hook(struct sink *s, const struct kind *k, unsigned messages)
{
    char name[16];
    assert_int_equal(sink_count(s, &got), messages);
    json_t *json = json_loads(strstr((const char *)got.data, "\n\n") + 2, 0, NULL);
    assert_non_null(json);
    snprintf(name, sizeof name, "node-%u", k->named);
    assert_string_equal(json_string_value(json_object_get(json, "event")), "alarm");
    assert_string_equal(member(json, "node", "name"), name);
    assert_string_equal(json_string_value(json_object_get(json, "kind")), k->word);
    assert_string_equal(json_string_value(json_object_get(json, "place")), k->place);
    assert_int_equal(json_integer_value(json_object_get(json, "first")), k->first);
    assert_int_equal(json_integer_value(json_object_get(json, "last")), k->last);
    json_decref(json);
}

/* Each kind comes by both ways, with the node, the kind and the indices. */
static void test_every_kind(void **state)
{
    (void)state;
    char other[FOLDER_PATH];
    folder_join(other, dir, "other.pem");
    struct sink *mail = sink_start(SINK_SMTPS, other), *hook = sink_start(SINK_HTTPS, ca);
    trust_both("other.pem");
    set_mail(mail, "smtps");
    set_hook(hook);
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const struct kind *k = &kinds[i];
        message.alarm.kind = k->kind;
        message.alarm.named = k->named;
        message.alarm.raiser = k->named % 4 + 1;
        message.alarm.saying = 1u << message.alarm.raiser;
        message.alarm.first = k->first;
        message.alarm.last = k->last;
        assert_int_equal(send_it(), OK);
        assert_int_equal(sent, ALERT_MAIL | ALERT_HOOK);
        expect_kind_in_mail(mail, k, i + 1);
        expect_kind_in_hook(hook, k, i + 1);
    }
    sink_stop(mail);
    sink_stop(hook);
}

static void test_webhook_refused(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum err code;
    } cases[] = {{500, ERR_DENIED}, {404, ERR_DENIED}, {401, ERR_UNAUTHORIZED}, {302, ERR_DENIED}};
    struct sink *s = sink_start(SINK_HTTPS, ca);
    set_hook(s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sink_refuse(s, cases[i].status);
        assert_int_equal(send_it(), cases[i].code);
        assert_int_equal(sent, 0);
    }
    sink_stop(s);
}

/* The one that failed is told apart, so that only it is tried again. */
static void test_one_of_two(void **state)
{
    (void)state;
    char other[FOLDER_PATH];
    folder_join(other, dir, "other.pem");
    struct sink *mail = sink_start(SINK_SMTPS, other), *hook = sink_start(SINK_HTTPS, ca);
    set_mail(mail, "smtps"); /* its certificate is not among the authorities */
    set_hook(hook);
    assert_int_equal(send_it(), ERR_TLS);
    assert_int_equal(sent, ALERT_HOOK);
    assert_int_equal(sink_count(mail, NULL), 0);
    assert_int_equal(sink_count(hook, NULL), 1);
    sink_stop(mail);
    sink_stop(hook);
}

static void expect_cause(const char *text)
{
    if (!strstr(failure.text, text)) fail_msg("\"%s\" is not in: %s", text, failure.text);
}

/* Neither cause hides the other, however long they are. */
static void test_none_of_two(void **state)
{
    (void)state;
    char other[FOLDER_PATH];
    folder_join(other, dir, "other.pem");
    struct sink *mail = sink_start(SINK_SMTPS, other), *hook = sink_start(SINK_HTTPS, ca);
    trust_both("other.pem");
    set_mail(mail, "smtps");
    set_hook(hook);
    sink_refuse(mail, 550);
    sink_refuse(hook, 500);
    assert_int_equal(send_it(), ERR_DENIED);
    assert_int_equal(sent, 0);
    expect_cause("mail: refused by the server: ");
    expect_cause("550");
    expect_cause("; webhook: refused by the server: ");
    expect_cause(" answered 500");
    snprintf(config.alert_mail_password_file.text, SETTING_TEXT_SIZE, "%s/%0190d", dir, 0);
    strcpy(config.alert_mail_user.text, "consilium");
    assert_int_equal(send_it(), ERR_DENIED);
    expect_cause("mail: not found: ");
    expect_cause(" answered 500");
    sink_stop(mail);
    sink_stop(hook);
}

/* A certificate for another name is no certificate. */
static void test_wrong_name(void **state)
{
    (void)state;
    struct sink *s = sink_start(SINK_HTTPS, ca);
    set_hook(s);
    snprintf(config.alert_webhook.text, SETTING_TEXT_SIZE, "https://127.0.0.1:%u/", sink_port(s));
    assert_int_equal(send_it(), ERR_TLS);
    assert_int_equal(sink_count(s, NULL), 0);
    sink_stop(s);
}

static void test_unreachable(void **state)
{
    (void)state;
    struct sink *s = sink_start(SINK_HTTPS, ca);
    set_hook(s);
    sink_stop(s);
    assert_int_equal(send_it(), ERR_UNREACHABLE);
}

static void *stop_later(void *data)
{
    usleep(50000);
    atomic_store((atomic_bool *)data, true);
    return NULL;
}

/* A server without a word holds nobody up: the node may stop at any moment. */
static void test_stopped(void **state)
{
    (void)state;
    atomic_bool stop = false;
    pthread_t thread;
    struct sink *s = sink_start(SINK_HTTPS, ca);
    set_hook(s);
    sink_hang(s);
    assert_int_equal(pthread_create(&thread, NULL, stop_later, &stop), 0);
    assert_int_equal(alert_send(&sent, ALERT_HOOK, &config, &message, &stop, NULL, &failure), ERR_CANCELED);
    pthread_join(thread, NULL);
    sink_stop(s);
}

static void test_settings(void **state)
{
    (void)state;
    static const struct {
        const char *server, *from, *to, *user, *password, *hook;
        const char *says; /* NULL: fine */
    } cases[] = {
        {"", "", "", "", "", "", NULL},
        {"smtps://h:465", "a@b", "c@d", "", "", "", NULL},
        {"smtp://h", "a@b", "c@d, e@f,g@h", "u", "/p", "https://h/", NULL},
        {"h:465", "a@b", "c@d", "", "", "", "alert-mail-server"},
        {"http://h", "a@b", "c@d", "", "", "", "alert-mail-server"},
        {"smtps://h", "", "c@d", "", "", "", "alert-mail-from"},
        {"smtps://h", "a@b>\r\nX: y", "c@d", "", "", "", "alert-mail-from"},
        {"smtps://h", "a@b", "", "", "", "", "alert-mail-to"},
        {"smtps://h", "a@b", "c@d, nobody", "", "", "", "nobody"},
        {"smtps://h", "a@b", "c@d>,<x@y", "", "", "", "alert-mail-to"},
        {"smtps://h", "a@b", "c@d", "u", "", "", "alert-mail-password-file"},
        {"smtps://h", "a@b", "c@d", "", "/p", "", "alert-mail-password-file"},
        {"", "a@b", "", "", "", "", "alert-mail-server"},
        {"", "", "", "", "", "http://h/", "alert-webhook"},
        {"", "", "", "", "", "ftp://h/", "alert-webhook"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        config_defaults(&config);
        strcpy(config.alert_mail_server.text, cases[i].server);
        strcpy(config.alert_mail_from.text, cases[i].from);
        strcpy(config.alert_mail_to.text, cases[i].to);
        strcpy(config.alert_mail_user.text, cases[i].user);
        strcpy(config.alert_mail_password_file.text, cases[i].password);
        strcpy(config.alert_webhook.text, cases[i].hook);
        failure.text[0] = 0;
        assert_int_equal(config_check(&config, &failure), cases[i].says ? ERR_INVALID : OK);
        if (cases[i].says && !strstr(failure.text, cases[i].says)) fail_msg("case %zu says: %s", i, failure.text);
    }
}

/* A file that is not there is found before there is an alarm, and only where it is used. */
static void test_settings_files(void **state)
{
    (void)state;
    config_defaults(&config);
    strcpy(config.alert_ca_file.text, "/no/such/ca");
    assert_int_equal(alert_files_check(&config, &failure), OK); /* nothing is sent */
    strcpy(config.alert_webhook.text, "https://h/");
    assert_int_not_equal(alert_files_check(&config, &failure), OK);
    assert_non_null(strstr(failure.text, "/no/such/ca"));
    strcpy(config.alert_ca_file.text, "/dev/null");
    assert_int_equal(alert_files_check(&config, &failure), OK);
    strcpy(config.alert_webhook_token_file.text, "/no/such/token");
    assert_int_not_equal(alert_files_check(&config, &failure), OK);
    assert_non_null(strstr(failure.text, "/no/such/token"));
    config.alert_webhook_token_file.text[0] = '\0';
    strcpy(config.alert_mail_password_file.text, "/no/such/password");
    assert_int_equal(alert_files_check(&config, &failure), OK);
    strcpy(config.alert_mail_server.text, "smtps://h:465");
    assert_int_not_equal(alert_files_check(&config, &failure), OK);
    assert_non_null(strstr(failure.text, "/no/such/password"));
}

/* The same alarm has one key, whoever sends it; others have others. */
static void test_key(void **state)
{
    (void)state;
    char a[96], b[96];
    alert_key(a, &message);
    message.sender = 4;
    message.alarm.claimed_by = 4;
    alert_key(b, &message);
    assert_string_equal(a, b);
    message.alarm.first++;
    alert_key(b, &message);
    assert_string_not_equal(a, b);
}

/* Of itself, without a majority: a message that says so, with a key that lasts as long as the finding. */
static void test_not_recorded(void **state)
{
    (void)state;
    char a[96], b[96];
    alert_key(a, &message);
    message.alarm.index = 0;
    message.alarm.named = message.alarm.raiser = message.sender = 2;
    alert_key(b, &message);
    assert_non_null(strstr(b, "-2-2-40-since1700000000000"));
    alert_mail_text(&got, &config, &message, 0);
    buffer_append(&got, "", 1);
    expect_text("\r\nSubject: Consilium ALARM: node node-2: deleted, index 40 to 41 (not recorded)\r\n");
    expect_text("Said by:   itself (NOT RECORDED in the ledger)\r\n");
    expect_text("reaches no majority");
    expect_text("Do not rely on what this node serves");
    assert_null(strstr((const char *)got.data, "leaf"));
    assert_null(strstr((const char *)got.data, "test message"));
    buffer_clear(&got);
    alert_json(&got, &message);
    json_t *json = json_loadb((const char *)got.data, got.size, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "event")), "alarm");
    assert_string_equal(json_string_value(json_object_get(json, "key")), b);
    assert_true(json_is_false(json_object_get(json, "recorded")) && json_is_null(json_object_get(json, "leaf")));
    json_decref(json);
}

static void test_log_full(void **state)
{
    (void)state;
    message.alarm = (struct alarm){.named = 1, .raiser = 1, .since_ms = 1700000000000};
    message.log_full = true;
    alert_mail_text(&got, &config, &message, 0);
    buffer_append(&got, "", 1);
    expect_text("\r\nSubject: Consilium ALARM: node node-1: log full, nothing more is recorded\r\n");
    expect_text("fewer than 3 nodes have co-signed");
    expect_text("\r\nSince:     2023-11-14T22:13:20Z\r\n");
    assert_null(strstr((const char *)got.data, "test"));
    buffer_clear(&got);
    alert_json(&got, &message);
    json_t *json = json_loadb((const char *)got.data, got.size, 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "event")), "log full");
    assert_non_null(strstr(json_string_value(json_object_get(json, "key")), "-full-1-1700000000000"));
    assert_string_equal(json_string_value(json_object_get(json, "since")), "2023-11-14T22:13:20Z");
    assert_null(json_object_get(json, "kind"));
    json_decref(json);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_not_recorded), TEST(test_log_full),
        TEST(test_mail),            TEST(test_starttls), TEST(test_never_in_the_clear), TEST(test_login),
        TEST(test_mail_refused),    TEST(test_webhook),  TEST(test_webhook_refused),    TEST(test_one_of_two),
        TEST(test_none_of_two),     TEST(test_wrong_name),      TEST(test_unreachable), TEST(test_stopped),         TEST(test_settings),
        TEST(test_key),             TEST(test_receiver_refused), TEST(test_places),
        TEST(test_every_kind),      TEST(test_settings_files),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
