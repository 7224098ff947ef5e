/* How long a stop may take, whatever hangs meanwhile: the loop's thread, too, waits for other threads then, and these for
 * devices that may never answer. What was acknowledged is durable before that; a restart replays the rest. */
#ifndef NODE_STOP_LIMIT_H
#define NODE_STOP_LIMIT_H

#include <stdint.h>

/* From now on the process ends after so many ms, with exit code 1 and a line in the log, unless stop_limit_end comes
 * before. Not while one runs. Loop thread. Without a thread for it there is no limit, and a warning. */
void stop_limit_begin(uint32_t ms);
/* The stop is done. Nothing when none runs. The same thread. */
void stop_limit_end(void);

#endif
