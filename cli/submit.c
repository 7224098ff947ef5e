/* The happy path: build and sign -> SUBMIT -> APPLIED -> COSIGNED -> check -> done.
 *
 * One attempt is that path with one node. Whatever breaks it (a dead node, a
 * time-out, "busy", a receipt that does not verify) leads to the next attempt:
 * the same bytes to another node, which answers DUPLICATE with the first index
 * where the operation is in the ledger already, and PROVE then fetches the
 * receipt. At the deadline LOOKUP says what became of it. */
#include "cli/submit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "cli/receipt.h"
#include "crypto/random.h"
#include "ledger/attachment.h"
#include "ledger/request.h"

#define PAUSE_MS 150       /* before the next attempt, when a node gave no advice */
#define PAUSE_MOST_MS 1000 /* of a node's advice */
#define LOOKUP_PART 5      /* a fifth of the time-out is kept for finding out what became of a request */

struct sending {
    struct cluster *cluster;
    const struct signer *signer;
    struct request_builder builder;
    struct submission *out;
    uint64_t began_ns;
    uint64_t end_ns;         /* of the attempts */
    uint64_t give_up_ns;     /* of all, with looking up */
    uint32_t patience_ms;    /* at most for one node, so that time is left for another */
    bool sent;               /* a node may have it */
    bool claimed;            /* a node said that it is recorded */
    bool said;               /* what the last attempt came to is that node's word: of an operation it gave no leaf */
    uint32_t refused;        /* bit i: member i said that it is not taken */
    uint32_t lies;           /* receipts that did not verify */
    struct failure lie;
    struct message_applied *applied;   /* of this attempt; views into applied_body */
    struct buffer applied_body;
    struct message_cosigned *cosigned;
    struct digest *hashes;
    uint64_t retry_after_ms;
    uint32_t attempts;
};

/* --- building --- */

static enum err add_draft(struct sending *s, const struct draft *draft, uint64_t now_ms)
{
    struct operation op = {
        .cluster = s->cluster->genesis.cluster,
        .request_id = random_id(),
        .issued_at_ms = now_ms,
        .actor = signer_actor(s->signer),
        .action = draft->action,
        .args = draft->args,
        .purpose = (uint8_t)draft->purpose,
    };
    struct buffer attachment = {0};
    if (draft->attached) {
        uint8_t salt[ATTACHMENT_SALT];
        random_bytes(salt, sizeof salt);
        attachment_encode(&attachment, salt, draft->attachment);
    }
    enum err e = attachment.failed ? ERR_NOMEM : request_builder_add(&s->builder, &op, buffer_bytes(&attachment));
    if (e == OK) s->out->request_ids[s->out->count++] = op.request_id;
    buffer_free(&attachment);
    return e;
}

static enum err build(struct sending *s, const struct draft *drafts, uint32_t count, struct failure *failure)
{
    CHECK(count >= 1 && count <= LIMIT_OPERATIONS);
    *s->out = (struct submission){.issued_at_ms = clock_wall_ms()};
    for (uint32_t i = 0; i < count; i++) {
        enum err e = add_draft(s, &drafts[i], s->out->issued_at_ms);
        if (e != OK) return fail(failure, e, "cannot make the request: %s", err_text(e));
    }
    enum err e = request_builder_sign(&s->out->request, &s->builder, &s->signer->secrets->sign);
    return e == OK ? OK : fail(failure, e, "cannot sign the request: %s", err_text(e));
}

/* --- one attempt --- */

static uint32_t left_ms(const struct sending *s) { return cluster_left_ms(s->end_ns); }

static uint32_t patience_ms(const struct sending *s)
{
    uint32_t left = left_ms(s);
    return s->cluster->via || left < s->patience_ms ? left : s->patience_ms;
}

static enum err send_request(struct cluster *cluster, uint64_t *id, struct bytes request, struct failure *failure)
{
    struct buffer body = {0};
    message_submit_encode(&body, &(struct message_submit){request, WAIT_COSIGNED});
    enum err e = body.failed ? fail(failure, ERR_NOMEM, "no memory for the request")
                             : cluster_send(cluster, id, MESSAGE_SUBMIT, buffer_bytes(&body), failure);
    buffer_free(&body);
    return e;
}

static enum err receive(struct sending *s, struct frame *out, uint64_t id, struct failure *failure)
{
    *out = (struct frame){0};
    enum err e = cluster_receive(s->cluster, out, id, patience_ms(s), &s->retry_after_ms, failure);
    s->said = e != OK && out->type == MESSAGE_FAILED;
    return e;
}

static enum err receive_applied(struct sending *s, uint64_t id, struct failure *failure)
{
    struct frame frame;
    enum err e = receive(s, &frame, id, failure);
    if (e != OK) return e;
    buffer_clear(&s->applied_body);
    buffer_append_bytes(&s->applied_body, frame.body);
    if (s->applied_body.failed) return fail(failure, ERR_NOMEM, "no memory for the answer");
    e = frame.type == MESSAGE_APPLIED ? message_applied_decode(s->applied, buffer_bytes(&s->applied_body))
                                      : ERR_UNEXPECTED;
    if (e == OK && s->applied->count != s->out->count) e = ERR_MALFORMED;
    return e == OK ? OK : fail(failure, ERR_BAD_PROOF, "%s sent an answer that does not fit the request: %s",
                               cluster_member_name(s->cluster, s->cluster->member), err_text(e));
}

/* Whether operation i is in the ledger, as this node says. */
static bool has_leaf(const struct sending *s, uint32_t i)
{
    enum err code = s->applied->results[i].code;
    return code == OK || code == ERR_DUPLICATE;
}

/* Whether an attempt has proved that operation i is in the ledger. */
static bool is_proved(const struct sending *s, uint32_t i) { return s->out->outcomes[i].receipt.size > 0; }

/* Takes over what APPLIED says, but no refusal of what is proved. Of a duplicate the node gives no rows; those
 * that an earlier attempt got stay when they are of the same entry. */
static void take_applied(struct sending *s)
{
    for (uint32_t i = 0; i < s->out->count; i++) {
        const struct message_result *r = &s->applied->results[i];
        struct outcome *o = &s->out->outcomes[i];
        bool same = o->index == r->leaf_index && r->code == ERR_DUPLICATE;
        if (!has_leaf(s, i) && is_proved(s, i)) continue;
        o->code = has_leaf(s, i) ? OK : r->code;
        o->index = r->leaf_index;
        if (has_leaf(s, i)) s->claimed = true;
        if (same && r->answer.size == 0) continue;
        buffer_clear(&o->answer);
        buffer_append_bytes(&o->answer, r->answer);
        o->member = s->cluster->member;
    }
}

static enum err decode_cosigned(struct sending *s, const struct frame *frame, uint32_t expected,
                                struct failure *failure)
{
    enum err e = ERR_UNEXPECTED;
    if (frame->type == MESSAGE_COSIGNED)
        e = message_cosigned_decode(s->cosigned, s->hashes, LIMIT_PROOFS, frame->body);
    if (e == OK && s->cosigned->count != expected) e = ERR_MALFORMED;
    return e == OK ? OK : fail(failure, ERR_BAD_PROOF, "%s sent no receipt for the request: %s",
                               cluster_member_name(s->cluster, s->cluster->member), err_text(e));
}

static enum err bad_receipt(const struct sending *s, const struct failure *why, struct failure *failure)
{
    return fail(failure, why->code, "the receipt of %s does not verify: %s",
                cluster_member_name(s->cluster, s->cluster->member), why->text);
}

/* Checks the receipt of operation i and takes the decision from its leaf: what
 * APPLIED claimed counts for nothing. */
static enum err check_receipt(struct sending *s, uint32_t i, const struct message_proof *proof,
                              const struct checkpoint *checkpoint, struct failure *failure)
{
    struct leaf leaf;
    struct failure why = {0};
    struct outcome *o = &s->out->outcomes[i];
    enum err e = receipt_check_inclusion(&leaf, &s->cluster->genesis, checkpoint, proof->leaf, proof->hashes,
                                         proof->count, &why);
    if (e == OK)
        e = receipt_check_operation(&leaf, buffer_bytes(&s->builder.operations[i]), &s->signer->public_key, &why);
    if (e == OK && leaf.index != o->index)
        e = fail(&why, ERR_BAD_PROOF, "the answer says entry %" PRIu64 ", the leaf %" PRIu64, o->index, leaf.index);
    if (e != OK) return bad_receipt(s, &why, failure);
    o->time_ms = leaf.time_ms;
    o->decision = leaf.decision;
    o->reason = leaf.reason;
    buffer_clear(&o->receipt);
    receipt_format(&o->receipt, proof->leaf, leaf.index, proof->hashes, proof->count, s->cosigned->note);
    return o->receipt.failed ? fail(failure, ERR_NOMEM, "no memory for the receipt") : OK;
}

static enum err check_receipts(struct sending *s, bool all_places, struct failure *failure)
{
    uint32_t at = 0;
    struct checkpoint checkpoint; /* one for all of them */
    struct failure why = {0};
    if (receipt_check_note(&checkpoint, &s->cluster->genesis, s->cosigned->note, &why) != OK)
        return bad_receipt(s, &why, failure);
    for (uint32_t i = 0; i < s->out->count; i++) {
        if (!has_leaf(s, i)) {
            at += all_places;
            continue;
        }
        enum err e = check_receipt(s, i, &s->cosigned->proofs[at++], &checkpoint, failure);
        if (e != OK) return e;
    }
    return OK;
}

/* The first answer to a SUBMIT that waits is APPLIED, the second COSIGNED. */
static enum err await_cosigned(struct sending *s, uint64_t id, struct failure *failure)
{
    struct frame frame;
    enum err e = receive(s, &frame, id, failure);
    if (e == OK) e = decode_cosigned(s, &frame, s->out->count, failure);
    return e == OK ? check_receipts(s, true, failure) : e;
}

static enum err prove(struct sending *s, struct failure *failure)
{
    struct message_prove question = {0};
    for (uint32_t i = 0; i < s->out->count; i++)
        if (has_leaf(s, i)) question.leaves[question.count++] = s->applied->results[i].leaf_index;
    struct buffer body = {0};
    message_prove_encode(&body, &question);
    CHECK(!body.failed);
    uint64_t id;
    struct frame frame;
    enum err e = cluster_send(s->cluster, &id, MESSAGE_PROVE, buffer_bytes(&body), failure);
    buffer_free(&body);
    if (e == OK) e = receive(s, &frame, id, failure);
    if (e == OK) e = decode_cosigned(s, &frame, question.count, failure);
    return e == OK ? check_receipts(s, false, failure) : e;
}

static enum err attempt(struct sending *s, struct failure *failure)
{
    uint64_t id;
    s->said = false;
    enum err e = cluster_connect(s->cluster, failure);
    if (e != OK) return e;
    if (s->cluster->output)
        output_progress(s->cluster->output, "waiting for %u co-signatures ...", s->cluster->genesis.quorum);
    bool before = s->sent;
    s->sent = true; /* also when sending fails: part of it may be all of it */
    e = send_request(s->cluster, &id, buffer_bytes(&s->out->request), failure);
    if (e == OK) e = receive_applied(s, id, failure);
    if (e == ERR_FULL) s->sent = before; /* a node says so before it takes anything */
    if (e != OK) return e;
    take_applied(s);
    uint32_t leaves = 0, fresh = 0;
    for (uint32_t i = 0; i < s->out->count; i++) {
        leaves += has_leaf(s, i);
        fresh += s->applied->results[i].code == OK;
    }
    s->said = leaves == 0;
    if (leaves == 0) return OK; /* all refused; the codes say why */
    e = fresh == leaves ? await_cosigned(s, id, failure) : prove(s, failure);
    for (uint32_t i = 0; e == OK && i < s->out->count; i++)
        if (!is_proved(s, i)) s->said = true; /* as of all of them: the rest is refused */
    return e;
}

/* --- attempts until the deadline --- */

enum next { NEXT_END, NEXT_NODE, NEXT_LIE };

/* What an attempt's error means for the next one. */
static enum next after(const struct sending *s, enum err e)
{
    switch ((int)e) {
    case ERR_UNREACHABLE: return s->sent ? NEXT_NODE : NEXT_END; /* every node was tried */
    case ERR_CLOSED:
    case ERR_TIMEOUT:
    case ERR_CANCELED:
    case ERR_TRUNCATED:
    case ERR_TLS:
    case ERR_IO:
    case ERR_FULL:
    case ERR_LOG_FULL:
    case ERR_BUSY:
    case ERR_STOPPED:
    case ERR_CORRUPT:
    case ERR_CLOCK:
    case ERR_NO_QUORUM:
    case ERR_NOT_LEADER:
    case ERR_NOT_READY:
    case ERR_NOT_WITNESSED:
    case ERR_TOO_MANY_CONNECTIONS: return NEXT_NODE;
    case ERR_BAD_PROOF:
    case ERR_CHECKPOINT:
    case ERR_TOO_FEW_COSIGNATURES:
    case ERR_MALFORMED: return NEXT_LIE;
    /* It takes nothing until it is rebuilt; what another attempt came to before is another matter. */
    case ERR_QUARANTINED: return s->cluster->via && s->attempts == 1 ? NEXT_END : NEXT_NODE;
    /* The note's: cluster_connect has checked the node's own already. */
    case ERR_OTHER_CLUSTER: return s->claimed ? NEXT_LIE : NEXT_END;
    }
    return NEXT_END;
}

static void pause_before_next(struct sending *s)
{
    uint64_t ms = s->retry_after_ms ? s->retry_after_ms : PAUSE_MS;
    if (ms > PAUSE_MOST_MS) ms = PAUSE_MOST_MS;
    if (ms > left_ms(s)) ms = left_ms(s);
    s->retry_after_ms = 0;
    nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
}

/* A node that lies is named, and asked no more; ours to believe is none of them alone. */
static bool note_lie(struct sending *s, const struct failure *why)
{
    s->lie = *why;
    s->claimed = false;
    uint32_t nodes = s->cluster->via ? 1 : s->cluster->genesis.member_count;
    if (++s->lies >= nodes) return false;
    if (s->cluster->output) output_message(s->cluster->output, "%s; asking another node", why->text);
    return true;
}

/* A refusal has no leaf, so nothing proves it: b nodes can refuse what is all right, and what they had recorded first,
 * also a part of it. True: nobody else is to be asked. */
static bool is_refused(struct sending *s)
{
    uint32_t bit = UINT32_C(1) << s->cluster->member;
    bool again = s->refused & bit; /* no other is there */
    s->refused |= bit;
    return again || s->cluster->via || left_ms(s) == 0 ||
           (uint32_t)__builtin_popcount(s->refused) > s->cluster->genesis.faulty;
}

static enum err attempts(struct sending *s, struct failure *failure)
{
    struct failure before = {0};
    for (;;) {
        struct failure why = {0};
        s->attempts++;
        enum err e = attempt(s, &why);
        if (e == OK && (!s->said || is_refused(s))) return OK;
        if (e == OK) {
            cluster_drop(s->cluster);
            continue;
        }
        if (why.text[0] == '\0') fail(&why, e, "%s", err_text(e));
        why.code = e; /* never an error that reads as done */
        enum next next = after(s, e);
        if (next == NEXT_END && s->said && !is_refused(s)) {
            cluster_drop(s->cluster);
            continue;
        }
        if (next == NEXT_LIE && !note_lie(s, &why)) next = NEXT_END;
        if (next == NEXT_END || left_ms(s) == 0) {
            if (s->lies) why = s->lie;
            /* What a node said counts more than that there was no time left for the last one. */
            else if (e == ERR_TIMEOUT && before.code != OK) why = before;
            return fail(failure, why.code, "%s", why.text);
        }
        /* Not witnessed yet is no reason to leave the node; there PROVE is asked anew. */
        if (e != ERR_NOT_WITNESSED || s->cluster->via == 0) cluster_drop(s->cluster);
        if (next == NEXT_NODE) pause_before_next(s);
        before = why;
    }
}

/* --- the end --- */

/* After the deadline: what can be said about the operation. */
static enum err resolve(struct sending *s, const struct failure *last, struct failure *failure)
{
    char token[REQUEST_TOKEN_SIZE];
    struct found found;
    uint64_t tried_ms = (clock_monotonic_ns() - s->began_ns) / 1000000;
    const struct id *request = &s->out->request_ids[0];
    request_token_format(token, s->out->issued_at_ms, request);
    if (s->lies > 0) return fail(failure, s->lie.code, "%s", s->lie.text);
    if (s->claimed)
        return fail(failure, ERR_NOT_WITNESSED,
                    "recorded at %" PRIu64 ", not yet co-signed (%s); ask later: consilium lookup %s",
                    s->out->outcomes[0].index, last->text, token);
    s->cluster->give_up_ns = s->give_up_ns;
    enum err e = submit_lookup(&found, s->cluster, s->signer, s->out->issued_at_ms, request, NULL);
    if (e == OK && found.fate == FATE_RECORDED) {
        s->out->outcomes[0].index = found.index;
        return fail(failure, ERR_NOT_WITNESSED,
                    "recorded at %" PRIu64 ", not yet co-signed; ask later: consilium lookup %s", found.index, token);
    }
    if (e == OK && found.fate == FATE_NOT_RECORDED)
        return fail(failure, ERR_NO_QUORUM, "not recorded, and it will not be (%s); it is safe to do it again",
                    last->text);
    return fail(failure, ERR_NO_QUORUM,
                "no answer that %u nodes back within %" PRIu64 ".%" PRIu64 " s (%s). It is not known whether the "
                "request was recorded; before doing it again, ask: consilium lookup %s", s->cluster->genesis.quorum,
                tried_ms / 1000, tried_ms / 100 % 10, last->text, token);
}

static bool is_transient(const struct sending *s, enum err e) { return s->sent && after(s, e) == NEXT_NODE; }

enum err submit(struct submission *out, struct cluster *cluster, const struct signer *signer,
                const struct draft *drafts, uint32_t count, struct failure *failure)
{
    CHECK(signer->secrets != NULL);
    struct sending *s = xcalloc(1, sizeof *s);
    *s = (struct sending){.cluster = cluster, .signer = signer, .out = out};
    s->began_ns = clock_monotonic_ns();
    s->give_up_ns = cluster_deadline(cluster);
    uint32_t all_ms = cluster_left_ms(s->give_up_ns);
    s->end_ns = s->give_up_ns - (uint64_t)all_ms * 1000000 / LOOKUP_PART;
    s->patience_ms = all_ms / 10 * 6;
    cluster->give_up_ns = s->end_ns;
    s->applied = xcalloc(1, sizeof *s->applied);
    s->cosigned = xcalloc(1, sizeof *s->cosigned);
    s->hashes = xcalloc(LIMIT_PROOFS, sizeof *s->hashes);
    struct failure why = {0};
    enum err e = build(s, drafts, count, &why);
    if (e == OK) e = attempts(s, &why);
    CHECK((e == OK) == (why.code == OK));
    if (e == ERR_FULL && !s->sent) /* the node's disk, not this machine's */
        e = fail(failure, ERR_NO_QUORUM, "not recorded, as the node says that was asked: %s", why.text);
    else if (e != OK)
        e = is_transient(s, e) ? resolve(s, &why, failure) : fail(failure, why.code, "%s", why.text);
    cluster->give_up_ns = 0;
    request_builder_free(&s->builder);
    buffer_free(&s->applied_body);
    free(s->hashes);
    free(s->cosigned);
    free(s->applied);
    free(s);
    return e;
}

void submission_free(struct submission *s)
{
    for (uint32_t i = 0; i < LIMIT_OPERATIONS; i++) {
        buffer_free(&s->outcomes[i].answer);
        buffer_free(&s->outcomes[i].receipt);
    }
    buffer_free(&s->request);
    *s = (struct submission){0};
}

enum err submit_again(struct cluster *cluster, const struct submission *s, struct failure *failure)
{
    uint64_t id;
    struct frame frame;
    enum err e = send_request(cluster, &id, buffer_bytes(&s->request), failure);
    if (e == OK) e = cluster_receive(cluster, &frame, id, cluster_answer_ms(cluster), NULL, failure);
    return e == ERR_DUPLICATE ? OK : e;
}

/* --- looking up --- */

void request_token_format(char out[static REQUEST_TOKEN_SIZE], uint64_t issued_at_ms, const struct id *request)
{
    char id[ID_TEXT_SIZE];
    id_format(id, request);
    snprintf(out, REQUEST_TOKEN_SIZE, "%" PRIu64 "-%s", issued_at_ms, id);
}

enum err request_token_parse(uint64_t *issued_at_ms, struct id *request, const char *text)
{
    char *end;
    if (text[0] < '0' || text[0] > '9') return ERR_INVALID;
    unsigned long long ms = strtoull(text, &end, 10);
    if (*end != '-' || ms > TIME_MAX_MS) return ERR_INVALID;
    *issued_at_ms = ms;
    return id_parse(request, end + 1);
}

/* One node, by `end_ns`; at least long enough for a node that is awake. */
static enum err lookup_at(struct message_found *out, struct cluster *cluster, uint32_t member, uint64_t end_ns,
                          struct bytes question)
{
    uint64_t id, now, wait_ms;
    struct frame frame = {0};
    enum err e;
    cluster->give_up_ns = end_ns;
    for (;;) { /* a node answers a few at once, and says when to come again */
        now = clock_monotonic_ns();
        uint32_t most = now < end_ns ? (uint32_t)((end_ns - now) / 1000000) : 0;
        wait_ms = 0;
        e = cluster_connect_to(cluster, member, NULL);
        if (e == OK) e = cluster_send(cluster, &id, MESSAGE_LOOKUP, question, NULL);
        if (e == OK) e = cluster_receive(cluster, &frame, id, most > 50 ? most : 50, &wait_ms, NULL);
        if (e != ERR_BUSY || wait_ms == 0 || wait_ms >= most) break;
        nanosleep(&(struct timespec){(time_t)(wait_ms / 1000), (long)(wait_ms % 1000) * 1000000}, NULL);
    }
    if (e == OK && frame.type != MESSAGE_FOUND) e = ERR_UNEXPECTED;
    return e == OK ? message_found_decode(out, frame.body) : e;
}

enum err submit_lookup(struct found *out, struct cluster *cluster, const struct signer *signer,
                       uint64_t issued_at_ms, const struct id *request, struct failure *failure)
{
    struct buffer question = {0};
    message_lookup_encode(&question, &(struct message_lookup){ACTOR_USER, signer->user, issued_at_ms, *request});
    CHECK(!question.failed);
    *out = (struct found){.fate = FATE_UNKNOWN};
    uint32_t answers = 0, past = 0, members = cluster->genesis.member_count;
    uint64_t before = cluster->give_up_ns, end = before ? before : cluster_deadline(cluster);
    for (uint32_t m = 1; m <= members && out->fate != FATE_RECORDED; m++) {
        struct message_found found;
        uint64_t now = clock_monotonic_ns(), left = now < end ? end - now : 0;
        /* a silent node leaves time for the others */
        uint64_t turn = now + left / (cluster->via ? 1 : members - m + 1);
        if ((cluster->via && cluster->via != m) ||
            lookup_at(&found, cluster, m, turn, buffer_bytes(&question)) != OK)
            continue;
        answers++;
        if (found.found)
            *out = (struct found){FATE_RECORDED, found.leaf_index,        found.decision,
                                  found.reason,  found.witnessed_time_ms, m};
        else if (found.witnessed_time_ms > issued_at_ms + LIMIT_SKEW_MS)
            past++;
    }
    cluster->give_up_ns = before;
    buffer_free(&question);
    if (answers == 0) return fail(failure, ERR_UNREACHABLE, "no node answers");
    /* b of them may lie, or lag behind: one more than that must say so. */
    if (out->fate == FATE_UNKNOWN && past > cluster->genesis.faulty) out->fate = FATE_NOT_RECORDED;
    return OK;
}
