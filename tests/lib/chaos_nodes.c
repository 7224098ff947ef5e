#include "tests/lib/chaos_internal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

json_t *chaos_status_row(struct chaos *c, unsigned node, json_t **status)
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
    json_t *status, *row = chaos_status_row(c, node, &status);
    uint64_t term = (uint64_t)json_integer_value(json_object_get(row, "term"));
    json_decref(status);
    return term;
}

unsigned chaos_leader(struct chaos *c, uint64_t *term)
{
    unsigned leader = 0;
    uint64_t highest = 0;
    for (unsigned node = 1; node <= c->bed.n; node++) {
        json_t *status, *row = chaos_status_row(c, node, &status);
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
        chaos_look_for_failure(c);
        if (chaos_now_ms() - start > TESTBED_PATIENCE_S * 1000)
            testbed_fail(&c->bed, "seed %llu: nobody leads", (unsigned long long)c->seed);
        sleep_ms(100);
    }
}

bool chaos_same_root(struct chaos *c, unsigned node, unsigned as)
{
    json_t *status, *row;
    size_t i;
    bool same = false;
    chaos_status_row(c, as, &status);
    json_t *rows = json_object_get(status, "members"), *its = json_array_get(rows, node - 1);
    json_array_foreach(rows, i, row) {
        same = same || (i + 1 != node && json_is_true(json_object_get(row, "reachable")) &&
                        json_equal(json_object_get(row, "root"), json_object_get(its, "root")));
    }
    same = same && json_is_true(json_object_get(its, "reachable"));
    json_decref(status);
    return same;
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
