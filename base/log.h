/* The program's log: lines on standard error, as text or as JSON objects.
 * Thread-safe; one write per line. No patient data or secret is ever logged. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING, LOG_ERROR };

void log_setup(enum log_level least, bool json); /* before threads start */
/* `part` names the folder or file that speaks ("raft", "peer"). */
void log_write(enum log_level level, const char *part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Keeps the last lines, debug ones too, in memory; printed by log_dump, which
 * is safe to call from check_on_failure. */
void log_dump(void);

/* For lines that others can cause: true at most once a second for each `last_ns`, which
 * begins as 0. One thread. */
bool log_seldom(uint64_t *last_ns);

#define log_debug(part, ...) log_write(LOG_DEBUG, part, __VA_ARGS__)
#define log_info(part, ...) log_write(LOG_INFO, part, __VA_ARGS__)
#define log_notice(part, ...) log_write(LOG_NOTICE, part, __VA_ARGS__)
#define log_warning(part, ...) log_write(LOG_WARNING, part, __VA_ARGS__)
#define log_error(part, ...) log_write(LOG_ERROR, part, __VA_ARGS__)

#endif
