/* What binds a record's content to its place: context, label, tags. */
#ifndef LEDGER_RECORD_H
#define LEDGER_RECORD_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

/* HL7 v3 Confidentiality. */
enum confidentiality { CONF_NORMAL = 0, CONF_RESTRICTED = 1, CONF_VERY_RESTRICTED = 2 };
#define CONF_MAX CONF_VERY_RESTRICTED
char confidentiality_letter(enum confidentiality conf); /* 'N', 'R', 'V' */
/* One of these letters, either case; ERR_INVALID. */
enum err confidentiality_parse(enum confidentiality *out, const char *text);

#define RECORD_VERSION_MAX 0xffffffffull

/* A context is the canonical array
 *   [cluster(32), patient(16), record(16), version, conf, author(16)]
 * = the additional data of the content's encryption, and part of the capsule's
 * label: content can't be moved to another place, or to another confidentiality. */
struct record_context {
    struct digest cluster;
    struct id patient, record;
    uint64_t version; /* 1 .. RECORD_VERSION_MAX */
    enum confidentiality conf;
    struct id author;
};
#define RECORD_CONTEXT_MAX 128 /* encoded */
void record_context_encode(struct buffer *out, const struct record_context *context);
enum err record_context_decode(struct record_context *out, struct bytes in);

/* What a capsule is made for: tdh2_label(context, SHA-256(ciphertext)). */
struct digest record_label(struct bytes context, struct bytes ciphertext);

/* A content tag lets its author see that content is unchanged without opening
 * it: HMAC-SHA-256(key, "consilium/content-tag/v1\n" || content). Under the
 * author's secret key, since a bare hash of a short record could be guessed. */
struct digest record_content_tag(struct bytes key, struct bytes content);
/* A record id that a second import finds again:
 * HMAC-SHA-256(key, "consilium/record-id/v1\n" || patient(16) || source)[:16]. */
struct id record_id_derive(struct bytes key, const struct id *patient, struct bytes source);

#endif
