/* Leaders that contradict themselves or what stands.
 *
 * Two blocks, or two statements of commit, by one signer for one (term, index), or
 * a block in the place of one that is applied or co-signed: refused by the core
 * where it matters, checked here for who signed what, told in the log, and kept in
 * the node's own table for whoever investigates. Nothing here stops the node: no
 * single peer may be able to.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "ledger/tables.h"

void driver_note_hash(struct driver *d, const struct block_job *job)
{
    d->hashes[job->entry.index % DRIVER_HASHES].index = job->entry.index;
    d->hashes[job->entry.index % DRIVER_HASHES].term = job->entry.term;
    d->hashes[job->entry.index % DRIVER_HASHES].hash = job->hash;
}

static bool find_hash(const struct driver *d, struct digest *out, raft_index index, raft_term term)
{
    size_t at = index % DRIVER_HASHES;
    if (d->hashes[at].index != index || d->hashes[at].term != term) return false;
    *out = d->hashes[at].hash;
    return true;
}

/* ---- keeping ---- */

struct keep {
    struct state_write write;
    char key[64];
    struct buffer value;
};

static enum err keep_run(struct state_write *w, struct table_txn *txn, struct ledger *ledger)
{
    struct keep *k = w->data;
    (void)ledger;
    return table_put(txn, TABLE_BLOB, bytes_text(k->key), buffer_bytes(&k->value));
}

static void keep_done(struct state_write *w, enum err code)
{
    struct keep *k = w->data;
    if (code != OK) log_warning("driver", "cannot keep evidence %s: %s", k->key, err_text(code));
    buffer_free(&k->value);
    free(k);
}

/* value: [kind, signer, index, term, ours (bin), theirs (bin)] */
static void keep(struct driver *d, const char *kind, unsigned signer, raft_index index, raft_term term,
                 struct bytes ours, struct bytes theirs)
{
    d->counters.evidence++;
    if (d->evidence_count >= LIMIT_EVIDENCE) return; /* said often enough */
    log_error("driver", "EVIDENCE: %s by node %u at index %llu, term %llu", kind, signer, (unsigned long long)index,
              (unsigned long long)term);
    struct keep *k = xcalloc(1, sizeof *k);
    snprintf(k->key, sizeof k->key, "evidence/%020llu/%020llu/%u", (unsigned long long)index,
             (unsigned long long)term, d->evidence_count++);
    pack_array(&k->value, 6);
    pack_text(&k->value, kind);
    pack_uint(&k->value, signer);
    pack_uint(&k->value, index);
    pack_uint(&k->value, term);
    pack_bytes(&k->value, ours);
    pack_bytes(&k->value, theirs);
    k->write = (struct state_write){.durable = true, .data = k, .run = keep_run, .done = keep_done};
    if (k->value.failed || driver_write(d, &k->write) != OK) {
        buffer_free(&k->value);
        free(k);
    }
}

/* ---- blocks ---- */

static unsigned signer_of(struct driver *d, const struct raft_entry *e)
{
    struct entry entry;
    if (e->type != RAFT_ENTRY_BLOCK || entry_open(&entry, raft_blob_bytes(e->blob)) != OK) return 0;
    const struct descriptor *signer = genesis_member(d->o.genesis, entry.signer);
    struct block_place place = {.cluster = d->o.genesis->cluster, .term = e->term, .index = e->index};
    return signer && entry_verify(&entry, &place, &signer->keys.message) == OK ? entry.signer : 0;
}

void driver_conflict(struct driver *d, const struct raft_conflict *conflict)
{
    const struct raft_entry *own = raft_entry_cached(d->raft, conflict->index);
    unsigned theirs = signer_of(d, &conflict->entry);
    unsigned ours = own && own->index == conflict->index ? signer_of(d, own) : 0;
    bool twice = own && theirs != 0 && theirs == ours && own->term == conflict->entry.term;
    keep(d, twice ? "two blocks for one place" : "a block against what stands", twice ? theirs : conflict->leader,
         conflict->index, conflict->entry.term, own ? raft_blob_bytes(own->blob) : (struct bytes){0},
         raft_blob_bytes(conflict->entry.blob));
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
    if (find_hash(d, &place.hash, status.commit, raft_term_of(d->raft, status.commit)))
        statement_sign(&d->statement, &place, &d->o.keys->message);
}

void driver_check_statement(struct driver *d, const struct raft_message *m)
{
    struct raft_status status;
    struct signature signature;
    struct digest ours;
    struct block_place place = {.cluster = d->o.genesis->cluster, .term = m->term};
    const struct descriptor *leader = genesis_member(d->o.genesis, m->from);
    if (m->extra.size == 0 || !leader || statement_open(&place, &signature, m->extra) != OK) return;
    raft_status_get(d->raft, &status);
    /* Beyond `checked` our log may differ in good faith. */
    if (m->term != status.term || m->from != status.leader || place.index > status.checked) return;
    if (!find_hash(d, &ours, place.index, raft_term_of(d->raft, place.index)) || digest_equal(&ours, &place.hash)) return;
    if (statement_verify(&signature, &place, &leader->keys.message) != OK) return;
    keep(d, "a commit of another block", m->from, place.index, m->term, BYTES(ours.bytes), m->extra);
}
