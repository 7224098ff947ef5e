/* The files that say who somebody is: another's public key, one's own identity with the user's id before the key, a
 * passphrase. The first byte says which. What is taken is read the same from how it would be written; what is not is
 * refused in words. The last kind is an identity that opens: with the passphrase that the input begins with, after the
 * changes that the rest of it makes to the file. */
#include "cli/signer.c" /* its decoder is its own */

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/taken.h"

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
    fuzz_taken = true;
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
    fuzz_taken = true;
    buffer_free(&text);
}

/* Returns its path; static. */
static const char *file_of(struct bytes in)
{
    static int descriptor = -1;
    static char path[64];
    if (descriptor < 0) descriptor = memfd_create("fuzz", 0);
    CHECK(descriptor >= 0 && ftruncate(descriptor, 0) == 0);
    CHECK(pwrite(descriptor, in.data, in.size, 0) == (ssize_t)in.size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return path;
}

/* As files, of which each may be another kind. */
static void file(struct bytes in)
{
    const char *path = file_of(in);
    struct signer signer;
    struct sign_public key;
    struct buffer passphrase = {0};
    struct failure why = {0};
    enum err e = public_key_read(&key, path, &why);
    CHECK(e == OK || (why.code == e && why.text[0]));
    fuzz_taken = e == OK;
    why = (struct failure){0};
    e = signer_read(&signer, path, &why);
    CHECK(e == OK || (e == ERR_NO_KEY && why.code == e && why.text[0]));
    if (e == OK) {
        struct actor actor = signer_actor(&signer);
        CHECK(actor.kind == ACTOR_USER && id_equal(&actor.id, &signer.user));
    }
    fuzz_taken = fuzz_taken || e == OK;
    why = (struct failure){0};
    e = passphrase_read(&passphrase, path, &why);
    CHECK(e == OK || (why.code == e && why.text[0]));
    fuzz_taken = fuzz_taken || e == OK;
    if (e == OK)
        CHECK(passphrase.size && passphrase.size <= in.size && !memchr(passphrase.data, '\n', passphrase.size) &&
              memcmp(passphrase.data, in.data, passphrase.size) == 0);
    buffer_free(&passphrase);
}

#define PASSPHRASE "battery"

/* The file of a key that is known, without and with its user's id. */
static const struct key_file *known_file(void)
{
    static struct key_file file;
    static const uint8_t seed[SIGN_SEED_SIZE] = {7};
    if (!file.cost.passes) CHECK(key_file_seal(&file, seed, bytes_text(PASSPHRASE), PASSPHRASE_COST_LEAST) == OK);
    return &file;
}

static void check_unlocked(struct signer *signer, struct bytes passphrase, bool changed)
{
    struct failure why = {0};
    struct signature signature;
    enum err e = signer_unlock(signer, passphrase, &why);
    CHECK((e == OK) == (!changed && bytes_equal(passphrase, bytes_text(PASSPHRASE))));
    CHECK(e == OK || (why.code == e && why.text[0] && !signer->secrets));
    if (e != OK) return;
    sign_message(&signature, &signer->secrets->sign, passphrase);
    CHECK(sign_verify(&signature, &signer->public_key, passphrase) == OK);
    fuzz_taken = true;
}

/* The passphrase's size, the passphrase, whether a user's id goes first; then where the file is changed, and how. */
static void opened(struct bytes in)
{
    struct signer signer;
    struct buffer text = {0};
    size_t size = in.size ? in.data[0] % 16 : 0;
    if (in.size < size + 2) return;
    struct bytes passphrase = bytes_of(in.data + 1, size);
    if (in.data[1 + size] & 1) buffer_append_text(&text, USER_PREFIX "aaaaaaaaaaaaaaaaaaaaaaaaae\n");
    CHECK(key_file_format(&text, known_file()) == OK);
    in = bytes_of(in.data + size + 2, in.size - size - 2);
    for (; in.size >= 2; in = bytes_of(in.data + 2, in.size - 2)) text.data[in.data[0] % text.size] ^= in.data[1];
    if (signer_read(&signer, file_of(buffer_bytes(&text)), NULL) == OK) {
        bool changed = memcmp(&signer.file, known_file(), sizeof signer.file) != 0;
        bool cheap = signer.file.cost.memory_kib <= 64 && signer.file.cost.passes <= 2;
        if (cheap) check_unlocked(&signer, passphrase, changed);
        signer_close(&signer);
    }
    buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const readers[])(struct bytes) = {public_key, identity, file, opened};
    if (size == 0) return 0;
    crypto_init();
    readers[data[0] % 4](bytes_of(data + 1, size - 1));
    return 0;
}
