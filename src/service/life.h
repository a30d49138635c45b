/*
 * The life cycle of one service: a pure state machine, step(state, event, now) -> actions.
 *
 * It knows processes only as "one is running" and "the cgroup is empty"; whether a service ought to
 * run at all is decided one floor up (graph.h), which says GO and STOP. Promises, kept for every
 * sequence of events:
 *
 *   - START and UNDO are asked for only while nothing of the service runs (its cgroup was seen
 * empty);
 *   - every START is followed by an UNDO before the next START and before rest, if the service has
 * a stop command;
 *   - a STOP is never forgotten: after it, no START without a new GO;
 *   - every state that waits for a command has a deadline if the policy gives one.
 */
#ifndef SUPERVISOR_SERVICE_LIFE_H
#define SUPERVISOR_SERVICE_LIFE_H

#include <stdbool.h>
#include <stdint.h>

enum life_state {
	LIFE_IDLE,     /* nothing runs; GO starts it */
	LIFE_STARTING, /* the start command runs, not ready yet */
	LIFE_READY,    /* a daemon that is ready, a oneshot that is done, a group */
	LIFE_STOPPING, /* the process was signalled and is not gone yet */
	LIFE_CLEARING, /* the process is gone; waits for the last of the cgroup */
	LIFE_UNDOING,  /* the stop command runs */
	LIFE_BACKOFF,  /* waits before the next try */
	LIFE_ENDED,    /* ended well and is not to be restarted */
	LIFE_FAILED,   /* ended badly and is not to be restarted */
	LIFE_STATES
};

enum life_event {
	LIFE_GO,	   /* run: all it depends on is there */
	LIFE_STOP,	   /* do not run any more */
	LIFE_BECAME_READY, /* the readiness that its file asks for was seen */
	LIFE_EXIT_OK,	   /* the running command ended well */
	LIFE_EXIT_BAD,	   /* … ended badly, or could not be run at all */
	LIFE_EMPTY,	   /* the cgroup has no process left */
	LIFE_TIMER,	   /* deadline_ms has come */
	LIFE_RESET,	   /* an operator asks: forget how past runs ended */
	LIFE_EVENTS
};

/* Actions, a set of bits, to be carried out in this order. */
enum life_action {
	LIFE_DO_SIGNAL = 1 << 0, /* stop signal to the main process */
	LIFE_DO_KILL = 1 << 1,	/* SIGKILL to the whole cgroup; then LIFE_EMPTY once it is empty and
				   the command is reaped */
	LIFE_DO_START = 1 << 2, /* run the start command */
	LIFE_DO_UNDO = 1 << 3,	/* run the stop command */
};

enum life_restart { LIFE_RESTART_ALWAYS, LIFE_RESTART_ON_FAILURE, LIFE_RESTART_NEVER };

struct life_policy {
	bool oneshot;	   /* its start command ends, and that it ended well is its readiness */
	bool runs_nothing; /* group, pool: READY at GO, IDLE at STOP */
	bool has_undo;	   /* there is a stop command */
	enum life_restart restart;
	uint32_t start_timeout_ms, stop_timeout_ms; /* 0: for ever */
	uint32_t delay_ms, delay_max_ms;	    /* backoff: doubled at each failure in a row */
	uint32_t healthy_after_ms; /* ready for that long: failures in a row start at 0 again */
};

struct life {
	enum life_state state;
	bool stop_asked;   /* since the last GO */
	bool undo_due;	   /* a START happened and its UNDO did not */
	bool bad;	   /* the run that is ending, or that ended last, ended badly */
	bool succeeded;	   /* oneshot: its start command ended well, and nothing was undone since */
	bool timed_out;	   /* the run was ended by a deadline */
	uint32_t failures; /* in a row */
	uint32_t starts;   /* ever */
	uint64_t since_ms; /* when the present state began */
	uint64_t deadline_ms; /* LIFE_TIMER is due then; 0: none */
};

/* Returns a set of enum life_action. Events that mean nothing in the present state change nothing.
 * A zeroed struct life is IDLE. */
unsigned life_step(struct life *life, const struct life_policy *policy, enum life_event event,
		   uint64_t now_ms);

/* Something of it runs or is to be undone: nothing that it requires may go. */
bool life_is_active(const struct life *life);
const char *life_state_name(enum life_state state);

#endif
