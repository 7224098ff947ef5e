#include "tests/lib/thirdparty.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

bool thirdparty_build(const struct testbed *t)
{
    char command[1200];
    const char *ci = getenv("CI");
    bool have_go = system("command -v go >/dev/null") == 0 &&
                   access("/usr/share/gocode/src/golang.org/x/mod/sumdb/note/note.go", R_OK) == 0;
    if (!have_go && ci && *ci) testbed_fail(t, "golang-go and golang-golang-x-mod-dev are needed in CI");
    if (!have_go) return false;
    snprintf(command, sizeof command,
             "GO111MODULE=off GOFLAGS= GOPATH=/usr/share/gocode GOCACHE='%s/go-cache' GOTOOLCHAIN=local "
             "go build -o '%s/thirdparty' tests/go/thirdparty.go", t->dir, t->dir);
    if (system(command) != 0) testbed_fail(t, "%s failed", command);
    return true;
}

int thirdparty_run(const struct testbed *t, struct buffer *out, const char *format, ...)
{
    char words[1200], command[2200];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof words, format, args);
    va_end(args);
    snprintf(command, sizeof command, "'%s/thirdparty' %s 2>'%s/thirdparty.err'", t->dir, words, t->dir);
    FILE *f = popen(command, "r");
    if (!f) testbed_fail(t, "cannot run %s", command);
    buffer_clear(out);
    for (int c; (c = fgetc(f)) != EOF;) buffer_append(out, &(char){(char)c}, 1);
    buffer_append(out, "", 1);
    int status = pclose(f);
    if (!WIFEXITED(status)) testbed_fail(t, "%s did not exit", command);
    return WEXITSTATUS(status);
}
