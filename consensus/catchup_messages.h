/* The messages of catching up (consensus/peer_messages.h has their layouts), each
 * with its encoder and decoder. Decoders: OK or the errors of base/pack.h; what
 * they find are views into `in`. Pure. */
#ifndef CONSENSUS_CATCHUP_MESSAGES_H
#define CONSENSUS_CATCHUP_MESSAGES_H

#include "base/bytes.h"
#include "base/limits.h"
#include "ledger/tree.h"

/* What the Raft core carries for a snapshot: [size, root, note]. */
struct offer {
    uint64_t size;
    struct digest root;
    struct bytes note;
};
void offer_encode(struct buffer *out, const struct offer *offer);
enum err offer_decode(struct offer *out, struct bytes in);

struct manifest_ask {
    uint64_t size, raft_index, raft_term; /* size 0: the newest */
};
void manifest_ask_encode(struct buffer *out, const struct manifest_ask *ask);
enum err manifest_ask_decode(struct manifest_ask *out, struct bytes in);

struct manifest {
    uint64_t raft_index, raft_term, size; /* raft_index 0: not known; size 0: nothing */
    struct digest root;
    struct bytes note; /* empty: this node has none of that size */
};
void manifest_encode(struct buffer *out, const struct manifest *manifest);
enum err manifest_decode(struct manifest *out, struct bytes in);

struct pull {
    uint64_t from, to; /* 0 < from < to */
};
void pull_encode(struct buffer *out, const struct pull *pull);
enum err pull_decode(struct pull *out, struct bytes in);

struct pulled {
    uint64_t from, to;
    struct digest base; /* root of the first `from` leaves */
    struct tree_proof base_proof;
    uint32_t count; /* at least 1 */
    struct bytes leaves[LIMIT_PULL_LEAVES];
    struct tree_proof end_proof;
};
/* `leaves`: the packed leaves (pulled_add_leaf), `count` of them; the struct's own aren't looked at. */
void pulled_encode(struct buffer *out, const struct pulled *pulled, struct bytes leaves);
void pulled_add_leaf(struct buffer *leaves, struct bytes leaf);
enum err pulled_decode(struct pulled *out, struct bytes in);

struct attachments_ask {
    uint32_t count; /* at least 1 */
    uint64_t indexes[LIMIT_PULL_ATTACHMENTS]; /* ascending */
};
void attachments_ask_encode(struct buffer *out, const struct attachments_ask *ask);
enum err attachments_ask_decode(struct attachments_ask *out, struct bytes in);

enum attachment_state { ATTACHMENT_HERE = 0, ATTACHMENT_ERASED = 1, ATTACHMENT_NOT_YET = 2 };
struct attached {
    uint32_t count; /* at least 1: of the first so many asked for */
    enum attachment_state states[LIMIT_PULL_ATTACHMENTS];
    struct bytes attachments[LIMIT_PULL_ATTACHMENTS]; /* empty but for ATTACHMENT_HERE */
};
/* `items`: the packed items (attached_add), `count` of them. */
void attached_encode(struct buffer *out, uint32_t count, struct bytes items);
void attached_add(struct buffer *items, enum attachment_state state, struct bytes attachment);
enum err attached_decode(struct attached *out, struct bytes in);

struct refusal {
    enum err code;
    struct bytes text;
};
void refusal_encode(struct buffer *out, enum err code);
enum err refusal_decode(struct refusal *out, struct bytes in);

#endif
