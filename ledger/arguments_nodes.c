/* Arguments of key.*, node.alarm, alarm.tell and alarm.clear. */
#include "base/check.h"
#include "ledger/arguments.h"
#include "ledger/evidence.h"
#include "ledger/fields.h"

static enum key_secret unpack_secret(struct unpack *u)
{
    return (enum key_secret)unpack_range(u, KEY_RECORDS, KEY_PASSWORDS);
}

static uint32_t unpack_u32(struct unpack *u) { return (uint32_t)unpack_uint_max(u, UINT32_MAX); }

/* Bit i is member i, from 1. */
static uint32_t unpack_mask(struct unpack *u)
{
    uint32_t mask = (uint32_t)unpack_uint_max(u, (1u << (LIMIT_NODES + 1)) - 1);
    if (mask & 1) unpack_fail(u, ERR_MALFORMED);
    return mask;
}

/* Points as they came: whether they are ones is the rules' question, and has a reason of its own. */
static void pack_points(struct buffer *out, const struct point *points, uint32_t count)
{
    CHECK(count <= LIMIT_NODES);
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++)
        pack_bin(out, points[i].bytes, sizeof points[i].bytes);
}

static uint32_t unpack_points(struct unpack *u, struct point points[static LIMIT_NODES])
{
    uint32_t count = unpack_array(u, LIMIT_NODES);
    if (count == 0) unpack_fail(u, ERR_MALFORMED);
    for (uint32_t i = 0; i < count; i++)
        unpack_bin_exact(u, points[i].bytes, sizeof points[i].bytes);
    return count;
}

void args_key_commit_encode(struct buffer *out, const struct args_key_commit *a)
{
    pack_array(out, 3);
    pack_uint(out, a->secret);
    pack_uint(out, a->attempt);
    pack_digest(out, &a->commitments);
}

enum err args_key_commit_decode(struct args_key_commit *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->secret = unpack_secret(&u);
    a->attempt = unpack_u32(&u);
    a->commitments = unpack_digest(&u);
    return unpack_done(&u);
}

void args_key_reveal_encode(struct buffer *out, const struct args_key_reveal *a)
{
    CHECK(a->n <= LIMIT_NODES);
    pack_array(out, 4);
    pack_uint(out, a->secret);
    pack_uint(out, a->attempt);
    pack_points(out, a->commitments, a->k);
    pack_array(out, a->n);
    for (uint32_t i = 0; i < a->n; i++)
        pack_digest(out, &a->subshares[i]);
}

enum err args_key_reveal_decode(struct args_key_reveal *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 4);
    a->secret = unpack_secret(&u);
    a->attempt = unpack_u32(&u);
    a->k = unpack_points(&u, a->commitments);
    a->n = unpack_array(&u, LIMIT_NODES);
    for (uint32_t i = 0; i < a->n; i++)
        a->subshares[i] = unpack_digest(&u);
    if (a->n == 0) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void args_key_confirm_encode(struct buffer *out, const struct args_key_confirm *a)
{
    pack_array(out, 3);
    pack_uint(out, a->secret);
    pack_uint(out, a->attempt);
    pack_uint(out, a->complaints);
}

enum err args_key_confirm_decode(struct args_key_confirm *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->secret = unpack_secret(&u);
    a->attempt = unpack_u32(&u);
    a->complaints = unpack_mask(&u);
    return unpack_done(&u);
}

void args_key_answer_encode(struct buffer *out, const struct args_key_answer *a)
{
    pack_array(out, 4);
    pack_uint(out, a->secret);
    pack_uint(out, a->attempt);
    pack_uint(out, a->receiver);
    pack_bin(out, a->subshare, sizeof a->subshare);
}

enum err args_key_answer_decode(struct args_key_answer *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 4);
    a->secret = unpack_secret(&u);
    a->attempt = unpack_u32(&u);
    a->receiver = (uint32_t)unpack_range(&u, 1, LIMIT_NODES);
    unpack_bin_exact(&u, a->subshare, sizeof a->subshare);
    return unpack_done(&u);
}

void args_key_close_encode(struct buffer *out, const struct args_key_close *a)
{
    pack_array(out, 3);
    pack_uint(out, a->secret);
    pack_uint(out, a->attempt);
    pack_uint(out, a->phase);
}

enum err args_key_close_decode(struct args_key_close *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->secret = unpack_secret(&u);
    a->attempt = unpack_u32(&u);
    a->phase = (uint32_t)unpack_uint_max(&u, UINT8_MAX);
    return unpack_done(&u);
}

void args_key_activate_encode(struct buffer *out, const struct args_key_activate *a)
{
    pack_array(out, 5);
    pack_uint(out, a->secret);
    pack_uint(out, a->attempt);
    pack_uint(out, a->qualified);
    pack_bin(out, a->key.bytes, sizeof a->key.bytes);
    pack_points(out, a->verification, a->n);
}

enum err args_key_activate_decode(struct args_key_activate *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 5);
    a->secret = unpack_secret(&u);
    a->attempt = unpack_u32(&u);
    a->qualified = unpack_mask(&u);
    unpack_bin_exact(&u, a->key.bytes, sizeof a->key.bytes);
    a->n = unpack_points(&u, a->verification);
    return unpack_done(&u);
}

void args_node_alarm_encode(struct buffer *out, const struct args_node_alarm *a)
{
    pack_array(out, 6);
    pack_uint(out, a->kind);
    pack_uint(out, a->named);
    pack_uint(out, a->first);
    pack_uint(out, a->last);
    pack_uint(out, a->status);
    pack_bytes(out, a->evidence);
}

enum err args_node_alarm_decode(struct args_node_alarm *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 6);
    a->kind = (enum alarm_kind)unpack_range(&u, ALARM_MODIFIED, ALARM_ROLLED_BACK);
    a->named = (uint32_t)unpack_range(&u, 1, LIMIT_NODES);
    a->first = unpack_uint(&u);
    a->last = unpack_range(&u, a->first, UINT64_MAX);
    a->status = (enum alarm_status)unpack_range(&u, ALARM_OPEN, ALARM_REPAIRED);
    a->evidence = unpack_bin(&u, EVIDENCE_SIZE);
    return unpack_done(&u);
}

void args_alarm_tell_encode(struct buffer *out, const struct args_alarm_tell *a)
{
    pack_array(out, 3);
    pack_uint(out, a->index);
    pack_uint(out, a->step);
    pack_uint(out, a->ways);
}

enum err args_alarm_tell_decode(struct args_alarm_tell *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 3);
    a->index = unpack_uint(&u);
    a->step = (enum alarm_step)unpack_range(&u, ALARM_CLAIM, ALARM_TOLD);
    a->ways = (unsigned)unpack_range(&u, a->step == ALARM_TOLD, ALARM_WAYS);
    return unpack_done(&u);
}

void args_alarm_clear_encode(struct buffer *out, const struct args_alarm_clear *a)
{
    pack_array(out, 1);
    pack_uint(out, a->index);
}

enum err args_alarm_clear_decode(struct args_alarm_clear *a, struct bytes in)
{
    struct unpack u = unpack_start(in);
    unpack_array_of(&u, 1);
    a->index = unpack_uint(&u);
    return unpack_done(&u);
}
