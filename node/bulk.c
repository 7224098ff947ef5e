#include "node/bulk.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"

struct bulk {
    uv_timer_t rest;
    void *data;
    uint64_t (*size)(void *data);
    struct queue turns;
    size_t count; /* of these */
    uint64_t seen; /* entries, at the end of the last turn */
    bool running, resting, giving, stopped;
};

static struct bulk_turn *take(struct bulk *b)
{
    struct bulk_turn *turn = queue_pop(&b->turns, struct bulk_turn, link);
    b->count--;
    return turn;
}

/* A turn may end inside its `begin`, and comes back here: the outer call goes on. */
static void give(struct bulk *b)
{
    if (b->giving) return;
    b->giving = true;
    while (b->turns.first && !b->running && !b->resting && !b->stopped) {
        struct bulk_turn *turn = take(b);
        b->running = true;
        turn->begin(turn);
    }
    b->giving = false;
}

static void rested(uv_timer_t *timer)
{
    struct bulk *b = timer->data;
    b->resting = false;
    give(b);
}

struct bulk *bulk_new(uv_loop_t *loop, void *data, uint64_t (*size)(void *data))
{
    struct bulk *b = xcalloc(1, sizeof *b);
    b->data = data;
    b->size = size;
    b->rest.data = b;
    CHECK(uv_timer_init(loop, &b->rest) == 0);
    return b;
}

enum err bulk_add(struct bulk *b, struct bulk_turn *turn)
{
    if (b->stopped) {
        turn->refuse(turn);
        return OK;
    }
    if (b->count >= LIMIT_SCANS) return ERR_BUSY;
    queue_add(&b->turns, &turn->link);
    b->count++;
    give(b);
    return OK;
}

size_t bulk_waiting(const struct bulk *b) { return b->count; }

void bulk_end(struct bulk *b, uint64_t took_ns)
{
    CHECK(b->running);
    b->running = false;
    if (b->stopped) return;
    uint64_t size = b->size(b->data), rest_ms = took_ns * (BULK_SHARE - 1) / 1000000;
    bool written = size != b->seen;
    b->seen = size;
    if (rest_ms > BULK_REST_MS) rest_ms = BULK_REST_MS;
    if (written && rest_ms > 0) {
        b->resting = true;
        CHECK(uv_timer_start(&b->rest, rested, rest_ms, 0) == 0);
    }
    give(b);
}

void bulk_stop(struct bulk *b)
{
    if (!b || b->stopped) return;
    b->stopped = true;
    uv_close((uv_handle_t *)&b->rest, NULL);
    while (b->turns.first) {
        struct bulk_turn *turn = take(b);
        turn->refuse(turn);
    }
}

void bulk_free(struct bulk *b) { free(b); }
