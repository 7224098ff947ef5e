#include "consensus/quota.h"

#define MS UINT64_C(1000000)

bool quota_heard(const struct quota *q, uint64_t now_ns) { return now_ns >= q->silent_until_ns; }

static uint64_t less(uint64_t used, uint64_t refilled) { return used > refilled ? used - refilled : 0; }

/* In whole steps of what one operation takes, so that nothing is lost by asking often. */
static void refill(struct quota *q, uint64_t now_ns)
{
    uint64_t step = 1000 * MS / LIMIT_OWN_PER_S, steps = q->filled_ns ? (now_ns - q->filled_ns) / step : 0;
    if (q->filled_ns == 0) q->filled_ns = now_ns;
    if (steps > LIMIT_OWN_BURST) steps = LIMIT_OWN_BURST, q->filled_ns = now_ns - steps * step;
    q->filled_ns += steps * step;
    q->own = less(q->own, steps);
    q->bytes = less(q->bytes, steps * (LIMIT_OWN_BYTES_PER_S / LIMIT_OWN_PER_S));
}

bool quota_take(struct quota *q, uint32_t count, size_t bytes, uint64_t now_ns)
{
    refill(q, now_ns);
    if (q->own + count > LIMIT_OWN_BURST || q->bytes + bytes > LIMIT_OWN_BYTES) return false;
    q->own += count;
    q->bytes += bytes;
    return true;
}

uint64_t quota_strike(struct quota *q, uint64_t now_ns)
{
    if (!quota_heard(q, now_ns)) return 0; /* it was under way before */
    if (q->strikes && now_ns - q->struck_ns > LIMIT_FORGIVEN_MS * MS) q->strikes = 0;
    unsigned doubled = q->strikes < LIMIT_SILENCE_DOUBLED ? q->strikes : LIMIT_SILENCE_DOUBLED;
    uint64_t ms = (uint64_t)LIMIT_SILENCE_MS << doubled;
    q->strikes++;
    q->struck_ns = now_ns;
    q->silent_until_ns = now_ns + ms * MS;
    return ms;
}
