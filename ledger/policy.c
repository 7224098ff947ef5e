#include "ledger/policy.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/pack.h"

/* Deterministic for ever: a change of what this accepts is a change of the rules'
 * version (struct meta, rules), since a policy.set leaf is decided by it. */

struct parser {
    struct policy *policy;
    struct failure *failure;
    unsigned line;
    int role; /* of the section, -1 before the first */
    enum err error;
};

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

static struct bytes trim(struct bytes text)
{
    while (text.size && is_blank(text.data[0])) {
        text.data++;
        text.size--;
    }
    while (text.size && is_blank(text.data[text.size - 1])) text.size--;
    return text;
}

/* Cuts the first part off `rest`, up to `separator` or the end; false when nothing is left. */
static bool cut(struct bytes *part, struct bytes *rest, uint8_t separator)
{
    if (!rest->data) return false;
    const uint8_t *at = rest->size ? memchr(rest->data, separator, rest->size) : NULL;
    size_t size = at ? (size_t)(at - rest->data) : rest->size;
    *part = bytes_of(rest->data, size);
    *rest = at ? bytes_of(at + 1, rest->size - size - 1) : (struct bytes){NULL, 0};
    return true;
}

static bool is_text(struct bytes a, const char *b) { return bytes_equal(a, bytes_text(b)); }

/* The first error stays. Words of the text are printable here (check_characters). */
static void wrong(struct parser *p, const char *what, struct bytes word)
{
    if (p->error != OK) return;
    int size = word.size > 40 ? 40 : (int)word.size;
    if (p->line)
        p->error = fail(p->failure, ERR_SYNTAX, "policy, line %u: %s '%.*s'", p->line, what, size,
                        size ? (const char *)word.data : "");
    else
        p->error = fail(p->failure, ERR_SYNTAX, "policy: %s '%.*s'", what, size, size ? (const char *)word.data : "");
}

static bool valid_role_name(struct bytes name)
{
    if (name.size == 0 || name.size > POLICY_ROLE_NAME) return false;
    if (name.data[0] < 'a' || name.data[0] > 'z') return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')) return false;
    }
    return true;
}

static bool printable(struct bytes line)
{
    for (size_t i = 0; i < line.size; i++)
        if ((line.data[i] < 0x20 || line.data[i] > 0x7e) && line.data[i] != '\t') return false;
    return true;
}

static int action_of(struct bytes name)
{
    char text[LIMIT_NAME + 1];
    if (name.size == 0 || name.size > LIMIT_NAME) return -1;
    memcpy(text, name.data, name.size);
    text[name.size] = 0;
    int action = action_from_name(text);
    return action > 0 && action_actor((enum action)action) == ACTOR_USER ? action : -1;
}

bool policy_needs_confidentiality(enum action action)
{
    return action >= ACTION_RECORD_CREATE && action <= ACTION_RECORD_LIST;
}

static int scope_of(struct bytes word)
{
    static const char *const names[SCOPES] = {"own", "team", "hospital", "any"};
    for (int i = 0; i < SCOPES; i++)
        if (is_text(word, names[i])) return i;
    return -1;
}

static int confidentiality_of(struct bytes word)
{
    if (is_text(word, "N")) return CONF_NORMAL;
    if (is_text(word, "R")) return CONF_RESTRICTED;
    if (is_text(word, "V")) return CONF_VERY_RESTRICTED;
    return -1;
}

/* SCOPE [CONFIDENTIALITY] */
static void parse_grant(struct parser *p, uint8_t grant[static SCOPES], enum action action, struct bytes text)
{
    size_t end = 0;
    while (end < text.size && !is_blank(text.data[end])) end++;
    struct bytes word = bytes_of(text.data, end);
    struct bytes rest = trim(bytes_of(text.data + end, text.size - end));
    int scope = scope_of(word), conf = CONF_NORMAL;
    if (scope < 0) {
        wrong(p, "expected own, team, hospital or any, not", word);
        return;
    }
    if (policy_needs_confidentiality(action)) {
        conf = confidentiality_of(rest);
        if (conf < 0) {
            wrong(p, "expected the highest confidentiality N, R or V, not", rest);
            return;
        }
    } else if (rest.size) {
        wrong(p, "only record actions have a confidentiality:", rest);
        return;
    }
    if (grant[scope])
        wrong(p, "scope given twice:", word);
    else
        grant[scope] = (uint8_t)(conf + 1);
}

static void parse_action(struct parser *p, struct bytes key, struct bytes value)
{
    int action = action_of(key);
    if (action < 0) {
        wrong(p, "no such action:", key);
        return;
    }
    uint8_t *grant = p->policy->roles[p->role].grant[action];
    for (int i = 0; i < SCOPES; i++)
        if (grant[i]) {
            wrong(p, "action given twice in this role:", key);
            return;
        }
    struct bytes part;
    while (p->error == OK && cut(&part, &value, ',')) parse_grant(p, grant, (enum action)action, trim(part));
}

static void parse_grants(struct parser *p, struct bytes value)
{
    struct policy_role *role = &p->policy->roles[p->role];
    if (role->grants) {
        wrong(p, "given twice in this role:", bytes_text("grants"));
        return;
    }
    struct bytes part;
    while (p->error == OK && cut(&part, &value, ',')) {
        struct bytes name = trim(part);
        int given = policy_role(p->policy, name);
        if (given < 0)
            wrong(p, "no such role:", name);
        else if (role->grants & (1u << given))
            wrong(p, "role given twice:", name);
        else
            role->grants |= 1u << given;
    }
}

/* The name in "[role NAME]"; empty when the line is something else. */
static struct bytes section_name(struct bytes line)
{
    if (line.size < 7 || line.data[line.size - 1] != ']' || memcmp(line.data, "[role", 5) != 0 ||
        !is_blank(line.data[5]))
        return (struct bytes){NULL, 0};
    return trim(bytes_of(line.data + 5, line.size - 6));
}

/* First pass: the roles, so that grants may name later ones. */
static void collect_role(struct parser *p, struct bytes line)
{
    if (line.data[0] != '[') return;
    struct bytes name = section_name(line);
    if (!valid_role_name(name)) {
        wrong(p, "expected [role NAME], not", line);
        return;
    }
    if (policy_role(p->policy, name) >= 0) {
        wrong(p, "role given twice:", name);
        return;
    }
    if (p->policy->count == POLICY_ROLES) {
        wrong(p, "too many roles, at", name);
        return;
    }
    memcpy(p->policy->roles[p->policy->count++].name, name.data, name.size);
}

static void parse_line(struct parser *p, struct bytes line)
{
    if (line.data[0] == '[') {
        p->role = policy_role(p->policy, section_name(line));
        return;
    }
    struct bytes key, value = line;
    cut(&key, &value, '=');
    key = trim(key);
    if (!value.data) {
        wrong(p, "expected NAME = VALUE, not", line);
        return;
    }
    if (p->role < 0) {
        wrong(p, "a [role NAME] line must come before", key);
        return;
    }
    if (is_text(key, "grants"))
        parse_grants(p, value);
    else
        parse_action(p, key, value);
}

static void each_line(struct parser *p, struct bytes text, void (*handle)(struct parser *, struct bytes))
{
    struct bytes line;
    for (p->line = 1; p->error == OK && cut(&line, &text, '\n'); p->line++) {
        line = trim(line);
        if (line.size == 0 || line.data[0] == '#') continue;
        if (!printable(line))
            wrong(p, "only printable ASCII outside of comments", (struct bytes){NULL, 0});
        else
            handle(p, line);
    }
}

enum err policy_parse(struct policy *out, struct bytes text, struct failure *failure)
{
    memset(out, 0, sizeof *out);
    if (text.size > LIMIT_POLICY)
        return fail(failure, ERR_TOO_LARGE, "policy: %zu bytes, at most %u are allowed", text.size, LIMIT_POLICY);
    struct parser p = {.policy = out, .failure = failure, .role = -1};
    each_line(&p, text, collect_role);
    if (p.error == OK) each_line(&p, text, parse_line);
    p.line = 0;
    if (p.error == OK && !text_valid(text)) wrong(&p, "comments must be plain UTF-8 text", (struct bytes){NULL, 0});
    int root = policy_role(out, bytes_text(ROLE_ROOT));
    if (p.error == OK && root < 0) wrong(&p, "there must be a role", bytes_text(ROLE_ROOT));
    if (p.error == OK && !out->roles[root].grant[ACTION_POLICY_SET][SCOPE_ANY])
        wrong(&p, "role root must have", bytes_text("policy.set = any"));
    return p.error;
}

int policy_role(const struct policy *policy, struct bytes name)
{
    for (size_t i = 0; i < policy->count; i++)
        if (is_text(name, policy->roles[i].name)) return (int)i;
    return -1;
}

bool policy_may_grant(const struct policy *policy, int role, int given)
{
    return role >= 0 && given >= 0 && (policy->roles[role].grants & (1u << given)) != 0;
}

int policy_highest(const struct policy *policy, int role, enum action action, scope_set reached)
{
    int highest = -1;
    if (role < 0 || (unsigned)action >= POLICY_ACTIONS) return highest;
    const uint8_t *grant = policy->roles[role].grant[action];
    for (int scope = 0; scope < SCOPES; scope++)
        if ((reached & SCOPE_BIT(scope)) && grant[scope] - 1 > highest) highest = grant[scope] - 1;
    return highest;
}

enum reason policy_decide(const struct policy *policy, int role, enum action action, scope_set reached,
                          enum confidentiality conf)
{
    static const uint8_t none[SCOPES];
    if (role < 0 || (unsigned)action >= POLICY_ACTIONS ||
        memcmp(policy->roles[role].grant[action], none, SCOPES) == 0)
        return REASON_NO_PERMISSION;
    int highest = policy_highest(policy, role, action, reached);
    if (highest < 0) return REASON_SCOPE;
    return (int)conf <= highest ? REASON_NONE : REASON_CONFIDENTIALITY;
}
