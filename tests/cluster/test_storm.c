/* Floods of every kind against one node of five, while eight ordinary clients write, through
 * each node, the first one through that node without a pause: garbage instead of frames,
 * impossible lengths, bytes that come one by one, handshakes that nobody finishes and
 * handshakes without end, thousands of connections that say nothing and of clients that
 * greet and say nothing more, questions without end, clients that never read. The node's
 * private memory grows by no more than 64 MiB, also when all of them hang up at once, what
 * is cut is cut in time, and none of the clients' writes fails. At the end each that was
 * acknowledged is on every node, and all have one root. A flood that does not come, or not
 * to its height, fails: what the node has open is what counts.
 *
 * How long they take is measured in slices: peace and flood in turn, in one run, so that
 * what else the machine does is in both. Of each slice the 99th percentile counts, of the
 * slices their median. The attackers have what processors nobody else wants then: what they
 * compute is not what the node has to bear. Where that is too little for a flood to come
 * they begin anew with the nodes' priority, and the test says so. No time is asserted. In one
 * slice of each, where nothing is compared, they have the nodes' priority from the start.
 *
 * ROUNDS=n: so many slices of each kind, of SLICE_MS at least; then the last unfinished frames are also waited
 * for, a minute. FRAMES=n: so many garbage frames in all, CONNECTIONS=n idle ones, CLIENTS=n idle
 * clients, SENDERS=n slow ones. ONLY=text: only floods whose name has it. SEED=n: the same noise again. */
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
#define OTHERS_PAUSE_US 250000
#define PATIENCE_MS FLOOD_PATIENCE_MS
#define LATE_MS 15000 /* a flood that has not come by then gets processors; longer than idle connections live */
#define LOOK_MS 50    /* at memory, which takes a tenth of a millisecond: a peak of two seconds is not missed */
#define AFTER_MS 1000 /* so long after the node has closed what hung up: what goes with that is freed by then */
#define GROWTH_MIB 64
#define SAMPLES 65536
#define WRITES 50 /* by the ordinary client in each slice, at least */
#define ROUNDS_MAX 32
#define SPARE 64       /* more connections than are demanded: other descriptors of the node come and go meanwhile */
#define FILES_KEPT 256 /* descriptors of a process beside the flood's; a node keeps 192 */
#define WRITES_MAX (1u << 20)

static struct testbed bed;
static struct attacker them;
static unsigned frames = 5000, connections = 2500, idle = LIMIT_CLIENTS + 300, rounds = 1, slice_ms = 500;
static unsigned senders = 40; /* two and a half times LIMIT_RECEIVE_TOTAL */
static uint64_t noise; /* of each process, from the seed on */
static uint64_t quiet_kib; /* private memory before anything */
static unsigned first_descriptors, quiet_descriptors; /* of the node, before anything and before each flood */
static unsigned files, places, half_open = 900; /* descriptors of a process; idle clients that stay; handshakes */

/* What an attacker's process tells: shared with it. */
static struct stage {
    atomic_uint height; /* all of it has come */
    atomic_bool enough; /* told it: the node has had as many at once as it must */
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

static _Noreturn void await_failed(const char *what)
{
    testbed_fail(&bed, "%s: the first client made %u writes (%u failed: %s), the node has %u descriptors, and had %u",
                 what, atomic_load(&watch->count), atomic_load(&ordinary->failed), ordinary->why,
                 flood_descriptors(&bed, NODE), quiet_descriptors);
}

static void await(const char *what, bool (*is_so)(void))
{
    for (uint64_t end = flood_now_ms() + PATIENCE_MS; !is_so(); usleep(5000))
        if (flood_now_ms() > end) await_failed(what);
}

/* --- slices --- */

/* Of one kind: what each slice was like. */
struct slices {
    unsigned count, writes;
    double p50_ms[ROUNDS_MAX], p99_ms[ROUNDS_MAX];
    uint64_t memory_kib; /* the most seen in any of them, and after */
    uint64_t tries, answers, ms; /* of the flood */
    unsigned peak;       /* connections at once, in this one */
    unsigned least_peak; /* and in the one with fewest */
    unsigned late;       /* slices in which the attackers needed the nodes' priority */
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

/* At the node, from outside. Judged at the end, when no attacker is left running. */
static void look(struct slices *s)
{
    uint64_t now = attacker_memory_kib(&them, NODE);
    unsigned open = flood_descriptors(&bed, NODE);
    if (now > s->memory_kib) s->memory_kib = now;
    if (open > quiet_descriptors && open - quiet_descriptors > s->peak) s->peak = open - quiet_descriptors;
}

static void look_for(struct slices *s, uint64_t ms)
{
    for (uint64_t end = flood_now_ms() + ms; flood_now_ms() < end; usleep(LOOK_MS * 1000))
        look(s);
}

static void look_until(struct slices *s, const char *what, bool (*is_so)(void))
{
    for (uint64_t end = flood_now_ms() + PATIENCE_MS; !is_so(); usleep(LOOK_MS * 1000)) {
        look(s);
        if (flood_now_ms() > end) await_failed(what);
    }
}

static void judge_memory(const struct slices *s, const char *name)
{
    if (quiet_kib && s->memory_kib > quiet_kib + flood_kib(GROWTH_MIB))
        fail_msg("%s: the node takes %llu KiB more", name, (unsigned long long)(s->memory_kib - quiet_kib));
}

static void begin_slice(const char *name)
{
    slice_serial++;
    atomic_store(&watch->wanted, slice_serial);
    await(name, slice_is_on);
}

/* At least so many writes: what the slice was like is known then. */
static void end_slice(struct slices *s, const char *name)
{
    look_until(s, name, client_wrote);
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
    look_for(s, slice_ms);
    end_slice(s, "in peace");
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

struct hello {
    uint8_t bytes[FLOOD_HELLO];
    size_t size;
};

static void say_some(int s, unsigned i, void *data)
{
    const struct hello *hello = data;
    if (i % 3 < 2) (void)send(s, hello->bytes, i % 3 ? hello->size : hello->size / 2, MSG_NOSIGNAL);
}

/* A third stop within the first message, a third behind it, a third send it byte by byte. */
static void half_open_handshakes(void *data)
{
    struct hello hello;
    hello.size = flood_hello(&them, NODE, hello.bytes);
    (void)data;
    int *sockets = flood_keep_open(&bed, NODE, 20, half_open + SPARE, &stage->enough, say_some, &hello);
    for (size_t byte = 0; byte < 20; byte++, usleep(20000))
        for (unsigned i = 2; i < half_open; i += 3)
            (void)send(sockets[i], &hello.bytes[byte], 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    hold_on();
}

/* Those that came first are cut while the last ones are dialled, on a slow machine: until there are enough at once. */
static void idle_connections(void *data)
{
    (void)data;
    (void)flood_keep_open(&bed, NODE, 2, connections + SPARE, &stage->enough, NULL, NULL);
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
    struct client **clients = xcalloc(senders, sizeof(struct client *));
    struct buffer part = {0};
    struct attacker own;
    (void)data;
    attacker_open(&own, &bed);
    memset(buffer_extend(&part, LIMIT_FRAME / 2), 0xc4, LIMIT_FRAME / 2);
    put_be32(part.data, LIMIT_FRAME);
    for (unsigned i = 0; i < senders; i++) {
        clients[i] = attacker_greet(&own, NODE);
        write_slowly(clients[i], buffer_bytes(&part));
        atomic_fetch_add(&stage->tally.tries, 1);
    }
    for (atomic_store(&stage->height, 1);; usleep(100000))
        for (unsigned i = 0; i < senders; i++)
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
    bool ends;             /* all its connections are cut in seconds */
    unsigned ends_but;     /* all but so many; these only with their frame's time */
    unsigned most;         /* connections that the node may have left of it; 0: any */
    const unsigned *least; /* that it must have had at once; NULL: any */
    unsigned answers;      /* that its attackers must have had in a slice */
    bool comes_first;      /* measured once it has come: how many come at once is others' flood */
    double ratio;          /* of its p99 and that of peace, once measured */
};
static const struct storm *now; /* the one under way */
static struct slices calm, flood;

static void forget_tally(void)
{
    atomic_store(&stage->tally.tries, 0);
    atomic_store(&stage->tally.answers, 0);
}

static pid_t start_storm(pid_t (*start)(struct testbed *, void (*)(void *), void *))
{
    atomic_store(&stage->height, 0);
    atomic_store(&stage->enough, false);
    forget_tally();
    return start(&bed, now->run, NULL);
}

/* By its own count, and by the node's. Handshakes: the first ones of each process. */
static bool flood_is_high(void)
{
    if (now->least && flood.peak < *now->least) return false;
    if (atomic_load(&stage->tally.answers) < now->answers) return false;
    atomic_store(&stage->enough, true);
    return atomic_load(&stage->height) || atomic_load(&stage->tally.tries) >= 400;
}

static _Noreturn void does_not_come(void)
{
    testbed_fail(&bed, "%s: the flood does not come: %u connections at once, of %u, and %u answers, of %u", now->name,
                 flood.peak, now->least ? *now->least : 0, atomic_load(&stage->tally.answers), now->answers);
}

/* Other processes may want all of the machine for minutes: then the flood comes all the same, and is said to. */
static void await_height(pid_t *pid)
{
    uint64_t start = flood_now_ms();
    bool late = false;
    for (; !flood_is_high(); usleep(LOOK_MS * 1000)) {
        look(&flood);
        if (!late && rounds > 1 && flood_now_ms() > start + LATE_MS) {
            late = true;
            flood.late++;
            flood_stop(*pid);
            *pid = start_storm(flood_start_equal);
        }
        if (flood_now_ms() > start + LATE_MS + PATIENCE_MS) does_not_come();
    }
}

static bool all_but_some_are_cut(void)
{
    return flood_descriptors(&bed, NODE) <= quiet_descriptors + 8 + now->ends_but;
}

/* In the node's own time, and a generous one on top. In each run after LIMIT_HANDSHAKE_MS, LIMIT_STALL_MS, and, of
 * frames above the total, LIMIT_CROWD_MS: seconds. LIMIT_FRAME_MS is a minute, which only long runs have. */
static void await_cuts(void)
{
    if (now->ends || now->ends_but) look_until(&flood, "until all is cut", all_but_some_are_cut);
    if (now->ends_but && rounds > 1) look_until(&flood, "until the last are cut", all_is_cut);
}

static void judge_connections(void)
{
    unsigned left = flood_descriptors(&bed, NODE);
    if (now->most && left > quiet_descriptors + now->most)
        testbed_fail(&bed, "%s: all keep their places: %u descriptors, %u before", now->name, left, quiet_descriptors);
    if (flood.least_peak == 0 || flood.peak < flood.least_peak) flood.least_peak = flood.peak;
}

/* Clients listen to other nodes, too, from when they first need them, and come back after a flood: of each a few. */
static bool attackers_are_gone(void) { return flood_descriptors(&bed, NODE) <= first_descriptors + 2 * CLIENTS; }

static void one_slice(bool last)
{
    flood.peak = 0;
    if (!now->comes_first) begin_slice(now->name);
    pid_t pid = start_storm(rounds > 1 ? flood_start : flood_start_equal);
    if (now->comes_first) {
        await_height(&pid);
        forget_tally();
        begin_slice(now->name);
    }
    uint64_t start = flood_now_ms();
    look_for(&flood, slice_ms);
    await_height(&pid);
    end_slice(&flood, now->name);
    flood.ms += flood_now_ms() - start;
    flood.tries += atomic_load(&stage->tally.tries);
    flood.answers += atomic_load(&stage->tally.answers);
    judge_connections();
    if (last) await_cuts();
    flood_stop(pid);
    look_until(&flood, "until all that hung up is closed", attackers_are_gone); /* at once */
    look_for(&flood, AFTER_MS);
}

static bool is_quiet(void)
{
    quiet_descriptors = flood_descriptors(&bed, NODE);
    if (first_descriptors == 0) first_descriptors = quiet_descriptors;
    return attackers_are_gone();
}

static void print_flood(uint64_t ms)
{
    print_slices(now->name, &flood);
    printf(", memory %+.1f MiB, %llu ms\n", growth_mib(&flood), (unsigned long long)ms);
    if (now->least) printf("  %u connections at once, in each slice\n", flood.least_peak);
    if (flood.late)
        printf("  in %u of %u slices attackers had the nodes' priority: nothing else was left\n", flood.late, rounds);
    if (flood.tries && flood.ms)
        printf("  the attackers tried %.0f times a second, and had %.0f answers\n",
               1000.0 * (double)flood.tries / (double)flood.ms, 1000.0 * (double)flood.answers / (double)flood.ms);
}

static void print_ratio(struct storm *storm)
{
    storm->ratio = median(flood.p99_ms, rounds) / median(calm.p99_ms, rounds);
    printf("  %.2f times the p99 of peace\n", storm->ratio);
    print_p99s("in peace", &calm);
    print_p99s("under flood", &flood);
}

/* As many of each row as were asked for, or none: fewer would pass for what the row says. */
static bool has_files(void)
{
    unsigned needed = (now->least == &connections ? connections : now->least == &places ? idle : 0) + FILES_KEPT;
    if (files >= needed) return true;
    printf("skipped: %s: a process may have %u descriptors, %u are needed (ulimit -n)\n", now->name, files, needed);
    return false;
}

static void under_flood(void **state)
{
    struct storm *storm = *state;
    const char *only = getenv("ONLY");
    uint64_t start = flood_now_ms();
    now = storm;
    if (only && !strstr(storm->name, only)) return;
    if (!has_files()) skip();
    calm = flood = (struct slices){0};
    for (unsigned round = 1; round <= rounds; round++) {
        if (rounds > 1) peace(&calm);
        settle();
        await("until who was there before is gone", is_quiet);
        one_slice(round == rounds);
    }
    if (rounds > 1) {
        print_slices("in peace", &calm);
        printf("\n");
    }
    print_flood(flood_now_ms() - start);
    if (rounds > 1) print_ratio(storm);
    judge_memory(&flood, storm->name);
}

static void in_peace(void **state)
{
    (void)state;
    calm = (struct slices){0};
    peace(&calm);
    if (quiet_kib == 0) quiet_kib = attacker_memory_kib(&them, NODE);
    await("in peace", is_quiet);
    print_slices("in peace", &calm);
    printf(", memory %+.1f MiB\n", growth_mib(&calm));
    judge_memory(&calm, "in peace");
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
    senders = flood_number("SENDERS", senders);
    rounds = flood_number("ROUNDS", rounds);
    slice_ms = flood_number("SLICE_MS", slice_ms);
    CHECK(rounds >= 1 && rounds <= ROUNDS_MAX);
    if (connections < 1 || connections > LIMIT_CONNECTIONS - FILES_KEPT) /* a node takes no more */
        fail_msg("CONNECTIONS=%u: 1 to %u", connections, LIMIT_CONNECTIONS - FILES_KEPT);
    if (idle <= SPARE) fail_msg("CLIENTS=%u: more than %u", idle, SPARE);
    files = flood_raise_files(65536);
    places = (idle < LIMIT_CLIENTS ? idle : LIMIT_CLIENTS) - SPARE; /* the ordinary ones have some */
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
    {"garbage frames", garbage_frames},
    {"impossible lengths", impossible_lengths},
    {"noise instead of TLS", noise_instead_of_tls},
    {"handshakes without end", handshakes_without_end},
    {"handshakes, answered", handshakes_answered, .answers = 100},
    {"half-open handshakes", half_open_handshakes, .ends = true, .least = &half_open},
    {"idle connections", idle_connections, .ends = true, .least = &connections},
    {"idle clients", idle_clients, .most = LIMIT_CLIENTS + 100, .least = &places},
    {"slow senders", slow_senders, .ends_but = LIMIT_RECEIVE_TOTAL / (LIMIT_FRAME / 2)},
    {"questions without end", questions_without_end, .answers = 1000, .comes_first = true},
    {"clients that never read", clients_that_never_read, .ends = true},
};
#define STORMS (sizeof storms / sizeof storms[0])

static void print_ratios(void)
{
    unsigned count = 0;
    for (size_t i = 0; i < STORMS; i++) {
        if (storms[i].ratio <= 2) continue;
        printf("beyond twice the p99 of peace: %s, %.2f times\n", storms[i].name, storms[i].ratio);
        count++;
    }
    if (rounds > 1 && count == 0) printf("beyond twice the p99 of peace: none\n");
}

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
    int failed = cmocka_run_group_tests(tests, begin, end);
    print_ratios();
    return failed;
}
