/* ledger/tlog_proof.h: receipts come back byte for byte, and what they hold goes on
 * to the readers of entries and notes; cli/receipt.h: what is taken for proved is so.
 *
 * A first byte below ' ' has a receipt made of a ledger with a tree of 1 to ENTRIES entries, with the cosignatures that
 * the input chooses, and its text altered as the rest says. */
#include <string.h>

#include "base/check.h"
#include "cli/receipt.h"
#include "crypto/random.h"
#include "ledger/tree.h"
#include "tests/lib/recode.h"
#include "tests/lib/samples.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MEMBERS 5u
#define ENTRIES 11u
#define EDITS_MOST 16
#define AUTHOR 9u

static struct genesis genesis;
static struct node_secrets secrets[MEMBERS + 1];
static struct buffer leaves[ENTRIES];
static struct digest hashes[ENTRIES], roots[ENTRIES + 1]; /* by the number of entries */

static uint32_t build(struct digest out[static TREE_LIST_NODES(ENTRIES)], uint32_t size)
{
    memcpy(out, hashes, size * sizeof *hashes);
    return tree_list_build(out, size);
}

static void make(void)
{
    static struct buffer text, request;
    struct request r;
    struct digest nodes[TREE_LIST_NODES(ENTRIES)];
    crypto_init();
    sample_genesis_parsed(&genesis, &text, MEMBERS, 1);
    for (uint32_t i = 1; i <= MEMBERS; i++) sample_node_secrets(&secrets[i], i);
    sample_request(&request, AUTHOR, ENTRIES);
    CHECK(request_decode(&r, buffer_bytes(&request)) == OK);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        if (i == 0)
            genesis_leaf(&leaves[i], &genesis);
        else
            sample_leaf(&leaves[i], i, &r, i);
        leaf_hash(&hashes[i], buffer_bytes(&leaves[i]));
        roots[i + 1] = nodes[build(nodes, i + 1) - 1];
    }
    request_free(&r);
}

/* --- what is proved --- */

/* It is its author's operation, and no other's. */
static void check_author(const struct leaf *leaf)
{
    struct sign_secret secret;
    struct sign_public author, other;
    struct failure why = {0};
    struct bytes operation = leaf->operation.raw;
    sample_key(&secret, &author, AUTHOR);
    sample_key(&secret, &other, AUTHOR + 1);
    if (leaf->index == 0) return;
    CHECK(receipt_check_operation(leaf, operation, &author, &why) == OK);
    CHECK(receipt_check_operation(leaf, operation, &other, &why) == ERR_BAD_PROOF && why.text[0]);
    operation.size--;
    CHECK(receipt_check_operation(leaf, operation, &author, &why) == ERR_BAD_PROOF);
}

/* An entry of the ledger as it is, below a root that the ledger had, under k cosignatures: nobody else signed any. */
static void check_proved(const struct receipt *r, struct bytes leaf)
{
    uint64_t size = r->checkpoint.size;
    CHECK(size >= 1 && size <= ENTRIES && digest_equal(&r->checkpoint.root, &roots[size]));
    CHECK(strcmp(r->checkpoint.origin, genesis.checkpoint_origin) == 0);
    CHECK(r->leaf.index < size && bytes_equal(leaf, buffer_bytes(&leaves[r->leaf.index])));
    CHECK((uint32_t)__builtin_popcount(r->cosigners) >= genesis.quorum && r->cosigners >> MEMBERS == 0);
}

/* Alone, and behind another one that had the same checkpoint, or not: the same. */
static enum err judge(struct receipt *r, struct buffer *room, struct bytes text)
{
    static struct receipt_note last;
    struct buffer other_room = {0};
    struct receipt other;
    struct failure why = {0};
    enum err e = receipt_check(r, room, &genesis, text, &why);
    CHECK((e == OK) == (why.code == OK) && (e == OK || why.text[0]));
    for (int i = 0; i < 2; i++) {
        CHECK(receipt_check_next(&other, &other_room, &last, &genesis, text, &why) == e);
        if (e == OK) CHECK(other.cosigners == r->cosigners && other.leaf.index == r->leaf.index);
    }
    if (e == OK) {
        check_proved(r, buffer_bytes(room));
        check_author(&r->leaf);
    }
    buffer_free(&other_room);
    return e;
}

static void read(struct bytes in)
{
    struct buffer out = {0}, extra = {0};
    struct tlog_proof proof;
    struct failure why = {0};
    struct receipt receipt;
    if (recode_tlog_proof(&out, in) == OK) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    if (tlog_proof_parse(&proof, &extra, in, &why) == OK) {
        struct leaf leaf;
        struct note note;
        fuzz_taken = true;
        (void)leaf_decode(&leaf, proof.extra);
        (void)note_parse(&note, proof.note);
    } else {
        CHECK(why.code != OK && why.text[0]);
    }
    buffer_clear(&extra);
    (void)judge(&receipt, &extra, in);
    buffer_free(&out);
    buffer_free(&extra);
}

/* --- made --- */

static void make_note(struct buffer *out, uint32_t size, unsigned signers)
{
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature signatures[LIMIT_NODES] = {0};
    struct checkpoint checkpoint;
    uint32_t n = cosigners_of_genesis(cosigners, &genesis);
    checkpoint_set(&checkpoint, &genesis, size, &roots[size]);
    for (uint32_t i = 0; i < n; i++)
        if (signers >> i & 1) checkpoint_cosign(&signatures[i], &checkpoint, 1790000000, &secrets[i + 1].cosign);
    checkpoint_format(out, &checkpoint, cosigners, signatures, n);
}

static void make_receipt(struct buffer *out, uint32_t size, uint32_t index, unsigned signers)
{
    struct digest nodes[TREE_LIST_NODES(ENTRIES)];
    struct tree_proof path;
    struct buffer note = {0};
    build(nodes, size);
    tree_list_path(&path, nodes, size, index);
    make_note(&note, size, signers);
    receipt_format(out, buffer_bytes(&leaves[index]), index, path.hashes, path.count, buffer_bytes(&note));
    buffer_free(&note);
}

/* Line `n` of the text, with its end; empty: there is none. */
static struct bytes line_of(const struct buffer *text, unsigned n)
{
    struct bytes rest = buffer_bytes(text);
    while (rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        size_t size = end ? (size_t)(end - rest.data) + 1 : rest.size;
        if (n-- == 0) return bytes_of(rest.data, size);
        rest = bytes_of(rest.data + size, rest.size - size);
    }
    return rest;
}

static void splice(struct buffer *text, size_t at, size_t cut, struct bytes with)
{
    struct buffer out = {0};
    at %= text->size + 1;
    if (cut > text->size - at) cut = text->size - at;
    if (at > 0) buffer_append(&out, text->data, at);
    buffer_append_bytes(&out, with);
    if (cut < text->size - at) buffer_append(&out, text->data + at + cut, text->size - at - cut);
    buffer_free(text);
    *text = out;
}

/* A byte becomes another, goes, or comes; a line goes, or becomes that of another receipt. */
static void edit(struct buffer *text, const struct buffer *other, const uint8_t how[static 4])
{
    size_t at = get_be16(how + 1);
    struct bytes line = line_of(text, how[1] % 16), theirs = line_of(other, how[3] % 16);
    size_t line_at = line.size ? (size_t)(line.data - text->data) : text->size;
    switch (how[0] % 5) {
    case 0:
        if (text->size) text->data[at % text->size] ^= how[3];
        break;
    case 1: splice(text, at, how[3], (struct bytes){0}); break;
    case 2: splice(text, at, 0, bytes_of(how + 3, 1)); break;
    case 3: splice(text, line_at, line.size, theirs); break;
    case 4: splice(text, line_at, how[2] & 1 ? line.size : 0, how[2] & 2 ? theirs : (struct bytes){0}); break;
    }
}

static void made(unsigned first, struct bytes in)
{
    struct buffer text = {0}, whole = {0}, other = {0}, room = {0};
    struct receipt receipt;
    if (in.size < 3) return;
    uint32_t size = 1 + in.data[0] % ENTRIES, index = in.data[1] % size;
    unsigned signers = in.data[2] & ((1u << MEMBERS) - 1);
    make_receipt(&text, size, index, signers);
    make_receipt(&other, ENTRIES, first % ENTRIES, 7);
    buffer_append_bytes(&whole, buffer_bytes(&text));
    in = bytes_of(in.data + 3, in.size - 3);
    for (unsigned i = 0; i < EDITS_MOST && in.size >= 4; i++, in = bytes_of(in.data + 4, in.size - 4))
        edit(&text, &other, in.data);
    enum err e = judge(&receipt, &room, buffer_bytes(&text));
    if (bytes_equal(buffer_bytes(&text), buffer_bytes(&whole))) {
        CHECK((e == OK) == ((uint32_t)__builtin_popcount(signers) >= genesis.quorum));
        if (e == OK) CHECK(receipt.cosigners == signers && receipt.leaf.index == index);
    }
    fuzz_taken = e == OK;
    buffer_free(&text);
    buffer_free(&whole);
    buffer_free(&other);
    buffer_free(&room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!genesis.member_count) make();
    if (size > 0 && data[0] < ' ')
        made(data[0], bytes_of(data + 1, size - 1));
    else
        read(bytes_of(data, size));
    return 0;
}
