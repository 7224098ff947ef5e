#include "cli/ledger_source.h"

bool source_silent(enum err e)
{
    switch ((int)e) {
    case ERR_UNREACHABLE:
    case ERR_CLOSED:
    case ERR_TIMEOUT:
    case ERR_CANCELED:
    case ERR_TLS:
    case ERR_ALPN:
    case ERR_NOT_TLS:
    case ERR_HANDSHAKE_TIMEOUT:
    case ERR_IDLE:
    case ERR_SLOW_READER:
    case ERR_NOMEM: /* there or here: no word about its ledger */
    case ERR_BUSY:
    case ERR_STOPPED:
    case ERR_NOT_READY:
    case ERR_NO_QUORUM:
    case ERR_TOO_MANY_CONNECTIONS: return true;
    }
    return false;
}

/* A source that answers with less than asked for has said all it has to say. */
static enum walk_end take_page(struct walk *w, const struct leaf_page *page, struct failure *failure)
{
    bool stop = false;
    enum err e = w->take(w->data, page, w->at, &stop, failure);
    if (e != OK) return WALK_FAILED;
    w->at += page->count;
    return stop ? WALK_STOPPED : WALK_DONE;
}

enum walk_end walk_leaves(struct walk *w, struct failure *failure)
{
    uint32_t most = LIMIT_LEAVES;
    while (w->at < w->to) {
        struct leaf_page page = {0};
        uint64_t left = w->to - w->at;
        uint32_t asked = left < most ? (uint32_t)left : most;
        enum err e = w->source->leaves(w->source->data, &page, w->at, asked, failure);
        if (source_silent(e)) return WALK_SILENT;
        if (e == OK && page.count == 0 && page.ledger_size <= w->at) return WALK_SHORT;
        if (e == OK && page.count == 0)
            e = fail(failure, ERR_NOT_FOUND, "it says that it has %llu entries, but gives none from %llu on",
                     (unsigned long long)page.ledger_size, (unsigned long long)w->at);
        if (e == OK && page.count > asked) e = fail(failure, ERR_MALFORMED, "it sent more entries than were asked for");
        if (e != OK && asked == 1) return WALK_HOLE;
        if (e != OK) {
            most = asked / 2;
            continue;
        }
        enum walk_end end = take_page(w, &page, failure);
        if (end != WALK_DONE) return end;
    }
    return WALK_DONE;
}
