#include "tests/bench/floor_internal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "crypto/dkg.h"
#include "crypto/random.h"
#include "net/certificate.h"

#define BLOCKS 24 /* measured, after WARM_UP */
#define WARM_UP 4

static const char *const part_names[FLOOR_PARTS] = {"client", "TLS", "verify", "block", "log", "apply", "commit",
                                                    "shares", "open"};

/* --- nodes --- */

/* The kit's ledger, but in a store that is sealed and synced like a node's. */
static void open_real_store(struct floor *f, struct member *m)
{
    char path[FOLDER_PATH];
    struct kit *kit = &m->kit;
    struct store_options options = {.directory = path, .tables = ledger_tables, .key = &f->key};
    options.table_count = ledger_tables_count;
    options.map_size = UINT64_C(4) << 30;
    ledger_free(kit->ledger);
    store_abort(kit->txn);
    store_close(kit->store);
    folder_join(path, m->folder, "state");
    CHECK(mkdir(path, 0700) == 0);
    CHECK(store_open(&kit->store, &options, NULL) == OK && store_begin_write(&kit->txn, kit->store) == OK);
    CHECK(ledger_create(&kit->ledger, kit->txn, buffer_bytes(&kit->genesis_text), NULL) == OK);
}

static void open_real_log(struct floor *f, struct member *m)
{
    char path[FOLDER_PATH];
    struct log_options options = {.directory = path, .name = "floor", .key = &f->key};
    folder_join(path, m->folder, "log");
    CHECK(mkdir(path, 0700) == 0);
    CHECK(log_open(&m->log, &options, NULL) == OK);
}

/* Of the polynomials that kit_activate deals: the sum of their values at this member. */
static struct scalar share_of(const struct kit *kit, unsigned member)
{
    struct scalar sum = scalar_from_uint(0), part;
    uint32_t n = kit->genesis.member_count;
    for (uint32_t i = 1; i <= n; i++) {
        struct dkg_polynomial p = {.k = kit->genesis.quorum};
        for (uint32_t j = 0; j < p.k; j++) p.coefficients[j] = scalar_from_uint(1000 * i + j + KEY_RECORDS);
        dkg_subshare(&part, &p, member);
        scalar_add(&sum, &sum, &part);
    }
    return sum;
}

static void member_open(struct floor *f, unsigned node)
{
    struct member *m = &f->members[node];
    folder_make(m->folder, 0);
    kit_open(&m->kit, f->n, f->n > 3 ? 1 : 0, (struct bytes){0});
    open_real_store(f, m);
    open_real_log(f, m);
    f->doctor = kit_add_user(&m->kit, DOCTOR, "doctor", "Hospital 1", "Doctor");
    kit_add_user(&m->kit, PATIENT, "patient", "Hospital 1", "Patient");
    kit_add_team(&m->kit, PATIENT, DOCTOR);
    kit_activate(&m->kit, KEY_RECORDS);
    m->share = share_of(&m->kit, node + 1);
    f->index = m->kit.raft_index;
    CHECK(log_compact(m->log, f->index, 1, (struct bytes){0}, (struct bytes){0}) == OK && log_sync(m->log) == OK);
}

static void member_close(struct member *m)
{
    struct kit *kit = &m->kit;
    ledger_results_free(&kit->results);
    ledger_free(kit->ledger);
    store_abort(kit->txn);
    store_close(kit->store);
    buffer_free(&kit->genesis_text);
    buffer_free(&kit->request);
    buffer_free(&kit->block);
    log_close(m->log);
    folder_remove(m->folder);
}

static void links_open(struct floor *f)
{
    struct buffer key = {0}, certificate = {0};
    CHECK(certificate_generate(&key, &certificate, "floor", NULL) == OK);
    CHECK(tls_context_new(&f->server, buffer_bytes(&key), buffer_bytes(&certificate), NULL) == OK);
    CHECK(tls_context_new(&f->client, (struct bytes){0}, (struct bytes){0}, NULL) == OK);
    floor_pair_open(&f->to_node, f);
    floor_pair_open(&f->to_peer, f);
    buffer_free(&key);
    buffer_free(&certificate);
}

static void floor_open(struct floor *f)
{
    struct epoch epoch;
    random_bytes(&f->key, sizeof f->key);
    f->members = xcalloc(f->n, sizeof *f->members);
    for (unsigned i = 0; i < f->n; i++) member_open(f, i);
    CHECK(state_epoch_get(&epoch, f->members[0].kit.txn, KEY_RECORDS, 1) == OK);
    f->collective = (struct collective){.epoch = epoch.epoch, .activation = epoch.activation, .n = f->n,
                                        .key = epoch.key};
    memcpy(f->collective.verification, epoch.verification, sizeof f->collective.verification);
    links_open(f);
}

static void floor_close(struct floor *f)
{
    for (unsigned i = 0; i < f->n; i++) member_close(&f->members[i]);
    free(f->members);
    floor_pair_close(&f->to_node);
    floor_pair_close(&f->to_peer);
    tls_context_free(f->server);
    tls_context_free(f->client);
    for (unsigned i = 0; i < BLOCK_REQUESTS; i++) {
        request_builder_free(&f->ones[i].builder);
        buffer_free(&f->ones[i].request);
        buffer_free(&f->ones[i].body);
        buffer_free(&f->ones[i].context);
    }
    buffer_free(&f->block);
    buffer_free(&f->packed);
}

/* --- measuring --- */

static struct floor *prepared(const struct floor_kind *kind)
{
    struct floor *f = xcalloc(1, sizeof *f);
    f->operations = kind->operations;
    f->bytes = kind->bytes;
    f->n = kind->nodes;
    floor_open(f);
    if (kind->work == WORK_RECORD_SHOW) floor_block(f, WORK_RECORD_CREATE);
    for (unsigned i = 0; i < WARM_UP; i++) floor_block(f, kind->work);
    return f;
}

static void done_with(struct floor *f)
{
    floor_close(f);
    free(f);
}

/* Processes that do the same on the other processors, until `stop` is closed. */
struct companions {
    unsigned count;
    int stop;
};

static _Noreturn void accompany(const struct floor_kind *kind, int ready, int stopped)
{
    struct floor *f = prepared(kind);
    struct pollfd end = {.fd = stopped, .events = POLLIN};
    CHECK(write(ready, "", 1) == 1);
    while (poll(&end, 1, 0) == 0)
        floor_block(f, kind->work);
    done_with(f);
    _exit(0);
}

static void companions_start(struct companions *c, const struct floor_kind *kind)
{
    int ready[2], stop[2];
    char byte;
    CHECK(pipe(ready) == 0 && pipe(stop) == 0);
    fflush(NULL);
    c->count = (unsigned)sysconf(_SC_NPROCESSORS_ONLN) - 1;
    for (unsigned i = 0; i < c->count; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid != 0) continue;
        close(stop[1]);
        accompany(kind, ready[1], stop[0]);
    }
    close(ready[1]);
    close(stop[0]);
    for (unsigned i = 0; i < c->count; i++)
        CHECK(read(ready[0], &byte, 1) == 1); /* none: one of them ended */
    close(ready[0]);
    c->stop = stop[1];
}

static void companions_stop(struct companions *c)
{
    int status;
    close(c->stop);
    for (unsigned i = 0; i < c->count; i++)
        CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void measure(struct floor_cost *out, struct floor *f, const struct floor_kind *kind)
{
    *out = (struct floor_cost){{0}};
    floor_restart(f);
    for (unsigned i = 0; i < BLOCKS; i++) floor_block(f, kind->work);
    for (unsigned i = 0; i < FLOOR_PARTS; i++) {
        out->us[i] = f->us[i] / ((double)BLOCKS * BLOCK_REQUESTS * kind->operations);
        out->total_us += out->us[i];
    }
}

void floor_measure(struct floor_cost *out, const struct floor_kind *kind)
{
    struct companions others;
    struct floor_cost alone;
    *out = (struct floor_cost){{0}};
    if (kind->work == WORK_LOG) return;
    struct floor *f = prepared(kind);
    companions_start(&others, kind);
    measure(out, f, kind);
    companions_stop(&others);
    measure(&alone, f, kind);
    out->alone_us = alone.total_us;
    done_with(f);
}

void floor_print_head(void)
{
    printf("%-22s", "floor, us/operation");
    for (unsigned i = 0; i < FLOOR_PARTS; i++) printf(" %8s", part_names[i]);
    printf(" %8s\n", "all");
}

void floor_print(const char *name, const struct floor_cost *cost, FILE *json)
{
    printf("%-22s", name);
    for (unsigned i = 0; i < FLOOR_PARTS; i++) printf(" %8.1f", cost->us[i]);
    printf(" %8.1f\n", cost->total_us);
    fflush(stdout);
    if (!json) return;
    fprintf(json, "{\"name\":\"floor\",\"operation\":\"%s\"", name);
    for (unsigned i = 0; i < FLOOR_PARTS; i++) fprintf(json, ",\"%s_us\":%.2f", part_names[i], cost->us[i]);
    fprintf(json, ",\"all_us\":%.2f}\n", cost->total_us);
}
