/* Rebuilding: what goes over into the new state, what is cut off the log, and what a crash between leaves. */
#include "node/rebuild.h"

#include <stdio.h>
#include <string.h>

#include "consensus/driver.h"
#include "crypto/random.h"
#include "ledger/tables.h"
#include "node/config.h"
#include "storage/log.h"
#include "storage/store.h"
#include "tests/lib/flip.h"
#include "tests/lib/folder.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

static char folder[FOLDER_PATH], dir[FOLDER_PATH];
static struct config config;
static struct node_identity identity;

static void open_identity(void)
{
    struct failure failure = {0};
    assert_int_equal(identity_open(&identity, dir, &config, false, &failure), OK);
}

static void up(void)
{
    struct buffer line = {0};
    struct failure failure = {0};
    folder_make(folder, 1);
    folder_join(dir, folder, "node");
    config_defaults(&config);
    struct identity_options options = {.directory = dir, .name = "node-1", .hospital = "Mercy",
                                       .listen = "127.0.0.1:7401"};
    assert_int_equal(identity_create(&line, &options, &failure), OK);
    buffer_free(&line);
    open_identity();
    assert_int_equal(files_make_directory(identity.log_directory, &failure), OK);
    assert_int_equal(files_make_directory(identity.state_directory, &failure), OK);
}

static void down(void)
{
    identity_close(&identity);
    folder_remove(folder);
}

static struct log *open_log(void)
{
    struct log *log;
    struct failure failure = {0};
    struct log_options options = {.directory = identity.log_directory, .name = "raft", .key = identity.storage_key};
    assert_int_equal(log_open(&log, &options, &failure), OK);
    return log;
}

static struct store *open_state(void)
{
    struct store *store;
    struct failure failure = {0};
    struct store_options options = {.directory = identity.state_directory, .tables = ledger_tables,
                                    .table_count = ledger_tables_count, .key = identity.storage_key,
                                    .map_size = 1 << 26};
    assert_int_equal(store_open(&store, &options, &failure), OK);
    return store;
}

/* Entries 1 .. 9 of term 4, voted in term 5, cosigned up to 6. */
static void fill_log(void)
{
    struct log *log = open_log();
    for (uint64_t i = 1; i <= 9; i++) {
        struct log_entry e = {.index = i, .term = 4, .kind = 1, .payload = bytes_text("entry")};
        assert_int_equal(log_append(log, &e, 1), OK);
    }
    assert_int_equal(log_set_vote(log, 5, 2), OK);
    assert_int_equal(log_set_cosigned(log, &(struct log_cosigned){6, 60, sample_digest(6)}), OK);
    assert_int_equal(log_sync(log), OK);
    log_close(log);
}

static void put(enum table_number table, struct bytes key, struct bytes value)
{
    struct store *store = open_state();
    struct table_txn *txn;
    assert_int_equal(store_begin_write(&txn, store), OK);
    assert_int_equal(table_put(txn, table, key, value), OK);
    assert_int_equal(store_commit(txn), OK);
    store_close(store);
}

static enum err get(struct buffer *out, enum table_number table, struct bytes key)
{
    struct store *store = open_state();
    struct table_txn *txn;
    buffer_clear(out);
    assert_int_equal(store_begin_read(&txn, store), OK);
    enum err e = table_get(txn, table, key, out);
    store_abort(txn);
    store_close(store);
    return e;
}

static struct driver_rebuilt rebuilt(void)
{
    struct driver_rebuilt r;
    struct buffer row = {0};
    assert_int_equal(get(&row, TABLE_BLOB, bytes_text(DRIVER_REBUILT)), OK);
    assert_int_equal(driver_rebuilt_decode(&r, buffer_bytes(&row)), OK);
    buffer_free(&row);
    return r;
}

static struct log_status log_now(void)
{
    struct log *log = open_log();
    struct log_status status;
    log_status(log, &status);
    log_close(log);
    return status;
}

static void run(enum rebuild_log beyond)
{
    char aside[REBUILD_PATH];
    struct failure failure = {0};
    assert_int_equal(rebuild(aside, &identity, beyond, &failure), OK);
    assert_true(files_exists(aside));
}

/* Of the node's own past it may have said that a vote was forgotten: that there was a row goes over. */
static void an_unreadable_note_of_a_past_goes_over_as_lost(void **state)
{
    (void)state;
    struct buffer value = {0};
    up();
    fill_log();
    put(TABLE_EVIDENCE, bytes_text("01234567890123456789012345678901"), bytes_text("proof"));
    put(TABLE_PEER_MARK, bytes_text("\x02"), bytes_text("mark"));
    put(TABLE_PEER_MARK, bytes_text("\x03"), bytes_text("another"));
    assert_int_equal(flip_value(identity.state_directory, "peer_mark", bytes_text("\x02"), 100), 0);
    assert_int_equal(flip_value(identity.state_directory, "evidence", bytes_text("01234567890123456789012345678901"), 100), 0);
    run(REBUILD_KEEPS_LOG);
    assert_int_equal(get(&value, TABLE_PEER_MARK, bytes_text("\x02")), OK);
    assert_true(bytes_equal(buffer_bytes(&value), bytes_text(MARK_LOST)));
    buffer_clear(&value);
    assert_int_equal(get(&value, TABLE_PEER_MARK, bytes_text("\x03")), OK);
    assert_true(bytes_equal(buffer_bytes(&value), bytes_text("another")));
    assert_int_equal(get(&value, TABLE_EVIDENCE, bytes_text("01234567890123456789012345678901")), ERR_NOT_FOUND);
    buffer_free(&value);
    down();
}

static void what_is_not_derived_goes_over(void **state)
{
    (void)state;
    struct buffer value = {0};
    up();
    fill_log();
    put(TABLE_EVIDENCE, bytes_text("01234567890123456789012345678901"), bytes_text("proof"));
    put(TABLE_PEER_MARK, bytes_text("\x02"), bytes_text("mark"));
    put(TABLE_LEAF, bytes_text("12345678"), bytes_text("derived"));
    put(TABLE_BLOB, bytes_text("quarantine"), bytes_text("why"));
    run(REBUILD_KEEPS_LOG);
    assert_int_equal(get(&value, TABLE_EVIDENCE, bytes_text("01234567890123456789012345678901")), OK);
    assert_true(bytes_equal(buffer_bytes(&value), bytes_text("proof")));
    assert_int_equal(get(&value, TABLE_PEER_MARK, bytes_text("\x02")), OK);
    assert_int_equal(get(&value, TABLE_LEAF, bytes_text("12345678")), ERR_NOT_FOUND);
    assert_int_equal(get(&value, TABLE_BLOB, bytes_text("quarantine")), ERR_NOT_FOUND);
    struct driver_rebuilt r = rebuilt();
    assert_true(r.term == 4 && r.index == 9 && r.cosigned == 60 && r.times == 1);
    struct log_status status = log_now();
    assert_true(status.last == 9 && status.term == 5 && status.vote == 2); /* without cut the log stays */
    buffer_free(&value);
    down();
}

static void a_cut_ends_at_what_is_cosigned(void **state)
{
    (void)state;
    up();
    fill_log();
    run(REBUILD_CUTS_LOG); /* there is no state at all: nothing to carry over, nothing to set aside but an empty folder */
    struct log_status status = log_now();
    assert_int_equal(status.last, 6);
    assert_true(status.term == 5 && status.vote == 2); /* it votes as before */
    assert_true(status.cosigned.index == 6 && status.cosigned.size == 60);
    assert_int_equal(rebuilt().index, 9);
    run(REBUILD_CUTS_LOG); /* as after a crash in between, or again with nothing cosigned since */
    struct driver_rebuilt r = rebuilt();
    assert_true(r.index == 9 && r.term == 4 && r.times == 2); /* it may have told roots up to there: not forgotten */
    assert_int_equal(log_now().last, 6);
    struct log *log = open_log();
    struct log_entry next = {.index = 7, .term = 5, .kind = 1, .payload = bytes_text("x")};
    assert_int_equal(log_append(log, &next, 1), OK);
    assert_int_equal(log_set_cosigned(log, &(struct log_cosigned){7, 70, sample_digest(7)}), OK);
    assert_int_equal(log_sync(log), OK);
    log_close(log);
    run(REBUILD_CUTS_LOG);
    r = rebuilt();
    assert_true(r.times == 1 && r.cosigned == 70 && r.index == 9 && r.term == 5);
    down();
}

static void what_is_cut_off_in_doubt_is_forgotten(void **state)
{
    (void)state;
    up();
    fill_log();
    run(REBUILD_CUTS_LOG);
    assert_false(log_now().votes_forgotten);
    down();
    up();
    fill_log();
    run(REBUILD_FORGETS);
    struct log_status status = log_now();
    assert_true(status.last == 6 && status.votes_forgotten);
    down();
}

static void a_state_that_cannot_be_read(void **state)
{
    (void)state;
    char path[FOLDER_PATH];
    up();
    fill_log();
    put(TABLE_EVIDENCE, bytes_text("01234567890123456789012345678901"), bytes_text("proof"));
    folder_join(path, identity.state_directory, "data.mdb");
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    for (unsigned i = 0; i < 8192; i++)
        fputc(0x5a, f);
    fclose(f);
    run(REBUILD_CUTS_LOG);
    assert_int_equal(log_now().last, 6);
    assert_int_equal(rebuilt().times, 1);
    down();
}

static void an_empty_log_is_left_alone(void **state)
{
    (void)state;
    up();
    run(REBUILD_CUTS_LOG);
    assert_int_equal(log_now().last, 0);
    assert_int_equal(rebuilt().index, 0);
    down();
}

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_derived_goes_over),
        cmocka_unit_test(an_unreadable_note_of_a_past_goes_over_as_lost),
        cmocka_unit_test(a_cut_ends_at_what_is_cosigned),
        cmocka_unit_test(what_is_cut_off_in_doubt_is_forgotten),
        cmocka_unit_test(a_state_that_cannot_be_read),
        cmocka_unit_test(an_empty_log_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
