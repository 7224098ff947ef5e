/* Damage of any kind, at random places, to the files of one of five nodes under load: bits turned,
 * pages gone back to what they were, sectors lost from the last write, files cut short,
 * in the log and in the state. Each time the node either repairs itself and has the same
 * root as the others again, or stops (or is quarantined) with words that say what to do,
 * and that works. It never dies of a signal or an assertion, never gives a wrong answer,
 * and the others go on; what was acknowledged meanwhile is on every node (tests/lib/chaos.h).
 *
 * DAMAGES=n: so many in the cluster (and as many starts of the node alone), SEED=n repeats them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "ledger/alarm.h"
#include "tests/lib/chaos_bed.h"
#include "tests/lib/unit.h"

#define BAD 4u
#define OTHERS (CHAOS_ALL & ~(1u << BAD))
#define PAGE 4096
#define SECTOR 512
#define FIRST 40 /* operations before the first damage */
#define SHORT 5 /* damages where nobody says how many */

static char record[ID_TEXT_SIZE];
static struct buffer out, errors, content;
static unsigned damages = SHORT, acknowledged; /* the latter of clusters that were put back */

static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }
static uint64_t any(uint64_t below) { return chaos_below(&chaos, below ? (unsigned)below : 1); }

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
    if (system(command) != 0) testbed_fail(&chaos.bed, "%s failed", command);
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
    if (file < 0 || fstat(file, &st) != 0) testbed_fail(&chaos.bed, "%s: %s", path, strerror(errno));
    uint8_t *at = st.st_size ? buffer_extend(&all, (size_t)st.st_size) : NULL;
    if (at && pread(file, at, (size_t)st.st_size, 0) != st.st_size) testbed_fail(&chaos.bed, "%s: read", path);
    close(file);
    return all;
}

static void overwrite(const char *path, const void *bytes, size_t size, off_t at)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || pwrite(file, bytes, size, at) != (ssize_t)size)
        testbed_fail(&chaos.bed, "%s: %s", path, strerror(errno));
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
    snprintf(v->old, sizeof v->old, "%s/old-data.mdb", chaos.bed.dir);
    if (log) {
        DIR *d = opendir(folder);
        for (struct dirent *e; d && (e = readdir(d)) && count < 64;)
            if (strstr(e->d_name, ".seg")) snprintf(names[count++], sizeof names[0], "%.15s", e->d_name);
        if (d) closedir(d);
        assert_true(count > 0);
        unsigned which = (unsigned)any(count);
        snprintf(v->path, sizeof v->path, "%s/%s", folder, names[which]);
        snprintf(v->old, sizeof v->old, "%s/old-%s", chaos.bed.dir, names[which]);
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
    printf("  %s: %s\n", v->path + strlen(chaos.bed.dir) + 1, how_names[how]);
    fflush(stdout);
}

/* As the files are now, for damage of a later round. */
static void keep_old(void)
{
    shell("cp %s/node-%u/state/data.mdb %s/old-data.mdb; for f in %s/node-%u/log/*.seg; do cp $f %s/old-${f##*/}; done",
          chaos.bed.dir, BAD, chaos.bed.dir, chaos.bed.dir, BAD, chaos.bed.dir);
}

/* --- how it ends --- */

static bool is_set_back(void) { return testbed_life_has(&chaos.bed, BAD, "was set back"); }

static bool says_what_to_do(void)
{
    return testbed_life_has(&chaos.bed, BAD, "rebuild") ||
           testbed_life_has(&chaos.bed, BAD, "it gets its vote back by itself");
}

/* By itself, in order and with words; or as it was told to. */
static void judge(int status, int told)
{
    if (told && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && told == SIGKILL) return;
    if (told && WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        testbed_fail(&chaos.bed, "node %u died of its damage: status %d", BAD, status);
    if (!says_what_to_do()) testbed_fail(&chaos.bed, "node %u stops and does not say what to do", BAD);
}

static void stop_it(int number)
{
    if (chaos.bed.pids[BAD] > 0) judge(testbed_signal(&chaos.bed, BAD, number), number);
}

static bool has_ended(void)
{
    int status = 0;
    if (chaos.bed.pids[BAD] <= 0) return true;
    if (waitpid(chaos.bed.pids[BAD], &status, WNOHANG) != chaos.bed.pids[BAD]) return false;
    chaos.bed.pids[BAD] = 0;
    judge(status, 0);
    return true;
}

/* As another one says. */
static void its_state(char *to, size_t size)
{
    char path[64];
    testbed_status(&chaos.bed, &out, 1);
    snprintf(path, sizeof path, "members.%u.state", BAD - 1);
    testbed_json(&out, path, to, size);
}

static bool is_quarantined(void)
{
    char state[64];
    its_state(state, sizeof state);
    return strcmp(state, "quarantined") == 0 && says_what_to_do();
}

static bool in_time(uint64_t since) { return clock_monotonic_ns() - since < TESTBED_PATIENCE_S * UINT64_C(1000000000); }

enum verdict { WHOLE, REFUSED, SET_BACK };

static enum verdict verdict(void)
{
    char state[64];
    for (uint64_t since = clock_monotonic_ns(); in_time(since);) {
        usleep(50000);
        if (has_ended()) return REFUSED;
        its_state(state, sizeof state);
        if (strcmp(state, "quarantined") == 0 && says_what_to_do()) return REFUSED;
        if (strncmp(state, "ready", 5) != 0 || !chaos_same_root(&chaos, BAD, 1)) continue;
        return is_set_back() ? SET_BACK : WHOLE;
    }
    testbed_fail(&chaos.bed, "node %u neither comes back nor says why: %s", BAD, state);
}

/* --- the cluster --- */

/* Whether it shows the record; not another one. */
static bool shows(unsigned seconds)
{
    int code = testbed_cli(&chaos.bed, &out, &errors, "-i %s/doctor.key --via node-%u --timeout %u record show %s",
                           chaos.bed.dir, BAD, seconds, record);
    if (code == 0 && (out.size < content.size || !memmem(out.data, out.size, content.data, content.size)))
        testbed_fail(&chaos.bed, "node %u shows another record", BAD);
    return code == 0;
}

/* A damaged row is an error until a scrub has come by; a damaged node may find out only now. */
static bool comes_to_show(void)
{
    for (uint64_t since = clock_monotonic_ns(); in_time(since);) {
        if (shows(5)) return true;
        if (has_ended() || is_quarantined()) return false;
        usleep(200000);
    }
    testbed_fail(&chaos.bed, "node %u shows no record: %s", BAD, said());
}

static int consiliumd(const char *words)
{
    char command[900];
    snprintf(command, sizeof command, "%s/consiliumd %s --dir %s/node-%u >>%s/said 2>&1", build(), words,
             chaos.bed.dir, BAD, chaos.bed.dir);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void put_back(unsigned node)
{
    testbed_signal(&chaos.bed, node, SIGKILL);
    shell("rm -rf %s/node-%u && cp -a %s/first/node-%u %s/", chaos.bed.dir, node, chaos.bed.dir, node, chaos.bed.dir);
}

static void all_start(void)
{
    testbed_start_all(&chaos.bed);
    testbed_wait_ready(&chaos.bed, 60);
    chaos_load(&chaos);
}

/* All five as they were at first: after damage that only a new node could make up for. What was acknowledged since then
 * goes with that, and is looked for before. */
static void reset(void)
{
    chaos_check_on(&chaos, OTHERS);
    acknowledged += chaos_acknowledged(&chaos);
    chaos_forget(&chaos);
    for (unsigned node = 1; node <= CHAOS_NODES; node++) put_back(node);
    shell("rm -f %s/old-*", chaos.bed.dir);
    all_start();
}

/* A node whose log lost what it had signed: it is left running, as it says. */
static bool votes_again(void)
{
    for (uint64_t since = clock_monotonic_ns(); in_time(since); usleep(100000)) {
        if (has_ended() || is_quarantined()) return false;
        if (testbed_life_has(&chaos.bed, BAD, "this node votes again")) return true;
    }
    testbed_fail(&chaos.bed, "node %u does not vote again", BAD);
}

/* A node that refused: what it said to do works, or says itself why not. */
static bool rebuilt(void)
{
    stop_it(SIGTERM);
    int code = consiliumd("rebuild");
    if (code > 1) testbed_fail(&chaos.bed, "rebuild: exit code %d", code);
    shell("rm -rf %s/node-%u/state.set-aside*", chaos.bed.dir, BAD);
    if (code == 1) return false; /* its log has no readable header left: a new node */
    testbed_start(&chaos.bed, BAD);
    switch (verdict()) {
    case WHOLE: return true;
    case SET_BACK: return votes_again();
    case REFUSED: testbed_fail(&chaos.bed, "a rebuilt node refuses");
    }
    return false;
}

static enum verdict damaged(void)
{
    struct victim v;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/node-%u", chaos.bed.dir, BAD);
    stop_it(any(2) ? SIGTERM : SIGKILL);
    choose(&v, folder, any(2));
    do_damage(&v, (enum how)any(HOWS));
    chaos_goes_on(&chaos, OTHERS, "    without it");
    testbed_start(&chaos.bed, BAD);
    uint64_t since = chaos_now_ms();
    shows(1); /* what is damaged is asked for at once */
    enum verdict how = verdict();
    if (how == SET_BACK && !votes_again()) how = REFUSED;
    if (how != REFUSED && !comes_to_show()) how = REFUSED;
    chaos_went_on(&chaos, OTHERS, "    beside it", since);
    return how;
}

static void each_damage_is_repaired_or_refused(void **state)
{
    (void)state;
    unsigned counts[3] = {0}, anew = 0;
    for (unsigned i = 0; i < damages; i++) {
        enum verdict how = damaged();
        counts[how]++;
        bool whole = how != REFUSED || (rebuilt() && comes_to_show());
        if (!whole) {
            anew++;
            reset();
        }
        if (whole && any(2)) keep_old();
    }
    printf("%u damages: %u repaired, %u refused, %u set back; %u times nothing but a new node\n", damages,
           counts[WHOLE], counts[REFUSED], counts[SET_BACK], anew);
}

/* Only an administrator does, and once it votes again. */
static void clear_set_back(void)
{
    if (is_set_back() && !testbed_life_has(&chaos.bed, BAD, "this node votes again")) return;
    json_t *rows = json_loadb((const char *)out.data, out.size, 0, NULL), *row;
    size_t i;
    json_array_foreach(rows, i, row) {
        long long entry = (long long)json_integer_value(json_object_get(row, "entry"));
        const char *kind = json_string_value(json_object_get(row, "kind"));
        if (entry == 0 || strcmp(kind, alarm_kind_text(ALARM_ROLLED_BACK)) != 0) continue;
        testbed_expect(&chaos.bed, 0, NULL, "-i %s alarm clear %lld --note 'it votes again'", chaos.bed.admin, entry);
    }
    json_decref(rows);
}

/* Whether no alarm is open; *since is now when others are than before: many take long, one after the other. */
static bool alarms_end(uint64_t *since)
{
    static struct buffer before;
    testbed_expect(&chaos.bed, 0, &out, "-i %s/auditor.key --json alarm list", chaos.bed.dir);
    if (!bytes_equal(buffer_bytes(&out), buffer_bytes(&before))) *since = clock_monotonic_ns();
    buffer_clear(&before);
    buffer_append_bytes(&before, buffer_bytes(&out));
    clear_set_back();
    return chaos_mended(&chaos);
}

/* Until it has read all that it holds since its start, and no alarm is open; false: it found what it refuses. A pass of
 * the scrub may have begun in the node's last life. */
static bool finds_no_more(void)
{
    for (uint64_t since = clock_monotonic_ns(); in_time(since); usleep(100000)) {
        if (has_ended() || is_quarantined()) return false;
        bool read = testbed_life_count(&chaos.bed, BAD, " of the state checked") >= 2;
        if (read && alarms_end(&since)) return true;
    }
    testbed_fail(&chaos.bed, "node %u has not mended what it found: %s", BAD,
                 out.data ? (const char *)out.data : "");
}

/* What is found late may end it, too. */
static void nothing_is_lost_by_damage(void **state)
{
    (void)state;
    chaos_unload(&chaos);
    while (!finds_no_more())
        if (!rebuilt()) reset();
    chaos_check_mended(&chaos);
    printf("%u acknowledged in all\n", acknowledged + chaos_acknowledged(&chaos));
}

/* --- alone --- */

/* Starts the damaged node until it listens, or ends; the files are put back. */
static bool starts_alone(const char *good)
{
    testbed_start(&chaos.bed, BAD);
    bool ended = false;
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 50 && !ended; i++) {
        usleep(20000);
        ended = has_ended();
        if (!ended && testbed_life_has(&chaos.bed, BAD, "listening on")) break;
    }
    usleep(ended ? 0 : 20000);
    if (!ended && has_ended()) ended = true;
    testbed_signal(&chaos.bed, BAD, SIGKILL);
    shell("rm -rf %s/node-%u && cp -a %s %s/node-%u", chaos.bed.dir, BAD, good, chaos.bed.dir, BAD);
    return !ended;
}

static void files_cut_at_any_length(void **state)
{
    (void)state;
    char folder[300], good[300];
    struct victim v;
    unsigned lengths = damages < 100 ? damages : 100, started = 0, tried = 0;
    snprintf(folder, sizeof folder, "%s/node-%u", chaos.bed.dir, BAD);
    snprintf(good, sizeof good, "%s/good", chaos.bed.dir);
    for (unsigned node = 1; node <= CHAOS_NODES; node++)
        testbed_signal(&chaos.bed, node, SIGKILL);
    put_back(BAD); /* what was damaged above may not be repaired everywhere */
    assert_int_equal(consiliumd("scrub --now"), 0);
    shell("cp -a %s %s", folder, good);
    for (int log = 0; log < 2; log++)
        for (unsigned i = 0; i < lengths; i++) {
            choose(&v, folder, log);
            off_t most = i % 2 || v.used == 0 ? v.size : v.used;
            if (truncate(v.path, most / lengths * i) != 0) fail_test();
            int code = consiliumd("scrub --now");
            if (code != 0 && code != 1 && code != 6)
                testbed_fail(&chaos.bed, "scrub of %s: exit code %d", v.path, code);
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
    snprintf(folder, sizeof folder, "%s/node-%u", chaos.bed.dir, BAD);
    snprintf(good, sizeof good, "%s/good", chaos.bed.dir);
    for (unsigned i = 0; i < damages * 3; i++) {
        choose(&v, folder, any(4) == 0);
        do_damage(&v, (enum how)any(HOWS));
        int code = consiliumd("scrub --now");
        if (code != 0 && code != 1 && code != 6)
            testbed_fail(&chaos.bed, "scrub of %s: exit code %d", v.path, code);
        found += code != 0;
        if (i % 3 == 0) starts_alone(good);
        else shell("rm -rf %s && cp -a %s %s", folder, good, folder);
    }
    printf("%u damages: %u found by a scrub\n", damages * 3, found);
}

static int begin(void **state)
{
    (void)state;
    const char *count = getenv("DAMAGES");
    if (count) damages = (unsigned)strtoul(count, NULL, 10);
    chaos_prepare(&chaos, CHAOS_NODES, 1, false);
    chaos.bed.extra = "--scrub-rate 65536 --scrub-pause 1 --map-gib 4";
    chaos_start(&chaos);
    for (unsigned i = 0; i < 2000; i++) {
        char line[40];
        snprintf(line, sizeof line, "line %u\n", i);
        buffer_append_text(&content, line);
    }
    buffer_append(&content, "", 1);
    testbed_record(&chaos.bed, record, chaos.patient, (const char *)content.data);
    content.size--;
    chaos_load(&chaos);
    chaos_goes_on(&chaos, CHAOS_ALL, "at first");
    while (chaos_acknowledged(&chaos) < FIRST) usleep(20000);
    chaos_unload(&chaos);
    shell("mkdir %s/first", chaos.bed.dir);
    for (unsigned node = 1; node <= CHAOS_NODES; node++)
        testbed_signal(&chaos.bed, node, SIGTERM);
    shell("cp -a %s/node-[1-5] %s/first/", chaos.bed.dir, chaos.bed.dir);
    chaos.pause_ms = 300;
    all_start();
    keep_old();
    return 0;
}

static int end(void **state)
{
    (void)state;
    chaos_close(&chaos);
    buffer_free(&out);
    buffer_free(&errors);
    buffer_free(&content);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_damage_is_repaired_or_refused),
        cmocka_unit_test(nothing_is_lost_by_damage),
        cmocka_unit_test(files_cut_at_any_length),
        cmocka_unit_test(a_damaged_state_is_read),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
