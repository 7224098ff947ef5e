/* The commands: one table (cli/commands.c), one file per group of them. */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

#include "cli/command_line.h"

extern const struct command COMMANDS[];           /* ends with an empty row */
extern const struct option_row COMMON_OPTIONS[]; /* ends with an empty row */

/* Each returns an exit code. */
int command_key_new(struct tool *t);
int command_key_public(struct tool *t);
int command_key_assign(struct tool *t);
int command_whoami(struct tool *t);
int command_genesis(struct tool *t);
int command_genesis_show(struct tool *t);
int command_status(struct tool *t);
int command_state_digest(struct tool *t); /* status --state-digest */
int command_checkpoint(struct tool *t);
int command_node_keys(struct tool *t);
int command_lookup(struct tool *t);
int command_receipt_verify(struct tool *t);
int command_user_add(struct tool *t);
int command_user_show(struct tool *t);
int command_user_search(struct tool *t);
int command_user_update(struct tool *t);
int command_user_disable(struct tool *t);
int command_user_key(struct tool *t);
int command_team_add(struct tool *t);
int command_team_remove(struct tool *t);
int command_team_list(struct tool *t);
int command_record_create(struct tool *t);
int command_record_show(struct tool *t);
int command_record_update(struct tool *t);
int command_record_delete(struct tool *t);
int command_record_history(struct tool *t);
int command_record_copy(struct tool *t);
int command_record_list(struct tool *t);
int command_event_add(struct tool *t);
int command_import(struct tool *t);
int command_log(struct tool *t);
int command_verify(struct tool *t);
int command_verify_since(struct tool *t); /* verify --since */
int command_alarm_list(struct tool *t);
int command_alarm_clear(struct tool *t);
int command_evidence_list(struct tool *t);
int command_evidence_show(struct tool *t);
int command_evidence_verify(struct tool *t);
int command_export(struct tool *t);
int command_export_verify(struct tool *t);
int command_policy_show(struct tool *t);
int command_policy_set(struct tool *t);

#endif
