/*
 * What the tests of a single machine put into it: a program that makes trouble. "trouble KIND" does
 * it when it gets SIGUSR1:
 *
 *   stuck    a FUSE filesystem whose server never answers, with a thread of the server itself
 * waiting in it: no signal ends that one, and nobody else could end its wait. On it lies a mount
 *            that cannot even be looked up: umount(2) of that hangs as well
 *   freeze   puts process 1 into a control group and freezes that
 *   segv     sends SIGSEGV to process 1
 *   kexec    loads /boot/vmlinuz to be started
 *   nofork   lets the kernel make no more processes, whoever asks
 *
 * Without arguments it is an emergency shell: the first one of a boot exits with 0, the next
 * with 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/kexec.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PLACE "/mnt/stuck"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

static int fuse;
static volatile int silent;

static void answer(uint64_t unique, const void *data, size_t bytes, int error)
{
	char out[4096];
	struct fuse_out_header head = {
		.len = (uint32_t)(sizeof(head) + bytes), .error = error, .unique = unique};

	memcpy(out, &head, sizeof(head));
	memcpy(out + sizeof(head), data, bytes);
	if (write(fuse, out, head.len) < 0)
		perror("answer");
}

/* Every name is a directory, and has to be asked for each time. */
static void serve_one(void)
{
	static char request[1 << 18];
	ssize_t n = read(fuse, request, sizeof(request));
	struct fuse_in_header *in = (void *)request;
	struct fuse_init_in *init = (void *)(in + 1);
	struct fuse_attr attr = {.ino = 2, .mode = S_IFDIR | 0755, .nlink = 2};

	if (n < (ssize_t)sizeof(*in) || silent)
		return;
	if (in->opcode == FUSE_INIT) {
		struct fuse_init_out out = {
			.major = FUSE_KERNEL_VERSION, .minor = init->minor, .max_write = 4096};
		answer(in->unique, &out, sizeof(out), 0);
	} else if (in->opcode == FUSE_LOOKUP) {
		struct fuse_entry_out out = {.nodeid = 2, .generation = 1, .attr = attr};
		answer(in->unique, &out, sizeof(out), 0);
	} else if (in->opcode == FUSE_GETATTR) {
		struct fuse_attr_out out = {.attr = attr};
		out.attr.ino = in->nodeid;
		answer(in->unique, &out, sizeof(out), 0);
	} else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET) {
		answer(in->unique, NULL, 0, -ENOSYS);
	}
}

static void *serve(void *none)
{
	for (;;)
		serve_one();
	return none;
}

static void stuck(void)
{
	pthread_t server;
	char options[128];
	struct stat st;
	int module = open("/fuse.ko", O_RDONLY);

	if (module < 0 || (syscall(SYS_finit_module, module, "", 0) < 0 && errno != EEXIST))
		die("/fuse.ko");
	fuse = open("/dev/fuse", O_RDWR);
	if (fuse < 0)
		die("/dev/fuse");
	mkdir(PLACE, 0755);
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", fuse);
	if (mount("nothing", PLACE, "fuse", 0, options) < 0)
		die("mount " PLACE);
	pthread_create(&server, NULL, serve, NULL);
	if (mount("nothing", PLACE "/inner", "tmpfs", 0, "") < 0)
		die("mount " PLACE "/inner");
	silent = 1;
	puts("stuck");
	stat(PLACE "/never", &st);
	puts("not stuck");
}

static void freeze(void)
{
	mkdir("/sys/fs/cgroup/frozen", 0755);
	put("/sys/fs/cgroup/frozen/cgroup.procs", "1");
	put("/sys/fs/cgroup/frozen/cgroup.freeze", "1");
}

static void load_kernel(void)
{
	static const char line[] = "console=ttyS0 panic=-1 no_timer_check";
	int kernel = open("/boot/vmlinuz", O_RDONLY);

	if (kernel < 0 || syscall(SYS_kexec_file_load, kernel, -1, sizeof(line), line,
				  (unsigned long)KEXEC_FILE_NO_INITRAMFS) < 0)
		die("kexec_file_load");
	puts("loaded");
}

static int emergency_shell(void)
{
	char here[64] = "";
	ssize_t n = readlink("/proc/self/fd/0", here, sizeof(here) - 1);

	printf("emergency shell: process %d of %d, terminal %s (%zd), session %d\n", getpid() != 1,
	       getppid(), here, n, getsid(0) == getpid());
	fflush(stdout);
	return access("/run/second", F_OK) == 0 || creat("/run/second", 0600) < 0;
}

int main(int argc, char **argv)
{
	sigset_t set;
	int number;

	if (argc < 2)
		return emergency_shell();
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (;;) {
		sigwait(&set, &number);
		if (strcmp(argv[1], "stuck") == 0)
			stuck();
		else if (strcmp(argv[1], "freeze") == 0)
			freeze();
		else if (strcmp(argv[1], "segv") == 0)
			kill(1, SIGSEGV);
		else if (strcmp(argv[1], "kexec") == 0)
			load_kernel();
		else if (strcmp(argv[1], "nofork") == 0)
			put("/proc/sys/kernel/threads-max", "1");
	}
}
