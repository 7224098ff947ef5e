/* On which side of a fork this node stands, and how it comes back.
 *
 * A leader that lies can give honest followers different logs: two blocks for one place, or a
 * commit index that no majority stands behind. Raft does not notice: it compares terms and indexes. The
 * roots do: the witness sees that a peer told another root, and this node then compares with it, entry by
 * entry above what it cosigned, what stands where (HEADS). Where one leader signed both, that is
 * evidence (driver_blame.c).
 *
 * Where this node stands on another branch than the present leader, one of the two has to yield, or no
 * root gets k equal words again. It is this one, if that undoes nothing that anybody cosigned. It withdraws
 * its word (WITHDRAW): who answers does not count what this node told up to now for anything that it
 * cosigns from then on, and says how far it has cosigned. This node yields when
 *   - it has cosigned nothing at or beyond the first difference itself;
 *   - k - 1 others, the leader among them or not, have answered that neither have they (the leader may
 *     have: its branch stands). All that are not named by evidence are waited for, but not for ever, since
 *     a liar may be silent; b of them may answer that they have: an honest one shows the k words
 *     that it cosigned for, and then the leader yields;
 *   - what is left without this node and the leader isn't enough to cosign our branch after all;
 *   - b + 1 members stand on another branch at that index, so that an honest one does.
 * The last one, since what stands in a leader's log is its word: an entry of an earlier term, or one that nobody
 * signs, may be anything. If that were enough, a liar that leads could have honest nodes of one mind drop what they
 * applied and nobody cosigned so far, each time that it leads; after DRIVER_REBUILDS times one stays out until
 * a person comes. No release on a fork would follow (the word was taken back before), but a stop would. So where only
 * the leader (and others that may be liars) says so, it is distrusted for a while (driver_distrust.c):
 * if it lied, the next leader has what all have, and that gets cosigned. Only if nothing was cosigned since, and a
 * leader says so again, is it believed: two honest nodes may have been deceived alike, and the third one lead. But
 * never for the last time that this node may be rebuilt by itself. Whom evidence names is one liar less to fear.
 * Then its owner has it rebuilt: the log is cut behind what it cosigned, the state derived anew. What it
 * had applied beyond, and nobody cosigned, was never promised to be kept while a leader lies.
 * A branch that somebody has cosigned needs no vote: the k words for it are shown around (the witness'
 * TOLD), and who stands on the other one yields to them (driver_contradicted.c).
 */
#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "net/peers.h"

#define HEADS_MOST 256u    /* in one message */
#define COMPARE_TICKS 10   /* between two comparisons with one peer */
#define ASK_TICKS 20       /* between two rounds of asking who cosigned what */
#define YIELD_TICKS 200    /* so long silent ones are waited for: 10 s */
#define AGAINST_TICKS 1200 /* ... and those who say that they cosigned our branch, but don't show why */
#define SAY_TICKS 200      /* between two lines in the log about it */

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
    c->tick = d->ticks;
    c->next = first;
    c->last = last;
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
    struct compare *c = &d->compares[from];
    if (ours->index <= c->last && driver_was_given(d, ours)) c->given = ours->index; /* beyond, ours may be replaced */
    /* What stands there is the peer's word; who signed both is proved, or not. */
    if (ours->term == theirs->term) driver_two_heads(d, ours, theirs);
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
    if (unpack_done(&u) != OK) return;
    if (next > c->last) {
        c->same = c->last;
        return;
    }
    c->next = next;
    ask(d, from, next);
}

/* ---- yielding ---- */

static void withdraw(struct driver *d, struct raft_position up_to, raft_index at)
{
    buffer_clear(&d->out);
    pack_array(&d->out, 3);
    pack_uint(&d->out, up_to.term);
    pack_uint(&d->out, up_to.index);
    pack_uint(&d->out, at);
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        if (i != d->o.self && !d->out.failed) peers_send(d->o.peers, i, PEER_WITHDRAW, 0, buffer_bytes(&d->out));
}

/* Our word counts again. */
static void end_fork(struct driver *d)
{
    if (d->fork.last.index) withdraw(d, (struct raft_position){0, 0}, 0);
    d->fork = (struct fork){0};
}

static void send_withdrawn(struct driver *d, unsigned peer, struct raft_position up_to, raft_index at)
{
    static const struct digest unknown = {{0}};
    const struct head *head = driver_head(d, at);
    buffer_clear(&d->out);
    pack_array(&d->out, 6);
    pack_uint(&d->out, up_to.term);
    pack_uint(&d->out, up_to.index);
    pack_uint(&d->out, at);
    pack_uint(&d->out, d->mark.raft_index > d->marking ? d->mark.raft_index : d->marking);
    pack_uint(&d->out, head ? head->term : 0);
    pack_digest(&d->out, head ? &head->hash : &unknown);
    if (!d->out.failed) peers_send(d->o.peers, peer, PEER_WITHDRAWN, 0, buffer_bytes(&d->out));
}

void driver_withdraw_came(struct driver *d, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 3);
    struct raft_position up_to = {.term = unpack_uint_max(&u, RAFT_TERM_MAX)};
    up_to.index = unpack_uint_max(&u, RAFT_INDEX_MAX);
    raft_index at = unpack_uint_max(&u, RAFT_INDEX_MAX);
    if (unpack_done(&u) != OK || !driver_alive(d)) return;
    if (d->o.on_withdraw) d->o.on_withdraw(d->o.data, from, up_to.term, up_to.index);
    send_withdrawn(d, from, up_to, at);
}

/* The leader made our block itself, in its present term: no other can stand there in its log. If it signed
 * a second one, that is evidence; its word alone must not have nodes rebuilt that it did not even deceive. */
static bool is_its_own(const struct driver *d, unsigned leader, raft_index index)
{
    const struct head *ours = driver_head(d, index);
    return ours && (ours->signer == leader || ours->signer == 0) && ours->term == d->term; /* 0: its first, empty one */
}

static void forget_answers(struct driver *d)
{
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        d->holders[i] = (struct holder){0};
}

/* A leader may find another index in each answer; the log needs the line now and then only. */
static void say_fork(struct driver *d, unsigned leader, raft_index index)
{
    if (d->fork_said && d->ticks - d->fork_said < SAY_TICKS) return;
    d->fork_said = d->ticks;
    log_warning("driver", "this node stands on another branch than its leader, node %u, from index %llu on", leader,
                (unsigned long long)index);
}

void driver_differs(struct driver *d, unsigned from, raft_index index)
{
    bool distrusted = d->distrust[from].until > d->ticks; /* as is known: another leader comes */
    if (from != d->leader || driver_is_named(d, from) || distrusted || d->deceived) return;
    if (is_its_own(d, from, index)) return;
    bool same = d->fork.index && d->fork.leader == from && d->fork.term == d->term;
    if (same && d->fork.index <= index) return;
    struct fork before = d->fork;
    d->fork = (struct fork){.index = index, .leader = from, .term = d->term};
    if (before.index) d->fork.last = before.last;
    forget_answers(d); /* they were about another index */
    say_fork(d, from, index);
}

enum stance { STANCE_WAIT, STANCE_YIELD, STANCE_KEEP, STANCE_DOUBT };

/* And has cosigned nothing since. */
static bool was_rebuilt(const struct driver *d) { return d->rebuilt.times && d->mark.size <= d->rebuilt.cosigned; }

static bool may_rebuild(const struct driver *d, unsigned spare)
{
    return d->rebuilt.times + spare < DRIVER_REBUILDS || !was_rebuilt(d);
}

/* The leader's word, and how many others stand where it does; some of them may do so and not have answered yet. */
static enum stance judge_word(const struct driver *d, unsigned named, unsigned apart, unsigned unknown)
{
    unsigned faulty = d->o.genesis->faulty, liars = named < faulty ? faulty - named : 0;
    if (apart > liars) return STANCE_YIELD;
    if (apart + unknown > liars && d->ticks - d->fork.since < YIELD_TICKS) return STANCE_WAIT;
    bool again = d->doubted == d->mark.raft_index + 1;
    return again && may_rebuild(d, 1) ? STANCE_YIELD : STANCE_DOUBT;
}

static enum stance judge(const struct driver *d)
{
    unsigned n = d->o.genesis->member_count, answered = 0, silent = 0, against = 0, named = 0, apart = 0, unknown = 0;
    if (d->fork.index <= d->mark.raft_index || d->fork.index <= d->marking) return STANCE_KEEP; /* ours stands */
    for (unsigned i = 1; i <= n; i++) {
        const struct holder *h = &d->holders[i];
        if (i == d->o.self) continue;
        if (driver_is_named(d, i)) {
            named++;
            continue;
        }
        bool no = h->answered && i != d->fork.leader && h->cosigned >= d->fork.index;
        against += no;
        answered += h->answered && !no;
        silent += !h->answered;
        apart += h->apart || i == d->fork.leader;
        unknown += !h->apart && !h->same && i != d->fork.leader;
    }
    if (against > d->o.genesis->faulty) return STANCE_KEEP;
    if (n - 2 - named >= d->o.genesis->quorum || answered + 1 < d->o.genesis->quorum) return STANCE_WAIT;
    uint64_t patience = against ? AGAINST_TICKS : silent ? YIELD_TICKS : 0;
    return d->ticks - d->fork.since >= patience ? judge_word(d, named, apart, unknown) : STANCE_WAIT;
}

void driver_withdrawn_came(struct driver *d, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 6);
    struct raft_position up_to = {.term = unpack_uint_max(&u, RAFT_TERM_MAX)};
    up_to.index = unpack_uint_max(&u, RAFT_INDEX_MAX);
    raft_index at = unpack_uint_max(&u, RAFT_INDEX_MAX), cosigned = unpack_uint_max(&u, RAFT_INDEX_MAX);
    raft_term term = unpack_uint_max(&u, RAFT_TERM_MAX);
    struct digest hash = unpack_digest(&u);
    if (unpack_done(&u) != OK || d->fork.last.index == 0 || at != d->fork.index) return;
    if (up_to.term != d->fork.last.term || up_to.index != d->fork.last.index) return; /* of an earlier question */
    const struct head *ours = driver_head(d, at);
    bool known = ours && term, same = known && ours->term == term && digest_equal(&ours->hash, &hash);
    d->holders[from] = (struct holder){.answered = true, .same = same, .apart = known && !same, .cosigned = cosigned};
}

/* Its word alone. It leads no more, as far as this node has a say. */
static void doubt(struct driver *d)
{
    d->doubted = d->mark.raft_index + 1;
    driver_distrust(d, d->fork.leader, "it says that its log is another one than this node's, and no b + 1 nodes do");
    end_fork(d);
}

void driver_deceived(struct driver *d, bool told, const char *why)
{
    if (d->deceived) return;
    d->deceived = true;
    driver_quarantine(d, why);
    if (may_rebuild(d, 0)) {
        if (d->o.on_deceived) d->o.on_deceived(d->o.data, told, was_rebuilt(d), why);
        return;
    }
    log_error("driver", "this node was rebuilt %u times without getting further: look for the cause, then run "
              "'consiliumd rebuild --dir DIR --cut' and start it again", DRIVER_REBUILDS);
}

/* Asked anew from time to time: answers get lost, logs grow, and marks move. */
static void ask_all(struct driver *d)
{
    struct raft_status status;
    raft_status_get(d->raft, &status);
    if (d->fork.since == 0) d->fork.since = d->ticks;
    d->fork.asked = d->ticks;
    if (status.last.index != d->fork.last.index || status.last.term != d->fork.last.term) forget_answers(d);
    d->fork.last = status.last;
    withdraw(d, status.last, d->fork.index);
}

void driver_fork_tick(struct driver *d)
{
    struct fork *f = &d->fork;
    if (f->index == 0 || d->deceived || d->contradiction.index || !driver_alive(d)) return;
    if (f->leader != d->leader || f->term != d->term || driver_is_named(d, f->leader)) {
        end_fork(d); /* another leader: compared anew */
        return;
    }
    if (f->asked == 0 || d->ticks - f->asked >= ASK_TICKS) ask_all(d);
    switch (judge(d)) {
    case STANCE_WAIT: return;
    case STANCE_YIELD: driver_deceived(d, true, "a leader gave it entries that others did not get"); return;
    case STANCE_KEEP: end_fork(d); return;
    case STANCE_DOUBT: doubt(d); return;
    }
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
