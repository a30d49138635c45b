/* The front door. */

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "services/drbd/drbd.h"
#include "src/base/log.h"
#include "src/config/embedded.h"
#include "src/control/commands.h"
#include "src/gossip/gossip.h"
#include "src/worker/worker.h"

static const struct worker workers[] = {
	{"address", address_worker},
	{"agent", agent_worker},
	{"cachefiles", cachefiles_worker},
	{"dlm", dlm_worker},
	{"drbd", drbd_worker},
	{"gossip", gossip_worker},
	{"module", module_worker},
	{"netns", netns_worker},
	{"network", network_worker},
	{"nfsd", nfsd_worker},
	{"nfsdcld", nfsdcld_worker},
	{"ocfs2", ocfs2_worker},
	{"share", share_worker},
	{"share-dirs", share_dirs_worker},
};

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{"check", cmd_check},
	{"keygen", cmd_keygen},
};

/* A link of this name to the program is what DRBD's kernel side starts (services/drbd/). */
static bool is_called(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');
	return strcmp(slash ? slash + 1 : path, name) == 0;
}

static int run_worker(int argc, char **argv)
{
	for (size_t i = 0; argc >= 1 && i < sizeof(workers) / sizeof(workers[0]); i++) {
		if (strcmp(workers[i].name, argv[0]) == 0) {
			log_init(argv[0]);
			return workers[i].run(argc, argv);
		}
	}
	log_warnx("worker: found \"%s\", expected the name of a built-in worker",
		  argc >= 1 ? argv[0] : "");
	return 2;
}

int main(int argc, char **argv)
{
	if (argc >= 1 && is_called(argv[0], DRBD_HELPER_NAME))
		return drbd_helper(argc, argv);
	if (argc >= 2 && strcmp(argv[1], "worker") == 0)
		return run_worker(argc - 2, argv + 2);
	if (argc == 2 && strcmp(argv[1], "version") == 0) {
		puts(supervisor_version);
		return 0;
	}
	for (size_t i = 0; argc >= 2 && i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, argv[1]) == 0)
			return verbs[i].run(argc - 1, argv + 1);
	}
	fputs("usage: supervisor --profile=NAME | supervisor VERB ...\n", stderr);
	return 2;
}
