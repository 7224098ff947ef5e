/* Do the nodes store what the ledger says? A leaf holds the hash of its attachment
 * (a record's ciphertext, a note, a person); the attachment itself lies beside it,
 * so a ledger may be right and what it stands for altered or gone.
 *
 * Each node hashes what it stores, as it reads it now, and tells a sum of the hashes;
 * it is compared with that of the leaves of a replayed ledger. All nodes go over the
 * ledger side by side in blocks of CONTENT_BLOCK leaves, so memory is bounded. Where a
 * block's sums don't fit, all nodes list its hashes, so what one node lacks and another
 * has is noticed. What no node has was erased, or is not judged.
 * This finds what a disk or an administrator altered behind a node's back. A node that lies
 * about its hashes is found when a record is opened.
 *
 * Decided over cli/ledger_source.h, so without a network. */
#ifndef CLI_AUDIT_CONTENT_H
#define CLI_AUDIT_CONTENT_H

#include "cli/audit.h"

#define CONTENT_BLOCK 2048

/* One node of those that are gone through. Zero but for the first two. */
struct content_node {
    const struct ledger_source *source;
    struct audit *audit; /* only one that is AUDIT_FINE is looked at; turned into AUDIT_CONTENT; AUDIT_SILENT when it
                          * can't be reached or is busy, AUDIT_REFUSED when it answers, but not with what it stores */
    uint64_t compared;   /* attachments that are right */
    struct content_hashes {
        uint32_t count;
        struct stored_hash items[CONTENT_BLOCK];
    } *block;
};

/* Up to known->reference.size leaves of `v`. An error is this machine's. */
enum err audit_contents(struct content_node *nodes, uint32_t count, struct verifier *v, const struct audit_known *known,
                        struct failure *failure);

#endif
