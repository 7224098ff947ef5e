/* key new, key public, key assign, whoami. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/commands.h"
#include "cli/files.h"
#include "cli/profile.h"
#include "cli/terminal.h"
#include "cli/tool.h"
#include "crypto/secret.h"

/* Said before a passphrase is asked for; writing checks it again. */
static enum err check_free(struct tool *t, const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0) return OK;
    return fail(&t->failure, ERR_EXISTS, "%s exists already and is not overwritten", path);
}

/* NIST SP 800-63B counts code points: 8 at least, and 15 where nothing else protects. */
#define PASSPHRASE_LEAST 8
#define PASSPHRASE_ALONE 15

static size_t code_points(const struct buffer *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->size; i++)
        n += (text->data[i] & 0xc0) != 0x80; /* the first byte of each */
    return n;
}

/* Whoever has a copy of the file can try passphrases for as long as they like. */
static enum err check_length(const struct buffer *passphrase, struct failure *failure)
{
    if (passphrase->size == 0)
        return fail(failure, ERR_USAGE, "an empty passphrase protects nothing; if you mean it, give --no-passphrase");
    if (code_points(passphrase) < PASSPHRASE_LEAST)
        return fail(failure, ERR_USAGE,
                    "a passphrase has at least %d characters, better %d, such as four words (for tests: --no-passphrase)",
                    PASSPHRASE_LEAST, PASSPHRASE_ALONE);
    return OK;
}

/* Twice at a terminal, since a slip would lock the key away for good. */
static enum err ask_new_passphrase(struct buffer *out, struct failure *failure)
{
    struct buffer again = {.secret = true};
    enum err e = terminal_passphrase(out, "New passphrase: ", failure);
    if (e == OK) e = check_length(out, failure);
    if (e == OK) e = terminal_passphrase(&again, "Once more: ", failure);
    if (e == OK && !bytes_equal(buffer_bytes(out), buffer_bytes(&again)))
        e = fail(failure, ERR_PASSPHRASE, "the two passphrases differ; no key was made");
    secret_wipe_buffer(&again);
    return e;
}

static enum err new_passphrase(struct tool *t, struct buffer *out)
{
    const char *file = t->settings.values[SETTING_PASSPHRASE_FILE];
    if (option_given(t->line, "no-passphrase")) return OK;
    if (!file) return ask_new_passphrase(out, &t->failure);
    enum err e = passphrase_read(out, file, &t->failure);
    return e == OK ? check_length(out, &t->failure) : e;
}

static enum err parse_user_option(struct tool *t, struct id *user, bool *given)
{
    const char *text = option_text(t->line, "user");
    *given = text != NULL;
    if (text && (id_parse(user, text) != OK || id_is_zero(user)))
        return fail(&t->failure, ERR_USAGE, "--user takes an id of 26 characters, not '%s'", text);
    return OK;
}

static json_t *key_json(const struct sign_public *key)
{
    struct digest hex;
    memcpy(hex.bytes, key->bytes, sizeof hex.bytes);
    return json_digest(&hex);
}

static int print_identity(struct tool *t, const char *path)
{
    static const struct column columns[] = {
        {"file", "file", COLUMN_TEXT}, {"user", "user", COLUMN_TEXT}, {"public_key", "public key", COLUMN_TEXT}};
    struct signer signer;
    if (signer_read(&signer, path, &t->failure) != OK) return tool_failed(t);
    json_t *o = json_object();
    json_object_set_new(o, "file", json_text(bytes_text(path)));
    json_object_set_new(o, "user", json_id(&signer.user));
    json_object_set_new(o, "public_key", key_json(&signer.public_key));
    output_fields(&t->output, columns, sizeof columns / sizeof columns[0], o);
    signer_close(&signer);
    return EXIT_DONE;
}

int command_key_new(struct tool *t)
{
    const char *path = option_text(t->line, "output");
    struct buffer passphrase = {.secret = true};
    struct id user;
    bool given;
    struct sign_public key;
    enum err e = parse_user_option(t, &user, &given);
    if (e == OK) e = check_free(t, path);
    if (e == OK) e = new_passphrase(t, &passphrase);
    if (e == OK) e = signer_create(path, buffer_bytes(&passphrase), given ? &user : NULL, &key, &t->failure);
    size_t length = code_points(&passphrase);
    secret_wipe_buffer(&passphrase);
    if (e != OK) return tool_failed(t);
    if (length == 0)
        output_message(&t->output, "%s has no passphrase: whoever reads the file can act as its owner", path);
    else if (length < PASSPHRASE_ALONE)
        output_message(&t->output, "the passphrase of %s has %zu characters: with %d or more, who gets a copy of the "
                                   "file can hardly guess it", path, length, PASSPHRASE_ALONE);
    return print_identity(t, path);
}

int command_key_public(struct tool *t)
{
    struct sign_public key;
    struct buffer text = {0};
    if (public_key_read(&key, tool_operand(t, 0), &t->failure) != OK) return tool_failed(t);
    public_key_format(&text, &key);
    if (t->output.json)
        output_json(&t->output, json_pack("{s:o}", "public_key", key_json(&key)));
    else
        fwrite(text.data, 1, text.size, stdout);
    buffer_free(&text);
    return EXIT_DONE;
}

int command_key_assign(struct tool *t)
{
    struct id user;
    bool given;
    enum err e = parse_user_option(t, &user, &given);
    if (e == OK) e = signer_assign(tool_operand(t, 0), &user, &t->failure);
    return e == OK ? print_identity(t, tool_operand(t, 0)) : tool_failed(t);
}

/* What can be said without asking anybody. */
static int whoami_offline(struct tool *t)
{
    const char *path = t->settings.values[SETTING_IDENTITY];
    if (path) return print_identity(t, path);
    tool_signer(t);
    return tool_failed(t);
}

int command_whoami(struct tool *t)
{
    struct submission s = {0};
    struct user_row row;
    if (option_given(t->line, "offline")) return whoami_offline(t);
    enum err e = profile_ask(t, &s, &row);
    if (e == OK) {
        json_t *o = user_row_json(&row);
        tool_done(t, &s, USER_FIELDS, USER_FIELD_COUNT, o);
    }
    submission_free(&s);
    return e == OK ? EXIT_DONE : tool_failed(t);
}
