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
	for (int i = 0; i < 200 && count < 900; i++) {
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

static void test_limits_and_missing_controllers(void **state)
{
	(void)state;
	int fd = cgroup_open(&tree, "limited");
	assert_int_equal(cgroup_limit(&tree, fd, 64u << 20, 7), 0);
	char text[64];
	if (tree.memory) {
		assert_int_equal(read_at(fd, "memory.max", text, sizeof(text)), 0);
		assert_string_equal(text, "67108864\n");
	} else {
		assert_true(tree.said_memory);
	}
	if (tree.pids) {
		assert_int_equal(read_at(fd, "pids.max", text, sizeof(text)), 0);
		assert_string_equal(text, "7\n");
		assert_int_equal(cgroup_limit(&tree, fd, 0, 0), 0);
		assert_int_equal(read_at(fd, "pids.max", text, sizeof(text)), 0);
		assert_string_equal(text, "max\n");
	} else {
		assert_true(tree.said_pids);
	}
	close(fd);
	assert_int_equal(cgroup_remove(&tree, "limited"), 0);
}

static void test_without_a_tree(void **state)
{
	(void)state;
	struct cgroup_tree none = {.fd = -1};
	assert_int_equal(cgroup_open(&none, "x"), -1);
	assert_int_equal(cgroup_limit(&none, -1, 1, 1), 0);
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
	};
	int failed = cmocka_run_group_tests_name("process/cgroup, none", everywhere, NULL, NULL);
	if (cgroup_tree_open(&tree, false) < 0) {
		puts("skipped: no cgroup2 that we may write");
		return failed;
	}
	return failed + cmocka_run_group_tests_name("process/cgroup", with_cgroup, setup, teardown);
}
