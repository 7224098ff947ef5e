#include "net/protocol_evidence.h"

#include "base/check.h"
#include "base/pack.h"

void message_evidence_ok_encode(struct buffer *out, const struct message_evidence_ok *m)
{
    CHECK(m->count <= LIMIT_EVIDENCE);
    pack_array(out, 1);
    pack_array(out, m->count);
    for (uint32_t i = 0; i < m->count; i++)
        pack_bytes(out, m->items[i]);
}

enum err message_evidence_ok_decode(struct message_evidence_ok *m, struct bytes *items, size_t capacity,
                                    struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->count = unpack_array(&u, capacity < LIMIT_EVIDENCE ? (uint32_t)capacity : LIMIT_EVIDENCE);
    m->items = items;
    for (uint32_t i = 0; i < m->count && u.error == OK; i++)
        items[i] = unpack_bin(&u, LIMIT_NOTE);
    return unpack_done(&u);
}
