/* An exported part of the ledger as a folder that proves itself: the layout of C2SP tlog-tiles.
 *
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

/* What a folder proves. */
struct bundle_report {
    struct checkpoint checkpoint;
    uint64_t entries;      /* checked */
    uint64_t first, last;  /* of them */
    uint64_t gaps;         /* between them: entries that the folder doesn't hold */
    uint64_t tile_count, tiles_done; /* progress */
};
/* Offline. ERR_CHECKPOINT and the like, ERR_ROOT (an entry or a hash is not what was co-signed),
 * ERR_CHAIN, ERR_NOT_FOUND (a file is missing), with a text that names file and entry. */
enum err bundle_verify(struct bundle_report *out, const char *folder, const struct genesis *genesis,
                       void (*progress)(void *data, const struct bundle_report *report), void *data,
                       struct failure *failure);

#endif
