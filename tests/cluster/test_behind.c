/* A node that is behind the others, alone or deriving its state anew, does not know whom they know: it says so,
 * and refuses nobody for good. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

#define NODE 4
#define NEWEST "newest.key" /* of a user who was registered while the node was away */

static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], newest[ID_TEXT_SIZE];

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_expect(&bed, 0, NULL, "key new --no-passphrase -o %s/stranger.key", bed.dir);
    return 0;
}

static void others(void (*what)(unsigned node))
{
    for (unsigned i = 1; i <= bed.n; i++)
        if (i != NODE) what(i);
}

static void stop(unsigned node) { testbed_signal(&bed, node, SIGTERM); }
static void start(unsigned node) { testbed_start(&bed, node); }

static void begin(void)
{
    start(NODE);
    testbed_await_log(&bed, NODE, "listening on");
}

/* That many seconds, or patience enough where it is 0. */
static void whoami(const char *key, unsigned seconds, int code, const char *words)
{
    char limit[40] = "";
    if (seconds) snprintf(limit, sizeof limit, "--timeout %u", seconds);
    int got = testbed_cli(&bed, &out, &errors, "-i %s/%s --via node-%u %s whoami", bed.dir, key, NODE, limit);
    if (got != code || (words && !strstr(said(), words)))
        testbed_fail(&bed, "%s: exit code %d, expected %d: %s", key, got, code, said());
}

static void alone(void **state)
{
    (void)state;
    stop(NODE);
    testbed_user(&bed, "nurse", "Hospital 1", "newest", newest);
    others(stop);
    begin();
    whoami(NEWEST, 3, 5, "is behind the other nodes");
    whoami("stranger.key", 3, 5, "is behind the other nodes");
    others(start);
    whoami(NEWEST, 0, 0, NULL); /* from here on it waits for what is to come */
    testbed_wait_ready(&bed, 60);
}

/* Its state is thrown away, then everything that it has. */
static void deriving_its_state_anew(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++)
        testbed_expect(&bed, 0, NULL, "-i %s/doctor.key event add %s bill.print B-%d", bed.dir, patient, i);
    stop(NODE);
    shell("%s/consiliumd rebuild --dir node-%u > rebuilt", build(), NODE);
    begin();
    whoami(NEWEST, 0, 0, NULL);
    stop(NODE);
    shell("rm -rf node-%u/state node-%u/log", NODE, NODE);
    begin();
    whoami(NEWEST, 0, 0, NULL);
}

static void up_to_date(void **state)
{
    (void)state;
    testbed_wait_ready(&bed, 60);
    whoami(NEWEST, 0, 0, NULL);
    whoami("stranger.key", 0, 4, "no such user or key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone),
        cmocka_unit_test(deriving_its_state_anew),
        cmocka_unit_test(up_to_date),
    };
    return cmocka_run_group_tests(tests, setup, bed_end);
}
