/* HOST:PORT as people write it: "10.0.0.4:7001", "[fd00::4]:7001", "node.example:7001". */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/limits.h"

#define ADDRESS_TEXT_SIZE (LIMIT_ADDRESS + 1)

enum address_kind { ADDRESS_IPV4, ADDRESS_IPV6, ADDRESS_NAME };

struct address {
    enum address_kind kind;
    char host[LIMIT_ADDRESS]; /* without brackets; a name in lower case */
    uint16_t port;
};

/* ERR_INVALID, with a text that says which part is wrong. Port 0 is refused
 * unless `port_zero` (a listener's "any free port"). Resolves nothing. */
enum err address_parse(struct address *out, const char *text, bool port_zero, struct failure *failure);
void address_format(char out[static ADDRESS_TEXT_SIZE], const struct address *address);
bool address_equal(const struct address *a, const struct address *b);
/* 0.0.0.0 and ::, which can be listened on but not connected to. */
bool address_is_wildcard(const struct address *address);

/* Whether who connects to `to` comes to who listens on `own`, as far as the two say: a name may be any address. */
bool address_reaches(const struct address *to, const struct address *own);

/* A numeric address as a socket address; false for a name. */
bool address_to_socket(struct sockaddr_storage *out, const struct address *address);
/* From what the kernel gave; an IPv4 address inside IPv6 becomes IPv4. */
void address_from_socket(struct address *out, const struct sockaddr *socket);

#endif
