/* The life cycle: each promise of life.h, by hand for the stories and by random events for the
 * rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/service/life.h"

static const struct life_policy daemon_policy = {
	.restart = LIFE_RESTART_ON_FAILURE,
	.start_timeout_ms = 10000,
	.stop_timeout_ms = 5000,
	.delay_ms = 100,
	.delay_max_ms = 1000,
	.healthy_after_ms = 10000,
};

static const struct life_policy oneshot_policy = {
	.oneshot = true,
	.has_undo = true,
	.restart = LIFE_RESTART_ON_FAILURE,
	.start_timeout_ms = 10000,
	.stop_timeout_ms = 5000,
	.delay_ms = 100,
	.delay_max_ms = 1000,
};

struct story {
	enum life_event event;
	uint64_t at_ms;
	unsigned actions;
	enum life_state state;
};

static void tell(const struct life_policy *policy, const struct story *story, size_t count)
{
	struct life life = {0};

	for (size_t i = 0; i < count; i++) {
		unsigned actions = life_step(&life, policy, story[i].event, story[i].at_ms);
		if (actions != story[i].actions || life.state != story[i].state)
			fail_msg("line %zu of the story: actions %x, state %s; expected %x, %s", i,
				 actions, life_state_name(life.state), story[i].actions,
				 life_state_name(story[i].state));
	}
}

#define TELL(policy, ...)                                              \
	do {                                                           \
		static const struct story story[] = {__VA_ARGS__};     \
		tell(policy, story, sizeof(story) / sizeof(story[0])); \
	} while (0)

static void a_daemon_lives_and_is_stopped(void **state)
{
	(void)state;
	TELL(&daemon_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_BECAME_READY, 10, 0, LIFE_READY}, {LIFE_STOP, 20, LIFE_DO_SIGNAL, LIFE_STOPPING},
	     {LIFE_EXIT_BAD, 30, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 40, 0, LIFE_IDLE});
}

static void a_crash_backs_off_twice_as_long_each_time(void **state)
{
	(void)state;
	TELL(&daemon_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_EXIT_BAD, 10, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 10, 0, LIFE_BACKOFF},
	     {LIFE_TIMER, 109, 0, LIFE_BACKOFF}, {LIFE_TIMER, 110, 0, LIFE_IDLE},
	     {LIFE_GO, 110, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_EXIT_BAD, 120, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 120, 0, LIFE_BACKOFF},
	     {LIFE_TIMER, 319, 0, LIFE_BACKOFF}, {LIFE_TIMER, 320, 0, LIFE_IDLE});
}

static void healthy_time_forgives_past_failures(void **state)
{
	struct life life = {0};

	(void)state;
	life.failures = 7;
	life_step(&life, &daemon_policy, LIFE_GO, 0);
	life_step(&life, &daemon_policy, LIFE_BECAME_READY, 0);
	life_step(&life, &daemon_policy, LIFE_EXIT_BAD, 10000);
	life_step(&life, &daemon_policy, LIFE_EMPTY, 10000);
	assert_int_equal(life.failures, 1);
	assert_int_equal(life.deadline_ms, 10100);
}

static void a_stop_during_backoff_stays_stopped(void **state)
{
	(void)state;
	TELL(&daemon_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_EXIT_BAD, 0, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 0, 0, LIFE_BACKOFF},
	     {LIFE_STOP, 50, 0, LIFE_IDLE}, {LIFE_TIMER, 5000, 0, LIFE_IDLE});
}

static void a_hung_start_is_ended_and_tried_again(void **state)
{
	(void)state;
	TELL(&daemon_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_TIMER, 10000, LIFE_DO_SIGNAL, LIFE_STOPPING},
	     {LIFE_TIMER, 15000, LIFE_DO_KILL, LIFE_STOPPING},
	     {LIFE_EXIT_BAD, 15001, LIFE_DO_KILL, LIFE_CLEARING},
	     {LIFE_EMPTY, 15002, 0, LIFE_BACKOFF});
}

static void a_oneshot_is_done_and_undone(void **state)
{
	(void)state;
	TELL(&oneshot_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_EXIT_OK, 5, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 5, 0, LIFE_READY},
	     {LIFE_STOP, 9, LIFE_DO_KILL, LIFE_CLEARING},
	     {LIFE_EMPTY, 9, LIFE_DO_UNDO, LIFE_UNDOING},
	     {LIFE_EXIT_OK, 12, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 12, 0, LIFE_IDLE});
}

static void half_a_start_is_undone_before_the_next(void **state)
{
	(void)state;
	TELL(&oneshot_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_EXIT_BAD, 5, LIFE_DO_KILL, LIFE_CLEARING},
	     {LIFE_EMPTY, 6, LIFE_DO_UNDO, LIFE_UNDOING},
	     {LIFE_EXIT_OK, 7, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 8, 0, LIFE_BACKOFF});
}

static void a_stop_between_success_and_empty_is_not_lost(void **state)
{
	(void)state;
	TELL(&oneshot_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_EXIT_OK, 5, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_STOP, 6, 0, LIFE_CLEARING},
	     {LIFE_EMPTY, 7, LIFE_DO_UNDO, LIFE_UNDOING},
	     {LIFE_EXIT_OK, 8, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 9, 0, LIFE_IDLE});
}

static void a_stop_while_half_a_start_is_undone_is_not_lost(void **state)
{
	(void)state;
	TELL(&oneshot_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_EXIT_BAD, 5, LIFE_DO_KILL, LIFE_CLEARING},
	     {LIFE_EMPTY, 6, LIFE_DO_UNDO, LIFE_UNDOING}, {LIFE_STOP, 7, 0, LIFE_UNDOING},
	     {LIFE_EXIT_OK, 8, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 9, 0, LIFE_IDLE});
}

static void a_oneshot_is_not_ready_by_saying_so(void **state)
{
	(void)state;
	TELL(&oneshot_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_BECAME_READY, 5, 0, LIFE_STARTING},
	     {LIFE_EXIT_BAD, 6, LIFE_DO_KILL, LIFE_CLEARING});
}

static void nothing_to_do_is_an_end_and_no_failure(void **state)
{
	(void)state;
	TELL(&daemon_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_EXIT_OK, 1, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 1, 0, LIFE_ENDED},
	     {LIFE_GO, 2, 0, LIFE_ENDED}, {LIFE_RESET, 3, 0, LIFE_IDLE});
}

/* What a process table would say, kept beside the machine: it obeys the actions, and events come
 * only from what it holds. */
struct world {
	bool command_runs, cgroup_populated, undo_owed, go_given;
	unsigned starts;
};

static void obey(struct world *w, const struct life_policy *policy, unsigned actions)
{
	if (actions & LIFE_DO_KILL)
		w->cgroup_populated = w->command_runs;
	if (actions & LIFE_DO_START) {
		assert_false(w->command_runs);
		assert_false(w->cgroup_populated);
		assert_false(w->undo_owed);
		assert_true(w->go_given);
		w->go_given = false;
		w->command_runs = w->cgroup_populated = true;
		w->undo_owed = policy->has_undo;
		w->starts++;
	}
	if (actions & LIFE_DO_UNDO) {
		assert_false(w->command_runs);
		assert_false(w->cgroup_populated);
		assert_true(w->undo_owed);
		w->undo_owed = false;
		w->command_runs = w->cgroup_populated = true;
	}
}

/* An event that could happen in this world now; LIFE_EVENTS: none. */
static enum life_event possible(struct world *w, const struct life *life, unsigned choice)
{
	enum life_event event = (enum life_event)(choice % LIFE_EVENTS);

	switch (event) {
	case LIFE_GO:
		w->go_given = life->state == LIFE_IDLE;
		return event;
	case LIFE_STOP:
		w->go_given = false;
		return event;
	case LIFE_EXIT_OK:
	case LIFE_EXIT_BAD:
		if (!w->command_runs)
			return LIFE_EVENTS;
		w->command_runs = false;
		w->cgroup_populated = choice & 64; /* it may leave others behind */
		return event;
	case LIFE_EMPTY:
		return life->state == LIFE_CLEARING && !w->command_runs && !w->cgroup_populated
			       ? event
			       : LIFE_EVENTS;
	case LIFE_BECAME_READY:
		return w->command_runs ? event : LIFE_EVENTS;
	default:
		return event;
	}
}

static void check(const struct world *w, const struct life *life, const struct life_policy *policy)
{
	if (life->state == LIFE_IDLE || life->state == LIFE_BACKOFF || life->state == LIFE_FAILED ||
	    life->state == LIFE_ENDED) {
		assert_false(w->command_runs);
		assert_false(w->undo_owed);
	}
	if ((life->state == LIFE_STARTING && policy->start_timeout_ms) ||
	    life->state == LIFE_BACKOFF)
		assert_true(life->deadline_ms != 0);
	assert_int_equal(w->starts, life->starts);
	assert_int_equal(life_is_active(life),
			 life->state >= LIFE_STARTING && life->state <= LIFE_UNDOING);
}

static void promises_hold_for_random_events(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= 20000; seed++) {
		struct life_policy policy = seed & 1 ? daemon_policy : oneshot_policy;
		struct life life = {0};
		struct world w = {0};
		uint64_t now_ms = 0;
		unsigned random = seed * 2654435761u;

		policy.has_undo = seed & 2;
		policy.restart = (enum life_restart)(seed / 4 % 3);
		for (int i = 0; i < 200; i++) {
			random = random * 1664525u + 1013904223u;
			now_ms += random >> 8 & 4095;
			/* A killed cgroup empties by itself, sooner or later. */
			if (life.state == LIFE_CLEARING && (random >> 20) % 3 == 0)
				w.cgroup_populated = w.command_runs;
			enum life_event event = possible(&w, &life, random >> 24);
			if (event == LIFE_EVENTS)
				continue;
			obey(&w, &policy, life_step(&life, &policy, event, now_ms));
			check(&w, &life, &policy);
		}
		/* Whatever happened: a stop, and the world's cooperation, lead to rest. */
		for (int i = 0; i < 8 && life.state != LIFE_IDLE; i++) {
			w.go_given = false;
			obey(&w, &policy, life_step(&life, &policy, LIFE_STOP, now_ms));
			if (w.command_runs) {
				w.command_runs = w.cgroup_populated = false;
				obey(&w, &policy, life_step(&life, &policy, LIFE_EXIT_OK, now_ms));
			}
			w.cgroup_populated = w.command_runs;
			if (life.state == LIFE_CLEARING && !w.command_runs)
				obey(&w, &policy, life_step(&life, &policy, LIFE_EMPTY, now_ms));
		}
		if (life.state != LIFE_IDLE)
			fail_msg("seed %u: stuck in %s", seed, life_state_name(life.state));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_daemon_lives_and_is_stopped),
		cmocka_unit_test(a_crash_backs_off_twice_as_long_each_time),
		cmocka_unit_test(healthy_time_forgives_past_failures),
		cmocka_unit_test(a_stop_during_backoff_stays_stopped),
		cmocka_unit_test(a_hung_start_is_ended_and_tried_again),
		cmocka_unit_test(a_oneshot_is_done_and_undone),
		cmocka_unit_test(half_a_start_is_undone_before_the_next),
		cmocka_unit_test(a_stop_between_success_and_empty_is_not_lost),
		cmocka_unit_test(a_stop_while_half_a_start_is_undone_is_not_lost),
		cmocka_unit_test(a_oneshot_is_not_ready_by_saying_so),
		cmocka_unit_test(nothing_to_do_is_an_end_and_no_failure),
		cmocka_unit_test(promises_hold_for_random_events),
	};
	return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
