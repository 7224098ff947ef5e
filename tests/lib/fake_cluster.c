#include "tests/lib/fake_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/tdh2.h"
#include "ledger/arguments.h"
#include "ledger/attachment.h"
#include "ledger/checkpoint.h"
#include "ledger/record.h"
#include "ledger/request.h"
#include "ledger/state_digest.h"
#include "net/leaf_pack.h"
#include "net/protocol.h"
#include "tests/lib/identities.h"
#include "tests/lib/samples.h"

/* --- the ledger --- */

static void append_leaf(struct fake_cluster *c, const struct buffer *bytes, struct bytes attachment)
{
    CHECK(c->leaf_count < FAKE_LEAVES);
    struct fake_leaf *leaf = &c->leaves[c->leaf_count++];
    buffer_append_bytes(&leaf->bytes, buffer_bytes(bytes));
    buffer_append_bytes(&leaf->attachment, attachment);
    leaf_hash(&leaf->hash, buffer_bytes(&leaf->bytes));
}

#define FAKE_HASHES TREE_LIST_NODES(FAKE_LEAVES)

/* All nodes of the tree; the root. */
static struct digest build_tree(const struct fake_cluster *c, struct digest out[static FAKE_HASHES])
{
    for (uint32_t i = 0; i < c->leaf_count; i++)
        out[i] = c->leaves[i].hash;
    return out[tree_list_build(out, c->leaf_count) - 1];
}

static uint32_t record_item(struct fake_cluster *c, const struct request *request, uint32_t position)
{
    struct buffer bytes = {0};
    struct leaf leaf = {.index = c->leaf_count, .time_ms = request->items[position].operation.issued_at_ms,
                        .previous = c->leaves[c->leaf_count - 1].hash, .decision = DECISION_APPROVED};
    leaf_set_operation(&leaf, request, position);
    if (c->denies) leaf.decision = DECISION_DENIED, leaf.reason = c->denies;
    leaf_encode(&bytes, &leaf);
    append_leaf(c, &bytes, request->items[position].attachment);
    buffer_free(&bytes);
    return c->leaf_count - 1;
}

/* The entry that recorded this request id, or 0. */
static uint32_t find_request(const struct fake_cluster *c, const struct id *request)
{
    for (uint32_t i = 1; i < c->leaf_count; i++) {
        struct leaf leaf;
        CHECK(leaf_decode(&leaf, buffer_bytes(&c->leaves[i].bytes)) == OK);
        if (id_equal(&leaf.operation.request_id, request)) return i;
    }
    return 0;
}

/* --- checkpoints --- */

static void make_note(struct fake_cluster *c, struct buffer *out, enum fake_fault fault, uint32_t self)
{
    struct digest hashes[FAKE_HASHES];
    struct checkpoint checkpoint;
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature signatures[FAKE_NODES] = {0};
    struct digest root = build_tree(c, hashes);
    if (fault == FAKE_OTHER_ROOT) root.bytes[0] ^= 1;
    checkpoint_set(&checkpoint, &c->genesis, c->leaf_count, &root);
    if (fault == FAKE_FOREIGN_ORIGIN) checkpoint.origin[strlen(checkpoint.origin) - 1] ^= 1;
    uint32_t n = cosigners_of_genesis(cosigners, &c->genesis);
    uint32_t k = c->genesis.quorum - (fault == FAKE_FEW_COSIGNERS);
    for (uint32_t i = 0; i < k; i++) {
        struct sign_secret secret = c->secrets[i + 1].cosign;
        struct sign_public foreign;
        if (fault == FAKE_FOREIGN_COSIGNERS) {
            sample_key(&secret, &foreign, 70 + i);
            cosigner_set(&cosigners[i], c->genesis.origin, &foreign);
        }
        if (fault == FAKE_OTHER_ROOT && i + 1 != self) continue;
        checkpoint_cosign(&signatures[i], &checkpoint, 1790000000, &secret);
    }
    if (fault == FAKE_SAME_COSIGNER) cosigners[1] = cosigners[0], signatures[1] = signatures[0];
    checkpoint_format(out, &checkpoint, cosigners, signatures, n);
}

static void fill_proof(struct fake_cluster *c, struct message_proof *out, struct tree_proof *proof,
                       struct buffer *bytes, uint32_t index, enum fake_fault fault)
{
    struct digest hashes[FAKE_HASHES];
    if (fault == FAKE_OTHER_LEAF) index = index > 1 ? index - 1 : index + 1;
    build_tree(c, hashes);
    tree_list_path(proof, hashes, c->leaf_count, index);
    buffer_append_bytes(bytes, buffer_bytes(&c->leaves[index].bytes));
    if (fault == FAKE_ALTERED_LEAF) {
        struct leaf leaf;
        struct buffer altered = {0};
        CHECK(leaf_decode(&leaf, buffer_bytes(bytes)) == OK);
        leaf.decision = DECISION_DENIED, leaf.reason = REASON_SCOPE;
        leaf_encode(&altered, &leaf);
        buffer_clear(bytes);
        buffer_append_bytes(bytes, buffer_bytes(&altered));
        buffer_free(&altered);
    }
    if (fault == FAKE_BAD_PROOF && proof->count) proof->hashes[0].bytes[5] ^= 1;
    *out = (struct message_proof){buffer_bytes(bytes), proof->hashes, proof->count};
}

/* --- answers --- */

static void reply(struct connection *connection, uint64_t id, enum message_type type, struct buffer *body)
{
    CHECK(!body->failed);
    (void)connection_send(connection, type, id, buffer_bytes(body));
    buffer_free(body);
}

static void refuse(struct connection *connection, uint64_t id, enum err code)
{
    struct buffer body = {0};
    message_failed_encode(&body, &(struct message_failed){code, bytes_text(err_text(code)), 20});
    reply(connection, id, MESSAGE_FAILED, &body);
}

static void answer_hello(struct fake_node *n, struct connection *connection, uint64_t id)
{
    const struct genesis *g = &n->cluster->genesis;
    struct message_welcome w = {.node = g->members[n->member - 1].id, .member = n->member, .cluster = g->cluster,
                                .now_ms = clock_wall_ms(), .nodes = g->member_count, .faulty = g->faulty,
                                .quorum = g->quorum, .state = bytes_text("ready")};
    if (n->fault == FAKE_OTHER_CLUSTER) w.cluster.bytes[0] ^= 1;
    if (n->fault == FAKE_OTHER_NODE) w.member = w.member % FAKE_NODES + 1;
    if (n->fault == FAKE_OTHER_NUMBERS) w.quorum--;
    struct buffer body = {0};
    message_welcome_encode(&body, &w);
    reply(connection, id, MESSAGE_WELCOME, &body);
}

static void send_cosigned(struct fake_node *n, struct connection *connection, uint64_t id, const uint32_t *indexes,
                          uint32_t count)
{
    struct message_cosigned *m = xcalloc(1, sizeof *m);
    struct tree_proof *proofs = xcalloc(count, sizeof *proofs);
    struct buffer *leaves = xcalloc(count, sizeof *leaves), note = {0}, body = {0};
    make_note(n->cluster, &note, n->fault, n->member);
    m->note = buffer_bytes(&note);
    m->count = count;
    for (uint32_t i = 0; i < count; i++)
        fill_proof(n->cluster, &m->proofs[i], &proofs[i], &leaves[i], indexes[i], n->fault);
    message_cosigned_encode(&body, m);
    reply(connection, id, MESSAGE_COSIGNED, &body);
    for (uint32_t i = 0; i < count; i++)
        buffer_free(&leaves[i]);
    buffer_free(&note);
    free(leaves);
    free(proofs);
    free(m);
}

/* The create entries of a patient, or the one of a record: what a read opens, in order. */
static uint32_t opened_by(const struct fake_cluster *c, uint32_t out[static FAKE_LEAVES],
                          const struct args_record_read *read)
{
    uint32_t count = 0;
    for (uint32_t i = 1; i < c->leaf_count; i++) {
        struct leaf leaf;
        struct args_record_create create;
        CHECK(leaf_decode(&leaf, buffer_bytes(&c->leaves[i].bytes)) == OK);
        if (leaf.operation.action != ACTION_RECORD_CREATE) continue;
        CHECK(args_record_create_decode(&create, leaf.operation.args) == OK);
        if (id_equal(&create.record, &read->record) || id_equal(&create.patient, &read->patient)) out[count++] = i;
    }
    return count;
}

static void pack_read_rows(struct buffer *out, const struct fake_cluster *c, const struct args_record_read *read)
{
    uint32_t entries[FAKE_LEAVES], count = opened_by(c, entries, read);
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        struct leaf leaf;
        struct args_record_create create;
        CHECK(leaf_decode(&leaf, buffer_bytes(&c->leaves[entries[i]].bytes)) == OK);
        CHECK(args_record_create_decode(&create, leaf.operation.args) == OK);
        pack_array(out, 9);
        pack_id(out, &create.record);
        pack_uint(out, 1);
        pack_id(out, &create.patient);
        pack_str(out, create.kind);
        pack_uint(out, create.conf);
        pack_id(out, &leaf.operation.actor.id);
        pack_uint(out, leaf.time_ms);
        pack_uint(out, entries[i]);
        pack_uint(out, 1);
    }
}

static void make_answer(struct buffer *out, const struct fake_cluster *c, const struct operation *op)
{
    struct args_record_read read;
    pack_array(out, 3);
    if (op->action == ACTION_RECORD_READ && args_record_read_decode(&read, op->args) == OK)
        pack_read_rows(out, c, &read);
    else
        pack_array(out, 0);
    pack_bin(out, NULL, 0);
    pack_uint(out, 0);
}

static void answer_submit(struct fake_node *n, struct connection *connection, uint64_t id, struct bytes body)
{
    struct message_submit m;
    struct request request;
    struct buffer answers[LIMIT_OPERATIONS] = {0}, applied = {0};
    uint32_t indexes[LIMIT_OPERATIONS];
    bool fresh = true;
    n->submits++;
    if (n->fault == FAKE_NO_QUORUM) return refuse(connection, id, ERR_NO_QUORUM);
    if (n->fault == FAKE_REFUSES) return refuse(connection, id, ERR_BAD_SIGNATURE);
    if (n->fault == FAKE_NO_MEMORY) return refuse(connection, id, ERR_NOMEM);
    if (n->fault == FAKE_FULL) return refuse(connection, id, ERR_FULL);
    if (n->fault == FAKE_SWALLOWS) return;
    if (n->fault == FAKE_DIES_BEFORE) return connection_abort(connection, ERR_CANCELED, NULL);
    CHECK(message_submit_decode(&m, body) == OK && request_decode(&request, m.request) == OK);
    struct message_applied *a = xcalloc(1, sizeof *a);
    a->count = request.count;
    for (uint32_t i = 0; i < request.count; i++) {
        uint32_t first = find_request(n->cluster, &request.items[i].operation.request_id);
        indexes[i] = first ? first : record_item(n->cluster, &request, i);
        if (first) fresh = false;
        bool denied = n->cluster->denies != 0 || n->fault == FAKE_DENIED_CLAIM;
        if (!first && !denied) make_answer(&answers[i], n->cluster, &request.items[i].operation);
        a->results[i] = (struct message_result){first ? ERR_DUPLICATE : OK, indexes[i],
                                                denied ? DECISION_DENIED : DECISION_APPROVED,
                                                denied ? REASON_SCOPE : REASON_NONE, buffer_bytes(&answers[i])};
        bool refused = n->fault == FAKE_REFUSES_EACH || (n->fault == FAKE_REFUSES_LAST && i + 1 == request.count);
        if (refused) a->results[i] = (struct message_result){.code = ERR_STALE};
        if (n->fault == FAKE_OTHER_INDEX) a->results[i].leaf_index++;
    }
    if (n->fault == FAKE_WRONG_COUNT) a->count++;
    message_applied_encode(&applied, a);
    if (n->fault == FAKE_DIES_AFTER)
        buffer_free(&applied);
    else if (n->fault == FAKE_REFUSES_AFTER)
        buffer_free(&applied), refuse(connection, id, ERR_STALE);
    else
        reply(connection, id, MESSAGE_APPLIED, &applied);
    if (n->fault == FAKE_DIES_AFTER || n->fault == FAKE_DIES_APPLIED)
        connection_close(connection, OK, NULL);
    else if (n->fault == FAKE_REFUSES_PROOF)
        refuse(connection, id, ERR_DENIED);
    else if (fresh && n->fault != FAKE_NOT_WITNESSED && n->fault != FAKE_REFUSES_AFTER &&
             n->fault != FAKE_REFUSES_EACH)
        send_cosigned(n, connection, id, indexes, request.count);
    else if (fresh && request.count == 1)
        n->owed_id = id, n->owed_index = indexes[0];
    connection_set_data(connection, n); /* no more a stranger; see on_open */
    for (uint32_t i = 0; i < request.count; i++)
        buffer_free(&answers[i]);
    request_free(&request);
    free(a);
}

static void answer_prove(struct fake_node *n, struct connection *connection, uint64_t id, struct bytes body)
{
    struct message_prove m;
    uint32_t indexes[LIMIT_OPERATIONS];
    n->proves++;
    CHECK(message_prove_decode(&m, body) == OK);
    if (n->fault == FAKE_NOT_WITNESSED) return refuse(connection, id, ERR_NOT_WITNESSED);
    for (uint32_t i = 0; i < m.count; i++) {
        indexes[i] = (uint32_t)m.leaves[i];
        if (m.leaves[i] >= n->cluster->leaf_count) return refuse(connection, id, ERR_NOT_FOUND);
    }
    send_cosigned(n, connection, id, indexes, m.count);
}

static void answer_lookup(struct fake_node *n, struct connection *connection, uint64_t id, struct bytes body)
{
    struct message_lookup m;
    struct buffer out = {0};
    n->lookups++;
    CHECK(message_lookup_decode(&m, body) == OK);
    uint32_t index = n->cluster->forgets ? 0 : find_request(n->cluster, &m.request);
    uint64_t time_ms = n->cluster->witnessed_time_ms ? n->cluster->witnessed_time_ms : clock_wall_ms();
    message_found_encode(&out,
                         &(struct message_found){index != 0, index, index ? DECISION_APPROVED : 0, 0, time_ms, true});
    reply(connection, id, MESSAGE_FOUND, &out);
}

static void answer_keys(struct fake_node *n, struct connection *connection, uint64_t id)
{
    struct fake_cluster *c = n->cluster;
    struct message_key *m = xcalloc(1, sizeof *m);
    struct buffer note = {0}, out = {0}, leaf = {0};
    struct tree_proof proof;
    struct digest hashes[FAKE_HASHES];
    uint32_t index = (uint32_t)c->activation + (n->fault == FAKE_WRONG_LEAF_KEY);
    build_tree(c, hashes);
    tree_list_path(&proof, hashes, c->leaf_count, index);
    make_note(c, &note, n->fault, n->member);
    buffer_append_bytes(&leaf, buffer_bytes(&c->leaves[index].bytes));
    if (n->fault == FAKE_OWN_KEY) {
        /* Its own Y in the right place of the right leaf: only the proof can tell. */
        uint8_t *at = memmem(leaf.data, leaf.size, c->commitments.points[0].bytes, 32);
        CHECK(at != NULL);
        memcpy(at, POINT_GENERATOR.bytes, 32);
    }
    m->leaf = buffer_bytes(&leaf), m->index = index, m->note = buffer_bytes(&note), m->hash_count = proof.count;
    memcpy(m->hashes, proof.hashes, proof.count * sizeof proof.hashes[0]);
    message_key_encode(&out, m);
    reply(connection, id, MESSAGE_KEY, &out);
    buffer_free(&note);
    buffer_free(&leaf);
    free(m);
}

/* --- content and shares --- */

struct fake_item {
    struct buffer context;
    struct content content;
    struct tdh2_capsule capsule;
    struct digest label;
};

static struct fake_item item_of(const struct fake_cluster *c, uint32_t entry)
{
    struct fake_item item = {0};
    struct leaf leaf;
    struct args_record_create create;
    struct attachment attachment;
    CHECK(leaf_decode(&leaf, buffer_bytes(&c->leaves[entry].bytes)) == OK);
    CHECK(args_record_create_decode(&create, leaf.operation.args) == OK);
    CHECK(attachment_decode(&attachment, buffer_bytes(&c->leaves[entry].attachment)) == OK);
    CHECK(content_decode(&item.content, attachment.content) == OK);
    CHECK(tdh2_capsule_decode(&item.capsule, item.content.capsule) == OK);
    record_context_encode(&item.context, &(struct record_context){c->genesis.cluster, create.patient, create.record, 1,
                                                                  create.conf, leaf.operation.actor.id});
    item.label = record_label(buffer_bytes(&item.context), item.content.ciphertext);
    CHECK(tdh2_capsule_verify(&item.capsule, &c->commitments.points[0], &item.label) == OK);
    return item;
}

/* The read's arguments and what it opens. */
static uint32_t load_read(const struct fake_cluster *c, struct args_record_read *read,
                          uint32_t entries[static FAKE_LEAVES], uint64_t index)
{
    struct leaf leaf;
    CHECK(index < c->leaf_count && leaf_decode(&leaf, buffer_bytes(&c->leaves[index].bytes)) == OK);
    CHECK(args_record_read_decode(read, leaf.operation.args) == OK);
    return opened_by(c, entries, read);
}

/* Owns what the message's item points into. */
struct fake_content {
    struct buffer context, capsule, ciphertext;
};

static struct message_item content_of(struct fake_node *n, struct fake_content *out, uint32_t entry)
{
    struct fake_item item = item_of(n->cluster, entry);
    *out = (struct fake_content){.context = item.context};
    buffer_append_bytes(&out->ciphertext, item.content.ciphertext);
    if (n->fault == FAKE_ALTERED_CONTENT) out->ciphertext.data[0] ^= 1;
    if (n->fault == FAKE_ALTERED_CAPSULE) {
        struct tdh2_secret secret;
        struct digest context_hash;
        uint8_t key[32];
        hash_sha256(&context_hash, item.context.data, item.context.size);
        tdh2_begin(&secret, key, &n->cluster->commitments.points[0], &context_hash);
        tdh2_finish(&item.capsule, &secret, &n->cluster->commitments.points[0], &item.label, 1);
    }
    if (n->fault == FAKE_OTHER_U) point_add(&item.capsule.u, &item.capsule.u, &POINT_GENERATOR);
    tdh2_capsule_pack(&out->capsule, &item.capsule);
    return (struct message_item){buffer_bytes(&out->context), buffer_bytes(&out->capsule),
                                 buffer_bytes(&out->ciphertext)};
}

static void answer_shares(struct fake_node *n, struct connection *connection, uint64_t id,
                          const struct message_opening *m);

/* Of as many items as fit. */
static void answer_content(struct fake_node *n, struct connection *connection, uint64_t id, struct bytes body)
{
    struct message_opening m;
    struct args_record_read read;
    uint32_t entries[FAKE_LEAVES];
    struct fake_content contents[FAKE_LEAVES];
    struct message_item items[FAKE_LEAVES];
    struct buffer out = {0};
    CHECK(message_opening_decode(&m, body) == OK);
    uint32_t count = load_read(n->cluster, &read, entries, m.leaf_index);
    CHECK(m.first + m.count <= count);
    if (n->fault == FAKE_OTHER_CONTENT) entries[m.first] = entries[(m.first + 1) % count];
    if (!n->cluster->all_at_once && m.count > 1) m.count = 1; /* one at a time: several rounds */
    for (uint32_t i = 0; i < m.count; i++) items[i] = content_of(n, &contents[i], entries[m.first + i]);
    message_contents_encode(&out, &(struct message_contents){m.first, m.count, items});
    reply(connection, id, MESSAGE_CONTENTS, &out);
    for (uint32_t i = 0; i < m.count; i++) {
        buffer_free(&contents[i].context);
        buffer_free(&contents[i].capsule);
        buffer_free(&contents[i].ciphertext);
    }
    answer_shares(n, connection, id, &m);
}

static void make_share(struct fake_cluster *c, struct share_item *out, uint32_t holder, uint32_t entry,
                       uint64_t leaf_index, bool proof)
{
    struct fake_item item = item_of(c, entry);
    struct tdh2_share share = {.leaf_index = leaf_index, .label = item.label, .epoch = 1, .node = holder};
    struct point verification;
    dkg_commitments_at(&verification, &c->commitments, holder);
    tdh2_share_point(&share.d, &c->shares[holder], &item.capsule.u);
    if (c->nodes[holder].fault == FAKE_BAD_SHARE) { /* by different amounts, or two would cancel each other out */
        struct scalar amount = scalar_from_uint(holder * holder + 1);
        struct point off;
        point_multiply_generator(&off, &amount);
        point_add(&share.d, &share.d, &off);
    }
    tdh2_share_prove(&share, &c->shares[holder], &verification, &item.capsule.u);
    bool none = c->nodes[holder].fault == FAKE_NONE_OF_ITEM;
    *out = (struct share_item){.label = item.label, .epoch = !none, .has_proof = proof};
    if (c->nodes[holder].fault == FAKE_OTHER_LABEL) out->label.bytes[0] ^= 1;
    memcpy(out->share, share.d.bytes, 32);
    if (proof) memcpy(out->proof, share.proof.e.bytes, 32), memcpy(out->proof + 32, share.proof.f.bytes, 32);
    buffer_free(&item.context);
}

static void seal_shares(struct fake_cluster *c, struct message_sealed *out, struct buffer *sealed, uint32_t holder,
                        const struct message_opening *m, const struct args_record_read *read,
                        const uint32_t *entries, uint32_t opened)
{
    struct share_item *items = xcalloc(m->count + 1, sizeof *items);
    struct buffer plain = {0}, text = {0};
    struct signature signature;
    struct seal_public reader = read->reader_key;
    struct seal_secret unused;
    enum fake_fault fault = c->nodes[holder].fault;
    for (uint32_t i = 0; i < m->count; i++)
        make_share(c, &items[i], holder, entries[m->first + i], m->leaf_index, m->with_proofs);
    bool fewer = fault == FAKE_OTHER_EXTENT || fault == FAKE_CONTRADICTS;
    struct read_extent extent = {opened - fewer, 0, c->left_out};
    share_box_encode(&plain, &(struct share_box){m->leaf_index, m->first, holder, m->count, extent, items});
    if (fault == FAKE_FOREIGN_BOX) seal_keypair_random(&unused, &reader);
    CHECK(seal_box(sealed, &reader, buffer_bytes(&plain)) == OK);
    struct share_ask ask = {m->leaf_index, m->first, m->count, m->with_proofs};
    share_box_signing(&text, &ask, buffer_bytes(sealed));
    if (fault == FAKE_UNSIGNED_SHARE) text.data[0] ^= 1;
    sign_message(&signature, &c->secrets[holder].message, buffer_bytes(&text));
    *out = (struct message_sealed){.member = holder, .sealed = buffer_bytes(sealed)};
    memcpy(out->signature, signature.bytes, sizeof out->signature);
    buffer_free(&plain);
    buffer_free(&text);
    free(items);
}

static bool is_excluded(const struct message_opening *m, uint32_t member)
{
    for (uint32_t i = 0; i < m->excluded_count; i++)
        if (m->excluded[i] == member) return true;
    return false;
}

static void answer_shares(struct fake_node *n, struct connection *connection, uint64_t id,
                          const struct message_opening *m)
{
    struct fake_cluster *c = n->cluster;
    struct args_record_read read;
    uint32_t entries[FAKE_LEAVES];
    struct message_shared shared = {0};
    struct buffer boxes[FAKE_NODES] = {0}, out = {0};
    n->shares++;
    if (n->fault == FAKE_DENIES_SHARES) return refuse(connection, id, ERR_DENIED);
    uint32_t opened = load_read(c, &read, entries, m->leaf_index);
    CHECK(m->first + m->count <= opened);
    for (uint32_t i = 0; i < FAKE_NODES && shared.count < c->genesis.quorum; i++) {
        uint32_t holder = (n->member - 1 + i) % FAKE_NODES + 1;
        bool contradicts = n->fault == FAKE_CONTRADICTS;
        if ((is_excluded(m, holder) && !contradicts) || c->nodes[holder].fault == FAKE_NO_SHARE) continue;
        if ((n->fault == FAKE_KEEPS_SHARES || contradicts) && holder != n->member) continue;
        struct message_opening asked = *m;
        if (n->fault == FAKE_REPLAYS_SHARES && i == 1) asked.count = 0;
        seal_shares(c, &shared.shares[shared.count], &boxes[shared.count], holder, &asked, &read, entries,
                    opened);
        shared.count++;
    }
    message_shared_encode(&out, &shared);
    reply(connection, id, MESSAGE_SHARED, &out);
    for (uint32_t i = 0; i < FAKE_NODES; i++)
        buffer_free(&boxes[i]);
}

static void answer_shares_alone(struct fake_node *n, struct connection *connection, uint64_t id, struct bytes body)
{
    struct message_opening m;
    CHECK(message_opening_decode(&m, body) == OK);
    answer_shares(n, connection, id, &m);
}

/* --- the listeners --- */

static void on_open(struct connection *connection, void *data)
{
    (void)data;
    connection_set_data(connection, NULL); /* a stranger until it submits */
}

/* That nobody is there whom to wait for. */
static void answer_status(struct fake_node *n, struct connection *connection, uint64_t id)
{
    struct message_status_ok *m = xcalloc(1, sizeof *m);
    struct buffer body = {0};
    const struct descriptor *members = n->cluster->genesis.members;
    bool other = n->fault == FAKE_OTHER_NAMES;
    m->member_count = FAKE_NODES;
    for (uint32_t i = 0; i < FAKE_NODES; i++)
        m->members[i] = (struct message_member){
            .member = i + 1 - (i == 1 && n->fault == FAKE_MEMBER_TWICE), .reachable = other,
            .state = bytes_text(other ? "quarantined" : ""),
            .name = bytes_text(other ? "nobody\nintegrity: verified" : members[i].name),
            .hospital = bytes_text(other ? "Nowhere\nintegrity: verified" : members[i].hospital)};
    message_status_ok_encode(&body, m);
    reply(connection, id, MESSAGE_STATUS_OK, &body);
    free(m);
}

/* What that member stated, as this node has it. */
static void state(struct buffer *out, const struct fake_node *n, uint32_t member, uint64_t leaf)
{
    struct fake_cluster *c = n->cluster;
    bool next = member == n->member % FAKE_NODES + 1, made_up = next && n->fault == FAKE_MADE_UP_STATE;
    struct state_statement s = {.member = member, .leaf = leaf, .size = leaf + 1, .digest.count = 1};
    s.digest.tables[0] = (struct table_digest){.table = 1, .rows = 1, .digest = sample_digest(made_up)};
    if (next && n->fault == FAKE_STATE_ELSEWHERE) s.leaf++, s.size++;
    state_statement_sign(&s, &c->genesis, &c->secrets[made_up ? n->member : member].message);
    state_statement_encode(out, &s);
}

static void answer_digests(struct fake_node *n, struct connection *connection, uint64_t id, struct bytes body)
{
    struct message_digests m;
    struct message_digests_ok ok = {0};
    struct buffer out = {0}, statements[FAKE_NODES] = {{0}};
    n->digests++;
    CHECK(message_digests_decode(&m, body) == OK);
    ok.leaf = n->fault == FAKE_NO_DIGEST ? 0 : n->fault == FAKE_STATES_BEFORE ? m.leaf - 1 : m.leaf;
    ok.count = n->fault >= FAKE_STATES ? FAKE_NODES : 0;
    for (uint32_t i = 0; i < ok.count; i++) {
        state(&statements[i], n, i + 1, ok.leaf);
        ok.statements[i] = buffer_bytes(&statements[i]);
    }
    message_digests_ok_encode(&out, &ok);
    reply(connection, id, MESSAGE_DIGESTS_OK, &out);
    for (uint32_t i = 0; i < ok.count; i++) buffer_free(&statements[i]);
}

static void answer_leaves(struct fake_node *n, struct connection *connection, uint64_t id, struct bytes body)
{
    struct message_leaves m;
    struct buffer packed = {0}, out = {0};
    n->pages++;
    CHECK(message_leaves_decode(&m, body) == OK);
    bool any = m.from < FAKE_PAGES;
    if (any) leaf_pack(&packed, (struct bytes){0}, buffer_bytes(&n->cluster->leaves[0].bytes));
    message_leaves_ok_encode(&out, &(struct message_leaves_ok){m.from, any, buffer_bytes(&packed), FAKE_PAGES});
    reply(connection, id, MESSAGE_LEAVES_OK, &out);
    buffer_free(&packed);
}

static void take_frame(struct fake_node *n, struct connection *connection, const struct frame *frame, bool known)
{
    n->connection = connection;
    if (n->fault == FAKE_MUTE && frame->type != MESSAGE_HELLO) return;
    switch (frame->type) {
    case MESSAGE_HELLO: answer_hello(n, connection, frame->id); return;
    case MESSAGE_SUBMIT: answer_submit(n, connection, frame->id, frame->body); return;
    case MESSAGE_PROVE: answer_prove(n, connection, frame->id, frame->body); return;
    case MESSAGE_LOOKUP: answer_lookup(n, connection, frame->id, frame->body); return;
    case MESSAGE_KEYS: answer_keys(n, connection, frame->id); return;
    case MESSAGE_CONTENT:
        if (!known)
            refuse(connection, frame->id, ERR_UNAUTHORIZED);
        else
            answer_content(n, connection, frame->id, frame->body);
        return;
    case MESSAGE_SHARES:
        if (!known)
            refuse(connection, frame->id, ERR_UNAUTHORIZED);
        else
            answer_shares_alone(n, connection, frame->id, frame->body);
        return;
    case MESSAGE_LEAVES:
        if (!known)
            refuse(connection, frame->id, ERR_UNAUTHORIZED);
        else
            answer_leaves(n, connection, frame->id, frame->body);
        return;
    case MESSAGE_STATUS: answer_status(n, connection, frame->id); return;
    case MESSAGE_DIGESTS: answer_digests(n, connection, frame->id, frame->body); return;
    }
    refuse(connection, frame->id, ERR_UNKNOWN_TYPE);
}

/* The network's handler data is lost once connection_set_data was called, so each
 * node has callbacks of its own. */
#define NODE_CALLBACKS(i)                                                                          \
    static struct fake_node *node_##i;                                                             \
    static void on_frame_##i(struct connection *connection, const struct frame *frame, void *data) \
    {                                                                                              \
        FAKE_LOCKED(node_##i->cluster, if (node_##i->fault != FAKE_SILENT)                         \
                                           take_frame(node_##i, connection, frame, data != NULL)); \
    }
NODE_CALLBACKS(1)
NODE_CALLBACKS(2)
NODE_CALLBACKS(3)
NODE_CALLBACKS(4)

static void forget_connection(struct fake_node *n, const struct connection *connection)
{
    if (!n || n->connection != connection) return;
    n->connection = NULL;
    n->owed_id = 0;
}

static void on_close(struct connection *connection, enum err code, const char *text, void *data)
{
    struct fake_cluster *c = node_1->cluster;
    (void)code;
    (void)text;
    (void)data;
    FAKE_LOCKED(c, for (uint32_t i = 1; i <= FAKE_NODES; i++) forget_connection(&c->nodes[i], connection));
}

static void listen_on(struct fake_cluster *c, uint32_t member, char address[static ADDRESS_TEXT_SIZE])
{
    void (*const on_frames[])(struct connection *, const struct frame *, void *) = {on_frame_1, on_frame_2, on_frame_3,
                                                                                    on_frame_4};
    struct fake_node *n = &c->nodes[member];
    struct listener_handler handler = {
        .alpn = TLS_ALPN_CLIENT,
        .events = {.on_open = on_open, .on_frame = on_frames[member - 1], .on_close = on_close}};
    struct address any;
    struct failure failure;
    *n = (struct fake_node){.cluster = c, .member = member, .tls = identity_context(member - 1, 0)};
    CHECK(network_new(&n->network, &c->loop, n->tls, NULL) == OK);
    CHECK(address_parse(&any, "127.0.0.1:0", true, &failure) == OK);
    CHECK(listener_new(&n->listener, n->network, &any, &handler, 1, NULL, &failure) == OK);
    address_format(address, listener_address(n->listener));
}

/* --- beginning and end --- */

static void make_genesis(struct fake_cluster *c, uint32_t faulty)
{
    struct genesis made;
    sample_genesis(&made, FAKE_NODES, faulty);
    for (uint32_t i = 1; i <= FAKE_NODES; i++) {
        sample_node_secrets(&c->secrets[i], i);
        made.members[i - 1].tls_pin = identity_of(i - 1)->pin;
        listen_on(c, i, made.members[i - 1].address);
    }
    node_1 = &c->nodes[1], node_2 = &c->nodes[2], node_3 = &c->nodes[3], node_4 = &c->nodes[4];
    CHECK(genesis_format(&c->genesis_text, &made, NULL) == OK);
    CHECK(genesis_parse(&c->genesis, buffer_bytes(&c->genesis_text), NULL) == OK);
    folder_make(c->folder, 1);
    folder_join(c->genesis_file, c->folder, "genesis");
    folder_store(c->folder, "genesis", buffer_bytes(&c->genesis_text));
}

static void activate_key(struct fake_cluster *c)
{
    struct dkg_polynomial polynomial;
    struct point verification[FAKE_NODES];
    struct args_key_activate args = {.secret = KEY_RECORDS, .attempt = 1, .qualified = 0x1e, .n = FAKE_NODES};
    struct buffer encoded = {0}, signed_request = {0};
    struct request_builder builder = {0};
    struct request request;
    dkg_polynomial_random(&polynomial, c->genesis.quorum);
    dkg_commit(&c->commitments, &polynomial);
    for (uint32_t i = 1; i <= FAKE_NODES; i++)
        dkg_subshare(&c->shares[i], &polynomial, i);
    CHECK(dkg_verification_keys(verification, FAKE_NODES, &c->commitments) == OK);
    args.key = c->commitments.points[0];
    memcpy(args.verification, verification, sizeof verification);
    args_key_activate_encode(&encoded, &args);
    struct operation op = {
        .cluster = c->genesis.cluster,
        .request_id = random_id(),
        .issued_at_ms = SAMPLE_TIME,
        .actor = {ACTOR_NODE, c->genesis.members[0].id, key_id_of(&c->genesis.members[0].keys.message)},
        .action = ACTION_KEY_ACTIVATE,
        .args = buffer_bytes(&encoded)};
    CHECK(request_builder_add(&builder, &op, (struct bytes){0}) == OK);
    CHECK(request_builder_sign(&signed_request, &builder, &c->secrets[1].message) == OK);
    CHECK(request_decode(&request, buffer_bytes(&signed_request)) == OK);
    c->activation = record_item(c, &request, 0);
    op.request_id = random_id(), op.action = ACTION_KEY_CLOSE; /* and some entry of somebody else's */
    request_free(&request);
    request_builder_free(&builder);
    buffer_clear(&signed_request);
    buffer_clear(&encoded);
    args_key_close_encode(&encoded, &(struct args_key_close){KEY_RECORDS, 1, 1});
    op.args = buffer_bytes(&encoded);
    CHECK(request_builder_add(&builder, &op, (struct bytes){0}) == OK);
    CHECK(request_builder_sign(&signed_request, &builder, &c->secrets[1].message) == OK);
    CHECK(request_decode(&request, buffer_bytes(&signed_request)) == OK);
    record_item(c, &request, 0);
    request_free(&request);
    request_builder_free(&builder);
    buffer_free(&signed_request);
    buffer_free(&encoded);
}

static void on_network_closed(void *data) { ((struct fake_cluster *)data)->closed++; }

static void on_stop(uv_async_t *async)
{
    struct fake_cluster *c = async->data;
    for (uint32_t i = 1; i <= FAKE_NODES; i++) {
        listener_close(c->nodes[i].listener);
        network_close(c->nodes[i].network, on_network_closed, c);
    }
    uv_close((uv_handle_t *)async, NULL);
    uv_close((uv_handle_t *)&c->change, NULL);
}

static void on_change(uv_async_t *async)
{
    struct fake_cluster *c = async->data;
    pthread_mutex_lock(&c->lock);
    for (uint32_t i = 1; i <= FAKE_NODES; i++) {
        struct fake_node *n = &c->nodes[i];
        if (n->connection && c->notice.size > 0)
            (void)connection_send(n->connection, MESSAGE_NOTICE, 0, buffer_bytes(&c->notice));
        if (n->owed_id && n->fault == FAKE_FINE) {
            send_cosigned(n, n->connection, n->owed_id, &n->owed_index, 1);
            n->owed_id = 0;
        }
    }
    buffer_clear(&c->notice);
    pthread_mutex_unlock(&c->lock);
}

static void *run(void *data)
{
    struct fake_cluster *c = data;
    uv_run(&c->loop, UV_RUN_DEFAULT);
    return NULL;
}

void fake_cluster_start(struct fake_cluster *c, uint32_t faulty)
{
    struct buffer leaf = {0};
    *c = (struct fake_cluster){0};
    pthread_mutexattr_t recursive; /* a connection may close within a callback */
    CHECK(pthread_mutexattr_init(&recursive) == 0);
    CHECK(pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE) == 0);
    CHECK(pthread_mutex_init(&c->lock, &recursive) == 0 && pthread_mutexattr_destroy(&recursive) == 0);
    CHECK(uv_loop_init(&c->loop) == 0 && uv_async_init(&c->loop, &c->stop, on_stop) == 0);
    CHECK(uv_async_init(&c->loop, &c->change, on_change) == 0);
    c->stop.data = c->change.data = c;
    make_genesis(c, faulty);
    genesis_leaf(&leaf, &c->genesis);
    append_leaf(c, &leaf, (struct bytes){0});
    buffer_free(&leaf);
    activate_key(c);
    CHECK(pthread_create(&c->thread, NULL, run, c) == 0);
}

void fake_cluster_end(struct fake_cluster *c)
{
    uv_async_send(&c->stop);
    pthread_join(c->thread, NULL);
    CHECK(c->closed == FAKE_NODES && uv_loop_close(&c->loop) == 0);
    for (uint32_t i = 1; i <= FAKE_NODES; i++) {
        network_free(c->nodes[i].network);
        tls_context_free(c->nodes[i].tls);
    }
    for (uint32_t i = 0; i < c->leaf_count; i++) {
        buffer_free(&c->leaves[i].bytes);
        buffer_free(&c->leaves[i].attachment);
    }
    buffer_free(&c->genesis_text);
    buffer_free(&c->notice);
    pthread_mutex_destroy(&c->lock);
    folder_remove(c->folder);
}

void fake_cluster_fault(struct fake_cluster *c, uint32_t member, enum fake_fault fault)
{
    pthread_mutex_lock(&c->lock);
    for (uint32_t i = 1; i <= FAKE_NODES; i++)
        if (member == 0 || member == i) c->nodes[i].fault = fault;
    pthread_mutex_unlock(&c->lock);
    uv_async_send(&c->change);
}

void fake_cluster_notice(struct fake_cluster *c, struct bytes body)
{
    pthread_mutex_lock(&c->lock);
    buffer_clear(&c->notice);
    buffer_append_bytes(&c->notice, body);
    CHECK(!c->notice.failed);
    pthread_mutex_unlock(&c->lock);
    uv_async_send(&c->change);
}
