/* ledger/genesis.h: whatever is read comes back byte for byte, is a ledger's leaf 0, and begins a ledger when its
 * policy is one. What is refused is refused in words, and alike twice. First byte
 *   printable: the whole input is the file;
 *   else:      a file is made, of members and administrators as the input says, some of whom have the same name,
 *              address or key; then its lines are repeated, moved, left out or changed. */
#include <stdlib.h>
#include <string.h>

#include "crypto/random.h"
#include "ledger/policy.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/recode.h"
#include "tests/lib/signed_seed.h"
#include "tests/lib/taken.h"

#define TEXT_LINES 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct kit empty; /* tables without a ledger; each input aborts what it puts there */
static struct genesis sample;

static void remove_store(void) { store_close(empty.store); } /* and its folder: no transaction is open between inputs */

static void make(void)
{
    struct kit like;
    sample_genesis(&sample, LIMIT_NODES, 4);
    memset(&like, 0, sizeof like);
    like.genesis.member_count = 4;
    like.genesis.faulty = 1;
    like.genesis.policy = sample.policy;
    kit_open_empty(&empty, &like);
    store_abort(empty.txn);
    CHECK(atexit(remove_store) == 0);
}

/* --- what is read --- */

static void check_members(const struct genesis *g)
{
    for (uint32_t i = 1; i <= g->member_count; i++) {
        const struct descriptor *d = genesis_member(g, i);
        CHECK(d && genesis_member_by_name(g, d->name) == i && genesis_member_by_id(g, &d->id) == i);
    }
    CHECK(!genesis_member(g, 0) && !genesis_member(g, g->member_count + 1));
    CHECK(g->quorum <= g->member_count && 2 * g->quorum > g->member_count + g->faulty);
}

/* Leaf 0 begins a ledger exactly when the policy is one, and none of another cluster's. */
static void check_ledger(const struct genesis *g)
{
    static struct policy policy;
    struct buffer bytes = {0};
    struct leaf leaf;
    struct ledger *ledger = NULL;
    struct failure failure = {0};
    const struct digest other = sample_digest(1);
    genesis_leaf(&bytes, g);
    CHECK(leaf_decode(&leaf, buffer_bytes(&bytes)) == OK && bytes_equal(leaf.genesis, g->text));
    CHECK(store_begin_write(&empty.txn, empty.store) == OK);
    CHECK(ledger_replay_genesis(&ledger, empty.txn, buffer_bytes(&bytes), &other, &failure) == ERR_OTHER_CLUSTER);
    CHECK(failure.text[0]);
    enum err e = ledger_replay_genesis(&ledger, empty.txn, buffer_bytes(&bytes), &g->cluster, &failure);
    CHECK(e == policy_parse(&policy, g->policy, NULL));
    if (e == OK) {
        CHECK(ledger_size(ledger) == 1 && digest_equal(&ledger_genesis(ledger)->cluster, &g->cluster));
        ledger_free(ledger);
    } else {
        CHECK(failure.code == e && failure.text[0]);
    }
    store_abort(empty.txn);
    buffer_free(&bytes);
}

static bool read(struct bytes in)
{
    static struct genesis g, again;
    struct failure failure = {0};
    struct buffer out = {0};
    enum err e = genesis_parse(&g, in, &failure);
    CHECK(genesis_parse(&again, in, NULL) == e);
    if (e != OK) {
        CHECK(failure.code == e && failure.text[0] && text_valid(bytes_text(failure.text)));
        return false;
    }
    CHECK(recode_genesis(&out, in) == OK && bytes_equal(buffer_bytes(&out), in));
    check_members(&g);
    check_ledger(&g);
    buffer_free(&out);
    return true;
}

/* --- what is made --- */

static void copy_key(struct genesis *g, uint8_t what, uint32_t from, uint32_t to)
{
    struct descriptor *a = &g->members[from], *b = &g->members[to];
    switch (what % 8) {
    case 0: memcpy(b->name, a->name, sizeof b->name); break;
    case 1: memcpy(b->address, a->address, sizeof b->address); break;
    case 2: b->keys.seal = a->keys.seal; break;
    case 3: b->tls_pin = a->tls_pin; break;
    case 4: b->keys.message = a->keys.cosign; break;
    case 5: g->admins[to % 2].key = a->keys.message; break;
    case 6: g->admins[0].key = g->admins[1].key; break;
    case 7: b->hospital[0] = '"'; break;
    }
}

/* Numbers and members, two bytes more for each thing that two have alike. */
static enum err format(struct buffer *out, struct seed_input *in)
{
    static const char *const origins[] = {"consilium/north-region", "a", "a//b", "/", "", "a b", "end/", "a+b"};
    static struct genesis g;
    struct failure failure = {0};
    g = sample;
    g.member_count = seed_take(in) % (LIMIT_NODES + 1);
    g.faulty = seed_take(in) % 9;
    g.approvals = seed_take(in) % 4;
    g.admin_count = seed_take(in) % 3;
    uint8_t rest = seed_take(in);
    strcpy(g.origin, origins[rest % 8]);
    if (rest & 0x80) g.policy = bytes_text("no newline");
    if (rest & 0x40) g.policy = bytes_text("[role root]\n"); /* without its right */
    for (unsigned i = rest >> 4 & 3; i > 0; i--) {
        uint8_t what = seed_take(in), which = seed_take(in);
        copy_key(&g, what, (which & 15) % LIMIT_NODES, (which >> 4) % LIMIT_NODES);
    }
    enum err e = genesis_format(out, &g, &failure);
    if (e != OK) CHECK(failure.code == e && failure.text[0] && text_valid(bytes_text(failure.text)));
    return e;
}

/* The text's lines, with their ends. */
static unsigned split(struct bytes lines[static TEXT_LINES], struct bytes text)
{
    unsigned count = 0;
    while (text.size > 0 && count < TEXT_LINES) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end && count < TEXT_LINES - 1 ? (size_t)(end - text.data) + 1 : text.size;
        lines[count++] = bytes_of(text.data, size);
        text = bytes_of(text.data + size, text.size - size);
    }
    return count;
}

/* Three bytes a change: how, which line, and another line or the place in it. */
static void edit(struct buffer *out, struct bytes text, struct seed_input *in)
{
    struct bytes lines[TEXT_LINES], line;
    unsigned count = split(lines, text);
    size_t where = 0, flip = SIZE_MAX;
    while (seed_left(in) >= 3 && count > 0) {
        uint8_t how = seed_take(in), which = seed_take(in) % count, other = seed_take(in);
        line = lines[which];
        if (how % 4 == 0) flip = which, where = other;
        if (how % 4 == 1) lines[which] = lines[other % count];
        if (how % 4 == 2) lines[which].size = 0;
        if (how % 4 == 3) lines[which] = lines[other % count], lines[other % count] = line;
    }
    for (unsigned i = 0; i < count; i++) {
        size_t start = out->size;
        buffer_append_bytes(out, lines[i]);
        if (i == flip && lines[i].size) out->data[start + where % lines[i].size] ^= 1;
    }
    while (seed_take(in) & 1) buffer_append_bytes(out, lines[0]);
}

static void made(struct seed_input *in)
{
    struct buffer text = {0}, other = {0};
    if (format(&text, in) == OK) {
        CHECK(read(buffer_bytes(&text)));
        fuzz_taken = true;
        edit(&other, buffer_bytes(&text), in);
        (void)read(buffer_bytes(&other));
    }
    buffer_free(&text);
    buffer_free(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    crypto_init();
    if (!empty.store) make();
    if (size == 0 || data[0] >= 0x20)
        fuzz_taken = read(bytes_of(data, size));
    else
        made(&(struct seed_input){data + 1, data + size});
    return 0;
}
