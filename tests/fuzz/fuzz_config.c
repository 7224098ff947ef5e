/* The node's small files and its environment, by the first byte: any bytes give settings within their limits, a key
 * that stands there, a password, or an error in words; nothing opens a sealed file that nobody sealed. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "node/alert_send.h"
#include "node/config.h"
#include "storage/files.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(uint64_t value, uint64_t least, uint64_t most) { return value >= least && value <= most; }

static struct config c;
static struct failure failure;

static void settings_are(enum err e)
{
    if (e != OK) {
        CHECK(failure.code == e && failure.text[0]);
        return;
    }
#define X(field, name, kind, word, def, least, most, what)                                               \
    if (kind == SETTING_NUMBER) CHECK(is_within(c.field.number, least, most));                     \
    if (kind == SETTING_TEXT) CHECK(memchr(c.field.text, 0, sizeof c.field.text));
    SETTING_LIST(X)
#undef X
    fuzz_taken = config_check(&c, &failure) == OK;
    CHECK(fuzz_taken || failure.text[0]);
}

static void settings(const char *path, struct bytes in)
{
    (void)in;
    settings_are(config_read_file(&c, path, &failure));
}

/* The first byte names the setting, the rest is its value. putenv() keeps no copy; setenv() keeps each value for ever. */
static void variable(const char *path, struct bytes in)
{
#define X(field, name, kind, word, def, least, most, what) name,
    static const char *const names[] = {SETTING_LIST(X)};
#undef X
    char name[64];
    (void)path;
    if (in.size == 0) return;
    snprintf(name, sizeof name, "CONSILIUMD_%s", names[in.data[0] % (sizeof names / sizeof names[0])]);
    for (char *at = name; *at; at++) *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    size_t start = strlen(name) + 1;
    char *both = xcalloc(start + in.size, 1);
    memcpy(both, name, start - 1);
    both[start - 1] = '=';
    memcpy(both + start, in.data + 1, in.size - 1);
    CHECK(putenv(both) == 0);
    settings_are(config_read_environment(&c, &failure));
    unsetenv(name);
    free(both);
}

static void storage_key(const char *path, struct bytes in)
{
    struct seal_key key;
    char digits[2 * sizeof key.bytes + 1];
    enum err e = storage_key_load(&key, path, &failure);
    CHECK(e == OK || (failure.code == e && failure.text[0]));
    if (e != OK) return;
    fuzz_taken = true;
    hex_format(digits, key.bytes, sizeof key.bytes);
    CHECK(in.size == sizeof digits - 1 || (in.size == sizeof digits && in.data[in.size - 1] == '\n'));
    for (size_t i = 0; i < sizeof digits - 1; i++) CHECK(tolower(in.data[i]) == digits[i]);
}

static void password(const char *path, struct bytes in)
{
    snprintf(c.alert_mail_server.text, sizeof c.alert_mail_server.text, "smtps://mail.example:465");
    snprintf(c.alert_mail_password_file.text, sizeof c.alert_mail_password_file.text, "%s", path);
    fuzz_taken = alert_files_check(&c, &failure) == OK;
    if (!fuzz_taken)
        CHECK(failure.text[0]);
    else
        CHECK(in.size && in.data[0] != '\n' && in.data[0] != '\r' && in.data[0] != 0);
}

static void sealed(const char *path, struct bytes in)
{
    static const struct seal_key key;
    (void)in;
    struct buffer plain = {0};
    CHECK(files_read_sealed(&plain, path, &key, "consilium/key-share", NULL) != OK); /* nobody has sealed it */
    buffer_free(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(const char *, struct bytes) = {settings, sealed, variable, storage_key, password};
    static int file = -1;
    char path[64];
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    if (file < 0) file = memfd_create("fuzz", 0);
    CHECK(file >= 0 && fchmod(file, 0600) == 0 && ftruncate(file, 0) == 0); /* for nobody else */
    CHECK(pwrite(file, in.data, in.size, 0) == (ssize_t)in.size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    config_defaults(&c);
    failure = (struct failure){0};
    readers[data[0] % (sizeof readers / sizeof readers[0])](path, in);
    return 0;
}
