/* A ledger under test: genesis, scratch store, people, and one call per operation.
 * Everything is the same each run; time and ids count up. What fails here by the
 * test's own fault ends the test (CHECK). */
#ifndef TESTS_LIB_LEDGER_KIT_H
#define TESTS_LIB_LEDGER_KIT_H

#include "ledger/apply.h"
#include "ledger/arguments.h"
#include "ledger/block.h"
#include "ledger/genesis.h"
#include "ledger/replay.h"
#include "ledger/request.h"
#include "ledger/state.h"
#include "ledger/tables.h"
#include "storage/store.h"
#include "tests/lib/folder.h"

/* Who acts: a user with a key, or a member. */
struct kit_actor {
    struct actor actor;
    struct sign_secret secret;
    struct sign_public key;
};

struct kit {
    char folder[FOLDER_PATH];
    struct store *store;
    struct table_txn *txn; /* one open write transaction */
    struct ledger *ledger;
    struct ledger_results results;
    struct buffer genesis_text;
    struct genesis genesis;
    struct node_secrets nodes[LIMIT_NODES + 1];
    struct kit_actor root; /* the first administrator */
    uint64_t now;          /* the next block's time; KIT_TICK more each time */
    uint64_t raft_index;
    unsigned ids;          /* of requests */
    struct buffer request, block; /* the last ones */
};

#define KIT_TICK 10

/* The policy of configs/policy.conf, which is read once; static. */
struct bytes kit_default_policy(void);
/* policy empty: the default one. */
void kit_open(struct kit *kit, uint32_t n, uint32_t b, struct bytes policy);
/* In a store of at most that many bytes, to run full. */
void kit_open_small(struct kit *kit, uint64_t map_size);
/* The same genesis in an empty store with no ledger: for replaying into. */
void kit_open_empty(struct kit *kit, const struct kit *like);
void kit_close(struct kit *kit);
void kit_reopen(struct kit *kit); /* commits, and opens the ledger anew from its tables */

struct kit_actor kit_user(unsigned n); /* id sample_id(n), key sample_key(n) */
struct kit_actor kit_node(const struct kit *kit, unsigned member);

/* One operation in a block of its own. `args` as in struct arguments; `content`
 * becomes the attachment, none when empty. The result is valid until the next call. */
const struct ledger_result *kit_do(struct kit *kit, const struct kit_actor *who, const struct arguments *args,
                                   struct bytes content);
/* In three steps, for tests that spoil something between: an encoded request of one
 * operation issued at kit->now, then a block of requests. */
void kit_request(struct kit *kit, struct buffer *out, const struct kit_actor *who, const struct arguments *args,
                 struct bytes content);
void kit_apply(struct kit *kit, const struct bytes *requests, uint32_t count);

/* Common beginnings. They must be approved (CHECK). */
struct kit_actor kit_add_user(struct kit *kit, unsigned n, const char *role, const char *hospital, const char *name);
void kit_add_team(struct kit *kit, unsigned patient, unsigned user);
/* Makes the collective key for records active, by a full key generation. */
void kit_activate(struct kit *kit, enum key_secret secret);
/* The attachment of a record: any capsule, and `text` as ciphertext (16 bytes at least). */
void kit_content(struct buffer *out, const char *text);

/* Encoded, appended: `signer` signed two blocks for Raft index `place`. */
void kit_evidence(struct buffer *out, const struct kit *kit, unsigned signer, uint64_t place);

/* Replays leaf `index` of `from` into `to`; then attaches its attachment, if any. */
enum err kit_replay(struct kit *to, struct kit *from, uint64_t index, struct failure *failure);
void kit_replay_all(struct kit *to, struct kit *from); /* all leaves, all attachments */
/* Of all replicated tables, and of the attachments that are here. */
struct digest kit_digest_of(struct table_txn *txn);
struct digest kit_digest(struct kit *kit);
/* "" or the names of the replicated tables that differ. Static. */
const char *kit_difference(struct kit *a, struct kit *b);

#endif
