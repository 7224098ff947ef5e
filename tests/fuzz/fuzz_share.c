/* Shares from a node that lies, and what dealers give and publish. First byte
 *   0: a share as it is; 1: a dealer's commitments; 2: a polynomial of our own, from the disk;
 *   3: proved shares of one capsule by the nodes that the next byte says, changed in places, and then combined;
 *   4: a key generation: its dealers' polynomials from the rest, and one that gives or publishes something else;
 *   5: a resharing of a key to other nodes and another threshold, in the same way. */
#include "base/check.h"
#include "crypto/random.h"
#include "tests/lib/taken.h"
#include "tests/lib/threshold_seed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

static uint8_t take(struct input *in) { return in->at < in->end ? *in->at++ : 0; }

static void shift(struct point *p, uint8_t by)
{
    const struct scalar number = scalar_from_uint(by);
    struct point more;
    point_multiply_generator(&more, &number);
    point_add(p, p, &more);
}

/* --- bytes --- */

static bool recoded(struct tdh2_share *out, struct bytes in)
{
    struct buffer again = {0};
    if (tdh2_share_decode(out, in) != OK) return false;
    CHECK(out->node >= 1 && out->node <= LIMIT_NODES && in.size <= TDH2_SHARE_SIZE_MAX);
    tdh2_share_pack(&again, out);
    CHECK(bytes_equal(buffer_bytes(&again), in));
    buffer_free(&again);
    return fuzz_taken = true;
}

static void raw_share(struct input *in)
{
    struct tdh2_share share;
    const struct capsule_seed *seed = capsule_seed(0);
    uint8_t key[32];
    if (!recoded(&share, bytes_of(in->at, (size_t)(in->end - in->at)))) return;
    enum err e = tdh2_share_verify(&share, &threshold_seed()->y[1], &seed->capsule.u);
    CHECK(e == OK ? share.proved : e == ERR_BAD_SHARE);
    CHECK(tdh2_combine(key, &share, 1, &seed->capsule.u, &seed->context) == OK);
}

static void commitments(struct input *in)
{
    struct bytes bytes = bytes_of(in->at, (size_t)(in->end - in->at));
    struct dkg_commitments c;
    struct point keys[4];
    struct buffer out = {0};
    uint32_t k = (uint32_t)(bytes.size / 32);
    CHECK(dkg_commitments_decode(&c, k + 1, bytes) != OK);
    if (dkg_commitments_decode(&c, k, bytes) != OK) return;
    fuzz_taken = true;
    CHECK(c.k == k && k >= 1 && k <= LIMIT_NODES);
    CHECK(dkg_commitments_encode(&out, &c) == OK && bytes_equal(buffer_bytes(&out), bytes));
    buffer_free(&out);
    enum err e = dkg_verification_keys(keys, 4, &c);
    CHECK(e == OK || e == ERR_BAD_POINT);
}

static void polynomial(struct input *in)
{
    struct bytes bytes = bytes_of(in->at, (size_t)(in->end - in->at));
    struct dkg_polynomial p;
    struct buffer out = {0};
    if (dkg_polynomial_decode(&p, bytes) != OK) return;
    fuzz_taken = true;
    CHECK(dkg_polynomial_encode(&out, &p) == OK && bytes_equal(buffer_bytes(&out), bytes));
    buffer_free(&out);
}

/* --- shares with proofs, of nodes that know their part of the key --- */

static void change_share(struct tdh2_share *s, struct input *in)
{
    uint8_t where = take(in), by = take(in);
    const struct scalar number = scalar_from_uint(by);
    switch (where % 9) {
    case 0: shift(&s->d, by); break;
    case 1: scalar_add(&s->proof.e, &s->proof.e, &number); break;
    case 2: scalar_add(&s->proof.f, &s->proof.f, &number); break;
    case 3: s->epoch += by; break;
    case 4: s->node = 1 + by % LIMIT_NODES; break;
    case 5: s->label.bytes[0] ^= by; break;
    case 6: s->leaf_index = (uint64_t)by << where / 9 * 8 % 64; break;
    case 7: s->proved = false; break;
    case 8: s->d = capsule_seed(by)->d[1 + by % SEED_N]; break;
    }
}

/* What its proof is about. */
static bool same_statement(const struct tdh2_share *a, const struct tdh2_share *b)
{
    return a->epoch == b->epoch && a->node == b->node && point_equal(&a->d, &b->d) &&
           scalar_equal(&a->proof.e, &b->proof.e) && scalar_equal(&a->proof.f, &b->proof.f) && a->proved;
}

/* Returns whether it is proved; `s` is then as it came through the decoder. */
static bool give_share(struct tdh2_share *s, uint32_t node, bool change, struct input *in)
{
    const struct threshold_seed *t = threshold_seed();
    const struct capsule_seed *c = capsule_seed(0);
    struct buffer bytes = {0};
    *s = (struct tdh2_share){.leaf_index = 9, .label = c->label, .epoch = SEED_EPOCH, .node = node, .d = c->d[node]};
    tdh2_share_prove(s, &t->x[node], &t->y[node], &c->capsule.u);
    const struct tdh2_share before = *s;
    if (change) change_share(s, in);
    tdh2_share_pack(&bytes, s);
    CHECK(recoded(s, buffer_bytes(&bytes)));
    enum err e = tdh2_share_verify(s, &t->y[node], &c->capsule.u);
    CHECK(e == (same_statement(s, &before) ? OK : ERR_BAD_SHARE));
    CHECK(tdh2_share_verify(s, &t->y[1 + node % SEED_N], &c->capsule.u) == ERR_BAD_SHARE);
    buffer_free(&bytes);
    return e == OK;
}

static void proved_shares(struct input *in)
{
    const struct capsule_seed *c = capsule_seed(0);
    uint8_t which = take(in), changed = take(in), key[32];
    struct tdh2_share shares[SEED_N];
    size_t count = 0;
    bool all = true, alike = true;
    for (uint32_t i = 1; i <= SEED_N; i++) {
        if (!(which >> i & 1)) continue;
        struct tdh2_share *s = &shares[count++];
        all = give_share(s, i, changed >> i & 1, in) && all;
        alike = alike && digest_equal(&s->label, &shares[0].label) && s->epoch == shares[0].epoch;
    }
    enum err e = tdh2_combine(key, shares, count, &c->capsule.u, &c->context);
    if (count == 0) CHECK(e == ERR_TOO_FEW_SHARES);
    else if (!alike) CHECK(e == ERR_BAD_SHARE);
    else CHECK(e == OK || e == ERR_INVALID); /* a node that is there twice */
    if (e == OK && all && alike) CHECK((memcmp(key, c->key, sizeof key) == 0) == (count >= SEED_K));
}

/* --- dealing --- */

#define DEALERS 3
#define NODES 5

struct dealing {
    uint32_t k, n;
    struct dkg_polynomial polynomials[DEALERS];
    struct dkg_commitments published[DEALERS];
    struct scalar given[NODES + 1][DEALERS];
};

/* Of few different ones, small ones among them: polynomials of which the sums vanish must be there too. */
static struct scalar take_scalar(struct input *in)
{
    uint8_t byte = take(in);
    struct scalar s = byte & 0x40 ? seed_scalar('p', byte & 0x3f) : scalar_from_uint(byte & 0x3f);
    if (byte & 0x80) scalar_negate(&s, &s);
    return s;
}

/* The dealers' constants are given, or NULL. */
static void deal(struct dealing *d, const struct scalar *constants, struct input *in)
{
    for (uint32_t i = 0; i < DEALERS; i++) {
        struct dkg_polynomial *p = &d->polynomials[i];
        p->k = d->k;
        for (uint32_t j = 0; j < d->k; j++)
            p->coefficients[j] = constants && j == 0 ? constants[i] : take_scalar(in);
        dkg_commit(&d->published[i], p);
        for (uint32_t node = 1; node <= d->n; node++) dkg_subshare(&d->given[node][i], p, node);
    }
}

/* The commitments as their bytes; a dealer with a coefficient of zero is refused. */
static bool publish(struct dealing *d)
{
    for (uint32_t i = 0; i < DEALERS; i++) {
        struct buffer bytes = {0};
        bool zero = false;
        for (uint32_t j = 0; j < d->k; j++) zero = zero || scalar_is_zero(&d->polynomials[i].coefficients[j]);
        CHECK(dkg_commitments_encode(&bytes, &d->published[i]) == OK);
        enum err e = dkg_commitments_decode(&d->published[i], d->k, buffer_bytes(&bytes));
        buffer_free(&bytes);
        CHECK(e == (zero ? ERR_BAD_POINT : OK));
        if (e != OK) return false;
    }
    return true;
}

/* One dealer gives or publishes something else than it committed to by hash; who gets that sees it. */
static void lie(struct dealing *d, struct input *in)
{
    uint8_t what = take(in), by = take(in);
    uint32_t dealer = what / 4 % DEALERS, node = 1 + by % d->n;
    struct bytes context = bytes_text("fuzz");
    struct dkg_commitments other = d->published[dealer];
    struct scalar given = d->given[node][dealer];
    const struct scalar number = scalar_from_uint(by);
    if (what & 1) scalar_add(&given, &given, &number);
    if (what & 2) shift(&other.points[by % d->k], by);
    bool gives = scalar_equal(&given, &d->given[node][dealer]);
    struct digest a = dkg_subshare_hash(&given, node, context);
    struct digest b = dkg_subshare_hash(&d->given[node][dealer], node, context);
    CHECK(digest_equal(&a, &b) == gives);
    bool publishes = memcmp(&other, &d->published[dealer], sizeof other) == 0;
    a = dkg_commitments_hash(&other, context);
    b = dkg_commitments_hash(&d->published[dealer], context);
    CHECK(digest_equal(&a, &b) == publishes);
    enum err e = dkg_subshare_verify(&given, &other, node);
    CHECK(e == OK || e == ERR_BAD_SHARE);
    if (gives != publishes) CHECK(e == ERR_BAD_SHARE); /* both together may fit */
    if (gives && publishes) CHECK(e == OK);
}

/* Every node's share fits its verification key, and k of them make the key. */
static void check_shares(const struct dealing *d, const struct dkg_commitments *sum, const struct scalar *weights)
{
    struct scalar shares[NODES], lagrange[NODES], secret;
    struct point keys[NODES], key, expected;
    uint32_t nodes[NODES];
    bool zero = false;
    for (uint32_t i = 0; i < d->n; i++) {
        nodes[i] = d->n - i;
        dkg_combine_subshares(&shares[i], d->given[nodes[i]], weights, DEALERS);
        CHECK(dkg_subshare_verify(&shares[i], sum, nodes[i]) == OK);
        zero = zero || scalar_is_zero(&shares[i]);
    }
    CHECK(dkg_verification_keys(keys, d->n, sum) == (zero ? ERR_BAD_POINT : OK));
    for (uint32_t i = 0; !zero && i < d->n; i++) {
        point_multiply_generator(&expected, &shares[i]);
        CHECK(point_equal(&expected, &keys[nodes[i] - 1]));
    }
    CHECK(scalar_lagrange(lagrange, nodes, d->k) == OK);
    dkg_combine_subshares(&secret, shares, lagrange, d->k);
    point_multiply_generator(&key, &secret);
    CHECK(point_equal(&key, &sum->points[0]));
}

/* Of 1 to 5 nodes, of which up to all open. */
static struct dealing take_shape(struct input *in)
{
    struct dealing d = {.n = 1 + take(in) % NODES};
    d.k = 1 + take(in) % d.n;
    return d;
}

static void generation(struct input *in)
{
    struct dealing d = take_shape(in);
    struct dkg_commitments sum;
    struct scalar constant = scalar_from_uint(0);
    deal(&d, NULL, in);
    if (!publish(&d)) return;
    fuzz_taken = true;
    lie(&d, in);
    for (int i = 0; i < DEALERS; i++) scalar_add(&constant, &constant, &d.polynomials[i].coefficients[0]);
    enum err e = dkg_combine_commitments(&sum, d.published, NULL, DEALERS);
    CHECK(e == (scalar_is_zero(&constant) ? ERR_BAD_POINT : OK));
    if (e == OK) check_shares(&d, &sum, NULL);
}

/* Three holders of the seed's shares deal them again: the key stays. A dealer of another share is seen. */
static void resharing(struct input *in)
{
    const struct threshold_seed *t = threshold_seed();
    struct dealing d = take_shape(in);
    uint8_t liar = take(in);
    uint32_t dealers[DEALERS];
    struct scalar old[DEALERS], weights[DEALERS];
    struct dkg_commitments sum;
    bool lies = false;
    for (uint32_t i = 0; i < DEALERS; i++) dealers[i] = 1 + (liar / 16 + i) % SEED_N;
    for (uint32_t i = 0; i < DEALERS; i++) {
        bool other = liar % 16u == i;
        old[i] = t->x[other ? 1u + liar / 16u % SEED_N : dealers[i]];
    }
    deal(&d, old, in);
    if (!publish(&d)) return;
    fuzz_taken = true;
    for (uint32_t i = 0; i < DEALERS; i++) {
        bool same = scalar_equal(&old[i], &t->x[dealers[i]]);
        CHECK(dkg_reshare_check(&d.published[i], &t->y[dealers[i]]) == (same ? OK : ERR_BAD_PROOF));
        lies = lies || !same;
    }
    CHECK(scalar_lagrange(weights, dealers, DEALERS) == OK);
    if (dkg_combine_commitments(&sum, d.published, weights, DEALERS) != OK) {
        CHECK(lies);
        return;
    }
    CHECK(point_equal(&sum.points[0], &t->collective) == !lies);
    check_shares(&d, &sum, weights);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const modes[])(struct input *) = {raw_share, commitments, polynomial, proved_shares, generation,
                                                    resharing};
    struct input in = {data, data + size};
    crypto_init();
    modes[take(&in) % (sizeof modes / sizeof modes[0])](&in);
    return 0;
}
