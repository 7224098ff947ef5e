#include "tests/bench/verify.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "crypto/sign.h"
#include "ledger/leaf.h"
#include "ledger/tile.h"
#include "tests/bench/fill.h"

#define ROUNDS_MOST 32
#define SAMPLE_US 20000
#define EVENT_BYTES 64

enum way { WAY_ONE, WAY_ALL, WAY_RAW, WAYS };

struct bed {
    const struct testbed *t;
    char folder[400]; /* the exported entries */
    double size;      /* entries */
    unsigned operations, rounds;
    double rate[WAYS][ROUNDS_MOST], cpu_us[WAYS][ROUNDS_MOST];
    uint64_t private_kib; /* at most */
};

/* --- the program --- */

static double cpu_of(const struct rusage *used)
{
    return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) * 1e6 +
           (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec);
}

/* The last of these processors. */
static cpu_set_t last_of(const cpu_set_t *set)
{
    cpu_set_t one;
    int last = CPU_SETSIZE - 1;
    while (!CPU_ISSET(last, set)) last--;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    return one;
}

static cpu_set_t own_processors(void)
{
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    return set;
}

static void pin_to_one(void)
{
    cpu_set_t set = own_processors(), one = last_of(&set);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
}

/* All threads of all nodes; those that begin later do as the one that begins them. */
static void place_nodes(const struct bed *b, const cpu_set_t *set)
{
    for (unsigned i = 1; i <= LIMIT_NODES; i++) {
        if (b->t->pids[i] == 0) continue;
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/task", (int)b->t->pids[i]);
        DIR *tasks = opendir(path);
        CHECK(tasks);
        for (const struct dirent *d; (d = readdir(tasks));) {
            pid_t task = atoi(d->d_name);
            if (task > 0) (void)sched_setaffinity(task, sizeof *set, set); /* it may have ended */
        }
        closedir(tasks);
    }
}

static pid_t start(const struct bed *b, bool one, const char *command, const char *option, const char *value)
{
    const char *build = getenv("BUILD");
    char program[600], identity[400], log[400];
    snprintf(program, sizeof program, "%s/consilium", build && *build ? build : "build");
    snprintf(identity, sizeof identity, "%s/auditor.key", b->t->dir);
    snprintf(log, sizeof log, "%s/auditor.log", b->t->dir);
    pid_t pid = fork();
    if (pid != 0) return pid;
    int file = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || dup2(file, 1) < 0 || dup2(file, 2) < 0) _exit(127);
    if (one) pin_to_one();
    execl(program, program, "--cluster", b->t->genesis, "-i", identity, command, option, value, (char *)NULL);
    _exit(127);
}

/* Its CPU time. */
static double wait_for(struct bed *b, pid_t pid)
{
    struct rusage used;
    int status;
    while (wait4(pid, &status, WNOHANG, &used) == 0) {
        uint64_t now = usage_of(pid).private_kib;
        if (now > b->private_kib) b->private_kib = now;
        usleep(SAMPLE_US);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        testbed_fail(b->t, "the auditor's program failed; see %s/auditor.log", b->t->dir);
    return cpu_of(&used);
}

/* On one processor the program has it to itself, as on a machine of its own. */
static void verify(struct bed *b, enum way way, unsigned round)
{
    cpu_set_t set = own_processors(), one = last_of(&set), others;
    CPU_XOR(&others, &set, &one);
    place_nodes(b, way == WAY_ONE && CPU_COUNT(&others) > 0 ? &others : &set);
    uint64_t begin = clock_monotonic_ns();
    double cpu = wait_for(b, start(b, way == WAY_ONE, "verify", NULL, NULL));
    b->rate[way][round] = b->size / ((double)(clock_monotonic_ns() - begin) / 1e9);
    b->cpu_us[way][round] = cpu / b->size;
}

/* --- what no verifier can do without --- */

static struct {
    double us, cpu_us; /* so far; the same on a machine that does nothing else */
    uint64_t entries, signatures, bytes;
    struct sign_public key;
} raw;

/* An entry is hashed for the chain and the tree; what was signed is hashed by itself; the ledger's tree has as many
 * nodes as entries, and a request's tree one less. One signature is of all operations of a request. */
static void do_entry(const struct leaf *leaf)
{
    static struct digest node, hash;
    tree_leaf_hash(&hash, leaf->raw);
    tree_node_hash(&node, &node, &hash);
    tree_leaf_hash(&hash, leaf->operation.raw);
    if (leaf->position > 0) {
        tree_node_hash(&node, &node, &hash);
        return;
    }
    uint8_t message[REQUEST_SIGNED_SIZE];
    request_signed_bytes(message, leaf->count, &hash);
    (void)sign_verify(&leaf->signature, &raw.key, BYTES(message)); /* it takes as long for another message */
    raw.signatures++;
}

static int raw_file(const char *path, const struct stat *st, int type, struct FTW *at)
{
    struct leaf leaves[TILE_WIDTH];
    struct bytes entry;
    unsigned count = 0;
    (void)at;
    if (type != FTW_F || !strstr(path, "/tile/entries/")) return 0;
    uint8_t *content = malloc((size_t)st->st_size);
    FILE *f = fopen(path, "rb");
    CHECK(content && f && fread(content, 1, (size_t)st->st_size, f) == (size_t)st->st_size);
    fclose(f);
    for (struct bytes rest = bytes_of(content, (size_t)st->st_size); rest.size > 0;) {
        CHECK(count < TILE_WIDTH && bundle_next(&entry, &rest) == OK);
        if (leaf_decode(&leaves[count], entry) == OK && leaves[count].genesis.size == 0) count++;
    }
    double begin = usage_self().cpu_us;
    uint64_t begin_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < count; i++) do_entry(&leaves[i]);
    raw.us += (double)(clock_monotonic_ns() - begin_ns) / 1e3;
    raw.cpu_us += usage_self().cpu_us - begin;
    for (unsigned i = 0; i < count; i++) raw.bytes += leaves[i].raw.size;
    raw.entries += count;
    free(content);
    return 0;
}

static void do_raw(struct bed *b, unsigned round)
{
    static const uint8_t seed[SIGN_SEED_SIZE] = {1};
    struct sign_secret secret;
    cpu_set_t before;
    memset(&raw, 0, sizeof raw);
    sign_keypair(&secret, &raw.key, seed);
    CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
    pin_to_one();
    CHECK(nftw(b->folder, raw_file, 16, FTW_PHYS) == 0 && raw.entries > 0);
    CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
    b->cpu_us[WAY_RAW][round] = raw.cpu_us / (double)raw.entries;
    b->rate[WAY_RAW][round] = (double)raw.entries * 1e6 / raw.us;
}

/* --- the report --- */

static void print_way(const struct bed *b, enum way way, const char *name, FILE *json)
{
    struct spread rate = spread_of(b->rate[way], b->rounds), cpu = spread_of(b->cpu_us[way], b->rounds);
    double of_raw = rate.median / spread_of(b->rate[WAY_RAW], b->rounds).median;
    double cpu_of_raw = spread_of(b->cpu_us[WAY_RAW], b->rounds).median / cpu.median;
    printf("%-34s %9.0f %9.0f %9.0f %5.0f%% %8.2f (%5.2f -%6.2f) %5.0f%%\n", name, rate.least, rate.median, rate.most,
           100 * of_raw, cpu.median, cpu.least, cpu.most, 100 * cpu_of_raw);
    if (!json) return;
    fprintf(json, "{\"name\":\"%s\",\"entries\":%.0f,\"per_request\":%u,\"rounds\":%u,\"per_s_least\":%.0f,"
            "\"per_s\":%.0f,\"per_s_most\":%.0f,\"cpu_us\":%.3f,\"cpu_us_least\":%.3f,\"cpu_us_most\":%.3f,"
            "\"of_raw\":%.3f,\"cpu_of_raw\":%.3f,\"private_mib\":%.1f}\n", name, b->size, b->operations, b->rounds,
            rate.least,
            rate.median, rate.most, cpu.median, cpu.least, cpu.most, of_raw, cpu_of_raw, (double)b->private_kib / 1024);
}

static void print_all(const struct bed *b, FILE *json)
{
    printf("verify, %.0f entries of %.0f bytes, %u to a request, %llu signatures; %u rounds by turns\n", b->size,
           (double)raw.bytes / (double)raw.entries, b->operations, (unsigned long long)raw.signatures, b->rounds);
    printf("%-34s %9s %9s %9s %6s %8s %24s\n", "entries a second:", "least", "median", "most", "of raw", "CPU us",
           "of raw");
    print_way(b, WAY_ONE, "verify, one processor", json);
    print_way(b, WAY_ALL, "verify, all processors", json);
    print_way(b, WAY_RAW, "raw: SHA-256 and Ed25519 alone", json);
    printf("CPU us: of the program, for each entry. Private memory at most %.1f MiB. The nodes are on the same "
           "machine.\n",
           (double)b->private_kib / 1024);
}

void bench_verify(struct bench_world *w, const struct testbed *t, uint64_t leaves, unsigned operations, unsigned rounds,
                  FILE *json)
{
    char auditor[ID_TEXT_SIZE];
    struct bed *b = xcalloc(1, sizeof *b);
    b->t = t;
    b->operations = operations;
    b->rounds = rounds < 1 ? 1 : rounds < ROUNDS_MOST ? rounds : ROUNDS_MOST;
    testbed_user(t, "auditor", "Hospital 1", "auditor", auditor);
    fill_ledger(w, t, leaves, operations, EVENT_BYTES);
    snprintf(b->folder, sizeof b->folder, "%s/exported", t->dir);
    (void)wait_for(b, start(b, false, "export", "-o", b->folder));
    b->private_kib = 0;
    b->size = (double)fill_size(t);
    for (unsigned i = 0; i < b->rounds; i++) {
        verify(b, WAY_ONE, i);
        verify(b, WAY_ALL, i);
        do_raw(b, i);
        fprintf(stderr, "\rround %u of %u ", i + 1, b->rounds);
    }
    fputs("\n", stderr);
    print_all(b, json);
    free(b);
}
