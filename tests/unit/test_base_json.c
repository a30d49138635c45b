/* JSON for any bytes, and the UTF-8 that it needs to know. stdout is a pipe here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/base/json.h"
#include "src/base/utf8.h"

static char written[65536];

/* What `write` puts on stdout. */
static const char *output(void (*write)(const void *what), const void *what)
{
	int end[2];

	fflush(stdout);
	assert_int_equal(pipe(end), 0);
	int kept = dup(STDOUT_FILENO);
	dup2(end[1], STDOUT_FILENO);
	close(end[1]);
	write(what);
	fflush(stdout);
	dup2(kept, STDOUT_FILENO);
	close(kept);
	ssize_t n = read(end[0], written, sizeof(written) - 1);
	close(end[0]);
	assert_true(n >= 0);
	written[n] = '\0';
	return written;
}

static void write_all(const void *what)
{
	bool first = true;

	(void)what;
	json_open(&first, NULL, '{');
	json_string(&first, "name", "web");
	json_number(&first, "least", INT64_MIN);
	json_number(&first, "most", INT64_MAX);
	json_bool(&first, "yes", true);
	json_bool(&first, "no", false);
	json_open(&first, "list", '[');
	json_open(&first, NULL, '{');
	json_close(&first, '}');
	json_string(&first, NULL, "second");
	json_close(&first, ']');
	json_close(&first, '}');
}

static void values_are_separated_where_they_must_be(void **state)
{
	(void)state;
	assert_string_equal(output(write_all, NULL),
			    "{\"name\":\"web\",\"least\":-9223372036854775808,"
			    "\"most\":9223372036854775807,\"yes\":true,\"no\":false,"
			    "\"list\":[{},\"second\"]}");
}

static void write_string(const void *text)
{
	bool first = true;

	json_string(&first, NULL, text);
}

static void strings_are_quoted(void **state)
{
	static const struct {
		int line;
		const char *text, *json;
	} row[] = {
		{__LINE__, "", "\"\""},
		{__LINE__, "a\"b\\c/", "\"a\\\"b\\\\c/\""},
		{__LINE__, "\n\t\x01\x1f", "\"\\u000a\\u0009\\u0001\\u001f\""},
		{__LINE__, "\x7f", "\"\\u007f\""},
		{__LINE__, "\xc3\xa4\xe2\x98\x83\xf0\x9f\x90\xa7",
		 "\"\xc3\xa4\xe2\x98\x83\xf0\x9f\x90\xa7\""},
		{__LINE__, "\xff", "\"\\ufffd\""},
		{__LINE__, "a\x80z", "\"a\\ufffdz\""},
		{__LINE__, "\xc3", "\"\\ufffd\""},			 /* cut off */
		{__LINE__, "\xe2\x98", "\"\\ufffd\\ufffd\""},		 /* cut off */
		{__LINE__, "\xc0\xaf", "\"\\ufffd\\ufffd\""},		 /* "/", too long */
		{__LINE__, "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
		{__LINE__, "\xf4\x90\x80\x80",
		 "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* past the end */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		const char *found = output(write_string, row[i].text);
		if (strcmp(found, row[i].json) != 0)
			fail_msg("row of line %d: found %s, expected %s", row[i].line, found,
				 row[i].json);
	}
}

/* Every code point and nothing else: encoded by the rule, decoded by the table. */
static void utf8_has_one_form_for_each_character(void **state)
{
	unsigned long characters = 0;

	(void)state;
	for (uint32_t c = 1; c < 0x200000; c++) {
		char text[5] = {0};
		size_t length = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
		static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
		for (size_t i = length; i-- > 1;)
			text[i] = (char)(0x80 | (c >> (6 * (length - 1 - i)) & 0x3F));
		text[0] = (char)(lead[length] | c >> (6 * (length - 1)));
		bool exists = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
		assert_int_equal(utf8_length(text), exists ? length : 0);
		characters += exists;
		bool control = c < 0x20 || (c >= 0x7F && c < 0xA0);
		assert_int_equal(utf8_is_control(text), control);
	}
	assert_int_equal(characters, 0x10FFFF - 0x800);
	/* Too long: the first that fit into less. */
	assert_int_equal(utf8_length("\xC1\xBF"), 0);
	assert_int_equal(utf8_length("\xE0\x9F\xBF"), 0);
	assert_int_equal(utf8_length("\xF0\x8F\xBF\xBF"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_separated_where_they_must_be),
		cmocka_unit_test(strings_are_quoted),
		cmocka_unit_test(utf8_has_one_form_for_each_character),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
