/* Who waits for a size to be witnessed. */
#include "consensus/witness_internal.h"

/* It is in one of the two lists, or in none: then it was called back already. */
static void unlink_wait(struct witness *w, struct witness_wait *wait)
{
    if (wait->witness.previous)
        wait->witness.previous->witness.next = wait->witness.next;
    else if (w->waits == wait)
        w->waits = wait->witness.next;
    else if (w->due == wait)
        w->due = wait->witness.next;
    if (wait->witness.next) wait->witness.next->witness.previous = wait->witness.previous;
    wait->witness.next = wait->witness.previous = NULL;
}

static void link_wait(struct witness_wait **list, struct witness_wait *wait)
{
    wait->witness.previous = NULL;
    wait->witness.next = *list;
    if (*list) (*list)->witness.previous = wait;
    *list = wait;
}

/* A callback may add waits, cancel any, due ones too, and come back here: the due
 * ones go to a list of their own first, and each is off it before it is called. */
void witness_run_waits(struct witness *w, uint64_t now_ns, bool all)
{
    for (struct witness_wait *at = w->waits, *next; at; at = next) {
        next = at->witness.next;
        if (!all && at->leaf_index >= w->size && now_ns < at->deadline_ns) continue;
        unlink_wait(w, at);
        link_wait(&w->due, at);
    }
    while (w->due) {
        struct witness_wait *at = w->due;
        unlink_wait(w, at);
        at->done(at, at->leaf_index < w->size ? OK : w->stopped ? ERR_STOPPED : ERR_NOT_WITNESSED);
    }
}

void witness_wait(struct witness *w, struct witness_wait *wait)
{
    wait->witness.next = wait->witness.previous = NULL;
    if (wait->leaf_index < w->size || w->stopped) {
        wait->done(wait, wait->leaf_index < w->size ? OK : ERR_STOPPED);
        return;
    }
    link_wait(&w->waits, wait);
    if (!w->leads || wait->leaf_index < w->awaited || wait->leaf_index >= w->newest.size) return;
    w->awaited = wait->leaf_index + 1;
    witness_next_round(w);
}

void witness_wait_cancel(struct witness *w, struct witness_wait *wait) { unlink_wait(w, wait); }
