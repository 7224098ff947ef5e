/* The node's settings from a file, and the sealed file of a key share: any bytes give
 * settings within their limits or an error in words. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "node/config.h"
#include "storage/files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(uint64_t value, uint64_t least, uint64_t most) { return value >= least && value <= most; }

static void settings(const char *path)
{
    static struct config c;
    struct failure failure = {0};
    config_defaults(&c);
    enum err e = config_read_file(&c, path, &failure);
    if (e != OK) {
        CHECK(failure.code == e && failure.text[0]);
        return;
    }
#define X(field, name, kind, word, def, least, most, what)                                               \
    if (kind == SETTING_NUMBER) CHECK(is_within(c.field.number, least, most));                     \
    if (kind == SETTING_TEXT) CHECK(memchr(c.field.text, 0, sizeof c.field.text));
    SETTING_LIST(X)
#undef X
    (void)config_check(&c, &failure);
}

static void sealed(const char *path)
{
    static const struct seal_key key;
    struct buffer plain = {0};
    CHECK(files_read_sealed(&plain, path, &key, "consilium/key-share", NULL) != OK); /* nobody has sealed it */
    buffer_free(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int file = -1;
    char path[64];
    if (file < 0) file = memfd_create("fuzz", 0);
    CHECK(file >= 0 && ftruncate(file, 0) == 0);
    if (size > 1) CHECK(pwrite(file, data + 1, size - 1, 0) == (ssize_t)(size - 1));
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    if (size && data[0] & 1)
        sealed(path);
    else
        settings(path);
    return 0;
}
