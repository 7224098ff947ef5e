/* tests/mail/server.py, running: a mail server and a web server that share no code with ours. */
#ifndef TESTS_LIB_FOREIGN_H
#define TESTS_LIB_FOREIGN_H

#include <stdbool.h>
#include <sys/types.h>

#include "tests/lib/testbed.h"

struct foreign {
    pid_t pid; /* 0: not running */
    int pipe;  /* it ends when this is closed */
    unsigned starttls, smtps, https; /* ports on 127.0.0.1 */
};

/* Its files go to `folder`, which is there; what one has to trust, too: ca.pem. Login: "node" and the password. False:
 * Debian's python3-aiosmtpd or openssl is not here, which is no failure except in CI (CI is set in the environment). */
bool foreign_start(struct foreign *out, const struct testbed *t, const char *folder, const char *password);
void foreign_stop(struct foreign *f);

#endif
