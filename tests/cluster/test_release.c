/* Nothing is released without a checkpoint that k nodes co-signed: three nodes of which one may lie (n = 3,
 * b = 1, k = 3). With one down, two still record what is asked, but no share leaves any of them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/seal.h"
#include "tests/lib/attacker.h"
#include "tests/lib/unit.h"

static struct testbed bed;
static struct attacker reader;
static struct buffer out, errors;
static char record[ID_TEXT_SIZE];

static const char *said_text(void) { return errors.data ? (const char *)errors.data : ""; }

/* An approved record.read of the doctor's, applied by node 1 and another, that nobody waits for. */
static struct client *read_unwitnessed(struct message_result *result)
{
    struct said said = {0};
    struct buffer request = {0}, body = {0};
    struct signer doctor = attacker_signer(&reader, "doctor");
    struct seal_secret secret;
    struct arguments args = {.action = ACTION_RECORD_READ, .record_read = {.limit = 1}};
    assert_int_equal(id_parse(&args.record_read.record, record), OK);
    seal_keypair_random(&secret, &args.record_read.reader_key);
    struct client *c = attacker_greet(&reader, 1);
    for (;;) { /* until the two that are left have a leader */
        attacker_request(&request, &reader, &doctor, &args, (struct bytes){0}, NULL);
        buffer_clear(&body);
        message_submit_encode(&body, &(struct message_submit){buffer_bytes(&request), WAIT_APPLIED});
        attacker_send(&reader, c, MESSAGE_SUBMIT, 1, buffer_bytes(&body));
        attacker_hear(&reader, c, &said, 60000);
        if (said.type == MESSAGE_APPLIED) break;
        assert_int_equal(said.code, ERR_NO_QUORUM);
    }
    struct message_applied *applied = xcalloc(1, sizeof *applied);
    assert_int_equal(message_applied_decode(applied, buffer_bytes(&said.body)), OK);
    *result = applied->results[0];
    result->answer = (struct bytes){0};
    assert_int_equal(result->code, OK);
    assert_int_equal(result->decision, DECISION_APPROVED);
    free(applied);
    said_free(&said);
    buffer_free(&request);
    buffer_free(&body);
    signer_close(&doctor);
    return c;
}

/* How many nodes' shares come for that leaf. */
static unsigned shares_of(struct client *c, uint64_t leaf)
{
    struct said said = {0};
    struct buffer body = {0};
    struct message_shared shared = {0};
    message_opening_encode(&body, &(struct message_opening){.leaf_index = leaf, .count = 1});
    attacker_send(&reader, c, MESSAGE_SHARES, 2, buffer_bytes(&body));
    attacker_hear(&reader, c, &said, 60000);
    if (said.type == MESSAGE_SHARED)
        assert_int_equal(message_shared_decode(&shared, buffer_bytes(&said.body)), OK);
    else if (said.code != ERR_NO_QUORUM) /* a node is not there at all */
        assert_int_equal(said.code, ERR_NOT_WITNESSED);
    unsigned count = shared.count;
    buffer_free(&body);
    said_free(&said);
    return count;
}

static void no_share_without_a_witnessed_checkpoint(void **state)
{
    (void)state;
    struct message_result result;
    testbed_signal(&bed, 3, SIGKILL);
    struct client *c = read_unwitnessed(&result);
    assert_int_equal(shares_of(c, result.leaf_index), 0);
    /* The client says the same, and shows nothing. */
    for (unsigned tries = 0; tries == 0 || !strstr(said_text(), "not yet co-signed"); tries++) {
        int code = testbed_cli(&bed, &out, &errors, "-i %s/doctor.key --timeout 5 record show %s", bed.dir, record);
        assert_int_equal(code, 5);
        assert_int_equal(out.size, 0);
        if (tries == 10) fail_msg("%s", said_text()); /* a busy machine may have an election meanwhile */
    }
    char token[80] = "";
    const char *lookup = strstr(said_text(), "consilium lookup ");
    assert_non_null(lookup);
    assert_int_equal(sscanf(lookup, "consilium lookup %79[0-9a-z-]", token), 1);
    assert_int_equal(shares_of(c, result.leaf_index), 0);
    /* The third is back: what was recorded is witnessed, and only now shares leave. */
    testbed_start(&bed, 3);
    testbed_wait_ready(&bed, 60);
    unsigned count = 0;
    for (unsigned tries = 0; count < 3; tries++) {
        assert_true(tries < 60); /* each waits for seconds */
        count = shares_of(c, result.leaf_index);
    }
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key lookup %s", bed.dir, token);
    testbed_expect(&bed, 0, &out, "-i %s/doctor.key record show %s", bed.dir, record);
    assert_string_equal((const char *)out.data, "for three");
    client_close(c);
}

static int begin(void **state)
{
    (void)state;
    char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];
    testbed_make(&bed, 3, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_record(&bed, record, patient, "for three");
    attacker_open(&reader, &bed);
    return 0;
}

static int end(void **state)
{
    (void)state;
    attacker_close(&reader);
    testbed_end(&bed);
    buffer_free(&out);
    buffer_free(&errors);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_share_without_a_witnessed_checkpoint),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
