/* The bytes of the log's segment files. All integers are big-endian.
 *
 * A segment is a file "%08x.seg" of fixed size, named by its sequence number
 * (from 1 on, without gaps but at the front), zero-filled and synced before its
 * first use:
 *
 *      0  header, see struct log_segment_header
 *   4096  the same again, since without it the records have no proof of origin
 *   8192  records, each at a multiple of 8; then zeros to the end
 *
 * A record is a header of 72 bytes, the sealed payload (XChaCha20-Poly1305), and
 * 1 to 8 bytes of padding, 0xa5, to a multiple of 8:
 *
 *      0  magic 4, type 1, kind 1, zero 2
 *      8  size of the sealed payload 4, CRC-32C of sealed payload and padding 4
 *     16  tag of the segment 8: random, so that nothing of a file's earlier life counts
 *     24  batch 8
 *     32  index 8
 *     40  term 8
 *     48  low 8: the lowest index truncated in this segment so far, or 2^64 - 1
 *     56  truncations so far in the log's life 4, offset of the batch's first record 4
 *     64  offset of this record 4, CRC-32C of bytes 0 to 67 4
 *
 * Additional data of the seal: "consilium/log/v1\n", log's name, "\n", log id,
 * and the header with both CRCs zero.
 *
 * How opening tells a torn tail from damage:
 *   - The batch number grows with each fdatasync that succeeded. So a record of
 *     batch N proves that everything before the first record of batch N was durable.
 *   - Every byte is written once, over zeros, and a disk writes whole sectors of
 *     512 bytes. A record cut by sector borders into pieces has a non-zero byte in
 *     every piece (words 0 and 8 of the header are never zero, nor is padding;
 *     whole sectors of ciphertext are not zero by chance). So a record that fails
 *     its check, though no piece of it is all zeros, was written in full, and is
 *     damaged rather than torn.
 *   What is bad, in or after the last batch, and has an all-zero piece, is torn.
 */
#ifndef STORAGE_LOG_FORMAT_H
#define STORAGE_LOG_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/log.h"

#define LOG_VERSION 1u
#define LOG_PAGE 4096u
#define LOG_DATA_START (2 * LOG_PAGE)
#define LOG_SEGMENT_MIN (16 * LOG_PAGE)
#define LOG_SEGMENT_MAX (1u << 30)
#define LOG_SECTOR 512u
#define LOG_HEADER_SIZE 72u
#define LOG_SEGMENT_HEADER_SIZE 108u
#define LOG_STATE_SIZE 84u
#define LOG_NEVER UINT64_MAX /* "low" without a truncation */

/* What seals records: borrowed key, and the start of the additional data. */
struct log_cipher {
    const struct seal_key *key;
    uint8_t prefix[LIMIT_NAME + 64];
    size_t prefix_size;
};
void log_cipher_setup(struct log_cipher *c, const struct seal_key *key, const char *name,
                      const struct id *log_id);

struct log_segment_header {
    uint32_t size, sequence;
    struct id log_id;
    uint64_t tag;
};
/* Fills LOG_SEGMENT_HEADER_SIZE bytes; holds a seal that only this key and name open. */
void log_segment_header_encode(uint8_t *out, const struct log_segment_header *h,
                               const struct seal_key *key, const char *name);
/* ERR_CORRUPT; ERR_VERSION: whole, but of another version; ERR_DECRYPT: whole, but
 * made with another key or name (`h` is filled). `in` has LOG_SEGMENT_HEADER_SIZE bytes. */
enum err log_segment_header_decode(struct log_segment_header *h, const uint8_t *in,
                                   const struct seal_key *key, const char *name);

struct log_header {
    enum log_record_type type;
    uint8_t kind;
    uint32_t size, crc; /* of the sealed payload */
    uint64_t tag, batch, index, term, low;
    uint32_t truncations, batch_start, offset;
};
/* Bytes on disk of a record whose sealed payload has `sealed` bytes. */
uint32_t log_record_span(uint32_t sealed);
/* Writes the whole record at `at`; sets size and crc of `h`. Returns its span. */
uint32_t log_record_encode(uint8_t *at, struct log_header *h, const struct log_cipher *c,
                           struct bytes plain);
/* Whether LOG_HEADER_SIZE bytes are a header with a good checksum and known type. */
bool log_header_decode(struct log_header *h, const uint8_t *in);
/* Whether sealed payload and padding match the header's checksum; the span must be there. */
bool log_record_check(const uint8_t *at, const struct log_header *h);
/* Opens the payload of a record at `at` in place; `plain` is a view. ERR_CORRUPT. */
enum err log_record_open(struct bytes *plain, uint8_t *at, const struct log_header *h,
                         const struct log_cipher *c);
/* Whether bytes from .. to of an image were written, as far as zeros can tell:
 * no piece between sector borders is all zeros. */
bool log_written(const uint8_t *image, uint32_t from, uint32_t to);

/* Payload of LOG_STATE; its header's index is the last index before the batch,
 * its header's term the current term. */
struct log_state {
    uint64_t vote;
    struct log_cosigned cosigned;
    uint64_t last_term, compact_index, compact_term;
    uint32_t flags;
};
#define LOG_STATE_DAMAGED 1u
#define LOG_TAIL_DAMAGED 2u
#define LOG_VOTES_FORGOTTEN 4u
void log_state_encode(uint8_t out[static LOG_STATE_SIZE], const struct log_state *s);
enum err log_state_decode(struct log_state *s, struct bytes in); /* ERR_CORRUPT */

/* Payload of LOG_COMPACT: two byte strings with 4-byte lengths. */
void log_snapshot_encode(struct buffer *out, struct bytes config, struct bytes manifest);
enum err log_snapshot_decode(struct bytes *config, struct bytes *manifest, struct bytes in); /* views; ERR_CORRUPT */

#endif
