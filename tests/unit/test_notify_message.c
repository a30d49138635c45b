/* What a service says of itself: every byte of it is somebody else's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/service/notify_message.h"

static struct notify_message read_text(const char *text)
{
	struct notify_message message;

	notify_message_read(text, strlen(text), &message);
	return message;
}

static void assert_text(const struct notify_text *text, const char *expected)
{
	assert_non_null(text->at);
	assert_int_equal(text->length, strlen(expected));
	assert_memory_equal(text->at, expected, text->length);
}

static void test_nothing_is_said_by_nothing(void **state)
{
	static const char *const texts[] = {"",		"\n",	     "\n\n\n",	   "=",
					    "=1",	"READY",     "READY=",	   "READY=0",
					    "READY=11", "READY=1 ",  " READY=1",   "ready=1",
					    "READY =1", "XREADY=1",  "READY=1\r",  "STATU=x",
					    "READYX=1", "MAINPID 1", "WATCHDOG=2", "BARRIER"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct notify_message said = read_text(texts[i]), nothing = {0};
		if (memcmp(&said, &nothing, sizeof(said)) != 0)
			fail_msg("\"%s\" says something", texts[i]);
	}
}

static void test_every_name_is_known(void **state)
{
	struct notify_message m =
		read_text("READY=1\nRELOADING=1\nSTOPPING=1\nBARRIER=1\nWATCHDOG=1\n"
			  "WATCHDOG=trigger\nSTATUS=a = b\nBUSERROR=org.example.Error\n"
			  "MAINPID=4711\nERRNO=2\nEXTEND_TIMEOUT_USEC=5000000\nWATCHDOG_USEC=0\n"
			  "FDSTORE=1\nFDNAME=x\nNOTIFYACCESS=all\nMONOTONIC_USEC=7");

	(void)state;
	assert_true(m.ready && m.reloading && m.stopping && m.barrier && m.ping && m.trigger);
	assert_text(&m.status, "a = b");
	assert_text(&m.bus_error, "org.example.Error");
	assert_true(m.main_pid.good && m.main_pid.value == 4711);
	assert_true(m.error.good && m.error.value == 2);
	assert_true(m.extend_us.good && m.extend_us.value == 5000000);
	assert_true(m.watchdog_us.good && m.watchdog_us.value == 0);
}

static void test_no_newline_is_needed_and_the_last_of_a_kind_counts(void **state)
{
	struct notify_message m = read_text("STATUS=one\nMAINPID=x\nSTATUS=two\nMAINPID=7");

	(void)state;
	assert_text(&m.status, "two");
	assert_true(m.main_pid.good && m.main_pid.value == 7);
	m = read_text("MAINPID=7\nMAINPID=x");
	assert_false(m.main_pid.good);
	assert_text(&m.main_pid.text, "x");
	m = read_text("STATUS=");
	assert_text(&m.status, "");
}

static void test_numbers_are_digits_alone(void **state)
{
	static const char *const bad[] = {"",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "0x1",
					  "1.0",
					  "1e3",
					  "one",
					  "1\t",
					  "\xd9\xa1", /* a digit, but an Arabic one */
					  "18446744073709551616",
					  "99999999999999999999999999999999999"};
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "MAINPID=%s", bad[i]);
		struct notify_message m = read_text(text);
		if (m.main_pid.good || !m.main_pid.text.at || m.main_pid.value != 0)
			fail_msg("\"%s\" is taken for a number", bad[i]);
	}
	struct notify_message m = read_text("MAINPID=18446744073709551615");
	assert_true(m.main_pid.good && m.main_pid.value == UINT64_MAX);
}

static void test_a_nul_is_a_byte_like_any_other(void **state)
{
	static const char bytes[] = "STATUS=a\0b\nREADY=1\0\nMAINPID=7\0\nRELOADING=1";
	struct notify_message m;
	char text[16];

	(void)state;
	notify_message_read(bytes, sizeof(bytes) - 1, &m);
	assert_false(m.ready);
	assert_false(m.main_pid.good);
	assert_true(m.reloading);
	assert_int_equal(m.status.length, 3);
	assert_string_equal(notify_text_plain(&m.status, text, sizeof(text)), "a?b");
}

static void test_thousands_of_lines_and_one_long_one(void **state)
{
	static char bytes[NOTIFY_MESSAGE_BYTES];
	struct notify_message m;
	char text[32];

	(void)state;
	memset(bytes, '\n', sizeof(bytes));
	memcpy(bytes + sizeof(bytes) - 7, "READY=1", 7);
	notify_message_read(bytes, sizeof(bytes), &m);
	assert_true(m.ready);
	memset(bytes, 'x', sizeof(bytes));
	memcpy(bytes, "STATUS=", 7);
	notify_message_read(bytes, sizeof(bytes), &m);
	assert_int_equal(m.status.length, sizeof(bytes) - 7);
	assert_int_equal(strlen(notify_text_plain(&m.status, text, sizeof(text))),
			 sizeof(text) - 1);
}

static void test_what_is_shown_is_what_a_terminal_can_be_shown(void **state)
{
	static const struct {
		const char *said, *shown;
		size_t room;
	} rows[] = {
		{"plain", "plain", 32},
		{"\x1b[31mred", "?[31mred", 32},
		{"\xc3\xa4\xff", "\xc3\xa4?", 32},
		{"\xe2\x98", "??", 32},
		{"\xc2\x9b", "?", 32},
		{"a\tb\rc\x7f", "a?b?c?", 32},
		{"abc", "ab", 3},
		{"a\xc3\xa4", "a", 3},
		{"a\xc3\xa4", "a\xc3\xa4", 4},
		{"", "", 1},
		{"x", "", 1},
	};
	char shown[32];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		/* Copied, so that a sanitizer sees a look past the end. */
		size_t length = strlen(rows[i].said);
		char *copy = malloc(length ? length : 1);
		memcpy(copy, rows[i].said, length);
		const struct notify_text text = {copy, length};
		assert_string_equal(notify_text_plain(&text, shown, rows[i].room), rows[i].shown);
		free(copy);
	}
	const struct notify_text none = {0};
	assert_string_equal(notify_text_plain(&none, shown, sizeof(shown)), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_said_by_nothing),
		cmocka_unit_test(test_every_name_is_known),
		cmocka_unit_test(test_no_newline_is_needed_and_the_last_of_a_kind_counts),
		cmocka_unit_test(test_numbers_are_digits_alone),
		cmocka_unit_test(test_a_nul_is_a_byte_like_any_other),
		cmocka_unit_test(test_thousands_of_lines_and_one_long_one),
		cmocka_unit_test(test_what_is_shown_is_what_a_terminal_can_be_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
