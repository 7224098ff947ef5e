#include "cli/seen_marks.h"

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
/* An operation may be issued 5 minutes after its leaf, and come again 5 later. */
#define KEEP_MS (2 * (uint64_t)LIMIT_SKEW_MS)

struct slot {
    uint8_t mark[REPLAY_MARK];
    uint64_t leaf; /* its index + 1; 0: free */
};

/* Open addressing; at most two thirds full. */
struct generation {
    struct slot *slots; /* NULL: none */
    uint64_t room, count;
    uint64_t since_ms; /* the first leaf's time */
};

struct seen_marks {
    uint8_t key[14]; /* with what is hashed it fills one block of SHA-256 */
    struct generation now, before;
};

/* --- a table --- */

static void drop(struct generation *g)
{
    if (g->slots) munmap(g->slots, g->room * sizeof *g->slots);
    *g = (struct generation){0};
}

/* The disk's blocks are taken at once: a page that can't be written later would end the process. */
static enum err make(struct generation *g, uint64_t room, struct failure *failure)
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
    *g = (struct generation){.slots = at, .room = room};
    return OK;
}

/* Where it is, or the free place where it would be. */
static struct slot *place_of(const struct generation *g, const uint8_t mark[static REPLAY_MARK])
{
    uint64_t at = get_be64(mark) & (g->room - 1);
    while (g->slots[at].leaf && memcmp(g->slots[at].mark, mark, REPLAY_MARK) != 0) at = (at + 1) & (g->room - 1);
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
    drop(g);
    *g = larger;
    return OK;
}

/* --- the whole --- */

enum err seen_marks_open(struct seen_marks **out, struct failure *failure)
{
    struct seen_marks *s = xcalloc(1, sizeof *s);
    random_bytes(s->key, sizeof s->key);
    enum err e = make(&s->now, FIRST_SLOTS, failure);
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

void seen_marks_of(uint8_t mark[static REPLAY_MARK], const struct seen_marks *s, const struct operation *op)
{
    uint8_t input[sizeof s->key + 8 + 1 + 16 + 16], *at = input;
    struct digest digest;
    memcpy(at, s->key, sizeof s->key);
    at += sizeof s->key;
    put_be64(at, op->issued_at_ms);
    at[8] = (uint8_t)op->actor.kind;
    memcpy(at + 9, op->actor.id.bytes, 16);
    memcpy(at + 25, op->request_id.bytes, 16);
    hash_sha256(&digest, input, sizeof input);
    memcpy(mark, digest.bytes, REPLAY_MARK);
}

static void fetch(const struct generation *g, const uint8_t mark[static REPLAY_MARK])
{
    if (g->slots) __builtin_prefetch(&g->slots[get_be64(mark) & (g->room - 1)], 1);
}

void seen_marks_expect(const struct seen_marks *s, const uint8_t mark[static REPLAY_MARK])
{
    fetch(&s->now, mark);
    fetch(&s->before, mark);
}

enum err seen_marks_find(uint64_t *index, const struct seen_marks *s, const uint8_t mark[static REPLAY_MARK])
{
    const struct slot *slot = place_of(&s->now, mark);
    if (slot->leaf == 0 && s->before.slots) slot = place_of(&s->before, mark);
    if (slot->leaf == 0) return ERR_NOT_FOUND;
    *index = slot->leaf - 1;
    return OK;
}

/* A generation takes what comes in 10 minutes, and is kept until the next one has done so as well. */
static enum err begin_generation(struct seen_marks *s, uint64_t time_ms)
{
    struct generation fresh;
    enum err e = make(&fresh, FIRST_SLOTS, NULL);
    if (e != OK) return e;
    drop(&s->before);
    s->before = s->now;
    s->now = fresh;
    s->now.since_ms = time_ms;
    return OK;
}

enum err seen_marks_add(struct seen_marks *s, const uint8_t mark[static REPLAY_MARK], uint64_t index, uint64_t time_ms)
{
    enum err e = OK;
    if (s->now.count == 0) s->now.since_ms = time_ms;
    if (time_ms - s->now.since_ms > KEEP_MS) e = begin_generation(s, time_ms);
    if (e == OK && 3 * s->now.count >= 2 * s->now.room) e = grow(&s->now);
    if (e != OK) return e;
    struct slot *slot = place_of(&s->now, mark);
    CHECK(slot->leaf == 0);
    memcpy(slot->mark, mark, REPLAY_MARK);
    slot->leaf = index + 1;
    s->now.count++;
    return OK;
}
