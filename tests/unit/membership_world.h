/* For the tests of the membership: a simulated cluster that lives for one test. */
#ifndef SUPERVISOR_TESTS_MEMBERSHIP_WORLD_H
#define SUPERVISOR_TESTS_MEMBERSHIP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim/world.h"

static inline struct world *new_world(size_t nodes, uint64_t seed)
{
	return world_new(&(struct world_config){.seed = seed, .nodes = nodes, .tags = true});
}

static inline void end_world(struct world *w)
{
	if (w->failure[0] != '\0')
		fail_msg("seed %u: %s", (unsigned)w->config.seed, w->failure);
	world_free(w);
}

static inline void run(struct world *w, uint64_t ms)
{
	world_run(w, ms * WORLD_MS);
}

/* Milliseconds until all see it. */
static inline uint64_t until(struct world *w, size_t index, uint8_t state, uint64_t limit_ms)
{
	uint64_t us = world_until(w, index, state, limit_ms * WORLD_MS);
	return us == WORLD_FOREVER ? UINT64_MAX : us / WORLD_MS;
}

#endif
