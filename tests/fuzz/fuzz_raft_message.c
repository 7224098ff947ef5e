/* consensus/raft.h: a message that decodes comes back byte for byte, and a core
 * that steps it neither falls nor believes it. */
#include "tests/lib/recode_raft.h"

static struct raft *small_core(void)
{
    struct raft_options o = {.id = 1, .seed = 1};
    raft_options_default(&o);
    struct raft_run run = {1, 1};
    struct raft_state s = {.term = 1, .last = 3, .runs = &run, .run_count = 1, .applied = 1};
    for (raft_id id = 1; id <= 3; id++) raft_config_set(&s.compacted_config, id, true);
    struct raft *r;
    CHECK(!raft_new(&r, &o, &s));
    return r;
}

static void try(struct bytes in, unsigned version)
{
    struct buffer out = {0};
    if (recode_raft_as(&out, in, version) == OK) CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    buffer_free(&out);
    struct raft_message m;
    if (raft_message_decode(&m, in, version) == OK) {
        struct raft *r = small_core();
        for (int i = 0; i < 2; i++) {
            (void)raft_step(r, &m);
            struct raft_ready *ready = raft_take(r);
            if (ready->write) raft_persisted(r, ready->write);
        }
        struct raft_status status;
        raft_status_get(r, &status);
        CHECK(status.role == RAFT_FOLLOWER || status.role == RAFT_CANDIDATE);
        raft_free(r);
    }
    raft_message_clear(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (unsigned version = 1; version <= PEER_VERSION; version++)
        try(bytes_of(data, size), version);
    return 0;
}
