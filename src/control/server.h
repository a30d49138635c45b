/* The supervising process's end of the control socket. */
#ifndef SUPERVISOR_CONTROL_SERVER_H
#define SUPERVISOR_CONTROL_SERVER_H

#include "src/supervise/supervise.h"

/* Listens on RUN/control. -1 with a message printed. */
int control_open(struct supervisor *supervisor);
/* The end: removes the socket. */
void control_clean_up(void);

#endif
