/* Two of five nodes are away, so that nothing is co-signed and no log is trimmed, until the logs are full (short_log.c).
 * No node ends, also when it is started again; clients and status hear why nothing more is taken; and with the two back it
 * goes on unaided, with all that was acknowledged. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "crypto/random.h"
#include "cli/content.h"
#include "tests/lib/attacker.h"
#include "tests/lib/unit.h"

#define NODES 5
#define PRESENT 3 /* a majority, but k is 4 */
#define SHORT_LOG_BYTES (32u * MIB) /* short_log.c: more than may begin at one node, twice */

static struct testbed bed;
static struct attacker them;
static struct signer doctor;
static struct id patient;
static struct buffer out, errors;
static char person[ID_TEXT_SIZE], about[ID_TEXT_SIZE];

typedef void make_request(struct buffer *request);

/* An event with a long note. */
static void make_event(struct buffer *request)
{
    static uint8_t note[LIMIT_NOTE];
    struct arguments args = {.action = ACTION_EVENT_ADD,
                             .event_add = {.patient = patient, .what = bytes_text("bill"), .object = bytes_text("1")}};
    memset(note, 'n', sizeof note);
    attacker_request(request, &them, &doctor, &args, BYTES(note), NULL);
}

/* A record as large as may be: few of them fill a log. */
static void make_record(struct buffer *request)
{
    static uint8_t plain[LIMIT_RECORD];
    struct arguments args = {.action = ACTION_RECORD_CREATE,
                             .record_create = {.record = random_id(), .patient = patient, .kind = bytes_text("note")}};
    struct record_context context = {them.cluster.genesis.cluster, patient, args.record_create.record, 1, CONF_NORMAL,
                                     doctor.user};
    struct buffer content = {0};
    memset(plain, 'r', sizeof plain);
    CHECK(content_close(&content, &them.key, &context, BYTES(plain), NULL) == OK);
    attacker_request(request, &them, &doctor, &args, buffer_bytes(&content), NULL);
    buffer_free(&content);
}

static enum err hand_in(struct client *c, const struct buffer *request, uint64_t *leaf)
{
    struct said said = {0};
    struct message_result result;
    attacker_submit(&them, c, &said, &result, buffer_bytes(request));
    enum err code = said.type == MESSAGE_APPLIED ? result.code : said.code;
    if (said.type == MESSAGE_APPLIED) *leaf = result.leaf_index;
    said_free(&said);
    return code;
}

/* OK: applied, at *leaf. */
static enum err add(struct client *c, make_request *make, uint64_t *leaf)
{
    struct buffer request = {0};
    make(&request);
    enum err code = hand_in(c, &request, leaf);
    buffer_free(&request);
    return code;
}

static void add_until_refused(struct client *c, make_request *make, uint64_t *leaf)
{
    enum err code;
    unsigned unheard = 0;
    do {
        code = add(c, make, leaf); /* ERR_NO_QUORUM: who led was one of the two, or its log was full by then */
        unheard = code == ERR_NO_QUORUM ? unheard + 1 : 0;
    } while (code == OK || (code == ERR_NO_QUORUM && unheard < TESTBED_PATIENCE_S));
    if (code != ERR_LOG_FULL) testbed_fail(&bed, "refused for another reason: %s", err_name(code));
}

/* The last leaf that was acknowledged there. Each node refuses once its own log is full, which is not at the same moment
 * everywhere: at first what is large, and what is small as well. */
static uint64_t write_until_refused(unsigned node)
{
    uint64_t leaf = 0;
    struct client *c = attacker_greet(&them, node);
    add_until_refused(c, make_record, &leaf);
    add_until_refused(c, make_event, &leaf);
    client_close(c);
    return leaf;
}

static void await_state(unsigned node, const char *state)
{
    char path[64], value[80] = "";
    snprintf(path, sizeof path, "members.%u.state", node - 1);
    for (unsigned i = 0; i < TESTBED_PATIENCE_S * 10; i++) {
        testbed_status(&bed, &out, node);
        testbed_json(&out, path, value, sizeof value);
        if (strcmp(value, state) == 0) return;
        usleep(100000);
    }
    testbed_fail(&bed, "node %u says \"%s\" and not \"%s\"", node, value, state);
}

static void each_says_why(void)
{
    for (unsigned node = 1; node <= PRESENT; node++) {
        await_state(node, "log full: start the nodes that are away");
        int code = testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --via node-%u --timeout 2 event add %s bill 2", bed.dir,
                               node, about);
        const char *said = (const char *)errors.data;
        if (code != 5 || !strstr(said, "not co-signed")) testbed_fail(&bed, "exit code %d, and \"%s\"", code, said);
    }
}

/* Nodes with short logs, a patient, and a doctor who writes about them. */
static void begin(unsigned nodes)
{
    testbed_make(&bed, nodes, 1);
    for (unsigned node = 1; node <= nodes; node++) bed.program[node] = "short_log";
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 30);
    testbed_care(&bed, person, about);
    attacker_open(&them, &bed);
    doctor = attacker_signer(&them, "doctor");
    assert_int_equal(id_parse(&patient, about), OK);
}

static void full_logs_wait_for_those_who_are_away(void **state)
{
    (void)state;
    begin(NODES);
    for (unsigned node = PRESENT + 1; node <= NODES; node++) testbed_signal(&bed, node, SIGKILL);
    uint64_t last = 0;
    for (unsigned node = 1; node <= PRESENT; node++) {
        uint64_t leaf = write_until_refused(node);
        if (leaf > last) last = leaf;
    }
    each_says_why();
    for (unsigned node = 1; node <= PRESENT; node++) {
        if (node == 1) testbed_signal(&bed, node, SIGKILL);
        else assert_int_equal(testbed_signal(&bed, node, SIGTERM), 0); /* it still ran */
    }
    for (unsigned node = 1; node <= PRESENT; node++) testbed_start(&bed, node);
    for (unsigned node = 1; node <= PRESENT; node++) testbed_await_log(&bed, node, "listening on");
    each_says_why();
    for (unsigned node = PRESENT + 1; node <= NODES; node++) testbed_start(&bed, node);
    for (unsigned node = PRESENT + 1; node <= NODES; node++) testbed_await_log(&bed, node, "listening on");
    for (unsigned node = 1; node <= NODES; node++) await_state(node, "ready");
    for (unsigned node = 1; node <= NODES; node++) {
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u event add %s bill 3", bed.dir, node, about);
        if (attacker_mark(&them, node).size <= last) testbed_fail(&bed, "node %u lacks what was acknowledged", node);
        assert_false(testbed_log_has(&bed, node, "nothing more is acknowledged"));
    }
    signer_close(&doctor);
    attacker_close(&them);
    testbed_end(&bed);
}

/* One request again and again leaves no leaf, so that nothing more is co-signed. (A new one where it got too old.) */
static void repeat(struct client *c, unsigned times)
{
    struct buffer request = {0};
    uint64_t leaf;
    enum err code = OK;
    make_record(&request);
    for (unsigned i = 0, waited = 0; i < times; i += code != ERR_LOG_FULL, waited += code == ERR_LOG_FULL) {
        code = hand_in(c, &request, &leaf);
        if (code == ERR_LOG_FULL && waited > TESTBED_PATIENCE_S * 10) testbed_fail(&bed, "the log stays full");
        if (code == ERR_STALE) {
            buffer_free(&request);
            make_record(&request);
            continue;
        }
        if (code != OK && code != ERR_DUPLICATE && code != ERR_LOG_FULL) testbed_fail(&bed, "%s", err_name(code));
        if (code == ERR_LOG_FULL) usleep(100000);
    }
    buffer_free(&request);
}

static void what_leaves_no_leaf_fills_no_log(void **state)
{
    (void)state;
    begin(4);
    struct client *c = attacker_greet(&them, 1);
    repeat(c, SHORT_LOG_BYTES / LIMIT_RECORD);
    client_close(c);
    for (unsigned node = 1; node <= 4; node++)
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u event add %s bill 3", bed.dir, node, about);
    signer_close(&doctor);
    attacker_close(&them);
    testbed_end(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_logs_wait_for_those_who_are_away),
        cmocka_unit_test(what_leaves_no_leaf_fills_no_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
