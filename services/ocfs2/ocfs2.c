/*
 * Worker `@ocfs2 format|mount DIR|umount DIR`: the filesystem that both data nodes have mounted, on
 * the DRBD device, with the kernel's userspace cluster stack (fs/ocfs2/stack_user.c) and our own
 * DLM control.
 *
 * Only the node with the lower id ever formats, and it does so before its DLM control starts; the
 * other node's DLM control is ready only when it has met that one. So whoever comes to mount finds
 * the filesystem made, and nobody has to look for it again and again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "services/drbd/drbd.h"
#include "src/base/log.h"
#include "src/node/blank.h"
#include "src/worker/worker.h"

#define MKFS "/usr/sbin/mkfs.ocfs2"
#define CLUSTER_STACK \
	"pcmk" /* any four letters but o2cb mean "user" to the kernel; mkfs knows these */
#define CLUSTER_NAME_MAX 16 /* OCFS2_CLUSTER_NAME_LEN */
#define SMALL_BYTES	 (INT64_C(4) << 30)
#define UMOUNT_RETRIES	 50
#define UMOUNT_RETRY_MS	 100

/* 1: there is an OCFS2, 0: there is none, -1: unreadable (said). */
static int has_filesystem(int64_t *size_bytes)
{
	int fd = open(DRBD_DEVICE, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		log_warn("open " DRBD_DEVICE);
		return -1;
	}
	*size_bytes = blank_size(fd);
	int found = -1;
	if (*size_bytes < 0)
		log_warn("ask for the size of " DRBD_DEVICE);
	else
		found = blank_holds(fd, (uint64_t)*size_bytes, BLANK_KIND_OCFS2);
	close(fd);
	return found;
}

static int make_filesystem(const struct cluster *cluster, int64_t size_bytes)
{
	char cluster_name[NAME_BYTES + 16];

	snprintf(cluster_name, sizeof(cluster_name), "--cluster-name=%s", cluster->name);
	/*
	 * nodiscontig-bg: with that feature, the first access to a directory's handle through the
	 * other server turns the filesystem read-only.
	 */
	char *const argv[] = {MKFS,
			      "-F",
			      "-b",
			      "4K",
			      "-C",
			      "4K",
			      "-N",
			      "2",
			      "-J",
			      size_bytes < SMALL_BYTES ? "size=8M" : "size=64M",
			      "-T",
			      "mail",
			      "--fs-features=nodiscontig-bg",
			      "--cluster-stack=" CLUSTER_STACK,
			      cluster_name,
			      "-L",
			      "shared",
			      DRBD_DEVICE,
			      NULL};
	log_info(DRBD_DEVICE " is blank: making an OCFS2 filesystem");
	int rc = worker_run(argv);
	if (rc < 0)
		log_warn("run " MKFS);
	else if (rc != 0)
		log_warnx(MKFS " ended with %d", rc);
	return rc == 0 ? 0 : 1;
}

static int format(void)
{
	struct worker_context context;
	int64_t size_bytes = 0;

	worker_load(&context);
	if (strlen(context.cluster->name) > CLUSTER_NAME_MAX) {
		log_warnx("cluster name \"%s\": OCFS2 takes at most %d letters",
			  context.cluster->name, CLUSTER_NAME_MAX);
		return 1;
	}
	if (context.peer && context.self->id > context.peer->id)
		return 0;
	int found = has_filesystem(&size_bytes);
	if (found != 0)
		return found > 0 ? 0 : 1;
	if (blank_check_path(DRBD_DEVICE) != 1)
		return 1;
	return make_filesystem(context.cluster, size_bytes);
}

static int mount_filesystem(const char *directory)
{
	int64_t size_bytes;

	if (worker_writef(CLUSTER_STACK, "/sys/fs/ocfs2/cluster_stack") < 0)
		return 1;
	if (mkdir(directory, 0755) < 0 && errno != EEXIST) {
		log_warn("make %s", directory);
		return 1;
	}
	int found = has_filesystem(&size_bytes);
	if (found == 0)
		log_warnx(DRBD_DEVICE " holds no OCFS2 filesystem");
	if (found != 1)
		return 1;
	/*
	 * localflocks: locks are those of the server that a share's clients all use; with
	 * cluster-wide POSIX locks nfsd could not tell waiters that a lock is free.
	 */
	if (mount(DRBD_DEVICE, directory, "ocfs2", MS_NOATIME | MS_NOSUID | MS_NODEV,
		  "cluster_stack=" CLUSTER_STACK ",localflocks") < 0) {
		log_warn("mount " DRBD_DEVICE " on %s", directory);
		return 1;
	}
	return 0;
}

/* Something may just be letting go of it; how long to wait is bounded by the service's stop-timeout
 * as well. */
static int umount_filesystem(const char *directory)
{
	const struct timespec pause = {0, UMOUNT_RETRY_MS * 1000000L};

	for (int i = 0; i < UMOUNT_RETRIES; i++) {
		if (umount2(directory, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
			return 0; /* it was not mounted */
		if (errno != EBUSY)
			break;
		nanosleep(&pause, NULL);
	}
	log_warn("unmount %s", directory);
	return 1;
}

int ocfs2_worker(int argc, char **argv)
{
	const char *verb = argc >= 2 ? argv[1] : "";

	if (argc == 2 && strcmp(verb, "format") == 0)
		return format();
	if (argc == 3 && strcmp(verb, "mount") == 0)
		return mount_filesystem(argv[2]);
	if (argc == 3 && strcmp(verb, "umount") == 0)
		return umount_filesystem(argv[2]);
	log_warnx("expected format, mount DIR, or umount DIR; found \"%s\"", verb);
	return 2;
}
