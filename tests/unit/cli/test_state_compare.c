/* What nodes state about their states: who is right, who is not, and of whom nothing is known. */
#include "tests/lib/unit.h"

#include <string.h>

#include "cli/state_compare.h"
#include "crypto/secret.h"
#include "ledger/tables.h"
#include "tests/lib/fake_cluster.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/live_notice.h"
#include "tests/lib/samples.h"

#define MOST 7
#define BIT(member) (UINT32_C(1) << (member))

static struct kit kit;
static struct state_statement said[MOST + 1];
static const struct state_statement *by[LIMIT_NODES + 1];
static struct states_report r;

/* All members state the same. */
static void all_equal(unsigned n, unsigned b)
{
    kit_close(&kit);
    kit_open(&kit, n, b, (struct bytes){0});
    memset(by, 0, sizeof by);
    for (unsigned i = 1; i <= n; i++) {
        said[i] = (struct state_statement){.member = i, .leaf = 40, .size = 44, .digest.count = 1};
        said[i].digest.tables[0] = (struct table_digest){.table = TABLE_USER, .rows = 3};
        by[i] = &said[i];
    }
}

static void differs(unsigned member, uint8_t how) { said[member].digest.tables[0].digest.bytes[0] = how; }

static void says(unsigned member, enum state_outcome outcome)
{
    said[member].outcome = outcome;
    said[member].digest.count = 0;
}

static void judge(enum states_verdict verdict, bool failed, uint32_t wrong, const char *words)
{
    states_report_free(&r);
    states_judge(&r, by, &kit.genesis);
    if (r.verdict != verdict || states_failed(&r) != failed || r.wrong != wrong || !strstr((char *)r.text.data, words))
        fail_msg("%s, wrong %x: %s", states_word(&r), r.wrong, (const char *)r.text.data);
}

static const char *cell(unsigned member, const char *key)
{
    return json_string_value(json_object_get(json_array_get(r.nodes, member - 1), key));
}

static int setup(void **state)
{
    (void)state;
    kit_open(&kit, 4, 1, (struct bytes){0});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    states_report_free(&r);
    r = (struct states_report){0};
    kit_close(&kit);
    return 0;
}

static void all_are_equal(void **state)
{
    (void)state;
    all_equal(4, 1);
    judge(STATES_SAME, false, 0, "all 4 nodes have the same state");
    assert_string_equal(states_word(&r), "equal");
    assert_int_equal(r.compared, 0x1e);
}

/* Busy, or not there: nothing follows, but nobody says that it is equal. */
static void the_silent_are_not_called_equal(void **state)
{
    (void)state;
    static const enum state_outcome excuses[] = {STATE_BUSY, STATE_NO_SPACE, STATE_TOO_LONG};
    all_equal(4, 1);
    by[3] = NULL;
    for (size_t i = 0; i < sizeof excuses / sizeof *excuses + 1; i++) {
        judge(STATES_SOME_SILENT, false, 0, "3 nodes have the same state; nothing to compare from");
        assert_string_equal(states_word(&r), "incomplete");
        assert_int_equal(r.compared, BIT(1) | BIT(2) | BIT(4));
        json_t *names = states_names(&kit.genesis, r.compared);
        assert_int_equal(json_array_size(names), 3);
        assert_string_equal(json_string_value(json_array_get(names, 2)), genesis_member(&kit.genesis, 4)->name);
        json_decref(names);
        by[3] = &said[3];
        if (i < sizeof excuses / sizeof *excuses) says(3, excuses[i]);
    }
    by[2] = NULL;
    judge(STATES_TOO_FEW, false, 0, "not known: 2 of the 3");
}

static void an_unreadable_state_is_a_failure(void **state)
{
    (void)state;
    static const enum state_outcome broken[] = {STATE_UNREADABLE, STATE_FAILED};
    for (size_t i = 0; i < 2; i++) {
        all_equal(4, 1);
        says(2, broken[i]);
        judge(STATES_UNREADABLE, true, BIT(2), "can't read what is stored there");
        assert_string_equal(states_word(&r), "unreadable");
        assert_non_null(strstr((char *)r.text.data, genesis_member(&kit.genesis, 2)->name));
        assert_string_equal(cell(2, "state"), state_outcome_text(broken[i]));
        differs(4, 1);
        judge(STATES_DIFFER, true, BIT(2) | BIT(4), "can't read what is stored there");
    }
}

/* One of four is down, and another one's state is altered: b + 1 agree, and the altered one is named. */
static void more_than_may_lie_decide(void **state)
{
    (void)state;
    all_equal(4, 1);
    by[2] = NULL;
    differs(1, 9);
    judge(STATES_DIFFER, true, BIT(1), "has not the state of the 2 nodes that agree; nothing to compare from");
    assert_string_equal(cell(1, "state"), "DIFFERS");
    assert_string_equal(cell(1, "differs_in"), "user");
    assert_string_equal(cell(3, "state"), "equal");
    by[3] = NULL; /* one against one */
    judge(STATES_UNDECIDED, true, 0, "it is not decided who is right");
    all_equal(4, 1);
    differs(1, 9), differs(2, 9); /* two against two */
    judge(STATES_UNDECIDED, true, 0, "or more than one is");
    all_equal(7, 2);
    differs(1, 9), differs(2, 9), differs(3, 8), by[4] = NULL;
    judge(STATES_DIFFER, true, BIT(1) | BIT(2) | BIT(3), "the 3 nodes that agree");
    differs(3, 9);
    judge(STATES_UNDECIDED, true, 0, "or more than one is");
}

static void without_liars_the_quorum_decides(void **state)
{
    (void)state;
    all_equal(3, 0);
    assert_int_equal(kit.genesis.quorum, 2);
    differs(3, 9);
    judge(STATES_DIFFER, true, BIT(3), "the 2 nodes that agree");
    by[1] = NULL;
    judge(STATES_UNDECIDED, true, 0, "no state is that of 2 nodes");
}

/* --- asking --- */

static struct fake_cluster fake;
static struct tool *t;
static struct cluster nodes[FAKE_NODES + 1]; /* each connects to one */

static int start_asking(void **state)
{
    (void)state;
    fake_cluster_start(&fake, 1);
    setenv("XDG_CACHE_HOME", fake.folder, 1);
    t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->signer = (struct signer){.user = sample_id(5), .secrets = secret_alloc(sizeof *t->signer.secrets)};
    sample_key(&t->signer.secrets->sign, &t->signer.public_key, 5);
    t->signer.key_id = key_id_of(&t->signer.public_key);
    assert_int_equal(cluster_open(&t->cluster, fake.genesis_file, NULL, 60000, &t->output, &t->failure), OK);
    t->cluster.started = 1;
    t->cluster_opened = t->signer_opened = true;
    for (unsigned i = 1; i <= FAKE_NODES; i++)
        assert_int_equal(cluster_open(&nodes[i], fake.genesis_file, cluster_member_name(&t->cluster, i), 60000,
                                      &t->output, &t->failure), OK);
    return 0;
}

static int end_asking(void **state)
{
    (void)state;
    states_report_free(&r);
    r = (struct states_report){0};
    for (unsigned i = 1; i <= FAKE_NODES; i++) cluster_close(&nodes[i]);
    tool_close(t);
    free(t);
    fake_cluster_end(&fake);
    return 0;
}

/* status --state-digest, while no node has digested its state yet. */
static void a_notice_is_said_at_once(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 0, FAKE_NO_DIGEST);
    live_notice_begin(&fake, &fake.nodes[1].digests);
    enum err e = states_compare(&r, t, NULL, 0, 120);
    assert_true(live_notice_end());
    assert_int_equal(e, OK);
    assert_int_equal(r.leaf, r.entry);
    assert_int_equal(r.verdict, STATES_TOO_FEW);
}

/* As verify --all: from these members. */
static enum err compare_from(unsigned first, unsigned second, unsigned third)
{
    struct cluster *sources[] = {&nodes[first], &nodes[second], &nodes[third]};
    t->failure = (struct failure){0};
    return states_compare(&r, t, sources, 1 + (second != 0) + (third != 0), 60);
}

static void all_statements_are_handed_out(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 0, FAKE_STATES);
    assert_int_equal(compare_from(3, 1, 2), OK);
    assert_int_equal(r.verdict, STATES_SAME);
    assert_true(r.liar == 0 && r.lie.code == OK && r.compared == 0x1e && r.leaf == r.entry && r.leaf > 0);
}

/* Wherever it stands among those that are asked: what it says is left out, it is named, and the others decide. */
static void who_makes_statements_up_is_named(void **state)
{
    static const struct {
        enum fake_fault fault;
        enum err code;
        const char *words;
    } lies[] = {
        {FAKE_MADE_UP_STATE, ERR_BAD_SIGNATURE, "passed on a statement about a state that"},
        {FAKE_STATE_ELSEWHERE, ERR_BAD_SIGNATURE, "did not sign"},
        {FAKE_STATES_BEFORE, ERR_MALFORMED, "answers about the states can't be read"},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {
        for (unsigned liar = 1; liar <= 3; liar++) {
            fake_cluster_fault(&fake, 0, FAKE_STATES);
            fake_cluster_fault(&fake, liar, lies[i].fault);
            assert_int_equal(compare_from(1, 2, 3), OK);
            if (r.verdict != STATES_SAME || r.compared != 0x1e || r.wrong != 0 || r.liar != liar)
                fail_msg("lie %u of node %u: %s, liar %u, compared %x, wrong %x", i, liar, states_word(&r), r.liar,
                         r.compared, r.wrong);
            assert_int_equal(r.lie.code, lies[i].code);
            assert_non_null(strstr(r.lie.text, lies[i].words));
            assert_non_null(strstr(r.lie.text, cluster_member_name(&t->cluster, liar)));
            states_report_free(&r);
            r = (struct states_report){0};
        }
        /* it alone is asked, or all lie: nothing is known, and why */
        fake_cluster_fault(&fake, 0, lies[i].fault);
        assert_int_equal(compare_from(2, 0, 0), lies[i].code);
        assert_non_null(strstr(t->failure.text, cluster_member_name(&t->cluster, 2)));
        assert_int_equal(compare_from(3, 1, 2), lies[i].code);
        assert_non_null(strstr(t->failure.text, cluster_member_name(&t->cluster, 3)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_equal),
        cmocka_unit_test(the_silent_are_not_called_equal),
        cmocka_unit_test(an_unreadable_state_is_a_failure),
        cmocka_unit_test(more_than_may_lie_decide),
        cmocka_unit_test(without_liars_the_quorum_decides),
    };
    const struct CMUnitTest asking[] = {
        cmocka_unit_test_setup_teardown(a_notice_is_said_at_once, start_asking, end_asking),
        cmocka_unit_test_setup_teardown(all_statements_are_handed_out, start_asking, end_asking),
        cmocka_unit_test_setup_teardown(who_makes_statements_up_is_named, start_asking, end_asking),
    };
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    return failed + cmocka_run_group_tests(asking, NULL, NULL);
}
