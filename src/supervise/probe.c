#include "src/supervise/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/supervise/filters.h"
#include "src/supervise/notify.h"
#include "src/supervise/supervise.h"

/* Between two tries of a readiness command, doubled each time. */
#define AGAIN_MS     50
#define AGAIN_MAX_MS 1000

static void helper_ended(struct helper *helper);

static enum life_state state_of(const struct instance *instance)
{
	return instance->supervisor->service[instance->index].life.state;
}

static struct health_policy policy_of(const struct service_def *def)
{
	return (struct health_policy){
		.has_check = def->check.argv.count > 0,
		.interval_ms = def->check_interval_ms,
		.timeout_ms = def->check_timeout_ms,
		.retries = def->check_retries,
		.start_period_ms = def->check_start_period_ms,
		.watchdog_ms = def->watchdog_ms,
	};
}

/* --- the child */

/* Whether it is our own worker, which needs next to nothing. */
static bool is_check_worker(const struct command *command)
{
	return command->builtin && command->argv.count > 0 &&
	       strcmp(command->argv.word[0], "check") == 0;
}

/* Compiled when the first service that needs it is loaded. False after having said what failed. */
static bool take_filter(struct instance *instance)
{
	struct probe *probe = &instance->probe;
	const struct service_def *def = instance->def;

	probe->filter = NULL;
	probe->no_filter = false;
	if (!is_check_worker(&def->check) && !is_check_worker(&def->ready_probe))
		return true;
/* The sanitizers' own calls are in no list. */
#ifndef __SANITIZE_ADDRESS__
	char group[] = "@check", *word[] = {group, NULL}, error[REASON_BYTES];

	probe->filter = filter_get(&(struct words){word, 1}, error, sizeof(error));
	probe->no_filter = !probe->filter;
	if (probe->no_filter)
		log_warnx("%s: check: seccomp: %s", def->name, error);
#endif
	return !probe->no_filter;
}

/* The service's user, and its root, in which the path of a socket is to be looked up. */
static struct service_def check_def(const struct service_def *def)
{
	struct service_def reduced = *def;

	reduced.capabilities = 0;
	reduced.all_capabilities = def->all_capabilities && geteuid() != 0;
	reduced.no_new_privileges = true;
	reduced.private_tmp = false;
	reduced.hidden = reduced.environment = (struct words){0};
	reduced.limit_count = 0;
	reduced.directory = NULL;
	reduced.nice = 0;
	reduced.share = (struct process_share){0};
	return reduced;
}

bool probe_init(struct instance *instance)
{
	struct probe *probe = &instance->probe;
	const struct service_def *def = instance->def;

	*probe = (struct probe){.policy = policy_of(def)};
	helper_init(&probe->helper, instance->supervisor, instance, def->name, "check",
		    helper_ended);
	return take_filter(instance);
}

static int start_child(struct instance *instance, const struct command *command, const char **what)
{
	struct helper_run run = {
		.service = instance->def,
		.command = command,
		.seccomp = instance->seccomp,
	};
	struct service_def reduced;

	if (is_check_worker(command)) {
		if (instance->probe.no_filter) {
			*what = "system call filter";
			errno = ENOMEM;
			return -1;
		}
		reduced = check_def(instance->def);
		run.service = &reduced;
		run.seccomp = instance->probe.filter;
		run.starts_nothing = true;
	}
	return helper_start(&instance->probe.helper, &run, what);
}

/* --- readiness */

static void pause_before_again(struct probe *probe)
{
	probe->again_at_ms = loop_now_ms() + probe->again_after_ms;
	probe->again_after_ms *= 2;
	if (probe->again_after_ms > AGAIN_MAX_MS)
		probe->again_after_ms = AGAIN_MAX_MS;
}

/* As soon as nothing of an earlier one is left. */
static void ask_readiness(struct instance *instance)
{
	struct probe *probe = &instance->probe;
	const char *what;

	probe->again_at_ms = 0;
	if (!probe->awaits || probe->helper.running)
		return;
	probe->is_check = false;
	if (start_child(instance, &instance->def->ready_probe, &what) == 0)
		return;
	snprintf(probe->helper.text, sizeof(probe->helper.text), "%s: %s", what, strerror(errno));
	pause_before_again(probe);
}

void probe_begin(struct instance *instance)
{
	struct probe *probe = &instance->probe;

	if (instance->def->ready != READY_PROBE)
		return;
	probe->awaits = true;
	probe->again_after_ms = AGAIN_MS;
	ask_readiness(instance);
}

static void readiness_told(struct instance *instance)
{
	struct probe *probe = &instance->probe;

	if (!probe->awaits)
		return;
	if (probe->helper.good) {
		probe->awaits = false;
		supervise_event(instance->supervisor, instance->index, LIFE_BECAME_READY);
	} else {
		pause_before_again(probe);
	}
}

/* --- health */

/* 0 to 24 h: seconds, unless that would be less than the truth. */
static const char *duration(uint32_t ms, char text[16])
{
	if (ms % 1000)
		snprintf(text, 16, "%u ms", ms);
	else
		snprintf(text, 16, "%u s", ms / 1000);
	return text;
}

static void note_unhealthy(struct instance *instance)
{
	const struct probe *probe = &instance->probe;
	char time[16];

	switch (probe->health.cause) {
	case HEALTH_NO_PING:
		snprintf(instance->reason, sizeof(instance->reason),
			 "unhealthy: no WATCHDOG=1 in %s",
			 duration(probe->health.watchdog_ms, time));
		break;
	case HEALTH_TRIGGERED:
		snprintf(instance->reason, sizeof(instance->reason),
			 "unhealthy: it says so (WATCHDOG=trigger)");
		break;
	default:
		snprintf(instance->reason, sizeof(instance->reason), "unhealthy: %s", probe->text);
	}
}

static void note_result(struct instance *instance, enum probe_result result, const char *text)
{
	struct probe *probe = &instance->probe;

	/* Once for each row of failures, and once when it is over: not every ten seconds. */
	if (result == PROBE_BAD && probe->result != PROBE_BAD)
		log_warnx("%s: check failed: %s", instance->def->name, text);
	else if (result == PROBE_GOOD && probe->result == PROBE_BAD)
		log_info("%s: well again: %s", instance->def->name, text);
	probe->result = result;
	snprintf(probe->text, sizeof(probe->text), "%s", text);
}

/* What it wrote before it was killed may be just what was in the way. */
static void note_timeout_of_check(struct instance *instance)
{
	struct probe *probe = &instance->probe;
	char text[HELPER_TEXT_BYTES], time[16];

	if (probe->timed_out) /* said already: it does not die */
		return;
	probe->timed_out = true;
	int used = snprintf(text, sizeof(text), "no answer in %s",
			    duration(probe->policy.timeout_ms, time));
	if (probe->helper.text[0])
		snprintf(text + used, sizeof(text) - (size_t)used, "; it said: %s",
			 probe->helper.text);
	note_result(instance, PROBE_BAD, text);
}

/* The event that follows at once from a check that could not be started; HEALTH_EVENTS: none, it
 * runs. */
static enum health_event run_check(struct instance *instance)
{
	struct probe *probe = &instance->probe;
	const char *what;

	probe->is_check = true;
	probe->timed_out = false;
	if (start_child(instance, &instance->def->check, &what) == 0) {
		probe->lost = false;
		return HEALTH_EVENTS;
	}
	/* Out of processes, memory, descriptors: not the service's doing. */
	snprintf(probe->text, sizeof(probe->text), "not run: %s: %s", what, strerror(errno));
	if (!probe->lost)
		log_warnx("%s: check %s", instance->def->name, probe->text);
	probe->lost = true;
	return HEALTH_CHECK_LOST;
}

static void health_event(struct instance *instance, enum health_event event)
{
	struct probe *probe = &instance->probe;

	while (event != HEALTH_EVENTS) {
		bool was_checking = probe->health.state == HEALTH_CHECKING;
		unsigned actions =
			health_step(&probe->health, &probe->policy, event, loop_now_ms());
		event = HEALTH_EVENTS;
		if (actions & HEALTH_DO_KILL_CHECK) {
			helper_kill(&probe->helper);
			if (was_checking && (probe->health.state == HEALTH_KILLING ||
					     (actions & HEALTH_DO_UNHEALTHY &&
					      probe->health.cause == HEALTH_CHECKS_FAILED)))
				note_timeout_of_check(instance);
		}
		if (actions & HEALTH_DO_RUN_CHECK)
			event = run_check(instance);
		if (actions & HEALTH_DO_UNHEALTHY) {
			note_unhealthy(instance);
			supervise_event(instance->supervisor, instance->index, LIFE_UNHEALTHY);
		}
	}
}

static void check_told(struct instance *instance)
{
	struct probe *probe = &instance->probe;
	const struct helper *helper = &probe->helper;

	if (!helper->killed)
		note_result(instance, helper->good ? PROBE_GOOD : PROBE_BAD, helper->text);
	health_event(instance, helper->good ? HEALTH_CHECK_OK : HEALTH_CHECK_BAD);
}

static void helper_ended(struct helper *helper)
{
	struct instance *instance = helper->owner;

	if (instance->probe.is_check)
		check_told(instance);
	else
		readiness_told(instance);
	/* It may have waited for a check of the run before to be gone. */
	if (!instance->probe.again_at_ms)
		ask_readiness(instance);
}

void probe_ping(struct instance *instance)
{
	health_event(instance, HEALTH_PING);
}

void probe_trigger(struct instance *instance)
{
	health_event(instance, HEALTH_TRIGGER);
}

void probe_set_watchdog(struct instance *instance, uint32_t watchdog_ms)
{
	struct probe *probe = &instance->probe;

	health_set_watchdog(&probe->health, &probe->policy, watchdog_ms, loop_now_ms());
}

/* --- what drives it */

static void run_begins(struct instance *instance)
{
	struct probe *probe = &instance->probe;

	probe->result = PROBE_NONE;
	probe->text[0] = '\0';
	if (!probe->helper.running)
		probe->helper.text[0] = '\0';
	health_event(instance, HEALTH_STARTED);
}

void probe_follow(struct instance *instance, enum life_state before, uint32_t starts)
{
	struct probe *probe = &instance->probe;
	const struct life *life = &instance->supervisor->service[instance->index].life;

	if (before == life->state && starts == life->starts)
		return;
	if (life->state != LIFE_STARTING && probe->awaits) {
		probe->awaits = false;
		probe->again_at_ms = 0;
		if (!probe->is_check)
			helper_kill(&probe->helper);
	}
	if (starts != life->starts)
		run_begins(instance);
	if (before == LIFE_READY && life->state != LIFE_READY)
		health_event(instance, HEALTH_NOT_READY);
	else if (before != LIFE_READY && life->state == LIFE_READY)
		health_event(instance, HEALTH_READY);
}

void probe_redefine(struct instance *instance)
{
	health_event(instance, HEALTH_NOT_READY);
	instance->probe.policy = policy_of(instance->def);
	take_filter(instance);
	if (state_of(instance) == LIFE_READY)
		health_event(instance, HEALTH_READY);
}

bool probe_reaped(struct instance *instance, pid_t pid, int status)
{
	return helper_reaped(&instance->probe.helper, pid, status);
}

void probe_timers(struct instance *instance, uint64_t now_ms)
{
	struct probe *probe = &instance->probe;

	if (probe->helper.again_at_ms && probe->helper.again_at_ms <= now_ms)
		helper_timer(&probe->helper);
	if (probe->again_at_ms && probe->again_at_ms <= now_ms)
		ask_readiness(instance);
	/* A ping that came in time may still wait behind other events. */
	if (probe->health.ping_ms && probe->health.ping_ms <= now_ms)
		notify_drain(instance->supervisor);
	if (probe->health.deadline_ms && probe->health.deadline_ms <= now_ms)
		health_event(instance, HEALTH_TIMER);
}

uint64_t probe_next_ms(const struct instance *instance)
{
	const struct probe *probe = &instance->probe;
	const uint64_t due_ms[] = {probe->helper.again_at_ms, probe->again_at_ms,
				   probe->health.deadline_ms};
	uint64_t next_ms = 0;

	for (size_t i = 0; i < sizeof(due_ms) / sizeof(due_ms[0]); i++)
		if (due_ms[i] && (next_ms == 0 || due_ms[i] < next_ms))
			next_ms = due_ms[i];
	return next_ms;
}

/* --- words */

/* What a service that is not ready has not done yet. */
static void awaited(const struct instance *instance, char *text, size_t bytes)
{
	const struct service_def *def = instance->def;
	const char *why = instance->ready_problem;

	switch (def->ready) {
	case READY_NOW:
		snprintf(text, bytes, "its program does not get to run");
		break;
	case READY_NOTIFY:
		snprintf(text, bytes, "no READY=1 from it");
		break;
	case READY_FD:
		snprintf(text, bytes, "nothing on its descriptor %d%s%s", def->ready_fd,
			 *why ? ": " : "", why);
		break;
	case READY_PID_FILE:
		snprintf(text, bytes, "no pid in %s%s%s", def->ready_path, *why ? ": " : "", why);
		break;
	case READY_PROBE:
		if (instance->probe.helper.text[0] && !instance->probe.is_check)
			snprintf(text, bytes, "%s%s%s",
				 is_check_worker(&def->ready_probe) ? "" : def->ready_text,
				 is_check_worker(&def->ready_probe) ? "" : ": ",
				 instance->probe.helper.text);
		else
			snprintf(text, bytes, "%s does not answer", def->ready_text);
		break;
	default:
		snprintf(text, bytes, "still running");
	}
}

void probe_note_timeout(struct instance *instance, enum life_state state)
{
	const struct life_policy *policy = &instance->policy;
	char text[HELPER_TEXT_BYTES], time[16];

	if (state == LIFE_STARTING) {
		awaited(instance, text, sizeof(text));
		snprintf(instance->reason, sizeof(instance->reason), "not ready in %s: %s",
			 duration(policy->start_timeout_ms, time), text);
	} else if (state == LIFE_RELOADING) {
		reload_command_late(instance, duration(policy->start_timeout_ms, time));
	} else if (state == LIFE_STOPPING && instance->reason[0] == '\0') {
		snprintf(instance->reason, sizeof(instance->reason), "did not stop in %s, killed",
			 duration(policy->stop_timeout_ms, time));
	} else if (state == LIFE_UNDOING) {
		snprintf(instance->reason, sizeof(instance->reason),
			 "stop command not done in %s, killed",
			 duration(policy->stop_timeout_ms, time));
	}
}

void probe_why(const struct instance *instance, char *text, size_t bytes)
{
	const struct probe *probe = &instance->probe;

	text[0] = '\0';
	if (state_of(instance) == LIFE_STARTING && instance->def->kind == SERVICE_DAEMON &&
	    instance->def->ready != READY_NOW)
		awaited(instance, text, bytes);
	else if (state_of(instance) == LIFE_READY && probe->result == PROBE_BAD)
		snprintf(text, bytes, "check failed: %s", probe->text);
}
