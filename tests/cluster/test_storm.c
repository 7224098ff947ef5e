/* Floods of every kind against one node of four, while an ordinary client writes through
 * it without a pause: garbage instead of frames, impossible lengths, bytes that come one
 * by one, handshakes that nobody finishes and handshakes without end, thousands of
 * connections that say nothing, clients that never read. The node's private memory grows
 * by no more than 64 MiB, what is cut is cut in time, and the client's writes go on; how
 * long they take is printed, beside how long they take in peace.
 *
 * FRAMES=n: so many garbage frames (1,000,000 in `make storm`), CONNECTIONS=n idle ones. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/pack.h"
#include "crypto/random.h"
#include "tests/lib/attacker.h"
#include "tests/lib/unit.h"

#define NODE 2
#define PATIENCE_MS (TESTBED_PATIENCE_S * 1000)
#define MIB_KIB 1024u
#define GROWTH_MIB 64
#define SAMPLES 20000
#define WRITES 50 /* by the ordinary client during each flood, at least */
#define PHASES 16

/* A sanitizer keeps what was freed, and shadows it: there only the order of magnitude counts. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_FACTOR 12
#else
#define MEMORY_FACTOR 1
#endif

static struct testbed bed;
static struct attacker them;
static unsigned frames = 20000, connections = 2500;
static uint64_t quiet_kib; /* private memory before anything */

static uint64_t now_ms(void) { return clock_monotonic_ns() / 1000000; }

static unsigned number_of(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text && *text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

/* --- the ordinary client --- */

/* Shared with its process. */
struct watch {
    atomic_uint phase, count[PHASES], failed;
    uint32_t took_us[PHASES][SAMPLES];
    char why[240];
};
static struct watch *watch;
static pid_t client_pid;
static struct id patient_id;
static const char *phase_names[PHASES];

static void write_without_pause(void)
{
    struct attacker own;
    struct buffer request = {0};
    struct said said = {0};
    struct message_result result;
    attacker_open(&own, &bed);
    struct signer doctor = attacker_signer(&own, "doctor");
    struct args_event_add event = {.patient = patient_id, .what = bytes_text("bill"), .object = bytes_text("1")};
    struct arguments args = {.action = ACTION_EVENT_ADD, .event_add = event};
    struct client *c = attacker_greet(&own, NODE);
    for (;;) {
        unsigned phase = atomic_load(&watch->phase);
        attacker_request(&request, &own, &doctor, &args, (struct bytes){0}, NULL);
        uint64_t start = clock_monotonic_ns();
        attacker_submit(&own, c, &said, &result, buffer_bytes(&request));
        uint64_t took = (clock_monotonic_ns() - start) / 1000;
        if (said.type != MESSAGE_APPLIED) {
            snprintf(watch->why, sizeof watch->why, "type %u, %s", said.type, said.text);
            atomic_fetch_add(&watch->failed, 1);
            client_close(c);
            c = attacker_greet(&own, NODE);
            continue;
        }
        unsigned n = atomic_load(&watch->count[phase]);
        if (n < SAMPLES) watch->took_us[phase][n] = (uint32_t)took;
        atomic_store(&watch->count[phase], n + 1);
        usleep(2000); /* a busy user, not a flood */
    }
}

static void start_client(void)
{
    watch = mmap(NULL, sizeof *watch, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(watch != MAP_FAILED);
    client_pid = fork();
    if (client_pid != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    write_without_pause();
}

/* What was before has gone: the node has had a moment to give memory back. */
static void settle(void)
{
    for (uint64_t end = now_ms() + 10000; quiet_kib && now_ms() < end; usleep(100000))
        if (attacker_memory_kib(&them, NODE) < quiet_kib + 24 * MIB_KIB) break;
}

static void enter_phase(const char *name)
{
    settle();
    unsigned next = atomic_load(&watch->phase) + 1;
    CHECK(next < PHASES);
    phase_names[next] = name;
    atomic_store(&watch->phase, next);
}

/* Its writes go on under this flood, however slowly: no time is asserted. */
static void client_goes_on(void)
{
    unsigned phase = atomic_load(&watch->phase);
    for (uint64_t end = now_ms() + PATIENCE_MS; atomic_load(&watch->count[phase]) < WRITES; usleep(20000))
        if (now_ms() > end)
            testbed_fail(&bed, "%s: the ordinary client made %u writes (%u failed: %s)", phase_names[phase],
                         atomic_load(&watch->count[phase]), atomic_load(&watch->failed), watch->why);
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_phase(void)
{
    unsigned phase = atomic_load(&watch->phase), n = atomic_load(&watch->count[phase]);
    if (n > SAMPLES) n = SAMPLES;
    uint32_t *took = malloc((n + 1) * sizeof *took);
    memcpy(took, watch->took_us[phase], n * sizeof *took);
    qsort(took, n, sizeof *took, by_size);
    printf("  %-28s %5u writes, p50 %6.1f ms, p99 %7.1f ms", phase_names[phase], n, took[n / 2] / 1000.0,
           took[n - 1 - n / 100] / 1000.0);
    free(took);
}

/* The flood is at its height: memory, then the client. */
static void judge(void)
{
    uint64_t now = attacker_memory_kib(&them, NODE);
    client_goes_on();
    uint64_t later = attacker_memory_kib(&them, NODE), most = now > later ? now : later;
    print_phase();
    printf(", memory %+.1f MiB\n", ((double)most - (double)quiet_kib) / MIB_KIB);
    fflush(stdout);
    if (most > quiet_kib + (uint64_t)GROWTH_MIB * MEMORY_FACTOR * MIB_KIB)
        fail_msg("the node takes %llu KiB more", (unsigned long long)(most - quiet_kib));
}

/* --- connections --- */

/* From 127.0.0.x: one address may have LIMIT_CONNECTIONS_PER_ADDRESS. -1: refused. */
static int dial(unsigned x)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(bed.ports[NODE]),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + x)};
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    assert_true(s >= 0);
    setsockopt(s, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    assert_int_equal(bind(s, (struct sockaddr *)&from, sizeof from), 0);
    if (connect(s, (struct sockaddr *)&to, sizeof to) == 0) return s;
    close(s);
    return -1;
}

static bool is_cut(int s)
{
    char byte[64];
    for (;;) {
        ssize_t n = recv(s, byte, sizeof byte, MSG_DONTWAIT);
        if (n == 0) return true;
        if (n < 0) return errno != EAGAIN && errno != EINTR;
    }
}

/* All of them, within the node's own time and a generous one on top. */
static void all_are_cut(const int *sockets, unsigned count)
{
    unsigned left = count;
    for (uint64_t end = now_ms() + LIMIT_HANDSHAKE_MS + PATIENCE_MS; left && now_ms() < end; usleep(100000)) {
        left = 0;
        for (unsigned i = 0; i < count; i++)
            left += sockets[i] >= 0 && !is_cut(sockets[i]);
    }
    if (left) testbed_fail(&bed, "%u of %u connections are never cut", left, count);
}

static void close_all(int *sockets, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (sockets[i] >= 0) close(sockets[i]);
}

/* What a client says first, whole or in part. */
static size_t client_hello(uint8_t *bytes, size_t size)
{
    struct tls_context *context;
    struct tls_session *tls;
    struct buffer hello = {0};
    CHECK(tls_context_new(&context, (struct bytes){0}, (struct bytes){0}, NULL) == OK);
    CHECK(tls_client_new(&tls, context, TLS_ALPN_CLIENT, &them.cluster.genesis.members[NODE - 1].tls_pin, NULL) == OK);
    tls_handshake(tls, &hello);
    CHECK(hello.size > 0 && hello.size <= size);
    memcpy(bytes, hello.data, hello.size);
    size_t got = hello.size;
    buffer_free(&hello);
    tls_session_free(tls);
    tls_context_free(context);
    return got;
}

#define HALF_OPEN 900u
static int half_open[HALF_OPEN];

/* A third stop within the first message, a third behind it, a third send it byte by byte. */
static void half_open_handshakes(void **state)
{
    (void)state;
    uint8_t hello[1024];
    size_t size = client_hello(hello, sizeof hello);
    enter_phase("half-open handshakes");
    for (unsigned i = 0; i < HALF_OPEN; i++) {
        half_open[i] = dial(20 + i % 3);
        if (i % 3 < 2) (void)send(half_open[i], hello, i % 3 ? size : size / 2, MSG_NOSIGNAL);
    }
    for (size_t byte = 0; byte < 20; byte++, usleep(20000))
        for (unsigned i = 2; i < HALF_OPEN; i += 3)
            (void)send(half_open[i], &hello[byte], 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    judge();
}

/* They and the half-open ones are cut. */
static void idle_connections(void **state)
{
    (void)state;
    int *sockets = calloc(connections, sizeof *sockets);
    enter_phase("idle connections");
    for (unsigned i = 0; i < connections; i++)
        sockets[i] = dial(2 + i / 3000);
    judge();
    all_are_cut(half_open, HALF_OPEN);
    all_are_cut(sockets, connections);
    close_all(half_open, HALF_OPEN);
    close_all(sockets, connections);
    free(sockets);
}

/* --- floods by processes of their own --- */

static pid_t flood(void (*run)(unsigned), unsigned which)
{
    pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned i = 0; i <= LIMIT_NODES; i++)
        bed.pids[i] = 0; /* not this process' to kill */
    run(which);
    _exit(0);
}

static void stop_flood(pid_t pid)
{
    int status;
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
}

static void handshakes(unsigned which)
{
    uint8_t hello[1024];
    int sockets[200];
    size_t size = client_hello(hello, sizeof hello);
    for (;;) { /* the node's first flight takes its signature; ours costs nothing */
        for (unsigned i = 0; i < 200; i++) {
            sockets[i] = dial(30 + which);
            if (sockets[i] >= 0) (void)send(sockets[i], hello, size, MSG_NOSIGNAL);
        }
        usleep(50000);
        close_all(sockets, 200);
    }
}

static void handshake_flood(void **state)
{
    (void)state;
    pid_t pids[2];
    enter_phase("handshakes without end");
    for (unsigned i = 0; i < 2; i++)
        pids[i] = flood(handshakes, i);
    sleep(1);
    judge();
    for (unsigned i = 0; i < 2; i++)
        stop_flood(pids[i]);
}

/* Not even TLS. */
static void noise(unsigned which)
{
    uint8_t bytes[4096];
    for (;;) {
        int s = dial(40 + which);
        random_bytes(bytes, sizeof bytes);
        if (s >= 0) (void)send(s, bytes, 1 + bytes[0] * 16u, MSG_NOSIGNAL);
        if (s >= 0) close(s);
    }
}

static void noise_instead_of_tls(void **state)
{
    (void)state;
    enter_phase("noise instead of TLS");
    pid_t pid = flood(noise, 0);
    sleep(1);
    judge();
    stop_flood(pid);
}

/* --- frames --- */

/* One frame of nonsense: any type, any id, a body of no message's shape; one in 256 isn't even that, and ends the
 * connection. */
static void garbage_frame(struct buffer *out)
{
    uint8_t bytes[96];
    random_bytes(bytes, sizeof bytes);
    size_t start = out->size, size = bytes[0] % 64;
    buffer_extend(out, 4);
    if (bytes[1]) {
        pack_array(out, 3);
        pack_uint(out, bytes[2] % 2 ? bytes[3] : (uint32_t)bytes[3] << 8 | bytes[4]);
        pack_uint(out, get_be64(bytes + 8) >> bytes[5] % 64);
        pack_array(out, 1);
        pack_bin(out, bytes + 16, size);
    } else {
        buffer_append(out, bytes + 16, size);
    }
    put_be32(out->data + start, (uint32_t)(out->size - start - 4));
}

#define BATCH 100u

/* One batch; how many of it the node answered, all of them unless it ended the connection. */
static unsigned garbage_batch(struct client *c, struct buffer *some, bool *open)
{
    struct frame frame;
    unsigned answered = 0;
    buffer_clear(some);
    for (unsigned i = 0; i < BATCH; i++)
        garbage_frame(some);
    *open = client_write(c, buffer_bytes(some), PATIENCE_MS, NULL) == OK;
    while (*open && answered < BATCH) {
        *open = client_receive(c, &frame, PATIENCE_MS, NULL) == OK;
        answered += *open && frame.type != MESSAGE_NOTICE;
    }
    return answered;
}

/* Until `count` frames are answered, over as many connections as it takes. */
static void garbage(unsigned count)
{
    struct buffer some = {0};
    struct attacker own;
    attacker_open(&own, &bed);
    for (unsigned answered = 0; answered < count;) {
        bool open = true;
        struct client *c = attacker_greet(&own, NODE);
        while (open && answered < count)
            answered += garbage_batch(c, &some, &open);
        client_close(c);
    }
    buffer_free(&some);
}

static void garbage_frames(void **state)
{
    (void)state;
    int status = 0;
    uint64_t start = now_ms();
    enter_phase("garbage frames");
    pid_t pid = flood(garbage, frames);
    judge();
    while (waitpid(pid, &status, WNOHANG) == 0) {
        usleep(100000);
        uint64_t now = attacker_memory_kib(&them, NODE);
        if (now > quiet_kib + (uint64_t)GROWTH_MIB * MEMORY_FACTOR * MIB_KIB)
            fail_msg("the node takes %llu KiB more", (unsigned long long)(now - quiet_kib));
    }
    if (status != 0) testbed_fail(&bed, "the flood ended with status %d", status);
    print_phase();
    printf(", %u garbage frames answered in %llu ms\n", frames, (unsigned long long)(now_ms() - start));
}

static void impossible_lengths(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 0x80000000u, 0xffffffffu, LIMIT_FRAME + 1};
    uint8_t bytes[64];
    enter_phase("impossible lengths");
    random_bytes(bytes, sizeof bytes);
    for (unsigned i = 0; i < 200; i++) {
        struct client *c = i % 2 ? attacker_greet(&them, NODE) : attacker_connect(&them, NODE);
        put_be32(bytes, lengths[i / 2 % 4]);
        attacker_write(&them, c, BYTES(bytes));
        if (!attacker_closed(c, PATIENCE_MS)) testbed_fail(&bed, "a length of %u is put up with", lengths[i / 2 % 4]);
        client_close(c);
    }
    judge();
}

/* Large frames of which nearly all has come, and then a byte now and then. */
static void slow_senders(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    static struct client *clients[COUNT];
    struct buffer part = {0};
    enter_phase("slow senders");
    memset(buffer_extend(&part, LIMIT_FRAME / 2), 0xc4, LIMIT_FRAME / 2);
    put_be32(part.data, LIMIT_FRAME);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = attacker_greet(&them, NODE);
        (void)client_write(clients[i], buffer_bytes(&part), PATIENCE_MS, NULL); /* it may be cut off */
    }
    for (unsigned i = 0; i < 5 * COUNT; i++) {
        if (clients[i % COUNT] && client_write(clients[i % COUNT], bytes_of(part.data, 1), 1000, NULL) != OK) {
            client_close(clients[i % COUNT]);
            clients[i % COUNT] = NULL;
        }
    }
    judge();
    for (unsigned i = 0; i < COUNT; i++)
        if (clients[i]) client_close(clients[i]);
    buffer_free(&part);
}

/* Many cheap questions whose answers nobody reads. */
static void clients_that_never_read(void **state)
{
    (void)state;
    enum { COUNT = 60, QUESTIONS = 6000 };
    struct client *clients[COUNT];
    struct buffer questions = {0}, body = {0};
    enter_phase("clients that never read");
    message_empty_encode(&body);
    for (unsigned i = 0; i < QUESTIONS; i++)
        CHECK(frame_append(&questions, MESSAGE_STATUS, i, buffer_bytes(&body)) == OK);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = attacker_greet(&them, NODE);
        int small = 4096;
        setsockopt(client_descriptor(clients[i]), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        (void)client_write(clients[i], buffer_bytes(&questions), 2000, NULL); /* until the node reads no more */
    }
    judge();
    for (unsigned i = 0; i < COUNT; i++)
        client_close(clients[i]);
    buffer_free(&questions);
    buffer_free(&body);
}

/* --- before and after --- */

static void in_peace(void **state)
{
    (void)state;
    unsigned phase = 0;
    if (!watch) {
        start_client();
        enter_phase("in peace");
    } else {
        enter_phase("in peace again");
    }
    phase = atomic_load(&watch->phase);
    for (uint64_t end = now_ms() + PATIENCE_MS; atomic_load(&watch->count[phase]) < 200; usleep(20000))
        if (now_ms() > end) testbed_fail(&bed, "the ordinary client does not get on: %s", watch->why);
    if (quiet_kib == 0) quiet_kib = attacker_memory_kib(&them, NODE);
    judge();
}

static void the_nodes_are_there(void **state)
{
    (void)state;
    struct ledger_mark mark[5];
    kill(client_pid, SIGKILL);
    for (unsigned node = 1; node <= bed.n; node++) {
        int status;
        if (waitpid(bed.pids[node], &status, WNOHANG) != 0) testbed_fail(&bed, "node %u ended", node);
        mark[node] = attacker_mark(&them, node);
    }
    printf("  %u writes of the ordinary client failed%s%s\n", atomic_load(&watch->failed), watch->why[0] ? ": " : "",
           watch->why);
    assert_true(mark[NODE].size > 0);
}

static int begin(void **state)
{
    (void)state;
    char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE];
    struct rlimit files;
    frames = number_of("FRAMES", frames);
    connections = number_of("CONNECTIONS", connections);
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < 65536) files.rlim_max = 65536; /* as root */
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
        getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (connections > files.rlim_cur / 2) connections = (unsigned)files.rlim_cur / 2;
    testbed_make(&bed, 4, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    assert_int_equal(id_parse(&patient_id, patient), OK);
    attacker_open(&them, &bed);
    return 0;
}

static int end(void **state)
{
    (void)state;
    attacker_close(&them);
    testbed_end(&bed);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_peace),
        cmocka_unit_test(garbage_frames),
        cmocka_unit_test(impossible_lengths),
        cmocka_unit_test(noise_instead_of_tls),
        cmocka_unit_test(handshake_flood),
        cmocka_unit_test(half_open_handshakes),
        cmocka_unit_test(idle_connections),
        cmocka_unit_test(slow_senders),
        cmocka_unit_test(clients_that_never_read),
        cmocka_unit_test(in_peace),
        cmocka_unit_test(the_nodes_are_there),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
