#include "src/worker/worker.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/log.h"

#define CONFIG_DIRECTORY "/etc/supervisor"
#define FILE_BYTES_MAX	 (1u << 20)

extern char **environ;

static struct arena arena;

/* A whole configuration file in the arena; NULL with errno. */
static char *read_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return NULL;
	char *text = malloc(FILE_BYTES_MAX);
	size_t used = 0;
	ssize_t n = 0;
	while (text && used < FILE_BYTES_MAX) {
		n = read(fd, text + used, FILE_BYTES_MAX - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	char *copy = NULL;
	if (text && n == 0)
		copy = arena_strndup(&arena, text, used);
	else if (text && n > 0)
		errno = EFBIG;
	int saved = errno;
	free(text);
	close(fd);
	errno = saved;
	*size = used;
	return copy;
}

static void exit_if_wrong(const struct config_report *report)
{
	if (report->count == 0)
		return;
	for (size_t i = 0; i < report->count && i < CONFIG_FINDINGS_MAX; i++)
		log_warnx("%s", report->finding[i]);
	exit(1);
}

void worker_load(struct worker_context *context)
{
	static struct config_report report;
	const char *directory = getenv("SUPERVISOR_CONFIG");
	const char *name = getenv("SUPERVISOR_NODE");
	char path[PATH_MAX];
	size_t size = 0;

	*context = (struct worker_context){0};
	if (!directory || *directory == '\0')
		directory = CONFIG_DIRECTORY;

	snprintf(path, sizeof(path), "%s/cluster.conf", directory);
	char *text = read_file(path, &size);
	if (!text)
		fatal("read %s", path);
	context->cluster = cluster_parse(&arena, path, text, size, &report);
	exit_if_wrong(&report);
	if (!context->cluster)
		fatalx("read %s: out of memory", path);

	/* Workers without the right to read the node's key do without it; the name then comes from
	 * the environment. */
	snprintf(path, sizeof(path), "%s/node.conf", directory);
	text = read_file(path, &size);
	if (text) {
		node_identity_parse(&context->identity, path, text, size, &report);
		exit_if_wrong(&report);
	} else if (!name || *name == '\0') {
		fatal("read %s (and SUPERVISOR_NODE is not set)", path);
	}
	if (!name || *name == '\0')
		name = context->identity.name;
	context->self = cluster_find_node(context->cluster, name);
	if (!context->self)
		fatalx("%s/cluster.conf has no [node %s], which this node is", directory, name);
	context->peer = cluster_peer(context->cluster, context->self);
}

static void notify(const char *message)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};

	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(to.sun_path))
		return;
	size_t length = strlen(path);
	memcpy(to.sun_path, path, length);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		log_warn("notify %s: socket", path);
		return;
	}
	socklen_t to_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	if (sendto(fd, message, strlen(message), MSG_NOSIGNAL, (struct sockaddr *)&to, to_length) <
	    0)
		log_warn("notify %s", path);
	close(fd);
}

void worker_ready(void)
{
	notify("READY=1");
}

void worker_status(const char *fmt, ...)
{
	char message[256] = "STATUS=";
	const size_t prefix = strlen(message);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message + prefix, sizeof(message) - prefix, fmt, ap);
	va_end(ap);
	notify(message);
}

int worker_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -1;
	const size_t length = strlen(text);
	ssize_t n;
	do
		n = write(fd, text, length);
	while (n < 0 && errno == EINTR);
	int saved = n >= 0 && (size_t)n != length ? EIO : errno;
	close(fd);
	errno = saved;
	return n >= 0 && (size_t)n == length ? 0 : -1;
}

int worker_writef(const char *text, const char *path_fmt, ...)
{
	char path[PATH_MAX];
	va_list ap;

	va_start(ap, path_fmt);
	int n = vsnprintf(path, sizeof(path), path_fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(path)) {
		errno = ENAMETOOLONG;
		log_warn("write \"%s\" to %s", text, path_fmt);
		return -1;
	}
	if (worker_write(path, text) == 0)
		return 0;
	log_warn("write \"%s\" to %s", text, path);
	return -1;
}

int worker_run(char *const argv[])
{
	pid_t pid = fork();
	if (pid < 0)
		return -1;
	if (pid == 0) {
		execve(argv[0], argv, environ);
		log_warn("exec %s", argv[0]);
		_exit(127);
	}
	int status;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* virtio-blk shows its serial in /sys/block/NAME/serial, SCSI and NVMe disks one level down. */
static bool disk_has_serial(const char *disk, const char *serial)
{
	static const char *const places[] = {"serial", "device/serial"};
	char path[PATH_MAX], found[64];

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "/sys/block/%s/%s", disk, places[i]);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		ssize_t n = read(fd, found, sizeof(found) - 1);
		close(fd);
		while (n > 0 && isspace((unsigned char)found[n - 1]))
			n--;
		if (n > 0 && (size_t)n == strlen(serial) && memcmp(found, serial, (size_t)n) == 0)
			return true;
	}
	return false;
}

int worker_find_disk(const char *disk, char *path, size_t path_bytes)
{
	static const char prefix[] = "serial:";
	int n = -1;

	if (strncmp(disk, "/dev/", 5) == 0) {
		n = snprintf(path, path_bytes, "%s", disk);
	} else if (strncmp(disk, prefix, sizeof(prefix) - 1) == 0) {
		const char *serial = disk + sizeof(prefix) - 1;
		DIR *dir = opendir("/sys/block");
		if (!dir) {
			log_warn("find disk %s: open /sys/block", disk);
			return -1;
		}
		for (struct dirent *entry; n < 0 && (entry = readdir(dir));)
			if (entry->d_name[0] != '.' && disk_has_serial(entry->d_name, serial))
				n = snprintf(path, path_bytes, "/dev/%s", entry->d_name);
		closedir(dir);
	} else {
		log_warnx("find disk: found \"%s\", expected /dev/PATH or serial:NAME", disk);
		return -1;
	}
	if (n < 0 || (size_t)n >= path_bytes || access(path, F_OK) != 0) {
		log_warnx("find disk %s: this machine has none", disk);
		return -1;
	}
	return 0;
}

const struct cluster_address *worker_address(const struct worker_context *context, const char *name)
{
	const struct cluster_address *address = cluster_find_address(context->cluster, name);

	if (!address)
		log_warnx("found \"%s\", expected an [address …] of the cluster file", name);
	return address;
}

int worker_stop_signals(void)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	if (sigprocmask(SIG_BLOCK, &stop, NULL) == 0) {
		int fd = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
		if (fd >= 0)
			return fd;
	}
	log_warn("signalfd");
	return -1;
}
