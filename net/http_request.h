/* Requests of HTTP/1.1 and 1.0 (RFC 9112), parsed by llhttp: bytes in, requests out.
 *
 * Only what this server answers: GET and HEAD without a body. A reader holds one
 * request at a time, so the memory of a connection is bounded by this struct. What
 * is refused ends the reader: its connection says the status, and closes.
 * One thread at a time. */
#ifndef NET_HTTP_REQUEST_H
#define NET_HTTP_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"
#include "base/limits.h"

struct http_request {
    bool head;       /* HEAD; else GET */
    bool keep_alive; /* RFC 9112 9.3 */
    char path[LIMIT_HTTP_TARGET + 1]; /* begins with a slash; escapes as sent, no query, scheme or host */
    char if_none_match[LIMIT_HTTP_TAG + 1]; /* as sent, several joined by ", "; empty: none, or longer */
};

enum http_outcome {
    HTTP_INCOMPLETE, /* all bytes are used, more are needed */
    HTTP_COMPLETE,   /* a request is there; the bytes behind it are unused */
    HTTP_REFUSED,    /* http_reader_status says why; nothing more can be read */
};

struct http_reader;

struct http_reader *http_reader_new(void); /* NULL without memory */
void http_reader_free(struct http_reader *r); /* NULL is allowed */
/* Reads on, at most to the end of a request; *used bytes are done with. */
enum http_outcome http_reader_feed(struct http_reader *r, size_t *used, struct bytes in);
/* The request, after HTTP_COMPLETE and until the next feed. */
const struct http_request *http_reader_request(const struct http_reader *r);
/* Some bytes of a request are there, not all. */
bool http_reader_begun(const struct http_reader *r);
/* After HTTP_REFUSED: 400, 405 (another method than GET and HEAD), 413 (a body), 414, 431, 501 or 505. */
unsigned http_reader_status(const struct http_reader *r);

#endif
