#include "consensus/node_request.h"

#include <stdlib.h>

#include "base/clock.h"
#include "crypto/keys.h"
#include "crypto/random.h"
#include "ledger/attachment.h"
#include "ledger/genesis.h"
#include "ledger/request.h"

struct node_request {
    struct submission submission;
    void *data;
    node_request_done done;
};

static void finished(struct submission *s, enum err code, const struct outcome *outcomes, size_t count)
{
    struct node_request *r = s->data;
    if (code == OK && count == 1)
        r->done(r->data, outcomes[0].code, outcomes[0].leaf_index, (enum decision)outcomes[0].decision,
                (enum reason)outcomes[0].reason);
    else
        r->done(r->data, code, 0, DECISION_DENIED, REASON_NONE);
    buffer_free(&s->request);
    free(r);
}

static enum err build(struct buffer *out, const struct node_signer *signer, enum action action, struct bytes args,
                      struct bytes attachment)
{
    const struct descriptor *self = genesis_member(signer->genesis, signer->self);
    struct operation op = {.cluster = signer->genesis->cluster, .request_id = random_id(),
                           .issued_at_ms = clock_wall_ms(), .action = action, .args = args,
                           .actor = {.kind = ACTOR_NODE, .id = self->id, .key = key_id_of(&self->keys.message)}};
    struct request_builder *builder = calloc(1, sizeof *builder);
    struct buffer attached = {.limit = LIMIT_ATTACHMENT};
    if (!builder) return ERR_NOMEM;
    if (attachment.size) {
        uint8_t salt[ATTACHMENT_SALT];
        random_bytes(salt, sizeof salt);
        attachment_encode(&attached, salt, attachment);
    }
    enum err e = attached.failed ? ERR_TOO_LARGE : request_builder_add(builder, &op, buffer_bytes(&attached));
    if (e == OK) e = request_builder_sign(out, builder, &signer->keys->message);
    request_builder_free(builder);
    free(builder);
    buffer_free(&attached);
    return e;
}

enum err node_request_submit(const struct node_signer *signer, enum action action, struct bytes args,
                             struct bytes attachment, void *data, node_request_done done)
{
    struct node_request *r = calloc(1, sizeof *r);
    if (!r) return ERR_NOMEM;
    r->data = data;
    r->done = done;
    r->submission.request.limit = LIMIT_REQUEST;
    enum err e = build(&r->submission.request, signer, action, args, attachment);
    if (e == OK) {
        r->submission.verified = true;
        r->submission.verified_key = genesis_member(signer->genesis, signer->self)->keys.message;
        r->submission.deadline_ns = clock_monotonic_ns() + (uint64_t)LIMIT_REQUEST_MS * 1000000;
        r->submission.data = r;
        r->submission.done = finished;
        e = driver_submit(signer->driver, &r->submission);
    }
    if (e != OK) {
        buffer_free(&r->submission.request);
        free(r);
    }
    return e;
}
