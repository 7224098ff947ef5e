/* What a client is told by a node that lies: answers with rows of each kind, shares sealed to it, the collective
 * key's proof, an older checkpoint's file, leaves for people's eyes. The first byte says which. Whatever is taken
 * can be shown. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/collective.h"
#include "cli/extension.h"
#include "cli/leaf_words.h"
#include "cli/proved_rows.h"
#include "cli/rows.h"
#include "cli/shares.h"
#include "crypto/random.h"
#include "ledger/leaf.h"
#include "tests/lib/samples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct genesis *cluster(void)
{
    static struct genesis genesis;
    static struct buffer text;
    if (!text.size) sample_genesis_parsed(&genesis, &text, 4, 1);
    return &genesis;
}

static void show(json_t *row)
{
    char *text = json_dumps(row, JSON_ENSURE_ASCII);
    CHECK(text);
    free(text);
    json_decref(row);
}

/* Answers; each kind of row has its reader. */
#define ROWS(X) X(user_row, user_row) X(team_row, team_row_view) X(record_row, record_row) \
                X(history_row, history_row) X(list_row, list_row) X(log_row, log_row)
#define X(name, type)                                                                              \
    static void read_##name##s(struct bytes in)                                                    \
    {                                                                                              \
        struct answer answer;                                                                      \
        if (answer_open(&answer, in, LIMIT_ROWS) != OK) return;                                    \
        for (uint32_t i = 0; i < answer.count; i++) {                                              \
            struct type row;                                                                       \
            name##_read(&row, &answer.rows);                                                       \
            if (answer.rows.error != OK) return;                                                   \
            show(name##_json(&row));                                                               \
        }                                                                                          \
    }
ROWS(X)
#undef X

/* A row beside a leaf that is proved. */
static void compare_row(struct bytes in)
{
    struct log_row row;
    struct leaf leaf;
    struct unpack u = unpack_start(in);
    log_row_read(&row, &u);
    struct bytes rest = bytes_of(u.at, (size_t)(u.end - u.at));
    if (u.error == OK && leaf_decode(&leaf, rest) == OK) (void)row_fits_leaf(&row, &leaf);
}

/* Member 2 signs and seals what it likes; all that a reader does with it. */
static void shares(struct bytes in)
{
    static struct reader reader;
    struct node_secrets secrets;
    struct buffer sealed = {0}, signing = {0}, body = {0};
    struct message_shared m = {.count = 1};
    struct share_set set;
    member_set proved, refuted;
    const struct digest label = {{0}};
    uint8_t seed[32] = {1}, key[32];
    if (in.size == 0) return;
    uint32_t count = 1 + in.data[0] % 4;
    seal_keypair_from_seed(&reader.secret, &reader.public_key, seed);
    sample_node_secrets(&secrets, 2);
    CHECK(seal_box(&sealed, &reader.public_key, bytes_of(in.data + 1, in.size - 1)) == OK);
    struct share_ask ask = {.leaf_index = 7, .count = count};
    share_box_signing(&signing, &ask, buffer_bytes(&sealed));
    struct signature signature;
    sign_message(&signature, &secrets.message, buffer_bytes(&signing));
    m.shares[0] = (struct message_sealed){.member = 2, .sealed = buffer_bytes(&sealed)};
    memcpy(m.shares[0].signature, signature.bytes, sizeof signature.bytes);
    message_shared_encode(&body, &m);
    CHECK(share_set_read(&set, cluster(), &reader, &ask, &(struct read_extent){count, 0, 0}, buffer_bytes(&body)) == OK);
    CHECK(set.holder_count + member_count(set.wrong) == 1 && set.unsigned_set == 0);
    struct collective collective = {.epoch = 1, .n = 4, .key = POINT_GENERATOR};
    struct sealed_item item = {.label = label, .capsule.u = POINT_GENERATOR};
    for (int i = 0; i < 4; i++) collective.verification[i] = POINT_GENERATOR;
    for (uint32_t i = 0; set.holder_count && i < count; i++) {
        struct share_sorts sorts = share_set_sort(&set, i, &label, 1);
        CHECK((sorts.fitting | sorts.other | sorts.none) == MEMBER(2));
        CHECK(!set.elsewhere || sorts.other == MEMBER(2));
        share_set_verify(&proved, &refuted, &set, i, &collective, &item, sorts.fitting);
        CHECK((proved | refuted) == sorts.fitting);
        if (sorts.fitting) (void)share_set_open(key, &set, i, &collective, &item, sorts.fitting, 1);
    }
    share_set_free(&set);
    buffer_free(&sealed);
    buffer_free(&signing);
    buffer_free(&body);
}

static void collective_key(struct bytes in)
{
    struct collective key;
    struct failure why = {0};
    CHECK(collective_check(&key, cluster(), in, &why) != OK && why.text[0]); /* nobody's signature stands under it */
}

static void older_checkpoint(struct bytes in)
{
    struct checkpoint old;
    struct failure why = {0};
    CHECK(extension_read_old(&old, in, cluster(), &why) != OK && why.text[0]);
}

static void words(struct bytes in)
{
    char text[300], expected[200], found[200];
    leaf_words(text, sizeof text, in);
    CHECK(memchr(text, 0, sizeof text));
    struct bytes half = bytes_of(in.data, in.size / 2), rest = bytes_of(in.data + half.size, in.size - half.size);
    leaf_difference(expected, found, sizeof expected, half, rest);
    CHECK(memchr(expected, 0, sizeof expected) && memchr(found, 0, sizeof found));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#define X(name, type) read_##name##s,
    static void (*const readers[])(struct bytes) = {ROWS(X) compare_row, shares, collective_key, older_checkpoint,
                                                    words};
#undef X
    if (size == 0) return 0;
    crypto_init();
    readers[data[0] % (sizeof readers / sizeof readers[0])](bytes_of(data + 1, size - 1));
    return 0;
}
