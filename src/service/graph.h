/*
 * Which services ought to run: a pure decision over the whole set, taken again after every change.
 *
 * A service is *held up* while it is wanted, its conditions hold, and all it requires are held up
 * and ready. It starts (GO) when it is held up, all it wants or comes after have settled, none that
 * requires it is still active from before, and none that it conflicts with runs. It stops (STOP)
 * when it is not held up any more and none that requires it is active: so a stop runs from the
 * dependents down, a start from the dependencies up, and what nobody's fate touches keeps running.
 *
 * Of two that exclude each other the one that runs stays; if neither does, the earlier one that can
 * run goes first; if both do, since a reload made them exclude each other, the later one stops.
 *
 * A restart, by an operator or for a changed definition, is a service that is not held up until it
 * has come to rest (`renew`): its dependents go and come with it by the same rules.
 */
#ifndef SUPERVISOR_SERVICE_GRAPH_H
#define SUPERVISOR_SERVICE_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/service/life.h"

#define GRAPH_SERVICES_MAX 512

/* What does not change: indices into the same array. No cycles over requires, wants and after
 * together; none excludes what it requires, directly or through others; what is wanted stands
 * behind what it requires, and a pool behind its members. */
struct graph_node {
	const uint16_t *requires, *wants, *after;
	const uint16_t *conflicts; /* both ways: if a names b, b names a */
	size_t requires_count, wants_count, after_count, conflicts_count;
	bool keeps;   /* runs on while what it requires is on its way back */
	int pool;     /* the pool it is a member of, or -1 */
	bool is_pool; /* held up while wanted and any member is ready */
};

enum graph_block {
	GRAPH_FREE,	   /* not waiting for anyone */
	GRAPH_NOT_WANTED,  /* an operator stopped it, or the machine goes down */
	GRAPH_CONDITION,   /* a condition of its own does not hold */
	GRAPH_REQUIREMENT, /* `blocker` is not ready */
	GRAPH_ORDER,	   /* `blocker`, wanted or earlier in order, has not settled */
	GRAPH_DEPENDENT,   /* `blocker`, which requires it, has to stop first */
	GRAPH_CONFLICT,	   /* `blocker`, which excludes it, runs or comes first */
	GRAPH_RENEW,	   /* it is being restarted */
	GRAPH_NO_MEMBER,   /* a pool without a ready member */
};

enum graph_verdict { GRAPH_STAY, GRAPH_GO, GRAPH_STOP };

struct graph_service {
	/* in */
	bool wanted;
	bool conditions_hold;
	bool renew; /* to be brought to rest, then to run again */
	struct life life;
	/* out */
	bool held_up;
	bool comes_back; /* held up, or would be but for `renew`; and not at its end */
	enum graph_verdict verdict;
	enum graph_block block; /* why it is not running or not stopping yet */
	uint16_t blocker;	/* for REQUIREMENT, ORDER, DEPENDENT, CONFLICT */
};

/* Fills the out fields of service[0..count). count <= GRAPH_SERVICES_MAX. */
void graph_decide(const struct graph_node *node, struct graph_service *service, size_t count);

/* Active services that would stop if `target` did: those that require it, directly or not, or a
 * pool that loses its last member; not those that keep running because it is only restarted.
 * Returns how many; writes at most `max` indices. */
size_t graph_active_dependents(const struct graph_node *node, const struct graph_service *service,
			       size_t count, uint16_t target, bool restart, uint16_t *dependents,
			       size_t max);

#endif
