/* Queries for records: lists, charts, histories; every row, each once, whatever the page; what is left out. */
#include <stdlib.h>

#include "base/check.h"
#include "ledger/release.h"
#include "tests/unit/ledger/bed_query.h"

/* All records of the patient, each once and in the order they came, with any page size. */
static void test_list_pages(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 2, 7, 40, 41, LIMIT_ROWS};
    struct world w;
    open_world(&w);
    kit_add_user(&w.kit, 50, "patient", "Mercy", "Another");
    kit_add_team(&w.kit, 50, 1);
    for (unsigned i = 0; i < 40; i++) {
        add_record(&w, 100 + i, 5, i % 3);
        if (i % 5 == 0) add_record(&w, 300 + i, 50, CONF_NORMAL);
    }
    for (size_t l = 0; l < sizeof limits / sizeof limits[0]; l++) {
        unsigned found = 0;
        w.page.cursor_size = 0;
        do {
            struct arguments a = list_args(5, cursor_of(&w.page), limits[l]);
            ask(&w, &w.doctor, &a);
            assert_true(w.page.count <= limits[l]);
            for (uint32_t i = 0; i < w.page.count; i++) {
                struct id id = field_id(w.page.rows[i], 0), expected = sample_id(100 + found);
                assert_true(id_equal(&id, &expected));
                assert_int_equal(field_uint(w.page.rows[i], 2), found % 3);
                found++;
            }
        } while (w.page.cursor_size);
        assert_int_equal(found, 40);
    }
    close_world(&w);
}

/* What is above the reader's confidentiality is counted, not shown. */
static void test_left_out(void **state)
{
    (void)state;
    struct world w;
    struct release *release = xcalloc(1, sizeof *release);
    open_world(&w);
    for (unsigned i = 0; i < 9; i++) add_record(&w, 100 + i, 5, i % 3);
    struct arguments a = list_args(5, NONE, LIMIT_ROWS);
    ask(&w, &w.nurse, &a);
    assert_int_equal(w.page.count, 3);
    assert_int_equal(w.page.left_out, 6);
    a = (struct arguments){.action = ACTION_RECORD_READ};
    a.record_read = (struct args_record_read){.patient = sample_id(5), .reader_key = {{1}}, .limit = LIMIT_OPENED};
    const struct ledger_result *r = ask(&w, &w.nurse, &a);
    assert_int_equal(w.page.count, 3);
    assert_int_equal(w.page.left_out, 6);
    assert_int_equal(release_load(release, w.kit.txn, r->leaf_index), OK);
    assert_int_equal(release->count, 3);
    assert_int_equal(release->rest.left_out, 6);
    ask(&w, &w.doctor, &a);
    assert_int_equal(w.page.count, 9);
    assert_int_equal(w.page.left_out, 0);
    free(release);
    close_world(&w);
}

/* A chart: the latest versions of all records that aren't deleted; each leaf opens its own page. */
static void test_chart(void **state)
{
    (void)state;
    struct world w;
    struct opened *opened = xcalloc(LIMIT_OPENED, sizeof *opened);
    open_world(&w);
    for (unsigned i = 0; i < 10; i++) add_record(&w, 100 + i, 5, CONF_NORMAL);
    struct arguments a = {.action = ACTION_RECORD_UPDATE};
    a.record_update = (struct args_record_update){sample_id(103), sample_id(5), 1, CONF_NORMAL, {{0}}};
    do_it(&w, &w.doctor, &a, buffer_bytes(&w.content));
    a = (struct arguments){.action = ACTION_RECORD_DELETE, .record_delete = {sample_id(107), sample_id(5), 1}};
    do_it(&w, &w.doctor, &a, NONE);
    unsigned seen = 0;
    w.page.cursor_size = 0;
    do {
        a = (struct arguments){.action = ACTION_RECORD_READ};
        a.record_read = (struct args_record_read){
            .patient = sample_id(5), .reader_key = {{1}}, .limit = 4, .cursor = cursor_of(&w.page)};
        const struct ledger_result *r = ask(&w, &w.patient, &a);
        struct opened_rest rest;
        size_t count;
        assert_int_equal(state_opened_get(opened, &count, &rest, w.kit.txn, r->leaf_index), OK);
        assert_int_equal(count, w.page.count);
        assert_int_equal(rest.next, w.page.cursor_size ? get_be64(w.page.cursor) : 0);
        assert_int_equal(rest.left_out, 0);
        for (uint32_t i = 0; i < w.page.count; i++) {
            struct id id = field_id(w.page.rows[i], 0), expected = sample_id(100 + seen);
            assert_true(id_equal(&id, &expected));
            assert_true(id_equal(&id, &opened[i].record));
            assert_int_equal(field_uint(w.page.rows[i], 1), seen == 3 ? 2 : 1);
            assert_int_equal(field_uint(w.page.rows[i], 7), opened[i].content);
            assert_int_equal(field_uint(w.page.rows[i], 8), strlen("sixteen bytes and more") - 16 /* the tag */);
            if (++seen == 7) seen++; /* deleted */
        }
    } while (w.page.cursor_size);
    assert_int_equal(seen, 10);
    free(opened);
    close_world(&w);
}

static void test_history(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    add_record(&w, 100, 5, CONF_NORMAL);
    for (unsigned i = 1; i < 5; i++) {
        struct arguments a = {.action = ACTION_RECORD_UPDATE};
        a.record_update = (struct args_record_update){sample_id(100), sample_id(5), i, CONF_NORMAL, sample_digest(i)};
        do_it(&w, &w.doctor, &a, buffer_bytes(&w.content));
    }
    struct arguments a = {.action = ACTION_RECORD_DELETE, .record_delete = {sample_id(100), sample_id(5), 5}};
    do_it(&w, &w.doctor, &a, NONE);
    a = (struct arguments){.action = ACTION_RECORD_HISTORY, .record_history = {sample_id(100)}};
    ask(&w, &w.patient, &a);
    assert_int_equal(w.page.count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        struct unpack deleted = field(w.page.rows[i], 5);
        assert_int_equal(field_uint(w.page.rows[i], 0), 6 - i);
        assert_int_equal(unpack_bool(&deleted), i == 0);
        assert_int_equal(field_bin(w.page.rows[i], 6).size, i >= 1 && i <= 4 ? 32 : 0);
    }
    close_world(&w);
}

/* The same tag at the same confidentiality is the same content: no new version. */
static void test_unchanged(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct arguments a = {.action = ACTION_RECORD_CREATE};
    a.record_create = (struct args_record_create){sample_id(100), sample_id(5), bytes_text("Note"), CONF_NORMAL,
                                                  sample_digest(1)};
    do_it(&w, &w.doctor, &a, buffer_bytes(&w.content));
    a = (struct arguments){.action = ACTION_RECORD_UPDATE};
    a.record_update = (struct args_record_update){sample_id(100), sample_id(5), 1, CONF_NORMAL, sample_digest(1)};
    assert_int_equal(kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&w.content))->reason, REASON_UNCHANGED);
    a.record_update.conf = CONF_RESTRICTED;
    const struct ledger_result *r = kit_do(&w.kit, &w.doctor, &a, buffer_bytes(&w.content));
    assert_int_equal(r->reason, REASON_NONE);
    read_page(&w.page, r);
    assert_int_equal(w.page.count, 1);
    assert_int_equal(field_uint(w.page.rows[0], 1), 2);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list_pages),
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_chart),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_unchanged),
    };
    return cmocka_run_group_tests_name("ledger/query of records", tests, NULL, NULL);
}
