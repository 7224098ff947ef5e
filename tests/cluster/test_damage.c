/* Damage of any kind, at random places, to the files of one of four nodes: bits turned,
 * pages gone back to what they were, sectors lost from the last write, files cut short,
 * in the log and in the state. Each time the node either repairs itself and has the same
 * root as the others again, or stops (or is quarantined) with words that say what to do,
 * and that works. It never dies of a signal or an assertion, never gives a wrong answer,
 * and the others go on.
 *
 * DAMAGES=n: so many in the cluster (and as many starts of the node alone), SEED=n repeats them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypto/random.h"
#include "tests/lib/testbed.h"
#include "tests/lib/trace.h"
#include "tests/lib/unit.h"

#define BAD 4
#define PAGE 4096
#define SECTOR 512
#define EVENTS 40
#define SHORT 5 /* damages where nobody says how many */

static struct testbed bed;
static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], record[ID_TEXT_SIZE];
static struct buffer out, errors, content;
static uint64_t seed, state_of_seed;
static unsigned damages = SHORT, events;

static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }
static uint64_t any(uint64_t below) { return trace_random(&state_of_seed) % (below ? below : 1); }

static const char *build(void)
{
    const char *folder = getenv("BUILD");
    return folder && *folder ? folder : "build";
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (system(command) != 0) testbed_fail(&bed, "%s failed", command);
}

/* --- damage --- */

enum how { FLIP, STALE, LOSE, ZERO, CUT, HOWS };
static const char *const how_names[HOWS] = {"bits turned", "a page as it was before", "sectors lost at the end",
                                            "a page of zeros", "cut short"};

struct victim {
    char path[400], old[400]; /* the file, and a copy from before its last writes */
    bool log;
    off_t size, used; /* up to the last byte that is not zero */
};

static struct buffer load(const char *path)
{
    struct buffer all = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (file < 0 || fstat(file, &st) != 0) testbed_fail(&bed, "%s: %s", path, strerror(errno));
    uint8_t *at = st.st_size ? buffer_extend(&all, (size_t)st.st_size) : NULL;
    if (at && pread(file, at, (size_t)st.st_size, 0) != st.st_size) testbed_fail(&bed, "%s: read", path);
    close(file);
    return all;
}

static void overwrite(const char *path, const void *bytes, size_t size, off_t at)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || pwrite(file, bytes, size, at) != (ssize_t)size) testbed_fail(&bed, "%s: %s", path, strerror(errno));
    close(file);
}

static off_t used_of(const struct buffer *all)
{
    size_t used = all->size;
    while (used > 0 && all->data[used - 1] == 0) used--;
    return (off_t)used;
}

/* A segment of the log that holds something (the last one is the likeliest), or the state's file. */
static void choose(struct victim *v, const char *node, bool log)
{
    char folder[350], names[64][16];
    unsigned count = 0;
    *v = (struct victim){.log = log};
    snprintf(folder, sizeof folder, "%s/%s", node, log ? "log" : "state");
    snprintf(v->path, sizeof v->path, "%s/data.mdb", folder);
    snprintf(v->old, sizeof v->old, "%s/old-data.mdb", bed.dir);
    if (log) {
        DIR *d = opendir(folder);
        for (struct dirent *e; d && (e = readdir(d)) && count < 64;)
            if (strstr(e->d_name, ".seg")) snprintf(names[count++], sizeof names[0], "%.15s", e->d_name);
        if (d) closedir(d);
        assert_true(count > 0);
        unsigned which = (unsigned)any(count);
        snprintf(v->path, sizeof v->path, "%s/%s", folder, names[which]);
        snprintf(v->old, sizeof v->old, "%s/old-%s", bed.dir, names[which]);
    }
    struct buffer all = load(v->path);
    v->size = (off_t)all.size;
    v->used = used_of(&all);
    buffer_free(&all);
}

static void flip(const struct victim *v, const struct buffer *now)
{
    for (uint64_t n = 1 + any(8); n > 0; n--) {
        off_t at = (off_t)any((uint64_t)v->used);
        uint8_t byte = now->data[at] ^ (uint8_t)(1u << any(8));
        overwrite(v->path, &byte, 1, at);
    }
}

/* The first page from a random one on that is not what it was; false: none. */
static bool stale(const struct victim *v, const struct buffer *now)
{
    if (access(v->old, R_OK) != 0) return false;
    struct buffer old = load(v->old);
    size_t pages = (old.size < now->size ? old.size : now->size) / PAGE, from = pages ? (size_t)any(pages) : 0;
    bool found = false;
    for (size_t i = 0; i < pages && !found; i++) {
        size_t at = (from + i) % pages * PAGE;
        found = memcmp(old.data + at, now->data + at, PAGE) != 0;
        if (found) overwrite(v->path, old.data + at, PAGE, (off_t)at);
    }
    buffer_free(&old);
    return found;
}

/* Of the last 16 KiB that were written some sectors, as after a power cut on a disk that lied. */
static void lose(const struct victim *v)
{
    static const uint8_t zeros[SECTOR];
    off_t from = v->used > 16384 ? (v->used - 16384) / SECTOR * SECTOR : 0;
    for (off_t at = from; at < v->used; at += SECTOR)
        if (any(3) == 0 && at + SECTOR <= v->size) overwrite(v->path, zeros, SECTOR, at);
}

static void do_damage(const struct victim *v, enum how how)
{
    static const uint8_t zeros[PAGE];
    struct buffer now = load(v->path);
    if (how == STALE && !stale(v, &now)) how = FLIP;
    switch (how) {
    case FLIP: flip(v, &now); break;
    case STALE: break;
    case LOSE: lose(v); break;
    case ZERO: overwrite(v->path, zeros, PAGE, (off_t)any((uint64_t)v->used) / PAGE * PAGE); break;
    case CUT:
        if (truncate(v->path, (off_t)any((uint64_t)(any(2) ? v->used : v->size))) != 0) fail_test();
        break;
    case HOWS: break;
    }
    buffer_free(&now);
    printf("  %s: %s\n", v->path + strlen(bed.dir) + 1, how_names[how]);
    fflush(stdout);
}

/* As the files are now, for damage of a later round. */
static void keep_old(void)
{
    shell("cp %s/node-%u/state/data.mdb %s/old-data.mdb; for f in %s/node-%u/log/*.seg; do cp $f %s/old-${f##*/}; done",
          bed.dir, BAD, bed.dir, bed.dir, BAD, bed.dir);
}

/* --- how it ends --- */

static bool says_what_to_do(void)
{
    return testbed_life_has(&bed, BAD, "rebuild") || testbed_life_has(&bed, BAD, "its vote does not come back");
}

/* Ended by itself: in order, with words. */
static bool has_ended(void)
{
    int status = 0;
    if (waitpid(bed.pids[BAD], &status, WNOHANG) != bed.pids[BAD]) return false;
    bed.pids[BAD] = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        testbed_fail(&bed, "node %u died of its damage: status %d", BAD, status);
    if (!says_what_to_do()) testbed_fail(&bed, "node %u stops and does not say what to do", BAD);
    return true;
}

static void member_value(unsigned node, const char *what, char *to, size_t size)
{
    char path[64];
    testbed_status(&bed, &out, 1);
    snprintf(path, sizeof path, "members.%u.%s", node - 1, what);
    testbed_json(&out, path, to, size);
}

static bool in_time(uint64_t since) { return clock_monotonic_ns() - since < TESTBED_PATIENCE_S * UINT64_C(1000000000); }

enum verdict { WHOLE, REFUSED, SET_BACK };

static enum verdict verdict(void)
{
    char state[64], theirs[128], ours[128];
    for (uint64_t since = clock_monotonic_ns(); in_time(since);) {
        usleep(50000);
        if (has_ended()) return REFUSED;
        member_value(BAD, "state", state, sizeof state);
        if (strcmp(state, "quarantined") == 0 && says_what_to_do()) return REFUSED;
        if (strncmp(state, "ready", 5) != 0) continue;
        member_value(1, "root", theirs, sizeof theirs);
        member_value(BAD, "root", ours, sizeof ours);
        if (strcmp(ours, theirs) != 0) continue;
        return testbed_life_has(&bed, BAD, "its vote does not come back") ? SET_BACK : WHOLE;
    }
    testbed_fail(&bed, "node %u neither comes back nor says why: %s", BAD, state);
}

/* --- the cluster --- */

static int add_event(unsigned via, unsigned seconds)
{
    return testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --via node-%u --timeout %u event add %s bill e%u",
                       bed.dir, via, seconds, patient, ++events);
}

static void goes_on(unsigned via)
{
    if (add_event(via, TESTBED_PATIENCE_S) != 0) testbed_fail(&bed, "no write through node %u: %s", via, said());
}

/* Whether it shows the record; not another one. */
static bool shows(unsigned via)
{
    int code = testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --via node-%u --timeout 5 record show %s", bed.dir,
                           via, record);
    if (code == 0 && (out.size < content.size || !memmem(out.data, out.size, content.data, content.size)))
        testbed_fail(&bed, "node %u shows another record", via);
    return code == 0;
}

static bool is_quarantined(void)
{
    char state[64];
    member_value(BAD, "state", state, sizeof state);
    return strcmp(state, "quarantined") == 0 && says_what_to_do();
}

/* A damaged row is an error until a scrub has come by; a damaged node may find out only now. */
static bool comes_to_show(unsigned via)
{
    for (uint64_t since = clock_monotonic_ns(); in_time(since);) {
        if (shows(via)) return true;
        if (has_ended() || is_quarantined()) return false;
        usleep(200000);
    }
    testbed_fail(&bed, "node %u shows no record: %s", via, said());
}

static int consiliumd(const char *words)
{
    char command[900];
    snprintf(command, sizeof command, "%s/consiliumd %s --dir %s/node-%u >>%s/said 2>&1", build(), words, bed.dir, BAD,
             bed.dir);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* All four as they were at the start: after damage that only a new node could make up for. */
static void reset(void)
{
    for (unsigned node = 1; node <= bed.n; node++) {
        testbed_signal(&bed, node, SIGKILL);
        shell("rm -rf %s/node-%u && cp -a %s/first/node-%u %s/", bed.dir, node, bed.dir, node, bed.dir);
    }
    shell("rm -f %s/old-*", bed.dir);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
}

/* A node that refused: what it said to do works, or says itself why not. */
static bool rebuilt(void)
{
    testbed_signal(&bed, BAD, SIGTERM);
    int code = consiliumd("rebuild");
    if (code > 1) testbed_fail(&bed, "rebuild: exit code %d", code);
    shell("rm -rf %s/node-%u/state.set-aside*", bed.dir, BAD);
    if (code == 1) return false; /* its log has no readable header left: a new node */
    testbed_start(&bed, BAD);
    switch (verdict()) {
    case WHOLE: return true;
    case SET_BACK: return false;
    case REFUSED: testbed_fail(&bed, "a rebuilt node refuses");
    }
    return false;
}

static void each_damage_is_repaired_or_refused(void **state)
{
    (void)state;
    unsigned counts[3] = {0}, anew = 0;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/node-%u", bed.dir, BAD);
    for (unsigned i = 0; i < damages; i++) {
        struct victim v;
        testbed_signal(&bed, BAD, any(2) ? SIGTERM : SIGKILL);
        choose(&v, folder, any(2));
        do_damage(&v, (enum how)any(HOWS));
        goes_on(1 + (unsigned)any(3));
        testbed_start(&bed, BAD);
        shows(BAD);
        enum verdict how = verdict();
        if (how == WHOLE && !comes_to_show(BAD)) how = REFUSED;
        counts[how]++;
        bool whole = how == WHOLE || (how == REFUSED && rebuilt() && comes_to_show(BAD));
        if (!whole) {
            anew++;
            reset();
        }
        if (whole && any(2)) keep_old();
    }
    printf("%u damages: %u repaired, %u refused, %u set back; %u times nothing but a new node\n", damages,
           counts[WHOLE], counts[REFUSED], counts[SET_BACK], anew);
}

/* --- alone --- */

/* Starts the damaged node until it listens, or ends; the files are put back. */
static bool starts_alone(const char *good)
{
    testbed_start(&bed, BAD);
    bool ended = false;
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 50 && !ended; i++) {
        usleep(20000);
        ended = has_ended();
        if (!ended && testbed_life_has(&bed, BAD, "listening on")) break;
    }
    usleep(ended ? 0 : 20000);
    if (!ended && has_ended()) ended = true;
    testbed_signal(&bed, BAD, SIGKILL);
    shell("rm -rf %s/node-%u && cp -a %s %s/node-%u", bed.dir, BAD, good, bed.dir, BAD);
    return !ended;
}

static void files_cut_at_any_length(void **state)
{
    (void)state;
    char folder[300], good[300];
    struct victim v;
    unsigned lengths = damages < 100 ? damages : 100, started = 0, tried = 0;
    snprintf(folder, sizeof folder, "%s/node-%u", bed.dir, BAD);
    snprintf(good, sizeof good, "%s/good", bed.dir);
    reset(); /* what was damaged above may not be repaired everywhere */
    for (unsigned node = 1; node <= bed.n; node++)
        testbed_signal(&bed, node, SIGTERM);
    assert_int_equal(consiliumd("scrub --now"), 0);
    shell("cp -a %s %s", folder, good);
    for (int log = 0; log < 2; log++)
        for (unsigned i = 0; i < lengths; i++) {
            choose(&v, folder, log);
            off_t most = i % 2 || v.used == 0 ? v.size : v.used;
            if (truncate(v.path, most / lengths * i) != 0) fail_test();
            int code = consiliumd("scrub --now");
            if (code != 0 && code != 1 && code != 6) testbed_fail(&bed, "scrub of %s: exit code %d", v.path, code);
            started += starts_alone(good);
            tried++;
        }
    printf("%u lengths: %u started, %u refused\n", tried, started, tried - started);
}

/* Damage of the state where nobody repairs it: what reads it says so, and does not fall over. */
static void a_damaged_state_is_read(void **state)
{
    (void)state;
    char folder[300], good[300];
    struct victim v;
    unsigned found = 0;
    snprintf(folder, sizeof folder, "%s/node-%u", bed.dir, BAD);
    snprintf(good, sizeof good, "%s/good", bed.dir);
    for (unsigned i = 0; i < damages * 3; i++) {
        choose(&v, folder, any(4) == 0);
        do_damage(&v, (enum how)any(HOWS));
        int code = consiliumd("scrub --now");
        if (code != 0 && code != 1 && code != 6) testbed_fail(&bed, "scrub of %s: exit code %d", v.path, code);
        found += code != 0;
        if (i % 3 == 0) starts_alone(good);
        else shell("rm -rf %s && cp -a %s %s", folder, good, folder);
    }
    printf("%u damages: %u found by a scrub\n", damages * 3, found);
}

static int begin(void **state)
{
    (void)state;
    const char *text = getenv("SEED"), *count = getenv("DAMAGES");
    random_bytes(&seed, sizeof seed);
    seed = text ? strtoull(text, NULL, 10) : seed % 1000000;
    state_of_seed = seed;
    if (count) damages = (unsigned)strtoul(count, NULL, 10);
    fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
    testbed_make(&bed, 4, 1);
    bed.extra = "--scrub-rate 65536 --scrub-pause 1 --map-gib 4";
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    for (unsigned i = 0; i < 2000; i++) {
        char line[40];
        snprintf(line, sizeof line, "line %u\n", i);
        buffer_append_text(&content, line);
    }
    buffer_append(&content, "", 1);
    testbed_record(&bed, record, patient, (const char *)content.data);
    content.size--;
    for (unsigned i = 0; i < EVENTS; i++)
        goes_on(1 + i % 4);
    shell("mkdir %s/first", bed.dir);
    for (unsigned node = 1; node <= bed.n; node++)
        testbed_signal(&bed, node, SIGTERM);
    shell("cp -a %s/node-[1-4] %s/first/", bed.dir, bed.dir);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    keep_old();
    return 0;
}

static int end(void **state)
{
    (void)state;
    testbed_end(&bed);
    buffer_free(&out);
    buffer_free(&errors);
    buffer_free(&content);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_damage_is_repaired_or_refused),
        cmocka_unit_test(files_cut_at_any_length),
        cmocka_unit_test(a_damaged_state_is_read),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
