/* The encoding of Raft messages: round trips, limits, every damage. */
#include "tests/lib/unit.h"

#include <stdio.h>

#include "base/pack.h"
#include "tests/lib/mutate.h"
#include "tests/lib/recode_raft.h"

static struct raft_entry entries[3];

static struct raft_message sample(enum raft_message_type type)
{
    struct raft_message m = {.type = type, .from = 3, .to = 300, .term = 70000, .extra = bytes_text("signed")};
    switch (type) {
    case RAFT_PREVOTE:
    case RAFT_VOTE:
        m.proposed = type == RAFT_PREVOTE ? 70001 : 0;
        m.log = (struct raft_position){5, 4};
        m.transfer = type == RAFT_VOTE;
        break;
    case RAFT_PREVOTE_ANSWER:
    case RAFT_VOTE_ANSWER:
        m.proposed = 7;
        m.granted = true;
        break;
    case RAFT_APPEND:
        m.log = (struct raft_position){5, 4};
        m.commit = 77;
        m.durable = 78;
        m.round = 1;
        m.entries = entries;
        m.entry_count = 3;
        break;
    case RAFT_APPEND_ANSWER:
        m.log = (struct raft_position){5, 4};
        m.rejected = true;
        m.round = 9;
        m.match = 10;
        m.checked = 11;
        m.conflict = (struct raft_position){12, 3};
        m.conflict_first = 8;
        break;
    case RAFT_HEARTBEAT:
        m.commit = 1;
        m.durable = 4;
        m.round = 2;
        m.sent = 3;
        break;
    case RAFT_HEARTBEAT_ANSWER:
        m.round = 2;
        m.sent = 3;
        m.match = 4;
        m.checked = 5;
        m.installing = 6;
        break;
    case RAFT_SNAPSHOT:
        m.log = (struct raft_position){5, 4};
        m.commit = 5;
        m.round = 3;
        raft_config_set(&m.config, 1, true);
        raft_config_set(&m.config, 2, false);
        m.manifest = entries[0].blob;
        break;
    case RAFT_SNAPSHOT_ANSWER:
        m.log = (struct raft_position){5, 4};
        m.rejected = true;
        break;
    case RAFT_TIMEOUT_NOW: break;
    }
    return m;
}

static int setup(void **state)
{
    (void)state;
    entries[0] = (struct raft_entry){6, 4, RAFT_ENTRY_BLOCK, raft_blob_copy(bytes_text("block"))};
    entries[1] = (struct raft_entry){7, 70000, RAFT_ENTRY_NOOP, NULL};
    entries[2] = (struct raft_entry){8, 70000, RAFT_ENTRY_CONFIG, raft_blob_copy(bytes_text("config"))};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    raft_blob_release(entries[0].blob);
    raft_blob_release(entries[2].blob);
    return 0;
}

/* What is lent, put back in its places, makes the whole encoding. */
static void lent_blobs_have_their_places(void **state)
{
    (void)state;
    static uint8_t content[RAFT_LENT_LEAST];
    struct raft_entry large[RAFT_LENT_MAX + 4];
    struct raft_message m = {.type = RAFT_APPEND, .from = 1, .to = 2, .term = 9, .log = {5, 4}, .entries = large};
    struct raft_lent lent;
    struct buffer whole = {0}, rest = {0}, again = {0};
    m.entry_count = RAFT_LENT_MAX + 4;
    for (size_t i = 0; i < m.entry_count; i++) {
        memset(content, (int)i, sizeof content);
        struct bytes bytes = bytes_of(content, sizeof content - (i == 1)); /* that one is small: it is copied */
        large[i] = (struct raft_entry){6 + i, 4, RAFT_ENTRY_BLOCK, raft_blob_copy(bytes)};
    }
    raft_message_encode(&whole, NULL, &m, PEER_VERSION);
    raft_message_encode(&rest, &lent, &m, PEER_VERSION);
    assert_int_equal(lent.count, RAFT_LENT_MAX);
    size_t at = 0;
    for (size_t i = 0; i < lent.count; at = lent.at[i++]) {
        buffer_append(&again, rest.data + at, lent.at[i] - at);
        buffer_append_bytes(&again, raft_blob_bytes(lent.blobs[i]));
        raft_blob_release(lent.blobs[i]);
    }
    buffer_append(&again, rest.data + at, rest.size - at);
    assert_true(bytes_equal(buffer_bytes(&again), buffer_bytes(&whole)));
    m.entry_count = 2;
    buffer_clear(&rest);
    raft_message_encode(&rest, &lent, &m, PEER_VERSION);
    assert_int_equal(lent.count, 1);
    assert_ptr_equal(lent.blobs[0], large[0].blob);
    raft_blob_release(lent.blobs[0]);
    for (size_t i = 0; i < RAFT_LENT_MAX + 4; i++)
        raft_blob_release(large[i].blob);
    buffer_free(&whole);
    buffer_free(&rest);
    buffer_free(&again);
}

static void comes_back(const struct raft_message *m, unsigned version)
{
    struct raft_message back;
    struct buffer out = {0}, again = {0};
    raft_message_encode(&out, NULL, m, version);
    assert_int_equal(raft_message_decode(&back, buffer_bytes(&out), version), OK);
    assert_int_equal(back.entry_count, m->entry_count);
    for (size_t i = 0; i < m->entry_count; i++) {
        assert_int_equal(back.entries[i].index, m->entries[i].index);
        assert_int_equal(back.entries[i].term, m->entries[i].term);
        assert_int_equal(back.entries[i].type, m->entries[i].type);
        assert_true(bytes_equal(raft_blob_bytes(back.entries[i].blob), raft_blob_bytes(m->entries[i].blob)));
    }
    assert_true(bytes_equal(raft_blob_bytes(back.manifest), raft_blob_bytes(m->manifest)));
    assert_true(bytes_equal(back.extra, m->extra));
    raft_message_encode(&again, NULL, &back, version);
    assert_true(bytes_equal(buffer_bytes(&again), buffer_bytes(&out)));
    assert_int_equal(back.type, m->type);
    assert_int_equal(back.log.index, m->log.index);
    assert_int_equal(back.commit, m->commit);
    assert_int_equal(back.durable, version >= PEER_VERSION_DURABLE ? m->durable : 0);
    assert_int_equal(back.round, m->round);
    assert_int_equal(back.match, m->match);
    assert_int_equal(back.installing, m->installing);
    assert_int_equal(back.conflict_first, m->conflict_first);
    raft_message_clear(&back);
    buffer_free(&again);
    buffer_free(&out);
}

static void every_type_comes_back(void **state)
{
    (void)state;
    for (int type = RAFT_PREVOTE; type <= RAFT_TIMEOUT_NOW; type++) {
        struct raft_message m = sample((enum raft_message_type)type);
        for (unsigned version = 1; version <= PEER_VERSION; version++) comes_back(&m, version);
        assert_string_not_equal(raft_message_name(m.type), "unknown");
    }
    assert_string_equal(raft_message_name((enum raft_message_type)0), "unknown");
    assert_string_equal(raft_message_name((enum raft_message_type)12), "unknown");
}

/* What nodes of version 1 write and read; each form is refused where the other is spoken. */
static void older_forms_stay(void **state)
{
    (void)state;
    static const uint8_t append[] = {0x9a, RAFT_APPEND, 3, 4, 7, 0xc4, 0, 5, 6, 77, 2, 0x91, 0x93, 7, RAFT_ENTRY_NOOP, 0xc4, 0};
    static const uint8_t heartbeat[] = {0x98, RAFT_HEARTBEAT, 3, 4, 7, 0xc4, 0, 77, 2, 9};
    static const struct bytes forms[] = {BYTES(append), BYTES(heartbeat)};
    struct raft_entry noop = {.index = 6, .term = 7, .type = RAFT_ENTRY_NOOP};
    const struct raft_message messages[] = {
        {.type = RAFT_APPEND, .from = 3, .to = 4, .term = 7, .log = {5, 6}, .commit = 77, .durable = 78, .round = 2,
         .entries = &noop, .entry_count = 1},
        {.type = RAFT_HEARTBEAT, .from = 3, .to = 4, .term = 7, .commit = 77, .durable = 78, .round = 2, .sent = 9},
    };
    for (size_t i = 0; i < 2; i++) {
        struct raft_message back;
        struct buffer out = {0};
        raft_message_encode(&out, NULL, &messages[i], 1);
        assert_true(bytes_equal(buffer_bytes(&out), forms[i]));
        assert_int_equal(raft_message_decode(&back, forms[i], 1), OK);
        assert_int_equal(back.commit, 77);
        assert_int_equal(back.durable, 0);
        raft_message_clear(&back);
        assert_int_equal(raft_message_decode(&back, forms[i], PEER_VERSION_DURABLE), ERR_MALFORMED);
        buffer_clear(&out);
        raft_message_encode(&out, NULL, &messages[i], PEER_VERSION_DURABLE);
        assert_int_equal(raft_message_decode(&back, buffer_bytes(&out), 1), ERR_MALFORMED);
        buffer_free(&out);
    }
}

static void every_damage_is_refused_or_canonical(void **state)
{
    (void)state;
    for (int type = RAFT_PREVOTE; type <= RAFT_TIMEOUT_NOW; type++) {
        struct raft_message m = sample((enum raft_message_type)type);
        for (unsigned version = 1; version <= PEER_VERSION; version++) {
            struct buffer out = {0};
            raft_message_encode(&out, NULL, &m, version);
            struct mutants mutants = mutate(version == 1 ? recode_raft_1 : recode_raft, buffer_bytes(&out));
            assert_true(mutants.accepted < mutants.tried);
            buffer_free(&out);
        }
    }
}

static enum err decode(struct buffer *out)
{
    struct raft_message m;
    assert_false(out->failed);
    enum err e = raft_message_decode(&m, buffer_bytes(out), PEER_VERSION);
    assert_true(e == OK || (!m.entries && !m.manifest && !m.type));
    raft_message_clear(&m);
    buffer_clear(out);
    return e;
}

static void head(struct buffer *out, uint32_t fields, unsigned type, size_t extra)
{
    static const uint8_t zeros[LIMIT_RAFT_EXTRA + 1];
    pack_array(out, fields);
    pack_uint(out, type);
    pack_uint(out, 1);
    pack_uint(out, 2);
    pack_uint(out, 3);
    pack_bin(out, zeros, extra);
}

static void limits_hold(void **state)
{
    (void)state;
    struct buffer out = {0};
    head(&out, 5, RAFT_TIMEOUT_NOW, LIMIT_RAFT_EXTRA);
    assert_int_equal(decode(&out), OK);
    head(&out, 5, RAFT_TIMEOUT_NOW, LIMIT_RAFT_EXTRA + 1);
    assert_int_equal(decode(&out), ERR_TOO_LARGE);
    head(&out, 5, 12, 0);
    assert_int_equal(decode(&out), ERR_UNKNOWN_TYPE);
    head(&out, 5, 0, 0);
    assert_int_equal(decode(&out), ERR_UNKNOWN_TYPE);
    head(&out, 6, RAFT_TIMEOUT_NOW, 0);
    pack_uint(&out, 1);
    assert_int_equal(decode(&out), ERR_MALFORMED);
    /* As many entries as fit, and one more. */
    for (uint32_t extra = 0; extra < 2; extra++) {
        head(&out, 11, RAFT_APPEND, 0);
        for (int i = 0; i < 5; i++) pack_uint(&out, 1);
        pack_array(&out, LIMIT_RAFT_ENTRIES + extra);
        for (uint32_t i = 0; i < LIMIT_RAFT_ENTRIES + extra; i++) {
            pack_array(&out, 3);
            pack_uint(&out, 1);
            pack_uint(&out, RAFT_ENTRY_NOOP);
            pack_bin(&out, NULL, 0);
        }
        assert_int_equal(decode(&out) != OK, extra);
    }
    /* A count without the entries, an index out of range, a no-op with bytes. */
    head(&out, 11, RAFT_APPEND, 0);
    for (int i = 0; i < 5; i++) pack_uint(&out, 1);
    pack_array(&out, LIMIT_RAFT_ENTRIES);
    assert_int_not_equal(decode(&out), OK);
    for (int wrong = 0; wrong < 3; wrong++) {
        head(&out, 9, RAFT_HEARTBEAT, 0);
        for (int i = 0; i < 4; i++) pack_uint(&out, i == wrong ? RAFT_INDEX_MAX + 1 : 0);
        assert_int_equal(decode(&out), wrong < 2 ? ERR_MALFORMED : OK);
    }
    head(&out, 11, RAFT_APPEND, 0);
    for (int i = 0; i < 5; i++) pack_uint(&out, 1);
    pack_array(&out, 1);
    pack_array(&out, 3);
    pack_uint(&out, 1);
    pack_uint(&out, RAFT_ENTRY_NOOP);
    pack_bin(&out, "x", 1);
    assert_int_equal(decode(&out), ERR_MALFORMED);
    buffer_free(&out);
}

/* The largest block fits a frame with the largest extra. */
static void largest_append_fits_a_frame(void **state)
{
    (void)state;
    static uint8_t extra[LIMIT_RAFT_EXTRA];
    uint8_t *fill;
    struct raft_blob *blob = raft_blob_new(&fill, LIMIT_BLOCK);
    memset(fill, 7, LIMIT_BLOCK);
    struct raft_entry e = {RAFT_INDEX_MAX, RAFT_TERM_MAX, RAFT_ENTRY_BLOCK, blob};
    struct raft_message m = {.type = RAFT_APPEND,
                             .from = UINT16_MAX,
                             .to = UINT16_MAX - 1,
                             .term = RAFT_TERM_MAX,
                             .log = {RAFT_INDEX_MAX - 1, RAFT_TERM_MAX},
                             .commit = RAFT_INDEX_MAX,
                             .durable = RAFT_INDEX_MAX,
                             .round = UINT64_MAX,
                             .entries = &e,
                             .entry_count = 1,
                             .extra = BYTES(extra)};
    struct buffer out = {0};
    raft_message_encode(&out, NULL, &m, PEER_VERSION);
    assert_true(out.size < LIMIT_FRAME - 100);
    assert_int_equal(decode(&out), OK);
    buffer_free(&out);
    raft_blob_release(blob);
}

/* CORPUS=folder writes a seed for the fuzzer per type. */
static void write_corpus(void **state)
{
    (void)state;
    const char *folder = getenv("CORPUS");
    for (int type = RAFT_PREVOTE; folder && type <= RAFT_TIMEOUT_NOW; type++) {
        struct raft_message m = sample((enum raft_message_type)type);
        m.term = 2;
        m.to = 1;
        struct buffer out = {0};
        raft_message_encode(&out, NULL, &m, PEER_VERSION);
        char path[256];
        snprintf(path, sizeof path, "%s/%02d", folder, type);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(out.data, 1, out.size, f), out.size);
        fclose(f);
        buffer_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lent_blobs_have_their_places),
        cmocka_unit_test(every_type_comes_back),
        cmocka_unit_test(older_forms_stay),
        cmocka_unit_test(every_damage_is_refused_or_canonical),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(largest_append_fits_a_frame),
        cmocka_unit_test(write_corpus),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
