#include "src/supervise/edges.h"

#include <string.h>

#include "src/base/log.h"

static bool lists(const uint16_t *list, size_t count, uint16_t index)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == index)
			return true;
	return false;
}

/* A list with one more at its end; the one before may be the configuration's. */
static bool append(struct arena *arena, const uint16_t **list, size_t *count, uint16_t index)
{
	uint16_t *longer = arena_alloc(arena, (*count + 1) * sizeof(*longer));

	if (!longer)
		return false;
	if (*count > 0)
		memcpy(longer, *list, *count * sizeof(*longer));
	longer[(*count)++] = index;
	*list = longer;
	return true;
}

/* Whether `from` comes after `to`, by whatever way. */
static bool reaches(const struct supervisor *sv, uint16_t from, uint16_t to)
{
	bool seen[SERVICES_MAX] = {false};
	uint16_t todo[SERVICES_MAX];
	size_t left = 1;

	todo[0] = from;
	seen[from] = true;
	while (left > 0) {
		const struct graph_node *node = &sv->node[todo[--left]];
		const uint16_t *list[] = {node->requires, node->wants, node->after};
		const size_t count[] = {node->requires_count, node->wants_count, node->after_count};
		if (seen[to])
			return true;
		for (size_t l = 0; l < 3; l++) {
			for (size_t k = 0; k < count[l]; k++) {
				if (seen[list[l][k]])
					continue;
				seen[list[l][k]] = true;
				todo[left++] = list[l][k];
			}
		}
	}
	return seen[to];
}

/* The present index of a service of the configuration that `index` still runs by, -1: gone. */
static int translate(const struct supervisor *sv, uint16_t index, uint16_t old)
{
	int now = supervise_find(sv, sv->instance[index]->config->service[old].name);

	return now == (int)index ? -1 : now;
}

static bool add_order(struct supervisor *sv, struct arena *arena, uint16_t index,
		      const uint16_t *list, size_t count)
{
	struct graph_node *node = &sv->node[index];

	for (size_t k = 0; k < count; k++) {
		int target = translate(sv, index, list[k]);
		if (target < 0 || lists(node->after, node->after_count, (uint16_t)target) ||
		    reaches(sv, (uint16_t)target, index))
			continue;
		if (!append(arena, &node->after, &node->after_count, (uint16_t)target))
			return false;
	}
	return true;
}

static bool add_conflicts(struct supervisor *sv, struct arena *arena, uint16_t index,
			  const uint16_t *list, size_t count)
{
	struct graph_node *node = &sv->node[index];

	for (size_t k = 0; k < count; k++) {
		int target = translate(sv, index, list[k]);
		if (target < 0 || lists(node->conflicts, node->conflicts_count, (uint16_t)target))
			continue;
		struct graph_node *other = &sv->node[target];
		if (!append(arena, &node->conflicts, &node->conflicts_count, (uint16_t)target) ||
		    !append(arena, &other->conflicts, &other->conflicts_count, index))
			return false;
	}
	return true;
}

static bool add_old(struct supervisor *sv, struct arena *arena, uint16_t index)
{
	const struct service_def *old = sv->instance[index]->def;

	return add_order(sv, arena, index, old->requires, old->requires_count) &&
	       add_order(sv, arena, index, old->wants, old->wants_count) &&
	       add_order(sv, arena, index, old->after, old->after_count) &&
	       add_conflicts(sv, arena, index, old->conflicts, old->conflicts_count);
}

static struct graph_node node_of(const struct service_def *def)
{
	return (struct graph_node){
		.requires = def->requires,
		.wants = def->wants,
		.after = def->after,
		.requires_count = def->requires_count,
		.wants_count = def->wants_count,
		.after_count = def->after_count,
		.conflicts = def->conflicts,
		.conflicts_count = def->conflicts_count,
		.keeps = def->lost_keep,
		.pool = def->pool,
		.is_pool = def->kind == SERVICE_POOL,
	};
}

void edges_make(struct supervisor *sv)
{
	struct arena arena = {0};
	bool good = true;

	for (size_t i = 0; i < sv->count; i++)
		sv->node[i] = i < sv->config->service_count
				      ? node_of(&sv->config->service[i])
				      : (struct graph_node){.pool = -1}; /* on its way out */
	for (size_t i = 0; i < sv->count && good; i++)
		if (sv->instance[i]->leaving || sv->instance[i]->next)
			good = add_old(sv, &arena, (uint16_t)i);
	if (!good)
		log_warnx("out of memory: services that a reload stops may stop out of order");
	arena_free(&sv->edges);
	sv->edges = arena;
	sv->edges_stale = false;
}
