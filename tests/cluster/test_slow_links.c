/* Nodes whose links are so slow that one request takes longer than an election: it is committed nevertheless, whichever
 * node takes it, and what is small goes on behind it.
 *
 * A whole request passes once to the leader, and from there to each other node. Times and terms are printed only: what a
 * busy machine makes of them is no fault.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/chaos_bed.h"
#include "tests/lib/partition.h"
#include "tests/lib/unit.h"

#define NODES 3u
#define THROUGH_ALL (1u << 1 | 1u << 2 | 1u << 3)
#define KBIT 4000u         /* a second, each way between two nodes; KBIT=n in the environment: so many */
#define LINES (100 * 1000) /* of 10 bytes: two seconds on such a link, twice the shortest election time-out */
#define AT_ONCE (2 * NODES)

static char large[400];

static void write_large(void)
{
    snprintf(large, sizeof large, "%s/large", chaos.bed.dir);
    FILE *f = fopen(large, "w");
    for (unsigned i = 0; f && i < LINES; i++) fprintf(f, "%09u\n", i);
    if (!f || fclose(f) != 0) testbed_fail(&chaos.bed, "cannot write %s", large);
}

static void create_record(unsigned node)
{
    struct buffer out = {0};
    testbed_expect(&chaos.bed, 0, &out, "-i %s/doctor.key --via node-%u --timeout %u record create --patient %s -k note %s",
                   chaos.bed.dir, node, 4 * TESTBED_PATIENCE_S, chaos.patient, large);
    buffer_free(&out);
}

static void say(const char *what, uint64_t since_ms, uint64_t term)
{
    uint64_t now;
    chaos_await_leader(&chaos, &now);
    printf("%s: %llu ms, %llu elections\n", what, (unsigned long long)(chaos_now_ms() - since_ms),
           (unsigned long long)(now - term));
    fflush(stdout);
}

static void a_large_request_is_committed(void **state)
{
    (void)state;
    for (unsigned places = 0; places < NODES; places++) {
        uint64_t term, since = chaos_now_ms();
        unsigned leader = chaos_await_leader(&chaos, &term);
        create_record(1 + (leader - 1 + places) % NODES);
        say(places ? "a large request through a follower" : "a large request through the leader", since, term);
        chaos_goes_on(&chaos, THROUGH_ALL, "  and all others");
    }
}

/* Each link has several of them in line, before the next heartbeat. */
static void so_are_many_at_once(void **state)
{
    (void)state;
    pid_t pids[AT_ONCE];
    int status;
    uint64_t term, since = chaos_now_ms();
    chaos_await_leader(&chaos, &term);
    fflush(NULL);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        pids[i] = fork();
        if (pids[i] < 0) testbed_fail(&chaos.bed, "cannot fork");
        if (pids[i] > 0) continue;
        create_record(1 + i % NODES);
        _exit(0);
    }
    for (unsigned i = 0; i < AT_ONCE; i++)
        if (waitpid(pids[i], &status, 0) != pids[i] || status != 0)
            testbed_fail(&chaos.bed, "large request %u of %u was not done", i + 1, AT_ONCE);
    say("six at once", since, term);
    chaos_goes_on(&chaos, THROUGH_ALL, "  and all others");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_request_is_committed),
        cmocka_unit_test(so_are_many_at_once),
        cmocka_unit_test(nothing_is_lost),
    };
    if (!partition_possible()) return 0;
    chaos_open(&chaos, NODES, 0, false);
    write_large();
    const char *kbit = getenv("KBIT");
    if (!partition_slow(&chaos.bed, kbit ? (unsigned)strtoul(kbit, NULL, 10) : KBIT)) {
        chaos_close(&chaos);
        return 0;
    }
    chaos.patience_s = TESTBED_PATIENCE_S;
    chaos.pause_ms = 100;
    chaos_load(&chaos);
    chaos_goes_on(&chaos, THROUGH_ALL, "at first");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    chaos_close(&chaos);
    return failed;
}
