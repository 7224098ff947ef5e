/* bench: three real nodes with TLS and fsync on, driven over connections that are
 * open already. Every answer is checked. A table for people on standard output,
 * JSON lines into the file given.
 *
 *   bench [--seconds S] [--clients N] [--only NAME] [--nodes N] [--json FILE]
 *         [--verify ENTRIES [--operations N]]   instead: what verifying a ledger of that length costs
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/random.h"
#include "ledger/record.h"
#include "tests/bench/lanes.h"
#include "tests/bench/verify.h"
#include "tests/lib/testbed.h"

#define RECORDS 200 /* to be shown */

struct row {
    const char *name;
    enum work work;
    unsigned operations;
    size_t bytes;
};

static const struct row rows[] = {
    {"event add, 256 B", WORK_EVENT, 1, 256},      {"event add, 1 KiB", WORK_EVENT, 1, 1024},
    {"event add, 1 KiB x16", WORK_EVENT, 16, 1024}, {"record create, 1 KiB", WORK_RECORD_CREATE, 1, 1024},
    {"record show, 1 KiB", WORK_RECORD_SHOW, 1, 1024}, {"log, 20 rows", WORK_LOG, 1, 0},
};

struct settings {
    double seconds;
    unsigned clients; /* 0: 1, 16 and 64 */
    unsigned nodes;
    uint64_t verify; /* entries; 0: the usual rows */
    unsigned operations; /* in a request, for filling the ledger to be verified */
    const char *only;
    FILE *json;
};

static void open_identity(struct bench_world *w, const struct testbed *t)
{
    char path[400];
    struct failure failure = {0};
    snprintf(path, sizeof path, "%s/doctor.key", t->dir);
    if (signer_open(&w->doctor, path, NULL, &failure) != OK) testbed_fail(t, "%s", failure.text);
    if (cluster_open(&w->cluster, t->genesis, NULL, 20000, NULL, &failure) != OK) testbed_fail(t, "%s", failure.text);
    if (cluster_connect(&w->cluster, &failure) != OK) testbed_fail(t, "%s", failure.text);
    if (collective_get(&w->collective, &w->cluster, &failure) != OK) testbed_fail(t, "%s", failure.text);
}

/* A doctor, a patient in their care, and records to show. */
static void prepare(struct bench_world *w, const struct testbed *t)
{
    char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];
    struct buffer out = {0};
    testbed_care(t, doctor, patient);
    open_identity(w, t);
    if (id_parse(&w->patient, patient) != OK) testbed_fail(t, "no id: %s", patient);
    w->records = xcalloc(RECORDS, sizeof *w->records);
    char path[400], id[ID_TEXT_SIZE];
    snprintf(path, sizeof path, "%s/record", t->dir);
    FILE *f = fopen(path, "w");
    for (int i = 0; f && i < 1024; i++)
        fputc('r', f);
    if (!f || fclose(f) != 0) testbed_fail(t, "cannot write %s", path);
    for (w->record_count = 0; w->record_count < RECORDS; w->record_count++) {
        testbed_expect(t, 0, &out, "--identity %s/doctor.key --json record create --patient %s --kind note %s", t->dir,
                       patient, path);
        testbed_json(&out, "record", id, sizeof id);
        if (id_parse(&w->records[w->record_count], id) != OK) testbed_fail(t, "no id: %s", id);
    }
    buffer_free(&out);
}

struct totals {
    double cpu_us;
    uint64_t device, private_kib, stored;
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
        if (u.private_kib > sum.private_kib) sum.private_kib = u.private_kib;
    }
    sum.device = device_written(t->dir);
    return sum;
}

static void report(const struct settings *s, const struct testbed *t, const struct row *row, const struct job *job,
                   struct job_result *r, const struct totals *before, double client_us)
{
    struct totals after = totals_of(t);
    double n = (double)r->operations > 0 ? (double)r->operations : 1;
    const char *wait = job->wait == WAIT_COSIGNED ? "co-signed" : "applied";
    struct samples *main_samples = job->wait == WAIT_COSIGNED ? &r->cosigned : &r->applied;
    double p50 = samples_percentile(main_samples, 50), p99 = samples_percentile(main_samples, 99);
    printf("%-22s %4u %-9s %8.0f/s %8.2f %8.2f %8.0f %8.0f %7.1f %8.1f %8.1f\n", row->name, job->clients, wait,
           n / r->seconds, p50, p99, (after.cpu_us - before->cpu_us) / n, client_us / n,
           (double)after.private_kib / 1024, (double)(after.device - before->device) / 1024 / n,
           (double)(after.stored - before->stored) / 1024 / n / t->n);
    fflush(stdout);
    if (!s->json) return;
    fprintf(s->json,
            "{\"name\":\"%s\",\"clients\":%u,\"answer\":\"%s\",\"operations_per_s\":%.1f,\"p50_ms\":%.3f,"
            "\"p99_ms\":%.3f,\"nodes_cpu_us\":%.1f,\"client_cpu_us\":%.1f,\"private_mib\":%.1f,"
            "\"device_bytes\":%.0f,\"stored_bytes_per_node\":%.0f,\"operations\":%llu}\n",
            row->name, job->clients, wait, n / r->seconds, p50, p99, (after.cpu_us - before->cpu_us) / n,
            client_us / n, (double)after.private_kib / 1024, (double)(after.device - before->device) / n,
            (double)(after.stored - before->stored) / n / t->n, (unsigned long long)r->operations);
    fflush(s->json);
}

static void run_row(const struct settings *s, const struct testbed *t, struct bench_world *w, const struct row *row,
                    unsigned clients, enum wait wait)
{
    struct job job = {.work = row->work, .clients = clients, .operations = row->operations, .bytes = row->bytes,
                      .wait = wait, .seconds = s->seconds};
    struct job_result r;
    struct totals before = totals_of(t);
    double client = usage_self().cpu_us;
    lanes_run(&r, w, &job);
    report(s, t, row, &job, &r, &before, usage_self().cpu_us - client);
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
}

static void run_all(const struct settings *s, const struct testbed *t, struct bench_world *w)
{
    static const unsigned usual[] = {1, 16, 64};
    printf("%-22s %4s %-9s %10s %8s %8s %8s %8s %7s %8s %8s\n", "", "cli-", "", "", "p50", "p99", "nodes", "client",
           "private", "device", "stored");
    printf("%-22s %4s %-9s %10s %8s %8s %8s %8s %7s %8s %8s\n", "operation", "ents", "answer", "rate", "ms", "ms",
           "us/op", "us/op", "MiB", "KiB/op", "KiB/op");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (s->only && !strstr(rows[i].name, s->only)) continue;
        for (size_t j = 0; j < sizeof usual / sizeof usual[0]; j++) {
            unsigned clients = s->clients ? s->clients : usual[j];
            if (rows[i].work != WORK_RECORD_SHOW) run_row(s, t, w, &rows[i], clients, WAIT_APPLIED);
            run_row(s, t, w, &rows[i], clients, WAIT_COSIGNED);
            if (s->clients) break;
        }
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: bench [--seconds S] [--clients N] [--only NAME] [--nodes N] [--json FILE]\n"
                    "       bench --verify ENTRIES [--operations 1..64] [--nodes N] [--json FILE]\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct settings s = {.seconds = 3, .nodes = 3, .operations = LIMIT_OPERATIONS};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc) return usage();
        if (strcmp(argv[i], "--seconds") == 0)
            s.seconds = atof(argv[i + 1]);
        else if (strcmp(argv[i], "--clients") == 0)
            s.clients = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--only") == 0)
            s.only = argv[i + 1];
        else if (strcmp(argv[i], "--nodes") == 0)
            s.nodes = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--verify") == 0)
            s.verify = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--operations") == 0)
            s.operations = (unsigned)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--json") == 0)
            s.json = fopen(argv[i + 1], "w");
        else
            return usage();
    }
    char *lines = NULL; /* the JSON lines, printed under the table unless a file takes them */
    size_t size = 0;
    if (!s.json) s.json = open_memstream(&lines, &size);
    if (s.seconds <= 0 || s.nodes < 3 || s.nodes > LIMIT_NODES || s.clients > 4096) return usage();
    if (s.operations < 1 || s.operations > LIMIT_OPERATIONS) return usage();
    crypto_init();
    struct testbed t;
    struct bench_world w = {{{0}}};
    testbed_make(&t, s.nodes, s.nodes > 3 ? 1 : 0);
    testbed_start_all(&t);
    testbed_wait_ready(&t, 60);
    prepare(&w, &t);
    if (s.verify)
        bench_verify(&w, &t, s.verify, s.operations, s.json);
    else
        run_all(&s, &t, &w);
    signer_close(&w.doctor);
    cluster_close(&w.cluster);
    free(w.records);
    testbed_end(&t);
    if (s.json) fclose(s.json);
    if (lines) printf("\n%s", lines);
    free(lines);
    return 0;
}
