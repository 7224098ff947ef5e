#include "tests/bench/floor_internal.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/content.h"
#include "consensus/entry.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/time_id.h"
#include "ledger/attachment.h"
#include "ledger/record.h"
#include "ledger/release.h"

/* --- the clock: this thread's processor time --- */

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* What was done since the last call belongs to this part. */
static void did(struct floor *f, enum floor_part part)
{
    double now = now_us();
    f->us[part] += now - f->last_us;
    f->last_us = now;
}

/* --- connections --- */

static void pump(struct pair *p, unsigned from)
{
    struct buffer out = {0};
    tls_feed(p->ends[1 - from], buffer_bytes(&p->wire));
    tls_handshake(p->ends[1 - from], &out);
    buffer_free(&p->wire);
    p->wire = out;
}

void floor_pair_open(struct pair *p, struct floor *f)
{
    struct digest pin = tls_context_pin(f->server);
    CHECK(tls_client_new(&p->ends[0], f->client, TLS_ALPN_CLIENT, &pin, NULL) == OK);
    CHECK(tls_server_new(&p->ends[1], f->server) == OK);
    tls_handshake(p->ends[0], &p->wire);
    for (unsigned side = 0; p->wire.size; side = 1 - side) pump(p, side);
    CHECK(tls_state(p->ends[0]) == TLS_OPEN && tls_state(p->ends[1]) == TLS_OPEN);
}

void floor_pair_close(struct pair *p)
{
    for (unsigned i = 0; i < 2; i++) {
        tls_session_free(p->ends[i]);
        frame_reader_free(&p->readers[i]);
    }
    buffer_free(&p->wire);
    buffer_free(&p->plain);
    buffer_free(&p->frame);
}

/* One frame from one end to the other; a view until the next. */
static struct bytes pass(struct pair *p, unsigned from, uint32_t type, struct bytes body)
{
    static uint8_t part[16384];
    struct frame f;
    size_t n;
    buffer_clear(&p->frame);
    buffer_clear(&p->wire);
    buffer_clear(&p->plain);
    CHECK(frame_append(&p->frame, type, 1, body) == OK);
    CHECK(tls_write(p->ends[from], &p->wire, buffer_bytes(&p->frame)) == OK);
    tls_feed(p->ends[1 - from], buffer_bytes(&p->wire));
    while ((n = tls_read(p->ends[1 - from], part, sizeof part, &p->frame)) > 0) buffer_append(&p->plain, part, n);
    struct frame_reader *r = &p->readers[1 - from];
    while (frame_next(r, &f) == OK) CHECK(!"a frame is left");
    frame_feed(r, buffer_bytes(&p->plain));
    CHECK(frame_next(r, &f) == OK);
    return f.body;
}

/* --- requests --- */

static void event_of(struct buffer *args, struct buffer *content, const struct floor *f)
{
    struct args_event_add a = {.patient = sample_id(PATIENT), .what = bytes_text("bill.print"),
                               .object = bytes_text("invoice")};
    args_event_add_encode(args, &a);
    memset(buffer_extend(content, f->bytes), 'n', f->bytes);
}

static void record_of(struct buffer *args, struct buffer *content, struct floor *f, struct one *one)
{
    struct failure failure;
    struct buffer plain = {0};
    struct args_record_create a = {.record = time_id(clock_wall_ms()), .patient = sample_id(PATIENT),
                                   .kind = bytes_text("note"), .conf = CONF_NORMAL};
    struct record_context context = {.cluster = f->members[0].kit.genesis.cluster, .patient = a.patient,
                                     .record = a.record, .version = 1, .conf = CONF_NORMAL,
                                     .author = f->doctor.actor.id};
    if (f->record_count < RECORDS) f->records[f->record_count++] = a.record;
    memset(buffer_extend(&plain, f->bytes), 'r', f->bytes);
    CHECK(content_close(content, &f->collective, &context, buffer_bytes(&plain), &failure) == OK);
    buffer_clear(&one->context);
    record_context_encode(&one->context, &context);
    args_record_create_encode(args, &a);
    buffer_free(&plain);
}

static void read_of(struct buffer *args, struct floor *f, struct one *one)
{
    seal_keypair_random(&one->reader.secret, &one->reader.public_key);
    struct args_record_read a = {.record = f->records[random_below((uint32_t)f->record_count)],
                                 .reader_key = one->reader.public_key, .limit = 1};
    args_record_read_encode(args, &a);
}

static void make(struct floor *f, struct one *one, enum work work)
{
    request_builder_free(&one->builder);
    memset(&one->builder, 0, sizeof one->builder);
    for (unsigned i = 0; i < f->operations; i++) {
        struct buffer args = {0}, content = {0}, attachment = {0};
        uint8_t salt[ATTACHMENT_SALT];
        struct operation op = {.cluster = f->members[0].kit.genesis.cluster, .request_id = random_id(),
                               .issued_at_ms = f->members[0].kit.now, .actor = f->doctor.actor,
                               .purpose = PURPOSE_TREATMENT};
        switch (work) {
        case WORK_EVENT: event_of(&args, &content, f); op.action = ACTION_EVENT_ADD; break;
        case WORK_RECORD_CREATE: record_of(&args, &content, f, one); op.action = ACTION_RECORD_CREATE; break;
        case WORK_RECORD_SHOW: read_of(&args, f, one); op.action = ACTION_RECORD_READ; break;
        case WORK_LOG: abort();
        }
        random_bytes(salt, sizeof salt);
        if (content.size) attachment_encode(&attachment, salt, buffer_bytes(&content));
        op.args = buffer_bytes(&args);
        CHECK(request_builder_add(&one->builder, &op, buffer_bytes(&attachment)) == OK);
        buffer_free(&args);
        buffer_free(&content);
        buffer_free(&attachment);
    }
    buffer_clear(&one->request);
    CHECK(request_builder_sign(&one->request, &one->builder, &f->doctor.secret) == OK);
}

/* --- nodes --- */

/* As the node that takes a record checks it. */
static void check_capsule(const struct floor *f, const struct one *one, struct bytes encoded)
{
    struct attachment a;
    struct content content;
    struct tdh2_capsule capsule;
    CHECK(attachment_decode(&a, encoded) == OK && content_decode(&content, a.content) == OK);
    CHECK(tdh2_capsule_decode(&capsule, content.capsule) == OK);
    struct digest label = record_label(buffer_bytes(&one->context), content.ciphertext);
    CHECK(tdh2_capsule_verify(&capsule, &f->collective.key, &label) == OK);
}

/* Client -> a node, which looks at it -> the leader. The node's own verification comes with its block. */
static void take(struct floor *f, unsigned i, enum work work)
{
    struct one *one = &f->ones[i];
    struct request r;
    struct message_submit m = {.request = buffer_bytes(&one->request), .wait = WAIT_APPLIED};
    buffer_clear(&one->body);
    message_submit_encode(&one->body, &m);
    struct bytes body = pass(&f->to_node, 0, MESSAGE_SUBMIT, buffer_bytes(&one->body));
    did(f, FLOOR_TLS);
    CHECK(message_submit_decode(&m, body) == OK && request_decode(&r, m.request) == OK);
    if (work == WORK_RECORD_CREATE)
        for (uint32_t j = 0; j < r.count; j++) check_capsule(f, one, r.items[j].attachment);
    request_free(&r);
    did(f, FLOOR_VERIFY);
    if (i % f->n != 0) pass(&f->to_peer, 0, FRAME_FORWARD, buffer_bytes(&one->body));
    did(f, FLOOR_TLS);
}

static void lead(struct floor *f)
{
    struct bytes requests[BLOCK_REQUESTS];
    struct block_place place = {.cluster = f->members[0].kit.genesis.cluster, .term = 1, .index = ++f->index};
    for (unsigned i = 0; i < BLOCK_REQUESTS; i++) requests[i] = buffer_bytes(&f->ones[i].request);
    buffer_clear(&f->block);
    CHECK(buffer_extend(&f->block, ENTRY_HEAD));
    block_encode(&f->block, f->members[0].kit.now, requests, BLOCK_REQUESTS);
    entry_sign(&f->block, &place, 1, &f->members[0].kit.nodes[1].message);
    did(f, FLOOR_BLOCK);
}

static void persist(struct floor *f, struct member *m)
{
    struct log_entry entry = {.index = f->index, .term = 1, .kind = 1, .payload = buffer_bytes(&f->block)};
    CHECK(log_append(m->log, &entry, 1) == OK && log_sync(m->log) == OK);
    did(f, FLOOR_LOG);
}

static void apply(struct floor *f, unsigned node, struct block *block)
{
    struct member *m = &f->members[node];
    bool wanted[BLOCK_REQUESTS];
    for (unsigned i = 0; i < BLOCK_REQUESTS; i++) wanted[i] = i % f->n == node;
    CHECK(ledger_apply(m->kit.ledger, m->kit.txn, &m->kit.results, block, wanted, f->index, 1) == OK);
    for (size_t i = 0; i < m->kit.results.count; i++)
        CHECK(m->kit.results.items[i].code == OK && m->kit.results.items[i].decision == DECISION_APPROVED);
    did(f, FLOOR_APPLY);
    if (ledger_size(m->kit.ledger) - m->committed < COMMIT_LEAVES) return;
    m->committed = ledger_size(m->kit.ledger);
    CHECK(store_commit(m->kit.txn) == OK && store_begin_write(&m->kit.txn, m->kit.store) == OK);
    did(f, FLOOR_COMMIT);
}

/* A frame's body is one value of msgpack. */
static struct bytes packed(struct floor *f)
{
    buffer_clear(&f->packed);
    pack_bytes(&f->packed, buffer_bytes(&f->block));
    return buffer_bytes(&f->packed);
}

static void follow(struct floor *f, unsigned node)
{
    struct member *m = &f->members[node];
    struct entry entry;
    struct block block;
    struct block_place place = {.cluster = m->kit.genesis.cluster, .term = 1, .index = f->index};
    struct bytes bytes = buffer_bytes(&f->block);
    static const uint8_t acknowledgement[50] = {0xc4, 48}; /* bin of 48 */
    if (node != 0) pass(&f->to_peer, 0, FRAME_FORWARD, packed(f)); /* the same bytes, so the leader's are read */
    did(f, FLOOR_TLS);
    CHECK(entry_open(&entry, bytes) == OK);
    if (node != 0) CHECK(entry_verify(&entry, &place, &genesis_member(&m->kit.genesis, 1)->keys.message) == OK);
    did(f, FLOOR_BLOCK);
    CHECK(block_decode(&block, entry.block) == OK);
    for (uint32_t i = 0; i < block.count; i++) request_check(&block.requests[i], &f->doctor.key);
    did(f, FLOOR_VERIFY);
    persist(f, m);
    if (node != 0) pass(&f->to_peer, 1, FRAME_FORWARD, BYTES(acknowledgement));
    did(f, FLOOR_TLS);
    apply(f, node, &block);
    block_free(&block);
}

static void answer(struct floor *f, unsigned i)
{
    static struct message_applied m;
    const struct ledger_results *r = &f->members[i % f->n].kit.results;
    m.count = f->operations;
    for (unsigned j = 0; j < f->operations; j++) {
        const struct ledger_result *one = &r->items[i * f->operations + j];
        m.results[j] = (struct message_result){one->code, one->leaf_index, one->decision, one->reason, one->answer};
    }
    buffer_clear(&f->ones[i].body);
    message_applied_encode(&f->ones[i].body, &m);
    CHECK(message_applied_decode(&m, pass(&f->to_node, 1, MESSAGE_APPLIED, buffer_bytes(&f->ones[i].body))) == OK);
    did(f, FLOOR_TLS);
}

/* --- a read: shares and opening --- */

/* One node's, as node/release.c gives it; the capsule was verified when it was first opened. */
static void share(struct floor *f, unsigned node, struct one *one, uint64_t leaf, struct message_sealed *out,
                  struct buffer *sealed)
{
    struct member *m = &f->members[node];
    struct release release;
    struct content_info info;
    struct tdh2_capsule capsule;
    struct point d;
    struct signature signature;
    struct buffer plain = {0}, signing = {0};
    CHECK(release_load(&release, m->kit.txn, leaf) == OK && release.count == 1);
    CHECK(release_info(&info, m->kit.txn, &release, 0) == OK);
    CHECK(tdh2_capsule_decode(&capsule, bytes_of(info.capsule, info.capsule_size)) == OK);
    struct share_item item = {.epoch = 1};
    item.label = tdh2_label(bytes_of(info.context, info.context_size), &info.ciphertext_hash);
    tdh2_share_point(&d, &m->share, &capsule.u);
    memcpy(item.share, d.bytes, sizeof item.share);
    struct share_box box = {.leaf_index = leaf, .member = node + 1, .extent.count = 1, .count = 1,
                            .items = &item};
    share_box_encode(&plain, &box);
    buffer_clear(sealed);
    CHECK(seal_box(sealed, &one->reader.public_key, buffer_bytes(&plain)) == OK);
    share_box_signing(&signing, &(struct share_ask){.leaf_index = leaf, .count = 1}, buffer_bytes(sealed));
    sign_message(&signature, &m->kit.nodes[node + 1].message, buffer_bytes(&signing));
    out->member = node + 1;
    out->sealed = buffer_bytes(sealed);
    memcpy(out->signature, signature.bytes, sizeof out->signature);
    buffer_free(&plain);
    buffer_free(&signing);
    did(f, FLOOR_SHARES);
    if (node == 0) return; /* the one that serves the client */
    buffer_clear(&f->packed);
    pack_bytes(&f->packed, out->sealed);
    pass(&f->to_peer, 1, FRAME_FORWARD, buffer_bytes(&f->packed));
    did(f, FLOOR_TLS);
}

/* The content, by the node that serves the client; a view into the link's buffer is kept in `kept`. */
static void give_content(struct floor *f, uint64_t leaf, struct buffer *kept)
{
    struct kit *kit = &f->members[0].kit;
    struct release release;
    struct content_info info;
    struct buffer ciphertext = {0}, body = {0};
    CHECK(release_load(&release, kit->txn, leaf) == OK && release_info(&info, kit->txn, &release, 0) == OK);
    CHECK(release_ciphertext(&ciphertext, kit->txn, &release, 0, &info) == OK);
    struct message_item item = {bytes_of(info.context, info.context_size), bytes_of(info.capsule, info.capsule_size),
                                buffer_bytes(&ciphertext)};
    message_contents_encode(&body, &(struct message_contents){.count = 1, .items = &item});
    did(f, FLOOR_SHARES);
    buffer_clear(kept);
    buffer_append_bytes(kept, pass(&f->to_node, 1, MESSAGE_CONTENTS, buffer_bytes(&body)));
    did(f, FLOOR_TLS);
    buffer_free(&ciphertext);
    buffer_free(&body);
}

static void open_content(struct floor *f, struct one *one, uint64_t leaf, struct bytes contents, struct bytes shared)
{
    static struct message_item items[LIMIT_OPENED];
    const struct genesis *genesis = &f->members[0].kit.genesis;
    struct message_contents m;
    struct share_set set;
    struct sealed_item item;
    uint8_t key[32];
    CHECK(message_contents_decode(&m, items, LIMIT_OPENED, contents) == OK);
    CHECK(tdh2_capsule_decode(&item.capsule, items[0].capsule) == OK);
    hash_sha256(&item.context_hash, items[0].context.data, items[0].context.size);
    item.label = record_label(items[0].context, items[0].ciphertext);
    CHECK(share_set_read(&set, genesis, &one->reader, &(struct share_ask){.leaf_index = leaf, .count = 1},
                         &(struct read_extent){.count = 1}, shared) == OK);
    member_set fitting = share_set_sort(&set, 0, &item.label, 1).fitting;
    CHECK(share_set_open(key, &set, 0, &f->collective, &item, fitting, genesis->quorum) == OK);
    uint8_t *plain = xmalloc(items[0].ciphertext.size);
    CHECK(aead_decrypt(plain, key, AEAD_ZERO_NONCE, items[0].ciphertext, items[0].context) == OK && plain[0] == 'r');
    free(plain);
    share_set_free(&set);
    did(f, FLOOR_OPEN);
}

static void release_one(struct floor *f, unsigned i)
{
    static struct buffer sealed[LIMIT_NODES], contents, body; /* kept from call to call */
    struct one *one = &f->ones[i];
    uint64_t leaf = f->members[0].kit.results.items[i].leaf_index;
    struct message_shared m = {.count = f->members[0].kit.genesis.quorum};
    give_content(f, leaf, &contents);
    for (unsigned node = 0; node < m.count; node++) share(f, node, one, leaf, &m.shares[node], &sealed[node]);
    buffer_clear(&body);
    message_shared_encode(&body, &m);
    struct bytes shared = pass(&f->to_node, 1, MESSAGE_SHARED, buffer_bytes(&body));
    did(f, FLOOR_TLS);
    open_content(f, one, leaf, buffer_bytes(&contents), shared);
}

/* --- a block --- */

void floor_restart(struct floor *f)
{
    memset(f->us, 0, sizeof f->us);
    f->last_us = now_us();
}

void floor_block(struct floor *f, enum work work)
{
    for (unsigned i = 0; i < BLOCK_REQUESTS; i++) {
        make(f, &f->ones[i], work);
        did(f, FLOOR_CLIENT);
        take(f, i, work);
    }
    lead(f);
    for (unsigned node = 0; node < f->n; node++) follow(f, node);
    for (unsigned i = 0; i < BLOCK_REQUESTS; i++) {
        answer(f, i);
        if (work == WORK_RECORD_SHOW) release_one(f, i);
    }
    for (unsigned node = 0; node < f->n; node++) f->members[node].kit.now += KIT_TICK;
}
