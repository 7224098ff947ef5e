#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

struct bytes bytes_of(const void *data, size_t size) { return (struct bytes){data, size}; }
struct bytes bytes_text(const char *text) { return (struct bytes){(const uint8_t *)text, strlen(text)}; }

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t n = a.size < b.size ? a.size : b.size;
    int c = n ? memcmp(a.data, b.data, n) : 0;
    return c ? c : (a.size > b.size) - (a.size < b.size);
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#define CAPACITY_MIN 64

static bool has_mapping(const struct buffer *b) { return b->mapped && b->capacity >= BUFFER_MAPPED; }

static void give_back(struct buffer *b)
{
    if (b->secret && b->data) explicit_bzero(b->data, b->capacity);
    if (has_mapping(b))
        CHECK(munmap(b->data, b->capacity) == 0);
    else
        free(b->data);
}

static uint8_t *move_to_mapping(struct buffer *b, size_t capacity)
{
    void *data = has_mapping(b) ? mremap(b->data, b->capacity, capacity, MREMAP_MAYMOVE)
                                : mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return NULL;
    if (has_mapping(b)) return data;
    if (b->size) memcpy(data, b->data, b->size);
    give_back(b);
    return data;
}

/* realloc would leave what it moves where it was. */
static uint8_t *move(struct buffer *b, size_t capacity)
{
    CHECK(!(b->secret && b->mapped));
    if (b->mapped && capacity >= BUFFER_MAPPED) return move_to_mapping(b, capacity);
    if (!b->secret) return realloc(b->data, capacity);
    uint8_t *data = malloc(capacity);
    if (data && b->size) memcpy(data, b->data, b->size);
    if (data) give_back(b);
    return data;
}

bool buffer_reserve(struct buffer *b, size_t capacity)
{
    if (b->limit && capacity > b->limit) capacity = b->limit;
    if (capacity <= b->capacity) return true;
    uint8_t *data = move(b, capacity);
    if (!data) return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

uint8_t *buffer_extend(struct buffer *b, size_t size)
{
    size_t limit = b->limit ? b->limit : PTRDIFF_MAX; /* no object is larger */
    if (b->failed || size > limit - b->size) {
        b->failed = true;
        return NULL;
    }
    if (!b->data || size > b->capacity - b->size) { /* also for nothing at all: NULL says that it failed */
        /* No more than is asked for, when that is much: what is made at once is often kept for long. */
        size_t capacity = 2 * b->capacity;
        if (capacity < CAPACITY_MIN) capacity = CAPACITY_MIN;
        if (capacity - b->size < size) capacity = b->size + size;
        if (capacity > limit) capacity = limit;
        if (!buffer_reserve(b, capacity)) {
            b->failed = true;
            return NULL;
        }
    }
    uint8_t *at = b->data + b->size;
    b->size += size;
    return at;
}

void buffer_append(struct buffer *b, const void *data, size_t size)
{
    if (size == 0) return;
    uint8_t *at = buffer_extend(b, size);
    if (at) memcpy(at, data, size);
}

void buffer_append_bytes(struct buffer *b, struct bytes v) { buffer_append(b, v.data, v.size); }
void buffer_append_text(struct buffer *b, const char *text) { buffer_append(b, text, strlen(text)); }

void buffer_printf(struct buffer *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    CHECK(n >= 0);
    size_t limit = b->limit;
    if (limit && limit < SIZE_MAX) b->limit++; /* for the final zero that vsnprintf writes */
    uint8_t *at = buffer_extend(b, (size_t)n + 1);
    b->limit = limit;
    if (at) {
        vsnprintf((char *)at, (size_t)n + 1, format, again);
        b->size--;
    }
    va_end(again);
}

void buffer_clear(struct buffer *b)
{
    b->size = 0;
    b->failed = false;
}

void buffer_free(struct buffer *b)
{
    give_back(b);
    *b = (struct buffer){.limit = b->limit, .secret = b->secret, .mapped = b->mapped};
}

struct bytes buffer_bytes(const struct buffer *b) { return (struct bytes){b->data, b->size}; }

bool id_equal(const struct id *a, const struct id *b) { return memcmp(a, b, sizeof *a) == 0; }
bool digest_equal(const struct digest *a, const struct digest *b) { return memcmp(a, b, sizeof *a) == 0; }

bool id_is_zero(const struct id *a)
{
    static const struct id zero;
    return id_equal(a, &zero);
}

static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";

void id_format(char out[static ID_TEXT_SIZE], const struct id *id)
{
    for (size_t i = 0; i < ID_TEXT_SIZE - 1; i++) {
        size_t bit = i * 5, byte = bit / 8;
        unsigned pair = (unsigned)id->bytes[byte] << 8 | (byte + 1 < 16 ? id->bytes[byte + 1] : 0);
        out[i] = base32[pair >> (11 - bit % 8) & 31];
    }
    out[ID_TEXT_SIZE - 1] = '\0';
}

enum err id_parse(struct id *out, const char *text)
{
    struct id id = {{0}};
    if (strlen(text) != ID_TEXT_SIZE - 1) return ERR_INVALID;
    for (size_t i = 0; i < ID_TEXT_SIZE - 1; i++) {
        char c = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
        const char *at = c ? strchr(base32, c) : NULL;
        if (!at) return ERR_INVALID;
        size_t bit = i * 5, byte = bit / 8;
        unsigned pair = (unsigned)(at - base32) << (11 - bit % 8);
        id.bytes[byte] |= (uint8_t)(pair >> 8);
        if (byte + 1 < 16)
            id.bytes[byte + 1] |= (uint8_t)pair;
        else if (pair & 0xff)
            return ERR_INVALID; /* 26 characters carry 130 bits: the last two must be zero */
    }
    *out = id;
    return OK;
}

void hex_format(char *out, const void *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *in = data;
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * size] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

enum err hex_parse(uint8_t *out, size_t size, const char *text)
{
    if (strlen(text) != 2 * size) return ERR_INVALID;
    for (size_t i = 0; i < size; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return ERR_INVALID;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return OK;
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_append(struct buffer *out, struct bytes data)
{
    for (size_t i = 0; i < data.size; i += 3) {
        size_t n = data.size - i < 3 ? data.size - i : 3;
        uint32_t v = (uint32_t)data.data[i] << 16;
        if (n > 1) v |= (uint32_t)data.data[i + 1] << 8;
        if (n > 2) v |= data.data[i + 2];
        char text[4] = {base64[v >> 18], base64[v >> 12 & 63], n > 1 ? base64[v >> 6 & 63] : '=',
                        n > 2 ? base64[v & 63] : '='};
        buffer_append(out, text, 4);
    }
}

static int base64_digit(uint8_t c)
{
    const char *at = c ? strchr(base64, c) : NULL;
    return at ? (int)(at - base64) : -1;
}

enum err base64_decode(struct buffer *out, struct bytes text)
{
    if (text.size % 4) return ERR_INVALID;
    for (size_t i = 0; i < text.size; i += 4) {
        const uint8_t *in = text.data + i;
        bool last = i + 4 == text.size;
        size_t n = last && in[3] == '=' ? (in[2] == '=' ? 1 : 2) : 3;
        int d[4] = {base64_digit(in[0]), base64_digit(in[1]), n > 1 ? base64_digit(in[2]) : 0,
                    n > 2 ? base64_digit(in[3]) : 0};
        if (d[0] < 0 || d[1] < 0 || d[2] < 0 || d[3] < 0) return ERR_INVALID;
        uint32_t v = (uint32_t)d[0] << 18 | (uint32_t)d[1] << 12 | (uint32_t)d[2] << 6 | (uint32_t)d[3];
        if ((n == 1 && (v & 0xffff)) || (n == 2 && (v & 0xff))) return ERR_INVALID;
        uint8_t b[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        buffer_append(out, b, n);
    }
    return out->failed ? ERR_TOO_LARGE : OK;
}

void put_be16(uint8_t out[static 2], uint16_t v)
{
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
}

void put_be32(uint8_t out[static 4], uint32_t v)
{
    put_be16(out, (uint16_t)(v >> 16));
    put_be16(out + 2, (uint16_t)v);
}

void put_be64(uint8_t out[static 8], uint64_t v)
{
    put_be32(out, (uint32_t)(v >> 32));
    put_be32(out + 4, (uint32_t)v);
}

uint16_t get_be16(const uint8_t in[static 2]) { return (uint16_t)(in[0] << 8 | in[1]); }
uint32_t get_be32(const uint8_t in[static 4]) { return (uint32_t)get_be16(in) << 16 | get_be16(in + 2); }
uint64_t get_be64(const uint8_t in[static 8]) { return (uint64_t)get_be32(in) << 32 | get_be32(in + 4); }
