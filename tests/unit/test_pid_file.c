/* The file in which a service leaves the pid of its main process: what is taken from it, and what
 * is not. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/process/pid_file.h"

static char directory[] = "/tmp/test_pid_file.XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/x.pid", directory);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static void write_file(const char *bytes, size_t count)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, count), (ssize_t)count);
	close(fd);
}

static struct pid_file read_file(void)
{
	struct pid_file_place place;
	struct pid_file file;

	assert_int_equal(pid_file_find(path, &place, NULL, NULL), 0);
	assert_true(place.whole);
	assert_string_equal(place.problem, "");
	pid_file_read(&place, getuid(), &file);
	close(place.directory_fd);
	return file;
}

static void test_what_is_a_number(void **state)
{
	static const struct {
		const char *content;
		int64_t pid; /* 0: none */
	} rows[] = {
		{"1", 1},
		{"4711", 4711},
		{"4711\n", 4711},
		{"  4711 \t\n", 4711},
		{"4711\n/var/lib/data\n5432\n", 4711},
		{"2147483647\n", 2147483647},
		{"2147483648\n", 0},
		{"99999999999999999999999999\n", 0},
		{"0\n", 0},
		{"-4711\n", 0},
		{"+4711\n", 0},
		{"4711x\n", 0},
		{"x4711\n", 0},
		{"47 11\n", 0},
		{"0x12\n", 0},
		{"\n4711\n", 0},
		{"4711\r\n", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		write_file(rows[i].content, strlen(rows[i].content));
		struct pid_file file = read_file();
		assert_true(file.there);
		if (file.pid != rows[i].pid || (file.pid == 0) != (file.problem[0] != '\0'))
			fail_msg("\"%s\" is read as %lld (%s)", rows[i].content,
				 (long long)file.pid, file.problem);
	}
}

static void test_bytes_that_are_no_text_and_too_many_of_them(void **state)
{
	char many[4096];

	(void)state;
	write_file("47\00011\n", 6);
	assert_int_equal(read_file().pid, 0);
	memset(many, '1', sizeof(many));
	write_file(many, sizeof(many));
	assert_int_equal(read_file().pid, 0);
	memset(many, ' ', sizeof(many));
	write_file(many, sizeof(many));
	assert_int_equal(read_file().pid, 0);
	memset(many, 'x', sizeof(many));
	memcpy(many, "4711\n", 5);
	write_file(many, sizeof(many));
	assert_int_equal(read_file().pid, 4711);
}

static void test_an_empty_file_is_not_there_yet(void **state)
{
	(void)state;
	write_file("", 0);
	assert_false(read_file().there);
	unlink(path);
	assert_false(read_file().there);
}

static void test_a_file_that_was_written_again_is_another_one(void **state)
{
	struct pid_file before, after, none = {0};

	(void)state;
	write_file("4711\n", 5);
	before = read_file();
	after = read_file();
	assert_true(pid_file_same(&before, &after));
	assert_false(pid_file_same(&none, &none));
	/* The clock of files is a coarse one, and stands still for longer than its step where the
	 * processor that drives it has to wait. */
	struct timespec then, now;
	clock_gettime(CLOCK_REALTIME_COARSE, &then);
	do {
		usleep(5000);
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_sec == then.tv_sec && now.tv_nsec == then.tv_nsec);
	write_file("4711\n", 5);
	after = read_file();
	assert_false(pid_file_same(&before, &after));
	write_file("4712\n", 5);
	before = after;
	after = read_file();
	assert_false(pid_file_same(&before, &after));
}

static void test_every_directory_on_the_way_is_shown(void **state)
{
	struct pid_file_place place;
	char deep[128];

	(void)state;
	snprintf(deep, sizeof(deep), "%s/a/b/c.pid", directory);
	assert_int_equal(pid_file_find(deep, &place, NULL, NULL), 0);
	assert_false(place.whole);
	assert_int_equal(place.next_length, 1);
	assert_memory_equal(place.next, "a", 1);
	assert_string_equal(place.problem, "");
	close(place.directory_fd);

	unlink(path);
	assert_int_equal(symlink("/tmp", path), 0);
	snprintf(deep, sizeof(deep), "%s/b.pid", path);
	assert_int_equal(pid_file_find(deep, &place, NULL, NULL), 0);
	assert_false(place.whole);
	assert_string_equal(place.problem, "x.pid on the way there is a symbolic link");
	close(place.directory_fd);
	struct pid_file file = read_file();
	assert_true(file.there && file.pid == 0);
	assert_string_equal(file.problem, "is a symbolic link");
	unlink(path);

	write_file("1", 1);
	assert_int_equal(pid_file_find(deep, &place, NULL, NULL), 0);
	assert_string_equal(place.problem, "x.pid on the way there is no directory");
	close(place.directory_fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_a_number),
		cmocka_unit_test(test_bytes_that_are_no_text_and_too_many_of_them),
		cmocka_unit_test(test_an_empty_file_is_not_there_yet),
		cmocka_unit_test(test_a_file_that_was_written_again_is_another_one),
		cmocka_unit_test(test_every_directory_on_the_way_is_shown),
	};
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
