/*
 * What a control process leaves for the next one of the same boot: a file for each lockspace below
 * SAVED_DIRECTORY, in the format of a view message (wire.h), without its authentication. It lies on
 * a filesystem in memory, so a reboot forgets it, as it must.
 */
#ifndef SERVICES_DLM_SAVED_H
#define SERVICES_DLM_SAVED_H

#include <stdbool.h>

#include "services/dlm/wire.h"

#define SAVED_DIRECTORY "/run/dlm-control"

/* message->lockspace names the file; the old content is replaced as a whole. -1 with a message. */
int saved_write(const struct wire_message *message);
/* False: there is none, or it is broken. */
bool saved_read(struct wire_message *message, const char *lockspace);
/* Forgets all. */
void saved_clear(void);

#endif
