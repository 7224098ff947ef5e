/* Everything that a client can send wrong, sent to real nodes as raw frames: each
 * has its own stable code and text, and changes nothing, or leaves the one leaf
 * that is due. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/pack.h"
#include "cli/content.h"
#include "crypto/random.h"
#include "ledger/attachment.h"
#include "ledger/leaf.h"
#include "ledger/names.h"
#include "net/certificate.h"
#include "tests/lib/attack_bed.h"
#include "tests/lib/unit.h"

#define NODE 2 /* most is sent to this one */
#define MINUTE_MS 60000ull
#define PATIENCE_MS (TESTBED_PATIENCE_S * 1000)

static struct id patient_id, record;
static struct buffer record_content, request;
static struct message_result result;
static struct client *far_future; /* asks for a proof of a leaf that is not there */

/* --- frames --- */

/* One wrong frame on a connection of its own, then what the node says; `open`: it goes on afterwards. */
static void frame_case(struct bytes bytes, enum err code, bool greeted, bool open)
{
    struct client *c = greeted ? attacker_greet(&them, NODE) : attacker_connect(&them, NODE);
    attacker_write(&them, c, bytes);
    attacker_hear(&them, c, &said_last, PATIENCE_MS);
    if (code == ERR_UNEXPECTED && !greeted)
        assert_true(said_last.type == MESSAGE_FAILED && said_last.code == code);
    else
        assert_failed(code);
    assert_int_equal(attacker_closed(c, open ? 200 : PATIENCE_MS), !open);
    client_close(c);
}

/* The prefix and [type, id, then these bytes. */
static struct bytes raw_frame(uint32_t type, const void *body, size_t size)
{
    static struct buffer frame;
    buffer_clear(&frame);
    buffer_extend(&frame, 4);
    pack_array(&frame, 3);
    pack_uint(&frame, type);
    pack_uint(&frame, 9);
    buffer_append(&frame, body, size);
    put_be32(frame.data, (uint32_t)frame.size - 4);
    return buffer_bytes(&frame);
}

static void wrong_frames(void **state)
{
    (void)state;
    static const uint8_t too_long[] = {0, 0x40, 0, 1}, nil[] = {0xc0}, map[] = {0x80}, reserved[] = {0xc1},
                         longer_form[] = {0xcc, 5}, short_bin[] = {0xc4, 10, 1}, two[] = {0x90, 0x90},
                         no_array[] = {0, 0, 0, 1, 0x05}, nothing[] = {0, 0, 0, 0},
                         text_with_nul[] = {0xa1, 0};
    uint8_t deep[LIMIT_PACK_DEPTH + 2];
    memset(deep, 0x91, sizeof deep);
    deep[sizeof deep - 1] = 0x90;
    struct ledger_mark before = settled();
    frame_case(BYTES(too_long), ERR_FRAME_TOO_LONG, true, false);
    frame_case(BYTES(too_long), ERR_FRAME_TOO_LONG, false, false);
    frame_case(BYTES(no_array), ERR_MALFORMED, true, false);
    frame_case(BYTES(nothing), ERR_TRUNCATED, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, nil, 1), ERR_MALFORMED, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, map, 1), ERR_MALFORMED, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, reserved, 1), ERR_MALFORMED, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, text_with_nul, 2), ERR_MALFORMED, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, longer_form, 2), ERR_NOT_CANONICAL, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, short_bin, 3), ERR_TRUNCATED, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, two, 2), ERR_TRAILING, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, deep, sizeof deep), ERR_TOO_DEEP, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, deep, sizeof deep), ERR_TOO_DEEP, false, false);
    assert_unchanged(&before);
}

static void wrong_types(void **state)
{
    (void)state;
    static const uint8_t empty[] = {0x90}, other_shape[] = {0x91, 0x90};
    struct ledger_mark before = settled();
    static const uint32_t unknown[] = {0, MESSAGE_WELCOME, MESSAGE_COSIGNED, MESSAGE_ROWS, 63, 64, 65, 70, 83, 0xffff};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        frame_case(raw_frame(unknown[i], empty, 1), ERR_UNKNOWN_TYPE, true, true);
    frame_case(raw_frame(0x10000, empty, 1), ERR_MALFORMED, true, false);
    frame_case(raw_frame(MESSAGE_STATUS, empty, 1), ERR_UNEXPECTED, false, false); /* before HELLO */
    frame_case(raw_frame(64, empty, 1), ERR_UNEXPECTED, false, false);
    frame_case(raw_frame(MESSAGE_HELLO, empty, 1), ERR_UNEXPECTED, true, true); /* once more */
    frame_case(raw_frame(MESSAGE_HELLO, empty, 1), ERR_MALFORMED, false, false);
    static const uint32_t questions[] = {MESSAGE_SUBMIT, MESSAGE_LOOKUP, MESSAGE_PROVE, MESSAGE_CONTENT, MESSAGE_SHARES,
                                         MESSAGE_STATUS, MESSAGE_CHECKPOINT, MESSAGE_KEYS, MESSAGE_LEAVES,
                                         MESSAGE_CONSISTENCY, MESSAGE_FOLLOW};
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++)
        frame_case(raw_frame(questions[i], other_shape, 2), ERR_MALFORMED, true, true);
    assert_unchanged(&before);
}

static void other_version_of_the_protocol(void **state)
{
    (void)state;
    static const uint8_t hello[][4] = {{0x92, PROTOCOL_VERSION - 1, 0xa1, 'x'},
                                       {0x92, PROTOCOL_VERSION + 1, 0xa1, 'x'}};
    for (size_t i = 0; i < sizeof hello / sizeof hello[0]; i++)
        frame_case(raw_frame(MESSAGE_HELLO, hello[i], sizeof hello[i]), ERR_VERSION, false, false);
}

/* Inside a frame the connection ends; a frame that is never finished holds nobody up. */
static void truncated_frames(void **state)
{
    (void)state;
    uint8_t part[] = {0, 0x3f, 0xff, 0xff, 0x93, 0x03, 0x01};
    struct ledger_mark before = settled();
    struct client *c = attacker_greet(&them, NODE);
    attacker_write(&them, c, BYTES(part));
    client_close(c);
    c = attacker_greet(&them, NODE);
    attacker_write(&them, c, BYTES(part));
    testbed_expect(&bed, 0, &out, "--via node-%u status", NODE);
    client_close(c);
    assert_unchanged(&before);
}

/* --- operations --- */

static struct arguments an_event(void)
{
    struct args_event_add event = {.patient = patient_id, .what = bytes_text("bill"), .object = bytes_text("1")};
    return (struct arguments){.action = ACTION_EVENT_ADD, .event_add = event};
}

static void submit_to(unsigned node, struct bytes bytes)
{
    struct client *c = attacker_greet(&them, node);
    attacker_submit(&them, c, &said_last, &result, bytes);
    client_close(c);
}

/* An event by the doctor, wrong in one way: FAILED with this code, and nothing changes. */
static void refused(enum err code, const struct wrong *wrong, struct bytes note)
{
    struct arguments args = an_event();
    attacker_request(&request, &them, &doctor, &args, note, wrong);
    submit_to(NODE, buffer_bytes(&request));
    assert_failed(code);
}

/* Without a leaf, but decided by all: its own code in APPLIED. */
static void turned_down(enum err code, const struct wrong *wrong)
{
    struct arguments args = an_event();
    attacker_request(&request, &them, &doctor, &args, (struct bytes){0}, wrong);
    submit_to(NODE, buffer_bytes(&request));
    if (said_last.type != MESSAGE_APPLIED || result.code != code)
        fail_msg("expected %s, got type %u: %s (%s)", err_name(code), said_last.type, err_name(result.code),
                 said_last.text);
    assert_int_equal(result.leaf_index, 0);
}

static void wrong_signatures(void **state)
{
    (void)state;
    struct ledger_mark before = settled();
    struct bytes note = bytes_text("a note"), none = {0};
    struct actor as_nurse = signer_actor(&doctor);
    refused(ERR_BAD_SIGNATURE, &(struct wrong){.no_signature = true}, none);
    refused(ERR_BAD_SIGNATURE, &(struct wrong){.secret = &nurse.secrets->sign}, none);
    as_nurse.id = nurse.user;
    refused(ERR_UNKNOWN_ACTOR, &(struct wrong){.actor = &as_nurse}, none); /* the nurse, with the doctor's key */
    as_nurse = signer_actor(&nurse);
    refused(ERR_BAD_SIGNATURE, &(struct wrong){.actor = &as_nurse}, none);
    struct actor nobody = {ACTOR_USER, random_id(), doctor.key_id};
    refused(ERR_UNKNOWN_ACTOR, &(struct wrong){.actor = &nobody}, none);
    const struct descriptor *member = genesis_member(&them.cluster.genesis, 1);
    struct actor node = {ACTOR_NODE, member->id, key_id_of(&member->keys.message)};
    refused(ERR_UNAUTHORIZED, &(struct wrong){.actor = &node}, none);
    struct digest other = them.cluster.genesis.cluster;
    other.bytes[31] ^= 1;
    refused(ERR_OTHER_CLUSTER, &(struct wrong){.cluster = &other}, none);
    refused(ERR_ATTACHMENT, &(struct wrong){.other_attachment = true}, note);
    refused(ERR_ATTACHMENT, &(struct wrong){.no_attachment = true}, note);
    refused(ERR_ATTACHMENT, &(struct wrong){.more_attachment = true}, none);
    assert_unchanged(&before);
}

static void wrong_times(void **state)
{
    (void)state;
    struct ledger_mark before = settled();
    turned_down(ERR_STALE, &(struct wrong){.issued_at_ms = clock_wall_ms() - 10 * MINUTE_MS});
    turned_down(ERR_STALE, &(struct wrong){.issued_at_ms = clock_wall_ms() + 10 * MINUTE_MS});
    turned_down(ERR_STALE, &(struct wrong){.issued_at_ms = 1});
    refused(ERR_UNKNOWN_ACTION, &(struct wrong){.action = 999}, (struct bytes){0});
    refused(ERR_MALFORMED, &(struct wrong){.issued_at_ms = UINT64_MAX}, (struct bytes){0});
    assert_unchanged(&before);
}

static void replayed(void **state)
{
    (void)state;
    struct arguments args = an_event();
    attacker_request(&request, &them, &doctor, &args, (struct bytes){0}, NULL);
    struct ledger_mark before = settled();
    submit_to(NODE, buffer_bytes(&request));
    assert_int_equal(result.code, OK);
    assert_int_equal(result.decision, DECISION_APPROVED);
    assert_int_equal(result.leaf_index, before.size);
    before = settled();
    for (unsigned node = 1; node <= bed.n; node++) {
        uint64_t index = result.leaf_index;
        submit_to(node, buffer_bytes(&request));
        assert_int_equal(said_last.type, MESSAGE_APPLIED);
        assert_int_equal(result.code, ERR_DUPLICATE);
        assert_int_equal(result.leaf_index, index);
        assert_int_equal(result.decision, DECISION_APPROVED);
    }
    assert_unchanged(&before);
}

/* --- requests --- */

/* These bytes in place of a request. */
static void no_request(enum err code, struct bytes bytes)
{
    submit_to(NODE, bytes);
    assert_failed(code);
}

static void wrong_requests(void **state)
{
    (void)state;
    struct ledger_mark before = settled();
    struct arguments args = an_event();
    static const uint8_t array[] = {0x93, 0x90, 0x90, 0x90}, zeros[512];
    no_request(ERR_TRUNCATED, (struct bytes){0});
    no_request(ERR_MALFORMED, BYTES(array));
    no_request(ERR_MALFORMED, BYTES(zeros));
    attacker_request(&request, &them, &doctor, &args, (struct bytes){0}, NULL);
    no_request(ERR_TRUNCATED, bytes_of(request.data, request.size - 1));
    buffer_append(&request, "x", 1);
    no_request(ERR_TRAILING, buffer_bytes(&request));
    /* More than LIMIT_OPERATIONS. */
    buffer_clear(&request);
    pack_array(&request, 3);
    pack_array(&request, LIMIT_OPERATIONS + 1);
    buffer_append(&request, zeros, sizeof zeros);
    no_request(ERR_TOO_LARGE, buffer_bytes(&request));
    /* Over the limit of a request, inside that of a frame. */
    struct buffer large = {0}, body = {0};
    memset(buffer_extend(&large, LIMIT_REQUEST + 1), 0, LIMIT_REQUEST + 1);
    pack_array(&body, 2);
    pack_bytes(&body, buffer_bytes(&large));
    pack_uint(&body, WAIT_APPLIED);
    struct client *c = attacker_greet(&them, NODE);
    attacker_ask(&them, c, &said_last, MESSAGE_SUBMIT, buffer_bytes(&body));
    assert_failed(ERR_TOO_LARGE);
    client_close(c);
    buffer_free(&large);
    buffer_free(&body);
    assert_unchanged(&before);
}

/* --- records --- */

static struct arguments a_record(const struct id *id)
{
    return (struct arguments){.action = ACTION_RECORD_CREATE,
                              .record_create = {.record = *id, .patient = patient_id, .kind = bytes_text("note")}};
}

static void close_content(struct buffer *to, const struct id *id, struct bytes plain, const struct id *author)
{
    struct record_context context = {them.cluster.genesis.cluster, patient_id, *id, 1, CONF_NORMAL, *author};
    buffer_clear(to);
    CHECK(content_close(to, &them.key, &context, plain, NULL) == OK);
}

static void record_refused(enum err code, const struct id *id, struct bytes content)
{
    struct arguments args = a_record(id);
    attacker_request(&request, &them, &doctor, &args, content, NULL);
    submit_to(NODE, buffer_bytes(&request));
    assert_failed(code);
}

static void wrong_capsules(void **state)
{
    (void)state;
    struct ledger_mark before = settled();
    struct buffer content = {0}, changed = {0};
    struct content mine, theirs;
    struct tdh2_capsule capsule, other;
    struct id id = random_id(), elsewhere = random_id();
    close_content(&content, &id, bytes_text("mine"), &doctor.user);
    assert_int_equal(content_decode(&mine, buffer_bytes(&content)), OK);
    assert_int_equal(content_decode(&theirs, buffer_bytes(&record_content)), OK);
    /* Another record's capsule, whole: it was made for another place. */
    content_encode(&changed, &(struct content){theirs.capsule, mine.ciphertext});
    record_refused(ERR_BAD_CAPSULE, &id, buffer_bytes(&changed));
    /* Another record's content, whole. */
    record_refused(ERR_BAD_CAPSULE, &id, buffer_bytes(&record_content));
    /* Another record's U in one's own. */
    assert_int_equal(tdh2_capsule_decode(&capsule, mine.capsule), OK);
    assert_int_equal(tdh2_capsule_decode(&other, theirs.capsule), OK);
    struct buffer packed = {0};
    for (unsigned what = 0; what < 5; what++) {
        struct tdh2_capsule bad = capsule;
        if (what == 0) bad.u = other.u;
        if (what == 1) bad.u = other.u, bad.u_bar = other.u_bar;
        if (what == 2) bad.e = other.e;
        if (what == 3) bad.f = other.f;
        if (what == 4) bad.u_bar = capsule.u;
        buffer_clear(&packed);
        buffer_clear(&changed);
        tdh2_capsule_pack(&packed, &bad);
        content_encode(&changed, &(struct content){buffer_bytes(&packed), mine.ciphertext});
        record_refused(ERR_BAD_CAPSULE, &id, buffer_bytes(&changed));
    }
    /* No point at all; another patient's place; another author. */
    buffer_clear(&changed);
    content_encode(&changed, &(struct content){bytes_text("no capsule"), mine.ciphertext});
    record_refused(ERR_BAD_CAPSULE, &id, buffer_bytes(&changed));
    record_refused(ERR_BAD_CAPSULE, &elsewhere, buffer_bytes(&content));
    close_content(&content, &id, bytes_text("mine"), &nurse.user);
    record_refused(ERR_BAD_CAPSULE, &id, buffer_bytes(&content));
    assert_unchanged(&before);
    buffer_free(&content);
    buffer_free(&changed);
    buffer_free(&packed);
}

static void record_over_the_limit(void **state)
{
    (void)state;
    struct ledger_mark before = settled();
    struct buffer content = {0}, large = {0};
    struct content small, big;
    struct id id = random_id();
    close_content(&content, &id, bytes_text("x"), &doctor.user);
    assert_int_equal(content_decode(&small, buffer_bytes(&content)), OK);
    memset(buffer_extend(&large, LIMIT_RECORD + 17), 1, LIMIT_RECORD + 17);
    big = (struct content){small.capsule, buffer_bytes(&large)};
    struct buffer encoded = {0};
    content_encode(&encoded, &big);
    record_refused(ERR_RECORD_TOO_LARGE, &id, buffer_bytes(&encoded));
    /* The client says so before it sends anything. */
    write_file("large", bytes_of(large.data, LIMIT_RECORD + 1));
    char who[ID_TEXT_SIZE];
    id_format(who, &patient_id);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key record create --patient %s --kind note %s",
                                 bed.dir, who, in_bed("large")), 1);
    assert_non_null(strstr(said(), "1048576"));
    assert_unchanged(&before);
    buffer_free(&content);
    buffer_free(&large);
    buffer_free(&encoded);
}

/* --- what leaves a leaf --- */

/* Denied, with this reason, in exactly one new leaf. */
static void denied(const struct signer *who, const struct arguments *args, enum reason reason)
{
    struct ledger_mark before = settled();
    attacker_request(&request, &them, who, args, (struct bytes){0}, NULL);
    submit_to(NODE, buffer_bytes(&request));
    bool as_expected = said_last.type == MESSAGE_APPLIED && result.code == OK && result.decision == DECISION_DENIED;
    if (!as_expected || result.reason != reason)
        fail_msg("expected denial %d, got type %u: %s, decision %u, reason %u (%s)", (int)reason, said_last.type,
                 err_name(result.code), result.decision, result.reason, said_last.text);
    assert_int_equal(result.leaf_index, before.size);
    assert_int_equal(settled().size, before.size + 1);
}

static void denied_with_a_leaf(void **state)
{
    (void)state;
    struct arguments args = an_event();
    denied(&left, &args, REASON_DISABLED);
    args.event_add.patient = random_id();
    denied(&doctor, &args, REASON_UNKNOWN_PATIENT);
    args.event_add.patient = nurse.user;
    denied(&doctor, &args, REASON_NOT_A_PATIENT);
    struct seal_secret unused;
    struct arguments read = {.action = ACTION_RECORD_READ, .record_read = {.record = random_id(), .limit = 1}};
    seal_keypair_random(&unused, &read.record_read.reader_key);
    denied(&doctor, &read, REASON_UNKNOWN_RECORD);
    read.record_read.record = record;
    read.record_read.version = 9;
    denied(&doctor, &read, REASON_UNKNOWN_VERSION);
    read.record_read.version = 0;
    denied(&nurse, &read, REASON_SCOPE); /* not of the patient's team */
    struct arguments update = {.action = ACTION_RECORD_DELETE,
                               .record_delete = {.record = record, .patient = patient_id, .base_version = 5}};
    denied(&doctor, &update, REASON_CONFLICT);
}

static void a_login_twice(void **state)
{
    (void)state;
    const char *path = in_bed("twice.key");
    testbed_expect(&bed, 0, &out, "key new --no-passphrase -o %s", path);
    struct ledger_mark before = settled();
    assert_int_equal(testbed_cli(&bed, &out, &errors,
                                 "-i %s user add --role nurse --hospital 'Hospital 1' --login Doctor --key %s",
                                 bed.admin, path), 7);
    assert_non_null(strstr(said(), reason_text(REASON_LOGIN_TAKEN)));
    assert_int_equal(settled().size, before.size + 1);
}

/* --- sessions --- */

static struct bytes body_of(uint32_t type, uint64_t leaf, uint32_t first, bool without_self)
{
    static struct buffer body;
    buffer_clear(&body);
    struct message_prove prove = {1, {leaf}};
    struct message_opening opening = {.leaf_index = leaf, .first = first, .count = 1};
    if (without_self) opening.excluded[opening.excluded_count++] = NODE;
    switch ((enum message_type)type) {
    case MESSAGE_PROVE: message_prove_encode(&body, &prove); break;
    case MESSAGE_CONTENT:
    case MESSAGE_SHARES: message_opening_encode(&body, &opening); break;
    case MESSAGE_LEAVES: message_leaves_encode(&body, &(struct message_leaves){leaf, 10}); break;
    case MESSAGE_FOLLOW: message_follow_encode(&body, &(struct message_follow){leaf}); break;
    default: CHECK(!"a question for those who may");
    }
    return buffer_bytes(&body);
}

static void may_not(struct client *c, enum err code, uint64_t leaf, bool other_questions)
{
    attacker_ask(&them, c, &said_last, MESSAGE_PROVE, body_of(MESSAGE_PROVE, leaf, 0, false));
    assert_failed(code);
    attacker_ask(&them, c, &said_last, MESSAGE_CONTENT, body_of(MESSAGE_CONTENT, leaf, 0, false));
    assert_failed(code);
    attacker_ask(&them, c, &said_last, MESSAGE_SHARES, body_of(MESSAGE_SHARES, leaf, 0, false));
    assert_failed(code);
    /* Nor from the others, past this node. */
    attacker_ask(&them, c, &said_last, MESSAGE_SHARES, body_of(MESSAGE_SHARES, leaf, 0, true));
    assert_failed(code);
    attacker_ask(&them, c, &said_last, MESSAGE_FOLLOW, body_of(MESSAGE_FOLLOW, leaf, 0, false));
    assert_failed(code);
    if (!other_questions) return;
    attacker_ask(&them, c, &said_last, MESSAGE_LEAVES, body_of(MESSAGE_LEAVES, 0, 0, false));
    assert_failed(code);
}

static uint64_t read_of_the_doctor(struct client *c)
{
    struct seal_secret unused;
    struct arguments read = {.action = ACTION_RECORD_READ, .record_read = {.record = record, .limit = 1}};
    seal_keypair_random(&unused, &read.record_read.reader_key);
    attacker_request(&request, &them, &doctor, &read, (struct bytes){0}, NULL);
    attacker_submit(&them, c, &said_last, &result, buffer_bytes(&request));
    assert_int_equal(result.code, OK);
    assert_int_equal(result.decision, DECISION_APPROVED);
    return result.leaf_index;
}

/* From what anybody has who may see the entry: the request that made it, had that no attachment. */
static void request_of_leaf(struct buffer *to, struct bytes bytes)
{
    struct leaf leaf;
    assert_int_equal(leaf_decode(&leaf, bytes), OK);
    pack_array(to, 3);
    pack_array(to, 1);
    pack_bytes(to, leaf.operation.raw);
    pack_array(to, 1);
    pack_bin(to, NULL, 0);
    pack_bin(to, leaf.signature.bytes, sizeof leaf.signature.bytes);
    assert_false(to->failed);
}

/* Sent again it opens its own entry, as for a reader whose node died, and no other one of its actor's. */
static void an_entry_makes_nobody_its_actor(void **state)
{
    (void)state;
    static struct message_cosigned cosigned;
    static struct digest hashes[LIMIT_PROOFS];
    struct client *own = attacker_greet(&them, NODE), *seer = attacker_greet(&them, NODE);
    uint64_t before = read_of_the_doctor(own), seen = read_of_the_doctor(own);
    struct buffer again = {0};
    attacker_ask(&them, own, &said_last, MESSAGE_PROVE, body_of(MESSAGE_PROVE, seen, 0, false));
    assert_int_equal(said_last.type, MESSAGE_COSIGNED);
    assert_int_equal(message_cosigned_decode(&cosigned, hashes, LIMIT_PROOFS, buffer_bytes(&said_last.body)), OK);
    request_of_leaf(&again, cosigned.proofs[0].leaf);
    attacker_submit(&them, seer, &said_last, &result, buffer_bytes(&again));
    assert_int_equal(result.code, ERR_DUPLICATE);
    assert_int_equal(result.leaf_index, seen);
    may_not(seer, ERR_UNAUTHORIZED, before, true);
    attacker_ask(&them, seer, &said_last, MESSAGE_PROVE, body_of(MESSAGE_PROVE, seen, 0, false));
    assert_int_equal(said_last.type, MESSAGE_COSIGNED);
    attacker_ask(&them, seer, &said_last, MESSAGE_SHARES, body_of(MESSAGE_SHARES, seen, 0, false));
    assert_int_equal(said_last.type, MESSAGE_SHARED);
    buffer_free(&again);
    client_close(own);
    client_close(seer);
}

/* --- an export, on another connection than its own --- */

/* `refusal` OK: it does. What was sent again, as older clients do, is no word against the node. */
static void gives_the_ledger(struct client *c, enum err refusal)
{
    static const struct {
        uint32_t type, answer;
    } questions[] = {{MESSAGE_LEAVES, MESSAGE_LEAVES_OK}, {MESSAGE_STORED, MESSAGE_STORED_OK},
                     {MESSAGE_EVIDENCE, MESSAGE_EVIDENCE_OK}, {MESSAGE_PROVE, MESSAGE_COSIGNED}};
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        struct buffer body = {0};
        switch ((enum message_type)questions[i].type) {
        case MESSAGE_LEAVES: message_leaves_encode(&body, &(struct message_leaves){1, 2}); break;
        case MESSAGE_STORED: message_stored_encode(&body, &(struct message_stored){1, 3, false}); break;
        case MESSAGE_PROVE: message_prove_encode(&body, &(struct message_prove){1, {2}}); break;
        default: message_empty_encode(&body);
        }
        do attacker_ask(&them, c, &said_last, questions[i].type, buffer_bytes(&body));
        while (refusal == OK && said_last.code == ERR_NOT_READY); /* until the entry that allows it is synced */
        buffer_free(&body);
        if (refusal == ERR_ALPN && questions[i].type != MESSAGE_PROVE)
            assert_true(said_last.code == refusal && strstr(said_last.text, "this consilium is too old"));
        else if (refusal != OK)
            assert_failed(ERR_UNAUTHORIZED);
        else if (said_last.type != questions[i].answer)
            fail_msg("question %u: %s", questions[i].type, said_last.text);
    }
}

/* `node`: for which it is signed. */
static void admit(struct client *c, const struct signer *who, const struct operation *op, unsigned node)
{
    const struct genesis *g = &them.cluster.genesis;
    struct message_admit m = {.actor = op->actor.id, .issued_at_ms = op->issued_at_ms, .request = op->request_id};
    struct buffer text = {0}, body = {0};
    message_admit_signing(&text, &g->cluster, &genesis_member(g, node)->id, &m);
    sign_message(&m.signature, &who->secrets->sign, buffer_bytes(&text));
    message_admit_encode(&body, &m);
    attacker_ask(&them, c, &said_last, MESSAGE_ADMIT, buffer_bytes(&body));
    buffer_free(&text);
    buffer_free(&body);
}

/* Of the one in `request`, whose bytes it views. */
static struct operation operation_made(void)
{
    struct request r;
    assert_int_equal(request_decode(&r, buffer_bytes(&request)), OK);
    struct operation op = r.items[0].operation;
    request_free(&r);
    return op;
}

/* Whoever was shown the entry, by a receipt or in an exported folder, has the request that made it. */
static void an_export_is_its_makers(void **state)
{
    (void)state;
    struct client *own = attacker_greet(&them, NODE), *seer = attacker_greet(&them, NODE);
    char id[ID_TEXT_SIZE];
    testbed_user(&bed, "auditor", "Hospital 1", "auditor", id);
    struct signer auditor = attacker_signer(&them, "auditor");
    struct arguments args = {.action = ACTION_LEDGER_EXPORT};
    attacker_request(&request, &them, &auditor, &args, (struct bytes){0}, NULL);
    attacker_submit(&them, own, &said_last, &result, buffer_bytes(&request));
    assert_int_equal(result.code, OK);
    assert_int_equal(result.decision, DECISION_APPROVED);
    gives_the_ledger(own, OK);
    struct operation export = operation_made(), other = export;
    gives_the_ledger(seer, ERR_UNAUTHORIZED);
    attacker_submit(&them, seer, &said_last, &result, buffer_bytes(&request));
    assert_int_equal(result.code, ERR_DUPLICATE);
    gives_the_ledger(seer, ERR_ALPN);
    /* Signed by another one, or for another node; one that is old, or not there, or no export. */
    admit(seer, &doctor, &export, NODE);
    assert_failed(ERR_BAD_SIGNATURE);
    admit(seer, &auditor, &export, NODE + 1);
    assert_failed(ERR_BAD_SIGNATURE);
    other.issued_at_ms -= 10 * MINUTE_MS;
    admit(seer, &auditor, &other, NODE);
    assert_failed(ERR_UNAUTHORIZED);
    other.issued_at_ms = export.issued_at_ms + 1;
    admit(seer, &auditor, &other, NODE);
    assert_failed(ERR_NOT_READY);
    read_of_the_doctor(own);
    other = operation_made();
    admit(seer, &doctor, &other, NODE);
    assert_failed(ERR_UNAUTHORIZED);
    gives_the_ledger(seer, ERR_ALPN);
    admit(seer, &auditor, &export, NODE);
    assert_int_equal(said_last.type, MESSAGE_ADMITTED);
    gives_the_ledger(seer, OK);
    signer_close(&auditor);
    client_close(own);
    client_close(seer);
}

static void sessions_that_may_not(void **state)
{
    (void)state;
    struct client *own = attacker_greet(&them, NODE), *stranger = attacker_greet(&them, NODE),
                  *other = attacker_greet(&them, NODE);
    uint64_t leaf = read_of_the_doctor(own);
    attacker_ask(&them, own, &said_last, MESSAGE_SHARES, body_of(MESSAGE_SHARES, leaf, 0, false));
    assert_int_equal(said_last.type, MESSAGE_SHARED);
    may_not(stranger, ERR_UNAUTHORIZED, leaf, true);
    /* Somebody else, who is known. */
    struct arguments args = an_event();
    attacker_request(&request, &them, &nurse, &args, (struct bytes){0}, NULL);
    attacker_submit(&them, other, &said_last, &result, buffer_bytes(&request));
    assert_int_equal(result.code, OK);
    may_not(other, ERR_UNAUTHORIZED, leaf, true);
    /* An old request of the doctor's, sent again by who saw it, makes nobody the doctor. */
    attacker_request(&request, &them, &doctor, &args, (struct bytes){0},
                     &(struct wrong){.issued_at_ms = clock_wall_ms() - 10 * MINUTE_MS});
    attacker_submit(&them, stranger, &said_last, &result, buffer_bytes(&request));
    assert_int_equal(result.code, ERR_STALE);
    may_not(stranger, ERR_UNAUTHORIZED, leaf, true);
    /* The doctor, but not of what this leaf opens. */
    attacker_ask(&them, own, &said_last, MESSAGE_CONTENT, body_of(MESSAGE_CONTENT, leaf, 5, false));
    assert_failed(ERR_NOT_FOUND);
    attacker_ask(&them, own, &said_last, MESSAGE_SHARES, body_of(MESSAGE_SHARES, leaf, 5, false));
    assert_failed(ERR_NOT_FOUND);
    attacker_ask(&them, own, &said_last, MESSAGE_CONTENT, body_of(MESSAGE_CONTENT, 0, 0, false));
    assert_failed(ERR_NOT_FOUND);
    attacker_ask(&them, own, &said_last, MESSAGE_FOLLOW, body_of(MESSAGE_FOLLOW, leaf, 0, false));
    assert_failed(ERR_NOT_FOUND); /* no query that follows */
    attacker_ask(&them, own, &said_last, MESSAGE_CONTENT, body_of(MESSAGE_CONTENT, UINT64_MAX, 0, false));
    assert_failed(ERR_NOT_FOUND);
    client_close(own);
    client_close(stranger);
    client_close(other);
}

static void unknown_places(void **state)
{
    (void)state;
    struct buffer body = {0};
    struct client *c = attacker_greet(&them, NODE);
    message_consistency_encode(&body, &(struct message_consistency){5, UINT64_MAX});
    attacker_ask(&them, c, &said_last, MESSAGE_CONSISTENCY, buffer_bytes(&body));
    assert_failed(ERR_INVALID);
    buffer_clear(&body);
    message_consistency_encode(&body, &(struct message_consistency){0, 0});
    attacker_ask(&them, c, &said_last, MESSAGE_CONSISTENCY, buffer_bytes(&body));
    assert_true(said_last.type == MESSAGE_FAILED || said_last.type == MESSAGE_CONSISTENT);
    buffer_clear(&body);
    message_keys_encode(&body, &(struct message_keys){KEY_PASSWORDS});
    attacker_ask(&them, c, &said_last, MESSAGE_KEYS, buffer_bytes(&body));
    assert_int_equal(said_last.code, ERR_NOT_READY);
    buffer_clear(&body);
    message_lookup_encode(&body, &(struct message_lookup){ACTOR_USER, random_id(), UINT64_MAX, random_id()});
    attacker_ask(&them, c, &said_last, MESSAGE_LOOKUP, buffer_bytes(&body));
    struct message_found found;
    if (said_last.type == MESSAGE_FOUND) {
        assert_int_equal(message_found_decode(&found, buffer_bytes(&said_last.body)), OK);
        assert_false(found.found);
    } else {
        assert_failed(ERR_MALFORMED);
    }
    client_close(c);
    buffer_free(&body);
}

/* --- TLS --- */

static int dial_raw(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(bed.ports[NODE]),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s >= 0);
    assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof to), 0);
    struct timeval patience = {5, 0};
    setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return s;
}

/* These bytes instead of TLS: the node closes. */
static void garbage_case(struct bytes bytes)
{
    char sink[4096];
    ssize_t got;
    int s = dial_raw();
    assert_int_equal(send(s, bytes.data, bytes.size, MSG_NOSIGNAL), bytes.size);
    while ((got = recv(s, sink, sizeof sink, 0)) > 0)
        continue;
    if (got != 0 && errno != ECONNRESET) fail_msg("the node does not close on garbage: %s", strerror(errno));
    close(s);
}

static void garbage_instead_of_tls(void **state)
{
    (void)state;
    uint8_t random[4000], record_of_nothing[] = {0x16, 3, 1, 1, 0}, alert[] = {0x15, 3, 1, 0, 2, 2, 40};
    random_bytes(random, sizeof random);
    random[0] = 0x80;
    garbage_case(BYTES(random));
    garbage_case(bytes_text("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    garbage_case(BYTES(alert));
    memcpy(random, record_of_nothing, sizeof record_of_nothing);
    garbage_case(BYTES(random)); /* a handshake record that is none inside */
}

static enum err connect_as(const char *alpn, bool with_key)
{
    struct tls_context *tls;
    struct buffer key = {0}, certificate = {0};
    struct failure failure = {0};
    const struct descriptor *d = genesis_member(&them.cluster.genesis, NODE);
    struct address to;
    struct client *c = NULL;
    if (with_key) CHECK(certificate_generate(&key, &certificate, "stranger", NULL) == OK);
    CHECK(tls_context_new(&tls, buffer_bytes(&key), buffer_bytes(&certificate), NULL) == OK);
    CHECK(address_parse(&to, d->address, false, NULL) == OK);
    struct client_options o = {.alpn = alpn, .timeout_ms = PATIENCE_MS};
    enum err e = client_connect(&c, tls, &to, &d->tls_pin, &o, &failure);
    if (e == OK) { /* the server's refusal comes after the client's last flight */
        struct frame frame;
        e = client_receive(c, &frame, PATIENCE_MS, &failure);
    }
    client_close(c);
    tls_context_free(tls);
    buffer_free(&key);
    buffer_free(&certificate);
    return e;
}

static void strangers_at_the_peers_door(void **state)
{
    (void)state;
    struct ledger_mark before = settled();
    assert_int_equal(connect_as(TLS_ALPN_PEER, true), ERR_WRONG_PEER); /* a key that is no member's */
    assert_unchanged(&before);
}

/* --- start and end --- */

static void make_record(void)
{
    record = random_id();
    close_content(&record_content, &record, bytes_text("the truth"), &doctor.user);
    struct arguments args = a_record(&record);
    attacker_request(&request, &them, &doctor, &args, buffer_bytes(&record_content), NULL);
    submit_to(1, buffer_bytes(&request));
    assert_int_equal(result.code, OK);
    assert_int_equal(result.decision, DECISION_APPROVED);
}

static int begin(void **state)
{
    (void)state;
    attack_begin();
    patient_id = patient.user;
    make_record();
    /* A proof that can't be had: answered in time, and nobody waits for it. */
    far_future = attacker_greet(&them, NODE);
    struct arguments args = an_event();
    attacker_request(&request, &them, &doctor, &args, (struct bytes){0}, NULL);
    attacker_submit(&them, far_future, &said_last, &result, buffer_bytes(&request));
    attacker_send(&them, far_future, MESSAGE_PROVE, 70, body_of(MESSAGE_PROVE, UINT64_MAX, 0, false));
    return 0;
}

static void a_proof_of_what_is_not_there(void **state)
{
    (void)state;
    attacker_hear(&them, far_future, &said_last, LIMIT_REQUEST_MS + PATIENCE_MS);
    assert_int_equal(said_last.id, 70);
    assert_failed(ERR_NOT_WITNESSED);
    client_close(far_future);
}

/* After all that: the nodes are the same processes, and their ledgers verify. */
static void the_nodes_go_on(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE];
    id_format(id, &record);
    for (unsigned node = 1; node <= bed.n; node++) {
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u record show %s", bed.dir, node, id);
        assert_string_equal(text(), "the truth");
        assert_false(testbed_log_has(&bed, node, "ALARM"));
        assert_false(testbed_log_has(&bed, node, "CHECK"));
    }
}

static int end(void **state)
{
    buffer_free(&request);
    buffer_free(&record_content);
    return attack_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_frames),
        cmocka_unit_test(wrong_types),
        cmocka_unit_test(other_version_of_the_protocol),
        cmocka_unit_test(truncated_frames),
        cmocka_unit_test(wrong_signatures),
        cmocka_unit_test(wrong_times),
        cmocka_unit_test(replayed),
        cmocka_unit_test(wrong_requests),
        cmocka_unit_test(wrong_capsules),
        cmocka_unit_test(record_over_the_limit),
        cmocka_unit_test(denied_with_a_leaf),
        cmocka_unit_test(a_login_twice),
        cmocka_unit_test(sessions_that_may_not),
        cmocka_unit_test(an_entry_makes_nobody_its_actor),
        cmocka_unit_test(an_export_is_its_makers),
        cmocka_unit_test(unknown_places),
        cmocka_unit_test(garbage_instead_of_tls),
        cmocka_unit_test(strangers_at_the_peers_door),
        cmocka_unit_test(a_proof_of_what_is_not_there),
        cmocka_unit_test(the_nodes_go_on),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
