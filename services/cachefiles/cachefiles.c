/*
 * The NFS client's cache on a local disk (FS-Cache, cachefiles): what was read once is read from
 * the disk, also after a restart.
 *
 *   supervisor worker cachefiles [DIRECTORY]    formats the disk if it is blank, mounts it at
 * DIRECTORY, and keeps the cache
 *
 * Interface: Documentation/filesystems/caching/cachefiles.rst of the kernel. The cache lives as
 * long as this process keeps /dev/cachefiles open. When the disk gets full, the kernel asks for
 * room, and the files not used for longest are culled. A node without a cache disk does without.
 */
#include "services/cachefiles/cachefiles.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/node/blank.h"
#include "src/worker/worker.h"

#define DEVICE	      "/dev/cachefiles"
#define MKFS	      "/sbin/mkfs.ext4"
#define LABEL	      "supervisor-cache" /* 16 bytes, as long as ext4 takes */
#define DIRECTORY_MAX 200

/* ext4 on-disk format: the superblock at byte 1024, magic at 56 in it, label at 120. */
#define SUPERBLOCK_AT	 1024
#define SUPERBLOCK_MAGIC 0xef53
#define MAGIC_AT	 (SUPERBLOCK_AT + 56)
#define LABEL_AT	 (SUPERBLOCK_AT + 120)
#define LABEL_BYTES	 16

bool cache_disk_is_ours(const uint8_t *head, size_t bytes)
{
	return bytes >= LABEL_AT + LABEL_BYTES &&
	       (head[MAGIC_AT] | head[MAGIC_AT + 1] << 8) == SUPERBLOCK_MAGIC &&
	       memcmp(head + LABEL_AT, LABEL, LABEL_BYTES) == 0;
}

/* 1: a cache that we made earlier; 0: anything else; -1: it could not be read, with a message
 * printed. */
static int is_ours(const char *disk)
{
	uint8_t head[4096];
	int fd = open(disk, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? pread(fd, head, sizeof(head), 0) : -1;

	if (got < 0)
		log_warn("read %s", disk);
	if (fd >= 0)
		close(fd);
	if (got < 0)
		return -1;
	return cache_disk_is_ours(head, (size_t)got) ? 1 : 0;
}

static int format(const char *disk)
{
	char *command[] = {MKFS,
			   "-q",
			   "-F",
			   "-b",
			   "4096",
			   "-i",
			   "8192",
			   "-m",
			   "0",
			   "-J",
			   "size=4",
			   "-L",
			   LABEL,
			   "-E",
			   "lazy_itable_init=0,lazy_journal_init=0,nodiscard",
			   (char *)(uintptr_t)disk,
			   NULL};
	int code = worker_run(command);

	if (code < 0)
		log_warn("run %s", MKFS);
	else if (code != 0)
		log_warnx("%s %s: exit code %d", MKFS, disk, code);
	else
		log_info("%s was blank: made a file system for the cache", disk);
	return code == 0 ? 0 : -1;
}

static int mount_disk(const char *disk, const char *directory)
{
	int ours = is_ours(disk);

	/* Whatever else is found on it (blank_check_path says what) is left as it is. */
	if (ours < 0 || (ours == 0 && (blank_check_path(disk) != 1 || format(disk) < 0)))
		return -1;
	if (mkdir("/var", 0755) < 0 && errno != EEXIST)
		log_warn("make directory /var");
	mkdir("/var/cache", 0755);
	if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
		log_warn("make directory %s", directory);
		return -1;
	}
	/* What a killed predecessor left is not mounted over. */
	while (umount2(directory, MNT_DETACH) == 0)
		log_info("%s was still mounted", directory);
	/* Access times are what culling goes by: relatime, no noatime. */
	if (mount(disk, directory, "ext4", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) {
		log_warn("mount %s on %s", disk, directory);
		return -1;
	}
	return 0;
}

static int command(int device, const char *text)
{
	if (write(device, text, strlen(text)) == (ssize_t)strlen(text))
		return 0;
	log_warn("%s: \"%s\"", DEVICE, text);
	return -1;
}

/* Limits in percent of blocks (b) and files (f): culling runs from cull up to run; below stop
 * nothing new is cached. */
static int bind_cache(int device, const char *directory)
{
	static const char *const limits[] = {"brun 20%", "bcull 10%", "bstop 4%",
					     "frun 20%", "fcull 10%", "fstop 4%"};
	char text[DIRECTORY_MAX + 8];

	snprintf(text, sizeof(text), "dir %s", directory);
	if (command(device, text) < 0 || command(device, "tag supervisor") < 0)
		return -1;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (command(device, limits[i]) < 0)
			return -1;
	return command(device, "bind");
}

static void keep(int device, int signals, const char *directory)
{
	struct pollfd wait[2] = {{.fd = device, .events = POLLIN},
				 {.fd = signals, .events = POLLIN}};

	for (;;) {
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			return;
		if (wait[1].revents != 0)
			return;
		if (wait[0].revents & (POLLERR | POLLHUP)) {
			log_warnx("the kernel gave the cache up (see its log)");
			return;
		}
		if (wait[0].revents & POLLIN) {
			char state[512];
			ssize_t length = read(device, state, sizeof(state) - 1);
			if (length <= 0)
				continue;
			state[length] = '\0';
			if (cachefiles_wants_room(state))
				cachefiles_cull(device, directory);
		}
	}
}

int cachefiles_worker(int argc, char **argv)
{
	static struct worker_context context;
	const char *directory = argc > 1 ? argv[1] : "/var/cache/fscache";
	char disk[64];
	int device = -1, result = 1;

	if (argc > 2 || directory[0] != '/' || strlen(directory) > DIRECTORY_MAX) {
		log_warnx("usage: cachefiles [DIRECTORY]");
		return 2;
	}
	worker_load(&context);
	int signals = worker_stop_signals();
	if (signals < 0)
		return 1;
	if (context.self->cache == NULL) {
		log_info("this node has no cache disk in the cluster file: no client cache");
		return 69;
	}
	if (worker_find_disk(context.self->cache, disk, sizeof(disk)) < 0)
		return 69;
	if (mount_disk(disk, directory) < 0)
		return 1;
	device = open(DEVICE, O_RDWR | O_CLOEXEC);
	if (device < 0) {
		log_warn("open %s", DEVICE);
	} else if (bind_cache(device, directory) == 0) {
		worker_ready();
		log_info("%s caches on %s", directory, disk);
		keep(device, signals, directory);
		result = 0;
	}
	if (device >= 0)
		close(device);
	if (umount2(directory, 0) < 0) {
		log_warn("unmount %s", directory);
		umount2(directory, MNT_DETACH);
	}
	return result;
}
