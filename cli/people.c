#include "cli/people.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/limits.h"
#include "cli/rows.h"
#include "crypto/passphrase.h"
#include "ledger/arguments.h"

enum err login_fold(struct buffer *out, const char *name, struct failure *failure)
{
    utf8proc_uint8_t *folded = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)name, 0, &folded,
                                      UTF8PROC_NULLTERM | UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT |
                                          UTF8PROC_CASEFOLD | UTF8PROC_IGNORE | UTF8PROC_STRIPCC);
    if (n < 0) return fail(failure, ERR_INVALID, "the login name is not valid UTF-8");
    enum err e = OK;
    if (n == 0 || n > LIMIT_NAME)
        e = fail(failure, ERR_INVALID, "a login name has 1 to %d bytes", LIMIT_NAME);
    else
        buffer_append(out, folded, (size_t)n);
    free(folded);
    return e;
}

enum err login_tag(struct digest *out, const struct digest *cluster, const char *name, struct failure *failure)
{
    struct buffer folded = {0};
    enum err e = login_fold(&folded, name, failure);
    if (e == OK) {
        e = argon2id_tag(out->bytes, buffer_bytes(&folded), cluster->bytes);
        if (e != OK) fail(failure, e, "cannot compute the login name's tag: %s", err_text(e));
    }
    buffer_free(&folded);
    return e;
}

static enum err search_login(struct tool *t, struct submission *s, const struct digest *tag)
{
    struct buffer args = {0};
    args_user_search_encode(&args, &(struct args_user_search){.login_tag = *tag, .limit = 1});
    enum err e = tool_submit(t, s, &(struct draft){.action = ACTION_USER_SEARCH, .args = buffer_bytes(&args),
                                                   .purpose = PURPOSE_OPERATIONS});
    buffer_free(&args);
    return e;
}

enum err people_resolve(struct tool *t, struct id *out, const char *text)
{
    struct digest tag;
    struct submission s = {0};
    struct answer answer;
    struct user_row row;
    if (id_parse(out, text) == OK && !id_is_zero(out)) return OK;
    enum err e = tool_cluster(t);
    if (e == OK) e = login_tag(&tag, &t->cluster.genesis.cluster, text, &t->failure);
    if (e == OK) e = search_login(t, &s, &tag);
    if (e == ERR_DENIED)
        output_message(&t->output, "your role may not look up the login name '%s'; the person's id works everywhere",
                       text);
    if (e != OK) goto free_submission;
    e = answer_open(&answer, buffer_bytes(&s.outcomes[0].answer), 1);
    if (e == OK && answer.count == 0)
        e = fail(&t->failure, ERR_NOT_FOUND, "there is no user with the login name '%s' (or you may not see them)",
                 text);
    if (e == OK && answer.count == 1) {
        user_row_read(&row, &answer.rows);
        e = answer.rows.error;
        *out = row.user;
    }
    if (e != OK && t->failure.code == OK) fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
free_submission:
    submission_free(&s);
    return e;
}
