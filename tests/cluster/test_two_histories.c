/* The worst case: k operators conspire, put back old disks, and co-sign another history with their real keys. Its
 * checkpoint is good in itself. Who verified the first history is shown that there are two. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

#define NODES 4

static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE];

static void begin(void)
{
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
}

static void end(void)
{
    for (unsigned node = 1; node <= NODES; node++) testbed_signal(&bed, node, SIGTERM);
}

static void add_events(const char *what, int count)
{
    for (int i = 0; i < count; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s %s", bed.dir, patient, what);
}

/* All disks, under another name. */
static void keep(const char *name)
{
    for (unsigned node = 1; node <= NODES; node++) shell("mv node-%u %s-%u", node, name, node);
}

static void put(unsigned node, const char *name)
{
    shell("rm -rf node-%u && cp -a %s-%u node-%u", node, name, node, node);
}

static void put_all(const char *name)
{
    for (unsigned node = 1; node <= NODES; node++) put(node, name);
}

/* --- what an auditor keeps between verifications --- */

static void cache(const char *command) { shell("for d in .cache/consilium/*; do %s; done", command); }

static void expect_verify(int code, const char *words)
{
    int got = testbed_cli(&bed, &out, &errors, "-i %s/auditor.key verify --all", bed.dir);
    if (got != code || !strstr(text(), words))
        testbed_fail(&bed, "verify --all: exit %d, expected %d with \"%s\"\n%s%s", got, code, words, text(), said());
}

/* Two histories from one beginning: all nodes made the first, and the auditor has verified that. Nodes 2 to 4, which
 * are k, put back their disks and made the second, longer one, without node 1. */
static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, NODES, 1);
    bed.extra = "--scrub-rate 0";
    begin();
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 1", "auditor", auditor);
    end();
    keep("base");
    put_all("base");
    begin();
    add_events("bill.print", 3);
    expect_verify(0, "verdict: fine");
    end();
    keep("first");
    put_all("base");
    cache("mv $d/checkpoint kept");
    for (unsigned node = 2; node <= NODES; node++) testbed_start(&bed, node);
    testbed_wait_ready(&bed, 60);
    add_events("bill.cancel", 12);
    expect_verify(0, "verdict: fine"); /* who knows no other history can't see more */
    end();
    keep("second");
    return 0;
}

/* Also node 1, as if it had been bought, too. */
static void who_verified_the_first_is_shown_two(void **state)
{
    (void)state;
    put_all("second");
    put(1, "base");
    cache("cp kept $d/checkpoint");
    begin();
    expect_verify(6, "verdict: FAILED. node-");
    assert_non_null(strstr(text(), "'s ledger is forked, and that of 3 more."));
    assert_non_null(strstr(text(), "3 nodes co-signed two different histories"));
    assert_non_null(strstr(text(), "that was verified here before; more than 1 nodes lied"));
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/auditor.key --json verify --all", bed.dir), 6);
    json_is("verdict", "failed");
    for (int node = 0; node < NODES; node++) {
        char path[30];
        snprintf(path, sizeof path, "nodes.%d.verdict", node);
        json_is(path, "forked");
    }
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/auditor.key verify --all", bed.dir), 6);
    cache("cmp kept $d/checkpoint"); /* the good one stays */
    if (!strstr(said(), "more nodes lied than may")) testbed_fail(&bed, "no advice:\n%s", said());
    assert_int_equal(testbed_cli(&bed, &out, &errors, "verify --since %s/kept --all", bed.dir), 6);
    assert_non_null(strstr(text(), "verdict: FAILED. No node proves that today's ledger extends"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_verified_the_first_is_shown_two),
    };
    return cmocka_run_group_tests(tests, setup, bed_end);
}
