/*
 * A process of a service beside its main one: a check, a readiness probe. It runs in a cgroup of
 * its own beside the service's ("NAME:PURPOSE"), so that it is killed whole, with whatever it has
 * started; its output comes here, and the last line of it is kept.
 *
 * helper_start, then `ended` once: when its process is reaped and nothing of it is left. A slot
 * holds one at a time. Nothing here waits.
 */
#ifndef SUPERVISOR_SUPERVISE_HELPER_H
#define SUPERVISOR_SUPERVISE_HELPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/base/loop.h"
#include "src/config/service.h"
#include "src/process/seccomp.h"

#define HELPER_NAME_BYTES (SERVICE_NAME_BYTES + 16)
#define HELPER_TEXT_BYTES 128

struct supervisor;

struct helper {
	struct supervisor *supervisor;
	void *owner;
	void (*ended)(struct helper *helper); /* `good` and `text` say how; may start it again */

	bool running; /* from helper_start until `ended` */
	bool good;    /* it exited with 0, and nobody here killed it */
	bool killed;  /* helper_kill was called */
	/* The last line it wrote; if it wrote none, how it ended. Printable. */
	char text[HELPER_TEXT_BYTES];
	uint64_t again_at_ms; /* helper_timer is due then; 0: none */

	/* its own */
	char name[HELPER_NAME_BYTES];
	pid_t pid;	     /* 0: reaped */
	char invocation[33]; /* its own $INVOCATION_ID */
	pid_t leader; /* without cgroups: its process, until nothing of it is left; 0: none */
	pid_t sweep;  /* … the child that sees to that (src/process/sweep.h); 0: none */
	int error_fd, cgroup_fd;
	struct watch output, populated;
	char line[HELPER_TEXT_BYTES]; /* that has no newline yet */
	size_t line_used, output_bytes;
};

/* What a helper runs as, besides its command. */
struct helper_run {
	const struct service_def *service; /* user, limits, sandbox; its templates and runtime
					      directories are left alone */
	const struct command *command;
	const struct seccomp_program *seccomp;
	bool starts_nothing; /* it cannot leave anything behind */
};

/* Opens nothing. `purpose` is kept in the name alone. */
void helper_init(struct helper *helper, struct supervisor *supervisor, void *owner,
		 const char *service, const char *purpose, void (*ended)(struct helper *helper));
/* 0, or -1 with errno (EAGAIN, ENOMEM, EMFILE, ENFILE: a shortage that may be over soon) and *what
 * was tried; `ended` does not follow then. */
int helper_start(struct helper *helper, const struct helper_run *run, const char **what);
/* Kills it and all it started. Nothing if it does not run. */
void helper_kill(struct helper *helper);
/* A process was reaped, `status` as of waitpid(2): true if it was this one's. */
bool helper_reaped(struct helper *helper, pid_t pid, int status);
/* again_at_ms has come. */
void helper_timer(struct helper *helper);

#endif
