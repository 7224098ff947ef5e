#include "tests/lib/identities.h"

#include <stdio.h>

#include "base/check.h"
#include "crypto/secret.h"
#include "net/certificate.h"

static struct identity identities[IDENTITIES];

const struct identity *identity_of(unsigned number)
{
    CHECK(number < IDENTITIES);
    struct identity *i = &identities[number];
    char name[16];
    if (i->key.size == 0) {
        snprintf(name, sizeof name, "node%u", number + 1);
        CHECK(certificate_generate(&i->key, &i->certificate, name, NULL) == OK);
        CHECK(certificate_pin(&i->pin, buffer_bytes(&i->certificate)) == OK);
    }
    return i;
}

struct tls_context *identity_context(unsigned number, unsigned without)
{
    const struct identity *i = identity_of(number);
    struct tls_context *c;
    struct digest pins[IDENTITIES];
    size_t count = 0;
    CHECK(tls_context_new(&c, buffer_bytes(&i->key), buffer_bytes(&i->certificate), NULL) == OK);
    for (unsigned n = 0; n < IDENTITIES; n++)
        if (!(without >> n & 1)) pins[count++] = identity_of(n)->pin;
    tls_set_pins(c, pins, count);
    return c;
}

struct tls_context *identity_none(void)
{
    struct tls_context *c;
    CHECK(tls_context_new(&c, (struct bytes){0}, (struct bytes){0}, NULL) == OK);
    return c;
}

void identities_free(void)
{
    for (unsigned n = 0; n < IDENTITIES; n++) {
        secret_wipe_buffer(&identities[n].key);
        buffer_free(&identities[n].certificate);
    }
}
