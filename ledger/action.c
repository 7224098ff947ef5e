#include "ledger/action.h"

#include <string.h>

const char *action_name(enum action action)
{
    switch (action) {
#define X(name, number, permission, actor)                                                         \
    case name: return permission;
        ACTION_LIST(X)
#undef X
    }
    return "unknown";
}

int action_from_name(const char *name)
{
#define X(action, number, permission, actor)                                                       \
    if (strcmp(name, permission) == 0) return number;
    ACTION_LIST(X)
#undef X
    return -1;
}

enum actor_kind action_actor(enum action action)
{
    switch (action) {
#define X(name, number, permission, actor)                                                         \
    case name: return actor;
        ACTION_LIST(X)
#undef X
    }
    return ACTOR_NONE;
}

const char *reason_text(enum reason reason)
{
    switch (reason) {
#define X(name, number, text)                                                                      \
    case name: return text;
        REASON_LIST(X)
#undef X
    }
    return "unknown reason";
}
