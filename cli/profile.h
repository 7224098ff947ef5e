/* What the cluster knows about this identity: its row among the users. */
#ifndef CLI_PROFILE_H
#define CLI_PROFILE_H

#include "cli/rows.h"
#include "cli/tool.h"

/* Asks for one's own row (an operation, with its entry). `row` has views into
 * the submission, which the caller frees in every case. */
enum err profile_ask(struct tool *t, struct submission *s, struct user_row *row);
/* One's own role: as last seen, else asked for. Only for choosing a default: what
 * one may do is the nodes' to decide. */
enum err profile_role(struct tool *t, char out[static LIMIT_NAME + 1]);
void profile_forget(struct tool *t); /* after a denial: the role may have changed */

/* A user's columns, for output_fields and tool_done. */
extern const struct column USER_FIELDS[];
extern const size_t USER_FIELD_COUNT;

#endif
