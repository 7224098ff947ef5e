/* Whole notes of peers, for a node that missed cosignatures: taken once the own root at
 * their size says the same. */
#include <stdlib.h>

#include "base/check.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/witness_internal.h"
#include "ledger/proof.h"

struct root_check {
    struct witness *w;
    struct state_read read;
    uint64_t size;
    struct digest root;
};

static void keep_note(struct buffer *note, struct checkpoint *checkpoint, struct bytes text,
                      const struct checkpoint *its)
{
    buffer_clear(note);
    buffer_append_bytes(note, text);
    *checkpoint = *its;
}

/* The next one to wait for. */
static void take_latest(struct witness *w)
{
    buffer_free(&w->later);
    w->later = w->latest;
    w->later_checkpoint = w->latest_checkpoint;
    w->latest = (struct buffer){0};
}

static void accept_later(struct witness *w)
{
    const struct end *end = witness_end_of_size(w, w->later_checkpoint.size);
    struct witnessed fresh = {.size = w->later_checkpoint.size, .root = w->later_checkpoint.root, .note = w->later};
    if (end) fresh.raft_index = end->raft_index, fresh.raft_term = end->raft_term, fresh.time_ms = end->time_ms;
    w->later = (struct buffer){0};
    take_latest(w);
    witness_take_witnessed(w, &fresh);
}

/* A note that has k good lines may have others besides. */
static uint32_t cosigners_of(const struct witness *w, const struct checkpoint *checkpoint, struct bytes text)
{
    struct note note;
    struct cosignature line;
    uint32_t members = 0;
    if (note_parse(&note, text) != OK) return 0;
    for (unsigned i = 1; i <= w->n; i++)
        if (witness_line_of(&line, w, &note, i) &&
            checkpoint_cosignature_verify(&line, checkpoint, &w->cosigners[i - 1].key) == OK)
            members |= UINT32_C(1) << i;
    return members;
}

/* After a start it may not be known which block ended there. */
static uint64_t index_of(const struct witness *w, uint64_t size)
{
    struct driver_status d;
    const struct end *end = witness_end_of_size(w, size);
    driver_status(w->o.driver, &d);
    return end ? end->raft_index : d.applied;
}

static void judge_later(struct witness *w, const struct digest *own_root)
{
    uint64_t size = w->later_checkpoint.size;
    if (!digest_equal(own_root, &w->later_checkpoint.root)) {
        uint32_t members = cosigners_of(w, &w->later_checkpoint, buffer_bytes(&w->later));
        witness_contradicted(w, members, size, index_of(w, size), "its root contradicts one that k nodes co-signed");
        return;
    }
    accept_later(w);
}

static enum err root_run(struct state_read *read, struct table_txn *txn)
{
    struct root_check *c = read->data;
    return proof_root(&c->root, txn, c->size);
}

static void root_done(struct state_read *read, enum err code)
{
    struct root_check *c = read->data;
    struct witness *w = c->w;
    bool current = !w->stopped && w->later.size && w->later_checkpoint.size == c->size && c->size > w->size;
    w->checking = false;
    if (current && code == OK)
        judge_later(w, &c->root);
    else if (current && w->latest.size && code != ERR_BUSY)
        take_latest(w); /* the rows for this one may never be there */
    free(c);
}

/* The note waits until its size is applied here; then our own root decides. */
void witness_check_later(struct witness *w)
{
    struct driver_status d;
    if (!w->later.size || w->stopped || w->quarantined || w->checking) return;
    if (w->later_checkpoint.size <= w->size) {
        take_latest(w);
        return;
    }
    const struct end *end = witness_end_of_size(w, w->later_checkpoint.size);
    if (end) {
        struct digest own = end->root;
        judge_later(w, &own);
        return;
    }
    driver_status(w->o.driver, &d);
    if (d.size < w->later_checkpoint.size) return;
    struct root_check *c = xcalloc(1, sizeof *c);
    c->w = w;
    c->size = w->later_checkpoint.size;
    c->read = (struct state_read){.fresh = true, .data = c, .run = root_run, .done = root_done};
    w->checking = true;
    if (driver_read(w->o.driver, &c->read) == OK) return;
    w->checking = false; /* busy: the timer comes back to it */
    free(c);
}

/* Who cosigned another root of that size for this node. */
static void look_for_two(struct witness *w, const struct checkpoint *checkpoint, struct bytes text)
{
    struct note note;
    struct cosigned other = {.size = checkpoint->size, .root = checkpoint->root};
    if (note_parse(&note, text) != OK) return;
    for (unsigned i = 1; i <= w->n; i++) {
        const struct cosigned *known = witness_cosigned_at(w, i, other.size);
        if (!known || digest_equal(&known->root, &other.root) || i == w->o.self) continue;
        if (witness_line_of(&other.cosignature, w, &note, i)) witness_two_cosigned(w, i, known, &other);
    }
}

static bool may_show_two(const struct witness *w, const struct checkpoint *checkpoint)
{
    for (unsigned i = 1; i <= w->n; i++) {
        const struct cosigned *known = witness_cosigned_at(w, i, checkpoint->size);
        if (i != w->o.self && witness_hears(w, i) && known && !digest_equal(&known->root, &checkpoint->root)) return true;
    }
    return false;
}

/* Larger than what is witnessed, or came already. */
static bool is_news(const struct witness *w, uint64_t size)
{
    const struct checkpoint *most = w->latest.size ? &w->latest_checkpoint : &w->later_checkpoint;
    return size > w->size && (!w->later.size || size > most->size);
}

/* false: it is none. A note is as valid the second time, and a member may send it without end: each signature takes the
 * loop 50 us, so what can change nothing is dropped before. */
static bool take_note(struct witness *w, struct bytes text)
{
    struct checkpoint checkpoint;
    struct note note;
    if (w->stopped) return true;
    if (note_parse(&note, text) != OK) return false;
    if (!is_news(w, note.checkpoint.size) && !may_show_two(w, &note.checkpoint)) return true;
    if (checkpoint_verify(&checkpoint, text, w->o.genesis) != OK) return false;
    look_for_two(w, &checkpoint, text);
    if (checkpoint.size <= w->size || (w->later.size && w->later_checkpoint.size >= checkpoint.size)) return true;
    /* One that waits is not displaced: a node that stays some blocks behind would never reach the newest. */
    if (!w->later.size)
        keep_note(&w->later, &w->later_checkpoint, text, &checkpoint);
    else if (!w->latest.size || w->latest_checkpoint.size < checkpoint.size)
        keep_note(&w->latest, &w->latest_checkpoint, text, &checkpoint);
    witness_check_later(w);
    return true;
}

void witness_take_note(struct witness *w, struct bytes text) { (void)take_note(w, text); }

void witness_take_push(struct witness *w, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    struct bytes note = unpack_bin(&u, LIMIT_CHECKPOINT_NOTE);
    if (unpack_done(&u) != OK)
        witness_warn(w, from, "sent a note in a message that is not well-formed");
    else if (!take_note(w, note))
        witness_warn(w, from, "sent a note that does not verify");
}
