/* Too few nodes, lost messages, restarts, lost states and messages that are not well formed: nothing is dealt twice. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "consensus/keygen_store.h"
#include "consensus/peer_messages.h"
#include "ledger/tables.h"
#include "tests/lib/samples.h"
#include "tests/lib/trace.h"
#include "tests/unit/consensus/bed_keygen_agent.h"

static void messages_get_lost(void **state)
{
    (void)state;
    lose_percent = 40;
    start_all(0);
    assert_true(wait_shares(0, 60000));
    assert_key(1, 2, 3);
    assert_key(2, 3, 4);
    lose_percent = 0;
    assert_true(wait_wiped(20000));
}

/* Each is stopped and started again in every phase. */
static void restarts_in_every_phase(void **state)
{
    (void)state;
    start_all(0);
    uint64_t until = clock_monotonic_ns() + UINT64_C(60000) * 1000000;
    for (unsigned round = 0; clock_monotonic_ns() < until; round++) {
        unsigned who = 1 + (unsigned)(trace_random(&seed) % N);
        for (int i = 0; i < 6; i++) {
            turn();
            uv_sleep(1);
        }
        if (round < 60) {
            stop_agent(who);
            start_agent(who);
        } else if (wait_shares(0, 100)) {
            break;
        }
    }
    assert_true(wait_shares(0, 100));
    assert_key(1, 2, 3);
    assert_key(1, 3, 4);
    assert_int_equal(state_of(1).attempt, 1);
    assert_int_equal(state_of(1).excluded, 0);
    assert_true(wait_wiped(20000));
    stop_agent(2);
    start_agent(2); /* from the table */
    assert_true(wait_shares(0, 5000));
}

/* Two of four can't make a key; they go on when the others come. */
static void too_few_wait(void **state)
{
    (void)state;
    nodes[3].away = nodes[4].away = true;
    start_agent(1);
    start_agent(2);
    run_for(15000);
    assert_int_equal(state_of(1).phase, KEYGEN_COMMIT);
    assert_int_equal(denied(), 0);
    come_back(3);
    come_back(4);
    assert_true(wait_shares(0, 30000));
    assert_key(1, 2, 4);
}

/* One that was away applies history, and does nothing in it that was due then. */
static void history_is_not_acted_upon(void **state)
{
    (void)state;
    start_all(4);
    assert_true(wait_shares(4, 30000));
    unsigned before = denied();
    uint64_t size = ledger_size(nodes[1].driver.kit.ledger);
    struct kit *kit = &nodes[1].driver.kit;
    for (int i = 0; i < 200; i++) { /* so that it is far behind */
        struct arguments a = {.action = ACTION_EVENT_ADD};
        a.event_add = (struct args_event_add){sample_id(5), bytes_text("x"), bytes_text("y")};
        block_times[block_count] = clock_wall_ms();
        kit->now = clock_wall_ms();
        kit_request(kit, &blocks[block_count], &kit->root, &a, (struct bytes){0});
        block_count++;
    }
    run_for(500);
    struct node *n = &nodes[4];
    start_agent(4);
    n->away = false;
    struct driver *d = &n->driver;
    while (d->applied < 40) { /* one block at a time, with time to act between */
        n->away = false;
        apply_block(d, NULL, NULL, NULL);
        n->away = true;
        for (int i = 0; i < 4; i++)
            turn();
        assert_int_equal(d->submits + d->written, 0);
    }
    come_back(4);
    assert_true(wait_shares(0, 20000));
    assert_true(wait_wiped(10000));
    assert_int_equal(denied(), before + 200); /* root adds no events */
    assert_int_equal(ledger_size(nodes[1].driver.kit.ledger), size + 200 + 1); /* its confirmation */
}

/* Before a leader says how far the others are, the own state may be an old one. */
static void nothing_is_done_before_a_leader_is_heard(void **state)
{
    (void)state;
    leads = 0;
    start_all(0);
    run_for(2000);
    leads = 1;
    nothing_of_term = true; /* known, but what stands at its beginning is not here yet */
    run_for(2000);
    for (unsigned i = 1; i <= N; i++)
        assert_int_equal(nodes[i].driver.submits + nodes[i].driver.written, 0);
    nothing_of_term = false;
    assert_true(wait_shares(0, 30000));
    assert_int_equal(denied(), 0);
    /* One without a state and without a log applies what its leader says to be committed first. */
    for (int i = 0; i < 100; i++) {
        struct kit *kit = &nodes[1].driver.kit;
        struct arguments a = {.action = ACTION_EVENT_ADD};
        a.event_add = (struct args_event_add){sample_id(5), bytes_text("x"), bytes_text("y")};
        block_times[block_count] = clock_wall_ms();
        kit->now = clock_wall_ms();
        kit_request(kit, &blocks[block_count++], &kit->root, &a, (struct bytes){0});
    }
    run_for(500);
    stop_agent(4);
    struct driver *d = &nodes[4].driver;
    kit_close(&d->kit);
    kit_open(&d->kit, N, 1, (struct bytes){0});
    d->applied = d->submits = d->written = 0;
    nodes[4].away = true;
    start_agent(4);
    run_for(2000);
    assert_int_equal(d->submits + d->written, 0);
    come_back(4);
    assert_true(wait_shares(0, 20000)); /* from its file */
}

/* The state is gone, the share's file is not. */
static void the_share_outlives_the_state(void **state)
{
    (void)state;
    start_all(0);
    assert_true(wait_shares(0, 10000));
    assert_true(wait_wiped(5000));
    stop_agent(3);
    struct driver *d = &nodes[3].driver;
    CHECK(table_count(d->kit.txn, TABLE_DKG_SECRET) == 1);
    kit_close(&d->kit);
    kit_open(&d->kit, N, 1, (struct bytes){0});
    d->applied = 0;
    start_agent(3);
    assert_true(wait_shares(0, 5000));
    assert_key(1, 2, 3);
    /* Without the file, it says so. */
    stop_agent(3);
    kit_close(&d->kit);
    kit_open(&d->kit, N, 1, (struct bytes){0});
    d->applied = 0;
    folder_remove(nodes[3].folder);
    folder_make(nodes[3].folder, 1);
    start_agent(3);
    run_for(4000);
    assert_false(has_share(3));
    assert_true(keygen_agent_share_lost(nodes[3].agent));
}

/* The file is gone, damaged, or somebody's folder has its name, and the state is not: the copy that is taken of the
 * folder's small files next has the share again, but where nothing can be written. */
static void the_state_outlives_the_file(void **state)
{
    (void)state;
    static const char name[] = "key-share-1-1";
    char path[FOLDER_PATH];
    start_all(0);
    assert_true(wait_shares(0, 10000));
    folder_join(path, nodes[3].folder, name);
    struct buffer first = folder_load(nodes[3].folder, name);
    for (int i = 0; i < 4; i++) {
        stop_agent(3);
        assert_int_equal(unlink(path), 0);
        if (i == 1) folder_store(nodes[3].folder, name, (struct bytes){0});
        if (i == 2) folder_store(nodes[3].folder, name, bytes_of(first.data, first.size - 1));
        if (i == 3) assert_int_equal(mkdir(path, 0700), 0);
        start_agent(3);
        assert_true(wait_shares(0, 5000));
        if (i == 3) continue;
        struct buffer again = folder_load(nodes[3].folder, name);
        assert_int_equal(again.size, first.size);
        buffer_free(&again);
    }
    assert_int_equal(rmdir(path), 0);
    buffer_free(&first);
    assert_key(1, 2, 3);
}

/* The share's file can't be written: it is tried again, but not without a pause, and once it can, all is well. */
static void an_unwritable_file_is_tried_with_pauses(void **state)
{
    (void)state;
    char path[FOLDER_PATH];
    start_all(0);
    folder_join(path, nodes[3].folder, "key-share-1-1");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(wait_shares(3, 10000));
    for (int i = 0; i < 200; i++) turn();
    assert_false(has_share(3));
    unsigned before = nodes[3].driver.written;
    uint64_t began = uv_hrtime();
    for (int i = 0; i < 400; i++) turn();
    /* The timer looks each 200 ms of the loop's time, in which a turn passes at once. */
    assert_true(nodes[3].driver.written - before <= 2 + (uv_hrtime() - began) / 200000000);
    assert_int_equal(rmdir(path), 0);
    assert_true(wait_shares(0, 10000));
    assert_key(1, 2, 3);
}

/* A disk emptied between commitment and dealing: it makes another polynomial of none. */
static void a_lost_polynomial_is_not_dealt(void **state)
{
    (void)state;
    start_all(0);
    while (!(state_of(1).revealed & MEMBER_BIT(3)))
        turn();
    stop_agent(3);
    struct driver *d = &nodes[3].driver;
    struct keygen_own other = {.exists = true, .attempt = 1};
    dkg_polynomial_random(&other.polynomial, K);
    CHECK(keygen_own_put(d->kit.txn, KEY_RECORDS, &other, N) == OK);
    start_agent(3);
    assert_true(wait_shares(3, 40000));
    assert_key(1, 2, 4);
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_DENIED), 0);
}

static void malformed_messages_change_nothing(void **state)
{
    (void)state;
    start_all(0);
    while (state_of(1).phase < KEYGEN_CONFIRM)
        turn();
    static const char *const bodies[] = {"", "\xc1", "\x92\x01\x01", "\x94\x01\x01\x02\xc4\x01x", "\x92\xff\xff",
                                         "\x90"};
    for (unsigned i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        for (unsigned from = 0; from <= N + 1; from++) {
            keygen_agent_message(nodes[1].agent, from, PEER_SUBSHARE, 0, bytes_text(bodies[i]));
            keygen_agent_message(nodes[1].agent, from, PEER_SUBSHARE_ASK, 0, bytes_text(bodies[i]));
        }
    assert_true(wait_shares(0, 30000));
    assert_key(1, 2, 3);
    assert_int_equal(leaves_of(ACTION_KEY_ANSWER, DECISION_APPROVED), 0);
}

/* Looks again and again, which fails; how often that was said. */
static unsigned look_in_vain(unsigned times)
{
    char line[400];
    unsigned said = 0;
    const struct driver_applied applied = {.keygen_changed = true};
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    CHECK(file && saved >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
    for (unsigned i = 0; i < times; i++) {
        keygen_agent_applied(nodes[1].agent, &applied);
        turn();
    }
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    rewind(file);
    while (fgets(line, sizeof line, file)) said += strstr(line, "can't be read") != NULL;
    fclose(file);
    return said;
}

static void a_damaged_row_does_not_fill_the_log(void **state)
{
    (void)state;
    static const uint8_t key[] = {KEY_RECORDS, 3};
    start_all(0);
    while (!(state_of(1).revealed & MEMBER_BIT(3)))
        turn();
    CHECK(table_put(nodes[1].driver.kit.txn, TABLE_DEALING, BYTES(key), bytes_text("damaged")) == OK);
    uint64_t begun = clock_monotonic_ns();
    unsigned said = look_in_vain(2000);
    uint64_t seconds = (clock_monotonic_ns() - begun) / UINT64_C(1000000000);
    assert_in_range(said, 1, seconds + 2);
    assert_true(said < 2000 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BED_TEST(messages_get_lost),
        BED_TEST(restarts_in_every_phase),
        BED_TEST(too_few_wait),
        BED_TEST(history_is_not_acted_upon),
        BED_TEST(nothing_is_done_before_a_leader_is_heard),
        BED_TEST(the_share_outlives_the_state),
        BED_TEST(the_state_outlives_the_file),
        BED_TEST(an_unwritable_file_is_tried_with_pauses),
        BED_TEST(a_lost_polynomial_is_not_dealt),
        BED_TEST(malformed_messages_change_nothing),
        BED_TEST(a_damaged_row_does_not_fill_the_log),
    };
    return cmocka_run_group_tests(tests, bed_open, bed_close);
}
