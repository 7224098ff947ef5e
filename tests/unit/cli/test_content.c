/* Content comes back byte for byte, from any k honest holders; who lies is named. */
#include "cli/content.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/output.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "ledger/arguments.h"
#include "ledger/attachment.h"
#include "tests/lib/fake_cluster.h"
#include "tests/lib/live_notice.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define RECORDS 3

static struct fake_cluster fake;
static struct cluster cluster;
static struct output output;
static struct signer signer;
static struct collective key;
static struct failure failure;
static struct submission reading;
static struct reader reader;
static struct read_extent extent; /* by the answer */
static const char *const texts[RECORDS] = {"the first", "", "the third, with a zero: \0 inside"};
static const size_t sizes[RECORDS] = {9, 0, 33};

static struct record_context context_of(unsigned n)
{
    return (struct record_context){.cluster = fake.genesis.cluster,
                                   .patient = sample_id(9),
                                   .record = sample_id(20 + n),
                                   .version = 1,
                                   .conf = CONF_NORMAL,
                                   .author = signer.user};
}

static void submit_record(const struct record_context *context, struct bytes content)
{
    struct buffer args = {0};
    struct submission s = {0};
    args_record_create_encode(&args, &(struct args_record_create){.record = context->record,
                                                                  .patient = context->patient,
                                                                  .kind = bytes_text("Note"), .conf = CONF_NORMAL});
    struct draft draft = {.action = ACTION_RECORD_CREATE,
                          .args = buffer_bytes(&args),
                          .attached = true,
                          .attachment = content};
    assert_int_equal(submit(&s, &cluster, &signer, &draft, 1, &failure), OK);
    submission_free(&s);
    buffer_free(&args);
}

static void create_record(unsigned n)
{
    struct record_context context = context_of(n);
    struct buffer content = {0};
    assert_int_equal(content_close(&content, &key, &context, bytes_of(texts[n], sizes[n]), &failure), OK);
    submit_record(&context, buffer_bytes(&content));
    buffer_free(&content);
}

static void read_chart_of(unsigned patient)
{
    struct buffer args = {0};
    seal_keypair_random(&reader.secret, &reader.public_key);
    args_record_read_encode(
        &args,
        &(struct args_record_read){.patient = sample_id(patient), .reader_key = reader.public_key, .limit = LIMIT_OPENED});
    submission_free(&reading);
    assert_int_equal(submit(&reading, &cluster, &signer,
                            &(struct draft){.action = ACTION_RECORD_READ, .args = buffer_bytes(&args)}, 1, &failure),
                     OK);
    buffer_free(&args);
}

static void read_chart(void) { read_chart_of(9); }

/* Of tests in which no time runs out, however slow the machine is. */
#define PATIENCE_MS 60000

static int setup(void **state)
{
    (void)state;
    fake_cluster_start(&fake, 1);
    setenv("XDG_CACHE_HOME", fake.folder, 1);
    signer = (struct signer){.user = sample_id(5), .secrets = secret_alloc(sizeof *signer.secrets)};
    sample_key(&signer.secrets->sign, &signer.public_key, 5);
    signer.key_id = key_id_of(&signer.public_key);
    assert_int_equal(cluster_open(&cluster, fake.genesis_file, NULL, PATIENCE_MS, NULL, &failure), OK);
    cluster.started = 1;
    assert_int_equal(collective_get(&key, &cluster, &failure), OK);
    for (unsigned i = 0; i < RECORDS; i++)
        create_record(i);
    extent = (struct read_extent){.count = RECORDS};
    read_chart();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    submission_free(&reading);
    signer_close(&signer);
    cluster_close(&cluster);
    fake_cluster_end(&fake);
    return 0;
}

/* --- opening, with what is said on standard error --- */

static char said[4096];
static unsigned taken;

static enum err take(void *data, uint32_t position, struct opened_content *item)
{
    (void)data;
    struct id record = sample_id(20 + position);
    assert_int_equal(position, taken);
    assert_true(bytes_equal(buffer_bytes(&item->plain), bytes_of(texts[position], sizes[position])));
    assert_true(id_equal(&item->context.record, &record));
    taken++;
    return OK;
}

/* Descriptors that last: one that comes and goes beside the nodes' thread looks like a race to TSan. */
static FILE *heard;
static int standard_error;

static enum err open_all(void)
{
    fflush(NULL);
    dup2(fileno(heard), 2);
    cluster.output = &output;
    taken = 0;
    failure = (struct failure){0};
    enum err e = content_open(&cluster, &key, &reader, &reading, 0, &extent, take, NULL, &failure);
    cluster.output = NULL;
    fflush(NULL);
    dup2(standard_error, 2);
    rewind(heard);
    said[fread(said, 1, sizeof said - 1, heard)] = '\0';
    rewind(heard);
    assert_int_equal(ftruncate(fileno(heard), 0), 0);
    if (e == OK) assert_int_equal(taken, RECORDS);
    return e;
}

static void serve_by(uint32_t member)
{
    cluster_drop(&cluster);
    cluster.started = member;
}

/* What a read and its opening take together has one time-out, which each item that opens begins anew. */
static void test_one_deadline(void **state)
{
    (void)state;
    cluster.one_deadline = true;
    cluster_renew(&cluster);
    read_chart();
    uint64_t end = cluster.end_ns;
    assert_int_not_equal(end, 0);
    assert_int_equal(open_all(), OK);
    assert_true(cluster.end_ns > end);
    assert_int_equal(cluster.give_up_ns, 0);
    fake_cluster_fault(&fake, 0, FAKE_MUTE);
    cluster.timeout_ms = 1500;
    uint64_t took = UINT64_MAX;
    /* A pause of this machine is none of the client's: then it is measured again. */
    for (unsigned tries = 0; tries < 10 && took > UINT64_C(2000000) * cluster.timeout_ms; tries++) {
        cluster_renew(&cluster);
        uint64_t start = clock_monotonic_ns();
        assert_int_equal(exit_code_of(open_all()), EXIT_NO_QUORUM);
        took = clock_monotonic_ns() - start;
    }
    assert_true(took <= UINT64_C(2000000) * cluster.timeout_ms);
}

static void test_opens(void **state)
{
    (void)state;
    assert_int_equal(open_all(), OK);
    assert_string_equal(said, "");
    for (uint32_t m = 1; m <= FAKE_NODES; m++) { /* through each node: it learns first whose session it is */
        serve_by(m);
        assert_int_equal(open_all(), OK);
        assert_int_equal(cluster.member, m);
    }
}

static void test_one_holder_lies(void **state)
{
    (void)state;
    static const struct {
        enum fake_fault fault;
        bool named; /* its lie is signed */
    } cases[] = {{FAKE_BAD_SHARE, true}, {FAKE_OTHER_LABEL, true}, {FAKE_FOREIGN_BOX, true},
                 {FAKE_UNSIGNED_SHARE, false}, {FAKE_NO_SHARE, false}, {FAKE_OTHER_EXTENT, true},
                 {FAKE_NONE_OF_ITEM, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (uint32_t liar = 1; liar <= FAKE_NODES; liar++) {
            fake_cluster_fault(&fake, 0, FAKE_FINE);
            fake_cluster_fault(&fake, liar, cases[i].fault);
            serve_by(1);
            if (open_all() != OK) fail_msg("fault %d of %u: %s", cases[i].fault, liar, failure.text);
            char name[20];
            snprintf(name, sizeof name, "node-%u gave a wrong", liar);
            bool asked = liar <= 3; /* node 1 asks itself, 2 and 3 first */
            if ((strstr(said, name) != NULL) != (cases[i].named && asked))
                fail_msg("fault %d of %u said: %s", cases[i].fault, liar, said);
            /* Once is enough, and nobody else is blamed. */
            char *first = strstr(said, "gave a wrong");
            assert_true(!first || !strstr(first + 1, "gave a wrong"));
        }
}

/* How many records a read opens, and what it leaves out, is what k nodes sign, not the serving node's word. */
static void test_list_is_signed(void **state)
{
    (void)state;
    static const struct read_extent others[] = {
        {RECORDS - 1, 0, 0}, {0, 0, 0}, {RECORDS, 9, 0}, {RECORDS, 0, 1}, {0, 0, 1}, {0, 9, 0}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        for (uint32_t serving = 1; serving <= FAKE_NODES; serving++) {
            extent = others[i];
            serve_by(serving);
            assert_int_equal(open_all(), ERR_LEFT_OUT);
            assert_int_equal(taken, 0);
            assert_string_equal(said, "");
        }
    extent = (struct read_extent){RECORDS, 0, 7};
    FAKE_LOCKED(&fake, fake.left_out = 7);
    assert_int_equal(open_all(), OK);
    /* Of a lone holder it is a lie; of more than may lie it is the truth. */
    fake_cluster_fault(&fake, 1, FAKE_OTHER_EXTENT);
    assert_int_equal(open_all(), OK);
    assert_non_null(strstr(said, "node-1 gave a wrong list"));
    fake_cluster_fault(&fake, 2, FAKE_OTHER_EXTENT);
    assert_int_equal(open_all(), ERR_LEFT_OUT);
    assert_non_null(strstr(failure.text, "node-1, node-2 signed otherwise"));
}

static enum err open_nothing(void)
{
    serve_by(1);
    return content_open(&cluster, &key, &reader, &reading, 0, &extent, take, NULL, &failure);
}

/* Nothing to open is signed as well: else a chart could be shown as empty. One that gives no word on it, or none that
 * counts, is left out, and the others asked; no other node has to serve. */
static void test_nothing_is_signed_too(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_FINE, FAKE_NO_SHARE, FAKE_FOREIGN_BOX, FAKE_UNSIGNED_SHARE};
    read_chart_of(8);
    extent = (struct read_extent){0};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        for (uint32_t liar = 1; liar <= FAKE_NODES; liar++) {
            fake_cluster_fault(&fake, 0, FAKE_FINE);
            fake_cluster_fault(&fake, liar, faults[i]);
            enum err e = open_nothing();
            if (e != OK) fail_msg("fault %d of %u: %s", faults[i], liar, failure.text);
            assert_int_equal(cluster.member, 1);
        }
    fake_cluster_fault(&fake, 0, FAKE_NO_SHARE);
    cluster.timeout_ms = 2000;
    assert_int_equal(open_nothing(), ERR_TOO_FEW_SHARES);
}

/* What an honest holder gave for another question is no lie of it, and no other node is needed. */
static void test_a_box_of_another_question(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 2, FAKE_REPLAYS_SHARES);
    serve_by(2);
    assert_int_equal(open_all(), OK);
    assert_string_equal(said, "");
    assert_int_equal(cluster.member, 2);
}

/* Its own shares, of a read that opens fewer than its answer says, are asked for again only while its turn lasts. */
static void test_serving_node_contradicts_itself(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 2, FAKE_CONTRADICTS);
    cluster.timeout_ms = 8000;
    serve_by(2);
    if (open_all() != OK) fail_msg("%s", failure.text);
    assert_int_equal(cluster.member, 3);
    assert_non_null(strstr(said, "node-2 gave a wrong list"));
    assert_null(strstr(said, "node-3 gave"));
}

static void test_too_many_lie(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 1, FAKE_BAD_SHARE);
    fake_cluster_fault(&fake, 3, FAKE_BAD_SHARE);
    enum err e = open_all();
    assert_int_equal(exit_code_of(e), EXIT_VERIFICATION);
    assert_non_null(strstr(failure.text, "node-1"));
    assert_non_null(strstr(failure.text, "node-3"));
    assert_int_equal(taken, 0);
    fake_cluster_fault(&fake, 0, FAKE_FINE);
    fake_cluster_fault(&fake, 1, FAKE_NO_SHARE);
    fake_cluster_fault(&fake, 3, FAKE_NO_SHARE);
    cluster.timeout_ms = 4000; /* others' shares are waited for */
    assert_int_equal(open_all(), ERR_TOO_FEW_SHARES);
    assert_int_equal(exit_code_of(ERR_TOO_FEW_SHARES), EXIT_NO_QUORUM);
}

/* A serving node that alters content can't frame honest holders: another one serves, nobody is called a liar. */
static void test_serving_node_lies(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_ALTERED_CONTENT, FAKE_ALTERED_CAPSULE, FAKE_OTHER_U,
                                           FAKE_OTHER_CONTENT};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        fake_cluster_fault(&fake, 0, FAKE_FINE);
        fake_cluster_fault(&fake, 2, faults[i]);
        serve_by(2);
        if (open_all() != OK) fail_msg("fault %d: %s", faults[i], failure.text);
        assert_null(strstr(said, "gave a wrong"));
        assert_non_null(strstr(said, "node-2"));
        assert_non_null(strstr(said, "asking another node"));
        assert_int_equal(cluster.member, 3);
        /* Alone, it opens nothing. */
        cluster_drop(&cluster);
        cluster.via = 2;
        assert_int_equal(exit_code_of(open_all()), EXIT_VERIFICATION);
        cluster_drop(&cluster);
        cluster.via = 0;
    }
}

/* --- an author whose ciphertext opens under two keys --- */

#define TAG_BITS (8 * AEAD_TAG_SIZE)
#define TWO_FACED 64 /* bytes of plaintext; the last block is what makes both tags the same */

/* The tag of `sealed` under this key: what decrypts to it is encrypted. */
static void tag_of(uint8_t tag[static AEAD_TAG_SIZE], const uint8_t *key_bytes, const uint8_t *sealed,
                   struct bytes context)
{
    uint8_t zeros[TWO_FACED] = {0}, stream[TWO_FACED + AEAD_TAG_SIZE], plain[TWO_FACED];
    aead_encrypt(stream, key_bytes, AEAD_ZERO_NONCE, BYTES(zeros), context);
    for (size_t i = 0; i < TWO_FACED; i++) plain[i] = stream[i] ^ sealed[i];
    aead_encrypt(stream, key_bytes, AEAD_ZERO_NONCE, BYTES(plain), context);
    memcpy(tag, stream + TWO_FACED, AEAD_TAG_SIZE);
}

/* By how much the two tags differ. It is affine in the bits of each block: GCM's tag is a polynomial over them. */
static void gap_of(uint8_t gap[static AEAD_TAG_SIZE], uint8_t keys[2][AEAD_KEY_SIZE], const uint8_t *sealed,
                   struct bytes context)
{
    uint8_t other[AEAD_TAG_SIZE];
    tag_of(gap, keys[0], sealed, context);
    tag_of(other, keys[1], sealed, context);
    for (size_t i = 0; i < AEAD_TAG_SIZE; i++) gap[i] ^= other[i];
}

static bool bit_of(const uint8_t *bytes, size_t i) { return bytes[i / 8] >> i % 8 & 1; }

/* Each row: what a bit of the last block changes in the gap, and which bits of the block that is, by elimination. */
struct gap_row {
    uint8_t gap[AEAD_TAG_SIZE], block[AEAD_TAG_SIZE];
};

static void row_add(struct gap_row *to, const struct gap_row *from)
{
    for (size_t i = 0; i < AEAD_TAG_SIZE; i++) to->gap[i] ^= from->gap[i], to->block[i] ^= from->block[i];
}

/* Sets the last block of `sealed`, so that its tag is the same under both keys, and the tag. */
static void fit_both(uint8_t sealed[static TWO_FACED + AEAD_TAG_SIZE], uint8_t keys[2][AEAD_KEY_SIZE],
                     struct bytes context)
{
    static struct gap_row rows[TAG_BITS];
    uint8_t *last = sealed + TWO_FACED - AEAD_TAG_SIZE;
    struct gap_row wanted = {{0}, {0}};
    memset(last, 0, AEAD_TAG_SIZE);
    gap_of(wanted.gap, keys, sealed, context);
    for (size_t i = 0; i < TAG_BITS; i++) {
        rows[i] = (struct gap_row){{0}, {0}};
        rows[i].block[i / 8] = last[i / 8] = (uint8_t)(1 << i % 8);
        gap_of(rows[i].gap, keys, sealed, context);
        for (size_t j = 0; j < AEAD_TAG_SIZE; j++) rows[i].gap[j] ^= wanted.gap[j];
        last[i / 8] = 0;
    }
    for (size_t bit = 0; bit < TAG_BITS; bit++) {
        size_t pivot = bit;
        while (pivot < TAG_BITS && !bit_of(rows[pivot].gap, bit)) pivot++;
        assert_true(pivot < TAG_BITS);
        struct gap_row row = rows[pivot];
        rows[pivot] = rows[bit];
        rows[bit] = row;
        for (size_t i = 0; i < TAG_BITS; i++)
            if (i != bit && bit_of(rows[i].gap, bit)) row_add(&rows[i], &row);
        if (bit_of(wanted.gap, bit)) row_add(&wanted, &row);
    }
    memcpy(last, wanted.block, AEAD_TAG_SIZE);
    tag_of(sealed + TWO_FACED, keys[0], sealed, context);
}

/* A record of which a node that serves U + G, and nothing else of its own, shows another text than the others do. */
static void create_two_faced(unsigned n)
{
    struct record_context context = context_of(n);
    struct buffer context_bytes = {0}, capsule_bytes = {0}, content = {0};
    struct tdh2_secret secret;
    struct tdh2_capsule capsule;
    struct digest context_hash;
    uint8_t keys[2][AEAD_KEY_SIZE], info[20 + 32] = "consilium/record/v1\n", sealed[TWO_FACED + AEAD_TAG_SIZE] = {0};
    uint8_t opened[TWO_FACED];
    struct point other_u;
    record_context_encode(&context_bytes, &context);
    hash_sha256(&context_hash, context_bytes.data, context_bytes.size);
    tdh2_begin(&secret, keys[0], &key.key, &context_hash);
    point_add(&other_u, &secret.u, &POINT_GENERATOR);
    struct point shared;
    point_multiply(&shared, &secret.r, &key.key);
    memcpy(info + 20, context_hash.bytes, 32);
    hkdf_sha256(keys[1], 32, BYTES(shared.bytes), BYTES(other_u.bytes), BYTES(info));
    fit_both(sealed, keys, buffer_bytes(&context_bytes));
    for (unsigned i = 0; i < 2; i++) /* so it is: AES-GCM does not tell */
        assert_int_equal(
            aead_decrypt(opened, keys[i], AEAD_ZERO_NONCE, BYTES(sealed), buffer_bytes(&context_bytes)), OK);
    struct digest label = record_label(buffer_bytes(&context_bytes), BYTES(sealed));
    tdh2_finish(&capsule, &secret, &key.key, &label, key.epoch);
    tdh2_capsule_pack(&capsule_bytes, &capsule);
    content_encode(&content, &(struct content){buffer_bytes(&capsule_bytes), BYTES(sealed)});
    submit_record(&context, buffer_bytes(&content));
    buffer_free(&context_bytes);
    buffer_free(&capsule_bytes);
    buffer_free(&content);
}

/* A record whose capsule's nonce is not made of rY, as of clients before that was so. */
static void create_with_other_nonce(unsigned n)
{
    struct record_context context = context_of(n);
    struct buffer context_bytes = {0}, capsule_bytes = {0}, content = {0};
    struct tdh2_secret secret;
    struct tdh2_capsule capsule;
    struct digest context_hash;
    uint8_t content_key[AEAD_KEY_SIZE], sealed[5 + AEAD_TAG_SIZE];
    record_context_encode(&context_bytes, &context);
    hash_sha256(&context_hash, context_bytes.data, context_bytes.size);
    tdh2_begin(&secret, content_key, &key.key, &context_hash);
    aead_encrypt(sealed, content_key, AEAD_ZERO_NONCE, bytes_text("older"), buffer_bytes(&context_bytes));
    secret.shared = POINT_GENERATOR;
    struct digest label = record_label(buffer_bytes(&context_bytes), BYTES(sealed));
    tdh2_finish(&capsule, &secret, &key.key, &label, key.epoch);
    tdh2_capsule_pack(&capsule_bytes, &capsule);
    content_encode(&content, &(struct content){buffer_bytes(&capsule_bytes), BYTES(sealed)});
    submit_record(&context, buffer_bytes(&content));
    buffer_free(&context_bytes);
    buffer_free(&capsule_bytes);
    buffer_free(&content);
}

static enum err keep(void *data, uint32_t position, struct opened_content *item)
{
    assert_int_equal(position, RECORDS);
    buffer_append_bytes(data, buffer_bytes(&item->plain));
    return OK;
}

/* Its author and one node together can't show one reader another content than the next. */
static void test_one_content_for_all(void **state)
{
    (void)state;
    struct buffer honest = {0}, dishonest = {0};
    create_two_faced(RECORDS);
    read_chart();
    extent.count++;
    assert_int_equal(content_open(&cluster, &key, &reader, &reading, RECORDS, &extent, keep, &honest, &failure), OK);
    assert_int_equal(honest.size, TWO_FACED);
    fake_cluster_fault(&fake, 2, FAKE_OTHER_U);
    serve_by(2);
    assert_int_equal(content_open(&cluster, &key, &reader, &reading, RECORDS, &extent, keep, &dishonest, &failure), OK);
    assert_true(bytes_equal(buffer_bytes(&honest), buffer_bytes(&dishonest)));
    assert_int_not_equal(cluster.member, 2);
    buffer_free(&honest);
    buffer_free(&dishonest);
}

/* An approved read is opened by the others, whatever the node says that happens to serve. */
static void test_serving_node_refuses(void **state)
{
    (void)state;
    static const enum fake_fault faults[] = {FAKE_KEEPS_SHARES, FAKE_DENIES_SHARES};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        fake_cluster_fault(&fake, 0, FAKE_FINE);
        fake_cluster_fault(&fake, 2, faults[i]);
        cluster.timeout_ms = faults[i] == FAKE_KEEPS_SHARES ? 8000 : PATIENCE_MS; /* others' shares are waited for */
        serve_by(2);
        if (open_all() != OK) fail_msg("fault %d: %s", faults[i], failure.text);
        assert_null(strstr(said, "gave a wrong"));
        assert_non_null(strstr(said, "asking another node"));
        assert_int_equal(cluster.member, 3);
    }
    /* What all say is so. */
    fake_cluster_fault(&fake, 0, FAKE_DENIES_SHARES);
    cluster.timeout_ms = PATIENCE_MS;
    assert_int_equal(open_all(), ERR_DENIED);
}

static void test_another_nonce_is_proved(void **state)
{
    (void)state;
    struct buffer opened = {0};
    create_with_other_nonce(RECORDS);
    read_chart();
    extent.count++;
    fake_cluster_fault(&fake, 1, FAKE_BAD_SHARE);
    serve_by(1);
    assert_int_equal(content_open(&cluster, &key, &reader, &reading, RECORDS, &extent, keep, &opened, &failure), OK);
    assert_true(bytes_equal(buffer_bytes(&opened), bytes_text("older")));
    buffer_free(&opened);
}

/* A node that is to learn who asks may name any error, also one that would be the reader's own. */
static void test_refuses_to_learn_who_asks(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 2, FAKE_NO_MEMORY);
    serve_by(2);
    assert_int_equal(open_all(), OK);
    assert_int_equal(cluster.member, 3);
    assert_non_null(strstr(said, "asking another node"));
    fake_cluster_fault(&fake, 0, FAKE_NO_MEMORY);
    serve_by(2);
    assert_int_equal(open_all(), ERR_NOMEM);
}

/* Others that can't learn now who asks are no reason to tell the reader that they may not. */
static void test_nobody_learns_who_asks(void **state)
{
    (void)state;
    fake_cluster_fault(&fake, 0, FAKE_NO_QUORUM);
    fake_cluster_fault(&fake, 2, FAKE_ALTERED_CONTENT);
    serve_by(2);
    enum err e = open_all();
    assert_int_equal(exit_code_of(e), EXIT_NO_QUORUM);
    assert_null(strstr(said, err_text(ERR_UNAUTHORIZED)));
}

static enum err refuse(void *data, uint32_t position, struct opened_content *item)
{
    (void)data;
    (void)position;
    (void)item;
    return ERR_IO;
}

/* While a chart waits for shares. */
static void test_a_notice_is_said_at_once(void **state)
{
    (void)state;
    serve_by(1);
    read_chart();
    cluster.output = &output;
    fake_cluster_fault(&fake, 3, FAKE_NO_SHARE);
    fake_cluster_fault(&fake, 4, FAKE_NO_SHARE);
    taken = 0;
    live_notice_begin(&fake, &fake.nodes[1].shares);
    enum err e = content_open(&cluster, &key, &reader, &reading, 0, &extent, take, NULL, &failure);
    assert_true(live_notice_end());
    assert_int_equal(e, OK);
    assert_int_equal(taken, RECORDS);
    cluster.output = NULL;
}

/* All has come, and a notice comes while the first record is shown. */
static enum err take_slowly(void *data, uint32_t position, struct opened_content *item)
{
    struct pollfd fd = {.fd = client_descriptor(cluster.client), .events = POLLIN};
    if (position == 0) {
        live_notice_send(&fake);
        assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
    }
    if (position == RECORDS - 1) assert_true(live_notice_said());
    return take(data, position, item);
}

static void test_a_notice_is_said_between_two_records(void **state)
{
    (void)state;
    FAKE_LOCKED(&fake, fake.all_at_once = true);
    cluster.output = &output;
    taken = 0;
    live_notice_listen();
    enum err e = content_open(&cluster, &key, &reader, &reading, 0, &extent, take_slowly, NULL, &failure);
    live_notice_restore();
    assert_int_equal(e, OK);
    assert_int_equal(taken, RECORDS);
    cluster.output = NULL;
}

static void test_taker_ends_it(void **state)
{
    (void)state;
    assert_int_not_equal(content_open(&cluster, &key, &reader, &reading, 0, &extent, refuse, NULL, &failure), OK);
}

/* --- closing --- */

static void test_closing(void **state)
{
    (void)state;
    struct record_context context = {.cluster = fake.genesis.cluster, .patient = sample_id(9), .record = sample_id(1),
                                     .version = 1, .conf = CONF_NORMAL, .author = signer.user};
    struct buffer one = {0}, two = {0};
    uint8_t *large = calloc(1, LIMIT_RECORD + 1);
    assert_int_equal(content_close(&one, &key, &context, bytes_of(large, LIMIT_RECORD + 1), &failure),
                     ERR_RECORD_TOO_LARGE);
    assert_int_equal(content_close(&one, &key, &context, bytes_of(large, LIMIT_RECORD), &failure), OK);
    assert_true(one.size <= LIMIT_ATTACHMENT - 64);
    buffer_clear(&one);
    assert_int_equal(content_close(&one, &key, &context, bytes_text("same"), &failure), OK);
    assert_int_equal(content_close(&two, &key, &context, bytes_text("same"), &failure), OK);
    assert_false(bytes_equal(buffer_bytes(&one), buffer_bytes(&two))); /* a fresh key each time */
    buffer_free(&one);
    buffer_free(&two);
    free(large);
}

int main(void)
{
    crypto_init();
    heard = tmpfile();
    standard_error = dup(2);
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_one_deadline),
        TEST(test_opens),           TEST(test_one_holder_lies), TEST(test_too_many_lie),
        TEST(test_list_is_signed), TEST(test_nothing_is_signed_too), TEST(test_a_box_of_another_question),
        TEST(test_serving_node_contradicts_itself),
        TEST(test_serving_node_lies),
        TEST(test_one_content_for_all),
        TEST(test_serving_node_refuses),
        TEST(test_refuses_to_learn_who_asks),
        TEST(test_another_nonce_is_proved), TEST(test_nobody_learns_who_asks),
        TEST(test_a_notice_is_said_at_once), TEST(test_a_notice_is_said_between_two_records),
        TEST(test_taker_ends_it),
        TEST(test_closing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
