/*
 * One cgroup (version 2) per service: all that a service leaves behind is found, counted and killed
 * there.
 *
 * The tree: OURS/supervisor/NAME, where OURS is the cgroup that we were started in ("supervisor-1"
 * and so on while another supervisor holds the lock of that name). As PID 1 of a container we first
 * move ourselves to OURS/init, since a cgroup that passes controllers on may hold no process
 * (Documentation/admin-guide/cgroup-v2.rst, "No Internal Process Constraint"). Without a usable
 * cgroup2 everything else still works: process groups are killed instead.
 */
#ifndef SUPERVISOR_PROCESS_CGROUP_H
#define SUPERVISOR_PROCESS_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/config/service.h"

enum cgroup_controller { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU, CGROUP_IO, CGROUP_CONTROLLERS };

struct cgroup_tree {
	int fd;			       /* directory OURS/supervisor; -1: no cgroups */
	bool has[CGROUP_CONTROLLERS];  /* controllers that the services' cgroups have */
	bool said[CGROUP_CONTROLLERS]; /* the missing one was reported */
	int parent_fd;		       /* directory OURS */
	char name[16];		       /* below it */
};

/*
 * Finds cgroup2 (/sys/fs/cgroup, or /sys/fs/cgroup/unified on hybrid hosts) and makes the tree.
 * `init`: we are PID 1. 0, or -1 with tree->fd = -1 after saying why, once.
 */
int cgroup_tree_open(struct cgroup_tree *tree, bool init);
/* All empty cgroups go, and the tree too, if nothing is in it any more. */
void cgroup_tree_close(struct cgroup_tree *tree);

/* Directory descriptor of the cgroup of a service, made if missing; close-on-exec, the caller's. -1
 * with errno. */
int cgroup_open(struct cgroup_tree *tree, const char *service);
/*
 * What the service's file says of memory, pids, cpu and io, for a cgroup that is new. With the
 * memory controller it also dies as a whole when memory runs out (memory.oom.group): half a service
 * is worse than none. A missing controller is said once a tree and is no error. 0; -1 with errno
 * when the kernel refuses a value, whose key *key then is.
 */
int cgroup_limit(struct cgroup_tree *tree, int cgroup_fd, const struct service_def *service,
		 const char **key);

enum cgroup_oom {
	CGROUP_OOM_NONE,  /* nobody in it was killed for want of memory, or nobody can tell */
	CGROUP_OOM_OWN,	  /* for its own memory-max */
	CGROUP_OOM_OTHER, /* because the machine or a cgroup around us was out of memory */
};

/* What memory.events of this cgroup has counted since it was made. */
enum cgroup_oom cgroup_oom(int cgroup_fd);

/* A descriptor for epoll: EPOLLPRI when populated changes (cgroup.events). -1 with errno. The
 * caller's. */
int cgroup_events_open(int cgroup_fd);
/* 1: has live processes, itself or below. 0: empty. -1 with errno. */
int cgroup_populated(int cgroup_fd);
/* Reads the descriptor of cgroup_events_open, which also rearms it; result as cgroup_populated. */
int cgroup_events_read(int events_fd);
/* Processor time that its processes have used so far, in microseconds; -1: no cgroup, or not known.
 */
int64_t cgroup_cpu_us(int cgroup_fd);
/* The cgroup itself, not what is below. Zombies are not in it. */
bool cgroup_contains(int cgroup_fd, pid_t pid);
/* Signals each process in it; returns how many, -1 with errno. */
int cgroup_signal(int cgroup_fd, int signal_number);
/* SIGKILL for everything in it, forks in flight included. 0 or -1 with errno. Emptiness is told by
 * cgroup.events. */
int cgroup_kill(int cgroup_fd);
/* 0; -1 with errno EBUSY while populated. */
int cgroup_remove(struct cgroup_tree *tree, const char *service);

#endif
