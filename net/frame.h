/* Frames: a 4-byte big-endian length, then msgpack [type, id, body].
 *
 * Pure: bytes in, views out. The reader owns nothing while whole frames arrive;
 * it keeps only what is left of an unfinished one, grows with the bytes that
 * have really come (a length is only a claim), and gives the memory back after.
 * Of a large one the memory is a mapping of its own: hundreds that grow side by
 * side would leave as much again in holes.
 */
#ifndef NET_FRAME_H
#define NET_FRAME_H

#include "base/bytes.h"
#include "base/limits.h"

#define FRAME_PREFIX 4
#define FRAME_TYPE_MAX 0xffff
/* Prefix, array of 3, type and id at their longest: room for what surrounds a body. */
#define FRAME_HEAD_MAX (FRAME_PREFIX + 1 + 3 + 9)
#define FRAME_BODY_MAX (LIMIT_FRAME - (FRAME_HEAD_MAX - FRAME_PREFIX))

struct frame {
    uint32_t type;     /* 0 .. FRAME_TYPE_MAX; upper layers know which exist */
    uint64_t id;       /* an answer carries its question's */
    struct bytes body; /* the encoding of exactly one msgpack value, well-formed and canonical */
};

/* Writes the prefix and head that go before a body of `body_size` bytes.
 * Returns the number of bytes written. Body at most FRAME_BODY_MAX (checked). */
size_t frame_head(uint8_t out[static FRAME_HEAD_MAX], uint32_t type, uint64_t id, size_t body_size);
/* Appends a whole frame; an empty body is sent as an empty array. ERR_FRAME_TOO_LONG, ERR_NOMEM: nothing appended. */
enum err frame_append(struct buffer *out, uint32_t type, uint64_t id, struct bytes body);

struct frame_reader {
    struct buffer kept;  /* the beginning of an unfinished frame, or what was left at a pause */
    size_t kept_at;      /* first unread byte of `kept` */
    size_t kept_most;    /* that `kept` has held since it was empty */
    struct bytes input;  /* borrowed by frame_feed, not read yet */
    enum err error;      /* sticky */
    size_t limit;        /* of one frame; 0: LIMIT_FRAME */
};

/* Zero-initialised is ready. */
void frame_reader_free(struct frame_reader *r);
/* Borrows `in` until frame_next returns ERR_NOT_FOUND or frame_keep is called.
 * The input before must have been read to its end or kept (checked). */
void frame_feed(struct frame_reader *r, struct bytes in);
/* OK: a frame, views valid until the next call on this reader (frame_keep too)
 * or the end of the fed bytes. ERR_NOT_FOUND: no whole frame left; everything fed has been
 * taken over. ERR_FRAME_TOO_LONG, ERR_MALFORMED, ERR_NOT_CANONICAL,
 * ERR_TRUNCATED (inside the frame), ERR_TRAILING, ERR_TOO_DEEP, ERR_NOMEM:
 * sticky, the connection is of no more use. */
enum err frame_next(struct frame_reader *r, struct frame *out);
/* Copies what is unread, so that the fed bytes may go (the reader's user pauses). */
enum err frame_keep(struct frame_reader *r);
/* At the end of the stream: OK between frames, ERR_TRUNCATED inside one. */
enum err frame_end(const struct frame_reader *r);
/* Bytes of memory held: of a mapping those that were written. */
size_t frame_memory(const struct frame_reader *r);

#endif
