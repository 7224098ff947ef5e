/* An operation: what one user or node asks for, self-contained.
 *
 *   [1, cluster(32), request_id(16), issued_at_ms, [actor_kind, id(16), key_id(8)], action, args, purpose, attachment]
 *
 * args is the action's array (ledger/action.h, ledger/arguments.h); purpose is a
 * number of the list below; attachment is the 32-byte hash of an attachment
 * (ledger/attachment.h) or the empty bin. It is kept and hashed as the exact
 * bytes received; signed as part of a request (ledger/request.h). Any thread. */
#ifndef LEDGER_OPERATION_H
#define LEDGER_OPERATION_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/pack.h"
#include "crypto/keys.h"
#include "ledger/action.h"

#define OPERATION_VERSION 1
#define TIME_MAX_MS 253402300799999ull /* 9999-12-31T23:59:59.999Z: no later time is valid anywhere */

/* Why somebody accesses: HL7 v3 PurposeOfUse. Recorded, never decided upon;
 * numbers that a reader does not know are kept.
 * X(NAME, number, "code", "in words") */
#define PURPOSE_LIST(X)                                                                            \
    X(PURPOSE_NONE, 0, "", "not stated")                                                           \
    X(PURPOSE_TREATMENT, 1, "TREAT", "treatment")                                                  \
    X(PURPOSE_EMERGENCY, 2, "ETREAT", "emergency treatment")                                       \
    X(PURPOSE_PAYMENT, 3, "HPAYMT", "payment")                                                     \
    X(PURPOSE_OPERATIONS, 4, "HOPERAT", "healthcare operations")                                   \
    X(PURPOSE_PATIENT, 5, "PATRQT", "asked for by the patient")                                    \
    X(PURPOSE_PUBLIC_HEALTH, 6, "PUBHLTH", "public health")                                        \
    X(PURPOSE_RESEARCH, 7, "HRESCH", "research")                                                   \
    X(PURPOSE_LEGAL, 8, "HLEGAL", "legal")                                                         \
    X(PURPOSE_ADMINISTRATION, 9, "HSYSADMIN", "system administration")                             \
    X(PURPOSE_AUDIT, 10, "HCOMPL", "compliance and audit")
#define PURPOSE_MAX 255

enum purpose {
#define X(name, number, code, text) name = number,
    PURPOSE_LIST(X)
#undef X
};

const char *purpose_code(unsigned purpose); /* "TREAT"; "unknown" */
int purpose_from_code(const char *code);    /* the number, or -1 */

struct actor {
    enum actor_kind kind; /* ACTOR_USER or ACTOR_NODE */
    struct id id;
    struct key_id key;
};
bool actor_equal(const struct actor *a, const struct actor *b);
/* [kind, id, key_id] inside a larger message. */
void pack_actor(struct buffer *out, const struct actor *actor);
struct actor unpack_actor(struct unpack *u);

struct operation {
    struct digest cluster;
    struct id request_id;
    uint64_t issued_at_ms;
    struct actor actor;
    uint32_t action;          /* an enum action, or a number that this version doesn't know */
    struct bytes args;        /* the encoded array; a view */
    uint8_t purpose;
    struct digest attachment; /* all zero: none */
    struct bytes raw;         /* the whole encoding; set by the decoder, ignored by the encoder */
};
bool operation_has_attachment(const struct operation *op);

/* Appends; `args` is one canonical msgpack array (CHECK). A buffer that fails stays failed. */
void operation_encode(struct buffer *out, const struct operation *op);
/* Views into `in`. ERR_TOO_LARGE above LIMIT_OPERATION, ERR_VERSION for another
 * version, else the errors of base/pack.h: ids and the cluster are not all zero,
 * the time is at most TIME_MAX_MS, the kind of actor is user or node. The
 * arguments are checked to be one canonical array only; an unknown action is no
 * error here. */
enum err operation_decode(struct operation *out, struct bytes in);

#endif
