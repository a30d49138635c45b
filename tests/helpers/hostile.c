/*
 * Tries what a service must not be able to do, one ACTION after the other, and says for each
 * "ACTION: done" or "ACTION: ERRNO". Static, without any library beyond the C one: what is denied
 * is denied by the sandbox, not by a missing file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char *const true_argv[] = {"true", NULL}, *const no_env[] = {NULL};

static const char *program(void)
{
	return "/bin/true";
}

/* In a child, so that a success does not end us; the child's own death by SIGSYS is passed on. */
static int in_child(int (*action)(void))
{
	fflush(stdout);
	pid_t pid = (pid_t)syscall(SYS_fork);
	if (pid < 0)
		return -1;
	if (pid == 0) {
		action();
		_exit(errno);
	}
	int status;
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		raise(WTERMSIG(status));
	errno = WEXITSTATUS(status);
	return errno == 0 ? 0 : -1;
}

static int try_execve(void)
{
	return execve(program(), true_argv, no_env);
}

static int try_execveat(void)
{
	return (int)syscall(SYS_execveat, AT_FDCWD, program(), true_argv, no_env, 0, 0);
}

/* The hole of a filter that pins flags and descriptor only: an absolute path overrides the
 * descriptor. */
static int try_execveat_empty_path(void)
{
	int fd = open("/proc/self/exe", O_PATH);
	return (int)syscall(SYS_execveat, fd, program(), true_argv, no_env, AT_EMPTY_PATH, 1);
}

static int exec_in_child(void)
{
	return in_child(try_execve);
}

static int try_setuid(void)
{
	return setuid(0);
}

static int try_chroot(void)
{
	return chroot("/proc");
}

static int try_mount(void)
{
	return mount("x", "/proc", "tmpfs", 0, NULL);
}

static int try_unshare(void)
{
	return unshare(CLONE_NEWUSER);
}

static int try_clone_user(void)
{
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	return (int)pid;
}

static int try_tiocsti(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static int try_netlink(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0);
}

static int try_packet(void)
{
	return socket(AF_PACKET, SOCK_RAW, 0);
}

static int try_inet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int try_kill_parent(void)
{
	return kill(getppid(), 0);
}

/* Another architecture's call table: number 20 is getpid there, writev here. */
static int try_int80(void)
{
#ifdef __x86_64__
	long result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(20L)
			 : "memory", "r8", "r9", "r10", "r11");
	return result < 0 ? (errno = (int)-result, -1) : 0;
#else
	return 0;
#endif
}

static int try_x32(void)
{
	return (int)syscall(0x40000000 | 39);
}

static const struct {
	const char *name;
	int (*try)(void);
} action[] = {
	{"execve", exec_in_child},
	{"execve-self", try_execve},
	{"execveat", try_execveat},
	{"execveat-empty-path", try_execveat_empty_path},
	{"setuid", try_setuid},
	{"chroot", try_chroot},
	{"mount", try_mount},
	{"unshare", try_unshare},
	{"clone-user", try_clone_user},
	{"tiocsti", try_tiocsti},
	{"netlink", try_netlink},
	{"packet", try_packet},
	{"inet", try_inet},
	{"kill-parent", try_kill_parent},
	{"int80", try_int80},
	{"x32", try_x32},
};

static int act(const char *name)
{
	/* read:PATH, list:PATH, make:PATH */
	const char *colon = strchr(name, ':');
	if (colon && strncmp(name, "read:", 5) == 0) {
		char text[64];
		int fd = open(colon + 1, O_RDONLY);
		if (fd < 0)
			return -1;
		ssize_t n = read(fd, text, sizeof(text));
		if (n == 0)
			errno = ENODATA;
		return n <= 0 ? -1 : 0;
	}
	if (colon && strncmp(name, "make:", 5) == 0)
		return open(colon + 1, O_WRONLY | O_CREAT, 0600);
	if (colon && strncmp(name, "see:", 4) == 0) {
		struct stat st;
		return stat(colon + 1, &st);
	}
	for (size_t i = 0; i < sizeof(action) / sizeof(action[0]); i++) {
		if (strcmp(action[i].name, name) == 0)
			return action[i].try();
	}
	fprintf(stderr, "hostile: unknown action %s\n", name);
	exit(2);
}

/* Lines of /proc/self/status that begin with `prefix`; needs /proc. */
static void print_status(const char *prefix)
{
	char line[256];
	FILE *file = fopen("/proc/self/status", "r");
	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, prefix, strlen(prefix)) == 0)
			fputs(line, stdout);
	}
	if (file)
		fclose(file);
}

int main(int argc, char **argv)
{
	/* As a built-in worker: "supervisor worker NAME ACTION…" */
	int first = argc > 2 && strcmp(argv[1], "worker") == 0 ? 3 : 1;
	for (int i = first; i < argc; i++) {
		if (strncmp(argv[i], "status:", 7) == 0) {
			print_status(argv[i] + 7);
		} else {
			errno = 0;
			int result = act(argv[i]);
			printf("%s: %s\n", argv[i], result < 0 ? strerrorname_np(errno) : "done");
		}
		fflush(stdout);
	}
	return 0;
}
