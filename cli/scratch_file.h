/* A file that nobody else sees and nothing remains of: made in $TMPDIR or /var/tmp
 * and removed from its folder at once. For what a verification can't hold in memory. */
#ifndef CLI_SCRATCH_FILE_H
#define CLI_SCRATCH_FILE_H

#include "base/error.h"

const char *scratch_folder(void);
/* A descriptor, closed by the caller; -1: `failure` says why, and what to do. */
int scratch_file(struct failure *failure);

#endif
