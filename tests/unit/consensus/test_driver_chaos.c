/* Kills, stops, cuts and writes at random: what was acknowledged is in every
 * node's ledger afterwards, at the index that was told, and all ledgers agree. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ledger/proof.h"
#include "tests/lib/driver_bed.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define WRITES 24   /* under way at once */
#define STEPS 60
#define RECORDED 8192

static struct bed bed;
static uint64_t seed;

static unsigned below(unsigned bound) /* splitmix64 */
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((z ^ z >> 31) % bound);
}

/* ---- writers ---- */

struct writer {
    struct bed_request r;
    unsigned node; /* through which it writes */
    bool busy;
};
static struct writer writers[WRITES];
static struct recorded {
    uint64_t leaf_index;
    struct digest leaf_hash;
} recorded[RECORDED];
static size_t recorded_count, unknown;

static void writer_done(struct submission *s, enum err code, const struct outcome *outcomes, size_t count)
{
    struct writer *w = s->data;
    assert_true(w->busy);
    w->busy = false;
    if (code == OK && recorded_count < RECORDED) {
        assert_int_equal(count, 1);
        assert_true(outcomes[0].code == OK || outcomes[0].code == ERR_DUPLICATE);
        struct recorded *k = &recorded[recorded_count];
        *k = (struct recorded){.leaf_index = outcomes[0].leaf_index};
        if (outcomes[0].code == OK) {
            tree_leaf_hash(&k->leaf_hash, outcomes[0].leaf);
            recorded_count++;
        }
    } else {
        assert_true(code == ERR_NO_QUORUM || code == ERR_STOPPED);
        unknown++;
    }
    bed_request_free(&w->r);
}

static void keep_writing(void)
{
    for (unsigned i = 0; i < WRITES; i++) {
        struct writer *w = &writers[i];
        unsigned node = 1 + below(bed.n);
        if (w->busy || !bed.nodes[node].driver) continue;
        bed_event(&bed, &w->r, &bed.doctor, BED_PATIENT);
        w->r.s.data = w;
        w->r.s.done = writer_done;
        w->r.s.deadline_ns = clock_monotonic_ns() + 4000 * 1000000ull;
        w->busy = true;
        w->node = node;
        enum err e = driver_submit(bed.nodes[node].driver, &w->r.s);
        if (e == OK) continue;
        w->busy = false;
        bed_request_free(&w->r);
    }
}

/* A crash calls nobody back: what was under way there is unknown for ever. */
static void kill_node(unsigned node)
{
    bed_crash(&bed, node);
    for (unsigned i = 0; i < WRITES; i++) {
        if (!writers[i].busy || writers[i].node != node) continue;
        writers[i].busy = false;
        unknown++;
        bed_request_free(&writers[i].r);
    }
}

/* ---- trouble ---- */

static void heal(void)
{
    for (unsigned a = 1; a <= bed.n; a++)
        for (unsigned b = a + 1; b <= bed.n; b++)
            bed_cut(&bed, a, b, false);
    for (unsigned i = 1; i <= bed.n; i++)
        if (!bed.nodes[i].driver) bed_start(&bed, i);
}

static void trouble(void)
{
    unsigned node = 1 + below(bed.n), other = 1 + below(bed.n);
    switch (below(6)) {
    case 0:
    case 1:
        if (!bed.nodes[node].driver) break;
        if (below(4) > 0)
            kill_node(node);
        else
            bed_stop(&bed, node);
        break;
    case 2:
    case 3:
        if (!bed.nodes[node].driver) bed_start(&bed, node);
        break;
    case 4:
        if (node != other) bed_cut(&bed, node, other, true);
        break;
    case 5: heal(); break;
    }
}

/* ---- what holds afterwards ---- */

struct check {
    struct state_read read;
    bool done;
    size_t wrong;
};

static enum err check_run(struct state_read *r, struct table_txn *txn)
{
    struct check *c = r->data;
    struct buffer leaf = {0};
    for (size_t i = 0; i < recorded_count; i++) {
        struct digest hash;
        buffer_clear(&leaf);
        if (proof_leaf(&leaf, txn, recorded[i].leaf_index) == OK)
            tree_leaf_hash(&hash, buffer_bytes(&leaf));
        else
            hash = (struct digest){{0}};
        c->wrong += !digest_equal(&hash, &recorded[i].leaf_hash);
    }
    buffer_free(&leaf);
    return OK;
}

static void check_done(struct state_read *r, enum err code)
{
    assert_int_equal(code, OK);
    ((struct check *)r->data)->done = true;
}

static bool is_checked(struct bed *b, void *data)
{
    (void)b;
    return ((struct check *)data)->done;
}

/* Right after a restart all may be the same and know of nothing that was committed last. */
static uint64_t acknowledged_size(void)
{
    uint64_t size = 3;
    for (size_t i = 0; i < recorded_count; i++)
        if (recorded[i].leaf_index >= size) size = recorded[i].leaf_index + 1;
    return size;
}

static bool idle(struct bed *b, void *data)
{
    (void)b;
    (void)data;
    for (unsigned i = 0; i < WRITES; i++)
        if (writers[i].busy) return false;
    return true;
}

static void run(unsigned n, unsigned b)
{
    bed_open(&bed, n, b);
    recorded_count = unknown = 0;
    bed_start_people(&bed);
    for (unsigned step = 0; step < STEPS; step++) {
        keep_writing();
        if (below(4) == 0) trouble();
        bed_turn(&bed, 20 + below(80));
        if (step % 20 == 19) { /* all at once */
            for (unsigned i = 1; i <= n; i++)
                if (bed.nodes[i].driver) kill_node(i);
            heal();
        }
    }
    heal();
    assert_true(bed_until(&bed, BED_PATIENCE_MS, idle, NULL));
    assert_true(bed_await_same(&bed, acknowledged_size()));
    for (unsigned i = 1; i <= n; i++) {
        struct check c = {.read = {.fresh = true, .run = check_run, .done = check_done}};
        c.read.data = &c;
        assert_int_equal(driver_read(bed.nodes[i].driver, &c.read), OK);
        assert_true(bed_until(&bed, BED_PATIENCE_MS, is_checked, &c));
        assert_int_equal(c.wrong, 0);
        assert_false(bed.nodes[i].fatal);
    }
    print_message("%zu acknowledged, %zu unknown\n", recorded_count, unknown);
    assert_true(recorded_count > 0);
    bed_close(&bed);
}

static void three_nodes(void **state)
{
    (void)state;
    run(3, 0);
}

static void four_nodes(void **state)
{
    (void)state;
    run(4, 1);
}

int main(void)
{
    const char *given = getenv("SEED");
    seed = given ? strtoull(given, NULL, 10) : clock_wall_ms();
    print_message("SEED=%llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_nodes),
        cmocka_unit_test(four_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
