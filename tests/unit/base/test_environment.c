/* Mistyped variables of the environment. */
#include "base/environment.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/unit.h"

static char told[400];

/* Appends "NAME:NEAREST ". */
static void tell(void *data, const char *name, const char *text)
{
    static const char *const asked = "did you mean ";
    assert_ptr_equal(data, told);
    assert_memory_equal(text, name, strlen(name));
    const char *near = strstr(text, asked);
    size_t n = strlen(told);
    near = near ? near + strlen(asked) : "";
    snprintf(told + n, sizeof told - n, "%s:%.*s ", name, (int)strcspn(near, "?"), near);
}

#define CHECKED(prefix, ...)                                                                       \
    (told[0] = '\0', environment_check((char *[]){__VA_ARGS__, NULL}, prefix, names, 3, tell, told), told)

static void test_mistyped(void **state)
{
    (void)state;
    static const char *const names[] = {"CLUSTER", "VIA", "PASSPHRASE_FILE"};
    const char *own = "CONSILIUM_";
    assert_string_equal(CHECKED(own, "HOME=/", "CONSILIUM_CLUSTER=x", "CONSILIUM_VIA="), "");
    assert_string_equal(CHECKED(own, "CONSILIUM_CLUSTERS=a=b"), "CONSILIUM_CLUSTERS:CONSILIUM_CLUSTER ");
    assert_string_equal(CHECKED(own, "CONSILIUMCLUSTER=x", "CONSILIUM_vai=x"),
                        "CONSILIUMCLUSTER:CONSILIUM_CLUSTER CONSILIUM_vai:CONSILIUM_VIA ");
    assert_string_equal(CHECKED(own, "CONSILIUM_via=x"), "CONSILIUM_via:CONSILIUM_VIA "); /* names have a case */
    assert_string_equal(CHECKED(own, "CONSILIUM_KEY=x", "CONSILIUM_=x"), "CONSILIUM_KEY: CONSILIUM_: ");
}

/* What is another program's is told only where it is a slip for sure. */
static void test_of_the_other_program(void **state)
{
    (void)state;
    static const char *const names[] = {"LISTEN", "WORKERS", "LOG_LEVEL"};
    const char *own = "CONSILIUMD_";
    assert_string_equal(CHECKED(own, "CONSILIUM_CLUSTER=x", "CONSILIUM_VIA=x", "CONSILIUM=x", "CONSILIUMD=x"), "");
    assert_string_equal(CHECKED(own, "CONSILIUM_LISTEN=x"), "CONSILIUM_LISTEN:CONSILIUMD_LISTEN ");
    assert_string_equal(CHECKED(own, "CONSILIUMD_LOGLEVEL=x", "CONSILIUMD_FROBNICATE=x"),
                        "CONSILIUMD_LOGLEVEL:CONSILIUMD_LOG_LEVEL CONSILIUMD_FROBNICATE: ");
    assert_string_equal(CHECKED("CONSILIUM_", "CONSILIUMD_LISTEN=x"), "CONSILIUMD_LISTEN:CONSILIUM_LISTEN ");
    assert_string_equal(CHECKED("CONSILIUM_", "CONSILIUMD_MAP_GIB=x"), "");
}

static void test_long_names(void **state)
{
    (void)state;
    static const char *const names[] = {"LISTEN", "WORKERS", "LOG_LEVEL"};
    char variable[1000];
    memset(variable, 'X', sizeof variable);
    memcpy(variable, "CONSILIUMD_", 11);
    memcpy(variable + sizeof variable - 3, "=y", 3);
    assert_int_equal(strlen(CHECKED("CONSILIUMD_", variable)), ENVIRONMENT_NAME - 1 + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistyped),
        cmocka_unit_test(test_of_the_other_program),
        cmocka_unit_test(test_long_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
