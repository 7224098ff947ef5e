/* A listener that echoes and those who call it, over real sockets on the loopback, server and client in one loop. */
#ifndef TESTS_UNIT_NET_BED_CONNECTION_H
#define TESTS_UNIT_NET_BED_CONNECTION_H

#include "tests/lib/unit.h"

#include <pthread.h>

#include "base/clock.h"
#include "net/client.h"
#include "net/listener.h"
#include "tests/lib/identities.h"

enum { ASK = 1, ANSWER = 2, FAULT = 3 };

#define PATIENCE_MS 120000u

/* The loop, and what the server's side has seen. */
struct world {
    uv_loop_t loop;
    struct tls_context *server_tls, *client_tls;
    struct network *server, *client;
    struct listener *listener;
    unsigned closed_networks;
    /* of the server's side */
    unsigned opened, closed, frames, faults, writable;
    enum err closed_code, fault_code;
    char closed_text[200];
    struct connection *last;
    bool pausing;
    struct connection *asked[4], *waiting; /* whose answer is still to come */
    struct buffer raw;
};

/* What one who called has seen. */
struct caller {
    struct connection *connection;
    unsigned opened, closed, frames, writable;
    uint64_t last_id;
    size_t last_size;
    enum err code;
    char text[200];
    bool resumed;
    struct tls_ticket *ticket;
    struct buffer last;
};

/* A blocking client on a thread of its own, which sends bytes as they are. */
struct background {
    struct world *w;
    struct bytes bytes;
    bool hang_up, http, waits;
    pthread_t thread;
    enum err answer; /* the code in the server's FAULT, or why none came */
    char text[400];
};

extern const struct connection_events server_events;
extern const struct connection_events caller_events;

/* Time-outs that a test doesn't ask for never end anything here, however slow the machine is. */
struct network_options patient(const struct network_options *given);
void world_start(struct world *w, const struct network_options *given, const struct listener_options *limits);
void world_end(struct world *w);
/* One turn of the loop; for RUN_UNTIL. */
bool turn(struct world *w, uint64_t deadline);
void on_tick(uv_timer_t *timer);

/* Runs the loop until the condition holds. */
#define RUN_UNTIL(w, condition)                                                                                      \
    do {                                                                                                             \
        uint64_t end = clock_monotonic_ns() + PATIENCE_MS * UINT64_C(1000000);                                       \
        uv_timer_t tick;                                                                                             \
        uv_timer_init(&(w)->loop, &tick);                                                                            \
        uv_timer_start(&tick, on_tick, 5, 5);                                                                        \
        while (!(condition) && turn(w, end)) {}                                                                      \
        uv_close((uv_handle_t *)&tick, NULL);                                                                        \
        uv_run(&(w)->loop, UV_RUN_NOWAIT);                                                                           \
    } while (0)

void run_for(struct world *w, unsigned ms);
void call(struct world *w, struct caller *a, const char *alpn, const struct digest *pin);
void caller_end(struct caller *a);
/* So many at once: they call and are all there, on both sides; each asks once, with a body of this size. */
void callers_open(struct world *w, struct caller *callers, unsigned count);
void callers_ask(struct caller *callers, unsigned count, size_t size);
void callers_end(struct caller *callers, unsigned count);
/* A body of that many bytes, which can be told from another's. */
void body_of(struct buffer *out, size_t size);

void background_run(struct background *b);
void background_join(struct background *b);

/* Connected to the listener, without TLS; doesn't block. */
int raw_socket(struct world *w);
/* true once the other side has closed; what it sent is thrown away. */
bool is_closed(int fd);

/* Before and after all tests of a program. */
int bed_open(void **state);
int bed_close(void **state);

#endif
