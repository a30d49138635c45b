/*
 * The only program of a small VM: is what an NFS server on OCFS2 has acknowledged still there after
 * a power cut? (test_durability.py)
 *
 * As /init with the argument "write" it mounts OCFS2 from /dev/vda, exports it to itself over
 * NFSv4, and then appends a record and creates and renames a file, again and again, telling each
 * on the console once the server has answered for both. It is killed at some point. As /init with
 * "check" it mounts the same disk and tells what is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RECORD_BYTES 512
#define FOREVER	     "2147483647"

static void finish(void)
{
	fflush(stdout);
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void need(int ok, const char *what)
{
	if (ok)
		return;
	printf("FAILED %s: %s\n", what, strerror(errno));
	finish();
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	need(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), path);
	close(fd);
}

static void load_modules(void)
{
	char path[256];
	FILE *list = fopen("/modules", "r");

	need(list != NULL, "/modules");
	while (fgets(path, sizeof(path), list)) {
		path[strcspn(path, "\n")] = '\0';
		int fd = open(path, O_RDONLY);
		need(fd >= 0, path);
		long result = syscall(SYS_finit_module, fd, "", 0);
		need(result == 0 || errno == EEXIST || errno == ENODEV, path);
		close(fd);
	}
	fclose(list);
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	need(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0, "loopback");
	close(fd);
}

static void serve(void)
{
	need(mount("nfsd", "/proc/fs/nfsd", "nfsd", 0, NULL) == 0, "mount nfsd");
	put("/proc/fs/nfsd/versions", "-2 -3 +4 +4.1 +4.2\n");
	put("/proc/net/rpc/auth.unix.ip/channel", "nfsd 127.0.0.1 " FOREVER " all\n");
	/* fsid=0, no subtree check, any port */
	put("/proc/net/rpc/nfsd.export/channel", "all /data " FOREVER " 9218 -2 -2 0\n");
	put("/proc/net/rpc/nfsd.fh/channel", "all 1 \\x00000000 " FOREVER " /data\n");
	/* Nobody keeps records of clients here, so the grace period cannot be ended early: 10 is
	 * the least. */
	put("/proc/fs/nfsd/nfsv4leasetime", "10\n");
	put("/proc/fs/nfsd/nfsv4gracetime", "10\n");
	put("/proc/fs/nfsd/threads", "4\n");
	need(mount("127.0.0.1:/", "/srv", "nfs4", 0,
		   "addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.2,proto=tcp,sec=sys,hard") == 0,
	     "mount nfs4");
}

static void write_for_ever(void)
{
	int log = open("/srv/log", O_WRONLY | O_CREAT | O_APPEND, 0644);

	need(log >= 0, "open log");
	for (int i = 1;; i++) {
		char record[RECORD_BYTES + 1], from[64], to[64];

		/* Small and then fsync: the client asks for it with FILE_SYNC in the WRITE itself.
		 */
		memset(record, '.', sizeof(record));
		record[snprintf(record, sizeof(record), "%08d", i)] = '.';
		record[RECORD_BYTES - 1] = '\n';
		need(write(log, record, RECORD_BYTES) == RECORD_BYTES && fsync(log) == 0, "append");
		snprintf(from, sizeof(from), "/srv/new-%d", i);
		snprintf(to, sizeof(to), "/srv/name-%d", i);
		int fd = open(from, O_WRONLY | O_CREAT | O_EXCL, 0644);
		need(fd >= 0 && close(fd) == 0, "create");
		need(rename(from, to) == 0, "rename");
		printf("ACKNOWLEDGED %d\n", i);
		fflush(stdout);
	}
}

static void check(void)
{
	char record[RECORD_BYTES], name[64];
	struct stat info;
	int records = 0, names = 0;
	int log = open("/data/log", O_RDONLY);

	while (log >= 0 && read(log, record, RECORD_BYTES) == RECORD_BYTES &&
	       atoi(record) == records + 1 && record[RECORD_BYTES - 1] == '\n')
		records++;
	do
		snprintf(name, sizeof(name), "/data/name-%d", names + 1);
	while (stat(name, &info) == 0 && ++names);
	printf("FOUND %d records %d names\n", records, names);
	if (log >= 0)
		close(log);
	umount("/data");
}

int main(int argc, char **argv)
{
	mkdir("/proc", 0755);
	need(mount("proc", "/proc", "proc", 0, NULL) == 0, "mount proc");
	need(mount("dev", "/dev", "devtmpfs", 0, NULL) == 0, "mount dev");
	load_modules();
	loopback_up();
	mkdir("/data", 0755);
	mkdir("/srv", 0755);
	need(mount("/dev/vda", "/data", "ocfs2", MS_NOATIME, NULL) == 0, "mount ocfs2");
	if (argc > 1 && strcmp(argv[1], "check") == 0) {
		check();
	} else {
		serve();
		write_for_ever();
	}
	finish();
}
