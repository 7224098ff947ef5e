/* The files that say who somebody is: another's public key, one's own identity with the user's id before the key, a
 * passphrase. The first byte says which. What is taken is read the same from how it would be written; what is not is
 * refused in words. */
#include "cli/signer.c" /* its decoder is its own */

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void public_key(struct bytes in)
{
    struct sign_public key, again;
    struct buffer text = {0};
    struct failure why = {0};
    enum err e = public_key_parse(&key, in, &why);
    CHECK(e == OK || (e == ERR_INVALID && why.text[0]));
    if (e != OK) return;
    public_key_format(&text, &key);
    CHECK(!text.failed && public_key_parse(&again, buffer_bytes(&text), NULL) == OK);
    CHECK(memcmp(&key, &again, sizeof key) == 0);
    buffer_free(&text);
}

static void identity(struct bytes in)
{
    struct signer signer, again;
    struct buffer text = {0};
    struct failure why = {0};
    char id[ID_TEXT_SIZE];
    enum err e = parse_identity(&signer, in, "FILE", &why);
    CHECK(e == OK || (e == ERR_NO_KEY && why.text[0]));
    if (e != OK) return;
    CHECK(!id_is_zero(&signer.user) && !signer.secrets);
    id_format(id, &signer.user);
    if (signer.user_written) buffer_printf(&text, USER_PREFIX "%s\n", id);
    size_t key_at = text.size;
    CHECK(key_file_format(&text, &signer.file) == OK && text.size == in.size);
    CHECK(memcmp(text.data + key_at, in.data + key_at, in.size - key_at) == 0); /* the id may be in capitals */
    CHECK(parse_identity(&again, buffer_bytes(&text), "FILE", NULL) == OK);
    CHECK(memcmp(&again.user, &signer.user, sizeof again.user) == 0 && again.user_written == signer.user_written);
    buffer_free(&text);
}

/* As files, of which each may be another kind. */
static void file(struct bytes in)
{
    static int descriptor = -1;
    char path[64];
    struct sign_public key;
    struct buffer passphrase = {0};
    struct failure why = {0};
    if (descriptor < 0) descriptor = memfd_create("fuzz", 0);
    CHECK(descriptor >= 0 && ftruncate(descriptor, 0) == 0);
    CHECK(pwrite(descriptor, in.data, in.size, 0) == (ssize_t)in.size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    CHECK(public_key_read(&key, path, &why) == OK || why.text[0]);
    if (passphrase_read(&passphrase, path, &why) == OK)
        CHECK(passphrase.size && passphrase.size <= in.size && !memchr(passphrase.data, '\n', passphrase.size) &&
              memcmp(passphrase.data, in.data, passphrase.size) == 0);
    buffer_free(&passphrase);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct bytes) = {public_key, identity, file};
    if (size == 0) return 0;
    crypto_init();
    readers[data[0] % 3](bytes_of(data + 1, size - 1));
    return 0;
}
