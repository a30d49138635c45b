/* What the kernel says of DRBD, as it changes: the stream of `drbdsetup events2`. */
#include "services/drbd/drbd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/log.h"

extern char **environ;

/* Runs drbdsetup with its output in a pipe. Returns the pipe's end and sets *pid, or -1 with errno.
 */
static int open_tool(char *const argv[], int *pid_out)
{
	int pipe_fd[2];

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		return -1;
	pid_t pid = fork();
	if (pid < 0) {
		int saved = errno;
		close(pipe_fd[0]);
		close(pipe_fd[1]);
		errno = saved;
		return -1;
	}
	if (pid == 0) {
		/* events2 never ends by itself: it must not outlive the worker that reads it. */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(pipe_fd[1], STDOUT_FILENO);
		execve(argv[0], argv, environ);
		log_warn("exec %s", argv[0]);
		_exit(127);
	}
	close(pipe_fd[1]);
	*pid_out = pid;
	return pipe_fd[0];
}

int drbd_watch_open(struct drbd_watch *watch)
{
	static char *const argv[] = {DRBD_SETUP, "events2", DRBD_RESOURCE, NULL};

	*watch = (struct drbd_watch){.fd = -1, .pid = -1};
	watch->fd = open_tool(argv, &watch->pid);
	return watch->fd < 0 ? -1 : 0;
}

int drbd_is_new(void)
{
	static char *const argv[] = {DRBD_SETUP, "get-gi", DRBD_MINOR, NULL};
	char text[256];
	size_t used = 0;
	ssize_t n = 1;
	int pid, status, fd = open_tool(argv, &pid);

	if (fd < 0)
		return -1;
	while (used < sizeof(text) && n > 0) {
		n = read(fd, text + used, sizeof(text) - used);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n > 0)
			used += (size_t)n;
	}
	close(fd);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		errno = EIO;
		return -1;
	}
	return drbd_gi_is_new(text, used);
}

static void take_lines(struct drbd_watch *watch)
{
	char *newline;

	while ((newline = memchr(watch->buffer, '\n', watch->used))) {
		size_t length = (size_t)(newline - watch->buffer);
		drbd_state_line(&watch->state, watch->buffer, length);
		watch->used -= length + 1;
		memmove(watch->buffer, newline + 1, watch->used);
	}
	if (watch->used == sizeof(watch->buffer))
		watch->used = 0; /* no line of events2 is that long */
}

int drbd_watch_next(struct drbd_watch *watch, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = watch->fd, .events = POLLIN};
	int ready;

	do
		ready = poll(&poll_fd, 1, timeout_ms);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return ready;
	ssize_t n =
		read(watch->fd, watch->buffer + watch->used, sizeof(watch->buffer) - watch->used);
	if (n < 0 && errno == EINTR)
		return 1;
	if (n <= 0)
		return -1;
	watch->used += (size_t)n;
	take_lines(watch);
	return 1;
}

void drbd_watch_close(struct drbd_watch *watch)
{
	if (watch->pid > 0) {
		kill(watch->pid, SIGKILL);
		while (waitpid(watch->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (watch->fd >= 0)
		close(watch->fd);
	watch->fd = watch->pid = -1;
}
