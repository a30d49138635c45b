/* The life cycle, story by story; test_life_all.c and test_life_random.c have the promises. */
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

static void crash(struct life *life, const struct life_policy *policy, uint64_t at_ms)
{
	life_step(life, policy, LIFE_TIMER, at_ms);
	life_step(life, policy, LIFE_GO, at_ms);
	life_step(life, policy, LIFE_EXIT_BAD, at_ms);
	life_step(life, policy, LIFE_EMPTY, at_ms);
}

static void the_limit_of_restarts_slides_with_time(void **state)
{
	struct life_policy policy = daemon_policy;
	struct life life = {0};

	(void)state;
	policy.limit_restarts = 3;
	policy.limit_window_ms = 10000;
	crash(&life, &policy, 1000);
	crash(&life, &policy, 4000);
	crash(&life, &policy, 7000);
	crash(&life, &policy, 11000); /* the first is ten seconds ago: not within them */
	assert_int_equal(life.state, LIFE_BACKOFF);
	crash(&life, &policy, 13999);
	assert_int_equal(life.state, LIFE_FAILED);
	assert_true(life.given_up);
	life_step(&life, &policy, LIFE_RESET, 14000);
	crash(&life, &policy, 14000);
	assert_int_equal(life.state, LIFE_BACKOFF);
}

static void an_announced_end_that_is_bad_is_a_failure(void **state)
{
	(void)state;
	TELL(&daemon_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_BECAME_READY, 1, 0, LIFE_READY}, {LIFE_LEAVES, 2, 0, LIFE_STOPPING},
	     {LIFE_EXIT_BAD, 3, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 4, 0, LIFE_BACKOFF});
	TELL(&daemon_policy, {LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
	     {LIFE_BECAME_READY, 1, 0, LIFE_READY}, {LIFE_LEAVES, 2, 0, LIFE_STOPPING},
	     {LIFE_EXIT_OK, 3, LIFE_DO_KILL, LIFE_CLEARING}, {LIFE_EMPTY, 4, 0, LIFE_ENDED});
}

static void a_reload_does_not_hide_healthy_time(void **state)
{
	struct life life = {.failures = 7};

	(void)state;
	life_step(&life, &daemon_policy, LIFE_GO, 0);
	life_step(&life, &daemon_policy, LIFE_BECAME_READY, 0);
	life_step(&life, &daemon_policy, LIFE_RELOADS, 9998);
	life_step(&life, &daemon_policy, LIFE_BECAME_READY, 9999);
	life_step(&life, &daemon_policy, LIFE_EXIT_BAD, 10000);
	life_step(&life, &daemon_policy, LIFE_EMPTY, 10000);
	assert_int_equal(life.failures, 1);
}

static void healthy_time_counts_for_one_that_falls_ill(void **state)
{
	struct life life = {.failures = 7};

	(void)state;
	life_step(&life, &daemon_policy, LIFE_GO, 0);
	life_step(&life, &daemon_policy, LIFE_BECAME_READY, 0);
	life_step(&life, &daemon_policy, LIFE_UNHEALTHY, 10000);
	life_step(&life, &daemon_policy, LIFE_EXIT_OK, 10001);
	life_step(&life, &daemon_policy, LIFE_EMPTY, 10002);
	assert_int_equal(life.state, LIFE_BACKOFF);
	assert_int_equal(life.failures, 1);
}

/* What has been read by then may be older than what is asked for now. */
static void a_reload_while_it_reloads_is_not_lost(void **state)
{
	struct life_policy policy = daemon_policy;
	static const struct story story[] = {
		{LIFE_GO, 0, LIFE_DO_START, LIFE_STARTING},
		{LIFE_BECAME_READY, 1, 0, LIFE_READY},
		{LIFE_RELOAD, 2, LIFE_DO_RELOAD, LIFE_RELOADING},
		{LIFE_RELOAD, 3, 0, LIFE_RELOADING},
		{LIFE_RELOAD, 4, 0, LIFE_RELOADING},
		{LIFE_BECAME_READY, 5, LIFE_DO_RELOAD, LIFE_RELOADING},
		{LIFE_BECAME_READY, 6, 0, LIFE_READY},
	};

	(void)state;
	policy.reload = LIFE_RELOAD_COMMAND;
	tell(&policy, story, sizeof(story) / sizeof(story[0]));
}

static void sockets_that_are_not_to_be_had_carry_nobody(void **state)
{
	struct life_policy policy = daemon_policy;
	struct life life = {0};

	(void)state;
	policy.on_demand = true;
	life_step(&life, &policy, LIFE_GO, 0);
	assert_true(life_is_up(&life));
	life_step(&life, &policy, LIFE_EXIT_BAD, 0);
	assert_false(life_is_up(&life));
	life_step(&life, &policy, LIFE_EMPTY, 0);
	life_step(&life, &policy, LIFE_TIMER, 100);
	assert_int_equal(life.state, LIFE_IDLE);
	assert_false(life_is_up(&life));
}

/* Else the processor would do nothing but that. */
static void an_unused_one_that_cannot_listen_again_backs_off(void **state)
{
	struct life_policy policy = daemon_policy;
	static const struct story story[] = {
		{LIFE_GO, 0, LIFE_DO_LISTEN, LIFE_LISTENING},
		{LIFE_DEMAND, 1, LIFE_DO_START, LIFE_STARTING},
		{LIFE_BECAME_READY, 2, 0, LIFE_READY},
		{LIFE_UNUSED, 3, LIFE_DO_SIGNAL, LIFE_STOPPING},
		{LIFE_EXIT_OK, 4, LIFE_DO_KILL, LIFE_CLEARING},
		{LIFE_EMPTY, 5, LIFE_DO_LISTEN, LIFE_LISTENING},
		{LIFE_EXIT_BAD, 5, LIFE_DO_KILL, LIFE_CLEARING},
		{LIFE_EMPTY, 5, 0, LIFE_BACKOFF},
	};

	(void)state;
	policy.on_demand = true;
	tell(&policy, story, sizeof(story) / sizeof(story[0]));
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
		cmocka_unit_test(the_limit_of_restarts_slides_with_time),
		cmocka_unit_test(an_announced_end_that_is_bad_is_a_failure),
		cmocka_unit_test(a_reload_does_not_hide_healthy_time),
		cmocka_unit_test(healthy_time_counts_for_one_that_falls_ill),
		cmocka_unit_test(a_reload_while_it_reloads_is_not_lost),
		cmocka_unit_test(sockets_that_are_not_to_be_had_carry_nobody),
		cmocka_unit_test(an_unused_one_that_cannot_listen_again_backs_off),
	};
	return cmocka_run_group_tests_name("life", tests, NULL, NULL);
}
