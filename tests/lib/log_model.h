/* A model of storage/log.h: the same operations on plain arrays, with the state
 * after each one kept, so that a test can ask which of them a reopened log shows. */
#ifndef TESTS_LIB_LOG_MODEL_H
#define TESTS_LIB_LOG_MODEL_H

#include <stdbool.h>

#include "storage/log.h"

#define MODEL_BLOCKS 256 /* at most at once */
#define MODEL_STEPS 2048

struct model_state {
    uint64_t base, base_term, count;
    struct model_block {
        uint64_t term, content; /* the number that its payload is made from */
    } blocks[MODEL_BLOCKS];
    uint64_t term, vote;
    struct log_cosigned cosigned;
};

struct model {
    struct log *log;
    struct model_state *steps; /* after each staged operation */
    size_t count;              /* the last one is steps[count - 1] */
    size_t durable;            /* steps up to this index were acknowledged */
    uint64_t seed, next_content;
    size_t largest; /* of payloads */
};

extern const struct seal_key model_key;
/* Options with the model's key and name and small segments. */
struct log_options model_options(const char *folder, const struct disk *disk);

void model_start(struct model *m, struct log *log, uint64_t seed);
void model_free(struct model *m); /* not the log */

/* One operation, chosen at random; `sync` of them are log_sync. The first error. */
enum err model_step(struct model *m);
enum err model_append(struct model *m, size_t count);
enum err model_vote(struct model *m);
enum err model_cosign(struct model *m);
enum err model_truncate(struct model *m);
enum err model_compact(struct model *m, uint64_t index);
enum err model_sync(struct model *m);

/* The payload of a block; the caller frees. */
struct buffer model_payload(const struct model *m, uint64_t content);
/* Whether block `index` of the log is this one; ERR_CORRUPT: damaged. */
enum err model_compare(struct log *log, const struct model *m, const struct model_state *s, uint64_t index);
/* Whether blocks and compaction are those of `s`, and all blocks open. */
bool model_blocks_equal(struct log *log, const struct model *m, const struct model_state *s);
/* Whether the log shows a state between the last acknowledged step and the last
 * one: blocks of one such step, term, vote and mark of one. */
bool model_explains(const struct model *m, struct log *log, size_t durable, size_t issued);
/* Forgets all steps but the last. */
void model_adopt_last(struct model *m);
/* Takes the state that the log shows now as the only one. */
void model_adopt(struct model *m, struct log *log);

#endif
