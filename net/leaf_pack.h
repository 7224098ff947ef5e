/* Leaves on their way to who verifies them, each written as what differs from the one before.
 *
 * Leaves of one request share its signature and most hashes of their paths, and nearly all leaves share the cluster
 * and the form: of 512 bytes about 190 are left. They come back byte for byte: what a node stores is what is
 * verified, and nobody has to believe or compute a part of it.
 *
 *   packed = for each leaf: its size (LEB128, shortest form), then runs until it has that size
 *   run    = N, then N bytes as they are, then, unless the leaf is complete, C    (N and C are one byte each)
 *   C      = 0: none; 1 .. 127: so many bytes of the leaf before, from the same distance to its beginning;
 *            128 + n, n at least 1: n bytes of it, from the same distance to its end
 *
 * The first leaf has nothing before it. A run that adds nothing is an error, and so is a copy from beyond either end.
 * Any thread. */
#ifndef NET_LEAF_PACK_H
#define NET_LEAF_PACK_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

/* Appends `leaf`, of at least one byte, after `before` (empty: it is the first). */
void leaf_pack(struct buffer *out, struct bytes before, struct bytes leaf);

/* Reads `packed` some leaves at a time, so that they are still in the processor's cache when they are worked on. */
struct leaf_unpacker {
    const uint8_t *at, *end;
    size_t before; /* the size of the last leaf, with which `plain` ends */
};
struct leaf_unpacker leaf_unpack_start(struct bytes packed);
/* The next `count` leaves, in `plain`, whose limit bounds what they and the one before take; `leaves` are views into
 * it until the next call. The first call needs an empty one, the others what this left in it. ERR_TOO_LARGE: above
 * that limit; ERR_TRUNCATED, ERR_MALFORMED, ERR_NOMEM: nothing more can be read. */
enum err leaf_unpack_next(struct leaf_unpacker *u, struct buffer *plain, struct bytes *leaves, uint32_t count);
enum err leaf_unpack_done(const struct leaf_unpacker *u); /* ERR_TRAILING: something is left */

/* All three: `count` leaves, and nothing else. */
enum err leaf_unpack(struct buffer *plain, struct bytes *leaves, uint32_t count, struct bytes packed);

#endif
