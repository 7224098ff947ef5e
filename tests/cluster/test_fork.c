/* One of four nodes forks the ledger, tells two roots, states commits of blocks that it did not
 * send, or accuses another one: nothing is released on a fork, evidence names it that anybody can check, a
 * deceived node comes back by itself, and the honest nodes go on with all that was acknowledged. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "tests/lib/testbed.h"
#include "tests/lib/unit.h"

#define LIAR 4
#define VICTIM 3
#define HONEST 3
#define MOST 64
#define LIMIT_S 90

static struct testbed bed;
static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE];
static const char secret_words[] = "what nobody sees without k cosignatures";
static char record[ID_TEXT_SIZE]; /* of that content, from before the fork; empty: the test has none */
static struct buffer out, errors;
static char acknowledged[MOST][24];
static unsigned acknowledged_count;

static const char *text(void) { return out.data ? (const char *)out.data : ""; }
static const char *said(void) { return errors.data ? (const char *)errors.data : ""; }

/* victim: NULL: as all others */
static void begin_with(const char *program, const char *victim)
{
    char path[400];
    testbed_make(&bed, 4, 1);
    snprintf(path, sizeof path, "%s/lie", bed.dir);
    setenv("LIAR_WHEN", path, 1);
    acknowledged_count = 0;
    record[0] = '\0';
    bed.program[LIAR] = program;
    bed.program[VICTIM] = victim;
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, LIMIT_S);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 2", "auditor", auditor);
}

static void begin(const char *program) { begin_with(program, NULL); }

static void end(void)
{
    unsetenv("LIAR_WHEN");
    testbed_end(&bed);
    buffer_free(&out);
    buffer_free(&errors);
}

static void start_lying(void)
{
    char path[400];
    snprintf(path, sizeof path, "%s/lie", bed.dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

/* One event through one node. What exits with 0 is co-signed by k nodes, and is never lost. */
static bool add_event(unsigned node, const char *what)
{
    char code[24];
    snprintf(code, sizeof code, "%s-%u", what, acknowledged_count);
    int exit = testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --via node-%u --timeout 5 event add %s fork %s",
                           bed.dir, node, patient, code);
    if (exit == 0 && acknowledged_count < MOST)
        snprintf(acknowledged[acknowledged_count++], sizeof acknowledged[0], "%s", code);
    return exit == 0;
}

static void add_on_each(const char *what)
{
    for (unsigned node = 1; node <= HONEST; node++) {
        time_t until = time(NULL) + LIMIT_S;
        while (!add_event(node, what))
            if (time(NULL) > until) testbed_fail(&bed, "node %u takes nothing: %s", node, said());
    }
}

/* Whether it shows the record: then all of it, with a proof that k nodes cosigned the read. Else nothing of it. */
static bool shows(unsigned node)
{
    static unsigned receipts;
    char receipt[400];
    snprintf(receipt, sizeof receipt, "%s/receipt-%u", bed.dir, receipts++);
    int exit = testbed_cli(&bed, &out, &errors,
                           "-i %s/doctor.key --via node-%u --timeout 5 --receipt %s record show %s", bed.dir, node,
                           receipt, record);
    bool seen = strstr(text(), secret_words) != NULL;
    if (exit != 0 && out.size > 0) testbed_fail(&bed, "exit %d, but node %u released: %s", exit, node, text());
    if (exit == 0 && !seen) testbed_fail(&bed, "node %u shows something else: %s", node, text());
    if (exit == 0) testbed_expect(&bed, 0, &out, "receipt verify %s", receipt);
    return exit == 0;
}

static void all_show_the_record(void)
{
    for (unsigned node = 1; node <= HONEST; node++)
        for (time_t until = time(NULL) + LIMIT_S; !shows(node); usleep(200000))
            if (time(NULL) > until) testbed_fail(&bed, "node %u does not show the record: %s", node, said());
}

static bool is_named(void)
{
    for (unsigned node = 1; node <= HONEST; node++)
        if (testbed_log_has(&bed, node, "EVIDENCE: node 4 (node-4)")) return true;
    return false;
}

static unsigned leader_now(void)
{
    char path[32], leads[16];
    if (testbed_cli(&bed, &out, &errors, "--via node-1 --json status") != 0) return 0;
    for (unsigned node = 1; node <= 4; node++) {
        snprintf(path, sizeof path, "members.%u.leads", node - 1);
        testbed_json(&out, path, leads, sizeof leads);
        if (strcmp(leads, "true") == 0) return node;
    }
    return 0;
}

/* Honest leaders are killed until the liar leads, or did and is known: it stands for election sooner than they. */
static void let_the_liar_lead(void)
{
    time_t until = time(NULL) + LIMIT_S;
    for (unsigned leader; !is_named() && (leader = leader_now()) != LIAR;) {
        if (time(NULL) > until) testbed_fail(&bed, "the liar never leads");
        if (leader == 0) {
            usleep(100000);
            continue;
        }
        testbed_signal(&bed, leader, SIGKILL);
        usleep(1500000);
        testbed_start(&bed, leader);
        usleep(500000);
    }
}

static void wait_for(unsigned node, const char *what)
{
    time_t until = time(NULL) + LIMIT_S;
    while (!testbed_log_has(&bed, node, what)) {
        if (time(NULL) > until) testbed_fail(&bed, "node %u never said \"%s\"", node, what);
        usleep(50000);
    }
}

static bool log_row_is(const json_t *rows, const char *code)
{
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row) {
        const char *object = json_string_value(json_object_get(row, "object"));
        if (object && strstr(object, code)) return true;
    }
    return false;
}

static void all_acknowledged_on(unsigned node)
{
    /* Rows of a node that an alarm names are shown with exit code 6, until it has said that it is repaired. */
    time_t until = time(NULL) + LIMIT_S;
    while (testbed_cli(&bed, &out, &errors,
                       "-i %s/auditor.key --via node-%u --json log --all --action event.add -n 256", bed.dir,
                       node) != 0) {
        if (time(NULL) > until) testbed_fail(&bed, "node %u does not show its log: %s", node, said());
        usleep(200000);
    }
    json_t *rows = json_loadb(text(), out.size, 0, NULL);
    assert_non_null(rows);
    for (unsigned i = 0; i < acknowledged_count; i++)
        if (!log_row_is(rows, acknowledged[i]))
            testbed_fail(&bed, "node %u lost %s, which was acknowledged", node, acknowledged[i]);
    json_decref(rows);
}

/* Honest nodes with one size have one root, and some time they all have one size. */
static void roots_are_equal(void)
{
    time_t until = time(NULL) + LIMIT_S;
    for (;;) {
        char path[32], size[4][32], root[4][80];
        if (testbed_cli(&bed, &out, &errors, "--via node-1 --json status") != 0) continue;
        bool same = true;
        for (unsigned i = 0; i < HONEST; i++) {
            snprintf(path, sizeof path, "members.%u.size", i);
            testbed_json(&out, path, size[i], sizeof size[i]);
            snprintf(path, sizeof path, "members.%u.root", i);
            testbed_json(&out, path, root[i], sizeof root[i]);
            same = same && strcmp(size[i], size[0]) == 0;
        }
        for (unsigned i = 1; same && i < HONEST; i++)
            if (strcmp(root[i], root[0]) != 0) testbed_fail(&bed, "node %u has another root: %s", i + 1, text());
        if (same) return;
        if (time(NULL) > until) testbed_fail(&bed, "the honest nodes never have one size: %s", text());
        usleep(200000);
    }
}

/* One character of the base64 lines is another. */
static void alter_evidence(const char *path)
{
    char content[4097];
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    size_t size = fread(content, 1, sizeof content - 1, f);
    content[size] = '\0';
    char *line = strstr(content, "EVIDENCE-----\n");
    assert_non_null(line);
    line += strlen("EVIDENCE-----\n") + 20;
    *line = *line == 'A' ? 'B' : 'A';
    rewind(f);
    assert_int_equal(fwrite(content, 1, size, f), size);
    fclose(f);
}

/* On each honest node: listed, and proved by the file alone. */
static void evidence_names_the_liar(const char *kind)
{
    char id[80], path[400];
    for (unsigned node = 1; node <= HONEST; node++) {
        testbed_expect(&bed, 0, &out, "-i %s/auditor.key --via node-%u --json evidence list", bed.dir, node);
        if (!strstr(text(), kind)) testbed_fail(&bed, "node %u has no evidence of \"%s\": %s", node, kind, text());
        testbed_json(&out, "0.id", id, sizeof id);
        snprintf(path, sizeof path, "%s/evidence-%u", bed.dir, node);
        testbed_expect(&bed, 0, &out, "-i %s/auditor.key --via node-%u evidence show %s -o %s", bed.dir, node, id,
                       path);
        testbed_expect(&bed, 0, &out, "evidence verify %s", path);
        assert_non_null(strstr(text(), "verdict: proved. Both signatures are those of node-4"));
    }
    /* Who may not export sees none; an altered file proves nothing. */
    testbed_expect(&bed, 3, &out, "-i %s/doctor.key --via node-1 evidence list", bed.dir);
    alter_evidence(path);
    testbed_expect(&bed, 6, &out, "evidence verify %s", path);
}

/* So that clients are warned, and people are told. A deceived node may have one of its own for a moment. */
static void alarm_names_the_liar(void)
{
    char kind[24], name[32], path[20];
    for (time_t until = time(NULL) + LIMIT_S; time(NULL) < until; usleep(200000)) {
        testbed_expect(&bed, 0, &out, "--via node-1 --json alarm list");
        unsigned rows = 0;
        for (const char *at = text(); (at = strstr(at, "\"kind\"")); at++) rows++;
        for (unsigned row = 0; row < rows; row++) {
            snprintf(path, sizeof path, "%u.kind", row);
            testbed_json(&out, path, kind, sizeof kind);
            snprintf(path, sizeof path, "%u.node", row);
            testbed_json(&out, path, name, sizeof name);
            if (strcmp(kind, "forked") == 0 && strcmp(name, "node-4") == 0) return;
        }
    }
    testbed_fail(&bed, "no alarm names the liar: %s", text());
}

static void honest_nodes_go_on(const char *kind)
{
    add_on_each("after");
    for (unsigned node = 1; node <= HONEST; node++)
        all_acknowledged_on(node);
    roots_are_equal();
    evidence_names_the_liar(kind);
    alarm_names_the_liar();
    printf("%u acknowledged, all on each of %u honest nodes\n", acknowledged_count, HONEST);
}

static void lies(const char *kind)
{
    add_on_each("before");
    let_the_liar_lead();
    start_lying();
    for (unsigned i = 0; i < 6; i++) {
        add_event(1 + i % HONEST, "during"); /* may fail: who is answered is not deceived */
        if (record[0]) shows(1 + i % HONEST);
    }
    for (unsigned node = 1; node <= HONEST; node++)
        wait_for(node, "EVIDENCE: node 4 (node-4)");
    honest_nodes_go_on(kind);
}

/* The liar leads, and sends the third node blocks of its own; the two others hear and say nothing. */
static void the_liar_and_the_deceived_release_nothing(void **state)
{
    (void)state;
    begin("liar --mode fork");
    testbed_record(&bed, record, patient, secret_words);
    add_on_each("before");
    let_the_liar_lead();
    start_lying();
    for (unsigned node = 1; node < VICTIM; node++)
        testbed_signal(&bed, node, SIGSTOP);
    if (shows(VICTIM)) testbed_fail(&bed, "the liar and the deceived node released a record");
    if (add_event(VICTIM, "alone")) testbed_fail(&bed, "the liar and the deceived node acknowledged an event");
    for (unsigned node = 1; node < VICTIM; node++)
        testbed_signal(&bed, node, SIGCONT);
    time_t until = time(NULL) + LIMIT_S;
    for (unsigned i = 0; !is_named(); i++) {
        if (time(NULL) > until) testbed_fail(&bed, "nobody notices that the liar forked");
        let_the_liar_lead();
        add_event(1 + i % HONEST, "during");
    }
    all_show_the_record();
    end();
}

static unsigned deceived(void)
{
    unsigned mask = 0;
    for (unsigned node = 1; node <= HONEST; node++) mask |= (unsigned)testbed_log_has(&bed, node, "DECEIVED") << node;
    return mask;
}

/* Usually the victim yields, alone as it is. Where it wins the next election before it knows, the others, who
 * are not bound by a cosignature either, follow it: then they yield. */
static void a_leader_that_forks_deceives_nobody_for_long(void **state)
{
    (void)state;
    begin("liar --mode fork");
    testbed_record(&bed, record, patient, secret_words);
    lies("signed"); /* two blocks, or a block and the commit of another: whichever shows first */
    all_show_the_record();
    time_t until = time(NULL) + LIMIT_S;
    while (!deceived()) {
        if (time(NULL) > until) testbed_fail(&bed, "nobody notices that it was deceived");
        usleep(50000);
    }
    for (unsigned node = 1; node <= HONEST; node++)
        if (deceived() >> node & 1) wait_for(node, "rebuilt: the old state was set aside");
    if (deceived() >> VICTIM & 1)
        assert_int_equal(deceived(), 1u << VICTIM);
    end();
}

/* The victim hears that k nodes have another root before anybody has seen that the liar signed two blocks: its log has
 * the only proof. Its data are in order, and it doesn't say otherwise. */
static void who_hears_k_words_first_accuses_the_liar(void **state)
{
    (void)state;
    begin_with("liar --mode quiet", "liar --mode late");
    lies("two blocks");
    wait_for(VICTIM, "DECEIVED: its root contradicts one that k nodes");
    wait_for(VICTIM, "rebuilt: the old state was set aside");
    assert_int_equal(deceived(), 1u << VICTIM);
    assert_false(testbed_log_has(&bed, VICTIM, "node 3 (node-3), modified"));
    end();
}

/* It tells nobody which branch it says is true: the three honest nodes have to agree by themselves. */
static void a_leader_that_splits_and_is_silent_stops_nobody(void **state)
{
    (void)state;
    begin("liar --mode split");
    lies("signed"); /* two blocks, or a block and the commit of another: whichever shows first */
    end();
}

static void who_tells_two_roots_is_named(void **state)
{
    (void)state;
    begin("liar --mode roots");
    lies("two roots");
    /* Its ledger may be right now; what it signed stays signed. */
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/auditor.key verify --all", bed.dir), 6);
    if (!strstr(text(), "raised an alarm that is open (entry ") || !strstr(text(), "): forked, Raft index or size ") ||
        !strstr(text(), "node-4 is under alarm"))
        testbed_fail(&bed, "the open alarm is not named:\n%s%s", text(), said());
    for (unsigned node = 1; node <= HONEST; node++)
        assert_false(testbed_log_has(&bed, node, "DECEIVED"));
    end();
}

static void who_states_other_commits_is_named(void **state)
{
    (void)state;
    begin("liar --mode commit");
    lies("commit");
    for (unsigned node = 1; node <= HONEST; node++)
        assert_false(testbed_log_has(&bed, node, "DECEIVED"));
    end();
}

/* What node 4 says of node 3 stands in the ledger, as its word. */
static void wait_for_the_accusation(void)
{
    char value[40];
    for (time_t until = time(NULL) + LIMIT_S; time(NULL) < until; usleep(200000)) {
        testbed_expect(&bed, 0, &out, "--via node-1 --json alarm list");
        if (!strstr(text(), "\"kind\"")) continue;
        testbed_json(&out, "0.said_by", value, sizeof value);
        assert_string_equal(value, "node-4");
        testbed_json(&out, "0.node", value, sizeof value);
        assert_string_equal(value, "node-3");
        testbed_json(&out, "0.kind", value, sizeof value);
        assert_string_equal(value, "modified");
        testbed_json(&out, "0.counts", value, sizeof value);
        assert_string_equal(value, "false");
        return;
    }
    testbed_fail(&bed, "the liar accuses nobody");
}

static void wait_for_the_denial(void)
{
    for (time_t until = time(NULL) + LIMIT_S; time(NULL) < until; usleep(200000)) {
        testbed_expect(&bed, 0, &out, "-i %s/auditor.key --via node-1 --json log --all --action node.alarm "
                                      "--decision denied", bed.dir);
        if (strstr(text(), "no evidence proves it")) return;
    }
    testbed_fail(&bed, "that node 3 forked was not denied: %s", text());
}

/* One node's word is shown as that: the accused one is asked and believed as ever. */
static void who_accuses_is_not_believed(void **state)
{
    (void)state;
    begin("liar --mode accuse");
    start_lying();
    wait_for_the_accusation();
    wait_for_the_denial();
    testbed_expect(&bed, 0, &out, "--via node-1 status");
    assert_non_null(strstr(text(), "ACCUSED: node-3, index 1, since "));
    assert_non_null(strstr(text(), "integrity: unclear (no alarm that counts is open"));
    assert_null(strstr(text(), "COMPROMISED"));
    assert_int_equal(testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --via node-3 log", bed.dir), 0);
    assert_non_null(strstr(said(), "WARNING: ACCUSED: node-3"));
    assert_non_null(strstr(said(), "raised by node-4"));
    testbed_expect(&bed, 0, &out, "-i %s/auditor.key verify --all", bed.dir); /* it does not count */
    add_on_each("accused");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_liar_and_the_deceived_release_nothing),
        cmocka_unit_test(a_leader_that_forks_deceives_nobody_for_long),
        cmocka_unit_test(who_hears_k_words_first_accuses_the_liar),
        cmocka_unit_test(a_leader_that_splits_and_is_silent_stops_nobody),
        cmocka_unit_test(who_tells_two_roots_is_named),
        cmocka_unit_test(who_states_other_commits_is_named),
        cmocka_unit_test(who_accuses_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
