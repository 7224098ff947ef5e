/* The rules over anything: the ledger of a small hospital, each input in a transaction that is aborted. First byte
 *   even:    one row of the store has another value (the table, which row, flags, the value or what is xored onto it),
 *            is gone or stands under another key, and all who read rows do so: queries, the scrub, what opens a ledger.
 *            An error, a finding or another answer, never a crash. The scrub finds the same when its position is kept
 *            in between; and where all findings can be mended, the state is then what it was;
 *   odd:     one of four people, or a node, signs an operation (the action, flags, all arguments, or by flag 1 a byte
 *            says how long they are before the attachment);
 *   odd, +2: up to twenty operations one after another that may well be approved (tests/lib/rules_seed.h), of four
 *            bytes each after the flags.
 * They are decided, and the scrub finds nothing wrong after them. Then their leaves are replayed into the state as it
 * was before, and it becomes the same. By flag 2 the input's last three bytes change the last leaf: nothing is taken
 * that differs in more than its time. By flag 4 it is replayed as those do who only verify, by flag 8 with a verdict on
 * its signature of another key, which counts for nothing; by flag 16 leaves are tried that a node makes up: that it was
 * decided otherwise, was about somebody else, and once more. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "ledger/alarm.h"
#include "ledger/checkpoint.h"
#include "ledger/fields.h"
#include "ledger/keygen.h"
#include "ledger/names.h"
#include "ledger/proof.h"
#include "ledger/query.h"
#include "ledger/release.h"
#include "ledger/rules.h"
#include "ledger/scan.h"
#include "ledger/state_digest.h"
#include "tests/lib/rules_seed.h"
#include "tests/lib/taken.h"

#define NONE ((struct bytes){0})
#define RECORD sample_id(RECORDS)
#define STEPS 20 /* operations of one input */
#define ALL (UINT64_C(1) << 40)
/* of a row */
#define FLAG_XORED 1
#define FLAG_GONE 2
#define FLAG_OTHER_KEY 4
#define FLAG_MENDED 8
#define FLAG_PARTS 16
/* of operations */
#define FLAG_CHANGED 2
#define FLAG_ASIDE 4
#define FLAG_VERDICT 8
#define FLAG_FORGED 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kit kit;
static struct buffer questions; /* a block with a query of each kind */
static struct kit_actor kit_auditor;
static uint64_t chart_leaf, follow_leaf; /* a read of a chart, and a query of the log that is followed */

static uint64_t act(const struct kit_actor *who, const struct arguments *args, struct bytes content)
{
    const struct ledger_result *result = kit_do(&kit, who, args, content);
    CHECK(result->code == OK && result->decision == DECISION_APPROVED);
    return result->leaf_index;
}

static void records(const struct kit_actor *doctor)
{
    struct buffer content = {0};
    struct arguments a = {.action = ACTION_RECORD_CREATE};
    kit_content(&content, "what was found then");
    a.record_create = (struct args_record_create){.record = RECORD, .patient = sample_id(PATIENT),
                                                  .kind = bytes_text("Observation"), .content_tag = sample_digest(1)};
    act(doctor, &a, buffer_bytes(&content));
    a = (struct arguments){.action = ACTION_RECORD_READ};
    a.record_read = (struct args_record_read){.patient = sample_id(PATIENT), .limit = 20};
    a.record_read.reader_key.bytes[0] = 9;
    chart_leaf = act(doctor, &a, NONE);
    a = (struct arguments){.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(PATIENT), bytes_text("bill.print"), bytes_text("B-17")};
    act(doctor, &a, bytes_text("a note"));
    buffer_free(&content);
}

/* So many that what was seen long ago is forgotten after some more (SEEN_PRUNE_EVERY). */
static void events(const struct kit_actor *doctor)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(PATIENT), bytes_text("bill.print"), NONE};
    while (ledger_size(kit.ledger) < SEEN_PRUNE_EVERY - STEPS / 2) act(doctor, &a, NONE);
}

static void follow(void)
{
    struct arguments a = {.action = ACTION_LOG_QUERY};
    kit_auditor = kit_user(AUDITOR);
    a.log_query = (struct args_log_query){.patient = sample_id(PATIENT), .limit = 20, .follow = true};
    follow_leaf = act(&kit_auditor, &a, NONE);
}

/* The last leaf that is there from the start. */
static void alarms(void)
{
    struct kit_actor node = kit_node(&kit, 1);
    struct arguments a = {.action = ACTION_NODE_ALARM};
    a.node_alarm = (struct args_node_alarm){.kind = ALARM_MODIFIED, .named = 2, .status = ALARM_OPEN};
    act(&node, &a, NONE);
}

/* A checkpoint that k nodes cosigned, as it is kept (consensus/witness_rows.h). */
static void witnessed(void)
{
    struct checkpoint checkpoint;
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature cosignatures[LIMIT_NODES] = {{0}};
    struct buffer note = {0}, row = {0};
    struct digest root = ledger_root(kit.ledger);
    uint8_t key[8];
    put_be64(key, ledger_size(kit.ledger));
    checkpoint_set(&checkpoint, &kit.genesis, ledger_size(kit.ledger), &root);
    uint32_t count = cosigners_of_genesis(cosigners, &kit.genesis);
    for (uint32_t i = 0; i < kit.genesis.quorum; i++)
        checkpoint_cosign(&cosignatures[i], &checkpoint, kit.now / 1000, &kit.nodes[i + 1].cosign);
    checkpoint_format(&note, &checkpoint, cosigners, cosignatures, count);
    pack_array(&row, 6);
    pack_uint(&row, checkpoint.size);
    for (unsigned i = 0; i < 3; i++) pack_uint(&row, 1); /* Raft's index and term, time */
    pack_digest(&row, &root);
    pack_bytes(&row, buffer_bytes(&note));
    CHECK(table_put(kit.txn, TABLE_CHECKPOINT, BYTES(key), buffer_bytes(&row)) == OK);
    buffer_free(&note);
    buffer_free(&row);
}

#define QUESTIONS 8
static void ask_all(const struct kit_actor *doctor)
{
    struct buffer requests[QUESTIONS] = {{0}};
    struct bytes views[QUESTIONS];
    struct arguments all[QUESTIONS] = {
        {.action = ACTION_RECORD_READ}, {.action = ACTION_RECORD_HISTORY}, {.action = ACTION_RECORD_LIST},
        {.action = ACTION_TEAM_LIST},   {.action = ACTION_USER_SEARCH},    {.action = ACTION_LOG_QUERY},
        {.action = ACTION_LOG_QUERY},   {.action = ACTION_RECORD_UPDATE},
    };
    all[0].record_read = (struct args_record_read){.patient = sample_id(PATIENT), .limit = 20};
    all[0].record_read.reader_key.bytes[0] = 9;
    all[1].record_history.record = RECORD;
    all[2].record_list = (struct args_record_list){.patient = sample_id(PATIENT), .limit = 20};
    all[3].team_list.patient = sample_id(PATIENT);
    all[4].user_search.limit = 20;
    all[5].log_query.limit = 20;
    all[6].log_query = (struct args_log_query){.patient = sample_id(PATIENT), .limit = 20};
    all[7].record_update = (struct args_record_update){.record = RECORD, .patient = sample_id(PATIENT),
                                                       .base_version = 1, .conf = CONF_NORMAL};
    struct kit_actor auditor = kit_user(AUDITOR);
    struct buffer content = {0};
    kit_content(&content, "what is known now");
    for (unsigned i = 0; i < QUESTIONS; i++) {
        kit_request(&kit, &requests[i], i == 5 ? &auditor : i == 4 ? &kit.root : doctor, &all[i],
                    i == 7 ? buffer_bytes(&content) : NONE);
        views[i] = buffer_bytes(&requests[i]);
    }
    block_encode(&questions, kit.now, views, QUESTIONS);
    for (unsigned i = 0; i < QUESTIONS; i++) buffer_free(&requests[i]);
    buffer_free(&content);
}

static void remove_store(void) { store_close(kit.store); } /* and its folder: no transaction is open between inputs */

static void make(void)
{
    kit_open(&kit, 4, 1, NONE);
    kit_activate(&kit, KEY_RECORDS);
    struct kit_actor doctor = kit_add_user(&kit, DOCTOR, "doctor", "Mercy", "Dr. House");
    kit_add_user(&kit, AUDITOR, "auditor", "Mercy", "An Auditor");
    kit_add_user(&kit, PATIENT, "patient", "Mercy", "Jane Doe");
    kit_add_user(&kit, OTHER_PATIENT, "patient", "General", "John Smith");
    kit_add_user(&kit, REGISTRAR, "registrar", "Mercy", "A Registrar");
    kit_add_user(&kit, NURSE, "nurse", "Mercy", "A Nurse");
    kit_add_team(&kit, PATIENT, DOCTOR);
    kit_add_team(&kit, PATIENT, NURSE);
    records(&doctor);
    events(&doctor);
    follow();
    alarms();
    witnessed();
    ask_all(&doctor);
    kit_reopen(&kit);
    ledger_free(kit.ledger);
    kit.ledger = NULL;
    store_abort(kit.txn);
    CHECK(atexit(remove_store) == 0);
}

static enum err apply(struct ledger *ledger, struct table_txn *txn, struct bytes encoded)
{
    static const bool wanted[LIMIT_BLOCK_REQUESTS] = {true, true, true, true, true, true, true, true};
    struct block block;
    uint64_t index, term;
    ledger_applied(ledger, &index, &term);
    if (index == UINT64_MAX || block_decode(&block, encoded) != OK) return ERR_MALFORMED;
    enum err e = ledger_apply(ledger, txn, &kit.results, &block, wanted, index + 1, term);
    block_free(&block);
    return e;
}

/* --- the readers --- */

static void read_people(struct table_txn *txn)
{
    static struct names names;
    struct user user;
    struct team_row team;
    struct id person = sample_id(DOCTOR), patient = sample_id(PATIENT), id;
    struct kit_actor doctor = kit_user(DOCTOR);
    (void)state_user_get(&user, txn, &person);
    (void)state_key_get(&id, txn, &doctor.key);
    (void)state_team_get(&team, txn, &patient, &person);
    names = (struct names){0};
    (void)names_load(&names, txn);
    names_free(&names);
}

static void read_records(struct table_txn *txn, uint64_t leaves)
{
    static struct opened opened[LIMIT_OPENED];
    static struct release release;
    static struct content_info info;
    struct record record;
    struct version version;
    struct id id = RECORD;
    struct opened_rest rest;
    size_t count;
    (void)state_record_get(&record, txn, &id);
    (void)state_version_get(&version, txn, &id, 1);
    for (uint64_t i = 0; i < leaves; i++) {
        if (state_opened_get(opened, &count, &rest, txn, i) == OK) CHECK(count <= LIMIT_OPENED);
        (void)release_load(&release, txn, i);
        (void)state_content_get(&info, txn, i);
    }
}

/* The places of the entries whose rows these are. */
static size_t places_of(uint64_t places[static LIMIT_ROWS], struct bytes rows)
{
    struct unpack u = unpack_start(rows);
    uint32_t count = unpack_array(&u, LIMIT_ROWS);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t fields = unpack_array(&u, 64);
        places[i] = unpack_uint(&u);
        for (uint32_t f = 1; f < fields; f++) unpack_raw(&u);
    }
    CHECK(unpack_done(&u) == OK);
    return count;
}

/* Rows that came since a query of the log, which may then be proved to who sees them. */
static enum err read_followed(struct table_txn *txn, uint64_t index, const struct actor *actor)
{
    static uint64_t places[LIMIT_ROWS];
    struct buffer rows = {0};
    uint64_t next;
    enum err e = query_follow(&rows, &next, txn, index, 0);
    if (e == OK) e = query_shows(txn, index, actor, places, places_of(places, buffer_bytes(&rows)));
    buffer_free(&rows);
    return e;
}

static enum err read_released(struct table_txn *txn, uint64_t index)
{
    static struct release release;
    struct content_info info;
    struct buffer ciphertext = {0};
    enum err e = release_load(&release, txn, index);
    for (size_t i = 0; e == OK && i < release.count; i++) {
        e = release_info(&info, txn, &release, i);
        if (e == OK) e = release_ciphertext(&ciphertext, txn, &release, i, &info);
    }
    buffer_free(&ciphertext);
    return e;
}

/* What sessions ask on for, and what became of an operation: of a sound state. */
static void ask_on(struct table_txn *txn, uint64_t index)
{
    struct leaf leaf;
    struct buffer bytes = {0};
    uint64_t found;
    uint8_t decision;
    uint16_t reason;
    CHECK(proof_leaf(&bytes, txn, index) == OK && leaf_decode(&leaf, buffer_bytes(&bytes)) == OK);
    const struct operation *op = &leaf.operation;
    enum err e = read_followed(txn, index, &op->actor);
    CHECK(e == OK || e == ERR_NOT_FOUND || e == ERR_DENIED);
    e = read_released(txn, index);
    CHECK(e == OK || e == ERR_NOT_FOUND || e == ERR_DENIED);
    e = query_may_export(txn, &op->actor, index);
    CHECK(e == OK || e == ERR_UNAUTHORIZED);
    CHECK(ledger_lookup(&found, &decision, &reason, txn, op->actor.kind, &op->actor.id, op->issued_at_ms,
                        &op->request_id) == OK);
    CHECK(found == index && decision == leaf.decision && reason == leaf.reason);
    buffer_free(&bytes);
}

/* What each member is to do for each secret, and what it was told. */
static void read_keygen(struct table_txn *txn)
{
    static struct keygen_view view;
    struct scalar subshare;
    uint32_t n = kit.genesis.member_count;
    for (uint8_t secret = KEY_RECORDS; secret <= KEY_PASSWORDS; secret++)
        for (unsigned self = 1; self <= n; self++) {
            if (keygen_view(&view, txn, secret, self, n, kit.genesis.quorum) != OK) continue;
            CHECK(view.commit + view.reveal + view.activate <= 1 && (!view.settled || !view.answer));
            for (unsigned dealer = 1; dealer <= n; dealer++)
                (void)keygen_answer_get(&subshare, txn, &view.state, self, dealer);
        }
}

static void read_whole(struct table_txn *txn)
{
    static struct alarm open[64];
    struct epoch epoch;
    struct meta meta;
    struct applied applied;
    struct ledger *ledger;
    struct buffer text = {0};
    uint64_t index, time;
    size_t count;
    (void)state_epoch_get(&epoch, txn, KEY_RECORDS, 0);
    read_keygen(txn);
    (void)read_followed(txn, follow_leaf, &kit_auditor.actor);
    (void)read_released(txn, chart_leaf);
    (void)query_may_export(txn, &kit_auditor.actor, follow_leaf);
    (void)state_meta_get(&meta, txn);
    (void)state_applied_get(&applied, txn);
    (void)state_policy_get(&text, &index, txn);
    (void)state_digest_asked_get(&index, &time, txn);
    (void)state_alarms_open(open, &count, txn, sizeof open / sizeof open[0]);
    buffer_free(&text);
    if (ledger_open(&ledger, txn, &(struct failure){0}) == OK) {
        (void)apply(ledger, txn, buffer_bytes(&questions));
        ledger_free(ledger);
    }
}

/* A whole pass, over everything that it finds. `bytes` at a time, and its position kept in between. */
static unsigned scrub_by(struct table_txn *txn, uint64_t bytes)
{
    struct scan s = {0};
    struct damage found;
    struct buffer position = {0};
    unsigned findings = 0;
    scan_begin(&s, &kit.genesis);
    for (enum err e = OK; e == OK && s.phase != SCAN_DONE && findings < 1000;) {
        e = scan_step(&s, txn, bytes, &found);
        CHECK(scan_permille(&s) <= 1000);
        if (e == OK && found.kind != DAMAGE_NONE) {
            CHECK(memchr(found.text, 0, sizeof found.text) && found.text[0]);
            findings++;
            bool last = found.kind == DAMAGE_STORE || (found.kind == DAMAGE_STATE && s.end == 0);
            if (last) break; /* nothing behind it */
            scan_pass_over(&s, &found);
        }
        if (bytes == ALL || s.end == 0) continue;
        buffer_clear(&position);
        scan_encode(&position, &s);
        scan_free(&s);
        CHECK(position.size <= LIMIT_SCAN_POSITION && scan_decode(&s, &kit.genesis, buffer_bytes(&position)) == OK);
    }
    CHECK(findings < 1000);
    scan_free(&s);
    buffer_free(&position);
    return findings;
}

static unsigned scrub(struct table_txn *txn) { return scrub_by(txn, ALL); }

/* --- mending --- */

/* What another node would send is in `truth`. ERR_INVALID: only a rebuild helps. */
static enum err mend(struct table_txn *truth, const struct damage *d)
{
    struct buffer bytes = {0};
    struct tree before;
    bool changed = false, gone;
    enum err e = ERR_INVALID;
    switch (d->kind) {
    case DAMAGE_LEAF:
        CHECK(proof_leaf(&bytes, truth, d->index) == OK && proof_tree(&before, truth, d->index) == OK);
        e = scan_mend_leaf(kit.txn, &changed, &gone, &before, buffer_bytes(&bytes));
        CHECK(e != OK || changed);
        break;
    case DAMAGE_ATTACHMENT:
        CHECK(ledger_attachment(&bytes, truth, d->index) == OK);
        CHECK(scan_mend_attachment(NULL, kit.txn, d->index, NONE) == ERR_ATTACHMENT);
        e = scan_mend_attachment(NULL, kit.txn, d->index, buffer_bytes(&bytes));
        break;
    case DAMAGE_DERIVED:
    case DAMAGE_STRAY:
    case DAMAGE_LOCAL: e = scan_mend_row(NULL, kit.txn, &kit.genesis, d); break;
    case DAMAGE_STATE:
    case DAMAGE_ROOT:
    case DAMAGE_STORE: break;
    case DAMAGE_NONE: CHECK(!"nothing to mend");
    }
    buffer_free(&bytes);
    CHECK(e == OK || e == ERR_INVALID);
    return e;
}

static struct damage first_finding(void)
{
    struct scan s = {0};
    struct damage found = {.kind = DAMAGE_NONE};
    scan_begin(&s, &kit.genesis);
    enum err e = OK;
    while (e == OK && found.kind == DAMAGE_NONE && s.phase != SCAN_DONE) e = scan_step(&s, kit.txn, ALL, &found);
    CHECK(e == OK);
    scan_free(&s);
    return found;
}

/* One finding after another is mended, until there is none: then the state is what it was. */
static void mend_all(void)
{
    struct table_txn *truth;
    struct damage d;
    unsigned mended = 0;
    CHECK(store_begin_read(&truth, kit.store) == OK);
    while ((d = first_finding()).kind != DAMAGE_NONE && mend(truth, &d) == OK) CHECK(++mended < 100);
    if (mended > 0 && d.kind == DAMAGE_NONE) {
        struct digest is = kit_digest_of(kit.txn), was = kit_digest_of(truth);
        CHECK(digest_equal(&is, &was));
    }
    store_abort(truth);
}

/* --- one row --- */

/* The row that the input chooses. False: its table is empty. */
static bool choose(uint8_t *table, struct buffer *key, struct buffer *value, const uint8_t *choice)
{
    struct table_cursor *c;
    *table = ledger_tables[choice[0] % ledger_tables_count].table;
    uint64_t rows = table_count(kit.txn, *table);
    if (rows == 0) return false;
    CHECK(table_cursor_open(&c, kit.txn, *table) == OK && table_cursor_seek(c, NONE) == OK);
    for (uint64_t i = choice[1] % rows; i > 0; i--) CHECK(table_cursor_next(c) == OK);
    buffer_append_bytes(key, table_cursor_key(c));
    CHECK(table_cursor_value(c, value) == OK);
    table_cursor_close(c);
    return true;
}

static void change(struct buffer *to, struct bytes from, bool xored, struct bytes by)
{
    if (!xored) {
        buffer_append_bytes(to, by);
        return;
    }
    buffer_append_bytes(to, from);
    for (size_t i = 0; i < by.size && i < to->size; i++) to->data[i] ^= by.data[i];
}

static void with_another_row(struct bytes in)
{
    uint8_t table;
    struct meta meta;
    struct buffer key = {0}, before = {0}, after = {0};
    if (in.size < 3 || !choose(&table, &key, &before, in.data)) return;
    fuzz_taken = true;
    unsigned flags = in.data[2];
    CHECK(state_meta_get(&meta, kit.txn) == OK);
    change(&after, buffer_bytes(&before), flags & FLAG_XORED, bytes_of(in.data + 3, in.size - 3));
    if (flags & FLAG_OTHER_KEY) key.data[key.size - 1] ^= in.data[1] | 1;
    if (flags & FLAG_GONE)
        CHECK(table_delete(kit.txn, table, buffer_bytes(&key)) == OK);
    else
        CHECK(table_put(kit.txn, table, buffer_bytes(&key), buffer_bytes(&after)) == OK);
    read_people(kit.txn);
    read_records(kit.txn, meta.size);
    unsigned findings = scrub(kit.txn);
    if (flags & FLAG_PARTS) CHECK(scrub_by(kit.txn, 4096) == findings);
    if (flags & FLAG_MENDED) mend_all();
    read_whole(kit.txn);
    buffer_free(&key);
    buffer_free(&before);
    buffer_free(&after);
}

/* --- one operation --- */

static struct kit_actor actor_of(unsigned choice)
{
    switch (choice % 5) {
    case 0: return kit_user(DOCTOR);
    case 1: return kit_user(AUDITOR);
    case 2: return kit_user(PATIENT);
    case 3: return kit_node(&kit, 2);
    default: return kit.root;
    }
}

/* Signed, in a block of its own. False: it is no operation. */
static bool operation_block(struct buffer *out, const struct kit_actor *who, uint32_t action, struct bytes args,
                            struct bytes attached)
{
    static struct request_builder builder;
    struct operation op = {.cluster = kit.genesis.cluster, .issued_at_ms = kit.now, .actor = who->actor};
    struct buffer attachment = {0}, request = {0};
    uint8_t salt[ATTACHMENT_SALT] = {1};
    op.request_id = sample_id(9999);
    op.action = action;
    op.args = args;
    op.purpose = PURPOSE_TREATMENT;
    if (attached.size) attachment_encode(&attachment, salt, attached);
    bool made = request_builder_add(&builder, &op, buffer_bytes(&attachment)) == OK &&
                request_builder_sign(&request, &builder, &who->secret) == OK;
    request_builder_free(&builder);
    memset(&builder, 0, sizeof builder);
    struct bytes view = buffer_bytes(&request);
    if (made) block_encode(out, kit.now, &view, 1);
    buffer_free(&attachment);
    buffer_free(&request);
    return made;
}

/* --- replay --- */

/* What became of the operations. */
struct story {
    uint64_t first; /* of their leaves */
    unsigned count;
    struct buffer leaves[STEPS], attachments[STEPS];
    struct digest root, state;
};

static void story_read(struct story *s, struct ledger *ledger)
{
    s->count = (unsigned)(ledger_size(ledger) - s->first);
    CHECK(s->count <= STEPS);
    for (unsigned i = 0; i < s->count; i++) {
        CHECK(proof_leaf(&s->leaves[i], kit.txn, s->first + i) == OK);
        enum err e = ledger_attachment(&s->attachments[i], kit.txn, s->first + i);
        CHECK(e == OK || e == ERR_NOT_FOUND);
    }
    s->root = ledger_root(ledger);
    s->state = kit_digest(&kit);
}

static void story_free(struct story *s)
{
    for (unsigned i = 0; i < STEPS; i++) {
        buffer_free(&s->leaves[i]);
        buffer_free(&s->attachments[i]);
    }
}

/* For who only verifies. Nothing occurs twice here. */
static enum err never_seen(void *data, uint64_t *index, const struct replay_leaf *read)
{
    (void)data, (void)index, (void)read;
    return ERR_NOT_FOUND;
}

static enum err add_seen(void *data, const struct replay_leaf *read, uint64_t index, uint64_t time_ms)
{
    CHECK(read->leaf.index == index && read->leaf.time_ms == time_ms);
    ++*(unsigned *)data;
    return OK;
}

static enum err replay_one(struct ledger *ledger, struct tree_memo *memo, struct bytes leaf, unsigned flags)
{
    struct failure failure = {0};
    struct replay_leaf read;
    replay_leaf_read(&read, memo, leaf);
    if (flags & FLAG_VERDICT) {
        read.verified = true;
        memset(&read.key, 7, sizeof read.key);
    }
    enum err e = ledger_replay_read(ledger, kit.txn, &read, &failure);
    if (e != OK) CHECK(failure.code == e && failure.text[0] && text_valid(bytes_text(failure.text)));
    return e;
}

/* A leaf is taken only if it differs in nothing but its time, which the next ones' chain and the root hold. */
static bool replay_changed(struct ledger *ledger, struct tree_memo *memo, struct bytes good, const uint8_t *change,
                           unsigned flags)
{
    struct leaf leaf;
    struct buffer other = {0}, again = {0};
    buffer_append_bytes(&other, good);
    seed_change(&other, &(struct seed_input){change, change + 3});
    bool taken = replay_one(ledger, memo, buffer_bytes(&other), flags) == OK;
    if (taken) {
        CHECK(leaf_decode(&leaf, good) == OK);
        uint64_t time_ms = leaf.time_ms;
        CHECK(leaf_decode(&leaf, buffer_bytes(&other)) == OK);
        leaf.time_ms = time_ms;
        leaf_encode(&again, &leaf);
        CHECK(bytes_equal(buffer_bytes(&again), good));
    }
    buffer_free(&other);
    buffer_free(&again);
    return taken;
}

static void refuse(struct ledger *ledger, struct tree_memo *memo, const struct leaf *leaf, unsigned flags)
{
    struct buffer encoded = {0};
    leaf_encode(&encoded, leaf);
    CHECK(replay_one(ledger, memo, buffer_bytes(&encoded), flags) != OK);
    buffer_free(&encoded);
}

/* The rules say what was decided, and whom it is about. */
static void refuse_forged(struct ledger *ledger, struct tree_memo *memo, struct bytes good, unsigned flags)
{
    struct leaf leaf;
    CHECK(leaf_decode(&leaf, good) == OK);
    struct leaf other = leaf;
    bool approved = leaf.decision == DECISION_APPROVED;
    other.decision = approved ? DECISION_DENIED : DECISION_APPROVED;
    other.reason = approved ? REASON_SCOPE : REASON_NONE;
    refuse(ledger, memo, &other, flags);
    other = leaf;
    other.subject = id_is_zero(&leaf.subject) ? sample_id(PATIENT) : (struct id){{0}};
    refuse(ledger, memo, &other, flags);
}

/* The same operation in another leaf, whose place and chain are right. */
static void refuse_again(struct ledger *ledger, struct tree_memo *memo, struct bytes good, unsigned flags)
{
    struct leaf leaf;
    CHECK(leaf_decode(&leaf, good) == OK);
    leaf.index++;
    leaf.previous = ledger_last(ledger);
    refuse(ledger, memo, &leaf, flags);
}

/* Attachments come later; only those that the leaves name are taken, and once. */
static void attach_all(struct ledger *ledger, struct story *s)
{
    uint64_t missing;
    for (unsigned i = 0; i < s->count; i++) {
        struct bytes attachment = buffer_bytes(&s->attachments[i]);
        if (attachment.size == 0) continue;
        uint64_t index = s->first + i;
        CHECK(ledger_attachment_missing(&missing, kit.txn, s->first) == OK && missing == index);
        s->attachments[i].data[attachment.size - 1] ^= 1;
        CHECK(ledger_attach(ledger, kit.txn, index, attachment) == ERR_ATTACHMENT);
        s->attachments[i].data[attachment.size - 1] ^= 1;
        CHECK(ledger_attach(ledger, kit.txn, index, attachment) == OK);
        CHECK(ledger_attach(ledger, kit.txn, index, attachment) == OK);
    }
    CHECK(ledger_attachment_missing(&missing, kit.txn, s->first) == ERR_NOT_FOUND);
}

/* Into the state that was before it. */
static void replay(struct story *s, const uint8_t *change, unsigned flags)
{
    struct ledger *ledger;
    struct tree_memo memo = {0};
    unsigned seen = 0;
    const struct replay_aside aside = {&seen, never_seen, add_seen};
    bool taken = false; /* a changed one, instead of the last */
    CHECK(ledger_open(&ledger, kit.txn, NULL) == OK && ledger_size(ledger) == s->first);
    if (flags & FLAG_ASIDE) ledger_replay_aside(ledger, &aside);
    for (unsigned i = 0; i < s->count && !taken; i++) {
        struct bytes leaf = buffer_bytes(&s->leaves[i]);
        bool last = i + 1 == s->count;
        if (flags & FLAG_FORGED && last) refuse_forged(ledger, &memo, leaf, flags);
        if (flags & FLAG_CHANGED && last) taken = replay_changed(ledger, &memo, leaf, change, flags);
        if (!taken) CHECK(replay_one(ledger, &memo, leaf, flags) == OK);
    }
    if (!taken) {
        struct digest root = ledger_root(ledger);
        CHECK(digest_equal(&root, &s->root));
    }
    CHECK(seen == (flags & FLAG_ASIDE ? s->count : 0));
    if (!taken && !(flags & FLAG_ASIDE)) {
        if (flags & FLAG_FORGED && s->count > 0)
            refuse_again(ledger, &memo, buffer_bytes(&s->leaves[s->count - 1]), flags);
        attach_all(ledger, s);
        struct digest state = kit_digest(&kit);
        CHECK(digest_equal(&state, &s->state));
    }
    ledger_free(ledger);
}

/* --- operations --- */

static void tell(struct ledger *ledger, struct bytes block)
{
    uint64_t before = ledger_size(ledger);
    enum err e = apply(ledger, kit.txn, block);
    CHECK(e == OK || e == ERR_MALFORMED);
    if (e != OK) return;
    CHECK(kit.results.count == 1);
    enum err code = kit.results.items[0].code;
    CHECK(ledger_size(ledger) == before + (code == OK));
}

/* The story's end is a transaction's; it begins anew. */
static void end(struct story *s, struct ledger *ledger, const uint8_t *change, unsigned flags)
{
    CHECK(scrub(kit.txn) == 0);
    read_keygen(kit.txn);
    story_read(s, ledger);
    for (unsigned i = 0; i < s->count; i++) ask_on(kit.txn, s->first + i);
    ledger_free(ledger);
    fuzz_taken = s->count > 0;
    store_abort(kit.txn);
    CHECK(store_begin_write(&kit.txn, kit.store) == OK);
    replay(s, change, flags);
    story_free(s);
}

/* The last three bytes are the change, if there is one. */
static const uint8_t *take_change(struct bytes *in, unsigned *flags)
{
    if (!(*flags & FLAG_CHANGED) || in->size < 3) {
        *flags &= ~(unsigned)FLAG_CHANGED;
        return NULL;
    }
    in->size -= 3;
    return in->data + in->size;
}

static void with_an_operation(struct bytes in)
{
    static struct story s;
    struct ledger *ledger;
    struct buffer block = {0};
    if (in.size < 4) return;
    unsigned flags = in.data[2];
    const uint8_t *change = take_change(&in, &flags);
    if (in.size < 4) return;
    struct kit_actor who = actor_of(in.data[0]);
    size_t most = in.size - 4, size = flags & 1 && in.data[3] < most ? in.data[3] : most;
    struct bytes args = bytes_of(in.data + 4, size), attached = bytes_of(args.data + size, most - size);
    struct unpack u = unpack_start(args);
    unpack_array_raw(&u);
    if (unpack_done(&u) != OK) return; /* the builder makes no such operation */
    CHECK(ledger_open(&ledger, kit.txn, NULL) == OK);
    s = (struct story){.first = ledger_size(ledger)};
    if (operation_block(&block, &who, in.data[1], args, attached)) tell(ledger, buffer_bytes(&block));
    end(&s, ledger, change, flags);
    buffer_free(&block);
}

/* flags(1), then for each: who, and how much time passes (1), what (1), to what (2). */
static void with_operations(struct bytes in)
{
    static struct story s;
    struct ledger *ledger;
    struct buffer request = {0}, block = {0};
    uint64_t now = kit.now;
    if (in.size < 5) return;
    unsigned flags = in.data[0];
    const uint8_t *change = take_change(&in, &flags);
    CHECK(ledger_open(&ledger, kit.txn, NULL) == OK);
    s = (struct story){.first = ledger_size(ledger)};
    kit.ids = 5000;
    for (size_t i = 1; i + 4 <= in.size && i < 1 + 4 * STEPS; i += 4) {
        const uint8_t *step = in.data + i;
        struct kit_actor who = seed_actor(&kit, step[0] & 15);
        kit.now += (uint64_t)KIT_TICK << 2 * (step[0] >> 4);
        seed_operation(&request, &kit, &who, step[1], step[2], step[3]);
        struct bytes view = buffer_bytes(&request);
        buffer_clear(&block);
        block_encode(&block, kit.now, &view, 1);
        tell(ledger, buffer_bytes(&block));
    }
    end(&s, ledger, change, flags);
    kit.now = now;
    buffer_free(&request);
    buffer_free(&block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!kit.store) make();
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    CHECK(store_begin_write(&kit.txn, kit.store) == OK);
    switch (data[0] & 3) {
    case 1: with_an_operation(in); break;
    case 3: with_operations(in); break;
    default: with_another_row(in);
    }
    store_abort(kit.txn);
    return 0;
}
