#include "src/control/progress.h"

#include <stdio.h>

static bool has_given_up(const struct graph_service *s)
{
	return s->life.state == LIFE_FAILED || s->life.state == LIFE_ENDED ||
	       s->life.state == LIFE_BACKOFF;
}

/* Of a pool without a ready member: one that may yet be, -1: none. */
static int hopeful_member(const struct supervisor *sv, size_t pool)
{
	for (size_t i = 0; i < sv->count; i++)
		if (sv->node[i].pool == (int)pool && !has_given_up(&sv->service[i]))
			return (int)i;
	return -1;
}

/* It, or what it waits for, has failed or must not run: asking for it was not enough. */
static bool is_stuck(const struct supervisor *sv, size_t index)
{
	/* Whom one waits for stands before it, or is a member of the pool: no way is longer. */
	for (size_t steps = 0; steps <= 2 * sv->count; steps++) {
		const struct graph_service *s = &sv->service[index];
		if (has_given_up(s))
			return true;
		if (s->life.state != LIFE_IDLE)
			return false;
		if (!s->wanted || s->block == GRAPH_CONDITION)
			return true;
		int next = s->block == GRAPH_REQUIREMENT ? s->blocker
			   : s->block == GRAPH_NO_MEMBER ? hopeful_member(sv, index)
							 : (int)index;
		if (next == (int)index)
			return false;
		if (next < 0)
			return true;
		index = (size_t)next;
	}
	return false;
}

static enum progress of_stop(const struct supervisor *sv, uint16_t index)
{
	for (size_t i = 0; i < sv->count; i++)
		if (sv->node[i].pool == (int)index && life_is_active(&sv->service[i].life))
			return PROGRESS_UNDER_WAY;
	return life_is_active(&sv->service[index].life) ? PROGRESS_UNDER_WAY : PROGRESS_THERE;
}

/* A pool's members read their files again, each for itself. */
static bool some_reload(const struct supervisor *sv, uint16_t index)
{
	for (size_t i = 0; i < sv->count; i++)
		if ((i == index || sv->node[i].pool == (int)index) &&
		    sv->service[i].life.state == LIFE_RELOADING)
			return true;
	return false;
}

static bool some_reload_failed(const struct supervisor *sv, uint16_t index)
{
	for (size_t i = 0; i < sv->count; i++)
		if ((i == index || sv->node[i].pool == (int)index) &&
		    sv->instance[i]->reload_command.problem[0])
			return true;
	return false;
}

enum progress progress_of(const struct supervisor *sv, enum control_verb verb, uint16_t index,
			  uint32_t starts_before)
{
	const struct graph_service *s = &sv->service[index];

	if (verb == CONTROL_STOP)
		return of_stop(sv, index);
	if (verb == CONTROL_RELOAD && some_reload(sv, index))
		return PROGRESS_UNDER_WAY;
	if (verb == CONTROL_RELOAD && some_reload_failed(sv, index))
		return PROGRESS_STUCK;
	bool new = verb != CONTROL_RESTART || s->life.starts != starts_before ||
		   sv->instance[index]->policy.runs_nothing;
	if ((s->life.state == LIFE_READY || s->life.stands) && new)
		return PROGRESS_THERE;
	return is_stuck(sv, index) ? PROGRESS_STUCK : PROGRESS_UNDER_WAY;
}

static enum progress of_reloaded(const struct supervisor *sv, size_t index)
{
	const struct graph_service *s = &sv->service[index];

	if (s->renew || sv->instance[index]->next)
		return PROGRESS_UNDER_WAY;
	if (!s->wanted)
		return life_is_active(&s->life) ? PROGRESS_UNDER_WAY : PROGRESS_THERE;
	if (s->life.state == LIFE_FAILED || s->life.state == LIFE_BACKOFF)
		return PROGRESS_STUCK;
	if (s->life.state == LIFE_READY || s->life.state == LIFE_ENDED || s->life.stands)
		return PROGRESS_THERE;
	/* One that waits for a condition, or for somebody who has failed, is where it has to be. */
	return is_stuck(sv, index) ? PROGRESS_THERE : PROGRESS_UNDER_WAY;
}

enum progress progress_of_reload(const struct supervisor *sv, uint32_t number, char *text,
				 size_t text_bytes)
{
	enum progress all = PROGRESS_THERE;
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < sv->count; i++) {
		enum progress one = sv->instance[i]->leaving ? PROGRESS_UNDER_WAY : PROGRESS_THERE;
		if (sv->instance[i]->reloaded == number)
			one = of_reloaded(sv, i);
		if (one == PROGRESS_UNDER_WAY)
			return one;
		if (one == PROGRESS_THERE)
			continue;
		all = one;
		if (used < text_bytes)
			used += (size_t)snprintf(
				text + used, text_bytes - used, "%s%s",
				used ? " " : "failed: ", sv->instance[i]->def->name);
	}
	return all;
}
