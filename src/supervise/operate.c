/* What an operator asks for, and what there is to tell one. */
#include <stdio.h>
#include <string.h>

#include "src/supervise/supervise.h"

/* A pool stands for its members. */
static void want(struct supervisor *sv, uint16_t index, bool wanted)
{
	sv->service[index].wanted = wanted && !sv->instance[index]->leaving;
	for (size_t i = 0; i < sv->count; i++)
		if (sv->node[i].pool == (int)index)
			sv->service[i].wanted = wanted;
}

/* The service, all it requires, and of pools the members, as a set. */
static void mark_all_required(const struct supervisor *sv, uint16_t index, bool *marked)
{
	marked[index] = true;
	for (size_t i = 0; i < sv->count; i++)
		marked[i] |= sv->node[i].pool == (int)index;
	/* Whatever a service requires stands before it: one way down meets them all, each once. */
	for (size_t i = sv->count; i-- > 0;) {
		if (!marked[i])
			continue;
		for (size_t k = 0; k < sv->node[i].requires_count; k++)
			marked[sv->node[i].requires[k]] = true;
		for (size_t m = 0; sv->node[i].is_pool && m < i; m++)
			marked[m] |= sv->node[m].pool == (int)i;
	}
}

/* "needed by a b c and 3 more; --force stops them too". Always -1. */
static int refuse(const struct supervisor *sv, const char *verb, const uint16_t *others,
		  size_t count, char *why, size_t why_bytes)
{
	size_t shown = 0, used = (size_t)snprintf(why, why_bytes, "%s", verb);

	for (; shown < count && used < why_bytes - 40; shown++)
		used += (size_t)snprintf(why + used, why_bytes - used, " %s",
					 sv->instance[others[shown]]->def->name);
	if (shown < count && used < why_bytes)
		used += (size_t)snprintf(why + used, why_bytes - used, " and %zu more",
					 count - shown);
	if (used < why_bytes)
		snprintf(why + used, why_bytes - used, "; --force stops %s too",
			 count == 1 ? "it" : "them");
	return -1;
}

static int refuse_if_needed(const struct supervisor *sv, uint16_t index, bool restart, bool force,
			    char *why, size_t why_bytes)
{
	uint16_t dependents[SERVICES_MAX];

	if (force)
		return 0;
	size_t count = graph_active_dependents(sv->node, sv->service, sv->count, index, restart,
					       dependents, SERVICES_MAX);
	return count ? refuse(sv, "needed by", dependents, count, why, why_bytes) : 0;
}

int supervise_start(struct supervisor *sv, uint16_t index, bool force, char *why, size_t why_bytes)
{
	bool marked[SERVICES_MAX] = {false}, excluded[SERVICES_MAX] = {false};
	uint16_t others[SERVICES_MAX];
	size_t count = 0;

	if (sv->goal != GOAL_RUN) {
		snprintf(why, why_bytes, "this node is shutting down");
		return -1;
	}
	if (sv->instance[index]->leaving) {
		snprintf(why, why_bytes, "it is in the configuration no more, and stops");
		return -1;
	}
	mark_all_required(sv, index, marked);
	for (size_t i = 0; i < sv->count; i++)
		for (size_t k = 0; marked[i] && k < sv->node[i].conflicts_count; k++)
			excluded[sv->node[i].conflicts[k]] = true;
	for (size_t i = 0; i < sv->count; i++)
		if (excluded[i] && sv->service[i].wanted)
			others[count++] = (uint16_t)i;
	if (count && !force)
		return refuse(sv, "conflicts with", others, count, why, why_bytes);
	for (size_t i = 0; i < count; i++)
		want(sv, others[i], false);
	for (size_t i = 0; i < sv->count; i++) {
		if (!marked[i])
			continue;
		want(sv, (uint16_t)i, true);
		supervise_event(sv, (uint16_t)i, LIFE_RESET);
	}
	supervise_settle(sv);
	return 0;
}

int supervise_stop(struct supervisor *sv, uint16_t index, bool force, char *why, size_t why_bytes)
{
	if (refuse_if_needed(sv, index, false, force, why, why_bytes) < 0)
		return -1;
	want(sv, index, false);
	supervise_settle(sv);
	return 0;
}

int supervise_restart(struct supervisor *sv, uint16_t index, bool force, char *why,
		      size_t why_bytes)
{
	if (sv->goal == GOAL_RUN && refuse_if_needed(sv, index, true, force, why, why_bytes) < 0)
		return -1;
	if (sv->goal == GOAL_RUN)
		for (size_t i = 0; i < sv->count; i++) {
			if (i != index && sv->node[i].pool != (int)index)
				continue;
			sv->service[i].renew = true;
			sv->instance[i]->only_reload = false;
		}
	return supervise_start(sv, index, force, why, why_bytes);
}

static void why_condition(const struct supervisor *sv, const struct service_def *def, char *text,
			  size_t bytes)
{
	for (size_t i = 0; i < def->condition_count; i++) {
		const struct condition *condition = &def->condition[i];
		const struct cluster_address *address = NULL;
		if (condition->kind == CONDITION_LEASE && sv->config->cluster)
			address = cluster_find_address(sv->config->cluster, condition->argument);
		if (address && address->prefer != sv->config->self)
			snprintf(text, bytes, "lease %s is held by %s", address->name,
				 address->prefer->name);
		else if (condition->kind == CONDITION_PATH)
			snprintf(text, bytes, "waits for %s", condition->argument);
		else
			continue;
		return;
	}
}

const char *supervise_why(const struct supervisor *sv, uint16_t index, char *text, size_t bytes)
{
	const struct graph_service *s = &sv->service[index];
	const struct instance *instance = sv->instance[index];
	const char *other = sv->instance[s->blocker]->def->name;

	text[0] = '\0';
	switch (s->life.state) {
	case LIFE_IDLE:
		if (instance->def->refused)
			snprintf(text, bytes, "refused: %s", instance->def->refused);
		else if (s->block == GRAPH_CONFLICT)
			snprintf(text, bytes, "conflicts with %s", other);
		else if (s->block == GRAPH_CONDITION)
			why_condition(sv, instance->def, text, bytes);
		else if (s->block == GRAPH_REQUIREMENT)
			snprintf(text, bytes, "requires %s", other);
		else if (s->block == GRAPH_ORDER)
			snprintf(text, bytes, "starts after %s", other);
		else if (s->block == GRAPH_DEPENDENT)
			snprintf(text, bytes, "waits for %s to stop", other);
		else if (s->block == GRAPH_NO_MEMBER)
			snprintf(text, bytes, "no member is ready");
		else if (instance->reason[0])
			snprintf(text, bytes, "%s", instance->reason);
		break;
	case LIFE_STARTING:
		if (instance->status[0])
			snprintf(text, bytes, "%s", instance->status);
		else
			probe_why(instance, text, bytes);
		break;
	case LIFE_READY:
		if (!s->held_up && s->block == GRAPH_DEPENDENT)
			snprintf(text, bytes, "waits for %s to stop", other);
		else
			probe_why(instance, text, bytes);
		if (text[0] == '\0')
			snprintf(text, bytes, "%s",
				 instance->reload_command.problem[0]
					 ? instance->reload_command.problem
					 : instance->status);
		break;
	case LIFE_RELOADING:
		snprintf(text, bytes, "%s", instance->status);
		break;
	default:
		snprintf(text, bytes, "%s%s", s->life.given_up ? "too many restarts; " : "",
			 instance->reason);
		break;
	}
	return text;
}

bool supervise_all_ready(const struct supervisor *sv, unsigned *ready, unsigned *failed)
{
	bool all = true;

	*ready = *failed = 0;
	for (size_t i = 0; i < sv->count; i++) {
		const struct graph_service *s = &sv->service[i];
		if (s->life.state == LIFE_READY || s->life.stands)
			++*ready;
		else if (s->life.state == LIFE_FAILED || s->life.state == LIFE_BACKOFF)
			++*failed;
		if (s->wanted && s->conditions_hold && !s->life.stands &&
		    s->life.state != LIFE_READY && s->life.state != LIFE_ENDED)
			all = false;
	}
	return all;
}
