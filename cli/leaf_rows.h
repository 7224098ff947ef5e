/* What a verification keeps of leaves: of each its hash and that of its attachment,
 * in a scratch file, 64 bytes a leaf. To be compared with other nodes' leaves, and to
 * compute roots of earlier sizes. Any thread writes; one thread says what is there,
 * and reads. */
#ifndef CLI_LEAF_ROWS_H
#define CLI_LEAF_ROWS_H

#include "base/bytes.h"
#include "base/error.h"
#include "ledger/tree.h"

struct leaf_row {
    struct digest leaf, attachment; /* attachment: all zero where none is kept */
};

struct leaf_rows;
/* ERR_IO: the scratch file can't be made. */
enum err leaf_rows_open(struct leaf_rows **out, struct failure *failure);
void leaf_rows_close(struct leaf_rows *l); /* NULL is nothing */

/* Those of leaves `first` and on. ERR_FULL, ERR_IO. Any thread. */
enum err leaf_rows_write(struct leaf_rows *l, uint64_t first, const struct leaf_row *rows, uint32_t count);

/* The next `count` leaves' rows are written; `tree` is of those before them. */
void leaf_rows_add(struct leaf_rows *l, uint32_t count, const struct tree *tree);
/* index < leaves added. ERR_IO; ERR_TRUNCATED: somebody changed the file. */
enum err leaf_rows_get(struct leaf_row *out, struct leaf_rows *l, uint64_t index);
/* Of the first `size` leaves; at most those added. Errors as above. */
enum err leaf_rows_root(struct digest *out, struct leaf_rows *l, uint64_t size);

#endif
