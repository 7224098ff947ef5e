/* bench: three real nodes with TLS and fsync on, driven over connections that are
 * open already. Every answer is checked. A table for people on standard output,
 * JSON lines into the file given. See usage() for what else it measures.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "crypto/random.h"
#include "tests/bench/chart.h"
#include "tests/bench/crowds.h"
#include "tests/bench/export.h"
#include "tests/bench/floor.h"
#include "tests/bench/growth.h"
#include "tests/bench/idle.h"
#include "tests/bench/trips.h"
#include "tests/bench/verify.h"
#include "tests/bench/witness.h"
#include "tests/bench/world.h"

struct row {
    const char *name;
    enum work work;
    unsigned operations;
    size_t bytes;
};

static const struct row rows[] = {
    {"event add, 256 B", WORK_EVENT, 1, 256},
    {"event add, 1 KiB", WORK_EVENT, 1, 1024},
    {"event add, 1 KiB x16", WORK_EVENT, 16, 1024},
    {"event add, 256 B x64", WORK_EVENT, 64, 256},
    {"record create, 1 KiB", WORK_RECORD_CREATE, 1, 1024},
    {"record show, 1 KiB", WORK_RECORD_SHOW, 1, 1024},
    {"log, 20 rows", WORK_LOG, 1, 0},
};
static const unsigned usual_clients[] = {1, 16, 64, 256};
#define ROWS (sizeof rows / sizeof rows[0])
/* Of a row: applied and co-signed; one client is measured at the leader and at a follower. */
#define RUNS (2 * (1 + sizeof usual_clients / sizeof usual_clients[0]))
enum at { AT_ALL, AT_LEADER, AT_FOLLOWER };
static const char *const at_names[] = {"all", "leader", "follower"};

struct run { /* one line of the table */
    const struct row *row;
    unsigned clients;
    enum at at;
    enum wait wait;
    double operations, seconds, p50_ms, p99_ms;
    double nodes_us, client_us, device, stored; /* for an operation; stored: of one node */
    double private_mib;
};

enum what { WHAT_ROWS, WHAT_VERIFY, WHAT_GROWTH, WHAT_CHART, WHAT_WITNESS_COST, WHAT_ROUND_TRIPS, WHAT_EXPORT_COST,
            WHAT_IDLE, WHAT_CROWDS };

struct settings {
    enum what what;
    double seconds; /* of each measurement */
    unsigned clients; /* 0: 1, 16, 64 and 256 */
    unsigned many;    /* the other number of clients, of two by turns */
    unsigned nodes; /* 0: 3 */
    unsigned rounds;
    double one_way_ms;
    uint64_t leaves;
    unsigned operations; /* in a request, for filling a ledger */
    const char *only;
    const char *dir; /* of a cluster that `fill` made, or NULL */
    bool floor; /* also what it would cost in one process, before each row and after it */
    FILE *json;
};

/* A row that --only wants: the one of that name, or else all that have it in their names. */
static bool is_wanted(const struct settings *s, const struct row *row)
{
    if (!s->only) return true;
    for (size_t i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, s->only) == 0) return &rows[i] == row;
    return strstr(row->name, s->only) != NULL;
}

struct totals {
    double cpu_us;
    uint64_t device, stored;
};

static struct totals totals_of(const struct testbed *t)
{
    struct totals sum = {0};
    for (unsigned i = 1; i <= t->n; i++) {
        char folder[320];
        struct usage u = usage_of(t->pids[i]);
        snprintf(folder, sizeof folder, "%s/node-%u/state", t->dir, i);
        sum.cpu_us += u.cpu_us;
        sum.stored += stored_bytes(folder);
    }
    sum.device = device_written(t->dir);
    return sum;
}

#define LOOK_NS UINT64_C(50000000)

/* What operations cost, from the warm-up's end to the end of what is counted: no handshakes are in that. Memory: the
 * most that a node had, from its beginning on. */
struct cost {
    const struct testbed *testbed;
    struct totals nodes;
    double client_us;
    uint64_t private_kib, looked_ns;
};

static bool looks(void *data)
{
    struct cost *c = data;
    uint64_t now = clock_monotonic_ns();
    if (now - c->looked_ns < LOOK_NS) return false;
    c->looked_ns = now;
    for (unsigned i = 1; i <= c->testbed->n; i++) {
        uint64_t its = usage_of(c->testbed->pids[i]).private_kib;
        if (its > c->private_kib) c->private_kib = its;
    }
    return false; /* it goes on */
}

static void cost_begins(void *data)
{
    struct cost *c = data;
    c->nodes = totals_of(c->testbed);
    c->client_us = usage_self().cpu_us;
}

static void cost_ends(void *data)
{
    struct cost *c = data;
    struct totals now = totals_of(c->testbed);
    c->client_us = usage_self().cpu_us - c->client_us;
    c->nodes = (struct totals){.cpu_us = now.cpu_us - c->nodes.cpu_us, .device = now.device - c->nodes.device,
                               .stored = now.stored - c->nodes.stored};
}

/* `out` says what is to be run, and gets the rest. */
static void run_row(struct run *out, const struct settings *s, const struct testbed *t, struct bench_world *w)
{
    const struct row *row = out->row;
    struct cost cost = {.testbed = t};
    struct job job = {.work = row->work, .clients = out->clients, .operations = row->operations, .bytes = row->bytes,
                      .wait = out->wait, .seconds = s->seconds, .began = cost_begins, .over = cost_ends, .ended = looks, .data = &cost};
    struct job_result r;
    unsigned leader = out->at == AT_ALL ? 0 : world_leader(t);
    if (leader) job.member = out->at == AT_LEADER ? leader : leader % t->n + 1;
    lanes_run(&r, w, &job);
    struct samples *times = out->wait == WAIT_COSIGNED ? &r.cosigned : &r.applied;
    double n = r.operations > 0 ? (double)r.operations : 1;
    out->operations = n;
    out->seconds = r.seconds;
    out->p50_ms = samples_percentile(times, 50);
    out->p99_ms = samples_percentile(times, 99);
    out->nodes_us = cost.nodes.cpu_us / n;
    out->client_us = cost.client_us / n;
    out->device = (double)cost.nodes.device / n;
    out->stored = (double)cost.nodes.stored / n / t->n;
    out->private_mib = (double)cost.private_kib / 1024;
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
    if (leader && world_leader(t) != leader) printf("(another node leads now: the next line says little)\n");
}

static void print_head(const struct settings *s)
{
    printf("%-22s %4s %-8s %-9s %10s %8s %8s %8s %8s %7s %8s %8s%s\n", "", "cli-", "", "", "", "p50", "p99", "nodes", "client",
           "private", "device", "stored", s->floor ? " of the" : "");
    printf("%-22s %4s %-8s %-9s %10s %8s %8s %8s %8s %7s %8s %8s%s\n", "operation", "ents", "of", "answer", "rate", "ms", "ms",
           "us/op", "us/op", "MiB", "KiB/op", "KiB/op", s->floor ? " ceiling" : "");
}

/* `floor_us`: of what the processors could do if they did nothing but the work; 0: not known. */
static void print_run(const struct settings *s, const struct run *r, double floor_us)
{
    const char *wait = r->wait == WAIT_COSIGNED ? "co-signed" : "applied";
    double rate = r->operations / r->seconds, share = rate * floor_us / (1e6 * (double)sysconf(_SC_NPROCESSORS_ONLN));
    printf("%-22s %4u %-8s %-9s %8.0f/s %8.2f %8.2f %8.0f %8.0f %7.1f %8.1f %8.1f", r->row->name, r->clients,
           at_names[r->at], wait, rate, r->p50_ms, r->p99_ms, r->nodes_us, r->client_us, r->private_mib, r->device / 1024, r->stored / 1024);
    if (share > 0) printf(" %6.2f", share);
    printf("\n");
    fflush(stdout);
    if (!s->json) return;
    fprintf(s->json,
            "{\"name\":\"%s\",\"clients\":%u,\"of\":\"%s\",\"answer\":\"%s\",\"operations_per_s\":%.1f,\"p50_ms\":%.3f,"
            "\"p99_ms\":%.3f,\"nodes_cpu_us\":%.1f,\"client_cpu_us\":%.1f,\"private_mib\":%.1f,"
            "\"device_bytes\":%.0f,\"stored_bytes_per_node\":%.0f,\"operations\":%.0f,\"of_ceiling\":%.3f}\n",
            r->row->name, r->clients, at_names[r->at], wait, rate, r->p50_ms, r->p99_ms, r->nodes_us, r->client_us,
            r->private_mib, r->device, r->stored, r->operations, share);
    fflush(s->json);
}

/* --- the floor --- */

static void measure_floor(struct floor_cost *out, const struct settings *s, const struct row *row)
{
    *out = (struct floor_cost){.total_us = 0};
    if (!s->floor || row->work == WORK_LOG) return;
    sleep(1); /* what the nodes still had to do is done */
    const struct floor_kind kind = {row->work, row->operations, row->bytes, s->nodes ? s->nodes : 3};
    floor_measure(out, &kind);
}

static struct floor_cost mean_floor(const struct floor_cost *a, const struct floor_cost *b)
{
    struct floor_cost mean = {.total_us = (a->total_us + b->total_us) / 2, .alone_us = (a->alone_us + b->alone_us) / 2};
    for (unsigned i = 0; i < FLOOR_PARTS; i++) mean.us[i] = (a->us[i] + b->us[i]) / 2;
    return mean;
}

/* A machine's speed changes by the hour, and by what its neighbours do: the floor of a row is measured before it and
 * after it, and its lines are printed then. */
static void print_with_floor(const struct settings *s, const struct run *runs, unsigned count,
                             const struct floor_cost *before, const struct floor_cost *mean)
{
    double after_us = 2 * mean->total_us - before->total_us;
    for (unsigned i = 0; i < count; i++) print_run(s, &runs[i], mean->total_us);
    if (mean->total_us == 0) return;
    printf("%-22s floor %.1f us before, %.1f us after; %.1f us with the other processors at rest\n", "",
           before->total_us, after_us, mean->alone_us);
    if (s->json)
        fprintf(s->json, "{\"name\":\"floors\",\"operation\":\"%s\",\"before_us\":%.2f,\"after_us\":%.2f,\"alone_us\":%.2f}\n",
                runs[0].row->name, before->total_us, after_us, mean->alone_us);
}

/* --- the table --- */

/* Returns how many runs it made: a record is opened in one way only. */
static unsigned run_waits(struct run *runs, const struct settings *s, const struct testbed *t, struct bench_world *w,
                          const struct row *row, unsigned clients, enum at at)
{
    unsigned count = 0;
    for (int wait = row->work == WORK_RECORD_SHOW ? WAIT_COSIGNED : WAIT_APPLIED; wait <= WAIT_COSIGNED; wait++) {
        runs[count] = (struct run){.row = row, .clients = clients, .at = at, .wait = (enum wait)wait};
        run_row(&runs[count++], s, t, w);
    }
    return count;
}

static struct floor_cost run_clients(const struct settings *s, const struct testbed *t, struct bench_world *w,
                                     const struct row *row)
{
    struct run runs[RUNS];
    struct floor_cost before, after, mean;
    unsigned count = 0;
    measure_floor(&before, s, row);
    for (size_t j = 0; j < sizeof usual_clients / sizeof usual_clients[0]; j++) {
        unsigned clients = s->clients ? s->clients : usual_clients[j];
        if (clients == 1) {
            count += run_waits(&runs[count], s, t, w, row, clients, AT_LEADER);
            count += run_waits(&runs[count], s, t, w, row, clients, AT_FOLLOWER);
        } else {
            count += run_waits(&runs[count], s, t, w, row, clients, AT_ALL);
        }
        if (s->clients) break;
    }
    measure_floor(&after, s, row);
    mean = mean_floor(&before, &after);
    print_with_floor(s, runs, count, &before, &mean);
    return mean;
}

static void run_all(const struct settings *s, const struct testbed *t, struct bench_world *w)
{
    struct floor_cost floors[ROWS];
    print_head(s);
    for (size_t i = 0; i < ROWS; i++)
        if (is_wanted(s, &rows[i])) floors[i] = run_clients(s, t, w, &rows[i]);
    if (!s->floor) return;
    printf("\nmeans of before and after:\n");
    floor_print_head();
    for (size_t i = 0; i < ROWS; i++)
        if (is_wanted(s, &rows[i]) && rows[i].work != WORK_LOG) floor_print(rows[i].name, &floors[i], s->json);
}

static void compare_crowds(const struct settings *s, struct bench_world *w)
{
    const struct crowds c = {.few = s->clients, .many = s->many, .rounds = s->rounds, .seconds = s->seconds};
    bench_crowds_head(&c);
    for (size_t i = 0; i < ROWS; i++) {
        const struct job job = {.work = rows[i].work, .operations = rows[i].operations, .bytes = rows[i].bytes,
                                .wait = rows[i].work == WORK_RECORD_SHOW ? WAIT_COSIGNED : WAIT_APPLIED};
        if (is_wanted(s, &rows[i])) bench_crowds(w, rows[i].name, &job, &c, s->json);
    }
}

static int usage(void)
{
    fprintf(stderr,
            "usage: bench [--seconds S] [--clients N] [--only NAME] [--nodes N] [--json FILE]\n"
            "                                               NAME: a row's, or a part of several rows' names\n"
            "             [--floor]                         and what one process would need for the same work\n"
            "instead of the table:\n"
            "       --verify ENTRIES [--operations 1..64]   what verifying a ledger of that length costs\n"
            "       --chart [--rounds N]                    a chart at once, and its records one by one\n"
            "       --growth ENTRIES [--rounds N] [--dir FOLDER]\n"
            "                                               the same operation on longer and longer ledgers;\n"
            "                                               FOLDER: that `fill` made, which is filled up and stays\n"
            "       --crowds N,M [--only NAME] [--rounds N] the same work by N clients and by M, by turns\n"
            "       --idle CLIENTS                          private memory of a node for each client that waits\n"
            "       --witness-cost [--rounds N]             writes with witnessing on and off, by turns\n"
            "       --round-trips [--one-way MS]            what witnessing adds to latency, nodes being far apart\n"
            "       --export-cost [--leaves N] [--rounds N] [--dir FOLDER]\n"
            "                                               writes while an auditor exports and verifies N entries\n");
    return 2;
}

/* The number of words taken; 0: not understood. */
static int take_word(struct settings *s, const char *word, const char *value)
{
    static const struct {
        const char *word;
        enum what what;
    } alone[] = {
        {"--witness-cost", WHAT_WITNESS_COST}, {"--round-trips", WHAT_ROUND_TRIPS}, {"--export-cost", WHAT_EXPORT_COST},
        {"--chart", WHAT_CHART},
    };
    for (size_t i = 0; i < sizeof alone / sizeof alone[0]; i++)
        if (strcmp(word, alone[i].word) == 0) {
            s->what = alone[i].what;
            return 1;
        }
    if (strcmp(word, "--floor") == 0) {
        s->floor = true;
        return 1;
    }
    if (!value) return 0;
    if (strcmp(word, "--seconds") == 0)
        s->seconds = atof(value);
    else if (strcmp(word, "--clients") == 0)
        s->clients = (unsigned)atoi(value);
    else if (strcmp(word, "--idle") == 0) {
        s->what = WHAT_IDLE;
        s->clients = (unsigned)atoi(value);
    } else if (strcmp(word, "--crowds") == 0) {
        s->what = WHAT_CROWDS;
        if (sscanf(value, "%u,%u", &s->clients, &s->many) != 2 || s->clients == 0 || s->many == 0) return 0;
    } else if (strcmp(word, "--dir") == 0) {
        s->dir = realpath(value, NULL);
        if (!s->dir) perror(value);
        return s->dir ? 2 : 0;
    } else if (strcmp(word, "--only") == 0)
        s->only = value;
    else if (strcmp(word, "--nodes") == 0)
        s->nodes = (unsigned)atoi(value);
    else if (strcmp(word, "--rounds") == 0)
        s->rounds = (unsigned)atoi(value);
    else if (strcmp(word, "--one-way") == 0)
        s->one_way_ms = atof(value);
    else if (strcmp(word, "--leaves") == 0)
        s->leaves = strtoull(value, NULL, 10);
    else if (strcmp(word, "--operations") == 0)
        s->operations = (unsigned)atoi(value);
    else if (strcmp(word, "--json") == 0)
        s->json = fopen(value, "w");
    else if (strcmp(word, "--verify") == 0) {
        s->what = WHAT_VERIFY;
        s->leaves = strtoull(value, NULL, 10);
    } else if (strcmp(word, "--growth") == 0) {
        s->what = WHAT_GROWTH;
        s->leaves = strtoull(value, NULL, 10);
    } else {
        return 0;
    }
    return 2;
}

static bool are_sound(const struct settings *s)
{
    return s->seconds >= 0 && (s->nodes == 0 || s->nodes >= 3) && s->nodes <= LIMIT_NODES && s->one_way_ms > 0 &&
           (s->what != WHAT_GROWTH || s->leaves > 0) && s->clients <= 4096 && s->many <= 4096 && s->operations >= 1 &&
           s->operations <= LIMIT_OPERATIONS;
}

static void measure(const struct settings *s, struct testbed *t, struct bench_world *w)
{
    switch (s->what) {
    case WHAT_ROWS: run_all(s, t, w); return;
    case WHAT_VERIFY: bench_verify(w, t, s->leaves, s->operations, s->rounds, s->json); return;
    case WHAT_CHART: bench_chart(w, t, s->rounds, s->seconds, s->json); return;
    case WHAT_IDLE: bench_idle(w, t, s->clients, s->json); return;
    case WHAT_CROWDS: compare_crowds(s, w); return;
    case WHAT_WITNESS_COST:
        bench_witness(w, t, s->rounds, s->seconds, s->clients ? s->clients : 64, s->json);
        return;
    case WHAT_GROWTH:
    case WHAT_ROUND_TRIPS:
    case WHAT_EXPORT_COST: return; /* have clusters of their own */
    }
}

static void on_cluster(const struct settings *s)
{
    struct testbed t;
    struct bench_world w = {{{0}}};
    unsigned nodes = s->nodes ? s->nodes : 3;
    testbed_make(&t, nodes, nodes > 3 ? 1 : 0);
    if (s->what == WHAT_WITNESS_COST) bench_witness_programs(&t);
    testbed_start_all(&t);
    testbed_wait_ready(&t, 60);
    world_open(&w, &t);
    measure(s, &t, &w);
    world_close(&w);
    testbed_end(&t);
}

/* The whole table ends with what verifying costs, one operation to a request and as many as there may be. */
static void whole_table(const struct settings *s)
{
    struct settings one = *s, many = *s;
    on_cluster(s);
    if (s->only || s->clients) return;
    one.what = many.what = WHAT_VERIFY;
    one.leaves = 40000;
    one.operations = 1;
    many.leaves = 200000;
    puts("");
    on_cluster(&one);
    puts("");
    on_cluster(&many);
}

/* Three nodes, of which two co-sign, and four, of which three do. */
static void round_trips(const struct settings *s)
{
    if (s->nodes) {
        bench_trips(s->nodes, s->one_way_ms, s->seconds, s->json);
        return;
    }
    bench_trips(3, s->one_way_ms, s->seconds, s->json);
    bench_trips(4, s->one_way_ms, s->seconds, s->json);
}

static void growth(const struct settings *s)
{
    const struct growth g = {.nodes = s->nodes ? s->nodes : 3, .rounds = s->rounds, .leaves = s->leaves,
                             .seconds = s->seconds, .dir = s->dir};
    bench_growth(&g, s->json);
}

static void export_cost(const struct settings *s)
{
    const struct export_cost c = {.nodes = s->nodes ? s->nodes : 3, .clients = s->clients ? s->clients : 64,
                                  .rounds = s->rounds, .leaves = s->leaves ? s->leaves : 1000000,
                                  .seconds = s->seconds, .dir = s->dir};
    bench_export(&c, s->json);
}

/* What wasn't said. */
static void settle(struct settings *s)
{
    static const struct {
        enum what what;
        double seconds;
        unsigned rounds;
    } usual[] = {{WHAT_WITNESS_COST, 0.5, 32}, {WHAT_GROWTH, 1, 12}, {WHAT_EXPORT_COST, 2, 1}, {WHAT_CROWDS, 2, 10}};
    double seconds = 3;
    unsigned rounds = 6;
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        if (usual[i].what == s->what) {
            seconds = usual[i].seconds;
            rounds = usual[i].rounds;
        }
    if (s->seconds == 0) s->seconds = seconds;
    if (s->rounds == 0) s->rounds = rounds;
}

int main(int argc, char **argv)
{
    struct settings s = {.one_way_ms = 60, .operations = LIMIT_OPERATIONS};
    for (int i = 1; i < argc;) {
        int taken = take_word(&s, argv[i], i + 1 < argc ? argv[i + 1] : NULL);
        if (taken == 0) return usage();
        i += taken;
    }
    char *lines = NULL; /* the JSON lines, printed under the table unless a file takes them */
    size_t size = 0;
    if (!s.json) s.json = open_memstream(&lines, &size);
    if (!s.json || !are_sound(&s)) return usage();
    settle(&s);
    crypto_init();
    switch (s.what) {
    case WHAT_GROWTH: growth(&s); break;
    case WHAT_ROUND_TRIPS: round_trips(&s); break;
    case WHAT_EXPORT_COST: export_cost(&s); break;
    case WHAT_ROWS: whole_table(&s); break;
    case WHAT_VERIFY:
    case WHAT_CHART:
    case WHAT_IDLE:
    case WHAT_CROWDS:
    case WHAT_WITNESS_COST: on_cluster(&s); break;
    }
    fclose(s.json);
    if (lines) printf("\n%s", lines);
    free(lines);
    return 0;
}
