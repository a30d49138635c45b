/* What one control process leaves for the next, in a directory of this test alone. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/dlm/saved.h"

#undef SAVED_DIRECTORY
#define SAVED_DIRECTORY "saved"
#include "services/dlm/saved.c"

static char directory[] = "/tmp/test-dlm-saved-XXXXXX";

static int set_up(void **state)
{
	(void)state;
	return mkdtemp(directory) ? chdir(directory) : -1;
}

static int tear_down(void **state)
{
	(void)state;
	saved_clear();
	rmdir(SAVED_DIRECTORY);
	return rmdir(directory);
}

static struct wire_message sample(void)
{
	struct wire_message m = {.kind = WIRE_VIEW, .from = 2, .want = true};
	m.view = (struct view){9, VIEW_START, VIEW_LOW, VIEW_LOW | VIEW_HIGH};
	memset(m.boot, 0x11, sizeof(m.boot));
	strcpy(m.lockspace, "DD33");
	return m;
}

static void test_there_and_back(void **state)
{
	struct wire_message m = sample(), back;
	(void)state;
	saved_clear();
	assert_false(saved_read(&back, "DD33"));
	assert_int_equal(saved_write(&m), 0);
	m.view.number = 10;
	assert_int_equal(saved_write(&m), 0);
	assert_true(saved_read(&back, "DD33"));
	assert_int_equal(back.view.number, 10);
	assert_int_equal(back.view.members, VIEW_LOW | VIEW_HIGH);
	assert_true(back.want);
	assert_int_equal(back.from, 2);
	assert_memory_equal(back.boot, m.boot, sizeof(m.boot));
	assert_false(saved_read(&back, "DD34"));
	saved_clear();
	assert_false(saved_read(&back, "DD33"));
}

static void test_broken(void **state)
{
	struct wire_message m = sample(), back;
	(void)state;
	assert_int_equal(saved_write(&m), 0);
	assert_int_equal(truncate(SAVED_DIRECTORY "/DD33", WIRE_BYTES - 1), 0);
	assert_false(saved_read(&back, "DD33"));
	/* A file of another lockspace under this name. */
	assert_int_equal(saved_write(&m), 0);
	assert_int_equal(rename(SAVED_DIRECTORY "/DD33", SAVED_DIRECTORY "/DD34"), 0);
	assert_false(saved_read(&back, "DD34"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_broken),
	};
	return cmocka_run_group_tests_name("dlm_saved", tests, set_up, tear_down);
}
