/* Decode a message of catching up and encode it again, as tests/lib/recode.h does. */
#ifndef TESTS_LIB_RECODE_CATCHUP_H
#define TESTS_LIB_RECODE_CATCHUP_H

#include <stdlib.h>

#include "base/check.h"
#include "consensus/catchup_messages.h"

#define RECODE_CATCHUP(X) X(offer) X(manifest_ask) X(manifest) X(pull) X(attachments_ask)

#define X(name)                                                                                    \
    static inline enum err recode_##name(struct buffer *out, struct bytes in)                      \
    {                                                                                              \
        struct name m;                                                                             \
        enum err e = name##_decode(&m, in);                                                        \
        if (e == OK) name##_encode(out, &m);                                                       \
        return e;                                                                                  \
    }
RECODE_CATCHUP(X)
#undef X

static inline enum err recode_pulled(struct buffer *out, struct bytes in)
{
    struct pulled *p = xcalloc(1, sizeof *p);
    struct buffer leaves = {0};
    enum err e = pulled_decode(p, in);
    for (uint32_t i = 0; e == OK && i < p->count; i++)
        pulled_add_leaf(&leaves, p->leaves[i]);
    if (e == OK) pulled_encode(out, p, buffer_bytes(&leaves));
    buffer_free(&leaves);
    free(p);
    return e;
}

static inline enum err recode_attached(struct buffer *out, struct bytes in)
{
    struct attached *a = xcalloc(1, sizeof *a);
    struct buffer items = {0};
    enum err e = attached_decode(a, in);
    for (uint32_t i = 0; e == OK && i < a->count; i++)
        attached_add(&items, a->states[i], a->attachments[i]);
    if (e == OK) attached_encode(out, a->count, buffer_bytes(&items));
    buffer_free(&items);
    free(a);
    return e;
}

#endif
