#include "tests/lib/samples.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "ledger/evidence.h"

struct id sample_id(unsigned n)
{
    struct id id = {{0}};
    put_be32(id.bytes + 12, n);
    id.bytes[0] = 0x1d;
    return id;
}

struct digest sample_digest(unsigned n)
{
    struct digest d = {{0xd1}};
    put_be32(d.bytes + 28, n);
    return d;
}

void sample_key(struct sign_secret *secret, struct sign_public *public_key, unsigned n)
{
    uint8_t seed[SIGN_SEED_SIZE] = {0x5e, 0xed};
    put_be32(seed + 28, n);
    sign_keypair(secret, public_key, seed);
}

static struct sign_public public_of(unsigned n)
{
    struct sign_secret secret;
    struct sign_public key;
    sample_key(&secret, &key, n);
    return key;
}

static bool sample_people(struct arguments *a, bool full)
{
    struct bytes hospital = bytes_text("St. Mary's"), role = bytes_text("doctor"), none = {0};
    struct digest tag = full ? sample_digest(7) : (struct digest){{0}};
    switch ((unsigned)a->action) {
    case ACTION_USER_CREATE:
        a->user_create = (struct args_user_create){sample_id(1), hospital, role, tag, full ? 2 : 0, {{{0}}}};
        for (uint32_t i = 0; i < a->user_create.key_count; i++)
            a->user_create.keys[i] = public_of(i + 1);
        return true;
    case ACTION_USER_UPDATE:
        a->user_update = (struct args_user_update){sample_id(1), full ? hospital : none, tag};
        return true;
    case ACTION_USER_DISABLE: a->user_disable = (struct args_user_disable){sample_id(1), full}; return true;
    case ACTION_USER_KEY: a->user_key = (struct args_user_key){sample_id(1), full, public_of(3)}; return true;
    case ACTION_ROLE_ASSIGN: a->role_assign = (struct args_role_assign){sample_id(1), role}; return true;
    case ACTION_USER_SEARCH:
        a->user_search = (struct args_user_search){.limit = full ? LIMIT_ROWS : 1};
        if (full)
            a->user_search = (struct args_user_search){sample_id(1), tag, role, hospital, 20, bytes_text("cursor")};
        return true;
    case ACTION_TEAM_ASSIGN:
        a->team_assign = (struct args_team_assign){sample_id(1), sample_id(2), full};
        return true;
    case ACTION_TEAM_LIST: a->team_list = (struct args_team_list){sample_id(1)}; return true;
    }
    return false;
}

static bool sample_records(struct arguments *a, bool full)
{
    struct id record = sample_id(100), patient = sample_id(5), none = {{0}};
    struct bytes kind = bytes_text("Observation"), empty = {0};
    struct digest tag = full ? sample_digest(9) : (struct digest){{0}};
    enum confidentiality conf = full ? CONF_VERY_RESTRICTED : CONF_NORMAL;
    struct seal_public reader = {{9}};
    switch ((unsigned)a->action) {
    case ACTION_RECORD_CREATE:
        a->record_create = (struct args_record_create){record, patient, kind, conf, tag};
        return true;
    case ACTION_RECORD_UPDATE:
        a->record_update = (struct args_record_update){record, patient, full ? RECORD_VERSION_MAX - 1 : 1, conf, tag};
        return true;
    case ACTION_RECORD_DELETE: a->record_delete = (struct args_record_delete){record, patient, 3}; return true;
    case ACTION_RECORD_READ:
        a->record_read = full ? (struct args_record_read){record, 2, none, reader, empty, 1}
                              : (struct args_record_read){none, 0, patient, reader, bytes_text("c"), LIMIT_OPENED};
        return true;
    case ACTION_RECORD_HISTORY: a->record_history = (struct args_record_history){record}; return true;
    case ACTION_RECORD_COPY:
        a->record_copy = (struct args_record_copy){sample_id(99), 2, record, patient, kind, conf, tag};
        return true;
    case ACTION_RECORD_LIST:
        a->record_list = (struct args_record_list){patient, full ? bytes_text("c") : empty, LIMIT_ROWS};
        return true;
    case ACTION_EVENT_ADD:
        a->event_add = (struct args_event_add){patient, bytes_text("bill.print"), full ? bytes_text("bill-77") : empty};
        return true;
    }
    return false;
}

/* Any bytes: whether they prove something is the rules' business. */
static const uint8_t evidence[EVIDENCE_SIZE] = {1, 2, 3};

static bool sample_queries(struct arguments *a, bool full)
{
    switch ((unsigned)a->action) {
    case ACTION_LOG_QUERY:
        a->log_query = (struct args_log_query){.limit = 50};
        if (full)
            a->log_query = (struct args_log_query){sample_id(5), sample_id(1), ACTION_RECORD_READ, DECISION_DENIED,
                                                   SAMPLE_TIME, SAMPLE_TIME + 1, 50, bytes_text("cursor"), true};
        return true;
    case ACTION_LEDGER_EXPORT: a->ledger_export = (struct args_ledger_export){full ? 5 : 0, full ? 6 : 0}; return true;
    case ACTION_POLICY_SET: a->policy_set = (struct args_policy_set){bytes_text("[role root]\n")}; return true;
    case ACTION_POLICY_SHOW:
    case ACTION_STATE_DIGEST: return true;
    case ACTION_ALARM_CLEAR: a->alarm_clear = (struct args_alarm_clear){full ? UINT64_MAX : 0}; return true;
    }
    return false;
}

static bool sample_nodes(struct arguments *a, bool full)
{
    enum key_secret secret = full ? KEY_PASSWORDS : KEY_RECORDS;
    uint32_t many = full ? LIMIT_NODES : 1;
    switch ((unsigned)a->action) {
    case ACTION_KEY_COMMIT: a->key_commit = (struct args_key_commit){secret, 1, sample_digest(1)}; return true;
    case ACTION_KEY_REVEAL:
        a->key_reveal = (struct args_key_reveal){.secret = secret, .attempt = 1, .k = many, .n = many};
        for (uint32_t i = 0; i < many; i++) {
            memset(a->key_reveal.commitments[i].bytes, (int)i, 32);
            a->key_reveal.subshares[i] = sample_digest(i + 1);
        }
        return true;
    case ACTION_KEY_CONFIRM: a->key_confirm = (struct args_key_confirm){secret, 1, full ? 0xfffe : 0}; return true;
    case ACTION_KEY_ANSWER: a->key_answer = (struct args_key_answer){secret, 1, many, {7}}; return true;
    case ACTION_KEY_CLOSE: a->key_close = (struct args_key_close){secret, 1, full ? 255 : 0}; return true;
    case ACTION_KEY_ACTIVATE:
        a->key_activate = (struct args_key_activate){.secret = secret, .attempt = 1, .qualified = 6, .n = many};
        return true;
    case ACTION_NODE_ALARM:
        a->node_alarm = (struct args_node_alarm){.kind = full ? ALARM_ROLLED_BACK : ALARM_MODIFIED,
                                                 .named = many,
                                                 .first = full ? UINT64_MAX : 0,
                                                 .last = UINT64_MAX,
                                                 .status = full ? ALARM_REPAIRED : ALARM_OPEN};
        if (full) a->node_alarm.evidence = bytes_of(evidence, sizeof evidence);
        return true;
    case ACTION_ALARM_TELL:
        a->alarm_tell = (struct args_alarm_tell){full ? UINT64_MAX : 0, full ? ALARM_TOLD : ALARM_CLAIM,
                                                 full ? ALARM_WAYS : 0};
        return true;
    case ACTION_NODE_DIGEST: return true;
    }
    return false;
}

bool sample_arguments(struct arguments *out, uint32_t action, bool full)
{
    memset(out, 0, sizeof *out);
    out->action = (enum action)action;
    return sample_people(out, full) || sample_records(out, full) || sample_queries(out, full) ||
           sample_nodes(out, full);
}

struct operation sample_operation(unsigned user, unsigned request, uint32_t action, struct bytes args)
{
    struct sign_public key = public_of(user);
    return (struct operation){
        .cluster = sample_digest(1),
        .request_id = sample_id(1000 + request),
        .issued_at_ms = SAMPLE_TIME + request,
        .actor = {ACTOR_USER, sample_id(user), key_id_of(&key)},
        .action = action,
        .args = args,
        .purpose = PURPOSE_TREATMENT,
    };
}

void sample_request(struct buffer *out, unsigned user, uint32_t count)
{
    struct request_builder b = {0};
    struct sign_secret secret;
    struct sign_public key;
    struct arguments a;
    struct buffer args = {0};
    sample_key(&secret, &key, user);
    CHECK(sample_arguments(&a, ACTION_EVENT_ADD, true));
    arguments_encode(&args, &a);
    for (uint32_t i = 0; i < count; i++) {
        struct operation op = sample_operation(user, i, ACTION_EVENT_ADD, buffer_bytes(&args));
        struct buffer attachment = {0};
        const uint8_t salt[ATTACHMENT_SALT] = {(uint8_t)i};
        if (i % 2) attachment_encode(&attachment, salt, bytes_text("seen by the night shift"));
        CHECK(request_builder_add(&b, &op, buffer_bytes(&attachment)) == OK);
        buffer_free(&attachment);
    }
    CHECK(request_builder_sign(out, &b, &secret) == OK);
    request_builder_free(&b);
    buffer_free(&args);
}

void sample_leaf(struct buffer *out, uint64_t index, const struct request *request, uint32_t position)
{
    struct leaf leaf = {.index = index, .time_ms = SAMPLE_TIME + index % 1000000,
                        .previous = sample_digest(index & 0xffff)};
    leaf_set_operation(&leaf, request, position);
    leaf.decision = index % 2 ? DECISION_DENIED : DECISION_APPROVED;
    leaf.reason = index % 2 ? REASON_SCOPE : REASON_NONE;
    if (index % 3) leaf.subject = sample_id(5);
    leaf_encode(out, &leaf);
}

void sample_node_secrets(struct node_secrets *out, uint32_t member)
{
    struct node_public public_keys;
    uint8_t seed[NODE_SEED_SIZE] = {0x40, (uint8_t)member};
    node_keys_derive(out, &public_keys, seed);
}

static void sample_member(struct descriptor *out, uint32_t member)
{
    struct node_secrets secrets;
    uint8_t seed[NODE_SEED_SIZE] = {0x40, (uint8_t)member};
    snprintf(out->name, sizeof out->name, "node-%u", member);
    snprintf(out->hospital, sizeof out->hospital, "Hospital %u", member);
    snprintf(out->address, sizeof out->address, "10.0.0.%u:7700", member);
    node_keys_derive(&secrets, &out->keys, seed);
    out->tls_pin = sample_digest(member);
    out->id = id_of_key(&out->keys.message);
}

void sample_genesis(struct genesis *out, uint32_t n, uint32_t b)
{
    *out = (struct genesis){.faulty = b, .approvals = 1, .member_count = n, .admin_count = 2};
    CHECK(n <= LIMIT_NODES);
    snprintf(out->origin, sizeof out->origin, "consilium/north-region");
    for (uint32_t i = 0; i < n; i++)
        sample_member(&out->members[i], i + 1);
    for (uint32_t i = 0; i < 2; i++) {
        out->admins[i].key = public_of(i + 1);
        out->admins[i].id = id_of_key(&out->admins[i].key);
    }
    out->policy = bytes_text("# the rules\n[role root]\npolicy.set = any\n");
}

void sample_genesis_parsed(struct genesis *out, struct buffer *text, uint32_t n, uint32_t b)
{
    struct genesis made;
    sample_genesis(&made, n, b);
    CHECK(genesis_format(text, &made, NULL) == OK);
    CHECK(genesis_parse(out, buffer_bytes(text), NULL) == OK);
}
