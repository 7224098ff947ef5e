/* Users, their keys and the policy through the CLI: what is asked for comes about on every
 * node, what may not be is denied, and a slip changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];

static bool shows(const char *words) { return strstr((const char *)out.data, words) != NULL; }

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 3, 0);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    return 0;
}

/* `who` and the rest of the words; fails unless it exits with `code`, and says `words` (NULL: anything). */
static void as(const char *who, int code, const char *words, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void as(const char *who, int code, const char *words, const char *format, ...)
{
    char identity[400], command[2000];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (strcmp(who, "root") == 0)
        snprintf(identity, sizeof identity, "%s", bed.admin);
    else
        snprintf(identity, sizeof identity, "%s/%s.key", bed.dir, who);
    int got = testbed_cli(&bed, &out, &errors, "-i %s --yes %s", identity, command);
    if (got != code) testbed_fail(&bed, "%s as %s: exit %d instead of %d: %s", command, who, got, code, said());
    if (words && !strstr(said(), words) && !(out.data && shows(words)))
        testbed_fail(&bed, "%s as %s does not say \"%s\" but: %s", command, who, words, said());
}

static void a_user_is_found_and_changed(void **state)
{
    (void)state;
    as("registrar", 0, NULL,
       "user add --role patient --hospital 'Hospital 1' --login jmiller --name 'Jane Miller' --address 'Hill Road 1' "
       "--designation Ms --number H1-77");
    as("registrar", 0, NULL, "--json user show jmiller");
    json_is("name", "Jane Miller");
    json_is("address", "Hill Road 1");
    json_is("hospital_number", "H1-77");
    json_is("status", "active");
    /* What isn't given stays. */
    as("registrar", 0, NULL, "user update jmiller --address 'Lake Road 2'");
    as("registrar", 0, NULL, "--json --via node-3 user show jmiller");
    json_is("name", "Jane Miller");
    json_is("address", "Lake Road 2");
    json_is("designation", "Ms");
    /* Another login name frees the old one. */
    as("registrar", 0, NULL, "user update jmiller --login jane");
    as("registrar", 7, "there is no user 'jmiller'", "user show jmiller");
    as("registrar", 0, "Jane Miller", "user show jane");
    as("registrar", 7, "the login name is taken", "user add --role patient --hospital 'Hospital 1' --login JANE");
    as("registrar", 0, NULL, "user add --role patient --hospital 'Hospital 1' --login jmiller --name 'John Miller'");
}

static void a_search_finds_who_may_be_seen(void **state)
{
    (void)state;
    as("registrar", 0, "Jane Miller", "user search miller --role patient");
    assert_true(shows("John Miller"));
    as("registrar", 0, "Jane Miller", "user search 'MILLER jane'");
    assert_false(shows("John Miller"));
    as("registrar", 0, NULL, "--json user search miller -n 1");
    char cursor[100];
    const char *next = strstr((const char *)out.data, "\"next\"");
    assert_non_null(next);
    assert_int_equal(sscanf(next, "\"next\": \"%99[^\"]", cursor), 1);
    struct buffer first = out;
    out = (struct buffer){0};
    as("registrar", 0, NULL, "--json user search miller -n 1 --cursor %s", cursor);
    assert_string_not_equal((const char *)first.data, (const char *)out.data);
    assert_true(shows("Miller"));
    buffer_free(&first);
    /* Administrators are found by nobody but themselves, and a patient finds no other patient. */
    as("registrar", 0, NULL, "--json user search --role root");
    assert_false(shows("\"id\""));
    as("patient", 0, NULL, "--json user search miller");
    assert_false(shows("Miller"));
    as("patient", 3, "outside the role's scope", "user show jane");
}

static void slips_change_nothing(void **state)
{
    (void)state;
    as("registrar", 2, "say what to change", "user update jane");
    as("registrar", 2, "must not be empty", "user update jane --hospital ''");
    as("registrar", 2, "has at most", "user add --role %0300d --hospital 'Hospital 1'", 1);
    as("registrar", 2, "has at most", "user add --role patient --hospital 'Hospital 1' --name %01500d", 1);
    as("registrar", 2, "takes an id of 26 characters", "user add --role patient --hospital 'Hospital 1' --id short");
    as("registrar", 3, NULL, "user add --role doctor --hospital 'Hospital 1' --login quack");
    as("registrar", 3, NULL, "user add --role patient --hospital 'Hospital 2' --login away");
    as("root", 0, "no node of this cluster is of the hospital 'Hopsital 1'",
       "user add --role patient --hospital 'Hopsital 1' --login slip");
    as("root", 0, NULL, "user update slip --hospital 'Hospital 1'");
    as("registrar", 0, NULL, "--json user show slip");
    json_is("hospital", "Hospital 1");
    json_is("login", "slip");
}

static void a_role_is_changed_by_those_who_may_give_it(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE];
    testbed_user(&bed, "nurse", "Hospital 1", "nurse", id);
    as("registrar", 3, NULL, "user update nurse --role doctor");
    as("doctor", 3, NULL, "user update nurse --role admin");
    as("root", 0, NULL, "user update nurse --role doctor");
    as("registrar", 0, NULL, "--json user show nurse");
    json_is("role", "doctor");
    as("root", 0, NULL, "user update nurse --role nurse");
    /* The last first administrator stays one. */
    as("root", 0, NULL, "--json whoami");
    char root[ID_TEXT_SIZE];
    testbed_json(&out, "id", root, sizeof root);
    as("root", 3, NULL, "user update %s --role doctor", root);
    as("root", 3, NULL, "user disable %s", root);
    as("root", 0, NULL, "whoami");
}

static void who_is_disabled_can_do_nothing(void **state)
{
    (void)state;
    as("registrar", 3, NULL, "user disable nurse");
    as("nurse", 0, NULL, "whoami");
    as("root", 0, NULL, "user disable nurse --note 'left the hospital'");
    as("nurse", 3, NULL, "whoami");
    as("registrar", 0, NULL, "--json user show nurse");
    json_is("status", "disabled");
    as("root", 0, NULL, "user disable nurse --enable");
    as("nurse", 0, NULL, "whoami");
}

static void a_patient_gets_a_key_and_loses_it(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE], path[400];
    as("registrar", 0, NULL, "--json user show jane");
    testbed_json(&out, "id", id, sizeof id);
    snprintf(path, sizeof path, "%s/jane.key", bed.dir);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "key new --no-passphrase -o %s", path), 0);
    /* never over a file */
    assert_int_equal(testbed_cli(&bed, &out, &errors, "key new --no-passphrase -o %s", path), 1);
    assert_non_null(strstr(said(), "not overwritten"));
    assert_int_equal(testbed_cli(&bed, &out, &errors, "key public %s", path), 0);
    write_file("jane.pub", buffer_bytes(&out));
    as("jane", 4, "no such user or key", "whoami"); /* not yet */
    as("registrar", 0, NULL, "user key jane %s/jane.pub", bed.dir);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "key assign %s --user x", path), 2);
    assert_int_equal(testbed_cli(&bed, &out, &errors, "key assign %s --user %s", path, id), 0);
    as("jane", 0, NULL, "--json whoami");
    json_is("id", id);
    as("jane", 0, NULL, "--json whoami --offline");
    json_is("user", id);
    as("doctor", 3, NULL, "user key jane %s/jane.pub --revoke", bed.dir);
    as("registrar", 0, NULL, "user key jane %s/jane.pub --revoke", bed.dir);
    as("jane", 3, "the key is revoked", "whoami");
    as("registrar", 7, "or was revoked", "user key jane %s/jane.pub", bed.dir); /* it does not come back */
    as("registrar", 7, NULL, "user key slip %s/jane.pub", bed.dir); /* a key is one person's for ever */
}

static void the_policy_in_force_is_shown(void **state)
{
    (void)state;
    as("nurse", 0, "[role nurse]", "policy show");
    struct buffer first = out;
    out = (struct buffer){0};
    as("nurse", 0, NULL, "--via node-2 policy show");
    assert_string_equal((const char *)first.data, (const char *)out.data);
    write_file("policy.conf", buffer_bytes(&out));
    buffer_free(&first);
    as("nurse", 0, NULL, "--json policy show");
    json_is("index", "0");
    assert_true(shows("[role nurse]"));
}

/* The policy of now with a line more, or another text, into DIR/changed.conf. */
static void change_policy(const char *section, const char *line)
{
    as("nurse", 0, NULL, "policy show");
    struct buffer text = {0};
    const char *all = (const char *)out.data, *at = strstr(all, section);
    assert_non_null(at);
    at += strlen(section);
    buffer_append(&text, all, (size_t)(at - all));
    buffer_append_text(&text, line);
    buffer_append_text(&text, at);
    write_file("changed.conf", buffer_bytes(&text));
    buffer_free(&text);
}

static void another_policy_holds_at_once_everywhere(void **state)
{
    (void)state;
    as("nurse", 3, NULL, "team add %s nurse", patient);
    change_policy("[role nurse]\n", "team.assign = hospital\n");
    as("registrar", 3, NULL, "policy set %s/changed.conf", bed.dir);
    as("root", 0, NULL, "policy set %s/changed.conf", bed.dir);
    as("nurse", 0, NULL, "--via node-3 team add %s nurse", patient);
    as("doctor", 0, "team.assign = hospital", "--via node-2 policy show");
    as("root", 0, NULL, "policy set %s/policy.conf", bed.dir);
    as("nurse", 3, NULL, "team remove %s nurse", patient);
}

/* A slip is told by file and line, and nobody can lock the cluster's first administrators out. */
static void a_policy_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    change_policy("[role nurse]\n", "record.raed = team N\n");
    as("root", 1, "record.raed", "policy set %s/changed.conf", bed.dir);
    assert_non_null(strstr(said(), "changed.conf"));
    write_file("changed.conf", bytes_text("[role doctor]\nrecord.read = team V\n"));
    as("root", 1, "root", "policy set %s/changed.conf", bed.dir);
    as("root", 1, NULL, "policy set %s/nowhere.conf", bed.dir);
    as("nurse", 0, NULL, "policy show");
    as("nurse", 3, NULL, "team remove %s nurse", patient); /* as before */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_is_found_and_changed),
        cmocka_unit_test(a_search_finds_who_may_be_seen),
        cmocka_unit_test(slips_change_nothing),
        cmocka_unit_test(a_role_is_changed_by_those_who_may_give_it),
        cmocka_unit_test(who_is_disabled_can_do_nothing),
        cmocka_unit_test(a_patient_gets_a_key_and_loses_it),
        cmocka_unit_test(the_policy_in_force_is_shown),
        cmocka_unit_test(another_policy_holds_at_once_everywhere),
        cmocka_unit_test(a_policy_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, bed_end);
}
