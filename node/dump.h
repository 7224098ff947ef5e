/* `consiliumd dump TABLE --dir DIR`: what is stored, row by row, for people. */
#ifndef NODE_DUMP_H
#define NODE_DUMP_H

#include "node/identity.h"

/* Prints at most `limit` rows (0: all) of a table, or of the Raft log ("log"), on
 * standard output. ERR_NOT_FOUND: no such table; `failure` lists those there are. */
enum err dump_table(const struct node_identity *identity, const char *table, uint64_t limit, struct failure *failure);
/* The names that dump_table takes, a line each, on standard output. */
void dump_list(void);

#endif
