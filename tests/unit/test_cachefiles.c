/* The cache disk: only a blank one is formatted, only our own is used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "services/cachefiles/cachefiles.h"

static uint8_t head[8192], tail[8192];

static int blank(void **state)
{
	(void)state;
	memset(head, 0, sizeof(head));
	memset(tail, 0, sizeof(tail));
	return 0;
}

static enum cache_disk judge(void)
{
	return cache_disk_judge(head, sizeof(head), tail, sizeof(tail));
}

static void put_ext4(const char *label)
{
	head[1024 + 56] = 0x53;
	head[1024 + 57] = 0xef;
	memcpy(head + 1024 + 120, label, strlen(label));
}

static void all_zeros_are_blank(void **state)
{
	(void)state;
	assert_int_equal(judge(), CACHE_DISK_BLANK);
}

static void one_byte_at_either_end_is_something(void **state)
{
	(void)state;
	head[sizeof(head) - 1] = 1;
	assert_int_equal(judge(), CACHE_DISK_FOREIGN);
	head[sizeof(head) - 1] = 0;
	tail[sizeof(tail) - 1] = 1;
	assert_int_equal(judge(), CACHE_DISK_FOREIGN);
	tail[sizeof(tail) - 1] = 0;
	head[0] = 1;
	assert_int_equal(judge(), CACHE_DISK_FOREIGN);
}

static void our_own_is_known_by_its_label(void **state)
{
	(void)state;
	put_ext4("supervisor-cache");
	assert_int_equal(judge(), CACHE_DISK_OURS);
}

static void another_ext4_is_foreign(void **state)
{
	(void)state;
	put_ext4("home");
	assert_int_equal(judge(), CACHE_DISK_FOREIGN);
	put_ext4("supervisor-cach");
	head[1024 + 120 + 15] = 'X';
	assert_int_equal(judge(), CACHE_DISK_FOREIGN);
}

static void a_label_without_a_file_system_is_foreign(void **state)
{
	(void)state;
	put_ext4("supervisor-cache");
	head[1024 + 56] = 0;
	assert_int_equal(judge(), CACHE_DISK_FOREIGN);
}

static void too_little_read_is_never_blank(void **state)
{
	(void)state;
	assert_int_equal(cache_disk_judge(head, 1024, tail, sizeof(tail)), CACHE_DISK_FOREIGN);
}

static void the_kernel_asks_for_room_in_its_state_line(void **state)
{
	(void)state;
	assert_true(cachefiles_wants_room("cull=1 frun=1000 fcull=700 fstop=300"));
	assert_false(cachefiles_wants_room("cull=0 frun=1000 fcull=700 fstop=300"));
	assert_false(cachefiles_wants_room(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(all_zeros_are_blank, blank),
		cmocka_unit_test_setup(one_byte_at_either_end_is_something, blank),
		cmocka_unit_test_setup(our_own_is_known_by_its_label, blank),
		cmocka_unit_test_setup(another_ext4_is_foreign, blank),
		cmocka_unit_test_setup(a_label_without_a_file_system_is_foreign, blank),
		cmocka_unit_test_setup(too_little_read_is_never_blank, blank),
		cmocka_unit_test(the_kernel_asks_for_room_in_its_state_line),
	};

	return cmocka_run_group_tests_name("cache disk", tests, NULL, NULL);
}
