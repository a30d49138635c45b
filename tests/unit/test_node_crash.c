/* The crash handler: who reports, who only ends, and what the exit codes are. Each case is a
 * process of its own. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/node/crash.h"

static char said[8192];

/* The exit code of a process that does that; what it wrote to stderr is in `said`. */
static int run(void (*work)(void))
{
	int end[2], status;
	size_t used = 0;
	ssize_t n;

	assert_int_equal(pipe(end), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(end[1], STDERR_FILENO);
		close(end[0]);
		close(end[1]);
		crash_install(false);
		work();
		_exit(0);
	}
	close(end[1]);
	while ((n = read(end[0], said + used, sizeof(said) - 1 - used)) > 0)
		used += (size_t)n;
	said[used] = '\0';
	close(end[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void fault(void)
{
	char name[] = "lighttpd";

	crash_goal("power off");
	crash_doing("stopping", name);
	name[0] = 'X'; /* it keeps a copy */
	raise(SIGSEGV);
}

static void a_crash_tells_what_it_was_at(void **state)
{
	(void)state;
	assert_int_equal(run(fault), 128 + SIGSEGV);
	assert_non_null(strstr(said, "supervisor: CRASHED: SIGSEGV sent by process "));
	assert_non_null(strstr(said, "; goal: power off; was at: stopping of lighttpd\n"));
}

static volatile int *volatile nowhere = (int *)16;

static void fault_at_an_address(void)
{
	*nowhere = 1;
}

static void a_real_fault_tells_its_address(void **state)
{
	(void)state;
	assert_int_equal(run(fault_at_an_address), 128 + SIGSEGV);
	assert_non_null(strstr(said, "CRASHED: SIGSEGV at address 0x10, pc 0x"));
}

static int deep(int n)
{
	volatile char room[4096];

	room[0] = (char)n;
	return n == 0 ? 0 : deep(n + 1) + room[0];
}

static void overflow(void)
{
	struct rlimit limit;

	/* Also where there is none. */
	getrlimit(RLIMIT_STACK, &limit);
	limit.rlim_cur = 1 << 20;
	setrlimit(RLIMIT_STACK, &limit);
	deep(1);
}

static void a_stack_that_overflows_is_reported_from_another(void **state)
{
	(void)state;
	assert_int_equal(run(overflow), 128 + SIGSEGV);
	assert_non_null(strstr(said, "CRASHED: SIGSEGV at address 0x"));
}

/* As between fork and exec of a service: the end of that process, and nothing more. */
static void fault_in_a_child(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		raise(SIGSEGV);
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 0);
}

static void a_child_does_not_speak_for_its_parent(void **state)
{
	(void)state;
	assert_int_equal(run(fault_in_a_child), 128 + SIGSEGV);
	assert_string_equal(said, "");
}

static void fault_with_a_long_name(void)
{
	char name[5000];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	crash_doing("stopping", name);
	raise(SIGABRT);
}

static void a_long_name_is_cut(void **state)
{
	(void)state;
	assert_int_equal(run(fault_with_a_long_name), 128 + SIGABRT);
	assert_non_null(strstr(said, "was at: stopping of nnnnnnnn"));
	assert_true(strlen(said) < 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crash_tells_what_it_was_at),
		cmocka_unit_test(a_real_fault_tells_its_address),
		cmocka_unit_test(a_stack_that_overflows_is_reported_from_another),
		cmocka_unit_test(a_child_does_not_speak_for_its_parent),
		cmocka_unit_test(a_long_name_is_cut),
	};
	return cmocka_run_group_tests_name("node_crash", tests, NULL, NULL);
}
