/* This node's shares, for its own clients and for other nodes. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "crypto/seal.h"
#include "crypto/secret.h"
#include "crypto/tdh2.h"
#include "ledger/arguments.h"
#include "node/release_internal.h"

#define COMPUTES_MAX 128  /* own shares being computed for one that asks: a member, or this node's clients */
#define ITEMS_MAX (4 * LIMIT_OPENED) /* of all these */

static void compute_end(struct compute *c, enum err code)
{
    if (c->admitted) {
        c->node->release->asked[c->asker].computes--;
        c->node->release->asked[c->asker].items -= c->ask.count;
    }
    c->done(c, code);
    buffer_free(&c->sealed);
    opening_free(c->opening);
    free(c->verified);
    free(c);
}

/* An item that this node gives no share of (erased, not here yet, or its capsule's proof fails)
 * keeps its place with epoch 0, so that one bad record does not close a chart. */
static void share_of(struct share_item *item, struct compute *c, uint32_t i)
{
    const struct content_info *info = &c->opening->infos[i];
    struct tdh2_capsule capsule;
    *item = (struct share_item){.epoch = 0};
    if (!c->opening->present[i]) return;
    item->label = tdh2_label(bytes_of(info->context, info->context_size), &info->ciphertext_hash);
    if (tdh2_capsule_decode(&capsule, bytes_of(info->capsule, info->capsule_size)) != OK) return;
    if (!c->verified[i] && tdh2_capsule_verify(&capsule, &c->epoch.key, &item->label) != OK) return;
    c->verified[i] = true;
    struct tdh2_share share = {.leaf_index = c->ask.leaf_index, .label = item->label, .epoch = c->epoch.epoch,
                               .node = c->node->self};
    tdh2_share_point(&share.d, c->share, &capsule.u);
    item->epoch = share.epoch;
    memcpy(item->share, share.d.bytes, sizeof item->share);
    if (c->ask.with_proofs) {
        tdh2_share_prove(&share, c->share, &c->epoch.verification[c->node->self - 1], &capsule.u);
        item->has_proof = true;
        memcpy(item->proof, share.proof.e.bytes, 32);
        memcpy(item->proof + 32, share.proof.f.bytes, 32);
    }
    secret_wipe(&share, sizeof share);
}

/* Said by each of the k, it is no longer the serving node's word. */
static struct read_extent extent_of(const struct release *r)
{
    return (struct read_extent){(uint32_t)r->count, r->rest.next, r->rest.left_out};
}

static void compute_work(struct worker_task *task)
{
    struct compute *c = (struct compute *)task;
    const struct opening *o = c->opening;
    struct share_item *items = calloc(o->count + 1, sizeof *items);
    if (!items) {
        c->code = ERR_NOMEM;
        return;
    }
    for (uint32_t i = 0; i < o->count; i++)
        share_of(&items[i], c, i);
    struct share_box box = {.leaf_index = c->ask.leaf_index, .first = o->first, .member = c->node->self,
                            .extent = extent_of(&o->release), .count = o->count, .items = items};
    struct buffer plain = {.limit = LIMIT_ANSWER, .secret = true}, signing = {0};
    struct seal_public to;
    share_box_encode(&plain, &box);
    memcpy(to.bytes, o->release.reader_key, sizeof to.bytes);
    c->sealed.limit = LIMIT_ANSWER;
    c->code = plain.failed ? ERR_TOO_LARGE : seal_box(&c->sealed, &to, buffer_bytes(&plain));
    struct share_ask answered = {c->ask.leaf_index, o->first, o->count, c->ask.with_proofs};
    share_box_signing(&signing, &answered, buffer_bytes(&c->sealed));
    sign_message(&c->signature, &c->node->identity.secrets->message, buffer_bytes(&signing));
    buffer_free(&plain);
    buffer_free(&signing);
    secret_wipe(items, o->count * sizeof *items); /* k nodes' open the records, now and for ever */
    free(items);
}

static uint64_t content_of(const struct opening *o, uint32_t i) { return o->release.items[o->first + i].content; }

static void compute_worked(struct worker_task *task, bool canceled)
{
    struct compute *c = (struct compute *)task;
    for (uint32_t i = 0; i < c->opening->count; i++)
        if (c->verified[i]) {
            uint64_t index = content_of(c->opening, i);
            c->node->release->verified[index % VERIFIED_MAX] = index + 1;
        }
    compute_end(c, canceled ? ERR_STOPPED : c->code);
}

static void compute_begin(struct compute *c)
{
    c->verified = calloc(c->opening->count + 1, sizeof *c->verified);
    if (!c->verified) {
        compute_end(c, ERR_NOMEM);
        return;
    }
    for (uint32_t i = 0; i < c->opening->count; i++) {
        uint64_t index = content_of(c->opening, i);
        c->verified[i] = c->node->release->verified[index % VERIFIED_MAX] == index + 1;
    }
    c->task = (struct worker_task){.run = compute_work, .done = compute_worked};
    enum err e = driver_work(c->node->driver, &c->task);
    if (e != OK) compute_end(c, e);
}

static enum err compute_load(struct state_read *read, struct table_txn *txn)
{
    struct compute *c = read->data;
    enum err e = opening_load(c->opening, txn, c->ask.leaf_index);
    return e == OK ? opening_load_items(c->opening, txn, 0) : e;
}

static void compute_loaded(struct state_read *read, enum err code)
{
    struct compute *c = read->data;
    if (code == OK)
        compute_begin(c);
    else
        compute_end(c, code);
}

static void compute_witnessed(struct witness_wait *wait, enum err code)
{
    struct compute *c = wait->data;
    /* What a reader may is asked of the state of now (ledger/release.h): a moment before this, by the asker. */
    if (code == OK && c->opening) {
        compute_begin(c);
        return;
    }
    if (code == OK && !(c->opening = opening_new(c->ask.first, c->ask.count))) code = ERR_NOMEM;
    if (code == OK) {
        c->read = (struct state_read){.fresh = release_is_fresh(c->node, c->ask.leaf_index), .data = c,
                                      .run = compute_load, .done = compute_loaded};
        code = driver_read(c->node->driver, &c->read);
    }
    if (code != OK) compute_end(c, code);
}

/* A member that asks for what is not there yet, or without end, takes its own places only. */
static bool admit(struct compute *c)
{
    struct release_desk *desk = c->node->release;
    if (desk->asked[c->asker].computes >= COMPUTES_MAX || desk->asked[c->asker].items + c->ask.count > ITEMS_MAX)
        return false;
    c->admitted = true;
    desk->asked[c->asker].computes++;
    desk->asked[c->asker].items += c->ask.count;
    return true;
}

void compute_start(struct node *node, const struct share_ask *ask, unsigned asker, struct opening *opening, void *data,
                   void (*done)(struct compute *c, enum err code))
{
    struct compute *c = xcalloc(1, sizeof *c);
    *c = (struct compute){.node = node, .ask = *ask, .asker = asker, .opening = opening, .data = data, .done = done,
                          .epoch = node->epoch};
    c->share = node->epoch.epoch ? keygen_agent_share(node->keygen, KEY_RECORDS, node->epoch.epoch) : NULL;
    if (driver_quarantined_why(node->driver)[0]) { /* what its state says of this read may be wrong */
        compute_end(c, ERR_QUARANTINED);
        return;
    }
    if (!c->share || !admit(c)) {
        compute_end(c, c->share ? ERR_BUSY : ERR_NOT_READY);
        return;
    }
    c->witnessing = (struct witness_wait){.leaf_index = ask->leaf_index, .data = c, .done = compute_witnessed,
                                          .deadline_ns = clock_monotonic_ns() + (uint64_t)COLLECT_MS * 1000000};
    witness_wait(node->witness, &c->witnessing);
}

/* --- for another node: SHARE_ASK --- */

struct asked {
    unsigned from;
    uint64_t id;
};

static void give(struct compute *c, enum err code)
{
    struct asked *a = c->data;
    struct buffer body = {.limit = LIMIT_FRAME};
    pack_array(&body, 3);
    pack_uint(&body, code);
    pack_bytes(&body, code == OK ? buffer_bytes(&c->sealed) : (struct bytes){0});
    pack_bin(&body, c->signature.bytes, sizeof c->signature.bytes);
    if (!c->node->stopping) /* lost: it asks another */
        peers_send(c->node->peers, a->from, PEER_SHARE_GIVEN, a->id, buffer_bytes(&body));
    if (code == OK) c->node->counters.releases++;
    buffer_free(&body);
    free(a);
}

void share_ask_encode(struct buffer *out, const struct share_ask *ask)
{
    pack_array(out, 4);
    pack_uint(out, ask->leaf_index);
    pack_uint(out, ask->first);
    pack_uint(out, ask->count);
    pack_bool(out, ask->with_proofs);
}

enum err share_ask_decode(struct share_ask *ask, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    ask->leaf_index = unpack_uint(&u);
    ask->first = (uint32_t)unpack_uint_max(&u, LIMIT_OPENED);
    ask->count = (uint32_t)unpack_uint_max(&u, LIMIT_OPENED);
    ask->with_proofs = unpack_bool(&u);
    return unpack_done(&u);
}

void share_asked(struct node *node, unsigned from, uint64_t id, struct bytes body)
{
    struct share_ask ask;
    enum err e = share_ask_decode(&ask, body);
    if (e != OK) {
        release_warn(node->release, from, "asked for shares with a message that is not well-formed", e);
        return;
    }
    struct asked *a = xmalloc(sizeof *a);
    *a = (struct asked){from, id};
    compute_start(node, &ask, from, NULL, a, give);
}
