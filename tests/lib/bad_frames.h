/* Bytes that no reader of frames takes, and what it says. */
#ifndef TESTS_LIB_BAD_FRAMES_H
#define TESTS_LIB_BAD_FRAMES_H

#include "base/bytes.h"
#include "base/error.h"

struct bad_bytes {
    const char *bytes;
    size_t size;
    enum err code;
};

/* Frames without their length. */
static const struct bad_bytes bad_frames[] = {
    {"", 0, ERR_TRUNCATED},
    {"\x93", 1, ERR_TRUNCATED},
    {"\x93\x01", 2, ERR_TRUNCATED},
    {"\x93\x01\x02", 3, ERR_TRUNCATED},
    {"\x93\x01\x02\xc4\x05gone", 9, ERR_TRUNCATED},
    {"\x93\x01\x02\x90\x00", 5, ERR_TRAILING},
    {"\x93\x01\x02\x90\x90", 5, ERR_TRAILING},
    {"\x92\x01\x02", 3, ERR_MALFORMED},
    {"\x92\x01\x02\x90", 4, ERR_MALFORMED},
    {"\x94\x01\x02\x90\x90", 5, ERR_MALFORMED},
    {"\x80", 1, ERR_MALFORMED},
    {"\xc0", 1, ERR_MALFORMED},
    {"GET / ok", 8, ERR_MALFORMED},
    {"\x93\xc2\x02\x90", 4, ERR_MALFORMED},                  /* type is no number */
    {"\x93\xce\x00\x01\x00\x00\x02\x90", 8, ERR_MALFORMED},  /* nor above 65535 */
    {"\x93\x01\xff\x90", 4, ERR_MALFORMED},                  /* id negative */
    {"\x93\x01\x02\xc0", 4, ERR_MALFORMED},                  /* nil */
    {"\x93\x01\x02\x80", 4, ERR_MALFORMED},                  /* a map */
    {"\x93\x01\x02\xca\x00\x00\x00\x00", 8, ERR_MALFORMED},  /* a float */
    {"\x93\x01\x02\xc1", 4, ERR_MALFORMED},                  /* never used */
    {"\x93\x01\x02\xa1\xff", 5, ERR_MALFORMED},              /* no UTF-8 */
    {"\xdc\x00\x03\x01\x02\x90", 6, ERR_NOT_CANONICAL},
    {"\x93\xcc\x01\x02\x90", 5, ERR_NOT_CANONICAL},
    {"\x93\x01\x02\xc5\x00\x01x", 7, ERR_NOT_CANONICAL},
    {"\x93\x01\x02\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x90", 16, ERR_TOO_DEEP},
    {"\x93\x01\x02\xdd\xff\xff\xff\xff", 8, ERR_TRUNCATED},  /* claims 4 billion elements */
};
#define BAD_FRAMES (sizeof bad_frames / sizeof *bad_frames)

/* Lengths that are too much, with nothing behind them. */
static const struct bad_bytes bad_lengths[] = {
    {"\xff\xff\xff\xff", 4, ERR_FRAME_TOO_LONG},
    {"\xff\x00\x00\x00", 4, ERR_FRAME_TOO_LONG},
    {"\x00\x40\x00\x01", 4, ERR_FRAME_TOO_LONG},
};
#define BAD_LENGTHS (sizeof bad_lengths / sizeof *bad_lengths)

/* With its length before it, in place of what `out` held. */
static inline void bad_frame_put(struct buffer *out, const struct bad_bytes *bad)
{
    uint8_t prefix[4];
    put_be32(prefix, (uint32_t)bad->size);
    buffer_clear(out);
    buffer_append(out, prefix, sizeof prefix);
    buffer_append(out, bad->bytes, bad->size);
}

#endif
