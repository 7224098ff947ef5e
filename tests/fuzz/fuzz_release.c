/* What members ask of each other's shares, and give: a question that decodes comes back byte for byte, and an answer
 * that nobody waits for does nothing. The first byte chooses. */
#include "base/check.h"
#include "consensus/peer_messages.h"
#include "node/release_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(struct bytes in)
{
    struct share_ask ask;
    struct buffer out = {0};
    if (share_ask_decode(&ask, in) != OK) return;
    CHECK(ask.count <= LIMIT_OPENED && ask.first <= LIMIT_OPENED);
    share_ask_encode(&out, &ask);
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
