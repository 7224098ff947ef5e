/* Answers of queries, made during their own apply from exactly the state there,
 * and the rows that follow a log query.
 *
 * A page examines what LIMIT_EXAMINED rows of an index cost, about 10 ms, and gives at most
 * LIMIT_ROWS; its cursor goes on where it stopped, so a page may be empty and not the last.
 */
#ifndef LEDGER_QUERY_H
#define LEDGER_QUERY_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/table.h"

struct ledger;
struct leaf;
struct actor;

/* The rows of an approved log.query's filter among leaves [from, size), oldest
 * first, as a msgpack array of log.query rows; *next = where to go on. Examines
 * as much as a page. `rows` is cleared first; an empty array when none.
 * ERR_NOT_FOUND: that leaf is no approved log.query with follow; ERR_DENIED:
 * its actor may not any more (disabled, or the policy changed). Needs no
 * struct ledger: any thread with a transaction. */
enum err query_follow(struct buffer *rows, uint64_t *next, struct table_txn *txn, uint64_t query_index,
                      uint64_t from);

/* Whether this actor, whose ledger.export `entry` was approved, may export the ledger now: that ends when the user is
 * disabled, the key revoked, or the role or the policy changed. ERR_UNAUTHORIZED: no; ERR_NOT_READY: this transaction
 * is of before that entry, and may lack what it was approved by. Any thread with a transaction. */
enum err query_may_export(struct table_txn *txn, const struct actor *actor, uint64_t entry);

/* One row, appended. All of it follows from the leaf but two: `role` (of the actor,
 * then: it follows from the leaves before), and `note`, an encoded attachment whose hash is the leaf's, or empty. So
 * who has the leaf can make the row anew, and compare. */
void query_row_pack(struct buffer *rows, const struct leaf *leaf, struct bytes role, struct bytes note);

/* OK when all these leaves fit the filter of the approved log.query at query_index,
 * which is this actor's: whoever may see the rows may see what proves them.
 * ERR_NOT_FOUND: no such query; ERR_UNAUTHORIZED: another one's, or a leaf that it does not show; ERR_DENIED as
 * above. Any thread with a transaction. */
enum err query_shows(struct table_txn *txn, uint64_t query_index, const struct actor *actor, const uint64_t *indexes,
                     size_t count);

#endif
