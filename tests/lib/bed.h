/* What programs with one cluster share: the cluster itself, what the client said last,
 * and shell words and files in the cluster's folder. */
#ifndef TESTS_LIB_BED_H
#define TESTS_LIB_BED_H

#include "base/bytes.h"
#include "tests/lib/testbed.h"

extern struct testbed bed;
extern struct buffer out, errors;

/* Standard output and standard error that testbed_cli or testbed_expect put there last; "" before. */
const char *text(void);
const char *said(void);
/* A cmocka teardown: ends the cluster, frees what was said. */
int bed_end(void **state);

/* A name in the cluster's folder, as a path; four of them are good at a time. */
const char *in_bed(const char *name);
/* The folder of programs, whatever folder a shell goes to. */
const char *build(void);
/* Runs the words with the cluster's folder as the working directory, and fails unless they end with 0. */
void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
void write_file(const char *name, struct bytes content);
/* The value in the last answer, which is JSON (testbed_json's path), is this. */
void json_is(const char *path, const char *expected);

#endif
