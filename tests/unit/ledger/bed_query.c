#include "tests/unit/ledger/bed_query.h"

#include <stdio.h>

#include "base/check.h"

/* --- answers --- */

void read_page(struct page *page, const struct ledger_result *r)
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

struct bytes cursor_of(const struct page *page) { return bytes_of(page->cursor, page->cursor_size); }

/* Field `n` of a row, as a cursor at it. */
struct unpack field(struct bytes row, unsigned n)
{
    struct unpack u = unpack_start(row);
    unpack_array(&u, 16);
    while (n--) unpack_raw(&u);
    assert_int_equal(u.error, OK);
    return u;
}
uint64_t field_uint(struct bytes row, unsigned n)
{
    struct unpack u = field(row, n);
    return unpack_uint(&u);
}
struct id field_id(struct bytes row, unsigned n)
{
    struct unpack u = field(row, n);
    return unpack_id(&u);
}
bool field_is(struct bytes row, unsigned n, const char *text)
{
    struct unpack u = field(row, n);
    return bytes_equal(unpack_str(&u, 256), bytes_text(text));
}
struct bytes field_bin(struct bytes row, unsigned n)
{
    struct unpack u = field(row, n);
    return unpack_bin(&u, 1 << 16);
}

/* --- the world --- */

void open_world(struct world *w)
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

void close_world(struct world *w)
{
    buffer_free(&w->content);
    kit_close(&w->kit);
}

const struct ledger_result *ask(struct world *w, const struct kit_actor *who, const struct arguments *args)
{
    const struct ledger_result *r = kit_do(&w->kit, who, args, NONE);
    if (r->decision == DECISION_APPROVED) read_page(&w->page, r);
    return r;
}

void do_it(struct world *w, const struct kit_actor *who, const struct arguments *args, struct bytes content)
{
    const struct ledger_result *r = kit_do(&w->kit, who, args, content);
    assert_int_equal(r->code, OK);
    assert_int_equal(r->reason, REASON_NONE);
}

void add_event(struct world *w, const struct kit_actor *who, unsigned patient, const char *note)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(patient), bytes_text("bill.print"), bytes_text("B-17")};
    do_it(w, who, &a, bytes_text(note));
}

void add_record(struct world *w, unsigned record, unsigned patient, enum confidentiality conf)
{
    struct arguments a = {.action = ACTION_RECORD_CREATE};
    a.record_create = (struct args_record_create){sample_id(record), sample_id(patient), bytes_text("Observation"),
                                                  conf, {{0}}};
    do_it(w, &w->doctor, &a, buffer_bytes(&w->content));
}

/* --- records --- */

struct arguments list_args(unsigned patient, struct bytes cursor, uint32_t limit)
{
    struct arguments a = {.action = ACTION_RECORD_LIST};
    a.record_list = (struct args_record_list){sample_id(patient), cursor, limit};
    return a;
}

/* --- the log --- */

struct args_log_query log_all(void) { return (struct args_log_query){.limit = LIMIT_ROWS}; }

/* Pages through to the end; counts rows, checks that indexes fall. */
unsigned count_log(struct world *w, const struct kit_actor *who, struct args_log_query query, uint32_t limit)
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
