/*
 * One loaded configuration: the profile, its services with all they need, and the cluster. Loaded
 * whole, checked whole, freed whole; a rejected one leaves nothing behind.
 */
#ifndef SUPERVISOR_CONFIG_CONFIG_H
#define SUPERVISOR_CONFIG_CONFIG_H

#include "src/base/arena.h"
#include "src/config/cluster.h"
#include "src/config/report.h"
#include "src/config/service.h"

#define SERVICES_MAX	 512
#define POOL_MEMBERS_MAX 64

/* How many members a pool is to have in place of what its file says. */
struct pool_size {
	char name[SERVICE_NAME_BYTES];
	size_t members; /* 1 to POOL_MEMBERS_MAX */
};

struct config_source {
	/*
	 * NULL: /etc/supervisor. Holds services/, profiles/, cluster.conf, node.conf; any of them
	 * may be missing, and services and profiles then are the built-in ones.
	 */
	const char *directory;
	const char *profile;  /* NULL: only the cluster and node files */
	const char *node;     /* in place of node.conf's name; NULL: as node.conf says */
	const char *accounts; /* directory of passwd and group; NULL: /etc */
	/*
	 * What only other modules can tell; NULL: not asked. Whether a built-in worker has that
	 * name, and whether `seccomp =` words make a filter (no: the reason goes to `error`).
	 */
	bool (*worker_known)(const char *name);
	bool (*filter_good)(const struct words *words, char *error, size_t error_bytes);
	/* Services that form a cycle are loaded, but `refused`, in place of an error: a machine
	 * that boots does the rest. */
	bool refuse_cycles;
	const struct pool_size *pool_size; /* pools that are not listed have what their file says */
	size_t pool_size_count;
};

struct sysctl_def {
	const char *name, *value; /* "fs.leases-enable", "0" */
};

/* The hardware watchdog of a machine (src/node/watchdog.h). */
struct watchdog_def {
	const char *device;  /* NULL: none is wanted */
	uint32_t timeout_ms; /* whole seconds */
};

struct config {
	struct arena arena;
	const char *profile;
	/* Loaded by PID 1 itself before the cluster file can be read: disks, network. */
	struct words boot_modules;
	struct watchdog_def watchdog; /* likewise opened early */
	uint32_t shutdown_timeout_ms; /* all services together; 0: not said */
	struct sysctl_def *sysctl;
	size_t sysctl_count;
	const char *node;		 /* this node's name, NULL: unknown */
	struct cluster *cluster;	 /* NULL: a lone node, no cluster.conf */
	const struct cluster_node *self; /* NULL without a cluster */
	struct node_identity identity;
	bool has_identity;
	/* Ordered: what a service requires, wants or comes after stands before it. */
	struct service_def *service;
	size_t service_count;
	uint8_t sources[DIGEST_BYTES];	      /* of the texts it was made from, without templates */
	uint8_t cluster_digest[DIGEST_BYTES]; /* of what cluster.conf says; 0: there is none */
	struct config *older;		      /* the caller's: for a list */
};

/*
 * NULL when anything was reported. Reports everything: unknown or doubled keys, bad values, missing
 * dependencies, cycles (with their path), unknown variables, unknown users.
 */
struct config *config_load(const struct config_source *source, struct config_report *report);
void config_free(struct config *config); /* NULL is fine */
/* One without any service, in place of one that was refused. NULL: out of memory. */
struct config *config_empty(const char *profile);
/* -1: no such service. */
int config_find(const struct config *config, const char *name);

/*
 * Only the profile's boot part (boot_modules, watchdog): needs neither cluster nor node file. Same
 * ownership and errors.
 */
struct config *config_load_boot(const struct config_source *source, struct config_report *report);

#endif
