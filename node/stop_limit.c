#include "node/stop_limit.h"

#include <stdbool.h>
#include <unistd.h>
#include <uv.h>

#include "base/check.h"
#include "base/log.h"

static struct {
    bool runs, over;
    uint32_t ms;
    uv_thread_t thread;
    uv_mutex_t mutex;
    uv_cond_t changed;
} limit;

static void watch(void *data)
{
    (void)data;
    uint64_t end = uv_hrtime() + limit.ms * UINT64_C(1000000);
    uv_mutex_lock(&limit.mutex);
    for (uint64_t now; !limit.over && (now = uv_hrtime()) < end;)
        uv_cond_timedwait(&limit.changed, &limit.mutex, end - now);
    if (!limit.over) {
        log_error("node", "the stop took longer than %u s: something hangs, such as a device. Ending at once (a restart "
                  "replays what is durable)", limit.ms / 1000);
        _exit(1);
    }
    uv_mutex_unlock(&limit.mutex);
}

void stop_limit_begin(uint32_t ms)
{
    CHECK(!limit.runs);
    limit.ms = ms;
    limit.over = false;
    CHECK(uv_mutex_init(&limit.mutex) == 0 && uv_cond_init(&limit.changed) == 0);
    limit.runs = uv_thread_create(&limit.thread, watch, NULL) == 0;
    if (limit.runs) return;
    log_warning("node", "no thread for a time limit: this stop takes as long as it takes");
    uv_cond_destroy(&limit.changed);
    uv_mutex_destroy(&limit.mutex);
}

void stop_limit_end(void)
{
    if (!limit.runs) return;
    uv_mutex_lock(&limit.mutex);
    limit.over = true;
    uv_cond_signal(&limit.changed);
    uv_mutex_unlock(&limit.mutex);
    uv_thread_join(&limit.thread);
    uv_cond_destroy(&limit.changed);
    uv_mutex_destroy(&limit.mutex);
    limit.runs = false;
}
