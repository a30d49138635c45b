/*
 * A service as its file describes it: everything typed, checked and expanded; nothing here changes
 * while it runs. The grammar is docs/SERVICES.md; the keys are one table in service_keys.c.
 */
#ifndef SUPERVISOR_CONFIG_SERVICE_H
#define SUPERVISOR_CONFIG_SERVICE_H

#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>

/* "NAME", "NAME@INSTANCE", "NAME:3" (third of a pool), with the NUL. */
#define LISTEN_FROM_MAX	      128 /* CLUSTER_NODES_MAX */
#define SERVICE_NAME_BYTES    64
#define ON_DEMAND_SOCKETS_MAX 8
#define DIGEST_BYTES	      16

/* NULL-terminated vector of strings, as execve(2) wants it. Empty: word may be NULL. */
struct words {
	char **word;
	size_t count;
};

enum service_kind {
	SERVICE_DAEMON,	 /* runs until stopped */
	SERVICE_ONESHOT, /* ready when its start command has ended well; a stop command undoes it */
	SERVICE_GROUP,	 /* runs nothing; ready when what it requires is */
	SERVICE_POOL,	 /* `instances = N`: wants NAME:1 … NAME:N, ready while any of them is */
};

enum ready_mode {
	READY_NOW,	/* as soon as it is executing */
	READY_EXIT,	/* when its command has ended well */
	READY_NOTIFY,	/* READY=1 of sd_notify(3) */
	READY_FD,	/* a newline on descriptor ready_fd */
	READY_PID_FILE, /* the process that ready_path names is its main process */
	READY_PROBE,	/* when the command ready_probe has ended well */
};
enum restart_mode { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum limit_action { LIMIT_GIVE_UP, LIMIT_COMMAND, LIMIT_REBOOT };
enum condition_kind { CONDITION_LEASE, CONDITION_PATH };

struct command {
	struct words argv; /* after expansion; count 0: none given */
	bool builtin;	   /* run this same executable as "supervisor worker WORD…" */
};

struct listen_def {
	const char *text; /* "tcp 0.0.0.0:80", after expansion; equal texts share one socket */
	int socket_type;  /* SOCK_STREAM or SOCK_DGRAM */
	struct sockaddr_storage address;
	socklen_t address_length;
};

struct limit_def {
	int resource; /* RLIMIT_… */
	struct rlimit value;
	const char *name; /* "nofile" */
};

/* `template = FILE.in -> /path`: expanded when loaded, written before each start. */
struct template_def {
	const char *name, *path, *text;
	size_t size; /* bytes of text */
};

struct condition {
	enum condition_kind kind;
	const char *argument; /* lease name, path */
};

/* How much of the machine it gets, beside memory-max and pids-max; all zero: as everybody. */
struct process_share {
	int scheduling;			      /* SCHED_OTHER (0), SCHED_FIFO, … */
	int scheduling_priority;	      /* SCHED_FIFO, SCHED_RR: 1 to 99 */
	bool scheduling_optional;	      /* a refusal does not matter */
	cpu_set_t cpu_affinity;		      /* empty: any */
	int io_priority;		      /* as ioprio_set(2) has it; 0: none of its own */
	uint64_t memory_high_bytes;	      /* 0: none; so are the others */
	uint32_t cpu_quota_us, cpu_period_us; /* so much time of a processor in each period */
	uint32_t cpu_weight, io_weight;	      /* 1 to 10000; what says nothing has 100 */
};

struct service_def {
	char name[SERVICE_NAME_BYTES];
	const char *instance; /* of NAME@INSTANCE, the number of a pool's member, or "" */
	const char *file;     /* where it came from, for messages */
	const char *description;
	enum service_kind kind;
	struct command start, stop, reload;
	int reload_signal;	      /* 0: none */
	const char *refused;	      /* NULL, or why it is never started: it is part of a cycle */
	bool on_request;	      /* not before an operator asks */
	bool reads_cluster;	      /* what it runs reads cluster.conf itself */
	uint8_t digest[DIGEST_BYTES]; /* of all that cannot change under a running process */
	uint8_t live[DIGEST_BYTES];   /* of the rest */

	/*
	 * Indices into config.service[], those of the first three all below this service's own.
	 * wants: started too, waited for until ready or failed; after: order only. A pool wants its
	 * members, and nothing else: what its file requires, its members require. conflicts: both
	 * ways.
	 */
	uint16_t *requires, *wants, *after, *conflicts;
	size_t requires_count, wants_count, after_count, conflicts_count;
	bool lost_keep; /* what it requires may crash and come back without it */
	int pool;	/* index of the pool this is a member of, or -1 */
	struct condition *condition;
	size_t condition_count;

	enum ready_mode ready;
	int ready_fd;
	const char *ready_path;
	struct command ready_probe;
	const char *ready_text; /* "tcp 127.0.0.1:80", as the file says it; for messages */
	uint32_t start_timeout_ms, stop_timeout_ms; /* 0: none */
	int stop_signal;
	enum restart_mode restart;
	uint32_t restart_delay_ms, restart_delay_max_ms; /* exponential backoff between the two */
	uint32_t healthy_after_ms;			 /* up that long: backoff starts anew */
	uint32_t limit_restarts, limit_window_ms;	 /* 0: no limit */
	enum limit_action on_limit;
	struct command limit_command; /* LIMIT_COMMAND */
	uint8_t success_exit[16];     /* codes besides 0 that are no failure */
	size_t success_exit_count;

	struct command check; /* none: count 0 */
	const char *check_text;
	uint32_t check_interval_ms, check_timeout_ms, check_start_period_ms;
	uint32_t check_retries; /* failures in a row that make it unhealthy */
	uint32_t watchdog_ms;	/* WATCHDOG=1 of sd_notify(3) at least so often; 0: none */

	bool on_demand;	       /* started by its first client */
	uint32_t idle_stop_ms; /* on demand: unused that long, it is stopped; 0: never */

	bool first;   /* all others are ordered after it; already part of their `after` */
	bool channel; /* SOCK_SEQPACKET to the supervising process as fd 3 */
	/* First one is fd 0 (fd 4… with channel = yes), all also as LISTEN_FDS from 3 on without.
	 */
	struct listen_def *listen;
	size_t listen_count;
	struct in_addr *listen_from; /* who may reach them; none: anybody */
	size_t listen_from_count;
	struct template_def *template;
	size_t template_count;

	/* What it runs as and may do; applied by src/process/sandbox.c between fork and exec. */
	bool has_user;
	uid_t uid;
	gid_t gid;
	gid_t groups[16];
	size_t group_count;
	mode_t umask;
	int nice;
	int oom_score_adj;
	struct limit_def *limit;
	size_t limit_count;
	const char *directory; /* working directory, default "/" */
	/* "KEY=VALUE"; nothing else is inherited but PATH, NOTIFY_SOCKET, LISTEN_*. */
	struct words environment;
	/* Made before the start in the parent of --run (/run), owned by the user, mode 0755. */
	struct words runtime_directories;
	/* Bit N = CAP_N; root services keep exactly these, others get them ambient. */
	uint64_t capabilities;
	bool all_capabilities;	/* `capabilities = all`: trusted workers of ours */
	struct words seccomp;	/* names and @groups; empty: no filter */
	bool no_new_privileges; /* default yes */
	bool private_tmp;
	bool private_network;
	const char *root; /* NULL, "empty" (an empty directory), or a directory to chroot to */
	/* Covered by an empty read-only mount in the service's own mount namespace. */
	struct words hidden;
	uint64_t memory_max_bytes; /* 0: none */
	uint32_t pids_max;	   /* 0: none */
	struct process_share share;
};

#endif
