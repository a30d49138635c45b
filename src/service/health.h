/*
 * The health of one service that is ready: a pure state machine, step(state, event, now) ->
 * actions.
 *
 * Two ways to be found unhealthy, each of which a service may have or not: a check that this
 * machine asks for at an interval, and the watchdog, which the service itself has to ping in time.
 * The check is a process; here it is only "one is running". What follows from UNHEALTHY is the life
 * cycle's business (life.h). Promises, kept for every sequence of events:
 *
 *   - never two checks at a time: RUN_CHECK only after the last check was told to be gone;
 *   - a check that outlives its timeout is killed, and counts as failed; one that cannot be killed
 *     counts again each time its timeout passes once more;
 *   - UNHEALTHY at most once between two READY, and only after `retries` failures in a row, after
 *     a missed ping, or because the service asks for it; a ping is missed only if TIMER comes
 *     within one more period of the watchdog (later, the machine itself was suspended);
 *   - after UNHEALTHY or NOT_READY no check runs, but for one that is being killed;
 *   - a deadline only while there is something to wait for: no check and no watchdog, no wake-up.
 */
#ifndef SUPERVISOR_SERVICE_HEALTH_H
#define SUPERVISOR_SERVICE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

enum health_state {
	HEALTH_OFF,	 /* not ready, or found unhealthy; no check is left */
	HEALTH_WAITING,	 /* ready; no check runs */
	HEALTH_CHECKING, /* a check runs */
	HEALTH_KILLING,	 /* a check that took too long was killed and is not gone yet */
	HEALTH_LEAVING,	 /* as OFF, but a check was killed and is not gone yet */
	HEALTH_STATES
};

/* Events. The last two are the machine's own: what TIMER turns out to mean. */
enum health_event {
	HEALTH_STARTED,	   /* a new run of the service begins: WATCHDOG_USEC of the last is over */
	HEALTH_READY,	   /* the service became ready */
	HEALTH_NOT_READY,  /* … is not ready any more: stops, ended, reloads */
	HEALTH_CHECK_OK,   /* the check has ended and is gone, leftovers too; the service is well */
	HEALTH_CHECK_BAD,  /* … is not well */
	HEALTH_CHECK_LOST, /* … could not be run at all for want of memory or processes: says
			      nothing about the service */
	HEALTH_PING,	   /* sd_notify: WATCHDOG=1 */
	HEALTH_TRIGGER,	   /* sd_notify: WATCHDOG=trigger */
	HEALTH_SET_WATCHDOG, /* sd_notify: WATCHDOG_USEC=…; the time is in `watchdog_ms` already */
	HEALTH_TIMER,	     /* deadline_ms has come */
	HEALTH_CHECK_DUE,
	HEALTH_PING_MISSED,
	HEALTH_EVENTS
};

/* Actions, a set of bits, to be carried out in this order. */
enum health_action {
	HEALTH_DO_KILL_CHECK = 1 << 0, /* kill it and all it has left; then one of CHECK_… */
	HEALTH_DO_RUN_CHECK = 1 << 1,  /* then one of CHECK_…, once it is gone */
	HEALTH_DO_UNHEALTHY = 1 << 2,  /* `cause` says why */
};

enum health_cause { HEALTH_FINE, HEALTH_CHECKS_FAILED, HEALTH_NO_PING, HEALTH_TRIGGERED };

struct health_policy {
	bool has_check;
	uint32_t interval_ms; /* from READY to the first check, and from one's end to the next */
	uint32_t timeout_ms;
	uint32_t retries;	  /* failures in a row that make it unhealthy; 0 is taken as 1 */
	uint32_t start_period_ms; /* from READY: failures do not count; a success ends it */
	uint32_t watchdog_ms;	  /* 0: no watchdog, unless the service sets one */
};

struct health {
	enum health_state state;
	enum health_cause cause;   /* of the last UNHEALTHY; forgotten at READY */
	uint32_t failures;	   /* in a row, those that count */
	uint32_t watchdog_ms;	   /* the policy's at STARTED, else the service's own; 0: none */
	uint64_t lenient_until_ms; /* end of the start period */
	uint64_t check_ms;	   /* CHECK_DUE then; 0: never */
	uint64_t ping_ms;	   /* PING_MISSED then; 0: never */
	uint64_t deadline_ms;	   /* HEALTH_TIMER is due then; 0: none */
};

/* Returns a set of enum health_action. Events that mean nothing in the present state change
 * nothing. A zeroed struct health is OFF. */
unsigned health_step(struct health *health, const struct health_policy *policy,
		     enum health_event event, uint64_t now_ms);
/* The service sets its own watchdog (0: none); a running period starts anew. */
void health_set_watchdog(struct health *health, const struct health_policy *policy,
			 uint32_t watchdog_ms, uint64_t now_ms);

/* A process of a check is there, or is to be there as soon as the actions are carried out. */
bool health_has_check(const struct health *health);
const char *health_state_name(enum health_state state);

#endif
