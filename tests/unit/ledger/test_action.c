#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "ledger/action.h"
#include "ledger/operation.h"
#include "ledger/record.h"

static void test_names_round_trip(void **state)
{
    (void)state;
#define X(name, number, permission, actor)                                                         \
    assert_string_equal(action_name(name), permission);                                            \
    assert_int_equal(action_from_name(permission), number);                                        \
    assert_int_equal(action_actor(name), actor);
    ACTION_LIST(X)
#undef X
    assert_string_equal(action_name((enum action)9999), "unknown");
    assert_int_equal(action_from_name("record.destroy"), -1);
    assert_int_equal(action_from_name(""), -1);
    assert_int_equal(action_actor((enum action)7), ACTOR_NONE);
}

/* Numbers are the wire format: a list that is reordered or renumbered must not pass. */
static void test_numbers_are_stable(void **state)
{
    (void)state;
    assert_int_equal(ACTION_USER_CREATE, 1);
    assert_int_equal(ACTION_RECORD_READ, 23);
    assert_int_equal(ACTION_EVENT_ADD, 30);
    assert_int_equal(ACTION_LOG_QUERY, 40);
    assert_int_equal(ACTION_KEY_COMMIT, 60);
    assert_int_equal(ACTION_ALARM_CLEAR, 52);
    assert_int_equal(ACTION_NODE_ALARM, 70);
    assert_int_equal(ACTION_ALARM_TELL, 71);
    assert_int_equal(ACTION_STATE_DIGEST, 53);
    assert_int_equal(ACTION_NODE_DIGEST, 72);
    assert_int_equal(REASON_TOO_SOON, 55);
    assert_int_equal(REASON_NO_PERMISSION, 1);
    assert_int_equal(REASON_CONFLICT, 18);
    assert_int_equal(REASON_NOT_A_MEMBER, 40);
    assert_int_equal(REASON_ALREADY_RAISED, 46);
    assert_int_equal(REASON_ALREADY_TOLD, 54);
    assert_int_equal(DECISION_APPROVED, 1);
    assert_int_equal(DECISION_DENIED, 2);
    assert_int_equal(PURPOSE_TREATMENT, 1);
}

static void test_reasons_have_texts(void **state)
{
    (void)state;
#define X(name, number, text) assert_string_equal(reason_text(name), text);
    REASON_LIST(X)
#undef X
    assert_string_equal(reason_text((enum reason)9999), "unknown reason");
}

static void test_purposes(void **state)
{
    (void)state;
#define X(name, number, code, text)                                                                \
    assert_string_equal(purpose_code(name), code);                                                 \
    assert_int_equal(purpose_from_code(code), number);
    PURPOSE_LIST(X)
#undef X
    assert_string_equal(purpose_code(PURPOSE_MAX), "unknown");
    assert_int_equal(purpose_from_code("treat"), -1);
}

static void test_confidentiality(void **state)
{
    (void)state;
    enum confidentiality c;
    const char *const letters[] = {"N", "R", "V", "n", "r", "v"};
    for (int i = 0; i < 6; i++) {
        assert_int_equal(confidentiality_parse(&c, letters[i]), OK);
        assert_int_equal(c, i % 3);
        assert_int_equal(confidentiality_letter(c), letters[i % 3][0]);
    }
    assert_int_equal(confidentiality_parse(&c, ""), ERR_INVALID);
    assert_int_equal(confidentiality_parse(&c, "NR"), ERR_INVALID);
    assert_int_equal(confidentiality_parse(&c, "U"), ERR_INVALID);
}

/* The page for other implementers has every number with its name. */
static void test_format_page_is_complete(void **state)
{
    (void)state;
    FILE *file = fopen("ledger/FORMAT.md", "rb");
    if (!file) {
        printf("not run from the repository's root: ledger/FORMAT.md is not checked\n");
        skip();
    }
    char *page = xcalloc(1, 256 * 1024), row[256];
    size_t size = fread(page, 1, 256 * 1024 - 1, file);
    fclose(file);
    assert_true(size > 1000 && size < 256 * 1024 - 1);
    int missing = 0;
#define CHECK_ROW(number, text)                                                                    \
    snprintf(row, sizeof row, "\n| %d | %s |", number, text);                                      \
    if (!strstr(page, row)) missing++, printf("FORMAT.md has no row%s\n", row);
#define X(name, number, permission, actor) CHECK_ROW(number, permission)
    ACTION_LIST(X)
#undef X
#define X(name, number, text) CHECK_ROW(number, number ? text : "none")
    REASON_LIST(X)
#undef X
#define X(name, number, code, text)                                                                \
    snprintf(row, sizeof row, " %d %s", number, code);                                             \
    if (number && !strstr(page, row)) missing++, printf("FORMAT.md has no purpose%s\n", row);
    PURPOSE_LIST(X)
#undef X
    free(page);
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_round_trip), cmocka_unit_test(test_numbers_are_stable),
        cmocka_unit_test(test_reasons_have_texts), cmocka_unit_test(test_purposes),
        cmocka_unit_test(test_confidentiality),
        cmocka_unit_test(test_format_page_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
