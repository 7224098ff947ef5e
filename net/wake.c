#include "net/wake.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include <sys/eventfd.h>

#include "base/check.h"

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct wake *w = (struct wake *)poll; /* its first member */
    uint64_t count;
    (void)status; /* an eventfd has no errors to tell */
    (void)events;
    ssize_t n = read(w->file, &count, sizeof count);
    CHECK(n == sizeof count || errno == EAGAIN || errno == EINTR);
    atomic_store(&w->sent, false); /* before the work is looked for: what comes from now on wakes again */
    w->woken(w);
}

enum err wake_open(struct wake *w, uv_loop_t *loop, void (*woken)(struct wake *wake))
{
    w->woken = woken;
    atomic_init(&w->sent, false);
    w->file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->file < 0) return ERR_IO;
    if (uv_poll_init(loop, &w->poll, w->file) == 0) {
        CHECK(uv_poll_start(&w->poll, UV_READABLE, on_readable) == 0);
        return OK;
    }
    close(w->file);
    return ERR_IO;
}

void wake_send(struct wake *w)
{
    static const uint64_t one = 1;
    if (atomic_exchange(&w->sent, true)) return;
    ssize_t n;
    do
        n = write(w->file, &one, sizeof one);
    while (n < 0 && errno == EINTR);
    CHECK(n == sizeof one); /* the counter is never near its end */
}

void wake_close(struct wake *w, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&w->poll, closed);
    close(w->file);
    w->file = -1;
}
