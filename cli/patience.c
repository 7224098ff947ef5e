#include "cli/patience.h"

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

struct patience patience_begin(void) { return (struct patience){PATIENCE_MS}; }

bool patience_over(const struct patience *p) { return p->left_ms < 0; }

void patience_spend(struct patience *p, uint64_t ms, uint64_t entries)
{
    if (patience_over(p)) return;
    p->left_ms -= (int64_t)(ms < DAY_MS ? ms : DAY_MS);
    if (patience_over(p)) return;
    uint64_t earned = entries < DAY_MS ? entries * 1000 / PATIENCE_LEAST : DAY_MS;
    p->left_ms = (uint64_t)p->left_ms + earned < PATIENCE_MS ? p->left_ms + (int64_t)earned : PATIENCE_MS;
}
