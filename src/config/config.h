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

#define SERVICES_MAX 512

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
};

/*
 * NULL when anything was reported. Reports everything: unknown or doubled keys, bad values, missing
 * dependencies, cycles (with their path), unknown variables, unknown users.
 */
struct config *config_load(const struct config_source *source, struct config_report *report);
void config_free(struct config *config); /* NULL is fine */
/* -1: no such service. */
int config_find(const struct config *config, const char *name);

/*
 * Only the profile's boot part (boot_modules, watchdog): needs neither cluster nor node file. Same
 * ownership and errors.
 */
struct config *config_load_boot(const struct config_source *source, struct config_report *report);

#endif
