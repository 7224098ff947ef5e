/* Cutting JSON (RFC 8259) into the texts of its values, without building them.
 * Whether a value is well-formed inside is for jansson to say, except that it ends
 * where its brackets and quotes do. A cursor with a sticky error. Pure. */
#ifndef CLI_FHIR_SCAN_H
#define CLI_FHIR_SCAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"

struct json_scan {
    const char *at, *start, *end;
    enum err error;       /* the first: ERR_SYNTAX, ERR_TOO_DEEP */
    char text[160];       /* what is wrong */
    const char *counted;  /* lines up to here are counted in `line` */
    uint32_t line;
};
struct json_scan json_scan_start(struct bytes text); /* past a byte order mark */
uint32_t json_scan_line(struct json_scan *s, const char *at); /* from 1; for places that grow */
void json_scan_fail(struct json_scan *s, enum err code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Members of an object, one by one:
 *     json_scan_open(s, '{');
 *     while (json_scan_member(s, &key)) ... each value is read by json_scan_value, or by opening it
 * and elements of an array the same. */
bool json_scan_open(struct json_scan *s, char bracket); /* false: an error, or another kind of value */
bool json_scan_member(struct json_scan *s, struct bytes *key); /* key: with its quotes */
bool json_scan_element(struct json_scan *s);
/* The text of the value that comes next; empty after an error. */
struct bytes json_scan_value(struct json_scan *s);
char json_scan_peek(struct json_scan *s); /* the next token's first character; 0: the end */
void json_scan_finish(struct json_scan *s); /* nothing may follow */

/* jansson's judgement on a value that was cut out; NULL sets the error. */
json_t *json_scan_parse(struct json_scan *s, struct bytes value);

#endif
