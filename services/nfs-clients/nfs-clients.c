/*
 * Who holds locks, on disk: the names of the clients that the kernel's nfsd of one service address
 * knows, so that after a restart, or on the other node, exactly these may reclaim what they held.
 *
 *   supervisor worker nfs-clients NAME [DATA]    records in DATA/.nfs/NAME/clients (DATA: /data)
 *
 * The part that nfsdcld(8) plays elsewhere, over the same pipe (linux/nfsd/cld.h,
 * fs/nfsd/nfs4recover.c): nfsdcld's database takes a dozen synchronous changes of the filesystem
 * for one client, and seconds for its first start; this takes one synchronous write.
 *
 * The namespace NAME must be there (netns@NAME). rpc_pipefs is mounted in a mount namespace of this
 * process alone and goes with it. The pipe comes and goes with nfsd's threads; the kernel waits for
 * its reader.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/nfsd/cld.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/netns/netns.h"
#include "services/nfs-clients/records.h"
#include "src/base/log.h"
#include "src/worker/worker.h"

#define MOUNT_POINT	"/run/rpc_pipefs"
#define PIPE_DIRECTORY	MOUNT_POINT "/nfsd"
#define PIPE		PIPE_DIRECTORY "/cld"
#define VERSION		1 /* of the pipe's messages: later ones add Kerberos principals */
#define DIRECTORY_BYTES 256

struct server {
	struct records records;
	int file;
	const char *path;
	int pipe; /* -1: nfsd is not running */
};

/* fsync(2) of what the directory `path` names. */
static int sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = fd < 0 ? -1 : fsync(fd);

	if (result < 0)
		log_warn("fsync %s", path);
	if (fd >= 0)
		close(fd);
	return result;
}

static int make_directory(const char *path)
{
	/* Root only: what lies there are clients' identities, and no client may reach it. */
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	log_warn("make directory %s", path);
	return -1;
}

/* Moves length bytes at `at` to or from the file; -1 with errno, EIO at its end. */
static int transfer(int fd, uint8_t *bytes, size_t length, off_t at, bool write_it)
{
	for (size_t done = 0; done < length;) {
		ssize_t moved = write_it ? pwrite(fd, bytes + done, length - done, at + (off_t)done)
					 : pread(fd, bytes + done, length - done, at + (off_t)done);
		if (moved < 0 && errno == EINTR)
			continue;
		if (moved == 0)
			errno = EIO;
		if (moved <= 0)
			return -1;
		done += (size_t)moved;
	}
	return 0;
}

/* Under its own name only when whole and on disk. */
static int create_file(const char *path, const char *directory, uint8_t *image)
{
	char draft[DIRECTORY_BYTES + 32];

	snprintf(draft, sizeof(draft), "%s.new", path);
	records_make(image);
	int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		log_warn("create %s", draft);
		return -1;
	}
	int result = transfer(fd, image, RECORDS_BYTES, 0, true);
	if (result == 0)
		result = fsync(fd);
	if (close(fd) < 0 || result < 0 || rename(draft, path) < 0) {
		log_warn("write %s", path);
		return -1;
	}
	return sync_directory(directory);
}

static int open_records(struct server *server, const char *directory)
{
	static char path[DIRECTORY_BYTES + 16];
	static uint8_t image[RECORDS_BYTES];

	snprintf(path, sizeof(path), "%s/clients", directory);
	server->path = path;
	if (access(path, F_OK) < 0 && errno == ENOENT && create_file(path, directory, image) < 0)
		return -1;
	server->file = open(path, O_RDWR | O_DSYNC | O_NOFOLLOW | O_CLOEXEC);
	if (server->file < 0 || transfer(server->file, image, RECORDS_BYTES, 0, false) < 0) {
		log_warn("read %s", path);
		return -1;
	}
	if (!records_open(&server->records, image)) {
		log_warnx("%s: found something that is no file of clients' records", path);
		return -1;
	}
	return 0;
}

/* Writes the changed slot; returns when it is on disk, on both nodes. */
static int16_t store(struct server *server, int slot)
{
	if (slot == RECORDS_UNCHANGED)
		return 0;
	if (slot == RECORDS_FULL) {
		log_warnx("%s: no room for one more client", server->path);
		return -ENOSPC;
	}
	off_t at = (off_t)slot * RECORDS_SLOT_BYTES;
	if (transfer(server->file, server->records.file + at, RECORDS_SLOT_BYTES, at, true) == 0)
		return 0;
	log_warn("write %s", server->path);
	return -EIO;
}

static int reply(struct server *server, const struct cld_msg *message)
{
	if (write(server->pipe, message, sizeof(*message)) == (ssize_t)sizeof(*message))
		return 0;
	log_warn("answer the kernel, command %d", message->cm_cmd);
	return -1;
}

/* Every client that may reclaim, in a message each; the kernel keeps the list until grace is over.
 */
static int16_t grace_start(struct server *server, const struct cld_msg *question)
{
	static struct cld_msg message;
	int16_t status = store(server, records_grace_start(&server->records));
	const uint8_t *name;
	size_t length;
	unsigned count = 0;

	for (int slot = 0;
	     status == 0 && (name = records_next(&server->records, &slot, &length)) != NULL;) {
		memset(&message, 0, sizeof(message));
		message.cm_vers = VERSION;
		message.cm_cmd = Cld_GraceStart;
		message.cm_status = -EINPROGRESS;
		message.cm_xid = question->cm_xid;
		message.cm_u.cm_name.cn_len = (uint16_t)length;
		memcpy(message.cm_u.cm_name.cn_id, name, length);
		if (reply(server, &message) < 0)
			return -EIO;
		count++;
	}
	if (status == 0)
		log_info("%u clients may reclaim", count);
	return status;
}

/* Carries out one question and makes it its own answer. False: our picture and the disk may differ;
 * start again from the disk. */
static bool answer(struct server *server, struct cld_msg *message)
{
	const uint8_t *name = message->cm_u.cm_name.cn_id;
	size_t length = message->cm_u.cm_name.cn_len;
	struct records *records = &server->records;

	if (length > RECORD_NAME_MAX)
		length = 0;
	switch (message->cm_cmd) {
	case Cld_GetVersion:
		message->cm_u.cm_version = VERSION;
		message->cm_status = 0;
		break;
	case Cld_Create:
		message->cm_status = store(server, records_create(records, name, length));
		break;
	case Cld_Remove:
		message->cm_status = store(server, records_remove(records, name, length));
		break;
	case Cld_Check:
		message->cm_status = records_may_reclaim(records, name, length) ? 0 : -EACCES;
		break;
	case Cld_GraceStart:
		message->cm_status = grace_start(server, message);
		break;
	case Cld_GraceDone:
		message->cm_status = store(server, records_grace_done(records));
		break;
	default:
		message->cm_status = -EOPNOTSUPP;
	}
	bool broken = message->cm_status == -EIO;
	return reply(server, message) == 0 && !broken;
}

static void close_pipe(struct server *server)
{
	if (server->pipe >= 0)
		close(server->pipe);
	server->pipe = -1;
}

static void open_pipe(struct server *server)
{
	close_pipe(server);
	server->pipe = open(PIPE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (server->pipe < 0 && errno != ENOENT)
		log_warn("open %s", PIPE);
}

/* One message; the pipe of an nfsd that has ended answers EPIPE. */
static bool read_question(struct server *server)
{
	static struct cld_msg message;
	ssize_t length = read(server->pipe, &message, sizeof(message));

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (length != (ssize_t)sizeof(message) || message.cm_vers != VERSION) {
		if (length > 0)
			log_warnx("found a message of %zd bytes, version %d, expected %zu and %d",
				  length, message.cm_vers, sizeof(message), VERSION);
		close_pipe(server);
		return true;
	}
	return answer(server, &message);
}

/* Until SIGTERM; -1: something is wrong. */
static int serve(struct server *server, int watch, int signals)
{
	for (;;) {
		struct pollfd wait[3] = {{.fd = signals, .events = POLLIN},
					 {.fd = watch, .events = POLLIN},
					 {.fd = server->pipe, .events = POLLIN}};
		if (poll(wait, 3, -1) < 0 && errno != EINTR) {
			log_warn("poll");
			return -1;
		}
		if (wait[0].revents != 0)
			return 0;
		if (wait[1].revents != 0) {
			/* Which change it was does not matter: the pipe that is there now counts.
			 */
			char events[4096];
			if (read(watch, events, sizeof(events)) < 0 && errno != EAGAIN)
				return -1;
			open_pipe(server);
			continue;
		}
		if (wait[2].revents != 0 && !read_question(server))
			return -1;
	}
}

static int enter_namespaces(const char *name)
{
	if (netns_enter(name) < 0)
		return -1;
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) {
		log_warn("make a mount namespace");
		return -1;
	}
	if (make_directory(MOUNT_POINT) < 0)
		return -1;
	if (mount("rpc_pipefs", MOUNT_POINT, "rpc_pipefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) <
	    0) {
		log_warn("mount rpc_pipefs on %s", MOUNT_POINT);
		return -1;
	}
	return 0;
}

static int run(const char *name, const char *directory, int signals)
{
	static struct server server;

	server.pipe = -1;
	if (open_records(&server, directory) < 0 || enter_namespaces(name) < 0)
		return -1;
	int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch < 0 || inotify_add_watch(watch, PIPE_DIRECTORY, IN_CREATE) < 0) {
		log_warn("watch %s", PIPE_DIRECTORY);
		return -1;
	}
	/* nfsd may be running: then its pipe is there already. */
	open_pipe(&server);
	worker_ready();
	return serve(&server, watch, signals);
}

int nfs_clients_worker(int argc, char **argv)
{
	struct worker_context context;
	char directory[DIRECTORY_BYTES];
	const char *data = argc > 2 ? argv[2] : "/data";

	if (argc < 2 || argc > 3 || data[0] != '/' ||
	    strlen(data) > DIRECTORY_BYTES - NAME_BYTES - 8) {
		log_warnx("usage: nfs-clients ADDRESS-NAME [DATA]");
		return 2;
	}
	worker_load(&context);
	if (worker_address(&context, argv[1]) == NULL)
		return 2;
	/* Only between two questions: what was begun is answered. */
	int signals = worker_stop_signals();
	if (signals < 0)
		return 1;
	snprintf(directory, sizeof(directory), "%s/.nfs", data);
	if (make_directory(directory) < 0)
		return 1;
	snprintf(directory, sizeof(directory), "%s/.nfs/%s", data, argv[1]);
	if (make_directory(directory) < 0)
		return 1;
	return run(argv[1], directory, signals) == 0 ? 0 : 1;
}
