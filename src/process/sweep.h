/*
 * Where there are no cgroups: finds what is left of a service, and kills it.
 *
 * Whatever a service starts stays below the supervising process, which is PID 1 or a subreaper. A
 * process is taken for the service's if
 *   - it is its command or main process, or in the session or process group of one,
 *   - or has INVOCATION_ID of that run in its environment, and is a child of ours (an orphan),
 *   - or is below one that is.
 * So one escapes that has left its session, has lost its parent, and whose environment cannot be
 * read any more: wiped, overwritten (setproctitle(3)), or gone with its first thread. And one that
 * forks faster than it is stopped keeps the sweep busy. cgroups have neither gap.
 *
 * All of it happens in a child: an environment is memory of a process, which may be stuck while it
 * holds the lock of that, and the supervising process must never wait.
 */
#ifndef SUPERVISOR_PROCESS_SWEEP_H
#define SUPERVISOR_PROCESS_SWEEP_H

#include <stdbool.h>
#include <sys/types.h>

enum sweep_result {
	SWEEP_CLEAN, /* exit code 0: nothing is left */
	SWEEP_LEFT,  /* something would not die yet: sweep again later */
	SWEEP_BLIND, /* no /proc: the process group was killed, nothing else looked for */
	SWEEP_STUCK, /* reading an environment took too long: not all was looked at */
};

/* What a run is known by. `leader` 0 and `invocation` NULL: everything below us. */
struct sweep_run {
	pid_t leader;		/* its command */
	bool reaped;		/* … is, and its number perhaps another's by now */
	pid_t main;		/* the process that it is held by, not reaped yet; 0: none */
	const char *invocation; /* of its environment */
	/* Whether this child of ours is another service's command: its environment is not read. */
	bool (*is_known)(const void *context, pid_t pid);
	const void *context;
};

/* Starts a child that kills what is left of that run. Its pid, ours to reap; -1 with errno. */
pid_t sweep_start(const struct sweep_run *run);
/* Starts a child that looks whether `pid` is a process of that run, and kills nothing. */
pid_t sweep_recognize(const struct sweep_run *run, pid_t pid);
/* From the status of that child. */
bool sweep_recognized(int status);
/* What the child found, from its status as of waitpid(2). */
enum sweep_result sweep_result(int status);

#endif
