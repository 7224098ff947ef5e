/* Files of the client: read with a limit, written whole or not at all. */
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include <stdbool.h>

#include "base/bytes.h"
#include "base/error.h"

/* All of a file, or of standard input for "-", appended. ERR_NOT_FOUND,
 * ERR_PERMISSION, ERR_IO, ERR_TOO_LARGE with a text that names the file. */
enum err file_read(struct buffer *out, const char *path, size_t limit, struct failure *failure);
/* Written beside, synced and renamed, so that readers see the old or the new
 * file. `fresh`: ERR_EXISTS instead of replacing one. `mode` as for open(2). */
enum err file_write(const char *path, struct bytes content, unsigned mode, bool fresh, struct failure *failure);
/* The same, but not synced: for many files, and folder_sync after them. */
enum err file_write_lazily(const char *path, struct bytes content, unsigned mode, bool fresh, struct failure *failure);
/* All that was written to the file system that holds the folder is on the disk then. */
enum err folder_sync(const char *path, struct failure *failure);
/* rename(2), which replaces what is there. */
enum err file_move(const char *from, const char *to, struct failure *failure);
/* Makes a folder and those above it, mode 0700. */
enum err folder_create(const char *path, struct failure *failure);

/* "a/b"; allocated. A folder may end with a slash. */
char *path_join(const char *folder, const char *name);
/* Where the file is, or would be: "a" of "a/b", "." of "b"; allocated. */
char *path_folder(const char *path);
/* ~/.config/consilium and ~/.cache/consilium, or under XDG_CONFIG_HOME and
 * XDG_CACHE_HOME when those are absolute; allocated; NULL without a home. */
char *config_folder(void);
char *cache_folder(void);

#endif
