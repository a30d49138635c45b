/* An order in which each service comes after what it requires, wants or is to follow; cycles are
 * shown with their path. */
#include <string.h>

#include "src/config/load.h"

enum mark { NEW, OPEN, DONE };

struct walk {
	struct loader *loader;
	struct service_draft *const *draft;
	enum mark mark[SERVICES_MAX];
	uint16_t path[SERVICES_MAX];
	size_t depth, done;
	uint16_t *order;
	bool good;
};

/* The line of draft `from` that makes it come after draft `to`. */
static int line_of(const struct service_draft *from, uint16_t to)
{
	const struct {
		const uint16_t *index;
		size_t count;
		int line;
	} lists[] = {
		{from->def.requires, from->def.requires_count, from->requires.line},
		{from->def.wants, from->def.wants_count, from->wants.line},
		{from->def.after, from->def.after_count, from->after.line},
	};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		for (size_t j = 0; j < lists[i].count; j++) {
			if (lists[i].index[j] == to)
				return lists[i].line;
		}
	}
	return 0;
}

static void drop(uint16_t *list, size_t *count, uint16_t index)
{
	size_t kept = 0;
	for (size_t i = 0; i < *count; i++) {
		if (list[i] != index)
			list[kept++] = list[i];
	}
	*count = kept;
}

/* None of the cycle is ever started; without its last edge the rest can be put in order. */
static void refuse_cycle(struct walk *walk, size_t start, uint16_t again, const char *path)
{
	const char *text = arena_printf(walk->loader->arena, "part of the cycle %s", path);
	struct service_def *last = &walk->draft[walk->path[walk->depth - 1]]->def;
	for (size_t i = start; i < walk->depth; i++)
		walk->draft[walk->path[i]]->def.refused = text ? text : "part of a cycle";
	drop(last->requires, &last->requires_count, again);
	drop(last->wants, &last->wants_count, again);
	drop(last->after, &last->after_count, again);
}

static void report_cycle(struct walk *walk, uint16_t again)
{
	char path[256];
	size_t used = 0, start = 0;
	while (walk->path[start] != again)
		start++;
	for (size_t i = start; i <= walk->depth; i++) {
		const char *name = walk->draft[i < walk->depth ? walk->path[i] : again]->def.name;
		size_t length = strlen(name);
		if (used + length + sizeof(" -> … -> ") + SERVICE_NAME_BYTES > sizeof(path) &&
		    i < walk->depth) {
			/* A path this long shows its beginning and that it closes. */
			memcpy(path + used, "… -> ", strlen("… -> "));
			used += strlen("… -> ");
			i = walk->depth - 1;
			continue;
		}
		memcpy(path + used, name, length);
		used += length;
		if (i < walk->depth) {
			memcpy(path + used, " -> ", 4);
			used += 4;
		}
	}
	path[used] = 0;
	if (walk->loader->source->refuse_cycles) {
		refuse_cycle(walk, start, again, path);
		return;
	}
	const struct service_draft *last = walk->draft[walk->path[walk->depth - 1]];
	config_report_add(walk->loader->report, last->def.file, line_of(last, again),
			  "found the cycle %s, expected services that can start one after another",
			  path);
	walk->good = false;
}

static void visit(struct walk *walk, uint16_t index)
{
	if (walk->mark[index] == DONE)
		return;
	if (walk->mark[index] == OPEN) {
		report_cycle(walk, index);
		return;
	}
	const struct service_def *def = &walk->draft[index]->def;
	walk->mark[index] = OPEN;
	walk->path[walk->depth++] = index;
	/* From the end: one that turns out to close a cycle may be dropped on the way. */
	for (size_t i = def->requires_count; i-- > 0;)
		visit(walk, def->requires[i]);
	for (size_t i = def->wants_count; i-- > 0;)
		visit(walk, def->wants[i]);
	for (size_t i = def->after_count; i-- > 0;)
		visit(walk, def->after[i]);
	walk->depth--;
	walk->mark[index] = DONE;
	walk->order[walk->done++] = index;
}

bool order_drafts(struct loader *loader, struct service_draft *const *draft, size_t count,
		  uint16_t *order)
{
	struct walk *walk = arena_alloc(loader->scratch, sizeof(*walk));
	if (!walk) {
		config_report_add(loader->report, "services", 0, "out of memory");
		return false;
	}
	*walk = (struct walk){.loader = loader, .draft = draft, .order = order, .good = true};
	for (size_t i = 0; i < count; i++)
		visit(walk, (uint16_t)i);
	return walk->good;
}
