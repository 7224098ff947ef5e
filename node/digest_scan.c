#include "node/digest_scan.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define NICE 10        /* behind everything that somebody waits for */
#define SPACE_STEPS 16 /* how often free space is looked at */

struct digest_scan {
    pthread_t thread;
    struct store *store;
    struct table_txn *txn; /* the snapshot; later moved to the newest state at each step */
    uint64_t size;
    uv_async_t *wake;
    atomic_bool stop, finished;
    struct digest_scanned result;
};

static uint64_t cpu_ms(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) return 0;
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Sleeps until `bytes` since `start_ns` are no more than `rate` a second. */
static void keep_rate(uint64_t start_ns, uint64_t bytes, uint64_t rate)
{
    uint64_t due = bytes * 1000 / rate * 1000000, spent = clock_monotonic_ns() - start_ns;
    if (due <= spent) return;
    uint64_t wait = due - spent;
    struct timespec t = {.tv_sec = (time_t)(wait / 1000000000), .tv_nsec = (long)(wait % 1000000000)};
    nanosleep(&t, NULL);
}

static bool is_space_low(struct store *store)
{
    struct store_space space;
    return store_space(store, &space) == OK && space.low;
}

static enum state_outcome outcome_of(enum err code)
{
    if (code == OK) return STATE_COMPUTED;
    return code == ERR_CORRUPT ? STATE_UNREADABLE : STATE_FAILED;
}

/* What must not go on for long while the snapshot is held. */
static enum state_outcome look_around(struct digest_scan *s, uint64_t start_ns, unsigned step)
{
    if (atomic_load(&s->stop)) return STATE_FAILED;
    if ((clock_monotonic_ns() - start_ns) / 1000000 > DIGEST_SNAPSHOT_MS) return STATE_TOO_LONG;
    if (step % SPACE_STEPS == 0 && is_space_low(s->store)) return STATE_NO_SPACE;
    return STATE_COMPUTED;
}

static enum state_outcome scan_changing(struct digest_scan *s)
{
    struct state_scan scan;
    uint64_t start = clock_monotonic_ns();
    enum state_outcome outcome = STATE_COMPUTED;
    state_scan_start(&scan, STATE_CHANGING, s->size);
    for (unsigned step = 0; !scan.done && outcome == STATE_COMPUTED; step++) {
        outcome = look_around(s, start, step);
        if (outcome != STATE_COMPUTED) break;
        s->result.code = state_scan_step(&scan, &s->result.digest, s->txn, DIGEST_STEP);
        s->result.table = scan.table;
        outcome = outcome_of(s->result.code);
        if (outcome == STATE_COMPUTED && !scan.done) keep_rate(start, scan.bytes, DIGEST_SNAPSHOT_RATE);
    }
    s->result.bytes += scan.bytes;
    s->result.snapshot_ms = (clock_monotonic_ns() - start) / 1000000;
    return outcome;
}

static enum state_outcome scan_growing(struct digest_scan *s)
{
    struct state_scan scan;
    uint64_t start = clock_monotonic_ns();
    enum state_outcome outcome = STATE_COMPUTED;
    state_scan_start(&scan, STATE_GROWING, s->size);
    while (!scan.done && outcome == STATE_COMPUTED) {
        if (atomic_load(&s->stop)) return STATE_FAILED;
        s->result.code = store_renew(s->txn); /* without LMDB's lock of readers, unlike a new one */
        if (s->result.code == OK) s->result.code = state_scan_step(&scan, &s->result.digest, s->txn, DIGEST_STEP);
        s->result.table = scan.table;
        outcome = outcome_of(s->result.code);
        if (outcome == STATE_COMPUTED && !scan.done) keep_rate(start, scan.bytes, DIGEST_RATE);
    }
    s->result.bytes += scan.bytes;
    return outcome;
}

static void *run(void *data)
{
    struct digest_scan *s = data;
    uint64_t start = clock_monotonic_ns();
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE); /* of this thread; where it may not: no harm */
    s->result.outcome = scan_changing(s);
    if (s->result.outcome == STATE_COMPUTED) s->result.outcome = scan_growing(s);
    store_abort(s->txn);
    if (s->result.outcome != STATE_COMPUTED) s->result.digest.count = 0;
    s->result.took_ms = (clock_monotonic_ns() - start) / 1000000;
    s->result.cpu_ms = cpu_ms();
    atomic_store(&s->finished, true);
    uv_async_send(s->wake);
    return NULL;
}

struct digest_scan *digest_scan_start(struct store *store, struct table_txn *snapshot, uint64_t size,
                                      uv_async_t *wake)
{
    struct digest_scan *s = xcalloc(1, sizeof *s);
    s->store = store;
    s->txn = snapshot;
    s->size = size;
    s->wake = wake;
    CHECK(pthread_create(&s->thread, NULL, run, s) == 0);
    return s;
}

bool digest_scan_finished(const struct digest_scan *scan) { return atomic_load(&scan->finished); }

void digest_scan_end(struct digest_scan *s, struct digest_scanned *out)
{
    atomic_store(&s->stop, true);
    CHECK(pthread_join(s->thread, NULL) == 0);
    if (out) *out = s->result;
    free(s);
}
