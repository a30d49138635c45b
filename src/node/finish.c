#include "src/node/finish.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/base/loop.h"
#include "src/node/crash.h"
#include "src/node/mounts.h"
#include "src/node/watchdog.h"

#define TERM_MS	      3000
#define KILL_MS	      3000
#define UNMOUNTS_MS   12000
#define UNMOUNT_MS    3000 /* one of them, one way */
#define READ_ONLY_MS  3000
#define SYNC_MS	      8000
#define TELL_AFTER_MS 1000
#define TELL_EVERY_MS 5000
#define AT_ONCE	      16 /* unmounts */
#define NAMED_MAX     8
#define MOUNTS_BYTES  (256u << 10)

#ifndef RB_KEXEC
#define RB_KEXEC 0x45584543
#endif

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- waiting ---- */

/* A wait that people hear of when it gets long. */
struct wait {
	uint64_t begin_ms, deadline_ms, tell_ms;
	void (*tell)(unsigned seconds, void *owner);
	void *owner;
};

static void wait_begin(struct wait *wait, uint64_t deadline_ms,
		       void (*tell)(unsigned seconds, void *owner), void *owner)
{
	uint64_t now_ms = loop_now_ms();

	*wait = (struct wait){now_ms, deadline_ms, now_ms + TELL_AFTER_MS, tell, owner};
}

/* Until some child ends, or it is time to look again: false when the deadline has passed. */
static bool wait_turn(struct wait *wait)
{
	uint64_t now_ms = loop_now_ms();
	sigset_t child;

	if (now_ms >= wait->deadline_ms)
		return false;
	if (now_ms >= wait->tell_ms) {
		wait->tell((unsigned)((now_ms - wait->begin_ms) / 1000), wait->owner);
		wait->tell_ms = now_ms + TELL_EVERY_MS;
	}
	uint64_t left_ms = earlier(wait->deadline_ms, wait->tell_ms) - now_ms;
	left_ms = earlier(left_ms, watchdog_keep());
	struct timespec left = {.tv_sec = (time_t)(left_ms / 1000),
				.tv_nsec = (long)(left_ms % 1000) * 1000000};
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigtimedwait(&child, NULL, &left);
	return true;
}

/* ---- a step in a child ---- */

struct step {
	const char *what;
	int (*work)(const void *argument); /* 0, or an errno; may never return */
	const void *argument;
	pid_t pid; /* 0: not running */
	int result;
};

static bool step_begin(struct step *step)
{
	step->result = ETIMEDOUT;
	step->pid = fork();
	if (step->pid == 0)
		_exit(step->work(step->argument) & 0xff);
	if (step->pid > 0)
		return true;
	step->result = errno;
	step->pid = 0;
	return false;
}

/* Whoever has ended is reaped; those of these steps leave their result. True: none of them runs. */
static bool steps_reap(struct step *step, size_t count)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < count; i++)
			if (step[i].pid == pid) {
				step[i].pid = 0;
				step[i].result = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
			}
	for (size_t i = 0; i < count; i++)
		if (step[i].pid)
			return false;
	return true;
}

struct steps {
	struct step *step;
	size_t count;
};

static void tell_steps(unsigned seconds, void *owner)
{
	const struct steps *steps = owner;

	for (size_t i = 0; i < steps->count; i++)
		if (steps->step[i].pid)
			log_info("%s: %u s so far", steps->step[i].what, seconds);
}

static void steps_run(struct step *step, size_t count, uint64_t deadline_ms)
{
	struct steps steps = {step, count};
	struct wait wait;

	for (size_t i = 0; i < count; i++)
		step_begin(&step[i]);
	wait_begin(&wait, deadline_ms, tell_steps, &steps);
	while (!steps_reap(step, count) && wait_turn(&wait))
		;
	/* A wait for a server ends by this; one for a disk does not, and is left behind. */
	for (size_t i = 0; i < count; i++)
		if (step[i].pid)
			kill(step[i].pid, SIGKILL);
}

/* 0, or an errno; said. */
static int step_run(const char *what, int (*work)(const void *argument), const void *argument,
		    uint64_t deadline_ms)
{
	struct step step = {.what = what, .work = work, .argument = argument};

	crash_doing("finish", what);
	steps_run(&step, 1, deadline_ms);
	if (step.pid)
		log_warnx("%s: no end in sight; going on without", what);
	else if (step.result)
		log_warnx("%s: %s", what, strerror(step.result));
	return step.result;
}

/* ---- processes ---- */

/* "NAME[PID] (STATE)" of those that are left, kernel threads and dead ones aside. */
static void name_processes(char *text, size_t bytes)
{
	DIR *proc = opendir("/proc");
	size_t named = 0, used = 0, more = 0;
	struct dirent *entry;

	text[0] = '\0';
	while (proc && (entry = readdir(proc))) {
		char path[300], stat[256], name[32], state;
		int pid, parent, fd;
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/stat", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);
		if (fd >= 0)
			close(fd);
		if (n <= 0)
			continue;
		stat[n] = '\0';
		char *end = strrchr(stat, ')');
		if (!end || sscanf(stat, "%d (%31[^)]", &pid, name) != 2 ||
		    sscanf(end, ") %c %d", &state, &parent) != 2 || pid == getpid() || pid == 2 ||
		    parent == 2 || state == 'Z' || state == 'X')
			continue;
		if (named++ >= NAMED_MAX || used + 64 > bytes)
			more++;
		else
			used += (size_t)snprintf(text + used, bytes - used, " %s[%d] (%c)", name,
						 pid, state);
	}
	if (proc)
		closedir(proc);
	if (more)
		snprintf(text + used, bytes - used, " and %zu more", more);
}

static void tell_processes(unsigned seconds, void *owner)
{
	char names[600];

	name_processes(names, sizeof(names));
	log_info("%s, %u s ago, and still there:%s", (const char *)owner, seconds, names);
}

/* Whoever is left in this PID namespace is our child, or will be when its own parent is gone. */
static bool wait_for_all(uint64_t deadline_ms, const char *told)
{
	struct wait wait;

	wait_begin(&wait, deadline_ms, tell_processes, (void *)(uintptr_t)told);
	for (;;) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);
		if (pid > 0 || (pid < 0 && errno == EINTR))
			continue;
		if (pid < 0)
			return true;
		if (!wait_turn(&wait))
			return false;
	}
}

bool finish_processes(void)
{
	if (getpid() != 1) /* kill(-1) of anybody else would be meant for the whole machine */
		return true;
	crash_doing("finish", "processes");
	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	if (wait_for_all(loop_now_ms() + TERM_MS, "told to end"))
		return true;
	kill(-1, SIGKILL);
	if (wait_for_all(loop_now_ms() + KILL_MS, "killed"))
		return true;
	char names[600];
	name_processes(names, sizeof(names));
	log_warnx("cannot be killed, going on without:%s", names);
	return false;
}

/* ---- mounts ---- */

static struct mounts mounts;

static bool read_mounts(void)
{
	static char text[MOUNTS_BYTES];
	size_t used = 0;
	ssize_t n = -1;
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && used < sizeof(text) - 1 &&
	       (n = read(fd, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	if (fd >= 0)
		close(fd);
	if (n < 0 && used == 0) {
		log_warn("read /proc/self/mountinfo");
		return false;
	}
	text[used] = '\0';
	mounts_parse(&mounts, text);
	return true;
}

static int unmount(const void *argument)
{
	static const int flags[] = {
		[MOUNT_PLAIN] = UMOUNT_NOFOLLOW,
		[MOUNT_FORCE] = UMOUNT_NOFOLLOW | MNT_FORCE,
		[MOUNT_DETACH] = UMOUNT_NOFOLLOW | MNT_DETACH,
	};
	const struct mount_entry *entry = argument;

	if (umount2(entry->path, flags[entry->way]) == 0)
		return 0;
	return errno == EINVAL || errno == ENOENT ? 0 : errno; /* those: gone meanwhile */
}

static void unmount_round(const size_t *index, size_t count, uint64_t deadline_ms)
{
	static char what[AT_ONCE][300];
	struct step step[AT_ONCE];
	enum mount_result result[AT_ONCE];

	for (size_t i = 0; i < count; i++) {
		const struct mount_entry *entry = &mounts.entry[index[i]];
		snprintf(what[i], sizeof(what[i]), "%s %.150s (%.20s, %.90s)",
			 mount_way_name(entry->way), entry->path, entry->type, entry->source);
		step[i] = (struct step){.what = what[i], .work = unmount, .argument = entry};
	}
	steps_run(step, count, deadline_ms);
	for (size_t i = 0; i < count; i++) {
		const struct mount_entry *entry = &mounts.entry[index[i]];
		result[i] = step[i].pid		      ? MOUNT_FAILED
			    : step[i].result == 0     ? MOUNT_UNMOUNTED
			    : step[i].result == EBUSY ? MOUNT_BUSY
						      : MOUNT_FAILED;
		if (result[i] == MOUNT_FAILED || entry->way != MOUNT_PLAIN)
			log_warnx("%s: %s", what[i],
				  step[i].pid	   ? "does not end"
				  : step[i].result ? strerror(step[i].result)
						   : "done");
	}
	mounts_told(&mounts, index, result, count);
}

/* False: some were left, or only taken out of sight. */
static bool unmount_all(uint64_t deadline_ms)
{
	size_t index[AT_ONCE], count;
	bool clean = true;

	crash_doing("finish", "unmount");
	if (!read_mounts())
		return false;
	while ((count = mounts_next(&mounts, index, AT_ONCE)) > 0 && loop_now_ms() < deadline_ms)
		unmount_round(index, count, earlier(deadline_ms, loop_now_ms() + UNMOUNT_MS));
	for (size_t i = 0; i < mounts.count; i++) {
		const struct mount_entry *entry = &mounts.entry[i];
		if (entry->keep || (entry->gone && entry->way == MOUNT_PLAIN))
			continue;
		clean = false;
		if (!entry->gone)
			log_warnx("%s is left mounted", entry->path);
	}
	if (mounts.overlooked)
		log_warnx("%zu mounts were not understood, and are left", mounts.overlooked);
	return clean && !mounts.overlooked;
}

static int make_root_read_only(const void *argument)
{
	(void)argument;
	return mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) < 0 ? errno : 0;
}

static int write_all(const void *argument)
{
	(void)argument;
	sync();
	return 0;
}

/* ---- the end ---- */

/* Documentation/admin-guide/sysrq.rst: b resets at once, o powers off, u makes all read-only. */
static void sysrq(const char *key)
{
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, key, 1) != 1)
		log_warn("sysrq %s", key);
	if (fd >= 0)
		close(fd);
}

static int restart(const void *argument)
{
	const unsigned *how = argument;

	syscall(SYS_reboot, 0xfee1dead, 0x28121969, *how, NULL);
	return errno;
}

/* It does not return where it works. A child calls it: what it waits for in the drivers may hang.
 */
static int try_reboot(const char *what, unsigned how)
{
	struct step step = {.what = what, .work = restart, .argument = &how};

	crash_doing("finish", what);
	if (!step_begin(&step)) {
		restart(&how);
		return errno;
	}
	struct steps steps = {&step, 1};
	struct wait wait;
	wait_begin(&wait, loop_now_ms() + REBOOT_MS, tell_steps, &steps);
	while (!steps_reap(&step, 1) && wait_turn(&wait))
		;
	log_warnx("%s: %s", what,
		  step.pid	? "does not happen"
		  : step.result ? strerror(step.result)
				: "the machine cannot");
	return step.result;
}

static void pause_ms(uint64_t ms)
{
	struct timespec left = {.tv_sec = (time_t)(ms / 1000),
				.tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

static _Noreturn void go(enum machine_end end)
{
	static const struct {
		const char *name;
		unsigned how;
	} ways[] = {
		[MACHINE_POWEROFF] = {"power off", RB_POWER_OFF},
		[MACHINE_REBOOT] = {"reboot", RB_AUTOBOOT},
		[MACHINE_HALT] = {"halt", RB_HALT_SYSTEM},
		[MACHINE_KEXEC] = {"start the loaded kernel", RB_KEXEC},
	};

	log_info("%s", ways[end].name);
	if (end == MACHINE_HALT)
		watchdog_disarm(); /* or it would not stay halted */
	int error = try_reboot(ways[end].name, ways[end].how);
	if (end == MACHINE_KEXEC && error != ETIMEDOUT) {
		log_info("reboot");
		try_reboot("reboot", RB_AUTOBOOT);
	}
	if (end == MACHINE_HALT || (end == MACHINE_POWEROFF && error != ETIMEDOUT)) {
		try_reboot("halt", RB_HALT_SYSTEM);
	} else {
		sysrq(end == MACHINE_POWEROFF ? "o" : "b");
		pause_ms(REBOOT_MS);
		sysrq("b");
	}
	for (;;)
		pause();
}

_Noreturn void finish_machine(enum machine_end end)
{
	uint64_t end_ms = loop_now_ms() + FINISH_MS;
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	watchdog_cover(FINISH_MS + 3 * REBOOT_MS);
	bool clean = finish_processes();
	clean = unmount_all(earlier(end_ms, loop_now_ms() + UNMOUNTS_MS)) && clean;
	const struct mount_entry *root = mounts_root(&mounts);
	if (root && !mount_is_memory(root))
		clean = step_run("make the root filesystem read-only", make_root_read_only, NULL,
				 earlier(end_ms, loop_now_ms() + READ_ONLY_MS)) == 0 &&
			clean;
	clean = step_run("sync", write_all, NULL, earlier(end_ms, loop_now_ms() + SYNC_MS)) == 0 &&
		clean;
	/* What could not be unmounted is at least told to write no more; the kernel does it beside.
	 */
	if (!clean)
		sysrq("u");
	go(end);
}

bool finish_can_kexec(void)
{
	char loaded = '0';
	int fd = open("/sys/kernel/kexec_loaded", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	ssize_t n = read(fd, &loaded, 1);
	close(fd);
	return n == 1 && loaded == '1';
}
