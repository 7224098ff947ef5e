/* Clients that hold on to what they get: connections, half-finished handshakes and
 * frames, answers that nobody reads, questions without end. The node's memory stays
 * bounded, and another client works normally meanwhile.
 *
 * CLIENTS=n in the environment: so many idle ones, SENDERS=n: so many unfinished frames. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/lib/flood.h"
#include "tests/lib/unit.h"

#define NODE 2
#define FILES_KEPT 256 /* descriptors of a process beside these; a node keeps 192 */
#define PATIENCE_MS FLOOD_PATIENCE_MS

static struct testbed bed;
static struct attacker them;
static char patient[ID_TEXT_SIZE];
static struct buffer out;
static unsigned event;
static unsigned idle = 1000, senders = 40; /* of 4 MiB each: five times LIMIT_RECEIVE_TOTAL */

/* Somebody else's write through the same node is co-signed within the client's own time-out, and one through
 * another node. How long it took is printed: no time is asserted on a machine that may be busy. */
static void others_work(const char *meanwhile)
{
    for (unsigned i = 0; i < 3; i++) {
        unsigned node = i == 2 ? 1 : NODE;
        uint64_t start = flood_now_ms();
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u event add %s bill %u", bed.dir, node, patient,
                       ++event);
        uint64_t took = flood_now_ms() - start;
        printf("  %s: a write through node %u took %llu ms\n", meanwhile, node, (unsigned long long)took);
    }
}

static void assert_links_kept(const char *meanwhile)
{
    for (unsigned node = 1; node <= bed.n; node++)
        if (testbed_log_has(&bed, node, " is down")) fail_msg("%s a link between nodes broke", meanwhile);
}

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

static void assert_memory(const char *meanwhile, uint64_t before_kib, unsigned more_mib)
{
    flood_assert_memory(&them, NODE, before_kib, more_mib, meanwhile);
}

/* --- connections --- */

/* The node's descriptors, since asking it takes a connection, and those of the flood live for 10 s only. */
static void await_descriptors(const char *what, bool at_least, unsigned count)
{
    for (uint64_t end = flood_now_ms() + PATIENCE_MS; flood_now_ms() < end; usleep(5000)) {
        unsigned has = flood_descriptors(&bed, NODE);
        if (at_least ? has >= count : has <= count) return;
    }
    testbed_fail(&bed, "%s: the node has %u descriptors, expected %s %u", what, flood_descriptors(&bed, NODE),
                 at_least ? "at least" : "at most", count);
}

#define OTHERS 8 /* descriptors that come and go meanwhile: others' clients, the node's own files */

/* Nothing, or one byte of a handshake now and then. */
static void half_open_connections(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static int sockets[COUNT];
    uint64_t before = attacker_memory_kib(&them, NODE);
    unsigned descriptors = flood_descriptors(&bed, NODE);
    static const uint8_t hello[] = {0x16, 3, 1, 0, 200};
    for (unsigned i = 0; i < COUNT; i++)
        sockets[i] = flood_dial(&bed, NODE, 1);
    await_descriptors("half-open connections", true, descriptors + COUNT - OTHERS);
    for (unsigned byte = 0; byte < sizeof hello; byte++) {
        for (unsigned i = COUNT / 2; i < COUNT; i++)
            (void)send(sockets[i], &hello[byte], 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        usleep(50000);
    }
    others_work("half-open connections");
    assert_memory("half-open connections", before, 64);
    /* All are closed after LIMIT_HANDSHAKE_MS. */
    await_descriptors("half-open connections, after their time", false, descriptors + OTHERS);
    flood_close_all(sockets, COUNT);
}

static void idle_clients(void **state)
{
    (void)state;
    struct client **clients = xcalloc(idle, sizeof(struct client *));
    unsigned files = flood_raise_files(0), descriptors = flood_descriptors(&bed, NODE);
    unsigned mib = idle / 32 + 1; /* 32 KiB each */
    if (files < idle + FILES_KEPT) { /* this process', and each node's */
        printf("skipped: idle clients: a process may have %u descriptors, %u are needed (ulimit -n)\n", files,
               idle + FILES_KEPT);
        skip();
    }
    uint64_t before = attacker_memory_kib(&them, NODE), start = flood_now_ms();
    for (unsigned i = 0; i < idle; i++)
        clients[i] = attacker_greet(&them, NODE);
    printf("  %u clients connected in %llu ms\n", idle, (unsigned long long)(flood_now_ms() - start));
    await_descriptors("idle clients", true, descriptors + idle - OTHERS);
    assert_memory("fresh clients", before, 2 * mib);
    others_work("idle clients");
    /* What a connection has in reserve it gives back after five seconds. */
    for (uint64_t end = flood_now_ms() + PATIENCE_MS; flood_now_ms() < end;) {
        if (attacker_memory_kib(&them, NODE) <= before + flood_kib(mib)) break;
        usleep(200000);
    }
    assert_memory("idle clients", before, mib);
    for (unsigned i = 0; i < idle; i++)
        client_close(clients[i]);
    free(clients);
}

/* --- bytes --- */

/* Frames that are never finished, as large as may be. */
static void unfinished_frames(void **state)
{
    (void)state;
    struct client **clients = xcalloc(senders, sizeof(struct client *));
    struct buffer part = {0};
    uint64_t before = attacker_memory_kib(&them, NODE);
    memset(buffer_extend(&part, LIMIT_FRAME - 8), 0xc4, LIMIT_FRAME - 8);
    put_be32(part.data, LIMIT_FRAME);
    for (unsigned i = 0; i < senders; i++) {
        clients[i] = attacker_connect(&them, NODE); /* not even HELLO is needed */
        (void)client_write(clients[i], buffer_bytes(&part), PATIENCE_MS, NULL); /* it may be cut off */
    }
    assert_memory("unfinished frames", before, 64);
    /* Written through the node, and as its follower. */
    char path[400];
    large_file(path);
    for (unsigned node = 1; node <= 2; node++) {
        uint64_t start = flood_now_ms();
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-%u record create --patient %s --kind note %s",
                       bed.dir, node, patient, path);
        printf("  unfinished frames: a large record through node %u took %llu ms\n", node,
               (unsigned long long)(flood_now_ms() - start));
    }
    others_work("unfinished frames");
    assert_links_kept("unfinished frames");
    for (unsigned i = 0; i < senders; i++)
        client_close(clients[i]);
    free(clients);
    buffer_free(&part);
}

/* Many cheap questions whose answers nobody reads. */
static void answers_nobody_reads(void **state)
{
    (void)state;
    enum { COUNT = 60, QUESTIONS = 6000 };
    struct client *clients[COUNT];
    struct buffer frames = {0};
    uint64_t before = attacker_memory_kib(&them, NODE);
    flood_questions(&frames, QUESTIONS);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = flood_small_reader(&them, NODE);
        attacker_write(&them, clients[i], buffer_bytes(&frames)); /* client_write reads only while it can't write */
    }
    others_work("answers that nobody reads");
    assert_memory("answers that nobody reads", before, 64);
    others_work("answers that nobody reads");
    assert_links_kept("answers that nobody reads");
    for (unsigned i = 0; i < COUNT; i++)
        client_close(clients[i]);
    buffer_free(&frames);
}

/* --- work --- */

static unsigned ask_for_a_second(struct client **clients, unsigned count, struct bytes frames)
{
    unsigned rounds = 0;
    struct frame frame;
    for (uint64_t end = flood_now_ms() + 1500; flood_now_ms() < end; rounds++)
        for (unsigned i = 0; i < count; i++) {
            while (client_receive(clients[i], &frame, 0, NULL) == OK)
                continue;
            if (client_write(clients[i], frames, PATIENCE_MS, NULL) != OK) testbed_fail(&bed, "a client is cut off");
        }
    return rounds;
}

/* What a process of its own asks without an end, over so many connections. */
struct asked {
    unsigned count;
    struct bytes frames;
};

static void ask_without_end(void *data)
{
    const struct asked *asked = data;
    struct client **clients = xcalloc(asked->count, sizeof(struct client *));
    for (unsigned i = 0; i < asked->count; i++)
        clients[i] = attacker_greet(&them, NODE);
    for (;;)
        ask_for_a_second(clients, asked->count, asked->frames);
}

static void others_work_meanwhile(const char *what, unsigned count, const struct buffer *frames)
{
    pid_t pid = flood_start(&bed, ask_without_end, &(struct asked){count, buffer_bytes(frames)});
    sleep(1);
    others_work(what);
    assert_links_kept(what);
    flood_stop(pid);
}

/* Questions that any stranger may ask. */
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
    others_work_meanwhile("questions without end", COUNT, &frames);
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
    others_work_meanwhile("requests without end", COUNT, &frames);
    buffer_free(&frames);
    buffer_free(&request);
    buffer_free(&body);
    signer_close(&root);
}

/* From another address than the others': it has its share, they have theirs. */
static void shake_hands(void *data)
{
    (void)data;
    flood_shake_hands(&them, NODE, 2, false, NULL);
}

static void handshakes_without_end(void **state)
{
    (void)state;
    enum { PROCESSES = 2 };
    pid_t pids[PROCESSES];
    for (unsigned p = 0; p < PROCESSES; p++)
        pids[p] = flood_start(&bed, shake_hands, NULL);
    usleep(500000);
    others_work("handshakes without end");
    assert_links_kept("handshakes without end");
    for (unsigned p = 0; p < PROCESSES; p++)
        flood_stop(pids[p]);
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
        sockets[i] = flood_dial(&bed, NODE, 1);
    large_file(path);
    for (unsigned i = 0; i < RECORDS; i++) /* each segment of the log has 8 MiB */
        testbed_expect(&bed, 0, &out, "-i %s/doctor.key --via node-1 record create --patient %s --kind note %s",
                       bed.dir, patient, path);
    flood_close_all(sockets, COUNT);
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
    (void)flood_raise_files(0);
    idle = flood_number("CLIENTS", idle);
    senders = flood_number("SENDERS", senders);
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
