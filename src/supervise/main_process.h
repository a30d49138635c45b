/*
 * The main process of a service that changes hands: a daemon that puts itself into the background
 * and leaves the pid of what goes on in a file, or one that says MAINPID= (sd_notify(3)).
 *
 * From then on that process is the one that is signalled, and its end is the service's end; the end
 * of the old one is no event. Mostly it is an orphan and therefore ours to reap; if its parent
 * still lives, its pidfd tells that it has ended, though not how.
 */
#ifndef SUPERVISOR_SUPERVISE_MAIN_PROCESS_H
#define SUPERVISOR_SUPERVISE_MAIN_PROCESS_H

#include "src/supervise/supervise.h"

void main_process_init(struct instance *instance);
/*
 * `pid` becomes its main process. NULL: done, or it is already; else why not: "is no process of
 * it", … Only what is in the service's cgroup can be; without cgroups, what descends from its
 * command, or what a child of ours finds to be its own by sweep.h: main_process_pending is the
 * answer then, and ready_recognized() follows.
 */
const char *main_process_adopt(struct instance *instance, pid_t pid);
extern const char main_process_pending[];
/* A process was reaped: true if it was that child. */
bool main_process_recognized(struct instance *instance, pid_t reaped, int status);
/* Without cgroups: whose command this process is, or a child of a child … of it; NULL: nobody's. */
struct instance *main_process_owner(const struct supervisor *supervisor, pid_t pid);
/*
 * The start command was reaped, with `good`: true if that is no end, since it has gone into the
 * background and its main process is still to be named. Then, until that is:
 */
bool main_process_goes_on(struct instance *instance, bool good);
/* Asks all of it to end. False: there is nobody to be asked. */
bool main_process_signal_all(struct instance *instance, int signal_number);
/* Nothing is left of it that could still be named: it has ended. */
bool main_process_vanished(struct instance *instance);
/* It is reaped or given up. */
void main_process_over(struct instance *instance);

#endif
