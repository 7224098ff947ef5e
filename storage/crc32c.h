/* CRC-32C (Castagnoli, RFC 3720 appendix B.4): finds accidental damage without
 * opening seals. By the processor's instruction where there is one. */
#ifndef STORAGE_CRC32C_H
#define STORAGE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t size);
/* The same by table, for processors without the instruction and for comparison. */
uint32_t crc32c_by_table(const void *data, size_t size);

#endif
