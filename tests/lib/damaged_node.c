#include "tests/lib/damaged_node.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

bool damaged_in_time(uint64_t since_ns)
{
    return clock_monotonic_ns() - since_ns < TESTBED_PATIENCE_S * UINT64_C(1000000000);
}

void damaged_open(struct damaged_node *d, struct chaos *chaos, unsigned number)
{
    *d = (struct damaged_node){.chaos = chaos, .bed = &chaos->bed, .number = number};
    snprintf(d->folder, sizeof d->folder, "%s/node-%u", chaos->bed.dir, number);
}

void damaged_close(struct damaged_node *d)
{
    buffer_free(&d->out);
    buffer_free(&d->errors);
}

bool damaged_is_set_back(const struct damaged_node *d) { return testbed_life_has(d->bed, d->number, "was set back"); }

static bool says_what_to_do(const struct damaged_node *d)
{
    return testbed_life_has(d->bed, d->number, "rebuild") ||
           testbed_life_has(d->bed, d->number, "it gets its vote back by itself");
}

/* By itself, in order and with words; or as it was told to. */
static void judge(struct damaged_node *d, int status, int told)
{
    if (told && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && told == SIGKILL) return;
    if (told && WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        testbed_fail(d->bed, "node %u died of its damage: status %d", d->number, status);
    if (!says_what_to_do(d)) testbed_fail(d->bed, "node %u stops and does not say what to do", d->number);
}

void damaged_stop(struct damaged_node *d, int number)
{
    if (d->bed->pids[d->number] > 0) judge(d, testbed_signal(d->bed, d->number, number), number);
}

bool damaged_has_ended(struct damaged_node *d)
{
    int status = 0;
    if (d->bed->pids[d->number] <= 0) return true;
    if (waitpid(d->bed->pids[d->number], &status, WNOHANG) != d->bed->pids[d->number]) return false;
    d->bed->pids[d->number] = 0;
    judge(d, status, 0);
    return true;
}

/* As another one says. */
static void its_state(struct damaged_node *d, char *to, size_t size)
{
    char path[64];
    testbed_status(d->bed, &d->out, 1);
    snprintf(path, sizeof path, "members.%u.state", d->number - 1);
    testbed_json(&d->out, path, to, size);
}

bool damaged_is_quarantined(struct damaged_node *d)
{
    char state[64];
    its_state(d, state, sizeof state);
    return strcmp(state, "quarantined") == 0 && testbed_life_has(d->bed, d->number, "QUARANTINED") &&
           says_what_to_do(d);
}

enum verdict damaged_verdict(struct damaged_node *d)
{
    char state[64];
    for (uint64_t since = clock_monotonic_ns(); damaged_in_time(since);) {
        usleep(50000);
        if (damaged_has_ended(d)) return VERDICT_REFUSED;
        if (damaged_is_quarantined(d)) return VERDICT_REFUSED;
        its_state(d, state, sizeof state);
        if (strncmp(state, "ready", 5) != 0 || !chaos_same_root(d->chaos, d->number, 1)) continue;
        return damaged_is_set_back(d) ? VERDICT_SET_BACK : VERDICT_WHOLE;
    }
    testbed_fail(d->bed, "node %u neither comes back nor says why: %s", d->number, state);
}

int damaged_consiliumd(struct damaged_node *d, const char *words)
{
    char command[900];
    snprintf(command, sizeof command, "%s/consiliumd %s --dir %s >>%s/said 2>&1", testbed_build(), words, d->folder,
             d->bed->dir);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool damaged_votes_again(struct damaged_node *d)
{
    for (uint64_t since = clock_monotonic_ns(); damaged_in_time(since); usleep(100000)) {
        if (damaged_has_ended(d) || damaged_is_quarantined(d)) return false;
        if (testbed_life_has(d->bed, d->number, "this node votes again")) return true;
    }
    testbed_fail(d->bed, "node %u does not vote again", d->number);
}

bool damaged_rebuilt(struct damaged_node *d)
{
    damaged_stop(d, SIGTERM);
    int code = damaged_consiliumd(d, "rebuild");
    if (code > 1) testbed_fail(d->bed, "rebuild: exit code %d", code);
    testbed_shell(d->bed, "rm -rf %s/state.set-aside*", d->folder);
    if (code == 1) return false; /* its log has no readable header left: a new node */
    testbed_start(d->bed, d->number);
    switch (damaged_verdict(d)) {
    case VERDICT_WHOLE: return true;
    case VERDICT_SET_BACK: return damaged_votes_again(d);
    case VERDICT_REFUSED: testbed_fail(d->bed, "a rebuilt node refuses");
    }
    return false;
}
