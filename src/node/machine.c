#include "src/node/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/node/modules.h"
#include "src/node/tar.h"
#include "src/worker/worker.h"

#define CONFIG_DISK	  "serial:config"
#define CONFIG_DISK_BYTES (4u << 20)

/* include/linux/proc_ns.h: the inode number of the first PID namespace is fixed. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCu

/* By the kernel, whoever started us, or an earlier try of ours (src/node/emergency.h). */
static bool is_mounted(const char *where)
{
	struct stat here, above;
	char path[64];

	snprintf(path, sizeof(path), "%s/..", where);
	return stat(where, &here) == 0 && stat(path, &above) == 0 && here.st_dev != above.st_dev;
}

static void mount_one(const char *type, const char *where, unsigned long flags, const char *data)
{
	if (mkdir(where, 0755) < 0 && errno != EEXIST)
		log_warn("make %s", where);
	if (!is_mounted(where) && mount(type, where, type, flags, data) < 0 && errno != EBUSY)
		log_warn("mount %s on %s", type, where);
}

bool machine_is_ours(void)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) < 0) {
		mount_one("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
		if (stat("/proc/self/ns/pid", &st) < 0)
			return false;
	}
	return st.st_ino == FIRST_PID_NAMESPACE;
}

/* The kernel opens /dev/console for us only if the image has that node; after devtmpfs it is
 * certain. */
static void open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	/* Non-blocking: a console that nobody drains must not stop PID 1. */
	for (int i = 0; i < 3; i++)
		if (fd != i)
			dup2(fd, i);
	if (fd > 2)
		close(fd);
}

void machine_mount_early(void)
{
	static const struct {
		const char *name, *to;
	} link[] = {
		{"/dev/fd", "/proc/self/fd"},
		{"/dev/stdin", "/proc/self/fd/0"},
		{"/dev/stdout", "/proc/self/fd/1"},
		{"/dev/stderr", "/proc/self/fd/2"},
	};

	mount_one("devtmpfs", "/dev", MS_NOSUID, "mode=0755");
	open_console();
	mount_one("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_one("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
	mount_one("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
	mount_one("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755,size=25%");
	mount_one("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777,size=25%");
	mount_one("cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	/* What is mounted or unmounted later shows in the services' own mount namespaces, too. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)
		log_warn("share the mounts with services");
	for (size_t i = 0; i < sizeof(link) / sizeof(link[0]); i++)
		if (symlink(link[i].to, link[i].name) < 0 && errno != EEXIST)
			log_warn("link %s", link[i].name);
	if (reboot(RB_DISABLE_CAD) < 0)
		log_warn("ctrl-alt-del");
}

static bool has_word(const struct words *words, const char *word)
{
	for (size_t i = 0; words && i < words->count; i++)
		if (strcmp(words->word[i], word) == 0)
			return true;
	return false;
}

void machine_load_modules(const struct words *modules, const struct words *loaded)
{
	for (size_t i = 0; i < modules->count; i++)
		if (!has_word(loaded, modules->word[i]))
			modules_load(modules->word[i]); /* says what went wrong */
}

/* A config disk is small, and read once, before anything else runs. */
static ssize_t read_disk(const char *path, char *buffer, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;

	if (fd < 0)
		return -1;
	while (used < bytes) {
		ssize_t n = read(fd, buffer + used, bytes - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			close(fd);
			return -1;
		}
		if (n == 0)
			break;
		used += (size_t)n;
	}
	close(fd);
	return (ssize_t)used;
}

struct unpacking {
	const char *directory;
	size_t files;
};

static int unpack(void *owner, const char *name, const char *data, size_t bytes)
{
	struct unpacking *unpacking = owner;
	const char *directory = unpacking->directory;
	char path[512];
	bool secret = strcmp(name, "node.conf") == 0;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			log_warn("make %s", path);
		*slash = '/';
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	/* Before the contents: the image may hold a file of that name that all may read. */
	if (fd < 0 || fchmod(fd, secret ? 0600 : 0644) < 0 ||
	    write(fd, data, bytes) != (ssize_t)bytes)
		log_warn("config disk: write %s", path);
	if (fd >= 0)
		close(fd);
	unpacking->files++;
	return 0;
}

void machine_read_config_disk(const char *directory)
{
	struct unpacking unpacking = {.directory = directory};
	char path[64];
	const char *error;

	if (worker_find_disk(CONFIG_DISK, path, sizeof(path)) < 0)
		return;
	char *buffer = malloc(CONFIG_DISK_BYTES);
	if (!buffer) {
		log_warn("config disk");
		return;
	}
	ssize_t n = read_disk(path, buffer, CONFIG_DISK_BYTES);
	if (n < 0)
		log_warn("config disk: read %s", path);
	else if ((error = tar_each(buffer, (size_t)n, unpack, &unpacking)))
		log_warnx("config disk %s: %s", path, error);
	else if (unpacking.files == 0)
		log_warnx("config disk %s: holds no file", path);
	explicit_bzero(buffer, CONFIG_DISK_BYTES); /* it held the node's secret key */
	free(buffer);
}

void machine_set_name(const char *name)
{
	if (sethostname(name, strlen(name)) < 0)
		log_warn("host name %s", name);
}

void machine_raise_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
		log_warn("loopback");
	} else {
		request.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
			log_warn("loopback up");
	}
	if (fd >= 0)
		close(fd);
}

void machine_apply_sysctls(const struct sysctl_def *sysctl, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char path[256];
		snprintf(path, sizeof(path), "/proc/sys/%s", sysctl[i].name);
		for (char *c = path + strlen("/proc/sys/"); *c; c++)
			if (*c == '.')
				*c = '/';
		worker_writef(sysctl[i].value, "%s", path);
	}
}
