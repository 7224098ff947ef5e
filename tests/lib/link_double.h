/* A client's connections without any network, for fuzz targets: doubles of the functions of cli/cluster.h. A program
 * that has them includes this in one file, and takes nothing of cli/cluster.c.
 *
 * A question is answered at once by the target's answer_question; the answers wait in line. No time passes, but each
 * connecting to whichever node takes one of the turns that there are, and with the last of them the time is up. */
#ifndef TESTS_LIB_LINK_DOUBLE_H
#define TESTS_LIB_LINK_DOUBLE_H

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/cluster.h"

#define LINK_ANSWERS 4    /* to one question */
#define LINK_TURNS 12     /* connectings */
#define LINK_QUESTIONS 300 /* more is a client that does not end */

/* What is left of this run's input: the target sets it, and takes from it what its members do. */
static struct bytes input;

static uint8_t next(void)
{
    uint8_t byte = input.size ? input.data[0] : 0;
    if (input.size) input = bytes_of(input.data + 1, input.size - 1);
    return byte;
}

static struct bytes next_bytes(void)
{
    size_t size = next();
    if (size > input.size) size = input.size;
    struct bytes out = bytes_of(input.data, size);
    if (size) input = bytes_of(input.data + size, input.size - size);
    return out;
}

/* The target's: what this member says, by link_say, link_refuse and link_break, or nothing. */
static void answer_question(uint32_t member, enum message_type type, struct bytes body);

struct link_answer {
    enum message_type type; /* MESSAGE_FAILED: `code`; 0: the connection breaks */
    enum err code;
    uint64_t retry_after_ms;
    struct buffer body;
};
static struct link_line {
    uint64_t id; /* of the question that the answers are to */
    unsigned count, taken, turns, questions;
    struct link_answer answers[LINK_ANSWERS];
    uint8_t *lent; /* the last answer's body, in memory of its size */
} link_line;

static void link_clear(void)
{
    for (unsigned i = 0; i < link_line.count; i++) buffer_free(&link_line.answers[i].body);
    link_line.count = link_line.taken = 0;
}

/* Before a run, and behind the last one. */
static void link_reset(void)
{
    link_clear();
    free(link_line.lent);
    link_line = (struct link_line){0};
}

static struct link_answer *link_add(enum message_type type)
{
    CHECK(link_line.count < LINK_ANSWERS);
    struct link_answer *a = &link_line.answers[link_line.count++];
    *a = (struct link_answer){.type = type};
    return a;
}

/* The answer's body, to be appended to. */
static struct buffer *link_say(enum message_type type) { return &link_add(type)->body; }

static void link_refuse(enum err code, uint64_t retry_after_ms)
{
    struct link_answer *a = link_add(MESSAGE_FAILED);
    a->code = code == OK ? ERR_BUSY : code; /* the decoder takes no failure that is none */
    a->retry_after_ms = retry_after_ms;
}

static void link_break(void) { link_add((enum message_type)0); }

/* --- cli/cluster.h --- */

const char *cluster_member_name(const struct cluster *c, uint32_t member)
{
    const struct descriptor *d = genesis_member(&c->genesis, member);
    return d ? d->name : "?";
}

void cluster_listen(struct cluster *c) { (void)c; }
void cluster_renew(struct cluster *c) { (void)c; }

uint64_t cluster_deadline(struct cluster *c)
{
    (void)c;
    return clock_monotonic_ns() + 2000000;
}

uint32_t cluster_left_ms(uint64_t deadline_ns)
{
    (void)deadline_ns;
    return link_line.turns < LINK_TURNS;
}

uint32_t cluster_answer_ms(const struct cluster *c)
{
    (void)c;
    return 1;
}

uint32_t cluster_patience_ms(const struct cluster *c, uint64_t deadline_ns)
{
    (void)c;
    return cluster_left_ms(deadline_ns);
}

enum err cluster_connect_to(struct cluster *c, uint32_t member, struct failure *failure)
{
    static uint8_t connection;
    (void)failure;
    link_clear();
    c->member = member;
    c->client = (struct client *)(void *)&connection; /* there is one; nobody looks into it */
    return OK;
}

enum err cluster_connect(struct cluster *c, struct failure *failure)
{
    if (c->client) return OK;
    if (link_line.turns >= LINK_TURNS) return fail(failure, ERR_UNREACHABLE, "no node answers");
    link_line.turns++;
    return cluster_connect_to(c, c->member % c->genesis.member_count + 1, failure);
}

void cluster_drop(struct cluster *c)
{
    c->client = NULL;
    link_clear();
}

enum err cluster_send(struct cluster *c, uint64_t *id, enum message_type type, struct bytes body,
                      struct failure *failure)
{
    if (!c->client) return fail(failure, ERR_CLOSED, "not connected");
    CHECK(++link_line.questions < LINK_QUESTIONS);
    link_clear();
    *id = link_line.id = ++c->next_id;
    answer_question(c->member, type, body);
    return OK;
}

enum err cluster_receive(struct cluster *c, struct frame *out, uint64_t id, uint32_t timeout_ms,
                         uint64_t *retry_after_ms, struct failure *failure)
{
    (void)timeout_ms;
    if (!c->client) return fail(failure, ERR_CLOSED, "not connected");
    if (id != link_line.id || link_line.taken == link_line.count)
        return fail(failure, ERR_TIMEOUT, "%s did not answer", cluster_member_name(c, c->member));
    struct link_answer *a = &link_line.answers[link_line.taken++];
    if (a->type == 0) {
        cluster_drop(c);
        return fail(failure, ERR_CLOSED, "the connection broke");
    }
    free(link_line.lent);
    link_line.lent = xmalloc(a->body.size);
    if (a->body.size) memcpy(link_line.lent, a->body.data, a->body.size);
    *out = (struct frame){.type = a->type, .id = id, .body = bytes_of(link_line.lent, a->body.size)};
    if (a->type != MESSAGE_FAILED) return OK;
    if (retry_after_ms) *retry_after_ms = a->retry_after_ms;
    return fail(failure, a->code, "%s says that it does not", cluster_member_name(c, c->member));
}

#endif
