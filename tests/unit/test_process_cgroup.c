/* The cgroups of services, on the machine's own cgroup2 where there is one that we may write. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The file itself: the fallback for kernels before 5.14 is not reachable from outside on a newer
 * one. */
#include "src/process/cgroup.c"
#include "src/process/spawn.h"

static struct cgroup_tree tree;

static pid_t start(int cgroup_fd, char *script)
{
	char *words[] = {"/bin/sh", "-c", script, NULL};
	struct command command = {.argv = {words, 3}};
	struct service_def service = {.name = "probe", .umask = 022};
	struct spawn_context context = {.cgroup_fd = cgroup_fd,
					.stdout_fd = -1,
					.channel_fd = -1,
					.self_fd = -1,
					.run_dir = "/run"};
	struct spawned spawned;
	assert_int_equal(spawn(&service, &command, &context, &spawned), 0);
	struct spawn_error error;
	struct pollfd ready = {.fd = spawned.error_fd, .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 10000), 1);
	assert_int_equal(spawn_error_read(spawned.error_fd, &error), 0);
	close(spawned.error_fd);
	close(spawned.pidfd);
	return spawned.pid;
}

static int wait_for(int events_fd, int populated)
{
	struct pollfd change = {.fd = events_fd, .events = POLLPRI};
	for (int i = 0; i < 100; i++) {
		int now = cgroup_events_read(events_fd);
		if (now == populated || now < 0)
			return now;
		poll(&change, 1, 10000);
	}
	return -1;
}

static void test_born_inside_and_told_when_empty(void **state)
{
	(void)state;
	int fd = cgroup_open(&tree, "probe@a.example:1");
	assert_true(fd >= 0);
	assert_int_equal(cgroup_populated(fd), 0);
	int events = cgroup_events_open(fd);
	assert_true(events >= 0);
	pid_t pid = start(fd, "exec sleep 100");
	assert_true(cgroup_contains(fd, pid));
	assert_false(cgroup_contains(fd, getpid()));
	assert_false(cgroup_contains(fd, 0));
	assert_int_equal(cgroup_events_read(events), 1);
	assert_int_equal(cgroup_remove(&tree, "probe@a.example:1"), -1);
	assert_int_equal(errno, EBUSY);

	assert_int_equal(cgroup_signal(fd, SIGTERM), 1);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_int_equal(wait_for(events, 0), 0);
	close(events);
	close(fd);
	assert_int_equal(cgroup_remove(&tree, "probe@a.example:1"), 0);
}

/* The story: a daemon forks twice and leaves its session; nobody's process group or parent leads to
 * the child any more. */
static char leaver[] =
	"setsid sh -c '(sleep 100 & sleep 100 & exec setsid sleep 100) & exit 0'; exit 0";

static void leftovers(int (*kill_all)(int cgroup_fd))
{
	int fd = cgroup_open(&tree, "leaver");
	int events = cgroup_events_open(fd);
	pid_t pid = start(fd, leaver);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(cgroup_populated(fd), 1);
	assert_int_equal(kill_all(fd), 0);
	assert_int_equal(wait_for(events, 0), 0);
	close(events);
	close(fd);
	assert_int_equal(cgroup_remove(&tree, "leaver"), 0);
}

static void test_leftovers_are_killed(void **state)
{
	(void)state;
	leftovers(cgroup_kill);
}

static void test_leftovers_are_killed_without_cgroup_kill(void **state)
{
	(void)state;
	leftovers(kill_each);
}

/* Thousands of lines of cgroup.procs do not fit the buffer: numbers cut in two must not become
 * others. */
static void test_many_processes(void **state)
{
	(void)state;
	int fd = cgroup_open(&tree, "many");
	int events = cgroup_events_open(fd);
	pid_t pid = start(fd, "for i in $(seq 900); do sleep 100 & done; wait");
	int count = 0;
	for (int i = 0; i < 3000 && count < 900; i++) {
		usleep(20000); /* forks under way: nothing tells when the last one is made */
		count = cgroup_signal(fd, 0);
	}
	assert_true(count >= 900);
	assert_int_equal(cgroup_kill(fd), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(wait_for(events, 0), 0);
	close(events);
	close(fd);
	assert_int_equal(cgroup_remove(&tree, "many"), 0);
}

static void test_two_supervisors_share_nothing(void **state)
{
	(void)state;
	struct cgroup_tree other;
	assert_int_equal(cgroup_tree_open(&other, false), 0);
	int mine = cgroup_open(&tree, "same"), theirs = cgroup_open(&other, "same");
	assert_true(mine >= 0 && theirs >= 0);
	pid_t pid = start(mine, "exec sleep 100");
	assert_int_equal(cgroup_populated(mine), 1);
	assert_int_equal(cgroup_populated(theirs), 0);
	assert_int_equal(cgroup_kill(theirs), 0);
	assert_int_equal(kill(pid, 0), 0);
	assert_int_equal(cgroup_kill(mine), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(mine);
	close(theirs);
	assert_int_equal(cgroup_remove(&tree, "same"), 0);
	assert_int_equal(cgroup_remove(&other, "same"), 0);
	cgroup_tree_close(&other);
}

static const struct service_def limited = {
	.name = "limited",
	.memory_max_bytes = 64u << 20,
	.pids_max = 7,
	.share = {.memory_high_bytes = 32u << 20,
		  .cpu_weight = 50,
		  .cpu_quota_us = 20000,
		  .cpu_period_us = 100000,
		  .io_weight = 10000},
};

static void test_limits_and_missing_controllers(void **state)
{
	(void)state;
	int fd = cgroup_open(&tree, "limited");
	const char *key;
	assert_int_equal(cgroup_limit(&tree, fd, &limited, &key), 0);
	char text[64];
	if (tree.has[CGROUP_MEMORY]) {
		assert_int_equal(read_at(fd, "memory.max", text, sizeof(text)), 0);
		assert_string_equal(text, "67108864\n");
	}
	if (tree.has[CGROUP_PIDS]) {
		assert_int_equal(read_at(fd, "pids.max", text, sizeof(text)), 0);
		assert_string_equal(text, "7\n");
	}
	for (int i = 0; i < CGROUP_CONTROLLERS; i++)
		assert_true(tree.has[i] || tree.said[i]);
	close(fd);
	assert_int_equal(cgroup_remove(&tree, "limited"), 0);
}

/* A directory that looks like a cgroup: what is written there can be read on every machine. */
static char fake[] = "/tmp/test_process_cgroup.XXXXXX";

static void put(const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", fake, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static const char *got(int fd, const char *name)
{
	static char text[512];
	return read_at(fd, name, text, sizeof(text)) < 0 ? strerror(errno) : text;
}

static const char *const files[] = {"memory.max",    "memory.high", "memory.oom.group",
				    "memory.events", "pids.max",    "cpu.weight",
				    "cpu.max",	     "io.weight",   "io.bfq.weight"};

static int make_fake(void **state)
{
	(void)state;
	return mkdtemp(fake) ? 0 : -1;
}

static int remove_fake(void **state)
{
	(void)state;
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", fake);
	return system(command);
}

static void test_each_key_has_its_file(void **state)
{
	(void)state;
	struct cgroup_tree all = {.fd = -1, .has = {true, true, true, true}};
	const char *key = NULL;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		put(files[i], "");
	int fd = open(fake, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(cgroup_limit(&all, fd, &limited, &key), 0);
	assert_string_equal(got(fd, "memory.max"), "67108864");
	assert_string_equal(got(fd, "memory.high"), "33554432");
	assert_string_equal(got(fd, "memory.oom.group"), "1");
	assert_string_equal(got(fd, "pids.max"), "7");
	assert_string_equal(got(fd, "cpu.weight"), "50");
	assert_string_equal(got(fd, "cpu.max"), "20000 100000");
	assert_string_equal(got(fd, "io.weight"), "default 10000");
	assert_string_equal(got(fd, "io.bfq.weight"), "default 1000");

	/* What a file does not ask for is left as the kernel made it. */
	const struct service_def plain = {.name = "plain"};
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		put(files[i], "as made");
	assert_int_equal(cgroup_limit(&all, fd, &plain, &key), 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		assert_string_equal(got(fd, files[i]), strcmp(files[i], "memory.oom.group") == 0
							       ? "1s made"
							       : "as made");
	close(fd);
}

static void test_a_missing_controller_is_no_error_and_a_refused_value_is(void **state)
{
	(void)state;
	struct cgroup_tree none = {.fd = -1}, all = {.fd = -1, .has = {true, true, true, true}};
	const char *key = NULL;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		put(files[i], "as made");
	int fd = open(fake, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(cgroup_limit(&none, fd, &limited, &key), 0);
	for (int i = 0; i < CGROUP_CONTROLLERS; i++)
		assert_true(none.said[i]);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		assert_string_equal(got(fd, files[i]), "as made");

	/* A controller without one of its files, as older kernels have it. */
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		assert_int_equal(unlinkat(fd, files[i], 0), 0);
	assert_int_equal(cgroup_limit(&all, fd, &limited, &key), 0);
	put("io.bfq.weight", "");
	assert_int_equal(cgroup_limit(&all, fd, &limited, &key), 0);
	assert_string_equal(got(fd, "io.bfq.weight"), "default 1000");

	assert_int_equal(mkdirat(fd, "cpu.max", 0755), 0);
	assert_int_equal(cgroup_limit(&all, fd, &limited, &key), -1);
	assert_int_equal(errno, EISDIR);
	assert_string_equal(key, "cpu-max");
	assert_int_equal(unlinkat(fd, "cpu.max", AT_REMOVEDIR), 0);
	close(fd);
}

static void test_who_ran_out_of_memory(void **state)
{
	(void)state;
	static const struct {
		const char *events;
		enum cgroup_oom oom;
	} row[] = {
		{"low 0\nhigh 3\nmax 9\noom 1\noom_kill 1\noom_group_kill 1\n", CGROUP_OOM_OWN},
		{"low 0\nhigh 0\nmax 0\noom 0\noom_kill 2\n", CGROUP_OOM_OTHER},
		{"low 0\nhigh 9\nmax 9\noom 1\noom_kill 0\noom_group_kill 0\n", CGROUP_OOM_NONE},
		{"oom_kill 1\noom 1\n", CGROUP_OOM_OWN},
		{"oom_killer 5\nmax 7", CGROUP_OOM_NONE},
		{"", CGROUP_OOM_NONE},
	};
	int fd = open(fake, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		put("memory.events", row[i].events);
		assert_int_equal(cgroup_oom(fd), row[i].oom);
	}
	assert_int_equal(unlinkat(fd, "memory.events", 0), 0);
	assert_int_equal(cgroup_oom(fd), CGROUP_OOM_NONE);
	assert_int_equal(cgroup_oom(-1), CGROUP_OOM_NONE);
	close(fd);
}

static void test_without_a_tree(void **state)
{
	(void)state;
	struct cgroup_tree none = {.fd = -1};
	const char *key;
	assert_int_equal(cgroup_open(&none, "x"), -1);
	assert_int_equal(cgroup_limit(&none, -1, &limited, &key), 0);
	assert_false(cgroup_contains(-1, getpid()));
	assert_int_equal(cgroup_kill(-1), -1);
	cgroup_tree_close(&none);
}

/* Children of children come to us, as they do to PID 1. */
static int setup(void **state)
{
	(void)state;
	signal(SIGCHLD, SIG_DFL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	int parent = dup(tree.parent_fd);
	char name[sizeof(tree.name)];
	memcpy(name, tree.name, sizeof(name));
	cgroup_tree_close(&tree);
	bool gone = faccessat(parent, name, F_OK, 0) < 0 && errno == ENOENT;
	close(parent);
	return gone ? 0 : -1;
}

int main(void)
{
	const struct CMUnitTest with_cgroup[] = {
		cmocka_unit_test(test_born_inside_and_told_when_empty),
		cmocka_unit_test(test_leftovers_are_killed),
		cmocka_unit_test(test_leftovers_are_killed_without_cgroup_kill),
		cmocka_unit_test(test_many_processes),
		cmocka_unit_test(test_two_supervisors_share_nothing),
		cmocka_unit_test(test_limits_and_missing_controllers),
	};
	const struct CMUnitTest everywhere[] = {
		cmocka_unit_test(test_without_a_tree),
		cmocka_unit_test(test_each_key_has_its_file),
		cmocka_unit_test(test_a_missing_controller_is_no_error_and_a_refused_value_is),
		cmocka_unit_test(test_who_ran_out_of_memory),
	};
	int failed = cmocka_run_group_tests_name("process/cgroup, none", everywhere, make_fake,
						 remove_fake);
	if (cgroup_tree_open(&tree, false) < 0) {
		puts("skipped: no cgroup2 that we may write");
		return failed;
	}
	return failed + cmocka_run_group_tests_name("process/cgroup", with_cgroup, setup, teardown);
}
