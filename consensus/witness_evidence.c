/* What members told of their roots: kept for a while, compared, and shown around.
 *
 * A member whose root differs from this node's after the same block: what all members told
 * after it goes to everybody (TOLD), each under its own signature. So
 *   - who told two nodes different roots is caught by whoever sees both;
 *   - k equal words that one node holds bind all: who stands on another branch sees them, too;
 *   - the owner is asked to compare logs with that member (on_differs), for who forked them.
 */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "consensus/witness_internal.h"
#include "crypto/keys.h"
#include "net/peers.h"

#define SHOW_MS 500 /* between two times that what was told is shown around */

/* --- one TELL --- */

static struct statement statement_of(const struct told *told)
{
    return (struct statement){.kind = STATEMENT_TELL,
                              .term = told->end.raft_term,
                              .index = told->end.raft_index,
                              .size = told->end.size,
                              .hash = told->end.root,
                              .signature = told->signature};
}

void witness_sign_tell(struct told *out, const struct witness *w, const struct end *end)
{
    *out = (struct told){.end = *end};
    struct statement s = statement_of(out);
    evidence_statement_sign(&s, &w->o.genesis->cluster, &w->o.keys->message);
    out->signature = s.signature;
}

void witness_pack_tell(struct buffer *out, const struct told *told)
{
    pack_array(out, 5);
    pack_uint(out, told->end.size);
    pack_digest(out, &told->end.root);
    pack_uint(out, told->end.raft_index);
    pack_uint(out, told->end.raft_term);
    pack_bin(out, told->signature.bytes, sizeof told->signature.bytes);
}

enum err witness_unpack_tell(struct told *out, struct bytes body)
{
    struct unpack u = unpack_start(body);
    *out = (struct told){0};
    unpack_array_of(&u, 5);
    out->end.size = unpack_uint(&u);
    out->end.root = unpack_digest(&u);
    out->end.raft_index = unpack_uint(&u);
    out->end.raft_term = unpack_uint(&u);
    unpack_bin_exact(&u, out->signature.bytes, sizeof out->signature.bytes);
    if (out->end.size == 0 || out->end.raft_index == 0) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void witness_set_told(struct witness *w, unsigned member, const struct told *told)
{
    struct told *last = &w->told[member], *before = w->told_before[member];
    if (told->end.raft_index > last->end.raft_index) {
        memmove(&before[1], &before[0], (ROUNDS_MOST - 2) * sizeof before[0]);
        before[0] = *last;
    } else if (told->end.raft_index < last->end.raft_index) {
        memset(before, 0, (ROUNDS_MOST - 1) * sizeof before[0]); /* what it said before is not what it says */
    }
    *last = *told;
}

void witness_keep_own(struct witness *w, const struct told *told)
{
    struct told *kept = &w->recent[w->o.self][told->end.raft_index % TOLD_KEPT];
    *kept = *told;
    kept->verified = true;
    kept->under = w->term;
}

bool witness_has_told(const struct witness *w, unsigned member, const struct end *end)
{
    bool has = witness_end_equal(&w->told[member].end, end);
    for (unsigned i = 0; i < ROUNDS_MOST - 1; i++)
        has = has || witness_end_equal(&w->told_before[member][i].end, end);
    return has;
}

/* --- whose word counts --- */

bool witness_hears(const struct witness *w, unsigned member) { return !(w->excluded >> member & 1); }

bool witness_counts(const struct witness *w, unsigned member, const struct end *end)
{
    const struct end *back = &w->withdrawn[member];
    return witness_hears(w, member) && !(end->raft_index <= back->raft_index && end->raft_term <= back->raft_term);
}

void witness_withdraw(struct witness *w, unsigned member, uint64_t raft_term, uint64_t raft_index)
{
    CHECK(member >= 1 && member <= w->n);
    w->withdrawn[member] = (struct end){.raft_index = raft_index, .raft_term = raft_term};
}

static const struct end *word_after(const struct witness *w, unsigned member, uint64_t raft_index)
{
    const struct end *end = &w->recent[member][raft_index % TOLD_KEPT].end;
    return end->raft_index == raft_index ? end : NULL;
}

/* How many members told after this block; and how many the same as this node. */
static unsigned count_told(const struct witness *w, const struct end *own, unsigned *equal)
{
    unsigned told = 0;
    *equal = 0;
    for (unsigned i = 1; i <= w->n; i++) {
        const struct end *end = word_after(w, i, own->raft_index);
        if (!witness_hears(w, i) || !end) continue;
        told++;
        *equal += end->size == own->size && digest_equal(&end->root, &own->root);
    }
    return told;
}

bool witness_agree(const struct witness *w, uint64_t size)
{
    unsigned equal = 0;
    for (unsigned i = 0; i < TOLD_KEPT && equal < w->k; i++) {
        const struct end *own = &w->recent[w->o.self][i].end;
        if (own->raft_index && own->size >= size) count_told(w, own, &equal);
    }
    return equal >= w->k || w->cosigned[w->o.self][0].size >= size; /* then they did */
}

const struct end *witness_find_split(const struct witness *w)
{
    for (unsigned i = 0; i < TOLD_KEPT; i++) {
        const struct told *own = &w->recent[w->o.self][i];
        unsigned equal;
        if (own->end.size <= w->size || own->under != w->term) continue;
        if (own->end.size <= w->cosigned[w->o.self][0].size) continue; /* k told the same as this node did */
        if (count_told(w, &own->end, &equal) >= w->k && equal < w->k) return &own->end;
    }
    return NULL;
}

void witness_exclude(struct witness *w, unsigned member)
{
    w->excluded |= UINT32_C(1) << member;
    w->stalled_ns = 0; /* it may have been the one who told otherwise */
}

/* False: they prove nothing. */
static bool report(struct witness *w, unsigned named, const struct statement *a, const struct statement *b)
{
    struct evidence e;
    struct buffer encoded = {0};
    if (evidence_make(&e, w->o.genesis, named, a, b) != OK) return false;
    evidence_encode(&encoded, &e);
    w->o.on_evidence(w->o.data, evidence_kind_text(evidence_kind(&e)), named, evidence_place(&e),
                     buffer_bytes(&encoded));
    buffer_free(&encoded);
    return true;
}

/* k members say the same after a block after which this node has another root: at least k - b of
 * them are honest, and no other root can have k words, unless more than b lie. An excluded member's words
 * count here where they were heard before it was: somebody may have cosigned because of them. */
static void check_contradiction(struct witness *w, const struct end *end)
{
    const struct end *own = witness_end_at(w, end->raft_index);
    unsigned count = 0;
    uint32_t members = 0;
    if (!own || w->quarantined || (own->size == end->size && digest_equal(&own->root, &end->root))) return;
    for (unsigned i = 1; i <= w->n; i++) {
        const struct told *told = &w->recent[i][end->raft_index % TOLD_KEPT];
        bool back = end->raft_index <= w->withdrawn[i].raft_index && end->raft_term <= w->withdrawn[i].raft_term;
        if (i == w->o.self || !told->verified || back || !witness_end_equal(&told->end, end)) continue;
        count++;
        members |= UINT32_C(1) << i;
    }
    if (count >= w->k)
        witness_contradicted(w, members, end->size, end->raft_index, "its root contradicts one that k nodes told");
}

bool witness_note_tell(struct witness *w, unsigned member, const struct told *told)
{
    struct told *kept = &w->recent[member][told->end.raft_index % TOLD_KEPT];
    struct statement now = statement_of(told), before = statement_of(kept);
    if (kept->verified && witness_end_equal(&kept->end, &told->end)) {
        check_contradiction(w, &told->end); /* a word that was taken back may count again */
        return true;
    }
    if (evidence_statement_verify(&now, w->o.genesis, member) != OK) return false;
    if (kept->end.raft_index && evidence_contradict(&before, &now)) report(w, member, &before, &now);
    if (told->end.raft_index >= kept->end.raft_index) {
        *kept = *told;
        kept->verified = true;
    }
    check_contradiction(w, &told->end);
    return true;
}

/* A signature that would cost 50 us and change nothing now: it is checked when something contradicts it. */
void witness_note_late(struct witness *w, unsigned member, const struct told *told)
{
    struct told *kept = &w->recent[member][told->end.raft_index % TOLD_KEPT];
    if (told->end.raft_index <= kept->end.raft_index) return;
    *kept = *told;
    kept->verified = false;
}

/* Worth showing: its signature is good. */
static bool is_good(const struct witness *w, unsigned member, struct told *told)
{
    struct statement s = statement_of(told);
    if (!told->verified) told->verified = evidence_statement_verify(&s, w->o.genesis, member) == OK;
    return told->verified;
}

/* --- showing around --- */

void witness_show(struct witness *w, const struct end *end)
{
    struct buffer body = {0};
    const struct told *found[LIMIT_NODES];
    uint8_t members[LIMIT_NODES];
    uint32_t count = 0;
    uint64_t now = clock_monotonic_ns();
    if (w->shown_ns && now - w->shown_ns < UINT64_C(1000000) * SHOW_MS) return;
    w->shown_ns = now;
    for (unsigned i = 1; i <= w->n; i++) {
        struct told *told = &w->recent[i][end->raft_index % TOLD_KEPT];
        if (told->end.raft_index != end->raft_index || !is_good(w, i, told)) continue;
        members[count] = (uint8_t)i;
        found[count++] = told;
    }
    pack_array(&body, count);
    for (uint32_t i = 0; i < count; i++) {
        struct buffer tell = {0};
        witness_pack_tell(&tell, found[i]);
        pack_array(&body, 2);
        pack_uint(&body, members[i]);
        pack_bytes(&body, buffer_bytes(&tell));
        buffer_free(&tell);
    }
    for (unsigned i = 1; i <= w->n && !body.failed; i++)
        if (i != w->o.self) peers_send(w->o.peers, i, PEER_TOLD, 0, buffer_bytes(&body));
    buffer_free(&body);
}

/* One member's different root after a block that is applied here: named in the log once, and looked into. */
void witness_compare(struct witness *w, unsigned from, const struct end *own, const struct end *theirs)
{
    uint32_t bit = UINT32_C(1) << from;
    if (own->size == theirs->size && digest_equal(&own->root, &theirs->root)) {
        w->differing &= ~bit;
        return;
    }
    if (!(w->differing & bit))
        w->o.on_evidence(w->o.data, "another root than this node's", from, theirs->size, (struct bytes){0});
    w->differing |= bit;
    if (w->o.on_differs) w->o.on_differs(w->o.data, from, theirs->raft_index);
    witness_show(w, own);
}

static const struct end *says_now(const struct witness *w, unsigned member, uint64_t raft_index)
{
    if (w->told[member].end.raft_index == raft_index) return &w->told[member].end;
    for (unsigned i = 0; i < ROUNDS_MOST - 1; i++)
        if (w->told_before[member][i].end.raft_index == raft_index) return &w->told_before[member][i].end;
    return NULL;
}

void witness_look_back(struct witness *w, const struct end *own)
{
    for (unsigned i = 1; i <= w->n; i++) {
        const struct told *told = &w->recent[i][own->raft_index % TOLD_KEPT];
        if (i == w->o.self || told->end.raft_index != own->raft_index || witness_end_equal(&told->end, own)) continue;
        const struct end *says = says_now(w, i, own->raft_index);
        if (says) witness_compare(w, i, own, says);
        check_contradiction(w, &told->end);
    }
}

static void take_one(struct witness *w, unsigned from, unsigned member, const struct told *told)
{
    if (!witness_note_tell(w, member, told)) {
        witness_warn(w, from, "showed a root that another member did not tell");
        return;
    }
    if (told->end.raft_index > w->told[member].end.raft_index) witness_set_told(w, member, told);
    const struct end *own = witness_end_at(w, told->end.raft_index);
    if (own && witness_end_equal(own, &told->end)) witness_try_cosign(w, own);
}

void witness_take_shown(struct witness *w, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    uint32_t count = unpack_array(&u, LIMIT_NODES);
    if (!witness_hears(w, from)) return;
    for (uint32_t i = 0; i < count; i++) {
        struct told told;
        unpack_array_of(&u, 2);
        unsigned member = (unsigned)unpack_uint_max(&u, w->n);
        struct bytes tell = unpack_bin(&u, LIMIT_NOTE);
        if (u.error != OK || member == 0 || witness_unpack_tell(&told, tell) != OK) {
            witness_warn(w, from, "showed what was told in a message that is not well-formed");
            return;
        }
        if (member != w->o.self) take_one(w, from, member, &told);
    }
}

/* --- cosignatures --- */

static struct statement statement_of_cosigned(const struct cosigned *c)
{
    return (struct statement){.kind = STATEMENT_COSIGNED,
                              .size = c->size,
                              .time_s = c->cosignature.time_s,
                              .hash = c->root,
                              .signature = c->cosignature.signature};
}

const struct cosigned *witness_cosigned_at(const struct witness *w, unsigned member, uint64_t size)
{
    for (unsigned i = 0; i < ROUNDS_MOST; i++)
        if (w->cosigned[member][i].size == size) return &w->cosigned[member][i];
    return NULL;
}

/* Of one size the last word counts, and two roots for it are a lie. */
void witness_keep_cosigned(struct witness *w, unsigned member, const struct cosigned *c)
{
    struct cosigned *list = w->cosigned[member];
    const struct cosigned *known = witness_cosigned_at(w, member, c->size);
    unsigned at = 0;
    if (known && !digest_equal(&known->root, &c->root)) witness_two_cosigned(w, member, known, c);
    while (at < ROUNDS_MOST && list[at].size > c->size) at++;
    if (at == ROUNDS_MOST) return;
    if (!known) memmove(&list[at + 1], &list[at], (ROUNDS_MOST - 1 - at) * sizeof list[0]);
    list[at] = *c;
}

void witness_late_cosigned(struct witness *w, unsigned from, const struct cosigned *c)
{
    struct cosigned known = {.size = c->size};
    for (unsigned i = 0; i < WITNESS_KEPT; i++) {
        struct note note;
        const struct witnessed *kept = &w->kept[i];
        if (kept->size != c->size || digest_equal(&kept->root, &c->root) || c->size == 0) continue;
        if (note_parse(&note, buffer_bytes(&kept->note)) != OK) continue;
        known.root = kept->root;
        if (!witness_line_of(&known.cosignature, w, &note, from) || witness_two_cosigned(w, from, &known, c)) continue;
        witness_warn(w, from, "sent a cosignature that does not verify");
        return;
    }
}

bool witness_two_cosigned(struct witness *w, unsigned from, const struct cosigned *known, const struct cosigned *now)
{
    struct statement a = statement_of_cosigned(known), b = statement_of_cosigned(now);
    return report(w, from, &a, &b);
}

bool witness_line_of(struct cosignature *out, const struct witness *w, const struct note *note, unsigned member)
{
    const struct cosigner *c = &w->cosigners[member - 1];
    for (uint32_t i = 0; i < note->count; i++) {
        const struct note_line *line = &note->lines[i];
        if (!line->is_cosignature || !bytes_equal(line->name, bytes_text(c->name)) ||
            memcmp(line->key_id, c->key_id, sizeof c->key_id) != 0)
            continue;
        *out = line->cosignature;
        return true;
    }
    return false;
}
