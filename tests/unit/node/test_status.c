/* What a node says of itself to whoever asks, however often. Everything around the board is played here. */
#include "node/status.h"

#include "consensus/witness.h"
#include "node/integrity.h"
#include "node/scrub.h"
#include "tests/lib/unit.h"

static struct node node;
static struct session session = {.node = &node};
static struct network_counters counters;

static unsigned looked; /* at the device */
static unsigned answers;
static uint64_t free_said; /* in the last one */

enum err store_space(struct store *store, struct store_space *out)
{
    (void)store;
    *out = (struct store_space){.device_free = 1000 + ++looked};
    return OK;
}

void session_send(struct session *s, uint32_t type, uint64_t id, const struct buffer *body)
{
    static struct message_status_ok m;
    assert_ptr_equal(s, &session);
    assert_int_equal(type, MESSAGE_STATUS_OK);
    assert_int_equal(id, 7);
    assert_int_equal(message_status_ok_decode(&m, buffer_bytes(body)), OK);
    answers++;
    free_said = 0;
    for (uint32_t i = 0; i < m.counter_count; i++)
        if (bytes_equal(m.counters[i].name, bytes_text("device_free_bytes"))) free_said = m.counters[i].value;
}

void session_fail(struct session *s, uint64_t id, enum err code, const char *text, uint64_t retry_after_ms)
{
    (void)s, (void)id, (void)text, (void)retry_after_ms;
    fail_msg("STATUS is refused: %d", code);
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = (struct driver_status){.leader = 1};
}
bool driver_cosigned(const struct driver *d, struct cosigned_mark *out)
{
    (void)d, (void)out;
    return false;
}
void driver_set_clock_ok(struct driver *d, bool ok) { (void)d, (void)ok; }
uint64_t witness_size(const struct witness *w)
{
    (void)w;
    return 0;
}
const char *node_state(const struct node *n)
{
    (void)n;
    return "ready";
}
void integrity_own(const struct node *n, struct peer_findings *out)
{
    (void)n;
    *out = (struct peer_findings){0};
}
void integrity_own_encode(struct buffer *out, const struct peer_findings *said) { (void)out, (void)said; }
void integrity_own_decode(struct peer_findings *out, struct unpack *u) { (void)out, (void)u; }
void integrity_peer(struct node *n, unsigned from, const struct peer_findings *said, bool ready)
{
    (void)n, (void)from, (void)said, (void)ready;
}
void scrub_status(const struct node *n, struct scrub_status *out)
{
    (void)n;
    *out = (struct scrub_status){0};
}
const struct network_counters *network_counters(const struct network *n)
{
    (void)n;
    return &counters;
}
uint64_t listener_refused(const struct listener *l)
{
    (void)l;
    return 0;
}
enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    (void)p, (void)index, (void)type, (void)id, (void)body;
    return OK;
}
bool peers_up(const struct peers *p, uint32_t index)
{
    (void)p, (void)index;
    return false;
}

/* Asking the device takes longer than all the rest of an answer, and anybody may ask for one without end. */
static void test_device_is_looked_at_now_and_then(void **state)
{
    (void)state;
    static const struct config none;
    struct buffer empty = {0};
    message_empty_encode(&empty);
    node.config = &none;
    node.self = node.genesis.member_count = 1;
    assert_int_equal(uv_loop_init(&node.loop), 0);
    assert_int_equal(board_new(&node.board, &node), OK);
    for (unsigned i = 0; i < 1000; i++)
        board_status(&session, 7, buffer_bytes(&empty));
    assert_int_equal(answers, 1000);
    assert_int_equal(looked, 1);
    assert_int_equal(free_said, 1001);
    while (looked == 1)
        uv_run(&node.loop, UV_RUN_ONCE);
    board_status(&session, 7, buffer_bytes(&empty));
    assert_int_equal(free_said, 1000 + looked);
    board_stop(node.board);
    uv_run(&node.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&node.loop), 0);
    board_free(node.board);
    buffer_free(&empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_device_is_looked_at_now_and_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
