/* Decode a Raft message, then encode it again (tests/lib/recode.h says why), in the newest version and in the first. */
#ifndef TESTS_LIB_RECODE_RAFT_H
#define TESTS_LIB_RECODE_RAFT_H

#include "base/check.h"
#include "consensus/peer_messages.h"
#include "consensus/raft.h"

static inline enum err recode_raft_as(struct buffer *out, struct bytes in, unsigned version)
{
    struct raft_message m;
    enum err e = raft_message_decode(&m, in, version);
    if (e == OK) raft_message_encode(out, NULL, &m, version);
    raft_message_clear(&m);
    CHECK(!m.entries && !m.manifest);
    return e;
}

static inline enum err recode_raft(struct buffer *out, struct bytes in)
{
    return recode_raft_as(out, in, PEER_VERSION);
}

static inline enum err recode_raft_1(struct buffer *out, struct bytes in) { return recode_raft_as(out, in, 1); }

#endif
