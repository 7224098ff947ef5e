/* consiliumd as people type it: what each command prints, refuses and leaves behind. */
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/testbed.h"
#include "tests/lib/unit.h"

static struct testbed bed;
static struct buffer text;

/* Runs BUILD/`program` with these words in a shell; both outputs go to `text`, unless they say otherwise. The exit
 * code. */
__attribute__((format(printf, 2, 0))) static int run(const char *program, const char *format, va_list args)
{
    char command[4096], part[4096];
    const char *build = getenv("BUILD");
    int n = snprintf(command, sizeof command, "exec %s/%s ", build && *build ? build : "build", program);
    vsnprintf(command + n, sizeof command - (size_t)n, format, args);
    if (!strstr(format, "2>")) strncat(command, " 2>&1", sizeof command - strlen(command) - 1);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    buffer_clear(&text);
    for (size_t got; (got = fread(part, 1, sizeof part, f)) > 0;)
        buffer_append(&text, part, got);
    buffer_append(&text, "", 1);
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

__attribute__((format(printf, 1, 2))) static int node(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int code = run("consiliumd", format, args);
    va_end(args);
    return code;
}

__attribute__((format(printf, 1, 2))) static int client(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int code = run("consilium", format, args);
    va_end(args);
    return code;
}

static bool says(const char *words) { return strstr((const char *)text.data, words) != NULL; }

static void help(void **state)
{
    (void)state;
    static const char *const commands[] = {"init", "run", "dump", "rebuild", "accept-loss"};
    assert_int_equal(node("--help"), 0);
    assert_true(says("--listen HOST:PORT ") && says("--storage-key-file FILE ") && !says("VALUE"));
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        assert_int_equal(node("%s --help", commands[i]), 0);
        assert_true(says("Usage") == false && says(commands[i]));
        struct buffer first = text;
        text = (struct buffer){0};
        assert_int_equal(node("help %s", commands[i]), 0);
        assert_string_equal((const char *)text.data, (const char *)first.data);
        buffer_free(&first);
    }
    assert_int_equal(node("%s", ""), 2);
    assert_int_equal(node("frobnicate"), 2);
    assert_int_equal(node("run --frobnicate"), 2);
    assert_true(says("--frobnicate"));
}

static void init_makes_a_node_once(void **state)
{
    (void)state;
    char path[400];
    assert_int_equal(node("init --dir %s/x --name x --hospital 'St. X' --listen 127.0.0.1:7999", bed.dir), 0);
    snprintf(path, sizeof path, "%s/x/node.descriptor", bed.dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char kept[4096] = "";
    kept[fread(kept, 1, sizeof kept - 1, f)] = '\0';
    fclose(f);
    assert_true(strlen(kept) > 100 && says(kept)); /* the line that was printed */
    /* A folder in use stays as it is. */
    assert_int_equal(node("init --dir %s/x --name y --hospital Y --listen 127.0.0.1:7998", bed.dir), 1);
    f = fopen(path, "r");
    char again[4096] = "";
    again[fread(again, 1, sizeof again - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(again, kept);
    /* It is no member of a genesis that doesn't name it. */
    assert_int_equal(node("run --dir %s/x --genesis %s", bed.dir, bed.genesis), 1);
    assert_true(says("is not a member"));
    /* Without its settings it doesn't know where to listen, and a folder of their name holds none. */
    snprintf(path, sizeof path, "%s/x/consiliumd.conf", bed.dir);
    char command[1200];
    snprintf(command, sizeof command, "mkdir -m 700 %s/y && cp -p %s/node-1/* %s/y 2>/dev/null; rm %s/y/consiliumd.conf",
             bed.dir, bed.dir, bed.dir, bed.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(node("run --dir %s/y --genesis %s", bed.dir, bed.genesis), 2);
    assert_true(says("--listen"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(node("run --dir %s/x --genesis %s --listen 127.0.0.1:7999", bed.dir, bed.genesis), 2);
    assert_true(says("consiliumd.conf: it is a folder, not a file"));
    assert_int_equal(node("init --dir %s/z --name z --hospital Z", bed.dir), 2);
    assert_true(says("--listen"));
}

/* As any other wrong usage; what is wrong with a file or a folder is no usage. */
static void wrong_values_are_wrong_usage(void **state)
{
    (void)state;
    char members[700];
    snprintf(members, sizeof members, "--member %s/node-1/node.descriptor --member %s/node-2/node.descriptor", bed.dir,
             bed.dir);
    static const char *const wrong[] = {"--name x --hospital X --listen 127.0.0.1", "--name x --hospital X --listen a:1",
                                        "--name 'x y' --hospital X --listen 127.0.0.1:1",
                                        "--name x --hospital X --listen 0.0.0.0:7999"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(node("init --dir %s/wrong %s", bed.dir, wrong[i]), 2);
    assert_int_equal(node("init --dir /proc/wrong --name x --hospital X --listen 127.0.0.1:7999"), 1);
    char wide[200 + 1];
    memset(wide, 'k', sizeof wide - 1);
    wide[sizeof wide - 1] = '\0';
    const char *key_files[] = {"'a ;b'", wide};
    for (size_t i = 0; i < sizeof key_files / sizeof key_files[0]; i++) {
        assert_int_equal(node("init --dir %s/wrong --name x --hospital X --listen 127.0.0.1:7999 --storage-key-file %s",
                              bed.dir, key_files[i]), 2);
        assert_true(says("can't stand in a settings file"));
    }
    assert_int_equal(node("init --dir %s/wrong --name x --hospital X --listen 127.0.0.1:7999 --storage-key-file "
                          "%s/nowhere/key", bed.dir, bed.dir), 1);
    static const char *const valueless[] = {"init --dir '' --name x --hospital X --listen 127.0.0.1:7999",
                                            "run --dir= --genesis x", "run --dir x --genesis ''", "rebuild --dir"};
    for (size_t i = 0; i < sizeof valueless / sizeof valueless[0]; i++) {
        assert_int_equal(node("%s", valueless[i]), 2);
        assert_true(says("needs a value"));
    }
    assert_int_equal(node("dump leaf --dir %s/node-1 --limit -1", bed.dir), 2);
    assert_int_equal(client("genesis --origin a/b %s --admin %s -o %s/g", members, bed.admin, bed.dir), 2);
    assert_true(says("2 members: a cluster has at least 3"));
    assert_int_equal(client("genesis --origin a//b %s --member %s/node-3/node.descriptor --admin %s -o %s/g", members,
                            bed.dir, bed.admin, bed.dir), 2);
    assert_true(says("origin 'a//b'"));
    assert_int_equal(client("genesis --origin a/b %s --member %s/node-1/node.descriptor --admin %s -o %s/g", members,
                            bed.dir, bed.admin, bed.dir), 2);
    assert_true(says("is a member already"));
    assert_int_equal(client("genesis --origin a/b %s --member %s/node-3/node.descriptor --admin %s --admin %s -o %s/g",
                            members, bed.dir, bed.admin, bed.admin, bed.dir), 2);
    assert_true(says("is named already"));
    assert_int_equal(client("genesis --origin a/b %s --member %s --admin %s -o %s/g", members, bed.admin, bed.admin,
                            bed.dir), 1);
    assert_true(says("is not a node's descriptor"));
}

/* An option is never ignored: who gives it to another command is told whose it is. */
static void misplaced_options_say_where_they_belong(void **state)
{
    (void)state;
    static const struct {
        const char *words, *says;
    } cases[] = {
        {"--dir x run --genesis g", "the command comes first"},
        {"init --dir x --genesis g", "'init' has no option --genesis: it belongs to 'run', 'scrub' and 'alert-test'"},
        {"init --dir x --workers=4", "this setting is for 'run', or for the consiliumd.conf that 'init' makes: --workers"},
        {"run --dir x --limit=3", "'run' has no option --limit: it belongs to 'dump'"},
        {"run --dir x --now", "'run' has no option --now: it belongs to 'scrub'"},
        {"dump leaf --dir x --cut", "'dump' has no option --cut: it belongs to 'rebuild'"},
        {"rebuild --dir x --cut=yes", "unknown option or extra word: --cut=yes"},
        {"accept-loss --dir x --cut", "'accept-loss' has no option --cut: it belongs to 'rebuild'"},
        {"rebuild --dir x --via y", "unknown option or extra word: --via"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(node("%s", cases[i].words), 2);
        if (!says(cases[i].says)) fail_msg("'%s' is not in: %s", cases[i].says, (const char *)text.data);
    }
}

/* The first policy is somebody's text, too: a comment in it reorders nothing that a terminal shows. */
static void a_policys_text_is_cleaned(void **state)
{
    (void)state;
    char command[2048];
    snprintf(command, sizeof command, "cp configs/policy.conf %s/policy; printf '# \342\200\256txet\n' >>%s/policy",
             bed.dir, bed.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(client("genesis --origin a/b --member %s/node-1/node.descriptor "
                            "--member %s/node-2/node.descriptor --member %s/node-3/node.descriptor --admin %s --policy %s/policy -o %s/cleaned", bed.dir,
                            bed.dir, bed.dir, bed.admin, bed.dir, bed.dir), 0);
    assert_int_equal(client("genesis show %s/cleaned --with-policy", bed.dir), 0);
    assert_true(says("\n# \\u{202e}txet\n"));
}

/* Once each, and never where a program reads the answer, or in a log for a collector that is not JSON. */
static void mistyped_variables_are_told(void **state)
{
    (void)state;
    setenv("CONSILIUM_CLUSTERS", bed.genesis, 1);
    setenv("CONSILIUMD_LOGLEVEL", "debug", 1);
    setenv("CONSILIUMD_FREE_MIB", "16", 1);
    assert_int_equal(client("genesis show %s", bed.genesis), 0);
    assert_true(says("CONSILIUM_CLUSTERS in the environment is no setting") && says("mean CONSILIUM_CLUSTER?"));
    assert_false(says("LOGLEVEL"));
    assert_int_equal(client("genesis show %s --json 2>%s/said", bed.genesis, bed.dir), 0);
    json_t *o = json_loads((const char *)text.data, 0, NULL);
    assert_true(json_is_object(o));
    json_decref(o);
    assert_int_equal(client("genesis show %s --json 2>&1 >%s/said", bed.genesis, bed.dir), 0);
    o = json_loads((const char *)text.data, 0, NULL); /* one line: said once */
    assert_string_equal(json_string_value(json_object_get(o, "variable")), "CONSILIUM_CLUSTERS");
    json_decref(o);
    assert_int_equal(client("--version"), 0);
    assert_false(says("CLUSTERS"));
    assert_int_equal(node("dump leaf --dir %s/nowhere", bed.dir), 1);
    assert_true(says("consiliumd: CONSILIUMD_LOGLEVEL in the environment is no setting") && !says("CONSILIUM_") &&
                !says("FREE_MIB"));
    assert_int_equal(node("run --dir %s/nowhere --genesis %s --log-format json", bed.dir, bed.genesis), 1);
    assert_true(says("\"level\":\"warning\"") && says("did you mean CONSILIUMD_LOG_LEVEL?"));
    unsetenv("CONSILIUM_CLUSTERS");
    unsetenv("CONSILIUMD_LOGLEVEL");
    unsetenv("CONSILIUMD_FREE_MIB");
}

/* Refused, or warned of (NIST SP 800-63B); letters are counted, not bytes. Nothing is left of what was refused. */
static void short_passphrases(void **state)
{
    (void)state;
    static const struct {
        const char *passphrase, *says;
        int code;
    } cases[] = {{"1234567", "at least 8 characters", 2},         {"\303\274\303\274\303\274\303\274x", "at least 8", 2},
                 {"12345678", "has 8 characters: with 15", 0},    {"\303\274bung macht m", "has 13 characters", 0},
                 {"four words and more", "four.key", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char command[600];
        snprintf(command, sizeof command, "printf '%s\n' >%s/words; rm -f %s/four.key", cases[i].passphrase, bed.dir,
                 bed.dir);
        assert_int_equal(system(command), 0);
        int code = client("key new --passphrase-file %s/words -o %s/four.key", bed.dir, bed.dir);
        if (code != cases[i].code || !says(cases[i].says))
            fail_msg("'%s': code %d, %s", cases[i].passphrase, code, (const char *)text.data);
        snprintf(command, sizeof command, "test %s -e %s/four.key", code == 0 ? "" : "!", bed.dir);
        assert_int_equal(system(command), 0);
    }
    assert_false(says("characters")); /* of the long one nothing is said */
}

/* A folder for a file, a file for a folder, and nothing in either: each is named, and what it is. */
static void what_a_path_is_instead_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *words, *says; /* the words end with the path */
    } cases[] = {
        {"genesis show folder", "folder: it is a folder, not a file"},
        {"whoami --offline --identity folder", "folder: it is a folder, not a file"},
        {"verify --since empty", "empty is empty, not what 'consilium checkpoint' prints"},
        {"evidence verify empty", "empty is empty"},
        {"receipt verify empty", "empty is empty"},
        {"receipt verify empty/x", "what should be a folder in this path is a file"},
        {"receipt verify folder", "in folder: give the folder that --receipt FOLDER/ wrote into"},
        {"receipt verify folder folder", "in folder and the other folders: give"},
    };
    char command[700];
    snprintf(command, sizeof command, "mkdir %s/folder && : >%s/empty", bed.dir, bed.dir);
    assert_int_equal(system(command), 0);
    char *before = getcwd(NULL, 0), *program = realpath(getenv("BUILD") ? getenv("BUILD") : "build", NULL);
    assert_true(before && program && chdir(bed.dir) == 0);
    setenv("BUILD", program, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int code = client("%s --cluster %s", cases[i].words, bed.genesis);
        if (code == 0 || !says(cases[i].says)) fail_msg("%s: %d, %s", cases[i].words, code, (const char *)text.data);
    }
    assert_int_equal(node("init --dir own --name own --hospital Own --listen 127.0.0.1:7996"), 0);
    assert_int_equal(node("run --dir own --genesis folder"), 1);
    assert_true(says("folder: it is a folder, not a file") && says("name a file"));
    assert_int_equal(node("dump leaf --dir empty"), 1);
    assert_true(says("empty is a file, not a node's folder") && says("check the path"));
    assert_int_equal(chdir(before), 0);
    free(before);
    free(program);
}

static void dump_lists_without_a_node(void **state)
{
    (void)state;
    assert_int_equal(node("dump list"), 0);
    assert_true(says("leaf") && says("attachment") && says("log") && says("peer_mark"));
    assert_int_equal(node("dump"), 2);
    assert_true(says("dump list"));
    assert_int_equal(node("dump nothing --dir %s/node-1", bed.dir), 2);
    assert_true(says("there is no table \"nothing\"") && says("leaf"));
}

/* A node that was made and never run has nothing to show, and that is said. */
static void nothing_is_stored_before_the_first_start(void **state)
{
    (void)state;
    static const char *const commands[] = {"dump leaf", "dump log", "scrub --now", "rebuild", "accept-loss"};
    assert_int_equal(node("init --dir %s/new --name new --hospital New --listen 127.0.0.1:7997", bed.dir), 0);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        assert_int_equal(node("%s --dir %s/new", commands[i], bed.dir), 1);
        assert_true(says("was never started") && says("What to do: check the path, or start the node once"));
        assert_int_equal(node("%s --dir %s/nowhere", commands[i], bed.dir), 1);
        assert_true(says("there is no folder") && says("What to do: check the path."));
    }
}

static void dump_shows_a_running_node(void **state)
{
    (void)state;
    assert_int_equal(node("dump leaf --dir %s/node-1 --limit 1", bed.dir), 0);
    assert_true(says("0  [1, 0, 0, ")); /* leaf 0, which holds the genesis */
    assert_int_equal(node("dump log --dir %s/node-1 --limit 5", bed.dir), 0);
    assert_true(says(" batch ") && says(" term "));
    assert_int_equal(node("dump leaf --dir %s/node-1 2>&1 >/dev/full", bed.dir), 1);
    assert_true(says("standard output"));
    assert_int_equal(node("run --dir %s/node-1 --genesis %s", bed.dir, bed.genesis), 1);
    assert_true(says("is held by process"));
}

static bool json_lines(unsigned n)
{
    char path[400], line[8192];
    bool any = false;
    snprintf(path, sizeof path, "%s/node-%u.log", bed.dir, n);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        json_error_t error;
        if (strncmp(line, "---", 3) == 0) continue;
        json_t *o = json_loads(line, 0, &error);
        if (!json_is_object(o)) fail_msg("no JSON object: %s", line);
        json_decref(o);
        any = true;
    }
    fclose(f);
    return any;
}

/* Each life ends cleanly; the next one goes on. Node 3 logs for a collector. */
static void signals_stop_cleanly(void **state)
{
    (void)state;
    static const int numbers[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        int status = testbed_signal(&bed, 3, numbers[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_true(json_lines(3));
        testbed_start(&bed, 3);
        testbed_wait_ready(&bed, 60);
    }
    assert_true(testbed_log_has(&bed, 3, "received SIGTERM") && testbed_log_has(&bed, 3, "received SIGINT"));
}

/* What its operator accepted once is not accepted with each start. */
static void a_mark_that_stays_ends_the_start(void **state)
{
    (void)state;
    char mark[400];
    snprintf(mark, sizeof mark, "%s/node-3/accept-loss", bed.dir);
    testbed_signal(&bed, 3, SIGTERM);
    assert_int_equal(mkdir(mark, 0700), 0); /* which unlink doesn't remove, of nobody */
    assert_int_equal(node("run --dir %s/node-3 --genesis %s", bed.dir, bed.genesis), 1);
    if (!says("node-3/accept-loss: it is a folder, not a file: while it is there each start accepts losses, so this "
              "one ends (check owner and mode)"))
        fail_msg("%s", (const char *)text.data);
    assert_int_equal(rmdir(mark), 0);
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 60);
}

/* Nobody connects there: which may be meant, and is said. */
static void another_address_than_the_descriptors_is_told(void **state)
{
    (void)state;
    const char *before = bed.extra;
    assert_false(testbed_log_has(&bed, 3, "the other nodes and all clients connect to"));
    testbed_signal(&bed, 3, SIGTERM);
    bed.extra = "--listen 127.0.0.1:0";
    testbed_start(&bed, 3);
    testbed_await_log(&bed, 3, "but the other nodes and all clients connect to 127.0.0.1:");
    testbed_signal(&bed, 3, SIGTERM);
    bed.extra = before;
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 60);
}

static int begin(void **state)
{
    (void)state;
    testbed_make(&bed, 3, 0);
    bed.extra = NULL;
    testbed_start(&bed, 1);
    testbed_start(&bed, 2);
    bed.extra = "--log-format json";
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 60);
    return 0;
}

static int end(void **state)
{
    (void)state;
    buffer_free(&text);
    testbed_end(&bed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help),
        cmocka_unit_test(init_makes_a_node_once),
        cmocka_unit_test(wrong_values_are_wrong_usage),
        cmocka_unit_test(misplaced_options_say_where_they_belong),
        cmocka_unit_test(a_policys_text_is_cleaned),
        cmocka_unit_test(mistyped_variables_are_told),
        cmocka_unit_test(short_passphrases),
        cmocka_unit_test(what_a_path_is_instead_is_told),
        cmocka_unit_test(dump_lists_without_a_node),
        cmocka_unit_test(nothing_is_stored_before_the_first_start),
        cmocka_unit_test(dump_shows_a_running_node),
        cmocka_unit_test(signals_stop_cleanly),
        cmocka_unit_test(a_mark_that_stays_ends_the_start),
        cmocka_unit_test(another_address_than_the_descriptors_is_told),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
