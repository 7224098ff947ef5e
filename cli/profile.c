#include "cli/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/files.h"
#include "ledger/arguments.h"

const struct column USER_FIELDS[] = {
    {"id", "user", COLUMN_TEXT},
    {"name", "name", COLUMN_TEXT},
    {"login", "login", COLUMN_TEXT},
    {"role", "role", COLUMN_TEXT},
    {"hospital", "hospital", COLUMN_TEXT},
    {"designation", "designation", COLUMN_TEXT},
    {"address", "address", COLUMN_TEXT},
    {"hospital_number", "hospital number", COLUMN_TEXT},
    {"status", "status", COLUMN_VERDICT},
    {"keys", "key ids", COLUMN_TEXT},
};
const size_t USER_FIELD_COUNT = sizeof USER_FIELDS / sizeof USER_FIELDS[0];

static char *role_path(struct tool *t)
{
    char name[5 + ID_TEXT_SIZE] = "role-";
    id_format(name + 5, &t->signer.user);
    return cluster_cache_path(&t->cluster, name);
}

static void remember_role(struct tool *t, struct bytes role)
{
    char *path = role_path(t);
    if (path) file_write(path, role, 0600, false, NULL); /* only a hint */
    free(path);
}

void profile_forget(struct tool *t)
{
    if (!t->cluster_opened || !t->signer_opened) return;
    char *path = role_path(t);
    if (path) unlink(path);
    free(path);
}

enum err profile_ask(struct tool *t, struct submission *s, struct user_row *row)
{
    struct buffer args = {0};
    struct answer answer;
    enum err e = tool_cluster(t);
    if (e == OK) e = tool_signer(t);
    if (e != OK) return e;
    args_user_search_encode(&args, &(struct args_user_search){.user = t->signer.user, .limit = 1});
    e = tool_submit(t, s, &(struct draft){.action = ACTION_USER_SEARCH, .args = buffer_bytes(&args),
                                          .purpose = PURPOSE_OPERATIONS});
    buffer_free(&args);
    if (e != OK) return e;
    e = answer_open(&answer, buffer_bytes(&s->outcomes[0].answer), 1);
    if (e == OK && answer.count == 0)
        return fail(&t->failure, ERR_NOT_FOUND, "the cluster does not show you your own row");
    if (e == OK) user_row_read(row, &answer.rows);
    if (e == OK) e = answer.rows.error;
    if (e != OK) return fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
    remember_role(t, row->role);
    return OK;
}

enum err profile_role(struct tool *t, char out[static LIMIT_NAME + 1])
{
    struct buffer text = {0};
    enum err e = tool_cluster(t);
    if (e == OK) e = tool_signer(t);
    if (e != OK) return e;
    char *path = role_path(t);
    bool known = path && file_read(&text, path, LIMIT_NAME, NULL) == OK && text.size > 0;
    if (known) snprintf(out, LIMIT_NAME + 1, "%.*s", (int)text.size, (const char *)text.data);
    buffer_free(&text);
    free(path);
    if (known) return OK;
    struct submission s = {0};
    struct user_row row;
    e = profile_ask(t, &s, &row);
    if (e == OK) snprintf(out, LIMIT_NAME + 1, "%.*s", (int)row.role.size, (const char *)row.role.data);
    submission_free(&s);
    return e;
}
