/* The message about evidence (net/protocol.h has its place among the others). The same promises. */
#ifndef NET_PROTOCOL_EVIDENCE_H
#define NET_PROTOCOL_EVIDENCE_H

#include "base/bytes.h"
#include "base/limits.h"

/* EVIDENCE asks with the empty array. */
struct message_evidence_ok {
    uint32_t count; /* 0 .. LIMIT_EVIDENCE */
    const struct bytes *items; /* encoded, ledger/evidence.h; at most LIMIT_NOTE each */
};
void message_evidence_ok_encode(struct buffer *out, const struct message_evidence_ok *m);
enum err message_evidence_ok_decode(struct message_evidence_ok *m, struct bytes *items, size_t capacity,
                                    struct bytes body);

#endif
