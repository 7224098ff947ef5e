#include "tests/bench/fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"

#define SHOWN_EVERY_NS UINT64_C(1000000000)
#define SYNC_PATIENCE 600 /* looks at the size, 50 ms apart */

struct progress {
    const struct fill *fill;
    const struct job_result *result;
    uint64_t size;                     /* before */
    uint64_t began_ns, shown_ns, shown; /* when; when and at how many operations it was last shown */
    bool stopped;
};

uint64_t fill_size(const struct testbed *t)
{
    char size[24];
    struct buffer out = {0};
    testbed_expect(t, 0, &out, "-i %s --json status", t->admin);
    testbed_json(&out, "counters.synced_size", size, sizeof size);
    buffer_free(&out);
    return strtoull(size, NULL, 10);
}

static void show(struct progress *p, uint64_t now)
{
    uint64_t done = p->result->operations, size = p->size + done;
    double since = (double)(now - p->began_ns) / 1e9, mean = (double)done / since;
    double last = (double)(done - p->shown) * 1e9 / (double)(now - p->shown_ns);
    double left = mean > 0 && p->fill->leaves > size ? (double)(p->fill->leaves - size) / mean : 0;
    fprintf(stderr, "\rfilling: %llu of %llu entries, %.0f/s, since the start %.0f/s; %.0f min %02.0f s left   ",
            (unsigned long long)size, (unsigned long long)p->fill->leaves, last, mean, (double)((long)left / 60),
            (double)((long)left % 60));
    p->shown = done;
    p->shown_ns = now;
}

static bool ended(void *data)
{
    struct progress *p = data;
    uint64_t now = clock_monotonic_ns();
    if (p->began_ns == 0) p->began_ns = p->shown_ns = now;
    if (now - p->shown_ns >= SHOWN_EVERY_NS) show(p, now);
    p->stopped = p->fill->stop && *p->fill->stop;
    return p->stopped;
}

/* A node has synced what it answered within LIMIT_COMMIT_MS, and was perhaps not the one that is asked. */
static uint64_t synced_size(const struct testbed *t, uint64_t expected)
{
    uint64_t size = fill_size(t);
    for (unsigned i = 0; size < expected && i < SYNC_PATIENCE; i++) {
        usleep(50000);
        size = fill_size(t);
    }
    return size;
}

uint64_t fill_run(struct bench_world *w, const struct testbed *t, const struct fill *fill, double *seconds)
{
    struct job job = {.work = WORK_EVENT, .clients = fill->connections, .operations = fill->operations,
                      .bytes = fill->bytes, .wait = WAIT_APPLIED, .seconds = 1e8, .patient = true, .ended = ended};
    struct job_result result;
    uint64_t added = 0, size = fill_size(t);
    bool stopped = false;
    if (seconds) *seconds = 0;
    while (size < fill->leaves && !stopped) {
        struct progress p = {.fill = fill, .result = &result, .size = size};
        job.data = &p;
        job.most = fill->leaves - size;
        lanes_run(&result, w, &job);
        samples_clear(&result.applied);
        samples_clear(&result.cosigned);
        added += result.operations;
        if (seconds) *seconds += result.seconds;
        fprintf(stderr, "\rfilled: %llu entries, %.0f/s%*s\n", (unsigned long long)(size + result.operations),
                (double)result.operations / result.seconds, 40, "");
        size = synced_size(t, size + result.operations);
        stopped = p.stopped;
    }
    return added;
}

uint64_t fill_ledger(struct bench_world *w, const struct testbed *t, uint64_t leaves, unsigned operations,
                     size_t bytes)
{
    const struct fill fill = {.leaves = leaves, .operations = operations, .connections = FILL_CONNECTIONS,
                              .bytes = bytes};
    return fill_run(w, t, &fill, NULL);
}

/* --- room --- */

/* A value of more than half a page gets pages of its own; others share theirs, and leave a part of each. */
uint64_t fill_needs(unsigned nodes, uint64_t leaves, size_t bytes)
{
    const uint64_t page = 4096, attachment = bytes + 100, leaf = 1100, log = UINT64_C(300) << 20;
    uint64_t content = attachment > page / 2 ? (attachment + page - 1) / page * page : attachment * 11 / 8;
    return nodes * (leaves * (leaf + content) + log);
}

void fill_check_space(const char *folder, unsigned nodes, uint64_t leaves, size_t bytes)
{
    struct statvfs s;
    uint64_t needs = fill_needs(nodes, leaves, bytes);
    if (statvfs(folder, &s) != 0) {
        perror(folder);
        exit(1);
    }
    uint64_t has = (uint64_t)s.f_bavail * s.f_frsize;
    if (has >= needs) return;
    fprintf(stderr, "%llu more entries with %zu bytes each on %u nodes need %.1f GB; %s has %.1f GB free\n",
            (unsigned long long)leaves, bytes, nodes, (double)needs / 1e9, folder, (double)has / 1e9);
    exit(1);
}
