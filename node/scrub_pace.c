#include "node/scrub_pace.h"

#include "base/check.h"

#define SECOND_NS UINT64_C(1000000000)

void scrub_pace_begin(struct scrub_pace *p, uint64_t rate, uint64_t now_ns)
{
    CHECK(rate <= SCRUB_RATE_MOST);
    *p = (struct scrub_pace){.rate = rate, .last_ns = now_ns};
}

void scrub_pace_earn(struct scrub_pace *p, uint64_t now_ns)
{
    CHECK(now_ns >= p->last_ns);
    uint64_t passed = now_ns - p->last_ns;
    int64_t most = (int64_t)(p->rate > SCRUB_BURST ? p->rate : SCRUB_BURST);
    p->last_ns = now_ns;
    p->left += (int64_t)(p->rate * (passed < SECOND_NS ? passed : SECOND_NS) / SECOND_NS);
    if (p->left > most) p->left = most;
}

uint64_t scrub_pace_budget(const struct scrub_pace *p, uint64_t most)
{
    if (p->left <= 0 || p->last_ns < p->rest_until_ns) return 0;
    return (uint64_t)p->left < most ? (uint64_t)p->left : most;
}

void scrub_pace_spend(struct scrub_pace *p, uint64_t bytes)
{
    CHECK(bytes <= INT64_MAX / 2);
    p->left -= (int64_t)bytes;
}

void scrub_pace_rest(struct scrub_pace *p, uint64_t took_ns, uint64_t now_ns)
{
    uint64_t rest = took_ns < SCRUB_REST_NS / (SCRUB_SHARE - 1) ? took_ns * (SCRUB_SHARE - 1) : SCRUB_REST_NS;
    p->rest_until_ns = now_ns + rest;
}
