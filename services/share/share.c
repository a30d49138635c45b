/*
 * A share, mounted over NFSv4.2 from the service address that serves it.
 *
 *   supervisor worker share mount NAME [DIRECTORY]     at DIRECTORY/NAME (/srv); tries until the
 * server is there supervisor worker share umount NAME [DIRECTORY]
 *
 * Web nodes mount it read-only: they hand out files, PHP alone writes them. Where a client cache
 * runs (cachefiles), it is used.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/worker/worker.h"

#define NFS_PORT	   2049
#define PATH_BYTES	   320
#define CONNECT_TIMEOUT_MS 1000
#define RETRY_FIRST_MS	   50
#define RETRY_MAX_MS	   500
#define UMOUNT_TIMEOUT_MS  4000
#define UMOUNT_FORCE_MS	   2000
#define ASK_INTERVAL_MS	   2000
#define SILENCE_MS	   6000 /* without an answer for that long: worth a line in the log */
#define LOG_EVERY_TRIES	   20

static void sleep_ms(int ms)
{
	const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	nanosleep(&time, NULL);
}

/*
 * Is a server listening there? mount(2) itself takes many seconds to notice that nobody is, or that
 * somebody now is. 0: yes; -1 with errno.
 */
static int knock(struct in_addr address)
{
	struct sockaddr_in server = {
		.sin_family = AF_INET, .sin_port = htons(NFS_PORT), .sin_addr = address};
	int error = 0;
	socklen_t error_bytes = sizeof(error);

	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0)
		error = errno;
	if (error == EINPROGRESS) {
		struct pollfd wait = {.fd = fd, .events = POLLOUT};
		int ready = poll(&wait, 1, CONNECT_TIMEOUT_MS);
		if (ready == 0)
			error = ETIMEDOUT;
		else if (ready < 0 ||
			 getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes) < 0)
			error = errno;
	}
	close(fd);
	errno = error;
	return error == 0 ? 0 : -1;
}

/* Answers of a server that is not there yet, or not ready: worth another try. */
static bool may_pass(int error)
{
	static const int passing[] = {
		ETIMEDOUT, ECONNREFUSED, ECONNRESET, EHOSTUNREACH, EHOSTDOWN, ENETUNREACH, EAGAIN,
		EINTR,	   EIO,		 ENOENT,     ESTALE,	   EPIPE,     EINPROGRESS};

	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
		if (error == passing[i])
			return true;
	return false;
}

/* Does the kernel have a client cache ready? A line of its table in state A (active) says so. */
static bool cache_is_active(void)
{
	char line[256];
	bool active = false;

	FILE *table = fopen("/proc/fs/fscache/caches", "re");
	if (table == NULL)
		return false;
	/* CACHE REF VOLS OBJS ACCES S NAME */
	while (fgets(line, sizeof(line), table) != NULL) {
		char state = '-';
		if (sscanf(line, "%*s %*s %*s %*s %*s %c", &state) == 1 && state == 'A')
			active = true;
	}
	fclose(table);
	return active;
}

static bool is_mounted(const char *directory)
{
	char line[1024], where[PATH_BYTES];
	bool found = false;

	FILE *table = fopen("/proc/self/mounts", "re");
	if (table == NULL)
		return false;
	while (fgets(line, sizeof(line), table) != NULL)
		if (sscanf(line, "%*s %319s nfs4 ", where) == 1 && strcmp(where, directory) == 0)
			found = true;
	fclose(table);
	return found;
}

static int mount_share(const struct worker_context *context, const struct cluster_share *share,
		       const char *directory)
{
	char server[INET_ADDRSTRLEN], client[INET_ADDRSTRLEN], source[PATH_BYTES], data[512];
	unsigned long flags = MS_NOATIME | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	int wait_ms = RETRY_FIRST_MS, tries = 0;

	if (is_mounted(directory)) {
		log_info("%s is mounted already", directory);
		return 0;
	}
	bool cached = strcmp(context->self->role, "web") != 0 && cache_is_active();
	if (strcmp(context->self->role, "web") == 0)
		flags |= MS_RDONLY;
	inet_ntop(AF_INET, &share->address->address.address, server, sizeof(server));
	inet_ntop(AF_INET, &context->self->address.address, client, sizeof(client));
	snprintf(source, sizeof(source), "%s:/%s", server, share->name);
	/*
	 * lookupcache=pos: a file that another node has just made is found at once, where the
	 * default remembers for up to a minute that it was not there.
	 */
	snprintf(data, sizeof(data),
		 "vers=4.2,proto=tcp,port=%d,hard,timeo=10,retrans=2,rsize=1048576,wsize=1048576,"
		 "lookupcache=pos,sec=sys,addr=%s,clientaddr=%s%s",
		 NFS_PORT, server, client, cached ? ",fsc" : "");

	for (;;) {
		if (knock(share->address->address.address) == 0 &&
		    mount(source, directory, "nfs4", flags, data) == 0) {
			log_info("%s is mounted on %s%s", source, directory,
				 cached ? ", with client cache" : "");
			return 0;
		}
		if (!may_pass(errno)) {
			log_warn("mount %s on %s", source, directory);
			return 1;
		}
		if (tries++ % LOG_EVERY_TRIES == 0)
			log_warn("mount %s: trying on", source);
		sleep_ms(wait_ms);
		wait_ms = wait_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : wait_ms * 2;
	}
}

/*
 * umount2(2) in a child: it may hang on a dead server, for good. 0 done; -1 errno, ETIMEDOUT when
 * the child did not come back (it is then left to itself).
 */
static int umount_within(const char *directory, int flags, int timeout_ms)
{
	pid_t pid = fork();

	if (pid < 0)
		return -1;
	if (pid == 0)
		_exit(umount2(directory, flags) == 0 ? 0 : errno);
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd >= 0) {
		struct pollfd wait = {.fd = pidfd, .events = POLLIN};
		int ready = poll(&wait, 1, timeout_ms);
		close(pidfd);
		if (ready == 0) {
			kill(pid, SIGKILL);
			errno = ETIMEDOUT;
			return -1;
		}
	}
	int status;
	if (waitpid(pid, &status, 0) < 0)
		return -1;
	errno = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	return errno == 0 ? 0 : -1;
}

static int umount_share(const char *directory)
{
	/*
	 * Asked politely first: what was written reaches the server. Then by force, which ends
	 * requests that a dead server will never answer. At last it is only taken out of sight.
	 */
	static const struct {
		int flags, timeout_ms;
		const char *name;
	} steps[] = {
		{0, UMOUNT_TIMEOUT_MS, "unmount"},
		{MNT_FORCE, UMOUNT_FORCE_MS, "unmount by force"},
		{MNT_DETACH, UMOUNT_FORCE_MS, "detach"},
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		/* EINVAL: not mounted (any more). */
		if (umount_within(directory, steps[i].flags, steps[i].timeout_ms) == 0 ||
		    errno == EINVAL || errno == ENOENT)
			return 0;
		log_warn("%s %s", steps[i].name, directory);
	}
	return 1;
}

/* The child that asks: it may hang with its server, for as long as that is gone. One byte for each
 * answer. */
static void ask_for_ever(const char *directory, int answers)
{
	struct statfs status;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		char byte = statfs(directory, &status) == 0 ? '+' : '-';
		if (write(answers, &byte, 1) < 0)
			_exit(0);
		sleep_ms(ASK_INTERVAL_MS);
	}
}

/* Until told to stop. The child's answers come over a pipe; when they stay away, that is said,
 * once. */
static void hold(const char *directory, int signals)
{
	bool silent = false;
	int answers[2];

	if (pipe2(answers, O_CLOEXEC) < 0) {
		log_warn("pipe");
		return;
	}
	pid_t child = fork();
	if (child == 0) {
		close(answers[0]);
		ask_for_ever(directory, answers[1]);
	}
	close(answers[1]);
	if (child < 0)
		log_warn("fork");
	for (;;) {
		struct pollfd wait[2] = {{.fd = signals, .events = POLLIN},
					 {.fd = child > 0 ? answers[0] : -1, .events = POLLIN}};
		int ready = poll(wait, 2, silent || child < 0 ? -1 : SILENCE_MS);
		if (ready < 0 && errno != EINTR)
			break;
		if (wait[0].revents != 0)
			break;
		if (ready == 0) {
			log_warnx("%s: its server does not answer", directory);
			worker_status("the server does not answer");
			silent = true;
		}
		if (ready > 0 && wait[1].revents != 0) {
			char bytes[64];
			if (read(answers[0], bytes, sizeof(bytes)) <= 0)
				break;
			if (silent) {
				log_info("%s: its server answers again", directory);
				worker_status("mounted");
				silent = false;
			}
		}
	}
	if (child > 0)
		kill(child, SIGKILL);
	close(answers[0]);
}

int share_worker(int argc, char **argv)
{
	struct worker_context context;
	char directory[PATH_BYTES];
	const char *base = argc > 2 ? argv[2] : "/srv";

	if (argc < 2 || argc > 3 || base[0] != '/' || strlen(base) > PATH_BYTES - NAME_BYTES - 2) {
		log_warnx("usage: share NAME [DIRECTORY]");
		return 2;
	}
	worker_load(&context);
	const struct cluster_share *share = cluster_find_share(context.cluster, argv[1]);
	if (share == NULL) {
		log_warnx("found \"%s\", expected a [share …] of the cluster file", argv[1]);
		return 2;
	}
	snprintf(directory, sizeof(directory), "%s/%s", base, share->name);
	if ((mkdir(base, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(directory, 0755) < 0 && errno != EEXIST)) {
		log_warn("make directory %s", directory);
		return 1;
	}
	/* Until it is mounted, SIGTERM just ends this process, wherever it waits. */
	int result = mount_share(&context, share, directory);
	int signals = worker_stop_signals();
	if (result != 0)
		return result;
	if (signals >= 0) {
		worker_ready();
		hold(directory, signals);
	}
	return umount_share(directory);
}
