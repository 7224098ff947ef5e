/* Nodes whose ledgers are right, with what belongs to them altered, unreadable or gone. */
#include <stdlib.h>

#include "base/check.h"
#include "cli/audit_content.h"
#include "ledger/attachment.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define NONE ((struct bytes){0})
#define NODES 4
#define MOST 200

static struct kit kit;
static struct verifier *verifier;
static struct audit_known known;

struct fake {
    struct ledger_source source;
    struct audit audit;
    struct stored_hash items[MOST];
    uint32_t count, per_page;
    uint64_t offset;          /* answers about entries so far behind those asked for */
    unsigned not_ready, waits, lists;
    enum err silent;
    bool lists_too_much;
};

static enum err fake_stored(void *data, struct stored_page *out, uint64_t from, uint64_t to, bool listed,
                            struct failure *failure)
{
    struct fake *f = data;
    f->lists += listed;
    if (f->silent != OK) return fail(failure, f->silent, "gone");
    if (f->not_ready > 0) return f->not_ready--, fail(failure, ERR_NOT_READY, "not synced");
    from = from > f->offset ? from - f->offset : 0;
    uint32_t first = 0, count = 0;
    while (first < f->count && f->items[first].index < from) first++;
    while (first + count < f->count && f->items[first + count].index < to && count < f->per_page) count++;
    bool more = first + count < f->count && f->items[first + count].index < to;
    *out = (struct stored_page){.next = more ? f->items[first + count].index : to, .count = count};
    message_stored_sum(&out->sum, f->items + first, count);
    if (listed) out->items = f->items + first;
    if (listed && f->lists_too_much) out->count = CONTENT_BLOCK + 1; /* more than there are */
    return OK;
}

static bool fake_wait(void *data, uint32_t waited_ms)
{
    ((struct fake *)data)->waits++;
    return waited_ms < 3 * SOURCE_WAIT_MS;
}

/* As the kit's store has it. */
static void fill(struct fake *f, const char *name)
{
    *f = (struct fake){.source = {name, f, NULL, NULL, NULL, fake_stored, fake_wait}, .audit.verdict = AUDIT_FINE,
                       .per_page = 3};
    for (uint64_t i = 1; i < known.reference.size; i++) {
        struct buffer bytes = {0};
        struct leaf leaf;
        CHECK(proof_leaf(&bytes, kit.txn, i) == OK && leaf_decode(&leaf, buffer_bytes(&bytes)) == OK);
        if (operation_has_attachment(&leaf.operation) && f->count < MOST)
            f->items[f->count++] = (struct stored_hash){i, leaf.operation.attachment};
        buffer_free(&bytes);
    }
    CHECK(f->count >= 6);
}

static struct fake fakes[NODES];
static struct content_node nodes[NODES];

static int setup(void **state)
{
    (void)state;
    struct finding finding;
    kit_open(&kit, 4, 1, NONE);
    kit_activate(&kit, KEY_RECORDS);
    struct kit_actor doctor = kit_add_user(&kit, 1, "doctor", "Mercy", "Dr. House");
    kit_add_user(&kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_team(&kit, 5, 1);
    for (unsigned i = 0; i < 8; i++) {
        struct buffer content = {0};
        struct arguments create = {.action = ACTION_RECORD_CREATE};
        kit_content(&content, "content");
        create.record_create = (struct args_record_create){sample_id(70 + i), sample_id(5), bytes_text("Note"),
                                                           CONF_NORMAL, {{0}}};
        kit_do(&kit, &doctor, &create, buffer_bytes(&content));
        buffer_free(&content);
    }
    known = (struct audit_known){.genesis = &kit.genesis, .reference.size = ledger_size(kit.ledger)};
    CHECK(verifier_open(&verifier, &kit.genesis, NULL) == OK);
    for (uint64_t i = 0; i < known.reference.size; i++) {
        struct buffer bytes = {0};
        CHECK(proof_leaf(&bytes, kit.txn, i) == OK);
        struct bytes leaf = buffer_bytes(&bytes);
        CHECK(verifier_take(verifier, &finding, &leaf, 1, NULL) == OK);
        buffer_free(&bytes);
    }
    CHECK(verifier_settle(verifier, &finding, NULL) == OK && finding.code == OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    verifier_close(verifier);
    kit_close(&kit);
    return 0;
}

static int fresh(void **state)
{
    (void)state;
    static const char *const names[NODES] = {"a", "b", "c", "d"};
    for (unsigned i = 0; i < NODES; i++) {
        fill(&fakes[i], names[i]);
        nodes[i] = (struct content_node){.source = &fakes[i].source, .audit = &fakes[i].audit};
    }
    return 0;
}

static void look(unsigned count)
{
    struct failure failure = {0};
    assert_int_equal(audit_contents(nodes, count, verifier, &known, &failure), OK);
}

static void remove_item(struct fake *f, uint32_t at)
{
    memmove(&f->items[at], &f->items[at + 1], (--f->count - at) * sizeof f->items[0]);
}

static void assert_named(unsigned node, enum err code, uint64_t index)
{
    for (unsigned i = 0; i < NODES; i++)
        assert_int_equal(fakes[i].audit.verdict, i == node ? AUDIT_CONTENT : AUDIT_FINE);
    assert_int_equal(fakes[node].audit.finding.code, code);
    assert_int_equal(fakes[node].audit.finding.index, index);
    assert_true(fakes[node].audit.finding.located);
}

static void test_right(void **state)
{
    (void)state;
    for (uint32_t page = 1; page < 12; page += 5) {
        fresh(NULL);
        for (unsigned i = 0; i < NODES; i++) fakes[i].per_page = page;
        look(NODES);
        for (unsigned i = 0; i < NODES; i++) {
            assert_int_equal(fakes[i].audit.verdict, AUDIT_FINE);
            assert_int_equal(nodes[i].compared, fakes[i].count);
            assert_int_equal(fakes[i].lists, 0); /* sums are enough */
        }
    }
}

/* Each entry in turn, by each node; the first of two is named. */
static void test_altered(void **state)
{
    (void)state;
    for (uint32_t at = 0; at < 6; at++) {
        fresh(NULL);
        struct fake *f = &fakes[at % NODES];
        uint64_t index = f->items[at].index;
        f->items[at].hash.bytes[31] ^= 1;
        f->items[f->count - 1].hash.bytes[0] ^= 1;
        look(NODES);
        assert_named(at % NODES, ERR_ATTACHMENT, index);
    }
}

static void test_unreadable(void **state)
{
    (void)state;
    uint64_t index = fakes[1].items[2].index;
    fakes[1].items[2].hash = (struct digest){{0}};
    look(NODES);
    assert_named(1, ERR_CORRUPT, index);
}

static void test_removed(void **state)
{
    (void)state;
    uint64_t index = fakes[3].items[4].index;
    remove_item(&fakes[3], 4);
    look(NODES);
    assert_named(3, ERR_NOT_FOUND, index);
}

/* What nobody has was erased; one node alone can't be judged for what it lacks, but for what it has. */
static void test_erased(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NODES; i++) remove_item(&fakes[i], 4);
    look(NODES);
    for (unsigned i = 0; i < NODES; i++) assert_int_equal(fakes[i].audit.verdict, AUDIT_FINE);
    fresh(NULL);
    remove_item(&fakes[0], 1);
    look(1);
    assert_int_equal(fakes[0].audit.verdict, AUDIT_FINE);
    fakes[0].items[2].hash.bytes[0] ^= 1;
    look(1);
    assert_int_equal(fakes[0].audit.verdict, AUDIT_CONTENT);
}

/* A node that lags is waited for; one that never comes, or is busy all the time, is no witness. */
static void test_silent(void **state)
{
    (void)state;
    fakes[0].not_ready = 2;
    fakes[1].not_ready = 100;
    fakes[2].silent = ERR_UNREACHABLE;
    fakes[3].silent = ERR_BUSY;
    look(NODES);
    assert_int_equal(fakes[0].audit.verdict, AUDIT_FINE);
    assert_int_equal(fakes[0].waits, 2);
    assert_int_equal(fakes[1].audit.verdict, AUDIT_SILENT);
    assert_int_equal(fakes[2].audit.verdict, AUDIT_SILENT);
    assert_int_equal(fakes[3].audit.verdict, AUDIT_SILENT);
    for (unsigned i = 0; i < NODES; i++) assert_false(audit_failed(fakes[i].audit.verdict));
}

/* What is said instead of an answer is no excuse, and an answer about something else is none. */
static void test_refused(void **state)
{
    (void)state;
    static const enum err errors[] = {ERR_CORRUPT, ERR_MALFORMED, ERR_UNEXPECTED, ERR_UNAUTHORIZED, ERR_IO};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        fresh(NULL);
        fakes[2].silent = errors[i];
        look(NODES);
        assert_int_equal(fakes[1].audit.verdict, AUDIT_FINE);
        assert_int_equal(fakes[2].audit.verdict, AUDIT_REFUSED);
        assert_true(audit_failed(fakes[2].audit.verdict));
        assert_int_equal(fakes[2].audit.finding.code, errors[i]);
        assert_non_null(strstr(fakes[2].audit.finding.text, "can't be compared: gone"));
    }
    fresh(NULL);
    fakes[3].offset = 3;
    fakes[1].silent = ERR_QUARANTINED;
    look(NODES);
    assert_int_equal(fakes[3].audit.verdict, AUDIT_REFUSED);
    assert_int_equal(fakes[1].audit.verdict, AUDIT_QUARANTINED);
    assert_int_equal(fakes[0].audit.verdict, AUDIT_FINE);
    fresh(NULL);
    fakes[0].items[2].hash.bytes[0] ^= 1; /* so that all are listed */
    fakes[3].lists_too_much = true;
    look(NODES);
    assert_int_equal(fakes[0].audit.verdict, AUDIT_CONTENT);
    assert_int_equal(fakes[3].audit.verdict, AUDIT_REFUSED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, fresh)
    const struct CMUnitTest tests[] = {
        TEST(test_right), TEST(test_altered), TEST(test_unreadable), TEST(test_removed), TEST(test_erased),
        TEST(test_silent), TEST(test_refused),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
