#include "tests/lib/raft_rig.h"

#include "base/check.h"
#include "consensus/peer_messages.h"
#include "tests/lib/unit.h"

/* ---- the disk ---- */

static raft_index disk_last(const struct rig_node *n) { return n->base.index + n->log_count; }

static void disk_cut(struct rig_node *n, size_t count)
{
    while (n->log_count > count) raft_blob_release(n->log[--n->log_count].blob);
}

static void disk_write(struct rig_node *n, const struct rig_write *write)
{
    if (write->hard_state) {
        n->term = write->term;
        n->vote = write->vote;
    }
    if (write->reset) {
        disk_cut(n, 0);
        n->base = write->reset_to;
    }
    if (write->truncate_from && write->truncate_from <= disk_last(n))
        disk_cut(n, write->truncate_from - n->base.index - 1);
    for (size_t i = 0; i < write->entry_count; i++) {
        assert_int_equal(write->entries[i].index, disk_last(n) + 1);
        assert_true(n->log_count < 512);
        n->log[n->log_count++] = write->entries[i];
        raft_blob_retain(write->entries[i].blob);
    }
}

static void forget_write(struct rig_write *write)
{
    for (size_t i = 0; i < write->entry_count; i++) raft_blob_release(write->entries[i].blob);
}

void rig_persist(struct rig *rig, raft_id id, size_t count)
{
    struct rig_node *n = &rig->nodes[id];
    if (count > n->write_count) count = n->write_count;
    if (!count) return;
    uint64_t number = n->writes[count - 1].number;
    for (size_t i = 0; i < count; i++) {
        disk_write(n, &n->writes[i]);
        forget_write(&n->writes[i]);
    }
    n->write_count -= count;
    memmove(n->writes, n->writes + count, n->write_count * sizeof *n->writes);
    raft_persisted(n->raft, number);
    rig_take(rig, id);
}

void rig_disk(struct rig *rig, raft_id id, bool slow)
{
    rig->nodes[id].slow_disk = slow;
    if (!slow) rig_persist(rig, id, SIZE_MAX);
}

/* ---- start and crash ---- */

struct rig *rig_new(unsigned voters, unsigned count)
{
    struct rig *rig = xcalloc(1, sizeof *rig);
    raft_options_default(&rig->options);
    rig->options.election_ticks = 10;
    rig->options.heartbeat_ticks = 2;
    for (unsigned id = 1; id <= voters; id++) raft_config_set(&rig->genesis, (raft_id)id, true);
    for (unsigned id = 1; id <= count; id++) {
        rig->nodes[id].id = (raft_id)id;
        rig->nodes[id].base_config = rig->genesis;
        rig_start_node(rig, (raft_id)id);
    }
    return rig;
}

void rig_start_node(struct rig *rig, raft_id id)
{
    struct rig_node *n = &rig->nodes[id];
    assert_null(n->raft);
    struct raft_run runs[512];
    struct raft_config_at configs[64];
    struct raft_state state = {.term = n->term,
                               .vote = n->vote,
                               .compacted = n->base,
                               .compacted_config = n->base_config,
                               .last = disk_last(n),
                               .runs = runs,
                               .configs = configs,
                               .applied = n->durable_applied,
                               .snapshot = n->snapshot,
                               .manifest = n->manifest};
    for (size_t i = 0; i < n->log_count; i++) {
        const struct raft_entry *e = &n->log[i];
        if (!state.run_count || runs[state.run_count - 1].term != e->term)
            runs[state.run_count++] = (struct raft_run){e->index, e->term};
        if (e->type != RAFT_ENTRY_CONFIG) continue;
        struct raft_config_at *at = &configs[state.config_count++];
        at->index = e->index;
        assert_int_equal(raft_config_decode(&at->config, NULL, raft_blob_bytes(e->blob)), OK);
    }
    struct raft_options options = rig->options;
    options.id = id;
    options.seed = 1000u + id;
    assert_int_equal(raft_new(&n->raft, &options, &state), OK);
    n->apply_to = n->durable_applied;
}

void rig_crash(struct rig *rig, raft_id id)
{
    struct rig_node *n = &rig->nodes[id];
    raft_free(n->raft);
    n->raft = NULL;
    for (size_t i = 0; i < n->write_count; i++) forget_write(&n->writes[i]);
    n->write_count = 0;
    n->slow_disk = false;
    raft_blob_release(n->install.manifest);
    n->install = (struct raft_install){0};
    n->has_install = false;
}

void rig_free(struct rig *rig)
{
    for (unsigned id = 1; id <= RIG_NODES; id++) {
        rig_crash(rig, (raft_id)id);
        disk_cut(&rig->nodes[id], 0);
        raft_blob_release(rig->nodes[id].manifest);
    }
    rig_drop(rig);
    free(rig);
}

/* ---- readies ---- */

static void take_messages(struct rig *rig, const struct raft_ready *ready)
{
    for (size_t i = 0; i < ready->message_count; i++) {
        struct raft_message *m = &ready->messages[i];
        assert_true(rig->wire_count < RIG_SENT && rig->seen_count < RIG_SENT);
        rig->seen[rig->seen_count] = *m;
        rig->seen_entries[rig->seen_count++] = m->entry_count;
        unsigned version = rig->older[m->from] || rig->older[m->to] ? 1 : PEER_VERSION;
        raft_peer_counts(rig->nodes[m->from].raft, m->to, version >= PEER_VERSION_DURABLE);
        /* Through the codec: what a peer gets is what was encoded. */
        struct buffer encoded = {0};
        raft_message_encode(&encoded, NULL, m, version);
        assert_int_equal(raft_message_decode(&rig->wire[rig->wire_count++], buffer_bytes(&encoded), version), OK);
        buffer_free(&encoded);
    }
}

static void take_write(struct rig *rig, struct rig_node *n, const struct raft_ready *ready)
{
    if (!ready->write) return;
    assert_true(n->write_count < 64 && ready->entry_count <= 64);
    struct rig_write *write = &n->writes[n->write_count++];
    *write = (struct rig_write){.number = ready->write,
                                .hard_state = ready->hard_state,
                                .term = ready->term,
                                .vote = ready->vote,
                                .reset = ready->reset,
                                .reset_to = ready->reset_to,
                                .truncate_from = ready->truncate_from,
                                .entry_count = ready->entry_count};
    for (size_t i = 0; i < ready->entry_count; i++) {
        write->entries[i] = ready->entries[i];
        raft_blob_retain(ready->entries[i].blob);
    }
    if (ready->truncate_from) n->truncated = ready->truncate_from;
    if (!n->slow_disk) rig_persist(rig, n->id, SIZE_MAX);
}

static void take_rest(struct rig_node *n, const struct raft_ready *ready)
{
    if (ready->apply_to) {
        assert_int_equal(ready->apply_from, n->apply_to + 1);
        n->apply_to = ready->apply_to;
        raft_applied(n->raft, ready->apply_to);
    }
    if (ready->install) {
        assert_false(n->has_install);
        n->has_install = true;
        n->installs++;
        n->install = *ready->install;
        raft_blob_retain(n->install.manifest);
    }
    if (ready->conflict) {
        n->conflicts++;
        n->conflict = *ready->conflict;
        n->conflict.entry.blob = NULL;
    }
    n->role_changes += ready->role_changed;
}

static void answer_read(struct rig_node *n, const struct raft_read *read)
{
    n->read = *read;
    n->reads++;
    if (n->slow_reads) return;
    assert_true(read->first > n->base.index && read->first <= disk_last(n));
    raft_read_done(n->raft, read->peer, &n->log[read->first - n->base.index - 1], 1);
}

void rig_take(struct rig *rig, raft_id id)
{
    struct rig_node *n = &rig->nodes[id];
    while (n->raft) {
        struct raft_ready *ready = raft_take(n->raft);
        if (!ready->any) return;
        struct raft_read reads[RIG_NODES];
        size_t read_count = ready->read_count;
        assert_true(read_count <= RIG_NODES);
        if (read_count) memcpy(reads, ready->reads, read_count * sizeof *reads);
        take_messages(rig, ready);
        take_rest(n, ready);
        take_write(rig, n, ready); /* may take again */
        for (size_t i = 0; i < read_count; i++) answer_read(n, &reads[i]);
    }
}

static bool deliver_one(struct rig *rig)
{
    if (!rig->wire_count) return false;
    struct raft_message m = rig->wire[0];
    memmove(rig->wire, rig->wire + 1, --rig->wire_count * sizeof *rig->wire);
    struct rig_node *to = &rig->nodes[m.to];
    bool lost = rig->cut[m.from][m.to] || (rig->votes_only && m.type > RAFT_VOTE_ANSWER);
    if (to->raft && !lost) {
        (void)raft_step(to->raft, &m);
        rig_take(rig, m.to);
    }
    raft_message_clear(&m);
    return true;
}

void rig_run(struct rig *rig)
{
    for (unsigned id = 1; id <= RIG_NODES; id++) rig_take(rig, (raft_id)id);
    for (unsigned steps = 0; deliver_one(rig); steps++) assert_true(steps < 100000);
}

/* ---- scripts ---- */

void rig_tick(struct rig *rig, raft_id id, unsigned ticks)
{
    for (unsigned i = 0; i < ticks && rig->nodes[id].raft; i++) {
        raft_tick(rig->nodes[id].raft);
        rig_take(rig, id);
    }
}

void rig_ticks(struct rig *rig, unsigned ticks)
{
    for (unsigned i = 0; i < ticks; i++) {
        for (unsigned id = 1; id <= RIG_NODES; id++) rig_tick(rig, (raft_id)id, 1);
        rig_run(rig);
    }
}

static bool may_be_ticked(struct rig *rig, unsigned id, raft_id elected)
{
    return id != elected && rig->nodes[id].raft && rig_status(rig, (raft_id)id).role != RAFT_LEADER;
}

void rig_elect(struct rig *rig, raft_id id)
{
    for (unsigned i = 0; i < 100 && rig_status(rig, id).role != RAFT_LEADER; i++) {
        rig_tick(rig, id, 1);
        /* The others' leases run out, but they start no election. */
        for (unsigned other = 1; other <= RIG_NODES; other++) {
            if (!may_be_ticked(rig, other, id)) continue;
            raft_set_may_lead(rig->nodes[other].raft, false);
            rig_tick(rig, (raft_id)other, 1);
            raft_set_may_lead(rig->nodes[other].raft, true);
        }
        rig_run(rig);
    }
    if (rig_status(rig, id).role != RAFT_LEADER) fail_msg("node %u is not elected", id);
}

raft_index rig_propose(struct rig *rig, raft_id id, const char *text)
{
    struct raft_blob *blob = raft_blob_copy(bytes_text(text));
    raft_index index;
    enum err e = raft_propose(rig->nodes[id].raft, &index, &blob, 1);
    raft_blob_release(blob);
    if (e) return 0;
    rig_take(rig, id);
    return index;
}

void rig_isolate(struct rig *rig, raft_id id)
{
    for (unsigned other = 1; other <= RIG_NODES; other++) rig->cut[id][other] = rig->cut[other][id] = true;
}

void rig_heal(struct rig *rig) { memset(rig->cut, 0, sizeof rig->cut); }

void rig_drop(struct rig *rig)
{
    while (rig->wire_count) raft_message_clear(&rig->wire[--rig->wire_count]);
}

enum err rig_step(struct rig *rig, raft_id to, struct raft_message m)
{
    m.to = to;
    enum err e = raft_step(rig->nodes[to].raft, &m);
    rig_take(rig, to);
    return e;
}

const struct raft_message *rig_sent(struct rig *rig, raft_id from, raft_id to, enum raft_message_type type)
{
    for (size_t i = rig->seen_count; i > 0; i--) {
        struct raft_message *m = &rig->seen[i - 1];
        if (m->type != type || (from && m->from != from) || (to && m->to != to)) continue;
        m->entry_count = rig->seen_entries[i - 1];
        return m;
    }
    return NULL;
}

unsigned rig_count(struct rig *rig, raft_id from, enum raft_message_type type)
{
    unsigned count = 0;
    for (size_t i = 0; i < rig->seen_count; i++) count += rig->seen[i].from == from && rig->seen[i].type == type;
    return count;
}

void rig_forget(struct rig *rig) { rig->seen_count = 0; }

struct raft_status rig_status(struct rig *rig, raft_id id)
{
    struct raft_status s = {0};
    if (rig->nodes[id].raft) raft_status_get(rig->nodes[id].raft, &s);
    return s;
}

const char *rig_text(struct rig *rig, raft_id id, raft_index index)
{
    static char text[64];
    struct rig_node *n = &rig->nodes[id];
    text[0] = 0;
    if (index <= n->base.index || index > disk_last(n)) return text;
    struct bytes b = raft_blob_bytes(n->log[index - n->base.index - 1].blob);
    assert_true(b.size < sizeof text);
    if (b.size) memcpy(text, b.data, b.size);
    text[b.size] = 0;
    return text;
}

void rig_sync(struct rig *rig, raft_id id) { rig->nodes[id].durable_applied = rig->nodes[id].apply_to; }

void rig_compact(struct rig *rig, raft_id id, raft_index index)
{
    struct rig_node *n = &rig->nodes[id];
    rig_sync(rig, id);
    raft_blob_release(n->manifest);
    n->manifest = raft_blob_copy(bytes_text("manifest"));
    n->snapshot = n->durable_applied;
    raft_set_snapshot(n->raft, n->snapshot, n->manifest);
    n->base_config = *raft_config_of(n->raft, index);
    raft_term term = raft_term_of(n->raft, index);
    size_t gone = index - n->base.index;
    for (size_t i = 0; i < gone; i++) raft_blob_release(n->log[i].blob);
    n->log_count -= gone;
    memmove(n->log, n->log + gone, n->log_count * sizeof *n->log);
    n->base = (struct raft_position){index, term};
    raft_compact(n->raft, index);
}

enum err rig_change(struct rig *rig, raft_id leader, raft_id id, int role)
{
    struct raft_config config = *raft_config_latest(rig->nodes[leader].raft, NULL);
    if (role < 0)
        raft_config_remove(&config, id);
    else
        raft_config_set(&config, id, role == 1);
    raft_index index;
    enum err e = raft_propose_config(rig->nodes[leader].raft, &index, &config, bytes_text("leaf 7"));
    rig_take(rig, leader);
    return e;
}
