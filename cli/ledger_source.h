/* Where a verification gets a ledger from: a node (cli/ledger_node.h), or in tests
 * an array. Nothing that a source says is believed. */
#ifndef CLI_LEDGER_SOURCE_H
#define CLI_LEDGER_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "ledger/tree.h"
#include "net/protocol.h"

#define SOURCE_WAIT_MS 100

/* Views are valid until the source's next call. */
struct leaf_page {
    uint32_t count;       /* as many as asked for, or fewer */
    struct bytes *leaves; /* from the index asked for on */
    uint64_t ledger_size; /* of the source now */
};

/* What a source stores beside the leaves from .. next - 1: how many values, and message_stored_sum (net/protocol.h) of
 * their hashes; or, listed, those hashes, ascending: a view until the next call. */
struct stored_page {
    uint64_t next;
    uint32_t count;
    struct digest sum;
    const struct stored_hash *items; /* NULL unless asked for, or when count is 0 */
};

/* Each returns OK, source_silent's errors when the source doesn't answer (the
 * implementation has tried again), or what the source answers instead. */
struct ledger_source {
    const char *name;
    void *data;
    enum err (*leaves)(void *data, struct leaf_page *out, uint64_t from, uint32_t most, struct failure *failure);
    /* The newest co-signed note, appended; empty: none yet. */
    enum err (*checkpoint)(void *data, struct buffer *note, struct failure *failure);
    /* What should prove that its tree of new_size leaves begins with that of old_size. */
    enum err (*consistency)(void *data, struct tree_proof *out, uint64_t old_size, uint64_t new_size,
                            struct failure *failure);
    /* from < to. ERR_NOT_READY: not yet, though its ledger has these leaves. */
    enum err (*stored)(void *data, struct stored_page *out, uint64_t from, uint64_t to, bool listed,
                       struct failure *failure);
    /* Lets SOURCE_WAIT_MS pass before something is asked again; false: it was waited for long enough. */
    bool (*wait)(void *data, uint32_t waited_ms);
};

/* The error says that nobody answered, not what the answer was. */
bool source_silent(enum err e);

/* --- walking over leaves --- */

enum walk_end {
    WALK_DONE,
    WALK_STOPPED, /* `take` said so */
    WALK_SHORT,   /* the source's ledger ends at `at` */
    WALK_HOLE,    /* the source answers, but not with leaf `at` */
    WALK_SILENT,  /* it doesn't answer any more */
    WALK_FAILED,  /* `take` failed, on this machine */
};

struct walk {
    const struct ledger_source *source;
    uint64_t at, to; /* next leaf, and where to end */
    /* Consecutive leaves from `at` on. *stop ends the walk. */
    enum err (*take)(void *data, const struct leaf_page *page, uint64_t from, bool *stop, struct failure *failure);
    void *data;
};
/* Up to walk->to. Where a page can't be had, smaller ones are asked for, down to
 * the one leaf that can't. `failure` says why for HOLE, SILENT and FAILED. */
enum walk_end walk_leaves(struct walk *walk, struct failure *failure);

#endif
