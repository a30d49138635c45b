/* The effects of one service: its processes, cgroup, pipes and channel. */
#ifndef SUPERVISOR_SUPERVISE_INSTANCE_H
#define SUPERVISOR_SUPERVISE_INSTANCE_H

#include "src/supervise/supervise.h"

/* Policy and filter from the definition; opens nothing. -1 with a message printed. */
int instance_init(struct instance *instance, struct supervisor *supervisor,
		  const struct service_def *def, uint16_t index);
/* At rest, or where the definition asks for the same process: `def` in place of the one it has. */
void instance_take(struct instance *instance, const struct service_def *def);
/* Nothing of it runs, and nothing is to follow by itself but a start. */
bool instance_rests(const struct instance *instance);
/* At rest: gives back all that it has; a free slot then. */
void instance_release(struct instance *instance);
/* Carries out a set of enum life_action. A command that cannot be started is an event of its own:
 * returns false then. */
bool instance_act(struct instance *instance, unsigned actions);
/* The process of this instance was reaped; `status` as of waitpid(2). */
enum life_event instance_exited(struct instance *instance, int status);
/* Whether it is a process that a service was started as, or a helper of one. `context`: the
 * supervisor. For sweep_start. */
bool instance_is_command(const void *context, pid_t pid);
/* Its main process has ended in another way than by being reaped: `how`. */
enum life_event instance_lost(struct instance *instance, const char *how);
/* The start command was reaped, but that is no end: it is in the background now. */
bool instance_goes_on(struct instance *instance, int status);
/* The child that looked for leftovers was reaped (instance->sweep). */
void instance_swept(struct instance *instance, int status);
/* Nothing of it is left: its command reaped and its cgroup empty. */
bool instance_is_empty(struct instance *instance);
/* Its cgroup could not be killed for want of a descriptor, and it is time to try again. */
void instance_kill_again(struct instance *instance);
/* The stop command could not be started for want of a process, and it is time to try again: false
 * if that is to be given up. */
bool instance_undo_again(struct instance *instance);
/* Nobody is going to serve its sockets soon: closes those that are no other service's, so that
 * clients are refused at once. */
void instance_close_sockets(struct instance *instance);
int instance_signal(const struct instance *instance, int signal_number);

#endif
