#include "cli/alarms.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/tool.h"
#include "ledger/alarm.h"

#define SAID_AT_ONCE 2 /* and of each node the first that counts in each case */
#define TOLD_MOST 16 /* that one node tells of another one in a run, and of accusations: liars have no end of them */
#define SAID_MOST ((LIMIT_NODES + 1) * TOLD_MOST)

/* --- in words --- */

static const char *kind_word(uint32_t kind) { return alarm_kind_text((enum alarm_kind)kind); }

static void indexes(char *out, size_t size, const struct message_alarm *a)
{
    if (a->first == a->last)
        snprintf(out, size, "%" PRIu64, a->first);
    else
        snprintf(out, size, "%" PRIu64 " to %" PRIu64, a->first, a->last);
}

static const char *name_of(const struct genesis *g, uint32_t member)
{
    const struct descriptor *d = genesis_member(g, member);
    return d ? d->name : "?";
}

static uint32_t said_by(const struct message_alarm *a) { return a->saying | 1u << a->raiser; }

/* "node-1, node-2"; the node that is named: `itself`, or (NULL) its name. */
static void names_of(struct buffer *out, const struct genesis *g, const struct message_alarm *a, const char *itself)
{
    for (uint32_t member = 1; member <= LIMIT_NODES; member++)
        if (said_by(a) >> member & 1)
            buffer_printf(out, "%s%s", out->size ? ", " : "",
                          member == a->named && itself ? itself : name_of(g, member));
}

bool alarm_is_good(const struct cluster *c, const struct message_alarm *a)
{
    uint32_t saying = said_by(a);
    for (uint32_t i = 0; i < c->notice.count && a->status == ALARM_OPEN; i++)
        if (c->notice.alarms[i].named == a->named) saying |= said_by(&c->notice.alarms[i]) & ~(1u << a->named);
    return alarm_counts((enum alarm_kind)a->kind, a->named, saying, c->genesis.faulty);
}

/* "COMPROMISED: node-3, index 12, since ...: modified, ..." */
static void in_words(struct buffer *out, const struct cluster *c, const struct message_alarm *a)
{
    char since[CLOCK_TEXT_SIZE], where[64];
    struct buffer who = {0};
    bool good = alarm_is_good(c, a);
    clock_format(since, a->since_ms);
    indexes(where, sizeof where, a);
    names_of(&who, &c->genesis, a, "itself");
    buffer_printf(out, "%s: %s, %s %s, since %s: %s, %s (%s by %.*s, ", good ? "COMPROMISED" : "ACCUSED",
                  name_of(&c->genesis, a->named), alarm_kind_place((enum alarm_kind)a->kind), where, since,
                  kind_word(a->kind),
                  alarm_kind_meaning((enum alarm_kind)a->kind), a->index ? "raised" : "found", (int)who.size,
                  who.data ? (const char *)who.data : "");
    if (a->index)
        buffer_printf(out, "entry %" PRIu64, a->index);
    else
        buffer_append_text(out, "not in the ledger yet");
    if (!good)
        buffer_printf(out, "; nothing proves it: it counts once %" PRIu32 " nodes say so", c->genesis.faulty + 1);
    buffer_append(out, ")", 2); /* and its end */
    CHECK(!out->failed);
    buffer_free(&who);
}

static const char *ways_of(const struct message_alarm *a)
{
    static const char *const ways[] = {"no known way", "mail", "webhook", "mail and webhook"};
    return ways[a->told_ways & ALARM_WAYS];
}

static json_t *told_by(const struct genesis *g, const struct message_alarm *a)
{
    return a->told ? json_sprintf("%s by %s", name_of(g, a->told_by), ways_of(a)) : json_null();
}

static json_t *names_json(const struct genesis *g, const struct message_alarm *a)
{
    struct buffer who = {0};
    names_of(&who, g, a, NULL);
    CHECK(!who.failed);
    json_t *text = json_stringn((const char *)who.data, who.size);
    buffer_free(&who);
    return text;
}

json_t *alarm_json(const struct cluster *c, const struct message_alarm *a)
{
    const struct genesis *g = &c->genesis;
    static const char *const status[] = {"open", "repaired", "cleared"};
    bool known = a->status >= ALARM_OPEN && a->status <= ALARM_CLEARED;
    json_t *o = json_pack("{s:o, s:s, s:i, s:s, s:s, s:I, s:I, s:o, s:s, s:o, s:b, s:s, s:o, s:o, s:o}", "entry",
                          a->index ? json_integer((json_int_t)a->index) : json_null(), "node", name_of(g, a->named),
                          "member", (int)a->named, "kind", kind_word(a->kind), "place",
                          alarm_kind_place((enum alarm_kind)a->kind), "first", (json_int_t)a->first, "last",
                          (json_int_t)a->last, "since", json_time(a->since_ms), "raised_by", name_of(g, a->raiser),
                          "said_by", names_json(g, a), "counts", alarm_is_good(c, a), "status",
                          known ? status[a->status - ALARM_OPEN] : "unknown", "closed",
                          a->closed ? json_integer((json_int_t)a->closed) : json_null(), "told",
                          a->told ? json_time(a->told_ms) : json_null(), "told_by", told_by(g, a));
    CHECK(o != NULL);
    return o;
}

/* --- said once in a run, by whichever of its connections heard first --- */

struct said {
    uint32_t kind; /* 0: that a node is quarantined */
    uint64_t first;
};
/* Of each node, what counts and what doesn't: an accusation is said once more when it counts, and takes no room
 * from what counts, nor one node's alarms from another's, nor what one node tells from what another one does. */
struct said_of {
    struct said items[SAID_MOST];
    size_t count;
    uint32_t told[LIMIT_NODES + 1]; /* how many of them each node was the first to tell */
};
static struct {
    pthread_mutex_t lock;
    struct said_of counting[LIMIT_NODES + 1], accusing[LIMIT_NODES + 1];
    bool advised;
    uint32_t cut, cut_said; /* bit i: what member i tells was left out; and that was said */
} run = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool say_first(const struct cluster *c, uint32_t kind, uint32_t named, uint64_t first, bool good)
{
    CHECK(named <= LIMIT_NODES && c->member <= LIMIT_NODES);
    struct said_of *of = good ? &run.counting[named] : &run.accusing[named];
    for (size_t i = 0; i < of->count; i++)
        if (of->items[i].kind == kind && of->items[i].first == first) return false;
    if (of->told[c->member] == TOLD_MOST) {
        run.cut |= 1u << c->member;
        return false;
    }
    of->told[c->member]++;
    of->items[of->count++] = (struct said){kind, first};
    return true;
}

#define NEXT "'consilium alarm list' shows what is open; an administrator finds the cause, then 'consilium alarm clear'"

static void say_json(struct cluster *c, json_t *value, const char *warning)
{
    json_object_set_new(value, "warning", json_string(warning));
    json_object_set_new(value, "heard_from", json_string(cluster_member_name(c, c->member)));
    json_object_set_new(value, "next", json_string(NEXT));
    output_error_json(c->output, value);
}

static void say_alarm(struct cluster *c, const struct message_alarm *a)
{
    struct buffer text = {0};
    if (c->output->programs) {
        say_json(c, alarm_json(c, a), alarm_is_good(c, a) ? "compromised" : "accused");
        return;
    }
    in_words(&text, c, a);
    output_message(c->output, "WARNING: %s, says %s", (const char *)text.data, cluster_member_name(c, c->member));
    buffer_free(&text);
}

/* With the alarm that it tells of itself, that is said already; for programs it is a value of its own. */
static bool tells_quarantine(const struct cluster *c)
{
    bool told = false;
    for (uint32_t i = 0; i < c->notice.count; i++)
        told = told || (c->notice.alarms[i].named == c->member && alarm_is_good(c, &c->notice.alarms[i]));
    return c->notice.quarantined && (c->output->programs || !told);
}

static void say_quarantined(struct cluster *c)
{
    const char *name = cluster_member_name(c, c->member);
    if (c->output->programs)
        say_json(c, json_pack("{s:s, s:i, s:b}", "node", name, "member", (int)c->member, "quarantined", 1),
                 "compromised");
    else
        output_message(c->output, "WARNING: COMPROMISED: %s is quarantined: it serves no more until it is rebuilt",
                       name);
}

static void say_advice(struct cluster *c, uint64_t more)
{
    if (c->output->programs || (run.advised && more == 0)) return;
    run.advised = true;
    if (more)
        output_message(c->output, "and %" PRIu64 " more; " NEXT, more);
    else
        output_message(c->output, NEXT);
}

static void say_cut(struct cluster *c)
{
    const char *name = cluster_member_name(c, c->member);
    if (!((run.cut & ~run.cut_said) >> c->member & 1)) return;
    run.cut_said |= 1u << c->member;
    if (c->output->programs)
        say_json(c, json_object(), "left out");
    else
        output_message(c->output, "%s tells more, which is left out from here on; 'consilium --via %s status' shows it",
                       name, name);
}

struct saying {
    uint64_t said, unsaid;
    uint32_t named; /* bit i: something that counts was said of member i */
};

static void say_some(struct cluster *c, struct saying *s, bool good)
{
    for (uint32_t i = 0; i < c->notice.count; i++) {
        const struct message_alarm *a = &c->notice.alarms[i];
        if (alarm_is_good(c, a) != good || !say_first(c, a->kind, a->named, a->first, good)) continue;
        bool first = good && !(s->named >> a->named & 1);
        if (first || s->said < SAID_AT_ONCE || c->output->programs) {
            say_alarm(c, a);
            s->said++;
        } else {
            s->unsaid++;
        }
        if (good) s->named |= 1u << a->named;
    }
}

/* Accusations, of which one liar can make many, come behind all that counts. */
static void say_new(struct cluster *c)
{
    const struct message_notice *n = &c->notice;
    struct saying s = {0};
    pthread_mutex_lock(&run.lock);
    if (tells_quarantine(c) && say_first(c, 0, c->member, 0, true)) {
        say_quarantined(c);
        s.said++;
    }
    say_some(c, &s, true);
    say_some(c, &s, false);
    if (s.unsaid) s.unsaid += n->total - n->count;
    if (s.said) say_advice(c, s.unsaid);
    say_cut(c);
    pthread_mutex_unlock(&run.lock);
}

void alarms_take(struct cluster *c, struct bytes body)
{
    struct message_notice n;
    if (message_notice_decode(&n, body) != OK) return; /* a newer node's */
    c->notice = n;
    if (c->output) say_new(c);
}

/* --- whom to avoid --- */

static bool says_itself(const struct message_alarm *a) { return said_by(a) >> a->named & 1; }

/* Signatures prove it: nobody's word is needed, and it says nothing of those whose word is. */
static bool is_proved(const struct message_alarm *a) { return a->kind == ALARM_FORKED; }

/* More nodes are named by others' words than can be at fault. */
static bool accusers_lie(const struct cluster *c)
{
    uint32_t named = 0, count = 0;
    for (uint32_t i = 0; i < c->notice.count; i++) {
        const struct message_alarm *a = &c->notice.alarms[i];
        if (says_itself(a) || is_proved(a) || !alarm_is_good(c, a) || named & (1u << a->named)) continue;
        named |= 1u << a->named;
        count++;
    }
    return count > c->genesis.faulty && count > 1;
}

bool alarms_name(const struct cluster *c, uint32_t member)
{
    if (c->notice.quarantined && member == c->member) return true;
    bool lies = accusers_lie(c);
    for (uint32_t i = 0; i < c->notice.count; i++) {
        const struct message_alarm *a = &c->notice.alarms[i];
        if (a->named != member) continue;
        if (says_itself(a) || is_proved(a) || (alarm_is_good(c, a) && !lies)) return true;
    }
    return false;
}

/* --- status --- */

/* The first one that counts, else the first. */
static const struct message_alarm *first_about(const struct cluster *c, uint32_t member)
{
    const struct message_alarm *first = NULL;
    for (uint32_t i = 0; i < c->notice.count; i++) {
        const struct message_alarm *a = &c->notice.alarms[i];
        if (a->named != member) continue;
        if (alarm_is_good(c, a)) return a;
        if (!first) first = a;
    }
    return first;
}

void alarms_integrity(json_t *row, const struct cluster *c, const struct message_member *m)
{
    const struct message_alarm *a = first_about(c, m->member);
    bool quarantined = bytes_equal(m->state, bytes_text("quarantined")) && m->reachable;
    const char *word = (a && alarm_is_good(c, a)) || quarantined ? "COMPROMISED"
                       : a                                       ? "accused"
                       : m->reachable && m->witnessed_size       ? "verified"
                                                                 : "unknown";
    json_object_set_new(row, "integrity", json_string(word));
    json_object_set_new(row, "quarantined", json_boolean(quarantined));
    json_object_set_new(row, "alarm", a ? alarm_json(c, a) : json_null());
}

json_t *alarms_open_json(const struct cluster *c)
{
    json_t *rows = json_array();
    for (uint32_t i = 0; i < c->notice.count; i++)
        json_array_append_new(rows, alarm_json(c, &c->notice.alarms[i]));
    return rows;
}

static bool is_shown(const struct cluster *c, uint32_t i)
{
    return first_about(c, c->notice.alarms[i].named) == &c->notice.alarms[i];
}

/* A mail that nobody got is noticed here: which node says to have sent it, and when. */
static void print_told(const struct cluster *c, const struct message_alarm *a)
{
    char when[CLOCK_TEXT_SIZE];
    clock_format(when, a->told_ms);
    if (a->told)
        printf("  people were told at %s, says %s, by %s\n", when, name_of(&c->genesis, a->told_by), ways_of(a));
    else
        puts("  no node says so far that it told people, by mail or webhook");
}

static void print_alarm(const struct cluster *c, const struct message_alarm *a)
{
    struct buffer text = {0};
    in_words(&text, c, a);
    puts((const char *)text.data);
    buffer_free(&text);
    print_told(c, a);
}

void alarms_print_integrity(struct tool *t, const json_t *status)
{
    const struct cluster *c = &t->cluster;
    size_t at;
    json_t *row;
    bool compromised = false, accused = false;
    unsigned unknown = 0;
    for (uint32_t i = 0; i < c->notice.count; i++) {
        if (!is_shown(c, i)) continue;
        print_alarm(c, &c->notice.alarms[i]);
        compromised = compromised || alarm_is_good(c, &c->notice.alarms[i]);
        accused = true;
    }
    json_array_foreach(json_object_get(status, "members"), at, row) {
        bool alone = json_is_true(json_object_get(row, "quarantined")) && json_is_null(json_object_get(row, "alarm"));
        if (alone) printf("COMPROMISED: %s is quarantined\n", json_string_value(json_object_get(row, "name")));
        compromised = compromised || alone;
        unknown += strcmp(json_string_value(json_object_get(row, "integrity")), "unknown") == 0;
    }
    if (compromised) return;
    printf("integrity: %s (no alarm %s, says %s", accused ? "unclear" : "verified",
           accused ? "that counts is open" : "is open",
           cluster_member_name(c, c->member));
    if (unknown) printf("; nothing is known of %u %s now", unknown, unknown == 1 ? "node" : "nodes");
    puts(")");
}
