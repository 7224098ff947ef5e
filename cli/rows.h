/* Rows of answers (ledger/action.h), typed, and as JSON objects. Views point
 * into the answer. A node's answer is strict msgpack: ERR_MALFORMED and the like. */
#ifndef CLI_ROWS_H
#define CLI_ROWS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/pack.h"
#include "crypto/keys.h"
#include "ledger/action.h"
#include "ledger/attachment.h"
#include "ledger/record.h"

/* An answer is [rows, cursor, left_out]. */
struct answer {
    uint32_t count;
    struct unpack rows; /* at the first row */
    struct bytes cursor; /* empty at the end */
    uint64_t left_out;
};
enum err answer_open(struct answer *out, struct bytes answer, uint32_t most);
/* Whether the answer is the last page, or one after which asking on comes to an end, whatever the node says: the next
 * one begins behind `cursor`, where this one did, and before the query's entry. Of lists in the order of the ledger. */
bool answer_goes_on(const struct answer *a, struct bytes cursor, uint64_t entry);

struct user_row {
    struct id user;
    struct bytes hospital, role;
    bool disabled;
    uint32_t key_count;
    struct key_id keys[LIMIT_KEYS_PER_USER];
    uint64_t index;
    bool has_person;
    struct person person;
};
struct team_row_view {
    struct id user;
    struct bytes role, hospital;
    uint64_t since_ms;
};
struct record_row { /* of record.read */
    struct id record;
    uint64_t version;
    struct id patient;
    struct bytes kind;
    enum confidentiality conf;
    struct id author;
    uint64_t time_ms, index, content_size;
};
struct history_row {
    uint64_t version;
    struct id author;
    uint64_t time_ms;
    enum confidentiality conf;
    uint64_t index;
    bool deleted;
    struct digest content_tag; /* or zero */
};
struct list_row {
    struct id record;
    struct bytes kind;
    enum confidentiality conf;
    uint64_t version;
    struct id author;
    uint64_t time_ms;
    bool deleted;
    struct digest content_tag; /* or zero */
};
struct log_row {
    uint64_t index, time_ms;
    enum actor_kind actor_kind;
    struct id actor;
    struct bytes actor_role;
    struct id subject; /* or zero */
    uint32_t action;
    bool object_is_text;
    struct bytes object; /* text, a 16-byte id, or empty */
    uint32_t decision, reason;
    struct bytes note;       /* the text */
    struct bytes attachment; /* that holds it, with the salt of its hash */
    struct bytes raw;        /* the whole row */
};
/* Each reads one row from the cursor; its error stays in it. */
void user_row_read(struct user_row *out, struct unpack *u);
void team_row_read(struct team_row_view *out, struct unpack *u);
void record_row_read(struct record_row *out, struct unpack *u);
void history_row_read(struct history_row *out, struct unpack *u);
void list_row_read(struct list_row *out, struct unpack *u);
void log_row_read(struct log_row *out, struct unpack *u);

json_t *user_row_json(const struct user_row *row);
json_t *team_row_json(const struct team_row_view *row);
json_t *record_row_json(const struct record_row *row);
json_t *history_row_json(const struct history_row *row);
json_t *list_row_json(const struct list_row *row);
json_t *log_row_json(const struct log_row *row);

#endif
