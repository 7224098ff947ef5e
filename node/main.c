/* consiliumd: the node. */
#include <errno.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/random.h"
#include "ledger/policy.h"
#include "node/alert.h"
#include "node/dump.h"
#include "node/node.h"
#include "node/scrub.h"
#include "node/rebuild.h"

/* Options of all commands; NULL: not given. */
struct options {
    const char *dir, *name, *hospital, *advertise, *genesis, *config_file, *limit, *positional;
    bool now;
    bool cut;
    struct config config;
    int argc;
    char **argv; /* all of the process */
};

static int command_init(struct options *o);
static int command_run(struct options *o);
static int command_dump(struct options *o);
static int command_scrub(struct options *o);
static int command_rebuild(struct options *o);
static int command_accept_loss(struct options *o);
static int command_alert_test(struct options *o);

static const struct command {
    const char *name, *arguments, *what, *example;
    int (*run)(struct options *o);
    bool configured; /* takes the settings */
} commands[] = {
    {"init", "--dir DIR --name NAME --hospital HOSPITAL --listen HOST:PORT\n"
             "                  [--advertise HOST:PORT] [--storage-key-file FILE]",
     "makes keys and prints the descriptor (also in DIR/node.descriptor)",
     "consiliumd init --dir /var/lib/consilium --name mercy --hospital 'Mercy General' --listen 10.0.0.4:7401",
     command_init, false},
    {"run", "--dir DIR --genesis FILE [--config FILE] [settings]",
     "runs the node in the foreground; SIGTERM or SIGINT stop it cleanly",
     "consiliumd run --dir /var/lib/consilium --genesis /etc/consilium/genesis", command_run, true},
    {"dump", "TABLE --dir DIR [--limit N] [--storage-key-file FILE]",
     "prints what is stored, with the node running or not; 'consiliumd dump list' names the tables",
     "consiliumd dump leaf --dir /var/lib/consilium --limit 10", command_dump, false},
    {"scrub", "--now --dir DIR [--genesis FILE] [--storage-key-file FILE]",
     "re-reads the whole state and log once, with the node running or not, and changes nothing; exit code 6: damaged",
     "consiliumd scrub --now --dir /var/lib/consilium", command_scrub, false},
    {"rebuild", "--dir DIR [--cut] [--storage-key-file FILE]",
     "sets the derived state of a stopped node aside; the next run derives it anew from log and peers.\n      "
     "--cut: also drops what its log has beyond what it co-signed, for a node that a lying leader deceived",
     "consiliumd rebuild --dir /var/lib/consilium", command_rebuild, false},
    {"accept-loss", "--dir DIR [--storage-key-file FILE]",
     "for a stopped node that forgot what it signed, while too few others are left to give it its vote back: with its\n      "
     "next start it votes, and what nobody else has of that is lost. Read README, \"Too many disks are lost\", first",
     "consiliumd accept-loss --dir /var/lib/consilium", command_accept_loss, false},
    {"alert-test", "--dir DIR --genesis FILE [--config FILE] [settings]",
     "sends one test message each way that alarms would take, mail and webhook",
     "consiliumd alert-test --dir /var/lib/consilium --genesis /etc/consilium/genesis", command_alert_test, true},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_command(FILE *out, const struct command *c)
{
    fprintf(out, "  consiliumd %s %s\n      %s\n      %s\n", c->name, c->arguments, c->what, c->example);
}

static void print_settings(void)
{
    puts("\nSettings, on the command line, as CONSILIUMD_NAME in the environment, or in the file (in this order):");
    config_print_help();
}

static void print_usage(FILE *out)
{
    fputs("consiliumd: a node of a Consilium cluster.\n\nUsage:\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        print_command(out, &commands[i]);
    fputs("  consiliumd --version, consiliumd --help, consiliumd COMMAND --help\n", out);
}

/* All commands and settings, or one command. */
static int help(const struct command *c)
{
    if (c)
        print_command(stdout, c);
    else
        print_usage(stdout);
    if (!c || c->configured) print_settings();
    if (c && c->run == command_dump) {
        puts("\nTables:");
        dump_list();
    }
    return fflush(stdout) == 0 ? 0 : 1;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0) return &commands[i];
    return NULL;
}

static int complain(const struct failure *f, int code)
{
    fprintf(stderr, "consiliumd: %s\n", f->text[0] ? f->text : err_text(f->code));
    /* What is not found here is a file or a folder, never somebody's name or id. */
    const char *hint = err_hint(f->code == ERR_NOT_FOUND ? ERR_NO_FILE : f->code);
    if (hint[0]) fprintf(stderr, "What to do: %s.\n", hint);
    return code;
}

static int wrong_usage(const char *what, const char *word)
{
    fprintf(stderr, "consiliumd: %s%s%s\nWhat to do: see 'consiliumd --help'.\n", what, word[0] ? ": " : "", word);
    return 2;
}

/* Options that belong to commands, not to the configuration. */
static const struct own_option {
    const char *name;
    size_t place; /* in struct options, of a const char *, or of a bool */
    bool flag;
    const char *owners[7]; /* ends with NULL; none: all commands */
} own_options[] = {
    {"--dir", offsetof(struct options, dir), false, {NULL}},
    {"--name", offsetof(struct options, name), false, {"init"}},
    {"--hospital", offsetof(struct options, hospital), false, {"init"}},
    {"--advertise", offsetof(struct options, advertise), false, {"init"}},
    {"--genesis", offsetof(struct options, genesis), false, {"run", "scrub", "alert-test"}},
    {"--config", offsetof(struct options, config_file), false, {"run", "dump", "scrub", "rebuild", "accept-loss", "alert-test"}},
    {"--limit", offsetof(struct options, limit), false, {"dump"}},
    {"--now", offsetof(struct options, now), true, {"scrub"}},
    {"--cut", offsetof(struct options, cut), true, {"rebuild"}},
};

/* `word` may be "--dir=DIR". NULL: it is none of these. */
static const struct own_option *own_option(const char *word)
{
    for (size_t i = 0; i < sizeof own_options / sizeof own_options[0]; i++) {
        const struct own_option *own = &own_options[i];
        size_t size = own->flag ? strlen(word) : strcspn(word, "=");
        if (strlen(own->name) == size && memcmp(own->name, word, size) == 0) return own;
    }
    return NULL;
}

/* 0, or the exit code after saying whose option it is. */
static int check_owner(const struct own_option *own, const char *command)
{
    struct buffer text = {0};
    bool belongs = !own->owners[0];
    for (size_t i = 0; own->owners[i]; i++) {
        belongs |= strcmp(own->owners[i], command) == 0;
        buffer_printf(&text, "%s'%s'", i == 0 ? "" : own->owners[i + 1] ? ", " : " and ", own->owners[i]);
    }
    if (!belongs)
        fprintf(stderr, "consiliumd: '%s' has no option %s: it belongs to %.*s\n"
                        "What to do: see 'consiliumd %s --help'.\n",
                command, own->name, (int)text.size, (const char *)text.data, command);
    buffer_free(&text);
    return belongs ? 0 : 2;
}

/* The words that an option takes are added to *at. 0 or the exit code. */
static int take_own(struct options *o, int *at, const struct own_option *own)
{
    const char *word = o->argv[*at], *equals = strchr(word, '=');
    int code = check_owner(own, o->argv[1]);
    if (code) return code;
    if (own->flag) {
        *(bool *)((char *)o + own->place) = true;
        *at += 1;
        return 0;
    }
    const char *value = equals ? equals + 1 : o->argv[*at + 1]; /* argv ends with NULL */
    if (!value || !*value) return wrong_usage("this option needs a value", word);
    *(const char **)((char *)o + own->place) = value;
    *at += equals ? 1 : 2;
    return 0;
}

/* A setting, which `init` writes only two of. 0 or the exit code. */
static int take_setting(struct options *o, int *at, int used)
{
    static const char *const written[] = {"--listen", "--storage-key-file"};
    const char *word = o->argv[*at];
    bool init = strcmp(o->argv[1], "init") == 0, taken = !init;
    for (size_t i = 0; i < sizeof written / sizeof written[0]; i++)
        taken |= strlen(written[i]) == strcspn(word, "=") && strncmp(word, written[i], strlen(written[i])) == 0;
    if (!taken) return wrong_usage("this setting is for 'run', or for the consiliumd.conf that 'init' makes", word);
    *at += used;
    return 0;
}

/* Parses the arguments after the command. 0 or the exit code. */
static int parse(struct options *o)
{
    o->positional = NULL;
    for (int i = 2, code = 0; i < o->argc;) {
        struct failure failure = {0};
        char **at = o->argv + i;
        int used = 0;
        const struct own_option *own = own_option(*at);
        if (!own && config_take_argument(&o->config, o->argc - i, at, &used, &failure) != OK)
            return complain(&failure, 2);
        if (own)
            code = take_own(o, &i, own);
        else if (used > 0)
            code = take_setting(o, &i, used);
        else if (**at != '-' && !o->positional)
            o->positional = o->argv[i++];
        else
            code = wrong_usage("unknown option or extra word", *at);
        if (code) return code;
    }
    return 0;
}

/* File and environment first, then the command line again, since it wins. 0 or the exit code. */
static int configure(struct options *o)
{
    char path[FILES_PATH];
    struct failure failure = {0};
    enum err e = OK;
    config_defaults(&o->config);
    if (o->config_file) {
        e = config_read_file(&o->config, o->config_file, &failure);
    } else if (o->dir && files_path(path, o->dir, "consiliumd.conf", NULL) == OK && files_exists(path)) {
        e = config_read_file(&o->config, path, &failure);
    }
    if (e == OK) e = config_read_environment(&o->config, &failure);
    if (e != OK) return complain(&failure, 2);
    int code = parse(o);
    if (code) return code;
    return config_check(&o->config, &failure) == OK ? 0 : complain(&failure, 2);
}

static void print_warning(void *data, const char *name, const char *text)
{
    (void)data, (void)name;
    fprintf(stderr, "consiliumd: %s\n", text);
}

static void log_variable(void *data, const char *name, const char *text)
{
    (void)data, (void)name;
    log_warning("node", "%s", text);
}

/* What is the same for all commands. 0 or the exit code. */
static int prepare(struct options *o, const struct command *c)
{
    config_defaults(&o->config);
    int code = parse(o);
    if (code == 0 && c->run != command_init) code = configure(o);
    if (code) return code;
    bool runs = c->run == command_run;
    if (runs) log_setup(config_log_level(&o->config), strcmp(o->config.log_format.text, "json") == 0);
    if (c->run != command_init) config_check_environment(environ, runs ? log_variable : print_warning, NULL);
    return o->positional && c->run != command_dump ? wrong_usage("unknown word", o->positional) : 0;
}

static int command_init(struct options *o)
{
    struct failure failure = {0};
    struct buffer line = {0};
    if (!o->dir || !o->name || !o->hospital || !o->config.listen.text[0])
        return wrong_usage("init needs --dir, --name, --hospital and --listen", "");
    struct identity_options init = {.directory = o->dir, .name = o->name, .hospital = o->hospital,
                                    .listen = o->config.listen.text, .advertise = o->advertise,
                                    .storage_key_file = o->config.storage_key_file.text};
    if (identity_options_check(&init, &failure) != OK) return complain(&failure, 2);
    enum err e = identity_create(&line, &init, &failure);
    if (e != OK) return complain(&failure, e == ERR_USAGE ? 2 : 1);
    fwrite(line.data, 1, line.size, stdout);
    fprintf(stderr,
            "Made the node %s in %s. Give the line above (%s/node.descriptor) to whoever writes the genesis file.\n",
            o->name, o->dir, o->dir);
    if (!o->config.storage_key_file.text[0])
        fprintf(stderr, "The storage key is %s/storage.key: move it to another device before real use "
                        "(--storage-key-file), so that a stolen disk shows nothing.\n", o->dir);
    buffer_free(&line);
    return 0;
}

static enum err load_genesis(struct node *node, const char *path, struct failure *failure)
{
    struct failure why = {0};
    enum err e = files_read(&node->genesis_text, path, LIMIT_GENESIS, failure);
    if (e != OK) return e;
    struct policy *policy = xcalloc(1, sizeof *policy);
    e = genesis_parse(&node->genesis, buffer_bytes(&node->genesis_text), &why);
    if (e == OK) e = policy_parse(policy, node->genesis.policy, &why);
    free(policy);
    if (e != OK) return fail(failure, e, "%s is not a genesis file: %s", path, why.text);
    node->self = genesis_member_by_id(&node->genesis, &node->identity.descriptor.id);
    if (!node->self)
        return fail(failure, ERR_INVALID, "the node in %s (%s) is not a member of %s: give the genesis file that its "
                    "descriptor went into", node->identity.directory, node->identity.descriptor.name, path);
    return OK;
}

/* As many descriptors as the hard limit allows: one per client. */
static void raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* or fewer clients fit: the listener copes */
}

/* What a flood made large goes back to the system: by itself the C library would keep ever larger blocks for
 * itself once one has been freed. */
static void keep_memory_small(void)
{
    mallopt(M_MMAP_THRESHOLD, 256 * 1024);
    mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
}

/* A member, with its keys and its genesis, for what `act` does. The exit code. */
static int as_member(struct options *o, bool read_only, int (*act)(struct node *node, struct options *o))
{
    struct failure failure = {0};
    struct node *node = xcalloc(1, sizeof *node);
    node->config = &o->config;
    enum err e = identity_open(&node->identity, o->dir, &o->config, read_only, &failure);
    if (e == OK) e = load_genesis(node, o->genesis, &failure);
    int code = e == OK ? act(node, o) : complain(&failure, 1);
    identity_close(&node->identity);
    buffer_free(&node->genesis_text);
    free(node);
    return code;
}

/* This process again, from its beginning. Returns only when it can't be. */
static int run_again(struct node *node, char **argv)
{
    struct failure failure = {0};
    char aside[REBUILD_PATH];
    enum err e = rebuild(aside, &node->identity, node->rebuild_log, &failure);
    if (e != OK) return complain(&failure, 1);
    log_notice("node", "rebuilt: the old state was set aside as %s; starting again", aside);
    identity_close(&node->identity);
    execv("/proc/self/exe", argv);
    log_error("node", "can't start again by itself (%s): start this node again", strerror(errno));
    return 1;
}

static int run(struct node *node, struct options *o)
{
    if (!o->config.listen.text[0])
        return wrong_usage("where shall this node listen? Give --listen HOST:PORT, or put back the consiliumd.conf "
                           "that 'init' made", "");
    int code = node_run(node);
    return code == 0 && node->rebuild ? run_again(node, o->argv) : code;
}

static int command_run(struct options *o)
{
    if (!o->dir || !o->genesis) return wrong_usage("run needs --dir and --genesis", "");
    check_on_failure(log_dump);
    keep_memory_small();
    raise_file_limit();
    return as_member(o, false, run);
}

static int send_test_alerts(struct node *node, struct options *o)
{
    return alert_test(&o->config, &node->genesis, node->self);
}

static int command_alert_test(struct options *o)
{
    if (!o->dir || !o->genesis) return wrong_usage("alert-test needs --dir and --genesis", "");
    return as_member(o, true, send_test_alerts); /* beside a node that runs */
}

/* identity_open for commands that need what the node has stored: ERR_NO_STORE before its first start. */
static enum err open_stored(struct node_identity *out, const struct options *o, bool read_only, struct failure *failure)
{
    enum err e = identity_open(out, o->dir, &o->config, read_only, failure);
    if (e != OK || files_exists(out->state_directory) || files_exists(out->log_directory)) return e;
    identity_close(out);
    return fail(failure, ERR_NO_STORE, "the node in %s was never started, so nothing is stored there yet", o->dir);
}

static int command_dump(struct options *o)
{
    struct failure failure = {0};
    if (o->positional && strcmp(o->positional, "list") == 0) {
        dump_list();
        return 0;
    }
    if (!o->dir || !o->positional)
        return wrong_usage("dump needs a table and --dir DIR; 'consiliumd dump list' names the tables", "");
    uint64_t limit = o->limit ? strtoull(o->limit, NULL, 10) : 0;
    if (o->limit && o->limit[strspn(o->limit, "0123456789")]) return wrong_usage("--limit is not a number", o->limit);
    struct node_identity identity;
    enum err e = open_stored(&identity, o, true, &failure);
    if (e == OK) {
        e = dump_table(&identity, o->positional, limit, &failure);
        identity_close(&identity);
    }
    return e == OK ? 0 : complain(&failure, e == ERR_USAGE ? 2 : 1);
}

/* A running node scrubs itself; what it holds may be read beside it. */
static int command_scrub(struct options *o)
{
    struct failure failure = {0};
    struct node_identity identity;
    if (!o->dir || !o->now) return wrong_usage("scrub needs --now and --dir (a running node scrubs all the time)", "");
    enum err e = open_stored(&identity, o, false, &failure);
    bool runs = e == ERR_IN_USE;
    if (runs) {
        failure = (struct failure){0};
        e = open_stored(&identity, o, true, &failure);
    }
    if (e != OK) return complain(&failure, 1);
    int code = scrub_once(&identity, o->genesis, runs, &failure);
    identity_close(&identity);
    return code == 1 ? complain(&failure, 1) : code;
}

/* The derived state is set aside as evidence; keys, key share and log stay. */
static int command_rebuild(struct options *o)
{
    struct failure failure = {0};
    struct node_identity identity;
    char aside[REBUILD_PATH];
    if (!o->dir) return wrong_usage("rebuild needs --dir", "");
    enum err e = open_stored(&identity, o, false, &failure);
    if (e != OK) return complain(&failure, 1);
    e = rebuild(aside, &identity, o->cut ? REBUILD_CUTS_LOG : REBUILD_KEEPS_LOG, &failure);
    identity_close(&identity);
    if (e != OK) return complain(&failure, 1);
    printf("The state was set aside as %s.\n"
           "Start the node: it derives its state anew from its log and its peers, and checks every entry against\n"
           "what k nodes co-signed. Keep the folder as evidence, or remove it.\n", aside);
    return 0;
}

static int command_accept_loss(struct options *o)
{
    struct failure failure = {0};
    struct node_identity identity;
    if (!o->dir) return wrong_usage("accept-loss needs --dir", "");
    enum err e = open_stored(&identity, o, false, &failure);
    if (e != OK) return complain(&failure, 1);
    e = identity_accept_loss(&identity, true, &failure);
    identity_close(&identity);
    if (e != OK) return complain(&failure, 1);
    printf("With its next start this node votes, whatever it forgot, and whatever its peers say that it signed before.\n"
           "Start first those nodes that forgot nothing, and this one last. To take this back, remove %s/accept-loss.\n",
           o->dir);
    return 0;
}

/* What was printed went somewhere: a dump that a full device cut off is none. */
static int written(int code)
{
    bool whole = fflush(stdout) == 0 && !ferror(stdout);
    if (whole || code != 0) return code;
    struct failure failure = {0};
    fail(&failure, ERR_IO, "cannot write all of it to standard output");
    return complain(&failure, 1);
}

static bool is_help(const char *word) { return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0; }

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("consiliumd " CONSILIUM_VERSION);
        return 0;
    }
    bool asked = strcmp(argv[1], "help") == 0;
    if (is_help(argv[1]) || (asked && argc == 2)) return help(NULL);
    const char *name = asked ? argv[2] : argv[1];
    const struct command *command = find_command(name);
    if (name[0] == '-') return wrong_usage("the command comes first, as in 'consiliumd run --dir DIR ...'", name);
    if (!command) return wrong_usage("unknown command", name);
    if (asked) return help(command);
    for (int i = 2; i < argc; i++)
        if (is_help(argv[i])) return help(command);
    crypto_init();
    struct options o = {.argc = argc, .argv = argv};
    int code = prepare(&o, command);
    return written(code ? code : command->run(&o));
}
