/* "Done" only for what k members co-signed: against nodes that die and nodes that lie. */
#include "cli/submit.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "cli/collective.h"
#include "cli/files.h"
#include "cli/output.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "ledger/arguments.h"
#include "tests/lib/fake_cluster.h"
#include "tests/lib/live_notice.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static struct fake_cluster fake;
static struct cluster cluster;
static struct signer signer;
static struct failure failure;
static struct submission submission;

/* Of tests in which no time runs out, however slow the machine is. */
#define PATIENCE_MS 60000

static int setup(void **state)
{
    (void)state;
    fake_cluster_start(&fake, 1);
    setenv("XDG_CACHE_HOME", fake.folder, 1);
    signer = (struct signer){.user = sample_id(5), .secrets = secret_alloc(sizeof *signer.secrets)};
    sample_key(&signer.secrets->sign, &signer.public_key, 5);
    signer.key_id = key_id_of(&signer.public_key);
    assert_int_equal(cluster_open(&cluster, fake.genesis_file, NULL, PATIENCE_MS, NULL, &failure), OK);
    cluster.started = 1; /* beginning with the first node */
    failure = (struct failure){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    submission_free(&submission);
    signer_close(&signer);
    cluster_close(&cluster);
    fake_cluster_end(&fake);
    return 0;
}

/* `count` events in one request. */
static enum err submit_events(uint32_t count)
{
    struct buffer args = {0};
    struct draft drafts[LIMIT_OPERATIONS];
    args_event_add_encode(&args, &(struct args_event_add){sample_id(9), bytes_text("bill.print"), {0}});
    for (uint32_t i = 0; i < count; i++)
        drafts[i] = (struct draft){.action = ACTION_EVENT_ADD, .args = buffer_bytes(&args), .attached = i % 2,
                                   .attachment = bytes_text("a note")};
    submission_free(&submission);
    failure = (struct failure){0};
    enum err e = submit(&submission, &cluster, &signer, drafts, count, &failure);
    buffer_free(&args);
    return e;
}

static void only_node(uint32_t member)
{
    cluster_drop(&cluster);
    cluster.via = member;
}

static uint32_t leaves_of_mine(void)
{
    uint32_t count;
    FAKE_LOCKED(&fake, count = fake.leaf_count);
    return count - 3; /* beside genesis, activation, close */
}

static void test_done(void **state)
{
    (void)state;
    assert_int_equal(submit_events(1), OK);
    assert_int_equal(submission.outcomes[0].index, 3);
    assert_int_equal(submission.outcomes[0].decision, DECISION_APPROVED);
    assert_int_equal(submit_events(LIMIT_OPERATIONS / 4), OK);
    for (uint32_t i = 0; i < submission.count; i++)
        assert_int_equal(submission.outcomes[i].index, 4 + i);
    FAKE_LOCKED(&fake, fake.denies = REASON_SCOPE);
    assert_int_equal(submit_events(1), OK); /* a denial is done, too */
    assert_int_equal(submission.outcomes[0].decision, DECISION_DENIED);
    assert_int_equal(submission.outcomes[0].reason, REASON_SCOPE);
}

/* --- nodes that fail: another one takes over, and nothing is recorded twice --- */

/* The failing node costs a part of the time-out; where this machine is slow, the rest is too short for the
 * other one, and another try has more. */
static bool is_taken_over(enum fake_fault fault, uint32_t timeout_ms)
{
    uint32_t before = leaves_of_mine();
    cluster_drop(&cluster);
    cluster.started = 1;
    cluster.timeout_ms = timeout_ms;
    fake_cluster_fault(&fake, 1, fault);
    if (submit_events(2) != OK) {
        print_message("fault %d: %s\n", fault, failure.text);
        return false;
    }
    assert_int_equal(submission.outcomes[1].code, OK);
    assert_int_equal(submission.outcomes[1].decision, DECISION_APPROVED);
    assert_int_equal(leaves_of_mine(), before + 2);
    return cluster.member == 2;
}

static void test_failing_nodes(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_SILENT,     FAKE_NO_QUORUM,    FAKE_SWALLOWS,     FAKE_DIES_BEFORE,
                                             FAKE_DIES_AFTER, FAKE_DIES_APPLIED, FAKE_NOT_WITNESSED};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        assert_true(is_taken_over(faults[i], 3000) || is_taken_over(faults[i], 12000) ||
                    is_taken_over(faults[i], PATIENCE_MS));
}

/* Who proves an entry answers not for the rows that another gave, and is not to blame for them. */
static void test_whose_answer_it_is(void **state)
{
    (void)state;
    assert_true(is_taken_over(FAKE_DIES_APPLIED, PATIENCE_MS));
    assert_true(submission.outcomes[0].answer.size > 0);
    assert_int_equal(submission.outcomes[0].member, 1);
    assert_int_equal(submit_events(1), OK);
    assert_int_equal(submission.outcomes[0].member, 2);
}

/* A refusal is one node's word: it may be untrue, or said of what that node recorded first. */
static void test_one_refusal_is_not_believed(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_REFUSES, FAKE_REFUSES_AFTER, FAKE_REFUSES_EACH, FAKE_REFUSES_LAST,
                                             FAKE_REFUSES_PROOF};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        assert_true(is_taken_over(faults[i], PATIENCE_MS));
    /* What b + 1 say is. */
    fake_cluster_fault(&fake, 0, FAKE_REFUSES);
    assert_int_equal(submit_events(1), ERR_BAD_SIGNATURE);
    fake_cluster_fault(&fake, 0, FAKE_REFUSES_EACH);
    assert_int_equal(submit_events(1), OK);
    assert_int_equal(submission.outcomes[0].code, ERR_STALE);
    /* Of one operation as of all; what was proved stays so. */
    fake_cluster_fault(&fake, 0, FAKE_REFUSES_LAST);
    assert_int_equal(submit_events(2), OK);
    assert_int_equal(submission.outcomes[0].code, OK);
    assert_true(submission.outcomes[0].receipt.size > 0);
    assert_int_equal(submission.outcomes[1].code, ERR_STALE);
}

/* --- one time-out for all that a command asks --- */

static enum err ask_keys(void)
{
    struct buffer question = {0};
    struct frame answer;
    message_keys_encode(&question, &(struct message_keys){KEY_RECORDS});
    enum err e = cluster_ask(&cluster, &answer, MESSAGE_KEYS, buffer_bytes(&question), MESSAGE_KEY, &failure);
    buffer_free(&question);
    return e;
}

/* Two silent ones leave time for the third: where this machine is slow, only of a longer time-out. */
static bool the_third_answers(uint32_t timeout_ms)
{
    cluster.timeout_ms = timeout_ms;
    cluster_drop(&cluster);
    cluster.started = 1;
    if (ask_keys() != OK) return false;
    assert_int_equal(cluster.member, 3);
    return true;
}

/* Nodes that are silent share the time-out: they don't have it each. */
static void test_silent_nodes_share_the_time(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 0, FAKE_MUTE);
    cluster.timeout_ms = 1500;
    uint64_t took = UINT64_MAX;
    /* A pause of this machine is none of the client's: then it is measured again. */
    for (unsigned tries = 0; tries < 10 && took > UINT64_C(2000000) * cluster.timeout_ms; tries++) {
        uint64_t start = clock_monotonic_ns();
        assert_int_equal(exit_code_of(ask_keys()), EXIT_NO_QUORUM);
        took = clock_monotonic_ns() - start;
    }
    assert_true(took <= UINT64_C(2000000) * cluster.timeout_ms);
    fake_cluster_fault(&fake, 3, FAKE_FINE);
    assert_true(the_third_answers(3000) || the_third_answers(15000));
}

/* Nodes close connections that are idle: who may go through one node only connects to it again. */
static void test_a_connection_that_was_idle(void **state)
{
    (void)state;
    cluster.timeout_ms = PATIENCE_MS;
    only_node(1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(ask_keys(), OK);
        assert_int_equal(shutdown(client_descriptor(cluster.client), SHUT_RDWR), 0);
    }
    assert_int_equal(ask_keys(), OK);
    fake_cluster_fault(&fake, 1, FAKE_MUTE); /* one that answers nothing isn't asked again */
    cluster.timeout_ms = 300;
    assert_int_equal(ask_keys(), ERR_TIMEOUT);
}

static void test_one_deadline(void **state)
{
    (void)state;
    assert_int_equal(submit_events(1), OK);
    assert_int_equal(cluster.end_ns, 0); /* each request has its own */
    cluster.one_deadline = true;
    assert_int_equal(submit_events(1), OK);
    uint64_t end = cluster.end_ns;
    assert_int_not_equal(end, 0);
    assert_int_equal(ask_keys(), OK);
    assert_int_equal(cluster.end_ns, end);
    /* Nothing is begun after it. */
    cluster_drop(&cluster);
    cluster.end_ns = clock_monotonic_ns() - 1;
    fake_cluster_fault(&fake, 0, FAKE_MUTE);
    assert_int_equal(exit_code_of(ask_keys()), EXIT_NO_QUORUM);
    assert_int_equal(exit_code_of(submit_events(1)), EXIT_NO_QUORUM);
    /* A person was asked: a new one. */
    fake_cluster_fault(&fake, 0, FAKE_FINE);
    cluster_renew(&cluster);
    assert_int_equal(ask_keys(), OK);
    assert_true(cluster.end_ns > end);
}

/* While it waits for the co-signed receipt. */
static void test_a_notice_is_said_at_once(void **state)
{
    struct output output = {0};
    (void)state;
    cluster.output = &output;
    fake_cluster_fault(&fake, 0, FAKE_NOT_WITNESSED);
    live_notice_begin(&fake, &fake.nodes[1].submits);
    enum err e = submit_events(1);
    assert_true(live_notice_end());
    assert_int_equal(e, OK);
    assert_true(submission.outcomes[0].receipt.size > 0);
    cluster.output = NULL;
}

/* Whether it ends so, and says so. */
static bool says(enum err code, const char *words)
{
    enum err e = submit_events(1);
    if (e == code && strstr(failure.text, words)) return true;
    print_message("%s: %s\n", err_name(e), failure.text);
    return false;
}

/* With no other node to go to, it says what is known. */
static bool what_became_is_said(void)
{
    fake_cluster_fault(&fake, 0, FAKE_NOT_WITNESSED);
    if (!says(ERR_NOT_WITNESSED, "recorded at 3, not yet co-signed")) return false;
    assert_non_null(strstr(failure.text, "consilium lookup "));
    assert_int_equal(leaves_of_mine(), 1); /* through all nodes, once */

    fake_cluster_fault(&fake, 0, FAKE_DIES_AFTER);
    if (!says(ERR_NOT_WITNESSED, "recorded at 4")) return false; /* only LOOKUP says so */

    fake_cluster_fault(&fake, 0, FAKE_NO_QUORUM);
    if (!says(ERR_NO_QUORUM, "not known")) return false;

    /* b + 1 nodes past the five minutes without it: it will never be. */
    FAKE_LOCKED(&fake, fake.witnessed_time_ms = clock_wall_ms() + LIMIT_SKEW_MS + 60000);
    return says(ERR_NO_QUORUM, "safe to do it again");
}

/* A part of the time-out is kept for looking up: what went by before is said, not the whole. */
static void test_the_time_said_went_by(void **state)
{
    (void)state;
    unsigned whole = 0, tenths = 0;
    cluster.timeout_ms = 2000;
    fake_cluster_fault(&fake, 0, FAKE_NO_QUORUM);
    uint64_t start = clock_monotonic_ns();
    assert_int_equal(submit_events(1), ERR_NO_QUORUM);
    uint64_t took_ms = (clock_monotonic_ns() - start) / 1000000;
    const char *said = strstr(failure.text, "within ");
    assert_non_null(said);
    assert_int_equal(sscanf(said, "within %u.%u s", &whole, &tenths), 2);
    assert_true(1000 * whole + 100 * tenths <= took_ms);
}

/* Only a part of the time-out is left for looking up: where this machine pauses for that long, another try has more. */
static void in_time(void **state, bool (*said)(void))
{
    static const uint32_t timeouts_ms[] = {2000, 8000, 30000};
    bool is_said = false;
    for (unsigned i = 0; i < 3 && !is_said; i++) {
        if (i > 0) {
            teardown(state);
            setup(state);
        }
        cluster.timeout_ms = timeouts_ms[i];
        is_said = said();
    }
    assert_true(is_said);
}

static bool no_space_is_said(void)
{
    fake_cluster_fault(&fake, 0, FAKE_FULL);
    only_node(2);
    if (!says(ERR_NO_QUORUM, "not recorded, as the node says that was asked: node-2: no space left")) return false;
    assert_int_equal(leaves_of_mine(), 0);
    return true;
}

/* What a node refuses before it takes it is known not to be there, unless another one swallowed it. */
static void test_no_space_left(void **state)
{
    in_time(state, no_space_is_said);
    fake_cluster_fault(&fake, 1, FAKE_SWALLOWS);
    only_node(0);
    cluster.started = 1;
    assert_true(says(ERR_NO_QUORUM, "not known"));
}

static void test_what_became_of_it(void **state) { in_time(state, what_became_is_said); }

static void test_lookup(void **state)
{
    (void)state;
    struct found found;
    char token[REQUEST_TOKEN_SIZE];
    uint64_t issued;
    struct id request;
    assert_int_equal(submit_events(1), OK);
    request_token_format(token, submission.issued_at_ms, &submission.request_ids[0]);
    assert_int_equal(request_token_parse(&issued, &request, token), OK);
    assert_int_equal(submit_lookup(&found, &cluster, &signer, issued, &request, &failure), OK);
    assert_int_equal(found.fate, FATE_RECORDED);
    assert_int_equal(found.index, 3);
    FAKE_LOCKED(&fake, fake.forgets = true);
    assert_int_equal(submit_lookup(&found, &cluster, &signer, issued, &request, &failure), OK);
    assert_int_equal(found.fate, FATE_UNKNOWN);
    FAKE_LOCKED(&fake, fake.witnessed_time_ms = issued + LIMIT_SKEW_MS); /* not yet past */
    assert_int_equal(submit_lookup(&found, &cluster, &signer, issued, &request, &failure), OK);
    assert_int_equal(found.fate, FATE_UNKNOWN);
    FAKE_LOCKED(&fake, fake.witnessed_time_ms = issued + LIMIT_SKEW_MS + 1);
    cluster.via = 1; /* one node alone may lie */
    assert_int_equal(submit_lookup(&found, &cluster, &signer, issued, &request, &failure), OK);
    assert_int_equal(found.fate, FATE_UNKNOWN);
    cluster.via = 0;
    assert_int_equal(submit_lookup(&found, &cluster, &signer, issued, &request, &failure), OK);
    assert_int_equal(found.fate, FATE_NOT_RECORDED);
    static const char *const bad[] = {"", "-", "1", "1-", "x-aaaa", "-1-aaaaaaaaaaaaaaaaaaaaaaaaaa",
                                      "99999999999999999999-7mz3k2vq4t5yxw6lbjnfhsdg2e", "5-7mz3k2vq4t5yxw6lbjnfhsdg2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_not_equal(request_token_parse(&issued, &request, bad[i]), OK);
}

/* --- nodes that lie --- */

static const enum fake_fault lies[] = {FAKE_OTHER_LEAF,       FAKE_OTHER_INDEX,  FAKE_ALTERED_LEAF, FAKE_BAD_PROOF,
                                       FAKE_FEW_COSIGNERS,    FAKE_SAME_COSIGNER, FAKE_FOREIGN_COSIGNERS,
                                       FAKE_FOREIGN_ORIGIN,   FAKE_OTHER_ROOT,   FAKE_WRONG_COUNT};

/* Alone, a lying node makes the client exit with 6. */
static void test_lies_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        only_node(2);
        fake_cluster_fault(&fake, 2, lies[i]);
        enum err e = submit_events(1);
        if (exit_code_of(e) != EXIT_VERIFICATION) fail_msg("lie %d: %s: %s", lies[i], err_name(e), failure.text);
        assert_non_null(strstr(failure.text, "node-2"));
    }
}

/* Beside honest ones it is passed by, and the operation is recorded once. */
static void test_liars_are_passed_by(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint32_t before = leaves_of_mine();
        cluster_drop(&cluster);
        cluster.started = 1;
        fake_cluster_fault(&fake, 1, lies[i]);
        if (submit_events(1) != OK) fail_msg("lie %d: %s", lies[i], failure.text);
        assert_int_equal(leaves_of_mine(), before + 1);
    }
}

static void test_all_lie(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 0, FAKE_FEW_COSIGNERS);
    assert_int_equal(exit_code_of(submit_events(1)), EXIT_VERIFICATION);
    fake_cluster_fault(&fake, 0, FAKE_FOREIGN_ORIGIN);
    assert_int_equal(submit_events(1), ERR_OTHER_CLUSTER);
}

/* The decision comes from the leaf, whatever APPLIED says. */
static void test_claims_count_for_nothing(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 0, FAKE_DENIED_CLAIM);
    assert_int_equal(submit_events(1), OK);
    assert_int_equal(submission.outcomes[0].decision, DECISION_APPROVED);
}

/* --- connecting --- */

static void test_greetings(void **state)
{
    (void)state;
    static const struct {
        enum fake_fault fault;
        enum err code;
    } cases[] = {{FAKE_OTHER_CLUSTER, ERR_OTHER_CLUSTER},
                 {FAKE_OTHER_NODE, ERR_WRONG_PEER},
                 {FAKE_OTHER_NUMBERS, ERR_OTHER_CLUSTER}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cluster_drop(&cluster);
        fake_cluster_fault(&fake, 0, cases[i].fault);
        assert_int_equal(cluster_connect(&cluster, &failure), cases[i].code);
        assert_int_equal(exit_code_of(cases[i].code), EXIT_VERIFICATION);
        fake_cluster_fault(&fake, 3, FAKE_FINE);
        assert_int_equal(cluster_connect(&cluster, &failure), OK); /* the honest one */
        assert_int_equal(cluster.member, 3);
    }
}

/* Another key than the genesis file's: nothing is sent to it. */
static void test_wrong_key(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 0, FAKE_FINE);
    for (uint32_t i = 0; i < FAKE_NODES; i++)
        cluster.genesis.members[i].tls_pin.bytes[0] ^= 1;
    assert_int_equal(submit_events(1), ERR_WRONG_PEER);
    assert_int_equal(leaves_of_mine(), 0);
}

static void test_nobody_there(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < FAKE_NODES; i++)
        snprintf(cluster.genesis.members[i].address, sizeof cluster.genesis.members[i].address, "127.0.0.1:1");
    uint64_t start = clock_monotonic_ns();
    assert_int_equal(submit_events(1), ERR_UNREACHABLE);
    /* Nothing was sent: no reason to wait. */
    assert_true(clock_monotonic_ns() - start < PATIENCE_MS / 2 * UINT64_C(1000000));
    assert_non_null(strstr(failure.text, "none of the 4 nodes"));
}

static void test_via(void **state)
{
    (void)state;
    struct cluster other;
    assert_int_equal(cluster_open(&other, fake.genesis_file, "node-3", PATIENCE_MS, NULL, &failure), OK);
    assert_int_equal(cluster_connect(&other, &failure), OK);
    assert_int_equal(other.member, 3);
    cluster_close(&other);
    assert_int_equal(cluster_open(&other, fake.genesis_file, "nod-3", 1500, NULL, &failure), ERR_USAGE);
    assert_non_null(strstr(failure.text, "did you mean 'node-"));
    assert_int_equal(cluster_open(&other, "/nonexistent/genesis", NULL, 1500, NULL, &failure), ERR_NO_FILE);
}

/* --- the collective key --- */

static void test_collective_key(void **state)
{
    (void)state;
    struct collective key;
    assert_int_equal(collective_get(&key, &cluster, &failure), OK);
    assert_int_equal(key.activation, fake.activation);
    assert_memory_equal(key.key.bytes, fake.commitments.points[0].bytes, 32);
    assert_int_equal(key.n, FAKE_NODES);
    /* From the cache now, without anybody. */
    cluster_drop(&cluster);
    fake_cluster_fault(&fake, 0, FAKE_SILENT);
    memset(&key, 0, sizeof key);
    assert_int_equal(collective_get(&key, &cluster, &failure), OK);
    assert_memory_equal(key.key.bytes, fake.commitments.points[0].bytes, 32);
}

static void test_false_collective_keys(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_OWN_KEY, FAKE_WRONG_LEAF_KEY, FAKE_FEW_COSIGNERS, FAKE_OTHER_ROOT,
                                             FAKE_FOREIGN_COSIGNERS, FAKE_FOREIGN_ORIGIN};
    struct collective key;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        fake_cluster_fault(&fake, 0, faults[i]);
        enum err e = collective_get(&key, &cluster, &failure);
        if (exit_code_of(e) != EXIT_VERIFICATION) fail_msg("fault %d: %s", faults[i], err_name(e));
    }
    /* One of four: the others give the right one. */
    cluster_drop(&cluster);
    cluster.started = 1;
    fake_cluster_fault(&fake, 0, FAKE_FINE);
    fake_cluster_fault(&fake, 1, FAKE_OWN_KEY);
    assert_int_equal(collective_get(&key, &cluster, &failure), OK);
    assert_memory_equal(key.key.bytes, fake.commitments.points[0].bytes, 32);
}

/* A cache that somebody else wrote is proved, not believed. */
static void test_damaged_cache(void **state)
{
    (void)state;
    struct collective key;
    assert_int_equal(collective_get(&key, &cluster, &failure), OK);
    char *path = cluster_cache_path(&cluster, "records-key");
    struct buffer body = {0};
    assert_int_equal(file_read(&body, path, 1 << 20, &failure), OK);
    fake_cluster_fault(&fake, 0, FAKE_OWN_KEY); /* nodes can't help either */
    only_node(1);                               /* ... and one says so as well as all */
    for (size_t i = 0; i < body.size; i += 7) {
        body.data[i] ^= 1;
        assert_int_equal(file_write_lazily(path, buffer_bytes(&body), 0600, false, &failure), OK);
        assert_int_not_equal(collective_get(&key, &cluster, &failure), OK);
        body.data[i] ^= 1;
    }
    free(path);
    buffer_free(&body);
}

int main(void)
{
    crypto_init();
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_done),
        TEST(test_failing_nodes),
        TEST(test_whose_answer_it_is),
        TEST(test_one_refusal_is_not_believed),
        TEST(test_silent_nodes_share_the_time),
        TEST(test_a_notice_is_said_at_once), TEST(test_one_deadline), TEST(test_a_connection_that_was_idle),
        TEST(test_what_became_of_it), TEST(test_the_time_said_went_by), TEST(test_no_space_left),
        TEST(test_lookup),
        TEST(test_lies_are_refused),
        TEST(test_liars_are_passed_by),
        TEST(test_all_lie),
        TEST(test_claims_count_for_nothing),
        TEST(test_greetings),
        TEST(test_wrong_key),
        TEST(test_nobody_there),
        TEST(test_via),
        TEST(test_collective_key),
        TEST(test_false_collective_keys),
        TEST(test_damaged_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
