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

/* Both made by `agent.request_frame(b"8 bytes.", RUN, payload)` of image/demo/agent.py. */
static const uint8_t sample[] = "sVa1"
				"8 bytes."
				"\x01\0\0\0"
				"\0\0\0\x07"
				"\x57\x9a\x4e\xf8"
				"status";
static const uint8_t empty[] = "sVa1"
			       "8 bytes."
			       "\x01\0\0\0"
			       "\0\0\0\0"
			       "\xdd\xd1\x71\x24";

enum { SAMPLE_BYTES = sizeof sample, EMPTY_BYTES = sizeof empty - 1 };

static uint8_t bytes[4 * (AGENT_HEADER + AGENT_REQUEST_MAX)];
static struct agent_header found;
static size_t skip;

static void a_whole_request_is_found(void **state)
{
	(void)state;
	assert_int_equal(agent_find_request(sample, SAMPLE_BYTES, &skip, &found), 1);
	assert_int_equal(skip, 0);
	assert_memory_equal(found.session, "8 bytes.", sizeof found.session);
	assert_int_equal(found.type, AGENT_RUN);
	assert_int_equal(found.length, 7);
	assert_int_equal(agent_find_request(empty, EMPTY_BYTES, &skip, &found), 1);
	assert_int_equal(found.length, 0);
}

static void answers_are_as_documented(void **state)
{
	const struct agent_header header = {"abcdefg", AGENT_EXIT, 0x01020304};

	(void)state;
	agent_put_header(bytes, &header);
	assert_memory_equal(bytes, "sVa1abcdefg\0\x13\0\0\0\1\2\3\4\0\0\0\0", AGENT_HEADER);
}

static void the_rest_of_a_request_is_waited_for(void **state)
{
	(void)state;
	for (size_t count = 0; count < SAMPLE_BYTES; count++) {
		assert_int_equal(agent_find_request(sample, count, &skip, &found), 0);
		assert_int_equal(skip, 0);
	}
}

static void leftovers_before_a_request_are_skipped(void **state)
{
	static const char *const leftovers[] = {
		"x", "sVa", "sVsVa", "sVa1 the end of an argument, and more of it", "sVa1sVa1"};

	(void)state;
	for (size_t i = 0; i < sizeof leftovers / sizeof leftovers[0]; i++) {
		size_t length = strlen(leftovers[i]);
		memcpy(bytes, leftovers[i], length);
		memcpy(bytes + length, sample, SAMPLE_BYTES);
		assert_int_equal(agent_find_request(bytes, length + SAMPLE_BYTES, &skip, &found),
				 1);
		assert_int_equal(skip, length);
		assert_int_equal(found.length, 7);
	}
}

/* Its client left in the middle of it, unnoticed: the next one's request was taken for its end, and
 * never answered. */
static void a_request_after_any_part_of_another_is_found(void **state)
{
	(void)state;
	for (size_t part = 0; part < SAMPLE_BYTES; part++) {
		memcpy(bytes, sample, part);
		memcpy(bytes + part, sample, SAMPLE_BYTES);
		assert_int_equal(agent_find_request(bytes, part + SAMPLE_BYTES, &skip, &found), 1);
		assert_int_equal(skip, part);
	}
}

static void a_request_after_the_beginning_of_a_long_one_is_found(void **state)
{
	(void)state;
	memcpy(bytes, sample, AGENT_HEADER);
	bytes[18] = AGENT_REQUEST_MAX >> 8;
	bytes[19] = 0;
	memset(bytes + AGENT_HEADER, 'x', 1000);
	memcpy(bytes + AGENT_HEADER + 1000, sample, SAMPLE_BYTES);
	assert_int_equal(agent_find_request(bytes, AGENT_HEADER + 1000, &skip, &found), 0);
	assert_int_equal(skip, 0);
	assert_int_equal(
		agent_find_request(bytes, AGENT_HEADER + 1000 + SAMPLE_BYTES, &skip, &found), 1);
	assert_int_equal(skip, AGENT_HEADER + 1000);
}

static void garbage_is_skipped_but_for_what_may_begin_a_request(void **state)
{
	(void)state;
	assert_int_equal(agent_find_request((const uint8_t *)"garbage", 7, &skip, &found), 0);
	assert_int_equal(skip, 7);
	assert_int_equal(agent_find_request((const uint8_t *)"garbage sVa", 11, &skip, &found), 0);
	assert_int_equal(skip, 8);
}

static void no_changed_request_is_taken(void **state)
{
	(void)state;
	for (size_t at = 0; at < SAMPLE_BYTES; at++) {
		memcpy(bytes, sample, SAMPLE_BYTES);
		bytes[at] ^= 1;
		assert_int_equal(agent_find_request(bytes, SAMPLE_BYTES, &skip, &found), 0);
	}
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

	(void)state;
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		memcpy(bytes, sample, AGENT_HEADER);
		bytes[changes[i].at] = changes[i].value;
		assert_int_equal(agent_find_request(bytes, AGENT_HEADER, &skip, &found), 0);
		assert_int_equal(skip, AGENT_HEADER);
	}
}

/* Or the port's buffer could fill up, and a full buffer reads like a client that hung up. */
static void what_is_waited_for_is_shorter_than_the_longest_request(void **state)
{
	(void)state;
	for (size_t i = 0; i + AGENT_HEADER <= sizeof bytes; i += AGENT_HEADER) {
		memcpy(bytes + i, sample, AGENT_HEADER);
		bytes[i + 18] = AGENT_REQUEST_MAX >> 8;
		bytes[i + 19] = 0;
	}
	assert_int_equal(agent_find_request(bytes, sizeof bytes, &skip, &found), 0);
	assert_true(sizeof bytes - skip < AGENT_HEADER + AGENT_REQUEST_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_request_is_found),
		cmocka_unit_test(answers_are_as_documented),
		cmocka_unit_test(the_rest_of_a_request_is_waited_for),
		cmocka_unit_test(leftovers_before_a_request_are_skipped),
		cmocka_unit_test(a_request_after_any_part_of_another_is_found),
		cmocka_unit_test(a_request_after_the_beginning_of_a_long_one_is_found),
		cmocka_unit_test(garbage_is_skipped_but_for_what_may_begin_a_request),
		cmocka_unit_test(no_changed_request_is_taken),
		cmocka_unit_test(impossible_headers_are_skipped),
		cmocka_unit_test(what_is_waited_for_is_shorter_than_the_longest_request),
	};
	return cmocka_run_group_tests_name("agent frames", tests, NULL, NULL);
}
