/* Flags over environment over file; files that are wrong. */
#include "cli/settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "cli/commands.h"
#include "tests/lib/folder.h"
#include "tests/lib/unit.h"

static char folder[FOLDER_PATH], path[FOLDER_PATH];
static struct settings settings;
static struct failure failure;
static const char *variables[8]; /* name, value, ... */

static const char *environment(const char *name)
{
    for (int i = 0; i < 8 && variables[i]; i += 2)
        if (strcmp(variables[i], name) == 0) return variables[i + 1];
    return NULL;
}

static enum err load(const char *file_text, const char *option)
{
    struct command_line line;
    const char *argv[] = {"consilium", "status", option};
    assert_int_equal(
        command_line_parse(&line, COMMANDS, COMMON_OPTIONS, option ? 3 : 2, (char **)(uintptr_t)argv, &failure), OK);
    if (file_text) folder_store(folder, "config", bytes_text(file_text));
    failure = (struct failure){0};
    enum err e = settings_load(&settings, &line, environment, file_text ? path : "/proc/nonexistent/config", &failure);
    command_line_free(&line);
    return e;
}

static void test_precedence(void **state)
{
    (void)state;
    assert_int_equal(load("# comment\nvia = file\n", NULL), OK);
    assert_string_equal(settings.values[SETTING_VIA], "file");
    assert_string_equal(settings.origins[SETTING_VIA], "the configuration file");
    settings_free(&settings);
    variables[0] = "CONSILIUM_VIA", variables[1] = "environment";
    assert_int_equal(load("via = file\n", NULL), OK);
    assert_string_equal(settings.values[SETTING_VIA], "environment");
    settings_free(&settings);
    assert_int_equal(load("via = file\n", "--via=flag"), OK);
    assert_string_equal(settings.values[SETTING_VIA], "flag");
    assert_string_equal(settings.origins[SETTING_VIA], "--via");
    settings_free(&settings);
    variables[1] = ""; /* set, but empty: not set */
    assert_int_equal(load("via = file\n", NULL), OK);
    assert_string_equal(settings.values[SETTING_VIA], "file");
    settings_free(&settings);
    variables[0] = NULL;
    assert_int_equal(load(NULL, NULL), OK); /* no file is no error */
    assert_null(settings.values[SETTING_VIA]);
    settings_free(&settings);
}

static void test_paths_of_the_file(void **state)
{
    (void)state;
    char expected[FOLDER_PATH];
    assert_int_equal(load("cluster = north.genesis\nidentity=/keys/me.key\n", NULL), OK);
    folder_join(expected, folder, "north.genesis");
    assert_string_equal(settings.values[SETTING_CLUSTER], expected);
    assert_string_equal(settings.values[SETTING_IDENTITY], "/keys/me.key");
    settings_free(&settings);
    setenv("HOME", "/home/me", 1);
    assert_int_equal(load("cluster = ~/north.genesis\n", NULL), OK);
    assert_string_equal(settings.values[SETTING_CLUSTER], "/home/me/north.genesis");
    settings_free(&settings);
    /* A flag's path is the shell's: as it is. */
    assert_int_equal(load("cluster = x\n", "--cluster=y"), OK);
    assert_string_equal(settings.values[SETTING_CLUSTER], "y");
    settings_free(&settings);
}

static void assert_wrong(const char *text, const char *says)
{
    assert_int_not_equal(load(text, NULL), OK);
    if (!strstr(failure.text, says)) fail_msg("'%s' does not say '%s'", failure.text, says);
}

static void test_wrong_files(void **state)
{
    (void)state;
    assert_wrong("via = a\nclutser = x\n", "line 2: no setting 'clutser'; did you mean 'cluster'");
    assert_wrong("nonsense\n", "line 1: expected 'name = value'");
    assert_wrong("[section]\nvia = a\n", "line 2");
    assert_wrong("timeout = soon\n", "whole seconds");
    assert_wrong("timeout = 0\n", "whole seconds");
    assert_wrong("timeout = 3601\n", "whole seconds");
    assert_wrong("timeout = -5\n", "whole seconds");
}

static void test_timeout(void **state)
{
    (void)state;
    assert_int_equal(load(NULL, NULL), OK);
    assert_int_equal(settings_timeout_ms(&settings), LIMIT_REQUEST_MS);
    settings_free(&settings);
    assert_int_equal(load(NULL, "--timeout=3"), OK);
    assert_int_equal(settings_timeout_ms(&settings), 3000);
    settings_free(&settings);
}

int main(void)
{
    folder_make(folder, 1);
    folder_join(path, folder, "config");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_paths_of_the_file),
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_timeout),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove(folder);
    return failed;
}
