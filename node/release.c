#include "node/release.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "crypto/tdh2.h"
#include "ledger/arguments.h"
#include "ledger/release.h"
#include "ledger/tables.h"

#define COMPUTES_MAX 128  /* own shares being computed for one that asks: a member, or this node's clients */
#define ITEMS_MAX (4 * LIMIT_OPENED) /* of all these */
#define COLLECTS_MAX 1024 /* clients waiting for shares */
#define VERIFIED_MAX 4096 /* capsules known to be good */
#define ASK_AGAIN_MS 250  /* a node that has not answered by then is helped out by another */
#define COLLECT_MS 4000 /* a client waits longer for one node, and asks again while it has time */

struct collect;

struct release_desk {
    struct node *node;
    struct {
        unsigned computes, items;
    } asked[LIMIT_NODES + 1]; /* by member; this node's own: its clients */
    unsigned collects;
    uint64_t next_serial;
    struct collect *list;
    uint64_t warned_ns[LIMIT_NODES + 1];
    uint64_t verified[VERIFIED_MAX]; /* content leaf index + 1, by index modulo the size */
};

/* A member's messages can't fill the log. */
static void warn(struct release_desk *desk, unsigned from, const char *what, enum err code)
{
    if (log_seldom(&desk->warned_ns[from])) log_warning("release", "node %u %s: %s", from, what, err_text(code));
}

/* --- this node's shares --- */

struct compute {
    struct worker_task task; /* the first member */
    struct node *node;
    uint64_t leaf_index;
    uint32_t first, count;
    bool with_proofs, admitted;
    unsigned asker; /* member index */
    uint32_t asked; /* items, as they count in the limit */

    struct witness_wait witnessing;
    struct state_read read;
    struct release release;
    struct content_info *infos;
    bool *present, *verified;
    const struct scalar *share;
    struct epoch epoch;
    enum err code;
    struct buffer sealed;
    struct signature signature;
    void *data;
    void (*done)(struct compute *c, enum err code); /* then it is freed */
};

static void compute_end(struct compute *c, enum err code)
{
    if (c->admitted) {
        c->node->release->asked[c->asker].computes--;
        c->node->release->asked[c->asker].items -= c->asked;
    }
    c->done(c, code);
    buffer_free(&c->sealed);
    free(c->infos);
    free(c->present);
    free(c->verified);
    free(c);
}

/* An item that this node gives no share of (erased, or its capsule's proof fails)
 * keeps its place with epoch 0, so that one bad record does not close a chart. */
static void share_of(struct share_item *item, struct compute *c, uint32_t i)
{
    const struct content_info *info = &c->infos[i];
    struct tdh2_capsule capsule;
    *item = (struct share_item){.epoch = 0};
    if (!c->present[i]) return;
    item->label = tdh2_label(bytes_of(info->context, info->context_size), &info->ciphertext_hash);
    if (tdh2_capsule_decode(&capsule, bytes_of(info->capsule, info->capsule_size)) != OK) return;
    if (!c->verified[i] && tdh2_capsule_verify(&capsule, &c->epoch.key, &item->label) != OK) return;
    c->verified[i] = true;
    struct tdh2_share share = {.leaf_index = c->leaf_index, .label = item->label, .epoch = c->epoch.epoch,
                               .node = c->node->self};
    tdh2_share_point(&share.d, c->share, &capsule.u);
    item->epoch = share.epoch;
    memcpy(item->share, share.d.bytes, sizeof item->share);
    if (!c->with_proofs) return;
    tdh2_share_prove(&share, c->share, &c->epoch.verification[c->node->self - 1], &capsule.u);
    item->has_proof = true;
    memcpy(item->proof, share.proof.e.bytes, 32);
    memcpy(item->proof + 32, share.proof.f.bytes, 32);
}

static void compute_work(struct worker_task *task)
{
    struct compute *c = (struct compute *)task;
    struct share_item *items = calloc(c->count, sizeof *items);
    if (!items) {
        c->code = ERR_NOMEM;
        return;
    }
    for (uint32_t i = 0; i < c->count; i++)
        share_of(&items[i], c, i);
    struct share_box box = {.leaf_index = c->leaf_index, .first = c->first, .member = c->node->self,
                            .count = c->count, .items = items};
    struct buffer plain = {.limit = LIMIT_ANSWER, .secret = true}, signing = {0};
    struct seal_public to;
    share_box_encode(&plain, &box);
    memcpy(to.bytes, c->release.reader_key, sizeof to.bytes);
    c->sealed.limit = LIMIT_ANSWER;
    c->code = plain.failed ? ERR_TOO_LARGE : seal_box(&c->sealed, &to, buffer_bytes(&plain));
    share_box_signing(&signing, c->leaf_index, buffer_bytes(&c->sealed));
    sign_message(&c->signature, &c->node->identity.secrets->message, buffer_bytes(&signing));
    buffer_free(&plain);
    buffer_free(&signing);
    secret_wipe(items, c->count * sizeof *items); /* k nodes' open the records, now and for ever */
    free(items);
}

static void compute_worked(struct worker_task *task, bool canceled)
{
    struct compute *c = (struct compute *)task;
    for (uint32_t i = 0; i < c->count; i++)
        if (c->verified[i]) {
            uint64_t index = c->release.items[c->first + i].content;
            c->node->release->verified[index % VERIFIED_MAX] = index + 1;
        }
    compute_end(c, canceled ? ERR_STOPPED : c->code);
}

static enum err compute_load(struct state_read *read, struct table_txn *txn)
{
    struct compute *c = read->data;
    enum err e = release_load(&c->release, txn, c->leaf_index);
    if (e != OK) return e;
    if (c->first >= c->release.count) return ERR_NOT_FOUND;
    if (c->count > c->release.count - c->first) c->count = (uint32_t)(c->release.count - c->first);
    c->infos = calloc(c->count, sizeof *c->infos);
    c->present = calloc(c->count, sizeof *c->present);
    c->verified = calloc(c->count, sizeof *c->verified);
    if (!c->infos || !c->present || !c->verified) return ERR_NOMEM;
    for (uint32_t i = 0; i < c->count; i++) {
        e = release_info(&c->infos[i], txn, &c->release, c->first + i);
        if (e != OK && e != ERR_NOT_FOUND) return e;
        c->present[i] = e == OK;
    }
    return OK;
}

static void compute_loaded(struct state_read *read, enum err code)
{
    struct compute *c = read->data;
    if (code != OK) {
        compute_end(c, code);
        return;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        uint64_t index = c->release.items[c->first + i].content;
        c->verified[i] = c->node->release->verified[index % VERIFIED_MAX] == index + 1;
    }
    c->task = (struct worker_task){.run = compute_work, .done = compute_worked};
    enum err e = driver_work(c->node->driver, &c->task);
    if (e != OK) compute_end(c, e);
}

static bool is_synced(struct node *node, uint64_t leaf_index)
{
    struct driver_status d;
    driver_status(node->driver, &d);
    return leaf_index < d.synced_size;
}

static void compute_witnessed(struct witness_wait *wait, enum err code)
{
    struct compute *c = wait->data;
    if (code != OK) {
        compute_end(c, code);
        return;
    }
    c->read = (struct state_read){.fresh = !is_synced(c->node, c->leaf_index), .data = c, .run = compute_load,
                                  .done = compute_loaded};
    enum err e = driver_read(c->node->driver, &c->read);
    if (e != OK) compute_end(c, e);
}

/* A member that asks for what is not there yet, or without end, takes its own places only. */
static bool admit(struct compute *c)
{
    struct release_desk *desk = c->node->release;
    if (desk->asked[c->asker].computes >= COMPUTES_MAX || desk->asked[c->asker].items + c->count > ITEMS_MAX)
        return false;
    c->admitted = true;
    c->asked = c->count;
    desk->asked[c->asker].computes++;
    desk->asked[c->asker].items += c->asked;
    return true;
}

/* Computes this node's shares of items first .. first + count - 1 and calls `done` once. */
static void compute_start(struct node *node, const struct message_shares *ask, unsigned asker, void *data,
                          void (*done)(struct compute *c, enum err code))
{
    struct compute *c = xcalloc(1, sizeof *c);
    *c = (struct compute){.node = node, .leaf_index = ask->leaf_index, .first = ask->first, .count = ask->count,
                          .with_proofs = ask->with_proofs, .asker = asker, .data = data, .done = done,
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
    c->witnessing = (struct witness_wait){.leaf_index = c->leaf_index, .data = c, .done = compute_witnessed,
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

static enum err decode_ask(struct message_shares *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    *m = (struct message_shares){0};
    unpack_array_of(&u, 4);
    m->leaf_index = unpack_uint(&u);
    m->first = (uint32_t)unpack_uint_max(&u, LIMIT_OPENED);
    m->count = (uint32_t)unpack_uint_max(&u, LIMIT_OPENED);
    m->with_proofs = unpack_bool(&u);
    if (m->count == 0) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

static void share_asked(struct node *node, unsigned from, uint64_t id, struct bytes body)
{
    struct message_shares m;
    enum err e = decode_ask(&m, body);
    if (e != OK) {
        warn(node->release, from, "asked for shares with a message that is not well-formed", e);
        return;
    }
    struct asked *a = xmalloc(sizeof *a);
    *a = (struct asked){from, id};
    compute_start(node, &m, from, a, give);
}

/* --- for a client: SHARES --- */

struct collect {
    struct session *session;
    uint64_t id, serial, deadline_ns;
    struct message_shares ask;
    struct id actor;
    struct state_read read; /* of whether this session may */
    uint32_t excluded, asked, waiting, given; /* masks of members, bit i */
    unsigned have;
    struct buffer sealed[LIMIT_NODES + 1];
    struct signature signatures[LIMIT_NODES + 1];
    uint32_t members[LIMIT_NODES + 1]; /* in the order in which they came */
    enum err last_error;
    unsigned rotation;
    uv_timer_t timer;
    bool computing; /* the own share */
    bool answered, stepping;
    struct collect *next;
};

static void collect_step(struct collect *c);

static void collect_closed(uv_handle_t *handle)
{
    struct collect *c = handle->data;
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        buffer_free(&c->sealed[i]);
    session_end(c->session);
    free(c);
}

static void collect_free(struct collect *c)
{
    struct release_desk *desk = c->session->node->release;
    struct collect **at = &desk->list;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    desk->collects--;
    uv_close((uv_handle_t *)&c->timer, collect_closed);
}

static void collect_answer(struct collect *c)
{
    c->answered = true;
    uv_timer_stop(&c->timer);
    if (c->have == 0) {
        enum err e = c->last_error == OK ? ERR_NO_QUORUM : c->last_error;
        session_fail(c->session, c->id, e, NULL, e == ERR_NOT_READY || e == ERR_BUSY ? 500 : 0);
    } else {
        struct message_shared *m = xcalloc(1, sizeof *m);
        for (unsigned i = 0; i < c->have; i++) {
            uint32_t member = c->members[i];
            m->shares[i].member = member;
            m->shares[i].sealed = buffer_bytes(&c->sealed[member]);
            memcpy(m->shares[i].signature, c->signatures[member].bytes, sizeof m->shares[i].signature);
        }
        m->count = c->have;
        struct buffer body = {.limit = LIMIT_FRAME};
        message_shared_encode(&body, m);
        session_send(c->session, MESSAGE_SHARED, c->id, &body);
        buffer_free(&body);
        free(m);
    }
    if (!c->computing) collect_free(c);
}

static void collect_take(struct collect *c, unsigned member, enum err code, struct bytes sealed,
                         const struct signature *signature)
{
    uint32_t bit = UINT32_C(1) << member;
    c->waiting &= ~bit;
    if (code == OK && !(c->given & bit)) {
        buffer_append_bytes(&c->sealed[member], sealed);
        c->signatures[member] = *signature;
        c->members[c->have++] = member;
        c->given |= bit;
    } else if (code != OK) {
        c->last_error = code;
    }
    collect_step(c);
}

static void own_share(struct compute *computed, enum err code)
{
    struct collect *c = computed->data;
    c->computing = false;
    if (c->answered) {
        collect_free(c);
        return;
    }
    if (code == OK) computed->node->counters.releases++;
    collect_take(c, computed->node->self, code, buffer_bytes(&computed->sealed), &computed->signature);
}

static bool ask_member(struct collect *c, unsigned member)
{
    struct node *node = c->session->node;
    c->asked |= UINT32_C(1) << member;
    if (member == node->self) {
        c->waiting |= UINT32_C(1) << member;
        c->computing = true;
        compute_start(node, &c->ask, node->self, c, own_share);
        return true;
    }
    struct buffer body = {.limit = LIMIT_FRAME};
    pack_array(&body, 4);
    pack_uint(&body, c->ask.leaf_index);
    pack_uint(&body, c->ask.first);
    pack_uint(&body, c->ask.count);
    pack_bool(&body, c->ask.with_proofs);
    enum err e = peers_send(node->peers, member, PEER_SHARE_ASK, c->serial, buffer_bytes(&body));
    buffer_free(&body);
    if (e == OK) c->waiting |= UINT32_C(1) << member;
    return e == OK;
}

/* Asks one more node; false when there is none left, or this one stops: its links may be gone already.
 * Itself first, then the others in turn. */
static bool ask_one(struct collect *c)
{
    struct node *node = c->session->node;
    unsigned n = node->genesis.member_count;
    if (node->stopping) return false;
    for (unsigned i = 0; i <= n; i++) {
        unsigned member = i == 0 ? node->self : 1 + (c->rotation + i - 1) % n;
        if ((c->excluded | c->asked) & UINT32_C(1) << member) continue;
        if (ask_member(c, member)) return true;
    }
    return false;
}

static unsigned count_bits(uint32_t mask) { return (unsigned)__builtin_popcount(mask); }

/* A share that is there (or refused) at once comes back here while asking: the
 * outer call goes on with it. */
static void collect_step(struct collect *c)
{
    unsigned k = c->session->node->genesis.quorum;
    if (c->answered || c->stepping) return;
    c->stepping = true;
    while (c->have < k && c->have + count_bits(c->waiting) < k)
        if (!ask_one(c)) break;
    c->stepping = false;
    if (c->have >= k || c->waiting == 0) collect_answer(c);
}

static void collect_timer(uv_timer_t *timer)
{
    struct collect *c = timer->data;
    if (clock_monotonic_ns() > c->deadline_ns || c->session->node->stopping)
        collect_answer(c);
    else
        ask_one(c);
}

static struct collect *collect_new(struct session *s, uint64_t id, const struct message_shares *m,
                                   const struct actor *actor)
{
    struct release_desk *desk = s->node->release;
    struct collect *c = calloc(1, sizeof *c);
    if (!c || desk->collects >= COLLECTS_MAX) {
        session_fail(s, id, ERR_BUSY, NULL, 100);
        free(c);
        return NULL;
    }
    if (!session_begin(s, id)) {
        free(c);
        return NULL;
    }
    c->session = s;
    c->id = id;
    c->ask = *m;
    c->actor = actor->id;
    c->serial = ++desk->next_serial;
    c->deadline_ns = clock_monotonic_ns() + (uint64_t)COLLECT_MS * 1000000;
    c->rotation = random_below(s->node->genesis.member_count);
    for (uint32_t i = 0; i < m->excluded_count; i++)
        if (m->excluded[i] >= 1 && m->excluded[i] <= LIMIT_NODES) c->excluded |= UINT32_C(1) << m->excluded[i];
    c->next = desk->list;
    desk->list = c;
    desk->collects++;
    CHECK(uv_timer_init(&s->node->loop, &c->timer) == 0);
    c->timer.data = c;
    return c;
}

/* Before anybody is asked: the approved read of this session's actor, and what it opens. */
static enum err may_collect(struct state_read *read, struct table_txn *txn)
{
    struct collect *c = read->data;
    struct release *release = calloc(1, sizeof *release);
    enum err e = release ? release_load(release, txn, c->ask.leaf_index) : ERR_NOMEM;
    if (e == OK && !id_equal(&release->reader, &c->actor)) e = ERR_UNAUTHORIZED;
    if (e == OK && c->ask.first >= release->count) e = ERR_NOT_FOUND;
    free(release);
    return e;
}

static void collect_begin(struct state_read *read, enum err code)
{
    struct collect *c = read->data;
    if (code != OK) {
        c->last_error = code;
        collect_answer(c);
        return;
    }
    CHECK(uv_timer_start(&c->timer, collect_timer, ASK_AGAIN_MS, ASK_AGAIN_MS) == 0);
    collect_step(c);
}

void release_shares(struct session *s, uint64_t id, struct bytes body)
{
    struct message_shares m;
    struct actor actor;
    enum err e = message_shares_decode(&m, body);
    if (e == OK && !session_actor(&actor, s, &m.leaf_index, 1)) e = ERR_UNAUTHORIZED;
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        return;
    }
    struct collect *c = collect_new(s, id, &m, &actor);
    if (!c) return;
    c->read = (struct state_read){.fresh = !is_synced(s->node, m.leaf_index), .data = c, .run = may_collect,
                                  .done = collect_begin};
    e = driver_read(s->node->driver, &c->read);
    if (e != OK) collect_begin(&c->read, e);
}

/* Of so many items' shares, sealed (struct share_box). */
static size_t sealed_most(uint32_t count) { return SEAL_BOX_OVERHEAD + 64 + 160 * (size_t)count; }

static void share_given(struct node *node, unsigned from, uint64_t id, struct bytes body)
{
    struct signature signature;
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 3);
    enum err code = (enum err)unpack_uint_max(&u, UINT16_MAX);
    struct bytes sealed = unpack_bin(&u, LIMIT_ANSWER);
    unpack_bin_exact(&u, signature.bytes, sizeof signature.bytes);
    enum err e = unpack_done(&u);
    if (e != OK) {
        warn(node->release, from, "gave shares in a message that is not well-formed", e);
        code = e;
    }
    for (struct collect *c = node->release->list; c; c = c->next)
        if (c->serial == id && !c->answered && c->asked & UINT32_C(1) << from) {
            /* More than shares can be would crowd the others' out of the answer. */
            if (code == OK && sealed.size > sealed_most(c->ask.count)) code = ERR_TOO_LARGE;
            collect_take(c, from, code, sealed, &signature);
            return;
        }
}

void release_message(struct node *node, unsigned from, uint32_t type, uint64_t id, struct bytes body)
{
    if (type == PEER_SHARE_ASK)
        share_asked(node, from, id, body);
    else
        share_given(node, from, id, body);
}

/* --- CONTENT --- */

struct content_job {
    struct session *session;
    uint64_t id;
    struct id actor;
    struct message_content ask;
    struct state_read read;
    struct release release;
    struct buffer answer;
};

/* As many items as fit into LIMIT_ANSWER, at least one. An erased item is there, empty. */
struct content_page {
    struct message_item *items;
    struct content_info *infos;
    struct buffer *ciphertexts;
    uint32_t count;
    size_t bytes;
};

/* Content that is erased is absent for good; content that is on its way to a node which
 * catches up is not: another node serves meanwhile. */
static enum err absent(struct table_txn *txn, uint64_t content)
{
    uint8_t key[8];
    put_be64(key, content);
    enum err e = table_exists(txn, TABLE_MISSING, BYTES(key));
    return e == OK ? ERR_NOT_READY : e == ERR_NOT_FOUND ? OK : e;
}

static enum err page_add(struct content_page *page, struct content_job *j, struct table_txn *txn)
{
    uint32_t i = page->count;
    struct content_info *info = &page->infos[i];
    size_t position = j->ask.first + i;
    enum err e = release_info(info, txn, &j->release, position);
    if (e == OK) e = release_ciphertext(&page->ciphertexts[i], txn, &j->release, position, info);
    if (e == OK) {
        page->items[i] = (struct message_item){bytes_of(info->context, info->context_size),
                                               bytes_of(info->capsule, info->capsule_size),
                                               buffer_bytes(&page->ciphertexts[i])};
        page->bytes += info->context_size + info->capsule_size + page->ciphertexts[i].size + 16;
    } else if (e == ERR_NOT_FOUND) {
        page->items[i] = (struct message_item){{0}};
        e = absent(txn, j->release.items[position].content);
    }
    return e;
}

static enum err fill_page(struct content_job *j, struct content_page *page, uint32_t most, struct table_txn *txn)
{
    page->items = calloc(most, sizeof *page->items);
    page->infos = calloc(most, sizeof *page->infos);
    page->ciphertexts = calloc(most, sizeof *page->ciphertexts);
    if (!page->items || !page->infos || !page->ciphertexts) return ERR_NOMEM;
    enum err e = OK;
    while (e == OK && page->count < most) {
        e = page_add(page, j, txn);
        if (e != OK || (page->count > 0 && page->bytes > LIMIT_ANSWER)) break;
        page->count++;
    }
    return e;
}

static enum err content_run(struct state_read *read, struct table_txn *txn)
{
    struct content_job *j = read->data;
    enum err e = release_load(&j->release, txn, j->ask.leaf_index);
    if (e != OK) return e;
    if (!id_equal(&j->release.reader, &j->actor)) return ERR_UNAUTHORIZED;
    if (j->ask.first >= j->release.count) return ERR_NOT_FOUND;
    uint32_t left = (uint32_t)(j->release.count - j->ask.first), most = j->ask.count < left ? j->ask.count : left;
    struct content_page page = {0};
    e = fill_page(j, &page, most, txn);
    if (e == OK) {
        struct message_contents m = {.first = j->ask.first, .count = page.count, .items = page.items};
        j->answer.limit = LIMIT_FRAME;
        message_contents_encode(&j->answer, &m);
    }
    for (uint32_t i = 0; page.ciphertexts && i < most; i++)
        buffer_free(&page.ciphertexts[i]);
    free(page.items);
    free(page.infos);
    free(page.ciphertexts);
    return e;
}

static void content_done(struct state_read *read, enum err code)
{
    struct content_job *j = read->data;
    if (code == OK)
        session_send(j->session, MESSAGE_CONTENTS, j->id, &j->answer);
    else
        session_fail(j->session, j->id, code, NULL, code == ERR_BUSY ? 100 : 0);
    buffer_free(&j->answer);
    session_end(j->session);
    free(j);
}

void release_content(struct session *s, uint64_t id, struct bytes body)
{
    struct message_content m;
    struct actor actor;
    enum err e = message_content_decode(&m, body);
    if (e == OK && !session_actor(&actor, s, &m.leaf_index, 1)) e = ERR_UNAUTHORIZED;
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        return;
    }
    struct content_job *j = calloc(1, sizeof *j);
    if (!j || !session_begin(s, id)) {
        free(j);
        return;
    }
    j->session = s;
    j->id = id;
    j->actor = actor.id;
    j->ask = m;
    j->read = (struct state_read){.fresh = !is_synced(s->node, m.leaf_index), .data = j, .run = content_run,
                                  .done = content_done};
    e = driver_read(s->node->driver, &j->read);
    if (e != OK) content_done(&j->read, e);
}

enum err release_desk_new(struct release_desk **out, struct node *node)
{
    *out = xcalloc(1, sizeof **out);
    (*out)->node = node;
    return OK;
}

void release_desk_free(struct release_desk *desk) { free(desk); }
