#include "src/process/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_MS	  1500 /* after that: SWEEP_LEFT */
#define STUCK_SECONDS	  3    /* alarm(2): /proc does not answer */
#define LOOKS		  20   /* of sweep_recognize, so long after each other: a second in all */
#define LOOK_AGAIN_MS	  50
#define PAUSE_MS	  5   /* for what was killed to end */
#define UNSURE_MS	  500 /* … for one that is in the middle of execve(2) */
#define ENVIRONMENT_BYTES (256 * 1024)

struct process {
	pid_t pid, parent, group, session;
	unsigned long long started; /* clock ticks after boot: with the pid, who it is */
	char state;
	bool ours; /* of the service */
};

struct table {
	struct process *process;
	size_t count, capacity;
};

struct sweep {
	const struct sweep_run *run;
	pid_t above; /* the supervising process */
	int proc;    /* directory /proc */
	bool by_environment;
	bool unsure;		    /* an orphan had no environment */
	int looks;		    /* at environments so far */
	struct table table, before; /* now, and at the look before */
};

static ssize_t read_file(int directory, const char *name, char *text, size_t text_bytes)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -1;
	while (used < text_bytes - 1 && (n = read(fd, text + used, text_bytes - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	text[used] = '\0';
	return n < 0 ? -1 : (ssize_t)used;
}

/*
 * proc(5): "PID (NAME) STATE PPID PGRP SESSION …", where NAME may hold anything. False: gone, or
 * only its exit status is left. (The first thread may have ended before the others.)
 */
static bool read_process(const struct sweep *sweep, pid_t pid, struct process *process)
{
	char name[32], text[1024], state;
	int parent, group, session;
	long threads;

	snprintf(name, sizeof(name), "%d/stat", pid);
	if (read_file(sweep->proc, name, text, sizeof(text)) <= 0)
		return false;
	const char *after = strrchr(text, ')');
	*process = (struct process){.pid = pid};
	if (!after || sscanf(after + 1,
			     " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld "
			     "%*d %llu",
			     &state, &parent, &group, &session, &threads, &process->started) != 6)
		return false;
	process->parent = parent;
	process->group = group;
	process->session = session;
	process->state = state;
	return (state != 'Z' && state != 'X') || threads > 1;
}

static bool add(struct table *table, const struct process *process)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? table->capacity * 2 : 256;
		struct process *grown = realloc(table->process, capacity * sizeof(*table->process));
		if (!grown)
			return false;
		table->process = grown;
		table->capacity = capacity;
	}
	table->process[table->count++] = *process;
	return true;
}

static int by_pid(const void *a, const void *b)
{
	pid_t left = ((const struct process *)a)->pid, right = ((const struct process *)b)->pid;

	return (left > right) - (left < right);
}

static struct process *find(const struct table *table, pid_t pid)
{
	const struct process wanted = {.pid = pid};

	if (table->count == 0)
		return NULL;
	return bsearch(&wanted, table->process, table->count, sizeof(wanted), by_pid);
}

static bool read_table(struct sweep *sweep)
{
	int fd = openat(sweep->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	bool whole = true;
	struct table reused = sweep->before;

	sweep->before = sweep->table;
	sweep->table = reused;
	sweep->table.count = 0;
	if (!directory)
		return false;
	for (struct dirent *entry; whole && (entry = readdir(directory));) {
		struct process process;
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if (pid > 0 && pid != getpid() && pid != sweep->above &&
		    read_process(sweep, pid, &process))
			whole = add(&sweep->table, &process);
	}
	closedir(directory);
	if (sweep->table.count > 0)
		qsort(sweep->table.process, sweep->table.count, sizeof(*sweep->table.process),
		      by_pid);
	return whole;
}

/*
 * "INVOCATION_ID=…" among the NUL-terminated strings of /proc/PID/environ. It is empty for a moment
 * in the middle of execve(2): one that does not sleep is looked at again, any other once.
 */
static bool has_invocation(struct sweep *sweep, const struct process *process)
{
	static char text[ENVIRONMENT_BYTES];
	static const char variable[] = "INVOCATION_ID=";
	char name[32];

	snprintf(name, sizeof(name), "%d/environ", process->pid);
	ssize_t bytes = read_file(sweep->proc, name, text, sizeof(text));
	sweep->unsure |= bytes == 0 && (process->state != 'S' || sweep->looks == 0);
	for (const char *p = text; p < text + bytes; p += strlen(p) + 1)
		if (strncmp(p, variable, sizeof(variable) - 1) == 0)
			return strcmp(p + sizeof(variable) - 1, sweep->run->invocation) == 0;
	return false;
}

/*
 * A number that was given back can be given to another process only when nothing of the old one's
 * session and group is left: then whoever has it, and its session, is a stranger.
 */
static bool leader_is_known(const struct sweep *sweep)
{
	const struct sweep_run *run = sweep->run;

	return run->leader > 0 && (!run->reaped || !find(&sweep->table, run->leader));
}

static bool is_of(const struct process *process, pid_t leader)
{
	return leader > 0 &&
	       (process->pid == leader || process->session == leader || process->group == leader);
}

/* What dies has no environment and perhaps no parent of ours any more, but still its files: it is
 * waited for. */
static bool was_ours(const struct sweep *sweep, const struct process *process)
{
	const struct process *before = find(&sweep->before, process->pid);

	return before && before->ours && before->started == process->started;
}

static bool is_seed(struct sweep *sweep, const struct process *process, bool by_leader)
{
	const struct sweep_run *run = sweep->run;

	if ((by_leader && is_of(process, run->leader)) || is_of(process, run->main) ||
	    was_ours(sweep, process))
		return true;
	if (process->parent != sweep->above)
		return false;
	if (run->leader == 0 && !run->invocation)
		return true;
	return sweep->by_environment && run->invocation &&
	       !run->is_known(run->context, process->pid) && has_invocation(sweep, process);
}

/* Returns how many there are. */
static size_t mark(struct sweep *sweep)
{
	struct table *table = &sweep->table;
	bool by_leader = leader_is_known(sweep), more = true;
	size_t count = 0;

	for (size_t i = 0; i < table->count; i++) {
		table->process[i].ours = is_seed(sweep, &table->process[i], by_leader);
		count += table->process[i].ours;
	}
	while (more && count > 0) { /* rarely more than twice: parents have the lower numbers */
		more = false;
		for (size_t i = 0; i < table->count; i++) {
			struct process *process = &table->process[i];
			const struct process *parent =
				process->ours ? NULL : find(table, process->parent);
			if (parent && parent->ours) {
				process->ours = more = true;
				count++;
			}
		}
	}
	return count;
}

/* The number may mean another process by now; once a pidfd holds it, the start time tells. */
static void kill_one(const struct sweep *sweep, const struct process *process, int signal_number)
{
	struct process now;
	int pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	bool same = read_process(sweep, process->pid, &now) && now.started == process->started;

	if (same && pidfd >= 0)
		syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0);
	else if (same)
		kill(process->pid, signal_number);
	if (pidfd >= 0)
		close(pidfd);
}

static long elapsed_ms(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

/*
 * Stopped first, all of them, until a look finds no new one: what is stopped does not fork. Only
 * then killed, so that none loses the parent by which it is known while others are still being
 * looked for.
 */
static enum sweep_result kill_all(struct sweep *sweep)
{
	struct timespec start;
	size_t before = 0;
	long unsure_ms = -1; /* since when */

	sweep->looks = 0;
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (elapsed_ms(&start) < SWEEP_MS) {
		if (!read_table(sweep))
			return SWEEP_LEFT;
		sweep->unsure = false;
		size_t count = mark(sweep);
		sweep->looks++;
		if (sweep->unsure && unsure_ms < 0)
			unsure_ms = elapsed_ms(&start);
		if (count == 0 && !(sweep->unsure && elapsed_ms(&start) - unsure_ms < UNSURE_MS))
			return SWEEP_CLEAN;
		int signal_number = count == before ? SIGKILL : SIGSTOP;
		for (size_t i = 0; i < sweep->table.count; i++)
			if (sweep->table.process[i].ours)
				kill_one(sweep, &sweep->table.process[i], signal_number);
		if (signal_number == SIGKILL || count == 0)
			nanosleep(&(struct timespec){.tv_nsec = PAUSE_MS * 1000000L}, NULL);
		before = count;
	}
	return SWEEP_LEFT;
}

static void prepare_child(struct sweep *sweep)
{
	sigset_t none;

	signal(SIGALRM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	alarm(STUCK_SECONDS);
	sweep->proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static _Noreturn void run_child(const struct sweep_run *run, pid_t above)
{
	struct sweep sweep = {.run = run, .above = above};

	prepare_child(&sweep);
	if (sweep.proc < 0 || faccessat(sweep.proc, "self/stat", F_OK, 0) < 0) {
		if (run->leader > 0)
			kill(-run->leader, SIGKILL);
		_exit(SWEEP_BLIND);
	}
	/* First those that can be told without a look at their memory, which may get stuck. */
	enum sweep_result result = kill_all(&sweep);
	sweep.by_environment = run->invocation != NULL;
	if (result == SWEEP_CLEAN && sweep.by_environment)
		result = kill_all(&sweep);
	_exit((int)result);
}

pid_t sweep_start(const struct sweep_run *run)
{
	pid_t above = getpid();
	pid_t pid = fork();

	if (pid == 0)
		run_child(run, above);
	return pid;
}

enum sweep_result sweep_result(int status)
{
	if (!WIFEXITED(status))
		return SWEEP_STUCK;
	int code = WEXITSTATUS(status);
	return code <= SWEEP_BLIND ? (enum sweep_result)code : SWEEP_STUCK;
}

/*
 * Once more than kill_all looks: what it is told by may be its memory alone. And more than once: a
 * process in the middle of an exec has no environment, and one whose parent is about to end is not
 * an orphan yet.
 */
static _Noreturn void look_for(const struct sweep_run *run, pid_t above, pid_t pid)
{
	struct sweep sweep = {.run = run, .above = above, .by_environment = true};
	const struct timespec pause = {.tv_nsec = LOOK_AGAIN_MS * 1000000L};

	prepare_child(&sweep);
	for (int looks = 0; sweep.proc >= 0 && looks < LOOKS; looks++) {
		if (looks > 0)
			nanosleep(&pause, NULL);
		if (!read_table(&sweep))
			break;
		bool any = mark(&sweep) > 0;
		const struct process *found = find(&sweep.table, pid);
		if (!found)
			break;
		if (any && found->ours)
			_exit(0);
	}
	_exit(1);
}

pid_t sweep_recognize(const struct sweep_run *run, pid_t pid)
{
	pid_t above = getpid();
	pid_t child = fork();

	if (child == 0)
		look_for(run, above, pid);
	return child;
}

bool sweep_recognized(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
