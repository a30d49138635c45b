/*
 * Built-in workers: what a service file's `start = @NAME ARG…` runs, as a process of its own
 * ("supervisor worker NAME ARG…"). They do what may block: mounts, DRBD, the DLM, nfsd. The
 * supervising process only starts them, waits and applies deadlines.
 *
 * A worker's environment holds SUPERVISOR_CONFIG (directory) and SUPERVISOR_NODE. Messages go to
 * stderr by src/base/log.h, prefixed with the worker's name. Exit codes: 0 done, 1 failed (said
 * why), 2 wrong arguments, 69 nothing to do on this machine.
 */
#ifndef SUPERVISOR_WORKER_WORKER_H
#define SUPERVISOR_WORKER_WORKER_H

#include <stdarg.h>
#include <stdbool.h>

#include "src/config/cluster.h"

struct worker {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] = name */
};

/* The workers, one a line; the table of names is in supervisor.c. */
int module_worker(int argc, char **argv);
int drbd_worker(int argc, char **argv);
int dlm_worker(int argc, char **argv);
int ocfs2_worker(int argc, char **argv);
int share_dirs_worker(int argc, char **argv);
int agent_worker(int argc, char **argv);
int network_worker(int argc, char **argv);
int address_worker(int argc, char **argv);
int netns_worker(int argc, char **argv);
int nfs_clients_worker(int argc, char **argv);
int nfsd_worker(int argc, char **argv);
int share_worker(int argc, char **argv);
int cachefiles_worker(int argc, char **argv);
int check_worker(int argc, char **argv);

/* Whether the table of supervisor.c has a worker of that name. */
bool worker_known(const char *name);

struct worker_context {
	const struct cluster *cluster;
	const struct cluster_node *self;
	const struct cluster_node *peer; /* NULL: none */
	struct node_identity
		identity; /* only for workers that run as root and could read node.conf */
};

/* Reads cluster.conf and node.conf as the environment says; exits with 1 and every finding printed
 * when they are wrong. */
void worker_load(struct worker_context *context);

/* sd_notify(3): READY=1, and STATUS=TEXT. Without NOTIFY_SOCKET they do nothing. */
void worker_ready(void);
void worker_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes `text` without a newline to a file of the kernel (sysfs, configfs, proc). -1 with errno;
 * says nothing. */
int worker_write(const char *path, const char *text);
/* As worker_write, path printed as by printf; on failure a log_warn that names path and text. */
int worker_writef(const char *text, const char *path_fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Runs a program and waits; its output is ours. Returns its exit code, or 128 + signal; -1 with
 * errno if it could not be run. */
int worker_run(char *const argv[]);
/* Path of a block device from "/dev/PATH" or "serial:NAME" (virtio-blk serial in /sys/block). 0, or
 * -1 with a message printed. */
int worker_find_disk(const char *disk, char *path, size_t path_bytes);
/* The service address of that name; NULL with a message printed when the cluster file has none. */
const struct cluster_address *worker_address(const struct worker_context *context,
					     const char *name);
/*
 * From now on SIGTERM and SIGINT wait: the descriptor becomes readable instead (signalfd(2),
 * non-blocking, close-on-exec). -1 with a message printed.
 */
int worker_stop_signals(void);

#endif
