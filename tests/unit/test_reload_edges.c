/*
 * One random set of services in place of another: what still runs by its old definition keeps its
 * old order on the way down, and however the old dependencies and the new ones contradict each
 * other, nobody waits for ever. Lives are played as in test_graph.c: GO leads to ready, STOP to
 * idle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/supervise/edges.h"

#define MAX    10
#define ROUNDS 20000

static struct supervisor sv;
static struct config old_set, new_set;
static struct service_def old_def[MAX], new_def[MAX];
static uint16_t lists[2][MAX][4][MAX];
static uint32_t seed;

static uint32_t pick(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u; /* Numerical Recipes' quick generator */
	return (seed >> 8) % below;
}

/* A permutation of some of the names, each depending on some before it. */
static void make_set(struct config *set, struct service_def *def, uint16_t list[MAX][4][MAX])
{
	uint32_t names[MAX];

	*set = (struct config){.service = def, .service_count = 1 + pick(MAX)};
	for (uint32_t i = 0; i < MAX; i++)
		names[i] = i;
	for (uint32_t i = MAX; i-- > 1;) {
		uint32_t k = pick(i + 1), name = names[i];
		names[i] = names[k];
		names[k] = name;
	}
	for (size_t i = 0; i < set->service_count; i++) {
		struct service_def *d = &def[i];
		*d = (struct service_def){.pool = -1};
		snprintf(d->name, sizeof(d->name), "s%u", names[i]);
		struct {
			uint16_t **at;
			size_t *count;
		} to[] = {{&d->requires, &d->requires_count},
			  {&d->wants, &d->wants_count},
			  {&d->after, &d->after_count}};
		for (size_t l = 0; l < 3; l++) {
			*to[l].at = list[i][l];
			for (size_t k = 0; k < i; k++)
				if (pick(6) == 0)
					list[i][l][(*to[l].count)++] = (uint16_t)k;
		}
	}
}

/* The new set, as a reload leaves it: those who changed on their way down, those who go behind. */
static void put_in_place(void)
{
	memset(sv.service, 0, sizeof(sv.service));
	memset(sv.slot, 0, sizeof(sv.slot));
	sv.config = &new_set;
	sv.count = 0;
	for (size_t i = 0; i < new_set.service_count; i++) {
		struct instance *instance = sv.instance[sv.count] = &sv.slot[sv.count];
		struct graph_service *service = &sv.service[sv.count];
		int before = config_find(&old_set, new_def[i].name);
		bool changed = before >= 0 && pick(2);
		instance->def = changed ? &old_def[before] : &new_def[i];
		instance->config = changed ? &old_set : &new_set;
		instance->next = changed ? &new_def[i] : NULL;
		service->wanted = service->conditions_hold = true;
		service->renew = changed;
		service->life.state = before >= 0 ? LIFE_READY : LIFE_IDLE;
		sv.count++;
	}
	for (size_t i = 0; i < old_set.service_count; i++) {
		if (config_find(&new_set, old_def[i].name) >= 0)
			continue;
		struct instance *instance = sv.instance[sv.count] = &sv.slot[sv.count];
		instance->def = &old_def[i];
		instance->config = &old_set;
		instance->leaving = true;
		sv.service[sv.count].conditions_hold = true;
		sv.service[sv.count].life.state = LIFE_READY;
		sv.count++;
	}
	edges_make(&sv);
}

static bool visit(size_t i, unsigned char *mark)
{
	const struct graph_node *n = &sv.node[i];
	const uint16_t *list[] = {n->requires, n->wants, n->after};
	const size_t count[] = {n->requires_count, n->wants_count, n->after_count};

	if (mark[i])
		return mark[i] == 2;
	mark[i] = 1;
	for (size_t l = 0; l < 3; l++)
		for (size_t k = 0; k < count[l]; k++)
			if (list[l][k] >= sv.count || !visit(list[l][k], mark))
				return false;
	mark[i] = 2;
	return true;
}

static void expect_no_cycle(uint32_t from)
{
	unsigned char mark[SERVICES_MAX] = {0};

	for (size_t i = 0; i < sv.count; i++)
		if (!visit(i, mark))
			fail_msg("seed %u: a cycle through %s", from, sv.instance[i]->def->name);
}

static bool comes_after(size_t from, size_t to, bool *seen)
{
	const struct graph_node *n = &sv.node[from];
	const uint16_t *list[] = {n->requires, n->wants, n->after};
	const size_t count[] = {n->requires_count, n->wants_count, n->after_count};

	if (from == to)
		return true;
	seen[from] = true;
	for (size_t l = 0; l < 3; l++)
		for (size_t k = 0; k < count[l]; k++)
			if (!seen[list[l][k]] && comes_after(list[l][k], to, seen))
				return true;
	return false;
}

/* Nobody who goes down by an old definition has lost what that required, unless the others turn it
 * round: what goes comes after him. */
static void expect_order(uint32_t from, size_t stopped)
{
	const char *name = sv.instance[stopped]->def->name;

	for (size_t i = 0; i < sv.count; i++) {
		const struct instance *instance = sv.instance[i];
		const struct service_def *def = instance->def;
		bool seen[SERVICES_MAX] = {false};
		if (sv.service[i].life.state != LIFE_READY ||
		    !(instance->next || instance->leaving))
			continue;
		for (size_t k = 0; k < def->requires_count; k++)
			if (strcmp(old_def[def->requires[k]].name, name) == 0 &&
			    !comes_after(stopped, i, seen))
				fail_msg("seed %u: %s stopped before %s", from, name, def->name);
	}
}

static void drop(size_t index)
{
	for (size_t i = index; i + 1 < sv.count; i++) {
		sv.instance[i] = sv.instance[i + 1];
		sv.service[i] = sv.service[i + 1];
	}
	sv.count--;
}

/* Who is at rest takes its new definition, or goes. */
static void come_to_rest(void)
{
	for (size_t i = sv.count; i-- > 0;) {
		struct instance *instance = sv.instance[i];
		if (sv.service[i].life.state != LIFE_IDLE)
			continue;
		if (instance->leaving) {
			drop(i);
		} else if (sv.service[i].renew) {
			sv.service[i].renew = false;
			instance->def = instance->next;
			instance->config = &new_set;
			instance->next = NULL;
		}
	}
	edges_make(&sv);
}

static bool turn(uint32_t from)
{
	bool moved = false;

	graph_decide(sv.node, sv.service, sv.count);
	for (size_t n = sv.count, i = pick((uint32_t)n); n-- > 0 && !moved;
	     i = (i + 1) % sv.count) {
		enum graph_verdict verdict = sv.service[i].verdict;
		if (verdict == GRAPH_STAY)
			continue;
		moved = true;
		sv.service[i].life.state = verdict == GRAPH_GO ? LIFE_READY : LIFE_IDLE;
		if (verdict == GRAPH_STOP)
			expect_order(from, i);
	}
	come_to_rest();
	return moved;
}

static void one_set_follows_another(void **state)
{
	(void)state;
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		uint32_t from = seed = round;
		unsigned turns = 0;
		make_set(&old_set, old_def, lists[0]);
		make_set(&new_set, new_def, lists[1]);
		put_in_place();
		expect_no_cycle(from);
		while (turn(from)) {
			expect_no_cycle(from);
			if (++turns > 8 * MAX)
				fail_msg("seed %u: no end of it", from);
		}
		if (sv.count != new_set.service_count)
			fail_msg("seed %u: %s did not go", from,
				 sv.instance[sv.count - 1]->def->name);
		for (size_t i = 0; i < sv.count; i++)
			if (sv.service[i].life.state != LIFE_READY ||
			    sv.instance[i]->def != &new_def[i])
				fail_msg("seed %u: %s waits for ever", from, new_def[i].name);
	}
	arena_free(&sv.edges);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_set_follows_another),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
