/* Clients for the benchmark: open connections driven by one thread, each with one
 * request under way, every answer checked as the CLI checks it.
 */
#ifndef TESTS_BENCH_LANES_H
#define TESTS_BENCH_LANES_H

#include "cli/cluster.h"
#include "cli/collective.h"
#include "cli/signer.h"
#include "net/client.h"
#include "net/protocol.h"
#include "tests/bench/measure.h"

enum work { WORK_EVENT, WORK_RECORD_CREATE, WORK_RECORD_SHOW, WORK_LOG };

struct job {
    enum work work;
    unsigned clients;
    unsigned operations; /* per request */
    size_t bytes;        /* of each event's note, or of each record */
    enum wait wait;      /* what the next request waits for */
    unsigned awaiting;   /* of the clients, so many wait until it is co-signed, whatever `wait` says */
    unsigned member;     /* all clients are of this node; 0: spread over all */
    double seconds;
    uint64_t most; /* operations in all, or 63 more; the run ends then, and has no warm-up; 0: until its time is over */
    bool patient;  /* a request that was refused for the moment is made anew, and an answer may take minutes */
    void (*began)(void *data); /* may be NULL; when measuring begins, after the warm-up */
    void (*over)(void *data);  /* may be NULL; when its time is, before what is under way then is answered */
    bool (*ended)(void *data); /* may be NULL; true: the run ends before its time */
    struct samples *after; /* may be NULL: of each operation, by how much `cosigned` is more than `applied` */
    void *data;
};

struct job_result {
    uint64_t operations; /* answered; may be looked at while the job runs */
    double seconds;
    struct samples applied, cosigned; /* from sending to the answer; cosigned: to content opened for record show */
};

/* Shared by all lanes of a run. */
struct bench_world {
    struct cluster cluster; /* genesis and TLS context; its own connection is not used by lanes */
    struct collective collective;
    struct signer doctor;
    struct id patient;
    struct id *records; /* to be shown */
    size_t record_count;
    const uint16_t *ports; /* of the nodes by member index, on loopback; NULL: where they advertise */
};

#define LANES_WARM_UP_S 0.3 /* not counted */
/* Runs the job on `clients` connections. Ends the program
 * with a message when an answer is not right. */
void lanes_run(struct job_result *out, struct bench_world *world, const struct job *job);
/* A connection to this node, greeted (id 1); client_close ends it. Ends the program when that fails. */
struct client *lanes_connect(struct bench_world *world, unsigned member);

#endif
