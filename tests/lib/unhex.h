/* Hexadecimal of any length in tests: vectors as their sources print them. */
#ifndef TESTS_LIB_UNHEX_H
#define TESTS_LIB_UNHEX_H

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"

/* The caller frees .data. */
static inline struct bytes unhex(const char *text)
{
    size_t size = strlen(text) / 2;
    uint8_t *data = xmalloc(size);
    CHECK(hex_parse(data, size, text) == OK);
    return bytes_of(data, size);
}

static inline void unhex_free(struct bytes b) { free((void *)(uintptr_t)b.data); }

/* Into an array of exactly that size. */
static inline void unhex_to(void *out, size_t size, const char *text) { CHECK(hex_parse(out, size, text) == OK); }

#endif
