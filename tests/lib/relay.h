/* A slow network on loopback: what comes in at one port goes on to another, each byte so much later, both ways.
 * A thread of its own serves all connections.
 */
#ifndef TESTS_LIB_RELAY_H
#define TESTS_LIB_RELAY_H

#include <stdint.h>

struct relay;

/* Listens on 127.0.0.1 at each of `from` and connects on to the same place in `to`. Ends the program when it can't. */
struct relay *relay_start(const uint16_t *from, const uint16_t *to, unsigned count);
void relay_delay(struct relay *r, uint64_t ns); /* of what comes from now on, one way; any thread; 0 at first */
void relay_stop(struct relay *r);               /* cuts all connections */

#endif
