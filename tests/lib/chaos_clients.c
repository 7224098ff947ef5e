#include "tests/lib/chaos_internal.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define TIMEOUT_S 2      /* of an operation: one that hangs also hides that the others go on ... */
#define TIMEOUT_MOST_S 8 /* ... but a slow machine needs more: doubled after each that failed */

__attribute__((format(printf, 2, 3))) static void client_failed(struct chaos *c, const char *format, ...)
{
    va_list args;
    if (!atomic_load(&c->shared->failed)) {
        va_start(args, format);
        vsnprintf(c->shared->failure, sizeof c->shared->failure, format, args);
        va_end(args);
    }
    atomic_store(&c->shared->failed, true);
    _exit(1);
}

void chaos_look_for_failure(struct chaos *c)
{
    if (atomic_load(&c->shared->failed))
        testbed_fail(&c->bed, "seed %llu: %s", (unsigned long long)c->seed, c->shared->failure);
}

struct hand { /* a client at work */
    struct chaos *c;
    unsigned number, patience_s;
    uint64_t random, begun_ms;
    char via[24];
    struct buffer out, errors;
};

static void was_told(struct hand *h, struct told told)
{
    struct client *own = &h->c->shared->clients[h->number];
    unsigned at = atomic_load(&own->count);
    if (at == TOLD_MOST) client_failed(h->c, "client %u was told too much", h->number);
    told.begun_ms = h->begun_ms;
    told.ended_ms = chaos_now_ms();
    own->told[at] = told;
    atomic_store(&own->count, at + 1);
}

/* What a command said of itself; ends the client when it names no entry. */
static json_t *answer_of(struct hand *h, struct told *told)
{
    json_t *answer = json_loadb((const char *)h->out.data, h->out.size, 0, NULL);
    told->entry = (uint64_t)json_integer_value(json_object_get(answer, "entry"));
    told->version = (uint64_t)json_integer_value(json_object_get(answer, "version"));
    if (!told->entry)
        client_failed(h->c, "client %u was told of no entry: %.*s", h->number, (int)h->out.size,
                      (const char *)h->out.data);
    return answer;
}

static bool may_be_told(const struct hand *h, int code)
{
    if (code == 6) return h->c->damaged && h->number == h->c->damaged;
    return code == 5 || code == 1 || code == 7;
}

/* Done; or unknown, not reached, or somebody's version came before: all of that is allowed. */
static bool done(struct hand *h, int code, const char *what)
{
    if (!h->c->patience_s)
        h->patience_s = code == 0 ? TIMEOUT_S : h->patience_s < TIMEOUT_MOST_S ? 2 * h->patience_s : TIMEOUT_MOST_S;
    if (code == 0) return true;
    if (!may_be_told(h, code))
        client_failed(h->c, "client %u: %s: exit %d: %s", h->number, what, code,
                      h->errors.data ? (const char *)h->errors.data : "");
    struct client *own = &h->c->shared->clients[h->number];
    if (!atomic_load(&own->refused)) {
        snprintf(own->refusal, sizeof own->refusal, "%s: exit %d: %s", what, code,
                 h->errors.data ? (const char *)h->errors.data : "");
        atomic_store(&own->refused, true);
    }
    if (chaos_now_ms() - h->begun_ms < 100) sleep_ms(100); /* its node is down */
    return false;
}

void chaos_at_least(atomic_uint *value, unsigned least)
{
    unsigned now = atomic_load(value);
    while (now < least && !atomic_compare_exchange_weak(value, &now, least)) continue;
}

static void add_event(struct hand *h)
{
    struct chaos *c = h->c;
    unsigned number = atomic_fetch_add(&c->shared->clients[h->number].event_tried, 1) + 1;
    int code = testbed_cli(&c->bed, &h->out, &h->errors,
                           "-i %s/doctor.key %s --timeout %u --json event add %s chaos c%u-%u", c->bed.dir, h->via,
                           h->patience_s, c->patient, h->number, number);
    if (!done(h, code, "event")) return;
    struct told told = {.kind = EVENT, .number = number};
    json_decref(answer_of(h, &told));
    was_told(h, told);
}

static void write_content(const struct testbed *bed, unsigned client, unsigned content, char *path, size_t size)
{
    snprintf(path, size, "%s/content-%u", bed->dir, client);
    FILE *f = fopen(path, "w");
    if (!f || fprintf(f, "%u", content) < 0 || fclose(f) != 0) testbed_fail(bed, "cannot write %s", path);
}

/* The numbers grow also where it isn't known what became of the last one: whichever comes later conflicts. */
static void update_record(struct hand *h)
{
    struct chaos *c = h->c;
    struct client *own = &c->shared->clients[h->number];
    char path[400];
    unsigned content = atomic_fetch_add(&own->content_tried, 1) + 1;
    write_content(&c->bed, h->number, content, path, sizeof path);
    int code = testbed_cli(&c->bed, &h->out, &h->errors,
                           "-i %s/doctor.key %s --timeout %u --yes --json record update %s %s", c->bed.dir, h->via,
                           h->patience_s, own->record, path);
    if (!done(h, code, "update")) return;
    struct told told = {.kind = UPDATE, .number = content, .record = h->number};
    json_decref(answer_of(h, &told));
    chaos_at_least(&own->content, content);
    was_told(h, told);
}

static void show_record(struct hand *h, unsigned timeout_s)
{
    struct chaos *c = h->c;
    unsigned whose = 1 + (unsigned)(chaos_random(&h->random) >> 33) % CHAOS_CLIENTS;
    struct client *other = &c->shared->clients[whose];
    unsigned least = atomic_load(&other->content), shown = 0;
    int code = testbed_cli(&c->bed, &h->out, &h->errors, "-i %s/doctor.key %s --timeout %u --json record show %s",
                           c->bed.dir, h->via, timeout_s, other->record);
    if (!done(h, code, "show")) return;
    struct told told = {.kind = SHOW, .record = whose};
    json_t *answer = answer_of(h, &told);
    const char *content = json_string_value(json_object_get(answer, "content"));
    if (!content || sscanf(content, "%u", &shown) != 1)
        client_failed(c, "client %u was shown no number: %.*s", h->number, (int)h->out.size, (const char *)h->out.data);
    json_decref(answer);
    told.number = shown;
    if (shown < least)
        client_failed(c, "a stale answer: client %u was shown version %u of record %u when %u was there already",
                      h->number, shown, whose, least);
    chaos_at_least(&other->content, shown);
    if (h->number) was_told(h, told);
    else atomic_fetch_add(&c->shared->answered, 1);
}

void chaos_readers(struct chaos *c, unsigned node, pid_t *pids, unsigned count)
{
    atomic_store(&c->shared->answered, 0);
    fflush(NULL);
    for (unsigned i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] < 0) testbed_fail(&c->bed, "cannot fork");
        if (pids[i] != 0) continue;
        struct hand h = {.c = c, .random = c->random + i + 1, .begun_ms = chaos_now_ms()};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        snprintf(h.via, sizeof h.via, "--via node-%u", node);
        show_record(&h, TESTBED_PATIENCE_S);
        _exit(0);
    }
}

unsigned chaos_readers_end(struct chaos *c, const pid_t *pids, unsigned count)
{
    for (unsigned i = 0; i < count; i++) waitpid(pids[i], NULL, 0);
    chaos_look_for_failure(c);
    return atomic_load(&c->shared->answered);
}

static _Noreturn void work(struct chaos *c, unsigned number)
{
    struct hand h = {.c = c, .number = number, .patience_s = c->patience_s ? c->patience_s : TIMEOUT_S,
                     .random = c->seed * 31 + number};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (number <= c->bed.n) snprintf(h.via, sizeof h.via, "--via node-%u", number);
    for (;;) {
        unsigned what = (unsigned)(chaos_random(&h.random) >> 33) % 10;
        h.begun_ms = chaos_now_ms();
        if (what < 6)
            add_event(&h);
        else if (what < 8)
            update_record(&h);
        else
            show_record(&h, h.patience_s);
        sleep_ms(c->pause_ms);
    }
}

void chaos_load(struct chaos *c)
{
    fflush(NULL);
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
        if (c->clients[i]) continue;
        c->clients[i] = fork();
        if (c->clients[i] < 0) testbed_fail(&c->bed, "cannot fork");
        if (c->clients[i] == 0) work(c, i);
    }
}

void chaos_unload(struct chaos *c)
{
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
        if (!c->clients[i]) continue;
        kill(c->clients[i], SIGKILL);
        waitpid(c->clients[i], NULL, 0);
        c->clients[i] = 0;
    }
    chaos_look_for_failure(c);
}
