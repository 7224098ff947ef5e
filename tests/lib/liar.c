/* liar: a node that lies, for tests. The real node, with a few functions wrapped
 * by the linker (--wrap), so that the product has no hook for it:
 *
 *   liar --mode key ...    deals a wrong sub-share to member 1, and answers its complaint wrongly too
 *   liar --mode share ...  gives shares of another point than it should
 *   liar --mode list ...   leaves out the last of the records that a read opens, in what it answers its own clients
 *   liar --mode row ...    says of each record that a read opens another author, in what it answers its own clients
 *   liar --mode time ...   its clock is an hour ahead, and it does not hold back from leading
 *   liar --mode clock ...  its clock is ahead by the seconds that the file named by LIAR_WHEN says; that is all
 *   liar --mode fork ...   as leader it sends one follower other blocks than all others, signed for the same places
 *   liar --mode split ...  the same, and it tells and cosigns no roots, so that nobody else decides the matter
 *   liar --mode quiet ...  as fork, and it states no commits: only the two blocks prove it
 *   liar --mode roots ...  tells one node other roots than the others
 *   liar --mode commit ... as leader it states the commit of another block than it sent
 *   liar --mode accuse ... says of the victim that its data was modified, and that it forked, once
 *   liar --mode late ...   asks and says what stands in its log a second late: no lie, but what a load does
 *   liar --mode slow ...   digests its state row by row, and stays where it is while the file named by LIAR_WHEN
 *                          exists: no lie, but what a large state does
 *   liar --mode note ...   shows clients a checkpoint that is none, as the first word in the file named by LIAR_WHEN
 *                          says: few (one cosigner is left out), twice (one stands in another's place), stranger
 *                          (whom nobody knows does), cluster (it is of another), fork (another root, that only it
 *                          cosigned); stubborn: the one that it has, and it goes on whatever is proved against it
 *
 * The six before late lie once the file named by LIAR_WHEN exists (always without it), to the member
 * LIAR_VICTIM (3); all but accuse stand for election sooner than honest nodes. The other arguments are consiliumd's.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/pack.h"
#include "consensus/driver.h"
#include "consensus/entry.h"
#include "consensus/peer_messages.h"
#include "consensus/raft.h"
#include "consensus/witness.h"
#include "crypto/keys.h"
#include "crypto/dkg.h"
#include "crypto/tdh2.h"
#include "ledger/checkpoint.h"
#include "ledger/evidence.h"
#include "ledger/genesis.h"
#include "ledger/state_digest.h"
#include "net/peers.h"
#include "net/protocol.h"
#include "node/integrity.h"

#define HOUR_MS 3600000

static bool lies_key, lies_share, lies_time, lies_clock, lies_fork, lies_split, lies_roots, lies_commit, lies_note;
static bool lies_accuse, lies_slow, lies_quiet, lies_late, lies_list, lies_row;
static struct driver_options own; /* genesis, keys, self */
static unsigned victim = 3;

void __real_dkg_subshare(struct scalar *out, const struct dkg_polynomial *polynomial, uint32_t node);
void __wrap_dkg_subshare(struct scalar *out, const struct dkg_polynomial *polynomial, uint32_t node);
void __real_tdh2_share_point(struct point *d, const struct scalar *x, const struct point *u);
void __wrap_tdh2_share_point(struct point *d, const struct scalar *x, const struct point *u);
uint64_t __real_clock_wall_ms(void);
uint64_t __wrap_clock_wall_ms(void);
void __real_driver_set_clock_ok(struct driver *d, bool ok);
void __wrap_driver_set_clock_ok(struct driver *d, bool ok);
enum err __real_driver_start(struct driver **out, const struct driver_options *options, struct failure *failure);
enum err __wrap_driver_start(struct driver **out, const struct driver_options *options, struct failure *failure);
void __real_raft_message_encode(struct buffer *out, struct raft_lent *lent, const struct raft_message *message,
                                unsigned version);
void __wrap_raft_message_encode(struct buffer *out, struct raft_lent *lent, const struct raft_message *message,
                                unsigned version);
void __real_raft_options_default(struct raft_options *options);
void __wrap_raft_options_default(struct raft_options *options);
void __real_statement_sign(struct buffer *out, const struct block_place *place, const struct sign_secret *secret);
void __wrap_statement_sign(struct buffer *out, const struct block_place *place, const struct sign_secret *secret);
enum err __real_peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body);
enum err __wrap_peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body);
void __real_message_note_encode(struct buffer *out, const struct message_note *m);
void __wrap_message_note_encode(struct buffer *out, const struct message_note *m);
enum err __real_witness_start(struct witness **out, const struct witness_options *options, struct failure *failure);
enum err __wrap_witness_start(struct witness **out, const struct witness_options *options, struct failure *failure);
void __real_driver_quarantine(struct driver *d, const char *why);
void __wrap_driver_quarantine(struct driver *d, const char *why);
enum err __real_state_scan_step(struct state_scan *scan, struct state_digest *out, struct table_txn *txn,
                                uint64_t bytes);
enum err __wrap_state_scan_step(struct state_scan *scan, struct state_digest *out, struct table_txn *txn,
                                uint64_t bytes);
void __real_message_applied_encode(struct buffer *out, const struct message_applied *m);
void __wrap_message_applied_encode(struct buffer *out, const struct message_applied *m);
int __real_main(int argc, char **argv);
int __wrap_main(int argc, char **argv);

/* Wrong for one receiver: member 1. (The liar of the tests is another one.) */
void __wrap_dkg_subshare(struct scalar *out, const struct dkg_polynomial *polynomial, uint32_t node)
{
    __real_dkg_subshare(out, polynomial, node);
    if (!lies_key || node != 1) return;
    struct scalar one = scalar_from_uint(1);
    scalar_add(out, out, &one);
}

void __wrap_tdh2_share_point(struct point *d, const struct scalar *x, const struct point *u)
{
    __real_tdh2_share_point(d, x, u);
    if (lies_share) point_add(d, d, &POINT_GENERATOR);
}

static unsigned seconds_ahead(void)
{
    unsigned seconds = 0;
    const char *when = getenv("LIAR_WHEN");
    FILE *f = when ? fopen(when, "re") : NULL;
    if (f && fscanf(f, "%u", &seconds) != 1) seconds = 0;
    if (f) fclose(f);
    return seconds;
}

uint64_t __wrap_clock_wall_ms(void)
{
    uint64_t ahead = lies_time ? HOUR_MS : lies_clock ? (uint64_t)seconds_ahead() * 1000 : 0;
    return __real_clock_wall_ms() + ahead;
}

void __wrap_driver_set_clock_ok(struct driver *d, bool ok)
{
    if (!lies_time) __real_driver_set_clock_ok(d, ok);
}

/* ---- forks ---- */

static bool is_time(void)
{
    const char *when = getenv("LIAR_WHEN");
    return !when || access(when, F_OK) == 0;
}

enum err __wrap_driver_start(struct driver **out, const struct driver_options *options, struct failure *failure)
{
    own = *options;
    return __real_driver_start(out, options, failure);
}

void __wrap_raft_options_default(struct raft_options *options)
{
    __real_raft_options_default(options);
    if (lies_fork || lies_commit || lies_roots) options->election_ticks = 3 * options->heartbeat_ticks + 2;
}

/* The block of the same time without any request, signed for the same place; NULL: it has none anyway. */
static struct raft_blob *other_block(const struct raft_entry *e)
{
    struct entry entry;
    struct block block;
    struct buffer b = {0};
    struct block_place place = {.cluster = own.genesis->cluster, .term = e->term, .index = e->index};
    if (e->type != RAFT_ENTRY_BLOCK || entry_open(&entry, raft_blob_bytes(e->blob)) != OK || entry.signer != own.self ||
        block_decode(&block, entry.block) != OK)
        return NULL;
    uint64_t time_ms = block.time_ms;
    bool empty = block.count == 0;
    block_free(&block);
    if (empty) return NULL;
    CHECK(buffer_extend(&b, ENTRY_HEAD));
    block_encode(&b, time_ms, NULL, 0);
    entry_sign(&b, &place, own.self, &own.keys->message);
    struct raft_blob *blob = raft_blob_copy(buffer_bytes(&b));
    buffer_free(&b);
    return blob;
}

void __wrap_raft_message_encode(struct buffer *out, struct raft_lent *lent, const struct raft_message *message,
                                unsigned version)
{
    struct raft_message m = *message;
    if (lies_quiet && is_time()) m.extra = (struct bytes){0};
    if (!lies_fork || m.type != RAFT_APPEND || m.to != victim || m.entry_count == 0 || !is_time()) {
        __real_raft_message_encode(out, lent, &m, version);
        return;
    }
    m.entries = calloc(m.entry_count, sizeof *m.entries);
    CHECK(m.entries);
    struct raft_blob **made = calloc(m.entry_count, sizeof(struct raft_blob *));
    CHECK(made);
    for (size_t i = 0; i < m.entry_count; i++) {
        m.entries[i] = message->entries[i];
        made[i] = other_block(&m.entries[i]);
        if (made[i]) m.entries[i].blob = made[i];
    }
    __real_raft_message_encode(out, lent, &m, version);
    for (size_t i = 0; i < m.entry_count; i++)
        raft_blob_release(made[i]);
    free(made);
    free(m.entries);
}

void __wrap_statement_sign(struct buffer *out, const struct block_place *place, const struct sign_secret *secret)
{
    struct block_place other = *place;
    if (lies_commit && is_time()) other.hash.bytes[0] ^= 1;
    __real_statement_sign(out, &other, secret);
}

/* ---- roots ---- */

static void other_root(struct buffer *out, struct bytes tell)
{
    struct statement s = {.kind = STATEMENT_TELL};
    struct unpack u = unpack_start(tell);
    unpack_array_of(&u, 5);
    s.size = unpack_uint(&u);
    s.hash = unpack_digest(&u);
    s.index = unpack_uint(&u);
    s.term = unpack_uint(&u);
    s.hash.bytes[0] ^= 1;
    evidence_statement_sign(&s, &own.genesis->cluster, &own.keys->message);
    pack_array(out, 5);
    pack_uint(out, s.size);
    pack_digest(out, &s.hash);
    pack_uint(out, s.index);
    pack_uint(out, s.term);
    pack_bin(out, s.signature.bytes, sizeof s.signature.bytes);
}

/* By the way of all findings; what would have to be proved, with what proves nothing. On the loop's thread. */
static void accuse(void)
{
    static bool done;
    struct finding f = {.kind = ALARM_MODIFIED, .named = victim, .first = 1, .last = 1, .text = "a lie"};
    if (done || !is_time()) return;
    done = true;
    integrity_found(own.data, &f, (struct bytes){0});
    f.kind = ALARM_FORKED;
    integrity_found(own.data, &f, bytes_text("evidence"));
}

/* From the first of these messages on. */
static bool is_late(uint32_t type)
{
    static uint64_t since_ns;
    uint64_t now = clock_monotonic_ns();
    if (!lies_late || !is_time() || (type != PEER_HEADS_ASK && type != PEER_HEADS)) return false;
    if (since_ns == 0) since_ns = now;
    return now - since_ns < UINT64_C(1000000000);
}

enum err __wrap_peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    bool told = type == PEER_TELL || type == PEER_PACE;
    struct buffer lie = {0};
    bool of_roots = told || type == PEER_COSIGN || type == PEER_NOTE_PUSH || type == PEER_TOLD;
    if (lies_accuse) accuse();
    if ((lies_split && of_roots && is_time()) || is_late(type)) return OK;
    if (!lies_roots || !told || index != victim || !is_time()) return __real_peers_send(p, index, type, id, body);
    other_root(&lie, body);
    enum err e = __real_peers_send(p, index, type, id, buffer_bytes(&lie));
    buffer_free(&lie);
    return e;
}

/* ---- checkpoints ---- */

static bool which_lie(char word[static 20])
{
    const char *when = getenv("LIAR_WHEN");
    FILE *f = when ? fopen(when, "r") : NULL;
    bool got = f && fscanf(f, "%19s", word) == 1;
    if (f) fclose(f);
    return got;
}

/* A line like a cosignature, by a key of its own. */
static void add_stranger(struct buffer *out, const struct checkpoint *c, uint64_t time_s)
{
    struct sign_secret secret;
    struct cosigner stranger;
    struct cosignature signature;
    struct buffer alone = {0};
    struct sign_public key;
    static const uint8_t seed[32] = {20, 26};
    sign_keypair(&secret, &key, seed);
    cosigner_set(&stranger, "example.org/stranger", &key);
    checkpoint_cosign(&signature, c, time_s, &secret);
    checkpoint_format(&alone, c, &stranger, &signature, 1);
    const uint8_t *line = (const uint8_t *)memmem(alone.data, alone.size, "\n\n", 2) + 2;
    buffer_append(out, line, (size_t)(alone.data + alone.size - line));
    buffer_free(&alone);
}

static void line_of(struct buffer *out, const struct note_line *line)
{
    buffer_append_text(out, "\xe2\x80\x94 ");
    buffer_append_bytes(out, line->name);
    buffer_append_text(out, " ");
    buffer_append_bytes(out, line->encoded);
    buffer_append_text(out, "\n");
}

/* The true note's text with its cosigners but the last; who stands in that one's place depends on the lie. */
static void other_cosigners(struct buffer *out, const struct note *note, const char *lie)
{
    buffer_append_bytes(out, note->body);
    buffer_append_text(out, "\n");
    uint32_t few = own.genesis->quorum - 1;
    for (uint32_t i = 0; i < few; i++) line_of(out, &note->lines[i]);
    if (strcmp(lie, "twice") == 0) line_of(out, &note->lines[0]);
    if (strcmp(lie, "stranger") == 0) add_stranger(out, &note->checkpoint, note->lines[0].cosignature.time_s);
}

/* Cosigned by it as by all others that it can't sign for: their cosignatures of the true one. */
static void other_tree(struct buffer *out, const struct note *note, bool of_another_cluster)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature cosignatures[LIMIT_NODES] = {{0}};
    struct checkpoint c = note->checkpoint;
    uint32_t n = cosigners_of_genesis(cosigners, own.genesis);
    if (of_another_cluster)
        c.origin[strlen(c.origin) - 1] ^= 1;
    else
        c.root.bytes[0] ^= 1;
    for (uint32_t i = 0; i < note->count; i++)
        for (uint32_t j = 0; j < n; j++)
            if (bytes_equal(note->lines[i].name, bytes_text(cosigners[j].name)))
                cosignatures[j] = note->lines[i].cosignature;
    checkpoint_cosign(&cosignatures[own.self - 1], &c, note->lines[0].cosignature.time_s, &own.keys->cosign);
    checkpoint_format(out, &c, cosigners, cosignatures, n);
}

static bool is_stubborn(void)
{
    char lie[20] = "";
    return lies_note && which_lie(lie) && strcmp(lie, "stubborn") == 0;
}

static void shrug(void *data, const char *why)
{
    (void)data;
    fprintf(stderr, "STUBBORN: %s\n", why);
}

static void shrug_at(void *data, uint32_t members, uint64_t index, const char *why)
{
    (void)members;
    (void)index;
    shrug(data, why);
}

enum err __wrap_witness_start(struct witness **out, const struct witness_options *options, struct failure *failure)
{
    struct witness_options o = *options;
    if (is_stubborn()) o.on_quarantine = shrug;
    if (is_stubborn()) o.on_contradicted = shrug_at;
    return __real_witness_start(out, &o, failure);
}

void __wrap_driver_quarantine(struct driver *d, const char *why)
{
    if (!is_stubborn()) __real_driver_quarantine(d, why);
}

void __wrap_message_note_encode(struct buffer *out, const struct message_note *m)
{
    char lie[20] = "";
    struct note note;
    struct buffer text = {0};
    if (!lies_note || !which_lie(lie) || strcmp(lie, "stubborn") == 0 || note_parse(&note, m->note) != OK) {
        __real_message_note_encode(out, m);
        return;
    }
    if (strcmp(lie, "cluster") == 0 || strcmp(lie, "fork") == 0)
        other_tree(&text, &note, lie[0] == 'c');
    else
        other_cosigners(&text, &note, lie);
    CHECK(!text.failed);
    __real_message_note_encode(out, &(struct message_note){buffer_bytes(&text)});
    buffer_free(&text);
}

/* ---- lists ---- */

#define READ_ROW 0x99 /* an array of nine: what a read opens is told in such rows, and nothing else is */

static void other_author(struct buffer *out, struct bytes row)
{
    struct unpack u = unpack_start(row);
    unpack_array_of(&u, 9);
    for (int i = 0; i < 6; i++) unpack_raw(&u); /* record, version, patient, kind, confidentiality, author */
    size_t end = row.size - (size_t)(u.end - u.at);
    buffer_append_bytes(out, row);
    if (u.error == OK && !out->failed) out->data[out->size - row.size + end - 1] ^= 1;
}

/* [rows, cursor, left_out] without the last row, or with other authors; nothing where those are other rows. */
static void misstate(struct buffer *out, struct bytes answer)
{
    struct unpack u = unpack_start(answer);
    unpack_array_of(&u, 3);
    uint32_t count = unpack_array(&u, LIMIT_OPENED);
    pack_array(out, 3);
    pack_array(out, lies_row || count == 0 ? count : count - 1);
    for (uint32_t i = 0; i < count && u.error == OK; i++) {
        struct bytes row = unpack_raw(&u);
        if (row.size == 0 || row.data[0] != READ_ROW) unpack_fail(&u, ERR_MALFORMED);
        if (lies_row) other_author(out, row);
        else if (i + 1 < count) buffer_append_bytes(out, row);
    }
    buffer_append_bytes(out, unpack_raw(&u));
    buffer_append_bytes(out, unpack_raw(&u));
    if (count == 0 || unpack_done(&u) != OK) buffer_clear(out);
}

void __wrap_message_applied_encode(struct buffer *out, const struct message_applied *m)
{
    struct message_applied *lie = malloc(sizeof *lie);
    struct buffer *answers = calloc(LIMIT_OPERATIONS, sizeof *answers);
    CHECK(lie && answers);
    *lie = *m;
    for (uint32_t i = 0; (lies_list || lies_row) && i < m->count; i++) {
        if (m->results[i].answer.size) misstate(&answers[i], m->results[i].answer);
        if (answers[i].size) lie->results[i].answer = buffer_bytes(&answers[i]);
    }
    __real_message_applied_encode(out, lie);
    for (uint32_t i = 0; i < LIMIT_OPERATIONS; i++) buffer_free(&answers[i]);
    free(answers);
    free(lie);
}

/* ---- a digest that takes long ---- */

enum err __wrap_state_scan_step(struct state_scan *scan, struct state_digest *out, struct table_txn *txn,
                                uint64_t bytes)
{
    bool held = lies_slow && is_time();
    if (held) fprintf(stderr, "DIGEST HELD\n");
    while (held && is_time()) usleep(10000);
    return __real_state_scan_step(scan, out, txn, lies_slow ? 1 : bytes);
}

/* False: there is no such mode. */
static bool set_mode(const char *mode)
{
    lies_key = strcmp(mode, "key") == 0;
    lies_share = strcmp(mode, "share") == 0;
    lies_time = strcmp(mode, "time") == 0;
    lies_clock = strcmp(mode, "clock") == 0;
    lies_split = strcmp(mode, "split") == 0;
    lies_quiet = strcmp(mode, "quiet") == 0;
    lies_fork = lies_split || lies_quiet || strcmp(mode, "fork") == 0;
    lies_roots = strcmp(mode, "roots") == 0;
    lies_commit = strcmp(mode, "commit") == 0;
    lies_note = strcmp(mode, "note") == 0;
    lies_accuse = strcmp(mode, "accuse") == 0;
    lies_slow = strcmp(mode, "slow") == 0;
    lies_late = strcmp(mode, "late") == 0;
    lies_list = strcmp(mode, "list") == 0;
    lies_row = strcmp(mode, "row") == 0;
    return lies_key || lies_share || lies_time || lies_clock || lies_fork || lies_roots || lies_commit || lies_note ||
           lies_accuse || lies_slow || lies_late || lies_list || lies_row;
}

/* A node that starts itself again, after a rebuild, does so with consiliumd's arguments: the mode is kept beside. */
int __wrap_main(int argc, char **argv)
{
    bool given = argc >= 3 && strcmp(argv[1], "--mode") == 0;
    const char *mode = given ? argv[2] : getenv("LIAR_MODE");
    if (!mode) {
        fprintf(stderr, "usage: liar --mode key|share|list|row|time|clock|fork|split|quiet|roots|commit|accuse|late|slow|"
                        "note run ...\n");
        return 2;
    }
    if (!set_mode(mode)) {
        fprintf(stderr, "liar: no such mode: %s\n", mode);
        return 2;
    }
    if (getenv("LIAR_VICTIM")) victim = (unsigned)atoi(getenv("LIAR_VICTIM"));
    if (!given) return __real_main(argc, argv);
    setenv("LIAR_MODE", mode, 1);
    argv[2] = argv[0];
    return __real_main(argc - 2, argv + 2);
}
