/* People by the names that a person types. */
#ifndef CLI_PEOPLE_H
#define CLI_PEOPLE_H

#include "base/bytes.h"
#include "base/error.h"
#include "cli/tool.h"

/* The unique tag of a login name: Argon2id over the folded name, salted with the
 * cluster id's first 16 bytes. Folding: Unicode NFKC with case folded and
 * ignorable characters gone, so that "Ärzte" and "ärzte" are one. ERR_INVALID:
 * empty, too long or not UTF-8. */
enum err login_tag(struct digest *out, const struct digest *cluster, const char *name, struct failure *failure);
enum err login_fold(struct buffer *out, const char *name, struct failure *failure);

/* A user's id as text, or else a login name, which is looked up: an operation of
 * its own, with an entry in the ledger. */
enum err people_resolve(struct tool *t, struct id *out, const char *text);

#endif
