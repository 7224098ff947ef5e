#include "node/config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/environment.h"
#include "node/alert_send.h"
#include "storage/files.h"

struct setting {
    const char *name;
    enum setting_kind kind;
    size_t offset;
    const char *word;  /* for its value, in --help */
    const char *value; /* default */
    uint64_t least, most;
    const char *what;
};

static const struct setting settings[] = {
#define X(field, name, kind, word, def, least, most, what)                                         \
    {name, kind, offsetof(struct config, field), word, def, least, most, what},
    SETTING_LIST(X)
#undef X
};
#define COUNT (sizeof settings / sizeof settings[0])

static const struct setting *find(const char *name, size_t length)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strlen(settings[i].name) == length && memcmp(settings[i].name, name, length) == 0)
            return &settings[i];
    return NULL;
}

static enum err set_number(union setting_value *v, const struct setting *s, const char *text, struct failure *failure)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    bool digits = isdigit((unsigned char)text[0]); /* strtoull also takes spaces and signs */
    if (!digits || errno || *end || n < s->least || n > s->most)
        return fail(failure, ERR_INVALID, "%s = \"%s\" is not a number from %llu to %llu", s->name, text,
                    (unsigned long long)s->least, (unsigned long long)s->most);
    v->number = n;
    return OK;
}

static enum err set_flag(union setting_value *v, const struct setting *s, const char *text, struct failure *failure)
{
    bool yes = strcmp(text, "yes") == 0, no = strcmp(text, "no") == 0;
    if (!yes && !no)
        return fail(failure, ERR_INVALID, "%s = \"%s\" must be yes or no", s->name, text);
    v->flag = yes;
    return OK;
}

static enum err set(struct config *c, const struct setting *s, const char *text, struct failure *failure)
{
    union setting_value *v = (union setting_value *)((char *)c + s->offset);
    switch (s->kind) {
    case SETTING_TEXT:
        if (strlen(text) >= SETTING_TEXT_SIZE)
            return fail(failure, ERR_INVALID, "%s is longer than %d bytes", s->name, SETTING_TEXT_SIZE - 1);
        strcpy(v->text, text);
        return OK;
    case SETTING_NUMBER: return set_number(v, s, text, failure);
    case SETTING_FLAG: return set_flag(v, s, text, failure);
    }
    return ERR_INVALID;
}

/* `from` says where the value stands, for the error's text. */
static enum err set_from(struct config *c, const struct setting *s, const char *text, const char *from,
                         struct failure *failure)
{
    struct failure why = {0};
    enum err e = set(c, s, text, &why);
    return e == OK ? OK : fail(failure, e, "%s: %s", from, why.text);
}

void config_defaults(struct config *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < COUNT; i++)
        set(c, &settings[i], settings[i].value, NULL);
}

struct reading {
    struct config *c;
    bool taken[COUNT];
    struct failure why; /* of the first wrong line */
};

/* inih's handler: 0 stops with this line's number (ini_parse's result). */
static int take_line(void *data, const char *section, const char *name, const char *value)
{
    struct reading *r = data;
    const struct setting *s = find(name, strlen(name));
    if (r->why.code != OK) return 0; /* inih may go on */
    if (section[0])
        return fail(&r->why, ERR_SYNTAX, "section [%s]: settings stand without sections", section) == OK;
    if (!s) return fail(&r->why, ERR_SYNTAX, "no setting is called \"%s\"; see configs/consiliumd.conf", name) == OK;
    /* Also the next line of a value that goes on, indented: inih hands it over as another value. */
    if (r->taken[s - settings])
        return fail(&r->why, ERR_SYNTAX, "%s has a value already: give it once, on one line", s->name) == OK;
    r->taken[s - settings] = true;
    return set(r->c, s, value, &r->why) == OK;
}

#define CONFIG_FILE_MAX (1024 * 1024)

enum err config_read_file(struct config *c, const char *path, struct failure *failure)
{
    struct config read = *c; /* nothing changes unless the whole file is right */
    struct reading r = {.c = &read};
    struct buffer text = {0};
    /* inih takes what can't be read, a folder even, for the file's end: it gets the whole text, or none. */
    enum err e = files_read(&text, path, CONFIG_FILE_MAX, failure);
    if (e == OK && text.size && memchr(text.data, 0, text.size))
        e = fail(failure, ERR_SYNTAX, "%s is not a text file", path);
    buffer_append(&text, "", 1);
    int line = e == OK ? ini_parse_string((const char *)text.data, take_line, &r) : 0;
    buffer_free(&text);
    if (e != OK) return e;
    if (r.why.code != OK) return fail(failure, r.why.code, "%s:%d: %s", path, line, r.why.text);
    if (line != 0)
        return fail(failure, ERR_SYNTAX, "%s:%d: expected \"name = value\" in less than %d characters", path, line,
                    INI_MAX_LINE - 1);
    *c = read;
    return OK;
}

#define PREFIX "CONSILIUMD_"

/* CONSILIUMD_LOG_LEVEL of log-level. */
static void variable_of(char name[static ENVIRONMENT_NAME], const struct setting *s)
{
    int n = snprintf(name, ENVIRONMENT_NAME, PREFIX "%s", s->name);
    for (int j = 0; j < n; j++)
        name[j] = name[j] == '-' ? '_' : (char)toupper((unsigned char)name[j]);
}

void config_check_environment(char *const *environment,
                              void (*warn)(void *data, const char *name, const char *text), void *data)
{
    char variables[COUNT][ENVIRONMENT_NAME];
    const char *names[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        variable_of(variables[i], &settings[i]);
        names[i] = variables[i] + strlen(PREFIX);
    }
    environment_check(environment, PREFIX, names, COUNT, warn, data);
}

enum err config_read_environment(struct config *c, struct failure *failure)
{
    for (size_t i = 0; i < COUNT; i++) {
        char name[ENVIRONMENT_NAME];
        variable_of(name, &settings[i]);
        const char *value = getenv(name);
        if (!value) continue;
        enum err e = set_from(c, &settings[i], value, name, failure);
        if (e != OK) return e;
    }
    return OK;
}

enum err config_take_argument(struct config *c, int count, char *const *args, int *used, struct failure *failure)
{
    *used = 0;
    if (strncmp(args[0], "--", 2) != 0) return OK;
    const char *name = args[0] + 2, *equals = strchr(name, '=');
    const struct setting *s = find(name, equals ? (size_t)(equals - name) : strlen(name));
    if (!s) return OK;
    if (!equals && count < 2) return fail(failure, ERR_USAGE, "--%s needs a value", s->name);
    *used = equals ? 1 : 2;
    return set_from(c, s, equals ? equals + 1 : args[1], "command line", failure);
}

static const char *const levels[] = {"debug", "info", "notice", "warning", "error"};

enum log_level config_log_level(const struct config *c)
{
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(levels[i], c->log_level.text) == 0) return (enum log_level)i;
    return LOG_INFO;
}

enum err config_check(const struct config *c, struct failure *failure)
{
    if (strcmp(levels[config_log_level(c)], c->log_level.text) != 0)
        return fail(failure, ERR_INVALID, "log-level = \"%s\" must be debug, info, notice, warning or error",
                    c->log_level.text);
    if (strcmp(c->log_format.text, "text") != 0 && strcmp(c->log_format.text, "json") != 0)
        return fail(failure, ERR_INVALID, "log-format = \"%s\" must be text or json", c->log_format.text);
    return alert_settings_check(c, failure);
}

void config_print_help(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        char option[64];
        snprintf(option, sizeof option, "--%s %s", settings[i].name, settings[i].word);
        printf("  %-32s %s%s%s%s\n", option, settings[i].what, settings[i].value[0] ? " (" : "", settings[i].value,
               settings[i].value[0] ? ")" : "");
    }
}
