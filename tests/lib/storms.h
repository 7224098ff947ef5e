/* Floods of one node by strangers, of every kind that a node has to bear: what the attackers' processes do. How long a
 * flood lasts, and whether the node bears it, is for the test that starts it to say.
 *
 * The struct is the test's: what stands in it when a flood starts is what that flood's process goes by. The stage is
 * shared with all of them, and stays mapped. What fails by the test's own fault ends the process, and so does what a
 * node may not do (testbed_fail).
 */
#ifndef TESTS_LIB_STORMS_H
#define TESTS_LIB_STORMS_H

#include "tests/lib/flood.h"

#define STORMS_SPARE 64 /* more connections than are demanded: other descriptors of the node come and go meanwhile */

struct storms {
    struct testbed *bed;
    const struct attacker *them; /* the test's own, which knows the cluster */
    unsigned node;               /* that is flooded */
    unsigned frames;             /* of garbage, in one flood */
    unsigned connections;        /* that say nothing, at once */
    unsigned half_open;          /* handshakes, at once */
    unsigned idle;               /* clients that greet and say nothing more */
    unsigned senders;            /* slow ones, each within a frame of LIMIT_FRAME */
    uint64_t noise;              /* the seed of each process, not zero */
    struct storms_stage *stage;
};

/* What an attacker's process tells. */
struct storms_stage {
    atomic_uint height; /* all of it has come */
    atomic_bool enough; /* told it: the node has had as many at once as it must */
    struct flood_tally tally;
};

void storms_open(struct storms *s); /* makes the stage */

/* Starts one of those below, with nothing on the stage yet, in a process of its own, which never ends by itself but
 * when it fails: flood_stop. Of the lowest priority, or `equal`: with the nodes' (flood.h). */
pid_t storms_start(struct storms *s, void (*run)(void *storms), bool equal);
void storms_forget_tally(struct storms *s);

/* --- their processes: each never returns, and takes a struct storms --- */

/* Until all of its frames were answered, over as many connections as it takes. */
void storm_garbage_frames(void *storms);
/* Each is cut before anything else is tried, or the process fails. */
void storm_impossible_lengths(void *storms);
void storm_noise_instead_of_tls(void *storms);
/* From two addresses: they hang up 20 times a second and come anew, or, answered, only once the node has signed. */
void storm_handshakes_without_end(void *storms);
void storm_handshakes_answered(void *storms);
void storm_half_open_handshakes(void *storms); /* within the client's first message, and behind it */
void storm_idle_connections(void *storms);
void storm_idle_clients(void *storms);
void storm_slow_senders(void *storms); /* half of each frame comes, and then a byte now and then */
/* Which any stranger may ask, and whose answers are read. */
void storm_questions_without_end(void *storms);
void storm_clients_that_never_read(void *storms);

#endif
