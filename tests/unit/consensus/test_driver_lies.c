/* What a lying or broken leader sends: refused, not acknowledged, kept as evidence.
 * Node 3 is played by the test. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "consensus/entry.h"
#include "consensus/peer_messages.h"
#include "consensus/raft.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define LIAR 3

static struct bed bed;
static uint64_t term;
static struct raft_message answer; /* the last answer to an append */

/* Answers to the liar come here: it has no driver, so its place is kept open by hand. */
static void up(void)
{
    bed_open(&bed, 3, 0);
    bed_start(&bed, 1);
    term = 5;
    answer = (struct raft_message){0};
}

static void down(void)
{
    raft_message_clear(&answer);
    bed_close(&bed);
}

static struct driver_status status_of(unsigned node) { return bed_status(&bed, node); }

/* A block's entry by the liar; `signer` and key may be another's. */
static struct raft_entry make_entry_of(uint64_t index, uint64_t time_ms, const struct bytes *requests, uint32_t count,
                                       unsigned signer, const struct sign_secret *key)
{
    struct buffer b = {0};
    struct block_place place = {.cluster = bed.kit.genesis.cluster, .term = term, .index = index};
    assert_non_null(buffer_extend(&b, ENTRY_HEAD));
    block_encode(&b, time_ms, requests, count);
    entry_sign(&b, &place, signer, key);
    struct raft_entry e = {.index = index, .term = term, .type = RAFT_ENTRY_BLOCK,
                           .blob = raft_blob_copy(buffer_bytes(&b))};
    buffer_free(&b);
    return e;
}

static struct raft_entry make_entry(uint64_t index, uint64_t time_ms, struct bytes request, unsigned signer,
                                    const struct sign_secret *key)
{
    return make_entry_of(index, time_ms, &request, request.size ? 1 : 0, signer, key);
}

static void step_for(struct raft_message *m, unsigned ms)
{
    struct buffer out = {0};
    m->from = LIAR;
    m->to = 1;
    m->term = term;
    raft_message_encode(&out, NULL, m, PEER_VERSION);
    driver_message(bed.nodes[1].driver, LIAR, PEER_RAFT, 0, buffer_bytes(&out));
    buffer_free(&out);
    bed_turn(&bed, ms);
}

static void step(struct raft_message *m) { step_for(m, 60); }

/* One append of one entry after (previous, its term); releases the entry. */
static void append(struct raft_entry e, uint64_t previous, uint64_t previous_term, uint64_t commit)
{
    struct raft_message m = {.type = RAFT_APPEND, .log = {previous, previous_term}, .commit = commit,
                             .entries = &e, .entry_count = 1};
    step(&m);
    raft_blob_release(e.blob);
}

static const struct sign_secret *key_of(unsigned node) { return &bed.kit.nodes[node].message; }

static void request_by_root(struct buffer *out)
{
    struct arguments args = {.action = ACTION_EVENT_ADD};
    args.event_add = (struct args_event_add){sample_id(2), bytes_text("bill.print"), bytes_text("x")};
    bed.kit.now = clock_wall_ms();
    kit_request(&bed.kit, out, &bed.kit.root, &args, (struct bytes){0});
}

/* That refusals without end make a leader one that is not followed is another test's (a slow machine reaches it here). */
static void await_refused(uint64_t count)
{
    BED_AWAIT(&bed, status_of(1).refused_blocks == count);
    driver_accepted(bed.nodes[1].driver, LIAR);
}

static void blocks_that_admission_refuses(void **state)
{
    (void)state;
    struct buffer request = {0};
    up();
    request_by_root(&request);
    uint64_t now = clock_wall_ms();
    struct bytes r = buffer_bytes(&request);
    append(make_entry(1, now, r, LIAR, key_of(2)), 0, 0, 0); /* another's key */
    await_refused(1);
    append(make_entry(1, now, r, 2, key_of(2)), 0, 0, 0); /* not this term's leader */
    await_refused(2);
    append(make_entry(1, now, r, 9, key_of(2)), 0, 0, 0); /* nobody */
    await_refused(3);
    append(make_entry(1, now + LIMIT_BLOCK_AHEAD_MS + 5000, r, LIAR, key_of(LIAR)), 0, 0, 0); /* the future */
    await_refused(4);
    append(make_entry(1, now, bytes_text("no request"), LIAR, key_of(LIAR)), 0, 0, 0);
    await_refused(5);
    struct raft_entry bare = {.index = 1, .term = term, .type = RAFT_ENTRY_BLOCK,
                              .blob = raft_blob_copy(bytes_text("short"))};
    append(bare, 0, 0, 0);
    await_refused(6);
    assert_int_equal(status_of(1).last, 0);
    /* And one that it takes. */
    append(make_entry(1, now, r, LIAR, key_of(LIAR)), 0, 0, 1);
    BED_AWAIT(&bed, status_of(1).last == 1);
    assert_int_equal(status_of(1).refused_blocks, 6);
    buffer_free(&request);
    down();
}

static size_t admitted(void)
{
    size_t count = 0;
    for (const struct queue_link *at = bed.nodes[1].driver->admitted.first; at; at = at->next)
        count++;
    return count;
}

/* Blocks that are well signed, by a member that does not lead: none of them stays. */
static void blocks_that_the_core_does_not_take(void **state)
{
    (void)state;
    struct buffer out = {0};
    up();
    append(make_entry(1, clock_wall_ms(), (struct bytes){0}, LIAR, key_of(LIAR)), 0, 0, 0);
    BED_AWAIT(&bed, status_of(1).last == 1);
    struct raft_entry e = make_entry(2, clock_wall_ms(), (struct bytes){0}, 2, key_of(2));
    struct raft_message m = {.type = RAFT_APPEND, .from = 2, .to = 1, .term = term, .log = {1, term}, .entries = &e,
                             .entry_count = 1};
    raft_message_encode(&out, NULL, &m, PEER_VERSION);
    step_for(&(struct raft_message){.type = RAFT_HEARTBEAT}, 0); /* it leads still */
    for (unsigned i = 0; i < 100; i++)
        driver_message(bed.nodes[1].driver, 2, PEER_RAFT, 0, buffer_bytes(&out));
    assert_int_equal(admitted(), 0);
    assert_int_equal(status_of(1).last, 1);
    raft_blob_release(e.blob);
    buffer_free(&out);
    down();
}

/* Its owner may have freed it by then. */
static void touch_what_was_answered(struct bed_node *node, const struct driver_applied *applied)
{
    struct bed_request *r = node->data;
    (void)applied;
    if (r->done) r->s.driver.slot = (struct submission **)&r->s;
}

/* A client's request twice in one block: its submission is answered once, and not touched any more. */
static void a_request_twice_in_a_block(void **state)
{
    (void)state;
    struct bed_request r;
    up();
    bed_event(&bed, &r, &bed.kit.root, 2);
    assert_int_equal(bed_submit(&bed, &r, 1, BED_PATIENCE_MS), OK);
    bed.nodes[1].data = &r;
    bed.nodes[1].on_applied = touch_what_was_answered;
    struct bytes request = buffer_bytes(&r.s.request);
    const struct bytes twice[] = {request, request};
    append(make_entry_of(1, clock_wall_ms(), twice, 2, LIAR, key_of(LIAR)), 0, 0, 1);
    assert_true(bed_await(&bed, &r));
    BED_AWAIT(&bed, status_of(1).applied == 1);
    assert_int_equal(r.done, 1);
    assert_int_equal(r.outcome.leaf_index, 1);
    assert_ptr_equal(r.s.driver.slot, &r.s);
    bed_request_free(&r);
    down();
}

/* A leader alone can't change who the members are, neither by an entry nor with a snapshot. */
static void members_that_nobody_approved(void **state)
{
    (void)state;
    struct raft_config fewer = {0};
    struct buffer encoded = {0};
    struct driver_status before;
    up();
    for (raft_id id = 1; id <= 2; id++)
        assert_true(raft_config_set(&fewer, id == 2 ? LIAR : id, true));
    raft_config_encode(&encoded, &fewer, (struct bytes){0});
    struct raft_entry e = {.index = 1, .term = term, .type = RAFT_ENTRY_CONFIG,
                           .blob = raft_blob_copy(buffer_bytes(&encoded))};
    append(e, 0, 0, 0);
    BED_AWAIT(&bed, status_of(1).refused_blocks == 1);
    assert_int_equal(status_of(1).last, 0);
    before = status_of(1);
    struct raft_message m = {.type = RAFT_SNAPSHOT, .log = {50, term}, .commit = 50, .config = fewer,
                             .manifest = raft_blob_copy(bytes_text("anything"))};
    step(&m);
    BED_AWAIT(&bed, status_of(1).bad_messages == before.bad_messages + 1);
    assert_false(status_of(1).catching_up);
    raft_blob_release(m.manifest);
    buffer_free(&encoded);
    down();
}

static struct raft_entry make_entry_in(raft_term in, uint64_t index)
{
    uint64_t now = term;
    term = in;
    struct raft_entry e = make_entry(index, clock_wall_ms(), (struct bytes){0}, LIAR, key_of(LIAR));
    term = now;
    return e;
}

static void append_two(struct raft_entry first, struct raft_entry second)
{
    struct raft_entry entries[] = {first, second};
    struct raft_message m = {.type = RAFT_APPEND, .entries = entries, .entry_count = 2};
    step(&m);
    raft_blob_release(first.blob);
    raft_blob_release(second.blob);
}

/* What follows an entry that takes another's place is looked at, too, also where the log has an entry of its term. */
static void a_second_entry_of_a_known_term(void **state)
{
    (void)state;
    struct raft_config fewer = {0};
    struct buffer encoded = {0};
    up();
    append_two(make_entry_in(term - 2, 1), make_entry_in(term - 1, 2));
    BED_AWAIT(&bed, status_of(1).last == 2);
    for (raft_id id = 1; id <= 3; id += 2)
        assert_true(raft_config_set(&fewer, id, true));
    raft_config_encode(&encoded, &fewer, (struct bytes){0});
    struct raft_entry second = {.index = 2, .term = term - 1, .type = RAFT_ENTRY_CONFIG,
                                .blob = raft_blob_copy(buffer_bytes(&encoded))};
    append_two(make_entry_in(term - 1, 1), second);
    assert_int_equal(status_of(1).refused_blocks, 1);
    second = (struct raft_entry){.index = 2, .term = term - 1, .type = RAFT_ENTRY_BLOCK,
                                 .blob = raft_blob_copy(bytes_text("nobody signed it"))};
    append_two(make_entry_in(term - 1, 1), second);
    assert_int_equal(status_of(1).refused_blocks, 2);
    append_two(make_entry_in(term - 1, 1), make_entry_in(term - 1, 2));
    assert_int_equal(status_of(1).refused_blocks, 2);
    buffer_free(&encoded);
    down();
}

static void two_blocks_for_one_place(void **state)
{
    (void)state;
    struct buffer request = {0};
    up();
    uint64_t now = clock_wall_ms();
    append(make_entry(1, now, (struct bytes){0}, LIAR, key_of(LIAR)), 0, 0, 0);
    BED_AWAIT(&bed, status_of(1).last == 1);
    request_by_root(&request);
    append(make_entry(1, now, buffer_bytes(&request), LIAR, key_of(LIAR)), 0, 0, 0);
    BED_AWAIT(&bed, status_of(1).evidence == 1);
    assert_false(bed.nodes[1].fatal); /* one liar can't stop an honest node */
    buffer_free(&request);
    down();
}

static void a_block_against_what_is_applied(void **state)
{
    (void)state;
    struct buffer request = {0};
    up();
    uint64_t now = clock_wall_ms();
    request_by_root(&request);
    append(make_entry(1, now, buffer_bytes(&request), LIAR, key_of(LIAR)), 0, 0, 1);
    BED_AWAIT(&bed, status_of(1).applied == 1);
    uint64_t size = status_of(1).size;
    term++; /* as leader of a new term it overwrites what it had committed */
    append(make_entry(1, now, (struct bytes){0}, LIAR, key_of(LIAR)), 0, 0, 1);
    BED_AWAIT(&bed, status_of(1).evidence == 1);
    assert_int_equal(status_of(1).size, size);
    BED_AWAIT(&bed, status_of(1).last == 1);
    assert_false(bed.nodes[1].fatal);
    buffer_free(&request);
    down();
}

/* Empty entries need nobody's signature, and no space on a device that looks full; they must not reach a log's end. */
static void empty_entries_without_end(void **state)
{
    (void)state;
    static struct raft_entry entries[LIMIT_RAFT_ENTRIES];
    bed_open(&bed, 3, 0);
    bed.nodes[1].segment_limit = 4;
    bed_start(&bed, 1);
    term = 5;
    while (!bed.nodes[1].fatal && status_of(1).refused_blocks == 0) {
        uint64_t last = status_of(1).last;
        struct raft_message m = {.type = RAFT_APPEND, .log = {last, last ? term : 0}, .entries = entries,
                                 .entry_count = LIMIT_RAFT_ENTRIES};
        for (uint64_t i = 0; i < LIMIT_RAFT_ENTRIES; i++)
            entries[i] = (struct raft_entry){.index = last + 1 + i, .term = term, .type = RAFT_ENTRY_NOOP};
        step_for(&m, 2);
    }
    assert_false(bed.nodes[1].fatal);
    down();
}

static void heartbeat(uint64_t commit, struct bytes extra)
{
    struct raft_message m = {.type = RAFT_HEARTBEAT, .commit = commit, .extra = extra};
    step(&m);
}

static void a_statement_of_another_block(void **state)
{
    (void)state;
    struct buffer statement = {0};
    up();
    struct raft_entry e = make_entry(1, clock_wall_ms(), (struct bytes){0}, LIAR, key_of(LIAR));
    struct block_place place = {.cluster = bed.kit.genesis.cluster, .term = term, .index = 1};
    entry_hash(&place.hash, &e);
    append(e, 0, 0, 1);
    statement_sign(&statement, &place, key_of(LIAR));
    heartbeat(1, buffer_bytes(&statement));
    assert_int_equal(status_of(1).evidence, 0); /* the truth */
    buffer_clear(&statement);
    place.hash.bytes[0] ^= 1;
    statement_sign(&statement, &place, key_of(2)); /* not its own signature: proves nothing */
    heartbeat(1, buffer_bytes(&statement));
    assert_int_equal(status_of(1).evidence, 0);
    buffer_clear(&statement);
    statement_sign(&statement, &place, key_of(LIAR));
    heartbeat(1, buffer_bytes(&statement));
    BED_AWAIT(&bed, status_of(1).evidence == 1);
    buffer_clear(&statement);
    pack_text(&statement, "not a statement");
    heartbeat(1, buffer_bytes(&statement));
    BED_AWAIT(&bed, status_of(1).evidence == 1);
    buffer_free(&statement);
    down();
}

static void messages_that_are_none(void **state)
{
    (void)state;
    struct buffer out = {0};
    up();
    struct driver *d = bed.nodes[1].driver;
    driver_message(d, LIAR, PEER_RAFT, 0, bytes_text("x"));
    driver_message(d, LIAR, PEER_FORWARD, 0, bytes_text("x"));
    driver_message(d, LIAR, PEER_BLOCK_ASK, 0, bytes_text("x"));
    driver_message(d, LIAR, PEER_BLOCK, 0, bytes_text("x"));
    driver_message(d, LIAR, 4711, 0, bytes_text("x"));
    BED_AWAIT(&bed, status_of(1).bad_messages == 2);
    struct raft_message m = {.type = RAFT_HEARTBEAT, .from = 2, .to = 1, .term = 9};
    raft_message_encode(&out, NULL, &m, PEER_VERSION); /* in another's name */
    driver_message(d, LIAR, PEER_RAFT, 0, buffer_bytes(&out));
    BED_AWAIT(&bed, status_of(1).bad_messages == 3);
    bed_turn(&bed, 100);
    assert_int_equal(status_of(1).leader, 0);
    buffer_free(&out);
    down();
}

/* A follower that forwards what followers' admission would refuse must not jam the log. */
static void a_forwarded_request_that_does_not_decode(void **state)
{
    (void)state;
    struct buffer body = {0};
    bed_open(&bed, 3, 0);
    bed_start_all(&bed);
    unsigned leader = bed_await_leader(&bed), other = leader % 3 + 1;
    pack_array(&body, 2);
    pack_bytes(&body, bytes_text("certainly not a request, but long enough to have a signature's place at its end"));
    pack_bool(&body, false);
    driver_message(bed.nodes[leader].driver, other, PEER_FORWARD, 0, buffer_bytes(&body));
    struct driver_status status = status_of(leader);
    assert_int_equal(status.bad_messages, 1);
    bed_add_user(&bed, other, 1, "doctor");
    assert_true(bed_await_same(&bed, 2));
    buffer_free(&body);
    bed_close(&bed);
}

/* A forwarded request whose operation was changed on the way: same signature, other bytes. It
 * isn't taken for the client's own, whose signature was checked, and leaves nothing. */
static void a_changed_request_is_not_recognised(void **state)
{
    (void)state;
    struct bed_request r;
    struct buffer body = {0};
    unsigned leader = bed_up(&bed, 3, 0), other = leader % 3 + 1;
    bed_event(&bed, &r, &bed.doctor, BED_PATIENT);
    r.s.verified = true;
    r.s.verified_key = bed.doctor.key;
    struct buffer changed = {0};
    buffer_append_bytes(&changed, buffer_bytes(&r.s.request));
    uint8_t *object = NULL;
    for (size_t i = 0; i + 7 < changed.size && !object; i++)
        if (memcmp(changed.data + i, "bill-17", 7) == 0) object = changed.data + i;
    assert_non_null(object);
    object[6] = '8';
    pack_array(&body, 2);
    pack_bytes(&body, buffer_bytes(&changed));
    pack_bool(&body, false);
    /* The client's node is the leader; the altered copy is in its intake first. */
    driver_message(bed.nodes[leader].driver, other, PEER_FORWARD, 0, buffer_bytes(&body));
    assert_int_equal(bed_submit(&bed, &r, leader, BED_PATIENCE_MS), OK);
    assert_true(bed_await(&bed, &r));
    assert_int_equal(r.outcome.code, OK);
    assert_true(bed_await_same(&bed, 4));
    struct driver_status status = status_of(other);
    assert_int_equal(status.size, 4); /* genesis, two users, one event */
    buffer_free(&changed);
    buffer_free(&body);
    bed_request_free(&r);
    bed_close(&bed);
}

/* --- a member that floods the leader --- */

static void forward_from(unsigned leader, unsigned from, const struct buffer *request)
{
    struct buffer body = {0};
    pack_array(&body, 2);
    pack_bytes(&body, buffer_bytes(request));
    pack_bool(&body, false);
    driver_message(bed.nodes[leader].driver, from, PEER_FORWARD, 0, buffer_bytes(&body));
    buffer_free(&body);
}

/* Requests with signatures that are none, until it is noticed. */
static void flood(unsigned leader, unsigned liar, struct buffer *junk)
{
    static uint64_t number;
    uint64_t before = status_of(leader).bad_messages, end = clock_monotonic_ns() + UINT64_C(60000000000);
    while (status_of(leader).bad_messages == before) {
        assert_true(clock_monotonic_ns() < end);
        for (unsigned i = 0; i < 50; i++) {
            put_be64(junk->data + junk->size - 8, ++number);
            forward_from(leader, liar, junk);
        }
        bed_turn(&bed, 20);
    }
}

/* The first ones get into blocks, where they leave nothing; from then on this member has no place in
 * blocks for a while, with what is signed either. Others are served, through any other node. */
static void requests_of(bool stranger)
{
    struct bed_request junk, honest;
    struct kit_actor nobody = kit_user(77);
    bool silenced = false;
    uint64_t size = 3; /* genesis, two users */
    unsigned leader = bed_up(&bed, 3, 0), liar = leader % 3 + 1, other = liar % 3 + 1;
    bed_event(&bed, &junk, stranger ? &nobody : &bed.doctor, BED_PATIENT);
    while (!silenced) { /* again where this machine paused until it was forgiven; the next time takes twice as long */
        flood(leader, liar, &junk.s.request);
        uint64_t busy = status_of(leader).busy;
        bed_event(&bed, &honest, &bed.doctor, BED_PATIENT);
        forward_from(leader, liar, &honest.s.request);
        silenced = status_of(leader).busy == busy + 1;
        size += !silenced;
        bed_request_free(&honest);
    }
    bed_event_through(&bed, other);
    bed_event_through(&bed, leader);
    bed_event_through(&bed, liar); /* forgiven: its clients are served again */
    size += 3;
    assert_true(bed_await_same(&bed, size));
    assert_int_equal(status_of(other).size, size); /* what nobody signed left nothing */
    bed_request_free(&junk);
    bed_close(&bed);
}

static void requests_that_nobody_signed(void **state)
{
    (void)state;
    requests_of(false);
}

static void requests_of_strangers(void **state)
{
    (void)state;
    requests_of(true);
}

/* What only a newer node knows is no reason to silence who forwards it: any client can sign such. */
static void an_action_of_later(void **state)
{
    (void)state;
    struct buffer request = {0};
    struct request_builder *builder = calloc(1, sizeof *builder);
    unsigned leader = bed_up(&bed, 3, 0), other = leader % 3 + 1;
    struct operation op = {.cluster = bed.kit.genesis.cluster, .request_id = sample_id(4711), .actor = bed.doctor.actor,
                           .issued_at_ms = clock_wall_ms(), .action = (enum action)999, .args = bytes_of("\x90", 1)};
    assert_int_equal(request_builder_add(builder, &op, (struct bytes){0}), OK);
    assert_int_equal(request_builder_sign(&request, builder, &bed.doctor.secret), OK);
    uint64_t bad = status_of(leader).bad_messages, busy = status_of(leader).busy, blocks = status_of(leader).applied;
    forward_from(leader, other, &request);
    for (unsigned i = 0; i < 3000 && status_of(leader).applied == blocks; i++)
        bed_turn(&bed, 20);
    assert_int_equal(status_of(leader).bad_messages, bad);
    bed_event_through(&bed, other);
    assert_int_equal(status_of(leader).busy, busy);
    request_builder_free(builder);
    free(builder);
    buffer_free(&request);
    bed_close(&bed);
}

/* A member's own operations, each with a signature of its own and as much attached as may be: what it has of
 * them in the ledger is bounded, and in another member's name it has none. */
static void operations_in_its_own_name(void **state)
{
    (void)state;
    enum { FLOOD = 250 };
    static uint8_t bytes[LIMIT_RECORD];
    const struct bytes most = bytes_of(bytes, LIMIT_OWN_REQUEST - 1024);
    struct arguments args = {.action = ACTION_KEY_CLOSE,
                             .key_close = {.secret = KEY_RECORDS, .attempt = 1, .phase = 1}};
    struct buffer request = {0};
    unsigned leader = bed_up(&bed, 3, 0), liar = leader % 3 + 1, other = liar % 3 + 1;
    struct kit_actor itself = kit_node(&bed.kit, liar), another = kit_node(&bed.kit, other);
    uint64_t busy = status_of(leader).busy, bad = status_of(leader).bad_messages;
    for (unsigned i = 0; i < FLOOD; i++) {
        buffer_clear(&request);
        bed.kit.now = clock_wall_ms();
        kit_request(&bed.kit, &request, &itself, &args, most);
        forward_from(leader, liar, &request);
        if (i % 10 == 0) bed_turn(&bed, 10);
    }
    assert_true(status_of(leader).busy > busy + FLOOD / 4); /* of 8 MiB the budget has 4 */
    buffer_clear(&request);
    kit_request(&bed.kit, &request, &itself, &args, BYTES(bytes)); /* more than any may be */
    forward_from(leader, liar, &request);
    assert_int_equal(status_of(leader).bad_messages, ++bad);
    buffer_clear(&request);
    kit_request(&bed.kit, &request, &another, &args, (struct bytes){0});
    forward_from(leader, liar, &request);
    assert_int_equal(status_of(leader).bad_messages, bad + 1);
    /* Its clients' requests are not counted there. */
    bed_event_through(&bed, liar);
    bed_event_through(&bed, other);
    buffer_free(&request);
    bed_close(&bed);
}

/* ---- claims of its past ---- */

/* Others' writes wait behind theirs. The last one is kept all the same. */
static void claims_without_end(void **state)
{
    (void)state;
    up();
    struct driver *d = bed.nodes[1].driver;
    BED_AWAIT(&bed, d->ticks > 0 && d->state_jobs == 0);
    for (uint64_t i = 1; i <= 200; i++) bed_claim(&bed, LIAR, 1, term, i);
    assert_true(d->state_jobs <= 1);
    assert_int_equal(d->pasts[LIAR].index, 200);
    BED_AWAIT(&bed, !d->past_due[LIAR] && d->state_jobs == 0);
    bed_stop(&bed, 1);
    bed_start(&bed, 1);
    assert_int_equal(bed.nodes[1].driver->pasts[LIAR].index, 200);
    down();
}

/* Blocks that take longer to come than refusals are remembered for: these belong together all the same, or a leader on a
 * slow link would be followed for ever. What was long ago does not count with them. */
static void refusals_on_a_slow_link_belong_together(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed);
    struct driver *d = bed.nodes[leader % 3 + 1].driver;
    driver_receiving(d, leader);
    assert_int_equal(d->distrust[leader].first, 0);
    driver_refused(d, leader, ERR_BAD_SIGNATURE);
    d->ticks += 60000;
    driver_receiving(d, leader);
    driver_refused(d, leader, ERR_BAD_SIGNATURE);
    assert_false(driver_shuns(d, leader));
    for (unsigned i = 0; i < 60; i++, d->ticks++) driver_receiving(d, leader);
    assert_false(driver_shuns(d, leader));
    driver_refused(d, leader, ERR_BAD_SIGNATURE);
    assert_true(driver_shuns(d, leader));
    bed_close(&bed);
}

static void parts_come(struct bed *b, unsigned leader)
{
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned node = 1; node <= 3; node++)
            for (unsigned from = 1; from <= 3; from++)
                if (from != node && (from == leader || node == leader)) driver_receiving(b->nodes[node].driver, from);
        bed_turn(b, BED_TICK_MS);
    }
}

static uint64_t most_term(void)
{
    uint64_t most = 0;
    for (unsigned node = 1; node <= 3; node++)
        if (status_of(node).term > most) most = status_of(node).term;
    return most;
}

/* An entry that never is whole in time: parts of it don't keep the others from leading for ever; nor do those that come
 * before the first whole entry. */
static void an_entry_that_never_comes_unseats_its_leader(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), next = leader % 3 + 1, last = next % 3 + 1;
    assert_true(bed_await_same(&bed, 3));
    uint64_t first_term = status_of(leader).term;
    bed_cut(&bed, leader, next, true);
    bed_cut(&bed, leader, last, true);
    parts_come(&bed, leader);
    if (most_term() == first_term) assert_true(status_of(leader).leads); /* else this machine stood still for long */
    driver_overlong(bed.nodes[next].driver, leader);
    driver_overlong(bed.nodes[last].driver, leader);
    for (unsigned i = 0; i < 100 && !status_of(next).leads && !status_of(last).leads; i++) parts_come(&bed, leader);
    assert_true(status_of(next).leads || status_of(last).leads);
    bed_cut(&bed, leader, next, false);
    bed_cut(&bed, leader, last, false);
    bed_close(&bed);
}

static void a_whole_entry_makes_up_for_it(void **state)
{
    (void)state;
    bed_up(&bed, 3, 0);
    unsigned leader = bed_await_leader(&bed), next = leader % 3 + 1;
    assert_true(bed_await_same(&bed, 3));
    driver_overlong(bed.nodes[next].driver, leader);
    bed_turn(&bed, 10 * BED_TICK_MS); /* heartbeats are no entries */
    assert_true(bed.nodes[next].driver->distrust[leader].overlong);
    bed_event_through(&bed, leader);
    BED_AWAIT(&bed, !bed.nodes[next].driver->distrust[leader].overlong);
    bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_that_admission_refuses),
        cmocka_unit_test(blocks_that_the_core_does_not_take),
        cmocka_unit_test(a_request_twice_in_a_block),
        cmocka_unit_test(members_that_nobody_approved),
        cmocka_unit_test(a_second_entry_of_a_known_term),
        cmocka_unit_test(two_blocks_for_one_place),
        cmocka_unit_test(a_block_against_what_is_applied),
        cmocka_unit_test(empty_entries_without_end),
        cmocka_unit_test(a_statement_of_another_block),
        cmocka_unit_test(messages_that_are_none),
        cmocka_unit_test(claims_without_end),
        cmocka_unit_test(a_forwarded_request_that_does_not_decode),
        cmocka_unit_test(a_changed_request_is_not_recognised),
        cmocka_unit_test(requests_that_nobody_signed),
        cmocka_unit_test(requests_of_strangers),
        cmocka_unit_test(an_action_of_later),
        cmocka_unit_test(operations_in_its_own_name),
        cmocka_unit_test(refusals_on_a_slow_link_belong_together),
        cmocka_unit_test(an_entry_that_never_comes_unseats_its_leader),
        cmocka_unit_test(a_whole_entry_makes_up_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
