#include "tests/lib/writers.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/lib/events.h"
#include "tests/lib/flood.h"

#define PAUSE_US 2000 /* after a write: a busy user, not a flood */
#define OTHERS_PAUSE_US 250000
#define SAMPLES 65536
#define WRITES_MAX (1u << 20)

/* Each one's, shared with its process. */
struct writer {
    atomic_uint written, done, failed; /* events that it began to write, wN-0 .. */
    char why[240];
    bool acknowledged[WRITES_MAX];
};

/* What the first one measures. */
struct writers_watch {
    atomic_uint wanted, slice; /* the slice that is, and the one that its last write began in */
    atomic_uint count;
    uint32_t took_us[SAMPLES]; /* of `slice` */
};

/* --- in their processes --- */

static void note_write(struct writers_watch *watch, uint64_t took_us)
{
    unsigned n = atomic_load(&watch->count);
    if (n == SAMPLES) return;
    watch->took_us[n] = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us;
    atomic_store(&watch->count, n + 1);
}

/* A slice's last write is in it, however long it took: what is read of a slice is complete. */
static void await_slice(struct writers_watch *watch)
{
    unsigned wanted;
    while ((wanted = atomic_load(&watch->wanted)) == 0) {
        atomic_store(&watch->slice, 0);
        usleep(500);
    }
    if (wanted == atomic_load(&watch->slice)) return;
    atomic_store(&watch->count, 0);
    atomic_store(&watch->slice, wanted);
}

struct hand { /* a client at work */
    struct attacker attacker; /* keeps to the rules here */
    struct client *connection;
    struct signer doctor;
};

/* Whether the node said that it is done. */
static bool write_event(const struct writers *w, struct hand *h, struct writer *own, const char *code)
{
    static struct buffer request;
    static struct said said;
    struct message_result result;
    struct arguments args = {.action = ACTION_EVENT_ADD,
                             .event_add = {w->patient, bytes_text("bill"), bytes_text(code)}};
    attacker_request(&request, &h->attacker, &h->doctor, &args, (struct bytes){0}, NULL);
    attacker_submit(&h->attacker, h->connection, &said, &result, buffer_bytes(&request));
    if (said.type == MESSAGE_APPLIED) return true;
    snprintf(own->why, sizeof own->why, "type %u, %s", said.type, said.text);
    return false;
}

static _Noreturn void write_on(struct writers *w, unsigned number)
{
    struct hand h;
    struct writer *own = &w->each[number];
    char code[EVENT_CODE_SIZE];
    unsigned node = number ? 1 + number % w->bed->n : w->node;
    attacker_open(&h.attacker, w->bed);
    h.doctor = attacker_signer(&h.attacker, "doctor");
    h.connection = attacker_greet(&h.attacker, node);
    for (unsigned i = 0; i < WRITES_MAX; i++) {
        if (number == 0) await_slice(w->watch);
        snprintf(code, sizeof code, "w%u-%u", number, i);
        atomic_store(&own->written, i + 1);
        uint64_t start = clock_monotonic_ns();
        own->acknowledged[i] = write_event(w, &h, own, code);
        if (number == 0) note_write(w->watch, (clock_monotonic_ns() - start) / 1000);
        if (!own->acknowledged[i]) {
            client_close(h.connection);
            h.connection = attacker_greet(&h.attacker, node);
        }
        atomic_fetch_add(own->acknowledged[i] ? &own->done : &own->failed, 1);
        usleep(number ? OTHERS_PAUSE_US : PAUSE_US);
    }
    testbed_fail(w->bed, "client %u wrote too much", number);
}

/* --- in the test's --- */

void writers_start(struct writers *w, const struct testbed *bed, unsigned node, const struct id *patient)
{
    *w = (struct writers){.bed = bed, .node = node, .patient = *patient};
    w->each = flood_shared(WRITERS * sizeof *w->each);
    w->watch = flood_shared(sizeof *w->watch);
    for (unsigned i = 0; i < WRITERS; i++) {
        w->pids[i] = fork();
        CHECK(w->pids[i] >= 0);
        if (w->pids[i] != 0) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        write_on(w, i);
    }
}

void writers_stop(struct writers *w)
{
    for (unsigned i = 0; i < WRITERS; i++)
        flood_stop(w->pids[i]);
}

unsigned writers_done(const struct writers *w, unsigned number) { return atomic_load(&w->each[number].done); }
unsigned writers_failed(const struct writers *w, unsigned number) { return atomic_load(&w->each[number].failed); }
const char *writers_why(const struct writers *w, unsigned number) { return w->each[number].why; }

/* Those of which a client was told that they are done are on this node, each once. */
static unsigned has_all_of(const struct writers *w, const struct events *events, unsigned number, unsigned node)
{
    const struct writer *own = &w->each[number];
    char code[EVENT_CODE_SIZE];
    unsigned count = 0;
    for (unsigned i = 0; i < atomic_load(&own->written); i++) {
        snprintf(code, sizeof code, "w%u-%u", number, i);
        count += own->acknowledged[i];
        if (own->acknowledged[i] && !events_have(events, code))
            testbed_fail(w->bed, "node %u lost %s, which was acknowledged", node, code);
    }
    return count;
}

unsigned writers_look_up(const struct writers *w, unsigned node)
{
    struct events events = {0};
    unsigned count = 0;
    events_read(&events, w->bed, node);
    for (unsigned i = 0; i < WRITERS; i++)
        count += has_all_of(w, &events, i, node);
    const char *twice = events_twice(&events);
    if (twice) testbed_fail(w->bed, "node %u has %s twice", node, twice);
    events_free(&events);
    return count;
}

/* --- slices --- */

void writers_want_slice(struct writers *w, unsigned slice) { atomic_store(&w->watch->wanted, slice); }
unsigned writers_slice(const struct writers *w) { return atomic_load(&w->watch->slice); }
unsigned writers_measured(const struct writers *w) { return atomic_load(&w->watch->count); }

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

const uint32_t *writers_took_us(struct writers *w)
{
    qsort(w->watch->took_us, atomic_load(&w->watch->count), sizeof w->watch->took_us[0], by_size);
    return w->watch->took_us;
}
