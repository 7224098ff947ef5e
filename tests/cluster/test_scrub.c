/* Scrubbing on real nodes: damage of each kind to one of four nodes is found and repaired
 * from the others, in the state and in the log; what can't be repaired quarantines that
 * node, over restarts, until it is rebuilt. The others go on all the time. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

#define RECORDS 6
#define EVENTS 10
#define PATIENCE 90 /* seconds for anything to happen */

static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE];
static char records[RECORDS][ID_TEXT_SIZE];

/* Loops that wait: false when it has taken too long. */
static bool still(time_t since)
{
    nanosleep(&(struct timespec){0, 200 * 1000000}, NULL);
    return time(NULL) - since < PATIENCE;
}

/* --- a cluster with something in it --- */

static void write_content(unsigned n)
{
    char path[400];
    snprintf(path, sizeof path, "%s/content-%u", bed.dir, n);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (unsigned i = 0; i < 200 + 300 * n; i++) fprintf(f, "line %u of record %u\n", i, n);
    fclose(f);
}

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    bed.extra = "--scrub-rate 65536 --scrub-pause 1";
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 2", "auditor", auditor);
    for (unsigned n = 0; n < RECORDS; n++) {
        write_content(n);
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --json record create --patient %s --kind note %s/content-%u",
                       bed.dir, patient, bed.dir, n);
        testbed_json(&out, "record", records[n], sizeof records[n]);
    }
    for (int i = 0; i < EVENTS; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print B-%d", bed.dir, patient, i);
    return 0;
}

/* --- what is said of node 4 --- */

static uint64_t counter(const char *name)
{
    char path[64], value[32];
    testbed_status(&bed, &out, 4);
    snprintf(path, sizeof path, "counters.%s", name);
    testbed_json(&out, path, value, sizeof value);
    return strtoull(value, NULL, 10);
}

static void wait_log(const char *words)
{
    for (time_t since = time(NULL); still(since);)
        if (testbed_log_has(&bed, 4, words)) return;
    testbed_fail(&bed, "node 4 does not say \"%s\"", words);
}

/* Whole passes since now, nothing found in the last one. */
static void wait_clean(void)
{
    for (time_t since = time(NULL); still(since);) {
        uint64_t passes = counter("scrub_passes"), found = counter("scrub_found");
        while (counter("scrub_passes") < passes + 2 && still(since)) {}
        if (counter("scrub_found") == found && counter("scrub_repaired") == found) return;
    }
    testbed_fail(&bed, "node 4 does not come to an end: found %llu, repaired %llu",
                 (unsigned long long)counter("scrub_found"), (unsigned long long)counter("scrub_repaired"));
}

/* Size and root of all four are one, as node 1 hears of them. */
static void wait_equal(void)
{
    char values[5][80], path[32];
    for (time_t since = time(NULL); still(since);) {
        unsigned same = 0;
        testbed_status(&bed, &out, 1);
        for (unsigned node = 1; node <= 4; node++) {
            snprintf(path, sizeof path, "members.%u.root", node - 1);
            testbed_json(&out, path, values[node], sizeof values[node]);
            same += strcmp(values[node], values[1]) == 0;
        }
        if (same == 4) return;
    }
    testbed_fail(&bed, "the roots of the nodes stay different");
}

static void assert_readable(void)
{
    char path[400];
    for (unsigned n = 0; n < RECORDS; n++) {
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-4 record show %s", bed.dir, records[n]);
        snprintf(path, sizeof path, "%s/content-%u", bed.dir, n);
        FILE *f = fopen(path, "r");
        char *content = malloc(LIMIT_RECORD);
        size_t size = fread(content, 1, LIMIT_RECORD, f);
        fclose(f);
        if (out.size < size || !memmem(out.data, out.size, content, size))
            testbed_fail(&bed, "record %u is not as it was written:\n%s", n, text());
        free(content);
    }
}

/* --- damage --- */

static void tamper(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void tamper(const char *format, ...)
{
    char what[200], command[700];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    snprintf(command, sizeof command, "%s/tamper --dir %s/node-4 %s", build(), bed.dir, what);
    if (system(command) != 0) testbed_fail(&bed, "%s failed", command);
}

static int consiliumd(const char *words)
{
    char command[900];
    snprintf(command, sizeof command, "%s/consiliumd %s --dir %s/node-4 >%s/said 2>&1", build(), words, bed.dir,
             bed.dir);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool consiliumd_said(const char *words)
{
    char path[400], *line = NULL;
    size_t size = 0;
    bool found = false;
    snprintf(path, sizeof path, "%s/said", bed.dir);
    FILE *f = fopen(path, "r");
    while (f && getline(&line, &size, f) > 0) found |= strstr(line, words) != NULL;
    if (f) fclose(f);
    free(line);
    return found;
}

/* Indexes of entries of an action, the newest first. */
static unsigned entries(const char *action, unsigned *indexes, unsigned most)
{
    unsigned count = 0;
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json log --all --action %s --limit %u", bed.dir, action, most);
    for (const char *at = text(); count < most && (at = strstr(at, "\"index\":")); at++)
        indexes[count++] = (unsigned)atoi(at + strlen("\"index\":"));
    return count;
}

static void test_repaired(void **state)
{
    (void)state;
    unsigned events[EVENTS], creates[RECORDS];
    assert_int_equal(entries("event.add", events, EVENTS), EVENTS);
    assert_int_equal(entries("record.create", creates, RECORDS), RECORDS);
    testbed_signal(&bed, 4, SIGTERM);
    tamper("flip leaf %u", events[1]);
    tamper("leaf %u", events[3]);
    tamper("swap %u", events[7]);
    tamper("remove %u", events[5]);
    tamper("attachment %u", creates[0]);
    tamper("flip attachment %u", creates[1]);
    tamper("drop attachment %u", creates[2]);
    tamper("drop content_info %u", creates[3]);
    tamper("alter tree 5");
    tamper("flip tree 12");
    tamper("alter log_actor first");
    tamper("flip log_subject last");
    tamper("drop version first");
    tamper("flip record first");
    tamper("drop patient_record last");
    tamper("flip login first");
    assert_int_equal(consiliumd("scrub --now"), 6);
    if (!consiliumd_said("DELETED") || !consiliumd_said("MODIFIED")) testbed_fail(&bed, "scrub --now names no damage");
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 60);
    wait_clean();
    assert_true(counter("scrub_found") >= 12);
    wait_log("is gone");
    wait_log("seal does not open");
    wait_log("repaired: ");
    wait_equal();
    assert_readable();
    assert_int_equal(consiliumd("scrub --now"), 0); /* beside the running node */
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key verify --all", bed.dir);
    testbed_signal(&bed, 4, SIGTERM);
    assert_int_equal(consiliumd("scrub --now"), 0);
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 60);
}

/* --- the log --- */

struct place {
    char path[500];
    long offset, size;
};

/* A block in the middle of node 4's log. */
static struct place block_of_log(void)
{
    struct place p = {.offset = -1};
    char path[400], *line = NULL, name[200];
    size_t size = 0;
    unsigned blocks = 0;
    assert_int_equal(consiliumd("dump log"), 0);
    snprintf(path, sizeof path, "%s/said", bed.dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (getline(&line, &size, f) > 0) {
        long offset, bytes;
        if (!strstr(line, " block ") || sscanf(line, "%199[^+]+%ld %ld bytes", name, &offset, &bytes) != 3) continue;
        if (++blocks != 12) continue;
        snprintf(p.path, sizeof p.path, "%s/node-4/log/%s", bed.dir, name);
        p.offset = offset;
        p.size = bytes;
    }
    free(line);
    fclose(f);
    assert_true(p.offset > 0);
    return p;
}

static void test_log(void **state)
{
    (void)state;
    struct place p = block_of_log();
    uint8_t byte;
    int file = open(p.path, O_RDWR);
    assert_true(file >= 0);
    assert_int_equal(pread(file, &byte, 1, p.offset + p.size / 2), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(file, &byte, 1, p.offset + p.size / 2), 1);
    close(file);
    wait_log("of the replicated log are damaged");
    wait_clean();
    assert_int_equal(consiliumd("scrub --now"), 0); /* the damaged bytes are there still, put back behind */
    for (unsigned node = 1; node <= 4; node++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u event add %s bill.print L-%u", bed.dir, node,
                       patient, node);
    wait_equal();
}

/* --- what can't be repaired --- */

static void expect_refused(void)
{
    for (time_t since = time(NULL); still(since);) {
        int code = testbed_cli(&bed, &out, &errors,
                               "-i %s/doctor.key --via node-4 --timeout 5 event add %s bill.print no", bed.dir,
                               patient);
        if (code != 0 && (strstr(said(), "quarantine") || strstr(said(), "COMPROMISED"))) return;
    }
    testbed_fail(&bed, "node 4 serves, or does not say why not:\n%s", said());
}

static void expect_quarantined(void)
{
    char value[40];
    for (time_t since = time(NULL); still(since);) {
        testbed_status(&bed, &out, 1);
        testbed_json(&out, "members.3.state", value, sizeof value);
        if (strcmp(value, "quarantined") == 0) return;
    }
    testbed_fail(&bed, "node 4 is not quarantined but %s", value);
}

static void test_quarantined(void **state)
{
    (void)state;
    testbed_signal(&bed, 4, SIGTERM);
    tamper("flip dealing first");
    assert_int_equal(consiliumd("scrub --now"), 6);
    assert_true(consiliumd_said("consiliumd rebuild"));
    testbed_start(&bed, 4);
    wait_log("table dealing");
    expect_quarantined();
    expect_refused();
    assert_int_not_equal(consiliumd("rebuild"), 0); /* it runs */
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-2 event add %s bill.print Q-1", bed.dir, patient);
    testbed_signal(&bed, 4, SIGKILL);
    testbed_start(&bed, 4);
    expect_quarantined(); /* still */
    expect_refused();
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-3 record show %s", bed.dir, records[1]);
    testbed_signal(&bed, 4, SIGTERM);
    assert_int_equal(consiliumd("rebuild"), 0);
    assert_int_equal(consiliumd("rebuild"), 0); /* once more does no harm */
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 90);
    wait_clean();
    wait_equal();
    assert_readable();
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-4 event add %s bill.print Q-2", bed.dir, patient);
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key verify --all", bed.dir);
}

/* --- a file that can't be read at all --- */

static void spoil(const char *how)
{
    char command[900];
    snprintf(command, sizeof command, "f=%s/node-4/state/data.mdb; size=$(stat -c %%s $f); %s", bed.dir, how);
    if (system(command) != 0) testbed_fail(&bed, "%s failed", command);
}

static void test_unreadable(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "truncate -s $((size / 2)) $f",
        "dd if=/dev/urandom of=$f bs=4096 seek=2 count=$((size / 4096 - 2)) conv=notrunc status=none",
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        testbed_signal(&bed, 4, SIGTERM);
        spoil(ways[i]);
        int code = consiliumd("scrub --now");
        if (code != 6 || !consiliumd_said("consiliumd rebuild"))
            testbed_fail(&bed, "scrub --now of a spoiled file: exit code %d", code);
        assert_int_equal(consiliumd("rebuild"), 0);
        testbed_start(&bed, 4);
        testbed_wait_ready(&bed, 90);
        wait_equal();
    }
    assert_readable();
    assert_int_equal(consiliumd("scrub --now"), 0);
}

/* A pass goes on where it was, after a kill. */
static void test_killed(void **state)
{
    (void)state;
    uint64_t before = counter("scrub_passes");
    for (int i = 0; i < 3; i++) {
        testbed_signal(&bed, 4, SIGKILL);
        testbed_start(&bed, 4);
        testbed_wait_ready(&bed, 60);
    }
    assert_true(counter("scrub_passes") + 1 >= before); /* what was counted last may not have been durable */
    wait_clean();
}

/* --- the rate --- */

#define RATE_KIB 128
#define AT_ONCE (64 * KIB + LIMIT_ATTACHMENT + 256 * KIB) /* saved up, and the last value or piece of the log */

/* What it says to have read, against all the time since before it started: never more than its rate, and it gets on. */
static void test_rate(void **state)
{
    (void)state;
    char extra[100];
    const char *before = bed.extra;
    struct timespec start, now;
    uint64_t bytes = 0, passes = counter("scrub_passes"), permille = 0;
    testbed_signal(&bed, 4, SIGTERM);
    snprintf(extra, sizeof extra, "--scrub-rate %d --scrub-pause 0", RATE_KIB);
    bed.extra = extra;
    clock_gettime(CLOCK_MONOTONIC, &start);
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 60);
    for (time_t since = time(NULL); bytes < 2 * RATE_KIB * KIB || permille == 0 || counter("scrub_passes") == passes;) {
        if (!still(since))
            testbed_fail(&bed, "%llu bytes read, at %llu", (unsigned long long)bytes, (unsigned long long)permille);
        bytes = counter("scrub_bytes");
        if (counter("scrub_permille") > 0) permille = counter("scrub_permille");
        clock_gettime(CLOCK_MONOTONIC, &now);
        double seconds = (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
        if ((double)bytes > seconds * RATE_KIB * KIB + AT_ONCE)
            testbed_fail(&bed, "%llu bytes in %.1f s are more than %d KiB/s", (unsigned long long)bytes, seconds,
                         RATE_KIB);
        assert_true(permille <= 1000);
    }
    assert_int_equal(counter("scrub_rate_kib"), RATE_KIB);
    testbed_expect(&bed, 0, &out, "--via node-4 status");
    if (!strstr(text(), "node-4 re-reads its whole store: passes so far "))
        testbed_fail(&bed, "no word of it:\n%s", text());
    testbed_signal(&bed, 4, SIGTERM);
    bed.extra = before;
    testbed_start(&bed, 4);
    testbed_wait_ready(&bed, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repaired),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_quarantined),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests(tests, setup, bed_end);
}
