#include "src/service/life.h"

struct step {
	struct life *life;
	const struct life_policy *policy;
	uint64_t now_ms;
	unsigned actions;
};

static void enter(struct step *s, enum life_state state, uint64_t timeout_ms)
{
	struct life *life = s->life;

	life->state = state;
	life->since_ms = s->now_ms;
	life->deadline_ms = timeout_ms ? s->now_ms + timeout_ms : 0;
	if (life->stop_asked || life->given_up || state == LIFE_ENDED || state == LIFE_FAILED)
		life->stands = false;
}

/* A daemon, in a state in which it runs. */
static bool has_process(const struct step *s)
{
	return !s->policy->runs_nothing && !s->policy->oneshot;
}

/* --- up */

static void launch(struct step *s)
{
	struct life *life = s->life;

	life->bad = life->succeeded = life->timed_out = life->unhealthy = false;
	life->reload_again = false;
	life->undo_due = s->policy->has_undo;
	life->starts++;
	s->actions |= LIFE_DO_START;
	enter(s, LIFE_STARTING, s->policy->start_timeout_ms);
}

/* On demand: from here on its sockets take clients, until STOP or until it is given up. */
static void listen(struct step *s)
{
	s->life->stands = true;
	s->life->unused = false;
	s->actions |= LIFE_DO_LISTEN;
	enter(s, LIFE_LISTENING, 0);
}

static void be_ready(struct step *s)
{
	s->life->ready_ms = s->now_ms;
	enter(s, LIFE_READY, 0);
}

static void start(struct step *s)
{
	s->life->stop_asked = s->life->given_up = false;
	if (s->policy->runs_nothing)
		be_ready(s);
	else if (s->policy->on_demand)
		listen(s);
	else
		launch(s);
}

static void readied(struct step *s)
{
	/* A oneshot is ready by ending well, not by saying so. */
	if (!s->policy->oneshot)
		be_ready(s);
}

/* --- reload: with a command it is not ready until that has ended; a signal is sent and that is
 * all, unless the service says more. */

static void reload(struct step *s)
{
	if (s->policy->reload == LIFE_RELOAD_NONE || !has_process(s))
		return;
	s->actions |= LIFE_DO_RELOAD;
	if (s->policy->reload == LIFE_RELOAD_COMMAND)
		enter(s, LIFE_RELOADING, s->policy->start_timeout_ms);
}

/* What has been read already may be older than what is asked for now. */
static void once_more(struct step *s)
{
	if (s->policy->reload == LIFE_RELOAD_COMMAND)
		s->life->reload_again = true;
	else
		reload(s);
}

static void reloads(struct step *s)
{
	if (has_process(s))
		enter(s, LIFE_RELOADING, s->policy->start_timeout_ms);
}

/* Or it came to nothing in time: what the service did before, it still does. */
static void reloaded(struct step *s)
{
	enter(s, LIFE_READY, 0);
	if (s->life->reload_again)
		reload(s);
	s->life->reload_again = false;
}

/* --- down */

/* Ends what runs: the main process by its signal, later the rest by force. */
static void end_process(struct step *s)
{
	s->actions |= LIFE_DO_SIGNAL;
	enter(s, LIFE_STOPPING, s->policy->stop_timeout_ms);
}

static void clear(struct step *s)
{
	s->actions |= LIFE_DO_KILL;
	enter(s, LIFE_CLEARING, 0);
}

/* One that had been ready for long enough starts its count of failures anew. */
static void forgive(struct step *s)
{
	if (s->now_ms - s->life->ready_ms >= s->policy->healthy_after_ms)
		s->life->failures = 0;
}

static void abandon(struct step *s)
{
	s->life->stop_asked = true;
	end_process(s);
}

static void take_down(struct step *s)
{
	s->life->stop_asked = true;
	s->life->failures = 0;
	if (s->policy->runs_nothing)
		enter(s, LIFE_IDLE, 0);
	else if (s->policy->oneshot)
		clear(s); /* nothing runs; the undo follows as soon as that is certain */
	else
		end_process(s);
}

static void note_stop(struct step *s)
{
	s->life->stop_asked = true;
	s->life->stands = false;
}

/* How past runs ended is forgotten. */
static void forget(struct step *s)
{
	s->life->failures = s->life->restarts = 0;
	enter(s, LIFE_IDLE, 0);
}

static void rest(struct step *s)
{
	s->life->stop_asked = true;
	forget(s);
}

static void retry(struct step *s)
{
	enter(s, LIFE_IDLE, 0);
}

static void hung(struct step *s)
{
	s->life->bad = s->life->timed_out = true;
	end_process(s);
}

static void sicken(struct step *s)
{
	if (!has_process(s))
		return;
	forgive(s);
	s->life->bad = s->life->unhealthy = true;
	end_process(s);
}

/* It ends by itself and needs no signal, but not for ever. */
static void leave(struct step *s)
{
	if (!has_process(s))
		return;
	if (s->life->state != LIFE_STARTING)
		forgive(s);
	enter(s, LIFE_STOPPING, s->policy->stop_timeout_ms);
}

static void put_away(struct step *s)
{
	if (!s->policy->on_demand || !has_process(s))
		return;
	forgive(s);
	s->life->unused = true;
	end_process(s);
}

static void force(struct step *s)
{
	s->life->timed_out = true;
	s->life->deadline_ms = 0;
	s->actions |= LIFE_DO_KILL;
}

static void done(struct step *s)
{
	s->life->succeeded = s->policy->oneshot;
	clear(s);
}

static void failed(struct step *s)
{
	s->life->bad = true;
	clear(s);
}

/* Its sockets could not be opened. */
static void deafened(struct step *s)
{
	s->life->stands = false;
	failed(s);
}

/* A daemon ended by itself. */
static void ended(struct step *s)
{
	forgive(s);
	clear(s);
}

static void crashed(struct step *s)
{
	s->life->bad = true;
	ended(s);
}

/* --- after a run */

/* xorshift32: George Marsaglia, Xorshift RNGs, Journal of Statistical Software 8 (2003). */
static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Up to a quarter longer, so that what failed together does not come back together. */
static void back_off(struct step *s)
{
	struct life *life = s->life;
	uint64_t delay_ms = s->policy->delay_ms;

	for (uint32_t i = 1; i < life->failures && delay_ms < s->policy->delay_max_ms; i++)
		delay_ms *= 2;
	if (delay_ms > s->policy->delay_max_ms)
		delay_ms = s->policy->delay_max_ms;
	if (life->random)
		delay_ms += next_random(&life->random) % (delay_ms / 4 + 1);
	/* At least one millisecond: the timer is the only way on. */
	enter(s, LIFE_BACKOFF, delay_ms ? delay_ms : 1);
}

/* One restart more would be more than `limit_restarts` within the window. */
static bool limit_reached(struct step *s)
{
	struct life *life = s->life;
	uint32_t most = s->policy->limit_restarts;

	if (most == 0)
		return false;
	uint64_t earliest_ms = life->restart_ms[(life->restarts - most) % LIFE_RESTARTS_MAX];
	if (life->restarts >= most && s->now_ms - earliest_ms < s->policy->limit_window_ms)
		return true;
	life->restart_ms[life->restarts % LIFE_RESTARTS_MAX] = s->now_ms;
	life->restarts++;
	return false;
}

static void give_up(struct step *s)
{
	s->life->given_up = true;
	if (s->policy->on_limit == LIFE_LIMIT_COMMAND) {
		s->actions |= LIFE_DO_GIVE_UP;
		enter(s, LIFE_GIVING_UP, s->policy->stop_timeout_ms);
		return;
	}
	if (s->policy->on_limit == LIFE_LIMIT_REBOOT)
		s->actions |= LIFE_DO_REBOOT;
	enter(s, LIFE_FAILED, 0);
}

/* A run is over and undone, and nobody asked for that. */
static void come_back(struct step *s)
{
	struct life *life = s->life;
	const struct life_policy *policy = s->policy;
	bool again = policy->restart == LIFE_RESTART_ALWAYS ||
		     (policy->restart == LIFE_RESTART_ON_FAILURE && life->bad);

	if (policy->on_demand && life->unused) {
		listen(s);
	} else if (policy->on_demand && !life->bad) {
		/* Its work is done until the next client comes; the pause is for one that ends
		 * without taking the client who is there. */
		life->failures = 0;
		back_off(s);
	} else if (!again) {
		life->failures++;
		enter(s, life->bad ? LIFE_FAILED : LIFE_ENDED, 0);
	} else {
		life->failures++;
		if (limit_reached(s))
			give_up(s);
		else
			back_off(s);
	}
}

/* The cgroup is empty: what comes after a run that ended. */
static void emptied(struct step *s)
{
	struct life *life = s->life;

	if (life->succeeded && !life->stop_asked) {
		life->failures = 0;
		be_ready(s);
		return;
	}
	life->succeeded = false;
	if (life->undo_due) {
		life->undo_due = false;
		s->actions |= LIFE_DO_UNDO;
		enter(s, LIFE_UNDOING, s->policy->stop_timeout_ms);
	} else if (life->stop_asked) {
		enter(s, LIFE_IDLE, 0);
	} else if (life->given_up) {
		enter(s, LIFE_FAILED, 0);
	} else {
		come_back(s);
	}
}

/* The whole life cycle, a state a row, an event a column. 0: the event means nothing in that state.
 */
typedef void transition(struct step *s);

/* clang-format off */
static transition *const table[LIFE_STATES][LIFE_EVENTS] = {
/*                   GO     STOP       DEMAND  BECAME_   RELOAD     RELOADS  LEAVES  UNUSED    UN-      EXIT_OK  EXIT_BAD  EMPTY    TIMER     RESET
                                               READY                                           HEALTHY */
[LIFE_IDLE]      = { start, note_stop, 0,      0,        0,         0,       0,      0,        0,       0,       0,        0,       0,        0 },
[LIFE_LISTENING] = { 0,     rest,      launch, 0,        0,         0,       0,      0,        0,       0,       deafened, 0,       0,        0 },
[LIFE_STARTING]  = { 0,     abandon,   0,      readied,  0,         0,       leave,  0,        0,       done,    failed,   0,       hung,     0 },
[LIFE_READY]     = { 0,     take_down, 0,      0,        reload,    reloads, leave,  put_away, sicken,  ended,   crashed,  0,       0,        0 },
[LIFE_RELOADING] = { 0,     take_down, 0,      reloaded, once_more, 0,       leave,  0,        0,       ended,   crashed,  0,       reloaded, 0 },
[LIFE_STOPPING]  = { 0,     note_stop, 0,      0,        0,         0,       0,      0,        0,       clear,   failed,   0,       force,    0 },
[LIFE_CLEARING]  = { 0,     note_stop, 0,      0,        0,         0,       0,      0,        0,       0,       0,        emptied, 0,        0 },
[LIFE_UNDOING]   = { 0,     note_stop, 0,      0,        0,         0,       0,      0,        0,       clear,   failed,   0,       force,    0 },
[LIFE_BACKOFF]   = { 0,     rest,      0,      0,        0,         0,       0,      0,        0,       0,       0,        0,       retry,    forget },
[LIFE_GIVING_UP] = { 0,     note_stop, 0,      0,        0,         0,       0,      0,        0,       clear,   clear,    0,       force,    0 },
[LIFE_ENDED]     = { 0,     rest,      0,      0,        0,         0,       0,      0,        0,       0,       0,        0,       0,        forget },
[LIFE_FAILED]    = { 0,     rest,      0,      0,        0,         0,       0,      0,        0,       0,       0,        0,       0,        forget },
};
/* clang-format on */

unsigned life_step(struct life *life, const struct life_policy *policy, enum life_event event,
		   uint64_t now_ms)
{
	struct step s = {.life = life, .policy = policy, .now_ms = now_ms};

	if (event == LIFE_TIMER && (life->deadline_ms == 0 || now_ms < life->deadline_ms))
		return 0;
	transition *act = table[life->state][event];
	if (act)
		act(&s);
	return s.actions;
}

void life_extend(struct life *life, uint64_t now_ms, uint64_t more_ms)
{
	bool its_own = life->state == LIFE_STARTING || life->state == LIFE_RELOADING ||
		       life->state == LIFE_STOPPING;

	if (its_own && life->deadline_ms && now_ms + more_ms > life->deadline_ms)
		life->deadline_ms = now_ms + more_ms;
}

bool life_is_active(const struct life *life)
{
	switch (life->state) {
	case LIFE_LISTENING:
	case LIFE_STARTING:
	case LIFE_READY:
	case LIFE_RELOADING:
	case LIFE_STOPPING:
	case LIFE_CLEARING:
	case LIFE_UNDOING:
	case LIFE_GIVING_UP:
		return true;
	default:
		return false;
	}
}

bool life_is_up(const struct life *life)
{
	return life->state == LIFE_READY || life->state == LIFE_RELOADING || life->stands;
}

const char *life_state_name(enum life_state state)
{
	static const char *const name[LIFE_STATES] = {
		[LIFE_IDLE] = "down",		[LIFE_LISTENING] = "listening",
		[LIFE_STARTING] = "starting",	[LIFE_READY] = "ready",
		[LIFE_RELOADING] = "reloading", [LIFE_STOPPING] = "stopping",
		[LIFE_CLEARING] = "clearing",	[LIFE_UNDOING] = "undoing",
		[LIFE_BACKOFF] = "backoff",	[LIFE_GIVING_UP] = "giving up",
		[LIFE_ENDED] = "ended",		[LIFE_FAILED] = "failed",
	};
	return state < LIFE_STATES ? name[state] : "?";
}
