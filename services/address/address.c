/*
 * A service address on the interface that holds this node's own address.
 *
 *   supervisor worker address add NAME    asks who has it, takes it, tells the neighbours
 *   supervisor worker address del NAME
 *
 * Taken as a /32: with the prefix of the node's own address, the kernel could choose it as the
 * source of this node's own connections. Only the lease decides who may have the address; the probe
 * is a second look, which finds a machine that knows of no leases.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/node/arp.h"
#include "src/node/netlink.h"
#include "src/worker/worker.h"

#define PROBE_MS	 50
#define ANNOUNCEMENTS	 3
#define ANNOUNCE_STEP_MS 30
#define PREFIX_LENGTH	 32

static int find_link(struct netlink *netlink, const struct cluster_node *self,
		     struct netlink_link *link)
{
	struct netlink_address own;

	if (netlink_address_find(netlink, self->address.address, &own) < 0) {
		log_warn("find the interface that holds %s", inet_ntoa(self->address.address));
		return -1;
	}
	if (netlink_link_get(netlink, own.index, link) < 0) {
		log_warn("read interface %d", own.index);
		return -1;
	}
	if (!link->has_mac) {
		log_warnx("interface %s: found no Ethernet address to announce one by", link->name);
		return -1;
	}
	return 0;
}

static int probe(int arp, const struct netlink_link *link, struct in_addr address)
{
	uint8_t holder[ARP_MAC_BYTES];
	int result = arp_probe(arp, link->index, link->mac, address, PROBE_MS, holder);

	if (result < 0)
		log_warn("ask on %s who has %s", link->name, inet_ntoa(address));
	if (result == 1)
		log_warnx("%s is in use by %02x:%02x:%02x:%02x:%02x:%02x on %s: not taken",
			  inet_ntoa(address), holder[0], holder[1], holder[2], holder[3], holder[4],
			  holder[5], link->name);
	return result == 0 ? 0 : -1;
}

static int announce(int arp, const struct netlink_link *link, struct in_addr address)
{
	const struct timespec step = {.tv_nsec = ANNOUNCE_STEP_MS * 1000000L};

	for (int i = 0; i < ANNOUNCEMENTS; i++) {
		if (i > 0)
			nanosleep(&step, NULL);
		if (arp_announce(arp, link->index, link->mac, address) < 0) {
			log_warn("announce %s on %s", inet_ntoa(address), link->name);
			return -1;
		}
	}
	return 0;
}

static int add(const struct cluster_node *self, const struct cluster_address *wanted)
{
	struct netlink netlink;
	struct netlink_link link;
	struct netlink_address held;
	struct in_addr address = wanted->address.address;
	int arp = -1, result = 1;

	if (netlink_open(&netlink, false) < 0) {
		log_warn("netlink socket");
		return 1;
	}
	if (find_link(&netlink, self, &link) < 0)
		goto out;
	arp = arp_open(link.index);
	if (arp < 0) {
		log_warn("packet socket on %s", link.name);
		goto out;
	}
	/* Held already, by an earlier start: then only the neighbours are told again. */
	if (netlink_address_find(&netlink, address, &held) < 0) {
		if (probe(arp, &link, address) < 0)
			goto out;
		if (netlink_address_add(&netlink, link.index, address, PREFIX_LENGTH) < 0) {
			log_warn("add %s to %s", inet_ntoa(address), link.name);
			goto out;
		}
	}
	/* An address that nobody was told of is held all the same: neighbours ask in time. */
	announce(arp, &link, address);
	log_info("%s is on %s", inet_ntoa(address), link.name);
	result = 0;
out:
	if (arp >= 0)
		close(arp);
	netlink_close(&netlink);
	return result;
}

static int del(const struct cluster_address *wanted)
{
	struct netlink netlink;
	struct netlink_address held;
	int result = 1;

	if (netlink_open(&netlink, false) < 0) {
		log_warn("netlink socket");
		return 1;
	}
	if (netlink_address_find(&netlink, wanted->address.address, &held) < 0) {
		if (errno == EADDRNOTAVAIL)
			result = 0;
		else
			log_warn("find %s", inet_ntoa(wanted->address.address));
	} else if (netlink_address_delete(&netlink, held.index, held.address, held.length) < 0 &&
		   errno != EADDRNOTAVAIL) {
		log_warn("remove %s", inet_ntoa(wanted->address.address));
	} else {
		log_info("%s given up", inet_ntoa(wanted->address.address));
		result = 0;
	}
	netlink_close(&netlink);
	return result;
}

int address_worker(int argc, char **argv)
{
	struct worker_context context;

	if (argc != 3 || (strcmp(argv[1], "add") != 0 && strcmp(argv[1], "del") != 0)) {
		log_warnx("usage: address add|del NAME");
		return 2;
	}
	worker_load(&context);
	const struct cluster_address *wanted = worker_address(&context, argv[2]);
	if (wanted == NULL)
		return 2;
	return argv[1][0] == 'a' ? add(context.self, wanted) : del(wanted);
}
