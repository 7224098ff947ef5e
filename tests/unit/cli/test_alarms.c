/* What the client makes of notices: who is avoided, what is said, and that it is said once. */
#include "cli/alarms.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "ledger/alarm.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static struct cluster c;
static struct output output;
static char said[16384];

static int setup(void **state)
{
    (void)state;
    memset(&c, 0, sizeof c);
    sample_genesis(&c.genesis, 4, 1);
    c.member = 2;
    output = (struct output){0};
    return 0;
}

static struct message_alarm alarm_of(uint32_t kind, uint32_t named, uint32_t raiser, uint64_t first)
{
    return (struct message_alarm){.index = 100 + first, .kind = kind, .named = named, .raiser = raiser, .first = first,
                                  .last = first, .since_ms = SAMPLE_TIME, .status = ALARM_OPEN, .saying = 1u << raiser};
}

/* Said by two. */
static struct message_alarm alarm_by(uint32_t kind, uint32_t named, uint32_t one, uint32_t other, uint64_t first)
{
    struct message_alarm a = alarm_of(kind, named, one, first);
    a.saying |= 1u << other;
    return a;
}

/* A notice of these alarms; what it makes the client say on standard error is in `said`. */
static void notice(bool quarantined, const struct message_alarm *alarms, uint32_t count)
{
    struct message_notice *m = xcalloc(1, sizeof *m);
    struct buffer body = {0};
    *m = (struct message_notice){.quarantined = quarantined, .total = count, .count = count};
    for (uint32_t i = 0; i < count; i++) m->alarms[i] = alarms[i];
    message_notice_encode(&body, m);
    FILE *file = tmpfile();
    int before = dup(2);
    assert_true(file && before >= 0);
    fflush(stderr);
    dup2(fileno(file), 2);
    alarms_take(&c, buffer_bytes(&body));
    fflush(stderr);
    dup2(before, 2);
    close(before);
    rewind(file);
    size_t size = fread(said, 1, sizeof said - 1, file);
    said[size] = '\0';
    fclose(file);
    buffer_free(&body);
    free(m);
}

static unsigned named_members(void)
{
    unsigned mask = 0;
    for (uint32_t i = 1; i <= 4; i++) mask |= alarms_name(&c, i) ? 1u << i : 0;
    return mask;
}

static void test_whom_to_avoid(void **state)
{
    (void)state;
    assert_int_equal(named_members(), 0);
    struct message_alarm one[] = {alarm_of(ALARM_FORKED, 3, 1, 1)};
    notice(false, one, 1);
    assert_int_equal(named_members(), 1u << 3);
    /* one node's word, however often, is an accusation; a second node's makes it count, in whatever alarm */
    struct message_alarm word[] = {alarm_of(ALARM_MODIFIED, 3, 1, 1), alarm_of(ALARM_DELETED, 3, 1, 2),
                                   alarm_of(ALARM_ROLLED_BACK, 3, 4, 3)};
    notice(false, word, 2);
    assert_int_equal(named_members(), 0);
    assert_false(alarm_is_good(&c, &word[0]));
    notice(false, word, 3);
    assert_int_equal(named_members(), 1u << 3);
    assert_true(alarm_is_good(&c, &word[0]) && alarm_is_good(&c, &word[2]));
    word[2].named = 2;
    notice(false, word, 3);
    assert_int_equal(named_members(), 0);
    /* all others are named: as likely, who serves us lies */
    struct message_alarm liar[] = {alarm_of(ALARM_FORKED, 1, 4, 1), alarm_by(ALARM_MODIFIED, 2, 4, 1, 1),
                                   alarm_by(ALARM_MODIFIED, 2, 4, 1, 2), alarm_by(ALARM_DELETED, 3, 4, 2, 1)};
    notice(false, &liar[1], 3);
    assert_int_equal(named_members(), 0);
    notice(false, liar, 4); /* but for what is proved */
    assert_int_equal(named_members(), 1u << 1);
    notice(false, &liar[1], 2); /* two alarms about one node are about one */
    assert_int_equal(named_members(), 1u << 2);
    /* what a node says of itself holds in each case */
    struct message_alarm both[] = {liar[0], liar[1], alarm_of(ALARM_ROLLED_BACK, 3, 3, 9)};
    notice(false, both, 3);
    assert_int_equal(named_members(), 1u << 3 | 1u << 2 | 1u << 1);
    notice(true, NULL, 0);
    assert_int_equal(named_members(), 1u << 2); /* the one that we are connected to */
    notice(false, NULL, 0);
    assert_int_equal(named_members(), 0);
    alarms_take(&c, bytes_text("what no node sends"));
    assert_int_equal(named_members(), 0);
}

/* That signatures prove a fork of one node takes nothing from what is said of another, nor the other way round. */
static void test_forked_and_damaged(void **state)
{
    (void)state;
    struct message_alarm a[] = {alarm_of(ALARM_FORKED, 4, 1, 1), alarm_by(ALARM_MODIFIED, 3, 1, 2, 2),
                                alarm_by(ALARM_DELETED, 1, 2, 3, 3)};
    notice(false, a, 2);
    assert_int_equal(named_members(), 1u << 4 | 1u << 3);
    notice(false, a, 3); /* words about two, of whom one at most is at fault */
    assert_int_equal(named_members(), 1u << 4);
    struct message_alarm all[] = {alarm_of(ALARM_FORKED, 3, 2, 4), a[0]};
    notice(false, all, 2);
    assert_int_equal(named_members(), 1u << 4 | 1u << 3);
}

/* These tests share what was said in this run: each uses indexes of its own. */
static void test_said_once(void **state)
{
    (void)state;
    struct message_alarm a[] = {alarm_by(ALARM_MODIFIED, 3, 1, 4, 1000), alarm_of(ALARM_MODIFIED, 3, 3, 1001)};
    a[1].last = 1009;
    a[1].index = 0;
    c.output = &output;
    notice(false, a, 2);
    assert_non_null(strstr(said, "WARNING: COMPROMISED: node-3, index 1000, since "));
    assert_non_null(strstr(said, "modified, stored data is not what the ledger proves (raised by node-1, "
                                 "node-4, entry 1100), says node-2\n"));
    assert_non_null(strstr(said, "index 1001 to 1009, "));
    assert_non_null(strstr(said, "(found by itself, not in the ledger yet)"));
    assert_non_null(strstr(said, "consilium alarm list"));
    notice(false, a, 2);
    assert_string_equal(said, "");
    struct message_alarm many[5];
    for (unsigned i = 0; i < 5; i++) many[i] = alarm_by(ALARM_DELETED, 4, 1, 2, 2000 + i);
    notice(false, many, 5);
    assert_non_null(strstr(said, "and 3 more"));
    assert_null(strstr(said, "index 2002"));
    struct message_alarm old = alarm_of(ALARM_ROLLED_BACK, 4, 4, 3000);
    notice(false, &old, 1);
    assert_non_null(strstr(said, "WARNING: COMPROMISED: node-4, Raft index 3000, since ")); /* no entry has it */
    notice(true, NULL, 0);
    assert_non_null(strstr(said, "node-2 is quarantined"));
    notice(true, NULL, 0);
    assert_string_equal(said, "");
}

/* The alarm that convicts a liar is said, whatever it says of others, and however often. */
static void test_what_counts_is_said_first(void **state)
{
    (void)state;
    struct message_alarm many[LIMIT_NOTICE];
    uint32_t count = 0;
    c.output = &output;
    many[count++] = alarm_of(ALARM_MODIFIED, 1, 3, 5000); /* as one sends it whose order is another */
    many[count++] = alarm_of(ALARM_MODIFIED, 4, 3, 5001);
    many[count++] = alarm_of(ALARM_FORKED, 3, 1, 5002);
    notice(false, many, count);
    char *convicts = strstr(said, "WARNING: COMPROMISED: node-3, Raft index or size 5002");
    char *accuses = strstr(said, "WARNING: ACCUSED: ");
    assert_true(convicts && accuses && convicts < accuses);
    assert_non_null(strstr(said, "and 1 more"));
    notice(false, many, count);
    assert_string_equal(said, "");
    /* of each node what counts first, then as many more as are said at once */
    for (count = 0; count < 10; count++) many[count] = alarm_of(ALARM_DELETED, 3, 3, 5100 + count);
    many[count++] = alarm_by(ALARM_DELETED, 4, 1, 2, 5200);
    many[count++] = alarm_by(ALARM_DELETED, 1, 2, 4, 5201);
    notice(false, many, count);
    assert_true(strstr(said, "index 5100") && strstr(said, "index 5101") && !strstr(said, "index 5102"));
    assert_true(strstr(said, "node-4, index 5200") && strstr(said, "node-1, index 5201"));
    assert_non_null(strstr(said, "and 8 more"));
    /* hours of accusations take no room from what counts */
    for (uint64_t at = 0; at < 20; at++) {
        for (count = 0; count < LIMIT_NOTICE; count++)
            many[count] = alarm_of(ALARM_MODIFIED, 1, 3, 6000 + at * LIMIT_NOTICE + count);
        notice(false, many, count);
    }
    many[0] = alarm_by(ALARM_MODIFIED, 1, 2, 4, 8000);
    notice(false, many, 1);
    assert_non_null(strstr(said, "WARNING: COMPROMISED: node-1, index 8000"));
}

static void test_accusation(void **state)
{
    (void)state;
    struct message_alarm a[] = {alarm_of(ALARM_MODIFIED, 3, 1, 4000), alarm_of(ALARM_MODIFIED, 3, 2, 4001)};
    c.output = &output;
    notice(false, a, 1);
    assert_non_null(strstr(said, "WARNING: ACCUSED: node-3, index 4000, since "));
    assert_non_null(strstr(said, "(raised by node-1, entry 4100; nothing proves it: it counts once 2 nodes say so)"));
    assert_null(strstr(said, "COMPROMISED"));
    notice(false, a, 1);
    assert_string_equal(said, "");
    notice(false, a, 2); /* now it counts, and is said anew */
    assert_non_null(strstr(said, "WARNING: COMPROMISED: node-3, index 4000"));
    struct message_member m = {.member = 3, .reachable = true, .witnessed_size = 9, .state = bytes_text("ready")};
    static const char *const words[] = {"verified", "accused", "COMPROMISED"};
    for (uint32_t i = 0; i < 3; i++) {
        notice(false, a, i);
        json_t *row = json_object(), *alarm;
        alarms_integrity(row, &c, &m);
        assert_string_equal(json_string_value(json_object_get(row, "integrity")), words[i]);
        alarm = json_object_get(row, "alarm");
        if (i) assert_int_equal(json_is_true(json_object_get(alarm, "counts")), i == 2);
        json_decref(row);
    }
    a[0].told = 4200;
    a[0].told_ms = SAMPLE_TIME;
    a[0].told_by = 2;
    a[0].told_ways = ALARM_WAYS;
    json_t *o = alarm_json(&c, &a[0]);
    assert_string_equal(json_string_value(json_object_get(o, "told_by")), "node-2 by mail and webhook");
    assert_string_equal(json_string_value(json_object_get(o, "said_by")), "node-1");
    json_decref(o);
}

static unsigned times_said(const char *words)
{
    unsigned times = 0;
    for (const char *at = said; (at = strstr(at, words)) != NULL; at++) times++;
    return times;
}

/* A liar tells something new each second: who says it is named, and it ends. Nobody else is left out for that. */
static void test_liar_without_end(void **state)
{
    (void)state;
    unsigned accused = 0, cut = 0;
    struct message_alarm a;
    c.output = &output;
    c.member = 4;
    for (uint64_t i = 0; i < 100; i++) {
        a = alarm_of(ALARM_MODIFIED, 1, 4, 9000 + i);
        notice(false, &a, 1);
        accused += times_said("says node-4\n");
        cut += times_said("node-4 tells more, which is left out from here on; 'consilium --via node-4 status'");
    }
    assert_int_equal(accused, 16);
    assert_int_equal(cut, 1);
    a = alarm_of(ALARM_MODIFIED, 2, 4, 9000); /* of another one */
    notice(false, &a, 1);
    assert_non_null(strstr(said, "WARNING: ACCUSED: node-2, index 9000"));
    a = alarm_by(ALARM_MODIFIED, 1, 2, 3, 9099); /* more than an accusation */
    notice(false, &a, 1);
    assert_non_null(strstr(said, "WARNING: COMPROMISED: node-1, index 9099"));
    c.member = 3; /* what was left out there is new here */
    a = alarm_of(ALARM_MODIFIED, 1, 4, 9098);
    notice(false, &a, 1);
    assert_non_null(strstr(said, "WARNING: ACCUSED: node-1, index 9098"));
    assert_non_null(strstr(said, "says node-3\n"));
}

static void test_quarantined_with_its_alarm(void **state)
{
    (void)state;
    struct message_alarm a = alarm_by(ALARM_ROLLED_BACK, 3, 1, 2, 9500);
    c.output = &output;
    notice(false, &a, 1);
    assert_non_null(strstr(said, "WARNING: COMPROMISED: node-3, Raft index 9500"));
    c.member = 3;
    notice(true, &a, 1);
    assert_string_equal(said, "");
    output.programs = true;
    notice(true, &a, 1);
    assert_non_null(strstr(said, "\"quarantined\":true"));
    output.programs = false;
    c.member = 1;
    notice(true, &a, 1); /* that is about another one */
    assert_non_null(strstr(said, "node-1 is quarantined"));
    c.member = 4;
    a = alarm_of(ALARM_ROLLED_BACK, 4, 4, 9501);
    notice(true, &a, 1);
    assert_non_null(strstr(said, "WARNING: COMPROMISED: node-4, Raft index 9501"));
    assert_null(strstr(said, "is quarantined"));
}

static void test_for_programs(void **state)
{
    (void)state;
    struct message_alarm a[] = {alarm_of(ALARM_FORKED, 1, 2, 3000), alarm_by(200, 4, 3, 2, 3001)};
    char *end, *line = said;
    c.output = &output;
    output.programs = true;
    notice(false, a, 2);
    for (int i = 0; i < 2; i++) {
        end = strchr(line, '\n');
        assert_non_null(end);
        json_t *value = json_loadb(line, (size_t)(end - line), 0, NULL);
        assert_non_null(value);
        assert_string_equal(json_string_value(json_object_get(value, "warning")), "compromised");
        assert_string_equal(json_string_value(json_object_get(value, "node")), i ? "node-4" : "node-1");
        assert_string_equal(json_string_value(json_object_get(value, "kind")), i ? "unknown" : "forked");
        assert_int_equal(json_integer_value(json_object_get(value, "first")), 3000 + i);
        assert_string_equal(json_string_value(json_object_get(value, "heard_from")), "node-2");
        json_decref(value);
        line = end + 1;
    }
    assert_string_equal(line, "");
}

static void test_status(void **state)
{
    (void)state;
    struct message_alarm a[] = {alarm_of(ALARM_FORKED, 3, 1, 1)};
    notice(false, a, 1);
    static const struct {
        uint32_t member;
        bool reachable;
        const char *state, *word;
    } cases[] = {{1, true, "ready", "verified"},    {1, false, "ready", "unknown"}, {3, true, "ready", "COMPROMISED"},
                 {3, false, "ready", "COMPROMISED"}, {4, true, "quarantined", "COMPROMISED"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct message_member m = {.member = cases[i].member, .reachable = cases[i].reachable, .witnessed_size = 9};
        m.state = bytes_text(cases[i].state);
        json_t *row = json_object();
        alarms_integrity(row, &c, &m);
        assert_string_equal(json_string_value(json_object_get(row, "integrity")), cases[i].word);
        assert_int_equal(json_is_object(json_object_get(row, "alarm")), cases[i].member == 3);
        json_decref(row);
    }
    json_t *open = alarms_open_json(&c);
    assert_int_equal(json_array_size(open), 1);
    json_decref(open);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_whom_to_avoid, setup),
        cmocka_unit_test_setup(test_forked_and_damaged, setup),
        cmocka_unit_test_setup(test_said_once, setup),
        cmocka_unit_test_setup(test_what_counts_is_said_first, setup),
        cmocka_unit_test_setup(test_accusation, setup),
        cmocka_unit_test_setup(test_liar_without_end, setup),
        cmocka_unit_test_setup(test_quarantined_with_its_alarm, setup),
        cmocka_unit_test_setup(test_for_programs, setup),
        cmocka_unit_test_setup(test_status, setup),
    };
    return cmocka_run_group_tests_name("cli/alarms", tests, NULL, NULL);
}
