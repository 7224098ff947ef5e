/* Damage of any kind, at random places, to the files of one of five nodes under load: bits turned,
 * pages gone back to what they were, sectors lost from the last write, files cut short,
 * in the log and in the state. Each time the node either repairs itself and has the same
 * root as the others again, or stops (or is quarantined) with words that say what to do,
 * and that works. It never dies of a signal or an assertion, never gives a wrong answer,
 * and the others go on; what was acknowledged meanwhile is on every node (tests/lib/chaos.h).
 *
 * Then the node alone: where a file is cut short, or damaged and repaired by nobody, the node names it before it stops
 * or goes on, or each row and record that was there is there still; and what it answers is what it answered before.
 *
 * DAMAGES=n: so many in the cluster (and as many starts of the node alone), SEED=n repeats them. Each kind takes its
 * turn, on the log and on the state. */
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
#define LONG 100 /* damages, of a run that must make each kind wherever its turn comes */
#define CHOICES 20 /* of a place for damage of a kind */

enum how { FLIP, STALE, LOSE, ZERO, CUT, HOWS };

static char record[ID_TEXT_SIZE];
static struct buffer out, errors, content;
static unsigned damages = 2 * HOWS, acknowledged; /* the latter of clusters that were put back */

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

static const char *const how_names[HOWS] = {"bits turned", "a page as it was before", "sectors lost at the end",
                                            "a page of zeros", "cut short"};
static enum how turn[HOWS];                   /* the kinds, in an order of this run */
static unsigned done[2][HOWS], unmade[2][HOWS]; /* by file: the state, the log */

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

/* The first page from a random one on that is not what it was in this copy; false: none. */
static bool stale_of(const struct victim *v, const struct buffer *now, const char *copy)
{
    if (access(copy, R_OK) != 0) return false;
    struct buffer old = load(copy);
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

/* As it was lately; where nothing was written since, as at first. */
static bool stale(const struct victim *v, const struct buffer *now)
{
    char first[420];
    snprintf(first, sizeof first, "%s/first/%s", chaos.bed.dir, strrchr(v->old, '/') + 1);
    return stale_of(v, now, v->old) || stale_of(v, now, first);
}

static bool is_zero(const struct buffer *now, off_t at, size_t size)
{
    for (size_t i = (size_t)at; i < (size_t)at + size && i < now->size; i++)
        if (now->data[i]) return false;
    return true;
}

/* Of the last 16 KiB that were written some sectors, as after a power cut on a disk that lied. */
static bool lose(const struct victim *v, const struct buffer *now)
{
    static const uint8_t zeros[SECTOR];
    bool lost = false;
    off_t from = v->used > 16384 ? (v->used - 16384) / SECTOR * SECTOR : 0;
    for (off_t at = from; at < v->used; at += SECTOR) {
        if (any(3) != 0 || at + SECTOR > v->size || is_zero(now, at, SECTOR)) continue;
        overwrite(v->path, zeros, SECTOR, at);
        lost = true;
    }
    return lost;
}

static bool blank(const struct victim *v, const struct buffer *now)
{
    static const uint8_t zeros[PAGE];
    off_t at = (off_t)any((uint64_t)v->used) / PAGE * PAGE;
    bool blanks = at + PAGE <= v->size && !is_zero(now, at, PAGE);
    if (blanks) overwrite(v->path, zeros, PAGE, at);
    return blanks;
}

/* False: there is nothing to damage in this way, and nothing was done. */
static bool do_damage(const struct victim *v, enum how how)
{
    struct buffer now = load(v->path);
    bool made = true;
    switch (how) {
    case FLIP: flip(v, &now); break;
    case STALE: made = stale(v, &now); break;
    case LOSE: made = lose(v, &now); break;
    case ZERO: made = blank(v, &now); break;
    case CUT: made = truncate(v->path, (off_t)any((uint64_t)(any(2) ? v->used : v->size))) == 0; break;
    case HOWS: break;
    }
    buffer_free(&now);
    return made;
}

/* One of these files, at a place where this kind can be made. Where there is none, that is said, and counted. */
static bool damage(struct victim *v, const char *node, bool log, enum how how)
{
    bool made = false;
    for (unsigned i = 0; i < CHOICES && !made; i++) {
        choose(v, node, log);
        made = do_damage(v, how);
    }
    (made ? done : unmade)[log][how]++;
    printf("  %s: %s%s\n", v->path + strlen(chaos.bed.dir) + 1, how_names[how], made ? "" : ": NOT MADE");
    fflush(stdout);
    return made;
}

static void mix_kinds(void)
{
    for (unsigned i = 0; i < HOWS; i++) turn[i] = (enum how)i;
    for (unsigned i = HOWS - 1; i > 0; i--) {
        unsigned other = (unsigned)any(i + 1);
        enum how how = turn[i];
        turn[i] = turn[other];
        turn[other] = how;
    }
}

/* As the files are now, for damage of a later round. */
static void keep_old(const char *to)
{
    shell("cp %s/node-%u/state/data.mdb %s/old-data.mdb; for f in %s/node-%u/log/*.seg; do cp $f %s/old-${f##*/}; done",
          chaos.bed.dir, BAD, to, chaos.bed.dir, BAD, to);
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

/* By its own words in this life, and as the others know by now: they may not have heard yet of a start after a rebuild. */
static bool is_quarantined(void)
{
    char state[64];
    its_state(state, sizeof state);
    return strcmp(state, "quarantined") == 0 && testbed_life_has(&chaos.bed, BAD, "QUARANTINED") && says_what_to_do();
}

static bool in_time(uint64_t since) { return clock_monotonic_ns() - since < TESTBED_PATIENCE_S * UINT64_C(1000000000); }

enum verdict { WHOLE, REFUSED, SET_BACK };

static enum verdict verdict(void)
{
    char state[64];
    for (uint64_t since = clock_monotonic_ns(); in_time(since);) {
        usleep(50000);
        if (has_ended()) return REFUSED;
        if (is_quarantined()) return REFUSED;
        its_state(state, sizeof state);
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
    shell("cp %s/first/old-* %s/", chaos.bed.dir, chaos.bed.dir);
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

static enum verdict damaged(bool log, enum how kind)
{
    struct victim v;
    char folder[300];
    snprintf(folder, sizeof folder, "%s/node-%u", chaos.bed.dir, BAD);
    stop_it(any(2) ? SIGTERM : SIGKILL);
    damage(&v, folder, log, kind);
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
    unsigned first = (unsigned)any(2);
    for (unsigned i = 0; i < damages; i++) { /* each kind on log and state by turns */
        enum verdict how = damaged((i % HOWS + i / HOWS + first) % 2, turn[i % HOWS]);
        counts[how]++;
        bool whole = how != REFUSED || (rebuilt() && comes_to_show());
        if (!whole) {
            anew++;
            reset();
        }
        if (whole && any(2)) keep_old(chaos.bed.dir);
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

/* What the node answers with nobody beside it, when all is well. */
static struct {
    struct buffer checkpoint;
    char size[24], root[2 * 32 + 1];
} good;

static char differing[700]; /* tables that don't hold what they held, each with a space behind it */

/* Everything that is stored, as text; damage in the log is a line more than there was. */
static void dump_all(const char *to)
{
    shell("rm -rf %s/%s; mkdir %s/%s; for t in $(%s/consiliumd dump list | awk '{print $1}'); do %s/consiliumd dump $t "
          "--dir %s/node-%u 2>/dev/null | if [ $t = log ]; then grep -v '(damaged)'; else cat; fi >%s/%s/$t; done; "
          "true",
          chaos.bed.dir, to, chaos.bed.dir, to, build(), build(), chaos.bed.dir, BAD, chaos.bed.dir, to);
}

/* Fills `differing`. */
static void compare_stored(void)
{
    char command[800];
    dump_all("now");
    snprintf(command, sizeof command, "cd %s/before && for t in *; do cmp -s $t ../now/$t || printf '%%s ' $t; done",
             chaos.bed.dir);
    FILE *from = popen(command, "r");
    size_t size = from ? fread(differing, 1, sizeof differing - 1, from) : 0;
    if (!from || pclose(from) < 0) testbed_fail(&chaos.bed, "%s failed", command);
    differing[size] = '\0';
}

static bool differs(const char *table)
{
    char with_space[40];
    snprintf(with_space, sizeof with_space, "%s ", table);
    const char *at = strstr(differing, with_space);
    return at && (at == differing || at[-1] == ' ');
}

static bool says_one_of(const char *const *words)
{
    for (; *words; words++)
        if (testbed_life_has(&chaos.bed, BAD, *words)) return true;
    return false;
}

/* What is wrong, by the file's name or what it is: the log, the state. */
static bool is_named(bool log)
{
    static const char *const of_log[] = {"the log is damaged after block", "blocks are damaged", "of a torn tail",
                                         "term, vote or cosigned mark may be lost", "the last compaction is damaged",
                                         "no segment of the log has a readable header", "records are damaged", NULL};
    static const char *const of_state[] = {"data.mdb is damaged", "cannot start: cannot open the", "has no readable format mark",
                                           "the state is empty",
                                           "data.mdb: ", "/state: ", "ALARM: ", "QUARANTINED", "is damaged",
                                           "can't be read", NULL};
    return says_one_of(log ? of_log : of_state);
}

/* Asks until it answers, or has ended: of itself, never of others. */
static bool is_asked(const char *words)
{
    for (uint64_t since = clock_monotonic_ns(); in_time(since);) {
        int code = testbed_cli(&chaos.bed, &out, &errors, "--via node-%u --timeout 5 %s", BAD, words);
        if (out.size > 0 || strstr(said(), "no co-signed checkpoint")) return code == 0 || code == 5;
        if (has_ended()) return false;
        usleep(50000);
    }
    testbed_fail(&chaos.bed, "node %u does not answer: %s", BAD, said());
}

static bool its_row(char *size, size_t size_room, char *root, size_t root_room)
{
    char path[64];
    if (!is_asked("--json status")) return false;
    snprintf(path, sizeof path, "members.%u.size", BAD - 1);
    testbed_json(&out, path, size, size_room);
    snprintf(path, sizeof path, "members.%u.root", BAD - 1);
    testbed_json(&out, path, root, root_room);
    return true;
}

/* The ledger that it shows is the one it had, or a beginning of it, and then it says why. */
static void answers_as_before(bool log)
{
    char size[24], root[sizeof good.root];
    if (!its_row(size, sizeof size, root, sizeof root)) return;
    bool whole = strcmp(size, good.size) == 0;
    if (strtoull(size, NULL, 10) > strtoull(good.size, NULL, 10) || (whole && strcmp(root, good.root) != 0))
        testbed_fail(&chaos.bed, "node %u shows another ledger: %s leaves, root %s", BAD, size, root);
    if (!whole && !is_named(log)) testbed_fail(&chaos.bed, "node %u lacks leaves, and does not say so", BAD);
    if (!is_asked("checkpoint")) return;
    if (out.size > 0 && !bytes_equal(buffer_bytes(&out), buffer_bytes(&good.checkpoint)))
        testbed_fail(&chaos.bed, "node %u shows another checkpoint: %s", BAD, (const char *)out.data);
    if (out.size == 0 && !is_named(log)) testbed_fail(&chaos.bed, "node %u lost its checkpoint without a word", BAD);
}

/* After it ran: no leaf but those it had, or one that it calls damaged itself; a dump may end within one. */
static void holds_no_other_leaf(void)
{
    shell("{ %s/consiliumd dump leaf --dir %s/node-%u 2>/dev/null || echo '(damaged: ends)'; } | grep -v '(damaged: ' "
          ">%s/leaves; ! grep -vxFf %s/before/leaf %s/leaves >&2", build(), chaos.bed.dir, BAD, chaos.bed.dir,
          chaos.bed.dir, chaos.bed.dir);
}

static void put_good_back(void)
{
    testbed_signal(&chaos.bed, BAD, SIGKILL);
    shell("rm -rf %s/node-%u && cp -a %s/good %s/node-%u", chaos.bed.dir, BAD, chaos.bed.dir, chaos.bed.dir, BAD);
}

static bool listens(void)
{
    for (uint64_t since = clock_monotonic_ns(); in_time(since); usleep(20000)) {
        if (has_ended()) return false;
        if (testbed_life_has(&chaos.bed, BAD, "listening on")) return true;
    }
    testbed_fail(&chaos.bed, "node %u neither listens nor ends", BAD);
}

/* Starts the damaged node, until it has ended, or listens, has answered, and has named its damage where there is some.
 * What it doesn't meet at its start the scrub reads: a first pass may have begun before the damage. Then the files are
 * put back. Whether it listened. */
static bool starts_alone(bool log, bool must_name)
{
    testbed_start(&chaos.bed, BAD);
    bool listened = listens();
    if (listened) answers_as_before(log);
    for (uint64_t since = clock_monotonic_ns(); must_name && !is_named(log) && !has_ended(); usleep(50000))
        if (!in_time(since) || testbed_life_count(&chaos.bed, BAD, " of the state checked") > 2) break;
    if (must_name && !is_named(log)) /* one that has ended, too */
        testbed_fail(&chaos.bed, "node %u is damaged (%s), and does not say where", BAD, differing);
    has_ended(); /* it may just have */
    testbed_signal(&chaos.bed, BAD, SIGKILL);
    if (listened) holds_no_other_leaf();
    put_good_back();
    return listened;
}

static bool scrub_finds(const struct victim *v)
{
    int code = consiliumd("scrub --now");
    if (code != 0 && code != 1 && code != 6) testbed_fail(&chaos.bed, "scrub of %s: exit code %d", v->path, code);
    return code == 6;
}

/* The others are gone; what the node answers and holds now is what it must answer and hold. */
static void stand_alone(void)
{
    for (unsigned node = 1; node <= CHAOS_NODES; node++) testbed_signal(&chaos.bed, node, SIGKILL);
    put_back(BAD); /* what was damaged above may not be repaired everywhere */
    shell("cp %s/first/old-* %s/", chaos.bed.dir, chaos.bed.dir); /* no page is of a later time than that */
    assert_int_equal(consiliumd("scrub --now"), 0);
    shell("cp -a %s/node-%u %s/good", chaos.bed.dir, BAD, chaos.bed.dir);
    dump_all("before");
    testbed_start(&chaos.bed, BAD);
    if (!listens() || !its_row(good.size, sizeof good.size, good.root, sizeof good.root) || !is_asked("checkpoint"))
        testbed_fail(&chaos.bed, "node %u does not answer alone", BAD);
    buffer_append_bytes(&good.checkpoint, buffer_bytes(&out));
    put_good_back();
    compare_stored();
    if (differing[0] || good.checkpoint.size == 0) testbed_fail(&chaos.bed, "what node %u holds changes", BAD);
}

/* Of the file: a part of what is written, of what is reserved, by turns. */
static off_t length_of(const struct victim *v, unsigned i, unsigned lengths)
{
    off_t most = i % 2 || v->used == 0 ? v->size : v->used;
    return most / (off_t)lengths * (off_t)i;
}

/* Each start names it; or nothing was there that is gone. Whoever lacks anything has it found by a scrub, too. */
static void files_cut_at_any_length(void **state)
{
    (void)state;
    char folder[300];
    struct victim v;
    unsigned lengths = damages < LONG ? damages / 2 : LONG, started = 0, tried = 0, harmless = 0;
    snprintf(folder, sizeof folder, "%s/node-%u", chaos.bed.dir, BAD);
    stand_alone();
    for (unsigned i = 0; i < 2 * lengths; i++) {
        bool log = i % 2;
        choose(&v, folder, log);
        off_t length = length_of(&v, i / 2, lengths);
        if (truncate(v.path, length) != 0) fail_test();
        printf("  %s: %lld of %lld bytes\n", v.path + strlen(chaos.bed.dir) + 1, (long long)length, (long long)v.size);
        fflush(stdout);
        bool found = scrub_finds(&v);
        compare_stored();
        if (differing[0] && !found) testbed_fail(&chaos.bed, "a scrub finds nothing, but these differ: %s", differing);
        harmless += !found;
        started += starts_alone(log, log ? length < v.size : found);
        tried++;
    }
    printf("%u lengths: %u started, %u refused; %u times nothing was gone\n", tried, started, tried - started,
           harmless);
}

/* Log or leaves are what they were some writes ago. */
static bool is_older(const char *table)
{
    char path[330];
    snprintf(path, sizeof path, "%s/before/%s", chaos.bed.dir, table);
    struct buffer before = load(path);
    snprintf(path, sizeof path, "%s/now/%s", chaos.bed.dir, table);
    struct buffer now = load(path);
    bool older = now.size < before.size && (now.size == 0 || memcmp(now.data, before.data, now.size) == 0);
    buffer_free(&before);
    buffer_free(&now);
    return older;
}

/* What nobody can know who has this disk only: the log without its last writes. The state as it was with an older meta
 * page of LMDB's, all of it: as after a crash, the log has the rest. And what only a replay of the ledger tells
 * (README): rows of the state, of an earlier time. Never another ledger. */
static bool only_others_know(bool log, enum how how)
{
    if (log) return how != FLIP && how != CUT && strcmp(differing, "log ") == 0 && is_older("log");
    bool same = !differs("leaf") && !differs("tree") && !differs("attachment");
    return how == STALE && (same || (is_older("leaf") && differs("checkpoint") && differs("tree")));
}

/* Damage where nobody repairs it: what reads it says so, and does not fall over, or all is there that was. */
static void damage_is_found_or_harmless(void **state)
{
    (void)state;
    char folder[300];
    struct victim v;
    unsigned tries = damages < LONG ? damages : 3 * damages, found = 0, harmless = 0, older = 0;
    snprintf(folder, sizeof folder, "%s/node-%u", chaos.bed.dir, BAD);
    for (unsigned i = 0; i < tries; i++) {
        bool log = i / HOWS % 2;
        enum how how = turn[i % HOWS];
        if (!damage(&v, folder, log, how)) continue;
        bool finds = scrub_finds(&v);
        differing[0] = '\0';
        if (!finds) compare_stored();
        bool known = differing[0] && only_others_know(log, how);
        if (differing[0] && !known)
            testbed_fail(&chaos.bed, "a scrub finds nothing, but these differ: %s", differing);
        found += finds;
        harmless += !finds && !known;
        older += known;
        if (i % 3 == 0 && !known) starts_alone(log, finds);
        else put_good_back();
    }
    printf("%u damages: %u found by a scrub, %u changed nothing that is read, %u for others to know\n",
           found + harmless + older, found, harmless, older);
}

/* Of all the above. One that could not be made is a fault of the test in its long version. */
static void each_kind_was_made(void **state)
{
    (void)state;
    bool all = true;
    for (unsigned how = 0; how < HOWS; how++) {
        printf("  %s: of the state %u (and %u not made), of the log %u (%u)\n", how_names[how], done[false][how],
               unmade[false][how], done[true][how], unmade[true][how]);
        for (int log = 0; log < 2; log++)
            all = all && done[log][how] > 0 && (damages < LONG || unmade[log][how] == 0);
    }
    if (!all && damages >= 2 * HOWS) testbed_fail(&chaos.bed, "not every kind of damage was made");
}

static int begin(void **state)
{
    (void)state;
    const char *count = getenv("DAMAGES");
    char first[300];
    if (count) damages = (unsigned)strtoul(count, NULL, 10);
    chaos_prepare(&chaos, CHAOS_NODES, 1, false);
    mix_kinds();
    chaos.damaged = BAD;
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
    shell("mkdir %s/first", chaos.bed.dir);
    snprintf(first, sizeof first, "%s/first", chaos.bed.dir);
    keep_old(first);
    while (chaos_acknowledged(&chaos) < FIRST) usleep(20000);
    chaos_unload(&chaos);
    for (unsigned node = 1; node <= CHAOS_NODES; node++)
        testbed_signal(&chaos.bed, node, SIGTERM);
    shell("cp -a %s/node-[1-5] %s/first/", chaos.bed.dir, chaos.bed.dir);
    chaos.pause_ms = 300;
    all_start();
    keep_old(chaos.bed.dir);
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
        cmocka_unit_test(damage_is_found_or_harmless),
        cmocka_unit_test(each_kind_was_made),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
