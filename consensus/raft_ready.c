/* What comes out of the core, and when it may.
 *
 * Two rules live here and nowhere else. A message leaves only when the term and
 * vote it was written under are durable (raft_emit). An index counts as
 * persisted only while the entry that was written there is still in the log
 * (raft_truncate_log lowers what outstanding writes will confirm).
 */
#include <string.h>

#include "consensus/raft_internal.h"

#define GROW(list)                                                                                 \
    do {                                                                                           \
        if ((list)->count == (list)->capacity) {                                                   \
            (list)->capacity = (list)->capacity ? 2 * (list)->capacity : 8;                        \
            (list)->items = xrealloc((list)->items, (list)->capacity * sizeof *(list)->items);     \
        }                                                                                          \
    } while (0)

static void clear_messages(struct message_list *list)
{
    for (size_t i = 0; i < list->count; i++) raft_message_clear(&list->items[i]);
    list->count = 0;
}

static void clear_taken(struct ready_store *t)
{
    clear_messages(&t->messages);
    for (size_t i = 0; i < t->entries.count; i++) raft_blob_release(t->entries.items[i].blob);
    t->entries.count = 0;
    t->reads.count = 0;
    raft_blob_release(t->install.manifest);
    t->install = (struct raft_install){0};
    raft_blob_release(t->conflict.entry.blob);
    t->conflict = (struct raft_conflict){0};
    t->ready = (struct raft_ready){0};
}

void raft_ready_init(struct raft *r)
{
    r->told_role = r->role;
    r->told_term = r->term;
    r->told_leader = r->leader;
}

void raft_ready_free(struct raft *r)
{
    clear_taken(&r->taken);
    clear_messages(&r->outbox);
    clear_messages(&r->held);
    raft_blob_release(r->conflict.entry.blob);
    free(r->taken.messages.items);
    free(r->taken.entries.items);
    free(r->taken.reads.items);
    free(r->outbox.items);
    free(r->held.items);
    free(r->reads.items);
}

void raft_drop_outbox(struct raft *r)
{
    clear_messages(&r->outbox);
    clear_messages(&r->held);
    r->reads.count = 0;
}

/* ---- messages ---- */

bool raft_hard_state_is_durable(const struct raft *r)
{
    return !r->hard_dirty && r->hard_write <= r->write_done;
}

/* A later message of a type to a peer says all that an earlier one did, so one of each is kept. */
static void hold(struct raft *r, struct raft_message *m)
{
    for (size_t i = 0; i < r->held.count; i++) {
        struct raft_message *old = &r->held.items[i];
        if (old->to != m->to || old->type != m->type) continue;
        raft_message_clear(old);
        *old = *m;
        return;
    }
    GROW(&r->held);
    r->held.items[r->held.count++] = *m;
}

void raft_emit(struct raft *r, struct raft_message *m)
{
    CHECK(m->to && m->to != r->options.id);
    m->from = r->options.id;
    m->term = r->term;
    if (raft_hard_state_is_durable(r)) {
        GROW(&r->outbox);
        r->outbox.items[r->outbox.count++] = *m;
    } else {
        hold(r, m);
    }
    *m = (struct raft_message){0};
}

void raft_drop_campaign(struct raft *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->held.count; i++) {
        struct raft_message *m = &r->held.items[i];
        if (m->type == RAFT_PREVOTE || m->type == RAFT_VOTE)
            raft_message_clear(m);
        else
            r->held.items[kept++] = *m;
    }
    r->held.count = kept;
}

static void release_held(struct raft *r)
{
    for (size_t i = 0; i < r->held.count; i++) {
        CHECK(r->held.items[i].term == r->term);
        GROW(&r->outbox);
        r->outbox.items[r->outbox.count++] = r->held.items[i];
    }
    r->held.count = 0;
}

void raft_set_hard_state(struct raft *r, raft_term term, raft_id vote)
{
    CHECK(term >= r->term);
    CHECK(term > r->term || !r->vote || r->vote == vote);
    if (term > r->term) {
        clear_messages(&r->held); /* what was held for an older term is stale */
        r->checked = r->acknowledged = r->leader_commit = r->leader_durable = 0;
    }
    r->term = term;
    r->vote = vote;
    r->hard_dirty = true;
}

void raft_request_read(struct raft *r, const struct raft_read *read)
{
    GROW(&r->reads);
    r->reads.items[r->reads.count++] = *read;
}

void raft_note_conflict(struct raft *r, const struct raft_message *m, const struct raft_entry *theirs)
{
    raft_blob_release(r->conflict.entry.blob);
    r->conflict = (struct raft_conflict){.leader = m->from,
                                         .leader_term = m->term,
                                         .index = theirs->index,
                                         .own_term = raft_log_term(&r->log, theirs->index),
                                         .entry = *theirs};
    raft_blob_retain(theirs->blob);
    r->conflict_notice = true;
}

/* ---- writes ---- */

static void limit_tickets(struct raft *r, raft_index last)
{
    for (unsigned i = 0; i < r->ticket_count; i++) {
        struct ticket *t = &r->tickets[(r->ticket_first + i) % LIMIT_RAFT_WRITES];
        t->last = index_min(t->last, last);
    }
}

void raft_truncate_log(struct raft *r, raft_index from)
{
    CHECK(from > r->commit && from > r->floor && r->role != RAFT_LEADER);
    raft_log_truncate(&r->log, from);
    if (config_history_truncate(&r->configs, from)) r->config_notice = true;
    r->truncate_from = r->truncate_from ? index_min(r->truncate_from, from) : from;
    r->written = index_min(r->written, from - 1);
    r->persisted = index_min(r->persisted, from - 1);
    r->checked = index_min(r->checked, from - 1);
    r->acknowledged = index_min(r->acknowledged, from - 1);
    limit_tickets(r, from - 1);
}

void raft_reset_log(struct raft *r, struct raft_position position)
{
    raft_log_reset(&r->log, position);
    r->reset = true;
    r->reset_to = position;
    r->truncate_from = 0;
    r->written = r->persisted = position.index; /* the driver has that state durable */
    limit_tickets(r, 0);
}

static void take_write(struct raft *r)
{
    struct ready_store *t = &r->taken;
    bool some = r->hard_dirty || r->reset || r->truncate_from || r->written < r->log.last;
    if (!some || r->ticket_count == LIMIT_RAFT_WRITES) return;
    struct raft_ready *ready = &t->ready;
    ready->write = ++r->write_issued;
    ready->hard_state = r->hard_dirty;
    ready->term = r->term;
    ready->vote = r->vote;
    ready->reset = r->reset;
    ready->reset_to = r->reset_to;
    ready->truncate_from = r->truncate_from;
    for (raft_index i = r->written + 1; i <= r->log.last; i++) {
        const struct raft_entry *e = raft_log_cached(&r->log, i);
        CHECK(e); /* unwritten entries are never evicted */
        GROW(&t->entries);
        t->entries.items[t->entries.count++] = *e;
        raft_blob_retain(e->blob);
    }
    ready->entries = t->entries.items;
    ready->entry_count = t->entries.count;
    if (r->hard_dirty) r->hard_write = ready->write;
    r->hard_dirty = r->reset = false;
    r->truncate_from = 0;
    r->written = r->log.last;
    r->tickets[(r->ticket_first + r->ticket_count++) % LIMIT_RAFT_WRITES] =
        (struct ticket){.number = ready->write, .last = r->log.last, .issued_tick = r->ticks};
}

/* Those that were synced together come one after the other: the first says how long it took. */
static void note_late(struct raft *r, uint64_t write)
{
    if (r->behind_write == write && r->ticks - r->behind_tick >= r->options.slow_ticks)
        r->late_tick = r->ticks;
    else if (r->ticks - r->late_tick > 1)
        r->slow_writes = 0;
}

/* What nobody waits for, here or elsewhere, is kept only for who asks again: a lost message, a new leader. */
void raft_evict(struct raft *r)
{
    raft_index spent = index_min(index_min(r->persisted, r->applied), raft_needed_from(r) - 1);
    raft_log_evict(&r->log, spent, r->options.spent_bytes);
    raft_log_evict(&r->log, r->persisted, r->options.cache_bytes);
}

void raft_persisted(struct raft *r, uint64_t write)
{
    if (r->halted) return;
    CHECK(write > r->write_done && write <= r->write_issued);
    while (r->ticket_count && r->tickets[r->ticket_first].number <= write) {
        note_late(r, r->tickets[r->ticket_first].number);
        r->persisted = index_max(r->persisted, r->tickets[r->ticket_first].last);
        r->ticket_first = (r->ticket_first + 1) % LIMIT_RAFT_WRITES;
        r->ticket_count--;
    }
    bool was_durable = raft_hard_state_is_durable(r);
    r->write_done = write;
    CHECK(r->persisted <= r->log.last);
    if (!was_durable && raft_hard_state_is_durable(r)) {
        release_held(r);
        raft_hard_state_durable(r);
    }
    if (r->role == RAFT_LEADER)
        raft_maybe_commit(r);
    else
        raft_acknowledge(r);
    raft_evict(r);
}

/* ---- the ready ---- */

static void take_lists(struct raft *r)
{
    struct ready_store *t = &r->taken;
    struct message_list empty = t->messages;
    t->messages = r->outbox;
    r->outbox = empty;
    t->ready.messages = t->messages.items;
    t->ready.message_count = t->messages.count;
    struct read_list none = t->reads;
    t->reads = r->reads;
    r->reads = none;
    t->ready.reads = t->reads.items;
    t->ready.read_count = t->reads.count;
}

static void take_apply(struct raft *r)
{
    raft_index to = index_min(r->commit, r->persisted);
    if (to <= r->apply_given) return;
    r->taken.ready.apply_from = r->apply_given + 1;
    r->taken.ready.apply_to = to;
    r->apply_given = to;
}

static void take_notices(struct raft *r)
{
    struct ready_store *t = &r->taken;
    if (r->install_notice) {
        t->install = r->install;
        raft_blob_retain(t->install.manifest);
        t->ready.install = &t->install;
    }
    if (r->conflict_notice) {
        t->conflict = r->conflict;
        r->conflict = (struct raft_conflict){0};
        t->ready.conflict = &t->conflict;
    }
    t->ready.role_changed =
        r->role != r->told_role || r->term != r->told_term || r->leader != r->told_leader;
    t->ready.config_changed = r->config_notice;
    r->install_notice = r->conflict_notice = r->config_notice = false;
    raft_ready_init(r);
}

struct raft_ready *raft_take(struct raft *r)
{
    struct ready_store *t = &r->taken;
    clear_taken(t);
    if (r->halted) return &t->ready;
    if (r->role == RAFT_LEADER) raft_flush(r);
    take_write(r);
    take_lists(r);
    take_apply(r);
    take_notices(r);
    const struct raft_ready *y = &t->ready;
    t->ready.any = y->write || y->message_count || y->read_count || y->apply_to || y->install ||
                   y->conflict || y->role_changed || y->config_changed;
    return &t->ready;
}
