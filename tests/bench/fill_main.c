/* fill: a ledger of any length in a folder that stays, for whoever wants to try something on a long one. Three real
 * nodes are started there and ended in order. Once more on the same folder: goes on from where it is.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "crypto/random.h"
#include "tests/bench/fill.h"
#include "tests/bench/world.h"

static volatile sig_atomic_t stopping;

struct settings {
    struct fill fill;
    const char *dir;
    unsigned nodes;
};

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static int usage(void)
{
    fprintf(stderr,
            "usage: fill --leaves N --dir FOLDER [--bytes 0..%u] [--operations 1..%u] [--connections N] [--nodes N]\n"
            "  Makes a cluster of real nodes in FOLDER, or goes on with the one that is there, fills its ledger to N\n"
            "  entries (events of 256 bytes, 64 in a request, from 64 connections, unless set) and stops the nodes.\n"
            "  FOLDER can be given to bench --growth and --export-cost then. An interrupt ends it in order, too.\n",
            (unsigned)LIMIT_NOTE, (unsigned)LIMIT_OPERATIONS);
    return 2;
}

static bool take(struct settings *s, const char *word, const char *value)
{
    if (strcmp(word, "--dir") == 0) {
        s->dir = value;
        return true;
    }
    char *end;
    unsigned long long n = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end) return false;
    if (strcmp(word, "--leaves") == 0)
        s->fill.leaves = n;
    else if (strcmp(word, "--bytes") == 0)
        s->fill.bytes = n;
    else if (strcmp(word, "--operations") == 0)
        s->fill.operations = (unsigned)n;
    else if (strcmp(word, "--connections") == 0)
        s->fill.connections = (unsigned)n;
    else if (strcmp(word, "--nodes") == 0)
        s->nodes = (unsigned)n;
    else
        return false;
    return true;
}

static bool are_sound(const struct settings *s)
{
    const struct fill *f = &s->fill;
    return s->dir && f->leaves > 0 && f->bytes <= LIMIT_NOTE && f->operations >= 1 &&
           f->operations <= LIMIT_OPERATIONS && f->connections >= 1 && f->connections <= 4096 && s->nodes >= 3 &&
           s->nodes <= LIMIT_NODES;
}

/* For who wants to start the nodes again by hand. */
static void say_how(const struct testbed *t)
{
    const char *build = getenv("BUILD");
    if (!build || !*build) build = "build";
    printf("start the nodes again:\n");
    for (unsigned i = 1; i <= t->n; i++)
        printf("  %s/consiliumd run --dir %s/node-%u --genesis %s &\n", build, t->dir, i, t->genesis);
    printf("keys in the folder: admin.key (administrator), doctor.key (who wrote the events), patient.key, "
           "registrar.key; such as\n  %s/consilium --cluster %s -i %s status\n", build, t->genesis, t->admin);
}

static void report(const struct testbed *t, const struct settings *s, uint64_t size, uint64_t added, double seconds)
{
    double stored = 0;
    for (unsigned i = 1; i <= t->n; i++) {
        char folder[320];
        snprintf(folder, sizeof folder, "%s/node-%u/state", t->dir, i);
        stored += (double)stored_bytes(folder);
    }
    printf("%s: %llu entries; %llu events of %zu bytes added in %.0f s, %.0f/s; a node takes %.2f GB, %.0f bytes for "
           "each entry\n", t->dir, (unsigned long long)size, (unsigned long long)added, s->fill.bytes, seconds,
           seconds > 0 ? (double)added / seconds : 0, stored / t->n / 1e9, stored / t->n / (double)size);
}

int main(int argc, char **argv)
{
    struct settings s = {.nodes = 3, .fill = {.operations = LIMIT_OPERATIONS, .connections = FILL_CONNECTIONS,
                                              .bytes = 256, .stop = &stopping}};
    for (int i = 1; i < argc; i += 2)
        if (i + 1 == argc || !take(&s, argv[i], argv[i + 1])) return usage();
    if (!are_sound(&s)) return usage();
    if (mkdir(s.dir, 0700) != 0 && access(s.dir, W_OK) != 0) {
        perror(s.dir);
        return 1;
    }
    struct testbed t;
    struct bench_world w = {{{0}}};
    crypto_init();
    char *dir = realpath(s.dir, NULL);
    if (!dir) abort();
    testbed_keep(&t, dir, s.nodes, s.nodes > 3 ? 1 : 0);
    testbed_start_all(&t);
    testbed_wait_ready(&t, TESTBED_PATIENCE_S);
    uint64_t before = fill_size(&t);
    if (before < s.fill.leaves) fill_check_space(dir, t.n, s.fill.leaves - before, s.fill.bytes);
    world_open_people(&w, &t);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    double seconds;
    uint64_t added = fill_run(&w, &t, &s.fill, &seconds), size = fill_size(&t);
    world_close(&w);
    testbed_end(&t);
    report(&t, &s, size, added, seconds);
    say_how(&t);
    free(dir);
    return size >= s.fill.leaves ? 0 : 1;
}
