/* A library that gives up with abort() says nothing, and a test that ends so once in a thousand runs leaves nothing
 * to look at: so where it was stands in the test's output, as addresses for addr2line. A failed CHECK has said its
 * place. */
#include <execinfo.h>
#include <signal.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/lib/unit.h"

const bool abort_is_traced = true;

/* abort() ends the process once this returns. */
static void on_abort(int signal_number)
{
    void *frames[64];
    (void)signal_number;
    if (!check_is_failing()) backtrace_symbols_fd(frames, backtrace(frames, 64), STDERR_FILENO);
}

__attribute__((constructor)) static void trace_aborts(void)
{
    void *frame;
    backtrace(&frame, 1); /* loads what it needs now, not in the handler */
    signal(SIGABRT, on_abort);
}
