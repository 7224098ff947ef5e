/* A node's statement of its state (ledger/state_digest.h): what decodes comes back byte
 * for byte, is no other node's word, and can be compared with a true one. */
#include <string.h>

#include "base/check.h"
#include "ledger/genesis.h"
#include "ledger/state_digest.h"
#include "ledger/tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void compare(const struct state_statement *s)
{
    struct state_statement own = {.member = 1, .leaf = 3, .size = 5};
    struct buffer names = {0};
    const struct state_statement *list[LIMIT_NODES + 1] = {NULL};
    struct state_comparison c;
    own.digest.count = 1;
    own.digest.tables[0] = (struct table_digest){.table = TABLE_USER, .rows = 2};
    list[1] = &own, list[2] = s;
    state_compare(&c, list, 4, 3);
    bool same = state_statement_same(&own, s);
    CHECK(!c.agreed && c.model == 1 && c.equal == (same ? 2u : 1u));
    CHECK(c.computed == (s->outcome == STATE_COMPUTED ? 2u : 1u));
    state_differences(&names, &own, s);
    CHECK(!names.failed && (names.size > 0 || same || (s->leaf != own.leaf && s->size == own.size)));
    buffer_free(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state_statement s;
    struct buffer out = {0};
    static struct genesis nobody; /* no member: no signature is right */
    if (state_statement_decode(&s, bytes_of(data, size)) != OK) return 0;
    CHECK(s.member >= 1 && s.member <= LIMIT_NODES && s.digest.count <= STATE_DIGEST_TABLES && s.size > s.leaf);
    CHECK(s.outcome == STATE_COMPUTED || s.digest.count == 0);
    CHECK(state_statement_verify(&s, &nobody) == ERR_BAD_SIGNATURE);
    CHECK(state_outcome_text(s.outcome)[0]);
    compare(&s);
    state_statement_encode(&out, &s);
    CHECK(!out.failed && bytes_equal(buffer_bytes(&out), bytes_of(data, size)));
    buffer_free(&out);
    return 0;
}
