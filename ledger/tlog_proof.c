#include "ledger/tlog_proof.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define HEADER "c2sp.org/tlog-proof@v1"
#define HASH_TEXT 44 /* base64 of 32 bytes */

/* --- writing --- */

void tlog_proof_format(struct buffer *out, const struct tlog_proof *proof)
{
    CHECK(proof->note.size > 0 && proof->path.count <= TREE_LEVELS + 1);
    buffer_append_text(out, HEADER "\n");
    if (proof->has_extra) {
        buffer_append_text(out, "extra ");
        base64_append(out, proof->extra);
        buffer_append_text(out, "\n");
    }
    buffer_printf(out, "index %llu\n", (unsigned long long)proof->index);
    for (uint32_t i = 0; i < proof->path.count; i++) {
        base64_append(out, BYTES(proof->path.hashes[i].bytes));
        buffer_append_text(out, "\n");
    }
    buffer_append_text(out, "\n");
    buffer_append_bytes(out, proof->note);
}

/* --- reading --- */

struct reader {
    struct bytes rest, line;
    unsigned number; /* of `line` */
    struct failure *failure;
};

static enum err refuse(const struct reader *r, const char *what)
{
    return fail(r->failure, ERR_SYNTAX, "line %u: %s", r->number, what);
}

static bool next_line(struct reader *r)
{
    const uint8_t *end = r->rest.size ? memchr(r->rest.data, '\n', r->rest.size) : NULL;
    r->number++;
    if (!end) return false;
    r->line = bytes_of(r->rest.data, (size_t)(end - r->rest.data));
    r->rest = bytes_of(end + 1, r->rest.size - r->line.size - 1);
    return true;
}

/* Whether the line starts with that; `after` is what follows. */
static bool after_word(const struct reader *r, const char *word, struct bytes *after)
{
    size_t size = strlen(word);
    if (r->line.size < size || memcmp(r->line.data, word, size) != 0) return false;
    *after = bytes_of(r->line.data + size, r->line.size - size);
    return true;
}

static enum err read_extra(struct reader *r, struct tlog_proof *out, struct buffer *extra)
{
    struct bytes text;
    if (!after_word(r, "extra ", &text)) return OK;
    if (text.size == 0 || base64_decode(extra, text) != OK) return refuse(r, "the extra data is not base64");
    out->has_extra = true;
    return next_line(r) ? OK : refuse(r, "it ends before the index");
}

/* Decimal without leading zeros. */
static enum err read_index(struct reader *r, struct tlog_proof *out)
{
    struct bytes text;
    if (!after_word(r, "index ", &text)) return refuse(r, "expected 'index'");
    bool good = text.size >= 1 && text.size <= 19 && (text.data[0] != '0' || text.size == 1);
    for (size_t i = 0; good && i < text.size; i++) {
        good = text.data[i] >= '0' && text.data[i] <= '9';
        out->index = out->index * 10 + (uint64_t)(text.data[i] - '0'); /* 19 digits fit into 64 bits */
    }
    return good && out->index < TREE_SIZE_MAX ? OK : refuse(r, "the index is not one");
}

static enum err read_hash(struct reader *r, struct tree_proof *path)
{
    struct buffer raw = {0};
    if (path->count == sizeof path->hashes / sizeof path->hashes[0]) return refuse(r, "too many hashes");
    bool good = r->line.size == HASH_TEXT && base64_decode(&raw, r->line) == OK && raw.size == sizeof path->hashes[0];
    if (good) memcpy(path->hashes[path->count++].bytes, raw.data, raw.size);
    buffer_free(&raw);
    return good ? OK : refuse(r, "a hash is not base64 of 32 bytes");
}

static enum err read_path(struct reader *r, struct tlog_proof *out)
{
    for (;;) {
        if (!next_line(r)) return refuse(r, "it ends before the checkpoint");
        if (r->line.size == 0) break;
        enum err e = read_hash(r, &out->path);
        if (e != OK) return e;
    }
    out->note = r->rest;
    r->number++;
    return out->note.size > 0 ? OK : refuse(r, "there is no checkpoint");
}

enum err tlog_proof_parse(struct tlog_proof *out, struct buffer *extra, struct bytes text, struct failure *failure)
{
    struct reader r = {.rest = text, .failure = failure};
    *out = (struct tlog_proof){0};
    buffer_clear(extra);
    if (text.size > LIMIT_RECEIPT)
        return fail(failure, ERR_TOO_LARGE, "it has more than %u bytes", (unsigned)LIMIT_RECEIPT);
    if (!next_line(&r) || !bytes_equal(r.line, bytes_text(HEADER)))
        return fail(failure, ERR_SYNTAX, "line 1: expected '%s'", HEADER);
    if (!next_line(&r)) return refuse(&r, "it ends before the index");
    enum err e = read_extra(&r, out, extra);
    if (e == OK) e = read_index(&r, out);
    if (e == OK) e = read_path(&r, out);
    out->extra = buffer_bytes(extra);
    return e;
}
