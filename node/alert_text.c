/* What an alert says: the same facts as mail, as JSON, and as a key. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "node/alert_send.h"

static bool is_test(const struct alert_message *m) { return m->alarm.kind == 0 && !m->log_full; }
static bool is_recorded(const struct alert_message *m) { return m->alarm.index != 0; }

void alert_key(char out[static 96], const struct alert_message *m)
{
    char cluster[17];
    hex_format(cluster, m->genesis->cluster.bytes, 8);
    if (is_test(m) || m->log_full) {
        snprintf(out, 96, "%s-%s-%u-%llu", cluster, is_test(m) ? "test" : "full", m->sender,
                 (unsigned long long)m->alarm.since_ms);
        return;
    }
    snprintf(out, 96, "%s-%u-%u-%llu-%s%llu", cluster, (unsigned)m->alarm.kind, m->alarm.named,
             (unsigned long long)m->alarm.first, is_recorded(m) ? "" : "since",
             (unsigned long long)(is_recorded(m) ? m->alarm.index : m->alarm.since_ms));
}

static const char *name_of(const struct alert_message *m, unsigned member)
{
    const struct descriptor *d = genesis_member(m->genesis, member);
    return d ? d->name : "?";
}

static const char *hospital_of(const struct alert_message *m, unsigned member)
{
    const struct descriptor *d = genesis_member(m->genesis, member);
    return d ? d->hospital : "?";
}

/* RFC 3339, UTC. */
static void format_time(char out[static 32], uint64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm) || strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0) strcpy(out, "?");
}

/* RFC 5322 section 3.3: names of days and months are English, whatever the locale. */
static void format_date(char out[static 40], uint64_t ms)
{
    static const char days[] = "SunMonTueWedThuFriSat", months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm = {.tm_mday = 1};
    (void)gmtime_r(&seconds, &tm);
    snprintf(out, 40, "%.3s, %02d %.3s %04d %02d:%02d:%02d +0000", days + 3 * tm.tm_wday, tm.tm_mday,
             months + 3 * tm.tm_mon, tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void append_range(struct buffer *out, const struct alarm *a)
{
    if (a->first == a->last)
        buffer_printf(out, "%s %llu", alarm_kind_place(a->kind), (unsigned long long)a->first);
    else
        buffer_printf(out, "%s %llu to %llu", alarm_kind_place(a->kind), (unsigned long long)a->first,
                      (unsigned long long)a->last);
}

static bool counts(const struct alert_message *m)
{
    return alarm_counts(m->alarm.kind, m->alarm.named, m->alarm.saying, m->genesis->faulty);
}

static void append_words(struct buffer *out, const struct alert_message *m)
{
    const char *comma = "Said by:   ";
    for (unsigned member = 1; member <= m->genesis->member_count; member++) {
        if (!alarm_says(&m->alarm, member)) continue;
        buffer_printf(out, "%s%s", comma, member == m->alarm.named ? "itself" : name_of(m, member));
        comma = ", ";
    }
    if (is_recorded(m))
        buffer_printf(out, " (leaf %llu of the ledger)\r\n\r\n", (unsigned long long)m->alarm.index);
    else
        buffer_append_text(out, " (NOT RECORDED in the ledger)\r\n\r\n");
}

static void append_alarm(struct buffer *out, const struct alert_message *m)
{
    const struct alarm *a = &m->alarm;
    char since[32];
    format_time(since, a->since_ms);
    buffer_printf(out, "Node:      %s of %s (member %u)\r\n", name_of(m, a->named), hospital_of(m, a->named), a->named);
    buffer_printf(out, "What:      %s: %s\r\n", alarm_kind_text(a->kind), alarm_kind_meaning(a->kind));
    buffer_append_text(out, "Where:     ");
    append_range(out, a);
    buffer_printf(out, "\r\nSince:     %s\r\n", since);
    append_words(out, m);
    if (a->status == ALARM_REPAIRED) {
        buffer_append_text(out, "It is repaired, as they say; how it came to be is not known by that. The node's own "
                                "log says what it found; \"consilium verify --all\" from another node checks all of "
                                "it.\r\n");
        return;
    }
    if (!is_recorded(m))
        buffer_append_text(out, "This node found that in itself and reaches no majority of the nodes, so that nothing "
                                "can be recorded and the other nodes may not know of it. You are told again once it "
                                "is in the ledger.\r\n");
    if (counts(m))
        buffer_append_text(out, "Do not rely on what this node serves until it is repaired.\r\n");
    else
        buffer_printf(out, "So far nothing proves it: one of the two is wrong, the node or who says so. It counts "
                           "once %u nodes say so.\r\n", m->genesis->faulty + 1);
    buffer_append_text(out, "What to do next: \"consilium status\" and \"consilium verify --all\" from another node; "
                            "the node's own log says what it found.\r\n");
    if (is_recorded(m))
        buffer_append_text(out, "Once it is repaired or replaced: \"consilium alarm clear\" with the leaf above.\r\n");
}

static void append_full(struct buffer *out, const struct alert_message *m)
{
    char since[32];
    format_time(since, m->alarm.since_ms);
    buffer_printf(out, "Node:      %s of %s (member %u)\r\n", name_of(m, m->sender), hospital_of(m, m->sender), m->sender);
    buffer_printf(out, "What:      log full: fewer than %u nodes have co-signed for so long that no more entries are "
                       "taken\r\n", m->genesis->quorum);
    buffer_printf(out, "Since:     %s\r\n\r\n", since);
    buffer_append_text(out, "No node records anything more, nor opens a record; nothing that was acknowledged is lost. Each "
                            "node says so to its own administrators.\r\n"
                            "What to do next: \"consilium status\" shows which nodes are away. Start them: then it goes "
                            "on by itself.\r\n");
}

/* Names of nodes are ASCII without spaces (ledger/descriptor.h): nothing to encode, no line can begin in them. */
static void append_subject(struct buffer *out, const struct alert_message *m)
{
    const struct alarm *a = &m->alarm;
    if (is_test(m)) {
        buffer_printf(out, "Consilium: test message of node %s", name_of(m, m->sender));
        return;
    }
    if (m->log_full) {
        buffer_printf(out, "Consilium ALARM: node %s: log full, nothing more is recorded", name_of(m, m->sender));
        return;
    }
    buffer_printf(out, "Consilium ALARM: node %s: %s, ", name_of(m, a->named), alarm_kind_text(a->kind));
    append_range(out, a);
    if (!is_recorded(m)) buffer_append_text(out, " (not recorded)");
}

void alert_mail_text(struct buffer *out, const struct config *config, const struct alert_message *m, uint64_t now_ms)
{
    char date[40], key[96];
    format_date(date, now_ms);
    alert_key(key, m);
    buffer_printf(out, "Date: %s\r\nFrom: <%s>\r\nTo: ", date, config->alert_mail_from.text);
    for (const char *c = config->alert_mail_to.text; *c; c++) /* checked: addresses and commas */
        if (*c == ',')
            buffer_append_text(out, ",\r\n ");
        else if (*c != ' ')
            buffer_append(out, c, 1);
    buffer_printf(out, "\r\nMessage-ID: <%s@consilium.invalid>\r\nSubject: ", key);
    append_subject(out, m);
    buffer_append_text(out, "\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
                            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n");
    buffer_printf(out, "Cluster:   %s\r\n", m->genesis->checkpoint_origin);
    if (m->log_full)
        append_full(out, m);
    else if (!is_test(m))
        append_alarm(out, m);
    else
        buffer_printf(out, "\r\nThis is a test: node %s of %s can send its alarms here.\r\n", name_of(m, m->sender),
                      hospital_of(m, m->sender));
}

static json_t *node_json(const struct alert_message *m, unsigned member)
{
    return json_pack("{s:I, s:s, s:s}", "member", (json_int_t)member, "name", name_of(m, member), "hospital",
                     hospital_of(m, member));
}

static json_t *words_json(const struct alert_message *m)
{
    json_t *list = json_array();
    for (unsigned member = 1; member <= m->genesis->member_count; member++)
        if (alarm_says(&m->alarm, member)) json_array_append_new(list, node_json(m, member));
    return list;
}

static const char *event_of(const struct alert_message *m)
{
    return is_test(m) ? "test" : m->log_full ? "log full" : "alarm";
}

void alert_json(struct buffer *out, const struct alert_message *m)
{
    const struct alarm *a = &m->alarm;
    char cluster[65], key[96], since[32];
    hex_format(cluster, m->genesis->cluster.bytes, 32);
    alert_key(key, m);
    format_time(since, a->since_ms);
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:o}", "event", event_of(m), "key", key, "cluster",
                             cluster, "origin", m->genesis->checkpoint_origin, "sender", node_json(m, m->sender));
    if (json && m->log_full) json_object_set_new(json, "since", json_string(since));
    if (json && !is_test(m) && !m->log_full) {
        json_object_set_new(json, "recorded", json_boolean(is_recorded(m)));
        json_object_set_new(json, "counts", json_boolean(counts(m)));
        json_object_set_new(json, "said_by", words_json(m));
        json_object_set_new(json, "repaired", json_boolean(a->status == ALARM_REPAIRED));
        json_t *leaf = is_recorded(m) ? json_integer((json_int_t)a->index) : json_null();
        json_object_update_new(json, json_pack("{s:o, s:s, s:s, s:o, s:o, s:s, s:I, s:I, s:s}", "leaf", leaf, "kind",
                                               alarm_kind_text(a->kind), "meaning",
                                               alarm_kind_meaning(a->kind), "node", node_json(m, a->named),
                                               "raised_by", node_json(m, a->raiser), "place",
                                               alarm_kind_place(a->kind), "first", (json_int_t)a->first, "last",
                                               (json_int_t)a->last, "since", since));
    }
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (text)
        buffer_append_text(out, text);
    else
        out->failed = true;
    free(text);
    json_decref(json);
}
