#include "tests/bench/idle.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define NODE 1
#define REST_S 12 /* a node looks at idle connections after 5 s, now and then */

/* A descriptor for each client. */
static unsigned most_clients(void)
{
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 100 ? (unsigned)limit.rlim_cur - 100 : 0;
}

void bench_idle(struct bench_world *w, const struct testbed *t, unsigned clients, FILE *json)
{
    unsigned most = most_clients();
    if (clients > most) {
        fprintf(stderr, "bench: only %u clients: more need more open files (ulimit -n)\n", most);
        clients = most;
    }
    if (clients == 0) return;
    struct client **all = xcalloc(clients, sizeof(struct client *));
    uint64_t before = usage_of(t->pids[NODE]).private_kib, begin = clock_monotonic_ns();
    for (unsigned i = 0; i < clients; i++) all[i] = lanes_connect(w, NODE);
    double seconds = (double)(clock_monotonic_ns() - begin) / 1e9;
    uint64_t fresh = usage_of(t->pids[NODE]).private_kib;
    sleep(REST_S);
    uint64_t rested = usage_of(t->pids[NODE]).private_kib;
    for (unsigned i = 0; i < clients; i++) client_close(all[i]);
    free(all);
    double each = ((double)rested - (double)before) / clients, each_fresh = ((double)fresh - (double)before) / clients;
    printf("%u idle clients of one node: %.1f KiB of private memory each (%.1f KiB just after connecting); "
           "node %.1f MiB, %.1f MiB before; connecting took %.1f ms each\n", clients, each, each_fresh,
           (double)rested / 1024, (double)before / 1024, seconds * 1000 / clients);
    if (json)
        fprintf(json, "{\"name\":\"idle clients\",\"clients\":%u,\"private_kib_each\":%.2f,\"fresh_kib_each\":%.2f,"
                "\"connect_ms\":%.2f}\n", clients, each, each_fresh, seconds * 1000 / clients);
}
