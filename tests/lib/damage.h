/* Damage of any kind, at random places, to the files of a node that stands still: in its log and in its state. What is
 * random is drawn from the cluster's seed (chaos_below), so that SEED does the same again to the same files.
 *
 * Pages go back to what they were in copies that the test makes: the files old-data.mdb and old-*.seg in the cluster's
 * folder, and, where those are no older, in its folder `first` (damage_keep_old). Sizes and offsets are bytes. What
 * can't be read or written ends the test (testbed_fail).
 */
#ifndef TESTS_LIB_DAMAGE_H
#define TESTS_LIB_DAMAGE_H

#include "tests/lib/chaos.h"

enum damage_kind { DAMAGE_FLIP, DAMAGE_STALE, DAMAGE_LOSE, DAMAGE_ZERO, DAMAGE_CUT, DAMAGE_KINDS };
extern const char *const damage_names[DAMAGE_KINDS];

struct damage {
    struct chaos *chaos; /* the cluster, which outlives this */
    enum damage_kind turn[DAMAGE_KINDS]; /* the kinds, in an order of this run */
    unsigned made[2][DAMAGE_KINDS], unmade[2][DAMAGE_KINDS]; /* by file: of the state, of the log */
};

struct victim {
    char path[400], old[400]; /* the file, and a copy from before its last writes */
    bool log;
    off_t size, used; /* up to the last byte that is not zero */
};

void damage_open(struct damage *d, struct chaos *chaos); /* draws the order of kinds */
/* The node's files as they are now become the copies in the folder `to`. */
void damage_keep_old(struct damage *d, const char *node, const char *to);
/* A segment of the log in the node's folder that holds something (the last one is the likeliest), or the state's
 * file. */
void damage_choose(struct damage *d, struct victim *v, const char *node, bool log);
/* One of these files, at a place where this kind can be made, which it prints. Where there is none, that is said, and
 * counted: false. */
bool damage_make(struct damage *d, struct victim *v, const char *node, bool log, enum damage_kind kind);
/* All of a file. The buffer is the caller's. */
struct buffer damage_load(const struct testbed *bed, const char *path);

#endif
