#include "cli/moment.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* "90m" ago. */
static bool parse_ago(uint64_t *out, const char *text, uint64_t now_ms)
{
    static const struct {
        char unit;
        uint64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}, {'w', 604800000}};
    size_t digits = strspn(text, "0123456789");
    if (digits < 1 || digits > 6 || text[digits] == '\0' || text[digits + 1] != '\0') return false;
    uint64_t count = strtoull(text, NULL, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (units[i].unit == text[digits] && count * units[i].ms <= now_ms) {
            *out = now_ms - count * units[i].ms;
            return true;
        }
    return false;
}

static bool parse_day(uint64_t *out, const char *text, uint64_t now_ms)
{
    int back = strcmp(text, "today") == 0 ? 0 : strcmp(text, "yesterday") == 0 ? 1 : -1;
    time_t now = (time_t)(now_ms / 1000);
    struct tm tm;
    if (back < 0 || !localtime_r(&now, &tm)) return false;
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    tm.tm_mday -= back;
    tm.tm_isdst = -1; /* a day back may lie on the other side of a change */
    *out = (uint64_t)mktime(&tm) * 1000;
    return true;
}

/* Days like 02-31, which mktime would turn into March. */
static bool is_real_day(const struct tm *tm)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = tm->tm_year + 1900, most = days[tm->tm_mon];
    if (tm->tm_mon == 1 && ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0)) most++;
    return tm->tm_mday >= 1 && tm->tm_mday <= most;
}

static bool parse_date(uint64_t *out, const char *text)
{
    static const char *const formats[] = {"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
                                          "%Y-%m-%d"};
    if (strlen(text) < 10 || !isdigit((unsigned char)text[3])) return false; /* four digits of a year */
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *end = strptime(text, formats[i], &tm);
        if (!end || (*end && strcmp(end, "Z") != 0)) continue;
        time_t seconds = *end ? timegm(&tm) : mktime(&tm);
        struct tm check = {0};
        strptime(text, formats[i], &check);
        if (!is_real_day(&check) || seconds < 0) return false;
        *out = (uint64_t)seconds * 1000;
        return true;
    }
    return false;
}

enum err moment_parse_at(uint64_t *out, const char *text, uint64_t now_ms, struct failure *failure)
{
    if (parse_ago(out, text, now_ms) || parse_day(out, text, now_ms) || parse_date(out, text)) return OK;
    return fail(failure, ERR_USAGE,
                "'%s' is no time; write 2026-01-31, '2026-01-31 14:00', 12h, 7d, today or yesterday", text);
}

enum err moment_parse(uint64_t *out, const char *text, struct failure *failure)
{
    return moment_parse_at(out, text, clock_wall_ms(), failure);
}
