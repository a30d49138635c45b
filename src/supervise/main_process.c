#include "src/supervise/main_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/supervise/instance.h"

#define ANCESTORS_MAX 64 /* looked at; who has more is nobody's descendant */

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static void main_ended(struct watch *watch, uint32_t events);

void main_process_init(struct instance *instance)
{
	instance->main = (struct watch){.fd = -1, .ready = main_ended, .owner = instance};
}

/* 0: no such process, or nobody can tell. stat(5) of /proc says it without touching the memory of
 * the process, so nobody can make us wait here. */
static pid_t parent_of(pid_t pid)
{
	char path[32], text[512];
	int parent;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	const char *after = strrchr(text, ')'); /* the name may hold anything */
	return after && sscanf(after + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

static bool is_command_of(const struct instance *instance, pid_t pid)
{
	return pid == instance->pid || (pid == instance->leader && !instance->leader_reaped);
}

struct instance *main_process_owner(const struct supervisor *sv, pid_t pid)
{
	for (int i = 0; i < ANCESTORS_MAX && pid > 1 && pid != getpid(); i++) {
		for (size_t k = 0; k < sv->count; k++)
			if (sv->instance[k]->cgroup_fd < 0 && is_command_of(sv->instance[k], pid))
				return sv->instance[k];
		pid = parent_of(pid);
	}
	return NULL;
}

static const char *not_its_own(const struct instance *instance, pid_t pid)
{
	bool its_own = instance->cgroup_fd >= 0
			       ? cgroup_contains(instance->cgroup_fd, pid)
			       : main_process_owner(instance->supervisor, pid) == instance;

	return its_own ? NULL : "is no process of it";
}

/* Held by a pidfd first, looked at then: what is found out is about that process and no later one
 * of the same number. */
const char *main_process_adopt(struct instance *instance, pid_t pid)
{
	struct loop *loop = &instance->supervisor->loop;
	enum life_state state = instance->supervisor->service[instance->index].life.state;

	if (pid <= 1 || pid == getpid())
		return "is none that it can have";
	if (pid == instance->pid)
		return NULL;
	if (instance->purpose != RUN_START || instance->def->kind != SERVICE_DAEMON ||
	    (state != LIFE_STARTING && state != LIFE_READY && state != LIFE_RELOADING))
		return "comes when it has no main process to give away";
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 && errno != ENOSYS && errno != EPERM)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM
			       ? "cannot be held for want of descriptors"
			       : "is no process of it";
	const char *why = not_its_own(instance, pid);
	if (!why && pidfd < 0 && parent_of(pid) != getpid())
		why = "cannot be watched: this kernel has no pidfds";
	struct watch next = {.fd = -1, .ready = main_ended, .owner = instance};
	if (!why && pidfd >= 0) {
		next.fd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
		if (next.fd < 0)
			why = "cannot be held for want of descriptors";
	}
	if (why) {
		if (pidfd >= 0)
			close(pidfd);
		return why;
	}
	main_process_over(instance);
	if (instance->pidfd >= 0)
		close(instance->pidfd);
	instance->pid = pid;
	instance->pidfd = pidfd;
	instance->main = next;
	if (next.fd >= 0 && loop_add(loop, &instance->main, EPOLLIN) < 0)
		log_warn("%s: watch process %d", instance->def->name, (int)pid);
	return NULL;
}

/* An orphan is reaped after this turn, which tells how it ended as well; another one's child is
 * not. */
static void main_ended(struct watch *watch, uint32_t events)
{
	struct instance *instance = watch->owner;
	siginfo_t info = {0};

	(void)events;
	if (waitid((idtype_t)P_PIDFD, (id_t)watch->fd, &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
		loop_close(&instance->supervisor->loop, watch);
		return;
	}
	supervise_event(instance->supervisor, instance->index,
			instance_lost(instance, "ended; how, only its parent knows"));
}

bool main_process_goes_on(struct instance *instance, bool good)
{
	const struct life *life = &instance->supervisor->service[instance->index].life;

	if (!good || instance->purpose != RUN_START || life->state != LIFE_STARTING ||
	    instance->def->kind != SERVICE_DAEMON || instance->def->ready != READY_PID_FILE)
		return false;
	instance->awaits_main = true;
	if (instance->pidfd >= 0)
		close(instance->pidfd);
	instance->pidfd = -1;
	instance->pid = 0;
	return true;
}

bool main_process_signal_all(struct instance *instance, int signal_number)
{
	if (!instance->awaits_main)
		return true;
	return instance->cgroup_fd >= 0 && cgroup_signal(instance->cgroup_fd, signal_number) > 0;
}

bool main_process_vanished(struct instance *instance)
{
	enum life_state state = instance->supervisor->service[instance->index].life.state;

	return instance->awaits_main && instance->pid == 0 && instance->cgroup_fd >= 0 &&
	       (state == LIFE_STARTING || state == LIFE_STOPPING) && instance_is_empty(instance);
}

void main_process_over(struct instance *instance)
{
	loop_close(&instance->supervisor->loop, &instance->main);
	instance->awaits_main = false;
}
