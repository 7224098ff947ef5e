/* A node as a source of its ledger: for how long one that gives it slowly is listened to. The connection, its questions
 * and answers are real; the time that they take is not: each look at the clock takes so long, so that it is the same on
 * a machine that pauses. */
#include "cli/ledger_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "crypto/secret.h"
#include "tests/lib/fake_cluster.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define MONTH_MS UINT32_C(2000000000)

static _Thread_local uint64_t look_ms, passed_ms; /* 0: as it is */

uint64_t clock_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    passed_ms += look_ms;
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec + passed_ms * 1000000;
}

uint64_t clock_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t clock_thread_ns(void) { return 0; }

void clock_format(char out[CLOCK_TEXT_SIZE], uint64_t wall_ms)
{
    snprintf(out, CLOCK_TEXT_SIZE, "%llu", (unsigned long long)wall_ms);
}

static struct fake_cluster fake;
static struct tool *t;
static struct export_pass pass;
static struct ledger_node source;
static uint64_t taken, enough;

static int setup(void **state)
{
    (void)state;
    fake_cluster_start(&fake, 1);
    setenv("XDG_CACHE_HOME", fake.folder, 1);
    t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->signer = (struct signer){.user = sample_id(5), .secrets = secret_alloc(sizeof *t->signer.secrets)};
    sample_key(&t->signer.secrets->sign, &t->signer.public_key, 5);
    t->signer.key_id = key_id_of(&t->signer.public_key);
    t->settings.values[SETTING_CLUSTER] = fake.genesis_file;
    assert_int_equal(cluster_open(&t->cluster, fake.genesis_file, NULL, MONTH_MS, &t->output, &t->failure), OK);
    t->cluster_opened = t->signer_opened = true;
    pass = (struct export_pass){.tool = t, .purpose = PURPOSE_AUDIT};
    assert_int_equal(export_pass_make(&pass, &t->failure), OK);
    assert_int_equal(ledger_node_open(&source, &pass, 3, &t->failure), OK);
    assert_int_equal(ledger_node_admit(&source, &t->failure), OK);
    taken = 0;
    enough = UINT64_MAX;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    look_ms = 0;
    ledger_node_close(&source);
    export_pass_free(&pass);
    t->settings.values[SETTING_CLUSTER] = NULL;
    tool_close(t);
    free(t);
    fake_cluster_end(&fake);
    return 0;
}

static enum err take(void *data, const struct leaf_page *page, uint64_t from, bool *stop, struct failure *failure)
{
    (void)data, (void)failure;
    assert_true(page->count == 1 && page->ledger_size == FAKE_PAGES && from == taken);
    assert_true(bytes_equal(page->leaves[0], buffer_bytes(&fake.leaves[0].bytes)));
    *stop = ++taken == enough;
    return OK;
}

static enum walk_end walk(uint64_t ms)
{
    struct walk w = {.source = &source.source, .at = taken, .to = UINT32_MAX, .take = take};
    look_ms = ms;
    return walk_leaves(&w, &t->failure);
}

static void who_is_only_slow_gives_all(void **state)
{
    (void)state;
    assert_int_equal(walk(1), WALK_SHORT); /* there are no more */
    assert_int_equal(taken, FAKE_PAGES);
    assert_false(patience_over(&source.patience));
}

/* Each answer comes in time, for each question has its time-out; all of them together would take for ever. */
static void who_takes_its_time_for_each_page_is_left(void **state)
{
    struct stored_page stored;
    unsigned pages;
    (void)state;
    assert_int_equal(walk(PATIENCE_MS / 40), WALK_SILENT);
    assert_true(taken > 0 && taken < 30);
    assert_non_null(strstr(t->failure.text, "node-3 gives its ledger too slowly"));
    FAKE_LOCKED(&fake, pages = fake.nodes[3].pages);
    assert_true(pages >= taken && pages <= taken + 2); /* it was not asked again */
    /* for good, and nothing else of it is waited for either */
    assert_int_equal(walk(0), WALK_SILENT);
    assert_int_equal(source.source.stored(&source, &stored, 0, 10, false, &t->failure), ERR_TIMEOUT);
    FAKE_LOCKED(&fake, pages -= fake.nodes[3].pages);
    assert_int_equal(pages, 0);
}

/* Nor does it help to fall silent and to come back. */
static void a_new_connection_earns_nothing(void **state)
{
    (void)state;
    enough = 2;
    assert_int_equal(walk(PATIENCE_MS / 60), WALK_STOPPED);
    int64_t left = source.patience.left_ms;
    assert_true(left > 0 && left < PATIENCE_MS - 2 * PATIENCE_MS / 60);
    cluster_drop(&source.cluster);
    enough = 3;
    assert_int_equal(walk(0), WALK_STOPPED);
    assert_true(source.patience.left_ms <= left + 1000 / PATIENCE_LEAST);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_is_only_slow_gives_all),
        TEST(who_takes_its_time_for_each_page_is_left),
        TEST(a_new_connection_earns_nothing),
    };
    return cmocka_run_group_tests_name("cli/ledger_node", tests, NULL, NULL);
}
