/* The desk, and what a read opens. */
#include "node/release_internal.h"

#include <stdlib.h>

#include "base/check.h"
#include "consensus/peer_messages.h"

void release_warn(struct release_desk *desk, unsigned from, const char *what, enum err code)
{
    if (log_seldom(&desk->warned_ns[from])) log_warning("release", "node %u %s: %s", from, what, err_text(code));
}

bool release_is_fresh(struct node *node, uint64_t leaf_index)
{
    struct driver_status d;
    driver_status(node->driver, &d);
    return leaf_index >= d.synced_size;
}

struct opening *opening_new(uint32_t first, uint32_t count)
{
    struct opening *o = calloc(1, sizeof *o);
    if (!o) return NULL;
    o->first = first;
    o->count = count;
    o->infos = calloc(count + 1, sizeof *o->infos);
    o->present = calloc(count + 1, sizeof *o->present);
    if (o->infos && o->present) return o;
    opening_free(o);
    return NULL;
}

void opening_free(struct opening *o)
{
    if (!o) return;
    free(o->infos);
    free(o->present);
    free(o);
}

enum err opening_load(struct opening *o, struct table_txn *txn, uint64_t leaf_index)
{
    enum err e = release_load(&o->release, txn, leaf_index);
    if (e != OK || o->count == 0) return e;
    if (o->first >= o->release.count) return ERR_NOT_FOUND;
    if (o->count > o->release.count - o->first) o->count = (uint32_t)(o->release.count - o->first);
    return OK;
}

enum err opening_load_items(struct opening *o, struct table_txn *txn, uint32_t from)
{
    for (uint32_t i = from; i < o->count; i++) {
        enum err e = release_info(&o->infos[i], txn, &o->release, o->first + i);
        if (e != OK && e != ERR_NOT_FOUND) return e;
        o->present[i] = e == OK;
    }
    return OK;
}

void release_message(struct node *node, unsigned from, uint32_t type, uint64_t id, struct bytes body)
{
    if (type == PEER_SHARE_ASK)
        share_asked(node, from, id, body);
    else
        share_given(node, from, id, body);
}

enum err release_desk_new(struct release_desk **out, struct node *node)
{
    *out = xcalloc(1, sizeof **out);
    (*out)->node = node;
    return OK;
}

void release_desk_free(struct release_desk *desk) { free(desk); }
