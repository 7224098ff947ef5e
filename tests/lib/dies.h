/* Does this call end the process by an assertion? Runs it in a child. */
#ifndef TESTS_LIB_DIES_H
#define TESTS_LIB_DIES_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"

static inline bool dies(void (*call)(void))
{
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        if (null >= 0) dup2(null, STDERR_FILENO);
        signal(SIGABRT, SIG_DFL); /* cmocka catches it otherwise */
        signal(SIGSEGV, SIG_DFL);
        call();
        _exit(0);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) || WEXITSTATUS(status) != 0;
}

#endif
