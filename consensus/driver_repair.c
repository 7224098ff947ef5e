/* Damaged log entries are fetched from peers: those that opening finds before the core
 * starts, those that reading finds later beside it.
 *
 * Happy path: for each damaged index all connected peers are asked -> b + 1 of them
 * give the same entry, which has the term that the log still knows (if it does), and
 * a block its leader's signature -> it is put back in its place, durably -> when no
 * damage is left the core starts. A node whose log opened damaged takes no part meanwhile.
 * Failures: peers that are down are asked when they come; when all n - 1 said that
 * they don't have an entry any more, driver_open decides.
 */
#include <stdlib.h>

#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "net/peers.h"
#include "storage/log.h"

#define REPAIR_WINDOW 16u /* damaged entries asked for at once */

/* What peers said of one index. */
struct wanted {
    raft_index index;
    bool taken; /* enough agreed; on its way into the log */
    struct said {
        bool answered, has;
        raft_term term;
        uint8_t kind;
        struct digest hash; /* of the entry's bytes */
    } said[LIMIT_NODES + 1];
};

struct repair {
    struct wanted window[REPAIR_WINDOW];
    unsigned count, writing;
};

void driver_repair_free(struct driver *d)
{
    free(d->repair);
    d->repair = NULL;
}

static bool next_damage(struct log *log, uint64_t *index, uint64_t from)
{
    uint64_t first, last;
    if (log_damage(log, &first, &last, from) != OK) return false;
    *index = first > from ? first : from;
    return true;
}

void driver_repair_start(struct driver *d)
{
    struct log_status status;
    uint64_t index;
    log_status(d->o.log, &status);
    driver_repair_free(d);
    d->repair = xcalloc(1, sizeof *d->repair);
    struct repair *r = d->repair;
    uint64_t from = status.first;
    for (; r->count < REPAIR_WINDOW && next_damage(d->o.log, &index, from); from = index + 1)
        r->window[r->count++].index = index;
    CHECK(r->count > 0);
    log_warning("driver", "%llu entries of the log are damaged, from %llu on: fetching them from peers",
                (unsigned long long)status.damaged, (unsigned long long)r->window[0].index);
    driver_repair_tick(d);
}

static void ask(struct driver *d, unsigned peer, raft_index index)
{
    buffer_clear(&d->out);
    pack_array(&d->out, 1);
    pack_uint(&d->out, index);
    peers_send(d->o.peers, peer, PEER_BLOCK_ASK, index, buffer_bytes(&d->out));
}

void driver_repair_tick(struct driver *d)
{
    struct repair *r = d->repair;
    for (unsigned i = 0; r && i < r->count; i++)
        for (unsigned peer = 1; peer <= d->o.genesis->member_count; peer++)
            if (peer != d->o.self && !r->window[i].taken && !r->window[i].said[peer].answered)
                ask(d, peer, r->window[i].index);
}

/* ---- giving ---- */

void driver_block_asked(struct driver *d, unsigned from, uint64_t id, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    raft_index index = unpack_uint_max(&u, RAFT_INDEX_MAX);
    if (unpack_done(&u) != OK || index == 0) return;
    /* Asked again by its timer. */
    if (d->giving[from] >= LIMIT_PULL_SERVED || workers_count(d->workers) >= LIMIT_STORE_READERS) return;
    d->giving[from]++;
    struct fetch what = {
        .first = index, .last = index, .max_bytes = 1, .peer = (raft_id)from, .id = id, .for_repair = true};
    driver_fetch(d, &what);
}

void driver_block_given(struct driver *d, struct fetch *f)
{
    bool has = f->code == OK && f->count == 1;
    d->giving[f->peer]--;
    buffer_clear(&d->out);
    pack_array(&d->out, 4);
    pack_uint(&d->out, f->first);
    pack_uint(&d->out, has ? f->entries[0].term : 0);
    pack_uint(&d->out, has ? f->entries[0].type : 0);
    pack_bytes(&d->out, has ? raft_blob_bytes(f->entries[0].blob) : (struct bytes){0});
    if (!d->out.failed) peers_send(d->o.peers, f->peer, PEER_BLOCK, f->id, buffer_bytes(&d->out));
}

/* ---- taking ---- */

static bool is_signed(struct driver *d, raft_index index, raft_term term, struct bytes bytes)
{
    struct entry entry;
    if (entry_open(&entry, bytes) != OK) return false;
    const struct descriptor *signer = genesis_member(d->o.genesis, entry.signer);
    struct block_place place = {.cluster = d->o.genesis->cluster, .term = term, .index = index};
    return signer && entry_verify(&entry, &place, &signer->keys.message) == OK;
}

static unsigned agreeing(const struct wanted *w, const struct said *with)
{
    unsigned count = 0;
    for (unsigned i = 1; i <= LIMIT_NODES; i++)
        count += w->said[i].has && w->said[i].term == with->term && w->said[i].kind == with->kind &&
                 digest_equal(&w->said[i].hash, &with->hash);
    return count;
}

static void put_back(struct driver *d, struct wanted *w, const struct said *said, struct bytes bytes)
{
    struct log_patch *p = xcalloc(1, sizeof *p);
    p->job.kind = LOG_JOB_REPAIR;
    p->entry = (struct raft_entry){.index = w->index, .term = said->term, .type = (enum raft_entry_type)said->kind};
    if (bytes.size > 0) p->entry.blob = raft_blob_copy(bytes);
    if (bytes.size > 0 && !p->entry.blob) {
        free(p);
        return; /* no memory: the next answer tries again */
    }
    w->taken = true;
    d->repair->writing++;
    log_thread_push(d->log, &p->job);
}

/* Every peer said that it doesn't have some entry: the others can't be all either. */
static void give_up_if_gone(struct driver *d, const struct wanted *w)
{
    unsigned gone = 0;
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        gone += w->said[i].answered && !w->said[i].has;
    if (gone + 1 < d->o.genesis->member_count || d->repair->writing > 0) return;
    log_warning("driver", "no peer has entry %llu of the log any more", (unsigned long long)w->index);
    d->unavailable = d->phase == DRIVER_OPENING; /* else it was applied here, and goes with the next trimming */
    driver_repair_free(d);
    driver_open(d);
}

static void take_answer(struct driver *d, unsigned from, struct wanted *w, struct said said, struct bytes bytes)
{
    raft_term known;
    bool fits = log_term(d->o.log, &known, w->index) != OK || known == 0 || known == said.term;
    bool good = said.has && fits && (said.kind != RAFT_ENTRY_BLOCK || is_signed(d, w->index, said.term, bytes));
    if (said.has && !good) {
        driver_every(&d->counters.bad_messages, "a log entry", from, ERR_BAD_SIGNATURE);
        return;
    }
    w->said[from] = said;
    if (good && agreeing(w, &said) > d->o.genesis->faulty)
        put_back(d, w, &said, bytes);
    else if (!said.has)
        give_up_if_gone(d, w);
}

void driver_block_came(struct driver *d, unsigned from, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    raft_index index = unpack_uint_max(&u, RAFT_INDEX_MAX);
    struct said said = {.answered = true, .term = unpack_uint_max(&u, RAFT_TERM_MAX)};
    said.kind = (uint8_t)unpack_uint_max(&u, RAFT_ENTRY_CONFIG);
    struct bytes bytes = unpack_bin(&u, LIMIT_BLOCK);
    bool repairs = d->phase == DRIVER_OPENING || d->phase == DRIVER_RUNNING;
    if (unpack_done(&u) != OK || !d->repair || !repairs) return;
    said.has = said.term != 0 && said.kind != 0;
    struct raft_blob view = {.size = (uint32_t)bytes.size, .data = bytes.data};
    struct raft_entry entry = {.type = (enum raft_entry_type)said.kind, .blob = &view};
    entry_hash(&said.hash, &entry);
    for (unsigned i = 0; i < d->repair->count; i++)
        if (d->repair->window[i].index == index && !d->repair->window[i].taken) {
            take_answer(d, from, &d->repair->window[i], said, bytes);
            return;
        }
}

void driver_patched(struct driver *d, enum err code)
{
    if (code != OK && code != ERR_NOT_FOUND) {
        driver_fail(d, code, "cannot repair the log: %s", err_text(code));
        return;
    }
    struct repair *r = d->repair;
    if (!r || --r->writing > 0) return;
    for (unsigned i = 0; i < r->count; i++)
        if (!r->window[i].taken) return;
    driver_repair_free(d);
    driver_open(d);
}

uint64_t driver_repair_log(struct driver *d)
{
    struct log_status status;
    log_status(d->o.log, &status);
    if (d->phase != DRIVER_RUNNING || status.damaged == 0) return status.damaged;
    if (d->repair && d->repair->writing > 0) return status.damaged;
    driver_repair_start(d); /* what was asked before is asked anew */
    return status.damaged;
}
