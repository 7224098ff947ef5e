/* A bundle folder: written, verified offline, and refused where it is not what was co-signed. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/export_bundle.h"
#include "cli/files.h"
#include "tests/lib/bundle_kit.h"
#include "tests/lib/folder.h"

#define LEAVES 300u

static struct kit kit;
static struct bundle_kit ledger;
static char folder[FOLDER_PATH];
static struct failure failure;

static void make_leaves(unsigned broken)
{
    bundle_kit_make(&ledger, &kit, LEAVES, (struct bundle_flaws){.unchained = broken});
}

static void write_bundle(uint32_t from, uint32_t to)
{
    folder_make(folder, 1);
    bundle_kit_export(&ledger, folder, LEAVES, from, to, kit.genesis.quorum);
}

static enum err verify_range(struct bundle_report *report, const struct bundle_range *asked)
{
    failure = (struct failure){0};
    enum err e = bundle_verify(report, folder, &kit.genesis, asked, NULL, NULL, &failure);
    if (e != OK && failure.text[0] == '\0') fail_msg("%s without a text", err_name(e));
    return e;
}

static enum err verify(struct bundle_report *report) { return verify_range(report, NULL); }

static void drop(const char *name)
{
    char *path = path_join(folder, name);
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void state_range(const char *text)
{
    char *path = path_join(folder, "range");
    assert_int_equal(file_write(path, bytes_text(text), 0600, false, NULL), OK);
    free(path);
}

static void change(const char *name, size_t at)
{
    struct buffer content = {0};
    char *path = path_join(folder, name);
    assert_int_equal(file_read(&content, path, 64 * MIB, NULL), OK);
    assert_true(at < content.size);
    content.data[at] ^= 1;
    assert_int_equal(file_write(path, buffer_bytes(&content), 0600, false, NULL), OK);
    buffer_free(&content);
    free(path);
}

static void a_folder_proves_what_it_holds(void **state)
{
    (void)state;
    struct bundle_report r;
    make_leaves(0);
    write_bundle(0, LEAVES);
    assert_int_equal(verify(&r), OK);
    assert_int_equal(r.entries, LEAVES);
    assert_int_equal(r.first, 0);
    assert_int_equal(r.last, LEAVES - 1);
    assert_int_equal(r.gaps, 0);
    folder_remove(folder);
    write_bundle(256, LEAVES); /* only the partial tile */
    assert_int_equal(verify(&r), OK);
    assert_int_equal(r.entries, LEAVES - 256);
    assert_int_equal(r.first, 256);
    folder_remove(folder);
    write_bundle(0, 256);
    assert_int_equal(verify(&r), OK);
    assert_int_equal(r.entries, 256);
    folder_remove(folder);
}

static void each_altered_file_is_found(void **state)
{
    (void)state;
    static const struct { const char *name; size_t at; enum err code; } rows_of[] = {
        {"large/0", 400, ERR_ROOT}, {"large/0", 69999, ERR_ROOT}, {"tile/entries/000", 1000, ERR_ROOT},
        {"tile/entries/000", 1, ERR_ROOT}, {"tile/entries/001.p/44", 2, ERR_ROOT}, {"tile/0/000", 8191, ERR_ROOT},
        {"tile/0/001.p/44", 0, ERR_ROOT}, {"tile/1/000.p/1", 31, ERR_ROOT}};
    struct bundle_report r;
    make_leaves(0);
    write_bundle(0, LEAVES);
    for (size_t i = 0; i < sizeof rows_of / sizeof rows_of[0]; i++) {
        change(rows_of[i].name, rows_of[i].at);
        enum err e = verify(&r);
        if (e != rows_of[i].code && e != ERR_TRUNCATED) fail_msg("%s: %s", rows_of[i].name, err_name(e));
        change(rows_of[i].name, rows_of[i].at);
    }
    assert_int_equal(verify(&r), OK);
    change("checkpoint", 30);
    assert_int_not_equal(verify(&r), OK);
    folder_remove(folder);
}

/* What the folder says was exported has to be there; it says so since its first files could be removed unseen. */
static void removed_entries_are_missed(void **state)
{
    (void)state;
    static const struct { const char *name, *words; } gone[] = {
        {"tile/entries/000", "entries 0 to 255 are missing"},
        {"tile/entries/001.p/44", "entries 256 to 299 are missing"}};
    struct bundle_report r;
    make_leaves(0);
    for (size_t i = 0; i < 2; i++) {
        write_bundle(0, LEAVES);
        assert_int_equal(verify(&r), OK);
        assert_true(r.range_count == 1 && r.ranges[0].from == 0 && r.ranges[0].to == LEAVES - 1);
        drop(gone[i].name);
        assert_int_equal(verify(&r), ERR_ROOT);
        assert_non_null(strstr(failure.text, gone[i].words));
        drop("range"); /* an older export's: what is there is genuine, and nothing says what should be */
        assert_int_equal(verify(&r), OK);
        assert_int_equal(r.range_count, 0);
        assert_int_equal(verify_range(&r, &(struct bundle_range){0, LEAVES - 1}), ERR_ROOT);
        assert_non_null(strstr(failure.text, gone[i].words));
        folder_remove(folder);
    }
    write_bundle(256, LEAVES);
    assert_int_equal(verify(&r), OK);
    assert_int_equal(verify_range(&r, &(struct bundle_range){256, LEAVES - 1}), OK);
    assert_int_equal(verify_range(&r, &(struct bundle_range){250, 260}), ERR_ROOT);
    assert_non_null(strstr(failure.text, "entries 250 to 255 are missing"));
    assert_non_null(strstr(failure.text, "or that were asked for")); /* what it says were exported is there */
    assert_int_equal(verify_range(&r, &(struct bundle_range){256, LEAVES}), ERR_ROOT);
    assert_non_null(strstr(failure.text, "entries 300 to 300 are missing"));
    folder_remove(folder);
}

static void as_many_ranges_as_may_be_leave_room_for_what_is_asked(void **state)
{
    (void)state;
    struct bundle_report r;
    struct buffer text = {0};
    make_leaves(0);
    write_bundle(0, LEAVES);
    for (unsigned i = 0; i < BUNDLE_RANGES; i++) buffer_printf(&text, "entries %u to %u\n", 2 * i, 2 * i);
    buffer_append(&text, "", 1);
    state_range((const char *)text.data);
    assert_int_equal(verify_range(&r, &(struct bundle_range){280, 281}), OK);
    assert_int_equal(r.range_count, BUNDLE_RANGES);
    assert_int_equal(verify_range(&r, &(struct bundle_range){299, 300}), ERR_ROOT);
    assert_non_null(strstr(failure.text, "entries 300 to 300 are missing"));
    text.size--;
    buffer_append_text(&text, "entries 290 to 290\n");
    buffer_append(&text, "", 1);
    state_range((const char *)text.data);
    assert_int_equal(verify(&r), ERR_ROOT);
    buffer_free(&text);
    folder_remove(folder);
}

static void a_stated_range_is_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "\n", "entries 0 to\n", "entries 9 to 8\n", "entries 0 to 299",
                                      "entries 0 to 299\nmore", "entries -1 to 299\n",
                                      "entries 0 to 99999999999999999999999\n"};
    struct bundle_report r;
    make_leaves(0);
    write_bundle(0, LEAVES);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        state_range(bad[i]);
        assert_int_equal(verify(&r), ERR_ROOT);
    }
    state_range("entries 0 to 10\nentries 290 to 299\nentries 11 to 20\n");
    assert_int_equal(verify(&r), OK);
    assert_int_equal(r.range_count, 2);
    folder_remove(folder);
}

/* An offline folder gets no better by waiting. */
static void missing_hashes_and_a_bad_checkpoint_say_so(void **state)
{
    (void)state;
    static const char *const files[] = {"tile/0/001.p/44", "tile/1/000.p/1", "tile/0/000", "large/0"};
    struct bundle_report r;
    make_leaves(0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        write_bundle(0, LEAVES);
        drop(files[i]);
        assert_int_equal(verify(&r), ERR_ROOT);
        if (!strstr(failure.text, "the export is incomplete")) fail_msg("%s: %s", files[i], failure.text);
        folder_remove(folder);
    }
    write_bundle(0, LEAVES);
    for (size_t at = 0; at < 500; at += 60) {
        change("checkpoint", at);
        enum err e = verify(&r);
        if (e != OK) assert_int_equal(e, ERR_CHECKPOINT);
        change("checkpoint", at);
    }
    folder_remove(folder);
}

static void a_broken_chain_is_found_under_a_good_root(void **state)
{
    (void)state;
    struct bundle_report r;
    make_leaves(280);
    write_bundle(0, LEAVES);
    assert_int_equal(verify(&r), ERR_CHAIN);
    folder_remove(folder);
}

static void another_folder_is_left_alone(void **state)
{
    (void)state;
    struct bundle_writer w;
    struct export x = {0};
    make_leaves(0);
    folder_make(folder, 1);
    char *path = path_join(folder, "letter");
    assert_int_equal(file_write(path, bytes_text("x"), 0600, true, NULL), OK);
    assert_int_equal(bundle_writer_open(&w, &x, folder, &kit.genesis, &failure), ERR_EXISTS);
    assert_int_equal(bundle_writer_open(&w, &x, path, &kit.genesis, &failure), ERR_EXISTS);
    free(path);
    folder_remove(folder);
    folder_make(folder, 1);
    path = path_join(folder, "checkpoint");
    assert_int_equal(file_write(path, bytes_text("another's\n"), 0600, true, NULL), OK);
    assert_int_equal(bundle_writer_open(&w, &x, folder, &kit.genesis, &failure), ERR_EXISTS);
    free(path);
    folder_remove(folder);
}

static int setup(void **state)
{
    (void)state;
    kit_open(&kit, 4, 1, kit_default_policy());
    kit_add_user(&kit, 10, "patient", "Mercy", "name");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    bundle_kit_free(&ledger);
    kit_close(&kit);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_proves_what_it_holds),
        cmocka_unit_test(each_altered_file_is_found),
        cmocka_unit_test(removed_entries_are_missed),
        cmocka_unit_test(as_many_ranges_as_may_be_leave_room_for_what_is_asked),
        cmocka_unit_test(a_stated_range_is_read_strictly),
        cmocka_unit_test(missing_hashes_and_a_bad_checkpoint_say_so),
        cmocka_unit_test(a_broken_chain_is_found_under_a_good_root),
        cmocka_unit_test(another_folder_is_left_alone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
