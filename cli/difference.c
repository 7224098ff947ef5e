#include "cli/difference.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/check.h"
#include "cli/output.h"

#define LINES_MAX 2000 /* on either side, without what is equal at both ends: 16 MB of table */
#define AROUND 3

bool is_text(struct bytes content)
{
    for (size_t at = 0; at < content.size;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(content.data + at, (utf8proc_ssize_t)(content.size - at), &c);
        if (n <= 0 || (c < 0x20 && c != '\n' && c != '\t' && c != '\r') || c == 0x7f) return false;
        at += (size_t)n;
    }
    return true;
}

struct lines {
    size_t count;
    struct bytes *at;
};

static struct lines split(struct bytes text)
{
    struct lines lines = {0};
    size_t room = 1;
    for (size_t i = 0; i < text.size; i++)
        room += text.data[i] == '\n';
    lines.at = xcalloc(room, sizeof *lines.at);
    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t n = end ? (size_t)(end - text.data) : text.size;
        lines.at[lines.count++] = bytes_of(text.data, n);
        if (!end) break;
        text = bytes_of(end + 1, text.size - n - 1);
    }
    return lines;
}

static void write_line(struct buffer *out, char mark, struct bytes line)
{
    buffer_printf(out, "%c ", mark);
    text_clean(out, line, true);
    buffer_append_text(out, "\n");
}

/* The longest common subsequence's lengths, from the ends: table[i][j] of what is
 * left behind i and j. */
static uint16_t *common_lengths(const struct lines *a, const struct lines *b)
{
    size_t width = b->count + 1;
    uint16_t *table = xcalloc((a->count + 1) * width, sizeof *table);
    for (size_t i = a->count; i-- > 0;)
        for (size_t j = b->count; j-- > 0;) {
            uint16_t down = table[(i + 1) * width + j], right = table[i * width + j + 1];
            table[i * width + j] = bytes_equal(a->at[i], b->at[j]) ? (uint16_t)(table[(i + 1) * width + j + 1] + 1)
                                   : down > right                  ? down
                                                                   : right;
        }
    return table;
}

static void write_changes(struct buffer *out, const struct lines *a, const struct lines *b)
{
    uint16_t *table = common_lengths(a, b);
    size_t width = b->count + 1, i = 0, j = 0, equal = 0;
    while (i < a->count || j < b->count) {
        bool same = i < a->count && j < b->count && bytes_equal(a->at[i], b->at[j]);
        if (same) {
            if (++equal <= AROUND) write_line(out, ' ', a->at[i]);
            if (equal == AROUND + 1) buffer_append_text(out, "  ...\n");
            i++, j++;
            continue;
        }
        equal = 0;
        bool drop = i < a->count && (j == b->count || table[(i + 1) * width + j] >= table[i * width + j + 1]);
        if (drop)
            write_line(out, '-', a->at[i++]);
        else
            write_line(out, '+', b->at[j++]);
    }
    free(table);
}

static struct lines middle(const struct lines *l, size_t start, size_t end)
{
    return (struct lines){l->count - start - end, l->at + start};
}

static void write_sizes(struct buffer *out, struct bytes before, struct bytes after)
{
    buffer_printf(out, "  %zu bytes become %zu bytes (not shown line by line)\n", before.size, after.size);
}

void difference_format(struct buffer *out, struct bytes before, struct bytes after)
{
    if (!is_text(before) || !is_text(after)) {
        write_sizes(out, before, after);
        return;
    }
    struct lines a = split(before), b = split(after);
    size_t start = 0, end = 0, least = a.count < b.count ? a.count : b.count;
    while (start < least && bytes_equal(a.at[start], b.at[start]))
        start++;
    while (end < least - start && bytes_equal(a.at[a.count - 1 - end], b.at[b.count - 1 - end]))
        end++;
    struct lines changed_a = middle(&a, start, end), changed_b = middle(&b, start, end);
    if (changed_a.count > LINES_MAX || changed_b.count > LINES_MAX) {
        write_sizes(out, before, after);
    } else {
        for (size_t i = start > AROUND ? start - AROUND : 0; i < start; i++)
            write_line(out, ' ', a.at[i]);
        write_changes(out, &changed_a, &changed_b);
        for (size_t i = 0; i < end && i < AROUND; i++)
            write_line(out, ' ', a.at[a.count - end + i]);
    }
    free(a.at);
    free(b.at);
}
