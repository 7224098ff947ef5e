/* Asking a person. Never without a terminal: a program gets an error that says
 * which option answers instead. */
#ifndef CLI_TERMINAL_H
#define CLI_TERMINAL_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/error.h"

bool terminal_present(void); /* standard input and error are one */
/* Reads a line without echo into `out` (wiped and freed by the caller with
 * secret_wipe_buffer); ERR_NO_KEY without a terminal, ERR_CANCELED at the end of input.
 * Signals that end or suspend the program do so with the terminal's echo restored. */
enum err terminal_passphrase(struct buffer *out, const char *prompt, struct failure *failure);
/* "Question [y/N] "; ERR_CANCELED for no, ERR_USAGE without a terminal ("say --yes"). */
enum err terminal_confirm(const char *question, struct failure *failure);

#endif
