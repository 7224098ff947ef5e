/* A mail or web server for tests: takes what is sent to it over TLS on a port of the
 * loopback, one connection after the other, on a thread of its own, and keeps it.
 * Its certificate is for "localhost". Blocking mbedTLS, none of the product's code.
 */
#ifndef TESTS_LIB_SINK_H
#define TESTS_LIB_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum sink_kind {
    SINK_SMTPS,    /* TLS from the first byte */
    SINK_STARTTLS, /* begins in the clear, offers STARTTLS */
    SINK_CLEAR,    /* never offers TLS */
    SINK_HTTPS,
};

struct sink;

/* `ca_file` gets the certificate as PEM, for the client to trust. */
struct sink *sink_start(enum sink_kind kind, const char *ca_file);
uint16_t sink_port(const struct sink *s);
/* From the next one on: the answer to RCPT, or the HTTP status, is this (0: takes it). */
void sink_refuse(struct sink *s, int code);
/* This receiver is answered 550, others are taken; NULL: none is. */
void sink_refuse_receiver(struct sink *s, const char *address);
/* Expect this login (AUTH PLAIN), refuse others; NULL: none is offered. Before the first connection. */
void sink_login(struct sink *s, const char *user, const char *password);
/* Keeps connections open without a word until sink_resume or sink_stop. */
void sink_hang(struct sink *s);
void sink_resume(struct sink *s);
/* How many whole messages came so far; the newest (envelope and mail, or head and body) goes to `out`, which may be
 * NULL. */
unsigned sink_count(struct sink *s, struct buffer *out);
/* Of them, those in which this text stands. */
unsigned sink_count_of(struct sink *s, const char *text);
void sink_stop(struct sink *s);

#endif
