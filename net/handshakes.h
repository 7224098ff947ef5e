/* Threads of their own for the handshake steps of accepted connections: at a lower priority, so
 * that strangers' handshakes, some milliseconds of a processor each, take only what the work of
 * those who are in leaves, and are never in its way on libuv's pool.
 *
 * Private to net. Loop thread.
 */
#ifndef NET_HANDSHAKES_H
#define NET_HANDSHAKES_H

#include <sys/queue.h>

#include <uv.h>

struct handshakes;

/* Embedded in a connection. */
struct handshake_step {
    void (*run)(struct handshake_step *step);  /* on a thread */
    void (*done)(struct handshake_step *step); /* on the loop, once; the step is the caller's again */
    STAILQ_ENTRY(handshake_step) next;
};

/* The threads begin with the first step. While steps run they keep the loop alive. */
struct handshakes *handshakes_new(uv_loop_t *loop);
void handshakes_add(struct handshakes *h, struct handshake_step *step); /* valid until its `done` */
/* No step is under way, and none comes any more (checked). `closed` is called by the loop, and all is freed. */
void handshakes_close(struct handshakes *h, void (*closed)(void *data), void *data);

#endif
