/* unwitnessed: a node that doesn't witness, to measure what witnessing costs. The real node, with a few
 * functions wrapped by the linker (--wrap): no configuration can start a node that doesn't witness.
 *
 * While the file named by UNWITNESSED_WHILE exists, the node
 *
 *   tells and cosigns no roots, logs no marks, and drops what others tell and cosign,
 *   doesn't sign the commits that it states as leader,
 *   and where the file isn't empty takes an entry for witnessed once it has applied it, so that it gives shares at
 *   once (no real node does); else who waits for a checkpoint waits until there are some again.
 *
 * Without that file it is a node like any other: so both can be measured on one cluster, by turns, on the
 * same store. The arguments are consiliumd's.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "consensus/driver_internal.h"
#include "consensus/witness_internal.h"

void __real_witness_applied(struct witness *w, const struct driver_applied *applied);
void __wrap_witness_applied(struct witness *w, const struct driver_applied *applied);
void __real_witness_message(struct witness *w, unsigned from, uint32_t type, struct bytes body);
void __wrap_witness_message(struct witness *w, unsigned from, uint32_t type, struct bytes body);
void __real_witness_wait(struct witness *w, struct witness_wait *wait);
void __wrap_witness_wait(struct witness *w, struct witness_wait *wait);
void __real_witness_wait_cancel(struct witness *w, struct witness_wait *wait);
void __wrap_witness_wait_cancel(struct witness *w, struct witness_wait *wait);
void __real_witness_stop(struct witness *w);
void __wrap_witness_stop(struct witness *w);
void __real_driver_state_commit(struct driver *d);
void __wrap_driver_state_commit(struct driver *d);

/* A system call of half a microsecond for each block and message, in both ways. */
static bool look(struct stat *file)
{
    const char *path = getenv("UNWITNESSED_WHILE");
    return path && stat(path, file) == 0;
}

static bool is_off(void)
{
    struct stat file;
    return look(&file);
}

static bool gives_shares(void)
{
    struct stat file;
    return look(&file) && file.st_size > 0;
}

/* For what is not applied here yet; the loop's. */
static struct witness_wait *waits;

static bool is_applied(const struct witness *w, const struct witness_wait *wait)
{
    struct driver_status driver;
    driver_status(w->o.driver, &driver);
    return driver.size > wait->leaf_index;
}

/* Off the list before it is called; then from the beginning, since a callback may add and cancel others. */
static void run_waits(const struct witness *w)
{
    for (struct witness_wait **at = &waits; *at;) {
        struct witness_wait *wait = *at;
        if (!w->stopped && !is_applied(w, wait) && clock_monotonic_ns() < wait->deadline_ns) {
            at = &wait->witness.next;
            continue;
        }
        *at = wait->witness.next;
        wait->witness.next = NULL;
        wait->done(wait, is_applied(w, wait) ? OK : w->stopped ? ERR_STOPPED : ERR_NOT_WITNESSED);
        at = &waits;
    }
}

void __wrap_witness_applied(struct witness *w, const struct driver_applied *applied)
{
    if (!is_off()) __real_witness_applied(w, applied);
    run_waits(w);
}

void __wrap_witness_message(struct witness *w, unsigned from, uint32_t type, struct bytes body)
{
    if (!is_off()) __real_witness_message(w, from, type, body);
}

void __wrap_witness_wait(struct witness *w, struct witness_wait *wait)
{
    if (!gives_shares()) {
        __real_witness_wait(w, wait);
        return;
    }
    wait->witness.previous = NULL;
    wait->witness.next = waits;
    waits = wait;
    run_waits(w);
}

void __wrap_witness_wait_cancel(struct witness *w, struct witness_wait *wait)
{
    for (struct witness_wait **at = &waits; *at; at = &(*at)->witness.next)
        if (*at == wait) {
            *at = wait->witness.next;
            wait->witness.next = NULL;
            return;
        }
    __real_witness_wait_cancel(w, wait);
}

void __wrap_witness_stop(struct witness *w)
{
    __real_witness_stop(w);
    run_waits(w);
}

void __wrap_driver_state_commit(struct driver *d)
{
    if (!is_off()) __real_driver_state_commit(d);
}
