#include "net/certificate.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "crypto/hash.h"
#include "crypto/random.h"
#include "crypto/secret.h"
#include "net/mbed.h"

#define DER_MAX 2048 /* of a P-256 key or a certificate with one */

static enum err failed(struct failure *failure, int code, const char *what)
{
    char text[128];
    mbedtls_strerror(code, text, sizeof text);
    return fail(failure, ERR_TLS, "cannot %s: %s", what, text);
}

/* mbedTLS writes DER at the end of the space it is given. */
static enum err append_tail(struct buffer *out, const uint8_t *space, int size)
{
    CHECK(size > 0 && size <= DER_MAX);
    buffer_append(out, &space[DER_MAX - size], (size_t)size);
    return out->failed ? ERR_NOMEM : OK;
}

static enum err write_key(struct buffer *out, mbedtls_pk_context *key, struct failure *failure)
{
    uint8_t space[DER_MAX];
    int size = mbedtls_pk_write_key_der(key, space, sizeof space);
    enum err err = size > 0 ? append_tail(out, space, size) : failed(failure, size, "write the TLS key");
    secret_wipe(space, sizeof space);
    return err;
}

/* "CN=..." with what X.500 text would need escaped replaced. */
static void subject(char *out, size_t size, const char *name)
{
    int n = snprintf(out, size, "CN=");
    for (; *name && n < 3 + LIMIT_NAME && (size_t)n + 1 < size; name++)
        out[n++] = isalnum((unsigned char)*name) || *name == '.' || *name == '_' ? *name : '-';
    if (n == 3) n += snprintf(out + n, size - (size_t)n, "node");
    out[n] = '\0';
}

static int describe(mbedtls_x509write_cert *w, mbedtls_pk_context *key, const char *name)
{
    char text[3 + LIMIT_NAME + 8];
    uint8_t serial[16];
    int code;
    subject(text, sizeof text, name);
    random_bytes(serial, sizeof serial);
    mbedtls_x509write_crt_set_version(w, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(w, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(w, key);
    mbedtls_x509write_crt_set_issuer_key(w, key);
    /* RFC 5280, 4.1.2.5: no well-defined end. The pin is what counts, and it is
     * taken back by leaving the cluster, not by a date. */
    code = mbed_set_serial(w, serial);
    if (code == 0) code = mbedtls_x509write_crt_set_validity(w, "20200101000000", "99991231235959");
    if (code == 0) code = mbedtls_x509write_crt_set_subject_name(w, text);
    if (code == 0) code = mbedtls_x509write_crt_set_issuer_name(w, text);
    if (code == 0) code = mbedtls_x509write_crt_set_basic_constraints(w, 0, -1);
    if (code == 0) code = mbedtls_x509write_crt_set_key_usage(w, MBEDTLS_X509_KU_DIGITAL_SIGNATURE);
    return code;
}

static enum err write_certificate(struct buffer *out, mbedtls_pk_context *key, const char *name,
                                  struct failure *failure)
{
    uint8_t space[DER_MAX];
    mbedtls_x509write_cert w;
    mbedtls_x509write_crt_init(&w);
    int size = describe(&w, key, name);
    if (size == 0) size = mbedtls_x509write_crt_der(&w, space, sizeof space, mbed_random, NULL);
    mbedtls_x509write_crt_free(&w);
    return size > 0 ? append_tail(out, space, size) : failed(failure, size, "write the TLS certificate");
}

enum err certificate_generate(struct buffer *key, struct buffer *certificate, const char *name,
                              struct failure *failure)
{
    mbedtls_pk_context pk;
    if (mbed_start() != OK) return fail(failure, ERR_TLS, "mbedTLS cannot start");
    mbedtls_pk_init(&pk);
    int code = mbedtls_pk_setup(&pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (code == 0) code = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(pk), mbed_random, NULL);
    enum err err = code ? failed(failure, code, "make a TLS key") : write_key(key, &pk, failure);
    if (err == OK) err = write_certificate(certificate, &pk, name, failure);
    mbedtls_pk_free(&pk);
    return err;
}

/* Exactly one certificate in DER (the parser would also take PEM and ignore what
 * follows), with an ECDSA key of 256 bits. */
static enum err parse(mbedtls_x509_crt *out, struct bytes der)
{
    if (mbed_start() != OK) return ERR_TLS;
    if (der.size == 0 || mbedtls_x509_crt_parse_der(out, der.data, der.size) != 0) return ERR_MALFORMED;
    if (out->raw.len != der.size) return ERR_MALFORMED;
    if (!mbedtls_pk_can_do(&out->pk, MBEDTLS_PK_ECDSA) || mbedtls_pk_get_bitlen(&out->pk) != 256)
        return ERR_MALFORMED;
    return OK;
}

enum err certificate_pin(struct digest *pin, struct bytes certificate)
{
    mbedtls_x509_crt crt;
    mbedtls_x509_crt_init(&crt);
    enum err err = parse(&crt, certificate);
    if (err == OK) hash_sha256(pin, crt.pk_raw.p, crt.pk_raw.len);
    mbedtls_x509_crt_free(&crt);
    return err;
}

enum err certificate_text(struct buffer *out, struct bytes certificate)
{
    struct buffer lines = {0};
    base64_append(&lines, certificate);
    buffer_append_text(out, "-----BEGIN CERTIFICATE-----\n");
    for (size_t at = 0; at < lines.size; at += 64) {
        buffer_append(out, lines.data + at, lines.size - at < 64 ? lines.size - at : 64);
        buffer_append_text(out, "\n");
    }
    buffer_append_text(out, "-----END CERTIFICATE-----\n");
    enum err err = out->failed || lines.failed ? ERR_NOMEM : OK;
    buffer_free(&lines);
    return err;
}

enum err certificate_check(struct bytes key, struct bytes certificate)
{
    mbedtls_x509_crt crt;
    mbedtls_pk_context pk;
    mbedtls_x509_crt_init(&crt);
    mbedtls_pk_init(&pk);
    enum err err = parse(&crt, certificate);
    if (err == OK && (key.size == 0 || mbed_parse_key(&pk, key) != 0)) err = ERR_MALFORMED;
    if (err == OK && mbed_check_pair(&crt.pk, &pk) != 0) err = ERR_NO_KEY;
    mbedtls_pk_free(&pk);
    mbedtls_x509_crt_free(&crt);
    return err;
}
