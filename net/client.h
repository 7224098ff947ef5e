/* A blocking connection for the CLI and for tests: the same TLS and frames over
 * poll(2). One thread at a time. Ignores SIGPIPE by sending with MSG_NOSIGNAL.
 */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "net/address.h"
#include "net/frame.h"
#include "net/tls.h"

struct client;

struct client_options {
    const char *alpn;         /* NULL: TLS_ALPN_CLIENT */
    uint32_t timeout_ms;      /* for connecting and the handshake together; 0: LIMIT_REQUEST_MS */
    struct tls_ticket **ticket; /* may be NULL; read at connect, replaced at client_close: resumes sessions */
    int stop; /* 0: none; once this descriptor is readable nothing on the connection waits, as if its time were over */
};

/* Resolves, connects (each address in turn), shakes hands, checks the pin. A name server that doesn't answer in time is
 * left to a thread that ends with its answer: one for each name at most. Safe from several threads.
 * ERR_UNREACHABLE, ERR_TIMEOUT, ERR_WRONG_PEER, ERR_ALPN, ERR_TLS, with a text
 * that names the address. */
enum err client_connect(struct client **out, struct tls_context *tls, const struct address *to,
                        const struct digest *pin, const struct client_options *options,
                        struct failure *failure);
void client_close(struct client *c); /* NULL is allowed */

/* Waits until the kernel has taken all. Reads meanwhile into memory (bounded by LIMIT_SEND_QUEUE),
 * so that two sides that both send cannot lock each other up. ERR_TIMEOUT, ERR_CLOSED,
 * ERR_FRAME_TOO_LONG (nothing sent); after any other error the connection is of no more use. */
enum err client_send(struct client *c, uint32_t type, uint64_t id, struct bytes body,
                     uint32_t timeout_ms, struct failure *failure);
/* The next frame; views valid until the next call. ERR_TIMEOUT (the connection stays usable),
 * ERR_CLOSED, ERR_TRUNCATED, and frame_next's. `timeout_ms` 0: only what is there. */
enum err client_receive(struct client *c, struct frame *out, uint32_t timeout_ms, struct failure *failure);
/* Bytes as they are (TLS_ALPN_HTTP). client_read: at least 1 byte, or 0 at the end in `*got`. */
enum err client_write(struct client *c, struct bytes bytes, uint32_t timeout_ms, struct failure *failure);
enum err client_read(struct client *c, uint8_t *out, size_t size, size_t *got, uint32_t timeout_ms,
                     struct failure *failure);

int client_descriptor(const struct client *c); /* for poll; readable does not mean that a frame is whole */
bool client_resumed(const struct client *c);
const char *client_version(const struct client *c);

#endif
