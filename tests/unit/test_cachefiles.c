/* The cache disk: only our own is used (that only a blank one is formatted: test_node_blank.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "services/cachefiles/cachefiles.h"

static uint8_t head[4096];

static int blank(void **state)
{
	(void)state;
	memset(head, 0, sizeof(head));
	return 0;
}

static bool ours(void)
{
	return cache_disk_is_ours(head, sizeof(head));
}

static void put_ext4(const char *label)
{
	head[1024 + 56] = 0x53;
	head[1024 + 57] = 0xef;
	memcpy(head + 1024 + 120, label, strlen(label));
}

static void our_own_is_known_by_its_label(void **state)
{
	(void)state;
	put_ext4("supervisor-cache");
	assert_true(ours());
}

static void a_blank_disk_and_another_ext4_are_not_ours(void **state)
{
	(void)state;
	assert_false(ours());
	put_ext4("home");
	assert_false(ours());
	put_ext4("supervisor-cach");
	head[1024 + 120 + 15] = 'X';
	assert_false(ours());
}

static void a_label_without_a_file_system_is_not_ours(void **state)
{
	(void)state;
	put_ext4("supervisor-cache");
	head[1024 + 56] = 0;
	assert_false(ours());
}

static void too_little_read_is_not_ours(void **state)
{
	(void)state;
	put_ext4("supervisor-cache");
	assert_true(cache_disk_is_ours(head, 1024 + 136));
	assert_false(cache_disk_is_ours(head, 1024 + 135));
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
		cmocka_unit_test_setup(our_own_is_known_by_its_label, blank),
		cmocka_unit_test_setup(a_blank_disk_and_another_ext4_are_not_ours, blank),
		cmocka_unit_test_setup(a_label_without_a_file_system_is_not_ours, blank),
		cmocka_unit_test_setup(too_little_read_is_not_ours, blank),
		cmocka_unit_test(the_kernel_asks_for_room_in_its_state_line),
	};

	return cmocka_run_group_tests_name("cache disk", tests, NULL, NULL);
}
