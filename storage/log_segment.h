/* Segment files: creating them ahead, loading, removing. Used by the log's owner
 * thread; the reference count is guarded by the log's lock. */
#ifndef STORAGE_LOG_SEGMENT_H
#define STORAGE_LOG_SEGMENT_H

#include "storage/files.h"
#include "storage/log_format.h"

#define LOG_FILE_NAME 16 /* "0000002a.seg" */

/* What segment files of one log share. */
struct log_folder {
    char *path;
    char *name; /* of the log */
    const struct disk *disk;
    const struct seal_key *key;
    uint32_t segment_size; /* of new ones */
    struct id log_id;
};

struct log_segment {
    uint32_t sequence, size;
    uint64_t tag;
    int file;        /* -1: missing, or headers unreadable */
    bool exists;     /* a file of that name is there */
    bool whole;      /* has its full size, so that it can be used again */
    uint32_t cut;    /* while opening: a torn tail begins here; 0: none */
    uint32_t live;   /* places in it that the view points to */
    unsigned users;  /* the log, and reads under way */
};

void log_file_name(char out[static LOG_FILE_NAME], uint32_t sequence);
/* Sequence numbers of the segment files in the folder, sorted; the caller frees
 * `out`. Removes temporary files unless `read_only`. */
enum err log_folder_list(uint32_t **out, size_t *count, const struct log_folder *f, bool read_only,
                         struct failure *failure);

/* Opens the file and reads its header. OK also when it is missing or has no readable
 * header: `file` is -1 then. ERR_DECRYPT: made with another key or name; ERR_VERSION.
 * The first good header sets the log's id where it is zero; one of another log counts
 * as unreadable. */
enum err log_segment_open(struct log_segment **out, struct log_folder *f, uint32_t sequence,
                          bool read_only, struct failure *failure);
/* The whole segment into `data` (size bytes). What cannot be read (the file is
 * shorter, or the device refuses) becomes 0xee: damage, never an end. */
void log_segment_load(uint8_t *data, struct log_segment *s, const struct log_folder *f);
/* Gives up one use; the last one closes the file. */
void log_segment_release(struct log_segment *s, const struct log_folder *f);

/* A segment in preparation: zeros written and synced piece by piece. */
struct log_preparation {
    int file; /* -1: not begun */
    uint32_t done;
    bool spare; /* "spare.tmp", a removed segment, is there to be written over */
};
/* A step, LOG_PREPARE_STEP bytes. The last one names the file and fills `out`, else
 * it stays NULL. Not after an error: the preparation begins anew then. */
#define LOG_PREPARE_STEP (1 * MIB)
enum err log_prepare_step(struct log_segment **out, struct log_preparation *p, const struct log_folder *f,
                          uint32_t sequence);
void log_prepare_abandon(struct log_preparation *p, const struct log_folder *f);
/* Removes a segment's file, or keeps it as the spare if it is `unused` by readers;
 * the folder is synced by the caller, before the next step of preparation. */
enum err log_segment_remove(struct log_segment *s, bool unused, struct log_preparation *p,
                            const struct log_folder *f);

#endif
