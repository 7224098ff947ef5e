#include "cli/seen_marks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "cli/scratch_file.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "storage/disk.h"

#define FIRST_SLOTS (UINT64_C(1) << 13)
#define SLOTS_MOST UINT32_MAX /* of one table */
#define MEMORY_MOST (32 * MIB) /* of one table; a larger one is a file's */
#define HUGE_PAGE (2 * MIB)   /* places are taken at random: small pages would cost more than the rest of it */
/* An operation may be issued 5 minutes after its leaf, and come again 5 later. */
#define KEEP_MS (2 * (uint64_t)LIMIT_SKEW_MS)

struct slot {
    uint8_t mark[REPLAY_MARK];
    uint32_t leaf; /* how far its index is from the generation's first, + 1; 0: free */
};
static_assert(sizeof(struct slot) == 16, "none stands in two lines of the cache");

/* Open addressing; at most two thirds full. */
struct generation {
    struct slot *slots; /* NULL: none */
    uint64_t room, count;
    void *map;         /* that they are in */
    size_t map_size;
    uint64_t since_ms; /* the first leaf's time */
    uint64_t first;    /* its index */
};

struct seen_marks {
    uint8_t key[SIPHASH_KEY];
    struct generation now, before;
};

/* --- a table --- */

static void drop(struct generation *g)
{
    if (g->slots) munmap(g->map, g->map_size);
    *g = (struct generation){0};
}

static enum err make_in_memory(struct generation *g, uint64_t room, struct failure *failure)
{
    size_t size = room * sizeof *g->slots, spare = size >= HUGE_PAGE ? HUGE_PAGE : 0;
    uint8_t *at = mmap(NULL, size + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return fail(failure, ERR_NOMEM, "no memory for the verification");
    *g = (struct generation){.room = room, .map = at, .map_size = size + spare};
    if (spare) at += (HUGE_PAGE - (uintptr_t)at % HUGE_PAGE) % HUGE_PAGE;
    if (spare) (void)madvise(at, size, MADV_HUGEPAGE); /* slower without, and nothing else */
    g->slots = (struct slot *)at;
    return OK;
}

/* The disk's blocks are taken at once: a page that can't be written later would end the process. */
static enum err make_in_file(struct generation *g, uint64_t room, struct failure *failure)
{
    size_t size = room * sizeof *g->slots;
    int file = scratch_file(failure);
    if (file < 0) return ERR_IO;
    int number = posix_fallocate(file, 0, (off_t)size);
    void *at = number ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (number == 0 && at == MAP_FAILED) number = errno;
    close(file);
    if (number)
        return fail(failure, disk_error(number), "a scratch file in %s: %s", scratch_folder(), strerror(number));
    *g = (struct generation){.slots = at, .room = room, .map = at, .map_size = size};
    return OK;
}

static enum err make(struct generation *g, uint64_t room, struct failure *failure)
{
    bool small = room * sizeof *g->slots <= MEMORY_MOST;
    return small ? make_in_memory(g, room, failure) : make_in_file(g, room, failure);
}

/* Of any number of places, without a division (Lemire: Fast random integer generation in an interval, 2019). */
static uint64_t home_of(const struct generation *g, const uint8_t mark[static REPLAY_MARK])
{
    uint32_t number;
    memcpy(&number, mark, sizeof number);
    return number * g->room >> 32;
}

static uint64_t behind(const struct generation *g, uint64_t at) { return at + 1 == g->room ? 0 : at + 1; }

/* Where it is, or the free place where it would be. */
static struct slot *place_of(const struct generation *g, const uint8_t mark[static REPLAY_MARK])
{
    uint64_t at = home_of(g, mark);
    while (g->slots[at].leaf && memcmp(g->slots[at].mark, mark, REPLAY_MARK) != 0) at = behind(g, at);
    return &g->slots[at];
}

static enum err grow(struct generation *g)
{
    struct generation larger;
    enum err e = make(&larger, 2 * g->room, NULL);
    if (e != OK) return e;
    for (uint64_t i = 0; i < g->room; i++)
        if (g->slots[i].leaf) *place_of(&larger, g->slots[i].mark) = g->slots[i];
    larger.count = g->count;
    larger.since_ms = g->since_ms;
    larger.first = g->first;
    drop(g);
    *g = larger;
    return OK;
}

/* --- the whole --- */

/* So many marks fit in without growing, as far as memory does. */
static uint64_t room_for(uint64_t count)
{
    const uint64_t most = MEMORY_MOST / sizeof(struct slot);
    if (count > most / 2) return most;
    uint64_t room = count / 2 * 3 + 2;
    return room < FIRST_SLOTS ? FIRST_SLOTS : room;
}

enum err seen_marks_open(struct seen_marks **out, struct failure *failure)
{
    struct seen_marks *s = xcalloc(1, sizeof *s);
    random_bytes(s->key, sizeof s->key);
    enum err e = make(&s->now, room_for(0), failure);
    if (e == OK)
        *out = s;
    else
        free(s);
    return e;
}

void seen_marks_close(struct seen_marks *s)
{
    if (!s) return;
    drop(&s->now);
    drop(&s->before);
    free(s);
}

void seen_marks_foresee(struct seen_marks *s, uint64_t leaves)
{
    struct generation larger;
    CHECK(s->now.count == 0);
    if (room_for(leaves) <= s->now.room || make(&larger, room_for(leaves), NULL) != OK) return;
    drop(&s->now);
    s->now = larger;
}

void seen_marks_of(uint8_t mark[static REPLAY_MARK], const struct seen_marks *s, const struct operation *op)
{
    uint8_t input[8 + 1 + 16 + 16], hash[SIPHASH_SIZE];
    put_be64(input, op->issued_at_ms);
    input[8] = (uint8_t)op->actor.kind;
    memcpy(input + 9, op->actor.id.bytes, 16);
    memcpy(input + 25, op->request_id.bytes, 16);
    siphash(hash, s->key, input, sizeof input);
    memcpy(mark, hash, REPLAY_MARK);
}

static void fetch(const struct generation *g, const uint8_t mark[static REPLAY_MARK])
{
    if (g->slots) __builtin_prefetch(&g->slots[home_of(g, mark)], 1);
}

void seen_marks_expect(const struct seen_marks *s, const uint8_t mark[static REPLAY_MARK])
{
    fetch(&s->now, mark);
    fetch(&s->before, mark);
}

enum err seen_marks_find(uint64_t *index, const struct seen_marks *s, const uint8_t mark[static REPLAY_MARK])
{
    const struct generation *g = &s->now;
    const struct slot *slot = place_of(g, mark);
    if (slot->leaf == 0 && s->before.slots) slot = place_of(g = &s->before, mark);
    if (slot->leaf == 0) return ERR_NOT_FOUND;
    *index = g->first + slot->leaf - 1;
    return OK;
}

/* A generation takes what comes in 10 minutes, and is kept until the next one has done so as well. */
static enum err begin_generation(struct seen_marks *s)
{
    struct generation fresh;
    enum err e = make(&fresh, room_for(s->now.count), NULL); /* as many are likely to come again */
    if (e != OK) return e;
    drop(&s->before);
    s->before = s->now;
    s->now = fresh;
    return OK;
}

enum err seen_marks_add(struct seen_marks *s, const uint8_t mark[static REPLAY_MARK], uint64_t index, uint64_t time_ms)
{
    enum err e = OK;
    if (s->now.count > 0 && time_ms - s->now.since_ms > KEEP_MS) e = begin_generation(s);
    if (s->now.count == 0) s->now.since_ms = time_ms, s->now.first = index;
    bool small = 3 * s->now.count >= 2 * s->now.room;
    /* So many in 10 minutes no cluster makes. */
    if (e == OK && (index - s->now.first >= SLOTS_MOST || (small && 2 * s->now.room > SLOTS_MOST))) e = ERR_FULL;
    if (e == OK && small) e = grow(&s->now);
    if (e != OK) return e;
    struct slot *slot = place_of(&s->now, mark);
    CHECK(slot->leaf == 0);
    memcpy(slot->mark, mark, REPLAY_MARK);
    slot->leaf = (uint32_t)(index - s->now.first) + 1;
    s->now.count++;
    return OK;
}
