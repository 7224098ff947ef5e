/* One node's clock is wrong, under load: an hour fast or slow, jumping, at ten times its speed, on the
 * leader and on another. The ledger goes on, nothing is lost, and what is more than five minutes old (or from
 * the future) stays refused, by whichever node it is sent to.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/attacker.h"
#include "tests/lib/chaos_bed.h"
#include "tests/lib/events.h"
#include "tests/lib/unit.h"

#define MINUTE_MS 60000ll
#define HOUR_MS (60 * MINUTE_MS)
#define TRIES 6

static struct attacker them;
static struct signer doctor;
static struct id patient;
static unsigned asked;

static unsigned bit(unsigned node) { return 1u << node; }

static void set_clock(unsigned node, long long offset_ms, unsigned rate)
{
    char order[80];
    snprintf(order, sizeof order, "%lld %u\n", offset_ms, rate);
    chaos_order_clock(&chaos, node, order);
}

#define EXPIRED "too-old-or-too-new"

/* An event that was issued so long ago, sent to this node: no answer so far is no harm, an entry is, also a later one
 * (nowhere_is_anything_expired). */
static void is_not_accepted(unsigned node, long long ago_ms)
{
    struct buffer request = {0}, body = {0};
    struct frame frame;
    struct message_applied *applied = calloc(1, sizeof *applied);
    struct arguments args = {.action = ACTION_EVENT_ADD,
                             .event_add = {.patient = patient, .what = bytes_text("expired"),
                                           .object = bytes_text(EXPIRED)}};
    struct client *c = attacker_greet(&them, node);
    attacker_request(&request, &them, &doctor, &args, (struct bytes){0},
                     &(struct wrong){.issued_at_ms = (uint64_t)((long long)clock_wall_ms() - ago_ms)});
    message_submit_encode(&body, &(struct message_submit){buffer_bytes(&request), WAIT_APPLIED});
    attacker_send(&them, c, MESSAGE_SUBMIT, 7, buffer_bytes(&body));
    if (client_receive(c, &frame, 500, NULL) == OK && frame.type == MESSAGE_APPLIED) {
        assert_int_equal(message_applied_decode(applied, frame.body), OK);
        asked++;
        if (applied->results[0].code != ERR_STALE || applied->results[0].leaf_index != 0)
            testbed_fail(&chaos.bed, "node %u took what was issued %lld ms ago: %s", node, ago_ms,
                         err_name(applied->results[0].code));
    }
    client_close(c);
    free(applied);
    buffer_free(&request);
    buffer_free(&body);
}

/* As it should be, as old as the wrong clock says, and as new. */
static void nothing_expired_is_accepted(unsigned wrong, long long offset_ms)
{
    unsigned other = 1 + wrong % CHAOS_NODES;
    is_not_accepted(wrong, 6 * MINUTE_MS);
    is_not_accepted(other, 6 * MINUTE_MS);
    is_not_accepted(wrong, -6 * MINUTE_MS);
    if (offset_ms == 0) return;
    is_not_accepted(wrong, -offset_ms);
    is_not_accepted(other, -offset_ms);
}

/* The others go on while its clock is so wrong, and all of them when it is right again. */
static void wrong_clock(unsigned node, long long offset_ms, unsigned rate, const char *what)
{
    set_clock(node, offset_ms, rate);
    chaos_goes_on(&chaos, CHAOS_ALL & ~bit(node), what);
    nothing_expired_is_accepted(node, offset_ms);
    chaos_goes_on(&chaos, CHAOS_ALL & ~bit(node), "  still");
    chaos_order_clock(&chaos, node, NULL);
    chaos_goes_on(&chaos, CHAOS_ALL, "  right again");
}

static unsigned follower(void) { return 1 + chaos_await_leader(&chaos, NULL) % CHAOS_NODES; }

static void an_hour_slow(void **state)
{
    (void)state;
    wrong_clock(follower(), -HOUR_MS, 1, "a follower an hour slow");
    wrong_clock(chaos_await_leader(&chaos, NULL), -HOUR_MS, 1, "the leader an hour slow");
}

/* What it proposed with that clock is nowhere, so it may lead again at once when the clock is right. */
static void leads_again(unsigned node)
{
    for (unsigned i = 0; i == 0 || (i < TRIES && chaos_await_leader(&chaos, NULL) != node); i++) {
        /* Those who begin anew don't distrust it, and it stands for election first. */
        for (unsigned other = 1; other <= CHAOS_NODES; other++)
            if (other != node) testbed_signal(&chaos.bed, other, SIGKILL);
        testbed_start_all(&chaos.bed);
        testbed_wait_ready(&chaos.bed, 60);
    }
    bool leads = chaos_await_leader(&chaos, NULL) == node;
    chaos_goes_on(&chaos, CHAOS_ALL, leads ? "  it leads again" : "  it does not happen to lead again");
    for (unsigned other = 1; other <= CHAOS_NODES; other++)
        if (other != node && testbed_life_has(&chaos.bed, other, "their time is in the future"))
            testbed_fail(&chaos.bed, "node %u still proposes blocks of the time when its clock was fast", node);
}

static void an_hour_fast(void **state)
{
    (void)state;
    wrong_clock(follower(), HOUR_MS, 1, "a follower an hour fast");
    unsigned leader = chaos_await_leader(&chaos, NULL);
    wrong_clock(leader, HOUR_MS, 1, "the leader an hour fast");
    leads_again(leader);
}

static void runs_away(unsigned node, const char *what)
{
    set_clock(node, 0, 10);
    sleep(5); /* it is 45 s fast by now, and leads no more; what is lost meanwhile is seen in the end */
    chaos_goes_on(&chaos, CHAOS_ALL & ~bit(node), what);
    nothing_expired_is_accepted(node, 0);
    chaos_order_clock(&chaos, node, NULL);
    chaos_goes_on(&chaos, CHAOS_ALL, "  right again");
}

static void ten_times_as_fast(void **state)
{
    (void)state;
    runs_away(follower(), "a follower at ten times its speed");
    runs_away(chaos_await_leader(&chaos, NULL), "the leader at ten times its speed");
}

static void jumps(unsigned node, const char *what)
{
    uint64_t until = chaos_now_ms() + 4000;
    while (chaos_now_ms() < until) {
        set_clock(node, (long long)chaos_below(&chaos, 2 * HOUR_MS) - HOUR_MS, 1);
        usleep(1000 * (20 + chaos_below(&chaos, 600)));
    }
    chaos_goes_on(&chaos, CHAOS_ALL & ~bit(node), what);
    nothing_expired_is_accepted(node, 0);
    chaos_order_clock(&chaos, node, NULL);
    chaos_goes_on(&chaos, CHAOS_ALL, "  right again");
}

static void jumping(void **state)
{
    (void)state;
    jumps(follower(), "a follower's clock jumps");
    jumps(chaos_await_leader(&chaos, NULL), "the leader's clock jumps");
}

static void nowhere_is_anything_expired(void)
{
    struct events seen = {0};
    for (unsigned node = 1; node <= CHAOS_NODES; node++) {
        events_read(&seen, &chaos.bed, node);
        assert_true(seen.count > 0);
        if (events_have(&seen, EXPIRED)) testbed_fail(&chaos.bed, "node %u took something expired", node);
    }
    events_free(&seen);
}

static void it_was_tried_and_nothing_is_lost(void **state)
{
    printf("%u times something expired was refused\n", asked);
    assert_true(asked > 0);
    nothing_is_lost(state);
    nowhere_is_anything_expired();
}

static int setup(void **state)
{
    (void)state;
    chaos_begin(1, true);
    attacker_open(&them, &chaos.bed);
    doctor = attacker_signer(&them, "doctor");
    assert_int_equal(id_parse(&patient, chaos.patient), OK);
    return 0;
}

static int teardown(void **state)
{
    attacker_close(&them);
    return chaos_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_hour_slow),      cmocka_unit_test(an_hour_fast), cmocka_unit_test(jumping),
        cmocka_unit_test(ten_times_as_fast), cmocka_unit_test(it_was_tried_and_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
