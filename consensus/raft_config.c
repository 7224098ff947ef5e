#include <string.h>

#include "base/pack.h"
#include "consensus/raft_internal.h"

const struct raft_member *raft_config_find(const struct raft_config *config, raft_id id)
{
    for (unsigned i = 0; i < config->count; i++)
        if (config->members[i].id == id) return &config->members[i];
    return NULL;
}

bool raft_config_set(struct raft_config *config, raft_id id, bool voter)
{
    if (!id) return false;
    unsigned at = 0;
    while (at < config->count && config->members[at].id < id) at++;
    if (at == config->count || config->members[at].id != id) {
        if (config->count == LIMIT_NODES) return false;
        memmove(&config->members[at + 1], &config->members[at],
                (config->count - at) * sizeof config->members[0]);
        config->count++;
    }
    config->members[at] = (struct raft_member){.id = id, .voter = voter};
    return true;
}

bool raft_config_remove(struct raft_config *config, raft_id id)
{
    const struct raft_member *found = raft_config_find(config, id);
    if (!found) return false;
    unsigned at = (unsigned)(found - config->members);
    config->count--;
    memmove(&config->members[at], &config->members[at + 1],
            (config->count - at) * sizeof config->members[0]);
    config->members[config->count] = (struct raft_member){0};
    return true;
}

unsigned raft_config_voters(const struct raft_config *config)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < config->count; i++) voters += config->members[i].voter;
    return voters;
}

bool raft_config_votes(const struct raft_config *config, raft_id id)
{
    const struct raft_member *m = raft_config_find(config, id);
    return m && m->voter;
}

bool raft_two_decide(const struct raft *r, raft_id one, raft_id other)
{
    const struct raft_config *latest = &config_history_latest(&r->configs)->config;
    return one != other && raft_config_voters(latest) <= 3 && raft_config_votes(latest, one) &&
           raft_config_votes(latest, other);
}

bool raft_config_valid(const struct raft_config *config)
{
    if (config->count > LIMIT_NODES) return false;
    for (unsigned i = 0; i < config->count; i++)
        if (config->members[i].id <= (i ? config->members[i - 1].id : 0)) return false;
    return raft_config_voters(config) > 0;
}

/* Counts differences and keeps the last one: roles -1 absent, 0 learner, 1 voter. */
static unsigned differences(const struct raft_config *from, const struct raft_config *to, raft_id *id, int *before,
                            int *after)
{
    unsigned count = 0;
    const struct raft_config *both[2] = {from, to};
    for (unsigned side = 0; side < 2; side++)
        for (unsigned i = 0; i < both[side]->count; i++) {
            const struct raft_member *m = &both[side]->members[i];
            const struct raft_member *other = raft_config_find(both[!side], m->id);
            if (other && (side == 1 || other->voter == m->voter)) continue;
            count++;
            *id = m->id;
            *before = side == 0 ? m->voter : -1;
            *after = side == 1 ? m->voter : other ? other->voter : -1;
        }
    return count;
}

bool raft_config_is_step(const struct raft_config *from, const struct raft_config *to, raft_id *promoted)
{
    raft_id id = 0;
    int before = 0, after = 0;
    *promoted = 0;
    if (!raft_config_valid(to) || differences(from, to, &id, &before, &after) != 1) return false;
    if (before == -1 && after == 1) return false; /* a newcomer learns first */
    if (before == 0 && after == 1) *promoted = id;
    return true;
}

void raft_config_encode(struct buffer *out, const struct raft_config *config, struct bytes context)
{
    pack_array(out, 2);
    pack_array(out, config->count);
    for (unsigned i = 0; i < config->count; i++) {
        pack_array(out, 2);
        pack_uint(out, config->members[i].id);
        pack_bool(out, config->members[i].voter);
    }
    pack_bytes(out, context);
}

enum err raft_config_decode(struct raft_config *config, struct bytes *context, struct bytes in)
{
    *config = (struct raft_config){0};
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 2);
    uint32_t count = unpack_array(&u, LIMIT_NODES);
    for (uint32_t i = 0; i < count; i++) {
        unpack_array_of(&u, 2);
        config->members[i].id = (raft_id)unpack_uint_max(&u, UINT16_MAX);
        config->members[i].voter = unpack_bool(&u);
    }
    config->count = (uint16_t)count;
    struct bytes rest = unpack_bin(&u, LIMIT_RAFT_CONTEXT);
    enum err e = unpack_done(&u);
    if (!e && !raft_config_valid(config)) e = ERR_MALFORMED;
    if (e) *config = (struct raft_config){0};
    if (context) *context = rest;
    if (context && e != OK) *context = (struct bytes){0};
    return e;
}

/* ---- history ---- */

void config_history_init(struct config_history *h, raft_index index, const struct raft_config *base)
{
    h->capacity = 4;
    h->count = 1;
    h->at = xcalloc(h->capacity, sizeof *h->at);
    h->at[0] = (struct raft_config_at){.index = index, .config = *base};
}

void config_history_free(struct config_history *h)
{
    free(h->at);
    *h = (struct config_history){0};
}

void config_history_add(struct config_history *h, raft_index index, const struct raft_config *config)
{
    CHECK(index > config_history_latest(h)->index);
    if (h->count == h->capacity) {
        h->capacity *= 2;
        h->at = xrealloc(h->at, h->capacity * sizeof *h->at);
    }
    h->at[h->count++] = (struct raft_config_at){.index = index, .config = *config};
}

bool config_history_truncate(struct config_history *h, raft_index from)
{
    size_t before = h->count;
    while (h->count > 1 && h->at[h->count - 1].index >= from) h->count--;
    /* What is compacted is committed and cannot be truncated, so a base always stays. */
    CHECK(config_history_latest(h)->index < from);
    return h->count != before;
}

void config_history_compact(struct config_history *h, raft_index index)
{
    size_t gone = 0;
    while (gone + 1 < h->count && h->at[gone + 1].index <= index) gone++;
    h->count -= gone;
    memmove(h->at, h->at + gone, h->count * sizeof *h->at);
}

const struct raft_config_at *config_history_of(const struct config_history *h, raft_index index)
{
    size_t i = h->count - 1;
    while (i > 0 && h->at[i].index > index) i--;
    return &h->at[i];
}
