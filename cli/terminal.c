#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/output.h"
#include "crypto/secret.h"

#define LIMIT_LINE 1024

bool terminal_present(void) { return isatty(STDIN_FILENO) && isatty(STDERR_FILENO); }

/* What a person or the system ends or suspends a program with: at a prompt without echo
 * it must restore the terminal first, and must not have to wait for a line either. */
static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define ENDING (sizeof ending / sizeof ending[0])

static volatile sig_atomic_t caught; /* one of them, or 0 */
static void on_signal(int number) { caught = number; }

/* Waits until there is something to read. With a mask, blocked signals come in here only, so that none
 * falls between a look at `caught` and the waiting; false when one came. */
static bool wait_readable(const sigset_t *mask)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    while (!caught && ppoll(&input, 1, NULL, mask) < 0 && errno == EINTR) continue;
    return !caught;
}

/* The terminal, opened once more for reading: what Ctrl-C throws away between poll and read would leave a blocking
 * read waiting with signals blocked, and O_NONBLOCK on standard input itself would be every process' that shares it.
 * Where it can't be opened (another user's), standard input. */
static int open_input(void)
{
    int file = open("/proc/self/fd/0", O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return file >= 0 ? file : STDIN_FILENO;
}

/* One line without its end. ERR_CANCELED at the end of input or for a signal, ERR_TOO_LARGE. */
static enum err read_line(struct buffer *out, const sigset_t *mask)
{
    uint8_t room[LIMIT_LINE];
    size_t size = 0;
    enum err e = ERR_CANCELED;
    int input = open_input();
    caught = 0;
    while (wait_readable(mask)) {
        ssize_t n = read(input, room + size, 1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
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
    if (input != STDIN_FILENO) close(input);
    if (e == OK) buffer_append(out, room, size);
    secret_wipe(room, sizeof room);
    return e;
}

static enum err read_quietly(struct buffer *out, const struct termios *before)
{
    struct sigaction action = {.sa_handler = on_signal}, kept[ENDING];
    struct termios quiet = *before;
    sigset_t signals, mask;
    sigemptyset(&signals);
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ENDING; i++) sigaddset(&signals, ending[i]);
    sigprocmask(SIG_BLOCK, &signals, &mask);
    for (size_t i = 0; i < ENDING; i++) {
        sigaction(ending[i], NULL, &kept[i]);
        if (kept[i].sa_handler != SIG_IGN) sigaction(ending[i], &action, NULL);
    }
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    enum err e = read_line(out, &mask);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, before);
    fputc('\n', stderr);
    for (size_t i = 0; i < ENDING; i++) sigaction(ending[i], &kept[i], NULL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    return e;
}

enum err terminal_passphrase(struct buffer *out, const char *prompt, struct failure *failure)
{
    struct termios before;
    if (!terminal_present() || tcgetattr(STDIN_FILENO, &before) != 0)
        return fail(failure, ERR_NO_KEY, "a passphrase is needed and there is no terminal to ask at; "
                                         "give --passphrase-file FILE");
    enum err e;
    do {
        output_prompt(prompt);
        e = read_quietly(out, &before);
        output_prompt(NULL);
        if (caught) raise(caught); /* ends the program, or suspends it: then it asks again */
    } while (caught == SIGTSTP);
    if (e == ERR_TOO_LARGE) return fail(failure, e, "a passphrase has at most %d bytes", LIMIT_LINE - 1);
    return e == OK ? OK : fail(failure, e, "no passphrase was given");
}

enum err terminal_confirm(const char *question, struct failure *failure)
{
    if (!terminal_present())
        return fail(failure, ERR_USAGE, "this needs a confirmation and there is no terminal to ask at; give --yes");
    struct buffer prompt = {0}, answer = {0};
    buffer_printf(&prompt, "%s [y/N] ", question);
    buffer_append(&prompt, "", 1);
    CHECK(!prompt.failed);
    output_prompt((const char *)prompt.data);
    enum err e = read_line(&answer, NULL);
    output_prompt(NULL);
    buffer_free(&prompt);
    bool yes = e == OK && answer.size > 0 && (answer.data[0] == 'y' || answer.data[0] == 'Y');
    buffer_free(&answer);
    return yes ? OK : fail(failure, ERR_CANCELED, "not confirmed; nothing was changed");
}
