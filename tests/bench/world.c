#include "tests/bench/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define RECORDS 300 /* to be shown */

static void open_identity(struct bench_world *w, const struct testbed *t)
{
    char path[400];
    struct failure failure = {0};
    snprintf(path, sizeof path, "%s/doctor.key", t->dir);
    if (signer_open(&w->doctor, path, NULL, &failure) != OK) testbed_fail(t, "%s", failure.text);
    if (cluster_open(&w->cluster, t->genesis, NULL, 20000, NULL, &failure) != OK) testbed_fail(t, "%s", failure.text);
    if (cluster_connect(&w->cluster, &failure) != OK) testbed_fail(t, "%s", failure.text);
    if (collective_get(&w->collective, &w->cluster, &failure) != OK) testbed_fail(t, "%s", failure.text);
}

static void make_records(struct bench_world *w, const struct testbed *t, const char *patient)
{
    struct buffer out = {0};
    char path[400], id[ID_TEXT_SIZE];
    snprintf(path, sizeof path, "%s/record", t->dir);
    FILE *f = fopen(path, "w");
    for (int i = 0; f && i < 1024; i++)
        fputc('r', f);
    if (!f || fclose(f) != 0) testbed_fail(t, "cannot write %s", path);
    for (w->record_count = 0; w->record_count < RECORDS; w->record_count++) {
        testbed_expect(t, 0, &out, "--identity %s/doctor.key --json record create --patient %s --kind note %s", t->dir,
                       patient, path);
        testbed_json(&out, "record", id, sizeof id);
        if (id_parse(&w->records[w->record_count], id) != OK) testbed_fail(t, "no id: %s", id);
    }
    buffer_free(&out);
}

/* The patient's id and the records', a line each: for the next time on a folder that stays. */
static void note_ids(const struct bench_world *w, const char *path)
{
    char id[ID_TEXT_SIZE];
    FILE *f = fopen(path, "w");
    CHECK(f);
    id_format(id, &w->patient);
    fprintf(f, "%s\n", id);
    for (size_t i = 0; i < w->record_count; i++) {
        id_format(id, &w->records[i]);
        fprintf(f, "%s\n", id);
    }
    CHECK(fclose(f) == 0);
}

static bool read_id(struct id *out, FILE *f)
{
    char line[ID_TEXT_SIZE + 1];
    if (!fgets(line, sizeof line, f)) return false;
    line[strcspn(line, "\n")] = '\0';
    return id_parse(out, line) == OK;
}

/* False: the folder has none. */
static bool find_ids(struct bench_world *w, const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f) return false;
    bool found = read_id(&w->patient, f);
    while (found && w->record_count < RECORDS && read_id(&w->records[w->record_count], f)) w->record_count++;
    fclose(f);
    return found;
}

void world_open_people(struct bench_world *w, const struct testbed *t)
{
    char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], path[400];
    snprintf(path, sizeof path, "%s/ids", t->dir);
    w->records = xcalloc(RECORDS, sizeof *w->records);
    w->record_count = 0;
    if (!find_ids(w, path)) {
        testbed_care(t, doctor, patient);
        if (id_parse(&w->patient, patient) != OK) testbed_fail(t, "no id: %s", patient);
        note_ids(w, path);
    }
    open_identity(w, t);
}

void world_open(struct bench_world *w, const struct testbed *t)
{
    char patient[ID_TEXT_SIZE], path[400];
    world_open_people(w, t);
    if (w->record_count == RECORDS) return;
    id_format(patient, &w->patient);
    make_records(w, t, patient);
    snprintf(path, sizeof path, "%s/ids", t->dir);
    note_ids(w, path);
}

void world_close(struct bench_world *w)
{
    signer_close(&w->doctor);
    cluster_close(&w->cluster);
    free(w->records);
}

double nodes_cpu_us(const struct testbed *t)
{
    double sum = 0;
    for (unsigned i = 1; i <= t->n; i++)
        sum += usage_of(t->pids[i]).cpu_us;
    return sum;
}

unsigned world_leader(const struct testbed *t)
{
    struct buffer out = {0};
    char path[32], leads[8];
    unsigned leader = 0;
    testbed_expect(t, 0, &out, "-i %s/doctor.key --json status", t->dir);
    for (unsigned i = 0; i < t->n; i++) { /* in the genesis' order, which is that of their indexes */
        snprintf(path, sizeof path, "members.%u.leads", i);
        testbed_json(&out, path, leads, sizeof leads);
        if (strcmp(leads, "true") == 0) leader = i + 1;
    }
    buffer_free(&out);
    if (!leader) testbed_fail(t, "nobody leads");
    return leader;
}
