#include "cli/shares.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/secret.h"
#include "crypto/sign.h"

uint32_t member_count(member_set set) { return (uint32_t)__builtin_popcount(set); }

/* --- reading --- */

static enum err check_signature(const struct message_sealed *m, const struct descriptor *member,
                                const struct share_ask *ask)
{
    struct buffer text = {0};
    struct signature signature;
    share_box_signing(&text, ask, m->sealed);
    memcpy(signature.bytes, m->signature, sizeof signature.bytes);
    enum err e = text.failed ? ERR_NOMEM : sign_verify(&signature, &member->keys.message, buffer_bytes(&text));
    buffer_free(&text);
    return e;
}

/* Opens a signed box into `items`: the right entry, run and member? */
static enum err open_box(struct share_item *items, struct read_extent *extent, const struct share_set *s,
                         const struct message_sealed *m, const struct reader *reader)
{
    struct buffer plain = {.secret = true};
    struct share_box box;
    enum err e = seal_box_open(&plain, &reader->public_key, &reader->secret, m->sealed);
    if (e == OK) e = share_box_decode(&box, items, s->ask.count, buffer_bytes(&plain));
    if (e == OK && (box.leaf_index != s->ask.leaf_index || box.first != s->ask.first || box.member != m->member ||
                    box.count != s->ask.count))
        e = ERR_BAD_SHARE;
    if (e == OK) *extent = box.extent;
    secret_wipe_buffer(&plain);
    return e;
}

static bool has_holder(const struct share_set *s, uint32_t member)
{
    for (uint32_t i = 0; i < s->holder_count; i++)
        if (s->holders[i].member == member) return true;
    return false;
}

static void read_one(struct share_set *s, const struct genesis *genesis, const struct reader *reader,
                     const struct read_extent *extent, const struct message_sealed *m)
{
    struct read_extent stated;
    const struct descriptor *member = genesis_member(genesis, m->member);
    if (!member || has_holder(s, m->member)) return;
    if (check_signature(m, member, &s->ask) != OK) {
        s->unsigned_set |= MEMBER(m->member);
        return;
    }
    struct share_item *items = xcalloc(s->ask.count + 1, sizeof *items);
    if (open_box(items, &stated, s, m, reader) != OK) {
        s->wrong |= MEMBER(m->member);
        secret_wipe(items, s->ask.count * sizeof *items);
        free(items);
        return;
    }
    s->holders[s->holder_count++] = (struct holder){m->member, items};
    if (!read_extent_equal(&stated, extent)) s->elsewhere |= MEMBER(m->member);
}

enum err share_set_read(struct share_set *out, const struct genesis *genesis, const struct reader *reader,
                        const struct share_ask *ask, const struct read_extent *extent, struct bytes body)
{
    CHECK(ask->count <= LIMIT_OPENED);
    *out = (struct share_set){.ask = *ask};
    struct message_shared m;
    enum err e = message_shared_decode(&m, body);
    for (uint32_t i = 0; e == OK && i < m.count; i++)
        read_one(out, genesis, reader, extent, &m.shares[i]);
    return e;
}

void share_set_free(struct share_set *s)
{
    for (uint32_t i = 0; i < s->holder_count; i++) {
        secret_wipe(s->holders[i].items, s->ask.count * sizeof *s->holders[i].items);
        free(s->holders[i].items);
    }
    *s = (struct share_set){0};
}

/* --- judging --- */

struct share_sorts share_set_sort(const struct share_set *s, uint32_t position, const struct digest *label,
                                  uint64_t epoch)
{
    struct share_sorts sorts = {.other = s->elsewhere};
    CHECK(position < s->ask.count);
    for (uint32_t i = 0; i < s->holder_count; i++) {
        const struct share_item *item = &s->holders[i].items[position];
        member_set member = MEMBER(s->holders[i].member);
        if (s->elsewhere & member) continue;
        bool fits = digest_equal(&item->label, label) && item->epoch == epoch;
        *(fits ? &sorts.fitting : item->epoch ? &sorts.other : &sorts.none) |= member;
    }
    return sorts;
}

static bool proof_holds(const struct share_item *share, uint32_t member, uint64_t leaf_index,
                        const struct collective *key, const struct sealed_item *item)
{
    struct tdh2_share full = {.leaf_index = leaf_index, .label = share->label, .epoch = share->epoch, .node = member,
                              .proved = share->has_proof};
    if (!share->has_proof || member > key->n) return false;
    if (point_decode_not_identity(&full.d, share->share) != OK) return false;
    if (scalar_decode(&full.proof.e, share->proof) != OK || scalar_decode(&full.proof.f, share->proof + 32) != OK)
        return false;
    return tdh2_share_verify(&full, &key->verification[member - 1], &item->capsule.u) == OK;
}

void share_set_verify(member_set *proved, member_set *refuted, const struct share_set *s, uint32_t position,
                      const struct collective *key, const struct sealed_item *item, member_set members)
{
    CHECK(position < s->ask.count);
    *proved = *refuted = 0;
    for (uint32_t i = 0; i < s->holder_count; i++) {
        uint32_t member = s->holders[i].member;
        if (!(members & MEMBER(member))) continue;
        bool holds = proof_holds(&s->holders[i].items[position], member, s->ask.leaf_index, key, item);
        *(holds ? proved : refuted) |= MEMBER(member);
    }
}

/* The first k of `members`. */
static enum err points_of(struct point d[static LIMIT_NODES], struct tdh2_opener *opener, const struct share_set *s,
                          uint32_t position, member_set members, uint32_t k)
{
    CHECK(position < s->ask.count && k <= LIMIT_NODES);
    uint32_t nodes[LIMIT_NODES], count = 0;
    enum err e = OK;
    for (uint32_t i = 0; i < s->holder_count && count < k; i++) {
        if (!(members & MEMBER(s->holders[i].member))) continue;
        if (point_decode_not_identity(&d[count], s->holders[i].items[position].share) != OK) e = ERR_BAD_SHARE;
        nodes[count++] = s->holders[i].member;
    }
    if (e == OK && count < k) e = ERR_TOO_FEW_SHARES;
    return e == OK ? tdh2_opener_start(opener, nodes, count) : e;
}

enum err share_set_open(uint8_t key[static 32], const struct share_set *s, uint32_t position,
                        const struct collective *collective, const struct sealed_item *item, member_set members,
                        uint32_t k)
{
    struct point d[LIMIT_NODES];
    struct tdh2_opener opener;
    enum err e = points_of(d, &opener, s, position, members, k);
    if (e == OK)
        e = tdh2_open(key, &opener, d, &item->capsule, &collective->key, &item->label, &item->context_hash);
    secret_wipe(d, sizeof d);
    return e;
}

enum err share_set_open_proved(uint8_t key[static 32], const struct share_set *s, uint32_t position,
                               const struct sealed_item *item, member_set members, uint32_t k)
{
    struct point d[LIMIT_NODES];
    struct tdh2_opener opener;
    enum err e = points_of(d, &opener, s, position, members, k);
    if (e == OK) tdh2_open_proved(key, &opener, d, &item->capsule.u, &item->context_hash);
    secret_wipe(d, sizeof d);
    return e;
}
