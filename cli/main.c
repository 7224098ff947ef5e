/* consilium: the client. Command line -> settings -> the command -> exit code. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/tool.h"
#include "crypto/random.h"

/* Text is UTF-8 everywhere; a C locale would show it as escapes. */
static void use_utf8(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
}

/* What was buffered must have arrived: a full disk is no success. */
static int finish_output(struct tool *t, int code)
{
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    if (written || code != EXIT_DONE) return code;
    if (errno != EPIPE) output_message(&t->output, "cannot write to standard output: %s", strerror(errno));
    return EXIT_FAILED;
}

static void warn_of_variable(void *data, const char *name, const char *text)
{
    struct output *o = data;
    if (o->programs)
        output_error_json(o, json_pack("{s:o, s:o}", "warning", json_text(bytes_text(text)), "variable",
                                       json_text(bytes_text(name))));
    else
        output_message(o, "%s", text);
}

static int run(struct tool *t)
{
    settings_check_environment(environ, warn_of_variable, &t->output);
    char *folder = config_folder(), *file = folder ? path_join(folder, "config") : NULL;
    enum err e = settings_load(&t->settings, t->line, NULL, file, &t->failure);
    if (e == OK) e = tool_receipt_begin(t);
    int code = e == OK ? tool_receipt_end(t, t->line->command->run(t)) : tool_failed(t);
    tool_close(t);
    free(file);
    free(folder);
    return finish_output(t, code);
}

static int explain(const struct command_line *line)
{
    if (line->version)
        puts("consilium " CONSILIUM_VERSION);
    else if (line->command)
        print_help(stdout, line->command, COMMON_OPTIONS);
    else
        print_overview(stdout, COMMANDS, COMMON_OPTIONS, line->topic);
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* Of a command line that can't be read otherwise: a program wants its error as JSON, too. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0) return true;
    return false;
}

int main(int argc, char **argv)
{
    struct command_line line;
    struct tool tool = {.line = &line};
    use_utf8();
    crypto_init();
    enum err e = command_line_parse(&line, COMMANDS, COMMON_OPTIONS, argc, argv, &tool.failure);
    output_setup(&tool.output, e == OK ? option_given(&line, "json") : asks_for_json(argc, argv));
    tool.output.command = line.command ? line.command->name : line.topic;
    int code;
    if (e != OK) {
        code = output_failure(&tool.output, &tool.failure);
    } else if (line.help || line.version) {
        code = explain(&line);
    } else if (!line.command) {
        print_overview(stderr, COMMANDS, COMMON_OPTIONS, line.topic);
        code = EXIT_USAGE;
    } else {
        code = run(&tool);
    }
    command_line_free(&line);
    return code;
}
