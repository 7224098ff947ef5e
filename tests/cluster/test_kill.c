/* kill -9 of random nodes, of the leader, of all, under load: nothing that was
 * acknowledged is missing afterwards, on any node, and no person was needed.
 *
 * Four nodes, and three: of those two are a majority, and a follower finds out by itself what the leader and it have
 * committed (consensus/raft_follower.c).
 *
 * Clients are processes of the CLI, each of which notes what it was told. SECONDS
 * in the environment: how long (16), half of it each. SEED: the same choice of victims again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/events.h"
#include "tests/lib/testbed.h"
#include "tests/lib/unit.h"

#define CLIENTS 3
#define MANY 10 /* acknowledgements, or the test says little */

static struct testbed bed;
static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE];
static uint64_t random_state;

static uint64_t next_random(void) /* xorshift64*: any seed but zero */
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(2685821657736338717);
}

static unsigned below(unsigned n) { return (unsigned)(next_random() >> 33) % n; }

/* Adds events with codes that are unique, and writes down those that were acknowledged. */
static void client(unsigned number)
{
    char path[400];
    struct buffer out = {0}, errors = {0};
    snprintf(path, sizeof path, "%s/acknowledged-%u", bed.dir, number);
    FILE *f = fopen(path, "w");
    for (unsigned i = 0;; i++) {
        int code = testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --timeout 10 event add %s kill c%u-%u", bed.dir,
                               patient, number, i);
        if (code == 0) {
            fprintf(f, "c%u-%u\n", number, i);
            fflush(f);
        } else if (code != 5 && code != 1) {
            fprintf(stderr, "client %u: exit %d: %s\n", number, code, errors.data ? (const char *)errors.data : "");
        }
    }
}

/* By nothing but that: one that had ended by itself before would start again as if nothing had been. */
static void dies(unsigned node)
{
    bool runs = bed.pids[node] > 0;
    int status = testbed_signal(&bed, node, SIGKILL);
    if (runs && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
        testbed_fail(&bed, "node %u had ended by itself, with status %d", node, status);
}

static void torment(unsigned seconds)
{
    time_t end = time(NULL) + seconds;
    while (time(NULL) < end) {
        usleep(200000 + 1000 * below(1500));
        unsigned what = below(10);
        if (what < 6) {
            unsigned node = 1 + below(bed.n);
            dies(node);
            usleep(1000 * below(1200));
            testbed_start(&bed, node);
        } else if (what < 9) {
            unsigned node = 1 + below(bed.n), other = 1 + below(bed.n);
            dies(node);
            dies(other);
            usleep(1000 * below(1500));
            testbed_start(&bed, node);
            testbed_start(&bed, other);
        } else {
            for (unsigned i = 1; i <= bed.n; i++)
                dies(i);
            testbed_start_all(&bed);
        }
    }
}

static unsigned count_acknowledged(void)
{
    unsigned count = 0;
    for (unsigned number = 0; number < CLIENTS; number++) {
        char path[400], code[24];
        snprintf(path, sizeof path, "%s/acknowledged-%u", bed.dir, number);
        FILE *f = fopen(path, "r");
        while (f && fscanf(f, "%23s", code) == 1)
            count++;
        if (f) fclose(f);
    }
    return count;
}

static unsigned check_acknowledged(const struct events *seen, unsigned node)
{
    unsigned count = 0;
    for (unsigned number = 0; number < CLIENTS; number++) {
        char path[400], code[24];
        snprintf(path, sizeof path, "%s/acknowledged-%u", bed.dir, number);
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        while (fscanf(f, "%23s", code) == 1) {
            count++;
            if (!events_have(seen, code)) testbed_fail(&bed, "node %u lost %s, which was acknowledged", node, code);
        }
        fclose(f);
    }
    const char *twice = events_twice(seen);
    if (twice) testbed_fail(&bed, "node %u has %s twice", node, twice);
    return count;
}

static void seed_random(void)
{
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    if (random_state == 0) random_state = 1;
    printf("seed %llu\n", (unsigned long long)random_state);
}

static void nothing_acknowledged_is_lost(void **state)
{
    (void)state;
    const char *seconds = getenv("SECONDS");
    pid_t clients[CLIENTS];
    seed_random();
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i] = fork();
        if (clients[i] == 0) {
            client(i);
            _exit(0);
        }
    }
    torment((seconds ? (unsigned)atoi(seconds) : 16) / 2);
    testbed_wait_ready(&bed, 60);
    for (unsigned i = 0; i < TESTBED_PATIENCE_S && count_acknowledged() <= MANY; i++)
        sleep(1); /* a slow machine acknowledges few while nodes die */
    for (unsigned i = 0; i < CLIENTS; i++) {
        kill(clients[i], SIGKILL);
        waitpid(clients[i], NULL, 0);
    }
    struct events seen = {0};
    unsigned acknowledged = 0;
    for (unsigned node = 1; node <= bed.n; node++) {
        events_read(&seen, &bed, node);
        acknowledged = check_acknowledged(&seen, node);
    }
    printf("%u acknowledged, all on each of %u nodes\n", acknowledged, bed.n);
    assert_true(acknowledged > MANY);
    events_free(&seen);
}

static int begin(unsigned nodes, unsigned faulty)
{
    testbed_make(&bed, nodes, faulty);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 2", "auditor", auditor);
    return 0;
}

static int four_nodes(void **state)
{
    (void)state;
    return begin(4, 1);
}

static int three_nodes(void **state)
{
    (void)state;
    return begin(3, 0);
}

static int end(void **state)
{
    (void)state;
    testbed_end(&bed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"four_nodes", nothing_acknowledged_is_lost, four_nodes, end, NULL},
        {"three_nodes", nothing_acknowledged_is_lost, three_nodes, end, NULL},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
