/* What a node keeps for itself in the store's small tables, by the first byte: its findings (node/integrity_kept.c),
 * where the scrub stands, what it was rebuilt for. What decodes comes back byte for byte. And why it is quarantined:
 * a note of any bytes gives a reason. */
#include "node/integrity_kept.c" /* its decoder is its own */

#include "ledger/scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void finding(struct bytes in)
{
    struct kept k = {0};
    struct buffer out = {0};
    uint8_t key[NOTE_KEY];
    if (in.size < NOTE_KEY) return;
    struct bytes value = bytes_of(in.data + NOTE_KEY, in.size - NOTE_KEY);
    if (decode(&k, bytes_of(in.data, NOTE_KEY), value) == OK) {
        note_key(key, &k.alarm);
        encode(&out, &k);
        CHECK(memcmp(key, in.data, NOTE_KEY) == 0 && bytes_equal(buffer_bytes(&out), value));
        CHECK(memchr(k.text, 0, sizeof k.text));
    }
    buffer_free(&k.evidence);
    buffer_free(&out);
}

static void position(struct bytes in)
{
    static const struct genesis nobody;
    struct scan s = {0};
    struct buffer out = {0};
    if (scan_decode(&s, &nobody, in) == OK) {
        scan_encode(&out, &s);
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    }
    scan_free(&s);
    buffer_free(&out);
}

static void rebuilt(struct bytes in)
{
    struct driver_rebuilt r;
    struct buffer out = {0};
    if (driver_rebuilt_decode(&r, in) == OK) {
        driver_rebuilt_encode(&out, &r);
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
    }
    buffer_free(&out);
}

static void quarantine(struct bytes in)
{
    struct integrity *i = xcalloc(1, sizeof *i);
    decode_quarantine(i, in);
    CHECK(memchr(i->why, 0, sizeof i->why));
    free(i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    struct bytes in = bytes_of(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0: finding(in); break;
    case 1: position(in); break;
    case 2: rebuilt(in); break;
    case 3: quarantine(in); break;
    }
    return 0;
}
