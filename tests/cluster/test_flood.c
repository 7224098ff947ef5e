/* Clients that hold on to what they get: connections, half-finished handshakes and
 * frames, answers that nobody reads, questions without end. The node's memory stays
 * bounded, and another client works normally meanwhile. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "tests/lib/attacker.h"
#include "tests/lib/unit.h"

#define NODE 2
#define IDLE 2000
#define PATIENCE_MS (TESTBED_PATIENCE_S * 1000)
#define MIB_KIB 1024u

static struct testbed bed;
static struct attacker them;
static char patient[ID_TEXT_SIZE];
static struct buffer out;
static unsigned event;

static uint64_t now_ms(void) { return clock_monotonic_ns() / 1000000; }

/* Somebody else's write through the same node is co-signed within the client's own time-out, and one through
 * another node. How long it took is printed: no time is asserted on a machine that may be busy. */
static void others_work(const char *meanwhile)
{
    for (unsigned i = 0; i < 3; i++) {
        unsigned node = i == 2 ? 1 : NODE;
        uint64_t start = now_ms();
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u event add %s bill %u", bed.dir, node, patient,
                       ++event);
        uint64_t took = now_ms() - start;
        printf("  %s: a write through node %u took %llu ms\n", meanwhile, node, (unsigned long long)took);
    }
}

static void assert_links_kept(const char *meanwhile)
{
    for (unsigned node = 1; node <= bed.n; node++)
        if (testbed_log_has(&bed, node, " is down")) fail_msg("%s a link between nodes broke", meanwhile);
}

/* A sanitizer keeps what was freed, and shadows it: there only the order of magnitude counts. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_FACTOR 12
#else
#define MEMORY_FACTOR 1
#endif

/* Content of 900,000 bytes, more than one read of a socket. */
static void large_file(char path[static 400])
{
    static char content[900000];
    snprintf(path, 400, "%s/large", bed.dir);
    memset(content, 0xc4, sizeof content);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(content, 1, sizeof content, f), sizeof content);
    fclose(f);
}

static void assert_memory(const char *meanwhile, uint64_t before_kib, uint64_t more_mib)
{
    more_mib *= MEMORY_FACTOR;
    uint64_t now = attacker_memory_kib(&them, NODE);
    printf("  %s: %llu KiB of private memory, %lld more\n", meanwhile, (unsigned long long)now,
           (long long)(now - before_kib));
    if (now > before_kib + more_mib * MIB_KIB)
        fail_msg("%s the node takes %llu KiB more", meanwhile, (unsigned long long)(now - before_kib));
}

/* --- connections --- */

static int dial_from(const char *source)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(bed.ports[NODE]),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in from = {.sin_family = AF_INET};
    int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s >= 0);
    assert_int_equal(inet_pton(AF_INET, source, &from.sin_addr), 1);
    assert_int_equal(bind(s, (struct sockaddr *)&from, sizeof from), 0);
    assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof to), 0);
    return s;
}

static int dial_raw(void) { return dial_from("127.0.0.1"); }

/* What a client says first. */
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

/* Nothing, or one byte of a handshake now and then. */
static void half_open_connections(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static int sockets[COUNT];
    uint64_t before = attacker_memory_kib(&them, NODE), start = now_ms();
    static const uint8_t hello[] = {0x16, 3, 1, 0, 200};
    for (unsigned i = 0; i < COUNT; i++)
        sockets[i] = dial_raw();
    for (unsigned byte = 0; byte < sizeof hello; byte++) {
        for (unsigned i = COUNT / 2; i < COUNT; i++)
            (void)send(sockets[i], &hello[byte], 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        usleep(50000);
    }
    others_work("half-open connections");
    assert_memory("half-open connections", before, 64);
    /* They are closed after LIMIT_HANDSHAKE_MS. */
    uint64_t end = start + LIMIT_HANDSHAKE_MS + PATIENCE_MS;
    while (now_ms() < end && attacker_counter(&them, NODE, "connections_open") > COUNT / 2)
        usleep(200000);
    assert_true(attacker_counter(&them, NODE, "connections_open") < COUNT / 2);
    for (unsigned i = 0; i < COUNT; i++)
        close(sockets[i]);
}

static void idle_clients(void **state)
{
    (void)state;
    static struct client *clients[IDLE];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files); /* the nodes' as well */
    unsigned count = files.rlim_cur / 2 < IDLE ? (unsigned)files.rlim_cur / 2 : IDLE;
    uint64_t before = attacker_memory_kib(&them, NODE), start = now_ms();
    for (unsigned i = 0; i < count; i++)
        clients[i] = attacker_greet(&them, NODE);
    printf("  %u clients connected in %llu ms\n", count, (unsigned long long)(now_ms() - start));
    assert_memory("2,000 fresh clients", before, 128);
    others_work("2,000 idle clients");
    /* What a connection has in reserve it gives back after five seconds. */
    for (uint64_t end = now_ms() + PATIENCE_MS; now_ms() < end;) {
        if (attacker_memory_kib(&them, NODE) <= before + 64 * MEMORY_FACTOR * MIB_KIB) break;
        usleep(200000);
    }
    assert_memory("2,000 idle clients", before, 64);
    for (unsigned i = 0; i < count; i++)
        client_close(clients[i]);
}

/* --- bytes --- */

/* Frames that are never finished, as large as may be. */
static void unfinished_frames(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    struct client *clients[COUNT];
    struct buffer part = {0};
    uint64_t before = attacker_memory_kib(&them, NODE);
    memset(buffer_extend(&part, LIMIT_FRAME - 8), 0xc4, LIMIT_FRAME - 8);
    put_be32(part.data, LIMIT_FRAME);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = attacker_connect(&them, NODE); /* not even HELLO is needed */
        (void)client_write(clients[i], buffer_bytes(&part), PATIENCE_MS, NULL); /* it may be cut off */
    }
    assert_memory("unfinished frames", before, 384);
    /* Written through the node, and as its follower. */
    char path[400];
    large_file(path);
    for (unsigned node = 1; node <= 2; node++) {
        uint64_t start = now_ms();
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u record create --patient %s --kind note %s",
                       bed.dir, node, patient, path);
        printf("  unfinished frames: a large record through node %u took %llu ms\n", node,
               (unsigned long long)(now_ms() - start));
    }
    others_work("unfinished frames");
    assert_links_kept("unfinished frames");
    for (unsigned i = 0; i < COUNT; i++)
        client_close(clients[i]);
    buffer_free(&part);
}

/* Many cheap questions whose answers nobody reads. */
static void answers_nobody_reads(void **state)
{
    (void)state;
    enum { COUNT = 60, QUESTIONS = 6000 };
    struct client *clients[COUNT];
    struct buffer frames = {0}, body = {0};
    uint64_t before = attacker_memory_kib(&them, NODE);
    message_empty_encode(&body);
    for (unsigned i = 0; i < QUESTIONS; i++)
        CHECK(frame_append(&frames, MESSAGE_STATUS, i, buffer_bytes(&body)) == OK);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = attacker_greet(&them, NODE);
        int small = 4096;
        setsockopt(client_descriptor(clients[i]), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        attacker_write(&them, clients[i], buffer_bytes(&frames)); /* client_write reads only while it can't write */
    }
    others_work("answers that nobody reads");
    assert_memory("answers that nobody reads", before, 256);
    others_work("answers that nobody reads");
    assert_links_kept("answers that nobody reads");
    for (unsigned i = 0; i < COUNT; i++)
        client_close(clients[i]);
    buffer_free(&frames);
    buffer_free(&body);
}

/* --- work --- */

static unsigned ask_for_a_second(struct client **clients, unsigned count, struct bytes frames)
{
    unsigned rounds = 0;
    struct frame frame;
    for (uint64_t end = now_ms() + 1500; now_ms() < end; rounds++)
        for (unsigned i = 0; i < count; i++) {
            while (client_receive(clients[i], &frame, 0, NULL) == OK)
                continue;
            if (client_write(clients[i], frames, PATIENCE_MS, NULL) != OK) testbed_fail(&bed, "a client is cut off");
        }
    return rounds;
}

/* Questions that any stranger may ask, without end, by a process of their own. */
static void questions_without_end(void **state)
{
    (void)state;
    enum { COUNT = 20, QUESTIONS = 64 };
    struct buffer frames = {0}, body = {0}, lookup = {0};
    message_empty_encode(&body);
    struct signer root = attacker_signer(&them, "admin");
    message_lookup_encode(&lookup, &(struct message_lookup){ACTOR_USER, root.user, 1000, root.user});
    for (unsigned i = 0; i < QUESTIONS; i++) {
        if (i % 2) CHECK(frame_append(&frames, MESSAGE_STATUS, i, buffer_bytes(&body)) == OK);
        else CHECK(frame_append(&frames, MESSAGE_LOOKUP, i, buffer_bytes(&lookup)) == OK);
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct client *clients[COUNT];
        for (unsigned i = 0; i < COUNT; i++)
            clients[i] = attacker_greet(&them, NODE);
        for (;;)
            ask_for_a_second(clients, COUNT, buffer_bytes(&frames));
    }
    sleep(1);
    others_work("questions without end");
    assert_links_kept("questions without end");
    kill(pid, SIGKILL);
    buffer_free(&frames);
    buffer_free(&body);
    buffer_free(&lookup);
    signer_close(&root);
}

/* Requests that nobody signed, as many as connections take: each is looked at, and none is in others' way. */
static void requests_without_end(void **state)
{
    (void)state;
    enum { COUNT = 80, REQUESTS = LIMIT_REQUESTS_PER_CONNECTION };
    struct signer root = attacker_signer(&them, "admin");
    struct buffer frames = {0}, request = {0}, body = {0};
    struct arguments args = {.action = ACTION_EVENT_ADD, .event_add = {.patient = root.user, .what = bytes_text("x")}};
    attacker_request(&request, &them, &root, &args, bytes_text("a note"), &(struct wrong){.no_signature = true});
    message_submit_encode(&body, &(struct message_submit){buffer_bytes(&request), WAIT_APPLIED});
    for (unsigned i = 0; i < REQUESTS; i++)
        CHECK(frame_append(&frames, MESSAGE_SUBMIT, i, buffer_bytes(&body)) == OK);
    pid_t pid = fork();
    if (pid == 0) {
        struct client *clients[COUNT];
        for (unsigned i = 0; i < COUNT; i++)
            clients[i] = attacker_greet(&them, NODE);
        for (;;)
            ask_for_a_second(clients, COUNT, buffer_bytes(&frames));
    }
    sleep(1);
    others_work("requests without end");
    assert_links_kept("requests without end");
    kill(pid, SIGKILL);
    buffer_free(&frames);
    buffer_free(&request);
    buffer_free(&body);
    signer_close(&root);
}

/* Whole handshakes without end: each costs the node milliseconds of a worker. */
static void handshakes_without_end(void **state)
{
    (void)state;
    enum { PROCESSES = 2, COUNT = 200 };
    pid_t pids[PROCESSES];
    for (unsigned p = 0; p < PROCESSES; p++) {
        pids[p] = fork();
        if (pids[p] != 0) continue;
        static int sockets[COUNT];
        uint8_t hello[512];
        size_t size = client_hello(hello, sizeof hello);
        for (;;) { /* the node's first flight takes its signature; ours costs nothing */
            for (unsigned i = 0; i < COUNT; i++) {
                sockets[i] = dial_from("127.0.0.2"); /* another address: it has its share, others have theirs */
                (void)send(sockets[i], hello, size, MSG_NOSIGNAL);
            }
            usleep(100000);
            for (unsigned i = 0; i < COUNT; i++)
                close(sockets[i]);
        }
    }
    usleep(500000);
    others_work("handshakes without end");
    assert_links_kept("handshakes without end");
    for (unsigned p = 0; p < PROCESSES; p++)
        kill(pids[p], SIGKILL);
}

/* More connections than there are descriptors: the log still gets its files. */
static void no_descriptors_left(void **state)
{
    (void)state;
    enum { COUNT = 700, LIMIT = 600, RECORDS = 12 };
    static int sockets[COUNT];
    char path[400];
    testbed_signal(&bed, NODE, SIGTERM);
    bed.files = LIMIT;
    testbed_start(&bed, NODE);
    bed.files = 0;
    testbed_wait_ready(&bed, 30);
    assert_true(testbed_log_has(&bed, NODE, "the limit of open files (600) leaves room for"));
    for (unsigned i = 0; i < COUNT; i++)
        sockets[i] = dial_raw();
    large_file(path);
    for (unsigned i = 0; i < RECORDS; i++) /* each segment of the log has 8 MiB */
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-1 record create --patient %s --kind note %s",
                       bed.dir, patient, path);
    for (unsigned i = 0; i < COUNT; i++)
        close(sockets[i]);
    others_work("no descriptors left");
    assert_false(testbed_log_has(&bed, NODE, "nothing more is acknowledged"));
}

static void the_nodes_go_on(void **state)
{
    (void)state;
    for (unsigned node = 1; node <= bed.n; node++)
        assert_false(testbed_log_has(&bed, node, "CHECK"));
    others_work("afterwards");
}

static int begin(void **state)
{
    (void)state;
    char id[ID_TEXT_SIZE];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    testbed_make(&bed, 4, 1);
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_user(&bed, "doctor", "Hospital 1", "doctor", id);
    testbed_user(&bed, "patient", "Hospital 1", "patient", patient);
    char registrar[ID_TEXT_SIZE];
    testbed_user(&bed, "registrar", "Hospital 1", "registrar", registrar);
    testbed_expect(&bed, 0, &out, "-i %s/registrar.key team add %s %s", bed.dir, patient, id);
    attacker_open(&them, &bed);
    return 0;
}

static int end(void **state)
{
    (void)state;
    attacker_close(&them);
    testbed_end(&bed);
    buffer_free(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_open_connections),
        cmocka_unit_test(idle_clients),
        cmocka_unit_test(unfinished_frames),
        cmocka_unit_test(answers_nobody_reads),
        cmocka_unit_test(questions_without_end),
        cmocka_unit_test(requests_without_end),
        cmocka_unit_test(handshakes_without_end),
        cmocka_unit_test(no_descriptors_left),
        cmocka_unit_test(the_nodes_go_on),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
