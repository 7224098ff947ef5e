/* CONTENTS: capsules and ciphertexts of what a read opens. */
#include <stdlib.h>

#include "base/bytes.h"
#include "ledger/tables.h"
#include "node/release_internal.h"

/* As many items as fit into LIMIT_ANSWER, at least one. An erased item is there, empty. */
struct page {
    struct message_item *items;
    struct buffer *ciphertexts;
    uint32_t count;
    size_t bytes;
};

/* Content that is erased is absent for good; content that is on its way to a node which
 * catches up is not: another node serves meanwhile. */
static enum err absent(struct table_txn *txn, uint64_t content)
{
    uint8_t key[8];
    put_be64(key, content);
    enum err e = table_exists(txn, TABLE_MISSING, BYTES(key));
    return e == OK ? ERR_NOT_READY : e == ERR_NOT_FOUND ? OK : e;
}

static enum err page_add(struct page *page, struct opening *o, struct table_txn *txn)
{
    uint32_t i = page->count;
    struct content_info *info = &o->infos[i];
    size_t position = o->first + i;
    enum err e = release_info(info, txn, &o->release, position);
    if (e == OK) e = release_ciphertext(&page->ciphertexts[i], txn, &o->release, position, info);
    o->present[i] = e == OK;
    if (e == OK) {
        page->items[i] = (struct message_item){bytes_of(info->context, info->context_size),
                                               bytes_of(info->capsule, info->capsule_size),
                                               buffer_bytes(&page->ciphertexts[i])};
        page->bytes += info->context_size + info->capsule_size + page->ciphertexts[i].size + 16;
    } else if (e == ERR_NOT_FOUND) {
        page->items[i] = (struct message_item){{0}};
        e = absent(txn, o->release.items[position].content);
    }
    return e;
}

static enum err page_fill(struct page *page, struct opening *o, struct table_txn *txn)
{
    enum err e = OK;
    while (e == OK && page->count < o->count) {
        e = page_add(page, o, txn);
        if (e != OK || (page->count > 0 && page->bytes > LIMIT_ANSWER)) break;
        page->count++;
    }
    return e;
}

enum err contents_load(struct buffer *out, struct opening *o, struct table_txn *txn)
{
    uint32_t most = o->count;
    struct page page = {.items = calloc(most + 1, sizeof *page.items),
                        .ciphertexts = calloc(most + 1, sizeof *page.ciphertexts)};
    enum err e = page.items && page.ciphertexts ? page_fill(&page, o, txn) : ERR_NOMEM;
    o->count = page.count;
    out->limit = LIMIT_FRAME;
    if (e == OK)
        message_contents_encode(out, &(struct message_contents){.first = o->first, .count = page.count,
                                                                .items = page.items});
    for (uint32_t i = 0; page.ciphertexts && i < most; i++)
        buffer_free(&page.ciphertexts[i]);
    free(page.items);
    free(page.ciphertexts);
    return e;
}
