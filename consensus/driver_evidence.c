/* Leaders that contradict themselves or what stands.
 *
 * Two blocks, or two statements of commit, by one signer for one (term, index), the
 * commit of another block than it made, or a block in the place of one that is applied
 * or co-signed: refused by the core where it matters, and checked here for who signed
 * what. Where two signatures prove it, it is evidence (ledger/evidence.h) and goes to
 * driver_blame.c; else a line in the log. Nothing here stops the node: no single peer
 * may be able to.
 */
#include <string.h>

#include "consensus/driver_internal.h"

#define STATEMENTS 64u /* of leaders, remembered, by index modulo this */

struct statements {
    struct {
        unsigned leader;
        struct statement said;
    } last[STATEMENTS];
};

/* ---- what stands where in the log ---- */

void driver_note_head(struct driver *d, const struct raft_entry *e, const struct digest *hash)
{
    struct entry entry;
    struct head *head = &d->heads[e->index % DRIVER_HEADS];
    *head = (struct head){.index = e->index, .term = e->term, .hash = *hash};
    if (e->type != RAFT_ENTRY_BLOCK || entry_open(&entry, raft_blob_bytes(e->blob)) != OK) return;
    head->signer = entry.signer;
    head->signature = entry.signature;
}

const struct head *driver_head(const struct driver *d, raft_index index)
{
    const struct head *head = &d->heads[index % DRIVER_HEADS];
    bool stands = head->index == index && d->raft && raft_term_of(d->raft, index) == head->term;
    return index != 0 && stands ? head : NULL;
}

struct statement driver_head_statement(const struct head *head)
{
    return (struct statement){.kind = STATEMENT_BLOCK, .term = head->term, .index = head->index, .hash = head->hash,
                              .signature = head->signature};
}

/* ---- blocks ---- */

static bool head_of_entry(struct head *head, const struct raft_entry *e)
{
    struct entry entry;
    *head = (struct head){.index = e->index, .term = e->term};
    if (e->type != RAFT_ENTRY_BLOCK || entry_open(&entry, raft_blob_bytes(e->blob)) != OK) return false;
    block_hash(&head->hash, entry.block);
    head->signer = entry.signer;
    head->signature = entry.signature;
    return true;
}

/* Both signed by one leader for one place? */
bool driver_two_heads(struct driver *d, const struct head *a, const struct head *b)
{
    struct statement first = driver_head_statement(a), second = driver_head_statement(b);
    return a->signer != 0 && a->signer == b->signer && driver_contradiction(d, a->signer, &first, &second);
}

static void say(struct driver *d, unsigned from, raft_index index, raft_term term, const char *what)
{
    d->counters.evidence++;
    if (!log_seldom(&d->said_ns[from])) return;
    log_error("driver", "node %u sent %s at index %llu, term %llu", from, what, (unsigned long long)index,
              (unsigned long long)term);
}

void driver_conflict(struct driver *d, const struct raft_conflict *conflict)
{
    const struct head *ours = driver_head(d, conflict->index);
    struct head theirs;
    bool signed_by_one = ours && head_of_entry(&theirs, &conflict->entry) && driver_two_heads(d, &theirs, ours);
    if (!signed_by_one) say(d, conflict->leader, conflict->index, conflict->entry.term, "a block against what stands");
    driver_differs(d, conflict->leader, conflict->index);
}

/* ---- statements of commit ---- */

void driver_state_commit(struct driver *d)
{
    struct raft_status status;
    struct block_place place = {.cluster = d->o.genesis->cluster};
    raft_status_get(d->raft, &status);
    if (d->stated == status.commit && d->stated_term == status.term) return;
    buffer_clear(&d->statement);
    d->stated = status.commit;
    d->stated_term = status.term;
    place.term = status.term;
    place.index = status.commit;
    /* Only for blocks that are in memory anyway: the one before or after says the same of all before. */
    const struct head *head = driver_head(d, status.commit);
    if (!head || head->signer == 0) return;
    place.hash = head->hash;
    statement_sign(&d->statement, &place, &d->o.keys->message);
}

/* What this leader said before of the same place. */
static const struct statement *said_before(struct driver *d, unsigned leader, const struct statement *s)
{
    if (!d->statements) d->statements = xcalloc(1, sizeof *d->statements);
    size_t at = s->index % STATEMENTS;
    const struct statement *last = &d->statements->last[at].said;
    bool same = d->statements->last[at].leader == leader && last->index == s->index && last->term == s->term;
    return same ? last : NULL;
}

static void remember(struct driver *d, unsigned leader, const struct statement *s)
{
    d->statements->last[s->index % STATEMENTS].leader = leader;
    d->statements->last[s->index % STATEMENTS].said = *s;
}

/* Verified only where it says something new and odd: a heartbeat costs nothing otherwise. */
void driver_check_statement(struct driver *d, const struct raft_message *m)
{
    struct raft_status status;
    struct block_place place = {.cluster = d->o.genesis->cluster, .term = m->term};
    struct statement s = {.kind = STATEMENT_COMMIT, .term = m->term};
    if (m->extra.size == 0 || statement_open(&place, &s.signature, m->extra) != OK) return;
    s.index = place.index;
    s.hash = place.hash;
    const struct statement *before = said_before(d, m->from, &s);
    if (before && digest_equal(&before->hash, &s.hash)) return;
    if (before && driver_contradiction(d, m->from, before, &s)) return;
    const struct head *head = driver_head(d, s.index);
    if (head && head->term == s.term && head->signer == m->from) {
        struct statement made = driver_head_statement(head);
        if (!digest_equal(&head->hash, &s.hash)) driver_contradiction(d, m->from, &made, &s);
        return; /* or it says what its signature of the block says already */
    }
    if (evidence_statement_verify(&s, d->o.genesis, m->from) != OK) return;
    remember(d, m->from, &s);
    raft_status_get(d->raft, &status);
    /* Beyond `checked` our log may differ in good faith. */
    if (m->term == status.term && m->from == status.leader && s.index <= status.checked && head && head->signer &&
        !digest_equal(&head->hash, &s.hash))
        say(d, m->from, s.index, m->term, "a commit of another block than stands");
}
