/* Every limit of the system, in one place. Sizes in bytes, times in milliseconds. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define KIB 1024u
#define MIB (1024u * 1024u)

/* msgpack */
#define LIMIT_PACK_DEPTH 12

/* network */
#define LIMIT_FRAME (4 * MIB)           /* length after the 4-byte prefix */
#define LIMIT_CONNECTIONS 12288         /* in all, also those that say nothing */
#define LIMIT_CONNECTIONS_PER_ADDRESS 4096 /* a hospital behind one address has them all */
#define LIMIT_CLIENTS 2048              /* of these after the handshake, 13 to 25 KiB each: above, who is idle goes */
#define LIMIT_HANDSHAKES 4              /* steps handed to threads at once */
#define LIMIT_HANDSHAKE_MS 10000
#define LIMIT_HANDSHAKE_PLACES 192      /* handshakes of clients under way, some 50 KiB each; others wait in line */
#define LIMIT_HANDSHAKE_SILENT_MS 4000  /* in all, of a handshake while others wait in line */
#define LIMIT_HELLO (4 * KIB)           /* a client's first record */
#define LIMIT_IDLE_MS 300000
#define LIMIT_STALL_MS 15000            /* without the other side taking a byte of what waits for it */
#define LIMIT_STALL_BYTES (16 * KIB)    /* less than this taken in LIMIT_STALL_MS counts as not reading */
#define LIMIT_FRAME_MS 60000            /* from a frame's first byte to its last */
#define LIMIT_LINGER_MS 1000            /* for the other side to read the last answer before the close */
#define LIMIT_CONNECT_MS 3000           /* for one address to answer */
#define LIMIT_PEER_DEAD_MS 10000        /* a node that acknowledges nothing, or takes nothing */
#define LIMIT_PEER_UNHEARD 5            /* looks at a link without an acknowledgement; more later: net/peers.c */
#define LIMIT_PEER_LOOK_MS 250          /* from one look to the next */
#define LIMIT_SEND_TOTAL (32 * MIB)     /* of all clients' send queues: above, who does not read is closed */
#define LIMIT_SEND_MOST (512 * MIB)     /* the same: above, who has most to read is closed */
#define LIMIT_RECEIVE_TOTAL (32 * MIB)  /* of all clients' unfinished frames: above, who is slow is closed */
#define LIMIT_CROWD_MS 2000             /* without going on counts as slow above a total */
#define LIMIT_UNREAD (64 * KIB)         /* of answers, before a client's next frame is looked at */
#define LIMIT_REQUESTS_PER_CONNECTION 64 /* in flight */
#define LIMIT_REQUESTS 4096              /* in flight, in all */
#define LIMIT_REQUEST_BYTES (16 * MIB)   /* of requests in flight, in all: above, one is refused ... */
#define LIMIT_TAKEN_BYTES (12 * MIB)     /* ... but above this, and a request may be as large as it may, none is read */
#define LIMIT_SESSION_BYTES (8 * MIB)    /* of requests in flight, of one connection */
#define LIMIT_FIRST_REQUESTS 1024        /* of these requests, of connections that are nobody's so far */
#define LIMIT_LOOKUPS 16                 /* in flight, in all */
#define LIMIT_TILES 4                    /* of messages, in flight, in all */
#define LIMIT_SCANS 1024                 /* pages of long scans that wait for their turn, in all */
#define LIMIT_SEND_QUEUE (16 * MIB)      /* per connection; a client that does not read is closed */
#define LIMIT_REQUEST_MS 10000           /* a client's default time-out */

/* cluster */
#define LIMIT_NODES 15
#define LIMIT_NAME 64     /* node, hospital, kind, role, login ... */
#define LIMIT_ADDRESS 128 /* HOST:PORT */
#define LIMIT_ORIGIN 128
#define LIMIT_GENESIS (256 * KIB)
#define LIMIT_ADMINS 16

/* operations */
#define LIMIT_OPERATIONS 64                  /* per request */
#define LIMIT_OPERATION (64 * KIB)           /* one operation, encoded */
#define LIMIT_RECORD (1 * MIB)               /* plaintext of one version */
#define LIMIT_ATTACHMENT (LIMIT_RECORD + 4 * KIB)
#define LIMIT_REQUEST (3 * MIB + 512 * KIB)  /* one request with its attachments */
#define LIMIT_BLOCK (3 * MIB + 768 * KIB)    /* one Raft entry */
#define LIMIT_BLOCK_REQUESTS 256
#define LIMIT_NOTE (4 * KIB)                 /* a note or reason, text */
#define LIMIT_POLICY (32 * KIB)
#define LIMIT_PERSON_TEXT 256                /* one field of a person: name, address ... */
#define LIMIT_CURSOR 128                     /* where the next page of an answer begins */
#define LIMIT_CODE 128                       /* an event's object */
#define LIMIT_KEYS_PER_USER 8
#define LIMIT_OPENED 512                     /* record versions opened by one read */
#define LIMIT_ROWS 256                       /* rows of one page of an answer */
#define LIMIT_EXAMINED 12288                 /* rows of an index for one page, about 10 ms; see ledger/rules.h */
#define LIMIT_ANSWER (2 * MIB)               /* one answer, encoded */
#define LIMIT_SKEW_MS 300000                 /* issued_at against the entry's time */
#define LIMIT_BLOCK_AHEAD_MS 30000           /* a block's time against a follower's clock */

/* client messages */
#define LIMIT_PROOF 64                          /* hashes of one proof; 2^63 leaves need no more */
#define LIMIT_PROOFS (LIMIT_OPERATIONS * LIMIT_PROOF) /* of all proofs of one answer */
#define LIMIT_CONSISTENCY (2 * LIMIT_PROOF)     /* hashes of a consistency proof */
#define LIMIT_CHECKPOINT_NOTE (8 * KIB)         /* a checkpoint with all its signature lines */
#define LIMIT_RECEIPT (384 * KIB)               /* a leaf (base64), its proof and the checkpoint, as a file */
#define LIMIT_TILE 256                          /* hashes of one tile */
#define LIMIT_LEAVES 4096                       /* in one answer, which also ends at LIMIT_ANSWER */
#define LIMIT_STORED 2048                       /* hashes of attachments in one answer */
#define LIMIT_STORED_BYTES (4 * MIB)            /* of attachments read for it */
#define LIMIT_NOTICE 64                         /* open alarms that clients hear of unasked */
#define LIMIT_ALARMS 256                        /* of one page of all alarms */
#define LIMIT_STATEMENT (4 * KIB)               /* a node's signed state digest */
#define LIMIT_COUNTERS 128                      /* of a node's status */
#define LIMIT_CAPSULE (1 * KIB)                 /* encoded; also a capsule's context */

/* HTTP (checkpoint, tiles, health, metrics) */
#define LIMIT_HTTP_CONNECTIONS 1024     /* of the clients' */
#define LIMIT_HTTP_TARGET 512           /* what a request asks for */
#define LIMIT_HTTP_HEAD (8 * KIB)       /* a request; it has no body */
#define LIMIT_HTTP_FIELDS 64            /* header fields of a request */
#define LIMIT_HTTP_TAG 128              /* If-None-Match, as far as it is read */
#define LIMIT_HTTP_REQUEST_MS 10000     /* from a request's first byte to its last */
#define LIMIT_HTTP_IDLE_MS 60000        /* between two requests */
#define LIMIT_HTTP_TURN 16              /* requests of one connection answered in a row */
#define LIMIT_HTTP_TICK 512             /* of all connections, in a quarter of a second: some 20 ms of the loop */
#define LIMIT_HTTP_QUEUE (256 * KIB)    /* answers not read yet, before the next request is looked at */
#define LIMIT_HTTP_READS 1              /* tiles read from the state at once, by a worker; others wait their turn */

/* Raft */
#define LIMIT_RAFT_EXTRA (4 * KIB)      /* the driver's bytes in a Raft message */
#define LIMIT_RAFT_CONTEXT (1 * KIB)    /* the driver's bytes in a configuration entry */
#define LIMIT_RAFT_MANIFEST (32 * KIB)  /* description of a snapshot's state */
#define LIMIT_RAFT_ENTRIES 1024         /* in one append */
#define LIMIT_RAFT_WINDOW 128           /* appends in flight per peer */
#define LIMIT_RAFT_WRITES 64            /* writes handed to the log and not yet durable */

/* driver */
#define LIMIT_PIPELINE 1024               /* entries admitted or read ahead, not yet applied: decoded in memory */
#define LIMIT_PIPELINE_BYTES (12 * MIB)   /* with what was decoded; who lags further reads its log again */
#define LIMIT_APPLYING 64                 /* blocks handed to the state thread at once */
#define LIMIT_APPLYING_BYTES (4 * MIB)
#define LIMIT_UNAPPLIED_BYTES (8 * MIB)   /* a leader proposes no more while its own state lags by that */
#define LIMIT_STATE_JOBS 4096             /* reads, and writes, of the state under way */
#define LIMIT_EVIDENCE 64                 /* pieces of evidence that one node lists: 4 for each member */
#define LIMIT_FORWARDED_BYTES (16 * MIB)  /* forwarded by followers, and in no block so far; by one: half */
#define LIMIT_FORWARDED_WINDOW (12 * MIB) /* at a leader at once, of all followers: each sends no more than its share */
#define LIMIT_BLOCKS_IN_FLIGHT 8          /* proposed by a leader and not yet committed */
/* what a member may have a leader put into blocks (consensus/quota.h) */
#define LIMIT_OWN_BURST 512               /* operations in its own name at once; key generation takes some dozens */
#define LIMIT_OWN_PER_S 1                 /* and each second */
#define LIMIT_OWN_REQUEST (32 * KIB)      /* one request in its own name */
#define LIMIT_OWN_BYTES (4 * MIB)         /* the same of their bytes, with attachments */
#define LIMIT_OWN_BYTES_PER_S (4 * KIB)
#define LIMIT_SILENCE_MS 1000             /* after the first request that nobody signed; doubles with each time */
#define LIMIT_SILENCE_DOUBLED 7           /* so often: two minutes */
#define LIMIT_FORGIVEN_MS 600000          /* so long without one, and it begins anew */

/* importing */
#define LIMIT_BUNDLE (64 * MIB)       /* one file */
#define LIMIT_BUNDLE_ENTRIES 100000u
#define LIMIT_JSON_DEPTH 64u          /* arrays and objects in one another */

/* catching up */
#define LIMIT_PULL_LEAVES 512         /* in one chunk, which also ends at LIMIT_PULL_BYTES */
#define LIMIT_PULL_BYTES (1 * MIB)    /* of leaves, or attachments, in one answer, if it is more than one */
#define LIMIT_PULL_ATTACHMENTS 256    /* asked for at once */
#define LIMIT_PULL_MS 2000            /* for one answer */
#define LIMIT_PULL_SERVED 4           /* asks of one peer answered at once */

/* storage */
#define LIMIT_LOG_RECORD (LIMIT_BLOCK + 1024)
#define LOG_SEGMENT_SIZE (8 * MIB)
/* Each commit writes its pages anew. With 250 instead of 100 ms a record takes 3 KiB less of the devices of three
 * nodes (64 clients), and 5 % less of their processors; a killed node has as much more of its log to apply again. */
#define LIMIT_COMMIT_MS 250
#define LIMIT_COMMIT_LEAVES 4096
#define LIMIT_COMMIT_BYTES (4 * MIB)    /* LMDB keeps the memory of the largest commit for good */
/* The log: see storage/log.h, consensus/driver_trim.c */
#define LIMIT_LOG_SEGMENTS 512          /* 4 GiB */
#define LIMIT_LOG_ENTRIES (8 * 1024 * 1024)
#define LIMIT_LOG_KEEP_MIB 512          /* the most that can be configured for nodes that lag */
#define LIMIT_LOG_SCARCE 375            /* thousandths of the two limits: trimming leaves no more than it must */
#define LIMIT_LOG_NEW 500               /* beyond, no new blocks are begun */
#define LIMIT_LOG_BLOCKS 1000           /* beyond, none are taken from a leader either */
#define LIMIT_LOG_EMPTY 1125            /* beyond, not even the empty entry with which a leader begins */
#define LIMIT_LOG_SNAPSHOT (64 * KIB)   /* configuration, and manifest, kept with a compaction */
#define LIMIT_STORE_READERS 64          /* read transactions at once */
#define LIMIT_STORE_VALUE (8 * MIB)     /* one value of a table */
#define STORE_MAP_SIZE (UINT64_C(1) << 40) /* address space reserved for the store */
#define STORE_WATERMARK (UINT64_C(512) * MIB) /* less left than this: no new blocks */

#endif
