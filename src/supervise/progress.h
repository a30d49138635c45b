/* Says on the console, while everything is being stopped and that takes its time, what it waits
 * for. */
#ifndef SUPERVISOR_SUPERVISE_PROGRESS_H
#define SUPERVISOR_SUPERVISE_PROGRESS_H

#include "src/supervise/supervise.h"

/* Called every turn; returns when it wants to be called again, 0: no matter. */
uint64_t progress_tell(const struct supervisor *supervisor);

#endif
