/* Every truncation and every single-byte change of a valid encoding is either
 * refused or comes back identically from decoding and encoding again. */
#ifndef TESTS_LIB_MUTATE_H
#define TESTS_LIB_MUTATE_H

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

typedef enum err (*recode_fn)(struct buffer *out, struct bytes in);

/* The number of mutants that were accepted. */
struct mutants {
    size_t tried, accepted;
};

/* In memory of exactly this size, so that a sanitizer sees a read past the end. */
static inline bool recode_same(recode_fn recode, const uint8_t *data, size_t size)
{
    uint8_t *exact = xmalloc(size ? size : 1);
    struct buffer out = {0};
    memcpy(exact, data, size);
    enum err e = recode(&out, bytes_of(exact, size));
    if (e == OK) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), bytes_of(exact, size)));
    buffer_free(&out);
    free(exact);
    return e == OK;
}

static inline struct mutants mutate(recode_fn recode, struct bytes valid)
{
    struct mutants m = {0};
    uint8_t *copy = xmalloc(valid.size + 1);
    memcpy(copy, valid.data, valid.size);
    copy[valid.size] = 0;
    CHECK(recode_same(recode, copy, valid.size));
    for (size_t size = 0; size < valid.size; size++, m.tried++)
        m.accepted += recode_same(recode, copy, size);
    for (unsigned extra = 0; extra < 256; extra++, m.tried++) {
        copy[valid.size] = (uint8_t)extra;
        m.accepted += recode_same(recode, copy, valid.size + 1);
    }
    for (size_t i = 0; i < valid.size; i++) {
        for (unsigned change = 1; change < 256; change++, m.tried++) {
            copy[i] = valid.data[i] ^ (uint8_t)change;
            m.accepted += recode_same(recode, copy, valid.size);
        }
        copy[i] = valid.data[i];
    }
    free(copy);
    return m;
}

#endif
