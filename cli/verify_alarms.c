#include "cli/verify_alarms.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/check.h"
#include "cli/alarms.h"

struct told {
    const struct genesis *genesis;
    uint32_t member; /* of whom */
    uint32_t kind;   /* 0: any */
    bool known, forked;
    struct message_alarm alarm; /* the first such one, of the ledger if it is there */
    uint32_t words;  /* bit i = member i says so */
};

static bool is_about(const struct told *t, const struct message_alarm *a)
{
    return a->status == ALARM_OPEN && a->named == t->member && (t->kind == 0 || a->kind == t->kind);
}

static void take(struct told *t, const struct message_alarm *a, uint32_t words)
{
    if (!t->known) t->alarm = *a;
    t->known = true;
    t->words |= words;
}

static void take_row(struct told *t, const struct alarm *r)
{
    struct message_alarm a = {.index = r->index, .kind = r->kind, .named = r->named, .raiser = r->raiser,
                              .first = r->first, .last = r->last, .since_ms = r->since_ms, .status = r->status,
                              .saying = r->saying};
    if (!is_about(t, &a)) return;
    take(t, &a, r->saying);
    t->forked = t->forked || r->kind == ALARM_FORKED; /* no other gets into the ledger */
}

/* One's own word, or that it is more than what liars could say: then only those who say the same can prove it. */
static void take_notice(struct told *t, const struct alarmed_node *from)
{
    const struct cluster *c = from->cluster;
    for (uint32_t i = 0; i < c->notice.count; i++) {
        const struct message_alarm *a = &c->notice.alarms[i];
        if (!is_about(t, a)) continue;
        bool itself = (a->saying | 1u << a->raiser) >> from->member & 1;
        if (itself || (alarm_is_good(c, a) && alarms_name(c, t->member))) take(t, a, 1u << from->member);
    }
}

static bool is_proved(const struct told *t)
{
    return t->known && alarm_counts(t->forked ? ALARM_FORKED : ALARM_MODIFIED, t->member, t->words, t->genesis->faulty);
}

static struct told hear_all(const struct alarmed_node *nodes, uint32_t count, const struct genesis *genesis,
                            const struct alarm *rows, size_t row_count, uint32_t member, uint32_t kind)
{
    struct told t = {.genesis = genesis, .member = member, .kind = kind};
    for (size_t i = 0; i < row_count; i++) take_row(&t, &rows[i]);
    for (uint32_t i = 0; i < count; i++)
        if (nodes[i].asked && nodes[i].reached) take_notice(&t, &nodes[i]);
    return t;
}

/* --- in words --- */

/* "node-1, node-3" */
static void add_names(struct buffer *out, const struct told *t, uint32_t mask)
{
    const char *before = "";
    for (uint32_t member = 1; member <= t->genesis->member_count; member++) {
        if (!(mask >> member & 1)) continue;
        buffer_printf(out, "%s%s", before, member == t->member ? "it" : genesis_member(t->genesis, member)->name);
        before = ", ";
    }
}

/* "modified, index 12 to 14, stored data ..." */
static void add_what(struct buffer *out, const struct message_alarm *a)
{
    enum alarm_kind kind = (enum alarm_kind)a->kind;
    buffer_printf(out, "%s, %s %" PRIu64, alarm_kind_text(kind), alarm_kind_place(kind), a->first);
    if (a->last != a->first) buffer_printf(out, " to %" PRIu64, a->last);
    buffer_printf(out, ", %s", alarm_kind_meaning(kind));
}

static void set_alarmed(struct audit *audit, const struct told *t)
{
    struct buffer text = {0};
    const struct message_alarm *a = &t->alarm;
    buffer_append_text(&text, audit->verdict == AUDIT_FINE ? "its ledger verifies, but " : "it does not answer, and ");
    add_names(&text, t, a->saying | 1u << a->raiser);
    buffer_append_text(&text, " raised an alarm that is open (");
    if (a->index)
        buffer_printf(&text, "entry %" PRIu64, a->index);
    else
        buffer_append_text(&text, "not in the ledger yet");
    buffer_append_text(&text, "): ");
    add_what(&text, a);
    CHECK(!text.failed);
    finding_set(&audit->finding, ERR_ROOT, a->index, "%.*s", (int)text.size, (const char *)text.data);
    audit->finding.located = false;
    audit->verdict = AUDIT_ALARMED;
    buffer_free(&text);
}

/* What such a node holds may be right again, taken from its peers; but what it signed meanwhile it does not know. */
static void set_set_back(struct audit *audit, const struct told *t)
{
    audit->verdict = AUDIT_SET_BACK;
    finding_set(&audit->finding, ERR_ROOT, t->alarm.first, "its disk is older than what it has signed: Raft index %"
                PRIu64 " to %" PRIu64 " of the cluster's log were not on it", t->alarm.first, t->alarm.last);
    audit->finding.located = false; /* the log's numbers are not those of entries */
}

static void set_unproved(struct alarmed_node *node, const struct told *t)
{
    struct buffer text = {0};
    buffer_append_text(&text, "said by ");
    add_names(&text, t, t->words);
    buffer_append_text(&text, ", not proved: ");
    add_what(&text, &t->alarm);
    CHECK(!text.failed);
    snprintf(node->unproved, sizeof node->unproved, "%.*s", (int)text.size, (const char *)text.data);
    buffer_free(&text);
}

void verify_alarms(struct alarmed_node *nodes, uint32_t count, const struct genesis *genesis, const struct alarm *rows,
                   size_t row_count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct alarmed_node *n = &nodes[i];
        n->unproved[0] = '\0';
        if (!n->asked) continue;
        struct told back = hear_all(nodes, count, genesis, rows, row_count, n->member, ALARM_ROLLED_BACK);
        struct told any = hear_all(nodes, count, genesis, rows, row_count, n->member, 0);
        if (any.known && !is_proved(&any)) set_unproved(n, back.known ? &back : &any);
        if (n->audit->verdict == AUDIT_FINE && is_proved(&back))
            set_set_back(n->audit, &back);
        else if (!audit_failed(n->audit->verdict) && is_proved(&any))
            set_alarmed(n->audit, &any);
    }
}
