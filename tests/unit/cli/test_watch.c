/* Alarms are heard from every node, whatever the command itself waits for. */
#include "cli/watch.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cli/cluster.h"
#include "tests/lib/fake_cluster.h"
#include "tests/lib/live_notice.h"
#include "tests/lib/unit.h"

#define TRIES 6000 /* of 10 ms */

static struct fake_cluster fake;
static struct cluster cluster;
static struct output output;
static struct failure failure;

static int setup(void **state)
{
    (void)state;
    fake_cluster_start(&fake, 1);
    setenv("XDG_CACHE_HOME", fake.folder, 1);
    assert_int_equal(cluster_open(&cluster, fake.genesis_file, NULL, 60000, &output, &failure), OK);
    cluster.started = 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cluster_close(&cluster);
    fake_cluster_end(&fake);
    return 0;
}

static bool is_connected(uint32_t member)
{
    bool yes;
    FAKE_LOCKED(&fake, yes = fake.nodes[member].connection != NULL);
    return yes;
}

static void await_connection(uint32_t member)
{
    for (int i = 0; i < TRIES && !is_connected(member); i++) usleep(10000);
    assert_true(is_connected(member));
}

static bool is_said(void)
{
    live_notice_listen();
    live_notice_send(&fake);
    for (int i = 0; i < TRIES && !live_notice_said(); i++) usleep(10000);
    bool said = live_notice_said();
    live_notice_restore();
    return said;
}

/* --- */

static void test_says_what_comes(void **state)
{
    (void)state;
    struct watch *watch = watch_begin(&cluster, 0);
    assert_non_null(watch);
    for (uint32_t member = 1; member <= FAKE_NODES; member++) await_connection(member);
    assert_true(is_said());
    assert_true(is_said());
    watch_end(watch);
    watch_end(NULL);
}

/* All but the last one take connections and say nothing. */
static void test_silent_nodes_delay_nobody(void **state)
{
    (void)state;
    for (uint32_t member = 1; member < FAKE_NODES; member++) fake_cluster_fault(&fake, member, FAKE_SILENT);
    struct watch *watch = watch_begin(&cluster, 0);
    await_connection(FAKE_NODES);
    assert_true(is_said());
    watch_end(watch); /* while it waits for the others */
}

static void test_short_commands_connect_to_nobody(void **state)
{
    (void)state;
    watch_end(watch_begin(&cluster, 3600000));
    for (uint32_t member = 1; member <= FAKE_NODES; member++) assert_false(is_connected(member));
    cluster_watch(&cluster); /* not asked for */
    assert_null(cluster.watch);
}

/* --- a command that waits --- */

static void *ask(void *data)
{
    struct frame answer;
    struct buffer question = {0};
    message_empty_encode(&question);
    enum err *e = data;
    *e = cluster_ask(&cluster, &answer, MESSAGE_STATUS, buffer_bytes(&question), MESSAGE_STATUS_OK, &failure);
    buffer_free(&question);
    return NULL;
}

/* Its node doesn't greet, or greets and doesn't answer: what another one says is said at once. */
static void says_while_it_waits(enum fake_fault fault)
{
    enum err e = OK;
    uint64_t one = 1;
    pthread_t command;
    cluster.via = 1;
    cluster.watches = true;
    cluster.stop = eventfd(0, EFD_CLOEXEC);
    assert_true(cluster.stop > 0);
    fake_cluster_fault(&fake, 1, fault);
    assert_int_equal(pthread_create(&command, NULL, ask, &e), 0);
    for (uint32_t member = 2; member <= FAKE_NODES; member++) await_connection(member);
    assert_true(is_said());
    assert_int_equal(write(cluster.stop, &one, sizeof one), sizeof one); /* the command waits no longer */
    assert_int_equal(pthread_join(command, NULL), 0);
    assert_int_equal(e, ERR_TIMEOUT);
    close(cluster.stop);
}

static void test_a_node_that_does_not_greet(void **state)
{
    (void)state;
    says_while_it_waits(FAKE_SILENT);
}

static void test_a_node_that_does_not_answer(void **state)
{
    (void)state;
    says_while_it_waits(FAKE_MUTE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_says_what_comes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_silent_nodes_delay_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_short_commands_connect_to_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_node_that_does_not_greet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_node_that_does_not_answer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
