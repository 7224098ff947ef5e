/* configs/policy.conf as it was when this was built. */
#ifndef CLI_DEFAULT_POLICY_H
#define CLI_DEFAULT_POLICY_H

#include "base/bytes.h"

struct bytes default_policy(void);

#endif
