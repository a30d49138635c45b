/*
 * Services on demand: their sockets are watched while they do not run, and looked after while they
 * do, to stop those that nobody uses.
 */
#ifndef SUPERVISOR_SUPERVISE_DEMAND_H
#define SUPERVISOR_SUPERVISE_DEMAND_H

#include "src/supervise/supervise.h"

/* Watches the sockets in `fds`, in the order of the definition's: LIFE_DEMAND when a client comes.
 * They stay the caller's. -1 with errno. */
int demand_watch(struct instance *instance, const int *fds);
/* After each event: nothing is watched but by one that listens, and only one that is ready can be
 * unused. */
void demand_follow(struct instance *instance, enum life_state state);
/* idle_at_ms has come: true if it was unused for as long as its file says. */
bool demand_is_unused(struct instance *instance);

#endif
