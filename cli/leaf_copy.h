/* A private copy of leaves in a scratch file, in the order of their indexes: to be
 * compared with other nodes' leaves, and to compute roots of earlier sizes.
 *
 * The file holds chunks, each sealed as a whole (AES-256-GCM, a random key that is
 * only in memory). Any thread writes chunks; one thread says which of them come
 * next, and reads. */
#ifndef CLI_LEAF_COPY_H
#define CLI_LEAF_COPY_H

#include "base/bytes.h"
#include "base/error.h"
#include "ledger/tree.h"

#define LEAF_CHUNK_BYTES (1 * MIB) /* a chunk of more than one leaf has at most that */

/* Leaves in the form of a chunk: size(4) and bytes of each. */
void leaf_chunk_append(struct buffer *chunk, struct bytes leaf);
/* The leaf at *at, which is moved behind it; false at the end. */
bool leaf_chunk_next(struct bytes *leaf, struct bytes chunk, size_t *at);

struct leaf_copy;
/* ERR_IO: the scratch file can't be made. */
enum err leaf_copy_open(struct leaf_copy **out, struct failure *failure);
void leaf_copy_close(struct leaf_copy *c); /* NULL is nothing */

/* Where a chunk lies. */
struct leaf_place {
    uint64_t at;
    uint32_t size; /* plain */
};
/* Seals and writes. `room` is the caller's, for the sealed bytes. ERR_FULL, ERR_IO, ERR_NOMEM. Any thread. */
enum err leaf_copy_write(struct leaf_copy *c, struct leaf_place *out, struct buffer *room, struct bytes chunk);

/* The next `count` leaves are in that chunk; `tree` is of those before it. */
void leaf_copy_add(struct leaf_copy *c, const struct leaf_place *place, uint32_t count, const struct tree *tree);
/* A view until the next call. index < leaves added. ERR_IO, ERR_CORRUPT: the file was changed, ERR_NOMEM. */
enum err leaf_copy_get(struct bytes *out, struct leaf_copy *c, uint64_t index);
/* Of the first `size` leaves; at most those added. Errors as above. */
enum err leaf_copy_root(struct digest *out, struct leaf_copy *c, uint64_t size);

#endif
