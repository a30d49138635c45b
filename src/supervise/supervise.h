/*
 * The supervising process: carries out what the pure machines of src/service decide. All of it
 * lives in one struct supervisor, allocated before the first service starts; nothing is allocated
 * afterwards, but by a reload (reload.h), which changes nothing when there is no memory for it.
 *
 * Data flows one way: a descriptor becomes readable -> an event for one service's life ->
 * supervise_settle() takes the decisions that follow from it, until none is left -> their effects
 * (spawn, signal, kill) are carried out on the way.
 */
#ifndef SUPERVISOR_SUPERVISE_SUPERVISE_H
#define SUPERVISOR_SUPERVISE_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "src/base/loop.h"
#include "src/config/config.h"
#include "src/gossip/message.h"
#include "src/process/cgroup.h"
#include "src/process/listen.h"
#include "src/process/pid_file.h"
#include "src/process/seccomp.h"
#include "src/service/graph.h"
#include "src/supervise/probe.h"
#include "src/supervise/reload_command.h"

#define STATUS_BYTES	    120
#define REASON_BYTES	    160
#define READY_PROBLEM_BYTES 100
#define READY_WATCHES_MAX   24
#define POOL_SIZES_MAX	    64

struct supervisor;

/* Of inotify(7): the directories on the way to a pid file. */
struct ready_watches {
	int watch[READY_WATCHES_MAX];
	size_t count;
};

/* Which of its commands a service's main process is. */
enum purpose { RUN_START, RUN_STOP, RUN_LIMIT };

/* The running side of one service; its life is in supervisor.service[index]. It stays where it is
 * in memory for as long as the service is loaded; its index may change with a reload. */
struct instance {
	struct supervisor *supervisor;
	const struct service_def *def; /* what runs; NULL: a free slot */
	const struct config *config;   /* that `def` is of */
	/* After a reload. What takes the place of `def` once this is at rest, of the supervisor's
	 * present config; NULL: nothing. */
	const struct service_def *next;
	bool leaving;	   /* it is in no configuration any more, and goes once it is at rest */
	bool only_reload;  /* that it is being restarted (`renew`), nobody asked but a reload */
	uint32_t reloaded; /* number of the reload that last started or restarted it; 0: none */
	uint16_t index;
	struct life_policy policy;
	const struct seccomp_program *seccomp; /* NULL: no filter */

	pid_t pid; /* of the command that runs, 0: none; ours to reap, so the number cannot be
		      reused */
	int pidfd;
	pid_t leader; /* without a cgroup: the last command, until nothing of it is left; 0: none */
	pid_t sweep;  /* the child that sees to that (src/process/sweep.h), 0: none */
	char invocation[33];	/* $INVOCATION_ID of its last start, and of the undo of that */
	enum purpose purpose;	/* which command that is */
	struct watch error;	/* exec's result */
	struct watch populated; /* cgroup.events */
	struct watch demand[ON_DEMAND_SOCKETS_MAX]; /* LIFE_LISTENING: its sockets */
	uint64_t idle_at_ms;  /* on demand: to be looked at whether it is used; 0: no */
	int64_t idle_cpu_us;  /* what it had worked at the last look; -1: not known */
	struct watch channel; /* our end of `channel = yes` */
	int cgroup_fd;
	uint64_t cgroup_id;	 /* the inode of it: how processes tell which they are in */
	int log_read, log_write; /* both ends stay ours: neither side ever sees the other gone */
	/* Its main process has changed hands, or is about to (main_process.h). */
	struct watch main; /* its pidfd, once it is not the start command any more */
	/* Without cgroups: a child looks whether `candidate` is its own (sweep.h); 0: none. */
	pid_t recognizer, candidate;
	int candidate_fd;   /* its pidfd */
	bool awaits_main;   /* the start command is in the background, and pid is 0 */
	bool leader_reaped; /* without a cgroup: the number of `leader` may be another's */
	/* How it becomes ready (ready.h). */
	struct watch ready_pipe;
	size_t ready_bytes;
	struct ready_watches file_watches;
	struct pid_file file_before;
	char ready_problem[READY_PROBLEM_BYTES];
	uint64_t complain_at_ms; /* not before: who says nonsense must not fill the log */
	char said_error[64];	 /* ERRNO= or BUSERROR= of sd_notify, "" */
	uint64_t kill_at_ms; /* its cgroup could not be killed, or looked into: again then; 0: no */
	uint64_t undo_at_ms; /* no process for the stop command was to be had: next try; 0: none */
	struct reload_command reload_command;
	struct probe probe;	   /* who asks whether it is ready, and well */
	char status[STATUS_BYTES]; /* what it says of itself: STATUS= of sd_notify */
	char reason[REASON_BYTES]; /* how its last command ended, "" if well */
};

enum goal { GOAL_RUN, GOAL_POWEROFF, GOAL_REBOOT, GOAL_HALT, GOAL_KEXEC, GOAL_EXIT };

struct supervisor {
	struct config *config;	/* the present one */
	struct config *retired; /* older ones, that of some service still runs */
	struct config_source source;
	struct pool_size pool_size[POOL_SIZES_MAX]; /* source.pool_size: as operators asked */
	const char *run_dir;
	bool machine; /* PID 1 of a whole machine, not of a container or a test */
	bool init;    /* PID 1 of some PID namespace */
	enum goal goal;
	uint64_t goal_deadline_ms; /* shutdown: what is left then is killed */
	bool goal_forced;

	struct loop loop;
	struct watch signals, notify;
	struct watch files; /* inotify(7), for pid files */
	char notify_path[108];
	int self_fd;   /* our own executable */
	int lock_fd;   /* of the run directory: it is ours */
	int output_fd; /* our stderr as we got it: without a log process, the services' too */
	struct rlimit nofile; /* as we got it: the services' */
	struct cgroup_tree cgroups;
	struct listen_table sockets;
	uint64_t boot_id;
	uint64_t invocations; /* starts of commands so far: with the boot id, $INVOCATION_ID */
	uint64_t started_ms;

	size_t count;
	struct graph_node node[SERVICES_MAX];
	struct graph_service service[SERVICES_MAX];
	struct instance *instance[SERVICES_MAX]; /* by index; each in one of the slots */
	struct instance slot[SERVICES_MAX];
	struct arena edges; /* of node[], where the present configuration alone does not tell */
	bool edges_stale;   /* node[] is to be made anew */
	uint32_t reloads;   /* so far */

	int gossip;	 /* index of the service called gossip, -1: none */
	int log;	 /* … log */
	bool told_ready; /* `told` was sent to the present gossip process */
	struct gossip_ready told;

	/*
	 * The control socket's: told after every change of a service's state, and once all that
	 * followed from it is done; the latter at control_due_ms (0: none) at the latest.
	 */
	void (*changed)(struct supervisor *supervisor, uint16_t index);
	void (*settled)(struct supervisor *supervisor);
	void (*renumbered)(struct supervisor *supervisor); /* indices mean other services now */
	uint64_t control_due_ms;
};

/* Everything but starting: sockets, cgroups, filters, instances. -1 with a message printed: nothing
 * can be supervised. */
int supervise_init(struct supervisor *supervisor, struct config *config,
		   const struct config_source *source, const char *run_dir);
/* Runs until the goal is reached: everything stopped. */
void supervise_run(struct supervisor *supervisor);
/* After that, where something goes on after us: leaves no cgroup and no socket behind. */
void supervise_clean_up(struct supervisor *supervisor);
/* "run", "power off", … */
const char *supervise_goal_name(enum goal goal);
/* Takes and carries out every decision that the present state of things asks for. */
void supervise_settle(struct supervisor *supervisor);
/* One event for one service's life, and what it asks for. */
void supervise_event(struct supervisor *supervisor, uint16_t index, enum life_event event);
/* Whether the conditions of a service's definition hold now. */
bool supervise_conditions_hold(const struct supervisor *supervisor, const struct service_def *def);
/* A service that nothing is known of yet, in its place in service[]. */
void supervise_add(struct supervisor *supervisor, uint16_t index, bool wanted);
/* The service of that name, -1: none. */
int supervise_find(const struct supervisor *supervisor, const char *name);
/* Stop everything in order, then reach `goal`. A second call changes what follows, never the
 * deadline of the first. */
void supervise_shutdown(struct supervisor *supervisor, enum goal goal);

/*
 * What an operator asks for. start: with all it requires; refused without `force` while a service
 * runs that one of these conflicts with. stop, restart: refused without `force` while others need
 * it. Their names are in `why` then. 0, or -1 with a line in `why`.
 */
int supervise_start(struct supervisor *supervisor, uint16_t index, bool force, char *why,
		    size_t why_bytes);
int supervise_stop(struct supervisor *supervisor, uint16_t index, bool force, char *why,
		   size_t why_bytes);
int supervise_restart(struct supervisor *supervisor, uint16_t index, bool force, char *why,
		      size_t why_bytes);
/* One line: what it waits for, or how it ended; "" if there is nothing to say. Returns text. */
const char *supervise_why(const struct supervisor *supervisor, uint16_t index, char *text,
			  size_t text_bytes);
/* All that the profile wants up is up. */
bool supervise_all_ready(const struct supervisor *supervisor, unsigned *ready, unsigned *failed);

#endif
