#include "storage/log_segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "crypto/random.h"

#define UNREADABLE 0xee
static const char preparing_name[] = "prepare.tmp", spare_name[] = "spare.tmp";

void log_file_name(char out[static LOG_FILE_NAME], uint32_t sequence)
{
    snprintf(out, LOG_FILE_NAME, "%08x.seg", sequence);
}

static enum err folder_path(char out[static FILES_PATH], const struct log_folder *f, const char *name)
{
    return files_path(out, f->path, name, NULL);
}

/* --- listing --- */

/* False: not a segment's name. */
static bool sequence_of(uint32_t *out, const char *name)
{
    char expected[LOG_FILE_NAME];
    unsigned sequence;
    if (sscanf(name, "%8x", &sequence) != 1) return false;
    log_file_name(expected, sequence);
    *out = sequence;
    return sequence > 0 && strcmp(name, expected) == 0;
}

static int compare_sequences(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static enum err remove_temporary(const struct log_folder *f, const char *name)
{
    char path[FILES_PATH];
    enum err code = folder_path(path, f, name);
    if (code != OK) return code;
    if (f->disk->unlink(f->disk->context, path) == 0 || errno == ENOENT) return OK;
    return disk_error(errno);
}

static enum err list_names(struct buffer *sequences, DIR *directory)
{
    struct dirent *entry;
    uint32_t sequence;
    for (errno = 0; (entry = readdir(directory)) != NULL; errno = 0)
        if (sequence_of(&sequence, entry->d_name)) buffer_append(sequences, &sequence, sizeof sequence);
    if (errno) return disk_error(errno);
    return sequences->failed ? ERR_NOMEM : OK;
}

enum err log_folder_list(uint32_t **out, size_t *count, const struct log_folder *f, bool read_only,
                         struct failure *failure)
{
    struct buffer sequences = {0};
    DIR *directory = opendir(f->path);
    if (!directory)
        return fail(failure, disk_error(errno), "cannot open the folder %s: %s", f->path, strerror(errno));
    enum err code = list_names(&sequences, directory);
    closedir(directory);
    if (code == OK && !read_only) code = remove_temporary(f, preparing_name);
    if (code == OK && !read_only) code = remove_temporary(f, spare_name);
    if (code != OK) {
        fail(failure, code, "cannot list the folder %s: %s", f->path, strerror(errno));
        buffer_free(&sequences);
        return code;
    }
    *out = (uint32_t *)(void *)sequences.data;
    *count = sequences.size / sizeof **out;
    if (*count) qsort(*out, *count, sizeof **out, compare_sequences);
    return OK;
}

/* --- loading --- */

/* Either copy of the header. */
static enum err read_header(struct log_segment_header *h, int file, const struct log_folder *f)
{
    uint8_t bytes[LOG_SEGMENT_HEADER_SIZE];
    enum err code = ERR_CORRUPT;
    for (unsigned copy = 0; copy < 2 && code == ERR_CORRUPT; copy++)
        if (disk_read(f->disk, file, bytes, sizeof bytes, copy * LOG_PAGE) == OK)
            code = log_segment_header_decode(h, bytes, f->key, f->name);
    return code;
}

static bool same_log(struct log_folder *f, const struct log_segment_header *h, uint32_t sequence)
{
    if (id_is_zero(&f->log_id)) f->log_id = h->log_id;
    return id_equal(&f->log_id, &h->log_id) && h->sequence == sequence;
}

static enum err segment_header(struct log_segment *s, struct log_folder *f)
{
    struct log_segment_header h;
    struct stat st;
    enum err code = read_header(&h, s->file, f);
    if (code == OK && !same_log(f, &h, s->sequence)) code = ERR_CORRUPT;
    if (code != OK) return code;
    s->size = h.size;
    s->tag = h.tag;
    s->whole = fstat(s->file, &st) == 0 && st.st_size >= h.size;
    return OK;
}

static struct log_segment *segment_new(uint32_t sequence, uint32_t size)
{
    struct log_segment *s = xcalloc(1, sizeof *s);
    s->sequence = sequence;
    s->size = size;
    s->file = -1;
    s->users = 1;
    return s;
}

enum err log_segment_open(struct log_segment **out, struct log_folder *f, uint32_t sequence,
                          bool read_only, struct failure *failure)
{
    char name[LOG_FILE_NAME], path[FILES_PATH];
    struct log_segment *s = segment_new(sequence, f->segment_size);
    log_file_name(name, sequence);
    enum err code = folder_path(path, f, name);
    if (code == OK) {
        s->file = f->disk->open(f->disk->context, path, read_only ? O_RDONLY : O_RDWR, 0);
        s->exists = s->file >= 0 || errno != ENOENT;
        if (s->file < 0 && (errno == EMFILE || errno == ENFILE || errno == EACCES || errno == EPERM))
            code = fail(failure, disk_error(errno), "cannot open %s: %s", path, strerror(errno));
    }
    if (code == OK && s->file >= 0) code = segment_header(s, f);
    if (code == ERR_CORRUPT) {
        f->disk->close(f->disk->context, s->file);
        s->file = -1;
        code = OK;
    }
    if (code == ERR_DECRYPT)
        fail(failure, code, "%s was made with another storage key, or under another name than \"%s\"", path, f->name);
    if (code == ERR_VERSION) fail(failure, code, "%s was written by another version", path);
    if (code != OK) {
        log_segment_release(s, f);
        return code;
    }
    *out = s;
    return OK;
}

void log_segment_load(uint8_t *data, struct log_segment *s, const struct log_folder *f)
{
    const struct disk *disk = f->disk;
    memset(data, UNREADABLE, s->size);
    if (disk_read(disk, s->file, data, s->size, 0) == OK) return;
    for (uint32_t at = 0; at < s->size; at += LOG_PAGE) {
        enum err code = disk_read(disk, s->file, data + at, LOG_PAGE, at);
        if (code != OK && code != ERR_TRUNCATED) memset(data + at, UNREADABLE, LOG_PAGE);
    }
    s->whole = false;
}

void log_segment_release(struct log_segment *s, const struct log_folder *f)
{
    CHECK(s->users > 0);
    if (--s->users > 0) return;
    if (s->file >= 0) f->disk->close(f->disk->context, s->file);
    free(s);
}

/* --- preparing ahead --- */

static enum err prepare_begin(struct log_preparation *p, const struct log_folder *f)
{
    char path[FILES_PATH], spare[FILES_PATH];
    enum err code = folder_path(path, f, preparing_name);
    if (code == OK) code = folder_path(spare, f, spare_name);
    if (code != OK) return code;
    if (p->spare && f->disk->rename(f->disk->context, spare, path) != 0) return disk_error(errno);
    p->spare = false;
    p->file = f->disk->open(f->disk->context, path, O_RDWR | O_CREAT, 0600);
    p->done = 0;
    return p->file >= 0 ? OK : disk_error(errno);
}

/* Zeros, also over a removed segment: what was erased is gone, and the rule that
 * tells torn from damaged rests on them. Synced here, so that no large write-back
 * waits when the log syncs a batch. */
static enum err prepare_zeros(struct log_preparation *p, const struct log_folder *f)
{
    static const uint8_t zeros[64 * KIB];
    uint32_t end = f->segment_size - p->done < LOG_PREPARE_STEP ? f->segment_size : p->done + LOG_PREPARE_STEP;
    while (p->done < end) {
        uint32_t size = end - p->done < sizeof zeros ? end - p->done : sizeof zeros;
        enum err code = disk_write(f->disk, p->file, zeros, size, p->done);
        if (code != OK) return code;
        p->done += size;
    }
    return f->disk->fdatasync(f->disk->context, p->file) == 0 ? OK : disk_error(errno);
}

static enum err write_headers(struct log_segment *s, const struct log_folder *f)
{
    uint8_t header[LOG_SEGMENT_HEADER_SIZE];
    struct log_segment_header h = {.size = s->size, .sequence = s->sequence, .log_id = f->log_id, .tag = s->tag};
    log_segment_header_encode(header, &h, f->key, f->name);
    enum err code = disk_write(f->disk, s->file, header, sizeof header, 0);
    if (code == OK) code = disk_write(f->disk, s->file, header, sizeof header, LOG_PAGE);
    if (code == OK && f->disk->fdatasync(f->disk->context, s->file) != 0) code = disk_error(errno);
    return code;
}

static enum err prepare_end(struct log_segment *s, const struct log_folder *f)
{
    char name[LOG_FILE_NAME], from[FILES_PATH], to[FILES_PATH];
    log_file_name(name, s->sequence);
    enum err code = write_headers(s, f);
    if (code == OK) code = folder_path(from, f, preparing_name);
    if (code == OK) code = folder_path(to, f, name);
    if (code == OK && f->disk->rename(f->disk->context, from, to) != 0) code = disk_error(errno);
    return code == OK ? disk_sync_directory(f->disk, f->path) : code;
}

void log_prepare_abandon(struct log_preparation *p, const struct log_folder *f)
{
    if (p->file < 0) return;
    f->disk->close(f->disk->context, p->file);
    p->file = -1;
    remove_temporary(f, preparing_name);
}

enum err log_prepare_step(struct log_segment **out, struct log_preparation *p, const struct log_folder *f,
                          uint32_t sequence)
{
    *out = NULL;
    enum err code = p->file < 0 ? prepare_begin(p, f) : OK;
    if (code == OK && p->done < f->segment_size) {
        code = prepare_zeros(p, f);
        if (code == OK) return OK;
    }
    if (code != OK) {
        log_prepare_abandon(p, f);
        return code;
    }
    struct log_segment *s = segment_new(sequence, f->segment_size);
    random_bytes(&s->tag, sizeof s->tag);
    s->file = p->file;
    s->exists = s->whole = true;
    code = prepare_end(s, f);
    if (code != OK) {
        free(s);
        log_prepare_abandon(p, f);
        return code;
    }
    p->file = -1;
    *out = s;
    return OK;
}

enum err log_segment_remove(struct log_segment *s, bool unused, struct log_preparation *p,
                            const struct log_folder *f)
{
    char name[LOG_FILE_NAME], path[FILES_PATH], spare[FILES_PATH];
    log_file_name(name, s->sequence);
    enum err code = folder_path(path, f, name);
    if (code == OK) code = folder_path(spare, f, spare_name);
    if (code != OK || !s->exists) return code;
    bool keep = unused && !p->spare && s->whole && s->size == f->segment_size;
    int bad = keep ? f->disk->rename(f->disk->context, path, spare) : f->disk->unlink(f->disk->context, path);
    if (bad) return disk_error(errno);
    if (keep) p->spare = true;
    s->exists = false;
    return OK;
}
