#include "storage/store_guard.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

static const int signals[] = {SIGBUS, SIGSEGV, SIGABRT};
#define SIGNALS (sizeof signals / sizeof signals[0])
static struct sigaction before[SIGNALS];
static void (*on_damage)(const char *directory);
/* Initial-exec: a handler may read it. */
static _Thread_local const char *volatile inside __attribute__((tls_model("initial-exec")));

static void say(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* nothing else could be said */
}

/* The node's folder holds the store's: "DIR/state". */
static void say_damaged(const char *directory)
{
    say("consiliumd: ");
    say(directory);
    say("/data.mdb is damaged: its device failed, it was cut short, or overwritten. This node stops here and "
        "acknowledges nothing more; 'consiliumd rebuild --dir DIR' sets the state aside, and the next start derives it "
        "anew from the others' ledger\n");
}

_Noreturn void store_guard_damaged(const char *directory)
{
    if (on_damage)
        on_damage(directory);
    else
        say_damaged(directory);
    _exit(1);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
    (void)context;
    /* malloc aborts when it finds its memory overwritten; so does CHECK, for another reason. */
    bool own = number == SIGABRT ? info->si_code == SI_TKILL && info->si_pid == getpid() && !check_is_failing()
                                 : info->si_code > 0;
    /* Sent by somebody, or met outside the store: as it would be without us. */
    if (inside && own) store_guard_damaged(inside);
    for (size_t i = 0; i < SIGNALS; i++)
        if (signals[i] == number) sigaction(number, &before[i], NULL);
    if (info->si_code <= 0) raise(number); /* else the same instruction meets it again */
}

void store_guard_install(void (*damaged)(const char *directory))
{
    on_damage = damaged;
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < SIGNALS; i++)
        CHECK(sigaction(signals[i], &action, &before[i]) == 0);
}

const char *store_guard_enter(const char *directory)
{
    const char *was = inside;
    inside = directory;
    return was;
}

void store_guard_leave(const char *const *was) { inside = *was; }
