/*
 * The agent finds its requests in a byte stream that clients come to and leave in the middle of a
 * frame: whatever an earlier one left is skipped, and never more than that.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "services/agent/agent.h"

static const struct agent_header sample = {"8 bytes", AGENT_RUN, 300};

static void round_trip(void **state)
{
	struct agent_header found;
	uint8_t bytes[AGENT_HEADER];
	size_t skip;

	(void)state;
	agent_put_header(bytes, &sample);
	assert_int_equal(agent_find_header(bytes, sizeof bytes, &skip, &found), 1);
	assert_int_equal(skip, 0);
	assert_memory_equal(found.session, sample.session, sizeof found.session);
	assert_int_equal(found.type, AGENT_RUN);
	assert_int_equal(found.length, 300);
}

static void numbers_are_big_endian_as_documented(void **state)
{
	uint8_t bytes[AGENT_HEADER];
	const struct agent_header header = {"abcdefg", AGENT_EXIT, 0x01020304};

	(void)state;
	agent_put_header(bytes, &header);
	assert_memory_equal(bytes, "sVa1abcdefg\0\x13\0\0\0\1\2\3\4", sizeof bytes);
}

static void a_part_of_a_header_is_waited_for(void **state)
{
	struct agent_header found;
	uint8_t bytes[AGENT_HEADER];
	size_t skip;

	(void)state;
	agent_put_header(bytes, &sample);
	for (size_t count = 0; count < sizeof bytes; count++) {
		assert_int_equal(agent_find_header(bytes, count, &skip, &found), 0);
		assert_int_equal(skip, 0);
	}
}

static void leftovers_before_a_header_are_skipped(void **state)
{
	static const char *const leftovers[] = {
		"x", "sVa", "sVsVa", "sVa1 the end of an argument, and more of it", "sVa1sVa1"};
	struct agent_header found;
	uint8_t bytes[128];
	size_t skip;

	(void)state;
	for (size_t i = 0; i < sizeof leftovers / sizeof leftovers[0]; i++) {
		size_t length = strlen(leftovers[i]);
		memcpy(bytes, leftovers[i], length);
		agent_put_header(bytes + length, &sample);
		assert_int_equal(agent_find_header(bytes, length + AGENT_HEADER, &skip, &found), 1);
		assert_int_equal(skip, length);
		assert_int_equal(found.length, 300);
	}
}

static void garbage_is_skipped_but_for_what_may_begin_a_header(void **state)
{
	struct agent_header found;
	size_t skip;

	(void)state;
	assert_int_equal(agent_find_header((const uint8_t *)"garbage", 7, &skip, &found), 0);
	assert_int_equal(skip, 7);
	assert_int_equal(agent_find_header((const uint8_t *)"garbage sVa", 11, &skip, &found), 0);
	assert_int_equal(skip, 8);
}

static void impossible_headers_are_skipped(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {{12, 0},
		       {12, AGENT_SIGNAL + 1},
		       {12, AGENT_STDOUT},
		       {13, 1},
		       {14, 1},
		       {15, 1},
		       {16, 1},
		       {18, 0x11}};
	struct agent_header found;
	uint8_t bytes[AGENT_HEADER];
	size_t skip;

	(void)state;
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		agent_put_header(bytes, &sample);
		bytes[changes[i].at] = changes[i].value;
		assert_int_equal(agent_find_header(bytes, sizeof bytes, &skip, &found), 0);
		assert_int_equal(skip, AGENT_HEADER);
	}
}

static void longest_request_is_taken_and_one_byte_more_is_not(void **state)
{
	struct agent_header found, header = {"8 bytes", AGENT_READ, AGENT_REQUEST_MAX};
	uint8_t bytes[AGENT_HEADER];
	size_t skip;

	(void)state;
	agent_put_header(bytes, &header);
	assert_int_equal(agent_find_header(bytes, sizeof bytes, &skip, &found), 1);
	header.length++;
	agent_put_header(bytes, &header);
	assert_int_equal(agent_find_header(bytes, sizeof bytes, &skip, &found), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(numbers_are_big_endian_as_documented),
		cmocka_unit_test(a_part_of_a_header_is_waited_for),
		cmocka_unit_test(leftovers_before_a_header_are_skipped),
		cmocka_unit_test(garbage_is_skipped_but_for_what_may_begin_a_header),
		cmocka_unit_test(impossible_headers_are_skipped),
		cmocka_unit_test(longest_request_is_taken_and_one_byte_more_is_not),
	};
	return cmocka_run_group_tests_name("agent frames", tests, NULL, NULL);
}
