/* Messages of those who check the ledger (net/protocol.h has them among the others). */
#include "net/protocol.h"

#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "crypto/hash.h"

/* --- LEAVES, CONSISTENCY, FOLLOW --- */

void message_leaves_encode(struct buffer *out, const struct message_leaves *m)
{
    CHECK(m->max >= 1 && m->max <= LIMIT_LEAVES);
    pack_array(out, 2);
    pack_uint(out, m->from);
    pack_uint(out, m->max);
}

enum err message_leaves_decode(struct message_leaves *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->from = unpack_uint(&u);
    m->max = (uint32_t)unpack_uint_max(&u, LIMIT_LEAVES);
    if (m->max == 0) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void message_leaves_ok_encode(struct buffer *out, const struct message_leaves_ok *m)
{
    CHECK(m->count <= LIMIT_LEAVES && (m->count == 0) == (m->packed.size == 0));
    pack_array(out, 4);
    pack_uint(out, m->from);
    pack_uint(out, m->count);
    pack_bytes(out, m->packed);
    pack_uint(out, m->ledger_size);
}

enum err message_leaves_ok_decode(struct message_leaves_ok *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    m->from = unpack_uint(&u);
    m->count = (uint32_t)unpack_uint_max(&u, LIMIT_LEAVES);
    m->packed = unpack_bin(&u, LIMIT_FRAME);
    m->ledger_size = unpack_uint(&u);
    if ((m->count == 0) != (m->packed.size == 0)) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void message_consistency_encode(struct buffer *out, const struct message_consistency *m)
{
    pack_array(out, 2);
    pack_uint(out, m->old_size);
    pack_uint(out, m->new_size);
}

enum err message_consistency_decode(struct message_consistency *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->old_size = unpack_uint(&u);
    m->new_size = unpack_uint(&u);
    if (m->old_size > m->new_size) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void message_consistent_encode(struct buffer *out, const struct message_consistent *m)
{
    CHECK(m->count <= LIMIT_CONSISTENCY);
    pack_array(out, 1);
    pack_digests(out, m->hashes, m->count);
}

enum err message_consistent_decode(struct message_consistent *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->count = unpack_digests(&u, m->hashes, LIMIT_CONSISTENCY);
    return unpack_done(&u);
}

void message_stored_encode(struct buffer *out, const struct message_stored *m)
{
    CHECK(m->from < m->to);
    pack_array(out, 3);
    pack_uint(out, m->from);
    pack_uint(out, m->to);
    pack_bool(out, m->listed);
}

enum err message_stored_decode(struct message_stored *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 3);
    m->from = unpack_uint(&u);
    m->to = unpack_uint(&u);
    m->listed = unpack_bool(&u);
    if (m->from >= m->to) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void message_stored_sum(struct digest *out, const struct stored_hash *items, uint32_t count)
{
    uint8_t batch[64][8 + sizeof items->hash];
    struct hash h;
    hash_start(&h);
    for (uint32_t done = 0; done < count;) {
        uint32_t n = 0;
        for (; n < sizeof batch / sizeof *batch && done < count; n++, done++) {
            put_be64(batch[n], items[done].index);
            memcpy(batch[n] + 8, &items[done].hash, sizeof items->hash);
        }
        hash_add(&h, batch, n * sizeof *batch);
    }
    hash_end(out, &h);
}

void message_stored_ok_encode(struct buffer *out, const struct message_stored_ok *m)
{
    CHECK(m->count <= LIMIT_STORED);
    pack_array(out, 4);
    pack_uint(out, m->next);
    pack_uint(out, m->count);
    pack_digest(out, &m->sum);
    pack_array(out, m->items ? m->count : 0);
    for (uint32_t i = 0; m->items && i < m->count; i++) {
        pack_array(out, 2);
        pack_uint(out, m->items[i].index);
        pack_digest(out, &m->items[i].hash);
    }
}

enum err message_stored_ok_decode(struct message_stored_ok *m, struct stored_hash *items, size_t capacity,
                                  struct bytes body)
{
    struct unpack u = unpack_start(body);
    uint64_t least = 0;
    unpack_array_of(&u, 4);
    m->next = unpack_uint(&u);
    m->count = (uint32_t)unpack_uint_max(&u, LIMIT_STORED);
    m->sum = unpack_digest(&u);
    uint32_t listed = unpack_array(&u, capacity < LIMIT_STORED ? (uint32_t)capacity : LIMIT_STORED);
    if (listed > 0 && listed != m->count) unpack_fail(&u, ERR_MALFORMED);
    m->items = listed == m->count ? items : NULL;
    for (uint32_t i = 0; i < listed && u.error == OK; i++) {
        unpack_array_of(&u, 2);
        items[i].index = unpack_uint(&u);
        items[i].hash = unpack_digest(&u);
        if (items[i].index < least || items[i].index >= m->next) unpack_fail(&u, ERR_MALFORMED);
        least = items[i].index + 1;
    }
    return unpack_done(&u);
}

void message_tile_encode(struct buffer *out, const struct message_tile *m)
{
    CHECK(m->level < 64 && m->width >= 1 && m->width <= LIMIT_TILE);
    pack_array(out, 3);
    pack_uint(out, m->level);
    pack_uint(out, m->index);
    pack_uint(out, m->width);
}

enum err message_tile_decode(struct message_tile *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 3);
    m->level = (uint32_t)unpack_uint_max(&u, 63);
    m->index = unpack_uint(&u);
    m->width = (uint32_t)unpack_uint_max(&u, LIMIT_TILE);
    if (m->width == 0) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

static bool is_tile(struct bytes hashes)
{
    return hashes.size > 0 && hashes.size <= LIMIT_TILE * sizeof(struct digest) &&
           hashes.size % sizeof(struct digest) == 0;
}

void message_tile_ok_encode(struct buffer *out, const struct message_tile_ok *m)
{
    CHECK(is_tile(m->hashes));
    pack_array(out, 1);
    pack_bytes(out, m->hashes);
}

enum err message_tile_ok_decode(struct message_tile_ok *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->hashes = unpack_bin(&u, LIMIT_TILE * sizeof(struct digest));
    if (u.error == OK && !is_tile(m->hashes)) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void message_digests_encode(struct buffer *out, const struct message_digests *m)
{
    pack_array(out, 1);
    pack_uint(out, m->leaf);
}

enum err message_digests_decode(struct message_digests *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->leaf = unpack_uint(&u);
    return unpack_done(&u);
}

void message_digests_ok_encode(struct buffer *out, const struct message_digests_ok *m)
{
    CHECK(m->count <= LIMIT_NODES);
    pack_array(out, 2);
    pack_uint(out, m->leaf);
    pack_array(out, m->count);
    for (uint32_t i = 0; i < m->count; i++) pack_bytes(out, m->statements[i]);
}

enum err message_digests_ok_decode(struct message_digests_ok *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->leaf = unpack_uint(&u);
    m->count = unpack_array(&u, LIMIT_NODES);
    for (uint32_t i = 0; i < m->count; i++) m->statements[i] = unpack_bin(&u, LIMIT_STATEMENT);
    return unpack_done(&u);
}

void message_follow_encode(struct buffer *out, const struct message_follow *m)
{
    pack_array(out, 1);
    pack_uint(out, m->leaf_index);
}

enum err message_follow_decode(struct message_follow *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->leaf_index = unpack_uint(&u);
    return unpack_done(&u);
}

void message_rows_encode(struct buffer *out, const struct message_rows *m)
{
    CHECK(m->rows.size > 0); /* a msgpack array, not nothing */
    pack_array(out, 1);
    buffer_append_bytes(out, m->rows);
}

enum err message_rows_decode(struct message_rows *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 1);
    m->rows = unpack_raw(&u);
    if (m->rows.size > LIMIT_ANSWER) unpack_fail(&u, ERR_TOO_LARGE);
    struct unpack inner = unpack_start(m->rows);
    if (u.error == OK) unpack_array(&inner, LIMIT_ROWS);
    if (inner.error != OK) unpack_fail(&u, inner.error);
    return unpack_done(&u);
}

/* --- ADMIT --- */

void message_admit_encode(struct buffer *out, const struct message_admit *m)
{
    pack_array(out, 4);
    pack_id(out, &m->actor);
    pack_uint(out, m->issued_at_ms);
    pack_id(out, &m->request);
    pack_bin(out, m->signature.bytes, sizeof m->signature.bytes);
}

enum err message_admit_decode(struct message_admit *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 4);
    m->actor = unpack_id(&u);
    m->issued_at_ms = unpack_uint(&u);
    m->request = unpack_id(&u);
    unpack_bin_exact(&u, m->signature.bytes, sizeof m->signature.bytes);
    return unpack_done(&u);
}

void message_admit_signing(struct buffer *out, const struct digest *cluster, const struct id *node,
                           const struct message_admit *m)
{
    uint8_t issued_at_ms[8];
    put_be64(issued_at_ms, m->issued_at_ms);
    buffer_append_text(out, "consilium/admit/v1\n");
    buffer_append(out, cluster->bytes, sizeof cluster->bytes);
    buffer_append(out, node->bytes, sizeof node->bytes);
    buffer_append(out, m->actor.bytes, sizeof m->actor.bytes);
    buffer_append(out, issued_at_ms, sizeof issued_at_ms);
    buffer_append(out, m->request.bytes, sizeof m->request.bytes);
}
