/* A node's descriptor: one line of text, without secrets, which its operator gives
 * to the others.
 *
 *   consilium-node/1 NAME "HOSPITAL" ADDRESS MESSAGE COSIGN SEAL TLS
 *
 * NAME 1..LIMIT_NAME of a-z 0-9 . - (first and last: letter or digit); HOSPITAL
 * 1..LIMIT_NAME bytes of UTF-8 without quotes; ADDRESS HOST:PORT, [IPV6]:PORT; then
 * base64 of 32 bytes each: Ed25519 keys for messages and for cosignatures, the
 * X25519 key, SHA-256 of the TLS key's SPKI. The node's id = SHA-256(MESSAGE)[:16].
 * Pure; any thread. */
#ifndef LEDGER_DESCRIPTOR_H
#define LEDGER_DESCRIPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/limits.h"
#include "crypto/keys.h"

struct descriptor {
    /* C strings */
    char name[LIMIT_NAME + 1];
    char hospital[LIMIT_NAME + 1];
    char address[LIMIT_ADDRESS + 1];
    struct node_public keys; /* message, cosign, seal */
    struct digest tls_pin;
    struct id id; /* derived */
};
/* The line without "\n". Fields are valid: descriptor_check. */
void descriptor_format(struct buffer *out, const struct descriptor *descriptor);
/* One line, with or without a final "\n". ERR_SYNTAX, ERR_VERSION; `failure` (may be NULL) says what is wrong. */
enum err descriptor_parse(struct descriptor *out, struct bytes line, struct failure *failure);
/* Names, lengths and characters of a descriptor that is being made: ERR_INVALID. */
enum err descriptor_check(const struct descriptor *descriptor, struct failure *failure);

/* A key as text: exactly 44 characters of canonical base64. */
bool key_text_parse(uint8_t out[static 32], struct bytes text);

#endif
