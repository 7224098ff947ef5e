/* TLS over memory: bytes in, bytes out, never a socket.
 *
 * Who is who: every identity is a self-signed key, known by its pin
 * (net/certificate.h). The handshake proves possession of the key; this layer
 * compares the pin, inside the handshake and again when it is done, also when
 * the session was resumed.
 *   - A client or dialing node expects exactly one pin of the server.
 *   - A server demands a certificate of whoever asks for TLS_ALPN_PEER, and its
 *     pin must be among tls_set_pins at that moment. Others show none.
 *
 * Threads: a tls_context may be used by all threads at once. A tls_session is
 * used by one thread at a time; which one may change between two calls (the
 * caller's queue gives the ordering), so that handshake steps run on a worker.
 *
 * Versions: TLS 1.2 with ECDHE-ECDSA and AEAD suites on mbedTLS 2.28; on 3.x
 * clients also use TLS 1.3, links between nodes stay on 1.2, where a ticket
 * carries the peer's certificate, so that its pin is checked at resumption.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/bytes.h"
#include "base/error.h"

/* A protocol is known here by its newest name. Older versions of it, if any are spoken still (net/tls.c), are offered
 * and accepted as well, and the newest that both sides have is taken: the server prefers (RFC 7301, 3.2), so that nodes
 * of two releases understand each other while a cluster is upgraded. tls_alpn_version says which it became. */
#define TLS_ALPN_PEER "consilium-peer/3" /* and older ones; what differs: consensus/peer_messages.h */
#define TLS_ALPN_CLIENT "consilium/1"
#define TLS_ALPN_HTTP "http/1.1"

struct tls_context; /* an identity, the pins of the peers, ticket keys */
struct tls_session; /* one connection's */
struct tls_ticket;  /* what a client keeps to resume a session with one server */

enum tls_role { TLS_SERVER, TLS_CLIENT };
enum tls_state { TLS_HANDSHAKING, TLS_OPEN, TLS_CLOSED, TLS_FAILED };

/* `key` and `certificate` in DER, copied; both empty for a client that has no
 * identity (it can only be TLS_CLIENT, not for TLS_ALPN_PEER).
 * ERR_TLS, ERR_NO_KEY when they do not belong together. */
enum err tls_context_new(struct tls_context **out, struct bytes key, struct bytes certificate,
                         struct failure *failure);
void tls_context_free(struct tls_context *context); /* after all its sessions; NULL is allowed */
/* The certificate's pin; zero without an identity. */
struct digest tls_context_pin(const struct tls_context *context);
/* Who may connect as a peer from now on, copied. Open sessions stay open: the
 * caller closes those of members that left. */
void tls_set_pins(struct tls_context *context, const struct digest *pins, size_t count);
bool tls_knows_pin(struct tls_context *context, const struct digest *pin);

/* A server accepts every ALPN above; a client that negotiates none gets TLS_ALPN_HTTP. */
enum err tls_server_new(struct tls_session **out, struct tls_context *context);
/* `ticket` (may be NULL) is only read; it is ignored unless made for this pin and ALPN. */
enum err tls_client_new(struct tls_session **out, struct tls_context *context, const char *alpn,
                        const struct digest *pin, const struct tls_ticket *ticket);
void tls_session_free(struct tls_session *s); /* NULL is allowed */

/* Encrypted bytes from the other side. A view: they must stay until the call
 * that returned "no more" (tls_handshake with TLS_HANDSHAKING, tls_read with 0), or
 * until tls_keep. The input before must have been used up so (checked). */
void tls_feed(struct tls_session *s, struct bytes in);
/* Copies what is unread of the fed bytes, so that they may go. ERR_NOMEM; bounded by what was fed. */
enum err tls_keep(struct tls_session *s);
/* Runs as many steps as the fed bytes allow (milliseconds of CPU: on a worker)
 * and appends what is to be sent to `out`, also when it fails (the alert).
 * Call it once at the start on a client. Returns the state after. */
enum tls_state tls_handshake(struct tls_session *s, struct buffer *out);
/* Decrypts into `out`. Returns the number of bytes, or 0 when more input is
 * needed or the session is no longer open (tls_state tells). Until it returned
 * 0, more may be waiting. Answers that TLS itself makes go to `reply`. */
size_t tls_read(struct tls_session *s, uint8_t *out, size_t size, struct buffer *reply);
/* Encrypts all of `plain`, in records of at most 16 KiB, appended to `out`.
 * ERR_NOMEM and ERR_TLS fail the session. */
enum err tls_write(struct tls_session *s, struct buffer *out, struct bytes plain);
/* Appends close_notify; the session is closed for writing. */
void tls_close(struct tls_session *s, struct buffer *out);

enum tls_state tls_state(const struct tls_session *s);
/* Why it failed: ERR_WRONG_PEER, ERR_ALPN, ERR_NOT_TLS, ERR_TLS, ERR_NOMEM; OK unless TLS_FAILED. */
enum err tls_error(const struct tls_session *s);
const char *tls_error_text(const struct tls_session *s); /* for people; valid as long as the session */
/* The negotiated protocol, one of the constants above whatever its version; NULL before TLS_OPEN. */
const char *tls_alpn(const struct tls_session *s);
/* Its version, the number after the name's '/'; 0 before TLS_OPEN. */
unsigned tls_alpn_version(const struct tls_session *s);
/* The other side's pin, proven; false when it showed no certificate (a client). From TLS_OPEN. */
bool tls_peer_pin(const struct tls_session *s, struct digest *pin);
bool tls_resumed(const struct tls_session *s); /* the handshake was abbreviated */
const char *tls_version(const struct tls_session *s);
const char *tls_cipher(const struct tls_session *s);

/* On a client, once open (with TLS 1.3: after the first answer came): what the
 * next tls_client_new can resume with; NULL when there is nothing new since the last call. The
 * caller owns it. */
struct tls_ticket *tls_ticket_take(struct tls_session *s);
void tls_ticket_free(struct tls_ticket *ticket); /* NULL is allowed */

/* Gives the untouched pages of the session's record buffers back to the system,
 * for connections that have been idle for a while. Costs a page fault each when they are used again. */
void tls_shrink(struct tls_session *s);

#endif
