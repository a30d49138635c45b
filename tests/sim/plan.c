/* Faults by chance. See plan.h. */
#include "tests/sim/plan.h"

#include <stdio.h>
#include <string.h>

#define TICK_US	   200000u
#define WARM_UP_US (3 * WORLD_SECOND)
#define CALM_US	   (5 * WORLD_SECOND)

static const char *const fault_name[] = {
#define X(name, text) #name,
	FAULTS(X)
#undef X
};

void plan_fault_names(unsigned faults, char *out, size_t bytes)
{
	size_t used = 0;
	out[0] = '\0';
	for (size_t i = 0; i < FAULT_COUNT; i++) {
		if ((faults >> i & 1) == 0 || used + 1 >= bytes)
			continue;
		int n = snprintf(out + used, bytes - used, "%s%s", used > 0 ? "," : "",
				 fault_name[i]);
		used += (size_t)n;
	}
	if (used == 0)
		snprintf(out, bytes, "none");
}

bool plan_parse_faults(const char *text, unsigned *faults)
{
	*faults = 0;
	if (strcmp(text, "none") == 0)
		return true;
	if (strcmp(text, "all") == 0) {
		*faults = (1u << FAULT_COUNT) - 1;
		return true;
	}
	while (*text != '\0') {
		size_t length = strcspn(text, ","), i = 0;
		while (i < FAULT_COUNT && (strlen(fault_name[i]) != length ||
					   strncmp(fault_name[i], text, length) != 0))
			i++;
		if (i == FAULT_COUNT)
			return false;
		*faults |= 1u << i;
		text += length;
		text += *text == ',';
	}
	return true;
}

static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

void plan_from_seed(struct plan *plan, uint64_t seed)
{
	uint64_t state = seed * 2 + 1;
	uint64_t size = next(&state) % 100, within = next(&state);
	*plan = (struct plan){.seed = seed, .starve_percent = 90, .starve_period_ms = 300};
	if (size < 80)
		plan->nodes = 2 + within % 6;
	else if (size < 97)
		plan->nodes = 8 + within % 10;
	else
		plan->nodes = 18 + within % 30;
	plan->faults_us = (4 + next(&state) % 16) * WORLD_SECOND;
	plan->faults = (unsigned)next(&state) & (unsigned)next(&state) & ((1u << FAULT_COUNT) - 1);
	plan->mild = next(&state) % 4 == 0;
	plan->loss_permille = (uint32_t)(next(&state) % 300);
	if (plan->mild) {
		plan->faults &= FAULT(loss) | FAULT(twice) | FAULT(late) | FAULT(rate) |
				FAULT(starve) | FAULT(mixed) | FAULT(status);
		plan->loss_permille %= 51;
		plan->starve_period_ms = 100;
	}
}

/*
 * Suspicions that began while everybody was in doubt of himself run out as that doubt does: a count
 * of 8 is gone after 8 s. Then rumours, whose way grows with the logarithm of the size.
 */
unsigned plan_converge_limit(size_t nodes)
{
	unsigned log = 0;
	while (((size_t)1 << log) < nodes)
		log++;
	return 70 + 10 * log;
}

static void set_network(struct world *w, const struct plan *plan)
{
	struct world_network *net = &w->net;
	*net = (struct world_network){.delay_us = 300, .jitter_us = 2000};
	if (plan->faults & FAULT(loss))
		net->loss_permille = (uint32_t)world_below(w, plan->loss_permille + 1);
	if (plan->faults & FAULT(twice))
		net->duplicate_permille = (uint32_t)world_below(w, 200);
	if (plan->faults & FAULT(late)) {
		net->jitter_us = (uint32_t)world_below(w, 30000);
		net->slow_permille = (uint32_t)world_below(w, plan->mild ? 50 : 300);
		net->slow_us = (uint32_t)world_below(w, plan->mild ? 50000 : 600000);
	}
}

static void random_status(struct world *w, size_t i)
{
	char tags[MEMBERSHIP_TAGS_MAX + 1] = "";
	size_t length = world_below(w, 4) == 0 ? 0 : world_below(w, MEMBERSHIP_TAGS_MAX + 1);
	for (size_t n = 0; n < length; n++)
		tags[n] = (char)('a' + world_below(w, 26));
	struct member_status status = {
		.ready = world_below(w, 2) == 0,
		.services = 20,
		.services_ready = (uint16_t)world_below(w, 20),
	};
	world_status(w, i, status, tags);
}

/* A node that has left is taken away when it has told everybody. */
static void take_away_the_left(struct world *w)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->node[i].up && w->node[i].gone_us != 0)
			world_kill(w, i);
	}
}

static void machine_fault(struct world *w, unsigned bit, size_t i)
{
	struct sim_node *n = &w->node[i];
	bool runs = n->up && !n->asleep;
	switch (bit) {
	case FAULT_pause_bit:
	case FAULT_freeze_bit:
		world_sleep(w, i, world_below(w, world_below(w, 5000) * WORLD_MS),
			    bit == FAULT_freeze_bit);
		break;
	case FAULT_crash_bit:
		if (n->up)
			world_kill(w, i);
		else
			world_boot(w, i);
		break;
	case FAULT_burst_bit:
		for (size_t j = 0; j < w->count; j++) {
			if (!w->node[j].up)
				world_boot(w, j);
			else if (world_below(w, 3) == 0)
				world_kill(w, j);
		}
		break;
	case FAULT_leave_bit:
		if (runs && n->m.leaving_ms == 0)
			world_leave(w, i);
		else if (!n->up)
			world_boot(w, i);
		break;
	case FAULT_restart_bit:
		if (n->up && n->m.leaving_ms == 0)
			world_restart(w, i, world_below(w, 2) == 0);
		break;
	default:
		break;
	}
}

static void one_fault(struct world *w, const struct plan *plan)
{
	unsigned bit = (unsigned)world_below(w, FAULT_COUNT);
	size_t i = world_below(w, w->count);
	struct sim_node *n = &w->node[i];
	if ((plan->faults >> bit & 1) == 0)
		return;
	switch (bit) {
	case FAULT_loss_bit:
	case FAULT_twice_bit:
	case FAULT_late_bit:
		set_network(w, plan);
		break;
	case FAULT_cut_bit:
		if (world_below(w, 3) == 0)
			world_heal(w);
		else
			world_cut(w, i, world_below(w, w->count), world_below(w, 2) == 0);
		break;
	case FAULT_split_bit:
		if (w->split)
			world_heal(w);
		else
			world_split(w, 2 + world_below(w, 2));
		break;
	case FAULT_starve_bit:
		if (!plan->mild)
			world_starve(w, i, n->starved_percent == 0 ? plan->starve_percent : 0,
				     plan->starve_period_ms * WORLD_MS);
		break;
	case FAULT_mixed_bit:
		/* Upgraded, or taken back, while the cluster works. */
		n->version = (uint8_t)(MEMBERSHIP_VERSION_MIN + world_below(w, 2));
		if (n->up && n->m.leaving_ms == 0)
			world_restart(w, i, plan->mild || world_below(w, 4) != 0);
		break;
	case FAULT_status_bit:
		if (n->up && !n->asleep && n->m.leaving_ms == 0)
			random_status(w, i);
		break;
	default:
		machine_fault(w, bit, i);
		break;
	}
}

static void stop_faults(struct world *w)
{
	world_heal(w);
	w->net = (struct world_network){.delay_us = 300, .jitter_us = 2000};
	for (size_t i = 0; i < w->count; i++) {
		struct sim_node *n = &w->node[i];
		world_starve(w, i, 0, 0);
		world_wake(w, i);
		/* One that is about to go is given the time to say so. */
		if (n->up && n->m.leaving_ms != 0)
			world_run(w, WORLD_SECOND);
		if (n->up && n->m.leaving_ms != 0)
			world_kill(w, i);
	}
}

static void run_faults(struct world *w, const struct plan *plan)
{
	uint64_t end = w->now + plan->faults_us;
	if ((plan->faults & FAULT(starve)) && plan->mild)
		world_starve(w, 0, plan->starve_percent, plan->starve_period_ms * WORLD_MS);
	set_network(w, plan);
	while (w->now < end && w->failure[0] == '\0') {
		world_run(w, world_below(w, 150) * WORLD_MS);
		take_away_the_left(w);
		one_fault(w, plan);
	}
}

static unsigned settle_down(struct world *w)
{
	/* What is under way yet, late, belongs to the faults. */
	world_run(w, WORLD_SECOND);
	unsigned ticks = WORLD_SECOND / TICK_US, limit = plan_converge_limit(w->count);
	while (w->failure[0] == '\0' && !world_converged(w, NULL, 0)) {
		if (ticks++ >= limit) {
			char why[200];
			world_converged(w, why, sizeof(why));
			world_fail(w, "no agreement %u ticks after the last fault: %s", limit, why);
			break;
		}
		world_run(w, TICK_US);
	}
	unsigned deaths = world_deaths(w);
	world_run(w, CALM_US);
	char why[200];
	if (w->failure[0] == '\0' && !world_converged(w, why, sizeof(why)))
		world_fail(w, "the agreement did not last: %s", why);
	if (w->failure[0] == '\0' && world_deaths(w) != deaths)
		world_fail(w, "deaths in calm weather");
	return ticks;
}

void plan_run(const struct plan *plan, struct plan_result *result)
{
	struct world_config config = {
		.seed = plan->seed,
		.nodes = plan->nodes,
		.rate_ppm = plan->faults & FAULT(rate) ? 50000 : 0,
		.old_every = plan->faults & FAULT(mixed) ? 3 : 0,
		.tags = true,
		.settled = plan->nodes > 64,
	};
	struct world *w = world_new(&config);
	memset(result, 0, sizeof(*result));
	w->trace = plan->trace;
	world_run(w, WARM_UP_US);
	w->no_false_death = plan->mild;
	run_faults(w, plan);
	/* Between the faults and the calm, nodes wake up that were not well. */
	stop_faults(w);
	result->converged_ticks = settle_down(w);
	memcpy(result->failure, w->failure, sizeof(result->failure));
	result->events = w->events;
	result->packets = w->packets;
	result->deaths = world_deaths(w);
	result->false_deaths = w->false_deaths;
	result->suspicions = world_suspicions(w);
	world_free(w);
}
