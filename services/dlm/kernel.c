#include "services/dlm/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/dlm/wire.h"
#include "src/base/log.h"
#include "src/worker/worker.h"

#define CONFIGFS "/sys/kernel/config"
#define CLUSTER	 CONFIGFS "/dlm/cluster"
#define SYSFS	 "/sys/kernel/dlm"
#define MONITOR	 "/dev/dlm-monitor"

static int make_directory(const char *path)
{
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return 0;
	log_warn("make %s", path);
	return -1;
}

static int remove_directory(const char *path)
{
	if (rmdir(path) == 0 || errno == ENOENT)
		return 0;
	log_warn("remove %s", path);
	return -1;
}

/* Calls `each` with every entry of a directory that does not begin with a dot; a missing directory
 * has none. */
static void for_each_entry(const char *path,
			   void (*each)(const char *path, const char *name, void *), void *argument)
{
	DIR *dir = opendir(path);
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (entry->d_name[0] != '.' && entry->d_type == DT_DIR)
			each(path, entry->d_name, argument);
	closedir(dir);
}

static void remove_entry(const char *path, const char *name, void *argument)
{
	char full[PATH_MAX];
	(void)argument;
	snprintf(full, sizeof(full), "%s/%s", path, name);
	remove_directory(full);
}

struct listing {
	void (*each)(const char *lockspace, bool member, void *);
	void *argument;
};

static void list_entry(const char *path, const char *name, void *argument)
{
	const struct listing *listing = argument;
	char space[PATH_MAX];
	(void)path;

	if (!wire_lockspace_is_valid(name))
		return;
	snprintf(space, sizeof(space), CLUSTER "/spaces/%s", name);
	listing->each(name, access(space, F_OK) == 0, listing->argument);
}

void kernel_lockspaces(void (*each)(const char *lockspace, bool member, void *), void *argument)
{
	struct listing listing = {each, argument};

	for_each_entry(SYSFS, list_entry, &listing);
}

/*
 * recover_callbacks: the kernel itself tells the file system about a dead member. recover_timer: a
 * lost message of a recovery is sent again after 1 s, not 5.
 */
static int describe_cluster(const char *cluster_name)
{
	if (access(CONFIGFS "/dlm", F_OK) < 0 &&
	    mount("configfs", CONFIGFS, "configfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 &&
	    errno != EBUSY) {
		log_warn("mount configfs on " CONFIGFS);
		return -1;
	}
	for_each_entry(CLUSTER "/comms", remove_entry, NULL);
	if (access(CLUSTER, F_OK) == 0)
		remove_directory(CLUSTER);
	if (make_directory(CLUSTER) < 0 ||
	    worker_writef(cluster_name, CLUSTER "/cluster_name") < 0 ||
	    worker_writef("1", CLUSTER "/recover_callbacks") < 0)
		return -1;
	return worker_writef("1", CLUSTER "/recover_timer");
}

int kernel_open(const char *cluster_name, bool resume)
{
	int monitor = open(MONITOR, O_RDWR | O_CLOEXEC);
	if (monitor < 0) {
		log_warn("open " MONITOR);
		return -1;
	}
	if (!resume && describe_cluster(cluster_name) < 0) {
		close(monitor);
		return -1;
	}
	return monitor;
}

void kernel_close(int monitor_fd)
{
	for_each_entry(CLUSTER "/comms", remove_entry, NULL);
	remove_directory(CLUSTER);
	close(monitor_fd);
}

int kernel_add_node(uint16_t id, struct in_addr address, bool local)
{
	char path[PATH_MAX], text[8];
	struct sockaddr_storage raw = {0};
	const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = address};

	memcpy(&raw, &in, sizeof(in));
	snprintf(path, sizeof(path), CLUSTER "/comms/%u", id);
	snprintf(text, sizeof(text), "%u", id);
	if (access(path, F_OK) == 0)
		return 0;
	if (make_directory(path) < 0 || worker_writef(text, "%s/nodeid", path) < 0)
		return -1;
	/* The address is a struct, not text. */
	snprintf(path, sizeof(path), CLUSTER "/comms/%u/addr", id);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, &raw, sizeof(raw)) != (ssize_t)sizeof(raw)) {
		log_warn("write an address to %s", path);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	return local ? worker_writef("1", CLUSTER "/comms/%u/local", id) : 0;
}

void kernel_remove_node(uint16_t id)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), CLUSTER "/comms/%u", id);
	remove_directory(path);
}

int kernel_stop(const char *lockspace)
{
	return worker_writef("0", SYSFS "/%s/control", lockspace);
}

int kernel_forget(const char *lockspace, uint16_t id)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), CLUSTER "/spaces/%s/nodes/%u", lockspace, id);
	return remove_directory(path);
}

/* The same number on every node, never 0 (FNV-1a of the name). */
static uint32_t lockspace_id(const char *name)
{
	uint32_t hash = 2166136261u;
	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 16777619u;
	return hash ? hash : 1;
}

struct members {
	const uint16_t *ids;
	size_t count;
};

static void remove_if_no_member(const char *path, const char *name, void *argument)
{
	const struct members *members = argument;
	const long id = strtol(name, NULL, 10);

	for (size_t i = 0; i < members->count; i++)
		if (members->ids[i] == id)
			return;
	remove_entry(path, name, NULL);
}

int kernel_start(const char *lockspace, const uint16_t *ids, size_t count)
{
	struct members members = {ids, count};
	char space[PATH_MAX / 2], path[PATH_MAX], text[16];

	snprintf(space, sizeof(space), CLUSTER "/spaces/%s", lockspace);
	snprintf(path, sizeof(path), "%s/nodes", space);
	if (make_directory(space) < 0)
		return -1;
	for_each_entry(path, remove_if_no_member, &members);
	for (size_t i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/nodes/%u", space, ids[i]);
		snprintf(text, sizeof(text), "%u", ids[i]);
		if (access(path, F_OK) == 0)
			continue;
		if (make_directory(path) < 0 || worker_writef(text, "%s/nodeid", path) < 0 ||
		    worker_writef("1", "%s/weight", path) < 0)
			return -1;
	}
	snprintf(text, sizeof(text), "%u", lockspace_id(lockspace));
	if (worker_writef(text, SYSFS "/%s/id", lockspace) < 0)
		return -1;
	return worker_writef("1", SYSFS "/%s/control", lockspace);
}

int kernel_joined(const char *lockspace)
{
	return worker_writef("0", SYSFS "/%s/event_done", lockspace);
}

int kernel_left(const char *lockspace)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), CLUSTER "/spaces/%s/nodes", lockspace);
	for_each_entry(path, remove_entry, NULL);
	snprintf(path, sizeof(path), CLUSTER "/spaces/%s", lockspace);
	remove_directory(path);
	return worker_writef("0", SYSFS "/%s/event_done", lockspace);
}

int kernel_event_open(void)
{
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1};
	const int buffer_bytes = 1 << 20;
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_KOBJECT_UEVENT);

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		log_warn("listen to kernel events");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof(buffer_bytes));
	return fd;
}

/* "online@/kernel/dlm/NAME" or "offline@…", then NUL-terminated KEY=VALUE that say the same again.
 */
static bool parse_event(const char *text, size_t length, bool *online, char *name,
			size_t name_bytes)
{
	static const char on[] = "online@/kernel/dlm/", off[] = "offline@/kernel/dlm/";
	const size_t first = strnlen(text, length);
	const char *found;

	if (first == length)
		return false;
	if (strncmp(text, on, sizeof(on) - 1) == 0) {
		*online = true;
		found = text + sizeof(on) - 1;
	} else if (strncmp(text, off, sizeof(off) - 1) == 0) {
		*online = false;
		found = text + sizeof(off) - 1;
	} else {
		return false;
	}
	if (strlen(found) >= name_bytes || !wire_lockspace_is_valid(found))
		return false;
	memcpy(name, found, strlen(found) + 1);
	return true;
}

int kernel_event_read(int fd, bool *online, char *lockspace, size_t lockspace_bytes)
{
	char text[8192];
	struct sockaddr_nl from = {0};
	socklen_t from_bytes = sizeof(from);
	ssize_t n = recvfrom(fd, text, sizeof(text) - 1, 0, (struct sockaddr *)&from, &from_bytes);

	if (n < 0 && errno == ENOBUFS) {
		log_warnx("kernel events were lost: a mount or unmount may wait for ever");
		return 0;
	}
	if (n < 0)
		return errno == EINTR ? 0 : -1;
	if (from.nl_pid != 0) /* only the kernel's own */
		return 0;
	text[n] = '\0';
	return parse_event(text, (size_t)n + 1, online, lockspace, lockspace_bytes) ? 1 : 0;
}
