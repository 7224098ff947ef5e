/* A cluster of real processes for tests and benchmarks: consiliumd nodes on
 * loopback ports, in a folder of its own that is removed at the end.
 *
 * Programs come from the folder in the environment variable BUILD ("build").
 * Nodes die with the test. Every failure ends the test with a line that says
 * what was expected, after printing the nodes' last log lines.
 */
#ifndef TESTS_LIB_TESTBED_H
#define TESTS_LIB_TESTBED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/bytes.h"
#include "base/limits.h"

struct testbed {
    char dir[256], genesis[300], admin[300]; /* folder; genesis file; first administrator's identity */
    unsigned n, faulty;
    uint16_t ports[LIMIT_NODES + 1]; /* by member index, 1 .. n */
    pid_t pids[LIMIT_NODES + 1];     /* 0: not running */
    const char *program[LIMIT_NODES + 1]; /* NULL: consiliumd; else e.g. "liar --mode share" */
    const char *extra;               /* more arguments of `run`, or NULL */
    const char *log_level;           /* NULL: debug */
    bool apart;                      /* each node has an address of its own: testbed_address */
    unsigned files;                  /* the limit of open files of nodes started from now on; 0: as it is */
    bool kept;                       /* the folder is the caller's: testbed_keep */
};

/* init of n nodes, an administrator's key (without a passphrase) and the genesis; starts nothing. */
void testbed_make(struct testbed *t, unsigned n, unsigned faulty);
/* The same with an address for each node, 127.0.0.10 + its index, from which it also connects (clients: 127.0.0.1). */
void testbed_make_apart(struct testbed *t, unsigned n, unsigned faulty);
#define TESTBED_ADDRESS_SIZE 16
void testbed_address(const struct testbed *t, unsigned node, char out[static TESTBED_ADDRESS_SIZE]);
/* The same in a folder of the caller's, for large ledgers: goes on with the cluster that is there (n and b are that
 * one's), or makes one. Nodes reserve as much address space as they do by default, and log less. testbed_end stops them
 * in order and leaves the folder. */
void testbed_keep(struct testbed *t, const char *dir, unsigned n, unsigned faulty);
void testbed_start(struct testbed *t, unsigned node);
void testbed_start_all(struct testbed *t);
/* Sends a signal; with SIGKILL and SIGTERM also waits for the end. Returns the exit status of waitpid. */
int testbed_signal(struct testbed *t, unsigned node, int number);
/* What must come has so long, on however slow a machine; also the client's time-out, unless its words say another. */
#define TESTBED_PATIENCE_S 120u
/* Until every running node has said "ready" since its start, or fails after `seconds`, TESTBED_PATIENCE_S at least. */
void testbed_wait_ready(struct testbed *t, unsigned seconds);
bool testbed_log_has(const struct testbed *t, unsigned node, const char *text); /* in the log of all its lives */
bool testbed_life_has(const struct testbed *t, unsigned node, const char *text); /* since its last start */
unsigned testbed_life_count(const struct testbed *t, unsigned node, const char *text); /* the lines that have it */
/* Until its log has it since its last start, or fails. */
void testbed_await_log(const struct testbed *t, unsigned node, const char *text);
/* Kills what runs and removes the folder (kept when KEEP is set in the environment, or by testbed_keep). */
void testbed_end(struct testbed *t);

/* Runs `consilium` with the testbed's --cluster and these words (split at spaces;
 * a word in single quotes keeps them). Standard output goes to `out` (may be NULL,
 * cleared first, ends in a zero byte that is not counted), standard error too
 * when `errors` is not NULL. Returns the exit code. */
int testbed_cli(const struct testbed *t, struct buffer *out, struct buffer *errors, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same, and fails unless it exits with `code`. */
void testbed_expect(const struct testbed *t, int code, struct buffer *out, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What a node says of the cluster as JSON, also when too few nodes are ready (exit code 5). */
void testbed_status(const struct testbed *t, struct buffer *out, unsigned node);
/* The value of "key" in a JSON text, as text into `out`; fails the test when it isn't there. */
void testbed_json(const struct buffer *json, const char *path, char *out, size_t size);

/* A new user with a key of their own: DIR/<login>.key; `id` gets the user's id. */
void testbed_user(const struct testbed *t, const char *role, const char *hospital, const char *login,
                  char id[static ID_TEXT_SIZE]);

/* Most tests' people, all of Hospital 1: a doctor with a patient in their care, and the registrar who said so
 * (doctor.key, patient.key and registrar.key in DIR). */
void testbed_care(const struct testbed *t, char doctor[static ID_TEXT_SIZE], char patient[static ID_TEXT_SIZE]);
/* A note about the patient, by doctor.key. */
void testbed_record(const struct testbed *t, char record[static ID_TEXT_SIZE], const char *patient,
                    const char *content);

/* The folder of programs. */
const char *testbed_build(void);
/* Runs a shell's command, and fails unless it ends with 0. */
void testbed_shell(const struct testbed *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends the test program. */
_Noreturn void testbed_fail(const struct testbed *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
