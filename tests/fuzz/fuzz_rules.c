/* The rules over anything: the ledger of a small hospital, each input in a transaction that is aborted. First byte
 *   even: one row of the store has another value (the table, which row, whether the rest replaces the value or is
 *         xored onto it), and all who read rows do so: queries, the scrub, what opens a ledger. An error, a finding
 *         or another answer, never a crash;
 *   odd:  one of four people, or a node, signs an operation (the action, whether the rest is all arguments or a byte
 *         says how long they are before the attachment). It is decided, and the scrub finds nothing wrong after it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "ledger/alarm.h"
#include "ledger/fields.h"
#include "ledger/keygen.h"
#include "ledger/names.h"
#include "ledger/proof.h"
#include "ledger/release.h"
#include "ledger/scan.h"
#include "ledger/state_digest.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})
#define RECORD sample_id(1000)
#define DOCTOR 1
#define AUDITOR 2
#define PATIENT 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kit kit;
static struct buffer questions; /* a block with a query of each kind */

static void act(const struct kit_actor *who, const struct arguments *args, struct bytes content)
{
    CHECK(kit_do(&kit, who, args, content)->code == OK);
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
    act(doctor, &a, NONE);
    a = (struct arguments){.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(PATIENT), bytes_text("bill.print"), bytes_text("B-17")};
    act(doctor, &a, bytes_text("a note"));
    buffer_free(&content);
}

static void alarms(void)
{
    struct kit_actor node = kit_node(&kit, 1);
    struct arguments a = {.action = ACTION_NODE_ALARM};
    CHECK(sample_arguments(&a, ACTION_NODE_ALARM, true));
    (void)kit_do(&kit, &node, &a, NONE);
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

static void make(void)
{
    kit_open(&kit, 4, 1, NONE);
    kit_activate(&kit, KEY_RECORDS);
    struct kit_actor doctor = kit_add_user(&kit, DOCTOR, "doctor", "Mercy", "Dr. House");
    kit_add_user(&kit, AUDITOR, "auditor", "Mercy", "An Auditor");
    kit_add_user(&kit, PATIENT, "patient", "Mercy", "Jane Doe");
    kit_add_team(&kit, PATIENT, DOCTOR);
    records(&doctor);
    alarms();
    ask_all(&doctor);
    kit_reopen(&kit);
    ledger_free(kit.ledger);
    kit.ledger = NULL;
    store_abort(kit.txn);
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

static void read_whole(struct table_txn *txn)
{
    static struct alarm open[64];
    struct epoch epoch;
    struct keygen keygen;
    struct meta meta;
    struct applied applied;
    struct ledger *ledger;
    struct buffer text = {0};
    uint64_t index, time;
    size_t count;
    (void)state_epoch_get(&epoch, txn, KEY_RECORDS, 0);
    (void)keygen_get(&keygen, txn, KEY_RECORDS);
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

/* A whole pass, over everything that it finds. */
static unsigned scrub(struct table_txn *txn)
{
    struct scan s = {0};
    struct damage found;
    unsigned findings = 0;
    scan_begin(&s, &kit.genesis);
    for (enum err e = OK; e == OK && s.phase != SCAN_DONE && findings < 1000;) {
        e = scan_step(&s, txn, UINT64_C(1) << 40, &found);
        if (e != OK || found.kind == DAMAGE_NONE) continue;
        CHECK(memchr(found.text, 0, sizeof found.text) && found.text[0]);
        findings++;
        if (found.kind == DAMAGE_STORE || (found.kind == DAMAGE_STATE && s.end == 0)) break; /* nothing behind it */
        scan_pass_over(&s, &found);
    }
    CHECK(findings < 1000);
    scan_free(&s);
    return findings;
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
    CHECK(state_meta_get(&meta, kit.txn) == OK);
    change(&after, buffer_bytes(&before), in.data[2] & 1, bytes_of(in.data + 3, in.size - 3));
    CHECK(table_put(kit.txn, table, buffer_bytes(&key), buffer_bytes(&after)) == OK);
    read_people(kit.txn);
    read_records(kit.txn, meta.size);
    scrub(kit.txn);
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

static void with_an_operation(struct bytes in)
{
    struct ledger *ledger;
    struct buffer block = {0};
    if (in.size < 4) return;
    struct kit_actor who = actor_of(in.data[0]);
    size_t most = in.size - 4, size = in.data[2] & 1 && in.data[3] < most ? in.data[3] : most;
    struct bytes args = bytes_of(in.data + 4, size), attached = bytes_of(args.data + size, most - size);
    struct unpack u = unpack_start(args);
    unpack_array_raw(&u);
    if (unpack_done(&u) != OK) return; /* the builder makes no such operation */
    CHECK(ledger_open(&ledger, kit.txn, NULL) == OK);
    if (operation_block(&block, &who, in.data[1], args, attached) &&
        apply(ledger, kit.txn, buffer_bytes(&block)) != ERR_MALFORMED) {
        CHECK(kit.results.count == 1);
        CHECK(scrub(kit.txn) == 0);
    }
    ledger_free(ledger);
    buffer_free(&block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!kit.store) make();
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    CHECK(store_begin_write(&kit.txn, kit.store) == OK);
    if (data[0] & 1)
        with_an_operation(in);
    else
        with_another_row(in);
    store_abort(kit.txn);
    return 0;
}
