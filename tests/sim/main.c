/*
 * The simulator of the gossip: one run, a sweep of seeds, or a measurement. ./build.sh sim --help
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/measure.h"
#include "tests/sim/plan.h"

static void usage(FILE *out)
{
	fputs("usage: ./build.sh sim --seed N [--nodes N] [--minutes M] [--faults LIST] [--trace]\n"
	      "                        [--loss PERCENT] [--starve PERCENT] [--turn MS] [--mild]\n"
	      "       ./build.sh sim --sweep FROM..TO [--jobs N]\n"
	      "       ./build.sh sim --measure detection|load|spread|calm [--nodes N] [--runs N]\n"
	      "                        [--minutes M] [--loss PERCENT] [--starve PERCENT] [--turn "
	      "MS]\n"
	      "\n"
	      "A run follows from its seed: size, length and faults, unless told otherwise.\n"
	      "--mild: nothing may be called dead that is well. Faults (LIST: words joined by\n"
	      "commas, all, none):\n",
	      out);
#define X(name, text) fprintf(out, "  %-8s %s\n", #name, text);
	FAULTS(X)
#undef X
}

/* Shared by the processes of a sweep. */
struct sums {
	uint64_t done, failed, first_failed, events, packets, deaths, suspicions;
	unsigned slowest_ticks;
	uint64_t slowest_seed;
};

static double now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void say_failure(const struct plan *plan, const struct plan_result *result)
{
	char names[200];
	plan_fault_names(plan->faults, names, sizeof(names));
	printf("seed %llu FAILED: %s\n    %zu nodes, %.1f s of faults: %s%s\n    again: ./build.sh "
	       "sim --seed %llu\n",
	       (unsigned long long)plan->seed, result->failure, plan->nodes,
	       (double)plan->faults_us / 1e6, names, plan->mild ? " (mild)" : "",
	       (unsigned long long)plan->seed);
	fflush(stdout);
}

static void sweep_part(struct sums *sums, uint64_t from, uint64_t to, unsigned part, unsigned parts)
{
	for (uint64_t seed = from + part; seed <= to; seed += parts) {
		struct plan plan;
		struct plan_result result;
		plan_from_seed(&plan, seed);
		plan_run(&plan, &result);
		uint64_t done = __atomic_add_fetch(&sums->done, 1, __ATOMIC_RELAXED);
		if (done % 50000 == 0) {
			printf("%llu seeds so far\n", (unsigned long long)done);
			fflush(stdout);
		}
		__atomic_add_fetch(&sums->events, result.events, __ATOMIC_RELAXED);
		__atomic_add_fetch(&sums->packets, result.packets, __ATOMIC_RELAXED);
		__atomic_add_fetch(&sums->deaths, result.deaths, __ATOMIC_RELAXED);
		__atomic_add_fetch(&sums->suspicions, result.suspicions, __ATOMIC_RELAXED);
		if (result.converged_ticks > sums->slowest_ticks) {
			sums->slowest_ticks = result.converged_ticks;
			sums->slowest_seed = seed;
		}
		if (result.failure[0] != '\0') {
			__atomic_add_fetch(&sums->failed, 1, __ATOMIC_RELAXED);
			say_failure(&plan, &result);
		}
		if (sums->failed > 20)
			return;
	}
}

static int sweep(uint64_t from, uint64_t to, unsigned jobs)
{
	struct sums *sums = mmap(NULL, sizeof(*sums), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sums == MAP_FAILED)
		return 1;
	double start = now_s();
	for (unsigned part = 0; part < jobs; part++) {
		pid_t pid = fork();
		if (pid < 0)
			return 1;
		if (pid == 0) {
			sweep_part(sums, from, to, part, jobs);
			_exit(0);
		}
	}
	int status, bad = 0;
	while (wait(&status) > 0)
		bad |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	if (bad)
		printf("a process of the sweep ended early\n");
	printf("%llu seeds, %llu failed; %llu events, %llu packets, %llu suspicions, %llu deaths; "
	       "agreement after %u ticks at most (seed %llu); %.1f s\n",
	       (unsigned long long)sums->done, (unsigned long long)sums->failed,
	       (unsigned long long)sums->events, (unsigned long long)sums->packets,
	       (unsigned long long)sums->suspicions, (unsigned long long)sums->deaths,
	       sums->slowest_ticks, (unsigned long long)sums->slowest_seed, now_s() - start);
	return sums->failed != 0 || bad || sums->done != to - from + 1;
}

static int one_run(const struct plan *plan)
{
	struct plan_result result;
	char names[200];
	plan_fault_names(plan->faults, names, sizeof(names));
	printf("seed %llu: %zu nodes, %.1f s of faults: %s%s\n", (unsigned long long)plan->seed,
	       plan->nodes, (double)plan->faults_us / 1e6, names, plan->mild ? " (mild)" : "");
	double start = now_s();
	plan_run(plan, &result);
	printf("%llu events, %llu packets, %u suspicions, %u deaths, %u of them of nodes that ran; "
	       "%.1f s\n",
	       (unsigned long long)result.events, (unsigned long long)result.packets,
	       result.suspicions, result.deaths, result.false_deaths, now_s() - start);
	if (result.failure[0] != '\0') {
		printf("FAILED: %s\n", result.failure);
		return 1;
	}
	printf("agreement %u ticks after the last fault\n", result.converged_ticks);
	return 0;
}

enum {
	SEED = 1,
	NODES,
	MINUTES,
	FAULT_LIST,
	TRACE,
	SWEEP,
	JOBS,
	MEASURE,
	RUNS,
	LOSS,
	STARVE,
	TURN,
	MILD,
	HELP
};

static const struct option options[] = {
	{"seed", 1, NULL, SEED},   {"nodes", 1, NULL, NODES},	    {"minutes", 1, NULL, MINUTES},
	{"trace", 0, NULL, TRACE}, {"faults", 1, NULL, FAULT_LIST}, {"sweep", 1, NULL, SWEEP},
	{"jobs", 1, NULL, JOBS},   {"measure", 1, NULL, MEASURE},   {"runs", 1, NULL, RUNS},
	{"loss", 1, NULL, LOSS},   {"starve", 1, NULL, STARVE},	    {"turn", 1, NULL, TURN},
	{"mild", 0, NULL, MILD},   {"help", 0, NULL, HELP},	    {NULL, 0, NULL, 0},
};

int main(int argc, char **argv)
{
	struct plan plan;
	struct measure measure = {.nodes = 6, .runs = 1000, .seed = 1};
	const char *what = NULL;
	unsigned long long from = 0, to = 0, seed = 1;
	unsigned jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	bool sweeps = false;
	/* The seed first: the rest overrides what follows from it. */
	for (int i = 1; i + 1 < argc; i++) {
		if (strcmp(argv[i], "--seed") == 0)
			seed = strtoull(argv[i + 1], NULL, 10);
	}
	plan_from_seed(&plan, seed);
	measure.seed = seed;
	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (option) {
		case SEED:
			break;
		case NODES:
			plan.nodes = measure.nodes = strtoul(optarg, NULL, 10);
			break;
		case MINUTES:
			plan.faults_us = (uint64_t)(strtod(optarg, NULL) * 60e6);
			measure.minutes = strtod(optarg, NULL);
			break;
		case FAULT_LIST:
			plan.mild = false;
			if (!plan_parse_faults(optarg, &plan.faults)) {
				usage(stderr);
				return 2;
			}
			break;
		case TRACE:
			plan.trace = true;
			break;
		case SWEEP:
			sweeps = sscanf(optarg, "%llu..%llu", &from, &to) == 2 && from <= to;
			if (!sweeps) {
				usage(stderr);
				return 2;
			}
			break;
		case JOBS:
			jobs = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case MEASURE:
			what = optarg;
			break;
		case RUNS:
			measure.runs = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case LOSS:
			plan.loss_permille = measure.loss_permille =
				(uint32_t)(strtod(optarg, NULL) * 10);
			break;
		case STARVE:
			plan.starve_percent = measure.starve_percent =
				(uint32_t)strtoul(optarg, NULL, 10);
			break;
		case TURN:
			plan.starve_period_ms = measure.starve_period_ms =
				(uint32_t)strtoul(optarg, NULL, 10);
			break;
		case MILD:
			plan.mild = true;
			break;
		case HELP:
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind != argc || plan.nodes < 1 || plan.nodes > 60000 || jobs < 1) {
		usage(stderr);
		return 2;
	}
	if (what)
		return measure_run(&measure, what);
	return sweeps ? sweep(from, to, jobs) : one_run(&plan);
}
