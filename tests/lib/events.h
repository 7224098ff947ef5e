/* The events in one node's ledger, by what ends their object: the code by which tests tell them apart. */
#ifndef TESTS_LIB_EVENTS_H
#define TESTS_LIB_EVENTS_H

#include "tests/lib/testbed.h"

#define EVENT_CODE_SIZE 24

struct events {
    char (*codes)[EVENT_CODE_SIZE]; /* sorted */
    size_t count, room;
};

/* As the node itself shows them to auditor.key, page by page, proved. Fails when it doesn't. Replaces what was there. */
void events_read(struct events *e, const struct testbed *bed, unsigned node);
bool events_have(const struct events *e, const char *code);
const char *events_twice(const struct events *e); /* a code that is there twice; NULL: none */
void events_free(struct events *e);

#endif
