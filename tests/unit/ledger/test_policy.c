#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "ledger/policy.h"
#include "tests/lib/ledger_kit.h"

#define ROOT "[role root]\npolicy.set = any\n"

static struct policy policy;

static void accept(const char *text)
{
    struct failure failure = {0};
    enum err err = policy_parse(&policy, bytes_text(text), &failure);
    if (err != OK) fprintf(stderr, "%s\n", failure.text);
    assert_int_equal(err, OK);
}

static void refuse(const char *text, const char *message)
{
    struct failure failure = {0};
    assert_int_equal(policy_parse(&policy, bytes_text(text), &failure), ERR_SYNTAX);
    if (!strstr(failure.text, message)) fprintf(stderr, "\"%s\" is not in \"%s\"\n", message, failure.text);
    assert_non_null(strstr(failure.text, message));
    assert_int_equal(policy_parse(&policy, bytes_text(text), NULL), ERR_SYNTAX);
}

static void test_errors(void **state)
{
    (void)state;
    refuse("", "there must be a role 'root'");
    refuse("\n# only a comment\n", "there must be a role 'root'");
    refuse("[role root]\n", "role root must have 'policy.set = any'");
    refuse("[role root]\npolicy.set = hospital\n", "role root must have");
    refuse("policy.set = any\n" ROOT, "line 1: a [role NAME] line must come before 'policy.set'");
    refuse(ROOT "[role doctor]\n[role doctor]\n", "line 4: role given twice: 'doctor'");
    refuse(ROOT "[role Doctor]\n", "line 3: expected [role NAME], not '[role Doctor]'");
    refuse(ROOT "[role]\n", "line 3: expected [role NAME]");
    refuse(ROOT "[role ]\n", "line 3: expected [role NAME]");
    refuse(ROOT "[role 1st]\n", "line 3: expected [role NAME]");
    refuse(ROOT "[role a b]\n", "line 3: expected [role NAME]");
    refuse(ROOT "[roles doctor]\n", "line 3: expected [role NAME]");
    refuse(ROOT "[role doctor\n", "line 3: expected [role NAME]");
    refuse(ROOT "[role abcdefghijklmnopqrstuvwxyz0123456]\n", "line 3: expected [role NAME]");
    refuse(ROOT "[role doctor]\nrecord.see = team V\n", "line 4: no such action: 'record.see'");
    refuse(ROOT "[role doctor]\ngenesis = any\n", "line 4: no such action: 'genesis'");
    refuse(ROOT "[role doctor]\nkey.commit = any\n", "line 4: no such action: 'key.commit'");
    refuse(ROOT "[role doctor]\nrecord.read\n", "line 4: expected NAME = VALUE, not 'record.read'");
    refuse(ROOT "[role doctor]\n= team V\n", "line 4: no such action: ''");
    refuse(ROOT "[role doctor]\nrecord.read = team\n",
           "line 4: expected the highest confidentiality N, R or V, not ''");
    refuse(ROOT "[role doctor]\nrecord.read = team X\n", "N, R or V, not 'X'");
    refuse(ROOT "[role doctor]\nrecord.read = team v\n", "N, R or V, not 'v'");
    refuse(ROOT "[role doctor]\nrecord.read = team N R\n", "N, R or V, not 'N R'");
    refuse(ROOT "[role doctor]\nrecord.read = ward V\n", "line 4: expected own, team, hospital or any, not 'ward'");
    refuse(ROOT "[role doctor]\nrecord.read =\n", "not ''");
    refuse(ROOT "[role doctor]\nrecord.read = team V,\n", "not ''");
    refuse(ROOT "[role doctor]\nrecord.read = , team V\n", "not ''");
    refuse(ROOT "[role doctor]\nrecord.read = team V, team N\n", "line 4: scope given twice: 'team'");
    refuse(ROOT "[role doctor]\nevent.add = team N\n", "line 4: only record actions have a confidentiality: 'N'");
    refuse(ROOT "[role doctor]\nevent.add = team\nevent.add = any\n",
           "line 5: action given twice in this role: 'event.add'");
    refuse(ROOT "grants = doctor\n", "line 3: no such role: 'doctor'");
    refuse(ROOT "grants = root, root\n", "line 3: role given twice: 'root'");
    refuse(ROOT "grants = root\ngrants = root\n", "line 4: given twice in this role: 'grants'");
    refuse(ROOT "grants =\n", "line 3: no such role: ''");
    refuse("[role root]\r\npolicy.set = any\n", "line 1: only printable ASCII outside of comments");
    refuse("[role root]\npolicy.set = any \xc3\xa4\n", "line 2: only printable ASCII");
    refuse(ROOT "# \xff\n", "comments must be plain UTF-8 text");
    refuse(ROOT "# \x1b[2J\n", "comments must be plain UTF-8 text");
    refuse(ROOT "; not a comment\n", "line 3: expected NAME = VALUE");
    refuse(ROOT "event.add = any # not a comment\n", "only record actions have a confidentiality");
}

static void test_zero_byte(void **state)
{
    (void)state;
    static const char text[] = ROOT "event.add = any\0thing\n";
    assert_int_equal(policy_parse(&policy, bytes_of(text, sizeof text - 1), NULL), ERR_SYNTAX);
}

/* A word of the text is cut, so that a message stays short. */
static void test_long_word(void **state)
{
    (void)state;
    char text[400] = ROOT;
    memset(text + sizeof ROOT - 1, 'x', 300);
    struct failure failure = {0};
    assert_int_equal(policy_parse(&policy, bytes_text(text), &failure), ERR_SYNTAX);
    assert_true(strlen(failure.text) < 120);
}

static void test_sizes(void **state)
{
    (void)state;
    struct buffer text = {0};
    buffer_append_text(&text, ROOT);
    while (text.size < LIMIT_POLICY) buffer_append_text(&text, "\n");
    assert_int_equal(policy_parse(&policy, buffer_bytes(&text), NULL), OK);
    buffer_append_text(&text, "\n");
    assert_int_equal(policy_parse(&policy, buffer_bytes(&text), NULL), ERR_TOO_LARGE);
    buffer_clear(&text);
    buffer_append_text(&text, ROOT);
    for (int i = 1; i < POLICY_ROLES; i++) buffer_printf(&text, "[role r%d]\n", i);
    assert_int_equal(policy_parse(&policy, buffer_bytes(&text), NULL), OK);
    assert_int_equal(policy.count, POLICY_ROLES);
    buffer_append_text(&text, "[role one-more]\n");
    assert_int_equal(policy_parse(&policy, buffer_bytes(&text), NULL), ERR_SYNTAX);
    buffer_free(&text);
}

static void test_blanks_and_order(void **state)
{
    (void)state;
    accept("# head \xc3\xa4\n\n \t\n\t[role  root ]\n  policy.set\t=\tany  \ngrants=late,root\n[role "
           "late]\nrecord.read="
           "own V,team  R\t,any N");
    int late = policy_role(&policy, bytes_text("late")), root = policy_role(&policy, bytes_text("root"));
    assert_true(late >= 0 && root >= 0);
    assert_true(policy_may_grant(&policy, root, late));
    assert_false(policy_may_grant(&policy, late, root));
    assert_int_equal(policy_role(&policy, bytes_text("lat")), -1);
    assert_int_equal(policy_role(&policy, (struct bytes){0}), -1);
}

/* The scope that reaches furthest for a case counts. */
static void test_decide(void **state)
{
    (void)state;
    accept(ROOT "[role d]\nrecord.read = own V, team R, any N\nevent.add = hospital\n");
    int d = policy_role(&policy, bytes_text("d"));
    scope_set any = SCOPE_BIT(SCOPE_ANY), team = any | SCOPE_BIT(SCOPE_TEAM), own = any | SCOPE_BIT(SCOPE_OWN);
    assert_int_equal(policy_decide(&policy, d, ACTION_RECORD_READ, any, CONF_NORMAL), REASON_NONE);
    assert_int_equal(policy_decide(&policy, d, ACTION_RECORD_READ, any, CONF_RESTRICTED), REASON_CONFIDENTIALITY);
    assert_int_equal(policy_decide(&policy, d, ACTION_RECORD_READ, team, CONF_RESTRICTED), REASON_NONE);
    assert_int_equal(policy_decide(&policy, d, ACTION_RECORD_READ, team, CONF_VERY_RESTRICTED), REASON_CONFIDENTIALITY);
    assert_int_equal(policy_decide(&policy, d, ACTION_RECORD_READ, own, CONF_VERY_RESTRICTED), REASON_NONE);
    assert_int_equal(policy_highest(&policy, d, ACTION_RECORD_READ, any), CONF_NORMAL);
    assert_int_equal(policy_highest(&policy, d, ACTION_RECORD_READ, own | team), CONF_VERY_RESTRICTED);
    assert_int_equal(policy_decide(&policy, d, ACTION_EVENT_ADD, any, CONF_NORMAL), REASON_SCOPE);
    assert_int_equal(policy_highest(&policy, d, ACTION_EVENT_ADD, any), -1);
    assert_int_equal(policy_decide(&policy, d, ACTION_POLICY_SET, any, CONF_NORMAL), REASON_NO_PERMISSION);
    assert_int_equal(policy_decide(&policy, -1, ACTION_RECORD_READ, own, CONF_NORMAL), REASON_NO_PERMISSION);
    assert_int_equal(policy_decide(&policy, d, (enum action)5000, own, CONF_NORMAL), REASON_NO_PERMISSION);
}

static void test_default(void **state)
{
    (void)state;
    static const char *const names[] = {"root",  "admin",   "registrar", "doctor",
                                        "nurse", "patient", "auditor",   "privacy"};
    struct failure failure = {0};
    assert_int_equal(policy_parse(&policy, kit_default_policy(), &failure), OK);
    assert_int_equal(policy.count, 8);
    for (size_t i = 0; i < 8; i++) assert_string_equal(policy.roles[i].name, names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),           cmocka_unit_test(test_zero_byte), cmocka_unit_test(test_long_word),
        cmocka_unit_test(test_sizes),            cmocka_unit_test(test_blanks_and_order),
        cmocka_unit_test(test_decide),           cmocka_unit_test(test_default),
    };
    return cmocka_run_group_tests_name("ledger/policy", tests, NULL, NULL);
}
