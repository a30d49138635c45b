/*
 * Asks a service from outside whether it is ready, and whether it is well: `ready = tcp …`, `unix
 * …` and `command …`; `check = …`; the watchdog of sd_notify(3). What follows from the answers is
 * decided by src/service/life.h and src/service/health.h; the asking itself is done by a child
 * (helper.h), one at a time for each service.
 *
 * The child runs as the service's user. The worker `check` of this program gets no capability and a
 * filter of its own; a command has the service's whole sandbox, but in mounts of its own.
 */
#ifndef SUPERVISOR_SUPERVISE_PROBE_H
#define SUPERVISOR_SUPERVISE_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "src/service/health.h"
#include "src/service/life.h"
#include "src/supervise/helper.h"

struct instance;

enum probe_result { PROBE_NONE, PROBE_GOOD, PROBE_BAD };

struct probe {
	struct helper helper;
	bool is_check; /* what runs is the check, else the readiness probe */
	bool lost;     /* it could not be run for want of memory or processes */
	bool awaits;   /* the service is executing, and whether it is ready is to be asked */
	const struct seccomp_program *filter; /* of the worker check; NULL: not needed */
	bool no_filter;			      /* it was needed, and not to be had */
	bool timed_out;			      /* the check that runs was killed for that */
	uint32_t again_after_ms;	      /* readiness: the pause after the next try in vain */
	uint64_t again_at_ms;		      /* … and its end; 0: none */
	struct health health;
	struct health_policy policy;
	enum probe_result result;     /* of the last check of this run of the service */
	char text[HELPER_TEXT_BYTES]; /* what it said */
};

/* From the definition; opens nothing. False after having said why not. */
bool probe_init(struct instance *instance);
/* The definition of a running service has changed in what its process need not know. */
void probe_redefine(struct instance *instance);
/* The service's start command is executing. */
void probe_begin(struct instance *instance);
/* After every step of its life; `before` and `starts`: what it was. */
void probe_follow(struct instance *instance, enum life_state before, uint32_t starts);
/* A process was reaped: true if it was this one's. */
bool probe_reaped(struct instance *instance, pid_t pid, int status);
/* Carries out what is due; then the next time something is, 0: never. */
void probe_timers(struct instance *instance, uint64_t now_ms);
uint64_t probe_next_ms(const struct instance *instance);

/* sd_notify(3): WATCHDOG=1, WATCHDOG=trigger; WATCHDOG_USEC=… (0: none). */
void probe_ping(struct instance *instance);
void probe_trigger(struct instance *instance);
void probe_set_watchdog(struct instance *instance, uint32_t watchdog_ms);

/* Its life's deadline has passed: into instance->reason what was awaited for how long. */
void probe_note_timeout(struct instance *instance, enum life_state state);
/* "" or one line: what a service that starts is waiting for; what is wrong with one that runs. */
void probe_why(const struct instance *instance, char *text, size_t text_bytes);

#endif
