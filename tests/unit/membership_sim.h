/*
 * A cluster of membership state machines under one virtual clock: a seed replays a run. Links lose,
 * delay and cut (also one way); nodes crash, boot anew, pause with their clock of silence standing
 * still, and lose their gossip process. The handshake that proves a boot id (src/gossip/seal.c) is
 * modelled by its effect: two packets there and back.
 */
#ifndef TESTS_UNIT_MEMBERSHIP_SIM_H
#define TESTS_UNIT_MEMBERSHIP_SIM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/cluster/membership.h"

#define SIM_NODES   48
#define SIM_PACKETS 20000

enum { SIM_FREE, SIM_HEARTBEAT, SIM_HANDSHAKE };

struct sim_packet {
	int kind; /* SIM_FREE: none */
	uint64_t due_ms, sequence;
	size_t from, to;
	uint64_t from_boot, to_boot;
	uint64_t stamp, echo, held; /* echo 0: none */
	struct membership_heartbeat heartbeat;
};

struct sim_node {
	bool up, paused;
	uint64_t boot;
	struct membership m;
	struct member member[SIM_NODES];
	uint16_t order[SIM_NODES];
	struct membership_case cases[SIM_NODES];
	uint64_t known_boot[SIM_NODES], contact_ms[SIM_NODES], newest[SIM_NODES];
	uint64_t stamp[SIM_NODES], stamp_ms[SIM_NODES];
	uint64_t sent, steps, gone_ms;
	unsigned suspicions, deaths; /* times that it called anyone suspect, dead */
	uint8_t last_state[SIM_NODES];
};

struct sim {
	size_t count;
	uint64_t now, random, sequence, boots;
	unsigned loss_percent, delay_min_ms, delay_max_ms;
	bool cut[SIM_NODES][SIM_NODES]; /* from, to */
	struct sim_node node[SIM_NODES];
	struct sim_packet *packet;
	size_t packets;
};

static inline uint64_t sim_random(struct sim *sim)
{
	sim->random ^= sim->random << 13;
	sim->random ^= sim->random >> 7;
	sim->random ^= sim->random << 17;
	return sim->random;
}

static inline bool sim_passes(struct sim *sim, size_t from, size_t to)
{
	return !sim->cut[from][to] && sim_random(sim) % 100 >= sim->loss_percent;
}

static inline uint64_t sim_delay(struct sim *sim)
{
	return sim->delay_min_ms + sim_random(sim) % (sim->delay_max_ms - sim->delay_min_ms + 1);
}

static inline struct sim_packet *sim_new_packet(struct sim *sim, int kind, size_t from, size_t to)
{
	assert_true(sim->packets < SIM_PACKETS);
	struct sim_packet *p = &sim->packet[sim->packets++];
	memset(p, 0, offsetof(struct sim_packet, heartbeat));
	p->kind = kind;
	p->due_ms = sim->now + sim_delay(sim);
	p->sequence = ++sim->sequence;
	p->from = from;
	p->to = to;
	p->from_boot = sim->node[from].boot;
	p->to_boot = sim->node[from].known_boot[to];
	return p;
}

static inline void sim_send(struct sim *sim, size_t from, const struct membership_action *action)
{
	struct sim_node *n = &sim->node[from];
	size_t to = action->index;
	n->sent++;
	if (n->known_boot[to] == 0 || sim->now - n->stamp_ms[to] > 1000) {
		struct sim_packet *hello = sim_new_packet(sim, SIM_HANDSHAKE, from, to);
		if (!sim_passes(sim, from, to) || !sim_passes(sim, to, from))
			sim->packets--;
		else
			hello->due_ms += sim_delay(sim) * 2;
	}
	if (n->known_boot[to] == 0 || !sim_passes(sim, from, to))
		return;
	struct sim_packet *p = sim_new_packet(sim, SIM_HEARTBEAT, from, to);
	p->stamp = sim->now;
	p->echo = n->stamp[to];
	p->held = sim->now - n->stamp_ms[to];
	membership_fill(&n->m, action, sim->now, &p->heartbeat);
	assert_true(p->heartbeat.record_count <= MEMBERSHIP_RECORDS_MAX);
}

/* What must hold after any step whatever. */
static inline void sim_check(struct sim *sim, size_t i)
{
	struct sim_node *n = &sim->node[i];
	const struct member *self = &n->member[i];
	assert_true(self->state == MEMBER_ALIVE ||
		    (n->m.leaving_ms != 0 && self->state == MEMBER_LEFT));
	assert_true(self->boot_id == n->boot);
	for (size_t j = 0; j < sim->count; j++) {
		const struct member *x = &n->member[j];
		assert_true(x->state <= MEMBER_LEFT);
		assert_true(x->state == MEMBER_UNKNOWN || x->boot_id != 0);
		assert_true(x->since_ms <= sim->now && x->heard_ms <= sim->now &&
			    x->evidence_ms <= sim->now);
		if (x->state == MEMBER_DEAD && n->last_state[j] != MEMBER_DEAD)
			n->deaths++;
		if (x->state == MEMBER_SUSPECT && n->last_state[j] != MEMBER_SUSPECT)
			n->suspicions++;
		n->last_state[j] = x->state;
	}
}

static inline void sim_step(struct sim *sim, size_t i, const struct membership_event *event)
{
	static struct membership_actions actions;
	struct sim_node *n = &sim->node[i];
	n->steps++;
	membership_step(&n->m, event, sim->now, &actions);
	assert_true(actions.count <= MEMBERSHIP_ACTIONS_MAX);
	bool reported[SIM_NODES] = {false};
	for (size_t a = 0; a < actions.count; a++) {
		const struct membership_action *action = &actions.action[a];
		assert_true(action->index < sim->count);
		if (action->type == MEMBERSHIP_SEND) {
			assert_true(action->index != i && n->gone_ms == 0);
			sim_send(sim, i, action);
		} else if (action->type == MEMBERSHIP_CHANGED) {
			reported[action->index] = true;
		} else {
			n->gone_ms = sim->now;
		}
	}
	for (size_t j = 0; j < sim->count; j++)
		assert_true(reported[j] || n->member[j].state == n->last_state[j]);
	sim_check(sim, i);
}

static inline void sim_contact(struct sim *sim, size_t i, size_t with)
{
	struct sim_node *n = &sim->node[i];
	if (n->known_boot[with] == sim->node[with].boot)
		return;
	n->known_boot[with] = sim->node[with].boot;
	n->contact_ms[with] = n->stamp_ms[with] = sim->now;
	n->newest[with] = n->stamp[with] = 0;
	struct membership_event event = {
		.type = MEMBERSHIP_CONTACT,
		.from = (uint16_t)with,
		.version = MEMBERSHIP_VERSION,
		.boot_id = n->known_boot[with],
	};
	sim_step(sim, i, &event);
}

static inline void sim_receive(struct sim *sim, const struct sim_packet *p)
{
	struct sim_node *n = &sim->node[p->to];
	if (p->kind == SIM_HANDSHAKE) {
		if (!sim->node[p->from].up || sim->node[p->from].paused ||
		    sim->node[p->from].boot != p->from_boot)
			return;
		sim_contact(sim, p->from, p->to);
		sim_contact(sim, p->to, p->from);
		return;
	}
	if (p->to_boot != n->boot || p->from_boot != n->known_boot[p->from])
		return;
	bool newest = p->sequence > n->newest[p->from];
	if (newest) {
		n->newest[p->from] = p->sequence;
		n->stamp[p->from] = p->stamp;
		n->stamp_ms[p->from] = sim->now;
	}
	bool young = sim->now - n->contact_ms[p->from] < 1000;
	struct membership_event event = {
		.type = MEMBERSHIP_HEARTBEAT,
		.from = (uint16_t)p->from,
		.version = MEMBERSHIP_VERSION,
		.boot_id = p->from_boot,
		.newest = newest,
		.age_ms = p->echo != 0 ? (uint32_t)(sim->now - p->echo)
			  : young      ? 0
				       : UINT32_MAX,
		.heartbeat = &p->heartbeat,
	};
	sim_step(sim, p->to, &event);
}

static inline void sim_deliver(struct sim *sim)
{
	static struct sim_packet due;
	for (size_t i = 0; i < sim->packets;) {
		struct sim_packet *p = &sim->packet[i];
		bool waits = sim->node[p->to].up && sim->node[p->to].paused;
		if (p->due_ms > sim->now || waits) {
			i++;
			continue;
		}
		due = *p;
		*p = sim->packet[--sim->packets];
		if (sim->node[due.to].up)
			sim_receive(sim, &due);
	}
}

static inline void sim_run(struct sim *sim, uint64_t ms)
{
	for (uint64_t end = sim->now + ms; sim->now < end;) {
		sim->now++;
		for (size_t i = 0; i < sim->count; i++) {
			struct sim_node *n = &sim->node[i];
			struct membership_event event = {.type = MEMBERSHIP_TIME};
			/* One judgement may make another one due, but time handled is time past: no
			 * caller spins. */
			for (unsigned again = 0; n->up && !n->paused; again++) {
				if (sim->now < membership_next_ms(&n->m))
					break;
				assert_true(again < sim->count);
				event.random = sim_random(sim);
				sim_step(sim, i, &event);
			}
		}
		sim_deliver(sim);
	}
}

static inline void sim_start_process(struct sim *sim, size_t i)
{
	struct sim_node *n = &sim->node[i];
	uint64_t boot = n->boot;
	memset(n, 0, sizeof(*n));
	n->boot = boot;
	n->up = true;
	const struct membership_config config = {
		.timers = &membership_timers_default,
		.count = sim->count,
		.self = i,
		.boot_id = boot,
		.version = MEMBERSHIP_VERSION,
		.member = n->member,
		.order = n->order,
		.cases = n->cases,
		.case_count = SIM_NODES,
	};
	membership_init(&n->m, &config, sim->now);
	n->last_state[i] = MEMBER_ALIVE;
}

static inline void sim_boot(struct sim *sim, size_t i)
{
	sim->node[i].boot = 1000 + ++sim->boots;
	sim_start_process(sim, i);
}

/* A crash: what it had sent still travels. */
static inline void sim_kill(struct sim *sim, size_t i)
{
	sim->node[i].up = false;
}

static inline void sim_cut(struct sim *sim, size_t a, size_t b, bool both)
{
	sim->cut[a][b] = true;
	if (both)
		sim->cut[b][a] = true;
}

static inline struct sim *sim_new(size_t count, uint64_t seed)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	assert_non_null(sim);
	sim->packet = calloc(SIM_PACKETS, sizeof(*sim->packet));
	assert_non_null(sim->packet);
	sim->count = count;
	sim->now = 1000;
	sim->random = seed * 0x9e3779b97f4a7c15ull + 1;
	sim->delay_min_ms = 1;
	sim->delay_max_ms = 3;
	for (size_t i = 0; i < count; i++) {
		sim_run(sim, sim_random(sim) % 200);
		sim_boot(sim, i);
	}
	return sim;
}

static inline void sim_free(struct sim *sim)
{
	free(sim->packet);
	free(sim);
}

/* All running nodes but `by` aside see `index` in `state`. */
static inline bool sim_all_see(const struct sim *sim, size_t index, uint8_t state)
{
	for (size_t i = 0; i < sim->count; i++) {
		if (sim->node[i].up && i != index && sim->node[i].member[index].state != state)
			return false;
	}
	return true;
}

static inline bool sim_all_alive(const struct sim *sim)
{
	for (size_t i = 0; i < sim->count; i++) {
		if (sim->node[i].up && !sim_all_see(sim, i, MEMBER_ALIVE))
			return false;
	}
	return true;
}

static inline unsigned sim_deaths(const struct sim *sim)
{
	unsigned deaths = 0;
	for (size_t i = 0; i < sim->count; i++)
		deaths += sim->node[i].deaths;
	return deaths;
}

static inline unsigned sim_suspicions(const struct sim *sim)
{
	unsigned suspicions = 0;
	for (size_t i = 0; i < sim->count; i++)
		suspicions += sim->node[i].suspicions;
	return suspicions;
}

/* Milliseconds until all see it, UINT64_MAX if not within limit_ms. */
static inline uint64_t sim_until(struct sim *sim, size_t index, uint8_t state, uint64_t limit_ms)
{
	uint64_t start = sim->now;
	while (!sim_all_see(sim, index, state)) {
		if (sim->now - start >= limit_ms)
			return UINT64_MAX;
		sim_run(sim, 1);
	}
	return sim->now - start;
}

#endif
