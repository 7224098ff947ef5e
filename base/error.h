/* Error codes and their texts: one list, stable numbers.
 *
 * The numbers travel in answers to clients and in exit reports, so a number is
 * never reused. Every function that can fail because of the world returns
 * enum err; misuse by our own code fails an assertion instead (base/check.h).
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stddef.h>

/* X(NAME, number, what happened, what to do next) */
#define ERROR_LIST(X)                                                                              \
    X(OK, 0, "done", "")                                                                           \
    X(ERR_NOMEM, 1, "out of memory", "free memory on this machine and try again")                  \
    X(ERR_IO, 2, "input/output error", "check the device and the file's permissions")              \
    X(ERR_NOT_FOUND, 3, "not found", "check the name or id")                                       \
    X(ERR_EXISTS, 4, "already exists", "choose another name, or look at what is there")            \
    X(ERR_INVALID, 5, "invalid value", "correct the value and try again")                          \
    X(ERR_TOO_LARGE, 6, "over the limit", "send less at once")                                     \
    X(ERR_FULL, 7, "no space left", "free space on the device")                                    \
    X(ERR_BUSY, 8, "busy", "try again after a moment")                                             \
    X(ERR_TIMEOUT, 9, "timed out", "try again; look the operation up first")                       \
    X(ERR_CANCELED, 10, "canceled", "try again")                                                   \
    X(ERR_IN_USE, 11, "in use by another process", "stop the other process first")                 \
    X(ERR_PERMISSION, 12, "permission denied by the operating system", "check owner and mode")     \
    X(ERR_CORRUPT, 13, "stored data is damaged", "restore it from the peers")                      \
    X(ERR_VERSION, 14, "unsupported version", "upgrade the older side")                            \
    X(ERR_CLOSED, 15, "connection closed", "try another node")                                     \
    X(ERR_UNREACHABLE, 16, "unreachable", "check address, firewall and that the node runs")        \
    X(ERR_USAGE, 17, "wrong usage", "see --help")                                                  \
    X(ERR_SYNTAX, 18, "syntax error", "correct the text at the place named")                       \
    X(ERR_STOPPED, 19, "stopped", "restart the node and read its log")                             \
    /* frames and messages */                                                                      \
    X(ERR_FRAME_TOO_LONG, 20, "frame is longer than 4 MiB", "send smaller requests")               \
    X(ERR_TRUNCATED, 21, "data ends too early", "send the whole message")                          \
    X(ERR_MALFORMED, 22, "not well-formed msgpack of the expected shape", "upgrade the sender")    \
    X(ERR_NOT_CANONICAL, 23, "not in canonical shortest form", "use a canonical encoder")          \
    X(ERR_TOO_DEEP, 24, "nested too deep", "use a canonical encoder")                              \
    X(ERR_TRAILING, 25, "bytes after the end", "use a canonical encoder")                          \
    X(ERR_UNKNOWN_TYPE, 26, "unknown message type", "upgrade the older side")                      \
    X(ERR_UNEXPECTED, 27, "message not expected now", "reconnect")                                 \
    X(ERR_TLS, 28, "TLS failed", "check the versions and clocks of both sides")                    \
    X(ERR_WRONG_PEER, 29, "the other side has not the expected key",                               \
      "check the genesis file; somebody may be in between")                                        \
    X(ERR_TOO_MANY_CONNECTIONS, 30, "too many connections", "close some and try again")            \
    X(ERR_UNAUTHORIZED, 31, "this session may not do that", "log in with another identity")        \
    X(ERR_NOT_TLS, 32, "the other side does not speak TLS", "check address and port")              \
    X(ERR_ALPN, 33, "no common protocol", "upgrade the older side, and check address and port")    \
    X(ERR_HANDSHAKE_TIMEOUT, 34, "the TLS handshake took too long", "try again")                   \
    X(ERR_IDLE, 35, "closed after a long time without a message", "connect again")                 \
    X(ERR_SLOW_READER, 36, "answers were not read in time", "read answers while sending")          \
    /* operations refused without a leaf */                                                        \
    X(ERR_BAD_SIGNATURE, 40, "signature does not verify", "check the identity file")               \
    X(ERR_OTHER_CLUSTER, 41, "made for another cluster", "use this cluster's genesis file")        \
    X(ERR_STALE, 42, "issued more than 5 minutes off the cluster's time",                          \
      "set this machine's clock and sign again")                                                   \
    X(ERR_DUPLICATE, 43, "already recorded", "see the first index")                                \
    X(ERR_ATTACHMENT, 44, "attachment does not match its hash", "send it again")                   \
    X(ERR_BAD_CAPSULE, 45, "capsule's proof fails", "encrypt the record again")                    \
    X(ERR_UNKNOWN_ACTION, 46, "unknown action", "upgrade the older side")                          \
    X(ERR_UNKNOWN_ACTOR, 47, "no such user or key",                                                    \
      "ask an administrator to register the key; if that was done, 'consilium key assign' says whose it is") \
    X(ERR_RECORD_TOO_LARGE, 48, "record is larger than 1 MiB", "split the record")                 \
    /* the cluster */                                                                              \
    X(ERR_NO_QUORUM, 60, "no quorum: too few nodes answer", "check the nodes with 'status'")       \
    X(ERR_NOT_LEADER, 61, "this node does not lead", "ask the leader")                             \
    X(ERR_NOT_READY, 62, "not ready yet", "wait until key generation and catching up are done")    \
    X(ERR_NOT_WITNESSED, 63, "recorded, but not yet co-signed", "look the operation up later")     \
    X(ERR_CLOCK, 64, "this node's clock is off", "set the clock")                                  \
    X(ERR_QUARANTINED, 65, "this node's ledger contradicts the cluster's", "rebuild the node")     \
    X(ERR_CONFLICT, 66, "changed by somebody else meanwhile", "show the latest version, then try again") \
    X(ERR_DENIED, 67, "denied by policy", "ask an administrator")                                  \
    X(ERR_UNCHANGED, 68, "nothing would change", "nothing needs to be done")                       \
    X(ERR_TAKEN, 69, "taken already", "choose another, or look at who has it")                     \
    X(ERR_LOG_FULL, 70, "the log holds too much that is not co-signed, and can't be trimmed",        \
      "start the nodes that are away")                                                             \
    /* keys and proofs */                                                                          \
    X(ERR_DECRYPT, 80, "decryption failed", "check that it is the right key, and the data whole")  \
    X(ERR_PASSPHRASE, 81, "wrong passphrase", "try again")                                         \
    X(ERR_BAD_POINT, 82, "not a valid group element", "the sender is faulty")                      \
    X(ERR_BAD_SCALAR, 83, "not a valid scalar", "the sender is faulty")                            \
    X(ERR_BAD_PROOF, 84, "proof does not verify", "do not trust the sender")                       \
    X(ERR_BAD_SHARE, 85, "share does not verify", "use another node's share")                      \
    X(ERR_TOO_FEW_SHARES, 86, "too few shares", "wait for more nodes")                             \
    X(ERR_NO_KEY, 87, "no key", "make one first")                                                  \
    X(ERR_LEFT_OUT, 88, "a list is not what other nodes signed", "do not trust the sender")        \
    /* the ledger */                                                                               \
    X(ERR_CHAIN, 100, "the hash chain is broken", "do not trust this copy")                        \
    X(ERR_ROOT, 101, "the tree's root differs", "do not trust this copy")                          \
    X(ERR_DECISION, 102, "the decision differs from the rules", "do not trust this copy")          \
    X(ERR_CHECKPOINT, 103, "the checkpoint is not valid", "do not trust the sender")               \
    X(ERR_TOO_FEW_COSIGNATURES, 104, "too few cosignatures", "wait for more nodes")                \
    X(ERR_OPERATION_FIELDS, 105, "the operation's fields are not valid for its action",            \
      "upgrade the client")                                                                        \
    /* this machine's */                                                                           \
    X(ERR_NO_FILE, 110, "no such file or folder", "check the path")                                \
    X(ERR_NO_STORE, 111, "nothing is stored there yet", "check the path, or start the node once with 'consiliumd run'") \
    X(ERR_NODE_FILES, 112, "the node's own files are damaged, or not of one node",                 \
      "put them back from the copy of this node's folder: no other node has them")                \
    X(ERR_IS_FOLDER, 113, "a folder stands where a file is expected", "name a file")

enum err {
#define X(name, number, text, hint) name = number,
    ERROR_LIST(X)
#undef X
};

/* Name ("ERR_IO"), text and advice of a code; never NULL, also for a number
 * that is no code ("ERR_UNKNOWN"). Static storage. Any thread. */
const char *err_name(enum err code);
const char *err_text(enum err code);
const char *err_hint(enum err code);

/* An error for a person: the code, and in words what happened to what. */
struct failure {
    enum err code;
    char text[400]; /* never truncated silently: ends with "..." when cut */
};

/* Fills `failure` (may be NULL) and returns `code`, so that a caller can write
 * `return fail(f, ERR_IO, "cannot read %s: %s", path, strerror(errno))`. */
enum err fail(struct failure *failure, enum err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
