/* Fields that several formats share, on top of base/pack.h. Reading sets the
 * sticky error of the cursor: ERR_MALFORMED unless said otherwise. */
#ifndef LEDGER_FIELDS_H
#define LEDGER_FIELDS_H

#include "base/pack.h"
#include "crypto/sign.h"

bool digest_is_zero(const struct digest *digest);

/* An id that must be there: not all zero. */
struct id unpack_id_required(struct unpack *u);
/* A value that may be absent: zero stands for the empty bin, so explicit zeros are refused. */
void pack_id_optional(struct buffer *out, const struct id *id);
struct id unpack_id_optional(struct unpack *u);
void pack_digest_optional(struct buffer *out, const struct digest *digest);
struct digest unpack_digest_optional(struct unpack *u);

void pack_signature(struct buffer *out, const struct signature *signature);
struct signature unpack_signature(struct unpack *u);
void pack_public(struct buffer *out, const struct sign_public *key);
struct sign_public unpack_public(struct unpack *u);

/* 1 .. LIMIT_NAME bytes of text in one line; the optional one may be empty. */
bool label_valid(struct bytes text);
struct bytes unpack_label(struct unpack *u);
struct bytes unpack_label_optional(struct unpack *u);
/* least .. most bytes of 0x21..0x7e. */
struct bytes unpack_code(struct unpack *u, size_t least, size_t most);

uint64_t unpack_range(struct unpack *u, uint64_t least, uint64_t most);
uint64_t unpack_time(struct unpack *u); /* at most TIME_MAX_MS */
/* The next value, which must be an array, as it stands. */
struct bytes unpack_array_raw(struct unpack *u);
bool is_array(struct bytes encoded); /* starts like one */

#endif
