/* A mail server and a webhook for the nodes of tests/lib/bed.h. */
#ifndef TESTS_LIB_SINKS_H
#define TESTS_LIB_SINKS_H

#include "tests/lib/bed.h"
#include "tests/lib/sink.h"

extern struct sink *mail, *hook;

/* After testbed_make. Their authorities are in the folder's ca.pem. */
void sinks_start(enum sink_kind mail_kind);
/* A cmocka teardown, of the cluster, too. */
int sinks_end(void **state);

#endif
