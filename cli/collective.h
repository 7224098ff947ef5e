/* The collective key of records, taken only from an activation leaf that k
 * genesis members co-signed; else one node could hand out a key of its own and
 * read all new records. Cached, as the proof itself, and checked again when read. */
#ifndef CLI_COLLECTIVE_H
#define CLI_COLLECTIVE_H

#include <stdint.h>

#include "base/error.h"
#include "base/limits.h"
#include "cli/cluster.h"
#include "crypto/group.h"

struct collective {
    uint64_t epoch;      /* 1: genesis members */
    uint64_t activation; /* leaf index */
    uint32_t n;
    struct point key;                       /* Y */
    struct point verification[LIMIT_NODES]; /* of member i at i - 1 */
};

/* From the cache, else from a node. ERR_NOT_READY: no key yet. Proof errors: exit 6. */
enum err collective_get(struct collective *out, struct cluster *cluster, struct failure *failure);
/* Checks the body of a KEY message; pure. */
enum err collective_check(struct collective *out, const struct genesis *genesis, struct bytes key_body,
                          struct failure *failure);

#endif
