/* Replay: what an altered ledger is told by, and that applying and replaying agree
 * on any sequence of operations. SEED=n repeats the random test. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})

/* --- an altered ledger --- */

struct altered {
    struct kit kit, copy;
    struct kit_actor doctor;
    uint64_t event; /* an approved leaf */
    struct buffer leaf;
};

static struct arguments event_args(unsigned patient)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(patient), bytes_text("bill.print"), bytes_text("B-17")};
    return a;
}

/* Replayed up to the event, whose leaf is ready to be spoiled. */
static void altered_open(struct altered *t)
{
    memset(t, 0, sizeof *t);
    kit_open(&t->kit, 4, 1, NONE);
    t->doctor = kit_add_user(&t->kit, 1, "doctor", "Mercy", "Dr. House");
    kit_add_user(&t->kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_team(&t->kit, 5, 1);
    struct arguments a = event_args(5);
    t->event = kit_do(&t->kit, &t->doctor, &a, bytes_text("a note"))->leaf_index;
    kit_open_empty(&t->copy, &t->kit);
    for (uint64_t i = 0; i < t->event; i++) assert_int_equal(kit_replay(&t->copy, &t->kit, i, NULL), OK);
    assert_int_equal(proof_leaf(&t->leaf, t->kit.txn, t->event), OK);
}

static void altered_close(struct altered *t)
{
    buffer_free(&t->leaf);
    kit_close(&t->kit);
    kit_close(&t->copy);
}

/* Refused with that code and words; nothing changed; the true leaf still goes in. */
static void refuse(struct altered *t, struct bytes leaf, enum err code, const char *words)
{
    struct failure failure = {0};
    struct digest before = kit_digest(&t->copy), root = ledger_root(t->copy.ledger);
    enum err err = ledger_replay(t->copy.ledger, t->copy.txn, leaf, &failure);
    if (err != code || !strstr(failure.text, words)) fprintf(stderr, "%s: %s\n", err_name(err), failure.text);
    assert_int_equal(err, code);
    assert_non_null(strstr(failure.text, words));
    assert_int_equal(failure.code, code);
    struct digest after = kit_digest(&t->copy), root_after = ledger_root(t->copy.ledger);
    assert_true(digest_equal(&before, &after) && digest_equal(&root, &root_after));
    assert_int_equal(ledger_replay(t->copy.ledger, t->copy.txn, leaf, NULL), code);
}

static void refuse_leaf(struct altered *t, const struct leaf *leaf, enum err code, const char *words)
{
    struct buffer out = {0};
    leaf_encode(&out, leaf);
    refuse(t, buffer_bytes(&out), code, words);
    buffer_free(&out);
}

static void test_altered(void **state)
{
    (void)state;
    struct altered t;
    struct leaf good, leaf;
    altered_open(&t);
    assert_int_equal(leaf_decode(&good, buffer_bytes(&t.leaf)), OK);
    leaf = good;
    leaf.index++;
    refuse_leaf(&t, &leaf, ERR_CHAIN, "it says that it is leaf");
    leaf = good;
    leaf.previous.bytes[0] ^= 1;
    refuse_leaf(&t, &leaf, ERR_CHAIN, "previous hash is");
    leaf = good;
    leaf.time_ms = ledger_time_ms(t.copy.ledger) - 1;
    refuse_leaf(&t, &leaf, ERR_CHAIN, "is before that of leaf");
    leaf = good;
    leaf.time_ms += LIMIT_SKEW_MS + 1;
    refuse_leaf(&t, &leaf, ERR_DECISION, "more than 5 minutes");
    leaf = good;
    leaf.signature.bytes[5] ^= 1;
    refuse_leaf(&t, &leaf, ERR_BAD_SIGNATURE, "signature does not verify");
    leaf = good;
    leaf.decision = DECISION_DENIED;
    leaf.reason = REASON_SCOPE;
    refuse_leaf(&t, &leaf, ERR_DECISION, "event.add is denied there");
    leaf = good;
    leaf.subject = sample_id(1);
    refuse_leaf(&t, &leaf, ERR_DECISION, "the person affected is");
    leaf.subject = (struct id){{0}};
    refuse_leaf(&t, &leaf, ERR_DECISION, "the person affected is nobody there");
    refuse(&t, bytes_of(t.leaf.data, t.leaf.size - 1), ERR_TRUNCATED, "does not decode");
    char words[32];
    snprintf(words, sizeof words, "leaf %llu", (unsigned long long)t.event);
    refuse(&t, NONE, ERR_TRUNCATED, words);
    assert_int_equal(ledger_replay(t.copy.ledger, t.copy.txn, buffer_bytes(&t.leaf), NULL), OK);
    altered_close(&t);
}

/* The time, within its bounds, is the leader's to choose; the next leaf's chain and
 * the cosigned root hold it. */
static bool only_time(const struct leaf *good, uint64_t least, struct bytes altered)
{
    struct leaf leaf;
    struct buffer out = {0};
    if (leaf_decode(&leaf, altered) != OK || leaf.time_ms < least) return false;
    leaf.time_ms = good->time_ms;
    leaf_encode(&out, &leaf);
    bool same = bytes_equal(buffer_bytes(&out), good->raw);
    buffer_free(&out);
    return same;
}

/* Every single bit of a leaf matters. */
static void test_every_bit(void **state)
{
    (void)state;
    struct altered t;
    struct leaf good;
    altered_open(&t);
    struct buffer altered = {0};
    buffer_append_bytes(&altered, buffer_bytes(&t.leaf));
    assert_int_equal(leaf_decode(&good, buffer_bytes(&t.leaf)), OK);
    for (size_t i = 0; i < altered.size * 8; i++) {
        altered.data[i / 8] ^= (uint8_t)(1u << i % 8);
        if (!only_time(&good, ledger_time_ms(t.copy.ledger), buffer_bytes(&altered)))
            assert_int_not_equal(ledger_replay(t.copy.ledger, t.copy.txn, buffer_bytes(&altered), NULL), OK);
        altered.data[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    buffer_free(&altered);
    assert_int_equal(ledger_replay(t.copy.ledger, t.copy.txn, buffer_bytes(&t.leaf), NULL), OK);
    altered_close(&t);
}

/* A node that lets a nurse in and says approved. */
static void test_false_approval(void **state)
{
    (void)state;
    struct altered t;
    struct leaf leaf;
    struct buffer raw = {0};
    altered_open(&t);
    struct kit_actor stranger = kit_user(5); /* the patient, who may add no events */
    assert_int_equal(kit_replay(&t.copy, &t.kit, t.event, NULL), OK);
    struct arguments a = event_args(5);
    uint64_t index = kit_do(&t.kit, &stranger, &a, NONE)->leaf_index;
    assert_int_equal(proof_leaf(&raw, t.kit.txn, index), OK);
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&raw)), OK);
    leaf.decision = DECISION_APPROVED;
    leaf.reason = REASON_NONE;
    refuse_leaf(&t, &leaf, ERR_DECISION, "the rules say denied (reason 1: the role has no such permission)");
    buffer_free(&raw);
    altered_close(&t);
}

/* The same operation twice, with a chain that is right. */
static void test_repeated(void **state)
{
    (void)state;
    struct altered t;
    struct leaf leaf;
    altered_open(&t);
    assert_int_equal(kit_replay(&t.copy, &t.kit, t.event, NULL), OK);
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&t.leaf)), OK);
    leaf.index++;
    leaf.previous = ledger_last(t.copy.ledger);
    refuse_leaf(&t, &leaf, ERR_DECISION, "its operation is in leaf");
    altered_close(&t);
}

static void test_genesis(void **state)
{
    (void)state;
    struct kit kit, other, empty;
    struct buffer leaf = {0};
    struct failure failure = {0};
    struct ledger *ledger;
    kit_open(&kit, 4, 1, NONE);
    kit_open(&other, 5, 1, NONE);
    kit_open_empty(&empty, &kit);
    assert_int_equal(proof_leaf(&leaf, other.txn, 0), OK);
    assert_int_equal(ledger_replay_genesis(&ledger, empty.txn, buffer_bytes(&leaf), &kit.genesis.cluster, &failure),
                     ERR_OTHER_CLUSTER);
    assert_non_null(strstr(failure.text, "leaf 0"));
    assert_int_equal(ledger_replay_genesis(&ledger, empty.txn, NONE, NULL, &failure), ERR_TRUNCATED);
    assert_int_equal(proof_leaf(&leaf, kit.txn, 0), OK);
    assert_int_equal(ledger_replay_genesis(&empty.ledger, empty.txn, buffer_bytes(&leaf), &kit.genesis.cluster, NULL),
                     OK);
    assert_string_equal(kit_difference(&kit, &empty), "");
    buffer_free(&leaf);
    kit_close(&kit);
    kit_close(&other);
    kit_close(&empty);
}

/* --- attachments --- */

static void test_attachments(void **state)
{
    (void)state;
    struct altered t;
    struct buffer attachment = {0}, again = {0};
    uint64_t missing;
    altered_open(&t);
    assert_int_equal(kit_replay(&t.copy, &t.kit, t.event, NULL), OK);
    assert_int_equal(ledger_attachment(&attachment, t.kit.txn, t.event), OK);
    assert_int_equal(ledger_attachment(&again, t.copy.txn, t.event), ERR_NOT_FOUND);
    unsigned count = 0;
    for (uint64_t from = 0; ledger_attachment_missing(&missing, t.copy.txn, from) == OK; from = missing + 1) count++;
    assert_int_equal(count, 4); /* three users and the event */
    attachment.data[attachment.size - 1] ^= 1;
    assert_int_equal(ledger_attach(t.copy.ledger, t.copy.txn, t.event, buffer_bytes(&attachment)), ERR_ATTACHMENT);
    assert_int_equal(ledger_attach(t.copy.ledger, t.copy.txn, t.event, NONE), ERR_ATTACHMENT);
    attachment.data[attachment.size - 1] ^= 1;
    assert_int_equal(ledger_attach(t.copy.ledger, t.copy.txn, 0, buffer_bytes(&attachment)), ERR_NOT_FOUND);
    assert_int_equal(ledger_attach(t.copy.ledger, t.copy.txn, 1 << 20, buffer_bytes(&attachment)), ERR_NOT_FOUND);
    assert_int_equal(ledger_attach(NULL, t.copy.txn, t.event, buffer_bytes(&attachment)), OK);
    assert_int_equal(ledger_attach(t.copy.ledger, t.copy.txn, t.event, buffer_bytes(&attachment)), OK); /* twice */
    assert_int_equal(ledger_attachment(&again, t.copy.txn, t.event), OK);
    assert_true(bytes_equal(buffer_bytes(&attachment), buffer_bytes(&again)));
    assert_int_equal(ledger_attachment_missing(&missing, t.copy.txn, t.event), ERR_NOT_FOUND);
    buffer_free(&attachment);
    buffer_free(&again);
    altered_close(&t);
}

/* --- for who only verifies --- */

/* What was seen, in a list that is searched. */
#define SEEN_MOST 4096
struct seen_list {
    struct {
        uint64_t issued_at_ms;
        struct actor actor;
        struct id request_id;
    } rows[SEEN_MOST];
    uint64_t index[SEEN_MOST];
    unsigned count;
    enum err fails; /* what adding says */
};

static enum err list_find(void *data, uint64_t *index, const struct replay_leaf *read)
{
    const struct seen_list *list = data;
    const struct operation *op = &read->leaf.operation;
    for (unsigned i = 0; i < list->count; i++)
        if (list->rows[i].issued_at_ms == op->issued_at_ms && id_equal(&list->rows[i].actor.id, &op->actor.id) &&
            list->rows[i].actor.kind == op->actor.kind && id_equal(&list->rows[i].request_id, &op->request_id)) {
            *index = list->index[i];
            return OK;
        }
    return ERR_NOT_FOUND;
}

static enum err list_add(void *data, const struct replay_leaf *read, uint64_t index, uint64_t time_ms)
{
    struct seen_list *list = data;
    const struct operation *op = &read->leaf.operation;
    (void)time_ms;
    if (list->fails != OK) return list->fails;
    CHECK(list->count < SEEN_MOST);
    list->rows[list->count].issued_at_ms = op->issued_at_ms;
    list->rows[list->count].actor = op->actor;
    list->rows[list->count].request_id = op->request_id;
    list->index[list->count++] = index;
    return OK;
}

/* Leaves 1 .. of `from`, in two parts, into an empty kit's tables; verdicts of signatures that are said to be known are
 * wrong ones, under a key that is nobody's. */
static enum err replay_aside(struct kit *to, struct kit *from, uint64_t size, const struct replay_aside *aside,
                             struct failure *failure)
{
    struct tree_memo memo = {0};
    struct buffer leaf = {0};
    enum err err = kit_replay(to, from, 0, failure);
    if (err == OK) ledger_replay_aside(to->ledger, aside);
    for (uint64_t i = 1; err == OK && i < size; i++) {
        struct replay_leaf read;
        CHECK(proof_leaf(&leaf, from->txn, i) == OK);
        replay_leaf_read(&read, &memo, buffer_bytes(&leaf));
        read.verified = i % 3 == 0;
        memset(&read.key, 7, sizeof read.key);
        err = ledger_replay_read(to->ledger, to->txn, &read, failure);
    }
    buffer_free(&leaf);
    return err;
}

static void test_aside(void **state)
{
    (void)state;
    struct altered t;
    struct kit aside;
    struct seen_list *list = xcalloc(1, sizeof *list);
    const struct replay_aside way = {list, list_find, list_add};
    struct failure failure = {0};
    struct replay_leaf read;
    struct leaf again;
    struct buffer raw = {0};
    altered_open(&t);
    kit_open_empty(&aside, &t.kit);
    assert_int_equal(replay_aside(&aside, &t.kit, t.event + 1, &way, &failure), OK);
    struct digest a = ledger_root(t.kit.ledger), b = ledger_root(aside.ledger);
    assert_true(digest_equal(&a, &b));
    struct tree tree;
    ledger_tree(&tree, aside.ledger);
    assert_int_equal(tree.size, t.event + 1);
    /* The same operation again, and then one that can't be noted. */
    assert_int_equal(leaf_decode(&again, buffer_bytes(&t.leaf)), OK);
    again.index++;
    again.previous = ledger_last(aside.ledger);
    leaf_encode(&raw, &again);
    replay_leaf_read(&read, NULL, buffer_bytes(&raw));
    assert_int_equal(ledger_replay_read(aside.ledger, aside.txn, &read, &failure), ERR_DECISION);
    assert_non_null(strstr(failure.text, "its operation is in leaf"));
    again.time_ms += LIMIT_SKEW_MS + 1;
    buffer_clear(&raw);
    leaf_encode(&raw, &again);
    replay_leaf_read(&read, NULL, buffer_bytes(&raw));
    assert_int_equal(ledger_replay_read(aside.ledger, aside.txn, &read, &failure), ERR_DECISION);
    assert_non_null(strstr(failure.text, "more than 5 minutes"));
    list->count = 0;
    list->fails = ERR_FULL;
    again.time_ms -= LIMIT_SKEW_MS + 1;
    buffer_clear(&raw);
    leaf_encode(&raw, &again);
    replay_leaf_read(&read, NULL, buffer_bytes(&raw));
    assert_int_equal(ledger_replay_read(aside.ledger, aside.txn, &read, &failure), ERR_FULL);
    buffer_free(&raw);
    free(list);
    kit_close(&aside);
    altered_close(&t);
}

/* A verdict is taken only under the key that the state names. */
static void test_verdict_of_another_key(void **state)
{
    (void)state;
    struct altered t;
    struct replay_leaf read;
    struct failure failure = {0};
    struct leaf leaf;
    struct buffer raw = {0};
    altered_open(&t);
    assert_int_equal(leaf_decode(&leaf, buffer_bytes(&t.leaf)), OK);
    leaf.signature.bytes[3] ^= 1;
    leaf_encode(&raw, &leaf);
    replay_leaf_read(&read, NULL, buffer_bytes(&raw));
    read.verified = true;
    read.key = kit_user(5).key;
    assert_int_equal(ledger_replay_read(t.copy.ledger, t.copy.txn, &read, &failure), ERR_BAD_SIGNATURE);
    read.key = t.doctor.key; /* who says so has verified it */
    assert_int_equal(ledger_replay_read(t.copy.ledger, t.copy.txn, &read, &failure), OK);
    buffer_free(&raw);
    altered_close(&t);
}

/* --- random sequences --- */

static uint64_t random_state;

static uint32_t roll(uint32_t below)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)((random_state >> 16) % below);
}

#define PEOPLE 14 /* users 1 .. 14; some are there from the start */
#define RECORDS 30

static const char *const role_names[] = {"root",    "admin",   "registrar", "doctor",  "nurse",
                                         "patient", "patient", "auditor",   "privacy", "unknown"};

static struct id some_person(void) { return sample_id(1 + roll(PEOPLE + 1)); }
static struct id some_patient(void) { return roll(4) ? sample_id(5 + roll(2)) : some_person(); }
static struct id some_record(void) { return sample_id(100 + roll(RECORDS)); }
static struct bytes some_role(void) { return bytes_text(role_names[roll(10)]); }
static struct bytes some_hospital(void) { return bytes_text(roll(3) ? "Mercy" : "General"); }
static struct digest some_tag(void) { return roll(2) ? (struct digest){{0}} : sample_digest(1 + roll(6)); }
static enum confidentiality some_conf(void) { return (enum confidentiality)(roll(5) < 3 ? 0 : roll(3)); }

static struct sign_public some_key(void)
{
    struct sign_secret secret;
    struct sign_public key;
    sample_key(&secret, &key, 1 + roll(PEOPLE + 4));
    return key;
}

static void random_people(struct arguments *a)
{
    switch ((unsigned)a->action) {
    case ACTION_USER_CREATE:
        a->user_create = (struct args_user_create){.user = some_person(), .hospital = some_hospital()};
        a->user_create.role = some_role();
        a->user_create.login_tag = some_tag();
        a->user_create.key_count = 1;
        a->user_create.keys[0] = some_key();
        return;
    case ACTION_USER_UPDATE:
        a->user_update = (struct args_user_update){some_person(), roll(2) ? NONE : some_hospital(), some_tag()};
        return;
    case ACTION_USER_DISABLE: a->user_disable = (struct args_user_disable){some_person(), roll(12) == 0}; return;
    case ACTION_USER_KEY: a->user_key = (struct args_user_key){some_person(), roll(12) == 0, some_key()}; return;
    case ACTION_ROLE_ASSIGN: a->role_assign = (struct args_role_assign){some_person(), some_role()}; return;
    case ACTION_TEAM_ASSIGN:
        a->team_assign = (struct args_team_assign){some_patient(), some_person(), roll(4) == 0};
        return;
    case ACTION_TEAM_LIST: a->team_list = (struct args_team_list){some_person()}; return;
    case ACTION_USER_SEARCH:
        a->user_search = (struct args_user_search){.limit = 1 + roll(20)};
        if (roll(2)) a->user_search.user = some_person();
        if (roll(2)) a->user_search.hospital = some_hospital();
        return;
    }
}

static void random_records(struct arguments *a)
{
    switch ((unsigned)a->action) {
    case ACTION_RECORD_CREATE:
        a->record_create =
            (struct args_record_create){some_record(), some_patient(), bytes_text("Note"), some_conf(), some_tag()};
        return;
    case ACTION_RECORD_UPDATE:
        a->record_update =
            (struct args_record_update){some_record(), some_patient(), 1 + roll(3), some_conf(), some_tag()};
        return;
    case ACTION_RECORD_DELETE:
        a->record_delete = (struct args_record_delete){some_record(), some_patient(), 1 + roll(3)};
        return;
    case ACTION_RECORD_READ:
        a->record_read = (struct args_record_read){.reader_key = {{1}}, .limit = 1 + roll(5)};
        if (roll(2))
            a->record_read.patient = some_patient();
        else {
            a->record_read.record = some_record();
            a->record_read.version = roll(4);
        }
        return;
    case ACTION_RECORD_HISTORY: a->record_history = (struct args_record_history){some_record()}; return;
    case ACTION_RECORD_COPY:
        a->record_copy = (struct args_record_copy){some_record(),  1 + roll(3), some_record(), some_patient(),
                                                   bytes_text("Note"), some_conf(), some_tag()};
        return;
    case ACTION_RECORD_LIST: a->record_list = (struct args_record_list){some_patient(), NONE, 1 + roll(9)}; return;
    case ACTION_EVENT_ADD: *a = event_args(1 + roll(PEOPLE)); return;
    case ACTION_LOG_QUERY:
        a->log_query = (struct args_log_query){.limit = 1 + roll(9), .decision = roll(3)};
        if (roll(2)) a->log_query.patient = some_patient();
        if (roll(2)) a->log_query.actor = some_patient();
        return;
    case ACTION_POLICY_SET:
        a->policy_set.policy = roll(3) ? kit_default_policy() : bytes_text("[role root]\n");
        return;
    case ACTION_KEY_CONFIRM: a->key_confirm = (struct args_key_confirm){KEY_RECORDS, 1 + roll(2), 2 * roll(8)}; return;
    case ACTION_KEY_CLOSE: a->key_close = (struct args_key_close){KEY_PASSWORDS, 1 + roll(2), 1 + roll(4)}; return;
    case ACTION_KEY_COMMIT: a->key_commit = (struct args_key_commit){KEY_PASSWORDS, 1 + roll(2),
                                                                     sample_digest(3)}; return;
    }
}

/* People, records, queries, nodes: an actor mostly does what its role is for. */
#define THEMES 4
#define THEME_ACTIONS 9
static const enum action actions[THEMES][THEME_ACTIONS] = {
    {ACTION_USER_CREATE, ACTION_USER_CREATE, ACTION_USER_UPDATE, ACTION_USER_DISABLE, ACTION_USER_KEY,
     ACTION_ROLE_ASSIGN, ACTION_TEAM_ASSIGN, ACTION_TEAM_ASSIGN, ACTION_USER_SEARCH},
    {ACTION_RECORD_CREATE, ACTION_RECORD_CREATE, ACTION_RECORD_UPDATE, ACTION_RECORD_UPDATE, ACTION_RECORD_DELETE,
     ACTION_RECORD_READ, ACTION_RECORD_READ, ACTION_RECORD_COPY, ACTION_EVENT_ADD},
    {ACTION_RECORD_HISTORY, ACTION_RECORD_LIST, ACTION_LOG_QUERY, ACTION_LOG_QUERY, ACTION_POLICY_SHOW,
     ACTION_LEDGER_EXPORT, ACTION_TEAM_LIST, ACTION_USER_SEARCH, ACTION_POLICY_SET},
    {ACTION_KEY_CONFIRM, ACTION_KEY_CONFIRM, ACTION_KEY_CLOSE, ACTION_KEY_CLOSE, ACTION_KEY_CLOSE, ACTION_KEY_COMMIT,
     ACTION_KEY_COMMIT, ACTION_KEY_COMMIT, ACTION_EVENT_ADD},
};

static struct kit_actor some_actor(const struct kit *kit, unsigned theme)
{
    if (roll(10) == 0) return kit_user(1 + roll(PEOPLE));
    switch (theme) {
    case 0: return roll(2) ? kit->root : kit_user(1 + roll(2)); /* admin, registrar */
    case 1: return kit_user(2 + roll(3));                       /* registrar, doctor, nurse */
    case 3: return kit_node(kit, 1 + roll(4));
    }
    return kit_user(1 + roll(8));
}

static void random_operation(struct request_builder *b, struct kit *kit, const struct kit_actor *who, unsigned theme,
                             const struct bytes *content)
{
    if (roll(10) == 0) theme = roll(THEMES);
    struct arguments a = {.action = actions[theme][roll(THEME_ACTIONS)]};
    struct buffer args = {0}, attachment = {0};
    struct operation op = {.cluster = kit->genesis.cluster, .actor = who->actor, .action = a.action};
    uint8_t salt[ATTACHMENT_SALT] = {3};
    random_people(&a);
    random_records(&a);
    if (a.action == ACTION_LEDGER_EXPORT) a.ledger_export = (struct args_ledger_export){0, 0};
    arguments_encode(&args, &a);
    op.args = buffer_bytes(&args);
    op.issued_at_ms = kit->now + roll(2000);
    if (roll(40) == 0) op.issued_at_ms -= 400000; /* stale */
    op.request_id = sample_id(roll(20) ? ++kit->ids : 1 + roll(50));
    bool needed = a.action == ACTION_RECORD_CREATE || a.action == ACTION_RECORD_UPDATE ||
                  a.action == ACTION_RECORD_COPY;
    if (needed ? roll(10) != 0 : roll(30) == 0) attachment_encode(&attachment, salt, *content);
    (void)request_builder_add(b, &op, buffer_bytes(&attachment)); /* a request id twice is refused there */
    buffer_free(&args);
    buffer_free(&attachment);
}

static void random_request(struct buffer *out, struct kit *kit, const struct bytes *content)
{
    struct request_builder *b = xcalloc(1, sizeof *b);
    unsigned theme = roll(7) < 4 ? 1 : roll(THEMES);
    struct kit_actor who = some_actor(kit, theme);
    for (uint32_t i = 1 + roll(4); i; i--) random_operation(b, kit, &who, theme, content);
    if (roll(30) == 0) who.secret.bytes[0] ^= 1; /* a wrong signature */
    buffer_clear(out);
    CHECK(request_builder_sign(out, b, &who.secret) == OK);
    request_builder_free(b);
    free(b);
}

#define BLOCKS 250

static void apply_random_blocks(struct kit *kit, struct kit *twin, struct bytes content)
{
    struct buffer requests[4] = {{0}};
    for (unsigned block = 0; block < BLOCKS; block++) {
        struct bytes views[4];
        uint32_t count = 1 + roll(4);
        for (uint32_t i = 0; i < count; i++) {
            random_request(&requests[i], kit, &content);
            views[i] = buffer_bytes(&requests[i]);
        }
        if (roll(25) == 0) kit->now += roll(400000);
        if (roll(25) == 0) kit->now -= 3000; /* a leader with another clock */
        twin->now = kit->now;
        kit_apply(kit, views, count);
        kit_apply(twin, views, count);
        if (roll(20) == 0) kit_reopen(twin);
    }
    for (unsigned i = 0; i < 4; i++) buffer_free(&requests[i]);
}

/* Of the replicated tables only those that no decision reads. */
static void assert_only_unread(const char *tables)
{
    static const char unread[] = ", leaf, tree, seen, log_subject, log_actor, opened, state, ";
    char name[64];
    for (const char *at = tables; *at; at += strcspn(at, ","), at += strspn(at, ", ")) {
        snprintf(name, sizeof name, ", %.*s, ", (int)strcspn(at, ","), at);
        if (!strstr(unread, name)) fail_msg("replayed aside, %s differ", tables);
    }
}

static void test_random(void **state)
{
    (void)state;
    struct kit kit, twin, replayed, aside;
    struct seen_list *list = xcalloc(1, sizeof *list);
    const struct replay_aside way = {list, list_find, list_add};
    struct failure failure = {0};
    struct buffer content = {0};
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 10) : clock_wall_ms() | 1;
    unsigned long long start = random_state;
    print_message("SEED=%llu\n", start);
    kit_open(&kit, 4, 1, NONE);
    kit_open(&twin, 4, 1, NONE);
    kit_activate(&kit, KEY_RECORDS);
    kit_activate(&twin, KEY_RECORDS);
    for (unsigned i = 1; i <= 8; i++) {
        kit_add_user(&kit, i, role_names[i], "Mercy", "Somebody");
        kit_add_user(&twin, i, role_names[i], "Mercy", "Somebody");
    }
    for (unsigned user = 3; user <= 4; user++)
        for (unsigned patient = 5; patient <= 6; patient++) {
            kit_add_team(&kit, patient, user);
            kit_add_team(&twin, patient, user);
        }
    kit_content(&content, "ciphertext and its tag");
    apply_random_blocks(&kit, &twin, buffer_bytes(&content));
    kit_open_empty(&replayed, &kit);
    kit_replay_all(&replayed, &kit);
    struct digest a = ledger_root(kit.ledger), b = ledger_root(twin.ledger), c = ledger_root(replayed.ledger);
    assert_true(digest_equal(&a, &b) && digest_equal(&a, &c));
    assert_string_equal(kit_difference(&kit, &twin), "");
    assert_string_equal(kit_difference(&kit, &replayed), "");
    kit_open_empty(&aside, &kit);
    if (replay_aside(&aside, &kit, ledger_size(kit.ledger), &way, &failure) != OK) fail_msg("%s", failure.text);
    struct digest d = ledger_root(aside.ledger);
    assert_true(digest_equal(&a, &d));
    assert_only_unread(kit_difference(&kit, &aside));
    struct meta meta;
    assert_int_equal(state_meta_get(&meta, kit.txn), OK);
    print_message("%llu leaves, %llu denied, %llu records, %llu users\n", (unsigned long long)meta.size,
                  (unsigned long long)meta.denied, (unsigned long long)meta.records, (unsigned long long)meta.users);
    assert_true(meta.roots >= 1);
    assert_true(meta.denied > 50 && meta.size - meta.denied > 50); /* it did try things */
    buffer_free(&content);
    kit_close(&kit);
    kit_close(&twin);
    kit_close(&replayed);
    kit_close(&aside);
    free(list);
}

/* --- proofs from the tables --- */

static void test_proofs(void **state)
{
    (void)state;
    struct altered t;
    struct tree_proof proof, same;
    static struct proof_cache cache; /* sizes differ, hashes do not */
    struct buffer leaf = {0};
    struct digest hash, root, older;
    altered_open(&t);
    uint64_t size;
    assert_int_equal(proof_size(&size, t.kit.txn), OK);
    assert_int_equal(size, ledger_size(t.kit.ledger));
    for (uint64_t n = 1; n <= size; n++) {
        assert_int_equal(proof_root(&root, t.kit.txn, n), OK);
        for (uint64_t i = 0; i < n; i++) {
            assert_int_equal(proof_leaf(&leaf, t.kit.txn, i), OK);
            tree_leaf_hash(&hash, buffer_bytes(&leaf));
            assert_int_equal(proof_inclusion(&proof, t.kit.txn, i, n), OK);
            assert_int_equal(proof_inclusion_cached(&same, &cache, t.kit.txn, i, n), OK);
            assert_int_equal(same.count, proof.count);
            assert_memory_equal(same.hashes, proof.hashes, proof.count * sizeof proof.hashes[0]);
            assert_int_equal(tree_inclusion_verify(&hash, i, n, proof.hashes, proof.count, &root), OK);
            assert_int_equal(proof_root(&older, t.kit.txn, i + 1), OK);
            assert_int_equal(proof_consistency(&proof, t.kit.txn, i + 1, n), OK);
            assert_int_equal(tree_consistency_verify(i + 1, n, proof.hashes, proof.count, &older, &root), OK);
        }
    }
    root = ledger_root(t.kit.ledger);
    assert_int_equal(proof_root(&older, t.kit.txn, size), OK);
    assert_true(digest_equal(&root, &older));
    assert_int_equal(proof_root(&older, t.kit.txn, size + 1), ERR_INVALID);
    assert_int_equal(proof_inclusion(&proof, t.kit.txn, size, size), ERR_INVALID);
    assert_int_equal(proof_inclusion(&proof, t.kit.txn, 0, size + 1), ERR_INVALID);
    assert_int_equal(proof_inclusion_cached(&proof, &cache, t.kit.txn, size, size), ERR_INVALID);
    assert_int_equal(proof_inclusion_cached(&proof, &cache, t.kit.txn, 0, size + 1), ERR_INVALID);
    assert_int_equal(proof_consistency(&proof, t.kit.txn, 0, size), ERR_INVALID);
    assert_int_equal(proof_consistency(&proof, t.kit.txn, 1, size + 1), ERR_INVALID);
    assert_int_equal(proof_consistency(&proof, t.kit.txn, 3, 2), ERR_INVALID);
    assert_int_equal(proof_leaf(&leaf, t.kit.txn, size), ERR_NOT_FOUND);
    buffer_free(&leaf);
    altered_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_altered),  cmocka_unit_test(test_every_bit),   cmocka_unit_test(test_false_approval),
        cmocka_unit_test(test_repeated), cmocka_unit_test(test_genesis),     cmocka_unit_test(test_attachments),
        cmocka_unit_test(test_aside),    cmocka_unit_test(test_verdict_of_another_key),
        cmocka_unit_test(test_random),   cmocka_unit_test(test_proofs),
    };
    return cmocka_run_group_tests_name("ledger/replay", tests, NULL, NULL);
}
