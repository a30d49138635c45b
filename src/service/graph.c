#include "src/service/graph.h"

static void block(struct graph_service *s, enum graph_block why, uint16_t blocker)
{
	s->held_up = s->comes_back = false;
	s->block = why;
	s->blocker = blocker;
}

static bool is_ready(const struct graph_service *s)
{
	return life_is_up(&s->life) && s->held_up;
}

/* `i` may run on what it requires: that is ready; or `i` runs or listens already, and what it
 * requires only reloads, or is on its way back and `i` does not mind. */
static bool is_carried(const struct graph_node *node, const struct graph_service *service, size_t i,
		       uint16_t required)
{
	const struct graph_service *r = &service[required];
	bool runs = life_is_active(&service[i].life) || service[i].life.stands;

	if (runs && node[i].keeps && r->comes_back)
		return true;
	return is_ready(r) && (runs || r->life.state != LIFE_RELOADING);
}

/* On its way and worth waiting for: it runs towards readiness, or waits for others that do. Depth
 * is bounded: no cycles. */
static bool is_coming(const struct graph_node *node, const struct graph_service *service,
		      size_t count, size_t i)
{
	const struct graph_service *s = &service[i];

	if (s->life.stands)
		return false; /* as far as others go, it is there */
	switch (s->life.state) {
	case LIFE_STARTING:
		return true;
	case LIFE_IDLE:
		if (s->held_up || s->block == GRAPH_ORDER)
			return true;
		if (s->block == GRAPH_REQUIREMENT)
			return is_coming(node, service, count, s->blocker);
		if (s->block == GRAPH_NO_MEMBER)
			for (size_t m = 0; m < count; m++)
				if (node[m].pool == (int)i && is_coming(node, service, count, m))
					return true;
		return false;
	case LIFE_STOPPING:
	case LIFE_CLEARING:
	case LIFE_UNDOING:
		return s->comes_back;
	default:
		return false;
	}
}

/* Of two that exclude each other and may both run, the earlier one does; one that runs stays. */
static bool excludes(const struct graph_node *node, const struct graph_service *service,
		     size_t count, size_t i, uint16_t other)
{
	const struct graph_service *o = &service[other];

	if (life_is_active(&service[i].life)) /* both run: only a reload can have made that wrong */
		return other < i && life_is_active(&o->life) && o->held_up;
	if (life_is_active(&o->life))
		return true;
	return other < i && o->wanted && o->conditions_hold &&
	       (o->life.state == LIFE_BACKOFF || o->life.stands ||
		is_coming(node, service, count, other));
}

/* A pool is ready while any member is. */
static void judge_pool(const struct graph_node *node, struct graph_service *service, size_t count,
		       size_t i)
{
	bool comes_back = false;

	for (size_t m = 0; m < count; m++) {
		if (node[m].pool != (int)i)
			continue;
		if (is_ready(&service[m]))
			return;
		comes_back |= service[m].comes_back;
	}
	block(&service[i], GRAPH_NO_MEMBER, 0);
	service[i].comes_back = comes_back;
}

/* One service's held_up from its neighbours' present values. */
static void judge(const struct graph_node *node, struct graph_service *service, size_t count,
		  size_t i)
{
	struct graph_service *s = &service[i];

	s->held_up = true;
	s->comes_back = s->life.state != LIFE_FAILED && s->life.state != LIFE_ENDED;
	s->block = GRAPH_FREE;
	if (!s->wanted) {
		block(s, GRAPH_NOT_WANTED, 0);
		return;
	}
	if (!s->conditions_hold) {
		block(s, GRAPH_CONDITION, 0);
		return;
	}
	if (node[i].is_pool)
		judge_pool(node, service, count, i);
	for (size_t k = node[i].requires_count; k-- > 0;) {
		uint16_t r = node[i].requires[k];
		if (is_carried(node, service, i, r))
			continue;
		s->held_up = false;
		s->comes_back = s->comes_back && service[r].comes_back;
		s->block = GRAPH_REQUIREMENT;
		s->blocker = r;
	}
	for (size_t k = 0; k < node[i].conflicts_count; k++) {
		if (excludes(node, service, count, i, node[i].conflicts[k])) {
			block(s, GRAPH_CONFLICT, node[i].conflicts[k]);
			return;
		}
	}
	if (s->held_up && s->renew) {
		s->held_up = false;
		s->block = GRAPH_RENEW;
	}
}

/*
 * Everything starts as held up as its life says and only ever loses that: the greatest fixed point.
 * Each round settles at least one service of a chain, so `count` rounds are enough; a set loaded in
 * dependency order needs one or two.
 */
static void judge_all(const struct graph_node *node, struct graph_service *service, size_t count)
{
	for (size_t i = 0; i < count; i++)
		service[i].held_up = service[i].comes_back = true;
	for (size_t round = 0; round <= count; round++) {
		bool changed = false;
		for (size_t i = 0; i < count; i++) {
			bool held_up = service[i].held_up, comes_back = service[i].comes_back;
			judge(node, service, count, i);
			changed |= held_up != service[i].held_up ||
				   comes_back != service[i].comes_back;
		}
		if (!changed)
			return;
	}
}

static bool settled(const struct graph_node *node, struct graph_service *service, size_t count,
		    size_t i, const uint16_t *list, size_t list_count)
{
	for (size_t k = 0; k < list_count; k++) {
		if (is_coming(node, service, count, list[k])) {
			service[i].block = GRAPH_ORDER;
			service[i].blocker = list[k];
			return false;
		}
	}
	return true;
}

static bool lists(const uint16_t *list, size_t list_count, size_t target)
{
	for (size_t k = 0; k < list_count; k++)
		if (list[k] == target)
			return true;
	return false;
}

/*
 * The first active service that `target` may not start or stop under: one that requires it, and, on
 * the way down, also one that is ordered after it and has to stop as well. -1: none.
 */
static int active_dependent(const struct graph_node *node, const struct graph_service *service,
			    size_t count, size_t target, bool going_down)
{
	/* On demand, and its sockets open: they stand on it as ever. */
	bool goes_on = !going_down && service[target].life.stands;

	for (size_t i = 0; i < count; i++) {
		if (!life_is_active(&service[i].life))
			continue;
		bool minds = !goes_on && (!node[i].keeps || !service[target].comes_back);
		if (minds && lists(node[i].requires, node[i].requires_count, target))
			return (int)i;
		if (going_down && !service[i].held_up &&
		    (lists(node[i].wants, node[i].wants_count, target) ||
		     lists(node[i].after, node[i].after_count, target)))
			return (int)i;
	}
	return -1;
}

static void decide(const struct graph_node *node, struct graph_service *service, size_t count,
		   size_t i)
{
	struct graph_service *s = &service[i];
	int dependent;

	s->verdict = GRAPH_STAY;
	switch (s->life.state) {
	case LIFE_IDLE:
		if (!s->held_up && s->life.stands)
			break; /* on demand, between two tries: its sockets are still open */
		if (!s->held_up)
			return;
		dependent = active_dependent(node, service, count, i, false);
		if (dependent >= 0) {
			s->block = GRAPH_DEPENDENT;
			s->blocker = (uint16_t)dependent;
			return;
		}
		if (settled(node, service, count, i, node[i].wants, node[i].wants_count) &&
		    settled(node, service, count, i, node[i].after, node[i].after_count))
			s->verdict = GRAPH_GO;
		return;
	case LIFE_LISTENING:
	case LIFE_STARTING:
	case LIFE_READY:
	case LIFE_RELOADING:
		if (s->held_up)
			return;
		break;
	case LIFE_BACKOFF:
	case LIFE_ENDED:
	case LIFE_FAILED:
		/* Only an operator's stop ends these; a dependency that comes and goes does not
		 * grant new tries. */
		if (!s->wanted)
			s->verdict = GRAPH_STOP;
		return;
	default:
		if (!s->held_up && !s->life.stop_asked)
			s->verdict = GRAPH_STOP;
		return;
	}
	dependent = active_dependent(node, service, count, i, true);
	if (dependent >= 0) {
		s->block = GRAPH_DEPENDENT;
		s->blocker = (uint16_t)dependent;
		return;
	}
	s->verdict = GRAPH_STOP;
}

void graph_decide(const struct graph_node *node, struct graph_service *service, size_t count)
{
	judge_all(node, service, count);
	for (size_t i = 0; i < count; i++)
		decide(node, service, count, i);
}

/* Of a pool's members that are up, all are among those that stop, and there are such. */
static bool loses_members(const struct graph_node *node, const struct graph_service *service,
			  size_t count, size_t pool, const bool *stops)
{
	bool some = false;

	for (size_t m = 0; m < count; m++) {
		if (node[m].pool != (int)pool || !life_is_up(&service[m].life))
			continue;
		if (!stops[m])
			return false;
		some = true;
	}
	return some;
}

size_t graph_active_dependents(const struct graph_node *node, const struct graph_service *service,
			       size_t count, uint16_t target, bool restart, uint16_t *dependents,
			       size_t max)
{
	bool stops[GRAPH_SERVICES_MAX] = {false};
	size_t found = 0;
	bool grew = true;

	stops[target] = true;
	while (grew) {
		grew = false;
		for (size_t i = 0; i < count; i++) {
			if (stops[i] || !life_is_active(&service[i].life))
				continue;
			stops[i] = node[i].is_pool && loses_members(node, service, count, i, stops);
			bool stays = restart && node[i].keeps;
			for (size_t k = 0; k < node[i].requires_count && !stays && !stops[i]; k++)
				stops[i] = stops[node[i].requires[k]];
			if (!stops[i])
				continue;
			grew = true;
			if (node[i].is_pool)
				continue; /* nothing of its own that anybody could miss */
			if (found < max)
				dependents[found] = (uint16_t)i;
			found++;
		}
	}
	return found;
}
