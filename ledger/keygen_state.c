/* Rows of key generation, and what follows from them. */
#include <string.h>

#include "base/check.h"
#include "ledger/arguments.h"
#include "ledger/fields.h"
#include "ledger/keygen_rows.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/rows.h"
#include "ledger/state.h"

#define MEMBERS (LIMIT_NODES + 1) /* index 0 is not used */

/* --- rows --- */

void keygen_fresh(struct keygen *out, uint32_t attempt)
{
    memset(out, 0, sizeof *out);
    out->attempt = attempt;
    out->phase = KEYGEN_COMMIT;
}

static void pack_masks(struct buffer *b, const member_mask masks[static MEMBERS])
{
    pack_array(b, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) pack_uint(b, masks[i]);
}

static member_mask unpack_mask(struct unpack *u) { return (member_mask)unpack_uint_max(u, UINT32_MAX); }

static void unpack_masks(member_mask masks[static MEMBERS], struct unpack *u)
{
    unpack_array_of(u, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) masks[i] = unpack_mask(u);
}

enum err keygen_put(struct table_txn *txn, uint8_t secret, const struct keygen *keygen)
{
    struct buffer b = {0};
    pack_array(&b, 12);
    pack_uint(&b, keygen->attempt);
    pack_uint(&b, keygen->phase);
    pack_bool(&b, keygen->started);
    pack_uint(&b, keygen->start_ms);
    pack_uint(&b, keygen->committed);
    pack_uint(&b, keygen->revealed);
    pack_uint(&b, keygen->confirmed);
    pack_uint(&b, keygen->excluded);
    pack_array(&b, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) pack_digest_optional(&b, &keygen->commitment[i]);
    pack_masks(&b, keygen->complaints);
    pack_masks(&b, keygen->answered);
    pack_array(&b, MEMBERS * MEMBERS);
    for (unsigned i = 0; i < MEMBERS * MEMBERS; i++) pack_uint(&b, keygen->answer_leaf[i / MEMBERS][i % MEMBERS]);
    return row_put(txn, TABLE_KEYGEN, bytes_of(&secret, 1), &b);
}

enum err keygen_get(struct keygen *out, struct table_txn *txn, uint8_t secret)
{
    struct row row;
    row_open(&row, txn, TABLE_KEYGEN, bytes_of(&secret, 1));
    struct unpack *u = &row.u;
    unpack_array_of(u, 12);
    out->attempt = (uint32_t)unpack_uint_max(u, UINT32_MAX);
    out->phase = (enum keygen_phase)unpack_range(u, KEYGEN_COMMIT, KEYGEN_ACTIVE);
    out->started = unpack_bool(u);
    out->start_ms = unpack_uint(u);
    out->committed = unpack_mask(u);
    out->revealed = unpack_mask(u);
    out->confirmed = unpack_mask(u);
    out->excluded = unpack_mask(u);
    unpack_array_of(u, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) out->commitment[i] = unpack_digest_optional(u);
    unpack_masks(out->complaints, u);
    unpack_masks(out->answered, u);
    unpack_array_of(u, MEMBERS * MEMBERS);
    for (unsigned i = 0; i < MEMBERS * MEMBERS; i++) out->answer_leaf[i / MEMBERS][i % MEMBERS] = unpack_uint(u);
    enum err err = row_close(&row);
    if (err != ERR_NOT_FOUND) return err;
    keygen_fresh(out, 1);
    return OK;
}

enum err keygen_dealing_put(struct table_txn *txn, uint8_t secret, unsigned dealer, const struct dealing *dealing)
{
    uint8_t key[2] = {secret, (uint8_t)dealer};
    struct buffer b = {0}, points = {0};
    enum err err = dkg_commitments_encode(&points, &dealing->commitments);
    pack_array(&b, 4);
    pack_uint(&b, dealing->attempt);
    pack_uint(&b, dealing->commitments.k);
    pack_bytes(&b, buffer_bytes(&points));
    pack_array(&b, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) pack_digest(&b, &dealing->subshare_hash[i]);
    buffer_free(&points);
    if (err == OK) return row_put(txn, TABLE_DEALING, BYTES(key), &b);
    buffer_free(&b);
    return err;
}

enum err keygen_dealing_get(struct dealing *out, struct table_txn *txn, uint8_t secret, uint32_t attempt,
                            unsigned dealer)
{
    uint8_t key[2] = {secret, (uint8_t)dealer};
    struct row row;
    row_open(&row, txn, TABLE_DEALING, BYTES(key));
    struct unpack *u = &row.u;
    unpack_array_of(u, 4);
    out->attempt = (uint32_t)unpack_uint_max(u, UINT32_MAX);
    uint32_t k = (uint32_t)unpack_range(u, 1, LIMIT_NODES);
    struct bytes points = unpack_bin(u, (size_t)LIMIT_NODES * 32);
    if (u->error == OK && dkg_commitments_decode(&out->commitments, k, points) != OK) unpack_fail(u, ERR_CORRUPT);
    unpack_array_of(u, MEMBERS);
    for (unsigned i = 0; i < MEMBERS; i++) out->subshare_hash[i] = unpack_digest(u);
    enum err err = row_close(&row);
    return err == OK && out->attempt != attempt ? ERR_NOT_FOUND : err;
}

/* --- what follows --- */

member_mask keygen_qualified(const struct keygen *keygen) { return keygen->revealed & ~keygen->excluded; }

unsigned keygen_count(member_mask mask) { return (unsigned)__builtin_popcount(mask); }

uint64_t keygen_deadline(const struct keygen *keygen, unsigned k)
{
    if (!keygen->started) return UINT64_MAX;
    switch (keygen->phase) {
    case KEYGEN_COMMIT:
        return keygen_count(keygen->committed) >= k ? keygen->start_ms + KEYGEN_PHASE_MS : UINT64_MAX;
    case KEYGEN_CONFIRM:
        return keygen->start_ms + (keygen_count(keygen->confirmed) >= k ? 1 : 2) * (uint64_t)KEYGEN_PHASE_MS;
    case KEYGEN_REVEAL:
    case KEYGEN_ANSWER: return keygen->start_ms + KEYGEN_PHASE_MS;
    case KEYGEN_READY:
    case KEYGEN_ACTIVE: break;
    }
    return UINT64_MAX;
}

bool keygen_has_complaints(const struct keygen *keygen)
{
    for (unsigned i = 1; i < MEMBERS; i++)
        if (keygen->complaints[i]) return true;
    return false;
}

member_mask keygen_all(unsigned n) { return (MEMBER_BIT(n + 1) - 1) & ~MEMBER_BIT(0); }

bool keygen_settled(const struct keygen *keygen, unsigned n)
{
    return keygen->phase == KEYGEN_ACTIVE && keygen->confirmed == keygen_all(n) && !keygen_has_complaints(keygen);
}

void keygen_context(uint8_t out[static KEYGEN_CONTEXT_SIZE], const struct digest *cluster, uint8_t secret,
                    uint32_t attempt, unsigned dealer)
{
    static const char tag[] = "consilium/keygen/v1\n";
    _Static_assert(sizeof tag - 1 + 32 + 1 + 4 + 1 == KEYGEN_CONTEXT_SIZE, "context");
    memcpy(out, tag, 20);
    memcpy(out + 20, cluster->bytes, 32);
    out[52] = secret;
    put_be32(out + 53, attempt);
    out[57] = (uint8_t)dealer;
}

enum err keygen_combine(struct point *key, struct point *verification, struct table_txn *txn, uint8_t secret,
                        const struct keygen *keygen, unsigned n)
{
    struct dkg_commitments dealers[LIMIT_NODES], combined;
    member_mask qualified = keygen_qualified(keygen);
    size_t count = 0;
    for (unsigned i = 1; i < MEMBERS; i++) {
        struct dealing dealing;
        if (!(qualified & MEMBER_BIT(i))) continue;
        enum err err = keygen_dealing_get(&dealing, txn, secret, keygen->attempt, i);
        if (err != OK) return err == ERR_NOT_FOUND ? ERR_CORRUPT : err;
        dealers[count++] = dealing.commitments;
    }
    CHECK(count > 0);
    enum err err = dkg_combine_commitments(&combined, dealers, NULL, count);
    if (err == OK) err = dkg_verification_keys(verification, n, &combined);
    if (err == OK) *key = combined.points[0];
    return err;
}

enum err keygen_keys(struct point *key, struct point *verification, struct table_txn *txn, uint8_t secret, unsigned n)
{
    struct keygen keygen;
    enum err err = keygen_get(&keygen, txn, secret);
    if (err != OK) return err;
    if (keygen.phase < KEYGEN_READY) return ERR_NOT_READY;
    return keygen_combine(key, verification, txn, secret, &keygen, n);
}

static enum err answer_of_leaf(struct scalar *out, const struct leaf *leaf)
{
    struct args_key_answer args;
    if (leaf->operation.action != ACTION_KEY_ANSWER) return ERR_CORRUPT;
    if (args_key_answer_decode(&args, leaf->operation.args) != OK) return ERR_CORRUPT;
    return scalar_decode(out, args.subshare);
}

enum err keygen_answer_get(struct scalar *out, struct table_txn *txn, const struct keygen *keygen, unsigned receiver,
                           unsigned dealer)
{
    struct buffer raw = {0};
    struct leaf leaf;
    CHECK(receiver < MEMBERS && dealer < MEMBERS);
    if (!(keygen->answered[receiver] & MEMBER_BIT(dealer))) return ERR_NOT_FOUND;
    enum err err = proof_leaf(&raw, txn, keygen->answer_leaf[receiver][dealer]);
    if (err == OK) err = leaf_decode(&leaf, buffer_bytes(&raw));
    if (err == OK) err = answer_of_leaf(out, &leaf);
    buffer_free(&raw);
    return err;
}

/* --- for the node's agent --- */

static member_mask open_complaints_about(const struct keygen *keygen, unsigned dealer)
{
    member_mask receivers = 0;
    for (unsigned i = 1; i < MEMBERS; i++)
        if (keygen->complaints[i] & MEMBER_BIT(dealer)) receivers |= MEMBER_BIT(i);
    return receivers;
}

enum err keygen_view(struct keygen_view *out, struct table_txn *txn, uint8_t secret, unsigned self, unsigned n,
                     unsigned k)
{
    struct keygen *state = &out->state;
    member_mask me = MEMBER_BIT(self);
    CHECK(self >= 1 && self <= n && n <= LIMIT_NODES);
    memset(out, 0, sizeof *out);
    enum err err = keygen_get(state, txn, secret);
    if (err != OK) return err;
    bool active = state->phase == KEYGEN_ACTIVE;
    out->commit = state->phase == KEYGEN_COMMIT && !(state->committed & me);
    out->reveal = state->phase == KEYGEN_REVEAL && (state->committed & me) && !(state->revealed & me);
    out->confirm = (state->phase == KEYGEN_CONFIRM && !(state->confirmed & me)) ||
                   (active && (!(state->confirmed & me) || state->complaints[self]));
    out->dealers = state->phase >= KEYGEN_CONFIRM ? keygen_qualified(state) : 0;
    out->answer = state->phase >= KEYGEN_CONFIRM ? open_complaints_about(state, self) : 0;
    out->activate = state->phase == KEYGEN_READY;
    out->settled = keygen_settled(state, n);
    out->deadline_ms = keygen_deadline(state, k);
    return OK;
}
