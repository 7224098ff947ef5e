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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/lib/slices.h"
#include "tests/lib/storms.h"
#include "tests/lib/unit.h"
#include "tests/lib/writers.h"

#define NODES 5
#define NODE 2
#define LATE_MS 15000 /* a flood that has not come by then gets processors; longer than idle connections live */
#define LOOK_MS 50    /* at memory, which takes a tenth of a millisecond: a peak of two seconds is not missed */
#define AFTER_MS 1000 /* so long after the node has closed what hung up: what goes with that is freed by then */
#define GROWTH_MIB 64
#define WRITES 50      /* by the ordinary client in each slice, at least */
#define FILES_KEPT 256 /* descriptors of a process beside the flood's; a node keeps 192 */

static struct testbed bed;
static struct attacker them;
static struct writers clients; /* the first one is measured */
static struct storms attack = {
    .bed = &bed, .them = &them, .node = NODE, .frames = 5000, .connections = 2500, .half_open = 900,
    .idle = LIMIT_CLIENTS + 300,
    .senders = 40, /* two and a half times LIMIT_RECEIVE_TOTAL */
};
static unsigned rounds = 1, slice_ms = 500;
static uint64_t quiet_kib; /* private memory before anything */
static unsigned first_descriptors, quiet_descriptors; /* of the node, before anything and before each flood */
static unsigned files, places; /* descriptors of a process; idle clients that stay */

static _Noreturn void await_failed(const char *what)
{
    testbed_fail(&bed, "%s: the first client made %u writes (%u failed: %s), the node has %u descriptors, and had %u",
                 what, writers_measured(&clients), writers_failed(&clients, 0), writers_why(&clients, 0),
                 flood_descriptors(&bed, NODE), quiet_descriptors);
}

static void await(const char *what, bool (*is_so)(void))
{
    for (uint64_t end = flood_now_ms() + FLOOD_PATIENCE_MS; !is_so(); usleep(5000))
        if (flood_now_ms() > end) await_failed(what);
}

/* --- slices --- */

/* Of one kind: what the slices were like. */
struct course {
    struct slices slices;
    uint64_t memory_kib;  /* the most seen in any of them, and after */
    uint64_t tries, answers, ms; /* of the flood */
    unsigned peak;        /* connections at once, in this one */
    unsigned least_peak;  /* and in the one with fewest */
    unsigned late;        /* slices in which the attackers needed the nodes' priority */
    uint64_t cut_ms;      /* from its last slice on: until all were cut but those that have more time */
    uint64_t last_cut_ms; /* and these */
};

static unsigned slice_serial;

static bool others_write(void)
{
    for (unsigned i = 1; i < WRITERS; i++)
        if (writers_done(&clients, i) == 0) return false;
    return true;
}
static bool slice_is_on(void) { return writers_slice(&clients) == slice_serial; }
static bool client_rests(void) { return writers_slice(&clients) == 0; }
static bool client_wrote(void) { return slice_is_on() && writers_measured(&clients) >= WRITES; }
/* As the node has it: who holds on reads nothing, and need not hear of it. Its own files come and go. */
static bool all_is_cut(void) { return flood_descriptors(&bed, NODE) <= quiet_descriptors + 8; }

/* At the node, from outside. Judged at the end, when no attacker is left running. */
static void look(struct course *s)
{
    uint64_t now = attacker_memory_kib(&them, NODE);
    unsigned open = flood_descriptors(&bed, NODE);
    if (now > s->memory_kib) s->memory_kib = now;
    if (open > quiet_descriptors && open - quiet_descriptors > s->peak) s->peak = open - quiet_descriptors;
}

static void look_for(struct course *s, uint64_t ms)
{
    for (uint64_t end = flood_now_ms() + ms; flood_now_ms() < end; usleep(LOOK_MS * 1000))
        look(s);
}

/* How long that took. */
static uint64_t look_until(struct course *s, const char *what, bool (*is_so)(void))
{
    uint64_t start = flood_now_ms();
    for (; !is_so(); usleep(LOOK_MS * 1000)) {
        look(s);
        if (flood_now_ms() > start + FLOOD_PATIENCE_MS) await_failed(what);
    }
    return flood_now_ms() - start;
}

static void judge_memory(const struct course *s, const char *name)
{
    if (quiet_kib && s->memory_kib > quiet_kib + flood_kib(GROWTH_MIB))
        fail_msg("%s: the node takes %llu KiB more", name, (unsigned long long)(s->memory_kib - quiet_kib));
}

static void begin_slice(const char *name)
{
    slice_serial++;
    writers_want_slice(&clients, slice_serial);
    await(name, slice_is_on);
}

/* At least so many writes: what the slice was like is known then. */
static void end_slice(struct course *s, const char *name)
{
    look_until(s, name, client_wrote);
    writers_want_slice(&clients, 0);
    await(name, client_rests);
    slices_add(&s->slices, writers_took_us(&clients), writers_measured(&clients));
}

/* What was before has gone: the node has had a moment to give memory back. */
static void settle(void)
{
    for (uint64_t end = flood_now_ms() + 10000; quiet_kib && flood_now_ms() < end; usleep(100000))
        if (attacker_memory_kib(&them, NODE) < quiet_kib + 24 * 1024) break;
}

static void peace(struct course *s)
{
    settle();
    begin_slice("in peace");
    look_for(s, slice_ms);
    end_slice(s, "in peace");
}

static double growth_mib(const struct course *s)
{
    return s->memory_kib ? ((double)s->memory_kib - (double)quiet_kib) / 1024 : 0;
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
static struct course calm, flood;

static pid_t start_storm(bool equal) { return storms_start(&attack, now->run, equal); }

/* By its own count, and by the node's. Handshakes: the first ones of each process. */
static bool flood_is_high(void)
{
    if (now->least && flood.peak < *now->least) return false;
    if (atomic_load(&attack.stage->tally.answers) < now->answers) return false;
    atomic_store(&attack.stage->enough, true);
    return atomic_load(&attack.stage->height) || atomic_load(&attack.stage->tally.tries) >= 400;
}

static _Noreturn void does_not_come(void)
{
    testbed_fail(&bed, "%s: the flood does not come: %u connections at once, of %u, and %u answers, of %u", now->name,
                 flood.peak, now->least ? *now->least : 0, atomic_load(&attack.stage->tally.answers), now->answers);
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
            *pid = start_storm(true);
        }
        if (flood_now_ms() > start + LATE_MS + FLOOD_PATIENCE_MS) does_not_come();
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
    if (!now->ends && !now->ends_but) return;
    flood.cut_ms = look_until(&flood, "until all is cut", all_but_some_are_cut);
    if (now->ends_but && rounds > 1)
        flood.last_cut_ms = flood.cut_ms + look_until(&flood, "until the last are cut", all_is_cut);
}

static void judge_connections(void)
{
    unsigned left = flood_descriptors(&bed, NODE);
    if (now->most && left > quiet_descriptors + now->most)
        testbed_fail(&bed, "%s: all keep their places: %u descriptors, %u before", now->name, left, quiet_descriptors);
    if (flood.least_peak == 0 || flood.peak < flood.least_peak) flood.least_peak = flood.peak;
}

/* Clients listen to other nodes, too, from when they first need them, and come back after a flood: of each a few. */
static bool attackers_are_gone(void) { return flood_descriptors(&bed, NODE) <= first_descriptors + 2 * WRITERS; }

static void one_slice(bool last)
{
    flood.peak = 0;
    if (!now->comes_first) begin_slice(now->name);
    pid_t pid = start_storm(rounds == 1);
    if (now->comes_first) {
        await_height(&pid);
        storms_forget_tally(&attack);
        begin_slice(now->name);
    }
    uint64_t start = flood_now_ms();
    look_for(&flood, slice_ms);
    await_height(&pid);
    end_slice(&flood, now->name);
    flood.ms += flood_now_ms() - start;
    flood.tries += atomic_load(&attack.stage->tally.tries);
    flood.answers += atomic_load(&attack.stage->tally.answers);
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
    slices_print(&flood.slices, now->name);
    printf(", memory %+.1f MiB, %llu ms\n", growth_mib(&flood), (unsigned long long)ms);
    if (now->least) printf("  %u connections at once, in each slice\n", flood.least_peak);
    if (now->ends)
        printf("  all were cut %.1f s after the last slice\n", (double)flood.cut_ms / 1000);
    if (now->ends_but)
        printf("  all but %u were cut %.1f s after the last slice\n", now->ends_but, (double)flood.cut_ms / 1000);
    if (flood.last_cut_ms)
        printf("  and the last of them after %.1f s\n", (double)flood.last_cut_ms / 1000);
    if (flood.late)
        printf("  in %u of %u slices attackers had the nodes' priority: nothing else was left\n", flood.late, rounds);
    if (flood.tries && flood.ms)
        printf("  the attackers tried %.0f times a second, and had %.0f answers\n",
               1000.0 * (double)flood.tries / (double)flood.ms, 1000.0 * (double)flood.answers / (double)flood.ms);
}

static void print_ratio(struct storm *storm)
{
    storm->ratio = slices_p99_ms(&flood.slices) / slices_p99_ms(&calm.slices);
    printf("  %.2f times the p99 of peace\n", storm->ratio);
    slices_print_p99s(&calm.slices, "in peace");
    slices_print_p99s(&flood.slices, "under flood");
}

/* As many of each row as were asked for, or none: fewer would pass for what the row says. */
static bool has_files(void)
{
    unsigned all = now->least == &attack.connections ? attack.connections : now->least == &places ? attack.idle : 0;
    unsigned needed = all + FILES_KEPT;
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
    calm = flood = (struct course){0};
    for (unsigned round = 1; round <= rounds; round++) {
        if (rounds > 1) peace(&calm);
        settle();
        await("until who was there before is gone", is_quiet);
        one_slice(round == rounds);
    }
    if (rounds > 1) {
        slices_print(&calm.slices, "in peace");
        printf("\n");
    }
    print_flood(flood_now_ms() - start);
    if (rounds > 1) print_ratio(storm);
    judge_memory(&flood, storm->name);
}

static void in_peace(void **state)
{
    (void)state;
    calm = (struct course){0};
    peace(&calm);
    if (quiet_kib == 0) quiet_kib = attacker_memory_kib(&them, NODE);
    await("in peace", is_quiet);
    slices_print(&calm.slices, "in peace");
    printf(", memory %+.1f MiB\n", growth_mib(&calm));
    judge_memory(&calm, "in peace");
}

/* Those of which a client was told that they are done are on this node, each once. */
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
    writers_stop(&clients);
    for (unsigned node = 1; node <= bed.n; node++) {
        int status;
        if (waitpid(bed.pids[node], &status, WNOHANG) != 0) testbed_fail(&bed, "node %u ended", node);
        unsigned count = writers_look_up(&clients, node);
        if (node == NODE) printf("  %u writes of %u clients acknowledged, looked up on each node\n", count, WRITERS);
        assert_true(count >= WRITES);
    }
    await("the nodes' roots do not become one", roots_are_one);
    for (unsigned i = 0; i < WRITERS; i++) {
        unsigned its = writers_failed(&clients, i);
        if (its) printf("  %u writes of client %u failed: %s\n", its, i, writers_why(&clients, i));
        failed += its;
    }
    assert_int_equal(failed, 0);
}

static void choose_seed(void)
{
    const char *text = getenv("SEED");
    attack.noise = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    if (attack.noise == 0) attack.noise = 1;
    printf("seed %llu\n", (unsigned long long)attack.noise);
}

static int begin(void **state)
{
    (void)state;
    struct id patient_id;
    char doctor[ID_TEXT_SIZE], patient[ID_TEXT_SIZE], auditor[ID_TEXT_SIZE];
    choose_seed();
    attack.frames = flood_number("FRAMES", attack.frames);
    attack.connections = flood_number("CONNECTIONS", attack.connections);
    attack.idle = flood_number("CLIENTS", attack.idle);
    attack.senders = flood_number("SENDERS", attack.senders);
    rounds = flood_number("ROUNDS", rounds);
    slice_ms = flood_number("SLICE_MS", slice_ms);
    CHECK(rounds >= 1 && rounds <= SLICES_MAX);
    attack.frames /= rounds;
    if (attack.connections < 1 || attack.connections > LIMIT_CONNECTIONS - FILES_KEPT) /* a node takes no more */
        fail_msg("CONNECTIONS=%u: 1 to %u", attack.connections, LIMIT_CONNECTIONS - FILES_KEPT);
    if (attack.idle <= STORMS_SPARE) fail_msg("CLIENTS=%u: more than %u", attack.idle, STORMS_SPARE);
    files = flood_raise_files(65536);
    places = (attack.idle < LIMIT_CLIENTS ? attack.idle : LIMIT_CLIENTS) - STORMS_SPARE; /* the writers have some */
    storms_open(&attack);
    testbed_make(&bed, NODES, 1);
    bed.log_level = "info"; /* as it is by itself: a line for each connection is not what is measured */
    testbed_start_all(&bed);
    testbed_wait_ready(&bed, 60);
    testbed_care(&bed, doctor, patient);
    testbed_user(&bed, "auditor", "Hospital 2", "auditor", auditor);
    assert_int_equal(id_parse(&patient_id, patient), OK);
    attacker_open(&them, &bed);
    writers_start(&clients, &bed, NODE, &patient_id);
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
    {"garbage frames", storm_garbage_frames},
    {"impossible lengths", storm_impossible_lengths},
    {"noise instead of TLS", storm_noise_instead_of_tls},
    {"handshakes without end", storm_handshakes_without_end},
    {"handshakes, answered", storm_handshakes_answered, .answers = 100},
    {"half-open handshakes", storm_half_open_handshakes, .ends = true, .least = &attack.half_open},
    {"idle connections", storm_idle_connections, .ends = true, .least = &attack.connections},
    {"idle clients", storm_idle_clients, .most = LIMIT_CLIENTS + 100, .least = &places},
    {"slow senders", storm_slow_senders, .ends_but = LIMIT_RECEIVE_TOTAL / (LIMIT_FRAME / 2)},
    {"questions without end", storm_questions_without_end, .answers = 1000, .comes_first = true},
    {"clients that never read", storm_clients_that_never_read, .ends = true},
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
