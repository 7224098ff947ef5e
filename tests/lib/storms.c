#include "tests/lib/storms.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/pack.h"

void storms_open(struct storms *s) { s->stage = flood_shared(sizeof *s->stage); }

void storms_forget_tally(struct storms *s)
{
    atomic_store(&s->stage->tally.tries, 0);
    atomic_store(&s->stage->tally.answers, 0);
}

pid_t storms_start(struct storms *s, void (*run)(void *storms), bool equal)
{
    atomic_store(&s->stage->height, 0);
    atomic_store(&s->stage->enough, false);
    storms_forget_tally(s);
    return equal ? flood_start_equal(s->bed, run, s) : flood_start(s->bed, run, s);
}

/* --- the attackers --- */

static void make_noise(struct storms *s, uint8_t *out, size_t size) /* xorshift64*: any seed but zero */
{
    for (size_t i = 0; i < size; i++) {
        s->noise ^= s->noise >> 12;
        s->noise ^= s->noise << 25;
        s->noise ^= s->noise >> 27;
        out[i] = (uint8_t)(s->noise * UINT64_C(2685821657736338717) >> 56);
    }
}

static void hold_on(struct storms *s)
{
    atomic_store(&s->stage->height, 1);
    for (;;)
        pause();
}

/* One frame of nonsense: any type, any id, a body of no message's shape; one in 256 isn't even that, and ends the
 * connection. */
static void garbage_frame(struct storms *s, struct buffer *out)
{
    uint8_t bytes[96];
    make_noise(s, bytes, sizeof bytes);
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
static unsigned garbage_batch(struct storms *s, struct client *c, struct buffer *some, bool *open)
{
    struct frame frame;
    unsigned answered = 0;
    buffer_clear(some);
    for (unsigned i = 0; i < BATCH; i++)
        garbage_frame(s, some);
    *open = client_write(c, buffer_bytes(some), FLOOD_PATIENCE_MS, NULL) == OK;
    while (*open && answered < BATCH) {
        *open = client_receive(c, &frame, FLOOD_PATIENCE_MS, NULL) == OK;
        answered += *open && frame.type != MESSAGE_NOTICE;
    }
    return answered;
}

void storm_garbage_frames(void *storms)
{
    struct storms *s = storms;
    struct buffer some = {0};
    struct attacker own;
    attacker_open(&own, s->bed);
    for (unsigned answered = 0; answered < s->frames;) {
        bool open = true;
        struct client *c = attacker_greet(&own, s->node);
        while (open && answered < s->frames)
            answered += garbage_batch(s, c, &some, &open);
        client_close(c);
    }
    hold_on(s);
}

void storm_impossible_lengths(void *storms)
{
    struct storms *s = storms;
    static const uint32_t lengths[] = {0, 0x80000000u, 0xffffffffu, LIMIT_FRAME + 1};
    struct attacker own;
    uint8_t bytes[64];
    attacker_open(&own, s->bed);
    make_noise(s, bytes, sizeof bytes);
    for (unsigned i = 0; i < 200; i++) {
        struct client *c = i % 2 ? attacker_greet(&own, s->node) : attacker_connect(&own, s->node);
        put_be32(bytes, lengths[i / 2 % 4]);
        attacker_write(&own, c, BYTES(bytes));
        if (!attacker_closed(c, FLOOD_PATIENCE_MS))
            testbed_fail(s->bed, "a length of %u is put up with", lengths[i / 2 % 4]);
        client_close(c);
    }
    hold_on(s);
}

void storm_noise_instead_of_tls(void *storms)
{
    struct storms *s = storms;
    uint8_t bytes[4096];
    for (atomic_store(&s->stage->height, 1);;) {
        int socket = flood_dial(s->bed, s->node, 40);
        make_noise(s, bytes, sizeof bytes);
        if (socket >= 0) (void)send(socket, bytes, 1 + bytes[0] * 16u, MSG_NOSIGNAL);
        if (socket >= 0) close(socket);
    }
}

static void shake_hands(struct storms *s, bool patient)
{
    unsigned address = fork() == 0 ? 30 : 31; /* two of them */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    flood_shake_hands(s->them, s->node, address, patient, &s->stage->tally);
}

void storm_handshakes_without_end(void *storms)
{
    shake_hands(storms, false);
}

void storm_handshakes_answered(void *storms)
{
    shake_hands(storms, true);
}

struct hello {
    uint8_t bytes[FLOOD_HELLO];
    size_t size;
};

static void say_some(int socket, unsigned i, void *data)
{
    const struct hello *hello = data;
    if (i % 3 < 2) (void)send(socket, hello->bytes, i % 3 ? hello->size : hello->size / 2, MSG_NOSIGNAL);
}

/* A third stop within the first message, a third behind it, a third send it byte by byte. */
void storm_half_open_handshakes(void *storms)
{
    struct storms *s = storms;
    struct hello hello;
    hello.size = flood_hello(s->them, s->node, hello.bytes);
    int *sockets = flood_keep_open(s->bed, s->node, 20, s->half_open + STORMS_SPARE, &s->stage->enough, say_some,
                                   &hello);
    for (size_t byte = 0; byte < 20; byte++, usleep(20000))
        for (unsigned i = 2; i < s->half_open; i += 3)
            (void)send(sockets[i], &hello.bytes[byte], 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    hold_on(s);
}

/* Those that came first are cut while the last ones are dialled, on a slow machine: until there are enough at once. */
void storm_idle_connections(void *storms)
{
    struct storms *s = storms;
    (void)flood_keep_open(s->bed, s->node, 2, s->connections + STORMS_SPARE, &s->stage->enough, NULL, NULL);
    hold_on(s);
}

/* Keeps the socket, and as the node sees it the connection, without the memory that our side of it takes. */
static void forget_client(const struct storms *s, struct client *c)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup(client_descriptor(c)) < 0 || dup2(null, client_descriptor(c)) < 0)
        testbed_fail(s->bed, "no descriptor is left");
    close(null);
    client_close(c);
}

/* They greet, ask nothing and never leave: each costs the node a whole session. More of them than have a place. */
void storm_idle_clients(void *storms)
{
    struct storms *s = storms;
    struct attacker own;
    attacker_open(&own, s->bed);
    for (unsigned i = 0; i < s->idle; i++)
        forget_client(s, attacker_greet(&own, s->node));
    hold_on(s);
}

/* It may be cut off. */
static void write_slowly(struct client *c, struct bytes part)
{
    enum { STEP = 16 * KIB };
    while (part.size) {
        struct bytes some = bytes_of(part.data, part.size < STEP ? part.size : STEP);
        if (client_write(c, some, FLOOD_PATIENCE_MS, NULL) != OK) return;
        part = bytes_of(part.data + some.size, part.size - some.size);
        flood_give_way();
    }
}

void storm_slow_senders(void *storms)
{
    struct storms *s = storms;
    struct client **clients = xcalloc(s->senders, sizeof(struct client *));
    struct buffer part = {0};
    struct attacker own;
    attacker_open(&own, s->bed);
    memset(buffer_extend(&part, LIMIT_FRAME / 2), 0xc4, LIMIT_FRAME / 2);
    put_be32(part.data, LIMIT_FRAME);
    for (unsigned i = 0; i < s->senders; i++) {
        clients[i] = attacker_greet(&own, s->node);
        write_slowly(clients[i], buffer_bytes(&part));
        atomic_fetch_add(&s->stage->tally.tries, 1);
    }
    for (atomic_store(&s->stage->height, 1);; usleep(100000))
        for (unsigned i = 0; i < s->senders; i++)
            if (!flood_is_cut(client_descriptor(clients[i])))
                (void)client_write(clients[i], bytes_of(part.data, 1), 1000, NULL);
}

void storm_questions_without_end(void *storms)
{
    struct storms *s = storms;
    enum { COUNT = 60, QUESTIONS = 64 };
    struct client *clients[COUNT];
    struct buffer questions = {0};
    struct attacker own;
    struct frame frame;
    attacker_open(&own, s->bed);
    flood_questions(&questions, QUESTIONS);
    for (unsigned i = 0; i < COUNT; i++)
        clients[i] = attacker_greet(&own, s->node);
    for (;;)
        for (unsigned i = 0; i < COUNT; i++) {
            while (client_receive(clients[i], &frame, 0, NULL) == OK)
                atomic_fetch_add(&s->stage->tally.answers, 1);
            flood_give_way();
            if (client_write(clients[i], buffer_bytes(&questions), FLOOD_PATIENCE_MS, NULL) != OK)
                testbed_fail(s->bed, "a client that reads is cut off");
            atomic_fetch_add(&s->stage->tally.tries, QUESTIONS);
            atomic_store(&s->stage->height, 1);
        }
}

void storm_clients_that_never_read(void *storms)
{
    struct storms *s = storms;
    enum { COUNT = 60, QUESTIONS = 6000 };
    struct client *clients[COUNT];
    struct buffer questions = {0};
    struct attacker own;
    attacker_open(&own, s->bed);
    flood_questions(&questions, QUESTIONS);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = flood_small_reader(&own, s->node);
        /* What it can't write at once it would read answers for: the kernel's buffer has to do. */
        (void)client_write(clients[i], buffer_bytes(&questions), 0, NULL);
    }
    hold_on(s);
}
