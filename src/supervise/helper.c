#include "src/supervise/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/base/utf8.h"
#include "src/process/cgroup.h"
#include "src/process/spawn.h"
#include "src/process/sweep.h"
#include "src/supervise/instance.h"
#include "src/supervise/supervise.h"

#define AGAIN_MS	 200
#define OUTPUT_BYTES_MAX 65536 /* what a helper may write before its output is closed */
#define READ_BYTES	 1024

static void output_ready(struct watch *watch, uint32_t events);
static void populated_ready(struct watch *watch, uint32_t events);

void helper_init(struct helper *helper, struct supervisor *supervisor, void *owner,
		 const char *service, const char *purpose, void (*ended)(struct helper *helper))
{
	*helper = (struct helper){
		.supervisor = supervisor,
		.owner = owner,
		.ended = ended,
		.error_fd = -1,
		.cgroup_fd = -1,
		.output = {.fd = -1, .ready = output_ready, .owner = helper},
		.populated = {.fd = -1, .ready = populated_ready, .owner = helper},
	};
	snprintf(helper->name, sizeof(helper->name), "%s:%s", service, purpose);
}

static void close_all(struct helper *helper)
{
	struct loop *loop = &helper->supervisor->loop;

	loop_close(loop, &helper->output);
	loop_close(loop, &helper->populated);
	if (helper->error_fd >= 0)
		close(helper->error_fd);
	if (helper->cgroup_fd >= 0)
		close(helper->cgroup_fd);
	helper->error_fd = helper->cgroup_fd = -1;
}

/* Left by a supervisor that was killed, or put there by somebody: gone at the next try. */
static void kill_strangers(struct helper *helper)
{
	int fd = cgroup_open(&helper->supervisor->cgroups, helper->name);

	if (fd < 0)
		return;
	cgroup_kill(fd);
	close(fd);
	errno = EBUSY;
}

/* New for each run, as the service's own (instance.c). Without cgroups, its process group is what
 * can be killed. */
static int open_cgroup(struct helper *helper, const struct service_def *def, const char **what)
{
	struct supervisor *sv = helper->supervisor;
	const char *key;

	if (sv->cgroups.fd < 0)
		return 0;
	*what = "cgroup";
	if (cgroup_remove(&sv->cgroups, helper->name) < 0 && errno == EBUSY) {
		kill_strangers(helper);
		return -1;
	}
	helper->cgroup_fd = cgroup_open(&sv->cgroups, helper->name);
	if (helper->cgroup_fd < 0)
		return -1;
	if (cgroup_limit(&sv->cgroups, helper->cgroup_fd, def, &key) == 0)
		return 0;
	*what = key;
	return -1;
}

/* Its end of the pipe; ours is watched. */
static int open_output(struct helper *helper)
{
	int end[2];

	if (pipe2(end, O_CLOEXEC) < 0)
		return -1;
	helper->output.fd = end[0];
	if (fcntl(end[0], F_SETFL, O_NONBLOCK) < 0 ||
	    loop_add(&helper->supervisor->loop, &helper->output, EPOLLIN) < 0) {
		int saved = errno;
		close(end[1]);
		errno = saved;
		return -1;
	}
	return end[1];
}

static int start(struct helper *helper, const struct helper_run *run, const char **what)
{
	struct supervisor *sv = helper->supervisor;
	struct spawned spawned;

	if (open_cgroup(helper, run->service, what) < 0)
		return -1;
	*what = "pipe";
	int output = open_output(helper);
	if (output < 0)
		return -1;
	const struct spawn_context context = {
		.cgroup_fd = helper->cgroup_fd,
		.stdout_fd = output,
		.channel_fd = -1,
		.invocation = helper->invocation,
		.config_dir = sv->source.directory,
		.node = sv->config->self ? sv->config->self->name : "",
		.run_dir = sv->run_dir,
		.seccomp = run->seccomp,
		.self_fd = sv->self_fd,
		.limit_nofile = &sv->nofile,
	};
	snprintf(helper->invocation, sizeof(helper->invocation), "%016llx%016llx",
		 (unsigned long long)sv->boot_id, (unsigned long long)++sv->invocations);
	*what = "start a process";
	int rc = spawn(run->service, run->command, &context, &spawned);
	int saved = errno;
	close(output);
	errno = saved;
	if (rc < 0)
		return -1;
	if (sv->cgroups.fd < 0 && !run->starts_nothing)
		helper->leader = spawned.pid;
	/* It is not reaped behind our back: its number is good until then. */
	if (spawned.pidfd >= 0)
		close(spawned.pidfd);
	helper->pid = spawned.pid;
	helper->error_fd = spawned.error_fd;
	return 0;
}

int helper_start(struct helper *helper, const struct helper_run *run, const char **what)
{
	struct service_def def = *run->service;
	struct helper_run mine = *run;

	/* Those belong to the start of the service. */
	def.template_count = 0;
	def.runtime_directories = (struct words){0};
	mine.service = &def;
	helper->good = helper->killed = false;
	helper->text[0] = '\0';
	helper->line_used = helper->output_bytes = 0;
	helper->again_at_ms = 0;
	if (start(helper, &mine, what) < 0) {
		int saved = errno;
		close_all(helper);
		errno = saved;
		return -1;
	}
	helper->running = true;
	return 0;
}

static void kill_all(struct helper *helper)
{
	helper->again_at_ms = 0;
	if (helper->cgroup_fd >= 0) {
		if (cgroup_kill(helper->cgroup_fd) == 0)
			return;
		log_warn("%s: kill its cgroup", helper->name);
		helper->again_at_ms = loop_now_ms() + AGAIN_MS;
	}
	/* It leads a session and a process group of its own. */
	if (helper->pid > 0)
		kill(-helper->pid, SIGKILL);
}

void helper_kill(struct helper *helper)
{
	if (!helper->running)
		return;
	helper->killed = true;
	kill_all(helper);
}

/* What was written is somebody else's: only what a terminal can be shown. */
static void keep_line(struct helper *helper)
{
	size_t used = 0;

	helper->line[helper->line_used] = '\0';
	for (const char *text = helper->line; *text;) {
		size_t length = utf8_length(text);
		bool plain = length > 0 && !utf8_is_control(text);
		if (used + (plain ? length : 1) >= sizeof(helper->text))
			break;
		if (plain)
			memcpy(helper->text + used, text, length);
		else
			helper->text[used] = '?';
		used += plain ? length : 1;
		text += length ? length : 1;
	}
	if (used > 0)
		helper->text[used] = '\0';
	helper->line_used = 0;
}

static void take_output(struct helper *helper, const char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (bytes[i] == '\n') {
			keep_line(helper);
			continue;
		}
		/* The beginning of a long line says more than its end. */
		if (helper->line_used + 1 < sizeof(helper->line))
			helper->line[helper->line_used++] = bytes[i] ? bytes[i] : '?';
	}
}

/* Reads once; false when there is no more for now, or ever. */
static bool read_output(struct helper *helper)
{
	char bytes[READ_BYTES];

	if (helper->output.fd < 0)
		return false;
	ssize_t n = read(helper->output.fd, bytes, sizeof(bytes));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0) {
		take_output(helper, bytes, (size_t)n);
		helper->output_bytes += (size_t)n;
	}
	/* One that writes without end must not keep us busy; what it was about to write is no line.
	 */
	if (helper->output_bytes > OUTPUT_BYTES_MAX && helper->text[0])
		helper->line_used = 0;
	if (n <= 0 || helper->output_bytes > OUTPUT_BYTES_MAX) {
		loop_close(&helper->supervisor->loop, &helper->output);
		return false;
	}
	return true;
}

static void output_ready(struct watch *watch, uint32_t events)
{
	(void)events;
	read_output(watch->owner);
}

/* Exec's result, which counts more than what the exit says. */
static bool exec_failed(struct helper *helper)
{
	struct spawn_error error;
	bool failed = helper->error_fd >= 0 && spawn_error_read(helper->error_fd, &error) > 0;

	if (failed)
		snprintf(helper->text, sizeof(helper->text), "%s: %s",
			 spawn_stage_name(error.stage), strerror(error.error));
	return failed;
}

static void note_end(struct helper *helper, int status)
{
	while (read_output(helper))
		;
	if (helper->line_used > 0)
		keep_line(helper);
	helper->good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && !helper->killed;
	if (exec_failed(helper) || helper->text[0])
		return;
	if (WIFEXITED(status))
		snprintf(helper->text, sizeof(helper->text), "exited with %d", WEXITSTATUS(status));
	else if (WIFSIGNALED(status))
		snprintf(helper->text, sizeof(helper->text), "killed by signal %d (%s)",
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
}

/* Its process is reaped: it is over once nothing of it is left. */
static void end_if_empty(struct helper *helper)
{
	struct supervisor *sv = helper->supervisor;

	if (!helper->running || helper->pid > 0 || helper->leader > 0)
		return;
	if (helper->cgroup_fd >= 0) {
		int populated = cgroup_populated(helper->cgroup_fd);
		if (populated > 0)
			return;
		if (populated < 0 && errno != ENODEV && errno != ENOENT) {
			helper->again_at_ms = loop_now_ms() + AGAIN_MS;
			return;
		}
	}
	close_all(helper);
	if (sv->cgroups.fd >= 0)
		cgroup_remove(&sv->cgroups, helper->name);
	helper->running = false;
	helper->again_at_ms = 0;
	helper->ended(helper);
}

/* Without cgroups a child looks for them. */
static void sweep(struct helper *helper)
{
	if (helper->leader == 0 || helper->sweep > 0)
		return;
	helper->sweep = sweep_start(&(struct sweep_run){
		.leader = helper->leader,
		.reaped = helper->pid == 0,
		.invocation = helper->invocation,
		.is_known = instance_is_command,
		.context = helper->supervisor,
	});
	if (helper->sweep > 0)
		return;
	log_warn("%s: no process to end what is left of it", helper->name);
	helper->sweep = 0;
	helper->again_at_ms = loop_now_ms() + AGAIN_MS;
}

static void swept(struct helper *helper, int status)
{
	enum sweep_result result = sweep_result(status);

	helper->sweep = 0;
	if (result == SWEEP_LEFT) {
		helper->again_at_ms = loop_now_ms() + AGAIN_MS;
		return;
	}
	if (result != SWEEP_CLEAN)
		log_warnx("%s: cannot look for what is left of it", helper->name);
	helper->leader = 0;
}

/* What it left behind goes, and its end waits for that. */
static void clear_leftovers(struct helper *helper)
{
	sweep(helper);
	if (helper->cgroup_fd < 0 || cgroup_populated(helper->cgroup_fd) == 0)
		return;
	kill_all(helper);
	if (helper->populated.fd >= 0)
		return;
	helper->populated.fd = cgroup_events_open(helper->cgroup_fd);
	if (helper->populated.fd >= 0 &&
	    loop_add(&helper->supervisor->loop, &helper->populated, EPOLLPRI) == 0)
		return;
	log_warn("%s: cgroup.events", helper->name);
	loop_close(&helper->supervisor->loop, &helper->populated);
	helper->again_at_ms = loop_now_ms() + AGAIN_MS;
}

bool helper_reaped(struct helper *helper, pid_t pid, int status)
{
	if (helper->sweep == pid) {
		swept(helper, status);
	} else if (helper->pid == pid) {
		note_end(helper, status);
		helper->pid = 0;
		clear_leftovers(helper);
	} else {
		return false;
	}
	end_if_empty(helper);
	return true;
}

static void populated_ready(struct watch *watch, uint32_t events)
{
	struct helper *helper = watch->owner;

	(void)events;
	cgroup_events_read(watch->fd);
	end_if_empty(helper);
}

void helper_timer(struct helper *helper)
{
	helper->again_at_ms = 0;
	if (!helper->running)
		return;
	if (helper->pid > 0)
		kill_all(helper); /* only what was to be killed has a timer then */
	else
		clear_leftovers(helper);
	end_if_empty(helper);
}
