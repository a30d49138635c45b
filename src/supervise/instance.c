#include "src/supervise/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/process/spawn.h"
#include "src/process/sweep.h"
#include "src/supervise/demand.h"
#include "src/supervise/filters.h"
#include "src/supervise/links.h"
#include "src/supervise/main_process.h"
#include "src/supervise/ready.h"

#define AGAIN_MS 200

static void error_ready(struct watch *watch, uint32_t events);
static void populated_ready(struct watch *watch, uint32_t events);

static struct life_policy policy_of(const struct service_def *def)
{
	static const enum life_restart restart[] = {
		[RESTART_ALWAYS] = LIFE_RESTART_ALWAYS,
		[RESTART_ON_FAILURE] = LIFE_RESTART_ON_FAILURE,
		[RESTART_NEVER] = LIFE_RESTART_NEVER,
	};
	static const enum life_limit on_limit[] = {
		[LIMIT_GIVE_UP] = LIFE_LIMIT_GIVE_UP,
		[LIMIT_COMMAND] = LIFE_LIMIT_COMMAND,
		[LIMIT_REBOOT] = LIFE_LIMIT_REBOOT,
	};
	return (struct life_policy){
		.oneshot = def->kind == SERVICE_ONESHOT,
		.runs_nothing = def->kind == SERVICE_GROUP || def->kind == SERVICE_POOL,
		.on_demand = def->on_demand,
		.has_undo = def->stop.argv.count > 0,
		.restart = restart[def->restart],
		.reload = def->reload.argv.count > 0 ? LIFE_RELOAD_COMMAND
			  : def->reload_signal	     ? LIFE_RELOAD_SIGNAL
						     : LIFE_RELOAD_NONE,
		.start_timeout_ms = def->start_timeout_ms,
		.stop_timeout_ms = def->stop_timeout_ms,
		.delay_ms = def->restart_delay_ms,
		.delay_max_ms = def->restart_delay_max_ms,
		.healthy_after_ms = def->healthy_after_ms,
		.limit_restarts = def->limit_restarts,
		.limit_window_ms = def->limit_window_ms,
		.on_limit = on_limit[def->on_limit],
	};
}

static void close_cgroup(struct instance *instance)
{
	loop_close(&instance->supervisor->loop, &instance->populated);
	if (instance->cgroup_fd >= 0)
		close(instance->cgroup_fd);
	instance->cgroup_fd = -1;
}

/* 0, or -1 with a message printed. */
static int take_filter(struct instance *instance)
{
	const struct service_def *def = instance->def;
	char error[REASON_BYTES];

	instance->seccomp = NULL;
	if (def->seccomp.count == 0)
		return 0;
	instance->seccomp = filter_get(&def->seccomp, error, sizeof(error));
	if (instance->seccomp)
		return 0;
	log_warnx("%s: seccomp: %s", def->name, error);
	return -1;
}

int instance_init(struct instance *instance, struct supervisor *supervisor,
		  const struct service_def *def, uint16_t index)
{
	*instance = (struct instance){
		.supervisor = supervisor,
		.def = def,
		.config = supervisor->config,
		.index = index,
		.policy = policy_of(def),
		.pidfd = -1,
		.error = {.fd = -1, .ready = error_ready, .owner = instance},
		.populated = {.fd = -1, .ready = populated_ready, .owner = instance},
		.channel = {.fd = -1, .owner = instance},
		.cgroup_fd = -1,
		.log_read = -1,
		.log_write = -1,
	};
	main_process_init(instance);
	ready_init(instance);
	reload_command_init(instance);
	for (size_t i = 0; i < ON_DEMAND_SOCKETS_MAX; i++)
		instance->demand[i].fd = -1;
	return probe_init(instance) ? take_filter(instance) : -1;
}

void instance_take(struct instance *instance, const struct service_def *def)
{
	bool other = memcmp(instance->def->digest, def->digest, DIGEST_BYTES) != 0 ||
		     memcmp(instance->def->live, def->live, DIGEST_BYTES) != 0;

	instance->def = def;
	instance->config = instance->supervisor->config;
	instance->policy = policy_of(def);
	take_filter(instance); /* it was compiled when the configuration was checked */
	if (other)
		probe_redefine(instance);
}

bool instance_rests(const struct instance *instance)
{
	return !life_is_active(&instance->supervisor->service[instance->index].life) &&
	       !instance->probe.helper.running && !instance->reload_command.helper.running;
}

void instance_release(struct instance *instance)
{
	struct supervisor *sv = instance->supervisor;

	main_process_over(instance);
	ready_over(instance);
	close_cgroup(instance);
	if (sv->cgroups.fd >= 0)
		cgroup_remove(&sv->cgroups, instance->def->name);
	loop_close(&sv->loop, &instance->error);
	loop_close(&sv->loop, &instance->channel);
	for (size_t i = 0; i < ON_DEMAND_SOCKETS_MAX; i++)
		loop_close(&sv->loop, &instance->demand[i]);
	if (instance->log_read >= 0) {
		close(instance->log_read); /* the log process has its own, and reads the rest */
		close(instance->log_write);
	}
	*instance = (struct instance){0};
}

int instance_signal(const struct instance *instance, int signal_number)
{
	if (instance->pid == 0) {
		errno = ESRCH;
		return -1;
	}
	if (instance->pidfd >= 0)
		return (int)syscall(SYS_pidfd_send_signal, instance->pidfd, signal_number, NULL, 0);
	return kill(instance->pid, signal_number);
}

/* Whether and when it becomes empty. */
static void watch_cgroup(struct instance *instance)
{
	instance->populated.fd = cgroup_events_open(instance->cgroup_fd);
	if (instance->populated.fd < 0 ||
	    loop_add(&instance->supervisor->loop, &instance->populated, EPOLLPRI) < 0)
		log_warn("%s: cgroup.events", instance->def->name);
}

/*
 * A new cgroup for each run: that the kernel lets the old one be removed proves that nothing is
 * left in it, and some kernels (seen: 6.18) kill what is cloned into a cgroup that
 * cgroup.kill was ever used on. False: leftovers, now being killed, or a limit that the kernel
 * refuses. Without cgroups, or when one cannot be made, the service runs all the same.
 */
static bool open_cgroup(struct instance *instance)
{
	struct supervisor *sv = instance->supervisor;
	const struct service_def *def = instance->def;

	if (sv->cgroups.fd < 0)
		return true;
	close_cgroup(instance);
	if (cgroup_remove(&sv->cgroups, def->name) < 0 && errno == EBUSY) {
		instance->cgroup_fd = cgroup_open(&sv->cgroups, def->name);
		if (instance->cgroup_fd >= 0) {
			watch_cgroup(instance);
			cgroup_kill(instance->cgroup_fd);
		}
		snprintf(instance->reason, sizeof(instance->reason),
			 "processes of an earlier run are left");
		return false;
	}
	instance->cgroup_fd = cgroup_open(&sv->cgroups, def->name);
	if (instance->cgroup_fd < 0) {
		log_warn("%s: cgroup", def->name);
		return true;
	}
	struct stat st;
	instance->cgroup_id = fstat(instance->cgroup_fd, &st) == 0 ? st.st_ino : 0;
	watch_cgroup(instance);
	const char *key;
	if (cgroup_limit(&sv->cgroups, instance->cgroup_fd, def, &key) == 0)
		return true;
	snprintf(instance->reason, sizeof(instance->reason), "%s: %s", key, strerror(errno));
	return false;
}

/* The service's output goes into a pipe of which both ends stay open here; without a log process
 * nobody would drain it. */
static void open_log_pipe(struct instance *instance)
{
	int end[2];

	if (instance->log_write >= 0 || instance->supervisor->log < 0)
		return;
	if (pipe2(end, O_CLOEXEC) < 0) {
		log_warn("%s: pipe for its output", instance->def->name);
		return;
	}
	instance->log_read = end[0];
	instance->log_write = end[1];
	log_link_add(instance->supervisor, instance);
}

static int open_channel(struct instance *instance)
{
	struct supervisor *sv = instance->supervisor;
	int end[2];

	loop_close(&sv->loop, &instance->channel);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, end) < 0)
		return -1;
	instance->channel.fd = end[0];
	return end[1];
}

static int open_sockets(struct instance *instance, int *fds)
{
	const struct service_def *def = instance->def;

	for (size_t i = 0; i < def->listen_count; i++) {
		fds[i] = listen_get(&instance->supervisor->sockets, &def->listen[i], def);
		if (fds[i] < 0) {
			snprintf(instance->reason, sizeof(instance->reason), "listen %s: %s",
				 def->listen[i].text, strerror(errno));
			return -1;
		}
	}
	return 0;
}

static bool await_client(struct instance *instance)
{
	int fds[LISTEN_SOCKETS_MAX];

	instance->reason[0] = '\0';
	if (open_sockets(instance, fds) < 0)
		return false;
	if (demand_watch(instance, fds) == 0)
		return true;
	snprintf(instance->reason, sizeof(instance->reason), "watch its sockets: %s",
		 strerror(errno));
	return false;
}

/* Out of processes, memory or descriptors: that may be over soon. */
static bool is_shortage(int error)
{
	return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}

static int output_of(const struct instance *instance)
{
	const struct supervisor *sv = instance->supervisor;

	/* The log process cannot drain itself: what it has to say goes where our own messages go.
	 */
	return sv->log < 0 || instance->index == sv->log ? sv->output_fd : instance->log_write;
}

static const struct command *command_of(const struct instance *instance)
{
	const struct service_def *def = instance->def;

	switch (instance->purpose) {
	case RUN_STOP:
		return &def->stop;
	case RUN_LIMIT:
		return &def->limit_command;
	default:
		return &def->start;
	}
}

static bool run(struct instance *instance, enum purpose purpose)
{
	struct supervisor *sv = instance->supervisor;
	const struct service_def *def = instance->def;
	bool start = purpose == RUN_START;
	int fds[LISTEN_SOCKETS_MAX], ready_fd = -1;
	struct spawned spawned;

	if (start)
		instance->reason[0] = '\0'; /* else: why it ended, or was given up */
	instance->status[0] = instance->said_error[0] = '\0';
	instance->purpose = purpose;
	if (start)
		snprintf(instance->invocation, sizeof(instance->invocation), "%016llx%016llx",
			 (unsigned long long)sv->boot_id, (unsigned long long)++sv->invocations);
	if (def->seccomp.count > 0 && !instance->seccomp) {
		snprintf(instance->reason, sizeof(instance->reason), "no memory for its filter");
		return false;
	}
	if (!open_cgroup(instance))
		return false;
	open_log_pipe(instance);
	if (start && open_sockets(instance, fds) < 0)
		return false;
	if (start && ready_prepare(instance, &ready_fd) < 0) {
		snprintf(instance->reason, sizeof(instance->reason), "ready %s: %s",
			 def->ready_text, strerror(errno));
		return false;
	}
	int channel = def->channel && start ? open_channel(instance) : -1;
	struct spawn_context context = {
		.cgroup_fd = instance->cgroup_fd,
		.stdout_fd = output_of(instance),
		.channel_fd = channel,
		.ready_fd = ready_fd,
		.listen_fds = fds,
		.listen_count = start ? def->listen_count : 0,
		.notify_path = sv->notify_path,
		.watchdog_ms = start ? def->watchdog_ms : 0,
		.invocation = instance->invocation,
		.config_dir = sv->source.directory,
		.node = sv->config->self ? sv->config->self->name : "",
		.run_dir = sv->run_dir,
		.seccomp = instance->seccomp,
		.self_fd = sv->self_fd,
		.limit_nofile = &sv->nofile,
	};
	int rc = spawn(def, command_of(instance), &context, &spawned);
	bool again = rc < 0 && purpose == RUN_STOP && is_shortage(errno);
	if (rc < 0)
		snprintf(instance->reason, sizeof(instance->reason), "cannot start a process: %s",
			 strerror(errno));
	if (channel >= 0)
		close(channel);
	if (ready_fd >= 0)
		close(ready_fd);
	if (rc < 0) {
		ready_over(instance);
		loop_close(&sv->loop, &instance->channel);
		/* What was done must be undone, even if not at once: a mount that stays is a
		 * filesystem left dirty. */
		instance->undo_at_ms = again ? loop_now_ms() + AGAIN_MS : 0;
		return again;
	}
	instance->pid = spawned.pid;
	instance->pidfd = spawned.pidfd;
	instance->leader = instance->cgroup_fd < 0 ? spawned.pid : 0;
	instance->leader_reaped = false;
	loop_close(&sv->loop, &instance->error);
	instance->error.fd = spawned.error_fd;
	if (loop_add(&sv->loop, &instance->error, EPOLLIN) < 0)
		log_warn("%s: watch for exec", def->name);
	if (instance->channel.fd >= 0)
		links_opened(sv, instance);
	return true;
}

bool instance_is_command(const void *context, pid_t pid)
{
	const struct supervisor *sv = context;

	for (size_t i = 0; i < sv->count; i++)
		if (sv->instance[i]->pid == pid || sv->instance[i]->probe.helper.pid == pid ||
		    sv->instance[i]->reload_command.helper.pid == pid)
			return true;
	return false;
}

/* Without a cgroup: all that is left of its last command, by a child that looks for it. */
static void sweep(struct instance *instance)
{
	if (instance->leader == 0 || instance->sweep > 0)
		return;
	instance->sweep = sweep_start(&(struct sweep_run){
		.leader = instance->leader,
		.reaped = instance->leader_reaped,
		.main = instance->pid,
		.invocation = instance->invocation,
		.is_known = instance_is_command,
		.context = instance->supervisor,
	});
	if (instance->sweep > 0)
		return;
	log_warn("%s: no process to end what is left of it", instance->def->name);
	if (!instance->leader_reaped)
		kill(-instance->leader, SIGKILL); /* its session's process group */
	instance->sweep = 0;
	instance->kill_at_ms = loop_now_ms() + AGAIN_MS;
}

void instance_swept(struct instance *instance, int status)
{
	enum sweep_result result = sweep_result(status);

	instance->sweep = 0;
	if (result == SWEEP_LEFT) {
		instance->kill_at_ms = loop_now_ms() + AGAIN_MS;
		return;
	}
	if (result != SWEEP_CLEAN)
		log_warnx("%s: cannot look for what is left of it: %s", instance->def->name,
			  result == SWEEP_BLIND ? "no /proc" : "/proc does not answer");
	if (instance->pid == 0)
		instance->leader = 0;
}

static void kill_all(struct instance *instance)
{
	instance->kill_at_ms = 0;
	if (instance->cgroup_fd < 0) {
		sweep(instance);
		return;
	}
	if (cgroup_kill(instance->cgroup_fd) == 0)
		return;
	log_warn("%s: kill its cgroup", instance->def->name);
	instance->kill_at_ms = loop_now_ms() + AGAIN_MS;
}

void instance_kill_again(struct instance *instance)
{
	enum life_state state = instance->supervisor->service[instance->index].life.state;

	instance->kill_at_ms = 0;
	if (state == LIFE_STOPPING || state == LIFE_CLEARING || state == LIFE_UNDOING)
		kill_all(instance);
}

bool instance_act(struct instance *instance, unsigned actions)
{
	const struct service_def *def = instance->def;

	if (actions & LIFE_DO_SIGNAL) {
		ready_over(instance);
		if (!main_process_signal_all(instance, def->stop_signal))
			return false;
		if (instance_signal(instance, def->stop_signal) < 0 && errno != ESRCH)
			log_warn("%s: signal %d", def->name, def->stop_signal);
	}
	if (actions & LIFE_DO_KILL)
		kill_all(instance);
	if (actions & LIFE_DO_RELOAD && instance->policy.reload == LIFE_RELOAD_COMMAND)
		reload_command_start(instance);
	else if (actions & LIFE_DO_RELOAD) {
		instance->reload_command.problem[0] = '\0';
		if (instance_signal(instance, def->reload_signal) < 0)
			log_warn("%s: signal %d", def->name, def->reload_signal);
	}
	if (actions & LIFE_DO_LISTEN)
		return await_client(instance);
	if (actions & LIFE_DO_START)
		return run(instance, RUN_START);
	if (actions & LIFE_DO_UNDO)
		return run(instance, RUN_STOP);
	if (actions & LIFE_DO_GIVE_UP)
		return run(instance, RUN_LIMIT);
	if (actions & LIFE_DO_REBOOT)
		supervise_shutdown(instance->supervisor,
				   instance->supervisor->machine ? GOAL_REBOOT : GOAL_EXIT);
	return true;
}

bool instance_undo_again(struct instance *instance)
{
	const struct life *life = &instance->supervisor->service[instance->index].life;

	instance->undo_at_ms = 0;
	/* No deadline any more: it is over. */
	if (life->state != LIFE_UNDOING ||
	    (instance->policy.stop_timeout_ms && life->deadline_ms == 0))
		return false;
	return instance_act(instance, LIFE_DO_UNDO);
}

static bool has_socket(const struct service_def *def, const char *text)
{
	for (size_t i = 0; i < def->listen_count; i++)
		if (strcmp(def->listen[i].text, text) == 0)
			return true;
	return false;
}

/* Some service that is up or may come up by itself has this socket. */
static bool socket_has_server(const struct supervisor *sv, const char *text)
{
	for (size_t i = 0; i < sv->count; i++) {
		const struct graph_service *s = &sv->service[i];
		bool comes = s->wanted && s->conditions_hold && s->life.state != LIFE_FAILED &&
			     s->life.state != LIFE_ENDED;
		if ((comes || life_is_active(&s->life)) && has_socket(sv->instance[i]->def, text))
			return true;
	}
	return false;
}

void instance_close_sockets(struct instance *instance)
{
	const struct service_def *def = instance->def;

	for (size_t i = 0; i < def->listen_count; i++)
		if (!socket_has_server(instance->supervisor, def->listen[i].text))
			listen_close(&instance->supervisor->sockets, &def->listen[i]);
}

static bool exit_is_success(const struct service_def *def, int code)
{
	if (code == 0)
		return true;
	for (size_t i = 0; i < def->success_exit_count; i++)
		if (def->success_exit[i] == code)
			return true;
	return false;
}

/* What ends with the process that was its main one. */
static void close_run(struct instance *instance)
{
	struct supervisor *sv = instance->supervisor;

	main_process_over(instance);
	ready_over(instance);
	if (instance->pidfd >= 0)
		close(instance->pidfd);
	instance->pidfd = -1;
	instance->pid = 0;
	instance->status[0] = '\0'; /* what a process said of itself ends with it */
	if (instance->channel.fd >= 0)
		links_closed(sv, instance);
	loop_close(&sv->loop, &instance->channel);
}

/* What it said about why it is going to fail. */
static void add_said_error(struct instance *instance)
{
	size_t used = strlen(instance->reason);

	if (instance->said_error[0])
		snprintf(instance->reason + used, sizeof(instance->reason) - used, ": %s",
			 instance->said_error);
	instance->said_error[0] = '\0';
}

enum life_event instance_lost(struct instance *instance, const char *how)
{
	if (instance->reason[0] == '\0')
		snprintf(instance->reason, sizeof(instance->reason), "%s", how);
	add_said_error(instance);
	close_run(instance);
	return LIFE_EXIT_BAD;
}

static void take_exec_result(struct instance *instance)
{
	/* Exec's result may arrive after the exit that it caused: take it first. */
	if (instance->error.fd >= 0)
		error_ready(&instance->error, EPOLLIN);
	loop_close(&instance->supervisor->loop, &instance->error);
}

bool instance_goes_on(struct instance *instance, int status)
{
	take_exec_result(instance);
	return main_process_goes_on(
		instance, WIFEXITED(status) && exit_is_success(instance->def, WEXITSTATUS(status)));
}

enum life_event instance_exited(struct instance *instance, int status)
{
	struct supervisor *sv = instance->supervisor;
	const struct service_def *def = instance->def;
	bool good = false;
	enum cgroup_oom oom = CGROUP_OOM_NONE;

	take_exec_result(instance);
	if (WIFEXITED(status)) {
		int code = WEXITSTATUS(status);
		good = exit_is_success(def, code);
		if (!good && instance->reason[0] == '\0')
			snprintf(instance->reason, sizeof(instance->reason), "%sexited with %d",
				 instance->purpose == RUN_STOP ? "stop command " : "", code);
	} else if (WIFSIGNALED(status)) {
		int number = WTERMSIG(status);
		/* Ended by the signal that asked it to: as good as an exit. */
		good = number == def->stop_signal &&
		       sv->service[instance->index].life.state == LIFE_STOPPING;
		if (number == SIGKILL && instance->cgroup_fd >= 0)
			oom = cgroup_oom(instance->cgroup_fd);
		if (!good && oom != CGROUP_OOM_NONE)
			snprintf(instance->reason, sizeof(instance->reason),
				 "killed: out of memory (%s)",
				 oom == CGROUP_OOM_OWN ? "memory-max" : "of the machine");
		else if (!good && instance->reason[0] == '\0')
			snprintf(instance->reason, sizeof(instance->reason),
				 "killed by signal %d (%s)%s", number, strsignal(number),
				 number == SIGSYS ? ": a forbidden system call" : "");
	}
	if (!good)
		add_said_error(instance);
	close_run(instance);
	return good ? LIFE_EXIT_OK : LIFE_EXIT_BAD;
}

bool instance_is_empty(struct instance *instance)
{
	if (instance->pid > 0)
		return false;
	if (instance->cgroup_fd < 0)
		return instance->leader == 0 && instance->sweep == 0;
	int populated = instance->populated.fd >= 0 ? cgroup_events_read(instance->populated.fd)
						    : cgroup_populated(instance->cgroup_fd);
	if (populated < 0 && errno != ENODEV &&
	    errno != ENOENT) /* those: somebody has removed it */
		instance->kill_at_ms = loop_now_ms() + AGAIN_MS;
	else if (populated <= 0)
		return true;
	return false;
}

static void error_ready(struct watch *watch, uint32_t events)
{
	struct instance *instance = watch->owner;
	struct supervisor *sv = instance->supervisor;
	const struct service_def *def = instance->def;
	struct spawn_error error;

	(void)events;
	int rc = spawn_error_read(watch->fd, &error);
	if (rc < 0 && errno == EAGAIN)
		return;
	loop_close(&sv->loop, watch);
	if (rc < 0) {
		log_warn("%s: result of exec", def->name);
		return;
	}
	if (rc > 0) {
		spawn_error_text(def, command_of(instance), &error, instance->reason,
				 sizeof(instance->reason));
		return; /* the exit follows, and is what counts */
	}
	if (instance->purpose != RUN_START || def->kind != SERVICE_DAEMON)
		return;
	ready_executing(instance);
	probe_begin(instance);
}

static void populated_ready(struct watch *watch, uint32_t events)
{
	(void)events;
	/* Reading rearms it; what follows from emptiness is decided after the turn, as ever. */
	cgroup_events_read(watch->fd);
}
