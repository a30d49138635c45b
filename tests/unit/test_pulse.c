/* When a helper process counts as silent, is killed, and is given up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/service/pulse.h"

static void one_that_answers_is_asked_each_time(void **state)
{
	struct pulse pulse = {0};

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(pulse_look(&pulse, true), PULSE_ASK);
		assert_true(pulse_answered(&pulse));
		assert_false(pulse_answered(&pulse)); /* once */
		assert_false(pulse_is_lost(&pulse));
	}
}

static void one_that_is_late_is_waited_for_one_look_long(void **state)
{
	struct pulse pulse = {0};

	(void)state;
	assert_int_equal(pulse_look(&pulse, true), PULSE_ASK);
	assert_int_equal(pulse_look(&pulse, true), PULSE_WAIT);
	assert_true(pulse_answered(&pulse));
	assert_int_equal(pulse_look(&pulse, true), PULSE_ASK);
}

static void one_that_is_silent_is_killed_and_its_successor_may_answer(void **state)
{
	struct pulse pulse = {0};

	(void)state;
	assert_int_equal(pulse_look(&pulse, true), PULSE_ASK);
	assert_int_equal(pulse_look(&pulse, true), PULSE_WAIT);
	assert_int_equal(pulse_look(&pulse, true), PULSE_KILL);
	assert_false(pulse_is_lost(&pulse));
	pulse_new(&pulse);
	assert_int_equal(pulse_look(&pulse, true), PULSE_ASK);
	assert_true(pulse_answered(&pulse));
	assert_int_equal(pulse.kills, 0);
}

static void successors_that_are_silent_too_are_given_up(void **state)
{
	struct pulse pulse = {0};

	(void)state;
	for (int kills = 1; kills <= PULSE_KILLS; kills++) {
		assert_false(pulse_is_lost(&pulse));
		assert_int_equal(pulse_look(&pulse, true), PULSE_ASK);
		assert_int_equal(pulse_look(&pulse, true), PULSE_WAIT);
		assert_int_equal(pulse_look(&pulse, true), PULSE_KILL);
		pulse_new(&pulse);
	}
	assert_true(pulse_is_lost(&pulse));
	/* But not for ever. */
	assert_int_equal(pulse_look(&pulse, true), PULSE_ASK);
	assert_true(pulse_is_lost(&pulse));
	assert_true(pulse_answered(&pulse));
	assert_false(pulse_is_lost(&pulse));
}

static void one_that_cannot_be_killed_is_given_up_as_well(void **state)
{
	struct pulse pulse = {0};
	int looks = 0;

	(void)state;
	while (!pulse_is_lost(&pulse)) {
		pulse_look(&pulse, true);
		assert_true(++looks <= 1 + PULSE_LOOKS * PULSE_KILLS);
	}
	assert_int_equal(looks, 1 + PULSE_LOOKS * PULSE_KILLS);
}

static void one_that_does_not_run_is_not_asked_and_not_missed(void **state)
{
	struct pulse pulse = {0};

	(void)state;
	for (int i = 0; i < 10; i++) {
		assert_int_equal(pulse_look(&pulse, false), PULSE_WAIT);
		assert_false(pulse_is_lost(&pulse));
	}
	assert_false(pulse_answered(&pulse)); /* an answer to nothing */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_answers_is_asked_each_time),
		cmocka_unit_test(one_that_is_late_is_waited_for_one_look_long),
		cmocka_unit_test(one_that_is_silent_is_killed_and_its_successor_may_answer),
		cmocka_unit_test(successors_that_are_silent_too_are_given_up),
		cmocka_unit_test(one_that_cannot_be_killed_is_given_up_as_well),
		cmocka_unit_test(one_that_does_not_run_is_not_asked_and_not_missed),
	};
	return cmocka_run_group_tests_name("pulse", tests, NULL, NULL);
}
