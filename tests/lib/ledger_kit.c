#include "tests/lib/ledger_kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "crypto/dkg.h"
#include "crypto/random.h"
#include "ledger/evidence.h"
#include "ledger/keygen.h"
#include "ledger/proof.h"
#include "ledger/state_digest.h"
#include "tests/lib/samples.h"

#define ADMIN_KEY 1000 /* sample_key of kit->root */

struct bytes kit_default_policy(void)
{
    static char text[LIMIT_POLICY];
    static size_t size;
    if (!size) {
        FILE *f = fopen("configs/policy.conf", "r");
        CHECK(f);
        size = fread(text, 1, sizeof text, f);
        fclose(f);
    }
    return bytes_of(text, size);
}

static void open_store(struct kit *kit, uint64_t map_size)
{
    struct store_options options = {.directory = kit->folder, .tables = ledger_tables, .scratch = true};
    options.table_count = ledger_tables_count;
    options.map_size = map_size ? map_size : UINT64_C(4) << 30; /* the usual 1 TiB doesn't always fit beside TSan's */
    crypto_init();
    folder_make(kit->folder, 1);
    CHECK(store_open(&kit->store, &options, NULL) == OK);
    CHECK(store_begin_write(&kit->txn, kit->store) == OK);
}

static struct kit_actor actor_of(enum actor_kind kind, const struct id *id, const struct sign_secret *secret,
                                 const struct sign_public *key)
{
    return (struct kit_actor){.actor = {kind, *id, key_id_of(key)}, .secret = *secret, .key = *key};
}

struct kit_actor kit_user(unsigned n)
{
    struct sign_secret secret;
    struct sign_public key;
    struct id id = sample_id(n);
    sample_key(&secret, &key, n);
    return actor_of(ACTOR_USER, &id, &secret, &key);
}

struct kit_actor kit_node(const struct kit *kit, unsigned member)
{
    const struct descriptor *d = genesis_member(&kit->genesis, member);
    return actor_of(ACTOR_NODE, &d->id, &kit->nodes[member].message, &d->keys.message);
}

static void set_root(struct kit *kit)
{
    struct sign_secret secret;
    struct sign_public key;
    sample_key(&secret, &key, ADMIN_KEY);
    kit->root = actor_of(ACTOR_USER, &kit->genesis.admins[0].id, &secret, &key);
}

static void set_genesis(struct kit *kit, uint32_t n, uint32_t b, struct bytes policy)
{
    struct genesis *g = &kit->genesis;
    struct sign_secret secret;
    sample_genesis(g, n, b);
    g->admin_count = 1;
    g->approvals = 1;
    sample_key(&secret, &g->admins[0].key, ADMIN_KEY);
    g->policy = policy.size ? policy : kit_default_policy();
    CHECK(genesis_format(&kit->genesis_text, g, NULL) == OK);
    CHECK(genesis_parse(g, buffer_bytes(&kit->genesis_text), NULL) == OK);
    for (uint32_t i = 1; i <= n; i++) sample_node_secrets(&kit->nodes[i], i);
    set_root(kit);
}

static void open_kit(struct kit *kit, uint32_t n, uint32_t b, struct bytes policy, uint64_t map_size)
{
    struct failure failure = {0};
    memset(kit, 0, sizeof *kit);
    kit->now = SAMPLE_TIME;
    set_genesis(kit, n, b, policy);
    open_store(kit, map_size);
    enum err err = ledger_create(&kit->ledger, kit->txn, buffer_bytes(&kit->genesis_text), &failure);
    if (err != OK) fprintf(stderr, "ledger_create: %s\n", failure.text);
    CHECK(err == OK);
}

void kit_open(struct kit *kit, uint32_t n, uint32_t b, struct bytes policy) { open_kit(kit, n, b, policy, 0); }

void kit_open_small(struct kit *kit, uint64_t map_size) { open_kit(kit, 4, 1, (struct bytes){0}, map_size); }

void kit_open_empty(struct kit *kit, const struct kit *like)
{
    memset(kit, 0, sizeof *kit);
    kit->now = like->now;
    set_genesis(kit, like->genesis.member_count, like->genesis.faulty, like->genesis.policy);
    open_store(kit, 0);
}

void kit_close(struct kit *kit)
{
    ledger_results_free(&kit->results);
    ledger_free(kit->ledger);
    store_abort(kit->txn);
    store_close(kit->store); /* a scratch store removes its folder */
    buffer_free(&kit->genesis_text);
    buffer_free(&kit->request);
    buffer_free(&kit->block);
}

void kit_reopen(struct kit *kit)
{
    ledger_free(kit->ledger);
    CHECK(store_commit(kit->txn) == OK);
    CHECK(store_begin_write(&kit->txn, kit->store) == OK);
    CHECK(ledger_open(&kit->ledger, kit->txn, NULL) == OK);
}

/* --- operations --- */

static void make_attachment(struct buffer *out, unsigned n, struct bytes content)
{
    uint8_t salt[ATTACHMENT_SALT] = {0};
    put_be32(salt, n);
    if (content.size) attachment_encode(out, salt, content);
}

void kit_request(struct kit *kit, struct buffer *out, const struct kit_actor *who, const struct arguments *args,
                 struct bytes content)
{
    struct request_builder *builder = xcalloc(1, sizeof *builder);
    struct buffer encoded = {0}, attachment = {0};
    struct operation op = {.cluster = kit->genesis.cluster, .issued_at_ms = kit->now, .actor = who->actor};
    op.request_id = sample_id(++kit->ids);
    op.action = args->action;
    arguments_encode(&encoded, args);
    op.args = buffer_bytes(&encoded);
    op.purpose = PURPOSE_TREATMENT;
    make_attachment(&attachment, kit->ids, content);
    CHECK(request_builder_add(builder, &op, buffer_bytes(&attachment)) == OK);
    buffer_clear(out);
    CHECK(request_builder_sign(out, builder, &who->secret) == OK);
    request_builder_free(builder);
    free(builder);
    buffer_free(&encoded);
    buffer_free(&attachment);
}

void kit_apply(struct kit *kit, const struct bytes *requests, uint32_t count)
{
    bool wanted[LIMIT_BLOCK_REQUESTS];
    struct block block;
    memset(wanted, 1, sizeof wanted);
    buffer_clear(&kit->block);
    block_encode(&kit->block, kit->now, requests, count);
    CHECK(block_decode(&block, buffer_bytes(&kit->block)) == OK);
    enum err err = ledger_apply(kit->ledger, kit->txn, &kit->results, &block, wanted, ++kit->raft_index, 1);
    if (err != OK) fprintf(stderr, "ledger_apply: %s\n", err_text(err));
    CHECK(err == OK);
    block_free(&block);
    kit->now += KIT_TICK;
}

const struct ledger_result *kit_do(struct kit *kit, const struct kit_actor *who, const struct arguments *args,
                                   struct bytes content)
{
    kit_request(kit, &kit->request, who, args, content);
    struct bytes request = buffer_bytes(&kit->request);
    kit_apply(kit, &request, 1);
    CHECK(kit->results.count == 1);
    return &kit->results.items[0];
}

/* --- beginnings --- */

static void must(struct kit *kit, const struct kit_actor *who, const struct arguments *args, struct bytes content)
{
    const struct ledger_result *r = kit_do(kit, who, args, content);
    if (r->code != OK || r->decision != DECISION_APPROVED)
        fprintf(stderr, "%s: %s, reason %u: %s\n", action_name(args->action), err_name(r->code), r->reason,
                reason_text((enum reason)r->reason));
    CHECK(r->code == OK && r->decision == DECISION_APPROVED);
}

struct kit_actor kit_add_user(struct kit *kit, unsigned n, const char *role, const char *hospital, const char *name)
{
    struct kit_actor user = kit_user(n);
    struct arguments args = {.action = ACTION_USER_CREATE};
    struct person person = {.name = bytes_text(name)};
    struct buffer encoded = {0};
    args.user_create = (struct args_user_create){
        .user = user.actor.id, .hospital = bytes_text(hospital), .role = bytes_text(role), .key_count = 1};
    args.user_create.keys[0] = user.key;
    args.user_create.login_tag = sample_digest(n);
    person_encode(&encoded, &person);
    must(kit, &kit->root, &args, buffer_bytes(&encoded));
    buffer_free(&encoded);
    return user;
}

/* Teams are put together by a registrar of the patient's hospital (key 9000 and on). */
void kit_add_team(struct kit *kit, unsigned patient, unsigned user)
{
    struct user row;
    struct id id = sample_id(patient);
    CHECK(state_user_get(&row, kit->txn, &id) == OK);
    unsigned n = 9000 + (unsigned)(row.hospital[0] * 16 + row.hospital[strlen(row.hospital) - 1] % 16);
    struct kit_actor registrar = kit_user(n);
    struct user existing;
    if (state_user_get(&existing, kit->txn, &registrar.actor.id) == ERR_NOT_FOUND)
        kit_add_user(kit, n, "registrar", row.hospital, "Registrar");
    struct arguments args = {.action = ACTION_TEAM_ASSIGN};
    args.team_assign = (struct args_team_assign){id, sample_id(user), false};
    must(kit, &registrar, &args, (struct bytes){0});
}

void kit_evidence(struct buffer *out, const struct kit *kit, unsigned signer, uint64_t place)
{
    struct statement s[2];
    struct evidence e;
    for (unsigned i = 0; i < 2; i++) {
        s[i] = (struct statement){.kind = STATEMENT_BLOCK, .term = 7, .index = place, .hash = sample_digest(100 + i)};
        evidence_statement_sign(&s[i], &kit->genesis.cluster, &kit->nodes[signer].message);
    }
    CHECK(evidence_make(&e, &kit->genesis, signer, &s[0], &s[1]) == OK);
    evidence_encode(out, &e);
    CHECK(!out->failed);
}

void kit_content(struct buffer *out, const char *text)
{
    uint8_t capsule[64];
    memset(capsule, 7, sizeof capsule);
    struct content content = {BYTES(capsule), bytes_text(text)};
    content_encode(out, &content);
}

static void key_reveal(struct kit *kit, struct arguments *args, const struct dkg_polynomial *polynomial)
{
    struct dkg_commitments commitments;
    struct args_key_reveal *a = &args->key_reveal;
    dkg_commit(&commitments, polynomial);
    a->k = commitments.k;
    memcpy(a->commitments, commitments.points, sizeof a->commitments);
    a->n = kit->genesis.member_count;
    for (uint32_t i = 0; i < a->n; i++) a->subshares[i] = sample_digest(i + 1);
}

void kit_activate(struct kit *kit, enum key_secret secret)
{
    uint32_t n = kit->genesis.member_count, k = kit->genesis.quorum;
    struct dkg_polynomial polynomials[LIMIT_NODES + 1];
    for (uint32_t i = 1; i <= n; i++) {
        struct kit_actor node = kit_node(kit, i);
        struct arguments args = {.action = ACTION_KEY_COMMIT};
        struct dkg_commitments commitments;
        uint8_t context[KEYGEN_CONTEXT_SIZE];
        polynomials[i].k = k;
        for (uint32_t j = 0; j < k; j++) polynomials[i].coefficients[j] = scalar_from_uint(1000 * i + j + secret);
        dkg_commit(&commitments, &polynomials[i]);
        keygen_context(context, &kit->genesis.cluster, (uint8_t)secret, 1, i);
        args.key_commit = (struct args_key_commit){secret, 1, dkg_commitments_hash(&commitments, BYTES(context))};
        must(kit, &node, &args, (struct bytes){0});
    }
    for (uint32_t i = 1; i <= n; i++) {
        struct kit_actor node = kit_node(kit, i);
        struct arguments args = {.action = ACTION_KEY_REVEAL, .key_reveal = {.secret = secret, .attempt = 1}};
        key_reveal(kit, &args, &polynomials[i]);
        must(kit, &node, &args, (struct bytes){0});
    }
    for (uint32_t i = 1; i <= n; i++) {
        struct kit_actor node = kit_node(kit, i);
        struct arguments args = {.action = ACTION_KEY_CONFIRM, .key_confirm = {secret, 1, 0}};
        must(kit, &node, &args, (struct bytes){0});
    }
    struct kit_actor node = kit_node(kit, 1);
    struct arguments args = {.action = ACTION_KEY_ACTIVATE, .key_activate = {.secret = secret, .attempt = 1, .n = n}};
    struct keygen keygen;
    CHECK(keygen_get(&keygen, kit->txn, (uint8_t)secret) == OK);
    args.key_activate.qualified = keygen_qualified(&keygen);
    CHECK(keygen_keys(&args.key_activate.key, args.key_activate.verification, kit->txn, (uint8_t)secret, n) == OK);
    must(kit, &node, &args, (struct bytes){0});
}

/* --- replay --- */

enum err kit_replay(struct kit *to, struct kit *from, uint64_t index, struct failure *failure)
{
    struct buffer leaf = {0};
    CHECK(proof_leaf(&leaf, from->txn, index) == OK);
    enum err err = index == 0 ? ledger_replay_genesis(&to->ledger, to->txn, buffer_bytes(&leaf), NULL, failure)
                              : ledger_replay(to->ledger, to->txn, buffer_bytes(&leaf), failure);
    buffer_free(&leaf);
    return err;
}

void kit_replay_all(struct kit *to, struct kit *from)
{
    struct failure failure = {0};
    struct buffer attachment = {0};
    uint64_t index;
    for (uint64_t i = 0; i < ledger_size(from->ledger); i++) {
        enum err err = kit_replay(to, from, i, &failure);
        if (err != OK) fprintf(stderr, "replay: %s\n", failure.text);
        CHECK(err == OK);
    }
    while (ledger_attachment_missing(&index, to->txn, 0) == OK) {
        CHECK(ledger_attachment(&attachment, from->txn, index) == OK);
        CHECK(ledger_attach(to->ledger, to->txn, index, buffer_bytes(&attachment)) == OK);
    }
    buffer_free(&attachment);
}

/* One table more than the state digest has. */
static struct digest attachments_of(struct table_txn *txn)
{
    struct table_cursor *c;
    struct buffer all = {0}, value = {0};
    struct digest digest;
    CHECK(table_cursor_open(&c, txn, TABLE_ATTACHMENT) == OK);
    enum err err = table_cursor_seek(c, (struct bytes){0});
    for (; err == OK; err = table_cursor_next(c)) {
        CHECK(table_cursor_value(c, &value) == OK);
        pack_bytes(&all, table_cursor_key(c));
        pack_bytes(&all, buffer_bytes(&value));
    }
    CHECK(err == ERR_NOT_FOUND && !all.failed);
    table_cursor_close(c);
    hash_sha256(&digest, all.data, all.size);
    buffer_free(&all);
    buffer_free(&value);
    return digest;
}

struct digest kit_digest_of(struct table_txn *txn)
{
    struct state_digest state;
    CHECK(state_digest_now(&state, txn) == OK);
    struct digest parts[] = {state_digest_whole(&state), attachments_of(txn)}, digest;
    hash_sha256(&digest, parts, sizeof parts);
    return digest;
}

struct digest kit_digest(struct kit *kit) { return kit_digest_of(kit->txn); }

const char *kit_difference(struct kit *a, struct kit *b)
{
    static char names[1024];
    struct state_statement x = {.size = 1}, y = {.size = 1};
    struct buffer out = {0};
    CHECK(state_digest_now(&x.digest, a->txn) == OK && state_digest_now(&y.digest, b->txn) == OK);
    state_differences(&out, &x, &y);
    buffer_append(&out, "", 1);
    CHECK(!out.failed && out.size <= sizeof names);
    memcpy(names, out.data, out.size);
    buffer_free(&out);
    struct digest p = attachments_of(a->txn), q = attachments_of(b->txn);
    return names[0] || digest_equal(&p, &q) ? names : "attachment";
}
