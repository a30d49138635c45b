/*
 * A cluster under one virtual clock: the membership (src/cluster), the packets' layout (wire.c) and
 * what is learnt from them about the way (link.c) are the program's own code; the network, the
 * machines and their clocks are made up here. A seed replays a run, byte for byte.
 *
 * Modelled by its effect is the seal (src/gossip/seal.c): the handshake of three packets that
 * proves a boot, the refusal of packets of other boots, the window against duplicates.
 *
 * After each event the rules of check.c are looked at. The first one broken stops the world:
 * world->failure says which.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/cluster/membership.h"
#include "src/gossip/link.h"
#include "src/gossip/wire.h"

#define WORLD_MS      1000u /* virtual time is in microseconds */
#define WORLD_SECOND  1000000u
#define WORLD_FOREVER UINT64_MAX
#define WORLD_INBOX   256 /* packets that a sleeping node's socket holds */
#define WORLD_WINDOW  16  /* packets that may overtake each other */
/* A node of a large world remembers so many sessions only; real ones keep all. */
#define WORLD_SESSIONS_MAX   1024
#define WORLD_SESSIONS_LARGE 509
#define WORLD_SHADOW_MAX     512 /* up to that many nodes each one's view is checked in full */
#define WORLD_OVERHEAD	     (WIRE_HEADER_BYTES + WIRE_SEAL_BYTES)

struct world_network {
	uint32_t loss_permille, duplicate_permille;
	uint32_t slow_permille; /* packets that are late, and overtaken */
	uint32_t delay_us, jitter_us, slow_us;
};

/* What a node knows of its session with another one. */
struct pair {
	uint32_t peer;
	bool used, stranger;
	uint64_t known_boot;
	struct link link;
	uint64_t hello_us; /* last one sent */
	uint64_t floor, window[WORLD_WINDOW];
	uint64_t second, in_second; /* packets sent in that second */
};

/* What check.c remembers of a node's view. */
struct shadow {
	uint64_t life; /* generation, incarnation */
	uint64_t heard_ms, heard_boot;
	uint8_t state;
};

struct sim_node {
	bool up, asleep, frozen; /* frozen: its clock stands still while it sleeps */
	uint8_t version;
	uint32_t starved_percent;  /* of the time it does not run … */
	uint64_t starve_period_us; /* … in turns of up to that long */
	uint64_t boot, process;
	int64_t rate_ppm;
	uint64_t offset_us, frozen_us, slept_us;
	uint64_t timer_us; /* pending; WORLD_FOREVER none */
	uint32_t inbox_first, inbox_last, inbox_count;
	struct membership m;
	struct member *member;
	uint16_t *order;
	struct member_tags *tags;
	struct membership_case *cases;
	struct pair *pair;
	struct shadow *shadow; /* NULL in large worlds */
	struct member_status status;
	struct member_tags own_tags;
	uint64_t own_life; /* of this process */
	uint64_t changes;  /* sequence of the last one reported */
	uint64_t gone_us;  /* it told that it left */

	/* Counted. */
	uint64_t packets_out, bytes_out, steps;
	unsigned suspicions, deaths, false_deaths;
	unsigned change_count[MEMBER_CHANGE_UPDATED + 1];
};

struct world_config {
	uint64_t seed;
	size_t nodes;
	bool settled;	   /* all know each other from the start */
	bool apart;	   /* nobody is started yet */
	uint8_t old_every; /* one node in so many speaks only the oldest version; 0 none */
	int64_t rate_ppm;  /* clocks run up to that much fast or slow */
	bool tags;
};

struct sim_event {
	uint64_t time_us, order;
	uint32_t kind, what;
};

struct world {
	struct world_config config;
	size_t count;
	uint64_t now, random, order, boots, processes;
	struct world_network net;
	struct sim_node *node;
	uint8_t *cut;	/* [from * count + to]; NULL in large worlds */
	uint32_t *side; /* partition: who is on which */
	bool split;
	uint64_t *id;
	uint16_t *by_id;
	struct wire_table table;
	uint64_t *killed;      /* newest life of each that anybody judged dead */
	uint64_t *newest_life; /* newest that each told of itself */

	struct sim_event *heap;
	size_t heap_count, heap_room;
	struct sim_packet *packet;
	size_t packet_count;
	uint32_t packet_free;

	uint64_t events, packets;
	unsigned false_deaths; /* of nodes that ran at the time */
	bool no_false_death;   /* none may happen */
	bool lies;	       /* packets are forged: what is believed may be wrong */
	bool trace;
	void (*on_change)(struct world *w, size_t node, size_t member,
			  const struct membership_change *change);
	void *context;
	char failure[400]; /* empty: all is well */
};

struct world *world_new(const struct world_config *config);
void world_free(struct world *w);
/* False when a rule was broken. */
bool world_run(struct world *w, uint64_t us);

uint64_t world_random(struct world *w);
uint64_t world_below(struct world *w, uint64_t limit);

/* Machines. */
void world_boot(struct world *w, size_t i);
void world_kill(struct world *w, size_t i);
/* The gossip process alone is replaced; `restore`: the new one is told what the old one knew. */
void world_restart(struct world *w, size_t i, bool restore);
void world_sleep(struct world *w, size_t i, uint64_t us, bool frozen);
void world_wake(struct world *w, size_t i);
void world_starve(struct world *w, size_t i, uint32_t percent, uint64_t period_us);
void world_leave(struct world *w, size_t i);
void world_status(struct world *w, size_t i, struct member_status status, const char *tags);
void world_step(struct world *w, size_t i, const struct membership_event *event);

/* The network. */
void world_cut(struct world *w, size_t from, size_t to, bool both);
void world_split(struct world *w, size_t sides);
void world_heal(struct world *w);

/* What is believed. */
uint64_t world_clock_us(const struct world *w, const struct sim_node *n);
bool world_all_see(const struct world *w, size_t index, uint8_t state);
bool world_all_alive(const struct world *w);
/* All that run agree with the truth and with each other. `why` (may be NULL): who does not. */
bool world_converged(const struct world *w, char *why, size_t why_bytes);
/* Microseconds until all see it, WORLD_FOREVER if not within the limit. */
uint64_t world_until(struct world *w, size_t index, uint8_t state, uint64_t limit_us);
unsigned world_deaths(const struct world *w);
unsigned world_suspicions(const struct world *w);

/* check.c */
__attribute__((format(printf, 2, 3))) void world_fail(struct world *w, const char *format, ...);
void check_forget(struct world *w, size_t i);
void check_heard(struct world *w, size_t i, size_t from, uint64_t boot, uint32_t age_ms);
void check_step(struct world *w, size_t i, const struct membership_event *event,
		const struct membership_actions *actions);
void check_heartbeat(struct world *w, const struct membership_heartbeat *hb);

#endif
