/* Mail and webhook: one message to where the node's settings say, by libcurl.
 *
 * Mail: SMTP under TLS always (smtps, or STARTTLS required), with or without a
 * login, RFC 5322. Webhook: HTTPS POST of one JSON object; redirects are not
 * followed. The server's certificate is checked against the system's authorities,
 * or those of alert-ca-file alone. Message-ID and Idempotency-Key are the same
 * from whichever node sends, and whenever: so a receiver can tell a repetition.
 *
 * alert_send blocks, up to ALERT_MAIL_MS + ALERT_HOOK_MS: for a thread of its own.
 * Only user of curl.
 */
#ifndef NODE_ALERT_SEND_H
#define NODE_ALERT_SEND_H

#include <stdatomic.h>
#include <stdbool.h>

#include "ledger/alarm.h"
#include "ledger/genesis.h"
#include "node/config.h"

#define ALERT_CONNECT_MS 10000
#define ALERT_MAIL_MS 30000
#define ALERT_HOOK_MS 20000
#define ALERT_RECEIVERS 16
#define ALERT_SECRET 256 /* bytes of a password or token */

enum alert_way { ALERT_MAIL = 1, ALERT_HOOK = 2 }; /* bits */

/* What alarm, for whom. Owned by the caller until alert_send returns. */
struct alert_message {
    const struct genesis *genesis;
    unsigned sender;    /* member index of this node */
    struct alarm alarm; /* kind 0: a test, or `log_full`; index 0: the ledger does not have it, for want of a majority */
    bool log_full;      /* no alarm, but nothing more gets into any ledger since alarm.since_ms */
};

/* Which ways are set up: bits of enum alert_way; 0: none. */
unsigned alert_ways(const struct config *config);
/* Settings that can't work: ERR_INVALID with the setting's name. For config_check. */
enum err alert_settings_check(const struct config *config, struct failure *failure);
/* Whether the files that they name can be read now: else the first alarm would be the first to find out. */
enum err alert_files_check(const struct config *config, struct failure *failure);

/* Receivers that the mail server refused; the mail goes to the others. */
struct alert_refused {
    size_t count;
    struct {
        char receiver[256];
        char answer[128]; /* of the server, printable */
    } list[ALERT_RECEIVERS];
};

/* Sends by the `ways` given; *refused (may be NULL) gets who got no mail of it, also when a mail went to others.
 * *sent gets those that took it. OK: all did. Else the last error, and in words why each way failed that did,
 * with the server's answer: ERR_UNREACHABLE, ERR_TIMEOUT, ERR_TLS, ERR_UNAUTHORIZED, ERR_DENIED (refused), ERR_IO;
 * ERR_CANCELED soon after `*stop` (may be NULL) turns true. */
enum err alert_send(unsigned *sent, unsigned ways, const struct config *config, const struct alert_message *message,
                    const atomic_bool *stop, struct alert_refused *refused, struct failure *failure);
/* err_hint, as it reads about another's server. */
const char *alert_error_hint(enum err code);
#define ALERT_REFUSED_HINT "correct alert-mail-to, or ask who runs the mail server"

/* The texts, for alert_send and its tests. Appended. */
void alert_mail_text(struct buffer *out, const struct config *config, const struct alert_message *message,
                     uint64_t now_ms);
void alert_json(struct buffer *out, const struct alert_message *message);
/* "<cluster, 16 digits>-<kind>-<node>-<first>-<leaf>", or "...-since<time>" without a leaf: what repetitions have in
 * common. */
void alert_key(char out[static 96], const struct alert_message *message);

#endif
