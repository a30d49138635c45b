/*
 * Random lives under a virtual clock: a service whose processes do as chance wills, an operator who
 * is hardly better, and a second opinion on the times: how long each backoff is, and which restart
 * is one too many. Each life ends with a STOP that has to lead to rest, or with a service that does
 * its part and has to get ready.
 */
#include "life_world.h"

#define LIVES  900000
#define EVENTS 40
/* From the last STOP to rest: two timeouts and what the world takes, if SIGKILL is obeyed. */
#define STOPPED_WITHIN_MS 40000u

static struct life_policy policy;
static struct world world;
static uint64_t now_ms, up_since_ms;

static uint32_t some_timeout(void)
{
	return chance(4) ? 0 : 50 + dice(3000);
}

static void choose_policy(void)
{
	unsigned kind = dice(8);

	policy = (struct life_policy){
		.on_demand = kind == 1 || kind == 2,
		.oneshot = kind == 3 || kind == 4,
		.runs_nothing = kind == 5 && chance(4),
		.has_undo = chance(3),
		.restart = (enum life_restart)(chance(2) ? LIFE_RESTART_ON_FAILURE : dice(3)),
		.reload = (enum life_reload)dice(3),
		.start_timeout_ms = some_timeout(),
		.stop_timeout_ms = some_timeout(),
		.delay_ms = dice(200),
		.delay_max_ms = 100 + dice(2000),
		.healthy_after_ms = dice(2000),
		.limit_restarts = chance(2) ? 0 : 1 + dice(chance(2) ? 3 : LIFE_RESTARTS_MAX),
		.limit_window_ms = 200 + dice(20000),
		.on_limit = (enum life_limit)dice(3),
	};
	if (chance(50))
		policy.delay_ms = policy.delay_max_ms = UINT32_MAX - dice(100);
}

#define EXPECT(condition, ...)                                                     \
	do {                                                                       \
		if (!(condition)) {                                                \
			print_error("seed %llu: ", (unsigned long long)dice_seed); \
			fail_msg(__VA_ARGS__);                                     \
		}                                                                  \
	} while (0)

static void check_backoff(const struct life *life)
{
	uint64_t delay_ms = policy.delay_ms, wait_ms = life->deadline_ms - life->since_ms;

	for (uint32_t i = 1; i < world.failures && delay_ms < policy.delay_max_ms; i++)
		delay_ms += delay_ms;
	delay_ms = delay_ms < policy.delay_max_ms ? delay_ms : policy.delay_max_ms;
	uint64_t least = delay_ms ? delay_ms : 1;
	EXPECT(wait_ms >= least && wait_ms <= least + delay_ms / 4,
	       "failure %u: waits %llu ms, expected %llu and up to a quarter more", world.failures,
	       (unsigned long long)wait_ms, (unsigned long long)delay_ms);
	EXPECT(life->random || wait_ms == least, "jitter without a seed");
}

/* Among the last restarts, those within the window: is there room for one more? */
static bool limit_lets_one_more(void)
{
	unsigned within = 0;

	for (unsigned i = 0; i < world.restarts && i < 64; i++)
		within += now_ms - world.restart_ms[i] < policy.limit_window_ms;
	return policy.limit_restarts == 0 || within < policy.limit_restarts;
}

static void note_restart(void)
{
	memmove(world.restart_ms + 1, world.restart_ms, sizeof(world.restart_ms[0]) * 63);
	world.restart_ms[0] = now_ms;
	world.restarts++;
}

/* The second opinion, told the same events. */
static void second_opinion(const struct life *before, bool asked)
{
	const struct life *life = &world.life;
	bool was_up = before->state == LIFE_READY || before->state == LIFE_RELOADING;
	bool is_up = life->state == LIFE_READY || life->state == LIFE_RELOADING;
	bool runs_alone = !policy.oneshot && !policy.runs_nothing;

	if (is_up && !was_up)
		up_since_ms = now_ms;
	if (policy.oneshot && is_up)
		world.failures = 0;
	if (was_up && !is_up && runs_alone && now_ms - up_since_ms >= policy.healthy_after_ms)
		world.failures = 0;
	if (life->stop_asked && !before->stop_asked && was_up)
		world.failures = 0;
	bool rested = before->state == LIFE_BACKOFF || before->state == LIFE_ENDED ||
		      before->state == LIFE_FAILED || before->state == LIFE_LISTENING;
	if (life->state == LIFE_IDLE && rested && asked)
		world.failures = world.restarts = 0;
	if (before->state != LIFE_CLEARING || life->state == LIFE_CLEARING || life->stop_asked ||
	    life->state == LIFE_UNDOING || is_up || before->given_up ||
	    life->state == LIFE_LISTENING)
		return;
	world.failures = policy.on_demand && !world.bad ? 0 : world.failures + 1;
	if (policy.on_demand && !world.bad) {
		check_backoff(life);
		return;
	}
	if (life->state == LIFE_FAILED && !life->given_up)
		return; /* is not restarted at all */
	if (life->state == LIFE_ENDED)
		return;
	EXPECT(life->given_up == !limit_lets_one_more(), "restart %u is %s one too many",
	       world.restarts + 1, life->given_up ? "taken for" : "not seen as");
	if (life->given_up)
		return;
	note_restart();
	check_backoff(life);
}

static void event(enum life_event which)
{
	struct life before = world.life;

	world_event(&world, which, now_ms);
	second_opinion(&before, which == LIFE_STOP || which == LIFE_RESET);
}

/* As world_turn(), one event at a time, so that each can be judged. */
static void one_event_that_is_due(void)
{
	struct world *w = &world;
	struct life before = w->life;

	if (w->life.deadline_ms && w->life.deadline_ms <= now_ms) {
		event(LIFE_TIMER);
		return;
	}
	world_turn(w, now_ms);
	second_opinion(&before, false);
}

/* Each of the world's events alone: of what is due, all but the first is put off. */
static void alone(void)
{
	uint64_t *at[] = {&world.exit_ms, &world.ready_ms, &world.other_ms, &world.demand_ms,
			  &world.empty_ms};
	bool first = true;

	for (size_t i = 0; i < 5; i++) {
		if (*at[i] == 0 || *at[i] > now_ms ||
		    (at[i] == &world.demand_ms && world.life.state != LIFE_LISTENING))
			continue;
		if (!first)
			*at[i] = now_ms + 1;
		first = false;
	}
}

static void settle(void)
{
	for (int i = 0; world.life.state == LIFE_CLEARING && world_is_empty(&world); i++) {
		EXPECT(i < 4, "turns round and round in clearing");
		event(LIFE_EMPTY);
		if (world.life.state == LIFE_LISTENING && !world.kind && chance(6))
			event(LIFE_EXIT_BAD); /* could not listen */
	}
}

/* Till the next thing that happens; false: nothing ever does. */
static bool forward(void)
{
	settle();
	uint64_t next_ms = world_next(&world);
	if (next_ms == 0)
		return false;
	if (next_ms > now_ms)
		now_ms = next_ms;
	alone();
	one_event_that_is_due();
	settle();
	return true;
}

static void operator_does_something(void)
{
	static const enum life_event asked[] = {
		LIFE_STOP,    LIFE_RESET,  LIFE_RELOAD, LIFE_DEMAND,	LIFE_TIMER,
		LIFE_RELOADS, LIFE_LEAVES, LIFE_UNUSED, LIFE_UNHEALTHY, LIFE_BECAME_READY};

	if (world.life.state == LIFE_IDLE && !chance(8)) {
		event(LIFE_GO);
		if (world.life.state == LIFE_LISTENING && chance(6))
			event(LIFE_EXIT_BAD);
	} else if (chance(5)) {
		event(asked[dice(10)]);
	} else if (chance(3)) {
		life_extend(&world.life, now_ms, dice(4000));
	}
	settle();
}

static void has_to_stop(void)
{
	uint64_t from_ms = now_ms;
	uint64_t extended_ms =
		world.life.deadline_ms > now_ms ? world.life.deadline_ms - now_ms : 0;

	if (policy.stop_timeout_ms == 0 && world.command != NOTHING)
		world.exit_ms = soon(now_ms); /* no deadline: it has to end by itself */
	event(LIFE_STOP);
	for (int i = 0; i < 60 && world.life.state != LIFE_IDLE; i++) {
		if (policy.stop_timeout_ms == 0 && world.command != NOTHING && !world.exit_ms)
			world.exit_ms = soon(now_ms);
		EXPECT(forward() || world.life.state == LIFE_IDLE || policy.stop_timeout_ms == 0,
		       "after STOP, %s waits for nothing that ever comes",
		       life_state_name(world.life.state));
	}
	EXPECT(world.life.state == LIFE_IDLE, "after STOP, still %s",
	       life_state_name(world.life.state));
	EXPECT(now_ms - from_ms <= STOPPED_WITHIN_MS + extended_ms, "took %llu ms to stop",
	       (unsigned long long)(now_ms - from_ms));
}

static void has_to_get_ready(void)
{
	world.kind = true;
	if (world.command != NOTHING)
		world.exit_ms = soon(now_ms);
	policy.start_timeout_ms = 0; /* what has begun before takes its time */
	for (int i = 0; i < 60 && world.life.state != LIFE_READY; i++) {
		if (world.life.state == LIFE_FAILED || world.life.state == LIFE_ENDED)
			event(LIFE_RESET);
		else if (world.life.state == LIFE_IDLE)
			event(LIFE_GO);
		else if (world.life.state == LIFE_LISTENING)
			event(LIFE_DEMAND);
		else if (world.life.state == LIFE_RELOADING)
			event(LIFE_BECAME_READY);
		else
			EXPECT(forward() || at_rest(&world.life),
			       "%s waits for nothing that ever comes",
			       life_state_name(world.life.state));
	}
	EXPECT(world.life.state == LIFE_READY, "does its part, and stays %s",
	       life_state_name(world.life.state));
}

static void live(void)
{
	choose_policy();
	world = (struct world){.policy = &policy, .kind = chance(8)};
	world.life.random = chance(8) ? 0 : 1 + dice(UINT32_MAX - 1);
	now_ms = dice(3);
	int events = (int)dice(EVENTS);
	for (int i = 0; i < events; i++) {
		if (chance(2))
			now_ms += dice(50);
		operator_does_something();
		if (!forward())
			now_ms += dice(3000);
	}
	if (chance(2))
		has_to_stop();
	else
		has_to_get_ready();
}

static void random_lives(void **state)
{
	(void)state;
	dice_all(live, LIVES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_lives),
	};
	return cmocka_run_group_tests_name("life, at random", tests, NULL, NULL);
}
