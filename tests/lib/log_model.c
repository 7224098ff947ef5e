#include "tests/lib/log_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/lib/trace.h"

const struct seal_key model_key = {.bytes = "a storage key, for tests only..."};

struct log_options model_options(const char *folder, const struct disk *disk)
{
    return (struct log_options){
        .directory = folder, .name = "test", .key = &model_key, .disk = disk, .segment_size = 64 * KIB};
}

void model_start(struct model *m, struct log *log, uint64_t seed)
{
    *m = (struct model){.log = log, .count = 1, .seed = seed, .next_content = 1, .largest = 3000};
    m->steps = xcalloc(MODEL_STEPS, sizeof *m->steps);
}

void model_free(struct model *m) { free(m->steps); }

/* A copy of the last state, to be changed and then taken by `keep`. */
static struct model_state *draft(struct model *m)
{
    CHECK(m->count < MODEL_STEPS);
    m->steps[m->count] = m->steps[m->count - 1];
    return &m->steps[m->count];
}

static enum err keep(struct model *m, enum err code)
{
    m->count++; /* also after an error: it may have reached the disk */
    return code;
}

struct buffer model_payload(const struct model *m, uint64_t content)
{
    struct buffer b = {0};
    uint64_t seed = content * 31;
    size_t size = 8 + trace_random(&seed) % m->largest;
    uint8_t *at = buffer_extend(&b, size);
    put_be64(at, content);
    for (size_t i = 8; i < size; i++) at[i] = (uint8_t)(content + i * 7);
    return b;
}

static enum err append_one(struct model *m)
{
    struct model_state *s = draft(m);
    if (s->count == MODEL_BLOCKS) return OK;
    uint64_t content = m->next_content++;
    struct buffer payload = model_payload(m, content);
    struct log_entry e = {.index = s->base + s->count + 1,
                          .term = s->term ? s->term : 1,
                          .kind = (uint8_t)(content & 3),
                          .payload = buffer_bytes(&payload)};
    s->blocks[s->count++] = (struct model_block){e.term, content};
    enum err code = keep(m, log_append(m->log, &e, 1));
    buffer_free(&payload);
    return code;
}

enum err model_append(struct model *m, size_t count)
{
    enum err code = OK;
    while (count-- > 0 && code == OK) code = append_one(m);
    return code;
}

enum err model_vote(struct model *m)
{
    struct model_state *s = draft(m);
    s->term++;
    s->vote = trace_random(&m->seed) % 5;
    return keep(m, log_set_vote(m->log, s->term, s->vote));
}

enum err model_cosign(struct model *m)
{
    struct model_state *s = draft(m);
    uint64_t last = s->base + s->count;
    if (last <= s->cosigned.index) return OK;
    s->cosigned.index += 1 + trace_random(&m->seed) % (last - s->cosigned.index);
    s->cosigned.size = 3 * s->cosigned.index;
    memset(s->cosigned.root.bytes, (int)s->cosigned.index, 32);
    return keep(m, log_set_cosigned(m->log, &s->cosigned));
}

enum err model_truncate(struct model *m)
{
    struct model_state *s = draft(m);
    uint64_t last = s->base + s->count, low = s->base > s->cosigned.index ? s->base : s->cosigned.index;
    if (last <= low) return OK;
    uint64_t from = low + 1 + trace_random(&m->seed) % (last - low);
    s->count = from - 1 - s->base;
    return keep(m, log_truncate(m->log, from));
}

static struct bytes manifest_of(uint8_t out[static 8], uint64_t index)
{
    put_be64(out, index);
    return bytes_of(out, 8);
}

enum err model_compact(struct model *m, uint64_t index)
{
    uint8_t manifest[8];
    struct model_state *s = draft(m);
    uint64_t last = s->base + s->count;
    if (index <= s->base) return OK;
    s->base_term = index <= last ? s->blocks[index - s->base - 1].term : s->term;
    uint64_t drop = index < last ? index - s->base : s->count;
    memmove(s->blocks, s->blocks + drop, (s->count - drop) * sizeof *s->blocks);
    s->count -= drop;
    s->base = index;
    return keep(m, log_compact(m->log, index, s->base_term, bytes_text("configuration"), manifest_of(manifest, index)));
}

enum err model_sync(struct model *m)
{
    enum err code = log_sync(m->log);
    if (code == OK) m->durable = m->count - 1;
    return code;
}

static enum err compact_some(struct model *m)
{
    const struct model_state *s = &m->steps[m->count - 1];
    uint64_t ahead = trace_random(&m->seed) % 8 == 0 ? 5 : 0; /* seldom: a snapshot beyond the end */
    return s->count ? model_compact(m, s->base + 1 + trace_random(&m->seed) % s->count + ahead) : OK;
}

enum err model_step(struct model *m)
{
    uint64_t chance = trace_random(&m->seed) % 100;
    if (chance < 40) return model_append(m, 1 + trace_random(&m->seed) % 5);
    if (chance < 46) return model_vote(m);
    if (chance < 52) return model_cosign(m);
    if (chance < 60) return model_truncate(m);
    if (chance < 66) return compact_some(m);
    if (chance < 90) return model_sync(m);
    log_idle(m->log, NULL); /* its warnings are not sticky */
    return OK;
}

/* --- comparing --- */

enum err model_compare(struct log *log, const struct model *m, const struct model_state *s, uint64_t index)
{
    struct buffer out = {0};
    struct log_entry e;
    size_t count;
    const struct model_block *b = &s->blocks[index - s->base - 1];
    struct buffer expected = model_payload(m, b->content);
    enum err code = log_read(log, &out, &e, &count, 1, index, 1);
    if (code == OK && (count != 1 || e.index != index || e.term != b->term || e.kind != (b->content & 3) ||
                       !bytes_equal(e.payload, buffer_bytes(&expected))))
        code = ERR_CONFLICT;
    buffer_free(&out);
    buffer_free(&expected);
    return code;
}

static bool snapshot_equal(struct log *log, const struct model_state *s)
{
    struct buffer config = {0}, manifest = {0};
    uint8_t expected[8];
    uint64_t index = 0, term = 0;
    enum err code = log_snapshot(log, &index, &term, &config, &manifest);
    bool same = s->base ? code == OK && index == s->base && term == s->base_term &&
                              bytes_equal(buffer_bytes(&config), bytes_text("configuration")) &&
                              bytes_equal(buffer_bytes(&manifest), manifest_of(expected, s->base))
                        : code == ERR_NOT_FOUND;
    buffer_free(&config);
    buffer_free(&manifest);
    return same;
}

bool model_blocks_equal(struct log *log, const struct model *m, const struct model_state *s)
{
    struct log_status st;
    log_status(log, &st);
    if (st.first != s->base + 1 || st.last != s->base + s->count || st.compact_term != s->base_term) return false;
    for (uint64_t i = st.first; i <= st.last; i++) {
        uint64_t term;
        if (log_term(log, &term, i) != OK || term != s->blocks[i - st.first].term) return false;
        if (model_compare(log, m, s, i) != OK) return false;
    }
    return snapshot_equal(log, s);
}

static bool hard_equal(const struct log_status *st, const struct model_state *s)
{
    return st->term == s->term && st->vote == s->vote && st->cosigned.index == s->cosigned.index &&
           st->cosigned.size == s->cosigned.size && digest_equal(&st->cosigned.root, &s->cosigned.root);
}

bool model_explains(const struct model *m, struct log *log, size_t durable, size_t issued)
{
    struct log_status st;
    bool hard = false, blocks = false;
    log_status(log, &st);
    for (size_t k = durable; k <= issued; k++) {
        hard = hard || hard_equal(&st, &m->steps[k]);
        blocks = blocks || model_blocks_equal(log, m, &m->steps[k]);
    }
    return hard && blocks;
}

void model_adopt_last(struct model *m)
{
    m->steps[0] = m->steps[m->count - 1];
    m->count = 1;
    m->durable = 0;
}

void model_adopt(struct model *m, struct log *log)
{
    struct log_status st;
    log_status(log, &st);
    struct model_state found = {0};
    for (size_t k = m->count; k-- > 0;)
        if (model_blocks_equal(log, m, &m->steps[k])) {
            found = m->steps[k];
            break;
        }
    found.term = st.term;
    found.vote = st.vote;
    found.cosigned = st.cosigned;
    m->log = log;
    m->steps[0] = found;
    m->count = 1;
    m->durable = 0;
}
