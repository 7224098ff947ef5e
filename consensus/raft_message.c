/* Raft messages as msgpack: [type, from, to, term, extra, fields of the type ...].
 * One table (layouts) says which fields a type has, for the writer and the reader. */
#include <assert.h>

#include "base/check.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "consensus/raft.h"

/* The longest append is one entry of LIMIT_BLOCK, or many within the limit of a message. */
static_assert(LIMIT_BLOCK + LIMIT_RAFT_ENTRIES * 20 + LIMIT_RAFT_EXTRA + KIB < LIMIT_FRAME, "append fits a frame");

#define HEAD_FIELDS 5

/* ---- positions ---- */

static void pack_position(struct buffer *out, struct raft_position p)
{
    pack_uint(out, p.index);
    pack_uint(out, p.term);
}

static raft_index unpack_index(struct unpack *u) { return unpack_uint_max(u, RAFT_INDEX_MAX); }
static raft_term unpack_term(struct unpack *u) { return unpack_uint_max(u, RAFT_TERM_MAX); }

static struct raft_position unpack_position(struct unpack *u)
{
    struct raft_position p;
    p.index = unpack_index(u);
    p.term = unpack_term(u);
    if ((p.index == 0) != (p.term == 0)) unpack_fail(u, ERR_MALFORMED);
    return p;
}

/* ---- entries ---- */

static void pack_blob(struct buffer *out, struct raft_lent *lent, struct raft_blob *blob)
{
    struct bytes content = raft_blob_bytes(blob);
    if (!lent || content.size < RAFT_LENT_LEAST || lent->count == RAFT_LENT_MAX) {
        pack_bytes(out, content);
        return;
    }
    pack_bin_head(out, content.size);
    lent->at[lent->count] = out->size;
    lent->blobs[lent->count++] = raft_blob_retain(blob);
}

static void pack_entries(struct buffer *out, struct raft_lent *lent, const struct raft_message *m)
{
    pack_array(out, (uint32_t)m->entry_count);
    for (size_t i = 0; i < m->entry_count; i++) {
        pack_array(out, 3);
        pack_uint(out, m->entries[i].term);
        pack_uint(out, m->entries[i].type);
        pack_blob(out, lent, m->entries[i].blob);
    }
}

static void unpack_entry(struct unpack *u, struct raft_entry *e)
{
    unpack_array_of(u, 3);
    e->term = unpack_term(u);
    e->type = (enum raft_entry_type)unpack_uint_max(u, RAFT_ENTRY_CONFIG);
    if (e->type < RAFT_ENTRY_BLOCK) unpack_fail(u, ERR_MALFORMED);
    struct bytes payload = unpack_bin(u, LIMIT_BLOCK);
    if (e->type == RAFT_ENTRY_NOOP && payload.size) unpack_fail(u, ERR_MALFORMED);
    if (u->error || !payload.size) return;
    e->blob = raft_blob_copy(payload);
    if (!e->blob) unpack_fail(u, ERR_NOMEM);
}

static void unpack_entries(struct unpack *u, struct raft_message *m)
{
    uint32_t count = unpack_array(u, LIMIT_RAFT_ENTRIES);
    if (!count || u->error) return;
    m->entries = calloc(count, sizeof *m->entries);
    if (!m->entries) {
        unpack_fail(u, ERR_NOMEM);
        return;
    }
    for (; m->entry_count < count && !u->error; m->entry_count++) {
        m->entries[m->entry_count].index = m->log.index + 1 + m->entry_count;
        unpack_entry(u, &m->entries[m->entry_count]);
    }
}

/* ---- snapshots ---- */

static void pack_config(struct buffer *out, const struct raft_config *members)
{
    struct buffer config = {0};
    raft_config_encode(&config, members, (struct bytes){0});
    if (config.failed) out->failed = true;
    pack_bytes(out, buffer_bytes(&config));
    buffer_free(&config);
}

static void unpack_config(struct unpack *u, struct raft_config *members)
{
    struct bytes config = unpack_bin(u, KIB), context;
    if (u->error) return;
    enum err e = raft_config_decode(members, &context, config);
    if (!e && context.size) e = ERR_MALFORMED;
    if (e) unpack_fail(u, e);
}

static void unpack_manifest(struct unpack *u, struct raft_message *m)
{
    struct bytes manifest = unpack_bin(u, LIMIT_RAFT_MANIFEST);
    if (u->error) return;
    m->manifest = raft_blob_copy(manifest);
    if (!m->manifest) unpack_fail(u, ERR_NOMEM);
}

/* ---- fields ---- */

enum field {
    END,
    LOG,
    PROPOSED,
    TRANSFER,
    GRANTED,
    COMMIT,
    DURABLE,
    ROUND,
    SENT,
    ENTRIES,
    REJECTED,
    MATCH,
    CHECKED,
    CONFLICT,
    CONFLICT_FIRST,
    INSTALLING,
    CONFIG,
    MANIFEST,
};

static void pack_field(struct buffer *out, struct raft_lent *lent, const struct raft_message *m, enum field field)
{
    switch (field) {
    case END: return;
    case LOG: pack_position(out, m->log); return;
    case PROPOSED: pack_uint(out, m->proposed); return;
    case TRANSFER: pack_bool(out, m->transfer); return;
    case GRANTED: pack_bool(out, m->granted); return;
    case COMMIT: pack_uint(out, m->commit); return;
    case DURABLE: pack_uint(out, m->durable); return;
    case ROUND: pack_uint(out, m->round); return;
    case SENT: pack_uint(out, m->sent); return;
    case ENTRIES: pack_entries(out, lent, m); return;
    case REJECTED: pack_bool(out, m->rejected); return;
    case MATCH: pack_uint(out, m->match); return;
    case CHECKED: pack_uint(out, m->checked); return;
    case CONFLICT: pack_position(out, m->conflict); return;
    case CONFLICT_FIRST: pack_uint(out, m->conflict_first); return;
    case INSTALLING: pack_uint(out, m->installing); return;
    case CONFIG: pack_config(out, &m->config); return;
    case MANIFEST: pack_bytes(out, raft_blob_bytes(m->manifest)); return;
    }
}

static void unpack_field(struct unpack *u, struct raft_message *m, enum field field)
{
    switch (field) {
    case END: return;
    case LOG: m->log = unpack_position(u); return;
    case PROPOSED: m->proposed = unpack_uint_max(u, RAFT_TERM_MAX + 1); return;
    case TRANSFER: m->transfer = unpack_bool(u); return;
    case GRANTED: m->granted = unpack_bool(u); return;
    case COMMIT: m->commit = unpack_index(u); return;
    case DURABLE: m->durable = unpack_index(u); return;
    case ROUND: m->round = unpack_uint(u); return;
    case SENT: m->sent = unpack_index(u); return;
    case ENTRIES: unpack_entries(u, m); return;
    case REJECTED: m->rejected = unpack_bool(u); return;
    case MATCH: m->match = unpack_index(u); return;
    case CHECKED: m->checked = unpack_index(u); return;
    case CONFLICT: m->conflict = unpack_position(u); return;
    case CONFLICT_FIRST: m->conflict_first = unpack_index(u); return;
    case INSTALLING: m->installing = unpack_index(u); return;
    case CONFIG: unpack_config(u, &m->config); return;
    case MANIFEST: unpack_manifest(u, m); return;
    }
}

/* ---- all types ---- */

#define FIELDS_MAX 8 /* of a type, with its END */

static const struct layout {
    const char *name;
    enum field fields[FIELDS_MAX];
} layouts[] = {
    [RAFT_PREVOTE] = {"pre-vote", {LOG, PROPOSED, TRANSFER}},
    [RAFT_PREVOTE_ANSWER] = {"pre-vote answer", {PROPOSED, GRANTED}},
    [RAFT_VOTE] = {"vote", {LOG, PROPOSED, TRANSFER}},
    [RAFT_VOTE_ANSWER] = {"vote answer", {PROPOSED, GRANTED}},
    [RAFT_APPEND] = {"append", {LOG, COMMIT, DURABLE, ROUND, ENTRIES}},
    [RAFT_APPEND_ANSWER] = {"append answer", {LOG, REJECTED, ROUND, MATCH, CHECKED, CONFLICT, CONFLICT_FIRST}},
    [RAFT_HEARTBEAT] = {"heartbeat", {COMMIT, DURABLE, ROUND, SENT}},
    [RAFT_HEARTBEAT_ANSWER] = {"heartbeat answer", {ROUND, SENT, MATCH, CHECKED, INSTALLING}},
    [RAFT_SNAPSHOT] = {"snapshot", {LOG, COMMIT, ROUND, CONFIG, MANIFEST}},
    [RAFT_SNAPSHOT_ANSWER] = {"snapshot answer", {LOG, REJECTED}},
    [RAFT_TIMEOUT_NOW] = {"timeout now", {END}},
};

static bool has_field(enum field field, unsigned version)
{
    return field != DURABLE || version >= PEER_VERSION_DURABLE;
}

/* In values: a position is two. */
static uint32_t layout_size(const struct layout *layout, unsigned version)
{
    uint32_t size = HEAD_FIELDS;
    for (const enum field *f = layout->fields; *f; f++)
        if (has_field(*f, version)) size += *f == LOG || *f == CONFLICT ? 2 : 1;
    return size;
}

const char *raft_message_name(enum raft_message_type type)
{
    return type >= RAFT_PREVOTE && type <= RAFT_TIMEOUT_NOW ? layouts[type].name : "unknown";
}

void raft_message_encode(struct buffer *out, struct raft_lent *lent, const struct raft_message *m, unsigned version)
{
    if (lent) lent->count = 0;
    CHECK(m->type >= RAFT_PREVOTE && m->type <= RAFT_TIMEOUT_NOW);
    CHECK(m->extra.size <= LIMIT_RAFT_EXTRA && m->entry_count <= LIMIT_RAFT_ENTRIES);
    const struct layout *layout = &layouts[m->type];
    pack_array(out, layout_size(layout, version));
    pack_uint(out, m->type);
    pack_uint(out, m->from);
    pack_uint(out, m->to);
    pack_uint(out, m->term);
    pack_bytes(out, m->extra);
    for (const enum field *f = layout->fields; *f; f++)
        if (has_field(*f, version)) pack_field(out, lent, m, *f);
}

static void unpack_message(struct unpack *u, struct raft_message *m, unsigned version)
{
    uint32_t size = unpack_array(u, HEAD_FIELDS + 9);
    uint64_t type = unpack_uint(u);
    if (u->error) return;
    if (type < RAFT_PREVOTE || type > RAFT_TIMEOUT_NOW) {
        unpack_fail(u, ERR_UNKNOWN_TYPE);
        return;
    }
    const struct layout *layout = &layouts[type];
    if (size != layout_size(layout, version)) unpack_fail(u, ERR_MALFORMED);
    m->type = (enum raft_message_type)type;
    m->from = (raft_id)unpack_uint_max(u, UINT16_MAX);
    m->to = (raft_id)unpack_uint_max(u, UINT16_MAX);
    m->term = unpack_term(u);
    m->extra = unpack_bin(u, LIMIT_RAFT_EXTRA);
    for (const enum field *f = layout->fields; *f; f++)
        if (has_field(*f, version)) unpack_field(u, m, *f);
}

enum err raft_message_decode(struct raft_message *m, struct bytes in, unsigned version)
{
    *m = (struct raft_message){0};
    struct unpack u = unpack_start(in);
    unpack_message(&u, m, version);
    enum err e = unpack_done(&u);
    if (e) raft_message_clear(m);
    return e;
}

void raft_message_clear(struct raft_message *m)
{
    for (size_t i = 0; i < m->entry_count; i++) raft_blob_release(m->entries[i].blob);
    free(m->entries);
    raft_blob_release(m->manifest);
    *m = (struct raft_message){0};
}
