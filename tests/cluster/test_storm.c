/* Floods of every kind against one node of five, while eight ordinary clients write, through
 * each node, the first one through that node without a pause: garbage instead of frames,
 * impossible lengths, bytes that come one by one, handshakes that nobody finishes and
 * handshakes without end, thousands of connections that say nothing and of clients that
 * greet and say nothing more, questions without end, clients that never read. The node's
 * private memory grows by no more than 64 MiB, what is cut is cut in time, and none of the
 * clients' writes fails. At the end each that was acknowledged is on every node, and all
 * have one root.
 *
 * How long they take is measured in slices: peace and flood in turn, in one run, so that
 * what else the machine does is in both. Of each slice the 99th percentile counts, of the
 * slices their median. The attackers have what processors nobody else wants: what they
 * compute is not what the node has to bear. No time is asserted.
 *
 * ROUNDS=n: so many slices of each kind, of SLICE_MS at least; then everything is also waited
 * for until it is cut. FRAMES=n: so many garbage frames in all, CONNECTIONS=n idle ones, CLIENTS=n idle
 * clients. ONLY=text: only floods whose name has it. SEED=n: the same noise again. */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/pack.h"
#include "tests/lib/events.h"
#include "tests/lib/flood.h"
#include "tests/lib/unit.h"

#define NODES 5
#define NODE 2
#define CLIENTS 8     /* the first one is measured */
#define PAUSE_US 2000 /* after a write: a busy user, not a flood */
#define OTHERS_PAUSE_US 100000
#define PATIENCE_MS FLOOD_PATIENCE_MS
#define GROWTH_MIB 64
#define SAMPLES 65536
#define WRITES 50 /* by the ordinary client in each slice, at least */
#define ROUNDS_MAX 32
#define WRITES_MAX (1u << 20)

static struct testbed bed;
static struct attacker them;
static unsigned frames = 20000, connections = 2500, idle = LIMIT_CLIENTS + 300, rounds = 1, slice_ms = 500;
static uint64_t noise; /* of each process, from the seed on */
static uint64_t quiet_kib; /* private memory before anything */
static unsigned first_descriptors, quiet_descriptors; /* of the node, before anything and before each flood */

/* What an attacker's process tells: shared with it. */
static struct stage {
    atomic_uint height; /* all of it has come */
    struct flood_tally tally;
} *stage;

static void make_noise(uint8_t *out, size_t size) /* xorshift64*: any seed but zero */
{
    for (size_t i = 0; i < size; i++) {
        noise ^= noise >> 12;
        noise ^= noise << 25;
        noise ^= noise >> 27;
        out[i] = (uint8_t)(noise * UINT64_C(2685821657736338717) >> 56);
    }
}

/* --- the ordinary clients --- */

/* Each one's, shared with its process. */
static struct ordinary {
    atomic_uint written, done, failed; /* events that it began to write, wN-0 .. */
    char why[240];
    bool acknowledged[WRITES_MAX];
} *ordinary;
static pid_t client_pids[CLIENTS];

/* What the first one measures. */
static struct watch {
    atomic_uint wanted, slice; /* the slice that is, and the one that its last write began in */
    atomic_uint count;
    uint32_t took_us[SAMPLES]; /* of `slice` */
} *watch;
static struct id patient_id;

static void note_write(uint64_t took_us)
{
    unsigned n = atomic_load(&watch->count);
    if (n == SAMPLES) return;
    watch->took_us[n] = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us;
    atomic_store(&watch->count, n + 1);
}

/* A slice's last write is in it, however long it took: what is read of a slice is complete. */
static void await_slice(void)
{
    unsigned wanted;
    while ((wanted = atomic_load(&watch->wanted)) == 0) {
        atomic_store(&watch->slice, 0);
        usleep(500);
    }
    if (wanted == atomic_load(&watch->slice)) return;
    atomic_store(&watch->count, 0);
    atomic_store(&watch->slice, wanted);
}

/* Whether the node said that it is done. */
static bool write_event(struct attacker *a, struct client *c, const struct signer *who, struct ordinary *own,
                        const char *code)
{
    static struct buffer request;
    static struct said said;
    struct message_result result;
    struct arguments args = {.action = ACTION_EVENT_ADD,
                             .event_add = {patient_id, bytes_text("bill"), bytes_text(code)}};
    attacker_request(&request, a, who, &args, (struct bytes){0}, NULL);
    attacker_submit(a, c, &said, &result, buffer_bytes(&request));
    if (said.type == MESSAGE_APPLIED) return true;
    snprintf(own->why, sizeof own->why, "type %u, %s", said.type, said.text);
    return false;
}

static _Noreturn void write_on(unsigned number)
{
    struct attacker attacker;
    struct ordinary *own = &ordinary[number];
    char code[EVENT_CODE_SIZE];
    unsigned node = number ? 1 + number % NODES : NODE;
    attacker_open(&attacker, &bed);
    struct signer doctor = attacker_signer(&attacker, "doctor");
    struct client *c = attacker_greet(&attacker, node);
    for (unsigned i = 0; i < WRITES_MAX; i++) {
        if (number == 0) await_slice();
        snprintf(code, sizeof code, "w%u-%u", number, i);
        atomic_store(&own->written, i + 1);
        uint64_t start = clock_monotonic_ns();
        own->acknowledged[i] = write_event(&attacker, c, &doctor, own, code);
        if (number == 0) note_write((clock_monotonic_ns() - start) / 1000);
        if (!own->acknowledged[i]) {
            client_close(c);
            c = attacker_greet(&attacker, node);
        }
        atomic_fetch_add(own->acknowledged[i] ? &own->done : &own->failed, 1);
        usleep(number ? OTHERS_PAUSE_US : PAUSE_US);
    }
    testbed_fail(&bed, "client %u wrote too much", number);
}

static void *shared(size_t size)
{
    void *m = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    return m;
}

static void start_clients(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_pids[i] = fork();
        CHECK(client_pids[i] >= 0);
        if (client_pids[i] != 0) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        write_on(i);
    }
}

static void await(const char *what, bool (*is_so)(void))
{
    for (uint64_t end = flood_now_ms() + PATIENCE_MS; !is_so(); usleep(5000))
        if (flood_now_ms() > end)
            testbed_fail(&bed, "%s: the first client made %u writes (%u failed: %s), the node has %u descriptors, "
                         "and had %u", what, atomic_load(&watch->count), atomic_load(&ordinary->failed), ordinary->why,
                         flood_descriptors(&bed, NODE), quiet_descriptors);
}

/* --- slices --- */

/* Of one kind: what each slice was like. */
struct slices {
    unsigned count, writes;
    double p50_ms[ROUNDS_MAX], p99_ms[ROUNDS_MAX];
    uint64_t memory_kib; /* the most seen in any of them */
    uint64_t tries, answers, ms; /* of the flood */
};

static unsigned slice_serial;

static bool others_write(void)
{
    for (unsigned i = 1; i < CLIENTS; i++)
        if (atomic_load(&ordinary[i].done) == 0) return false;
    return true;
}
static bool slice_is_on(void) { return atomic_load(&watch->slice) == slice_serial; }
static bool client_rests(void) { return atomic_load(&watch->slice) == 0; }
static bool client_wrote(void) { return slice_is_on() && atomic_load(&watch->count) >= WRITES; }
/* Handshakes: the first ones of each process. */
static bool flood_is_high(void) { return atomic_load(&stage->height) || atomic_load(&stage->tally.tries) >= 400; }

/* As the node has it: who holds on reads nothing, and need not hear of it. Its own files come and go. */
static bool all_is_cut(void) { return flood_descriptors(&bed, NODE) <= quiet_descriptors + 8; }

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, unsigned count)
{
    double sorted[ROUNDS_MAX];
    CHECK(count > 0 && count <= ROUNDS_MAX);
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_value);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static void look_at_memory(struct slices *s, const char *name)
{
    uint64_t now = attacker_memory_kib(&them, NODE);
    if (now > s->memory_kib) s->memory_kib = now;
    if (quiet_kib && now > quiet_kib + flood_kib(GROWTH_MIB))
        fail_msg("%s: the node takes %llu KiB more", name, (unsigned long long)(now - quiet_kib));
}

static void begin_slice(const char *name)
{
    slice_serial++;
    atomic_store(&watch->wanted, slice_serial);
    await(name, slice_is_on);
}

/* At least so long, so many writes, and until the flood has come. */
static void end_slice(struct slices *s, const char *name, bool (*is_over)(void))
{
    uint64_t start = flood_now_ms();
    while (flood_now_ms() < start + slice_ms || (is_over && !is_over())) {
        look_at_memory(s, name);
        if (flood_now_ms() > start + PATIENCE_MS) testbed_fail(&bed, "%s: the flood does not come", name);
        usleep(200000);
    }
    await(name, client_wrote);
    look_at_memory(s, name);
    atomic_store(&watch->wanted, 0);
    await(name, client_rests);
    unsigned n = atomic_load(&watch->count);
    qsort(watch->took_us, n, sizeof watch->took_us[0], by_size);
    CHECK(s->count < ROUNDS_MAX);
    s->p50_ms[s->count] = watch->took_us[n / 2] / 1000.0;
    s->p99_ms[s->count] = watch->took_us[n - 1 - n / 100] / 1000.0;
    s->writes += n;
    s->count++;
}

/* What was before has gone: the node has had a moment to give memory back. */
static void settle(void)
{
    for (uint64_t end = flood_now_ms() + 10000; quiet_kib && flood_now_ms() < end; usleep(100000))
        if (attacker_memory_kib(&them, NODE) < quiet_kib + 24 * 1024) break;
}

static void peace(struct slices *s)
{
    settle();
    begin_slice("in peace");
    end_slice(s, "in peace", NULL);
}

static double growth_mib(const struct slices *s)
{
    return s->memory_kib ? ((double)s->memory_kib - (double)quiet_kib) / 1024 : 0;
}

static void print_slices(const char *name, const struct slices *s)
{
    printf("  %-28s %6u writes, p50 %6.1f ms, p99 %6.1f ms", name, s->writes, median(s->p50_ms, s->count),
           median(s->p99_ms, s->count));
}

static void print_p99s(const char *name, const struct slices *s)
{
    printf("    p99 of the slices %s:", name);
    for (unsigned i = 0; i < s->count; i++)
        printf(" %.1f", s->p99_ms[i]);
    printf("\n");
}

/* --- floods, each by processes of its own --- */

static void hold_on(void)
{
    atomic_store(&stage->height, 1);
    for (;;)
        pause();
}

/* One frame of nonsense: any type, any id, a body of no message's shape; one in 256 isn't even that, and ends the
 * connection. */
static void garbage_frame(struct buffer *out)
{
    uint8_t bytes[96];
    make_noise(bytes, sizeof bytes);
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

/* Until its part of the frames is answered, over as many connections as it takes. */
static void garbage_frames(void *data)
{
    (void)data;
    struct buffer some = {0};
    struct attacker own;
    attacker_open(&own, &bed);
    for (unsigned answered = 0; answered < frames / rounds;) {
        bool open = true;
        struct client *c = attacker_greet(&own, NODE);
        while (open && answered < frames / rounds)
            answered += garbage_batch(c, &some, &open);
        client_close(c);
    }
    hold_on();
}

/* Each is cut before anything else is tried. */
static void impossible_lengths(void *data)
{
    (void)data;
    static const uint32_t lengths[] = {0, 0x80000000u, 0xffffffffu, LIMIT_FRAME + 1};
    struct attacker own;
    uint8_t bytes[64];
    attacker_open(&own, &bed);
    make_noise(bytes, sizeof bytes);
    for (unsigned i = 0; i < 200; i++) {
        struct client *c = i % 2 ? attacker_greet(&own, NODE) : attacker_connect(&own, NODE);
        put_be32(bytes, lengths[i / 2 % 4]);
        attacker_write(&own, c, BYTES(bytes));
        if (!attacker_closed(c, PATIENCE_MS)) testbed_fail(&bed, "a length of %u is put up with", lengths[i / 2 % 4]);
        client_close(c);
    }
    hold_on();
}

/* Not even TLS. */
static void noise_instead_of_tls(void *data)
{
    (void)data;
    uint8_t bytes[4096];
    for (atomic_store(&stage->height, 1);;) {
        int s = flood_dial(&bed, NODE, 40);
        make_noise(bytes, sizeof bytes);
        if (s >= 0) (void)send(s, bytes, 1 + bytes[0] * 16u, MSG_NOSIGNAL);
        if (s >= 0) close(s);
    }
}

static void shake_hands(bool patient)
{
    unsigned address = fork() == 0 ? 30 : 31; /* two of them */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    flood_shake_hands(&them, NODE, address, patient, &stage->tally);
}

static void handshakes_without_end(void *data)
{
    (void)data;
    shake_hands(false);
}

/* All of them wait for the node's signature, and only then come anew. */
static void handshakes_answered(void *data)
{
    (void)data;
    shake_hands(true);
}

/* A third stop within the first message, a third behind it, a third send it byte by byte. */
static void half_open_handshakes(void *data)
{
    enum { COUNT = 900 };
    static int sockets[COUNT];
    uint8_t hello[FLOOD_HELLO];
    size_t size = flood_hello(&them, NODE, hello);
    (void)data;
    for (unsigned i = 0; i < COUNT; i++) {
        sockets[i] = flood_dial(&bed, NODE, 20 + i % 3);
        if (i % 3 < 2) (void)send(sockets[i], hello, i % 3 ? size : size / 2, MSG_NOSIGNAL);
    }
    for (size_t byte = 0; byte < 20; byte++, usleep(20000))
        for (unsigned i = 2; i < COUNT; i += 3)
            (void)send(sockets[i], &hello[byte], 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    hold_on();
}

static void idle_connections(void *data)
{
    (void)data;
    for (unsigned i = 0; i < connections; i++)
        (void)flood_dial(&bed, NODE, 2 + i / 3000);
    hold_on();
}

/* Keeps the socket, and as the node sees it the connection, without the memory that our side of it takes. */
static void forget_client(struct client *c)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup(client_descriptor(c)) < 0 || dup2(null, client_descriptor(c)) < 0)
        testbed_fail(&bed, "no descriptor is left");
    close(null);
    client_close(c);
}

/* They greet, ask nothing and never leave: each costs the node a whole session. More of them than have a place. */
static void idle_clients(void *data)
{
    (void)data;
    struct attacker own;
    attacker_open(&own, &bed);
    for (unsigned i = 0; i < idle; i++)
        forget_client(attacker_greet(&own, NODE));
    hold_on();
}

/* It may be cut off. */
static void write_slowly(struct client *c, struct bytes part)
{
    enum { STEP = 16 * KIB };
    while (part.size) {
        struct bytes some = bytes_of(part.data, part.size < STEP ? part.size : STEP);
        if (client_write(c, some, PATIENCE_MS, NULL) != OK) return;
        part = bytes_of(part.data + some.size, part.size - some.size);
        flood_give_way();
    }
}

/* Large frames of which half has come, and then a byte now and then. */
static void slow_senders(void *data)
{
    enum { COUNT = 100 };
    static struct client *clients[COUNT];
    struct buffer part = {0};
    struct attacker own;
    (void)data;
    attacker_open(&own, &bed);
    memset(buffer_extend(&part, LIMIT_FRAME / 2), 0xc4, LIMIT_FRAME / 2);
    put_be32(part.data, LIMIT_FRAME);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = attacker_greet(&own, NODE);
        write_slowly(clients[i], buffer_bytes(&part));
        atomic_fetch_add(&stage->tally.tries, 1);
    }
    for (atomic_store(&stage->height, 1);; usleep(100000))
        for (unsigned i = 0; i < COUNT; i++)
            if (!flood_is_cut(client_descriptor(clients[i])))
                (void)client_write(clients[i], bytes_of(part.data, 1), 1000, NULL);
}

/* Questions that any stranger may ask, and whose answers are read: without end. */
static void questions_without_end(void *data)
{
    enum { COUNT = 60, QUESTIONS = 64 };
    struct client *clients[COUNT];
    struct buffer questions = {0};
    struct attacker own;
    struct frame frame;
    (void)data;
    attacker_open(&own, &bed);
    flood_questions(&questions, QUESTIONS);
    for (unsigned i = 0; i < COUNT; i++)
        clients[i] = attacker_greet(&own, NODE);
    for (;;)
        for (unsigned i = 0; i < COUNT; i++) {
            while (client_receive(clients[i], &frame, 0, NULL) == OK)
                atomic_fetch_add(&stage->tally.answers, 1);
            flood_give_way();
            if (client_write(clients[i], buffer_bytes(&questions), PATIENCE_MS, NULL) != OK)
                testbed_fail(&bed, "a client that reads is cut off");
            atomic_fetch_add(&stage->tally.tries, QUESTIONS);
            atomic_store(&stage->height, 1);
        }
}

/* The same by clients that read nothing. */
static void clients_that_never_read(void *data)
{
    enum { COUNT = 60, QUESTIONS = 6000 };
    struct client *clients[COUNT];
    struct buffer questions = {0};
    struct attacker own;
    (void)data;
    attacker_open(&own, &bed);
    flood_questions(&questions, QUESTIONS);
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = flood_small_reader(&own, NODE);
        /* What it can't write at once it would read answers for: the kernel's buffer has to do. */
        (void)client_write(clients[i], buffer_bytes(&questions), 0, NULL);
    }
    hold_on();
}

/* --- one of them after the other --- */

struct storm {
    const char *name;
    void (*run)(void *data);
    bool ends, ends_soon; /* all its connections are cut; in seconds */
    unsigned most;        /* connections that the node may have left of it; 0: any */
    bool comes_first;     /* measured once it has come: how many come at once is others' flood */
};

static void one_slice_of(const struct storm *storm, struct slices *s, bool last)
{
    atomic_store(&stage->height, 0);
    atomic_store(&stage->tally.tries, 0);
    atomic_store(&stage->tally.answers, 0);
    if (!storm->comes_first) begin_slice(storm->name);
    pid_t pid = flood_start(&bed, storm->run, NULL);
    if (storm->comes_first) {
        await(storm->name, flood_is_high);
        atomic_store(&stage->tally.tries, 0);
        atomic_store(&stage->tally.answers, 0);
        begin_slice(storm->name);
    }
    uint64_t start = flood_now_ms();
    end_slice(s, storm->name, flood_is_high);
    s->ms += flood_now_ms() - start;
    s->tries += atomic_load(&stage->tally.tries);
    s->answers += atomic_load(&stage->tally.answers);
    unsigned left = flood_descriptors(&bed, NODE);
    if (storm->most && left > quiet_descriptors + storm->most)
        testbed_fail(&bed, "%s: all keep their places: %u descriptors, %u before", storm->name, left, quiet_descriptors);
    /* The node's own time, and a generous one on top. */
    if (last && (storm->ends_soon || (storm->ends && rounds > 1))) await("until all is cut", all_is_cut);
    flood_stop(pid);
}

/* Clients listen to other nodes, too, from when they first need them, and come back after a flood: of each a few. */
static bool is_quiet(void)
{
    quiet_descriptors = flood_descriptors(&bed, NODE);
    if (first_descriptors == 0) first_descriptors = quiet_descriptors;
    return quiet_descriptors <= first_descriptors + 2 * CLIENTS;
}

static void under_flood(void **state)
{
    const struct storm *storm = *state;
    static struct slices calm, flood;
    const char *only = getenv("ONLY");
    uint64_t start = flood_now_ms();
    if (only && !strstr(storm->name, only)) return;
    calm = flood = (struct slices){0};
    for (unsigned round = 1; round <= rounds; round++) {
        if (rounds > 1) peace(&calm);
        settle();
        await("until who was there before is gone", is_quiet);
        one_slice_of(storm, &flood, round == rounds);
    }
    if (rounds > 1) {
        print_slices("in peace", &calm);
        printf("\n");
    }
    print_slices(storm->name, &flood);
    printf(", memory %+.1f MiB, %llu ms\n", growth_mib(&flood), (unsigned long long)(flood_now_ms() - start));
    if (flood.tries && flood.ms)
        printf("  the attackers tried %.0f times a second, and had %.0f answers\n",
               1000.0 * (double)flood.tries / (double)flood.ms, 1000.0 * (double)flood.answers / (double)flood.ms);
    if (rounds > 1) {
        printf("  %.2f times the p99 of peace\n", median(flood.p99_ms, rounds) / median(calm.p99_ms, rounds));
        print_p99s("in peace", &calm);
        print_p99s("under flood", &flood);
    }
}

static void in_peace(void **state)
{
    (void)state;
    static struct slices calm;
    calm = (struct slices){0};
    peace(&calm);
    if (quiet_kib == 0) quiet_kib = attacker_memory_kib(&them, NODE);
    await("in peace", is_quiet);
    print_slices("in peace", &calm);
    printf(", memory %+.1f MiB\n", growth_mib(&calm));
}

/* Those of which a client was told that they are done are on this node, each once. */
static unsigned has_all_of(const struct events *events, unsigned number, unsigned node)
{
    const struct ordinary *own = &ordinary[number];
    char code[EVENT_CODE_SIZE];
    unsigned count = 0;
    for (unsigned i = 0; i < atomic_load(&own->written); i++) {
        snprintf(code, sizeof code, "w%u-%u", number, i);
        count += own->acknowledged[i];
        if (own->acknowledged[i] && !events_have(events, code))
            testbed_fail(&bed, "node %u lost %s, which was acknowledged", node, code);
    }
    return count;
}

static void has_all_writes(unsigned node)
{
    struct events events = {0};
    unsigned count = 0;
    events_read(&events, &bed, node);
    for (unsigned i = 0; i < CLIENTS; i++)
        count += has_all_of(&events, i, node);
    const char *twice = events_twice(&events);
    if (twice) testbed_fail(&bed, "node %u has %s twice", node, twice);
    if (node == NODE) printf("  %u writes of %u clients acknowledged, looked up on each node\n", count, CLIENTS);
    assert_true(count >= WRITES);
    events_free(&events);
}

static bool roots_are_one(void)
{
    struct ledger_mark first = attacker_mark(&them, 1);
    bool same = first.size > 0;
    for (unsigned node = 2; node <= bed.n && same; node++) {
        struct ledger_mark mark = attacker_mark(&them, node);
        same = mark.size == first.size && digest_equal(&mark.root, &first.root);
    }
    return same;
}

static void all_writes_are_there(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        flood_stop(client_pids[i]);
    for (unsigned node = 1; node <= bed.n; node++) {
        int status;
        if (waitpid(bed.pids[node], &status, WNOHANG) != 0) testbed_fail(&bed, "node %u ended", node);
        has_all_writes(node);
    }
    await("the nodes' roots do not become one", roots_are_one);
    for (unsigned i = 0; i < CLIENTS; i++) {
        unsigned its = atomic_load(&ordinary[i].failed);
        if (its) printf("  %u writes of client %u failed: %s\n", its, i, ordinary[i].why);
        failed += its;
    }
    assert_int_equal(failed, 0);
}

static void choose_seed(void)
{
    const char *text = getenv("SEED");
    noise = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    if (noise == 0) noise = 1;
    printf("seed %llu\n", (unsigned long long)noise);
}

static int begin(void **state)
{
    (void)state;
    char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE];
    choose_seed();
    frames = flood_number("FRAMES", frames);
    connections = flood_number("CONNECTIONS", connections);
    idle = flood_number("CLIENTS", idle);
    rounds = flood_number("ROUNDS", rounds);
    slice_ms = flood_number("SLICE_MS", slice_ms);
    CHECK(rounds >= 1 && rounds <= ROUNDS_MAX);
    unsigned files = flood_raise_files(65536);
    if (connections > files / 2) connections = files / 2;
    if (idle > files / 2) idle = files / 2;
    watch = shared(sizeof *watch);
    ordinary = shared(CLIENTS * sizeof *ordinary);
    stage = shared(sizeof *stage);
    testbed_make(&bed, NODES, 1);
    bed.log_level = "info"; /* as it is by itself: a line for each connection is not what is measured */
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 2", "auditor", auditor);
    assert_int_equal(id_parse(&patient_id, patient), OK);
    attacker_open(&them, &bed);
    start_clients();
    await("the others write", others_write);
    return 0;
}

static int end(void **state)
{
    (void)state;
    attacker_close(&them);
    testbed_end(&bed);
    return 0;
}

static struct storm storms[] = {
    {"garbage frames", garbage_frames, false, false},
    {"impossible lengths", impossible_lengths, false, false},
    {"noise instead of TLS", noise_instead_of_tls, false, false},
    {"handshakes without end", handshakes_without_end, false, false},
    {"handshakes, answered", handshakes_answered, false, false},
    {"half-open handshakes", half_open_handshakes, true, false}, /* test_flood.c sees them cut */
    {"idle connections", idle_connections, true, true},
    {"idle clients", idle_clients, false, false, LIMIT_CLIENTS + 100},
    {"slow senders", slow_senders, true, false},
    {"questions without end", questions_without_end, .comes_first = true},
    {"clients that never read", clients_that_never_read, true, false},
};
#define STORMS (sizeof storms / sizeof storms[0])

int main(void)
{
    struct CMUnitTest tests[STORMS + 3];
    size_t n = 0;
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* it takes minutes: each line as it comes */
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(in_peace);
    for (size_t i = 0; i < STORMS; i++)
        tests[n++] = (struct CMUnitTest){storms[i].name, under_flood, NULL, NULL, &storms[i]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(in_peace);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(all_writes_are_there);
    CHECK(n == sizeof tests / sizeof tests[0]);
    return cmocka_run_group_tests(tests, begin, end);
}
