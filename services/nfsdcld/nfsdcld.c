/*
 * Who holds locks, on disk: nfsdcld(8) of one service address, which keeps the names of the clients
 * that the kernel's nfsd knows, so that after a restart, or on the other node, exactly these may
 * reclaim their locks.
 *
 *   supervisor worker nfsdcld NAME [DATA]    becomes nfsdcld; its records lie in DATA/.nfs/NAME
 * (DATA: /data)
 *
 * The namespace NAME must be there (netns@NAME). rpc_pipefs is mounted in a mount namespace of this
 * process alone and goes with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/netns/netns.h"
#include "src/base/log.h"
#include "src/worker/worker.h"

#define PROGRAM		"/usr/sbin/nfsdcld"
#define PIPE_DIRECTORY	"/run/rpc_pipefs"
#define DIRECTORY_BYTES 256

extern char **environ;

static int make_directory(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return 0;
	log_warn("make directory %s", path);
	return -1;
}

int nfsdcld_worker(int argc, char **argv)
{
	static const char *const modules[] = {"nfsd"};
	struct worker_context context;
	char records[DIRECTORY_BYTES];
	const char *data = argc > 2 ? argv[2] : "/data";

	if (argc < 2 || argc > 3 || strlen(data) > DIRECTORY_BYTES - NAME_BYTES - 8) {
		log_warnx("usage: nfsdcld ADDRESS-NAME [DATA]");
		return 2;
	}
	worker_load(&context);
	if (cluster_find_address(context.cluster, argv[1]) == NULL) {
		log_warnx("found \"%s\", expected an [address …] of the cluster file", argv[1]);
		return 2;
	}
	/* Root only: what it names are clients' identities, and no client may reach it. */
	snprintf(records, sizeof(records), "%s/.nfs", data);
	if (make_directory(records, 0700) < 0)
		return 1;
	snprintf(records, sizeof(records), "%s/.nfs/%s", data, argv[1]);
	if (make_directory(records, 0700) < 0 || make_directory(PIPE_DIRECTORY, 0700) < 0)
		return 1;

	if (worker_load_modules(modules, 1) < 0 || netns_enter(argv[1]) < 0)
		return 1;
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) {
		log_warn("make a mount namespace");
		return 1;
	}
	if (mount("rpc_pipefs", PIPE_DIRECTORY, "rpc_pipefs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  NULL) < 0) {
		log_warn("mount rpc_pipefs on %s", PIPE_DIRECTORY);
		return 1;
	}
	char *command[] = {"nfsdcld", "-F", "-p", PIPE_DIRECTORY, "-s", records, NULL};
	execve(PROGRAM, command, environ);
	log_warn("exec %s", PROGRAM);
	return 1;
}
