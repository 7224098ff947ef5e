/* lean: a node that keeps little of its log, for tests. The real node; its driver_start is wrapped by the linker (--wrap),
 * since a setting of less would be of no use to anybody else. The arguments are consiliumd's. */
#include "consensus/driver.h"

enum err __real_driver_start(struct driver **out, const struct driver_options *options, struct failure *failure);
enum err __wrap_driver_start(struct driver **out, const struct driver_options *options, struct failure *failure);

enum err __wrap_driver_start(struct driver **out, const struct driver_options *options, struct failure *failure)
{
    struct driver_options o = *options;
    o.log_keep_bytes = 4 << 20;
    return __real_driver_start(out, &o, failure);
}
