/*
 * The life cycle of one service: a pure state machine, step(state, event, now) -> actions.
 *
 * It knows processes only as "one is running" and "the cgroup is empty"; whether a service ought to
 * run at all is decided one floor up (graph.h), which says GO and STOP. Promises, kept for every
 * sequence of events:
 *
 *   - LISTEN, START, UNDO and GIVE_UP are asked for only while nothing of the service runs (its
 *     cgroup was seen empty);
 *   - every START is followed by an UNDO before the next START and before rest, if the service has
 *     a stop command;
 *   - a STOP is never forgotten: after it, no LISTEN and no START without a new GO;
 *   - every state that waits for a command has a deadline if the policy gives one.
 */
#ifndef SUPERVISOR_SERVICE_LIFE_H
#define SUPERVISOR_SERVICE_LIFE_H

#include <stdbool.h>
#include <stdint.h>

enum life_state {
	LIFE_IDLE,	/* nothing runs; GO starts it */
	LIFE_LISTENING, /* on demand: its sockets are open, the first client starts it */
	LIFE_STARTING,	/* the start command runs, not ready yet */
	LIFE_READY,	/* a daemon that is ready, a oneshot that is done, a group */
	LIFE_RELOADING, /* it reads its configuration again, and is not ready meanwhile */
	LIFE_STOPPING,	/* the process was signalled, or says that it ends, and is not gone yet */
	LIFE_CLEARING,	/* the process is gone; waits for the last of the cgroup */
	LIFE_UNDOING,	/* the stop command runs */
	LIFE_BACKOFF,	/* waits before the next try */
	LIFE_GIVING_UP, /* too many restarts: the command for that case runs */
	LIFE_ENDED,	/* ended well and is not to be restarted */
	LIFE_FAILED,	/* ended badly and is not to be restarted */
	LIFE_STATES
};

enum life_event {
	LIFE_GO,	   /* run: all it depends on is there */
	LIFE_STOP,	   /* do not run any more */
	LIFE_DEMAND,	   /* a client is at its sockets */
	LIFE_BECAME_READY, /* the readiness that its file asks for was seen; or: reloaded */
	LIFE_RELOAD,	   /* an operator asks it to read its configuration again */
	LIFE_RELOADS,	   /* it says that it does */
	LIFE_LEAVES,	   /* it says that it is about to end */
	LIFE_UNUSED,	   /* on demand: nobody needs it for now */
	LIFE_UNHEALTHY,	   /* its checks failed, or its watchdog was not fed */
	LIFE_EXIT_OK,	   /* the running command ended well */
	LIFE_EXIT_BAD,	   /* … ended badly, or could not be run at all */
	LIFE_EMPTY,	   /* the cgroup has no process left */
	LIFE_TIMER,	   /* deadline_ms has come */
	LIFE_RESET,	   /* an operator asks: forget how past runs ended */
	LIFE_EVENTS
};

/* Actions, a set of bits, to be carried out in this order. */
enum life_action {
	LIFE_DO_SIGNAL = 1 << 0,  /* stop signal to the main process */
	LIFE_DO_KILL = 1 << 1,	  /* SIGKILL to the whole cgroup; then LIFE_EMPTY once it is empty
				     and the command is reaped */
	LIFE_DO_LISTEN = 1 << 2,  /* open the sockets; LIFE_DEMAND when one becomes readable */
	LIFE_DO_START = 1 << 3,	  /* run the start command */
	LIFE_DO_UNDO = 1 << 4,	  /* run the stop command */
	LIFE_DO_RELOAD = 1 << 5,  /* run the reload command (one that still runs took too long:
				     kill it), or send the reload signal */
	LIFE_DO_GIVE_UP = 1 << 6, /* run the command for too many restarts */
	LIFE_DO_REBOOT = 1 << 7,  /* too many restarts, and the machine is to begin anew */
};

enum life_restart { LIFE_RESTART_ALWAYS, LIFE_RESTART_ON_FAILURE, LIFE_RESTART_NEVER };
enum life_reload { LIFE_RELOAD_NONE, LIFE_RELOAD_SIGNAL, LIFE_RELOAD_COMMAND };
enum life_limit { LIFE_LIMIT_GIVE_UP, LIFE_LIMIT_COMMAND, LIFE_LIMIT_REBOOT };

#define LIFE_RESTARTS_MAX 16 /* the highest limit of restarts */

struct life_policy {
	bool oneshot;	   /* its start command ends, and that it ended well is its readiness */
	bool runs_nothing; /* group, pool: READY at GO, IDLE at STOP */
	bool on_demand;	   /* GO only makes it listen */
	bool has_undo;	   /* there is a stop command */
	enum life_restart restart;
	enum life_reload reload;
	uint32_t start_timeout_ms, stop_timeout_ms; /* 0: for ever */
	uint32_t delay_ms, delay_max_ms;	    /* backoff: doubled at each failure in a row */
	uint32_t healthy_after_ms; /* ready for that long: failures in a row start at 0 again */
	/* More than so many restarts in so long are given up. 0: never; <= LIFE_RESTARTS_MAX */
	uint32_t limit_restarts, limit_window_ms;
	enum life_limit on_limit;
};

struct life {
	enum life_state state;
	bool stop_asked;   /* since the last GO */
	bool undo_due;	   /* a START happened and its UNDO did not */
	bool bad;	   /* the run that is ending, or that ended last, ended badly */
	bool succeeded;	   /* oneshot: its start command ended well, and nothing was undone since */
	bool timed_out;	   /* the run was ended by a deadline */
	bool unhealthy;	   /* the run was ended for its health */
	bool unused;	   /* the run was ended because nobody used it */
	bool given_up;	   /* by the limit of restarts */
	bool stands;	   /* on demand: whatever its processes do, its sockets take clients */
	bool reload_again; /* asked to reload while it did */
	uint32_t failures; /* in a row */
	uint32_t starts;   /* ever */
	uint32_t random;   /* a seed for the jitter of backoff; 0: no jitter */
	uint64_t since_ms; /* when the present state began */
	uint64_t ready_ms; /* when it last became ready; a reload does not count */
	uint64_t deadline_ms;			/* LIFE_TIMER is due then; 0: none */
	uint64_t restart_ms[LIFE_RESTARTS_MAX]; /* times of the last restarts, a ring */
	uint32_t restarts;			/* written into it */
};

/* Returns a set of enum life_action. Events that mean nothing in the present state change nothing.
 * A zeroed struct life is IDLE. */
unsigned life_step(struct life *life, const struct life_policy *policy, enum life_event event,
		   uint64_t now_ms);

/* It asks for more time (EXTEND_TIMEOUT_USEC of sd_notify(3)): what it is about to do may take
 * `more_ms` from now. Never shortens; no effect where no deadline runs for it. */
void life_extend(struct life *life, uint64_t now_ms, uint64_t more_ms);

/* Something of it runs or is to be undone: nothing that it requires may go. */
bool life_is_active(const struct life *life);
/* Others may stand on it. */
bool life_is_up(const struct life *life);
const char *life_state_name(enum life_state state);

#endif
