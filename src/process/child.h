/* The child's side of spawn(): everything between fork and exec. Async-signal-safe throughout: it
 * may run in a copy of a process that was in the middle of anything. */
#ifndef SUPERVISOR_PROCESS_CHILD_H
#define SUPERVISOR_PROCESS_CHILD_H

#include <stdbool.h>

#include "src/process/sandbox.h"
#include "src/process/spawn.h"

struct child {
	const struct service_def *service;
	const struct command *command;
	const struct spawn_context *context;
	const struct sandbox_plan *plan;
	int error_fd;	  /* write end of the error pipe */
	bool join_cgroup; /* not born in it: clone3 was not to be had */
};

/* Becomes the program, or writes a struct spawn_error to error_fd and exits with 127. */
_Noreturn void child_run(const struct child *child);

#endif
