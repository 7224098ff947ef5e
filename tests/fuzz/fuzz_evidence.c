/* ledger/evidence.h: what decodes comes back byte for byte, also through a file; nothing made up proves anything.
 *
 * The first byte chooses: 't' a file; 'm' two statements of members, made and signed as the input says, then altered;
 * anything else the encoding. Two that contradict each other prove it, and with a byte changed they don't. */
#include <string.h>

#include "base/check.h"
#include "crypto/random.h"
#include "ledger/checkpoint.h"
#include "ledger/evidence.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMBERS 4u

static struct genesis genesis;
static struct node_secrets secrets[MEMBERS + 1];

static void make(void)
{
    static struct buffer text;
    crypto_init();
    sample_genesis_parsed(&genesis, &text, MEMBERS, 1);
    for (uint32_t i = 1; i <= MEMBERS; i++) sample_node_secrets(&secrets[i], i);
}

/* As a file and back. */
static void through_file(const struct evidence *e, const struct genesis *named, struct bytes encoded)
{
    struct buffer text = {0}, again = {0};
    evidence_format(&text, e, named);
    CHECK(!text.failed && text.size <= EVIDENCE_TEXT);
    CHECK(evidence_parse(&again, buffer_bytes(&text)) == OK && bytes_equal(buffer_bytes(&again), encoded));
    buffer_free(&again);
    buffer_free(&text);
}

static void encoded(struct bytes in)
{
    static const struct genesis nobody;
    struct evidence e;
    struct buffer out = {0};
    if (evidence_decode(&e, in) != OK) return;
    fuzz_taken = true;
    evidence_encode(&out, &e);
    CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    CHECK(evidence_verify(&e, &nobody) != OK);
    if (evidence_verify(&e, &genesis) == OK) CHECK(evidence_contradict(&e.first, &e.second));
    if (evidence_contradict(&e.first, &e.second)) CHECK(evidence_kind_text(evidence_kind(&e))[0]);
    through_file(&e, &genesis, in);
    through_file(&e, &nobody, in);
    buffer_free(&out);
}

/* --- made --- */

static uint8_t next(struct bytes *in)
{
    uint8_t byte = in->size ? in->data[0] : 0;
    if (in->size) *in = bytes_of(in->data + 1, in->size - 1);
    return byte;
}

static void sign(struct statement *s, const struct digest *cluster, unsigned signer)
{
    struct checkpoint checkpoint;
    struct cosignature cosignature;
    if (s->kind != STATEMENT_COSIGNED) {
        evidence_statement_sign(s, cluster, &secrets[signer].message);
        return;
    }
    struct genesis other = genesis;
    if (!digest_equal(cluster, &genesis.cluster)) other.checkpoint_origin[strlen(other.checkpoint_origin) - 1] ^= 1;
    checkpoint_set(&checkpoint, &other, s->size, &s->hash);
    checkpoint_cosign(&cosignature, &checkpoint, s->time_s, &secrets[signer].cosign);
    s->signature = cosignature.signature;
}

/* Few values of each, so that two of them often agree. `own`: signed by that member in this cluster. */
static struct statement say(struct bytes *in, unsigned signer, bool *own)
{
    static const uint64_t numbers[] = {7, 42, 0, UINT64_MAX};
    uint8_t what = next(in), place = next(in), who = next(in);
    struct statement s = {.kind = (enum statement_kind)(STATEMENT_BLOCK + what % 4),
                          .hash = sample_digest(1 + what / 4 % 4)};
    struct digest cluster = genesis.cluster;
    if (s.kind == STATEMENT_TELL || s.kind == STATEMENT_COSIGNED) s.size = numbers[place & 3];
    if (s.kind == STATEMENT_COSIGNED) s.time_s = 1 + (place >> 2 & 3);
    if (s.kind != STATEMENT_COSIGNED) s.term = numbers[place >> 2 & 3], s.index = numbers[place >> 4 & 3];
    unsigned other = who % 8 == 7 ? 1 + (who >> 3) % MEMBERS : signer;
    if (who % 8 == 6) cluster.bytes[0] ^= 1;
    sign(&s, &cluster, other);
    *own = other == signer && who % 8 != 6;
    return s;
}

/* Each two bytes and a value alter one byte. */
static void alter(struct buffer *text, struct bytes in)
{
    for (; in.size >= 3; in = bytes_of(in.data + 3, in.size - 3))
        text->data[get_be16(in.data) % text->size] ^= in.data[2];
}

static void altered(const struct evidence *e, struct bytes in)
{
    struct buffer whole = {0}, changed = {0}, text = {0}, inside = {0};
    struct evidence read;
    evidence_encode(&whole, e);
    encoded(buffer_bytes(&whole));
    CHECK(whole.size <= EVIDENCE_SIZE && evidence_open(&read, buffer_bytes(&whole), &genesis) == OK);
    buffer_append_bytes(&changed, buffer_bytes(&whole));
    alter(&changed, in);
    bool same = bytes_equal(buffer_bytes(&whole), buffer_bytes(&changed));
    CHECK(same == (evidence_open(&read, buffer_bytes(&changed), &genesis) == OK));
    evidence_format(&text, e, &genesis);
    alter(&text, in);
    if (evidence_parse(&inside, buffer_bytes(&text)) == OK &&
        evidence_open(&read, buffer_bytes(&inside), &genesis) == OK)
        CHECK(bytes_equal(buffer_bytes(&inside), buffer_bytes(&whole)));
    buffer_free(&whole);
    buffer_free(&changed);
    buffer_free(&text);
    buffer_free(&inside);
}

static void made(struct bytes in)
{
    struct evidence e, other;
    bool first, second;
    unsigned signer = 1 + next(&in) % MEMBERS;
    struct statement a = say(&in, signer, &first), b = say(&in, signer, &second);
    bool contradict = evidence_contradict(&a, &b);
    CHECK(contradict == evidence_contradict(&b, &a) && !evidence_contradict(&a, &a));
    enum err code = evidence_make(&e, &genesis, signer, &a, &b);
    CHECK((code == OK) == (first && second && contradict));
    CHECK(evidence_make(&other, &genesis, MEMBERS + 1, &a, &b) != OK);
    CHECK(evidence_make(&other, &genesis, signer % MEMBERS + 1, &a, &b) != OK || !first || !second);
    if (code != OK) return;
    CHECK(evidence_place(&e) == (a.kind == STATEMENT_COSIGNED ? a.size : a.index));
    altered(&e, in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if (!genesis.member_count) make();
    struct bytes in = bytes_of(data + 1, size - 1);
    struct buffer inside = {0};
    if (data[0] == 'm')
        made(in);
    else if (data[0] != 't')
        encoded(in);
    else if (evidence_parse(&inside, in) == OK)
        encoded(buffer_bytes(&inside));
    buffer_free(&inside);
    return 0;
}
