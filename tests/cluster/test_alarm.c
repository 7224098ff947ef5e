/* Alarms with real nodes: a disk that is set back, a ledger that is altered. Every node's ledger has
 * the alarm, every command warns, an administrator clears it; a kill loses none. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

#define PATIENCE_S 60
#define SET_BACK 3
#define ALTERED 4

static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], chief[ID_TEXT_SIZE];

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 4, 1);
    bed.extra = "--scrub-rate 0"; /* what is altered is found by witnessing */
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, PATIENCE_S);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "admin", "Hospital 1", "chief", chief);
    return 0;
}

static void add_event(void)
{
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print", bed.dir, patient);
}

static void wait_for_log(unsigned node, const char *words)
{
    for (unsigned i = 0; i < 10 * PATIENCE_S; i++) {
        if (testbed_log_has(&bed, node, words)) return;
        usleep(100000);
    }
    testbed_fail(&bed, "node %u does not say '%s'", node, words);
}

/* Until `alarm list` through that node shows so many open alarms, each in the ledger and with as many words as
 * count. */
static void wait_for_open(unsigned node, unsigned count)
{
    char where[32], entry[32], counts[32];
    for (unsigned i = 0; i < 2 * PATIENCE_S; i++) {
        int code = testbed_cli(&bed, &out, &errors, "--via node-%u alarm list --json", node);
        unsigned rows = 0, found = 0;
        for (const char *at = text(); code == 0 && (at = strstr(at, "\"entry\"")); at++) rows++;
        for (unsigned row = 0; row < rows; row++) {
            snprintf(where, sizeof where, "%u.entry", row);
            testbed_json(&out, where, entry, sizeof entry);
            snprintf(where, sizeof where, "%u.counts", row);
            testbed_json(&out, where, counts, sizeof counts);
            found += strcmp(entry, "null") != 0 && strcmp(counts, "true") == 0;
        }
        if (code == 0 && found == count && rows == count) return;
        usleep(500000);
    }
    testbed_fail(&bed, "node %u does not show %u open alarms: %s%s", node, count, text(), said());
}

/* Each node warns, whoever asks and whatever, for people and for programs. */
static void every_command_warns(const char *name)
{
    char words[64], line[64];
    snprintf(words, sizeof words, "WARNING: COMPROMISED: %s, ", name);
    snprintf(line, sizeof line, "\"node\":\"%s\"", name);
    for (unsigned node = 1; node <= bed.n; node++) {
        if (bed.pids[node] == 0) continue;
        testbed_cli(&bed, &out, &errors, "--via node-%u -i %s/doctor.key record list %s", node, bed.dir, patient);
        if (!strstr(said(), words)) testbed_fail(&bed, "node %u does not warn: %s", node, said());
        testbed_cli(&bed, &out, &errors, "--via node-%u checkpoint --json", node);
        if (!strstr(said(), line) || !strstr(said(), "\"warning\":\"compromised\""))
            testbed_fail(&bed, "node %u does not warn a program: %s", node, said());
        assert_null(strstr(text(), "COMPROMISED")); /* what it answers is as ever */
    }
}

/* Also what ends for want of an identity, before it has asked anybody anything. */
static void who_is_nobody_is_warned(const char *name)
{
    static const char *const rows[] = {"whoami", "lookup 1767225600000-7mz3k2vq4t5yxw6lbjnfhsdg2e", "verify",
                                       "team list %s", "log --all", "policy show", "evidence list",
                                       "record create --patient %s --set temperature=38.5",
                                       "record show --patient %s -o chart", "import patients.json",
                                       "export -o exported", "--yes user disable %s", "status --state-digest"};
    char words[64], command[200];
    snprintf(words, sizeof words, "WARNING: COMPROMISED: %s, ", name);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *at = strstr(rows[i], "%s");
        int head = at ? (int)(at - rows[i]) : (int)strlen(rows[i]);
        snprintf(command, sizeof command, "%.*s%s%s", head, rows[i], at ? patient : "", at ? at + 2 : "");
        int code = testbed_cli(&bed, &out, &errors, "%s", command);
        const char *warning = strstr(said(), words), *error = strstr(said(), "who are you?");
        if (code != 4 || !warning || !error || warning > error)
            testbed_fail(&bed, "'%s' ends with %d: %s", command, code, said());
    }
}

/* Whatever node answered last, commands go to another than that. */
static void is_avoided(const char *name)
{
    char asked[80], id[80], path[600];
    testbed_expect(&bed, 0, &out, "genesis show --json");
    testbed_json(&out, "cluster", id, sizeof id);
    for (unsigned i = 0; i < 6; i++) {
        snprintf(path, sizeof path, "%s/.cache/consilium/%s/node", bed.dir, id);
        FILE *f = fopen(path, "w");
        if (!f) testbed_fail(&bed, "no %s", path);
        fputs(name, f);
        fclose(f);
        testbed_expect(&bed, 0, &out, "status --json");
        testbed_json(&out, "asked", asked, sizeof asked);
        assert_string_not_equal(asked, name);
    }
}

static void nobody_warns(void)
{
    for (unsigned node = 1; node <= bed.n; node++) {
        wait_for_open(node, 0);
        testbed_cli(&bed, &out, &errors, "--via node-%u -i %s/doctor.key record list %s", node, bed.dir, patient);
        if (strstr(said(), "COMPROMISED")) testbed_fail(&bed, "node %u still warns: %s", node, said());
    }
}

/* Seen by node `node`: the open alarm's entry. */
static void open_entry(unsigned node, char *entry, size_t size, const char *name, const char *kind)
{
    char value[64];
    wait_for_open(node, 1);
    testbed_json(&out, "0.node", value, sizeof value);
    assert_string_equal(value, name);
    testbed_json(&out, "0.kind", value, sizeof value);
    assert_string_equal(value, kind);
    testbed_json(&out, "0.entry", entry, size);
}

/* --- a disk that is set back --- */

static void nothing_is_open(void **state)
{
    (void)state;
    testbed_expect(&bed, 0, &out, "status");
    assert_non_null(strstr(text(), "integrity: verified (no alarm is open, says node-"));
    testbed_cli(&bed, &out, &errors, "alarm list");
    assert_non_null(strstr(said(), "no alarm is open"));
    nobody_warns();
    testbed_expect(&bed, 2, &out, "-i %s alarm clear one", bed.admin);
    assert_int_not_equal(testbed_cli(&bed, &out, &errors, "-i %s alarm clear 999999", bed.admin), 0);
    assert_non_null(strstr(said(), "no such alarm"));
}

/* Its disk is exchanged for an earlier copy. Only one peer is there to tell it, so that no alarm can get
 * into the ledger before the node is killed. */
static void set_back_and_kill(void)
{
    testbed_signal(&bed, SET_BACK, SIGTERM);
    shell("cp -a node-3 old");
    testbed_start(&bed, SET_BACK);
    testbed_wait_ready(&bed, PATIENCE_S);
    for (unsigned i = 0; i < 5; i++) { /* each second it signs how far it has come, and its peers keep that */
        add_event();
        usleep(1000000);
    }
    testbed_signal(&bed, SET_BACK, SIGTERM);
    shell("rm -r node-3 && mv old node-3");
    testbed_signal(&bed, 2, SIGTERM);
    testbed_signal(&bed, 4, SIGTERM);
    testbed_start(&bed, SET_BACK);
    wait_for_log(SET_BACK, "ALARM: node 3");
    testbed_signal(&bed, SET_BACK, SIGKILL);
    testbed_start(&bed, 2);
    testbed_start(&bed, 4);
    testbed_start(&bed, SET_BACK);
}

static void a_disk_set_back(void **state)
{
    (void)state;
    char entry[32], other[32];
    set_back_and_kill();
    open_entry(1, entry, sizeof entry, "node-3", "rolled back");
    for (unsigned node = 2; node <= 4; node++) {
        open_entry(node, other, sizeof other, "node-3", "rolled back");
        assert_string_equal(entry, other);
    }
    every_command_warns("node-3");
    who_is_nobody_is_warned("node-3");
    is_avoided("node-3");
    testbed_expect(&bed, 0, &out, "status");
    assert_non_null(strstr(text(), "COMPROMISED: node-3, Raft index "));
    assert_null(strstr(text(), "integrity: verified"));
    testbed_expect(&bed, 0, &out, "status --json");
    testbed_json(&out, "members.2.integrity", other, sizeof other);
    assert_string_equal(other, "COMPROMISED");
    testbed_json(&out, "members.0.integrity", other, sizeof other);
    assert_string_equal(other, "verified");
    /* rows of the log that it shows are marked */
    assert_int_equal(testbed_cli(&bed, &out, &errors, "--via node-3 -i %s/doctor.key log --json", bed.dir), 6);
    assert_non_null(strstr(said(), "these rows come from node-3"));
    testbed_json(&out, "0.trusted", other, sizeof other);
    assert_string_equal(other, "false");
    assert_int_equal(testbed_cli(&bed, &out, &errors, "--via node-3 -i %s/doctor.key log", bed.dir), 6);
    assert_non_null(strstr(text(), "approved (untrusted)"));
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key log --json", bed.dir);
    testbed_json(&out, "0.trusted", other, sizeof other);
    assert_string_equal(other, "true");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key log", bed.dir);
    assert_null(strstr(text(), "(untrusted)"));
}

static void an_administrator_clears_it(void **state)
{
    (void)state;
    char entry[32], value[64];
    open_entry(1, entry, sizeof entry, "node-3", "rolled back");
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key alarm clear %s", bed.dir, entry), 3);
    testbed_expect(&bed, 0, &out, "-i %s/chief.key alarm clear %s --note 'the disk was exchanged' --receipt "
                   "%s/cleared.tlog-proof", bed.dir, entry, bed.dir);
    testbed_expect(&bed, 0, &out, "receipt verify %s/cleared.tlog-proof --key %s/chief.key --json", bed.dir, bed.dir);
    testbed_json(&out, "action", value, sizeof value);
    assert_string_equal(value, "alarm.clear");
    testbed_json(&out, "decision", value, sizeof value);
    assert_string_equal(value, "approved");
    assert_int_not_equal(testbed_cli(&bed, &out, &errors, "-i %s/chief.key alarm clear %s", bed.dir, entry), 0);
    assert_non_null(strstr(said(), "closed already"));
    nobody_warns();
    testbed_expect(&bed, 0, &out, "alarm list --all --json");
    testbed_json(&out, "0.entry", value, sizeof value);
    assert_string_equal(value, entry);
    testbed_json(&out, "0.status", value, sizeof value);
    assert_string_equal(value, "cleared");
    /* a node that starts again doesn't raise it again */
    testbed_signal(&bed, SET_BACK, SIGTERM);
    testbed_start(&bed, SET_BACK);
    testbed_wait_ready(&bed, PATIENCE_S);
    add_event();
    testbed_expect(&bed, 0, &out, "alarm list --json");
    assert_null(strstr(text(), "\"open\""));
}

/* --- a ledger that is altered --- */

static pid_t follow_in(const char *file)
{
    char cluster[400], key[400], program[400];
    snprintf(program, sizeof program, "%s/consilium", build());
    snprintf(cluster, sizeof cluster, "%s", bed.genesis);
    snprintf(key, sizeof key, "%s/doctor.key", bed.dir);
    pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int to = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600), null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(to, 1);
    dup2(to, 2);
    execl(program, program, "--cluster", cluster, "-i", key, "log", "--follow", NULL);
    _exit(127);
}

static bool file_has(const char *file, const char *text)
{
    static char content[256 * 1024];
    FILE *f = fopen(file, "r");
    size_t size = f ? fread(content, 1, sizeof content - 1, f) : 0;
    content[size] = '\0';
    if (f) fclose(f);
    return strstr(content, text) != NULL;
}

static void wait_for_file(const char *file, const char *text)
{
    for (unsigned i = 0; i < 10 * PATIENCE_S; i++) {
        if (file_has(file, text)) return;
        usleep(100000);
    }
    testbed_fail(&bed, "%s does not say '%s'", file, text);
}

/* What its administrator did to the stopped node's ledger: all that comes hangs on another leaf. */
static void alter_chain(void)
{
    char command[900];
    snprintf(command, sizeof command, "%s/tamper --dir %s/node-4 chain 0", build(), bed.dir);
    if (system(command) != 0) testbed_fail(&bed, "%s failed", command);
}

/* It has cosigned nothing that contradicts the others, so it derives its state anew; and people hear of it, those at
 * once who follow the log. */
static void an_altered_ledger(void **state)
{
    (void)state;
    char file[400], value[64];
    snprintf(file, sizeof file, "%s/followed", bed.dir);
    testbed_signal(&bed, ALTERED, SIGTERM);
    alter_chain();
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key log", bed.dir); /* an entry that shows that it follows */
    pid_t follower = follow_in(file);
    wait_for_file(file, "log.query");
    add_event();
    testbed_start(&bed, ALTERED);
    wait_for_log(ALTERED, "rebuilt: the old state was set aside");
    wait_for_file(file, "WARNING: COMPROMISED: node-4");
    kill(follower, SIGKILL);
    waitpid(follower, NULL, 0);
    testbed_wait_ready(&bed, PATIENCE_S);
    nobody_warns();
    testbed_expect(&bed, 0, &out, "alarm list --all --json");
    testbed_json(&out, "0.node", value, sizeof value);
    assert_string_equal(value, "node-4");
    testbed_json(&out, "0.kind", value, sizeof value);
    assert_string_equal(value, "modified");
    testbed_json(&out, "0.status", value, sizeof value);
    assert_string_equal(value, "repaired");
    testbed_json(&out, "0.raised_by", value, sizeof value);
    assert_string_equal(value, "node-4");
}

/* All nodes' newest checkpoint covers the whole ledger, and node 4 cosigned it. */
static void wait_for_cosigned(void)
{
    char size[32], cosigned[32];
    for (unsigned i = 0; i < 5 * PATIENCE_S; i++) {
        testbed_status(&bed, &out, 4);
        testbed_json(&out, "members.3.size", size, sizeof size);
        testbed_json(&out, "members.3.cosigned", cosigned, sizeof cosigned);
        if (strcmp(size, cosigned) == 0) return;
        usleep(200000);
    }
    testbed_fail(&bed, "node 4 does not cosign all of its ledger");
}

/* What it cosigned is not what its altered state now has: it quarantines itself, so that its peers have to raise
 * the alarm. */
static void a_state_that_was_cosigned(void **state)
{
    (void)state;
    char entry[32], value[64];
    testbed_signal(&bed, ALTERED, SIGTERM);
    shell("cp -a node-4/state old-state");
    testbed_start(&bed, ALTERED);
    testbed_wait_ready(&bed, PATIENCE_S);
    for (unsigned i = 0; i < 3; i++) add_event();
    wait_for_cosigned();
    testbed_signal(&bed, ALTERED, SIGTERM);
    shell("rm -r node-4/state && mv old-state node-4/state");
    alter_chain();
    testbed_start(&bed, ALTERED);
    wait_for_log(ALTERED, "QUARANTINED");
    for (unsigned node = 1; node <= 3; node++) open_entry(node, entry, sizeof entry, "node-4", "modified");
    testbed_json(&out, "0.raised_by", value, sizeof value);
    assert_string_not_equal(value, "node-4");
    every_command_warns("node-4");
    is_avoided("node-4");
    testbed_status(&bed, &out, 1);
    testbed_json(&out, "members.3.state", value, sizeof value);
    assert_string_equal(value, "quarantined");
    /* At once: it will take nothing until it is rebuilt. */
    assert_int_equal(testbed_cli(&bed, &out, &errors, "--via node-4 -i %s/doctor.key log", bed.dir), 5);
    if (!strstr((const char *)errors.data, "node-4")) testbed_fail(&bed, "not named: %s", (const char *)errors.data);
}

/* A restart is quarantined at once. Then it sees that the ledger went on without it: what it cosigned stands, so its
 * state is made anew; the peer that raised the alarm closes it. */
static void a_quarantine_outlives_a_kill(void **state)
{
    (void)state;
    char value[64];
    testbed_signal(&bed, ALTERED, SIGKILL);
    testbed_start(&bed, ALTERED);
    wait_for_log(ALTERED, "QUARANTINED since before this start");
    nobody_warns();
    testbed_wait_ready(&bed, PATIENCE_S);
    testbed_expect(&bed, 0, &out, "alarm list --all --json");
    testbed_json(&out, "0.status", value, sizeof value);
    assert_string_equal(value, "repaired");
    testbed_json(&out, "0.raised_by", value, sizeof value);
    assert_string_not_equal(value, "node-4");
    testbed_expect(&bed, 0, &out, "status");
    assert_non_null(strstr(text(), "integrity: verified"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_open),
        cmocka_unit_test(an_altered_ledger),
        cmocka_unit_test(a_state_that_was_cosigned),
        cmocka_unit_test(a_quarantine_outlives_a_kill),
        cmocka_unit_test(a_disk_set_back),
        cmocka_unit_test(an_administrator_clears_it),
    };
    return cmocka_run_group_tests_name("cluster/alarm", tests, setup, bed_end);
}
