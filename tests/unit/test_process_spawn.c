/*
 * spawn(): what a started program finds, and what is said when it cannot be started. Real
 * processes; what they see is told by Debian's own tools (sh, cat, readlink) through the output
 * pipe.
 */
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
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The file itself, not the library's copy: a test must forget that clone3 was missing. */
#include "src/process/spawn.c"

#define OUTPUT_BYTES	  16384
#define ENVIRONMENT_WORDS 200 /* more than fit */

static char directory[] = "/tmp/test_process_spawn.XXXXXX";
static char run_dir[64];

struct run {
	char output[OUTPUT_BYTES];
	int status;
	int error_result; /* of spawn_error_read */
	struct spawn_error error;
	char error_text[256];
};

static struct service_def plain_service(void)
{
	return (struct service_def){.name = "probe",
				    .instance = "",
				    .umask = 022,
				    .no_new_privileges = true,
				    .pool = -1};
}

static struct spawn_context plain_context(void)
{
	return (struct spawn_context){.cgroup_fd = -1,
				      .stdout_fd = -1,
				      .channel_fd = -1,
				      .config_dir = "/etc/supervisor",
				      .node = "web1",
				      .run_dir = run_dir,
				      .self_fd = -1};
}

/* Starts the command, collects what it prints, waits for its end. */
static void run(const struct service_def *service, const struct command *command,
		struct spawn_context *context, struct run *result)
{
	*result = (struct run){.status = -1};
	int out[2];
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	context->stdout_fd = out[1];
	struct spawned spawned;
	assert_int_equal(spawn(service, command, context, &spawned), 0);
	close(out[1]);

	size_t used = 0;
	ssize_t n;
	while ((n = read(out[0], result->output + used, OUTPUT_BYTES - 1 - used)) > 0)
		used += (size_t)n;
	result->output[used] = '\0';
	close(out[0]);

	struct pollfd poll_error = {.fd = spawned.error_fd, .events = POLLIN};
	assert_int_equal(poll(&poll_error, 1, 10000), 1);
	result->error_result = spawn_error_read(spawned.error_fd, &result->error);
	if (result->error_result == 1)
		spawn_error_text(service, command, &result->error, result->error_text,
				 sizeof(result->error_text));
	if (spawned.pidfd >= 0) {
		struct pollfd poll_end = {.fd = spawned.pidfd, .events = POLLIN};
		assert_int_equal(poll(&poll_end, 1, 10000), 1);
		close(spawned.pidfd);
	}
	assert_int_equal(waitpid(spawned.pid, &result->status, 0), spawned.pid);
	close(spawned.error_fd);
}

static struct command shell(char *script)
{
	static char *words[] = {"/bin/sh", "-c", NULL, NULL};
	words[2] = script;
	return (struct command){.argv = {.word = words, .count = 3}};
}

static void run_shell(const struct service_def *service, char *script,
		      struct spawn_context *context, struct run *result)
{
	struct command command = shell(script);
	run(service, &command, context, result);
}

static void test_environment_is_exactly_the_documented_one(void **state)
{
	(void)state;
	setenv("LEAKED", "1", 1);
	char *given[] = {"TZ=UTC", NULL};
	struct service_def service = plain_service();
	service.environment = (struct words){given, 1};
	struct spawn_context context = plain_context();
	context.notify_path = "/run/notify";
	context.invocation = "0123456789abcdef0123456789abcdef";
	char *words[] = {"/usr/bin/env", NULL};
	struct command command = {.argv = {words, 1}};
	struct run result;
	run(&service, &command, &context, &result);
	assert_string_equal(result.output,
			    "TZ=UTC\n"
			    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
			    "INVOCATION_ID=0123456789abcdef0123456789abcdef\n"
			    "NOTIFY_SOCKET=/run/notify\n");
	assert_int_equal(result.status, 0);
	assert_int_equal(result.error_result, 0);
}

static void test_path_of_the_file_replaces_ours(void **state)
{
	(void)state;
	char *given[] = {"PATH=/nowhere", NULL};
	struct service_def service = plain_service();
	service.environment = (struct words){given, 1};
	struct spawn_context context = plain_context();
	char *words[] = {"/usr/bin/env", NULL};
	struct command command = {.argv = {words, 1}};
	struct run result;
	run(&service, &command, &context, &result);
	assert_string_equal(result.output, "PATH=/nowhere\n");
}

static void test_builtin_runs_our_own_executable(void **state)
{
	(void)state;
	struct service_def service = plain_service();
	struct spawn_context context = plain_context();
	context.self_fd = open("/usr/bin/env", O_PATH | O_CLOEXEC);
	/* env(1) as our executable: "supervisor worker -u PATH printenv" is env's own "worker -u…":
	 * an error that names its arguments */
	char *words[] = {"gossip", "now", NULL};
	struct command command = {.argv = {words, 2}, .builtin = true};
	struct run result;
	run(&service, &command, &context, &result);
	assert_non_null(strstr(result.output, "worker"));
	assert_int_equal(result.error_result, 0);
	close(context.self_fd);

	context.self_fd = open("/bin/echo", O_PATH | O_CLOEXEC);
	run(&service, &command, &context, &result);
	assert_string_equal(result.output, "worker gossip now\n");
	close(context.self_fd);
}

static void test_descriptors_are_the_documented_ones(void **state)
{
	(void)state;
	struct service_def service = plain_service();
	struct spawn_context context = plain_context();
	struct run result;
	int leak[24]; /* not close-on-exec, and not for the child */
	for (int i = 0; i < 24; i++) {
		int fd = open("/dev/zero", O_RDONLY);
		leak[i] = fcntl(fd, F_DUPFD, i < 12 ? 4 : 60);
		assert_true(leak[i] >= 0);
		close(fd);
	}
	/* No pipeline here: its pipe would be a descriptor of the shell's own, now and then. */
	char list[] = "for f in /proc/$$/fd/*; do [ -e $f ] || continue; l=$(readlink $f); "
		      "case $l in *:*) l=${l%%:*}: ;; esac; echo \"${f##*/} $l\"; done";

	run_shell(&service, list, &context, &result);
	assert_string_equal(result.output, "0 /dev/null\n1 pipe:\n2 pipe:\n");

	int sockets[4];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets + 2), 0);
	context.listen_fds = sockets;
	context.listen_count = 2;
	run_shell(&service, list, &context, &result);
	assert_string_equal(result.output, "0 socket:\n1 pipe:\n2 pipe:\n3 socket:\n4 socket:\n");
	run_shell(&service, "test $LISTEN_PID = $$ && echo $LISTEN_FDS", &context, &result);
	assert_string_equal(result.output, "2\n");

	/* With a channel, sd_listen_fds(3) has no say: fd 3 is ours. */
	context.channel_fd = sockets[2];
	run_shell(&service, list, &context, &result);
	assert_string_equal(result.output,
			    "0 socket:\n1 pipe:\n2 pipe:\n3 socket:\n4 socket:\n5 socket:\n");
	run_shell(&service, "echo \"${LISTEN_FDS-unset}\"; echo hello >&3", &context, &result);
	assert_string_equal(result.output, "unset\n");
	char text[16];
	assert_int_equal(read(sockets[3], text, sizeof(text)), 6);

	/* Where it says that it is ready: above all these, with nothing between. */
	static const int numbers[] = {6, 7, 9, 60, 63};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		char expected[128];
		context.ready_fd = sockets[0];
		service.ready_fd = numbers[i];
		run_shell(&service, list, &context, &result);
		snprintf(expected, sizeof(expected),
			 "0 socket:\n1 pipe:\n2 pipe:\n3 socket:\n4 socket:\n5 socket:\n"
			 "%d socket:\n",
			 service.ready_fd);
		assert_string_equal(result.output, expected);
	}
	service.ready_fd = 5; /* the check of the file lets no such thing through */
	run_shell(&service, list, &context, &result);
	assert_int_equal(result.error.stage, STAGE_DESCRIPTORS);
	for (int i = 0; i < 4; i++)
		close(sockets[i]);
	for (int i = 0; i < 24; i++)
		close(leak[i]);
}

static void test_signals_are_clean(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	struct service_def service = plain_service();
	struct spawn_context context = plain_context();
	struct run result;
	char *words[] = {"/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status", NULL};
	struct command command = {.argv = {words, 4}};
	run(&service, &command, &context, &result);
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_string_equal(result.output,
			    "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void test_session_umask_nice_limits_directory(void **state)
{
	(void)state;
	struct service_def service = plain_service();
	struct limit_def limit = {RLIMIT_NOFILE, {123, 123}, "nofile"};
	service.umask = 027;
	service.nice = 19;
	service.oom_score_adj = 1000; /* nobody needs a right to go that far */
	service.limit = &limit;
	service.limit_count = 1;
	service.directory = "/usr";
	struct spawn_context context = plain_context();
	struct run result;
	run_shell(&service, "umask; nice; cat /proc/self/oom_score_adj; ulimit -n; pwd", &context,
		  &result);
	assert_string_equal(result.output, "0027\n19\n1000\n123\n/usr\n");
	run_shell(&service,
		  "read -r pid _ _ _ group session _ < /proc/$$/stat; test $pid = $group -a $pid = "
		  "$session && echo leads",
		  &context, &result);
	assert_string_equal(result.output, "leads\n");
}

static void test_templates_and_runtime_directories(void **state)
{
	(void)state;
	char path[128];
	snprintf(path, sizeof(path), "%s/web/web.conf", directory);
	struct template_def template = {"web.conf.in", path, "port = 80\n", 10};
	char *names[] = {"web", NULL};
	struct service_def service = plain_service();
	service.template = &template;
	service.template_count = 1;
	service.runtime_directories = (struct words){names, 1};
	service.has_user = true;
	service.uid = service.gid = 33;
	struct spawn_context context = plain_context();
	struct run result;
	char script[512];
	snprintf(script, sizeof(script), "cat %s && stat -c %%u:%%g:%%a %s %s/web && ls %s/web",
		 path, path, directory, directory);
	run_shell(&service, script, &context, &result);
	assert_string_equal(result.output, "port = 80\n0:0:644\n33:33:755\nweb.conf\n");
}

static void check_failure(const struct service_def *service, const struct command *command,
			  enum spawn_stage stage, int error, const char *text)
{
	struct spawn_context context = plain_context();
	struct run result;
	run(service, command, &context, &result);
	assert_int_equal(result.error_result, 1);
	assert_int_equal(result.error.stage, stage);
	assert_int_equal(result.error.error, error);
	assert_string_equal(result.error_text, text);
	assert_true(WIFEXITED(result.status));
	assert_int_equal(WEXITSTATUS(result.status), 127);
}

static void test_failures_name_stage_object_and_error(void **state)
{
	(void)state;
	struct service_def service = plain_service();
	char *missing[] = {"/usr/sbin/no-such-server", NULL}, *relative[] = {"sh", NULL},
	     *fine[] = {"/bin/true", NULL};
	struct command command = {.argv = {missing, 1}};
	check_failure(&service, &command, STAGE_EXEC, ENOENT,
		      "exec /usr/sbin/no-such-server: No such file or directory");
	command.argv.word = relative;
	check_failure(&service, &command, STAGE_EXEC, EINVAL, "exec sh: Invalid argument");

	command.argv.word = fine;
	service.directory = "/no/such/directory";
	check_failure(&service, &command, STAGE_DIRECTORY, ENOENT,
		      "directory /no/such/directory: No such file or directory");
	service.directory = NULL;
	service.root = "/dev/null";
	check_failure(&service, &command, STAGE_ROOT, ENOTDIR, "root /dev/null: Not a directory");
	service.root = NULL;
	struct template_def template = {"x.in", "/no/such/directory/x", "", 0};
	service.template = &template;
	service.template_count = 1;
	check_failure(&service, &command, STAGE_TEMPLATE, ENOENT,
		      "template /no/such/directory/x: No such file or directory");
	service.template_count = 0;
	struct limit_def limit = {9999, {1, 1}, "nonsense"};
	service.limit = &limit;
	service.limit_count = 1;
	check_failure(&service, &command, STAGE_LIMIT, EINVAL, "limit nonsense: Invalid argument");
}

static void test_runtime_directory_that_is_a_link_is_refused(void **state)
{
	(void)state;
	char link_path[128];
	snprintf(link_path, sizeof(link_path), "%s/linked", directory);
	/* Not a directory of the machine: if the refusal fails, this one is given away. */
	char victim[128];
	snprintf(victim, sizeof(victim), "%s/victim", directory);
	assert_int_equal(mkdir(victim, 0755), 0);
	assert_int_equal(symlink(victim, link_path), 0);
	char *names[] = {"linked", NULL}, *fine[] = {"/bin/true", NULL};
	struct service_def service = plain_service();
	service.runtime_directories = (struct words){names, 1};
	service.has_user = true;
	service.uid = service.gid = 33;
	struct command command = {.argv = {fine, 1}};
	check_failure(&service, &command, STAGE_RUNTIME_DIRECTORY, ENOTDIR,
		      "runtime directory linked: Not a directory");
	struct stat st;
	assert_int_equal(stat(victim, &st), 0);
	assert_int_equal(st.st_uid, 0);
}

static void test_error_text_for_a_builtin_and_for_garbage(void **state)
{
	(void)state;
	struct service_def service = plain_service();
	char *words[] = {"gossip", NULL};
	struct command command = {.argv = {words, 1}, .builtin = true};
	struct spawn_error error = {STAGE_EXEC, EACCES, 0};
	char text[128];
	assert_string_equal(spawn_error_text(&service, &command, &error, text, sizeof(text)),
			    "exec @gossip: Permission denied");
	error = (struct spawn_error){STAGE_HIDDEN, EPERM, 7}; /* an index that is not there */
	assert_string_equal(spawn_error_text(&service, &command, &error, text, sizeof(text)),
			    "hide: Operation not permitted");
	for (int stage = 0; stage < STAGE_COUNT; stage++)
		assert_non_null(spawn_stage_name((enum spawn_stage)stage));

	int fds[2];
	assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
	assert_int_equal(spawn_error_read(fds[0], &error), -1);
	assert_int_equal(errno, EAGAIN);
	error = (struct spawn_error){(enum spawn_stage)99, 0, 0};
	assert_int_equal(write(fds[1], &error, sizeof(error)), sizeof(error));
	assert_int_equal(spawn_error_read(fds[0], &error), -1);
	assert_int_equal(errno, EPROTO);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(spawn_error_read(fds[0], &error), -1);
	assert_int_equal(errno, EPROTO);
	close(fds[1]);
	assert_int_equal(spawn_error_read(fds[0], &error), 0);
	close(fds[0]);
}

/*
 * Each stage fails once. What the kernel would not refuse to root is refused by a filter around us.
 */
struct staged {
	int row;
	enum spawn_stage stage;
	int error;
	long denied; /* this system call fails with EPERM; -1: none */
	void (*prepare)(struct service_def *service, struct spawn_context *context);
	const char *text;
};

static char *many_variables[ENVIRONMENT_WORDS + 1];
static char *one_name[] = {"x/y", NULL}, *below_a_file[] = {"/dev/null/x", NULL};
static const struct template_def lost_template = {"x.in", "/no/such/directory/x", "", 0};
static struct limit_def wrong_limit = {9999, {1, 1}, "nonsense"};
static struct sock_filter nonsense[16];
static const struct seccomp_program wrong_filter = {nonsense, 16};
static int no_descriptor = -1;

static void nothing(struct service_def *service, struct spawn_context *context)
{
	(void)service;
	(void)context;
}

static void no_cgroup(struct service_def *service, struct spawn_context *context)
{
	(void)service;
	context->cgroup_fd = open(run_dir, O_RDONLY | O_DIRECTORY);
}

static void no_socket(struct service_def *service, struct spawn_context *context)
{
	(void)service;
	context->listen_fds = &no_descriptor;
	context->listen_count = 1;
}

static void too_many_variables(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	for (size_t i = 0; i < ENVIRONMENT_WORDS; i++)
		many_variables[i] = "A=1";
	service->environment = (struct words){many_variables, ENVIRONMENT_WORDS};
}

static void no_runtime_directory(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->runtime_directories = (struct words){one_name, 1};
}

static void no_template(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->template = (struct template_def *)(uintptr_t)&lost_template;
	service->template_count = 1;
}

static void no_limit(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->limit = &wrong_limit;
	service->limit_count = 1;
}

static void be_nice(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->nice = 1;
}

static void no_policy(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->share.scheduling = 99;
}

static void no_processor(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	CPU_SET(1023, &service->share.cpu_affinity);
}

static void no_io_class(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->share.io_priority = 7 << 13;
}

static void no_score(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->oom_score_adj = 1001;
}

static void private_network(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->private_network = true;
}

static void hidden(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->hidden = (struct words){below_a_file, 1};
}

static void no_root(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->root = "/no/such/root";
}

static void private_tmp_without_tmp(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->private_tmp = true;
	service->root = run_dir;
}

static void no_directory(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->directory = "/no/such/directory";
}

static void another_user(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->has_user = true;
	service->uid = service->gid = 33;
}

static void trusted(struct service_def *service, struct spawn_context *context)
{
	(void)context;
	service->all_capabilities = true;
}

static void no_filter(struct service_def *service, struct spawn_context *context)
{
	(void)service;
	memset(nonsense, 0xff, sizeof(nonsense));
	context->seccomp = &wrong_filter;
}

#define STAGED(stage, error, denied, prepare, text)                        \
	{                                                                  \
		__LINE__, STAGE_##stage, error, denied, prepare, text ": " \
	}

static const struct staged staged[] = {
	STAGED(CGROUP, ENOENT, SYS_clone3, no_cgroup, "join cgroup"),
	STAGED(SESSION, EPERM, SYS_setsid, nothing, "new session"),
	STAGED(SIGNALS, EPERM, SYS_rt_sigprocmask, nothing, "reset signals"),
	STAGED(DESCRIPTORS, EBADF, -1, no_socket, "arrange descriptors"),
	STAGED(ENVIRONMENT, E2BIG, -1, too_many_variables, "environment"),
	STAGED(RUNTIME_DIRECTORY, ENOENT, -1, no_runtime_directory, "runtime directory x/y"),
	STAGED(TEMPLATE, ENOENT, -1, no_template, "template /no/such/directory/x"),
	STAGED(LIMIT, EINVAL, -1, no_limit, "limit nonsense"),
	STAGED(NICE, EPERM, SYS_setpriority, be_nice, "nice"),
	STAGED(SCHEDULING, EINVAL, -1, no_policy, "scheduling"),
	STAGED(CPU_AFFINITY, EINVAL, -1, no_processor, "cpu-affinity"),
	STAGED(IO_CLASS, EINVAL, -1, no_io_class, "io-class"),
	STAGED(OOM_SCORE, EINVAL, -1, no_score, "oom-score"),
	STAGED(NETWORK, EPERM, SYS_unshare, private_network, "private network"),
	STAGED(MOUNT_NAMESPACE, EPERM, SYS_unshare, hidden, "mount namespace"),
	STAGED(HIDDEN, ENOTDIR, -1, hidden, "hide /dev/null/x"),
	STAGED(ROOT, ENOENT, -1, no_root, "root /no/such/root"),
	STAGED(PRIVATE_TMP, ENOENT, -1, private_tmp_without_tmp, "private /tmp"),
	STAGED(DIRECTORY, ENOENT, -1, no_directory, "directory /no/such/directory"),
	STAGED(SECUREBITS, EPERM, SYS_prctl, nothing, "securebits"),
	STAGED(GROUPS, EPERM, SYS_setgroups, another_user, "groups"),
	STAGED(USER, EPERM, SYS_setresuid, another_user, "user"),
	STAGED(CAPABILITIES, EPERM, SYS_capset, nothing, "capabilities"),
	STAGED(NO_NEW_PRIVILEGES, EPERM, SYS_prctl, trusted, "no-new-privileges"),
	STAGED(SECCOMP, EINVAL, -1, no_filter, "seccomp"),
	STAGED(EXEC, EPERM, SYS_execve, nothing, "exec /bin/true"),
};

static void deny(long number, int error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* nr */),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0x00050000u /* SECCOMP_RET_ERRNO */ | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, 0x7fff0000u /* SECCOMP_RET_ALLOW */),
	};
	struct sock_fprog program = {4, filter};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, 2, &program, 0, 0) < 0)
		_exit(99);
}

/* In a child of ours, which may spoil what it likes. Its exit code: 0, or what was wrong. */
static int fails_as_said(const struct staged *row)
{
	struct service_def service = plain_service();
	struct spawn_context context = plain_context();
	char *words[] = {"/bin/true", NULL};
	struct command command = {.argv = {words, 1}};
	struct spawned spawned;
	struct spawn_error error;
	char text[256];
	row->prepare(&service, &context);
	if (row->denied >= 0)
		deny(row->denied, EPERM);
	if (spawn(&service, &command, &context, &spawned) < 0)
		return 1;
	if (waitpid(spawned.pid, NULL, 0) != spawned.pid ||
	    spawn_error_read(spawned.error_fd, &error) != 1)
		return 2;
	if (error.stage != row->stage)
		return 3;
	if (error.error != row->error)
		return 4;
	spawn_error_text(&service, &command, &error, text, sizeof(text));
	return strncmp(text, row->text, strlen(row->text)) == 0 ? 0 : 5;
}

/* Root of a container may not, often. */
static bool may_make_mount_namespaces(void)
{
	int status;
	pid_t pid = fork();
	if (pid == 0)
		_exit(unshare(CLONE_NEWNS) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status == 0;
}

static void test_every_stage_says_that_it_was_the_one(void **state)
{
	(void)state;
	bool seen[STAGE_COUNT] = {[STAGE_NONE] = true};
	bool hides = may_make_mount_namespaces();
	for (size_t i = 0; i < sizeof(staged) / sizeof(staged[0]); i++) {
		enum spawn_stage stage = staged[i].stage;
		int status;
		seen[stage] = true;
		if (!hides && (stage == STAGE_HIDDEN || stage == STAGE_PRIVATE_TMP))
			continue;
		pid_t pid = fork();
		if (pid == 0)
			_exit(fails_as_said(&staged[i]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status != 0)
			fail_msg("row at line %d: status %#x", staged[i].row, (unsigned)status);
	}
	for (int stage = 0; stage < STAGE_COUNT; stage++)
		if (!seen[stage])
			fail_msg("no row for stage %d", stage);
}

/* A child of ours runs `check` where clone3 fails with `error`; its exit code is the answer. */
static int with_clone3_denied(int error, int (*check)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		clone3_missing = false;
		deny(SYS_clone3, error);
		_exit(check());
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* 0 or a bit each: spawn failed, no pidfd, wrong exit code; and 64 when clone3 is remembered as
 * missing. */
static int spawn_false(void)
{
	struct service_def service = plain_service();
	struct spawn_context context = plain_context();
	char *words[] = {"/bin/false", NULL};
	struct command command = {.argv = {words, 1}};
	struct spawned spawned;
	if (spawn(&service, &command, &context, &spawned) < 0)
		return 1 | (clone3_missing ? 64 : 0) | (errno == EAGAIN ? 8 : 0);
	siginfo_t info;
	int result = spawned.pidfd < 0 ? 2 : 0;
	bool held = spawned.pidfd >= 0;
	if (waitid(held ? P_PIDFD : P_PID, (id_t)(held ? spawned.pidfd : spawned.pid), &info,
		   WEXITED) < 0 ||
	    info.si_status != 1)
		result |= 4;
	return result | (clone3_missing ? 64 : 0);
}

static void test_without_clone3_fork_does(void **state)
{
	(void)state;
	assert_int_equal(with_clone3_denied(ENOSYS, spawn_false), 64);
	assert_int_equal(with_clone3_denied(EPERM, spawn_false), 64);
	assert_int_equal(with_clone3_denied(EINVAL, spawn_false), 0);
}

static int spawn_false_without_pidfds(void)
{
	deny(SYS_pidfd_open, ENOSYS);
	return spawn_false();
}

/* Then the parent has the number alone, and waits by that. */
static void test_without_pidfds_the_number_does(void **state)
{
	(void)state;
	assert_int_equal(with_clone3_denied(ENOSYS, spawn_false_without_pidfds), 2 | 64);
}

static void test_eagain_is_passed_on_and_not_remembered(void **state)
{
	(void)state;
	assert_int_equal(with_clone3_denied(EAGAIN, spawn_false), 1 | 8);
}

/* After a failed start and many good ones no descriptor is left behind in the parent. */
static void test_parent_keeps_no_descriptor(void **state)
{
	(void)state;
	struct service_def service = plain_service();
	struct spawn_context context = plain_context();
	struct run result;
	int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(before);
	for (int i = 0; i < 20; i++)
		run_shell(&service, "exit 0", &context, &result);
	char *missing[] = {"/missing", NULL};
	struct command command = {.argv = {missing, 1}};
	run(&service, &command, &context, &result);
	int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(after);
	assert_int_equal(before, after);
}

static int setup(void **state)
{
	(void)state;
	umask(022); /* other users are to find their way */
	if (!mkdtemp(directory))
		return -1;
	chmod(directory, 0755);
	snprintf(run_dir, sizeof(run_dir), "%s/supervisor", directory);
	return mkdir(run_dir, 0755);
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
		cmocka_unit_test(test_environment_is_exactly_the_documented_one),
		cmocka_unit_test(test_path_of_the_file_replaces_ours),
		cmocka_unit_test(test_builtin_runs_our_own_executable),
		cmocka_unit_test(test_descriptors_are_the_documented_ones),
		cmocka_unit_test(test_signals_are_clean),
		cmocka_unit_test(test_session_umask_nice_limits_directory),
		cmocka_unit_test(test_templates_and_runtime_directories),
		cmocka_unit_test(test_failures_name_stage_object_and_error),
		cmocka_unit_test(test_runtime_directory_that_is_a_link_is_refused),
		cmocka_unit_test(test_error_text_for_a_builtin_and_for_garbage),
		cmocka_unit_test(test_every_stage_says_that_it_was_the_one),
		cmocka_unit_test(test_without_clone3_fork_does),
		cmocka_unit_test(test_without_pidfds_the_number_does),
		cmocka_unit_test(test_eagain_is_passed_on_and_not_remembered),
		cmocka_unit_test(test_parent_keeps_no_descriptor),
	};
	if (geteuid() != 0) {
		puts("skipped: needs root");
		return 0;
	}
	return cmocka_run_group_tests_name("process/spawn", tests, setup, teardown);
}
