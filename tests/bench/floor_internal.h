/* Inside the floor: what the work is done on, and its steps.
 *
 * floor.c       nodes and links from nothing to measured
 * floor_work.c  the work itself
 */
#ifndef TESTS_BENCH_FLOOR_INTERNAL_H
#define TESTS_BENCH_FLOOR_INTERNAL_H

#include "cli/shares.h"
#include "crypto/seal.h"
#include "net/frame.h"
#include "net/tls.h"
#include "storage/log.h"
#include "tests/bench/floor.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define BLOCK_REQUESTS 32  /* about what a block holds with 64 clients */
#define COMMIT_LEAVES 512  /* about what is applied in LIMIT_COMMIT_MS then */
#define RECORDS 32
#define DOCTOR 1 /* sample_id, and so on */
#define PATIENT 5
#define FRAME_FORWARD 65 /* any number will do */

struct pair { /* a connection over memory */
    struct tls_session *ends[2]; /* the client's, the server's */
    struct frame_reader readers[2];
    struct buffer wire, plain, frame;
};

struct member {
    struct kit kit;
    struct log *log;
    char folder[FOLDER_PATH];
    uint64_t committed; /* leaves */
    struct scalar share;
};

struct one { /* request */
    struct request_builder builder;
    struct buffer request, body, context; /* context: of a record */
    struct reader reader;
};

struct floor {
    enum work work;
    unsigned operations, n;
    size_t bytes;
    struct member *members;
    struct seal_key key;
    struct tls_context *server, *client;
    struct pair to_node, to_peer; /* all links are alike */
    struct kit_actor doctor;
    struct collective collective;
    struct one ones[BLOCK_REQUESTS];
    struct id records[RECORDS];
    size_t record_count;
    uint64_t index; /* of the last block */
    struct buffer block, packed;
    double us[FLOOR_PARTS], last_us;
};

/* One block of requests from making to their answers; `work` may be another than the measured one, to prepare it. */
void floor_block(struct floor *f, enum work work);

void floor_pair_open(struct pair *p, struct floor *f);
void floor_pair_close(struct pair *p);
void floor_restart(struct floor *f); /* the clock: what was done until now counts for nothing */

#endif
