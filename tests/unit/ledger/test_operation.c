#include "tests/lib/unit.h"

#include "ledger/evidence.h"
#include "tests/lib/dies.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode.h"
#include "tests/lib/samples.h"

static struct buffer encoded(const struct operation *op)
{
    struct buffer out = {0};
    operation_encode(&out, op);
    assert_false(out.failed);
    return out;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const uint8_t args[] = {0x93, 0x01, 0xc4, 0x00, 0x90};
    for (int full = 0; full < 2; full++) {
        struct operation op = sample_operation(3, 4, 4000000000u, BYTES(args)), back;
        if (full) op.attachment = sample_digest(5);
        struct buffer out = encoded(&op);
        assert_int_equal(operation_decode(&back, buffer_bytes(&out)), OK);
        assert_memory_equal(&back.cluster, &op.cluster, 32);
        assert_memory_equal(&back.request_id, &op.request_id, 16);
        assert_int_equal(back.issued_at_ms, op.issued_at_ms);
        assert_true(actor_equal(&back.actor, &op.actor));
        assert_int_equal(back.action, 4000000000u);
        assert_true(bytes_equal(back.args, op.args));
        assert_int_equal(back.purpose, PURPOSE_TREATMENT);
        assert_int_equal(operation_has_attachment(&back), full);
        assert_memory_equal(&back.attachment, &op.attachment, 32);
        assert_ptr_equal(back.raw.data, out.data);
        buffer_free(&out);
    }
}

/* The bytes themselves: another implementation must make the same. */
static void test_layout(void **state)
{
    (void)state;
    static const uint8_t args[] = {0x90};
    struct operation op = {.cluster = {{1}}, .request_id = {{2}}, .issued_at_ms = 300,
                           .actor = {ACTOR_NODE, {{3}}, {{4}}}, .action = 60, .args = BYTES(args), .purpose = 255};
    struct buffer out = encoded(&op), expected = {0};
    buffer_append(&expected, "\x99\x01\xc4\x20\x01", 5);
    memset(buffer_extend(&expected, 31), 0, 31);
    buffer_append(&expected, "\xc4\x10\x02", 3);
    memset(buffer_extend(&expected, 15), 0, 15);
    buffer_append(&expected, "\xcd\x01\x2c\x93\x02\xc4\x10\x03", 8);
    memset(buffer_extend(&expected, 15), 0, 15);
    buffer_append(&expected, "\xc4\x08\x04\0\0\0\0\0\0\0\x3c\x90\xcc\xff\xc4\x00", 16);
    assert_int_equal(out.size, expected.size);
    assert_memory_equal(out.data, expected.data, out.size);
    buffer_free(&out);
    buffer_free(&expected);
}

/* One field wrong at a time. */
static enum err decode_changed(const struct operation *op)
{
    struct operation back;
    struct buffer out = encoded(op);
    enum err e = operation_decode(&back, buffer_bytes(&out));
    buffer_free(&out);
    return e;
}

static void test_bad_fields(void **state)
{
    (void)state;
    static const uint8_t args[] = {0x90};
    const struct operation good = sample_operation(1, 1, ACTION_POLICY_SHOW, BYTES(args));
    struct operation op = good;
    assert_int_equal(decode_changed(&op), OK);
    op.cluster = (struct digest){{0}};
    assert_int_equal(decode_changed(&op), ERR_MALFORMED);
    op = good;
    op.request_id = (struct id){{0}};
    assert_int_equal(decode_changed(&op), ERR_MALFORMED);
    op = good;
    op.issued_at_ms = TIME_MAX_MS + 1;
    assert_int_equal(decode_changed(&op), ERR_MALFORMED);
    op.issued_at_ms = TIME_MAX_MS;
    assert_int_equal(decode_changed(&op), OK);
    op = good;
    op.actor.kind = ACTOR_NONE;
    assert_int_equal(decode_changed(&op), ERR_MALFORMED);
    op.actor.kind = (enum actor_kind)3;
    assert_int_equal(decode_changed(&op), ERR_MALFORMED);
    op = good;
    op.actor.id = (struct id){{0}};
    assert_int_equal(decode_changed(&op), ERR_MALFORMED);
}

static void test_versions_and_sizes(void **state)
{
    (void)state;
    static const uint8_t args[] = {0x90};
    struct operation op = sample_operation(1, 1, ACTION_POLICY_SHOW, BYTES(args)), back;
    struct buffer out = encoded(&op);
    out.data[1] = 2; /* the version comes right after the array's head */
    assert_int_equal(operation_decode(&back, buffer_bytes(&out)), ERR_VERSION);
    out.data[0] = 0x9a; /* a later version may have more fields */
    assert_int_equal(operation_decode(&back, buffer_bytes(&out)), ERR_VERSION);
    out.data[1] = 1;
    assert_int_equal(operation_decode(&back, buffer_bytes(&out)), ERR_MALFORMED);
    assert_int_equal(operation_decode(&back, (struct bytes){0}), ERR_TRUNCATED);
    buffer_free(&out);

    struct buffer large = {0};
    pack_array(&large, 1);
    uint8_t *zeros = calloc(1, LIMIT_OPERATION);
    pack_bin(&large, zeros, LIMIT_OPERATION - 400);
    op.args = buffer_bytes(&large);
    assert_int_equal(decode_changed(&op), OK);
    buffer_clear(&large);
    pack_array(&large, 1);
    pack_bin(&large, zeros, LIMIT_OPERATION);
    op.args = buffer_bytes(&large);
    assert_int_equal(decode_changed(&op), ERR_TOO_LARGE);
    free(zeros);
    buffer_free(&large);
}

static void encode_args(const void *args, size_t size)
{
    struct operation op = sample_operation(1, 1, 1, bytes_of(args, size));
    struct buffer out = {0};
    operation_encode(&out, &op);
}
static void no_args(void) { encode_args("", 0); }
static void args_no_array(void) { encode_args("\x01", 1); }
static void args_two(void) { encode_args("\x90\x90", 2); }
static void args_not_canonical(void) { encode_args("\xdc\x00\x01\x01", 4); }

static void test_misuse_dies(void **state)
{
    (void)state;
    assert_true(dies(no_args));
    assert_true(dies(args_no_array));
    assert_true(dies(args_two));
    assert_true(dies(args_not_canonical));
}

/* --- arguments --- */

static void test_arguments_round_trip(void **state)
{
    (void)state;
    size_t actions = 0;
#define X(name, number, permission, actor)                                                         \
    for (int full = 0; number != ACTION_GENESIS && full < 2; full++, actions++) {                  \
        struct arguments made, back;                                                               \
        struct buffer out = {0}, again = {0};                                                      \
        assert_true(sample_arguments(&made, number, full));                                        \
        arguments_encode(&out, &made);                                                             \
        assert_int_equal(arguments_decode(&back, number, buffer_bytes(&out)), OK);                 \
        assert_int_equal(back.action, number);                                                     \
        arguments_encode(&again, &back);                                                           \
        assert_true(bytes_equal(buffer_bytes(&out), buffer_bytes(&again)));                        \
        buffer_free(&out);                                                                         \
        buffer_free(&again);                                                                       \
    }
    ACTION_LIST(X)
#undef X
    assert_true(actions >= 54);
}

static void test_unknown_actions(void **state)
{
    (void)state;
    struct arguments a;
    static const uint8_t empty[] = {0x90};
    assert_int_equal(arguments_decode(&a, ACTION_GENESIS, BYTES(empty)), ERR_UNKNOWN_ACTION);
    assert_int_equal(arguments_decode(&a, 7, BYTES(empty)), ERR_UNKNOWN_ACTION);
    assert_int_equal(arguments_decode(&a, UINT32_MAX, BYTES(empty)), ERR_UNKNOWN_ACTION);
    assert_int_equal(arguments_decode(&a, ACTION_POLICY_SHOW, BYTES(empty)), OK);
    assert_int_equal(arguments_decode(&a, ACTION_TEAM_LIST, BYTES(empty)), ERR_MALFORMED);
}

static uint32_t mutated_action;
static enum err recode_mutated(struct buffer *out, struct bytes in)
{
    return recode_arguments(out, mutated_action, in);
}

static void test_arguments_mutations(void **state)
{
    (void)state;
#define X(name, number, permission, actor)                                                         \
    for (int full = 0; number != ACTION_GENESIS && full < 2; full++) {                             \
        struct arguments made;                                                                     \
        struct buffer out = {0};                                                                   \
        assert_true(sample_arguments(&made, number, full));                                        \
        arguments_encode(&out, &made);                                                             \
        mutated_action = number;                                                                   \
        struct mutants m = mutate(recode_mutated, buffer_bytes(&out));                             \
        assert_true(m.accepted < m.tried);                                                         \
        buffer_free(&out);                                                                         \
    }
    ACTION_LIST(X)
#undef X
}

static void test_operation_mutations(void **state)
{
    (void)state;
    struct arguments made;
    struct buffer args = {0};
    assert_true(sample_arguments(&made, ACTION_LOG_QUERY, true));
    arguments_encode(&args, &made);
    struct operation op = sample_operation(1, 1, ACTION_LOG_QUERY, buffer_bytes(&args));
    op.attachment = sample_digest(3);
    struct buffer out = encoded(&op);
    struct mutants m = mutate(recode_operation, buffer_bytes(&out));
    assert_true(m.accepted > 0 && m.accepted < m.tried);
    buffer_free(&out);
    buffer_free(&args);
}

/* A sample with one change must be refused. */
#define REFUSED(number, full, change)                                                              \
    do {                                                                                           \
        struct arguments a, b;                                                                     \
        struct buffer out_ = {0};                                                                  \
        assert_true(sample_arguments(&a, number, full));                                           \
        change;                                                                                    \
        arguments_encode(&out_, &a);                                                               \
        assert_int_not_equal(arguments_decode(&b, number, buffer_bytes(&out_)), OK);               \
        buffer_free(&out_);                                                                        \
    } while (0)

#define NO_ID ((struct id){{0}})

static void test_bad_people(void **state)
{
    (void)state;
    char long_label[LIMIT_CURSOR + 2] = {0};
    memset(long_label, 'x', LIMIT_CURSOR + 1);
    REFUSED(ACTION_USER_CREATE, true, a.user_create.user = NO_ID);
    REFUSED(ACTION_USER_CREATE, true, a.user_create.hospital = bytes_text(""));
    REFUSED(ACTION_USER_CREATE, true, a.user_create.hospital = bytes_of(long_label, LIMIT_NAME + 1));
    REFUSED(ACTION_USER_CREATE, true, a.user_create.hospital = bytes_text("two\nlines"));
    REFUSED(ACTION_USER_CREATE, true, a.user_create.hospital = bytes_text("tab\there"));
    REFUSED(ACTION_USER_CREATE, true, a.user_create.role = bytes_text("\xff"));
    REFUSED(ACTION_USER_CREATE, true, a.user_create.keys[1] = a.user_create.keys[0]);
    REFUSED(ACTION_USER_SEARCH, true, a.user_search.limit = 0);
    REFUSED(ACTION_USER_SEARCH, true, a.user_search.limit = LIMIT_ROWS + 1);
    REFUSED(ACTION_USER_SEARCH, true, a.user_search.cursor = bytes_of(long_label, LIMIT_CURSOR + 1));
    REFUSED(ACTION_ROLE_ASSIGN, true, a.role_assign.role = bytes_text(""));
    REFUSED(ACTION_TEAM_ASSIGN, true, a.team_assign.patient = NO_ID);
    REFUSED(ACTION_TEAM_ASSIGN, true, a.team_assign.user = NO_ID);
}

static void test_bad_records(void **state)
{
    (void)state;
    char long_code[LIMIT_CODE + 2] = {0};
    memset(long_code, 'x', LIMIT_CODE + 1);
    REFUSED(ACTION_RECORD_CREATE, true, a.record_create.conf = (enum confidentiality)3);
    REFUSED(ACTION_RECORD_CREATE, true, a.record_create.kind = bytes_text(""));
    REFUSED(ACTION_RECORD_CREATE, true, a.record_create.record = NO_ID);
    REFUSED(ACTION_RECORD_UPDATE, true, a.record_update.base_version = 0);
    REFUSED(ACTION_RECORD_UPDATE, true, a.record_update.base_version = RECORD_VERSION_MAX);
    REFUSED(ACTION_RECORD_DELETE, true, a.record_delete.base_version = 0);
    REFUSED(ACTION_RECORD_COPY, true, a.record_copy.source_version = 0);
    REFUSED(ACTION_RECORD_COPY, true, a.record_copy.source = NO_ID);
    REFUSED(ACTION_RECORD_READ, true, a.record_read.patient = sample_id(5)); /* a record and a patient */
    REFUSED(ACTION_RECORD_READ, true, a.record_read.record = NO_ID);         /* neither */
    REFUSED(ACTION_RECORD_READ, false, a.record_read.version = 1);           /* a version of a chart */
    REFUSED(ACTION_RECORD_READ, true, memset(&a.record_read.reader_key, 0, 32));
    REFUSED(ACTION_RECORD_READ, true, a.record_read.limit = 0);
    REFUSED(ACTION_RECORD_READ, true, a.record_read.limit = LIMIT_OPENED + 1);
    REFUSED(ACTION_RECORD_LIST, true, a.record_list.limit = LIMIT_ROWS + 1);
    REFUSED(ACTION_EVENT_ADD, true, a.event_add.what = bytes_text(""));
    REFUSED(ACTION_EVENT_ADD, true, a.event_add.what = bytes_text("two words"));
    REFUSED(ACTION_EVENT_ADD, true, a.event_add.what = bytes_of(long_code, LIMIT_NAME + 1));
    REFUSED(ACTION_EVENT_ADD, true, a.event_add.object = bytes_of(long_code, LIMIT_CODE + 1));
    REFUSED(ACTION_EVENT_ADD, true, a.event_add.object = bytes_text("caf\xc3\xa9"));
}

static void test_bad_queries_and_nodes(void **state)
{
    (void)state;
    static uint8_t long_policy[LIMIT_POLICY + 1];
    REFUSED(ACTION_LOG_QUERY, true, a.log_query.decision = 3);
    REFUSED(ACTION_LOG_QUERY, true, a.log_query.to_ms = a.log_query.from_ms - 1);
    REFUSED(ACTION_LOG_QUERY, true, a.log_query.to_ms = TIME_MAX_MS + 1);
    REFUSED(ACTION_LOG_QUERY, true, a.log_query.limit = 0);
    REFUSED(ACTION_LEDGER_EXPORT, true, a.ledger_export.to = a.ledger_export.from);
    REFUSED(ACTION_POLICY_SET, true, a.policy_set.policy = (struct bytes){0});
    REFUSED(ACTION_POLICY_SET, true, a.policy_set.policy = BYTES(long_policy));
    REFUSED(ACTION_KEY_COMMIT, true, a.key_commit.secret = (enum key_secret)0);
    REFUSED(ACTION_KEY_COMMIT, true, a.key_commit.secret = (enum key_secret)3);
    REFUSED(ACTION_KEY_REVEAL, true, a.key_reveal.k = 0);
    REFUSED(ACTION_KEY_REVEAL, true, a.key_reveal.n = 0);
    REFUSED(ACTION_KEY_CONFIRM, true, a.key_confirm.complaints = 1);
    REFUSED(ACTION_KEY_CONFIRM, true, a.key_confirm.complaints = 2u << LIMIT_NODES);
    REFUSED(ACTION_KEY_ANSWER, true, a.key_answer.receiver = 0);
    REFUSED(ACTION_KEY_ANSWER, true, a.key_answer.receiver = LIMIT_NODES + 1);
    REFUSED(ACTION_KEY_ACTIVATE, true, a.key_activate.qualified = 3);
    REFUSED(ACTION_KEY_ACTIVATE, true, a.key_activate.n = 0);
    REFUSED(ACTION_NODE_ALARM, true, a.node_alarm.named = LIMIT_NODES + 1);
    REFUSED(ACTION_NODE_ALARM, true, a.node_alarm.named = 0);
    REFUSED(ACTION_NODE_ALARM, true, a.node_alarm.kind = (enum alarm_kind)0);
    REFUSED(ACTION_NODE_ALARM, true, a.node_alarm.kind = (enum alarm_kind)(ALARM_ROLLED_BACK + 1));
    REFUSED(ACTION_NODE_ALARM, true, a.node_alarm.last = a.node_alarm.first - 1);
    REFUSED(ACTION_NODE_ALARM, true, a.node_alarm.status = (enum alarm_status)0);
    REFUSED(ACTION_NODE_ALARM, true, a.node_alarm.status = ALARM_CLEARED);
    REFUSED(ACTION_ALARM_TELL, true, a.alarm_tell.step = (enum alarm_step)0);
    REFUSED(ACTION_ALARM_TELL, true, a.alarm_tell.step = (enum alarm_step)3);
    REFUSED(ACTION_ALARM_TELL, true, a.alarm_tell.ways = 0);
    REFUSED(ACTION_ALARM_TELL, true, a.alarm_tell.ways = ALARM_WAYS + 1);
    REFUSED(ACTION_ALARM_TELL, false, a.alarm_tell.ways = ALARM_WAYS + 1);
    static const uint8_t much[EVIDENCE_SIZE + 1];
    REFUSED(ACTION_NODE_ALARM, true, a.node_alarm.evidence = BYTES(much));
}

/* An absent value has one form only: 16 or 32 zero bytes are not it. */
static void test_explicit_zeros_are_refused(void **state)
{
    (void)state;
    static const uint8_t zeros[32];
    struct args_record_list list;
    struct args_user_update update;
    struct buffer out = {0};
    pack_array(&out, 3);
    pack_bin(&out, sample_id(1).bytes, 16);
    pack_text(&out, "");
    pack_bin(&out, zeros, 32);
    assert_int_equal(args_user_update_decode(&update, buffer_bytes(&out)), ERR_MALFORMED);
    buffer_clear(&out);
    pack_array(&out, 3);
    pack_bin(&out, zeros, 16);
    pack_bin(&out, NULL, 0);
    pack_uint(&out, 1);
    assert_int_equal(args_record_list_decode(&list, buffer_bytes(&out)), ERR_MALFORMED);
    buffer_free(&out);
}

static struct target target_of(struct arguments *a, uint32_t action, bool full)
{
    struct target t;
    assert_true(sample_arguments(a, action, full));
    arguments_target(&t, a);
    return t;
}

static void test_targets(void **state)
{
    (void)state;
    struct arguments a;
    const struct id user = sample_id(1), patient = sample_id(5), record = sample_id(100);
    struct target t = target_of(&a, ACTION_ROLE_ASSIGN, true);
    assert_true(id_equal(&t.person, &user) && t.object_is_text && bytes_equal(t.object, bytes_text("doctor")));
    t = target_of(&a, ACTION_RECORD_CREATE, true);
    assert_true(id_equal(&t.person, &patient) && id_equal(&t.record, &record));
    assert_true(!t.object_is_text && bytes_equal(t.object, BYTES(record.bytes)));
    t = target_of(&a, ACTION_RECORD_READ, true); /* a record: its patient is in the state */
    assert_true(id_is_zero(&t.person) && id_equal(&t.record, &record) && t.object.size == 16);
    t = target_of(&a, ACTION_RECORD_READ, false); /* a chart */
    assert_true(id_equal(&t.person, &patient) && id_is_zero(&t.record) && t.object.size == 0);
    t = target_of(&a, ACTION_RECORD_HISTORY, true);
    assert_true(id_is_zero(&t.person) && id_equal(&t.record, &record));
    t = target_of(&a, ACTION_EVENT_ADD, true);
    assert_true(id_equal(&t.person, &patient) && t.object_is_text && bytes_equal(t.object, bytes_text("bill-77")));
    t = target_of(&a, ACTION_TEAM_ASSIGN, true);
    assert_true(id_equal(&t.person, &user) && bytes_equal(t.object, BYTES(a.team_assign.user.bytes)));
    t = target_of(&a, ACTION_LOG_QUERY, false);
    assert_true(id_is_zero(&t.person));
    t = target_of(&a, ACTION_KEY_CLOSE, true);
    assert_true(id_is_zero(&t.person) && id_is_zero(&t.record) && t.object.size == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_bad_fields),
        cmocka_unit_test(test_versions_and_sizes),
        cmocka_unit_test(test_misuse_dies),
        cmocka_unit_test(test_arguments_round_trip),
        cmocka_unit_test(test_unknown_actions),
        cmocka_unit_test(test_arguments_mutations),
        cmocka_unit_test(test_operation_mutations),
        cmocka_unit_test(test_bad_people),
        cmocka_unit_test(test_bad_records),
        cmocka_unit_test(test_bad_queries_and_nodes),
        cmocka_unit_test(test_explicit_zeros_are_refused),
        cmocka_unit_test(test_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
