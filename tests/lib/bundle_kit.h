/* A ledger to export: real entries, chained, behind a genesis that is too long for a bundle; and its exports as
 * folders, with a checkpoint that nodes co-signed. What fails here ends the test (CHECK). */
#ifndef TESTS_LIB_BUNDLE_KIT_H
#define TESTS_LIB_BUNDLE_KIT_H

#include "cli/export.h"
#include "ledger/tree.h"
#include "tests/lib/ledger_kit.h"

#define BUNDLE_KIT_MOST 556u   /* two whole tiles and a part of one */
#define BUNDLE_KIT_LONG 70000u /* bytes of the genesis */

struct bundle_kit {
    struct kit *kit;
    uint32_t count;
    struct buffer leaves[BUNDLE_KIT_MOST];
    struct bytes views[BUNDLE_KIT_MOST]; /* of them */
    struct digest hashes[BUNDLE_KIT_MOST];
    struct tree_row rows[BUNDLE_KIT_MOST];
};

/* An entry, 0 for none: that does not follow the one before; that says another time, all behind being chained to it. */
struct bundle_flaws {
    uint32_t unchained, altered;
};
/* The kit's leaf 1 over and over, so it has one. Zero-initialised or made before; the kit outlives it. */
void bundle_kit_make(struct bundle_kit *b, struct kit *kit, uint32_t count, struct bundle_flaws flaws);
void bundle_kit_free(struct bundle_kit *b);

/* Entries [from, to) of the first `size`, in whole tiles, into a folder that is there, with the cosignatures of the
 * first `signers` members. */
void bundle_kit_export(const struct bundle_kit *b, const char *folder, uint32_t size, uint32_t from, uint32_t to,
                       uint32_t signers);

#endif
