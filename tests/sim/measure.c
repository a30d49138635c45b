#include "tests/sim/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define UDP_IP_BYTES 28

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

static double percentile_s(uint64_t *sorted, size_t count, unsigned percent)
{
	size_t at = count * percent / 100;
	return count == 0 ? 0 : (double)sorted[at < count ? at : count - 1] / 1e6;
}

static void print_times(const char *name, uint64_t *us, size_t count)
{
	qsort(us, count, sizeof(*us), compare);
	printf("%-24s p50 %.3f s, p90 %.3f, p99 %.3f, worst %.3f (of %zu)\n", name,
	       percentile_s(us, count, 50), percentile_s(us, count, 90),
	       percentile_s(us, count, 99), percentile_s(us, count, 100), count);
}

/* Who learnt of the watched change, and when. */
struct watch {
	size_t member;
	uint8_t what;
	uint64_t start, first, last;
	size_t count;
	uint64_t *each, room;
	uint64_t each_count;
};

static void on_change(struct world *w, size_t node, size_t member,
		      const struct membership_change *change)
{
	struct watch *watch = w->context;
	(void)node;
	if (member != watch->member || change->what != watch->what)
		return;
	watch->last = w->now - watch->start;
	if (watch->count++ == 0)
		watch->first = watch->last;
	if (watch->each && watch->each_count < watch->room)
		watch->each[watch->each_count++] = watch->last;
}

static struct world *make_world(const struct measure *measure, uint64_t seed)
{
	struct world_config config = {.seed = seed, .nodes = measure->nodes, .settled = true};
	struct world *w = world_new(&config);
	w->net.loss_permille = measure->loss_permille;
	if (measure->starve_percent != 0)
		world_starve(w, 0, measure->starve_percent,
			     (measure->starve_period_ms != 0 ? measure->starve_period_ms : 100) *
				     WORLD_MS);
	return w;
}

/* One crash a run. */
static int detection(const struct measure *m)
{
	uint64_t *first = calloc(m->runs, sizeof(*first)), *last = calloc(m->runs, sizeof(*last));
	uint64_t *each = calloc((size_t)m->runs * m->nodes, sizeof(*each));
	struct watch watch = {.each = each, .room = m->runs * m->nodes, .what = MEMBER_CHANGE_DEAD};
	unsigned missed = 0, false_deaths = 0;
	for (unsigned run = 0; run < m->runs && first && last && each; run++) {
		struct world *w = make_world(m, m->seed + run);
		world_run(w, 3 * WORLD_SECOND + world_below(w, WORLD_SECOND));
		watch.member = m->nodes - 1 - run % (m->nodes > 1 ? m->nodes - 1 : 1);
		watch.start = w->now;
		watch.count = 0;
		w->context = &watch;
		w->on_change = on_change;
		world_kill(w, watch.member);
		for (unsigned s = 0; s < 40 && watch.count < m->nodes - 1; s++)
			world_run(w, WORLD_SECOND / 4);
		first[run] = watch.first;
		last[run] = watch.last;
		missed += watch.count < m->nodes - 1;
		false_deaths += w->false_deaths;
		if (w->failure[0] != '\0')
			printf("FAILED: %s\n", w->failure);
		world_free(w);
	}
	printf("%zu nodes, %.1f %% loss, %u crashes\n", m->nodes, m->loss_permille / 10.0, m->runs);
	print_times("first that calls it dead", first, m->runs);
	print_times("any node", each, watch.each_count);
	print_times("all know", last, m->runs);
	printf("not known to all after 10 s: %u; deaths of nodes that ran: %u\n", missed,
	       false_deaths);
	free(first);
	free(last);
	free(each);
	return 0;
}

static int load(const struct measure *m)
{
	struct world *w = make_world(m, m->seed);
	double seconds = m->minutes > 0 ? m->minutes * 60 : 10;
	world_run(w, 3 * WORLD_SECOND);
	for (size_t i = 0; i < w->count; i++)
		w->node[i].packets_out = w->node[i].bytes_out = 0;
	world_run(w, (uint64_t)(seconds * 1e6));
	uint64_t packets = 0, bytes = 0, most = 0;
	for (size_t i = 0; i < w->count; i++) {
		packets += w->node[i].packets_out;
		bytes += w->node[i].bytes_out;
		most = w->node[i].bytes_out > most ? w->node[i].bytes_out : most;
	}
	double n = (double)w->count * seconds;
	printf("%6zu nodes: %.1f packets/s, %.0f bytes/s a node (UDP payload; %.0f with IP and UDP "
	       "headers), most %.0f; %u suspicions, %u deaths\n",
	       w->count, (double)packets / n, (double)bytes / n,
	       (double)(bytes + packets * UDP_IP_BYTES) / n, (double)most / seconds,
	       world_suspicions(w), world_deaths(w));
	bool failed = w->failure[0] != '\0';
	if (failed)
		printf("FAILED: %s\n", w->failure);
	world_free(w);
	return failed;
}

/* How long until all know that one is ready, that one is dead. */
static int spread(const struct measure *m)
{
	unsigned runs = m->runs < 1000 ? m->runs : 20;
	uint64_t *ready = calloc(runs, sizeof(*ready)), *dead = calloc(runs, sizeof(*dead)),
		 *first = calloc(runs, sizeof(*first));
	unsigned missed = 0;
	struct world *w = make_world(m, m->seed);
	struct watch watch = {0};
	w->context = &watch;
	w->on_change = on_change;
	for (unsigned run = 0; run < runs; run++) {
		world_run(w, 3 * WORLD_SECOND + world_below(w, WORLD_SECOND));
		watch.member = 1 + run % (m->nodes - 1);
		watch.what = MEMBER_CHANGE_UPDATED;
		watch.start = w->now;
		watch.count = 0;
		world_status(w, watch.member,
			     (struct member_status){.services = (uint16_t)(run + 1)}, NULL);
		for (unsigned s = 0; s < 100 && watch.count < m->nodes - run; s++)
			world_run(w, WORLD_SECOND / 10);
		ready[run] = watch.last;
		missed += watch.count < m->nodes - run;
		watch.what = MEMBER_CHANGE_DEAD;
		watch.start = w->now;
		watch.count = 0;
		world_kill(w, watch.member);
		for (unsigned s = 0; s < 100 && watch.count < m->nodes - run - 1; s++)
			world_run(w, WORLD_SECOND / 10);
		first[run] = watch.first;
		dead[run] = watch.last;
		missed += watch.count < m->nodes - run - 1;
	}
	printf("%zu nodes\n", m->nodes);
	print_times("all know: ready", ready, runs);
	print_times("first: dead", first, runs);
	print_times("all know: dead", dead, runs);
	printf("not known to all after 10 s: %u\n", missed);
	bool failed = w->failure[0] != '\0';
	if (failed)
		printf("FAILED: %s\n", w->failure);
	world_free(w);
	free(ready);
	free(dead);
	free(first);
	return failed;
}

/* A long time, one node starved, packets lost; nobody dies. */
static int calm(const struct measure *m)
{
	struct world *w = make_world(m, m->seed);
	double minutes = m->minutes > 0 ? m->minutes : 60;
	uint64_t starts = w->now;
	for (double done = 0; done < minutes && w->failure[0] == '\0'; done++)
		world_run(w, 60 * WORLD_SECOND);
	uint64_t bytes = 0, suspicions = 0;
	for (size_t i = 0; i < w->count; i++) {
		bytes += w->node[i].bytes_out;
		suspicions += w->node[i].m.suspicions;
	}
	double seconds = (double)(w->now - starts) / 1e6;
	printf("%zu nodes, %.1f hours, %.1f %% loss, one node starved of %u %% in turns of up to "
	       "%u "
	       "ms: %llu own suspicions, %u suspicions seen, %u deaths of nodes that ran; %.0f "
	       "bytes/s a node\n",
	       w->count, seconds / 3600, m->loss_permille / 10.0, m->starve_percent,
	       m->starve_period_ms != 0 ? m->starve_period_ms : 100, (unsigned long long)suspicions,
	       world_suspicions(w), w->false_deaths, (double)bytes / seconds / (double)w->count);
	bool failed = w->failure[0] != '\0' || w->false_deaths != 0;
	if (w->failure[0] != '\0')
		printf("FAILED: %s\n", w->failure);
	world_free(w);
	return failed;
}

int measure_run(const struct measure *measure, const char *what)
{
	if (strcmp(what, "detection") == 0)
		return detection(measure);
	if (strcmp(what, "load") == 0)
		return load(measure);
	if (strcmp(what, "spread") == 0)
		return spread(measure);
	if (strcmp(what, "calm") == 0)
		return calm(measure);
	fprintf(stderr, "sim: --measure %s: expected detection, load, spread or calm\n", what);
	return 2;
}
