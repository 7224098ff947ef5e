/* Four nodes that are none: real TLS and messages on loopback ports, one ledger
 * between them that approves everything, a collective key whose shares they
 * hold. Each can be told to lie or to fail in one way, for tests of the client's
 * checks. They run on a thread of their own: look at them and change them under the lock. */
#ifndef TESTS_LIB_FAKE_CLUSTER_H
#define TESTS_LIB_FAKE_CLUSTER_H

#include <pthread.h>
#include <uv.h>

#include "crypto/dkg.h"
#include "ledger/genesis.h"
#include "ledger/leaf.h"
#include "ledger/tree.h"
#include "net/listener.h"
#include "tests/lib/folder.h"

#define FAKE_NODES 4
#define FAKE_LEAVES 64
#define FAKE_PAGES 50 /* pages of one entry, of a ledger that is none: LEAVES gives them to whoever has submitted */

enum fake_fault {
    FAKE_FINE,
    /* of the node that serves */
    FAKE_SILENT,            /* takes a connection and says nothing */
    FAKE_MUTE,              /* greets, and says nothing more */
    FAKE_OTHER_CLUSTER,     /* greets as a node of another one */
    FAKE_OTHER_NODE,        /* greets as another node */
    FAKE_OTHER_NUMBERS,     /* greets with another k */
    FAKE_NO_QUORUM,         /* refuses what is submitted, for now */
    FAKE_REFUSES,           /* says that what is submitted is not signed as it should be */
    FAKE_REFUSES_AFTER,     /* records it first */
    FAKE_REFUSES_EACH,      /* the same in APPLIED */
    FAKE_REFUSES_LAST,      /* the same of a request's last operation alone */
    FAKE_REFUSES_PROOF,     /* answers APPLIED, then that it may not prove it */
    FAKE_NO_MEMORY,         /* says that it has no memory for what is submitted */
    FAKE_FULL,              /* has no space for what is submitted */
    FAKE_SWALLOWS,          /* takes what is submitted, and forgets it */
    FAKE_DIES_BEFORE,       /* closes instead of recording */
    FAKE_DIES_AFTER,        /* records, then closes */
    FAKE_DIES_APPLIED,      /* answers APPLIED, then closes */
    FAKE_NOT_WITNESSED,     /* APPLIED, but no COSIGNED ever */
    FAKE_OTHER_LEAF,        /* proves an entry of somebody else's */
    FAKE_OTHER_INDEX,       /* says another index in APPLIED */
    FAKE_DENIED_CLAIM,      /* says "denied" in APPLIED, which counts for nothing */
    FAKE_ALTERED_LEAF,      /* turns the decision */
    FAKE_BAD_PROOF,         /* one hash is off */
    FAKE_FEW_COSIGNERS,     /* k - 1 */
    FAKE_SAME_COSIGNER,     /* k lines, but one twice */
    FAKE_FOREIGN_COSIGNERS, /* k keys that are no members' */
    FAKE_FOREIGN_ORIGIN,    /* another cluster's checkpoint */
    FAKE_OTHER_ROOT,        /* a root of its own, signed by itself only */
    FAKE_WRONG_COUNT,       /* APPLIED for another number of operations */
    FAKE_OWN_KEY,           /* a collective key of its own making, proved as far as it can */
    FAKE_WRONG_LEAF_KEY,    /* some other entry as activation */
    FAKE_ALTERED_CONTENT,   /* a ciphertext that is not the record's */
    FAKE_ALTERED_CAPSULE,   /* a valid capsule of its own for the right label */
    FAKE_OTHER_U,           /* another U beside the record's content */
    FAKE_DENIES_SHARES,     /* says that it may give none */
    FAKE_KEEPS_SHARES,      /* gives its own only */
    FAKE_REPLAYS_SHARES,    /* gives the next member's of another question as its answer */
    FAKE_CONTRADICTS,       /* gives its own only, excluded or not, and that is of a read that opens fewer */
    FAKE_OTHER_CONTENT,     /* the content of another item */
    FAKE_OTHER_NAMES,       /* says in its status that members are called otherwise, in lines that look like others' */
    FAKE_MEMBER_TWICE,      /* tells of one member twice there, and of another one not */
    /* of a holder of a share, whoever serves */
    FAKE_BAD_SHARE,         /* D off, signed */
    FAKE_OTHER_LABEL,       /* the share of another capsule, signed */
    FAKE_UNSIGNED_SHARE,
    FAKE_FOREIGN_BOX,       /* sealed to another reader, signed */
    FAKE_NO_SHARE,          /* gives none */
    FAKE_NONE_OF_ITEM,      /* has not the content that it would be of */
    FAKE_OTHER_EXTENT,      /* signs that the read opens fewer */
    FAKE_NO_DIGEST,         /* no node has digested its state yet */
    /* of who hands out what all nodes stated of their states, the same */
    FAKE_STATES,            /* as they did */
    FAKE_MADE_UP_STATE,     /* in the name of the next member, signed by itself */
    FAKE_STATE_ELSEWHERE,   /* one that was stated at another entry */
    FAKE_STATES_BEFORE,     /* all at an entry before the one that asked */
};

struct fake_leaf {
    struct buffer bytes;
    struct digest hash;
    struct buffer attachment; /* as encoded */
};

struct fake_node {
    struct fake_cluster *cluster;
    uint32_t member;
    struct tls_context *tls;
    struct network *network;
    struct listener *listener;
    enum fake_fault fault;
    unsigned submits, lookups, proves, shares, digests, pages; /* questions that came */
    struct connection *connection; /* the last one that asked; NULL: it is closed */
    uint64_t owed_id;              /* a SUBMIT of one operation that got no COSIGNED; 0: none */
    uint32_t owed_index;
};

struct fake_cluster {
    char folder[FOLDER_PATH], genesis_file[FOLDER_PATH];
    struct buffer genesis_text;
    struct genesis genesis;
    struct node_secrets secrets[FAKE_NODES + 1];
    struct fake_node nodes[FAKE_NODES + 1]; /* by member index */
    uint32_t leaf_count;
    struct fake_leaf leaves[FAKE_LEAVES];
    struct dkg_commitments commitments; /* [0] is the collective key */
    struct scalar shares[FAKE_NODES + 1];
    uint64_t activation;
    uint64_t witnessed_time_ms; /* in FOUND; 0: the last leaf's */
    bool forgets;               /* LOOKUP finds nothing */
    bool all_at_once;           /* the content of all records in one answer, not of one */
    uint32_t left_out;          /* what each read leaves out, by each share */
    uint32_t denies;            /* an enum reason: what is submitted is recorded as denied for it */

    pthread_mutex_t lock; /* of all above but the genesis and the keys, which stay as they are */
    uv_loop_t loop;
    uv_async_t stop, change;
    struct buffer notice; /* to be sent */
    unsigned closed;
    pthread_t thread;
};

void fake_cluster_start(struct fake_cluster *c, uint32_t faulty);
void fake_cluster_end(struct fake_cluster *c);
#define FAKE_LOCKED(c, statement)                                                                  \
    do {                                                                                           \
        pthread_mutex_lock(&(c)->lock);                                                            \
        statement;                                                                                 \
        pthread_mutex_unlock(&(c)->lock);                                                          \
    } while (0)
/* A NOTICE to whoever is connected; `body` is copied. */
void fake_cluster_notice(struct fake_cluster *c, struct bytes body);
/* A node that is fine again sends the COSIGNED of one operation that it withheld. */
void fake_cluster_fault(struct fake_cluster *c, uint32_t member, enum fake_fault fault); /* member 0: all */

#endif
