/* A node's TLS identity: an ECDSA P-256 key and a certificate that it signs
 * itself. Nobody checks a chain or a date: the other side knows the pin, the
 * SHA-256 of the certificate's SubjectPublicKeyInfo (RFC 7469, section 2.4).
 */
#ifndef NET_CERTIFICATE_H
#define NET_CERTIFICATE_H

#include "base/bytes.h"
#include "base/error.h"

/* Fresh key and certificate. `name` is the subject's common name, for people only
 * (characters that X.500 text would need escaped become '-'). Both in DER: the
 * key as RFC 5915 ECPrivateKey, the certificate as RFC 5280. The caller owns the
 * buffers and wipes the key (secret_wipe_buffer). ERR_TLS, ERR_NOMEM. Any thread. */
enum err certificate_generate(struct buffer *key, struct buffer *certificate, const char *name,
                              struct failure *failure);
/* ERR_MALFORMED when it is not one DER certificate with a P-256 key. */
enum err certificate_pin(struct digest *pin, struct bytes certificate);
/* PEM text of the certificate ("-----BEGIN CERTIFICATE-----"), for curl and browsers. */
enum err certificate_text(struct buffer *out, struct bytes certificate);
/* OK when the key is the certificate's; ERR_MALFORMED, ERR_NO_KEY when not. */
enum err certificate_check(struct bytes key, struct bytes certificate);
#endif
