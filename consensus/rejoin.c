#include "consensus/rejoin.h"

#include <string.h>

#include "base/check.h"
#include "base/pack.h"

#define PATIENCE 30 /* an entry that is trimmed, or that a voter can't have, is not waited for for ever */
#define REST 5      /* so often at most somebody's word makes a leader append an empty entry */

/* ---- encoding ---- */

void rejoin_encode(struct buffer *out, const struct rejoin_message *m)
{
    pack_array(out, 4);
    pack_uint(out, m->step);
    pack_uint(out, m->nonce);
    pack_uint(out, m->term);
    pack_uint(out, m->index);
}

enum err rejoin_decode(struct rejoin_message *out, struct bytes body)
{
    struct unpack u = unpack_start(body);
    *out = (struct rejoin_message){0};
    unpack_array_of(&u, 4);
    out->step = (enum rejoin_step)unpack_uint_max(&u, REJOIN_HELD);
    out->nonce = unpack_uint(&u);
    out->term = unpack_uint_max(&u, RAFT_TERM_MAX);
    out->index = unpack_uint_max(&u, RAFT_INDEX_MAX);
    bool makes_sense = out->step >= REJOIN_ASK && out->nonce && out->term;
    if (!makes_sense || (out->step == REJOIN_ASK) != (out->index == 0)) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

/* ---- what is known ---- */

/* Who only learns asks, too: it may become a voter. */
static bool is_member(const struct raft *raft, const struct raft_status *s, raft_id id)
{
    return raft_config_find(raft_config_of(raft, s->last.index), id) != NULL;
}

/* On the disk, and of the term in which it is now: what it voted for above that came later. */
static bool holds(const struct raft *raft, const struct raft_status *s, raft_term term, raft_index index)
{
    return s->term == term && s->persisted >= index && raft_term_of(raft, index) == term;
}

static void say(struct rejoin *j, raft_id to, enum rejoin_step step, uint64_t nonce, raft_index index, raft_term term)
{
    struct rejoin_message m = {.step = step, .nonce = nonce, .term = term, .index = index};
    j->send(j->data, to, &m);
}

/* ---- who forgot ---- */

void rejoin_begin(struct rejoin *j, uint64_t nonce)
{
    CHECK(nonce);
    j->nonce = nonce;
    j->term = 0;
}

void rejoin_end(struct rejoin *j) { j->nonce = 0; }

static void start_in(struct rejoin *j, raft_term term)
{
    j->term = term;
    j->point = 0;
    memset(j->held, 0, sizeof j->held);
    j->patience = PATIENCE;
}

static void ask_voters(struct rejoin *j, const struct raft *raft, const struct raft_status *s)
{
    const struct raft_config *c = raft_config_of(raft, s->last.index);
    for (unsigned i = 0; i < c->count; i++) {
        raft_id id = c->members[i].id;
        if (id != j->self && c->members[i].voter && !j->held[id]) say(j, id, REJOIN_HOLD, j->nonce, j->point, j->term);
    }
}

static void ask(struct rejoin *j, const struct raft *raft, const struct raft_status *s)
{
    if (s->role != RAFT_FOLLOWER || !s->leader) return;
    if (j->term != s->term || !j->patience) start_in(j, s->term);
    j->patience--;
    if (j->point)
        ask_voters(j, raft, s);
    else
        say(j, s->leader, REJOIN_ASK, j->nonce, 0, j->term);
}

static void pointed(struct rejoin *j, const struct raft *raft, const struct raft_status *s, raft_id from,
                    const struct rejoin_message *m)
{
    if (m->nonce != j->nonce || m->term != j->term || s->term != j->term || from != s->leader || j->point) return;
    j->point = m->index;
    ask_voters(j, raft, s);
}

static void held(struct rejoin *j, raft_id from, const struct rejoin_message *m)
{
    if (m->nonce == j->nonce && m->term == j->term && m->index == j->point) j->held[from] = true;
}

bool rejoin_may(const struct rejoin *j, const struct raft *raft)
{
    struct raft_status s;
    raft_status_get(raft, &s);
    if (!j->nonce || !j->point || s.role != RAFT_FOLLOWER || !s.leader || s.commit < j->point) return false;
    if (!holds(raft, &s, j->term, j->point)) return false;
    const struct raft_config *c = raft_config_of(raft, s.last.index);
    unsigned voters = 0, said = 0;
    for (unsigned i = 0; i < c->count; i++) {
        voters += c->members[i].voter;
        said += c->members[i].voter && c->members[i].id != j->self && j->held[c->members[i].id];
    }
    return said >= voters / 2 + 1;
}

/* ---- who is asked ---- */

static void asked_for_entry(struct rejoin *j, const struct raft_status *s, raft_id from, const struct rejoin_message *m)
{
    if (s->role != RAFT_LEADER || s->term != m->term || s->transfer) return;
    if (j->wanted_in != s->term || j->wanted <= s->last.index) {
        j->wanted = s->last.index + 1;
        j->wanted_in = s->term;
    }
    say(j, from, REJOIN_POINT, m->nonce, j->wanted, s->term);
}

static void append_wanted(struct rejoin *j, struct raft *raft, const struct raft_status *s)
{
    if (j->rest) j->rest--;
    if (s->role != RAFT_LEADER || j->wanted_in != s->term || j->wanted <= s->last.index || j->rest) return;
    if (raft_propose_empty(raft) == OK) j->rest = REST;
}

void rejoin_tick(struct rejoin *j, struct raft *raft, bool room)
{
    struct raft_status s;
    raft_status_get(raft, &s);
    if (j->nonce) ask(j, raft, &s);
    if (room) append_wanted(j, raft, &s);
}

enum err rejoin_came(struct rejoin *j, struct raft *raft, raft_id from, const struct rejoin_message *m)
{
    struct raft_status s;
    raft_status_get(raft, &s);
    if (from == j->self || !is_member(raft, &s, from)) return ERR_INVALID;
    if (m->step == REJOIN_ASK)
        asked_for_entry(j, &s, from, m);
    else if (m->step == REJOIN_POINT)
        pointed(j, raft, &s, from, m);
    else if (m->step == REJOIN_HELD)
        held(j, from, m);
    else if (s.may_vote && !j->nonce && holds(raft, &s, m->term, m->index))
        say(j, from, REJOIN_HELD, m->nonce, m->index, m->term);
    return OK;
}
