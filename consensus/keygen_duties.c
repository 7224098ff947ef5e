/* The operations that a node's agent submits for key generation: one of a kind at a time, and again after a while
 * as long as the state still asks for it. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "consensus/keygen_agent_internal.h"
#include "consensus/node_request.h"
#include "crypto/hash.h"
#include "ledger/arguments.h"

#define SUBMIT_AGAIN_MS 1000 /* after an operation that did not do it */

struct duty_done {
    struct keygen_agent *agent;
    enum duty duty;
};

static void duty_finished(void *data, enum err code, uint64_t leaf, enum decision decision, enum reason reason)
{
    struct duty_done *d = data;
    struct keygen_agent *a = d->agent;
    (void)leaf;
    a->submitting[d->duty] = false;
    a->in_flight--;
    if (code == OK && decision == DECISION_DENIED && reason != REASON_ALREADY_DONE && reason != REASON_WRONG_PHASE &&
        reason != REASON_TOO_EARLY)
        log_warning("keygen", "a step of key generation was denied: %s", reason_text(reason));
    if (code == OK && decision == DECISION_APPROVED) a->submitted_ns[d->duty] = 0; /* the next one needs no pause */
    free(d);
    a->outdated = a->reading;
    if (!a->stopped) keygen_agent_look(a);
}

static void submit(struct keygen_agent *a, enum duty duty, enum action action, struct buffer *args)
{
    uint64_t now = clock_monotonic_ns();
    bool soon = a->submitted_ns[duty] && now - a->submitted_ns[duty] < (uint64_t)SUBMIT_AGAIN_MS * 1000000;
    if (!a->submitting[duty] && !soon && !args->failed) {
        struct duty_done *d = xmalloc(sizeof *d);
        *d = (struct duty_done){a, duty};
        a->submitted_ns[duty] = now;
        if (node_request_submit(&a->signer, action, buffer_bytes(args), (struct bytes){0}, d, duty_finished) == OK) {
            a->submitting[duty] = true;
            a->in_flight++;
        } else {
            free(d); /* no leader, or busy: the timer comes back to it */
        }
    }
    buffer_free(args);
}

void keygen_submit_commit(struct keygen_agent *a)
{
    const struct look *l = a->look;
    uint8_t context[KEYGEN_CONTEXT_SIZE];
    struct dkg_commitments commitments;
    struct buffer args = {0};
    keygen_context(context, &a->o.genesis->cluster, a->secret, l->view.state.attempt, a->o.self);
    dkg_commit(&commitments, &l->own.polynomial);
    struct args_key_commit c = {.secret = a->secret, .attempt = l->view.state.attempt,
                                .commitments = dkg_commitments_hash(&commitments, BYTES(context))};
    args_key_commit_encode(&args, &c);
    submit(a, DUTY_COMMIT, ACTION_KEY_COMMIT, &args);
}

void keygen_submit_reveal(struct keygen_agent *a)
{
    const struct look *l = a->look;
    struct dkg_commitments commitments;
    struct buffer args = {0};
    struct args_key_reveal r = {.secret = a->secret, .attempt = l->view.state.attempt, .k = a->k, .n = a->n};
    dkg_commit(&commitments, &l->own.polynomial);
    memcpy(r.commitments, commitments.points, a->k * sizeof r.commitments[0]);
    for (unsigned i = 1; i <= a->n; i++)
        hash_sha256(&r.subshares[i - 1], l->own.sealed[i], SEALED_SIZE);
    args_key_reveal_encode(&args, &r);
    submit(a, DUTY_REVEAL, ACTION_KEY_REVEAL, &args);
}

void keygen_submit_confirm(struct keygen_agent *a, member_mask complaints)
{
    struct buffer args = {0};
    struct args_key_confirm c = {.secret = a->secret, .attempt = a->look->view.state.attempt,
                                 .complaints = complaints};
    args_key_confirm_encode(&args, &c);
    for (unsigned i = 1; i <= a->n; i++)
        if (complaints & MEMBER_BIT(i))
            log_warning("keygen", "the sub-share of node %u (%s) %s: complaining in the ledger", i,
                        genesis_member(a->o.genesis, i)->name, a->bad & MEMBER_BIT(i) ? "is wrong" : "has not come");
    submit(a, DUTY_CONFIRM, ACTION_KEY_CONFIRM, &args);
}

/* A complaint is answered by publishing that sub-share: only the complaining receiver's own. */
void keygen_submit_answer(struct keygen_agent *a)
{
    const struct look *l = a->look;
    unsigned receiver = (unsigned)__builtin_ctz(l->view.answer);
    struct scalar subshare;
    struct buffer args = {0};
    if (!l->own.exists || receiver < 1 || receiver > a->n) return;
    dkg_subshare(&subshare, &l->own.polynomial, receiver);
    struct args_key_answer answer = {.secret = a->secret, .attempt = l->view.state.attempt, .receiver = receiver};
    memcpy(answer.subshare, subshare.bytes, sizeof answer.subshare);
    args_key_answer_encode(&args, &answer);
    submit(a, DUTY_ANSWER, ACTION_KEY_ANSWER, &args);
}

void keygen_submit_close(struct keygen_agent *a)
{
    struct buffer args = {0};
    struct args_key_close c = {.secret = a->secret, .attempt = a->look->view.state.attempt,
                               .phase = a->look->view.state.phase};
    args_key_close_encode(&args, &c);
    submit(a, DUTY_CLOSE, ACTION_KEY_CLOSE, &args);
}

void keygen_submit_activate(struct keygen_agent *a)
{
    const struct look *l = a->look;
    struct buffer args = {0};
    struct args_key_activate c = {.secret = a->secret, .attempt = l->view.state.attempt,
                                  .qualified = keygen_qualified(&l->view.state), .key = l->key, .n = a->n};
    memcpy(c.verification, l->verification, a->n * sizeof c.verification[0]);
    args_key_activate_encode(&args, &c);
    submit(a, DUTY_ACTIVATE, ACTION_KEY_ACTIVATE, &args);
}
