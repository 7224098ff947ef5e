#include "cli/signer.h"

#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "cli/files.h"
#include "cli/terminal.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/secret.h"

#define USER_PREFIX "consilium-user "
#define PUBLIC_PREFIX "consilium-public "
#define LIMIT_IDENTITY (LIMIT_KEY_FILE + 64)

/* --- the file --- */

/* Takes the optional first line off `text`. */
static enum err take_user_line(struct signer *out, struct bytes *text, const char *path, struct failure *failure)
{
    size_t prefix = sizeof USER_PREFIX - 1;
    if (text->size < prefix || memcmp(text->data, USER_PREFIX, prefix) != 0) return OK;
    const uint8_t *end = memchr(text->data, '\n', text->size);
    char id[ID_TEXT_SIZE] = "";
    if (end && (size_t)(end - text->data) == prefix + ID_TEXT_SIZE - 1)
        memcpy(id, text->data + prefix, ID_TEXT_SIZE - 1);
    if (id_parse(&out->user, id) != OK || id_is_zero(&out->user))
        return fail(failure, ERR_NO_KEY, "%s: the first line is not '" USER_PREFIX "ID'", path);
    out->user_written = true;
    *text = bytes_of(end + 1, text->size - (size_t)(end + 1 - text->data));
    return OK;
}

static enum err parse_identity(struct signer *out, struct bytes text, const char *path, struct failure *failure)
{
    *out = (struct signer){0};
    enum err e = take_user_line(out, &text, path, failure);
    if (e != OK) return e;
    struct failure why = {0};
    e = key_file_parse(&out->file, text, &why);
    if (e != OK) return fail(failure, ERR_NO_KEY, "%s is not an identity file: %s", path, why.text);
    out->public_key = out->file.public_key;
    out->key_id = key_id_of(&out->public_key);
    if (!out->user_written) out->user = id_of_key(&out->public_key);
    return OK;
}

enum err signer_read(struct signer *out, const char *path, struct failure *failure)
{
    struct buffer text = {0};
    enum err e = file_read(&text, path, LIMIT_IDENTITY, failure);
    if (e == ERR_NO_FILE)
        e = fail(failure, ERR_NO_KEY, "there is no identity file %s; make one with 'consilium key new -o %s'", path,
                 path);
    if (e == ERR_TOO_LARGE) e = fail(failure, ERR_NO_KEY, "%s is not an identity file: it is too large for one", path);
    if (e == OK) e = parse_identity(out, buffer_bytes(&text), path, failure);
    buffer_free(&text);
    return e;
}

/* --- opening --- */

static void set_secrets(struct signer *signer, const uint8_t seed[static SIGN_SEED_SIZE])
{
    struct sign_public public_key;
    signer->secrets = secret_alloc(sizeof *signer->secrets);
    sign_keypair(&signer->secrets->sign, &public_key, seed);
    hkdf_sha256(signer->secrets->tag_key, sizeof signer->secrets->tag_key, bytes_of(seed, SIGN_SEED_SIZE),
                (struct bytes){0}, bytes_text("consilium/tag-key/v1"));
}

enum err signer_unlock(struct signer *signer, struct bytes passphrase, struct failure *failure)
{
    CHECK(signer->secrets == NULL);
    uint8_t seed[SIGN_SEED_SIZE];
    enum err e = key_file_open(seed, &signer->file, passphrase);
    if (e == OK) set_secrets(signer, seed);
    secret_wipe(seed, sizeof seed);
    if (e == ERR_PASSPHRASE) return fail(failure, e, "the passphrase does not open the identity file");
    return e == OK ? OK : fail(failure, e, "the identity file cannot be opened: %s", err_text(e));
}

/* Files made with --no-passphrase have the least cost, so trying costs nothing;
 * a file with a passphrase has a higher cost and is not tried. */
static bool may_have_no_passphrase(const struct signer *signer)
{
    return signer->file.cost.memory_kib == PASSPHRASE_COST_LEAST.memory_kib &&
           signer->file.cost.passes == PASSPHRASE_COST_LEAST.passes;
}

enum err passphrase_read(struct buffer *out, const char *path, struct failure *failure)
{
    struct failure why = {0};
    enum err e = file_read(out, path, 4 * KIB, &why);
    if (e != OK) return fail(failure, ERR_NO_KEY, "the passphrase file: %s", why.text);
    const uint8_t *end = out->size ? memchr(out->data, '\n', out->size) : NULL;
    if (end) out->size = (size_t)(end - out->data);
    if (out->size > 0 && out->data[out->size - 1] == '\r') out->size--;
    return out->size ? OK : fail(failure, ERR_NO_KEY, "%s has no passphrase in its first line", path);
}

enum err signer_open(struct signer *signer, const char *path, const char *passphrase_file,
                       struct failure *failure)
{
    enum err e = signer_read(signer, path, failure);
    if (e != OK) return e;
    if (may_have_no_passphrase(signer) && signer_unlock(signer, (struct bytes){0}, NULL) == OK) return OK;
    struct buffer passphrase = {.secret = true};
    if (passphrase_file)
        e = passphrase_read(&passphrase, passphrase_file, failure);
    else
        e = terminal_passphrase(&passphrase, "Passphrase: ", failure);
    if (e == OK) e = signer_unlock(signer, buffer_bytes(&passphrase), failure);
    if (e == ERR_PASSPHRASE) fail(failure, e, "the passphrase does not open %s", path);
    secret_wipe_buffer(&passphrase);
    return e;
}

void signer_close(struct signer *signer)
{
    if (signer->secrets) secret_free(signer->secrets);
    *signer = (struct signer){0};
}

struct actor signer_actor(const struct signer *signer)
{
    return (struct actor){ACTOR_USER, signer->user, signer->key_id};
}

/* --- making --- */

static enum err write_identity(const char *path, const struct key_file *file, const struct id *user, bool fresh,
                               struct failure *failure)
{
    struct buffer text = {0};
    if (user) {
        char id[ID_TEXT_SIZE];
        id_format(id, user);
        buffer_printf(&text, USER_PREFIX "%s\n", id);
    }
    enum err e = key_file_format(&text, file);
    if (e == OK && text.failed) e = ERR_NOMEM;
    if (e != OK)
        fail(failure, e, "cannot write %s: %s", path, err_text(e));
    else
        e = file_write(path, buffer_bytes(&text), 0600, fresh, failure);
    buffer_free(&text);
    return e;
}

enum err signer_create(const char *path, struct bytes passphrase, const struct id *user,
                       struct sign_public *public_key, struct failure *failure)
{
    uint8_t seed[SIGN_SEED_SIZE];
    struct sign_secret secret;
    struct key_file file;
    random_bytes(seed, sizeof seed);
    sign_keypair(&secret, public_key, seed);
    secret_wipe(&secret, sizeof secret);
    struct passphrase_cost cost = passphrase.size ? PASSPHRASE_COST_DEFAULT : PASSPHRASE_COST_LEAST;
    enum err e = key_file_seal(&file, seed, passphrase, cost);
    secret_wipe(seed, sizeof seed);
    if (e != OK) return fail(failure, e, "cannot seal the new key: %s", err_text(e));
    return write_identity(path, &file, user, true, failure);
}

enum err signer_assign(const char *path, const struct id *user, struct failure *failure)
{
    struct signer signer;
    enum err e = signer_read(&signer, path, failure);
    return e == OK ? write_identity(path, &signer.file, user, false, failure) : e;
}

/* --- public keys --- */

void public_key_format(struct buffer *out, const struct sign_public *key)
{
    buffer_append_text(out, PUBLIC_PREFIX);
    base64_append(out, bytes_of(key->bytes, sizeof key->bytes));
    buffer_append_text(out, "\n");
}

static struct bytes trimmed(struct bytes text)
{
    while (text.size && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r' ||
                         text.data[text.size - 1] == ' '))
        text.size--;
    return text;
}

enum err public_key_parse(struct sign_public *out, struct bytes text, struct failure *failure)
{
    size_t prefix = sizeof PUBLIC_PREFIX - 1;
    text = trimmed(text);
    if (text.size > prefix && memcmp(text.data, PUBLIC_PREFIX, prefix) == 0)
        text = bytes_of(text.data + prefix, text.size - prefix);
    char hex[2 * sizeof out->bytes + 1];
    if (text.size == sizeof hex - 1) {
        memcpy(hex, text.data, text.size);
        hex[text.size] = '\0';
        if (hex_parse(out->bytes, sizeof out->bytes, hex) == OK) return OK;
    }
    struct buffer raw = {.limit = 64};
    bool good = base64_decode(&raw, text) == OK && raw.size == sizeof out->bytes;
    if (good) memcpy(out->bytes, raw.data, raw.size);
    buffer_free(&raw);
    return good ? OK : fail(failure, ERR_INVALID, "not a public key; 'consilium key public FILE' prints one");
}

enum err public_key_read(struct sign_public *out, const char *file_or_text, struct failure *failure)
{
    if (public_key_parse(out, bytes_text(file_or_text), NULL) == OK) return OK;
    struct buffer text = {0};
    struct signer signer;
    enum err e = file_read(&text, file_or_text, LIMIT_IDENTITY, failure);
    if (e != OK && e != ERR_TOO_LARGE) goto free_text;
    if (e == OK && public_key_parse(out, buffer_bytes(&text), NULL) == OK) goto free_text;
    if (e == OK && parse_identity(&signer, buffer_bytes(&text), file_or_text, NULL) == OK)
        *out = signer.public_key;
    else
        e = fail(failure, ERR_INVALID, "%s is neither a public key nor an identity file; "
                 "'consilium key public FILE' prints one", file_or_text);
free_text:
    buffer_free(&text);
    return e;
}
