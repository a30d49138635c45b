#include "src/supervise/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/node/crash.h"
#include "src/process/sweep.h"
#include "src/supervise/demand.h"
#include "src/supervise/instance.h"
#include "src/supervise/gossip_link.h"
#include "src/supervise/links.h"
#include "src/supervise/main_process.h"
#include "src/supervise/notify.h"
#include "src/supervise/progress.h"
#include "src/supervise/ready.h"
#include "src/supervise/reload.h"

/* All services together have this long to stop unless the profile says otherwise; then what is left
 * is killed. Longer than the longest stop-timeout shipped. */
#define SHUTDOWN_MS 60000
/* After the kill, the kernel has this long to let go. */
#define SHUTDOWN_LAST_MS 5000
/* Sixteen descriptors a service, eight of them its check's and its reload's, and some of our own.
 */
#define DESCRIPTORS (18 * SERVICES_MAX)

static const struct cluster_address *lease(const struct supervisor *sv, const char *name)
{
	return sv->config->cluster ? cluster_find_address(sv->config->cluster, name) : NULL;
}

/* First version: a lease is held by the node that its address prefers, for ever. */
static bool condition_holds(const struct supervisor *sv, const struct condition *condition)
{
	const struct cluster_address *address;

	switch (condition->kind) {
	case CONDITION_LEASE:
		address = lease(sv, condition->argument);
		return address && address->prefer == sv->config->self;
	case CONDITION_PATH:
		return access(condition->argument, F_OK) == 0;
	}
	return false;
}

bool supervise_conditions_hold(const struct supervisor *sv, const struct service_def *def)
{
	if (def->refused)
		return false;
	for (size_t i = 0; i < def->condition_count; i++)
		if (!condition_holds(sv, &def->condition[i]))
			return false;
	return true;
}

void supervise_add(struct supervisor *sv, uint16_t index, bool wanted)
{
	const struct service_def *def = sv->instance[index]->def;
	struct graph_service *service = &sv->service[index];

	*service = (struct graph_service){.wanted = wanted,
					  .conditions_hold = supervise_conditions_hold(sv, def)};
	service->life.since_ms = loop_now_ms();
	if (getrandom(&service->life.random, sizeof(uint32_t), GRND_NONBLOCK) < 0)
		service->life.random = index + 1u; /* early at boot: any will do */
	if (def->refused)
		log_warnx("%s: refused: %s", def->name, def->refused);
}

/* One supervisor a run directory: a second one would take the first one's sockets away. */
static int take_run_directory(struct supervisor *sv)
{
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	/* The longest name of a socket in it. */
	if (strlen(sv->run_dir) + sizeof("/control.new") > sizeof(path)) {
		log_warnx("--run=%s is too long for the sockets in it", sv->run_dir);
		return -1;
	}
	if (mkdir(sv->run_dir, 0755) < 0 && errno != EEXIST) {
		log_warn("make %s", sv->run_dir);
		return -1;
	}
	snprintf(path, sizeof(path), "%s/lock", sv->run_dir);
	sv->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (sv->lock_fd < 0 || flock(sv->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (sv->lock_fd >= 0 && errno == EWOULDBLOCK)
			log_warnx("another supervisor runs with --run=%s", sv->run_dir);
		else
			log_warn("lock %s", path);
		return -1;
	}
	return 0;
}

/* Room for our own descriptors; what the services get stays as it was. */
static void raise_descriptors(struct supervisor *sv)
{
	if (getrlimit(RLIMIT_NOFILE, &sv->nofile) < 0) {
		log_warn("limit of open files");
		sv->nofile = (struct rlimit){.rlim_cur = 1024, .rlim_max = 4096};
		return;
	}
	struct rlimit raised = sv->nofile;
	if (raised.rlim_max < DESCRIPTORS)
		raised.rlim_max = DESCRIPTORS;
	raised.rlim_cur = raised.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		return;
	raised.rlim_cur = raised.rlim_max =
		sv->nofile.rlim_max; /* not ours to raise: all that there is */
	if (setrlimit(RLIMIT_NOFILE, &raised) < 0)
		log_warn("limit of open files");
}

int supervise_find(const struct supervisor *sv, const char *name)
{
	for (size_t i = 0; i < sv->count; i++)
		if (strcmp(sv->instance[i]->def->name, name) == 0)
			return (int)i;
	return -1;
}

int supervise_init(struct supervisor *sv, struct config *config, const struct config_source *source,
		   const char *run_dir)
{
	sv->config = config;
	sv->source = *source;
	sv->run_dir = run_dir;
	sv->started_ms = loop_now_ms();
	if (getrandom(&sv->boot_id, sizeof(sv->boot_id), 0) != sizeof(sv->boot_id) ||
	    sv->boot_id == 0) {
		log_warn("random boot id");
		return -1;
	}
	sv->self_fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (sv->self_fd < 0) {
		log_warn("open /proc/self/exe");
		return -1;
	}
	if (take_run_directory(sv) < 0)
		return -1;
	raise_descriptors(sv);
	if (loop_init(&sv->loop) < 0) {
		log_warn("epoll");
		return -1;
	}
	cgroup_tree_open(&sv->cgroups, sv->init);
	if (notify_open(sv) < 0)
		return -1;
	ready_open(sv);
	sv->count = config->service_count;
	for (size_t i = 0; i < sv->count; i++) {
		sv->instance[i] = &sv->slot[i];
		if (instance_init(sv->instance[i], sv, &config->service[i], (uint16_t)i) < 0)
			return -1;
		supervise_add(sv, (uint16_t)i, !config->service[i].on_request);
	}
	sv->edges_stale = true;
	sv->gossip = supervise_find(sv, "gossip");
	sv->log = supervise_find(sv, "log");
	return 0;
}

/* One line on the console for each turn that matters to a person. */
static void tell(const struct supervisor *sv, uint16_t index, enum life_state before)
{
	const struct instance *instance = sv->instance[index];
	const struct life *life = &sv->service[index].life;
	const char *name = instance->def->name;

	switch (life->state) {
	case LIFE_READY:
		if (before != LIFE_RELOADING)
			log_info("%s: ready", name);
		else if (!instance->reload_command.problem[0]) /* else that is said */
			log_info("%s: reloaded", name);
		break;
	case LIFE_LISTENING:
		if (instance->demand[0].fd < 0)
			break; /* it could not */
		log_info("%s: listens for its first client", name);
		break;
	case LIFE_RELOADING:
		log_info("%s: reloading", name);
		break;
	case LIFE_GIVING_UP:
		log_warnx("%s: too many restarts; last: %s", name, instance->reason);
		break;
	case LIFE_BACKOFF:
		log_warnx("%s: %s; again in %llu ms", name,
			  instance->reason[0] ? instance->reason : "ended",
			  (unsigned long long)(life->deadline_ms - life->since_ms));
		break;
	case LIFE_FAILED:
		log_warnx("%s: failed: %s%s", name, life->given_up ? "too many restarts; " : "",
			  instance->reason);
		break;
	case LIFE_ENDED:
		log_info("%s: ended", name);
		break;
	case LIFE_IDLE:
		if (before != LIFE_BACKOFF && life->starts > 0)
			log_info("%s: stopped%s%s", name, instance->reason[0] ? ": " : "",
				 instance->reason);
		break;
	default:
		break;
	}
}

void supervise_event(struct supervisor *sv, uint16_t index, enum life_event event)
{
	struct instance *instance = sv->instance[index];
	struct life *life = &sv->service[index].life;

	crash_doing(life_state_name(life->state), instance->def->name);
	for (;;) {
		enum life_state before = life->state;
		uint32_t starts = life->starts;
		unsigned actions = life_step(life, &instance->policy, event, loop_now_ms());
		if (event == LIFE_TIMER)
			probe_note_timeout(instance, before);
		bool acted = instance_act(instance, actions);
		if (life->state != before || life->starts != starts) {
			tell(sv, index, before);
			if (sv->changed)
				sv->changed(sv, index);
		}
		probe_follow(instance, before, starts);
		reload_command_follow(instance, before);
		bool rests = life->state == LIFE_IDLE || life->state == LIFE_FAILED ||
			     life->state == LIFE_ENDED;
		if (rests && instance->def->listen_count)
			instance_close_sockets(instance);
		demand_follow(instance, life->state);
		if (acted)
			return;
		event = LIFE_EXIT_BAD; /* what should run could not even be started */
	}
}

/* What is being restarted has come to rest: from here on it is as if started anew. */
static void renewed(struct supervisor *sv, uint16_t index)
{
	sv->service[index].renew = false;
	reload_take_next(sv, index);
	supervise_event(sv, index, LIFE_RESET);
}

/* One round of decisions; true if any was taken. */
static bool settle_once(struct supervisor *sv)
{
	bool moved = false;

	for (size_t i = 0; i < sv->count; i++) {
		if (main_process_vanished(sv->instance[i])) {
			supervise_event(
				sv, (uint16_t)i,
				instance_lost(sv->instance[i], "ended without a main process"));
			moved = true;
		}
		if (reload_command_due(sv->instance[i])) {
			supervise_event(sv, (uint16_t)i, LIFE_BECAME_READY);
			moved = true;
		}
		if (sv->service[i].life.state == LIFE_CLEARING &&
		    instance_is_empty(sv->instance[i])) {
			supervise_event(sv, (uint16_t)i, LIFE_EMPTY);
			moved = true;
		}
		if (sv->service[i].renew && !life_is_active(&sv->service[i].life))
			renewed(sv, (uint16_t)i);
		sv->service[i].conditions_hold =
			supervise_conditions_hold(sv, sv->instance[i]->def);
	}
	reload_settle(sv);
	graph_decide(sv->node, sv->service, sv->count);
	for (size_t i = 0; i < sv->count; i++) {
		enum graph_verdict verdict = sv->service[i].verdict;
		if (verdict == GRAPH_STAY)
			continue;
		supervise_event(sv, (uint16_t)i, verdict == GRAPH_GO ? LIFE_GO : LIFE_STOP);
		moved = true;
		/* It came to nothing: what else was decided is to be thought over. */
		if (verdict == GRAPH_GO && sv->service[i].life.state == LIFE_CLEARING)
			break;
	}
	return moved;
}

/* Each decision may make others due, for as many rounds as services stand on each other: if they
 * went on beyond that, all other work goes on beside them. */
void supervise_settle(struct supervisor *sv)
{
	size_t rounds = 0, most = 8 * sv->count + 64;

	while (settle_once(sv) && ++rounds < most)
		;
	if (rounds == most)
		log_warnx("decisions about services contradict each other without end");
	gossip_link_update(sv);
	if (sv->settled)
		sv->settled(sv);
}

static void reap(struct supervisor *sv)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return;
		for (size_t i = 0; i < sv->count; i++) {
			if (sv->instance[i]->sweep == pid)
				instance_swept(sv->instance[i], status);
			sv->instance[i]->leader_reaped |= sv->instance[i]->leader == pid;
			if (main_process_recognized(sv->instance[i], pid, status))
				break;
			if (probe_reaped(sv->instance[i], pid, status) ||
			    helper_reaped(&sv->instance[i]->reload_command.helper, pid, status))
				break;
			if (sv->instance[i]->pid != pid)
				continue;
			if (!instance_goes_on(sv->instance[i], status))
				supervise_event(sv, (uint16_t)i,
						instance_exited(sv->instance[i], status));
			break;
		}
	}
}

/* Of two times the first; 0: none. */
static uint64_t earlier(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

/* Timers of lives, readiness and health; returns the next time one is due, 0: none. */
static uint64_t run_timers(struct supervisor *sv)
{
	uint64_t now_ms = loop_now_ms(), next_ms = 0;

	for (size_t i = 0; i < sv->count; i++) {
		struct instance *instance = sv->instance[i];
		struct life *life = &sv->service[i].life;
		if (life->deadline_ms && life->deadline_ms <= now_ms)
			supervise_event(sv, (uint16_t)i, LIFE_TIMER);
		if (instance->idle_at_ms && instance->idle_at_ms <= now_ms &&
		    demand_is_unused(instance))
			supervise_event(sv, (uint16_t)i, LIFE_UNUSED);
		probe_timers(instance, now_ms);
		struct helper *reload = &instance->reload_command.helper;
		if (reload->again_at_ms && reload->again_at_ms <= now_ms)
			helper_timer(reload);
		if (instance->reload_command.again_at_ms &&
		    instance->reload_command.again_at_ms <= now_ms)
			reload_command_start(instance);
		if (instance->kill_at_ms && instance->kill_at_ms <= now_ms)
			instance_kill_again(instance);
		if (instance->undo_at_ms && instance->undo_at_ms <= now_ms &&
		    !instance_undo_again(instance))
			supervise_event(sv, (uint16_t)i, LIFE_EXIT_BAD);
	}
	supervise_settle(sv);
	for (size_t i = 0; i < sv->count; i++) {
		next_ms = earlier(next_ms, sv->service[i].life.deadline_ms);
		next_ms = earlier(next_ms, sv->instance[i]->idle_at_ms);
		next_ms = earlier(next_ms, probe_next_ms(sv->instance[i]));
		next_ms = earlier(next_ms, sv->instance[i]->reload_command.helper.again_at_ms);
		next_ms = earlier(next_ms, sv->instance[i]->reload_command.again_at_ms);
		next_ms = earlier(next_ms, sv->instance[i]->kill_at_ms);
		next_ms = earlier(next_ms, sv->instance[i]->undo_at_ms);
	}
	next_ms = earlier(next_ms, progress_tell(sv));
	return earlier(earlier(next_ms, sv->goal_deadline_ms), sv->control_due_ms);
}

static bool all_stopped(const struct supervisor *sv)
{
	for (size_t i = 0; i < sv->count; i++)
		if (!instance_rests(sv->instance[i]))
			return false;
	return true;
}

/* Shutdown took too long: kill whatever is left, then give the kernel a last moment. */
static bool force_shutdown(struct supervisor *sv)
{
	if (sv->goal == GOAL_RUN || loop_now_ms() < sv->goal_deadline_ms)
		return false;
	if (sv->goal_forced)
		return true;
	sv->goal_forced = true;
	sv->goal_deadline_ms = loop_now_ms() + SHUTDOWN_LAST_MS;
	for (size_t i = 0; i < sv->count; i++) {
		if (!life_is_active(&sv->service[i].life))
			continue;
		log_warnx("%s: still %s at the end of shutdown: killed", sv->instance[i]->def->name,
			  life_state_name(sv->service[i].life.state));
		instance_act(sv->instance[i], LIFE_DO_KILL);
	}
	return false;
}

void supervise_run(struct supervisor *sv)
{
	for (;;) {
		uint64_t next_ms = run_timers(sv);
		if (sv->goal != GOAL_RUN && (all_stopped(sv) || force_shutdown(sv)))
			return;
		crash_doing("wait or event", NULL);
		loop_turn(&sv->loop, next_ms);
		reap(sv);
	}
}

/* Without cgroups, what could not be told to be a service's: as the last thing, all of it. */
static void end_all_below(void)
{
	pid_t pid = sweep_start(&(struct sweep_run){0});

	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

void supervise_clean_up(struct supervisor *sv)
{
	if (sv->cgroups.fd < 0 && !sv->init)
		end_all_below();
	cgroup_tree_close(&sv->cgroups);
	unlink(sv->notify_path);
}

void supervise_shutdown(struct supervisor *sv, enum goal goal)
{
	if (sv->goal == GOAL_RUN) {
		log_info("stopping all services");
		uint32_t ms = sv->config->shutdown_timeout_ms;
		sv->goal_deadline_ms = loop_now_ms() + (ms ? ms : SHUTDOWN_MS);
		gossip_link_leave(sv);
	}
	sv->goal = goal;
	crash_goal(supervise_goal_name(goal));
	for (size_t i = 0; i < sv->count; i++)
		sv->service[i].wanted = false;
	supervise_settle(sv);
}

const char *supervise_goal_name(enum goal goal)
{
	static const char *const name[] = {
		[GOAL_RUN] = "run",   [GOAL_POWEROFF] = "power off",	[GOAL_REBOOT] = "reboot",
		[GOAL_HALT] = "halt", [GOAL_KEXEC] = "reboot by kexec", [GOAL_EXIT] = "exit",
	};
	return name[goal];
}
