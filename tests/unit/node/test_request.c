/* What a node answers to requests of users that it doesn't know: for good only when it has applied what
 * the others have. Everything around the request is played here. */
#include "node/request.h"

#include "base/check.h"
#include "consensus/witness.h"
#include "node/integrity.h"
#include "node/status.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/unit.h"

static struct kit kit;
static struct node node;
static struct session session;
static struct driver_status status;
static bool log_full;
static struct alarm open_alarm; /* named 0: none */

/* --- what stands around it --- */

static enum err failed; /* what the client was told; OK: nothing so far */
static uint64_t retry_ms;
static struct submission *submitted;
static uint64_t waited_for; /* the last leaf that is to be witnessed */
static size_t taken, taken_at_wait; /* network_take; what of that was left while it waits to be witnessed */
static void (*meanwhile)(void); /* happens while the state thread looks */

void session_fail(struct session *s, uint64_t id, enum err code, const char *text, uint64_t retry_after_ms)
{
    (void)text;
    CHECK(s == &session && id == 7 && failed == OK);
    failed = code;
    retry_ms = retry_after_ms;
}

bool session_begin(struct session *s, uint64_t id)
{
    (void)id;
    s->in_flight++;
    return true;
}

void session_end(struct session *s) { s->in_flight--; }
void session_send(struct session *s, uint32_t type, uint64_t id, const struct buffer *body)
{
    (void)s, (void)type, (void)id, (void)body;
}

bool session_actor(struct actor *out, const struct session *s, const uint64_t *leaves, size_t count)
{
    (void)leaves;
    (void)count;
    *out = s->actor;
    return s->known;
}
bool export_permits(const struct export_permit *permit, uint64_t from, uint64_t to)
{
    (void)permit, (void)from, (void)to;
    return false;
}

void integrity_view(const struct node *n, struct integrity_view *out)
{
    CHECK(n == &node);
    *out = (struct integrity_view){.count = open_alarm.named != 0, .alarms = &open_alarm};
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = status;
}

void network_take(struct network *n, size_t bytes)
{
    (void)n;
    taken += bytes;
}

void network_give(struct network *n, size_t bytes)
{
    (void)n;
    CHECK(bytes <= taken);
    taken -= bytes;
}

bool board_log_full(const struct node *n)
{
    (void)n;
    return log_full;
}

enum err driver_work(struct driver *d, struct worker_task *task)
{
    (void)d;
    task->run(task);
    task->done(task, false);
    return OK;
}

/* The open transaction is the kit's; on the disk there is only what the kit has committed. */
enum err driver_read(struct driver *d, struct state_read *r)
{
    (void)d;
    CHECK(r->fresh);
    enum err e = r->run(r, kit.txn);
    if (meanwhile) meanwhile();
    r->done(r, e);
    return OK;
}

enum err driver_submit(struct driver *d, struct submission *s)
{
    (void)d;
    submitted = s;
    return OK;
}

bool witness_newest(const struct witness *w, struct bytes *note, uint64_t *size, struct digest *root,
                    uint64_t *raft_index, uint64_t *raft_term)
{
    (void)w, (void)note, (void)size, (void)root, (void)raft_index, (void)raft_term;
    return false;
}

void witness_wait(struct witness *w, struct witness_wait *wait)
{
    (void)w;
    waited_for = wait->leaf_index;
    taken_at_wait = taken;
    wait->done(wait, ERR_NOT_WITNESSED);
}

/* --- questions --- */

static int set_up(void **state)
{
    (void)state;
    kit_open(&kit, 4, 1, (struct bytes){0});
    node = (struct node){.self = 1, .genesis = kit.genesis, .store = kit.store};
    session = (struct session){.node = &node, .connection = (struct connection *)&session};
    status = (struct driver_status){.leader = 2, .term = 5, .applied_term = 5, .applied = 40, .leader_commit = 40};
    log_full = false;
    open_alarm = (struct alarm){0};
    failed = OK;
    submitted = NULL;
    meanwhile = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kit_close(&kit);
    assert_int_equal(session.in_flight + session.request_bytes + node.requests + node.request_bytes + taken, 0);
    return 0;
}

static void ask(struct buffer *request, const struct kit_actor *who, enum wait wait, struct bytes note)
{
    struct buffer body = {0};
    struct arguments args = {.action = ACTION_EVENT_ADD};
    args.event_add = (struct args_event_add){who->actor.id, bytes_text("bill.print"), bytes_text("B-7")};
    kit_request(&kit, request, who, &args, note);
    message_submit_encode(&body, &(struct message_submit){buffer_bytes(request), wait});
    failed = OK;
    submitted = NULL;
    request_submit(&session, 7, buffer_bytes(&body));
    buffer_free(&body);
}

static enum err answer_to(const struct kit_actor *who)
{
    struct buffer request = {0};
    ask(&request, who, WAIT_APPLIED, (struct bytes){0});
    buffer_free(&request);
    assert_int_equal(failed != OK, submitted == NULL);
    if (submitted) submitted->done(submitted, ERR_STOPPED, NULL, 0);
    return submitted ? OK : failed;
}

static void of_users_known(void **state)
{
    (void)state;
    struct kit_actor doctor = kit_add_user(&kit, 1, "doctor", "Mercy General", "Dana");
    assert_int_equal(answer_to(&doctor), OK);
    status = (struct driver_status){.catching_up = true}; /* who is known is known */
    assert_int_equal(answer_to(&doctor), OK);
}

static void of_users_unknown(void **state)
{
    (void)state;
    struct kit_actor stranger = kit_user(1), mixed = kit.root;
    mixed.actor.key = stranger.actor.key; /* a user that there is, with another key */
    mixed.secret = stranger.secret;
    const struct driver_status current = status;
    assert_int_equal(answer_to(&stranger), ERR_UNKNOWN_ACTOR);
    assert_int_equal(answer_to(&mixed), ERR_UNKNOWN_ACTOR);
    status.applied = 41; /* the leader told of that not yet */
    assert_int_equal(answer_to(&stranger), ERR_UNKNOWN_ACTOR);

    struct driver_status behind[6];
    for (unsigned i = 0; i < 6; i++) behind[i] = current;
    behind[0].catching_up = true;
    behind[1].leader = 0;
    behind[2].applied_term = 4;
    behind[3].applied = 39;
    behind[4].leader_commit = 1000;
    behind[5].commit = 1000; /* counted here before the leader told it */
    for (unsigned i = 0; i < 6; i++) {
        status = behind[i];
        assert_int_equal(answer_to(&stranger), ERR_NOT_READY);
        assert_true(retry_ms > 0);
        assert_int_equal(answer_to(&mixed), ERR_NOT_READY);
    }
}

/* The row of a user may be what is damaged: another node is to say whether there is one. */
static void while_an_alarm_about_it_is_open(void **state)
{
    (void)state;
    struct kit_actor stranger = kit_user(2), doctor = kit_add_user(&kit, 1, "doctor", "Mercy General", "Dana");
    open_alarm = (struct alarm){.kind = ALARM_MODIFIED, .named = node.self};
    assert_int_equal(answer_to(&stranger), ERR_NOT_READY);
    assert_int_equal(answer_to(&doctor), OK);
    open_alarm.named = node.self + 1; /* about another node, or not about rows */
    assert_int_equal(answer_to(&stranger), ERR_UNKNOWN_ACTOR);
    open_alarm = (struct alarm){.kind = ALARM_ROLLED_BACK, .named = node.self};
    assert_int_equal(answer_to(&stranger), ERR_UNKNOWN_ACTOR);
}

/* Nobody waits in vain for what the leader drops. */
static void while_the_log_is_full(void **state)
{
    (void)state;
    struct kit_actor doctor = kit_add_user(&kit, 1, "doctor", "Mercy General", "Dana");
    log_full = true;
    assert_int_equal(answer_to(&doctor), ERR_LOG_FULL);
    log_full = false;
    assert_int_equal(answer_to(&doctor), OK);
}

static void all_is_applied(void) { status.applied = 40; }
static void more_is_committed(void) { status.leader_commit = 50; }

/* What was committed when it was asked counts: under load there is always something that is not applied yet. */
static void while_others_write(void **state)
{
    (void)state;
    struct kit_actor stranger = kit_user(1);
    status.applied = 39;
    meanwhile = all_is_applied;
    assert_int_equal(answer_to(&stranger), ERR_UNKNOWN_ACTOR);
    meanwhile = more_is_committed;
    assert_int_equal(answer_to(&stranger), ERR_UNKNOWN_ACTOR);
}

/* A query that is applied, but behind the checkpoint or the synced state, is not "not found". */
static void rows_of_a_query_just_made(void **state)
{
    (void)state;
    static const uint64_t queries[] = {90, 30, 0};
    static const uint64_t last[] = {90, 70, 70};
    session.known = true;
    for (unsigned i = 0; i < 3; i++) {
        struct message_prove_rows m = {.query = queries[i], .rows = {.count = 2, .leaves = {70, 60}}};
        struct buffer body = {0};
        message_prove_rows_encode(&body, &m);
        failed = OK;
        request_prove_rows(&session, 7, buffer_bytes(&body));
        assert_int_equal(failed, ERR_NOT_WITNESSED);
        assert_int_equal(waited_for, last[i]);
        buffer_free(&body);
    }
}

/* Its bytes until it is applied, then its leaves until that is proved. */
static void what_is_taken_counts_until_it_is_answered(void **state)
{
    (void)state;
    static uint8_t note[LIMIT_NOTE], leaf[300];
    struct kit_actor doctor = kit_add_user(&kit, 1, "doctor", "Mercy General", "Dana");
    struct outcome outcome = {.leaf_index = 9, .decision = DECISION_APPROVED, .leaf = BYTES(leaf)};
    struct buffer request = {0};
    ask(&request, &doctor, WAIT_COSIGNED, BYTES(note));
    assert_non_null(submitted);
    assert_true(request.size > sizeof note);
    assert_int_equal(taken, request.size);
    assert_int_equal(node.request_bytes, taken);
    assert_int_equal(session.request_bytes, taken);
    submitted->done(submitted, OK, &outcome, 1); /* and is not witnessed */
    assert_int_equal(waited_for, 9);
    assert_in_range(taken_at_wait, sizeof leaf, 2 * sizeof leaf);
    assert_int_equal(taken, 0);
    assert_int_equal(failed, ERR_NOT_WITNESSED);
    buffer_free(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(of_users_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_users_unknown, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_an_alarm_about_it_is_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_the_log_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(while_others_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rows_of_a_query_just_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_taken_counts_until_it_is_answered, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
