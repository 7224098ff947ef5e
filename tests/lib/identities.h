/* TLS identities for tests: made once, then shared by all tests of a program. */
#ifndef TESTS_LIB_IDENTITIES_H
#define TESTS_LIB_IDENTITIES_H

#include "net/tls.h"

struct identity {
    struct buffer key, certificate;
    struct digest pin;
};

#define IDENTITIES 4
const struct identity *identity_of(unsigned number); /* 0 .. IDENTITIES - 1 */
/* A context with that identity that knows the pins of all identities but those in `without` (a bit each). */
struct tls_context *identity_context(unsigned number, unsigned without);
struct tls_context *identity_none(void); /* a client's */
void identities_free(void);

#endif
