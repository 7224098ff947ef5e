/* NOTICE, ALARMS, ALARMS_OK: what is encoded comes back, what is mutated comes back byte for byte or is refused. */
#include "net/protocol_alarms.h"

#include <stdlib.h>

#include "base/check.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode_alarms.h"
#include "tests/lib/unit.h"

static struct message_alarm sample(unsigned n, bool full)
{
    struct message_alarm a = {.kind = 1, .named = 1, .raiser = 1, .status = 1};
    if (full)
        a = (struct message_alarm){UINT64_MAX, 255, LIMIT_NODES, LIMIT_NODES, n, UINT64_MAX, n + 1, 255, n + 2, n + 3,
                                   n + 4,
                                   LIMIT_NODES, 255, (1u << (LIMIT_NODES + 1)) - 1};
    return a;
}

/* Field by field: what stands between the fields is nobody's. */
static bool same(const struct message_alarm *a, const struct message_alarm *b)
{
    return a->index == b->index && a->kind == b->kind && a->named == b->named && a->raiser == b->raiser &&
           a->first == b->first && a->last == b->last && a->since_ms == b->since_ms && a->status == b->status &&
           a->closed == b->closed && a->told == b->told && a->told_ms == b->told_ms && a->told_by == b->told_by &&
           a->told_ways == b->told_ways && a->saying == b->saying;
}

static void test_notice(void **state)
{
    (void)state;
    struct message_notice *m = xcalloc(1, sizeof *m), *back = xcalloc(1, sizeof *back);
    for (int full = 0; full < 2; full++) {
        struct buffer out = {0};
        *m = (struct message_notice){.quarantined = full, .total = full ? 1000 : 1, .count = full ? LIMIT_NOTICE : 1};
        for (unsigned i = 0; i < m->count; i++) m->alarms[i] = sample(i, full);
        message_notice_encode(&out, m);
        assert_int_equal(message_notice_decode(back, buffer_bytes(&out)), OK);
        assert_true(back->quarantined == m->quarantined && back->total == m->total && back->count == m->count);
        for (unsigned i = 0; i < m->count; i++) assert_true(same(&back->alarms[i], &m->alarms[i]));
        buffer_free(&out);
    }
    /* more rows than there are; more than may be; the last before the first; nobody */
    struct buffer out = {0};
    static const uint8_t too_many[] = {0x93, 0xc2, 0x00, 0x91, 0x9e, 0, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 2};
    assert_int_equal(message_notice_decode(back, BYTES(too_many)), ERR_MALFORMED);
    static const uint8_t backwards[] = {0x93, 0xc2, 0x01, 0x91, 0x9e, 0, 1, 1, 1, 2, 1, 0, 1, 0, 0, 0, 0, 0, 2};
    assert_int_equal(message_notice_decode(back, BYTES(backwards)), ERR_MALFORMED);
    static const uint8_t nobody[] = {0x93, 0xc2, 0x01, 0x91, 0x9e, 0, 1, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 2};
    assert_int_equal(message_notice_decode(back, BYTES(nobody)), ERR_MALFORMED);
    pack_array(&out, 3);
    pack_bool(&out, false);
    pack_uint(&out, 1000);
    pack_array(&out, LIMIT_NOTICE + 1);
    for (unsigned i = 0; i <= LIMIT_NOTICE; i++) pack_array(&out, 0);
    assert_int_not_equal(message_notice_decode(back, buffer_bytes(&out)), OK);
    buffer_free(&out);
    free(m);
    free(back);
}

static void test_alarms(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct message_alarms asked = {true, UINT64_MAX, LIMIT_ALARMS}, back;
    message_alarms_encode(&out, &asked);
    assert_int_equal(message_alarms_decode(&back, buffer_bytes(&out)), OK);
    assert_true(back.all && back.before == UINT64_MAX && back.max == LIMIT_ALARMS);
    for (uint32_t max = 0; max <= LIMIT_ALARMS + 1; max += LIMIT_ALARMS + 1) {
        buffer_clear(&out);
        message_alarms_encode(&out, &(struct message_alarms){.max = max});
        assert_int_equal(message_alarms_decode(&back, buffer_bytes(&out)), ERR_MALFORMED);
    }
    static struct message_alarm rows[LIMIT_ALARMS], rows_back[LIMIT_ALARMS];
    for (unsigned i = 0; i < LIMIT_ALARMS; i++) rows[i] = sample(i, i % 2);
    struct message_alarms_ok m = {.more = true, .count = LIMIT_ALARMS, .alarms = rows}, m_back;
    buffer_clear(&out);
    message_alarms_ok_encode(&out, &m);
    assert_int_equal(message_alarms_ok_decode(&m_back, rows_back, buffer_bytes(&out)), OK);
    assert_true(m_back.more && m_back.count == LIMIT_ALARMS);
    for (unsigned i = 0; i < LIMIT_ALARMS; i++) assert_true(same(&rows[i], &rows_back[i]));
    buffer_free(&out);
}

static void test_mutations(void **state)
{
    (void)state;
    struct buffer out = {0};
    struct message_notice *m = xcalloc(1, sizeof *m);
    *m = (struct message_notice){.total = 2, .count = 2, .alarms = {sample(1, false), sample(2, true)}};
    message_notice_encode(&out, m);
    struct mutants tried = mutate(recode_notice, buffer_bytes(&out));
    assert_true(tried.accepted > 0 && tried.accepted < tried.tried);
    buffer_clear(&out);
    message_alarms_ok_encode(&out, &(struct message_alarms_ok){.count = 2, .alarms = m->alarms});
    tried = mutate(recode_alarms_ok, buffer_bytes(&out));
    assert_true(tried.accepted > 0 && tried.accepted < tried.tried);
    buffer_free(&out);
    free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notice),
        cmocka_unit_test(test_alarms),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("net/protocol_alarms", tests, NULL, NULL);
}
