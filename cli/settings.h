/* Where settings come from: flags over environment over the configuration file
 * (~/.config/consilium/config, "name = value" lines) over defaults. */
#ifndef CLI_SETTINGS_H
#define CLI_SETTINGS_H

#include <stdint.h>

#include "base/error.h"
#include "cli/command_line.h"

enum setting {
    SETTING_CLUSTER,  /* the genesis file */
    SETTING_IDENTITY, /* the key file */
    SETTING_VIA,      /* a member's name */
    SETTING_TIMEOUT,  /* seconds */
    SETTING_PASSPHRASE_FILE,
    SETTINGS
};

struct settings {
    char *values[SETTINGS];       /* owned; NULL: not set anywhere */
    const char *origins[SETTINGS]; /* "--cluster", "CONSILIUM_CLUSTER", "the configuration file"; static */
};

/* `environment` is getenv's stand-in for tests; NULL: getenv. `file`: the
 * configuration file's path; NULL or a file that isn't there: none.
 * ERR_SYNTAX names the file's line; ERR_USAGE a bad value. */
enum err settings_load(struct settings *out, const struct command_line *line,
                       const char *(*environment)(const char *name), const char *file, struct failure *failure);
/* Tells mistyped variables of `environment`; see base/environment.h. */
void settings_check_environment(char *const *environment,
                                void (*warn)(void *data, const char *name, const char *text), void *data);
void settings_free(struct settings *s);
uint32_t settings_timeout_ms(const struct settings *s); /* LIMIT_REQUEST_MS when not set */

#endif
