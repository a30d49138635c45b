/* What is kept of a service's output: stamped whole lines, bounded files, nothing that a terminal
 * would obey. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/log/store.h"

static char directory[] = "/tmp/log-store-XXXXXX";
static int dir_fd;
static struct store_stream stream;
static const struct timespec when = {.tv_sec = 1769862896, .tv_nsec = 789654321};

static int open_store(void **state)
{
	(void)state;
	strcpy(directory, "/tmp/log-store-XXXXXX");
	assert_non_null(mkdtemp(directory));
	dir_fd = open(directory, O_PATH | O_DIRECTORY);
	return store_open(&stream, dir_fd, "web");
}

static int close_store(void **state)
{
	(void)state;
	close(stream.file_fd);
	unlinkat(dir_fd, "web.log", 0);
	unlinkat(dir_fd, "web.log.1", 0);
	close(dir_fd);
	return rmdir(directory);
}

static const char *kept(const char *name)
{
	static char text[8192];
	int fd = openat(dir_fd, name, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void take(const char *text)
{
	store_take(&stream, dir_fd, text, strlen(text), &when);
}

static void a_line_is_kept_when_its_end_has_come(void **state)
{
	(void)state;
	take("hel");
	assert_string_equal(kept("web.log"), "");
	take("lo\nwor");
	assert_string_equal(kept("web.log"), "2026-01-31T12:34:56.789Z hello\n");
}

static void control_characters_do_not_reach_a_terminal(void **state)
{
	(void)state;
	take("a\033[2Jb\tc\rd\n");
	assert_string_equal(kept("web.log"), "2026-01-31T12:34:56.789Z a?[2Jb\tc?d\n");
}

/* C1 as UTF-8 and as single bytes; letters of other languages stay. */
static void nor_do_those_of_eight_bits(void **state)
{
	static const struct {
		int line;
		const char *text, *kept;
	} row[] = {
		{__LINE__,
		 "\xc2\x9b"
		 "31m",
		 "\xc2?31m"},
		{__LINE__,
		 "\x9b\x9b"
		 "31m",
		 "??31m"},
		{__LINE__, "\xc2\x9b\x9b", "\xc2??"},
		{__LINE__, "\xc2\xa0\xc3\x9f\xe2\x82\xac\xf0\x9f\x90\xa7",
		 "\xc2\xa0\xc3\x9f\xe2\x82\xac\xf0\x9f\x90\xa7"},
		{__LINE__, "\x7f", "?"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		char expected[256];
		assert_int_equal(ftruncate(stream.file_fd, 0), 0);
		take(row[i].text);
		take("\n");
		snprintf(expected, sizeof(expected), "2026-01-31T12:34:56.789Z %s\n", row[i].kept);
		if (strcmp(kept("web.log"), expected) != 0)
			fail_msg("row of line %d: found %s", row[i].line, kept("web.log"));
	}
	/* Cut between two reads, or between two lines. */
	assert_int_equal(ftruncate(stream.file_fd, 0), 0);
	take("\xc3");
	take("\xa4\xc2");
	take("\x9b\n\x84\n");
	assert_string_equal(kept("web.log"), "2026-01-31T12:34:56.789Z \xc3\xa4\xc2?\n"
					     "2026-01-31T12:34:56.789Z ?\n");
}

static void the_last_line_needs_no_end(void **state)
{
	(void)state;
	store_end(&stream, dir_fd, &when);
	assert_string_equal(kept("web.log"), "");
	take("farewell");
	store_end(&stream, dir_fd, &when);
	store_end(&stream, dir_fd, &when);
	assert_string_equal(kept("web.log"), "2026-01-31T12:34:56.789Z farewell\n");
}

/* As when the disk was full: what comes meanwhile is lost, what comes later is not. */
static void a_file_that_could_not_be_opened_is_tried_again(void **state)
{
	struct store_stream late = {.file_fd = 0};

	(void)state;
	assert_int_equal(mkdirat(dir_fd, "late.log", 0700), 0);
	assert_int_equal(store_open(&late, dir_fd, "late"), -1);
	store_take(&late, dir_fd, "lost\n", 5, &when);
	assert_int_equal(unlinkat(dir_fd, "late.log", AT_REMOVEDIR), 0);
	store_take(&late, dir_fd, "kept\n", 5, &when);
	const char *text = kept("late.log");
	unlinkat(dir_fd, "late.log", 0);
	close(late.file_fd);
	assert_non_null(strstr(text, "Z kept\n"));
}

static void an_endless_line_is_cut(void **state)
{
	char big[STORE_LINE_BYTES + 10];

	(void)state;
	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	take(big);
	take("\n");
	const char *text = kept("web.log");
	assert_int_equal(strlen(text), sizeof(big) - 1 + 2 * 26);
	assert_int_equal(strcspn(text, "\n"), STORE_LINE_BYTES + 25);
}

static void a_full_file_makes_room_and_the_one_before_it_goes(void **state)
{
	struct stat now, before;
	char line[1024];

	(void)state;
	memset(line, 'y', sizeof(line));
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	for (size_t i = 0; i < 3 * STORE_FILE_BYTES / sizeof(line); i++)
		take(line);
	assert_int_equal(fstatat(dir_fd, "web.log", &now, 0), 0);
	assert_int_equal(fstatat(dir_fd, "web.log.1", &before, 0), 0);
	assert_in_range(now.st_size, 0, STORE_FILE_BYTES + 2048);
	assert_in_range(before.st_size, STORE_FILE_BYTES, STORE_FILE_BYTES + 2048);
}

static void stamps_know_leap_years(void **state)
{
	static const struct {
		time_t at;
		const char *text;
	} row[] = {
		{0, "1970-01-01T00:00:00.000Z "},
		{951782400, "2000-02-29T00:00:00.000Z "},
		{4107542399, "2100-02-28T23:59:59.000Z "},
		{4107542400, "2100-03-01T00:00:00.000Z "},
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct timespec at = {.tv_sec = row[i].at};
		store_stamp(text, sizeof(text), &at);
		assert_string_equal(text, row[i].text);
	}
}

static void names_stay_in_their_directory(void **state)
{
	(void)state;
	assert_true(store_name_valid("share@a.example"));
	assert_true(store_name_valid("php-cgi:3"));
	assert_false(store_name_valid("../x"));
	assert_false(store_name_valid("a/b"));
	assert_false(store_name_valid("."));
	assert_false(store_name_valid(""));
	assert_false(store_name_valid("a b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_line_is_kept_when_its_end_has_come, open_store,
						close_store),
		cmocka_unit_test_setup_teardown(control_characters_do_not_reach_a_terminal,
						open_store, close_store),
		cmocka_unit_test_setup_teardown(nor_do_those_of_eight_bits, open_store,
						close_store),
		cmocka_unit_test_setup_teardown(the_last_line_needs_no_end, open_store,
						close_store),
		cmocka_unit_test_setup_teardown(a_file_that_could_not_be_opened_is_tried_again,
						open_store, close_store),
		cmocka_unit_test_setup_teardown(an_endless_line_is_cut, open_store, close_store),
		cmocka_unit_test_setup_teardown(a_full_file_makes_room_and_the_one_before_it_goes,
						open_store, close_store),
		cmocka_unit_test(stamps_know_leap_years),
		cmocka_unit_test(names_stay_in_their_directory),
	};
	return cmocka_run_group_tests_name("log_store", tests, NULL, NULL);
}
