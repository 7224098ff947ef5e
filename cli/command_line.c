#include "cli/command_line.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/nearest.h"

/* --- which command --- */

/* Whether `name`'s first word is `word`; *rest is then its second ("" when there is none). */
static bool first_word(const char *name, const char *word, const char **rest)
{
    size_t n = strlen(word);
    if (n == 0 || strncmp(name, word, n) != 0 || (name[n] != ' ' && name[n] != '\0')) return false;
    *rest = name[n] == ' ' ? name + n + 1 : name + n;
    return true;
}

static size_t commands_count(const struct command *commands)
{
    size_t n = 0;
    while (commands[n].name)
        n++;
    return n;
}

static bool is_group(const struct command *commands, const char *word)
{
    const char *rest;
    for (const struct command *c = commands; c->name; c++)
        if (first_word(c->name, word, &rest) && *rest) return true;
    return false;
}

static enum err unknown_command(const struct command *commands, const char *word, struct failure *failure)
{
    size_t n = commands_count(commands);
    char(*words)[NEAREST_TEXT] = xcalloc(n, sizeof *words);
    const char **candidates = xcalloc(n, sizeof *candidates);
    for (size_t i = 0; i < n; i++) {
        snprintf(words[i], sizeof words[i], "%.*s", (int)strcspn(commands[i].name, " "), commands[i].name);
        candidates[i] = words[i];
    }
    const char *near = nearest(word, candidates, n);
    enum err e = fail(failure, ERR_USAGE, "there is no command '%s'%s%s%s", word, near ? "; did you mean '" : "",
                      near ? near : "", near ? "'?" : "");
    free(candidates);
    free(words);
    return e;
}

static enum err unknown_in_group(const struct command *commands, const char *group, const char *word,
                                 struct failure *failure)
{
    size_t n = commands_count(commands), found = 0;
    const char **candidates = xcalloc(n, sizeof *candidates);
    for (size_t i = 0; i < n; i++)
        if (first_word(commands[i].name, group, &candidates[found]) && *candidates[found]) found++;
    const char *near = nearest(word, candidates, found);
    enum err e;
    if (near)
        e = fail(failure, ERR_USAGE, "there is no command '%s %s'; did you mean '%s %s'?", group, word, group, near);
    else
        e = fail(failure, ERR_USAGE, "there is no command '%s %s'", group, word);
    free(candidates);
    return e;
}

/* Takes one or two of the words for the command's name. A group alone leaves
 * the command NULL and names the topic. */
static enum err find_command(struct command_line *a, const struct command *commands, struct failure *failure)
{
    if (a->operand_count == 0) return OK;
    const char *word = a->operands[0], *second = a->operand_count > 1 ? a->operands[1] : NULL, *rest;
    if (strcmp(word, "help") == 0) {
        a->help = true;
        a->operands++, a->operand_count--;
        return find_command(a, commands, failure);
    }
    bool group = is_group(commands, word);
    for (const struct command *c = commands; c->name && !a->command; c++) {
        if (!first_word(c->name, word, &rest)) continue;
        if (*rest ? second && strcmp(rest, second) == 0 : !group || !second) {
            a->command = c;
            size_t used = *rest ? 2 : 1;
            a->operands += used, a->operand_count -= used;
        }
    }
    if (a->command) return OK;
    if (!group) return unknown_command(commands, word, failure);
    a->topic = word;
    if (second) return unknown_in_group(commands, word, second, failure);
    return OK;
}

/* --- options --- */

static const struct option_row *row_named(const struct option_row *rows, const char *name, size_t size)
{
    for (; rows && rows->name; rows++)
        if (strlen(rows->name) == size && memcmp(rows->name, name, size) == 0) return rows;
    return NULL;
}

static const struct option_row *row_lettered(const struct option_row *rows, char letter)
{
    for (; rows && rows->name; rows++)
        if (rows->letter == letter) return rows;
    return NULL;
}

static const struct option_row *find_option(const struct command_line *a, const char *name, size_t size)
{
    const struct option_row *row = a->command ? row_named(a->command->options, name, size) : NULL;
    return row ? row : row_named(a->common, name, size);
}

/* The option that a word like "-x", "--name" or "--name=value" names. */
static const struct option_row *row_of(const struct option_row *rows, const char *word)
{
    return word[1] == '-' ? row_named(rows, word + 2, strcspn(word + 2, "=")) : row_lettered(rows, word[1]);
}

/* The first of `commands` that has this option, from here on; NULL: none has it. */
static const struct command *next_owner(const struct command *commands, const char *word)
{
    while (commands->name && !row_of(commands->options, word))
        commands++;
    return commands->name ? commands : NULL;
}

#define OWNERS_NAMED 3

/* "'log', 'verify' and 'alarm list'": the commands that have this option. */
static void list_owners(struct buffer *out, const struct command *commands, const char *word)
{
    size_t all = 0, n = 0;
    for (const struct command *c = commands; (c = next_owner(c, word)); c++)
        all++;
    size_t named = all <= OWNERS_NAMED + 1 ? all : OWNERS_NAMED; /* "and 1 other" would be no shorter */
    for (const struct command *c = commands; n < named && (c = next_owner(c, word)); c++, n++)
        buffer_printf(out, "%s'%s'", n == 0 ? "" : n + 1 == all ? " and " : ", ", c->name);
    if (named < all) buffer_printf(out, " and %zu others", all - named);
}

/* An option that only others than the command have, if any was named. */
static enum err misplaced_option(const struct command_line *a, const char *name, const char *word,
                                 struct failure *failure)
{
    struct buffer owners = {0};
    list_owners(&owners, a->commands, word);
    int size = (int)owners.size;
    const char *text = (const char *)owners.data;
    enum err e = a->command ? fail(failure, ERR_USAGE, "'%s' has no option '%s': it belongs to %.*s", a->command->name,
                                   name, size, text)
                            : fail(failure, ERR_USAGE, "'%s' needs a command that it belongs to: %.*s", name, size,
                                   text);
    buffer_free(&owners);
    return e;
}

static enum err unknown_option(const struct command_line *a, const char *word, struct failure *failure)
{
    char name[NEAREST_TEXT + 2];
    bool letter = word[1] != '-';
    snprintf(name, sizeof name, "%.*s", letter ? 2 : (int)strcspn(word, "="), word);
    if (next_owner(a->commands, word)) return misplaced_option(a, name, word, failure);
    const char *candidates[2 * OPTIONS_MAX];
    size_t n = 0;
    for (const struct option_row *r = a->command ? a->command->options : NULL; r && r->name; r++)
        candidates[n++] = r->name;
    for (const struct option_row *r = a->common; r->name && n < 2 * OPTIONS_MAX; r++)
        candidates[n++] = r->name;
    const char *near = letter ? NULL : nearest(name + 2, candidates, n);
    if (near)
        return fail(failure, ERR_USAGE, "there is no option '%s'; did you mean '--%s'?", name, near);
    return fail(failure, ERR_USAGE, "there is no option '%s'", name);
}

/* A word that is an option: "-x", "--name"; not "-" (standard input) and not "--". */
static bool is_option(const char *word) { return word[0] == '-' && word[1] != '\0'; }

/* The option a word names, and where its value starts inside the word, if it does. */
static const struct option_row *option_of(const struct command_line *a, const char *word, const char **inside)
{
    const struct option_row *row = a->command ? row_of(a->command->options, word) : NULL;
    if (!row) row = row_of(a->common, word);
    const char *equals = strchr(word, '=');
    *inside = word[1] != '-' ? row && word[2] ? word + 2 : NULL : equals ? equals + 1 : NULL;
    return row;
}

/* The same where the command is not known yet: then it is taken for that of any command. Those of one name all take a
 * value, or none does. */
static const struct option_row *option_anywhere(const struct command_line *a, const char *word, const char **inside)
{
    const struct option_row *row = option_of(a, word, inside);
    const struct command *owner = row ? NULL : next_owner(a->commands, word);
    if (!owner) return row;
    struct command_line probe = *a;
    probe.command = owner;
    return option_of(&probe, word, inside);
}

/* Whether the next word is the value of this one. */
static bool takes_next(const struct command_line *a, const char *word)
{
    const char *inside;
    const struct option_row *row = option_anywhere(a, word, &inside);
    return row && row->value && !inside;
}

static enum err take_option(struct command_line *a, const char *word, const char *next, struct failure *failure)
{
    const char *inside;
    const struct option_row *row = option_of(a, word, &inside);
    if (!row) return unknown_option(a, word, failure);
    if (!row->value && inside) return fail(failure, ERR_USAGE, "option '--%s' takes no value", row->name);
    const char *value = row->value ? inside ? inside : next : NULL;
    if (row->value && !value) return fail(failure, ERR_USAGE, "option '--%s' needs a value: %s", row->name, row->value);
    for (size_t i = 0; i < a->count; i++)
        if (a->given[i].option == row && !row->repeated)
            return fail(failure, ERR_USAGE, "option '--%s' is given twice", row->name);
    a->help |= row == row_named(a->common, "help", 4);
    a->version |= row == row_named(a->common, "version", 7); /* not a command's own --version N */
    a->given[a->count++] = (struct given_option){row, value};
    return OK;
}

#define NAME_WORDS 3 /* "help user add" */

/* First pass: the words that are no options, to find the command. */
static void collect_words(struct command_line *a, const struct command *commands, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            while (++i < argc)
                a->operands[a->operand_count++] = argv[i];
            break;
        }
        if (!is_option(argv[i])) {
            a->operands[a->operand_count++] = argv[i];
            /* The command's options decide from here on which words are values. */
            struct command_line probe = *a;
            probe.command = NULL;
            if (a->operand_count <= NAME_WORDS && find_command(&probe, commands, NULL) == OK)
                a->command = probe.command;
        } else if (takes_next(a, argv[i])) {
            i++;
        }
    }
    a->command = NULL;
}

static enum err check_complete(const struct command_line *a, struct failure *failure)
{
    const struct command *c = a->command;
    for (const struct option_row *r = c->options; r->name; r++)
        if (r->required && !option_given(a, r->name))
            return fail(failure, ERR_USAGE, "'%s' needs --%s %s: %s", c->name, r->name, r->value, r->help);
    if (a->operand_count < c->least)
        return fail(failure, ERR_USAGE, "'%s' needs %s", c->name, c->operands);
    if (a->operand_count > c->most)
        return fail(failure, ERR_USAGE, "'%s' takes %s%s, but '%s' follows", c->name, c->most ? "only " : "no operands",
                    c->operands, a->operands[c->most]);
    return OK;
}

/* The command that is only a group's name; NULL: there is none. */
static const struct command *command_named(const struct command *commands, const char *name)
{
    for (const struct command *c = commands; name && c->name; c++)
        if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

/* With a mistyped option, its value may stand where the command is looked for, or its second word:
 * then the option is what is wrong. OK when all options before that word are known. */
static enum err check_options_before(const struct command_line *a, const struct command *commands, int argc,
                                     char **argv, struct failure *failure)
{
    const char *inside, *wrong = a->operands[a->topic ? 1 : 0];
    struct command_line known = *a;
    known.command = command_named(commands, a->topic);
    for (int i = 1; i < argc && argv[i] != wrong && strcmp(argv[i], "--") != 0; i++) {
        if (!is_option(argv[i])) continue;
        if (!option_anywhere(&known, argv[i], &inside)) return unknown_option(&known, argv[i], failure);
        if (takes_next(&known, argv[i])) i++;
    }
    return OK;
}

enum err command_line_parse(struct command_line *out, const struct command *commands, const struct option_row *common,
                         int argc, char **argv, struct failure *failure)
{
    size_t room = argc > 0 ? (size_t)argc : 1;
    *out = (struct command_line){.commands = commands, .common = common, .given = xcalloc(room, sizeof *out->given)};
    out->operands = out->words = xcalloc(room, sizeof *out->words);
    collect_words(out, commands, argc, argv);
    enum err e = find_command(out, commands, failure);
    if (e != OK && check_options_before(out, commands, argc, argv, failure) != OK) return ERR_USAGE;
    for (int i = 1; e == OK && i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (!is_option(argv[i])) continue;
        bool next = takes_next(out, argv[i]);
        e = take_option(out, argv[i], next && i + 1 < argc ? argv[i + 1] : NULL, failure);
        if (next) i++;
    }
    if (e != OK || out->help || out->version || !out->command) return e;
    return check_complete(out, failure);
}

void command_line_free(struct command_line *a)
{
    free(a->given);
    free(a->words);
    *a = (struct command_line){0};
}

/* --- reading --- */

static const struct option_row *declared(const struct command_line *a, const char *name)
{
    const struct option_row *row = find_option(a, name, strlen(name));
    CHECK(row != NULL);
    return row;
}

bool option_given(const struct command_line *a, const char *name)
{
    const struct option_row *row = declared(a, name);
    for (size_t i = 0; i < a->count; i++)
        if (a->given[i].option == row) return true;
    return false;
}

const char *option_text(const struct command_line *a, const char *name)
{
    const struct option_row *row = declared(a, name);
    const char *value = NULL;
    for (size_t i = 0; i < a->count; i++)
        if (a->given[i].option == row) value = a->given[i].value;
    return value;
}

const char *option_next(const struct command_line *a, const char *name, size_t *at)
{
    const struct option_row *row = declared(a, name);
    while (*at < a->count) {
        const struct given_option *g = &a->given[(*at)++];
        if (g->option == row) return g->value;
    }
    return NULL;
}

enum err option_number(uint64_t *out, const struct command_line *a, const char *name, uint64_t otherwise,
                          uint64_t least, uint64_t most, struct failure *failure)
{
    const char *text = option_text(a, name);
    *out = otherwise;
    if (!text) return OK;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    bool whole = isdigit((unsigned char)text[0]) && *end == '\0' && errno == 0;
    if (!whole || v < least || v > most)
        return fail(failure, ERR_USAGE, "--%s takes a whole number from %llu to %llu, not '%s'", name,
                    (unsigned long long)least, (unsigned long long)most, text);
    *out = v;
    return OK;
}

/* --- help --- */

static void print_options(FILE *to, const struct option_row *rows)
{
    for (; rows->name; rows++) {
        char left[80], letter[8] = "    ";
        if (rows->letter) snprintf(letter, sizeof letter, "-%c, ", rows->letter);
        snprintf(left, sizeof left, "%s--%s%s%s%s", letter, rows->name, rows->value ? " " : "",
                 rows->value ? rows->value : "", rows->repeated ? " ..." : "");
        fprintf(to, "  %-32s %s%s\n", left, rows->help, rows->required ? " (required)" : "");
    }
}

void print_overview(FILE *to, const struct command *commands, const struct option_row *common,
                              const char *topic)
{
    fprintf(to, "Usage: consilium [OPTION]... %s%sCOMMAND\n\n", topic ? topic : "", topic ? " " : "");
    const char *group = "";
    bool single = false; /* commands of one word that begin no group stand together */
    for (const struct command *c = commands; c->name; c++) {
        const char *rest;
        if (topic && !first_word(c->name, topic, &rest)) continue;
        size_t n = strcspn(c->name, " ");
        bool same = strncmp(group, c->name, n) == 0 && (group[n] == ' ' || group[n] == '\0');
        bool before = single;
        single = !c->name[n] && !is_group(commands, c->name);
        if (!same && !(before && single) && *group) fputc('\n', to);
        group = c->name;
        char left[80];
        snprintf(left, sizeof left, "%s %s", c->name, c->operands);
        fprintf(to, "  %-32s %s\n", left, c->summary);
    }
    fprintf(to, "\nOptions of every command:\n");
    print_options(to, common);
    fprintf(to, "\nExit codes: 0 done, 1 failed, 2 usage, 3 denied by policy, 4 identity missing or locked,\n"
                "5 no quorum, time-out or a node that takes nothing now, 6 verification failed, 7 the ledger has it\n"
                "otherwise (changed meanwhile, taken, done already, not there).\n"
                "--cluster, --identity, --passphrase-file, --via and --timeout may stand in the environment as\n"
                "CONSILIUM_CLUSTER, CONSILIUM_IDENTITY, CONSILIUM_PASSPHRASE_FILE, CONSILIUM_VIA and\n"
                "CONSILIUM_TIMEOUT, or in ~/.config/consilium/config, a line each: 'cluster = FILE'.\n"
                "Options may stand before the command or behind it.\n"
                "'consilium COMMAND --help' explains a command, with an example.\n");
}

void print_help(FILE *to, const struct command *c, const struct option_row *common)
{
    fprintf(to, "Usage: consilium %s%s%s%s\n\n%s.\n", c->name, *c->operands ? " " : "", c->operands,
            c->options[0].name ? " [OPTION]..." : "", c->summary);
    if (c->details) fprintf(to, "\n%s\n", c->details);
    if (c->options[0].name) {
        fprintf(to, "\nOptions:\n");
        print_options(to, c->options);
    }
    fprintf(to, "\nOptions of every command:\n");
    print_options(to, common);
    fprintf(to, "\nExample:\n");
    for (const char *line = c->example; line && *line;) {
        size_t n = strcspn(line, "\n");
        fprintf(to, "  consilium %.*s\n", (int)n, line);
        line += n + (line[n] == '\n');
    }
}
