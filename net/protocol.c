#include "net/protocol.h"

#include "base/check.h"
#include "base/pack.h"
#include "crypto/hash.h"

/* The highest numbers of ledger/action.h, which is above this layer. */
#define DECISION_MAX 2
#define ACTOR_KIND_MAX 2

/* A number that has to fit into 32 bits. */
static uint32_t unpack_u32(struct unpack *u) { return (uint32_t)unpack_uint_max(u, UINT32_MAX); }

/* Codes travel as numbers; a newer node may know more of them than we do. */
static enum err unpack_code(struct unpack *u) { return (enum err)unpack_uint_max(u, 0xffff); }

/* --- HELLO, WELCOME --- */

void message_hello_encode(struct buffer *out, const struct message_hello *m)
{
    pack_array(out, 2);
    pack_uint(out, m->version);
    pack_str(out, m->program);
}

enum err message_hello_decode(struct message_hello *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->version = unpack_uint(&u);
    m->program = unpack_str(&u, LIMIT_NAME);
    return unpack_done(&u);
}

void message_welcome_encode(struct buffer *out, const struct message_welcome *m)
{
    pack_array(out, 9);
    pack_id(out, &m->node);
    pack_uint(out, m->member);
    pack_digest(out, &m->cluster);
    pack_uint(out, m->now_ms);
    pack_uint(out, m->nodes);
    pack_uint(out, m->faulty);
    pack_uint(out, m->quorum);
    pack_str(out, m->state);
    pack_str(out, m->warning);
}

enum err message_welcome_decode(struct message_welcome *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 9);
    m->node = unpack_id(&u);
    m->member = unpack_u32(&u);
    m->cluster = unpack_digest(&u);
    m->now_ms = unpack_uint(&u);
    m->nodes = unpack_u32(&u);
    m->faulty = unpack_u32(&u);
    m->quorum = unpack_u32(&u);
    m->state = unpack_str(&u, LIMIT_NAME);
    m->warning = unpack_str(&u, LIMIT_NOTE);
    return unpack_done(&u);
}

/* --- SUBMIT, APPLIED, COSIGNED, FAILED --- */

void message_submit_encode(struct buffer *out, const struct message_submit *m)
{
    pack_array(out, 2);
    pack_bytes(out, m->request);
    pack_uint(out, m->wait);
}

enum err message_submit_decode(struct message_submit *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->request = unpack_bin(&u, LIMIT_REQUEST);
    m->wait = (enum wait)unpack_uint_max(&u, WAIT_COSIGNED);
    return unpack_done(&u);
}

void message_applied_encode(struct buffer *out, const struct message_applied *m)
{
    CHECK(m->count >= 1 && m->count <= LIMIT_OPERATIONS);
    pack_array(out, 1);
    pack_array(out, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        const struct message_result *r = &m->results[i];
        pack_array(out, 5);
        pack_uint(out, r->code);
        pack_uint(out, r->leaf_index);
        pack_uint(out, r->decision);
        pack_uint(out, r->reason);
        pack_bytes(out, r->answer);
    }
}

static void unpack_result(struct unpack *u, struct message_result *r)
{
    unpack_array_of(u, 5);
    r->code = unpack_code(u);
    r->leaf_index = unpack_uint(u);
    r->decision = (uint32_t)unpack_uint_max(u, DECISION_MAX);
    r->reason = (uint32_t)unpack_uint_max(u, 0xffff);
    r->answer = unpack_bin(u, LIMIT_ANSWER);
}

enum err message_applied_decode(struct message_applied *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->count = unpack_array(&u, LIMIT_OPERATIONS);
    if (m->count == 0) unpack_fail(&u, ERR_MALFORMED);
    for (uint32_t i = 0; i < m->count && u.error == OK; i++)
        unpack_result(&u, &m->results[i]);
    return unpack_done(&u);
}

void message_cosigned_encode(struct buffer *out, const struct message_cosigned *m)
{
    CHECK(m->count >= 1 && m->count <= LIMIT_OPERATIONS);
    pack_array(out, 2);
    pack_bytes(out, m->note);
    pack_array(out, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        CHECK(m->proofs[i].count <= LIMIT_PROOF);
        pack_array(out, 2);
        pack_bytes(out, m->proofs[i].leaf);
        pack_digests(out, m->proofs[i].hashes, m->proofs[i].count);
    }
}

enum err message_cosigned_decode(struct message_cosigned *m, struct digest *hashes, size_t capacity,
                                 struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->note = unpack_bin(&u, LIMIT_CHECKPOINT_NOTE);
    m->count = unpack_array(&u, LIMIT_OPERATIONS);
    if (m->count == 0) unpack_fail(&u, ERR_MALFORMED);
    size_t used = 0;
    for (uint32_t i = 0; i < m->count && u.error == OK; i++) {
        struct message_proof *p = &m->proofs[i];
        size_t room = capacity - used < LIMIT_PROOF ? capacity - used : LIMIT_PROOF;
        unpack_array_of(&u, 2);
        p->leaf = unpack_bin(&u, LIMIT_OPERATION * 2);
        p->hashes = hashes + used;
        p->count = unpack_digests(&u, hashes + used, room);
        used += p->count;
    }
    return unpack_done(&u);
}

void message_failed_encode(struct buffer *out, const struct message_failed *m)
{
    pack_array(out, 3);
    pack_uint(out, m->code);
    pack_str(out, m->text);
    pack_uint(out, m->retry_after_ms);
}

enum err message_failed_decode(struct message_failed *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 3);
    m->code = unpack_code(&u);
    if (m->code == OK) unpack_fail(&u, ERR_MALFORMED); /* a failure is never "done" */
    m->text = unpack_str(&u, LIMIT_NOTE);
    m->retry_after_ms = unpack_uint(&u);
    return unpack_done(&u);
}

/* --- LOOKUP, FOUND, PROVE --- */

void message_lookup_encode(struct buffer *out, const struct message_lookup *m)
{
    pack_array(out, 4);
    pack_uint(out, m->kind);
    pack_id(out, &m->actor);
    pack_uint(out, m->issued_at_ms);
    pack_id(out, &m->request);
}

enum err message_lookup_decode(struct message_lookup *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    m->kind = (uint32_t)unpack_uint_max(&u, ACTOR_KIND_MAX);
    if (m->kind == 0) unpack_fail(&u, ERR_MALFORMED);
    m->actor = unpack_id(&u);
    m->issued_at_ms = unpack_uint(&u);
    m->request = unpack_id(&u);
    return unpack_done(&u);
}

void message_found_encode(struct buffer *out, const struct message_found *m)
{
    pack_array(out, 6);
    pack_bool(out, m->found);
    pack_uint(out, m->leaf_index);
    pack_uint(out, m->decision);
    pack_uint(out, m->reason);
    pack_uint(out, m->witnessed_time_ms);
    pack_bool(out, m->leader_known);
}

enum err message_found_decode(struct message_found *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 6);
    m->found = unpack_bool(&u);
    m->leaf_index = unpack_uint(&u);
    m->decision = (uint32_t)unpack_uint_max(&u, DECISION_MAX);
    m->reason = (uint32_t)unpack_uint_max(&u, 0xffff);
    m->witnessed_time_ms = unpack_uint(&u);
    m->leader_known = unpack_bool(&u);
    return unpack_done(&u);
}

static void pack_prove(struct buffer *out, const struct message_prove *m)
{
    CHECK(m->count >= 1 && m->count <= LIMIT_OPERATIONS);
    pack_array(out, m->count);
    for (uint32_t i = 0; i < m->count; i++)
        pack_uint(out, m->leaves[i]);
}

static void unpack_prove(struct message_prove *m, struct unpack *u)
{
    m->count = unpack_array(u, LIMIT_OPERATIONS);
    if (m->count == 0) unpack_fail(u, ERR_MALFORMED);
    for (uint32_t i = 0; i < m->count && u->error == OK; i++)
        m->leaves[i] = unpack_uint(u);
}

void message_prove_encode(struct buffer *out, const struct message_prove *m) { pack_prove(out, m); }

enum err message_prove_decode(struct message_prove *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_prove(m, &u);
    return unpack_done(&u);
}

void message_prove_rows_encode(struct buffer *out, const struct message_prove_rows *m)
{
    pack_array(out, 2);
    pack_uint(out, m->query);
    pack_prove(out, &m->rows);
}

enum err message_prove_rows_decode(struct message_prove_rows *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->query = unpack_uint(&u);
    unpack_prove(&m->rows, &u);
    return unpack_done(&u);
}

/* --- CONTENT and SHARES, CONTENTS --- */

void message_opening_encode(struct buffer *out, const struct message_opening *m)
{
    CHECK(m->count <= LIMIT_OPENED && m->excluded_count <= LIMIT_NODES);
    pack_array(out, 5);
    pack_uint(out, m->leaf_index);
    pack_uint(out, m->first);
    pack_uint(out, m->count);
    pack_bool(out, m->with_proofs);
    pack_array(out, m->excluded_count);
    for (uint32_t i = 0; i < m->excluded_count; i++)
        pack_uint(out, m->excluded[i]);
}

enum err message_opening_decode(struct message_opening *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 5);
    m->leaf_index = unpack_uint(&u);
    m->first = (uint32_t)unpack_uint_max(&u, LIMIT_OPENED);
    m->count = (uint32_t)unpack_uint_max(&u, LIMIT_OPENED);
    m->with_proofs = unpack_bool(&u);
    m->excluded_count = unpack_array(&u, LIMIT_NODES);
    for (uint32_t i = 0; i < m->excluded_count && u.error == OK; i++)
        m->excluded[i] = unpack_u32(&u);
    return unpack_done(&u);
}

void message_contents_encode(struct buffer *out, const struct message_contents *m)
{
    CHECK(m->count <= LIMIT_OPENED);
    pack_array(out, 2);
    pack_uint(out, m->first);
    pack_array(out, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        pack_array(out, 3);
        pack_bytes(out, m->items[i].context);
        pack_bytes(out, m->items[i].capsule);
        pack_bytes(out, m->items[i].ciphertext);
    }
}

enum err message_contents_decode(struct message_contents *m, struct message_item *items,
                                 size_t capacity, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->first = (uint32_t)unpack_uint_max(&u, LIMIT_OPENED);
    m->count = unpack_array(&u, capacity < LIMIT_OPENED ? (uint32_t)capacity : LIMIT_OPENED);
    m->items = items;
    for (uint32_t i = 0; i < m->count && u.error == OK; i++) {
        unpack_array_of(&u, 3);
        items[i].context = unpack_bin(&u, LIMIT_CAPSULE);
        items[i].capsule = unpack_bin(&u, LIMIT_CAPSULE);
        items[i].ciphertext = unpack_bin(&u, LIMIT_ATTACHMENT);
    }
    return unpack_done(&u);
}

/* --- SHARED and what is sealed in it --- */

void message_shared_encode(struct buffer *out, const struct message_shared *m)
{
    CHECK(m->count <= LIMIT_NODES);
    pack_array(out, 1);
    pack_array(out, m->count);
    for (uint32_t i = 0; i < m->count; i++) {
        pack_array(out, 3);
        pack_uint(out, m->shares[i].member);
        pack_bytes(out, m->shares[i].sealed);
        pack_bin(out, m->shares[i].signature, sizeof m->shares[i].signature);
    }
}

enum err message_shared_decode(struct message_shared *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->count = unpack_array(&u, LIMIT_NODES);
    for (uint32_t i = 0; i < m->count && u.error == OK; i++) {
        unpack_array_of(&u, 3);
        m->shares[i].member = unpack_u32(&u);
        m->shares[i].sealed = unpack_bin(&u, LIMIT_ANSWER);
        unpack_bin_exact(&u, m->shares[i].signature, sizeof m->shares[i].signature);
    }
    return unpack_done(&u);
}

bool read_extent_equal(const struct read_extent *a, const struct read_extent *b)
{
    return a->count == b->count && a->next == b->next && a->left_out == b->left_out;
}

void share_box_encode(struct buffer *out, const struct share_box *b)
{
    CHECK(b->count <= LIMIT_OPENED);
    pack_array(out, 5);
    pack_uint(out, b->leaf_index);
    pack_uint(out, b->first);
    pack_uint(out, b->member);
    pack_array(out, 3);
    pack_uint(out, b->extent.count);
    pack_uint(out, b->extent.next);
    pack_uint(out, b->extent.left_out);
    pack_array(out, b->count);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct share_item *item = &b->items[i];
        pack_array(out, 4);
        pack_digest(out, &item->label);
        pack_uint(out, item->epoch);
        pack_bin(out, item->share, sizeof item->share);
        pack_bin(out, item->proof, item->has_proof ? sizeof item->proof : 0);
    }
}

static void unpack_share_item(struct unpack *u, struct share_item *item)
{
    *item = (struct share_item){0};
    unpack_array_of(u, 4);
    item->label = unpack_digest(u);
    item->epoch = unpack_uint(u);
    unpack_bin_exact(u, item->share, sizeof item->share);
    struct bytes proof = unpack_bin(u, sizeof item->proof);
    item->has_proof = proof.size > 0;
    if (proof.size == sizeof item->proof)
        for (size_t i = 0; i < proof.size; i++)
            item->proof[i] = proof.data[i];
    else if (item->has_proof)
        unpack_fail(u, ERR_MALFORMED);
}

enum err share_box_decode(struct share_box *b, struct share_item *items, size_t capacity, struct bytes plain)
{
    struct unpack u = unpack_start(plain);
    unpack_array_of(&u, 5);
    b->leaf_index = unpack_uint(&u);
    b->first = (uint32_t)unpack_uint_max(&u, LIMIT_OPENED);
    b->member = unpack_u32(&u);
    unpack_array_of(&u, 3);
    b->extent.count = (uint32_t)unpack_uint_max(&u, LIMIT_OPENED);
    b->extent.next = unpack_uint(&u);
    b->extent.left_out = unpack_uint(&u);
    b->count = unpack_array(&u, capacity < LIMIT_OPENED ? (uint32_t)capacity : LIMIT_OPENED);
    b->items = items;
    for (uint32_t i = 0; i < b->count && u.error == OK; i++)
        unpack_share_item(&u, &items[i]);
    return unpack_done(&u);
}

void share_box_signing(struct buffer *out, const struct share_ask *ask, struct bytes sealed)
{
    struct digest hash;
    uint8_t place[8 + 4 + 4 + 1];
    hash_sha256(&hash, sealed.data, sealed.size);
    put_be64(place, ask->leaf_index);
    put_be32(place + 8, ask->first);
    put_be32(place + 12, ask->count);
    place[16] = ask->with_proofs;
    buffer_append_text(out, "consilium/shares/v2\n");
    buffer_append(out, place, sizeof place);
    buffer_append(out, hash.bytes, sizeof hash.bytes);
}

/* --- STATUS_OK, and questions without fields --- */

static void pack_member(struct buffer *out, const struct message_member *r)
{
    pack_array(out, 15);
    pack_uint(out, r->member);
    pack_str(out, r->name);
    pack_str(out, r->hospital);
    pack_bool(out, r->reachable);
    pack_str(out, r->state);
    pack_uint(out, r->term);
    pack_uint(out, r->last);
    pack_uint(out, r->applied);
    pack_uint(out, r->cosigned_size);
    pack_uint(out, r->witnessed_size);
    pack_uint(out, r->ledger_size);
    pack_digest(out, &r->root);
    pack_str(out, r->version);
    pack_bool(out, r->leads);
    pack_uint(out, r->time_ms);
}

static void unpack_member(struct unpack *u, struct message_member *r)
{
    unpack_array_of(u, 15);
    r->member = unpack_u32(u);
    r->name = unpack_str(u, LIMIT_NAME);
    r->hospital = unpack_str(u, LIMIT_NAME);
    r->reachable = unpack_bool(u);
    r->state = unpack_str(u, LIMIT_NAME);
    r->term = unpack_uint(u);
    r->last = unpack_uint(u);
    r->applied = unpack_uint(u);
    r->cosigned_size = unpack_uint(u);
    r->witnessed_size = unpack_uint(u);
    r->ledger_size = unpack_uint(u);
    r->root = unpack_digest(u);
    r->version = unpack_str(u, LIMIT_NAME);
    r->leads = unpack_bool(u);
    r->time_ms = unpack_uint(u);
}

void message_status_ok_encode(struct buffer *out, const struct message_status_ok *m)
{
    CHECK(m->member_count <= LIMIT_NODES && m->counter_count <= LIMIT_COUNTERS);
    pack_array(out, 2);
    pack_array(out, m->member_count);
    for (uint32_t i = 0; i < m->member_count; i++)
        pack_member(out, &m->members[i]);
    pack_array(out, m->counter_count);
    for (uint32_t i = 0; i < m->counter_count; i++) {
        pack_array(out, 2);
        pack_str(out, m->counters[i].name);
        pack_uint(out, m->counters[i].value);
    }
}

enum err message_status_ok_decode(struct message_status_ok *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->member_count = unpack_array(&u, LIMIT_NODES);
    for (uint32_t i = 0; i < m->member_count && u.error == OK; i++)
        unpack_member(&u, &m->members[i]);
    m->counter_count = unpack_array(&u, LIMIT_COUNTERS);
    for (uint32_t i = 0; i < m->counter_count && u.error == OK; i++) {
        unpack_array_of(&u, 2);
        m->counters[i].name = unpack_str(&u, LIMIT_NAME);
        m->counters[i].value = unpack_uint(&u);
    }
    return unpack_done(&u);
}

void message_empty_encode(struct buffer *out) { pack_array(out, 0); }

enum err message_empty_decode(struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 0);
    return unpack_done(&u);
}

/* --- NOTE, KEYS, KEY --- */

void message_note_encode(struct buffer *out, const struct message_note *m)
{
    pack_array(out, 1);
    pack_bytes(out, m->note);
}

enum err message_note_decode(struct message_note *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->note = unpack_bin(&u, LIMIT_CHECKPOINT_NOTE);
    return unpack_done(&u);
}

void message_keys_encode(struct buffer *out, const struct message_keys *m)
{
    pack_array(out, 1);
    pack_uint(out, m->secret);
}

enum err message_keys_decode(struct message_keys *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->secret = unpack_u32(&u);
    return unpack_done(&u);
}

void message_key_encode(struct buffer *out, const struct message_key *m)
{
    CHECK(m->hash_count <= LIMIT_PROOF);
    pack_array(out, 4);
    pack_bytes(out, m->leaf);
    pack_uint(out, m->index);
    pack_digests(out, m->hashes, m->hash_count);
    pack_bytes(out, m->note);
}

enum err message_key_decode(struct message_key *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    m->leaf = unpack_bin(&u, LIMIT_OPERATION * 2);
    m->index = unpack_uint(&u);
    m->hash_count = unpack_digests(&u, m->hashes, LIMIT_PROOF);
    m->note = unpack_bin(&u, LIMIT_CHECKPOINT_NOTE);
    return unpack_done(&u);
}
