#include "services/drbd/drbd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/node/blank.h"
#include "src/worker/worker.h"

#define HELPER_PARAMETER  "/sys/module/drbd/parameters/usermode_helper"
#define CONCURRENT_CHANGE 11  /* drbdsetup's exit code when both ends change state at once */
#define CHANGE_RETRIES	  100 /* of RETRY_MS each */
#define RETRY_MS	  100

static int setup(const char *what, char *const argv[])
{
	int rc = worker_run(argv);
	if (rc < 0)
		log_warn("%s: run %s", what, argv[0]);
	else if (rc != 0)
		log_warnx("%s: %s %s ended with %d", what, argv[0], argv[1], rc);
	return rc == 0 ? 0 : -1;
}

static void pause_ms(long ms)
{
	const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&time, NULL);
}

/* The kernel gets a path without arguments: a link whose name tells the front door what it is. */
static int install_helper(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0) {
		log_warn("read /proc/self/exe");
		return -1;
	}
	self[n] = '\0';
	if (unlink(DRBD_HELPER_PATH) < 0 && errno != ENOENT) {
		log_warn("remove " DRBD_HELPER_PATH);
		return -1;
	}
	if (symlink(self, DRBD_HELPER_PATH) < 0) {
		log_warn("link " DRBD_HELPER_PATH " to %s", self);
		return -1;
	}
	return worker_writef(DRBD_HELPER_PATH, HELPER_PARAMETER);
}

/* 1: the disk has DRBD's metadata, 0: it has not, -1: it could not be read (said). */
static int has_metadata(const char *disk)
{
	int fd = open(disk, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0) {
		log_warn("disk %s: open for exclusive use", disk);
		return -1;
	}
	int64_t size = blank_size(fd);
	int found = -1;
	if (size < 0)
		log_warn("disk %s: ask for its size", disk);
	else
		found = blank_holds(fd, (uint64_t)size, BLANK_KIND_DRBD);
	close(fd);
	return found;
}

static int make_metadata(const char *disk)
{
	char *const argv[] = {DRBD_META,    "--force",	DRBD_MINOR,  "v08",
			      (char *)disk, "internal", "create-md", NULL};

	if (blank_check_path(disk) != 1) {
		log_warnx("disk %s: neither blank nor a disk of DRBD; wipe it by hand if its "
			  "content may go",
			  disk);
		return -1;
	}
	log_info("disk %s is blank: making DRBD's metadata", disk);
	return setup("make metadata", argv);
}

/* Is the resource there already, from an earlier start that was not undone? -1: cannot tell (said).
 */
static int read_state(struct drbd_state *state)
{
	struct drbd_watch watch;

	if (drbd_watch_open(&watch) < 0) {
		log_warn("run " DRBD_SETUP " events2");
		return -1;
	}
	while (!watch.state.complete && drbd_watch_next(&watch, -1) >= 0)
		;
	*state = watch.state;
	drbd_watch_close(&watch);
	if (!state->complete) {
		log_warnx(DRBD_SETUP " events2 ended before the state was complete");
		return -1;
	}
	return 0;
}

static int down(void)
{
	char *const argv[] = {DRBD_SETUP, "down", DRBD_RESOURCE, NULL};
	struct drbd_state state;

	if (read_state(&state) < 0)
		return -1;
	if (!state.exists)
		return 0;
	for (int i = 0; i < CHANGE_RETRIES; i++) {
		int rc = worker_run(argv);
		if (rc != CONCURRENT_CHANGE)
			return rc == 0 ? 0 : -1;
		pause_ms(RETRY_MS);
	}
	log_warnx("take down " DRBD_RESOURCE ": the peer's state kept changing");
	return -1;
}

static int attach(const char *disk, bool pair)
{
	char *path = (char *)disk;
	/*
	 * suspend-io: a primary that is still the target of a synchronisation and loses its source
	 * has no good data left; its writers wait for the peer. The default fails them, and OCFS2
	 * then panics.
	 */
	char *const resource[] = {DRBD_SETUP, "new-resource", DRBD_RESOURCE,
				  "--on-no-data-accessible=suspend-io", NULL};
	char *const minor[] = {DRBD_SETUP, "new-minor", DRBD_RESOURCE, DRBD_MINOR, "0", NULL};
	char *const log[] = {DRBD_META, DRBD_MINOR, "v08", path, "internal", "apply-al", NULL};
	/*
	 * al-extents bounds what a crashed primary resynchronises: 67 extents of 4 MiB. The speed
	 * of that follows from how full the link is (1 MiB in flight), so that writers and mounts
	 * do not queue behind it.
	 */
	char *const attach_argv[] = {DRBD_SETUP,
				     "attach",
				     DRBD_MINOR,
				     path,
				     path,
				     "internal",
				     "--c-plan-ahead=20",
				     "--c-fill-target=1M",
				     "--c-min-rate=4M",
				     "--c-max-rate=400M",
				     "--resync-rate=10M",
				     "--al-extents=67",
				     pair ? "--fencing=resource-and-stonith"
					  : "--fencing=dont-care",
				     NULL};

	if (setup("make the resource", resource) < 0 || setup("make the device", minor) < 0)
		return -1;
	if (setup("apply the activity log", log) < 0)
		return -1;
	return setup("attach the disk", attach_argv);
}

static int connect_peer(const struct worker_context *context)
{
	char self[64], peer[64], timeout[32], address[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &context->self->address.address, address, sizeof(address));
	snprintf(self, sizeof(self), "ipv4:%s:%d", address, DRBD_PORT);
	inet_ntop(AF_INET, &context->peer->address.address, address, sizeof(address));
	snprintf(peer, sizeof(peer), "ipv4:%s:%d", address, DRBD_PORT);
	snprintf(timeout, sizeof(timeout), "--timeout=%u",
		 context->cluster->timers.drbd_timeout / 100);
	/*
	 * Loss of the peer is seen after timeout (0.1 s units) + ping-timeout (likewise). The
	 * after-sb policies only drop what nobody wrote to; two histories with writes on both sides
	 * are left for a person.
	 */
	char *const argv[] = {DRBD_SETUP,
			      "connect",
			      DRBD_RESOURCE,
			      self,
			      peer,
			      "--protocol=C",
			      "--allow-two-primaries=yes",
			      timeout,
			      "--ping-int=1",
			      "--ping-timeout=5",
			      "--connect-int=1",
			      "--ko-count=2",
			      "--after-sb-0pri=discard-zero-changes",
			      "--after-sb-1pri=discard-secondary",
			      "--after-sb-2pri=disconnect",
			      NULL};
	return setup("connect", argv);
}

/* Where drbdmeta and drbdsetup-84 keep their lock files; a fresh root has neither. */
static int make_lock_directories(void)
{
	static const char *const paths[] = {"/var",	     "/var/lock", "/var/lib",
					    "/var/lib/drbd", "/var/run",  "/var/run/drbd"};

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (mkdir(paths[i], 0755) < 0 && errno != EEXIST) {
			log_warn("make %s", paths[i]);
			return -1;
		}
	}
	return 0;
}

static int up(void)
{
	struct worker_context context;
	char disk[PATH_MAX];

	worker_load(&context);
	if (!context.self->disk) {
		log_warnx("node %s has no `disk =` in cluster.conf", context.self->name);
		return 1;
	}
	if (worker_find_disk(context.self->disk, disk, sizeof(disk)) < 0)
		return 1;
	if (make_lock_directories() < 0 || install_helper() < 0 || down() < 0)
		return 1;
	int found = has_metadata(disk);
	if (found < 0 || (found == 0 && make_metadata(disk) < 0))
		return 1;
	if (attach(disk, context.peer != NULL) < 0)
		return 1;
	return context.peer && connect_peer(&context) < 0 ? 1 : 0;
}

/* One try. 0: done; 1: again; -1: refused for a reason that stays (the tool said it). */
static int change(char *const argv[])
{
	int rc = worker_run(argv);
	if (rc == 0)
		return 0;
	return rc == CONCURRENT_CHANGE ? 1 : -1;
}

static void say_waiting(const struct drbd_state *state, const char *peer)
{
	worker_status("waiting for %s: connection %s, disk %s, peer's disk %s", peer,
		      state->connection, state->disk, state->peer_disk);
}

/*
 * Takes one step towards being primary, as the state allows. 0: primary; 1: wait for the next
 * event; 2: try again soon; -1: cannot. Both disks new: exactly one node, the one with the lower
 * id, declares them equal; the kernel itself refuses that for a disk that was ever in use.
 */
static int advance(const struct drbd_state *state, bool first)
{
	static char *const skip_sync[] = {DRBD_SETUP, "new-current-uuid", DRBD_MINOR,
					  "--clear-bitmap", NULL};
	static char *const promote[] = {DRBD_SETUP, "primary", DRBD_MINOR, NULL};

	if (drbd_is_primary(state))
		return 0;
	if (drbd_both_new(state) && first) {
		log_info("both disks are new and equal: no first synchronisation");
		return change(skip_sync) < 0 ? -1 : 2;
	}
	if (drbd_may_promote(state)) {
		int rc = change(promote);
		return rc == 1 ? 2 : rc;
	}
	if (strcmp(state->connection, "StandAlone") == 0) {
		log_warnx("DRBD does not connect (StandAlone): the two disks have different "
			  "histories, or a setting differs; neither is discarded by itself");
		return -1;
	}
	return 1;
}

static int promote_alone(void)
{
	static char *const argv[] = {DRBD_SETUP, "primary", DRBD_MINOR, NULL};
	static char *const force[] = {DRBD_SETUP, "primary", DRBD_MINOR, "--force", NULL};
	struct drbd_state state;

	if (read_state(&state) < 0)
		return 1;
	if (strcmp(state.disk, "Inconsistent") != 0)
		return setup("promote", argv) < 0 ? 1 : 0;
	/* Declared good only if nothing was ever on it: not what an interrupted synchronisation has
	 * left. */
	const int fresh = drbd_is_new();
	if (fresh < 0)
		log_warn("run " DRBD_SETUP " get-gi");
	else if (fresh == 0)
		log_warnx("the disk is the unfinished copy of a peer that cluster.conf does not "
			  "name");
	return fresh == 1 && setup("promote", force) == 0 ? 0 : 1;
}

static int primary(void)
{
	struct worker_context context;
	struct drbd_watch watch;
	int retries = 0;

	worker_load(&context);
	if (!context.peer)
		return promote_alone();
	if (drbd_watch_open(&watch) < 0) {
		log_warn("run " DRBD_SETUP " events2");
		return 1;
	}
	int step = 1;
	while (step > 0) {
		if (step == 2 && ++retries > CHANGE_RETRIES) {
			log_warnx("promote: the peer's state kept changing");
			step = -1;
			break;
		}
		int got = drbd_watch_next(&watch, step == 2 ? RETRY_MS : -1);
		if (got < 0) {
			log_warnx(DRBD_SETUP " events2 ended");
			step = -1;
			break;
		}
		if (!watch.state.complete)
			continue;
		say_waiting(&watch.state, context.peer->name);
		step = advance(&watch.state, context.self->id < context.peer->id);
	}
	drbd_watch_close(&watch);
	return step == 0 ? 0 : 1;
}

static int secondary(void)
{
	static char *const argv[] = {DRBD_SETUP, "secondary", DRBD_MINOR, NULL};
	struct drbd_state state;

	if (read_state(&state) < 0)
		return 1;
	if (!drbd_is_primary(&state))
		return 0;
	/* A device that is still open (an unmount just finishing) or a peer that changes too: again
	 * for some seconds. */
	for (int i = 0; i < CHANGE_RETRIES; i++) {
		if (worker_run(argv) == 0)
			return 0;
		pause_ms(RETRY_MS);
	}
	log_warnx("demote " DRBD_DEVICE ": still refused after %d s",
		  CHANGE_RETRIES * RETRY_MS / 1000);
	return 1;
}

static int status(bool json)
{
	struct drbd_state s;

	if (read_state(&s) < 0)
		return 1;
	const char *exists = s.exists ? "true" : "false", *frozen = s.suspended ? "true" : "false";
	if (json)
		printf("{\"exists\":%s,\"role\":\"%s\",\"connection\":\"%s\","
		       "\"peer_role\":\"%s\",\"disk\":\"%s\",\"replication\":\"%s\","
		       "\"peer_disk\":\"%s\",\"suspended\":%s}\n",
		       exists, s.role, s.connection, s.peer_role, s.disk, s.replication,
		       s.peer_disk, frozen);
	else
		printf("exists       %s\nrole         %s\nconnection   %s\npeer-role    %s\n"
		       "disk         %s\nreplication  %s\npeer-disk    %s\nsuspended    %s\n",
		       exists, s.role, s.connection, s.peer_role, s.disk, s.replication,
		       s.peer_disk, frozen);
	return fflush(stdout) == 0 ? 0 : 1;
}

int drbd_worker(int argc, char **argv)
{
	const char *verb = argc >= 2 ? argv[1] : "";

	if (argc == 2 && strcmp(verb, "up") == 0)
		return up();
	if (argc == 2 && strcmp(verb, "down") == 0)
		return down() < 0 ? 1 : 0;
	if (argc == 2 && strcmp(verb, "primary") == 0)
		return primary();
	if (argc == 2 && strcmp(verb, "secondary") == 0)
		return secondary();
	if (strcmp(verb, "status") == 0 &&
	    (argc == 2 || (argc == 3 && strcmp(argv[2], "--json") == 0)))
		return status(argc == 3);
	log_warnx("expected up, down, primary, secondary, or status [--json]; found \"%s\"", verb);
	return 2;
}
