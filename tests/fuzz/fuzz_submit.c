/* cli/submit.h, cli/proved_rows.h: a client, and four nodes of which some lie about what became of its request, or
 * about rows of the log, alone or together. They share one ledger, which honest ones add to and cosign.
 *
 * Whatever fewer than k liars say, what is said to be recorded is, where and as decided, with a receipt that holds;
 * with no more liars than there may be, all of it is. What fails has words. Without a connection to any network
 * (tests/lib/link_double.h); ids and times are not the same twice.
 *
 * The input: how many operations there are, or that one is looked up, or rows are proved; who lies (bits); how they are
 * decided, and which node is first; then how each lie is told. */
#include <stdlib.h>
#include <string.h>

#include "cli/proved_rows.h"
#include "cli/receipt.h"
#include "cli/submit.h"
#include "crypto/keys.h"
#include "crypto/random.h"
#include "ledger/arguments.h"
#include "ledger/query.h"
#include "ledger/request.h"
#include "ledger/tree.h"
#include "tests/lib/link_double.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMBERS 4u
#define FAULTY 1u
#define OLDER 3u /* entries that others have made */
#define MOST 3u  /* operations of a request */
#define ENTRIES (OLDER + MOST)
#define NODES TREE_LIST_NODES(ENTRIES)
#define USER 5u

static struct cluster cluster;
static struct node_secrets secrets[MEMBERS + 1];
static struct signer_secrets signer_secrets;
static struct signer signer = {.secrets = &signer_secrets};
static struct buffer args;
static struct buffer leaves[ENTRIES];
static struct digest hashes[ENTRIES];

/* One input. */
static uint32_t liars; /* bit i: member i */
static uint32_t leaf_count, decided;
static bool queries;           /* what is submitted is a query, of no matter here */
static struct request request; /* as it was recorded; views of `recorded` */
static struct buffer recorded;

static bool lies(uint32_t member) { return liars >> member & 1; }
static uint32_t liar_count(void) { return (uint32_t)__builtin_popcount(liars); }

/* --- the ledger --- */

static void add_leaf(struct buffer *out, const struct request *r, uint32_t position, uint32_t index, bool denied)
{
    struct leaf leaf = {.index = index, .time_ms = r->items[position].operation.issued_at_ms,
                        .previous = hashes[index - 1], .decision = denied ? DECISION_DENIED : DECISION_APPROVED,
                        .reason = denied ? REASON_SCOPE : REASON_NONE};
    leaf_set_operation(&leaf, r, position);
    leaf_encode(out, &leaf);
}

static void make(void)
{
    static struct buffer older;
    struct request r;
    struct arguments a;
    crypto_init();
    sample_genesis_parsed(&cluster.genesis, &cluster.text, MEMBERS, FAULTY);
    cluster.timeout_ms = 1000;
    for (uint32_t i = 1; i <= MEMBERS; i++) sample_node_secrets(&secrets[i], i);
    signer.user = sample_id(USER);
    sample_key(&signer_secrets.sign, &signer.public_key, USER);
    signer.key_id = key_id_of(&signer.public_key);
    CHECK(sample_arguments(&a, ACTION_EVENT_ADD, true));
    arguments_encode(&args, &a);
    sample_request(&older, USER + 1, OLDER);
    CHECK(request_decode(&r, buffer_bytes(&older)) == OK);
    genesis_leaf(&leaves[0], &cluster.genesis);
    for (uint32_t i = 0; i < OLDER; i++) {
        if (i > 0) add_leaf(&leaves[i], &r, i, i, false);
        leaf_hash(&hashes[i], buffer_bytes(&leaves[i]));
    }
    request_free(&r);
}

/* True: it was not there before. */
static bool record(struct bytes submitted)
{
    if (recorded.size) return false;
    buffer_append_bytes(&recorded, submitted);
    CHECK(!recorded.failed && request_decode(&request, buffer_bytes(&recorded)) == OK && request.count <= MOST);
    for (uint32_t i = 0; i < request.count; i++, leaf_count++) {
        buffer_clear(&leaves[leaf_count]);
        add_leaf(&leaves[leaf_count], &request, i, leaf_count, decided >> i & 1);
        leaf_hash(&hashes[leaf_count], buffer_bytes(&leaves[leaf_count]));
    }
    return true;
}

static void forget(void)
{
    request_free(&request);
    request = (struct request){0};
    buffer_clear(&recorded);
    leaf_count = OLDER;
}

/* --- receipts, and what is none --- */

/* An answer that proves some leaves. */
struct proving {
    struct message_cosigned m;
    struct buffer note, leaves[MOST];
    struct tree_proof paths[MOST];
};

static struct digest tree(struct digest out[static NODES], const struct digest *of)
{
    memcpy(out, of, leaf_count * sizeof *of);
    return out[tree_list_build(out, leaf_count) - 1];
}

/* Honest ones have signed the ledger's root; any other one only liars do. */
static void make_note(struct buffer *out, const struct digest *root, const struct digest *others, unsigned most)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature signatures[LIMIT_NODES] = {0};
    struct checkpoint whole, other;
    uint32_t n = cosigners_of_genesis(cosigners, &cluster.genesis);
    checkpoint_set(&whole, &cluster.genesis, leaf_count, root);
    checkpoint_set(&other, &cluster.genesis, leaf_count, others ? others : root);
    for (uint32_t i = 0; i < n && most > 0; i++, most--)
        checkpoint_cosign(&signatures[i], lies(i + 1) ? &other : &whole, 1790000000, &secrets[i + 1].cosign);
    checkpoint_format(out, others ? &other : &whole, cosigners, signatures, n);
}

static void make_proofs(struct proving *p, const uint32_t *indexes, uint32_t count, const struct digest *of)
{
    struct digest nodes[NODES];
    (void)tree(nodes, of);
    p->m.count = count;
    for (uint32_t i = 0; i < count; i++) {
        buffer_append_bytes(&p->leaves[i], buffer_bytes(&leaves[indexes[i]]));
        tree_list_path(&p->paths[i], nodes, leaf_count, indexes[i]);
    }
}

/* A ledger in which one of the entries was decided otherwise, with all that liars can sign for it. */
static void make_forged(struct proving *p, const uint32_t *indexes, uint32_t count)
{
    struct digest nodes[NODES], whole = tree(nodes, hashes), others[ENTRIES];
    uint32_t at = next() % count;
    struct leaf leaf;
    memcpy(others, hashes, sizeof others);
    if (leaf_decode(&leaf, buffer_bytes(&leaves[indexes[at]])) != OK || leaf.genesis.size > 0) return;
    struct buffer forged = {0};
    bool denied = leaf.decision == DECISION_DENIED;
    leaf.decision = denied ? DECISION_APPROVED : DECISION_DENIED;
    leaf.reason = denied ? REASON_NONE : REASON_SCOPE;
    leaf_encode(&forged, &leaf);
    leaf_hash(&others[indexes[at]], buffer_bytes(&forged));
    struct digest root = tree(nodes, others);
    make_proofs(p, indexes, count, others);
    buffer_clear(&p->leaves[at]);
    buffer_append_bytes(&p->leaves[at], buffer_bytes(&forged));
    make_note(&p->note, &whole, &root, MEMBERS);
    buffer_free(&forged);
}

static void flip(struct buffer *bytes)
{
    size_t at = (size_t)next() << 8;
    at |= next();
    if (bytes->size) bytes->data[at % bytes->size] ^= (uint8_t)(1u << next() % 8);
}

static void spoil_proving(struct proving *p)
{
    uint32_t i = next() % p->m.count;
    switch (next() % 6) {
    case 0: flip(&p->leaves[i]); break;
    case 1: flip(&p->note); break;
    case 2:
        if (p->paths[i].count) p->paths[i].hashes[next() % p->paths[i].count].bytes[next() % 32] ^= 1;
        break;
    case 3: p->paths[i].count -= p->paths[i].count > 0; break;
    case 4: p->m.count -= p->m.count > 1; break;
    case 5:
        buffer_clear(&p->leaves[i]);
        buffer_append_bytes(&p->leaves[i], buffer_bytes(&leaves[next() % leaf_count]));
        break;
    }
}

static void say_cosigned(uint32_t member, const uint32_t *indexes, uint32_t count)
{
    struct proving *p = xcalloc(1, sizeof *p);
    struct digest nodes[NODES], root = tree(nodes, hashes);
    unsigned how = lies(member) ? next() % 8 : 0;
    if (how == 1) make_forged(p, indexes, count);
    if (p->m.count == 0) {
        make_proofs(p, indexes, count, hashes);
        make_note(&p->note, &root, NULL, how == 2 ? cluster.genesis.quorum - 1 : cluster.genesis.quorum);
    }
    for (unsigned n = how > 4 ? how - 4 : 0; n > 0; n--) spoil_proving(p);
    p->m.note = buffer_bytes(&p->note);
    for (uint32_t i = 0; i < p->m.count; i++)
        p->m.proofs[i] = (struct message_proof){buffer_bytes(&p->leaves[i]), p->paths[i].hashes, p->paths[i].count};
    message_cosigned_encode(link_say(MESSAGE_COSIGNED), &p->m);
    for (uint32_t i = 0; i < MOST; i++) buffer_free(&p->leaves[i]);
    buffer_free(&p->note);
    free(p);
}

/* --- what else nodes say --- */

/* No answer to the question at all, or none of its kind; false: none of these. */
static bool evades(uint32_t member, enum message_type expected)
{
    if (!lies(member)) return false;
    switch (next() % 12) {
    case 1: link_refuse((enum err)next(), next() % 2); return true;
    case 2: link_break(); return true;
    case 3: return true;
    case 4: buffer_append_bytes(link_say(expected), next_bytes()); return true;
    case 5: message_empty_encode(link_say((enum message_type)next())); return true;
    }
    return false;
}

static void spoil_applied(struct message_applied *m)
{
    struct message_result *r = &m->results[next() % m->count];
    switch (next() % 6) {
    case 0: r->code = (enum err)next(); break;
    case 1: r->leaf_index = next() % (ENTRIES + 2); break;
    case 2: r->decision = next() % 3; break;
    case 3: r->reason = next(); break;
    case 4: m->count = 1 + next() % LIMIT_OPERATIONS; break;
    case 5: r->answer = next_bytes(); break;
    }
}

static void say_applied(uint32_t member, bool fresh)
{
    struct message_applied *m = xcalloc(1, sizeof *m);
    m->count = request.count;
    for (uint32_t i = 0; i < request.count; i++)
        m->results[i] = (struct message_result){.code = fresh ? OK : ERR_DUPLICATE, .leaf_index = OLDER + i,
                                                .decision = decided >> i & 1 ? DECISION_DENIED : DECISION_APPROVED};
    for (unsigned n = lies(member) ? next() % 4 : 0; n > 0; n--) spoil_applied(m);
    message_applied_encode(link_say(MESSAGE_APPLIED), m);
    free(m);
}

static void answer_submit(uint32_t member, struct bytes body)
{
    struct message_submit m;
    uint32_t indexes[MOST];
    CHECK(message_submit_decode(&m, body) == OK && m.wait == WAIT_COSIGNED);
    if (recorded.size) CHECK(bytes_equal(m.request, buffer_bytes(&recorded))); /* the same bytes, to each node */
    if (lies(member) && next() % 8 == 1) { /* swallowed */
        link_refuse((enum err)next(), 0);
        return;
    }
    bool fresh = record(m.request);
    for (uint32_t i = 0; i < request.count; i++) indexes[i] = OLDER + i;
    if (evades(member, MESSAGE_APPLIED)) return;
    say_applied(member, fresh);
    if ((fresh || (lies(member) && next() & 1)) && !evades(member, MESSAGE_COSIGNED))
        say_cosigned(member, indexes, request.count);
}

static void answer_prove(uint32_t member, struct bytes body)
{
    struct message_prove m;
    uint32_t indexes[MOST];
    CHECK(message_prove_decode(&m, body) == OK && m.count <= MOST);
    if (evades(member, MESSAGE_COSIGNED)) return;
    for (uint32_t i = 0; i < m.count; i++) {
        indexes[i] = (uint32_t)m.leaves[i];
        if (m.leaves[i] < leaf_count) continue;
        link_refuse(ERR_NOT_FOUND, 0);
        return;
    }
    say_cosigned(member, indexes, m.count);
}

static void answer_lookup(uint32_t member)
{
    struct message_found m = {.witnessed_time_ms = 1, .leader_known = true};
    if (recorded.size) {
        m = (struct message_found){.found = true, .leaf_index = OLDER, .decision = DECISION_APPROVED,
                                   .witnessed_time_ms = 1, .leader_known = true};
        if (decided & 1) m.decision = DECISION_DENIED, m.reason = REASON_SCOPE;
    }
    if (evades(member, MESSAGE_FOUND)) return;
    if (lies(member)) {
        m.found ^= next() & 1;
        m.witnessed_time_ms = next() & 1 ? UINT64_MAX : 0;
        m.leaf_index = next();
    }
    message_found_encode(link_say(MESSAGE_FOUND), &m);
}

static void answer_prove_rows(uint32_t member, struct bytes body)
{
    struct message_prove_rows m;
    struct buffer rows = {0};
    CHECK(message_prove_rows_decode(&m, body) == OK);
    message_prove_encode(&rows, &m.rows);
    answer_prove(member, buffer_bytes(&rows));
    buffer_free(&rows);
}

static void answer_question(uint32_t member, enum message_type type, struct bytes body)
{
    switch ((unsigned)type) {
    case MESSAGE_SUBMIT:
        if (!queries)
            answer_submit(member, body);
        else if (!evades(member, MESSAGE_APPLIED))
            message_empty_encode(link_say(MESSAGE_APPLIED));
        return;
    case MESSAGE_PROVE_ROWS: answer_prove_rows(member, body); return;
    case MESSAGE_PROVE: answer_prove(member, body); return;
    case MESSAGE_LOOKUP: answer_lookup(member); return;
    }
    CHECK(!"a question of a request");
}

/* --- the client --- */

/* Of an operation that is said to be in the ledger. */
static void check_outcome(const struct outcome *o, uint32_t position)
{
    struct receipt receipt;
    struct buffer room = {0};
    CHECK(recorded.size && position < request.count && o->index == OLDER + position);
    CHECK(o->decision == (decided >> position & 1 ? DECISION_DENIED : DECISION_APPROVED));
    CHECK(o->reason == (decided >> position & 1 ? REASON_SCOPE : REASON_NONE));
    CHECK(receipt_check(&receipt, &room, &cluster.genesis, buffer_bytes(&o->receipt), NULL) == OK);
    CHECK(receipt.leaf.index == o->index && receipt.leaf.time_ms == o->time_ms);
    struct bytes sent = request.items[position].operation.raw;
    CHECK(receipt_check_operation(&receipt.leaf, sent, &signer.public_key, NULL) == OK);
    buffer_free(&room);
}

static void submit_some(uint32_t count)
{
    struct submission s = {0};
    struct failure why = {0};
    struct draft drafts[MOST];
    for (uint32_t i = 0; i < count; i++)
        drafts[i] = (struct draft){.action = ACTION_EVENT_ADD, .args = buffer_bytes(&args),
                                   .purpose = PURPOSE_TREATMENT};
    enum err e = submit(&s, &cluster, &signer, drafts, count, &why);
    CHECK(e == OK || (why.code == e && why.text[0]));
    CHECK(e == OK || liar_count() > FAULTY);
    for (uint32_t i = 0; e == OK && i < count; i++) {
        if (s.outcomes[i].code != OK) CHECK(liar_count() > FAULTY); /* honest ones refuse nothing */
        if (s.outcomes[i].code == OK && liar_count() < cluster.genesis.quorum) check_outcome(&s.outcomes[i], i);
    }
    fuzz_taken = e == OK;
    submission_free(&s);
}

static void look_up(bool is_there)
{
    struct message_submit m;
    struct buffer text = {0}, body = {0};
    struct found found;
    struct failure why = {0};
    struct id id = sample_id(1000);
    sample_request(&text, USER, 1);
    message_submit_encode(&body, &(struct message_submit){buffer_bytes(&text), WAIT_COSIGNED});
    CHECK(message_submit_decode(&m, buffer_bytes(&body)) == OK);
    if (is_there) (void)record(m.request);
    enum err e = submit_lookup(&found, &cluster, &signer, SAMPLE_TIME, &id, &why);
    CHECK(e == OK || (why.code == e && why.text[0] && liar_count() == MEMBERS));
    if (e == OK && liar_count() <= FAULTY) CHECK(found.fate != FATE_NOT_RECORDED);
    if (e == OK && liars == 0) CHECK((found.fate == FATE_RECORDED) == is_there);
    fuzz_taken = e == OK && found.fate == FATE_RECORDED;
    buffer_free(&text);
    buffer_free(&body);
}

/* As a node shows them, of entries that the input chooses, and altered as it says. */
static uint32_t make_rows(struct buffer rows[static MOST], struct log_row views[static MOST])
{
    uint32_t count = 0;
    for (unsigned i = 0, most = 1 + next() % MOST; i < most; i++) {
        struct leaf leaf;
        struct buffer *row = &rows[count];
        uint8_t how = next();
        CHECK(leaf_decode(&leaf, buffer_bytes(&leaves[how % leaf_count])) == OK);
        query_row_pack(row, &leaf, bytes_text("nurse"), (struct bytes){0});
        for (unsigned n = how >> 6; n > 0; n--) flip(row);
        struct unpack u = unpack_start(buffer_bytes(row));
        log_row_read(&views[count], &u);
        if (unpack_done(&u) == OK)
            count++;
        else
            buffer_clear(row);
    }
    return count;
}

static void prove_rows(void)
{
    struct submission query = {.count = 1, .outcomes[0].index = 1};
    struct buffer rows[MOST] = {0};
    struct log_row views[MOST];
    struct failure why = {0};
    bool proved[MOST];
    buffer_append_text(&query.request, "signed");
    queries = true;
    uint32_t count = make_rows(rows, views);
    enum err e = count ? rows_prove(proved, &cluster, &query, views, count, &why) : OK;
    CHECK(e == OK || (why.code == e && why.text[0]));
    for (uint32_t i = 0; i < count; i++) {
        struct leaf leaf;
        bool is_there = views[i].index < leaf_count &&
                        leaf_decode(&leaf, buffer_bytes(&leaves[views[i].index])) == OK &&
                        row_fits_leaf(&views[i], &leaf);
        CHECK(!proved[i] || e == OK);
        if (liar_count() < cluster.genesis.quorum) CHECK(!proved[i] || is_there);
        if (liars == 0 && e == OK) CHECK(proved[i] == is_there);
        fuzz_taken |= proved[i];
    }
    queries = false;
    submission_free(&query);
    for (unsigned i = 0; i < MOST; i++) buffer_free(&rows[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!cluster.genesis.member_count) make();
    input = bytes_of(data, size);
    forget();
    uint8_t what = next();
    liars = (uint32_t)(next() & 0xf) << 1;
    uint8_t way = next();
    decided = way >> 2 & 7;
    cluster.member = way >> 5;
    cluster.client = NULL;
    cluster.give_up_ns = 0;
    if (what % 5 == 4)
        prove_rows();
    else if (what % 5 == 3)
        look_up(way & 1);
    else
        submit_some(1 + what % 5);
    link_reset();
    return 0;
}
