#include "net/mbed.h"

#include <malloc.h>
#include <mbedtls/platform.h>
#include <mbedtls/platform_util.h>
#include <sys/mman.h>
#include <unistd.h>

#include "crypto/aead.h"
#include "crypto/random.h"

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
#define MBED_3 1
#include <psa/crypto.h>
#define FIELD(member) MBEDTLS_PRIVATE(member)
#else
#define MBED_3 0
#define FIELD(member) member
#endif

enum err mbed_start(void)
{
    crypto_init();
#if MBED_3
    if (psa_crypto_init() != PSA_SUCCESS) return ERR_TLS;
#endif
    return OK;
}

int mbed_random(void *unused, unsigned char *out, size_t size)
{
    (void)unused;
    random_bytes(out, size);
    return 0;
}

int mbed_parse_key(mbedtls_pk_context *out, struct bytes der)
{
#if MBED_3
    return mbedtls_pk_parse_key(out, der.data, der.size, NULL, 0, mbed_random, NULL);
#else
    return mbedtls_pk_parse_key(out, der.data, der.size, NULL, 0);
#endif
}

int mbed_check_pair(const mbedtls_pk_context *public_key, const mbedtls_pk_context *private_key)
{
#if MBED_3
    return mbedtls_pk_check_pair(public_key, private_key, mbed_random, NULL);
#else
    return mbedtls_pk_check_pair(public_key, private_key);
#endif
}

int mbed_sign_once(mbedtls_pk_context *key)
{
    static const unsigned char hash[32] = {1};
    unsigned char signature[MBEDTLS_PK_SIGNATURE_MAX_SIZE];
    size_t size;
#if MBED_3
    return mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, sizeof hash, signature, sizeof signature, &size,
                           mbed_random, NULL);
#else
    return mbedtls_pk_sign(key, MBEDTLS_MD_SHA256, hash, sizeof hash, signature, &size, mbed_random, NULL);
#endif
}

int mbed_set_serial(mbedtls_x509write_cert *certificate, uint8_t serial[static 16])
{
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x40); /* positive, and no leading zero byte */
#if MBED_3
    return mbedtls_x509write_crt_set_serial_raw(certificate, serial, 16);
#else
    mbedtls_mpi number;
    mbedtls_mpi_init(&number);
    int code = mbedtls_mpi_read_binary(&number, serial, 16);
    if (code == 0) code = mbedtls_x509write_crt_set_serial(certificate, &number);
    mbedtls_mpi_free(&number);
    return code;
#endif
}

/* ECDHE for forward secrecy, ECDSA because identities are P-256 keys, AEAD only. In the order of mbedTLS 2.28's speed
 * on one core: AES-CCM 660 MB/s in large records, ChaCha20-Poly1305 520, AES-GCM 280, since its GCM takes a block at a
 * time; in records of 64 bytes 400, 220, 170. Without AES instructions ChaCha20-Poly1305 is the fastest, and does not
 * look up tables by secrets. GCM is for others' clients. */
#if MBED_3
#define CCM MBEDTLS_TLS1_3_AES_128_CCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM
#define CHACHA MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
#define GCM MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
#else
#define CCM MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM
#define CHACHA MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
#define GCM MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
#endif
static const int with_aes[] = {CCM, CHACHA, GCM, 0}, without_aes[] = {CHACHA, CCM, GCM, 0};

void mbed_configure(mbedtls_ssl_config *config, enum mbed_use use)
{
    mbedtls_ssl_conf_ciphersuites(config, aead_available(AEAD_SODIUM) ? with_aes : without_aes);
#if MBED_3
    static const uint16_t groups[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, MBEDTLS_SSL_IANA_TLS_GROUP_X25519, 0};
    static const uint16_t signatures[] = {MBEDTLS_TLS1_3_SIG_ECDSA_SECP256R1_SHA256, MBEDTLS_TLS1_3_SIG_NONE};
    mbedtls_ssl_conf_groups(config, groups);
    mbedtls_ssl_conf_sig_algs(config, signatures);
    mbedtls_ssl_conf_min_tls_version(config, MBEDTLS_SSL_VERSION_TLS1_2);
    /* A TLS 1.3 ticket of 3.6 does not carry the peer's certificate, so a resumed
     * link would have no pin to check: links between nodes stay on 1.2. */
    mbedtls_ssl_conf_max_tls_version(config, use == MBED_CLIENT_PEER ? MBEDTLS_SSL_VERSION_TLS1_2
                                                                     : MBEDTLS_SSL_VERSION_TLS1_3);
    mbedtls_ssl_conf_tls13_key_exchange_modes(config, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ALL);
    if (use != MBED_SERVER)
        mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
            config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#else
    static const mbedtls_ecp_group_id groups[] = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_CURVE25519,
                                                  MBEDTLS_ECP_DP_NONE};
    static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_NONE};
    (void)use;
    mbedtls_ssl_conf_curves(config, groups);
    mbedtls_ssl_conf_sig_hashes(config, hashes);
    mbedtls_ssl_conf_min_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_max_version(config, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
#endif
}

int mbed_handshake_step(mbedtls_ssl_context *ssl, bool *full)
{
    if (ssl->FIELD(state) == MBEDTLS_SSL_SERVER_CERTIFICATE) *full = true;
    return mbedtls_ssl_handshake_step(ssl);
}

bool mbed_handshake_over(const mbedtls_ssl_context *ssl)
{
#if MBED_3 /* TLS 1.3 has states behind OVER, for tickets, as mbedtls_ssl_is_handshake_over knows */
    return ssl->FIELD(state) >= MBEDTLS_SSL_HANDSHAKE_OVER;
#else
    return ssl->state == MBEDTLS_SSL_HANDSHAKE_OVER;
#endif
}

bool mbed_is_ticket(int code)
{
#if MBED_3
    return code == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET;
#else
    (void)code; /* in TLS 1.2 the ticket is part of the handshake */
    return false;
#endif
}

unsigned mbed_last_alert(const mbedtls_ssl_context *ssl)
{
    return ssl->FIELD(in_msg)[1]; /* level, description (RFC 5246, 7.2) */
}

/* The first bytes of both buffers hold record counters, so their first page
 * stays; 16 KiB is the least size that both versions allocate. */
struct pages {
    unsigned char *from, *to;
};

static struct pages pages_of(unsigned char *buffer)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)buffer + 64 + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)buffer + 16384) / page * page;
    if (from >= to) return (struct pages){buffer, buffer}; /* pages of 64 KiB: none is the buffer's alone */
    return (struct pages){(unsigned char *)from, (unsigned char *)to};
}

/* Their content is gone then: they are zeros when they are next used. */
static bool release_pages(unsigned char *buffer)
{
    struct pages p = pages_of(buffer);
    return p.from == p.to || madvise(p.from, (size_t)(p.to - p.from), MADV_DONTNEED) == 0;
}

void mbed_shrink(mbedtls_ssl_context *ssl)
{
    /* Only an economy: it may fail. */
    if (ssl->FIELD(out_left) == 0) (void)release_pages(ssl->FIELD(out_buf));
    if (ssl->FIELD(in_left) == 0 && !mbedtls_ssl_check_pending(ssl)) (void)release_pages(ssl->FIELD(in_buf));
}

/* What is not given back is wiped, as mbedTLS would. */
static void free_buffer(unsigned char **buffer)
{
    if (!*buffer || !release_pages(*buffer)) return;
    struct pages p = pages_of(*buffer);
    unsigned char *end = *buffer + malloc_usable_size(*buffer);
    mbedtls_platform_zeroize(*buffer, (size_t)(p.from - *buffer));
    mbedtls_platform_zeroize(p.to, (size_t)(end - p.to));
    mbedtls_free(*buffer);
    *buffer = NULL;
}

void mbed_free_shrunk(mbedtls_ssl_context *ssl)
{
    free_buffer(&ssl->FIELD(out_buf));
    free_buffer(&ssl->FIELD(in_buf));
    mbedtls_ssl_free(ssl);
}
