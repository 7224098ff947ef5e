/* consensus/keygen_store.h: rows of secrets that decode come back byte for byte; and
 * messages of key generation on a node that is in no phase yet.
 * The first byte says which. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "consensus/keygen_agent.h"
#include "consensus/keygen_store.h"
#include "consensus/peer_messages.h"
#include "crypto/keys.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "ledger/genesis.h"
#include "net/peers.h"

#define N 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct bytes row;
static uv_loop_t loop;
static struct genesis genesis;
static struct node_secrets secrets;

/* --- one row, as the table has it, and as it is written again --- */

enum err table_get(struct table_txn *txn, uint8_t table, struct bytes key, struct buffer *value)
{
    (void)txn, (void)table, (void)key;
    buffer_append_bytes(value, row);
    return OK;
}

enum err table_put(struct table_txn *txn, uint8_t table, struct bytes key, struct bytes value)
{
    (void)txn, (void)table, (void)key;
    CHECK(bytes_equal(value, row));
    return OK;
}

enum err table_delete(struct table_txn *txn, uint8_t table, struct bytes key)
{
    (void)txn, (void)table, (void)key;
    return OK;
}

enum err table_exists(struct table_txn *txn, uint8_t table, struct bytes key)
{
    (void)txn, (void)table, (void)key;
    return ERR_NOT_FOUND;
}

enum err table_cursor_open(struct table_cursor **out, struct table_txn *txn, uint8_t table)
{
    (void)out, (void)txn, (void)table;
    return ERR_IO;
}

enum err table_cursor_seek(struct table_cursor *c, struct bytes key)
{
    (void)c, (void)key;
    return ERR_NOT_FOUND;
}

struct bytes table_cursor_key(struct table_cursor *c)
{
    (void)c;
    return (struct bytes){0};
}

enum err table_cursor_next(struct table_cursor *c)
{
    (void)c;
    return ERR_NOT_FOUND;
}

enum err table_cursor_value(struct table_cursor *c, struct buffer *value)
{
    (void)c, (void)value;
    return ERR_NOT_FOUND;
}

enum err table_cursor_seek_back(struct table_cursor *c, struct bytes key) { return table_cursor_seek(c, key); }
enum err table_cursor_previous(struct table_cursor *c) { return table_cursor_next(c); }
void table_cursor_close(struct table_cursor *c) { (void)c; }

uint64_t table_count(struct table_txn *txn, uint8_t table)
{
    (void)txn, (void)table;
    return 0;
}

static void rows(uint8_t which)
{
    struct keygen_own *own = xcalloc(1, sizeof *own);
    struct keygen_received *received = xcalloc(1, sizeof *received);
    struct scalar share;
    if (which % 3 == 0 && keygen_own_get(own, NULL, 1, 1, N) == OK && own->exists)
        CHECK(keygen_own_put(NULL, 1, own, N) == OK);
    if (which % 3 == 1 && keygen_received_get(received, NULL, 1, 1, N) == OK && received->any)
        CHECK(keygen_received_put(NULL, 1, 1, received, N) == OK);
    if (which % 3 == 2 && keygen_share_get(&share, NULL, 1, 1) == OK)
        CHECK(keygen_share_put(NULL, 1, 1, &share) == OK);
    free(own);
    free(received);
}

/* --- messages --- */

enum err peers_send(struct peers *p, uint32_t index, uint32_t type, uint64_t id, struct bytes body)
{
    (void)p, (void)index, (void)type, (void)id, (void)body;
    CHECK(!"nothing was dealt, so nothing is given");
    return OK;
}

enum err driver_read(struct driver *d, struct state_read *r)
{
    (void)d, (void)r;
    return ERR_BUSY;
}

enum err driver_write(struct driver *d, struct state_write *w)
{
    (void)d, (void)w;
    return ERR_BUSY;
}

enum err driver_submit(struct driver *d, struct submission *s)
{
    (void)d, (void)s;
    return ERR_BUSY;
}

void driver_status(const struct driver *d, struct driver_status *out)
{
    (void)d;
    *out = (struct driver_status){0};
}

static void messages(struct bytes in)
{
    struct keygen_agent *a;
    struct keygen_agent_options o = {.loop = &loop, .genesis = &genesis, .self = 1, .keys = &secrets, .directory = "."};
    CHECK(keygen_agent_start(&a, &o, NULL) == OK);
    while (in.size >= 2) {
        size_t size = in.data[1] < in.size - 2 ? in.data[1] : in.size - 2;
        uint32_t type = in.data[0] & 1 ? PEER_SUBSHARE : PEER_SUBSHARE_ASK;
        keygen_agent_message(a, in.data[0] >> 1, type, 0, bytes_of(in.data + 2, size));
        in = bytes_of(in.data + 2 + size, in.size - 2 - size);
    }
    keygen_agent_stop(a);
    uv_run(&loop, UV_RUN_DEFAULT);
    keygen_agent_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!genesis.member_count) {
        crypto_init();
        log_setup(LOG_ERROR, false);
        genesis.member_count = N;
        genesis.quorum = 3;
        uv_loop_init(&loop);
    }
    if (size == 0) return 0;
    row = bytes_of(data + 1, size - 1);
    if (data[0] & 0x80)
        messages(row);
    else
        rows(data[0]);
    return 0;
}
