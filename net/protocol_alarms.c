#include "net/protocol_alarms.h"

#include "base/check.h"
#include "base/pack.h"

static void pack_alarm(struct buffer *out, const struct message_alarm *a)
{
    pack_array(out, 14);
    pack_uint(out, a->index);
    pack_uint(out, a->kind);
    pack_uint(out, a->named);
    pack_uint(out, a->raiser);
    pack_uint(out, a->first);
    pack_uint(out, a->last);
    pack_uint(out, a->since_ms);
    pack_uint(out, a->status);
    pack_uint(out, a->closed);
    pack_uint(out, a->told);
    pack_uint(out, a->told_ms);
    pack_uint(out, a->told_by);
    pack_uint(out, a->told_ways);
    pack_uint(out, a->saying);
}

static uint32_t unpack_member(struct unpack *u)
{
    uint32_t member = (uint32_t)unpack_uint_max(u, LIMIT_NODES);
    if (member == 0) unpack_fail(u, ERR_MALFORMED);
    return member;
}

static void unpack_alarm(struct unpack *u, struct message_alarm *a)
{
    unpack_array_of(u, 14);
    a->index = unpack_uint(u);
    a->kind = (uint32_t)unpack_uint_max(u, UINT8_MAX);
    a->named = unpack_member(u);
    a->raiser = unpack_member(u);
    a->first = unpack_uint(u);
    a->last = unpack_uint(u);
    if (a->last < a->first) unpack_fail(u, ERR_MALFORMED);
    a->since_ms = unpack_uint(u);
    a->status = (uint32_t)unpack_uint_max(u, UINT8_MAX);
    a->closed = unpack_uint(u);
    a->told = unpack_uint(u);
    a->told_ms = unpack_uint(u);
    a->told_by = (uint32_t)unpack_uint_max(u, LIMIT_NODES);
    a->told_ways = (uint32_t)unpack_uint_max(u, UINT8_MAX);
    a->saying = (uint32_t)unpack_uint_max(u, (1u << (LIMIT_NODES + 1)) - 1);
}

static void pack_alarm_list(struct buffer *out, const struct message_alarm *alarms, uint32_t count)
{
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++) pack_alarm(out, &alarms[i]);
}

static uint32_t unpack_alarm_list(struct unpack *u, struct message_alarm *alarms, uint32_t most)
{
    uint32_t count = unpack_array(u, most);
    for (uint32_t i = 0; i < count && u->error == OK; i++) unpack_alarm(u, &alarms[i]);
    return count;
}

void message_notice_encode(struct buffer *out, const struct message_notice *m)
{
    CHECK(m->count <= LIMIT_NOTICE && m->count <= m->total);
    pack_array(out, 3);
    pack_bool(out, m->quarantined);
    pack_uint(out, m->total);
    pack_alarm_list(out, m->alarms, m->count);
}

enum err message_notice_decode(struct message_notice *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 3);
    m->quarantined = unpack_bool(&u);
    m->total = unpack_uint(&u);
    m->count = unpack_alarm_list(&u, m->alarms, LIMIT_NOTICE);
    if (m->count > m->total) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void message_alarms_encode(struct buffer *out, const struct message_alarms *m)
{
    pack_array(out, 3);
    pack_bool(out, m->all);
    pack_uint(out, m->before);
    pack_uint(out, m->max);
}

enum err message_alarms_decode(struct message_alarms *m, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 3);
    m->all = unpack_bool(&u);
    m->before = unpack_uint(&u);
    m->max = (uint32_t)unpack_uint_max(&u, LIMIT_ALARMS);
    if (m->max == 0) unpack_fail(&u, ERR_MALFORMED);
    return unpack_done(&u);
}

void message_alarms_ok_encode(struct buffer *out, const struct message_alarms_ok *m)
{
    CHECK(m->count <= LIMIT_ALARMS);
    pack_array(out, 2);
    pack_bool(out, m->more);
    pack_alarm_list(out, m->alarms, m->count);
}

enum err message_alarms_ok_decode(struct message_alarms_ok *m, struct message_alarm *alarms, struct bytes body)
{
    struct unpack u = unpack_start(body);
    unpack_array_of(&u, 2);
    m->more = unpack_bool(&u);
    m->count = unpack_alarm_list(&u, alarms, LIMIT_ALARMS);
    m->alarms = alarms;
    return unpack_done(&u);
}
