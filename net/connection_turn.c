/* Turns of the loop: how much of its time clients' input may take before everything else has
 * been looked at again, and who goes first in the next one.
 *
 * Small frames are cheap to send and dear to answer, and megabytes are dear to decrypt. In one
 * turn a client is given TURN_FIRST frames and TURN_FIRST_BYTES, and all such clients together TURN_NS; a
 * link between nodes TURN_LINK_NS, since a node may lie: one frame of it may hold a thousand signatures.
 * Who comes after that is not even read from, so that nothing piles up here and TCP makes the
 * sender wait. In the next turn links between nodes go on first, then clients that were given
 * nothing in the last one, with TURN_NS as well. Last come those in the middle of a large frame, and those that had
 * their share and have more, each in a line of their own: TURN_FRAMES at a time, TURN_HEAVY_NS, answers included.
 * A write passes the loop several times (asked, replicated, applied), and waits for what is left of a turn each time: so
 * these turns are short, however many ask without end. And they take half of the time at most, even when nothing else is
 * to be done: a loop that is never idle is put behind all others by the kernel. Who used up its share goes behind those
 * who did not: multilevel queues (F. J. Corbato et al., An Experimental Time-Sharing System, 1962).
 *
 * Hundreds of connections may come, say nonsense, or hang up at once, and the kernel tells of all of them in one turn:
 * accepting has TURN_ACCEPT_NS of each TURN_SPAN_MS, and what is not open yet TURN_FRESH_NS. The rest waits where it is,
 * unread, also when there is nothing else to do.
 */
#include "net/connection_state.h"

#define TURN_FIRST 4                 /* frames given to the upper layer from one client that did not wait */
#define TURN_FRAMES 32               /* from one that did, and from a link between nodes */
#define TURN_FIRST_BYTES (128 * KIB) /* read from one client that did not wait */
#define TURN_BYTES (256 * KIB)       /* from one that did */
#define TURN_NS 500000               /* of the loop's time, for the input of clients that had no share so far */
#define TURN_HEAVY_NS 250000         /* for the input, and the answers, of those that had, and of large frames ... */
#define TURN_HEAVY_MOST_NS 500000    /* ... and no more than this in each TURN_SPAN_MS; what is more counts in the next */
#define TURN_HEAVY_DEBT_NS 2000000   /* up to this: one dear question of one client is not all others' fault */
#define TURN_BULK_BYTES (32 * KIB)   /* of an unfinished frame: who has sent more of one goes on with TURN_BULK */
#define TURN_FRESH_NS 150000         /* in each TURN_SPAN_MS, for connections whose handshake is not done */
#define TURN_ACCEPT_NS 250000        /* the same, for taking new ones, with what they say at once: thousands a second */
#define TURN_LINK_NS 2000000         /* for the input of one link between nodes */

static bool is_limited(const struct connection *c) { return crowd_client(c) && c->phase == PHASE_OPEN; }

static bool is_fresh_turn(const struct connection *c) { return c->turn_serial != c->network->turn; }

/* Whose time it takes: of those in the middle of a large frame, of those that go on with more, or of all others. */
static int share_of(const struct connection *c)
{
    if (c->bulk) return TURN_BULK;
    return !is_fresh_turn(c) && c->turn_heavy ? TURN_HEAVY : TURN_LIGHT;
}

/* While both wait each of the two has half of what they have together: large frames are not held up by hundreds that
 * ask without end, nor these by them. */
static uint64_t time_of(const struct network *n, int share)
{
    if (share == TURN_LIGHT) return TURN_NS;
    return n->turn_counts[share == TURN_BULK ? TURN_HEAVY : TURN_BULK] ? TURN_HEAVY_NS / 2 : TURN_HEAVY_NS;
}

/* What is being given just now counts, too. */
static bool all_had_theirs(const struct network *n, int share)
{
    uint64_t running = n->turn_begun_ns ? uv_hrtime() - n->turn_begun_ns : 0;
    if (share != TURN_LIGHT && n->heavy_ns + running >= TURN_HEAVY_MOST_NS) return true;
    return n->turn_ns[share] + running >= time_of(n, share);
}

static bool link_had_its(const struct connection *c)
{
    uint64_t running = c->turn_begun_ns ? uv_hrtime() - c->turn_begun_ns : 0;
    return c->turn_ns + running >= TURN_LINK_NS;
}

bool turn_has_time(const struct network *n, int share)
{
    return n->turn_ns[share] < (share == TURN_ACCEPT ? TURN_ACCEPT_NS : TURN_FRESH_NS);
}

void turn_took_time(struct network *n, int share, uint64_t begun_ns) { n->turn_ns[share] += uv_hrtime() - begun_ns; }

static bool had_its_bytes(const struct connection *c)
{
    return c->turn_bytes >= (c->turn_heavy ? TURN_BYTES : TURN_FIRST_BYTES);
}

bool turn_is_over(const struct connection *c)
{
    if (connection_is_fresh(c)) return !turn_has_time(c->network, TURN_FRESH);
    if (!is_fresh_turn(c) && c->turn_frames >= c->turn_share) return true;
    if (!is_limited(c)) return !is_fresh_turn(c) && link_had_its(c);
    return (!is_fresh_turn(c) && had_its_bytes(c)) || all_had_theirs(c->network, share_of(c));
}

void turn_begin(struct connection *c)
{
    c->network->turn_share = share_of(c);
    uint64_t *begun = is_limited(c) ? &c->network->turn_begun_ns : &c->turn_begun_ns;
    *begun = uv_hrtime();
}

void turn_end(struct connection *c)
{
    struct network *n = c->network;
    uint64_t now = uv_hrtime();
    if (n->turn_begun_ns) n->turn_ns[n->turn_share] += now - n->turn_begun_ns;
    if (n->turn_begun_ns && n->turn_share != TURN_LIGHT) n->heavy_ns += now - n->turn_begun_ns;
    if (n->heavy_ns > TURN_HEAVY_DEBT_NS) n->heavy_ns = TURN_HEAVY_DEBT_NS;
    if (c->turn_begun_ns) c->turn_ns += now - c->turn_begun_ns;
    n->turn_begun_ns = c->turn_begun_ns = 0;
}

void turn_took(struct connection *c, size_t bytes, unsigned frames)
{
    if (is_fresh_turn(c)) {
        c->turn_serial = c->network->turn;
        c->turn_heavy = false;
        c->turn_share = crowd_client(c) ? TURN_FIRST : TURN_FRAMES;
        c->turn_frames = 0;
        c->turn_bytes = 0;
        c->turn_ns = 0;
    }
    c->turn_bytes += bytes;
    c->turn_frames += frames;
    if (frames) c->bulk = false; /* what is kept after it may be whole frames: until they were looked at */
}

void turn_sort(struct connection *c) { c->bulk = c->frame_ms && c->charged_receive > TURN_BULK_BYTES; }

/* It was given its share of this turn, or a part of it and has more already. Else its turn is over only since all
 * others had theirs: who asks one thing at a time is not put behind those that ask without end. Who comes from these,
 * and was given nothing, stays among them. */
static bool had_its_own(const struct connection *c)
{
    if (is_fresh_turn(c)) return false;
    bool has_more = c->reader.input.size || frame_end(&c->reader) == ERR_TRUNCATED;
    return c->turn_frames >= c->turn_share || had_its_bytes(c) || (has_more && (c->turn_frames || c->turn_heavy));
}

void turn_wait(struct connection *c)
{
    struct network *n = c->network;
    connection_stop_reading(c);
    c->held = true;
    if (c->in_turns) return;
    c->turn_list = connection_is_fresh(c) ? TURN_FRESH
                   : !crowd_client(c)     ? TURN_LINK
                   : c->bulk              ? TURN_BULK
                   : had_its_own(c)       ? TURN_HEAVY
                                          : TURN_LIGHT;
    c->in_turns = true;
    c->turn_ms = uv_now(n->loop);
    TAILQ_INSERT_TAIL(&n->turns[c->turn_list], c, turn);
    n->turn_counts[c->turn_list]++;
}

/* Nobody is slow for the time in which we did not read what it had sent. */
bool turn_forgive(struct connection *c)
{
    uint64_t now = uv_now(c->network->loop), waited = now - c->turn_ms;
    if (!c->in_turns || waited == 0) return false;
    c->turn_ms = now;
    return crowd_put_off(c, waited);
}

void turn_leave(struct connection *c)
{
    struct network *n = c->network;
    if (!c->in_turns) return;
    (void)turn_forgive(c);
    c->in_turns = false;
    TAILQ_REMOVE(&n->turns[c->turn_list], c, turn);
    n->turn_counts[c->turn_list]--;
}

static bool is_heavy(int list) { return list == TURN_BULK || list == TURN_HEAVY; }

static bool heavy_have_time(const struct network *n) { return n->heavy_ns < TURN_HEAVY_MOST_NS; }

static bool heavy_wait(const struct network *n) { return n->turn_counts[TURN_BULK] + n->turn_counts[TURN_HEAVY] > 0; }

bool turn_waits(const struct network *n)
{
    return n->turn_counts[TURN_LINK] + n->turn_counts[TURN_LIGHT] > 0 || (heavy_wait(n) && heavy_have_time(n));
}

bool turn_waits_for_time(const struct network *n)
{
    return n->turn_counts[TURN_FRESH] > 0 || (heavy_wait(n) && !heavy_have_time(n));
}

/* With what it has more. Its answers belong to it: one that asks much is answered much. */
static void go_on_heavily(struct connection *c)
{
    turn_took(c, 0, 0);
    c->turn_heavy = true;
    c->turn_share = TURN_FRAMES;
    connection_go_on(c);
    turn_begin(c);
    connection_flush(c);
    turn_end(c);
}

/* Those that wait now: who waits again waits for the next turn. Of clients as many as there is time for, but one of
 * each list at least. */
static void go_on(struct network *n, int list)
{
    bool first = true;
    if (is_heavy(list) && !heavy_have_time(n)) return;
    for (size_t count = n->turn_counts[list]; count && n->turn_counts[list]; count--) {
        struct connection *c = TAILQ_FIRST(&n->turns[list]);
        if (list != TURN_LINK && !first && all_had_theirs(n, list)) return;
        turn_leave(c);
        if (is_heavy(list))
            go_on_heavily(c);
        else
            connection_go_on(c);
        first = false;
    }
}

/* In each turn the other one of the two is first, so that neither leaves nothing for the other: who is first is given
 * something at least. */
static void go_on_with_heavy(struct network *n)
{
    if (!heavy_wait(n) || !heavy_have_time(n)) return;
    bool heavy_first = n->heavy_first;
    n->heavy_first = !heavy_first;
    go_on(n, heavy_first ? TURN_HEAVY : TURN_BULK);
    go_on(n, heavy_first ? TURN_BULK : TURN_HEAVY);
}

/* What the heavy took beyond their part of the last one counts in this one, too. */
static bool begin_span(struct network *n)
{
    uint64_t now = uv_hrtime(), spans = (now - n->span_since_ns) / (TURN_SPAN_MS * UINT64_C(1000000));
    if (spans == 0) return false;
    n->span_since_ns = now;
    n->heavy_ns -= n->heavy_ns / TURN_HEAVY_MOST_NS < spans ? n->heavy_ns : spans * TURN_HEAVY_MOST_NS;
    return true;
}

/* Before those that come now. First who stands in line for a place: that one came before all of these, and they may be
 * hundreds that have the time of each span. */
static void go_on_with_fresh(struct network *n)
{
    n->turn_ns[TURN_FRESH] = n->turn_ns[TURN_ACCEPT] = 0;
    network_run_lines(n);
    for (size_t count = n->turn_counts[TURN_FRESH]; count && turn_has_time(n, TURN_FRESH); count--) {
        uint64_t begun = uv_hrtime();
        struct connection *c = TAILQ_FIRST(&n->turns[TURN_FRESH]);
        turn_leave(c);
        connection_go_on(c);
        turn_took_time(n, TURN_FRESH, begun);
    }
}

void turn_next(struct network *n)
{
    bool is_new_span = begin_span(n);
    n->turn++;
    n->turn_ns[TURN_LIGHT] = n->turn_ns[TURN_BULK] = n->turn_ns[TURN_HEAVY] = 0;
    go_on(n, TURN_LINK);
    go_on(n, TURN_LIGHT);
    go_on_with_heavy(n);
    n->turn_ns[TURN_LIGHT] = 0; /* what is new has as much again; the heavy have what is left of theirs */
    if (is_new_span) go_on_with_fresh(n);
}
