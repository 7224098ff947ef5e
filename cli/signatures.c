#include "cli/signatures.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "ledger/arguments.h"
#include "ledger/request.h"

#define KEY_SETS 4096u
#define KEY_WAYS 4u

struct key_slot {
    struct actor actor; /* kind ACTOR_NONE: free */
    struct sign_public key;
};

struct signatures {
    pthread_mutex_t mutex;
    struct key_slot slots[KEY_SETS][KEY_WAYS]; /* of a set, the newest first */
};

struct signatures *signatures_new(const struct genesis *genesis)
{
    struct signatures *s = xcalloc(1, sizeof *s);
    CHECK(pthread_mutex_init(&s->mutex, NULL) == 0);
    for (uint32_t i = 0; i < genesis->admin_count; i++) {
        const struct sign_public *key = &genesis->admins[i].key;
        signatures_note(s, &(struct actor){ACTOR_USER, genesis->admins[i].id, key_id_of(key)}, key);
    }
    for (uint32_t i = 1; i <= genesis->member_count; i++) {
        const struct descriptor *member = genesis_member(genesis, i);
        const struct sign_public *key = &member->keys.message;
        signatures_note(s, &(struct actor){ACTOR_NODE, member->id, key_id_of(key)}, key);
    }
    return s;
}

void signatures_free(struct signatures *s)
{
    if (!s) return;
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

/* --- keys --- */

/* Ids are random, or hashes. */
static struct key_slot *set_of(struct signatures *s, const struct actor *actor)
{
    return s->slots[(get_be16(actor->id.bytes) ^ get_be16(actor->key.bytes)) % KEY_SETS];
}

void signatures_note(struct signatures *s, const struct actor *actor, const struct sign_public *key)
{
    pthread_mutex_lock(&s->mutex);
    struct key_slot *set = set_of(s, actor);
    uint32_t at = 0;
    while (at < KEY_WAYS - 1 && !actor_equal(&set[at].actor, actor)) at++;
    memmove(set + 1, set, at * sizeof *set);
    set[0] = (struct key_slot){*actor, *key};
    pthread_mutex_unlock(&s->mutex);
}

static bool find_key(struct sign_public *out, struct signatures *s, const struct actor *actor)
{
    bool found = false;
    pthread_mutex_lock(&s->mutex);
    const struct key_slot *set = set_of(s, actor);
    for (uint32_t i = 0; !found && i < KEY_WAYS; i++)
        if (actor_equal(&set[i].actor, actor)) {
            *out = set[i].key;
            found = true;
        }
    pthread_mutex_unlock(&s->mutex);
    return found;
}

static void note_user(struct signatures *s, const struct id *user, const struct sign_public *key)
{
    signatures_note(s, &(struct actor){ACTOR_USER, *user, key_id_of(key)}, key);
}

/* Whether they will be there is decided later; then they are wanted soon. */
static void note_new_keys(struct signatures *s, const struct operation *op)
{
    struct arguments args;
    if (op->action != ACTION_USER_CREATE && op->action != ACTION_USER_KEY) return;
    if (arguments_decode(&args, op->action, op->args) != OK) return;
    if (op->action == ACTION_USER_KEY)
        note_user(s, &args.user_key.user, &args.user_key.key);
    else
        for (uint32_t i = 0; i < args.user_create.key_count; i++)
            note_user(s, &args.user_create.user, &args.user_create.keys[i]);
}

/* --- checking --- */

static bool is_read(const struct replay_leaf *read) { return read->decoded == OK && read->rooted; }

static bool same_request(const struct replay_leaf *a, const struct replay_leaf *b)
{
    return a->leaf.count == b->leaf.count && digest_equal(&a->root, &b->root) &&
           memcmp(&a->leaf.signature, &b->leaf.signature, sizeof a->leaf.signature) == 0 &&
           actor_equal(&a->leaf.operation.actor, &b->leaf.operation.actor);
}

static void check(struct signatures *s, struct replay_leaf *read)
{
    uint8_t bytes[REQUEST_SIGNED_SIZE];
    if (!find_key(&read->key, s, &read->leaf.operation.actor)) return;
    request_signed_bytes(bytes, read->leaf.count, &read->root);
    read->verified = sign_verify(&read->leaf.signature, &read->key, BYTES(bytes)) == OK;
}

/* How many leaves at the beginning go on with a request that began before them. */
static uint32_t count_carried(const struct replay_leaf *leaves, uint32_t count)
{
    uint32_t n = 0;
    if (count == 0 || !is_read(&leaves[0]) || leaves[0].leaf.position == 0) return 0;
    do n++;
    while (n < count && is_read(&leaves[n]) && same_request(&leaves[0], &leaves[n]));
    return n;
}

void signatures_check(struct signatures *s, struct replay_leaf *leaves, uint32_t count)
{
    const struct replay_leaf *last = NULL; /* whose signature was looked at */
    for (uint32_t i = 0; i < count; i++)
        if (is_read(&leaves[i])) note_new_keys(s, &leaves[i].leaf.operation);
    for (uint32_t i = count_carried(leaves, count); i < count; i++) {
        struct replay_leaf *read = &leaves[i];
        if (!is_read(read)) continue;
        if (last && same_request(last, read)) {
            read->verified = last->verified;
            read->key = last->key;
        } else {
            check(s, read);
        }
        last = read;
    }
}

static bool goes_on(const struct signed_request *last, const struct replay_leaf *read)
{
    return last->actor.kind != ACTOR_NONE && is_read(read) && last->count == read->leaf.count &&
           digest_equal(&last->root, &read->root) &&
           memcmp(&last->signature, &read->leaf.signature, sizeof last->signature) == 0 &&
           actor_equal(&last->actor, &read->leaf.operation.actor);
}

void signatures_carry(struct signed_request *last, struct replay_leaf *leaves, uint32_t count)
{
    if (count == 0) return;
    for (uint32_t i = 0; i < count && goes_on(last, &leaves[i]); i++) {
        leaves[i].verified = true;
        leaves[i].key = last->key;
    }
    const struct replay_leaf *end = &leaves[count - 1];
    *last = (struct signed_request){.actor.kind = ACTOR_NONE};
    if (!is_read(end) || !end->verified) return;
    *last = (struct signed_request){end->leaf.operation.actor, end->leaf.count, end->root, end->leaf.signature,
                                    end->key};
}
