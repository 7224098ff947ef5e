/* The policy: roles, what each may do, how far, and up to which confidentiality.
 *
 * The text (configs/policy.conf documents it) is replicated state, so its parser
 * must decide alike on every node and version for ever: it is our own and takes
 * exactly one grammar, where a library's changes between releases (inih's limits
 * on lines and its isspace follow build and locale).
 *
 *   [role NAME]                     1..32 of a-z 0-9 - _, starts with a letter
 *   ACTION = GRANT, GRANT ...       ACTION: a permission of ledger/action.h that users have
 *   GRANT  = SCOPE [CONFIDENTIALITY]   own | team | hospital | any;  N | R | V
 *   grants = ROLE, ROLE ...         roles that it may give, and whose users it may change
 *
 * record.* actions need a confidentiality, all others have none. A line starting
 * with # is a comment. Lines end with "\n"; blanks are space and tab; the rest is
 * printable ASCII, in comments any UTF-8. A role, an action of a role, a scope of an
 * action: once each. Deny by default.
 *
 * Three roles the rules know by name. root: must be there with policy.set any; its
 * last usable user can't be removed. root and admin: never in a user search.
 * patient: a user whom records and teams belong to.
 */
#ifndef LEDGER_POLICY_H
#define LEDGER_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "ledger/action.h"
#include "ledger/record.h" /* enum confidentiality */

#define POLICY_ROLES 32
#define POLICY_ROLE_NAME 32
#define POLICY_ACTIONS 128 /* action numbers are below */

enum scope { SCOPE_OWN, SCOPE_TEAM, SCOPE_HOSPITAL, SCOPE_ANY };
#define SCOPES 4

struct policy_role {
    char name[POLICY_ROLE_NAME + 1];
    /* Per action and scope: highest confidentiality + 1; 0: not granted. */
    uint8_t grant[POLICY_ACTIONS][SCOPES];
    uint32_t grants; /* bit r: may give role r */
};

struct policy {
    size_t count;
    struct policy_role roles[POLICY_ROLES];
};

/* Parses all of `text`. ERR_SYNTAX with the line and what is wrong in `failure`
 * (which may be NULL); ERR_TOO_LARGE over LIMIT_POLICY. `out` is undefined then. */
enum err policy_parse(struct policy *out, struct bytes text, struct failure *failure);

int policy_role(const struct policy *policy, struct bytes name); /* its number, or -1 */
bool policy_may_grant(const struct policy *policy, int role, int given);

/* How the actor stands to what the action is about: bit (1 << scope) set when
 * that scope reaches it. SCOPE_ANY's bit is always meant to be set. */
typedef uint8_t scope_set;
#define SCOPE_BIT(scope) ((scope_set)(1u << (scope)))

/* REASON_NONE: permitted. REASON_NO_PERMISSION, REASON_SCOPE,
 * REASON_CONFIDENTIALITY: not, and why. role < 0: REASON_NO_PERMISSION. */
enum reason policy_decide(const struct policy *policy, int role, enum action action, scope_set reached,
                          enum confidentiality conf);
/* The highest confidentiality that is permitted within `reached`, or -1. */
int policy_highest(const struct policy *policy, int role, enum action action, scope_set reached);

bool policy_needs_confidentiality(enum action action); /* record.* */

/* Names that the rules know. */
#define ROLE_ROOT "root"
#define ROLE_ADMIN "admin"
#define ROLE_PATIENT "patient"

#endif
