/* verify against real nodes: one whole ledger, one altered in each way that its
 * administrator could think of, nodes that are away, frozen, or all gone.
 *
 * TIMES=n in the environment: so many verifications where nothing is wrong (32). */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE];

static int setup(void **state)
{
    char when[400];
    (void)state;
    testbed_make(&bed, 4, 1);
    bed.extra = "--scrub-pause 0"; /* pass after pass, at the rate that it has by default */
    bed.program[4] = "liar --mode note"; /* as honest as all others until it is told how to lie */
    snprintf(when, sizeof when, "%s/lie", bed.dir);
    setenv("LIAR_WHEN", when, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 2", "auditor", auditor);
    for (int i = 0; i < 12; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print B-%d", bed.dir, patient, i);
    return 0;
}

/* Exit code, with both outputs kept. */
static int verify(const char *options)
{
    return testbed_cli(&bed, &out, &errors, "-i %s/auditor.key %s", bed.dir, options);
}

static void expect_verify(int code, const char *options, const char *words)
{
    int got = verify(options);
    if (got != code || (words && !strstr(text(), words)))
        testbed_fail(&bed, "%s: exit %d, expected %d with \"%s\"\n%s%s", options, got, code, words ? words : "", text(),
                     said());
}

/* What an administrator does to a node that is down. */
static void tamper_of(unsigned node, const char *words)
{
    char command[600];
    testbed_signal(&bed, node, SIGTERM);
    snprintf(command, sizeof command, "%s/tamper --dir %s/node-%u %s", build(), bed.dir, node, words);
    if (system(command) != 0) testbed_fail(&bed, "%s failed", command);
    testbed_start(&bed, node);
    testbed_wait_ready(&bed, 30);
}

static void tamper(const char *how, unsigned index)
{
    char words[100];
    snprintf(words, sizeof words, "%s %u", how, index);
    tamper_of(4, words);
}

static void tamper_row(const char *how, const char *table, unsigned index)
{
    char words[40];
    snprintf(words, sizeof words, "%s %s", how, table);
    tamper(words, index);
}

/* The entry of an approved event. */
static unsigned event_entry(void)
{
    char index[20];
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json log --all --action event.add --limit 5", bed.dir);
    testbed_json(&out, "4.index", index, sizeof index);
    return (unsigned)atoi(index);
}

/* These nodes throw their states away, and derive them anew. The others take back what they said of them when all
 * digest their states again. */
static void derive_anew(unsigned first, unsigned last)
{
    for (unsigned node = first; node <= last; node++) {
        testbed_signal(&bed, node, SIGTERM);
        shell("rm -rf node-%u/state", node);
        testbed_start(&bed, node);
    }
    testbed_wait_ready(&bed, 60);
}

static void expect_fine_again(void)
{
    for (int i = 0; i < 100 && verify("verify --all") != 0; i++) usleep(200000);
    expect_verify(0, "verify --all", "4 of 4");
}

static void expect_wrong_json(unsigned index)
{
    char number[20];
    snprintf(number, sizeof number, "%u", index);
    expect_verify(6, "--json verify --all", NULL);
    json_is("verdict", "failed");
    json_is("nodes.0.verdict", "fine");
    json_is("nodes.3.name", "node-4");
    json_is("nodes.3.verdict", "wrong");
    json_is("nodes.3.first_wrong", number);
    json_is("states.verdict", "compromised");
    json_is("states.nodes.0.state", "equal");
    json_is("states.nodes.3.state", "DIFFERS");
}

/* By itself first: asked to digest its state, it finds itself that it is wrong. */
static void expect_named(unsigned index, bool json)
{
    char words[100];
    snprintf(words, sizeof words, "wrong from entry %u on", index);
    expect_verify(6, "--via node-4 verify", words);
    expect_verify(0, "--via node-1 verify", "verdict: fine");
    if (json) {
        expect_wrong_json(index);
    } else {
        expect_verify(6, "verify --all", words);
        assert_non_null(strstr(text(), "node-4: checked"));
        assert_non_null(strstr(text(), "verdict: FAILED. node-4's ledger is wrong"));
        assert_non_null(strstr(text(), "3 of 4 hold"));
        assert_non_null(strstr(text(), "COMPROMISED: node-4 (in: "));
        assert_non_null(strstr(text(), "has not the state of the 3 nodes that agree"));
    }
    derive_anew(4, 4);
    expect_fine_again();
}

static void a_whole_ledger_is_fine(void **state)
{
    (void)state;
    expect_verify(0, "verify", "verdict: fine");
    assert_non_null(strstr(text(), ": checked "));
    expect_verify(0, "verify --all", "4 of 4 nodes hold exactly them");
    assert_non_null(strstr(text(), "verified here before"));
    expect_verify(0, "--json verify --all", NULL);
    char size[20], checked[20];
    testbed_json(&out, "nodes.2.size", size, sizeof size);
    testbed_json(&out, "nodes.2.checked", checked, sizeof checked);
    assert_string_equal(size, checked);
    json_is("verdict", "fine");
    json_is("nodes.2.first_wrong", "null");
}

static void only_auditors_may(void **state)
{
    (void)state;
    testbed_expect(&bed, 3, &out, "-i %s/doctor.key verify", bed.dir);
    testbed_expect(&bed, 4, &out, "verify");
    testbed_expect(&bed, 2, &out, "-i %s/auditor.key --via node-1 verify --all", bed.dir);
}

/* A node that shows an altered row can't prove it; the others' rows are proved. */
static void expect_unproved(unsigned index)
{
    char words[100];
    snprintf(words, sizeof words, "entry %u, as node-4 shows it, is not what the nodes co-signed", index);
    assert_int_equal(verify("--via node-4 log --all --action event.add"), 6);
    if (!strstr(said(), words)) testbed_fail(&bed, "expected \"%s\", got %s", words, said());
    assert_int_equal(verify("--via node-1 --json log --all --action event.add --limit 1"), 0);
    json_is("0.proved", "true");
}

static void altered_entries_are_named(void **state)
{
    (void)state;
    unsigned index = event_entry();
    tamper("leaf", index);
    expect_unproved(index);
    expect_named(index, false);
    tamper("swap", index - 1);
    expect_named(index - 1, true);
}

/* Node 4's ledger and node 3's state are altered: what is right is what two of four say. */
static void a_wrong_ledger_hides_no_state(void **state)
{
    (void)state;
    char words[100], role[100];
    unsigned index = event_entry();
    snprintf(role, sizeof role, "role %s:nurse", patient);
    tamper_of(3, role);
    tamper("leaf", index);
    snprintf(words, sizeof words, "wrong from entry %u on", index);
    expect_verify(6, "verify --all", words);
    assert_non_null(strstr(text(), "COMPROMISED: node-3 (in: user); node-4 (in: "));
    assert_non_null(strstr(text(), "has not the state of the 2 nodes that agree"));
    assert_non_null(strstr(text(), "verdict: FAILED. node-4's ledger is wrong"));
    assert_non_null(strstr(text(), "but node-3 is wrong in its state"));
    for (unsigned node = 3; node <= 4; node++) testbed_await_log(&bed, node, "QUARANTINED");
    derive_anew(3, 4);
    expect_fine_again();
}

/* The leaf is right; the record that belongs to it was altered on one node. */
static void an_altered_record_is_named(void **state)
{
    (void)state;
    char index[20], words[100];
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record create --patient %s --kind Note %s/genesis", bed.dir,
                   patient, bed.dir);
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json log --all --action record.create --limit 1", bed.dir);
    testbed_json(&out, "0.index", index, sizeof index);
    expect_verify(0, "verify --all", "4 of 4");
    tamper("attachment", (unsigned)atoi(index));
    snprintf(words, sizeof words, "altered in its content from entry %s on", index);
    expect_verify(6, "verify --all", words);
    assert_non_null(strstr(text(), "verdict: FAILED. node-4's ledger is altered in its content"));
    expect_verify(6, "--json verify --all", NULL);
    json_is("nodes.3.first_wrong", index);
    json_is("nodes.1.verdict", "fine");
    expect_verify(6, "--via node-4 verify", words);
    tamper("attachment", (unsigned)atoi(index));
    expect_verify(0, "verify --all", "4 of 4");
}

static struct buffer cached(void)
{
    char command[600];
    struct buffer content = {0};
    snprintf(command, sizeof command, "cat %s/.cache/consilium/*/checkpoint", bed.dir);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    for (int c; (c = fgetc(f)) != EOF;) buffer_append(&content, &(char){(char)c}, 1);
    assert_int_equal(pclose(f), 0);
    return content;
}

static void a_removed_entry_is_named(void **state)
{
    (void)state;
    unsigned index = event_entry();
    tamper("remove", index + 2);
    struct buffer before = cached();
    char words[60];
    snprintf(words, sizeof words, "wrong from entry %u on", index + 2);
    expect_verify(6, "--via node-4 verify", words);
    struct buffer after = cached(); /* kept from the last good one */
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, after.size);
    buffer_free(&before);
    buffer_free(&after);
    expect_named(index + 2, false);
}

/* The file is sound, but a byte of an entry is another; and entries from one on are gone. */
static void other_bytes_and_a_cut_are_named(void **state)
{
    (void)state;
    char size[20];
    unsigned index = event_entry();
    tamper_row("alter", "leaf", index);
    expect_named(index, false);
    testbed_expect(&bed, 0, &out, "--via node-4 --json status");
    testbed_json(&out, "members.3.size", size, sizeof size);
    index = (unsigned)atoi(size) - 1;
    tamper_row("drop", "leaf", index);
    expect_named(index, true);
}

/* --- checkpoints that are none --- */

static void lie(const char *word)
{
    FILE *f = fopen(getenv("LIAR_WHEN"), "w");
    assert_non_null(f);
    fprintf(f, "%s\n", word);
    fclose(f);
}

/* The last good checkpoint stays the one that later ledgers have to go on from. */
static void expect_not_cosigned(const char *word, const char *why)
{
    struct buffer before = cached(), after;
    lie(word);
    expect_verify(6, "--via node-4 verify", why);
    after = cached();
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, after.size);
    buffer_free(&before);
    buffer_free(&after);
    expect_verify(6, "verify --all", why);
    assert_non_null(strstr(text(), "verdict: FAILED. node-4's ledger is not co-signed"));
    assert_non_null(strstr(text(), "3 of 4 hold"));
    expect_verify(6, "--json verify --all", NULL);
    json_is("nodes.2.verdict", "fine");
    json_is("nodes.3.name", "node-4");
    json_is("nodes.3.verdict", "not co-signed");
}

static void a_checkpoint_that_is_none_is_named(void **state)
{
    (void)state;
    expect_not_cosigned("few", "2 of its nodes cosigned it, but it needs 3");
    expect_not_cosigned("twice", "cosigned it twice");
    expect_not_cosigned("stranger", "2 of its nodes cosigned it, but it needs 3; others don't count");
    expect_not_cosigned("cluster", "it is of another cluster");
    expect_not_cosigned("fork", "is not one of this text");
    unlink(getenv("LIAR_WHEN"));
    expect_verify(0, "verify --all", "4 of 4");
}

/* --- a ledger that was rewritten as a whole --- */

/* The node that the client asks first, without --via. */
static void ask_first(const char *name)
{
    shell("for d in .cache/consilium/*/; do printf %s > $d/node; done", name);
}

static void expect_same_note(struct buffer *before)
{
    struct buffer after = cached();
    assert_int_equal(before->size, after.size);
    assert_memory_equal(before->data, after.data, after.size);
    buffer_free(before);
    buffer_free(&after);
}

/* By all nodes together; by itself it shows a checkpoint that is none. */
static void expect_rewritten(unsigned index, const char *why_not)
{
    char words[100];
    snprintf(words, sizeof words, "wrong from entry %u on", index);
    expect_verify(6, "verify --all --wait 2", words);
    assert_non_null(strstr(text(), "verdict: FAILED. node-4's ledger is wrong"));
    assert_non_null(strstr(text(), "3 of 4 hold"));
    struct buffer before = cached();
    if (verify("--via node-4 checkpoint") == 0 || !strstr(said(), why_not))
        testbed_fail(&bed, "expected \"%s\", got %s", why_not, said());
    expect_same_note(&before);
}

/* The strongest of nodes that are alone: entry, chain, tree, every table and a checkpoint of its own fit together, and
 * whatever its peers prove, it goes on. */
static void a_forged_ledger_is_named(void **state)
{
    (void)state;
    unsigned index = event_entry();
    lie("stubborn");
    tamper("forge-copied", index + 1);
    ask_first("node-4");
    expect_rewritten(index + 1, "is not one of this text");
    tamper("forge", index);
    ask_first("node-1");
    expect_rewritten(index, "1 of its nodes cosigned it, but it needs 3");
    struct buffer before = cached();
    if (verify("--via node-4 --timeout 2 verify") == 0) testbed_fail(&bed, "node 4 verifies: %s", text());
    expect_same_note(&before);
    tamper("cut", index - 1);
    expect_rewritten(index - 1, "there is no co-signed checkpoint yet");
    unlink(getenv("LIAR_WHEN"));
    derive_anew(4, 4);
    expect_fine_again();
}

/* What stands in its log comes back from there; what contradicts its peers is noticed with the next entry. */
static void a_rewritten_node_mends_itself(void **state)
{
    (void)state;
    unsigned index = event_entry();
    tamper("cut-back", index);
    expect_verify(0, "verify --all", "4 of 4");
    tamper("forge", index);
    for (int i = 0; i < 300 && (verify("verify --all") != 0 || !strstr(text(), "4 of 4")); i++) usleep(200000);
    expect_verify(0, "verify --all", "4 of 4");
    assert_true(testbed_life_has(&bed, 4, "rebuilt: the old state was set aside"));
    testbed_expect(&bed, 0, &out, "alarm list --all --json");
    if (!strstr(text(), "modified")) testbed_fail(&bed, "node 4 raised no alarm: %s", text());
}

static void a_damaged_note_of_last_time_is_said(void **state)
{
    (void)state;
    char command[600];
    snprintf(command, sizeof command, "for f in %s/.cache/consilium/*/checkpoint; do echo nonsense >$f; done", bed.dir);
    assert_int_equal(system(command), 0);
    expect_verify(0, "verify", "verdict: fine");
    assert_non_null(strstr(said(), "is damaged and is not used"));
    expect_verify(0, "verify", "verified here before");
}

static void nodes_that_are_away_are_said(void **state)
{
    (void)state;
    testbed_signal(&bed, 3, SIGTERM);
    expect_verify(0, "verify --all", "node-3: unreachable");
    assert_non_null(strstr(text(), "3 of 4 nodes hold"));
    assert_non_null(strstr(said(), "1 of 4 nodes could not be verified"));
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 30);
    testbed_signal(&bed, 3, SIGSTOP); /* takes connections, and says nothing */
    if (verify("--timeout 3 verify --all") != 0) /* the others need longer where this machine is slow */
        expect_verify(0, "--timeout 15 verify --all", "node-3: unreachable");
    assert_non_null(strstr(text(), "node-3: unreachable"));
    testbed_signal(&bed, 3, SIGCONT);
}

/* It runs a tenth of the time: each answer comes late, and right. (How late all of them together may be:
 * tests/unit/cli/test_ledger_node.c.) */
static pid_t slow_down(unsigned node)
{
    pid_t brake = fork();
    if (brake != 0) return brake;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        kill(bed.pids[node], SIGSTOP);
        usleep(180000);
        kill(bed.pids[node], SIGCONT);
        usleep(20000);
    }
}

static void a_slow_node_is_waited_for(void **state)
{
    (void)state;
    pid_t brake = slow_down(3);
    expect_verify(0, "verify --all", "4 of 4");
    expect_verify(0, "--via node-3 verify", "verdict: fine");
    kill(brake, SIGKILL);
    waitpid(brake, NULL, 0);
    testbed_signal(&bed, 3, SIGCONT);
}

/* --- an old copy of a disk --- */

/* Its peers keep how far it claimed to have come, about once a second: after longer waits they surely know. */
static bool set_back_after(unsigned seconds)
{
    testbed_signal(&bed, 4, SIGTERM);
    shell("rm -rf kept && cp -a node-4 kept");
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 60);
    for (int i = 0; i < 5; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print S-%d", bed.dir, patient, i);
    sleep(seconds);
    testbed_signal(&bed, 4, SIGKILL);
    shell("rm -rf node-4 && mv kept node-4");
    testbed_start(&bed, 4);
    for (int i = 0; i < 100 && !testbed_log_has(&bed, 4, "it was set back"); i++) usleep(100000);
    return testbed_log_has(&bed, 4, "it was set back");
}

static void a_node_set_back_is_named(void **state)
{
    (void)state;
    unsigned seconds = 2;
    while (!set_back_after(seconds) && seconds < 30) seconds *= 2;
    if (seconds >= 30) testbed_fail(&bed, "node 4 does not notice that its disk is old");
    expect_verify(6, "verify --all", "verdict: FAILED. node-4's ledger is rolled back");
    assert_non_null(strstr(text(), "its disk is older than what it has signed"));
    assert_non_null(strstr(text(), "3 of 4 hold"));
    expect_verify(6, "--json verify --all", NULL);
    json_is("verdict", "failed");
    json_is("nodes.2.verdict", "fine");
    json_is("nodes.3.verdict", "rolled back");
    expect_verify(6, "--via node-4 verify", "rolled back");
}

static void expect_no_alarm_ever(void)
{
    testbed_expect(&bed, 0, &out, "alarm list --all --json");
    if (strstr(text(), "\"kind\"")) testbed_fail(&bed, "there is an alarm: %s", text());
}

static unsigned long scrub_counter(unsigned node, const char *name)
{
    char path[60], value[32];
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --via node-%u --json status", bed.dir, node);
    snprintf(path, sizeof path, "counters.scrub_%s", name);
    testbed_json(&out, path, value, sizeof value);
    return strtoul(value, NULL, 10);
}

/* Nothing is found where nothing is, while the ledger grows and every node scrubs its own, whichever node is asked. */
static void time_and_again_nothing(void **state)
{
    (void)state;
    char options[60];
    const char *times = getenv("TIMES");
    unsigned count = times ? (unsigned)atoi(times) : 32;
    unsigned long passes[5];
    for (unsigned node = 1; node <= 4; node++) passes[node] = scrub_counter(node, "passes");
    for (unsigned i = 0; i < count; i++) {
        snprintf(options, sizeof options, i % 8 ? "--via node-%u verify" : "verify --all", 1 + i % 4);
        expect_verify(0, options, "verdict: fine");
        if (i % 4 == 0)
            testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print H-%u", bed.dir, patient, i);
    }
    for (unsigned node = 1; node <= 4; node++) {
        for (int i = 0; i < 600 && scrub_counter(node, "passes") == passes[node]; i++) usleep(100000);
        if (scrub_counter(node, "passes") == passes[node]) testbed_fail(&bed, "node %u does not scrub", node);
        assert_int_equal(scrub_counter(node, "found"), 0);
    }
    expect_no_alarm_ever();
    bed.extra = "--scrub-rate 0"; /* of nodes started from now on: what is altered there stays so */
}

static void nobody_can_be_asked(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 4; i++) testbed_signal(&bed, i, SIGKILL);
    assert_int_equal(verify("--timeout 2 verify --all"), 5);
    assert_non_null(strstr(said(), "none of the 4 nodes"));
    testbed_start(&bed, 1); /* one alone records no export */
    usleep(500000);
    assert_int_equal(verify("--timeout 2 verify"), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_ledger_is_fine),
        cmocka_unit_test(time_and_again_nothing),
        cmocka_unit_test(only_auditors_may),
        cmocka_unit_test(a_rewritten_node_mends_itself),
        cmocka_unit_test(altered_entries_are_named),
        cmocka_unit_test(a_wrong_ledger_hides_no_state),
        cmocka_unit_test(an_altered_record_is_named),
        cmocka_unit_test(a_removed_entry_is_named),
        cmocka_unit_test(other_bytes_and_a_cut_are_named),
        cmocka_unit_test(a_checkpoint_that_is_none_is_named),
        cmocka_unit_test(a_forged_ledger_is_named),
        cmocka_unit_test(a_damaged_note_of_last_time_is_said),
        cmocka_unit_test(nodes_that_are_away_are_said),
        cmocka_unit_test(a_slow_node_is_waited_for),
        cmocka_unit_test(a_node_set_back_is_named),
        cmocka_unit_test(nobody_can_be_asked),
    };
    return cmocka_run_group_tests(tests, setup, bed_end);
}
