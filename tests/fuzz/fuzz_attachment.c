/* ledger/attachment.h, the bytes inside too, and what a record's content is bound to: whatever decodes comes back byte
 * for byte. Any bytes can be attached: they are found again under their hash, and no others are. */
#include <string.h>

#include "tests/lib/recode.h"
#include "tests/lib/taken.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(enum err (*recode)(struct buffer *, struct bytes), struct bytes in)
{
    struct buffer out = {0};
    if (recode(&out, in) == OK) {
        CHECK(!out.failed && bytes_equal(buffer_bytes(&out), in));
        fuzz_taken = true;
    }
    buffer_free(&out);
}

/* What is inside, by the shapes that any action's has. */
static void check_content(struct bytes in)
{
    check(recode_person, in);
    check(recode_content, in);
    if (in.size > 0 && note_check(in) == OK) fuzz_taken = true;
}

/* Attached under a salt of the input's, then with one byte changed: the salt, the bytes, or the form around them. */
static void attach(struct bytes in)
{
    struct attachment a;
    struct buffer encoded = {0};
    uint8_t salt[ATTACHMENT_SALT] = {0};
    memcpy(salt, in.data, in.size < sizeof salt ? in.size : sizeof salt);
    struct digest hash = attachment_hash(salt, in);
    attachment_encode(&encoded, salt, in);
    CHECK(encoded.size <= in.size + ATTACHMENT_OVERHEAD);
    CHECK(attachment_check(&a, buffer_bytes(&encoded), &hash) == OK);
    CHECK(bytes_equal(a.content, in) && memcmp(a.salt, salt, sizeof salt) == 0);
    size_t where = (in.data[0] * 251u + in.data[in.size - 1]) % encoded.size;
    encoded.data[where] ^= (uint8_t)(in.data[0] | 1);
    CHECK(attachment_check(&a, buffer_bytes(&encoded), &hash) == ERR_ATTACHMENT);
    buffer_free(&encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct attachment a;
    struct bytes in = bytes_of(data, size);
    check(recode_attachment, in);
    check(recode_context, in);
    if (attachment_decode(&a, in) == OK) check_content(a.content);
    check_content(in);
    if (size > 0) attach(in);
    return 0;
}
