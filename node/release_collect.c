/* SHARES of k nodes, for a client: asking another one where one is slow or fails. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/peer_messages.h"
#include "crypto/random.h"
#include "crypto/seal.h"
#include "node/release_internal.h"

#define COLLECTS_MAX 1024 /* clients' questions under way */
#define ASK_AGAIN_MS 250  /* a node that has not answered by then is helped out by another */

/* From the question on. */
struct collect {
    struct session *session;
    uint64_t id, serial, deadline_ns;
    struct message_opening question;
    bool with_content;
    struct id actor;
    struct state_read read;
    struct opening *opening; /* until this node's own share takes it */
    struct buffer contents;
    struct share_ask ask;
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
    opening_free(c->opening);
    buffer_free(&c->contents);
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

static bool ask_itself(struct collect *c)
{
    struct node *node = c->session->node;
    struct opening *opening = c->opening;
    c->waiting |= UINT32_C(1) << node->self;
    c->computing = true;
    c->opening = NULL;
    compute_start(node, &c->ask, node->self, opening, c, own_share);
    return true;
}

static bool ask_member(struct collect *c, unsigned member)
{
    struct node *node = c->session->node;
    struct buffer body = {.limit = LIMIT_FRAME};
    c->asked |= UINT32_C(1) << member;
    if (member == node->self) return ask_itself(c);
    share_ask_encode(&body, &c->ask);
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

/* Before anybody is asked: the approved read of this session's actor, and what it opens. */
static enum err collect_load(struct state_read *read, struct table_txn *txn)
{
    struct collect *c = read->data;
    struct opening *o = c->opening;
    enum err e = opening_load(o, txn, c->question.leaf_index);
    if (e == OK && !id_equal(&o->release.reader, &c->actor)) e = ERR_UNAUTHORIZED;
    if (e != OK) return e;
    return c->with_content ? contents_load(&c->contents, o, txn) : opening_load_items(o, txn, 0);
}

static void collect_loaded(struct state_read *read, enum err code)
{
    struct collect *c = read->data;
    if (code == OK && c->with_content && c->contents.failed) code = ERR_NOMEM;
    if (code != OK) {
        session_fail(c->session, c->id, code, NULL, code == ERR_BUSY ? 100 : 0);
        collect_free(c);
        return;
    }
    if (c->with_content) session_send(c->session, MESSAGE_CONTENTS, c->id, &c->contents);
    buffer_free(&c->contents);
    c->ask = (struct share_ask){c->question.leaf_index, c->question.first, c->opening->count, c->question.with_proofs};
    CHECK(uv_timer_start(&c->timer, collect_timer, ASK_AGAIN_MS, ASK_AGAIN_MS) == 0);
    collect_step(c);
    opening_free(c->opening); /* what this node is not asked for */
    c->opening = NULL;
}

static struct collect *collect_new(struct session *s, uint64_t id, const struct message_opening *m)
{
    struct release_desk *desk = s->node->release;
    struct collect *c = calloc(1, sizeof *c);
    struct opening *opening = c && desk->collects < COLLECTS_MAX ? opening_new(m->first, m->count) : NULL;
    if (!opening || !session_begin(s, id)) {
        if (!opening) session_fail(s, id, ERR_BUSY, NULL, 100);
        opening_free(opening);
        free(c);
        return NULL;
    }
    c->session = s;
    c->id = id;
    c->question = *m;
    c->opening = opening;
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

static void collect_begin(struct session *s, uint64_t id, struct bytes body, bool with_content)
{
    struct message_opening m;
    struct actor actor;
    enum err e = message_opening_decode(&m, body);
    if (e == OK && !session_actor(&actor, s, &m.leaf_index, 1)) e = ERR_UNAUTHORIZED;
    if (e != OK) {
        session_fail(s, id, e, NULL, 0);
        return;
    }
    struct collect *c = collect_new(s, id, &m);
    if (!c) return;
    c->actor = actor.id;
    c->with_content = with_content;
    c->read = (struct state_read){.fresh = release_is_fresh(s->node, m.leaf_index), .data = c, .run = collect_load,
                                  .done = collect_loaded};
    e = driver_read(s->node->driver, &c->read);
    if (e != OK) collect_loaded(&c->read, e);
}

void release_content(struct session *s, uint64_t id, struct bytes body) { collect_begin(s, id, body, true); }

void release_shares(struct session *s, uint64_t id, struct bytes body) { collect_begin(s, id, body, false); }

/* Of so many items' shares, sealed (struct share_box). */
static size_t sealed_most(uint32_t count) { return SEAL_BOX_OVERHEAD + 96 + 160 * (size_t)count; }

void share_given(struct node *node, unsigned from, uint64_t id, struct bytes body)
{
    struct signature signature;
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 3);
    enum err code = (enum err)unpack_uint_max(&u, UINT16_MAX);
    struct bytes sealed = unpack_bin(&u, LIMIT_ANSWER);
    unpack_bin_exact(&u, signature.bytes, sizeof signature.bytes);
    enum err e = unpack_done(&u);
    if (e != OK) {
        release_warn(node->release, from, "gave shares in a message that is not well-formed", e);
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
