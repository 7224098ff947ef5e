#include "storage/crc32c.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* 0x1edc6f41 with its bits reversed */

static uint32_t table[8][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = (c >> 1) ^ (c & 1 ? POLYNOMIAL : 0);
        table[0][i] = c;
    }
    for (unsigned k = 1; k < 8; k++)
        for (unsigned i = 0; i < 256; i++)
            table[k][i] = (table[k - 1][i] >> 8) ^ table[0][table[k - 1][i] & 0xff];
}

/* Eight bytes a step, one table for each position ("slicing by 8"). */
uint32_t crc32c_by_table(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint32_t c = ~0u;
    pthread_once(&table_once, table_fill);
    for (; size >= 8; p += 8, size -= 8)
        c = table[7][(c ^ p[0]) & 0xff] ^ table[6][((c >> 8) ^ p[1]) & 0xff] ^
            table[5][((c >> 16) ^ p[2]) & 0xff] ^ table[4][(c >> 24) ^ p[3]] ^ table[3][p[4]] ^
            table[2][p[5]] ^ table[1][p[6]] ^ table[0][p[7]];
    for (; size > 0; p++, size--) c = (c >> 8) ^ table[0][(c ^ *p) & 0xff];
    return ~c;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_by_instruction(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint64_t c = ~0u;
    for (; size >= 8; p += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    for (; size > 0; p++, size--) c = __builtin_ia32_crc32qi((uint32_t)c, *p);
    return ~(uint32_t)c;
}

uint32_t crc32c(const void *data, size_t size)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_by_instruction(data, size) : crc32c_by_table(data, size);
}
#else
uint32_t crc32c(const void *data, size_t size) { return crc32c_by_table(data, size); }
#endif
