/* user add, show, search, update, disable, key. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/people.h"
#include "cli/profile.h"
#include "cli/rows.h"
#include "cli/tool.h"
#include "crypto/random.h"
#include "ledger/arguments.h"

static struct bytes text_option(struct tool *t, const char *name)
{
    const char *text = option_text(t->line, name);
    return text ? bytes_text(text) : (struct bytes){0};
}

static enum err check_person(struct tool *t, const struct person *p)
{
    const struct bytes all[] = {p->login, p->name, p->address, p->designation, p->hospital_number};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i].size > LIMIT_PERSON_TEXT)
            return fail(&t->failure, ERR_USAGE, "a name, login, address, designation or number has at most %d bytes",
                        LIMIT_PERSON_TEXT);
    return OK;
}

static enum err check_label(struct tool *t, const char *option, struct bytes text)
{
    if (option_given(t->line, option) && text.size == 0)
        return fail(&t->failure, ERR_USAGE, "--%s must not be empty", option);
    if (text.size > LIMIT_NAME) return fail(&t->failure, ERR_USAGE, "--%s has at most %d bytes", option, LIMIT_NAME);
    return OK;
}

/* A misspelt hospital would leave the user to root alone; yet one without a node may be meant. */
static void warn_of_hospital(struct tool *t)
{
    const char *hospital = option_text(t->line, "hospital");
    const struct genesis *g = &t->cluster.genesis;
    struct buffer known = {0};
    for (uint32_t i = 0; hospital && i < g->member_count; i++) {
        if (strcmp(g->members[i].hospital, hospital) == 0) goto done;
        buffer_printf(&known, "%s'%s'", i ? ", " : "", g->members[i].hospital);
    }
    if (hospital && *hospital && !known.failed)
        output_message(&t->output,
                       "no node of this cluster is of the hospital '%s'. The nodes' are: %.*s. If this is a slip, "
                       "correct it with 'user update'",
                       hospital, (int)known.size, (const char *)known.data);
done:
    buffer_free(&known);
}

/* One operation with arguments that were encoded and perhaps an attachment. */
static enum err submit_action(struct tool *t, struct submission *s, enum action action, struct buffer *args,
                     struct buffer *attachment, enum purpose otherwise)
{
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, otherwise);
    if (e == OK && (args->failed || (attachment && attachment->failed)))
        e = fail(&t->failure, ERR_NOMEM, "no memory for the operation");
    if (e == OK)
        e = tool_submit(t, s, &(struct draft){.action = action, .args = buffer_bytes(args), .purpose = purpose,
                                              .attached = attachment != NULL,
                                              .attachment = attachment ? buffer_bytes(attachment) : (struct bytes){0}});
    buffer_free(args);
    if (attachment) buffer_free(attachment);
    return e;
}

static int finish(struct tool *t, struct submission *s, enum err e, const struct id *user)
{
    static const struct column columns[] = {{"user", "user", COLUMN_TEXT}};
    if (e == OK) tool_done(t, s, columns, 1, json_pack("{s:o}", "user", json_id(user)));
    submission_free(s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

/* --- user add --- */

static enum err take_keys(struct tool *t, struct args_user_create *args)
{
    size_t at = 0;
    for (const char *key; (key = option_next(t->line, "key", &at)) != NULL;) {
        if (args->key_count == LIMIT_KEYS_PER_USER)
            return fail(&t->failure, ERR_USAGE, "a user has at most %d keys", LIMIT_KEYS_PER_USER);
        enum err e = public_key_read(&args->keys[args->key_count++], key, &t->failure);
        if (e != OK) return e;
    }
    return OK;
}

/* A user who comes with a key is named after it, so that the key's file alone
 * says who they are; others get a random id, which their key's file will name. */
static enum err choose_id(struct tool *t, struct args_user_create *args)
{
    const char *text = option_text(t->line, "id");
    args->user = args->key_count ? id_of_key(&args->keys[0]) : random_id();
    if (text && (id_parse(&args->user, text) != OK || id_is_zero(&args->user)))
        return fail(&t->failure, ERR_USAGE, "--id takes an id of 26 characters, not '%s'", text);
    return OK;
}

int command_user_add(struct tool *t)
{
    struct args_user_create args = {.hospital = text_option(t, "hospital"), .role = text_option(t, "role")};
    struct person person = {.login = text_option(t, "login"), .name = text_option(t, "name"),
                            .address = text_option(t, "address"), .designation = text_option(t, "designation"),
                            .hospital_number = text_option(t, "number")};
    struct buffer encoded = {0}, attachment = {0};
    struct submission s = {0};
    enum err e = tool_cluster(t);
    if (e == OK) e = check_label(t, "hospital", args.hospital);
    if (e == OK) e = check_label(t, "role", args.role);
    if (e == OK) e = check_person(t, &person);
    if (e == OK) e = take_keys(t, &args);
    if (e == OK) e = choose_id(t, &args);
    if (e == OK && option_given(t->line, "login"))
        e = login_tag(&args.login_tag, &t->cluster.genesis.cluster, option_text(t->line, "login"), &t->failure);
    if (e != OK) return tool_failed(t);
    warn_of_hospital(t);
    args_user_create_encode(&encoded, &args);
    person_encode(&attachment, &person);
    e = submit_action(t, &s, ACTION_USER_CREATE, &encoded, &attachment, PURPOSE_ADMINISTRATION);
    return finish(t, &s, e, &args.user);
}

/* --- user show, search --- */

/* By id, or by login name: either way one operation. */
static enum err search_one(struct tool *t, struct submission *s, struct user_row *row, const char *text)
{
    struct args_user_search args = {.limit = 1};
    struct buffer encoded = {0};
    struct answer answer;
    enum err e = tool_cluster(t);
    if (e == OK && (id_parse(&args.user, text) != OK || id_is_zero(&args.user))) {
        args.user = (struct id){0};
        e = login_tag(&args.login_tag, &t->cluster.genesis.cluster, text, &t->failure);
    }
    if (e != OK) return e;
    args_user_search_encode(&encoded, &args);
    e = submit_action(t, s, ACTION_USER_SEARCH, &encoded, NULL, PURPOSE_OPERATIONS);
    if (e != OK) return e;
    e = answer_open(&answer, buffer_bytes(&s->outcomes[0].answer), 1);
    if (e == OK && answer.count == 0)
        return fail(&t->failure, ERR_NOT_FOUND, "there is no user '%s', or you may not see them", text);
    if (e == OK) user_row_read(row, &answer.rows);
    if (e == OK) e = answer.rows.error;
    return e == OK ? OK : fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
}

int command_user_show(struct tool *t)
{
    struct submission s = {0};
    struct user_row row;
    enum err e = search_one(t, &s, &row, tool_operand(t, 0));
    if (e == OK) output_fields(&t->output, USER_FIELDS, USER_FIELD_COUNT, user_row_json(&row));
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

static enum err print_users(struct tool *t, struct bytes bytes)
{
    static const struct column columns[] = {
        {"id", "USER", COLUMN_TEXT},           {"name", "NAME", COLUMN_TEXT},
        {"login", "LOGIN", COLUMN_TEXT},       {"role", "ROLE", COLUMN_TEXT},
        {"hospital", "HOSPITAL", COLUMN_TEXT}, {"designation", "DESIGNATION", COLUMN_TEXT},
        {"status", "STATUS", COLUMN_VERDICT}};
    struct answer answer;
    enum err e = answer_open(&answer, bytes, LIMIT_ROWS);
    json_t *rows = json_array();
    for (uint32_t i = 0; e == OK && i < answer.count; i++) {
        struct user_row row;
        user_row_read(&row, &answer.rows);
        e = answer.rows.error;
        if (e == OK) json_array_append_new(rows, user_row_json(&row));
    }
    if (e != OK) {
        json_decref(rows);
        return fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
    }
    tool_page_mark(t, rows, answer.cursor, answer.left_out);
    output_rows(&t->output, columns, sizeof columns / sizeof columns[0], rows, "nobody found that you may see");
    tool_page_end(t, answer.cursor, answer.left_out);
    return OK;
}

int command_user_search(struct tool *t)
{
    struct args_user_search args = {.role = text_option(t, "role"), .hospital = text_option(t, "hospital")};
    const char *text = t->line->operand_count ? tool_operand(t, 0) : NULL;
    struct buffer encoded = {0}, cursor = {0}, attachment = {0};
    struct submission s = {0};
    enum err e = tool_page(t, &args.limit, 50, LIMIT_ROWS, &cursor);
    if (e == OK) e = check_label(t, "hospital", args.hospital);
    if (e == OK) e = check_label(t, "role", args.role);
    if (e == OK && text && strlen(text) > LIMIT_NAME)
        e = fail(&t->failure, ERR_USAGE, "the text searched for has at most %d bytes", LIMIT_NAME);
    if (e == OK) {
        args.cursor = buffer_bytes(&cursor);
        args_user_search_encode(&encoded, &args);
        if (text) buffer_append_text(&attachment, text);
        e = submit_action(t, &s, ACTION_USER_SEARCH, &encoded, text ? &attachment : NULL, PURPOSE_OPERATIONS);
    }
    if (e == OK) e = print_users(t, buffer_bytes(&s.outcomes[0].answer));
    buffer_free(&cursor);
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

/* --- user update --- */

/* The person replaces the former one as a whole, so what is not given stays as it is. */
static void merge_person(struct tool *t, struct person *person)
{
    const struct {
        const char *option;
        struct bytes *field;
    } fields[] = {{"login", &person->login}, {"name", &person->name}, {"address", &person->address},
                  {"designation", &person->designation}, {"number", &person->hospital_number}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (option_given(t->line, fields[i].option)) *fields[i].field = text_option(t, fields[i].option);
}

static bool changes_person(const struct tool *t)
{
    static const char *const options[] = {"login", "name", "address", "designation", "number", "hospital"};
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (option_given(t->line, options[i])) return true;
    return false;
}

static enum err update_person(struct tool *t, struct submission *s, const struct user_row *row)
{
    struct args_user_update args = {.user = row->user, .hospital = text_option(t, "hospital")};
    struct person person = row->person;
    struct buffer encoded = {0}, attachment = {0};
    merge_person(t, &person);
    enum err e = check_person(t, &person);
    if (e == OK) e = check_label(t, "hospital", args.hospital);
    if (e == OK && option_given(t->line, "login"))
        e = login_tag(&args.login_tag, &t->cluster.genesis.cluster, option_text(t->line, "login"), &t->failure);
    if (e != OK) return e;
    warn_of_hospital(t);
    args_user_update_encode(&encoded, &args);
    person_encode(&attachment, &person);
    return submit_action(t, s, ACTION_USER_UPDATE, &encoded, &attachment, PURPOSE_ADMINISTRATION);
}

static enum err assign_role(struct tool *t, struct submission *s, const struct id *user)
{
    struct args_role_assign args = {.user = *user, .role = text_option(t, "role")};
    struct buffer encoded = {0};
    enum err e = check_label(t, "role", args.role);
    if (e != OK) return e;
    args_role_assign_encode(&encoded, &args);
    return submit_action(t, s, ACTION_ROLE_ASSIGN, &encoded, NULL, PURPOSE_ADMINISTRATION);
}

int command_user_update(struct tool *t)
{
    struct submission found = {0}, s = {0};
    struct user_row row = {0};
    bool person = changes_person(t), role = option_given(t->line, "role");
    enum err e = OK;
    if (!person && !role) e = fail(&t->failure, ERR_USAGE, "say what to change: --role, --name, --address ...");
    if (e == OK && person) e = search_one(t, &found, &row, tool_operand(t, 0));
    if (e == OK && !person) e = people_resolve(t, &row.user, tool_operand(t, 0));
    if (e == OK && person) e = update_person(t, &s, &row);
    if (e == OK && role) {
        submission_free(&s);
        e = assign_role(t, &s, &row.user);
    }
    struct id user = row.user;
    submission_free(&found);
    return finish(t, &s, e, &user);
}

/* --- user disable, key --- */

int command_user_disable(struct tool *t)
{
    struct args_user_disable args = {.disabled = !option_given(t->line, "enable")};
    struct submission s = {0};
    struct buffer encoded = {0}, note = {0};
    const char *text = option_text(t->line, "note");
    enum err e = text && strlen(text) > LIMIT_NOTE
                     ? fail(&t->failure, ERR_USAGE, "a note has at most %u bytes", LIMIT_NOTE)
                     : OK;
    if (e == OK) e = people_resolve(t, &args.user, tool_operand(t, 0));
    if (e == OK)
        e = tool_confirm(t, args.disabled ? "Disable this user? They can do nothing then." : "Enable this user again?");
    if (e == OK) {
        args_user_disable_encode(&encoded, &args);
        if (text) buffer_append_text(&note, text);
        e = submit_action(t, &s, ACTION_USER_DISABLE, &encoded, text ? &note : NULL, PURPOSE_ADMINISTRATION);
    }
    return finish(t, &s, e, &args.user);
}

int command_user_key(struct tool *t)
{
    struct args_user_key args = {.revoke = option_given(t->line, "revoke")};
    struct submission s = {0};
    struct buffer encoded = {0};
    enum err e = public_key_read(&args.key, tool_operand(t, 1), &t->failure);
    if (e == OK) e = people_resolve(t, &args.user, tool_operand(t, 0));
    if (e == OK && args.revoke) e = tool_confirm(t, "Revoke this key? It can't be given again to the user.");
    if (e == OK) {
        args_user_key_encode(&encoded, &args);
        e = submit_action(t, &s, ACTION_USER_KEY, &encoded, NULL, PURPOSE_ADMINISTRATION);
    }
    struct id derived = id_of_key(&args.key);
    if (e == OK && !args.revoke && !id_equal(&derived, &args.user)) {
        char id[ID_TEXT_SIZE];
        id_format(id, &args.user);
        output_message(&t->output, "the key's owner says once who they are: consilium key assign FILE --user %s", id);
    }
    return finish(t, &s, e, &args.user);
}
