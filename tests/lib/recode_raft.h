/* Decode a Raft message, then encode it again (tests/lib/recode.h says why). */
#ifndef TESTS_LIB_RECODE_RAFT_H
#define TESTS_LIB_RECODE_RAFT_H

#include "base/check.h"
#include "consensus/raft.h"

static inline enum err recode_raft(struct buffer *out, struct bytes in)
{
    struct raft_message m;
    enum err e = raft_message_decode(&m, in);
    if (e == OK) raft_message_encode(out, &m);
    raft_message_clear(&m);
    CHECK(!m.entries && !m.manifest);
    return e;
}

#endif
