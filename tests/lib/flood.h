/* What tests of floods share: connections of many addresses, half a handshake, questions
 * without an end, attackers in processes of their own, and how much memory a node may take.
 *
 * What fails by the test's own fault ends the test (testbed_fail).
 */
#ifndef TESTS_LIB_FLOOD_H
#define TESTS_LIB_FLOOD_H

#include <stdatomic.h>

#include "tests/lib/attacker.h"

#define FLOOD_PATIENCE_MS (TESTBED_PATIENCE_S * 1000)
#define FLOOD_HELLO 1024

uint64_t flood_now_ms(void); /* monotonic */
unsigned flood_number(const char *name, unsigned otherwise); /* of the environment */
/* This process and those it starts may have as many descriptors as the hard limit allows; root raises that to `most`
 * first. Returns how many. */
unsigned flood_raise_files(unsigned most);

/* Memory, zero at first, that this process shares with those that it forks from now on. Stays mapped. */
void *flood_shared(size_t size);

/* --- memory --- */

/* In KiB: `mib` MiB, and more under a sanitizer, which keeps what was freed, and shadows it: there only the order of
 * magnitude counts. */
uint64_t flood_kib(unsigned mib);
/* Fails when the node takes more than `mib` MiB above `before_kib`, and prints what it takes. */
void flood_assert_memory(const struct attacker *a, unsigned node, uint64_t before_kib, unsigned mib,
                         const char *meanwhile);

/* --- connections --- */

/* Connects to the node from 127.0.0.x: one address may have LIMIT_CONNECTIONS_PER_ADDRESS. -1: refused. */
int flood_dial(const struct testbed *bed, unsigned node, unsigned x);
void flood_close_all(int *sockets, unsigned count); /* those that are not -1 */
/* Keeps so many connections open, 3,000 of each address from 127.0.0.x on, until another process says `enough`: who was
 * cut, or refused, comes again. `say` (may be NULL) is called with each new one, its number and `data`. Returns them,
 * -1 where one is missing. */
int *flood_keep_open(const struct testbed *bed, unsigned node, unsigned x, unsigned count, const atomic_bool *enough,
                     void (*say)(int socket, unsigned number, void *data), void *data);
/* Whether the node has ended or reset it, as far as has come here. Reads nothing. */
bool flood_is_cut(int socket);
unsigned flood_descriptors(const struct testbed *bed, unsigned node); /* that the node's process has open */
/* What a client of the node says first, whole; returns its size. */
size_t flood_hello(const struct attacker *a, unsigned node, uint8_t out[static FLOOD_HELLO]);
/* A client that takes little of what it is sent before its window is full. */
struct client *flood_small_reader(struct attacker *a, unsigned node);
/* `count` cheap questions, as frames. */
void flood_questions(struct buffer *out, unsigned count);

/* How heavy a flood is, as who makes it sees it: shared by its processes. */
struct flood_tally {
    atomic_uint tries, answers;
};

/* Connects from 127.0.0.x, 200 at a time, and says hello, without end: the node's first flight takes its signature,
 * ours costs nothing. Hangs up 20 times a second: on all of them, or, `patient`, on who was answered. Tallies
 * connections, and (NULL: doesn't). */
_Noreturn void flood_shake_hands(const struct attacker *a, unsigned node, unsigned x, bool patient,
                                 struct flood_tally *tally);

/* --- attackers --- */

/* In a process of its own, which ends with this one, and has only processors that nobody else wants (SCHED_IDLE): what an
 * attacker computes is not what a node has to bear, and a real one computes elsewhere. `run` may return: then the
 * process ends with status 0. */
pid_t flood_start(struct testbed *bed, void (*run)(void *data), void *data);
/* The same with the nodes' priority: on a machine with so much else to do that nothing is left. */
pid_t flood_start_equal(struct testbed *bed, void (*run)(void *data), void *data);
/* To be called by `run` after each small step, as those above do: whom the kernel has once chosen keeps the processor up
 * to the next tick, however low its priority, for milliseconds that an attacker elsewhere does not take. */
void flood_give_way(void);
int flood_stop(pid_t pid); /* its status, as of waitpid */

#endif
