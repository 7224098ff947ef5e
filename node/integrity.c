/* Findings and alarms: what is open, who has heard of it (node/integrity.h).
 *
 * Happy path: integrity_found -> a line in the log, an entry, its durable note -> node.alarm by the next
 * free turn -> this node applies that leaf, reads the open rows and finds the entry's -> clients are
 * told at each change. Once the row is closed, entry and note go.
 * Failures: notes and requests that are not taken are tried again by the timer; a kill between any two
 * of these steps is made up for at start, from the note. */
#include "node/integrity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/pack.h"
#include "ledger/evidence.h"
#include "ledger/fields.h"
#include "node/integrity_internal.h"
#include "node/notice.h"

#define TIMER_MS 500

uint64_t integrity_now_ms(void) { return clock_monotonic_ns() / 1000000; }

/* --- which is which --- */

/* A fact about a node, wherever it shows: one at a time. */
static bool is_about_node(enum alarm_kind kind) { return kind == ALARM_FORKED || kind == ALARM_ROLLED_BACK; }

static bool is_same(const struct alarm *a, enum alarm_kind kind, unsigned named, uint64_t first)
{
    return a->kind == kind && a->named == named && (a->first == first || is_about_node(kind));
}

static struct kept *find(const struct integrity *i, enum alarm_kind kind, unsigned named, uint64_t first)
{
    for (size_t at = 0; at < i->count; at++)
        if (is_same(&i->kept[at]->alarm, kind, named, first)) return i->kept[at];
    return NULL;
}

const struct alarm *open_row(const struct integrity *i, enum alarm_kind kind, unsigned named, uint64_t first)
{
    for (size_t at = 0; at < i->open_count; at++)
        if (is_same(&i->open[at], kind, named, first)) return &i->open[at];
    return NULL;
}

/* --- what is shown --- */

bool integrity_counts(const struct integrity *i, const struct alarm *a)
{
    return alarm_counts(a->kind, a->named, a->saying, i->node->genesis.faulty);
}

static bool row_shows(const struct integrity *i, const struct kept *k)
{
    return open_row(i, k->alarm.kind, k->alarm.named, k->alarm.first) != NULL;
}

static void show(struct integrity *i)
{
    i->view_count = 0;
    for (size_t at = 0; at < i->count; at++) {
        const struct kept *k = i->kept[at];
        bool open = !k->gone && (!k->repaired || k->alarm.index == 0) && !row_shows(i, k);
        if (open) i->view[i->view_count++] = k->alarm;
    }
    for (size_t at = 0; at < i->open_count; at++) i->view[i->view_count++] = i->open[at];
    integrity_order(i->view, i->view_count, i->node->self, i->node->genesis.faulty);
}

/* At once, but not more often than the timer comes: there may be thousands of clients. */
static void tell_clients(struct integrity *i)
{
    uint64_t now = integrity_now_ms();
    if (!i->news || i->node->stopping || now < i->told_ms + TIMER_MS) return;
    i->news = false;
    i->told_ms = now;
    notice_push(i->node);
}

static bool looks_same(const struct alarm *a, const struct alarm *b)
{
    return a->index == b->index && a->kind == b->kind && a->named == b->named && a->raiser == b->raiser &&
           a->first == b->first && a->last == b->last && a->told == b->told && a->told_ways == b->told_ways &&
           a->saying == b->saying;
}

static void changed(struct integrity *i)
{
    struct alarm *before = i->view;
    size_t count = i->view_count;
    i->view = i->spare;
    i->spare = before;
    show(i);
    bool same = count == i->view_count && i->shown_quarantined == i->quarantined;
    for (size_t at = 0; same && at < count; at++) same = looks_same(&before[at], &i->view[at]);
    i->shown_quarantined = i->quarantined;
    if (!same) i->news = true;
    tell_clients(i);
}

void integrity_view(const struct node *node, struct integrity_view *out)
{
    const struct integrity *i = node->integrity;
    *out = (struct integrity_view){0};
    if (!i) return;
    out->quarantined = i->quarantined;
    out->count = i->view_count;
    out->alarms = i->view;
    out->own = i->quarantined;
    for (size_t at = 0; at < i->view_count; at++) out->own = out->own || i->view[at].named == node->self;
    out->repaired_count = i->repaired_count;
    out->repaired = i->repaired;
}

/* --- entries --- */

void kept_remove(struct integrity *i, struct kept *k)
{
    k->gone = true;
    if (i->said == k) i->said = NULL;
    kept_store(i, k);
}

void kept_forget(struct integrity *i, struct kept *k)
{
    for (size_t at = 0; at < i->count; at++) {
        if (i->kept[at] != k) continue;
        i->kept[at] = i->kept[--i->count];
        break;
    }
    buffer_free(&k->evidence);
    free(k);
}

/* Trouble that others make must not leave this node without words for its own. */
static bool has_room(struct integrity *i, unsigned named)
{
    size_t others = 0, same = 0;
    for (size_t at = 0; at < i->count; at++) {
        if (i->kept[at]->alarm.named != i->node->self) others++;
        if (i->kept[at]->alarm.named == named) same++;
    }
    bool room = i->count < INTEGRITY_FINDINGS;
    if (named != i->node->self) room = room && others < FINDINGS_OF_OTHERS && same < FINDINGS_PER_NODE;
    if (room) return true;
    i->lost++;
    if (log_seldom(&i->lost_ns))
        log_error("integrity", "%llu findings beyond those that are kept; the first ones stand in the alarms",
                  (unsigned long long)i->lost);
    return false;
}

static struct kept *add(struct integrity *i, const struct alarm *a, const char *text)
{
    struct kept *k = xcalloc(1, sizeof *k);
    k->alarm = *a;
    snprintf(k->text, sizeof k->text, "%s", text);
    i->kept[i->count++] = k;
    return k;
}

/* This row is the entry's. False: that was known. */
static bool join(struct kept *k, const struct alarm *row)
{
    bool news = k->alarm.index != row->index || k->alarm.raiser != row->raiser;
    k->alarm.index = row->index;
    k->alarm.raiser = row->raiser;
    k->alarm.saying = row->saying;
    k->said_first = row->first;
    k->said_last = row->last;
    if (news) k->tries = 0;
    if (news) k->next_ms = 0;
    return news;
}

static void say_found(const struct integrity *i, const struct finding *f)
{
    const struct descriptor *named = genesis_member(&i->node->genesis, f->named);
    log_error("integrity", "ALARM: node %u (%s), %s: %s (%s %llu to %llu): %s", f->named, named->name,
              alarm_kind_text(f->kind), alarm_kind_meaning(f->kind), alarm_kind_place(f->kind),
              (unsigned long long)f->first, (unsigned long long)f->last, f->text);
}

/* Found before, and not closed since: it may reach further, or not be repaired after all. */
static void found_again(struct integrity *i, struct kept *k, const struct finding *f)
{
    bool more = f->last > k->alarm.last || k->repaired || k->gone;
    k->inherited = false;
    if (!more) return;
    if (k->gone) { /* its row was closed; this is a new one */
        k->gone = false;
        k->stored = false;
        k->alarm.index = k->said_last = 0;
        k->alarm.since_ms = clock_wall_ms();
        k->next_ms = 0;
        say_found(i, f);
    }
    k->repaired = false;
    if (f->last > k->alarm.last) k->alarm.last = f->last;
    kept_store(i, k);
    changed(i);
}

static void take(struct integrity *i, const struct finding *f, struct bytes evidence, bool spoken_for)
{
    struct kept *k = find(i, f->kind, f->named, f->first);
    const struct alarm *row = open_row(i, f->kind, f->named, f->first);
    if (k) {
        found_again(i, k, f);
        return;
    }
    /* Others raised it, and it counts: everybody is warned, and nothing of this node's is wrong. */
    if (row && row->raiser != i->node->self && f->named != i->node->self && integrity_counts(i, row)) return;
    if (!has_room(i, f->named)) return;
    say_found(i, f);
    struct alarm a = {.kind = f->kind, .named = f->named, .raiser = i->node->self, .saying = 1u << i->node->self,
                      .first = f->first, .last = f->last, .since_ms = clock_wall_ms(), .status = ALARM_OPEN};
    k = add(i, &a, f->text);
    k->spoken_for = spoken_for;
    buffer_append_bytes(&k->evidence, evidence);
    if (row) join(k, row);
    kept_store(i, k);
    changed(i);
}

void integrity_found(struct node *node, const struct finding *finding, struct bytes evidence)
{
    struct finding f = *finding;
    CHECK(f.named >= 1 && f.named <= node->genesis.member_count);
    CHECK((evidence.size != 0) == (f.kind == ALARM_FORKED) && evidence.size <= EVIDENCE_SIZE);
    if (f.last < f.first) f.last = f.first;
    if (node->integrity) take(node->integrity, &f, evidence, false);
}

/* --- repaired --- */

static bool is_meant(const struct alarm *a, const struct mended *m)
{
    return a->named == m->named && a->first >= m->from && a->first <= m->to;
}

static void close_kept(struct integrity *i, struct kept *k)
{
    if (k->repaired || k->gone || k->alarm.kind == ALARM_FORKED) return;
    k->repaired = true;
    k->next_ms = k->tries = 0; /* however often it could not be raised */
    if (k->alarm.index && !alarm_says(&k->alarm, i->node->self) && i->said != k)
        kept_remove(i, k); /* those who said so close the row */
    else
        kept_store(i, k);
}

/* What this node said and has no note of any more. */
static void close_rows(struct integrity *i, const struct mended *m)
{
    for (size_t at = 0; at < i->open_count; at++) {
        const struct alarm *row = &i->open[at];
        if (!alarm_says(row, i->node->self) || row->kind == ALARM_FORKED || !is_meant(row, m)) continue;
        if (find(i, row->kind, row->named, row->first) || i->count >= INTEGRITY_FINDINGS) continue;
        struct kept *k = add(i, row, "repaired");
        join(k, row);
        k->repaired = true;
        kept_store(i, k);
    }
}

static void mend(struct integrity *i, const struct mended *m)
{
    for (size_t at = 0; at < i->count; at++)
        if (is_meant(&i->kept[at]->alarm, m) && !i->kept[at]->spoken_for) close_kept(i, i->kept[at]);
    close_rows(i, m);
    changed(i);
    raise_next(i);
}

void integrity_repaired(struct node *node, unsigned named, uint64_t from, uint64_t to)
{
    struct integrity *i = node->integrity;
    const struct mended m = {named, from, to};
    if (!i) return;
    if (i->open_known)
        mend(i, &m);
    else if (i->mended_count < sizeof i->mended / sizeof i->mended[0])
        i->mended[i->mended_count++] = m;
}

void integrity_scrubbed(struct node *node)
{
    struct integrity *i = node->integrity;
    if (!i || i->quarantined) return;
    for (size_t at = 0; at < i->count; at++) {
        struct kept *k = i->kept[at];
        if (k->inherited && k->alarm.named == node->self && !is_about_node(k->alarm.kind)) close_kept(i, k);
    }
    changed(i);
    raise_next(i);
}

/* A store that was made anew has no note of what was wrong with the old one, and has been proved while it was
 * filled. That its disk was set back is another matter: such an alarm stays. */
static void close_orphans(struct integrity *i)
{
    if (!i->node->ready || i->quarantined || !i->open_known) return;
    for (size_t at = 0; at < i->open_count; at++) {
        const struct alarm *row = &i->open[at];
        bool own = row->named == i->node->self && alarm_says(row, row->named) && !is_about_node(row->kind);
        if (!own || find(i, row->kind, row->named, row->first)) continue;
        close_rows(i, &(struct mended){row->named, row->first, row->first});
    }
}

/* --- quarantine --- */

static bool has_own(const struct integrity *i)
{
    for (size_t at = 0; at < i->count; at++) {
        const struct kept *k = i->kept[at];
        if (k->alarm.named == i->node->self && !k->gone && !k->repaired) return true;
    }
    return false;
}

void integrity_quarantine(struct node *node, const char *why)
{
    struct integrity *i = node->integrity;
    struct driver_status d;
    driver_quarantine(node->driver, why);
    node->ready = false;
    if (!i || i->quarantined) return;
    log_error("integrity", "QUARANTINED: %s. This node serves and votes no more; rebuild it from its peers", why);
    i->quarantined = true;
    i->quarantined_ms = clock_wall_ms();
    snprintf(i->why, sizeof i->why, "%s", why);
    quarantine_store(i);
    if (!has_own(i)) {
        driver_status(node->driver, &d);
        struct finding f = {.kind = ALARM_MODIFIED, .named = node->self, .first = d.size, .last = d.size};
        snprintf(f.text, sizeof f.text, "%s", why);
        take(i, &f, (struct bytes){0}, false);
    }
    changed(i);
}

void integrity_contradicted(struct node *node, const char *why)
{
    struct integrity *i = node->integrity;
    struct driver_status d;
    if (!i || has_own(i)) return;
    driver_status(node->driver, &d);
    struct finding f = {.kind = ALARM_MODIFIED, .named = node->self, .first = d.size, .last = d.size};
    snprintf(f.text, sizeof f.text, "%s", why);
    take(i, &f, (struct bytes){0}, false);
}

/* Parts of the driver quarantine by themselves. Not for good, while it is not known whether a leader lied. */
static void watch_driver(struct integrity *i)
{
    struct driver_status d;
    driver_status(i->node->driver, &d);
    if (d.quarantined && !d.contradicted && !i->quarantined)
        integrity_quarantine(i->node, driver_quarantined_why(i->node->driver));
    if (i->quarantined) quarantine_store(i);
}

/* --- the ledger's rows --- */

/* What the ledger says of an entry: `size` leaves were applied when its rows were read. */
static void match(struct integrity *i, struct kept *k, uint64_t size)
{
    const struct alarm *row = open_row(i, k->alarm.kind, k->alarm.named, k->alarm.first);
    if (k->gone) return;
    if (!row) {
        if (k->alarm.index && k->alarm.index < size) kept_remove(i, k); /* closed */
        return;
    }
    bool news = join(k, row);
    if (k->repaired && !alarm_says(row, i->node->self) && i->said != k)
        kept_remove(i, k);
    else if (news)
        kept_store(i, k);
}

void integrity_opened(struct integrity *i, uint64_t size)
{
    for (size_t at = 0; at < i->count; at++) match(i, i->kept[at], size);
    for (size_t at = 0; at < i->mended_count; at++) mend(i, &i->mended[at]);
    i->mended_count = 0;
    changed(i);
    raise_next(i);
}

void integrity_applied(struct node *node, const struct driver_applied *applied)
{
    if (node->integrity && (applied->alarms_changed || applied->replayed)) raise_read(node->integrity);
}

void integrity_role(struct node *node)
{
    struct integrity *i = node->integrity;
    if (!i) return;
    for (size_t at = 0; at < i->count; at++) i->kept[at]->next_ms = 0;
    raise_next(i);
}

/* --- peers --- */

void integrity_own(const struct node *node, struct peer_findings *out)
{
    const struct integrity *i = node->integrity;
    *out = (struct peer_findings){0};
    if (!i) return;
    out->quarantined = i->quarantined;
    for (size_t at = 0; at < i->count && out->count < PEER_FINDINGS; at++) {
        const struct kept *k = i->kept[at];
        if (k->alarm.named == node->self && !k->gone && !k->repaired) out->own[out->count++] = k->alarm;
    }
}

void integrity_own_encode(struct buffer *out, const struct peer_findings *said)
{
    CHECK(said->count <= PEER_FINDINGS);
    pack_bool(out, said->quarantined);
    pack_array(out, said->count);
    for (uint32_t at = 0; at < said->count; at++) {
        pack_array(out, 4);
        pack_uint(out, said->own[at].kind);
        pack_uint(out, said->own[at].first);
        pack_uint(out, said->own[at].last);
        pack_uint(out, said->own[at].since_ms);
    }
}

void integrity_own_decode(struct peer_findings *out, struct unpack *u)
{
    out->quarantined = unpack_bool(u);
    out->count = unpack_array(u, PEER_FINDINGS);
    for (uint32_t at = 0; at < out->count; at++) {
        struct alarm *a = &out->own[at];
        unpack_array_of(u, 4);
        *a = (struct alarm){.status = ALARM_OPEN};
        a->kind = (enum alarm_kind)unpack_range(u, ALARM_MODIFIED, ALARM_ROLLED_BACK);
        a->first = unpack_uint(u);
        a->last = unpack_range(u, a->first, UINT64_MAX);
        a->since_ms = unpack_time(u);
    }
}

/* Once each, and a few in so many minutes: a liar could fall ill and get well again for ever. */
static bool is_spoken(struct integrity *i, unsigned from, const struct alarm *a)
{
    struct spoken *s = &i->spoken[from];
    uint64_t now = integrity_now_ms();
    if (s->well && now >= s->began_ms + SPOKEN_MS) *s = (struct spoken){.began_ms = now};
    for (uint32_t at = 0; at < s->count; at++)
        if (is_same(&s->alarms[at], a->kind, from, a->first)) return true;
    if (s->count == PEER_FINDINGS) return true;
    s->alarms[s->count] = *a;
    s->alarms[s->count++].named = from;
    return false;
}

static void speak_for(struct integrity *i, unsigned from, const struct alarm *a)
{
    struct finding f = {.kind = a->kind, .named = from, .first = a->first, .last = a->last};
    if (a->kind == ALARM_FORKED || is_spoken(i, from, a)) return; /* its evidence goes round, or there is none */
    snprintf(f.text, sizeof f.text, "it says so itself, and is quarantined");
    take(i, &f, (struct bytes){0}, true);
}

static void is_well_again(struct integrity *i, unsigned from)
{
    i->spoken[from].well = true;
    for (size_t at = 0; at < i->count; at++) {
        struct kept *k = i->kept[at];
        if (k->spoken_for && k->alarm.named == from && !k->gone && !is_about_node(k->alarm.kind)) close_kept(i, k);
    }
    /* A word of ours that got into the ledger when nothing was known of it any more. */
    for (size_t at = 0; at < i->open_count; at++) {
        const struct alarm *row = &i->open[at];
        if (row->named != from || is_about_node(row->kind)) continue;
        close_rows(i, &(struct mended){from, row->first, row->first});
    }
}

void integrity_peer(struct node *node, unsigned from, const struct peer_findings *said, bool ready)
{
    struct integrity *i = node->integrity;
    if (!i || !i->open_known) return;
    for (uint32_t at = 0; said->quarantined && at < said->count; at++) speak_for(i, from, &said->own[at]);
    if (ready && !said->quarantined && said->count == 0) is_well_again(i, from);
}

/* --- life --- */

static void on_timer(uv_timer_t *timer)
{
    struct integrity *i = timer->data;
    watch_driver(i);
    for (size_t at = 0; at < i->count; at++)
        if (i->kept[at]->dirty && !i->kept[at]->storing) kept_store(i, i->kept[at]);
    if (i->read_again) raise_read(i);
    close_orphans(i);
    raise_next(i);
    tell_clients(i);
}

static void take_up(struct integrity *i)
{
    for (size_t at = 0; at < i->count; at++) {
        struct kept *k = i->kept[at];
        const struct alarm *a = &k->alarm;
        bool mended = k->carried && a->named == i->node->self && !is_about_node(a->kind);
        k->repaired = k->repaired || mended;
        k->inherited = true;
        k->alarm.saying = 1u << i->node->self; /* until its row is read */
        log_warning("integrity", "open since before this start: node %u, %s, %llu to %llu: %s", a->named,
                    alarm_kind_text(a->kind), (unsigned long long)a->first, (unsigned long long)a->last, k->text);
    }
    if (i->quarantined)
        log_error("integrity", "QUARANTINED since before this start: %s. This node serves and votes no more; rebuild "
                               "it from its peers", i->why);
}

enum err integrity_new(struct integrity **out, struct node *node)
{
    struct integrity *i = xcalloc(1, sizeof *i);
    i->node = node;
    i->view = xcalloc(INTEGRITY_FINDINGS + ALARMS_OPEN_MOST, sizeof *i->view);
    i->spare = xcalloc(INTEGRITY_FINDINGS + ALARMS_OPEN_MOST, sizeof *i->spare);
    enum err e = integrity_load(i);
    if (e != OK) {
        integrity_free(i);
        return e;
    }
    CHECK(uv_timer_init(&node->loop, &i->timer) == 0);
    i->timer.data = i;
    for (unsigned member = 0; member <= LIMIT_NODES; member++) i->spoken[member].began_ms = integrity_now_ms();
    CHECK(uv_timer_start(&i->timer, on_timer, TIMER_MS, TIMER_MS) == 0);
    take_up(i);
    *out = i;
    if (i->quarantined) driver_quarantine(node->driver, i->why);
    changed(i);
    raise_read(i);
    return OK;
}

void integrity_stop(struct node *node)
{
    struct integrity *i = node->integrity;
    if (i && !uv_is_closing((uv_handle_t *)&i->timer)) uv_close((uv_handle_t *)&i->timer, NULL);
}

void integrity_free(struct integrity *i)
{
    if (!i) return;
    while (i->count) kept_forget(i, i->kept[0]);
    free(i->open);
    free(i->view);
    free(i->spare);
    free(i);
}
