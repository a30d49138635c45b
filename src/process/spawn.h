/*
 * Starts a command of a service: one process, held by a pidfd, born inside its cgroup.
 *
 * What the program finds:
 * - a session of its own; signals unblocked and default; umask, nice, scheduling, processors,
 * limits and working directory as its file says
 * - fd 0: the first listening socket, or /dev/null
 * - fd 1, 2: stdout_fd
 * - fd 3: channel_fd, if there is one; the listening sockets (all, the first too) follow from 4 on
 * - fd 3 and up, without a channel: the listening sockets, with LISTEN_FDS and LISTEN_PID set as
 *   sd_listen_fds(3) wants them
 * - fd service->ready_fd: ready_fd, if there is one; its number is above all of these
 * - no other descriptor
 * - environment: PATH, INVOCATION_ID (as systemd.exec(5) has it: of this run alone), NOTIFY_SOCKET,
 *   LISTEN_FDS and LISTEN_PID where they apply, `environment =` (which may replace PATH), for
 * built-in workers SUPERVISOR_CONFIG, SUPERVISOR_NODE and SUPERVISOR_RUN; nothing is inherited
 *
 * Whatever can block or fail on an odd filesystem (runtime directories, template files, chdir, the
 * program itself) happens in the child: spawn() itself never blocks.
 */
#ifndef SUPERVISOR_PROCESS_SPAWN_H
#define SUPERVISOR_PROCESS_SPAWN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/config/service.h"
#include "src/process/seccomp.h"
#include "src/process/stage.h"

struct spawn_context {
	int cgroup_fd;	       /* directory of the service's cgroup; -1: none */
	int stdout_fd;	       /* becomes stdout and stderr; -1: /dev/null */
	int channel_fd;	       /* -1: none */
	int ready_fd;	       /* 0 or -1: none */
	const int *listen_fds; /* as service->listen, same order (src/process/listen.h) */
	size_t listen_count;
	const char *notify_path; /* $NOTIFY_SOCKET; NULL: not set */
	uint32_t watchdog_ms;	 /* $WATCHDOG_USEC and $WATCHDOG_PID; 0: not set */
	const char *invocation;	 /* $INVOCATION_ID: 32 hexadecimal digits; NULL: not set */
	const char *config_dir, *node,
		*run_dir; /* run_dir: "/run/supervisor"; runtime directories are made beside it */
	const struct seccomp_program *seccomp; /* NULL: no filter */
	int self_fd; /* our own executable, O_PATH | O_CLOEXEC: what built-in workers run */
	const struct rlimit *limit_nofile; /* what it gets without `limit-nofile`; NULL: our own */
};

struct spawned {
	pid_t pid;
	int pidfd;    /* close-on-exec; -1: this kernel has no pidfds */
	int error_fd; /* close-on-exec, non-blocking: see spawn_error_read */
};

/*
 * 0, or -1 with errno (EAGAIN, ENOMEM: try later; all else: the system refuses). The caller owns
 * both descriptors and reaps the process. That the program could be executed is known only from
 * error_fd.
 */
int spawn(const struct service_def *service, const struct command *command,
	  const struct spawn_context *context, struct spawned *out);

struct spawn_error {
	enum spawn_stage stage;
	int error; /* errno */
	uint32_t index;
};

/*
 * 1: the child failed before exec, *error says where; it exits with code 127.
 * 0: end of file: the program is executing (or the child was killed before: its exit status tells).
 * -1: errno EAGAIN: not yet known, poll for EPOLLIN; else the read failed.
 */
int spawn_error_read(int error_fd, struct spawn_error *error);
/* "exec", "user", … */
const char *spawn_stage_name(enum spawn_stage stage);
/* "exec /usr/sbin/lighttpd: No such file or directory" into text; returns text. */
const char *spawn_error_text(const struct service_def *service, const struct command *command,
			     const struct spawn_error *error, char *text, size_t text_bytes);

#endif
