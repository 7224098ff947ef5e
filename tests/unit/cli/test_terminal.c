/* Asking at a terminal: the answer, what ends or leaves it, and the echo that comes back. */
#include "cli/terminal.h"

#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/output.h"
#include "crypto/secret.h"
#include "tests/lib/unit.h"

enum { ANSWERED = 40, OTHERWISE = 41, FAILED = 60 /* and the code */ };
#define PATIENCE_NS (60 * 1000000000ull)

static int terminal = -1; /* the person's side */
static pid_t child;

/* --- in the child --- */

static int ask_passphrase(void)
{
    struct buffer got = {0};
    struct failure failure = {0};
    enum err e = terminal_passphrase(&got, "Passphrase: ", &failure);
    bool right = got.size == 6 && memcmp(got.data, "secret", 6) == 0;
    secret_wipe_buffer(&got);
    if (e != OK) return failure.text[0] ? FAILED + (int)e : 1;
    return right ? ANSWERED : OTHERWISE;
}

static int confirm(void)
{
    struct failure failure = {0};
    enum err e = terminal_confirm("Passphrase? ", &failure);
    return e == OK ? ANSWERED : FAILED + (int)e;
}

/* What another thread says meanwhile: once the parent writes a byte. */
static int word[2];
static struct output beside = {.beside = true};

static void *say(void *data)
{
    char byte;
    (void)data;
    if (read(word[0], &byte, 1) == 1) output_message(&beside, "an alarm");
    return NULL;
}

static int confirm_and_listen(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, say, NULL) != 0) return 1;
    int code = confirm();
    return pthread_join(thread, NULL) == 0 ? code : 1;
}

/* --- in the parent --- */

static void begin(int (*ask)(void))
{
    child = forkpty(&terminal, NULL, NULL, NULL);
    if (child < 0) {
        print_message("no pseudo-terminal can be opened here\n");
        skip();
    }
    if (child == 0) { /* never -1 from here on: kill(-1) would mean everybody */
        for (int i = 1; i < 32; i++) signal(i, SIG_DFL); /* cmocka's */
        _exit(ask());
    }
}

static bool echoes(void)
{
    struct termios now;
    assert_int_equal(tcgetattr(terminal, &now), 0);
    return (now.c_lflag & ECHO) != 0;
}

/* Reads what is shown until it ends so. */
static void await_text(const char *end)
{
    char shown[4096];
    size_t size = 0, n = strlen(end);
    while (size < n || memcmp(shown + size - n, end, n) != 0) {
        assert_true(size < sizeof shown);
        assert_int_equal(read(terminal, shown + size, 1), 1);
        size++;
    }
}

static void await_silence(void)
{
    uint64_t limit = clock_monotonic_ns() + PATIENCE_NS;
    await_text("Passphrase: ");
    while (echoes()) {
        assert_true(clock_monotonic_ns() < limit);
        usleep(1000);
    }
}

static void type(const char *text) { assert_int_equal(write(terminal, text, strlen(text)), strlen(text)); }

/* The child's status. Its terminal echoes again, whatever ended it. */
static int end(void)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(echoes());
    close(terminal);
    return status;
}

static void test_answers(void **state)
{
    (void)state;
    begin(ask_passphrase);
    await_silence();
    type("secret\n");
    assert_int_equal(WEXITSTATUS(end()), ANSWERED);
    begin(ask_passphrase);
    await_silence();
    type("Secret\n");
    assert_int_equal(WEXITSTATUS(end()), OTHERWISE);
    begin(ask_passphrase);
    await_silence();
    type("\x04"); /* the end of input */
    assert_int_equal(WEXITSTATUS(end()), FAILED + ERR_CANCELED);
}

static void test_too_long(void **state)
{
    char line[1030];
    (void)state;
    begin(ask_passphrase);
    await_silence();
    memset(line, 'x', sizeof line);
    line[sizeof line - 2] = '\n';
    line[sizeof line - 1] = '\0';
    type(line);
    assert_int_equal(WEXITSTATUS(end()), FAILED + ERR_TOO_LARGE);
}

static void is_ended_by(const char *typed)
{
    begin(ask_passphrase);
    await_silence();
    type(typed);
    int status = end();
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}

/* Ctrl-C ends it at once, with nothing or half a line typed, and so does kill. */
static void test_signals(void **state)
{
    (void)state;
    static const char *const typed[] = {"\x03", "secr\x03"};
    for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++) is_ended_by(typed[i]);
    /* The half line is read before, or a part of it, or (Ctrl-C throws away what was typed) nothing of it after all. */
    for (size_t i = 0; i < 200; i++) is_ended_by("secr\x04\x03");
    static const int numbers[] = {SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        begin(ask_passphrase);
        await_silence();
        assert_int_equal(kill(child, numbers[i]), 0);
        int status = end();
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == numbers[i]);
    }
}

/* Nobody continues a session's first process, so the system ignores the stop: it asks again. */
static void test_suspend(void **state)
{
    (void)state;
    begin(ask_passphrase);
    await_silence();
    type("\x1a");
    await_silence();
    type("secret\n");
    assert_int_equal(WEXITSTATUS(end()), ANSWERED);
}

static void test_confirm(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } rows[] = {{"y\n", ANSWERED}, {"Yes\n", ANSWERED}, {"n\n", FAILED + ERR_CANCELED},
                {"\n", FAILED + ERR_CANCELED}, {"\x04", FAILED + ERR_CANCELED}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(confirm);
        await_text("[y/N] ");
        type(rows[i].text);
        assert_int_equal(WEXITSTATUS(end()), rows[i].status);
    }
}

/* The question stands behind what came in between. */
static void test_asks_again_behind_a_message(void **state)
{
    (void)state;
    assert_int_equal(pipe(word), 0);
    begin(confirm_and_listen);
    await_text("[y/N] ");
    type("ye"); /* and that stays typed */
    assert_int_equal(write(word[1], "", 1), 1);
    await_text("consilium: an alarm\r\nPassphrase?  [y/N] ");
    type("s\n");
    assert_int_equal(WEXITSTATUS(end()), ANSWERED);
    close(word[0]);
    close(word[1]);
}

static void test_no_terminal(void **state)
{
    (void)state;
    int kept = dup(STDIN_FILENO), null = open("/dev/null", O_RDONLY);
    struct buffer got = {0};
    struct failure failure = {0};
    assert_int_equal(dup2(null, STDIN_FILENO), STDIN_FILENO);
    assert_false(terminal_present());
    assert_int_equal(terminal_passphrase(&got, "Passphrase: ", &failure), ERR_NO_KEY);
    assert_non_null(strstr(failure.text, "--passphrase-file"));
    assert_int_equal(terminal_confirm("Sure?", &failure), ERR_USAGE);
    assert_non_null(strstr(failure.text, "--yes"));
    assert_int_equal(got.size, 0);
    if (kept >= 0) dup2(kept, STDIN_FILENO);
    close(kept);
    close(null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers), cmocka_unit_test(test_too_long), cmocka_unit_test(test_signals),
        cmocka_unit_test(test_suspend), cmocka_unit_test(test_confirm),  cmocka_unit_test(test_no_terminal),
        cmocka_unit_test(test_asks_again_behind_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
