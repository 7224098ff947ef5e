/* Key generation with one genesis node absent: ready all the same, and the absent
 * one gets its share when it comes, unaided, also when a dealer was restarted meanwhile. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/testbed.h"
#include "tests/lib/unit.h"

static struct testbed bed;
static struct buffer out;

static void a_late_node_gets_its_share(void **state)
{
    (void)state;
    char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], record[ID_TEXT_SIZE];
    testbed_make(&bed, 4, 1);
    for (unsigned i = 1; i <= 3; i++)
        testbed_start(&bed, i);
    testbed_wait_ready(&bed, 30);
    testbed_care(&bed, doctor, patient);
    testbed_record(&bed, record, patient, "written while one was away");

    /* A dealer is killed and comes back: what it dealt for the absent one is still there. */
    testbed_signal(&bed, 1, SIGKILL);
    testbed_start(&bed, 1);
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 30);
    assert_true(testbed_log_has(&bed, 4, "holds its share"));

    /* Its share is good: with another node down it is one of the three that open. */
    testbed_signal(&bed, 2, SIGKILL);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-4 record show %s", bed.dir, record);
    assert_string_equal((const char *)out.data, "written while one was away");
    testbed_end(&bed);
}

static void a_node_absent_for_ever_is_not_waited_for(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    for (unsigned i = 2; i <= 4; i++)
        testbed_start(&bed, i);
    testbed_wait_ready(&bed, 30);
    /* All three are killed at once and come back with their shares. */
    for (unsigned i = 2; i <= 4; i++)
        testbed_signal(&bed, i, SIGKILL);
    for (unsigned i = 2; i <= 4; i++)
        testbed_start(&bed, i);
    testbed_wait_ready(&bed, 30);
    testbed_expect(&bed, 0, &out, "-i %s whoami", bed.admin);
    testbed_end(&bed);
}

/* kill -9 of all nodes again and again while they generate the key. */
static void kills_during_key_generation(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    for (unsigned round = 0; round < 8; round++) {
        testbed_start_all(&bed);
        usleep(700000 + 130000 * round);
        for (unsigned i = 1; i <= 4; i++)
            testbed_signal(&bed, i, SIGKILL);
    }
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    for (unsigned i = 1; i <= 4; i++)
        assert_true(testbed_log_has(&bed, i, "holds its share"));
    testbed_expect(&bed, 0, &out, "-i %s whoami", bed.admin);
    testbed_end(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_node_gets_its_share),
        cmocka_unit_test(a_node_absent_for_ever_is_not_waited_for),
        cmocka_unit_test(kills_during_key_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
