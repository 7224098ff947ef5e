#include "cli/fhir_scan.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"

struct json_scan json_scan_start(struct bytes text)
{
    struct json_scan s = {.start = (const char *)text.data, .line = 1};
    if (text.size == 0) s.start = "";
    s.at = s.counted = s.start;
    s.end = s.start + text.size;
    if (text.size >= 3 && memcmp(s.at, "\xef\xbb\xbf", 3) == 0) s.at += 3;
    return s;
}

uint32_t json_scan_line(struct json_scan *s, const char *at)
{
    if (at < s->counted) {
        s->counted = s->start;
        s->line = 1;
    }
    for (const char *p; (p = memchr(s->counted, '\n', (size_t)(at - s->counted))) != NULL; s->counted = p + 1)
        s->line++;
    s->counted = at;
    return s->line;
}

void json_scan_fail(struct json_scan *s, enum err code, const char *format, ...)
{
    if (s->error != OK) return;
    va_list args;
    int n = snprintf(s->text, sizeof s->text, "line %u: ", json_scan_line(s, s->at));
    va_start(args, format);
    vsnprintf(s->text + n, sizeof s->text - (size_t)n, format, args);
    va_end(args);
    s->error = code;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

char json_scan_peek(struct json_scan *s)
{
    while (s->at < s->end && is_space(*s->at)) s->at++;
    return s->at < s->end && s->error == OK ? *s->at : '\0';
}

static void expected(struct json_scan *s, const char *what)
{
    if (json_scan_peek(s) == '\0')
        json_scan_fail(s, ERR_SYNTAX, "the text ends where %s is expected", what);
    else
        json_scan_fail(s, ERR_SYNTAX, "%s is expected", what);
}

bool json_scan_open(struct json_scan *s, char bracket)
{
    if (json_scan_peek(s) != bracket) {
        expected(s, bracket == '{' ? "an object" : "an array");
        return false;
    }
    s->at++;
    return true;
}

/* Past the separator before the next member or element. At the closing bracket
 * (which is passed), or after an error: false. An element must not be left out. */
static bool next(struct json_scan *s, char opening, char closing)
{
    char c = json_scan_peek(s);
    const char *before = s->at;
    while (before > s->start && is_space(before[-1])) before--;
    bool first = before > s->start && before[-1] == opening;
    if (c == closing) {
        s->at++;
        return false;
    }
    if (first) return s->error == OK;
    if (c != ',') {
        expected(s, closing == '}' ? "',' or '}'" : "',' or ']'");
        return false;
    }
    s->at++;
    if (json_scan_peek(s) == closing) expected(s, "a value after ','");
    return s->error == OK;
}

/* At a quote: the string with both. */
static struct bytes scan_string(struct json_scan *s)
{
    const char *start = s->at;
    for (const char *p = start + 1; p < s->end; p++) {
        if (*p == '\\') {
            p++;
        } else if (*p == '"') {
            s->at = p + 1;
            return bytes_of(start, (size_t)(s->at - start));
        }
    }
    json_scan_fail(s, ERR_SYNTAX, "a string has no end");
    return (struct bytes){0};
}

bool json_scan_member(struct json_scan *s, struct bytes *key)
{
    if (!next(s, '{', '}')) return false;
    if (json_scan_peek(s) != '"') {
        expected(s, "a member's name");
        return false;
    }
    *key = scan_string(s);
    if (s->error == OK && json_scan_peek(s) != ':') expected(s, "':'");
    if (s->error != OK) return false;
    s->at++;
    return true;
}

bool json_scan_element(struct json_scan *s) { return next(s, '[', ']'); }

/* At an opening bracket: up to the one that closes it. */
static void scan_brackets(struct json_scan *s)
{
    const char *start = s->at;
    uint32_t depth = 0;
    while (s->at < s->end) {
        char c = *s->at;
        if (c == '"') {
            scan_string(s);
            if (s->error != OK) return;
            continue;
        }
        s->at++;
        if (c == '{' || c == '[') {
            if (++depth <= LIMIT_JSON_DEPTH) continue;
            json_scan_fail(s, ERR_TOO_DEEP, "nested more than %u deep", LIMIT_JSON_DEPTH);
            return;
        }
        if ((c == '}' || c == ']') && --depth == 0) return;
    }
    s->at = start;
    json_scan_fail(s, ERR_SYNTAX, "the text ends inside what begins here");
}

struct bytes json_scan_value(struct json_scan *s)
{
    char c = json_scan_peek(s);
    const char *start = s->at;
    if (c == '\0' || strchr(",:]}", c)) {
        expected(s, "a value");
    } else if (c == '"') {
        scan_string(s);
    } else if (c == '{' || c == '[') {
        scan_brackets(s);
    } else {
        while (s->at < s->end && !is_space(*s->at) && !strchr(",:[]{}\"", *s->at)) s->at++;
        if (s->at == start) s->at++; /* a zero byte */
    }
    return s->error == OK ? bytes_of(start, (size_t)(s->at - start)) : (struct bytes){0};
}

void json_scan_finish(struct json_scan *s)
{
    json_scan_peek(s);
    if (s->error == OK && s->at < s->end) json_scan_fail(s, ERR_SYNTAX, "something follows the end of the JSON");
}

json_t *json_scan_parse(struct json_scan *s, struct bytes value)
{
    /* Numbers that no integer holds are valid JSON; the text itself is what is kept. */
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL;
    json_error_t error;
    if (s->error != OK) return NULL;
    json_t *parsed = json_loadb((const char *)value.data, value.size, flags, &error);
    if (parsed) return parsed;
    const char *start = (const char *)value.data;
    s->at = start + (error.position >= 0 && (size_t)error.position <= value.size ? error.position : 0);
    json_scan_fail(s, ERR_SYNTAX, "%.120s", error.text);
    return NULL;
}
