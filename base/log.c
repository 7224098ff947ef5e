#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

#define LINE 1024
#define KEPT 256 /* lines of the flight recorder */

static enum log_level least_level = LOG_INFO;
static bool as_json;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char kept[KEPT][LINE];
static unsigned next_kept;

static const char *const names[] = {"debug", "info", "notice", "warning", "error"};

void log_setup(enum log_level least, bool json)
{
    least_level = least;
    as_json = json;
}

/* Bytes of the UTF-8 sequence that starts here, 0 when it is none (RFC 3629). */
static size_t utf8_size(const unsigned char *p)
{
    size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0x80) return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4) return 0;
    for (size_t i = 1; i < size; i++) /* a final zero ends the text here */
        if ((p[i] & 0xc0) != 0x80) return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool beyond = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return overlong || beyond ? 0 : size;
}

/* JSON string contents: quotes, backslashes and control characters escaped,
 * bytes that are not UTF-8 (or cut off by the line's end) as question marks. */
static size_t escape(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 7 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            n += (size_t)snprintf(out + n, size - n, "\\%c", c);
        } else if (c < 0x20) {
            n += (size_t)snprintf(out + n, size - n, "\\u%04x", c);
        } else {
            size_t whole = utf8_size((const unsigned char *)text);
            if (whole) {
                memcpy(out + n, text, whole);
                n += whole;
                text += whole - 1;
            } else {
                out[n++] = '?';
            }
        }
    }
    out[n] = '\0';
    return n;
}

static void print_line(const char *line)
{
    size_t n = strlen(line);
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored; /* there is nowhere to report a failing log to */
}

void log_write(enum log_level level, const char *part, const char *format, ...)
{
    char text[LINE - 160], line[LINE], when[CLOCK_TEXT_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    clock_format(when, clock_wall_ms());
    if (as_json) {
        char escaped[LINE - 128];
        escape(escaped, sizeof escaped, text);
        snprintf(line, sizeof line, "{\"time\":\"%s\",\"level\":\"%s\",\"part\":\"%s\",\"text\":\"%s\"}\n", when,
                 names[level], part, escaped);
    } else {
        for (char *c = text; *c; c++) /* a message from outside cannot forge a line */
            if ((unsigned char)*c < 0x20) *c = ' ';
        snprintf(line, sizeof line, "%s %-7s %-8s %s\n", when, names[level], part, text);
    }
    pthread_mutex_lock(&lock);
    memcpy(kept[next_kept++ % KEPT], line, sizeof line);
    if (level >= least_level) print_line(line);
    pthread_mutex_unlock(&lock);
}

bool log_seldom(uint64_t *last_ns)
{
    uint64_t now = clock_monotonic_ns();
    if (*last_ns && now - *last_ns < UINT64_C(1000) * 1000000) return false;
    *last_ns = now;
    return true;
}

void log_dump(void)
{
    print_line("--- last log lines, oldest first ---\n");
    for (unsigned i = next_kept < KEPT ? 0 : next_kept - KEPT; i != next_kept; i++)
        print_line(kept[i % KEPT]);
}
