/* Temporary folders for tests, under $TMPDIR or /tmp. */
#ifndef TESTS_LIB_FOLDER_H
#define TESTS_LIB_FOLDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* A new folder; its path into `out`. In memory (/dev/shm) where that is there and
 * `fast`: for tests that write much and need no real device. */
#define FOLDER_PATH 256
void folder_make(char out[static FOLDER_PATH], int fast);
void folder_remove(const char *path); /* with all that is in it */
void folder_copy(const char *to, const char *from); /* plain files only; `to` exists */

/* cmocka's setup and teardown: `test_folder` is a new one for each test, in memory where that is there. */
extern char test_folder[FOLDER_PATH];
int folder_setup(void **state);
int folder_teardown(void **state);

/* "folder/name". */
void folder_join(char out[static FOLDER_PATH], const char *folder, const char *name);
struct buffer folder_load(const char *folder, const char *name); /* the caller frees; must exist */
void folder_store(const char *folder, const char *name, struct bytes content);

#endif
