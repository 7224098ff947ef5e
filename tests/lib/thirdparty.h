/* tests/go/thirdparty.go, built: a verifier that shares no code with ours. */
#ifndef TESTS_LIB_THIRDPARTY_H
#define TESTS_LIB_THIRDPARTY_H

#include "tests/lib/testbed.h"

/* Builds it into the testbed's folder, offline, from Debian's golang-golang-x-mod-dev. False: Go is not
 * here, which is no failure except in CI (CI is set in the environment). */
bool thirdparty_build(const struct testbed *t);
/* Runs it with these words; its exit code. What it prints goes to `out`, with a zero byte at the end. */
int thirdparty_run(const struct testbed *t, struct buffer *out, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
