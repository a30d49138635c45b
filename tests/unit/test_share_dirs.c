/* Making a share's directory: whole or not at all, as a copy of its seed, never over one that is
 * there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/share-dirs/share-dirs.c"

static char root[] = "/tmp/test-share-dirs-XXXXXX";
static struct owner me;

static void write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void expect_text(const char *path, const char *text)
{
	char found[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, found, sizeof(found) - 1), (ssize_t)strlen(text));
	close(fd);
	assert_string_equal(found, text);
}

static int set_up(void **state)
{
	(void)state;
	me = (struct owner){geteuid(), getegid()};
	umask(0);
	if (!mkdtemp(root) || chdir(root) < 0)
		return -1;
	mkdir("seed", 0755);
	mkdir("seed/sub", 0755);
	mkdir("data", 0755);
	write_text("seed/index.php", "page");
	write_text("seed/sub/deep", "deep");
	chmod("seed/index.php", 0644);
	return symlink("index.php", "seed/link") || symlink("/etc/passwd", "seed/away") ||
	       mkfifo("seed/fifo", 0600);
}

static int tear_down(void **state)
{
	(void)state;
	int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = remove_tree(fd, root + strlen("/tmp/"), 0);
	close(fd);
	return rc;
}

static int make(const char *name, const char *seed)
{
	struct cluster_share share = {.seed = seed};
	snprintf(share.name, sizeof(share.name), "%s", name);
	int fd = open("data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = make_share(fd, &share, &me);
	close(fd);
	return rc;
}

static void test_copy_of_the_seed(void **state)
{
	struct stat st;
	char target[32] = "";
	(void)state;

	assert_int_equal(make("a.example", "seed"), 0);
	expect_text("data/a.example/index.php", "page");
	expect_text("data/a.example/sub/deep", "deep");
	assert_int_equal(stat("data/a.example", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0775);
	assert_int_equal(stat("data/a.example/sub", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0775);
	assert_int_equal(stat("data/a.example/index.php", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0664);
	/* Links stay links: what they name is not copied. */
	assert_int_equal(readlink("data/a.example/away", target, sizeof(target) - 1), 11);
	assert_string_equal(target, "/etc/passwd");
	assert_int_equal(lstat("data/a.example/fifo", &st), -1);
	assert_int_equal(lstat("data/.new-a.example", &st), -1);
}

static void test_without_a_seed(void **state)
{
	struct stat st;
	(void)state;
	assert_int_equal(make("b.example", NULL), 0);
	assert_int_equal(stat("data/b.example", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0775);
}

/* What an interrupted start has left is removed, not continued. */
static void test_leftovers(void **state)
{
	struct stat st;
	(void)state;
	mkdir("data/.new-c.example", 0700);
	mkdir("data/.new-c.example/half", 0700);
	write_text("data/.new-c.example/half/x", "x");
	assert_int_equal(symlink("/etc", "data/.new-c.example/etc"), 0);
	assert_int_equal(make("c.example", "seed"), 0);
	assert_int_equal(lstat("data/c.example/half", &st), -1);
	assert_int_equal(lstat("data/c.example/etc", &st), -1);
	assert_int_equal(stat("/etc/passwd", &st), 0);
}

static void test_no_such_seed(void **state)
{
	struct stat st;
	(void)state;
	assert_int_equal(make("d.example", "no-such-directory"), -1);
	assert_int_equal(lstat("data/d.example", &st), -1);
}

static void test_arguments(void **state)
{
	unsigned id;
	(void)state;
	assert_true(parse_id("800", &id));
	assert_int_equal(id, 800);
	assert_false(parse_id("", &id));
	assert_false(parse_id("-1", &id));
	assert_false(parse_id("php", &id));
	assert_false(parse_id("33x", &id));
	assert_false(parse_id("4294967295", &id));
	char *few[] = {"share-dirs", "/data", NULL};
	assert_int_equal(share_dirs_worker(2, few), 2);
	char *relative[] = {"share-dirs", "data", "1", "1", NULL};
	assert_int_equal(share_dirs_worker(4, relative), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy_of_the_seed), cmocka_unit_test(test_without_a_seed),
		cmocka_unit_test(test_leftovers),	 cmocka_unit_test(test_no_such_seed),
		cmocka_unit_test(test_arguments),
	};
	return cmocka_run_group_tests_name("share_dirs", tests, set_up, tear_down);
}
