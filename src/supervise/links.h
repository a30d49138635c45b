/*
 * The helper processes with a channel: gossip and log. Each is a service like any other; only what
 * travels over its channel is known here and in gossip_link.h.
 */
#ifndef SUPERVISOR_SUPERVISE_LINKS_H
#define SUPERVISOR_SUPERVISE_LINKS_H

#include "src/supervise/supervise.h"

/* A service with `channel = yes` was started, or is gone. */
void links_opened(struct supervisor *supervisor, struct instance *instance);
void links_closed(struct supervisor *supervisor, const struct instance *instance);

/*
 * Called at each feed of the hardware watchdog: asks the helpers whether they are there, and kills
 * one that has not answered for two feeds, to be started anew. False: for all that, one goes on
 * being silent, and the watchdog is to be left to bite. One that does not run is the matter of its
 * own service file, and of status.
 */
bool links_alive(struct supervisor *supervisor);

/* Hands the read end of a service's output to the log process, if that runs. */
void log_link_add(struct supervisor *supervisor, const struct instance *instance);

#endif
