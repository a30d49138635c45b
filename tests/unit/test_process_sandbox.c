/*
 * What a sandboxed program can and cannot do: tests/helpers/hostile.c tries. Needs root; the helper
 * is compiled here, static and without sanitizers, since it must run in an empty root and under
 * tight filters.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "src/process/spawn.h"

#define OUTPUT_BYTES 8192
#define UID	     4242

static char directory[] = "/tmp/test_process_sandbox.XXXXXX";
static char run_dir[64], hostile[64], secret[64];

struct run {
	char output[OUTPUT_BYTES];
	int status;
	char error[256]; /* "" if it was executed */
};

static struct service_def confined_service(void)
{
	return (struct service_def){.name = "probe",
				    .instance = "",
				    .umask = 022,
				    .no_new_privileges = true,
				    .has_user = true,
				    .uid = UID,
				    .gid = UID,
				    .pool = -1};
}

static void run(const struct service_def *service, const char *actions, struct run *result)
{
	*result = (struct run){.status = -1};
	char words_text[512];
	char *word[32] = {hostile};
	struct command command = {.argv = {word, 1}};
	snprintf(words_text, sizeof(words_text), "%s", actions);
	for (char *p = strtok(words_text, " "); p; p = strtok(NULL, " "))
		word[command.argv.count++] = p;

	struct seccomp_program seccomp;
	if (seccomp_compile(&service->seccomp, &seccomp, result->error, sizeof(result->error)) < 0)
		fail_msg("%s", result->error);
	int out[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	struct spawn_context context = {.cgroup_fd = -1,
					.stdout_fd = out[1],
					.channel_fd = -1,
					.run_dir = run_dir,
					.seccomp = &seccomp,
					.self_fd = open(hostile, O_PATH | O_CLOEXEC)};
	command.builtin = service->root != NULL; /* as our workers: by descriptor */
	struct spawned spawned;
	assert_int_equal(spawn(service, &command, &context, &spawned), 0);
	close(out[1]);
	close(context.self_fd);
	seccomp_program_free(&seccomp);

	size_t used = 0;
	ssize_t n;
	while ((n = read(out[0], result->output + used, OUTPUT_BYTES - 1 - used)) > 0)
		used += (size_t)n;
	close(out[0]);
	assert_int_equal(waitpid(spawned.pid, &result->status, 0), spawned.pid);
	struct spawn_error error;
	if (spawn_error_read(spawned.error_fd, &error) == 1)
		spawn_error_text(service, &command, &error, result->error, sizeof(result->error));
	close(spawned.error_fd);
	close(spawned.pidfd);
}

#define EXPECT(service, actions, expected)                     \
	do {                                                   \
		struct run result_;                            \
		run(service, actions, &result_);               \
		assert_string_equal(result_.error, "");        \
		assert_string_equal(result_.output, expected); \
		assert_int_equal(result_.status, 0);           \
	} while (0)

static void test_user_and_groups_without_capabilities(void **state)
{
	(void)state;
	struct service_def service = confined_service();
	service.groups[0] = 77;
	service.group_count = 1;
	EXPECT(&service,
	       "status:Uid status:Gid status:Groups status:NoNewPrivs status:Cap setuid chroot "
	       "mount",
	       "Uid:\t4242\t4242\t4242\t4242\nGid:\t4242\t4242\t4242\t4242\nGroups:\t77 "
	       "\nNoNewPrivs:\t1\n"
	       "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
	       "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n"
	       "setuid: EPERM\nchroot: EPERM\nmount: EPERM\n");
}

static void test_no_supplementary_group_is_left(void **state)
{
	(void)state;
	struct service_def service = confined_service();
	gid_t extra[] = {0, 4, 6};
	assert_int_equal(setgroups(3, extra), 0);
	EXPECT(&service, "status:Groups", "Groups:\t \n");
}

/* The story: "User=" forgotten, "capabilities =" empty; root's uid must then still give nothing. */
static void test_root_without_capabilities_has_none(void **state)
{
	(void)state;
	struct service_def service = confined_service();
	service.has_user = false;
	EXPECT(&service, "status:Uid status:Cap mount",
	       "Uid:\t0\t0\t0\t0\n"
	       "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
	       "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nmount: EPERM\n");
}

static void test_exactly_the_named_capabilities(void **state)
{
	(void)state;
	struct service_def service = confined_service();
	service.capabilities = 1u << 13 | 1u << 18; /* net_raw, sys_chroot */
	const char *caps =
		"CapInh:\t0000000000042000\nCapPrm:\t0000000000042000\nCapEff:\t0000000000042000\n"
		"CapBnd:\t0000000000042000\nCapAmb:\t0000000000042000\n";
	char expected[512];
	snprintf(expected, sizeof(expected),
		 "%spacket: done\nmount: EPERM\nsetuid: EPERM\nchroot: done\n", caps);
	EXPECT(&service, "status:Cap packet mount setuid chroot", expected);
	service.has_user = false;
	snprintf(expected, sizeof(expected), "%spacket: done\nmount: EPERM\n", caps);
	EXPECT(&service, "status:Cap packet mount", expected);
}

static void test_all_capabilities(void **state)
{
	(void)state;
	struct service_def service = confined_service();
	service.has_user = false;
	service.all_capabilities = true;
	EXPECT(&service, "setuid chroot", "setuid: done\nchroot: done\n");
}

static void test_hidden_paths(void **state)
{
	(void)state;
	char path[2][80], *words[] = {path[0], path[1], (char *)(uintptr_t) "/no/such/path", NULL};
	snprintf(path[0], sizeof(path[0]), "%s/etc/node.conf", directory);
	snprintf(path[1], sizeof(path[1]), "%s/var", directory);
	char actions[512], expected[512];
	snprintf(actions, sizeof(actions), "read:%s see:%s/key make:%s/x see:%s", path[0], path[1],
		 path[1], hostile);
	struct service_def service = confined_service();
	service.has_user = false; /* even to root */
	snprintf(expected, sizeof(expected),
		 "read:%s: done\nsee:%s/key: done\nmake:%s/x: done\nsee:%s: done\n", path[0],
		 path[1], path[1], hostile);
	EXPECT(&service, actions, expected);
	service.hidden = (struct words){words, 3};
	snprintf(expected, sizeof(expected),
		 "read:%s: ENODATA\nsee:%s/key: ENOENT\nmake:%s/x: EROFS\nsee:%s: done\n", path[0],
		 path[1], path[1], hostile);
	EXPECT(&service, actions, expected);
	/* Nothing of it reached the node's own mounts. */
	assert_int_equal(access(secret, R_OK), 0);
	char key[96];
	snprintf(key, sizeof(key), "%s/key", path[1]);
	assert_int_equal(access(key, R_OK), 0);
}

/* The helper itself lies below /tmp here, so it is started by descriptor, as our workers are. */
static void test_private_tmp(void **state)
{
	(void)state;
	struct service_def service = confined_service();
	char actions[128], expected[256];
	snprintf(actions, sizeof(actions), "see:%s make:/tmp/mine see:/tmp/mine", directory);
	service.root = "/";
	service.private_tmp = true;
	snprintf(expected, sizeof(expected),
		 "see:%s: ENOENT\nmake:/tmp/mine: done\nsee:/tmp/mine: done\n", directory);
	EXPECT(&service, actions, expected);
	assert_int_equal(access("/tmp/mine", F_OK), -1);
	EXPECT(&service, "see:/tmp/mine", "see:/tmp/mine: ENOENT\n");
}

/* The story: a web server with mounts of its own kept a share's filesystem busy long after the node
 * had unmounted it. */
static void test_an_unmount_of_the_node_reaches_the_service(void **state)
{
	(void)state;
	char path[96], script[256];
	snprintf(path, sizeof(path), "%s/etc", directory);
	assert_int_equal(mount("share", path, "tmpfs", 0, NULL), 0);
	snprintf(script, sizeof(script),
		 "grep -c %s /proc/self/mounts; read line; grep -c %s /proc/self/mounts", path,
		 path);
	char *words[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c", script, NULL};
	struct command command = {.argv = {words, 3}};
	struct service_def service = confined_service();
	service.private_tmp = true;
	int out[2], in[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	struct spawn_context context = {.cgroup_fd = -1,
					.stdout_fd = out[1],
					.channel_fd = -1,
					.run_dir = run_dir,
					.self_fd = -1,
					.listen_fds = in,
					.listen_count = 1 /* as fd 0 */};
	struct spawned spawned;
	assert_int_equal(spawn(&service, &command, &context, &spawned), 0);
	close(out[1]);
	char text[16] = "";
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "1\n");
	assert_int_equal(umount(path), 0);
	assert_int_equal(write(in[1], "\n", 1), 1);
	memset(text, 0, sizeof(text));
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "0\n");
	waitpid(spawned.pid, NULL, 0);
	close(out[0]);
	close(in[0]);
	close(in[1]);
	close(spawned.pidfd);
	close(spawned.error_fd);
}

static void test_empty_root(void **state)
{
	(void)state;
	struct service_def service = confined_service();
	service.root = "empty";
	EXPECT(&service, "see:/ see:/etc see:/proc see:/.. make:/x see:/x",
	       "see:/: done\nsee:/etc: ENOENT\nsee:/proc: ENOENT\nsee:/..: done\nmake:/x: "
	       "EACCES\nsee:/x: ENOENT\n");
	struct stat st;
	char path[96];
	snprintf(path, sizeof(path), "%s/empty", run_dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(st.st_mode & 0777, 0555);
}

static void test_private_network(void **state)
{
	(void)state;
	struct service_def service = confined_service();
	service.private_network = true;
	char command[] = "read:/proc/net/dev";
	EXPECT(&service, command, "read:/proc/net/dev: done\n");
	/* What it sees is the loopback interface only, and that one is up. */
	char *words[] = {
		(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c",
		(char *)(uintptr_t) "ls /sys/class/net >/dev/null; grep -c : /proc/net/dev", NULL};
	struct command shell = {.argv = {words, 3}};
	int out[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	struct spawn_context context = {.cgroup_fd = -1,
					.stdout_fd = out[1],
					.channel_fd = -1,
					.run_dir = run_dir,
					.self_fd = -1};
	struct spawned spawned;
	assert_int_equal(spawn(&service, &shell, &context, &spawned), 0);
	close(out[1]);
	char text[32] = "";
	assert_true(read(out[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "1\n");
	waitpid(spawned.pid, NULL, 0);
	close(out[0]);
	close(spawned.pidfd);
	close(spawned.error_fd);
}

static const char *base[] = {"@start", "@basic-io", "@clock", "@identity", "@file-read"};

static struct words seccomp_words(char **list, const char *const *more, size_t count)
{
	size_t used = 0;
	for (size_t i = 0; i < sizeof(base) / sizeof(base[0]); i++)
		list[used++] = (char *)(uintptr_t)base[i];
	for (size_t i = 0; i < count; i++)
		list[used++] = (char *)(uintptr_t)more[i];
	return (struct words){list, used};
}

static void test_filter_kills(void **state)
{
	(void)state;
	static const char *const action[] = {
		"execve-self", "execveat", "execveat-empty-path", "setuid",  "chroot",
		"mount",       "unshare",  "clone-user",	  "tiocsti", "netlink",
		"packet",      "inet",	   "kill-parent",	  "int80",   "x32"};
	char *list[16];
	struct service_def service = confined_service();
	service.seccomp = seccomp_words(list, NULL, 0);
	/* Also with every right there is: the filter does not ask who. */
	for (int root = 0; root < 2; root++) {
		service.has_user = root == 0;
		service.all_capabilities = root == 1;
		for (size_t i = 0; i < sizeof(action) / sizeof(action[0]); i++) {
			struct run result;
			run(&service, action[i], &result);
			if (!WIFSIGNALED(result.status) || WTERMSIG(result.status) != SIGSYS ||
			    *result.error)
				fail_msg("%s: status %x, output \"%s\", error \"%s\"", action[i],
					 (unsigned)result.status, result.output, result.error);
		}
	}
}

static void test_filter_refuses_with_an_error(void **state)
{
	(void)state;
	char *list[16];
	static const char *const more[] = {"@refused:EPERM"};
	struct service_def service = confined_service();
	service.seccomp = seccomp_words(list, more, 1);
	EXPECT(&service,
	       "execve execve-self execveat execveat-empty-path clone-user unshare netlink packet "
	       "kill-parent setuid",
	       "execve: EPERM\nexecve-self: EPERM\nexecveat: EPERM\nexecveat-empty-path: "
	       "EPERM\nclone-user: EPERM\n"
	       "unshare: EPERM\nnetlink: EPERM\npacket: EPERM\nkill-parent: EPERM\nsetuid: "
	       "EPERM\n");
}

/* The helpers' own confinement: by descriptor into an empty root, under a filter, without a right.
 */
static void test_everything_together(void **state)
{
	(void)state;
	char *list[16];
	struct service_def service = confined_service();
	service.seccomp = seccomp_words(list, NULL, 0);
	service.root = "empty";
	service.private_network = true;
	service.private_tmp = true;
	EXPECT(&service, "see:/etc/passwd make:/x", "see:/etc/passwd: ENOENT\nmake:/x: EACCES\n");
	struct run result;
	run(&service, "execve-self", &result);
	assert_true(WIFSIGNALED(result.status));
}

static void test_failed_exec_under_a_filter_is_reported(void **state)
{
	(void)state;
	char *list[16], *words[] = {(char *)(uintptr_t) "/no/such/program", NULL};
	struct service_def service = confined_service();
	service.seccomp = seccomp_words(list, NULL, 0);
	struct seccomp_program seccomp;
	char error_text[128];
	assert_int_equal(
		seccomp_compile(&service.seccomp, &seccomp, error_text, sizeof(error_text)), 0);
	struct command command = {.argv = {words, 1}};
	struct spawn_context context = {.cgroup_fd = -1,
					.stdout_fd = -1,
					.channel_fd = -1,
					.run_dir = run_dir,
					.self_fd = -1,
					.seccomp = &seccomp};
	struct spawned spawned;
	assert_int_equal(spawn(&service, &command, &context, &spawned), 0);
	struct pollfd ready = {.fd = spawned.error_fd, .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 10000), 1);
	struct spawn_error error;
	assert_int_equal(spawn_error_read(spawned.error_fd, &error), 1);
	assert_string_equal(
		spawn_error_text(&service, &command, &error, error_text, sizeof(error_text)),
		"exec /no/such/program: No such file or directory");
	waitpid(spawned.pid, NULL, 0);
	close(spawned.pidfd);
	close(spawned.error_fd);
	seccomp_program_free(&seccomp);
}

static int make_file(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT, mode);
	int result = fd < 0 || write(fd, "secret\n", 7) != 7 ? -1 : 0;
	close(fd);
	return result;
}

static int setup(void **state)
{
	(void)state;
	char path[96], command[256];
	/* A node whose mounts are shared, as PID 1 makes them: then what a service mounts could
	 * come back. Ours alone. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) < 0)
		return -1;
	umask(022);
	if (!mkdtemp(directory) || chmod(directory, 0755) < 0)
		return -1;
	snprintf(run_dir, sizeof(run_dir), "%s/supervisor", directory);
	snprintf(hostile, sizeof(hostile), "%s/hostile", directory);
	snprintf(secret, sizeof(secret), "%s/etc/node.conf", directory);
	snprintf(path, sizeof(path), "%s/etc", directory);
	if (mkdir(run_dir, 0755) < 0 || mkdir(path, 0755) < 0 || make_file(secret, 0600) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/var", directory);
	if (mkdir(path, 0777) < 0 || chmod(path, 0777) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/var/key", directory);
	if (make_file(path, 0644) < 0)
		return -1;
	snprintf(command, sizeof(command), "gcc -O1 -static -o %s tests/helpers/hostile.c",
		 hostile);
	return system(command);
}

static int teardown(void **state)
{
	(void)state;
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_user_and_groups_without_capabilities),
		cmocka_unit_test(test_no_supplementary_group_is_left),
		cmocka_unit_test(test_root_without_capabilities_has_none),
		cmocka_unit_test(test_exactly_the_named_capabilities),
		cmocka_unit_test(test_all_capabilities),
		cmocka_unit_test(test_hidden_paths),
		cmocka_unit_test(test_private_tmp),
		cmocka_unit_test(test_an_unmount_of_the_node_reaches_the_service),
		cmocka_unit_test(test_empty_root),
		cmocka_unit_test(test_private_network),
		cmocka_unit_test(test_filter_kills),
		cmocka_unit_test(test_filter_refuses_with_an_error),
		cmocka_unit_test(test_everything_together),
		cmocka_unit_test(test_failed_exec_under_a_filter_is_reported),
	};
	if (geteuid() != 0 || (unshare(CLONE_NEWNS) < 0 && errno == EPERM)) {
		puts("skipped: needs root that may make namespaces");
		return 0;
	}
	return cmocka_run_group_tests_name("process/sandbox", tests, setup, teardown);
}
