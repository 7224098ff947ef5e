#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/pack.h"
#include "net/frame.h"
#include "tests/lib/bad_frames.h"
#include "tests/lib/unit.h"

static void append(struct buffer *out, uint32_t type, uint64_t id, size_t size)
{
    struct buffer body = {0};
    uint8_t *data = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i ^ id);
    pack_bin(&body, data, size);
    assert_int_equal(frame_append(out, type, id, buffer_bytes(&body)), OK);
    buffer_free(&body);
    free(data);
}

static void check(const struct frame *f, uint32_t type, uint64_t id, size_t size)
{
    struct unpack u = unpack_start(f->body);
    struct bytes data = unpack_bin(&u, SIZE_MAX);
    assert_int_equal(f->type, type);
    assert_int_equal(f->id, id);
    assert_int_equal(unpack_done(&u), OK);
    assert_int_equal(data.size, size);
    for (size_t i = 0; i < size; i++)
        if (data.data[i] != (uint8_t)(i ^ id)) fail_test();
}

static void test_golden(void **state)
{
    (void)state;
    struct buffer out = {0};
    assert_int_equal(frame_append(&out, 3, 300, (struct bytes){0}), OK);
    assert_int_equal(frame_append(&out, 0xffff, UINT64_MAX, bytes_of("\xc3", 1)), OK);
    static const char expected[] = "\x00\x00\x00\x06\x93\x03\xcd\x01\x2c\x90"
                                   "\x00\x00\x00\x0e\x93\xcd\xff\xff\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xc3";
    assert_int_equal(out.size, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.size);
    buffer_free(&out);
}

/* Whole frames in the input: views into it, no memory held. */
static void test_no_copy(void **state)
{
    (void)state;
    struct buffer in = {0};
    struct frame_reader r = {0};
    struct frame f;
    for (uint64_t id = 0; id < 10; id++)
        append(&in, 1, id, id * 100);
    frame_feed(&r, buffer_bytes(&in));
    for (uint64_t id = 0; id < 10; id++) {
        assert_int_equal(frame_next(&r, &f), OK);
        check(&f, 1, id, id * 100);
        assert_true(f.body.data > in.data && f.body.data < in.data + in.size);
        assert_int_equal(frame_memory(&r), 0);
    }
    assert_int_equal(frame_next(&r, &f), ERR_NOT_FOUND);
    assert_int_equal(frame_end(&r), OK);
    buffer_free(&in);
}

/* Split at every place, and fed byte by byte. */
static void test_splits(void **state)
{
    (void)state;
    struct buffer in = {0};
    for (uint64_t id = 0; id < 3; id++)
        append(&in, 7, id, 5 + id * 90);
    for (size_t cut = 0; cut <= in.size; cut++) {
        struct frame_reader r = {0};
        struct frame f;
        uint64_t id = 0;
        frame_feed(&r, bytes_of(in.data, cut));
        for (; frame_next(&r, &f) == OK; id++)
            check(&f, 7, id, 5 + id * 90);
        frame_feed(&r, bytes_of(in.data + cut, in.size - cut));
        for (; frame_next(&r, &f) == OK; id++)
            check(&f, 7, id, 5 + id * 90);
        assert_int_equal(id, 3);
        assert_int_equal(r.error, OK);
        assert_int_equal(frame_end(&r), OK);
        assert_int_equal(frame_memory(&r), 0);
    }
    struct frame_reader r = {0};
    struct frame f;
    uint64_t id = 0;
    for (size_t i = 0; i < in.size; i++) {
        frame_feed(&r, bytes_of(in.data + i, 1));
        for (; frame_next(&r, &f) == OK; id++)
            check(&f, 7, id, 5 + id * 90);
        assert_int_equal(r.error, OK);
    }
    assert_int_equal(id, 3);
    buffer_free(&in);
}

/* A claim of 4 MiB allocates nothing before bytes come, and after the frame all is given back. */
static void test_memory(void **state)
{
    (void)state;
    struct buffer in = {0};
    struct frame_reader r = {0};
    struct frame f;
    append(&in, 1, 9, FRAME_BODY_MAX - 5);
    frame_feed(&r, bytes_of(in.data, 4));
    assert_int_equal(frame_next(&r, &f), ERR_NOT_FOUND);
    assert_true(frame_memory(&r) <= 64);
    size_t at = 4;
    while (at < in.size) {
        size_t n = in.size - at < 65536 ? in.size - at : 65536;
        frame_feed(&r, bytes_of(in.data + at, n));
        at += n;
        enum err err = frame_next(&r, &f);
        assert_int_equal(err, at == in.size ? OK : ERR_NOT_FOUND);
        assert_true(frame_memory(&r) <= 2 * at && frame_memory(&r) <= FRAME_PREFIX + LIMIT_FRAME);
        if (err != OK) assert_int_equal(frame_memory(&r), at); /* a mapping: what was not written takes nothing */
    }
    check(&f, 1, 9, FRAME_BODY_MAX - 5);
    assert_int_equal(frame_next(&r, &f), ERR_NOT_FOUND);
    assert_int_equal(frame_memory(&r), 0);
    buffer_free(&in);
}

static void test_limit(void **state)
{
    (void)state;
    struct buffer out = {0}, body = {0};
    uint8_t *data = calloc(1, FRAME_BODY_MAX);
    struct frame_reader r = {0};
    struct frame f;
    pack_bin(&body, data, FRAME_BODY_MAX - 5 + 1);
    assert_int_equal(body.size, FRAME_BODY_MAX + 1);
    assert_int_equal(frame_append(&out, 1, 1, buffer_bytes(&body)), ERR_FRAME_TOO_LONG);
    assert_int_equal(out.size, 0);
    free(data);
    /* The length alone decides, before a byte of the frame came. */
    uint8_t prefix[4];
    put_be32(prefix, LIMIT_FRAME + 1);
    for (size_t at = 1; at <= 4; at++) {
        frame_feed(&r, bytes_of(prefix, at));
        enum err err = frame_next(&r, &f);
        assert_int_equal(err, at == 4 ? ERR_FRAME_TOO_LONG : ERR_NOT_FOUND);
        assert_true(frame_memory(&r) <= 64);
        frame_reader_free(&r);
    }
    buffer_free(&body);
    buffer_free(&out);
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < BAD_FRAMES; i++) {
        for (unsigned split = 0; split < 2; split++) {
            struct frame_reader r = {0};
            struct frame f;
            struct buffer in = {0};
            bad_frame_put(&in, &bad_frames[i]);
            frame_feed(&r, bytes_of(in.data, split ? 3 : in.size));
            if (split) {
                assert_int_equal(frame_next(&r, &f), ERR_NOT_FOUND);
                frame_feed(&r, bytes_of(in.data + 3, in.size - 3));
            }
            assert_string_equal(err_name(frame_next(&r, &f)), err_name(bad_frames[i].code));
            assert_null(f.body.data);
            assert_int_equal(frame_next(&r, &f), bad_frames[i].code); /* sticky */
            assert_int_equal(frame_end(&r), bad_frames[i].code);
            assert_int_equal(frame_memory(&r), 0);
            frame_reader_free(&r);
            buffer_free(&in);
        }
    }
}

static void test_end(void **state)
{
    (void)state;
    struct buffer in = {0};
    append(&in, 1, 1, 10);
    for (size_t size = 0; size < in.size; size++) {
        struct frame_reader r = {0};
        struct frame f;
        frame_feed(&r, bytes_of(in.data, size));
        assert_int_equal(frame_next(&r, &f), ERR_NOT_FOUND);
        assert_int_equal(frame_end(&r), size ? ERR_TRUNCATED : OK);
        frame_reader_free(&r);
    }
    buffer_free(&in);
}

/* Random frames, random cuts, random pauses: the same frames come out. SEED=n replays a run. */
static void test_random(void **state)
{
    (void)state;
    const char *seed_text = getenv("SEED");
    unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : (unsigned)clock_monotonic_ns();
    print_message("SEED=%u\n", seed);
    for (unsigned run = 0; run < 200; run++) {
        struct buffer in = {0};
        struct frame_reader r = {0};
        struct frame f;
        unsigned count = 1 + (unsigned)rand_r(&seed) % 20;
        size_t sizes[20];
        for (unsigned i = 0; i < count; i++)
            append(&in, 9, i, sizes[i] = (size_t)rand_r(&seed) % (rand_r(&seed) % 4 ? 50 : 5000));
        unsigned id = 0;
        for (size_t at = 0; at < in.size || frame_memory(&r);) {
            size_t n = (size_t)rand_r(&seed) % 3000;
            if (n > in.size - at) n = in.size - at;
            uint8_t *piece = malloc(n + 1); /* gone after this turn: what is kept must have been copied */
            memcpy(piece, in.data + at, n);
            at += n;
            frame_feed(&r, bytes_of(piece, n));
            bool paused = false;
            while (!paused && frame_next(&r, &f) == OK) {
                assert_true(id < count);
                check(&f, 9, id, sizes[id]);
                id++;
                paused = rand_r(&seed) % 4 == 0;
            }
            assert_int_equal(r.error, OK);
            if (paused) assert_int_equal(frame_keep(&r), OK);
            free(piece);
        }
        assert_int_equal(id, count);
        assert_int_equal(frame_end(&r), OK);
        buffer_free(&in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_no_copy), cmocka_unit_test(test_splits),
        cmocka_unit_test(test_memory), cmocka_unit_test(test_limit),   cmocka_unit_test(test_bad),
        cmocka_unit_test(test_end),    cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
