/* The rows that follow a log query, and what proves them (ledger/query.h): the ledger of a small hospital in which
 * people asked for parts of its log. Of any entry, from anywhere, for anybody: whoever may see rows gets just those
 * that its filter fits, oldest first, in pages that go on where the last one ended; and just what proves them.
 *
 * First byte even: the ledger as it is; odd: a row of the store has another value, which is an error, or another
 * answer. Then which entry, who asks, from where, and which leaves. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "ledger/fields.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "ledger/query.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/rows_seed.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

#define NONE ((struct bytes){0})
#define DOCTOR 1
#define AUDITOR 2
#define PATIENT 5
#define DISABLED 6
#define LEAVES_MOST 96

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kit kit;
static uint64_t size_now;

/* --- the ledger --- */

static void act(unsigned user, const struct arguments *args, struct bytes content)
{
    struct kit_actor who = user ? kit_user(user) : kit.root;
    CHECK(kit_do(&kit, &who, args, content)->code == OK);
}

static void event(unsigned user)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(PATIENT), bytes_text("bill.print"), bytes_text("B-17")};
    act(user, &a, user == DOCTOR ? bytes_text("a note") : NONE);
}

/* What somebody may or may not ask: the bits say which parts of the filter are there. */
static void ask(unsigned user, unsigned parts)
{
    struct arguments a = {.action = ACTION_LOG_QUERY, .log_query = {.limit = 1 + parts}};
    struct args_log_query *q = &a.log_query;
    if (parts & 1) q->patient = sample_id(PATIENT);
    if (parts & 2) q->actor = sample_id(user);
    if (parts & 4) q->action = ACTION_EVENT_ADD;
    if (parts & 8) q->decision = DECISION_DENIED;
    q->follow = parts & 16;
    if (parts & 32) q->from_ms = kit.now - 5 * KIT_TICK, q->to_ms = kit.now + 50 * KIT_TICK;
    act(user, &a, NONE);
}

static void close_ledger(void) { kit_close(&kit); }

static void setup(void)
{
    struct arguments disable = {.action = ACTION_USER_DISABLE, .user_disable = {sample_id(DISABLED), true}};
    struct arguments export = {.action = ACTION_LEDGER_EXPORT};
    kit_open(&kit, 4, 1, NONE);
    kit_add_user(&kit, DOCTOR, "doctor", "Mercy", "Gregory House");
    kit_add_user(&kit, AUDITOR, "auditor", "Mercy", "Ann Auditor");
    kit_add_user(&kit, PATIENT, "patient", "Mercy", "Jane Doe");
    kit_add_user(&kit, DISABLED, "auditor", "Mercy", "Gone Auditor");
    kit_add_team(&kit, PATIENT, DOCTOR);
    for (unsigned i = 0; i < 3; i++) event(DOCTOR), event(AUDITOR);
    static const unsigned parts[] = {16, 17, 18, 19, 20, 24, 48, 1, 2, 0, 55};
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++)
        ask(AUDITOR, parts[i]), ask(PATIENT, parts[i]), ask(DOCTOR, parts[i]);
    ask(DISABLED, 16);
    act(AUDITOR, &export, NONE);
    act(DISABLED, &export, NONE);
    act(0, &disable, bytes_text("left"));
    for (unsigned i = 0; i < 3; i++) event(DOCTOR);
    kit_reopen(&kit);
    CHECK(proof_size(&size_now, kit.txn) == OK && size_now <= LEAVES_MOST);
    atexit(close_ledger);
}

/* --- what must come of it --- */

struct asked {
    bool exists, may; /* an approved log query; whose actor may still ask it */
    struct actor actor;
    struct args_log_query args;
    struct buffer raw; /* args point into it */
};

static bool leaf_at(struct leaf *leaf, struct buffer *raw, uint64_t index)
{
    if (index >= size_now) return false;
    CHECK(proof_leaf(raw, kit.txn, index) == OK && leaf_decode(leaf, buffer_bytes(raw)) == OK);
    return true;
}

static struct asked asked_at(uint64_t entry)
{
    struct asked a = {0};
    struct leaf leaf;
    struct id gone = sample_id(DISABLED);
    if (!leaf_at(&leaf, &a.raw, entry) || entry == 0 || leaf.decision != DECISION_APPROVED) return a;
    a.exists = leaf.operation.action == ACTION_LOG_QUERY && args_log_query_decode(&a.args, leaf.operation.args) == OK;
    a.actor = leaf.operation.actor;
    a.may = a.exists && !id_equal(&a.actor.id, &gone);
    return a;
}

static bool fits(const struct args_log_query *q, uint64_t index)
{
    struct buffer raw = {0};
    struct leaf leaf;
    uint8_t key[LOG_SUBJECT_KEY];
    bool in = leaf_at(&leaf, &raw, index);
    if (in && leaf.index == 0) leaf.decision = DECISION_APPROVED;
    in = in && leaf.time_ms >= q->from_ms && (!q->to_ms || leaf.time_ms <= q->to_ms);
    in = in && (!q->action || leaf.operation.action == q->action) && (!q->decision || leaf.decision == q->decision);
    in = in && (id_is_zero(&q->actor) || id_equal(&q->actor, &leaf.operation.actor.id));
    state_log_subject_key(key, &q->patient, index);
    if (in && !id_is_zero(&q->patient)) in = table_exists(kit.txn, TABLE_LOG_SUBJECT, BYTES(key)) == OK;
    buffer_free(&raw);
    return in;
}

/* The rows of a page, each of which fits, and none is left out up to where it goes on. */
static void check_page(const struct asked *a, struct bytes rows, uint64_t from, uint64_t next)
{
    struct unpack u = unpack_start(rows);
    uint32_t count = unpack_array(&u, LIMIT_ROWS);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes raw = unpack_raw(&u);
        struct unpack row = unpack_start(raw);
        unpack_array_of(&row, 11);
        uint64_t index = unpack_uint(&row);
        CHECK(row.error == OK && index >= from && index < next && fits(&a->args, index));
        while (from < index) CHECK(!fits(&a->args, from++));
        from = index + 1;
    }
    CHECK(unpack_done(&u) == OK);
    while (from < next && from < size_now) CHECK(!fits(&a->args, from++));
}

static void follow(const struct asked *a, uint64_t entry, uint64_t from)
{
    struct buffer rows = {0};
    uint64_t next = 0;
    enum err code = query_follow(&rows, &next, kit.txn, entry, from);
    CHECK(code == (!a->exists || !a->args.follow ? ERR_NOT_FOUND : a->may ? OK : ERR_DENIED));
    if (code == OK) {
        CHECK(next >= from && (next > from || from >= size_now));
        check_page(a, buffer_bytes(&rows), from, next);
        fuzz_taken = true;
    }
    buffer_free(&rows);
}

static void shows(const struct asked *a, uint64_t entry, const struct actor *who, const uint64_t *indexes, size_t count)
{
    bool all = true;
    for (size_t i = 0; i < count; i++)
        all = all && fits(&a->args, indexes[i]) && (a->args.follow || indexes[i] < entry);
    enum err code = query_shows(kit.txn, entry, who, indexes, count);
    if (!a->exists)
        CHECK(code == ERR_NOT_FOUND);
    else if (!actor_equal(&a->actor, who))
        CHECK(code == ERR_UNAUTHORIZED);
    else
        CHECK(code == (!a->may ? ERR_DENIED : all ? OK : ERR_UNAUTHORIZED));
    if (code == OK) fuzz_taken = true;
}

/* An auditor may, also by the id of an entry that this state does not have. */
static void may_export(const struct actor *who, uint64_t entry)
{
    struct kit_actor auditor = kit_user(AUDITOR);
    enum err code = query_may_export(kit.txn, who, entry);
    CHECK(code == (actor_equal(who, &auditor.actor) ? OK : entry < size_now ? ERR_UNAUTHORIZED : ERR_NOT_READY));
}

/* --- a state that is damaged --- */

static void damage(struct choices *in)
{
    static const uint8_t tables[] = {TABLE_LEAF, TABLE_LOG_SUBJECT, TABLE_LOG_ACTOR, TABLE_POLICY, TABLE_USER,
                                     TABLE_ATTACHMENT, TABLE_META, TABLE_TEAM};
    struct table_cursor *c;
    struct buffer value = {0}, key = {0};
    uint8_t table = tables[choose(in) % sizeof tables];
    unsigned row = choose(in), how = choose(in);
    CHECK(table_cursor_open(&c, kit.txn, table) == OK);
    enum err e = table_cursor_seek(c, NONE);
    while (e == OK && row--) e = table_cursor_next(c);
    if (e == OK) {
        CHECK(table_cursor_value(c, &value) == OK);
        buffer_append_bytes(&key, table_cursor_key(c));
    }
    table_cursor_close(c);
    if (how & 1) choose_flip(in, value.data, value.size);
    if (how & 2) value.size -= value.size ? how % value.size : 0;
    if (how & 4) buffer_clear(&value), buffer_append_bytes(&value, choose_bytes(in, how));
    if (key.size && how & 8) CHECK(table_delete(kit.txn, table, buffer_bytes(&key)) == OK);
    if (key.size && !(how & 8)) CHECK(table_put(kit.txn, table, buffer_bytes(&key), buffer_bytes(&value)) == OK);
    buffer_free(&key);
    buffer_free(&value);
}

static void try_all(uint64_t entry, const struct actor *who, uint64_t from, const uint64_t *indexes, size_t count)
{
    struct buffer rows = {0};
    uint64_t next = from;
    enum err code = query_follow(&rows, &next, kit.txn, entry, from);
    if (code == OK) {
        struct unpack u = unpack_start(buffer_bytes(&rows));
        for (uint32_t i = unpack_array(&u, LIMIT_ROWS); i > 0; i--) (void)unpack_raw(&u);
        CHECK(unpack_done(&u) == OK && next >= from);
        fuzz_taken = true;
    }
    CHECK(err_text(code)[0] && err_text(query_shows(kit.txn, entry, who, indexes, count))[0]);
    CHECK(err_text(query_may_export(kit.txn, who, entry))[0]);
    buffer_free(&rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned people[] = {DOCTOR, AUDITOR, PATIENT, DISABLED};
    struct choices in = choices_of(bytes_of(data, size));
    uint64_t indexes[8];
    if (!kit.store) setup();
    bool damaged = choose(&in) & 1;
    uint64_t entry = choose(&in), from = choose(&in);
    unsigned who = choose(&in);
    size_t count = choose(&in) % 8;
    for (size_t i = 0; i < count; i++) indexes[i] = choose(&in);
    struct kit_actor actor = who & 4 ? kit_node(&kit, 1) : kit_user(people[who % 4]);
    if (who & 8) actor.actor.key.bytes[0] ^= 1; /* with another key of theirs */
    if (damaged) {
        damage(&in);
        try_all(entry, &actor.actor, from, indexes, count);
    } else {
        struct asked a = asked_at(entry);
        follow(&a, entry, from);
        shows(&a, entry, &actor.actor, indexes, count);
        if (a.exists) shows(&a, entry, &a.actor, indexes, count);
        may_export(&actor.actor, entry);
        buffer_free(&a.raw);
    }
    store_abort(kit.txn);
    CHECK(store_begin_write(&kit.txn, kit.store) == OK);
    return 0;
}
