/* ledger/checkpoint.h. First byte
 *   printable: the whole input is a note or a verifier key, which comes back byte for byte when it is one. As a
 *              cluster's checkpoint it is refused, in words: nobody's signature stands under it;
 *   else:      a note is made with members' cosignatures and others (one line a byte), which is taken exactly when
 *              enough members signed this text and nothing under their names is wrong. Then bytes are changed: what
 *              is still taken says what was signed. */
#include <string.h>

#include "crypto/random.h"
#include "tests/lib/recode.h"
#include "tests/lib/signed_seed.h"
#include "tests/lib/taken.h"

#define MEMBERS 4
#define LINES 8
#define TIME_S 1790000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct genesis genesis;
static struct buffer genesis_text;
static struct cosigner members[LIMIT_NODES], stranger;
static struct node_secrets secrets[MEMBERS];
static struct sign_secret stranger_secret;

static void make(void)
{
    sample_genesis_parsed(&genesis, &genesis_text, MEMBERS, 1);
    cosigners_of_genesis(members, &genesis);
    for (uint32_t i = 0; i < MEMBERS; i++) sample_node_secrets(&secrets[i], i + 1);
    struct sign_public key;
    sample_key(&stranger_secret, &key, 77);
    cosigner_set(&stranger, "witness.example/w1", &key);
}

/* --- text --- */

static bool recodes(enum err (*recode)(struct buffer *, struct bytes), struct bytes in)
{
    struct buffer out = {0};
    bool taken = recode(&out, in) == OK;
    if (taken) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
    return taken;
}

/* What the members' verdict is, twice; refused with words. */
static enum err verdict(struct checkpoint *out, struct bytes in)
{
    char why[CHECKPOINT_WHY];
    struct checkpoint again;
    enum err e = checkpoint_verify(out, in, &genesis);
    CHECK(checkpoint_verify(&again, in, &genesis) == e);
    if (e == OK) return OK;
    CHECK(e == ERR_CHECKPOINT || e == ERR_TOO_LARGE || e == ERR_TOO_FEW_COSIGNATURES);
    checkpoint_explain(why, in, &genesis);
    CHECK(memchr(why, 0, sizeof why) && why[0] && text_valid(bytes_text(why)));
    return e;
}

static void text(struct bytes in)
{
    struct checkpoint c;
    fuzz_taken = recodes(recode_note, in);
    if (recodes(recode_vkey, in)) fuzz_taken = true;
    CHECK(verdict(&c, in) != OK);
}

/* --- cosigned --- */

enum line { GOOD, OF_ANOTHER_TEXT, OF_A_STRANGER, OF_ANOTHER_KEY, SHORT, LINE_KINDS };

struct made {
    struct checkpoint checkpoint, other; /* what is cosigned, by most and by some */
    struct cosigner names[LINES];
    struct cosignature lines[LINES];
    uint32_t count, good; /* good: bit i, member i + 1 */
    bool wrong; /* something under a member's name is, or stands there twice */
};

static void add_line(struct made *m, enum line kind, unsigned member, uint64_t time_s)
{
    struct cosigner *name = &m->names[m->count];
    struct cosignature *line = &m->lines[m->count++];
    const struct sign_secret *secret = kind == OF_A_STRANGER    ? &stranger_secret
                                       : kind == OF_ANOTHER_KEY ? &secrets[member].message
                                                                : &secrets[member].cosign;
    *name = kind == OF_A_STRANGER ? stranger : members[member];
    if (kind == OF_ANOTHER_KEY) cosigner_set(name, members[member].name, &genesis.members[member].keys.message);
    checkpoint_cosign(line, kind == OF_ANOTHER_TEXT ? &m->other : &m->checkpoint, time_s, secret);
    enum err e = checkpoint_cosignature_verify(line, &m->checkpoint, &name->key);
    CHECK(e == (kind == OF_ANOTHER_TEXT ? ERR_BAD_SIGNATURE : OK));
    if (kind == OF_A_STRANGER || kind == OF_ANOTHER_KEY) return; /* nobody's that is known */
    m->wrong = m->wrong || kind != GOOD || m->good >> member & 1;
    m->good |= 1u << member;
}

/* A member's name and key id before something that is no cosignature. */
static void append_short(struct buffer *out, unsigned member)
{
    uint8_t payload[9] = {0};
    memcpy(payload, members[member].key_id, 4);
    buffer_printf(out, "\xe2\x80\x94 %s ", members[member].name);
    base64_append(out, BYTES(payload));
    buffer_append_text(out, "\n");
}

static void note(struct buffer *out, struct made *m, struct seed_input *in)
{
    uint8_t shift = seed_take(in), lines = seed_take(in) % (LINES + 1);
    struct digest root = sample_digest(1 + seed_take(in));
    struct buffer last = {0};
    *m = (struct made){0};
    checkpoint_set(&m->checkpoint, &genesis, (UINT64_C(1) << shift % 64) - 1, &root);
    m->other = m->checkpoint;
    m->other.size ^= 1;
    for (unsigned i = 0; i < lines; i++) {
        uint8_t line = seed_take(in);
        enum line kind = (enum line)((line >> 2 & 7) % LINE_KINDS);
        if (kind == SHORT) append_short(&last, line % MEMBERS);
        else add_line(m, kind, line % MEMBERS, TIME_S + (line >> 5));
        if (kind == SHORT) m->wrong = true;
    }
    checkpoint_format(out, &m->checkpoint, m->names, m->lines, m->count);
    buffer_append_bytes(out, buffer_bytes(&last));
    buffer_free(&last);
}

static bool same(const struct checkpoint *a, const struct checkpoint *b)
{
    return strcmp(a->origin, b->origin) == 0 && a->size == b->size && digest_equal(&a->root, &b->root);
}

static void cosigned(struct seed_input *in)
{
    static struct made m;
    struct checkpoint got;
    struct buffer out = {0};
    note(&out, &m, in);
    enum err e = verdict(&got, buffer_bytes(&out));
    bool enough = (uint32_t)__builtin_popcount(m.good) >= genesis.quorum;
    CHECK((e == OK) == (enough && !m.wrong));
    if (e == OK) CHECK(same(&got, &m.checkpoint));
    fuzz_taken = recodes(recode_note, buffer_bytes(&out));
    if (seed_change(&out, in) && verdict(&got, buffer_bytes(&out)) == OK)
        CHECK(same(&got, &m.checkpoint) || same(&got, &m.other));
    (void)recodes(recode_note, buffer_bytes(&out));
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    crypto_init();
    if (!genesis_text.size) make();
    if (size == 0 || data[0] >= 0x20)
        text(bytes_of(data, size));
    else
        cosigned(&(struct seed_input){data + 1, data + size});
    return 0;
}
