#include "consensus/preverify.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/genesis.h"

#define CACHE_SLOTS 4096u /* power of two; one key each */
#define TASK_REQUESTS 16u /* small requests of one task: their 0.8 ms outweigh handing it over */
#define TASK_BYTES (256u * 1024) /* or that much to be hashed */

struct cached_key {
    struct actor actor; /* kind ACTOR_NONE: free */
    struct sign_public key;
};

struct preverify {
    struct workers *workers;
    const struct genesis *genesis;
    pthread_mutex_t lock; /* guards `keys` */
    struct cached_key keys[CACHE_SLOTS];
};

struct check_task {
    struct worker_task task;
    struct preverify *owner;
    struct preverify_job *job;
    uint32_t first, end;
};

struct preverify *preverify_new(struct workers *workers, const struct genesis *genesis)
{
    struct preverify *p = xcalloc(1, sizeof *p);
    p->workers = workers;
    p->genesis = genesis;
    CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
    return p;
}

void preverify_free(struct preverify *p)
{
    if (!p) return;
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- keys ---- */

/* Ids and key ids are hashes or random, but chosen by their owners: a slot is a cache line, not a promise. */
static struct cached_key *slot_of(struct preverify *p, const struct actor *actor)
{
    uint32_t h = get_be32(actor->id.bytes) ^ get_be32(actor->id.bytes + 8) ^ get_be32(actor->key.bytes);
    return &p->keys[(h ^ h >> 16) & (CACHE_SLOTS - 1)];
}

static bool find_key(struct preverify *p, struct sign_public *out, const struct actor *actor)
{
    if (actor->kind == ACTOR_NODE) {
        uint32_t index = genesis_member_by_id(p->genesis, &actor->id);
        if (index != 0) *out = genesis_member(p->genesis, index)->keys.message;
        return index != 0;
    }
    pthread_mutex_lock(&p->lock);
    const struct cached_key *slot = slot_of(p, actor);
    bool found = slot->actor.kind != ACTOR_NONE && actor_equal(&slot->actor, actor);
    if (found) *out = slot->key;
    pthread_mutex_unlock(&p->lock);
    return found;
}

void preverify_learn(struct preverify *p, const struct block *block)
{
    pthread_mutex_lock(&p->lock);
    for (uint32_t i = 0; i < block->count; i++) {
        const struct request *r = &block->requests[i];
        const struct actor *actor = &r->items[0].operation.actor;
        if (r->verified != VERDICT_GOOD || actor->kind != ACTOR_USER) continue;
        struct cached_key *slot = slot_of(p, actor);
        if (slot->actor.kind == ACTOR_NONE || !actor_equal(&slot->actor, actor) ||
            memcmp(&slot->key, &r->verified_key, sizeof slot->key) != 0)
            *slot = (struct cached_key){.actor = *actor, .key = r->verified_key};
    }
    pthread_mutex_unlock(&p->lock);
}

/* ---- tasks ---- */

static void check_request(struct preverify *p, struct request *r)
{
    struct sign_public key;
    if (r->verified != VERDICT_UNKNOWN) return;
    if (find_key(p, &key, &r->items[0].operation.actor)) {
        request_check(r, &key);
        return;
    }
    for (uint32_t i = 0; i < r->count; i++)
        request_item_attachment(&r->items[i], NULL);
}

static void run(struct worker_task *task)
{
    struct check_task *t = (struct check_task *)task;
    for (uint32_t i = t->first; i < t->end; i++)
        check_request(t->owner, &t->job->block->requests[i]);
}

static void done(struct worker_task *task, bool canceled)
{
    struct preverify_job *job = ((struct check_task *)task)->job;
    free(task);
    if (--job->running == 0) job->done(job, canceled);
}

static void queue(struct preverify *p, struct preverify_job *job, uint32_t first, uint32_t end)
{
    struct check_task *t = xcalloc(1, sizeof *t);
    t->task.run = run;
    t->task.done = done;
    t->owner = p;
    t->job = job;
    t->first = first;
    t->end = end;
    job->running++;
    workers_queue(p->workers, &t->task);
}

void preverify_start(struct preverify *p, struct preverify_job *job)
{
    uint32_t first = 0, unknown = 0;
    size_t bytes = 0;
    for (uint32_t i = 0; i < job->block->count; i++) {
        const struct request *r = &job->block->requests[i];
        if (r->verified != VERDICT_UNKNOWN) continue;
        unknown++;
        bytes += r->raw.size;
        if (unknown < TASK_REQUESTS && bytes < TASK_BYTES) continue;
        queue(p, job, first, i + 1);
        first = i + 1;
        unknown = 0;
        bytes = 0;
    }
    if (unknown > 0) queue(p, job, first, job->block->count);
}
