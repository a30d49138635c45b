/*
 * Finding, without cgroups, what is left of a run: real processes below this one, which is their
 * subreaper, and for what cannot be brought about (a number that was given away) a table of made
 * ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <sys/prctl.h>

/* The file itself: what it makes of a table of processes is to be seen. */
#include "src/process/sweep.c"

#define MINE	    "00000000000000010000000000000001"
#define OTHERS	    "00000000000000010000000000000002"
#define PATIENCE_MS 60000
/* Says that it is where it was to be, and stays there. */
#define SLEEPER "sh -c 'echo; exec sleep 1000'"

static bool nobody(const void *context, pid_t pid)
{
	(void)context;
	return pid == 0;
}

static bool that_one(const void *context, pid_t pid)
{
	return pid == *(const pid_t *)context;
}

/* It ends with us, should a test end before it has been swept. */
static void lead_session(int output)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	dup2(output, STDOUT_FILENO);
}

/* A shell that is the leader of its session, with this environment; returns once so many lines were
 * printed, by it and by what it starts. */
static pid_t start(const char *invocation, const char *script, int lines)
{
	char variable[64], *environment[] = {variable, NULL}, byte;
	int out[2];

	snprintf(variable, sizeof(variable), "INVOCATION_ID=%s", invocation);
	assert_int_equal(pipe(out), 0);
	pid_t pid = fork();
	if (pid == 0) {
		lead_session(out[1]);
		close(out[0]);
		close(out[1]);
		execle("/bin/sh", "sh", "-c", script, NULL, environment);
		_exit(127);
	}
	close(out[1]);
	while (lines > 0) {
		assert_int_equal(read(out[0], &byte, 1), 1);
		lines -= byte == '\n';
	}
	close(out[0]);
	return pid;
}

/* Returns whether there was one that has ended; its status, unless it is the sweep's, is noted. */
static bool reap(struct sweep_run *run, pid_t sweep, int options, int *sweep_status, int *killed)
{
	int status;
	pid_t pid = waitpid(-1, &status, options);

	if (pid <= 0)
		return false;
	if (pid == sweep) {
		*sweep_status = status;
		return true;
	}
	*killed += WIFSIGNALED(status);
	run->reaped |= pid == run->leader;
	run->main = pid == run->main ? 0 : run->main;
	return true;
}

/*
 * As the supervising process does it: again, until nothing is left. One child may not get far in
 * the time that it has, where others want the processor. How many were killed is added to *killed.
 */
static enum sweep_result sweep_now(struct sweep_run *run, int *killed)
{
	enum sweep_result result = SWEEP_LEFT;
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while ((result == SWEEP_LEFT || result == SWEEP_STUCK) &&
	       elapsed_ms(&start) < PATIENCE_MS) {
		pid_t sweep = sweep_start(run);
		int status = -1;
		assert_true(sweep > 0);
		while (status == -1)
			assert_true(reap(run, sweep, 0, &status, killed));
		result = sweep_result(status);
		while (reap(run, 0, WNOHANG, &status, killed))
			;
	}
	return result;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void test_a_run_ends_as_a_whole_and_alone(void **state)
{
	(void)state;
	pid_t other = start(OTHERS, "echo; exec sleep 1000", 1);
	pid_t leader =
		start(MINE,
		      "sleep 1000 & setsid " SLEEPER " & setsid setsid " SLEEPER "; setsid "
		      "sh -c '(setsid sh -c \"echo; sleep 1000; true\" &) ; echo; sleep 1000' & "
		      "echo; exec sleep 1000",
		      5);
	int killed = 0;
	struct sweep_run run = {
		.leader = leader, .main = leader, .invocation = MINE, .is_known = nobody};
	assert_int_equal(sweep_now(&run, &killed), SWEEP_CLEAN);
	assert_true(killed >= 6);
	assert_int_equal(waitpid(leader, NULL, WNOHANG), -1);
	assert_int_equal(waitpid(other, NULL, WNOHANG), 0);
	end(other);
}

static void test_after_its_leader_was_reaped(void **state)
{
	(void)state;
	pid_t leader = start(MINE, "sleep 1000 & setsid setsid " SLEEPER "; echo", 2);
	assert_int_equal(waitpid(leader, NULL, 0), leader);
	int killed = 0;
	struct sweep_run run = {
		.leader = leader, .reaped = true, .invocation = MINE, .is_known = nobody};
	assert_int_equal(sweep_now(&run, &killed), SWEEP_CLEAN);
	assert_int_equal(killed, 2);
	killed = 0;
	assert_int_equal(sweep_now(&run, &killed), SWEEP_CLEAN);
	assert_int_equal(killed, 0);
}

/* Another service's command, whose environment is none of our business; the same one, unknown. */
static void test_the_environment_of_a_command_is_not_looked_at(void **state)
{
	(void)state;
	pid_t command = start(MINE, "echo; exec sleep 1000", 1);
	int killed = 0;
	struct sweep_run run = {.invocation = MINE, .is_known = that_one, .context = &command};
	assert_int_equal(sweep_now(&run, &killed), SWEEP_CLEAN);
	assert_int_equal(killed, 0);
	run.is_known = nobody;
	assert_int_equal(sweep_now(&run, &killed), SWEEP_CLEAN);
	assert_int_equal(killed, 1);
}

/* The story: a process in the middle of execve(2) has none, and was taken for a stranger. */
static void test_one_that_runs_without_an_environment_is_looked_at_again(void **state)
{
	(void)state;
	char *const none[] = {NULL};
	int out[2], killed = 0;
	char byte;
	assert_int_equal(pipe(out), 0);
	pid_t pid = fork();
	if (pid == 0) {
		lead_session(out[1]);
		execle("/bin/sh", "sh", "-c", "echo; while :; do :; done", NULL, none);
		_exit(127);
	}
	assert_int_equal(read(out[0], &byte, 1), 1);
	close(out[0]);
	close(out[1]);
	struct timespec start;
	clock_gettime(CLOCK_MONOTONIC, &start);
	struct sweep_run run = {.invocation = MINE, .is_known = nobody};
	assert_int_equal(sweep_now(&run, &killed), SWEEP_CLEAN);
	assert_true(elapsed_ms(&start) >= UNSURE_MS);
	assert_int_equal(killed, 0);
	end(pid);
}

static void test_everything_below_us(void **state)
{
	(void)state;
	start("", "env -i setsid setsid " SLEEPER "; echo; exec sleep 1000", 2);
	int killed = 0;
	assert_int_equal(sweep_now(&(struct sweep_run){0}, &killed), SWEEP_CLEAN);
	assert_int_equal(killed, 2);
}

/* The name of a process is its own to choose, and stands in the middle of the line. */
static void test_a_name_that_looks_like_the_rest_of_the_line(void **state)
{
	(void)state;
	struct sweep sweep = {.proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	struct process process;
	char name[16];
	prctl(PR_GET_NAME, name);
	prctl(PR_SET_NAME, "x) Z 1 1 1 (");
	assert_true(read_process(&sweep, getpid(), &process));
	prctl(PR_SET_NAME, name);
	assert_int_equal(process.parent, getppid());
	assert_int_equal(process.group, getpgrp());
	assert_int_equal(process.session, getsid(0));
	assert_true(process.started > 0);

	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	siginfo_t info;
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_false(read_process(&sweep, pid, &process)); /* a zombie */
	waitpid(pid, NULL, 0);
	assert_false(read_process(&sweep, pid, &process));
	close(sweep.proc);
}

struct row {
	struct process process;
	bool ours;
};

#define US 100

static void check_marks(const struct sweep_run *run, const struct row *row, size_t count)
{
	struct process process[16];
	struct sweep sweep = {.run = run, .above = US, .proc = -1, .table = {process, count, 16}};
	size_t expected = 0;

	for (size_t i = 0; i < count; i++) {
		process[i] = row[i].process;
		expected += row[i].ours;
	}
	assert_int_equal(mark(&sweep), expected);
	for (size_t i = 0; i < count; i++)
		if (process[i].ours != row[i].ours)
			fail_msg("process %d", process[i].pid);
}

#define P(pid, parent, group, session, ours)                       \
	{                                                          \
		{pid, parent, group, session, 0, 'S', false}, ours \
	}

static void test_who_belongs_to_it(void **state)
{
	(void)state;
	/* Parents with higher numbers than their children: the numbers have begun anew. */
	static const struct row row[] = {
		P(3, 900, 3, 3, true),	     P(4, 3, 4, 4, true),
		P(200, US, 200, 200, true),  P(201, 200, 200, 200, true),
		P(202, US, 200, 200, true),  P(203, US, 203, 200, true),
		P(300, US, 300, 300, false), P(301, 300, 300, 300, false),
		P(302, 1, 302, 302, false),  P(900, 203, 900, 900, true),
	};
	struct sweep_run run = {.leader = 200, .main = 200, .is_known = nobody};
	check_marks(&run, row, sizeof(row) / sizeof(row[0]));
}

/* A daemon that forked: its command is gone, its main process another. */
static void test_a_main_process_that_is_not_the_command(void **state)
{
	(void)state;
	static const struct row row[] = {
		P(201, US, 200, 200, true),
		P(210, US, 210, 210, true),
		P(211, 1, 211, 210, true),
		P(300, US, 300, 300, false),
	};
	struct sweep_run run = {.leader = 200, .reaped = true, .main = 210, .is_known = nobody};
	check_marks(&run, row, sizeof(row) / sizeof(row[0]));
}

/* Its main process is another, but its command still lives as well. */
static void test_a_command_beside_its_main_process(void **state)
{
	(void)state;
	static const struct row row[] = {
		P(200, US, 200, 200, true),
		P(201, 200, 201, 201, true),
		P(210, US, 210, 210, true),
		P(300, US, 300, 300, false),
	};
	struct sweep_run run = {.leader = 200, .main = 210, .is_known = nobody};
	check_marks(&run, row, sizeof(row) / sizeof(row[0]));
}

/* The story: a killed one that had lost its memory, but not its files, was seen as nobody's. */
static void test_one_that_was_ours_is_ours_until_it_is_gone(void **state)
{
	(void)state;
	struct process before[] = {
		{.pid = 300,
		 .parent = US,
		 .group = 300,
		 .session = 300,
		 .started = 7,
		 .ours = true},
		{.pid = 301,
		 .parent = US,
		 .group = 301,
		 .session = 301,
		 .started = 7,
		 .ours = true},
		{.pid = 302, .parent = US, .group = 302, .session = 302, .started = 7},
	};
	struct process now[] = {
		{.pid = 300, .parent = US, .group = 300, .session = 300, .started = 7},
		{.pid = 301, .parent = US, .group = 301, .session = 301, .started = 8},
		{.pid = 302, .parent = US, .group = 302, .session = 302, .started = 7},
	};
	struct sweep_run run = {.leader = 200, .reaped = true, .is_known = nobody};
	struct sweep sweep = {.run = &run,
			      .above = US,
			      .proc = -1,
			      .table = {now, 3, 3},
			      .before = {before, 3, 3}};
	assert_int_equal(mark(&sweep), 1);
	assert_true(now[0].ours);
}

/* The leader was reaped, nothing of its session was left, and the kernel gave its number away. */
static void test_a_stranger_with_the_leaders_number_is_left_alone(void **state)
{
	(void)state;
	static const struct row row[] = {
		P(200, 300, 200, 200, false),
		P(201, 200, 200, 200, false),
		P(300, US, 300, 300, false),
	};
	struct sweep_run run = {.leader = 200, .reaped = true, .is_known = nobody};
	check_marks(&run, row, sizeof(row) / sizeof(row[0]));
}

static void test_how_the_child_ended(void **state)
{
	(void)state;
	assert_int_equal(sweep_result(W_EXITCODE(0, 0)), SWEEP_CLEAN);
	assert_int_equal(sweep_result(W_EXITCODE(1, 0)), SWEEP_LEFT);
	assert_int_equal(sweep_result(W_EXITCODE(2, 0)), SWEEP_BLIND);
	assert_int_equal(sweep_result(W_EXITCODE(99, 0)), SWEEP_STUCK);
	assert_int_equal(sweep_result(W_EXITCODE(0, SIGALRM)), SWEEP_STUCK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_run_ends_as_a_whole_and_alone),
		cmocka_unit_test(test_after_its_leader_was_reaped),
		cmocka_unit_test(test_the_environment_of_a_command_is_not_looked_at),
		cmocka_unit_test(test_one_that_runs_without_an_environment_is_looked_at_again),
		cmocka_unit_test(test_everything_below_us),
		cmocka_unit_test(test_a_name_that_looks_like_the_rest_of_the_line),
		cmocka_unit_test(test_who_belongs_to_it),
		cmocka_unit_test(test_a_main_process_that_is_not_the_command),
		cmocka_unit_test(test_a_command_beside_its_main_process),
		cmocka_unit_test(test_one_that_was_ours_is_ours_until_it_is_gone),
		cmocka_unit_test(test_a_stranger_with_the_leaders_number_is_left_alone),
		cmocka_unit_test(test_how_the_child_ended),
	};
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	return cmocka_run_group_tests_name("process/sweep", tests, NULL, NULL);
}
