#include "src/service/health.h"

struct step {
	struct health *health;
	const struct health_policy *policy;
	uint64_t now_ms;
	unsigned actions;
};

/* A time of 0 would mean "never". */
static uint64_t after(const struct step *s, uint32_t ms)
{
	return s->now_ms + (ms ? ms : 1);
}

static void enter(struct step *s, enum health_state state, uint64_t check_ms)
{
	s->health->state = state;
	s->health->check_ms = check_ms;
}

static void wait(struct step *s)
{
	enter(s, HEALTH_WAITING, s->policy->has_check ? after(s, s->policy->interval_ms) : 0);
}

static void ping(struct step *s)
{
	uint32_t watchdog_ms = s->health->watchdog_ms;

	s->health->ping_ms = watchdog_ms ? after(s, watchdog_ms) : 0;
}

static void reset_watchdog(struct step *s)
{
	s->health->watchdog_ms = s->policy->watchdog_ms;
}

static void watch(struct step *s)
{
	s->health->failures = 0;
	s->health->cause = HEALTH_FINE;
	s->health->lenient_until_ms = s->now_ms + s->policy->start_period_ms;
	ping(s);
	wait(s);
}

/* A check of the time before is not gone yet: it is in the way, and that counts like one of now. */
static void watch_again(struct step *s)
{
	watch(s);
	enter(s, HEALTH_KILLING, after(s, s->policy->timeout_ms));
}

/* Nothing is watched from here on. */
static void leave(struct step *s)
{
	bool check_is_there = health_has_check(s->health);

	if (s->health->state == HEALTH_CHECKING)
		s->actions |= HEALTH_DO_KILL_CHECK;
	s->health->ping_ms = 0;
	enter(s, check_is_there ? HEALTH_LEAVING : HEALTH_OFF, 0);
}

static void unhealthy(struct step *s, enum health_cause cause)
{
	leave(s);
	s->health->cause = cause;
	s->actions |= HEALTH_DO_UNHEALTHY;
}

static void miss(struct step *s)
{
	unhealthy(s, HEALTH_NO_PING);
}

static void trigger(struct step *s)
{
	unhealthy(s, HEALTH_TRIGGERED);
}

/* Whether this failure was the last one allowed. */
static bool count_failure(struct step *s)
{
	if (s->now_ms < s->health->lenient_until_ms)
		return false;
	s->health->failures++;
	return s->health->failures >= s->policy->retries;
}

static void run(struct step *s)
{
	s->actions |= HEALTH_DO_RUN_CHECK;
	enter(s, HEALTH_CHECKING, after(s, s->policy->timeout_ms));
}

static void passed(struct step *s)
{
	s->health->failures = 0;
	s->health->lenient_until_ms = 0;
	wait(s);
}

static void failed(struct step *s)
{
	wait(s); /* the check is gone already: leaving from here has none to kill */
	if (count_failure(s))
		unhealthy(s, HEALTH_CHECKS_FAILED);
}

static void hung(struct step *s)
{
	s->actions |= HEALTH_DO_KILL_CHECK;
	enter(s, HEALTH_KILLING, after(s, s->policy->timeout_ms));
	if (count_failure(s))
		unhealthy(s, HEALTH_CHECKS_FAILED);
}

static void off(struct step *s)
{
	enter(s, HEALTH_OFF, 0);
}

/* The whole machine, a state a row, an event a column. 0: the event means nothing in that state. */
typedef void transition(struct step *s);

/* clang-format off */
static transition *const table[HEALTH_STATES][HEALTH_EVENTS] = {
/*                    STARTED         READY        NOT_READY  CHECK_OK  _BAD    _LOST  PING  TRIGGER  SET_W. TIMER  CHECK_DUE  PING_MISSED */
[HEALTH_OFF]      = { reset_watchdog, watch,       0,         0,        0,      0,     0,    0,       0,     0,     0,         0    },
[HEALTH_WAITING]  = { 0,              0,           leave,     0,        0,      0,     ping, trigger, ping,  0,     run,       miss },
[HEALTH_CHECKING] = { 0,              0,           leave,     passed,   failed, wait,  ping, trigger, ping,  0,     hung,      miss },
[HEALTH_KILLING]  = { 0,              0,           leave,     wait,     wait,   wait,  ping, trigger, ping,  0,     hung,      miss },
[HEALTH_LEAVING]  = { reset_watchdog, watch_again, 0,         off,      off,    off,   0,    0,       0,     0,     0,         0    },
};
/* clang-format on */

/*
 * Which of the two deadlines has come. A missed ping ends it, whatever a check would say; but who
 * looks a whole period too late has not been running himself (the machine was suspended, or starved
 * of its processor), and then neither was the service: it gets a new period.
 */
static enum health_event meaning(const struct health *health, uint64_t now_ms)
{
	if (health->ping_ms && now_ms >= health->ping_ms + health->watchdog_ms)
		return HEALTH_PING;
	if (health->ping_ms && now_ms >= health->ping_ms)
		return HEALTH_PING_MISSED;
	if (health->check_ms && now_ms >= health->check_ms)
		return HEALTH_CHECK_DUE;
	return HEALTH_TIMER;
}

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
	return a_ms && (b_ms == 0 || a_ms < b_ms) ? a_ms : b_ms;
}

unsigned health_step(struct health *health, const struct health_policy *policy,
		     enum health_event event, uint64_t now_ms)
{
	struct step s = {.health = health, .policy = policy, .now_ms = now_ms};

	if (event == HEALTH_TIMER)
		event = meaning(health, now_ms);
	transition *act = table[health->state][event];
	if (act)
		act(&s);
	health->deadline_ms = earlier(health->check_ms, health->ping_ms);
	return s.actions;
}

void health_set_watchdog(struct health *health, const struct health_policy *policy,
			 uint32_t watchdog_ms, uint64_t now_ms)
{
	health->watchdog_ms = watchdog_ms;
	health_step(health, policy, HEALTH_SET_WATCHDOG, now_ms);
}

bool health_has_check(const struct health *health)
{
	switch (health->state) {
	case HEALTH_CHECKING:
	case HEALTH_KILLING:
	case HEALTH_LEAVING:
		return true;
	default:
		return false;
	}
}

const char *health_state_name(enum health_state state)
{
	static const char *const name[HEALTH_STATES] = {
		[HEALTH_OFF] = "off",		[HEALTH_WAITING] = "waiting",
		[HEALTH_CHECKING] = "checking", [HEALTH_KILLING] = "killing",
		[HEALTH_LEAVING] = "leaving",
	};
	return state < HEALTH_STATES ? name[state] : "?";
}
