#include "base/error.h"
#include "tests/lib/unit.h"

static const struct {
    enum err code;
    const char *name;
} all[] = {
#define X(name, number, text, hint) {name, #name},
    ERROR_LIST(X)
#undef X
};

/* Numbers travel to clients: each once, each with a name and texts. */
static void test_list(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_string_equal(err_name(all[i].code), all[i].name);
        assert_true(strlen(err_text(all[i].code)) > 0);
        assert_true(all[i].code == OK || strlen(err_hint(all[i].code)) > 0);
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(all[i].code, all[j].code);
    }
}

static void test_stable_numbers(void **state)
{
    (void)state;
    assert_int_equal(OK, 0);
    assert_int_equal(ERR_INVALID, 5);
    assert_int_equal(ERR_NOT_CANONICAL, 23);
    assert_int_equal(ERR_BAD_SIGNATURE, 40);
    assert_int_equal(ERR_NO_QUORUM, 60);
    assert_int_equal(ERR_DECRYPT, 80);
    assert_int_equal(ERR_CHAIN, 100);
}

static void test_unknown(void **state)
{
    static const int none[] = {-1, 99999, 39};
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_string_equal(err_name((enum err)none[i]), "ERR_UNKNOWN");
        assert_non_null(err_text((enum err)none[i]));
        assert_non_null(err_hint((enum err)none[i]));
    }
}

static void test_fail(void **state)
{
    struct failure f;
    char text[1000];
    (void)state;
    assert_int_equal(fail(&f, ERR_IO, "cannot read %s: %d", "x", 5), ERR_IO);
    assert_int_equal(f.code, ERR_IO);
    assert_string_equal(f.text, "cannot read x: 5");
    assert_int_equal(fail(NULL, ERR_FULL, "%s", "nobody listens"), ERR_FULL);
    memset(text, 'z', sizeof text);
    text[sizeof f.text - 1] = '\0'; /* just fits */
    fail(&f, ERR_IO, "%s", text);
    assert_string_equal(f.text, text);
    text[sizeof f.text - 1] = 'z';
    text[sizeof f.text] = '\0'; /* one too many */
    fail(&f, ERR_IO, "%s", text);
    assert_int_equal(strlen(f.text), sizeof f.text - 1);
    assert_string_equal(f.text + sizeof f.text - 5, "z...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_stable_numbers),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
