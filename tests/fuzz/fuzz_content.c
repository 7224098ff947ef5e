/* cli/content.h, content_open: a reader and four nodes of which some lie, about what they serve and about the shares
 * that they hold, alone or together. Records are closed by the client's own code; keys and shares are fixed.
 *
 * Whatever fewer than k liars say, what opens is what was closed, in its place, and what the answer left out is not
 * taken for all; with no more liars than there may be, all of it opens, and nobody else is named. What fails has words.
 *
 * The input: who lies (bits), what the answer said, where reading begins, by which node, then how each lie is told. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/content.h"
#include "crypto/dkg.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "ledger/attachment.h"
#include "tests/lib/link_double.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMBERS 4u
#define FAULTY 1u
#define ITEMS 3u
#define ENTRY 40u /* the read's */

static const char *const texts[ITEMS] = {"the first", "", "the third"};

static struct cluster cluster;
static struct node_secrets secrets[MEMBERS + 1];
static struct collective collective;
static struct reader reader;
static struct sealed {
    struct record_context context;
    struct buffer context_bytes, attachment;
    struct content content; /* views of the attachment */
    struct tdh2_capsule capsule;
    struct share_item shares[MEMBERS + 1]; /* with their proofs */
} items[ITEMS];

/* One input. */
static member_set liars;
static bool one_at_a_time;
static uint32_t next_position, taken_most;
static struct buffer before[MEMBERS + 1];          /* each member's box of an earlier question */
static uint8_t signed_before[MEMBERS + 1][64];

static bool lies(uint32_t member) { return liars & MEMBER(member); }
static bool few_lie(void) { return member_count(liars) < cluster.genesis.quorum; }

/* --- what there is --- */

static void deal(struct scalar shares[static MEMBERS + 1])
{
    struct dkg_polynomial polynomial = {.k = cluster.genesis.quorum};
    struct dkg_commitments commitments;
    for (uint32_t i = 0; i < polynomial.k; i++) polynomial.coefficients[i] = scalar_from_uint(1000 + i);
    dkg_commit(&commitments, &polynomial);
    for (uint32_t i = 1; i <= MEMBERS; i++) dkg_subshare(&shares[i], &polynomial, i);
    collective = (struct collective){.epoch = 1, .activation = 1, .n = MEMBERS, .key = commitments.points[0]};
    CHECK(dkg_verification_keys(collective.verification, MEMBERS, &commitments) == OK);
}

static void share_out(struct sealed *item, const struct scalar shares[static MEMBERS + 1])
{
    struct digest label = record_label(buffer_bytes(&item->context_bytes), item->content.ciphertext);
    for (uint32_t i = 1; i <= MEMBERS; i++) {
        struct tdh2_share share = {.leaf_index = ENTRY, .label = label, .epoch = 1, .node = i};
        struct share_item *out = &item->shares[i];
        tdh2_share_point(&share.d, &shares[i], &item->capsule.u);
        tdh2_share_prove(&share, &shares[i], &collective.verification[i - 1], &item->capsule.u);
        *out = (struct share_item){.label = label, .epoch = 1, .has_proof = true};
        memcpy(out->share, share.d.bytes, 32);
        memcpy(out->proof, share.proof.e.bytes, 32);
        memcpy(out->proof + 32, share.proof.f.bytes, 32);
    }
}

static void make(void)
{
    static struct output output;
    struct scalar shares[MEMBERS + 1];
    uint8_t seed[32] = {3};
    crypto_init();
    sample_genesis_parsed(&cluster.genesis, &cluster.text, MEMBERS, FAULTY);
    cluster.output = &output;
    cluster.timeout_ms = 1000;
    for (uint32_t i = 1; i <= MEMBERS; i++) sample_node_secrets(&secrets[i], i);
    seal_keypair_from_seed(&reader.secret, &reader.public_key, seed);
    deal(shares);
    for (unsigned i = 0; i < ITEMS; i++) {
        struct sealed *item = &items[i];
        item->context = (struct record_context){.cluster = cluster.genesis.cluster, .patient = sample_id(9),
                                                .record = sample_id(20 + i), .version = 1 + i, .author = sample_id(5)};
        record_context_encode(&item->context_bytes, &item->context);
        CHECK(content_close(&item->attachment, &collective, &item->context, bytes_text(texts[i]), NULL) == OK);
        CHECK(content_decode(&item->content, buffer_bytes(&item->attachment)) == OK);
        CHECK(tdh2_capsule_decode(&item->capsule, item->content.capsule) == OK);
        share_out(item, shares);
    }
}

/* --- lies of a holder --- */

/* Its share of one of the items. */
static void spoil_share(struct share_item *item)
{
    switch (next() % 6) {
    case 0: item->epoch = next() % 3; break;
    case 1: item->label.bytes[next() % 32] ^= 1; break;
    case 2: item->proof[next() % 64] ^= (uint8_t)(1u << next() % 8); break;
    case 3: item->has_proof = !item->has_proof; break;
    case 4: item->share[next() % 32] ^= (uint8_t)(1u << next() % 8); break;
    case 5: { /* another point, which is one */
        struct scalar amount = scalar_from_uint(1 + next());
        struct point d;
        point_multiply_generator(&d, &amount);
        memcpy(item->share, d.bytes, 32);
        break;
    }
    }
}

static void spoil_box(struct share_box *box, struct share_item *shares)
{
    switch (next() % 8) {
    case 0: box->leaf_index += next(); break;
    case 1: box->first ^= next() % 4; break;
    case 2: box->member = next() % 8; break;
    case 3: box->count -= box->count > 0; break;
    case 4: box->extent.count = next() % (ITEMS + 2); break;
    case 5: box->extent.next = next(); break;
    case 6: box->extent.left_out = next(); break;
    case 7:
        if (box->count) spoil_share(&shares[next() % box->count]);
        break;
    }
}

/* What a holder seals, or any bytes in its place; false: it gives nothing. */
static bool seal(struct buffer *sealed, uint32_t holder, const struct share_ask *ask)
{
    struct share_item shares[ITEMS];
    struct seal_public to = reader.public_key;
    struct buffer plain = {0};
    struct share_box box = {ENTRY, ask->first, holder, ask->count, {ITEMS, 0, 0}, shares};
    for (uint32_t i = 0; i < ask->count; i++) {
        shares[i] = items[ask->first + i].shares[holder];
        shares[i].has_proof = ask->with_proofs;
    }
    unsigned how = lies(holder) ? next() % 8 : 0;
    if (how == 1) return false;
    for (unsigned n = how > 4 ? how - 4 : 0; n > 0; n--) spoil_box(&box, shares);
    if (how == 2) to.bytes[0] ^= 1;
    share_box_encode(&plain, &box);
    struct bytes other = how == 3 || how == 4 ? next_bytes() : (struct bytes){0};
    if (how == 4)
        buffer_append_bytes(sealed, other);
    else
        CHECK(seal_box(sealed, &to, how == 3 ? other : buffer_bytes(&plain)) == OK);
    buffer_free(&plain);
    return true;
}

static bool make_box(struct message_sealed *out, struct buffer *sealed, uint32_t holder, const struct share_ask *ask)
{
    struct buffer text = {0};
    struct signature signature;
    if (!seal(sealed, holder, ask)) return false;
    share_box_signing(&text, ask, buffer_bytes(sealed));
    sign_message(&signature, &secrets[holder].message, buffer_bytes(&text));
    *out = (struct message_sealed){.member = holder, .sealed = buffer_bytes(sealed)};
    memcpy(out->signature, signature.bytes, sizeof out->signature);
    buffer_free(&text);
    return true;
}

/* --- lies of who serves --- */

static void spoil_shared(struct message_shared *m)
{
    if (m->count == 0) return;
    struct message_sealed *box = &m->shares[next() % m->count];
    switch (next() % 6) {
    case 0: m->count = next() % (m->count + 1); break;
    case 1: box->signature[next() % 64] ^= 1; break;
    case 2: box->member = next() % 8; break;
    case 3: m->shares[m->count] = *box, m->count++; break;
    case 4: box->sealed.size -= box->sealed.size > 0; break;
    case 5: /* what it gave to an earlier question */
        if (box->member > MEMBERS) break;
        box->sealed = buffer_bytes(&before[box->member]);
        memcpy(box->signature, signed_before[box->member], sizeof box->signature);
        break;
    }
}

static void keep(const struct message_shared *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        uint32_t member = m->shares[i].member;
        if (member < 1 || member > MEMBERS || before[member].size) continue;
        buffer_append_bytes(&before[member], m->shares[i].sealed);
        memcpy(signed_before[member], m->shares[i].signature, sizeof signed_before[member]);
    }
}

/* As a node does: its own and others' boxes, k of them, without those that are not wanted. */
static void say_shares(uint32_t member, const struct message_opening *asked, const struct share_ask *ask)
{
    struct message_shared m = {0};
    struct buffer boxes[MEMBERS] = {0};
    member_set without = 0;
    for (uint32_t i = 0; i < asked->excluded_count; i++) without |= MEMBER(asked->excluded[i]);
    for (uint32_t i = 0; i < MEMBERS && m.count < cluster.genesis.quorum; i++) {
        uint32_t holder = (member - 1 + i) % MEMBERS + 1;
        if (!(without & MEMBER(holder))) m.count += make_box(&m.shares[m.count], &boxes[i], holder, ask);
    }
    for (unsigned n = lies(member) ? next() % 4 : 0; n > 0; n--) spoil_shared(&m);
    keep(&m);
    message_shared_encode(link_say(MESSAGE_SHARED), &m);
    for (unsigned i = 0; i < MEMBERS; i++) buffer_free(&boxes[i]);
}

/* What an item is served as; views of these. */
struct served {
    struct buffer context, capsule, ciphertext;
};

static void flip(struct buffer *bytes)
{
    size_t at = next();
    if (bytes->size) bytes->data[at % bytes->size] ^= (uint8_t)(1u << next() % 8);
}

/* A capsule that holds, for the same content, of its own making. */
static void other_capsule(struct served *s)
{
    struct tdh2_secret secret;
    struct tdh2_capsule capsule;
    struct digest hash;
    uint8_t unused[32];
    struct digest label = record_label(buffer_bytes(&s->context), buffer_bytes(&s->ciphertext));
    hash_sha256(&hash, s->context.data, s->context.size);
    tdh2_begin(&secret, unused, &collective.key, &hash);
    tdh2_finish(&capsule, &secret, &collective.key, &label, 1);
    buffer_clear(&s->capsule);
    tdh2_capsule_pack(&s->capsule, &capsule);
}

static void spoil_served(struct served *s)
{
    static const uint8_t foreign[32] = {1};
    struct record_context other;
    switch (next() % 7) {
    case 0: flip(&s->ciphertext); break;
    case 1: flip(&s->capsule); break;
    case 2: flip(&s->context); break;
    case 3: other_capsule(s); break;
    case 4: s->ciphertext.size = next() % (s->ciphertext.size + 1); break;
    case 5:
        buffer_clear(&s->ciphertext);
        buffer_append_bytes(&s->ciphertext, next_bytes());
        break;
    case 6:
        if (record_context_decode(&other, buffer_bytes(&s->context)) != OK) break;
        if (next() & 1) memcpy(other.cluster.bytes, foreign, sizeof foreign);
        other.version++;
        buffer_clear(&s->context);
        record_context_encode(&s->context, &other);
        break;
    }
}

static void serve(struct served *s, uint32_t position)
{
    const struct sealed *item = &items[position % ITEMS];
    *s = (struct served){0};
    buffer_append_bytes(&s->context, buffer_bytes(&item->context_bytes));
    buffer_append_bytes(&s->capsule, item->content.capsule);
    buffer_append_bytes(&s->ciphertext, item->content.ciphertext);
}

static void say_contents(uint32_t member, const struct share_ask *ask)
{
    struct served served[ITEMS];
    struct message_item out[ITEMS];
    unsigned how = lies(member) ? next() % 6 : 0;
    struct message_contents m = {ask->first + (how == 1), ask->count, out};
    for (uint32_t i = 0; i < ask->count; i++) serve(&served[i], ask->first + i + (how == 2));
    for (unsigned n = how > 2 && ask->count ? how - 2 : 0; n > 0; n--) spoil_served(&served[next() % ask->count]);
    for (uint32_t i = 0; i < ask->count; i++)
        out[i] = (struct message_item){buffer_bytes(&served[i].context), buffer_bytes(&served[i].capsule),
                                       buffer_bytes(&served[i].ciphertext)};
    if (how == 5 && m.count) m.count--;
    message_contents_encode(link_say(MESSAGE_CONTENTS), &m);
    for (uint32_t i = 0; i < ask->count; i++) {
        buffer_free(&served[i].context);
        buffer_free(&served[i].capsule);
        buffer_free(&served[i].ciphertext);
    }
}

/* No answer to the question at all, or none of its kind; false: none of these. */
static bool evades(uint32_t member, enum message_type expected)
{
    if (!lies(member)) return false;
    switch (next() % 12) {
    case 1: link_refuse((enum err)next(), next()); return true;
    case 2: link_break(); return true;
    case 3: return true;
    case 4: buffer_append_bytes(link_say(expected), next_bytes()); return true;
    case 5: message_empty_encode(link_say((enum message_type)next())); return true;
    }
    return false;
}

static void answer_question(uint32_t member, enum message_type type, struct bytes body)
{
    struct message_opening m;
    if (type == MESSAGE_SUBMIT) {
        if (!evades(member, MESSAGE_APPLIED)) message_empty_encode(link_say(MESSAGE_APPLIED));
        return;
    }
    CHECK(message_opening_decode(&m, body) == OK && m.leaf_index == ENTRY);
    struct share_ask ask = {ENTRY, m.first, m.count, m.with_proofs};
    if (evades(member, type == MESSAGE_CONTENT ? MESSAGE_CONTENTS : MESSAGE_SHARED)) return;
    if (m.first + m.count > ITEMS) {
        link_refuse(ERR_INVALID, 0); /* so many are not there */
        return;
    }
    if (type == MESSAGE_CONTENT) {
        if (one_at_a_time && ask.count > 1) ask.count = 1;
        say_contents(member, &ask);
    }
    if (type != MESSAGE_CONTENT || !evades(member, MESSAGE_SHARED)) say_shares(member, &m, &ask);
}

/* --- the reader --- */

/* In place of cli/output.c, so that what is said is heard here: nobody is called a liar who is none. */
void output_message(struct output *o, const char *format, ...)
{
    char text[1000];
    va_list args;
    (void)o;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (uint32_t i = 1; i <= MEMBERS; i++) {
        char blame[LIMIT_NAME + 20];
        snprintf(blame, sizeof blame, "%s gave a wrong", cluster_member_name(&cluster, i));
        if (few_lie()) CHECK(!strstr(text, blame) || lies(i));
    }
}

void output_progress(struct output *o, const char *format, ...)
{
    (void)o;
    (void)format;
}

void output_prompt(const char *question) { (void)question; }

static enum err take(void *data, uint32_t position, struct opened_content *item)
{
    const struct sealed *whole = &items[position % ITEMS];
    struct buffer context = {0};
    (void)data;
    CHECK(position == next_position && position < ITEMS);
    record_context_encode(&context, &item->context);
    if (few_lie()) {
        CHECK(bytes_equal(buffer_bytes(&item->plain), bytes_text(texts[position])));
        CHECK(bytes_equal(buffer_bytes(&context), buffer_bytes(&whole->context_bytes)));
    }
    buffer_free(&context);
    next_position++;
    return position == taken_most ? ERR_CANCELED : OK;
}

/* What the answer to the read said that it opens. */
static struct read_extent told(uint8_t how)
{
    struct read_extent extent = {ITEMS, 0, 0};
    switch (how % 8) {
    case 1: extent.count--; break;
    case 2: extent.count++; break;
    case 3: extent.next = 1; break;
    case 4: extent.left_out = 1; break;
    case 5: extent.count = 0; break;
    }
    return extent;
}

static void judge(enum err e, const struct read_extent *extent, const struct failure *why)
{
    struct read_extent whole = told(0);
    bool honest = read_extent_equal(extent, &whole);
    if (e == OK) {
        CHECK(next_position >= extent->count);
        if (few_lie()) CHECK(honest && next_position == ITEMS);
        fuzz_taken = true;
    } else {
        CHECK(why->code == e && why->text[0]);
        CHECK(member_count(liars) > FAULTY || !honest || taken_most < ITEMS);
        CHECK(e != ERR_LEFT_OUT || !honest || member_count(liars) > FAULTY);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct submission read = {.count = 1, .outcomes[0].index = ENTRY};
    struct failure why = {0};
    if (!cluster.genesis.member_count) make();
    input = bytes_of(data, size);
    liars = (member_set)(next() & 0xf) << 1;
    struct read_extent extent = told(next());
    uint8_t way = next();
    next_position = way % (ITEMS + 1);
    one_at_a_time = way & 8;
    taken_most = way & 16 ? next() % ITEMS : ITEMS;
    cluster.member = way >> 5;
    cluster.client = NULL;
    cluster.give_up_ns = 0;
    buffer_append_text(&read.request, "signed");
    if (next_position > extent.count) next_position = extent.count;
    judge(content_open(&cluster, &collective, &reader, &read, next_position, &extent, take, NULL, &why), &extent, &why);
    for (unsigned i = 0; i <= MEMBERS; i++) buffer_free(&before[i]), before[i] = (struct buffer){0};
    submission_free(&read);
    link_reset();
    return 0;
}
