/* The happy path: CONTENT -> items, then sealed shares of k nodes -> combine -> decrypt -> take.
 *
 * Content that opens is right: its key is proved by the capsule, or by the proofs of k
 * shares (crypto/tdh2.h), and its place is authenticated. So only after that is anybody
 * called a liar: the members whose signed shares did not fit. When no k shares open it, either members lie or the
 * serving node altered the content (with a new capsule it could make honest shares
 * look wrong), so another node serves before anything is said. */
#include "cli/content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/secret.h"
#include "ledger/attachment.h"

#define PAUSE_MS 200 /* before asking again for shares that were too few */

/* --- closing --- */

enum err content_close(struct buffer *out, const struct collective *key, const struct record_context *context,
                       struct bytes plain, struct failure *failure)
{
    if (plain.size > LIMIT_RECORD)
        return fail(failure, ERR_RECORD_TOO_LARGE, "the content has %zu bytes; a record holds at most %u", plain.size,
                    LIMIT_RECORD);
    struct buffer context_bytes = {0}, ciphertext = {0}, capsule_bytes = {0};
    struct digest context_hash;
    struct tdh2_secret secret;
    struct tdh2_capsule capsule;
    uint8_t content_key[AEAD_KEY_SIZE];
    record_context_encode(&context_bytes, context);
    hash_sha256(&context_hash, context_bytes.data, context_bytes.size);
    uint8_t *sealed = buffer_extend(&ciphertext, plain.size + AEAD_TAG_SIZE);
    if (!sealed || context_bytes.failed) {
        fail(failure, ERR_NOMEM, "no memory to encrypt the content");
        goto free_all;
    }
    tdh2_begin(&secret, content_key, &key->key, &context_hash);
    aead_encrypt(sealed, content_key, AEAD_ZERO_NONCE, plain, buffer_bytes(&context_bytes));
    secret_wipe(content_key, sizeof content_key);
    struct digest label = record_label(buffer_bytes(&context_bytes), buffer_bytes(&ciphertext));
    tdh2_finish(&capsule, &secret, &key->key, &label, key->epoch);
    tdh2_capsule_pack(&capsule_bytes, &capsule);
    content_encode(out, &(struct content){buffer_bytes(&capsule_bytes), buffer_bytes(&ciphertext)});
    if (out->failed) fail(failure, ERR_NOMEM, "no memory to encrypt the content");
free_all:;
    enum err e = sealed && !context_bytes.failed && !out->failed ? OK : ERR_NOMEM;
    buffer_free(&context_bytes);
    buffer_free(&ciphertext);
    buffer_free(&capsule_bytes);
    return e;
}

/* --- opening --- */

struct opening {
    struct cluster *cluster;
    const struct collective *key;
    const struct reader *reader;
    const struct submission *read;
    const struct read_extent *extent;
    member_set avoid; /* not asked for shares any more: known liars */
    member_set elsewhere; /* who signed another extent: liars, unless they are too many */
    member_set wrong;     /* who signed what is no answer */
    uint64_t end_ns;  /* nothing is waited for any longer; moves on with each item */
    uint64_t turn_ns; /* nor with this serving node: another one may give what this one keeps back */
    bool said;        /* what the last question failed with is the serving node's word */
    enum err (*take)(void *data, uint32_t position, struct opened_content *item);
    void *data;
};

struct item {
    struct sealed_item sealed;
    struct record_context context;
    struct bytes context_bytes, ciphertext;
};

static uint64_t leaf_of(const struct opening *o) { return o->read->outcomes[0].index; }

static const char *serving_node(const struct opening *o)
{
    return cluster_member_name(o->cluster, o->cluster->member);
}

static enum err put_question(struct opening *o, uint64_t *id, enum message_type type, const struct share_ask *ask,
                             member_set without, struct failure *failure)
{
    struct message_opening m = {.leaf_index = ask->leaf_index, .first = ask->first, .count = ask->count,
                                .with_proofs = ask->with_proofs};
    struct buffer question = {0};
    without |= o->avoid | o->elsewhere | o->wrong;
    for (uint32_t i = 1; i <= o->key->n; i++)
        if (without & MEMBER(i)) m.excluded[m.excluded_count++] = i;
    message_opening_encode(&question, &m);
    enum err e = cluster_send(o->cluster, id, type, buffer_bytes(&question), failure);
    buffer_free(&question);
    return e;
}

/* Its next answer; the body is copied, since several are needed at once. */
static enum err take_answer(struct opening *o, struct buffer *out, uint64_t id, enum message_type expected,
                            struct failure *failure)
{
    struct frame frame = {0};
    enum err e = cluster_receive(o->cluster, &frame, id, cluster_patience_ms(o->cluster, o->end_ns), NULL, failure);
    o->said = e != OK && frame.type == MESSAGE_FAILED;
    if (e != OK) return e;
    if (frame.type != expected)
        return fail(failure, ERR_UNEXPECTED, "%s answered with a message of type %u", serving_node(o), frame.type);
    buffer_clear(out);
    buffer_append_bytes(out, frame.body);
    return out->failed ? fail(failure, ERR_NOMEM, "no memory for the content") : OK;
}

static enum err take_shares(struct opening *o, struct share_set *set, uint64_t id, const struct share_ask *ask,
                            struct failure *failure)
{
    struct buffer body = {0};
    *set = (struct share_set){0};
    enum err e = take_answer(o, &body, id, MESSAGE_SHARED, failure);
    if (e == OK)
        e = share_set_read(set, &o->cluster->genesis, o->reader, ask, o->extent, buffer_bytes(&body));
    if (e != OK && failure->code == OK) fail(failure, e, "%s sent shares that can't be read", serving_node(o));
    secret_wipe_buffer(&body);
    return e;
}

static enum err fetch_shares(struct opening *o, struct share_set *set, const struct share_ask *ask, member_set without,
                             struct failure *failure)
{
    uint64_t id;
    *set = (struct share_set){0};
    enum err e = put_question(o, &id, MESSAGE_SHARES, ask, without, failure);
    return e == OK ? take_shares(o, set, id, ask, failure) : e;
}

static enum err item_read(struct item *out, const struct opening *o, const struct message_item *m,
                          struct failure *failure)
{
    enum err e = record_context_decode(&out->context, m->context);
    if (e == OK) e = tdh2_capsule_decode(&out->sealed.capsule, m->capsule);
    if (e == OK && (!digest_equal(&out->context.cluster, &o->cluster->genesis.cluster) ||
                    m->ciphertext.size < AEAD_TAG_SIZE))
        e = ERR_MALFORMED;
    if (e != OK) return fail(failure, ERR_BAD_PROOF, "%s sent content that is none: %s", serving_node(o), err_text(e));
    out->context_bytes = m->context;
    out->ciphertext = m->ciphertext;
    hash_sha256(&out->sealed.context_hash, m->context.data, m->context.size);
    out->sealed.label = record_label(m->context, m->ciphertext);
    return OK;
}

/* Decrypts and wipes the key; on OK the item is given away. */
static enum err decrypt(struct opening *o, uint32_t absolute, const struct item *item,
                        uint8_t key[static AEAD_KEY_SIZE])
{
    struct opened_content opened = {.context = item->context, .plain.secret = true};
    enum err e;
    uint8_t *plain = buffer_extend(&opened.plain, item->ciphertext.size - AEAD_TAG_SIZE + 1);
    e = plain ? aead_decrypt(plain, key, AEAD_ZERO_NONCE, item->ciphertext, item->context_bytes) : ERR_NOMEM;
    secret_wipe(key, AEAD_KEY_SIZE);
    if (e == OK) opened.plain.size--; /* the byte more keeps an empty content's buffer there */
    if (e == OK && o->take(o->data, absolute, &opened) != OK) e = ERR_CANCELED;
    secret_wipe_buffer(&opened.plain);
    return e;
}

static void name_liars(struct opening *o, member_set liars)
{
    liars &= ~o->avoid;
    o->avoid |= liars;
    for (uint32_t i = 1; i <= o->key->n && o->cluster->output; i++)
        if (liars & MEMBER(i))
            output_message(o->cluster->output, "%s gave a wrong %s, under its signature; others' shares are used",
                           cluster_member_name(o->cluster, i),
                           o->elsewhere & MEMBER(i) ? "list of what is opened" : "share");
}

static void list_names(const struct opening *o, char out[static 200], member_set members)
{
    out[0] = '\0';
    for (uint32_t i = 1; i <= o->key->n; i++) {
        size_t used = strlen(out);
        if (members & MEMBER(i))
            snprintf(out + used, 200 - used, "%s%s", used ? ", " : "", cluster_member_name(o->cluster, i));
    }
}

static enum err blame(const struct opening *o, member_set suspects, struct failure *failure)
{
    char names[200];
    list_names(o, names, suspects);
    return fail(failure, ERR_BAD_SHARE, "no %u shares open the content as %s serves it; not fitting: %s",
                o->cluster->genesis.quorum, serving_node(o), names[0] ? names : "none");
}

static bool wait_for_more(struct opening *o)
{
    if (cluster_left_ms(o->turn_ns) <= o->cluster->timeout_ms / 5) return false; /* an answer takes time, too */
    nanosleep(&(struct timespec){0, PAUSE_MS * 1000000l}, NULL);
    return true;
}

/* What members signed is no other's word. Of another extent than the answer's by more nodes than may lie, one that is
 * honest says so, and the answer is wrong. */
static enum err note_signed(struct opening *o, const struct share_set *set, struct failure *failure)
{
    char names[200];
    o->elsewhere |= set->elsewhere;
    o->wrong |= set->wrong;
    if (member_count(o->elsewhere) <= o->cluster->genesis.faulty) return OK;
    list_names(o, names, o->elsewhere);
    return fail(failure, ERR_LEFT_OUT, "it names %u records%s, and %s signed otherwise", o->extent->count,
                o->extent->next ? " and says that more follow" : "", names);
}

static enum err too_few(const struct opening *o, uint32_t got, member_set suspects, struct failure *failure)
{
    char names[200];
    list_names(o, names, suspects);
    return fail(failure, ERR_TOO_FEW_SHARES, "opening needs shares of %u nodes, and %u gave one that fits%s%s",
                o->cluster->genesis.quorum, got, names[0] ? "; not fitting: " : "", names);
}

/* Opens one item with proofs, leaving out whoever's share does not hold. */
static enum err open_with_proofs(struct opening *o, uint32_t absolute, const struct item *item, member_set suspects,
                                 member_set silent, struct failure *failure)
{
    uint32_t k = o->cluster->genesis.quorum, got = 0;
    for (unsigned round = 0;; round++) {
        struct share_set set;
        member_set proved, refuted;
        struct share_ask ask = {leaf_of(o), absolute, 1, true};
        enum err e = fetch_shares(o, &set, &ask, suspects | silent, failure);
        if (e == ERR_TIMEOUT && round > 0) return too_few(o, got, suspects, failure);
        if (e == OK) e = note_signed(o, &set, failure);
        if (e != OK) {
            share_set_free(&set);
            return e;
        }
        struct share_sorts sorts = share_set_sort(&set, 0, &item->sealed.label, o->key->epoch);
        share_set_verify(&proved, &refuted, &set, 0, o->key, &item->sealed, sorts.fitting);
        member_set bad = sorts.other | refuted | set.wrong;
        if (member_count(proved) >= k) {
            uint8_t key[AEAD_KEY_SIZE];
            e = share_set_open_proved(key, &set, 0, &item->sealed, proved, k);
            share_set_free(&set);
            if (e == OK) e = decrypt(o, absolute, item, key);
            if (e == OK) name_liars(o, suspects | bad);
            return e == ERR_DECRYPT ? fail(failure, e, "the content does not open, though %u nodes' shares are proved: "
                                           "its author's encryption is damaged", k) : e;
        }
        member_set unusable = set.unsigned_set | sorts.none;
        got = member_count(proved);
        share_set_free(&set);
        bool news = (bad & ~suspects) || (unusable & ~silent);
        suspects |= bad, silent |= unusable;
        if (o->key->n - member_count(o->avoid | suspects | silent) < k) return blame(o, suspects | silent, failure);
        if (!news && !wait_for_more(o)) return too_few(o, got, suspects, failure);
    }
}

static enum err open_item(struct opening *o, const struct share_set *set, uint32_t position,
                          const struct message_item *m, struct failure *failure)
{
    struct item item;
    enum err e = item_read(&item, o, m, failure);
    if (e != OK) return e;
    struct share_sorts sorts = share_set_sort(set, position, &item.sealed.label, o->key->epoch);
    member_set bad = sorts.other | o->wrong;
    if (member_count(sorts.fitting) >= o->cluster->genesis.quorum) {
        uint8_t key[AEAD_KEY_SIZE];
        e = share_set_open(key, set, position, o->key, &item.sealed, sorts.fitting, o->cluster->genesis.quorum);
        if (e == OK) e = decrypt(o, set->ask.first + position, &item, key);
        if (e == OK) name_liars(o, bad);
        if (e == OK || e == ERR_CANCELED || e == ERR_NOMEM) return e;
    }
    return open_with_proofs(o, set->ask.first + position, &item, bad, set->unsigned_set | sorts.none, failure);
}

static void begin_turn(struct opening *o)
{
    o->turn_ns = clock_monotonic_ns() + (uint64_t)cluster_patience_ms(o->cluster, o->end_ns) * 1000000;
}

/* The next item has the whole time-out again: a chart takes as long as it is large. */
static void next_item(struct opening *o)
{
    cluster_listen(o->cluster);
    cluster_renew(o->cluster);
    o->cluster->give_up_ns = o->end_ns = cluster_deadline(o->cluster);
    begin_turn(o);
}

/* Holders who agree with the answer on what the read opens. */
static uint32_t agreeing(const struct share_set *set) { return set->holder_count - member_count(set->elsewhere); }

/* Whether they fit is seen later; here only that enough came at all, or no more do in time. Who gave none that counts
 * is not asked again. */
static enum err fetch_enough(struct opening *o, struct share_set *set, struct failure *failure)
{
    uint32_t k = o->cluster->genesis.quorum;
    member_set unusable = 0;
    enum err e = note_signed(o, set, failure);
    while (e == OK && agreeing(set) < k) {
        member_set now = set->elsewhere | set->wrong | set->unsigned_set;
        bool news = now & ~unusable;
        struct share_set more;
        unusable |= now;
        if (o->key->n - member_count(o->avoid | unusable) < k || (!news && !wait_for_more(o))) break;
        e = fetch_shares(o, &more, &set->ask, unusable, failure);
        if (e == ERR_TIMEOUT) return OK; /* what came before decides */
        share_set_free(set);
        *set = more;
        if (e == OK) e = note_signed(o, set, failure);
    }
    return e;
}

static enum err read_contents(const struct opening *o, struct message_contents *m, struct message_item *items,
                              const struct share_ask *ask, struct bytes body, struct failure *failure)
{
    enum err e = message_contents_decode(m, items, LIMIT_OPENED, body);
    if (e == OK && m->first == ask->first && m->count <= ask->count && (m->count > 0) == (ask->count > 0)) return OK;
    return fail(failure, ERR_BAD_PROOF, "%s sent other content than was asked for", serving_node(o));
}

/* As many items as one answer holds; *done is how many were opened. */
static enum err open_run(struct opening *o, uint32_t first, uint32_t count, uint32_t *done, struct failure *failure)
{
    uint64_t id;
    struct share_ask ask = {leaf_of(o), first, count, false};
    struct buffer body = {0};
    struct message_contents contents = {0};
    struct share_set set = {0};
    struct message_item *items = xcalloc(LIMIT_OPENED, sizeof *items);
    *done = 0;
    enum err e = put_question(o, &id, MESSAGE_CONTENT, &ask, 0, failure);
    if (e == OK) e = take_answer(o, &body, id, MESSAGE_CONTENTS, failure);
    if (e == OK) e = read_contents(o, &contents, items, &ask, buffer_bytes(&body), failure);
    ask.count = contents.count;
    if (e == OK) e = take_shares(o, &set, id, &ask, failure);
    if (e == OK) e = fetch_enough(o, &set, failure);
    bool enough = agreeing(&set) >= o->cluster->genesis.quorum;
    if (e == OK && enough) name_liars(o, o->elsewhere | o->wrong);
    if (e == OK && !enough && count == 0) e = too_few(o, agreeing(&set), o->elsewhere | o->wrong, failure);
    for (uint32_t i = 0; e == OK && i < contents.count; i++) {
        e = open_item(o, &set, i, &items[i], failure);
        if (e != OK) break;
        ++*done;
        next_item(o);
    }
    share_set_free(&set);
    buffer_free(&body);
    free(items);
    return e;
}

/* Whether another serving node may do better. What this one says is its word, and the read was approved: one that
 * lies would else refuse what k others open. */
static bool other_node_may_help(const struct opening *o, enum err e)
{
    return e != OK &&
           (o->said || (e != ERR_CANCELED && e != ERR_NOMEM && e != ERR_DECRYPT && e != ERR_LEFT_OUT));
}

/* That a node gave no answer in what time was left says less than what an earlier one did. */
static bool says_nothing(enum err e)
{
    return e == ERR_TIMEOUT || e == ERR_UNREACHABLE || e == ERR_CLOSED || e == ERR_TRUNCATED;
}

/* Another node, which has to learn first that this is the reader's session. */
static enum err next_node(struct opening *o, struct failure *failure)
{
    cluster_drop(o->cluster);
    enum err e = cluster_connect(o->cluster, failure);
    if (e != OK) return e;
    e = submit_again(o->cluster, o->read, failure);
    if (e == OK) return OK;
    o->said = o->cluster->client != NULL; /* the connection lasts, so that is this node's word */
    cluster_drop(o->cluster); /* it would refuse everything that follows */
    return e;
}

enum err content_open(struct cluster *cluster, const struct collective *key, const struct reader *reader,
                      const struct submission *read, uint32_t first, const struct read_extent *extent,
                      enum err (*take)(void *data, uint32_t position, struct opened_content *item), void *data,
                      struct failure *failure)
{
    struct opening o = {.cluster = cluster, .key = key, .reader = reader, .read = read, .extent = extent,
                        .take = take, .data = data};
    uint32_t nodes = cluster->via ? 1 : cluster->genesis.member_count, tried = 1;
    uint64_t before = cluster->give_up_ns;
    struct failure told = {0};
    uint32_t at = first;
    enum err e;
    cluster->give_up_ns = o.end_ns = cluster_deadline(cluster);
    do {
        uint32_t done = 0;
        struct failure why = {0};
        o.said = false;
        begin_turn(&o);
        e = cluster->client ? OK : next_node(&o, &why);
        if (e == OK) e = open_run(&o, at, extent->count - at, &done, &why);
        at += done;
        if (e == OK) continue;
        if (why.code == OK) fail(&why, e, "%s", err_text(e));
        bool ends = !other_node_may_help(&o, e) || tried++ >= nodes || cluster_left_ms(o.end_ns) == 0;
        if (says_nothing(e) && told.code != OK) why = told;
        told = why;
        e = why.code;
        if (ends) {
            fail(failure, why.code, "%s", why.text);
            break;
        }
        if (cluster->output) output_message(cluster->output, "%s; asking another node", why.text);
        next_node(&o, &why);
    } while (e != OK || at < extent->count);
    cluster->give_up_ns = before;
    return e;
}
