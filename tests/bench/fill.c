#include "tests/bench/fill.h"

#include <stdio.h>
#include <stdlib.h>

#define FILL_CLIENTS 64
#define FILL_SECONDS 5 /* between two looks at the size */

uint64_t fill_size(const struct testbed *t)
{
    char size[24];
    struct buffer out = {0};
    testbed_expect(t, 0, &out, "-i %s --json status", t->admin);
    testbed_json(&out, "counters.synced_size", size, sizeof size);
    buffer_free(&out);
    return strtoull(size, NULL, 10);
}

uint64_t fill_ledger(struct bench_world *w, const struct testbed *t, uint64_t leaves, unsigned operations, size_t bytes)
{
    const struct job job = {.work = WORK_EVENT, .clients = FILL_CLIENTS, .operations = operations, .bytes = bytes,
                            .wait = WAIT_APPLIED, .seconds = FILL_SECONDS};
    uint64_t added = 0;
    for (uint64_t size = fill_size(t); size < leaves; size = fill_size(t)) {
        struct job_result r;
        lanes_run(&r, w, &job);
        samples_clear(&r.applied);
        samples_clear(&r.cosigned);
        added += r.operations;
        fprintf(stderr, "\rfilling: %llu of %llu entries, %.0f/s ", (unsigned long long)size, (unsigned long long)leaves,
                (double)r.operations / r.seconds);
    }
    fputs("\n", stderr);
    return added;
}
