/* Alarms reach people: by mail and by webhook, once in the whole cluster, whichever
 * nodes live and however often they restart. A node whose disk is set back is the reason. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/files.h"
#include "tests/lib/foreign.h"
#include "tests/lib/sinks.h"
#include "tests/lib/unit.h"

#define SET_BACK 4
#define PATIENCE_S 120
#define QUIET_S 15 /* all nodes have had their turns by then */

static char settings[1200], auditor[ID_TEXT_SIZE], doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];
static struct buffer got;
static struct foreign foreign;

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    sinks_start(SINK_STARTTLS);
    sink_login(mail, "node", "secret");
    shell("echo secret >password");
    snprintf(settings, sizeof settings,
             "--alert-mail-server smtp://localhost:%u --alert-mail-from node@example.org --alert-mail-to "
             "admin@example.org "
             "--alert-mail-user node --alert-mail-password-file %s/password --alert-webhook https://localhost:%u/ "
             "--alert-ca-file %s/ca.pem", sink_port(mail), bed.dir, sink_port(hook), bed.dir);
    bed.extra = settings;
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, PATIENCE_S);
    testbed_user(&bed, "auditor", "Hospital 1", "auditor", auditor);
    testbed_care(&bed, doctor, patient);
    return 0;
}

static int teardown(void **state)
{
    buffer_free(&got);
    foreign_stop(&foreign);
    return sinks_end(state);
}

static void add_events(int count)
{
    for (int i = 0; i < count; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print B-%d", bed.dir, patient, i);
}

/* A node claims how far it came about once a second: what it did after its last claim can't be held against it. */
static bool set_back_after(unsigned seconds)
{
    testbed_signal(&bed, SET_BACK, SIGTERM);
    shell("rm -rf kept-4 && cp -a node-4 kept-4");
    testbed_start(&bed, SET_BACK);
    testbed_wait_ready(&bed, PATIENCE_S);
    add_events(5);
    sleep(seconds);
    testbed_signal(&bed, SET_BACK, SIGKILL);
    shell("rm -rf node-4 && mv kept-4 node-4");
    testbed_start(&bed, SET_BACK);
    for (int i = 0; i < 100 && !testbed_log_has(&bed, SET_BACK, "it was set back"); i++) usleep(100000);
    return testbed_log_has(&bed, SET_BACK, "it was set back");
}

static void set_back(void)
{
    unsigned seconds = 2;
    while (!set_back_after(seconds) && seconds < 30) seconds *= 2;
    if (seconds >= 30) testbed_fail(&bed, "node %d does not notice that its disk is old", SET_BACK);
}

/* What an auditor sees of the telling: so many entries of alarm.tell, approved. */
static unsigned tellings(void)
{
    unsigned count = 0;
    testbed_cli(&bed, &out, &errors, "-i %s/auditor.key --json log --all --action alarm.tell --decision approved",
                bed.dir);
    for (const char *at = text(); (at = strstr(at, "\"alarm.tell\"")); at++) count++;
    return count;
}

static void wait_for_tellings(unsigned count)
{
    uint64_t end = clock_monotonic_ns() + (uint64_t)PATIENCE_S * 1000000000u;
    while (tellings() < count) {
        if (clock_monotonic_ns() > end) testbed_fail(&bed, "%u tellings are not in the ledger", count);
        usleep(200000);
    }
}

static void expect_in(struct sink *s, const char *words)
{
    sink_count(s, &got);
    if (!strstr((const char *)got.data, words))
        testbed_fail(&bed, "\"%s\" is not in:\n%s", words, (const char *)got.data);
}

static void read_got(const char *name)
{
    buffer_clear(&got);
    assert_int_equal(file_read(&got, in_bed(name), MIB, NULL), OK);
    buffer_append(&got, "", 1);
}

/* consiliumd's exit code; what it says goes to `got`. */
static int alert_test(const char *words)
{
    char command[2500];
    snprintf(command, sizeof command, "%s/consiliumd alert-test --dir %s/node-2 --genesis %s %s >%s 2>&1", build(),
             bed.dir, bed.genesis, words, in_bed("alert-test.out"));
    int status = system(command);
    assert_true(WIFEXITED(status));
    read_got("alert-test.out");
    return WEXITSTATUS(status);
}

static void expect_got(const char *words)
{
    if (!strstr((const char *)got.data, words))
        testbed_fail(&bed, "\"%s\" is not in:\n%s", words, (const char *)got.data);
}

static void a_test_message_arrives(void **state)
{
    (void)state;
    assert_int_equal(alert_test(settings), 0); /* beside the node that runs */
    assert_int_equal(sink_count(mail, NULL), 1);
    assert_int_equal(sink_count(hook, NULL), 1);
    expect_in(mail, "Subject: Consilium: test message of node node-2");
    expect_in(hook, "\"event\":\"test\"");
    assert_int_not_equal(alert_test(""), 0); /* no way is set up */
}

/* --- servers that share no code with ours --- */

/* Of a mail or post that came, which no other follows. */
static void expect_came(const char *kind, unsigned count, const char *const words[static 4])
{
    char name[40];
    snprintf(name, sizeof name, "foreign/%s-%u", kind, count + 1);
    if (access(in_bed(name), F_OK) == 0) testbed_fail(&bed, "there is a %s more than %u", kind, count);
    snprintf(name, sizeof name, "foreign/%s-%u", kind, count);
    if (count == 0) return;
    read_got(name);
    for (unsigned i = 0; i < 4; i++) expect_got(words[i]);
}

static void expect_mails(unsigned count)
{
    expect_came("mail", count, (const char *const[]){"tls: TLSv1.", "login: node", "to: admin@example.org",
                                                     "Subject: Consilium: test message of node node-2"});
}

static void expect_posts(unsigned count)
{
    expect_came("post", count, (const char *const[]){"tls: TLSv1.", "type: application/json", "path: /alarms",
                                                     "\"event\":\"test\""});
}

static int alert_foreign(const char *scheme, unsigned mail_port, const char *more)
{
    char words[1200];
    snprintf(words, sizeof words, "--alert-mail-server %s://localhost:%u --alert-mail-from node@example.org "
             "--alert-mail-to admin@example.org --alert-webhook https://localhost:%u/alarms %s", scheme, mail_port,
             foreign.https, more);
    return alert_test(words);
}

static void servers_of_others_take_it(void **state)
{
    (void)state;
    char login[600], wrong[600], stranger[600];
    static const char format[] = "--alert-mail-user node --alert-mail-password-file %s --alert-ca-file %s";
    shell("mkdir foreign && echo other >wrong");
    if (!foreign_start(&foreign, &bed, in_bed("foreign"), "secret")) {
        print_message("skipped: python3-aiosmtpd or openssl is not installed\n");
        skip();
    }
    snprintf(login, sizeof login, format, in_bed("password"), in_bed("foreign/ca.pem"));
    snprintf(wrong, sizeof wrong, format, in_bed("wrong"), in_bed("foreign/ca.pem"));
    snprintf(stranger, sizeof stranger, format, in_bed("password"), in_bed("mail.pem"));
    assert_int_equal(alert_foreign("smtp", foreign.starttls, login), 0);
    expect_got("mail to admin@example.org: sent");
    expect_mails(1);
    expect_posts(1);
    assert_int_equal(alert_foreign("smtps", foreign.smtps, login), 0);
    expect_mails(2);
    expect_posts(2);
    assert_int_equal(alert_foreign("smtp", foreign.starttls, wrong), 1);
    expect_got("the server refused the login or the token");
    expect_posts(3); /* the other way still goes */
    assert_int_equal(alert_foreign("smtps", foreign.smtps, wrong), 1);
    expect_got("the server refused the login or the token");
    expect_posts(4);
    assert_int_equal(alert_foreign("smtps", foreign.smtps, stranger), 1); /* another one's certificate is trusted */
    expect_got("consiliumd: mail to admin@example.org: TLS failed: ");
    expect_got("/alarms: TLS failed: ");
    expect_mails(2);
    expect_posts(4);
    foreign_stop(&foreign);
}

/* Who has the claim, and finds that nobody takes its messages; 0: nobody so far. */
static unsigned sender(void)
{
    for (unsigned node = 1; node <= bed.n; node++)
        if (testbed_log_has(&bed, node, "could not be sent")) return node;
    return 0;
}

/* Between the claim and the message. The claim is in the ledger, so that nobody else tells people meanwhile; it
 * goes on with it once it is back. (That others take over a claim that has run out: tests/unit/ledger/test_alarm.c.) */
static unsigned the_sender_dies(void)
{
    uint64_t end = clock_monotonic_ns() + (uint64_t)PATIENCE_S * 1000000000u;
    wait_for_tellings(1);
    while (sender() == 0) {
        if (clock_monotonic_ns() > end) testbed_fail(&bed, "nobody tries to send");
        usleep(100000);
    }
    unsigned dead = sender();
    testbed_signal(&bed, dead, SIGKILL);
    sink_refuse(mail, 0);
    testbed_start(&bed, dead);
    return dead;
}

/* By the way that still failed it goes on, although the ledger says that people were told; if it is away for too long,
 * another one does. */
static void it_dies_again(unsigned dead, unsigned posts)
{
    uint64_t end = clock_monotonic_ns() + 2 * (uint64_t)PATIENCE_S * 1000000000u;
    testbed_signal(&bed, dead, SIGKILL);
    sink_refuse(hook, 0);
    testbed_start(&bed, dead);
    while (testbed_cli(&bed, &out, &errors, "--json alarm list") != 0 || !strstr(text(), "by mail and webhook")) {
        if (clock_monotonic_ns() > end) testbed_fail(&bed, "node %u has forgotten the webhook:\n%s", dead, text());
        usleep(100000);
    }
    assert_int_equal(sink_count(hook, NULL), posts);
}

static void an_alarm_is_told_once(void **state)
{
    (void)state;
    unsigned mails = sink_count(mail, NULL), posts = sink_count(hook, NULL);
    sink_refuse(mail, 451);
    sink_refuse(hook, 503);
    set_back();
    unsigned node_that_sends = the_sender_dies();
    wait_for_tellings(2); /* claims, and that it was sent */
    assert_int_equal(sink_count(mail, NULL), mails + 1);
    assert_int_equal(sink_count(hook, NULL), posts);
    it_dies_again(node_that_sends, posts + 1);
    assert_int_equal(sink_count(mail, NULL), mails + 1);
    assert_int_equal(sink_count(hook, NULL), posts + 1);
    unsigned tellings_in_all = tellings();
    assert_true(tellings_in_all >= 4); /* of the webhook a claim, and that it was sent, too */
    expect_in(mail, "Subject: Consilium ALARM: node node-4: rolled back");
    expect_in(mail, "RCPT TO:<admin@example.org>");
    expect_in(hook, "\"kind\":\"rolled back\"");
    expect_in(hook, "\"name\":\"node-4\"");
    for (unsigned node = 1; node <= bed.n; node++) testbed_signal(&bed, node, SIGKILL);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, PATIENCE_S);
    add_events(2);
    sleep(QUIET_S);
    assert_int_equal(sink_count(mail, NULL), mails + 1);
    assert_int_equal(sink_count(hook, NULL), posts + 1);
    assert_int_equal(tellings(), tellings_in_all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_test_message_arrives),
        cmocka_unit_test(servers_of_others_take_it),
        cmocka_unit_test(an_alarm_is_told_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
