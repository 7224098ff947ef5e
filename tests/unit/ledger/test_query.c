/* Queries: every row, each once, whatever the page; filters; who is shown to whom. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/pack.h"
#include "ledger/attachment.h"
#include "ledger/names.h"
#include "ledger/query.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})

/* --- answers --- */

struct page {
    uint32_t count;
    struct bytes rows[LIMIT_EXAMINED > 1024 ? 1024 : LIMIT_EXAMINED];
    uint8_t cursor[16];
    size_t cursor_size;
    uint64_t left_out;
};

static void read_page(struct page *page, const struct ledger_result *r)
{
    assert_int_equal(r->code, OK);
    if (r->decision != DECISION_APPROVED) fprintf(stderr, "%s\n", reason_text((enum reason)r->reason));
    assert_int_equal(r->decision, DECISION_APPROVED);
    struct unpack u = unpack_start(r->answer);
    unpack_array_of(&u, 3);
    page->count = unpack_array(&u, 1024);
    for (uint32_t i = 0; i < page->count; i++) page->rows[i] = unpack_raw(&u);
    struct bytes cursor = unpack_bin(&u, sizeof page->cursor);
    if (cursor.size) memcpy(page->cursor, cursor.data, cursor.size);
    page->cursor_size = cursor.size;
    page->left_out = unpack_uint(&u);
    assert_int_equal(unpack_done(&u), OK);
}

static struct bytes cursor_of(const struct page *page) { return bytes_of(page->cursor, page->cursor_size); }

/* Field `n` of a row, as a cursor at it. */
static struct unpack field(struct bytes row, unsigned n)
{
    struct unpack u = unpack_start(row);
    unpack_array(&u, 16);
    while (n--) unpack_raw(&u);
    assert_int_equal(u.error, OK);
    return u;
}
static uint64_t field_uint(struct bytes row, unsigned n)
{
    struct unpack u = field(row, n);
    return unpack_uint(&u);
}
static struct id field_id(struct bytes row, unsigned n)
{
    struct unpack u = field(row, n);
    return unpack_id(&u);
}
static bool field_is(struct bytes row, unsigned n, const char *text)
{
    struct unpack u = field(row, n);
    return bytes_equal(unpack_str(&u, 256), bytes_text(text));
}
static struct bytes field_bin(struct bytes row, unsigned n)
{
    struct unpack u = field(row, n);
    return unpack_bin(&u, 1 << 16);
}

/* --- the world --- */

struct world {
    struct kit kit;
    struct kit_actor doctor, nurse, patient, auditor, privacy, registrar;
    struct buffer content;
    struct page page;
};

static void open_world(struct world *w)
{
    memset(w, 0, sizeof *w);
    kit_open(&w->kit, 4, 1, NONE);
    kit_activate(&w->kit, KEY_RECORDS);
    kit_content(&w->content, "sixteen bytes and more");
    w->doctor = kit_add_user(&w->kit, 1, "doctor", "Mercy", "Gregory House");
    w->nurse = kit_add_user(&w->kit, 2, "nurse", "Mercy", "Joy Nurse");
    w->auditor = kit_add_user(&w->kit, 3, "auditor", "Mercy", "Ann Auditor");
    w->privacy = kit_add_user(&w->kit, 4, "privacy", "General", "Pat Privacy");
    w->patient = kit_add_user(&w->kit, 5, "patient", "Mercy", "Jane Doe");
    w->registrar = kit_add_user(&w->kit, 6, "registrar", "Mercy", "Reg");
    kit_add_team(&w->kit, 5, 1);
    kit_add_team(&w->kit, 5, 2);
}

static void close_world(struct world *w)
{
    buffer_free(&w->content);
    kit_close(&w->kit);
}

static const struct ledger_result *ask(struct world *w, const struct kit_actor *who, const struct arguments *args)
{
    const struct ledger_result *r = kit_do(&w->kit, who, args, NONE);
    if (r->decision == DECISION_APPROVED) read_page(&w->page, r);
    return r;
}

static void do_it(struct world *w, const struct kit_actor *who, const struct arguments *args, struct bytes content)
{
    const struct ledger_result *r = kit_do(&w->kit, who, args, content);
    assert_int_equal(r->code, OK);
    assert_int_equal(r->reason, REASON_NONE);
}

static void add_event(struct world *w, const struct kit_actor *who, unsigned patient, const char *note)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(patient), bytes_text("bill.print"), bytes_text("B-17")};
    do_it(w, who, &a, bytes_text(note));
}

static void add_record(struct world *w, unsigned record, unsigned patient, enum confidentiality conf)
{
    struct arguments a = {.action = ACTION_RECORD_CREATE};
    a.record_create = (struct args_record_create){sample_id(record), sample_id(patient), bytes_text("Observation"),
                                                  conf, {{0}}};
    do_it(w, &w->doctor, &a, buffer_bytes(&w->content));
}

/* --- records --- */

static struct arguments list_args(unsigned patient, struct bytes cursor, uint32_t limit)
{
    struct arguments a = {.action = ACTION_RECORD_LIST};
    a.record_list = (struct args_record_list){sample_id(patient), cursor, limit};
    return a;
}

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
    open_world(&w);
    for (unsigned i = 0; i < 9; i++) add_record(&w, 100 + i, 5, i % 3);
    struct arguments a = list_args(5, NONE, LIMIT_ROWS);
    ask(&w, &w.nurse, &a);
    assert_int_equal(w.page.count, 3);
    assert_int_equal(w.page.left_out, 6);
    a = (struct arguments){.action = ACTION_RECORD_READ};
    a.record_read = (struct args_record_read){.patient = sample_id(5), .reader_key = {{1}}, .limit = LIMIT_OPENED};
    ask(&w, &w.nurse, &a);
    assert_int_equal(w.page.count, 3);
    assert_int_equal(w.page.left_out, 6);
    ask(&w, &w.doctor, &a);
    assert_int_equal(w.page.count, 9);
    assert_int_equal(w.page.left_out, 0);
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
        size_t count;
        assert_int_equal(state_opened_get(opened, &count, w.kit.txn, r->leaf_index), OK);
        assert_int_equal(count, w.page.count);
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
    kit_add_user(&w.kit, 61, "patient", "Mercy", "\xce\x9f\xce\x94\xce\xa5\xce\xa3\xce\xa3\xce\x95\xce\x8e\xce\xa3"); /* ΟΔΥΣΣΕΎΣ */
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
        assert_int_equal(kit_do(&kit, &kit.root, &args, bytes_of(large.data, i == 2 ? most : LIMIT_RECORD - 200))->decision,
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

/* --- the log --- */

static struct args_log_query log_all(void) { return (struct args_log_query){.limit = LIMIT_ROWS}; }

/* Pages through to the end; counts rows, checks that indexes fall. */
static unsigned count_log(struct world *w, const struct kit_actor *who, struct args_log_query query, uint32_t limit)
{
    unsigned found = 0;
    uint64_t last = UINT64_MAX;
    uint8_t cursor[16];
    query.limit = limit;
    query.cursor = NONE;
    do {
        struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = query};
        ask(w, who, &a);
        assert_true(w->page.count <= limit);
        for (uint32_t i = 0; i < w->page.count; i++) {
            uint64_t index = field_uint(w->page.rows[i], 0);
            assert_true(index < last);
            last = index;
            found++;
        }
        memcpy(cursor, w->page.cursor, sizeof cursor);
        query.cursor = bytes_of(cursor, w->page.cursor_size);
    } while (w->page.cursor_size);
    return found;
}

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

static void test_follow(void **state)
{
    (void)state;
    struct world w;
    struct buffer rows = {0};
    uint64_t next;
    open_world(&w);
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = log_all()};
    a.log_query.patient = sample_id(5);
    a.log_query.follow = true;
    uint64_t query = ask(&w, &w.patient, &a)->leaf_index;
    uint64_t from = query + 1;
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, query, from), OK);
    assert_int_equal(next, from);
    assert_memory_equal(rows.data, "\x90", 1);
    for (int i = 0; i < 5; i++) add_event(&w, &w.doctor, 5, "");
    kit_add_user(&w.kit, 50, "patient", "Mercy", "Another");
    add_event(&w, &w.doctor, 50, "");
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, query, from), OK);
    assert_int_equal(next, ledger_size(w.kit.ledger));
    struct unpack u = unpack_start(buffer_bytes(&rows));
    assert_int_equal(unpack_array(&u, 100), 5);
    uint64_t last = query;
    for (int i = 0; i < 5; i++) {
        struct bytes row = unpack_raw(&u);
        assert_true(field_uint(row, 0) > last); /* oldest first */
        last = field_uint(row, 0);
    }
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, query, next), OK);
    assert_memory_equal(rows.data, "\x90", 1);
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, query - 1, from), ERR_NOT_FOUND);
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, 0, from), ERR_NOT_FOUND);
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, 1 << 30, from), ERR_NOT_FOUND);
    a.log_query.follow = false;
    uint64_t plain = ask(&w, &w.patient, &a)->leaf_index;
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, plain, from), ERR_NOT_FOUND);
    a = (struct arguments){.action = ACTION_USER_DISABLE, .user_disable = {sample_id(5), true}};
    do_it(&w, &w.kit.root, &a, NONE);
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, query, from), ERR_DENIED);
    buffer_free(&rows);
    close_world(&w);
}

/* Who lost the permission gets no more rows. */
static void test_follow_policy(void **state)
{
    (void)state;
    struct world w;
    struct buffer rows = {0};
    uint64_t next;
    open_world(&w);
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = log_all()};
    a.log_query.follow = true;
    uint64_t query = ask(&w, &w.auditor, &a)->leaf_index;
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, query, 0), OK);
    a = (struct arguments){.action = ACTION_POLICY_SET};
    a.policy_set.policy = bytes_text("[role root]\npolicy.set = any\n[role auditor]\nlog.query = own\n");
    do_it(&w, &w.kit.root, &a, NONE);
    assert_true(w.kit.results.policy_changed);
    assert_int_equal(query_follow(&rows, &next, w.kit.txn, query, 0), ERR_DENIED);
    buffer_free(&rows);
    close_world(&w);
}

/* What an approved export opened ends with the role, the policy, the key or the user. */
static void test_export_is_over(void **state)
{
    (void)state;
    static const char policy[] = "[role root]\npolicy.set = any\nuser.disable = any\n[role auditor]\nlog.query = any\n";
    struct world w;
    open_world(&w);
    assert_int_equal(query_may_export(w.kit.txn, &w.auditor.actor), OK);
    assert_int_equal(query_may_export(w.kit.txn, &w.doctor.actor), ERR_UNAUTHORIZED);
    struct actor other_key = w.auditor.actor, nobody = w.auditor.actor;
    other_key.key = w.doctor.actor.key;
    nobody.id = sample_id(77777);
    assert_int_equal(query_may_export(w.kit.txn, &other_key), ERR_UNAUTHORIZED);
    assert_int_equal(query_may_export(w.kit.txn, &nobody), ERR_UNAUTHORIZED);
    struct arguments a = {.action = ACTION_POLICY_SET, .policy_set.policy = bytes_text(policy)};
    do_it(&w, &w.kit.root, &a, NONE);
    assert_int_equal(query_may_export(w.kit.txn, &w.auditor.actor), ERR_UNAUTHORIZED);
    close_world(&w);
    open_world(&w);
    a = (struct arguments){.action = ACTION_ROLE_ASSIGN,
                           .role_assign = {w.auditor.actor.id, bytes_text("doctor")}};
    do_it(&w, &w.kit.root, &a, NONE);
    assert_int_equal(query_may_export(w.kit.txn, &w.auditor.actor), ERR_UNAUTHORIZED);
    close_world(&w);
    open_world(&w);
    a = (struct arguments){.action = ACTION_USER_DISABLE, .user_disable = {w.auditor.actor.id, true}};
    do_it(&w, &w.kit.root, &a, NONE);
    assert_int_equal(query_may_export(w.kit.txn, &w.auditor.actor), ERR_UNAUTHORIZED);
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
        cmocka_unit_test(test_list_pages),      cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_chart),           cmocka_unit_test(test_history),
        cmocka_unit_test(test_unchanged),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_follow),    cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_search_pages),    cmocka_unit_test(test_search_by_login),
        cmocka_unit_test(test_particulars_that_are_none),
        cmocka_unit_test(test_team_list),       cmocka_unit_test(test_policy_show),
        cmocka_unit_test(test_shows),           cmocka_unit_test(test_shows_to_nobody_else),
        cmocka_unit_test(test_shows_what_follows),
        cmocka_unit_test(test_log_rows),        cmocka_unit_test(test_log_role_then),
        cmocka_unit_test(test_log_pages),       cmocka_unit_test(test_log_time),
        cmocka_unit_test(test_log_of_copy),     cmocka_unit_test(test_log_examined),
        cmocka_unit_test(test_log_of_large_notes), cmocka_unit_test(test_bad_cursor),
        cmocka_unit_test(test_follow),
        cmocka_unit_test(test_follow_policy),   cmocka_unit_test(test_policy_set),
        cmocka_unit_test(test_export_is_over),
    };
    return cmocka_run_group_tests_name("ledger/query", tests, NULL, NULL);
}
