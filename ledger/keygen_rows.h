/* Inside of key generation: shared by keygen_state.c and rules_nodes.c only. */
#ifndef LEDGER_KEYGEN_ROWS_H
#define LEDGER_KEYGEN_ROWS_H

#include "ledger/keygen.h"

void keygen_fresh(struct keygen *out, uint32_t attempt);
enum err keygen_put(struct table_txn *txn, uint8_t secret, const struct keygen *keygen);
enum err keygen_dealing_put(struct table_txn *txn, uint8_t secret, unsigned dealer, const struct dealing *dealing);

unsigned keygen_count(member_mask mask);
member_mask keygen_all(unsigned n); /* members 1 .. n */
bool keygen_has_complaints(const struct keygen *keygen); /* not answered yet */
/* Y and Y_i of the qualified dealers; ERR_BAD_POINT: one would be the identity. */
enum err keygen_combine(struct point *key, struct point *verification, struct table_txn *txn, uint8_t secret,
                        const struct keygen *keygen, unsigned n);

#endif
