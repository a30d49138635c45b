#include "src/process/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/base/log.h"

#define TREES_MAX   64	 /* supervisors that share one parent cgroup (tests, containers) */
#define KILL_ROUNDS 64	 /* of the fallback: each ends every process that it saw */
#define PROCS_BYTES 4096 /* of cgroup.procs that one round looks at */

static const struct {
	const char *name, *keys;
} controller[CGROUP_CONTROLLERS] = {
	[CGROUP_MEMORY] = {"memory", "memory-max and memory-high have"},
	[CGROUP_PIDS] = {"pids", "pids-max has"},
	[CGROUP_CPU] = {"cpu", "cpu-max and cpu-weight have"},
	[CGROUP_IO] = {"io", "io-weight has"},
};

static int write_at(int dir, const char *file, const char *text)
{
	int fd = openat(dir, file, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int error = errno;
	close(fd);
	errno = error;
	return n < 0 ? -1 : 0;
}

/* The start of a small file as a string. -1 with errno. */
static int read_at(int dir, const char *file, char *text, size_t text_bytes)
{
	int fd = openat(dir, file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, text_bytes - 1);
	int error = errno;
	close(fd);
	errno = error;
	if (n < 0)
		return -1;
	text[n] = '\0';
	return 0;
}

static const char *mount_point(void)
{
	static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct statfs fs;
		if (statfs(places[i], &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
			return places[i];
	}
	return NULL;
}

/* Directory of the cgroup that we are in: the line "0::/PATH" of /proc/self/cgroup (cgroups(7)). -1
 * after saying why. */
static int open_ours(bool init)
{
	const char *mount = mount_point();
	if (!mount) {
		log_warnx("no cgroup2 is mounted: services are held by session, without limits "
			  "of memory, pids, cpu and io");
		return -1;
	}
	char text[4096];
	if (read_at(AT_FDCWD, "/proc/self/cgroup", text, sizeof(text)) < 0) {
		log_warn("cannot use cgroups: /proc/self/cgroup");
		return -1;
	}
	char *ours = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
	if (!ours) {
		log_warnx("cannot use cgroups: /proc/self/cgroup names no version 2 cgroup");
		return -1;
	}
	ours = strchr(ours, '/');
	ours[strcspn(ours, "\n")] = '\0';
	size_t length = strlen(ours);
	if (init && length >= 5 && strcmp(ours + length - 5, "/init") == 0)
		ours[length - 5] = '\0'; /* we moved there ourselves, before a re-exec */

	char path[sizeof(text) + 32];
	snprintf(path, sizeof(path), "%s%s", mount, ours);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		log_warn("cannot use cgroups: %s", path);
	return fd;
}

/* Passes a controller on to the children of `dir`. A controller that is not here is no error worth
 * a message now. */
static bool pass_on(int dir, const char *name, bool init)
{
	char word[16];
	snprintf(word, sizeof(word), "+%s", name);
	if (write_at(dir, "cgroup.subtree_control", word) == 0)
		return true;
	if (errno != EBUSY || !init)
		return false;
	/* "No internal processes": only we are in it, as the first process of a container; step
	 * aside. */
	if (mkdirat(dir, "init", 0755) < 0 && errno != EEXIST)
		return false;
	if (write_at(dir, "init/cgroup.procs", "0") < 0)
		return false;
	return write_at(dir, "cgroup.subtree_control", word) == 0;
}

/*
 * The lock makes the tree ours: two supervisors in one cgroup (two containers without a cgroup
 * namespace, two tests) must not take each other's services for leftovers. It ends with us, so a
 * crashed one's tree is taken over with what still runs in it.
 */
static int lock_tree(int ours, const char *name)
{
	if (mkdirat(ours, name, 0755) < 0 && errno != EEXIST)
		return -1;
	int fd = openat(ours, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	struct stat opened, named;
	/* One that somebody left there may be on a cgroup2 that is read-only. */
	if (faccessat(fd, ".", W_OK, 0) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	    fstat(fd, &opened) == 0) {
		/* Its former owner may have removed it between our open and our lock. */
		if (fstatat(ours, name, &named, 0) == 0 && named.st_ino == opened.st_ino)
			return fd;
		errno = EWOULDBLOCK;
	}
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

static int open_tree(struct cgroup_tree *tree)
{
	for (int i = 0; i < TREES_MAX; i++) {
		snprintf(tree->name, sizeof(tree->name), i == 0 ? "supervisor" : "supervisor-%d",
			 i);
		tree->fd = lock_tree(tree->parent_fd, tree->name);
		if (tree->fd >= 0 || (errno != EWOULDBLOCK && errno != ENOENT))
			return tree->fd;
	}
	errno = EUSERS;
	return -1;
}

int cgroup_tree_open(struct cgroup_tree *tree, bool init)
{
	*tree = (struct cgroup_tree){.fd = -1, .parent_fd = -1};
	tree->parent_fd = open_ours(init);
	if (tree->parent_fd < 0)
		return -1;
	if (open_tree(tree) < 0) {
		log_warn("cannot use cgroups: no cgroup \"supervisor\" below our own");
		close(tree->parent_fd);
		tree->parent_fd = -1;
		return -1;
	}
	/* One by one: a kernel or a container that lacks one may have the others. */
	for (int i = 0; i < CGROUP_CONTROLLERS; i++)
		tree->has[i] = pass_on(tree->parent_fd, controller[i].name, init) &&
			       pass_on(tree->fd, controller[i].name, false);
	return 0;
}

/* The cgroups of services that have ended; one with processes in it stays. */
static void remove_empty(int tree_fd)
{
	int fd = openat(tree_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* closed by closedir */
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory)
		return;
	for (struct dirent *entry; (entry = readdir(directory));) {
		if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
			unlinkat(tree_fd, entry->d_name, AT_REMOVEDIR);
	}
	closedir(directory);
}

void cgroup_tree_close(struct cgroup_tree *tree)
{
	if (tree->fd < 0)
		return;
	remove_empty(tree->fd);
	unlinkat(tree->parent_fd, tree->name, AT_REMOVEDIR);
	close(tree->fd);
	close(tree->parent_fd);
	tree->fd = tree->parent_fd = -1;
}

int cgroup_open(struct cgroup_tree *tree, const char *service)
{
	if (tree->fd < 0) {
		errno = EBADF;
		return -1;
	}
	if (mkdirat(tree->fd, service, 0755) < 0 && errno != EEXIST)
		return -1;
	return openat(tree->fd, service, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* One file of a cgroup that a key of the service file is for. */
struct setting {
	enum cgroup_controller controller;
	const char *key, *file;
	char text[48]; /* "": the file does not ask for it, and the kernel's default stays */
};

#define SETTINGS 6

static void number(char *text, size_t text_bytes, const char *before, uint64_t value)
{
	if (value > 0)
		snprintf(text, text_bytes, "%s%llu", before, (unsigned long long)value);
}

static void settings_of(const struct service_def *service, struct setting setting[SETTINGS])
{
	const struct process_share *share = &service->share;
	const struct setting none[SETTINGS] = {
		{CGROUP_MEMORY, "memory-max", "memory.max", ""},
		{CGROUP_MEMORY, "memory-high", "memory.high", ""},
		{CGROUP_PIDS, "pids-max", "pids.max", ""},
		{CGROUP_CPU, "cpu-weight", "cpu.weight", ""},
		{CGROUP_CPU, "cpu-max", "cpu.max", ""},
		{CGROUP_IO, "io-weight", "io.weight", ""},
	};
	memcpy(setting, none, sizeof(none));
	number(setting[0].text, sizeof(setting[0].text), "", service->memory_max_bytes);
	number(setting[1].text, sizeof(setting[1].text), "", share->memory_high_bytes);
	number(setting[2].text, sizeof(setting[2].text), "", service->pids_max);
	number(setting[3].text, sizeof(setting[3].text), "", share->cpu_weight);
	if (share->cpu_quota_us > 0)
		snprintf(setting[4].text, sizeof(setting[4].text), "%u %u", share->cpu_quota_us,
			 share->cpu_period_us);
	number(setting[5].text, sizeof(setting[5].text), "default ", share->io_weight);
}

static void say_missing(struct cgroup_tree *tree, enum cgroup_controller which)
{
	if (!tree->said[which])
		log_warnx("no %s controller for our cgroups: %s no effect", controller[which].name,
			  controller[which].keys);
	tree->said[which] = true;
}

/*
 * io.weight is the cost model's (blk-iocost), io.bfq.weight that of the BFQ scheduler, where 1000
 * is the most; which of them rules depends on the disk, and a kernel may have either or both.
 */
static int weigh_io(int cgroup_fd, const char *text, uint32_t weight)
{
	char bfq[32];
	int result = write_at(cgroup_fd, "io.weight", text);
	if (result < 0 && errno != ENOENT)
		return -1;
	snprintf(bfq, sizeof(bfq), "default %u",
		 weight <= 100 ? weight : 100 + (weight - 100) / 11);
	return write_at(cgroup_fd, "io.bfq.weight", bfq) == 0 ? 0 : result;
}

int cgroup_limit(struct cgroup_tree *tree, int cgroup_fd, const struct service_def *service,
		 const char **key)
{
	struct setting setting[SETTINGS];
	settings_of(service, setting);
	for (size_t i = 0; i < SETTINGS; i++) {
		const struct setting *s = &setting[i];
		if (s->text[0] == '\0')
			continue;
		*key = s->key;
		if (tree->has[s->controller] &&
		    (s->controller == CGROUP_IO
			     ? weigh_io(cgroup_fd, s->text, service->share.io_weight)
			     : write_at(cgroup_fd, s->file, s->text)) == 0)
			continue;
		if (tree->has[s->controller] && errno != ENOENT)
			return -1;
		say_missing(tree, s->controller);
	}
	/* Since Linux 4.19. */
	if (tree->has[CGROUP_MEMORY] && write_at(cgroup_fd, "memory.oom.group", "1") < 0 &&
	    errno != ENOENT) {
		*key = "memory-max";
		return -1;
	}
	return 0;
}

/* The value of "NAME VALUE" among the lines of a file; 0 if it is not there. */
static unsigned long counter(const char *text, const char *name)
{
	size_t length = strlen(name);
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, length) == 0 && line[length] == ' ')
			return strtoul(line + length, NULL, 10);
	}
	return 0;
}

enum cgroup_oom cgroup_oom(int cgroup_fd)
{
	char text[512];
	if (read_at(cgroup_fd, "memory.events", text, sizeof(text)) < 0)
		return CGROUP_OOM_NONE;
	if (counter(text, "oom_kill") == 0)
		return CGROUP_OOM_NONE;
	return counter(text, "oom") > 0 ? CGROUP_OOM_OWN : CGROUP_OOM_OTHER;
}

int cgroup_events_open(int cgroup_fd)
{
	return openat(cgroup_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
}

int cgroup_events_read(int events_fd)
{
	char text[128];
	ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return -1;
	text[n] = '\0';
	const char *found = strstr(text, "populated ");
	if (!found) {
		errno = EPROTO;
		return -1;
	}
	return found[sizeof("populated ") - 1] == '1';
}

int64_t cgroup_cpu_us(int cgroup_fd)
{
	char text[512];
	long long usage_us;
	int fd = cgroup_fd < 0 ? -1 : openat(cgroup_fd, "cpu.stat", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return -1;
	text[n] = '\0';
	return sscanf(text, "usage_usec %lld", &usage_us) == 1 ? usage_us : -1;
}

int cgroup_populated(int cgroup_fd)
{
	int fd = cgroup_events_open(cgroup_fd);
	if (fd < 0)
		return -1;
	int populated = cgroup_events_read(fd);
	int error = errno;
	close(fd);
	errno = error;
	return populated;
}

/*
 * Calls act for each process in cgroup.procs until it returns false. -1 with errno when the file
 * cannot be read. Lines are read by a stream-less loop over one buffer: PID 1 allocates nothing
 * here.
 */
static int each_process(int cgroup_fd, bool (*act)(pid_t pid, void *context), void *context)
{
	int fd = openat(cgroup_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	char text[PROCS_BYTES];
	pid_t pid = 0;
	bool more = true;
	ssize_t n = 0;
	while (more && (n = read(fd, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; more && i < n; i++) {
			if (text[i] >= '0' && text[i] <= '9') {
				pid = pid * 10 + (text[i] - '0');
			} else if (pid > 0) { /* 0: a process outside our PID namespace */
				more = act(pid, context);
				pid = 0;
			}
		}
	}
	int error = errno;
	close(fd);
	errno = error;
	return n < 0 ? -1 : 0;
}

static bool is_pid(pid_t pid, void *context)
{
	pid_t *wanted = context;
	if (pid != *wanted)
		return true;
	*wanted = 0;
	return false;
}

bool cgroup_contains(int cgroup_fd, pid_t pid)
{
	return pid > 0 && each_process(cgroup_fd, is_pid, &pid) == 0 && pid == 0;
}

struct signalling {
	int cgroup_fd, signal_number, count;
};

/*
 * A number read from cgroup.procs may belong to another process by now. The pidfd pins whoever has
 * it; if the number is still in the cgroup after that, the pinned process is the one meant.
 */
static bool signal_process(pid_t pid, void *context)
{
	struct signalling *s = context;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		/* An old kernel, or the filter of a container. */
		if ((errno == ENOSYS || errno == EPERM) && cgroup_contains(s->cgroup_fd, pid) &&
		    kill(pid, s->signal_number) == 0)
			s->count++;
		return true;
	}
	if (cgroup_contains(s->cgroup_fd, pid) &&
	    syscall(SYS_pidfd_send_signal, pidfd, s->signal_number, NULL, 0) == 0)
		s->count++;
	close(pidfd);
	return true;
}

int cgroup_signal(int cgroup_fd, int signal_number)
{
	struct signalling s = {cgroup_fd, signal_number, 0};
	return each_process(cgroup_fd, signal_process, &s) < 0 ? -1 : s.count;
}

/* Before Linux 5.14: a process that forks while it is being read escapes one round, so go on until
 * a round finds nobody. */
static int kill_each(int cgroup_fd)
{
	for (int round = 0; round < KILL_ROUNDS; round++) {
		int count = cgroup_signal(cgroup_fd, SIGKILL);
		if (count < 0)
			return -1;
		if (count == 0)
			return 0;
	}
	return 0; /* dying ones stay listed until they are gone: cgroup.events will tell, or the
		     caller calls again */
}

int cgroup_kill(int cgroup_fd)
{
	if (write_at(cgroup_fd, "cgroup.kill", "1") == 0)
		return 0;
	if (errno != ENOENT)
		return -1;
	return kill_each(cgroup_fd);
}

int cgroup_remove(struct cgroup_tree *tree, const char *service)
{
	return unlinkat(tree->fd, service, AT_REMOVEDIR);
}
