/* Raft messages as msgpack: [type, from, to, term, extra, fields of the type ...].
 * The writer and the reader of each type stand next to each other. */
#include <assert.h>

#include "base/check.h"
#include "base/pack.h"
#include "consensus/peer_messages.h"
#include "consensus/raft.h"

/* The longest append is one entry of LIMIT_BLOCK, or many within the limit of a message. */
static_assert(LIMIT_BLOCK + LIMIT_RAFT_ENTRIES * 20 + LIMIT_RAFT_EXTRA + KIB < LIMIT_FRAME, "append fits a frame");

#define HEAD_FIELDS 5

/* ---- fields that several types share ---- */

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

/* ---- votes ---- */

static void pack_vote_request(struct buffer *out, const struct raft_message *m)
{
    pack_position(out, m->log);
    pack_uint(out, m->proposed);
    pack_bool(out, m->transfer);
}

static void unpack_vote_request(struct unpack *u, struct raft_message *m)
{
    m->log = unpack_position(u);
    m->proposed = unpack_uint_max(u, RAFT_TERM_MAX + 1);
    m->transfer = unpack_bool(u);
}

static void pack_vote_answer(struct buffer *out, const struct raft_message *m)
{
    pack_uint(out, m->proposed);
    pack_bool(out, m->granted);
}

static void unpack_vote_answer(struct unpack *u, struct raft_message *m)
{
    m->proposed = unpack_uint_max(u, RAFT_TERM_MAX + 1);
    m->granted = unpack_bool(u);
}

/* ---- entries ---- */

static void pack_entries(struct buffer *out, const struct raft_message *m)
{
    pack_array(out, (uint32_t)m->entry_count);
    for (size_t i = 0; i < m->entry_count; i++) {
        pack_array(out, 3);
        pack_uint(out, m->entries[i].term);
        pack_uint(out, m->entries[i].type);
        pack_bytes(out, raft_blob_bytes(m->entries[i].blob));
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

static void pack_append(struct buffer *out, const struct raft_message *m)
{
    pack_position(out, m->log);
    pack_uint(out, m->commit);
    pack_uint(out, m->durable);
    pack_uint(out, m->round);
    pack_entries(out, m);
}

static void unpack_append(struct unpack *u, struct raft_message *m)
{
    m->log = unpack_position(u);
    m->commit = unpack_index(u);
    m->durable = unpack_index(u);
    m->round = unpack_uint(u);
    unpack_entries(u, m);
}

static void pack_append_1(struct buffer *out, const struct raft_message *m)
{
    pack_position(out, m->log);
    pack_uint(out, m->commit);
    pack_uint(out, m->round);
    pack_entries(out, m);
}

static void unpack_append_1(struct unpack *u, struct raft_message *m)
{
    m->log = unpack_position(u);
    m->commit = unpack_index(u);
    m->round = unpack_uint(u);
    unpack_entries(u, m);
}

static void pack_append_answer(struct buffer *out, const struct raft_message *m)
{
    pack_position(out, m->log);
    pack_bool(out, m->rejected);
    pack_uint(out, m->round);
    pack_uint(out, m->match);
    pack_uint(out, m->checked);
    pack_position(out, m->conflict);
    pack_uint(out, m->conflict_first);
}

static void unpack_append_answer(struct unpack *u, struct raft_message *m)
{
    m->log = unpack_position(u);
    m->rejected = unpack_bool(u);
    m->round = unpack_uint(u);
    m->match = unpack_index(u);
    m->checked = unpack_index(u);
    m->conflict = unpack_position(u);
    m->conflict_first = unpack_index(u);
}

/* ---- heartbeats ---- */

static void pack_heartbeat(struct buffer *out, const struct raft_message *m)
{
    pack_uint(out, m->commit);
    pack_uint(out, m->durable);
    pack_uint(out, m->round);
    pack_uint(out, m->sent);
}

static void unpack_heartbeat(struct unpack *u, struct raft_message *m)
{
    m->commit = unpack_index(u);
    m->durable = unpack_index(u);
    m->round = unpack_uint(u);
    m->sent = unpack_index(u);
}

static void pack_heartbeat_1(struct buffer *out, const struct raft_message *m)
{
    pack_uint(out, m->commit);
    pack_uint(out, m->round);
    pack_uint(out, m->sent);
}

static void unpack_heartbeat_1(struct unpack *u, struct raft_message *m)
{
    m->commit = unpack_index(u);
    m->round = unpack_uint(u);
    m->sent = unpack_index(u);
}

static void pack_heartbeat_answer(struct buffer *out, const struct raft_message *m)
{
    pack_uint(out, m->round);
    pack_uint(out, m->sent);
    pack_uint(out, m->match);
    pack_uint(out, m->checked);
    pack_uint(out, m->installing);
}

static void unpack_heartbeat_answer(struct unpack *u, struct raft_message *m)
{
    m->round = unpack_uint(u);
    m->sent = unpack_index(u);
    m->match = unpack_index(u);
    m->checked = unpack_index(u);
    m->installing = unpack_index(u);
}

/* ---- snapshots ---- */

static void pack_snapshot(struct buffer *out, const struct raft_message *m)
{
    pack_position(out, m->log);
    pack_uint(out, m->commit);
    pack_uint(out, m->round);
    struct buffer config = {0};
    raft_config_encode(&config, &m->config, (struct bytes){0});
    if (config.failed) out->failed = true;
    pack_bytes(out, buffer_bytes(&config));
    buffer_free(&config);
    pack_bytes(out, raft_blob_bytes(m->manifest));
}

static void unpack_snapshot(struct unpack *u, struct raft_message *m)
{
    m->log = unpack_position(u);
    m->commit = unpack_index(u);
    m->round = unpack_uint(u);
    struct bytes config = unpack_bin(u, KIB);
    struct bytes manifest = unpack_bin(u, LIMIT_RAFT_MANIFEST);
    if (u->error) return;
    struct bytes context;
    enum err e = raft_config_decode(&m->config, &context, config);
    if (!e && context.size) e = ERR_MALFORMED;
    if (e) {
        unpack_fail(u, e);
        return;
    }
    m->manifest = raft_blob_copy(manifest);
    if (!m->manifest) unpack_fail(u, ERR_NOMEM);
}

static void pack_snapshot_answer(struct buffer *out, const struct raft_message *m)
{
    pack_position(out, m->log);
    pack_bool(out, m->rejected);
}

static void unpack_snapshot_answer(struct unpack *u, struct raft_message *m)
{
    m->log = unpack_position(u);
    m->rejected = unpack_bool(u);
}

static void pack_nothing(struct buffer *out, const struct raft_message *m) { (void)out, (void)m; }
static void unpack_nothing(struct unpack *u, struct raft_message *m) { (void)u, (void)m; }

/* ---- all types ---- */

static const struct codec {
    const char *name;
    uint32_t fields;
    void (*pack)(struct buffer *out, const struct raft_message *m);
    void (*unpack)(struct unpack *u, struct raft_message *m);
} codecs[] = {
    [RAFT_PREVOTE] = {"pre-vote", 4, pack_vote_request, unpack_vote_request},
    [RAFT_PREVOTE_ANSWER] = {"pre-vote answer", 2, pack_vote_answer, unpack_vote_answer},
    [RAFT_VOTE] = {"vote", 4, pack_vote_request, unpack_vote_request},
    [RAFT_VOTE_ANSWER] = {"vote answer", 2, pack_vote_answer, unpack_vote_answer},
    [RAFT_APPEND] = {"append", 6, pack_append, unpack_append},
    [RAFT_APPEND_ANSWER] = {"append answer", 9, pack_append_answer, unpack_append_answer},
    [RAFT_HEARTBEAT] = {"heartbeat", 4, pack_heartbeat, unpack_heartbeat},
    [RAFT_HEARTBEAT_ANSWER] = {"heartbeat answer", 5, pack_heartbeat_answer, unpack_heartbeat_answer},
    [RAFT_SNAPSHOT] = {"snapshot", 6, pack_snapshot, unpack_snapshot},
    [RAFT_SNAPSHOT_ANSWER] = {"snapshot answer", 3, pack_snapshot_answer, unpack_snapshot_answer},
    [RAFT_TIMEOUT_NOW] = {"timeout now", 0, pack_nothing, unpack_nothing},
};

/* The forms of version 1, where they were others. */
static const struct codec codecs_1[RAFT_TIMEOUT_NOW + 1] = {
    [RAFT_APPEND] = {"append", 5, pack_append_1, unpack_append_1},
    [RAFT_HEARTBEAT] = {"heartbeat", 3, pack_heartbeat_1, unpack_heartbeat_1},
};

static const struct codec *codec_of(unsigned type, unsigned version)
{
    return version < PEER_VERSION_DURABLE && codecs_1[type].pack ? &codecs_1[type] : &codecs[type];
}

const char *raft_message_name(enum raft_message_type type)
{
    return type >= RAFT_PREVOTE && type <= RAFT_TIMEOUT_NOW ? codecs[type].name : "unknown";
}

void raft_message_encode(struct buffer *out, const struct raft_message *m, unsigned version)
{
    CHECK(m->type >= RAFT_PREVOTE && m->type <= RAFT_TIMEOUT_NOW);
    CHECK(m->extra.size <= LIMIT_RAFT_EXTRA && m->entry_count <= LIMIT_RAFT_ENTRIES);
    const struct codec *codec = codec_of(m->type, version);
    pack_array(out, HEAD_FIELDS + codec->fields);
    pack_uint(out, m->type);
    pack_uint(out, m->from);
    pack_uint(out, m->to);
    pack_uint(out, m->term);
    pack_bytes(out, m->extra);
    codec->pack(out, m);
}

static void unpack_message(struct unpack *u, struct raft_message *m, unsigned version)
{
    uint32_t fields = unpack_array(u, HEAD_FIELDS + 9);
    uint64_t type = unpack_uint(u);
    if (u->error) return;
    if (type < RAFT_PREVOTE || type > RAFT_TIMEOUT_NOW) {
        unpack_fail(u, ERR_UNKNOWN_TYPE);
        return;
    }
    const struct codec *codec = codec_of((unsigned)type, version);
    if (fields != HEAD_FIELDS + codec->fields) unpack_fail(u, ERR_MALFORMED);
    m->type = (enum raft_message_type)type;
    m->from = (raft_id)unpack_uint_max(u, UINT16_MAX);
    m->to = (raft_id)unpack_uint_max(u, UINT16_MAX);
    m->term = unpack_term(u);
    m->extra = unpack_bin(u, LIMIT_RAFT_EXTRA);
    if (!u->error) codec->unpack(u, m);
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
