#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct entry {
    enum err code;
    const char *name, *text, *hint;
};

static const struct entry entries[] = {
#define X(name, number, text, hint) {name, #name, text, hint},
    ERROR_LIST(X)
#undef X
};

static const struct entry *find(enum err code)
{
    static const struct entry unknown = {0, "ERR_UNKNOWN", "unknown error", "upgrade the older side"};
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++)
        if (entries[i].code == code) return &entries[i];
    return &unknown;
}

const char *err_name(enum err code) { return find(code)->name; }
const char *err_text(enum err code) { return find(code)->text; }
const char *err_hint(enum err code) { return find(code)->hint; }

enum err fail(struct failure *failure, enum err code, const char *format, ...)
{
    if (!failure) return code;
    failure->code = code;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(failure->text, sizeof failure->text, format, args);
    va_end(args);
    if (n < 0) failure->text[0] = '\0';
    if ((size_t)n >= sizeof failure->text)
        memcpy(failure->text + sizeof failure->text - 4, "...", 4);
    return code;
}
