#include "ledger/content.h"

#include <string.h>

#include "crypto/hash.h"

bool content_kept(const struct operation *op, enum decision decision)
{
    return decision == DECISION_APPROVED && operation_has_attachment(op);
}

/* The place of the content that an approved operation brings, from its fields
 * alone; false: it brings none. */
static bool place_of(struct record_context *out, const struct arguments *args, const struct operation *op)
{
    *out = (struct record_context){.cluster = op->cluster, .author = op->actor.id, .version = 1};
    if (args->action == ACTION_RECORD_CREATE) {
        out->patient = args->record_create.patient;
        out->record = args->record_create.record;
        out->conf = args->record_create.conf;
    } else if (args->action == ACTION_RECORD_UPDATE) {
        out->patient = args->record_update.patient;
        out->record = args->record_update.record;
        out->conf = args->record_update.conf;
        out->version = args->record_update.base_version + 1;
    } else if (args->action == ACTION_RECORD_COPY) {
        out->patient = args->record_copy.patient;
        out->record = args->record_copy.record;
        out->conf = args->record_copy.conf;
    } else {
        return false;
    }
    return true;
}

enum err content_describe(struct content_info *out, bool *any, const struct arguments *args, const struct operation *op,
                          struct bytes bytes)
{
    struct content content;
    struct record_context place;
    struct buffer context = {0};
    *any = place_of(&place, args, op) && content_decode(&content, bytes) == OK &&
           content.capsule.size <= sizeof out->capsule;
    if (!*any) return OK;
    record_context_encode(&context, &place);
    if (context.failed) return ERR_NOMEM;
    memcpy(out->context, context.data, context.size);
    out->context_size = context.size;
    buffer_free(&context);
    memcpy(out->capsule, content.capsule.data, content.capsule.size);
    out->capsule_size = content.capsule.size;
    hash_sha256(&out->ciphertext_hash, content.ciphertext.data, content.ciphertext.size);
    out->ciphertext_size = content.ciphertext.size;
    return OK;
}

static enum err note_content(struct table_txn *txn, uint64_t index, const struct arguments *args,
                             const struct operation *op, struct bytes bytes)
{
    struct content_info info;
    bool any;
    enum err err = content_describe(&info, &any, args, op, bytes);
    return err == OK && any ? state_content_put(txn, index, &info) : err;
}

/* Particulars replace the former ones only when no later leaf has replaced these:
 * attachments that are pulled come in any order. */
static enum err note_person(struct ledger *ledger, struct table_txn *txn, uint64_t index, const struct id *id,
                            struct bytes bytes)
{
    struct user user;
    enum err err = ledger_user_get(&user, ledger, txn, id);
    if (err == OK && user.person_index == index) names_set(&ledger->names, id, user.created, bytes);
    return err;
}

enum err content_store(struct ledger *ledger, struct table_txn *txn, uint64_t index, const struct arguments *args,
                       const struct operation *op, struct bytes attachment)
{
    uint8_t key[8];
    struct attachment decoded;
    put_be64(key, index);
    enum err err = table_put(txn, TABLE_ATTACHMENT, BYTES(key), attachment);
    if (err == OK) err = attachment_decode(&decoded, attachment);
    if (err == OK) err = note_content(txn, index, args, op, decoded.content);
    if (err == OK && ledger && args->action == ACTION_USER_CREATE)
        err = note_person(ledger, txn, index, &args->user_create.user, decoded.content);
    if (err == OK && ledger && args->action == ACTION_USER_UPDATE)
        err = note_person(ledger, txn, index, &args->user_update.user, decoded.content);
    return err;
}

void content_put(struct step *step)
{
    uint8_t key[8];
    enum err err;
    if (step->ledger->aside) return; /* nobody pulls attachments into it */
    if (!content_kept(step->op, step->reason == REASON_NONE ? DECISION_APPROVED : DECISION_DENIED)) return;
    put_be64(key, step->index);
    if (step->attachment.size)
        err = content_store(step->ledger, step->txn, step->index, &step->args, step->op, step->attachment);
    else
        err = table_put(step->txn, TABLE_MISSING, BYTES(key), (struct bytes){NULL, 0});
    if (err != OK) step_failed(step, err);
}
