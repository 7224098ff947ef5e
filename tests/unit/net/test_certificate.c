#include <stdio.h>
#include <stdlib.h>

#include "crypto/random.h"
#include "crypto/secret.h"
#include "net/certificate.h"
#include "tests/lib/unit.h"

/* Made by OpenSSL; the pin is its `x509 -pubkey | pkey -pubin -outform DER | sha256sum`. */
static const char foreign[] =
    "MIIBeTCCAR+gAwIBAgIUWVkRpO/rsVeYzMP2LXdVoLMJFq4wCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGdmVjdG9yMCAXDTI2MTEyMTExNTk0"
    "OFoYDzIxMjYxMDI4MTE1OTQ4WjARMQ8wDQYDVQQDDAZ2ZWN0b3IwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ7yRkENjbiBOP1sOidOw8B"
    "KxWla1mwb1bvZNwuJq+4Ocpdo04DZXLFlLBh2z3jF2G1z1AgFF3DiX3wO2eBHi/Co1MwUTAdBgNVHQ4EFgQUKBhgLjoumgzUXP+NNEacvVIv"
    "o5UwHwYDVR0jBBgwFoAUKBhgLjoumgzUXP+NNEacvVIvo5UwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiAMKuwwnA5ssrDI"
    "ehDRHsFQXglZuaLkj908VjjKKAonZAIhAL/eiwJGTaMJ/ue+7DdNwJ4VDJ9U1StlckKYcgFQNVC4";
static const char foreign_pin[] = "ec79b31d14369db7ce6c1af5499c78d850cfd8343e046d39cb81721a42959101";

static void test_pin_is_the_usual_one(void **state)
{
    (void)state;
    struct buffer der = {0};
    struct digest pin;
    char text[65];
    assert_int_equal(base64_decode(&der, bytes_text(foreign)), OK);
    assert_int_equal(certificate_pin(&pin, buffer_bytes(&der)), OK);
    hex_format(text, pin.bytes, 32);
    assert_string_equal(text, foreign_pin);
    /* Every truncation, a trailing byte and PEM are refused. */
    for (size_t size = 0; size < der.size; size++)
        assert_int_equal(certificate_pin(&pin, bytes_of(der.data, size)), ERR_MALFORMED);
    buffer_append(&der, "", 1);
    assert_int_equal(certificate_pin(&pin, buffer_bytes(&der)), ERR_MALFORMED);
    der.size--;
    struct buffer pem = {0};
    assert_int_equal(certificate_text(&pem, buffer_bytes(&der)), OK);
    assert_int_equal(certificate_pin(&pin, buffer_bytes(&pem)), ERR_MALFORMED);
    buffer_free(&pem);
    buffer_free(&der);
}

static void test_generated(void **state)
{
    (void)state;
    struct buffer key = {0}, certificate = {0}, other_key = {0}, other = {0};
    struct digest pin, again, other_pin;
    assert_int_equal(certificate_generate(&key, &certificate, "st-mary", NULL), OK);
    assert_int_equal(certificate_pin(&pin, buffer_bytes(&certificate)), OK);
    assert_int_equal(certificate_pin(&again, buffer_bytes(&certificate)), OK);
    assert_true(digest_equal(&pin, &again));
    assert_int_equal(certificate_check(buffer_bytes(&key), buffer_bytes(&certificate)), OK);
    /* Names that X.500 would take apart, that are too long, or empty. */
    static const char *const names[] = {"a, CN=root", "", "h\xc3\xb4pital #7 + \"x\" \\",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        secret_wipe_buffer(&other_key);
        buffer_clear(&other);
        assert_int_equal(certificate_generate(&other_key, &other, names[i], NULL), OK);
        assert_int_equal(certificate_pin(&other_pin, buffer_bytes(&other)), OK);
        assert_false(digest_equal(&pin, &other_pin));
    }
    assert_int_equal(certificate_check(buffer_bytes(&other_key), buffer_bytes(&certificate)), ERR_NO_KEY);
    assert_int_equal(certificate_check(buffer_bytes(&certificate), buffer_bytes(&certificate)), ERR_MALFORMED);
    assert_int_equal(certificate_check(buffer_bytes(&key), buffer_bytes(&key)), ERR_MALFORMED);
    assert_int_equal(certificate_check((struct bytes){0}, buffer_bytes(&certificate)), ERR_MALFORMED);
    secret_wipe_buffer(&key);
    secret_wipe_buffer(&other_key);
    buffer_free(&certificate);
    buffer_free(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pin_is_the_usual_one),
        cmocka_unit_test(test_generated),
    };
    crypto_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
