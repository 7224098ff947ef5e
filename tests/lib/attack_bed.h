/* What programs that send wrong things to a cluster share: the cluster with its people, who attacks it, what was said
 * last, and that nothing has changed. */
#ifndef TESTS_LIB_ATTACK_BED_H
#define TESTS_LIB_ATTACK_BED_H

#include "tests/lib/attacker.h"
#include "tests/lib/bed.h"

extern struct attacker them;
extern struct signer doctor, nurse, patient, left; /* of Hospital 1; the doctor's patient; left: disabled */
extern struct said said_last;

/* Four nodes that are ready, b = 1, and these people. */
void attack_begin(void);
int attack_end(void **state); /* a cmocka teardown */

/* Of all nodes; they agree once nothing is under way. */
struct ledger_mark settled(void);
/* Fails the test unless they are still there, and unless `said_last` is FAILED with this code and its text. */
void assert_unchanged(const struct ledger_mark *before);
void assert_failed(enum err code);

#endif
