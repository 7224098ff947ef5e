#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/path.h"
#include "crypto/secret.h"

static enum err code_of_errno(int number)
{
    switch (number) {
    case ENOENT:
    case ENOTDIR: return ERR_NO_FILE;
    case EISDIR: return ERR_IS_FOLDER;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_PERMISSION;
    case ENOSPC:
    case EDQUOT: return ERR_FULL;
    case EEXIST: return ERR_EXISTS;
    case ENOMEM: return ERR_NOMEM;
    }
    return ERR_IO;
}

static enum err read_all(struct buffer *out, int fd, const char *name, size_t limit, struct failure *failure)
{
    uint8_t chunk[65536];
    size_t start = out->size;
    enum err e = OK;
    for (ssize_t n = 1; n != 0 && e == OK;) {
        n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            e = fail(failure, code_of_errno(errno), "cannot read %s: %s", name, path_trouble(errno));
            break;
        }
        buffer_append(out, chunk, (size_t)n);
        if (out->failed)
            e = fail(failure, ERR_NOMEM, "no memory to read %s", name);
        else if (out->size - start > limit)
            e = fail(failure, ERR_TOO_LARGE, "%s is longer than %zu bytes", name, limit);
    }
    if (out->secret) secret_wipe(chunk, sizeof chunk);
    return e;
}

static void say_waiting(const char *path)
{
    if (isatty(STDERR_FILENO)) fprintf(stderr, "consilium: waiting for somebody to write into the pipe %s\n", path);
}

enum err file_read(struct buffer *out, const char *path, size_t limit, struct failure *failure)
{
    if (strcmp(path, "-") == 0) return read_all(out, STDIN_FILENO, "standard input", limit, failure);
    int fd = path_open(path, say_waiting);
    if (fd < 0) return fail(failure, code_of_errno(errno), "cannot open %s: %s", path, path_trouble(errno));
    enum err e = read_all(out, fd, path, limit, failure);
    close(fd);
    return e;
}

static enum err write_all(int fd, struct bytes content, bool synced)
{
    for (size_t done = 0; done < content.size;) {
        ssize_t n = write(fd, content.data + done, content.size - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ERR_IO;
        done += (size_t)n;
    }
    /* EINVAL: not a file that syncs */
    return !synced || fsync(fd) == 0 || errno == EINVAL || errno == EROFS ? OK : ERR_IO;
}

/* Devices and pipes ("-o /dev/stdout") can't be replaced by renaming. */
static bool is_special(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

static enum err write_special(const char *path, struct bytes content, struct failure *failure)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return fail(failure, code_of_errno(errno), "cannot open %s: %s", path, path_trouble(errno));
    enum err e = write_all(fd, content, true);
    if (e != OK) fail(failure, e = code_of_errno(errno), "cannot write %s: %s", path, path_trouble(errno));
    close(fd);
    return e;
}

/* link(2) refuses to replace, rename(2) replaces; both in one step. */
static int put_in_place(const char *temporary, const char *path, bool fresh)
{
    if (!fresh) return rename(temporary, path);
    int result = link(temporary, path);
    int kept = errno;
    if (result == 0) unlink(temporary);
    errno = kept;
    return result;
}

static enum err write_file(const char *path, struct bytes content, unsigned mode, bool fresh, bool synced,
                           struct failure *failure)
{
    if (is_special(path) && !fresh) return write_special(path, content, failure);
    struct stat st;
    if (fresh && lstat(path, &st) == 0)
        return fail(failure, ERR_EXISTS, "%s exists already and is not overwritten", path);
    struct buffer name = {0};
    buffer_printf(&name, "%s.tmp-%ld", path, (long)getpid());
    buffer_append(&name, "", 1);
    CHECK(!name.failed);
    const char *temporary = (const char *)name.data;
    enum err e = OK;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) {
        e = fail(failure, code_of_errno(errno), "cannot make %s: %s", path, path_trouble(errno));
        goto free_name;
    }
    if (write_all(fd, content, synced) != OK)
        e = fail(failure, code_of_errno(errno), "cannot write %s: %s", path, path_trouble(errno));
    if (close(fd) != 0 && e == OK)
        e = fail(failure, code_of_errno(errno), "cannot write %s: %s", path, path_trouble(errno));
    if (e == OK && put_in_place(temporary, path, fresh) != 0)
        e = fail(failure, code_of_errno(errno), "cannot make %s: %s", path, path_trouble(errno));
    if (e != OK) unlink(temporary);
free_name:
    buffer_free(&name);
    return e;
}

enum err file_write(const char *path, struct bytes content, unsigned mode, bool fresh, struct failure *failure)
{
    return write_file(path, content, mode, fresh, true, failure);
}

enum err file_write_lazily(const char *path, struct bytes content, unsigned mode, bool fresh, struct failure *failure)
{
    return write_file(path, content, mode, fresh, false, failure);
}

enum err folder_sync(const char *path, struct failure *failure)
{
    enum err e = OK;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd) != 0)
        e = fail(failure, code_of_errno(errno), "cannot sync %s: %s", path, path_trouble(errno));
    if (fd >= 0) close(fd);
    return e;
}

enum err file_move(const char *from, const char *to, struct failure *failure)
{
    if (rename(from, to) == 0) return OK;
    return fail(failure, code_of_errno(errno), "cannot rename %s to %s: %s", from, to, path_trouble(errno));
}

enum err folder_create(const char *path, struct failure *failure)
{
    char *copy = xstrdup(path);
    enum err e = OK;
    for (char *at = copy + 1;; at++) {
        char c = *at;
        if (c != '/' && c != '\0') continue;
        *at = '\0';
        if (mkdir(copy, 0700) != 0 && errno != EEXIST) {
            e = fail(failure, code_of_errno(errno), "cannot make folder %s: %s", copy, path_trouble(errno));
            break;
        }
        *at = c;
        if (c == '\0') break;
    }
    free(copy);
    return e;
}

char *path_join(const char *folder, const char *name)
{
    size_t n = strlen(folder), m = strlen(name);
    if (n > 0 && folder[n - 1] == '/') n--;
    char *path = xmalloc(n + m + 2);
    memcpy(path, folder, n);
    path[n] = '/';
    memcpy(path + n + 1, name, m + 1);
    return path;
}

char *path_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return xstrdup(".");
    char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    CHECK(folder != NULL);
    return folder;
}

static char *home_folder(const char *variable, const char *otherwise)
{
    const char *base = getenv(variable), *home = getenv("HOME");
    if (base && base[0] == '/') return path_join(base, "consilium"); /* relative ones are ignored, as XDG says */
    if (!home || home[0] != '/') return NULL;
    char *folder = path_join(home, otherwise), *path = path_join(folder, "consilium");
    free(folder);
    return path;
}

char *config_folder(void) { return home_folder("XDG_CONFIG_HOME", ".config"); }
char *cache_folder(void) { return home_folder("XDG_CACHE_HOME", ".cache"); }
