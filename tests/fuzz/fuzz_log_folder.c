/* The log's files as a broken disk, a lost file or a careless copy leaves them: a good log of three segments is made
 * once, its files are changed as the input says, and it is opened. Whatever it says is there is what was written; it
 * goes on from there, and a second opening finds the same.
 *   first byte    even: blocks, votes and a mark, by a process that was killed; odd: also truncated, and compacted, and
 *                 closed as it should be
 *   then changes of four bytes: what (and, by its highest bits, of which file), where (two), and how */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "crypto/random.h"
#include "storage/crc32c.h"
#include "storage/log_segment.h"
#include "tests/lib/folder.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILES 4 /* three segments with records, and the prepared one */
#define BLOCKS 8
#define BLOCK_SIZE 15000 /* three in a segment */
#define SIZE LOG_SEGMENT_MIN
#define CHANGES 8
#define READ_MOST (4 * SIZE)

static const struct seal_key key = {.bytes = "fuzz"};
static char folder[FOLDER_PATH];
static struct buffer good[2][FILES];

static struct log_options options(void)
{
    return (struct log_options){.directory = folder, .name = "fuzz", .key = &key, .segment_size = SIZE};
}

static void fill(uint8_t payload[static BLOCK_SIZE], uint64_t index, uint64_t term)
{
    memset(payload, (int)(index + 16 * term), BLOCK_SIZE);
}

static uint64_t term_at(uint64_t index) { return index < 5 ? 1 : index <= BLOCKS ? 2 : 3; }

static void append(struct log *log, uint64_t index, uint64_t term)
{
    uint8_t payload[BLOCK_SIZE];
    fill(payload, index, term);
    CHECK(log_append(log, &(struct log_entry){index, term, (uint8_t)index, BYTES(payload)}, 1) == OK);
    CHECK(log_sync(log) == OK);
}

static void idle(struct log *log)
{
    for (bool more = true; more;) CHECK(log_idle(log, &more) == OK);
}

static const char *file_path(int number)
{
    static char path[FOLDER_PATH];
    char name[LOG_FILE_NAME];
    log_file_name(name, (uint32_t)number + 1);
    folder_join(path, folder, name);
    return path;
}

static void empty_folder(void)
{
    for (int i = 0; i < FILES + 4; i++) CHECK(unlink(file_path(i)) == 0 || errno == ENOENT);
}

static void remove_folder(void)
{
    for (int i = 0; i < 2 * FILES; i++) buffer_free(&good[i / FILES][i % FILES]);
    folder_remove(folder);
}

static void keep(struct buffer *out, int number)
{
    char name[LOG_FILE_NAME];
    log_file_name(name, (uint32_t)number + 1);
    *out = access(file_path(number), F_OK) == 0 ? folder_load(folder, name) : (struct buffer){0};
}

static void write_blocks(struct log *log, bool less)
{
    CHECK(log_set_vote(log, 1, 2) == OK);
    for (uint64_t i = 1; i <= BLOCKS; i++) {
        if (i == BLOCKS) idle(log);
        append(log, i, term_at(i));
        if (i == 3) CHECK(log_set_cosigned(log, &(struct log_cosigned){2, 5, {{1}}}) == OK);
        if (i == 4 && less) CHECK(log_compact(log, 2, 1, bytes_text("config"), bytes_text("manifest")) == OK);
        if (i == 4) CHECK(log_set_vote(log, 2, 1) == OK);
        if (i == 5 && less) CHECK(log_truncate(log, 5) == OK && log_sync(log) == OK);
        if (i == 5 && less) append(log, 5, 2);
    }
}

static void make(bool less)
{
    struct log *log;
    const struct log_options o = options();
    CHECK(log_open(&log, &o, NULL) == OK);
    write_blocks(log, less);
    if (less) log_close(log);
    for (int i = 0; i < FILES; i++) keep(&good[less][i], i);
    if (!less) log_close(log);
    empty_folder();
}

/* --- changes --- */

/* Good, but for another log, place, size or version. */
static void other_header(uint8_t *data, uint8_t how)
{
    struct log_segment_header h;
    const char *name = how & 0x10 ? "other" : "fuzz";
    if (log_segment_header_decode(&h, data, &key, "fuzz") != OK) return;
    if (how & 1) h.size += LOG_PAGE * (how >> 6);
    if (how & 2) h.sequence ^= 1;
    if (how & 4) h.log_id.bytes[0] ^= 1;
    if (how & 8) h.tag ^= 1;
    log_segment_header_encode(data, &h, &key, name);
    if (!(how & 0x20)) return;
    uint8_t *crc = data + LOG_SEGMENT_HEADER_SIZE - 4;
    data[11] ^= how; /* in its magic, or its version */
    put_be32(crc, crc32c(data, LOG_SEGMENT_HEADER_SIZE - 4));
}

static void change(struct buffer files[static FILES], const uint8_t in[static 4])
{
    struct buffer *file = &files[in[0] >> 6], *other = &files[in[3] % FILES];
    size_t where = in[1] | (size_t)in[2] << 8;
    bool there = where < file->size;
    switch (in[0] % 8) {
    case 0: if (there) file->data[where] ^= in[3]; break;
    case 1: if (there) memset(file->data + where / LOG_SECTOR * LOG_SECTOR, 0, LOG_SECTOR); break;
    case 2: if (there) file->size = where; break;
    case 3: buffer_free(file); break;
    case 4:
        buffer_clear(file);
        if (file != other) buffer_append_bytes(file, buffer_bytes(other));
        break;
    case 5: if (file->size >= LOG_DATA_START) other_header(file->data + (where & 1) * LOG_PAGE, in[3]); break;
    case 6: if (there) memset(file->data + where, 0, file->size - where); break; /* never written */
    case 7: if (there) memset(file->data + where, in[3], (file->size - where) % 1024); break;
    }
}

static void store(struct buffer files[static FILES])
{
    for (int i = 0; i < FILES; i++) {
        if (!files[i].data) continue;
        size_t used = files[i].size;
        while (used > 0 && files[i].data[used - 1] == 0) used--; /* the rest stays a hole */
        int file = open(file_path(i), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        CHECK(file >= 0 && write(file, files[i].data, used) == (ssize_t)used);
        CHECK(ftruncate(file, (off_t)files[i].size) == 0 && close(file) == 0);
    }
}

/* --- what it says then --- */

static bool is_damaged(struct log *log, uint64_t index)
{
    uint64_t first, last;
    return log_damage(log, &first, &last, index) == OK && first <= index;
}

static void check_block(struct log *log, const struct log_entry *entry, uint64_t index)
{
    uint8_t expected[BLOCK_SIZE];
    uint64_t term;
    CHECK(entry->index == index && entry->kind == (uint8_t)index && !is_damaged(log, index));
    CHECK(log_term(log, &term, index) == OK && term == entry->term && term >= 1 && term <= 3);
    fill(expected, index, term);
    CHECK(bytes_equal(entry->payload, BYTES(expected)));
}

static void check_blocks(struct log *log, const struct log_status *s)
{
    struct buffer out = {0};
    struct log_entry entries[4];
    CHECK(s->first >= 1 && s->last + 1 >= s->first && s->last <= BLOCKS + 1);
    for (uint64_t i = s->first; i <= s->last; i++) {
        size_t count = 0;
        buffer_clear(&out);
        enum err e = log_read(log, &out, entries, &count, 1 + i % 4, i, READ_MOST);
        CHECK(e == (is_damaged(log, i) ? ERR_CORRUPT : OK));
        CHECK(e != OK || (count >= 1 && count <= 1 + i % 4 && i + count - 1 <= s->last));
        for (size_t j = 0; e == OK && j < count; j++) check_block(log, &entries[j], i + j);
    }
    buffer_free(&out);
}

static void check_snapshot(struct log *log)
{
    uint64_t index, term;
    struct buffer config = {0}, manifest = {0};
    enum err e = log_snapshot(log, &index, &term, &config, &manifest);
    CHECK(e == OK || e == ERR_NOT_FOUND || e == ERR_CORRUPT);
    if (e == OK) CHECK(index == 2 && term == 1 && bytes_equal(buffer_bytes(&config), bytes_text("config")));
    if (e == OK) CHECK(bytes_equal(buffer_bytes(&manifest), bytes_text("manifest")));
    buffer_free(&config);
    buffer_free(&manifest);
}

static bool visit(void *data, const struct log_record *record)
{
    ++*(unsigned *)data;
    CHECK(record->damaged || (record->header_known && strcmp(log_record_name(record->type), "unknown") != 0));
    return true;
}

static bool same_status(const struct log_status *a, const struct log_status *b)
{
    return a->term == b->term && a->vote == b->vote && a->first == b->first && a->last == b->last &&
           a->last_term == b->last_term && a->compact_index == b->compact_index && a->damaged == b->damaged &&
           a->state_damaged == b->state_damaged && a->tail_damaged == b->tail_damaged &&
           memcmp(&a->cosigned, &b->cosigned, sizeof a->cosigned) == 0;
}

/* The first damaged block comes back from a peer. */
static void repair(struct log *log)
{
    uint64_t first, last;
    uint8_t payload[BLOCK_SIZE];
    struct log_status before, after;
    if (log_damage(log, &first, &last, 0) != OK) return;
    struct log_entry entry = {first, term_at(first), (uint8_t)first, BYTES(payload)};
    fill(payload, first, entry.term);
    log_status(log, &before);
    CHECK(last >= first && log_repair(log, &entry) == OK && log_sync(log) == OK);
    log_status(log, &after);
    CHECK(after.damaged == before.damaged - 1 && !is_damaged(log, first));
}

static struct log *open_again(struct log *log, struct log_status *s)
{
    const struct log_options o = options();
    log_close(log);
    CHECK(log_open(&log, &o, NULL) == OK);
    log_status(log, s);
    return log;
}

/* It is the same once more, and goes on. */
static void use(struct log *log)
{
    struct log_status s, again;
    log_status(log, &s);
    CHECK(s.term <= 2 && s.vote <= 2);
    check_blocks(log, &s);
    check_snapshot(log);
    log = open_again(log, &again);
    CHECK(same_status(&s, &again) && again.torn == 0);
    repair(log);
    log_status(log, &s);
    if (again.last <= BLOCKS && again.last_term <= 3) {
        append(log, again.last + 1, 3);
        log = open_again(log, &again);
        CHECK(again.last == s.last + 1 && again.last_term == 3 && again.damaged == s.damaged);
        check_blocks(log, &again);
    }
    log_close(log);
}

static void open_changed(void)
{
    struct log *log;
    struct failure why = {0}, seen = {0};
    const struct log_options o = options();
    unsigned records = 0;
    enum err looked = log_visit(&o, visit, &records, &seen), e = log_open(&log, &o, &why);
    CHECK(looked == e || (e == OK && records == 0)); /* a new log is made where there is none */
    if (e == OK) {
        use(log);
        fuzz_taken = true;
    } else {
        CHECK((e == ERR_CORRUPT || e == ERR_VERSION || e == ERR_DECRYPT) && why.code == e && why.text[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer files[FILES] = {{0}};
    crypto_init();
    if (!good[0][0].size) {
        log_setup(LOG_ERROR + 1, false);
        folder_make(folder, 1);
        CHECK(atexit(remove_folder) == 0);
        make(false);
        make(true);
    }
    if (size == 0) return 0;
    for (int i = 0; i < FILES; i++) buffer_append_bytes(&files[i], buffer_bytes(&good[data[0] & 1][i]));
    for (size_t at = 1; at + 4 <= size && at < 4 * CHANGES; at += 4) change(files, data + at);
    store(files);
    open_changed();
    empty_folder();
    for (int i = 0; i < FILES; i++) buffer_free(&files[i]);
    return 0;
}
