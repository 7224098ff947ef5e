/* Every role against every action, scope and confidentiality of configs/policy.conf.
 * The expectations are written by hand from DESIGN's words, not computed: this test
 * is to notice when either the policy or the rules change. Each denial must have its
 * leaf, its reason and the person affected. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "ledger/leaf.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})

enum who { ROOT, ADMIN, REGISTRAR, DOCTOR, NURSE, PATIENT, AUDITOR, PRIVACY, WHOS };
static const char *const roles[WHOS] = {"root", "admin", "registrar", "doctor", "nurse", "patient", "auditor",
                                        "privacy"};

/* How the actor (of hospital Mercy) stands to the person: themselves; of General, but in one
 * team; of Mercy; of General. */
enum relation { OWN, TEAM, HOSPITAL, ANY, RELATIONS };
static const char *const relations[RELATIONS] = {"own", "team", "hospital", "any"};

/* + approved, p no permission, s scope, c confidentiality, n not a patient, . not asked */
static enum reason reason_of(char c)
{
    switch (c) {
    case '+': return REASON_NONE;
    case 'p': return REASON_NO_PERMISSION;
    case 's': return REASON_SCOPE;
    case 'c': return REASON_CONFIDENTIALITY;
    case 'n': return REASON_NOT_A_PATIENT;
    }
    CHECK(!"a letter of the table");
    return REASON_NONE;
}

/* Per relation, then N R V. */
struct record_row {
    enum action action;
    enum who who;
    const char *expected[RELATIONS];
};
static const struct record_row record_rows[] = {
    {ACTION_RECORD_CREATE, ROOT, {"ppp", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_CREATE, ADMIN, {"ppp", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_CREATE, REGISTRAR, {"nnn", "sss", "+++", "sss"}},
    {ACTION_RECORD_CREATE, DOCTOR, {"nnn", "+++", "sss", "sss"}},
    {ACTION_RECORD_CREATE, NURSE, {"nnn", "+cc", "sss", "sss"}},
    {ACTION_RECORD_CREATE, PATIENT, {"ppp", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_CREATE, AUDITOR, {"ppp", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_CREATE, PRIVACY, {"ppp", "ppp", "ppp", "ppp"}},

    {ACTION_RECORD_UPDATE, ROOT, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_UPDATE, ADMIN, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_UPDATE, REGISTRAR, {"...", "sss", "+++", "sss"}},
    {ACTION_RECORD_UPDATE, DOCTOR, {"...", "+++", "sss", "sss"}},
    {ACTION_RECORD_UPDATE, NURSE, {"...", "+cc", "sss", "sss"}},
    {ACTION_RECORD_UPDATE, PATIENT, {"ppp", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_UPDATE, AUDITOR, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_UPDATE, PRIVACY, {"...", "ppp", "ppp", "ppp"}},

    {ACTION_RECORD_DELETE, ROOT, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_DELETE, ADMIN, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_DELETE, REGISTRAR, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_DELETE, DOCTOR, {"...", "+++", "sss", "sss"}},
    {ACTION_RECORD_DELETE, NURSE, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_DELETE, PATIENT, {"ppp", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_DELETE, AUDITOR, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_DELETE, PRIVACY, {"...", "ppp", "ppp", "ppp"}},

    {ACTION_RECORD_READ, ROOT, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_READ, ADMIN, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_READ, REGISTRAR, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_READ, DOCTOR, {"...", "+++", "sss", "sss"}},
    {ACTION_RECORD_READ, NURSE, {"...", "+cc", "sss", "sss"}},
    {ACTION_RECORD_READ, PATIENT, {"+++", "sss", "sss", "sss"}},
    {ACTION_RECORD_READ, AUDITOR, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_READ, PRIVACY, {"...", "ppp", "ppp", "ppp"}},

    {ACTION_RECORD_HISTORY, ROOT, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_HISTORY, ADMIN, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_HISTORY, REGISTRAR, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_HISTORY, DOCTOR, {"...", "+++", "sss", "sss"}},
    {ACTION_RECORD_HISTORY, NURSE, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_HISTORY, PATIENT, {"+++", "sss", "sss", "sss"}},
    {ACTION_RECORD_HISTORY, AUDITOR, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_HISTORY, PRIVACY, {"...", "+++", "+++", "+++"}},

    {ACTION_RECORD_COPY, ROOT, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_COPY, ADMIN, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_COPY, REGISTRAR, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_COPY, DOCTOR, {"...", "+++", "sss", "sss"}},
    {ACTION_RECORD_COPY, NURSE, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_COPY, PATIENT, {"ppp", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_COPY, AUDITOR, {"...", "ppp", "ppp", "ppp"}},
    {ACTION_RECORD_COPY, PRIVACY, {"...", "ppp", "ppp", "ppp"}},
};

/* A letter per relation: own, team, hospital, any. */
struct person_row {
    enum action action;
    enum who who;
    const char *expected;
};
static const struct person_row person_rows[] = {
    {ACTION_RECORD_LIST, ROOT, "pppp"},      {ACTION_RECORD_LIST, ADMIN, "pppp"},
    {ACTION_RECORD_LIST, REGISTRAR, "ns+s"}, {ACTION_RECORD_LIST, DOCTOR, "n+ss"},
    {ACTION_RECORD_LIST, NURSE, "n+ss"},     {ACTION_RECORD_LIST, PATIENT, "+sss"},
    {ACTION_RECORD_LIST, AUDITOR, "pppp"},   {ACTION_RECORD_LIST, PRIVACY, "n+++"},

    {ACTION_EVENT_ADD, ROOT, "pppp"},      {ACTION_EVENT_ADD, ADMIN, "pppp"},
    {ACTION_EVENT_ADD, REGISTRAR, "ns+s"}, {ACTION_EVENT_ADD, DOCTOR, "n++s"},
    {ACTION_EVENT_ADD, NURSE, "n++s"},     {ACTION_EVENT_ADD, PATIENT, "pppp"},
    {ACTION_EVENT_ADD, AUDITOR, "pppp"},   {ACTION_EVENT_ADD, PRIVACY, "pppp"},

    {ACTION_TEAM_ASSIGN, ROOT, "pppp"},      {ACTION_TEAM_ASSIGN, ADMIN, "pppp"},
    {ACTION_TEAM_ASSIGN, REGISTRAR, "ns+s"}, {ACTION_TEAM_ASSIGN, DOCTOR, "n+ss"},
    {ACTION_TEAM_ASSIGN, NURSE, "pppp"},     {ACTION_TEAM_ASSIGN, PATIENT, "pppp"},
    {ACTION_TEAM_ASSIGN, AUDITOR, "pppp"},   {ACTION_TEAM_ASSIGN, PRIVACY, "pppp"},

    {ACTION_TEAM_LIST, ROOT, "pppp"},      {ACTION_TEAM_LIST, ADMIN, "pppp"},
    {ACTION_TEAM_LIST, REGISTRAR, "ns+s"}, {ACTION_TEAM_LIST, DOCTOR, "n+ss"},
    {ACTION_TEAM_LIST, NURSE, "n+ss"},     {ACTION_TEAM_LIST, PATIENT, "+sss"},
    {ACTION_TEAM_LIST, AUDITOR, "pppp"},   {ACTION_TEAM_LIST, PRIVACY, "n+++"},

    {ACTION_LOG_QUERY, ROOT, "+sss"},      {ACTION_LOG_QUERY, ADMIN, "+sss"},
    {ACTION_LOG_QUERY, REGISTRAR, "+sss"}, {ACTION_LOG_QUERY, DOCTOR, "+sss"},
    {ACTION_LOG_QUERY, NURSE, "+sss"},     {ACTION_LOG_QUERY, PATIENT, "+sss"},
    {ACTION_LOG_QUERY, AUDITOR, "++++"},   {ACTION_LOG_QUERY, PRIVACY, "++++"},

    {ACTION_USER_SEARCH, ROOT, "++++"},      {ACTION_USER_SEARCH, ADMIN, "+s+s"},
    {ACTION_USER_SEARCH, REGISTRAR, "+s+s"}, {ACTION_USER_SEARCH, DOCTOR, "+++s"},
    {ACTION_USER_SEARCH, NURSE, "+++s"},     {ACTION_USER_SEARCH, PATIENT, "++ss"},
    {ACTION_USER_SEARCH, AUDITOR, "+sss"},   {ACTION_USER_SEARCH, PRIVACY, "++++"},

    /* users below are patients; "own" of these is tested apart (last administrator) */
    {ACTION_USER_CREATE, ROOT, "..++"},      {ACTION_USER_CREATE, ADMIN, "..+s"},
    {ACTION_USER_CREATE, REGISTRAR, "..+s"}, {ACTION_USER_CREATE, DOCTOR, "..pp"},
    {ACTION_USER_CREATE, NURSE, "..pp"},     {ACTION_USER_CREATE, PATIENT, "..pp"},
    {ACTION_USER_CREATE, AUDITOR, "..pp"},   {ACTION_USER_CREATE, PRIVACY, "..pp"},

    {ACTION_USER_UPDATE, ROOT, "++++"},      {ACTION_USER_UPDATE, ADMIN, "+s+s"},
    {ACTION_USER_UPDATE, REGISTRAR, "+s+s"}, {ACTION_USER_UPDATE, DOCTOR, "pppp"},
    {ACTION_USER_UPDATE, NURSE, "pppp"},     {ACTION_USER_UPDATE, PATIENT, "pppp"},
    {ACTION_USER_UPDATE, AUDITOR, "pppp"},   {ACTION_USER_UPDATE, PRIVACY, "pppp"},

    {ACTION_USER_DISABLE, ROOT, ".+++"},      {ACTION_USER_DISABLE, ADMIN, ".s+s"},
    {ACTION_USER_DISABLE, REGISTRAR, ".ppp"}, {ACTION_USER_DISABLE, DOCTOR, "pppp"},
    {ACTION_USER_DISABLE, NURSE, "pppp"},     {ACTION_USER_DISABLE, PATIENT, "pppp"},
    {ACTION_USER_DISABLE, AUDITOR, "pppp"},   {ACTION_USER_DISABLE, PRIVACY, "pppp"},

    {ACTION_USER_KEY, ROOT, "++++"},      {ACTION_USER_KEY, ADMIN, "+s+s"},
    {ACTION_USER_KEY, REGISTRAR, "+s+s"}, {ACTION_USER_KEY, DOCTOR, "pppp"},
    {ACTION_USER_KEY, NURSE, "pppp"},     {ACTION_USER_KEY, PATIENT, "pppp"},
    {ACTION_USER_KEY, AUDITOR, "pppp"},   {ACTION_USER_KEY, PRIVACY, "pppp"},

    {ACTION_ROLE_ASSIGN, ROOT, ".+++"},      {ACTION_ROLE_ASSIGN, ADMIN, ".s+s"},
    {ACTION_ROLE_ASSIGN, REGISTRAR, ".ppp"}, {ACTION_ROLE_ASSIGN, DOCTOR, "pppp"},
    {ACTION_ROLE_ASSIGN, NURSE, "pppp"},     {ACTION_ROLE_ASSIGN, PATIENT, "pppp"},
    {ACTION_ROLE_ASSIGN, AUDITOR, "pppp"},   {ACTION_ROLE_ASSIGN, PRIVACY, "pppp"},
};

/* About nobody: root admin registrar doctor nurse patient auditor privacy. */
static const struct {
    enum action action;
    const char *expected;
} plain_rows[] = {
    {ACTION_LEDGER_EXPORT, "pppppp++"},
    {ACTION_POLICY_SHOW, "++++++++"},
    {ACTION_POLICY_SET, "+ppppppp"},
    {ACTION_ALARM_CLEAR, "++pppppp"},
    {ACTION_STATE_DIGEST, "++pppp+p"},
};

/* --- the world --- */

struct world {
    struct kit kit;
    struct kit_actor filler, actors[WHOS];
    struct buffer content;
    unsigned records; /* ids used */
    unsigned users;
};

/* The default policy and a role that fills the world. */
static struct bytes world_policy(void)
{
    static char text[2 * LIMIT_POLICY];
    struct bytes standard = kit_default_policy();
    const char *line = "grants        = root,";
    const char *at = memmem(standard.data, standard.size, line, strlen(line));
    assert_non_null(at);
    size_t before = (size_t)(at - (const char *)standard.data) + strlen(line);
    int size = snprintf(text, sizeof text, "%.*s filler,%.*s[role filler]\nrecord.create = any V\nteam.assign = any\n",
                        (int)before, (const char *)standard.data, (int)(standard.size - before),
                        (const char *)standard.data + before);
    return bytes_of(text, (size_t)size);
}

/* The person of a relation. Users: who + 10 the actor, who * 10 + 100 + relation the persons. */
static unsigned person_number(enum who who, enum relation relation)
{
    return relation == OWN ? who + 10 : who * 10 + 100 + relation;
}

static struct id person_id(const struct world *w, enum who who, enum relation relation)
{
    return relation == OWN ? w->actors[who].actor.id : sample_id(person_number(who, relation));
}

static void must(struct world *w, const struct kit_actor *actor, const struct arguments *args, struct bytes content)
{
    const struct ledger_result *r = kit_do(&w->kit, actor, args, content);
    if (r->reason) fprintf(stderr, "%s: %s\n", action_name(args->action), reason_text((enum reason)r->reason));
    assert_int_equal(r->code, OK);
    assert_int_equal(r->decision, DECISION_APPROVED);
}

static void open_world(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->records = 100000;
    w->users = 200000;
    kit_open(&w->kit, 4, 1, world_policy());
    kit_activate(&w->kit, KEY_RECORDS);
    kit_content(&w->content, "text and its tag");
    w->filler = kit_add_user(&w->kit, 1, "filler", "General", "Filler");
    w->actors[ROOT] = w->kit.root;
    for (enum who who = ADMIN; who < WHOS; who++)
        w->actors[who] = kit_add_user(&w->kit, person_number(who, OWN), roles[who], "Mercy", roles[who]);
    for (enum who who = 0; who < WHOS; who++) {
        kit_add_user(&w->kit, person_number(who, TEAM), "patient", "General", "Team");
        kit_add_user(&w->kit, person_number(who, HOSPITAL), "patient", "Mercy", "Hospital");
        kit_add_user(&w->kit, person_number(who, ANY), "patient", "General", "Any");
        struct arguments a = {.action = ACTION_TEAM_ASSIGN};
        a.team_assign = (struct args_team_assign){person_id(w, who, TEAM), w->actors[who].actor.id, false};
        must(w, &w->filler, &a, NONE);
    }
}

static void close_world(struct world *w)
{
    buffer_free(&w->content);
    kit_close(&w->kit);
}

static struct id add_record(struct world *w, const struct id *patient, enum confidentiality conf)
{
    struct arguments a = {.action = ACTION_RECORD_CREATE};
    struct id record = sample_id(++w->records);
    a.record_create = (struct args_record_create){record, *patient, bytes_text("Observation"), conf, {{0}}};
    must(w, &w->filler, &a, buffer_bytes(&w->content));
    return record;
}

static void check(struct world *w, enum who who, const struct arguments *args, struct bytes content, char expected,
                  const struct id *subject, const char *where)
{
    uint64_t size = ledger_size(w->kit.ledger);
    const struct ledger_result *r = kit_do(&w->kit, &w->actors[who], args, content);
    enum reason reason = reason_of(expected);
    struct leaf leaf;
    if (r->code != OK || r->reason != reason)
        fprintf(stderr, "%s %s %s: %s, %s\n", roles[who], action_name(args->action), where, err_name(r->code),
                reason_text((enum reason)r->reason));
    assert_int_equal(r->code, OK);
    assert_int_equal(r->reason, reason);
    assert_int_equal(r->decision, reason == REASON_NONE ? DECISION_APPROVED : DECISION_DENIED);
    assert_int_equal(r->leaf_index, size);
    assert_int_equal(leaf_decode(&leaf, r->leaf), OK);
    assert_int_equal(leaf.reason, reason);
    if (subject && !id_equal(&leaf.subject, subject)) fprintf(stderr, "%s: subject\n", action_name(args->action));
    if (subject) assert_true(id_equal(&leaf.subject, subject));
}

/* --- records --- */

static void record_case(struct world *w, const struct record_row *row, enum relation relation,
                        enum confidentiality conf, char expected)
{
    struct arguments a = {.action = row->action};
    struct id patient = person_id(w, row->who, relation), record = {{0}}, subject = patient;
    bool exists = row->action != ACTION_RECORD_CREATE;
    bool real = relation != OWN || row->who == PATIENT;
    if (exists && real) record = add_record(w, &patient, conf);
    bool denied_early = expected == 'p'; /* then the state isn't asked for the patient */
    struct bytes kind = bytes_text("Note"), content = NONE;
    switch ((unsigned)row->action) {
    case ACTION_RECORD_CREATE:
        a.record_create = (struct args_record_create){sample_id(++w->records), patient, kind, conf, {{0}}};
        content = buffer_bytes(&w->content);
        break;
    case ACTION_RECORD_UPDATE:
        a.record_update = (struct args_record_update){record, patient, 1, conf, {{0}}};
        content = buffer_bytes(&w->content);
        break;
    case ACTION_RECORD_DELETE: a.record_delete = (struct args_record_delete){record, patient, 1}; break;
    case ACTION_RECORD_READ:
        a.record_read = (struct args_record_read){.record = record, .reader_key = {{1}}, .limit = 1};
        break;
    case ACTION_RECORD_HISTORY: a.record_history = (struct args_record_history){record}; break;
    case ACTION_RECORD_COPY:
        a.record_copy = (struct args_record_copy){record, 1, sample_id(++w->records), patient, kind, conf, {{0}}};
        content = buffer_bytes(&w->content);
        break;
    }
    bool named = row->action != ACTION_RECORD_READ && row->action != ACTION_RECORD_HISTORY;
    check(w, row->who, &a, content, expected, named || !denied_early ? &subject : NULL, relations[relation]);
}

static void test_records(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    for (size_t i = 0; i < sizeof record_rows / sizeof record_rows[0]; i++)
        for (enum relation relation = 0; relation < RELATIONS; relation++)
            for (enum confidentiality conf = 0; conf <= CONF_MAX; conf++) {
                char expected = record_rows[i].expected[relation][conf];
                if (expected != '.') record_case(&w, &record_rows[i], relation, conf, expected);
            }
    close_world(&w);
}

/* Raising and lowering: an update needs the old and the new confidentiality. */
static void test_update_of_confidentiality(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct id patient = person_id(&w, NURSE, TEAM);
    for (enum confidentiality from = 0; from <= CONF_MAX; from++)
        for (enum confidentiality to = 0; to <= CONF_MAX; to++) {
            struct arguments a = {.action = ACTION_RECORD_UPDATE};
            a.record_update = (struct args_record_update){add_record(&w, &patient, from), patient, 1, to, {{0}}};
            check(&w, NURSE, &a, buffer_bytes(&w.content), from == 0 && to == 0 ? '+' : 'c', &patient, "update");
        }
    close_world(&w);
}

/* --- people --- */

/* Own is the actor; else a fresh patient each time, since the action changes them. */
static struct id fresh_person(struct world *w, enum who who, enum relation relation)
{
    if (relation == OWN) return w->actors[who].actor.id;
    unsigned n = ++w->users;
    kit_add_user(&w->kit, n, "patient", relation == HOSPITAL ? "Mercy" : "General", "Fresh");
    if (relation == TEAM) {
        struct arguments a = {.action = ACTION_TEAM_ASSIGN};
        a.team_assign = (struct args_team_assign){sample_id(n), w->actors[who].actor.id, false};
        must(w, &w->filler, &a, NONE);
    }
    return sample_id(n);
}

static void person_case(struct world *w, const struct person_row *row, enum relation relation, char expected)
{
    struct arguments a = {.action = row->action};
    struct id id = fresh_person(w, row->who, relation);
    struct sign_secret secret;
    struct sign_public key;
    sample_key(&secret, &key, ++w->users);
    switch ((unsigned)row->action) {
    case ACTION_RECORD_LIST: a.record_list = (struct args_record_list){id, NONE, 10}; break;
    case ACTION_EVENT_ADD: a.event_add = (struct args_event_add){id, bytes_text("visit.add"), NONE}; break;
    case ACTION_TEAM_ASSIGN: a.team_assign = (struct args_team_assign){id, w->filler.actor.id, false}; break;
    case ACTION_TEAM_LIST: a.team_list = (struct args_team_list){id}; break;
    case ACTION_LOG_QUERY: a.log_query = (struct args_log_query){.patient = id, .limit = 5}; break;
    case ACTION_USER_SEARCH: a.user_search = (struct args_user_search){.user = id, .limit = 5}; break;
    case ACTION_USER_CREATE:
        id = sample_id(++w->users);
        a.user_create = (struct args_user_create){.user = id, .role = bytes_text("patient")};
        a.user_create.hospital = bytes_text(relation == HOSPITAL ? "Mercy" : "General");
        break;
    case ACTION_USER_UPDATE:
        a.user_update = (struct args_user_update){.user = id, .login_tag = sample_digest(++w->users)};
        break;
    case ACTION_USER_DISABLE: a.user_disable = (struct args_user_disable){id, true}; break;
    case ACTION_USER_KEY: a.user_key = (struct args_user_key){id, false, key}; break;
    case ACTION_ROLE_ASSIGN: a.role_assign = (struct args_role_assign){id, bytes_text("nurse")}; break;
    }
    check(w, row->who, &a, NONE, expected, row->action == ACTION_USER_SEARCH && expected == 'p' ? NULL : &id,
          relations[relation]);
}

/* Registrars and admins have no scope "own", but their own hospital is theirs. */
static void test_people(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    for (size_t i = 0; i < sizeof person_rows / sizeof person_rows[0]; i++)
        for (enum relation relation = 0; relation < RELATIONS; relation++)
            if (person_rows[i].expected[relation] != '.')
                person_case(&w, &person_rows[i], relation, person_rows[i].expected[relation]);
    close_world(&w);
}

/* One more that is open; its leaf. */
static uint64_t add_alarm(struct world *w)
{
    struct kit_actor node = kit_node(&w->kit, 1 + w->records % 4);
    struct arguments a = {.action = ACTION_NODE_ALARM};
    uint64_t first = ++w->records;
    a.node_alarm = (struct args_node_alarm){ALARM_MODIFIED, 2, first, first, ALARM_OPEN, {0}};
    must(w, &node, &a, NONE);
    return ledger_size(w->kit.ledger) - 1;
}

static void test_plain(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    for (size_t i = 0; i < sizeof plain_rows / sizeof plain_rows[0]; i++)
        for (enum who who = 0; who < WHOS; who++) {
            struct arguments a = {.action = plain_rows[i].action};
            if (a.action == ACTION_POLICY_SET) a.policy_set.policy = kit_default_policy();
            if (a.action == ACTION_ALARM_CLEAR) a.alarm_clear.index = add_alarm(&w);
            check(&w, who, &a, NONE, plain_rows[i].expected[who], NULL, "");
        }
    close_world(&w);
}

/* --- which roles may give and change which: g yes, r not grantable, p no permission --- */

static const char *const grants[WHOS] = {
    /*            root admin reg. doc. nurse pat. aud. priv.  <- role given */
    [ROOT] = "gggggggg",    [ADMIN] = "rrgggggg", [REGISTRAR] = "rrrrrgrr", [DOCTOR] = "pppppppp",
    [NURSE] = "pppppppp",   [PATIENT] = "pppppppp", [AUDITOR] = "pppppppp", [PRIVACY] = "pppppppp",
};

static enum reason grant_reason(char c)
{
    return c == 'g' ? REASON_NONE : c == 'r' ? REASON_ROLE_NOT_GRANTABLE : REASON_NO_PERMISSION;
}

static void test_grants(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    for (enum who who = 0; who < WHOS; who++)
        for (enum who given = 0; given < WHOS; given++) {
            struct arguments a = {.action = ACTION_USER_CREATE};
            struct id id = sample_id(++w.users);
            enum reason expected = grant_reason(grants[who][given]);
            a.user_create = (struct args_user_create){
                .user = id, .hospital = bytes_text("Mercy"), .role = bytes_text(roles[given])};
            assert_int_equal(kit_do(&w.kit, &w.actors[who], &a, NONE)->reason, expected);
            /* and changing somebody who has that role */
            kit_add_user(&w.kit, ++w.users, roles[given], "Mercy", "Somebody");
            a = (struct arguments){.action = ACTION_USER_UPDATE};
            a.user_update = (struct args_user_update){.user = sample_id(w.users),
                                                      .login_tag = sample_digest(++w.users)};
            assert_int_equal(kit_do(&w.kit, &w.actors[who], &a, NONE)->reason, expected);
        }
    close_world(&w);
}

/* A role is changed only by one who may give both the old and the new. */
static void test_role_assign(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct arguments a = {.action = ACTION_ROLE_ASSIGN};
    a.role_assign = (struct args_role_assign){w.actors[DOCTOR].actor.id, bytes_text("admin")};
    assert_int_equal(kit_do(&w.kit, &w.actors[ADMIN], &a, NONE)->reason, REASON_ROLE_NOT_GRANTABLE);
    assert_int_equal(kit_do(&w.kit, &w.actors[ROOT], &a, NONE)->reason, REASON_NONE);
    a.role_assign.role = bytes_text("doctor");
    assert_int_equal(kit_do(&w.kit, &w.actors[ADMIN], &a, NONE)->reason, REASON_ROLE_NOT_GRANTABLE);
    a.role_assign.role = bytes_text("admin");
    assert_int_equal(kit_do(&w.kit, &w.actors[ROOT], &a, NONE)->reason, REASON_UNCHANGED);
    a.role_assign = (struct args_role_assign){w.actors[ADMIN].actor.id, bytes_text("doctor")}; /* itself */
    assert_int_equal(kit_do(&w.kit, &w.actors[ADMIN], &a, NONE)->reason, REASON_ROLE_NOT_GRANTABLE);
    a.role_assign = (struct args_role_assign){w.actors[DOCTOR].actor.id, bytes_text("surgeon")};
    assert_int_equal(kit_do(&w.kit, &w.actors[ROOT], &a, NONE)->reason, REASON_UNKNOWN_ROLE);
    a.role_assign.user = sample_id(999999);
    assert_int_equal(kit_do(&w.kit, &w.actors[ROOT], &a, NONE)->reason, REASON_UNKNOWN_USER);
    close_world(&w);
}

/* The last usable root stays, by whatever way it could go; another one frees it. */
static void test_last_administrator(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct id root = w.kit.root.actor.id;
    struct arguments disable = {.action = ACTION_USER_DISABLE, .user_disable = {root, true}};
    struct arguments demote = {.action = ACTION_ROLE_ASSIGN, .role_assign = {root, bytes_text("auditor")}};
    struct arguments revoke = {.action = ACTION_USER_KEY, .user_key = {root, true, w.kit.root.key}};
    assert_int_equal(kit_do(&w.kit, &w.kit.root, &disable, NONE)->reason, REASON_LAST_ADMINISTRATOR);
    assert_int_equal(kit_do(&w.kit, &w.kit.root, &demote, NONE)->reason, REASON_LAST_ADMINISTRATOR);
    assert_int_equal(kit_do(&w.kit, &w.kit.root, &revoke, NONE)->reason, REASON_LAST_ADMINISTRATOR);
    /* a root without a key is no help */
    struct arguments a = {.action = ACTION_USER_CREATE};
    a.user_create = (struct args_user_create){
        .user = sample_id(777), .hospital = bytes_text("Mercy"), .role = bytes_text("root")};
    must(&w, &w.kit.root, &a, NONE);
    assert_int_equal(kit_do(&w.kit, &w.kit.root, &disable, NONE)->reason, REASON_LAST_ADMINISTRATOR);
    struct kit_actor second = kit_add_user(&w.kit, 778, "root", "Mercy", "Second");
    kit_reopen(&w.kit); /* the count is state, not memory */
    assert_int_equal(kit_do(&w.kit, &second, &revoke, NONE)->reason, REASON_NONE);
    disable.user_disable.user = second.actor.id;
    assert_int_equal(kit_do(&w.kit, &second, &disable, NONE)->reason, REASON_LAST_ADMINISTRATOR);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),     cmocka_unit_test(test_update_of_confidentiality),
        cmocka_unit_test(test_people),      cmocka_unit_test(test_plain),
        cmocka_unit_test(test_grants),      cmocka_unit_test(test_role_assign),
        cmocka_unit_test(test_last_administrator),
    };
    return cmocka_run_group_tests_name("ledger/rules", tests, NULL, NULL);
}
