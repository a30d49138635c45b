/* What the supervising process takes for a request: nothing but whole, known ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/control/protocol.h"

static struct control_request good(uint16_t verb)
{
	return (struct control_request){.magic = CONTROL_MAGIC, .verb = verb, .name = "web"};
}

static bool valid(struct control_request request)
{
	return control_request_valid(&request, sizeof(request));
}

static void every_verb_is_known_and_no_other(void **state)
{
	(void)state;
	for (unsigned verb = 0; verb <= UINT16_MAX; verb++) {
		bool known = verb >= CONTROL_STATUS && verb < CONTROL_VERBS_END;
		assert_int_equal(valid(good((uint16_t)verb)), known);
	}
}

static void only_one_size_is_right(void **state)
{
	unsigned char bytes[2 * sizeof(struct control_request)] = {0};
	struct control_request request = good(CONTROL_STATUS);

	(void)state;
	memcpy(bytes, &request, sizeof(request));
	for (size_t size = 0; size < sizeof(bytes); size++)
		assert_int_equal(control_request_valid(bytes, size), size == sizeof(request));
	/* It need not lie where a struct would. */
	memmove(bytes + 1, bytes, sizeof(request));
	assert_true(control_request_valid(bytes + 1, sizeof(request)));
}

static void another_version_is_refused(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 32; bit++) {
		struct control_request request = good(CONTROL_STATUS);
		request.magic ^= 1u << bit;
		assert_false(valid(request));
	}
}

static void unknown_flags_are_refused(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags <= UINT16_MAX; flags++) {
		struct control_request request = good(CONTROL_STOP);
		request.flags = (uint16_t)flags;
		assert_int_equal(valid(request), flags <= (CONTROL_FORCE | CONTROL_NO_WAIT));
	}
}

static void a_name_ends_within_its_field(void **state)
{
	struct control_request request = good(CONTROL_START);

	(void)state;
	memset(request.name, 'x', sizeof(request.name));
	assert_false(valid(request));
	request.name[sizeof(request.name) - 1] = '\0';
	assert_true(valid(request));
	memset(request.name, 0, sizeof(request.name));
	assert_true(valid(request)); /* of all services */
}

static void the_ways_to_shut_down_are_four(void **state)
{
	static const struct {
		int32_t number;
		bool good;
	} row[] = {
		{CONTROL_POWEROFF, true},
		{CONTROL_REBOOT, true},
		{CONTROL_HALT, true},
		{CONTROL_KEXEC, true},
		{4, false},
		{-1, false},
		{INT32_MAX, false},
		{INT32_MIN, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct control_request request = good(CONTROL_SHUTDOWN);
		request.number = row[i].number;
		assert_int_equal(valid(request), row[i].good);
		request.verb = CONTROL_KILL; /* whose numbers are checked where they are used */
		assert_true(valid(request));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verb_is_known_and_no_other),
		cmocka_unit_test(only_one_size_is_right),
		cmocka_unit_test(another_version_is_refused),
		cmocka_unit_test(unknown_flags_are_refused),
		cmocka_unit_test(a_name_ends_within_its_field),
		cmocka_unit_test(the_ways_to_shut_down_are_four),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
