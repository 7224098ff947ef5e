/* consensus/catchup.h and consensus/mend.h: a node that pulls leaves and attachments from three others, of which one
 * lies, and serves what they ask for. What it replays or puts back are the ledger's leaves and attachments and
 * nothing else; it neither falls, nor takes its own state for a contradicted one. Every message of any bytes, too.
 *
 * The first byte is how many leaves it has; then a list of steps: what comes, from whom, three numbers. A first
 * number of a step from 240 on is about what stands around it: all goes well for a while, or the state's thread
 * fails. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus/catchup_internal.h"
#include "consensus/mend.h"
#include "consensus/witness_rows.h"
#include "crypto/keys.h"
#include "crypto/random.h"
#include "ledger/apply.h"
#include "ledger/checkpoint.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/replay.h"
#include "ledger/scan.h"
#include "ledger/state.h"
#include "ledger/tables.h"
#include "net/peers.h"
#include "tests/lib/taken.h"

#define N 4
#define SELF 1
#define LIAR 2
#define LEAVES 40 /* of the ledger */
#define JOBS 32   /* under way at most: more is refused */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uv_loop_t loop;
static struct genesis genesis;
static struct node_secrets secrets[N + 1];
static struct catchup *catchup;
static struct mender *mender;
static struct mend mend;
static bool mending;
static struct buffer notes[LEAVES + 1]; /* of every size, by k nodes */

/* The node's state: so many leaves of the ledger; which attachments it waits for. */
static uint64_t own_size, missing, applied_index;
static uint64_t now_ns;
static struct witnessed newest;
static struct { /* what it asked last: of whom, under which id */
    unsigned of;
    uint64_t id;
} asked[128];
static struct job_waiting {
    struct state_read *read;
    struct state_write *write;
} jobs[JOBS];
static unsigned job_count, jobs_refused; /* so many are, from now on */
static struct attachments_ask wanted; /* as it asked last */

/* --- the ledger --- */

static struct bytes leaf_at(uint64_t i)
{
    static uint8_t leaves[LEAVES];
    CHECK(i < LEAVES);
    leaves[i] = (uint8_t)i;
    return bytes_of(&leaves[i], 1);
}

/* Every second leaf has one. */
static struct bytes attachment_at(uint64_t i)
{
    static uint8_t attachments[LEAVES];
    CHECK(i < LEAVES);
    attachments[i] = (uint8_t)(100 + i);
    return i % 2 ? bytes_of(&attachments[i], 1) : (struct bytes){0};
}

/* Some were erased since, on who is honest. */
static bool erased_at(uint64_t i) { return i % 10 == 9; }

/* The first `size` leaves. */
static const struct tree *tree_at(uint64_t size)
{
    static struct tree trees[LEAVES + 1];
    static uint64_t made;
    CHECK(size <= LEAVES);
    for (; made < size; made++) {
        struct digest hash;
        leaf_hash(&hash, leaf_at(made));
        trees[made + 1] = trees[made];
        tree_append(&trees[made + 1], NULL, &hash);
    }
    return &trees[size];
}

static struct digest root_at(uint64_t size)
{
    struct digest root;
    tree_root(&root, tree_at(size));
    return root;
}

/* The root of leaves [from, to). */
static struct digest part(uint64_t from, uint64_t to)
{
    struct tree t = {0};
    struct digest root;
    for (; from < to; from++) {
        struct digest hash;
        leaf_hash(&hash, leaf_at(from));
        tree_append(&t, NULL, &hash);
    }
    tree_root(&root, &t);
    return root;
}

/* RFC 9162 2.1.4.1: SUBPROOF of the first `m` leaves of [from, to). */
static void subproof(struct tree_proof *p, uint64_t m, uint64_t from, uint64_t to, bool whole)
{
    uint64_t k = 1;
    if (m == to - from) {
        if (!whole) p->hashes[p->count++] = part(from, to);
        return;
    }
    while (2 * k < to - from) k *= 2;
    if (m <= k) {
        subproof(p, m, from, from + k, whole);
        p->hashes[p->count++] = part(from + k, to);
    } else {
        subproof(p, m - k, from + k, to, false);
        p->hashes[p->count++] = part(from, from + k);
    }
}

/* --- what stands around it: time, links, the state --- */

uint64_t clock_monotonic_ns(void) { return now_ns; }
uint64_t clock_wall_ms(void) { return UINT64_C(1790000000000) + now_ns / 1000000; }
uint64_t clock_thread_ns(void) { return 0; }
void clock_format(char out[CLOCK_TEXT_SIZE], uint64_t wall_ms) { (void)wall_ms, strcpy(out, "now"); }

bool peers_up(const struct peers *p, uint32_t index) { return (void)p, index != SELF; }

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    (void)p;
    CHECK(index >= 1 && index <= N && index != SELF && type < 128);
    if (type == PEER_ATTACHMENTS) CHECK(attachments_ask_decode(&wanted, body) == OK);
    asked[type].of = index;
    asked[type].id = id;
    return OK;
}

static enum err take_job(struct job_waiting job)
{
    if (job_count == JOBS) return ERR_BUSY;
    if (jobs_refused > 0) return jobs_refused--, ERR_BUSY;
    jobs[job_count++] = job;
    return OK;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    (void)d;
    return take_job((struct job_waiting){.read = r});
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    (void)d;
    return take_job((struct job_waiting){.write = w});
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = (struct driver_status){.size = own_size, .synced_index = applied_index, .leader = 3};
}

void driver_caught_up(struct driver *d, uint64_t raft_index, uint64_t raft_term, uint64_t size, struct bytes manifest)
{
    (void)d, (void)raft_index, (void)raft_term, (void)manifest;
    CHECK(size <= own_size);
}

void driver_catch_up_failed(struct driver *d, uint64_t raft_index) { (void)d, (void)raft_index; }

void driver_quarantine(struct driver *d, const char *why)
{
    (void)d, (void)why;
    CHECK(!"one liar made it quarantine itself");
}

bool witness_stood_at(const struct witness *w, uint64_t *raft_term, const struct witnessed *kept, uint64_t raft_index)
{
    (void)w, (void)raft_term, (void)kept, (void)raft_index;
    return false;
}

const struct witnessed *witness_before(const struct witness *w, uint64_t most)
{
    (void)w;
    return newest.size && newest.raft_index <= most ? &newest : NULL;
}

bool witness_was_at(const struct witness *w, struct digest *root, uint64_t raft_index, uint64_t raft_term,
                    uint64_t size)
{
    (void)w, (void)raft_term;
    if (raft_index == 0 || size == 0 || size > own_size) return false;
    *root = root_at(size);
    return true;
}

bool witness_newest(const struct witness *w, struct bytes *note, uint64_t *size, struct digest *root,
                    uint64_t *raft_index, uint64_t *raft_term)
{
    (void)w;
    *note = buffer_bytes(&notes[LEAVES]);
    *size = LEAVES;
    *root = root_at(LEAVES);
    *raft_index = *raft_term = 1;
    return true;
}

void witness_take_note(struct witness *w, struct bytes note) { (void)w, (void)note; }

uint64_t ledger_size(const struct ledger *ledger) { return (void)ledger, own_size; }
struct digest ledger_root(const struct ledger *ledger) { return (void)ledger, root_at(own_size); }

void ledger_applied(const struct ledger *ledger, uint64_t *raft_index, uint64_t *raft_term)
{
    (void)ledger;
    *raft_index = applied_index;
    *raft_term = 1;
}

enum err ledger_set_applied(struct ledger *ledger, struct table_txn *txn, uint64_t raft_index, uint64_t raft_term)
{
    (void)ledger, (void)txn, (void)raft_term;
    applied_index = raft_index;
    return OK;
}

enum err ledger_replay(struct ledger *ledger, struct table_txn *txn, struct bytes leaf, struct failure *failure)
{
    (void)ledger, (void)txn, (void)failure;
    CHECK(own_size < LEAVES && bytes_equal(leaf, leaf_at(own_size)));
    if (own_size % 2) missing |= UINT64_C(1) << own_size;
    own_size++;
    return OK;
}

enum err ledger_attach(struct ledger *ledger, struct table_txn *txn, uint64_t leaf_index, struct bytes attachment)
{
    (void)ledger, (void)txn;
    CHECK(leaf_index < own_size && missing >> leaf_index & 1);
    if (!bytes_equal(attachment, attachment_at(leaf_index))) return ERR_ATTACHMENT;
    missing &= ~(UINT64_C(1) << leaf_index);
    return OK;
}

enum err ledger_attachment_missing(uint64_t *leaf_index, struct table_txn *txn, uint64_t from)
{
    (void)txn;
    for (; from < own_size; from++)
        if (missing >> from & 1) return *leaf_index = from, OK;
    return ERR_NOT_FOUND;
}

enum err ledger_attachment(struct buffer *out, struct table_txn *txn, uint64_t leaf_index)
{
    (void)txn;
    if (leaf_index >= own_size || leaf_index % 2 == 0 || missing >> leaf_index & 1) return ERR_NOT_FOUND;
    buffer_clear(out);
    buffer_append_bytes(out, attachment_at(leaf_index));
    return OK;
}

enum err proof_size(uint64_t *size, struct table_txn *txn) { return (void)txn, *size = own_size, OK; }

enum err proof_leaf(struct buffer *out, struct table_txn *txn, uint64_t index)
{
    (void)txn;
    if (index >= own_size) return ERR_NOT_FOUND;
    buffer_clear(out);
    buffer_append_bytes(out, leaf_at(index));
    return OK;
}

enum err proof_root(struct digest *out, struct table_txn *txn, uint64_t size)
{
    (void)txn;
    if (size > own_size) return ERR_INVALID;
    *out = root_at(size);
    return OK;
}

enum err proof_tree(struct tree *out, struct table_txn *txn, uint64_t size)
{
    (void)txn;
    if (size > own_size) return ERR_INVALID;
    *out = *tree_at(size);
    return OK;
}

enum err proof_consistency(struct tree_proof *out, struct table_txn *txn, uint64_t old_size, uint64_t new_size)
{
    (void)txn;
    if (old_size == 0 || old_size > new_size || new_size > own_size) return ERR_INVALID;
    out->count = 0;
    subproof(out, old_size, 0, new_size, true);
    return OK;
}

enum err state_applied_get(struct applied *out, struct table_txn *txn)
{
    (void)txn;
    *out = (struct applied){applied_index, 1};
    return OK;
}

static uint64_t index_of_key(struct bytes key)
{
    CHECK(key.size == 8);
    return get_be64(key.data);
}

enum err table_get(struct table_txn *txn, uint8_t table, struct bytes key, struct buffer *value)
{
    (void)txn;
    CHECK(table == TABLE_CHECKPOINT);
    uint64_t size = index_of_key(key);
    if (size == 0 || size > own_size) return ERR_NOT_FOUND;
    buffer_clear(value);
    buffer_append_bytes(value, key); /* the rest follows from it */
    return OK;
}

enum err witnessed_decode(struct witnessed *out, struct bytes in)
{
    uint64_t size = index_of_key(in);
    *out = (struct witnessed){.size = size, .raft_index = size, .raft_term = 1, .root = root_at(size)};
    buffer_append_bytes(&out->note, buffer_bytes(&notes[size]));
    return OK;
}

enum err table_exists(struct table_txn *txn, uint8_t table, struct bytes key)
{
    (void)txn;
    CHECK(table == TABLE_MISSING);
    uint64_t i = index_of_key(key);
    return i < own_size && missing >> i & 1 ? OK : ERR_NOT_FOUND;
}

enum err table_delete(struct table_txn *txn, uint8_t table, struct bytes key)
{
    (void)txn;
    CHECK(table == TABLE_MISSING && index_of_key(key) < own_size && erased_at(index_of_key(key)));
    missing &= ~(UINT64_C(1) << index_of_key(key));
    return OK;
}

enum err scan_mend_leaf(struct table_txn *txn, bool *changed, bool *gone, const struct tree *before, struct bytes leaf)
{
    (void)txn;
    CHECK(bytes_equal(leaf, leaf_at(before->size)));
    *changed = before->size % 3 == 0;
    *gone = before->size % 2;
    return OK;
}

enum err scan_mend_attachment(struct ledger *ledger, struct table_txn *txn, uint64_t index, struct bytes attachment)
{
    (void)ledger, (void)txn;
    return bytes_equal(attachment, attachment_at(index)) ? OK : ERR_ATTACHMENT;
}

/* --- what is under way --- */

static void finish_job(enum err failed)
{
    struct job_waiting job = jobs[0];
    if (job_count == 0) return;
    memmove(jobs, jobs + 1, --job_count * sizeof jobs[0]);
    if (job.read) {
        enum err e = failed != OK ? failed : job.read->run(job.read, NULL);
        job.read->done(job.read, e);
    } else {
        enum err e = failed != OK ? failed : job.write->run(job.write, NULL, NULL);
        job.write->done(job.write, e);
    }
}

static void mend_done(struct mend *m, enum err code)
{
    CHECK(m == &mend && mending && code != ERR_ROOT && code != ERR_CORRUPT);
    mending = false;
}

static void begin_mending(const uint8_t *s)
{
    uint64_t index = 1 + s[2] % (LEAVES - 1);
    if (mending) return;
    mend = (struct mend){.index = index, .attachment = s[3] & 1, .before = *tree_at(index), .done = mend_done};
    mending = mender_begin(mender, &mend) == OK;
}

static void on_ready(void *data, bool ready) { (void)data, (void)ready; }

/* --- messages --- */

static bool is_well_formed(uint32_t type, struct bytes body)
{
    static union {
        struct manifest_ask manifest_ask;
        struct pull pull;
        struct attachments_ask attachments_ask;
        struct manifest manifest;
        struct pulled pulled;
        struct attached attached;
        struct refusal refusal;
    } m;
    switch (type) {
    case PEER_MANIFEST_ASK: return manifest_ask_decode(&m.manifest_ask, body) == OK;
    case PEER_PULL: return pull_decode(&m.pull, body) == OK;
    case PEER_ATTACHMENTS: return attachments_ask_decode(&m.attachments_ask, body) == OK;
    case PEER_MANIFEST: return manifest_decode(&m.manifest, body) == OK;
    case PEER_PULLED: return pulled_decode(&m.pulled, body) == OK;
    case PEER_ATTACHED: return attached_decode(&m.attached, body) == OK;
    case PEER_FAILED: return refusal_decode(&m.refusal, body) == OK;
    }
    return false;
}

static void give(unsigned from, uint32_t type, uint64_t id, struct bytes body)
{
    if (is_well_formed(type, body)) fuzz_taken = true;
    uint8_t *exact = xmalloc(body.size ? body.size : 1);
    if (body.size) memcpy(exact, body.data, body.size);
    bool asks = type == PEER_MANIFEST_ASK || type == PEER_PULL || type == PEER_ATTACHMENTS;
    if (asks || !mender_message(mender, from, type, id, bytes_of(exact, body.size)))
        catchup_message(catchup, from, type, id, bytes_of(exact, body.size));
    free(exact);
}

static void install(const uint8_t *s)
{
    uint64_t size = 1 + s[2] % LEAVES;
    struct offer offer = {size, root_at(size), buffer_bytes(&notes[size])};
    struct buffer manifest = {0};
    if (s[4] & 2) offer.root.bytes[0] ^= 1;
    if (s[4] & 1) offer_encode(&manifest, &offer);
    catchup_install(catchup, s[3] & 1 ? size : s[3], 1, buffer_bytes(&manifest));
    buffer_free(&manifest);
}

/* Where size n stands is index n; the liar says otherwise, or of another note. */
static void give_manifest(unsigned from, const uint8_t *s)
{
    uint64_t size = s[2] % (LEAVES + 1);
    struct manifest m = {size, 1, size, {{0}}, {0}};
    struct buffer body = {0};
    if (size) {
        m.root = root_at(size);
        m.note = buffer_bytes(&notes[size]);
    }
    if (from == LIAR) {
        m.raft_index += s[3] & 3;
        m.root.bytes[5] ^= s[3] >> 2 & 1;
        if (s[3] & 8) m.note = buffer_bytes(&notes[s[4] % (LEAVES + 1)]);
    }
    manifest_encode(&body, &m);
    give(from, PEER_MANIFEST, asked[PEER_MANIFEST_ASK].id, buffer_bytes(&body));
    buffer_free(&body);
}

static void give_leaves(unsigned from, const uint8_t *s)
{
    static struct pulled p;
    struct buffer leaves = {0}, body = {0};
    bool for_mend = s[4] & 1;
    p.from = for_mend ? mend.index : catchup->tree.size;
    p.to = for_mend ? LEAVES : catchup->target.size;
    if (p.from == 0 || p.from >= p.to) return;
    p.count = 1 + s[2] % (uint32_t)(p.to - p.from);
    p.base = root_at(p.from);
    p.base_proof.count = p.end_proof.count = 0;
    subproof(&p.base_proof, p.from, 0, p.to, true);
    subproof(&p.end_proof, p.from + p.count, 0, p.to, true);
    for (uint32_t i = 0; i < p.count; i++)
        pulled_add_leaf(&leaves, leaf_at(p.from + i));
    if (from == LIAR) {
        if (s[3] & 1) p.base.bytes[0] ^= 1;
        if (s[3] & 2) leaves.data[leaves.size - 1] ^= 1;
        if (s[3] & 4 && p.end_proof.count) p.end_proof.count--;
        if (s[3] & 8) p.from++;
    }
    pulled_encode(&body, &p, buffer_bytes(&leaves));
    give(from, PEER_PULLED, asked[PEER_PULL].id, buffer_bytes(&body));
    buffer_free(&leaves);
    buffer_free(&body);
}

static void give_attachments(unsigned from, const uint8_t *s)
{
    struct buffer items = {0}, body = {0};
    uint32_t count = 0;
    for (uint64_t i = s[2] % LEAVES; i < LEAVES && count < 1u + s[4] % 8; i++) {
        bool here = attachment_at(i).size > 0;
        if (!here) continue;
        uint8_t other = s[3];
        struct bytes bytes = from == LIAR && s[3] & 1 ? bytes_of(&other, 1) : attachment_at(i);
        bool erased = from == LIAR ? s[3] & 2 : erased_at(i);
        enum attachment_state state = erased ? ATTACHMENT_ERASED : ATTACHMENT_HERE;
        attached_add(&items, state, state == ATTACHMENT_HERE ? bytes : (struct bytes){0});
        count++;
    }
    attached_encode(&body, count, buffer_bytes(&items));
    give(from, PEER_ATTACHED, asked[PEER_ATTACHMENTS].id, buffer_bytes(&body));
    buffer_free(&items);
    buffer_free(&body);
}

/* Just what was asked for; the liar's is another's, erased, or not there so far. */
static void give_wanted(unsigned from, const uint8_t *s)
{
    struct buffer items = {0}, body = {0};
    uint32_t count = 0;
    for (; count < wanted.count && !(s[4] && count == s[4]); count++) {
        uint64_t i = wanted.indexes[count] % LEAVES;
        enum attachment_state state = erased_at(i) ? ATTACHMENT_ERASED : ATTACHMENT_HERE;
        if (from == LIAR && s[3] & 1) state = s[3] & 2 ? ATTACHMENT_ERASED : ATTACHMENT_NOT_YET;
        if (from == LIAR && s[3] & 4) i = (i + 1) % LEAVES;
        attached_add(&items, state, state == ATTACHMENT_HERE ? attachment_at(i) : (struct bytes){0});
    }
    attached_encode(&body, count, buffer_bytes(&items));
    if (count) give(from, PEER_ATTACHED, asked[PEER_ATTACHMENTS].id, buffer_bytes(&body));
    buffer_free(&items);
    buffer_free(&body);
}

static void raw(unsigned from, const uint8_t *s, struct bytes rest)
{
    static const struct { uint32_t type, ask; } types[] = {
        {PEER_MANIFEST_ASK, 0}, {PEER_PULL, 0}, {PEER_ATTACHMENTS, 0}, {PEER_MANIFEST, PEER_MANIFEST_ASK},
        {PEER_PULLED, PEER_PULL}, {PEER_ATTACHED, PEER_ATTACHMENTS}, {PEER_FAILED, PEER_PULL},
        {PEER_FAILED, PEER_ATTACHMENTS}};
    unsigned which = s[2] % (sizeof types / sizeof types[0]);
    give(from, types[which].type, s[3] & 1 ? s[3] : asked[types[which].ask].id,
         bytes_of(rest.data, rest.size < s[4] ? rest.size : s[4]));
}

static void ask_it(unsigned from, const uint8_t *s)
{
    static const uint32_t types[] = {PEER_MANIFEST_ASK, PEER_PULL, PEER_ATTACHMENTS};
    struct buffer body = {0};
    uint32_t type = types[s[2] % 3];
    if (type == PEER_MANIFEST_ASK) manifest_ask_encode(&body, &(struct manifest_ask){s[3] % LEAVES, s[4], 1});
    if (type == PEER_PULL) pull_encode(&body, &(struct pull){1 + s[3] % LEAVES, 2 + s[3] % LEAVES + s[4] % 16});
    if (type == PEER_ATTACHMENTS)
        attachments_ask_encode(&body, &(struct attachments_ask){.count = 2, .indexes = {s[3], s[3] + 1 + s[4]}});
    give(from, type, s[1], buffer_bytes(&body));
    buffer_free(&body);
}

/* --- steps --- */

static void pass(uint64_t ms)
{
    now_ns += ms * 1000000;
    catchup->timer.timer_cb(&catchup->timer);
    uv_update_time(&loop);
    uv_run(&loop, UV_RUN_NOWAIT);
}

/* To another that lags, as the driver would. */
static void offer_own(void)
{
    uint64_t raft_index, raft_term;
    struct buffer manifest = {0};
    CHECK(!catchup_ready(catchup) || missing == 0);
    CHECK(catchup_manifest(catchup, &raft_index, &raft_term, &manifest) && raft_index <= applied_index);
    buffer_free(&manifest);
    pass(50);
}

/* Who is asked answers, as an honest one would, and what the state's thread is to do is done. */
static void go_well(unsigned rounds)
{
    while (rounds--) {
        offer_own();
        if (asked[PEER_MANIFEST_ASK].of) give_manifest(3, (const uint8_t[]){0, 0, LEAVES, 0, 0});
        if (asked[PEER_MANIFEST_ASK].of) give_manifest(4, (const uint8_t[]){0, 0, LEAVES, 0, 0});
        if (asked[PEER_PULL].of) give_leaves(asked[PEER_PULL].of, (const uint8_t[]){0, 0, 9, 0, mending});
        if (asked[PEER_ATTACHMENTS].of) give_wanted(asked[PEER_ATTACHMENTS].of, (const uint8_t[]){0, 0, 0, 0, 0});
        while (job_count) finish_job(OK);
    }
}

static void around(const uint8_t *s)
{
    static const enum err failures[] = {ERR_IO, ERR_FULL, ERR_BUSY, ERR_NOMEM};
    switch (s[0] % 4) {
    case 0: go_well(1 + s[2] % 16); break;
    case 1: finish_job(failures[s[2] % 4]); break;
    case 2: jobs_refused = s[2] % 4; break;
    case 3: give_wanted(LIAR + s[1] % (N - 1), s); break;
    }
}

static void step(const uint8_t *s, struct bytes rest)
{
    if (s[0] >= 240) {
        around(s);
        return;
    }
    unsigned from = LIAR + s[1] % (N - 1);
    if (s[1] & 64 && asked[PEER_PULL].of) from = asked[PEER_PULL].of; /* who was asked is who answers */
    if (s[1] & 128 && asked[PEER_ATTACHMENTS].of) from = asked[PEER_ATTACHMENTS].of;
    switch (s[0] % 12) {
    case 0: raw(LIAR, s, rest); break;
    case 1: raw(from == LIAR ? 3 : from, (const uint8_t[]){0, 0, s[2] % 3, 0, s[4]}, rest); break; /* asks only */
    case 2: finish_job(OK); break;
    case 3: pass(s[2] * 10); break;
    case 4: install(s); break;
    case 5: give_manifest(from, s); break;
    case 6: give_leaves(from, s); break;
    case 7: give_attachments(from, s); break;
    case 8: begin_mending(s); break;
    case 9: ask_it(from, s); break;
    case 10: while (job_count) finish_job(OK); break;
    case 11: offer_own(); break;
    }
}

static struct cosignature cosignature_of(unsigned from, const struct checkpoint *checkpoint)
{
    struct cosignature c = {.time_s = 1};
    checkpoint_cosign(&c, checkpoint, 1, &secrets[from].cosign);
    return c;
}

static void make_note(struct buffer *note, uint64_t size)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature list[LIMIT_NODES] = {{0}};
    struct digest root = root_at(size);
    struct checkpoint checkpoint;
    uint32_t count = cosigners_of_genesis(cosigners, &genesis);
    checkpoint_set(&checkpoint, &genesis, size, &root);
    for (unsigned i = 1; i < N; i++) list[i - 1] = cosignature_of(i, &checkpoint);
    checkpoint_format(note, &checkpoint, cosigners, list, count);
}

static void setup(void)
{
    crypto_init();
    log_setup(LOG_ERROR, false);
    strcpy(genesis.origin, "consilium/fuzz");
    strcpy(genesis.checkpoint_origin, "consilium/fuzz/0123456789abcdef");
    genesis.member_count = N;
    genesis.faulty = 1;
    genesis.quorum = 3;
    for (unsigned i = 1; i <= N; i++) {
        uint8_t seed[32] = {(uint8_t)i};
        struct descriptor *d = &genesis.members[i - 1];
        node_keys_derive(&secrets[i], &d->keys, seed);
        snprintf(d->name, sizeof d->name, "node-%u", i);
    }
    for (uint64_t size = 1; size <= LEAVES; size++) make_note(&notes[size], size);
    uv_loop_init(&loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!genesis.member_count) setup();
    if (size == 0) return 0;
    own_size = 1 + data[0] % LEAVES;
    missing = data[0] & 128 ? UINT64_C(0xaaaaaaaaaa) & ((UINT64_C(1) << own_size) - 1) : 0;
    applied_index = own_size;
    now_ns = UINT64_C(1000) * 1000000000;
    newest = (struct witnessed){.size = own_size, .raft_index = own_size, .raft_term = 1, .root = root_at(own_size),
                                .note = notes[own_size]};
    memset(asked, 0, sizeof asked);
    wanted.count = 0;
    mending = false;
    jobs_refused = 0;
    struct catchup_options o = {.loop = &loop, .genesis = &genesis, .self = SELF, .on_ready = on_ready};
    struct mender_options m = {.loop = &loop, .genesis = &genesis, .self = SELF};
    CHECK(catchup_start(&catchup, &o, NULL) == OK);
    mender = mender_new(&m);
    for (data++, size--; size >= 5; data += 5, size -= 5)
        step(data, bytes_of(data + 5, size - 5));
    bool finish = mending;
    catchup_stop(catchup);
    mender_stop(mender);
    while (job_count) finish_job(finish ? ERR_STOPPED : OK);
    uv_run(&loop, UV_RUN_DEFAULT);
    catchup_free(catchup);
    mender_free(mender);
    return 0;
}
