/* What health checks read from servers: the header of an HTTP answer, the records of FastCGI. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/check/http.h"
#include "src/base/fastcgi.h"

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct answer {
	int line;
	const char *bytes;
	enum http_found found;
	unsigned status;
} answers[] = {
	{__LINE__, "HTTP/1.1 200 OK\r\nServer: x\r\n\r\nbody", HTTP_COMPLETE, 200},
	{__LINE__, "HTTP/1.0 204 \r\n\r\n", HTTP_COMPLETE, 204},
	{__LINE__, "HTTP/1.0 302\r\nLocation:\r\n\r\n", HTTP_COMPLETE, 302},
	{__LINE__, "HTTP/1.1 503 Service Unavailable\nA: b\n\n", HTTP_COMPLETE, 503},
	{__LINE__, "HTTP/1.1 999 \xc3\xa4\r\n\r\n", HTTP_COMPLETE, 999},
	{__LINE__, "", HTTP_MORE, 0},
	{__LINE__, "H", HTTP_MORE, 0},
	{__LINE__, "HTTP/1.", HTTP_MORE, 0},
	{__LINE__, "HTTP/1.1 200 OK", HTTP_MORE, 0},
	{__LINE__, "HTTP/1.1 200 OK\r\n", HTTP_MORE, 0},
	{__LINE__, "HTTP/1.1 200 OK\r\nServer: x\r\n", HTTP_MORE, 0},
	{__LINE__, "SSH-2.0-OpenSSH_9.2\r\n", HTTP_WRONG, 0},
	{__LINE__, "h", HTTP_WRONG, 0},
	{__LINE__, "HTTP/2 200 OK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.x 200 OK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1  200 OK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 20 OK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 099 OK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 2000 OK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 20\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 20x OK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1-200 OK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 200 O\x7fK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "\r\nHTTP/1.1 200 OK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 200 O\x1bK\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 200 OK\rX\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 200 OK\r\nno token: x\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 200 OK\r\n: x\r\n\r\n", HTTP_WRONG, 0},
	{__LINE__, "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", HTTP_WRONG, 0},
};

static void answers_are_read_as_they_stand(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
		unsigned status = 0;
		enum http_found found =
			http_answer(answers[i].bytes, strlen(answers[i].bytes), &status);
		if (found != answers[i].found || status != answers[i].status)
			fail_msg("line %d: found %d, status %u", answers[i].line, found, status);
	}
}

/* However it is cut into pieces: no verdict is taken back. */
static void a_beginning_of_a_good_answer_is_never_wrong(void **state)
{
	static const char whole[] = "HTTP/1.1 200 OK\r\nServer: x\r\nX: \r\n\r\n";

	(void)state;
	for (size_t count = 0; count < strlen(whole); count++) {
		unsigned status = 0;
		assert_int_equal(http_answer(whole, count, &status), HTTP_MORE);
		assert_int_equal(status, 0);
	}
}

static void a_nul_is_no_text(void **state)
{
	static const char with_nul[] = "HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n";
	unsigned status;

	(void)state;
	assert_int_equal(http_answer(with_nul, sizeof(with_nul) - 1, &status), HTTP_WRONG);
}

static void a_header_without_end_is_given_up(void **state)
{
	static char endless[HTTP_HEADER_MAX + 64];
	static const char begin[] = "HTTP/1.1 200 OK\r\nA: ";
	unsigned status;

	(void)state;
	memset(endless, 'a', sizeof(endless));
	memcpy(endless, begin, sizeof(begin) - 1);
	assert_int_equal(http_answer(endless, HTTP_HEADER_MAX - 1, &status), HTTP_MORE);
	assert_int_equal(http_answer(endless, HTTP_HEADER_MAX, &status), HTTP_WRONG);
	memcpy(endless + HTTP_HEADER_MAX - 4, "\r\n\r\n", 4);
	assert_int_equal(http_answer(endless, HTTP_HEADER_MAX, &status), HTTP_COMPLETE);
	memset(endless + HTTP_HEADER_MAX - 4, 'a', 4);
	memcpy(endless + HTTP_HEADER_MAX - 3, "\r\n\r\n", 4);
	assert_int_equal(http_answer(endless, HTTP_HEADER_MAX + 1, &status), HTTP_WRONG);
}

static void a_header_of_fastcgi_comes_back_as_it_went(void **state)
{
	static const uint8_t bytes[] = {1, 10, 0x12, 0x34, 0xab, 0xcd, 7, 0};
	const struct fastcgi_record record = {FCGI_GET_VALUES_RESULT, 0x1234, 0xabcd, 7};
	struct fastcgi_record read;
	uint8_t header[FCGI_HEADER_BYTES];

	(void)state;
	fastcgi_put_header(header, &record);
	assert_memory_equal(header, bytes, sizeof(bytes));
	assert_true(fastcgi_get_header(header, &read));
	assert_int_equal(read.type, record.type);
	assert_int_equal(read.request, record.request);
	assert_int_equal(read.content_bytes, record.content_bytes);
	assert_int_equal(read.padding_bytes, record.padding_bytes);
	header[0] = 2;
	assert_false(fastcgi_get_header(header, &read));
}

static void pairs_come_back_as_they_went(void **state)
{
	static uint8_t bytes[70000];
	static char text[66001];
	static const size_t lengths[] = {0, 1, 127, 128, 255, 256, 65535, 66000};
	struct fastcgi_pair pair;

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(lengths); i++) {
		size_t used = 3, at = 3;
		memset(text, 'x', lengths[i]);
		text[lengths[i]] = '\0';
		assert_true(fastcgi_put_pair(bytes, sizeof(bytes), &used, "NAME", text));
		bool twice = fastcgi_put_pair(bytes, sizeof(bytes), &used, text, "");
		assert_int_equal(twice, lengths[i] < 30000);
		assert_true(fastcgi_get_pair(bytes, used, &at, &pair));
		assert_int_equal(pair.name_bytes, 4);
		assert_memory_equal(pair.name, "NAME", 4);
		assert_int_equal(pair.value_bytes, lengths[i]);
		assert_memory_equal(pair.value, text, lengths[i]);
		assert_int_equal(fastcgi_get_pair(bytes, used, &at, &pair), twice);
		assert_int_equal(pair.name_bytes, twice ? lengths[i] : 4);
		assert_int_equal(at, used);
		assert_false(fastcgi_get_pair(bytes, used, &at, &pair));
		assert_int_equal(at, used);
	}
}

static void a_pair_that_does_not_fit_is_not_written(void **state)
{
	uint8_t bytes[32];
	size_t used;

	(void)state;
	for (size_t max = 0; max < 12; max++) {
		memset(bytes, 0xee, sizeof(bytes));
		used = 2;
		if (max < used)
			continue;
		bool fits = fastcgi_put_pair(bytes, max, &used, "NAME", "ab");
		assert_int_equal(fits, max >= 10);
		assert_int_equal(used, fits ? 10 : 2);
		assert_int_equal(bytes[max], 0xee);
		if (!fits)
			assert_int_equal(bytes[2], 0xee);
	}
}

static void pairs_that_end_too_soon_are_refused(void **state)
{
	static const struct {
		int line;
		size_t bytes;
		uint8_t content[8];
	} broken[] = {
		{__LINE__, 1, {0}},	    /* no length of the value */
		{__LINE__, 2, {1, 0}},	    /* no name */
		{__LINE__, 3, {1, 1, 'n'}}, /* no value */
		{__LINE__, 3, {0x80, 0, 0}},
		{__LINE__, 2, {0, 0x80}}, /* half a length */
		{__LINE__, 5, {0xff, 0xff, 0xff, 0xff, 0}},
		{__LINE__, 5, {0, 0xff, 0xff, 0xff, 0xff}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_COUNT(broken); i++) {
		struct fastcgi_pair pair;
		uint8_t *copy = malloc(broken[i].bytes); /* so that reading beyond it is seen */
		size_t at = 0;
		memcpy(copy, broken[i].content, broken[i].bytes);
		while (fastcgi_get_pair(copy, broken[i].bytes, &at, &pair))
			;
		if (at >= broken[i].bytes)
			fail_msg("line %d: taken for whole", broken[i].line);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_are_read_as_they_stand),
		cmocka_unit_test(a_beginning_of_a_good_answer_is_never_wrong),
		cmocka_unit_test(a_nul_is_no_text),
		cmocka_unit_test(a_header_without_end_is_given_up),
		cmocka_unit_test(a_header_of_fastcgi_comes_back_as_it_went),
		cmocka_unit_test(pairs_come_back_as_they_went),
		cmocka_unit_test(a_pair_that_does_not_fit_is_not_written),
		cmocka_unit_test(pairs_that_end_too_soon_are_refused),
	};
	return cmocka_run_group_tests_name("check_wire", tests, NULL, NULL);
}
