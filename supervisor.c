/*
 * The front door: one executable, four parts. Which of them this process is going to play stands in its arguments:
 *
 *   supervisor --profile=NAME …     the supervising process: PID 1 of a machine or container, or a subreaper
 *   supervisor worker NAME ARG…     a child of it that does one thing: mount, serve, gossip, drain logs, …
 *   supervisor VERB ARG…            the command line
 *
 * and, by the name of a link to it, what DRBD's kernel side calls when it loses its peer (services/drbd/).
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "services/drbd/drbd.h"
#include "src/base/log.h"
#include "src/config/embedded.h"
#include "src/control/commands.h"
#include "src/gossip/gossip.h"
#include "src/log/log_process.h"
#include "src/supervise/main.h"
#include "src/worker/worker.h"

struct part {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
};

static const struct part workers[] = {
	{ "address", address_worker, NULL },
	{ "agent", agent_worker, NULL },
	{ "cachefiles", cachefiles_worker, NULL },
	{ "dlm", dlm_worker, NULL },
	{ "drbd", drbd_worker, NULL },
	{ "gossip", gossip_worker, NULL },
	{ "log", log_worker, NULL },
	{ "module", module_worker, NULL },
	{ "netns", netns_worker, NULL },
	{ "network", network_worker, NULL },
	{ "nfs-clients", nfs_clients_worker, NULL },
	{ "nfsd", nfsd_worker, NULL },
	{ "ocfs2", ocfs2_worker, NULL },
	{ "share", share_worker, NULL },
	{ "share-dirs", share_dirs_worker, NULL },
};

static const struct part verbs[] = {
	{ "status", cmd_status, "status [NAME] [--json]          services of this node and their states" },
	{ "members", cmd_members, "members [--json]                nodes of the cluster, as this node sees them" },
	{ "start", cmd_start, "start NAME [--no-wait]          start a service and all it requires" },
	{ "stop", cmd_stop, "stop NAME [--force] [--no-wait] stop a service; --force: also what needs it" },
	{ "restart", cmd_restart, "restart NAME [--force] [--no-wait]" },
	{ "kill", cmd_kill, "kill NAME [SIGNAL]              signal all processes of a service" },
	{ "log", cmd_log, "log NAME [-f] [-n LINES]        what a service wrote" },
	{ "check", cmd_check, "check [--profile=P] [--node=N] [DIR]  validate a configuration, change nothing" },
	{ "fcgi", cmd_fcgi, "fcgi ADDRESS:PORT SCRIPT [QUERY]  ask one PHP node directly" },
	{ "keygen", cmd_keygen, "keygen [--json]                 make a node's key pair" },
	{ "poweroff", cmd_poweroff, "poweroff | reboot | halt        stop all services in order, then the machine" },
	{ "reboot", cmd_reboot, NULL },
	{ "halt", cmd_halt, NULL },
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct part *find(const struct part *table, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

static int help(FILE *to, int code)
{
	fputs("supervisor: init, service supervisor and cluster member in one program\n\n"
	      "supervisor --profile=NAME [--node=NAME] [--config=DIR] [--run=DIR]\n"
	      "    supervise: as PID 1 of a machine or a container, or as an ordinary process\n\n"
	      "supervisor VERB …                 talk to the supervisor of this machine\n",
	      to);
	for (size_t i = 0; i < COUNT(verbs); i++)
		if (verbs[i].help)
			fprintf(to, "    %s\n", verbs[i].help);
	fputs("    version | help\n\n"
	      "Exit codes: 0 fine, 1 no, 2 wrong usage. --run=DIR or SUPERVISOR_RUN name another supervisor's directory.\n",
	      to);
	return code;
}

bool worker_known(const char *name)
{
	return find(workers, COUNT(workers), name);
}

static int run_worker(int argc, char **argv)
{
	const struct part *worker = argc > 2 ? find(workers, COUNT(workers), argv[2]) : NULL;

	if (!worker) {
		log_warnx("no worker called %s", argc > 2 ? argv[2] : "(nothing)");
		return 2;
	}
	log_init(worker->name);
	prctl(PR_SET_NAME, worker->name, 0, 0, 0); /* executed by descriptor, it would be called by its number */
	return worker->run(argc - 2, argv + 2);
}

static bool is_called(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash ? slash + 1 : path, name) == 0;
}

int main(int argc, char **argv)
{
	if (argc >= 1 && is_called(argv[0], DRBD_HELPER_NAME))
		return drbd_helper(argc, argv);
	if (argc < 2)
		return help(stderr, 2);
	if (strncmp(argv[1], "--", 2) == 0 && strcmp(argv[1], "--help") != 0 && strcmp(argv[1], "--version") != 0)
		return supervise_main(argc, argv);
	if (strcmp(argv[1], "worker") == 0)
		return run_worker(argc, argv);

	const struct part *verb = find(verbs, COUNT(verbs), argv[1]);
	if (verb)
		return verb->run(argc - 1, argv + 1);
	if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0)
		return puts(supervisor_version) < 0;
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
		return help(stdout, 0);
	log_warnx("unknown verb %s; try: supervisor help", argv[1]);
	return 2;
}
