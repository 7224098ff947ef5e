/* A disk that is set back, where it is most dangerous: of three nodes one never saw the last entries, one forgot
 * them, and the two would be a majority. The third one, which has them and knows what the second had signed, is
 * there: nothing that was acknowledged is lost, the second does not vote, says what becomes of its disk, and gets its
 * vote back from both of the others. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cluster.h"
#include "tests/lib/bed.h"
#include "tests/lib/unit.h"

#define EVENTS 5

static char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE];

/* What /metrics of a node has. */
static bool metrics_have(unsigned node, const char *line)
{
    struct cluster c = {0};
    struct client *client;
    struct failure failure = {0};
    struct address to;
    struct buffer body = {0};
    uint8_t part[4096];
    size_t got = 0;
    assert_int_equal(cluster_open(&c, bed.genesis, NULL, 60000, NULL, &failure), OK);
    const struct descriptor *d = genesis_member(&c.genesis, node);
    assert_int_equal(address_parse(&to, d->address, false, NULL), OK);
    struct client_options options = {.alpn = TLS_ALPN_HTTP, .timeout_ms = 60000};
    if (client_connect(&client, c.tls, &to, &d->tls_pin, &options, &failure) != OK) fail_msg("%s", failure.text);
    assert_int_equal(client_write(client, bytes_text("GET /metrics HTTP/1.0\r\nHost: node\r\n\r\n"), 60000, NULL), OK);
    while (client_read(client, part, sizeof part, &got, 60000, NULL) == OK && got > 0) buffer_append(&body, part, got);
    bool has = memmem(body.data, body.size, line, strlen(line)) != NULL;
    buffer_free(&body);
    client_close(client);
    cluster_close(&c);
    return has;
}

static int setup(void **state)
{
    (void)state;
    testbed_make(&bed, 3, 0);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 1", "auditor", auditor);
    return 0;
}

/* Acknowledged, co-signed by nodes 1 and 2, with a receipt that says so. Node 3 is down. Then nodes 1 and 2 are killed,
 * and node 2 gets an older disk. `seconds`: a node claims how far it came about once a second, and a peer keeps
 * that. */
static void acknowledge_and_set_back(unsigned seconds)
{
    testbed_signal(&bed, 3, SIGTERM);
    testbed_signal(&bed, 2, SIGTERM);
    shell("rm -rf kept-2 receipts && cp -a node-2 kept-2 && mkdir receipts");
    testbed_start(&bed, 2);
    testbed_wait_ready(&bed, 60);
    for (int i = 0; i < EVENTS; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print S-%d --receipt %s/receipts/%d", bed.dir,
                       patient, i, bed.dir, i);
    sleep(seconds);
    testbed_signal(&bed, 1, SIGKILL);
    testbed_signal(&bed, 2, SIGKILL);
    shell("rm -rf node-2 && mv kept-2 node-2");
}

/* Each entry that was acknowledged, in the ledger as every node that is right shows it. */
static void nothing_is_lost(void)
{
    for (unsigned node = 1; node <= 3; node++) {
        if (node == 2) continue;
        for (int i = 0; i < EVENTS; i++) {
            char index[20], words[40];
            testbed_expect(&bed, 0, &out, "--json receipt verify %s/receipts/%d", bed.dir, i);
            testbed_json(&out, "entry", index, sizeof index);
            testbed_expect(&bed, 0, &out, "-i %s/auditor.key --via node-%u export --from %s --to %s --format ndjson",
                           bed.dir, node, index, index);
            snprintf(words, sizeof words, "S-%d\"", i);
            if (!strstr(text(), words)) testbed_fail(&bed, "node %u lost entry %s:\n%s", node, index, text());
        }
    }
}

static bool notices(void)
{
    for (int i = 0; i < 50 && !testbed_life_has(&bed, 2, "it was set back"); i++) usleep(100000);
    return testbed_life_has(&bed, 2, "it was set back");
}

static unsigned seconds = 2; /* so long it takes until a peer has been told */

static void it_was_too_early(void)
{
    seconds *= 2;
    if (seconds > 30) testbed_fail(&bed, "node 2 does not notice that its disk is old");
}

static void what_was_acknowledged_stays(void **state)
{
    (void)state;
    for (;; it_was_too_early()) {
        acknowledge_and_set_back(seconds);
        /* The two that know nothing of these entries come first. */
        testbed_start(&bed, 3);
        testbed_start(&bed, 2);
        testbed_start(&bed, 1);
        testbed_await_log(&bed, 1, " ready: ");
        testbed_await_log(&bed, 3, " ready: ");
        nothing_is_lost(); /* also when it was too early for node 2 to be told */
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print after", bed.dir, patient);
        if (notices()) break;
    }
    assert_true(testbed_life_has(&bed, 2, "does not vote"));
    testbed_await_log(&bed, 2, "this node votes again");
    testbed_expect(&bed, 6, &out, "-i %s/auditor.key verify --all", bed.dir);
    assert_non_null(strstr(text(), "node-2's ledger is rolled back"));
}

/* It leads nobody and helps nobody to lead, also after a restart: with node 1 alone there is no majority. Once both others
 * are there it gets its vote back: then it and node 1 are one. */
static void it_votes_once_both_others_are_there(void **state)
{
    (void)state;
    for (;; it_was_too_early()) {
        acknowledge_and_set_back(seconds);
        testbed_start(&bed, 1);
        testbed_start(&bed, 2);
        if (notices()) break;
        testbed_start(&bed, 3);
        testbed_wait_ready(&bed, 60);
    }
    testbed_signal(&bed, 2, SIGKILL);
    testbed_start(&bed, 2);
    testbed_await_log(&bed, 2, "was set back");
    testbed_expect(&bed, 5, &out, "-i %s/doctor.key --timeout 5 event add %s bill.print no", bed.dir, patient);
    testbed_start(&bed, 3);
    testbed_await_log(&bed, 3, " ready: ");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print yes", bed.dir, patient);
    testbed_await_log(&bed, 2, "this node votes again");
    nothing_is_lost();
    testbed_signal(&bed, 3, SIGKILL);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print two", bed.dir, patient);
    testbed_signal(&bed, 1, SIGTERM);
    testbed_signal(&bed, 2, SIGTERM);
    testbed_start(&bed, 1);
    testbed_start(&bed, 2);
    testbed_await_log(&bed, 2, " ready: ");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print elected", bed.dir, patient);
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 60);
    nothing_is_lost();
}

/* A disk that is lost: what the README says to keep a copy of brings the node back, with its share. */
static void small_files_bring_its_share_back(void **state)
{
    (void)state;
    static const char *const lost[] = {"log node-2/state", "log node-2/state node-2/key-share-*"};
    static const char *const said[] = {"this node holds its share of key 1", "key share is gone with its disk"};
    for (int i = 0; i < 2; i++) {
        testbed_signal(&bed, 2, SIGTERM);
        shell("rm -rf node-2/%s", lost[i]);
        testbed_start(&bed, 2);
        testbed_await_log(&bed, 2, said[i]);
        testbed_await_log(&bed, 2, "was set back");
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print lost-%d", bed.dir, patient, i);
        testbed_await_log(&bed, 2, "this node votes again");
    }
    nothing_is_lost();
}

static int accept_loss(unsigned node)
{
    char command[900];
    snprintf(command, sizeof command, "%s/consiliumd accept-loss --dir %s/node-%u >/dev/null 2>&1", build(), bed.dir, node);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Of three nodes two: nobody is left to give either its vote back. The operator of one accepts that; it follows who
 * forgot nothing, so nothing is lost, and the second gets its vote back from both. */
static void two_of_three_need_an_operator(void **state)
{
    (void)state;
    testbed_signal(&bed, 2, SIGTERM);
    testbed_signal(&bed, 3, SIGTERM);
    shell("rm -rf kept-2 kept-3 receipts && cp -a node-2 kept-2 && cp -a node-3 kept-3 && mkdir receipts");
    testbed_start(&bed, 2);
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 60);
    for (int i = 0; i < EVENTS; i++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print S-%d --receipt %s/receipts/%d", bed.dir,
                       patient, i, bed.dir, i);
    sleep(seconds);
    for (unsigned node = 1; node <= 3; node++) testbed_signal(&bed, node, SIGKILL);
    shell("rm -rf node-2 node-3 && mv kept-2 node-2 && mv kept-3 node-3");
    for (unsigned node = 1; node <= 3; node++) testbed_start(&bed, node);
    testbed_await_log(&bed, 2, "was set back");
    testbed_await_log(&bed, 3, "was set back");
    testbed_expect(&bed, 5, &out, "-i %s/doctor.key --timeout 5 event add %s bill.print no", bed.dir, patient);
    testbed_expect(&bed, 5, &out, "status");
    if (!strstr(text(), "2 without a vote: NOTHING")) testbed_fail(&bed, "status doesn't say that two have no vote:\n%s", text());
    if (!strstr(text(), "consiliumd help accept-loss")) testbed_fail(&bed, "no word on what to do:\n%s", text());
    assert_true(metrics_have(1, "\nconsilium_votes 1\n") && metrics_have(2, "\nconsilium_votes 0\n"));
    assert_int_not_equal(accept_loss(2), 0); /* it runs */
    testbed_signal(&bed, 2, SIGTERM);
    assert_int_equal(accept_loss(2), 0);
    testbed_start(&bed, 2);
    testbed_await_log(&bed, 2, "Its operator accepted that");
    testbed_await_log(&bed, 3, "this node votes again");
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print yes", bed.dir, patient);
    nothing_is_lost();
    testbed_signal(&bed, 2, SIGTERM); /* once is enough */
    testbed_start(&bed, 2);
    testbed_await_log(&bed, 2, " ready: ");
    testbed_signal(&bed, 3, SIGTERM);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key event add %s bill.print two", bed.dir, patient);
    if (testbed_life_has(&bed, 2, "accepted")) testbed_fail(&bed, "node 2 accepts its loss with each start");
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 60);
    nothing_is_lost();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_stays),
        cmocka_unit_test(it_votes_once_both_others_are_there),
        cmocka_unit_test(two_of_three_need_an_operator),
        cmocka_unit_test(small_files_bring_its_share_back),
    };
    return cmocka_run_group_tests(tests, setup, bed_end);
}
