/* A disk that fails or is full on one of four nodes or on all, and no majority: the node says
 * so, acknowledges nothing that it can't keep, and stops where it must; the others go
 * on; with a good disk it catches up. What became of a request is found out by its token. */
#include <ctype.h>
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

#include "tests/lib/testbed.h"
#include "tests/lib/unit.h"

#define BAD 4 /* unless it is the leader's disk that fails */
#define FULL 3

static struct testbed bed;
static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];
static char programs[5][400], orders[5][300]; /* by node */
static struct buffer out, errors;
static unsigned events;
static bool small_disks; /* of each node: a file system of its own */

static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static int add_event_within(unsigned via, unsigned seconds)
{
    return testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --via node-%u --timeout %u event add %s bill e%u",
                       bed.dir, via, seconds, patient, ++events);
}

static int add_event(unsigned via) { return add_event_within(via, 2); }

static void others_go_on(unsigned without)
{
    for (unsigned node = 1; node <= bed.n; node++) {
        if (node == without) continue;
        int code = 1;
        for (unsigned i = 0; i < 4 && code != 0; i++) /* a leader may be missed at first */
            code = add_event_within(node, TESTBED_PATIENCE_S / 4);
        if (code != 0) testbed_fail(&bed, "node %u does not go on without node %u: %s", node, without, said());
    }
}

static void member_value(unsigned node, const char *what, char *to, size_t size)
{
    char path[64];
    testbed_status(&bed, &out, node);
    snprintf(path, sizeof path, "members.%u.%s", node - 1, what);
    testbed_json(&out, path, to, size);
}

static void catches_up(unsigned node)
{
    char theirs[128] = "", ours[128] = "x";
    unsigned other = node == 1 ? 2 : 1;
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 10 && strcmp(theirs, ours) != 0; i++) {
        usleep(100000);
        member_value(other, "root", theirs, sizeof theirs);
        member_value(node, "root", ours, sizeof ours);
    }
    if (strcmp(theirs, ours) != 0) testbed_fail(&bed, "node %u does not catch up", node);
    assert_int_equal(add_event_within(node, TESTBED_PATIENCE_S), 0);
}

/* It has ended: by itself, in order, with code 1. */
static bool has_stopped(unsigned node)
{
    int status = 0;
    if (waitpid(bed.pids[node], &status, WNOHANG) != bed.pids[node]) return false;
    bed.pids[node] = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        testbed_fail(&bed, "node %u ended with status %d", node, status);
    assert_true(testbed_life_has(&bed, node, "nothing more is acknowledged"));
    return true;
}

static void stops_by_itself(unsigned node)
{
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 10; i++) {
        if (has_stopped(node)) return;
        usleep(100000);
    }
    testbed_fail(&bed, "node %u goes on with its disk failed", node);
}

static unsigned leader(void)
{
    char leads[16];
    for (unsigned tries = 0; tries < TESTBED_PATIENCE_S * 10; tries++) {
        for (unsigned node = 1; node <= bed.n; node++) {
            if (!bed.pids[node]) continue;
            member_value(node, "leads", leads, sizeof leads);
            if (strcmp(leads, "true") == 0) return node;
        }
        usleep(100000);
    }
    testbed_fail(&bed, "nobody leads");
}

/* --- a call that fails --- */

/* A node's disk fails as ordered, while it is written to through that node. */
static void disk_fails(unsigned bad, const char *how, const char *log_line)
{
    time_t start = time(NULL);
    write_file(orders[bad], how);
    while (!has_stopped(bad)) {
        if (time(NULL) - start > (time_t)TESTBED_PATIENCE_S)
            testbed_fail(&bed, "node %u goes on with its disk failed: %s", bad, how);
        /* A fresh client hears that it is unreachable; one whose write was under way, that it is not known. */
        if (add_event(bad) != 0 && !strstr(said(), "stopping") && !strstr(said(), "consilium lookup ") &&
            !strstr(said(), "not recorded") && !strstr(said(), "cannot connect"))
            testbed_fail(&bed, "no clear error: %s", said());
    }
    assert_true(testbed_life_has(&bed, bad, log_line));
    others_go_on(bad);
    unlink(orders[bad]);
    testbed_start(&bed, bad);
    testbed_wait_ready(&bed, 30);
    catches_up(bad);
}

static void log_sync_fails(void **state)
{
    (void)state;
    disk_fails(BAD, "fdatasync 1 /log/ EIO\n", "cannot write the log: input/output error");
}

static void log_write_fails_later(void **state)
{
    (void)state;
    disk_fails(BAD, "write 7 /log/ EIO\n", "cannot write the log: input/output error");
}

static void log_is_full(void **state)
{
    (void)state;
    disk_fails(BAD, "write 2 /log/ ENOSPC\n", "cannot write the log: no space left");
}

static void state_sync_fails(void **state)
{
    (void)state;
    disk_fails(BAD, "fdatasync 2 /state/ EIO\n", "cannot write the state: input/output error");
}

static void state_is_full(void **state)
{
    (void)state;
    disk_fails(BAD, "write 3 /state/ ENOSPC\n", "cannot write the state: no space left");
}

static void the_leaders_disk_fails(void **state)
{
    (void)state;
    disk_fails(leader(), "fdatasync 1 /log/ EIO\n", "cannot write the log: input/output error");
}

/* --- a file system that is full --- */

static char folders[5][300], fillers[5][340]; /* by node */

/* A node's folder moves to a file system of 96 MiB. */
static bool make_small_disk(unsigned node)
{
    char command[1200], *folder = folders[node];
    snprintf(folder, sizeof folders[0], "%s/node-%u", bed.dir, node);
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
    for (unsigned node = 1; made && node <= bed.n; node++)
        made = make_small_disk(node);
    return made;
}

static void skip_without_small_disks(void)
{
    if (small_disks) return;
    printf("skipped: no file system may be mounted here\n");
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

/* Before it is full: nothing is taken, nobody else is held up, and it goes on when there is room. */
static void little_space(void **state)
{
    (void)state;
    skip_without_small_disks();
    fill_but(FULL, 12);
    testbed_await_log(&bed, FULL, "little space left on the device: no new blocks are taken");
    assert_true(testbed_life_has(&bed, FULL, " MiB are free there")); /* and what setting says that it is little */
    assert_int_not_equal(add_event_within(FULL, 8), 0);
    if (!strstr(said(), "no space left")) testbed_fail(&bed, "no clear error: %s", said());
    others_go_on(FULL);
    unlink(fillers[FULL]);
    testbed_await_log(&bed, FULL, "space on the device again");
    catches_up(FULL);
}

/* All of a sudden: what can't be kept is not acknowledged. */
static void no_space_at_all(void **state)
{
    (void)state;
    char path[300];
    skip_without_small_disks();
    snprintf(path, sizeof path, "%s/large", bed.dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (unsigned i = 0; i < 900000; i++)
        fputc((int)(i * 7 % 251), f);
    fclose(f);
    fill_but(FULL, 0);
    for (unsigned i = 0; i < 12 && !testbed_life_has(&bed, FULL, "nothing more is acknowledged"); i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-1 record create --patient %s --kind note %s",
                       bed.dir, patient, path);
    if (testbed_life_has(&bed, FULL, "nothing more is acknowledged")) stops_by_itself(FULL);
    else assert_true(testbed_life_has(&bed, FULL, "little space left"));
    others_go_on(FULL);
    unlink(fillers[FULL]);
    testbed_start(&bed, FULL);
    testbed_wait_ready(&bed, 30);
    catches_up(FULL);
}

/* --- full devices of the leader, and of all --- */

#define TOLD_MOST 64

static unsigned told[TOLD_MOST], told_count; /* events that were acknowledged meanwhile */

static bool tell_event(unsigned via, unsigned seconds)
{
    bool done = add_event_within(via, seconds) == 0;
    if (done && told_count < TOLD_MOST) told[told_count++] = events;
    return done;
}

static void is_told(unsigned via)
{
    for (unsigned i = 0; i < 4; i++) /* a leader may be missed at first */
        if (tell_event(via, TESTBED_PATIENCE_S / 4)) return;
    testbed_fail(&bed, "node %u acknowledges nothing: %s", via, said());
}

/* Until it says so; or it has stopped, because a write came before it looked at its device. */
static void says_or_stops(unsigned node, const char *text)
{
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 20; i++) {
        if (bed.pids[node] == 0 || has_stopped(node) || testbed_life_has(&bed, node, text)) return;
        usleep(50000);
    }
    testbed_fail(&bed, "node %u does not say: %s", node, text);
}

#define SAYS_FULL "little space left on the device: no new blocks are taken"
#define SAYS_ROOM "space on the device again"

/* With room on these devices again they go on by themselves, or are started again. */
static void room_again(unsigned first, unsigned last)
{
    for (unsigned node = first; node <= last; node++)
        unlink(fillers[node]);
    for (unsigned node = first; node <= last; node++)
        says_or_stops(node, SAYS_ROOM);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 30);
}

static void everybody_has_what_was_told(void)
{
    char wanted[64];
    for (unsigned node = 1; node <= bed.n; node++) {
        catches_up(node);
        testbed_expect(&bed, 0, &out, "-i %s/patient.key --via node-%u log -n 100", bed.dir, node);
        for (unsigned i = 0; i < told_count; i++) {
            snprintf(wanted, sizeof wanted, "bill e%u", told[i]);
            if (!strstr((const char *)out.data, wanted)) testbed_fail(&bed, "node %u lost %s", node, wanted);
        }
    }
}

/* It hands over, and nobody else is held up. */
static void the_leaders_device_is_full(void **state)
{
    (void)state;
    skip_without_small_disks();
    unsigned led = leader();
    fill_but(led, 0);
    says_or_stops(led, SAYS_FULL);
    others_go_on(led);
    unsigned now = leader();
    if (now == led) testbed_fail(&bed, "node %u leads on with a full device", led);
    is_told(now);
    room_again(led, led);
    everybody_has_what_was_told();
}

/* Nothing is acknowledged; and nothing that was is lost. */
static void all_devices_are_full(void **state)
{
    (void)state;
    skip_without_small_disks();
    for (unsigned node = 1; node <= bed.n; node++)
        is_told(node);
    for (unsigned node = 1; node <= bed.n; node++)
        fill_but(node, 0);
    for (unsigned node = 1; node <= bed.n; node++)
        says_or_stops(node, SAYS_FULL);
    for (unsigned node = 1; node <= bed.n; node++)
        if (tell_event(node, 1)) testbed_fail(&bed, "node %u acknowledged e%u, with all devices full", node, events);
    room_again(1, bed.n);
    everybody_has_what_was_told();
}

/* --- no majority --- */

static void token_of(char *token, size_t size)
{
    const char *at = strstr(said(), "consilium lookup ");
    if (!at) testbed_fail(&bed, "no token: %s", said());
    snprintf(token, size, "%.*s", (int)strcspn(at + 17, " \n"), at + 17);
}

/* The majority goes while writes are under way: within its time-out the client says what it does not know, and
 * its token tells later what became of it; every node then says the same. */
static void without_a_majority(void **state)
{
    (void)state;
    char tokens[2][80], wanted[64];
    bool recorded[2];
    unsigned numbers[2];
    testbed_signal(&bed, 1, SIGKILL);
    testbed_signal(&bed, 2, SIGKILL);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(add_event(3 + i), 5);
        numbers[i] = events;
        token_of(tokens[i], sizeof tokens[i]);
    }
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --timeout 3 record list %s", bed.dir,
                                 patient), 5);
    testbed_start(&bed, 1);
    testbed_start(&bed, 2);
    testbed_wait_ready(&bed, 30);
    others_go_on(0);
    for (unsigned i = 0; i < 2; i++) {
        int code = testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --json lookup %s", bed.dir, tokens[i]);
        recorded[i] = code == 0 && strstr((const char *)out.data, "\"recorded\"");
        if (code != 0 && code != 5) testbed_fail(&bed, "lookup: exit %d: %s", code, said());
        /* Nothing is half done: each node has the event once, or none has it. */
        snprintf(wanted, sizeof wanted, "bill e%u", numbers[i]);
        for (unsigned node = 1; node <= bed.n; node++) {
            unsigned found = 0;
            testbed_expect(&bed, 0, &out, "-i %s/patient.key --via node-%u log -n 100", bed.dir, node);
            for (const char *at = (const char *)out.data; (at = strstr(at, wanted)); at++)
                found += !isdigit((unsigned char)at[strlen(wanted)]);
            if (found != recorded[i])
                testbed_fail(&bed, "%s: %srecorded, but node %u has it %u times", wanted, recorded[i] ? "" : "not ",
                             node, found);
        }
    }
    printf("%d of 2 were recorded\n", recorded[0] + recorded[1]);
}

static int begin(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    for (unsigned node = 1; node <= 4; node++) {
        snprintf(orders[node], sizeof orders[node], "%s/orders-%u", bed.dir, node);
        snprintf(programs[node], sizeof programs[node], "bad_disk --orders %s", orders[node]);
        bed.program[node] = programs[node];
    }
    bed.extra = "--free-mib 16";
    small_disks = make_small_disks();
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= bed.n; i++)
        testbed_signal(&bed, i, SIGKILL);
    for (unsigned i = 1; small_disks && i <= bed.n; i++)
        umount2(folders[i], MNT_DETACH);
    testbed_end(&bed);
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
    };
    return cmocka_run_group_tests(tests, begin, end);
}
