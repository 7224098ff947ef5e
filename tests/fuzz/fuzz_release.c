/* What members ask of each other's shares, and give: a question that decodes comes back byte for byte, and an answer
 * that nobody waits for does nothing. The first byte chooses. */
#include "node/release.c" /* its decoders are its own */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct bytes in)
{
    struct message_shares m;
    struct buffer out = {0};
    if (decode_ask(&m, in) != OK) return;
    CHECK(m.count > 0 && m.count <= LIMIT_OPENED && m.first <= LIMIT_OPENED);
    pack_array(&out, 4);
    pack_uint(&out, m.leaf_index);
    pack_uint(&out, m.first);
    pack_uint(&out, m.count);
    pack_bool(&out, m.with_proofs);
    CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct release_desk desk;
    static struct node node = {.release = &desk};
    if (size == 0) return 0;
    if (data[0] & 1)
        release_message(&node, 1 + data[0] % LIMIT_NODES, PEER_SHARE_GIVEN, data[0], bytes_of(data + 1, size - 1));
    else
        ask(bytes_of(data + 1, size - 1));
    return 0;
}
