/* A node's wall clock that is wrong, for tests: linked to a tool (see the Makefile: frail) whose calls of
 * clock_wall_ms come here, so that the product has no hook for it.
 *
 * The clock is right until there is a file DIR.clock beside the node's folder (--dir DIR). It holds one line: "OFFSET
 * RATE", e.g. "-3600000 10": an hour slow when the file was written, and ten times as fast from then on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

static char orders_file[400];

uint64_t __real_clock_wall_ms(void);
uint64_t __wrap_clock_wall_ms(void);

/* Before main, which does not know of this. The C library hands main's arguments over. */
__attribute__((constructor)) static void find_orders(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--dir") == 0) snprintf(orders_file, sizeof orders_file, "%s.clock", argv[i + 1]);
}

/* Read anew at each call, as the test may write another at any time (by renaming: it is never seen half). */
uint64_t __wrap_clock_wall_ms(void)
{
    char text[80];
    struct stat s;
    long long offset;
    double rate;
    uint64_t now = __real_clock_wall_ms();
    int before = errno, file = orders_file[0] ? open(orders_file, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = file >= 0 && fstat(file, &s) == 0 ? read(file, text, sizeof text - 1) : -1;
    if (file >= 0) close(file);
    text[n > 0 ? n : 0] = '\0';
    errno = before;
    if (sscanf(text, "%lld %lf", &offset, &rate) != 2) return now;
    int64_t since = (int64_t)s.st_mtim.tv_sec * 1000 + s.st_mtim.tv_nsec / 1000000;
    double passed = (double)((int64_t)now - since) * rate;
    return (uint64_t)(since + offset + (int64_t)passed);
}
