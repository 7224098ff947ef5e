#include "cli/ledger_node.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "ledger/arguments.h"
#include "ledger/leaf.h"

#define CHUNK 256u         /* leaves unpacked at once */
#define TRIES 3            /* of one question to a node that has answered before, with new connections */
#define PASS_MS 240000     /* nodes take one of the last 5 minutes */
#define BUSY_TRIES 50      /* a busy node is asked again for that often */
#define PAUSE_MS 200

static void sleep_ms(uint32_t ms)
{
    nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
}

void export_pass_free(struct export_pass *pass)
{
    submission_free(&pass->submission);
    pass->made = false;
}

/* One answer. The body is a view until the next call. */
static enum err receive(struct ledger_node *n, struct frame *out, uint64_t id, enum message_type expected,
                        struct failure *failure)
{
    enum err e = cluster_receive(&n->cluster, out, id, n->cluster.timeout_ms, NULL, failure);
    if (e == ERR_TIMEOUT) cluster_drop(&n->cluster); /* what comes later is nobody's */
    if (e != OK || out->type == expected) return e;
    return fail(failure, ERR_UNEXPECTED, "%s answered with a message of type %u", n->source.name, out->type);
}

/* --- being let in --- */

enum err export_pass_make(struct export_pass *pass, struct failure *failure)
{
    struct tool *t = pass->tool;
    struct buffer args = {0};
    export_pass_free(pass);
    args_ledger_export_encode(&args, &(struct args_ledger_export){.from = pass->from, .to = pass->to});
    struct draft draft = {.action = ACTION_LEDGER_EXPORT, .args = buffer_bytes(&args), .purpose = pass->purpose};
    cluster_renew(&t->cluster); /* it may be another pass, minutes after the first */
    enum err e = tool_submit(t, &pass->submission, &draft);
    buffer_free(&args);
    if (e != OK && failure != &t->failure) fail(failure, e, "%s", t->failure.text);
    if (e != OK) return e;
    pass->made = true;
    pass->index = pass->submission.outcomes[0].index;
    return OK;
}

static bool pass_holds(const struct export_pass *pass)
{
    return pass->made && clock_wall_ms() < pass->submission.issued_at_ms + PASS_MS;
}

enum err ledger_node_reach(struct ledger_node *n, struct failure *failure)
{
    if (!n->cluster.client) n->admitted = n->ahead = false;
    enum err e = cluster_connect_to(&n->cluster, n->member, failure);
    if (e == OK) n->reached = true;
    return e;
}

/* The pass is an entry that anybody may have been shown: this identity signs that it asks this node. */
static enum err show_pass(struct ledger_node *n, struct failure *failure)
{
    const struct export_pass *pass = n->pass;
    const struct genesis *genesis = &n->cluster.genesis;
    struct message_admit m = {.actor = pass->tool->signer.user, .issued_at_ms = pass->submission.issued_at_ms,
                              .request = pass->submission.request_ids[0]};
    struct buffer text = {0}, body = {0};
    struct frame answer;
    uint64_t id;
    message_admit_signing(&text, &genesis->cluster, &genesis_member(genesis, n->member)->id, &m);
    CHECK(!text.failed);
    sign_message(&m.signature, &pass->tool->signer.secrets->sign, buffer_bytes(&text));
    message_admit_encode(&body, &m);
    CHECK(!body.failed);
    enum err e = cluster_send(&n->cluster, &id, MESSAGE_ADMIT, buffer_bytes(&body), failure);
    if (e == OK) e = receive(n, &answer, id, MESSAGE_ADMITTED, failure);
    buffer_free(&text);
    buffer_free(&body);
    /* An older release takes the signed operation itself for it. */
    return e == ERR_UNKNOWN_TYPE ? submit_again(&n->cluster, &pass->submission, failure) : e;
}

enum err ledger_node_admit(struct ledger_node *n, struct failure *failure)
{
    enum err e = ledger_node_reach(n, failure);
    if (e != OK || n->admitted) return e;
    if (!pass_holds(n->pass)) e = export_pass_make(n->pass, failure);
    if (e == OK) e = show_pass(n, failure);
    if (e == ERR_UNKNOWN_ACTOR) /* of whom k nodes have approved the export: that is no finding about its ledger */
        e = fail(failure, ERR_NOT_READY, "%s does not know who asks: it has to catch up with the others first",
                 n->source.name);
    n->admitted = e == OK && n->cluster.client != NULL;
    n->ahead = false;
    return e;
}

/* --- asking --- */

static enum err ask_once(struct ledger_node *n, struct frame *out, bool admitted, enum message_type type,
                         struct bytes body, enum message_type expected, struct failure *failure)
{
    uint64_t id;
    enum err e = admitted ? ledger_node_admit(n, failure) : ledger_node_reach(n, failure);
    if (e == OK) e = cluster_send(&n->cluster, &id, type, body, failure);
    return e == OK ? receive(n, out, id, expected, failure) : e;
}

/* Whether the question is to be asked once more, after a pause. */
static bool try_again(struct ledger_node *n, enum err e, uint32_t *tries, uint32_t *busy)
{
    if (e == ERR_UNAUTHORIZED && *tries == 0) { /* the pass came too late to be known */
        n->admitted = false;
        n->pass->made = false;
        return ++*tries < TRIES;
    }
    if (!source_silent(e) || !n->reached) return false;
    bool connected = n->cluster.client != NULL;
    if (connected ? ++*busy >= BUSY_TRIES : ++*tries >= TRIES) return false;
    sleep_ms(connected ? PAUSE_MS / 2 : PAUSE_MS);
    return true;
}

static enum err ask(struct ledger_node *n, struct frame *out, bool admitted, enum message_type type,
                    struct bytes body, enum message_type expected, struct failure *failure)
{
    uint32_t tries = 0, busy = 0;
    enum err e;
    n->ahead = false; /* an answer that comes while another one is waited for is passed over */
    do e = ask_once(n, out, admitted, type, body, expected, failure);
    while (e != OK && try_again(n, e, &tries, &busy));
    return e;
}

/* --- pages: the next one is asked for while the last one is worked on --- */

static void encode_page(struct buffer *out, const struct page_question *q)
{
    if (q->type == MESSAGE_LEAVES)
        message_leaves_encode(out, &(struct message_leaves){q->from, (uint32_t)q->to});
    else
        message_stored_encode(out, &(struct message_stored){q->from, q->to, q->listed});
    CHECK(!out->failed);
}

/* The answer to what was asked ahead, if it was this. */
static bool receive_ahead(struct ledger_node *n, struct frame *out, const struct page_question *q,
                          enum message_type expected)
{
    bool same = n->ahead && n->cluster.client && n->next.type == q->type && n->next.from == q->from &&
                n->next.to == q->to && n->next.listed == q->listed;
    n->ahead = false;
    return same && receive(n, out, n->ahead_id, expected, NULL) == OK;
}

static void ask_ahead(struct ledger_node *n, const struct page_question *q)
{
    struct buffer body = {0};
    if (!n->cluster.client) return;
    encode_page(&body, q);
    n->ahead = cluster_send(&n->cluster, &n->ahead_id, q->type, buffer_bytes(&body), NULL) == OK;
    n->next = *q;
    buffer_free(&body);
}

static enum err ask_page(struct ledger_node *n, struct frame *out, const struct page_question *q,
                         enum message_type expected, struct failure *failure)
{
    struct buffer body = {0};
    enum err e = OK;
    uint64_t begun_ms = clock_monotonic_ns() / 1000000;
    if (!patience_over(&n->patience) && !receive_ahead(n, out, q, expected)) {
        encode_page(&body, q);
        e = ask(n, out, true, q->type, buffer_bytes(&body), expected, failure);
        buffer_free(&body);
    }
    patience_spend(&n->patience, clock_monotonic_ns() / 1000000 - begun_ms, 0);
    if (!patience_over(&n->patience)) return e;
    return fail(failure, ERR_TIMEOUT,
                "%s gives its ledger too slowly, less than %u entries a second: use another node, or look for what "
                "holds this one up", n->source.name, PATIENCE_LEAST);
}

/* --- leaves --- */

static enum err page_trouble(struct ledger_node *n, enum err e, struct failure *failure)
{
    n->left = 0;
    if (e == ERR_NOMEM) return fail(failure, e, "no memory for a page of the ledger");
    return fail(failure, e, "%s sent a page of the ledger that can't be read: %s", n->source.name, err_text(e));
}

static enum err take_answer(struct ledger_node *n, const struct frame *answer, uint64_t from, struct failure *failure)
{
    struct message_leaves_ok m;
    n->left = 0;
    buffer_clear(&n->page);
    buffer_clear(&n->packed);
    enum err e = message_leaves_ok_decode(&m, answer->body);
    if (e == OK && m.from != from) e = ERR_UNEXPECTED;
    if (e == OK) buffer_append_bytes(&n->packed, m.packed);
    if (n->packed.failed) e = ERR_NOMEM;
    if (e != OK) return page_trouble(n, e, failure);
    n->unpacker = leaf_unpack_start(buffer_bytes(&n->packed));
    n->at = from;
    n->ledger_size = m.ledger_size;
    n->left = m.count;
    patience_spend(&n->patience, 0, m.count);
    return OK;
}

static enum err take_leaves(struct ledger_node *n, struct leaf_page *out, uint32_t most, struct failure *failure)
{
    uint32_t count = n->left < CHUNK ? n->left : CHUNK;
    if (count > most) count = most;
    enum err e = leaf_unpack_next(&n->unpacker, &n->page, n->leaves, count);
    if (e == OK && count == n->left) e = leaf_unpack_done(&n->unpacker);
    if (e != OK) return page_trouble(n, e, failure);
    *out = (struct leaf_page){.count = count, .leaves = n->leaves, .ledger_size = n->ledger_size};
    n->at += count;
    n->left -= count;
    return OK;
}

static enum err node_leaves(void *data, struct leaf_page *out, uint64_t from, uint32_t most, struct failure *failure)
{
    struct ledger_node *n = data;
    struct page_question q = {.type = MESSAGE_LEAVES, .from = from, .to = most};
    struct frame answer;
    if (n->left > 0 && n->at == from) return take_leaves(n, out, most, failure);
    enum err e = ask_page(n, &answer, &q, MESSAGE_LEAVES_OK, failure);
    if (e == OK) e = take_answer(n, &answer, from, failure);
    if (e != OK) return e;
    q.from = from + n->left;
    if (n->left > 0 && q.from < n->ledger_size) ask_ahead(n, &q);
    return take_leaves(n, out, most, failure);
}

/* --- the rest --- */

static enum err node_checkpoint(void *data, struct buffer *note, struct failure *failure)
{
    struct ledger_node *n = data;
    struct frame answer;
    struct message_note m;
    struct buffer question = {0};
    message_empty_encode(&question);
    enum err e = ask(n, &answer, false, MESSAGE_CHECKPOINT, buffer_bytes(&question), MESSAGE_NOTE, failure);
    buffer_free(&question);
    if (e != OK) return e;
    e = message_note_decode(&m, answer.body);
    if (e == OK) buffer_append_bytes(note, m.note);
    return e == OK ? OK : fail(failure, e, "%s sent a checkpoint that can't be read: %s", n->source.name, err_text(e));
}

static enum err node_consistency(void *data, struct tree_proof *out, uint64_t old_size, uint64_t new_size,
                                 struct failure *failure)
{
    struct ledger_node *n = data;
    struct frame answer;
    struct message_consistent m;
    struct buffer question = {0};
    message_consistency_encode(&question, &(struct message_consistency){old_size, new_size});
    enum err e = ask(n, &answer, false, MESSAGE_CONSISTENCY, buffer_bytes(&question), MESSAGE_CONSISTENT, failure);
    buffer_free(&question);
    if (e != OK) return e;
    e = message_consistent_decode(&m, answer.body);
    if (e == OK && m.count > sizeof out->hashes / sizeof out->hashes[0]) e = ERR_BAD_PROOF;
    out->count = 0;
    for (uint32_t i = 0; e == OK && i < m.count; i++) out->hashes[out->count++] = m.hashes[i];
    return e == OK ? OK : fail(failure, e, "%s sent a proof that can't be read: %s", n->source.name, err_text(e));
}

/* The rest of what was asked for comes next, or as much again: there is no more to fetch than leaves, so what is asked
 * for beyond them is refused, and costs nothing. */
static enum err node_stored(void *data, struct stored_page *out, uint64_t from, uint64_t to, bool listed,
                            struct failure *failure)
{
    struct ledger_node *n = data;
    struct page_question q = {MESSAGE_STORED, from, to, listed};
    struct frame answer;
    struct message_stored_ok m;
    enum err e = ask_page(n, &answer, &q, MESSAGE_STORED_OK, failure);
    if (e != OK) return e;
    e = message_stored_ok_decode(&m, n->stored, LIMIT_STORED, answer.body);
    if (e == OK && listed && !m.items && m.count > 0) e = ERR_UNEXPECTED;
    if (e != OK) return fail(failure, e, "%s sent hashes that can't be read: %s", n->source.name, err_text(e));
    *out = (struct stored_page){m.next, m.count, m.sum, listed ? m.items : NULL};
    if (m.next <= from || m.next > to) return OK;
    patience_spend(&n->patience, 0, m.next - from);
    q.from = m.next;
    if (m.next == to) q.to = to + LIMIT_STORED;
    ask_ahead(n, &q);
    return OK;
}

static bool node_wait(void *data, uint32_t waited_ms)
{
    const struct ledger_node *n = data;
    if (waited_ms >= n->cluster.timeout_ms) return false;
    sleep_ms(SOURCE_WAIT_MS);
    return true;
}

enum err ledger_node_tile(struct ledger_node *n, struct digest hashes[static TILE_WIDTH], const struct tile *tile,
                          struct failure *failure)
{
    struct frame answer;
    struct message_tile_ok m;
    struct buffer question = {0};
    message_tile_encode(&question, &(struct message_tile){tile->level, tile->index, tile->width});
    enum err e = ask(n, &answer, false, MESSAGE_TILE, buffer_bytes(&question), MESSAGE_TILE_OK, failure);
    buffer_free(&question);
    if (e != OK) return e;
    e = message_tile_ok_decode(&m, answer.body);
    if (e == OK && m.hashes.size != tile->width * sizeof *hashes) e = ERR_MALFORMED;
    if (e == OK) memcpy(hashes, m.hashes.data, m.hashes.size);
    return e == OK ? OK : fail(failure, e, "%s sent a tile that can't be read: %s", n->source.name, err_text(e));
}

enum err ledger_node_evidence(struct ledger_node *n, struct message_evidence_ok *out, struct bytes *items,
                              size_t capacity, struct failure *failure)
{
    struct frame answer;
    struct buffer question = {0};
    message_empty_encode(&question);
    enum err e = ask(n, &answer, true, MESSAGE_EVIDENCE, buffer_bytes(&question), MESSAGE_EVIDENCE_OK, failure);
    buffer_free(&question);
    if (e != OK) return e;
    e = message_evidence_ok_decode(out, items, capacity, answer.body);
    return e == OK ? OK : fail(failure, e, "%s sent evidence that can't be read: %s", n->source.name, err_text(e));
}

/* --- opening --- */

enum err ledger_node_open(struct ledger_node *n, struct export_pass *pass, uint32_t member, struct failure *failure)
{
    struct tool *t = pass->tool;
    const char *name = cluster_member_name(&t->cluster, member);
    cluster_watch(&t->cluster);
    *n = (struct ledger_node){.pass = pass, .member = member, .patience = patience_begin()};
    n->source = (struct ledger_source){name, n, node_leaves, node_checkpoint, node_consistency, node_stored,
                                       node_wait};
    n->page.limit = LIMIT_ANSWER + LIMIT_LEAF_0; /* with the leaf before */
    n->packed.limit = LIMIT_FRAME;
    n->leaves = calloc(CHUNK, sizeof *n->leaves);
    n->stored = calloc(LIMIT_STORED, sizeof *n->stored);
    if (!n->leaves || !n->stored) return fail(failure, ERR_NOMEM, "no memory for the verification");
    return cluster_open(&n->cluster, t->settings.values[SETTING_CLUSTER], name, t->cluster.timeout_ms, &t->output,
                        failure);
}

void ledger_node_close(struct ledger_node *n)
{
    cluster_close(&n->cluster);
    buffer_free(&n->page);
    buffer_free(&n->packed);
    free(n->leaves);
    free(n->stored);
    *n = (struct ledger_node){0};
}
