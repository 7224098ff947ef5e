#include "cli/settings.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/environment.h"
#include "base/limits.h"
#include "base/nearest.h"
#include "cli/files.h"

#define LIMIT_CONFIG (64 * KIB)
#define PREFIX "CONSILIUM_"

static const struct row {
    const char *option, *variable, *name; /* flag, environment, configuration file; NULL: not there */
    bool is_path;
} rows[SETTINGS] = {
    [SETTING_CLUSTER] = {"cluster", PREFIX "CLUSTER", "cluster", true},
    [SETTING_IDENTITY] = {"identity", PREFIX "IDENTITY", "identity", true},
    [SETTING_VIA] = {"via", PREFIX "VIA", "via", false},
    [SETTING_TIMEOUT] = {"timeout", PREFIX "TIMEOUT", "timeout", false},
    [SETTING_PASSPHRASE_FILE] = {"passphrase-file", PREFIX "PASSPHRASE_FILE", "passphrase-file", true},
};

static void set(struct settings *s, enum setting which, const char *value, const char *origin)
{
    free(s->values[which]);
    s->values[which] = xstrdup(value);
    s->origins[which] = origin;
}

/* Paths in the file: "~/" is the home, relative ones start at the file's folder. */
static char *resolve_path(const char *value, const char *file)
{
    const char *home = getenv("HOME"), *slash = strrchr(file, '/');
    if (strncmp(value, "~/", 2) == 0 && home) return path_join(home, value + 2);
    if (value[0] == '/' || !slash) return xstrdup(value);
    char *folder = strndup(file, (size_t)(slash - file));
    CHECK(folder != NULL);
    char *path = path_join(folder, value);
    free(folder);
    return path;
}

struct reading {
    struct settings *settings;
    const char *file;
    char wrong[LIMIT_NAME]; /* an unknown name */
};

static int take_line(void *user, const char *section, const char *name, const char *value)
{
    struct reading *r = user;
    for (int i = 0; i < SETTINGS; i++) {
        if (*section || strcmp(rows[i].name, name) != 0) continue;
        char *path = rows[i].is_path ? resolve_path(value, r->file) : NULL;
        set(r->settings, (enum setting)i, path ? path : value, "the configuration file");
        free(path);
        return 1;
    }
    if (!r->wrong[0]) snprintf(r->wrong, sizeof r->wrong, "%s", name);
    return 0;
}

static enum err read_file(struct settings *s, const char *file, struct failure *failure)
{
    struct buffer text = {0};
    enum err e = file_read(&text, file, LIMIT_CONFIG, failure);
    if (e == ERR_NO_FILE) {
        buffer_free(&text);
        return OK;
    }
    buffer_append(&text, "", 1);
    struct reading r = {.settings = s, .file = file};
    int line = e == OK && !text.failed ? ini_parse_string((const char *)text.data, take_line, &r) : 0;
    buffer_free(&text);
    if (e != OK) return e;
    if (line == 0) return OK;
    const char *names[SETTINGS];
    for (int i = 0; i < SETTINGS; i++)
        names[i] = rows[i].name;
    const char *near = r.wrong[0] ? nearest(r.wrong, names, SETTINGS) : NULL;
    if (near)
        return fail(failure, ERR_SYNTAX, "%s, line %d: no setting '%s'; did you mean '%s'?", file, line, r.wrong, near);
    if (r.wrong[0]) return fail(failure, ERR_SYNTAX, "%s, line %d: no setting '%s'", file, line, r.wrong);
    return fail(failure, ERR_SYNTAX, "%s, line %d: expected 'name = value'", file, line);
}

static const char *from_environment(const char *name) { return getenv(name); }

enum err settings_load(struct settings *out, const struct command_line *line,
                       const char *(*environment)(const char *name), const char *file, struct failure *failure)
{
    static const char *const origins[SETTINGS] = {"--cluster", "--identity", "--via", "--timeout", "--passphrase-file"};
    *out = (struct settings){0};
    if (!environment) environment = from_environment;
    enum err e = file ? read_file(out, file, failure) : OK;
    for (int i = 0; e == OK && i < SETTINGS; i++) {
        const char *value = environment(rows[i].variable), *flag = option_text(line, rows[i].option);
        if (value && *value) set(out, (enum setting)i, value, rows[i].variable);
        if (flag) set(out, (enum setting)i, flag, origins[i]);
    }
    const char *timeout = out->values[SETTING_TIMEOUT];
    if (e == OK && timeout) {
        char *end;
        unsigned long seconds = strtoul(timeout, &end, 10);
        if (timeout[0] < '0' || timeout[0] > '9' || *end || seconds < 1 || seconds > 3600)
            e = fail(failure, ERR_USAGE, "%s takes whole seconds from 1 to 3600, not '%s'",
                     out->origins[SETTING_TIMEOUT], timeout);
    }
    if (e != OK) settings_free(out);
    return e;
}

void settings_check_environment(char *const *environment,
                                void (*warn)(void *data, const char *name, const char *text), void *data)
{
    const char *names[SETTINGS];
    for (int i = 0; i < SETTINGS; i++)
        names[i] = rows[i].variable + strlen(PREFIX);
    environment_check(environment, PREFIX, names, SETTINGS, warn, data);
}

void settings_free(struct settings *s)
{
    for (int i = 0; i < SETTINGS; i++)
        free(s->values[i]);
    *s = (struct settings){0};
}

uint32_t settings_timeout_ms(const struct settings *s)
{
    const char *text = s->values[SETTING_TIMEOUT];
    return text ? (uint32_t)strtoul(text, NULL, 10) * 1000 : LIMIT_REQUEST_MS;
}
