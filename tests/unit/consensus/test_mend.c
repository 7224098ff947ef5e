/* What peers answer when something damaged is asked back from them: lies, refusals, silence.
 * The network, the driver and the witness are played here. */
#include "consensus/mend.h"

#include "base/check.h"
#include "consensus/catchup_messages.h"
#include "consensus/peer_messages.h"
#include "net/peers.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define N 4
#define SELF 1
#define INDEX 5u
#define SIZE 9u /* leaves that are co-signed */

static uv_loop_t loop;
static struct genesis genesis;
static struct buffer genesis_text;
static struct mender *mender;
static struct mend mend;
static struct tree whole; /* all SIZE leaves; leaf i is the byte i */
static unsigned asked[N + 1], last_asked, dones, written;
static uint64_t last_id;
static enum err result;
static bool away[N + 1];

/* --- what stands around it --- */

bool peers_up(const struct peers *p, uint32_t index)
{
    (void)p;
    return !away[index];
}

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    (void)p, (void)body;
    CHECK(index >= 1 && index <= N && index != SELF && (type == PEER_PULL || type == PEER_ATTACHMENTS));
    asked[index]++;
    last_asked = index;
    last_id = id;
    return OK;
}

bool witness_newest(const struct witness *w, struct bytes *note, uint64_t *size, struct digest *root,
                    uint64_t *raft_index, uint64_t *raft_term)
{
    (void)w;
    *note = (struct bytes){0};
    *size = SIZE;
    *raft_index = *raft_term = 1;
    tree_root(root, &whole);
    return true;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    (void)d;
    written++;
    w->done(w, OK);
    return OK;
}

/* --- asking --- */

static void done(struct mend *m, enum err code)
{
    CHECK(m == &mend);
    dones++;
    result = code;
}

static void begin(bool attachment)
{
    mend = (struct mend){.index = INDEX, .attachment = attachment, .done = done};
    for (uint8_t i = 0; i < INDEX; i++) {
        struct digest hash;
        tree_leaf_hash(&hash, bytes_of(&i, 1));
        tree_append(&mend.before, NULL, &hash);
    }
    dones = written = last_asked = 0;
    memset(asked, 0, sizeof asked);
    assert_int_equal(mender_begin(mender, &mend), OK);
    while (!last_asked && !dones) uv_run(&loop, UV_RUN_ONCE);
}

static void refuse(enum err code)
{
    struct buffer body = {0};
    refusal_encode(&body, code);
    assert_true(mender_message(mender, last_asked, PEER_FAILED, last_id, buffer_bytes(&body)));
    buffer_free(&body);
}

static void say(enum attachment_state state)
{
    struct buffer items = {0}, body = {0};
    attached_add(&items, state, (struct bytes){0});
    attached_encode(&body, 1, buffer_bytes(&items));
    assert_true(mender_message(mender, last_asked, PEER_ATTACHED, last_id, buffer_bytes(&body)));
    buffer_free(&items);
    buffer_free(&body);
}

/* Leaves with a base and proofs of nothing. */
static void lie(void)
{
    struct buffer leaves = {0}, body = {0};
    static struct pulled p;
    p = (struct pulled){.from = INDEX, .to = SIZE, .base = sample_digest(1), .count = 1};
    pulled_add_leaf(&leaves, bytes_text("x"));
    pulled_encode(&body, &p, buffer_bytes(&leaves));
    assert_true(mender_message(mender, last_asked, PEER_PULLED, last_id, buffer_bytes(&body)));
    buffer_free(&leaves);
    buffer_free(&body);
}

/* --- tests --- */

/* A node that can't have it now must not take itself for the only one that lost it, and quarantine itself. */
static void who_is_busy_or_behind_has_not_answered(void **state)
{
    static const enum err refusals[] = {ERR_BUSY, ERR_NOT_FOUND, ERR_NOMEM, ERR_CORRUPT};
    (void)state;
    for (unsigned attachment = 0; attachment < 2; attachment++)
        for (size_t r = 0; r < sizeof refusals / sizeof refusals[0]; r++) {
            begin(attachment);
            for (unsigned i = 1; i < N; i++) refuse(refusals[r]);
            assert_int_equal(dones, 1);
            assert_int_equal(result, ERR_UNREACHABLE);
            for (unsigned i = 2; i <= N; i++) assert_int_equal(asked[i], 1);
        }
}

static void one_liar_and_two_that_are_busy_prove_nothing(void **state)
{
    (void)state;
    begin(false);
    lie();
    refuse(ERR_BUSY);
    refuse(ERR_NOT_FOUND);
    assert_int_equal(dones, 1);
    assert_int_equal(result, ERR_UNREACHABLE);
    assert_int_equal(written, 0);
    begin(true);
    say(ATTACHMENT_ERASED); /* one may lie */
    say(ATTACHMENT_NOT_YET);
    refuse(ERR_BUSY);
    assert_int_equal(result, ERR_UNREACHABLE);
}

static void what_nobody_has_is_not_found(void **state)
{
    (void)state;
    begin(true);
    say(ATTACHMENT_ERASED);
    say(ATTACHMENT_NOT_YET);
    say(ATTACHMENT_NOT_YET);
    assert_int_equal(dones, 1);
    assert_int_equal(result, ERR_NOT_FOUND);
    begin(true);
    say(ATTACHMENT_ERASED);
    assert_int_equal(dones, 0);
    say(ATTACHMENT_ERASED); /* b + 1 */
    assert_int_equal(result, ERR_UNCHANGED);
    begin(false);
    for (unsigned i = 1; i < N; i++) lie();
    assert_int_equal(result, ERR_NOT_FOUND);
    assert_int_equal(written, 0);
}

static void who_is_away_is_not_asked(void **state)
{
    (void)state;
    away[3] = true;
    begin(true);
    say(ATTACHMENT_NOT_YET);
    say(ATTACHMENT_NOT_YET);
    assert_int_equal(result, ERR_UNREACHABLE);
    assert_int_equal(asked[3], 0);
    away[3] = false;
}

static int setup(void **state)
{
    (void)state;
    CHECK(uv_loop_init(&loop) == 0);
    sample_genesis_parsed(&genesis, &genesis_text, N, 1);
    memset(&whole, 0, sizeof whole);
    for (uint8_t i = 0; i < SIZE; i++) {
        struct digest hash;
        tree_leaf_hash(&hash, bytes_of(&i, 1));
        tree_append(&whole, NULL, &hash);
    }
    mender = mender_new(&(struct mender_options){.loop = &loop, .genesis = &genesis, .self = SELF});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mender_stop(mender);
    uv_run(&loop, UV_RUN_DEFAULT);
    mender_free(mender);
    CHECK(uv_loop_close(&loop) == 0);
    buffer_free(&genesis_text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_is_busy_or_behind_has_not_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(one_liar_and_two_that_are_busy_prove_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_nobody_has_is_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_away_is_not_asked, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
