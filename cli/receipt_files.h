/* Where --receipt keeps the proofs of what a command records.
 *
 * FILE: the proof of the newest entry. When a further entry comes, what FILE holds is
 * moved to FILE.ENTRY first, so that each entry has its proof and FILE is the last one's.
 * FOLDER (it is one, or the path ends with a slash: it is made): FOLDER/ENTRY.tlog-proof.
 * Nothing is ever written over, and nothing is held in memory. A device or pipe gets
 * one proof after the other. */
#ifndef CLI_RECEIPT_FILES_H
#define CLI_RECEIPT_FILES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

#define RECEIPT_SUFFIX ".tlog-proof" /* of the files in a folder */

enum receipt_place { RECEIPT_NOWHERE, RECEIPT_FILE, RECEIPT_FOLDER, RECEIPT_SPECIAL };

/* Zero: nothing is kept. */
struct receipt_files {
    enum receipt_place place;
    const char *path; /* the caller's */
    pthread_mutex_t lock; /* guards what follows */
    bool made;        /* the folder is this run's */
    bool there;       /* FILE is this run's, and of the entry `newest` */
    uint64_t newest, kept;
    bool unsynced, failed;
};

/* `path` may be NULL. Tries that files can be made there, before anything is recorded:
 * ERR_EXISTS, ERR_USAGE (no path at all), or why not. */
enum err receipt_files_open(struct receipt_files *r, const char *path, struct failure *failure);
/* A further entry is about to be made: FILE is no longer the last one's, whatever becomes of it. */
enum err receipt_files_next(struct receipt_files *r, struct failure *failure);
/* Any thread. The entry stands, whatever this results in. */
enum err receipt_files_keep(struct receipt_files *r, uint64_t index, struct bytes receipt, struct failure *failure);
/* All of it is on the disk then. A folder that was made for nothing is removed. */
enum err receipt_files_close(struct receipt_files *r, struct failure *failure);

/* FOLDER/ENTRY.tlog-proof; allocated. */
char *receipt_path(const char *folder, uint64_t index);

#endif
