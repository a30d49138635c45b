/*
 * What must hold after each event, whatever the network and the machines do; and what everybody
 * must believe some time after they have stopped doing it.
 */
#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FULL_MAX 16 /* up to that many members all are looked at each time */

void world_fail(struct world *w, const char *format, ...)
{
	if (w->failure[0] != '\0')
		return;
	int n = snprintf(w->failure, sizeof(w->failure), "at %.6f s: ", (double)w->now / 1e6);
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(w->failure + n, sizeof(w->failure) - (size_t)n, format, arguments);
	va_end(arguments);
}

static uint64_t life_of(const struct member *x)
{
	return (uint64_t)x->generation << 32 | x->incarnation;
}

/* A process began: it may know less than the one before. */
void check_forget(struct world *w, size_t i)
{
	struct sim_node *n = &w->node[i];
	uint64_t now_ms = world_clock_us(w, n) / WORLD_MS;
	n->own_life = 0;
	for (size_t j = 0; n->shadow && j < w->count; j++) {
		n->shadow[j] = (struct shadow){
			.life = life_of(&n->member[j]),
			.state = n->member[j].state,
			.heard_ms = now_ms,
		};
	}
}

void check_heard(struct world *w, size_t i, size_t from, uint64_t boot, uint32_t age_ms)
{
	struct sim_node *n = &w->node[i];
	if (!n->shadow || age_ms > n->m.timers.fresh_ms)
		return;
	n->shadow[from].heard_ms = world_clock_us(w, n) / WORLD_MS;
	n->shadow[from].heard_boot = boot;
}

void check_heartbeat(struct world *w, const struct membership_heartbeat *hb)
{
	if (hb->record_count > MEMBERSHIP_RECORDS_MAX || hb->ask_count > MEMBERSHIP_ASKS_MAX ||
	    hb->nack_count > MEMBERSHIP_ASKS_MAX || hb->digest_count > MEMBERSHIP_DIGESTS_MAX ||
	    hb->record_count * MEMBERSHIP_RECORD_BYTES + hb->text_bytes > MEMBERSHIP_ROOM_BYTES)
		world_fail(w, "a heartbeat holds too much");
}

/* Node i has come to call j dead: was j silent, and did anybody judge that himself? */
static void check_death(struct world *w, size_t i, size_t j, const struct membership_event *event)
{
	struct sim_node *n = &w->node[i];
	const struct member *x = &n->member[j];
	const struct membership_timers *t = &n->m.timers;
	uint64_t silent_ms = world_clock_us(w, n) / WORLD_MS - n->shadow[j].heard_ms;
	bool judged = event->type == MEMBERSHIP_TIME;
	/* A rumour of suspicion is believed of one who is silent for ask_ms. */
	uint64_t least_ms = judged ? t->ask_ms + t->suspicion_min_ms : t->ask_ms;
	bool was_here = n->shadow[j].state == MEMBER_ALIVE || n->shadow[j].state == MEMBER_SUSPECT;
	if (was_here && n->shadow[j].heard_boot == x->boot_id && silent_ms < least_ms)
		world_fail(w, "node %zu calls node %zu dead, which it heard %llu ms ago", i, j,
			   (unsigned long long)silent_ms);
	if (judged && life_of(x) > w->killed[j])
		w->killed[j] = life_of(x);
	if (!judged && life_of(x) > w->killed[j])
		world_fail(w, "node %zu takes over a death of node %zu that nobody judged", i, j);
	n->deaths++;
	const struct sim_node *dead = &w->node[j];
	if (!dead->up || dead->boot != x->boot_id || dead->gone_us != 0 ||
	    (dead->asleep && dead->starved_percent == 0))
		return;
	n->false_deaths++;
	w->false_deaths++;
	if (w->no_false_death)
		world_fail(w, "node %zu calls node %zu dead, which is well (health of it %u)", i, j,
			   n->m.health);
}

static void check_member(struct world *w, size_t i, size_t j, const struct membership_event *event,
			 bool reported)
{
	struct sim_node *n = &w->node[i];
	const struct member *x = &n->member[j];
	struct shadow *shadow = &n->shadow[j];
	uint64_t now_ms = world_clock_us(w, n) / WORLD_MS, life = life_of(x);
	if (x->state > MEMBER_LEFT || (x->state != MEMBER_UNKNOWN && x->boot_id == 0))
		world_fail(w, "node %zu: member %zu has no state or no boot", i, j);
	if (x->since_ms > now_ms || x->heard_ms > now_ms || x->evidence_ms > now_ms ||
	    x->sent_ms > now_ms || x->probe_ms > now_ms)
		world_fail(w, "node %zu: member %zu has times to come", i, j);
	if (life < shadow->life)
		world_fail(w, "node %zu: member %zu went back from %llx to %llx", i, j,
			   (unsigned long long)shadow->life, (unsigned long long)life);
	if ((x->state != shadow->state || life != shadow->life) && !reported)
		world_fail(w, "node %zu: member %zu changed and nobody was told", i, j);
	if (life > w->newest_life[j] && j != i)
		world_fail(w, "node %zu: member %zu is in a life that it never told of", i, j);
	if (x->state == MEMBER_DEAD && shadow->state != MEMBER_DEAD)
		check_death(w, i, j, event);
	if (x->state == MEMBER_SUSPECT && shadow->state != MEMBER_SUSPECT)
		n->suspicions++;
	shadow->life = life;
	shadow->state = x->state;
}

static void check_self(struct world *w, size_t i)
{
	struct sim_node *n = &w->node[i];
	const struct member *self = &n->member[i];
	if (self->boot_id != n->boot ||
	    self->state != (n->m.leaving_ms != 0 ? MEMBER_LEFT : MEMBER_ALIVE))
		world_fail(w, "node %zu: no longer itself", i);
	if (life_of(self) < n->own_life)
		world_fail(w, "node %zu: its own life went back", i);
	n->own_life = life_of(self);
	if (life_of(self) > w->newest_life[i])
		w->newest_life[i] = life_of(self);
	if (n->m.health > MEMBERSHIP_HEALTH_MAX)
		world_fail(w, "node %zu: health %u", i, n->m.health);
}

/* Lists without loops, of the length they claim; every case belongs to a member. */
static void check_tables(struct world *w, size_t i)
{
	const struct membership *m = &w->node[i].m;
	size_t watched = 0, news = 0, cases = 0;
	for (size_t j = m->watch_first; j != MEMBERSHIP_NONE && watched <= m->count;
	     j = m->member[j].watch_next)
		watched++;
	for (size_t j = m->news_first; j != MEMBERSHIP_NONE && news <= m->count;
	     j = m->member[j].news_next)
		news++;
	for (size_t c = 0; c < m->case_count; c++) {
		if (m->cases[c].member == MEMBERSHIP_NONE)
			continue;
		cases++;
		if (m->member[m->cases[c].member].trouble != c)
			world_fail(w, "node %zu: case %zu belongs to nobody", i, c);
	}
	if (watched > m->count || news != m->news_count || cases != m->cases_used)
		world_fail(w, "node %zu: lists of %zu watched, %zu news (%zu), %zu cases (%zu)", i,
			   watched, news, m->news_count, cases, m->cases_used);
	for (size_t j = 0; j < m->count; j++) {
		const struct member *x = &m->member[j];
		bool active = x->state == MEMBER_ALIVE || x->state == MEMBER_SUSPECT;
		if (j != m->self && active && !x->watched &&
		    (m->count <= MEMBERSHIP_MESH_MAX || x->state == MEMBER_SUSPECT))
			world_fail(w, "node %zu: nobody watches member %zu", i, j);
	}
}

static void check_change(struct world *w, size_t i, size_t j, const struct membership_change *c)
{
	struct sim_node *n = &w->node[i];
	if (c->what > MEMBER_CHANGE_UPDATED ||
	    c->sequence != n->changes + (c->what != MEMBER_CHANGE_NUMBERS))
		world_fail(w, "node %zu: change %u of member %zu has number %llu after %llu", i,
			   c->what, j, (unsigned long long)c->sequence,
			   (unsigned long long)n->changes);
	n->changes = c->sequence;
	n->change_count[c->what]++;
	if (w->trace && c->what != MEMBER_CHANGE_NUMBERS) {
		static const char *const name[] = {"",	   "joined", "alive",  "suspect",
						   "dead", "left",   "updated"};
		printf("%12.6f node %zu: %zu %s (%u, %u)\n", (double)w->now / 1e6, i, j,
		       name[c->what], c->generation, c->incarnation);
	}
	if (w->on_change)
		w->on_change(w, i, j, c);
}

void check_step(struct world *w, size_t i, const struct membership_event *event,
		const struct membership_actions *actions)
{
	struct sim_node *n = &w->node[i];
	bool reported[FULL_MAX] = {false};
	bool views = n->shadow && !w->lies, full = views && w->count <= FULL_MAX;
	if (actions->count > MEMBERSHIP_ACTIONS_MAX)
		world_fail(w, "node %zu: %zu actions", i, actions->count);
	check_self(w, i);
	for (size_t a = 0; a < actions->count && a < MEMBERSHIP_ACTIONS_MAX; a++) {
		const struct membership_action *action = &actions->action[a];
		size_t j = action->index;
		if (j >= w->count ||
		    (action->type == MEMBERSHIP_SEND && (j == i || n->gone_us != 0))) {
			world_fail(w, "node %zu: an action for member %zu", i, j);
			return;
		}
		if (action->type != MEMBERSHIP_CHANGED)
			continue;
		if (full)
			reported[j] = true;
		check_change(w, i, j, &action->change);
		if (views && !full)
			check_member(w, i, j, event, true);
	}
	for (size_t j = 0; full && j < w->count; j++)
		check_member(w, i, j, event, reported[j]);
	if (full || (n->shadow && n->steps % 64 == 0))
		check_tables(w, i);
}

/* --- what is believed in the end */

static bool same_tags(const struct sim_node *n, size_t j, const struct sim_node *other)
{
	if (n->version < 2 || other->version < 2 || !n->m.tags || !other->m.tags)
		return true;
	return n->m.tags[j].bytes == other->own_tags.bytes &&
	       memcmp(n->m.tags[j].text, other->own_tags.text, other->own_tags.bytes) == 0;
}

static const char *differs(const struct world *w, size_t i, size_t j, size_t witness)
{
	const struct sim_node *n = &w->node[i], *other = &w->node[j];
	const struct member *x = &n->member[j], *truth = &other->member[j];
	if (!other->up || other->gone_us != 0) {
		/* What became of it nobody can know; but all shall say the same. */
		const struct member *said = &w->node[witness].member[j];
		if (x->state == MEMBER_ALIVE || x->state == MEMBER_SUSPECT)
			return "it is gone";
		if (x->state != said->state || life_of(x) != life_of(said) ||
		    x->boot_id != said->boot_id)
			return "others say something else of its end";
		return NULL;
	}
	if (x->state != MEMBER_ALIVE)
		return "it is alive";
	if (x->boot_id != other->boot || life_of(x) != life_of(truth))
		return "it is in another life";
	if (x->status.ready != other->status.ready ||
	    x->status.services_ready != other->status.services_ready)
		return "its status is another";
	if (!same_tags(n, j, other))
		return "its tags are others";
	return NULL;
}

bool world_converged(const struct world *w, char *why, size_t why_bytes)
{
	size_t witness = w->count;
	for (size_t i = 0; i < w->count; i++) {
		if (!w->node[i].up || w->node[i].gone_us != 0)
			continue;
		witness = witness == w->count ? i : witness;
		for (size_t j = 0; j < w->count; j++) {
			const char *difference = differs(w, i, j, witness);
			if (!difference)
				continue;
			const struct member *x = &w->node[i].member[j];
			if (why)
				snprintf(why, why_bytes,
					 "node %zu thinks of node %zu: %u, life %u.%u; %s", i, j,
					 x->state, x->generation, x->incarnation, difference);
			return false;
		}
	}
	return true;
}

bool world_all_see(const struct world *w, size_t index, uint8_t state)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->node[i].up && i != index && w->node[i].member[index].state != state)
			return false;
	}
	return true;
}

bool world_all_alive(const struct world *w)
{
	for (size_t i = 0; i < w->count; i++) {
		if (w->node[i].up && !world_all_see(w, i, MEMBER_ALIVE))
			return false;
	}
	return true;
}

uint64_t world_until(struct world *w, size_t index, uint8_t state, uint64_t limit_us)
{
	uint64_t start = w->now;
	while (!world_all_see(w, index, state)) {
		if (w->now - start >= limit_us || !world_run(w, WORLD_MS))
			return WORLD_FOREVER;
	}
	return w->now - start;
}

unsigned world_deaths(const struct world *w)
{
	unsigned count = 0;
	for (size_t i = 0; i < w->count; i++)
		count += w->node[i].deaths;
	return count;
}

unsigned world_suspicions(const struct world *w)
{
	unsigned count = 0;
	for (size_t i = 0; i < w->count; i++)
		count += w->node[i].suspicions;
	return count;
}
