/* What a node keeps for itself in the store's small tables, by the first byte: its findings (node/integrity_kept.c),
 * where the scrub stands, what it was rebuilt for. What decodes comes back byte for byte. And why it is quarantined:
 * a note of any bytes gives a reason. Findings are also loaded as at a start, and carried into another state; a scrub
 * goes on from wherever its position says, to its end. */
#include "node/integrity_kept.c" /* its decoder is its own */

#include "ledger/scan.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/rows_seed.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

#define ROWS_MOST (INTEGRITY_FINDINGS + 3)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- as they come --- */

static void finding(struct bytes in)
{
    struct kept k = {0};
    struct buffer out = {0};
    uint8_t key[NOTE_KEY];
    if (in.size < NOTE_KEY) return;
    struct bytes value = bytes_of(in.data + NOTE_KEY, in.size - NOTE_KEY);
    if (decode(&k, bytes_of(in.data, NOTE_KEY), value) == OK) {
        fuzz_taken = true;
        note_key(key, &k.alarm);
        encode(&out, &k);
        CHECK(memcmp(key, in.data, NOTE_KEY) == 0 && bytes_equal(buffer_bytes(&out), value));
        CHECK(memchr(k.text, 0, sizeof k.text) && alarm_kind_text(k.alarm.kind)[0]);
    }
    buffer_free(&k.evidence);
    buffer_free(&out);
}

static void position(struct bytes in)
{
    static const struct genesis nobody;
    struct scan s = {0};
    struct buffer out = {0};
    if (scan_decode(&s, &nobody, in) == OK) {
        fuzz_taken = true;
        scan_encode(&out, &s);
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in) && in.size <= LIMIT_SCAN_POSITION);
        CHECK(scan_permille(&s) <= 1000);
    }
    scan_free(&s);
    buffer_free(&out);
}

static void rebuilt(struct bytes in)
{
    struct driver_rebuilt r;
    struct buffer out = {0};
    if (driver_rebuilt_decode(&r, in) == OK) {
        fuzz_taken = true;
        driver_rebuilt_encode(&out, &r);
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    }
    buffer_free(&out);
}

static void quarantine(struct bytes in)
{
    struct integrity *i = xcalloc(1, sizeof *i);
    decode_quarantine(i, in);
    CHECK(memchr(i->why, 0, sizeof i->why));
    fuzz_taken = !strstr(i->why, "damaged");
    free(i);
}

/* --- loaded, and carried --- */

/* One that is well-formed, or that was; or any bytes. Returns whether it can be read. */
static bool put_finding(struct table_txn *txn, struct choices *in)
{
    unsigned how = choose(in);
    struct kept k = {.spoken_for = how & 16, .repaired = how & 32};
    struct buffer value = {0};
    uint8_t key[NOTE_KEY];
    k.alarm = (struct alarm){.kind = (enum alarm_kind)(1 + how % 8), .named = 1 + choose(in) % (LIMIT_NODES + 1),
                             .first = choose(in), .since_ms = SAMPLE_TIME};
    k.alarm.last = k.alarm.first + choose(in);
    memset(k.text, 'a', choose(in) % sizeof k.text);
    buffer_append(&k.evidence, (const uint8_t[EVIDENCE_SIZE]){0}, choose(in) * 2u);
    note_key(key, &k.alarm);
    if (how & 64)
        buffer_append_bytes(&value, choose_bytes(in, choose(in)));
    else
        encode(&value, &k);
    if (how & 128) choose_flip(in, value.data, value.size);
    buffer_free(&k.evidence);
    k = (struct kept){0};
    bool good = decode(&k, BYTES(key), buffer_bytes(&value)) == OK;
    buffer_free(&k.evidence);
    CHECK(table_put(txn, TABLE_FINDING, BYTES(key), buffer_bytes(&value)) == OK);
    buffer_free(&value);
    return good;
}

static uint64_t rows_of(struct table_txn *txn)
{
    struct store_table_size size;
    CHECK(store_table_size(txn, TABLE_FINDING, &size) == OK);
    return size.entries;
}

static void check_loaded(const struct integrity *i, struct table_txn *txn)
{
    for (size_t at = 0; at < i->count; at++) {
        uint8_t key[NOTE_KEY];
        struct buffer row = {0}, value = {0};
        note_key(key, &i->kept[at]->alarm);
        encode(&value, i->kept[at]);
        CHECK(table_get(txn, TABLE_FINDING, BYTES(key), &row) == OK);
        CHECK(bytes_equal(buffer_bytes(&row), buffer_bytes(&value)) && i->kept[at]->stored);
        buffer_free(&row);
        buffer_free(&value);
    }
}

static void free_loaded(struct integrity *i)
{
    while (i->count > 0) {
        struct kept *k = i->kept[--i->count];
        buffer_free(&k->evidence);
        free(k);
    }
    free(i);
}

static struct integrity *load(void)
{
    static struct node node;
    struct table_txn *txn;
    struct integrity *i = xcalloc(1, sizeof *i);
    node.store = rows_store();
    i->node = &node;
    CHECK(integrity_load(i) == OK && i->count <= INTEGRITY_FINDINGS);
    CHECK(store_begin_read(&txn, node.store) == OK);
    if (i->count < INTEGRITY_FINDINGS) CHECK(i->count <= rows_of(txn));
    check_loaded(i, txn);
    store_abort(txn);
    return i;
}

/* What was read of a state is all that is carried into the next one, and it says so. */
static void carry(size_t readable)
{
    struct table_txn *from, *to;
    CHECK(store_begin_read(&from, rows_store()) == OK);
    to = rows_begin(TABLE_FINDING);
    CHECK(integrity_carry(to, from) == OK);
    uint64_t carried = rows_of(to);
    CHECK(readable == INTEGRITY_FINDINGS ? carried >= readable : carried == readable);
    store_abort(from);
    CHECK(store_commit(to) == OK);
    struct integrity *i = load();
    CHECK(i->count == readable);
    for (size_t at = 0; at < i->count; at++) CHECK(i->kept[at]->carried);
    free_loaded(i);
}

static void findings(struct choices *in)
{
    struct table_txn *txn = rows_begin(TABLE_FINDING);
    unsigned rows = choose(in) % ROWS_MOST, how = choose(in);
    bool all = true;
    for (unsigned i = 0; i < rows; i++) all = put_finding(txn, in) && all;
    CHECK(table_delete(txn, TABLE_BLOB, QUARANTINE) == OK);
    if (how & 1) CHECK(table_put(txn, TABLE_BLOB, QUARANTINE, choose_bytes(in, how >> 2)) == OK);
    CHECK(store_commit(txn) == OK);
    struct integrity *i = load();
    CHECK(i->quarantined == (how & 1) && (!i->quarantined || i->why[0] || how >> 2));
    size_t readable = i->count;
    free_loaded(i);
    carry(readable);
    fuzz_taken = all;
}

/* --- a scrub that goes on --- */

static struct kit kit;

static void make_ledger(void)
{
    struct arguments a = {.action = ACTION_EVENT_ADD};
    a.event_add = (struct args_event_add){sample_id(5), bytes_text("bill.print"), bytes_text("B-17")};
    kit_open(&kit, 4, 1, (struct bytes){0});
    kit_add_user(&kit, 1, "doctor", "Mercy", "Gregory House");
    kit_add_user(&kit, 5, "patient", "Mercy", "Jane Doe");
    kit_add_team(&kit, 5, 1);
    struct kit_actor doctor = kit_user(1);
    for (unsigned i = 0; i < 4; i++)
        CHECK(kit_do(&kit, &doctor, &a, bytes_text("a note"))->decision == DECISION_APPROVED);
    kit_reopen(&kit);
}

static void close_ledger(void) { kit_close(&kit); }

/* To the end of a pass. Returns how much it found. */
static unsigned go_on(struct scan *s, struct table_txn *txn, uint64_t bytes)
{
    unsigned findings = 0;
    struct damage found;
    for (unsigned steps = 0; s->phase != SCAN_DONE; steps++) {
        CHECK(steps < 2000);
        CHECK(scan_step(s, txn, bytes, &found) == OK && scan_permille(s) <= 1000);
        if (found.kind == DAMAGE_NONE) continue;
        CHECK(found.text[0]);
        findings++;
        scan_pass_over(s, &found);
    }
    return findings;
}

/* Somewhere in a pass it is kept, and taken up again: as it was it finds nothing. Changed it may find what isn't so, as
 * the seal of the store's row keeps anyone from doing; but it ends. */
static void scrub(struct choices *in)
{
    struct scan s = {0}, again = {0};
    struct damage found;
    struct buffer kept = {0};
    struct table_txn *txn;
    if (!kit.store) {
        make_ledger();
        atexit(close_ledger);
    }
    CHECK(store_begin_read(&txn, kit.store) == OK);
    scan_begin(&s, &kit.genesis);
    unsigned steps = choose(in) % 64;
    uint64_t bytes = 1 + 16u * choose(in);
    while (steps-- && s.phase != SCAN_DONE) CHECK(scan_step(&s, txn, bytes, &found) == OK && found.kind == DAMAGE_NONE);
    scan_encode(&kept, &s);
    bool changed = choose_flip(in, kept.data, kept.size);
    enum err code = scan_decode(&again, &kit.genesis, buffer_bytes(&kept));
    CHECK(code == OK || changed);
    unsigned findings = go_on(&again, txn, bytes);
    CHECK(changed || findings == 0);
    fuzz_taken = code == OK;
    scan_free(&s);
    scan_free(&again);
    buffer_free(&kept);
    store_abort(txn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    struct choices choices = choices_of(in);
    log_setup((enum log_level)(LOG_ERROR + 1), false); /* what can't be read is said for each */
    switch (data[0] % 6) {
    case 0: finding(in); break;
    case 1: position(in); break;
    case 2: rebuilt(in); break;
    case 3: quarantine(in); break;
    case 4: findings(&choices); break;
    case 5: scrub(&choices); break;
    }
    return 0;
}
