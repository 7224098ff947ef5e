/* What a client takes only with signatures of the cluster's members under it, for fuzz targets: the proof of the
 * collective key, and a checkpoint, each whole or wrong in one place. Of the cluster sample_genesis_parsed(4, 1) and
 * the key of tests/lib/threshold_seed.h. */
#ifndef TESTS_LIB_ANSWER_SEED_H
#define TESTS_LIB_ANSWER_SEED_H

#include "base/check.h"
#include "ledger/checkpoint.h"
#include "ledger/tree.h"
#include "net/protocol.h"
#include "tests/lib/samples.h"
#include "tests/lib/threshold_seed.h"

#define SEED_MEMBERS 4
#define SEED_LEAVES 5

/* What may be wrong with the activation's leaf. */
enum activation_wrong {
    ACTIVATION_RIGHT,
    ACTIVATION_OTHER_ACTION,
    ACTIVATION_DENIED,
    ACTIVATION_OF_USER,
    ACTIVATION_OTHER_CLUSTER,
    ACTIVATION_NO_MEMBER,
    ACTIVATION_SIGNED_BY_OTHER,
    ACTIVATION_FEWER_MEMBERS,
    ACTIVATION_OTHER_SECRET,
    ACTIVATION_NO_POINT,
    ACTIVATION_IDENTITY,
    ACTIVATION_OTHER_ARGUMENTS,
    ACTIVATION_GENESIS,
    ACTIVATION_WRONGS
};

static inline void activation_args(struct buffer *out, enum activation_wrong wrong)
{
    const struct threshold_seed *t = threshold_seed();
    struct args_key_activate a = {.secret = wrong == ACTIVATION_OTHER_SECRET ? KEY_PASSWORDS : KEY_RECORDS,
                                  .attempt = 1, .qualified = 0xe, .key = t->collective,
                                  .n = SEED_MEMBERS - (wrong == ACTIVATION_FEWER_MEMBERS)};
    for (uint32_t i = 0; i < a.n; i++) a.verification[i] = t->y[i + 1];
    if (wrong == ACTIVATION_NO_POINT) memset(a.verification[1].bytes, 0xff, sizeof a.verification[1].bytes);
    if (wrong == ACTIVATION_IDENTITY) a.key = POINT_IDENTITY;
    if (wrong == ACTIVATION_OTHER_ARGUMENTS) pack_array(out, 0);
    else args_key_activate_encode(out, &a);
}

/* The leaf, by a member or in its name; appends. */
static inline void activation_leaf(struct buffer *out, const struct genesis *genesis, uint64_t index, uint32_t member,
                                   enum activation_wrong wrong)
{
    struct buffer args = {0}, bytes = {0};
    struct request_builder b = {0};
    struct request request;
    struct node_secrets secrets;
    bool other = wrong == ACTIVATION_OTHER_CLUSTER;
    activation_args(&args, wrong);
    struct operation op = sample_operation(1, 1, ACTION_KEY_ACTIVATE, buffer_bytes(&args));
    op.actor = (struct actor){ACTOR_NODE, genesis->members[member - 1].id,
                              key_id_of(&genesis->members[member - 1].keys.message)};
    op.cluster = other ? sample_digest(99) : genesis->cluster;
    op.purpose = PURPOSE_OPERATIONS;
    if (wrong == ACTIVATION_OTHER_ACTION) op.action = ACTION_KEY_CONFIRM;
    if (wrong == ACTIVATION_OF_USER) op.actor.kind = ACTOR_USER;
    if (wrong == ACTIVATION_NO_MEMBER) op.actor.id = sample_id(77);
    sample_node_secrets(&secrets, wrong == ACTIVATION_SIGNED_BY_OTHER ? member % SEED_MEMBERS + 1 : member);
    CHECK(request_builder_add(&b, &op, (struct bytes){0}) == OK);
    CHECK(request_builder_sign(&bytes, &b, &secrets.message) == OK);
    CHECK(request_decode(&request, buffer_bytes(&bytes)) == OK);
    struct leaf leaf = {.index = index, .time_ms = SAMPLE_TIME, .previous = sample_digest(3),
                        .decision = wrong == ACTIVATION_DENIED ? DECISION_DENIED : DECISION_APPROVED,
                        .reason = wrong == ACTIVATION_DENIED ? REASON_SCOPE : REASON_NONE};
    leaf_set_operation(&leaf, &request, 0);
    leaf_encode(out, &leaf);
    request_free(&request);
    request_builder_free(&b);
    buffer_free(&bytes);
    buffer_free(&args);
}

/* A note of that size and root, cosigned by the members whose bit (1 .. 4) is set; appends. */
static inline void seed_note(struct buffer *out, const struct genesis *genesis, uint64_t size,
                             const struct digest *root, unsigned members)
{
    struct checkpoint checkpoint;
    struct cosigner cosigners[LIMIT_NODES];
    struct cosignature cosignatures[LIMIT_NODES] = {{0}};
    uint32_t n = cosigners_of_genesis(cosigners, genesis);
    checkpoint_set(&checkpoint, genesis, size, root);
    for (uint32_t i = 0; i < n && i < SEED_MEMBERS; i++) {
        struct node_secrets secrets;
        sample_node_secrets(&secrets, i + 1);
        if (members >> (i + 1) & 1) checkpoint_cosign(&cosignatures[i], &checkpoint, 1790000000, &secrets.cosign);
    }
    checkpoint_format(out, &checkpoint, cosigners, cosignatures, n);
}

/* A tree of five leaves, one of them the activation; its proof, and the note over it. */
struct proved_seed {
    struct buffer leaf, note;
    uint64_t index;
    struct tree_proof path;
};

static inline void proved_seed_make(struct proved_seed *out, const struct genesis *genesis, uint32_t member,
                                    enum activation_wrong wrong, unsigned cosigned)
{
    struct digest nodes[TREE_LIST_NODES(SEED_LEAVES)];
    bool first = wrong == ACTIVATION_GENESIS;
    *out = (struct proved_seed){.index = first ? 0 : member};
    if (first) genesis_leaf(&out->leaf, genesis);
    else activation_leaf(&out->leaf, genesis, out->index, member, wrong);
    for (unsigned i = 0; i < SEED_LEAVES; i++) nodes[i] = sample_digest(i + 1);
    tree_leaf_hash(&nodes[out->index], buffer_bytes(&out->leaf));
    uint32_t count = tree_list_build(nodes, SEED_LEAVES);
    tree_list_path(&out->path, nodes, SEED_LEAVES, (uint32_t)out->index);
    seed_note(&out->note, genesis, SEED_LEAVES, &nodes[count - 1], cosigned);
}

static inline void proved_seed_free(struct proved_seed *s)
{
    buffer_free(&s->leaf);
    buffer_free(&s->note);
}

#endif
