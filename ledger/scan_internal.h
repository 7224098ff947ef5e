/* Inside of scrubbing.
 *
 * scan.c         passes, positions, the phase of the leaves
 * scan_derive.c  the rows that follow from one leaf: made, compared, written
 * scan_people.c  a user's row, from the leaves about that user
 * scan_rows.c    the phase of the rows: what each table must look like
 * scan_mend.c    repairs
 */
#ifndef LEDGER_SCAN_INTERNAL_H
#define LEDGER_SCAN_INTERNAL_H

#include "ledger/arguments.h"
#include "ledger/leaf.h"
#include "ledger/scan.h"
#include "ledger/state.h"
#include "ledger/tables.h"

/* Rows of an actor or a person that are looked through for one fact. */
#define SCAN_SEARCH 16384u

/* One row that a leaf makes. */
#define DERIVED_KEY (LOG_ACTOR_KEY + 16)
struct derived {
    enum table_number table;
    bool optional; /* may be gone by now */
    uint16_t key_size;
    uint8_t key[DERIVED_KEY + 8];
    union {
        struct log_facts facts; /* of log_actor and log_subject, but for the role */
        struct seen seen;
        struct version version;
        struct id record;       /* of patient_record */
        struct bytes policy;    /* a view into the leaf */
        struct opened opened;
        struct content_info content;
    } is;
};

#define DERIVED_MOST 9
struct derivation {
    uint64_t index;
    struct id actor;
    bool role_known;    /* of log facts; "" of nodes */
    char role[POLICY_ROLE_NAME + 1];
    bool opens_chart;   /* there must be a row of table opened that only a replay could make */
    unsigned count;
    struct derived rows[DERIVED_MOST];
};

/* Roles of the last actors, as of the leaf that is looked at: leaves come in order. */
#define SCAN_ROLES 256u
struct known_role {
    bool used;
    struct id user;
    char role[POLICY_ROLE_NAME + 1];
};

struct scan_work {
    struct known_role roles[SCAN_ROLES];
    struct buffer leaf_bytes, row, attachment, value, other;
    struct leaf leaf;
    struct arguments args;
    struct derivation derivation;
};

struct scan_work *scan_work_new(void);
void scan_work_free(struct scan_work *work); /* NULL is nothing */

static inline struct bytes scan_key(uint8_t out[static 8], uint64_t index)
{
    put_be64(out, index);
    return bytes_of(out, 8);
}

/* Fills a finding; the text is about `index`. */
void scan_damage(struct damage *out, enum damage_kind kind, enum table_number table, struct bytes key, uint64_t index,
                 bool gone, const char *format, ...) __attribute__((format(printf, 7, 8)));
const char *scan_table_name(uint8_t table);
/* ERR_CORRUPT of a value: whether it is the seal (false) or the store's own structure (true). */
bool scan_is_structure(struct table_txn *txn, uint8_t table, struct bytes key);

/* --- scan_derive.c --- */

/* A leaf behind the genesis, with its arguments. ERR_NOT_FOUND, ERR_CORRUPT (also when it does not decode), or the
 * store's error. */
enum err derive_load(struct leaf *leaf, struct arguments *args, struct buffer *bytes, struct table_txn *txn,
                     uint64_t index);
/* The rows of a leaf that decodes, index > 0 or 0. `content`: of its attachment when that is here and good, else empty.
 * `args`: decoded when args_good. `now_ms`: time of the newest leaf. */
enum err derive_leaf(struct derivation *out, struct table_txn *txn, const struct leaf *leaf,
                     const struct arguments *args, bool args_good, struct bytes content, uint64_t now_ms,
                     struct bytes first_policy);
const struct derived *derived_find(const struct derivation *d, enum table_number table, struct bytes key);
/* Whether the store has exactly this. ERR_NOT_FOUND: no such row; ERR_CORRUPT: another, or its seal doesn't open. */
enum err derived_check(const struct derived *row, const struct derivation *of, struct table_txn *txn,
                       struct buffer *value);
/* Writes rows that differ. ERR_INVALID: one that can't be made. */
enum err derived_mend(struct derivation *d, struct table_txn *txn, const struct genesis *genesis,
                      struct buffer *value);
/* The role of a user just before leaf `index`. ERR_NOT_FOUND. */
enum err derive_role(char out[static POLICY_ROLE_NAME + 1], struct table_txn *txn, const struct genesis *genesis,
                     const struct id *user, uint64_t index);
/* The row of table team for this pair, as the newest team.assign makes it. ERR_NOT_FOUND: none. */
enum err derive_team(struct team_row *out, struct table_txn *txn, const struct id *patient, const struct id *user);
/* The row of table record from its versions and the leaf that created it. ERR_NOT_FOUND: no version is there. */
enum err derive_record(struct record *out, struct table_txn *txn, const struct id *id);
/* Where a version's record is created or changed by this leaf: its key; false: this leaf makes none. */
bool derive_version_key(uint8_t key[static 20], const struct arguments *args);

/* --- scan_people.c --- */

/* ERR_NOT_FOUND: no leaf made this user; ERR_CORRUPT: leaves or log rows about them are damaged, or contradict;
 * ERR_TOO_LARGE: too many rows to look through. */
enum err derive_user(struct user *out, struct table_txn *txn, const struct genesis *genesis, const struct id *id);

/* --- scan_rows.c --- */

/* Rows from the position on. OK: the budget is used up, or a finding, or the end (SCAN_DONE). */
enum err scan_rows_step(struct scan *s, struct table_txn *txn, uint64_t until, const struct meta *meta,
                        struct damage *found);

/* Asked after each row: whether the step in hand has read, or taken, what it may. */
bool scan_enough(struct scan *s, uint64_t until);

#endif
