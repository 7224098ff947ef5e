/* consensus/witness.h: a node of four among messages of the others, of which one lies and signs what it likes: it
 * neither falls, nor takes a root that isn't the ledger's for witnessed, nor quarantines itself, nor cosigns
 * anything smaller than before.
 *
 * The input is a list of steps: what comes, from whom, three numbers. A first number of a step from 240 on is
 * about what stands around it: time passes, reads of the state end, somebody waits, a member is not believed any
 * more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "consensus/witness_internal.h"
#include "consensus/witness_rows.h"
#include "crypto/hash.h"
#include "crypto/keys.h"
#include "crypto/random.h"
#include "ledger/checkpoint.h"
#include "ledger/genesis.h"
#include "ledger/proof.h"
#include "net/peers.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

#define N 4
#define SELF 1
#define LIAR 2
#define ENDS 64 /* blocks applied at most */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uv_loop_t loop;
static struct genesis genesis;
static struct buffer genesis_text;
static struct node_secrets secrets[N + 1];
static struct cosigned_mark *pending, durable;
static bool marked;
static uint64_t applied_size, applied_index, cosigned_most, size_at[ENDS];

static uint64_t now_ns;
static struct state_read *reading; /* of the state's thread, one at a time */
static bool forgot_cosigned, binds_again; /* the latter: as the mark that is pending was given */
static struct waiting {
    struct witness_wait wait;
    bool waits;
    struct witness *witness;
} waiting[4];

/* --- what stands around it --- */

uint64_t clock_monotonic_ns(void) { return now_ns; }
uint64_t clock_wall_ms(void) { return UINT64_C(1790000000000) + now_ns / 1000000; }
uint64_t clock_thread_ns(void) { return 0; }
void clock_format(char out[CLOCK_TEXT_SIZE], uint64_t wall_ms) { (void)wall_ms, strcpy(out, "now"); }

static struct digest root_of(uint64_t size);

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    (void)p, (void)id;
    CHECK(index >= 1 && index <= N && index != SELF);
    if (type != PEER_COSIGN) return OK;
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    uint64_t size = unpack_uint(&u);
    CHECK(size >= cosigned_most);
    cosigned_most = size;
    return OK;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    (void)d;
    if (reading) return ERR_BUSY;
    reading = r;
    return OK;
}

enum err driver_log_cosigned(struct driver *d, struct cosigned_mark *m)
{
    (void)d;
    CHECK(!pending);
    pending = m;
    binds_again = forgot_cosigned;
    return OK;
}

bool driver_cosigned(const struct driver *d, struct cosigned_mark *out)
{
    (void)d;
    if (marked) *out = durable;
    return marked;
}

bool driver_forgot_cosigned(const struct driver *d)
{
    (void)d;
    return forgot_cosigned;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = (struct driver_status){.size = applied_size, .root = root_of(applied_size), .applied = applied_index};
}

enum err proof_root(struct digest *out, struct table_txn *txn, uint64_t size)
{
    (void)txn;
    if (size == 0 || size > applied_size) return ERR_NOT_FOUND;
    *out = root_of(size);
    return OK;
}

void witness_row_keep(struct driver *driver, const struct witnessed *kept) { (void)driver, (void)kept; }

enum err witness_rows_load(struct witnessed *out, unsigned *count, unsigned most, struct store *store)
{
    (void)out, (void)most, (void)store;
    *count = 0;
    return OK;
}

/* --- the ledger, and what is told of it --- */

static struct digest root_of(uint64_t size)
{
    struct digest root;
    uint8_t bytes[8];
    put_be64(bytes, size);
    hash_sha256(&root, bytes, sizeof bytes);
    return root;
}

/* The liar's roots are any; the others' are the ledger's. */
static struct digest told_root(unsigned from, uint64_t size, uint8_t which)
{
    struct digest root = root_of(size);
    if (from == LIAR) root.bytes[0] ^= which;
    return root;
}

static void pack_tell(struct buffer *out, unsigned from, uint64_t size, uint64_t index, uint8_t which)
{
    static const char tag[] = "consilium/tell/v1\n";
    uint8_t bytes[sizeof tag - 1 + 32 + 8 + 32 + 8 + 8];
    struct digest root = told_root(from, size, which);
    struct signature signature;
    uint8_t *at = bytes;
    memcpy(at, tag, sizeof tag - 1), at += sizeof tag - 1;
    memcpy(at, genesis.cluster.bytes, 32), at += 32;
    put_be64(at, size), at += 8;
    memcpy(at, root.bytes, 32), at += 32;
    put_be64(at, index), at += 8;
    put_be64(at, 1);
    sign_message(&signature, &secrets[from].message, BYTES(bytes));
    pack_array(out, 5);
    pack_uint(out, size);
    pack_digest(out, &root);
    pack_uint(out, index);
    pack_uint(out, 1);
    pack_bin(out, signature.bytes, sizeof signature.bytes);
}

static struct cosignature cosignature_of(unsigned from, const struct checkpoint *checkpoint)
{
    struct cosignature c = {.time_s = 1};
    checkpoint_cosign(&c, checkpoint, 1, &secrets[from].cosign);
    return c;
}

static void pack_cosign(struct buffer *out, unsigned from, uint64_t size, uint8_t which)
{
    struct digest root = told_root(from, size, which);
    struct checkpoint checkpoint;
    checkpoint_set(&checkpoint, &genesis, size, &root);
    struct cosignature c = cosignature_of(from, &checkpoint);
    pack_array(out, 4);
    pack_uint(out, size);
    pack_digest(out, &root);
    pack_uint(out, c.time_s);
    pack_bin(out, c.signature.bytes, sizeof c.signature.bytes);
}

/* A note: of the liar alone any root, else the ledger's by some. */
static void pack_note(struct buffer *out, unsigned from, uint64_t size, uint8_t mask)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature list[LIMIT_NODES] = {{0}};
    struct digest root = told_root(from, size, mask & 8);
    struct checkpoint checkpoint;
    struct buffer note = {0};
    uint32_t count = cosigners_of_genesis(cosigners, &genesis);
    checkpoint_set(&checkpoint, &genesis, size, &root);
    bool honest = from != LIAR || !(mask & 8);
    for (unsigned i = 1; i <= N; i++)
        if (i == from || (honest && i != SELF && mask >> (i - 2) & 1)) list[i - 1] = cosignature_of(i, &checkpoint);
    checkpoint_format(&note, &checkpoint, cosigners, list, count);
    pack_array(out, 1);
    pack_bytes(out, buffer_bytes(&note));
    buffer_free(&note);
}

/* --- steps --- */

static void apply(struct witness *w, uint8_t leaves)
{
    if (applied_index + 1 == ENDS) return;
    applied_size += leaves % 4;
    size_at[++applied_index] = applied_size;
    struct driver_applied a = {.raft_index = applied_index, .raft_term = 1, .size = applied_size,
                               .root = root_of(applied_size), .time_ms = applied_index};
    witness_applied(w, &a);
}

static void finish_mark(bool good)
{
    struct cosigned_mark *m = pending;
    if (!m) return;
    pending = NULL;
    if (good) {
        CHECK(!marked || m->size > durable.size || binds_again);
        durable = *m;
        marked = true;
    }
    m->done(m, good ? OK : ERR_CONFLICT);
}

static void on_witnessed(void *data, uint64_t size) { (void)data, (void)size; }

static void on_quarantine(void *data, const char *why)
{
    (void)data, (void)why;
    CHECK(!"one liar made it quarantine itself");
}

static void on_evidence(void *data, const char *kind, unsigned named, uint64_t size, struct bytes evidence)
{
    (void)data, (void)kind, (void)size, (void)evidence;
    CHECK(named == LIAR);
}

static void check(const struct witness *w)
{
    static uint64_t before;
    struct bytes note;
    uint64_t size, index, term;
    struct digest root;
    if (!witness_newest(w, &note, &size, &root, &index, &term)) {
        before = 0;
        return;
    }
    struct digest ours = root_of(size);
    CHECK(size >= before && size <= applied_size && digest_equal(&root, &ours));
    before = size;
}

/* --- around it --- */

static void end_read(bool good)
{
    struct state_read *r = reading;
    if (!r) return;
    reading = NULL;
    r->done(r, good ? r->run(r, NULL) : ERR_IO);
}

static void wait_done(struct witness_wait *wait, enum err code)
{
    struct waiting *one = wait->data;
    bool witnessed = wait->leaf_index < witness_size(one->witness);
    CHECK(one->waits && (code == OK) == witnessed);
    CHECK(code == OK || code == ERR_STOPPED || (code == ERR_NOT_WITNESSED && now_ns >= wait->deadline_ns));
    one->waits = false;
}

static void begin_waiting(struct witness *w, const uint8_t *s)
{
    struct waiting *one = &waiting[s[1] % 4];
    if (one->waits) return;
    one->waits = true;
    one->witness = w;
    one->wait = (struct witness_wait){.leaf_index = s[2] % 64, .deadline_ns = now_ns + s[3] * UINT64_C(10000000),
                                      .data = one, .done = wait_done};
    witness_wait(w, &one->wait);
}

static void stop_waiting(struct witness *w, const uint8_t *s)
{
    struct waiting *one = &waiting[s[1] % 4];
    if (one->waits) witness_wait_cancel(w, &one->wait);
    one->waits = false;
}

/* What others ask it. */
static void ask(const struct witness *w, const uint8_t *s)
{
    struct digest root, ours;
    uint64_t term;
    const struct witnessed *kept = witness_before(w, s[2]);
    CHECK(!kept || (kept->raft_index > 0 && kept->raft_index <= s[2]));
    if (kept && witness_stood_at(w, &term, kept, s[3])) CHECK(term == 1 && s[3] <= applied_index);
    if (witness_was_at(w, &root, s[3], 1, s[4])) {
        ours = root_of(s[4]);
        CHECK(digest_equal(&root, &ours));
    }
    (void)witness_time_ms(w);
}

static void around(struct witness *w, const uint8_t *s)
{
    switch (s[0] % 8) {
    case 0:
        now_ns += s[2] * UINT64_C(20000000);
        w->timer.timer_cb(&w->timer);
        break;
    case 1: end_read(s[2] & 1); break;
    case 2: begin_waiting(w, s); break;
    case 3: stop_waiting(w, s); break;
    case 4: witness_exclude(w, LIAR); break;
    case 5: witness_withdraw(w, LIAR, s[2] & 1, s[2] & 1 ? s[3] : 0); break;
    case 6: forgot_cosigned = s[2] & 1; break;
    case 7: ask(w, s); break;
    }
}

static void step(struct witness *w, const uint8_t *s, struct bytes rest)
{
    if (s[0] >= 240) {
        around(w, s);
        return;
    }
    static const uint32_t types[] = {PEER_TELL, PEER_PACE, PEER_COSIGN, PEER_NOTE_PUSH, PEER_TOLD};
    unsigned from = LIAR + s[1] % 3;
    uint64_t size = 1 + s[2] % 32, index = 1 + s[3] % 32;
    bool honest = from != LIAR;
    if (honest && s[0] % 8 == 3) { /* they tell what they applied, as we did */
        if (index > applied_index) return;
        size = size_at[index];
    }
    uint32_t type = types[(s[1] >> 4) % (sizeof types / sizeof types[0])];
    struct buffer body = {0};
    switch (s[0] % 8) {
    case 0: apply(w, s[1]); return;
    case 1: finish_mark(s[1] & 1); return;
    case 2: witness_role(w, s[1] & 1, s[2]); return;
    case 3: pack_tell(&body, from, size, index, s[4]), type = s[1] & 8 ? PEER_PACE : PEER_TELL; break;
    case 4: pack_cosign(&body, from, size, s[4]), type = PEER_COSIGN; break;
    case 5: pack_note(&body, from, size, s[4]), type = PEER_NOTE_PUSH; break;
    case 6: witness_peer_up(w, from); return;
    case 7: buffer_append(&body, rest.data, rest.size < s[4] ? rest.size : s[4]); break;
    }
    if (from == LIAR && s[4] == 255 && body.size && s[0] % 8 < 6) body.data[body.size - 1] ^= 1; /* of a signature */
    if (type == PEER_TELL && s[0] % 8 == 3 && s[1] & 128) { /* shown by the next one */
        struct buffer tell = body;
        body = (struct buffer){0};
        pack_array(&body, 1);
        pack_array(&body, 2);
        pack_uint(&body, from);
        pack_bytes(&body, buffer_bytes(&tell));
        buffer_free(&tell);
        from = LIAR + (s[1] + 1) % 3;
        type = PEER_TOLD;
    }
    CHECK(!body.failed);
    if (s[0] % 8 < 6) fuzz_taken = true; /* well-formed */
    witness_message(w, from, type, buffer_bytes(&body));
    buffer_free(&body);
}

static void make_genesis(void)
{
    crypto_init();
    log_setup(LOG_ERROR, false);
    sample_genesis_parsed(&genesis, &genesis_text, N, 1);
    for (unsigned i = 1; i <= N; i++) sample_node_secrets(&secrets[i], i);
    uv_loop_init(&loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct witness *w;
    if (!genesis.member_count) make_genesis();
    pending = NULL;
    marked = forgot_cosigned = false;
    reading = NULL;
    now_ns = UINT64_C(1000) * 1000000000;
    memset(waiting, 0, sizeof waiting);
    applied_size = 1;
    applied_index = cosigned_most = 0;
    struct witness_options o = {.loop = &loop, .genesis = &genesis, .self = SELF, .keys = &secrets[SELF],
                                .on_witnessed = on_witnessed, .on_quarantine = on_quarantine,
                                .on_evidence = on_evidence};
    CHECK(witness_start(&w, &o, NULL) == OK);
    for (; size >= 5; data += 5, size -= 5) {
        step(w, data, bytes_of(data + 5, size - 5));
        check(w);
    }
    witness_stop(w);
    end_read(true);
    for (unsigned i = 0; i < sizeof waiting / sizeof waiting[0]; i++) CHECK(!waiting[i].waits);
    uv_run(&loop, UV_RUN_DEFAULT);
    witness_free(w);
    return 0;
}
