#include "tests/lib/foreign.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Debian's, which knows Debian's packages, whatever else is in the path. */
#define PYTHON "/usr/bin/python3"

static bool is_here(const struct testbed *t)
{
    const char *ci = getenv("CI");
    bool here = system(PYTHON " -c 'import aiosmtpd' 2>/dev/null && command -v openssl >/dev/null") == 0;
    if (!here && ci && *ci) testbed_fail(t, "python3-aiosmtpd and openssl are needed in CI");
    return here;
}

static bool read_ports(struct foreign *f, const char *folder)
{
    char path[500];
    snprintf(path, sizeof path, "%s/ports", folder);
    FILE *file = fopen(path, "r");
    bool got = file && fscanf(file, "%u %u %u", &f->starttls, &f->smtps, &f->https) == 3;
    if (file) fclose(file);
    return got;
}

static void become_server(const char *folder, const char *password, int input)
{
    char log[500];
    snprintf(log, sizeof log, "%s/server.log", folder);
    int output = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (output < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) _exit(127);
    execl(PYTHON, PYTHON, "tests/mail/server.py", folder, password, (char *)NULL);
    _exit(127);
}

bool foreign_start(struct foreign *out, const struct testbed *t, const char *folder, const char *password)
{
    int ends[2];
    *out = (struct foreign){.pipe = -1};
    if (!is_here(t)) return false;
    if (pipe2(ends, O_CLOEXEC) != 0) testbed_fail(t, "no pipe");
    out->pid = fork();
    if (out->pid == 0) become_server(folder, password, ends[0]);
    close(ends[0]);
    out->pipe = ends[1];
    for (int i = 0; i < 600 && !read_ports(out, folder) && waitpid(out->pid, NULL, WNOHANG) == 0; i++) usleep(100000);
    if (!read_ports(out, folder)) testbed_fail(t, "tests/mail/server.py does not start: see %s/server.log", folder);
    return true;
}

void foreign_stop(struct foreign *f)
{
    if (f->pid <= 0) return;
    close(f->pipe);
    waitpid(f->pid, NULL, 0);
    *f = (struct foreign){.pipe = -1};
}
