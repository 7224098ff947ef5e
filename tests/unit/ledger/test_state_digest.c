/* The state digest: the same however the leaves came to the node and however it is
 * scanned; another one when any row of any table is altered, removed or added. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "ledger/state.h"
#include "ledger/state_digest.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})

/* --- a state with rows in most tables --- */

static struct arguments event_args(unsigned patient)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(patient), bytes_text("bill.print"), bytes_text("B-17")};
    return a;
}

static void do_record(struct kit *kit, const struct kit_actor *doctor)
{
    struct buffer content = {0};
    struct arguments a = {.action = ACTION_RECORD_CREATE};
    a.record_create = (struct args_record_create){
        .record = sample_id(70), .patient = sample_id(5), .kind = bytes_text("Observation"), .conf = CONF_NORMAL};
    kit_content(&content, "0123456789abcdef0123456789abcdef");
    CHECK(kit_do(kit, doctor, &a, buffer_bytes(&content))->decision == DECISION_APPROVED);
    buffer_free(&content);
    a = (struct arguments){.action = ACTION_RECORD_READ};
    a.record_read = (struct args_record_read){.record = sample_id(70), .limit = 1};
    memset(a.record_read.reader_key.bytes, 9, sizeof a.record_read.reader_key.bytes);
    CHECK(kit_do(kit, doctor, &a, NONE)->decision == DECISION_APPROVED);
}

static struct kit_actor open_with_people(struct kit *kit)
{
    kit_open(kit, 4, 1, NONE);
    struct kit_actor doctor = kit_add_user(kit, 1, "doctor", "Mercy", "Dr. House");
    kit_add_user(kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_team(kit, 5, 1);
    return doctor;
}

static struct kit_actor open_full(struct kit *kit)
{
    struct kit_actor doctor = open_with_people(kit);
    kit_activate(kit, KEY_RECORDS);
    do_record(kit, &doctor);
    struct arguments a = event_args(5);
    kit_do(kit, &doctor, &a, bytes_text("a note"));
    return doctor;
}

static struct state_digest digest_of(struct table_txn *txn)
{
    struct state_digest d;
    memset(&d, 0x55, sizeof d); /* what was there before doesn't count */
    assert_int_equal(state_digest_now(&d, txn), OK);
    return d;
}

static bool same(const struct state_digest *a, const struct state_digest *b)
{
    struct digest x = state_digest_whole(a), y = state_digest_whole(b);
    return digest_equal(&x, &y);
}

static void assert_differs_in(const struct state_digest *a, const struct state_digest *b, const char *tables)
{
    struct state_statement x = {.member = 1, .size = 9, .digest = *a}, y = {.member = 2, .size = 9, .digest = *b};
    struct buffer names = {0};
    state_differences(&names, &x, &y);
    buffer_append(&names, "", 1);
    assert_string_equal((const char *)names.data, tables);
    assert_int_equal(same(a, b), tables[0] == '\0');
    assert_int_equal(state_statement_same(&x, &y), tables[0] == '\0');
    buffer_free(&names);
}

/* --- the definition, once more and plainly --- */

static void add_number(struct buffer *out, uint64_t number)
{
    uint8_t bytes[8];
    put_be64(bytes, number);
    buffer_append(out, bytes, 8);
}

static uint64_t plain_table(struct buffer *out, struct table_txn *txn, uint8_t table)
{
    struct table_cursor *c;
    struct buffer value = {0};
    uint64_t rows = 0;
    buffer_append(out, &table, 1);
    CHECK(table_cursor_open(&c, txn, table) == OK);
    for (enum err e = table_cursor_seek(c, NONE); e == OK; e = table_cursor_next(c), rows++) {
        struct bytes key = table_cursor_key(c);
        CHECK(table_cursor_value(c, &value) == OK);
        add_number(out, key.size);
        buffer_append_bytes(out, key);
        add_number(out, value.size);
        buffer_append_bytes(out, buffer_bytes(&value));
    }
    table_cursor_close(c);
    buffer_free(&value);
    return rows;
}

static struct digest plain_digest(struct table_txn *txn)
{
    struct buffer all = {0};
    struct digest d;
    buffer_append_text(&all, "consilium/state/v1\n");
    for (uint8_t table = 1; table < TABLE_COUNT_MAX; table++) {
        struct buffer rows = {0};
        if (table == TABLE_ATTACHMENT || !table_is_replicated((enum table_number)table)) continue;
        uint64_t count = plain_table(&rows, txn, table);
        hash_sha256(&d, rows.data, rows.size);
        buffer_free(&rows);
        if (!count) continue;
        buffer_append(&all, &table, 1);
        add_number(&all, count);
        buffer_append(&all, d.bytes, 32);
    }
    hash_sha256(&d, all.data, all.size);
    buffer_free(&all);
    return d;
}

static void test_definition(void **state)
{
    (void)state;
    struct kit kit;
    open_full(&kit);
    struct state_digest d = digest_of(kit.txn);
    struct digest whole = state_digest_whole(&d), plain = plain_digest(kit.txn);
    assert_true(digest_equal(&whole, &plain));
    for (uint32_t i = 1; i < d.count; i++) assert_true(d.tables[i].table > d.tables[i - 1].table);
    assert_true(d.count >= 15);
    kit_close(&kit);
}

static void test_empty(void **state)
{
    (void)state;
    struct kit kit, empty;
    open_with_people(&kit);
    kit_open_empty(&empty, &kit);
    struct state_digest d = digest_of(empty.txn);
    assert_int_equal(d.count, 0);
    struct digest whole = state_digest_whole(&d), expected;
    hash_sha256(&expected, "consilium/state/v1\n", 19);
    assert_true(digest_equal(&whole, &expected));
    kit_close(&empty);
    kit_close(&kit);
}

/* --- the same leaves --- */

#define EVENTS 40

/* The same requests at the same times, `batch` to a block. */
static void apply_batched(struct kit *kit, uint32_t batch)
{
    struct kit_actor doctor = open_with_people(kit);
    struct buffer requests[EVENTS] = {{0}};
    struct bytes views[EVENTS];
    uint64_t now = kit->now;
    for (uint32_t i = 0; i < EVENTS; i++) {
        struct arguments a = event_args(i % 7 == 3 ? 1 : 5); /* some are denied */
        kit_request(kit, &requests[i], &doctor, &a, NONE);
        views[i] = buffer_bytes(&requests[i]);
    }
    for (uint32_t i = 0; i < EVENTS; i += batch) {
        kit->now = now;
        kit_apply(kit, views + i, batch < EVENTS - i ? batch : EVENTS - i);
    }
    for (uint32_t i = 0; i < EVENTS; i++) buffer_free(&requests[i]);
}

static void test_batches(void **state)
{
    (void)state;
    struct kit one, some, all;
    apply_batched(&one, 1);
    apply_batched(&some, 7);
    apply_batched(&all, EVENTS);
    struct state_digest a = digest_of(one.txn), b = digest_of(some.txn), c = digest_of(all.txn);
    assert_differs_in(&a, &b, "");
    assert_differs_in(&a, &c, "");
    kit_close(&one);
    kit_close(&some);
    kit_close(&all);
}

/* A replay without any attachment has the same state, too. */
static void test_replayed(void **state)
{
    (void)state;
    struct kit kit, copy;
    uint64_t missing;
    open_full(&kit);
    kit_open_empty(&copy, &kit);
    for (uint64_t i = 0; i < ledger_size(kit.ledger); i++) assert_int_equal(kit_replay(&copy, &kit, i, NULL), OK);
    assert_int_equal(ledger_attachment_missing(&missing, copy.txn, 0), OK);
    struct state_digest a = digest_of(kit.txn), b = digest_of(copy.txn);
    assert_differs_in(&a, &b, "");
    kit_close(&copy);
    kit_close(&kit);
}

/* --- any row --- */

struct rows {
    struct buffer keys[4096];
    size_t count;
};

static void collect(struct rows *rows, struct table_txn *txn, uint8_t table)
{
    struct table_cursor *c;
    rows->count = 0;
    CHECK(table_cursor_open(&c, txn, table) == OK);
    for (enum err e = table_cursor_seek(c, NONE); e == OK; e = table_cursor_next(c)) {
        CHECK(rows->count < 4096);
        buffer_clear(&rows->keys[rows->count]);
        buffer_append_bytes(&rows->keys[rows->count++], table_cursor_key(c));
    }
    table_cursor_close(c);
}

/* Altered, emptied, removed, moved to another key. */
static void spoil_row(struct kit *kit, const struct state_digest *good, uint8_t table, const char *name,
                      struct bytes key)
{
    struct buffer value = {0}, spoiled = {0}, other = {0};
    CHECK(table_get(kit->txn, table, key, &value) == OK);
    buffer_append_bytes(&spoiled, buffer_bytes(&value));
    buffer_append(&spoiled, "", 1);
    CHECK(table_put(kit->txn, table, key, buffer_bytes(&spoiled)) == OK);
    struct state_digest longer = digest_of(kit->txn);
    assert_differs_in(good, &longer, name);
    if (value.size) {
        spoiled.size = value.size;
        spoiled.data[value.size / 2] ^= 1;
        CHECK(table_put(kit->txn, table, key, buffer_bytes(&spoiled)) == OK);
        struct state_digest altered = digest_of(kit->txn);
        assert_differs_in(good, &altered, name);
    }
    CHECK(table_delete(kit->txn, table, key) == OK);
    struct state_digest removed = digest_of(kit->txn);
    assert_differs_in(good, &removed, name);
    buffer_append_bytes(&other, key);
    other.data[0] ^= 0x40;
    CHECK(table_put(kit->txn, table, buffer_bytes(&other), buffer_bytes(&value)) == OK);
    struct state_digest moved = digest_of(kit->txn);
    assert_differs_in(good, &moved, name);
    CHECK(table_delete(kit->txn, table, buffer_bytes(&other)) == OK);
    CHECK(table_put(kit->txn, table, key, buffer_bytes(&value)) == OK);
    buffer_free(&value);
    buffer_free(&spoiled);
    buffer_free(&other);
}

static void test_any_row(void **state)
{
    (void)state;
    static struct rows rows;
    struct kit kit;
    size_t tables = 0;
    open_full(&kit);
    struct state_digest good = digest_of(kit.txn);
    for (size_t i = 0; i < ledger_tables_count; i++) {
        uint8_t table = ledger_tables[i].table;
        if (!table_is_replicated((enum table_number)table) || table == TABLE_ATTACHMENT) continue;
        collect(&rows, kit.txn, table);
        tables += rows.count > 0;
        /* Without the ledger's own size nothing says which leaves are later ones. */
        for (size_t k = 0; k < rows.count && table != TABLE_META; k++)
            spoil_row(&kit, &good, table, ledger_tables[i].name, buffer_bytes(&rows.keys[k]));
    }
    assert_int_equal(tables, good.count);
    for (size_t i = 0; i < 4096; i++) buffer_free(&rows.keys[i]);
    struct state_digest end = digest_of(kit.txn);
    assert_differs_in(&good, &end, "");
    kit_close(&kit);
}

static void test_added_row(void **state)
{
    (void)state;
    static const uint8_t far[8] = {0x7f, 0, 0, 0, 0, 0, 0, 0}, short_key[1] = {1};
    struct kit kit;
    open_full(&kit);
    struct state_digest good = digest_of(kit.txn);
    static const struct {
        uint8_t table;
        struct bytes key;
        const char *name;
    } rows[] = {
        {TABLE_POLICY, {far, 8}, "policy"}, {TABLE_LEAF, {far, 8}, "leaf"}, {TABLE_OPENED, {far, 8}, "opened"},
        {TABLE_LEAF, {short_key, 1}, "leaf"}, {TABLE_TEAM, {far, 8}, "team"}, {TABLE_META, {far, 8}, "state"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK(table_put(kit.txn, rows[i].table, rows[i].key, bytes_text("x")) == OK);
        struct state_digest more = digest_of(kit.txn);
        assert_differs_in(&good, &more, rows[i].name);
        CHECK(table_delete(kit.txn, rows[i].table, rows[i].key) == OK);
    }
    /* What a node keeps for itself, and attachments, are not in it. */
    CHECK(table_put(kit.txn, TABLE_BLOB, bytes_text("a"), bytes_text("x")) == OK);
    CHECK(table_put(kit.txn, TABLE_ATTACHMENT, bytes_of(far, 8), bytes_text("x")) == OK);
    struct state_digest own = digest_of(kit.txn);
    assert_differs_in(&good, &own, "");
    kit_close(&kit);
}

/* A role altered: what the digest is for. */
static void test_role(void **state)
{
    (void)state;
    struct kit kit;
    struct user user;
    open_with_people(&kit);
    struct state_digest good = digest_of(kit.txn);
    struct id id = sample_id(5);
    CHECK(state_user_get(&user, kit.txn, &id) == OK);
    strcpy(user.role, "doctor");
    CHECK(state_user_put(kit.txn, &id, &user) == OK);
    struct state_digest altered = digest_of(kit.txn);
    assert_differs_in(&good, &altered, "user");
    kit_close(&kit);
}

/* --- the rules --- */

static void assert_asked(struct kit *kit, uint64_t leaf)
{
    uint64_t index = 0, time_ms = 0;
    assert_int_equal(kit->results.digest_leaf, leaf);
    assert_int_equal(state_digest_asked_get(&index, &time_ms, kit->txn), leaf ? OK : ERR_NOT_FOUND);
    assert_int_equal(index, leaf);
    assert_true(leaf == 0 || time_ms == ledger_time_ms(kit->ledger));
}

/* A user with the permission at any time; nodes not within 10 s of the last, whoever asked. */
static void test_asking(void **state)
{
    (void)state;
    struct kit kit;
    struct kit_actor doctor = open_with_people(&kit), node = kit_node(&kit, 2), other = kit_node(&kit, 3);
    struct arguments ask = {.action = ACTION_STATE_DIGEST}, own = {.action = ACTION_NODE_DIGEST};
    assert_int_equal(kit_do(&kit, &doctor, &ask, NONE)->reason, REASON_NO_PERMISSION);
    assert_asked(&kit, 0);
    assert_int_equal(kit_do(&kit, &doctor, &own, NONE)->reason, REASON_NO_PERMISSION);
    assert_int_equal(kit_do(&kit, &node, &ask, NONE)->reason, REASON_NO_PERMISSION);
    assert_asked(&kit, 0);
    const struct ledger_result *r = kit_do(&kit, &node, &own, NONE);
    assert_int_equal(r->decision, DECISION_APPROVED);
    assert_asked(&kit, r->leaf_index);
    r = kit_do(&kit, &kit.root, &ask, NONE);
    assert_int_equal(r->decision, DECISION_APPROVED);
    assert_asked(&kit, r->leaf_index);
    kit.now = ledger_time_ms(kit.ledger) + STATE_DIGEST_GAP_MS - 1;
    assert_int_equal(kit_do(&kit, &other, &own, NONE)->reason, REASON_TOO_SOON);
    assert_int_equal(kit.results.digest_leaf, 0);
    kit.now = ledger_time_ms(kit.ledger) + 1;
    r = kit_do(&kit, &other, &own, NONE);
    assert_int_equal(r->reason, REASON_NONE);
    assert_asked(&kit, r->leaf_index);
    assert_int_equal(kit_do(&kit, &kit.root, &ask, bytes_text("a note"))->reason, REASON_FIELDS);
    kit_close(&kit);
}

/* Wherever in its block the leaf stands: the last one that asks is named, the state is that at the end. */
static void test_in_a_block(void **state)
{
    (void)state;
    struct kit kit;
    struct kit_actor doctor = open_with_people(&kit);
    struct arguments event = event_args(5), ask = {.action = ACTION_STATE_DIGEST};
    struct buffer requests[4] = {{0}};
    struct bytes views[4];
    for (unsigned i = 0; i < 4; i++) {
        bool asks = i == 0 || i == 2;
        kit_request(&kit, &requests[i], asks ? &kit.root : &doctor, asks ? &ask : &event, NONE);
        views[i] = buffer_bytes(&requests[i]);
    }
    uint64_t size = ledger_size(kit.ledger);
    kit_apply(&kit, views, 4);
    assert_int_equal(kit.results.digest_leaf, size + 2);
    kit_apply(&kit, views, 4); /* duplicates */
    assert_int_equal(kit.results.digest_leaf, 0);
    for (unsigned i = 0; i < 4; i++) buffer_free(&requests[i]);
    kit_close(&kit);
}

/* --- in parts and steps --- */

static void scan_in_steps(struct state_digest *out, struct table_txn *txn, enum state_part part, uint64_t size,
                          uint64_t bytes)
{
    struct state_scan scan;
    state_scan_start(&scan, part, size);
    for (unsigned steps = 0; !scan.done; steps++) {
        CHECK(steps < 1000000);
        assert_int_equal(state_scan_step(&scan, out, txn, bytes), OK);
    }
}

static void test_steps(void **state)
{
    (void)state;
    static const uint64_t bytes[] = {1, 100, 4096, UINT32_MAX};
    struct kit kit;
    open_full(&kit);
    struct state_digest good = digest_of(kit.txn);
    uint64_t size = ledger_size(kit.ledger);
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        struct state_digest d = {0};
        scan_in_steps(&d, kit.txn, STATE_GROWING, size, bytes[i]);
        scan_in_steps(&d, kit.txn, STATE_CHANGING, size, bytes[i]);
        assert_differs_in(&good, &d, "");
    }
    kit_close(&kit);
}

/* The tables that only grow are read from a later state, which grows further between
 * the steps: as if it had been then. What no leaf can have put there counts. */
static void test_later(void **state)
{
    (void)state;
    static const uint8_t far[8] = {0, 0, 0, 0, 0x10, 0, 0, 0};
    struct kit kit;
    struct state_digest then = {0}, later = {0}, forged = {0};
    struct state_scan scan;
    struct kit_actor doctor = open_full(&kit);
    uint64_t size = ledger_size(kit.ledger);
    struct state_digest good = digest_of(kit.txn);
    scan_in_steps(&then, kit.txn, STATE_CHANGING, size, 1000);
    later = forged = then;
    state_scan_start(&scan, STATE_GROWING, size);
    for (unsigned i = 0; !scan.done; i++) {
        struct arguments a = event_args(5);
        if (i < 300) kit_do(&kit, &doctor, &a, NONE);
        assert_int_equal(state_scan_step(&scan, &later, kit.txn, 200), OK);
    }
    assert_true(ledger_size(kit.ledger) > size + 20);
    assert_differs_in(&good, &later, "");
    CHECK(table_put(kit.txn, TABLE_OPENED, BYTES(far), bytes_text("x")) == OK);
    scan_in_steps(&forged, kit.txn, STATE_GROWING, size, 1000);
    assert_differs_in(&good, &forged, "opened");
    kit_close(&kit);
}

/* Nodes that applied a read before and after they were upgraded agree: what the former version didn't keep of it is
 * compared by who opens it (cli/content.h). */
static void what_former_versions_kept_is_compared(void **state)
{
    (void)state;
    struct kit kit;
    struct opened opened[2] = {{.record = sample_id(1), .version = 1, .content = 1},
                               {.record = sample_id(2), .version = 1, .content = 2}};
    open_full(&kit);
    CHECK(state_opened_put(kit.txn, 1, opened, 2, &(struct opened_rest){0}) == OK);
    struct state_digest without = digest_of(kit.txn);
    CHECK(state_opened_put(kit.txn, 1, opened, 2, &(struct opened_rest){9, 3}) == OK);
    struct state_digest with = digest_of(kit.txn);
    assert_differs_in(&without, &with, "");
    CHECK(state_opened_put(kit.txn, 1, opened, 1, &(struct opened_rest){9, 3}) == OK);
    struct state_digest other = digest_of(kit.txn);
    assert_differs_in(&without, &other, "opened");
    kit_close(&kit);
}

/* --- statements --- */

struct cluster {
    struct genesis genesis;
    struct buffer text;
    struct node_secrets secrets[5];
};

static void cluster_open(struct cluster *c)
{
    memset(c, 0, sizeof *c);
    sample_genesis_parsed(&c->genesis, &c->text, 4, 1);
    for (uint32_t i = 1; i <= 4; i++) sample_node_secrets(&c->secrets[i], i);
}

static struct state_statement statement_of(const struct cluster *c, uint32_t member, unsigned content)
{
    struct state_statement s = {.member = member, .leaf = 40, .size = 44};
    s.digest.count = 2;
    s.digest.tables[0] = (struct table_digest){TABLE_LEAF, 44, sample_digest(content)};
    s.digest.tables[1] = (struct table_digest){TABLE_USER, 5, sample_digest(2)};
    state_statement_sign(&s, &c->genesis, &c->secrets[member].message);
    return s;
}

static void test_statement(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c);
    struct state_statement good = statement_of(&c, 2, 1), back, s;
    struct buffer out = {0}, again = {0};
    assert_int_equal(state_statement_verify(&good, &c.genesis), OK);
    state_statement_encode(&out, &good);
    assert_true(out.size <= LIMIT_STATEMENT);
    assert_int_equal(state_statement_decode(&back, buffer_bytes(&out)), OK);
    assert_int_equal(state_statement_verify(&back, &c.genesis), OK);
    assert_true(state_statement_same(&good, &back));
    state_statement_encode(&again, &back);
    assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&again)));
    for (size_t cut = 0; cut < out.size; cut++)
        assert_int_not_equal(state_statement_decode(&back, bytes_of(out.data, cut)), OK);
    for (size_t at = 0; at < out.size; at++) { /* no bit can be turned: it is refused, or not signed */
        out.data[at] ^= 1;
        if (state_statement_decode(&back, buffer_bytes(&out)) == OK)
            assert_int_equal(state_statement_verify(&back, &c.genesis), ERR_BAD_SIGNATURE);
        out.data[at] ^= 1;
    }
    s = good, s.member = 0;
    assert_int_equal(state_statement_verify(&s, &c.genesis), ERR_BAD_SIGNATURE);
    s = good, s.member = 5;
    assert_int_equal(state_statement_verify(&s, &c.genesis), ERR_BAD_SIGNATURE);
    s = good, s.outcome = STATE_BUSY, s.digest.count = 0;
    assert_int_equal(state_statement_verify(&s, &c.genesis), ERR_BAD_SIGNATURE);
    struct genesis other = c.genesis;
    other.cluster.bytes[0] ^= 1;
    assert_int_equal(state_statement_verify(&good, &other), ERR_BAD_SIGNATURE);
    buffer_free(&out);
    buffer_free(&again);
    buffer_free(&c.text);
}

static enum err decode(const struct state_statement *s)
{
    struct buffer out = {0};
    struct state_statement back;
    state_statement_encode(&out, s);
    enum err e = state_statement_decode(&back, buffer_bytes(&out));
    buffer_free(&out);
    return e;
}

static void test_strict(void **state)
{
    (void)state;
    struct cluster c;
    cluster_open(&c);
    struct state_statement good = statement_of(&c, 1, 1), s = good;
    assert_int_equal(decode(&good), OK);
    s.digest.tables[1].table = TABLE_LEAF; /* twice */
    assert_int_equal(decode(&s), ERR_MALFORMED);
    s = good, s.digest.tables[0].table = 0;
    assert_int_equal(decode(&s), ERR_MALFORMED);
    s = good, s.digest.tables[1].table = TABLE_COUNT_MAX;
    assert_int_equal(decode(&s), ERR_MALFORMED);
    s = good, s.digest.tables[0].rows = 0;
    assert_int_equal(decode(&s), ERR_MALFORMED);
    s = good, s.size = s.leaf;
    assert_int_equal(decode(&s), ERR_MALFORMED);
    s = good, s.member = 0;
    assert_int_equal(decode(&s), ERR_MALFORMED);
    s = good, s.outcome = STATE_TOO_LONG;
    assert_int_equal(decode(&s), ERR_MALFORMED);
    s.digest.count = 0;
    assert_int_equal(decode(&s), OK);
    s.outcome = (enum state_outcome)(STATE_FAILED + 1);
    assert_int_equal(decode(&s), ERR_MALFORMED);
    assert_non_null(strstr(state_outcome_text(STATE_BUSY), "not computed"));
    buffer_free(&c.text);
}

/* --- comparing --- */

static void test_compare(void **state)
{
    (void)state;
    struct cluster c;
    struct state_comparison r;
    cluster_open(&c);
    struct state_statement s[5];
    const struct state_statement *all[LIMIT_NODES + 1] = {NULL};
    state_compare(&r, all, 4, 3);
    assert_true(r.computed == 0 && r.model == 0 && !r.agreed && r.same == 0 && r.other == 0);
    for (uint32_t i = 1; i <= 4; i++) s[i] = statement_of(&c, i, 1), all[i] = &s[i];
    state_compare(&r, all, 4, 3);
    assert_true(r.computed == 4 && r.equal == 4 && r.agreed && r.same == 0x1e && r.other == 0);
    s[1] = statement_of(&c, 1, 7); /* the first one is not the measure of the others */
    state_compare(&r, all, 4, 3);
    assert_true(r.equal == 3 && r.agreed && r.model == 2 && r.same == 0x1c && r.other == 0x02);
    all[4] = NULL;
    state_compare(&r, all, 4, 3);
    assert_true(r.computed == 3 && r.equal == 2 && !r.agreed && r.other == 0x02);
    all[4] = &s[4];
    s[4].outcome = STATE_BUSY, s[4].digest.count = 0; /* not computed: neither equal nor different */
    state_compare(&r, all, 4, 3);
    assert_true(r.computed == 3 && r.equal == 2 && !r.agreed && r.same == 0x0c && r.other == 0x02);
    s[4] = statement_of(&c, 4, 1), s[4].size++; /* of another state, as it says */
    state_compare(&r, all, 4, 3);
    assert_true(r.equal == 2 && !r.agreed && r.other == 0x12 && r.rival == 1 && r.silent == 0);
    buffer_free(&c.text);
}

struct outcome {
    unsigned n, k, b;
    const char *values; /* of members 1 .. n: '-' silent, '0' without a digest */
    bool decided, settled;
};

/* Of b + 1 that are equal one is right; of two such groups nobody knows which. */
static void test_decided(void **state)
{
    (void)state;
    static const struct outcome outcomes[] = {
        {4, 3, 1, "aaaa", true, true},  {4, 3, 1, "aaab", true, true},  {4, 3, 1, "aa00", true, true},
        {4, 3, 1, "aabc", true, true},  {4, 3, 1, "aabb", false, true}, {4, 3, 1, "abcd", false, true},
        {4, 3, 1, "aa-b", true, false}, {4, 3, 1, "aa0b", true, true},  {4, 3, 1, "aa--", true, false},
        {4, 3, 1, "aaa-", true, true},  {4, 3, 1, "ab--", false, false}, {4, 3, 1, "a000", false, true},
        {4, 3, 1, "----", false, false}, {4, 3, 1, "bb-a", true, false}, {3, 2, 0, "aab", true, true},
        {3, 2, 0, "a-b", false, false}, {3, 2, 0, "aa-", true, true},   {3, 2, 0, "abc", false, true},
        {7, 5, 2, "aaabbcd", true, true}, {7, 5, 2, "aaabbb0", false, true}, {7, 5, 2, "aaabb0-", true, false},
    };
    struct cluster c;
    cluster_open(&c);
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        const struct outcome *o = &outcomes[i];
        struct state_statement s[LIMIT_NODES + 1];
        const struct state_statement *all[LIMIT_NODES + 1] = {NULL};
        struct state_comparison r;
        for (unsigned m = 1; m <= o->n; m++) {
            char value = o->values[m - 1];
            s[m] = (struct state_statement){.member = m, .leaf = 3, .size = 4, .outcome = STATE_BUSY};
            if (value != '-') all[m] = &s[m];
            if (value < 'a') continue;
            s[m].outcome = STATE_COMPUTED;
            s[m].digest.count = 1;
            s[m].digest.tables[0] = (struct table_digest){.table = TABLE_USER, .rows = (uint64_t)value};
        }
        state_compare(&r, all, o->n, o->k);
        if (state_decided(&r, o->k, o->b) != o->decided || state_settled(&r, o->k, o->b) != o->settled)
            fail_msg("%s: decided %d, settled %d", o->values, !o->decided, !o->settled);
    }
    buffer_free(&c.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_empty),     cmocka_unit_test(test_batches),
        cmocka_unit_test(test_replayed),   cmocka_unit_test(test_any_row),   cmocka_unit_test(test_added_row),
        cmocka_unit_test(test_role),       cmocka_unit_test(test_steps),     cmocka_unit_test(test_later),
        cmocka_unit_test(what_former_versions_kept_is_compared),
        cmocka_unit_test(test_asking),     cmocka_unit_test(test_in_a_block),
        cmocka_unit_test(test_statement),  cmocka_unit_test(test_strict),    cmocka_unit_test(test_compare),
        cmocka_unit_test(test_decided),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
