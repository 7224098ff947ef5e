#include "consensus/intake.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "consensus/raft.h"
#include "ledger/block.h"
#include "ledger/request.h"

/* A forwarded request: its bytes are its own, or stand in a block. */
struct forwarded {
    struct intake_item item;
    uint8_t *bytes;          /* NULL: in the block */
    struct raft_blob *block;
};

/* ---- lists and table ---- */

static void list_add(struct intake_list *list, struct intake_item *item)
{
    item->next = NULL;
    item->previous = list->last;
    if (list->last)
        list->last->next = item;
    else
        list->first = item;
    list->last = item;
    list->count++;
    list->bytes += item->request.size;
}

static void list_remove(struct intake_list *list, struct intake_item *item)
{
    if (item->next)
        item->next->previous = item->previous;
    else
        list->last = item->previous;
    if (item->previous)
        item->previous->next = item->next;
    else
        list->first = item->next;
    list->count--;
    list->bytes -= item->request.size;
}

static struct intake_list *list_of(struct intake *in, const struct intake_item *item)
{
    switch ((enum intake_place)item->place) {
    case INTAKE_ASIDE: return &in->aside;
    case INTAKE_WAITING: return &in->waiting;
    case INTAKE_PROPOSED: return &in->proposed;
    }
    CHECK(!"place");
    return NULL;
}

static void forget_sent(struct intake *in, struct intake_item *item)
{
    if (item->sent_ns != 0 && item->place == INTAKE_ASIDE) in->sent_bytes -= item->request.size;
    item->first_ns = item->sent_ns = 0;
}

static void move_to(struct intake *in, struct intake_item *item, enum intake_place place)
{
    forget_sent(in, item);
    list_remove(list_of(in, item), item);
    item->place = (uint8_t)place;
    list_add(list_of(in, item), item);
}

/* A request ends with its signature, 64 bytes that are as good as random. */
static uint64_t key_of(struct bytes request)
{
    return request.size < 64 ? 0 : get_be64(request.data + request.size - 64);
}

static struct intake_item **bucket_of(const struct intake *in, uint64_t key)
{
    return (struct intake_item **)&in->buckets[(key ^ key >> 32) & (INTAKE_BUCKETS - 1)];
}

static struct intake_item *match_from(struct intake_item *item, uint64_t key, struct bytes request)
{
    while (item && (item->key != key || !bytes_equal(item->request, request)))
        item = item->chain;
    return item;
}

struct intake_item *intake_find(const struct intake *in, struct bytes request)
{
    uint64_t key = key_of(request);
    return match_from(*bucket_of(in, key), key, request);
}

struct intake_item *intake_find_next(const struct intake_item *item)
{
    return match_from(item->chain, item->key, item->request);
}

static void insert(struct intake *in, struct intake_item *item, enum intake_place place)
{
    item->key = key_of(item->request);
    struct intake_item **bucket = bucket_of(in, item->key);
    item->chain = *bucket;
    *bucket = item;
    item->place = (uint8_t)place;
    list_add(list_of(in, item), item);
}

/* The same request is on its way into a block of ours. */
static bool under_way(const struct intake *in, struct bytes request)
{
    for (const struct intake_item *i = intake_find(in, request); i; i = intake_find_next(i))
        if (i->place != INTAKE_ASIDE) return true;
    return false;
}

/* ---- coming ---- */

enum err intake_add_own(struct intake *in, struct submission *s)
{
    size_t size = s->request.size;
    if (size == 0 || size > LIMIT_REQUEST) return ERR_TOO_LARGE;
    if (in->own_count >= LIMIT_REQUESTS || in->own_bytes + size > LIMIT_REQUEST_BYTES) return ERR_BUSY;
    s->driver = (struct intake_item){.submission = s, .request = buffer_bytes(&s->request), .awaited = s->awaited};
    insert(in, &s->driver, INTAKE_ASIDE);
    in->own_count++;
    in->own_bytes += size;
    return OK;
}

static bool peer_may_add(const struct intake *in, const struct intake_sender *from, size_t size)
{
    unsigned peer = from->index;
    if (!quota_heard(&in->peers[peer].quota, from->now_ns)) return false;
    /* No peer alone can fill what all share. */
    return in->peers[peer].count < LIMIT_REQUESTS / 2 && in->peers[peer].bytes + size <= LIMIT_FORWARDED_BYTES / 2 &&
           in->forwarded_count < LIMIT_REQUESTS && in->forwarded_bytes + size <= LIMIT_FORWARDED_BYTES;
}

/* What is in a node's own name comes from that node, and from its budget, as does what leaves nothing. */
static enum err check_sender(struct intake *in, const struct intake_sender *from, struct bytes request)
{
    struct request decoded;
    enum err e = request_decode(&decoded, request);
    if (e != OK) return e;
    const struct actor *actor = &decoded.items[0].operation.actor;
    bool own = actor->kind == ACTOR_NODE, other = own && !id_equal(&actor->id, &from->id);
    bool budgeted = own || !request_is_known(&decoded); /* by a newer node: it leaves nothing here */
    uint32_t count = decoded.count;
    request_free(&decoded);
    if (other) return ERR_UNAUTHORIZED;
    if (own && request.size > LIMIT_OWN_REQUEST) return ERR_TOO_LARGE;
    return budgeted && !quota_take(&in->peers[from->index].quota, count, request.size, from->now_ns) ? ERR_BUSY : OK;
}

enum err intake_add_forwarded(struct intake *in, const struct intake_sender *from, struct bytes request, bool awaited)
{
    unsigned peer = from->index;
    CHECK(peer >= 1 && peer <= LIMIT_NODES);
    if (request.size > LIMIT_REQUEST) return ERR_TOO_LARGE;
    if (under_way(in, request)) return ERR_EXISTS;
    if (!peer_may_add(in, from, request.size)) return ERR_BUSY;
    enum err e = check_sender(in, from, request);
    if (e != OK) return e;
    struct forwarded *f = calloc(1, sizeof *f);
    if (f) f->bytes = malloc(request.size);
    if (!f || !f->bytes) {
        free(f);
        return ERR_NOMEM;
    }
    memcpy(f->bytes, request.data, request.size);
    f->item = (struct intake_item){.from = (uint8_t)peer, .request = {f->bytes, request.size}, .awaited = awaited};
    insert(in, &f->item, INTAKE_WAITING);
    in->peers[peer].count++;
    in->peers[peer].bytes += request.size;
    in->forwarded_count++;
    in->forwarded_bytes += request.size;
    return OK;
}

bool intake_may_send(const struct intake *in, const struct intake_item *item, size_t most)
{
    return item->sent_ns != 0 || in->sent_bytes == 0 || in->sent_bytes + item->request.size <= most;
}

void intake_sent(struct intake *in, struct intake_item *item, uint64_t now_ns)
{
    CHECK(item->place == INTAKE_ASIDE && now_ns != 0);
    if (item->sent_ns == 0) {
        in->sent_bytes += item->request.size;
        item->first_ns = now_ns;
        item->copies = 0;
    }
    item->sent_ns = now_ns;
    if (item->copies < UINT8_MAX) item->copies++;
}

void intake_unsent(struct intake *in)
{
    for (struct intake_item *i = in->aside.first; i; i = i->next)
        forget_sent(in, i);
}

bool intake_wait(struct intake *in, struct intake_item *item)
{
    CHECK(item->place == INTAKE_ASIDE);
    if (under_way(in, item->request)) return false;
    move_to(in, item, INTAKE_WAITING);
    return true;
}

/* ---- going ---- */

uint32_t intake_propose(struct intake *in, struct bytes requests[static LIMIT_BLOCK_REQUESTS])
{
    uint32_t count = 0;
    size_t size = BLOCK_OVERHEAD;
    for (struct intake_item *i; (i = in->waiting.first) && count < LIMIT_BLOCK_REQUESTS; count++) {
        size += i->request.size + BLOCK_REQUEST_OVERHEAD;
        if (count > 0 && size > INTAKE_BLOCK_BYTES) break;
        requests[count] = i->request;
        move_to(in, i, INTAKE_PROPOSED);
    }
    return count;
}

void intake_in_block(struct intake *in, struct raft_blob *block, const struct request *requests, uint32_t count)
{
    struct intake_item *item = in->proposed.last;
    for (; count-- > 0; item = item->previous) {
        CHECK(item && item->request.size == requests[count].raw.size);
        if (item->submission) continue; /* its owner's */
        struct forwarded *f = container(item, struct forwarded, item);
        in->peers[item->from].bytes -= item->request.size;
        in->forwarded_bytes -= item->request.size;
        free(f->bytes);
        f->bytes = NULL;
        f->block = raft_blob_retain(block);
        item->request = requests[count].raw;
    }
}

static void list_add_front(struct intake_list *list, struct intake_item *item)
{
    item->previous = NULL;
    item->next = list->first;
    if (list->first)
        list->first->previous = item;
    else
        list->last = item;
    list->first = item;
    list->count++;
    list->bytes += item->request.size;
}

void intake_withdraw(struct intake *in, const struct bytes *requests, uint32_t count)
{
    while (count-- > 0) {
        struct intake_item *item = intake_find(in, requests[count]);
        while (item && item->place != INTAKE_PROPOSED)
            item = intake_find_next(item);
        CHECK(item);
        list_remove(&in->proposed, item);
        item->place = INTAKE_WAITING;
        list_add_front(&in->waiting, item);
    }
}

bool intake_fills_block(const struct intake *in)
{
    return in->waiting.count >= LIMIT_BLOCK_REQUESTS || in->waiting.bytes >= INTAKE_BLOCK_BYTES;
}

void intake_remove(struct intake *in, struct intake_item *item)
{
    struct intake_item **at = bucket_of(in, item->key);
    while (*at != item)
        at = &(*at)->chain;
    *at = item->chain;
    forget_sent(in, item);
    list_remove(list_of(in, item), item);
    if (item->submission) {
        in->own_count--;
        in->own_bytes -= item->request.size;
        return;
    }
    struct forwarded *f = container(item, struct forwarded, item);
    in->peers[item->from].count--;
    in->forwarded_count--;
    if (f->bytes) {
        in->peers[item->from].bytes -= item->request.size;
        in->forwarded_bytes -= item->request.size;
    }
    free(f->bytes);
    raft_blob_release(f->block);
    free(f);
}

void intake_silence(struct intake *in, unsigned peer)
{
    for (struct intake_item *i = in->waiting.first, *next; i; i = next) {
        next = i->next;
        if (!i->submission && i->from == peer) intake_remove(in, i);
    }
}

static void abdicate_list(struct intake *in, struct intake_list *list)
{
    for (struct intake_item *i = list->first, *next; i; i = next) {
        next = i->next;
        if (i->submission)
            move_to(in, i, INTAKE_ASIDE);
        else
            intake_remove(in, i);
    }
}

void intake_abdicate(struct intake *in)
{
    abdicate_list(in, &in->waiting);
    abdicate_list(in, &in->proposed);
}
