/* What a damaged data file does to the process that reads it through a mapping.
 *
 * LMDB's pages carry no checksum, and LMDB follows what stands in them: a file that was
 * cut short, or whose device fails, ends in SIGBUS, a page that is not what it should be
 * in SIGSEGV, in one of LMDB's assertions, or in an abort of malloc, whose memory LMDB
 * wrote over where such a page told it to. Each thread says while it is inside the
 * store; a signal there is damage, and ends the process in order, with words that name
 * the store, as kill -9 would end it: nothing is written, nothing answered. A signal
 * anywhere else is a bug, and goes the way it would go without this. */
#ifndef STORAGE_STORE_GUARD_H
#define STORAGE_STORE_GUARD_H

/* Once, before threads start. `damaged` is called on the thread that met the damage and may
 * only do what a signal handler may (write, _exit); NULL: a line on standard error that
 * names the folder, and exit code 1. */
void store_guard_install(void (*damaged)(const char *directory));

/* The folder of the store that this thread is inside of from now on, until the block's end. */
#define STORE_GUARD(directory)                                                                     \
    const char *guard_before __attribute__((unused, cleanup(store_guard_leave))) = store_guard_enter(directory)
const char *store_guard_enter(const char *directory); /* what store_guard_leave takes */
void store_guard_leave(const char *const *before);

/* Found without a signal: LMDB's assertions. */
_Noreturn void store_guard_damaged(const char *directory);

#endif
