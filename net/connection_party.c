/* Whose addresses connections come from. Each party counts what it has, and has its own line for handshakes, so that
 * neither accepting nor closing a connection takes longer the more of them one address has, and so that one address
 * that sends thousands stands in nobody else's way: lines are served in turn, one connection each (fair queueing by
 * round robin: J. Nagle, RFC 970, 1985).
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "net/connection_state.h"

/* Who an address belongs to, for counting: an IPv4 address, or the /64 of an
 * IPv6 one, of which one customer has all. */
static uint64_t key_of(const struct address *a)
{
    struct sockaddr_storage socket;
    uint8_t key[8] = {0};
    if (address_to_socket(&socket, a)) {
        if (a->kind == ADDRESS_IPV4)
            memcpy(key + 4, &((struct sockaddr_in *)&socket)->sin_addr, 4);
        else
            memcpy(key, &((struct sockaddr_in6 *)&socket)->sin6_addr, 8);
    }
    return get_be64(key);
}

/* Fibonacci hashing. Who makes parties collide needs as many addresses as that
 * takes, and gains a walk along one chain. */
static struct party **bucket_of(struct parties *all, uint64_t key)
{
    return &all->buckets[key * 0x9e3779b97f4a7c15u >> 54];
}

static struct party *party_new(struct party **bucket, uint64_t key)
{
    struct party *p = xcalloc(1, sizeof *p); /* small, and LIMIT_CONNECTIONS bounds how many */
    p->key = key;
    TAILQ_INIT(&p->fresh);
    TAILQ_INIT(&p->line);
    p->next = *bucket;
    *bucket = p;
    return p;
}

void party_join(struct parties *all, struct connection *c)
{
    uint64_t key = key_of(&c->remote);
    struct party **bucket = bucket_of(all, key), *p = *bucket;
    while (p && p->key != key)
        p = p->next;
    c->party = p ? p : party_new(bucket, key);
    c->party->connections++;
}

void party_leave(struct parties *all, struct connection *c)
{
    struct party *p = c->party, **at = bucket_of(all, p->key);
    c->party = NULL;
    if (--p->connections > 0) return;
    CHECK(p->leaving == 0 && p->clients == 0 && p->places == 0 && TAILQ_EMPTY(&p->fresh) && TAILQ_EMPTY(&p->line));
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    free(p);
}
