/*
 * A new configuration under running services. It is loaded and checked whole; a wrong one changes
 * nothing. Then only what changed is touched:
 *
 *   - who is described as before keeps its process; keys that are the supervising process's own
 *     business (dependencies, timeouts, restarts, checks) count from now on;
 *   - who is described otherwise is stopped by its old definition, and started by the new one;
 *   - who is new starts;
 *   - who is gone from it is stopped, and leaves the set once it is at rest.
 *
 * Indices follow the new configuration; those who leave stand behind its services. What still runs
 * by an old definition keeps the order of that on its way down: what it required, wanted or came
 * after there goes later than it, as far as that does not contradict the new one.
 */
#ifndef SUPERVISOR_SUPERVISE_RELOAD_H
#define SUPERVISOR_SUPERVISE_RELOAD_H

#include "src/supervise/supervise.h"

enum reload_change {
	RELOAD_STARTED = 1, /* new, or not on request only any more */
	RELOAD_RESTARTED,   /* described otherwise */
	RELOAD_STOPPED,	    /* gone from the configuration, or on request only from now on */
	RELOAD_UPDATED,	    /* described otherwise, but not so that it has to restart now */
	RELOAD_ADDED,	    /* new, but not to be started now */
	RELOAD_REMOVED,	    /* gone from the configuration; nothing of it ran */
	RELOAD_RELOADED,    /* cluster.conf was changed: asked to read it again */
	RELOAD_LATER,	    /* … reads it when it starts next */
	RELOAD_CHANGES
};

#define RELOAD_LINES_MAX (3 * SERVICES_MAX)

struct reload_outcome {
	size_t kept; /* services that nothing was done about */
	size_t count;
	struct {
		enum reload_change what;
		char name[SERVICE_NAME_BYTES];
	} line[RELOAD_LINES_MAX];
	struct config_report findings; /* why it was refused */
};

/* Loads the configuration anew. 0; -1: refused, nothing was changed. reload_outcome() tells more,
 * until the next attempt. */
int reload(struct supervisor *supervisor);
/*
 * A pool gets `members` members (1 to POOL_MEMBERS_MAX), 0: as many as its file says; nobody else
 * is touched: refused when the files were changed since they were loaded. A reload keeps the size.
 */
int reload_scale(struct supervisor *supervisor, const char *pool, size_t members);
const struct reload_outcome *reload_outcome(void);
/* "restarted", … */
const char *reload_change_name(enum reload_change what);

/* For supervise.c. A service is at rest in a restart: its next definition counts. */
void reload_take_next(struct supervisor *supervisor, uint16_t index);
/* Before each round of decisions: who has to leave and is at rest leaves; brings node[] up to
 * date. */
void reload_settle(struct supervisor *supervisor);

#endif
