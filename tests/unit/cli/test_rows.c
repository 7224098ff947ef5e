/* What the ledger answers is what the client reads: rows of every query. */
#include "cli/proved_rows.h"

#include "ledger/policy.h"
#include "ledger/proof.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define NONE ((struct bytes){0})
#define PATIENT 9
#define DOCTOR 7

static struct kit kit;
static struct kit_actor registrar, doctor, auditor;
static struct id patient, record;

static int setup(void **state)
{
    (void)state;
    struct buffer content = {0};
    patient = sample_id(PATIENT);
    record = sample_id(30);
    kit_open(&kit, 4, 1, NONE);
    kit_activate(&kit, KEY_RECORDS);
    kit_add_user(&kit, PATIENT, "patient", "Mercy", "J\xc3\xbcrgen Miller");
    registrar = kit_add_user(&kit, 6, "registrar", "Mercy", "Reg");
    doctor = kit_add_user(&kit, DOCTOR, "doctor", "Mercy", "Gregory House");
    auditor = kit_add_user(&kit, 8, "auditor", "Mercy", "Au");
    kit_add_team(&kit, PATIENT, DOCTOR);
    kit_content(&content, "a note");
    struct arguments create = {
        .action = ACTION_RECORD_CREATE,
        .record_create = {record, patient, bytes_text("Note"), CONF_RESTRICTED, sample_digest(4)}};
    assert_int_equal(kit_do(&kit, &doctor, &create, buffer_bytes(&content))->decision, DECISION_APPROVED);
    buffer_free(&content);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    kit_close(&kit);
    return 0;
}

/* The answer of an approved query, opened. */
static struct answer ask(const struct kit_actor *who, const struct arguments *args)
{
    struct answer answer;
    const struct ledger_result *r = kit_do(&kit, who, args, NONE);
    assert_int_equal(r->code, OK);
    assert_int_equal(r->decision, DECISION_APPROVED);
    assert_int_equal(answer_open(&answer, r->answer, LIMIT_OPENED), OK);
    return answer;
}

static void assert_ended(const struct answer *answer)
{
    assert_int_equal(answer->rows.error, OK);
    assert_ptr_equal(answer->rows.at, answer->rows.end);
}

static void assert_json(json_t *o, const char *key, const char *value)
{
    assert_non_null(o);
    assert_string_equal(json_string_value(json_object_get(o, key)), value);
}

static void test_users(void **state)
{
    (void)state;
    struct user_row row;
    struct arguments a = {.action = ACTION_USER_SEARCH, .user_search = {.user = patient, .limit = 1}};
    struct answer answer = ask(&doctor, &a);
    assert_int_equal(answer.count, 1);
    user_row_read(&row, &answer.rows);
    assert_ended(&answer);
    assert_true(id_equal(&row.user, &patient));
    assert_true(row.has_person);
    assert_false(row.disabled);
    json_t *o = user_row_json(&row);
    assert_json(o, "name", "J\xc3\xbcrgen Miller");
    assert_json(o, "role", "patient");
    assert_json(o, "status", "active");
    json_decref(o);
}

static void test_teams(void **state)
{
    (void)state;
    struct team_row_view row;
    struct arguments a = {.action = ACTION_TEAM_LIST, .team_list = {patient}};
    struct answer answer = ask(&doctor, &a);
    assert_int_equal(answer.count, 1);
    team_row_read(&row, &answer.rows);
    assert_ended(&answer);
    assert_true(id_equal(&row.user, &doctor.actor.id));
    json_t *o = team_row_json(&row);
    assert_json(o, "role", "doctor");
    assert_json(o, "hospital", "Mercy");
    json_decref(o);
}

static void test_records(void **state)
{
    (void)state;
    struct record_row read;
    struct history_row history;
    struct list_row list;
    struct digest tag = sample_digest(4);
    struct seal_public key = {{1}};
    struct arguments a = {.action = ACTION_RECORD_READ,
                          .record_read = {.record = record, .reader_key = key, .limit = 1}};
    struct answer answer = ask(&doctor, &a);
    record_row_read(&read, &answer.rows);
    assert_ended(&answer);
    assert_true(id_equal(&read.record, &record) && id_equal(&read.patient, &patient));
    assert_int_equal(read.version, 1);
    json_t *o = record_row_json(&read);
    assert_json(o, "kind", "Note");
    assert_json(o, "confidentiality", "R");
    json_decref(o);
    a = (struct arguments){.action = ACTION_RECORD_HISTORY, .record_history = {record}};
    answer = ask(&doctor, &a);
    history_row_read(&history, &answer.rows);
    assert_ended(&answer);
    assert_true(digest_equal(&history.content_tag, &tag));
    assert_false(history.deleted);
    json_decref(history_row_json(&history));
    a = (struct arguments){.action = ACTION_RECORD_LIST, .record_list = {.patient = patient, .limit = 10}};
    answer = ask(&doctor, &a);
    assert_int_equal(answer.count, 1);
    list_row_read(&list, &answer.rows);
    assert_ended(&answer);
    assert_true(id_equal(&list.author, &doctor.actor.id));
    json_decref(list_row_json(&list));
}

static void test_log(void **state)
{
    (void)state;
    struct arguments event = {.action = ACTION_EVENT_ADD,
                              .event_add = {patient, bytes_text("bill.print"), bytes_text("invoice-1")}};
    kit_do(&kit, &doctor, &event, bytes_text("a note in words"));
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = {.limit = LIMIT_ROWS}};
    struct answer answer = ask(&auditor, &a);
    assert_true(answer.count > 8);
    uint64_t before = UINT64_MAX;
    for (uint32_t i = 0; i < answer.count; i++) { /* down to leaf 0, of every kind */
        struct log_row row;
        log_row_read(&row, &answer.rows);
        assert_int_equal(answer.rows.error, OK);
        assert_true(row.index < before);
        before = row.index;
        json_t *o = log_row_json(&row);
        if (row.action == ACTION_EVENT_ADD) {
            assert_json(o, "object", "bill.print invoice-1");
            assert_json(o, "note", "a note in words");
            assert_json(o, "decision", "approved");
        }
        if (row.action == ACTION_RECORD_CREATE) {
            char id[ID_TEXT_SIZE];
            id_format(id, &record);
            assert_json(o, "object", id);
        }
        json_decref(o);
    }
    assert_ended(&answer);
    assert_int_equal(before, 0);
}

/* Each row fits its own leaf and no other; a byte of it changed, and it fits none. */
static void test_proved(void **state)
{
    (void)state;
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = {.limit = LIMIT_ROWS}};
    struct answer answer = ask(&auditor, &a);
    unsigned notes = 0;
    for (uint32_t i = 0; i < answer.count; i++) {
        struct log_row row, changed;
        struct buffer bytes = {0}, other = {0}, copy = {0};
        struct leaf leaf, next;
        log_row_read(&row, &answer.rows);
        assert_int_equal(proof_leaf(&bytes, kit.txn, row.index), OK);
        assert_int_equal(leaf_decode(&leaf, buffer_bytes(&bytes)), OK);
        assert_true(row_fits_leaf(&row, &leaf));
        assert_int_equal(proof_leaf(&other, kit.txn, row.index ? row.index - 1 : 1), OK);
        assert_int_equal(leaf_decode(&next, buffer_bytes(&other)), OK);
        assert_false(row_fits_leaf(&row, &next));
        buffer_append_bytes(&copy, row.raw);
        /* the role fits each leaf, so it is no field among those that are shown as proved */
        json_t *o = log_row_json(&row);
        assert_null(json_object_get(o, "role"));
        assert_int_equal(json_string_length(json_object_get(o, "role_said")), row.actor_role.size);
        json_decref(o);
        size_t role = (size_t)(row.actor_role.data - row.raw.data); /* what no leaf says */
        for (size_t at = 0; at < copy.size; at++) {
            struct unpack u = unpack_start(buffer_bytes(&copy));
            bool in_role = at + 1 >= role && at < role + row.actor_role.size;
            copy.data[at] ^= 1;
            log_row_read(&changed, &u);
            if (u.error == OK && unpack_done(&u) == OK && !in_role) assert_false(row_fits_leaf(&changed, &leaf));
            copy.data[at] ^= 1;
        }
        notes += row.note.size > 0;
        buffer_free(&bytes);
        buffer_free(&other);
        buffer_free(&copy);
    }
    assert_true(notes > 0);
}

/* A node may send anything: cut or changed, an error, never a crash. */
static void test_damaged(void **state)
{
    (void)state;
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = {.limit = LIMIT_ROWS}};
    const struct ledger_result *r = kit_do(&kit, &auditor, &a, NONE);
    struct buffer copy = {0};
    buffer_append_bytes(&copy, r->answer);
    for (size_t i = 0; i < copy.size; i++)
        for (unsigned change = 1; change < 256; change <<= 1) {
            struct answer answer;
            copy.data[i] ^= (uint8_t)change;
            if (answer_open(&answer, buffer_bytes(&copy), LIMIT_ROWS) == OK)
                for (uint32_t n = 0; n < answer.count && answer.rows.error == OK; n++) {
                    struct log_row row;
                    log_row_read(&row, &answer.rows);
                    if (answer.rows.error == OK) json_decref(log_row_json(&row));
                }
            copy.data[i] ^= (uint8_t)change;
        }
    for (size_t size = 0; size < copy.size; size++) {
        struct answer answer;
        assert_int_not_equal(answer_open(&answer, bytes_of(copy.data, size), LIMIT_ROWS), OK);
    }
    buffer_free(&copy);
}

/* A node can't have us ask for page after page without end. */
static void test_pages_end(void **state)
{
    (void)state;
    static const uint8_t at_7[8] = {0, 0, 0, 0, 0, 0, 0, 7}, at_8[8] = {0, 0, 0, 0, 0, 0, 0, 8};
    struct answer last = {0}, next = {.cursor = BYTES(at_8)}, odd = {.cursor = bytes_of(at_8, 7)};
    assert_true(answer_goes_on(&last, BYTES(at_8), 9));
    assert_true(answer_goes_on(&next, BYTES(at_7), 9));
    assert_true(answer_goes_on(&next, (struct bytes){0}, 9));
    assert_false(answer_goes_on(&next, BYTES(at_8), 9)); /* the same again */
    assert_false(answer_goes_on(&next, BYTES(at_7), 8)); /* behind what can be there */
    assert_false(answer_goes_on(&odd, (struct bytes){0}, 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_users), cmocka_unit_test(test_teams),
                                       cmocka_unit_test(test_records), cmocka_unit_test(test_log),
                                       cmocka_unit_test(test_proved), cmocka_unit_test(test_pages_end),
                                       cmocka_unit_test(test_damaged)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
