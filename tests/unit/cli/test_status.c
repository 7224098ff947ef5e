/* 'status': who the members are says the genesis file, whatever a node calls them. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/tool.h"
#include "crypto/random.h"
#include "tests/lib/fake_cluster.h"

static struct fake_cluster fake;
static struct tool *t;
static struct command_line line;
static char shown[8192];

static int start(void **state)
{
    (void)state;
    char *words[] = {"consilium", "status", NULL};
    fake_cluster_start(&fake, 1);
    setenv("XDG_CACHE_HOME", fake.folder, 1);
    t = calloc(1, sizeof *t);
    assert_non_null(t);
    assert_int_equal(command_line_parse(&line, COMMANDS, COMMON_OPTIONS, 2, words, &t->failure), OK);
    t->line = &line;
    assert_int_equal(cluster_open(&t->cluster, fake.genesis_file, NULL, 60000, &t->output, &t->failure), OK);
    t->cluster.started = 1;
    t->cluster_opened = true;
    return 0;
}

static int end(void **state)
{
    (void)state;
    tool_close(t);
    free(t);
    command_line_free(&line);
    fake_cluster_end(&fake);
    return 0;
}

/* The command's exit code; its standard output is in `shown`. */
static int status(void)
{
    FILE *file = tmpfile();
    int before = dup(STDOUT_FILENO);
    assert_true(file && before >= 0);
    fflush(stdout);
    dup2(fileno(file), STDOUT_FILENO);
    int code = command_status(t);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    rewind(file);
    shown[fread(shown, 1, sizeof shown - 1, file)] = '\0';
    fclose(file);
    return code;
}

static void names_are_those_of_genesis(void **state)
{
    (void)state;
    char alone[LIMIT_NAME + 64];
    fake_cluster_fault(&fake, 0, FAKE_OTHER_NAMES);
    assert_int_equal(status(), EXIT_NO_QUORUM);
    if (strstr(shown, "nobody") || strstr(shown, "Nowhere")) fail_msg("%s", shown);
    assert_null(strstr(shown, "integrity: verified"));
    for (unsigned i = 0; i < FAKE_NODES; i++) {
        snprintf(alone, sizeof alone, "\nCOMPROMISED: %s is quarantined\n", fake.genesis.members[i].name);
        assert_non_null(strstr(shown, alone));
        assert_non_null(strstr(shown, fake.genesis.members[i].hospital));
    }
}

static void each_member_is_told_of_once(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 0, FAKE_MEMBER_TWICE);
    assert_int_equal(status(), EXIT_FAILED);
    assert_int_equal(t->failure.code, ERR_MALFORMED);
    assert_non_null(strstr(t->failure.text, "not of the members"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(names_are_those_of_genesis, start, end),
        cmocka_unit_test_setup_teardown(each_member_is_told_of_once, start, end),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
