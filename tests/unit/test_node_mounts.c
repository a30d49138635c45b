/* The end's list of mounts: what is understood of mountinfo, in which order and how it is tried. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/node/mounts.h"

static struct mounts mounts;
static char text[65536];

static void read_text(const char *lines)
{
	snprintf(text, sizeof(text), "%s", lines);
	mounts_parse(&mounts, text);
}

#define PHP                                                                             \
	"1 1 0:2 / / rw shared:1 - rootfs rootfs rw,size=98632k\n"                      \
	"20 1 0:19 / /proc rw,nosuid shared:2 - proc proc rw\n"                         \
	"21 1 0:6 / /dev rw,nosuid shared:3 - devtmpfs devtmpfs rw\n"                   \
	"22 21 0:20 / /dev/shm rw shared:4 - tmpfs tmpfs rw\n"                          \
	"25 1 254:16 / /var/cache/fscache rw shared:5 - ext4 /dev/vdb rw\n"             \
	"30 1 0:40 / /srv/a.example rw shared:6 - nfs4 10.77.0.101:/a.example rw\n"     \
	"31 1 0:41 / /srv/b\\040b rw shared:7 master:1 - nfs4 10.77.0.102:/b\\134 rw\n" \
	"32 30 0:42 / /srv/a.example/tmp rw - tmpfs tmpfs rw\n"

/* The paths of what can be tried now, with blanks between them. */
static const char *next(void)
{
	static char names[4096];
	size_t index[16], count = mounts_next(&mounts, index, 16), used = 0;

	names[0] = '\0';
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i ? " " : "",
					 mounts.entry[index[i]].path);
	return names;
}

/* One round: `path` ends so, all others `rest`. */
static void told(const char *path, enum mount_result result, enum mount_result rest)
{
	size_t index[16], count = mounts_next(&mounts, index, 16);
	enum mount_result results[16];

	for (size_t i = 0; i < count; i++)
		results[i] = strcmp(mounts.entry[index[i]].path, path) == 0 ? result : rest;
	mounts_told(&mounts, index, results, count);
}

static enum mount_way way(const char *path)
{
	for (size_t i = 0; i < mounts.count; i++)
		if (strcmp(mounts.entry[i].path, path) == 0)
			return mounts.entry[i].way;
	fail_msg("no mount on %s", path);
	return MOUNT_LEFT;
}

static void lines_are_understood(void **state)
{
	(void)state;
	read_text(PHP);
	assert_int_equal(mounts.count, 8);
	assert_int_equal(mounts.overlooked, 0);
	assert_string_equal(mounts.entry[6].path, "/srv/b b");
	assert_string_equal(mounts.entry[6].source, "10.77.0.102:/b\\");
	assert_string_equal(mounts.entry[6].type, "nfs4");
	assert_string_equal(mounts_root(&mounts)->type, "rootfs");
	assert_true(mount_is_memory(mounts_root(&mounts)));
	assert_false(mount_is_memory(&mounts.entry[4]));
}

static void nonsense_is_counted_and_passed_over(void **state)
{
	static const char *const lines[] = {
		"1",
		"x 1 0:2 / / rw - rootfs rootfs rw",
		"1 2 0:2 / relative rw - ext4 /dev/vda rw",
		"1 2 0:2 / /a rw shared:1 ext4 /dev/vda rw",
		"1 2 0:2 / /a rw -",
		"1 2 0:2 / /a rw - ext4",
		"-1 2 0:2 / /a rw - ext4 none rw",
		"99999999999 2 0:2 / /a rw - ext4 none rw",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		read_text(lines[i]);
		assert_int_equal(mounts.count, 0);
		assert_int_equal(mounts.overlooked, 1);
		assert_string_equal(next(), "");
	}
	read_text("");
	assert_int_equal(mounts.count + mounts.overlooked, 0);
	assert_null(mounts_root(&mounts));
}

static void more_than_fit_are_counted(void **state)
{
	size_t used = 0;

	(void)state;
	for (int i = 0; i < MOUNTS_MAX + 5; i++)
		used += (size_t)sprintf(text + used, "%d 1 0:2 / /m%d rw - ext4 none rw\n", i + 2,
					i);
	mounts_parse(&mounts, text);
	assert_int_equal(mounts.count, MOUNTS_MAX);
	assert_int_equal(mounts.overlooked, 5);
}

/* Also the tmpfs that lies on the NFS mount: it is in the way. */
static void the_last_one_comes_first_and_what_lies_on_another_before_it(void **state)
{
	(void)state;
	read_text(PHP);
	assert_string_equal(next(), "/srv/a.example/tmp /srv/b b /var/cache/fscache");
	told("", MOUNT_UNMOUNTED, MOUNT_UNMOUNTED);
	assert_string_equal(next(), "/srv/a.example");
	told("", MOUNT_UNMOUNTED, MOUNT_UNMOUNTED);
	assert_string_equal(next(), "");
}

static void two_on_one_place_go_from_the_top(void **state)
{
	(void)state;
	read_text("1 0 0:2 / / rw - ext4 /dev/vda rw\n10 1 0:3 / /a rw - ext4 lower rw\n"
		  "11 10 0:4 / /a rw - ext4 upper rw\n");
	size_t index[4];
	assert_int_equal(mounts_next(&mounts, index, 4), 1);
	assert_string_equal(mounts.entry[index[0]].source, "upper");
	assert_false(mount_is_memory(mounts_root(&mounts)));
}

static void a_dead_server_is_met_by_force_then_left_to_the_kernel(void **state)
{
	(void)state;
	read_text(PHP);
	told("/srv/b b", MOUNT_FAILED, MOUNT_UNMOUNTED);
	assert_int_equal(way("/srv/b b"), MOUNT_FORCE);
	told("/srv/b b", MOUNT_FAILED, MOUNT_UNMOUNTED);
	assert_int_equal(way("/srv/b b"), MOUNT_DETACH);
	told("/srv/b b", MOUNT_FAILED, MOUNT_UNMOUNTED);
	assert_int_equal(way("/srv/b b"), MOUNT_LEFT);
	assert_string_equal(next(), "");
}

static void a_disk_knows_no_force(void **state)
{
	(void)state;
	read_text(PHP);
	told("/var/cache/fscache", MOUNT_FAILED, MOUNT_UNMOUNTED);
	assert_int_equal(way("/var/cache/fscache"), MOUNT_DETACH);
}

/* A filesystem in a file of another one: that one is busy only until the first is unmounted. */
static void one_that_is_busy_is_asked_again_while_others_go(void **state)
{
	(void)state;
	read_text("1 0 0:2 / / rw - rootfs rootfs rw\n10 1 0:3 / /data rw - ext4 /dev/vda rw\n"
		  "11 1 7:0 / /image rw - ext4 /dev/loop0 rw\n");
	told("/data", MOUNT_BUSY, MOUNT_UNMOUNTED);
	assert_int_equal(way("/data"), MOUNT_PLAIN);
	assert_string_equal(next(), "/data");
	told("/data", MOUNT_BUSY, MOUNT_UNMOUNTED);
	assert_int_equal(way("/data"), MOUNT_DETACH);
}

/* Whatever happens, it comes to an end: each round takes one away or one step further. */
static void it_always_ends(void **state)
{
	(void)state;
	srand(1);
	for (int run = 0; run < 2000; run++) {
		size_t used = 0;
		for (int i = 2; i < 40; i++)
			used += (size_t)sprintf(text + used, "%d %d 0:2 / /m%d rw - %s none rw\n",
						i, rand() % 40, i,
						rand() % 3   ? "ext4"
						: rand() % 2 ? "nfs4"
							     : "tmpfs");
		mounts_parse(&mounts, text);
		int rounds = 0;
		size_t index[16], count;
		while ((count = mounts_next(&mounts, index, 16)) > 0) {
			enum mount_result result[16];
			for (size_t i = 0; i < count; i++)
				result[i] = (enum mount_result)(rand() % 3);
			mounts_told(&mounts, index, result, count);
			assert_true(++rounds <= 40 * 4);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_understood),
		cmocka_unit_test(nonsense_is_counted_and_passed_over),
		cmocka_unit_test(more_than_fit_are_counted),
		cmocka_unit_test(the_last_one_comes_first_and_what_lies_on_another_before_it),
		cmocka_unit_test(two_on_one_place_go_from_the_top),
		cmocka_unit_test(a_dead_server_is_met_by_force_then_left_to_the_kernel),
		cmocka_unit_test(a_disk_knows_no_force),
		cmocka_unit_test(one_that_is_busy_is_asked_again_while_others_go),
		cmocka_unit_test(it_always_ends),
	};
	return cmocka_run_group_tests_name("node_mounts", tests, NULL, NULL);
}
