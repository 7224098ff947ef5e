#include "base/check.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static _Atomic(void (*)(void)) on_failure;
static atomic_bool failing;

bool check_is_failing(void) { return atomic_load(&failing); }

void check_on_failure(void (*callback)(void)) { atomic_store(&on_failure, callback); }

_Noreturn void check_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "consilium: assertion failed: %s (%s:%d, %s)\n", condition, file, line, function);
    void (*callback)(void) = atomic_exchange(&on_failure, NULL);
    if (callback) callback();
    atomic_store(&failing, true);
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    CHECK(p != NULL);
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    CHECK(p != NULL);
    return p;
}

void *xrealloc(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);
    CHECK(p != NULL);
    return p;
}

char *xstrdup(const char *text)
{
    size_t n = strlen(text) + 1;
    return memcpy(xmalloc(n), text, n);
}
