/* An exported part of the ledger as a folder that proves itself: the layout of C2SP tlog-tiles.
 *
 *   range                          "entries 256 to 511" in a line for each part that was exported; by nobody signed
 *   checkpoint                     what k nodes co-signed; written last, so that a folder without it is unfinished
 *   tile/<L>/<N>[.p/<W>]           the hashes that lead from its entries to the checkpoint's root
 *   tile/entries/<N>[.p/<W>]       the entries, 256 a file (ledger/tile.h)
 *   large/<index>                  an entry that is too long for a bundle
 *
 * Only whole tiles: the first and the last entry are rounded outward. */
#ifndef CLI_EXPORT_BUNDLE_H
#define CLI_EXPORT_BUNDLE_H

#include "cli/export.h"

struct bundle_writer {
    const char *folder;
    struct export *export;
    uint64_t written, found; /* entries: written now, and found there from before */
    uint64_t bytes;
    struct buffer file, path; /* being made */
};
/* The folder is new, empty, or holds an export of this cluster that may be unfinished: ERR_EXISTS.
 * bundle_writer_free in every case. */
enum err bundle_writer_open(struct bundle_writer *w, struct export *x, const char *folder,
                            const struct genesis *genesis, struct failure *failure);
struct export_sink bundle_writer_sink(struct bundle_writer *w);
/* The tiles above, and at the end the checkpoint, when all else is on the disk. */
enum err bundle_writer_finish(struct bundle_writer *w, struct failure *failure);
void bundle_writer_free(struct bundle_writer *w);

#define BUNDLE_RANGES 64 /* that a folder states */
struct bundle_range { uint64_t from, to; }; /* both of them in it */

/* What a folder proves. */
struct bundle_report {
    uint32_t range_count; /* 0: the folder doesn't say what was exported, as older ones don't */
    struct bundle_range ranges[BUNDLE_RANGES + 1]; /* the last for what is asked beside */
    struct checkpoint checkpoint;
    uint64_t entries;      /* checked */
    uint64_t first, last;  /* of them */
    uint64_t gaps;         /* between them: entries that the folder doesn't hold */
    uint64_t tile_count, tiles_done; /* progress */
};
/* Offline. All of the ranges that the folder states, and of `asked` (may be NULL), has to be there; where neither says
 * anything, no entry between others may be missing. ERR_CHECKPOINT, ERR_ROOT (an entry or a hash is not what was
 * co-signed, or is missing), ERR_CHAIN, with a text that names file and entry. */
enum err bundle_verify(struct bundle_report *out, const char *folder, const struct genesis *genesis,
                       const struct bundle_range *asked,
                       void (*progress)(void *data, const struct bundle_report *report), void *data,
                       struct failure *failure);

#endif
