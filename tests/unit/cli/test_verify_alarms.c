/* What verify makes of alarms: who is named by them, and who is only accused. */
#include "cli/verify_alarms.h"

#include <stdlib.h>

#include "base/check.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define N 4
#define BIT(member) (1u << (member))

static struct genesis genesis;
static struct cluster clusters[N];
static struct audit audits[N];
static struct alarmed_node nodes[N];
static struct alarm rows[8];
static size_t row_count;

static int setup(void **state)
{
    (void)state;
    row_count = 0;
    sample_genesis(&genesis, N, 1);
    for (uint32_t i = 0; i < N; i++) {
        memset(&clusters[i], 0, sizeof clusters[i]);
        sample_genesis(&clusters[i].genesis, N, 1);
        clusters[i].member = i + 1;
        audits[i] = (struct audit){.verdict = AUDIT_FINE};
        nodes[i] = (struct alarmed_node){.cluster = &clusters[i], .audit = &audits[i], .member = i + 1, .asked = true,
                                         .reached = true};
    }
    return 0;
}

/* Node `from` tells of an alarm about `named` that those in `saying` say; `index` 0: not in the ledger yet. */
static void tells(uint32_t from, enum alarm_kind kind, uint32_t named, uint32_t saying, uint64_t index)
{
    struct message_notice *n = &clusters[from - 1].notice;
    CHECK(n->count < LIMIT_NOTICE && saying);
    n->alarms[n->count++] =
        (struct message_alarm){.index = index, .kind = kind, .named = named, .first = 5, .last = 9,
                               .status = ALARM_OPEN, .saying = saying, .raiser = (uint32_t)__builtin_ctz(saying)};
    n->total = n->count;
}

static void stands(enum alarm_kind kind, uint32_t named, uint32_t saying)
{
    rows[row_count] = (struct alarm){.index = 40 + row_count, .kind = kind, .named = named, .first = 5, .last = 9,
                                     .status = ALARM_OPEN, .saying = saying,
                                     .raiser = (unsigned)__builtin_ctz(saying)};
    row_count++;
}

static void judge(void) { verify_alarms(nodes, N, &genesis, rows, row_count); }

static void expect(uint32_t member, enum audit_verdict verdict, const char *words, const char *unproved)
{
    const struct alarmed_node *n = &nodes[member - 1];
    if (n->audit->verdict != verdict || !strstr(n->audit->finding.text, words) || !strstr(n->unproved, unproved) ||
        (!*unproved && n->unproved[0]))
        fail_msg("node %u: %s, \"%s\", unproved \"%s\"", member, audit_word(n->audit->verdict), n->audit->finding.text,
                 n->unproved);
}

static void all_are_fine_but(uint32_t member)
{
    for (uint32_t i = 1; i <= N; i++)
        if (i != member) expect(i, AUDIT_FINE, "", "");
}

static void no_alarm_is_no_alarm(void **state)
{
    (void)state;
    judge();
    all_are_fine_but(0);
}

/* One liar tells that all others said so, or itself, or the accused. */
static void one_liar_names_nobody(void **state)
{
    (void)state;
    static const uint32_t sayings[] = {BIT(2), BIT(1) | BIT(2) | BIT(4), BIT(3), BIT(1) | BIT(4)};
    for (size_t i = 0; i < sizeof sayings / sizeof *sayings; i++) {
        for (int written = 0; written < 2; written++) {
            setup(state);
            tells(2, ALARM_ROLLED_BACK, 3, sayings[i], written ? 41 : 0);
            judge();
            expect(3, AUDIT_FINE, "", "said by node-2, not proved: rolled back, Raft index 5 to 9, its disk is older");
            all_are_fine_but(3);
        }
    }
    setup(state);
    tells(2, ALARM_MODIFIED, 3, BIT(1) | BIT(4), 41);
    tells(2, ALARM_MODIFIED, 3, BIT(1) | BIT(4), 42);
    for (uint32_t i = 1; i <= N; i++) nodes[i - 1].reached = i == 2; /* nor when nobody else answers */
    audits[2].verdict = AUDIT_UNREACHABLE;
    judge();
    expect(3, AUDIT_UNREACHABLE, "", "said by node-2, not proved: modified, index 5 to 9, stored data");
}

/* It stands in the ledger as the word of a liar, and honest nodes pass that on. */
static void an_accusation_in_the_ledger_is_one(void **state)
{
    (void)state;
    stands(ALARM_ROLLED_BACK, 3, BIT(2));
    for (uint32_t i = 1; i <= N; i++) tells(i, ALARM_ROLLED_BACK, 3, BIT(2), 40);
    judge();
    expect(3, AUDIT_FINE, "", "said by node-2, not proved: rolled back");
    all_are_fine_but(3);
}

static void who_says_it_itself_is_named(void **state)
{
    (void)state;
    tells(3, ALARM_ROLLED_BACK, 3, BIT(3), 0);
    judge();
    expect(3, AUDIT_SET_BACK, "its disk is older than what it has signed: Raft index 5 to 9", "");
    all_are_fine_but(3);
    setup(state);
    stands(ALARM_ROLLED_BACK, 3, BIT(3)); /* no node tells of it */
    judge();
    expect(3, AUDIT_SET_BACK, "its disk is older", "");
    all_are_fine_but(3);
}

static void more_than_may_lie_name(void **state)
{
    (void)state;
    tells(1, ALARM_ROLLED_BACK, 3, BIT(1), 0);
    tells(4, ALARM_ROLLED_BACK, 3, BIT(4), 0);
    judge();
    expect(3, AUDIT_SET_BACK, "its disk is older", "");
    setup(state);
    stands(ALARM_ROLLED_BACK, 3, BIT(1) | BIT(2));
    judge();
    expect(3, AUDIT_SET_BACK, "its disk is older", "");
    setup(state);
    stands(ALARM_ROLLED_BACK, 3, BIT(1)); /* one in the ledger, and one to us */
    tells(2, ALARM_ROLLED_BACK, 3, BIT(2), 0);
    judge();
    expect(3, AUDIT_SET_BACK, "its disk is older", "");
    setup(state);
    stands(ALARM_ROLLED_BACK, 3, BIT(1)); /* two, of different things: it counts, but not as that */
    stands(ALARM_MODIFIED, 3, BIT(2));
    judge();
    expect(3, AUDIT_ALARMED, "its ledger verifies, but node-1 raised an alarm that is open (entry 40): rolled", "");
    all_are_fine_but(3);
}

static void what_signatures_prove_needs_no_second_word(void **state)
{
    (void)state;
    stands(ALARM_FORKED, 4, BIT(1));
    judge();
    expect(4, AUDIT_ALARMED, "node-1 raised an alarm that is open (entry 40): forked", "");
    setup(state);
    tells(1, ALARM_FORKED, 4, BIT(1), 40); /* but it is not in the ledger */
    judge();
    expect(4, AUDIT_FINE, "", "said by node-1, not proved: forked");
}

/* What was found of a node itself says more. */
static void a_worse_verdict_stays(void **state)
{
    (void)state;
    audits[2].verdict = AUDIT_WRONG;
    stands(ALARM_ROLLED_BACK, 3, BIT(3));
    judge();
    expect(3, AUDIT_WRONG, "", "");
    nodes[2].asked = false;
    audits[2].verdict = AUDIT_FINE;
    judge();
    expect(3, AUDIT_FINE, "", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_alarm_is_no_alarm, setup),
        cmocka_unit_test_setup(one_liar_names_nobody, setup),
        cmocka_unit_test_setup(an_accusation_in_the_ledger_is_one, setup),
        cmocka_unit_test_setup(who_says_it_itself_is_named, setup),
        cmocka_unit_test_setup(more_than_may_lie_name, setup),
        cmocka_unit_test_setup(what_signatures_prove_needs_no_second_word, setup),
        cmocka_unit_test_setup(a_worse_verdict_stays, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
