/* cmocka with the headers it wants before it. Its macro `fail` would break
 * base/error.h's function: here it is fail_test(). */
#ifndef TESTS_LIB_UNIT_H
#define TESTS_LIB_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#undef fail
#define fail_test() _fail(__FILE__, __LINE__)
#undef fail_msg
#define fail_msg(...)                                                                              \
    do {                                                                                           \
        print_error(__VA_ARGS__);                                                                  \
        print_error("\n");                                                                         \
        fail_test();                                                                               \
    } while (0)

/* Links tests/lib/abort_trace.c to each program of tests. */
extern const bool abort_is_traced;
static const bool *const unit_aborts __attribute__((used)) = &abort_is_traced;

#endif
