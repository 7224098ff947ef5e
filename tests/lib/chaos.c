#include "tests/lib/chaos.h"

#include <jansson.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/lib/events.h"

#define MOST 200000u      /* operations told to one client */
#define VERSIONS 2u       /* of each record, whose content is looked at on each node */
#define TIMEOUT_S 2       /* of an operation: one that hangs also hides that the others go on ... */
#define TIMEOUT_MOST_S 8  /* ... but a slow machine needs more: doubled after each that failed */

enum kind { EVENT, UPDATE, SHOW };
static const char *const actions[] = {"event.add", "record.update", "record.read"};

struct told {
    enum kind kind;
    unsigned number; /* of the event; the content */
    unsigned record; /* whose: the client's number; 0: none */
    uint64_t entry, version; /* of the ledger; of the record */
    uint64_t begun_ms, ended_ms;
};

struct client {
    atomic_uint count;
    unsigned record_index;
    char record[ID_TEXT_SIZE];
    atomic_uint content; /* of its record: acknowledged, or shown to anybody */
    atomic_uint event_tried, content_tried; /* the last numbers: who takes its place uses others, told of them or not */
    struct told told[MOST];
    atomic_bool refused;
    char refusal[300]; /* when `refused` */
};

struct chaos_shared {
    atomic_bool failed;
    char failure[2000];
    atomic_uint answered; /* chaos_readers */
    struct client clients[CHAOS_CLIENTS + 1];
};

uint64_t chaos_now_ms(void) { return clock_monotonic_ns() / 1000000; }

static uint64_t next_random(uint64_t *state) /* xorshift64*: any seed but zero */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

unsigned chaos_below(struct chaos *c, unsigned n) { return (unsigned)(next_random(&c->random) >> 33) % n; }

/* The finaliser of splitmix64 (Steele, Lea, Flood 2014), which leaves no two of them alike. */
void chaos_draw(struct chaos *c, unsigned round, unsigned step)
{
    uint64_t z = c->seed + ((uint64_t)round << 32 | step) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    c->random = z ? z : 1;
}

static void sleep_ms(unsigned ms) { usleep(ms * 1000); }

/* ---- the clients ---- */

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

static void look_for_failure(struct chaos *c)
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
    if (at == MOST) client_failed(h->c, "client %u was told too much", h->number);
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
        client_failed(h->c, "client %u was told of no entry: %.*s", h->number, (int)h->out.size, (const char *)h->out.data);
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

static void at_least(atomic_uint *value, unsigned least)
{
    unsigned now = atomic_load(value);
    while (now < least && !atomic_compare_exchange_weak(value, &now, least)) continue;
}

static void add_event(struct hand *h)
{
    struct chaos *c = h->c;
    unsigned number = atomic_fetch_add(&c->shared->clients[h->number].event_tried, 1) + 1;
    int code = testbed_cli(&c->bed, &h->out, &h->errors, "-i %s/doctor.key %s --timeout %u --json event add %s chaos c%u-%u",
                           c->bed.dir, h->via, h->patience_s, c->patient, h->number, number);
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
    at_least(&own->content, content);
    was_told(h, told);
}

static void show_record(struct hand *h, unsigned timeout_s)
{
    struct chaos *c = h->c;
    unsigned whose = 1 + (unsigned)(next_random(&h->random) >> 33) % CHAOS_CLIENTS;
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
    at_least(&other->content, shown);
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
    look_for_failure(c);
    return atomic_load(&c->shared->answered);
}

static _Noreturn void work(struct chaos *c, unsigned number)
{
    struct hand h = {.c = c, .number = number, .patience_s = c->patience_s ? c->patience_s : TIMEOUT_S,
                     .random = c->seed * 31 + number};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (number <= c->bed.n) snprintf(h.via, sizeof h.via, "--via node-%u", number);
    for (;;) {
        unsigned what = (unsigned)(next_random(&h.random) >> 33) % 10;
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
    look_for_failure(c);
}

/* ---- what they were told ---- */

unsigned chaos_acknowledged(const struct chaos *c)
{
    unsigned count = 0;
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) count += atomic_load(&c->shared->clients[i].count);
    return count;
}

const char *chaos_refusal(const struct chaos *c, unsigned client)
{
    const struct client *own = &c->shared->clients[client];
    return atomic_load(&own->refused) ? own->refusal : NULL;
}

uint64_t chaos_longest_gap(const struct chaos *c)
{
    uint64_t longest = 0;
    for (unsigned i = c->bed.n + 1; i <= CHAOS_CLIENTS; i++) {
        const struct client *own = &c->shared->clients[i];
        unsigned count = atomic_load(&own->count);
        for (unsigned j = 1; j < count; j++) {
            uint64_t gap = own->told[j].ended_ms - own->told[j - 1].ended_ms;
            if (gap > longest) longest = gap;
        }
    }
    return longest;
}

static int compare_ms(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Adds what this client's operations since then took; how many they are. */
static unsigned times_since(const struct client *own, uint64_t *ms, size_t *count, size_t room, uint64_t since_ms)
{
    unsigned found = 0;
    for (unsigned i = atomic_load(&own->count); i-- > 0 && own->told[i].begun_ms >= since_ms; found++)
        if (*count < room) ms[(*count)++] = own->told[i].ended_ms - own->told[i].begun_ms;
    return found;
}

void chaos_measure(struct chaos *c, struct chaos_times *out, unsigned each, uint64_t since_ms)
{
    static uint64_t ms[1 << 16];
    unsigned least;
    size_t count;
    do {
        sleep_ms(20);
        look_for_failure(c);
        if (chaos_now_ms() - since_ms > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: not all clients get on", (unsigned long long)c->seed);
        least = UINT_MAX;
        count = 0;
        for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
            unsigned own = times_since(&c->shared->clients[i], ms, &count, sizeof ms / sizeof ms[0], since_ms);
            if (own < least) least = own;
        }
    } while (least < each);
    qsort(ms, count, sizeof ms[0], compare_ms);
    *out = (struct chaos_times){(unsigned)count, ms[count / 2], ms[count - 1 - count / 100], ms[count - 1]};
}

/* The last thing this client was told that began at or after `since_ms`; NULL: nothing. */
static const struct told *told_since(const struct chaos *c, unsigned client, uint64_t since_ms)
{
    const struct client *own = &c->shared->clients[client];
    unsigned count = atomic_load(&own->count);
    return count && own->told[count - 1].begun_ms >= since_ms ? &own->told[count - 1] : NULL;
}

bool chaos_gone_on(struct chaos *c, unsigned nodes, uint64_t since_ms)
{
    bool all = true, any = false;
    look_for_failure(c);
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
        bool told = told_since(c, i, since_ms) != NULL;
        any = any || told;
        if (i <= c->bed.n && (nodes >> i & 1)) all = all && told;
    }
    return nodes ? all : any;
}

uint64_t chaos_went_on(struct chaos *c, unsigned nodes, const char *what, uint64_t since_ms)
{
    for (uint64_t start = chaos_now_ms(); !chaos_gone_on(c, nodes, since_ms); sleep_ms(20))
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: %s: work does not go on", (unsigned long long)c->seed, what);
    uint64_t ms = chaos_now_ms() - since_ms;
    printf("%s: goes on after %llu ms\n", what, (unsigned long long)ms);
    fflush(stdout);
    return ms;
}

uint64_t chaos_goes_on(struct chaos *c, unsigned nodes, const char *what)
{
    return chaos_went_on(c, nodes, what, chaos_now_ms());
}

/* The clients may still wait for what they asked before. */
static void probe(struct chaos *c, unsigned node, const char *what)
{
    struct buffer out = {0};
    int write = testbed_cli(&c->bed, &out, NULL, "-i %s/doctor.key --via node-%u --timeout 1 event add %s probe p%llu",
                            c->bed.dir, node, c->patient, (unsigned long long)chaos_now_ms());
    int read = testbed_cli(&c->bed, &out, NULL, "-i %s/doctor.key --via node-%u --timeout 1 record show %s", c->bed.dir,
                           node, c->shared->clients[node].record);
    if (write == 0 || read == 0)
        testbed_fail(&c->bed, "seed %llu: %s: node %u %s", (unsigned long long)c->seed, what, node,
                     write == 0 ? "acknowledged an event" : "opened a record");
    buffer_free(&out);
}

void chaos_was_silent(struct chaos *c, unsigned nodes, uint64_t since_ms, const char *what)
{
    static const char *const kinds[] = {"an event", "a new version", "a record's content"};
    unsigned probed = 0;
    look_for_failure(c);
    for (unsigned i = 1; i <= c->bed.n; i++)
        if (nodes >> i & 1 && (!probed || chaos_below(c, 2))) probed = i;
    if (probed) probe(c, probed, what);
    for (unsigned i = 1; i <= c->bed.n; i++) {
        if (!(nodes >> i & 1)) continue;
        const struct told *told = told_since(c, i, since_ms);
        if (told)
            testbed_fail(&c->bed, "seed %llu: %s: node %u acknowledged %s %u, begun after %llu ms of it",
                         (unsigned long long)c->seed, what, i, kinds[told->kind], told->number,
                         (unsigned long long)(told->begun_ms - since_ms));
    }
}

/* ---- the nodes ---- */

/* Of the row that a node tells about itself; NULL: no answer. The caller's own. */
static json_t *own_row(struct chaos *c, unsigned node, json_t **status)
{
    struct buffer out = {0};
    *status = NULL;
    int code = c->bed.pids[node] > 0
                   ? testbed_cli(&c->bed, &out, NULL, "--json --via node-%u --timeout 2 status", node) : -1;
    if (code == 0 || code == 5) /* 5: also of one who sees too few */
        *status = json_loadb((const char *)out.data, out.size, 0, NULL);
    buffer_free(&out);
    return json_array_get(json_object_get(*status, "members"), node - 1);
}

uint64_t chaos_term(struct chaos *c, unsigned node)
{
    json_t *status, *row = own_row(c, node, &status);
    uint64_t term = (uint64_t)json_integer_value(json_object_get(row, "term"));
    json_decref(status);
    return term;
}

unsigned chaos_leader(struct chaos *c, uint64_t *term)
{
    unsigned leader = 0;
    uint64_t highest = 0;
    for (unsigned node = 1; node <= c->bed.n; node++) {
        json_t *status, *row = own_row(c, node, &status);
        uint64_t its = (uint64_t)json_integer_value(json_object_get(row, "term"));
        if (its >= highest) {
            if (its > highest) leader = 0;
            highest = its;
            if (json_is_true(json_object_get(row, "leads"))) leader = node;
        }
        json_decref(status);
    }
    if (term) *term = highest;
    return leader;
}

unsigned chaos_await_leader(struct chaos *c, uint64_t *term)
{
    uint64_t start = chaos_now_ms();
    for (;;) {
        unsigned leader = chaos_leader(c, term);
        if (leader) return leader;
        look_for_failure(c);
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: nobody leads", (unsigned long long)c->seed);
        sleep_ms(100);
    }
}

static void order(const struct chaos *c, const char *path, const char *text)
{
    char beside[320];
    if (!text) {
        unlink(path);
        return;
    }
    snprintf(beside, sizeof beside, "%s~", path);
    FILE *f = fopen(beside, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0 || rename(beside, path) != 0)
        testbed_fail(&c->bed, "cannot write %s", path);
}

void chaos_order_disk(struct chaos *c, unsigned node, const char *text) { order(c, c->orders[node], text); }
void chaos_order_clock(struct chaos *c, unsigned node, const char *text) { order(c, c->clock[node], text); }

/* ---- ends of nodes ---- */

void chaos_disk_ails(struct chaos *c, unsigned node, const char *text)
{
    c->ailing |= 1u << node;
    chaos_order_disk(c, node, text);
}

/* The last words of one that can do no more. */
static bool said_why(const struct chaos *c, unsigned node)
{
    return testbed_life_has(&c->bed, node, "nothing more is acknowledged") ||
           testbed_life_has(&c->bed, node, "cannot start: ") || testbed_life_has(&c->bed, node, "the stop took longer");
}

/* It has ended: whether it may have. */
static void judge(struct chaos *c, unsigned node, int status)
{
    bool ailing = c->ailing >> node & 1, leaving = c->leaving >> node & 1;
    c->bed.pids[node] = 0;
    c->leaving &= ~(1u << node);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return;
    if (leaving && WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    if (ailing && WIFEXITED(status) && WEXITSTATUS(status) == 1 && said_why(c, node)) return;
    /* Before it serves nothing of it has begun that would have to end in order. */
    if (leaving && WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM && !testbed_life_has(&c->bed, node, "ready: "))
        return;
    testbed_fail(&c->bed, "seed %llu: node %u ended with status %d%s%s", (unsigned long long)c->seed, node, status,
                 leaving ? ", told to stop" : ", by itself", ailing ? ", its disk ailing" : "");
}

bool chaos_ended(struct chaos *c, unsigned node)
{
    int status;
    if (c->bed.pids[node] > 0 && waitpid(c->bed.pids[node], &status, WNOHANG) == c->bed.pids[node])
        judge(c, node, status);
    return c->bed.pids[node] <= 0;
}

void chaos_kill(struct chaos *c, unsigned node)
{
    int status;
    if (c->bed.pids[node] <= 0) return;
    kill(c->bed.pids[node], SIGKILL);
    if (waitpid(c->bed.pids[node], &status, 0) == c->bed.pids[node]) judge(c, node, status);
}

void chaos_stop(struct chaos *c, unsigned node)
{
    uint64_t start = chaos_now_ms();
    if (chaos_ended(c, node)) return;
    c->leaving |= 1u << node;
    kill(c->bed.pids[node], SIGTERM);
    for (; !chaos_ended(c, node); sleep_ms(10))
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: node %u does not stop", (unsigned long long)c->seed, node);
}

void chaos_heal(struct chaos *c)
{
    for (unsigned node = 1; node <= c->bed.n; node++) {
        chaos_order_disk(c, node, NULL);
        chaos_order_clock(c, node, NULL);
        testbed_signal(&c->bed, node, SIGCONT);
    }
    usleep(20000); /* who is about to die of an order does so first */
    for (unsigned node = 1; node <= c->bed.n; node++)
        if (!chaos_ended(c, node) && (c->ailing >> node & 1)) chaos_stop(c, node); /* it may be about to end itself */
    c->ailing = 0;
    testbed_start_all(&c->bed);
}

/* ---- begin and end ---- */

static void seed(struct chaos *c)
{
    const char *text = getenv("SEED");
    c->seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    if (c->seed == 0) c->seed = 1;
    c->random = c->seed;
    printf("seed %llu\n", (unsigned long long)c->seed);
    fflush(stdout);
}

static unsigned how_many(struct chaos *c, unsigned nodes)
{
    const char *text = getenv("NODES");
    unsigned drawn = chaos_below(c, 2) ? 3 : CHAOS_NODES; /* also where it isn't asked: the same choices after it */
    if (nodes != CHAOS_BY_SEED) return nodes;
    return text && (atoi(text) == 3 || atoi(text) == (int)CHAOS_NODES) ? (unsigned)atoi(text) : drawn;
}

static void make(struct chaos *c, unsigned nodes, unsigned faulty)
{
    *c = (struct chaos){0};
    seed(c);
    if (nodes == CHAOS_BY_SEED || faulty == CHAOS_BY_SEED) {
        nodes = how_many(c, nodes);
        if (faulty == CHAOS_BY_SEED) faulty = chaos_below(c, 2) && nodes > 3;
        printf("%u nodes, b = %u\n", nodes, faulty);
    }
    testbed_make_apart(&c->bed, nodes, faulty);
    c->shared = mmap(NULL, sizeof *c->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c->shared == MAP_FAILED) testbed_fail(&c->bed, "no memory");
    for (unsigned i = 1; i <= CHAOS_NODES; i++) {
        snprintf(c->orders[i], sizeof c->orders[i], "%s/node-%u.orders", c->bed.dir, i);
        snprintf(c->clock[i], sizeof c->clock[i], "%s/node-%u.clock", c->bed.dir, i);
        snprintf(c->program[i], sizeof c->program[i], "frail --orders %s", c->orders[i]);
    }
}

void chaos_start(struct chaos *c)
{
    char auditor[ID_TEXT_SIZE];
    testbed_start_all(&c->bed);
    testbed_wait_ready(&c->bed, 60);
    testbed_care(&c->bed, c->doctor, c->patient);
    testbed_user(&c->bed, "auditor", "Hospital 2", "auditor", auditor);
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++)
        testbed_record(&c->bed, c->shared->clients[i].record, c->patient, "0");
}

void chaos_prepare(struct chaos *c, unsigned nodes, unsigned faulty, bool frail)
{
    make(c, nodes, faulty);
    for (unsigned i = 1; frail && i <= CHAOS_NODES; i++) c->bed.program[i] = c->program[i];
}

void chaos_open(struct chaos *c, unsigned nodes, unsigned faulty, bool frail)
{
    chaos_prepare(c, nodes, faulty, frail);
    chaos_start(c);
}

void chaos_open_as(struct chaos *c, unsigned nodes, unsigned faulty, const char *program)
{
    make(c, nodes, faulty);
    for (unsigned i = 1; i <= CHAOS_NODES; i++) c->bed.program[i] = program;
    chaos_start(c);
}

void chaos_close(struct chaos *c)
{
    chaos_unload(c);
    testbed_end(&c->bed);
    munmap(c->shared, sizeof *c->shared);
}

/* ---- the check afterwards ---- */

/* Each acknowledged operation is the entry that its client was told of. */
static void check_entries(struct chaos *c, const struct entries *entries, unsigned node)
{
    for (unsigned number = 1; number <= CHAOS_CLIENTS; number++) {
        const struct client *client = &c->shared->clients[number];
        for (unsigned i = 0; i < atomic_load(&client->count); i++) {
            const struct told *t = &client->told[i];
            const struct entry *e = entries_at(entries, t->entry);
            char object[sizeof e->object];
            if (t->kind == EVENT) snprintf(object, sizeof object, "c%u-%u", number, t->number);
            else snprintf(object, sizeof object, "%s", c->shared->clients[t->record].record);
            if (!e || !e->approved || strcmp(e->action, actions[t->kind]) != 0 || strcmp(e->object, object) != 0)
                testbed_fail(&c->bed, "seed %llu: node %u lost %s of %s, acknowledged as entry %llu, which is %s of %s",
                             (unsigned long long)c->seed, node, actions[t->kind], object, (unsigned long long)t->entry,
                             e ? e->action : "not there", e ? e->object : "anything");
        }
    }
}

static void check_events(struct chaos *c, const struct entries *entries, unsigned node)
{
    struct events events = {0};
    events_of(&events, &c->bed, entries);
    const char *twice = events_twice(&events);
    if (twice) testbed_fail(&c->bed, "seed %llu: node %u has %s twice", (unsigned long long)c->seed, node, twice);
    events_free(&events);
}

/* What the node shows of one record, or of one version of it. */
static unsigned content_of(struct chaos *c, unsigned node, const struct client *client, uint64_t version)
{
    struct buffer out = {0};
    char option[40] = "";
    unsigned shown = 0;
    if (version) snprintf(option, sizeof option, "--version %llu", (unsigned long long)version);
    testbed_expect(&c->bed, 0, &out, "-i %s/doctor.key --via node-%u record show %s %s", c->bed.dir, node,
                   client->record, option);
    buffer_append(&out, "", 1);
    if (sscanf((const char *)out.data, "%u", &shown) != 1)
        testbed_fail(&c->bed, "seed %llu: node %u shows no number: %s", (unsigned long long)c->seed, node,
                     (const char *)out.data);
    buffer_free(&out);
    return shown;
}

/* Some of the versions that were acknowledged, which have been overtaken since: their content. */
static void check_versions(struct chaos *c, unsigned node, const struct client *client, uint64_t *random)
{
    unsigned count = atomic_load(&client->count), looked = 0;
    for (unsigned tries = 0; count && tries < 40 && looked < VERSIONS; tries++) {
        const struct told *t = &client->told[(next_random(random) >> 33) % count];
        if (t->kind != UPDATE) continue;
        unsigned shown = content_of(c, node, client, t->version);
        if (shown != t->number)
            testbed_fail(&c->bed, "seed %llu: node %u shows %u in version %llu of %s, which was acknowledged with %u",
                         (unsigned long long)c->seed, node, shown, (unsigned long long)t->version, client->record,
                         t->number);
        looked++;
    }
}

static void check_records(struct chaos *c, unsigned node)
{
    uint64_t random = c->seed + node;
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
        struct client *client = &c->shared->clients[i];
        unsigned least = atomic_load(&client->content), shown = content_of(c, node, client, 0);
        if (shown < least)
            testbed_fail(&c->bed, "seed %llu: node %u shows version %u of record %u, but %u was acknowledged",
                         (unsigned long long)c->seed, node, shown, i, least);
        at_least(&client->content, shown); /* and the next node shows no other */
        check_versions(c, node, client, &random);
    }
}

/* All are reachable, with one root. */
static bool agree(struct chaos *c)
{
    json_t *status, *row;
    size_t i;
    own_row(c, 1, &status);
    json_t *rows = json_object_get(status, "members");
    bool same = json_array_size(rows) == c->bed.n;
    json_array_foreach(rows, i, row) {
        same = same && json_is_true(json_object_get(row, "reachable")) &&
               json_equal(json_object_get(row, "root"), json_object_get(json_array_get(rows, 0), "root")) &&
               json_equal(json_object_get(row, "size"), json_object_get(json_array_get(rows, 0), "size"));
    }
    json_decref(status);
    return same;
}

bool chaos_same_root(struct chaos *c, unsigned node, unsigned as)
{
    json_t *status, *row;
    size_t i;
    bool same = false;
    own_row(c, as, &status);
    json_t *rows = json_object_get(status, "members"), *its = json_array_get(rows, node - 1);
    json_array_foreach(rows, i, row) {
        same = same || (i + 1 != node && json_is_true(json_object_get(row, "reachable")) &&
                        json_equal(json_object_get(row, "root"), json_object_get(its, "root")));
    }
    same = same && json_is_true(json_object_get(its, "reachable"));
    json_decref(status);
    return same;
}

static void await_agreement(struct chaos *c)
{
    uint64_t start = chaos_now_ms();
    while (!agree(c)) {
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: the nodes' roots do not become one", (unsigned long long)c->seed);
        sleep_ms(100);
    }
}

/* How many of these there are. */
static size_t alarms(struct chaos *c, struct buffer *out, const char *which)
{
    testbed_expect(&c->bed, 0, out, "-i %s/auditor.key --json alarm list %s", c->bed.dir, which);
    json_t *rows = json_loadb((const char *)out->data, out->size, 0, NULL);
    if (!json_is_array(rows)) testbed_fail(&c->bed, "no list of alarms: %s", (const char *)out->data);
    size_t count = json_array_size(rows);
    json_decref(rows);
    return count;
}

bool chaos_mended(struct chaos *c)
{
    struct buffer out = {0};
    bool none = alarms(c, &out, "") == 0;
    buffer_free(&out);
    return none;
}

/* An alarm may still be open, which fails the verification: chaos_check says whether it has a cause. */
static void check_ledgers(struct chaos *c, struct buffer *out)
{
    struct buffer errors = {0};
    int code = testbed_cli(&c->bed, out, &errors, "-i %s/auditor.key verify --all", c->bed.dir);
    buffer_append(out, "", 1);
    if (code != 0 && !(code == 6 && strstr((const char *)out->data, "The ledgers are right, but a node is not")))
        testbed_fail(&c->bed, "seed %llu: verify --all ends with %d:\n%s", (unsigned long long)c->seed, code,
                     (const char *)out->data);
    buffer_free(&errors);
}

static void check_on(struct chaos *c, unsigned nodes)
{
    struct entries entries = {0};
    for (unsigned node = 1; node <= c->bed.n; node++) {
        if (!(nodes >> node & 1)) continue;
        entries_read(&entries, &c->bed, node);
        check_entries(c, &entries, node);
        check_events(c, &entries, node);
        check_records(c, node);
    }
    entries_free(&entries);
}

void chaos_check_on(struct chaos *c, unsigned nodes)
{
    chaos_unload(c);
    check_on(c, nodes);
    printf("%u acknowledged, all on each of %u nodes\n", chaos_acknowledged(c), (unsigned)__builtin_popcount(nodes));
    fflush(stdout);
}

void chaos_forget(struct chaos *c)
{
    chaos_unload(c);
    for (unsigned i = 1; i <= CHAOS_CLIENTS; i++) {
        atomic_store(&c->shared->clients[i].count, 0);
        atomic_store(&c->shared->clients[i].content, 0);
    }
}

static void check(struct chaos *c)
{
    struct buffer out = {0};
    chaos_unload(c);
    chaos_heal(c);
    testbed_wait_ready(&c->bed, 60);
    await_agreement(c);
    check_on(c, CHAOS_ALL);
    check_ledgers(c, &out);
    await_agreement(c);
    printf("%u acknowledged, all on each of %u nodes; one root, and it verifies\n", chaos_acknowledged(c), c->bed.n);
    fflush(stdout);
    buffer_free(&out);
}

/* Nobody lied, and no disk was set back: whoever says so is wrong. */
void chaos_check(struct chaos *c)
{
    struct buffer out = {0};
    check(c);
    if (alarms(c, &out, "--all") > 0)
        testbed_fail(&c->bed, "seed %llu: an alarm without a cause: %s", (unsigned long long)c->seed,
                     (const char *)out.data);
    buffer_free(&out);
}

void chaos_check_mended(struct chaos *c)
{
    chaos_unload(c);
    for (uint64_t start = chaos_now_ms(); !chaos_mended(c); sleep_ms(100))
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: an alarm stays open", (unsigned long long)c->seed);
    check(c);
}
