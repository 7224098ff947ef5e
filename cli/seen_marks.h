/* Which operations a ledger has had in its last 10 minutes and more, by a mark of
 * each: 12 bytes of a keyed hash, so that no ledger can make them collide. What the
 * nodes keep as rows (ledger/tables.h, seen), for a verification: a hash table, in
 * memory up to 32 MiB, above that in a scratch file, as large as those minutes need,
 * in pages that the system may write out. It holds marks and indexes only.
 * One thread; seen_marks_of: any. */
#ifndef CLI_SEEN_MARKS_H
#define CLI_SEEN_MARKS_H

#include <stdint.h>

#include "base/error.h"
#include "ledger/operation.h"
#include "ledger/replay.h"

struct seen_marks;
/* ERR_IO, ERR_FULL, ERR_NOMEM. */
enum err seen_marks_open(struct seen_marks **out, struct failure *failure);
void seen_marks_close(struct seen_marks *s); /* NULL is nothing */

/* Before the first is added: so many leaves will come at most. Saves copying, and changes nothing else. */
void seen_marks_foresee(struct seen_marks *s, uint64_t leaves);

/* Of what makes an operation a duplicate: issued_at, actor, request id. */
void seen_marks_of(uint8_t mark[static REPLAY_MARK], const struct seen_marks *s, const struct operation *op);
/* It will be asked for soon: its place comes nearer to the processor meanwhile. */
void seen_marks_expect(const struct seen_marks *s, const uint8_t mark[static REPLAY_MARK]);
/* The leaf that was added with it; ERR_NOT_FOUND. */
enum err seen_marks_find(uint64_t *index, const struct seen_marks *s, const uint8_t mark[static REPLAY_MARK]);
/* A mark that is not there. It stays for at least 10 minutes by the leaves' times, which never go back.
 * ERR_FULL, ERR_IO, ERR_NOMEM: of the scratch file that grows. */
enum err seen_marks_add(struct seen_marks *s, const uint8_t mark[static REPLAY_MARK], uint64_t index, uint64_t time_ms);

#endif
