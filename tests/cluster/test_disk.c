/* A disk that fails or is full on one of five nodes or on all, and no majority, under load: the node says
 * so, acknowledges nothing that it can't keep, and stops where it must; the others go
 * on; with a good disk it catches up, and each node has what was acknowledged (tests/lib/chaos.h). What became of a
 * request is found out by its token. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/chaos_bed.h"
#include "tests/lib/events.h"
#include "tests/lib/unit.h"

#define BAD 4 /* unless it is the leader's disk that fails */
#define FULL 3

static struct buffer out, errors;
static unsigned events;
static bool small_disks; /* of each node: a file system of its own */

static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }

static int add_event_within(unsigned via, unsigned seconds)
{
    return testbed_cli(&chaos.bed, &out, &errors, "-i %s/doctor.key --via node-%u --timeout %u event add %s bill e%u",
                       chaos.bed.dir, via, seconds, chaos.patient, ++events);
}

static void others_go_on(unsigned without) { chaos_goes_on(&chaos, CHAOS_ALL & ~(1u << without), "  without it"); }

static void catches_up(unsigned node)
{
    chaos_goes_on(&chaos, 1u << node, "  it is back");
    for (uint64_t start = chaos_now_ms(); !chaos_same_root(&chaos, node, node); usleep(50000))
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&chaos.bed, "node %u does not catch up", node);
}

/* It has ended: by itself, in order, with code 1. */
static bool has_stopped(unsigned node)
{
    int status = 0;
    if (waitpid(chaos.bed.pids[node], &status, WNOHANG) != chaos.bed.pids[node]) return false;
    chaos.bed.pids[node] = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        testbed_fail(&chaos.bed, "node %u ended with status %d", node, status);
    assert_true(testbed_life_has(&chaos.bed, node, "nothing more is acknowledged"));
    return true;
}

/* --- a call that fails --- */

#define LOG "cannot write the log: "
#define STATE "/state: cannot " /* whoever meets it first says so: who commits, or who applies the next entry */
#define NO_SPACE "no space left: nothing more is acknowledged"
#define BROKEN "input/output error: nothing more is acknowledged"

static void says_why(unsigned node, const char *line)
{
    if (!testbed_life_has(&chaos.bed, node, line)) testbed_fail(&chaos.bed, "node %u does not say: %s", node, line);
}

/* A node's disk fails as ordered, while it is written to through that node. */
static void disk_fails(unsigned bad, const char *how, const char *where, const char *why)
{
    time_t start = time(NULL);
    chaos_order_disk(&chaos, bad, how);
    while (!has_stopped(bad)) {
        if (time(NULL) - start > (time_t)TESTBED_PATIENCE_S)
            testbed_fail(&chaos.bed, "node %u goes on with its disk failed: %s", bad, how);
        /* A fresh client hears that it is unreachable; one whose write was under way, that it is not known. */
        if (add_event_within(bad, 1) != 0 && !strstr(said(), "stopping") && !strstr(said(), "consilium lookup ") &&
            !strstr(said(), "not recorded") && !strstr(said(), "cannot connect") &&
            !strstr(said(), "during the TLS handshake"))
            testbed_fail(&chaos.bed, "no clear error: %s", said());
    }
    says_why(bad, where);
    says_why(bad, why);
    others_go_on(bad);
    chaos_order_disk(&chaos, bad, NULL);
    testbed_start(&chaos.bed, bad);
    testbed_wait_ready(&chaos.bed, 30);
    catches_up(bad);
}

static void log_sync_fails(void **state)
{
    (void)state;
    disk_fails(BAD, "fdatasync 1 /log/ EIO\n", LOG, BROKEN);
}

static void log_write_fails_later(void **state)
{
    (void)state;
    disk_fails(BAD, "write 7 /log/ EIO\n", LOG, BROKEN);
}

static void log_is_full(void **state)
{
    (void)state;
    disk_fails(BAD, "write 2 /log/ ENOSPC\n", LOG, NO_SPACE);
}

static void state_sync_fails(void **state)
{
    (void)state;
    disk_fails(BAD, "fdatasync 2 /state/ EIO\n", STATE, BROKEN);
}

static void state_is_full(void **state)
{
    (void)state;
    disk_fails(BAD, "write 3 /state/ ENOSPC\n", STATE, NO_SPACE);
}

static void the_leaders_disk_fails(void **state)
{
    (void)state;
    disk_fails(chaos_await_leader(&chaos, NULL), "fdatasync 1 /log/ EIO\n", LOG, BROKEN);
}

/* --- a file system that is full --- */

static char folders[CHAOS_NODES + 1][300], fillers[CHAOS_NODES + 1][340]; /* by node */

/* A node's folder moves to a file system of 96 MiB. */
static bool make_small_disk(unsigned node)
{
    char command[1200], *folder = folders[node];
    snprintf(folder, sizeof folders[0], "%s/node-%u", chaos.bed.dir, node);
    snprintf(fillers[node], sizeof fillers[0], "%s/filler", folder);
    snprintf(command, sizeof command, "mv %s %s.first && mkdir -m 700 %s", folder, folder, folder);
    if (system(command) != 0) return false;
    bool mounted = mount("tmpfs", folder, "tmpfs", 0, "size=96m,mode=700") == 0;
    if (mounted)
        snprintf(command, sizeof command, "cp -a %s.first/. %s", folder, folder);
    else
        snprintf(command, sizeof command, "rmdir %s && mv %s.first %s", folder, folder, folder);
    return system(command) == 0 && mounted;
}

/* In a mount namespace of this test's own. */
static bool make_small_disks(void)
{
    bool made = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    for (unsigned node = 1; made && node <= chaos.bed.n; node++)
        made = make_small_disk(node);
    return made;
}

static void skip_without_small_disks(void)
{
    const char *ci = getenv("CI");
    if (small_disks) return;
    printf("%s: no file system may be mounted here\n", ci && *ci ? "FAILED" : "skipped");
    if (ci && *ci) fail_test();
    skip();
}

static uint64_t free_mib(unsigned node)
{
    struct statvfs v;
    assert_int_equal(statvfs(folders[node], &v), 0);
    return (uint64_t)v.f_bavail * v.f_frsize >> 20;
}

/* All but so much of the space that is free. */
static void fill_but(unsigned node, uint64_t left_mib)
{
    static char block[1 << 20];
    int file = open(fillers[node], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    while (free_mib(node) > left_mib && write(file, block, sizeof block) == (ssize_t)sizeof block)
        continue;
    if (left_mib == 0)
        while (write(file, block, 4096) > 0)
            continue;
    close(file);
}

#define SAYS_FULL "little space left on the device: no new blocks are taken"
#define SAYS_ROOM "space on the device again"

/* The client asks again until its time is up; a slow machine needs more of it. */
static void is_refused(unsigned via)
{
    for (unsigned seconds = 2; seconds <= 32; seconds *= 2) {
        assert_int_not_equal(add_event_within(via, seconds), 0);
        if (strstr(said(), "no space left")) return;
    }
    testbed_fail(&chaos.bed, "no clear error: %s", said());
}

/* Before it is full: nothing is taken, nobody else is held up, and it goes on when there is room. */
static void little_space(void **state)
{
    (void)state;
    skip_without_small_disks();
    fill_but(FULL, 12);
    testbed_await_log(&chaos.bed, FULL, SAYS_FULL);
    assert_true(testbed_life_has(&chaos.bed, FULL, " MiB are free there")); /* and what setting says it is little */
    is_refused(FULL);
    others_go_on(FULL);
    unlink(fillers[FULL]);
    testbed_await_log(&chaos.bed, FULL, SAYS_ROOM);
    catches_up(FULL);
}

static bool has_room(unsigned node)
{
    return testbed_life_count(&chaos.bed, node, SAYS_FULL) == testbed_life_count(&chaos.bed, node, SAYS_ROOM);
}

/* Until it says so; or it has stopped, because a write came before it looked at its device. */
static void says_or_stops(unsigned node, bool room)
{
    for (uint64_t start = chaos_now_ms(); chaos_now_ms() - start < TESTBED_PATIENCE_S * 1000; usleep(50000))
        if (chaos.bed.pids[node] == 0 || has_stopped(node) || has_room(node) == room) return;
    testbed_fail(&chaos.bed, "node %u does not say: %s", node, room ? SAYS_ROOM : SAYS_FULL);
}

/* With room on these devices again they go on by themselves, or are started again. */
static void room_again(unsigned first, unsigned last)
{
    for (unsigned node = first; node <= last; node++)
        unlink(fillers[node]);
    for (unsigned node = first; node <= last; node++)
        says_or_stops(node, true);
    testbed_start_all(&chaos.bed);
    testbed_wait_ready(&chaos.bed, 30);
}

/* All of a sudden: what can't be kept is not acknowledged. */
static void no_space_at_all(void **state)
{
    (void)state;
    char path[300];
    skip_without_small_disks();
    snprintf(path, sizeof path, "%s/large", chaos.bed.dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (unsigned i = 0; i < 900000; i++)
        fputc((int)(i * 7 % 251), f);
    fclose(f);
    fill_but(FULL, 0);
    for (unsigned i = 0; i < 12 && !testbed_life_has(&chaos.bed, FULL, "nothing more is acknowledged"); i++)
        testbed_expect(&chaos.bed, 0, &out, "-i %s/doctor.key --via node-1 record create --patient %s --kind note %s",
                       chaos.bed.dir, chaos.patient, path);
    says_or_stops(FULL, false);
    others_go_on(FULL);
    room_again(FULL, FULL);
    catches_up(FULL);
}

/* --- full devices of the leader, and of all --- */

static void nobody_was_told(uint64_t since_ms, const char *when)
{
    if (chaos_gone_on(&chaos, 0, since_ms)) testbed_fail(&chaos.bed, "%s: a client was told of something done", when);
}

/* It hands over, and nobody else is held up. */
static void the_leaders_device_is_full(void **state)
{
    (void)state;
    skip_without_small_disks();
    unsigned led = chaos_await_leader(&chaos, NULL);
    fill_but(led, 0);
    says_or_stops(led, false);
    others_go_on(led);
    if (chaos_await_leader(&chaos, NULL) == led) testbed_fail(&chaos.bed, "node %u leads on with a full device", led);
    room_again(led, led);
    catches_up(led);
}

/* Nothing is acknowledged; and nothing that was is lost. */
static void all_devices_are_full(void **state)
{
    (void)state;
    skip_without_small_disks();
    for (unsigned node = 1; node <= chaos.bed.n; node++)
        fill_but(node, 0);
    for (unsigned node = 1; node <= chaos.bed.n; node++)
        says_or_stops(node, false);
    uint64_t since = chaos_now_ms();
    for (unsigned node = 1; node <= CHAOS_NODES; node++)
        if (add_event_within(node, 1) == 0)
            testbed_fail(&chaos.bed, "node %u acknowledged e%u, with all devices full", node, events);
    nobody_was_told(since, "all devices are full");
    room_again(1, chaos.bed.n);
    chaos_goes_on(&chaos, CHAOS_ALL, "with room on the devices again");
}

/* --- no majority --- */

static void token_of(char *token, size_t size)
{
    const char *at = strstr(said(), "consilium lookup ");
    if (!at) testbed_fail(&chaos.bed, "no token: %s", said());
    snprintf(token, size, "%.*s", (int)strcspn(at + 17, " \n"), at + 17);
}

/* Nothing is half done: each node has the event once, or none has it. */
static void each_has(unsigned number, bool recorded)
{
    struct events seen = {0};
    char code[EVENT_CODE_SIZE];
    snprintf(code, sizeof code, "e%u", number);
    for (unsigned node = 1; node <= chaos.bed.n; node++) {
        events_read(&seen, &chaos.bed, node);
        if (events_have(&seen, code) != recorded)
            testbed_fail(&chaos.bed, "%s: %srecorded, but node %u has it%s", code, recorded ? "" : "not ", node,
                         recorded ? " not" : "");
        if (events_twice(&seen)) testbed_fail(&chaos.bed, "node %u has %s twice", node, events_twice(&seen));
    }
    events_free(&seen);
}

/* The majority goes while writes are under way: within its time-out the client says what it does not know, and
 * its token tells later what became of it; every node then says the same. */
static void without_a_majority(void **state)
{
    (void)state;
    char tokens[2][80];
    bool recorded[2];
    unsigned numbers[2];
    for (unsigned node = 1; node <= 3; node++) chaos_kill(&chaos, node);
    uint64_t since = chaos_now_ms();
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(add_event_within(4 + i, 2), 5);
        numbers[i] = events;
        token_of(tokens[i], sizeof tokens[i]);
    }
    assert_int_equal(testbed_cli(&chaos.bed, &out, &errors, "-i %s/doctor.key --timeout 1 record list %s",
                                 chaos.bed.dir, chaos.patient), 5);
    nobody_was_told(since, "without a majority");
    testbed_start_all(&chaos.bed);
    testbed_wait_ready(&chaos.bed, 30);
    chaos_goes_on(&chaos, CHAOS_ALL, "with a majority again");
    for (unsigned i = 0; i < 2; i++) {
        int code = testbed_cli(&chaos.bed, &out, &errors, "-i %s/doctor.key --json lookup %s", chaos.bed.dir,
                               tokens[i]);
        recorded[i] = code == 0 && strstr((const char *)out.data, "\"recorded\"");
        if (code != 0 && code != 5) testbed_fail(&chaos.bed, "lookup: exit %d: %s", code, said());
        each_has(numbers[i], recorded[i]);
    }
    printf("%d of 2 were recorded\n", recorded[0] + recorded[1]);
}

static int begin(void **state)
{
    (void)state;
    chaos_prepare(&chaos, CHAOS_NODES, 1, true);
    chaos.pause_ms = 300;
    chaos.bed.extra = "--free-mib 16";
    small_disks = make_small_disks();
    chaos_start(&chaos);
    chaos_load(&chaos);
    chaos_goes_on(&chaos, CHAOS_ALL, "at first");
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= chaos.bed.n; i++)
        testbed_signal(&chaos.bed, i, SIGKILL);
    for (unsigned i = 1; small_disks && i <= chaos.bed.n; i++)
        umount2(folders[i], MNT_DETACH);
    chaos_close(&chaos);
    buffer_free(&out);
    buffer_free(&errors);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_sync_fails),
        cmocka_unit_test(log_write_fails_later),
        cmocka_unit_test(log_is_full),
        cmocka_unit_test(state_sync_fails),
        cmocka_unit_test(state_is_full),
        cmocka_unit_test(the_leaders_disk_fails),
        cmocka_unit_test(little_space),
        cmocka_unit_test(no_space_at_all),
        cmocka_unit_test(the_leaders_device_is_full),
        cmocka_unit_test(all_devices_are_full),
        cmocka_unit_test(without_a_majority),
        cmocka_unit_test(nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
