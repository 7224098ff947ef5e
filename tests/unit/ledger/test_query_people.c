/* Queries for users, teams and the policy: every row, each once, whatever the page; who is shown to whom. */
#include "base/check.h"
#include "tests/unit/ledger/bed_query.h"

/* --- users --- */

static const struct ledger_result *search(struct world *w, const struct kit_actor *who, const char *text,
                                          struct args_user_search args)
{
    struct arguments a = {.action = ACTION_USER_SEARCH, .user_search = args};
    const struct ledger_result *r = kit_do(&w->kit, who, &a, bytes_text(text));
    read_page(&w->page, r);
    return r;
}

static void test_names(void **state)
{
    (void)state;
    struct world w;
    struct args_user_search all = {.limit = LIMIT_ROWS};
    open_world(&w);
    kit_add_user(&w.kit, 60, "patient", "Mercy", "J\xc3\xbcrgen M\xc3\xbcller-L\xc3\xbc\x64\x65nscheidt");
    /* ΟΔΥΣΣΕΎΣ */
    kit_add_user(&w.kit, 61, "patient", "Mercy", "\xce\x9f\xce\x94\xce\xa5\xce\xa3\xce\xa3\xce\x95\xce\x8e\xce\xa3");
    kit_add_user(&w.kit, 62, "patient", "General", "Jurgen Elsewhere");
    search(&w, &w.doctor, "jurgen", all);
    assert_int_equal(w.page.count, 1); /* not the one of General */
    struct id id = field_id(w.page.rows[0], 0), expected = sample_id(60);
    assert_true(id_equal(&id, &expected));
    search(&w, &w.privacy, "JURGEN", all);
    assert_int_equal(w.page.count, 2);
    search(&w, &w.doctor, "  muller   J\xc3\x9cRG ", all); /* words in any order */
    assert_int_equal(w.page.count, 1);
    search(&w, &w.doctor, "\xce\xbf\xce\xb4\xcf\x85\xcf\x83\xcf\x83", all); /* οδυσσ */
    assert_int_equal(w.page.count, 1);
    search(&w, &w.doctor, "jurgen doe", all);
    assert_int_equal(w.page.count, 0);
    search(&w, &w.doctor, "\xff", all);
    assert_int_equal(w.page.count, 0);
    close_world(&w);
}

/* The index follows changes, and a reopened one is the same. */
static void test_names_follow(void **state)
{
    (void)state;
    struct world w;
    struct args_user_search all = {.limit = LIMIT_ROWS};
    struct buffer person = {0};
    open_world(&w);
    search(&w, &w.privacy, "doe", all);
    assert_int_equal(w.page.count, 1);
    struct person p = {.name = bytes_text("Jane Smith"), .hospital_number = bytes_text("MRN-4711")};
    person_encode(&person, &p);
    struct arguments a = {.action = ACTION_USER_UPDATE, .user_update = {.user = sample_id(5)}};
    do_it(&w, &w.registrar, &a, buffer_bytes(&person));
    kit_add_user(&w.kit, 70, "patient", "Mercy", "John Doe");
    for (int i = 0; i < 2; i++) {
        search(&w, &w.privacy, "doe", all);
        assert_int_equal(w.page.count, 1);
        search(&w, &w.privacy, "mrn-4711", all);
        assert_int_equal(w.page.count, 1);
        assert_true(bytes_equal(field_bin(w.page.rows[0], 6), buffer_bytes(&person)));
        kit_reopen(&w.kit);
    }
    buffer_free(&person);
    close_world(&w);
}

/* Root and admins are found by nobody but themselves, by whatever way. */
static void test_hidden(void **state)
{
    (void)state;
    struct world w;
    struct args_user_search all = {.limit = LIMIT_ROWS};
    open_world(&w);
    struct kit_actor admin = kit_add_user(&w.kit, 80, "admin", "Mercy", "Adam Admin");
    search(&w, &w.privacy, "", all);
    assert_int_equal(w.page.count, 7); /* 6 and the registrar who put the team together */
    for (uint32_t i = 0; i < w.page.count; i++)
        assert_false(field_is(w.page.rows[i], 2, "root") || field_is(w.page.rows[i], 2, "admin"));
    search(&w, &w.privacy, "admin", all);
    assert_int_equal(w.page.count, 0);
    search(&w, &w.privacy, "", (struct args_user_search){.role = bytes_text("admin"), .limit = 5});
    assert_int_equal(w.page.count, 0);
    search(&w, &w.privacy, "", (struct args_user_search){.user = sample_id(80), .limit = 5});
    assert_int_equal(w.page.count, 0);
    search(&w, &w.privacy, "", (struct args_user_search){.login_tag = sample_digest(80), .limit = 5});
    assert_int_equal(w.page.count, 0);
    search(&w, &w.privacy, "", (struct args_user_search){.user = sample_id(4444), .limit = 5});
    assert_int_equal(w.page.count, 0); /* unknown looks the same */
    search(&w, &admin, "", (struct args_user_search){.user = sample_id(80), .limit = 5});
    assert_int_equal(w.page.count, 1);
    search(&w, &admin, "adam", all);
    assert_int_equal(w.page.count, 1);
    search(&w, &w.kit.root, "", (struct args_user_search){.role = bytes_text("root"), .limit = 1});
    assert_int_equal(w.page.count, 1);
    close_world(&w);
}

static void test_search_pages(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 3, 100};
    struct world w;
    open_world(&w);
    for (unsigned i = 0; i < 30; i++)
        kit_add_user(&w.kit, 500 + i, "patient", i % 2 ? "Mercy" : "General", i % 3 ? "Smith" : "Miller");
    for (size_t l = 0; l < 3; l++) {
        unsigned found = 0;
        w.page.cursor_size = 0;
        do {
            uint8_t cursor[16];
            size_t size = w.page.cursor_size;
            memcpy(cursor, w.page.cursor, sizeof cursor);
            search(&w, &w.privacy, "smith",
                   (struct args_user_search){.hospital = bytes_text("Mercy"), .role = bytes_text("patient"),
                                             .limit = limits[l], .cursor = bytes_of(cursor, size)});
            assert_true(w.page.count <= limits[l]);
            found += w.page.count;
            for (uint32_t i = 0; i < w.page.count; i++) assert_true(field_is(w.page.rows[i], 1, "Mercy"));
        } while (w.page.cursor_size);
        assert_int_equal(found, 10); /* of 0..29 the odd ones that 3 doesn't divide */
    }
    close_world(&w);
}

static void test_search_by_login(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    search(&w, &w.doctor, "", (struct args_user_search){.login_tag = sample_digest(2), .limit = 1});
    assert_int_equal(w.page.count, 1);
    struct id id = field_id(w.page.rows[0], 0);
    assert_true(id_equal(&id, &w.nurse.actor.id));
    assert_true(field_is(w.page.rows[0], 2, "nurse"));
    search(&w, &w.doctor, "", (struct args_user_search){.login_tag = sample_digest(4321), .limit = 1});
    assert_int_equal(w.page.count, 0);
    close_world(&w);
}

/* Particulars are whatever their sender put there: what is none, or far too much, is left
 * out of rows, so that no page is larger than an answer may be. */
static void test_particulars_that_are_none(void **state)
{
    (void)state;
    enum { MANY = 4 };
    struct kit kit;
    struct page page;
    struct buffer large = {0};
    kit_open(&kit, 4, 1, NONE);
    const size_t most = LIMIT_ATTACHMENT - ATTACHMENT_OVERHEAD;
    memset(buffer_extend(&large, most), 'x', most);
    for (unsigned i = 0; i < MANY; i++) {
        struct kit_actor user = kit_user(50 + i);
        struct arguments args = {.action = ACTION_USER_CREATE};
        args.user_create = (struct args_user_create){
            .user = user.actor.id, .hospital = bytes_text("Mercy"), .role = bytes_text("nurse"), .key_count = 1};
        args.user_create.keys[0] = user.key;
        assert_int_equal(kit_do(&kit, &kit.root, &args,
                                bytes_of(large.data, i == 2 ? most : LIMIT_RECORD - 200))->decision,
                         DECISION_APPROVED);
    }
    kit_add_user(&kit, 60, "nurse", "Mercy", "Nan");
    struct arguments search = {.action = ACTION_USER_SEARCH,
                               .user_search = {.role = bytes_text("nurse"), .limit = LIMIT_ROWS}};
    read_page(&page, kit_do(&kit, &kit.root, &search, NONE));
    assert_int_equal(page.count, MANY + 1);
    for (unsigned i = 0; i <= MANY; i++) {
        struct unpack u = field(page.rows[i], 6);
        struct bytes particulars = unpack_bin(&u, LIMIT_ATTACHMENT);
        assert_int_equal(particulars.size != 0, i == MANY);
    }
    buffer_free(&large);
    kit_close(&kit);
}

static void test_team_list(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct arguments a = {.action = ACTION_TEAM_LIST, .team_list = {sample_id(5)}};
    ask(&w, &w.patient, &a);
    assert_int_equal(w.page.count, 2);
    struct id first = field_id(w.page.rows[0], 0), second = field_id(w.page.rows[1], 0);
    assert_true(id_equal(&first, &w.doctor.actor.id) && id_equal(&second, &w.nurse.actor.id));
    assert_true(field_is(w.page.rows[0], 1, "doctor"));
    assert_true(field_is(w.page.rows[0], 2, "Mercy"));
    a = (struct arguments){.action = ACTION_TEAM_ASSIGN, .team_assign = {sample_id(5), sample_id(2), true}};
    do_it(&w, &w.registrar, &a, NONE);
    assert_int_equal(kit_do(&w.kit, &w.registrar, &a, NONE)->reason, REASON_UNCHANGED);
    a = (struct arguments){.action = ACTION_TEAM_LIST, .team_list = {sample_id(5)}};
    ask(&w, &w.patient, &a);
    assert_int_equal(w.page.count, 1);
    close_world(&w);
}

static void test_policy_show(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct arguments a = {.action = ACTION_POLICY_SHOW};
    ask(&w, &w.patient, &a);
    assert_int_equal(w.page.count, 1);
    assert_int_equal(field_uint(w.page.rows[0], 0), 0);
    assert_true(bytes_equal(field_bin(w.page.rows[0], 1), kit_default_policy()));
    close_world(&w);
}

/* --- policy --- */

static void test_policy_set(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct arguments a = {.action = ACTION_POLICY_SET};
    a.policy_set.policy = kit_default_policy();
    assert_int_equal(kit_do(&w.kit, &w.kit.root, &a, NONE)->reason, REASON_UNCHANGED);
    a.policy_set.policy = bytes_text("[role root]\npolicy.set = own\n");
    assert_int_equal(kit_do(&w.kit, &w.kit.root, &a, NONE)->reason, REASON_POLICY_INVALID);
    a.policy_set.policy = bytes_text("[role root]\npolicy.set = any\n[role nurse]\nevent.add = any\n");
    do_it(&w, &w.kit.root, &a, NONE);
    struct arguments event = {.action = ACTION_EVENT_ADD};
    event.event_add = (struct args_event_add){sample_id(5), bytes_text("x"), NONE};
    assert_int_equal(kit_do(&w.kit, &w.doctor, &event, NONE)->reason, REASON_NO_PERMISSION); /* no such role now */
    do_it(&w, &w.nurse, &event, NONE);
    kit_reopen(&w.kit);
    assert_int_equal(kit_do(&w.kit, &w.doctor, &event, NONE)->reason, REASON_NO_PERMISSION);
    struct kit other;
    kit_open_empty(&other, &w.kit);
    kit_replay_all(&other, &w.kit);
    assert_string_equal(kit_difference(&w.kit, &other), "");
    kit_close(&other);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_follow),
        cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_search_pages),
        cmocka_unit_test(test_search_by_login),
        cmocka_unit_test(test_particulars_that_are_none),
        cmocka_unit_test(test_team_list),
        cmocka_unit_test(test_policy_show),
        cmocka_unit_test(test_policy_set),
    };
    return cmocka_run_group_tests_name("ledger/query of people", tests, NULL, NULL);
}
