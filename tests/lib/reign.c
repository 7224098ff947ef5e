#include "tests/lib/reign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ELECTION_MS 1000u /* consensus/raft.c: 20 ticks of 50 ms */

/* True: it is what was looked for. */
typedef bool look(void *data, unsigned node, const char *line);

static FILE *log_of(const struct testbed *t, unsigned node)
{
    char path[400];
    snprintf(path, sizeof path, "%s/node-%u.log", t->dir, node);
    return fopen(path, "r");
}

/* Through the lines of one node's log; at their end false. */
static bool each_line(const struct testbed *t, unsigned node, long from, look *is_it, void *data)
{
    char *line = NULL;
    size_t size = 0;
    bool found = false;
    FILE *f = log_of(t, node);
    if (f && fseek(f, from, SEEK_SET) == 0)
        while (!found && getline(&line, &size, f) > 0) found = is_it(data, node, line);
    free(line);
    if (f) fclose(f);
    return found;
}

void reign_mark(struct reign_mark *m, const struct testbed *t)
{
    *m = (struct reign_mark){{0}};
    for (unsigned node = 1; node <= t->n; node++) {
        FILE *f = log_of(t, node);
        if (f && fseek(f, 0, SEEK_END) == 0) m->at[node] = ftell(f);
        if (f) fclose(f);
    }
}

/* The number after these words. */
static bool number_after(const char *line, const char *words, unsigned long long *out)
{
    const char *at = strstr(line, words);
    return at && sscanf(at + strlen(words), "%llu", out) == 1;
}

struct term {
    unsigned long long term, handed_over;
    bool asked;
};

static bool leads(void *data, unsigned node, const char *line)
{
    struct term *wanted = data;
    unsigned long long term;
    (void)node;
    if (!number_after(line, "raft     leads in term ", &term) || term != wanted->term) return false;
    wanted->asked = strstr(line, "handed over") != NULL;
    return true;
}

unsigned reign_leader(const struct testbed *t, uint64_t term, bool *asked)
{
    struct term wanted = {.term = term};
    unsigned leader = 0;
    for (unsigned node = 1; node <= t->n && !leader; node++)
        if (each_line(t, node, 0, leads, &wanted)) leader = node;
    if (asked) *asked = wanted.asked;
    return leader;
}

static bool stands(void *data, unsigned node, const char *line)
{
    const struct term *wanted = data;
    unsigned long long term;
    (void)node;
    return number_after(line, "stands for election in term ", &term) && term == wanted->term &&
           strstr(line, "as the leader asked");
}

unsigned reign_heirs(const struct testbed *t, uint64_t term)
{
    struct term wanted = {.term = term};
    unsigned count = 0;
    for (unsigned node = 1; node <= t->n; node++) count += each_line(t, node, 0, stands, &wanted);
    return count;
}

static bool leaves(void *data, unsigned node, const char *line)
{
    struct term *left = data;
    (void)node;
    if (strncmp(line, "--- start", 9) == 0) *left = (struct term){0};
    number_after(line, "hands leadership over: it led in term ", &left->term);
    if (strstr(line, "leadership is handed over")) left->handed_over = left->term;
    return false;
}

uint64_t reign_left(const struct testbed *t, unsigned node, bool *handed_over)
{
    struct term left = {0};
    each_line(t, node, 0, leaves, &left);
    *handed_over = left.term && left.handed_over == left.term;
    return left.term;
}

static bool heard_none(void *data, unsigned node, const char *line)
{
    const struct term *ended = data;
    unsigned long long term, ms;
    (void)node;
    return strstr(line, "would have node ") && number_after(line, " lead in term ", &term) &&
           number_after(line, "no leader was heard for ", &ms) && term == ended->term + 1 && ms >= ELECTION_MS;
}

bool reign_had_an_end_of_its_own(const struct testbed *t, const struct reign_mark *m, uint64_t term, unsigned nodes)
{
    struct term ended = {.term = term};
    bool asked;
    if (reign_leader(t, term + 1, &asked) && asked) return true;
    for (unsigned node = 1; node <= t->n; node++)
        if (nodes >> node & 1 && each_line(t, node, m->at[node], heard_none, &ended)) return true;
    return false;
}
