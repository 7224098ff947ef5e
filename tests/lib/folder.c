#include "tests/lib/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

void folder_make(char out[static FOLDER_PATH], int fast)
{
    const char *base = getenv("TMPDIR");
    if (fast && access("/dev/shm", W_OK) == 0) base = "/dev/shm"; /* on a disk some tests sync for minutes */
    if (!base) base = "/tmp";
    int n = snprintf(out, FOLDER_PATH, "%s/consilium-test-XXXXXX", base);
    CHECK(n > 0 && n < FOLDER_PATH);
    CHECK(mkdtemp(out) != NULL);
}

void folder_join(char out[static FOLDER_PATH], const char *folder, const char *name)
{
    int n = snprintf(out, FOLDER_PATH, "%s/%s", folder, name);
    CHECK(n > 0 && n < FOLDER_PATH);
}

/* Calls `each` for every name but "." and "..". */
static void for_each(const char *folder, void (*each)(const char *folder, const char *name, const char *to),
                     const char *to)
{
    DIR *directory = opendir(folder);
    CHECK(directory != NULL);
    for (struct dirent *e; (e = readdir(directory)) != NULL;)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) each(folder, e->d_name, to);
    closedir(directory);
}

static void remove_one(const char *folder, const char *name, const char *to)
{
    char path[FOLDER_PATH];
    struct stat st;
    (void)to;
    folder_join(path, folder, name);
    CHECK(lstat(path, &st) == 0);
    if (S_ISDIR(st.st_mode))
        folder_remove(path);
    else
        CHECK(unlink(path) == 0);
}

void folder_remove(const char *path)
{
    for_each(path, remove_one, NULL);
    CHECK(rmdir(path) == 0);
}

static void copy_one(const char *folder, const char *name, const char *to)
{
    struct buffer content = folder_load(folder, name);
    folder_store(to, name, buffer_bytes(&content));
    buffer_free(&content);
}

void folder_copy(const char *to, const char *from) { for_each(from, copy_one, to); }

struct buffer folder_load(const char *folder, const char *name)
{
    char path[FOLDER_PATH];
    struct buffer content = {0};
    struct stat st;
    folder_join(path, folder, name);
    int file = open(path, O_RDONLY);
    CHECK(file >= 0 && fstat(file, &st) == 0);
    uint8_t *at = buffer_extend(&content, (size_t)st.st_size);
    CHECK(at != NULL && read(file, at, (size_t)st.st_size) == st.st_size);
    close(file);
    return content;
}

void folder_store(const char *folder, const char *name, struct bytes content)
{
    char path[FOLDER_PATH];
    folder_join(path, folder, name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(file >= 0 && write(file, content.data, content.size) == (ssize_t)content.size);
    close(file);
}

char test_folder[FOLDER_PATH];

int folder_setup(void **state)
{
    (void)state;
    folder_make(test_folder, 1);
    return 0;
}

int folder_teardown(void **state)
{
    (void)state;
    folder_remove(test_folder);
    return 0;
}
