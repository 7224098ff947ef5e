#include "cli/proved_rows.h"

#include <stdlib.h>

#include "base/check.h"
#include "cli/receipt.h"
#include "ledger/query.h"
#include "net/protocol.h"

bool row_fits_leaf(const struct log_row *row, const struct leaf *leaf)
{
    struct buffer fresh = {0};
    struct attachment note;
    if (row->attachment.size > 0 &&
        (leaf->index == 0 || attachment_check(&note, row->attachment, &leaf->operation.attachment) != OK))
        return false;
    query_row_pack(&fresh, leaf, row->actor_role, row->attachment);
    bool same = !fresh.failed && bytes_equal(buffer_bytes(&fresh), row->raw);
    buffer_free(&fresh);
    return same;
}

/* One answer for up to LIMIT_OPERATIONS rows. */
struct proving {
    struct cluster *cluster;
    const struct submission *query;
    struct message_cosigned cosigned;
    struct digest hashes[LIMIT_PROOFS];
};

static enum err ask(struct proving *p, struct frame *out, const struct log_row *rows, uint32_t count,
                    struct failure *failure)
{
    struct message_prove_rows question = {.query = p->query->outcomes[0].index, .rows.count = count};
    struct buffer body = {0};
    uint64_t id;
    for (uint32_t i = 0; i < count; i++) question.rows.leaves[i] = rows[i].index;
    message_prove_rows_encode(&body, &question);
    CHECK(!body.failed);
    enum err e = OK;
    if (!p->cluster->client) { /* lost meanwhile: another connection has to know who asks */
        e = cluster_connect(p->cluster, failure);
        if (e == OK) e = submit_again(p->cluster, p->query, failure);
        if (e != OK) cluster_drop(p->cluster); /* it would refuse everything that follows */
    }
    if (e == OK) e = cluster_send(p->cluster, &id, MESSAGE_PROVE_ROWS, buffer_bytes(&body), failure);
    if (e == OK) e = cluster_receive(p->cluster, out, id, p->cluster->timeout_ms, NULL, failure);
    buffer_free(&body);
    return e;
}

static enum err check(struct proving *p, bool *proved, const struct frame *answer, const struct log_row *rows,
                      uint32_t count, struct failure *failure)
{
    const struct genesis *genesis = &p->cluster->genesis;
    const char *name = cluster_member_name(p->cluster, p->cluster->member);
    struct checkpoint checkpoint;
    struct failure why = {0};
    enum err e = ERR_UNEXPECTED;
    if (answer->type == MESSAGE_COSIGNED)
        e = message_cosigned_decode(&p->cosigned, p->hashes, LIMIT_PROOFS, answer->body);
    if (e == OK && p->cosigned.count != count) e = ERR_MALFORMED;
    if (e != OK) return fail(failure, ERR_BAD_PROOF, "%s sent no proof of the rows: %s", name, err_text(e));
    e = receipt_check_note(&checkpoint, genesis, p->cosigned.note, &why);
    if (e != OK) return fail(failure, e, "%s can't prove the rows: %s", name, why.text);
    for (uint32_t i = 0; i < count; i++) {
        const struct message_proof *m = &p->cosigned.proofs[i];
        struct leaf leaf;
        proved[i] = receipt_check_inclusion(&leaf, genesis, &checkpoint, m->leaf, m->hashes, m->count, &why) == OK &&
                    row_fits_leaf(&rows[i], &leaf);
    }
    return OK;
}

enum err rows_prove(bool *proved, struct cluster *cluster, const struct submission *query, const struct log_row *rows,
                    uint32_t count, struct failure *failure)
{
    struct proving *p = xcalloc(1, sizeof *p);
    enum err e = OK;
    p->cluster = cluster;
    p->query = query;
    for (uint32_t i = 0; i < count; i++) proved[i] = false;
    for (uint32_t at = 0; e == OK && at < count; at += LIMIT_OPERATIONS) {
        uint32_t some = count - at < LIMIT_OPERATIONS ? count - at : LIMIT_OPERATIONS;
        struct frame answer;
        e = ask(p, &answer, rows + at, some, failure);
        if (e == OK) e = check(p, proved + at, &answer, rows + at, some, failure);
    }
    free(p);
    return e;
}
