/* What time does to a connection: who is too slow is closed, and memory that is not used goes back. */
#include "net/connection_state.h"

#define SHRINK_MS 1000 /* without a byte either way, before what it has in reserve goes back */
#define SHRINK_MANY_MS 100 /* the same, with so many connections that it adds up: */
#define MANY 512u

/* Bytes wait and the other side takes fewer than LIMIT_STALL_BYTES in a whole
 * period: a reader of a byte now and then holds memory like one that stopped. */
static bool stalled(struct connection *c, uint64_t now)
{
    uint32_t period = c->network->options.stall_ms;
    if (!c->writing) {
        c->stall_ms = now;
        c->stall_taken = c->taken;
        return false;
    }
    if (now - c->stall_ms < period) return false;
    uint64_t taken = c->taken + c->cipher.size - uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp);
    if (taken - c->stall_taken < LIMIT_STALL_BYTES) return true;
    c->stall_ms = now;
    c->stall_taken = taken;
    return false;
}

/* As many as may be can come within a second. */
static uint64_t shrink_ms(const struct connection *c)
{
    return c->network->counters.open > MANY ? SHRINK_MANY_MS : SHRINK_MS;
}

static void sweep_open(struct connection *c, uint64_t now)
{
    (void)turn_forgive(c);
    if (stalled(c, now)) {
        connection_reset(c, ERR_SLOW_READER, NULL);
    } else if (c->frame_ms && !c->paused && now - c->begun_ms >= c->network->options.frame_ms) {
        connection_fault(c, ERR_TIMEOUT);
    } else if (c->idle_ms && now - c->active_ms >= c->idle_ms) {
        connection_close(c, ERR_IDLE, NULL);
    } else if (c->crowded) {
        crowd_forgive(c);
        crowd_limit_receiving(c); /* who holds it up may be slow by now */
    } else if (c->full) {
        network_wake(c); /* the total may have room again */
    } else if (!c->shrunk && now - c->active_ms >= shrink_ms(c)) {
        c->shrunk = true;
        tls_shrink(c->tls);
    }
}

/* Holds a place that somebody waits for, and has let us wait for its answers. */
static bool is_in_the_way(const struct connection *c, uint64_t now)
{
    uint64_t silent = c->silent_ms + (c->asked_ms ? now - c->asked_ms : 0);
    return c->placed && !TAILQ_EMPTY(&c->network->lines) && silent >= c->network->options.silent_ms;
}

void connection_sweep(struct connection *c, uint64_t now)
{
    switch (c->phase) {
    case PHASE_CONNECTING: dial_sweep(c, now); break;
    case PHASE_HANDSHAKE:
        if (now - c->since_ms >= c->network->options.handshake_ms || is_in_the_way(c, now))
            connection_finish(c, ERR_HANDSHAKE_TIMEOUT, NULL);
        break;
    case PHASE_OPEN: sweep_open(c, now); break;
    case PHASE_DRAINING:
        if (stalled(c, now)) connection_reset(c, c->close_code, NULL);
        break;
    case PHASE_LINGERING:
        if (now - c->since_ms >= c->network->options.linger_ms) connection_finish(c, c->close_code, NULL);
        break;
    case PHASE_CLOSED: break;
    }
}
