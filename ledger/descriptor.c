#include "ledger/descriptor.h"

#include <string.h>

#include "base/check.h"
#include "ledger/fields.h"

static const char line_magic[] = "consilium-node/1";
static const char name_characters[] = "abcdefghijklmnopqrstuvwxyz0123456789.-";

bool key_text_parse(uint8_t out[static 32], struct bytes text)
{
    struct buffer raw = {.limit = 33};
    bool ok = text.size == 44 && base64_decode(&raw, text) == OK && raw.size == 32;
    if (ok) memcpy(out, raw.data, 32);
    buffer_free(&raw);
    return ok;
}

static bool letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

static bool name_valid(const char *name)
{
    size_t n = strlen(name);
    return n >= 1 && n <= LIMIT_NAME && strspn(name, name_characters) == n && letter_or_digit(name[0]) &&
           letter_or_digit(name[n - 1]);
}

static bool port_valid(const char *port)
{
    size_t n = strlen(port);
    unsigned value = 0;
    if (n < 1 || n > 5 || port[0] == '0' || strspn(port, "0123456789") != n) return false;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (unsigned)(port[i] - '0');
    return value <= 65535;
}

/* HOST:PORT or [IPV6]:PORT by its characters; whoever connects parses it for good. */
static bool address_valid(const char *address)
{
    size_t n = strlen(address);
    const char *colon = strrchr(address, ':');
    if (n > LIMIT_ADDRESS || !colon || colon == address || !port_valid(colon + 1)) return false;
    size_t host = (size_t)(colon - address);
    if (address[0] != '[')
        return strspn(address, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_") == host;
    return host > 2 && address[host - 1] == ']' && strspn(address + 1, "0123456789abcdefABCDEF:.") == host - 2;
}

enum err descriptor_check(const struct descriptor *d, struct failure *failure)
{
    if (!name_valid(d->name))
        return fail(failure, ERR_INVALID,
                    "name '%s': 1 to %d of a-z, 0-9, dot and dash, starting and ending with a letter or digit", d->name,
                    LIMIT_NAME);
    if (!label_valid(bytes_text(d->hospital)) || strchr(d->hospital, '"'))
        return fail(failure, ERR_INVALID, "hospital '%s': 1 to %d bytes of text in one line, without quotation marks",
                    d->hospital, LIMIT_NAME);
    if (!address_valid(d->address))
        return fail(failure, ERR_INVALID, "address '%s': expected HOST:PORT or [IPV6]:PORT", d->address);
    return OK;
}

void descriptor_format(struct buffer *out, const struct descriptor *d)
{
    CHECK(descriptor_check(d, NULL) == OK);
    const struct bytes keys[] = {BYTES(d->keys.message.bytes), BYTES(d->keys.cosign.bytes),
                                 BYTES(d->keys.seal.bytes), BYTES(d->tls_pin.bytes)};
    buffer_printf(out, "%s %s \"%s\" %s", line_magic, d->name, d->hospital, d->address);
    for (size_t i = 0; i < 4; i++) {
        buffer_append_text(out, " ");
        base64_append(out, keys[i]);
    }
}

/* Takes what stands before the next `end`, which is skipped; false when it isn't there. */
static bool take_until(struct bytes *rest, struct bytes *field, const char *end)
{
    const uint8_t *at = rest->size ? memmem(rest->data, rest->size, end, strlen(end)) : NULL;
    if (!at) return false;
    *field = bytes_of(rest->data, (size_t)(at - rest->data));
    *rest = bytes_of(at + strlen(end), rest->size - field->size - strlen(end));
    return true;
}

/* As a C string; false when too long or no text (so that it is safe to show in an error). */
static bool copy_text(char *out, size_t size, struct bytes text)
{
    if (text.size >= size || !text_valid(text)) return false;
    if (text.size) memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    return true;
}

static enum err parse_names(struct descriptor *out, struct bytes *rest, struct failure *failure)
{
    struct bytes name, hospital, address;
    if (!take_until(rest, &name, " \"") || !take_until(rest, &hospital, "\" ") || !take_until(rest, &address, " "))
        return fail(failure, ERR_SYNTAX, "expected: %s NAME \"HOSPITAL\" ADDRESS and four keys", line_magic);
    if (!copy_text(out->name, sizeof out->name, name) ||
        !copy_text(out->hospital, sizeof out->hospital, hospital) ||
        !copy_text(out->address, sizeof out->address, address))
        return fail(failure, ERR_SYNTAX, "name, hospital or address is too long or not text");
    struct failure why = {0};
    return descriptor_check(out, &why) == OK ? OK : fail(failure, ERR_SYNTAX, "%s", why.text);
}

static enum err parse_keys(struct descriptor *out, struct bytes rest, struct failure *failure)
{
    static const char *const what[] = {"message key", "cosigning key", "sealing key", "TLS pin"};
    uint8_t *keys[] = {out->keys.message.bytes, out->keys.cosign.bytes, out->keys.seal.bytes, out->tls_pin.bytes};
    for (size_t i = 0; i < 4; i++) {
        struct bytes field = rest;
        if (i < 3 && !take_until(&rest, &field, " ")) field.size = 0;
        if (!key_text_parse(keys[i], field))
            return fail(failure, ERR_SYNTAX, "%s: expected 44 characters of base64", what[i]);
    }
    return OK;
}

enum err descriptor_parse(struct descriptor *out, struct bytes line, struct failure *failure)
{
    *out = (struct descriptor){0};
    if (line.size && line.data[line.size - 1] == '\n') line.size--;
    struct bytes magic = {0};
    if (!take_until(&line, &magic, " ") || !bytes_equal(magic, bytes_text(line_magic))) {
        bool other = magic.size > 15 && memcmp(magic.data, line_magic, 15) == 0;
        return fail(failure, other ? ERR_VERSION : ERR_SYNTAX, "not a node descriptor of this version ('%s')",
                    line_magic);
    }
    enum err e = parse_names(out, &line, failure);
    if (e == OK) e = parse_keys(out, line, failure);
    if (e == OK) out->id = id_of_key(&out->keys.message);
    return e;
}
