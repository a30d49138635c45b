/* From words to filters: what is refused with which text, and what a compiled filter does to a
 * process. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/process/seccomp.h"

#define WORDS(...)                \
	(const char *[])          \
	{                         \
		__VA_ARGS__, NULL \
	}

static const char groups[] = "# a comment\n"
			     "@base = read write exit_group # until the end of the line\n"
			     "@base = rt_sigreturn\n"
			     "@outer = @base getpid @inner:ENOSYS\n"
			     "@inner = getppid\n"
			     "@loop = read @loop\n"
			     "@bad = nonsense\n"
			     "@basement = getuid\n";

static char error[128];

static int compile(const char *const *given, struct seccomp_program *program)
{
	static char *list[16];
	size_t count = 0;
	for (; given[count]; count++)
		list[count] = (char *)(uintptr_t)given[count];
	struct words words = {list, count};
	error[0] = '\0';
	return seccomp_compile_groups(groups, &words, program, error, sizeof(error));
}

static void test_wrong_words_are_named(void **state)
{
	(void)state;
	static const struct {
		int line;
		const char *word, *text;
	} row[] = {
		{__LINE__, "opne", "unknown system call \"opne\""},
		{__LINE__, "@nothing", "unknown group \"@nothing\""},
		{__LINE__, "@bas", "unknown group \"@bas\""},
		{__LINE__, "@", "unknown group \"@\""},
		{__LINE__, "@bad", "unknown system call \"nonsense\""},
		{__LINE__, "@loop", "groups nested too deeply, at \"read\""},
		{__LINE__, "read:EWHAT", "unknown error name \"read:EWHAT\""},
		{__LINE__, "read:", "unknown error name \"read:\""},
		{__LINE__, "socket.AF_NOTHING", "unknown constant \"socket.AF_NOTHING\""},
		{__LINE__, "socket.", "unknown constant \"socket.\""},
		{__LINE__, "ioctl.0x5412junk", "unknown constant \"ioctl.0x5412junk\""},
		{__LINE__, "ioctl.0x100000000", "unknown constant \"ioctl.0x100000000\""},
		{__LINE__, "read.AF_UNIX", "no argument can be chosen of system call \"read\""},
		{__LINE__, "", "unknown system call \"\""},
		{__LINE__,
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		 "too long a word"},
	};
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct seccomp_program program;
		if (compile(WORDS(row[i].word), &program) != -1 || program.filter ||
		    strncmp(error, row[i].text, strlen(row[i].text)) != 0)
			fail_msg("row of line %d: found <%s>, expected <%s>", row[i].line, error,
				 row[i].text);
	}
}

static void test_no_words_no_filter(void **state)
{
	(void)state;
	struct seccomp_program program;
	struct words none = {NULL, 0};
	assert_int_equal(seccomp_compile(&none, &program, error, sizeof(error)), 0);
	assert_null(program.filter);
	assert_int_equal(program.length, 0);
	seccomp_program_free(&program);
}

/* Every group of the shipped file, and the call lists of the shipped services in it, compile. */
static void test_shipped_groups_compile(void **state)
{
	(void)state;
	static const char *const shipped[] = {
		"@start",	  "@basic-io",	 "@clock", "@timer", "@event",	   "@identity",
		"@socket",	  "@connect",	 "@inet",  "@unix",  "@file-read", "@file-write",
		"@refused:EPERM", "@web-server", "@php",   "@gossip"};
	for (size_t i = 0; i < sizeof(shipped) / sizeof(shipped[0]); i++) {
		char *list[] = {(char *)(uintptr_t)shipped[i]};
		struct words words = {list, 1};
		struct seccomp_program program;
		if (seccomp_compile(&words, &program, error, sizeof(error)) < 0)
			fail_msg("%s: %s", shipped[i], error);
		assert_true(program.length > 9 && program.length <= 4096);
		seccomp_program_free(&program);
	}
}

/*
 * The call in a child under the filter: its errno (0: it went well), or -SIGNAL. The exit of the
 * child goes through exit_group, which every filter here allows.
 */
static int under(const char *const *given, long number, long a, long b, long c, long d, long e,
		 long f)
{
	struct seccomp_program program;
	if (compile(given, &program) < 0)
		fail_msg("%s", error);
	pid_t pid = fork();
	if (pid == 0) {
		uint64_t ticket;
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		    seccomp_install(&program, &ticket) < 0)
			_exit(200);
		if (number == SYS_execveat && f == -1)
			f = (long)ticket;
		long result = syscall(number, a, b, c, d, e, f);
		syscall(SYS_exit_group, result < 0 ? errno : 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	seccomp_program_free(&program);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void test_listed_allowed_others_killed(void **state)
{
	(void)state;
	assert_int_equal(under(WORDS("@base", "getpid"), SYS_getpid, 0, 0, 0, 0, 0, 0), 0);
	assert_int_equal(under(WORDS("@base"), SYS_getpid, 0, 0, 0, 0, 0, 0), -SIGSYS);
	assert_int_equal(under(WORDS("@outer"), SYS_getpid, 0, 0, 0, 0, 0, 0), 0);
}

static void test_errors_instead_of_death(void **state)
{
	(void)state;
	assert_int_equal(under(WORDS("@base", "getpid:EPERM"), SYS_getpid, 0, 0, 0, 0, 0, 0),
			 EPERM);
	assert_int_equal(under(WORDS("@outer"), SYS_getppid, 0, 0, 0, 0, 0, 0), ENOSYS);
	assert_int_equal(under(WORDS("@base", "@inner:EACCES"), SYS_getppid, 0, 0, 0, 0, 0, 0),
			 EACCES);
	/* Denied by one word and allowed by another: denied, in either order. */
	assert_int_equal(
		under(WORDS("@base", "getpid", "getpid:EPERM"), SYS_getpid, 0, 0, 0, 0, 0, 0),
		EPERM);
	assert_int_equal(
		under(WORDS("getpid:EPERM", "getpid", "@base"), SYS_getpid, 0, 0, 0, 0, 0, 0),
		EPERM);
	/* Two errors: the first one written. */
	assert_int_equal(under(WORDS("@base", "getpid:ENOSYS", "getpid:EPERM"), SYS_getpid, 0, 0, 0,
			       0, 0, 0),
			 ENOSYS);
}

static void test_constants_choose(void **state)
{
	(void)state;
	const char *const *words =
		WORDS("@base", "socket.AF_UNIX", "socket.AF_NETLINK:EAFNOSUPPORT");
	assert_int_equal(under(words, SYS_socket, AF_UNIX, SOCK_STREAM, 0, 0, 0, 0), 0);
	assert_int_equal(under(words, SYS_socket, AF_NETLINK, SOCK_RAW, 0, 0, 0, 0), EAFNOSUPPORT);
	assert_int_equal(under(words, SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0, 0), -SIGSYS);
	/* The kernel looks at 32 bits of the family: so must the filter, in both directions. */
	assert_int_equal(under(words, SYS_socket, AF_UNIX | 1L << 32, SOCK_STREAM, 0, 0, 0, 0), 0);
	assert_int_equal(under(words, SYS_socket, AF_INET | 1L << 32, SOCK_STREAM, 0, 0, 0, 0),
			 -SIGSYS);
	assert_int_equal(under(WORDS("@base", "ioctl.0x541b"), SYS_ioctl, 0, TIOCSTI, 0, 0, 0, 0),
			 -SIGSYS);
	/* A denial of the whole call beats a permission for one constant. */
	assert_int_equal(under(WORDS("@base", "socket:EPERM", "socket.AF_UNIX"), SYS_socket,
			       AF_UNIX, SOCK_STREAM, 0, 0, 0, 0),
			 EPERM);
	/* A permission for the whole call makes one for a constant pointless. */
	assert_int_equal(under(WORDS("@base", "socket", "socket.AF_UNIX"), SYS_socket, AF_INET,
			       SOCK_STREAM, 0, 0, 0, 0),
			 0);
	/* … and would swallow a denial. */
	struct seccomp_program program;
	assert_int_equal(compile(WORDS("@base", "socket.AF_UNIX:EPERM", "socket"), &program), -1);
	assert_string_equal(error, "allowed as a whole and denied for a constant: \"socket\"");
}

static void test_clone_makes_no_namespace(void **state)
{
	(void)state;
	const char *const *words = WORDS("@base", "clone");
	assert_int_equal(under(words, SYS_clone, SIGCHLD, 0, 0, 0, 0, 0), 0);
	assert_int_equal(
		under(words, SYS_clone, 0x10000000 /* CLONE_NEWUSER */ | SIGCHLD, 0, 0, 0, 0, 0),
		-SIGSYS);
	assert_int_equal(under(words, SYS_clone3, 0, 0, 0, 0, 0, 0), ENOSYS);
}

static void test_only_the_ticket_opens_exec(void **state)
{
	(void)state;
	static char *const argv[] = {(char *)(uintptr_t) "true", NULL};
	static char *const no_env[] = {NULL};
	const long path = (long)(uintptr_t) "/no/such/file";
	const char *const *words = WORDS("@base", "execve:EPERM", "execveat:EPERM");
	assert_int_equal(
		under(words, SYS_execveat, AT_FDCWD, path, (long)argv, (long)no_env, 0, -1),
		ENOENT);
	assert_int_equal(under(words, SYS_execveat, AT_FDCWD, path, (long)argv, (long)no_env, 0, 0),
			 EPERM);
	assert_int_equal(
		under(words, SYS_execveat, AT_FDCWD, path, (long)argv, (long)no_env, 0, 12345),
		EPERM);
	assert_int_equal(under(words, SYS_execve, path, (long)argv, (long)no_env, 0, 0, -1), EPERM);
	assert_int_equal(
		under(WORDS("@base"), SYS_execveat, AT_FDCWD, path, (long)argv, (long)no_env, 0, 1),
		-SIGSYS);
}

static void test_tickets_differ(void **state)
{
	(void)state;
	uint64_t ticket[2] = {0, 0};
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	struct seccomp_program program;
	assert_int_equal(compile(WORDS("@base"), &program), 0);
	for (int i = 0; i < 2; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			uint64_t mine;
			if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			    seccomp_install(&program, &mine) < 0)
				_exit(1);
			if (write(fds[1], &mine, sizeof(mine)) != sizeof(mine))
				_exit(1);
			syscall(SYS_exit_group, 0);
		}
		assert_int_equal(read(fds[0], &ticket[i], sizeof(ticket[i])), sizeof(ticket[i]));
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
	assert_true(ticket[0] != ticket[1]);
	assert_true(ticket[0] != 0 && ticket[1] != 0);
	/* The parent's copy holds none of them. */
	assert_int_equal(program.filter[5].k, 0);
	assert_int_equal(program.filter[7].k, 0);
	seccomp_program_free(&program);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_words_are_named),
		cmocka_unit_test(test_no_words_no_filter),
		cmocka_unit_test(test_shipped_groups_compile),
		cmocka_unit_test(test_listed_allowed_others_killed),
		cmocka_unit_test(test_errors_instead_of_death),
		cmocka_unit_test(test_constants_choose),
		cmocka_unit_test(test_clone_makes_no_namespace),
		cmocka_unit_test(test_only_the_ticket_opens_exec),
		cmocka_unit_test(test_tickets_differ),
	};
	return cmocka_run_group_tests_name("process/seccomp", tests, NULL, NULL);
}
