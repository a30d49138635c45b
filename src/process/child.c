#include "src/process/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "src/process/listen.h"

#define ARGUMENTS_MAX	256 /* words of a command, ours before it included */
#define ENVIRONMENT_MAX 128
#define ENVIRONMENT_BYTES \
	4096 /* of the variables that we make; those of the service file stay where they are */
#define NUMBER_BYTES	  16
#define EXIT_NOT_EXECUTED 127

#define SIGNALS		   (_NSIG - 1)
#define IOPRIO_WHO_PROCESS 1 /* linux/ioprio.h */

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

static const char default_path[] =
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/* Static, not on the stack and not malloc'ed: this process has them for itself. */
static char *argument[ARGUMENTS_MAX + 1];
static char *environment[ENVIRONMENT_MAX + 1];
static char environment_text[ENVIRONMENT_BYTES];

/* A string being put together in a buffer of fixed size; `full` once something did not fit. */
struct text {
	char *start;
	size_t used, size;
	bool full;
};

static void text_add(struct text *text, const char *more)
{
	size_t length = strlen(more);
	if (text->full || length >= text->size - text->used) {
		text->full = true;
		return;
	}
	memcpy(text->start + text->used, more, length + 1);
	text->used += length;
}

static void text_add_number(struct text *text, unsigned long number)
{
	char digits[24];
	char *p = digits + sizeof(digits);
	*--p = '\0';
	do {
		*--p = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	text_add(text, p);
}

static _Noreturn void fail(const struct child *child, enum spawn_stage stage, uint32_t index)
{
	struct spawn_error error = {.stage = stage, .error = errno, .index = index};
	ssize_t n = write(child->error_fd, &error, sizeof(error));
	_exit(n == (ssize_t)sizeof(error) ? EXIT_NOT_EXECUTED : EXIT_NOT_EXECUTED - 1);
}

static void join_cgroup(const struct child *child)
{
	if (!child->join_cgroup)
		return;
	int fd = openat(child->context->cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		fail(child, STAGE_CGROUP, 0);
	close(fd);
}

/*
 * Dispositions before the mask: a signal must not meet a handler or an ignore of ours. By the raw
 * call, for all 64 of them: the C libraries keep two or three for themselves, which whoever started
 * us may have left ignored. All zero is SIG_DFL in every architecture's layout.
 */
static void reset_signals(const struct child *child)
{
	static const unsigned long default_action[8];
	for (int signal_number = 1; signal_number <= SIGNALS; signal_number++)
		syscall(SYS_rt_sigaction, signal_number, default_action, NULL, SIGNALS / 8);
	sigset_t none;
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		fail(child, STAGE_SIGNALS, 0);
}

/* From `first` to before `end`; 0: all. Where the kernel has no close_range(2) (5.9), one by one.
 */
static void close_between(int first, int end)
{
	if (end && first >= end)
		return;
	if (syscall(SYS_close_range, (unsigned)first, (unsigned)end - 1, 0) == 0)
		return;
	struct rlimit limit;
	if (!end)
		end = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < (rlim_t)1 << 20
			      ? (int)limit.rlim_max
			      : 65536;
	for (int fd = first; fd < end; fd++)
		close(fd);
}

/* Out of the way of the numbers that the program is going to see. */
static int move_up(const struct child *child, int fd, int base)
{
	int moved = fcntl(fd, F_DUPFD_CLOEXEC, base);
	if (moved < 0)
		fail(child, STAGE_DESCRIPTORS, 0);
	return moved;
}

static void put(const struct child *child, int from, int to)
{
	if (dup2(from, to) < 0) /* the copy is not close-on-exec */
		fail(child, STAGE_DESCRIPTORS, 0);
}

/* Lays out 0, 1, 2, 3… as spawn.h promises. Returns our own executable's new number;
 * child->error_fd moves as well. */
static int arrange_descriptors(struct child *child)
{
	const struct spawn_context *context = child->context;
	int count = (int)context->listen_count;
	int first = context->channel_fd >= 0 ? 4 : 3;
	int after = first + count; /* the numbers from here on mean nothing, but for ready_fd */
	bool ready = context->ready_fd > 0;
	int base = ready ? child->service->ready_fd + 1 : after;
	int listening[LISTEN_SOCKETS_MAX];
	if (context->listen_count > LISTEN_SOCKETS_MAX ||
	    (ready && child->service->ready_fd < after)) {
		errno = E2BIG;
		fail(child, STAGE_DESCRIPTORS, 0);
	}

	child->error_fd = move_up(child, child->error_fd, base);
	int self = context->self_fd >= 0 ? move_up(child, context->self_fd, base) : -1;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		fail(child, STAGE_DESCRIPTORS, 0);
	null = move_up(child, null, base);
	int out = context->stdout_fd >= 0 ? move_up(child, context->stdout_fd, base) : null;
	int channel = context->channel_fd >= 0 ? move_up(child, context->channel_fd, base) : -1;
	int said = ready ? move_up(child, context->ready_fd, base) : -1;
	for (int i = 0; i < count; i++)
		listening[i] = move_up(child, context->listen_fds[i], base);

	put(child, count > 0 ? listening[0] : null, STDIN_FILENO);
	put(child, out, STDOUT_FILENO);
	put(child, out, STDERR_FILENO);
	if (channel >= 0)
		put(child, channel, 3);
	for (int i = 0; i < count; i++)
		put(child, listening[i], first + i);
	if (ready) {
		put(child, said, base - 1);
		close_between(after, base - 1);
	}
	/* What only we need until exec follows at once, and the rest is closed here and now: the
	 * numbers below a small `limit-nofile` must be free for what the next steps open. */
	int error = move_up(child, child->error_fd, base + 2);
	self = self >= 0 ? move_up(child, self, base + 2) : -1;
	if (dup3(error, base, O_CLOEXEC) < 0 || (self >= 0 && dup3(self, base + 1, O_CLOEXEC) < 0))
		fail(child, STAGE_DESCRIPTORS, 0);
	child->error_fd = base;
	close_between(self >= 0 ? base + 2 : base + 1, 0);
	return self >= 0 ? base + 1 : -1;
}

static void add_variable(const struct child *child, size_t *count, const char *variable)
{
	if (*count == ENVIRONMENT_MAX) {
		errno = E2BIG;
		fail(child, STAGE_ENVIRONMENT, 0);
	}
	environment[(*count)++] = (char *)(uintptr_t)variable;
}

/* "NAME=value" into our own text. */
static void make_variable(const struct child *child, struct text *text, size_t *count,
			  const char *name, const char *value)
{
	if (!value)
		return;
	char *start = text->start + text->used;
	text_add(text, name);
	text_add(text, "=");
	text_add(text, value);
	text->used++; /* its NUL */
	if (text->full || text->used >= text->size) {
		errno = E2BIG;
		fail(child, STAGE_ENVIRONMENT, 0);
	}
	add_variable(child, count, start);
}

static void make_number(const struct child *child, struct text *text, size_t *count,
			const char *name, unsigned long value)
{
	char digits[NUMBER_BYTES];
	struct text number = {.start = digits, .size = sizeof(digits)};

	text_add_number(&number, value);
	make_variable(child, text, count, name, digits);
}

static void make_environment(const struct child *child)
{
	const struct spawn_context *context = child->context;
	const struct words *given = &child->service->environment;
	struct text text = {.start = environment_text, .size = sizeof(environment_text)};
	size_t count = 0;
	bool path = false;

	for (size_t i = 0; i < given->count; i++) {
		add_variable(child, &count, given->word[i]);
		path = path || strncmp(given->word[i], "PATH=", 5) == 0;
	}
	if (!path)
		add_variable(child, &count, default_path);
	make_variable(child, &text, &count, "INVOCATION_ID", context->invocation);
	make_variable(child, &text, &count, "NOTIFY_SOCKET", context->notify_path);
	if (context->listen_count > 0 && context->channel_fd < 0) {
		make_number(child, &text, &count, "LISTEN_FDS", context->listen_count);
		make_number(child, &text, &count, "LISTEN_PID", (unsigned long)getpid());
	}
	/* sd_watchdog_enabled(3). */
	if (context->watchdog_ms) {
		make_number(child, &text, &count, "WATCHDOG_USEC",
			    (unsigned long)context->watchdog_ms * 1000);
		make_number(child, &text, &count, "WATCHDOG_PID", (unsigned long)getpid());
	}
	if (child->command->builtin) {
		make_variable(child, &text, &count, "SUPERVISOR_CONFIG", context->config_dir);
		make_variable(child, &text, &count, "SUPERVISOR_NODE", context->node);
		make_variable(child, &text, &count, "SUPERVISOR_RUN", context->run_dir);
	}
	environment[count] = NULL;
}

/* In run_dir's parent. The directory is taken by descriptor, so that a name that somebody made a
 * link of is refused, not followed. */
static void make_runtime_directories(const struct child *child)
{
	const struct service_def *service = child->service;
	const struct words *names = &service->runtime_directories;
	if (names->count == 0)
		return;
	int run = open(child->context->run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int parent = run < 0 ? -1 : openat(run, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		fail(child, STAGE_RUNTIME_DIRECTORY, 0);
	for (size_t i = 0; i < names->count; i++) {
		if (mkdirat(parent, names->word[i], 0755) < 0 && errno != EEXIST)
			fail(child, STAGE_RUNTIME_DIRECTORY, (uint32_t)i);
		int fd = openat(parent, names->word[i],
				O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || fchmod(fd, 0755) < 0 ||
		    (service->has_user && fchown(fd, service->uid, service->gid) < 0))
			fail(child, STAGE_RUNTIME_DIRECTORY, (uint32_t)i);
		close(fd);
	}
	close(parent);
	close(run);
}

/* Beside its place first, then renamed: a pool's members write the same file at the same time, and
 * readers see a whole one. */
static int write_template(const struct template_def *template)
{
	char beside[PATH_MAX];
	struct text path = {.start = beside, .size = sizeof(beside)};
	text_add(&path, template->path);
	text_add(&path, ".new.");
	text_add_number(&path, (unsigned long)getpid());
	if (path.full) {
		errno = ENAMETOOLONG;
		return -1;
	}
	unlink(beside);
	int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	size_t done = 0;
	while (done < template->size) {
		ssize_t n = write(fd, template->text + done, template->size - done);
		if (n < 0 && errno != EINTR)
			break;
		if (n > 0)
			done += (size_t)n;
	}
	if (done == template->size && fchmod(fd, 0644) == 0 &&
	    rename(beside, template->path) == 0) {
		close(fd);
		return 0;
	}
	int error = errno;
	close(fd);
	unlink(beside);
	errno = error;
	return -1;
}

static void write_templates(const struct child *child)
{
	for (size_t i = 0; i < child->service->template_count; i++) {
		if (write_template(&child->service->template[i]) < 0)
			fail(child, STAGE_TEMPLATE, (uint32_t)i);
	}
}

static void set_limits(const struct child *child)
{
	/* Ours is high, and programs that select(2) or close every number there is are not made for
	 * that. */
	const struct rlimit *nofile = child->context->limit_nofile;
	if (nofile)
		setrlimit(RLIMIT_NOFILE, nofile);
	for (size_t i = 0; i < child->service->limit_count; i++) {
		const struct limit_def *limit = &child->service->limit[i];
		if (setrlimit(limit->resource, &limit->value) < 0)
			fail(child, STAGE_LIMIT, (uint32_t)i);
	}
}

/*
 * All of these are inherited, and PID 1's own may be anything (its score is the lowest): they are
 * set also where the file says nothing, and then cannot fail in a way that matters. musl's own
 * sched_setscheduler(3) is a stub.
 */
static void set_priority(const struct child *child)
{
	const struct process_share *share = &child->service->share;
	const struct sched_param parameter = {.sched_priority = share->scheduling_priority};
	int nice = child->service->nice;
	umask(child->service->umask);
	if (setpriority(PRIO_PROCESS, 0, nice) < 0 && nice != 0)
		fail(child, STAGE_NICE, 0);
	if (syscall(SYS_sched_setscheduler, 0, share->scheduling, &parameter) < 0 &&
	    share->scheduling != SCHED_OTHER && !share->scheduling_optional)
		fail(child, STAGE_SCHEDULING, 0);
	if (CPU_COUNT(&share->cpu_affinity) > 0 &&
	    sched_setaffinity(0, sizeof(share->cpu_affinity), &share->cpu_affinity) < 0)
		fail(child, STAGE_CPU_AFFINITY, 0);
	if (share->io_priority != 0 &&
	    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, share->io_priority) < 0)
		fail(child, STAGE_IO_CLASS, 0);
}

static void set_oom_score(const struct child *child)
{
	int score = child->service->oom_score_adj;
	char digits[NUMBER_BYTES];
	struct text number = {.start = digits, .size = sizeof(digits)};
	if (score < 0)
		text_add(&number, "-");
	text_add_number(&number, (unsigned long)labs(score));
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	bool written = fd >= 0 && write(fd, digits, number.used) == (ssize_t)number.used;
	if (!written && score != 0)
		fail(child, STAGE_OOM_SCORE, 0);
	if (fd >= 0)
		close(fd);
}

static void make_arguments(const struct child *child)
{
	const struct command *command = child->command;
	size_t count = 0;
	if (command->builtin) {
		static char program[] = "supervisor", verb[] = "worker";
		argument[count++] = program;
		argument[count++] = verb;
	}
	if (command->argv.count == 0 || command->argv.count > ARGUMENTS_MAX - count) {
		errno = command->argv.count == 0 ? EINVAL : E2BIG;
		fail(child, STAGE_EXEC, 0);
	}
	memcpy(argument + count, command->argv.word, command->argv.count * sizeof(char *));
	argument[count + command->argv.count] = NULL;
}

/*
 * The ticket rides in an argument that the kernel does not look at (seccomp.h). Without a filter
 * execve does the same and is known to every kernel, tracer and container.
 */
static void execute(const struct child *child, int self, bool filtered, uint64_t ticket)
{
	const char *program = child->command->argv.word[0];
	if (child->command->builtin) {
		syscall(SYS_execveat, self, "", argument, environment, AT_EMPTY_PATH, ticket);
	} else if (program[0] != '/') {
		errno = EINVAL; /* what runs must not depend on a search */
	} else if (filtered) {
		syscall(SYS_execveat, AT_FDCWD, program, argument, environment, 0, ticket);
	} else {
		execve(program, argument, environment);
	}
}

_Noreturn void child_run(const struct child *given)
{
	struct child child = *given;
	const struct service_def *service = child.service;

	join_cgroup(&child); /* first of all: nothing that follows may happen outside it */
	if (setsid() < 0)
		fail(&child, STAGE_SESSION, 0);
	reset_signals(&child);
	int self = arrange_descriptors(&child);
	make_environment(&child);
	make_arguments(&child);
	make_runtime_directories(&child);
	write_templates(&child);
	set_limits(&child);
	set_priority(&child);
	set_oom_score(&child);

	struct sandbox_failure failure = {STAGE_NONE, 0};
	uint64_t ticket = 0;
	const struct seccomp_program *seccomp = child.context->seccomp;
	if (sandbox_apply(service, child.plan, seccomp, child.context->run_dir, &ticket, &failure) <
	    0)
		fail(&child, failure.stage, failure.index);

	execute(&child, self, seccomp && seccomp->length > 0, ticket);
	fail(&child, STAGE_EXEC, 0);
}
