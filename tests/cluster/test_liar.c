/* One of four nodes lies: nothing is released because of it, it is named where its
 * lie is signed, and the honest nodes go on. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/testbed.h"
#include "tests/lib/unit.h"

#define LIAR 4

static struct testbed bed;
static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], record[ID_TEXT_SIZE];
static struct buffer out, errors;

static const char *text(void) { return out.data ? (const char *)out.data : ""; }
static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }

static void begin(const char *program)
{
    testbed_make(&bed, 4, 1);
    bed.program[LIAR] = program;
    testbed_start_all(&bed);
}

static void people_and_a_record(void)
{
    testbed_care(&bed, doctor, patient);
    testbed_record(&bed, record, patient, "the truth");
}

static void end(void)
{
    testbed_end(&bed);
    buffer_free(&out);
    buffer_free(&errors);
}

static void opens_on_every_honest_node(void)
{
    for (unsigned node = 1; node <= 3; node++) {
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u record show %s", bed.dir, node, record);
        assert_string_equal(text(), "the truth");
    }
}

static bool honest_log_has(const char *what)
{
    for (unsigned node = 1; node <= 3; node++)
        if (testbed_log_has(&bed, node, what)) return true;
    return false;
}

static void wrong_shares_are_detected_and_named(void **state)
{
    (void)state;
    bool named = false;
    begin("liar --mode share");
    testbed_wait_ready(&bed, 60);
    people_and_a_record();
    opens_on_every_honest_node();
    /* Served by the liar itself, its own share is always among those that come. */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --via node-4 record show %s", bed.dir,
                                     record), 0);
        assert_string_equal(text(), "the truth");
        named = named || strstr(said(), "node-4");
    }
    assert_true(named);
    end();
}

static bool chart_is_whole(void)
{
    return strstr(text(), "the truth") && strstr(text(), "and the rest of it");
}

static bool record_is_there(void) { return strstr(text(), "the truth"); }

#define SHORTENED "node-4 answered with another list than this read opened"
#define OTHER_ROW "node-4 answered with another record, version, patient, author"

/* The next command begins with any node, not with the one that answered last. */
static void forget_node(void)
{
    char command[sizeof bed.dir + 20];
    snprintf(command, sizeof command, "rm -rf '%s/.cache'", bed.dir);
    assert_int_equal(system(command), 0);
}

/* The liar alone is refused; who may choose asks another node. */
static void is_noticed(const char *command, const char *of, const char *what, bool (*right)(void))
{
    bool elsewhere = false;
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --via node-4 %s %s", bed.dir, command, of), 6);
    assert_non_null(strstr(said(), what));
    assert_int_equal(out.size, 0);
    for (int i = 0; i < 200 && !elsewhere; i++) {
        forget_node();
        assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key %s %s", bed.dir, command, of), 0);
        assert_true(right());
        elsewhere = strstr(said(), what) && strstr(said(), "asking another node");
    }
    assert_true(elsewhere);
}

/* What a chart has is not the serving node's word: k nodes have signed it, or another one is asked. */
static void a_shortened_chart_is_noticed(void **state)
{
    (void)state;
    char second[ID_TEXT_SIZE];
    begin("liar --mode list");
    testbed_wait_ready(&bed, 60);
    people_and_a_record();
    is_noticed("record show --patient", patient, SHORTENED, record_is_there); /* of one record, nothing is left */
    testbed_record(&bed, second, patient, "and the rest of it");
    is_noticed("record show --patient", patient, SHORTENED, chart_is_whole);
    is_noticed("record show", record, "another record than was asked for", record_is_there);
    end();
}

/* Rows that do not fit what was opened are those of whoever answered, and another node's are right. */
static void a_wrong_row_is_noticed(void **state)
{
    (void)state;
    char second[ID_TEXT_SIZE];
    begin("liar --mode row");
    testbed_wait_ready(&bed, 60);
    people_and_a_record();
    testbed_record(&bed, second, patient, "and the rest of it");
    is_noticed("record show", record, OTHER_ROW, record_is_there);
    is_noticed("record show --patient", patient, OTHER_ROW, chart_is_whole);
    end();
}

static void wrong_subshares_exclude_their_dealer(void **state)
{
    (void)state;
    begin("liar --mode key");
    testbed_wait_ready(&bed, 60);
    assert_true(honest_log_has("the sub-share of node 4 (node-4) is wrong"));
    people_and_a_record();
    opens_on_every_honest_node();
    end();
}

static void no_entry_has_the_liars_time(void)
{
    char now[64], last[64];
    time_t later = time(NULL) + 600;
    struct tm tm;
    gmtime_r(&later, &tm);
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%S", &tm);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json log -n 1", bed.dir);
    testbed_json(&out, "0.time", last, sizeof last);
    assert_true(strcmp(last, now) < 0);
}

static unsigned leader_now(void)
{
    char path[32], leads[16];
    if (testbed_cli(&bed, &out, &errors, "--json status") != 0) return 0;
    for (unsigned node = 1; node <= 4; node++) {
        snprintf(path, sizeof path, "members.%u.leads", node - 1);
        testbed_json(&out, path, leads, sizeof leads);
        if (strcmp(leads, "true") == 0) return node;
    }
    return 0;
}

static void a_wrong_clock_freezes_nobody(void **state)
{
    (void)state;
    begin("liar --mode time");
    /* The liar may lead for a while: its blocks are refused, and another node takes over. */
    for (int i = 0; i < 1200; i++) {
        bool ready = true;
        for (unsigned node = 1; node <= 3; node++)
            ready = ready && testbed_log_has(&bed, node, " ready: ");
        if (ready) break;
        usleep(50000);
    }
    people_and_a_record();
    opens_on_every_honest_node();
    /* The leader is killed until the liar has led, or had every chance to. */
    for (unsigned i = 0; i < 20 && !testbed_log_has(&bed, LIAR, "this node leads"); i++) {
        unsigned leader = leader_now();
        if (leader == 0 || leader == LIAR) continue;
        testbed_signal(&bed, leader, SIGKILL);
        usleep(2500000);
        testbed_start(&bed, leader);
        usleep(500000);
    }
    bool led = testbed_log_has(&bed, LIAR, "this node leads");
    printf("the liar %s\n", led ? "led" : "never led");
    /* Whose blocks these are stands under them: it is named. */
    for (int i = 0; led && i < 1200 && !honest_log_has("ALARM: node 4 (node-4) leads, but its blocks can't be taken");
         i++)
        usleep(50000);
    assert_true(!led || honest_log_has("ALARM: node 4 (node-4) leads, but its blocks can't be taken"));
    int code = 5;
    for (int i = 0; i < 4 && code != 0; i++)
        code = testbed_cli(&bed, &out, &errors, "-i %s/doctor.key event add %s still here", bed.dir, patient);
    if (code != 0) testbed_fail(&bed, "the liar froze the ledger: %s", said());
    no_entry_has_the_liars_time();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_shares_are_detected_and_named),
        cmocka_unit_test(a_shortened_chart_is_noticed),
        cmocka_unit_test(a_wrong_row_is_noticed),
        cmocka_unit_test(wrong_subshares_exclude_their_dealer),
        cmocka_unit_test(a_wrong_clock_freezes_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
