#include "net/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

/* Digits only: strtol would take signs, blanks and hexadecimal. */
static bool parse_port(uint16_t *out, const char *text, bool zero)
{
    uint32_t port = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 5) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9') return false;
        port = port * 10 + (uint32_t)(*text - '0');
    }
    if (port > 65535 || (port == 0 && !zero)) return false;
    *out = (uint16_t)port;
    return true;
}

/* A host name: labels of letters, digits and '-', not at a label's ends (RFC 1123, 2.1).
 * One whose last label is all digits would be a mistyped IPv4 address. */
static bool name_valid(const char *host)
{
    bool digits = true;
    size_t label = 0;
    for (const char *p = host; *p; p++) {
        if (*p == '.') {
            if (label == 0 || p[-1] == '-' || !p[1]) return false;
            label = 0;
            digits = true;
            continue;
        }
        if (!isalnum((unsigned char)*p) && !(*p == '-' && label > 0)) return false;
        if (!isdigit((unsigned char)*p)) digits = false;
        if (++label > 63) return false;
    }
    return label > 0 && !digits && host[strlen(host) - 1] != '-';
}

static enum err parse_host(struct address *out, const char *text, size_t size, bool bracketed,
                           const char *whole, struct failure *failure)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (size == 0) return fail(failure, ERR_INVALID, "address '%s' has no host before the port", whole);
    CHECK(size < sizeof out->host);
    memcpy(out->host, text, size);
    out->host[size] = '\0';
    if (bracketed) {
        if (inet_pton(AF_INET6, out->host, &v6) != 1)
            return fail(failure, ERR_INVALID, "'%s' in address '%s' is not an IPv6 address", out->host, whole);
        inet_ntop(AF_INET6, &v6, out->host, sizeof out->host);
        out->kind = ADDRESS_IPV6;
    } else if (inet_pton(AF_INET, out->host, &v4) == 1) {
        out->kind = ADDRESS_IPV4;
    } else if (strchr(out->host, ':')) {
        return fail(failure, ERR_INVALID, "address '%s': write IPv6 addresses in brackets, as in [::1]:7001", whole);
    } else if (!name_valid(out->host)) {
        return fail(failure, ERR_INVALID, "'%s' in address '%s' is neither an IPv4 address nor a host name",
                    out->host, whole);
    } else {
        for (char *p = out->host; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        out->kind = ADDRESS_NAME;
    }
    return OK;
}

enum err address_parse(struct address *out, const char *text, bool port_zero, struct failure *failure)
{
    struct address a = {0};
    if (strlen(text) > LIMIT_ADDRESS)
        return fail(failure, ERR_INVALID, "address is longer than %d characters", LIMIT_ADDRESS);
    bool bracketed = text[0] == '[';
    const char *host = text + bracketed;
    const char *end = bracketed ? strchr(host, ']') : strrchr(host, ':');
    if (bracketed && !end) return fail(failure, ERR_INVALID, "address '%s' lacks the ']'", text);
    const char *colon = bracketed ? end + 1 : end;
    if (!colon || *colon != ':')
        return fail(failure, ERR_INVALID, "address '%s' has no port: write HOST:PORT", text);
    enum err err = parse_host(&a, host, (size_t)(end - host), bracketed, text, failure);
    if (err != OK) return err;
    if (!parse_port(&a.port, colon + 1, port_zero))
        return fail(failure, ERR_INVALID, "'%s' in address '%s' is not a port from %d to 65535", colon + 1, text,
                    port_zero ? 0 : 1);
    *out = a;
    return OK;
}

void address_format(char out[static ADDRESS_TEXT_SIZE], const struct address *a)
{
    snprintf(out, ADDRESS_TEXT_SIZE, a->kind == ADDRESS_IPV6 ? "[%s]:%u" : "%s:%u", a->host, (unsigned)a->port);
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->kind == b->kind && a->port == b->port && strcmp(a->host, b->host) == 0;
}

bool address_is_wildcard(const struct address *a)
{
    return (a->kind == ADDRESS_IPV4 && strcmp(a->host, "0.0.0.0") == 0) ||
           (a->kind == ADDRESS_IPV6 && strcmp(a->host, "::") == 0);
}

bool address_reaches(const struct address *to, const struct address *own)
{
    return to->port == own->port && (to->kind == ADDRESS_NAME || address_is_wildcard(own) || address_equal(to, own));
}

bool address_to_socket(struct sockaddr_storage *out, const struct address *a)
{
    memset(out, 0, sizeof *out);
    switch (a->kind) {
    case ADDRESS_IPV4: {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        return inet_pton(AF_INET, a->host, &in->sin_addr) == 1;
    }
    case ADDRESS_IPV6: {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)out;
        in->sin6_family = AF_INET6;
        in->sin6_port = htons(a->port);
        return inet_pton(AF_INET6, a->host, &in->sin6_addr) == 1;
    }
    case ADDRESS_NAME: return false;
    }
    return false;
}

void address_from_socket(struct address *out, const struct sockaddr *socket)
{
    *out = (struct address){.kind = ADDRESS_IPV4, .host = "0.0.0.0"};
    if (socket->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)socket;
        inet_ntop(AF_INET, &in->sin_addr, out->host, sizeof out->host);
        out->port = ntohs(in->sin_port);
    } else if (socket->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)socket;
        bool mapped = IN6_IS_ADDR_V4MAPPED(&in->sin6_addr);
        out->kind = mapped ? ADDRESS_IPV4 : ADDRESS_IPV6;
        inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? in->sin6_addr.s6_addr + 12 : in->sin6_addr.s6_addr,
                  out->host, sizeof out->host);
        out->port = ntohs(in->sin6_port);
    }
}
