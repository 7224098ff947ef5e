/* What nodes do in the ledger: key generation (ledger/keygen.h). */
#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"
#include "ledger/keygen_rows.h"
#include "ledger/rules.h"

static unsigned quorum(const struct step *step) { return step->ledger->genesis.quorum; }
static unsigned members(const struct step *step) { return step->ledger->genesis.member_count; }
static member_mask me(const struct step *step) { return MEMBER_BIT(step->member); }

/* --- deciding --- */

static enum reason decide_commit(struct step *step)
{
    const struct keygen *keygen = &step->keygen;
    if (keygen->phase != KEYGEN_COMMIT) return REASON_WRONG_PHASE;
    return keygen->committed & me(step) ? REASON_ALREADY_DONE : REASON_NONE;
}

static enum err commitments_of(struct dkg_commitments *out, const struct args_key_reveal *args)
{
    return dkg_commitments_decode(out, args->k, bytes_of(args->commitments, args->k * sizeof args->commitments[0]));
}

static enum reason decide_reveal(struct step *step)
{
    const struct args_key_reveal *args = &step->args.key_reveal;
    const struct keygen *keygen = &step->keygen;
    struct dkg_commitments commitments;
    uint8_t context[KEYGEN_CONTEXT_SIZE];
    if (keygen->phase != KEYGEN_REVEAL) return REASON_WRONG_PHASE;
    if (keygen->revealed & me(step)) return REASON_ALREADY_DONE;
    if (!(keygen->committed & me(step))) return REASON_COMMITMENT;
    if (args->k != quorum(step) || args->n != members(step)) return REASON_FIELDS;
    if (commitments_of(&commitments, args) != OK) return REASON_COMMITMENT;
    keygen_context(context, &step->op->cluster, (uint8_t)args->secret, args->attempt, step->member);
    struct digest hash = dkg_commitments_hash(&commitments, BYTES(context));
    return digest_equal(&hash, &keygen->commitment[step->member]) ? REASON_NONE : REASON_COMMITMENT;
}

static enum reason decide_confirm(struct step *step)
{
    const struct keygen *keygen = &step->keygen;
    member_mask complaints = step->args.key_confirm.complaints, open = keygen->complaints[step->member];
    bool confirmed = keygen->confirmed & me(step), active = keygen->phase == KEYGEN_ACTIVE;
    if (keygen->phase != KEYGEN_CONFIRM && !active) return REASON_WRONG_PHASE;
    if (complaints & ~(keygen_qualified(keygen) & ~me(step))) return REASON_FIELDS;
    if (!confirmed) return REASON_NONE;
    if (!active || !open) return REASON_ALREADY_DONE;
    if (complaints & ~open) return REASON_FIELDS;
    return complaints == open ? REASON_UNCHANGED : REASON_NONE;
}

static enum reason decide_answer(struct step *step)
{
    const struct args_key_answer *args = &step->args.key_answer;
    const struct keygen *keygen = &step->keygen;
    struct dealing dealing;
    struct scalar subshare;
    if (keygen->phase < KEYGEN_CONFIRM) return REASON_WRONG_PHASE;
    if (args->receiver > members(step)) return REASON_FIELDS;
    if (!(keygen->complaints[args->receiver] & me(step))) {
        bool done = keygen->answered[args->receiver] & me(step);
        return done ? REASON_ALREADY_DONE : REASON_FIELDS;
    }
    enum err err = keygen_dealing_get(&dealing, step->txn, (uint8_t)args->secret, args->attempt, step->member);
    if (err != OK) return step_failed(step, err);
    if (scalar_decode(&subshare, args->subshare) != OK) return REASON_COMMITMENT;
    err = dkg_subshare_verify(&subshare, &dealing.commitments, args->receiver);
    return err == OK ? REASON_NONE : REASON_COMMITMENT;
}

static enum reason decide_close(struct step *step)
{
    const struct keygen *keygen = &step->keygen;
    if (step->args.key_close.phase != keygen->phase || keygen->phase >= KEYGEN_READY) return REASON_WRONG_PHASE;
    return step->time_ms >= keygen_deadline(keygen, quorum(step)) ? REASON_NONE : REASON_TOO_EARLY;
}

static enum reason decide_activate(struct step *step)
{
    const struct args_key_activate *args = &step->args.key_activate;
    const struct keygen *keygen = &step->keygen;
    struct point key, verification[LIMIT_NODES];
    if (keygen->phase == KEYGEN_ACTIVE) return REASON_ALREADY_DONE;
    if (keygen->phase != KEYGEN_READY) return REASON_WRONG_PHASE;
    if (args->n != members(step)) return REASON_FIELDS;
    enum err err = keygen_combine(&key, verification, step->txn, (uint8_t)args->secret, keygen, members(step));
    if (err != OK) return step_failed(step, err); /* it was checked when READY began */
    bool right = args->qualified == keygen_qualified(keygen) && point_equal(&args->key, &key);
    for (uint32_t i = 0; i < args->n; i++) right = right && point_equal(&args->verification[i], &verification[i]);
    return right ? REASON_NONE : REASON_COMMITMENT;
}

static enum reason decide_keygen(struct step *step, enum key_secret secret, uint32_t attempt)
{
    enum err err = keygen_get(&step->keygen, step->txn, (uint8_t)secret);
    if (err != OK) return step_failed(step, err);
    if (attempt != step->keygen.attempt) return REASON_WRONG_ATTEMPT;
    switch (step->op->action) {
    case ACTION_KEY_COMMIT: return decide_commit(step);
    case ACTION_KEY_REVEAL: return decide_reveal(step);
    case ACTION_KEY_CONFIRM: return decide_confirm(step);
    case ACTION_KEY_ANSWER: return decide_answer(step);
    case ACTION_KEY_CLOSE: return decide_close(step);
    case ACTION_KEY_ACTIVATE: return decide_activate(step);
    }
    CHECK(!"not an action of key generation");
    return REASON_FIELDS;
}

/* All of these begin with secret and attempt. */
static enum key_secret secret_of(const struct step *step, uint32_t *attempt)
{
    const struct arguments *a = &step->args;
    switch (step->op->action) {
#define X(number, name)                                                                            \
    case number: *attempt = a->name.attempt; return a->name.secret;
        X(ACTION_KEY_COMMIT, key_commit)
        X(ACTION_KEY_REVEAL, key_reveal)
        X(ACTION_KEY_CONFIRM, key_confirm)
        X(ACTION_KEY_ANSWER, key_answer)
        X(ACTION_KEY_CLOSE, key_close)
        X(ACTION_KEY_ACTIVATE, key_activate)
#undef X
    }
    CHECK(!"not an action of key generation");
    return KEY_RECORDS;
}

enum reason decide_nodes(struct step *step)
{
    uint32_t attempt;
    enum key_secret secret = secret_of(step, &attempt);
    return decide_keygen(step, secret, attempt);
}

/* --- phases --- */

static void enter(struct step *step, enum keygen_phase phase)
{
    step->keygen.phase = phase;
    step->keygen.started = true;
    step->keygen.start_ms = step->time_ms;
}

/* Enough dealers, and a usable key from them: READY; else from the beginning. */
static void settle(struct step *step, uint8_t secret)
{
    struct keygen *keygen = &step->keygen;
    struct point key, verification[LIMIT_NODES];
    enum err err = ERR_NOT_READY;
    for (unsigned i = 1; i <= LIMIT_NODES; i++) keygen->complaints[i] &= ~keygen->excluded;
    if (keygen_count(keygen_qualified(keygen)) >= quorum(step))
        err = keygen_combine(&key, verification, step->txn, secret, keygen, members(step));
    if (err == OK)
        enter(step, KEYGEN_READY);
    else if (err == ERR_NOT_READY || err == ERR_BAD_POINT)
        keygen_fresh(keygen, keygen->attempt + 1);
    else
        step_failed(step, err);
}

static void end_confirm(struct step *step, uint8_t secret)
{
    if (keygen_has_complaints(&step->keygen))
        enter(step, KEYGEN_ANSWER);
    else
        settle(step, secret);
}

/* What follows once all did their part. */
static void advance(struct step *step, uint8_t secret)
{
    struct keygen *keygen = &step->keygen;
    member_mask all = keygen_all(members(step));
    switch (keygen->phase) {
    case KEYGEN_COMMIT:
        if (keygen->committed == all) enter(step, KEYGEN_REVEAL);
        return;
    case KEYGEN_REVEAL:
        if (keygen->revealed == keygen->committed) enter(step, KEYGEN_CONFIRM);
        return;
    case KEYGEN_CONFIRM:
        if (keygen->confirmed == all) end_confirm(step, secret);
        return;
    case KEYGEN_ANSWER:
        if (!keygen_has_complaints(keygen)) settle(step, secret);
        return;
    case KEYGEN_READY:
    case KEYGEN_ACTIVE: return;
    }
}

static void change_close(struct step *step, uint8_t secret)
{
    struct keygen *keygen = &step->keygen;
    unsigned k = quorum(step);
    switch (keygen->phase) {
    case KEYGEN_COMMIT: enter(step, KEYGEN_REVEAL); return;
    case KEYGEN_REVEAL:
        keygen->excluded |= keygen->committed & ~keygen->revealed;
        if (keygen_count(keygen->revealed) >= k)
            enter(step, KEYGEN_CONFIRM);
        else
            keygen_fresh(keygen, keygen->attempt + 1);
        return;
    case KEYGEN_CONFIRM:
        if (keygen_count(keygen->confirmed) >= k)
            end_confirm(step, secret);
        else
            keygen_fresh(keygen, keygen->attempt + 1);
        return;
    case KEYGEN_ANSWER:
        for (unsigned i = 1; i <= LIMIT_NODES; i++) keygen->excluded |= keygen->complaints[i];
        settle(step, secret);
        return;
    case KEYGEN_READY:
    case KEYGEN_ACTIVE: return;
    }
}

/* --- changes --- */

static void change_commit(struct step *step)
{
    struct keygen *keygen = &step->keygen;
    if (!keygen->started) enter(step, KEYGEN_COMMIT);
    keygen->committed |= me(step);
    keygen->commitment[step->member] = step->args.key_commit.commitments;
}

static void change_reveal(struct step *step, uint8_t secret)
{
    const struct args_key_reveal *args = &step->args.key_reveal;
    struct dealing dealing = {.attempt = args->attempt};
    CHECK(commitments_of(&dealing.commitments, args) == OK);
    for (uint32_t i = 0; i < args->n; i++) dealing.subshare_hash[i + 1] = args->subshares[i];
    enum err err = keygen_dealing_put(step->txn, secret, step->member, &dealing);
    if (err != OK) step_failed(step, err);
    step->keygen.revealed |= me(step);
}

static void change_answer(struct step *step)
{
    struct keygen *keygen = &step->keygen;
    unsigned receiver = step->args.key_answer.receiver;
    keygen->complaints[receiver] &= ~me(step);
    keygen->answered[receiver] |= me(step);
    keygen->answer_leaf[receiver][step->member] = step->index;
}

static void change_activate(struct step *step, uint8_t secret)
{
    const struct args_key_activate *args = &step->args.key_activate;
    struct epoch epoch = {
        .epoch = 1,
        .n = members(step),
        .b = step->ledger->genesis.faulty,
        .k = quorum(step),
        .attempt = args->attempt,
        .activation = step->index,
        .key = args->key,
    };
    memcpy(epoch.verification, args->verification, args->n * sizeof args->verification[0]);
    enum err err = state_epoch_put(step->txn, secret, &epoch);
    if (err != OK) step_failed(step, err);
    step->keygen.phase = KEYGEN_ACTIVE;
    if (secret == KEY_RECORDS) step->ledger->records_key = true;
}

void change_nodes(struct step *step)
{
    uint32_t attempt;
    uint8_t secret = (uint8_t)secret_of(step, &attempt);
    switch (step->op->action) {
    case ACTION_KEY_COMMIT: change_commit(step); break;
    case ACTION_KEY_REVEAL: change_reveal(step, secret); break;
    case ACTION_KEY_CONFIRM:
        step->keygen.confirmed |= me(step);
        step->keygen.complaints[step->member] = step->args.key_confirm.complaints;
        break;
    case ACTION_KEY_ANSWER: change_answer(step); break;
    case ACTION_KEY_CLOSE: change_close(step, secret); break;
    case ACTION_KEY_ACTIVATE: change_activate(step, secret); break;
    }
    if (step->op->action != ACTION_KEY_CLOSE && step->err == OK) advance(step, secret);
    enum err err = step->err == OK ? keygen_put(step->txn, secret, &step->keygen) : OK;
    if (err != OK) step_failed(step, err);
    step->keygen_changed = true;
}
