#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *path_trouble(int number)
{
    switch (number) {
    case EISDIR: return "it is a folder, not a file";
    case ENOTDIR: return "what should be a folder in this path is a file";
    }
    return strerror(number);
}

/* A pipe without a writer has no events at all (Linux: nor a hangup, before the first one came). */
static bool wait_written(int file, int timeout_ms)
{
    struct pollfd p = {.fd = file, .events = POLLIN};
    int n;
    while ((n = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR) continue;
    return n != 0;
}

int path_open(const char *path, void (*waiting)(const char *path))
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISFIFO(st.st_mode)) return open(path, O_RDONLY | O_CLOEXEC);
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* else it would wait here, for a writer */
    if (file < 0) return -1;
    if (!wait_written(file, 1000)) {
        waiting(path);
        wait_written(file, -1);
    }
    fcntl(file, F_SETFL, 0);
    return file;
}
