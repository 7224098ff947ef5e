/* Rows: what is put comes back; a damaged row is ERR_CORRUPT, never a guess. */
#include "tests/lib/unit.h"

#include <stdio.h>

#include "base/check.h"
#include "ledger/keygen.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

static struct kit kit;

static int open_kit(void **state)
{
    (void)state;
    kit_open(&kit, 4, 1, (struct bytes){0});
    kit_activate(&kit, KEY_RECORDS);
    kit_add_user(&kit, 1, "doctor", "Mercy", "Dr. House");
    kit_add_user(&kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_team(&kit, 5, 1);
    return 0;
}

static int close_kit(void **state)
{
    (void)state;
    kit_close(&kit);
    return 0;
}

/* Every shorter value and a longer one is refused; then the true one is back. */
static void damage(enum table_number table, struct bytes key, enum err (*get)(void))
{
    struct buffer value = {0};
    assert_int_equal(get(), OK);
    assert_int_equal(table_get(kit.txn, (uint8_t)table, key, &value), OK);
    for (size_t size = 0; size < value.size; size++) {
        assert_int_equal(table_put(kit.txn, (uint8_t)table, key, bytes_of(value.data, size)), OK);
        if (get() != ERR_CORRUPT) fprintf(stderr, "table %d: %zu of %zu bytes\n", (int)table, size, value.size);
        assert_int_equal(get(), ERR_CORRUPT);
    }
    buffer_append_text(&value, "x");
    assert_int_equal(table_put(kit.txn, (uint8_t)table, key, buffer_bytes(&value)), OK);
    assert_int_equal(get(), ERR_CORRUPT);
    value.size--;
    assert_int_equal(table_put(kit.txn, (uint8_t)table, key, buffer_bytes(&value)), OK);
    assert_int_equal(get(), OK);
    buffer_free(&value);
}

static struct id one, five;
static uint8_t be8[9];

static enum err get_user(void)
{
    struct user user;
    return state_user_get(&user, kit.txn, &one);
}
static enum err get_login(void)
{
    struct id id;
    struct digest tag = sample_digest(1);
    return state_login_get(&id, kit.txn, &tag);
}
static enum err get_team(void)
{
    struct team_row row;
    return state_team_get(&row, kit.txn, &five, &one);
}
static enum err get_record(void)
{
    struct record record;
    return state_record_get(&record, kit.txn, &one);
}
static enum err get_version(void)
{
    struct version version;
    return state_version_get(&version, kit.txn, &one, 1);
}
static enum err get_meta(void)
{
    struct meta meta;
    return state_meta_get(&meta, kit.txn);
}
static enum err get_epoch(void)
{
    struct epoch epoch;
    return state_epoch_get(&epoch, kit.txn, KEY_RECORDS, 1);
}
static enum err get_keygen(void)
{
    struct keygen keygen;
    return keygen_get(&keygen, kit.txn, KEY_RECORDS);
}
static enum err get_dealing(void)
{
    struct dealing dealing;
    return keygen_dealing_get(&dealing, kit.txn, KEY_RECORDS, 1, 2);
}
static enum err get_content(void)
{
    struct content_info info;
    return state_content_get(&info, kit.txn, 7);
}

static struct record sample_record(void)
{
    struct record record = {.patient = five, .kind = "Observation", .created = 9, .latest = 1};
    record.version = (struct version){.conf = CONF_RESTRICTED, .has_tag = true, .content_tag = sample_digest(4),
                                      .author = one, .time_ms = SAMPLE_TIME, .index = 9};
    return record;
}

static void test_damaged(void **state)
{
    (void)state;
    struct record record;
    one = sample_id(1);
    five = sample_id(5);
    record = sample_record();
    assert_int_equal(state_record_put(kit.txn, &one, &record, true), OK);
    struct content_info info = {.context_size = 3, .capsule_size = 5, .ciphertext_size = 1000};
    assert_int_equal(state_content_put(kit.txn, 7, &info), OK);
    struct digest tag = sample_digest(1);
    uint8_t team[32], version[20], index[8], secret = KEY_RECORDS, dealing[2] = {KEY_RECORDS, 2};
    memcpy(team, five.bytes, 16);
    memcpy(team + 16, one.bytes, 16);
    memcpy(version, one.bytes, 16);
    put_be32(version + 16, 1);
    be8[0] = KEY_RECORDS;
    put_be64(be8 + 1, 1);
    put_be64(index, 7);
    damage(TABLE_USER, BYTES(one.bytes), get_user);
    damage(TABLE_LOGIN, BYTES(tag.bytes), get_login);
    damage(TABLE_TEAM, BYTES(team), get_team);
    damage(TABLE_RECORD, BYTES(one.bytes), get_record);
    damage(TABLE_VERSION, BYTES(version), get_version);
    damage(TABLE_META, bytes_text("state"), get_meta);
    damage(TABLE_EPOCH, BYTES(be8), get_epoch);
    damage(TABLE_KEYGEN, bytes_of(&secret, 1), get_keygen);
    damage(TABLE_DEALING, BYTES(dealing), get_dealing);
    damage(TABLE_CONTENT_INFO, BYTES(index), get_content);
}

static void test_round_trips(void **state)
{
    (void)state;
    struct id id = sample_id(77);
    struct user user = {.hospital = "S\xc3\xa3o Jo\xc3\xa3o", .role = "doctor", .disabled = true, .has_login = true},
                       back;
    user.login_tag = sample_digest(3);
    user.created = UINT64_MAX;
    user.person_index = 12;
    user.key_count = LIMIT_KEYS_PER_USER;
    for (uint32_t i = 0; i < user.key_count; i++) user.keys[i] = (struct user_key){kit_user(i + 1).key, i % 2};
    assert_int_equal(state_user_put(kit.txn, &id, &user), OK);
    assert_int_equal(state_user_get(&back, kit.txn, &id), OK);
    assert_memory_equal(&user, &back, sizeof user);
    struct record record = sample_record(), record_back;
    assert_int_equal(state_record_put(kit.txn, &id, &record, false), OK);
    assert_int_equal(state_record_get(&record_back, kit.txn, &id), OK);
    assert_string_equal(record_back.kind, record.kind);
    assert_int_equal(record_back.version.index, record.version.index);
    assert_true(digest_equal(&record_back.version.content_tag, &record.version.content_tag));
    struct seen seen = {123456789, DECISION_DENIED, 999}, seen_back;
    assert_int_equal(state_seen_put(kit.txn, SAMPLE_TIME, ACTOR_USER, &id, &id, &seen), OK);
    assert_int_equal(state_seen_get(&seen_back, kit.txn, SAMPLE_TIME, ACTOR_USER, &id, &id), OK);
    assert_int_equal(seen_back.index, 123456789);
    assert_int_equal(seen_back.reason, 999);
    assert_int_equal(state_seen_get(&seen_back, kit.txn, SAMPLE_TIME, ACTOR_NODE, &id, &id), ERR_NOT_FOUND);
}

static void test_usable(void **state)
{
    (void)state;
    struct user user = {.key_count = 0};
    assert_false(user_usable(&user));
    user.key_count = 2;
    user.keys[0].revoked = true;
    assert_true(user_usable(&user));
    user.keys[1].revoked = true;
    assert_false(user_usable(&user));
    user.keys[1].revoked = false;
    user.disabled = true;
    assert_false(user_usable(&user));
}

/* Names and numbers in the store are for ever: a change here breaks stores. */
static void test_tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < ledger_tables_count; i++) {
        assert_true(ledger_tables[i].table > 0 && ledger_tables[i].table < TABLE_COUNT_MAX);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(ledger_tables[i].table, ledger_tables[j].table);
            assert_string_not_equal(ledger_tables[i].name, ledger_tables[j].name);
        }
    }
    assert_true(table_is_replicated(TABLE_LEAF));
    assert_false(table_is_replicated(TABLE_DKG_SECRET));
    assert_false(table_is_replicated((enum table_number)47));
}

/* The digest sees every row of replicated tables, and nothing of the others. */
static void test_digest(void **state)
{
    (void)state;
    struct digest before = kit_digest(&kit), after;
    assert_int_equal(table_put(kit.txn, TABLE_BLOB, bytes_text("a"), bytes_text("b")), OK);
    after = kit_digest(&kit);
    assert_true(digest_equal(&before, &after));
    for (size_t i = 0; i < ledger_tables_count; i++) {
        if (!table_is_replicated((enum table_number)ledger_tables[i].table)) continue;
        assert_int_equal(table_put(kit.txn, ledger_tables[i].table, bytes_text("zz"), bytes_text("b")), OK);
        after = kit_digest(&kit);
        assert_false(digest_equal(&before, &after));
        assert_int_equal(table_delete(kit.txn, ledger_tables[i].table, bytes_text("zz")), OK);
    }
    after = kit_digest(&kit);
    assert_true(digest_equal(&before, &after));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged), cmocka_unit_test(test_round_trips), cmocka_unit_test(test_usable),
        cmocka_unit_test(test_tables),  cmocka_unit_test(test_digest),
    };
    return cmocka_run_group_tests_name("ledger/state", tests, open_kit, close_kit);
}
