/* Decode a client message's body and encode it again, as tests/lib/recode.h does. */
#ifndef TESTS_LIB_RECODE_MESSAGES_H
#define TESTS_LIB_RECODE_MESSAGES_H

#include <stdlib.h>

#include "base/check.h"
#include "net/protocol.h"
#include "net/protocol_evidence.h"

/* Bodies that need nothing but the struct. */
#define RECODE_PLAIN(X)                                                                            \
    X(MESSAGE_HELLO, hello)                                                                        \
    X(MESSAGE_WELCOME, welcome)                                                                    \
    X(MESSAGE_SUBMIT, submit)                                                                      \
    X(MESSAGE_APPLIED, applied)                                                                    \
    X(MESSAGE_FAILED, failed)                                                                      \
    X(MESSAGE_LOOKUP, lookup)                                                                      \
    X(MESSAGE_FOUND, found)                                                                        \
    X(MESSAGE_PROVE, prove)                                                                        \
    X(MESSAGE_CONTENT, opening)                                                                    \
    X(MESSAGE_SHARED, shared)                                                                      \
    X(MESSAGE_STATUS_OK, status_ok)                                                                \
    X(MESSAGE_NOTE, note)                                                                          \
    X(MESSAGE_KEYS, keys)                                                                          \
    X(MESSAGE_KEY, key)                                                                            \
    X(MESSAGE_LEAVES, leaves)                                                                      \
    X(MESSAGE_LEAVES_OK, leaves_ok)                                                                \
    X(MESSAGE_CONSISTENCY, consistency)                                                            \
    X(MESSAGE_CONSISTENT, consistent)                                                              \
    X(MESSAGE_PROVE_ROWS, prove_rows)                                                              \
    X(MESSAGE_STORED, stored)                                                                      \
    X(MESSAGE_ADMIT, admit)                                                                        \
    X(MESSAGE_TILE, tile)                                                                          \
    X(MESSAGE_TILE_OK, tile_ok)                                                                    \
    X(MESSAGE_DIGESTS, digests)                                                                    \
    X(MESSAGE_DIGESTS_OK, digests_ok)                                                              \
    X(MESSAGE_FOLLOW, follow)                                                                      \
    X(MESSAGE_ROWS, rows)

#define X(type, name)                                                                              \
    static inline enum err recode_##name(struct buffer *out, struct bytes in)                      \
    {                                                                                              \
        struct message_##name *m = xcalloc(1, sizeof *m);                                          \
        enum err e = message_##name##_decode(m, in);                                               \
        if (e == OK) message_##name##_encode(out, m);                                              \
        free(m);                                                                                   \
        return e;                                                                                  \
    }
RECODE_PLAIN(X)
#undef X

static inline enum err recode_empty(struct buffer *out, struct bytes in)
{
    enum err e = message_empty_decode(in);
    if (e == OK) message_empty_encode(out);
    return e;
}

/* Bodies with a list whose room the caller brings: as much as is always enough, or `places`. */
#define RECODE_LISTED(function, message, item, room)                                               \
    static inline enum err recode_##function##_within(struct buffer *out, struct bytes in, size_t places) \
    {                                                                                              \
        struct message *m = xcalloc(1, sizeof *m);                                                 \
        item *items = xcalloc(places, sizeof *items);                                              \
        enum err e = function##_decode(m, items, places, in);                                      \
        if (e == OK) function##_encode(out, m);                                                    \
        free(items);                                                                               \
        free(m);                                                                                   \
        return e;                                                                                  \
    }                                                                                              \
    static inline enum err recode_##function(struct buffer *out, struct bytes in)                  \
    {                                                                                              \
        return recode_##function##_within(out, in, room);                                          \
    }
RECODE_LISTED(message_cosigned, message_cosigned, struct digest, LIMIT_PROOFS)
RECODE_LISTED(message_contents, message_contents, struct message_item, LIMIT_OPENED)
RECODE_LISTED(message_stored_ok, message_stored_ok, struct stored_hash, LIMIT_STORED)
RECODE_LISTED(message_evidence_ok, message_evidence_ok, struct bytes, LIMIT_EVIDENCE)
RECODE_LISTED(share_box, share_box, struct share_item, LIMIT_OPENED)
#undef RECODE_LISTED

#define RECODE_SHARE_BOX 100 /* no message of its own: what is sealed in a SHARED */

/* ERR_UNKNOWN_TYPE: no such type. */
static inline enum err recode_message(struct buffer *out, uint32_t type, struct bytes in)
{
    switch (type) {
#define X(number, name)                                                                            \
    case number: return recode_##name(out, in);
        RECODE_PLAIN(X)
#undef X
    case MESSAGE_ADMITTED:
    case MESSAGE_STATUS:
    case MESSAGE_CHECKPOINT: return recode_empty(out, in);
    case MESSAGE_EVIDENCE: return recode_empty(out, in);
    case MESSAGE_EVIDENCE_OK: return recode_message_evidence_ok(out, in);
    case MESSAGE_COSIGNED: return recode_message_cosigned(out, in);
    case MESSAGE_CONTENTS: return recode_message_contents(out, in);
    case MESSAGE_STORED_OK: return recode_message_stored_ok(out, in);
    case MESSAGE_SHARES: return recode_opening(out, in);
    case RECODE_SHARE_BOX: return recode_share_box(out, in);
    }
    return ERR_UNKNOWN_TYPE;
}

/* With room for so many items alone; ERR_UNKNOWN_TYPE: not such a list. */
static inline enum err recode_message_within(struct buffer *out, uint32_t type, struct bytes in, size_t places)
{
    switch (type) {
    case MESSAGE_EVIDENCE_OK: return recode_message_evidence_ok_within(out, in, places);
    case MESSAGE_COSIGNED: return recode_message_cosigned_within(out, in, places);
    case MESSAGE_CONTENTS: return recode_message_contents_within(out, in, places);
    case MESSAGE_STORED_OK: return recode_message_stored_ok_within(out, in, places);
    case RECODE_SHARE_BOX: return recode_share_box_within(out, in, places);
    }
    return ERR_UNKNOWN_TYPE;
}

#endif
