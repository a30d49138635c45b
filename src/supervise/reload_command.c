#include "src/supervise/reload_command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/log.h"
#include "src/supervise/supervise.h"

#define AGAIN_MS	50
#define ENVIRONMENT_MAX 128 /* as much as spawn() takes */

static enum life_state state_of(const struct instance *instance)
{
	return instance->supervisor->service[instance->index].life.state;
}

static void fail(struct instance *instance, const char *why)
{
	struct reload_command *command = &instance->reload_command;

	snprintf(command->problem, sizeof(command->problem), "reload failed: %s", why);
	log_warnx("%s: %s; it goes on as before", instance->def->name, command->problem);
}

static void command_ended(struct helper *helper)
{
	struct instance *instance = helper->owner;

	/* Killed by us: it was late, which is said, or nobody waits for it any more. */
	if (state_of(instance) != LIFE_RELOADING || helper->killed)
		return;
	if (!helper->good)
		fail(instance, helper->text);
	if (!instance->reload_command.says_it_reloads)
		supervise_event(instance->supervisor, instance->index, LIFE_BECAME_READY);
}

void reload_command_init(struct instance *instance)
{
	instance->reload_command = (struct reload_command){0};
	helper_init(&instance->reload_command.helper, instance->supervisor, instance,
		    instance->def->name, "reload", command_ended);
}

/* The service's definition with MAINPID in its environment. Both outlive the fork, no more. */
static void add_main_pid(struct service_def *def, pid_t pid)
{
	static char variable[32], *word[ENVIRONMENT_MAX + 1];
	const struct words *given = &def->environment;

	if (given->count >= ENVIRONMENT_MAX)
		return; /* the command will be refused for that */
	if (given->count)
		memcpy(word, given->word, given->count * sizeof(*word));
	snprintf(variable, sizeof(variable), "MAINPID=%d", (int)pid);
	word[given->count] = variable;
	word[given->count + 1] = NULL;
	def->environment = (struct words){word, given->count + 1};
}

/* A shortage, or the last one's cgroup is not quite empty yet. There is the deadline of the reload.
 */
static bool is_passing(int error)
{
	return error == EBUSY || error == EAGAIN || error == ENOMEM || error == EMFILE ||
	       error == ENFILE;
}

void reload_command_start(struct instance *instance)
{
	struct reload_command *command = &instance->reload_command;
	struct service_def def = *instance->def;
	char text[HELPER_TEXT_BYTES];
	const char *what = "an earlier one still runs";

	command->problem[0] = '\0';
	command->says_it_reloads = false;
	command->again_at_ms = 0;
	add_main_pid(&def, instance->pid);
	const struct helper_run run = {
		.service = &def,
		.command = &instance->def->reload,
		.seccomp = instance->seccomp,
	};
	errno = EBUSY;
	if (!command->helper.running && helper_start(&command->helper, &run, &what) == 0)
		return;
	if (is_passing(errno)) {
		command->again_at_ms = loop_now_ms() + AGAIN_MS;
		return;
	}
	snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
	fail(instance, text);
	command->over = true;
}

void reload_command_follow(struct instance *instance, enum life_state before)
{
	struct reload_command *command = &instance->reload_command;

	if (before == LIFE_RELOADING && state_of(instance) != LIFE_RELOADING) {
		command->over = false;
		command->again_at_ms = 0;
		helper_kill(&command->helper);
	}
	bool anew = before != LIFE_RELOADING && state_of(instance) == LIFE_RELOADING &&
		    !command->helper.running && !command->over && !command->again_at_ms;
	if (anew || state_of(instance) == LIFE_STARTING)
		command->problem[0] = '\0';
}

void reload_command_late(struct instance *instance, const char *time)
{
	const struct helper *helper = &instance->reload_command.helper;
	char text[64];

	snprintf(text, sizeof(text), "%s in %s",
		 instance->reload_command.again_at_ms ? "its command cannot be started"
		 : helper->running && !helper->killed ? "its command has not ended"
						      : "no READY=1 from it",
		 time);
	fail(instance, text);
}

bool reload_command_reloading(struct instance *instance)
{
	struct reload_command *command = &instance->reload_command;
	bool runs = state_of(instance) == LIFE_RELOADING && command->helper.running;

	if (runs)
		command->says_it_reloads = true;
	return runs;
}

bool reload_command_ready(struct instance *instance)
{
	struct reload_command *command = &instance->reload_command;

	command->says_it_reloads = false;
	return state_of(instance) == LIFE_RELOADING && command->helper.running;
}

bool reload_command_due(struct instance *instance)
{
	bool over = instance->reload_command.over;

	instance->reload_command.over = false;
	return over && state_of(instance) == LIFE_RELOADING;
}
