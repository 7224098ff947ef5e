#include "tests/lib/chaos_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"

uint64_t chaos_now_ms(void) { return clock_monotonic_ns() / 1000000; }

uint64_t chaos_random(uint64_t *state) /* xorshift64*: any seed but zero */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

unsigned chaos_below(struct chaos *c, unsigned n) { return (unsigned)(chaos_random(&c->random) >> 33) % n; }

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014), which leaves no two of them alike. */
void chaos_draw(struct chaos *c, unsigned round, unsigned step)
{
    uint64_t z = c->seed + ((uint64_t)round << 32 | step) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    c->random = z ? z : 1;
}

/* ---- begin and end ---- */

static void seed(struct chaos *c)
{
    const char *text = getenv("SEED");
    c->seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    if (c->seed == 0) c->seed = 1;
    c->random = c->seed;
    printf("seed %llu\n", (unsigned long long)c->seed);
    fflush(stdout);
}

static unsigned how_many(struct chaos *c, unsigned nodes)
{
    const char *text = getenv("NODES");
    unsigned drawn = chaos_below(c, 2) ? 3 : CHAOS_NODES; /* also where it isn't asked: the same choices after it */
    if (nodes != CHAOS_BY_SEED) return nodes;
    return text && (atoi(text) == 3 || atoi(text) == (int)CHAOS_NODES) ? (unsigned)atoi(text) : drawn;
}

static void make(struct chaos *c, unsigned nodes, unsigned faulty)
{
    *c = (struct chaos){0};
    seed(c);
    if (nodes == CHAOS_BY_SEED || faulty == CHAOS_BY_SEED) {
        nodes = how_many(c, nodes);
        if (faulty == CHAOS_BY_SEED) faulty = chaos_below(c, 2) && nodes > 3;
        printf("%u nodes, b = %u\n", nodes, faulty);
    }
    testbed_make_apart(&c->bed, nodes, faulty);
    c->shared = mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->shared == MAP_FAILED) testbed_fail(&c->bed, "no memory");
    for (unsigned i = 1; i <= CHAOS_NODES; i++) {
        snprintf(c->orders[i], sizeof c->orders[i], "%s/node-%u.orders", c->bed.dir, i);
        snprintf(c->clock[i], sizeof c->clock[i], "%s/node-%u.clock", c->bed.dir, i);
        snprintf(c->program[i], sizeof c->program[i], "frail --orders %s", c->orders[i]);
    }
}

void chaos_start(struct chaos *c)
{
    char auditor[ID_TEXT_SIZE];
    testbed_start_all(&c->bed);
    testbed_wait_ready(&c->bed, 60);
    testbed_care(&c->bed, c->doctor, c->patient);
    testbed_user(&c->bed, "auditor", "Hospital 2", "auditor", auditor);
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++)
        testbed_record(&c->bed, c->shared->clients[i].record, c->patient, "0");
}

void chaos_prepare(struct chaos *c, unsigned nodes, unsigned faulty, bool frail)
{
    make(c, nodes, faulty);
    for (unsigned i = 1; frail && i <= CHAOS_NODES; i++) c->bed.program[i] = c->program[i];
}

void chaos_open(struct chaos *c, unsigned nodes, unsigned faulty, bool frail)
{
    chaos_prepare(c, nodes, faulty, frail);
    chaos_start(c);
}

void chaos_open_as(struct chaos *c, unsigned nodes, unsigned faulty, const char *program)
{
    make(c, nodes, faulty);
    for (unsigned i = 1; i <= CHAOS_NODES; i++) c->bed.program[i] = program;
    chaos_start(c);
}

void chaos_close(struct chaos *c)
{
    chaos_unload(c);
    testbed_end(&c->bed);
    munmap(c->shared, sizeof *c->shared);
}
