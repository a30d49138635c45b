/* The socket of sd_notify(3). The processes of a service are heard, whatever they say of themselves
 * (src/service/notify_message.h); anybody else is refused. */
#ifndef SUPERVISOR_SUPERVISE_NOTIFY_H
#define SUPERVISOR_SUPERVISE_NOTIFY_H

#include "src/supervise/supervise.h"

int notify_open(struct supervisor *supervisor);
/* Takes what is queued now. */
void notify_drain(struct supervisor *supervisor);

#endif
