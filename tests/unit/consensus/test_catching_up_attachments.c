/* Attachments, which no root covers: what is altered, denied, erased or not there yet; and what a node serves to
 * others. */
#include <stdlib.h>

#include "base/check.h"
#include "consensus/catchup_messages.h"
#include "consensus/peer_messages.h"
#include "ledger/tables.h"
#include "tests/unit/consensus/bed_catching_up.h"

static unsigned liar;

/* --- liars about attachments --- */

static void (*attachment_lie)(uint32_t i, enum attachment_state *state, struct bytes *attachment);

static bool lie_in_attached(struct message *m)
{
    if (m->type != PEER_ATTACHED || m->from != liar) return true;
    struct attached *a = xcalloc(1, sizeof *a);
    struct buffer items = {0}, body = {0};
    CHECK(attached_decode(a, buffer_bytes(&m->body)) == OK);
    for (uint32_t i = 0; i < a->count; i++) {
        attachment_lie(i, &a->states[i], &a->attachments[i]);
        attached_add(&items, a->states[i], a->attachments[i]);
    }
    attached_encode(&body, a->count, buffer_bytes(&items));
    buffer_free(&m->body);
    m->body = body;
    buffer_free(&items);
    free(a);
    return true;
}

static void alter_attachment(uint32_t i, enum attachment_state *state, struct bytes *attachment)
{
    if (i == 20 && *state == ATTACHMENT_HERE) ((uint8_t *)(uintptr_t)attachment->data)[attachment->size / 2] ^= 1;
}

static void deny_attachment(uint32_t i, enum attachment_state *state, struct bytes *attachment)
{
    (void)i;
    *state = ATTACHMENT_ERASED;
    *attachment = (struct bytes){0};
}

static void put_off_attachment(uint32_t i, enum attachment_state *state, struct bytes *attachment)
{
    (void)i;
    *state = ATTACHMENT_NOT_YET;
    *attachment = (struct bytes){0};
}

static void lies_about_attachments_are_refused(void **state)
{
    (void)state;
    liar = 1;
    tamper = lie_in_attached;
    attachment_lie = alter_attachment;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
    assert_int_equal(answers_of[1][PEER_ATTACHED], 1);
}

static bool one_attachment(struct message *m)
{
    if (m->type != PEER_ATTACHED || m->from != 1) return true;
    struct attached *a = xcalloc(1, sizeof *a);
    struct buffer items = {0}, body = {0};
    CHECK(attached_decode(a, buffer_bytes(&m->body)) == OK);
    attached_add(&items, a->states[0], a->attachments[0]);
    attached_encode(&body, 1, buffer_bytes(&items));
    buffer_free(&m->body);
    m->body = body;
    buffer_free(&items);
    free(a);
    return true;
}

/* Twice: what comes second shows that it had fitted before. */
static void who_gives_little_is_asked_last(void **state)
{
    (void)state;
    tamper = one_attachment;
    install(&marks[2]);
    assert_true(wait_for(ready, 20000));
    assert_whole();
    assert_in_range(answers_of[1][PEER_ATTACHED], 1, 8);
}

static void who_answers_late_is_asked_last(void **state)
{
    (void)state;
    late_ms[1] = LIMIT_PULL_MS / 5;
    install(&marks[2]);
    assert_true(wait_for(ready, 20000));
    assert_whole();
    assert_in_range(answers_of[1][PEER_ATTACHED], 0, 1);
}

static void one_that_says_erased_is_not_believed(void **state)
{
    (void)state;
    liar = 1;
    tamper = lie_in_attached;
    attachment_lie = deny_attachment;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
}

static bool many_have_none(struct message *m)
{
    liar = m->from == 3 ? 0 : m->from;
    return lie_in_attached(m);
}

/* Two of three don't have them yet: the third does. */
static void what_others_wait_for_comes_from_who_has_it(void **state)
{
    (void)state;
    tamper = many_have_none;
    attachment_lie = put_off_attachment;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
}

static bool nobody_has_any(struct message *m)
{
    liar = m->from;
    return lie_in_attached(m);
}

static void what_nobody_has_yet_keeps_it_from_being_ready(void **state)
{
    (void)state;
    tamper = nobody_has_any;
    attachment_lie = put_off_attachment;
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    wait_for(never, 1000);
    assert_false(nodes[TARGET].ready);
    tamper = NULL;
    assert_whole();
}

/* The source forgets some: b + 1 that say so are enough. */
static void what_is_erased_is_done_without(void **state)
{
    (void)state;
    uint64_t erased[3];
    struct buffer kept[3] = {{0}};
    struct table_txn *txn = kit.txn;
    uint64_t from = marks[2].size - RECORDS;
    for (unsigned i = 0; i < 3; i++) {
        uint8_t key[8];
        erased[i] = from + i;
        put_be64(key, erased[i]);
        CHECK(table_get(txn, TABLE_ATTACHMENT, BYTES(key), &kept[i]) == OK);
        CHECK(table_delete(txn, TABLE_ATTACHMENT, BYTES(key)) == OK);
    }
    kit_reopen(&kit);
    struct digest whole = kit_whole;
    kit_whole = kit_digest(&kit);
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    assert_whole();
    /* One alone that says so is not enough. */
    teardown(NULL);
    setup(NULL);
    install(&marks[2]);
    assert_true(wait_for(caught_up, 20000));
    down[2] = down[3] = true;
    wait_for(never, 1000);
    assert_false(nodes[TARGET].ready);
    down[2] = false;
    assert_whole();
    for (unsigned i = 0; i < 3; i++) {
        uint8_t key[8];
        put_be64(key, erased[i]);
        CHECK(table_put(kit.txn, TABLE_ATTACHMENT, BYTES(key), buffer_bytes(&kept[i])) == OK);
        buffer_free(&kept[i]);
    }
    kit_reopen(&kit);
    kit_whole = whole;
}

/* --- serving --- */

static unsigned seen_type;
static enum err seen_code;
static enum attachment_state seen_state;

static bool spy(struct message *m)
{
    if (m->to != TARGET) return true;
    struct attached *a = xcalloc(1, sizeof *a);
    seen_type = m->type;
    if (m->type == PEER_ATTACHED && attached_decode(a, buffer_bytes(&m->body)) == OK) seen_state = a->states[0];
    free(a);
    struct refusal r;
    if (m->type == PEER_FAILED) seen_code = refusal_decode(&r, buffer_bytes(&m->body)) == OK ? r.code : OK;
    return true;
}

static bool seen(void) { return seen_type != 0; }

static void ask(uint32_t type, struct bytes body)
{
    seen_type = 0;
    seen_code = OK;
    catchup_message(nodes[1].catchup, TARGET, type, 77, body);
    assert_true(wait_for(seen, 1000));
}

static void expect_refused(uint32_t type, struct bytes body, enum err code)
{
    ask(type, body);
    assert_int_equal(seen_type, PEER_FAILED);
    assert_int_equal(seen_code, code);
}

static void malformed_asks_are_refused(void **state)
{
    (void)state;
    struct buffer body = {0};
    tamper = spy;
    static const uint32_t types[] = {PEER_MANIFEST_ASK, PEER_PULL, PEER_ATTACHMENTS};
    for (unsigned i = 0; i < 3; i++) {
        expect_refused(types[i], (struct bytes){0}, ERR_TRUNCATED);
        expect_refused(types[i], bytes_text("\xc1"), ERR_MALFORMED);
        expect_refused(types[i], bytes_text("\x90"), ERR_MALFORMED);
    }
    static const struct pull pulls[] = {{0, 5}, {5, 5}, {6, 5}};
    for (unsigned i = 0; i < 3; i++) {
        buffer_clear(&body);
        pull_encode(&body, &pulls[i]);
        expect_refused(PEER_PULL, buffer_bytes(&body), ERR_INVALID);
    }
    buffer_clear(&body);
    pull_encode(&body, &(struct pull){1, marks[2].size + 1}); /* not there */
    expect_refused(PEER_PULL, buffer_bytes(&body), ERR_NOT_FOUND);
    buffer_clear(&body);
    attachments_ask_encode(&body, &(struct attachments_ask){2, {7, 7}});
    expect_refused(PEER_ATTACHMENTS, buffer_bytes(&body), ERR_INVALID);
    buffer_clear(&body);
    attachments_ask_encode(&body, &(struct attachments_ask){1, {UINT64_MAX}});
    ask(PEER_ATTACHMENTS, buffer_bytes(&body));
    assert_int_equal(seen_type, PEER_ATTACHED);
    assert_int_equal(seen_state, ATTACHMENT_NOT_YET);
    buffer_clear(&body);
    attachments_ask_encode(&body, &(struct attachments_ask){1, {marks[2].size - 1}});
    ask(PEER_ATTACHMENTS, buffer_bytes(&body));
    assert_int_equal(seen_state, ATTACHMENT_HERE);
    buffer_free(&body);
}

static unsigned refused_busy, served;

static bool count_answers(struct message *m)
{
    struct refusal r;
    if (m->to != TARGET) return true;
    if (m->type == PEER_FAILED && refusal_decode(&r, buffer_bytes(&m->body)) == OK && r.code == ERR_BUSY)
        refused_busy++;
    if (m->type == PEER_PULLED) served++;
    return true;
}

static void only_so_many_at_once_are_served(void **state)
{
    (void)state;
    struct buffer body = {0};
    tamper = count_answers;
    refused_busy = served = 0;
    pull_encode(&body, &(struct pull){1, marks[2].size});
    for (int i = 0; i < 10; i++)
        catchup_message(nodes[1].catchup, TARGET, PEER_PULL, 77, buffer_bytes(&body));
    catchup_message(nodes[1].catchup, 2, PEER_PULL, 77, buffer_bytes(&body)); /* another peer is served */
    assert_int_equal(refused_busy, 10 - LIMIT_PULL_SERVED);
    assert_int_equal(nodes[1].driver.read_count, LIMIT_PULL_SERVED + 1);
    wait_for(never, 20);
    assert_int_equal(served, LIMIT_PULL_SERVED);
    nodes[1].driver.refuse = true;
    catchup_message(nodes[1].catchup, TARGET, PEER_PULL, 77, buffer_bytes(&body));
    assert_int_equal(refused_busy, 10 - LIMIT_PULL_SERVED + 1);
    nodes[1].driver.refuse = false;
    buffer_free(&body);
}

static void the_manifest_is_one_that_is_synced(void **state)
{
    (void)state;
    struct buffer manifest = {0};
    struct offer offer;
    uint64_t index, term;
    assert_true(catchup_manifest(nodes[1].catchup, &index, &term, &manifest));
    assert_int_equal(index, marks[2].raft_index);
    nodes[1].driver.synced_index = marks[2].raft_index - 1;
    buffer_clear(&manifest);
    assert_true(catchup_manifest(nodes[1].catchup, &index, &term, &manifest));
    assert_int_equal(index, marks[1].raft_index);
    assert_int_equal(offer_decode(&offer, buffer_bytes(&manifest)), OK);
    assert_int_equal(offer.size, marks[1].size);
    nodes[1].driver.synced_index = marks[0].raft_index - 1;
    buffer_clear(&manifest);
    assert_false(catchup_manifest(nodes[1].catchup, &index, &term, &manifest));
    assert_false(catchup_manifest(nodes[TARGET].catchup, &index, &term, &manifest));
    buffer_free(&manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(lies_about_attachments_are_refused),
        BED_TEST(one_that_says_erased_is_not_believed),
        BED_TEST(who_gives_little_is_asked_last),
        BED_TEST(who_answers_late_is_asked_last),
        BED_TEST(what_others_wait_for_comes_from_who_has_it),
        BED_TEST(what_nobody_has_yet_keeps_it_from_being_ready),
        BED_TEST(what_is_erased_is_done_without),
        BED_TEST(malformed_asks_are_refused),
        BED_TEST(only_so_many_at_once_are_served),
        BED_TEST(the_manifest_is_one_that_is_synced),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
