/* The node's settings: command line over environment over file over default.
 *
 * Every setting is one row of SETTING_LIST: `--listen HOST:PORT` on the command
 * line, CONSILIUMD_LISTEN in the environment, `listen = HOST:PORT` in the file.
 * configs/consiliumd.conf documents each.
 */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"

enum setting_kind { SETTING_TEXT, SETTING_NUMBER, SETTING_FLAG };

/* X(field, name, kind, word for its value in --help, default, least, most, what it is) */
#define SETTING_LIST(X)                                                                            \
    X(listen, "listen", SETTING_TEXT, "HOST:PORT", "", 0, 0,                                       \
      "address to listen on, numeric")                                                             \
    X(storage_key_file, "storage-key-file", SETTING_TEXT, "FILE", "", 0, 0,                        \
      "file with the storage key, best on another device")                                         \
    X(log_level, "log-level", SETTING_TEXT, "LEVEL", "info", 0, 0,                                 \
      "debug, info, notice, warning or error")                                                     \
    X(log_format, "log-format", SETTING_TEXT, "FORMAT", "text", 0, 0,                              \
      "text or json")                                                                              \
    X(bind_source, "bind-source", SETTING_FLAG, "yes|no", "yes", 0, 0,                             \
      "dial other nodes from the own listening address")                                           \
    X(connections, "connections", SETTING_NUMBER, "N", "12288", 16, 65536,                         \
      "client connections at once")                                                                \
    X(connections_per_address, "connections-per-address", SETTING_NUMBER, "N", "4096", 1, 65536,   \
      "client connections at once from one address")                                               \
    X(idle_seconds, "idle-seconds", SETTING_NUMBER, "SECONDS", "300", 5, 86400,                    \
      "close a client connection that is silent for so long")                                      \
    X(http, "http", SETTING_FLAG, "yes|no", "yes", 0, 0,                                           \
      "answer HTTP: checkpoint, tiles (hashes), health, metrics")                                  \
    X(map_gib, "map-gib", SETTING_NUMBER, "GIB", "1024", 1, 65536,                                 \
      "address space reserved for the state, GiB")                                                 \
    X(free_mib, "free-mib", SETTING_NUMBER, "MIB", "256", 16, 1048576,                             \
      "refuse new work when less than this is free on the device, MiB")                            \
    X(log_keep_mib, "log-keep-mib", SETTING_NUMBER, "MIB", "128", 32, LIMIT_LOG_KEEP_MIB,           \
      "keep about so much of the log for nodes that lag, MiB")                                     \
    X(digest_seconds, "digest-seconds", SETTING_NUMBER, "SECONDS", "3600", 0, 604800,              \
      "have the nodes compare their states when they didn't for so long; 0: never")                \
    X(scrub_rate, "scrub-rate", SETTING_NUMBER, "KIB", "4096", 0, 1048576,                         \
      "re-read the whole store at so many KiB a second, for ever; 0: never")                       \
    X(scrub_pause, "scrub-pause", SETTING_NUMBER, "SECONDS", "600", 0, 604800,                     \
      "between two passes over the store")                                                         \
    X(workers, "workers", SETTING_NUMBER, "N", "0", 0, 128,                                        \
      "worker threads; 0: one per processor")                                                      \
    X(alert_mail_server, "alert-mail-server", SETTING_TEXT, "URL", "", 0, 0,                       \
      "send alarms by mail through smtps://HOST:PORT, or smtp://HOST:PORT with STARTTLS")          \
    X(alert_mail_from, "alert-mail-from", SETTING_TEXT, "ADDRESS", "", 0, 0,                       \
      "sender of these mails")                                                                     \
    X(alert_mail_to, "alert-mail-to", SETTING_TEXT, "ADDRESS,...", "", 0, 0,                       \
      "their receivers")                                                                           \
    X(alert_mail_user, "alert-mail-user", SETTING_TEXT, "NAME", "", 0, 0,                          \
      "login at the mail server")                                                                  \
    X(alert_mail_password_file, "alert-mail-password-file", SETTING_TEXT, "FILE", "", 0, 0,        \
      "its first line is the password")                                                            \
    X(alert_webhook, "alert-webhook", SETTING_TEXT, "URL", "", 0, 0,                               \
      "send alarms as JSON, by POST to this https:// address")                                     \
    X(alert_webhook_token_file, "alert-webhook-token-file", SETTING_TEXT, "FILE", "", 0, 0,        \
      "its first line is sent as the bearer token")                                                \
    X(alert_ca_file, "alert-ca-file", SETTING_TEXT, "FILE", "", 0, 0,                              \
      "certificate authorities (PEM) of these servers; the system's otherwise")

#define SETTING_TEXT_SIZE 512

union setting_value {
    char text[SETTING_TEXT_SIZE];
    uint64_t number;
    bool flag;
};

struct config {
#define X(field, name, kind, word, def, least, most, what) union setting_value field;
    SETTING_LIST(X)
#undef X
};

void config_defaults(struct config *c);
/* Reads `path`. ERR_NOT_FOUND when it isn't there; ERR_SYNTAX or ERR_INVALID with file and line. */
enum err config_read_file(struct config *c, const char *path, struct failure *failure);
/* Takes CONSILIUMD_* of the environment. */
enum err config_read_environment(struct config *c, struct failure *failure);
/* Tells mistyped variables of `environment`; see base/environment.h. */
void config_check_environment(char *const *environment,
                              void (*warn)(void *data, const char *name, const char *text), void *data);
/* If args[0] is "--name" or "--name=value" of a setting: takes it, and says in
 * `*used` how many arguments that were; 0 when it is no setting. */
enum err config_take_argument(struct config *c, int count, char *const *args, int *used, struct failure *failure);
/* After all sources: values that depend on each other or have a fixed vocabulary. */
enum err config_check(const struct config *c, struct failure *failure);
enum log_level config_log_level(const struct config *c);
/* "  --name FILE   what it is (default)" lines on standard output. */
void config_print_help(void);

#endif
