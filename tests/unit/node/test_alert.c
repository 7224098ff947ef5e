/* Who sends, and when: only in its turn, once, again a day later, and never for what it is proved to have done. The
 * ledger and the servers are played here; so is time, which passes fifty times as fast, and only while all that is
 * under way goes on. */
#include "node/alert.h"

#include "base/check.h"
#include "consensus/node_request.h"
#include "ledger/arguments.h"
#include "node/alert_send.h"
#include "node/integrity.h"
#include "node/status.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define PACED_CLOCK_FAST 50
#include "tests/lib/paced_clock.h"

#define LEAF 77
#define MEMBERS 4

static struct node node;
static struct config config;
static struct alarm row; /* the only open one */
static unsigned leader, reached;
static bool quarantined, log_full;
static unsigned calls, mails, claims, rest_claims, tells, told_ways, rests, sends, sent_ways;
static unsigned fails;       /* ways that take nothing */
static enum reason denies;   /* claims */
static bool lost;            /* what says that people were told comes to nothing */
static struct waiting {
    bool waits;
    struct args_alarm_tell args;
    void *data;
    node_request_done done;
} waiting;

/* --- what stands around it --- */

unsigned alert_ways(const struct config *c)
{
    (void)c;
    return ALERT_MAIL | ALERT_HOOK;
}

enum err alert_send(unsigned *sent, unsigned ways, const struct config *c, const struct alert_message *message,
                    const atomic_bool *stop, struct alert_refused *refused, struct failure *failure)
{
    (void)c, (void)stop, (void)failure;
    refused->count = 0;
    CHECK(message->sender == node.self && message->log_full == log_full);
    CHECK(message->alarm.index == (log_full ? 0 : row.index) && (message->alarm.kind == 0) == log_full);
    *sent = ways & ~fails;
    sends += *sent != 0;
    mails += (*sent & ALERT_MAIL) != 0;
    calls++;
    sent_ways |= *sent;
    return *sent == ways ? OK : ERR_UNREACHABLE;
}

/* What it finds is only said: nothing is sent less for it. */
enum err alert_files_check(const struct config *c, struct failure *failure)
{
    (void)c;
    return fail(failure, ERR_NOT_FOUND, "cannot read a file of the alarms");
}

void integrity_view(const struct node *n, struct integrity_view *out)
{
    (void)n;
    *out = (struct integrity_view){.count = 1, .alarms = &row, .quarantined = quarantined};
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = (struct driver_status){.leader = leader};
}

unsigned board_reached(const struct node *n)
{
    CHECK(n == &node);
    return reached;
}

bool board_log_full(const struct node *n)
{
    CHECK(n == &node);
    return log_full;
}

/* As the thread that alert_send is for; it has ended when it began. */
int uv_thread_create(uv_thread_t *thread, uv_thread_cb entry, void *data)
{
    (void)thread;
    entry(data);
    return 0;
}

int uv_thread_join(uv_thread_t *thread)
{
    (void)thread;
    return 0;
}

enum err node_request_submit(const struct node_signer *signer, enum action action, struct bytes args,
                             struct bytes attachment, void *data, node_request_done done)
{
    CHECK(signer->self == node.self && action == ACTION_ALARM_TELL && attachment.size == 0 && !waiting.waits);
    waiting = (struct waiting){.waits = true, .data = data, .done = done};
    CHECK(args_alarm_tell_decode(&waiting.args, args) == OK && waiting.args.index == LEAF);
    return OK;
}

static void decide_claim(const struct args_alarm_tell *args)
{
    unsigned self = node.self;
    bool early = args->ways && clock_wall_ms() < alarm_rest_turn_ms(&row, self, MEMBERS, &node.genesis.cluster);
    CHECK(!early && !(args->ways & row.told_ways & (row.told ? ALARM_WAYS : 0)));
    row.claimed_by = self;
    row.claimed_ms = clock_wall_ms();
    CHECK(alarm_claims_rest(&row) == (args->ways != 0));
    *(args->ways ? &rest_claims : &claims) += 1;
}

static void decide_told(const struct args_alarm_tell *args)
{
    bool rest = alarm_claims_rest(&row);
    CHECK(row.claimed_by == node.self);
    row.claimed_by = 0;
    row.told_ways = told_ways = rest ? row.told_ways | args->ways : args->ways;
    *(rest ? &rests : &tells) += 1;
    if (rest) return;
    row.told = LEAF + tells;
    row.told_ms = clock_wall_ms();
    row.told_by = node.self;
}

/* The row as the rules would have it. */
static void decide(void)
{
    if (!waiting.waits || (lost && waiting.args.step == ALARM_TOLD)) return;
    struct waiting w = waiting;
    waiting.waits = false;
    bool told = w.args.step == ALARM_TOLD, denied = !told && denies != REASON_NONE;
    if (told)
        decide_told(&w.args);
    else if (!denied)
        decide_claim(&w.args);
    w.done(w.data, OK, told ? LEAF + tells : 0, denied ? DECISION_DENIED : DECISION_APPROVED,
           denied ? denies : REASON_NONE);
}

/* --- turns of the loop --- */

/* Its own timer looks at each turn, which is 50 ms of that time and more. */
static void hasten(uv_handle_t *handle, void *data)
{
    (void)data;
    if (handle->type != UV_TIMER) return;
    uv_timer_set_repeat((uv_timer_t *)handle, 1);
    uv_timer_again((uv_timer_t *)handle);
}

/* Enough for it to look many times: what must not happen would have happened. */
static void settle(void)
{
    for (int i = 0; i < 24; i++) {
        paced_clock_turn();
        decide();
        uv_run(&node.loop, UV_RUN_ONCE);
    }
}

/* Until it has told so often. */
static void until_told(unsigned times)
{
    for (unsigned i = 0; i < 60 && tells < times; i++) settle();
    assert_int_equal(tells, times);
}

/* This node is the one at that place in the order; 3: it is named. */
static void begin(enum alarm_kind kind, unsigned place)
{
    row = (struct alarm){.index = LEAF, .kind = kind, .named = 2, .raiser = 1, .saying = 2, .first = 5, .last = 5,
                         .since_ms = clock_wall_ms() - 1000, .status = ALARM_OPEN};
    for (unsigned i = 1; i <= MEMBERS; i++)
        if (place == 3 ? i == row.named
                       : alarm_turn_ms(&row, i, MEMBERS, &node.genesis.cluster) == row.since_ms + place * ALARM_TURN_MS)
            node.self = i;
}

static void start(void)
{
    node.stopping = false;
    CHECK(uv_loop_init(&node.loop) == 0);
    CHECK(alert_new(&node.alert, &node) == OK);
    uv_walk(&node.loop, hasten, NULL);
}

static void stop(void)
{
    node.stopping = true;
    alert_stop(&node);
    uv_run(&node.loop, UV_RUN_DEFAULT);
    alert_free(node.alert);
    CHECK(uv_loop_close(&node.loop) == 0);
}

/* As kill -9: what it asked for is gone. */
static void restart(void)
{
    waiting.waits = false;
    stop();
    start();
}

static int open_node(void **state)
{
    (void)state;
    node = (struct node){.ready = true, .config = &config};
    sample_genesis(&node.genesis, MEMBERS, 1);
    calls = mails = claims = rest_claims = tells = told_ways = rests = sends = sent_ways = fails = 0;
    denies = REASON_NONE;
    waiting.waits = lost = quarantined = log_full = false;
    leader = 1;
    reached = MEMBERS;
    paced_clock_turn();
    start();
    return 0;
}

static int close_node(void **state)
{
    (void)state;
    stop();
    return 0;
}

/* --- tests --- */

static void the_first_one_tells(void **state)
{
    (void)state;
    begin(ALARM_MODIFIED, 0);
    until_told(1);
    assert_true(claims == 1 && sends == 1);
    assert_int_equal(told_ways, ALARM_WAYS);
    settle();
    assert_true(claims == 1 && tells == 1 && sends == 1);
    /* a day later others come first; when they were silent, it tells again, by all ways */
    row.since_ms -= 2 * ALARM_AGAIN_MS;
    row.told_ms = clock_wall_ms() - ALARM_AGAIN_MS + 3600 * 1000;
    settle();
    assert_int_equal(claims, 1);
    row.told_ms = clock_wall_ms() - ALARM_AGAIN_MS - 3 * ALARM_TURN_MS;
    sent_ways = 0;
    until_told(2);
    assert_true(claims == 2 && sent_ways == (ALERT_MAIL | ALERT_HOOK));
}

static void the_others_wait(void **state)
{
    (void)state;
    begin(ALARM_MODIFIED, 2);
    row.since_ms = clock_wall_ms() + 3600 * 1000; /* as if its turn were far away */
    settle();
    assert_int_equal(claims, 0);
    row.since_ms = clock_wall_ms() - 3 * ALARM_TURN_MS;
    row.claimed_by = node.self % MEMBERS + 1; /* somebody sends */
    row.claimed_ms = clock_wall_ms();
    settle();
    assert_int_equal(claims, 0);
    row.claimed_ms -= ALARM_CLAIM_MS + 3 * ALARM_TURN_MS; /* and died */
    until_told(1);
    assert_int_equal(claims, 1);
}

static void who_is_named(void **state)
{
    (void)state;
    begin(ALARM_FORKED, 3);
    row.since_ms -= 10 * ALARM_SELF_MS;
    settle();
    assert_int_equal(claims, 0); /* proved: never */
    begin(ALARM_DELETED, 3);
    settle();
    assert_int_equal(claims, 0);
    row.since_ms -= ALARM_SELF_MS; /* nobody else did */
    until_told(1);
    assert_int_equal(claims, 1);
}

/* What the named one says it told moves nobody else. */
static void told_of_itself(void **state)
{
    (void)state;
    begin(ALARM_DELETED, 0);
    row.told = LEAF + 1;
    row.told_by = row.named;
    row.told_ms = clock_wall_ms();
    until_told(1);
    assert_true(claims == 1 && sends == 1);
}

/* Its claim holds from before a restart: it goes on with that. */
static void a_claim_of_its_own(void **state)
{
    (void)state;
    begin(ALARM_MODIFIED, 1);
    row.claimed_by = node.self;
    row.claimed_ms = clock_wall_ms();
    until_told(1);
    assert_true(claims == 0 && sends == 1);
}

static void until_called(unsigned times)
{
    for (unsigned i = 0; i < 60 && calls < times; i++) settle();
    assert_true(calls >= times);
}

static void what_fails_is_not_told(void **state)
{
    (void)state;
    begin(ALARM_MODIFIED, 0);
    fails = ALERT_MAIL | ALERT_HOOK;
    until_called(1);
    settle();
    assert_true(claims == 1 && tells == 0 && sends == 0);
    fails = 0;
    until_told(1); /* after a pause, within the claim */
    assert_true(claims == 1 && mails == 1);
    assert_int_equal(told_ways, ALARM_WAYS);
}

static void until_rest(unsigned times)
{
    for (unsigned i = 0; i < 120 && rests < times; i++) settle();
    assert_int_equal(rests, times);
}

/* One way is enough for the ledger to say it, so that no other node tells them again; the other way is claimed and
 * sent by itself. */
static void one_way_fails(void **state)
{
    (void)state;
    begin(ALARM_MODIFIED, 0);
    fails = ALERT_HOOK;
    until_told(1);
    assert_true(claims == 1 && mails == 1 && rest_claims == 0);
    assert_int_equal(told_ways, ALARM_BY_MAIL);
    uint64_t told_ms = row.told_ms;
    sent_ways = fails = 0;
    until_rest(1); /* after a pause */
    settle();
    assert_true(claims == 1 && rest_claims == 1 && tells == 1 && mails == 1 && calls == 2 && row.told_ms == told_ms);
    assert_int_equal(sent_ways, ALERT_HOOK);
    assert_int_equal(told_ways, ALARM_WAYS);
    /* a day later: by all ways again */
    row.since_ms -= 2 * ALARM_AGAIN_MS;
    row.told_ms = clock_wall_ms() - ALARM_AGAIN_MS - 3 * ALARM_TURN_MS;
    until_told(2);
    assert_true(claims == 2 && mails == 2 && rests == 1);
    assert_int_equal(told_ways, ALARM_WAYS);
}

/* As if so much time had passed. */
static void pass(uint64_t ms)
{
    row.since_ms -= ms;
    row.told_ms -= ms;
    if (row.claimed_by) row.claimed_ms -= ms;
}

/* The way that failed is tried again also by a sender that was killed; once it has worked, no more. */
static void a_restart_forgets_no_way(void **state)
{
    (void)state;
    begin(ALARM_MODIFIED, 0);
    fails = ALERT_HOOK;
    until_told(1);
    restart();
    until_called(2);
    assert_true(rest_claims == 1 && rests == 0);
    pass(ALARM_CLAIM_MS + 3 * ALARM_TURN_MS); /* none of the others has that way either */
    sent_ways = fails = 0;
    restart();
    until_rest(1);
    assert_true(claims == 1 && rest_claims == 2 && tells == 1 && mails == 1);
    assert_int_equal(sent_ways, ALERT_HOOK);
    unsigned before = calls;
    for (int i = 0; i < 3; i++) {
        restart();
        pass(ALARM_CLAIM_MS);
        settle();
        assert_int_equal(calls, before);
    }
    /* a day later: by all ways again, and what failed then is another telling's */
    row.since_ms -= 2 * ALARM_AGAIN_MS;
    row.told_ms = clock_wall_ms() - ALARM_AGAIN_MS - 3 * ALARM_TURN_MS;
    fails = ALERT_MAIL;
    until_told(2);
    assert_int_equal(told_ways, ALARM_BY_HOOK);
    fails = 0;
    restart();
    until_rest(2);
    assert_int_equal(mails, 2);
}

/* Killed before the ledger had it: once more by its own claim, never less. */
static void what_is_not_said_is_sent_again(void **state)
{
    (void)state;
    begin(ALARM_MODIFIED, 0);
    fails = ALERT_HOOK;
    until_told(1);
    fails = 0;
    lost = true;
    until_called(2);
    settle();
    assert_int_equal(rests, 0);
    restart();
    lost = false;
    until_rest(1);
    settle();
    assert_true(calls == 3 && mails == 1 && tells == 1 && claims == 1 && rest_claims == 1);
}

/* Somebody else told people, by mail. */
static void told_by_another(unsigned place)
{
    begin(ALARM_MODIFIED, place);
    row.told = LEAF + 1;
    row.told_by = node.self % MEMBERS + 1 == row.named ? (node.self + 1) % MEMBERS + 1 : node.self % MEMBERS + 1;
    row.told_ways = ALARM_BY_MAIL;
    row.told_ms = clock_wall_ms();
}

/* Its sender has died: the way that failed is the next one's, and only that. */
static void another_one_takes_the_rest(void **state)
{
    (void)state;
    told_by_another(0);
    unsigned sender = row.told_by;
    settle();
    assert_int_equal(calls, 0); /* first it is the sender's own */
    pass(ALARM_CLAIM_MS + 3 * ALARM_TURN_MS);
    until_rest(1);
    settle();
    assert_true(claims == 0 && rest_claims == 1 && tells == 0 && mails == 0 && calls == 1 && sent_ways == ALERT_HOOK);
    assert_true(row.told_by == sender && row.told_ways == ALARM_WAYS);
}

/* Nor is it before a claim of the sender's has run out. */
static void the_senders_claim_holds(void **state)
{
    (void)state;
    told_by_another(1);
    pass(ALARM_CLAIM_MS + 3 * ALARM_TURN_MS);
    row.claimed_by = row.told_by;
    row.claimed_ms = clock_wall_ms();
    settle();
    assert_int_equal(calls, 0);
    pass(ALARM_CLAIM_MS + 3 * ALARM_TURN_MS);
    until_rest(1);
    assert_true(calls == 1 && rest_claims == 1);
}

static void others_tellings_are_not_ours(void **state)
{
    (void)state;
    told_by_another(0);
    row.told_ways = ALARM_WAYS;
    pass(ALARM_CLAIM_MS + 3 * ALARM_TURN_MS);
    settle();
    assert_int_equal(calls, 0);
    row.told_by = node.self;
    row.told_ways = ALARM_BY_MAIL;
    row.told_ms -= ALARM_AGAIN_MS; /* as good as not told: that is a claim's */
    row.claimed_by = node.self % MEMBERS + 1;
    row.claimed_ms = clock_wall_ms();
    settle();
    assert_int_equal(calls, 0);
}

/* Until the new row is read, the old one stands there with a claim that holds. */
static void an_old_row_sends_nothing(void **state)
{
    (void)state;
    begin(ALARM_MODIFIED, 0);
    until_told(1);
    row.told = row.told_ms = row.told_by = 0;
    row.claimed_by = node.self;
    row.claimed_ms = clock_wall_ms();
    settle();
    settle();
    assert_true(mails == 1 && calls == 1 && tells == 1);
}

static void a_denied_claim_sends_nothing(void **state)
{
    (void)state;
    begin(ALARM_MODIFIED, 0);
    denies = REASON_NOT_ITS_TURN;
    settle();
    assert_true(claims == 0 && sends == 0 && tells == 0);
}

/* --- without a majority --- */

static void leap(unsigned seconds) { paced_ns += seconds * UINT64_C(1000000000); }

/* What this node found in itself, and no ledger has. */
static void found_in_itself(void)
{
    node.self = 2;
    row = (struct alarm){.kind = ALARM_MODIFIED, .named = 2, .raiser = 2, .saying = 1u << 2, .first = 5, .last = 5,
                         .since_ms = clock_wall_ms(), .status = ALARM_OPEN};
}

static void a_node_alone_tells_of_itself(void **state)
{
    (void)state;
    found_in_itself();
    quarantined = true; /* then it keeps its leader */
    settle();
    leap(3600);
    settle();
    assert_int_equal(calls, 0); /* the others know, and tell */
    reached = 2;
    settle();
    leap(14 * 60);
    settle();
    reached = 3; /* they have heard it, in so much time */
    settle();
    leap(14 * 60);
    settle();
    reached = 2;
    settle();
    leap(14 * 60);
    settle();
    assert_int_equal(calls, 0);
    leap(60);
    until_called(1);
    settle();
    assert_true(calls == 1 && mails == 1 && sent_ways == (ALERT_MAIL | ALERT_HOOK) && claims == 0 && tells == 0);
    leap(23 * 3600);
    settle();
    assert_int_equal(calls, 1);
    row.first = row.last = 6; /* whatever it finds */
    settle();
    assert_int_equal(calls, 1);
    leap(3600);
    until_called(2);
    settle();
    assert_int_equal(calls, 2);
}

/* Nothing gets into the ledger in such a moment. */
static void a_leader_for_a_moment_keeps_nothing_back(void **state)
{
    (void)state;
    found_in_itself();
    for (unsigned i = 0; i < 2; i++) {
        leader = 0;
        settle();
        leap(10 * 60);
        until_called(i);
        settle();
        assert_int_equal(calls, i);
        leader = 1;
        settle();
        leap(1);
        settle();
    }
    assert_int_equal(sent_ways, ALERT_MAIL | ALERT_HOOK);
    leap(24 * 3600); /* for a day all is well: that is forgotten */
    settle();
    leader = 0;
    settle();
    leap(14 * 60);
    settle();
    assert_int_equal(calls, 1);
    leap(2 * 60);
    until_called(2);
    assert_int_equal(calls, 2);
}

static void without_a_leader_it_is_alone_too(void **state)
{
    (void)state;
    found_in_itself();
    leader = 0;
    settle();
    leap(15 * 60);
    fails = ALERT_HOOK;
    until_called(1);
    fails = 0;
    until_called(2); /* what failed alone, after a pause */
    settle();
    assert_true(calls == 2 && mails == 1 && sends == 2 && tells == 0);
}

static void alone_it_tells_of_nobody_else(void **state)
{
    (void)state;
    found_in_itself();
    row.named = 3;
    leader = 0;
    settle();
    leap(16 * 60);
    settle();
    row.named = 2;
    row.index = LEAF; /* the others have it */
    row.claimed_by = 1;
    row.claimed_ms = clock_wall_ms();
    settle();
    assert_int_equal(calls, 0);
}

/* Its leader and a majority are there, but no telling could be claimed. */
static void a_full_log_is_told_without_the_ledger(void **state)
{
    (void)state;
    found_in_itself();
    row.named = 3;
    row.index = LEAF;
    row.claimed_by = 1;
    row.claimed_ms = clock_wall_ms() + 7 * ALARM_AGAIN_MS; /* another one tells of that */
    log_full = true;
    settle();
    assert_int_equal(calls, 0); /* it may be trimmed at once */
    leap(60);
    fails = ALERT_MAIL;
    until_called(1);
    fails = 0;
    until_called(2);
    settle();
    assert_true(calls == 2 && mails == 1 && sends == 2 && claims == 0 && tells == 0);
    leap(23 * 3600);
    settle();
    assert_int_equal(calls, 2);
    leap(3600);
    until_called(3);
    log_full = false;
    settle();
    leap(48 * 3600);
    settle();
    assert_int_equal(calls, 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_node, close_node)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_first_one_tells), TEST(the_others_wait),        TEST(who_is_named),
        TEST(told_of_itself),      TEST(a_claim_of_its_own),     TEST(what_fails_is_not_told),
        TEST(one_way_fails),       TEST(an_old_row_sends_nothing), TEST(a_denied_claim_sends_nothing),
        TEST(a_restart_forgets_no_way), TEST(what_is_not_said_is_sent_again), TEST(others_tellings_are_not_ours),
        TEST(a_node_alone_tells_of_itself), TEST(without_a_leader_it_is_alone_too),
        TEST(a_leader_for_a_moment_keeps_nothing_back),
        TEST(alone_it_tells_of_nobody_else), TEST(a_full_log_is_told_without_the_ledger),
        TEST(another_one_takes_the_rest), TEST(the_senders_claim_holds),
    };
    return cmocka_run_group_tests_name("node/alert", tests, NULL, NULL);
}
