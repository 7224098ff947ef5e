#include "tests/lib/chaos_bed.h"

#define PAUSE_MS 150 /* else clients, each of them a program that is started, take most of the processors */

struct chaos chaos;

int chaos_begin(unsigned faulty, bool frail)
{
    chaos_open(&chaos, CHAOS_NODES, faulty, frail);
    chaos.pause_ms = PAUSE_MS;
    chaos_load(&chaos);
    chaos_goes_on(&chaos, CHAOS_ALL, "at first");
    return 0;
}

int chaos_end(void **state)
{
    (void)state;
    chaos_close(&chaos);
    return 0;
}

void nothing_is_lost(void **state)
{
    (void)state;
    chaos_check(&chaos);
}
