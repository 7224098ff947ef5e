/* From the images of segments to the view: finds records and holes, decides what
 * is a torn tail and what is damage. Memory in, memory out; no files. */
#ifndef STORAGE_LOG_REPLAY_H
#define STORAGE_LOG_REPLAY_H

#include "storage/log_view.h"

struct log_item {
    enum log_item_kind {
        ITEM_RECORD, /* header and checksum are good */
        ITEM_BAD,    /* the header is good, the payload's checksum is not */
        ITEM_HOLE,   /* up to the next good header, or the last byte that is not zero */
    } kind;
    struct log_header header; /* not of ITEM_HOLE */
    uint32_t offset, span;
    bool written; /* of ITEM_BAD and ITEM_HOLE: no piece of it (of its header) is all zeros */
};

/* Walks over one segment's image. */
struct log_scanner {
    const uint8_t *image;
    uint32_t size, at, used; /* `used`: everything from there on is zero */
    uint64_t tag, batch;
};
struct log_scanner log_scanner_start(const uint8_t *image, uint32_t size, uint64_t tag);
/* False at the end of what was written; `at` is then where it ends. */
bool log_scanner_next(struct log_scanner *s, struct log_item *item);

struct log_image {
    uint32_t sequence;
    uint8_t *data; /* NULL: the segment is missing or its headers are unreadable; changed by the replay */
    uint32_t size;
    uint64_t tag;
};

struct log_replay {
    struct log_view *view;
    const struct log_cipher *cipher;
    /* The start of the last batch of which a header is left: found by log_replay_probe. */
    uint32_t last_segment, last_start; /* 0: none found */
    uint64_t last_batch;
    /* Results of the last log_replay_segment. */
    uint32_t end;  /* where its records end: the next one's place */
    bool cut;      /* everything from `end` on is a torn tail and has to be zeroed */
    bool empty;    /* nothing was ever written, or all of it is cut */
    /* Over all segments. */
    uint32_t previous_sequence; /* the last one that was not empty */
    bool cut_any;
    uint64_t damage; /* places that are unreadable, and no torn tail */
    uint64_t torn; /* bytes cut */
};

/* Looks for the last batch. Call from the last segment backwards until it returns true. */
bool log_replay_probe(struct log_replay *r, const struct log_image *image);
/* Call for every segment in order, also for missing ones (data NULL). ERR_NOMEM, ERR_FULL. */
enum err log_replay_segment(struct log_replay *r, const struct log_image *image);

#endif
