/* What the documents claim, measured in virtual time: detection, load, spread, calm. */
#ifndef TESTS_SIM_MEASURE_H
#define TESTS_SIM_MEASURE_H

#include <stddef.h>
#include <stdint.h>

struct measure {
	uint64_t seed;
	size_t nodes;
	unsigned runs;
	double minutes; /* 0: what is usual */
	uint32_t loss_permille, starve_percent, starve_period_ms;
};

/* Prints; returns the exit code: 2 for an unknown `what`. */
int measure_run(const struct measure *measure, const char *what);

#endif
