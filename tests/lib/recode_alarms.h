/* Decodes and encodes again, for mutations and fuzzing: messages about alarms. */
#ifndef TESTS_LIB_RECODE_ALARMS_H
#define TESTS_LIB_RECODE_ALARMS_H

#include <stdlib.h>

#include "base/check.h"
#include "base/pack.h"
#include "net/protocol_alarms.h"

static inline enum err recode_notice(struct buffer *out, struct bytes in)
{
    struct message_notice *m = xcalloc(1, sizeof *m);
    enum err e = message_notice_decode(m, in);
    if (e == OK) message_notice_encode(out, m);
    free(m);
    return e;
}

static inline enum err recode_alarms(struct buffer *out, struct bytes in)
{
    struct message_alarms m;
    enum err e = message_alarms_decode(&m, in);
    if (e == OK) message_alarms_encode(out, &m);
    return e;
}

static inline enum err recode_alarms_ok(struct buffer *out, struct bytes in)
{
    struct message_alarms_ok m;
    struct message_alarm *rows = xcalloc(LIMIT_ALARMS, sizeof *rows);
    enum err e = message_alarms_ok_decode(&m, rows, in);
    if (e == OK) message_alarms_ok_encode(out, &m);
    free(rows);
    return e;
}

#endif
