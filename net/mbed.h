/* What differs between mbedTLS 2.28 (Debian 12) and 3.6 (Debian 13). Private to
 * net; the other files use only what both have in common. */
#ifndef NET_MBED_H
#define NET_MBED_H

#include <mbedtls/ecp.h>
#include <mbedtls/error.h>
#include <mbedtls/pk.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ticket.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>

#include "base/bytes.h"

/* Whom a configuration talks to. */
enum mbed_use { MBED_SERVER, MBED_CLIENT, MBED_CLIENT_PEER };

/* The library's own start; again is harmless. ERR_TLS. Any thread. */
enum err mbed_start(void);
/* libsodium's randomness in the shape of mbedTLS's callback. */
int mbed_random(void *unused, unsigned char *out, size_t size);

int mbed_parse_key(mbedtls_pk_context *out, struct bytes der);
int mbed_check_pair(const mbedtls_pk_context *public_key, const mbedtls_pk_context *private_key);
/* A signature over 32 fixed bytes. Besides proving that the key works, the first
 * one fills the group's table of multiples of G, which 2.28 writes without a
 * lock; after it, handshakes on several threads only read the shared key. */
int mbed_sign_once(mbedtls_pk_context *key);
int mbed_set_serial(mbedtls_x509write_cert *certificate, uint8_t serial[static 16]);

/* Versions, suites, curves and signature algorithms. */
void mbed_configure(mbedtls_ssl_config *config, enum mbed_use use);
/* One state of the handshake; `full` is set when it was one that a resumed handshake leaves out. */
int mbed_handshake_step(mbedtls_ssl_context *ssl, bool *full);
bool mbed_handshake_over(const mbedtls_ssl_context *ssl);
/* mbedtls_ssl_read returned this because a TLS 1.3 ticket came. */
bool mbed_is_ticket(int code);
/* The other side's reason, after MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE. */
unsigned mbed_last_alert(const mbedtls_ssl_context *ssl);
/* The record buffers hold nothing that matters: whole pages of theirs go back to the system. */
void mbed_shrink(mbedtls_ssl_context *ssl);
/* mbedtls_ssl_free of one that was shrunk: which would bring these pages back, to wipe what is not there. */
void mbed_free_shrunk(mbedtls_ssl_context *ssl);

#endif
