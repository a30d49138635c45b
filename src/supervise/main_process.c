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
#include "src/process/sweep.h"
#include "src/supervise/instance.h"
#include "src/supervise/ready.h"

#define ANCESTORS_MAX 64 /* looked at; who has more is nobody's descendant */

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static void main_ended(struct watch *watch, uint32_t events);

void main_process_init(struct instance *instance)
{
	instance->main = (struct watch){.fd = -1, .ready = main_ended, .owner = instance};
	instance->candidate_fd = -1;
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

const char main_process_pending[] = "is looked at";

static void drop_candidate(struct instance *instance)
{
	if (instance->candidate_fd >= 0)
		close(instance->candidate_fd);
	instance->candidate_fd = -1;
	instance->candidate = 0;
}

/* An orphan, which nothing ties to its service but its memory. The pidfd stays: the number must
 * mean the same process until the answer is there. */
static const char *recognize(struct instance *instance, pid_t pid, int pidfd)
{
	int kept = pidfd >= 0 ? fcntl(pidfd, F_DUPFD_CLOEXEC, 0) : -1;

	if (instance->recognizer > 0 || kept < 0) {
		if (kept >= 0)
			close(kept);
		return instance->candidate == pid ? main_process_pending : "is no process of it";
	}
	instance->recognizer = sweep_recognize(
		&(struct sweep_run){
			.leader = instance->leader,
			.main = instance->pid,
			.invocation = instance->invocation,
			.is_known = instance_is_command,
			.context = instance->supervisor,
		},
		pid);
	instance->candidate = pid;
	instance->candidate_fd = kept;
	if (instance->recognizer > 0)
		return main_process_pending;
	instance->recognizer = 0;
	drop_candidate(instance);
	return "cannot be looked at for want of processes";
}

static const char *not_its_own(struct instance *instance, pid_t pid, int pidfd)
{
	if (instance->cgroup_fd >= 0)
		return cgroup_contains(instance->cgroup_fd, pid) ? NULL : "is no process of it";
	if (main_process_owner(instance->supervisor, pid) == instance)
		return NULL;
	return parent_of(pid) == getpid() ? recognize(instance, pid, pidfd) : "is no process of it";
}

/* Both descriptors are taken. */
static const char *hand_over(struct instance *instance, pid_t pid, int pidfd)
{
	int watched = pidfd >= 0 ? fcntl(pidfd, F_DUPFD_CLOEXEC, 0) : -1;

	if (pidfd >= 0 && watched < 0) {
		close(pidfd);
		return "cannot be held for want of descriptors";
	}
	main_process_over(instance);
	if (instance->pidfd >= 0)
		close(instance->pidfd);
	instance->pid = pid;
	instance->pidfd = pidfd;
	instance->main.fd = watched;
	if (watched >= 0 && loop_add(&instance->supervisor->loop, &instance->main, EPOLLIN) < 0)
		log_warn("%s: watch process %d", instance->def->name, (int)pid);
	return NULL;
}

static bool may_change_hands(const struct instance *instance)
{
	enum life_state state = instance->supervisor->service[instance->index].life.state;

	return instance->purpose == RUN_START && instance->def->kind == SERVICE_DAEMON &&
	       (state == LIFE_STARTING || state == LIFE_READY || state == LIFE_RELOADING);
}

/* Held by a pidfd first, looked at then: what is found out is about that process and no later one
 * of the same number. */
const char *main_process_adopt(struct instance *instance, pid_t pid)
{
	if (pid <= 1 || pid == getpid())
		return "is none that it can have";
	if (pid == instance->pid)
		return NULL;
	if (!may_change_hands(instance))
		return "comes when it has no main process to give away";
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 && errno != ENOSYS && errno != EPERM)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM
			       ? "cannot be held for want of descriptors"
			       : "is no process of it";
	const char *why = not_its_own(instance, pid, pidfd);
	if (!why && pidfd < 0 && parent_of(pid) != getpid())
		why = "cannot be watched: this kernel has no pidfds";
	if (!why)
		return hand_over(instance, pid, pidfd);
	if (pidfd >= 0)
		close(pidfd);
	return why;
}

bool main_process_recognized(struct instance *instance, pid_t reaped, int status)
{
	pid_t pid = instance->candidate;
	int pidfd = instance->candidate_fd;
	const char *why = "is no process of it";

	if (instance->recognizer == 0 || instance->recognizer != reaped)
		return false;
	instance->recognizer = 0;
	instance->candidate = 0;
	instance->candidate_fd = -1;
	if (pid == 0) { /* that run is over; the present one may have had to wait */
		ready_recognized(instance, 0, NULL);
		return true;
	}
	if (sweep_recognized(status) && may_change_hands(instance))
		why = hand_over(instance, pid, pidfd);
	else
		close(pidfd);
	ready_recognized(instance, pid, why);
	return true;
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
	drop_candidate(instance);
	loop_close(&instance->supervisor->loop, &instance->main);
	instance->awaits_main = false;
}
