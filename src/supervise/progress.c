#include "src/supervise/progress.h"

#include <stdio.h>

#include "src/base/log.h"

#define FIRST_MS  2000
#define EVERY_MS  5000
#define NAMED_MAX 8

static void tell(const struct supervisor *sv, uint64_t now_ms)
{
	char text[NAMED_MAX * (SERVICE_NAME_BYTES + 16)] = "";
	size_t used = 0, named = 0, more = 0;

	for (size_t i = 0; i < sv->count; i++) {
		const struct life *life = &sv->service[i].life;
		/* What still runs because others must stop first is not what we wait for. */
		if (!life_is_active(life) || life->state == LIFE_READY)
			continue;
		if (named == NAMED_MAX) {
			more++;
			continue;
		}
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s (%s)",
					 named ? ", " : "", sv->instance[i]->def->name,
					 life_state_name(life->state));
		named++;
	}
	if (more)
		log_info("shutdown waits for %s and %zu more", text, more);
	else if (named)
		log_info("shutdown waits for %s; at most %llu s more", text,
			 (unsigned long long)(sv->goal_deadline_ms > now_ms
						      ? (sv->goal_deadline_ms - now_ms) / 1000
						      : 0));
}

uint64_t progress_tell(const struct supervisor *sv)
{
	static uint64_t next_ms;
	uint64_t now_ms = loop_now_ms();

	if (sv->goal == GOAL_RUN)
		return 0;
	if (next_ms == 0)
		next_ms = now_ms + FIRST_MS;
	if (now_ms >= next_ms) {
		tell(sv, now_ms);
		next_ms = now_ms + EVERY_MS;
	}
	return next_ms;
}
