#include "tests/lib/older.h"

#include <dlfcn.h>
#include <mbedtls/ssl.h>
#include <string.h>

#include "base/check.h"

#define PEER "consilium-peer/"
#define OFFERS 8
#define LISTS 64 /* mbedTLS keeps the pointer, and a test makes few contexts */

bool older_release = true;

/* But the first version of what nodes speak. */
static const char **without_newer(const char **names)
{
    static const char *lists[LISTS][OFFERS + 1];
    static size_t count;
    CHECK(count < LISTS);
    const char **list = lists[count++];
    size_t kept = 0;
    for (; *names; names++) {
        CHECK(kept < OFFERS);
        if (strncmp(*names, PEER, sizeof PEER - 1) != 0 || strcmp(*names, PEER "1") == 0) list[kept++] = *names;
    }
    return list;
}

/* Comes before the library's. */
int mbedtls_ssl_conf_alpn_protocols(mbedtls_ssl_config *config, const char **names)
{
    int (*real)(mbedtls_ssl_config *, const char **);
    *(void **)&real = dlsym(RTLD_NEXT, "mbedtls_ssl_conf_alpn_protocols");
    CHECK(real);
    return real(config, older_release ? without_newer(names) : names);
}
