#include "src/service/life.h"

struct step {
	struct life *life;
	const struct life_policy *policy;
	uint64_t now_ms;
	unsigned actions;
};

static void enter(struct step *s, enum life_state state, uint32_t timeout_ms)
{
	s->life->state = state;
	s->life->since_ms = s->now_ms;
	s->life->deadline_ms = timeout_ms ? s->now_ms + timeout_ms : 0;
}

static void start(struct step *s)
{
	struct life *life = s->life;

	life->stop_asked = life->bad = life->succeeded = life->timed_out = false;
	if (s->policy->runs_nothing) {
		enter(s, LIFE_READY, 0);
		return;
	}
	life->undo_due = s->policy->has_undo;
	life->starts++;
	s->actions |= LIFE_DO_START;
	enter(s, LIFE_STARTING, s->policy->start_timeout_ms);
}

static void readied(struct step *s)
{
	/* A oneshot is ready by ending well, not by saying so. */
	if (!s->policy->oneshot)
		enter(s, LIFE_READY, 0);
}

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
}

static void rest(struct step *s)
{
	s->life->failures = 0;
	enter(s, LIFE_IDLE, 0);
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

/* A daemon ended by itself: one that had been healthy starts its count of failures anew. */
static void ended(struct step *s)
{
	if (s->now_ms - s->life->since_ms >= s->policy->healthy_after_ms)
		s->life->failures = 0;
	clear(s);
}

static void crashed(struct step *s)
{
	s->life->bad = true;
	ended(s);
}

static void back_off(struct step *s)
{
	uint64_t delay_ms = s->policy->delay_ms;

	for (uint32_t i = 1; i < s->life->failures && delay_ms < s->policy->delay_max_ms; i++)
		delay_ms *= 2;
	if (delay_ms > s->policy->delay_max_ms)
		delay_ms = s->policy->delay_max_ms;
	/* At least one millisecond: the timer is the only way on. */
	enter(s, LIFE_BACKOFF, delay_ms ? (uint32_t)delay_ms : 1);
}

/* The cgroup is empty: what comes after a run that ended. */
static void emptied(struct step *s)
{
	struct life *life = s->life;
	const struct life_policy *policy = s->policy;

	if (life->succeeded && !life->stop_asked) {
		life->failures = 0;
		enter(s, LIFE_READY, 0);
		return;
	}
	life->succeeded = false;
	if (life->undo_due) {
		life->undo_due = false;
		s->actions |= LIFE_DO_UNDO;
		enter(s, LIFE_UNDOING, policy->stop_timeout_ms);
		return;
	}
	if (life->stop_asked) {
		enter(s, LIFE_IDLE, 0);
		return;
	}
	life->failures++;
	if (policy->restart == LIFE_RESTART_ALWAYS ||
	    (policy->restart == LIFE_RESTART_ON_FAILURE && life->bad))
		back_off(s);
	else
		enter(s, life->bad ? LIFE_FAILED : LIFE_ENDED, 0);
}

/* The whole life cycle, a state a row, an event a column. 0: the event means nothing in that state.
 */
typedef void transition(struct step *s);

/* clang-format off */
static transition *const table[LIFE_STATES][LIFE_EVENTS] = {
/*                   GO     STOP       BECAME_READY  EXIT_OK  EXIT_BAD  EMPTY    TIMER  RESET */
[LIFE_IDLE]     = { start, 0,         0,            0,       0,        0,       0,     0 },
[LIFE_STARTING] = { 0,     abandon,   readied,      done,    failed,   0,       hung,  0 },
[LIFE_READY]    = { 0,     take_down, 0,            ended,   crashed,  0,       0,     0 },
[LIFE_STOPPING] = { 0,     note_stop, 0,            clear,   clear,    0,       force, 0 },
[LIFE_CLEARING] = { 0,     note_stop, 0,            0,       0,        emptied, 0,     0 },
[LIFE_UNDOING]  = { 0,     note_stop, 0,            clear,   failed,   0,       force, 0 },
[LIFE_BACKOFF]  = { 0,     rest,      0,            0,       0,        0,       retry, rest },
[LIFE_ENDED]    = { 0,     rest,      0,            0,       0,        0,       0,     rest },
[LIFE_FAILED]   = { 0,     rest,      0,            0,       0,        0,       0,     rest },
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

bool life_is_active(const struct life *life)
{
	switch (life->state) {
	case LIFE_STARTING:
	case LIFE_READY:
	case LIFE_STOPPING:
	case LIFE_CLEARING:
	case LIFE_UNDOING:
		return true;
	default:
		return false;
	}
}

const char *life_state_name(enum life_state state)
{
	static const char *const name[LIFE_STATES] = {
		[LIFE_IDLE] = "down",	      [LIFE_STARTING] = "starting",
		[LIFE_READY] = "ready",	      [LIFE_STOPPING] = "stopping",
		[LIFE_CLEARING] = "clearing", [LIFE_UNDOING] = "undoing",
		[LIFE_BACKOFF] = "backoff",   [LIFE_ENDED] = "ended",
		[LIFE_FAILED] = "failed",
	};
	return state < LIFE_STATES ? name[state] : "?";
}
