/* Capsules from anybody: what decodes encodes to the same bytes, and only what its author made for that key and label
 * verifies, and opens. First byte
 *   0x80 and above: the input is the capsule as it is (a capsule begins with 0x95);
 *   below: one of four capsules that are there, by its lowest bits; then changes, three bytes each: where, how, and by
 *          how much. Then which nodes open it, and which of these lie. */
#include "base/check.h"
#include "crypto/random.h"
#include "tests/lib/taken.h"
#include "tests/lib/threshold_seed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *at, *end;
};

static uint8_t take(struct input *in) { return in->at < in->end ? *in->at++ : 0; }

/* Decoded, if it can be, and the same bytes again. */
static bool recoded(struct tdh2_capsule *out, struct bytes in)
{
    struct tdh2_capsule again;
    if (tdh2_capsule_decode(out, in) != OK) return false;
    struct buffer bytes = {0};
    tdh2_capsule_pack(&bytes, out);
    CHECK(bytes_equal(buffer_bytes(&bytes), in) && in.size <= TDH2_CAPSULE_SIZE_MAX);
    CHECK(!point_is_identity(&out->u) && !point_is_identity(&out->u_bar));
    CHECK(tdh2_capsule_decode(&again, buffer_bytes(&bytes)) == OK && memcmp(&again, out, sizeof again) == 0);
    buffer_free(&bytes);
    return fuzz_taken = true;
}

static void raw(struct bytes in)
{
    const struct threshold_seed *t = threshold_seed();
    struct tdh2_capsule c;
    if (!recoded(&c, in)) return;
    enum err e = tdh2_capsule_verify(&c, &t->collective, &capsule_seed(0)->label);
    CHECK(e == OK || e == ERR_BAD_CAPSULE);
}

/* What is opened, and by whom. */
struct attempt {
    struct tdh2_capsule capsule;
    struct digest label, context;
    struct point collective;
};

static void shift(struct point *p, uint8_t by)
{
    const struct scalar number = scalar_from_uint(by);
    struct point more;
    point_multiply_generator(&more, &number);
    point_add(p, p, &more);
}

static void change(struct attempt *a, uint8_t where, uint8_t by)
{
    const struct scalar number = scalar_from_uint(by);
    struct tdh2_capsule *c = &a->capsule;
    switch (where % 12) {
    case 0: shift(&c->u, by); break;
    case 1: shift(&c->u_bar, by); break;
    case 2: scalar_add(&c->e, &c->e, &number); break;
    case 3: scalar_add(&c->f, &c->f, &number); break;
    case 4: c->epoch ^= (uint64_t)by << where / 12 * 8 % 64; break;
    case 5: a->label.bytes[where / 12] ^= by; break;
    case 6: a->context.bytes[where / 12] ^= by; break;
    case 7: a->collective = threshold_seed()->y[1 + by % SEED_N]; break;
    case 8: c->u = by & 1 ? POINT_IDENTITY : c->u_bar; break;
    case 9: c->e = number; break;
    case 10: c->u = capsule_seed(by)->capsule.u; break;      /* another record's */
    case 11: *c = capsule_seed(by)->capsule; break;
    }
}

/* Shares of some nodes, of which some are wrong. The key that comes out is the capsule's, or none does. */
static void open(const struct attempt *a, const struct capsule_seed *seed, bool unchanged, struct input *in)
{
    const struct threshold_seed *t = threshold_seed();
    uint8_t which = take(in), liars = take(in) & which, key[32];
    uint32_t nodes[SEED_N], count = 0;
    struct point d[SEED_N];
    struct tdh2_opener opener;
    bool same_u = point_equal(&a->capsule.u, &seed->capsule.u);
    for (uint32_t i = 1; i <= SEED_N; i++) {
        if (!(which >> i & 1)) continue;
        if (same_u) d[count] = seed->d[i];
        else tdh2_share_point(&d[count], &t->x[i], &a->capsule.u);
        if (liars >> i & 1) shift(&d[count], take(in));
        nodes[count++] = i;
    }
    if (which & 1 && count) nodes[count - 1] = nodes[0]; /* one twice, or alone */
    enum err e = tdh2_opener_start(&opener, nodes, count);
    CHECK(e == (count == 0 ? ERR_TOO_FEW_SHARES : which & 1 && count > 1 ? ERR_INVALID : OK));
    if (e != OK) return;
    e = tdh2_open(key, &opener, d, &a->capsule, &a->collective, &a->label, &a->context);
    CHECK(e == OK || e == ERR_BAD_SHARE);
    if (!liars) CHECK((e == OK) == (unchanged && count >= SEED_K));
    if (e == OK) CHECK(unchanged);
    if (e == OK) CHECK((memcmp(key, seed->key, sizeof key) == 0) == digest_equal(&a->context, &seed->context));
}

static void made(struct bytes bytes)
{
    struct input in = {bytes.data, bytes.data + bytes.size};
    uint8_t first = take(&in);
    const struct capsule_seed *seed = capsule_seed(first);
    struct attempt a = {seed->capsule, seed->label, seed->context, threshold_seed()->collective};
    for (unsigned i = first >> 2 & 3; i > 0; i--) {
        uint8_t where = take(&in);
        change(&a, where, take(&in));
    }
    struct buffer packed = {0};
    tdh2_capsule_pack(&packed, &a.capsule);
    if (first & 0x40) {
        size_t at = take(&in) % packed.size;
        packed.data[at] ^= take(&in);
    }
    if (point_is_identity(&a.capsule.u)) /* everybody knows its r; it can't come from outside */
        CHECK(tdh2_capsule_verify(&a.capsule, &a.collective, &a.label) == ERR_BAD_CAPSULE);
    if (recoded(&a.capsule, buffer_bytes(&packed))) {
        struct tdh2_capsule plain = a.capsule;
        plain.epoch = seed->capsule.epoch; /* the author's signature covers it */
        bool unchanged = memcmp(&plain, &seed->capsule, sizeof plain) == 0 && digest_equal(&a.label, &seed->label) &&
                         point_equal(&a.collective, &threshold_seed()->collective);
        CHECK(tdh2_capsule_verify(&a.capsule, &a.collective, &a.label) == (unchanged ? OK : ERR_BAD_CAPSULE));
        open(&a, seed, unchanged, &in);
    }
    buffer_free(&packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    crypto_init();
    if (size && !(data[0] & 0x80)) made(bytes_of(data, size));
    else raw(bytes_of(data, size));
    return 0;
}
