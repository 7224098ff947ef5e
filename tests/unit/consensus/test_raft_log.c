/* The core's picture of its log against a plain list, under random use (SEED=n
 * replays), and blobs. */
#include "tests/lib/unit.h"

#include <stdio.h>

#include "base/clock.h"
#include "consensus/raft_internal.h"

#define MODEL 400

struct model {
    raft_term terms[MODEL]; /* by index */
    bool cached[MODEL];
    raft_index base, last;
};

static uint64_t seed;

static uint64_t below(uint64_t bound)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (seed >> 33) % bound;
}

static void compare(const struct raft_log *log, const struct model *m)
{
    assert_int_equal(log->last, m->last);
    assert_int_equal(log->compacted.index, m->base);
    size_t bytes = 0;
    for (raft_index i = 0; i < MODEL; i++) {
        bool inside = i >= m->base && i <= m->last;
        assert_int_equal(raft_log_term(log, i), inside ? m->terms[i] : 0);
        const struct raft_entry *e = raft_log_cached(log, i);
        assert_int_equal(e != NULL, inside && i > m->base && m->cached[i]);
        if (!e) continue;
        assert_int_equal(e->index, i);
        bytes += raft_entry_cost(e);
    }
    assert_int_equal(log->bytes_total - log->bytes_evicted, bytes);
    assert_int_equal(raft_log_bytes_after(log, m->base), bytes);
}

/* The slow way to the answers of raft_log_find and raft_log_run_first. */
static void compare_searches(const struct raft_log *log, const struct model *m)
{
    raft_index from = m->base + below(m->last - m->base + 3);
    raft_term term = below(m->terms[m->last] + 2);
    raft_index expected = from > m->last ? m->last : from;
    while (expected > m->base && m->terms[expected] > term) expected--;
    if (m->terms[expected] > term) expected = m->base ? m->base - 1 : 0;
    assert_int_equal(raft_log_find(log, from, term), expected);
    raft_index index = m->base + below(m->last - m->base + 1), first = index;
    while (first > m->base + 1 && m->terms[first - 1] == m->terms[index]) first--;
    if (index > m->base) assert_int_equal(raft_log_run_first(log, index), first);
    raft_index after = m->base + below(m->last - m->base + 1);
    size_t bytes = 0;
    for (raft_index i = after + 1; i <= m->last; i++)
        if (m->cached[i]) bytes += raft_entry_cost(raft_log_cached(log, i));
    assert_int_equal(raft_log_bytes_after(log, after), bytes);
}

static void append_some(struct raft_log *log, struct model *m)
{
    raft_term term = m->terms[m->last] + (below(4) == 0);
    if (!term) term = 1;
    for (uint64_t n = below(12); n && m->last + 1 < MODEL; n--) {
        uint8_t *fill;
        struct raft_blob *blob = raft_blob_new(&fill, below(50));
        struct raft_entry e = {.index = ++m->last, .term = term, .type = RAFT_ENTRY_BLOCK, .blob = blob};
        m->terms[m->last] = term;
        m->cached[m->last] = true;
        raft_log_append(log, &e);
        raft_blob_release(blob);
    }
}

static void step(struct raft_log *log, struct model *m)
{
    switch (below(7)) {
    case 0:
    case 1:
    case 2: append_some(log, m); break;
    case 3:
        if (m->last > m->base) {
            raft_index from = m->base + 1 + below(m->last - m->base);
            raft_log_truncate(log, from);
            m->last = from - 1;
        }
        break;
    case 4: {
        raft_index until = m->base + below(m->last - m->base + 1);
        size_t keep = below(400);
        raft_log_evict(log, until, keep);
        for (raft_index i = m->base + 1; i <= m->last; i++) m->cached[i] = i >= log->cached_first;
        assert_true(log->bytes_total - log->bytes_evicted <= keep || log->cached_first > until);
        break;
    }
    case 5:
        m->base += below(m->last - m->base + 1) / 2;
        raft_log_compact(log, m->base);
        break;
    case 6:
        if (below(20) == 0 && m->last + 5 < MODEL) {
            m->terms[m->last + 3] = m->terms[m->last] + 1;
            m->base = m->last = m->last + 3;
            raft_log_reset(log, (struct raft_position){m->base, m->terms[m->base]});
        }
        break;
    }
}

static void random_use(void **state)
{
    (void)state;
    const char *given = getenv("SEED");
    seed = given ? strtoull(given, NULL, 10) : clock_monotonic_ns();
    print_message("SEED=%llu\n", (unsigned long long)seed);
    for (int round = 0; round < 200; round++) {
        struct raft_log log;
        struct model m = {0};
        raft_log_init(&log, (struct raft_position){0, 0});
        if (below(2)) { /* found on disk */
            raft_log_append_run(&log, 1, 10, 1);
            raft_log_append_run(&log, 11, 12, 3);
            for (raft_index i = 1; i <= 12; i++) m.terms[i] = i <= 10 ? 1 : 3;
            m.last = 12;
        }
        for (int i = 0; i < 60; i++) {
            step(&log, &m);
            compare(&log, &m);
            compare_searches(&log, &m);
        }
        raft_log_free(&log);
    }
}

static unsigned released;
static void count_release(void *owner)
{
    assert_string_equal(owner, "owner");
    released++;
}

static void blobs(void **state)
{
    (void)state;
    static const uint8_t content[] = "bytes of somebody else";
    struct raft_blob *wrapped = raft_blob_wrap(BYTES(content), count_release, (void *)(uintptr_t)"owner");
    assert_ptr_equal(raft_blob_bytes(wrapped).data, content);
    assert_ptr_equal(raft_blob_retain(wrapped), wrapped);
    raft_blob_release(wrapped);
    assert_int_equal(released, 0);
    raft_blob_release(wrapped);
    assert_int_equal(released, 1);
    struct raft_blob *copy = raft_blob_copy(BYTES(content));
    assert_true(bytes_equal(raft_blob_bytes(copy), BYTES(content)));
    assert_ptr_not_equal(raft_blob_bytes(copy).data, content);
    raft_blob_release(copy);
    struct raft_blob *empty = raft_blob_copy((struct bytes){0});
    assert_int_equal(raft_blob_bytes(empty).size, 0);
    raft_blob_release(empty);
    raft_blob_release(NULL);
    assert_null(raft_blob_retain(NULL));
    assert_int_equal(raft_blob_bytes(NULL).size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_use),
        cmocka_unit_test(blobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
