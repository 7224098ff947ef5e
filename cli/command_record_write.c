/* record create, update, delete, copy. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/content.h"
#include "cli/difference.h"
#include "cli/files.h"
#include "cli/people.h"
#include "cli/reading.h"
#include "cli/tool.h"
#include "cli/vitals.h"
#include "crypto/secret.h"
#include "crypto/time_id.h"
#include "ledger/arguments.h"

/* --- what is to be written --- */

/* `kind` of a JSON object with a resourceType is that type. */
static void detect_kind(char out[static LIMIT_NAME + 1], struct bytes content)
{
    json_t *value = json_loadb((const char *)content.data, content.size, JSON_REJECT_DUPLICATES, NULL);
    const char *type = json_string_value(json_object_get(value, "resourceType"));
    if (type && strlen(type) <= LIMIT_NAME) memcpy(out, type, strlen(type) + 1);
    json_decref(value);
}

static enum err content_of_settings(struct tool *t, struct buffer *out, char kind[static LIMIT_NAME + 1],
                                    const struct id *patient)
{
    const char *settings[64], *name, *setting;
    size_t count = 0, at = 0;
    while ((setting = option_next(t->line, "set", &at)) != NULL) {
        if (count == sizeof settings / sizeof settings[0]) return fail(&t->failure, ERR_USAGE, "too many --set");
        settings[count++] = setting;
    }
    enum err e = vitals_format(out, &name, settings, count, patient, clock_wall_ms(), &t->failure);
    if (e == OK) memcpy(kind, name, strlen(name) + 1);
    return e;
}

/* From --set, the file named by operand `place`, or standard input. */
static enum err read_content(struct tool *t, struct buffer *out, char kind[static LIMIT_NAME + 1], size_t place,
                             const struct id *patient)
{
    const char *file = t->line->operand_count > place ? tool_operand(t, place) : NULL;
    kind[0] = '\0';
    if (option_given(t->line, "set")) {
        if (file) return fail(&t->failure, ERR_USAGE, "give either a file or --set, not both");
        return content_of_settings(t, out, kind, patient);
    }
    if (!file && isatty(STDIN_FILENO))
        return fail(&t->failure, ERR_USAGE,
                    "what is the content? Name a file, '-' for standard input, or --set name=value");
    enum err e = file_read(out, file ? file : "-", LIMIT_RECORD, &t->failure);
    cluster_renew(&t->cluster); /* who writes to our standard input takes their time */
    if (e == ERR_TOO_LARGE)
        e = fail(&t->failure, ERR_RECORD_TOO_LARGE, "the content is larger than a record holds (%u bytes)",
                 LIMIT_RECORD);
    if (e == OK && out->size == 0 && !option_given(t->line, "empty"))
        return fail(&t->failure, ERR_USAGE, "%s is empty; add --empty if the record is meant to be",
                    file && strcmp(file, "-") != 0 ? file : "standard input");
    if (e == OK) detect_kind(kind, buffer_bytes(out));
    return e;
}

static enum err take_confidentiality(struct tool *t, enum confidentiality *conf)
{
    const char *text = option_text(t->line, "confidentiality");
    if (!text || confidentiality_parse(conf, text) == OK) return OK;
    return fail(&t->failure, ERR_USAGE,
                "--confidentiality is N (normal), R (restricted) or V (very restricted), not '%s'", text);
}

static enum err take_kind(struct tool *t, const char **kind, const char *detected)
{
    const char *given = option_text(t->line, "kind");
    *kind = given ? given : detected;
    if (**kind == '\0')
        return fail(&t->failure, ERR_USAGE, "what kind of record is it? Give --kind, for example --kind Note "
                                            "(FHIR JSON says its own)");
    if (strlen(*kind) > LIMIT_NAME) return fail(&t->failure, ERR_USAGE, "--kind has at most %d bytes", LIMIT_NAME);
    return OK;
}

/* A note that turns into an Observation under the name of a note would be found by nobody who looks for either. */
static enum err check_set(struct tool *t, const char *made, struct bytes kind, const char *advice)
{
    if (!option_given(t->line, "set") || bytes_equal(bytes_text(made), kind)) return OK;
    return fail(&t->failure, ERR_USAGE, "--set makes a record of kind '%s', not '%.*s': %s", made, (int)kind.size,
                (const char *)kind.data, advice);
}

/* --- sending it --- */

/* A place for content: context and tag follow from it. */
struct placing {
    struct id record, patient;
    uint64_t version;
    enum confidentiality conf;
};

static enum err close_content(struct tool *t, struct buffer *attachment, struct digest *tag,
                              const struct placing *place, struct bytes content)
{
    enum err e = tool_cluster(t);
    if (e == OK) e = tool_signer(t);
    if (e == OK) e = tool_collective(t);
    if (e != OK) return e;
    struct record_context context = {.cluster = t->cluster.genesis.cluster, .patient = place->patient,
                                     .record = place->record, .version = place->version, .conf = place->conf,
                                     .author = t->signer.user};
    *tag = record_content_tag(BYTES(t->signer.secrets->tag_key), content);
    return content_close(attachment, &t->collective, &context, content, &t->failure);
}

static int submit_record(struct tool *t, enum action action, struct buffer *args, const struct buffer *attachment,
                         const struct placing *place)
{
    static const struct column columns[] = {{"record", "record", COLUMN_TEXT}, {"version", "version", COLUMN_NUMBER}};
    struct submission s = {0};
    enum purpose purpose;
    enum err e = tool_purpose(t, &purpose, PURPOSE_TREATMENT);
    if (e == OK)
        e = tool_submit(t, &s,
                        &(struct draft){.action = action,
                                        .args = buffer_bytes(args),
                                        .purpose = purpose,
                                        .attached = attachment != NULL,
                                        .attachment = attachment ? buffer_bytes(attachment) : (struct bytes){0}});
    if (e == OK)
        tool_done(t, &s, columns, 2, json_pack("{s:o, s:I}", "record", json_id(&place->record), "version",
                                               (json_int_t)place->version));
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}

/* --- create --- */

int command_record_create(struct tool *t)
{
    struct placing place = {.record = time_id(clock_wall_ms()), .version = 1, .conf = CONF_NORMAL};
    struct buffer content = {.secret = true}, attachment = {0}, encoded = {0};
    struct digest tag;
    char detected[LIMIT_NAME + 1];
    const char *kind;
    int exit_code;
    enum err e = take_confidentiality(t, &place.conf);
    if (e == OK) e = people_resolve(t, &place.patient, option_text(t->line, "patient"));
    if (e == OK) e = read_content(t, &content, detected, 0, &place.patient);
    if (e == OK) e = take_kind(t, &kind, detected);
    if (e == OK) e = check_set(t, detected, bytes_text(kind), "leave out --kind, or give the content as a file");
    if (e == OK) e = close_content(t, &attachment, &tag, &place, buffer_bytes(&content));
    if (e == OK) {
        args_record_create_encode(&encoded, &(struct args_record_create){.record = place.record,
                                                                         .patient = place.patient,
                                                                         .kind = bytes_text(kind),
                                                                         .conf = place.conf,
                                                                         .content_tag = tag});
        exit_code = submit_record(t, ACTION_RECORD_CREATE, &encoded, &attachment, &place);
    } else {
        exit_code = tool_failed(t);
    }
    secret_wipe_buffer(&content);
    buffer_free(&attachment);
    buffer_free(&encoded);
    return exit_code;
}

/* --- update --- */

static enum err parse_record(struct tool *t, struct id *record, const char *text)
{
    if (id_parse(record, text) == OK && !id_is_zero(record)) return OK;
    return fail(&t->failure, ERR_USAGE, "'%s' is no record's id (26 characters, as 'record list PATIENT' shows)", text);
}

static enum err take_base(struct tool *t, uint64_t *base)
{
    return option_number(base, t->line, "base", 0, 1, RECORD_VERSION_MAX - 1, &t->failure);
}

/* The roles that may write but not read (registrars) say themselves what they replace. */
static bool says_all(const struct tool *t)
{
    return option_given(t->line, "base") && option_given(t->line, "patient") &&
           option_given(t->line, "confidentiality");
}

static enum err conflict(struct tool *t, const struct record_row *row, uint64_t base)
{
    char author[ID_TEXT_SIZE], time[CLOCK_TEXT_SIZE];
    id_format(author, &row->author);
    clock_format(time, row->time_ms);
    return fail(&t->failure, ERR_CONFLICT, "version %llu is the latest (by %s at %s), not %llu",
                (unsigned long long)row->version, author, time, (unsigned long long)base);
}

static enum err show_change(struct tool *t, const struct record_row *row, struct bytes before, struct bytes after)
{
    struct buffer lines = {.secret = true};
    output_progress_end(&t->output);
    buffer_printf(&lines, "version %llu -> %llu:\n", (unsigned long long)row->version,
                  (unsigned long long)row->version + 1);
    difference_format(&lines, before, after);
    fwrite(lines.data, 1, lines.size, stderr);
    secret_wipe_buffer(&lines);
    return tool_confirm(t, "Record this as the new version?");
}

/* Reads the latest version, and compares. *same: nothing is to be done. */
static enum err prepare_update(struct tool *t, struct placing *place, struct buffer *content, uint64_t base, bool *same)
{
    struct reading reading = {0};
    struct buffer before = {.secret = true};
    char kind[LIMIT_NAME + 1];
    *same = false;
    enum err e = reading_ask_record(t, &reading, &place->record, 0);
    if (e == OK) e = reading_open_one(t, &reading, &before); /* until then its row is one node's word */
    if (e == OK && base && base != reading.rows[0].version) e = conflict(t, &reading.rows[0], base);
    if (e == OK) {
        place->patient = reading.rows[0].patient;
        place->version = reading.rows[0].version + 1;
        place->conf = reading.rows[0].conf;
        e = take_confidentiality(t, &place->conf);
    }
    if (e == OK) e = read_content(t, content, kind, 1, &place->patient);
    if (e == OK) e = check_set(t, kind, reading.rows[0].kind, "give its new content as a file, or make another record");
    if (e == OK)
        *same = bytes_equal(buffer_bytes(&before), buffer_bytes(content)) && place->conf == reading.rows[0].conf;
    if (e == OK && !*same && !base) e = show_change(t, &reading.rows[0], buffer_bytes(&before), buffer_bytes(content));
    secret_wipe_buffer(&before);
    reading_end(&reading);
    return e;
}

static enum err prepare_blind_update(struct tool *t, struct placing *place, struct buffer *content, uint64_t base)
{
    char kind[LIMIT_NAME + 1];
    place->version = base + 1;
    enum err e = take_confidentiality(t, &place->conf);
    if (e == OK) e = people_resolve(t, &place->patient, option_text(t->line, "patient"));
    return e == OK ? read_content(t, content, kind, 1, &place->patient) : e;
}

static int print_unchanged(struct tool *t, const struct placing *place)
{
    static const struct column columns[] = {{"record", "record", COLUMN_TEXT}, {"version", "version", COLUMN_NUMBER}};
    uint64_t version = place->version - 1;
    output_message(&t->output, "unchanged: version %llu has exactly this content", (unsigned long long)version);
    output_fields(&t->output, columns, 2, json_pack("{s:o, s:I, s:b}", "record", json_id(&place->record), "version",
                                                    (json_int_t)version, "unchanged", true));
    return EXIT_DONE;
}

int command_record_update(struct tool *t)
{
    struct placing place = {.conf = CONF_NORMAL};
    struct buffer content = {.secret = true}, attachment = {0}, encoded = {0};
    struct digest tag;
    uint64_t base;
    bool same = false;
    int exit_code = EXIT_DONE;
    enum err e = parse_record(t, &place.record, tool_operand(t, 0));
    if (e == OK) e = take_base(t, &base);
    if (e == OK)
        e = says_all(t) ? prepare_blind_update(t, &place, &content, base)
                        : prepare_update(t, &place, &content, base, &same);
    if (e == OK && !same) e = close_content(t, &attachment, &tag, &place, buffer_bytes(&content));
    if (e != OK) {
        exit_code = tool_failed(t);
    } else if (same) {
        exit_code = print_unchanged(t, &place);
    } else {
        args_record_update_encode(&encoded, &(struct args_record_update){.record = place.record,
                                                                         .patient = place.patient,
                                                                         .base_version = place.version - 1,
                                                                         .conf = place.conf,
                                                                         .content_tag = tag});
        exit_code = submit_record(t, ACTION_RECORD_UPDATE, &encoded, &attachment, &place);
    }
    secret_wipe_buffer(&content);
    buffer_free(&attachment);
    buffer_free(&encoded);
    return exit_code;
}

/* --- delete --- */

int command_record_delete(struct tool *t)
{
    struct placing place = {0};
    struct reading reading = {0};
    struct buffer encoded = {0};
    uint64_t base;
    int exit_code;
    enum err e = parse_record(t, &place.record, tool_operand(t, 0));
    if (e == OK) e = take_base(t, &base);
    if (e == OK && option_given(t->line, "patient") && base) {
        e = people_resolve(t, &place.patient, option_text(t->line, "patient"));
    } else if (e == OK) {
        e = reading_ask_record(t, &reading, &place.record, 0); /* its row only; nothing is opened */
        if (e == OK && base && base != reading.rows[0].version) e = conflict(t, &reading.rows[0], base);
        if (e == OK) place.patient = reading.rows[0].patient, base = reading.rows[0].version;
    }
    reading_end(&reading);
    if (e == OK) e = tool_confirm(t, "Delete this record? Its versions stay for those who may see its history.");
    if (e == OK) {
        place.version = base + 1;
        args_record_delete_encode(
            &encoded,
            &(struct args_record_delete){.record = place.record, .patient = place.patient, .base_version = base});
        exit_code = submit_record(t, ACTION_RECORD_DELETE, &encoded, NULL, &place);
    } else {
        exit_code = tool_failed(t);
    }
    buffer_free(&encoded);
    return exit_code;
}

/* --- copy --- */

int command_record_copy(struct tool *t)
{
    struct args_record_copy args = {.record = time_id(clock_wall_ms())};
    struct reading reading = {0};
    struct buffer content = {.secret = true}, attachment = {0}, encoded = {0};
    struct placing place = {.record = args.record, .version = 1};
    uint64_t version;
    char kind[LIMIT_NAME + 1] = "";
    const char *given;
    int exit_code;
    enum err e = parse_record(t, &args.source, tool_operand(t, 0));
    if (e == OK) e = option_number(&version, t->line, "version", 0, 1, RECORD_VERSION_MAX, &t->failure);
    if (e == OK) e = people_resolve(t, &place.patient, option_text(t->line, "patient"));
    if (e == OK) e = reading_ask_record(t, &reading, &args.source, version);
    if (e == OK) e = reading_open_one(t, &reading, &content); /* until then its row is one node's word */
    if (e == OK) {
        place.conf = reading.rows[0].conf;
        args.source_version = reading.rows[0].version;
        memcpy(kind, reading.rows[0].kind.data, reading.rows[0].kind.size);
        e = take_confidentiality(t, &place.conf);
    }
    if (e == OK) e = take_kind(t, &given, kind);
    if (e == OK) e = close_content(t, &attachment, &args.content_tag, &place, buffer_bytes(&content));
    if (e == OK) {
        args.patient = place.patient, args.kind = bytes_text(given), args.conf = place.conf;
        args_record_copy_encode(&encoded, &args);
        exit_code = submit_record(t, ACTION_RECORD_COPY, &encoded, &attachment, &place);
    } else {
        exit_code = tool_failed(t);
    }
    secret_wipe_buffer(&content);
    reading_end(&reading);
    buffer_free(&attachment);
    buffer_free(&encoded);
    return exit_code;
}
