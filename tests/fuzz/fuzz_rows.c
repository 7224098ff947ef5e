/* What consensus keeps or carries besides blocks: rows of checkpoints, entries with their leader's signature,
 * statements of commit, messages of rejoining, evidence. What decodes comes back byte for byte. What is made well
 * and then changed is not taken for its signer's word; nobody is named but by evidence; nobody votes again without a
 * majority's word. The first byte says what it is. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "base/pack.h"
#include "consensus/driver_internal.h"
#include "consensus/entry.h"
#include "consensus/rejoin.h"
#include "consensus/witness_rows.h"
#include "tests/lib/rows_seed.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

#define N 4
#define SELF 1
#define ROWS_MOST 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct genesis genesis;
static struct node_secrets secrets[N + 1];

static void setup(void)
{
    static struct buffer text;
    if (genesis.member_count) return;
    crypto_init();
    log_setup(LOG_ERROR, false);
    sample_genesis_parsed(&genesis, &text, N, 1);
    for (unsigned i = 1; i <= N; i++) sample_node_secrets(&secrets[i], i);
}

/* --- as they come --- */

static void checkpoint_row(struct bytes in)
{
    struct witnessed kept;
    struct buffer out = {0};
    if (witnessed_decode(&kept, in) == OK) {
        fuzz_taken = true;
        witnessed_encode(&out, &kept);
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    }
    buffer_free(&kept.note);
    buffer_free(&out);
}

static void statement(struct bytes in)
{
    struct block_place place = {.term = 1};
    struct signature signature;
    struct buffer out = {0};
    if (statement_open(&place, &signature, in) != OK) return;
    fuzz_taken = true;
    pack_array(&out, 3);
    pack_uint(&out, place.index);
    pack_digest(&out, &place.hash);
    pack_bin(&out, signature.bytes, sizeof signature.bytes);
    CHECK(bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
}

static void entry(struct bytes in)
{
    struct entry e;
    struct block block;
    if (entry_open(&e, in) != OK) return;
    CHECK(e.block.size + ENTRY_HEAD == in.size && e.block.data + e.block.size == in.data + in.size);
    if (block_decode(&block, e.block) == OK) {
        fuzz_taken = true;
        block_free(&block);
    }
}

static void rejoin_body(struct bytes in)
{
    struct rejoin_message m;
    struct buffer out = {0};
    if (rejoin_decode(&m, in) != OK) return;
    fuzz_taken = true;
    CHECK(m.nonce && m.term && m.term <= RAFT_TERM_MAX && m.index <= RAFT_INDEX_MAX);
    rejoin_encode(&out, &m);
    CHECK(bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
}

/* --- signed, then changed --- */

static void signed_entry(struct choices *in)
{
    unsigned signer = 1 + choose(in) % N;
    struct block_place place = {.cluster = genesis.cluster, .term = 1 + choose(in), .index = 1 + choose(in)};
    struct block_place read = {.cluster = genesis.cluster, .term = place.term, .index = place.index};
    struct buffer bytes = {0};
    struct entry e;
    CHECK(buffer_extend(&bytes, ENTRY_HEAD));
    block_encode(&bytes, SAMPLE_TIME, NULL, 0);
    entry_sign(&bytes, &place, signer, &secrets[signer].message);
    bool changed = choose_flip(in, bytes.data, bytes.size);
    if (choose(in) & 1) read.term++, changed = true;
    CHECK(entry_open(&e, buffer_bytes(&bytes)) == OK);
    const struct descriptor *member = genesis_member(&genesis, e.signer);
    enum err code = member ? entry_verify(&e, &read, &member->keys.message) : ERR_BAD_SIGNATURE;
    CHECK(code == (changed ? ERR_BAD_SIGNATURE : OK));
    if (!changed) CHECK(e.signer == signer && digest_equal(&place.hash, &read.hash));
    fuzz_taken = true;
    buffer_free(&bytes);
}

static void signed_statement(struct choices *in)
{
    unsigned signer = 1 + choose(in) % N;
    struct block_place place = {.cluster = genesis.cluster, .term = 1 + choose(in), .index = 1 + choose(in)};
    struct block_place read = {.cluster = genesis.cluster, .term = place.term};
    struct statement s = {.kind = STATEMENT_COMMIT, .term = place.term};
    struct buffer bytes = {0};
    place.hash = sample_digest(1u + choose(in));
    statement_sign(&bytes, &place, &secrets[signer].message);
    bool changed = choose_flip(in, bytes.data, bytes.size);
    enum err code = statement_open(&read, &s.signature, buffer_bytes(&bytes));
    CHECK(code == OK || changed);
    if (code == OK) {
        s.index = read.index;
        s.hash = read.hash;
        code = evidence_statement_verify(&s, &genesis, signer);
        CHECK((code == OK) != changed);
        CHECK(evidence_statement_verify(&s, &genesis, 1 + signer % N) == ERR_BAD_SIGNATURE);
        fuzz_taken = true;
    }
    buffer_free(&bytes);
}

/* --- rows of a table, loaded at a start --- */

/* By their keys; some as they are made, some of any bytes. What is taken is what decodes, the newest first. */
static void checkpoint_rows(struct choices *in)
{
    struct witnessed loaded[ROWS_MOST];
    struct table_txn *txn = rows_begin(TABLE_CHECKPOINT);
    unsigned most = choose(in) % (ROWS_MOST + 1), rows = 1 + choose(in) % ROWS_MOST, good = 0, count;
    uint64_t size = 0;
    for (unsigned i = 0; i < rows; i++) {
        uint8_t key[8], how = choose(in);
        struct witnessed kept = {.size = size += 1 + how % 16, .raft_index = i, .raft_term = 1,
                                 .root = sample_digest(1 + i)};
        struct buffer value = {0};
        put_be64(key, kept.size);
        buffer_append_bytes(&kept.note, bytes_text("a note\n"));
        if (how & 128)
            buffer_append_bytes(&value, choose_bytes(in, how % 64));
        else
            witnessed_encode(&value, &kept);
        if (how & 64) choose_flip(in, value.data, value.size);
        buffer_free(&kept.note);
        good += witnessed_decode(&kept, buffer_bytes(&value)) == OK;
        buffer_free(&kept.note);
        CHECK(table_put(txn, TABLE_CHECKPOINT, BYTES(key), buffer_bytes(&value)) == OK);
        buffer_free(&value);
    }
    CHECK(store_commit(txn) == OK);
    CHECK(witness_rows_load(loaded, &count, most, rows_store()) == OK);
    CHECK(count == (good < most ? good : most));
    for (unsigned i = 0; i < count; i++) buffer_free(&loaded[i].note);
    fuzz_taken = good == rows;
}

/* Two statements of one kind at one place, that a member signed. */
static bool make_evidence(struct buffer *out, struct choices *in)
{
    unsigned how = choose(in), signer = 1 + how % N;
    struct statement two[2];
    struct evidence e;
    for (unsigned i = 0; i < 2; i++) {
        two[i] = (struct statement){.kind = (enum statement_kind)(STATEMENT_BLOCK + (how >> 2) % 3), .term = 3,
                                    .index = 7, .hash = sample_digest(1 + i + 2 * (how >> 4))};
        if (two[i].kind == STATEMENT_TELL) two[i].size = 5;
        if (i && how & 128) two[i].kind = STATEMENT_COMMIT;
        evidence_statement_sign(&two[i], &genesis.cluster, &secrets[signer].message);
    }
    if (evidence_make(&e, &genesis, signer, &two[0], &two[1]) == OK) evidence_encode(out, &e);
    return out->size > 0;
}

static void evidence_rows(struct choices *in)
{
    struct driver *d = xcalloc(1, sizeof *d);
    struct table_txn *txn = rows_begin(TABLE_EVIDENCE);
    unsigned rows = 1 + choose(in) % ROWS_MOST, good = 0;
    bool named[N + 1] = {false};
    for (unsigned i = 0; i < rows; i++) {
        struct buffer value = {0};
        struct evidence e;
        struct digest id;
        if (!make_evidence(&value, in)) buffer_append_bytes(&value, choose_bytes(in, 64));
        choose_flip(in, value.data, value.size);
        evidence_id(&id, buffer_bytes(&value));
        if (evidence_open(&e, buffer_bytes(&value), &genesis) == OK) named[e.signer] = true, good++;
        CHECK(table_put(txn, TABLE_EVIDENCE, BYTES(id.bytes), buffer_bytes(&value)) == OK);
        buffer_free(&value);
    }
    struct driver_rebuilt rebuilt = {1u + choose(in), 1u + choose(in), choose(in), choose(in)};
    struct buffer row = {0};
    driver_rebuilt_encode(&row, &rebuilt);
    bool changed = choose_flip(in, row.data, row.size);
    CHECK(table_put(txn, TABLE_BLOB, bytes_text(DRIVER_REBUILT), buffer_bytes(&row)) == OK);
    buffer_free(&row);
    CHECK(store_commit(txn) == OK);
    d->o.genesis = &genesis;
    d->o.store = rows_store();
    enum err code = driver_blame_load(d);
    CHECK(code == OK || (changed && code == ERR_CORRUPT));
    for (unsigned i = 1; i <= N; i++) {
        CHECK(driver_is_named(d, i) == named[i] && d->blame[i].count <= EVIDENCE_PER_MEMBER);
        CHECK((d->blame[i].first.size > 0) == driver_is_named(d, i));
    }
    if (!changed) CHECK(driver_rebuilt(d)->term == rebuilt.term && driver_rebuilt(d)->times == rebuilt.times);
    fuzz_taken = good == rows;
    driver_blame_free(d);
    free(d);
}

/* --- one that rejoins, or leads others that do --- */

static struct raft *raft;
static struct rejoin rejoin;
/* HELD of the point that is asked about now, as far as the input played it. A majority of four is all three others. */
static bool said[N + 1];

static void keep_sent(void *data, raft_id to, const struct rejoin_message *m)
{
    struct buffer body = {0};
    struct rejoin_message came;
    (void)data;
    CHECK(to >= 1 && to <= N && to != SELF);
    rejoin_encode(&body, m);
    CHECK(rejoin_decode(&came, buffer_bytes(&body)) == OK && came.step == m->step && came.index == m->index);
    buffer_free(&body);
}

static void turn(void)
{
    for (struct raft_ready *ready; (ready = raft_take(raft))->any;)
        if (ready->write) raft_persisted(raft, ready->write);
}

static struct raft_status status(void)
{
    struct raft_status s;
    raft_status_get(raft, &s);
    return s;
}

static void hear(struct raft_message m, unsigned from)
{
    m.from = (raft_id)from;
    m.to = SELF;
    m.round = 1;
    if (!m.term) m.term = status().term;
    (void)raft_step(raft, &m);
    turn();
}

/* The next entry of its leader, of that leader's term. */
static void append(unsigned from, bool commits)
{
    struct raft_status s = status();
    struct raft_entry e = {.index = s.last.index + 1, .term = s.term, .type = RAFT_ENTRY_NOOP};
    hear((struct raft_message){.type = RAFT_APPEND, .log = s.last, .commit = commits ? e.index : 0, .entries = &e,
                               .entry_count = 1}, from);
}

static void lead(void)
{
    for (unsigned i = 0; i < 100 && status().role != RAFT_PRECANDIDATE; i++) raft_tick(raft), turn();
    for (unsigned i = 2; i <= 3; i++)
        hear((struct raft_message){.type = RAFT_PREVOTE_ANSWER, .proposed = status().term + 1, .granted = true}, i);
    for (unsigned i = 2; i <= 3; i++) hear((struct raft_message){.type = RAFT_VOTE_ANSWER, .granted = true}, i);
}

/* As who asked would like it, or nearly. */
static void rejoin_step_by(struct choices *in)
{
    unsigned how = choose(in), from = 1 + choose(in) % (N + 1);
    struct raft_status s = status();
    struct rejoin_message m = {.step = (enum rejoin_step)(REJOIN_ASK + how % 4)};
    m.nonce = rejoin.nonce ? rejoin.nonce : 9;
    m.term = how & 16 ? s.term + 1 : s.term;
    m.index = m.step == REJOIN_ASK ? 0 : rejoin.point ? rejoin.point : s.last.index + 1;
    if (how & 8) m.nonce++;
    if (how & 32 && m.index) m.index += choose(in) % 3;
    if (how & 64 && m.step != REJOIN_ASK) m.index = 1 + choose(in) % 8;
    bool fits = m.step == REJOIN_HELD && rejoin.nonce && m.nonce == rejoin.nonce && m.term == rejoin.term &&
                rejoin.point && m.index == rejoin.point && from != SELF && from <= N;
    enum err code = rejoin_came(&rejoin, raft, (raft_id)from, &m);
    CHECK(code == (from == SELF || from > N ? ERR_INVALID : OK));
    if (fits) said[from] = true;
    if (code == OK) fuzz_taken = true;
}

static void check_rejoin(void)
{
    struct raft_status s = status();
    if (!rejoin_may(&rejoin, raft)) return;
    CHECK(rejoin.nonce && said[2] && said[3] && said[4] && s.role == RAFT_FOLLOWER && s.leader);
    CHECK(s.commit >= rejoin.point && s.persisted >= rejoin.point && raft_term_of(raft, rejoin.point) == s.term);
    raft_rejoin(raft);
    rejoin_end(&rejoin);
    raft_set_may_vote(raft, true);
    raft_set_may_acknowledge(raft, true);
    turn();
    CHECK(status().vote && !rejoin_may(&rejoin, raft));
}

static void start_raft(void)
{
    struct raft_options o = {.id = SELF, .seed = 1};
    struct raft_run run = {1, 1};
    struct raft_state s = {.term = 1, .last = 3, .runs = &run, .run_count = 1, .applied = 1};
    raft_options_default(&o);
    for (raft_id id = 1; id <= N; id++) raft_config_set(&s.compacted_config, id, true);
    CHECK(raft_new(&raft, &o, &s) == OK);
    rejoin = (struct rejoin){.self = SELF, .send = keep_sent};
    memset(said, 0, sizeof said);
}

static void play_rejoin(struct choices *in)
{
    bool leads = choose(in) & 1;
    start_raft();
    if (leads) {
        lead();
    } else {
        raft_set_may_vote(raft, false);
        raft_set_may_acknowledge(raft, false);
        rejoin_begin(&rejoin, 77);
    }
    for (unsigned i = 0; i < 64 && in->at < in->end; i++) {
        raft_term term = rejoin.term;
        raft_index point = rejoin.point;
        unsigned how = choose(in), from = 2 + how / 64;
        switch (how % 8) {
        case 0: case 1: case 2: rejoin_step_by(in); break;
        case 3: rejoin_tick(&rejoin, raft, !(how & 8)), turn(); break;
        case 4: append(from > N ? 2 : from, how & 8); break;
        case 5: hear((struct raft_message){.type = RAFT_HEARTBEAT, .commit = status().last.index,
                                           .term = status().term + (how >> 3 & 1)}, from > N ? 2 : from); break;
        case 6: raft_tick(raft), turn(); break;
        case 7: hear((struct raft_message){.type = RAFT_APPEND_ANSWER, .match = status().last.index,
                                           .checked = status().last.index}, from > N ? 2 : from); break;
        }
        if (rejoin.term != term || rejoin.point != point) memset(said, 0, sizeof said);
        check_rejoin();
    }
    raft_free(raft);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    setup();
    struct bytes in = bytes_of(data + 1, size - 1);
    struct choices choices = choices_of(in);
    switch (data[0] % 9) {
    case 0: checkpoint_row(in); break;
    case 1: statement(in); break;
    case 2: entry(in); break;
    case 3: rejoin_body(in); break;
    case 4: play_rejoin(&choices); break;
    case 5: checkpoint_rows(&choices); break;
    case 6: evidence_rows(&choices); break;
    case 7: signed_entry(&choices); break;
    case 8: signed_statement(&choices); break;
    }
    return 0;
}
