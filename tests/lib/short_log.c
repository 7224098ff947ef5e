/* short_log: a node whose log is soon full, for tests. The real node; its log_open is wrapped by the linker (--wrap),
 * so that the product has no setting for it. The arguments are consiliumd's. */
#include "storage/log.h"

enum err __real_log_open(struct log **out, const struct log_options *options, struct failure *failure);
enum err __wrap_log_open(struct log **out, const struct log_options *options, struct failure *failure);

enum err __wrap_log_open(struct log **out, const struct log_options *options, struct failure *failure)
{
    struct log_options o = *options;
    o.segment_size = LOG_SEGMENT_SIZE / 2; /* holds the largest block */
    o.segment_limit = 8;
    return __real_log_open(out, &o, failure);
}
