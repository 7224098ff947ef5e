/* What consensus keeps or carries besides blocks: rows of checkpoints, entries with
 * their leader's signature, statements of commit. What decodes comes back byte for byte. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "consensus/entry.h"
#include "consensus/witness_rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void checkpoint_row(struct bytes in)
{
    struct witnessed kept;
    struct buffer out = {0};
    if (witnessed_decode(&kept, in) == OK) {
        witnessed_encode(&out, &kept);
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    }
    buffer_free(&kept.note);
    buffer_free(&out);
}

static void statement(struct bytes in)
{
    struct block_place place = {.term = 1};
    struct signature signature;
    struct buffer out = {0};
    if (statement_open(&place, &signature, in) != OK) return;
    pack_array(&out, 3);
    pack_uint(&out, place.index);
    pack_digest(&out, &place.hash);
    pack_bin(&out, signature.bytes, sizeof signature.bytes);
    CHECK(bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
}

static void entry(struct bytes in)
{
    struct entry e;
    struct block block;
    if (entry_open(&e, in) != OK) return;
    CHECK(e.block.size + ENTRY_HEAD == in.size && e.block.data + e.block.size == in.data + in.size);
    if (block_decode(&block, e.block) == OK) block_free(&block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    switch (data[0] % 3) {
    case 0: checkpoint_row(in); break;
    case 1: statement(in); break;
    case 2: entry(in); break;
    }
    return 0;
}
