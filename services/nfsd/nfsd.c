/*
 * The kernel's NFS server of one service address, in the network namespace of that address
 * (netns@NAME).
 *
 *   supervisor worker nfsd NAME [DATA]    serves the shares of address NAME, directories of DATA
 * (/data), until SIGTERM
 *
 * The threads are the kernel's: this process sets them up, answers the kernel's questions about
 * clients and exports, and takes them down. If it is killed, its mount of nfsd goes with it, and
 * the kernel ends the threads.
 *
 * nfsd and rpc_pipefs are mounted in a mount namespace of this process alone: nothing stays mounted
 * when it ends. Its host name is that of the address, in a UTS namespace: NFSv4 clients know a
 * server by it, and so find the same one on whichever node serves, and two different ones where one
 * node serves two addresses.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/netns/netns.h"
#include "services/nfsd/exports.h"
#include "src/base/log.h"
#include "src/node/arp.h"
#include "src/node/netlink.h"
#include "src/worker/worker.h"

#define CONTROL	       "/proc/fs/nfsd"
#define PIPE_DIRECTORY "/run/rpc_pipefs"
#define PORT	       2049
#define BACKLOG	       64
#define THREADS	       "8"
#define BLOCK_BYTES    "1048576"
#define VERSIONS       "-2 -3 +4 -4.0 +4.1 +4.2\n"
#define RECORDS_TRIES \
	5 /* of 1.1 s each, which is how long the kernel waits for the records' keeper */

struct server {
	const struct worker_context *context;
	struct exports exports;
	int channel[EXPORTS_CACHES];
	int signals;
};

static int write_control(const char *name, const char *text)
{
	return worker_writef(text, CONTROL "/%s", name);
}

/* What the kernel has been told of clients and exports; it holds the filesystem busy until flushed.
 */
static int flush_caches(void)
{
	static const enum exports_cache order[] = {EXPORTS_HANDLE, EXPORTS_EXPORT, EXPORTS_CLIENT};
	int result = 0;

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (worker_writef("1\n", "/proc/self/net/rpc/%s/flush",
				  exports_cache_name(order[i])) < 0)
			result = -1;
	return result;
}

/* Ends the threads, if any: their TCP connections are closed, the clients' state is forgotten but
 * on disk. */
static int stop_threads(void)
{
	int result = write_control("threads", "0\n");

	return flush_caches() < 0 ? -1 : result;
}

static int mount_private(const char *type, const char *where)
{
	if (mount(type, where, type, MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0)
		return 0;
	log_warn("mount %s on %s", type, where);
	return -1;
}

static int own_mounts(void)
{
	if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_SLAVE, NULL) == 0)
		return 0;
	log_warn("make a mount namespace");
	return -1;
}

static int enter_namespaces(const char *name)
{
	if (netns_enter(name) < 0 || own_mounts() < 0)
		return -1;
	if (unshare(CLONE_NEWUTS) < 0 || sethostname(name, strlen(name)) < 0) {
		log_warn("set host name %s", name);
		return -1;
	}
	if (mkdir(PIPE_DIRECTORY, 0700) < 0 && errno != EEXIST) {
		log_warn("make directory %s", PIPE_DIRECTORY);
		return -1;
	}
	if (mount_private("rpc_pipefs", PIPE_DIRECTORY) < 0)
		return -1;
	return mount_private("nfsd", CONTROL);
}

/*
 * NFS over TCP on this address alone: nfsd takes the socket over, and opens none of its own (UDP,
 * IPv6) beside it. Its connections inherit that none lingers after the end: a client that is sent
 * the end of its connection waits three seconds before the next, one whose packets meet nothing and
 * then a server that knows no such connection is back at once.
 */
static int give_socket(struct in_addr address)
{
	struct sockaddr_in local = {
		.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = address};
	const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
	int one = 1, result = -1;
	char number[16];

	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		log_warn("socket");
		return -1;
	}
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)) < 0 ||
	    bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0 || listen(fd, BACKLOG) < 0) {
		log_warn("listen on %s port %d", inet_ntoa(address), PORT);
	} else {
		snprintf(number, sizeof(number), "%d\n", fd);
		result = write_control("portlist", number);
	}
	close(fd);
	return result;
}

/*
 * Starts the threads. The kernel then looks for nfs-clients@NAME, for a second; if it does not find
 * it, nobody's locks could be reclaimed later, and it says so only in its log. The pipe that it
 * leaves exactly when it did find it tells.
 */
static int start_threads(struct in_addr address)
{
	for (int try = 1; try <= RECORDS_TRIES; try++) {
		if (give_socket(address) < 0 || write_control("threads", THREADS "\n") < 0)
			return -1;
		if (access(PIPE_DIRECTORY "/nfsd/cld", F_OK) == 0)
			return 0;
		if (try == 1)
			log_info("waiting for the keeper of the clients' records");
		if (stop_threads() < 0)
			return -1;
	}
	log_warnx("the kernel does not find nfs-clients@, which keeps the clients' records");
	return -1;
}

/* Whose file server a visitor's page came from: the node's name, in each share that it serves. */
static void sign_share(const struct server *server, const struct cluster_share *share)
{
	char path[512], draft[512];
	const char *name = server->context->self->name;

	snprintf(path, sizeof(path), "%s/%s/.served-by", server->exports.root, share->name);
	snprintf(draft, sizeof(draft), "%s/%s/.served-by.%s", server->exports.root, share->name,
		 name);
	int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0) {
		log_warn("create %s", draft);
		return;
	}
	int written = dprintf(fd, "%s\n", name);
	if (close(fd) < 0 || written < 0 || rename(draft, path) < 0)
		log_warn("write %s", path);
}

static int check_shares(const struct server *server)
{
	const struct cluster *cluster = server->exports.cluster;
	const struct cluster_share *clash = exports_id_clash(cluster);
	struct stat status;
	char path[512];

	if (clash != NULL) {
		log_warnx(
			"share %s: its name gives the same file system id as another's: rename one",
			clash->name);
		return -1;
	}
	for (size_t i = 0; i < cluster->share_count; i++) {
		const struct cluster_share *share = &cluster->share[i];
		if (share->address != server->exports.address)
			continue;
		snprintf(path, sizeof(path), "%s/%s", server->exports.root, share->name);
		if (stat(path, &status) < 0) {
			log_warn("share %s: directory %s", share->name, path);
			return -1;
		}
		sign_share(server, share);
	}
	return 0;
}

/* From here on the network sees the address: everything behind it is ready. */
static int show_link(struct in_addr address, bool up)
{
	struct netlink netlink;
	struct netlink_link link;
	int result = -1;

	if (netlink_open(&netlink, false) < 0) {
		log_warn("netlink socket");
		return -1;
	}
	if (netlink_link_find(&netlink, NETNS_LINK, &link) < 0 ||
	    netlink_link_set_up(&netlink, link.index, up) < 0) {
		log_warn("set interface %s %s", NETNS_LINK, up ? "up" : "down");
	} else {
		result = 0;
		int arp = up ? arp_open(link.index) : -1;
		if (up && (arp < 0 || arp_announce(arp, link.index, link.mac, address) < 0))
			log_warn("announce %s", inet_ntoa(address));
		if (arp >= 0)
			close(arp);
	}
	netlink_close(&netlink);
	return result;
}

/*
 * Also before a start: a killed predecessor left the link up. It goes first, so that no client is
 * told of the end of its connection (see give_socket), or refused a new one.
 */
static int stop(struct in_addr address)
{
	int result = show_link(address, false);

	return stop_threads() < 0 ? -1 : result;
}

static int open_channels(struct server *server)
{
	char path[128];

	for (int i = 0; i < EXPORTS_CACHES; i++) {
		snprintf(path, sizeof(path), "/proc/self/net/rpc/%s/channel",
			 exports_cache_name((enum exports_cache)i));
		server->channel[i] = open(path, O_RDWR | O_CLOEXEC);
		if (server->channel[i] < 0) {
			log_warn("open %s", path);
			return -1;
		}
	}
	return 0;
}

/* One question of the kernel. A directory that is not there is answered by a no, so that the asking
 * thread need not wait for its timeout. */
static void answer(struct server *server, enum exports_cache cache)
{
	static char question[EXPORTS_LINE_BYTES];
	static struct exports_line line;

	ssize_t length = read(server->channel[cache], question, sizeof(question));
	if (length <= 0) {
		if (length < 0 && errno != EAGAIN && errno != EINTR)
			log_warn("read the kernel's question, %s", exports_cache_name(cache));
		return;
	}
	for (int refuse = 0; refuse <= 1; refuse++) {
		if (!exports_answer(&server->exports, cache, question, (size_t)length, refuse != 0,
				    &line)) {
			log_warnx("%s: found \"%.*s\", which is no question that is known",
				  exports_cache_name(cache), (int)length, question);
			return;
		}
		if (write(server->channel[cache], line.text, line.length) == (ssize_t)line.length)
			return;
		log_warn("%s: answer \"%.*s\"", exports_cache_name(cache), (int)line.length - 1,
			 line.text);
	}
}

static int write_seconds(const char *name, uint32_t ms)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", ms / 1000);
	return write_control(name, text);
}

static int start(struct server *server)
{
	const struct cluster_timers *timers = &server->context->cluster->timers;
	struct in_addr address = server->exports.address->address.address;

	if (stop(address) < 0)
		return -1;
	worker_status("looking at the shares");
	if (check_shares(server) < 0 || open_channels(server) < 0)
		return -1;
	worker_status("starting threads");
	/* All of these are refused while threads run. */
	if (write_control("versions", VERSIONS) < 0 ||
	    write_control("max_block_size", BLOCK_BYTES) < 0 ||
	    write_seconds("nfsv4leasetime", timers->nfs_lease) < 0 ||
	    write_seconds("nfsv4gracetime", timers->nfs_grace) < 0)
		return -1;
	if (start_threads(address) < 0)
		return -1;
	return show_link(address, true);
}

static void serve(struct server *server)
{
	struct pollfd wait[EXPORTS_CACHES + 1];

	for (int i = 0; i < EXPORTS_CACHES; i++)
		wait[i] = (struct pollfd){.fd = server->channel[i], .events = POLLIN};
	wait[EXPORTS_CACHES] = (struct pollfd){.fd = server->signals, .events = POLLIN};
	for (;;) {
		if (poll(wait, EXPORTS_CACHES + 1, -1) < 0) {
			if (errno == EINTR)
				continue;
			log_warn("poll");
			return;
		}
		if (wait[EXPORTS_CACHES].revents != 0)
			return;
		for (int i = 0; i < EXPORTS_CACHES; i++)
			if (wait[i].revents != 0)
				answer(server, (enum exports_cache)i);
	}
}

int nfsd_worker(int argc, char **argv)
{
	static struct worker_context context;
	static struct server server;

	if (argc < 2 || argc > 3 || (argc == 3 && (argv[2][0] != '/' || strlen(argv[2]) > 255))) {
		log_warnx("usage: nfsd ADDRESS-NAME [DATA]");
		return 2;
	}
	worker_load(&context);
	server.context = &context;
	server.exports = (struct exports){.cluster = context.cluster,
					  .address = worker_address(&context, argv[1]),
					  .root = argc == 3 ? argv[2] : "/data"};
	if (server.exports.address == NULL)
		return 2;

	/* From now on a wish to stop waits until what was begun can be undone in order. */
	server.signals = worker_stop_signals();
	if (server.signals < 0)
		return 1;
	if (enter_namespaces(argv[1]) < 0)
		return 1;

	int result = start(&server);
	if (result == 0) {
		worker_ready();
		worker_status("serving");
		log_info("serving NFS on %s", inet_ntoa(server.exports.address->address.address));
		serve(&server);
		log_info("stopping");
	}
	if (stop(server.exports.address->address.address) < 0)
		result = -1;
	return result == 0 ? 0 : 1;
}
