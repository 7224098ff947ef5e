#include "crypto/passphrase.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "crypto/random.h"
#include "crypto/secret.h"

#define MEMORY_LEAST 8u      /* KiB, Argon2's own least for one lane */
#define MEMORY_MOST (MIB)    /* KiB: 1 GiB */
#define PASSES_MOST 16u
#define WORK_MOST (4u * MIB) /* KiB filled in all passes: 4 GiB */

static_assert(sizeof((struct key_file){0}.salt) == crypto_pwhash_SALTBYTES &&
                  MEMORY_LEAST * 1024 == crypto_pwhash_MEMLIMIT_MIN,
              "libsodium's Argon2id");

const struct passphrase_cost PASSPHRASE_COST_DEFAULT = {64 * KIB, 2};
const struct passphrase_cost PASSPHRASE_COST_LEAST = {MEMORY_LEAST, 1};

static bool cost_valid(struct passphrase_cost cost)
{
    return cost.memory_kib >= MEMORY_LEAST && cost.memory_kib <= MEMORY_MOST && cost.passes >= 1 &&
           cost.passes <= PASSES_MOST && cost.memory_kib * cost.passes <= WORK_MOST;
}

static enum err argon2id(uint8_t out[static 32], struct bytes text, const uint8_t salt[static 16],
                         struct passphrase_cost cost)
{
    const char *in = text.size ? (const char *)text.data : "";
    int bad = crypto_pwhash(out, 32, in, text.size, salt, cost.passes, (size_t)cost.memory_kib * 1024,
                            crypto_pwhash_ALG_ARGON2ID13);
    return bad ? ERR_NOMEM : OK; /* the only failure left once the cost is valid */
}

enum err argon2id_tag(uint8_t out[static 32], struct bytes text, const uint8_t salt[static 16])
{
    return argon2id(out, text, salt, (struct passphrase_cost){64 * KIB, 2});
}

/* The lines above `sealed`. */
static void format_head(struct buffer *out, const struct key_file *file)
{
    buffer_append_text(out, "consilium-key 1\npublic ");
    base64_append(out, BYTES(file->public_key.bytes));
    buffer_printf(out, "\nargon2id %u %u\nsalt ", file->cost.memory_kib, file->cost.passes);
    base64_append(out, BYTES(file->salt));
    buffer_append_text(out, "\n");
}

enum err key_file_format(struct buffer *out, const struct key_file *file)
{
    format_head(out, file);
    buffer_append_text(out, "sealed ");
    base64_append(out, BYTES(file->sealed));
    buffer_append_text(out, "\n");
    return out->failed ? ERR_TOO_LARGE : OK;
}

enum err key_file_seal(struct key_file *out, const uint8_t seed[static SIGN_SEED_SIZE],
                       struct bytes passphrase, struct passphrase_cost cost)
{
    if (!cost_valid(cost)) return ERR_INVALID;
    struct key_file file = {.cost = cost};
    struct sign_secret secret;
    struct seal_key key;
    sign_keypair(&secret, &file.public_key, seed);
    secret_wipe(&secret, sizeof secret);
    random_bytes(file.salt, sizeof file.salt);
    enum err e = argon2id(key.bytes, passphrase, file.salt, cost);
    struct buffer head = {.limit = LIMIT_KEY_FILE};
    format_head(&head, &file);
    if (e == OK && head.failed) e = ERR_NOMEM;
    if (e == OK) {
        seal_rest(file.sealed, &key, bytes_of(seed, SIGN_SEED_SIZE), buffer_bytes(&head));
        *out = file;
    }
    secret_wipe(&key, sizeof key);
    buffer_free(&head);
    return e;
}

static bool seed_of(const uint8_t seed[static SIGN_SEED_SIZE], const struct sign_public *expected)
{
    struct sign_secret secret;
    struct sign_public own;
    sign_keypair(&secret, &own, seed);
    secret_wipe(&secret, sizeof secret);
    return secret_equal(&own, expected, sizeof own);
}

enum err key_file_open(uint8_t seed[static SIGN_SEED_SIZE], const struct key_file *file,
                       struct bytes passphrase)
{
    CHECK(cost_valid(file->cost));
    struct seal_key key;
    enum err e = argon2id(key.bytes, passphrase, file->salt, file->cost);
    struct buffer head = {.limit = LIMIT_KEY_FILE};
    format_head(&head, file);
    if (e == OK && head.failed) e = ERR_NOMEM;
    if (e == OK && seal_rest_open(seed, &key, BYTES(file->sealed), buffer_bytes(&head)) != OK)
        e = ERR_PASSPHRASE;
    if (e == OK && !seed_of(seed, &file->public_key)) e = ERR_CORRUPT; /* another program sealed nonsense */
    if (e != OK) secret_wipe(seed, SIGN_SEED_SIZE);
    secret_wipe(&key, sizeof key);
    buffer_free(&head);
    return e;
}

/* A cursor over the file's lines with a sticky error. */
struct lines {
    struct bytes rest;
    unsigned line;
    enum err error;
    struct failure *failure;
};

static void lines_fail(struct lines *in, enum err code, const char *what)
{
    if (in->error == OK) in->error = fail(in->failure, code, "key file, line %u: %s", in->line, what);
}

/* What follows "NAME " in the next line, which must have that name. */
static struct bytes lines_field(struct lines *in, const char *name)
{
    if (in->error != OK) return (struct bytes){0};
    in->line++;
    size_t n = strlen(name);
    const uint8_t *end = in->rest.size ? memchr(in->rest.data, '\n', in->rest.size) : NULL;
    size_t size = end ? (size_t)(end - in->rest.data) : 0;
    if (!end || size <= n || memcmp(in->rest.data, name, n) != 0 || in->rest.data[n] != ' ') {
        char what[48];
        snprintf(what, sizeof what, "'%s' and a value expected", name);
        lines_fail(in, ERR_SYNTAX, what);
        return (struct bytes){0};
    }
    struct bytes value = bytes_of(in->rest.data + n + 1, size - n - 1);
    in->rest = bytes_of(end + 1, in->rest.size - size - 1);
    return value;
}

static void lines_base64(struct lines *in, const char *name, uint8_t *out, size_t size)
{
    struct bytes text = lines_field(in, name);
    struct buffer decoded = {.limit = size};
    if (in->error != OK) return;
    if (base64_decode(&decoded, text) == OK && decoded.size == size)
        memcpy(out, decoded.data, size);
    else
        lines_fail(in, ERR_SYNTAX, "not base64 of the right length");
    buffer_free(&decoded);
}

/* A decimal number without leading zeros from the start of `text`. */
static uint32_t take_number(struct lines *in, struct bytes *text)
{
    uint64_t value = 0;
    size_t n = 0;
    while (n < text->size && text->data[n] >= '0' && text->data[n] <= '9' && value <= UINT32_MAX)
        value = value * 10 + (uint64_t)(text->data[n++] - '0');
    if (n == 0 || text->data[0] == '0') lines_fail(in, ERR_SYNTAX, "number expected");
    if (value > UINT32_MAX) lines_fail(in, ERR_TOO_LARGE, "number too large");
    *text = bytes_of(text->data + n, text->size - n);
    return in->error == OK ? (uint32_t)value : 0;
}

static void lines_cost(struct lines *in, struct passphrase_cost *cost)
{
    struct bytes text = lines_field(in, "argon2id");
    if (in->error != OK) return;
    cost->memory_kib = take_number(in, &text);
    if (in->error == OK && (text.size == 0 || text.data[0] != ' ')) lines_fail(in, ERR_SYNTAX, "two numbers expected");
    if (in->error != OK) return;
    text = bytes_of(text.data + 1, text.size - 1);
    cost->passes = take_number(in, &text);
    if (text.size) lines_fail(in, ERR_SYNTAX, "two numbers expected");
    if (in->error == OK && !cost_valid(*cost)) lines_fail(in, ERR_TOO_LARGE, "cost out of bounds");
}

enum err key_file_parse(struct key_file *out, struct bytes text, struct failure *failure)
{
    struct lines in = {.rest = text, .failure = failure};
    struct key_file file = {0};
    if (text.size > LIMIT_KEY_FILE) lines_fail(&in, ERR_TOO_LARGE, "longer than a key file");
    struct bytes version = lines_field(&in, "consilium-key");
    if (in.error == OK && !bytes_equal(version, bytes_text("1"))) lines_fail(&in, ERR_VERSION, "unknown version");
    lines_base64(&in, "public", file.public_key.bytes, sizeof file.public_key.bytes);
    lines_cost(&in, &file.cost);
    lines_base64(&in, "salt", file.salt, sizeof file.salt);
    lines_base64(&in, "sealed", file.sealed, sizeof file.sealed);
    if (in.error == OK && in.rest.size) lines_fail(&in, ERR_SYNTAX, "text after the last line");
    if (in.error == OK) *out = file;
    return in.error;
}
