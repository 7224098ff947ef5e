/* Queries for the log: rows, filters, pages, what follows, and what proves that an entry showed its rows. */
#include "base/check.h"
#include "tests/unit/ledger/bed_query.h"

/* --- the log --- */

static void test_log_rows(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    add_event(&w, &w.doctor, 5, "printed twice");
    add_record(&w, 100, 5, CONF_VERY_RESTRICTED);
    struct arguments a = {.action = ACTION_RECORD_READ};
    a.record_read = (struct args_record_read){.record = sample_id(100), .reader_key = {{1}}, .limit = 1};
    assert_int_equal(kit_do(&w.kit, &w.nurse, &a, NONE)->reason, REASON_CONFIDENTIALITY);
    a = (struct arguments){.action = ACTION_LOG_QUERY, .log_query = log_all()};
    a.log_query.patient = sample_id(5);
    a.log_query.limit = 3;
    ask(&w, &w.patient, &a); /* a patient sees who touched their data */
    assert_int_equal(w.page.count, 3);
    struct bytes denied = w.page.rows[0], event = w.page.rows[2];
    struct id actor = field_id(denied, 3), subject = field_id(denied, 5);
    assert_true(id_equal(&actor, &w.nurse.actor.id) && id_equal(&subject, &w.patient.actor.id));
    assert_int_equal(field_uint(denied, 2), ACTOR_USER);
    assert_true(field_is(denied, 4, "nurse"));
    assert_int_equal(field_uint(denied, 6), ACTION_RECORD_READ);
    struct id object = field_id(denied, 7), record = sample_id(100);
    assert_true(id_equal(&object, &record));
    assert_int_equal(field_uint(denied, 8), DECISION_DENIED);
    assert_int_equal(field_uint(denied, 9), REASON_CONFIDENTIALITY);
    assert_int_equal(field_bin(denied, 10).size, 0);
    assert_true(field_is(event, 7, "bill.print B-17"));
    struct attachment note; /* with its salt */
    assert_int_equal(attachment_decode(&note, field_bin(event, 10)), OK);
    assert_true(bytes_equal(note.content, bytes_text("printed twice")));
    close_world(&w);
}

/* The role shown is that of the time. */
static void test_log_role_then(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    add_event(&w, &w.nurse, 5, "");
    struct arguments a = {.action = ACTION_ROLE_ASSIGN, .role_assign = {sample_id(2), bytes_text("doctor")}};
    do_it(&w, &w.kit.root, &a, NONE);
    a = (struct arguments){.action = ACTION_LOG_QUERY, .log_query = log_all()};
    a.log_query.actor = sample_id(2);
    ask(&w, &w.auditor, &a);
    assert_int_equal(w.page.count, 1);
    assert_true(field_is(w.page.rows[0], 4, "nurse"));
    close_world(&w);
}

static void test_log_pages(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    kit_add_user(&w.kit, 50, "patient", "Mercy", "Another");
    for (unsigned i = 0; i < 60; i++) {
        add_event(&w, i % 3 ? &w.doctor : &w.nurse, i % 4 ? 5 : 50, "");
        if (i % 10 == 0) {
            struct arguments a = {.action = ACTION_POLICY_SET, .policy_set = {bytes_text("x")}};
            assert_int_equal(kit_do(&w.kit, &w.doctor, &a, NONE)->decision, DECISION_DENIED);
        }
    }
    static const uint32_t limits[] = {1, 7, LIMIT_ROWS};
    for (size_t l = 0; l < 3; l++) {
        struct args_log_query q = log_all();
        /* the first page of a walk over all sees all leaves before its own */
        uint64_t size = ledger_size(w.kit.ledger);
        assert_int_equal(count_log(&w, &w.auditor, q, limits[l]), size);
        q.action = ACTION_EVENT_ADD;
        assert_int_equal(count_log(&w, &w.auditor, q, limits[l]), 60);
        q.patient = sample_id(50);
        assert_int_equal(count_log(&w, &w.auditor, q, limits[l]), 15);
        q.actor = sample_id(2);
        assert_int_equal(count_log(&w, &w.auditor, q, limits[l]), 5); /* 0, 12, 24, 36, 48 */
        q.patient = (struct id){{0}};
        assert_int_equal(count_log(&w, &w.auditor, q, limits[l]), 20);
        q = log_all();
        q.decision = DECISION_DENIED;
        assert_int_equal(count_log(&w, &w.auditor, q, limits[l]), 6);
        q.actor = sample_id(1);
        assert_int_equal(count_log(&w, &w.auditor, q, limits[l]), 6);
        q = log_all();
        q.action = ACTION_KEY_COMMIT;
        assert_int_equal(count_log(&w, &w.auditor, q, limits[l]), 4);
        q.actor = kit_node(&w.kit, 2).actor.id;
        assert_int_equal(count_log(&w, &w.auditor, q, limits[l]), 1);
    }
    close_world(&w);
}

/* from and to, both inclusive. */
static void test_log_time(void **state)
{
    (void)state;
    struct world w;
    uint64_t times[20];
    open_world(&w);
    for (unsigned i = 0; i < 20; i++) {
        w.kit.now += 1000;
        times[i] = w.kit.now;
        add_event(&w, &w.doctor, 5, "");
    }
    for (int by = 0; by < 3; by++) {
        struct args_log_query q = log_all();
        q.action = ACTION_EVENT_ADD;
        if (by == 1) q.patient = sample_id(5);
        if (by == 2) q.actor = sample_id(1);
        q.from_ms = times[5];
        assert_int_equal(count_log(&w, &w.auditor, q, 4), 15);
        q.to_ms = times[9];
        assert_int_equal(count_log(&w, &w.auditor, q, 4), 5);
        q.from_ms = 0;
        assert_int_equal(count_log(&w, &w.auditor, q, 4), 10);
        q.to_ms = 1;
        assert_int_equal(count_log(&w, &w.auditor, q, 4), 0);
        q.from_ms = times[19] + 1;
        q.to_ms = 0;
        assert_int_equal(count_log(&w, &w.auditor, q, 4), 0);
    }
    close_world(&w);
}

/* Both whose data was copied from and who got the copy see it. */
static void test_log_of_copy(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    kit_add_user(&w.kit, 50, "patient", "Mercy", "Another");
    kit_add_team(&w.kit, 50, 1);
    add_record(&w, 100, 5, CONF_NORMAL);
    struct arguments a = {.action = ACTION_RECORD_COPY};
    a.record_copy = (struct args_record_copy){sample_id(100),      1,           sample_id(101), sample_id(50),
                                              bytes_text("Note"), CONF_NORMAL, {{0}}};
    do_it(&w, &w.doctor, &a, buffer_bytes(&w.content));
    for (unsigned patient = 5; patient <= 50; patient += 45) {
        struct args_log_query q = log_all();
        q.patient = sample_id(patient);
        q.action = ACTION_RECORD_COPY;
        assert_int_equal(count_log(&w, &w.auditor, q, 5), 1);
    }
    close_world(&w);
}

/* A page examines a bounded number of rows, found or not. */
static void test_log_examined(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct buffer requests[64] = {{0}};
    uint64_t made = 0;
    while (made < LIMIT_EXAMINED + 500) {
        struct bytes views[64];
        struct arguments a = {.action = ACTION_EVENT_ADD};
        a.event_add = (struct args_event_add){sample_id(5), bytes_text("x"), NONE};
        for (unsigned i = 0; i < 64; i++) {
            kit_request(&w.kit, &requests[i], &w.doctor, &a, NONE);
            views[i] = buffer_bytes(&requests[i]);
        }
        kit_apply(&w.kit, views, 64);
        made += 64;
    }
    for (int by = 0; by < 2; by++) {
        struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = log_all()};
        a.log_query.action = ACTION_TEAM_ASSIGN;
        if (by) a.log_query.patient = sample_id(5);
        ask(&w, &w.auditor, &a);
        assert_int_equal(w.page.count, 0);
        assert_int_equal(w.page.cursor_size, 8);
        assert_int_equal(count_log(&w, &w.auditor, a.log_query, 10), 2);
    }
    for (unsigned i = 0; i < 64; i++) buffer_free(&requests[i]);
    close_world(&w);
}

/* What is attached to an event may be large: a page reads only so much of it. */
static void test_log_of_large_notes(void **state)
{
    (void)state;
    enum { EVENTS = 12 };
    struct world w;
    struct buffer note = {0};
    open_world(&w);
    assert_non_null(buffer_extend(&note, LIMIT_RECORD));
    memset(note.data, 'n', note.size);
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(5), bytes_text("x"), NONE};
    for (unsigned i = 0; i < EVENTS; i++)
        assert_int_equal(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&note))->decision, DECISION_APPROVED);
    struct args_log_query q = log_all();
    q.action = ACTION_EVENT_ADD;
    a = (struct arguments){.action = ACTION_LOG_QUERY, .log_query = q};
    ask(&w, &w.auditor, &a);
    assert_in_range(w.page.count, 1, EVENTS - 1);
    assert_int_equal(w.page.cursor_size, 8);
    assert_int_equal(count_log(&w, &w.auditor, q, 10), EVENTS);
    buffer_free(&note);
    close_world(&w);
}

static void test_bad_cursor(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = log_all()};
    a.log_query.cursor = bytes_text("xyz");
    assert_int_equal(kit_do(&w.kit, &w.auditor, &a, NONE)->reason, REASON_FIELDS);
    a.log_query.cursor = bytes_text("\xff\xff\xff\xff\xff\xff\xff\xff"); /* any position is fine */
    ask(&w, &w.auditor, &a);
    assert_true(w.page.count > 0);
    a = list_args(5, bytes_text("x"), 5);
    assert_int_equal(kit_do(&w.kit, &w.doctor, &a, NONE)->reason, REASON_FIELDS);
    a = (struct arguments){.action = ACTION_USER_SEARCH, .user_search = {.limit = 1, .cursor = bytes_text("x")}};
    assert_int_equal(kit_do(&w.kit, &w.doctor, &a, NONE)->reason, REASON_FIELDS);
    close_world(&w);
}

/* --- following --- */

/* A world in which somebody asked to follow the log. */
struct following {
    struct world w;
    struct arguments asked;
    struct buffer rows;
    uint64_t query, next; /* the query's leaf; where the next look begins */
};

static void follow_begin(struct following *f, bool own)
{
    *f = (struct following){.asked = {.action = ACTION_LOG_QUERY, .log_query = log_all()}};
    open_world(&f->w);
    if (own) f->asked.log_query.patient = sample_id(5);
    f->asked.log_query.follow = true;
    f->query = ask(&f->w, own ? &f->w.patient : &f->w.auditor, &f->asked)->leaf_index;
}

static enum err follow(struct following *f, uint64_t query, uint64_t from)
{
    return query_follow(&f->rows, &f->next, f->w.kit.txn, query, from);
}

static void follow_end(struct following *f)
{
    buffer_free(&f->rows);
    close_world(&f->w);
}

static void test_follow(void **state)
{
    (void)state;
    struct following f;
    follow_begin(&f, true);
    struct world *w = &f.w;
    uint64_t from = f.query + 1;
    assert_int_equal(follow(&f, f.query, from), OK);
    assert_int_equal(f.next, from);
    assert_memory_equal(f.rows.data, "\x90", 1);
    for (int i = 0; i < 5; i++) add_event(w, &w->doctor, 5, "");
    kit_add_user(&w->kit, 50, "patient", "Mercy", "Another");
    add_event(w, &w->doctor, 50, "");
    assert_int_equal(follow(&f, f.query, from), OK);
    assert_int_equal(f.next, ledger_size(w->kit.ledger));
    struct unpack u = unpack_start(buffer_bytes(&f.rows));
    assert_int_equal(unpack_array(&u, 100), 5);
    uint64_t last = f.query;
    for (int i = 0; i < 5; i++) {
        struct bytes row = unpack_raw(&u);
        assert_true(field_uint(row, 0) > last); /* oldest first */
        last = field_uint(row, 0);
    }
    assert_int_equal(follow(&f, f.query, f.next), OK);
    assert_memory_equal(f.rows.data, "\x90", 1);
    assert_int_equal(follow(&f, f.query - 1, from), ERR_NOT_FOUND);
    assert_int_equal(follow(&f, 0, from), ERR_NOT_FOUND);
    assert_int_equal(follow(&f, 1 << 30, from), ERR_NOT_FOUND);
    f.asked.log_query.follow = false;
    uint64_t plain = ask(w, &w->patient, &f.asked)->leaf_index;
    assert_int_equal(follow(&f, plain, from), ERR_NOT_FOUND);
    struct arguments a = {.action = ACTION_USER_DISABLE, .user_disable = {sample_id(5), true}};
    do_it(w, &w->kit.root, &a, NONE);
    assert_int_equal(follow(&f, f.query, from), ERR_DENIED);
    follow_end(&f);
}

/* Who lost the permission gets no more rows. */
static void test_follow_policy(void **state)
{
    (void)state;
    struct following f;
    follow_begin(&f, false);
    assert_int_equal(follow(&f, f.query, 0), OK);
    struct arguments a = {.action = ACTION_POLICY_SET};
    a.policy_set.policy = bytes_text("[role root]\npolicy.set = any\n[role auditor]\nlog.query = own\n");
    do_it(&f.w, &f.w.kit.root, &a, NONE);
    assert_true(f.w.kit.results.policy_changed);
    assert_int_equal(follow(&f, f.query, 0), ERR_DENIED);
    follow_end(&f);
}

static enum err may_export(struct world *w, const struct actor *who) { return query_may_export(w->kit.txn, who, 0); }

/* What an approved export opened ends with the role, the policy, the key or the user. */
static void test_export_is_over(void **state)
{
    (void)state;
    static const char policy[] = "[role root]\npolicy.set = any\nuser.disable = any\n[role auditor]\nlog.query = any\n";
    struct world w;
    open_world(&w);
    assert_int_equal(may_export(&w, &w.auditor.actor), OK);
    assert_int_equal(may_export(&w, &w.doctor.actor), ERR_UNAUTHORIZED);
    struct actor other_key = w.auditor.actor, nobody = w.auditor.actor;
    other_key.key = w.doctor.actor.key;
    nobody.id = sample_id(77777);
    assert_int_equal(may_export(&w, &other_key), ERR_UNAUTHORIZED);
    assert_int_equal(may_export(&w, &nobody), ERR_UNAUTHORIZED);
    /* Of a state in which the export has not taken place a refusal says nothing. */
    uint64_t size = ledger_size(w.kit.ledger);
    assert_int_equal(query_may_export(w.kit.txn, &nobody, size - 1), ERR_UNAUTHORIZED);
    assert_int_equal(query_may_export(w.kit.txn, &nobody, size), ERR_NOT_READY);
    assert_int_equal(query_may_export(w.kit.txn, &w.doctor.actor, size), ERR_NOT_READY);
    assert_int_equal(query_may_export(w.kit.txn, &w.auditor.actor, size), OK);
    struct arguments a = {.action = ACTION_POLICY_SET, .policy_set.policy = bytes_text(policy)};
    do_it(&w, &w.kit.root, &a, NONE);
    assert_int_equal(may_export(&w, &w.auditor.actor), ERR_UNAUTHORIZED);
    close_world(&w);
    open_world(&w);
    a = (struct arguments){.action = ACTION_ROLE_ASSIGN,
                           .role_assign = {w.auditor.actor.id, bytes_text("doctor")}};
    do_it(&w, &w.kit.root, &a, NONE);
    assert_int_equal(may_export(&w, &w.auditor.actor), ERR_UNAUTHORIZED);
    close_world(&w);
    open_world(&w);
    a = (struct arguments){.action = ACTION_USER_DISABLE, .user_disable = {w.auditor.actor.id, true}};
    do_it(&w, &w.kit.root, &a, NONE);
    assert_int_equal(may_export(&w, &w.auditor.actor), ERR_UNAUTHORIZED);
    close_world(&w);
}

/* --- what proves rows --- */

static enum err shows(struct world *w, uint64_t query, const struct kit_actor *who, uint64_t index)
{
    return query_shows(w->kit.txn, query, &who->actor, &index, 1);
}

/* For every leaf: a query shows its proof exactly when it shows its row. */
static void assert_shows_its_rows(struct world *w, const struct kit_actor *who, struct args_log_query query)
{
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = query};
    uint64_t at = ask(w, who, &a)->leaf_index, size = ledger_size(w->kit.ledger);
    unsigned shown = 0;
    assert_int_equal(w->page.cursor_size, 0);
    for (uint64_t index = 0; index < size + 3; index++) {
        bool row = false;
        for (uint32_t i = 0; i < w->page.count; i++) row = row || field_uint(w->page.rows[i], 0) == index;
        assert_int_equal(shows(w, at, who, index), row ? OK : ERR_UNAUTHORIZED);
        shown += row;
    }
    assert_int_equal(shown, w->page.count);
    assert_true(shown > 0);
}

static void test_shows(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    for (int i = 0; i < 3; i++) add_event(&w, &w.doctor, 5, "note");
    kit_add_user(&w.kit, 50, "patient", "Mercy", "Another");
    add_event(&w, &w.doctor, 50, "");
    struct args_log_query q = log_all();
    assert_shows_its_rows(&w, &w.auditor, q);
    q.action = ACTION_EVENT_ADD;
    assert_shows_its_rows(&w, &w.auditor, q);
    q.decision = DECISION_APPROVED;
    q.actor = w.doctor.actor.id;
    assert_shows_its_rows(&w, &w.doctor, q);
    q = log_all();
    q.patient = sample_id(5);
    assert_shows_its_rows(&w, &w.patient, q);
    q.actor = w.doctor.actor.id;
    assert_shows_its_rows(&w, &w.patient, q);
    close_world(&w);
}

/* Another's query, no query, one that may not be asked any more. */
static void test_shows_to_nobody_else(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    add_event(&w, &w.doctor, 5, "");
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = log_all()};
    a.log_query.patient = sample_id(5);
    uint64_t event = ledger_size(w.kit.ledger) - 1;
    uint64_t query = ask(&w, &w.patient, &a)->leaf_index;
    assert_int_equal(shows(&w, query, &w.patient, event), OK);
    assert_int_equal(shows(&w, query, &w.nurse, event), ERR_UNAUTHORIZED);
    assert_int_equal(shows(&w, event, &w.doctor, event), ERR_NOT_FOUND);
    assert_int_equal(shows(&w, 1 << 30, &w.patient, event), ERR_NOT_FOUND);
    assert_int_equal(shows(&w, 0, &w.patient, event), ERR_NOT_FOUND);
    a.log_query.patient = sample_id(50);
    const struct ledger_result *denied = kit_do(&w.kit, &w.patient, &a, NONE);
    assert_int_equal(denied->decision, DECISION_DENIED);
    assert_int_equal(shows(&w, denied->leaf_index, &w.patient, event), ERR_NOT_FOUND);
    a = (struct arguments){.action = ACTION_USER_DISABLE, .user_disable = {sample_id(5), true}};
    do_it(&w, &w.kit.root, &a, NONE);
    assert_int_equal(shows(&w, query, &w.patient, event), ERR_DENIED);
    close_world(&w);
}

/* A query that follows shows what came after it, too. */
static void test_shows_what_follows(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = log_all()};
    a.log_query.patient = sample_id(5);
    uint64_t plain = ask(&w, &w.patient, &a)->leaf_index;
    a.log_query.follow = true;
    uint64_t query = ask(&w, &w.patient, &a)->leaf_index;
    add_event(&w, &w.doctor, 5, "");
    uint64_t event = ledger_size(w.kit.ledger) - 1;
    assert_int_equal(shows(&w, query, &w.patient, event), OK);
    assert_int_equal(shows(&w, plain, &w.patient, event), ERR_UNAUTHORIZED);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shows),
        cmocka_unit_test(test_shows_to_nobody_else),
        cmocka_unit_test(test_shows_what_follows),
        cmocka_unit_test(test_log_rows),
        cmocka_unit_test(test_log_role_then),
        cmocka_unit_test(test_log_pages),
        cmocka_unit_test(test_log_time),
        cmocka_unit_test(test_log_of_copy),
        cmocka_unit_test(test_log_examined),
        cmocka_unit_test(test_log_of_large_notes),
        cmocka_unit_test(test_bad_cursor),
        cmocka_unit_test(test_follow),
        cmocka_unit_test(test_follow_policy),
        cmocka_unit_test(test_export_is_over),
    };
    return cmocka_run_group_tests_name("ledger/query of the log", tests, NULL, NULL);
}
