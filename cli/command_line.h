/* The command line: tables of options say what a command takes; this parses,
 * explains and suggests. Long options as GNU has them (--name VALUE or
 * --name=VALUE, anywhere, "--" ends them), a few with one letter.
 */
#ifndef CLI_COMMAND_LINE_H
#define CLI_COMMAND_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

struct option_row {
    const char *name;  /* without the dashes */
    char letter;       /* 0: none */
    const char *value; /* "FILE", "N" ...; NULL: a flag */
    const char *help;
    bool repeated, required;
};

#define OPTIONS_MAX 24 /* of one command */

struct tool;

struct command {
    const char *name;     /* one or two words: "status", "user add" */
    const char *operands; /* as help shows them: "PATIENT USER"; "" for none */
    unsigned least, most; /* operands; most UINT_MAX: any number */
    const char *summary;  /* one line */
    const char *details;  /* paragraphs for its own help; may be NULL */
    const char *example;  /* one or more lines that can be typed, each after "consilium " */
    int (*run)(struct tool *tool); /* returns an exit code */
    struct option_row options[OPTIONS_MAX]; /* ends with an empty row */
};

struct given_option {
    const struct option_row *option;
    const char *value; /* NULL for a flag */
};

/* What was typed. Texts point into argv. */
struct command_line {
    const struct command *command; /* NULL: none was named, help or version asked for */
    const struct command *commands;  /* all there are */
    const struct option_row *common; /* options of every command */
    size_t count, operand_count;
    struct given_option *given;
    const char **operands; /* what is left of `words` after the command's name */
    const char **words;    /* owned */
    bool help, version;
    const char *topic; /* what help was asked about: a group as "user", or NULL */
};

/* Parses argv[1..] against `commands` (ends with an empty row) and `common`
 * options. ERR_USAGE with a text that says what is wrong and, where something
 * near exists, "did you mean". The caller frees in every case. */
enum err command_line_parse(struct command_line *out, const struct command *commands, const struct option_row *common,
                         int argc, char **argv, struct failure *failure);
void command_line_free(struct command_line *a);

/* Reading what was given. Asking for an option that the command doesn't have fails a CHECK. */
bool option_given(const struct command_line *a, const char *name);
const char *option_text(const struct command_line *a, const char *name); /* the last one given, or NULL */
/* The next value of a repeated option: *at starts at 0; NULL at the end. */
const char *option_next(const struct command_line *a, const char *name, size_t *at);
/* A whole number within least .. most; `otherwise` when not given. ERR_USAGE. */
enum err option_number(uint64_t *out, const struct command_line *a, const char *name, uint64_t otherwise,
                          uint64_t least, uint64_t most, struct failure *failure);

/* All commands by group, or one group (`topic`). */
void print_overview(FILE *to, const struct command *commands, const struct option_row *common,
                              const char *topic);
void print_help(FILE *to, const struct command *command, const struct option_row *common);

#endif
