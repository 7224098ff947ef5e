/* Closed logs in memory, to be spoiled, put back and opened again. */
#ifndef TESTS_UNIT_STORAGE_BED_LOG_DAMAGE_H
#define TESTS_UNIT_STORAGE_BED_LOG_DAMAGE_H

#include "storage/log_format.h"
#include "tests/lib/folder.h"
#include "tests/lib/log_model.h"
#include "tests/lib/unit.h"

#define SEGMENTS 16

/* A closed log, in memory. */
struct sample {
    struct model model;
    const struct model_state *truth;
    size_t count;
    char names[SEGMENTS][32];
    struct buffer files[SEGMENTS];
    uint32_t used[SEGMENTS]; /* where their records end */
    bool may_cut;            /* the change was behind the last record */
};

extern char folder[FOLDER_PATH]; /* the log's */

struct log *open_log(void);
void load_files(struct sample *s);
void clear_folder(void);
/* The sample's files, but for those that are NULLed out by `without`. */
void put_files(const struct sample *s, int without);
struct sample make_sample(uint64_t seed, int steps, size_t largest);
/* One of several segments, with truncations, and a compaction early on. */
struct sample make_long_sample(uint64_t seed);
void free_sample(struct sample *s);
bool named_damaged(struct log *log, uint64_t index);
bool block_right(struct log *log, const struct sample *s, uint64_t index);
/* Says what is wrong, or NULL. */
const char *wrong(struct log *log, const struct sample *s);
void expect_right(const struct sample *s, const char *what, size_t file, size_t at);

/* Before and after each test; before all of a program. */
int bed_open(void **state);
int bed_close(void **state);
void bed_begin(void);

#endif
