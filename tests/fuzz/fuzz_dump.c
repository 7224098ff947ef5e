/* `consiliumd dump` of a row with any key and any value: the first byte is the key's size. What is shown is one text
 * that a terminal does nothing with, the same each time. */
#include "node/dump.c" /* its decoder is its own */

#include <stdlib.h>

#include "base/check.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The caller frees. */
static char *shown(struct bytes key, struct bytes value)
{
    char *text = NULL;
    size_t size = 0;
    FILE *before = stdout, *memory = open_memstream(&text, &size);
    CHECK(memory);
    stdout = memory;
    print_row(key, value);
    stdout = before;
    CHECK(fclose(memory) == 0 && text && strlen(text) == size);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] > size - 1) return 0;
    struct bytes key = bytes_of(data + 1, data[0]), value = bytes_of(data + 1 + data[0], size - 1 - data[0]);
    char *text = shown(key, value), *again = shown(key, value);
    CHECK(strcmp(text, again) == 0 && text[0] && text[strlen(text) - 1] == '\n');
    for (const char *at = text; *at; at++)
        CHECK((unsigned char)*at >= 0x80 || isprint((unsigned char)*at) || *at == '\n' || *at == '\t');
    fuzz_taken = is_packed(value) || is_text(value);
    free(text);
    free(again);
    return 0;
}
