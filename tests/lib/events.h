/* What stands in one node's ledger, as the node itself shows it to auditor.key, page by page, proved: the events, by what
 * ends their object, the code by which tests tell them apart; or all entries. What isn't shown fails the test. */
#ifndef TESTS_LIB_EVENTS_H
#define TESTS_LIB_EVENTS_H

#include "tests/lib/testbed.h"

#define EVENT_CODE_SIZE 24

struct events {
    char (*codes)[EVENT_CODE_SIZE]; /* sorted */
    size_t count, room;
};

/* Replaces what was there. */
void events_read(struct events *e, const struct testbed *bed, unsigned node);
bool events_have(const struct events *e, const char *code);
const char *events_twice(const struct events *e); /* a code that is there twice; NULL: none */
void events_free(struct events *e);

struct entry {
    uint64_t index;
    bool approved;
    char action[24], object[EVENT_CODE_SIZE + ID_TEXT_SIZE]; /* the end of it, after the last space */
};

struct entries {
    struct entry *rows; /* by index */
    size_t count, room;
};

/* Replaces what was there. */
void entries_read(struct entries *e, const struct testbed *bed, unsigned node);
const struct entry *entries_at(const struct entries *e, uint64_t index); /* NULL: none */
void entries_free(struct entries *e);
void events_of(struct events *out, const struct testbed *bed, const struct entries *e); /* as events_read */

#endif
