#include "crypto/time_id.h"

#include <string.h>

#include "crypto/random.h"

struct id time_id_of(uint64_t unix_ms, const uint8_t random[static TIME_ID_RANDOM])
{
    struct id id;
    for (unsigned i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(unix_ms >> (40 - 8 * i));
    memcpy(id.bytes + 6, random, TIME_ID_RANDOM);
    id.bytes[6] = (uint8_t)(0x70 | (id.bytes[6] & 0x0f)); /* version 7 */
    id.bytes[8] = (uint8_t)(0x80 | (id.bytes[8] & 0x3f)); /* variant 10 */
    return id;
}

struct id time_id(uint64_t unix_ms)
{
    uint8_t random[TIME_ID_RANDOM];
    random_bytes(random, sizeof random);
    return time_id_of(unix_ms, random);
}
