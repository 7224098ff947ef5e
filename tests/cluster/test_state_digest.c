/* A role altered in one node's state, which no decision has used: named by the state
 * digest, whoever asks for it, and gone once that node is rebuilt. Under load. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/testbed.h"
#include "tests/lib/unit.h"

static struct testbed bed;
static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE], nurse[ID_TEXT_SIZE];
static struct buffer out, errors;
static pid_t load; /* 0: none */
static char held[300]; /* while this file exists, the nodes' digests stay where they are */

static const char *text(void) { return out.data ? (const char *)out.data : ""; }
static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }

/* Events, one after the other, until it is killed. What the load's process counts: acknowledged ones, and others. */
static struct counts {
    atomic_uint done, failed;
} *counts;

static void start_load(void)
{
    counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(counts != MAP_FAILED);
    load = fork();
    if (load != 0) return;
    struct buffer ignored = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails ends at once */
    for (int i = 0;; i++) {
        int code = testbed_cli(&bed, &ignored, &ignored, "-i %s/doctor.key --via node-1 event add %s bill.print L-%d",
                               bed.dir, patient, i);
        atomic_fetch_add(code == 0 ? &counts->done : &counts->failed, 1);
    }
}

static void stop_load(void)
{
    if (load <= 0) return;
    kill(load, SIGKILL);
    waitpid(load, NULL, 0);
    load = 0;
}

/* That many more were acknowledged, on the node that is always there. */
static void await_acknowledged(unsigned more)
{
    unsigned until = atomic_load(&counts->done) + more;
    for (int i = 0; i < 600 && atomic_load(&counts->done) < until; i++) usleep(100000);
    if (atomic_load(&counts->done) < until) testbed_fail(&bed, "no write is acknowledged");
}

static void every_write_was_acknowledged(void)
{
    if (atomic_load(&counts->failed) > 0)
        testbed_fail(&bed, "%u of the load's writes failed", atomic_load(&counts->failed));
    printf("%u writes acknowledged, none refused\n", atomic_load(&counts->done));
}

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    snprintf(held, sizeof held, "%s/held", bed.dir);
    setenv("LIAR_WHEN", held, 1);
    for (unsigned i = 1; i <= 4; i++) bed.program[i] = "liar --mode slow"; /* honest, but for how long a digest takes */
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 2", "auditor", auditor);
    testbed_user(&bed, "nurse", "Hospital 1", "nurse", nurse); /* no decision uses this role */
    start_load();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stop_load();
    testbed_end(&bed);
    buffer_free(&out);
    buffer_free(&errors);
    return 0;
}

static void expect(int code, const char *who, const char *options, const char *words)
{
    int got = testbed_cli(&bed, &out, &errors, "-i %s/%s --timeout 60 %s", bed.dir, who, options);
    if (got != code || (words && !strstr(text(), words)))
        testbed_fail(&bed, "%s: exit %d, expected %d with \"%s\"\n%s%s", options, got, code, words ? words : "", text(),
                     said());
}

static void json_is(const char *path, const char *expected)
{
    char value[200];
    testbed_json(&out, path, value, sizeof value);
    if (strcmp(value, expected) != 0) testbed_fail(&bed, "%s is %s, expected %s\n%s", path, value, expected, text());
}

static void run(const char *program, const char *words, unsigned node, const char *more)
{
    char command[800];
    const char *build = getenv("BUILD");
    snprintf(command, sizeof command, "%s/%s %s --dir %s/node-%u %s > %s/%s.out 2>&1",
             build && *build ? build : "build", program, words, bed.dir, node, more, bed.dir, program);
    if (system(command) != 0) testbed_fail(&bed, "%s failed", command);
}

/* What its administrator does to a node that is down. */
static void alter_role(unsigned node, const char *user, const char *role)
{
    char what[100];
    snprintf(what, sizeof what, "role %s:%s", user, role);
    testbed_signal(&bed, node, SIGTERM);
    run("tamper", "", node, what);
    testbed_start(&bed, node);
}

static void rebuild(unsigned node)
{
    testbed_signal(&bed, node, SIGTERM);
    run("consiliumd", "rebuild", node, "");
    testbed_start(&bed, node);
    testbed_wait_ready(&bed, 60);
}

static void wait_for_log(unsigned node, const char *words)
{
    for (int i = 0; i < 600 && !testbed_log_has(&bed, node, words); i++) usleep(100000);
    if (!testbed_log_has(&bed, node, words)) testbed_fail(&bed, "node %u never said \"%s\"", node, words);
}

/* --- in this order --- */

static void equal_states_are_equal(void **state)
{
    (void)state;
    expect(0, "auditor.key", "status --state-digest", "all 4 nodes have the same state");
    expect(0, "auditor.key", "--json status --state-digest", NULL);
    json_is("verdict", "equal");
    json_is("nodes.0.state", "equal");
    json_is("nodes.3.state", "equal");
    json_is("nodes.3.differs_in", "");
    expect(0, "auditor.key", "verify --all", "all 4 nodes have the same state");
    expect(0, "auditor.key", "--json verify --all", NULL);
    json_is("states.verdict", "equal");
    json_is("states.compared.3", "node-4");
    expect(3, "doctor.key", "status --state-digest", NULL); /* not everybody may set all nodes to work */
}

/* However long it takes: all four nodes are in the middle of it, with their snapshots. */
static void no_work_waits_for_a_digest(void **state)
{
    (void)state;
    FILE *f = fopen(held, "w");
    assert_non_null(f);
    fclose(f);
    pid_t asking = fork();
    if (asking == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int code = testbed_cli(&bed, &out, NULL, "-i %s/auditor.key status --state-digest --wait 3600", bed.dir);
        _exit(code == 0 && strstr(text(), "all 4 nodes have the same state") ? 0 : 1);
    }
    for (unsigned i = 1; i <= 4; i++) wait_for_log(i, "DIGEST HELD");
    await_acknowledged(20);
    for (unsigned i = 1; i <= 4; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u event add %s bill.print H-%u", bed.dir, i,
                       patient, i);
    assert_int_equal(waitpid(asking, NULL, WNOHANG), 0); /* no node has stated anything */
    unlink(held);
    int status;
    assert_int_equal(waitpid(asking, &status, 0), asking);
    if (status != 0) testbed_fail(&bed, "the states were not compared");
}

static void an_absent_node_is_said(void **state)
{
    (void)state;
    testbed_signal(&bed, 2, SIGTERM);
    expect(0, "auditor.key", "--via node-1 status --state-digest --wait 60",
           "3 nodes have the same state; nothing to compare from node-2");
    expect(0, "auditor.key", "--json --via node-1 status --state-digest --wait 60", NULL);
    json_is("verdict", "incomplete");
    testbed_start(&bed, 2);
    testbed_wait_ready(&bed, 60);
}

static void an_altered_role_is_named(void **state)
{
    (void)state;
    alter_role(4, nurse, "admin");
    testbed_wait_ready(&bed, 60); /* nothing has used it: the node sees nothing wrong */
    expect(6, "auditor.key", "verify --all", "COMPROMISED: node-4 (in: user)");
    assert_non_null(strstr(text(), "The ledgers are the same, but not the states that the nodes keep beside them: "
                                   "node-4 is wrong in its state"));
    expect(6, "auditor.key", "--json --via node-1 status --state-digest --wait 60", NULL);
    json_is("verdict", "compromised");
    json_is("nodes.0.state", "equal");
    json_is("nodes.3.name", "node-4");
    json_is("nodes.3.state", "DIFFERS");
    json_is("nodes.3.differs_in", "user");
    wait_for_log(4, "QUARANTINED");
    for (unsigned i = 1; i <= 3; i++) wait_for_log(i, "ALARM: node 4 (node-4), modified");
    expect(6, "auditor.key", "--via node-2 status --state-digest --wait 60", "COMPROMISED: node-4 (in: user)");
    expect(6, "auditor.key", "verify --all", "COMPROMISED: node-4 (in: user)"); /* in quarantine by now */
    assert_non_null(strstr(text(), "node-4's ledger is in quarantine"));
}

static void a_rebuilt_node_is_equal_again(void **state)
{
    (void)state;
    rebuild(4); /* it asks for a digest itself */
    for (unsigned i = 1; i <= 3; i++) wait_for_log(i, "node 4 (node-4) has the same state as the others again");
    for (int i = 0; i < 600; i++) { /* and the alarm ends */
        testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json alarm list", bed.dir);
        if (!strstr(text(), "node-4")) break;
        usleep(100000);
    }
    expect(0, "auditor.key", "verify --all", "all 4 nodes have the same state");
}

/* The nodes ask by themselves. */
static void nobody_has_to_ask(void **state)
{
    (void)state;
    stop_load();
    every_write_was_acknowledged();
    bed.extra = "--digest-seconds 2";
    for (unsigned i = 1; i <= 4; i++) {
        if (i == 3)
            alter_role(i, auditor, "privacy"); /* who does nothing more */
        else
            testbed_signal(&bed, i, SIGTERM), testbed_start(&bed, i);
    }
    wait_for_log(3, "QUARANTINED");
    wait_for_log(1, "ALARM: node 3 (node-3), modified");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_states_are_equal),      cmocka_unit_test(no_work_waits_for_a_digest),
        cmocka_unit_test(an_absent_node_is_said),
        cmocka_unit_test(an_altered_role_is_named),    cmocka_unit_test(a_rebuilt_node_is_equal_again),
        cmocka_unit_test(nobody_has_to_ask),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
