/* receipt verify: what kept receipts prove, with nobody asked. One is shown in full; of several, also of those in a
 * folder, each is a line. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/path.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/receipt.h"
#include "cli/receipt_files.h"
#include "cli/tool.h"
#include "ledger/arguments.h"

/* --- in words --- */

/* "asked ..." */
static const char *asked_words(enum action action)
{
    switch (action) {
    case ACTION_GENESIS: break;
    case ACTION_USER_CREATE: return "to register a user";
    case ACTION_USER_UPDATE: return "to change a user's data";
    case ACTION_USER_DISABLE: return "to disable or enable a user";
    case ACTION_USER_KEY: return "to give a user a key, or to revoke one";
    case ACTION_ROLE_ASSIGN: return "to give a user a role";
    case ACTION_USER_SEARCH: return "for users";
    case ACTION_TEAM_ASSIGN: return "to change a treatment team";
    case ACTION_TEAM_LIST: return "for a treatment team";
    case ACTION_RECORD_CREATE: return "to store a record";
    case ACTION_RECORD_UPDATE: return "to make a new version of a record";
    case ACTION_RECORD_DELETE: return "to delete a record";
    case ACTION_RECORD_READ: return "to open a record, or a chart";
    case ACTION_RECORD_HISTORY: return "for a record's history";
    case ACTION_RECORD_COPY: return "to copy a record";
    case ACTION_RECORD_LIST: return "for the list of a patient's records";
    case ACTION_EVENT_ADD: return "to note an access in another system";
    case ACTION_LOG_QUERY: return "to see the log";
    case ACTION_LEDGER_EXPORT: return "to export the ledger";
    case ACTION_POLICY_SET: return "to set another policy";
    case ACTION_POLICY_SHOW: return "for the policy";
    case ACTION_KEY_COMMIT:
    case ACTION_KEY_REVEAL:
    case ACTION_KEY_CONFIRM:
    case ACTION_KEY_ANSWER:
    case ACTION_KEY_CLOSE:
    case ACTION_KEY_ACTIVATE: return "for a step of key generation";
    case ACTION_NODE_ALARM: return "to raise an alarm, or to say that it is repaired";
    case ACTION_ALARM_TELL: return "to tell people of an alarm";
    case ACTION_ALARM_CLEAR: return "to clear an alarm";
    case ACTION_STATE_DIGEST: return "to compare the nodes' states";
    case ACTION_NODE_DIGEST: return "to compare the nodes' states, asked for by a node";
    }
    return "for something that this version doesn't know";
}

/* `what`: what is genuine, a file or the verdict. */
static void print_sentence(const struct genesis *g, const struct receipt *r, const char *what)
{
    const struct leaf *leaf = &r->leaf;
    char actor[ID_TEXT_SIZE], subject[ID_TEXT_SIZE], time[CLOCK_TEXT_SIZE];
    if (leaf->genesis.size > 0) {
        printf("%s: genuine. It is the first entry of %s: the cluster's own beginning.\n", what,
               g->checkpoint_origin);
        return;
    }
    id_format(actor, &leaf->operation.actor.id);
    id_format(subject, &leaf->subject);
    clock_format(time, leaf->time_ms); /* the ledger's, not the asker's clock */
    printf("%s: genuine. %s %s asked %s", what, leaf->operation.actor.kind == ACTOR_NODE ? "Node" : "User", actor,
           asked_words((enum action)leaf->operation.action));
    if (!id_is_zero(&leaf->subject)) printf(", about %s", subject);
    if (leaf->decision == DECISION_APPROVED)
        printf("; approved at %s", time);
    else
        printf("; denied at %s: %s", time, reason_text((enum reason)leaf->reason));
    printf(". It is entry %" PRIu64 ", and %d of %u nodes co-signed it.\n", leaf->index,
           __builtin_popcount(r->cosigners), g->member_count);
}

/* --- in fields --- */

static json_t *cosigners_json(const struct genesis *g, uint32_t cosigners)
{
    json_t *names = json_array();
    for (uint32_t i = 0; i < g->member_count; i++)
        if (cosigners >> i & 1) json_array_append_new(names, json_string(g->members[i].name));
    return names;
}

/* As the log shows it: what was done in the other system, and to what. */
static json_t *event_json(const struct args_event_add *event)
{
    struct buffer text = {0};
    buffer_append_bytes(&text, event->what);
    if (event->object.size > 0) buffer_append_text(&text, " ");
    buffer_append_bytes(&text, event->object);
    json_t *o = json_text(buffer_bytes(&text));
    buffer_free(&text);
    return o;
}

static json_t *target_json(const struct arguments *args)
{
    struct target target;
    struct id id;
    arguments_target(&target, args);
    if (target.object_is_text) return target.object.size > 0 ? json_text(target.object) : json_null();
    if (target.object.size != sizeof id) return json_null();
    memcpy(id.bytes, target.object.data, sizeof id.bytes);
    return json_id(&id);
}

/* The record, team member, event or role that an operation names. */
static json_t *object_json(const struct operation *op)
{
    struct arguments *args = xcalloc(1, sizeof *args);
    json_t *object = json_null();
    if (arguments_decode(args, op->action, op->args) == OK)
        object = args->action == ACTION_EVENT_ADD ? event_json(&args->event_add) : target_json(args);
    free(args);
    return object;
}

static void add_operation(json_t *o, const struct leaf *leaf)
{
    const struct operation *op = &leaf->operation;
    json_object_set_new(o, "action", json_string(action_name((enum action)op->action)));
    json_object_set_new(o, "actor_kind", json_string(op->actor.kind == ACTOR_NODE ? "node" : "user"));
    json_object_set_new(o, "actor", json_id(&op->actor.id));
    json_object_set_new(o, "subject", json_id(&leaf->subject));
    json_object_set_new(o, "object", object_json(op));
    json_object_set_new(o, "purpose", json_string(purpose_code(op->purpose)));
    json_object_set_new(o, "decision", json_string(leaf->decision == DECISION_APPROVED ? "approved" : "denied"));
    json_object_set_new(o, "reason", json_string(reason_text((enum reason)leaf->reason)));
    json_object_set_new(o, "request", json_id(&op->request_id));
    json_object_set_new(o, "issued", json_time(op->issued_at_ms));
}

static json_t *receipt_json(const struct genesis *g, const struct receipt *r)
{
    json_t *o = json_pack("{s:s, s:s, s:o, s:I, s:o}", "verdict", "genuine", "origin", g->checkpoint_origin, "cluster",
                          json_digest(&g->cluster), "entry", (json_int_t)r->leaf.index, "time",
                          json_time(r->leaf.time_ms));
    CHECK(o != NULL);
    if (r->leaf.genesis.size == 0) add_operation(o, &r->leaf);
    json_object_set_new(o, "ledger_size", json_integer((json_int_t)r->checkpoint.size));
    json_object_set_new(o, "root", json_digest(&r->checkpoint.root));
    json_object_set_new(o, "quorum", json_integer(g->quorum));
    json_object_set_new(o, "cosigned_by", cosigners_json(g, r->cosigners));
    return o;
}

/* The list of names as one text, for people. */
static void flatten_cosigners(json_t *o)
{
    struct buffer text = {0};
    json_t *names = json_object_get(o, "cosigned_by");
    for (size_t i = 0; i < json_array_size(names); i++)
        buffer_printf(&text, "%s%s", i ? ", " : "", json_string_value(json_array_get(names, i)));
    json_object_set_new(o, "cosigned_by", json_text(buffer_bytes(&text)));
    buffer_free(&text);
}

static void print_receipt(struct tool *t, const struct receipt *r)
{
    static const struct column columns[] = {
        {"origin", "cluster", COLUMN_TEXT},     {"entry", "entry", COLUMN_NUMBER},
        {"time", "at", COLUMN_TIME},            {"action", "action", COLUMN_TEXT},
        {"actor", "by", COLUMN_TEXT},           {"subject", "about", COLUMN_TEXT},
        {"object", "object", COLUMN_TEXT},      {"purpose", "purpose", COLUMN_TEXT},
        {"decision", "decision", COLUMN_VERDICT}, {"reason", "reason", COLUMN_TEXT},
        {"ledger_size", "in a ledger of", COLUMN_NUMBER}, {"cosigned_by", "co-signed by", COLUMN_TEXT}};
    json_t *o = receipt_json(&t->cluster.genesis, r);
    if (!t->output.json) flatten_cosigners(o);
    output_fields(&t->output, columns, sizeof columns / sizeof columns[0], o);
    if (!t->output.json) print_sentence(&t->cluster.genesis, r, "verdict");
}

/* --- checking --- */

/* One file after the other. */
struct checking {
    struct tool *t;
    bool has_key;
    struct sign_public key; /* of --key */
    struct buffer text, room;
    struct receipt_note note; /* the one checked last */
    uint64_t good, bad;
    struct failure first; /* of those that are bad; a false one counts more than one that can't be read */
};

static enum err check_key(struct checking *c, const struct receipt *r, const char *file)
{
    if (!c->has_key) return OK;
    if (r->leaf.genesis.size == 0 && leaf_verify(&r->leaf, &c->key) == OK) return OK;
    return fail(&c->t->failure, ERR_BAD_PROOF, "%s: the entry is in the ledger, but was not signed with the key of %s",
                file, option_text(c->t->line, "key"));
}

static enum err check_file(struct checking *c, struct receipt *r, const char *file)
{
    struct tool *t = c->t;
    struct failure why = {0};
    buffer_clear(&c->text);
    enum err e = file_read(&c->text, file, LIMIT_RECEIPT, &t->failure);
    if (e == ERR_TOO_LARGE) return fail(&t->failure, ERR_BAD_PROOF, "%s is too large to be a receipt", file);
    if (e == OK && c->text.size == 0) e = fail(&t->failure, ERR_BAD_PROOF, "%s is empty, and proves nothing", file);
    if (e != OK) return e;
    e = receipt_check_next(r, &c->room, &c->note, &t->cluster.genesis, buffer_bytes(&c->text), &why);
    if (e != OK) return fail(&t->failure, e, "%s proves nothing: %s", file, why.text);
    return check_key(c, r, file);
}

static void print_line(struct checking *c, const struct receipt *r, const char *file)
{
    struct tool *t = c->t;
    struct buffer name = {0};
    if (t->output.json) {
        json_t *row = receipt_json(&t->cluster.genesis, r), *rows = json_array();
        json_object_set_new(row, "file", json_text(bytes_text(file)));
        json_array_append_new(rows, row);
        output_more_rows(&t->output, NULL, 0, rows);
        return;
    }
    text_clean(&name, bytes_text(file), false);
    buffer_append(&name, "", 1);
    CHECK(!name.failed);
    print_sentence(&t->cluster.genesis, r, (const char *)name.data);
    buffer_free(&name);
}

/* One of several that is bad doesn't keep the others from being checked. */
static void say_bad(struct checking *c)
{
    output_message(&c->t->output, "%s", c->t->failure.text);
    if (c->bad++ == 0 || exit_code_of(c->first.code) != EXIT_VERIFICATION) c->first = c->t->failure;
}

/* `index`: the entry that the file's name says; NULL: none. */
static void take_file(struct checking *c, const char *file, const uint64_t *index)
{
    struct receipt r;
    struct tool *t = c->t;
    enum err e = check_file(c, &r, file);
    if (e == OK && index && r.leaf.index != *index)
        e = fail(&t->failure, ERR_BAD_PROOF, "%s is named for entry %" PRIu64 ", but proves entry %" PRIu64, file,
                 *index, r.leaf.index);
    if (e != OK) {
        say_bad(c);
        return;
    }
    c->good++;
    print_line(c, &r, file);
}

/* --- folders --- */

/* ENTRY.tlog-proof, as cli/receipt_files.h names them. */
static bool entry_of_name(uint64_t *index, const char *name)
{
    char again[NAME_MAX + 1];
    *index = strtoull(name, NULL, 10);
    snprintf(again, sizeof again, "%" PRIu64 RECEIPT_SUFFIX, *index);
    return strcmp(name, again) == 0;
}

static int by_entry(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The entries that have a file, in order; allocated. */
static enum err list_folder(struct checking *c, uint64_t **out, size_t *count, const char *folder)
{
    struct buffer list = {0};
    uint64_t others = 0;
    DIR *d = opendir(folder);
    if (!d) return fail(&c->t->failure, ERR_PERMISSION, "cannot open %s: %s", folder, path_trouble(errno));
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        uint64_t index;
        if (entry_of_name(&index, entry->d_name))
            buffer_append(&list, &index, sizeof index);
        else
            others += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(d);
    CHECK(!list.failed);
    if (others > 0)
        output_message(&c->t->output, "%s: %" PRIu64 " other files were passed by", folder, others);
    *count = list.size / sizeof **out;
    *out = (uint64_t *)(void *)list.data;
    if (*count > 1) qsort(*out, *count, sizeof **out, by_entry);
    return OK;
}

static void take_folder(struct checking *c, const char *folder)
{
    uint64_t *entries = NULL;
    size_t count = 0;
    if (list_folder(c, &entries, &count, folder) != OK) say_bad(c);
    for (size_t i = 0; i < count; i++) {
        char *path = receipt_path(folder, entries[i]);
        take_file(c, path, &entries[i]);
        free(path);
    }
    free(entries);
}

/* --- the command --- */

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static enum err take_one(struct checking *c)
{
    struct receipt r;
    enum err e = check_file(c, &r, tool_operand(c->t, 0));
    if (e == OK) print_receipt(c->t, &r);
    return e;
}

/* All operands are folders that hold none. */
static enum err fail_without_any(struct checking *c)
{
    const struct command_line *line = c->t->line;
    return fail(&c->t->failure, ERR_NO_FILE,
                "there is no receipt (ENTRY" RECEIPT_SUFFIX ") in %s%s: give the folder that --receipt FOLDER/ wrote "
                "into, or the file of --receipt FILE", tool_operand(c->t, 0),
                line->operand_count > 1 ? " and the other folders" : "");
}

static enum err take_several(struct checking *c)
{
    struct tool *t = c->t;
    for (size_t i = 0; i < t->line->operand_count; i++) {
        const char *operand = tool_operand(t, i);
        if (is_folder(operand))
            take_folder(c, operand);
        else
            take_file(c, operand, NULL);
    }
    if (c->bad > 0)
        return fail(&t->failure, c->first.code, "%" PRIu64 " of %" PRIu64 " receipts are not genuine", c->bad,
                    c->bad + c->good);
    if (c->good == 0) return fail_without_any(c);
    if (!t->output.json) printf("verdict: genuine, all %" PRIu64 " receipts.\n", c->good);
    return OK;
}

int command_receipt_verify(struct tool *t)
{
    struct checking c = {.t = t};
    const char *key = option_text(t->line, "key");
    bool several = t->line->operand_count > 1 || is_folder(tool_operand(t, 0));
    enum err e = tool_cluster(t);
    c.has_key = key != NULL;
    if (e == OK && key) e = public_key_read(&c.key, key, &t->failure);
    if (e == OK) e = several ? take_several(&c) : take_one(&c);
    buffer_free(&c.text);
    buffer_free(&c.room);
    buffer_free(&c.note.text);
    return e == OK ? EXIT_DONE : tool_failed(t);
}
