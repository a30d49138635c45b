/*
 * What goes wrong in a run: a plan follows from its seed, or from what the user asks for. Running
 * it means: all come up, faults for a while, none from then on; then everybody must agree with the
 * truth within a number of ticks that grows with the logarithm of the size, and keep to it.
 */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include "tests/sim/world.h"

#define FAULTS(X)                                                                    \
	X(loss, "packets get lost")                                                  \
	X(twice, "packets come twice")                                               \
	X(late, "packets are late and overtaken")                                    \
	X(cut, "links are cut, also in one direction only")                          \
	X(split, "the cluster falls into parts")                                     \
	X(pause, "processes stop for a while, their clock goes on")                  \
	X(freeze, "machines stop for a while, and their clocks with them")           \
	X(rate, "clocks run up to 5 % fast or slow")                                 \
	X(starve, "a node gets a tenth of its processor")                            \
	X(crash, "machines crash and boot again")                                    \
	X(burst, "many crash, and come back together")                               \
	X(mixed, "every third node speaks an older version; up- and downgrades")     \
	X(leave, "nodes say that they go, and go")                                   \
	X(restart, "the gossip process alone is replaced, with or without a memory") \
	X(status, "what nodes say of themselves changes")

enum {
#define X(name, text) FAULT_##name##_bit,
	FAULTS(X)
#undef X
		FAULT_COUNT
};
#define FAULT(name) (1u << FAULT_##name##_bit)

struct plan {
	uint64_t seed;
	size_t nodes;
	uint64_t faults_us; /* how long things go wrong */
	unsigned faults;    /* FAULT(…) */
	/* No faults that could excuse a false death: at most 5 % loss, 50 ms delay, one starved
	 * node, turns of 100 ms at most. Then there must be none. */
	bool mild;
	uint32_t loss_permille;			   /* with loss */
	uint32_t starve_percent, starve_period_ms; /* with starve */
	bool trace;
};

struct plan_result {
	char failure[400]; /* empty: all is well */
	unsigned converged_ticks;
	uint64_t events, packets;
	unsigned deaths, false_deaths, suspicions;
};

void plan_from_seed(struct plan *plan, uint64_t seed);
void plan_run(const struct plan *plan, struct plan_result *result);
/* A text of the names of the faults; false: one is unknown. */
void plan_fault_names(unsigned faults, char *out, size_t bytes);
bool plan_parse_faults(const char *text, unsigned *faults);
/* Ticks that it may take to agree. */
unsigned plan_converge_limit(size_t nodes);

#endif
