/* The node's settings: what is taken, what is refused and how that reads, and which source wins. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/config.h"
#include "storage/files.h"
#include "tests/lib/folder.h"
#include "tests/lib/unit.h"

static char path[FOLDER_PATH];

static const char *file_with(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return path;
}

static enum err take(struct config *c, const char *first, const char *second, int *used, struct failure *failure)
{
    char *args[] = {(char *)first, (char *)second, NULL};
    return config_take_argument(c, second ? 2 : 1, args, used, failure);
}

static void test_defaults(void **state)
{
    (void)state;
    struct config c;
    config_defaults(&c);
    assert_string_equal(c.listen.text, "");
    assert_string_equal(c.log_format.text, "text");
    assert_int_equal(config_log_level(&c), LOG_INFO);
    assert_true(c.bind_source.flag);
    assert_int_equal(c.connections.number, 12288);
    assert_int_equal(c.idle_seconds.number, 300);
    assert_int_equal(c.map_gib.number, 1024);
    assert_int_equal(c.workers.number, 0);
    assert_int_equal(config_check(&c, NULL), OK);
}

static void test_forms_of_an_argument(void **state)
{
    (void)state;
    struct config c;
    struct failure f = {0};
    int used;
    config_defaults(&c);
    assert_int_equal(take(&c, "--workers", "7", &used, &f), OK);
    assert_int_equal(used, 2);
    assert_int_equal(c.workers.number, 7);
    assert_int_equal(take(&c, "--workers=8", NULL, &used, &f), OK);
    assert_int_equal(used, 1);
    assert_int_equal(c.workers.number, 8);
    assert_int_equal(take(&c, "--listen=[::1]:7401", "x", &used, &f), OK);
    assert_int_equal(used, 1);
    assert_string_equal(c.listen.text, "[::1]:7401");
    assert_int_equal(take(&c, "--listen=", NULL, &used, &f), OK);
    assert_string_equal(c.listen.text, "");
    /* A value may look like an option: only the place says what it is. */
    assert_int_equal(take(&c, "--listen", "--workers", &used, &f), OK);
    assert_string_equal(c.listen.text, "--workers");
}

static void test_what_is_no_setting(void **state)
{
    (void)state;
    static const char *const words[] = {"--worker", "--workerss", "--", "-workers", "workers", "--dir", "", "--=3"};
    struct config c, before;
    config_defaults(&c);
    before = c;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        int used = 9;
        assert_int_equal(take(&c, words[i], "3", &used, NULL), OK);
        assert_int_equal(used, 0);
    }
    assert_memory_equal(&c, &before, sizeof c);
    struct failure f = {0};
    int used;
    assert_int_equal(take(&c, "--workers", NULL, &used, &f), ERR_USAGE);
    assert_string_equal(f.text, "--workers needs a value");
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    " ",   "x",  "3x", "3 ", " 3", "+3", "-3", "-1", " -18446744073709551613",
                                      "0x3", "3.0", "129", "18446744073709551616", "99999999999999999999999"};
    struct config c;
    config_defaults(&c);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct failure f = {0};
        int used;
        assert_int_equal(take(&c, "--workers", bad[i], &used, &f), ERR_INVALID);
        assert_non_null(strstr(f.text, "command line: workers"));
        assert_non_null(strstr(f.text, "0 to 128"));
        assert_int_equal(c.workers.number, 0);
    }
    int used;
    assert_int_equal(take(&c, "--workers", "128", &used, NULL), OK);
    assert_int_equal(take(&c, "--idle-seconds", "5", &used, NULL), OK);
    assert_int_equal(take(&c, "--idle-seconds", "4", &used, NULL), ERR_INVALID);
    assert_int_equal(take(&c, "--idle-seconds", "86400", &used, NULL), OK);
    assert_int_equal(take(&c, "--idle-seconds", "86401", &used, NULL), ERR_INVALID);
    assert_int_equal(c.idle_seconds.number, 86400);
}

static void test_flags_and_texts(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "true", "YES", "1", "yes ", "y"};
    struct config c;
    int used;
    config_defaults(&c);
    assert_int_equal(take(&c, "--bind-source", "no", &used, NULL), OK);
    assert_false(c.bind_source.flag);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(take(&c, "--bind-source", bad[i], &used, NULL), ERR_INVALID);
    assert_false(c.bind_source.flag);
    char text[SETTING_TEXT_SIZE + 1];
    memset(text, 'a', sizeof text);
    text[SETTING_TEXT_SIZE] = '\0'; /* one too long */
    assert_int_equal(take(&c, "--listen", text, &used, NULL), ERR_INVALID);
    text[SETTING_TEXT_SIZE - 1] = '\0';
    assert_int_equal(take(&c, "--listen", text, &used, NULL), OK);
    assert_string_equal(c.listen.text, text);
}

static void test_vocabularies(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {{"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"notice", LOG_NOTICE}, {"warning", LOG_WARNING},
                  {"error", LOG_ERROR}};
    struct config c;
    struct failure f = {0};
    config_defaults(&c);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        strcpy(c.log_level.text, levels[i].name);
        assert_int_equal(config_check(&c, NULL), OK);
        assert_int_equal(config_log_level(&c), levels[i].level);
    }
    strcpy(c.log_level.text, "Info");
    assert_int_equal(config_check(&c, &f), ERR_INVALID);
    assert_non_null(strstr(f.text, "log-level = \"Info\""));
    strcpy(c.log_level.text, "info");
    strcpy(c.log_format.text, "xml");
    assert_int_equal(config_check(&c, &f), ERR_INVALID);
    assert_non_null(strstr(f.text, "log-format = \"xml\""));
    strcpy(c.log_format.text, "json");
    assert_int_equal(config_check(&c, NULL), OK);
}

static void test_a_file(void **state)
{
    (void)state;
    struct config c;
    config_defaults(&c);
    assert_int_equal(config_read_file(&c, file_with("# a comment\n; another\n\n  \nlisten = 127.0.0.1:7401\n"
                                                    "workers=3\r\nbind-source =no\nlog-level=   debug   \n"), NULL),
                                                    OK);
    assert_string_equal(c.listen.text, "127.0.0.1:7401");
    assert_int_equal(c.workers.number, 3);
    assert_false(c.bind_source.flag);
    assert_int_equal(config_log_level(&c), LOG_DEBUG);
    assert_int_equal(config_read_file(&c, file_with(""), NULL), OK);
    assert_int_equal(c.workers.number, 3);
}

/* A long path is taken whole or refused, never cut. */
static void test_a_long_line(void **state)
{
    (void)state;
    for (size_t length = 150; length < SETTING_TEXT_SIZE; length += 11) {
        char text[SETTING_TEXT_SIZE + 64], value[SETTING_TEXT_SIZE];
        memset(value, 'k', length);
        value[0] = '/';
        value[length] = '\0';
        snprintf(text, sizeof text, "workers = 2\nstorage-key-file = %s\n", value);
        struct config c;
        config_defaults(&c);
        enum err e = config_read_file(&c, file_with(text), NULL);
        assert_int_equal(e, length < 180 ? OK : length > 198 ? ERR_SYNTAX : e);
        assert_string_equal(c.storage_key_file.text, e == OK ? value : "");
    }
}

static void test_bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
        enum err code;
    } cases[] = {
        {"workers = 3\nwurkers = 4\n", "\"wurkers\"", ERR_SYNTAX},
        {"workers = 3\nlisten\n", ":2:", ERR_SYNTAX},
        {"[node]\nworkers = 3\n", "[node]", ERR_SYNTAX},
        {"listen = 127.0.0.1:1\nworkers = many\nhttp = yes\n", ":2: workers = \"many\" is not a number from 0 to 128",
         ERR_INVALID},
        {"listen = 127.0.0.1:1\nbind-source = maybe\n", "yes or no", ERR_INVALID},
        {"workers = 3\nhttp = no\nworkers = 4\n", ":3: workers has a value already", ERR_SYNTAX},
        {"alert-mail-to = a@b,\n    c@d\n", ":2: alert-mail-to has a value already", ERR_SYNTAX},
        /* What the log can't hold (base/limits.h) is said here, not when it is full. */
        {"\nlog-keep-mib = 513\nworkers = 3\n", ":2: log-keep-mib = \"513\" is not a number from 32 to 512",
         ERR_INVALID},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config c, before;
        struct failure f = {0};
        config_defaults(&c);
        before = c;
        assert_int_equal(config_read_file(&c, file_with(cases[i].text), &f), cases[i].code);
        assert_non_null(strstr(f.text, cases[i].says));
        assert_non_null(strstr(f.text, path));
        assert_memory_equal(&c, &before, sizeof c); /* also not by the lines before the wrong one */
    }
    struct config c;
    struct failure f = {0};
    config_defaults(&c);
    unlink(path);
    assert_int_equal(config_read_file(&c, path, &f), ERR_NOT_FOUND);
    assert_non_null(strstr(f.text, path));
    /* A folder is no file without settings. */
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(config_read_file(&c, path, &f), ERR_IS_FOLDER);
    assert_non_null(strstr(f.text, path));
    assert_int_equal(rmdir(path), 0);
    /* Nor are there only those before a byte that ends a text. */
    static const char cut[] = "workers = 3\n\0http = no\n";
    assert_int_equal(files_write(path, bytes_of(cut, sizeof cut - 1), 0600, NULL, NULL), OK);
    assert_int_equal(config_read_file(&c, path, &f), ERR_SYNTAX);
    assert_non_null(strstr(f.text, "not a text file"));
}

static void test_environment(void **state)
{
    (void)state;
    struct config c;
    struct failure f = {0};
    config_defaults(&c);
    setenv("CONSILIUMD_LOG_KEEP_MIB", "64", 1);
    setenv("CONSILIUMD_LOG_FORMAT", "json", 1);
    setenv("CONSILIUMD_UNKNOWN", "x", 1); /* another program's business */
    assert_int_equal(config_read_environment(&c, NULL), OK);
    assert_int_equal(c.log_keep_mib.number, 64);
    assert_string_equal(c.log_format.text, "json");
    setenv("CONSILIUMD_WORKERS", "", 1);
    assert_int_equal(config_read_environment(&c, &f), ERR_INVALID);
    assert_non_null(strstr(f.text, "CONSILIUMD_WORKERS"));
    unsetenv("CONSILIUMD_WORKERS");
    unsetenv("CONSILIUMD_UNKNOWN");
    unsetenv("CONSILIUMD_LOG_FORMAT");
    unsetenv("CONSILIUMD_LOG_KEEP_MIB");
}

/* In the order that the daemon reads them: file, environment, command line. */
static void test_which_wins(void **state)
{
    (void)state;
    struct config c;
    int used;
    config_defaults(&c);
    assert_int_equal(config_read_file(&c, file_with("workers = 2\nfree-mib = 20\nmap-gib = 30\n"), NULL), OK);
    setenv("CONSILIUMD_WORKERS", "3", 1);
    setenv("CONSILIUMD_FREE_MIB", "21", 1);
    assert_int_equal(config_read_environment(&c, NULL), OK);
    assert_int_equal(take(&c, "--workers=4", NULL, &used, NULL), OK);
    unsetenv("CONSILIUMD_WORKERS");
    unsetenv("CONSILIUMD_FREE_MIB");
    assert_int_equal(c.workers.number, 4);
    assert_int_equal(c.free_mib.number, 21);
    assert_int_equal(c.map_gib.number, 30);
    assert_int_equal(c.connections.number, 12288);
}

/* The sample is read as it stands, and says of every setting what the default is. */
static void test_the_sample(void **state)
{
    (void)state;
    struct config sample, defaults;
    config_defaults(&sample);
    config_defaults(&defaults);
    assert_int_equal(config_read_file(&sample, "configs/consiliumd.conf", NULL), OK);
    assert_string_equal(sample.listen.text, "127.0.0.1:7401");
    memset(&sample.listen, 0, sizeof sample.listen);
    assert_memory_equal(&sample, &defaults, sizeof sample);
    char text[8192] = "";
    FILE *f = fopen("configs/consiliumd.conf", "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
#define X(field, name, kind, word, def, least, most, what)                                         \
    assert_non_null(strstr(text, "\n" name " =") ? text : strstr(text, "\n#" name " ="));
    SETTING_LIST(X)
#undef X
}

int main(void)
{
    char folder[FOLDER_PATH];
    folder_make(folder, 1);
    folder_join(path, folder, "consiliumd.conf");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_forms_of_an_argument),
        cmocka_unit_test(test_numbers),      cmocka_unit_test(test_what_is_no_setting),
        cmocka_unit_test(test_vocabularies), cmocka_unit_test(test_flags_and_texts),
        cmocka_unit_test(test_a_file),       cmocka_unit_test(test_a_long_line),
        cmocka_unit_test(test_bad_files),    cmocka_unit_test(test_environment),
        cmocka_unit_test(test_which_wins),   cmocka_unit_test(test_the_sample),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    folder_remove(folder);
    return failed;
}
