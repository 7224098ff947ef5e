/* Scrubbing: a clean store gives no finding, in whatever steps; every kind of damage to
 * every table is found, and what can be repaired is afterwards as it was. */
#include "tests/lib/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/pack.h"
#include "ledger/checkpoint.h"
#include "ledger/proof.h"
#include "ledger/scan.h"
#include "tests/lib/flip.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"

#define NONE ((struct bytes){0})
#define ALL (UINT64_C(1) << 40)
#define RECORD(n) sample_id(1000 + (n))

/* --- a small hospital --- */

struct hospital {
    struct kit kit;
    struct kit_actor doctor, nurse;
    unsigned day;
};

static void act(struct hospital *h, const struct kit_actor *who, const struct arguments *args, const char *content)
{
    struct buffer bytes = {0};
    if (content && args->action >= ACTION_RECORD_CREATE && args->action <= ACTION_RECORD_COPY)
        kit_content(&bytes, content);
    else if (content)
        buffer_append_text(&bytes, content);
    assert_int_equal(kit_do(&h->kit, who, args, buffer_bytes(&bytes))->code, OK);
    buffer_free(&bytes);
}

static void write_record(struct hospital *h, unsigned n, unsigned patient)
{
    struct arguments a = {.action = ACTION_RECORD_CREATE};
    a.record_create = (struct args_record_create){.record = RECORD(n), .patient = sample_id(patient),
                                                  .kind = bytes_text("Observation"), .content_tag = sample_digest(n)};
    act(h, &h->doctor, &a, "the first content of it");
}

static void change_record(struct hospital *h, unsigned n, unsigned patient, uint64_t base)
{
    struct arguments a = {.action = ACTION_RECORD_UPDATE};
    a.record_update = (struct args_record_update){.record = RECORD(n), .patient = sample_id(patient),
                                                  .base_version = base, .conf = CONF_NORMAL};
    act(h, &h->doctor, &a, "another content of it");
}

static void delete_record(struct hospital *h, unsigned n, unsigned patient, uint64_t base)
{
    struct arguments a = {.action = ACTION_RECORD_DELETE};
    a.record_delete = (struct args_record_delete){RECORD(n), sample_id(patient), base};
    act(h, &h->doctor, &a, NULL);
}

static void copy_record(struct hospital *h, unsigned from, unsigned to, unsigned patient)
{
    struct arguments a = {.action = ACTION_RECORD_COPY};
    a.record_copy = (struct args_record_copy){.source = RECORD(from), .source_version = 1, .record = RECORD(to),
                                              .patient = sample_id(patient), .kind = bytes_text("Observation")};
    act(h, &h->doctor, &a, "the copied content of it");
}

static void read_record(struct hospital *h, const struct kit_actor *who, unsigned n, uint64_t version)
{
    struct arguments a = {.action = ACTION_RECORD_READ};
    a.record_read = (struct args_record_read){.record = RECORD(n), .version = version, .limit = 1};
    a.record_read.reader_key.bytes[0] = 9;
    act(h, who, &a, NULL);
}

static void read_chart(struct hospital *h, unsigned patient)
{
    struct arguments a = {.action = ACTION_RECORD_READ};
    a.record_read = (struct args_record_read){.patient = sample_id(patient), .limit = 20};
    a.record_read.reader_key.bytes[0] = 9;
    act(h, &h->doctor, &a, NULL);
}

static void note_event(struct hospital *h, const struct kit_actor *who, unsigned patient)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(patient), bytes_text("bill.print"), bytes_text("B-17")};
    act(h, who, &a, "a note");
}

static void give_role(struct hospital *h, unsigned user, const char *role)
{
    struct arguments a = {.action = ACTION_ROLE_ASSIGN};
    a.role_assign = (struct args_role_assign){sample_id(user), bytes_text(role)};
    act(h, &h->kit.root, &a, NULL);
}

static void leave_team(struct hospital *h, unsigned patient, unsigned user)
{
    struct arguments a = {.action = ACTION_TEAM_ASSIGN};
    a.team_assign = (struct args_team_assign){sample_id(patient), sample_id(user), true};
    act(h, &h->kit.root, &a, NULL);
}

static void set_policy(struct hospital *h)
{
    struct arguments a = {.action = ACTION_POLICY_SET};
    struct buffer text = {0};
    buffer_append_bytes(&text, kit_default_policy());
    buffer_append_text(&text, "\n# another day\n");
    a.policy_set.policy = buffer_bytes(&text);
    act(h, &h->kit.root, &a, NULL);
    buffer_free(&text);
}

static void rename_person(struct hospital *h, unsigned user)
{
    struct arguments a = {.action = ACTION_USER_UPDATE};
    a.user_update = (struct args_user_update){.user = sample_id(user), .login_tag = sample_digest(70 + user)};
    act(h, &h->kit.root, &a, "particulars");
}

static void hospital_open(struct hospital *h)
{
    memset(h, 0, sizeof *h);
    kit_open(&h->kit, 4, 1, NONE);
    kit_activate(&h->kit, KEY_RECORDS);
    h->doctor = kit_add_user(&h->kit, 1, "doctor", "Mercy", "Dr. House");
    h->nurse = kit_add_user(&h->kit, 2, "nurse", "Mercy", "Nurse Joy");
    kit_add_user(&h->kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_user(&h->kit, 6, "patient", "Mercy", "John Doe");
    kit_add_team(&h->kit, 5, 1);
    kit_add_team(&h->kit, 5, 2);
    kit_add_team(&h->kit, 6, 1);
    leave_team(h, 5, 2);
    write_record(h, 1, 5);
    write_record(h, 2, 5);
    change_record(h, 1, 5, 1);
    change_record(h, 1, 5, 2);
    copy_record(h, 1, 3, 6);
    read_record(h, &h->doctor, 1, 0);
    read_record(h, &h->doctor, 1, 1);
    read_record(h, &h->nurse, 1, 0); /* denied */
    read_chart(h, 5);
    delete_record(h, 2, 5, 1);
    read_record(h, &h->doctor, 2, 0); /* denied: deleted */
    note_event(h, &h->doctor, 5);
    note_event(h, &h->nurse, 6);
    give_role(h, 2, "doctor");
    note_event(h, &h->nurse, 6);
    set_policy(h);
    rename_person(h, 5);
    change_record(h, 1, 5, 1); /* denied: a conflict */
}

/* --- scanning --- */

/* One pass with steps of so many bytes; the first finding, or DAMAGE_NONE. */
static struct damage scan_all(struct kit *kit, uint64_t bytes)
{
    struct scan s = {0};
    struct damage d = {.kind = DAMAGE_NONE};
    scan_begin(&s, &kit->genesis);
    while (s.phase != SCAN_DONE && d.kind == DAMAGE_NONE)
        assert_int_equal(scan_step(&s, kit->txn, bytes, &d), OK);
    if (d.kind == DAMAGE_NONE) assert_int_equal(scan_permille(&s), 1000);
    scan_free(&s);
    return d;
}

static void assert_clean(struct kit *kit)
{
    struct damage d = scan_all(kit, ALL);
    if (d.kind != DAMAGE_NONE) print_error("%s\n", d.text);
    assert_int_equal(d.kind, DAMAGE_NONE);
}

static void test_clean(void **state)
{
    (void)state;
    struct hospital h;
    hospital_open(&h);
    assert_clean(&h.kit);
    assert_int_equal(scan_all(&h.kit, 1).kind, DAMAGE_NONE);
    h.kit.now += 10 * 60 * 1000; /* rows against duplicates go by and by */
    for (unsigned i = 0; i < 200; i++) note_event(&h, &h.doctor, 5);
    assert_clean(&h.kit);
    kit_close(&h.kit);
}

/* A position in each place, kept and taken up again while the ledger grows. */
static void test_resume(void **state)
{
    (void)state;
    struct hospital h;
    struct scan s = {0};
    struct damage d;
    hospital_open(&h);
    scan_begin(&s, &h.kit.genesis);
    unsigned steps = 0, last = 0;
    while (s.phase != SCAN_DONE) {
        struct buffer kept = {0};
        assert_int_equal(scan_step(&s, h.kit.txn, 1, &d), OK);
        if (d.kind != DAMAGE_NONE) fail_msg("%s", d.text);
        scan_encode(&kept, &s);
        assert_true(kept.size <= LIMIT_SCAN_POSITION);
        scan_free(&s);
        assert_int_equal(scan_decode(&s, &h.kit.genesis, buffer_bytes(&kept)), OK);
        for (size_t cut = 0; cut < kept.size; cut += 7) {
            struct scan other = {0};
            assert_int_equal(scan_decode(&other, &h.kit.genesis, bytes_of(kept.data, cut)), ERR_CORRUPT);
            scan_free(&other);
        }
        buffer_free(&kept);
        assert_true(scan_permille(&s) >= last);
        last = scan_permille(&s);
        if (++steps % 5 == 0) note_event(&h, &h.doctor, 5);
        if (steps % 17 == 0) write_record(&h, 100 + steps, 6);
    }
    assert_true(steps > 100);
    scan_free(&s);
    assert_clean(&h.kit);
    kit_close(&h.kit);
}

static void test_many(void **state)
{
    (void)state;
    struct hospital h;
    struct scan s = {0};
    struct damage d;
    hospital_open(&h);
    for (unsigned i = 0; i < 1500; i++) {
        write_record(&h, 10 + i, 5 + i % 2);
        note_event(&h, &h.doctor, 5);
    }
    scan_begin(&s, &h.kit.genesis);
    uint64_t before = 0, most = 0;
    while (s.phase != SCAN_DONE) {
        assert_int_equal(scan_step(&s, h.kit.txn, 16 * KIB, &d), OK);
        if (d.kind != DAMAGE_NONE) fail_msg("%s", d.text);
        if (s.bytes - before > most) most = s.bytes - before;
        before = s.bytes;
    }
    assert_true(most < 16 * KIB + 2 * LIMIT_POLICY); /* a step ends with the row that fills it */
    assert_true(s.rows > 3000 * 5);
    scan_free(&s);
    kit_close(&h.kit);
}

/* Who reads the newest of very many versions, and leaves what those after it change alone. */
static void test_many_versions(void **state)
{
    (void)state;
    struct hospital h;
    hospital_open(&h);
    write_record(&h, 900, 5);
    read_record(&h, &h.doctor, 900, 0);
    for (unsigned i = 1; i < 150; i++) {
        change_record(&h, 900, 5, i);
        if (i % 3) read_record(&h, &h.doctor, 900, 0);
        if (i % 7 == 0) read_record(&h, &h.doctor, 900, 1 + i / 2);
    }
    assert_clean(&h.kit);
    kit_close(&h.kit);
}

/* With next to no time a step still goes on, by a few rows. */
static void test_short_steps(void **state)
{
    (void)state;
    struct hospital h;
    struct scan s = {0};
    struct damage d;
    hospital_open(&h);
    scan_begin(&s, &h.kit.genesis);
    for (uint64_t before = 0; s.phase != SCAN_DONE; before = s.rows) {
        enum scan_phase phase = s.phase;
        s.most_ns = 1;
        assert_int_equal(scan_step(&s, h.kit.txn, ALL, &d), OK);
        if (d.kind != DAMAGE_NONE) fail_msg("%s", d.text);
        assert_true(s.phase != phase || s.rows <= before + 100); /* a leaf has several */
    }
    scan_free(&s);
    kit_close(&h.kit);
}

static void test_fresh(void **state)
{
    (void)state;
    struct kit kit, like;
    kit_open(&like, 4, 1, NONE);
    assert_clean(&like);
    kit_open_empty(&kit, &like);
    assert_clean(&kit);
    kit_close(&kit);
    kit_close(&like);
}

/* --- damage --- */

struct row {
    uint8_t table;
    struct buffer key, value;
};

static void row_free(struct row *row)
{
    buffer_free(&row->key);
    buffer_free(&row->value);
}

/* The n-th row of a table; false: there are fewer. */
static bool row_at(struct row *out, struct kit *kit, uint8_t table, unsigned n)
{
    struct table_cursor *c;
    assert_int_equal(table_cursor_open(&c, kit->txn, table), OK);
    enum err err = table_cursor_seek(c, NONE);
    for (unsigned i = 0; i < n && err == OK; i++) err = table_cursor_next(c);
    *out = (struct row){.table = table};
    if (err == OK) {
        buffer_append_bytes(&out->key, table_cursor_key(c));
        assert_int_equal(table_cursor_value(c, &out->value), OK);
    }
    table_cursor_close(c);
    return err == OK;
}

static void put_row(struct kit *kit, const struct row *row)
{
    assert_int_equal(table_put(kit->txn, row->table, buffer_bytes(&row->key), buffer_bytes(&row->value)), OK);
}

static const char *table_of(uint8_t table)
{
    for (size_t i = 0; i < ledger_tables_count; i++)
        if (ledger_tables[i].table == table) return ledger_tables[i].name;
    return "?";
}

/* What a peer would send, for a leaf and its row of the tree. */
static void mend_leaf(struct kit *kit, const struct damage *d, struct bytes leaf)
{
    struct tree before = {0};
    bool changed = false, gone;
    for (uint64_t i = 0; i < d->index; i++) {
        struct buffer bytes = {0};
        struct digest hash;
        assert_int_equal(proof_leaf(&bytes, kit->txn, i), OK);
        tree_leaf_hash(&hash, buffer_bytes(&bytes));
        tree_append(&before, NULL, &hash);
        buffer_free(&bytes);
    }
    assert_int_equal(scan_mend_leaf(kit->txn, &changed, &gone, &before, leaf), OK);
    assert_true(changed);
}

/* Whether a finding was repaired; false: only a rebuild would help. */
static bool mend(struct kit *kit, struct kit *peer, const struct damage *d)
{
    struct buffer from_peer = {0};
    enum err err = OK;
    bool mended = true;
    switch (d->kind) {
    case DAMAGE_LEAF:
        assert_int_equal(proof_leaf(&from_peer, peer->txn, d->index), OK);
        mend_leaf(kit, d, buffer_bytes(&from_peer));
        break;
    case DAMAGE_ATTACHMENT:
        assert_int_equal(ledger_attachment(&from_peer, peer->txn, d->index), OK);
        assert_int_equal(scan_mend_attachment(kit->ledger, kit->txn, d->index, NONE), ERR_ATTACHMENT);
        err = scan_mend_attachment(kit->ledger, kit->txn, d->index, buffer_bytes(&from_peer));
        break;
    case DAMAGE_DERIVED:
    case DAMAGE_STRAY:
    case DAMAGE_LOCAL: err = scan_mend_row(kit->ledger, kit->txn, &kit->genesis, d); break;
    case DAMAGE_STATE:
    case DAMAGE_ROOT:
    case DAMAGE_STORE: mended = false; break;
    case DAMAGE_NONE: fail_test();
    }
    buffer_free(&from_peer);
    if (err == ERR_INVALID) return false;
    assert_int_equal(err, OK);
    return mended;
}

/* Repairs until nothing is found, or until something can't be. */
static bool mend_all(struct kit *kit, struct kit *peer, unsigned *findings)
{
    for (*findings = 0; *findings < 40; ++*findings) {
        struct damage d = scan_all(kit, ALL);
        if (d.kind == DAMAGE_NONE) return true;
        if (!mend(kit, peer, &d)) return false;
    }
    fail_msg("no end of findings");
    return false;
}

struct tally {
    unsigned found, mended, unseen, rebuild;
};

/* Tables in which a well-formed change of one row shows only in the state digest. */
static bool needs_replay(uint8_t table)
{
    return table == TABLE_USER || table == TABLE_KEYGEN || table == TABLE_DEALING || table == TABLE_META ||
           table == TABLE_EPOCH || table == TABLE_TEAM || table == TABLE_KEY || table == TABLE_APPLIED ||
           table == TABLE_BLOB || table == TABLE_OPENED;
}

/* Found, and as it was after repairs; what only a rebuild mends is put back by hand. */
static void judge(struct kit *kit, struct kit *peer, const struct row *was, struct tally *tally, bool gone)
{
    unsigned findings;
    struct digest before = kit_digest(peer);
    bool mended = mend_all(kit, peer, &findings);
    struct digest after = kit_digest(kit);
    if (findings == 0 && mended) {
        tally->unseen++;
        if (!needs_replay(was->table))
            fail_msg("table %s: damage is not found (%s)", table_of(was->table), gone ? "gone" : "altered");
    } else {
        tally->found++;
        tally->mended += mended;
        tally->rebuild += !mended;
        if (mended && !digest_equal(&before, &after))
            fail_msg("table %s: not as it was: %s", table_of(was->table), kit_difference(kit, peer));
    }
    put_row(kit, was);
    assert_clean(kit);
}

/* A twin of the ledger, for what peers would send and for what it must be. */
static void twin(struct kit *out, struct hospital *h)
{
    kit_open_empty(out, &h->kit);
    kit_replay_all(out, &h->kit);
}

static void damage_table(struct hospital *h, struct kit *peer, uint8_t table, struct tally *tally)
{
    struct row row;
    for (unsigned n = 0; row_at(&row, &h->kit, table, n); n++) {
        size_t step = row.value.size > 64 ? row.value.size / 8 : 6;
        for (size_t at = n % 4; at < row.value.size && table != TABLE_META; at += step) {
            struct row altered = {.table = table, .key = row.key};
            buffer_append_bytes(&altered.value, buffer_bytes(&row.value));
            altered.value.data[at] ^= 1;
            put_row(&h->kit, &altered);
            buffer_free(&altered.value);
            judge(&h->kit, peer, &row, tally, false);
        }
        assert_int_equal(table_delete(h->kit.txn, table, buffer_bytes(&row.key)), OK);
        judge(&h->kit, peer, &row, tally, true);
        row_free(&row);
    }
    row_free(&row);
}

static void test_every_row(void **state)
{
    (void)state;
    struct hospital h;
    struct kit peer;
    hospital_open(&h);
    twin(&peer, &h);
    for (size_t i = 0; i < ledger_tables_count; i++) {
        struct tally tally = {0};
        uint8_t table = ledger_tables[i].table;
        if (table == TABLE_APPLIED) continue; /* where the state stands: this test has no Raft log */
        damage_table(&h, &peer, table, &tally);
        if (tally.found + tally.unseen)
            print_message("%-16s found %u, repaired %u, to rebuild %u, for the digest %u\n", ledger_tables[i].name,
                          tally.found, tally.mended, tally.rebuild, tally.unseen);
    }
    kit_close(&h.kit);
    kit_close(&peer);
}

/* A row that no leaf makes, beside those that there are. */
static void test_strays(void **state)
{
    (void)state;
    static const uint8_t tables[] = {
        TABLE_LEAF,           TABLE_TREE,   TABLE_ATTACHMENT, TABLE_SEEN,        TABLE_LOGIN,     TABLE_TEAM,
        TABLE_RECORD,         TABLE_VERSION, TABLE_POLICY,    TABLE_OPENED,      TABLE_LOG_ACTOR, TABLE_LOG_SUBJECT,
        TABLE_PATIENT_RECORD, TABLE_CONTENT_INFO};
    struct hospital h;
    struct kit peer;
    unsigned findings;
    hospital_open(&h);
    twin(&peer, &h);
    struct digest before = kit_digest(&peer);
    for (size_t i = 0; i < sizeof tables; i++) {
        struct row row, stray;
        assert_true(row_at(&row, &h.kit, tables[i], 0));
        stray = row;
        for (int kind = 0; kind < 2; kind++) { /* beyond the end; of another person, record or leaf */
            stray.key = (struct buffer){0};
            buffer_append_bytes(&stray.key, buffer_bytes(&row.key));
            stray.key.data[kind == 0 ? 0 : stray.key.size - 1] ^= kind == 0 ? 0x40 : 1;
            bool there = table_exists(h.kit.txn, tables[i], buffer_bytes(&stray.key)) == OK;
            if (!there) {
                put_row(&h.kit, &stray);
                bool mended = mend_all(&h.kit, &peer, &findings);
                if (findings == 0) fail_msg("table %s: a stray row is not found", table_of(tables[i]));
                if (!mended) assert_int_equal(table_delete(h.kit.txn, tables[i], buffer_bytes(&stray.key)), OK);
                struct digest after = kit_digest(&h.kit);
                if (!digest_equal(&before, &after)) fail_msg("table %s: a stray row stays", table_of(tables[i]));
            }
            buffer_free(&stray.key);
        }
        row_free(&row);
    }
    kit_close(&h.kit);
    kit_close(&peer);
}

/* --- seals --- */

typedef int flips(const char *directory, const char *table, struct bytes key, size_t bit);

/* A bit as it lies on the disk, by another process. */
static void flip(flips *how, struct kit *kit, uint8_t table, struct bytes key, size_t bit)
{
    assert_int_equal(store_commit(kit->txn), OK);
    pid_t child = fork();
    if (child == 0) _exit(how(kit->folder, table_of(table), key, bit) == 0 ? 0 : 1);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(store_begin_write(&kit->txn, kit->store), OK);
}

static void test_seals(void **state)
{
    (void)state;
    struct hospital h;
    struct kit peer;
    hospital_open(&h);
    twin(&peer, &h);
    struct digest before = kit_digest(&peer);
    for (size_t i = 0; i < ledger_tables_count; i++) {
        struct row row;
        uint8_t table = ledger_tables[i].table;
        unsigned mended = 0, rebuild = 0;
        for (unsigned n = 0; table != TABLE_APPLIED && row_at(&row, &h.kit, table, n); n += 3) {
            unsigned findings;
            flip(flip_value, &h.kit, table, buffer_bytes(&row.key), 8 * n + 3);
            bool whole = mend_all(&h.kit, &peer, &findings);
            if (findings == 0 && whole) fail_msg("table %s: a seal that does not open is not found", table_of(table));
            mended += whole;
            rebuild += !whole;
            if (!whole) put_row(&h.kit, &row);
            struct digest after = kit_digest(&h.kit);
            if (!digest_equal(&before, &after))
                fail_msg("table %s: not as it was: %s", table_of(table), kit_difference(&h.kit, &peer));
            row_free(&row);
        }
        row_free(&row);
        if (mended + rebuild) print_message("%-16s repaired %u, to rebuild %u\n", table_of(table), mended, rebuild);
    }
    kit_close(&h.kit);
    kit_close(&peer);
}

/* One bit of the n-th key of a table; 0: there is no such row, 1: mended, 2: to rebuild. */
static unsigned with_altered_key(struct kit *peer, uint8_t table, unsigned n, size_t bit)
{
    struct hospital h;
    struct row row;
    unsigned findings, outcome = 0;
    hospital_open(&h);
    if (row_at(&row, &h.kit, table, n)) {
        flip(flip_key, &h.kit, table, buffer_bytes(&row.key), bit % (row.key.size * 8));
        outcome = mend_all(&h.kit, peer, &findings) ? 1 : 2;
        if (findings == 0 && outcome == 1) fail_msg("table %s: an altered key is not found", table_of(table));
        const char *difference = outcome == 1 ? kit_difference(&h.kit, peer) : "";
        if (*difference) fail_msg("table %s: not as it was: %s", table_of(table), difference);
    }
    row_free(&row);
    kit_close(&h.kit);
    return outcome;
}

/* Rows that no search comes to any more, but a pass over the table does: what can't be removed is no end of repairs. */
static void test_keys(void **state)
{
    (void)state;
    struct hospital h;
    struct kit peer;
    hospital_open(&h);
    twin(&peer, &h);
    for (size_t i = 0; i < ledger_tables_count; i++) {
        uint8_t table = ledger_tables[i].table;
        unsigned outcomes[3] = {0};
        for (unsigned n = 0; table != TABLE_APPLIED && n < 3; n++)
            for (size_t bit = 0; bit < 64; bit += 9) outcomes[with_altered_key(&peer, table, n * 2, bit + 64 * n)]++;
        if (outcomes[1] + outcomes[2])
            print_message("%-16s repaired %u, to rebuild %u\n", table_of(table), outcomes[1], outcomes[2]);
    }
    kit_close(&h.kit);
    kit_close(&peer);
}

/* --- passing over --- */

/* Damage to many leaves at once: each is told once, and the rest is still checked. */
static void test_pass_over(void **state)
{
    (void)state;
    struct hospital h;
    struct scan s = {0};
    struct damage d;
    struct row row;
    unsigned leaves = 0, attachments = 0, derived = 0, others = 0;
    hospital_open(&h);
    for (unsigned n = 0; n < 3; n++) {
        assert_true(row_at(&row, &h.kit, TABLE_LEAF, 20 + 2 * n));
        row.value.data[row.value.size - 20] ^= 1;
        put_row(&h.kit, &row);
        row_free(&row);
    }
    assert_true(row_at(&row, &h.kit, TABLE_LEAF, 30));
    assert_int_equal(table_delete(h.kit.txn, TABLE_LEAF, buffer_bytes(&row.key)), OK);
    row_free(&row);
    assert_true(row_at(&row, &h.kit, TABLE_TREE, 15));
    row.value.data[40] ^= 1;
    put_row(&h.kit, &row);
    row_free(&row);
    assert_true(row_at(&row, &h.kit, TABLE_ATTACHMENT, 0));
    row.value.data[row.value.size - 1] ^= 1;
    put_row(&h.kit, &row);
    row_free(&row);
    assert_true(row_at(&row, &h.kit, TABLE_LOG_ACTOR, 3));
    row.value.data[0] ^= 1;
    put_row(&h.kit, &row);
    row_free(&row);
    scan_begin(&s, &h.kit.genesis);
    while (s.phase != SCAN_DONE) {
        assert_int_equal(scan_step(&s, h.kit.txn, ALL, &d), OK);
        if (d.kind == DAMAGE_NONE) continue;
        leaves += d.kind == DAMAGE_LEAF;
        attachments += d.kind == DAMAGE_ATTACHMENT;
        derived += d.kind == DAMAGE_DERIVED;
        if (d.kind == DAMAGE_ROOT || d.kind == DAMAGE_STORE) print_error("%s\n", d.text);
        others += d.kind == DAMAGE_ROOT || d.kind == DAMAGE_STORE;
        scan_pass_over(&s, &d);
    }
    assert_int_equal(leaves, 5);
    assert_int_equal(attachments, 1);
    assert_true(derived >= 1);
    assert_int_equal(others, 0);
    scan_free(&s);
    kit_close(&h.kit);
}

/* --- checkpoints of k nodes --- */

static void keep_checkpoint(struct hospital *h, uint64_t size, const struct digest *root, unsigned cosigners)
{
    struct checkpoint checkpoint;
    struct cosigner by[LIMIT_NODES];
    struct cosignature signatures[LIMIT_NODES] = {0};
    struct buffer note = {0}, row = {0};
    uint8_t key[8];
    uint32_t n = cosigners_of_genesis(by, &h->kit.genesis);
    checkpoint_set(&checkpoint, &h->kit.genesis, size, root);
    for (unsigned i = 0; i < cosigners; i++)
        checkpoint_cosign(&signatures[i], &checkpoint, 1700000000, &h->kit.nodes[i + 1].cosign);
    checkpoint_format(&note, &checkpoint, by, signatures, n);
    pack_array(&row, 6);
    pack_uint(&row, size);
    pack_uint(&row, 7);
    pack_uint(&row, 1);
    pack_uint(&row, 1700000000000);
    pack_digest(&row, root);
    pack_bytes(&row, buffer_bytes(&note));
    put_be64(key, size);
    assert_int_equal(table_put(h->kit.txn, TABLE_CHECKPOINT, BYTES(key), buffer_bytes(&row)), OK);
    buffer_free(&note);
    buffer_free(&row);
}

static void test_checkpoints(void **state)
{
    (void)state;
    struct hospital h;
    struct digest root;
    unsigned findings;
    hospital_open(&h);
    assert_int_equal(proof_root(&root, h.kit.txn, 20), OK);
    keep_checkpoint(&h, 20, &root, 3);
    assert_clean(&h.kit);
    keep_checkpoint(&h, 20, &root, 2); /* fewer than k: of no use, so it goes */
    assert_int_equal(scan_all(&h.kit, ALL).kind, DAMAGE_LOCAL);
    assert_true(mend_all(&h.kit, &h.kit, &findings));
    assert_int_equal(table_count(h.kit.txn, TABLE_CHECKPOINT), 0);
    root.bytes[0] ^= 1;
    keep_checkpoint(&h, 20, &root, 3); /* k nodes against this one */
    struct damage d = scan_all(&h.kit, ALL);
    assert_int_equal(d.kind, DAMAGE_ROOT);
    assert_int_equal(d.index, 20);
    keep_checkpoint(&h, 20000, &root, 3); /* ahead of what is here */
    assert_int_equal(scan_all(&h.kit, ALL).index, 20);
    kit_close(&h.kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),     cmocka_unit_test(test_resume),    cmocka_unit_test(test_many),
        cmocka_unit_test(test_many_versions), cmocka_unit_test(test_short_steps),
        cmocka_unit_test(test_fresh),     cmocka_unit_test(test_every_row), cmocka_unit_test(test_strays),
        cmocka_unit_test(test_seals),     cmocka_unit_test(test_keys),      cmocka_unit_test(test_pass_over),
        cmocka_unit_test(test_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
