#include "cli/collective.h"

#include <stdlib.h>

#include "cli/files.h"
#include "cli/receipt.h"
#include "ledger/arguments.h"

/* The body of a KEY message with its four fields at their largest. */
#define LIMIT_KEY_BODY (LIMIT_LEAF + 34 * LIMIT_PROOF + LIMIT_CHECKPOINT_NOTE + 64)

/* The leaf must be an approved key.activate of a member, for the records' key. */
static enum err check_activation(struct args_key_activate *args, const struct leaf *leaf, const struct genesis *genesis,
                                 struct failure *failure)
{
    const struct operation *op = &leaf->operation;
    bool right = leaf->genesis.size == 0 && op->action == ACTION_KEY_ACTIVATE && op->actor.kind == ACTOR_NODE &&
                 leaf->decision == DECISION_APPROVED && digest_equal(&op->cluster, &genesis->cluster);
    if (!right)
        return fail(failure, ERR_BAD_PROOF, "entry %llu is no activation of a collective key",
                    (unsigned long long)leaf->index);
    const struct descriptor *member = genesis_member(genesis, genesis_member_by_id(genesis, &op->actor.id));
    if (!member || leaf_verify(leaf, &member->keys.message) != OK)
        return fail(failure, ERR_BAD_PROOF, "the activation of the collective key is not signed by a member");
    if (args_key_activate_decode(args, op->args) != OK || args->secret != KEY_RECORDS ||
        args->n != genesis->member_count)
        return fail(failure, ERR_BAD_PROOF, "the activation of the collective key does not fit this cluster");
    return OK;
}

static enum err take_points(struct collective *out, const struct args_key_activate *args, struct failure *failure)
{
    enum err e = point_decode_not_identity(&out->key, args->key.bytes);
    for (uint32_t i = 0; e == OK && i < args->n; i++)
        e = point_decode_not_identity(&out->verification[i], args->verification[i].bytes);
    return e == OK ? OK : fail(failure, ERR_BAD_PROOF, "the activation holds something that is no key");
}

enum err collective_check(struct collective *out, const struct genesis *genesis, struct bytes key_body,
                          struct failure *failure)
{
    struct message_key *m = calloc(1, sizeof *m);
    if (!m) return fail(failure, ERR_NOMEM, "out of memory");
    struct leaf leaf;
    struct args_key_activate args;
    enum err e = message_key_decode(m, key_body);
    if (e != OK) e = fail(failure, ERR_BAD_PROOF, "the answer with the collective key can't be read: %s", err_text(e));
    if (e == OK) e = receipt_check_leaf(&leaf, genesis, m->note, m->leaf, m->hashes, m->hash_count, failure);
    if (e == OK && leaf.index != m->index)
        e = fail(failure, ERR_BAD_PROOF, "the answer with the collective key names another entry than its leaf");
    if (e == OK) e = check_activation(&args, &leaf, genesis, failure);
    *out = (struct collective){.epoch = 1, .n = genesis->member_count};
    if (e == OK) e = take_points(out, &args, failure);
    if (e == OK) out->activation = leaf.index;
    free(m);
    return e;
}

/* What stands in the cache is the proof itself, so it needs no trust. */
static bool from_cache(struct collective *out, struct cluster *cluster, const char *path)
{
    struct buffer body = {0};
    bool good = path && file_read(&body, path, LIMIT_KEY_BODY, NULL) == OK &&
                collective_check(out, &cluster->genesis, buffer_bytes(&body), NULL) == OK;
    buffer_free(&body);
    return good;
}

enum err collective_get(struct collective *out, struct cluster *cluster, struct failure *failure)
{
    char *path = cluster_cache_path(cluster, "records-key");
    enum err e = OK;
    if (from_cache(out, cluster, path)) goto free_path;
    struct buffer question = {0};
    message_keys_encode(&question, &(struct message_keys){KEY_RECORDS});
    /* A node that hands out a key that does not verify is passed by. */
    for (uint32_t tried = 0; tried < cluster->genesis.member_count; tried++) {
        struct frame answer;
        e = cluster_ask(cluster, &answer, MESSAGE_KEYS, buffer_bytes(&question), MESSAGE_KEY, failure);
        if (e != OK) break;
        struct failure why = {0};
        e = collective_check(out, &cluster->genesis, answer.body, &why);
        if (e == OK) {
            if (path) file_write(path, answer.body, 0600, false, NULL); /* only a cache */
            break;
        }
        fail(failure, e, "%s sent a collective key that does not verify: %s",
             cluster_member_name(cluster, cluster->member), why.text);
        if (cluster->via) break;
        if (cluster->output) output_message(cluster->output, "%s sent a collective key that does not verify: %s",
                                            cluster_member_name(cluster, cluster->member), why.text);
        cluster_drop(cluster);
    }
    buffer_free(&question);
free_path:
    free(path);
    return e;
}
