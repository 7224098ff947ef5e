#include "tests/bench/world.h"

#include <stdio.h>
#include <stdlib.h>

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

void world_open(struct bench_world *w, const struct testbed *t)
{
    char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];
    struct buffer out = {0};
    testbed_care(t, doctor, patient);
    open_identity(w, t);
    if (id_parse(&w->patient, patient) != OK) testbed_fail(t, "no id: %s", patient);
    w->records = xcalloc(RECORDS, sizeof *w->records);
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
