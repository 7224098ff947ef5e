/* Damaged log entries are fetched from peers: those that opening finds before the core
 * starts, those that reading finds later beside it.
 *
 * Happy path: for each damaged index all connected peers are asked -> b + 1 of them
 * give the same entry, which is the one that stood there, and a block its leader's
 * signature -> it is put back in its place, durably -> when no damage is left the core
 * starts. A node whose log opened damaged takes no part meanwhile.
 * Failures: peers that are down are asked when they come. Where nothing was put back for
 * a while, or all n - 1 said that they don't have an entry any more, driver_give_up
 * decides how to go on without it.
 *
 * That it is the one that stood there the log says itself where it still knows the term.
 * Where the block's header is lost as well, an honest peer's entry may be another one,
 * which an old leader gave to it and which was never committed; and Raft, which finds the
 * next entry in its place, would not look at it again. So such a peer counts only if it
 * also has the next entry of which our log knows the term (the anchor): then all before
 * it is the same in both logs. It is asked for that before and after it gave the entry,
 * since its log may change between two answers. (Only a log that changed and changed back
 * between them, by two elections, is not told apart.) The last entry's term is known, so
 * that there is an anchor.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "net/peers.h"
#include "storage/log.h"

#define REPAIR_WINDOW 16u   /* damaged entries asked for at once */
#define PATIENCE_TICKS 200u /* 10 s without any that is put back, from the start or the last one on */
#define TELL_TICKS 1200u    /* between two lines in the log about it */

enum step { /* of asking one peer for one entry */
    STEP_ANCHOR,       /* only where the term is unknown: has it the anchor? */
    STEP_ENTRY,
    STEP_ANCHOR_AGAIN, /* ... still? */
    STEP_GAVE,         /* that is its word */
};

/* What peers said of one index. */
struct wanted {
    raft_index index;
    raft_term term;              /* 0: unknown, and then ... */
    struct raft_position anchor; /* index 0: there is none, and nobody's word proves anything */
    bool taken;                  /* on its way into the log */
    bool agreed;                 /* enough said so; now from one of them */
    struct said {
        enum step step;
        uint64_t since; /* the first question of this step: an answer to one before says nothing */
        bool lacks;     /* it is there, and said that it hasn't that entry, or can't prove that */
        raft_term term;
        uint8_t kind;
        struct digest hash; /* of the entry's bytes */
    } said[LIMIT_NODES + 1], what;
};

struct repair {
    uint64_t since; /* tick: of the start, or when something was put back last */
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

raft_term driver_known_term(const struct driver *d, raft_index index)
{
    raft_term term;
    if (index == d->position.raft_index) return d->position.raft_term;
    return log_term(d->o.log, &term, index) == OK ? term : 0;
}

static enum step first_step(const struct wanted *w) { return w->anchor.index ? STEP_ANCHOR : STEP_ENTRY; }

static void begin_step(struct driver *d, struct said *said, enum step step)
{
    said->step = step;
    said->since = d->repair_asks + 1;
}

static void want(struct driver *d, struct wanted *w, raft_index index, raft_index last)
{
    w->index = index;
    w->term = driver_known_term(d, index);
    for (raft_index i = index + 1; w->term == 0 && w->anchor.index == 0 && i <= last; i++) {
        raft_term term = driver_known_term(d, i);
        if (term) w->anchor = (struct raft_position){i, term};
    }
    for (unsigned peer = 1; peer <= LIMIT_NODES; peer++)
        begin_step(d, &w->said[peer], first_step(w));
}

static raft_index asked_for(const struct wanted *w, const struct said *said)
{
    return said->step == STEP_ANCHOR || said->step == STEP_ANCHOR_AGAIN ? w->anchor.index : w->index;
}

static void ask(struct driver *d, unsigned peer, const struct wanted *w)
{
    raft_index index = asked_for(w, &w->said[peer]);
    buffer_clear(&d->out);
    pack_array(&d->out, 1);
    pack_uint(&d->out, index);
    peers_send(d->o.peers, peer, PEER_BLOCK_ASK, ++d->repair_asks, buffer_bytes(&d->out));
}

static void ask_all(struct driver *d)
{
    struct repair *r = d->repair;
    for (unsigned i = 0; r && i < r->count; i++)
        for (unsigned peer = 1; peer <= d->o.genesis->member_count; peer++) {
            const struct wanted *w = &r->window[i];
            bool open = w->said[peer].step != STEP_GAVE || w->agreed;
            if (peer != d->o.self && !w->taken && open) ask(d, peer, w);
        }
}

void driver_repair_start(struct driver *d)
{
    struct log_status status;
    uint64_t index;
    log_status(d->o.log, &status);
    driver_repair_free(d);
    d->repair = xcalloc(1, sizeof *d->repair);
    struct repair *r = d->repair;
    r->since = d->ticks;
    uint64_t from = status.first;
    for (; r->count < REPAIR_WINDOW && next_damage(d->o.log, &index, from); from = index + 1)
        want(d, &r->window[r->count++], index, status.last);
    if (r->count == 0) { /* the log thread has trimmed or cut it meanwhile */
        driver_repair_free(d);
        return;
    }
    log_warning("driver", "%llu entries of the log are damaged, from %llu on: fetching them from peers",
                (unsigned long long)status.damaged, (unsigned long long)r->window[0].index);
    ask_all(d);
}

/* ---- giving up ---- */

static const struct wanted *first_open(const struct repair *r)
{
    for (unsigned i = 0; i < r->count; i++)
        if (!r->window[i].taken) return &r->window[i];
    return NULL;
}

static unsigned lacking(const struct driver *d, const struct wanted *w)
{
    unsigned count = 0;
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        count += w->said[i].lacks;
    return count;
}

/* As they claim themselves (driver_past.c). */
static bool is_behind(const struct driver *d, const struct wanted *w)
{
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        if (w->said[i].lacks && d->pasts[i].index >= w->index) return true;
    return false;
}

/* Lists of whom no word came of this entry. */
static void silent(const struct driver *d, const struct wanted *w, char *out, size_t size)
{
    size_t used = 0;
    for (unsigned i = 1; i <= d->o.genesis->member_count; i++)
        if (i != d->o.self && !w->said[i].lacks && w->said[i].step != STEP_GAVE)
            used += (size_t)snprintf(out + used, size - used, used ? ", %u" : "%u", i);
}

/* It is not for this node alone to decide how to go on: people must know what it waits for. */
static void tell(struct driver *d, raft_index index, const char *who)
{
    if (d->repair_told && d->ticks - d->repair_told < TELL_TICKS) return;
    d->repair_told = d->ticks;
    log_error("driver", "entry %llu of this node's log is damaged, and too few others have it: this node takes no part",
              (unsigned long long)index);
    if (who[0])
        log_error("driver", "nothing of that entry came from nodes %s, which are down or have it damaged, too: start "
                  "them. Where their disks are lost, see consiliumd accept-loss", who);
    else
        log_error("driver", "it is asked for again, and a state that has it: leave this node and the others running");
}

/* The first one: what becomes of it shows what becomes of the others. */
static void give_up(struct driver *d)
{
    char who[LIMIT_NODES * 4] = "";
    struct repair *r = d->repair;
    const struct wanted *w = r && r->writing == 0 ? first_open(r) : NULL;
    if (!w) return;
    struct without without = {.index = w->index,
                              .lacking = lacking(d, w),
                              .behind = is_behind(d, w),
                              .waited = d->ticks - r->since >= PATIENCE_TICKS};
    if (!without.waited && without.lacking + 1 < d->o.genesis->member_count) return;
    silent(d, w, who, sizeof who);
    if (!driver_give_up(d, &without) && without.waited) tell(d, without.index, who);
}

void driver_repair_tick(struct driver *d)
{
    give_up(d);
    ask_all(d);
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
    /* Damaged here, too: that says nothing about whether it was committed. But what the state has can be pulled. */
    if (f->code == ERR_CORRUPT && f->first > d->position.raft_index) return;
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

static bool same(const struct said *a, const struct said *b)
{
    return a->term == b->term && a->kind == b->kind && digest_equal(&a->hash, &b->hash);
}

static void put_back(struct driver *d, struct wanted *w, struct bytes bytes)
{
    struct log_patch *p = xcalloc(1, sizeof *p);
    p->job.kind = LOG_JOB_REPAIR;
    p->entry = (struct raft_entry){
        .index = w->index, .term = w->what.term, .type = (enum raft_entry_type)w->what.kind};
    if (bytes.size > 0) p->entry.blob = raft_blob_copy(bytes);
    if (bytes.size > 0 && !p->entry.blob) {
        free(p);
        return; /* no memory: asked for again */
    }
    w->taken = true;
    d->repair->writing++;
    log_thread_push(d->log, &p->job);
}

/* Asked again with the next tick: it may get it, or come to the same history. */
static void take_lack(struct driver *d, unsigned from, struct wanted *w)
{
    w->said[from].lacks = true;
    begin_step(d, &w->said[from], first_step(w));
}

/* Its word counts from now on. */
static void take_word(struct wanted *w, struct said *said, unsigned faulty)
{
    unsigned count = 0;
    said->step = STEP_GAVE;
    for (unsigned i = 1; i <= LIMIT_NODES; i++)
        count += w->said[i].step == STEP_GAVE && same(&w->said[i], said);
    if (count <= faulty) return;
    w->agreed = true;
    w->what = *said;
}

static void take_anchor(struct driver *d, unsigned from, struct wanted *w, const struct said *answer)
{
    struct said *said = &w->said[from];
    if (answer->term != w->anchor.term) {
        take_lack(d, from, w);
        return;
    }
    if (said->step == STEP_ANCHOR)
        begin_step(d, said, STEP_ENTRY);
    else
        take_word(w, said, d->o.genesis->faulty);
    if (said->step != STEP_GAVE || w->agreed) ask(d, from, w);
}

static void take_entry(struct driver *d, unsigned from, struct wanted *w, const struct said *answer, struct bytes bytes)
{
    struct said *said = &w->said[from];
    bool fits = w->term ? answer->term == w->term : w->anchor.index != 0 && answer->term != 0;
    if (!fits) {
        take_lack(d, from, w);
        return;
    }
    if (answer->kind == RAFT_ENTRY_BLOCK && !is_signed(d, w->index, answer->term, bytes)) {
        driver_every(&d->counters.bad_messages, "a log entry", from, ERR_BAD_SIGNATURE);
        return;
    }
    if (!w->agreed) {
        said->lacks = false;
        said->term = answer->term;
        said->kind = answer->kind;
        said->hash = answer->hash;
        if (w->term) {
            take_word(w, said, d->o.genesis->faulty);
        } else {
            begin_step(d, said, STEP_ANCHOR_AGAIN);
            ask(d, from, w);
        }
    }
    if (w->agreed && same(answer, &w->what)) put_back(d, w, bytes);
}

void driver_block_came(struct driver *d, unsigned from, uint64_t id, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    raft_index index = unpack_uint_max(&u, RAFT_INDEX_MAX);
    struct said answer = {.term = unpack_uint_max(&u, RAFT_TERM_MAX)};
    answer.kind = (uint8_t)unpack_uint_max(&u, RAFT_ENTRY_CONFIG);
    struct bytes bytes = unpack_bin(&u, LIMIT_BLOCK);
    bool repairs = d->phase == DRIVER_OPENING || d->phase == DRIVER_RUNNING;
    if (unpack_done(&u) != OK || !repairs) return;
    if (answer.kind == 0) answer.term = 0; /* it hasn't that entry */
    struct raft_blob view = {.size = (uint32_t)bytes.size, .data = bytes.data};
    struct raft_entry entry = {.type = (enum raft_entry_type)answer.kind, .blob = &view};
    entry_hash(&answer.hash, &entry);
    for (unsigned i = 0; d->repair && i < d->repair->count; i++) {
        struct wanted *w = &d->repair->window[i];
        const struct said *said = &w->said[from];
        if (w->taken || index != asked_for(w, said) || id < said->since) continue;
        if (index == w->index)
            take_entry(d, from, w, &answer, bytes);
        else
            take_anchor(d, from, w, &answer);
    }
}

/* The log refuses what has been cut off, or replaced by another term's, since it was asked for: nothing is wrong then. */
void driver_patched(struct driver *d, enum err code)
{
    if (code != OK && code != ERR_NOT_FOUND && code != ERR_CONFLICT) {
        driver_fail(d, code, "cannot repair the log: %s", err_text(code));
        return;
    }
    struct repair *r = d->repair;
    if (!r) return;
    r->since = d->ticks;
    if (--r->writing > 0) return;
    for (unsigned i = 0; i < r->count; i++)
        if (!r->window[i].taken) return;
    driver_repair_free(d);
    d->fetch_next = 0;
    d->dirty = true;
    driver_open(d);
}

uint64_t driver_repair_log(struct driver *d)
{
    struct log_status status;
    log_status(d->o.log, &status);
    if (d->phase == DRIVER_RUNNING && status.damaged > 0 && !d->repair) driver_repair_start(d);
    return status.damaged;
}
