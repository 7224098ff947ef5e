#include "cli/audit_content.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli/leaf_words.h"
#include "ledger/fields.h"

static bool is_looked_at(const struct content_node *n) { return n->audit->verdict == AUDIT_FINE; }

/* Who can't be reached, or is busy, has said nothing; what is no such excuse is a finding about the node. */
static enum audit_verdict verdict_of(enum err e)
{
    if (source_silent(e)) return AUDIT_SILENT;
    return e == ERR_QUARANTINED ? AUDIT_QUARANTINED : AUDIT_REFUSED;
}

static void give_up(struct content_node *n, const struct failure *why)
{
    const char *text = why->text[0] ? why->text : err_text(why->code);
    n->audit->verdict = verdict_of(why->code);
    finding_set(&n->audit->finding, why->code, 0, "%s%s",
                n->audit->verdict == AUDIT_REFUSED ? "what it stores beside its entries can't be compared: " : "",
                text);
    n->audit->finding.located = false;
}

/* --- what a node says of one block --- */

/* A page that begins at `from`. False: the node is not looked at any more. */
static bool ask(struct content_node *n, struct stored_page *page, uint64_t from, uint64_t to, bool listed)
{
    struct failure why = {0};
    uint32_t waited_ms = 0;
    enum err e;
    /* Its synced state may lag behind its ledger. */
    while ((e = n->source->stored(n->source->data, page, from, to, listed, &why)) == ERR_NOT_READY &&
           n->source->wait(n->source->data, waited_ms))
        waited_ms += SOURCE_WAIT_MS;
    if (e == OK && (page->next <= from || page->next > to ||
                    (listed && page->count > 0 && page->items[0].index < from)))
        e = fail(&why, ERR_MALFORMED, "%s answered about other entries than it was asked for", n->source->name);
    if (e != OK) give_up(n, &why);
    return e == OK;
}

/* All hashes of a block. */
static void list(struct content_node *n, uint64_t from, uint64_t to)
{
    struct stored_page page;
    n->block->count = 0;
    for (; from < to && ask(n, &page, from, to, true); from = page.next) {
        if (page.count > CONTENT_BLOCK - n->block->count) {
            give_up(n, &(struct failure){.code = ERR_MALFORMED, .text = "it lists more than there are entries"});
            return;
        }
        if (page.count > 0)
            memcpy(n->block->items + n->block->count, page.items, page.count * sizeof *page.items);
        n->block->count += page.count;
    }
}

/* Of a sorted block: where the first one is that is at `index` or behind. */
static uint32_t position(const struct content_hashes *block, uint64_t index)
{
    uint32_t low = 0, high = block->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (block->items[middle].index < index)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static const struct stored_hash *find(const struct content_hashes *block, uint64_t index)
{
    uint32_t at = position(block, index);
    return at < block->count && block->items[at].index == index ? &block->items[at] : NULL;
}

/* Whether the sums of what it stores are those of what the ledger says. */
static bool sums_fit(struct content_node *n, const struct content_hashes *right, uint64_t from, uint64_t to)
{
    struct stored_page page;
    struct digest sum;
    for (; from < to; from = page.next) {
        if (!ask(n, &page, from, to, false)) return true; /* nothing is left to compare */
        uint32_t first = position(right, from), count = position(right, page.next) - first;
        message_stored_sum(&sum, right->items + first, count);
        if (page.count != count || !digest_equal(&page.sum, &sum)) return false;
    }
    return true;
}

/* --- one leaf --- */

static void blame(struct content_node *n, uint64_t index, const struct digest *right, const struct stored_hash *stored)
{
    static const struct digest unreadable;
    struct finding *f = &n->audit->finding;
    char hex[65];
    n->audit->verdict = AUDIT_CONTENT;
    if (!stored)
        finding_set(f, ERR_NOT_FOUND, index,
                    "it does not store what belongs to entry %" PRIu64 ", though another node does: "
                    "it was removed there, or has not been fetched", index);
    else if (digest_equal(&stored->hash, &unreadable))
        finding_set(f, ERR_CORRUPT, index, "what it stores for entry %" PRIu64 " can't be read there any more", index);
    else
        finding_set(f, ERR_ATTACHMENT, index,
                    "what it stores for entry %" PRIu64 " was altered: it is not what the ledger "
                    "says", index);
    f->located = true;
    hex_format(hex, right->bytes, sizeof right->bytes);
    snprintf(f->expected, sizeof f->expected, "hash %s", hex);
    if (stored) hex_format(hex, stored->hash.bytes, sizeof stored->hash.bytes);
    snprintf(f->found, sizeof f->found, "%s%s", stored ? "hash " : "nothing", stored ? hex : "");
}

static void compare(struct content_node *nodes, uint32_t count, uint64_t index, const struct digest *right)
{
    bool somewhere = false;
    for (uint32_t i = 0; i < count; i++) {
        if (!is_looked_at(&nodes[i])) continue;
        const struct stored_hash *stored = find(nodes[i].block, index);
        if (stored && !digest_equal(&stored->hash, right))
            blame(&nodes[i], index, right, stored);
        else if (stored)
            somewhere = true, nodes[i].compared++;
    }
    for (uint32_t i = 0; somewhere && i < count; i++)
        if (is_looked_at(&nodes[i]) && !find(nodes[i].block, index)) blame(&nodes[i], index, right, NULL);
}

/* --- all of them --- */

/* What the ledger says. */
static enum err fill(struct content_hashes *right, struct verifier *v, uint64_t from, uint64_t to,
                     struct failure *failure)
{
    right->count = 0;
    for (uint64_t index = from; index < to; index++) {
        struct stored_hash *item = &right->items[right->count];
        enum err e = verifier_attachment(&item->hash, v, index, failure);
        if (e != OK) return e;
        item->index = index;
        right->count += !digest_is_zero(&item->hash);
    }
    return OK;
}

static void compare_block(struct content_node *nodes, uint32_t count, const struct content_hashes *right,
                          uint64_t from, uint64_t to)
{
    bool fit = true;
    for (uint32_t i = 0; fit && i < count; i++)
        if (is_looked_at(&nodes[i])) fit = sums_fit(&nodes[i], right, from, to);
    for (uint32_t i = 0; i < count; i++) {
        if (!is_looked_at(&nodes[i])) continue;
        if (fit)
            nodes[i].compared += right->count;
        else
            list(&nodes[i], from, to);
    }
    for (uint32_t i = 0; !fit && i < right->count; i++)
        compare(nodes, count, right->items[i].index, &right->items[i].hash);
}

static bool any_left(const struct content_node *nodes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (is_looked_at(&nodes[i])) return true;
    return false;
}

enum err audit_contents(struct content_node *nodes, uint32_t count, struct verifier *v, const struct audit_known *known,
                        struct failure *failure)
{
    enum err e = OK;
    uint64_t size = known->reference.size;
    CHECK(size <= verifier_size(v));
    struct content_hashes *right = malloc(sizeof *right);
    bool memory = right != NULL;
    for (uint32_t i = 0; memory && i < count; i++)
        memory = (nodes[i].block = malloc(sizeof *nodes[i].block)) != NULL;
    if (!memory) e = fail(failure, ERR_NOMEM, "no memory for comparing what nodes store");
    for (uint64_t from = 0; e == OK && from < size && any_left(nodes, count); from += CONTENT_BLOCK) {
        uint64_t to = size - from < CONTENT_BLOCK ? size : from + CONTENT_BLOCK;
        e = fill(right, v, from, to, failure);
        if (e == OK) compare_block(nodes, count, right, from, to);
        if (known->progress) known->progress(known->data, "content", to, size);
    }
    for (uint32_t i = 0; i < count; i++) {
        free(nodes[i].block);
        nodes[i].block = NULL;
    }
    free(right);
    return e;
}
