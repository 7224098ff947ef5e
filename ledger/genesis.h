/* The genesis file, which all nodes and clients agree on.
 *
 * Lines in this order, one space between fields, "\n" ends each:
 *
 *   consilium-genesis/1
 *   origin ORIGIN              1..LIMIT_ORIGIN of A-Z a-z 0-9 . _ - /, no empty part between slashes
 *   faulty B
 *   approvals M
 *   member DESCRIPTOR          n times: member index 1 .. n in this order
 *   admin BASE64               Ed25519 key of a first administrator; id = SHA-256(key)[:16]
 *   policy
 *   ... the first policy's text up to the end of the file, UTF-8, ending in "\n"
 *
 * There is exactly one text for one content, and its SHA-256 is the cluster id.
 *
 * Refused: fewer than 3 or more than LIMIT_NODES members; 2b >= n (the faulty
 * must be a minority, or nothing can be promised; then k <= n always holds);
 * no administrator or more than LIMIT_ADMINS; m not in 1 .. number of
 * administrators; a name, address, key or pin that occurs twice, keys of
 * administrators and nodes together; Ed25519 keys that can't verify anything are
 * found by their owners, not here. n = 3, b = 1 (k = 3) and n = 5, b = 2 (k = 4)
 * are accepted: safe, but releasing stops when b nodes are silent
 * (genesis_live). The policy's grammar is judged by ledger/policy.h.
 * Pure; any thread. */
#ifndef LEDGER_GENESIS_H
#define LEDGER_GENESIS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "ledger/descriptor.h"

struct genesis_admin {
    struct sign_public key;
    struct id id; /* derived */
};

struct genesis {
    char origin[LIMIT_ORIGIN + 1];
    uint32_t faulty;    /* b */
    uint32_t approvals; /* m */
    uint32_t member_count; /* n */
    struct descriptor members[LIMIT_NODES]; /* member index 1 is members[0] */
    uint32_t admin_count;
    struct genesis_admin admins[LIMIT_ADMINS];
    struct bytes policy; /* a view */

    /* derived, set by genesis_parse */
    uint32_t quorum;       /* k */
    struct digest cluster; /* SHA-256 of the file */
    char checkpoint_origin[LIMIT_ORIGIN + 1 + 16 + 1]; /* origin/first 16 hex digits of the cluster id */
    struct bytes text;     /* the whole file, a view */
};

uint32_t genesis_quorum(uint32_t n, uint32_t b);  /* k = floor((n + b) / 2) + 1 */
/* The most for which n >= 3b + 1, so that any b may be silent or lie, and the others go on: 0 for three, 1 from four on,
 * 2 from seven on. Only who makes a genesis file asks: the file says its b. */
uint32_t genesis_default_faulty(uint32_t n);
bool genesis_live(uint32_t n, uint32_t b);        /* n - b >= k: goes on releasing when b nodes are silent */

/* All that is refused above: ERR_INVALID or ERR_TOO_LARGE, in words. */
enum err genesis_check(const struct genesis *genesis, struct failure *failure);
/* Of that what a person chooses: the origin, how many members and administrators, faulty and approvals. */
enum err genesis_check_numbers(const struct genesis *genesis, struct failure *failure);
/* The file's text from the fields that are not derived; the same for the same
 * fields. The errors of genesis_check; ERR_NOMEM. Order is kept: it numbers the members. */
enum err genesis_format(struct buffer *out, const struct genesis *genesis, struct failure *failure);
/* Strict; `text` outlives `out`. ERR_SYNTAX ("line 7: ..."), ERR_VERSION,
 * ERR_TOO_LARGE, and genesis_check's. */
enum err genesis_parse(struct genesis *out, struct bytes text, struct failure *failure);

/* The member with this index (1 .. n), id or name; NULL when there is none. */
const struct descriptor *genesis_member(const struct genesis *genesis, uint32_t index);
uint32_t genesis_member_by_id(const struct genesis *genesis, const struct id *id);       /* index, 0: none */
uint32_t genesis_member_by_name(const struct genesis *genesis, const char *name);        /* index, 0: none */

/* Leaf 0: [1, 0, 0, 32 zero bytes, text]; appends. */
void genesis_leaf(struct buffer *out, const struct genesis *genesis);

#endif
