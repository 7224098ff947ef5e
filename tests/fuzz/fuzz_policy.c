/* ledger/policy.h: any text is refused with a line that can be shown, or gives a
 * policy in which only granted things are permitted. */
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "ledger/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_role(const struct policy *policy, int role)
{
    static const uint8_t none[SCOPES];
    for (unsigned action = 0; action < POLICY_ACTIONS; action++) {
        const uint8_t *grant = policy->roles[role].grant[action];
        bool granted = memcmp(grant, none, SCOPES) != 0;
        enum reason reason = policy_decide(policy, role, (enum action)action, 0xff, CONF_NORMAL);
        CHECK((reason == REASON_NONE) == granted);
        CHECK(!granted || action_actor((enum action)action) == ACTOR_USER);
        for (int i = 0; i < SCOPES; i++) CHECK(grant[i] <= CONF_MAX + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct policy policy;
    struct failure failure = {.code = OK};
    enum err err = policy_parse(&policy, bytes_of(data, size), &failure);
    if (err != OK) {
        CHECK(failure.code == err && text_valid(bytes_text(failure.text)));
        return 0;
    }
    int root = policy_role(&policy, bytes_text(ROLE_ROOT));
    CHECK(root >= 0 && policy.roles[root].grant[ACTION_POLICY_SET][SCOPE_ANY]);
    for (size_t i = 0; i < policy.count; i++) {
        CHECK(policy_role(&policy, bytes_text(policy.roles[i].name)) == (int)i);
        CHECK(policy.count == POLICY_ROLES || (policy.roles[i].grants >> policy.count) == 0);
        check_role(&policy, (int)i);
    }
    return 0;
}
