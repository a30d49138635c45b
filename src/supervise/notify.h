/* The socket of sd_notify(3): READY=1, STATUS=TEXT, WATCHDOG=…, EXTEND_TIMEOUT_USEC=… from the
 * processes of a service; anybody else is refused. */
#ifndef SUPERVISOR_SUPERVISE_NOTIFY_H
#define SUPERVISOR_SUPERVISE_NOTIFY_H

#include "src/supervise/supervise.h"

int notify_open(struct supervisor *supervisor);
/* Takes what is queued now. */
void notify_drain(struct supervisor *supervisor);

#endif
