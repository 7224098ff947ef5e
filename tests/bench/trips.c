/* Round trips are counted by making them long: what a node sends to another arrives a time D later, clients are near
 * their nodes, and so a latency is a number of D and a little work. By the design, from when the leader applies:
 *
 *   0    the leader tells all its root, and that the block is committed
 *   D    the others apply and tell all; where k is 2 each knows k equal roots, its own and the leader's, and cosigns
 *   2D   everybody has everybody's root: where k is more, all cosign now; where k is 2 everybody has k cosignatures
 *   3D   everybody has k cosignatures
 *
 * So co-signed comes 1 (k = 2) or 1.5 round trips after applied at the leader, 0.5 or 1 at another node, which applies
 * at D. A read asks for shares as soon as it is applied; the question waits at the node that is asked until that has k
 * cosignatures, and so witnessing adds 0.5 or 1 round trip to a read at the leader, none or 0.5 at another node.
 *
 * What just missed a round waits for the next, which begins half as much later as words took in the last one (2D, there
 * and back), so at D: half a round trip comes on top, and the most that witnessing adds is 1 (k = 2) or 1.5 round trips
 * at the leader, 0.5 or 1 at another node. With k = 2 of 3 nodes and one down, the other one has the leader's
 * cosignature at 3D only: 1.5 there, too. How much later than applied content was opened shows it for each read:
 * without witnessing that is one round trip.
 *
 * A read without witnessing is measured with nodes that give shares for what they have applied
 * (tests/lib/unwitnessed.c).
 */
#include "tests/bench/trips.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/witness.h"
#include "tests/bench/world.h"
#include "tests/lib/relay.h"

#define SETTLE_S 3 /* heartbeats and links under the new delay */

struct bed {
    struct testbed t;
    struct bench_world w;
    struct relay *relay;
    uint16_t ports[LIMIT_NODES + 1]; /* where nodes listen; what they advertise is the relay's */
    double one_way_ms, seconds;
    FILE *json;
};

/* One that the system hands out; whoever takes it in the moment until the node does makes the bench fail, no more. */
static uint16_t any_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0 || bind(s, (struct sockaddr *)&at, size) != 0 || getsockname(s, (struct sockaddr *)&at, &size) != 0) {
        fprintf(stderr, "bench: no free port\n");
        exit(1);
    }
    close(s);
    return ntohs(at.sin_port);
}

static void make_network(struct bed *b)
{
    for (unsigned i = 1; i <= b->t.n; i++) {
        char path[400];
        b->ports[i] = any_port();
        snprintf(path, sizeof path, "%s/node-%u/consiliumd.conf", b->t.dir, i);
        FILE *f = fopen(path, "w");
        if (!f || fprintf(f, "listen = 127.0.0.1:%u\n", b->ports[i]) < 0 || fclose(f) != 0)
            testbed_fail(&b->t, "cannot write %s", path);
    }
    b->relay = relay_start(&b->t.ports[1], &b->ports[1], b->t.n);
}

struct latency {
    double applied, last; /* medians, in round trips; last: co-signed, or content opened */
    double after[2];      /* the latter is so much later than the former: of 99 %, and of all */
};

static struct latency run(struct bed *b, enum work work, enum wait wait, unsigned clients, unsigned member)
{
    struct samples after = {0};
    const struct job job = {.work = work, .clients = clients, .operations = 1, .bytes = 1024, .wait = wait,
                            .seconds = b->seconds, .member = member, .after = &after};
    struct job_result r;
    lanes_run(&r, &b->w, &job);
    double trip = 2 * b->one_way_ms;
    struct latency l = {samples_percentile(&r.applied, 50) / trip, samples_percentile(&r.cosigned, 50) / trip,
                        {samples_percentile(&after, 99) / trip, samples_percentile(&after, 100) / trip}};
    samples_clear(&after);
    samples_clear(&r.applied);
    samples_clear(&r.cosigned);
    return l;
}

static void row(struct bed *b, const char *where, unsigned clients, unsigned member)
{
    bench_witnessing(&b->w, WITNESSING_ON);
    struct latency write = run(b, WORK_EVENT, WAIT_COSIGNED, clients, member);
    struct latency read = run(b, WORK_RECORD_SHOW, WAIT_APPLIED, clients, member);
    bench_witnessing(&b->w, WITNESSING_TAKEN_FOR_GRANTED);
    struct latency bare = run(b, WORK_RECORD_SHOW, WAIT_APPLIED, clients, member);
    printf("%-12s %7u | %8.2f %10.2f %8.2f | %9.2f %9.2f %8.2f %8.2f %8.2f\n", where, clients, write.applied,
           write.last, write.last - write.applied, bare.last, read.last, read.last - bare.last, read.after[0] - 1,
           read.after[1] - 1);
    fflush(stdout);
    if (b->json)
        fprintf(b->json, "{\"name\":\"round trips\",\"nodes\":%u,\"quorum\":%u,\"one_way_ms\":%.1f,\"at\":\"%s\","
                "\"clients\":%u,\"applied\":%.3f,\"cosigned\":%.3f,\"read_unwitnessed\":%.3f,\"read\":%.3f,"
                "\"opened_after_p99\":%.3f,\"opened_after_most\":%.3f}\n", b->t.n, b->w.cluster.genesis.quorum,
                b->one_way_ms, where, clients, write.applied, write.last, bare.last, read.last, read.after[0],
                read.after[1]);
}

static void table(struct bed *b)
{
    unsigned leader = world_leader(&b->t);
    printf("%u nodes, co-signed by %u; round trips of %.0f ms between nodes (one way %.0f ms), medians\n", b->t.n,
           b->w.cluster.genesis.quorum, 2 * b->one_way_ms, b->one_way_ms);
    printf("%-12s %7s | %8s %10s %8s | %9s %9s %8s %8s %8s\n", "", "", "event:", "", "", "show: un-", "", "", "p99",
           "most");
    printf("%-12s %7s | %8s %10s %8s | %9s %9s %8s %8s %8s\n", "client at", "clients", "applied", "co-signed", "added",
           "witnessed", "witnessed", "added", "added", "added");
    for (unsigned clients = 1; clients <= 16; clients += 15) {
        row(b, "the leader", clients, leader);
        row(b, "a follower", clients, leader % b->t.n + 1);
    }
    if (world_leader(&b->t) != leader) printf("(another node leads now: run it again)\n");
    printf("\n");
}

void bench_trips(unsigned nodes, double one_way_ms, double seconds, FILE *json)
{
    struct bed *b = calloc(1, sizeof *b);
    if (!b) abort();
    b->one_way_ms = one_way_ms;
    b->seconds = seconds;
    b->json = json;
    testbed_make(&b->t, nodes, nodes > 3 ? 1 : 0);
    bench_witness_programs(&b->t);
    make_network(b);
    testbed_start_all(&b->t);
    testbed_wait_ready(&b->t, 60);
    world_open(&b->w, &b->t);
    b->w.ports = b->ports;
    relay_delay(b->relay, (uint64_t)(one_way_ms * 1e6));
    sleep(SETTLE_S);
    table(b);
    world_close(&b->w);
    testbed_end(&b->t);
    relay_stop(b->relay);
    free(b);
}
