#include "cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "crypto/secret.h"

#define LIMIT_LINE 1024

bool terminal_present(void) { return isatty(STDIN_FILENO) && isatty(STDERR_FILENO); }

/* One line without its end. ERR_CANCELED at the end of input, ERR_TOO_LARGE. */
static enum err read_line(struct buffer *out)
{
    uint8_t room[LIMIT_LINE];
    size_t size = 0;
    enum err e = ERR_CANCELED;
    for (;;) {
        ssize_t n = read(STDIN_FILENO, room + size, 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        if (room[size] == '\n') {
            e = OK;
            break;
        }
        if (++size == sizeof room) {
            e = ERR_TOO_LARGE;
            break;
        }
    }
    if (e == OK) buffer_append(out, room, size);
    secret_wipe(room, sizeof room);
    return e;
}

enum err terminal_passphrase(struct buffer *out, const char *prompt, struct failure *failure)
{
    struct termios before, quiet;
    if (!terminal_present() || tcgetattr(STDIN_FILENO, &before) != 0)
        return fail(failure, ERR_NO_KEY, "a passphrase is needed and there is no terminal to ask at; "
                                         "give --passphrase-file FILE");
    /* An interrupt between would leave the terminal without echo: they wait until it is restored. */
    sigset_t signals, kept;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGTSTP);
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    sigprocmask(SIG_BLOCK, &signals, &kept);
    fprintf(stderr, "%s", prompt);
    fflush(stderr);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    enum err e = read_line(out);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    sigprocmask(SIG_SETMASK, &kept, NULL);
    /* With ISIG off, Ctrl-C comes as a character. */
    if (e == OK && memchr(out->data ? (const char *)out->data : "", '\x03', out->size)) e = ERR_CANCELED;
    if (e == ERR_TOO_LARGE) return fail(failure, e, "a passphrase has at most %d bytes", LIMIT_LINE - 1);
    return e == OK ? OK : fail(failure, e, "no passphrase was given");
}

enum err terminal_confirm(const char *question, struct failure *failure)
{
    if (!terminal_present())
        return fail(failure, ERR_USAGE, "this needs a confirmation and there is no terminal to ask at; give --yes");
    fprintf(stderr, "%s [y/N] ", question);
    fflush(stderr);
    struct buffer answer = {0};
    enum err e = read_line(&answer);
    bool yes = e == OK && answer.size > 0 && (answer.data[0] == 'y' || answer.data[0] == 'Y');
    buffer_free(&answer);
    return yes ? OK : fail(failure, ERR_CANCELED, "not confirmed; nothing was changed");
}
