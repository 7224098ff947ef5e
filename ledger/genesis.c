#include "ledger/genesis.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/pack.h"
#include "crypto/hash.h"
#include "ledger/descriptor.h"
#include "ledger/leaf.h"

static const char file_magic[] = "consilium-genesis/1";

uint32_t genesis_quorum(uint32_t n, uint32_t b) { return (n + b) / 2 + 1; }
uint32_t genesis_default_faulty(uint32_t n) { return (n - 1) / 3; }
bool genesis_live(uint32_t n, uint32_t b) { return n >= b && n - b >= genesis_quorum(n, b); }

const struct descriptor *genesis_member(const struct genesis *g, uint32_t index)
{
    return index >= 1 && index <= g->member_count ? &g->members[index - 1] : NULL;
}

uint32_t genesis_member_by_id(const struct genesis *g, const struct id *id)
{
    for (uint32_t i = 0; i < g->member_count; i++)
        if (id_equal(&g->members[i].id, id)) return i + 1;
    return 0;
}

uint32_t genesis_member_by_name(const struct genesis *g, const char *name)
{
    for (uint32_t i = 0; i < g->member_count; i++)
        if (strcmp(g->members[i].name, name) == 0) return i + 1;
    return 0;
}

/* --- what is refused --- */

static bool origin_valid(const char *origin)
{
    size_t n = strlen(origin);
    if (n == 0 || n > LIMIT_ORIGIN || origin[0] == '/' || origin[n - 1] == '/' || strstr(origin, "//")) return false;
    return strspn(origin, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-/") == n;
}

enum err genesis_check_numbers(const struct genesis *g, struct failure *failure)
{
    uint32_t n = g->member_count, b = g->faulty;
    if (!origin_valid(g->origin))
        return fail(failure, ERR_INVALID,
                    "origin '%s': 1 to %d letters, digits, dots, dashes and underscores, parts separated by one slash",
                    g->origin, LIMIT_ORIGIN);
    if (n < 3)
        return fail(failure, ERR_INVALID, "%u members: a cluster has at least 3 (4 are recommended)", n);
    if (n > LIMIT_NODES) return fail(failure, ERR_TOO_LARGE, "more than %d members", LIMIT_NODES);
    if (2 * b >= n)
        return fail(failure, ERR_INVALID, "faulty %u of %u members: nodes that may lie must be fewer than half", b, n);
    if (g->admin_count == 0) return fail(failure, ERR_INVALID, "no first administrator");
    if (g->admin_count > LIMIT_ADMINS)
        return fail(failure, ERR_TOO_LARGE, "more than %d first administrators", LIMIT_ADMINS);
    if (g->approvals == 0 || g->approvals > g->admin_count)
        return fail(failure, ERR_INVALID, "approvals %u: between 1 and the number of administrators, %u",
                    g->approvals, g->admin_count);
    CHECK(genesis_quorum(n, b) <= n);
    return OK;
}

static enum err check_policy(struct bytes policy, struct failure *failure)
{
    if (policy.size > LIMIT_POLICY) return fail(failure, ERR_TOO_LARGE, "policy is longer than %u bytes", LIMIT_POLICY);
    if (policy.size == 0 || policy.data[policy.size - 1] != '\n')
        return fail(failure, ERR_INVALID, "policy is empty or does not end with a newline");
    if (!text_valid(policy)) return fail(failure, ERR_INVALID, "policy is not plain UTF-8 text");
    return OK;
}

static enum err check_pair(const struct descriptor *a, const struct descriptor *b, struct failure *failure)
{
    const char *what = NULL;
    if (strcmp(a->name, b->name) == 0) what = "name";
    if (strcmp(a->address, b->address) == 0) what = "address";
    if (memcmp(&a->keys.seal, &b->keys.seal, sizeof a->keys.seal) == 0) what = "sealing key";
    if (digest_equal(&a->tls_pin, &b->tls_pin)) what = "TLS key";
    if (!what) return OK;
    return fail(failure, ERR_INVALID, "members %s and %s have the same %s", a->name, b->name, what);
}

/* The i-th of all Ed25519 keys: two of each member, then the administrators'. */
static const struct sign_public *signing_key(const struct genesis *g, uint32_t i)
{
    if (i >= 2 * g->member_count) return &g->admins[i - 2 * g->member_count].key;
    const struct node_public *keys = &g->members[i / 2].keys;
    return i % 2 ? &keys->cosign : &keys->message;
}

static void signing_key_owner(char out[static LIMIT_NAME + 32], const struct genesis *g, uint32_t i)
{
    if (i >= 2 * g->member_count)
        snprintf(out, LIMIT_NAME + 32, "administrator %u", i - 2 * g->member_count + 1);
    else
        snprintf(out, LIMIT_NAME + 32, "member %s", g->members[i / 2].name);
}

/* One key for two purposes, or in two hands, would let one signature stand for another. */
static enum err check_signing_keys(const struct genesis *g, struct failure *failure)
{
    uint32_t count = 2 * g->member_count + g->admin_count;
    for (uint32_t i = 1; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (memcmp(signing_key(g, i), signing_key(g, j), sizeof(struct sign_public)) != 0) continue;
            char a[LIMIT_NAME + 32], b[LIMIT_NAME + 32];
            signing_key_owner(a, g, j);
            signing_key_owner(b, g, i);
            return fail(failure, ERR_INVALID, "the same signing key occurs twice: %s, %s", a, b);
        }
    }
    return OK;
}

static enum err check_members(const struct genesis *g, struct failure *failure)
{
    for (uint32_t i = 0; i < g->member_count; i++) {
        enum err e = descriptor_check(&g->members[i], failure);
        for (uint32_t j = 0; e == OK && j < i; j++)
            e = check_pair(&g->members[j], &g->members[i], failure);
        if (e != OK) return e;
    }
    return check_signing_keys(g, failure);
}

enum err genesis_check(const struct genesis *g, struct failure *failure)
{
    enum err e = genesis_check_numbers(g, failure);
    if (e == OK) e = check_members(g, failure);
    if (e == OK) e = check_policy(g->policy, failure);
    return e;
}

/* --- the file --- */

enum err genesis_format(struct buffer *out, const struct genesis *g, struct failure *failure)
{
    enum err e = genesis_check(g, failure);
    if (e != OK) return e;
    buffer_printf(out, "%s\norigin %s\nfaulty %u\napprovals %u\n", file_magic, g->origin, g->faulty, g->approvals);
    for (uint32_t i = 0; i < g->member_count; i++) {
        buffer_append_text(out, "member ");
        descriptor_format(out, &g->members[i]);
        buffer_append_text(out, "\n");
    }
    for (uint32_t i = 0; i < g->admin_count; i++) {
        buffer_append_text(out, "admin ");
        base64_append(out, BYTES(g->admins[i].key.bytes));
        buffer_append_text(out, "\n");
    }
    buffer_append_text(out, "policy\n");
    buffer_append_bytes(out, g->policy);
    return out->failed ? fail(failure, ERR_NOMEM, "out of memory") : OK;
}

/* A cursor over lines, which knows where it is. */
struct lines {
    struct bytes rest;
    struct bytes line; /* without "\n" */
    unsigned number;   /* of `line`, from 1 */
    struct failure *failure;
};

static enum err line_error(const struct lines *l, enum err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static enum err line_error(const struct lines *l, enum err code, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return fail(l->failure, code, "line %u: %s", l->number, text);
}

static bool next_line(struct lines *l)
{
    const uint8_t *end = l->rest.size ? memchr(l->rest.data, '\n', l->rest.size) : NULL;
    l->number++;
    l->line = (struct bytes){0};
    if (!end) return false;
    l->line = bytes_of(l->rest.data, (size_t)(end - l->rest.data));
    l->rest = bytes_of(end + 1, l->rest.size - l->line.size - 1);
    return true;
}

/* What follows "WORD " on the current line; false when it starts differently. */
static bool field_of(const struct lines *l, const char *word, struct bytes *value)
{
    size_t n = strlen(word);
    if (l->line.size <= n || memcmp(l->line.data, word, n) != 0 || l->line.data[n] != ' ') return false;
    *value = bytes_of(l->line.data + n + 1, l->line.size - n - 1);
    return true;
}

static enum err expect_field(struct lines *l, const char *word, struct bytes *value)
{
    if (next_line(l) && field_of(l, word, value)) return OK;
    return line_error(l, ERR_SYNTAX, "expected '%s ...'", word);
}

static enum err expect_number(struct lines *l, const char *word, uint32_t *value)
{
    struct bytes text = {0};
    enum err e = expect_field(l, word, &text);
    if (e != OK) return e;
    uint32_t n = 0;
    bool ok = text.size >= 1 && text.size <= 3 && (text.data[0] != '0' || text.size == 1);
    for (size_t i = 0; ok && i < text.size; i++) {
        ok = text.data[i] >= '0' && text.data[i] <= '9';
        n = n * 10 + (uint32_t)(text.data[i] - '0');
    }
    *value = n;
    return ok ? OK : line_error(l, ERR_SYNTAX, "%s: a number in decimal, without leading zeros", word);
}

static enum err parse_head(struct genesis *out, struct lines *l)
{
    struct bytes origin;
    if (!next_line(l) || !bytes_equal(l->line, bytes_text(file_magic))) {
        bool other = l->line.size > 18 && memcmp(l->line.data, file_magic, 18) == 0;
        return line_error(l, other ? ERR_VERSION : ERR_SYNTAX, "not a genesis file of this version ('%s')", file_magic);
    }
    enum err e = expect_field(l, "origin", &origin);
    if (e != OK) return e;
    if (origin.size > LIMIT_ORIGIN || !text_valid(origin))
        return line_error(l, ERR_SYNTAX, "origin is longer than %d characters or not text", LIMIT_ORIGIN);
    memcpy(out->origin, origin.data, origin.size);
    e = expect_number(l, "faulty", &out->faulty);
    if (e == OK) e = expect_number(l, "approvals", &out->approvals);
    return e;
}

static enum err parse_member(struct genesis *out, struct lines *l, struct bytes value)
{
    struct failure why = {0};
    if (out->member_count == LIMIT_NODES) return line_error(l, ERR_TOO_LARGE, "more than %d members", LIMIT_NODES);
    if (out->admin_count != 0) return line_error(l, ERR_SYNTAX, "members come before administrators");
    enum err e = descriptor_parse(&out->members[out->member_count], value, &why);
    if (e != OK) return line_error(l, e, "member: %s", why.text);
    out->member_count++;
    return OK;
}

static enum err parse_admin(struct genesis *out, struct lines *l, struct bytes value)
{
    if (out->admin_count == LIMIT_ADMINS)
        return line_error(l, ERR_TOO_LARGE, "more than %d first administrators", LIMIT_ADMINS);
    struct genesis_admin *admin = &out->admins[out->admin_count];
    if (!key_text_parse(admin->key.bytes, value))
        return line_error(l, ERR_SYNTAX, "admin: expected a public key, 44 characters of base64");
    admin->id = id_of_key(&admin->key);
    out->admin_count++;
    return OK;
}

/* Members, administrators, up to the line "policy". */
static enum err parse_people(struct genesis *out, struct lines *l)
{
    enum err e = OK;
    while (e == OK) {
        struct bytes value;
        if (!next_line(l)) return line_error(l, ERR_SYNTAX, "the file ends before 'policy'");
        if (bytes_equal(l->line, bytes_text("policy"))) return OK;
        if (field_of(l, "member", &value))
            e = parse_member(out, l, value);
        else if (field_of(l, "admin", &value))
            e = parse_admin(out, l, value);
        else
            e = line_error(l, ERR_SYNTAX, "expected 'member ...', 'admin ...' or 'policy'");
    }
    return e;
}

static void derive(struct genesis *out, struct bytes text)
{
    char hex[17];
    hash_sha256(&out->cluster, text.data, text.size);
    hex_format(hex, out->cluster.bytes, 8);
    snprintf(out->checkpoint_origin, sizeof out->checkpoint_origin, "%s/%s", out->origin, hex);
    out->quorum = genesis_quorum(out->member_count, out->faulty);
    out->text = text;
}

enum err genesis_parse(struct genesis *out, struct bytes text, struct failure *failure)
{
    *out = (struct genesis){0};
    struct lines l = {.rest = text, .failure = failure};
    if (text.size > LIMIT_GENESIS)
        return fail(failure, ERR_TOO_LARGE, "a genesis file has at most %u bytes", LIMIT_GENESIS);
    enum err e = parse_head(out, &l);
    if (e == OK) e = parse_people(out, &l);
    if (e == OK) {
        out->policy = l.rest;
        e = genesis_check(out, failure);
    }
    if (e == OK) derive(out, text);
    return e;
}

void genesis_leaf(struct buffer *out, const struct genesis *genesis)
{
    struct leaf leaf = {.genesis = genesis->text};
    leaf_encode(out, &leaf);
}
