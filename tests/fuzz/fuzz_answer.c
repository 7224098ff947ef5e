/* What a client is told by a node that lies: answers with rows of each kind, shares sealed to it, the collective
 * key's proof, an older checkpoint's file, leaves for people's eyes. The first byte says which. Whatever is taken
 * can be shown. The last ones begin with what is good, since nobody guesses a signature: the key's proof, a checkpoint
 * or receipt, and shares of all members, of which the rest of the input makes some wrong. */
#include "cli/command_import.c" /* its reader is its own */

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/collective.h"
#include "cli/extension.h"
#include "cli/leaf_words.h"
#include "cli/proved_rows.h"
#include "cli/rows.h"
#include "cli/receipt.h"
#include "cli/shares.h"
#include "crypto/random.h"
#include "ledger/leaf.h"
#include "tests/lib/answer_seed.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct genesis *cluster(void)
{
    static struct genesis genesis;
    static struct buffer text;
    if (!text.size) sample_genesis_parsed(&genesis, &text, 4, 1);
    return &genesis;
}

static void show(json_t *row)
{
    char *text = json_dumps(row, JSON_ENSURE_ASCII);
    CHECK(text);
    free(text);
    json_decref(row);
}

/* Answers; each kind of row has its reader. */
#define ROWS(X) X(user_row, user_row) X(team_row, team_row_view) X(record_row, record_row) \
                X(history_row, history_row) X(list_row, list_row) X(log_row, log_row)
#define X(name, type)                                                                              \
    static void read_##name##s(struct bytes in)                                                    \
    {                                                                                              \
        struct answer answer;                                                                      \
        if (answer_open(&answer, in, LIMIT_ROWS) != OK) return;                                    \
        for (uint32_t i = 0; i < answer.count; i++) {                                              \
            struct type row;                                                                       \
            name##_read(&row, &answer.rows);                                                       \
            if (answer.rows.error != OK) return;                                                   \
            show(name##_json(&row));                                                               \
        }                                                                                          \
        CHECK(answer.rows.at == answer.rows.end);                                                  \
        fuzz_taken = true;                                                                         \
    }
ROWS(X)
#undef X

/* Whether the patient of a file is there already: at most one row. */
static void imported_user(struct bytes in)
{
    static struct tool tool;
    static struct submission s;
    struct user_row row = {0};
    bool found = false;
    buffer_append_bytes(&s.outcomes[0].answer, in);
    tool.failure = (struct failure){0};
    enum err e = read_user(&tool, &found, &row, &s);
    CHECK(e == OK || (tool.failure.code == e && tool.failure.text[0]));
    if (e == OK && found) show(user_row_json(&row));
    fuzz_taken = e == OK;
    buffer_free(&s.outcomes[0].answer);
}

/* A row beside a leaf that is proved. */
static void compare_row(struct bytes in)
{
    struct log_row row;
    struct leaf leaf;
    struct unpack u = unpack_start(in);
    log_row_read(&row, &u);
    struct bytes rest = bytes_of(u.at, (size_t)(u.end - u.at));
    if (u.error != OK || leaf_decode(&leaf, rest) != OK) return;
    fuzz_taken = true;
    if (row_fits_leaf(&row, &leaf)) CHECK(row.index == leaf.index && row.time_ms == leaf.time_ms);
}

/* Member 2 signs and seals what it likes; all that a reader does with it. */
static void shares(struct bytes in)
{
    static struct reader reader;
    struct node_secrets secrets;
    struct buffer sealed = {0}, signing = {0}, body = {0};
    struct message_shared m = {.count = 1};
    struct share_set set;
    member_set proved, refuted;
    const struct digest label = {{0}};
    uint8_t seed[32] = {1}, key[32];
    if (in.size == 0) return;
    uint32_t count = 1 + in.data[0] % 4;
    seal_keypair_from_seed(&reader.secret, &reader.public_key, seed);
    sample_node_secrets(&secrets, 2);
    CHECK(seal_box(&sealed, &reader.public_key, bytes_of(in.data + 1, in.size - 1)) == OK);
    struct share_ask ask = {.leaf_index = 7, .count = count};
    share_box_signing(&signing, &ask, buffer_bytes(&sealed));
    struct signature signature;
    sign_message(&signature, &secrets.message, buffer_bytes(&signing));
    m.shares[0] = (struct message_sealed){.member = 2, .sealed = buffer_bytes(&sealed)};
    memcpy(m.shares[0].signature, signature.bytes, sizeof signature.bytes);
    message_shared_encode(&body, &m);
    struct read_extent extent = {count, 0, 0};
    CHECK(share_set_read(&set, cluster(), &reader, &ask, &extent, buffer_bytes(&body)) == OK);
    CHECK(set.holder_count + member_count(set.wrong) == 1 && set.unsigned_set == 0);
    struct collective collective = {.epoch = 1, .n = 4, .key = POINT_GENERATOR};
    struct sealed_item item = {.label = label, .capsule.u = POINT_GENERATOR};
    for (int i = 0; i < 4; i++) collective.verification[i] = POINT_GENERATOR;
    fuzz_taken = set.holder_count == 1;
    for (uint32_t i = 0; set.holder_count && i < count; i++) {
        struct share_sorts sorts = share_set_sort(&set, i, &label, 1);
        CHECK((sorts.fitting | sorts.other | sorts.none) == MEMBER(2));
        CHECK(!set.elsewhere || sorts.other == MEMBER(2));
        share_set_verify(&proved, &refuted, &set, i, &collective, &item, sorts.fitting);
        CHECK((proved | refuted) == sorts.fitting);
        if (sorts.fitting) (void)share_set_open(key, &set, i, &collective, &item, sorts.fitting, 1);
    }
    share_set_free(&set);
    buffer_free(&sealed);
    buffer_free(&signing);
    buffer_free(&body);
}

static void collective_key(struct bytes in)
{
    struct collective key;
    struct failure why = {0};
    CHECK(collective_check(&key, cluster(), in, &why) != OK && why.text[0]); /* nobody's signature stands under it */
}

static void older_checkpoint(struct bytes in)
{
    struct checkpoint old;
    struct failure why = {0};
    CHECK(extension_read_old(&old, in, cluster(), &why) != OK && why.text[0]);
}

static void words(struct bytes in)
{
    char text[300], expected[200], found[200];
    struct leaf leaf;
    struct bytes half = bytes_of(in.data, in.size / 2), rest = bytes_of(in.data + half.size, in.size - half.size);
    leaf_words(text, sizeof text, in);
    CHECK(memchr(text, 0, sizeof text) && text[0]);
    leaf_difference(expected, found, sizeof expected, half, rest);
    CHECK(memchr(expected, 0, sizeof expected) && memchr(found, 0, sizeof found));
    bool both = leaf_decode(&leaf, half) == OK && leaf_decode(&leaf, rest) == OK;
    if (both && !bytes_equal(half, rest)) CHECK(strcmp(expected, found) != 0);
    fuzz_taken = both || leaf_decode(&leaf, in) == OK;
}

/* --- good ones, changed --- */

struct input {
    const uint8_t *at, *end;
};

static uint8_t take(struct input *in) { return in->at < in->end ? *in->at++ : 0; }

/* Bytes of it, as the rest of the input says: where (two bytes), and how. Returns whether any is another one. */
static bool spoil(struct buffer *b, struct input *in)
{
    struct buffer before = {0};
    buffer_append_bytes(&before, buffer_bytes(b));
    while (in->end - in->at >= 3) {
        size_t at = take(in);
        at |= (size_t)take(in) << 8;
        b->data[at % b->size] ^= take(in);
    }
    bool changed = !bytes_equal(buffer_bytes(&before), buffer_bytes(b));
    buffer_free(&before);
    return changed;
}

static const struct genesis *other_cluster(void)
{
    static struct genesis genesis;
    static struct buffer text;
    if (!text.size) sample_genesis_parsed(&genesis, &text, 5, 1); /* its first four members have the same keys */
    return &genesis;
}

/* Which member, what is wrong with its leaf, who has cosigned; then bytes of the whole. */
static void proved_key(struct bytes bytes)
{
    struct input in = {bytes.data, bytes.data + bytes.size};
    uint32_t member = 1 + take(&in) % SEED_MEMBERS;
    enum activation_wrong wrong = take(&in) % ACTIVATION_WRONGS;
    unsigned cosigned = (uint8_t)~take(&in) & 0x1e;
    struct proved_seed seed;
    struct buffer body = {0};
    struct collective key;
    struct failure why = {0};
    const struct threshold_seed *t = threshold_seed();
    proved_seed_make(&seed, cluster(), member, wrong, cosigned);
    struct message_key m = {.leaf = buffer_bytes(&seed.leaf), .index = seed.index, .note = buffer_bytes(&seed.note),
                            .hash_count = seed.path.count};
    memcpy(m.hashes, seed.path.hashes, sizeof m.hashes[0] * seed.path.count);
    message_key_encode(&body, &m);
    bool changed = spoil(&body, &in), enough = __builtin_popcount(cosigned) >= 3;
    enum err e = collective_check(&key, cluster(), buffer_bytes(&body), &why);
    CHECK(e == OK || (why.code == e && why.text[0]));
    if (!changed) CHECK((e == OK) == (wrong == ACTIVATION_RIGHT && enough));
    if (e == OK) {
        CHECK(key.epoch == 1 && key.activation == member && key.n == SEED_MEMBERS);
        CHECK(point_equal(&key.key, &t->collective));
        CHECK(memcmp(key.verification, t->y + 1, SEED_MEMBERS * sizeof t->y[0]) == 0);
        fuzz_taken = true;
    }
    proved_seed_free(&seed);
    buffer_free(&body);
}

static void check_receipt(const struct buffer *text, const struct proved_seed *seed, bool good)
{
    struct receipt receipt;
    struct buffer room = {0};
    struct failure why = {0};
    enum err e = receipt_check(&receipt, &room, cluster(), buffer_bytes(text), &why);
    CHECK(e == OK || (why.code == e && why.text[0]));
    if (good) CHECK(e == OK);
    if (e == OK) {
        CHECK(bytes_equal(receipt.leaf.raw, buffer_bytes(&seed->leaf)) && receipt.leaf.index == seed->index);
        CHECK(__builtin_popcount(receipt.cosigners) >= 3 && receipt.checkpoint.size == SEED_LEAVES);
        struct bytes raw = receipt.leaf.operation.raw;
        const struct sign_public *key = &cluster()->members[seed->index - 1].keys.message;
        CHECK(receipt_check_operation(&receipt.leaf, raw, key, NULL) == OK);
        CHECK(receipt_check_operation(&receipt.leaf, bytes_of(raw.data, raw.size - 1), key, NULL) != OK);
        key = &cluster()->members[4 - seed->index].keys.message; /* another's */
        CHECK(receipt_check_operation(&receipt.leaf, raw, key, NULL) != OK);
    }
    buffer_free(&room);
}

/* What it is (its lowest bit: a receipt; then of another cluster, or of nothing), who has cosigned; then bytes. */
static void held_checkpoint(struct bytes bytes)
{
    struct input in = {bytes.data, bytes.data + bytes.size};
    uint8_t what = take(&in);
    unsigned cosigned = (uint8_t)~take(&in) & 0x1e;
    struct proved_seed seed;
    struct buffer text = {0};
    struct checkpoint old;
    struct failure why = {0};
    const struct genesis *of = what & 2 ? other_cluster() : cluster();
    proved_seed_make(&seed, cluster(), 1 + (what >> 4) % SEED_MEMBERS, ACTIVATION_RIGHT, 0x1e);
    struct digest root = sample_digest(9), empty;
    tree_empty_root(&empty);
    if (what & 6 || !(what & 1)) {
        buffer_clear(&seed.note);
        seed_note(&seed.note, of, what & 4 ? 0 : 9, what & 4 ? &empty : &root, cosigned);
    }
    if (what & 1) receipt_format(&text, buffer_bytes(&seed.leaf), seed.index, seed.path.hashes, seed.path.count,
                                 buffer_bytes(&seed.note));
    else buffer_append_bytes(&text, buffer_bytes(&seed.note));
    bool changed = spoil(&text, &in), enough = (what & 7) == 1 || __builtin_popcount(cosigned) >= 3;
    enum err e = extension_read_old(&old, buffer_bytes(&text), cluster(), &why);
    CHECK(e == OK || (why.code == e && why.text[0]));
    if (!changed) CHECK((e == OK) == (enough && !(what & 6)));
    if (!changed && what & 2 && cosigned) CHECK(e == ERR_OTHER_CLUSTER);
    if (e == OK) CHECK(old.size == (what & 1 ? SEED_LEAVES : 9));
    if (e == OK) fuzz_taken = true;
    check_receipt(&text, &seed, !changed && (what & 7) == 1);
    proved_seed_free(&seed);
    buffer_free(&text);
}

/* What a member does, by the bits of its byte. */
enum {
    M_AWAY = 0x80,
    M_OTHER_LABEL = 1,
    M_NOT_THERE = 2,
    M_OTHER_POINT = 4,
    M_NO_PROOF = 8,
    M_OTHER_PROOF = 0x10,
    M_OTHER_EXTENT = 0x20,
    M_OTHER_SIGNATURE = 0x40
};
#define M_WRONG_BOX (M_OTHER_EXTENT | M_OTHER_SIGNATURE | M_AWAY)
#define ITEMS 2

static void item_of(struct share_item *out, uint32_t member, uint8_t number, uint8_t does)
{
    static struct share_item made[SEED_MEMBERS + 1][ITEMS];
    const struct capsule_seed *c = capsule_seed(number);
    const struct threshold_seed *t = threshold_seed();
    struct share_item *item = &made[member][number];
    if (!item->epoch) {
        struct tdh2_share share = {.leaf_index = 7, .label = c->label, .epoch = 1, .node = member, .d = c->d[member]};
        tdh2_share_prove(&share, &t->x[member], &t->y[member], &c->capsule.u);
        *item = (struct share_item){.label = c->label, .epoch = 1, .has_proof = true};
        memcpy(item->share, share.d.bytes, sizeof item->share);
        memcpy(item->proof, share.proof.e.bytes, 32);
        memcpy(item->proof + 32, share.proof.f.bytes, 32);
    }
    *out = *item;
    if (does & M_NOT_THERE) *out = (struct share_item){.epoch = 0};
    if (does & M_OTHER_LABEL) out->label = sample_digest(8);
    if (does & M_OTHER_POINT) memcpy(out->share, POINT_GENERATOR.bytes, sizeof out->share);
    if (does & M_NO_PROOF) out->has_proof = false;
    if (!out->has_proof) memset(out->proof, 0, sizeof out->proof);
    if (does & M_OTHER_PROOF && out->has_proof) out->proof[32] ^= 1;
}

static void give_shares(struct message_shared *m, struct buffer *sealed, const struct share_ask *ask,
                        const struct reader *reader, uint32_t member, uint8_t does)
{
    struct share_item items[ITEMS];
    struct buffer plain = {0}, signing = {0};
    struct node_secrets secrets;
    struct signature signature;
    struct share_box box = {.leaf_index = 7, .member = member, .extent = {ITEMS + !!(does & M_OTHER_EXTENT), 0, 0},
                            .count = ask->count, .items = items};
    for (uint8_t i = 0; i < ask->count; i++) item_of(&items[i], member, i, does);
    share_box_encode(&plain, &box);
    CHECK(seal_box(sealed, &reader->public_key, buffer_bytes(&plain)) == OK);
    share_box_signing(&signing, ask, buffer_bytes(sealed));
    sample_node_secrets(&secrets, member);
    sign_message(&signature, &secrets.message, buffer_bytes(&signing));
    if (does & M_OTHER_SIGNATURE) signature.bytes[0] ^= 1;
    struct message_sealed *out = &m->shares[m->count++];
    *out = (struct message_sealed){.member = member, .sealed = buffer_bytes(sealed)};
    memcpy(out->signature, signature.bytes, sizeof signature.bytes);
    buffer_free(&plain);
    buffer_free(&signing);
}

/* Who is what, told by what they do. */
static void check_shares(const struct share_set *set, uint32_t item, const uint8_t does[static SEED_MEMBERS + 1])
{
    const struct threshold_seed *t = threshold_seed();
    const struct capsule_seed *c = capsule_seed((uint8_t)item);
    struct collective collective = {.epoch = 1, .n = SEED_MEMBERS, .key = t->collective};
    struct sealed_item sealed = {.capsule = c->capsule, .label = c->label, .context_hash = c->context};
    struct share_sorts sorts = share_set_sort(set, item, &c->label, 1);
    member_set proved, refuted, fitting = 0, right = 0, points = 0;
    uint8_t key[32];
    memcpy(collective.verification, t->y + 1, SEED_MEMBERS * sizeof t->y[0]);
    for (uint32_t i = 1; i <= SEED_MEMBERS; i++) {
        uint8_t d = does[i];
        if (d & M_WRONG_BOX || d & (M_OTHER_LABEL | M_NOT_THERE)) continue;
        fitting |= MEMBER(i);
        if (!(d & M_OTHER_POINT)) points |= MEMBER(i);
        if (!(d & (M_OTHER_POINT | M_NO_PROOF | M_OTHER_PROOF))) right |= MEMBER(i);
    }
    CHECK(sorts.fitting == fitting && !(sorts.fitting & (sorts.other | sorts.none)));
    share_set_verify(&proved, &refuted, set, item, &collective, &sealed, sorts.fitting);
    CHECK(proved == right && refuted == (fitting & ~right));
    enum err e = share_set_open(key, set, item, &collective, &sealed, fitting, SEED_K);
    if (member_count(fitting) < SEED_K) CHECK(e == ERR_TOO_FEW_SHARES);
    else if (fitting == points) CHECK(e == OK);
    else CHECK(e == OK || e == ERR_BAD_SHARE);
    if (e == OK) CHECK(memcmp(key, c->key, sizeof key) == 0);
    e = share_set_open_proved(key, set, item, &sealed, proved, SEED_K);
    CHECK(e == (member_count(proved) < SEED_K ? ERR_TOO_FEW_SHARES : OK));
    if (e == OK) CHECK(memcmp(key, c->key, sizeof key) == 0);
}

/* A byte for each member; then their order, how often, and bytes of the message. */
static void given_shares(struct bytes bytes)
{
    static struct reader reader;
    struct input in = {bytes.data, bytes.data + bytes.size};
    struct message_shared m = {.count = 0};
    struct buffer sealed[SEED_MEMBERS + 1] = {{0}}, body = {0};
    uint8_t seed[32] = {1}, does[SEED_MEMBERS + 1] = {0};
    struct share_ask ask = {.leaf_index = 7, .count = ITEMS, .with_proofs = true};
    struct share_set set;
    member_set away = 0, elsewhere = 0, unsigned_set = 0;
    seal_keypair_from_seed(&reader.secret, &reader.public_key, seed);
    for (uint32_t i = 1; i <= SEED_MEMBERS; i++) {
        does[i] = take(&in);
        away |= does[i] & M_AWAY ? MEMBER(i) : 0;
        unsigned_set |= does[i] & M_OTHER_SIGNATURE ? MEMBER(i) : 0;
        elsewhere |= does[i] & M_OTHER_EXTENT ? MEMBER(i) : 0;
    }
    for (uint32_t i = 1; i <= SEED_MEMBERS; i++)
        if (!(away & MEMBER(i))) give_shares(&m, &sealed[i], &ask, &reader, i, does[i]);
    if (m.count && take(&in) & 1) m.shares[m.count] = m.shares[0], m.count++; /* one comes twice */
    message_shared_encode(&body, &m);
    bool changed = spoil(&body, &in);
    struct read_extent extent = {ITEMS, 0, 0};
    enum err e = share_set_read(&set, cluster(), &reader, &ask, &extent, buffer_bytes(&body));
    CHECK(changed || e == OK);
    if (e == OK) CHECK(set.holder_count + member_count(set.wrong & ~away) <= SEED_MEMBERS);
    for (uint32_t i = 0; !changed && i < ITEMS; i++) {
        CHECK(set.wrong == 0 && set.unsigned_set == (unsigned_set & ~away));
        CHECK(set.elsewhere == (elsewhere & ~away & ~unsigned_set));
        check_shares(&set, i, does);
        fuzz_taken = set.holder_count > 0;
    }
    share_set_free(&set);
    for (int i = 1; i <= SEED_MEMBERS; i++) buffer_free(&sealed[i]);
    buffer_free(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#define X(name, type) read_##name##s,
    static void (*const readers[])(struct bytes) = {ROWS(X) compare_row, shares, collective_key, older_checkpoint,
                                                    words, proved_key, held_checkpoint, given_shares,
                                                    imported_user};
#undef X
    if (size == 0) return 0;
    crypto_init();
    readers[data[0] % (sizeof readers / sizeof readers[0])](bytes_of(data + 1, size - 1));
    return 0;
}
