#include "cli/scratch_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "cli/files.h"

const char *scratch_folder(void)
{
    const char *folder = getenv("TMPDIR");
    if (folder && *folder) return folder;
    return access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/tmp"; /* the latter may be memory: Debian 13 */
}

int scratch_file(struct failure *failure)
{
    char *path = path_join(scratch_folder(), "consilium-verify-XXXXXX");
    int file = mkstemp(path);
    if (file < 0)
        fail(failure, ERR_IO, "cannot make %s: %s; set TMPDIR to a folder with space for a copy of the ledger", path,
             strerror(errno));
    else
        unlink(path);
    free(path);
    return file;
}
