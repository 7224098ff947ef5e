/* What all clients' connections hold together: unfinished frames, and answers that are
 * not read yet. Links between nodes don't count, so that clients cannot crowd them out.
 *
 * Over a total, whoever holds memory without going on is closed, not whoever comes last:
 *   - of those who send, the one whose unfinished frame has lasted longest, once that is
 *     LIMIT_CROWD_MS; until then who would add to the crowd is not read from, but for
 *     the one whose frame is the oldest, so that the line always moves
 *     What the upper layer has taken of all (network_take) counts by itself: above that total nobody's unfinished
 *     frame goes on, but nobody is closed for it, since it ends with the answers
 *   - of those who read, the one that has taken nothing for longest, once that is
 *     LIMIT_CROWD_MS; over a second, far larger total, the one with most to read
 */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/check.h"
#include "net/connection_state.h"

#define LEAST (4 * KIB) /* less than this is not worth a connection */

static uint64_t now_ms(const struct connection *c) { return uv_now(c->network->loop); }

size_t crowd_queued(const struct connection *c)
{
    return c->queue.size + (c->writing ? uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) : 0);
}

bool crowd_client(const struct connection *c) { return !c->dialed && !c->peer; }

void crowd_charge(struct connection *c)
{
    struct network *n = c->network;
    if (!crowd_client(c)) return;
    size_t send = crowd_queued(c), receive = frame_memory(&c->reader);
    n->sending += send - c->charged_send;
    n->receiving += receive - c->charged_receive;
    c->charged_send = send;
    c->charged_receive = receive;
    crowd_sort(c);
}

bool crowd_unread(const struct connection *c)
{
    return crowd_client(c) && !c->raw && crowd_queued(c) > LIMIT_UNREAD;
}

/* --- receiving --- */

/* A binary heap: whose unfinished frame has lasted longest is first, however many there are. */

static void put_sender(struct network *n, size_t at, struct connection *c)
{
    n->senders[at] = c;
    c->sender_at = at + 1;
}

static void sift_up(struct network *n, size_t at)
{
    struct connection *c = n->senders[at];
    for (; at > 0 && c->frame_ms < n->senders[(at - 1) / 2]->frame_ms; at = (at - 1) / 2)
        put_sender(n, at, n->senders[(at - 1) / 2]);
    put_sender(n, at, c);
}

static void sift_down(struct network *n, size_t at)
{
    struct connection *c = n->senders[at];
    for (size_t child; (child = 2 * at + 1) < n->sender_count; at = child) {
        if (child + 1 < n->sender_count && n->senders[child + 1]->frame_ms < n->senders[child]->frame_ms) child++;
        if (n->senders[child]->frame_ms >= c->frame_ms) break;
        put_sender(n, at, n->senders[child]);
    }
    put_sender(n, at, c);
}

static void add_sender(struct connection *c)
{
    struct network *n = c->network;
    if (n->sender_count == n->sender_capacity) {
        n->sender_capacity = n->sender_capacity ? 2 * n->sender_capacity : 64;
        n->senders = realloc(n->senders, n->sender_capacity * sizeof(struct connection *));
        CHECK(n->senders); /* small, and LIMIT_CONNECTIONS bounds how many */
    }
    put_sender(n, n->sender_count++, c);
}

static void remove_sender(struct connection *c)
{
    struct network *n = c->network;
    size_t at = c->sender_at - 1;
    struct connection *last = n->senders[--n->sender_count];
    c->sender_at = 0;
    if (last == c) return;
    put_sender(n, at, last);
    sift_up(n, at);
    sift_down(n, last->sender_at - 1);
}

void crowd_sort(struct connection *c)
{
    struct network *n = c->network;
    bool counts = c->phase == PHASE_OPEN && c->charged_receive > LEAST && c->frame_ms;
    if (c->sender_at && !counts) remove_sender(c);
    if (!counts) return;
    if (!c->sender_at) add_sender(c);
    sift_up(n, c->sender_at - 1);
    sift_down(n, c->sender_at - 1);
}

static struct connection *slowest_sender(const struct network *n) { return n->sender_count ? n->senders[0] : NULL; }

static void wait_in_crowd(struct connection *c)
{
    connection_stop_reading(c);
    if (c->crowded) return;
    c->crowded = true;
    c->crowded_ms = now_ms(c);
    TAILQ_INSERT_TAIL(&c->network->crowd, c, crowd);
}

/* More has come than who sends a byte now and then has sent. */
static bool has_more(const struct connection *c)
{
    int fd, size = 0;
    if (uv_fileno((const uv_handle_t *)&c->tcp, &fd) != 0) return true;
    return ioctl(fd, FIONREAD, &size) != 0 || size >= (int)KIB;
}

/* Not beyond now: the frame may have begun while its sender waited. */
static void put_off(uint64_t *since, uint64_t waited, uint64_t now)
{
    *since = *since + waited < now ? *since + waited : now;
}

void crowd_forgive(struct connection *c)
{
    uint64_t now = now_ms(c), waited = now - c->crowded_ms;
    c->crowded_ms = now;
    if (!c->frame_ms || !has_more(c)) return;
    put_off(&c->frame_ms, waited, now);
    crowd_sort(c);
}

bool crowd_put_off(struct connection *c, uint64_t waited)
{
    uint64_t now = now_ms(c);
    if (c->phase != PHASE_OPEN || !c->frame_ms || !has_more(c)) return false;
    if (!c->crowded) put_off(&c->frame_ms, waited, now); /* else crowd_forgive does */
    put_off(&c->begun_ms, waited, now);
    crowd_sort(c);
    return true;
}

void crowd_leave(struct connection *c)
{
    if (!c->crowded) return;
    c->crowded = false;
    TAILQ_REMOVE(&c->network->crowd, c, crowd);
    crowd_forgive(c);
}

static bool takes_more(const struct network *n) { return n->taken <= n->options.taken_total; }

/* Above the total only the oldest frame goes on. Others may still say something small, and at once. */
size_t crowd_room(const struct connection *c)
{
    const struct network *n = c->network;
    if (!crowd_client(c)) return INPUT_SIZE;
    if (takes_more(n) && (n->receiving <= n->options.receive_total || c == slowest_sender(n))) return INPUT_SIZE;
    return c->charged_receive > LEAST ? 0 : 2 * LEAST;
}

void crowd_limit_receiving(struct connection *c)
{
    struct network *n = c->network;
    struct connection *slowest;
    if (!takes_more(n)) {
        if (crowd_client(c) && c->phase == PHASE_OPEN && c->charged_receive > LEAST) wait_in_crowd(c);
        return;
    }
    while (n->receiving > n->options.receive_total && (slowest = slowest_sender(n))) {
        if (now_ms(c) - slowest->frame_ms < n->options.crowd_ms) {
            if (slowest != c && c->phase == PHASE_OPEN && c->charged_receive > LEAST) wait_in_crowd(c);
            if (slowest->crowded) { /* the oldest goes on */
                crowd_leave(slowest);
                network_wake(slowest);
            }
            return;
        }
        if (turn_forgive(slowest)) continue; /* another one may be the slowest */
        connection_fault(slowest, ERR_BUSY);
        crowd_leave(slowest);
        frame_reader_free(&slowest->reader);
        crowd_charge(slowest);
    }
}

/* So many as there is room for what they may send at once. */
void crowd_go_on(struct network *n)
{
    struct connection *c;
    size_t total = n->options.receive_total, taken = n->receiving;
    for (; takes_more(n) && taken <= total && (c = TAILQ_FIRST(&n->crowd)); taken += INPUT_SIZE) {
        crowd_leave(c);
        network_wake(c);
    }
}

/* --- sending --- */

static void close_reader(struct connection *c)
{
    connection_reset(c, ERR_SLOW_READER, NULL);
    send_queue_free(&c->queue);
    c->network->sending -= c->charged_send;
    c->charged_send = 0;
}

/* Has taken nothing for longest, and for LIMIT_CROWD_MS at least; NULL: none. */
static struct connection *slowest_reader(struct network *n)
{
    struct connection *slowest = NULL, *c;
    uint64_t now = uv_now(n->loop);
    TAILQ_FOREACH(c, &n->all, all) {
        if (c->phase >= PHASE_CLOSED || c->charged_send <= LEAST) continue;
        if (now - c->took_ms >= n->options.crowd_ms && (!slowest || c->took_ms < slowest->took_ms)) slowest = c;
    }
    return slowest;
}

static struct connection *largest_reader(struct connection *c)
{
    struct connection *largest = c, *other;
    TAILQ_FOREACH(other, &c->network->all, all)
        if (other->phase < PHASE_CLOSED && other->charged_send > largest->charged_send) largest = other;
    return largest;
}

bool crowd_limit_sending(struct connection *c, size_t size)
{
    struct network *n = c->network;
    struct connection *other;
    if (!crowd_client(c)) return true;
    while (n->sending + size > n->options.send_total && (other = slowest_reader(n))) {
        if (other == c) return false;
        close_reader(other);
    }
    while (n->sending + size > n->options.send_most) {
        other = largest_reader(c);
        if (other == c) return false;
        close_reader(other);
    }
    return true;
}
