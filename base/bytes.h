/* Bounded bytes: a borrowed view, a growing buffer, fixed-size identifiers. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* A view; owns nothing. {NULL, 0} is the empty view. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

#define BYTES(array) ((struct bytes){(const uint8_t *)(array), sizeof(array)}) /* of an array */
struct bytes bytes_of(const void *data, size_t size);
struct bytes bytes_text(const char *text); /* without the final zero */
bool bytes_equal(struct bytes a, struct bytes b);
int bytes_compare(struct bytes a, struct bytes b); /* lexicographic, shorter first */

/* A growing buffer with a limit. Zero-initialised is empty with no limit but
 * PTRDIFF_MAX. Appending beyond `limit`, or without memory, sets the sticky
 * `failed` and changes nothing: append everything, check once at the end. */
struct buffer {
    uint8_t *data;
    size_t size, capacity;
    size_t limit; /* 0: none */
    bool failed;
    bool secret; /* no memory is given back before it is wiped: not where it grows either */
    bool mapped; /* from BUFFER_MAPPED on its memory is a mapping of its own; not together with `secret` */
};

void buffer_append(struct buffer *b, const void *data, size_t size);
void buffer_append_bytes(struct buffer *b, struct bytes v);
void buffer_append_text(struct buffer *b, const char *text);
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for `size` more bytes at the end, counted as appended, not initialised; NULL on failure. */
uint8_t *buffer_extend(struct buffer *b, size_t size);
/* Room for `capacity` bytes in all, or for its limit; the content stays. false: no memory, nothing has changed. */
bool buffer_reserve(struct buffer *b, size_t capacity);
void buffer_clear(struct buffer *b); /* keeps memory, resets `failed` */
void buffer_free(struct buffer *b);  /* back to zero-initialised, keeps limit, secret and mapped */
struct bytes buffer_bytes(const struct buffer *b);

/* For what grows large by hundreds side by side: it takes only the pages that were written, grows without being copied,
 * leaves no holes, and is the system's again at once. malloc has mappings too, but takes what fits from its heap first. */
#define BUFFER_MAPPED (256u * 1024)

/* Identifiers and digests: a struct each, so that they cannot be mixed up. */
struct id {
    uint8_t bytes[16];
}; /* user, record, node, request */
struct digest {
    uint8_t bytes[32];
}; /* SHA-256 */

bool id_equal(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *a);
bool digest_equal(const struct digest *a, const struct digest *b);

/* Text of an id: 26 characters, RFC 4648 base32 in lower case without padding. */
#define ID_TEXT_SIZE 27
void id_format(char out[static ID_TEXT_SIZE], const struct id *id);
enum err id_parse(struct id *out, const char *text); /* either case; ERR_INVALID */

/* Hexadecimal in lower case: out has 2 * size + 1 bytes. */
void hex_format(char *out, const void *data, size_t size);
enum err hex_parse(uint8_t *out, size_t size, const char *text); /* exactly 2 * size digits, else ERR_INVALID */

/* Base64 (RFC 4648 section 4, padded). The encoder appends to a buffer; the
 * decoder takes exactly canonical text, else ERR_INVALID. */
void base64_append(struct buffer *out, struct bytes data);
enum err base64_decode(struct buffer *out, struct bytes text);

void put_be16(uint8_t out[static 2], uint16_t v);
void put_be32(uint8_t out[static 4], uint32_t v);
void put_be64(uint8_t out[static 8], uint64_t v);
uint16_t get_be16(const uint8_t in[static 2]);
uint32_t get_be32(const uint8_t in[static 4]);
uint64_t get_be64(const uint8_t in[static 8]);

#endif
