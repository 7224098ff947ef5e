/* import: patients and their resources from FHIR bundles, as users and records.
 *
 * Ids of patients and records, and content tags, are HMACs under the importer's
 * key over what names them in the file. So a second import asks for the list of
 * the patient's records, and knows from it alone what is there, what changed, and
 * what is missing: it opens nothing, and goes on where an earlier one stopped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/import_lanes.h"
#include "cli/profile.h"
#include "ledger/arguments.h"

struct importing {
    struct tool *t;
    struct import_lanes *lanes;
    enum purpose purpose;
    bool replace;
    char hospital[LIMIT_NAME + 1]; /* the importer's own */
    json_t *patients;              /* a row for each */
    uint64_t totals[IMPORT_FATE_COUNT];
    uint32_t imported, without_patient, failed; /* files */
    uint64_t left_out;                          /* resources that were not stored for a reason that needs looking at */

    /* the file at hand */
    const char *file;
    uint32_t due, place; /* of the file, from 1 */
};

/* --- saying --- */

static void draw_progress(void *data, uint32_t finished)
{
    struct importing *im = data;
    char bar[25];
    size_t filled = im->due ? (sizeof bar - 1) * (size_t)finished / im->due : 0;
    memset(bar, '-', sizeof bar - 1);
    memset(bar, '#', filled);
    bar[sizeof bar - 1] = '\0';
    output_progress(&im->t->output, "file %u of %zu [%s] %u of %u records", im->place, im->t->line->operand_count, bar,
                    finished, im->due);
}

/* Why a resource of the file was not stored. */
static void say_left_out(struct importing *im, const struct fhir_bundle *b, const struct import_item *item)
{
    const struct fhir_entry *entry = &b->entries[item->entry], *first = &b->entries[entry->first];
    char why[200] = "";
    if (item->fate == IMPORT_TOO_LARGE)
        snprintf(why, sizeof why, "it is larger than a record holds (%u bytes); not stored: split it", LIMIT_RECORD);
    else if (item->fate == IMPORT_FOREIGN)
        snprintf(why, sizeof why, "it is about %.80s, not about this patient; not stored: correct the file",
                 entry->subject);
    else if (item->fate == IMPORT_REPEATED)
        snprintf(why, sizeof why, "the one at line %u has the same id, but other content; not stored", first->line);
    if (!*why) return;
    im->left_out++;
    output_message(&im->t->output, "%s: line %u: %s %s: %s", im->file, entry->line, entry->type,
                   entry->id ? entry->id : "", why);
}

/* --- the importer --- */

static enum err find_hospital(struct importing *im)
{
    struct tool *t = im->t;
    struct submission s = {0};
    struct user_row row;
    enum err e = profile_ask(t, &s, &row);
    if (e == OK && row.hospital.size == 0)
        e = fail(&t->failure, ERR_DENIED, "you belong to no hospital; patients are imported by a registrar of theirs");
    if (e == OK)
        snprintf(im->hospital, sizeof im->hospital, "%.*s", (int)row.hospital.size, (const char *)row.hospital.data);
    submission_free(&s);
    return e;
}

/* --- the patient --- */

/* The row of a user in `answer`, if the cluster shows one. */
static enum err read_user(struct tool *t, bool *found, struct user_row *row, const struct submission *s)
{
    struct answer answer;
    enum err e = answer_open(&answer, buffer_bytes(&s->outcomes[0].answer), 1);
    *found = e == OK && answer.count > 0;
    if (*found) user_row_read(row, &answer.rows);
    if (*found) e = answer.rows.error;
    return e == OK ? OK : fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
}

static enum err check_registered(struct importing *im, const struct user_row *row, const struct fhir_patient *patient)
{
    struct tool *t = im->t;
    if (!bytes_equal(row->role, bytes_text("patient")))
        return fail(&t->failure, ERR_CONFLICT, "%s: its patient is registered as a %.*s", im->file, (int)row->role.size,
                    (const char *)row->role.data);
    if (row->has_person && row->person.name.size && !bytes_equal(row->person.name, bytes_text(patient->name)))
        output_message(&t->output, "%s: the patient is %s there and registered as %.*s; if that is the same person, "
                                   "correct the one with 'user update'", im->file, patient->name,
                       (int)row->person.name.size, (const char *)row->person.name.data);
    return OK;
}

static enum err find_patient(struct importing *im, bool *found, const struct id *id, const struct fhir_patient *patient)
{
    struct buffer args = {0};
    struct submission s = {0};
    struct user_row row;
    args_user_search_encode(&args, &(struct args_user_search){.user = *id, .limit = 1});
    enum err e = tool_submit(im->t, &s, &(struct draft){.action = ACTION_USER_SEARCH, .args = buffer_bytes(&args),
                                                        .purpose = PURPOSE_OPERATIONS});
    if (e == OK) e = read_user(im->t, found, &row, &s);
    if (e == OK && *found) e = check_registered(im, &row, patient);
    buffer_free(&args);
    submission_free(&s);
    return e;
}

static enum err create_patient(struct importing *im, const struct id *id, const struct fhir_patient *patient)
{
    struct buffer args = {0}, attachment = {0};
    struct submission s = {0};
    struct person person = {.name = bytes_text(patient->name), .address = bytes_text(patient->address),
                            .hospital_number = bytes_text(patient->number)};
    args_user_create_encode(&args, &(struct args_user_create){.user = *id, .hospital = bytes_text(im->hospital),
                                                              .role = bytes_text("patient")});
    person_encode(&attachment, &person);
    enum err e = args.failed || attachment.failed ? fail(&im->t->failure, ERR_NOMEM, "no memory for the patient") : OK;
    if (e == OK)
        e = tool_submit(im->t, &s, &(struct draft){.action = ACTION_USER_CREATE, .args = buffer_bytes(&args),
                                                   .purpose = im->purpose, .attached = true,
                                                   .attachment = buffer_bytes(&attachment)});
    buffer_free(&args);
    buffer_free(&attachment);
    submission_free(&s);
    return e;
}

/* --- records that are there --- */

static enum err add_page(struct tool *t, struct import_known *known, const struct submission *s, struct buffer *cursor)
{
    struct answer answer;
    enum err e = answer_open(&answer, buffer_bytes(&s->outcomes[0].answer), LIMIT_ROWS);
    for (uint32_t i = 0; e == OK && i < answer.count; i++) {
        struct list_row row;
        list_row_read(&row, &answer.rows);
        e = answer.rows.error;
        if (e == OK) e = import_known_add(known, &row);
    }
    if (e == OK && !answer_goes_on(&answer, buffer_bytes(cursor), s->outcomes[0].index)) e = ERR_MALFORMED;
    buffer_clear(cursor);
    if (e == OK) buffer_append_bytes(cursor, answer.cursor);
    return e == OK ? OK : fail(&t->failure, e, "the node's answer can't be read: %s", err_text(e));
}

static enum err list_records(struct importing *im, struct import_known *known, const struct id *patient)
{
    struct buffer cursor = {0}, args = {0};
    enum err e;
    do {
        struct submission s = {0};
        buffer_clear(&args);
        args_record_list_encode(&args, &(struct args_record_list){.patient = *patient, .cursor = buffer_bytes(&cursor),
                                                                  .limit = LIMIT_ROWS});
        e = tool_submit(im->t, &s, &(struct draft){.action = ACTION_RECORD_LIST, .args = buffer_bytes(&args),
                                                   .purpose = im->purpose});
        if (e == OK) e = add_page(im->t, known, &s, &cursor);
        submission_free(&s);
    } while (e == OK && cursor.size > 0);
    buffer_free(&args);
    buffer_free(&cursor);
    return e;
}

/* --- one bundle --- */

static void add_row(struct importing *im, const struct id *id, const struct fhir_patient *patient, bool registered,
                    const uint32_t done[static IMPORT_FATE_COUNT])
{
    uint32_t kept = done[IMPORT_CHANGED_HERE] + done[IMPORT_DELETED_HERE];
    uint32_t skipped = done[IMPORT_TOO_LARGE] + done[IMPORT_FOREIGN] + done[IMPORT_REPEATED];
    json_t *row = json_pack("{s:o, s:o, s:o, s:b, s:i, s:i, s:i, s:i, s:i}", "id", json_id(id), "name",
                            json_text(bytes_text(patient->name)), "file", json_text(bytes_text(im->file)), "registered",
                            registered, "created", (int)done[IMPORT_CREATE], "updated", (int)done[IMPORT_UPDATE],
                            "unchanged", (int)done[IMPORT_UNCHANGED], "kept", (int)kept, "skipped", (int)skipped);
    CHECK(row != NULL);
    json_array_append_new(im->patients, row);
    for (int i = 0; i < IMPORT_FATE_COUNT; i++) im->totals[i] += done[i];
}

static enum err import_records(struct importing *im, const struct fhir_bundle *bundle, const struct import_plan *plan,
                               const struct id *id, uint32_t done[static IMPORT_FATE_COUNT])
{
    for (uint32_t i = 0; i < plan->count; i++) say_left_out(im, bundle, &plan->items[i]);
    for (int i = 0; i < IMPORT_FATE_COUNT; i++)
        if (i != IMPORT_CREATE && i != IMPORT_UPDATE) done[i] = plan->fates[i];
    im->due = plan->fates[IMPORT_CREATE] + plan->fates[IMPORT_UPDATE];
    return import_lanes_run(im->lanes, bundle, plan, id, done, draw_progress, im);
}

static enum err import_patient(struct importing *im, const struct fhir_bundle *bundle,
                               const struct fhir_patient *patient)
{
    struct tool *t = im->t;
    struct bytes tag_key = BYTES(t->signer.secrets->tag_key);
    struct id id = import_patient_id(tag_key, patient->source);
    struct import_known known = {0};
    struct import_plan plan = {0};
    uint32_t done[IMPORT_FATE_COUNT] = {0};
    bool found = false;
    enum err e = find_patient(im, &found, &id, patient);
    if (e == OK) e = found ? list_records(im, &known, &id) : create_patient(im, &id, patient);
    if (e == OK && import_plan_make(&plan, bundle, &known, tag_key, &id, &t->signer.user, im->replace) != OK)
        e = fail(&t->failure, ERR_NOMEM, "no memory for the records of %s", im->file);
    if (e == OK) {
        e = import_records(im, bundle, &plan, &id, done);
        add_row(im, &id, patient, !found, done); /* also of an import that was cut off */
    }
    import_plan_free(&plan);
    import_known_free(&known);
    return e;
}

/* A file that can't be imported doesn't keep the others from it. */
static void file_failed(struct importing *im, const struct failure *why)
{
    im->failed++;
    output_message(&im->t->output, "%s: %s; nothing of it was imported", im->file, why->text);
}

static enum err import_bundle(struct importing *im, const struct fhir_bundle *bundle)
{
    struct fhir_patient patient;
    struct failure why = {0};
    if (bundle->patients == 0) {
        im->without_patient++;
        output_message(&im->t->output, "%s: no Patient among its %u resources; passed by", im->file, bundle->count);
        return OK;
    }
    enum err e = OK;
    if (bundle->patients > 1)
        e = fail(&why, ERR_INVALID, "it holds %u patients; make a bundle for each", bundle->patients);
    if (e == OK) e = fhir_patient_read(&patient, &bundle->entries[bundle->patient], &why);
    if (e != OK) {
        file_failed(im, &why);
        return OK;
    }
    if (bundle->empty)
        output_message(&im->t->output, "%s: %u entries without a resource (deletions, perhaps) were passed by",
                       im->file, bundle->empty);
    e = import_patient(im, bundle, &patient);
    if (e == OK) im->imported++;
    fhir_patient_free(&patient);
    return e;
}

static enum err import_file(struct importing *im)
{
    struct buffer text = {0};
    struct fhir_bundle bundle = {0};
    struct failure why = {0};
    output_progress(&im->t->output, "file %u of %zu: reading ...", im->place, im->t->line->operand_count);
    enum err e = file_read(&text, im->file, LIMIT_BUNDLE, &why);
    if (e != OK) {
        im->failed++;
        output_message(&im->t->output, "%s; nothing of it was imported", why.text);
        e = OK;
    } else if (fhir_bundle_read(&bundle, buffer_bytes(&text), &why) != OK) {
        file_failed(im, &why);
    } else {
        e = import_bundle(im, &bundle);
    }
    fhir_bundle_free(&bundle);
    buffer_free(&text);
    return e;
}

/* --- the report --- */

static json_t *report_json(const struct importing *im)
{
    const uint64_t *n = im->totals;
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:O}", "created", (json_int_t)n[IMPORT_CREATE],
                          "updated", (json_int_t)n[IMPORT_UPDATE], "unchanged", (json_int_t)n[IMPORT_UNCHANGED], "kept",
                          (json_int_t)n[IMPORT_CHANGED_HERE], "deleted", (json_int_t)n[IMPORT_DELETED_HERE], "skipped",
                          (json_int_t)im->left_out, "files_failed", (int)im->failed, "files_without_patient",
                          (int)im->without_patient, "patients", im->patients);
    CHECK(o != NULL);
    return o;
}

static void print_report(struct importing *im)
{
    static const struct column columns[] = {
        {"id", "PATIENT", COLUMN_TEXT},        {"name", "NAME", COLUMN_TEXT},
        {"created", "CREATED", COLUMN_NUMBER},
        {"updated", "UPDATED", COLUMN_NUMBER}, {"unchanged", "UNCHANGED", COLUMN_NUMBER},
        {"kept", "KEPT", COLUMN_NUMBER},
        {"skipped", "SKIPPED", COLUMN_NUMBER}};
    const uint64_t *n = im->totals;
    struct tool *t = im->t;
    if (t->output.json) {
        output_json(&t->output, report_json(im));
        return;
    }
    output_rows(&t->output, columns, sizeof columns / sizeof columns[0], json_incref(im->patients), NULL);
    printf("%llu created, ", (unsigned long long)n[IMPORT_CREATE]);
    if (n[IMPORT_UPDATE]) printf("%llu updated, ", (unsigned long long)n[IMPORT_UPDATE]);
    printf("%llu unchanged", (unsigned long long)n[IMPORT_UNCHANGED]);
    if (n[IMPORT_CHANGED_HERE])
        printf(", %llu kept as others changed them here", (unsigned long long)n[IMPORT_CHANGED_HERE]);
    if (n[IMPORT_DELETED_HERE]) printf(", %llu deleted here", (unsigned long long)n[IMPORT_DELETED_HERE]);
    if (im->left_out) printf(", %llu skipped", (unsigned long long)im->left_out);
    putchar('\n');
}

static enum err prepare(struct importing *im)
{
    struct tool *t = im->t;
    enum err e = tool_purpose(t, &im->purpose, PURPOSE_TREATMENT);
    im->replace = option_given(t->line, "replace");
    if (e == OK) e = tool_cluster(t);
    t->cluster.one_deadline = false; /* as long as there are files; each request has the time-out */
    if (e == OK) e = tool_signer(t);
    if (e == OK) e = find_hospital(im);
    if (e == OK) e = tool_collective(t);
    return e == OK ? import_lanes_open(&im->lanes, t, im->purpose) : e;
}

int command_import(struct tool *t)
{
    struct importing im = {.t = t, .patients = json_array()};
    enum err e = prepare(&im);
    for (size_t i = 0; e == OK && i < t->line->operand_count; i++) {
        im.file = tool_operand(t, i);
        im.place = (uint32_t)i + 1;
        e = import_file(&im);
    }
    import_lanes_close(im.lanes);
    bool began = json_array_size(im.patients) > 0 || im.without_patient + im.failed > 0;
    if (e == OK || began) print_report(&im);
    json_decref(im.patients);
    int code = im.failed || im.left_out || im.imported == 0 ? EXIT_FAILED : EXIT_DONE;
    if (e == OK) return code;
    code = tool_failed(t);
    if (began && code != EXIT_DENIED)
        output_message(&t->output, "the import stopped in %s; the same command goes on where it stopped", im.file);
    return code;
}
