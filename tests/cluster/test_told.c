/* Who is told of an alarm, and when: people at commands that run long, at once; administrators by mail and
 * webhook, by another node when the one that was to send dies on the way. A removed entry is the first reason,
 * a damaged log the second, a node in quarantine the third. */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/sinks.h"
#include "tests/lib/unit.h"

#define NODES 5 /* one in quarantine, one dead: a majority is left */
#define DAMAGED 5
#define PATIENCE_S 120
#define CLAIM_S 130 /* longer than a claim to tell holds */

static char settings[1200], when[400], auditor[ID_TEXT_SIZE], doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];

/* Loops that wait: false when it has taken too long. */
static bool still(uint64_t since_ns)
{
    usleep(100000);
    return clock_monotonic_ns() - since_ns < (uint64_t)PATIENCE_S * 1000000000u;
}

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, NODES, 1);
    sinks_start(SINK_SMTPS);
    snprintf(settings, sizeof settings,
             "--alert-mail-server smtps://localhost:%u --alert-mail-from node@example.org --alert-mail-to "
             "admin@example.org "
             "--alert-webhook https://localhost:%u/ --alert-ca-file %s/ca.pem --scrub-rate 65536 --scrub-pause 1",
             sink_port(mail), sink_port(hook), bed.dir);
    bed.extra = settings;
    /* honest, but time can pass */
    for (unsigned node = 1; node <= NODES; node++) bed.program[node] = "liar --mode clock";
    snprintf(when, sizeof when, "%s/ahead", bed.dir);
    setenv("LIAR_WHEN", when, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, PATIENCE_S);
    testbed_user(&bed, "auditor", "Hospital 1", "auditor", auditor);
    testbed_care(&bed, doctor, patient);
    for (int i = 0; i < 8; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print B-%d", bed.dir, patient, i);
    return 0;
}

/* --- an entry that was removed --- */

static void alarm_is(unsigned row, const char *key, const char *expected)
{
    char path[40], value[80];
    snprintf(path, sizeof path, "%u.%s", row, key);
    testbed_json(&out, path, value, sizeof value);
    if (strcmp(value, expected) != 0) testbed_fail(&bed, "%s is %s, not %s:\n%s", path, value, expected, text());
}

/* Until the newest alarm is of that kind and about the damaged node, and so far. */
static void await_alarm(const char *kind, const char *status)
{
    char about[120];
    snprintf(about, sizeof about, "\"kind\": \"%s\"", kind);
    for (uint64_t since = clock_monotonic_ns(); still(since);) {
        int code = testbed_cli(&bed, &out, &errors, "--via node-1 --json alarm list --all");
        const char *end = code == 0 ? strchr(text(), '}') : NULL;
        const char *is = end ? strstr(text(), about) : NULL, *in = end ? strstr(text(), status) : NULL;
        if (is && in && is < end && in < end) return;
    }
    testbed_fail(&bed, "no alarm '%s' that is %s:\n%s", kind, status, text());
}

static unsigned event_entry(void)
{
    char index[20];
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key --json log --all --action event.add --limit 3", bed.dir);
    testbed_json(&out, "2.index", index, sizeof index);
    return (unsigned)atoi(index);
}

#define DELETED "Subject: Consilium ALARM: node node-5: deleted"

static void a_removed_entry_is_an_alarm(void **state)
{
    (void)state;
    unsigned index = event_entry();
    char number[20];
    snprintf(number, sizeof number, "%u", index);
    testbed_signal(&bed, DAMAGED, SIGTERM);
    shell("'%s/tamper' --dir node-%d remove %u", build(), DAMAGED, index);
    testbed_start(&bed, DAMAGED);
    await_alarm("deleted", "\"repaired\"");
    alarm_is(0, "node", "node-5");
    alarm_is(0, "first", number);
    alarm_is(0, "raised_by", "node-5");
    testbed_wait_ready(&bed, PATIENCE_S);
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key verify --all", bed.dir);
    /* It was repaired before anybody's turn to tell people had come; they are told all the same, and once. */
    uint64_t since = clock_monotonic_ns();
    while (sink_count_of(mail, DELETED) == 0 || sink_count_of(hook, "\"kind\":\"deleted\"") == 0)
        if (!still(since)) testbed_fail(&bed, "nobody is told of an entry that was removed");
    assert_int_equal(sink_count_of(mail, DELETED), 1);
    assert_int_equal(sink_count_of(hook, "\"kind\":\"deleted\""), 1);
}

/* --- commands that run long --- */

/* Commands that go to this node first, each with both outputs in DIR/said-N. */
static void go_to(unsigned node)
{
    shell("for d in .cache/consilium/*; do printf node-%u >$d/node; done", node);
}

static pid_t begin_command(unsigned number, const char *words)
{
    char command[1500], path[400];
    snprintf(command, sizeof command, "exec %s/consilium --cluster %s --timeout %d %s", build(), bed.genesis,
             PATIENCE_S, words);
    snprintf(path, sizeof path, "%s/said-%u", bed.dir, number);
    pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600), null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(to, 1);
    dup2(to, 2);
    execl("/bin/sh", "sh", "-c", command, NULL);
    _exit(127);
}

static bool said_has(unsigned number, const char *words)
{
    static char content[256 * 1024];
    char path[400];
    snprintf(path, sizeof path, "%s/said-%u", bed.dir, number);
    FILE *f = fopen(path, "r");
    size_t size = f ? fread(content, 1, sizeof content - 1, f) : 0;
    content[size] = '\0';
    if (f) fclose(f);
    return strstr(content, words) != NULL;
}

/* Turns a bit of a running node's log: its scrub will find that. */
static void damage_log(unsigned node, unsigned block)
{
    char name[200], path[700], *line = NULL;
    size_t size = 0;
    long offset, bytes, at = 0;
    unsigned blocks = 0;
    shell("'%s/consiliumd' dump log --dir node-%u >dumped 2>&1", build(), node);
    snprintf(path, sizeof path, "%s/dumped", bed.dir);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (at == 0 && getline(&line, &size, f) > 0) {
        if (!strstr(line, " block ") || sscanf(line, "%199[^+]+%ld %ld bytes", name, &offset, &bytes) != 3) continue;
        if (++blocks == block) at = offset + bytes / 2;
    }
    free(line);
    fclose(f);
    assert_true(at > 0);
    snprintf(path, sizeof path, "%s/node-%u/log/%s", bed.dir, node, name);
    uint8_t byte = 0;
    int file = open(path, O_RDWR);
    assert_true(file >= 0 && pread(file, &byte, 1, at) == 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(file, &byte, 1, at), 1);
    close(file);
}

static void freeze(int number)
{
    for (unsigned node = 3; node <= NODES; node++) testbed_signal(&bed, node, number);
}

static void no_alarm_is_open(void)
{
    for (uint64_t since = clock_monotonic_ns(); still(since);) {
        unsigned quiet = 0;
        for (unsigned node = 1; node <= NODES; node++)
            quiet += testbed_cli(&bed, &out, &errors, "--via node-%u alarm list", node) == 0 && text()[0] == '\0';
        if (quiet == NODES) return;
    }
    testbed_fail(&bed, "an alarm stays open:\n%s", text());
}

static uint64_t counter(unsigned node, const char *name)
{
    char path[64], value[32];
    testbed_status(&bed, &out, node);
    snprintf(path, sizeof path, "counters.%s", name);
    testbed_json(&out, path, value, sizeof value);
    return strtoull(value, NULL, 10);
}

struct command {
    const char *words;
    pid_t pid;
};

static bool has_ended(const struct command *c)
{
    int status;
    return waitpid(c->pid, &status, WNOHANG) != 0;
}

static void await_words(struct command *c, unsigned number)
{
    for (uint64_t since = clock_monotonic_ns(); !said_has(number, "WARNING: COMPROMISED: node-2");)
        if (!still(since) || has_ended(c)) testbed_fail(&bed, "'%s' says nothing while it runs", c->words);
    if (has_ended(c)) testbed_fail(&bed, "'%s' ended before", c->words);
}

/* A verification fails while that alarm is open; and a node that just went on may know no leader yet. */
static void await_end(struct command *c, unsigned number)
{
    int status;
    waitpid(c->pid, &status, 0);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == 0 || (code == 6 && strstr(c->words, "verify")) || (code == 5 && strstr(c->words, "-1 status"))) return;
    shell("cat said-%u", number);
    testbed_fail(&bed, "'%s' ends with %d", c->words, status);
}

/* Without a majority each waits for its first entry. What its node finds wrong with itself meanwhile is said before
 * anything else happens, and the command comes to its end once the others are back. */
static void are_told_at_once(struct command *commands, unsigned count)
{
    no_alarm_is_open();
    go_to(2);
    freeze(SIGSTOP);
    uint64_t requests = counter(2, "client_requests"), since = clock_monotonic_ns();
    for (unsigned i = 0; i < count; i++) commands[i].pid = begin_command(i, commands[i].words);
    while (counter(2, "client_requests") < requests + count)
        if (!still(since)) testbed_fail(&bed, "not all commands have asked node 2 for something");
    damage_log(2, 10);
    for (unsigned i = 0; i < count; i++) await_words(&commands[i], i);
    freeze(SIGCONT);
    for (unsigned i = 0; i < count; i++) await_end(&commands[i], i);
}

static void commands_that_run_long_say_it_at_once(void **state)
{
    (void)state;
    char words[5][900], record[ID_TEXT_SIZE];
    struct command commands[5];
    testbed_record(&bed, record, patient, "a chart of one record");
    shell("sh \"$OLDPWD/tests/demo/patients.sh\" patients");
    snprintf(words[0], sizeof words[0], "-i %s/auditor.key verify --all", bed.dir);
    snprintf(words[1], sizeof words[1], "-i %s/auditor.key export -o %s/exported", bed.dir, bed.dir);
    snprintf(words[2], sizeof words[2], "-i %s/registrar.key import %s/patients/*.json", bed.dir, bed.dir);
    snprintf(words[3], sizeof words[3], "-i %s/auditor.key status --state-digest", bed.dir);
    snprintf(words[4], sizeof words[4], "-i %s/doctor.key record show --patient %s -o %s/chart", bed.dir, patient,
             bed.dir);
    for (unsigned i = 0; i < 5; i++) commands[i] = (struct command){.words = words[i]};
    are_told_at_once(commands, 5);
}

/* At a terminal of its own, where it asks for a confirmation; the person's side. */
static int ask_person(pid_t *pid)
{
    char command[1500];
    int terminal = -1;
    snprintf(command, sizeof command, "exec %s/consilium --cluster %s -i %s/doctor.key record delete %s --base 1 "
             "--patient %s", build(), bed.genesis, bed.dir, patient, patient);
    *pid = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(*pid >= 0);
    if (*pid > 0) return terminal;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl("/bin/sh", "sh", "-c", command, NULL);
    _exit(127);
}

static void await_shown(int terminal, const char *words)
{
    char shown[8192] = "";
    size_t size = 0;
    struct pollfd p = {.fd = terminal, .events = POLLIN};
    while (!strstr(shown, words)) {
        if (size + 1 >= sizeof shown || poll(&p, 1, PATIENCE_S * 1000) != 1 || read(terminal, shown + size, 1) != 1)
            testbed_fail(&bed, "a person who is asked sees no '%s', but:\n%s", words, shown);
        shown[++size] = '\0';
    }
}

/* Each comes to the node that hangs, and waits for it: nothing that this one could say delays what the others do. */
static void a_node_that_hangs_delays_no_word(void **state)
{
    (void)state;
    char words[4][900];
    struct command commands[4];
    pid_t asking;
    testbed_expect(&bed, 0, &out, "checkpoint");
    snprintf(words[2], sizeof words[2], "%s/old", bed.dir);
    FILE *f = fopen(words[2], "w");
    assert_true(f && fputs(text(), f) >= 0 && fclose(f) == 0);
    no_alarm_is_open();
    go_to(3);
    testbed_signal(&bed, 1, SIGSTOP);
    snprintf(words[0], sizeof words[0], "-i %s/auditor.key verify --all", bed.dir);
    snprintf(words[1], sizeof words[1], "-i %s/auditor.key evidence list", bed.dir);
    snprintf(words[2], sizeof words[2], "verify --since %s/old --all", bed.dir);
    snprintf(words[3], sizeof words[3], "--via node-1 status");
    for (unsigned i = 0; i < 4; i++) {
        commands[i] = (struct command){.words = words[i]};
        commands[i].pid = begin_command(i, words[i]);
    }
    int terminal = ask_person(&asking);
    await_shown(terminal, "[y/N] ");
    damage_log(2, 20);
    for (unsigned i = 0; i < 4; i++) await_words(&commands[i], i);
    await_shown(terminal, "WARNING: COMPROMISED: node-2");
    await_shown(terminal, "[y/N] ");
    assert_int_equal(waitpid(asking, NULL, WNOHANG), 0);
    close(terminal);
    waitpid(asking, NULL, 0);
    testbed_signal(&bed, 1, SIGCONT);
    for (unsigned i = 0; i < 4; i++) await_end(&commands[i], i);
}

/* --- a sender that dies --- */

/* Whose id that is. */
static unsigned member_of(const char *id)
{
    char path[40], value[40];
    testbed_expect(&bed, 0, &out, "--json genesis show");
    for (unsigned node = 1; node <= NODES; node++) {
        snprintf(path, sizeof path, "members.%u.id", node - 1);
        testbed_json(&out, path, value, sizeof value);
        if (strcmp(value, id) == 0) return node;
    }
    testbed_fail(&bed, "%s is no node", id);
}

/* Who has said last, since that entry, that it will tell people. */
static unsigned await_claim(unsigned since_entry)
{
    char id[40], index[20];
    for (uint64_t since = clock_monotonic_ns(); still(since);) {
        int code = testbed_cli(&bed, &out, &errors, "-i %s/auditor.key --json log --all --action alarm.tell "
                               "--decision approved --limit 1", bed.dir);
        if (code != 0 || !strstr(text(), "\"actor\"")) continue;
        testbed_json(&out, "0.index", index, sizeof index);
        testbed_json(&out, "0.actor", id, sizeof id);
        if ((unsigned)atoi(index) > since_entry) return member_of(id);
    }
    testbed_fail(&bed, "nobody claims to tell people");
}

static unsigned open_alarm(const char *kind, const char *node)
{
    char entry[20];
    for (uint64_t since = clock_monotonic_ns(); still(since);) {
        int code = testbed_cli(&bed, &out, &errors, "--via node-1 --json alarm list");
        if (code != 0 || !strstr(text(), "\"entry\"")) continue;
        testbed_json(&out, "0.entry", entry, sizeof entry);
        if (atoi(entry) == 0) continue; /* "null": not in the ledger yet */
        alarm_is(0, "kind", kind);
        alarm_is(0, "node", node);
        return (unsigned)atoi(entry);
    }
    testbed_fail(&bed, "no alarm '%s' about %s is open", kind, node);
}

static void let_pass(unsigned seconds)
{
    shell("echo %u >%s.new && mv %s.new %s", seconds, when, when, when);
}

static void await_told(unsigned node)
{
    char told[40] = "null";
    for (uint64_t since = clock_monotonic_ns(); strcmp(told, "null") == 0;) {
        if (!still(since)) testbed_fail(&bed, "node %u does not say that people were told:\n%s", node, text());
        int code = testbed_cli(&bed, &out, &errors, "--via node-%u --json alarm list", node);
        if (code == 0 && strstr(text(), "\"told\"")) testbed_json(&out, "0.told", told, sizeof told);
    }
}

#define SUBJECT "Subject: Consilium ALARM: node node-5: modified"
#define POSTED "\"kind\":\"modified\",\"meaning\":\"stored data is not what the ledger proves\",\"node\":{\"member\":5,"

/* What a node says of the newest open alarm: who told people, and how. */
static void await_told_by(unsigned node, const char *who)
{
    for (uint64_t since = clock_monotonic_ns(); still(since);)
        if (testbed_cli(&bed, &out, &errors, "--via node-%u --json alarm list", node) == 0 && strstr(text(), who))
            return;
    testbed_fail(&bed, "node %u does not say '%s':\n%s", node, who, text());
}

/* It sent the mail, the webhook refuses it, and it never comes back: the webhook is another one's, and only that. */
static void another_node_tells_the_rest(unsigned sender, unsigned via)
{
    char told_by[60];
    snprintf(told_by, sizeof told_by, "\"node-%u by mail\"", sender);
    await_told_by(via, told_by);
    testbed_signal(&bed, sender, SIGKILL);
    sink_refuse(hook, 0);
    assert_int_equal(sink_count_of(mail, SUBJECT), 1);
    assert_int_equal(sink_count_of(hook, POSTED), 0);
    let_pass(3 * CLAIM_S); /* the sender's own claim may have been the last thing it did */
    snprintf(told_by, sizeof told_by, "\"node-%u by mail and webhook\"", sender);
    await_told_by(via, told_by);
    assert_int_equal(sink_count_of(mail, SUBJECT), 1);
    assert_int_equal(sink_count_of(hook, POSTED), 1);
}

/* The mail server takes the sender's connection and says nothing, the sender is killed; when its claim has run out
 * another node takes over. One message arrives, and it stays one when the dead node is back. The second sender dies as
 * well, with half of it done. */
static void another_node_tells(void **state)
{
    (void)state;
    no_alarm_is_open();
    assert_int_equal(sink_count_of(mail, SUBJECT), 0);
    sink_hang(mail);
    sink_hang(hook);
    testbed_signal(&bed, DAMAGED, SIGTERM);
    shell("'%s/tamper' --dir node-%d flip dealing first", build(), DAMAGED);
    testbed_start(&bed, DAMAGED);
    unsigned first = await_claim(open_alarm("modified", "node-5"));
    assert_true(first != DAMAGED); /* it is in quarantine */
    testbed_signal(&bed, first, SIGKILL);
    sink_resume(mail);
    sink_resume(hook);
    sink_refuse(hook, 503);
    assert_int_equal(sink_count_of(mail, SUBJECT), 0);
    let_pass(CLAIM_S);
    await_told(first == 1 ? 2 : 1);
    assert_int_equal(sink_count_of(mail, SUBJECT), 1);
    testbed_start(&bed, first);
    testbed_await_log(&bed, first, " ready: ");
    await_told(first);
    unsigned second = await_claim(0);
    assert_true(second != first && second != DAMAGED);
    another_node_tells_the_rest(second, first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_removed_entry_is_an_alarm),
        cmocka_unit_test(commands_that_run_long_say_it_at_once),
        cmocka_unit_test(a_node_that_hangs_delays_no_word),
        cmocka_unit_test(another_node_tells),
    };
    return cmocka_run_group_tests(tests, setup, sinks_end);
}
