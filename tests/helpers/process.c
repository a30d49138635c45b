/*
 * A process for tests of how services are started, held and ended. As a service:
 *
 *   process report       prints what it was given: signals, descriptors, scheduling, …, then sleeps
 *   process eat MIB      a child touches that much memory, then both sleep
 *   process bomb         forks for ever, each child in a session of its own; says once if it may
 * not process threads      its first thread ends, another goes on process spin MS      uses a
 * processor for that long, prints how much of one it got
 *
 * In front of a supervisor's command line:
 *
 *   process dirty COMMAND…              with all signals ignored and blocked, and with stray
 * descriptors process deny ERRNO CALL,… COMMAND…  where these system calls fail
 *
 * Static: it also runs where there is no library.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const struct {
	const char *name;
	int number;
} call[] = {
	{"clone3", SYS_clone3},		{"close_range", SYS_close_range},
	{"pidfd_open", SYS_pidfd_open}, {"pidfd_send_signal", SYS_pidfd_send_signal},
	{"execveat", SYS_execveat},
};

static void print_lines(const char *path, const char *prefix)
{
	char line[1024];
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, prefix, strlen(prefix)) == 0)
			fputs(line, stdout);
	if (file)
		fclose(file);
}

static void print_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	printf("descriptors:");
	for (struct dirent *entry; directory && (entry = readdir(directory));)
		if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory))
			printf(" %s", entry->d_name);
	printf("\n");
	if (directory)
		closedir(directory);
}

/* Of its own cgroup, as far as there are any. */
static void print_limits(void)
{
	static const char *const mounts[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	static const char *const files[] = {"memory.max", "memory.high", "memory.oom.group",
					    "pids.max",	  "cpu.weight",	 "cpu.max",
					    "io.weight"};
	char line[1024] = "", path[2048], value[256];
	FILE *file = fopen("/proc/self/cgroup", "r");
	while (file && fgets(line, sizeof(line), file) && strncmp(line, "0::", 3) != 0)
		;
	if (file)
		fclose(file);
	line[strcspn(line, "\n")] = '\0';
	for (size_t i = 0; strlen(line) > 3 && i < 2 * sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s%s/%s", mounts[i % 2], line + 3, files[i / 2]);
		file = fopen(path, "r");
		if (file && fgets(value, sizeof(value), file))
			printf("%s: %s", files[i / 2], value);
		if (file)
			fclose(file);
	}
}

static _Noreturn void report(void)
{
	struct sched_param parameter = {0};
	char score[32] = "";
	sched_getparam(0, &parameter);
	printf("scheduling: %d %d\n", sched_getscheduler(0), parameter.sched_priority);
	printf("nice: %d\n", getpriority(PRIO_PROCESS, 0));
	printf("io: %ld\n", syscall(SYS_ioprio_get, 1, 0));
	int fd = open("/proc/self/oom_score_adj", O_RDONLY);
	if (fd >= 0 && read(fd, score, sizeof(score) - 1) > 0)
		printf("oom-score: %s", score);
	close(fd);
	print_lines("/proc/self/status", "Sig");
	print_lines("/proc/self/status", "ShdPnd");
	print_lines("/proc/self/status", "Cpus_allowed_list");
	print_descriptors();
	print_limits();
	printf("end\n");
	fflush(stdout);
	for (;;)
		pause();
}

/* Bit by bit: one piece that is larger than the machine would be refused. */
static _Noreturn void eat(int mebibytes)
{
	if (fork() == 0) {
		for (int i = 0; i < mebibytes; i++) {
			char *memory = malloc(1 << 20);
			for (size_t j = 0; memory && j < 1 << 20; j += 4096)
				((volatile char *)memory)[j] = 1;
		}
		printf("eaten\n");
		fflush(stdout);
	}
	for (;;)
		pause();
}

static _Noreturn void bomb(void)
{
	bool told = false, first = true;
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		pid_t pid = fork();
		if (pid == 0) {
			first = false;
			setsid();
		}
		if (pid < 0 && first && !told) {
			printf("bomb: %s\n", strerrorname_np(errno));
			fflush(stdout);
			told = true;
		}
	}
}

static long ms_of(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int spin(long ms)
{
	long start = ms_of(CLOCK_MONOTONIC);
	while (ms_of(CLOCK_MONOTONIC) - start < ms)
		;
	printf("spin: %ld%%\n",
	       ms_of(CLOCK_PROCESS_CPUTIME_ID) * 100 / (ms_of(CLOCK_MONOTONIC) - start));
	return 0;
}

static _Noreturn void *go_on(void *nothing)
{
	(void)nothing;
	printf("going on\n");
	fflush(stdout);
	for (;;)
		pause();
}

static _Noreturn void threads(void)
{
	pthread_t thread;
	pthread_create(&thread, NULL, go_on, NULL);
	pthread_exit(NULL);
}

static int dirty(char **command)
{
	static const unsigned long ignore[8] = {(unsigned long)SIG_IGN};
	static const unsigned long all = ~0UL;
	for (int fd = 3; fd < 40; fd++)
		dup2(0, fd);
	for (int number = 1; number <= 64; number++)
		syscall(SYS_rt_sigaction, number, ignore, NULL, 8);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
	setpriority(PRIO_PROCESS, 0, 3);
	execvp(command[0], command);
	return 1;
}

static int deny(int error, char *names, char **command)
{
	struct sock_filter filter[32] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
	unsigned short used = 1;
	for (char *name = strtok(names, ","); name; name = strtok(NULL, ","))
		for (size_t i = 0; i < sizeof(call) / sizeof(call[0]); i++) {
			if (strcmp(call[i].name, name) != 0)
				continue;
			filter[used++] = (struct sock_filter)BPF_JUMP(
				BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call[i].number, 0, 1);
			filter[used++] = (struct sock_filter)BPF_STMT(
				BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
		}
	filter[used++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {used, filter};
	/* Without no_new_privs, which would be seen in the services: we are root. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return 1;
	execvp(command[0], command);
	return 1;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	if (strcmp(what, "report") == 0)
		report();
	if (strcmp(what, "eat") == 0 && argc > 2)
		eat(atoi(argv[2]));
	if (strcmp(what, "bomb") == 0)
		bomb();
	if (strcmp(what, "threads") == 0)
		threads();
	if (strcmp(what, "spin") == 0 && argc > 2)
		return spin(atol(argv[2]));
	if (strcmp(what, "dirty") == 0 && argc > 2)
		return dirty(argv + 2);
	if (strcmp(what, "deny") == 0 && argc > 4)
		return deny(atoi(argv[2]), argv[3], argv + 4);
	fprintf(stderr, "process: unknown words\n");
	return 2;
}
