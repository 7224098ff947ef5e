/* 'status' promises no more than the nodes, in the states that they say, can do. */
#include "cli/outlook.h"

#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static const char verified[] = "verified";

static json_t *with(json_t *rows, const char *state, const char *integrity)
{
    json_array_append_new(rows, json_pack("{s:b, s:s, s:s}", "reachable", strcmp(state, "unreachable") != 0, "state",
                                          state, "integrity", integrity));
    return rows;
}

/* Of four nodes whose quorum is three. */
static void expect(const char *text, const char *const states[4], const char *fourth)
{
    struct genesis g = {.member_count = 4, .faulty = 1, .quorum = 3, .origin = "north"};
    struct buffer out = {0};
    json_t *rows = json_array();
    for (int i = 0; i < 4; i++) with(rows, states[i], i == 3 ? fourth : verified);
    struct outlook o = outlook_of(rows);
    outlook_text(&out, &o, &g);
    buffer_append(&out, "", 1);
    assert_string_equal((const char *)out.data, text);
    assert_true(outlook_opens(&o, &g) == !strstr(text, "NOTHING"));
    assert_true(outlook_records(&o, &g) == !strstr(text, "recorded")); /* what scripts are told is what people are */
    buffer_free(&out);
    json_decref(rows);
}
#define HOW "A node gets its vote back by itself once a majority of all nodes, itself not counted, is there;\n" \
            "'consiliumd help accept-loss' says what to do where that is lost.\n"
#define EXPECT(text, fourth, ...) expect("north: opening needs 3 nodes, " text, (const char *[]){__VA_ARGS__}, fourth)

static void test_possible(void **state)
{
    (void)state;
    EXPECT("4 reachable.\n", verified, "ready", "ready", "ready", "ready");
    EXPECT("3 reachable.\nNo further node may fail before work stops.\n", verified, "ready", "ready", "ready",
           "unreachable");
    EXPECT("2 reachable: NOTHING can be opened or recorded as done now.\n", verified, "ready", "ready", "unreachable",
           "unreachable");
}

/* Who answers and can do nothing is not counted among those who can. */
static void test_reachable_is_not_ready(void **state)
{
    (void)state;
    EXPECT("3 reachable, 0 of them ready: NOTHING can be opened or recorded as done now.\n", verified, "no leader",
           "no leader", "no leader", "unreachable");
    EXPECT("4 reachable, 3 of them ready.\nNo further node may fail before work stops.\n", verified, "ready", "ready",
           "ready", "no space left");
    EXPECT("4 reachable, 2 of them ready: NOTHING can be opened or recorded as done now.\n", verified, "ready", "ready",
           "log full", "no space left");
    EXPECT("3 reachable, 2 of them ready: NOTHING can be opened now.\n", verified, "ready", "ready",
           "ready, without a key share", "unreachable");
    EXPECT("4 reachable, 0 of them ready: NOTHING can be opened now.\n", verified, "generating keys", "generating keys",
           "generating keys", "generating keys");
}

/* It gives its share, and no entry becomes one by it. */
static void test_no_vote(void **state)
{
    (void)state;
    EXPECT("4 reachable, 1 without a vote.\nNo further node may fail before work stops.\n", verified, "ready", "ready",
           "ready", "ready, without a vote");
    EXPECT("4 reachable, 2 without a vote: NOTHING can be opened or recorded as done now.\n" HOW, verified, "ready",
           "ready", "ready, without a vote", "ready, without a vote");
    EXPECT("4 reachable, 2 of them ready, 1 without a vote: NOTHING can be opened now.\n", verified, "ready", "ready",
           "ready, without a key share", "ready, without a vote and a key share");
    EXPECT("3 reachable, 0 of them ready, 2 without a vote: NOTHING can be opened or recorded as done now.\n" HOW,
           verified, "no leader", "no leader, without a vote", "no leader, without a vote", "unreachable");
}

/* A disk that was set back gives its share, but may have no vote yet. */
static void test_alarm_that_counts(void **state)
{
    (void)state;
    EXPECT("4 reachable.\nNo further node may fail before work stops.\n", "COMPROMISED", "ready", "ready", "ready",
           "ready");
    EXPECT("4 reachable.\n", "accused", "ready", "ready", "ready", "ready");
}

static void test_clocks(void **state)
{
    (void)state;
    struct message_status_ok m = {.member_count = 4};
    struct buffer out = {0};
    json_t *rows = json_array();
    static const uint64_t times[] = {SAMPLE_TIME + 600000, SAMPLE_TIME + 30000, SAMPLE_TIME, 0};
    for (uint32_t i = 0; i < 4; i++) m.members[i] = (struct message_member){.reachable = i < 3, .time_ms = times[i]};
    assert_int_equal(outlook_clock_ahead(&m, 0), 570000);
    assert_int_equal(outlook_clock_ahead(&m, 2), -30000);
    assert_int_equal(outlook_clock_ahead(&m, 3), 0); /* what it said once is old */
    m.members[0].time_ms = UINT64_MAX;
    assert_int_equal(outlook_clock_ahead(&m, 0), 86400000);
    m.members[0].reachable = m.members[1].reachable = m.members[2].reachable = false;
    assert_int_equal(outlook_clock_ahead(&m, 0), 0);
    json_array_append_new(rows, json_pack("{s:s, s:i}", "name", "mercy", "clock_ahead_ms", 570000));
    json_array_append_new(rows, json_pack("{s:s, s:i}", "name", "anna", "clock_ahead_ms", -30000));
    json_array_append_new(rows, json_pack("{s:s, s:i}", "name", "harbour", "clock_ahead_ms", -86400000));
    outlook_clocks(&out, rows);
    buffer_append(&out, "", 1);
    assert_string_equal((const char *)out.data,
                        "The clock of mercy is 570 s ahead of most others': set it, it may be 30 s off.\n"
                        "The clock of harbour is more than 86400 s behind most others': set it, it may be 30 s off.\n");
    buffer_free(&out);
    json_decref(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_possible),
        cmocka_unit_test(test_reachable_is_not_ready),
        cmocka_unit_test(test_no_vote),
        cmocka_unit_test(test_alarm_that_counts),
        cmocka_unit_test(test_clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
