/* On which side of a fork this node stands, and how it comes back.
 *
 * A leader that signs two blocks for one place can give honest followers different
 * logs. Raft does not notice: it compares terms and indexes. The roots do: the witness
 * sees that a peer told another root, and this node then compares with it, block by block
 * above what it cosigned, what stands where (HEADS). The first place where both
 * differ shows who signed twice, and goes to driver_blame.c as evidence.
 *
 * Where this node stands on another branch than a later leader that nobody has proved
 * to lie, one of the two has to yield, or no root gets k equal words again. It is this one
 * (it asks its owner to be rebuilt: the log is cut behind what it cosigned, the state derived
 * anew) if that undoes nothing that anybody cosigned:
 *   - it has cosigned nothing at or beyond the first difference;
 *   - every member that is not named by evidence has said, holding that evidence, that it
 *     has not cosigned there either (or is the leader, whose branch stands). From then on
 *     nobody counts the named one's words, so no k words for our branch come together any more.
 * A branch that somebody has cosigned needs no such vote: the k words for it are shown
 * around (the witness' TOLD), and who stands on the other one yields to them.
 */
#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "net/peers.h"

#define HEADS_MOST 256u    /* in one message */
#define COMPARE_TICKS 10   /* between two comparisons with one peer */
#define ASK_TICKS 40       /* between two rounds of asking who cosigned what */

/* ---- comparing ---- */

static void ask(struct driver *d, unsigned peer, raft_index first)
{
    buffer_clear(&d->out);
    pack_array(&d->out, 2);
    pack_uint(&d->out, first);
    pack_uint(&d->out, HEADS_MOST);
    if (!d->out.failed) peers_send(d->o.peers, peer, PEER_HEADS_ASK, 0, buffer_bytes(&d->out));
}

void driver_compare(struct driver *d, unsigned peer, raft_index last)
{
    struct compare *c = &d->compares[peer];
    if (!driver_alive(d) || (c->tick && d->ticks - c->tick < COMPARE_TICKS)) return;
    raft_index first = d->mark.raft_index + 1;
    if (last >= DRIVER_HEADS && first <= last - DRIVER_HEADS) first = last - DRIVER_HEADS + 1;
    *c = (struct compare){.tick = d->ticks, .next = first, .last = last};
    if (first <= last) ask(d, peer, first);
}

static void pack_head(struct buffer *out, const struct head *head)
{
    pack_array(out, 5);
    pack_uint(out, head->index);
    pack_uint(out, head->term);
    pack_uint(out, head->signer);
    pack_digest(out, &head->hash);
    pack_bin(out, head->signature.bytes, sizeof head->signature.bytes);
}

static void unpack_head(struct head *head, struct unpack *u)
{
    unpack_array_of(u, 5);
    head->index = unpack_uint_max(u, RAFT_INDEX_MAX);
    head->term = unpack_uint_max(u, RAFT_TERM_MAX);
    head->signer = (unsigned)unpack_uint_max(u, LIMIT_NODES);
    head->hash = unpack_digest(u);
    unpack_bin_exact(u, head->signature.bytes, sizeof head->signature.bytes);
}

void driver_heads_asked(struct driver *d, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    raft_index first = unpack_uint_max(&u, RAFT_INDEX_MAX);
    uint64_t count = unpack_uint_max(&u, HEADS_MOST);
    const struct head *heads[HEADS_MOST];
    uint32_t found = 0;
    if (unpack_done(&u) != OK || !d->raft) return;
    for (raft_index i = first; i < first + count; i++) {
        const struct head *head = driver_head(d, i);
        if (head) heads[found++] = head;
    }
    buffer_clear(&d->out);
    pack_array(&d->out, found);
    for (uint32_t i = 0; i < found; i++)
        pack_head(&d->out, heads[i]);
    if (!d->out.failed) peers_send(d->o.peers, from, PEER_HEADS, 0, buffer_bytes(&d->out));
}

/* False: here the two logs part. */
static bool compare_one(struct driver *d, unsigned from, const struct head *theirs)
{
    const struct head *ours = driver_head(d, theirs->index);
    if (!ours || (ours->term == theirs->term && digest_equal(&ours->hash, &theirs->hash))) return true;
    /* Which of the two is said to stand there is the peer's word; who signed both is proved, or not. */
    if (ours->term == theirs->term && !driver_two_heads(d, ours, theirs)) return true;
    driver_differs(d, from, theirs->index);
    return false;
}

void driver_heads_came(struct driver *d, unsigned from, struct bytes body)
{
    struct compare *c = &d->compares[from];
    struct unpack u = unpack_start(body);
    uint32_t count = unpack_array(&u, HEADS_MOST);
    if (!d->raft || c->next == 0 || u.error != OK) return;
    raft_index next = c->next + HEADS_MOST;
    c->next = 0; /* one answer to one question */
    for (uint32_t i = 0; i < count; i++) {
        struct head head;
        unpack_head(&head, &u);
        if (u.error != OK || !compare_one(d, from, &head)) return;
    }
    if (unpack_done(&u) != OK || next > c->last) return;
    c->next = next;
    ask(d, from, next);
}

/* ---- yielding ---- */

void driver_differs(struct driver *d, unsigned from, raft_index index)
{
    if (from != d->leader || driver_is_named(d, from) || d->deceived) return;
    bool same = d->fork.leader == from && d->fork.term == d->term;
    if (same && d->fork.index <= index) return;
    d->fork = (struct fork){.index = index, .leader = from, .term = d->term, .asked = d->fork.asked};
    driver_fork_judge(d);
}

/* Every other member, the named ones apart, holds the evidence and has cosigned nothing from the fork on. */
static bool others_allow(const struct driver *d)
{
    uint32_t named = 0;
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        if (driver_is_named(d, i)) named |= UINT32_C(1) << i;
    /* Without the leader the others must not be enough for our branch, or it may yet be the one that stands. */
    unsigned others = d->o.genesis->member_count - (unsigned)__builtin_popcount(named) - 1;
    if (named == 0 || others >= d->o.genesis->quorum) return false;
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++) {
        if (i == d->o.self || named >> i & 1) continue;
        if ((d->holders[i].of & named) != named) return false;
        if (i != d->fork.leader && d->holders[i].cosigned >= d->fork.index) return false;
    }
    return true;
}

void driver_deceived(struct driver *d, const char *why)
{
    if (d->deceived) return;
    d->deceived = true;
    driver_quarantine(d, why);
    if (d->rebuilt.times < DRIVER_REBUILDS || d->mark.size > d->rebuilt.cosigned) {
        if (d->o.on_deceived) d->o.on_deceived(d->o.data, why);
        return;
    }
    log_error("driver", "this node was rebuilt %u times without getting further: look for the cause, then run "
              "'consiliumd rebuild --dir DIR --cut' and start it again", DRIVER_REBUILDS);
}

void driver_fork_judge(struct driver *d)
{
    if (d->fork.index == 0 || d->deceived || !driver_alive(d)) return;
    if (d->fork.leader != d->leader || d->fork.term != d->term || driver_is_named(d, d->fork.leader)) {
        d->fork = (struct fork){0}; /* another leader: compared anew */
        return;
    }
    if (d->fork.index <= d->mark.raft_index || d->fork.index <= d->marking) return; /* its branch can't stand */
    if (others_allow(d)) driver_deceived(d, "a leader that is proved to lie gave it blocks that others did not get");
}

void driver_fork_tick(struct driver *d)
{
    if (d->fork.index == 0 || d->deceived || d->ticks - d->fork.asked < ASK_TICKS) return;
    d->fork.asked = d->ticks;
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        d->holders[i] = (struct holder){0}; /* what they say now counts */
    driver_blame_ask(d);
    driver_fork_judge(d);
}

/* ---- after a rebuild ---- */

void driver_rebuilt_encode(struct buffer *out, const struct driver_rebuilt *r)
{
    pack_array(out, 4);
    pack_uint(out, r->term);
    pack_uint(out, r->index);
    pack_uint(out, r->cosigned);
    pack_uint(out, r->times);
}

enum err driver_rebuilt_decode(struct driver_rebuilt *out, struct bytes row)
{
    struct unpack u = unpack_start(row);
    unpack_array_of(&u, 4);
    out->term = unpack_uint_max(&u, RAFT_TERM_MAX);
    out->index = unpack_uint_max(&u, RAFT_INDEX_MAX);
    out->cosigned = unpack_uint(&u);
    out->times = (unsigned)unpack_uint_max(&u, 1000000);
    return unpack_done(&u);
}

const struct driver_rebuilt *driver_rebuilt(const struct driver *d) { return &d->rebuilt; }
