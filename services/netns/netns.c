/*
 *   supervisor worker netns up NAME     the namespace of service address NAME, its link down
 *   supervisor worker netns down NAME
 *
 * A namespace that is still there from before is used again, its link made anew.
 */
#include "services/netns/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/node/netlink.h"
#include "src/worker/worker.h"

#define PATH_BYTES (sizeof(NETNS_DIRECTORY) + NAME_BYTES)

void netns_mac(struct in_addr address, uint8_t mac[6])
{
	mac[0] = 0x02;
	mac[1] = 0x56;
	memcpy(mac + 2, &address, 4);
}

static void path_of(const char *name, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "%s/%s", NETNS_DIRECTORY, name);
}

int netns_enter(const char *name)
{
	char path[PATH_BYTES];

	path_of(name, path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		log_warn("open network namespace %s", path);
		return -1;
	}
	int result = setns(fd, CLONE_NEWNET);
	if (result < 0)
		log_warn("enter network namespace %s", path);
	close(fd);
	return result;
}

/* A new namespace, which this process then is in, held by a bind mount on `path`. */
static int create(const char *path)
{
	if (mkdir(NETNS_DIRECTORY, 0755) < 0 && errno != EEXIST) {
		log_warn("make directory %s", NETNS_DIRECTORY);
		return -1;
	}
	int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
	if (fd < 0) {
		log_warn("create %s", path);
		return -1;
	}
	close(fd);
	if (unshare(CLONE_NEWNET) < 0) {
		log_warn("make a network namespace");
		return -1;
	}
	if (mount("/proc/self/ns/net", path, NULL, MS_BIND, NULL) < 0) {
		log_warn("bind the network namespace to %s", path);
		return -1;
	}
	return 0;
}

/* Enters the namespace that an earlier start left, or a new one. */
static int enter_or_create(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		int result = setns(fd, CLONE_NEWNET);
		close(fd);
		if (result == 0)
			return 0;
		/* A plain file: the bind mount was not reached. */
	}
	return create(path);
}

/* Deleted at once and by name: a namespace that merely loses its last user goes later, and until
 * then its MAC is in use. */
static int delete_link(void)
{
	struct netlink inside;
	struct netlink_link link;
	int result = 0;

	if (netlink_open(&inside, false) < 0) {
		log_warn("netlink socket");
		return -1;
	}
	if (netlink_link_find(&inside, NETNS_LINK, &link) == 0) {
		result = netlink_link_delete(&inside, link.index);
		if (result < 0)
			log_warn("delete interface %s", NETNS_LINK);
	} else if (errno != ENODEV) {
		log_warn("find interface %s", NETNS_LINK);
		result = -1;
	}
	netlink_close(&inside);
	return result;
}

static int create_link(struct netlink *outside, int parent, const struct ipv4_prefix *address)
{
	uint8_t mac[MAC_BYTES];
	struct netlink inside;
	struct netlink_link link;
	int result = -1;

	int self = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (self < 0) {
		log_warn("open /proc/self/ns/net");
		return -1;
	}
	netns_mac(address->address, mac);
	int made = netlink_macvlan_create(outside, NETNS_LINK, parent, mac, self);
	if (made < 0)
		log_warn("create macvlan interface %s", NETNS_LINK);
	close(self);
	if (made < 0)
		return -1;

	if (netlink_open(&inside, false) < 0) {
		log_warn("netlink socket");
		return -1;
	}
	if (netlink_link_find(&inside, "lo", &link) < 0 ||
	    netlink_link_set_up(&inside, link.index, true) < 0)
		log_warn("set lo up in the namespace");
	else if (netlink_link_find(&inside, NETNS_LINK, &link) < 0 ||
		 netlink_address_add(&inside, link.index, address->address, address->length) < 0)
		log_warn("give %s its address", NETNS_LINK);
	else
		result = 0;
	netlink_close(&inside);
	return result;
}

/*
 * The outside socket is opened before the namespace is entered and stays bound to the outside: the
 * macvlan is asked for there, next to its parent, and made inside.
 */
static int up(const struct worker_context *context, const struct cluster_address *wanted)
{
	struct netlink outside;
	struct netlink_address own;
	char path[PATH_BYTES];
	int result = 1;

	if (netlink_open(&outside, false) < 0) {
		log_warn("netlink socket");
		return 1;
	}
	path_of(wanted->name, path);
	if (netlink_address_find(&outside, context->self->address.address, &own) < 0)
		log_warn("find the interface of this node's address");
	else if (enter_or_create(path) == 0 && delete_link() == 0) {
		/* No IPv6: its unasked packets would show the MAC to switches before its time. */
		worker_write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
		worker_write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
		if (create_link(&outside, own.index, &wanted->address) == 0)
			result = 0;
	}
	netlink_close(&outside);
	return result;
}

static int down(const struct cluster_address *wanted)
{
	char path[PATH_BYTES];

	path_of(wanted->name, path);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	if (netns_enter(wanted->name) == 0 && delete_link() < 0)
		return 1;
	if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL) {
		log_warn("unmount %s", path);
		return 1;
	}
	if (unlink(path) < 0) {
		log_warn("remove %s", path);
		return 1;
	}
	return 0;
}

int netns_worker(int argc, char **argv)
{
	struct worker_context context;

	if (argc != 3 || (strcmp(argv[1], "up") != 0 && strcmp(argv[1], "down") != 0)) {
		log_warnx("usage: netns up|down ADDRESS-NAME");
		return 2;
	}
	worker_load(&context);
	const struct cluster_address *wanted = worker_address(&context, argv[2]);
	if (wanted == NULL)
		return 2;
	return argv[1][0] == 'u' ? up(&context, wanted) : down(wanted);
}
