#include "net/send_queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define PIECE_MOST (64 * KIB) /* of copied parts together; one that is larger is a piece of its own */

struct piece {
    struct queue_link link;
    struct bytes rest; /* not taken yet */
    size_t room;       /* behind that */
    void (*release)(void *owner); /* of a lent one */
    void *owner;
    uint8_t copy[];
};

static struct piece *piece_of(struct queue_link *link) { return container(link, struct piece, link); }

static void piece_free(struct piece *p)
{
    if (p->release) p->release(p->owner);
    free(p);
}

/* --- adding --- */

static size_t copied_size(const struct send_part *parts, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += parts[i].bytes.size;
    return size;
}

static void copy_to(uint8_t *at, const struct send_part *parts, size_t count)
{
    for (size_t i = 0; i < count; at += parts[i++].bytes.size)
        if (parts[i].bytes.size) memcpy(at, parts[i].bytes.data, parts[i].bytes.size);
}

/* The more waits, the more is likely to follow. */
static size_t capacity_for(const struct send_queue *q, size_t size)
{
    size_t capacity = q->size < PIECE_MOST ? q->size : PIECE_MOST;
    return capacity < size ? size : capacity;
}

static struct piece *piece_new(const struct send_queue *q, const struct send_part *parts, size_t count, size_t size)
{
    bool lent = parts[0].release;
    size_t capacity = lent ? 0 : capacity_for(q, size);
    struct piece *p = malloc(sizeof *p + capacity);
    if (!p) return NULL;
    *p = (struct piece){.release = parts[0].release, .owner = parts[0].owner};
    p->rest = lent ? parts[0].bytes : bytes_of(p->copy, size);
    p->room = lent ? 0 : capacity - size;
    if (!lent) copy_to(p->copy, parts, count);
    return p;
}

/* One lent part, or as many copied ones as stand together. */
static size_t run_of(const struct send_part *parts, size_t count)
{
    size_t run = 1;
    while (!parts[0].release && run < count && !parts[run].release) run++;
    return run;
}

enum err send_queue_add(struct send_queue *q, const struct send_part *parts, size_t count)
{
    struct queue added = {0};
    struct piece *last = q->pieces.first ? piece_of(q->pieces.last) : NULL;
    size_t behind = 0, all = copied_size(parts, count); /* behind: of what is copied to the last piece's end */
    for (size_t i = 0, run; i < count; i += run) {
        run = run_of(parts + i, count - i);
        size_t size = copied_size(parts + i, run);
        if (i == 0 && !parts[0].release && last && last->room && size <= last->room) {
            copy_to(last->copy + (last->rest.data - last->copy) + last->rest.size, parts, run);
            behind = size;
            continue;
        }
        struct piece *p = piece_new(q, parts + i, run, size);
        if (!p) goto drop_added;
        queue_add(&added, &p->link);
    }
    if (behind) {
        last->rest.size += behind;
        last->room -= behind;
    }
    queue_move(&q->pieces, &added);
    q->size += all;
    return OK;
drop_added:
    for (struct piece *p; (p = queue_pop(&added, struct piece, link));)
        free(p); /* what was lent stays its owner's */
    return ERR_NOMEM;
}

/* --- taking --- */

/* Copies the first `most` bytes, or all there are. */
static size_t gather(const struct send_queue *q, uint8_t *to, size_t most)
{
    size_t size = 0;
    for (struct queue_link *at = q->pieces.first; at && size < most; at = at->next) {
        struct bytes rest = piece_of(at)->rest;
        size_t some = rest.size < most - size ? rest.size : most - size;
        if (some) memcpy(to + size, rest.data, some);
        size += some;
    }
    return size;
}

struct bytes send_queue_first(const struct send_queue *q, uint8_t record[static SEND_RECORD], size_t most)
{
    CHECK(most >= SEND_RECORD);
    if (q->size == 0) return (struct bytes){0};
    struct bytes first = piece_of(q->pieces.first)->rest;
    if (first.size < SEND_RECORD && first.size < q->size) return bytes_of(record, gather(q, record, SEND_RECORD));
    if (first.size > most) first.size = most;
    if (first.size < q->size) first.size -= first.size % SEND_RECORD;
    return first;
}

void send_queue_take(struct send_queue *q, size_t size)
{
    CHECK(size <= q->size);
    q->size -= size;
    for (struct queue_link *at; (at = q->pieces.first);) {
        struct piece *p = piece_of(at);
        size_t some = size < p->rest.size ? size : p->rest.size;
        p->rest.data += some;
        p->rest.size -= some;
        size -= some;
        if (p->rest.size) return;
        q->pieces.first = at->next;
        piece_free(p);
    }
}

void send_queue_free(struct send_queue *q)
{
    for (struct piece *p; (p = queue_pop(&q->pieces, struct piece, link));)
        piece_free(p);
    q->size = 0;
}
