/* Operations that mean something in one small ledger, for the fuzz target of the rules: four bytes of the input choose
 * who does what, and to what of the little that there is, so that records are read that were made, complaints answered
 * that were raised, alarms told of that are open. Header-only. */
#ifndef TESTS_LIB_RULES_SEED_H
#define TESTS_LIB_RULES_SEED_H

#include "ledger/evidence.h"
#include "ledger/keygen.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/signed_seed.h"

/* sample_id and sample_key of those who are there from the start. 20 and on come by the input's choice. */
#define DOCTOR 1
#define AUDITOR 2
#define PATIENT 5
#define OTHER_PATIENT 6
#define REGISTRAR 7
#define NURSE 8
#define RECORDS 1000 /* the first record's number */

static inline struct id seed_person(const struct kit *kit, uint8_t choice)
{
    static const unsigned people[] = {PATIENT, DOCTOR, OTHER_PATIENT, AUDITOR, REGISTRAR, 20, 21};
    unsigned i = choice % 8;
    return i < 7 ? sample_id(people[i]) : kit->root.actor.id;
}

static inline struct kit_actor seed_actor(const struct kit *kit, uint8_t choice)
{
    static const unsigned people[] = {DOCTOR, AUDITOR, PATIENT, REGISTRAR, 20, 21, NURSE};
    unsigned i = choice % 12;
    if (i < 7) return kit_user(people[i]);
    return i < 11 ? kit_node(kit, i - 6) : kit->root;
}

static inline struct sign_public seed_public(uint8_t choice)
{
    struct sign_secret secret;
    struct sign_public key;
    sample_key(&secret, &key, choice % 4 ? 20 + choice % 4 : DOCTOR);
    return key; /* of 21: that of somebody who may come */
}

static inline struct bytes seed_role(uint8_t choice)
{
    static const char *const roles[] = {"doctor", "patient", "root", "admin", "registrar", "nurse", "privacy", "none"};
    return bytes_text(roles[choice % 8]);
}

static inline struct id seed_record(uint8_t choice) { return sample_id(RECORDS + (choice & 3) % 3); }
static inline struct bytes seed_hospital(uint8_t choice) { return bytes_text(choice % 2 ? "General" : "Mercy"); }
/* None, that of who is there (kit_add_user), or another. */
static inline struct digest seed_tag(uint8_t choice)
{
    static const unsigned tags[] = {0, DOCTOR, 30, 31};
    return choice % 4 ? sample_digest(tags[choice % 4]) : (struct digest){{0}};
}

static inline void seed_people(struct arguments *args, const struct kit *kit, uint8_t a, uint8_t b)
{
    struct id person = seed_person(kit, a), other = seed_person(kit, b);
    switch ((unsigned)args->action) {
    case ACTION_USER_CREATE:
        args->user_create.user = person;
        args->user_create.role = seed_role(b);
        args->user_create.hospital = seed_hospital(b >> 3);
        args->user_create.login_tag = seed_tag(b >> 4);
        args->user_create.key_count = 1;
        args->user_create.keys[0] = seed_public(b >> 6);
        return;
    case ACTION_USER_UPDATE:
        args->user_update = (struct args_user_update){person, seed_hospital(b), seed_tag(b >> 1)};
        return;
    case ACTION_USER_DISABLE: args->user_disable.user = person; return;
    case ACTION_USER_KEY:
        args->user_key.user = person;
        args->user_key.key = seed_public(b);
        return;
    case ACTION_ROLE_ASSIGN: args->role_assign = (struct args_role_assign){person, seed_role(b)}; return;
    case ACTION_USER_SEARCH:
        args->user_search = (struct args_user_search){.limit = 1 + b % 4};
        if (a & 0x80) args->user_search.user = person;
        if (b & 0x80) args->user_search.login_tag = seed_tag(b);
        if (b & 0x40) args->user_search.hospital = seed_hospital(b);
        if (b & 0x20) args->user_search.role = seed_role(b >> 2);
        return;
    case ACTION_TEAM_ASSIGN:
        args->team_assign.patient = person;
        args->team_assign.user = other;
        return;
    case ACTION_TEAM_LIST: args->team_list.patient = person; return;
    }
}

static inline void seed_records(struct arguments *args, const struct kit *kit, uint8_t a, uint8_t b)
{
    struct id record = seed_record(a), patient = seed_person(kit, b);
    enum confidentiality conf = (enum confidentiality)(b >> 3 & 3 ? (b >> 3 & 3) - 1 : CONF_NORMAL);
    uint64_t version = a >> 2 & 3;
    switch ((unsigned)args->action) {
    case ACTION_RECORD_CREATE:
        args->record_create.record = record;
        args->record_create.patient = patient;
        args->record_create.conf = conf;
        return;
    case ACTION_RECORD_UPDATE:
        args->record_update = (struct args_record_update){record, patient, 1 + version, conf, seed_tag(b >> 5)};
        return;
    case ACTION_RECORD_DELETE: args->record_delete = (struct args_record_delete){record, patient, 1 + version}; return;
    case ACTION_RECORD_READ:
        args->record_read = (struct args_record_read){.limit = 1 + b % 5, .reader_key = {{9}}};
        if (b & 0x80) {
            args->record_read.patient = patient;
        } else {
            args->record_read.record = record;
            args->record_read.version = version;
        }
        return;
    case ACTION_RECORD_HISTORY: args->record_history.record = record; return;
    case ACTION_RECORD_COPY:
        args->record_copy.source = record;
        args->record_copy.source_version = 1 + version;
        args->record_copy.record = seed_record(a >> 4);
        args->record_copy.patient = patient;
        args->record_copy.conf = conf;
        return;
    case ACTION_RECORD_LIST: args->record_list = (struct args_record_list){patient, {0}, 1 + a % 4}; return;
    case ACTION_EVENT_ADD: args->event_add.patient = patient; return;
    }
}

static inline void seed_queries(struct arguments *args, const struct kit *kit, uint8_t a, uint8_t b)
{
    static const char *const policies[] = {
        "[role root]\npolicy.set = any\npolicy.show = any\nuser.create = any\nalarm.clear = any\n[role doctor]\n"
        "record.read = team R\n[role patient]\nrecord.read = own V\n",
        "[role root]\nno.such = any\n",
    };
    switch ((unsigned)args->action) {
    case ACTION_LOG_QUERY:
        args->log_query.cursor = (struct bytes){0};
        args->log_query.limit = 1 + b % 4;
        if (a & 0x80) args->log_query.patient = seed_person(kit, a);
        if (a & 0x40) args->log_query.actor = seed_actor(kit, a).actor.id;
        args->log_query.action = b & 0x80 ? seed_action(b) : 0;
        args->log_query.decision = (b >> 5 & 3) % 3;
        return;
    case ACTION_LEDGER_EXPORT: args->ledger_export = (struct args_ledger_export){a, b > a ? b : 0}; return;
    case ACTION_POLICY_SET:
        args->policy_set.policy = a % 3 < 2 ? bytes_text(policies[a % 3]) : kit_default_policy();
        return;
    }
}

/* The dealers' polynomials are known, so that what they send fits, if it is in its time. */
static inline struct dkg_polynomial seed_polynomial(const struct kit *kit, unsigned member)
{
    struct dkg_polynomial p = {.k = kit->genesis.quorum};
    for (uint32_t j = 0; j < p.k; j++) p.coefficients[j] = scalar_from_uint(100 * member + j + 1);
    return p;
}

static inline void seed_reveal(struct args_key_reveal *args, const struct kit *kit, unsigned member)
{
    struct dkg_polynomial p = seed_polynomial(kit, member);
    struct dkg_commitments c;
    dkg_commit(&c, &p);
    args->k = c.k;
    memcpy(args->commitments, c.points, sizeof args->commitments);
    args->n = kit->genesis.member_count;
    for (uint32_t i = 0; i < args->n; i++) args->subshares[i] = sample_digest(i + 1);
}

static inline void seed_commit(struct args_key_commit *args, const struct kit *kit, unsigned member)
{
    struct dkg_polynomial p = seed_polynomial(kit, member);
    struct dkg_commitments c;
    uint8_t context[KEYGEN_CONTEXT_SIZE];
    dkg_commit(&c, &p);
    keygen_context(context, &kit->genesis.cluster, (uint8_t)args->secret, args->attempt, member);
    args->commitments = dkg_commitments_hash(&c, BYTES(context));
}

static inline void seed_activate(struct args_key_activate *args, const struct kit *kit)
{
    static struct keygen keygen;
    args->n = kit->genesis.member_count;
    if (keygen_get(&keygen, kit->txn, (uint8_t)args->secret) != OK) return;
    args->attempt = keygen.attempt;
    args->qualified = keygen_qualified(&keygen) & ~1u;
    (void)keygen_keys(&args->key, args->verification, kit->txn, (uint8_t)args->secret, args->n);
}

/* `member`: who does it; 0 for a person, whose it is not. */
static inline void seed_keys(struct arguments *args, const struct kit *kit, unsigned member, uint8_t a, uint8_t b)
{
    enum key_secret secret = b & 1 ? KEY_RECORDS : KEY_PASSWORDS;
    uint32_t attempt = 1 + (b >> 1 & 1);
    unsigned who = member ? member : 1;
    struct dkg_polynomial p = seed_polynomial(kit, who);
    struct scalar subshare;
    switch ((unsigned)args->action) {
    case ACTION_KEY_COMMIT:
        args->key_commit = (struct args_key_commit){secret, attempt, {{0}}};
        seed_commit(&args->key_commit, kit, who);
        return;
    case ACTION_KEY_REVEAL:
        args->key_reveal.secret = secret;
        args->key_reveal.attempt = attempt;
        seed_reveal(&args->key_reveal, kit, b & 4 ? who % 4 + 1 : who);
        return;
    case ACTION_KEY_CONFIRM: args->key_confirm = (struct args_key_confirm){secret, attempt, a & 0x1e}; return;
    case ACTION_KEY_ANSWER:
        args->key_answer = (struct args_key_answer){secret, attempt, 1 + a % 5, {0}};
        dkg_subshare(&subshare, &p, b & 4 ? 5 : args->key_answer.receiver);
        memcpy(args->key_answer.subshare, subshare.bytes, sizeof subshare.bytes);
        return;
    case ACTION_KEY_CLOSE: args->key_close = (struct args_key_close){secret, attempt, a % 8}; return;
    case ACTION_KEY_ACTIVATE:
        args->key_activate.secret = secret;
        seed_activate(&args->key_activate, kit);
        if (b & 4) args->key_activate.key.bytes[a % 32] ^= 1;
        return;
    }
}

/* Alarms by where they lie before the end of the ledger, `size` leaves. `evidence` outlives the arguments. */
static inline void seed_alarms(struct arguments *args, const struct kit *kit, struct buffer *evidence, uint64_t size,
                               uint8_t a, uint8_t b)
{
    switch ((unsigned)args->action) {
    case ACTION_NODE_ALARM:
        args->node_alarm.kind = (enum alarm_kind)(1 + a % 4);
        args->node_alarm.named = 1 + (a >> 2) % 4;
        args->node_alarm.first = a >> 4 & 1;
        args->node_alarm.last = args->node_alarm.first + b % 4;
        args->node_alarm.evidence = (struct bytes){0};
        if (!(b & 4)) return;
        kit_evidence(evidence, kit, args->node_alarm.named, args->node_alarm.first + (b >> 3 & 1));
        args->node_alarm.evidence = buffer_bytes(evidence);
        return;
    case ACTION_ALARM_TELL:
        args->alarm_tell.index = size > a % 8u ? size - 1 - a % 8u : 0;
        args->alarm_tell.step = b & 1 ? ALARM_TOLD : ALARM_CLAIM;
        args->alarm_tell.ways = b >> 1 & ALARM_WAYS;
        return;
    case ACTION_ALARM_CLEAR: args->alarm_clear.index = size > a % 8u ? size - 1 - a % 8u : 0; return;
    }
}

/* The attachment that the action wants; with `other` a note, whatever it wants, or none by the highest bit of `a`. */
static inline void seed_content(struct buffer *out, uint32_t action, uint8_t a, uint8_t other)
{
    struct person person = {.name = bytes_text(a & 1 ? "Jane Doe" : "John Smith"), .login = bytes_text("jd")};
    bool of_record = action == ACTION_RECORD_CREATE || action == ACTION_RECORD_UPDATE || action == ACTION_RECORD_COPY;
    if (other)
        buffer_append_text(out, a & 0x80 ? "" : "a note");
    else if (of_record)
        kit_content(out, "what was found then");
    else if (action == ACTION_USER_CREATE || action == ACTION_USER_UPDATE)
        person_encode(out, &person);
}

/* Encoded, appended. `what`: bits 0 to 5 the action, bit 6 no attachment, or another than it wants, bit 7 its fullest
 * form. */
static inline void seed_operation(struct buffer *request, struct kit *kit, const struct kit_actor *who, uint8_t what,
                                  uint8_t a, uint8_t b)
{
    static struct arguments args;
    struct buffer content = {0}, evidence = {0};
    uint32_t action = seed_action(what & 0x3f), member = genesis_member_by_id(&kit->genesis, &who->actor.id);
    CHECK(sample_arguments(&args, action, what & 0x80));
    seed_people(&args, kit, a, b);
    seed_records(&args, kit, a, b);
    seed_queries(&args, kit, a, b);
    seed_keys(&args, kit, member, a, b);
    seed_alarms(&args, kit, &evidence, table_count(kit->txn, TABLE_LEAF), a, b);
    seed_content(&content, action, a, what & 0x40);
    kit_request(kit, request, who, &args, buffer_bytes(&content));
    buffer_free(&content);
    buffer_free(&evidence);
}

#endif
