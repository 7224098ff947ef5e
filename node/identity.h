/* A node's folder and its identity.
 *
 *   DIR/node.descriptor   public: one line for the genesis file
 *   DIR/consiliumd.conf   settings that `init` was given
 *   DIR/storage.key       the storage key, unless it is kept elsewhere
 *   DIR/node.seed         sealed: the 32-byte seed of all signing and sealing keys
 *   DIR/tls.key           sealed: ECDSA P-256 key; DIR/tls.crt its certificate (DER)
 *   DIR/key-share-S-E     sealed: the share of secret S in epoch E (consensus/keygen_agent.h)
 *   DIR/log/ DIR/state/   the Raft log; the LMDB store
 *   DIR/accept-loss       for its next start: what the node forgot is not waited for (consensus/driver_rejoin.c)
 *   DIR/lock              held by the process that runs the node
 */
#ifndef NODE_IDENTITY_H
#define NODE_IDENTITY_H

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/keys.h"
#include "ledger/genesis.h"
#include "node/config.h"
#include "storage/files.h"

struct node_identity {
    char directory[FILES_PATH], log_directory[FILES_PATH], state_directory[FILES_PATH];
    struct descriptor descriptor;
    struct seal_key *storage_key;  /* secret memory */
    struct node_secrets *secrets;  /* secret memory */
    struct buffer tls_key, tls_certificate; /* DER; the key is wiped by identity_close */
    bool key_beside_data; /* the storage key lies in the same folder as what it seals */
    struct file_lock lock;
};

struct identity_options {
    const char *directory, *name, *hospital;
    const char *listen;    /* HOST:PORT */
    const char *advertise; /* HOST:PORT; NULL: as listen */
    const char *storage_key_file; /* NULL or "": DIR/storage.key */
};

/* Whether names and addresses can be those of a node: else ERR_INVALID. */
enum err identity_options_check(const struct identity_options *options, struct failure *failure);
/* Makes folder, keys, configuration and descriptor; appends the descriptor's
 * line to `line`. ERR_EXISTS when the folder has anything in it; ERR_INVALID for
 * names and addresses that can't be; ERR_USAGE for a path of the storage key that can't
 * stand in the configuration. On failure nothing is left behind. */
enum err identity_create(struct buffer *line, const struct identity_options *options, struct failure *failure);

/* Opens keys and takes the folder's lock (unless read_only). The storage key: the
 * setting's file, else the credential "storage.key", else DIR/storage.key.
 * ERR_NOT_FOUND: no node here; ERR_IN_USE; ERR_DECRYPT: another storage key. */
enum err identity_open(struct node_identity *out, const char *directory, const struct config *config,
                       bool read_only, struct failure *failure);
void identity_close(struct node_identity *identity); /* wipes; unlocks */

/* The operator's word for the next start, durable, and whether it is there. That start takes it back. */
enum err identity_accept_loss(const struct node_identity *identity, bool accept, struct failure *failure);
bool identity_accepts_loss(const struct node_identity *identity);

#endif
