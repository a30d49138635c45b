/* Only a disk on which nothing at all was found may be formatted. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/node/blank.h"

#define DISK_BYTES (64 << 20)

static int new_disk(off_t size)
{
	char path[] = "/tmp/test-blank-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

static void put(int fd, off_t offset, const char *bytes, size_t length)
{
	assert_int_equal(pwrite(fd, bytes, length, offset), (ssize_t)length);
}

static void test_blank(void **state)
{
	static const off_t sizes[] = {0, 1, 4096, 3 << 20, DISK_BYTES, DISK_BYTES + 513};
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct blank_finding finding;
		int fd = new_disk(sizes[i]);
		assert_int_equal(blank_size(fd), sizes[i]);
		assert_int_equal(blank_check(fd, (uint64_t)sizes[i], &finding), 1);
		assert_null(blank_magic(fd, (uint64_t)sizes[i]));
		close(fd);
	}
}

/* A single byte, at the very edges of what is read. */
static void test_one_byte(void **state)
{
	static const off_t places[] = {0,
				       511,
				       65536,
				       BLANK_END_BYTES - 1,
				       DISK_BYTES - BLANK_END_BYTES,
				       DISK_BYTES - 1,
				       BLANK_END_BYTES,
				       BLANK_END_BYTES + BLANK_SAMPLE_BYTES - 1};
	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct blank_finding finding = {0, "unset"};
		int fd = new_disk(DISK_BYTES);
		put(fd, places[i], "\x01", 1);
		assert_int_equal(blank_check(fd, DISK_BYTES, &finding), 0);
		assert_int_equal(finding.offset, places[i]);
		assert_null(finding.kind);
		close(fd);
	}
}

static void test_known_kinds(void **state)
{
	static const struct {
		int line;
		off_t offset;
		const char *bytes, *kind;
	} rows[] = {
		{__LINE__, 1080, "\x53\xef", "ext2/3/4"},
		{__LINE__, 8192, "OCFSV2", BLANK_KIND_OCFS2},
		{__LINE__, 1024, "OCFSV2", BLANK_KIND_OCFS2},
		{__LINE__, 0, "XFSB", "XFS"},
		{__LINE__, 65600, "_BHRfS_M", "btrfs"},
		{__LINE__, 512, "EFI PART", "a GPT partition table"},
		{__LINE__, 510, "\x55\xaa", "a partition table or boot sector"},
		{__LINE__, DISK_BYTES - 4096 + 60, "\x83\x74\x02\x6b", BLANK_KIND_DRBD},
		{__LINE__, DISK_BYTES - 4096 + 60, "\x83\x74\x02\x6c", BLANK_KIND_DRBD},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct blank_finding finding = {0, NULL};
		int fd = new_disk(DISK_BYTES);
		put(fd, rows[i].offset, rows[i].bytes, strlen(rows[i].bytes));
		assert_int_equal(blank_check(fd, DISK_BYTES, &finding), 0);
		if (!finding.kind || strcmp(finding.kind, rows[i].kind) != 0)
			fail_msg("line %d: found %s", rows[i].line, finding.kind);
		assert_true(blank_holds(fd, DISK_BYTES, rows[i].kind));
		assert_false(blank_holds(fd, DISK_BYTES, "squashfs"));
		close(fd);
	}
}

/* A DRBD disk with a filesystem inside is both; the one at the head must not hide the other. */
static void test_filesystem_within_drbd(void **state)
{
	int fd = new_disk(DISK_BYTES + 777); /* metadata lies on a 4 KiB boundary */
	(void)state;
	put(fd, 8192, "OCFSV2", 6);
	put(fd, DISK_BYTES - 4096 + 60, "\x83\x74\x02\x6b", 4);
	assert_string_equal(blank_magic(fd, DISK_BYTES + 777), BLANK_KIND_OCFS2);
	assert_true(blank_holds(fd, DISK_BYTES + 777, BLANK_KIND_DRBD));
	close(fd);
}

static void test_unreadable(void **state)
{
	struct blank_finding finding;
	int fd = new_disk(4096);
	(void)state;
	/* Smaller than said: an error, never "blank". */
	assert_int_equal(blank_check(fd, 8192, &finding), -1);
	close(fd);
	assert_int_equal(blank_check_path("/nonexistent/disk"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blank),	    cmocka_unit_test(test_one_byte),
		cmocka_unit_test(test_known_kinds), cmocka_unit_test(test_filesystem_within_drbd),
		cmocka_unit_test(test_unreadable),
	};
	return cmocka_run_group_tests_name("node_blank", tests, NULL, NULL);
}
