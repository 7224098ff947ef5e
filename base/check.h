/* Assertions that stay on in release builds: misuse by our own code, or memory
 * that cannot be what it is, ends the process with a line that says where.
 * The world's failures are errors (base/error.h), never assertions. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <stdbool.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *condition, const char *file, int line, const char *function);

/* A function run once by check_failed before abort (for the flight recorder); NULL: none. */
void check_on_failure(void (*callback)(void));

/* An assertion has failed: the SIGABRT that comes now is its own. For handlers of that signal, as a fuzzer has one,
 * too, that writes down the input. Async-signal-safe. */
bool check_is_failing(void);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            check_failed(#condition, __FILE__, __LINE__, __func__);                                \
    } while (0)

/* Allocation that ends the process when memory is gone. For small, bounded
 * structures only; what a peer can make large is allocated fallibly. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);

#endif
