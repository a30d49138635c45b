/* The config disk's tar: what is unpacked, and what is not let through. Archives are made by hand,
 * as tar(1) would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/node/tar.h"

static char archive[16 * 512];
static size_t used;
static char seen[1024];

static void add(const char *name, char type, const char *data)
{
	char *header = archive + used;
	unsigned sum = 0;

	memset(header, 0, 512);
	strncpy(header, name, 100);
	snprintf(header + 124, 12, "%011o", (unsigned)strlen(data));
	memset(header + 148, ' ', 8);
	header[156] = type;
	memcpy(header + 257, "ustar", 6);
	for (int i = 0; i < 512; i++)
		sum += (unsigned char)header[i];
	snprintf(header + 148, 8, "%06o", sum);
	used += 512;
	memcpy(archive + used, data, strlen(data));
	used += (strlen(data) + 511) / 512 * 512;
}

static int each(void *owner, const char *name, const char *data, size_t bytes)
{
	(void)owner;
	size_t at = strlen(seen);
	snprintf(seen + at, sizeof(seen) - at, "%s=%.*s;", name, (int)bytes, data);
	return 0;
}

static int start(void **state)
{
	(void)state;
	memset(archive, 0, sizeof(archive));
	used = 0;
	seen[0] = '\0';
	return 0;
}

static const char *walk(size_t bytes)
{
	return tar_each(archive, bytes, each, NULL);
}

static void files_come_out_with_their_names_and_bytes(void **state)
{
	(void)state;
	add("./", '5', "");
	add("./node.conf", '0', "name = web1\n");
	add("services/x.service", '0', "kind = group\n");
	assert_null(walk(sizeof(archive)));
	assert_string_equal(seen, "node.conf=name = web1\n;services/x.service=kind = group\n;");
}

static void a_disk_cut_to_the_last_byte_is_enough(void **state)
{
	(void)state;
	add("a", '0', "12345");
	assert_null(walk(512 + 5));
	assert_string_equal(seen, "a=12345;");
}

static void names_that_lead_elsewhere_are_refused(void **state)
{
	static const char *const bad[] = {"../x", "/etc/passwd", "a/../../x",
					  "a//b", "a/./b",	 ".."};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(NULL);
		add(bad[i], '0', "evil");
		assert_non_null(walk(sizeof(archive)));
		assert_string_equal(seen, "");
	}
}

static void links_and_devices_are_passed_over(void **state)
{
	(void)state;
	add("link", '2', "");
	add("dev", '3', "");
	add("a", '0', "1");
	assert_null(walk(sizeof(archive)));
	assert_string_equal(seen, "a=1;");
}

/* GNU's long names come before a header whose own name is cut: unpacked, it would be another file.
 */
static void what_would_get_a_wrong_name_is_refused(void **state)
{
	static const char kind[] = "LKS";

	(void)state;
	for (size_t i = 0; kind[i]; i++) {
		start(NULL);
		add("before", '0', "1");
		add("././@LongLink", kind[i], "services/a-very-long-name.service");
		add("services/a-very-long", '0', "evil");
		assert_string_equal(walk(sizeof(archive)), "a long file name or a sparse file");
		assert_string_equal(seen, "before=1;");
	}
}

static void damage_is_told(void **state)
{
	(void)state;
	add("a", '0', "1");
	archive[3] ^= 1;
	assert_string_equal(walk(sizeof(archive)), "is not a tar archive");
	start(NULL);
	add("a", '0', "1");
	add("b", '0', "2");
	archive[1024 + 200] ^= 1;
	assert_string_equal(walk(sizeof(archive)), "broken header");
	assert_string_equal(seen, "a=1;");
	start(NULL);
	add("a", '0', "12345");
	assert_string_equal(walk(512 + 4), "a file reaches past the end");
	start(NULL);
	assert_null(walk(100));
	assert_null(walk(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(files_come_out_with_their_names_and_bytes, start),
		cmocka_unit_test_setup(a_disk_cut_to_the_last_byte_is_enough, start),
		cmocka_unit_test_setup(names_that_lead_elsewhere_are_refused, start),
		cmocka_unit_test_setup(links_and_devices_are_passed_over, start),
		cmocka_unit_test_setup(what_would_get_a_wrong_name_is_refused, start),
		cmocka_unit_test_setup(damage_is_told, start),
	};
	return cmocka_run_group_tests_name("node_tar", tests, NULL, NULL);
}
