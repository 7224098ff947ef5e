/* The command line: finding the command, options in every form, suggestions. */
#include "cli/command_line.h"

#include <limits.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/settings.h"
#include "tests/lib/dies.h"
#include "tests/lib/unit.h"

static const struct option_row common[] = {{.name = "json", .help = "j"},
                                           {.name = "cluster", .value = "FILE", .help = "c"},
                                           {.name = "help", .letter = 'h', .help = "h"},
                                           {.name = "version", .help = "v"},
                                           {0}};

static const struct command commands[] = {
    {.name = "status", .operands = "", .summary = "s", .example = "status"},
    {.name = "genesis", .operands = "", .summary = "s", .example = "genesis",
     .options = {{.name = "member", .value = "FILE", .help = "m", .repeated = true}}},
    {.name = "genesis show", .operands = "[FILE]", .most = 1, .summary = "s", .example = "genesis show"},
    {.name = "user add", .operands = "", .summary = "s", .example = "user add",
     .options = {{.name = "role", .letter = 'r', .value = "ROLE", .help = "r", .required = true}}},
    {.name = "user show", .operands = "USER", .least = 1, .most = 1, .summary = "s", .example = "user show x",
     .options = {{.name = "version", .value = "N", .help = "a version"}}},
    {.name = "import", .operands = "FILE...", .least = 1, .most = UINT_MAX, .summary = "s", .example = "import x"},
    {0}};

static struct failure failure;
static struct command_line line;

static enum err parse(int argc, const char *const *argv)
{
    failure = (struct failure){0};
    return command_line_parse(&line, commands, common, argc, (char **)(uintptr_t)argv, &failure);
}
#define PARSE(...)                                                                                 \
    parse((int)(sizeof(const char *[]){"consilium", __VA_ARGS__} / sizeof(char *)),                \
          (const char *[]){"consilium", __VA_ARGS__})

static void assert_says(const char *text)
{
    if (!strstr(failure.text, text)) fail_msg("'%s' does not say '%s'", failure.text, text);
}

static void test_finds_commands(void **state)
{
    (void)state;
    assert_int_equal(PARSE("status"), OK);
    assert_string_equal(line.command->name, "status");
    assert_int_equal(line.operand_count, 0);
    command_line_free(&line);
    assert_int_equal(PARSE("user", "show", "house"), OK);
    assert_string_equal(line.command->name, "user show");
    assert_string_equal(line.operands[0], "house");
    command_line_free(&line);
    assert_int_equal(PARSE("genesis", "--member", "a", "--member=b"), OK);
    assert_string_equal(line.command->name, "genesis");
    command_line_free(&line);
    assert_int_equal(PARSE("genesis", "show", "f"), OK);
    assert_string_equal(line.command->name, "genesis show");
    command_line_free(&line);
    assert_int_equal(parse(1, (const char *[]){"consilium"}), OK);
    assert_null(line.command);
    command_line_free(&line);
}

static void test_options_in_every_form(void **state)
{
    (void)state;
    static const char *const forms[][6] = {{"user", "add", "--role", "doctor"}, {"user", "add", "--role=doctor"},
                                           {"user", "add", "-r", "doctor"},     {"user", "add", "-rdoctor"},
                                           {"--json", "user", "add", "-r", "doctor"},
                                           {"--cluster", "user", "user", "add", "--role=doctor"},
                                           {"-r", "doctor", "user", "add"},     {"--role", "doctor", "user", "add"},
                                           {"user", "--role", "doctor", "add"}, {"--role=doctor", "user", "add"}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const char *argv[8] = {"consilium"};
        int argc = 1;
        for (; argc < 7 && forms[i][argc - 1]; argc++)
            argv[argc] = forms[i][argc - 1];
        assert_int_equal(parse(argc, argv), OK);
        assert_string_equal(line.command->name, "user add");
        assert_string_equal(option_text(&line, "role"), "doctor");
        assert_true(option_given(&line, "json") == (i == 4));
        command_line_free(&line);
    }
}

static void test_values_that_look_like_something_else(void **state)
{
    (void)state;
    assert_int_equal(PARSE("user", "add", "--role", "status", "--cluster=--json"), OK);
    assert_string_equal(option_text(&line, "role"), "status");
    assert_string_equal(option_text(&line, "cluster"), "--json");
    assert_false(option_given(&line, "json"));
    command_line_free(&line);
    assert_int_equal(PARSE("import", "-", "--", "--json", "-x"), OK);
    assert_int_equal(line.operand_count, 3);
    assert_string_equal(line.operands[0], "-");
    assert_string_equal(line.operands[2], "-x");
    assert_false(option_given(&line, "json"));
    command_line_free(&line);
    /* A command's own --version N is not the program's. */
    assert_int_equal(PARSE("user", "show", "x", "--version", "3"), OK);
    assert_false(line.version);
    assert_string_equal(option_text(&line, "version"), "3");
    command_line_free(&line);
    assert_int_equal(PARSE("--version"), OK);
    assert_true(line.version);
    command_line_free(&line);
}

static void test_repeated(void **state)
{
    (void)state;
    size_t at = 0;
    assert_int_equal(PARSE("genesis", "--member", "a", "--json", "--member=b", "--member", "c"), OK);
    assert_string_equal(option_next(&line, "member", &at), "a");
    assert_string_equal(option_next(&line, "member", &at), "b");
    assert_string_equal(option_next(&line, "member", &at), "c");
    assert_null(option_next(&line, "member", &at));
    command_line_free(&line);
    assert_int_equal(PARSE("status", "--json", "--json"), ERR_USAGE);
    assert_says("twice");
    command_line_free(&line);
}

static void test_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *words[5], *says;
    } cases[] = {
        {{"staus"}, "did you mean 'status'"},
        {{"--clustr", "x", "status"}, "did you mean '--cluster'"},
        {{"--json", "--clustr", "x"}, "did you mean '--cluster'"},
        {{"-z", "x", "status"}, "no option '-z'"},
        {{"genesis", "--malicious", "1"}, "no option '--malicious'"},
        {{"genesis", "--membr", "f"}, "did you mean '--member'"},
        {{"user", "--clustr", "x", "add"}, "did you mean '--cluster'"},
        {{"genesis", "--member", "f", "shwo"}, "did you mean 'genesis show'"},
        {{"genesis", "shwo", "--frobnicate"}, "did you mean 'genesis show'"},
        {{"genesis", "--", "--malicious", "1"}, "no command 'genesis --malicious'"},
        {{"usr", "add"}, "did you mean 'user'"},
        {{"user", "shwo"}, "did you mean 'user show'"},
        {{"user", "frobnicate"}, "no command 'user frobnicate'"},
        {{"xyzzyxyzzy"}, "there is no command"},
        {{"status", "--jsno"}, "did you mean '--json'"},
        {{"user", "add", "--rle", "x"}, "did you mean '--role'"},
        {{"status", "--frobnicate"}, "no option '--frobnicate'"},
        {{"status", "-z"}, "no option '-z'"},
        {{"status", "--json=1"}, "takes no value"},
        {{"status", "--cluster"}, "needs a value"},
        {{"status", "--role", "x"}, "'status' has no option '--role': it belongs to 'user add'"},
        {{"user", "show", "x", "-rdoctor"}, "'user show' has no option '-r': it belongs to 'user add'"},
        {{"-r", "x", "user", "show", "y"}, "'user show' has no option '-r'"},
        {{"--role", "x", "statsu"}, "did you mean 'status'"},
        {{"user", "--role", "x"}, "'--role' needs a command that it belongs to: 'user add'"},
        {{"user", "add"}, "needs --role"},
        {{"user", "show"}, "needs USER"},
        {{"user", "show", "a", "b"}, "'b' follows"},
        {{"status", "x"}, "takes no operands"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *argv[8] = {"consilium"};
        int argc = 1;
        for (; argc < 6 && cases[i].words[argc - 1]; argc++)
            argv[argc] = cases[i].words[argc - 1];
        assert_int_equal(parse(argc, argv), ERR_USAGE);
        assert_says(cases[i].says);
        command_line_free(&line);
    }
}

static void test_help(void **state)
{
    (void)state;
    assert_int_equal(PARSE("user", "add", "--help"), OK); /* though --role is missing */
    assert_true(line.help);
    assert_string_equal(line.command->name, "user add");
    command_line_free(&line);
    assert_int_equal(PARSE("help", "user", "add"), OK);
    assert_true(line.help);
    assert_string_equal(line.command->name, "user add");
    command_line_free(&line);
    assert_int_equal(PARSE("user", "-h"), OK);
    assert_true(line.help);
    assert_null(line.command);
    assert_string_equal(line.topic, "user");
    command_line_free(&line);
}

static void test_numbers(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "1x", "-1", "+1", " 1", "0", "11", "99999999999999999999", "0x5", "1.0"};
    uint64_t n = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *argv[] = {"consilium", "user", "show", "x", "--version", bad[i]};
        assert_int_equal(parse(6, argv), OK);
        assert_int_equal(option_number(&n, &line, "version", 7, 1, 10, &failure), ERR_USAGE);
        command_line_free(&line);
    }
    assert_int_equal(PARSE("user", "show", "x", "--version", "10"), OK);
    assert_int_equal(option_number(&n, &line, "version", 7, 1, 10, &failure), OK);
    assert_int_equal(n, 10);
    command_line_free(&line);
    assert_int_equal(PARSE("user", "show", "x"), OK);
    assert_int_equal(option_number(&n, &line, "version", 7, 1, 10, &failure), OK);
    assert_int_equal(n, 7);
    command_line_free(&line);
}

/* The real table: each command has what its help needs, and its examples parse. */
static void test_real_commands(void **state)
{
    (void)state;
    for (const struct command *c = COMMANDS; c->name; c++) {
        assert_non_null(c->run);
        assert_non_null(c->summary);
        assert_non_null(c->example);
        assert_true(c->most >= c->least);
        for (const struct option_row *o = c->options; o->name; o++) {
            assert_non_null(o->help);
            assert_true(o - c->options < OPTIONS_MAX - 1);
        }
        /* Each line of the example, split at spaces outside quotes, names this command. */
        char text[600];
        snprintf(text, sizeof text, "%s", c->example);
        for (char *at = text, *next; at && *at; at = next) {
            next = strchr(at, '\n');
            if (next) *next++ = '\0';
            char *argv[40] = {(char *)(uintptr_t)"consilium"};
            int argc = 1;
            bool quoted = false;
            char *word = at;
            for (char *p = at;; p++) {
                if (*p == '"') quoted = !quoted;
                if (*p && (*p != ' ' || quoted)) continue;
                bool last = *p == '\0';
                *p = '\0';
                if (*word == '>') break; /* the shell's */
                argv[argc++] = word;
                word = p + 1;
                if (last) break;
            }
            enum err e = command_line_parse(&line, COMMANDS, COMMON_OPTIONS, argc, argv, &failure);
            if (e != OK) fail_msg("%s: %s", c->name, failure.text);
            assert_string_equal(line.command->name, c->name);
            command_line_free(&line);
        }
    }
}

/* Before the command is known, an option is taken for any command's: so those of one name must be alike. */
static void test_real_options_agree(void **state)
{
    (void)state;
    for (const struct command *c = COMMANDS; c->name; c++)
        for (const struct command *d = COMMANDS; d < c; d++)
            for (const struct option_row *o = c->options; o->name; o++)
                for (const struct option_row *p = d->options; p->name; p++)
                    if (strcmp(o->name, p->name) == 0 || (o->letter && o->letter == p->letter))
                        assert_true(!o->value == !p->value);
}

static void test_where_a_real_option_belongs(void **state)
{
    (void)state;
    static const char *const cases[][5] = {
        {"status", "--all", NULL, NULL, "it belongs to 'log', 'verify' and 'alarm list'"},
        {"whoami", "--confidentiality", "R", NULL,
         "it belongs to 'record create', 'record update' and 'record copy'"},
        {"key", "new", "--purpose", "TREAT", "it belongs to 'user add', 'user show', 'user search' and "}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *argv[5] = {"consilium"};
        int argc = 1;
        for (; argc < 5 && cases[i][argc - 1]; argc++)
            argv[argc] = cases[i][argc - 1];
        assert_int_equal(command_line_parse(&line, COMMANDS, COMMON_OPTIONS, argc, (char **)(uintptr_t)argv, &failure),
                         ERR_USAGE);
        assert_says(cases[i][4]);
        command_line_free(&line);
    }
}

/* Whatever the environment may set is told: else a forgotten variable is a riddle. */
static void test_overview_names_the_environment(void **state)
{
    (void)state;
    static const char *const names[] = {"CONSILIUM_CLUSTER", "CONSILIUM_IDENTITY", "CONSILIUM_PASSPHRASE_FILE",
                                        "CONSILIUM_VIA", "CONSILIUM_TIMEOUT", "~/.config/consilium/config"};
    assert_int_equal(sizeof names / sizeof names[0], SETTINGS + 1);
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    print_overview(to, COMMANDS, COMMON_OPTIONS, NULL);
    assert_int_equal(fclose(to), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) assert_non_null(strstr(text, names[i]));
    free(text);
}

static void ask_for_unknown_option(void)
{
    assert_int_equal(PARSE("status"), OK);
    option_given(&line, "no-such-option");
}

static void test_misuse_dies(void **state)
{
    (void)state;
    assert_true(dies(ask_for_unknown_option));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_commands),
        cmocka_unit_test(test_options_in_every_form),
        cmocka_unit_test(test_values_that_look_like_something_else),
        cmocka_unit_test(test_repeated),
        cmocka_unit_test(test_what_is_wrong),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_real_commands),
        cmocka_unit_test(test_real_options_agree),
        cmocka_unit_test(test_where_a_real_option_belongs),
        cmocka_unit_test(test_overview_names_the_environment),
        cmocka_unit_test(test_misuse_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
