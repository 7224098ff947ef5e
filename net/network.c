/* What the connections of one loop share.
 *
 * Three things happen beside the connections' own callbacks:
 *   - wakes: a connection that queued something, or may read on, is on a list
 *     that is worked through before and after the loop polls, so that all that
 *     one turn queued is encrypted and written together
 *   - handshake steps go to threads, a bounded number at once: those of accepted
 *     connections to threads that only take what others leave; these connections
 *     have a TLS session, and its memory, only in one of a bounded number of places,
 *     for which addresses wait in turn
 *   - a sweep every so often closes what is too slow and gives memory back
 */
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/check.h"
#include "net/connection_state.h"

#define SHAKE_THREADS_MAX 8
#define SHAKE_NICENESS 5 /* a quarter of a processor where others want all of it */

static void close_network_if_done(struct network *n);

struct connection *network_add(struct network *n)
{
    struct connection *c = xcalloc(1, sizeof *c); /* small, and LIMIT_CONNECTIONS bounds how many */
    c->network = n;
    c->serial = ++n->counters.connections;
    c->since_ms = c->active_ms = uv_now(n->loop);
    n->counters.open++;
    TAILQ_INSERT_TAIL(&n->all, c, all);
    return c;
}

void network_remove(struct connection *c)
{
    struct network *n = c->network;
    CHECK(!c->waking && !c->shaking && !c->shake_queued);
    n->sending -= c->charged_send;
    n->receiving -= c->charged_receive;
    n->counters.open--;
    n->left++;
    if (n->sweep_next == c) n->sweep_next = TAILQ_NEXT(c, all);
    TAILQ_REMOVE(&n->all, c, all);
    free(c);
    close_network_if_done(n);
}

/* --- wakes --- */

void network_wake(struct connection *c)
{
    if (c->waking || c->phase == PHASE_CLOSED) return;
    c->waking = true;
    TAILQ_INSERT_TAIL(&c->network->wakes, c, wake);
    c->network->wake_count++;
}

void network_unwake(struct connection *c)
{
    if (!c->waking) return;
    c->waking = false;
    TAILQ_REMOVE(&c->network->wakes, c, wake);
    c->network->wake_count--;
}

static void on_idle(uv_idle_t *handle) { (void)handle; /* its being active keeps the poll from waiting */ }

/* Only those that wait now: one that wakes again waits for the next turn, so
 * that a busy connection doesn't keep the loop from its other events. */
static void run_wakes(struct network *n)
{
    for (size_t count = n->wake_count; count && n->wake_count; count--) {
        struct connection *c = TAILQ_FIRST(&n->wakes);
        network_unwake(c);
        connection_wake(c);
    }
    if (n->wake_count || n->sweep_due || turn_waits(n))
        uv_idle_start(&n->idle, on_idle);
    else
        uv_idle_stop(&n->idle);
}

/* What many connections held lies in small pieces between what is used still; by itself the C library
 * gives back only what lies at the end. */
static void trim(uv_work_t *work)
{
    (void)work;
    malloc_trim(0);
}

static void on_trimmed(uv_work_t *work, int status)
{
    struct network *n = work->data;
    (void)status;
    n->trimming = false;
    close_network_if_done(n);
}

#define TRIM_LEFT 32  /* connections */
#define TRIM_MS 2000

static void give_memory_back(struct network *n, uint64_t now)
{
    if (n->trimming || n->closing || n->left < TRIM_LEFT || now - n->trimmed_ms < TRIM_MS) return;
    n->left = 0;
    n->trimmed_ms = now;
    n->trimming = true;
    n->trim.data = n;
    CHECK(uv_queue_work(n->loop, &n->trim, trim, on_trimmed) == 0);
}

/* In one turn of the loop, since thousands that came together are also late together: */
#define SWEEP_TURN 128      /* connections */
#define SWEEP_NS 250000     /* and no more once it took so long: closing is dear */

static void sweep(struct network *n)
{
    uint64_t now = uv_now(n->loop);
    if (!n->sweep_next) {
        give_memory_back(n, now);
        n->sweep_next = TAILQ_FIRST(&n->all);
    }
    uint64_t end = uv_hrtime() + SWEEP_NS;
    for (unsigned i = 0; i < SWEEP_TURN && n->sweep_next && uv_hrtime() < end; i++) {
        struct connection *c = n->sweep_next;
        n->sweep_next = TAILQ_NEXT(c, all); /* a sweep closes, but nothing is freed before its callback */
        connection_sweep(c, now);
    }
    n->sweep_due = n->sweep_next != NULL;
}

static void on_again(uv_timer_t *timer) { (void)timer; /* on_prepare comes next */ }

static void on_prepare(uv_prepare_t *handle)
{
    struct network *n = handle->data;
    crowd_go_on(n);
    turn_next(n);
    network_run_lines(n);
    run_wakes(n);
    if ((n->place_free || turn_waits_for_time(n)) && !uv_is_active((uv_handle_t *)&n->again))
        uv_timer_start(&n->again, on_again, TURN_SPAN_MS, 0);
}

/* After the poll: what came while this process was held up is heard before anybody counts as silent. */
static void on_check(uv_check_t *handle)
{
    struct network *n = handle->data;
    crowd_go_on(n);
    network_run_lines(n);
    run_wakes(n);
    if (n->sweep_due) sweep(n);
}

/* --- places for handshakes --- */

/* The last quarter is for others than the one address that has all the rest. */
static bool has_room(const struct network *n, const struct party *p)
{
    uint32_t places = n->options.places;
    return n->places_taken < places && p->places < places - places / 4;
}

static void take_place(struct connection *c)
{
    c->placed = true;
    c->party->places++;
    c->network->places_taken++;
}

/* Who comes while a place is free that somebody waits for stands in line as well. */
bool network_place(struct connection *c)
{
    struct network *n = c->network;
    struct party *p = c->party;
    CHECK(!c->placed && !c->in_line);
    if (has_room(n, p) && !(n->place_free && !TAILQ_EMPTY(&n->lines))) {
        take_place(c);
        return true;
    }
    c->in_line = true;
    if (TAILQ_EMPTY(&p->line)) TAILQ_INSERT_TAIL(&n->lines, p, in_line);
    TAILQ_INSERT_TAIL(&p->line, c, line);
    return false;
}

static void leave_line(struct connection *c)
{
    struct party *p = c->party;
    c->in_line = false;
    TAILQ_REMOVE(&p->line, c, line);
    if (TAILQ_EMPTY(&p->line)) TAILQ_REMOVE(&c->network->lines, p, in_line);
}

static void leave_place(struct connection *c)
{
    c->placed = false;
    c->party->places--;
    c->network->places_taken--;
    c->network->place_free = true;
}

void network_unplace(struct connection *c)
{
    if (c->in_line) leave_line(c);
    if (c->placed) leave_place(c);
}

/* Whose turn it is; NULL: nobody's for whom there is room. */
static struct connection *next_in_line(struct network *n)
{
    for (struct party *p = TAILQ_FIRST(&n->lines); p; p = TAILQ_NEXT(p, in_line)) {
        if (!has_room(n, p)) continue;
        TAILQ_REMOVE(&n->lines, p, in_line);
        TAILQ_INSERT_TAIL(&n->lines, p, in_line);
        return TAILQ_FIRST(&p->line);
    }
    return NULL;
}

/* At the end of a turn, not where the place became free: that may be inside another connection's callback. */
void network_run_lines(struct network *n)
{
    while (n->place_free && turn_has_time(n, TURN_FRESH)) {
        uint64_t begun = uv_hrtime();
        struct connection *c = next_in_line(n);
        n->place_free = c != NULL;
        if (c) {
            leave_line(c);
            take_place(c);
            connection_placed(c);
        }
        turn_took_time(n, TURN_FRESH, begun);
    }
}

/* --- handshakes --- */

static void run_shakes(struct network *n);

static void shaken(struct connection *c, uint32_t *count)
{
    struct network *n = c->network;
    TAILQ_REMOVE(&n->steps, c, shake);
    c->shaking = false;
    c->begun = true;
    --*count;
    connection_shaken(c);
    run_shakes(n);
}

static void on_work(uv_work_t *work)
{
    struct connection *c = work->data;
    tls_handshake(c->tls, &c->shake_out);
}

static void on_work_done(uv_work_t *work, int status)
{
    struct connection *c = work->data;
    CHECK(status == 0); /* never cancelled */
    shaken(c, &c->network->dialed_shaking);
}

static struct connection *of_step(struct worker_task *step)
{
    return (struct connection *)((uint8_t *)step - offsetof(struct connection, step));
}

static void on_step(struct worker_task *step)
{
    struct connection *c = of_step(step);
    tls_handshake(c->tls, &c->shake_out);
}

static void on_step_done(struct worker_task *step, bool canceled)
{
    struct connection *c = of_step(step);
    CHECK(!canceled); /* the threads are stopped after the last connection */
    shaken(c, &c->network->shaking);
}

/* Whether its address has its share of the running steps already. */
static bool has_share(const struct network *n, const struct connection *c)
{
    const struct connection *other;
    uint32_t count = 0;
    TAILQ_FOREACH(other, &n->steps, shake)
        count += !other->dialed && other->party == c->party;
    return count >= (n->options.handshakes + SHAKE_SHARES - 1) / SHAKE_SHARES;
}

/* The first accepted one in line whose address has less than its share; the first one at all when there is none. */
static struct connection *next_shake(struct network *n)
{
    struct connection *first = NULL, *passed = NULL, *c;
    for (int i = SHAKE_BEGUN; i < SHAKE_LISTS; i++) {
        TAILQ_FOREACH(c, &n->shakes[i], shake) {
            if (!first) first = c;
            if (passed && c->party == passed->party) continue;
            if (!has_share(n, c)) return c;
            passed = c;
        }
    }
    return first;
}

static void begin_shake(struct connection *c, uint32_t *count)
{
    struct network *n = c->network;
    connection_stop_reading(c);
    TAILQ_REMOVE(&n->shakes[c->shake_list], c, shake);
    c->shake_queued = false;
    c->shaking = true;
    TAILQ_INSERT_TAIL(&n->steps, c, shake);
    ++*count;
}

static void run_shakes(struct network *n)
{
    struct connection *c;
    while (n->dialed_shaking < n->options.handshakes && (c = TAILQ_FIRST(&n->shakes[SHAKE_DIALED]))) {
        begin_shake(c, &n->dialed_shaking);
        c->work.data = c;
        CHECK(uv_queue_work(n->loop, &c->work, on_work, on_work_done) == 0);
    }
    while (n->shaking < n->options.handshakes && (c = next_shake(n))) {
        begin_shake(c, &n->shaking);
        c->step = (struct worker_task){.run = on_step, .done = on_step_done};
        workers_queue(n->workers, &c->step);
    }
}

void network_shake(struct connection *c)
{
    CHECK(!c->shake_queued && !c->shaking);
    c->shake_queued = true;
    c->shake_list = c->dialed ? SHAKE_DIALED : c->begun ? SHAKE_BEGUN : SHAKE_NEW;
    TAILQ_INSERT_TAIL(&c->network->shakes[c->shake_list], c, shake);
    run_shakes(c->network);
}

bool network_unshake(struct connection *c)
{
    if (c->shake_queued) TAILQ_REMOVE(&c->network->shakes[c->shake_list], c, shake);
    c->shake_queued = false;
    return !c->shaking;
}

/* --- start and end --- */

static void on_sweep(uv_timer_t *timer) { ((struct network *)timer->data)->sweep_due = true; }

#define SWEEP_MS 125 /* what thousands hold who came within one is not given back yet */

/* Often enough that no time-out is late by more than an eighth of itself. */
static uint64_t sweep_interval(const struct network_options *o)
{
    uint32_t least = o->handshake_ms < o->idle_ms ? o->handshake_ms : o->idle_ms;
    if (o->stall_ms < least) least = o->stall_ms;
    if (o->frame_ms < least) least = o->frame_ms;
    return least / 8 > SWEEP_MS ? SWEEP_MS : least < 40 ? 5 : least / 8;
}

static void start_handles(struct network *n)
{
    /* These cannot fail: they only link structs. The handles don't keep the loop alive. */
    uv_prepare_init(n->loop, &n->prepare);
    uv_check_init(n->loop, &n->check);
    uv_idle_init(n->loop, &n->idle);
    uv_timer_init(n->loop, &n->sweep);
    uv_timer_init(n->loop, &n->again);
    n->prepare.data = n->check.data = n->idle.data = n->sweep.data = n->again.data = n;
    n->handles = 6; /* with the threads' */
    uv_prepare_start(&n->prepare, on_prepare);
    uv_check_start(&n->check, on_check);
    uint64_t interval = sweep_interval(&n->options);
    uv_timer_start(&n->sweep, on_sweep, interval, interval);
    uv_unref((uv_handle_t *)&n->prepare);
    uv_unref((uv_handle_t *)&n->check);
    uv_unref((uv_handle_t *)&n->sweep);
    uv_unref((uv_handle_t *)&n->again);
}

static struct network_options with_defaults(const struct network_options *given)
{
    struct network_options o = given ? *given : (struct network_options){0};
    if (!o.handshake_ms) o.handshake_ms = LIMIT_HANDSHAKE_MS;
    if (!o.idle_ms) o.idle_ms = LIMIT_IDLE_MS;
    if (!o.stall_ms) o.stall_ms = LIMIT_STALL_MS;
    if (!o.handshakes) o.handshakes = LIMIT_HANDSHAKES;
    if (!o.places) o.places = LIMIT_HANDSHAKE_PLACES;
    if (!o.silent_ms) o.silent_ms = LIMIT_HANDSHAKE_SILENT_MS;
    if (!o.frame_ms) o.frame_ms = LIMIT_FRAME_MS;
    if (!o.linger_ms) o.linger_ms = LIMIT_LINGER_MS;
    if (!o.send_queue) o.send_queue = LIMIT_SEND_QUEUE;
    if (!o.send_total) o.send_total = LIMIT_SEND_TOTAL;
    if (!o.send_most) o.send_most = LIMIT_SEND_MOST;
    if (!o.crowd_ms) o.crowd_ms = LIMIT_CROWD_MS;
    if (!o.receive_total) o.receive_total = LIMIT_RECEIVE_TOTAL;
    if (!o.taken_total) o.taken_total = LIMIT_TAKEN_BYTES;
    return o;
}

/* Half of the processors at most; one is enough for hundreds of full handshakes a second. */
static unsigned shake_threads(void)
{
    unsigned count = uv_available_parallelism() / 2;
    return count == 0 ? 1 : count > SHAKE_THREADS_MAX ? SHAKE_THREADS_MAX : count;
}

enum err network_new(struct network **out, uv_loop_t *loop, struct tls_context *tls,
                     const struct network_options *options)
{
    signal(SIGPIPE, SIG_IGN); /* libuv writes without MSG_NOSIGNAL */
    struct workers_options threads = {.threads = shake_threads(), .niceness = SHAKE_NICENESS};
    struct workers *workers = workers_new(loop, &threads);
    if (!workers) return ERR_IO;
    struct network *n = xcalloc(1, sizeof *n);
    n->loop = loop;
    n->tls = tls;
    n->options = with_defaults(options);
    n->input = xmalloc(INPUT_SIZE);
    n->plain = xmalloc(PLAIN_SIZE);
    TAILQ_INIT(&n->all);
    TAILQ_INIT(&n->wakes);
    TAILQ_INIT(&n->steps);
    TAILQ_INIT(&n->lines);
    TAILQ_INIT(&n->crowd);
    for (int i = 0; i < TURN_LISTS; i++)
        TAILQ_INIT(&n->turns[i]);
    for (int i = 0; i < SHAKE_LISTS; i++)
        TAILQ_INIT(&n->shakes[i]);
    n->workers = workers;
    start_handles(n);
    *out = n;
    return OK;
}

static void on_threads_closed(void *data)
{
    struct network *n = data;
    n->handles--;
    close_network_if_done(n);
}

static void close_network_if_done(struct network *n)
{
    if (!n->closing || n->trimming || !TAILQ_EMPTY(&n->all)) return;
    if (n->workers) { /* no connection has a step any more */
        struct workers *w = n->workers;
        n->workers = NULL;
        workers_stop(w, on_threads_closed, n);
    }
    if (n->handles || !n->done) return;
    void (*done)(void *) = n->done;
    n->done = NULL;
    done(n->done_data);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct network *n = handle->data;
    n->handles--;
    close_network_if_done(n);
}

void network_close(struct network *n, void (*done)(void *data), void *data)
{
    struct connection *c, *next;
    CHECK(!n->closing);
    n->closing = true;
    n->done = done;
    n->done_data = data;
    for (c = TAILQ_FIRST(&n->all); c; c = next) {
        next = TAILQ_NEXT(c, all);
        connection_finish(c, ERR_CANCELED, "this side is stopping");
    }
    uv_close((uv_handle_t *)&n->prepare, on_handle_closed);
    uv_close((uv_handle_t *)&n->check, on_handle_closed);
    uv_close((uv_handle_t *)&n->idle, on_handle_closed);
    uv_close((uv_handle_t *)&n->sweep, on_handle_closed);
    uv_close((uv_handle_t *)&n->again, on_handle_closed);
}

void network_free(struct network *n)
{
    CHECK(n->closing && n->handles == 0 && TAILQ_EMPTY(&n->all));
    buffer_free(&n->cipher);
    CHECK(n->sender_count == 0);
    free(n->senders);
    free(n->input);
    free(n->plain);
    free(n);
}

void network_take(struct network *n, size_t bytes) { n->taken += bytes; }

void network_give(struct network *n, size_t bytes)
{
    CHECK(bytes <= n->taken);
    n->taken -= bytes;
}

const struct network_counters *network_counters(const struct network *n) { return &n->counters; }
uv_loop_t *network_loop(const struct network *n) { return n->loop; }
struct tls_context *network_tls(const struct network *n) { return n->tls; }
