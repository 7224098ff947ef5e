/* A true ledger in memory, and sources that give it to an auditor, whole or spoiled. */
#ifndef TESTS_UNIT_CLI_BED_AUDITING_H
#define TESTS_UNIT_CLI_BED_AUDITING_H

#include <stdlib.h>

#include "base/check.h"
#include "cli/audit.h"
#include "ledger/leaf.h"
#include "ledger/proof.h"
#include "tests/lib/ledger_kit.h"
#include "tests/lib/samples.h"
#include "tests/lib/unit.h"

#define NONE ((struct bytes){0})
#define MOST 400

extern struct kit kit;
extern uint64_t truth_size;

/* A source. */
struct fake {
    struct ledger_source source;
    uint64_t count; /* leaves that it gives */
    struct buffer leaves[MOST];
    uint64_t says;  /* how many it says that it has */
    uint32_t per_page;
    uint64_t hole, silent_from; /* MOST: none */
    struct buffer note;
    enum err note_error;
    struct table_txn *proofs; /* whose tree its proofs come from; NULL: it gives none */
    unsigned calls, waits;
    uint64_t grows; /* leaves that turn up while it is waited for */
    struct bytes views[MOST];
};

/* A note for this tree, cosigned by those in `mask` (bit i: member i + 1). */
void set_note(struct buffer *out, uint64_t size, const struct digest *root, unsigned mask);
void set_true_note(struct buffer *out, uint64_t size, unsigned mask);
struct fake *fake_new(void);
void fake_free(struct fake *f);
void put_leaf(struct fake *f, uint64_t index, const struct leaf *leaf);
struct leaf get_leaf(const struct fake *f, uint64_t index);
/* What any operator can do without a user's key: number and chain the leaves anew. */
void rechain(struct fake *f, uint64_t from);
void remove_leaf(struct fake *f, uint64_t index);
struct audit_known known_plain(void);
struct audit replay_known(struct fake *f, const struct audit_known *known);
struct audit replay(struct fake *f);
struct audit compare_with(struct fake *f, uint64_t size);
/* Nobody can say what the entry should be in words. */
struct audit compare_alone(struct fake *f);
struct audit compare(struct fake *f);
void assert_wrong_at(const struct audit *a, uint64_t index);

/* Before and after all tests of a program. */
int bed_open(void **state);
int bed_close(void **state);

#endif
