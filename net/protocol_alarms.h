/* Messages about alarms (net/protocol.h has their place among the others; ledger/alarm.h says what they mean).
 * The same promises: one encoder, one decoder, canonical; any thread. */
#ifndef NET_PROTOCOL_ALARMS_H
#define NET_PROTOCOL_ALARMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"

/* A row of the ledger's table, or (index 0) what a node found and is about to raise. */
struct message_alarm {
    uint64_t index;
    uint32_t kind;          /* enum alarm_kind, or a newer number */
    uint32_t named, raiser; /* member indexes, from 1 */
    uint64_t first, last;   /* first <= last */
    uint64_t since_ms;
    uint32_t status;        /* 1 open, 2 repaired, 3 cleared */
    uint64_t closed;        /* the leaf that closed it; 0: open */
    uint64_t told, told_ms; /* the leaf that says that people were told; 0: none does */
    uint32_t told_by;       /* who says so, or 0 */
    uint32_t told_ways;     /* bits: 1 mail, 2 webhook */
    uint32_t saying;        /* who says so of `named`: bit i = member i */
};

/* Comes without a question, with id 0: before WELCOME when something is open, and at each change. */
struct message_notice {
    bool quarantined; /* this node serves no more */
    uint64_t total;   /* open alarms, and findings that are not in the ledger yet ... */
    uint32_t count;   /* ... of which so many stand here, those about this node first */
    struct message_alarm alarms[LIMIT_NOTICE];
};
void message_notice_encode(struct buffer *out, const struct message_notice *m);
enum err message_notice_decode(struct message_notice *m, struct bytes body);

struct message_alarms {
    bool all;        /* closed ones too, newest first; else those that are open, oldest first */
    uint64_t before; /* of all: those below this leaf; UINT64_MAX: the newest */
    uint32_t max;    /* 1 .. LIMIT_ALARMS */
};
void message_alarms_encode(struct buffer *out, const struct message_alarms *m);
enum err message_alarms_decode(struct message_alarms *m, struct bytes body);

struct message_alarms_ok {
    bool more; /* than `max` */
    uint32_t count;
    const struct message_alarm *alarms;
};
void message_alarms_ok_encode(struct buffer *out, const struct message_alarms_ok *m);
/* `alarms`: room for LIMIT_ALARMS. */
enum err message_alarms_ok_decode(struct message_alarms_ok *m, struct message_alarm *alarms, struct bytes body);

#endif
