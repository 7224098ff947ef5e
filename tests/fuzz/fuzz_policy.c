/* ledger/policy.h: any text is refused with a line that can be shown, or gives a policy in which only granted things
 * are permitted. Comments, empty lines and blanks around a line change nothing of it but the number of a line. */
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/pack.h"
#include "ledger/policy.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* By what it reaches and how confidential it is: never more than what is granted there, and no less. */
static void check_grant(const struct policy *policy, int role, enum action action, const uint8_t *grant)
{
    for (unsigned reached = 0; reached < 1u << SCOPES; reached++) {
        int highest = -1;
        for (int i = 0; i < SCOPES; i++)
            if (reached >> i & 1 && grant[i] - 1 > highest) highest = grant[i] - 1;
        CHECK(policy_highest(policy, role, action, (scope_set)reached) == highest);
        for (int conf = 0; conf <= CONF_MAX; conf++) {
            enum reason reason = policy_decide(policy, role, action, (scope_set)reached, (enum confidentiality)conf);
            CHECK((reason == REASON_NONE) == (conf <= highest));
        }
    }
}

static void check_role(const struct policy *policy, int role)
{
    static const uint8_t none[SCOPES];
    for (unsigned action = 0; action < POLICY_ACTIONS; action++) {
        const uint8_t *grant = policy->roles[role].grant[action];
        bool granted = memcmp(grant, none, SCOPES) != 0;
        enum reason reason = policy_decide(policy, role, (enum action)action, 0xff, CONF_NORMAL);
        CHECK((reason == REASON_NONE) == granted);
        CHECK(!granted || action_actor((enum action)action) == ACTOR_USER);
        for (int i = 0; i < SCOPES; i++) {
            CHECK(grant[i] <= CONF_MAX + 1);
            CHECK(grant[i] <= 1 || policy_needs_confidentiality((enum action)action));
        }
        if (granted) check_grant(policy, role, (enum action)action, grant);
    }
}

/* The same lines with comments, and blanks around them. `out` owns it. */
static void loosen(struct buffer *out, struct bytes text)
{
    buffer_append_text(out, "# who may do what: \xc3\xa9\n \t\n");
    for (size_t i = 0; i < text.size; i++) {
        if (i == 0 || text.data[i - 1] == '\n') buffer_append_text(out, " \t");
        if (text.data[i] == '\n') buffer_append_text(out, " ");
        buffer_append(out, &text.data[i], 1);
    }
}

static void check_loosened(const struct policy *policy, struct bytes text, enum err err)
{
    static struct policy again;
    struct buffer loose = {0};
    struct failure failure = {0};
    loosen(&loose, text);
    if (loose.size <= LIMIT_POLICY) {
        CHECK(policy_parse(&again, buffer_bytes(&loose), &failure) == err);
        CHECK(err != OK || memcmp(&again, policy, sizeof again) == 0);
    }
    buffer_free(&loose);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct policy policy;
    struct failure failure = {.code = OK};
    enum err err = policy_parse(&policy, bytes_of(data, size), &failure);
    check_loosened(&policy, bytes_of(data, size), err);
    if (err != OK) {
        CHECK(failure.code == err && text_valid(bytes_text(failure.text)) && failure.text[0]);
        return 0;
    }
    fuzz_taken = true;
    int root = policy_role(&policy, bytes_text(ROLE_ROOT));
    CHECK(root >= 0 && policy.roles[root].grant[ACTION_POLICY_SET][SCOPE_ANY]);
    for (size_t i = 0; i < policy.count; i++) {
        CHECK(policy_role(&policy, bytes_text(policy.roles[i].name)) == (int)i);
        CHECK(policy.count == POLICY_ROLES || (policy.roles[i].grants >> policy.count) == 0);
        for (size_t j = 0; j < policy.count; j++)
            CHECK(policy_may_grant(&policy, (int)i, (int)j) == (policy.roles[i].grants >> j & 1));
        check_role(&policy, (int)i);
    }
    CHECK(!policy_may_grant(&policy, -1, root) && !policy_may_grant(&policy, root, -1));
    CHECK(policy_decide(&policy, -1, ACTION_POLICY_SET, 0xff, CONF_NORMAL) == REASON_NO_PERMISSION);
    return 0;
}
