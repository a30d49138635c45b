#include "src/process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/process/child.h"

/* This kernel, or the filter of the container that we run in, will never let us call clone3. */
static bool clone3_missing;

/* As fork(2): the pid in the parent, 0 in the child, -1 with errno. */
static pid_t fork_into(int cgroup_fd, int *pidfd)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup_fd >= 0 ? (unsigned)cgroup_fd : 0,
	};
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/*
 * ENOSYS, EPERM: a kernel before 5.3 or a container's filter, for good. EINVAL, E2BIG: before 5.7
 * it knows no CLONE_INTO_CGROUP. EAGAIN and ENOMEM say nothing about clone3.
 */
static bool worth_a_fork(int error)
{
	if (error == ENOSYS || error == EPERM)
		clone3_missing = true;
	return error == ENOSYS || error == EPERM || error == EINVAL || error == E2BIG;
}

/* The child joins its cgroup itself. Nobody else reaps, so the number still means this child when
 * the pidfd is opened. */
static pid_t fork_plain(int *pidfd)
{
	*pidfd = -1;
	pid_t pid = fork();
	if (pid <= 0)
		return pid;
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*pidfd >= 0 || errno == ENOSYS || errno == EPERM)
		return pid;
	int error = errno;
	kill(pid, SIGKILL); /* no descriptor to hold it by; it is reaped like any other orphan */
	errno = error;
	return -1;
}

int spawn(const struct service_def *service, const struct command *command,
	  const struct spawn_context *context, struct spawned *out)
{
	int pipe_fd[2], pidfd = -1;
	struct sandbox_plan plan;
	if (sandbox_prepare(service, &plan) < 0)
		return -1;
	if (pipe2(pipe_fd, O_CLOEXEC) < 0) {
		sandbox_release(&plan);
		return -1;
	}
	struct child child = {
		.service = service,
		.command = command,
		.context = context,
		.plan = &plan,
		.error_fd = pipe_fd[1],
	};

	pid_t pid = -1;
	errno = ENOSYS;
	if (!clone3_missing)
		pid = fork_into(context->cgroup_fd, &pidfd);
	if (pid < 0 && worth_a_fork(errno)) {
		child.join_cgroup = context->cgroup_fd >= 0;
		pid = fork_plain(&pidfd);
	}
	if (pid == 0)
		child_run(&child);

	int error = errno;
	sandbox_release(&plan);
	close(pipe_fd[1]);
	if (pid < 0) {
		close(pipe_fd[0]);
		errno = error;
		return -1;
	}
	fcntl(pipe_fd[0], F_SETFL, O_NONBLOCK);
	*out = (struct spawned){.pid = pid, .pidfd = pidfd, .error_fd = pipe_fd[0]};
	return 0;
}

int spawn_error_read(int error_fd, struct spawn_error *error)
{
	ssize_t n = read(error_fd, error, sizeof(*error));
	if (n <= 0)
		return (int)n;
	/* The writer is our own code and the write atomic (12 bytes), but it comes from another
	 * process. */
	if (n != (ssize_t)sizeof(*error) || error->stage <= STAGE_NONE ||
	    error->stage >= STAGE_COUNT) {
		errno = EPROTO;
		return -1;
	}
	return 1;
}

static const char *const stage_name[STAGE_COUNT] = {
	[STAGE_NONE] = "nothing",
	[STAGE_CGROUP] = "join cgroup",
	[STAGE_SESSION] = "new session",
	[STAGE_SIGNALS] = "reset signals",
	[STAGE_DESCRIPTORS] = "arrange descriptors",
	[STAGE_ENVIRONMENT] = "environment",
	[STAGE_RUNTIME_DIRECTORY] = "runtime directory",
	[STAGE_TEMPLATE] = "template",
	[STAGE_LIMIT] = "limit",
	[STAGE_NICE] = "nice",
	[STAGE_SCHEDULING] = "scheduling",
	[STAGE_CPU_AFFINITY] = "cpu-affinity",
	[STAGE_IO_CLASS] = "io-class",
	[STAGE_OOM_SCORE] = "oom-score",
	[STAGE_NETWORK] = "private network",
	[STAGE_MOUNT_NAMESPACE] = "mount namespace",
	[STAGE_HIDDEN] = "hide",
	[STAGE_PRIVATE_TMP] = "private /tmp",
	[STAGE_ROOT] = "root",
	[STAGE_DIRECTORY] = "directory",
	[STAGE_SECUREBITS] = "securebits",
	[STAGE_GROUPS] = "groups",
	[STAGE_USER] = "user",
	[STAGE_CAPABILITIES] = "capabilities",
	[STAGE_NO_NEW_PRIVILEGES] = "no-new-privileges",
	[STAGE_SECCOMP] = "seccomp",
	[STAGE_EXEC] = "exec",
};

const char *spawn_stage_name(enum spawn_stage stage)
{
	return stage >= 0 && stage < STAGE_COUNT ? stage_name[stage] : "unknown stage";
}

/* What of the service file the stage was about; "" if that is clear. */
static const char *stage_object(const struct service_def *service, const struct command *command,
				const struct spawn_error *error)
{
	size_t i = error->index;
	switch (error->stage) {
	case STAGE_RUNTIME_DIRECTORY:
		return i < service->runtime_directories.count ? service->runtime_directories.word[i]
							      : "";
	case STAGE_TEMPLATE:
		return i < service->template_count ? service->template[i].path : "";
	case STAGE_LIMIT:
		return i < service->limit_count ? service->limit[i].name : "";
	case STAGE_HIDDEN:
		return i < service->hidden.count ? service->hidden.word[i] : "";
	case STAGE_ROOT:
		return service->root ? service->root : "";
	case STAGE_DIRECTORY:
		return service->directory ? service->directory : "/";
	case STAGE_EXEC:
		return command->argv.count > 0 ? command->argv.word[0] : "";
	default:
		return "";
	}
}

const char *spawn_error_text(const struct service_def *service, const struct command *command,
			     const struct spawn_error *error, char *text, size_t text_bytes)
{
	const char *object = stage_object(service, command, error);
	const char *sign = error->stage == STAGE_EXEC && command->builtin ? "@" : "";
	snprintf(text, text_bytes, "%s%s%s%s: %s", spawn_stage_name(error->stage),
		 *object ? " " : "", sign, object, strerror(error->error));
	return text;
}
