/* Wakes a loop from any thread; many calls before it turns are one.
 *
 * Instead of uv_async: there, before libuv 1.46, the loop waits within the callback until the sender's call has
 * ended. Where processors are few, the wake-up itself puts the loop in the sender's place, and the loop then spins
 * until the scheduler lets the sender go on: with three nodes on two processors that took a tenth of a write's time.
 */
#ifndef NET_WAKE_H
#define NET_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <uv.h>

#include "base/error.h"

struct wake {
    uv_poll_t poll; /* poll.data is the owner's */
    int file;       /* an eventfd */
    atomic_bool sent;
    void (*woken)(struct wake *wake);
};

/* Loop thread. From then on `woken` comes on the loop, at least once after each wake_send. ERR_IO: no descriptor is
 * left. `wake` must stay where it is until `closed` of wake_close. */
enum err wake_open(struct wake *wake, uv_loop_t *loop, void (*woken)(struct wake *wake));
/* Any thread, until wake_close. Never calls `woken` itself. */
void wake_send(struct wake *wake);
/* Loop thread. Nobody sends any more. `closed` gets &wake->poll; `woken` doesn't come again. */
void wake_close(struct wake *wake, uv_close_cb closed);

#endif
