/* First in, first out, of things that embed their link: adding one allocates nothing, and can't fail.
 *
 * Zero-initialised is empty. A thing is in one queue at most, and stays its owner's, who keeps it until it is out
 * again. Whoever shares a queue between threads locks it. How many may wait is for the callers to bound.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include <stddef.h>

/* The thing of that type whose `member` this points to. */
#define container(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

struct queue_link {
    struct queue_link *next;
};

struct queue {
    struct queue_link *first, *last; /* first NULL: empty, whatever `last` is */
};

static inline void queue_add(struct queue *q, struct queue_link *link)
{
    link->next = NULL;
    if (q->first)
        q->last->next = link;
    else
        q->first = link;
    q->last = link;
}

/* Appends all of `from`, which is empty after. */
static inline void queue_move(struct queue *to, struct queue *from)
{
    if (!from->first) return;
    if (to->first)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    from->first = NULL;
}

/* Out of the middle: it is in there. */
static inline void queue_remove(struct queue *q, struct queue_link *link)
{
    struct queue_link *before = NULL;
    for (struct queue_link *at = q->first; at != link; at = at->next)
        before = at;
    if (before)
        before->next = link->next;
    else
        q->first = link->next;
    if (q->last == link) q->last = before;
}

/* The first one, a thing of that type whose link is `member`; NULL: empty. */
#define queue_pop(q, type, member) ((type *)queue_pop_at((q), offsetof(type, member)))

static inline void *queue_pop_at(struct queue *q, size_t offset)
{
    struct queue_link *link = q->first;
    if (!link) return NULL;
    q->first = link->next;
    return (char *)link - offset;
}

#endif
