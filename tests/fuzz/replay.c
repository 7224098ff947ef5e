/* Feeds a fuzz target its corpus through an ordinary main(): every file given, and every file of the folders given.
 * Fails when one is missing, and when one whose name does not begin with "bad-" is not taken (tests/lib/taken.h);
 * other folders than the project's corpora are replayed by ANY=1, which asks for nothing to be taken. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MOST (16u << 20)

static unsigned long inputs;

static bool complain(const char *path)
{
    fprintf(stderr, "replay: cannot read %s: %s\n", path, strerror(errno));
    return false;
}

/* Whether a seed of the project's was taken, or needs not be. */
static bool is_alive(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (fuzz_taken || getenv("ANY") || strncmp(slash ? slash + 1 : path, "bad-", 4) == 0) return true;
    fprintf(stderr, "replay: %s is not taken: make the seed anew, or name it bad-... if it is there to be refused\n", path);
    return false;
}

/* The input in memory of exactly its size, so that AddressSanitizer sees every byte beyond. */
static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    if (!file) return complain(path);
    uint8_t *data = NULL;
    bool done = false, alive = true;
    if (fstat(fileno(file), &info) == 0 && info.st_size <= INPUT_MOST) {
        size_t size = (size_t)info.st_size;
        data = malloc(size ? size : 1);
        if (data && fread(data, 1, size, file) == size) {
            fuzz_taken = false;
            LLVMFuzzerTestOneInput(data, size);
            inputs++;
            done = true;
            alive = is_alive(path);
        }
    } else {
        errno = EFBIG;
    }
    free(data);
    fclose(file);
    return (done || complain(path)) && alive;
}

static bool replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    bool done = folder != NULL, alive = true;
    if (!folder) return complain(path);
    for (struct dirent *entry; done && (entry = readdir(folder));) {
        char file[4096];
        if (entry->d_name[0] == '.') continue;
        done = (size_t)snprintf(file, sizeof file, "%s/%s", path, entry->d_name) < sizeof file;
        if (done) alive = replay_file(file) && alive;
    }
    closedir(folder);
    return done && alive;
}

static bool replay(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) return complain(path);
    return S_ISDIR(info.st_mode) ? replay_folder(path) : replay_file(path);
}

int main(int argc, char **argv)
{
    bool done = true;
    for (int i = 1; i < argc; i++)
        done = replay(argv[i]) && done;
    printf("%s: %lu inputs replayed\n", argv[0], inputs);
    return done ? EXIT_SUCCESS : EXIT_FAILURE;
}
