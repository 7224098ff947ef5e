#include "tests/bench/verify.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

#define FILL_CLIENTS 64
#define SAMPLE_US 20000

static uint64_t ledger_size_now(const struct testbed *t)
{
    char size[24];
    struct buffer out = {0};
    testbed_expect(t, 0, &out, "-i %s/auditor.key --json status", t->dir);
    testbed_json(&out, "counters.synced_size", size, sizeof size);
    buffer_free(&out);
    return strtoull(size, NULL, 10);
}

static void fill(struct bench_world *w, const struct testbed *t, uint64_t leaves, unsigned operations)
{
    const struct job job = {.work = WORK_EVENT, .clients = FILL_CLIENTS, .operations = operations, .bytes = 64,
                            .wait = WAIT_APPLIED, .seconds = 5};
    for (uint64_t size = ledger_size_now(t); size < leaves; size = ledger_size_now(t)) {
        struct job_result r;
        lanes_run(&r, w, &job);
        samples_clear(&r.applied);
        samples_clear(&r.cosigned);
        fprintf(stderr, "\rfilling: %llu of %llu entries ", (unsigned long long)size, (unsigned long long)leaves);
    }
    fputs("\n", stderr);
}

static pid_t start(const struct testbed *t, const char *output)
{
    const char *build = getenv("BUILD");
    char program[600], identity[400];
    snprintf(program, sizeof program, "%s/consilium", build && *build ? build : "build");
    snprintf(identity, sizeof identity, "%s/auditor.key", t->dir);
    pid_t pid = fork();
    if (pid != 0) return pid;
    int file = open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || dup2(file, 1) < 0) _exit(127);
    execl(program, program, "--cluster", t->genesis, "-i", identity, "verify", (char *)NULL);
    _exit(127);
}

/* --- what no verifier can do without --- */

#define RAW_ROUNDS 4000
#define RAW_BYTES 400 /* about what an entry of an event takes */

static double raw_hash_us(void)
{
    static uint8_t entry[RAW_BYTES];
    uint64_t begin = clock_monotonic_ns();
    for (unsigned i = 0; i < RAW_ROUNDS; i++) {
        struct digest d;
        hash_sha256(&d, entry, sizeof entry);
        memcpy(entry, d.bytes, sizeof d.bytes); /* each depends on the one before */
    }
    return (double)(clock_monotonic_ns() - begin) / 1e3 / RAW_ROUNDS;
}

static double raw_signature_us(void)
{
    static const uint8_t seed[SIGN_SEED_SIZE] = {1};
    static uint8_t message[RAW_BYTES];
    struct sign_secret secret;
    struct sign_public key;
    struct signature signature;
    sign_keypair(&secret, &key, seed);
    sign_message(&signature, &secret, BYTES(message));
    uint64_t begin = clock_monotonic_ns();
    for (unsigned i = 0; i < RAW_ROUNDS; i++) CHECK(sign_verify(&signature, &key, BYTES(message)) == OK);
    return (double)(clock_monotonic_ns() - begin) / 1e3 / RAW_ROUNDS;
}

/* One signature is of all entries of a request. An entry is hashed twice: for the chain, and as a leaf of the tree. */
static double print_raw(unsigned operations)
{
    double hash = raw_hash_us(), signature = raw_signature_us(), least = 2 * hash + signature / operations;
    printf("raw, one core: SHA-256 of %u bytes %.2f us, Ed25519 verification %.1f us (a request of %u entries has "
           "one): %.0f entries/s at most\n", RAW_BYTES, hash, signature, operations, 1e6 / least);
    return least;
}

void bench_verify(struct bench_world *w, const struct testbed *t, uint64_t leaves, unsigned operations, FILE *json)
{
    char auditor[ID_TEXT_SIZE], output[400];
    struct rusage used;
    uint64_t peak = 0;
    int status;
    testbed_user(t, "auditor", "Hospital 1", "auditor", auditor);
    fill(w, t, leaves, operations);
    double size = (double)ledger_size_now(t);
    snprintf(output, sizeof output, "%s/verdict", t->dir);
    uint64_t begin = clock_monotonic_ns();
    pid_t pid = start(t, output);
    while (wait4(pid, &status, WNOHANG, &used) == 0) {
        uint64_t now = usage_of(pid).private_kib;
        if (now > peak) peak = now;
        usleep(SAMPLE_US);
    }
    double seconds = (double)(clock_monotonic_ns() - begin) / 1e9;
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) testbed_fail(t, "verify failed; see %s", output);
    printf("verify, %.0f entries: %.1f s, %.0f entries/s, %.1f us of CPU each, private memory at most %.1f MiB\n", size,
           seconds, size / seconds, cpu / size, (double)peak / 1024);
    double raw_us = print_raw(operations);
    if (json)
        fprintf(json, "{\"name\":\"verify\",\"entries\":%.0f,\"per_request\":%u,\"seconds\":%.2f,\"client_cpu_us\":%.2f,"
                "\"private_mib\":%.1f,\"raw_us\":%.2f}\n", size, operations, seconds, cpu / size, (double)peak / 1024, raw_us);
}
