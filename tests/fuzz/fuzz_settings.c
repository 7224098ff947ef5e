/* The client's settings, from its file and its variables: any text is refused with a line that can be shown, or gives
 * values within their limits. The file ends at the first zero byte; the variables' values follow, each up to the next
 * one. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "cli/commands.h"
#include "cli/settings.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *values[SETTINGS]; /* NULL: not set */

/* In the order in which they are asked for. */
static const char *environment(const char *name)
{
    static const char *const names[SETTINGS] = {"CONSILIUM_CLUSTER", "CONSILIUM_IDENTITY", "CONSILIUM_VIA",
                                                "CONSILIUM_TIMEOUT", "CONSILIUM_PASSPHRASE_FILE"};
    for (int i = 0; i < SETTINGS; i++)
        if (strcmp(names[i], name) == 0) return values[i];
    CHECK(!"a variable that nobody knows");
    return NULL;
}

static const struct command_line *no_options(void)
{
    static struct command_line line;
    static char program[] = "consilium", command[] = "status";
    char *words[] = {program, command};
    if (!line.command) CHECK(command_line_parse(&line, COMMANDS, COMMON_OPTIONS, 2, words, NULL) == OK);
    return &line;
}

/* Returns the file's path. */
static const char *take(const char *text, size_t size)
{
    static int file = -1;
    static char path[64];
    size_t used = strlen(text);
    if (file < 0) file = memfd_create("fuzz", 0);
    CHECK(file >= 0 && ftruncate(file, 0) == 0 && pwrite(file, text, used, 0) == (ssize_t)used);
    for (int i = 0; i < SETTINGS; i++) {
        values[i] = used < size ? text + used + 1 : NULL;
        if (values[i]) used += 1 + strlen(values[i]);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings s;
    struct failure why = {0};
    char *text = xcalloc(size + 1, 1);
    memcpy(text, data, size);
    const char *path = take(text, size);
    if (settings_load(&s, no_options(), environment, path, &why) == OK) {
        uint32_t ms = settings_timeout_ms(&s);
        CHECK(ms >= 1000 && ms <= 3600000 && ms % 1000 == 0);
        for (int i = 0; i < SETTINGS; i++) {
            CHECK(!s.values[i] == !s.origins[i]);
            if (values[i] && values[i][0]) CHECK(s.values[i] && strcmp(s.values[i], values[i]) == 0);
        }
        settings_free(&s);
        fuzz_taken = true;
    } else {
        CHECK(why.text[0] && memchr(why.text, 0, sizeof why.text));
    }
    free(text);
    return 0;
}
