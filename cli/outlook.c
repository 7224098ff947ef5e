#include "cli/outlook.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

#define DAY_MS 86400000

/* node_state() of node/daemon.c; what isn't here (catching up, no space left, quarantined ...) helps
 * nobody. */
static const struct {
    const char *state;
    bool records, opens, votes;
} known[] = {
    {"ready", true, true, true},
    {"ready, without a vote", true, true, false},
    {"ready, without a key share", true, false, true},
    {"ready, without a vote and a key share", true, false, false},
    {"waiting for its key share", true, false, true},
    {"generating keys", true, false, true},
    {"no leader, without a vote", false, false, false},
};
#define KNOWN (sizeof known / sizeof known[0])

static const char *text_of(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));
    return text ? text : "";
}

struct outlook outlook_of(const json_t *members)
{
    struct outlook o = {0};
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *row = json_array_get(members, i);
        if (!json_is_true(json_object_get(row, "reachable"))) continue;
        size_t s = 0;
        while (s < KNOWN && strcmp(text_of(row, "state"), known[s].state) != 0) s++;
        o.reachable++;
        if (s == KNOWN) continue;
        o.recording += known[s].records;
        o.opening += known[s].opens;
        o.voting += known[s].records && known[s].votes;
        o.voteless += !known[s].votes;
        o.sound += known[s].opens && known[s].votes && strcmp(text_of(row, "integrity"), "COMPROMISED") != 0;
    }
    return o;
}

bool outlook_records(const struct outlook *o, const struct genesis *genesis)
{
    return o->recording >= genesis->quorum && o->voting > genesis->member_count / 2;
}

bool outlook_opens(const struct outlook *o, const struct genesis *genesis)
{
    return outlook_records(o, genesis) && o->opening >= genesis->quorum; /* an opening is recorded first */
}

void outlook_text(struct buffer *out, const struct outlook *o, const struct genesis *genesis)
{
    uint32_t k = genesis->quorum;
    buffer_printf(out, "%s: opening needs %u nodes, %u reachable", genesis->origin, k, o->reachable);
    if (o->opening < o->reachable) buffer_printf(out, ", %u of them ready", o->opening);
    if (o->voteless) buffer_printf(out, ", %u without a vote", o->voteless);
    if (!outlook_opens(o, genesis))
        buffer_printf(out, ": NOTHING can be opened%s now", outlook_records(o, genesis) ? "" : " or recorded as done");
    buffer_append_text(out, ".\n");
    if (o->voteless && !outlook_records(o, genesis))
        buffer_append_text(out, "A node gets its vote back by itself once a majority of all nodes, itself not counted, "
                                "is there;\n'consiliumd help accept-loss' says what to do where that is lost.\n");
    if (!outlook_opens(o, genesis)) return;
    if (o->sound <= k && genesis->member_count > k)
        buffer_append_text(out, "No further node may fail before work stops.\n");
    else if (o->sound > k && o->sound < genesis->member_count)
        buffer_printf(out, "%u more may fail before work stops.\n", o->sound - k);
}

static int compare_times(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int64_t outlook_clock_ahead(const struct message_status_ok *m, uint32_t index)
{
    uint64_t times[LIMIT_NODES], own = m->members[index].time_ms;
    size_t count = 0;
    for (uint32_t i = 0; i < m->member_count; i++)
        if (m->members[i].reachable) times[count++] = m->members[i].time_ms;
    if (!m->members[index].reachable) return 0;
    qsort(times, count, sizeof times[0], compare_times);
    uint64_t middle = times[(count - 1) / 2], off = own > middle ? own - middle : middle - own;
    if (off > DAY_MS) off = DAY_MS;
    return own > middle ? (int64_t)off : -(int64_t)off;
}

void outlook_clocks(struct buffer *out, const json_t *members)
{
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *row = json_array_get(members, i);
        int64_t ahead = json_integer_value(json_object_get(row, "clock_ahead_ms")), off = ahead < 0 ? -ahead : ahead;
        if (off <= LIMIT_BLOCK_AHEAD_MS) continue;
        buffer_printf(out, "The clock of %s is %s%lld s %s most others': set it, it may be %d s off.\n",
                      text_of(row, "name"), off >= DAY_MS ? "more than " : "", (long long)(off / 1000),
                      ahead > 0 ? "ahead of" : "behind", LIMIT_BLOCK_AHEAD_MS / 1000);
    }
}
