/* storage/log_format.h: headers refuse every change, seals bind every field, and
 * what was written in full shows no piece of zeros. */
#include <stdlib.h>

#include "crypto/random.h"
#include "storage/log_format.h"
#include "tests/lib/unit.h"

static const struct seal_key key = {.bytes = "the key of these tests.........."};
static const struct id log_id = {{1, 2, 3}};

static struct log_cipher cipher(void)
{
    struct log_cipher c;
    log_cipher_setup(&c, &key, "raft", &log_id);
    return c;
}

static struct log_header sample_header(void)
{
    return (struct log_header){.type = LOG_BLOCK, .kind = 3, .tag = 0x1122334455667788, .batch = 9, .index = 70,
                               .term = 5, .low = 66, .truncations = 2, .batch_start = 8192, .offset = 9000};
}

static void test_segment_header(void **state)
{
    struct log_segment_header h = {.size = 1 << 20, .sequence = 7, .log_id = log_id, .tag = 99}, back;
    struct seal_key other = key;
    uint8_t bytes[LOG_SEGMENT_HEADER_SIZE];
    (void)state;
    log_segment_header_encode(bytes, &h, &key, "raft");
    assert_int_equal(log_segment_header_decode(&back, bytes, &key, "raft"), OK);
    assert_int_equal(back.size, h.size);
    assert_int_equal(back.sequence, h.sequence);
    assert_int_equal(back.tag, h.tag);
    assert_true(id_equal(&back.log_id, &log_id));
    assert_int_equal(log_segment_header_decode(&back, bytes, &key, "tfar"), ERR_DECRYPT);
    other.bytes[31] ^= 0x80;
    assert_int_equal(log_segment_header_decode(&back, bytes, &other, "raft"), ERR_DECRYPT);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(log_segment_header_decode(&back, bytes, &key, "raft"), ERR_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void test_record_refuses_every_change(void **state)
{
    struct log_cipher c = cipher();
    struct log_header h = sample_header(), back;
    uint8_t at[256];
    struct bytes plain = bytes_text("what is in it"), opened;
    (void)state;
    uint32_t span = log_record_encode(at, &h, &c, plain);
    assert_int_equal(span, log_record_span(h.size));
    assert_int_equal(span % 8, 0);
    assert_true(log_header_decode(&back, at));
    assert_true(back.type == h.type && back.kind == 3 && back.size == h.size && back.crc == h.crc);
    assert_true(back.tag == h.tag && back.batch == 9 && back.index == 70 && back.term == 5 && back.low == 66);
    assert_true(back.truncations == 2 && back.batch_start == 8192 && back.offset == 9000);
    for (size_t bit = 0; bit < 8 * span; bit++) {
        at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(log_header_decode(&back, at) && log_record_check(at, &back));
        at[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(log_header_decode(&back, at) && log_record_check(at, &back));
    assert_int_equal(log_record_open(&opened, at, &back, &c), OK);
    assert_true(bytes_equal(opened, plain));
}

/* The checksum is no secret: somebody who fixes it up is stopped by the seal. */
static void test_seal_binds_the_header(void **state)
{
    struct log_cipher c = cipher(), other_name, other_log;
    struct id other_id = {{9}};
    struct bytes opened;
    (void)state;
    log_cipher_setup(&other_name, &key, "rafts", &log_id);
    log_cipher_setup(&other_log, &key, "raft", &other_id);
    for (int i = 0; i < 13; i++) {
        uint8_t at[256];
        struct log_header h = sample_header();
        log_record_encode(at, &h, &c, bytes_text("sealed"));
        if (i == 1) h.type = LOG_REPAIR;
        if (i == 2) h.kind++;
        if (i == 3) h.tag++;
        if (i == 4) h.batch++;
        if (i == 5) h.index++;
        if (i == 6) h.term++;
        if (i == 7) h.low++;
        if (i == 8) h.truncations++;
        if (i == 9) h.batch_start++;
        if (i == 10) h.offset++;
        enum err code = log_record_open(&opened, at, &h, i == 11 ? &other_name : i == 12 ? &other_log : &c);
        assert_int_equal(code, i == 0 ? OK : ERR_CORRUPT);
    }
}

/* At every place against the sector borders, for every small size. */
static void test_written_in_full_has_no_zero_piece(void **state)
{
    struct log_cipher c = cipher();
    static uint8_t image[8192];
    static const uint8_t zeros[1200];
    (void)state;
    for (uint32_t offset = 1024; offset < 1024 + 512; offset += 8)
        for (uint32_t size = 0; size < 1100; size += offset % 64 == 0 ? 1 : 97) {
            struct log_header h = sample_header();
            h.offset = offset;
            memset(image, 0, sizeof image);
            uint32_t end = offset + log_record_encode(image + offset, &h, &c, bytes_of(zeros, size));
            assert_true(log_written(image, offset, end));
            assert_true(log_written(image, offset, offset + LOG_HEADER_SIZE));
            for (uint32_t sector = offset / 512; sector * 512 < end; sector++) { /* any one lost */
                uint8_t kept[512];
                memcpy(kept, image + sector * 512, 512);
                memset(image + sector * 512, 0, 512);
                assert_false(log_written(image, offset, end));
                memcpy(image + sector * 512, kept, 512);
            }
        }
}

static void test_payloads(void **state)
{
    struct log_state s = {.vote = 1, .cosigned = {2, 3, {{4}}}, .last_term = 5, .compact_index = 6,
                          .compact_term = 7, .flags = 8}, back;
    uint8_t bytes[LOG_STATE_SIZE];
    struct buffer b = {0};
    struct bytes config, manifest;
    (void)state;
    log_state_encode(bytes, &s);
    assert_int_equal(log_state_decode(&back, BYTES(bytes)), OK);
    assert_memory_equal(&back.cosigned, &s.cosigned, sizeof s.cosigned);
    assert_int_equal(back.vote, 1);
    assert_int_equal(back.last_term, 5);
    assert_int_equal(back.compact_index, 6);
    assert_int_equal(back.compact_term, 7);
    assert_int_equal(back.flags, 8);
    assert_int_equal(log_state_decode(&back, bytes_of(bytes, sizeof bytes - 1)), ERR_CORRUPT);
    log_snapshot_encode(&b, bytes_text("config"), bytes_text(""));
    assert_int_equal(log_snapshot_decode(&config, &manifest, buffer_bytes(&b)), OK);
    assert_true(bytes_equal(config, bytes_text("config")));
    assert_int_equal(manifest.size, 0);
    for (size_t size = 0; size < b.size; size++)
        assert_int_equal(log_snapshot_decode(&config, &manifest, bytes_of(b.data, size)), ERR_CORRUPT);
    b.data[0] = 0xff;
    assert_int_equal(log_snapshot_decode(&config, &manifest, buffer_bytes(&b)), ERR_CORRUPT);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segment_header),
        cmocka_unit_test(test_record_refuses_every_change),
        cmocka_unit_test(test_seal_binds_the_header),
        cmocka_unit_test(test_written_in_full_has_no_zero_piece),
        cmocka_unit_test(test_payloads),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
