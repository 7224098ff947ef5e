/* A node's folder: made whole or not at all, opened only as what it is. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crypto/random.h"
#include "node/identity.h"
#include "tests/lib/folder.h"
#include "tests/lib/unit.h"

static char root[FOLDER_PATH], home[FOLDER_PATH], key[FOLDER_PATH];
static struct config config;

static int setup(void **state)
{
    (void)state;
    folder_make(root, 1);
    folder_join(home, root, "node");
    folder_join(key, root, "storage.key");
    config_defaults(&config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    folder_remove(root);
    return 0;
}

static struct identity_options usual(void)
{
    return (struct identity_options){.directory = home, .name = "mercy", .hospital = "Mercy General",
                                     .listen = "127.0.0.1:7401", .storage_key_file = key};
}

static void make(const struct identity_options *o)
{
    struct buffer line = {0};
    assert_int_equal(identity_create(&line, o, NULL), OK);
    assert_true(line.size > 0 && line.data[line.size - 1] == '\n');
    buffer_free(&line);
    strcpy(config.storage_key_file.text, o->storage_key_file ? o->storage_key_file : "");
}

static enum err open_it(bool read_only, struct failure *f)
{
    struct node_identity id;
    enum err e = identity_open(&id, home, &config, read_only, f);
    if (e == OK) identity_close(&id);
    return e;
}

static unsigned mode_of(const char *name)
{
    char path[FOLDER_PATH];
    struct stat st;
    folder_join(path, home, name);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 0777;
}

static size_t entries_of(const char *folder)
{
    DIR *d = opendir(folder);
    assert_non_null(d);
    size_t n = 0;
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

static void test_made_and_opened(void **state)
{
    (void)state;
    struct identity_options o = usual();
    o.advertise = "mercy.example:7401";
    o.listen = "0.0.0.0:7401";
    make(&o);
    assert_int_equal(mode_of("node.seed"), 0600);
    assert_int_equal(mode_of("tls.key"), 0600);
    assert_int_equal(mode_of("node.descriptor"), 0644);
    struct stat st;
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct node_identity id;
    assert_int_equal(identity_open(&id, home, &config, false, NULL), OK);
    assert_string_equal(id.descriptor.name, "mercy");
    assert_string_equal(id.descriptor.hospital, "Mercy General");
    assert_string_equal(id.descriptor.address, "mercy.example:7401");
    assert_false(id.key_beside_data);
    struct id expected = id_of_key(&id.descriptor.keys.message);
    assert_true(id_equal(&id.descriptor.id, &expected));
    struct config written;
    config_defaults(&written);
    struct buffer text = folder_load(home, "consiliumd.conf");
    char path[FOLDER_PATH];
    folder_join(path, home, "consiliumd.conf");
    assert_int_equal(config_read_file(&written, path, NULL), OK);
    assert_string_equal(written.listen.text, "0.0.0.0:7401");
    assert_string_equal(written.storage_key_file.text, key);
    buffer_free(&text);
    identity_close(&id);
}

static void test_two_nodes_share_nothing(void **state)
{
    (void)state;
    struct identity_options o = usual();
    struct buffer one = {0}, two = {0};
    char other[FOLDER_PATH];
    folder_join(other, root, "other");
    assert_int_equal(identity_create(&one, &o, NULL), OK);
    o.directory = other;
    assert_int_equal(identity_create(&two, &o, NULL), OK); /* the same storage key serves both */
    struct descriptor a, b;
    assert_int_equal(descriptor_parse(&a, buffer_bytes(&one), NULL), OK);
    assert_int_equal(descriptor_parse(&b, buffer_bytes(&two), NULL), OK);
    assert_false(id_equal(&a.id, &b.id));
    assert_memory_not_equal(&a.keys, &b.keys, sizeof a.keys);
    assert_false(digest_equal(&a.tls_pin, &b.tls_pin));
    buffer_free(&one);
    buffer_free(&two);
}

static void test_a_folder_in_use(void **state)
{
    (void)state;
    struct identity_options o = usual();
    struct failure f = {0};
    struct buffer line = {0};
    make(&o);
    struct buffer before = folder_load(home, "node.descriptor");
    assert_int_equal(identity_create(&line, &o, &f), ERR_EXISTS);
    assert_non_null(strstr(f.text, "in use"));
    assert_int_equal(line.size, 0);
    struct buffer after = folder_load(home, "node.descriptor");
    assert_int_equal(before.size, after.size);
    assert_memory_equal(before.data, after.data, before.size);
    buffer_free(&before);
    buffer_free(&after);
    /* Any file at all makes it somebody's; an empty folder is fine. */
    char stray[FOLDER_PATH], empty[FOLDER_PATH];
    folder_join(stray, root, "stray");
    folder_join(empty, root, "empty");
    assert_int_equal(mkdir(stray, 0700), 0);
    assert_int_equal(mkdir(empty, 0700), 0);
    folder_store(stray, ".hidden", bytes_text("x"));
    o.directory = stray;
    assert_int_equal(identity_create(&line, &o, NULL), ERR_EXISTS);
    assert_int_equal(entries_of(stray), 1);
    o.directory = empty;
    assert_int_equal(identity_create(&line, &o, NULL), OK);
    buffer_free(&line);
}

static void test_what_is_refused_leaves_nothing(void **state)
{
    (void)state;
    char longest[LIMIT_NAME + 2];
    memset(longest, 'n', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    const struct {
        const char *name, *hospital, *listen, *advertise;
    } bad[] = {
        {"", "H", "127.0.0.1:1", NULL},        {"Mercy", "H", "127.0.0.1:1", NULL},
        {"a b", "H", "127.0.0.1:1", NULL},     {"a/../b", "H", "127.0.0.1:1", NULL},
        {"a\n", "H", "127.0.0.1:1", NULL},     {longest, "H", "127.0.0.1:1", NULL},
        {"a", "", "127.0.0.1:1", NULL},        {"a", "H\nI", "127.0.0.1:1", NULL},
        {"a", longest, "127.0.0.1:1", NULL},   {"a", "H", "", NULL},
        {"a", "H", "127.0.0.1", NULL},         {"a", "H", "127.0.0.1:0", NULL},
        {"a", "H", "127.0.0.1:65536", NULL},   {"a", "H", "0.0.0.0:1", NULL},
        {"a", "H", "[::]:1", NULL},            {"a", "H", "localhost:1", NULL},
        {"a", "H", "host:1", "host:1"},        {"a", "H", "127.0.0.1:1", "0.0.0.0:1"},
        {"a", "H", "127.0.0.1:1", "host"},     {"a", "H", "127.0.0.1:1", ""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct identity_options o = usual();
        o.name = bad[i].name, o.hospital = bad[i].hospital, o.listen = bad[i].listen, o.advertise = bad[i].advertise;
        struct failure f = {0};
        struct buffer line = {0};
        enum err e = identity_create(&line, &o, &f);
        if (e == OK) print_error("case %zu was taken\n", i);
        assert_int_not_equal(e, OK);
        assert_true(f.text[0] != '\0');
        assert_int_equal(line.size, 0);
        assert_int_equal(entries_of(root), 0);
        buffer_free(&line);
    }
}

/* The key's place can't be written: the folder goes away again, one that was there stays. */
static void test_failing_half_way(void **state)
{
    (void)state;
    struct identity_options o = usual();
    struct buffer line = {0};
    struct failure f = {0};
    char nowhere[FOLDER_PATH];
    folder_join(nowhere, root, "nowhere/storage.key");
    o.storage_key_file = nowhere;
    assert_int_not_equal(identity_create(&line, &o, &f), OK);
    assert_non_null(strstr(f.text, "nowhere"));
    assert_int_equal(entries_of(root), 0);
    assert_int_equal(mkdir(home, 0700), 0);
    assert_int_not_equal(identity_create(&line, &o, NULL), OK);
    assert_int_equal(entries_of(root), 1);
    assert_int_equal(entries_of(home), 0);
    /* A storage key that was there is used, and never removed. */
    folder_store(root, "storage.key", bytes_text("no key at all\n"));
    o.storage_key_file = key;
    assert_int_not_equal(identity_create(&line, &o, NULL), OK);
    assert_int_equal(access(key, F_OK), 0);
    assert_int_equal(entries_of(home), 0);
    buffer_free(&line);
}

/* A path that the settings file would cut is refused now, not found out by `run`. */
static void test_a_path_that_cannot_be_written(void **state)
{
    (void)state;
    char name[240], odd[FOLDER_PATH], path[2 * FOLDER_PATH];
    memset(name, 'k', sizeof name);
    name[sizeof name - 1] = '\0';
    struct identity_options o = usual();
    struct buffer line = {0};
    struct failure f = {0};
    snprintf(path, sizeof path, "%s/%s", root, name);
    o.storage_key_file = path;
    assert_int_equal(identity_create(&line, &o, &f), ERR_USAGE);
    assert_non_null(strstr(f.text, "shorter"));
    folder_join(odd, root, "a ;b");
    o.storage_key_file = odd;
    assert_int_equal(identity_create(&line, &o, NULL), ERR_USAGE);
    assert_int_equal(entries_of(root), 0);
    buffer_free(&line);
}

static void test_where_the_storage_key_lies(void **state)
{
    (void)state;
    struct identity_options o = usual();
    o.storage_key_file = NULL;
    make(&o);
    struct node_identity id;
    assert_int_equal(identity_open(&id, home, &config, true, NULL), OK);
    assert_true(id.key_beside_data);
    identity_close(&id);
    /* The same file by another name is no safer. */
    char path[2 * FOLDER_PATH];
    snprintf(path, sizeof path, "%s/../node/storage.key", home);
    strcpy(config.storage_key_file.text, path);
    assert_int_equal(identity_open(&id, home, &config, true, NULL), OK);
    assert_true(id.key_beside_data);
    identity_close(&id);
    /* Moved away, and named. */
    folder_join(path, home, "storage.key");
    assert_int_equal(rename(path, key), 0);
    strcpy(config.storage_key_file.text, "");
    struct failure f = {0};
    assert_int_equal(open_it(true, &f), ERR_NOT_FOUND);
    assert_non_null(strstr(f.text, "--storage-key-file"));
    strcpy(config.storage_key_file.text, key);
    assert_int_equal(identity_open(&id, home, &config, true, NULL), OK);
    assert_false(id.key_beside_data);
    identity_close(&id);
    /* As a systemd credential. */
    strcpy(config.storage_key_file.text, "");
    setenv("CREDENTIALS_DIRECTORY", root, 1);
    assert_int_equal(open_it(true, NULL), OK);
    unsetenv("CREDENTIALS_DIRECTORY");
}

static void test_another_storage_key(void **state)
{
    (void)state;
    struct identity_options o = usual();
    make(&o);
    assert_int_equal(unlink(key), 0);
    char other[FOLDER_PATH];
    folder_join(other, root, "other");
    o.directory = other;
    struct buffer line = {0};
    assert_int_equal(identity_create(&line, &o, NULL), OK); /* makes a new one */
    buffer_free(&line);
    struct failure f = {0};
    assert_int_equal(open_it(false, &f), ERR_DECRYPT);
    assert_true(f.text[0] != '\0');
}

static void test_only_one_process(void **state)
{
    (void)state;
    struct identity_options o = usual();
    make(&o);
    struct node_identity running;
    struct failure f = {0};
    assert_int_equal(identity_open(&running, home, &config, false, NULL), OK);
    assert_int_equal(open_it(false, &f), ERR_IN_USE);
    assert_non_null(strstr(f.text, "lock"));
    assert_int_equal(open_it(true, NULL), OK); /* a dump beside it */
    assert_int_equal(open_it(false, NULL), ERR_IN_USE);
    identity_close(&running);
    assert_int_equal(open_it(false, NULL), OK);
}

static void test_no_node_there(void **state)
{
    (void)state;
    struct failure f = {0};
    assert_int_equal(open_it(false, &f), ERR_NOT_FOUND);
    assert_non_null(strstr(f.text, "consiliumd init"));
    assert_int_equal(mkdir(home, 0700), 0);
    assert_int_equal(open_it(true, &f), ERR_NOT_FOUND);
    assert_non_null(strstr(f.text, "consiliumd init"));
}

/* A changed byte anywhere: what is sealed is refused. Of the certificate only the key
 * counts, so a change elsewhere may pass; none may do harm. */
static void test_damaged_files(void **state)
{
    (void)state;
    static const char *const names[] = {"node.seed", "tls.key", "tls.crt"};
    struct identity_options o = usual();
    make(&o);
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        struct buffer whole = folder_load(home, names[n]);
        for (size_t i = 0; i < whole.size; i += 7) {
            whole.data[i] ^= 0x20;
            folder_store(home, names[n], buffer_bytes(&whole));
            struct failure f = {0};
            enum err e = open_it(true, &f);
            assert_true(e != OK || strcmp(names[n], "tls.crt") == 0);
            assert_true(e == OK || f.text[0] != '\0');
            whole.data[i] ^= 0x20;
        }
        folder_store(home, names[n], (struct bytes){0});
        assert_int_not_equal(open_it(true, NULL), OK);
        folder_store(home, names[n], bytes_of(whole.data, whole.size - 1));
        assert_int_not_equal(open_it(true, NULL), OK);
        folder_store(home, names[n], buffer_bytes(&whole));
        assert_int_equal(open_it(true, NULL), OK);
        buffer_free(&whole);
    }
}

/* A folder put together from two nodes is neither; what is said is about that, and about no place where the storage
 * key was looked for. */
static void test_mixed_folders(void **state)
{
    (void)state;
    static const char *const names[] = {"node.seed", "tls.key", "tls.crt", "node.descriptor"};
    struct identity_options o = usual();
    make(&o);
    struct buffer secret = folder_load(root, "storage.key");
    char beside[FOLDER_PATH];
    folder_join(beside, home, "storage.key"); /* of both nodes, and given by no setting */
    assert_int_equal(files_write(beside, buffer_bytes(&secret), 0600, NULL, NULL), OK);
    buffer_free(&secret);
    config.storage_key_file.text[0] = '\0';
    char other[FOLDER_PATH];
    folder_join(other, root, "other");
    o.directory = other;
    struct buffer line = {0};
    assert_int_equal(identity_create(&line, &o, NULL), OK);
    buffer_free(&line);
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        struct buffer own = folder_load(home, names[n]), foreign = folder_load(other, names[n]);
        folder_store(home, names[n], buffer_bytes(&foreign));
        struct failure f = {0};
        assert_int_equal(open_it(true, &f), ERR_NODE_FILES);
        assert_non_null(strstr(f.text, "belong"));
        folder_store(home, names[n], buffer_bytes(&own));
        buffer_free(&own);
        buffer_free(&foreign);
    }
    assert_int_equal(open_it(true, NULL), OK);
    struct buffer own = folder_load(home, "node.descriptor"); /* nor is it no node's, where 'init' would refuse to make one */
    struct failure f = {0};
    char path[FOLDER_PATH];
    folder_join(path, home, "node.descriptor");
    assert_int_equal(files_remove(path, NULL), OK);
    assert_int_equal(open_it(true, &f), ERR_NODE_FILES);
    folder_store(home, "node.descriptor", buffer_bytes(&own));
    buffer_free(&own);
    assert_int_equal(open_it(true, NULL), OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    crypto_init();
    const struct CMUnitTest tests[] = {
        TEST(test_made_and_opened),           TEST(test_two_nodes_share_nothing),
        TEST(test_a_folder_in_use),           TEST(test_what_is_refused_leaves_nothing),
        TEST(test_failing_half_way),          TEST(test_where_the_storage_key_lies),
        TEST(test_another_storage_key),       TEST(test_only_one_process),
        TEST(test_no_node_there),             TEST(test_damaged_files),
        TEST(test_mixed_folders),             TEST(test_a_path_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
